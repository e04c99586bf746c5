// SPDX-License-Identifier: BSD-3-Clause
//
// memcg.cc - groups, their child caches and their charges.
//
// Doors: memcg.h; memcg_kmem_get_cache() in the allocation path, memcg_charge_slab() and
// memcg_uncharge_slab() where slabs are made and given back.
// Threads: slab_mutex guards the groups, the children of root caches and the caches of groups;
// memcg_lock the counters and which group a child is charged to. A child is found without a lock:
// root -> memcg_caches[kmemcg_id]. It is destroyed when it is dying, has no slab left, and no
// thread works for the group that it was made for or one below (`active`), so that nobody can have
// found it. The array is replaced by a larger one, older ones are kept until the root goes.
// Origin: mm/slab_common.c (memcg_create_kmem_cache, memcg_deactivate_kmem_caches,
// shutdown_memcg_caches) and mm/memcontrol.c of Linux v5.2, mm/page_counter.c.
#include "alloc/memcg.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>

#include "alloc/array_cache.h"
#include "alloc/slab.h"
#include "alloc/slabinfo.h"
#include "alloc/slub.h"

namespace slabfwd {

// In pages. Guarded by memcg_lock.
struct page_counter {
    std::size_t usage = 0;
    std::size_t watermark = 0;
    std::size_t max = 0; // 0: no bound
    std::uint64_t failcnt = 0;
};

struct mem_cgroup {
    char* name = nullptr;
    mem_cgroup* parent = nullptr;
    unsigned kmemcg_id = 0;
    std::uint64_t serial = 0;
    page_counter kmem;
    kmem_cache* kmem_caches = nullptr; // linked through memcg_params.kmem_caches_next
    std::atomic<bool> online{true};
    std::atomic<std::size_t> active{0}; // threads that work for it or a group below
    std::size_t refs = 1; // itself while online, groups below, child caches; guarded by slab_mutex
};

// The children of a root cache by kmemcg_id.
struct memcg_cache_array {
    memcg_cache_array* older;
    unsigned entries;
    std::atomic<kmem_cache*> cache[1]; // `entries` of them
};

constinit std::atomic<bool> memcg_kmem_enabled{false};

namespace {

constexpr unsigned MEMCG_CACHES_MIN_SIZE = 4;
constexpr unsigned MEMCG_IDS = 4096;

constinit spinlock_t memcg_lock;
constinit std::uint64_t ids_used[MEMCG_IDS / 64] = {}; // guarded by slab_mutex
constinit std::uint64_t next_serial = 1;

// Leaves the group when the thread ends.
struct group_of_thread {
    mem_cgroup* memcg = nullptr;
    ~group_of_thread() { memalloc_unuse_memcg(); }
};
constinit thread_local mem_cgroup* active_memcg = nullptr;

int take_id() {
    for (unsigned i = 0; i < MEMCG_IDS; ++i)
        if (!(ids_used[i / 64] >> (i % 64) & 1)) {
            ids_used[i / 64] |= std::uint64_t{1} << (i % 64);
            return static_cast<int>(i);
        }
    return -1;
}

// REQUIRES slab_mutex.
void put_memcg(mem_cgroup* memcg) {
    while (memcg && --memcg->refs == 0) {
        mem_cgroup* parent = memcg->parent;
        ids_used[memcg->kmemcg_id / 64] &= ~(std::uint64_t{1} << (memcg->kmemcg_id % 64));
        kfree(memcg->name);
        kfree(memcg);
        memcg = parent;
    }
}

kmem_cache* cache_from_memcg_idx(const kmem_cache* root, unsigned id) {
    memcg_cache_array* a = root->memcg_params.memcg_caches.load(std::memory_order_seq_cst);
    return a && id < a->entries ? a->cache[id].load(std::memory_order_seq_cst) : nullptr;
}

// Room for `id` in the array of a root cache. REQUIRES slab_mutex.
bool memcg_alloc_cache_params(kmem_cache* root, unsigned id) {
    memcg_cache_array* old = root->memcg_params.memcg_caches.load(std::memory_order_relaxed);
    if (old && id < old->entries)
        return true;
    const unsigned entries = std::max(MEMCG_CACHES_MIN_SIZE, 2 * (id + 1));
    void* p = kzalloc(sizeof(memcg_cache_array) + entries * sizeof(std::atomic<kmem_cache*>),
                      GFP_NOWAIT | __GFP_NOWARN);
    if (!p)
        return false;
    auto* a = static_cast<memcg_cache_array*>(p);
    a->older = old;
    a->entries = entries;
    for (unsigned i = 0; i < entries; ++i)
        new (&a->cache[i]) std::atomic<kmem_cache*>(
            old && i < old->entries ? old->cache[i].load(std::memory_order_relaxed) : nullptr);
    root->memcg_params.memcg_caches.store(a, std::memory_order_seq_cst);
    return true;
}

// ---- charges

bool page_counter_try_charge(mem_cgroup* memcg, std::size_t n) {
    for (mem_cgroup* m = memcg; m; m = m->parent)
        if (m->kmem.max && m->kmem.usage + n > m->kmem.max) {
            ++m->kmem.failcnt;
            return false;
        }
    for (mem_cgroup* m = memcg; m; m = m->parent) {
        m->kmem.usage += n;
        m->kmem.watermark = std::max(m->kmem.watermark, m->kmem.usage);
    }
    return true;
}

bool try_charge(kmem_cache* cache, std::size_t n) {
    const spin_guard guard(memcg_lock);
    return page_counter_try_charge(cache->memcg_params.memcg, n);
}

// Gives the free slabs of a group's caches back. False when that cannot be done now.
bool memcg_reclaim(kmem_cache* cache) {
    const std::unique_lock lock(slab_mutex, std::try_to_lock);
    if (!lock)
        return false;
    mem_cgroup* memcg = nullptr;
    {
        const spin_guard guard(memcg_lock);
        memcg = cache->memcg_params.memcg;
    }
    for (kmem_cache* c = memcg ? memcg->kmem_caches : nullptr; c;
         c = c->memcg_params.kmem_caches_next) {
        drain_cpu_caches(c);
        for (int nid = 0; nid < nr_node_ids(); ++nid)
            drain_freelist(c, get_node(c, nid), SIZE_MAX);
    }
    return memcg != nullptr;
}

// ---- child caches

void memcg_link_cache(kmem_cache* c, kmem_cache* root, mem_cgroup* memcg) {
    c->memcg_params.children_next = root->memcg_params.children;
    root->memcg_params.children = c;
    c->memcg_params.kmem_caches_next = memcg->kmem_caches;
    memcg->kmem_caches = c;
    ++memcg->refs;
    slab_caches_add(c);
}

void unlink_from(kmem_cache** first, kmem_cache* memcg_cache_params::*next, kmem_cache* c) {
    for (kmem_cache** p = first; *p; p = &((*p)->memcg_params.*next))
        if (*p == c) {
            *p = c->memcg_params.*next;
            return;
        }
}

void memcg_unlink_cache(kmem_cache* c) {
    memcg_cache_params& p = c->memcg_params;
    unlink_from(&p.root_cache->memcg_params.children, &memcg_cache_params::children_next, c);
    if (p.memcg)
        unlink_from(&p.memcg->kmem_caches, &memcg_cache_params::kmem_caches_next, c);
    slab_caches_del(c);
    put_memcg(p.made_for);
}

// What was set on the root at run time holds for its child too.
void memcg_propagate_slab_attrs(kmem_cache* c) {
    const kmem_cache* root = c->memcg_params.root_cache;
    c->max_slabs.store(root->max_slabs.load(std::memory_order_relaxed), std::memory_order_relaxed);
    // Hooks of debugging are the child's own: they name its place in the live map.
    constexpr std::uint32_t inherited = HOOK_FAILSLAB | HOOK_STATISTICS;
    c->hooks.fetch_or(root->hooks.load(std::memory_order_relaxed) & inherited);
}

// The group's cache under a root cache. NULL when out of memory. REQUIRES slab_mutex.
kmem_cache* memcg_create_kmem_cache(mem_cgroup* memcg, kmem_cache* root) {
    if (!memcg_alloc_cache_params(root, memcg->kmemcg_id))
        return nullptr;
    char name[256];
    std::snprintf(name, sizeof name, "%s(%llu:%s)", root->name,
                  static_cast<unsigned long long>(memcg->serial), memcg->name);
    kmem_cache* c = create_child_cache(root, memcg, name);
    if (!c)
        return nullptr;
    c->memcg_params.made_for = memcg;
    memcg_propagate_slab_attrs(c);
    memcg_link_cache(c, root, memcg);
    root->memcg_params.memcg_caches.load(std::memory_order_relaxed)
        ->cache[memcg->kmemcg_id]
        .store(c, std::memory_order_seq_cst);
    return c;
}

// No new objects come from the cache; what it holds goes, what is out goes when it comes back.
// REQUIRES slab_mutex.
void kmemcg_cache_deactivate(kmem_cache* c, mem_cgroup* memcg) {
    kmem_cache* root = c->memcg_params.root_cache;
    root->memcg_params.memcg_caches.load(std::memory_order_relaxed)
        ->cache[memcg->kmemcg_id]
        .store(nullptr, std::memory_order_seq_cst);
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        kmem_cache_node* n = get_node(c, nid);
        const spin_guard guard(n->list_lock);
        n->free_limit = 0;
    }
    if (is_slub(c))
        slub_deactivate(c);
    c->memcg_params.dying.store(true, std::memory_order_release);
    c->hooks.fetch_or(HOOK_MEMCG);
    __kmem_cache_shrink(c);
}

// REQUIRES slab_mutex, and a cache without slabs that nobody can find.
void destroy_child(kmem_cache* c) {
    memcg_unlink_cache(c);
    if (c->flags & SLAB_TYPESAFE_BY_RCU)
        rcu_barrier();
    free_cache(c);
}

} // namespace

bool is_root_cache(const kmem_cache* cache) {
    return !cache->memcg_params.root_cache;
}

kmem_cache* memcg_root_cache(kmem_cache* cache) {
    return is_root_cache(cache) ? cache : cache->memcg_params.root_cache;
}

// The cache to allocate from, given for whom the calling thread works. REQUIRES SLAB_ACCOUNT.
kmem_cache* memcg_kmem_get_cache(kmem_cache* cache) {
    mem_cgroup* memcg = active_memcg;
    while (memcg && !memcg->online.load(std::memory_order_acquire))
        memcg = memcg->parent;
    if (!memcg || !is_root_cache(cache))
        return cache;
    if (kmem_cache* child = cache_from_memcg_idx(cache, memcg->kmemcg_id)) [[likely]]
        return child;
    // Not now, if somebody works on the caches: as in the kernel, the root cache serves meanwhile.
    const std::unique_lock lock(slab_mutex, std::try_to_lock);
    if (!lock || !memcg->online.load(std::memory_order_relaxed))
        return cache;
    kmem_cache* child = cache_from_memcg_idx(cache, memcg->kmemcg_id);
    if (!child)
        child = memcg_create_kmem_cache(memcg, cache);
    return child ? child : cache;
}

// The cache that an object given back to `cache` is really of (mm/slab.h).
kmem_cache* cache_from_obj(kmem_cache* cache, const void* object) {
    kmem_cache* c = virt_to_cache(object);
    return c && (c == cache || c->memcg_params.root_cache == cache) ? c : cache;
}

bool memcg_charge_slab(kmem_cache* cache, gfp_t flags, unsigned order) {
    if (is_root_cache(cache))
        return true;
    const std::size_t n = std::size_t{1} << order;
    return try_charge(cache, n) ||
           ((flags & __GFP_DIRECT_RECLAIM) && memcg_reclaim(cache) && try_charge(cache, n));
}

void memcg_uncharge_slab(kmem_cache* cache, unsigned order) {
    if (is_root_cache(cache))
        return;
    const spin_guard guard(memcg_lock);
    for (mem_cgroup* m = cache->memcg_params.memcg; m; m = m->parent)
        m->kmem.usage -= std::size_t{1} << order;
}

// Dying children of a root cache (NULL: of all) that are empty go. REQUIRES slab_mutex.
void memcg_sweep(const kmem_cache* root) {
    for (kmem_cache* c = slab_caches.first; c;) {
        kmem_cache* next = c->next;
        const memcg_cache_params& p = c->memcg_params;
        if (p.root_cache && (!root || p.root_cache == root) && p.dying.load()) {
            if (c->nr_slabs.load(std::memory_order_acquire))
                drain_cpu_caches(c);
            if (!c->nr_slabs.load(std::memory_order_acquire) && !p.made_for->active.load())
                destroy_child(c);
        }
        c = next;
    }
}

// 0, or -1 (and a report) when a child has live objects. REQUIRES slab_mutex.
int shutdown_memcg_caches(kmem_cache* root) {
    for (kmem_cache* c = root->memcg_params.children; c; c = c->memcg_params.children_next)
        if (__kmem_cache_shutdown(c) != 0)
            return -1;
    while (kmem_cache* c = root->memcg_params.children) {
        if (!c->memcg_params.dying)
            root->memcg_params.memcg_caches.load(std::memory_order_relaxed)
                ->cache[c->memcg_params.made_for->kmemcg_id]
                .store(nullptr, std::memory_order_seq_cst);
        destroy_child(c);
    }
    return 0;
}

void memcg_free_cache_params(kmem_cache* root) {
    memcg_cache_array* a = root->memcg_params.memcg_caches.load(std::memory_order_relaxed);
    while (a) {
        memcg_cache_array* older = a->older;
        kfree(a);
        a = older;
    }
    root->memcg_params.memcg_caches.store(nullptr, std::memory_order_relaxed);
}

// ---- groups

mem_cgroup* mem_cgroup_create(const char* name, mem_cgroup* parent) {
    kmem_cache_init();
    void* p = kmalloc(sizeof(mem_cgroup), GFP_KERNEL);
    char* copy = p ? kstrdup(name, GFP_KERNEL) : nullptr;
    if (!copy) {
        kfree(p);
        return nullptr;
    }
    auto* memcg = new (p) mem_cgroup;
    memcg->name = copy;
    bool first = false;
    {
        const spin_guard guard(slab_mutex);
        const int id = take_id();
        if (id < 0) {
            kfree(copy);
            kfree(memcg);
            return nullptr;
        }
        memcg->kmemcg_id = static_cast<unsigned>(id);
        memcg->serial = next_serial++;
        memcg->parent = parent;
        if (parent)
            ++parent->refs;
        first = !memcg_kmem_enabled.exchange(true);
    }
    if (first) // from here on callers of accounted caches are asked for whom
        slab_set_account_hooks();
    return memcg;
}

void mem_cgroup_set_limit(mem_cgroup* memcg, std::size_t bytes) {
    const spin_guard guard(memcg_lock);
    memcg->kmem.max = bytes ? std::max<std::size_t>(bytes >> PAGE_SHIFT, 1) : 0;
}

void mem_cgroup_offline(mem_cgroup* memcg) {
    const spin_guard guard(slab_mutex);
    if (!memcg->online.exchange(false))
        return;
    while (kmem_cache* c = memcg->kmem_caches) {
        memcg->kmem_caches = c->memcg_params.kmem_caches_next;
        kmemcg_cache_deactivate(c, memcg);
        const spin_guard charges(memcg_lock);
        c->memcg_params.memcg = memcg->parent; // who is charged for its pages already
        c->memcg_params.kmem_caches_next = nullptr;
    }
    memcg_sweep(nullptr);
    put_memcg(memcg);
}

mem_cgroup* current_memcg() {
    return active_memcg;
}

mem_cgroup* memalloc_use_memcg(mem_cgroup* memcg) {
    static thread_local group_of_thread at_end;
    mem_cgroup* old = active_memcg;
    if (memcg == old)
        return old;
    at_end.memcg = memcg;
    for (mem_cgroup* m = memcg; m; m = m->parent)
        m->active.fetch_add(1, std::memory_order_seq_cst);
    active_memcg = memcg;
    for (mem_cgroup* m = old; m; m = m->parent)
        m->active.fetch_sub(1, std::memory_order_seq_cst);
    return old;
}

void memalloc_unuse_memcg() {
    mem_cgroup* old = active_memcg;
    active_memcg = nullptr;
    for (mem_cgroup* m = old; m; m = m->parent)
        m->active.fetch_sub(1, std::memory_order_seq_cst);
}

memcg_stats mem_cgroup_stats(mem_cgroup* memcg) {
    const spin_guard guard(slab_mutex);
    memcg_stats s;
    for (const kmem_cache* c = memcg->kmem_caches; c; c = c->memcg_params.kmem_caches_next)
        ++s.caches;
    const spin_guard charges(memcg_lock);
    s.usage = memcg->kmem.usage << PAGE_SHIFT;
    s.max_usage = memcg->kmem.watermark << PAGE_SHIFT;
    s.limit = memcg->kmem.max << PAGE_SHIFT;
    s.failcnt = memcg->kmem.failcnt;
    return s;
}

mem_cgroup* mem_cgroup_from_obj(const void* object) {
    const kmem_cache* c = virt_to_cache(object);
    if (!c)
        return nullptr;
    const spin_guard guard(memcg_lock);
    return c->memcg_params.memcg;
}

std::string memcg_slab_show(mem_cgroup* memcg) {
    std::string text = slabinfo_header(false);
    const spin_guard guard(slab_mutex);
    for (kmem_cache* c = memcg->kmem_caches; c; c = c->memcg_params.kmem_caches_next)
        text += slabinfo_line(c);
    return text;
}

} // namespace slabfwd
