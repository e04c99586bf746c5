// SPDX-License-Identifier: BSD-3-Clause
//
// array_cache.h - what the slow way does with the array of the calling thread.
//
// Doors of array_cache.cc and slab.cc; internal.
// Threads: an array is its slot's owner's.
#pragma once

#include <algorithm>
#include <cstddef>

#include "alloc/slab.h"

namespace slabfwd {

// While it lives, an array shows its real contents and limit; then it hides them again if hooks
// are on. Owner only. A shrinker that runs inside may free into the same cache, so scopes nest and
// the array may have been replaced by the end.
class array_scope {
public:
    array_scope(kmem_cache* cache, array_cache* const& ac) : cache_(cache), ac_(&ac) {
        open(cache, ac);
    }
    ~array_scope() { close(cache_, *ac_); }
    array_scope(const array_scope&) = delete;

    static void open(kmem_cache* cache, array_cache* ac) {
        if (ac->held) {
            ac->avail += ac->held;
            ac->held = 0;
        }
        ac->limit = std::min<std::uint32_t>(cache->limit, ac->capacity);
        ac->batchcount = std::min<std::uint32_t>(cache->batchcount, ac->limit);
        ac->hard_limit = 0;
        ac->live_tag = 0;
    }
    static void close(kmem_cache* cache, array_cache* ac) {
        const std::uint32_t hooks = cache->hooks.load(std::memory_order_acquire);
        if (!hooks) {
            if (nr_node_ids() > 1) // whose node is it? every free has to look
                ac->limit = 0;
            return;
        }
        if ((hooks & HOOK_ALL) == HOOK_HARDENED && nr_node_ids() == 1) {
            ac->hard_limit = std::uint32_t{ac->limit};
            ac->live_tag = hooks >> HOOK_TAG_SHIFT;
        }
        ac->held += ac->avail;
        ac->avail = 0;
        ac->limit = 0;
    }

private:
    kmem_cache* cache_;
    array_cache* const* ac_; // the caller's variable, which follows a replacement
};

// At most `max` objects from one array to the tail of another; returns how many.
std::size_t transfer_objects(array_cache* to, array_cache* from, std::size_t max);
// The calling thread's array with all requests served, made if need be; NULL: none can be had.
array_cache* cpu_array(kmem_cache* cache);
// cpu_array() for n objects that come back: a full array may need the shared one, which is not made
// before.
array_cache* cpu_array_to_fill(kmem_cache* cache, std::size_t n = 1);
// What others asked of the array in this slot. Owner of the slot only.
void serve_requests(kmem_cache* cache, unsigned cpu);
void drain_array(kmem_cache* cache, kmem_cache_node* n, array_cache* ac, std::size_t nr);
// The node whose objects an array holds: that of its slot.
kmem_cache_node* array_node(kmem_cache* cache, const array_cache* ac);
// Everything of one slot's array onto the slabs. Owner of the slot only.
void drain_array_all(kmem_cache* cache, array_cache* ac);
void drain_shared(kmem_cache* cache, kmem_cache_node* n, std::size_t nr);
// Up to `tofree` free slabs go; returns how many.
std::size_t drain_freelist(kmem_cache* cache, kmem_cache_node* n, std::size_t tofree);

// ---- slab.cc, for the bulk calls
// Refills an empty array and takes the last object of it. NULL when out of memory.
void* cache_alloc_refill(kmem_cache* cache, array_cache*& ac, gfp_t flags);
// Past the arrays, of one node only; returns how many.
std::size_t ____cache_alloc_node(kmem_cache* cache, gfp_t flags, int nid, void** to,
                                 std::size_t nr);
// From any node, when the one asked for has nothing; returns how many.
std::size_t fallback_alloc(kmem_cache* cache, gfp_t flags, void** to, std::size_t nr);
void slab_out_of_memory(kmem_cache* cache, gfp_t flags);
void ___cache_free(kmem_cache* cache, array_cache* ac, void* obj);
// Straight to the slabs, past arrays; those of one node together.
void cache_free_node(kmem_cache* cache, void** objects, std::size_t nr);

} // namespace slabfwd
