// SPDX-License-Identifier: BSD-3-Clause
//
// slub.h - what the files of SLUB share: the state of a slab, free pointers, counters.
//
// Doors: slub_alloc_object(), slub_free_object() and their bulk forms, called by the slow functions
// of slab.cc and slab_bulk.cc when a cache has CFLGS_SLUB; kmem_cache_open() makes such a cache.
// Threads: kmem_cache_cpu (= array_cache) belongs to its slot's owner. page::counters of a slab is
// changed by compare-and-exchange by anybody; the node's list_lock guards its partial list, and
// freezing a slab of that list. A frozen slab is its owner's: on no list but its own.
// Origin: mm/slub.c and include/linux/slub_def.h of Linux v5.2 under their names. Differences: the
// 16-byte exchange of (freelist, counters) is one of 8 bytes, the freelist being an offset; the
// per-CPU exchange is plain stores, as a slot is owned; sheaves as in Linux 6.18 stand before it
// in the `throughput` tuning.
#pragma once

#include <cstdint>

#include "alloc/slab.h"

namespace slabfwd {

// ---- the state of a slab: page::counters
struct slab_counters {
    std::uint32_t freelist; // place of the first free object, see slab_place(); 0: none
    std::uint16_t inuse;    // objects that are not in that freelist
    bool frozen;            // belongs to a slot

    constexpr bool operator==(const slab_counters&) const = default;
    constexpr std::uint64_t word() const {
        return freelist | std::uint64_t{inuse} << 32 | std::uint64_t{frozen} << 48;
    }
    static constexpr slab_counters of(std::uint64_t w) {
        return {static_cast<std::uint32_t>(w), static_cast<std::uint16_t>(w >> 32),
                (w >> 48 & 1) != 0};
    }
};

inline slab_counters read_counters(page* slab) {
    return slab_counters::of(
        std::atomic_ref<std::uint64_t>(slab->counters).load(std::memory_order_acquire));
}
inline void init_counters(page* slab, slab_counters c) {
    std::atomic_ref<std::uint64_t>(slab->counters).store(c.word(), std::memory_order_release);
}
// False: another changed it; `*old` is what it holds now.
inline bool cmpxchg_double_slab(page* slab, slab_counters* old, slab_counters to) {
    std::uint64_t expected = old->word();
    const bool done = std::atomic_ref<std::uint64_t>(slab->counters)
                          .compare_exchange_weak(expected, to.word(), std::memory_order_acq_rel,
                                                 std::memory_order_acquire);
    if (!done)
        *old = slab_counters::of(expected);
    return done;
}

// An object's place on its slab and back; NULL is 0.
inline std::uint32_t slab_place(const page* slab, const void* object) {
    return object ? static_cast<std::uint32_t>((static_cast<const std::byte*>(object) -
                                                static_cast<const std::byte*>(slab->s_mem)) /
                                               static_cast<std::ptrdiff_t>(BYTES_PER_WORD)) +
                        1
                  : 0;
}
inline void* slab_object_at(const page* slab, std::uint32_t place) {
    return place ? static_cast<std::byte*>(slab->s_mem) + (place - 1) * BYTES_PER_WORD : nullptr;
}

// ---- free pointers (the object may be poisoned for AddressSanitizer)
[[gnu::no_sanitize_address]] inline void* get_freepointer(const kmem_cache* cache,
                                                          const void* object) {
    const auto at = reinterpret_cast<std::uintptr_t>(object) + cache->offset;
    return reinterpret_cast<void*>(
        detail::freelist_ptr(cache->random, *reinterpret_cast<const std::uintptr_t*>(at), at));
}
[[gnu::no_sanitize_address]] inline void set_freepointer(const kmem_cache* cache, void* object,
                                                         const void* next) {
    const auto at = reinterpret_cast<std::uintptr_t>(object) + cache->offset;
    *reinterpret_cast<std::uintptr_t*>(at) =
        detail::freelist_ptr(cache->random, reinterpret_cast<std::uintptr_t>(next), at);
}

// ---- order and objects in one number (mm/slub.c)
inline constexpr unsigned OO_SHIFT = 16;
inline constexpr unsigned OO_MASK = (1u << OO_SHIFT) - 1;
inline constexpr unsigned MAX_OBJS_PER_PAGE = 32767;
inline unsigned order_objects(unsigned order, unsigned size, unsigned reserved = 0) {
    return static_cast<unsigned>(((PAGE_SIZE << order) - reserved) / size);
}
inline kmem_cache_order_objects oo_make(unsigned order, unsigned size, unsigned reserved = 0) {
    return {(order << OO_SHIFT) + order_objects(order, size, reserved)};
}
inline unsigned oo_order(kmem_cache_order_objects oo) {
    return oo.x >> OO_SHIFT;
}
inline unsigned oo_objects(kmem_cache_order_objects oo) {
    return oo.x & OO_MASK;
}

// ---- counters: the slot's, or the cache's for threads without one
inline void stat(kmem_cache* cache, kmem_cache_cpu* c, stat_item item, std::uint64_t n = 1) {
    if (c)
        c->stat[item] += n;
    else
        cache->stat[item].fetch_add(n, std::memory_order_relaxed);
}
std::uint64_t slub_stat(const kmem_cache* cache, stat_item item);
// Objects that left the node (its slabs, its barn) / came back to it, by whom.
inline void account_out(kmem_cache* cache, kmem_cache_cpu* c, std::uint64_t n) {
    if (c)
        c->refilled += n;
    else
        cache->slow_allocs.fetch_add(n, std::memory_order_relaxed);
}
inline void account_back(kmem_cache* cache, kmem_cache_cpu* c, std::uint64_t n) {
    if (c)
        c->flushed += n;
    else
        cache->slow_frees.fetch_add(n, std::memory_order_relaxed);
}
void slub_clear_stat(kmem_cache* cache, stat_item item);

// Has the cache sheaves? Then the cpu freelist is the slow path's only.
inline bool has_sheaf(const kmem_cache_cpu* c) {
    return c->capacity != 0;
}
inline bool kmem_cache_has_cpu_partial(const kmem_cache* cache, const kmem_cache_cpu* c) {
    return c && cache->cpu_partial;
}

// ---- slub.cc
void* slub_alloc_object(kmem_cache* cache, gfp_t flags, int node);
std::size_t slub_alloc_bulk(kmem_cache* cache, gfp_t flags, std::size_t n, void** objects);
void slub_free_object(kmem_cache* cache, void* object);
void slub_free_past_cpu(kmem_cache* cache, void* object); // the slot keeps nothing of it
void free_many(kmem_cache* cache, kmem_cache_cpu* c, void** objects, std::size_t n);
void slub_free_bulk(kmem_cache* cache, std::size_t n, void** objects);
// Shows the fast path what it may take, or hides it (hooks, sheaves). Owner of the slot only.
void slub_cpu_open(kmem_cache* cache, kmem_cache_cpu* c);
void slub_cpu_close(kmem_cache* cache, kmem_cache_cpu* c);
// Everything of a slot back to the node. Owner of the slot only.
void flush_cpu_slab(kmem_cache* cache, kmem_cache_cpu* c);
void slub_cpu_dead(kmem_cache* cache, kmem_cache_cpu* c); // opens and closes
void flush_slab(kmem_cache* cache, kmem_cache_cpu* c);
void deactivate_slab(kmem_cache* cache, kmem_cache_cpu* c);
void unfreeze_partials(kmem_cache* cache, kmem_cache_cpu* c);
void slub_serve_requests(kmem_cache* cache, kmem_cache_cpu* c);
void add_partial(kmem_cache_node* n, page* slab, bool tail);
void remove_partial(kmem_cache_node* n, page* slab);

// ---- slub_barn.cc: objects of a node between its slots' sheaves (kmem_cache_node::shared)
inline constexpr unsigned MAX_FULL_SHEAVES = 10; // so many sheaves' objects fit
// At most `max` objects of the caller's node into `to`; returns how many.
std::size_t barn_get(kmem_cache* cache, kmem_cache_cpu* c, void** to, std::size_t max);
// What there is room for of n objects, the first ones; returns how many.
std::size_t barn_put(kmem_cache* cache, kmem_cache_cpu* c, void** objects, std::size_t n);
// At most nr objects go back to their slabs.
void barn_shrink(kmem_cache* cache, kmem_cache_node* n, std::size_t nr);
// The reaper's turn: a part of a barn that nobody took from since the last time.
void barn_reap(kmem_cache* cache, kmem_cache_node* n);

// ---- slub_cache.cc
int kmem_cache_open(kmem_cache* cache, slab_flags_t flags);
int calculate_sizes(kmem_cache* cache, slab_flags_t flags, int forced_order);
kmem_cache_cpu* alloc_kmem_cache_cpu(kmem_cache* cache);
page* new_slab(kmem_cache* cache, gfp_t flags, int node, kmem_cache_cpu* c);
void discard_slab(kmem_cache* cache, page* slab);
void slub_kmem_cache_init();
std::size_t slub_drain_node(kmem_cache* cache, kmem_cache_node* n, std::size_t tofree);
int slub_cache_shrink(kmem_cache* cache);
int slub_cache_shutdown(kmem_cache* cache);
std::size_t slub_reap(kmem_cache* cache, kmem_cache_node* n);
void set_min_partial(kmem_cache* cache, std::size_t min);
// A group's child gets what was set for its root by hand.
void slub_propagate_attrs(kmem_cache* child);
// A dying child keeps no slab that is empty.
void slub_deactivate(kmem_cache* child);

// ---- slub_valid.cc
bool slub_object_is_free(const kmem_cache* cache, page* slab, std::size_t index);
bool slub_is_valid(kmem_cache* cache, std::string* why);
// Objects that have left the slabs: with callers, in sheaves, on cpu freelists.
std::size_t slub_objects_out(const kmem_cache* cache);
// Of these, the ones in sheaves and on cpu freelists, as far as the caller can know: those on the
// cpu freelist of a thread that runs now count as with callers unless the cache has sheaves.
std::size_t slub_objects_at_hand(kmem_cache* cache);

} // namespace slabfwd
