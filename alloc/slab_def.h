// SPDX-License-Identifier: BSD-3-Clause
//
// slab_def.h - the structures of a cache that the inline fast path has to see.
//
// Door: none of its own; include kmem_cache.h. Nobody but alloc/ writes to a field.
// Threads: an array_cache belongs to the one thread that owns its CPU slot. Other threads read
// its counters (relaxed atomics), nothing else: what they want done is a request that the owner
// serves in its slow path or in slab_cpu_serve().
// Origin: include/linux/slab_def.h, slub_def.h and mm/slab.c of Linux v5.2. Differences: the array
// keeps its cache and its counters, so that a handle needs nothing but the array; `touched` is set
// where the array is refilled, and found from a moved `avail` by cache_reap, to spare the fast path
// a store.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gfp.h"
#include "page_alloc.h"

namespace slabfwd {

struct kmem_cache;
struct kmem_cache_node;
struct cache_alias;
struct mem_cgroup;
struct memcg_cache_array;

/// Bound on the threads that have arrays of their own at the same time (slot 0 is "no slot").
/// Threads beyond it allocate and free under the lock of the node.
inline constexpr unsigned NR_CPUS = 256;

/// A value that its owner writes and others read, without order.
template <typename T>
class owned {
public:
    constexpr owned(T v = T{}) : v_(v) {}
    operator T() const { return v_.load(std::memory_order_relaxed); }
    owned(const owned&) = delete;
    owned& operator=(const owned&) = delete;
    T operator=(T v) {
        v_.store(v, std::memory_order_relaxed);
        return v;
    }
    /// Owner only: a load and a store, no locked instruction.
    void operator+=(T d) { *this = static_cast<T>(*this + d); }
    void operator-=(T d) { *this = static_cast<T>(*this - d); }
    void operator++(int) { *this += T{1}; }

private:
    std::atomic<T> v_;
};

/// A cache's view of the map of objects that callers hold (slab_live.h).
struct live_map {
    std::atomic<std::atomic<std::uint16_t>*> entry; ///< NULL: the cache never kept a map
    std::byte* base;                                ///< start of the address range that it covers
    std::size_t bytes;                              ///< of that range
    std::uint16_t tag;                              ///< the cache's mark, 8n + 1
    std::uint8_t shift;                             ///< log2 of the bytes an entry stands for
    std::atomic<bool> late;                         ///< the cache did not always keep the map
};

// entry[] is a flexible array, which C++ compilers know as an extension.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wc99-extensions"
#endif

/// Objects at hand for one CPU slot, of either back end; what a handle points to.
/// SLAB (and SLUB with a sheaf): entry[] is a stack, avail <= limit <= capacity.
/// SLUB: `freelist` are free objects of the cpu slab, linked through themselves; an object of
/// [slab_addr, slab_addr + slab_bytes) goes back onto it without a look at any metadata.
/// While hooks are on avail = limit = slab_bytes = 0 and freelist is NULL; the objects are `held`,
/// and hard_limit = limit if the only hook is the hardened mode.
struct alignas(64) array_cache {
    owned<std::uint32_t> avail;      ///< objects in entry[]
    owned<std::uint32_t> limit;      ///< free goes the slow way from here on; 0 while hooks are on
    owned<std::uint32_t> batchcount; ///< objects moved at a time
    owned<std::uint32_t> touched;    ///< refilled since cache_reap looked
    kmem_cache* cache;               ///< whose objects they are
    owned<void*> freelist;           ///< SLUB: next free object of the cpu slab
    owned<std::uintptr_t> slab_addr; ///< SLUB: memory of the cpu slab
    std::uint64_t random;            ///< SLUB: kmem_cache::random
    owned<std::uint32_t> slab_bytes; ///< SLUB: bytes of the cpu slab; 0 while there is none
    std::uint32_t offset;            ///< SLUB: kmem_cache::offset
    owned<std::uint64_t> tid;        ///< SLUB: moves whenever freelist is replaced
    // second line: for the slow way
    owned<page*> slab;                    ///< SLUB: the cpu slab
    page* partial;                        ///< SLUB: frozen slabs to take next
    owned<std::uint32_t> freelist_len;    ///< SLUB: objects on it; kept with a sheaf only
    owned<std::uint32_t> partial_slabs;   ///< SLUB: slabs in partial
    owned<std::uint32_t> partial_objects; ///< SLUB: about so many free objects in them
    owned<std::uint32_t> held;       ///< objects in entry[] that the fast path must not see (hooks)
    std::uint32_t capacity;          ///< room in entry[]
    owned<std::uint32_t> last_avail; ///< avail when cache_reap looked last
    owned<std::uint32_t> served;     ///< kmem_cache::request that the owner has served
    std::uint32_t drained;           ///< kmem_cache::drain that the owner has served
    owned<std::uint32_t> hard_limit; ///< what limit is to the hardened mode; 0: not that mode
    owned<std::uint32_t> live_tag;   ///< the cache's mark in the hardened mode; 0: not that mode
    void* held_freelist;             ///< freelist while hooks are on
    array_cache* retired;            ///< older arrays of this slot, kept for handles that name them
    owned<std::uint64_t>* stat;      ///< SLUB: NR_SLUB_STAT_ITEMS counters, behind entry[]
    // third line: counters
    owned<std::uint64_t> allochit;  ///< allocations from the array (while statistics are on)
    owned<std::uint64_t> allocmiss; ///< allocations that found it empty
    owned<std::uint64_t> freehit;   ///< frees into the array (while statistics are on)
    owned<std::uint64_t> freemiss;  ///< frees that found it full
    owned<std::uint64_t> refilled;  ///< objects that came in by refills
    owned<std::uint64_t> flushed;   ///< objects that left by flushes
    __extension__ void* entry[];    ///< the objects; the last in is the first out
};
/// SLUB's name for it (include/linux/slub_def.h).
using kmem_cache_cpu = array_cache;

/// Order of a slab and the objects in it (include/linux/slub_def.h).
struct kmem_cache_order_objects {
    unsigned x = 0;
};

/// What SLUB counts (include/linux/slub_def.h, the same names in /sys/kernel/slab/NAME/).
enum stat_item : unsigned {
    ALLOC_FASTPATH,          ///< from the cpu freelist or sheaf (while statistics are on)
    ALLOC_SLOWPATH,          ///< by __slab_alloc()
    FREE_FASTPATH,           ///< to the cpu freelist or sheaf (while statistics are on)
    FREE_SLOWPATH,           ///< by __slab_free()
    FREE_FROZEN,             ///< to a frozen slab
    FREE_ADD_PARTIAL,        ///< the free put a slab on the node's list
    FREE_REMOVE_PARTIAL,     ///< the free took a slab off it
    ALLOC_FROM_PARTIAL,      ///< cpu slab from the node's list
    ALLOC_SLAB,              ///< cpu slab from the page allocator
    ALLOC_REFILL,            ///< cpu freelist from the slab's own
    ALLOC_NODE_MISMATCH,     ///< another node was asked for
    FREE_SLAB,               ///< slab given back
    CPUSLAB_FLUSH,           ///< cpu slab given up
    DEACTIVATE_FULL,         ///< cpu slab was full when given up
    DEACTIVATE_EMPTY,        ///< was empty
    DEACTIVATE_TO_HEAD,      ///< went to the head of the node's list
    DEACTIVATE_TO_TAIL,      ///< went to its tail
    DEACTIVATE_REMOTE_FREES, ///< held frees of others
    DEACTIVATE_BYPASS,       ///< was used up, nothing to do
    ORDER_FALLBACK,          ///< slab of the smaller order
    CMPXCHG_DOUBLE_CPU_FAIL, ///< always 0: the slot is owned
    CMPXCHG_DOUBLE_FAIL,     ///< another changed the slab meanwhile
    CPU_PARTIAL_ALLOC,       ///< cpu slab from the slot's partial list
    CPU_PARTIAL_FREE,        ///< the free put a slab on the slot's list
    CPU_PARTIAL_NODE,        ///< slab moved from the node's to the slot's list
    CPU_PARTIAL_DRAIN,       ///< the slot's list went to the node
    NR_SLUB_STAT_ITEMS
};

#if defined(__clang__)
#pragma clang diagnostic pop
#endif

/// What ties a cache to groups (memcg.h): a root cache has children, a child has a root.
struct memcg_cache_params {
    kmem_cache* root_cache;                       ///< whose child it is; NULL: it is a root cache
    std::atomic<memcg_cache_array*> memcg_caches; ///< root: children by group; NULL: none yet
    kmem_cache* children;                         ///< root: first child
    kmem_cache* children_next;                    ///< child: next of its root
    kmem_cache* kmem_caches_next;                 ///< child: next of its group
    mem_cgroup* memcg;                            ///< child: who is charged
    mem_cgroup* made_for;                         ///< child: who was at first
    std::atomic<bool> dying;                      ///< child: takes objects back only
};

/// A cache of objects of one size.
struct kmem_cache {
    std::atomic<array_cache*> cpu_cache[NR_CPUS]; ///< by slot; gate() where there is none

    // 1) tunables
    owned<unsigned> batchcount;
    owned<unsigned> limit;
    owned<unsigned> shared; ///< room of the shared array, in batchcounts

    // 2) read at every refill and flush
    unsigned size;                        ///< bytes from one object to the next
    std::uint32_t reciprocal_buffer_size; ///< 2^32 / size, rounded up
    slab_flags_t flags;                   ///< SLAB_* and CFLGS_*
    unsigned num;                         ///< objects a slab
    unsigned gfporder;                    ///< order of a slab
    gfp_t allocflags;                     ///< added to the flags of the page allocator
    std::size_t colour;                   ///< colours to go through
    unsigned colour_off;                  ///< bytes a colour
    kmem_cache* freelist_cache;           ///< where off-slab freelist indices live
    unsigned freelist_size;               ///< bytes of a freelist index
    void (*ctor)(void*);                  ///< makes an object when its slab is made; or NULL
    std::atomic<std::uint32_t> hooks;     ///< enum slab_hook: why every call takes the slow way;
                                          ///< with the map's mark in the upper half, if it is kept
    std::atomic<std::uint32_t> request;   ///< generation of requests to the owners of arrays
    std::atomic<std::uint32_t> drain;     ///< generation of requests to empty the arrays

    // 2b) SLUB (offset, inuse and red_left_pad stand under 5)
    kmem_cache_order_objects oo;              ///< the order to ask for and its objects
    kmem_cache_order_objects max;             ///< the largest ever used
    kmem_cache_order_objects min;             ///< what to fall back to
    unsigned reserved;                        ///< bytes at the end of a slab that hold no object
    owned<unsigned> cpu_partial;              ///< free objects to keep in a slot's partial slabs
    owned<std::size_t> min_partial;           ///< slabs a node keeps even when they are empty
    owned<unsigned> remote_node_defrag_ratio; ///< 0..1023: how often to look at other nodes' lists
    unsigned freeptr_offset;                  ///< where the creator wants the free pointer
    bool use_freeptr_offset;                  ///< does it?
    unsigned sheaf_capacity;                  ///< room of a sheaf; 0: none
    std::uint64_t random;                     ///< key of the free pointers

    // 3) who it is
    const char* name;
    kmem_cache* next;     ///< in slab_caches
    kmem_cache* prev;     ///< idem
    int refcount;         ///< 1 + aliases
    unsigned object_size; ///< bytes that the caller asked for
    unsigned align;
    unsigned useroffset; ///< part of the object that may be copied out
    unsigned usersize;
    cache_alias* aliases;               ///< further names
    std::atomic<std::size_t> max_slabs; ///< hard upper bound on slabs; 0: none
    std::atomic<std::size_t> nr_slabs;  ///< slabs, those under way included

    // 4) statistics
    std::atomic<std::uint64_t> num_allocations; ///< objects moved from slabs to arrays or callers
    std::atomic<std::uint64_t> high_mark;       ///< most objects that were out at once
    std::atomic<std::uint64_t> grown;           ///< slabs made
    std::atomic<std::uint64_t> reaped;          ///< slabs given back by the reaper
    std::atomic<std::uint64_t> errors;          ///< allocations that failed
    std::atomic<std::uint64_t> max_freeable;    ///< most slabs ever given back at one flush
    std::atomic<std::uint64_t> node_allocs;
    std::atomic<std::uint64_t> node_frees;
    std::atomic<std::uint64_t> node_overflow;
    std::atomic<std::uint64_t> slow_allocs;              ///< by threads without an array
    std::atomic<std::uint64_t> slow_frees;               ///< idem
    std::atomic<std::uint64_t> stat[NR_SLUB_STAT_ITEMS]; ///< SLUB, by threads without a slot
    std::atomic<std::size_t> array_objs; ///< objects that hold some cache's array_cache

    // 5) debugging; where an object's parts lie, from its start: [-red_left_pad, 0) red zone,
    // [0, object_size) the object, up to inuse red zone, SLUB's free pointer if it is not in the
    // object, two tracks at track_offset, padding up to size - red_left_pad
    int obj_offset;                  ///< red_left_pad by SLAB's name
    unsigned red_left_pad;           ///< bytes before the object
    unsigned inuse;                  ///< end of the object and its right red zone
    unsigned offset;                 ///< of SLUB's free pointer
    unsigned track_offset;           ///< of the tracks; 0: none
    live_map live;                   ///< which objects callers hold
    std::atomic<bool> failslab;      ///< takes part in fault injection with a cache filter
    std::uint16_t* random_seq;       ///< random order of a slab's objects, and its inverse
    std::atomic<std::uint64_t> bugs; ///< misuse found

    memcg_cache_params memcg_params;

    kmem_cache_node* node[MAX_NUMNODES];

    /// Stands in cpu_cache[] where a slot has no array: always empty and always full, so that the
    /// fast path needs no check for "none".
    alignas(array_cache) std::byte gate_storage[sizeof(array_cache)];
    array_cache* gate() { return reinterpret_cast<array_cache*>(gate_storage); }
};

/// Slot of the calling thread; 0 until its first slow call.
extern constinit thread_local unsigned slab_cpu;

} // namespace slabfwd
