// SPDX-License-Identifier: BSD-3-Clause
//
// slab.cc - allocating and freeing: what happens when the array of the calling thread does not do.
//
// Doors: detail::cache_alloc_slow(), detail::cache_free_slow().
// Order of refill: own array -> shared array of the node -> partial slabs -> free slabs -> a new
// slab, made with no lock held. Order of flush: own array -> shared array -> slabs.
// Threads: an array is touched by its slot's owner only; shared arrays and slab lists under the
// node's list_lock.
// Origin: mm/slab.c of Linux v5.2, under its function names. Differences: the array is an argument
// (the handle), hooks (fault injection, statistics) cost the fast path nothing because they make
// the array look empty and full. What happens on the slabs is in slab_lists.cc.
#include <algorithm>
#include <cstring>

#include "alloc/array_cache.h"
#include "alloc/failslab.h"
#include "alloc/slab_lists.h"
#include "alloc/slub.h"

namespace slabfwd {

void slab_out_of_memory(kmem_cache* cache, gfp_t flags) {
    count(cache->errors);
    if ((flags & __GFP_NOWARN) || !report_ratelimit())
        return;
    report("%s: Unable to allocate memory on node %d, gfp=%#x", is_slub(cache) ? "SLUB" : "SLAB",
           numa_mem_id(), flags);
    report("  cache: %s, object size: %u, order: %u", cache->name, cache->size, cache->gfporder);
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        kmem_cache_node* n = get_node(cache, nid);
        if (is_slub(cache)) {
            report("  node %d: slabs: %zu, objs: %zu, out: %zu", nid, n->nr_slabs.load(),
                   n->total_objects.load(), slub_objects_out(cache));
            continue;
        }
        const spin_guard guard(n->list_lock);
        const std::size_t objs = n->total_slabs * cache->num;
        report("  node %d: slabs: %zu/%zu, objs: %zu/%zu", nid, n->total_slabs - n->free_slabs,
               n->total_slabs, objs - n->free_objects, objs);
    }
}

namespace {

// A new slab, and a batch of it for the array. Memory may be short meanwhile: a shrinker may free
// into this very cache, so the array (which may be another one by then) is looked at again.
void refill_grow(kmem_cache* cache, array_cache*& ac, gfp_t flags, std::size_t batchcount) {
    page* slab = cache_grow_begin(cache, gfp_exact_node(flags), numa_mem_id());
    ac = cpu_cache_get(cache);
    array_scope::open(cache, ac);
    if (slab) {
        if (!ac->avail)
            ac->avail = static_cast<std::uint32_t>(
                alloc_block(cache, slab, ac->entry, std::min<std::size_t>(batchcount, ac->limit)));
        cache_grow_end(cache, slab);
    }
}

} // namespace

// Refills an empty array and takes the last object of it. NULL when out of memory.
void* cache_alloc_refill(kmem_cache* cache, array_cache*& ac, gfp_t flags) {
    std::size_t batchcount = std::max<std::size_t>(ac->batchcount, 1);
    if (!ac->touched && batchcount > BATCHREFILL_LIMIT)
        batchcount = BATCHREFILL_LIMIT; // little went on here lately
    ac->allocmiss++;
    kmem_cache_node* n = get_node(cache, numa_mem_id());
    std::size_t got = 0;
    {
        const spin_guard guard(n->list_lock);
        if (n->shared && (got = transfer_objects(ac, n->shared, batchcount)) != 0) {
            n->shared->touched = 1;
        } else {
            got = alloc_from_slabs(cache, n, ac->entry, batchcount);
            ac->avail = static_cast<std::uint32_t>(got);
            account_allocs(cache, n, got);
        }
    }
    if (!got) {
        refill_grow(cache, ac, flags, batchcount);
        if (!(got = ac->avail))
            return nullptr;
    }
    ac->refilled += got;
    ac->touched = 1;
    ac->avail -= 1;
    return ac->entry[ac->avail];
}

namespace {

void* ____cache_alloc(kmem_cache* cache, array_cache*& ac, gfp_t flags) {
    if (!ac->avail)
        return cache_alloc_refill(cache, ac, flags);
    ac->touched = 1;
    ac->allochit++;
    ac->avail -= 1;
    return ac->entry[ac->avail];
}

// Straight from the shared array and the slabs that a node has. Returns how many.
std::size_t take_from_node(kmem_cache* cache, int nid, void** to, std::size_t nr) {
    kmem_cache_node* n = get_node(cache, nid);
    const spin_guard guard(n->list_lock);
    std::size_t got = 0;
    if (n->shared && n->shared->avail) {
        got = std::min<std::size_t>(n->shared->avail, nr);
        n->shared->avail -= static_cast<std::uint32_t>(got);
        std::memcpy(to, n->shared->entry + n->shared->avail, sizeof(void*) * got);
    }
    const std::size_t more = alloc_from_slabs(cache, n, to + got, nr - got);
    account_allocs(cache, n, more);
    return got + more;
}

} // namespace

// Past the arrays, of one node only: for threads without an array, and for other nodes than the
// thread's. Returns how many.
std::size_t ____cache_alloc_node(kmem_cache* cache, gfp_t flags, int nid, void** to,
                                 std::size_t nr) {
    std::size_t got = take_from_node(cache, nid, to, nr);
    while (got < nr) {
        const std::size_t more = grow(cache, gfp_exact_node(flags), nid, to + got, nr - got);
        if (!more)
            break;
        got += more;
    }
    if (nid == numa_mem_id())
        count(cache->slow_allocs, got);
    else
        count(cache->node_allocs, got);
    return got;
}

// The node asked for has nothing: what others have at hand, then a new slab wherever there is
// memory. Returns how many.
std::size_t fallback_alloc(kmem_cache* cache, gfp_t flags, void** to, std::size_t nr) {
    if (nr_node_ids() == 1 || (flags & __GFP_THISNODE))
        return 0;
    std::size_t got = 0;
    for (int i = 0; i < nr_node_ids() && got < nr; ++i)
        got += take_from_node(cache, (numa_mem_id() + i) % nr_node_ids(), to + got, nr - got);
    while (got < nr) {
        const std::size_t more = grow(cache, flags, numa_mem_id(), to + got, nr - got);
        if (!more)
            break;
        got += more;
    }
    count(cache->node_allocs, got);
    return got;
}

namespace {

void* __do_cache_alloc(kmem_cache* cache, gfp_t flags, int nid) {
    if (is_slub(cache))
        return slub_alloc_object(cache, flags, nid);
    void* obj = nullptr;
    if (nid != NUMA_NO_NODE && nid != numa_mem_id()) {
        if (____cache_alloc_node(cache, flags, nid, &obj, 1))
            return obj;
    } else if (array_cache* ac = cpu_array(cache)) {
        const array_scope scope(cache, ac);
        if ((obj = ____cache_alloc(cache, ac, flags)))
            return obj;
    } else if (____cache_alloc_node(cache, flags, numa_mem_id(), &obj, 1)) {
        return obj;
    }
    return fallback_alloc(cache, flags, &obj, 1) ? obj : nullptr;
}

} // namespace

bool slab_pre_alloc_hook(kmem_cache* cache, gfp_t flags) {
    if (flags & __GFP_NOFAIL)
        return false;
    return !((cache->hooks.load(std::memory_order_relaxed) & HOOK_FAILSLAB) &&
             should_failslab(cache, flags));
}

void slab_post_alloc_hook(kmem_cache* cache, gfp_t flags, std::size_t n, void** objects) {
    for (std::size_t i = 0; i < n; ++i) {
        detail::kasan_unpoison(cache, objects[i]);
        if (flags & __GFP_ZERO)
            std::memset(objects[i], 0, cache->object_size);
    }
}

namespace {

void* slab_alloc_node(kmem_cache* cache, gfp_t flags, int nid, const void* caller) {
    if (cache->hooks.load(std::memory_order_relaxed) & HOOK_MEMCG)
        if (kmem_cache* child = memcg_kmem_get_cache(cache); child != cache)
            return slab_alloc_node(child, flags, nid, caller);
    if (!slab_pre_alloc_hook(cache, flags)) {
        count(cache->errors);
        return nullptr;
    }
    void* obj = nullptr;
    do {
        if (!(obj = __do_cache_alloc(cache, flags, nid))) {
            slab_out_of_memory(cache, flags);
            return nullptr;
        }
    } while ((cache->hooks.load(std::memory_order_acquire) & (HOOK_DEBUG | HOOK_HARDENED)) &&
             !alloc_debug_processing(cache, obj, caller));
    slab_post_alloc_hook(cache, flags, 1, &obj);
    return obj;
}

void* slab_alloc(kmem_cache* cache, gfp_t flags, const void* caller) {
    return slab_alloc_node(cache, flags, NUMA_NO_NODE, caller);
}

// ---- freeing

// The oldest batch of a full array leaves it.
void cache_flusharray(kmem_cache* cache, array_cache* ac) {
    std::size_t batchcount =
        std::min<std::size_t>(std::max<std::size_t>(ac->batchcount, 1), ac->avail);
    if (ac->avail > ac->limit) // the limit was lowered
        batchcount = std::max<std::size_t>(batchcount, ac->avail - ac->limit);
    kmem_cache_node* n = get_node(cache, numa_mem_id());
    page_list list;
    {
        const spin_guard guard(n->list_lock);
        array_cache* shared = n->shared;
        const std::size_t room = shared ? shared->limit - shared->avail : 0;
        if (room) {
            batchcount = std::min(batchcount, room);
            std::memcpy(shared->entry + shared->avail, ac->entry, sizeof(void*) * batchcount);
            shared->avail += static_cast<std::uint32_t>(batchcount);
        } else {
            free_block(cache, ac->entry, batchcount, n, &list);
        }
    }
    ac->flushed += batchcount;
    ac->avail -= static_cast<std::uint32_t>(batchcount);
    std::memmove(ac->entry, ac->entry + batchcount, sizeof(void*) * ac->avail);
    slabs_destroy(cache, &list);
}
} // namespace

void ___cache_free(kmem_cache* cache, array_cache* ac, void* obj) {
    if (nr_node_ids() > 1 && cache_free_alien(cache, obj))
        return;
    if (ac->avail < ac->limit)
        ac->freehit++;
    else
        ac->freemiss++;
    while (ac->avail && ac->avail >= ac->limit)
        cache_flusharray(cache, ac);
    ac->entry[ac->avail] = obj;
    ac->avail += 1;
}

// Straight to the slabs, past arrays; those of one node together.
void cache_free_node(kmem_cache* cache, void** objects, std::size_t nr) {
    while (nr) {
        const int nid = obj_to_nid(cache, *objects);
        std::size_t same = nr_node_ids() == 1 ? nr : 1;
        while (same < nr && obj_to_nid(cache, objects[same]) == nid)
            ++same;
        kmem_cache_node* n = get_node(cache, nid);
        page_list list;
        {
            const spin_guard guard(n->list_lock);
            free_block(cache, objects, same, n, &list);
        }
        slabs_destroy(cache, &list);
        objects += same;
        nr -= same;
    }
}

SLAB_ENTRY void* kmem_cache_alloc_node(kmem_cache* cache, gfp_t flags, int nid) {
    if (nid != NUMA_NO_NODE && (nid < 0 || nid >= nr_node_ids()))
        return nullptr;
    return slab_alloc_node(cache, flags, nid, __builtin_return_address(0));
}

namespace detail {

void* cache_alloc_slow(kmem_cache* cache, gfp_t flags) {
    return slab_alloc(cache, flags, __builtin_return_address(0));
}

void cache_free_slow(kmem_cache* cache, void* object) {
    const std::uint32_t hooks = cache->hooks.load(std::memory_order_acquire);
    if (hooks & HOOK_MEMCG)
        if (kmem_cache* child = cache_from_obj(cache, object); child != cache)
            return cache_free_slow(child, object);
    if ((hooks & (HOOK_DEBUG | HOOK_HARDENED)) &&
        !free_debug_processing(cache, object, __builtin_return_address(0)))
        return;
    kasan_poison(cache, object);
    if ((hooks & HOOK_MEMCG) && cache->memcg_params.dying.load(std::memory_order_relaxed)) {
        if (is_slub(cache))
            return slub_free_past_cpu(cache, object);
        count(cache->slow_frees);
        return cache_free_node(cache, &object, 1); // may be the end of the cache
    }
    if (is_slub(cache))
        return slub_free_object(cache, object);
    if (array_cache* ac = cpu_array_to_fill(cache)) {
        const array_scope scope(cache, ac);
        return ___cache_free(cache, ac, object);
    }
    count(cache->slow_frees);
    cache_free_node(cache, &object, 1);
}

} // namespace detail

} // namespace slabfwd
