// SPDX-License-Identifier: BSD-3-Clause
//
// slub_valid.cc - SLUB: what must hold, and counts.
//
// Doors: slub_is_valid(), slub_object_is_free(), slub_objects_out(), slub_objects_at_hand().
// Invariants: a slab's freelist holds objects - inuse objects, each once; a slab is frozen and with
// one slot (cpu slab or partial list), or on its node's list and has free objects, or full and on
// none; objects that are out (with callers, in sheaves, on cpu freelists) = total - those on the
// slabs' freelists.
// Threads: checks REQUIRE that nobody else uses the cache; counts may be asked for at any time.
// Origin: ours; validate_slab() and count_partial() of mm/slub.c in idea.
#include <algorithm>
#include <vector>

#include "alloc/slub.h"

namespace slabfwd {

std::uint64_t slub_stat(const kmem_cache* cache, stat_item item) {
    std::uint64_t sum = cache->stat[item].load(std::memory_order_relaxed);
    for (unsigned cpu = 1; cpu < nr_cpu_ids(); ++cpu) {
        const kmem_cache_cpu* c = cache->cpu_cache[cpu].load(std::memory_order_acquire);
        if (c && c->stat)
            sum += c->stat[item];
    }
    return sum;
}

// As in the kernel, a count that its owner makes at this moment may survive.
void slub_clear_stat(kmem_cache* cache, stat_item item) {
    cache->stat[item].store(0, std::memory_order_relaxed);
    for (unsigned cpu = 1; cpu < nr_cpu_ids(); ++cpu) {
        const kmem_cache_cpu* c = cache->cpu_cache[cpu].load(std::memory_order_acquire);
        if (c && c->stat)
            c->stat[item] = 0;
    }
}

std::size_t slub_objects_out(const kmem_cache* cache) {
    std::uint64_t out = cache->slow_allocs.load(std::memory_order_relaxed) -
                        cache->slow_frees.load(std::memory_order_relaxed);
    for (unsigned cpu = 1; cpu < nr_cpu_ids(); ++cpu) {
        const kmem_cache_cpu* c = cache->cpu_cache[cpu].load(std::memory_order_acquire);
        if (c && c->stat)
            out += c->refilled - c->flushed;
    }
    return out;
}

namespace {

std::size_t length_of_freelist(const kmem_cache* cache, const kmem_cache_cpu* c) {
    std::size_t n = 0;
    const void* p = c->held_freelist ? c->held_freelist : static_cast<void*>(c->freelist);
    for (; p && n < MAX_OBJS_PER_PAGE; p = get_freepointer(cache, p))
        ++n;
    return n;
}

struct counted {
    kmem_cache* cache;
    std::size_t objects;
    void add(unsigned cpu) {
        const kmem_cache_cpu* c = cache->cpu_cache[cpu].load(std::memory_order_acquire);
        if (c && c->stat && !has_sheaf(c))
            objects += length_of_freelist(cache, c);
    }
};

} // namespace

std::size_t slub_objects_at_hand(kmem_cache* cache) {
    counted n{cache, 0};
    for (unsigned cpu = 1; cpu < nr_cpu_ids(); ++cpu) {
        const kmem_cache_cpu* c = cache->cpu_cache[cpu].load(std::memory_order_acquire);
        if (c && c->stat && has_sheaf(c))
            n.objects += c->avail + c->held + c->freelist_len;
    }
    if (slab_cpu)
        n.add(slab_cpu);
    for_each_gone_cpu([](unsigned cpu, void* arg) { static_cast<counted*>(arg)->add(cpu); }, &n);
    return n.objects;
}

bool slub_object_is_free(const kmem_cache* cache, page* slab, std::size_t index) {
    const void* const object = index_to_obj(cache, slab, index);
    const void* p = slab_object_at(slab, read_counters(slab).freelist);
    for (unsigned n = 0; p && n < slab->objects; p = get_freepointer(cache, p), ++n)
        if (p == object)
            return true;
    return false;
}

namespace {

// The check of one cache.
struct checker {
    kmem_cache* cache;
    std::string wrong;
    std::vector<page*> slabs;         // all
    std::vector<const page*> listed;  // on a node's list or with a slot
    std::vector<const void*> objects; // free or at hand
    std::size_t free = 0;             // on the slabs' freelists and in barns

    bool check(bool ok, const char* what) {
        if (!ok && wrong.empty())
            wrong = what;
        return ok;
    }

    // Walks a freelist of objects of `slab`; returns its length.
    std::size_t walk(const page* slab, const void* p) {
        std::size_t n = 0;
        for (; p; p = get_freepointer(cache, p), ++n) {
            if (!check(n < slab->objects, "a freelist has more objects than the slab"))
                return n;
            if (!check_object(slab, p, "a freelist leads out of its slab"))
                return n;
        }
        return n;
    }
    bool check_object(const page* slab, const void* p, const char* what) {
        const std::size_t index = obj_to_index(cache, slab, p);
        if (!check(index < slab->objects && index_to_obj(cache, slab, index) == p, what))
            return false;
        objects.push_back(p);
        return true;
    }

    void check_slab(page* slab) {
        const unsigned order = page_order(page_to_pfn(slab));
        check((order == oo_order(cache->oo) && slab->objects == oo_objects(cache->oo)) ||
                  (order == oo_order(cache->min) && slab->objects == oo_objects(cache->min)) ||
                  slab->objects == order_objects(order, cache->size),
              "order or objects of a slab");
        check(slab->s_mem == static_cast<std::byte*>(page_address(slab)) + cache->red_left_pad,
              "where the objects of a slab begin");
        const slab_counters s = read_counters(slab);
        check(s.inuse <= slab->objects, "a slab has more objects in use than it has");
        const std::size_t n = walk(slab, slab_object_at(slab, s.freelist));
        check(n == slab->objects - s.inuse, "length of a slab's freelist against its count");
        free += n;
    }
    void check_listed(page* slab, bool frozen, const char* what) {
        const slab_counters s = read_counters(slab);
        check(slab->slab_cache == cache, "a list has another cache's slab");
        check(s.frozen == frozen, what);
        listed.push_back(slab);
    }
    void check_node(kmem_cache_node* n) {
        const spin_guard guard(n->list_lock);
        std::size_t count = 0;
        const page* prev = nullptr;
        for (page* slab = n->partial.first; slab; prev = slab, slab = slab->next, ++count) {
            check_listed(slab, false, "a slab of the node's list is frozen");
            check(read_counters(slab).freelist != 0, "a slab of the node's list is full");
            check(slab->prev == prev && slab->slab_list == ON_PARTIAL, "links of a slab list");
        }
        check(n->partial.last == prev && n->partial.count == count, "length of a slab list");
        check(n->nr_partial.load() == count, "nr_partial");
        if (const array_cache* barn = n->shared) {
            check(barn->avail <= barn->limit, "a barn holds more than it can");
            check_array(barn->entry, barn->avail);
            free += barn->avail;
        }
    }
    void check_array(void* const* objects_at, std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) {
            const void* p = objects_at[i];
            if (!check(virt_addr_valid(p), "a sheaf or barn holds a foreign address"))
                return;
            const page* slab = virt_to_head_page(p);
            if (check(slab->slab_cache == cache, "a sheaf or barn holds another cache's object"))
                check_object(slab, p, "a sheaf or barn holds no start of an object");
        }
    }
    void check_cpu(const kmem_cache_cpu* c) {
        check(c->cache == cache, "a slot's structure names another cache");
        check(c->avail + c->held <= c->capacity, "a sheaf holds more than it can");
        const void* freelist =
            c->held_freelist ? c->held_freelist : static_cast<void*>(c->freelist);
        check(c->slab || !freelist, "a freelist without a slab");
        if (c->slab) {
            check_listed(c->slab, true, "a cpu slab is not frozen");
            const std::size_t n = walk(c->slab, freelist);
            check(!has_sheaf(c) || n == c->freelist_len, "length of a cpu freelist");
        }
        std::size_t slabs_there = 0;
        for (page* slab = c->partial; slab; slab = slab->next, ++slabs_there) {
            check_listed(slab, true, "a slab of a slot's list is not frozen");
            check(read_counters(slab).freelist != 0, "a slab of a slot's list is full");
        }
        check(slabs_there == c->partial_slabs, "length of a slot's list");
        check_array(c->entry, c->avail + c->held);
    }
    void check_sums() {
        std::size_t objects_all = 0;
        std::size_t nr_slabs = 0;
        std::size_t total = 0;
        for (const page* slab : slabs)
            objects_all += slab->objects;
        for (int nid = 0; nid < nr_node_ids(); ++nid) {
            nr_slabs += get_node(cache, nid)->nr_slabs.load();
            total += get_node(cache, nid)->total_objects.load();
        }
        check(nr_slabs == slabs.size() && cache->nr_slabs.load() == nr_slabs, "number of slabs");
        check(total == objects_all, "total_objects");
        check(slub_objects_out(cache) == total - free, "objects that are out");
        std::sort(objects.begin(), objects.end());
        check(std::adjacent_find(objects.begin(), objects.end()) == objects.end(),
              "an object is free twice");
        std::sort(listed.begin(), listed.end());
        check(std::adjacent_find(listed.begin(), listed.end()) == listed.end(),
              "a slab is on two lists");
        for (page* slab : slabs)
            if (!std::binary_search(listed.begin(), listed.end(), slab)) {
                const slab_counters s = read_counters(slab);
                check(!s.frozen && s.inuse == slab->objects, "a slab on no list is not full");
            }
    }
};

} // namespace

bool slub_is_valid(kmem_cache* cache, std::string* why) {
    checker v{cache, {}, {}, {}, {}, 0};
    v.slabs.reserve(cache->nr_slabs.load(std::memory_order_relaxed) + 16);
    for_each_slab(
        cache, [](page* slab, void* arg) { static_cast<checker*>(arg)->slabs.push_back(slab); },
        &v);
    for (page* slab : v.slabs)
        v.check_slab(slab);
    for (int nid = 0; nid < nr_node_ids(); ++nid)
        v.check_node(get_node(cache, nid));
    for (unsigned cpu = 0; cpu < NR_CPUS; ++cpu) {
        const kmem_cache_cpu* c = cache->cpu_cache[cpu].load(std::memory_order_acquire);
        if (c != cache->gate())
            v.check_cpu(c);
    }
    v.check_sums();
    if (why)
        *why = v.wrong;
    return v.wrong.empty();
}

} // namespace slabfwd
