// SPDX-License-Identifier: BSD-3-Clause
//
// slab_reap.cc - giving memory back: the periodic reaper, shrinking, reclaim, the end of a cache.
//
// Doors: cache_reap(), kmem_cache_shrink(), slab_reclaim_all(), slab_cpu_serve().
// Threads: nothing of a living thread's array is touched by another: it gets a request. Arrays of
// threads that have gone are drained by whoever owns their slot for the moment.
// Origin: mm/slab.c of Linux v5.2 (cache_reap, drain_array, __kmem_cache_shrink,
// __kmem_cache_shutdown). Differences: shrinking also returns free pages inside partial slabs;
// destroy names the live objects.
#include <algorithm>
#include <cstddef>
#include <mutex>

#include "alloc/array_cache.h"
#include "alloc/slab.h"
#include "alloc/slub.h"

namespace slabfwd {

namespace detail {
constinit std::atomic<std::uint32_t> slab_request_gen{0};
constinit thread_local std::uint32_t slab_request_served = 0;
} // namespace detail

namespace {

constexpr std::size_t REAP_KEEPS = std::size_t{64} << 20; // bytes of free pages kept by the reaper
constexpr unsigned LEAKS_NAMED = 16;

constinit spinlock_t shrinker_lock;
constinit shrinker* shrinkers = nullptr;
constinit thread_local bool reclaiming = false;

template <typename Fn>
void for_each_cache(Fn&& fn) {
    for (kmem_cache* c = slab_caches.first; c; c = c->next)
        fn(c);
}

array_cache* array_of(kmem_cache* cache, unsigned cpu) {
    array_cache* ac = cache->cpu_cache[cpu].load(std::memory_order_acquire);
    return ac == cache->gate() ? nullptr : ac;
}

} // namespace

// Empties the arrays of one cache as far as the caller may: its own and those left behind.
void drain_cpu_caches(kmem_cache* cache) {
    cache->drain.fetch_add(1, std::memory_order_relaxed);
    cache->request.fetch_add(1, std::memory_order_release);
    detail::slab_request_gen.fetch_add(1, std::memory_order_release);
    if (slab_cpu)
        serve_requests(cache, slab_cpu);
    for_each_gone_cpu(
        [](unsigned cpu, void* arg) {
            auto* c = static_cast<kmem_cache*>(arg);
            if (array_cache* ac = array_of(c, cpu))
                drain_array_all(c, ac);
        },
        cache);
    for (int nid = 0; nid < nr_node_ids(); ++nid)
        drain_alien_caches(cache, get_node(cache, nid)); // fills shared arrays
    for (int nid = 0; nid < nr_node_ids(); ++nid)
        drain_shared(cache, get_node(cache, nid), SIZE_MAX);
}

namespace {

// ---- free pages inside partial slabs

// Are all objects that touch [from, to) of the slab (offsets from s_mem) free? REQUIRES bitmap.
bool range_is_free(const kmem_cache* cache, const page* slab, std::ptrdiff_t from,
                   std::ptrdiff_t to) {
    const std::size_t first = from > 0 ? static_cast<std::size_t>(from) / cache->size : 0;
    const std::size_t last =
        std::min<std::size_t>(static_cast<std::size_t>(to - 1) / cache->size, cache->num - 1u);
    for (std::size_t i = first; i <= last; ++i)
        if (!object_is_free(cache, slab, i))
            return false;
    return true;
}

// Returns the pages of a slab that hold nothing but free objects to the system. Runs of pages go
// with one call.
std::size_t give_back_pages(const kmem_cache* cache, const page* slab) {
    auto* start = static_cast<std::byte*>(page_address(slab));
    std::size_t pages = std::size_t{1} << cache->gfporder;
    if (!(cache->flags & CFLGS_OFF_SLAB)) // the index at the end stays
        pages = ((PAGE_SIZE << cache->gfporder) - cache->freelist_size) / PAGE_SIZE;
    const std::ptrdiff_t shift = static_cast<std::byte*>(slab->s_mem) - start;
    std::size_t given = 0;
    std::size_t run = 0;
    for (std::size_t i = 0; i <= pages; ++i) {
        const auto from = static_cast<std::ptrdiff_t>(i * PAGE_SIZE) - shift;
        if (i < pages && range_is_free(cache, slab, from, from + std::ptrdiff_t{PAGE_SIZE})) {
            ++run;
            continue;
        }
        if (run)
            given += page_give_back(start + (i - run) * PAGE_SIZE, run * PAGE_SIZE);
        run = 0;
    }
    return given;
}

// Only where nobody minds that free objects lose their contents.
std::size_t shrink_partial_slabs(kmem_cache* cache, kmem_cache_node* n) {
    if (!(cache->flags & CFLGS_BITMAP) || cache->ctor ||
        (cache->flags & (SLAB_TYPESAFE_BY_RCU | DEBUG_METADATA_FLAGS)))
        return 0;
    std::size_t given = 0;
    const spin_guard guard(n->list_lock);
    for (page* slab = n->slabs_partial.first; slab; slab = slab->next)
        given += give_back_pages(cache, slab);
    return given;
}

} // namespace

int __kmem_cache_shrink(kmem_cache* cache) {
    if (is_slub(cache))
        return slub_cache_shrink(cache);
    drain_cpu_caches(cache);
    bool left = false;
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        kmem_cache_node* n = get_node(cache, nid);
        drain_freelist(cache, n, SIZE_MAX);
        shrink_partial_slabs(cache, n);
        const spin_guard guard(n->list_lock);
        left = left || n->total_slabs;
    }
    return left;
}

namespace {

// ---- the reaper

// A fifth of the limit of an array that was not used since the last time. Owner only.
void reap_array(kmem_cache* cache, array_cache* ac) {
    const bool used = ac->touched || ac->avail != ac->last_avail;
    ac->touched = 0;
    if (is_slub(cache)) {
        if (!used)
            slub_cpu_dead(cache, ac);
        ac->last_avail = std::uint32_t{ac->avail};
        return;
    }
    if (!used && ac->avail)
        drain_array(cache, array_node(cache, ac), ac,
                    std::min<std::size_t>((ac->limit + 4u) / 5u, (ac->avail + 1u) / 2u));
    ac->last_avail = std::uint32_t{ac->avail};
}

std::size_t reap_node(kmem_cache* cache, kmem_cache_node* n) {
    if (is_slub(cache))
        return slub_reap(cache, n) << cache->gfporder;
    std::size_t nr = 0;
    std::size_t want = 0;
    bool touched = false;
    {
        const spin_guard guard(n->list_lock);
        if (n->shared && !n->shared->touched)
            nr = std::min<std::size_t>((n->shared->limit + 4u) / 5u, (n->shared->avail + 1u) / 2u);
        if (n->shared)
            n->shared->touched = 0;
        touched = n->free_touched;
        n->free_touched = false;
        want = (n->free_limit + 5 * cache->num - 1) / (5 * cache->num);
    }
    if (nr)
        drain_shared(cache, n, nr);
    if (touched)
        return 0;
    const std::size_t freed = drain_freelist(cache, n, want);
    cache->reaped.fetch_add(freed, std::memory_order_relaxed);
    return freed << cache->gfporder;
}

} // namespace

std::size_t cache_reap() {
    std::unique_lock lock(slab_mutex, std::try_to_lock);
    if (!lock || slab_state() != FULL)
        return 0; // somebody works on the caches: next time
    std::size_t pages = 0;
    for_each_gone_cpu(
        [](unsigned cpu, void*) {
            for_each_cache([cpu](kmem_cache* c) {
                if (array_cache* ac = array_of(c, cpu))
                    reap_array(c, ac);
            });
        },
        nullptr);
    for_each_cache([&pages](kmem_cache* c) {
        if (slab_cpu && array_of(c, slab_cpu)) {
            serve_requests(c, slab_cpu);
            reap_array(c, array_of(c, slab_cpu));
        }
        for (int nid = 0; nid < nr_node_ids(); ++nid)
            reap_alien(c, get_node(c, nid));
        for (int nid = 0; nid < nr_node_ids(); ++nid)
            pages += reap_node(c, get_node(c, nid));
    });
    memcg_sweep(nullptr);
    lock.unlock();
    page_alloc_trim(REAP_KEEPS);
    return pages;
}

void detail::slab_cpu_serve_slow() {
    const std::uint32_t gen = slab_request_gen.load(std::memory_order_acquire);
    std::unique_lock lock(slab_mutex, std::try_to_lock);
    if (!lock)
        return;
    if (slab_cpu)
        for_each_cache([](kmem_cache* c) { serve_requests(c, slab_cpu); });
    slab_request_served = gen;
}

int kmem_cache_shrink(kmem_cache* cache) {
    int left = __kmem_cache_shrink(cache);
    if (memcg_kmem_enabled.load(std::memory_order_relaxed) && !cache->memcg_params.root_cache) {
        const spin_guard guard(slab_mutex);
        memcg_sweep(cache);
        for (kmem_cache* c = cache->memcg_params.children; c; c = c->memcg_params.children_next)
            left |= __kmem_cache_shrink(c);
    }
    page_alloc_trim();
    return left;
}

std::size_t slab_reclaim_all() {
    {
        std::unique_lock lock(slab_mutex, std::try_to_lock);
        if (!lock || slab_state() != FULL)
            return 0;
        for_each_cache([](kmem_cache* c) { __kmem_cache_shrink(c); });
    }
    return page_alloc_trim();
}

// ---- memory is short

void register_shrinker(shrinker* s) {
    const spin_guard guard(shrinker_lock);
    s->next = shrinkers;
    shrinkers = s;
}

void unregister_shrinker(shrinker* s) {
    const spin_guard guard(shrinker_lock);
    for (shrinker** p = &shrinkers; *p; p = &(*p)->next) {
        if (*p == s) {
            *p = s->next;
            return;
        }
    }
}

std::size_t call_shrinkers() {
    std::size_t freed = 0;
    const spin_guard guard(shrinker_lock);
    for (shrinker* s = shrinkers; s; s = s->next)
        if (const std::size_t n = s->count_objects(s))
            freed += s->scan_objects(s, n);
    return freed;
}

// An allocation of pages failed and may wait: shrinkers first, then all that caches hold free.
bool try_to_free_pages(unsigned) {
    if (reclaiming)
        return false; // a shrinker that allocates gets nothing
    reclaiming = true;
    const std::size_t before = page_alloc_get_stats().free;
    call_shrinkers();
    if (std::unique_lock lock(slab_mutex, std::try_to_lock); lock)
        for_each_cache([](kmem_cache* c) {
            drain_cpu_caches(c);
            for (int nid = 0; nid < nr_node_ids(); ++nid)
                drain_freelist(c, get_node(c, nid), SIZE_MAX);
        });
    reclaiming = false;
    return page_alloc_get_stats().free > before;
}

// ---- the end of a cache

namespace {

void report_live(const kmem_cache* cache, const page_list& slabs, unsigned* named) {
    for (const page* slab = slabs.first; slab; slab = slab->next)
        for (std::size_t i = 0; i < cache->num; ++i)
            if (!object_is_free(cache, slab, i) && (*named)++ < LEAKS_NAMED)
                report_live_object(cache, index_to_obj(cache, slab, i));
}

void report_leaks(const kmem_cache* cache, std::size_t live) {
    report("kmem_cache_destroy %s: Slab cache still has objects: %zu of %u bytes", cache->name,
           live, cache->object_size);
    unsigned named = 0;
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        report_live(cache, cache->node[nid]->slabs_full, &named);
        report_live(cache, cache->node[nid]->slabs_partial, &named);
    }
    if (named > LEAKS_NAMED)
        report("  ... and %u more", named - LEAKS_NAMED);
}

} // namespace

// Empties a cache that nobody uses any more, arrays of all slots included. 0, or -EBUSY with a
// report when objects are live.
int __kmem_cache_shutdown(kmem_cache* cache) {
    if (is_slub(cache))
        return slub_cache_shutdown(cache);
    for (unsigned cpu = 1; cpu < nr_cpu_ids(); ++cpu)
        if (array_cache* ac = array_of(cache, cpu))
            drain_array_all(cache, ac);
    for (int nid = 0; nid < nr_node_ids(); ++nid)
        drain_alien_caches(cache, get_node(cache, nid));
    std::size_t live = 0;
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        kmem_cache_node* n = get_node(cache, nid);
        drain_shared(cache, n, SIZE_MAX);
        drain_freelist(cache, n, SIZE_MAX);
        live += n->total_slabs * cache->num - n->free_objects;
    }
    if (!live)
        return 0;
    report_leaks(cache, live);
    return -1;
}

} // namespace slabfwd
