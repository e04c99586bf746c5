// SPDX-License-Identifier: BSD-3-Clause
//
// slub_sysfs.cc - the attributes of caches. See slub_sysfs.h.
//
// Threads: node lists are walked under list_lock; the rest are atomics.
#include "alloc/slub_sysfs.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <functional>

#include "alloc/slab_debug.h"
#include "alloc/slabinfo.h"
#include "alloc/slub.h"

namespace slabfwd {

namespace {

[[gnu::format(printf, 1, 2)]] std::string sprint(const char* format, ...) {
    char line[256];
    va_list args;
    va_start(args, format);
    std::vsnprintf(line, sizeof line, format, args);
    va_end(args);
    return line;
}

// ":" and what may not differ among caches that merge: flags that count, "-", size.
std::string create_unique_id(const kmem_cache* cache) {
    std::string id = ":";
    if (cache->flags & SLAB_RECLAIM_ACCOUNT)
        id += 'a';
    if (cache->flags & SLAB_CONSISTENCY_CHECKS)
        id += 'F';
    if (cache->flags & SLAB_ACCOUNT)
        id += 'A';
    if (id.size() > 1)
        id += '-';
    return id + sprint("%07u", cache->size);
}

bool has_unique_id(const kmem_cache* cache) {
    return !slab_nomerge() && !slab_unmergeable(cache);
}

// ---- counts

// "TOTAL N0=n N1=n\n", nodes that have none left out (show_slab_objects).
std::string per_node(const std::function<std::size_t(int nid)>& count) {
    std::size_t total = 0;
    std::string nodes;
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        const std::size_t n = count(nid);
        total += n;
        if (n)
            nodes += sprint(" N%d=%zu", nid, n);
    }
    return sprint("%zu", total) + nodes + "\n";
}

struct node_counts {
    std::size_t slabs, objects, partial, partial_objects, partial_free;
};

node_counts count_node(kmem_cache* cache, int nid) {
    kmem_cache_node* n = get_node(cache, nid);
    const spin_guard guard(n->list_lock);
    if (!is_slub(cache)) {
        node_counts c{n->total_slabs, n->total_slabs * cache->num, n->slabs_partial.count, 0,
                      n->free_objects};
        for (const page* slab = n->slabs_partial.first; slab; slab = slab->next)
            c.partial_objects += slab->active;
        return c;
    }
    node_counts c{n->nr_slabs.load(), n->total_objects.load(), n->partial.count, 0, 0};
    for (page* slab = n->partial.first; slab; slab = slab->next) { // count_partial
        const slab_counters s = read_counters(slab);
        c.partial_objects += s.inuse;
        c.partial_free += slab->objects - s.inuse;
    }
    return c;
}

// Objects in use; of one node exactly, of several as the kernel counts: all but the free ones on
// the nodes' lists.
std::string objects_show(kmem_cache* cache) {
    if (nr_node_ids() == 1)
        return per_node([cache](int) { return get_slabinfo(cache).active_objs; });
    return per_node([cache](int nid) {
        const node_counts c = count_node(cache, nid);
        return c.objects - std::min(c.partial_free, c.objects);
    });
}

template <typename Fn>
void for_each_cpu(const kmem_cache* cache, Fn&& fn) {
    for (unsigned cpu = 1; cpu < nr_cpu_ids(); ++cpu) {
        const kmem_cache_cpu* c = cache->cpu_cache[cpu].load(std::memory_order_acquire);
        if (c && c->stat)
            fn(cpu, c);
    }
}

std::string cpu_slabs_show(kmem_cache* cache) {
    return per_node([cache](int nid) {
        std::size_t n = 0;
        for_each_cpu(cache, [&](unsigned cpu, const kmem_cache_cpu* c) {
            if (cpu_to_node(cpu) == nid)
                n += c->partial_slabs + (static_cast<page*>(c->slab) ? 1u : 0u);
        });
        return n;
    });
}

// "OBJECTS(SLABS) C1=OBJECTS(SLABS)\n"
std::string slabs_cpu_partial_show(kmem_cache* cache) {
    unsigned objects = 0;
    unsigned slabs = 0;
    std::string cpus;
    for_each_cpu(cache, [&](unsigned cpu, const kmem_cache_cpu* c) {
        const unsigned n = c->partial_slabs;
        if (!n)
            return;
        objects += c->partial_objects;
        slabs += n;
        cpus += sprint(" C%u=%u(%u)", cpu, +c->partial_objects, n);
    });
    return sprint("%u(%u)", objects, slabs) + cpus + "\n";
}

// "SUM C1=n C2=n\n" (show_stat)
std::string show_stat(kmem_cache* cache, stat_item item) {
    std::string cpus;
    for_each_cpu(cache, [&](unsigned cpu, const kmem_cache_cpu* c) {
        if (const unsigned long n = c->stat[item])
            cpus += sprint(" C%u=%lu", cpu, n);
    });
    return sprint("%lu", static_cast<unsigned long>(slub_stat(cache, item))) + cpus + "\n";
}

// ---- writing

bool number(std::string_view text, unsigned long* n) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
        text.remove_suffix(1);
    const auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), *n);
    return err == std::errc{} && end == text.data() + text.size() && !text.empty();
}

int debug_store(kmem_cache* cache, slab_flags_t flag, std::string_view value) {
    return slab_debug_change(cache, flag, !value.empty() && value[0] == '1');
}

// Numbers of a root cache are its children's too, but for those that are on their way out.
int to_children(kmem_cache* root) {
    const spin_guard guard(slab_mutex);
    for (kmem_cache* c = root->memcg_params.children; c; c = c->memcg_params.children_next)
        if (!c->memcg_params.dying.load(std::memory_order_relaxed))
            slub_propagate_attrs(c);
    return 0;
}

int min_partial_store(kmem_cache* cache, std::string_view value) {
    unsigned long n = 0;
    if (!number(value, &n))
        return -EINVAL;
    set_min_partial(cache, n);
    return to_children(cache);
}

int cpu_partial_store(kmem_cache* cache, std::string_view value) {
    unsigned long n = 0;
    if (!number(value, &n) || n > MAX_OBJS_PER_PAGE)
        return -EINVAL;
    cache->cpu_partial = static_cast<unsigned>(n);
    drain_cpu_caches(cache); // flush_all
    return to_children(cache);
}

int defrag_ratio_store(kmem_cache* cache, std::string_view value) {
    unsigned long n = 0;
    if (!number(value, &n) || n > 100)
        return -EINVAL;
    cache->remote_node_defrag_ratio = static_cast<unsigned>(n * 10);
    return to_children(cache);
}

int shrink_store(kmem_cache* cache, std::string_view value) {
    if (value.empty() || value[0] != '1')
        return -EINVAL;
    kmem_cache_shrink(cache);
    return 0;
}

int validate_store(kmem_cache* cache, std::string_view value) {
    if (value.empty() || value[0] != '1')
        return -EINVAL;
    return validate_slab_cache(cache) < 0 ? -EINVAL : 0;
}

// ---- the table

using show_fn = std::string (*)(kmem_cache* cache);
using store_fn = int (*)(kmem_cache* cache, std::string_view value);
struct attribute {
    std::string_view name;
    bool slub_only;
    show_fn show;
    store_fn store;
};

template <slab_flags_t FLAG>
std::string flag_show(kmem_cache* cache) {
    const slab_flags_t flags = (cache->flags & ~SLAB_DEBUG_FLAGS) | slab_debug_flags(cache);
    return (flags & FLAG) ? "1\n" : "0\n";
}
template <slab_flags_t FLAG>
int flag_store(kmem_cache* cache, std::string_view value) {
    return debug_store(cache, FLAG, value);
}
std::string nothing_show(kmem_cache*) {
    return {};
}

constexpr attribute attributes[] = {
    {"aliases", false, [](kmem_cache* c) { return sprint("%d\n", std::max(c->refcount - 1, 0)); },
     nullptr},
    {"align", false, [](kmem_cache* c) { return sprint("%u\n", c->align); }, nullptr},
    {"alloc_calls", false, slab_alloc_calls, nullptr},
    {"cpu_partial", true, [](kmem_cache* c) { return sprint("%u\n", +c->cpu_partial); },
     cpu_partial_store},
    {"cpu_slabs", true, cpu_slabs_show, nullptr},
    {"ctor", false,
     [](kmem_cache* c) {
         return c->ctor ? slab_symbol(reinterpret_cast<const void*>(c->ctor)) + "\n"
                        : std::string();
     },
     nullptr},
    {"destroy_by_rcu", false, flag_show<SLAB_TYPESAFE_BY_RCU>, nullptr},
    {"failslab", false, flag_show<SLAB_FAILSLAB>, flag_store<SLAB_FAILSLAB>},
    {"free_calls", false, slab_free_calls, nullptr},
    {"hwcache_align", false, flag_show<SLAB_HWCACHE_ALIGN>, nullptr},
    {"min_partial", true, [](kmem_cache* c) { return sprint("%zu\n", +c->min_partial); },
     min_partial_store},
    {"object_size", false, [](kmem_cache* c) { return sprint("%u\n", c->object_size); }, nullptr},
    {"objects", false, objects_show, nullptr},
    {"objects_partial", false,
     [](kmem_cache* c) {
         return per_node([c](int nid) { return count_node(c, nid).partial_objects; });
     },
     nullptr},
    {"objs_per_slab", false, [](kmem_cache* c) { return sprint("%u\n", c->num); }, nullptr},
    {"order", false, [](kmem_cache* c) { return sprint("%u\n", c->gfporder); }, nullptr},
    {"partial", false,
     [](kmem_cache* c) { return per_node([c](int nid) { return count_node(c, nid).partial; }); },
     nullptr},
    {"poison", false, flag_show<SLAB_POISON>, flag_store<SLAB_POISON>},
    {"reclaim_account", false, flag_show<SLAB_RECLAIM_ACCOUNT>, nullptr},
    {"red_zone", false, flag_show<SLAB_RED_ZONE>, flag_store<SLAB_RED_ZONE>},
    {"remote_node_defrag_ratio", true,
     [](kmem_cache* c) { return sprint("%u\n", +c->remote_node_defrag_ratio / 10); },
     defrag_ratio_store},
    {"sanity_checks", false, flag_show<SLAB_CONSISTENCY_CHECKS>,
     flag_store<SLAB_CONSISTENCY_CHECKS>},
    {"sheaf_capacity", true, [](kmem_cache* c) { return sprint("%u\n", c->sheaf_capacity); },
     nullptr},
    {"shrink", false, nothing_show, shrink_store},
    {"slab_size", false, [](kmem_cache* c) { return sprint("%u\n", c->size); }, nullptr},
    {"slabs", false,
     [](kmem_cache* c) { return per_node([c](int nid) { return count_node(c, nid).slabs; }); },
     nullptr},
    {"slabs_cpu_partial", true, slabs_cpu_partial_show, nullptr},
    {"store_user", false, flag_show<SLAB_STORE_USER>, flag_store<SLAB_STORE_USER>},
    {"total_objects", false,
     [](kmem_cache* c) { return per_node([c](int nid) { return count_node(c, nid).objects; }); },
     nullptr},
    {"trace", false, flag_show<SLAB_TRACE>, flag_store<SLAB_TRACE>},
    {"usersize", false, [](kmem_cache* c) { return sprint("%u\n", c->usersize); }, nullptr},
    {"validate", false, nothing_show, validate_store},
};

// In the order of enum stat_item; the files' names.
constexpr std::string_view stat_names[NR_SLUB_STAT_ITEMS] = {
    "alloc_fastpath",      "alloc_slowpath",      "free_fastpath",
    "free_slowpath",       "free_frozen",         "free_add_partial",
    "free_remove_partial", "alloc_from_partial",  "alloc_slab",
    "alloc_refill",        "alloc_node_mismatch", "free_slab",
    "cpuslab_flush",       "deactivate_full",     "deactivate_empty",
    "deactivate_to_head",  "deactivate_to_tail",  "deactivate_remote_frees",
    "deactivate_bypass",   "order_fallback",      "cmpxchg_double_cpu_fail",
    "cmpxchg_double_fail", "cpu_partial_alloc",   "cpu_partial_free",
    "cpu_partial_node",    "cpu_partial_drain",
};

const attribute* find_attribute(const kmem_cache* cache, std::string_view name) {
    for (const attribute& a : attributes)
        if (a.name == name && (is_slub(cache) || !a.slub_only))
            return &a;
    return nullptr;
}

// NR_SLUB_STAT_ITEMS: no counter of that name.
unsigned find_stat(const kmem_cache* cache, std::string_view name) {
    if (!is_slub(cache))
        return NR_SLUB_STAT_ITEMS;
    const auto* at = std::find(std::begin(stat_names), std::end(stat_names), name);
    return static_cast<unsigned>(at - stat_names);
}

} // namespace

std::vector<slab_sysfs_entry> slab_sysfs_list() {
    kmem_cache_init();
    std::vector<slab_sysfs_entry> list;
    const auto taken = [&list](const std::string& name) {
        return std::any_of(list.begin(), list.end(), [&](const auto& e) { return e.name == name; });
    };
    const spin_guard guard(slab_mutex);
    for (const kmem_cache* c = slab_caches.first; c; c = c->next) {
        std::string dir = c->name;
        if (has_unique_id(c) && !taken(create_unique_id(c)))
            dir = create_unique_id(c);
        list.push_back({dir, ""});
        if (dir != c->name)
            list.push_back({c->name, dir});
        for (const cache_alias* a = c->aliases; a; a = a->next)
            list.push_back({a->name, dir});
    }
    return list;
}

kmem_cache* slab_sysfs_find(std::string_view name) {
    if (kmem_cache* cache = find_cache(name))
        return cache;
    for (const slab_sysfs_entry& e : slab_sysfs_list())
        if (e.target == name)
            return find_cache(e.name);
    return nullptr;
}

std::vector<slab_attribute> slab_attributes(const kmem_cache* cache) {
    std::vector<slab_attribute> list;
    for (const attribute& a : attributes)
        if (is_slub(cache) || !a.slub_only)
            list.push_back({a.name, a.store != nullptr});
    for (std::string_view name : stat_names)
        if (is_slub(cache))
            list.push_back({name, true});
    std::sort(list.begin(), list.end(),
              [](const slab_attribute& a, const slab_attribute& b) { return a.name < b.name; });
    return list;
}

int slab_attr_show(kmem_cache* cache, std::string_view attr, std::string* text) {
    if (const attribute* a = find_attribute(cache, attr)) {
        *text = a->show(cache);
        return 0;
    }
    const unsigned item = find_stat(cache, attr);
    if (item == NR_SLUB_STAT_ITEMS)
        return -ENOENT;
    *text = show_stat(cache, static_cast<stat_item>(item));
    return 0;
}

int slab_attr_store(kmem_cache* cache, std::string_view attr, std::string_view value) {
    if (const attribute* a = find_attribute(cache, attr))
        return a->store ? a->store(cache, value) : -EACCES;
    const unsigned item = find_stat(cache, attr);
    if (item == NR_SLUB_STAT_ITEMS)
        return -ENOENT;
    if (value.empty() || value[0] != '0')
        return -EINVAL; // counters can be cleared, not set
    slub_clear_stat(cache, static_cast<stat_item>(item));
    return 0;
}

} // namespace slabfwd
