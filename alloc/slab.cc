// SPDX-License-Identifier: BSD-3-Clause
//
// slab.cc - allocating and freeing: what happens when the array of the calling thread does not do.
//
// Doors: detail::cache_alloc_slow(), detail::cache_free_slow(), the bulk calls.
// Order of refill: own array -> shared array of the node -> partial slabs -> free slabs -> a new
// slab, made with no lock held. Order of flush: own array -> shared array -> slabs.
// Threads: an array is touched by its slot's owner only; shared arrays and slab lists under the
// node's list_lock.
// Origin: mm/slab.c of Linux v5.2, under its function names. Differences: the array is an argument
// (the handle), hooks (fault injection, statistics) cost the fast path nothing because they make
// the array look empty and full, a slab moves on the partial list only when it changes state
// (`throughput`), and an address that is no object of the cache is found where slabs are touched
// and refused.
#include <algorithm>
#include <bit>
#include <cstring>

#include "alloc/failslab.h"
#include "alloc/slab.h"
#include "alloc/slab_live.h"
#include "alloc/slabinfo.h"
#include "alloc/slub.h"

namespace slabfwd {

namespace {

// While it lives, an array shows its real contents and limit; then it hides them again if hooks
// are on. Owner only. A shrinker that runs inside may free into the same cache, so scopes nest and
// the array may have been replaced by the end.
class array_scope {
public:
    array_scope(kmem_cache* cache, array_cache* const& ac) : cache_(cache), ac_(&ac) {
        open(cache, ac);
    }
    ~array_scope() { close(cache_, *ac_); }
    array_scope(const array_scope&) = delete;

    static void open(kmem_cache* cache, array_cache* ac) {
        if (ac->held) {
            ac->avail += ac->held;
            ac->held = 0;
        }
        ac->limit = std::min<std::uint32_t>(cache->limit, ac->capacity);
        ac->batchcount = std::min<std::uint32_t>(cache->batchcount, ac->limit);
        ac->hard_limit = 0;
        ac->live_tag = 0;
    }
    static void close(kmem_cache* cache, array_cache* ac) {
        const std::uint32_t hooks = cache->hooks.load(std::memory_order_acquire);
        if (!hooks) {
            if (nr_node_ids() > 1) // whose node is it? every free has to look
                ac->limit = 0;
            return;
        }
        if ((hooks & HOOK_ALL) == HOOK_HARDENED && nr_node_ids() == 1) {
            ac->hard_limit = std::uint32_t{ac->limit};
            ac->live_tag = hooks >> HOOK_TAG_SHIFT;
        }
        ac->held += ac->avail;
        ac->avail = 0;
        ac->limit = 0;
    }

private:
    kmem_cache* cache_;
    array_cache* const* ac_; // the caller's variable, which follows a replacement
};

void count(std::atomic<std::uint64_t>& counter, std::uint64_t n = 1) {
    counter.fetch_add(n, std::memory_order_relaxed);
}

void raise_to(std::atomic<std::uint64_t>& mark, std::uint64_t value) {
    std::uint64_t old = mark.load(std::memory_order_relaxed);
    while (old < value && !mark.compare_exchange_weak(old, value, std::memory_order_relaxed))
        ;
}

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

} // namespace

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

namespace {

void slab_out_of_memory(kmem_cache* cache, gfp_t flags) {
    count(cache->errors);
    if ((flags & __GFP_NOWARN) || !report_ratelimit())
        return;
    report("%s: Unable to allocate memory on node %d, gfp=%#x", is_slub(cache) ? "SLUB" : "SLAB",
           numa_mem_id(), flags);
    report("  cache: %s, object size: %u, order: %u", cache->name, cache->size, cache->gfporder);
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        kmem_cache_node* n = get_node(cache, nid);
        if (is_slub(cache)) {
            report("  node %d: slabs: %zu, objs: %zu, out: %zu", nid, n->nr_slabs.load(),
                   n->total_objects.load(), slub_objects_out(cache));
            continue;
        }
        const spin_guard guard(n->list_lock);
        const std::size_t objs = n->total_slabs * cache->num;
        report("  node %d: slabs: %zu/%zu, objs: %zu/%zu", nid, n->total_slabs - n->free_slabs,
               n->total_slabs, objs - n->free_objects, objs);
    }
}

// ---- the array of the calling thread

// A new slab, and a batch of it for the array. Memory may be short meanwhile: a shrinker may free
// into this very cache, so the array (which may be another one by then) is looked at again.
void refill_grow(kmem_cache* cache, array_cache*& ac, gfp_t flags, std::size_t batchcount) {
    page* slab = cache_grow_begin(cache, gfp_exact_node(flags), numa_mem_id());
    ac = cpu_cache_get(cache);
    array_scope::open(cache, ac);
    if (slab) {
        if (!ac->avail)
            ac->avail = static_cast<std::uint32_t>(
                alloc_block(cache, slab, ac->entry, std::min<std::size_t>(batchcount, ac->limit)));
        cache_grow_end(cache, slab);
    }
}

// Refills an empty array and takes the last object of it. NULL when out of memory.
void* cache_alloc_refill(kmem_cache* cache, array_cache*& ac, gfp_t flags) {
    std::size_t batchcount = std::max<std::size_t>(ac->batchcount, 1);
    if (!ac->touched && batchcount > BATCHREFILL_LIMIT)
        batchcount = BATCHREFILL_LIMIT; // little went on here lately
    ac->allocmiss++;
    kmem_cache_node* n = get_node(cache, numa_mem_id());
    std::size_t got = 0;
    {
        const spin_guard guard(n->list_lock);
        if (n->shared && (got = transfer_objects(ac, n->shared, batchcount)) != 0) {
            n->shared->touched = 1;
        } else {
            got = alloc_from_slabs(cache, n, ac->entry, batchcount);
            ac->avail = static_cast<std::uint32_t>(got);
            account_allocs(cache, n, got);
        }
    }
    if (!got) {
        refill_grow(cache, ac, flags, batchcount);
        if (!(got = ac->avail))
            return nullptr;
    }
    ac->refilled += got;
    ac->touched = 1;
    ac->avail -= 1;
    return ac->entry[ac->avail];
}

void* ____cache_alloc(kmem_cache* cache, array_cache*& ac, gfp_t flags) {
    if (!ac->avail)
        return cache_alloc_refill(cache, ac, flags);
    ac->touched = 1;
    ac->allochit++;
    ac->avail -= 1;
    return ac->entry[ac->avail];
}

// Straight from the shared array and the slabs that a node has. Returns how many.
std::size_t take_from_node(kmem_cache* cache, int nid, void** to, std::size_t nr) {
    kmem_cache_node* n = get_node(cache, nid);
    const spin_guard guard(n->list_lock);
    std::size_t got = 0;
    if (n->shared && n->shared->avail) {
        got = std::min<std::size_t>(n->shared->avail, nr);
        n->shared->avail -= static_cast<std::uint32_t>(got);
        std::memcpy(to, n->shared->entry + n->shared->avail, sizeof(void*) * got);
    }
    const std::size_t more = alloc_from_slabs(cache, n, to + got, nr - got);
    account_allocs(cache, n, more);
    return got + more;
}

// Past the arrays, of one node only: for threads without an array, and for other nodes than the
// thread's. Returns how many.
std::size_t ____cache_alloc_node(kmem_cache* cache, gfp_t flags, int nid, void** to,
                                 std::size_t nr) {
    std::size_t got = take_from_node(cache, nid, to, nr);
    while (got < nr) {
        const std::size_t more = grow(cache, gfp_exact_node(flags), nid, to + got, nr - got);
        if (!more)
            break;
        got += more;
    }
    if (nid == numa_mem_id())
        count(cache->slow_allocs, got);
    else
        count(cache->node_allocs, got);
    return got;
}

// The node asked for has nothing: what others have at hand, then a new slab wherever there is
// memory. Returns how many.
std::size_t fallback_alloc(kmem_cache* cache, gfp_t flags, void** to, std::size_t nr) {
    if (nr_node_ids() == 1 || (flags & __GFP_THISNODE))
        return 0;
    std::size_t got = 0;
    for (int i = 0; i < nr_node_ids() && got < nr; ++i)
        got += take_from_node(cache, (numa_mem_id() + i) % nr_node_ids(), to + got, nr - got);
    while (got < nr) {
        const std::size_t more = grow(cache, flags, numa_mem_id(), to + got, nr - got);
        if (!more)
            break;
        got += more;
    }
    count(cache->node_allocs, got);
    return got;
}

void* __do_cache_alloc(kmem_cache* cache, gfp_t flags, int nid) {
    if (is_slub(cache))
        return slub_alloc_object(cache, flags, nid);
    void* obj = nullptr;
    if (nid != NUMA_NO_NODE && nid != numa_mem_id()) {
        if (____cache_alloc_node(cache, flags, nid, &obj, 1))
            return obj;
    } else if (array_cache* ac = cpu_array(cache)) {
        const array_scope scope(cache, ac);
        if ((obj = ____cache_alloc(cache, ac, flags)))
            return obj;
    } else if (____cache_alloc_node(cache, flags, numa_mem_id(), &obj, 1)) {
        return obj;
    }
    return fallback_alloc(cache, flags, &obj, 1) ? obj : nullptr;
}

} // namespace

bool slab_pre_alloc_hook(kmem_cache* cache, gfp_t flags) {
    if (flags & __GFP_NOFAIL)
        return false;
    return !((cache->hooks.load(std::memory_order_relaxed) & HOOK_FAILSLAB) &&
             should_failslab(cache, flags));
}

void slab_post_alloc_hook(kmem_cache* cache, gfp_t flags, std::size_t n, void** objects) {
    for (std::size_t i = 0; i < n; ++i) {
        detail::kasan_unpoison(cache, objects[i]);
        if (flags & __GFP_ZERO)
            std::memset(objects[i], 0, cache->object_size);
    }
}

namespace {

void* slab_alloc_node(kmem_cache* cache, gfp_t flags, int nid, const void* caller) {
    if (cache->hooks.load(std::memory_order_relaxed) & HOOK_MEMCG)
        if (kmem_cache* child = memcg_kmem_get_cache(cache); child != cache)
            return slab_alloc_node(child, flags, nid, caller);
    if (!slab_pre_alloc_hook(cache, flags)) {
        count(cache->errors);
        return nullptr;
    }
    void* obj = nullptr;
    do {
        if (!(obj = __do_cache_alloc(cache, flags, nid))) {
            slab_out_of_memory(cache, flags);
            return nullptr;
        }
    } while ((cache->hooks.load(std::memory_order_acquire) & (HOOK_DEBUG | HOOK_HARDENED)) &&
             !alloc_debug_processing(cache, obj, caller));
    slab_post_alloc_hook(cache, flags, 1, &obj);
    return obj;
}

// ---- freeing

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
    while (n->free_objects > n->free_limit && !n->slabs_free.empty()) {
        page* slab = n->slabs_free.last;
        n->slabs_free.del(slab);
        slab->slab_list = ON_NONE;
        --n->free_slabs;
        --n->total_slabs;
        n->free_objects -= cache->num;
        list->add(slab);
    }
}

} // namespace

// `nr` objects back onto their slabs. REQUIRES list_lock. Slabs above the limit of free ones are
// left in `list`, for slabs_destroy() after the lock.
void free_block(kmem_cache* cache, void** objpp, std::size_t nr, kmem_cache_node* n,
                page_list* list) {
    constexpr std::size_t AHEAD = 8;
    for (std::size_t i = 0; i < nr; ++i) {
        if (i + AHEAD < nr && virt_addr_valid(objpp[i + AHEAD]))
            __builtin_prefetch(virt_to_head_page(objpp[i + AHEAD], cache->gfporder), 1);
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

namespace {

// The oldest batch of a full array leaves it.
void cache_flusharray(kmem_cache* cache, array_cache* ac) {
    std::size_t batchcount =
        std::min<std::size_t>(std::max<std::size_t>(ac->batchcount, 1), ac->avail);
    if (ac->avail > ac->limit) // the limit was lowered
        batchcount = std::max<std::size_t>(batchcount, ac->avail - ac->limit);
    kmem_cache_node* n = get_node(cache, numa_mem_id());
    page_list list;
    {
        const spin_guard guard(n->list_lock);
        array_cache* shared = n->shared;
        const std::size_t room = shared ? shared->limit - shared->avail : 0;
        if (room) {
            batchcount = std::min(batchcount, room);
            std::memcpy(shared->entry + shared->avail, ac->entry, sizeof(void*) * batchcount);
            shared->avail += static_cast<std::uint32_t>(batchcount);
        } else {
            free_block(cache, ac->entry, batchcount, n, &list);
        }
    }
    ac->flushed += batchcount;
    ac->avail -= static_cast<std::uint32_t>(batchcount);
    std::memmove(ac->entry, ac->entry + batchcount, sizeof(void*) * ac->avail);
    slabs_destroy(cache, &list);
}

void ___cache_free(kmem_cache* cache, array_cache* ac, void* obj) {
    if (nr_node_ids() > 1 && cache_free_alien(cache, obj))
        return;
    if (ac->avail < ac->limit)
        ac->freehit++;
    else
        ac->freemiss++;
    while (ac->avail && ac->avail >= ac->limit)
        cache_flusharray(cache, ac);
    ac->entry[ac->avail] = obj;
    ac->avail += 1;
}

// Straight to the slabs, past arrays; those of one node together.
void cache_free_node(kmem_cache* cache, void** objects, std::size_t nr) {
    while (nr) {
        const int nid = obj_to_nid(cache, *objects);
        std::size_t same = nr_node_ids() == 1 ? nr : 1;
        while (same < nr && obj_to_nid(cache, objects[same]) == nid)
            ++same;
        kmem_cache_node* n = get_node(cache, nid);
        page_list list;
        {
            const spin_guard guard(n->list_lock);
            free_block(cache, objects, same, n, &list);
        }
        slabs_destroy(cache, &list);
        objects += same;
        nr -= same;
    }
}

} // namespace

namespace {

// cpu_array() for objects that come back: a full array may need the shared one, which is not made
// before.
array_cache* cpu_array_to_fill(kmem_cache* cache) {
    kmem_cache_node* n = get_node(cache, numa_mem_id());
    if (n->shared_room.load(std::memory_order_relaxed)) [[unlikely]] {
        const array_cache* ac = cpu_cache_get(cache);
        if (ac != cache->gate() && ac->avail + ac->held >= cache->limit)
            make_shared(cache, n);
    }
    return cpu_array(cache);
}

} // namespace

SLAB_ENTRY void* kmem_cache_alloc_node(kmem_cache* cache, gfp_t flags, int nid) {
    if (nid != NUMA_NO_NODE && (nid < 0 || nid >= nr_node_ids()))
        return nullptr;
    return slab_alloc_node(cache, flags, nid, __builtin_return_address(0));
}

namespace detail {

void* cache_alloc_slow(kmem_cache* cache, gfp_t flags) {
    return slab_alloc_node(cache, flags, NUMA_NO_NODE, __builtin_return_address(0));
}

void cache_free_slow(kmem_cache* cache, void* object) {
    const std::uint32_t hooks = cache->hooks.load(std::memory_order_acquire);
    if (hooks & HOOK_MEMCG)
        if (kmem_cache* child = cache_from_obj(cache, object); child != cache)
            return cache_free_slow(child, object);
    if ((hooks & (HOOK_DEBUG | HOOK_HARDENED)) &&
        !free_debug_processing(cache, object, __builtin_return_address(0)))
        return;
    kasan_poison(cache, object);
    if ((hooks & HOOK_MEMCG) && cache->memcg_params.dying.load(std::memory_order_relaxed)) {
        if (is_slub(cache))
            return slub_free_past_cpu(cache, object);
        count(cache->slow_frees);
        return cache_free_node(cache, &object, 1); // may be the end of the cache
    }
    if (is_slub(cache))
        return slub_free_object(cache, object);
    if (array_cache* ac = cpu_array_to_fill(cache)) {
        const array_scope scope(cache, ac);
        return ___cache_free(cache, ac, object);
    }
    count(cache->slow_frees);
    cache_free_node(cache, &object, 1);
}

namespace {

// The part of a bulk allocation that the array cannot serve.
SLAB_ENTRY std::size_t alloc_bulk_slow(kmem_cache* cache, gfp_t flags, std::size_t n,
                                       void** objects) {
    if (cache->hooks.load(std::memory_order_relaxed)) {
        for (std::size_t i = 0; i < n; ++i)
            if (!(objects[i] = ac_get(this_ac(cache), flags)))
                return i;
        return n;
    }
    if (is_slub(cache))
        return slub_alloc_bulk(cache, flags, n, objects);
    std::size_t got = 0;
    while (got < n) {
        array_cache* ac = cpu_array(cache);
        const std::size_t want = n - got;
        if (!ac || want >= ac->capacity) { // too many for the array: from the node at once
            got += ____cache_alloc_node(cache, flags, numa_mem_id(), objects + got, want);
            break;
        }
        const array_scope scope(cache, ac);
        if (!ac->avail) {
            ac->touched = 1; // as many as the batch allows
            void* obj = cache_alloc_refill(cache, ac, flags);
            if (!obj)
                break;
            ac->entry[ac->avail] = obj;
            ac->avail += 1;
        }
        const std::size_t take = std::min<std::size_t>(ac->avail, want);
        ac->avail -= static_cast<std::uint32_t>(take);
        std::memcpy(objects + got, ac->entry + ac->avail, sizeof(void*) * take);
        got += take;
    }
    if (got < n)
        got += fallback_alloc(cache, flags, objects + got, n - got);
    // Debugging was turned on meanwhile: these have not been seen. They came out of a lock, so
    // whoever marked them free did so before.
    if (cache->hooks.load(std::memory_order_acquire) & (HOOK_DEBUG | HOOK_HARDENED))
        for (std::size_t i = 0; i < got; ++i)
            alloc_debug_processing(cache, objects[i], __builtin_return_address(0));
    return got;
}

} // namespace

SLAB_ENTRY std::size_t cache_alloc_bulk(kmem_cache* cache, array_cache* ac, gfp_t flags,
                                        std::size_t n, void** objects) {
    if (flags & __GFP_NOFAIL)
        return 0;
    std::size_t got = std::min<std::size_t>(ac->avail, n);
    if (got) {
        ac->avail -= static_cast<std::uint32_t>(got);
        std::memcpy(objects, ac->entry + ac->avail, sizeof(void*) * got);
    }
    if (got < n)
        got += alloc_bulk_slow(cache, flags, n - got, objects + got);
    if (got < n) {
        slab_out_of_memory(cache, flags);
        for (std::size_t i = 0; i < got; ++i)
            kmem_cache_free(cache, objects[i]);
        return 0;
    }
    slab_post_alloc_hook(cache, flags, n, objects);
    return n;
}

SLAB_ENTRY void cache_free_bulk(kmem_cache* cache, array_cache* ac, std::size_t n, void** objects) {
    if (ac->limit == 0 && cache->hooks.load(std::memory_order_relaxed)) {
        for (std::size_t i = 0; i < n; ++i)
            ac_put(this_ac(cache), objects[i]);
        return;
    }
    for (std::size_t i = 0; SLABFWD_POISONS && i < n; ++i)
        kasan_poison(cache, objects[i]);
    while (n) {
        const std::uint32_t avail = ac->avail;
        const std::uint32_t limit = ac->limit;
        const std::size_t room = limit > avail ? limit - avail : 0;
        if (!room || n > limit) { // the gate, hooks, a full array, or more than an array holds
            if (is_slub(cache))
                return slub_free_bulk(cache, n, objects);
            array_cache* mine = cpu_array_to_fill(cache);
            if (!mine || n > mine->capacity) {
                count(cache->slow_frees, n);
                return cache_free_node(cache, objects, n);
            }
            ac = mine;
            const array_scope scope(cache, ac);
            ___cache_free(cache, ac, *objects++);
            --n;
            continue;
        }
        const std::size_t put = std::min(room, n);
        std::memcpy(ac->entry + avail, objects, sizeof(void*) * put);
        ac->avail = static_cast<std::uint32_t>(avail + put);
        objects += put;
        n -= put;
    }
}

} // namespace detail

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
        while (list.count < tofree && !n->slabs_free.empty()) {
            page* slab = n->slabs_free.last;
            n->slabs_free.del(slab);
            slab->slab_list = ON_NONE;
            --n->free_slabs;
            --n->total_slabs;
            n->free_objects -= cache->num;
            list.add(slab);
        }
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

kmem_cache_handle kmem_cache_this_cpu(kmem_cache* cache) {
    array_cache* ac = cpu_array(cache);
    return kmem_cache_handle(ac ? ac : cache->gate());
}

} // namespace slabfwd
