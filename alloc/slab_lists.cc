// SPDX-License-Identifier: BSD-3-Clause
//
// slab_lists.cc - slabs and the objects on them: the freelist index, the three lists of a node.
//
// Doors: alloc_block(), alloc_from_slabs(), free_block(), cache_grow_end() (slab_lists.h).
// Threads: all under the list_lock of the node, but for a slab that nobody knows yet.
// Origin: mm/slab.c of Linux v5.2, under its function names. Differences: a slab moves on the
// partial list only when it changes state (`throughput`), and an address that is no object of the
// cache is found where slabs are touched and refused.
#include "alloc/slab_lists.h"

#include <algorithm>
#include <bit>

#include "alloc/prefetch.h"
#include "alloc/slab.h"

namespace slabfwd {

namespace {

// ---- the freelist index

// A free object of the slab becomes used. REQUIRES active < num. The index may lie in an object
// that AddressSanitizer holds for free, hence the attribute.
[[gnu::no_sanitize_address]] void* slab_get_obj(kmem_cache* cache, page* slab) {
    std::size_t index = 0;
    if (cache->flags & CFLGS_BITMAP) {
        std::uint64_t* map = bitmap_of(slab);
        std::uint16_t word = slab->hint;
        while (map[word] == 0)
            ++word;
        slab->hint = word;
        index = word * 64u + static_cast<unsigned>(std::countr_zero(map[word]));
        map[word] &= map[word] - 1;
        if (cache->random_seq)
            index = random_object(cache, slab, index);
    } else {
        index = static_cast<freelist_idx_t*>(slab->freelist)[slab->active];
    }
    ++slab->active;
    return index_to_obj(cache, slab, index);
}

// Object `index` becomes free. False when it is already.
[[gnu::no_sanitize_address]] bool slab_put_obj(kmem_cache* cache, page* slab, std::size_t index,
                                               void* obj) {
    if (cache->flags & CFLGS_BITMAP) {
        if (cache->random_seq)
            index = random_place(cache, slab, index);
        std::uint64_t& word = bitmap_of(slab)[index / 64];
        const std::uint64_t bit = std::uint64_t{1} << (index % 64);
        if (word & bit)
            return false;
        word |= bit;
        slab->hint = std::min<std::uint16_t>(slab->hint, static_cast<std::uint16_t>(index / 64));
    } else {
        if (slab->active == 0)
            return false;
        if (!slab->freelist) // CFLGS_OBJFREELIST_SLAB, slab was full: the index moves in here
            slab->freelist = obj;
        static_cast<freelist_idx_t*>(slab->freelist)[slab->active - 1] =
            static_cast<freelist_idx_t>(index);
    }
    --slab->active;
    return true;
}

// ---- slab lists

void move_slab(kmem_cache_node* n, page* slab, slab_list to) {
    if (slab->slab_list != ON_NONE)
        n->list(static_cast<slab_list>(slab->slab_list)).del(slab);
    slab->slab_list = to;
    if (to == ON_PARTIAL)
        n->slabs_partial.add_tail(slab);
    else
        n->list(to).add(slab);
}

// The slab to take objects from: a partial one, else a free one, else NULL.
page* get_first_slab(kmem_cache_node* n) {
    if (page* slab = n->slabs_partial.first)
        return slab;
    n->free_touched = true;
    page* slab = n->slabs_free.first;
    if (slab)
        --n->free_slabs;
    return slab;
}

// Put the slab on the list that its number of used objects asks for.
void fixup_slab_list(kmem_cache* cache, kmem_cache_node* n, page* slab) {
    const slab_list to = slab->active == cache->num ? ON_FULL : ON_PARTIAL;
    if (slab->slab_list != to)
        move_slab(n, slab, to);
    if (to == ON_FULL && (cache->flags & CFLGS_OBJFREELIST_SLAB))
        slab->freelist = nullptr; // the object that held it is in use now
}

} // namespace

// Up to `batch` objects of the slab into `to`; returns how many.
std::size_t alloc_block(kmem_cache* cache, page* slab, void** to, std::size_t batch) {
    const std::size_t n = std::min<std::size_t>(batch, cache->num - slab->active);
    for (std::size_t i = 0; i < n; ++i)
        to[i] = slab_get_obj(cache, slab);
    return n;
}

// Objects from the slabs of a node into `to`. REQUIRES list_lock.
std::size_t alloc_from_slabs(kmem_cache* cache, kmem_cache_node* n, void** to, std::size_t batch) {
    std::size_t got = 0;
    while (got < batch) {
        page* slab = get_first_slab(n);
        if (!slab)
            break;
        got += alloc_block(cache, slab, to + got, batch - got);
        fixup_slab_list(cache, n, slab);
    }
    n->free_objects -= got;
    return got;
}

// Numbers of objects that left the slabs. REQUIRES list_lock.
void account_allocs(kmem_cache* cache, kmem_cache_node* n, std::size_t got) {
    if (!got)
        return;
    count(cache->num_allocations, got);
    raise_to(cache->high_mark, n->total_slabs * cache->num - n->free_objects);
}

// A new slab; up to `batch` of its objects go to `to`, then it joins the lists.
std::size_t grow(kmem_cache* cache, gfp_t flags, int nid, void** to, std::size_t batch) {
    page* slab = cache_grow_begin(cache, flags, nid);
    if (!slab)
        return 0;
    const std::size_t got = alloc_block(cache, slab, to, batch);
    cache_grow_end(cache, slab);
    return got;
}

page* take_free_slab(const kmem_cache* cache, kmem_cache_node* n) {
    page* slab = n->slabs_free.last;
    n->slabs_free.del(slab);
    slab->slab_list = ON_NONE;
    --n->free_slabs;
    --n->total_slabs;
    n->free_objects -= cache->num;
    return slab;
}

namespace {

void free_to_child(kmem_cache* child, void* obj) {
    kmem_cache_node* n = get_node(child, obj_to_nid(child, obj));
    page_list list;
    {
        const spin_guard guard(n->list_lock);
        free_block(child, &obj, 1, n, &list);
    }
    slabs_destroy(child, &list);
}

// The slab of an object that is handed back, and its index; NULL (and a report) when the address
// is no object of the cache. The order of the cache's slabs is known: no look at the object.
page* slab_of(kmem_cache* cache, void* obj, std::size_t* index) {
    if (virt_addr_valid(obj)) [[likely]] {
        page* slab = virt_to_head_page(obj, cache->gfporder);
        if (slab->slab_cache == cache) [[likely]] {
            *index = obj_to_index(cache, slab, obj);
            if (*index < cache->num && index_to_obj(cache, slab, *index) == obj) [[likely]]
                return slab;
            report("BUG %s: free of %p, which lies inside an object", cache->name, obj);
            return nullptr;
        }
    }
    kmem_cache* owner = virt_to_cache(obj);
    if (owner && owner->memcg_params.root_cache == cache) {
        free_to_child(owner, obj); // it came by before its thread had heard of children
        return nullptr;
    }
    report("BUG %s: free of %p, which is an object of %s", cache->name, obj,
           owner ? owner->name : "no cache");
    return nullptr;
}

// A slab lost an object: to which list does it go?
void fixup_slab_list_free(kmem_cache* cache, kmem_cache_node* n, page* slab) {
    if (slab->active == 0) {
        move_slab(n, slab, ON_FREE);
        ++n->free_slabs;
    } else if (slab->slab_list != ON_PARTIAL || !(cache->flags & CFLGS_BITMAP)) {
        // The kernel moves a slab to the end at every free, so that its other objects have the
        // longest time to come back. With large slabs that is three cache lines for nothing.
        move_slab(n, slab, ON_PARTIAL);
    }
}

// Objects back from shared array or arrays. REQUIRES list_lock (caller's).
void shed_free_slabs(kmem_cache* cache, kmem_cache_node* n, page_list* list) {
    while (n->free_objects > n->free_limit && !n->slabs_free.empty())
        list->add(take_free_slab(cache, n));
}

} // namespace

// `nr` objects back onto their slabs. REQUIRES list_lock. Slabs above the limit of free ones are
// left in `list`, for slabs_destroy() after the lock.
void free_block(kmem_cache* cache, void** objpp, std::size_t nr, kmem_cache_node* n,
                page_list* list) {
    constexpr std::size_t AHEAD = 8;
    for (std::size_t i = 0; i < nr; ++i) {
        if (i + AHEAD < nr && virt_addr_valid(objpp[i + AHEAD]))
            prefetchw(virt_to_head_page(objpp[i + AHEAD], cache->gfporder));
        std::size_t index = 0;
        page* slab = slab_of(cache, objpp[i], &index);
        if (!slab)
            continue;
        if (!slab_put_obj(cache, slab, index, objpp[i])) {
            report("BUG %s: %p is freed a second time", cache->name, objpp[i]);
            continue;
        }
        ++n->free_objects;
        fixup_slab_list_free(cache, n, slab);
    }
    const std::size_t before = list->count;
    shed_free_slabs(cache, n, list);
    if (list->count > before)
        raise_to(cache->max_freeable, list->count - before);
}

// A slab that cache_grow_begin() made joins the node.
void cache_grow_end(kmem_cache* cache, page* slab) {
    kmem_cache_node* n = get_node(cache, slab->nid);
    const spin_guard guard(n->list_lock);
    ++n->total_slabs;
    n->free_objects += cache->num - slab->active;
    if (slab->active) {
        fixup_slab_list(cache, n, slab);
    } else {
        move_slab(n, slab, ON_FREE);
        ++n->free_slabs;
    }
    count(cache->grown);
    account_allocs(cache, n, slab->active);
}

} // namespace slabfwd
