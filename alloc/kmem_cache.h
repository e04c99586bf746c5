// SPDX-License-Identifier: BSD-3-Clause
//
// kmem_cache.h - caches of objects of one size.
//
// Doors: kmem_cache_create(), kmem_cache_alloc(), kmem_cache_free(), kmem_cache_destroy(); the
// handle kmem_cache_this_cpu() for the fastest form; kmem_cache_of<T> for typed objects.
// Threads: every call may be made by any thread without registration; an object may be freed by
// another thread than the one that allocated it. A thread gets a CPU slot at its first call.
// Origin: include/linux/slab.h, mm/slab.c and mm/slab_common.c of Linux v5.2.
#pragma once

#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include "gfp.h"
#include "prefetch.h"
#include "slab_def.h"

#if defined(__SANITIZE_ADDRESS__)
#define SLABFWD_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLABFWD_ASAN 1
#endif
#endif
#if defined(SLABFWD_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace slabfwd {

/// How caches made from now on are cut and how much they keep at hand.
enum class slab_tuning {
    throughput, ///< large slabs, long arrays (default)
    linux_5_2,  ///< the kernel's numbers and its rule for the order
};

/// Which back end serves a cache.
enum class slab_allocator {
    slab, ///< mm/slab.c: arrays of objects a thread, slabs with an index (default)
    slub, ///< mm/slub.c: free objects linked through themselves
};

/// How far the allocator has come up (mm/slab.h).
enum slab_state_t {
    DOWN,         ///< nothing works yet
    PARTIAL,      ///< the cache of caches works
    PARTIAL_NODE, ///< kmalloc works for kmem_cache_node
    UP,           ///< all kmalloc caches work, with arrays of one entry
    FULL,         ///< everything works
};

/// Bring the allocator up. May be called, any number of times; the first cache made and the first
/// kmalloc() do it as well. `slab_set_tuning()` has to come before it.
void kmem_cache_init();
/// How far the allocator is.
slab_state_t slab_state();
/// 0, or -EBUSY when the allocator is up already.
int slab_set_tuning(slab_tuning tuning);
slab_tuning slab_get_tuning();
/// The back end of caches that do not name one. 0, or -EBUSY when the allocator is up already.
int slab_set_allocator(slab_allocator allocator);
slab_allocator slab_get_allocator();
/// The back end of a cache.
slab_allocator kmem_cache_allocator(const kmem_cache* cache);
/// May kmem_cache_create() return a cache that exists and fits (an alias)? Off by default: every
/// cache has its own line in slabinfo. May be changed at any time, for caches to come.
void slab_set_merge(bool merge);

/// Make a cache. `name` is copied. `size` in bytes (sizeof(void*) .. KMALLOC_MAX_SIZE), `align` a
/// power of two or 0 (word), `flags` SLAB_*, `ctor` is called once for each object when its slab
/// is made (an object is to be freed in its constructed state), or NULL.
/// NULL with errno set: EINVAL (bad argument), EEXIST (name is taken), ENOMEM.
kmem_cache* kmem_cache_create(const char* name, std::size_t size, std::size_t align,
                              slab_flags_t flags, void (*ctor)(void*));
/// As kmem_cache_create(), with the part of the object that __check_heap_object() lets through.
kmem_cache* kmem_cache_create_usercopy(const char* name, std::size_t size, std::size_t align,
                                       slab_flags_t flags, std::size_t useroffset,
                                       std::size_t usersize, void (*ctor)(void*));

/// What a cache may be made with beside name, size and flags (include/linux/slab.h of Linux 6.18,
/// with the back end added).
struct kmem_cache_args {
    unsigned align = 0;              ///< bytes; a power of two or 0
    unsigned useroffset = 0;         ///< part of the object that may be copied out
    unsigned usersize = 0;           ///< idem
    unsigned freeptr_offset = 0;     ///< SLUB: where a free object may hold the link; multiple of 8
    bool use_freeptr_offset = false; ///< is freeptr_offset set?
    void (*ctor)(void*) = nullptr;
    /// SLUB: objects a thread keeps at hand beside its slab. SHEAF_DEFAULT: by tuning and size
    /// (`linux_5_2`: none).
    static constexpr unsigned SHEAF_DEFAULT = ~0u;
    unsigned sheaf_capacity = SHEAF_DEFAULT;
    slab_allocator allocator = slab_get_allocator();
};
/// As kmem_cache_create(); `args` NULL: all as by default. EINVAL also for a free pointer that
/// would not lie in the object or one with a ctor.
kmem_cache* kmem_cache_create(const char* name, std::size_t size, const kmem_cache_args* args,
                              slab_flags_t flags);

/// End a cache (or drop one alias of it). REQUIRES that no other thread uses it any more.
/// 0; -EBUSY when objects are live: they are named in a report and the cache stays as it was.
/// NULL does nothing.
int kmem_cache_destroy(kmem_cache* cache);

/// Give free slabs back. The calling thread's array and those of threads that have gone are
/// drained at once, those of others when they next come by (slow path or slab_cpu_serve()).
/// 0 when no slab is left, else 1.
int kmem_cache_shrink(kmem_cache* cache);

/// Size of the objects as asked for.
inline unsigned kmem_cache_size(const kmem_cache* cache) {
    return cache->object_size;
}

/// At most `objects` objects exist in the cache at any time (0: no bound); rounded down to slabs,
/// one slab at least.
void kmem_cache_set_max(kmem_cache* cache, std::size_t objects);

/// May `n` bytes at `ptr` be copied out of the cache's object? 0 or -EFAULT (mm/slab.c,
/// __check_heap_object).
int __check_heap_object(const void* ptr, std::size_t n);

/// Cache of an object; NULL when the address is no slab's.
kmem_cache* virt_to_cache(const void* object);

/// The calling thread's way into a cache: its array. Valid in this thread for the life of the
/// cache. Plain value.
class kmem_cache_handle {
public:
    explicit kmem_cache_handle(array_cache* ac) : ac_(ac) {}
    array_cache* get() const { return ac_; }
    kmem_cache* cache() const { return ac_->cache; }

private:
    array_cache* ac_;
};

/// The calling thread's handle. Never fails: without memory for an array it works, slowly. After
/// the limit was raised beyond the array's room a handle taken before works on, by the slow way.
kmem_cache_handle kmem_cache_this_cpu(kmem_cache* cache);

/// What a worker calls in its loop: one load unless there is something to do (tunables that
/// changed, drains that were asked for).
inline void slab_cpu_serve();

/// The periodic drain (the kernel's runs every 2 s on each CPU): the calling thread's arrays, those
/// of threads that have gone, the shared arrays and free slabs, all in part and only where they
/// were not used since the last call. Returns the slabs given back.
std::size_t cache_reap();

/// All of it and at once: drains what can be drained, frees every free slab of every cache and
/// returns the memory of free pages to the system. Returns the bytes given back.
std::size_t slab_reclaim_all();

// ---------------------------------------------------------------------------------------------
// Grace periods, shrinkers, messages: what the process around the allocator plugs in.

/// How SLAB_TYPESAFE_BY_RCU waits. Without these there are no readers, and pages go back at once.
struct slab_rcu_ops {
    /// Call func(head) after a grace period. Must not call it before returning unless there are no
    /// readers. Must not allocate.
    void (*call_rcu)(rcu_head* head, void (*func)(rcu_head*));
    /// Return when everything handed to call_rcu() was called.
    void (*rcu_barrier)();
};
/// Set before the first reader; `ops` must outlive the caches. NULL: none.
void slab_set_rcu_ops(const slab_rcu_ops* ops);

/// Somebody who can free objects when memory is short (GFP_KERNEL allocations call them).
/// `scan` frees about `nr` objects and returns how many it freed; it may not allocate.
struct shrinker {
    std::size_t (*count_objects)(shrinker* self);
    std::size_t (*scan_objects)(shrinker* self, std::size_t nr);
    shrinker* next = nullptr;
};
void register_shrinker(shrinker* s);
void unregister_shrinker(shrinker* s);

/// Where reports go (one line without newline at a time); NULL: standard error. Called with locks
/// of the allocator held: must not call it.
void slab_set_report(void (*report)(const char* line));

// ---------------------------------------------------------------------------------------------
// The fast path. Always inline, also without optimisation: reports name the caller's return
// address.

namespace detail {
extern constinit std::atomic<std::uint32_t> slab_request_gen;
extern constinit thread_local std::uint32_t slab_request_served;
void slab_cpu_serve_slow();
void* cache_alloc_slow(kmem_cache* cache, gfp_t flags);
void cache_free_slow(kmem_cache* cache, void* object);
std::size_t cache_alloc_bulk(kmem_cache* cache, array_cache* ac, gfp_t flags, std::size_t n,
                             void** objects);
void cache_free_bulk(kmem_cache* cache, array_cache* ac, std::size_t n, void** objects);

#if defined(SLABFWD_ASAN)
inline constexpr bool SLABFWD_POISONS = true;
#else
inline constexpr bool SLABFWD_POISONS = false;
#endif

inline void kasan_unpoison([[maybe_unused]] const kmem_cache* c, [[maybe_unused]] void* p) {
#if defined(SLABFWD_ASAN)
    __asan_unpoison_memory_region(p, c->object_size);
#endif
}
inline void kasan_poison([[maybe_unused]] const kmem_cache* c, [[maybe_unused]] void* p) {
#if defined(SLABFWD_ASAN)
    if (!(c->flags & SLAB_TYPESAFE_BY_RCU) && virt_addr_valid(p))
        __asan_poison_memory_region(p, c->object_size);
#endif
}

// SLUB's free pointer is stored encoded, so that an overwritten one does not lead where its writer
// wants (mm/slub.c, freelist_ptr, CONFIG_SLAB_FREELIST_HARDENED). Encoding is its own inverse.
inline std::uintptr_t freelist_ptr(std::uint64_t random, std::uintptr_t ptr, std::uintptr_t at) {
    return ptr ^ random ^ __builtin_bswap64(at);
}

// What follows a free object on the cpu freelist. The place of the link may be poisoned.
[[gnu::no_sanitize_address]] inline void* cpu_get_freepointer(const array_cache* ac,
                                                              const void* object) {
    const auto at = reinterpret_cast<std::uintptr_t>(object) + ac->offset;
    return reinterpret_cast<void*>(
        freelist_ptr(ac->random, *reinterpret_cast<const std::uintptr_t*>(at), at));
}
[[gnu::no_sanitize_address]] inline void cpu_set_freepointer(const array_cache* ac, void* object,
                                                             const void* next) {
    const auto at = reinterpret_cast<std::uintptr_t>(object) + ac->offset;
    *reinterpret_cast<std::uintptr_t*>(at) =
        freelist_ptr(ac->random, reinterpret_cast<std::uintptr_t>(next), at);
}

// ---- the map of objects that callers hold; see slab_live.h

inline std::atomic<std::uint16_t>& live_at(const live_map* m, const void* address) {
    return m->entry.load(std::memory_order_relaxed)
        [static_cast<std::size_t>(static_cast<const std::byte*>(address) - m->base) >> m->shift];
}
inline std::uint16_t live_value(const void* object, std::uint32_t tag) {
    return static_cast<std::uint16_t>(reinterpret_cast<std::uintptr_t>(object) + tag);
}
/// An object goes to a caller. False: a caller has it already. REQUIRES an object of the cache.
inline bool live_take(const live_map* m, const void* object, std::uint32_t tag) {
    std::atomic<std::uint16_t>& entry = live_at(m, object);
    const std::uint16_t value = live_value(object, tag);
    if (entry.load(std::memory_order_relaxed) == value) [[unlikely]]
        return false;
    entry.store(value, std::memory_order_relaxed);
    return true;
}
/// An address comes back. False: no caller has an object of this cache there.
inline bool live_drop(const live_map* m, const void* address, std::uint32_t tag) {
    if (static_cast<std::size_t>(static_cast<const std::byte*>(address) - m->base) >= m->bytes)
        [[unlikely]]
        return false;
    std::atomic<std::uint16_t>& entry = live_at(m, address);
    if (entry.load(std::memory_order_relaxed) != live_value(address, tag)) [[unlikely]]
        return false;
    entry.store(static_cast<std::uint16_t>(tag + 1), std::memory_order_relaxed); // free
    return true;
}

/// Objects in an array of which the first line is fetched before they are handed out.
inline constexpr std::uint32_t AC_AHEAD = 16;

/// An object that was freed long ago has left the caches, and its next owner is about to write to
/// it: the one that goes out AC_AHEAD calls from now is fetched, and returned. REQUIRES n > 0.
[[gnu::always_inline]] inline void* ac_fetch_ahead(const array_cache* ac, std::uint32_t n) {
    void* object = ac->entry[n > AC_AHEAD ? n - 1 - AC_AHEAD : 0];
    prefetchw(object);
    return object;
}

/// The array looks empty: SLUB's cpu freelist, the hardened mode's way, or the slow one. A
/// kmem_cache_cpu is its slot's owner's, so plain stores do (the kernel's compare-and-exchange
/// guards against being moved to another CPU).
[[gnu::always_inline]] inline void* ac_get_hidden(array_cache* ac, gfp_t flags) {
    void* object = ac->freelist;
    if (object) {
        kasan_unpoison(ac->cache, object);
        ac->freelist = cpu_get_freepointer(ac, object);
    } else {
        const std::uint32_t n = ac->held;
        const std::uint32_t tag = ac->live_tag;
        if (!tag || n == 0 || !live_take(&ac->cache->live, ac->entry[n - 1], tag)) [[unlikely]]
            return cache_alloc_slow(ac->cache, flags);
        ac->held = n - 1;
        object = ac->entry[n - 1];
        prefetchw(&live_at(&ac->cache->live, ac_fetch_ahead(ac, n)));
        kasan_unpoison(ac->cache, object);
    }
    if (flags & __GFP_ZERO)
        std::memset(object, 0, ac->cache->object_size);
    return object;
}

/// The array looks full: back onto SLUB's cpu freelist if it is of that slab, or idem.
[[gnu::always_inline]] inline void ac_put_hidden(array_cache* ac, void* object) {
    if (reinterpret_cast<std::uintptr_t>(object) - ac->slab_addr < ac->slab_bytes) {
        cpu_set_freepointer(ac, object, ac->freelist);
        ac->freelist = object;
        kasan_poison(ac->cache, object);
        return;
    }
    const std::uint32_t n = ac->held;
    if (n >= ac->hard_limit || !live_drop(&ac->cache->live, object, ac->live_tag)) [[unlikely]]
        return cache_free_slow(ac->cache, object);
    kasan_poison(ac->cache, object);
    ac->entry[n] = object;
    ac->held = n + 1;
}

[[gnu::always_inline]] inline void* ac_get(array_cache* ac, gfp_t flags) {
    const std::uint32_t n = ac->avail;
    if (n == 0) [[unlikely]]
        return ac_get_hidden(ac, flags);
    ac->avail = n - 1;
    void* object = ac->entry[n - 1];
    ac_fetch_ahead(ac, n);
    kasan_unpoison(ac->cache, object);
    if (flags & __GFP_ZERO)
        std::memset(object, 0, ac->cache->object_size);
    return object;
}

[[gnu::always_inline]] inline void ac_put(array_cache* ac, void* object) {
    const std::uint32_t n = ac->avail;
    if (n >= ac->limit) [[unlikely]]
        return ac_put_hidden(ac, object);
    kasan_poison(ac->cache, object);
    ac->entry[n] = object;
    ac->avail = n + 1;
}

/// `n` objects out of the array, or the slow way for all of them.
[[gnu::always_inline]] inline std::size_t ac_get_bulk(array_cache* ac, gfp_t flags, std::size_t n,
                                                      void** objects) {
    const std::uint32_t avail = ac->avail;
    if (n > avail || (flags & (__GFP_ZERO | __GFP_NOFAIL)) || SLABFWD_POISONS) [[unlikely]]
        return cache_alloc_bulk(ac->cache, ac, flags, n, objects);
    ac->avail = avail - static_cast<std::uint32_t>(n);
    std::memcpy(objects, ac->entry + (avail - n), sizeof(void*) * n);
    return n;
}

/// `n` objects into the array, or the slow way for all of them.
[[gnu::always_inline]] inline void ac_put_bulk(array_cache* ac, std::size_t n, void** objects) {
    const std::uint32_t avail = ac->avail;
    const std::uint32_t limit = ac->limit;
    if (n > limit || avail > limit - n || SLABFWD_POISONS) [[unlikely]]
        return cache_free_bulk(ac->cache, ac, n, objects);
    std::memcpy(ac->entry + avail, objects, sizeof(void*) * n);
    ac->avail = avail + static_cast<std::uint32_t>(n);
}

inline array_cache* this_ac(kmem_cache* cache) {
    return cache->cpu_cache[slab_cpu].load(std::memory_order_relaxed);
}
} // namespace detail

inline void slab_cpu_serve() {
    if (detail::slab_request_gen.load(std::memory_order_relaxed) != detail::slab_request_served)
        [[unlikely]]
        detail::slab_cpu_serve_slow();
}

/// The array of the calling thread (mm/slab.c, cpu_cache_get).
inline array_cache* cpu_cache_get(kmem_cache* cache) {
    return detail::this_ac(cache);
}

/// An object, or NULL when out of memory. Its bytes are whatever was there (zero with __GFP_ZERO,
/// constructed with a ctor).
[[gnu::always_inline]] inline void* kmem_cache_alloc(kmem_cache* cache, gfp_t flags) {
    return detail::ac_get(detail::this_ac(cache), flags);
}
[[gnu::always_inline]] inline void* kmem_cache_alloc(kmem_cache_handle h, gfp_t flags) {
    return detail::ac_get(h.get(), flags);
}

/// An object of node `nid` (NUMA_NO_NODE: the caller's) or, when that has none and without
/// __GFP_THISNODE, of another.
void* kmem_cache_alloc_node(kmem_cache* cache, gfp_t flags, int nid);

/// An object filled with zeros, or NULL.
[[gnu::always_inline]] inline void* kmem_cache_zalloc(kmem_cache* cache, gfp_t flags) {
    return kmem_cache_alloc(cache, flags | __GFP_ZERO);
}
[[gnu::always_inline]] inline void* kmem_cache_zalloc(kmem_cache_handle h, gfp_t flags) {
    return kmem_cache_alloc(h, flags | __GFP_ZERO);
}

/// Give an object back, from any thread. It must be of this cache and not NULL.
[[gnu::always_inline]] inline void kmem_cache_free(kmem_cache* cache, void* object) {
    detail::ac_put(detail::this_ac(cache), object);
}
[[gnu::always_inline]] inline void kmem_cache_free(kmem_cache_handle h, void* object) {
    detail::ac_put(h.get(), object);
}

/// `n` objects at a time into `objects`. All or nothing: returns n or 0.
[[gnu::always_inline]] inline std::size_t kmem_cache_alloc_bulk(kmem_cache* cache, gfp_t flags,
                                                                std::size_t n, void** objects) {
    return detail::ac_get_bulk(detail::this_ac(cache), flags, n, objects);
}
[[gnu::always_inline]] inline std::size_t kmem_cache_alloc_bulk(kmem_cache_handle h, gfp_t flags,
                                                                std::size_t n, void** objects) {
    return detail::ac_get_bulk(h.get(), flags, n, objects);
}

/// Give `n` objects of the cache back.
[[gnu::always_inline]] inline void kmem_cache_free_bulk(kmem_cache* cache, std::size_t n,
                                                        void** objects) {
    detail::ac_put_bulk(detail::this_ac(cache), n, objects);
}
[[gnu::always_inline]] inline void kmem_cache_free_bulk(kmem_cache_handle h, std::size_t n,
                                                        void** objects) {
    detail::ac_put_bulk(h.get(), n, objects);
}

// ---------------------------------------------------------------------------------------------
// C++ around it.

struct kmem_cache_deleter {
    void operator()(kmem_cache* c) const { kmem_cache_destroy(c); }
};
/// A cache that is destroyed at the end of the scope.
using kmem_cache_ptr = std::unique_ptr<kmem_cache, kmem_cache_deleter>;

/// A cache of T. Objects are made by their constructor at create() and ended by destroy(); the
/// constructor must not throw. The cache ends with this object. Threads: as kmem_cache.
template <typename T>
class kmem_cache_of {
public:
    kmem_cache_of() = default;
    explicit kmem_cache_of(const char* name, slab_flags_t flags = 0)
        : cache_(kmem_cache_create(name, sizeof(T) < sizeof(void*) ? sizeof(void*) : sizeof(T),
                                   alignof(T), flags, nullptr)) {}

    explicit operator bool() const { return cache_ != nullptr; }
    kmem_cache* get() const { return cache_.get(); }
    kmem_cache_handle this_cpu() const { return kmem_cache_this_cpu(get()); }

    /// A new T, or NULL when out of memory. With __GFP_ZERO the bytes are zero before the
    /// constructor runs.
    template <typename... Args>
    [[nodiscard]] T* create(gfp_t flags, Args&&... args) {
        static_assert(std::is_nothrow_constructible_v<T, Args...>);
        void* p = kmem_cache_alloc(get(), flags);
        return p ? ::new (p) T(std::forward<Args>(args)...) : nullptr;
    }
    /// End a T that create() made. NULL does nothing.
    void destroy(T* object) {
        if (!object)
            return;
        object->~T();
        kmem_cache_free(get(), object);
    }

private:
    kmem_cache_ptr cache_;
};

} // namespace slabfwd
