// SPDX-License-Identifier: BSD-3-Clause
//
// slab_numa.cc - objects that are freed on another node than theirs: the alien caches.
//
// Doors: cache_free_alien() on the slow way of a free, drain_alien_caches(), reap_alien().
// An object that belongs to node B and is freed on node A waits in A's alien cache for B; a full
// one is emptied into B's shared array, what does not fit goes onto B's slabs.
// Threads: an alien cache has a lock of its own, taken before B's list_lock and never together
// with A's.
// Origin: mm/slab.c of Linux v5.2 (alloc_alien_cache, __drain_alien_cache, reap_alien,
// __cache_free_alien).
#include <algorithm>
#include <mutex>
#include <new>

#include "alloc/array_cache.h"
#include "alloc/slab.h"
#include "alloc/slab_lists.h"

namespace slabfwd {

namespace {

constexpr unsigned ALIEN_LIMIT = 12;             // the kernel's
constexpr unsigned ALIEN_LIMIT_THROUGHPUT = 120; // a page of pointers less the header and more

alien_cache* alloc_alien_cache(kmem_cache* cache, unsigned entries) {
    void* p = kmalloc(sizeof(alien_cache), GFP_NOWAIT | __GFP_NOWARN);
    if (!p)
        return nullptr;
    auto* alien = new (p) alien_cache;
    if ((alien->ac = alloc_arraycache(cache, entries)))
        return alien;
    kfree(p);
    return nullptr;
}

// What an alien cache of node `nid` holds goes home. REQUIRES its lock.
void __drain_alien_cache(kmem_cache* cache, array_cache* ac, int nid, page_list* list) {
    if (!ac->avail)
        return;
    kmem_cache_node* n = get_node(cache, nid);
    const spin_guard guard(n->list_lock);
    if (n->shared)
        transfer_objects(n->shared, ac, ac->limit);
    free_block(cache, ac->entry, ac->avail, n, list);
    ac->avail = 0;
}

void __cache_free_alien(kmem_cache* cache, void* obj, kmem_cache_node* n, int nid) {
    page_list list;
    cache->node_frees.fetch_add(1, std::memory_order_relaxed);
    if (alien_cache* alien = n->alien ? n->alien[nid] : nullptr) {
        const spin_guard guard(alien->lock);
        array_cache* ac = alien->ac;
        if (ac->avail == ac->limit) {
            cache->node_overflow.fetch_add(1, std::memory_order_relaxed);
            __drain_alien_cache(cache, ac, nid, &list);
        }
        ac->entry[ac->avail] = obj;
        ac->avail += 1;
    } else {
        kmem_cache_node* home = get_node(cache, nid);
        const spin_guard guard(home->list_lock);
        free_block(cache, &obj, 1, home, &list);
    }
    slabs_destroy(cache, &list);
}

} // namespace

// For node `nid`, one for each other node. NULL: one node only, or no memory (frees then go to the
// slabs at once).
alien_cache** alloc_alien_caches(kmem_cache* cache, int nid) {
    if (nr_node_ids() == 1 || cache->limit < 2)
        return nullptr;
    auto** alien = static_cast<alien_cache**>(
        kcalloc(static_cast<std::size_t>(nr_node_ids()), sizeof(alien_cache*), GFP_NOWAIT));
    const unsigned most =
        slab_get_tuning() == slab_tuning::linux_5_2 ? ALIEN_LIMIT : ALIEN_LIMIT_THROUGHPUT;
    for (int other = 0; alien && other < nr_node_ids(); ++other)
        if (other != nid)
            alien[other] = alloc_alien_cache(cache, std::min<unsigned>(most, cache->limit));
    return alien;
}

void free_alien_caches(alien_cache** alien) {
    for (int nid = 0; alien && nid < nr_node_ids(); ++nid) {
        if (!alien[nid])
            continue;
        free_arraycache(alien[nid]->ac);
        kfree(alien[nid]);
    }
    kfree(alien);
}

// True when the object belongs to another node and is on its way there.
bool cache_free_alien(kmem_cache* cache, void* obj) {
    const int here = numa_mem_id();
    const int nid = obj_to_nid(cache, obj);
    if (nid == here)
        return false;
    __cache_free_alien(cache, obj, get_node(cache, here), nid);
    return true;
}

void drain_alien_caches(kmem_cache* cache, kmem_cache_node* n) {
    for (int nid = 0; n->alien && nid < nr_node_ids(); ++nid) {
        alien_cache* alien = n->alien[nid];
        if (!alien)
            continue;
        page_list list;
        {
            const spin_guard guard(alien->lock);
            __drain_alien_cache(cache, alien->ac, nid, &list);
        }
        slabs_destroy(cache, &list);
    }
}

// The reaper empties one alien cache a visit, unless it is in use.
void reap_alien(kmem_cache* cache, kmem_cache_node* n) {
    if (!n->alien)
        return;
    const int nid = n->reap_node = (n->reap_node + 1) % nr_node_ids();
    alien_cache* alien = n->alien[nid];
    if (!alien)
        return;
    page_list list;
    {
        const std::unique_lock lock(alien->lock, std::try_to_lock);
        if (!lock)
            return;
        __drain_alien_cache(cache, alien->ac, nid, &list);
    }
    slabs_destroy(cache, &list);
}

} // namespace slabfwd
