// SPDX-License-Identifier: BSD-3-Clause
//
// slab.h - what the files of alloc/ share and nobody else needs.
//
// Door: none; internal.
// Locks, outermost first: slab_mutex (the list of caches, creation, tunables) -> an alien cache's
// -> list_lock of a node (its slab lists and shared array) -> the charges' -> the page allocator's.
// Slabs are made and given back with no list_lock held. An array_cache has no lock: it is its
// slot's owner's. Origin: mm/slab.h of Linux v5.2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "alloc/kmalloc.h"
#include "alloc/kmem_cache.h"
#include "alloc/page_alloc.h"
#include "alloc/slab_def.h"
#include "alloc/spinlock.h"

namespace slabfwd {

// How a cache keeps its freelist index; together with the SLAB_* flags in kmem_cache::flags.
inline constexpr slab_flags_t CFLGS_OBJFREELIST_SLAB = 0x40000000u; // in a free object
inline constexpr slab_flags_t CFLGS_OFF_SLAB = 0x80000000u;         // in freelist_cache
inline constexpr slab_flags_t CFLGS_BITMAP = 0x20000000u;           // a bit an object, else a byte
inline constexpr slab_flags_t CFLGS_NO_ARRAY = 0x10000000u;         // never has per-CPU arrays
inline constexpr slab_flags_t CFLGS_KMALLOC = 0x08000000u;          // one of kmalloc_caches
inline constexpr slab_flags_t CFLGS_SLUB = 0x00000001u;             // the back end is SLUB

inline constexpr slab_flags_t SLAB_CORE_FLAGS =
    SLAB_HWCACHE_ALIGN | SLAB_PANIC | SLAB_TYPESAFE_BY_RCU;
inline constexpr slab_flags_t SLAB_CACHE_FLAGS =
    SLAB_MEM_SPREAD | SLAB_NOLEAKTRACE | SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT | SLAB_FAILSLAB;
// Debugging that changes how an object is laid out, and all of it.
inline constexpr slab_flags_t DEBUG_METADATA_FLAGS = SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER;
inline constexpr slab_flags_t SLAB_DEBUG_FLAGS =
    DEBUG_METADATA_FLAGS | SLAB_TRACE | SLAB_CONSISTENCY_CHECKS | SLAB_HARDENED | SLAB_RANDOM;
// What a caller may pass, and what of it is kept.
inline constexpr slab_flags_t SLAB_FLAGS_PERMITTED =
    SLAB_CORE_FLAGS | SLAB_DEBUG_FLAGS | SLAB_CACHE_FLAGS;
inline constexpr slab_flags_t CACHE_CREATE_MASK =
    SLAB_CORE_FLAGS | SLAB_DEBUG_FLAGS | SLAB_CACHE_FLAGS;

// Caches whose objects may stand for those of another cache only without these.
inline constexpr slab_flags_t SLAB_NEVER_MERGE =
    SLAB_DEBUG_FLAGS | SLAB_TYPESAFE_BY_RCU | SLAB_NOLEAKTRACE | SLAB_FAILSLAB | CFLGS_NO_ARRAY;
inline constexpr slab_flags_t SLAB_MERGE_SAME = SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT | CFLGS_SLUB;

// Why every call has to take the slow way.
enum slab_hook : std::uint32_t {
    HOOK_FAILSLAB = 1,
    HOOK_STATISTICS = 2,
    HOOK_DEBUG = 4,    // alloc_debug_processing() and free_debug_processing() see every object
    HOOK_HARDENED = 8, // idem, or the short way where this is the only hook
    HOOK_CHECKS = 16,  // beside HOOK_DEBUG: SLAB_CONSISTENCY_CHECKS
    HOOK_TRACE = 32,   // beside HOOK_DEBUG: SLAB_TRACE
    HOOK_MEMCG = 256,  // a root cache with children to choose from, or a child that dies
    HOOK_ALL = 0xffff,
};

// In the upper half of kmem_cache::hooks: the mark in the live map.
inline constexpr unsigned HOOK_TAG_SHIFT = 16;

inline constexpr unsigned BOOT_CPUCACHE_ENTRIES = 1;
inline constexpr unsigned BATCHREFILL_LIMIT = 16;
inline constexpr std::size_t cache_line_size = 64;
inline constexpr std::size_t BYTES_PER_WORD = sizeof(void*);

// Where a slab is (page::slab_list).
enum slab_list : std::uint8_t { ON_NONE, ON_PARTIAL, ON_FULL, ON_FREE };

// List of pages, linked through page::next and prev. The owner's lock guards it.
struct page_list {
    page* first = nullptr;
    page* last = nullptr;
    std::size_t count = 0;

    bool empty() const { return first == nullptr; }
    void add(page* p) {
        p->prev = nullptr;
        p->next = first;
        (first ? first->prev : last) = p;
        first = p;
        ++count;
    }
    void add_tail(page* p) {
        p->next = nullptr;
        p->prev = last;
        (last ? last->next : first) = p;
        last = p;
        ++count;
    }
    void del(page* p) {
        (p->prev ? p->prev->next : first) = p->next;
        (p->next ? p->next->prev : last) = p->prev;
        --count;
    }
};

// Objects of another node that were freed on this one, until they go home together. The lock comes
// before the other node's list_lock.
struct alien_cache {
    spinlock_t lock;
    array_cache* ac = nullptr;
};

// A cache's slabs of one node. list_lock guards everything.
//   slabs: total_slabs = partial + full + free, free_slabs = free
//   objects: free_objects = sum over slabs of (num - active)
struct kmem_cache_node {
    spinlock_t list_lock;
    page_list slabs_partial; // some objects out; taken from first
    page_list slabs_full;    // all objects out
    page_list slabs_free;    // none out
    std::size_t total_slabs = 0;
    std::size_t free_slabs = 0;
    std::size_t free_objects = 0;
    std::size_t free_limit = 0; // above it free slabs are given back
    std::size_t colour_next = 0;
    array_cache* shared = nullptr;        // objects for all CPUs of the node (SLUB's barn); or NULL
    std::atomic<unsigned> shared_room{0}; // entries of it, once something is to be put in; 0: made
    std::atomic<alien_cache**> alien{nullptr}; // by node: freed here, belongs there; NULL: none
    int reap_node = 0;                         // whose alien cache the reaper emptied last
    bool free_touched = false;                 // a free slab was taken since the reaper looked

    // SLUB (slub.cc): slabs with free objects that no slot has frozen, fullest first after a shrink
    page_list partial;
    std::atomic<std::size_t> nr_partial{0};    // partial.count, to be read without the lock
    std::atomic<std::size_t> nr_slabs{0};      // all of them, wherever they are
    std::atomic<std::size_t> total_objects{0}; // of these

    page_list& list(slab_list l) {
        return l == ON_PARTIAL ? slabs_partial : l == ON_FULL ? slabs_full : slabs_free;
    }
};

// A further name of a cache that serves several (sysfs_slab_alias).
struct cache_alias {
    cache_alias* next;
    char* name;
};

// ---- page_alloc.cc, page_source.cc
void* reserve_metadata(std::size_t bytes);
bool page_alloc_started();
std::size_t page_give_back(void* addr, std::size_t bytes);
// For page_ahead: free blocks of 2 MiB whose memory is there. Between start and stop allocations take those rather than
// memory that has to be faulted in, and wake the thread in wait when no more than half are left of as many as
// make_ready was asked for last. make_ready ends early where the source has no memory.
void pages_ready_start();
void pages_ready_stop();
bool pages_ready_wait(); // false: stop
void pages_make_ready(std::size_t blocks);
// Calls fn for each slab of a cache, whatever list it is on, under the page allocator's lock.
// REQUIRES that no other thread makes slabs of this cache or gives them back.
void for_each_slab(const kmem_cache* cache, void (*fn)(page* slab, void* arg), void* arg);

// ---- report.cc: messages. A line of at most 255 bytes.
[[gnu::format(printf, 1, 2)]] void report(const char* format, ...);
// At most 10 in 5 seconds pass (lib/ratelimit.c); false: keep quiet.
bool report_ratelimit();

// ---- cpu_slot.cc: who owns which array
// Slot of the calling thread, acquired at the first call; 0 when there is none to be had.
unsigned slab_cpu_acquire();
// Functions that call others' doors for their own caller (kmalloc, bulk): a report of who called
// looks past them.
#define SLAB_ENTRY [[gnu::section("slab_entry")]]
extern "C" const char __start_slab_entry[];
extern "C" const char __stop_slab_entry[];

// Highest slot ever used, plus one.
unsigned nr_cpu_ids();
// Calls fn(slot, arg) for each slot whose thread has gone, owning it meanwhile.
void for_each_gone_cpu(void (*fn)(unsigned cpu, void* arg), void* arg);

// ---- slab_common.cc
extern constinit spinlock_t slab_mutex;
extern constinit kmem_cache* kmem_cache_cache; // the cache of caches
extern constinit struct cache_list {
    kmem_cache* first;
    kmem_cache* last;
} slab_caches; // guarded by slab_mutex
void slab_caches_add(kmem_cache* cache);
void slab_caches_del(kmem_cache* cache);
unsigned calculate_alignment(slab_flags_t flags, unsigned align, unsigned size);
int kmem_cache_sanity_check(const char* name, std::size_t size);
kmem_cache* find_mergeable(unsigned size, unsigned align, slab_flags_t flags, const char* name,
                           void (*ctor)(void*));
bool slab_unmergeable(const kmem_cache* cache);
void create_boot_cache(kmem_cache* cache, const char* name, unsigned size, slab_flags_t flags,
                       unsigned align);
void set_slab_state(slab_state_t state);
bool slab_boots_here(); // does this thread bring the allocator up right now?
void slab_set_hooks(std::uint32_t set, std::uint32_t clear, kmem_cache* only);
void slab_set_account_hooks();
kmem_cache* create_child_cache(kmem_cache* root, mem_cgroup* memcg, const char* name);
void free_cache(kmem_cache* cache);
std::string slabinfo_header(bool statistics);
std::string slabinfo_line(kmem_cache* cache);
extern constinit std::atomic<std::uint32_t> slab_default_hooks; // hooks of caches to come
bool slab_nomerge();
std::size_t call_shrinkers();

// ---- kmalloc.cc: steps of kmem_cache_init()
kmem_cache* create_kmalloc_cache(const char* name, unsigned size, slab_flags_t flags);
void create_kmalloc_node_cache();
void create_kmalloc_caches();
void publish_kmalloc_caches();

// Objects of a slab (SLUB falls back to smaller slabs when memory is short).
inline unsigned objs_per_slab(const kmem_cache* cache, const page* slab) {
    return (cache->flags & CFLGS_SLUB) ? slab->objects : cache->num;
}
// First page of the slab that holds an object of the cache.
inline page* virt_to_slab(const kmem_cache* cache, const void* object) {
    return virt_to_head_page(object, (cache->flags & CFLGS_SLUB)
                                         ? page_order(virt_to_pfn(object)) & 0x3fu
                                         : cache->gfporder);
}

// Does SLUB serve this cache? Asked in slow functions only.
inline bool is_slub(const kmem_cache* cache) {
    return cache->flags & CFLGS_SLUB;
}

// ---- slab.cc: what every allocation passes on its slow way, in both back ends (mm/slab.h)
// False: the allocation is to fail.
bool slab_pre_alloc_hook(kmem_cache* cache, gfp_t flags);
void slab_post_alloc_hook(kmem_cache* cache, gfp_t flags, std::size_t n, void** objects);

// ---- statistics that many threads count
inline void count(std::atomic<std::uint64_t>& counter, std::uint64_t n = 1) {
    counter.fetch_add(n, std::memory_order_relaxed);
}
inline void raise_to(std::atomic<std::uint64_t>& mark, std::uint64_t value) {
    std::uint64_t old = mark.load(std::memory_order_relaxed);
    while (old < value && !mark.compare_exchange_weak(old, value, std::memory_order_relaxed))
        ;
}

// ---- slab_cache.cc: pages of slabs, in both back ends
page* kmem_getpages(kmem_cache* cache, gfp_t flags, int nid, unsigned order);
void kmem_freepages(kmem_cache* cache, page* slab);
void kmem_freepages_rcu(kmem_cache* cache, page* slab); // after a grace period where there is need
// Counts a slab against the upper bound of the cache before it exists; false: none may be made.
bool charge_slab(kmem_cache* cache);
void uncharge_slab(kmem_cache* cache);

// ---- slab_cache.cc: making caches and slabs
int __kmem_cache_create(kmem_cache* cache, slab_flags_t flags);
int enable_cpucache(kmem_cache* cache);
void kmem_cache_init_gate(kmem_cache* cache);
void __kmem_cache_release(kmem_cache* cache);
int __kmem_cache_shutdown(kmem_cache* cache);
page* cache_grow_begin(kmem_cache* cache, gfp_t flags, int nid);
void slabs_destroy(kmem_cache* cache, page_list* list);
unsigned shared_entries(std::size_t batches, std::size_t batchcount);
void make_shared(kmem_cache* cache, kmem_cache_node* n);
void slab_init_tables();
int replace_static_nodes(kmem_cache* cache);
array_cache* alloc_arraycache(kmem_cache* cache, unsigned entries);
void free_arraycache(array_cache* ac);
int do_tune_cpucache(kmem_cache* cache, unsigned limit, unsigned batchcount, unsigned shared);
int cut_cache_again(kmem_cache* cache, slab_flags_t flags);
void rcu_barrier();

// ---- slab_debug.cc, slab_check.cc, slab_track.cc: debugging, for both back ends
// Flags of a cache that is about to be made, with what slab_debug_setup() adds by name.
slab_flags_t kmem_cache_flags(unsigned object_size, slab_flags_t flags, const char* name);
// Where an object's parts lie: sets red_left_pad, obj_offset, inuse, offset, track_offset from
// object_size, align, ctor and flags. `outside`: SLUB's free pointer may not lie in the object.
// Returns the bytes from one object to the next.
std::size_t lay_out_object(kmem_cache* cache, slab_flags_t flags, bool slub);
// Is the contents of free objects known (and checked)?
inline bool object_poisoned(const kmem_cache* cache, slab_flags_t flags) {
    return (flags & SLAB_POISON) && !(flags & SLAB_TYPESAFE_BY_RCU) && !cache->ctor;
}
// The hooks that the debugging flags ask for.
std::uint32_t slab_debug_hooks(slab_flags_t flags);
// Room in the live map and the random sequence of a new cache. 0, -ENOMEM, -ENOSPC.
int slab_debug_open(kmem_cache* cache);
void slab_debug_close(kmem_cache* cache);
// A slab was made (its objects are free, s_mem is set, no constructor has run).
void setup_slab_debug(kmem_cache* cache, page* slab);
// An object goes to / comes from a caller. False (and a report): take another / do not free it.
// REQUIRES HOOK_DEBUG or HOOK_HARDENED. `caller`: return address of the call.
bool alloc_debug_processing(kmem_cache* cache, void* object, const void* caller);
bool free_debug_processing(kmem_cache* cache, void* object, const void* caller);
// A line "  object ..." and who allocated it.
void report_live_object(const kmem_cache* cache, const void* object);

// ---- slab_random.cc
int cache_random_seq_create(kmem_cache* cache, unsigned count);
void cache_random_seq_destroy(kmem_cache* cache);
// Where in its random sequence a slab starts.
inline unsigned random_start(const kmem_cache* cache, const page* slab) {
    const auto n = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(slab) >> 6);
    return static_cast<unsigned>((std::uint64_t{n * 0x9e3779b1u} * cache->num) >> 32);
}
// The `place`-th object of a slab's random order, and the place of an object.
inline std::size_t random_object(const kmem_cache* cache, const page* slab, std::size_t place) {
    const std::size_t i = place + random_start(cache, slab);
    return cache->random_seq[i < cache->num ? i : i - cache->num];
}
inline std::size_t random_place(const kmem_cache* cache, const page* slab, std::size_t index) {
    const std::size_t i = cache->random_seq[cache->num + index];
    const unsigned start = random_start(cache, slab);
    return i >= start ? i - start : i + cache->num - start;
}

// ---- slab_reap.cc
void drain_cpu_caches(kmem_cache* cache);
bool try_to_free_pages(unsigned order);
int __kmem_cache_shrink(kmem_cache* cache);

// ---- memcg.cc: groups
extern constinit std::atomic<bool> memcg_kmem_enabled;
kmem_cache* memcg_kmem_get_cache(kmem_cache* cache);
kmem_cache* cache_from_obj(kmem_cache* cache, const void* object);
bool memcg_charge_slab(kmem_cache* cache, gfp_t flags, unsigned order);
void memcg_uncharge_slab(kmem_cache* cache, unsigned order);
void memcg_sweep(const kmem_cache* root);
int shutdown_memcg_caches(kmem_cache* root);
void memcg_free_cache_params(kmem_cache* root);
// The hook of a cache that is about to be made: has it to ask for whom a call is?
inline std::uint32_t memcg_hooks(const kmem_cache* cache, slab_flags_t flags) {
    return (flags & SLAB_ACCOUNT) && !cache->memcg_params.root_cache &&
                   memcg_kmem_enabled.load(std::memory_order_relaxed)
               ? std::uint32_t{HOOK_MEMCG}
               : 0u;
}

// ---- numa.cc, slab_numa.cc: nodes
inline kmem_cache_node* get_node(kmem_cache* cache, int nid) {
    return cache->node[nid];
}
int cpu_to_node(unsigned cpu);
int numa_node_wanted();
void slab_cpu_leave();
alien_cache** alloc_alien_caches(kmem_cache* cache, int nid);
void free_alien_caches(alien_cache** alien);
bool cache_free_alien(kmem_cache* cache, void* obj);
void drain_alien_caches(kmem_cache* cache, kmem_cache_node* n);
void reap_alien(kmem_cache* cache, kmem_cache_node* n);

// Flags for "this node or nothing": the caller tries other nodes itself, and says so itself when
// there is nothing.
inline gfp_t gfp_exact_node(gfp_t flags) {
    if (nr_node_ids() == 1)
        return flags;
    return (flags | __GFP_THISNODE | __GFP_NOWARN) & ~(__GFP_RECLAIM | __GFP_NOFAIL);
}

// Node of an object of the cache; the caller's where the address is none of it.
inline int obj_to_nid(const kmem_cache* cache, const void* obj) {
    if (nr_node_ids() == 1)
        return 0;
    if (virt_addr_valid(obj)) {
        const page* slab = virt_to_slab(cache, obj);
        if (slab->slab_cache == cache)
            return slab->nid;
    }
    return numa_mem_id();
}

// ---- the freelist index of a slab: which objects are free

inline void* index_to_obj(const kmem_cache* cache, const page* slab, std::size_t index) {
    return static_cast<std::byte*>(slab->s_mem) + index * cache->size;
}

// Exact for addresses of objects; for others the caller compares index_to_obj() with the address.
inline std::size_t obj_to_index(const kmem_cache* cache, const page* slab, const void* obj) {
    const auto offset = static_cast<std::uint64_t>(static_cast<const std::byte*>(obj) -
                                                   static_cast<std::byte*>(slab->s_mem));
    return (offset * cache->reciprocal_buffer_size) >> 32;
}

// Bytes of the index for `num` objects, whole words.
inline unsigned freelist_bytes(std::size_t num, slab_flags_t flags) {
    const std::size_t bytes = (flags & CFLGS_BITMAP) ? (num + 7) / 8 : num;
    return static_cast<unsigned>((bytes + 7) / 8 * 8);
}

inline std::uint64_t* bitmap_of(const page* slab) {
    return static_cast<std::uint64_t*>(slab->freelist);
}
using freelist_idx_t = std::uint8_t;
inline constexpr std::size_t SLAB_OBJ_MAX_NUM = 255; // what a freelist_idx_t can name
inline constexpr unsigned SLAB_OBJ_MIN_SIZE = 16;

// Is object `index` free on its slab? (Checks and reports; not for the fast path.)
bool object_is_free(const kmem_cache* cache, const page* slab, std::size_t index);

} // namespace slabfwd
