// SPDX-License-Identifier: BSD-3-Clause
//
// slab_bulk.cc - many objects at a time, in both back ends.
//
// Doors: kmem_cache_alloc_bulk(), kmem_cache_free_bulk(), which are inline and come here.
// What the array has goes out, what it has room for comes in, by one copy; more than an array holds
// goes to the node at once.
// Threads: as slab.cc.
// Origin: kmem_cache_alloc_bulk() and kmem_cache_free_bulk() of mm/slab.c, Linux v5.2; all or
// nothing as there.
#include <algorithm>
#include <cstring>

#include "alloc/array_cache.h"
#include "alloc/slub.h"

namespace slabfwd::detail {

namespace {

// The part of a bulk allocation that the array cannot serve.
SLAB_ENTRY std::size_t alloc_bulk_slow(kmem_cache* cache, gfp_t flags, std::size_t n,
                                       void** objects) {
    if (cache->hooks.load(std::memory_order_relaxed)) {
        for (std::size_t i = 0; i < n; ++i)
            if (!(objects[i] = ac_get(this_ac(cache), flags)))
                return i;
        return n;
    }
    if (is_slub(cache))
        return slub_alloc_bulk(cache, flags, n, objects);
    std::size_t got = 0;
    while (got < n) {
        array_cache* ac = cpu_array(cache);
        const std::size_t want = n - got;
        if (!ac || want >= ac->capacity) { // too many for the array: from the node at once
            got += ____cache_alloc_node(cache, flags, numa_mem_id(), objects + got, want);
            break;
        }
        const array_scope scope(cache, ac);
        if (!ac->avail) {
            ac->touched = 1; // as many as the batch allows
            void* obj = cache_alloc_refill(cache, ac, flags);
            if (!obj)
                break;
            ac->entry[ac->avail] = obj;
            ac->avail += 1;
        }
        const std::size_t take = std::min<std::size_t>(ac->avail, want);
        ac->avail -= static_cast<std::uint32_t>(take);
        std::memcpy(objects + got, ac->entry + ac->avail, sizeof(void*) * take);
        got += take;
    }
    if (got < n)
        got += fallback_alloc(cache, flags, objects + got, n - got);
    // Debugging was turned on meanwhile: these have not been seen. They came out of a lock, so
    // whoever marked them free did so before.
    if (cache->hooks.load(std::memory_order_acquire) & (HOOK_DEBUG | HOOK_HARDENED))
        for (std::size_t i = 0; i < got; ++i)
            alloc_debug_processing(cache, objects[i], __builtin_return_address(0));
    return got;
}

} // namespace

SLAB_ENTRY std::size_t cache_alloc_bulk(kmem_cache* cache, array_cache* ac, gfp_t flags,
                                        std::size_t n, void** objects) {
    if (flags & __GFP_NOFAIL)
        return 0;
    std::size_t got = std::min<std::size_t>(ac->avail, n);
    if (got) {
        ac->avail -= static_cast<std::uint32_t>(got);
        std::memcpy(objects, ac->entry + ac->avail, sizeof(void*) * got);
    }
    if (got < n)
        got += alloc_bulk_slow(cache, flags, n - got, objects + got);
    if (got < n) {
        slab_out_of_memory(cache, flags);
        for (std::size_t i = 0; i < got; ++i)
            kmem_cache_free(cache, objects[i]);
        return 0;
    }
    slab_post_alloc_hook(cache, flags, n, objects);
    return n;
}

SLAB_ENTRY void cache_free_bulk(kmem_cache* cache, array_cache* ac, std::size_t n, void** objects) {
    if (ac->limit == 0 && cache->hooks.load(std::memory_order_relaxed)) {
        for (std::size_t i = 0; i < n; ++i)
            ac_put(this_ac(cache), objects[i]);
        return;
    }
    for (std::size_t i = 0; SLABFWD_POISONS && i < n; ++i)
        kasan_poison(cache, objects[i]);
    while (n) {
        const std::uint32_t avail = ac->avail;
        const std::uint32_t limit = ac->limit;
        const std::size_t room = limit > avail ? limit - avail : 0;
        if (!room || n > limit) { // the gate, hooks, a full array, or more than an array holds
            if (is_slub(cache))
                return slub_free_bulk(cache, n, objects);
            array_cache* mine = cpu_array_to_fill(cache);
            if (!mine || n > mine->capacity) {
                count(cache->slow_frees, n);
                return cache_free_node(cache, objects, n);
            }
            ac = mine;
            const array_scope scope(cache, ac);
            ___cache_free(cache, ac, *objects++);
            --n;
            continue;
        }
        const std::size_t put = std::min(room, n);
        std::memcpy(ac->entry + avail, objects, sizeof(void*) * put);
        ac->avail = static_cast<std::uint32_t>(avail + put);
        objects += put;
        n -= put;
    }
}

} // namespace slabfwd::detail
