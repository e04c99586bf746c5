// SPDX-License-Identifier: BSD-3-Clause
//
// slabinfo.cc - the numbers of the caches and the text of /proc/slabinfo.
//
// Door: slabinfo.h.
// Threads: slab_mutex keeps the caches alive while they are listed; counts of slabs are read under
// list_lock, those of arrays as they are.
// Origin: mm/slab_common.c and mm/slab.c of Linux v5.2 (format strings are the interface).
#include "alloc/slabinfo.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>

#include "alloc/memcg.h"
#include "alloc/slab.h"
#include "alloc/slub.h"

namespace slabfwd {

namespace {

void add_node(kmem_cache* cache, kmem_cache_node* n, slabinfo* s) {
    const spin_guard guard(n->list_lock);
    s->num_slabs += n->total_slabs;
    s->active_slabs += n->total_slabs - n->free_slabs;
    s->num_objs += n->total_slabs * cache->num;
    s->free_objs += n->free_objects;
    if (n->shared)
        s->sharedavail += n->shared->avail;
    for (int nid = 0; n->alien && nid < nr_node_ids(); ++nid)
        if (const alien_cache* alien = n->alien[nid])
            s->alien_objs += alien->ac->avail;
}

void add_arrays(kmem_cache* cache, slabinfo* s) {
    for (unsigned cpu = 1; cpu < nr_cpu_ids(); ++cpu) {
        const array_cache* ac = cache->cpu_cache[cpu].load(std::memory_order_acquire);
        if (ac != cache->gate())
            s->cpu_objs += ac->avail + ac->held;
        for (; ac && ac != cache->gate(); ac = ac->retired) {
            s->allochit += ac->allochit;
            s->allocmiss += ac->allocmiss;
            s->freehit += ac->freehit;
            s->freemiss += ac->freemiss;
        }
    }
    s->allocmiss += cache->slow_allocs.load(std::memory_order_relaxed);
    s->freemiss += cache->slow_frees.load(std::memory_order_relaxed);
}

// SLUB counts slabs as active, whatever they hold, and has no tunables (mm/slub.c, get_slabinfo).
void add_slub(kmem_cache* cache, slabinfo* s) {
    std::size_t objs = 0;
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        const kmem_cache_node* n = get_node(cache, nid);
        s->num_slabs += n->nr_slabs.load(std::memory_order_relaxed);
        objs += n->total_objects.load(std::memory_order_relaxed);
    }
    s->num_objs += objs;
    s->active_slabs = s->num_slabs;
    s->free_objs += objs - std::min(slub_objects_out(cache), objs);
    s->cpu_objs += slub_objects_at_hand(cache);
    s->allochit += slub_stat(cache, ALLOC_FASTPATH);
    s->allocmiss += slub_stat(cache, ALLOC_SLOWPATH);
    s->freehit += slub_stat(cache, FREE_FASTPATH);
    s->freemiss += slub_stat(cache, FREE_SLOWPATH);
}

std::string cache_show(const slabinfo& s, bool statistics) {
    char line[512];
    int n = std::snprintf(line, sizeof line, "%-17s %6zu %6zu %6u %4u %4u", s.name.c_str(),
                          s.active_objs, s.num_objs, s.objsize, s.objperslab, s.pagesperslab);
    std::string text(line, static_cast<std::size_t>(n));
    n = std::snprintf(line, sizeof line, " : tunables %4u %4u %4u : slabdata %6zu %6zu %6zu",
                      s.limit, s.batchcount, s.sharedfactor, s.active_slabs, s.num_slabs,
                      s.sharedavail);
    text.append(line, static_cast<std::size_t>(n));
    if (statistics) {
        using ul = unsigned long;
        n = std::snprintf(line, sizeof line,
                          " : globalstat %7lu %6lu %5lu %4lu %4lu %4lu %4lu %4lu %4lu"
                          " : cpustat %6lu %6lu %6lu %6lu",
                          ul{s.num_allocations}, ul{s.high_mark}, ul{s.grown}, ul{s.reaped},
                          ul{s.errors}, ul{s.max_freeable}, ul{s.node_allocs}, ul{s.node_frees},
                          ul{s.node_overflow}, ul{s.allochit}, ul{s.allocmiss}, ul{s.freehit},
                          ul{s.freemiss});
        text.append(line, static_cast<std::size_t>(n));
    }
    return text + "\n";
}

} // namespace

std::string slabinfo_header(bool statistics) {
    return statistics
               ? "slabinfo - version: 2.1 (statistics)\n"
                 "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
                 " : tunables <limit> <batchcount> <sharedfactor>"
                 " : slabdata <active_slabs> <num_slabs> <sharedavail>"
                 " : globalstat <listallocs> <maxobjs> <grown> <reaped> <error> <maxfreeable>"
                 " <nodeallocs> <remotefrees> <alienoverflow>"
                 " : cpustat <allochit> <allocmiss> <freehit> <freemiss>\n"
               : "slabinfo - version: 2.1\n"
                 "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
                 " : tunables <limit> <batchcount> <sharedfactor>"
                 " : slabdata <active_slabs> <num_slabs> <sharedavail>\n";
}

namespace {

// A root cache's numbers are those of its children too (memcg_accumulate_slabinfo). REQUIRES
// slab_mutex.
slabinfo read_cache(kmem_cache* cache) {
    slabinfo s;
    s.name = cache->name;
    s.objsize = cache->size;
    s.objperslab = cache->num;
    s.pagesperslab = 1u << cache->gfporder;
    s.limit = cache->limit;
    s.batchcount = cache->batchcount;
    s.sharedfactor = cache->shared;
    s.object_size = cache->object_size;
    s.align = cache->align;
    s.allocator = kmem_cache_allocator(cache);
    for (kmem_cache* c = cache; c;
         c = c == cache ? c->memcg_params.children : c->memcg_params.children_next) {
        if (is_slub(c)) {
            add_slub(c, &s);
            continue;
        }
        for (int nid = 0; nid < nr_node_ids(); ++nid)
            add_node(c, get_node(c, nid), &s);
        add_arrays(c, &s);
    }
    const std::size_t idle = s.free_objs + s.sharedavail + s.cpu_objs + s.alien_objs;
    s.active_objs = s.num_objs > idle ? s.num_objs - idle : 0;
    s.array_objs = cache->array_objs.load(std::memory_order_relaxed);
    s.num_allocations = cache->num_allocations.load(std::memory_order_relaxed);
    s.high_mark = cache->high_mark.load(std::memory_order_relaxed);
    s.grown = cache->grown.load(std::memory_order_relaxed);
    s.reaped = cache->reaped.load(std::memory_order_relaxed);
    s.errors = cache->errors.load(std::memory_order_relaxed);
    s.max_freeable = cache->max_freeable.load(std::memory_order_relaxed);
    s.node_allocs = cache->node_allocs.load(std::memory_order_relaxed);
    s.node_frees = cache->node_frees.load(std::memory_order_relaxed);
    s.node_overflow = cache->node_overflow.load(std::memory_order_relaxed);
    for (const cache_alias* a = cache->aliases; a; a = a->next)
        s.aliases.emplace_back(a->name);
    return s;
}

} // namespace

slabinfo get_slabinfo(kmem_cache* cache) {
    const spin_guard guard(slab_mutex);
    return read_cache(cache);
}

std::vector<slabinfo> slabinfo_list() {
    kmem_cache_init();
    std::vector<slabinfo> list;
    const spin_guard guard(slab_mutex);
    for (kmem_cache* c = slab_caches.first; c; c = c->next)
        if (is_root_cache(c))
            list.push_back(read_cache(c));
    return list;
}

// One cache's line. REQUIRES slab_mutex.
std::string slabinfo_line(kmem_cache* cache) {
    return cache_show(read_cache(cache), false);
}

std::string slabinfo_text(bool statistics) {
    std::string text = slabinfo_header(statistics);
    for (const slabinfo& s : slabinfo_list())
        text += cache_show(s, statistics);
    return text;
}

int kmem_cache_tune(kmem_cache* cache, unsigned limit, unsigned batchcount, unsigned shared) {
    if (is_slub(cache))
        return -EIO;                   // as the kernel's: SLUB has nothing of the kind
    constexpr unsigned MAX = 1u << 16; // entries an array may have
    if (limit < 1 || batchcount < 1 || batchcount > limit || limit > MAX || shared > MAX ||
        std::uint64_t{shared} * batchcount > (std::uint64_t{1} << 20))
        return -EINVAL;
    const spin_guard guard(slab_mutex);
    return do_tune_cpucache(cache, limit, batchcount, shared);
}

int slabinfo_write(std::string_view line) {
    std::string_view word[4];
    std::size_t words = 0;
    while (!line.empty()) {
        const std::size_t start = line.find_first_not_of(" \t\n");
        if (start == line.npos)
            break;
        line.remove_prefix(start);
        const std::size_t end = std::min(line.find_first_of(" \t\n"), line.size());
        if (words == 4)
            return -EINVAL;
        word[words++] = line.substr(0, end);
        line.remove_prefix(end);
    }
    if (words != 4)
        return -EINVAL;
    unsigned number[3] = {};
    for (int i = 0; i < 3; ++i) {
        const std::string_view w = word[i + 1];
        const auto [end, err] = std::from_chars(w.data(), w.data() + w.size(), number[i]);
        if (err != std::errc{} || end != w.data() + w.size())
            return -EINVAL;
    }
    kmem_cache* cache = find_cache(word[0]);
    return cache ? kmem_cache_tune(cache, number[0], number[1], number[2]) : -EINVAL;
}

void slab_statistics(kmem_cache* cache, bool on) {
    constexpr std::uint32_t hook = HOOK_STATISTICS;
    slab_set_hooks(on ? hook : 0, on ? 0 : hook, cache);
}

} // namespace slabfwd
