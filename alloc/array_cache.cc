// SPDX-License-Identifier: BSD-3-Clause
//
// array_cache.cc - the arrays of the slots: made at first use, replaced when they are too small,
// drained, and what others ask of their owners.
//
// Doors: cpu_array(), serve_requests(), drain_array(), kmem_cache_this_cpu().
// Threads: an array is touched by its slot's owner only; shared arrays under the node's list_lock.
// Origin: mm/slab.c of Linux v5.2 (transfer_objects, drain_array, drain_freelist, do_drain).
#include "alloc/array_cache.h"

#include <algorithm>
#include <cstring>

#include "alloc/slab_lists.h"
#include "alloc/slub.h"

namespace slabfwd {

// At most `max` objects from one array to the tail of another; returns how many.
std::size_t transfer_objects(array_cache* to, array_cache* from, std::size_t max) {
    const std::size_t nr =
        std::min({std::size_t{from->avail}, max, std::size_t{to->limit} - to->avail});
    if (!nr)
        return 0;
    std::memcpy(to->entry + to->avail, from->entry + from->avail - nr, sizeof(void*) * nr);
    from->avail -= static_cast<std::uint32_t>(nr);
    to->avail += static_cast<std::uint32_t>(nr);
    return nr;
}

// ---- draining

void drain_array(kmem_cache* cache, kmem_cache_node* n, array_cache* ac, std::size_t nr) {
    if (!nr)
        return;
    page_list list;
    {
        const spin_guard guard(n->list_lock);
        free_block(cache, ac->entry, nr, n, &list);
    }
    ac->flushed += nr;
    ac->avail -= static_cast<std::uint32_t>(nr);
    std::memmove(ac->entry, ac->entry + nr, sizeof(void*) * ac->avail);
    slabs_destroy(cache, &list);
}

// The node whose objects an array holds: that of its slot.
kmem_cache_node* array_node(kmem_cache* cache, const array_cache* ac) {
    const void* first = ac->avail + ac->held ? ac->entry[0] : nullptr;
    return get_node(cache, first ? obj_to_nid(cache, first) : numa_mem_id());
}

// Everything of one slot's array onto the slabs. Owner of the slot only.
void drain_array_all(kmem_cache* cache, array_cache* ac) {
    if (is_slub(cache))
        return slub_cpu_dead(cache, ac);
    const array_scope scope(cache, ac);
    drain_array(cache, array_node(cache, ac), ac, ac->avail);
}

void drain_shared(kmem_cache* cache, kmem_cache_node* n, std::size_t nr) {
    if (is_slub(cache))
        return barn_shrink(cache, n, nr);
    page_list list;
    {
        const spin_guard guard(n->list_lock);
        if (array_cache* shared = n->shared) {
            nr = std::min<std::size_t>(nr, shared->avail);
            free_block(cache, shared->entry, nr, n, &list);
            shared->avail -= static_cast<std::uint32_t>(nr);
            std::memmove(shared->entry, shared->entry + nr, sizeof(void*) * shared->avail);
        }
    }
    slabs_destroy(cache, &list);
}

// Up to `tofree` free slabs go; returns how many.
std::size_t drain_freelist(kmem_cache* cache, kmem_cache_node* n, std::size_t tofree) {
    if (is_slub(cache))
        return slub_drain_node(cache, n, tofree);
    page_list list;
    {
        const spin_guard guard(n->list_lock);
        while (list.count < tofree && !n->slabs_free.empty())
            list.add(take_free_slab(cache, n));
    }
    const std::size_t freed = list.count;
    slabs_destroy(cache, &list);
    return freed;
}

// ---- arrays: made at first use, replaced when they are too small

namespace {

// Set while an array is made, so that making one does not ask for another.
constinit thread_local bool making_array = false;

array_cache* make_array(kmem_cache* cache, array_cache* old) {
    if (making_array)
        return nullptr;
    making_array = true;
    array_cache* ac =
        is_slub(cache) ? alloc_kmem_cache_cpu(cache) : alloc_arraycache(cache, cache->limit);
    making_array = false;
    if (!ac)
        return nullptr;
    ac->served = cache->request.load(std::memory_order_acquire);
    ac->drained = cache->drain.load(std::memory_order_relaxed);
    if (is_slub(cache)) {
        slub_cpu_open(cache, ac);
        slub_cpu_close(cache, ac);
        return ac;
    }
    if (old) { // what it holds moves over; handles that name it come here by the slow way
        const std::uint32_t n = old->avail + old->held;
        std::memcpy(ac->entry, old->entry, sizeof(void*) * n);
        old->avail = 0;
        old->held = 0;
        old->limit = 0;
        old->hard_limit = 0;
        old->live_tag = 0;
        ac->avail = n;
        ac->retired = old;
    }
    array_scope::open(cache, ac);
    array_scope::close(cache, ac);
    return ac;
}

} // namespace

void serve_requests(kmem_cache* cache, unsigned cpu) {
    array_cache* ac = cache->cpu_cache[cpu].load(std::memory_order_relaxed);
    if (ac == cache->gate())
        return;
    const std::uint32_t request = cache->request.load(std::memory_order_acquire);
    if (ac->served == request)
        return;
    ac->served = request; // first: making an array may come by here
    if (is_slub(cache))
        return slub_serve_requests(cache, ac);
    if (cache->limit > ac->capacity) {
        if (array_cache* larger = make_array(cache, ac)) {
            cache->cpu_cache[cpu].store(larger, std::memory_order_release);
            ac = larger;
        }
    }
    const array_scope scope(cache, ac);
    const std::uint32_t drain = cache->drain.load(std::memory_order_relaxed);
    kmem_cache_node* n = get_node(cache, numa_mem_id());
    if (drain != ac->drained) {
        ac->drained = drain;
        drain_array(cache, n, ac, ac->avail);
        drain_freelist(cache, n, SIZE_MAX);
    } else if (ac->avail > ac->limit) {
        drain_array(cache, n, ac, ac->avail - ac->limit);
    }
}

// The calling thread's array with all requests served, made if need be; NULL: none can be had.
array_cache* cpu_array(kmem_cache* cache) {
    unsigned cpu = slab_cpu;
    if (!cpu && !(cpu = slab_cpu_acquire()))
        return nullptr;
    array_cache* ac = cache->cpu_cache[cpu].load(std::memory_order_relaxed);
    if (ac == cache->gate()) [[unlikely]] {
        if ((cache->flags & CFLGS_NO_ARRAY) || !(ac = make_array(cache, nullptr)))
            return nullptr;
        cache->cpu_cache[cpu].store(ac, std::memory_order_release);
        return ac;
    }
    if (ac->served != cache->request.load(std::memory_order_acquire)) [[unlikely]] {
        serve_requests(cache, cpu);
        ac = cache->cpu_cache[cpu].load(std::memory_order_relaxed);
    }
    return ac;
}

array_cache* cpu_array_to_fill(kmem_cache* cache, std::size_t objects) {
    kmem_cache_node* n = get_node(cache, numa_mem_id());
    if (n->shared_room.load(std::memory_order_relaxed)) [[unlikely]] {
        const array_cache* ac = cpu_cache_get(cache);
        const unsigned limit = is_slub(cache) ? ac->capacity : unsigned{cache->limit};
        if (ac != cache->gate() && ac->avail + ac->held + objects > limit)
            make_shared(cache, n);
    }
    return cpu_array(cache);
}

kmem_cache_handle kmem_cache_this_cpu(kmem_cache* cache) {
    array_cache* ac = cpu_array(cache);
    return kmem_cache_handle(ac ? ac : cache->gate());
}

} // namespace slabfwd
