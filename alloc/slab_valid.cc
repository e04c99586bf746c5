// SPDX-License-Identifier: BSD-3-Clause
//
// slab_valid.cc - checks of what must hold in a cache.
//
// Doors: kmem_cache_is_valid(), object_is_free().
// Threads: REQUIRES that nobody else uses the cache (object_is_free: list_lock or the same).
// Origin: ours; the invariants are those of mm/slab.c.
#include <algorithm>
#include <vector>

#include "alloc/slab.h"
#include "alloc/slabinfo.h"
#include "alloc/slub.h"

namespace slabfwd {

[[gnu::no_sanitize_address]] bool object_is_free(const kmem_cache* cache, const page* slab,
                                                 std::size_t index) {
    if (is_slub(cache))
        return slub_object_is_free(cache, const_cast<page*>(slab), index);
    if (cache->flags & CFLGS_BITMAP) {
        if (cache->random_seq)
            index = random_place(cache, slab, index);
        return bitmap_of(slab)[index / 64] >> (index % 64) & 1;
    }
    const auto* list = static_cast<const freelist_idx_t*>(slab->freelist);
    for (std::size_t i = slab->active; list && i < cache->num; ++i)
        if (list[i] == index)
            return true;
    return false;
}

namespace {

// Collects what is wrong; the first wins.
struct verdict {
    std::string wrong;
    bool check(bool ok, const char* what) {
        if (!ok && wrong.empty())
            wrong = what;
        return ok;
    }
};

void check_slab(kmem_cache* cache, const page* slab, slab_list on, int nid, verdict* v) {
    v->check(slab->nid == nid, "a slab is on another node's list");
    v->check(slab->slab_cache == cache, "a slab names another cache");
    v->check(slab->slab_list == on, "a slab is on another list than it says");
    v->check(page_order(page_to_pfn(slab)) == cache->gfporder, "order of a slab's block");
    const bool right = on == ON_FULL   ? slab->active == cache->num
                       : on == ON_FREE ? slab->active == 0
                                       : slab->active > 0 && slab->active < cache->num;
    v->check(right, "used objects of a slab do not fit its list");
    std::size_t free = 0;
    for (std::size_t i = 0; i < cache->num; ++i)
        free += object_is_free(cache, slab, i);
    v->check(free == cache->num - slab->active, "freelist index of a slab against its count");
    if (cache->flags & CFLGS_BITMAP)
        for (unsigned w = 0; w < slab->hint; ++w)
            v->check(bitmap_of(slab)[w] == 0, "a free object before the hint");
    const auto* end = static_cast<std::byte*>(page_address(slab)) + (PAGE_SIZE << cache->gfporder);
    v->check(static_cast<std::byte*>(index_to_obj(cache, slab, cache->num)) <=
                 end + cache->red_left_pad,
             "objects reach beyond the slab");
    if (cache->align)
        v->check(reinterpret_cast<std::uintptr_t>(slab->s_mem) % cache->align == 0, "alignment");
}

std::size_t check_list(kmem_cache* cache, const page_list& list, slab_list on, int nid,
                       verdict* v) {
    std::size_t count = 0;
    std::size_t free = 0;
    const page* prev = nullptr;
    for (const page* slab = list.first; slab; prev = slab, slab = slab->next, ++count) {
        check_slab(cache, slab, on, nid, v);
        v->check(slab->prev == prev, "links of a slab list");
        free += cache->num - slab->active;
    }
    v->check(list.last == prev && list.count == count, "ends or length of a slab list");
    return free;
}

// Every object in an array belongs here, is not free on its slab and is in no other array.
void check_entries(kmem_cache* cache, void* const* entry, std::size_t n, int nid,
                   std::vector<const void*>* seen, verdict* v) {
    for (std::size_t i = 0; i < n; ++i) {
        if (!v->check(virt_addr_valid(entry[i]), "an array holds a foreign address"))
            return;
        const page* slab = virt_to_head_page(entry[i], cache->gfporder);
        if (!v->check(slab->slab_cache == cache, "an array holds another cache's object"))
            return;
        v->check(slab->nid == nid, "an array holds another node's object");
        const std::size_t index = obj_to_index(cache, slab, entry[i]);
        v->check(index_to_obj(cache, slab, index) == entry[i], "an array holds no start of object");
        v->check(!object_is_free(cache, slab, index), "an object is in an array and on its slab");
        seen->push_back(entry[i]);
    }
}

void check_arrays(kmem_cache* cache, std::vector<const void*>* seen, verdict* v) {
    for (unsigned cpu = 0; cpu < NR_CPUS; ++cpu) {
        const array_cache* ac = cache->cpu_cache[cpu].load(std::memory_order_acquire);
        if (ac == cache->gate()) {
            v->check(ac->avail == 0 && ac->limit == 0, "the gate is open");
            continue;
        }
        v->check(ac->cache == cache, "an array names another cache");
        v->check(ac->avail + ac->held <= ac->capacity, "an array holds more than it can");
        v->check(ac->limit <= ac->capacity, "limit of an array above its capacity");
        check_entries(cache, ac->entry, ac->avail + ac->held, cpu_to_node(cpu), seen, v);
        for (ac = ac->retired; ac; ac = ac->retired)
            v->check(!ac->avail && !ac->held && !ac->limit, "a retired array is in use");
    }
}

} // namespace

bool kmem_cache_is_valid(kmem_cache* cache, std::string* why) {
    if (is_slub(cache))
        return slub_is_valid(cache, why);
    verdict v;
    std::vector<const void*> seen;
    std::size_t used = 0;
    std::size_t slabs = 0;
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        kmem_cache_node* n = get_node(cache, nid);
        const spin_guard guard(n->list_lock);
        std::size_t free = check_list(cache, n->slabs_partial, ON_PARTIAL, nid, &v);
        free += check_list(cache, n->slabs_free, ON_FREE, nid, &v);
        check_list(cache, n->slabs_full, ON_FULL, nid, &v);
        v.check(n->free_objects == free, "free_objects of a node");
        v.check(n->free_slabs == n->slabs_free.count, "free_slabs of a node");
        v.check(n->total_slabs ==
                    n->slabs_partial.count + n->slabs_full.count + n->slabs_free.count,
                "total_slabs of a node");
        if (n->shared) {
            v.check(n->shared->avail <= n->shared->limit, "shared array holds more than it can");
            check_entries(cache, n->shared->entry, n->shared->avail, nid, &seen, &v);
        }
        for (int other = 0; n->alien && other < nr_node_ids(); ++other)
            if (const alien_cache* alien = n->alien[other]) {
                v.check(other != nid, "an alien cache for the node itself");
                check_entries(cache, alien->ac->entry, alien->ac->avail, other, &seen, &v);
            }
        used += n->total_slabs * cache->num - n->free_objects;
        slabs += n->total_slabs;
    }
    check_arrays(cache, &seen, &v);
    std::sort(seen.begin(), seen.end());
    v.check(std::adjacent_find(seen.begin(), seen.end()) == seen.end(),
            "an object is in two arrays");
    v.check(seen.size() <= used, "more objects in arrays than off the slabs");
    v.check(cache->nr_slabs.load(std::memory_order_relaxed) == slabs, "nr_slabs");
    if (why)
        *why = v.wrong;
    return v.wrong.empty();
}

} // namespace slabfwd
