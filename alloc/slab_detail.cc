// SPDX-License-Identifier: BSD-3-Clause
//
// slab_detail.cc - where a cache's objects are. See slab_detail.h.
//
// Threads: slab_mutex keeps the cache and its arrays; list_lock per node while its slabs are
// walked.
#include "alloc/slab_detail.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "alloc/slab.h"
#include "alloc/slub.h"

namespace slabfwd {

namespace {

constexpr std::size_t TENTHS = 10;

std::vector<slab_cpu_detail> read_cpus(kmem_cache* cache) {
    std::vector<slab_cpu_detail> list;
    for (unsigned cpu = 1; cpu < nr_cpu_ids(); ++cpu) {
        const array_cache* ac = cache->cpu_cache[cpu].load(std::memory_order_acquire);
        if (ac == cache->gate())
            continue;
        list.push_back({.cpu = cpu,
                        .nid = cpu_to_node(cpu),
                        .avail = ac->avail + ac->held +
                                 (is_slub(cache) ? unsigned{ac->freelist_len} : 0u),
                        .limit = is_slub(cache) ? ac->capacity
                                                : std::min<unsigned>(cache->limit, ac->capacity),
                        .batchcount = ac->batchcount,
                        .refilled = ac->refilled,
                        .flushed = ac->flushed,
                        .allocmiss = ac->allocmiss,
                        .freemiss = ac->freemiss});
    }
    return list;
}

// SLUB's slabs that are on no list of the node are full or a slot's. REQUIRES list_lock.
void read_slub_node(kmem_cache_node* n, slab_node_detail* d) {
    for (page* slab = n->partial.first; slab; slab = slab->next) {
        const slab_counters s = read_counters(slab);
        ++(s.inuse ? d->partial : d->free);
        d->free_objects += slab->objects - s.inuse;
        d->partial_free += s.inuse ? slab->objects - s.inuse : 0u;
        if (s.inuse)
            d->occupancy[std::min<std::size_t>(s.inuse * TENTHS / slab->objects, TENTHS - 1)] += 1;
    }
    const std::size_t all = n->nr_slabs.load(std::memory_order_relaxed);
    d->full = all - std::min(all, n->partial.count);
}

slab_node_detail read_node(kmem_cache* cache, int nid) {
    kmem_cache_node* n = get_node(cache, nid);
    slab_node_detail d;
    d.nid = nid;
    d.occupancy.resize(TENTHS);
    const spin_guard guard(n->list_lock);
    if (n->shared) {
        d.shared = n->shared->avail;
        d.shared_limit = n->shared->limit;
    }
    if (is_slub(cache)) {
        read_slub_node(n, &d);
        return d;
    }
    d.partial = n->slabs_partial.count;
    d.full = n->slabs_full.count;
    d.free = n->slabs_free.count;
    d.free_objects = n->free_objects;
    d.free_limit = n->free_limit;
    for (int other = 0; n->alien && other < nr_node_ids(); ++other)
        if (const alien_cache* alien = n->alien[other])
            d.alien += alien->ac->avail;
    for (const page* slab = n->slabs_partial.first; slab; slab = slab->next) {
        d.partial_free += cache->num - slab->active;
        d.occupancy[slab->active * TENTHS / cache->num] += 1;
    }
    return d;
}

[[gnu::format(printf, 2, 3)]] void add(std::string* text, const char* format, ...) {
    char line[256];
    va_list args;
    va_start(args, format);
    std::vsnprintf(line, sizeof line, format, args);
    va_end(args);
    *text += line;
}

} // namespace

slab_detail get_slab_detail(kmem_cache* cache) {
    slab_detail d;
    d.info = get_slabinfo(cache);
    const spin_guard guard(slab_mutex);
    d.cpus = read_cpus(cache);
    std::size_t slabs = 0;
    std::size_t partial_free = 0;
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        d.nodes.push_back(read_node(cache, nid));
        slabs += d.nodes.back().partial + d.nodes.back().full + d.nodes.back().free;
        partial_free += d.nodes.back().partial_free;
    }
    d.bytes = slabs * (PAGE_SIZE << cache->gfporder);
    d.used_bytes = d.info.active_objs * cache->object_size;
    if (!d.bytes)
        return d;
    const auto percent = [&d](std::size_t n) {
        return 100.0 * static_cast<double>(n) / static_cast<double>(d.bytes);
    };
    d.fragmentation = percent(partial_free * cache->size);
    d.waste = percent(d.bytes - slabs * cache->num * cache->object_size);
    return d;
}

std::string slab_detail_text(kmem_cache* cache) {
    const slab_detail d = get_slab_detail(cache);
    std::string text;
    add(&text, "%s: %zu of %zu objects of %u bytes in use, %zu slabs of %u objects, %u pages\n",
        d.info.name.c_str(), d.info.active_objs, d.info.num_objs, d.info.object_size,
        d.info.num_slabs, d.info.objperslab, d.info.pagesperslab);
    add(&text, "  bytes: %zu in slabs, %zu in use; fragmentation %.1f %%, waste %.1f %%\n", d.bytes,
        d.used_bytes, d.fragmentation, d.waste);
    add(&text, "  tunables: limit %u batchcount %u shared %u\n", d.info.limit, d.info.batchcount,
        d.info.sharedfactor);
    for (const slab_node_detail& n : d.nodes) {
        add(&text, "  node %d: slabs %zu partial %zu full %zu free, %zu free objects (limit %zu)",
            n.nid, n.partial, n.full, n.free, n.free_objects, n.free_limit);
        add(&text, ", shared %zu of %zu, alien %zu\n    partial slabs by use:", n.shared,
            n.shared_limit, n.alien);
        for (const std::size_t slabs : n.occupancy)
            add(&text, " %zu", slabs);
        text += "\n";
    }
    for (const slab_cpu_detail& c : d.cpus)
        add(&text, "  cpu %u (node %d): %u of %u, batch %u, refilled %llu flushed %llu\n", c.cpu,
            c.nid, c.avail, c.limit, c.batchcount, static_cast<unsigned long long>(c.refilled),
            static_cast<unsigned long long>(c.flushed));
    return text;
}

} // namespace slabfwd
