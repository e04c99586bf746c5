// SPDX-License-Identifier: BSD-3-Clause
//
// slub.cc - SLUB: allocating and freeing.
//
// Doors: slub_alloc_object(), slub_free_object(), their bulk forms (slub.h). The fast path is
// inline in kmem_cache.h: ac_get(), ac_put(). Order of allocation: sheaf -> the node's barn -> cpu
// freelist -> the cpu slab's own freelist (frees of others, by get_freelist) -> the slot's partial
// slabs -> the node's -> a new slab, made with no lock held. A slab is frozen (a slot's, on its
// list or its cpu slab), on the node's partial list, or full and on none; then the next free finds
// it and freezes it for its own slot. Threads: see slub.h. Origin: mm/slub.c of Linux v5.2 under
// its function names; sheaves: mm/slub.c of Linux 6.18 in idea (one array a slot). A foreign
// address, one inside an object, and a second free that the slab can tell are reported and refused
// where the object comes back to its slab.
#include "alloc/slub.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "alloc/array_cache.h"
#include "alloc/prefetch.h"

namespace slabfwd {

namespace {

// While it lives, the slot shows what it really has. Scopes nest: a shrinker that runs inside may
// free into the same cache.
class cpu_scope {
public:
    cpu_scope(kmem_cache* cache, kmem_cache_cpu* c) : cache_(cache), c_(c) {
        slub_cpu_open(cache, c);
    }
    ~cpu_scope() { slub_cpu_close(cache_, c_); }
    cpu_scope(const cpu_scope&) = delete;

private:
    kmem_cache* cache_;
    kmem_cache_cpu* c_;
};

std::uint64_t next_tid(std::uint64_t tid) {
    return tid + 1;
}

bool node_match(const page* slab, int node) {
    return node == NUMA_NO_NODE || slab->nid == node;
}

// The cpu freelist becomes `freelist`, of n objects.
void load_freelist(kmem_cache* cache, kmem_cache_cpu* c, void* freelist, unsigned n) {
    c->freelist = freelist;
    c->freelist_len = n;
    c->tid = next_tid(c->tid);
    account_out(cache, c, n);
}

void* pop_freelist(kmem_cache* cache, kmem_cache_cpu* c) {
    void* object = c->freelist;
    // Who knows that it is the last one need not read it.
    const bool last = has_sheaf(c) && c->freelist_len == 1;
    c->freelist = last ? nullptr : get_freepointer(cache, object);
    c->freelist_len -= 1u;
    return object;
}

// The slab's own freelist (what others freed meanwhile) becomes the cpu freelist. False: it is
// empty, and the slab, full now, is nobody's any more.
bool get_freelist(kmem_cache* cache, kmem_cache_cpu* c) {
    page* slab = c->slab;
    slab_counters old = read_counters(slab);
    slab_counters to{};
    do {
        to = {0, static_cast<std::uint16_t>(slab->objects), old.freelist != 0};
    } while (!cmpxchg_double_slab(slab, &old, to));
    if (!old.freelist) {
        c->slab = nullptr;
        stat(cache, c, DEACTIVATE_BYPASS);
        return false;
    }
    load_freelist(cache, c, slab_object_at(slab, old.freelist), slab->objects - old.inuse);
    return true;
}

// Freezes a slab of the node's list for the caller's slot. Returns its free objects; with `take`
// they are no longer the slab's, and *freelist is the first. REQUIRES list_lock.
unsigned acquire_slab(kmem_cache_node* n, page* slab, bool take, void** freelist) {
    slab_counters old = read_counters(slab);
    slab_counters to{};
    do {
        to = take ? slab_counters{0, static_cast<std::uint16_t>(slab->objects), true}
                  : slab_counters{old.freelist, old.inuse, true};
    } while (!cmpxchg_double_slab(slab, &old, to));
    remove_partial(n, slab);
    *freelist = slab_object_at(slab, old.freelist);
    return slab->objects - old.inuse;
}

// A slab, frozen, joins the slot's list. `drain`: what is too much goes to the node first.
void put_cpu_partial(kmem_cache* cache, kmem_cache_cpu* c, page* slab, bool drain) {
    if (drain && c->partial && c->partial_objects > cache->cpu_partial) {
        unfreeze_partials(cache, c);
        stat(cache, c, CPU_PARTIAL_DRAIN);
    }
    slab->next = c->partial;
    c->partial = slab;
    c->partial_slabs += 1u;
    c->partial_objects += slab->objects - read_counters(slab).inuse;
}

// A cpu slab from a node's list, and further ones for the slot's list. False: none there.
bool get_partial_node(kmem_cache* cache, kmem_cache_node* n, kmem_cache_cpu* c) {
    if (!n || !n->nr_partial.load(std::memory_order_relaxed))
        return false;
    unsigned available = 0;
    const spin_guard guard(n->list_lock);
    while (page* slab = n->partial.first) {
        void* freelist = nullptr;
        const bool first = available == 0;
        const unsigned objects = acquire_slab(n, slab, first, &freelist);
        available += objects;
        if (first) {
            c->slab = slab;
            load_freelist(cache, c, freelist, objects);
            stat(cache, c, ALLOC_FROM_PARTIAL);
        } else {
            put_cpu_partial(cache, c, slab, false);
            stat(cache, c, CPU_PARTIAL_NODE);
        }
        if (!kmem_cache_has_cpu_partial(cache, c) || available > cache->cpu_partial / 2)
            break;
    }
    return available != 0;
}

std::uint32_t cheap_random(kmem_cache_cpu* c) {
    return static_cast<std::uint32_t>((c->tid + 1) * 0x9e3779b97f4a7c15u >> 40);
}

// Another node's slabs, now and then (remote_node_defrag_ratio of 1024 calls), and only what is
// beyond the other node's least.
bool get_any_partial(kmem_cache* cache, kmem_cache_cpu* c, int but) {
    if (nr_node_ids() == 1 || !cache->remote_node_defrag_ratio ||
        cheap_random(c) % 1024 > cache->remote_node_defrag_ratio)
        return false;
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        kmem_cache_node* n = get_node(cache, nid);
        if (nid != but && n && n->nr_partial.load(std::memory_order_relaxed) > cache->min_partial &&
            get_partial_node(cache, n, c))
            return true;
    }
    return false;
}

bool get_partial(kmem_cache* cache, kmem_cache_cpu* c, gfp_t flags, int node) {
    const int searchnode = node == NUMA_NO_NODE ? numa_mem_id() : node;
    if (get_partial_node(cache, get_node(cache, searchnode), c) || node != NUMA_NO_NODE ||
        (flags & __GFP_THISNODE))
        return c->slab;
    return get_any_partial(cache, c, searchnode);
}

// A cpu slab with objects: a partial one of some node, else (with `grow`) a new one, while making
// which a shrinker may have run and used the slot. False: out of memory.
bool new_slab_objects(kmem_cache* cache, kmem_cache_cpu* c, gfp_t flags, int node, bool grow) {
    if (get_partial(cache, c, flags, node))
        return true;
    if (!grow)
        return false;
    page* slab = new_slab(cache, flags, node, c);
    slub_cpu_open(cache, c);
    if (!slab)
        return c->slab && c->freelist && node_match(c->slab, node);
    if (c->slab)
        flush_slab(cache, c);
    slab_counters all = read_counters(slab);
    init_counters(slab, {0, static_cast<std::uint16_t>(slab->objects), true});
    c->slab = slab;
    load_freelist(cache, c, slab_object_at(slab, all.freelist), slab->objects);
    stat(cache, c, ALLOC_SLAB);
    return true;
}

// Makes the cpu freelist non-empty. `grow`: with a new slab if need be.
bool refill_freelist(kmem_cache* cache, kmem_cache_cpu* c, gfp_t flags, int node, bool grow) {
    for (;;) {
        if (c->slab && !node_match(c->slab, node)) {
            stat(cache, c, ALLOC_NODE_MISMATCH);
            deactivate_slab(cache, c);
        }
        if (c->slab) {
            if (c->freelist)
                return true;
            if (get_freelist(cache, c)) {
                stat(cache, c, ALLOC_REFILL);
                return true;
            }
        }
        if (page* slab = c->partial) {
            c->partial = slab->next;
            c->partial_slabs -= 1u;
            if (!c->partial)
                c->partial_objects = 0;
            c->slab = slab;
            stat(cache, c, CPU_PARTIAL_ALLOC);
            continue;
        }
        return new_slab_objects(cache, c, flags, node, grow);
    }
}

// One object, the slot having none at hand. NULL: out of memory.
void* __slab_alloc(kmem_cache* cache, gfp_t flags, int node, kmem_cache_cpu* c) {
    stat(cache, c, ALLOC_SLOWPATH);
    c->touched = 1;
    return refill_freelist(cache, c, flags, node, true) ? pop_freelist(cache, c) : nullptr;
}

// Fills an empty sheaf by a batch, from the barn or from slabs, and takes one object of it.
void* refill_sheaf(kmem_cache* cache, gfp_t flags, kmem_cache_cpu* c) {
    stat(cache, c, ALLOC_SLOWPATH);
    c->touched = 1;
    if (const std::size_t n = barn_get(cache, c, c->entry, c->batchcount)) {
        c->avail = static_cast<std::uint32_t>(n - 1);
        return c->entry[n - 1];
    }
    // Sheaves have objects of their own node only, so that nobody has to look when one goes out.
    const int node = nr_node_ids() > 1 ? numa_mem_id() : NUMA_NO_NODE;
    std::uint32_t got = c->avail;
    while (got < c->batchcount) {
        if ((!c->freelist || !node_match(c->slab, node)) &&
            !refill_freelist(cache, c, gfp_exact_node(flags), node, got == 0))
            break;
        if (c->avail != got) { // a shrinker came by and freed into the sheaf
            got = c->avail;
            continue;
        }
        const std::uint32_t room = std::min<std::uint32_t>(c->batchcount - got, c->freelist_len);
        for (std::uint32_t i = 0; i < room; ++i)
            c->entry[got++] = pop_freelist(cache, c);
        c->avail = got;
    }
    // First in the slab, first out: neighbours in memory are given out in order.
    std::reverse(c->entry, c->entry + got);
    if (got) {
        c->avail = got - 1;
        return c->entry[got - 1];
    }
    if (nr_node_ids() == 1 || (flags & __GFP_THISNODE))
        return nullptr;
    return refill_freelist(cache, c, flags, NUMA_NO_NODE, true) ? pop_freelist(cache, c) : nullptr;
}

// For threads without a slot: one object of a partial slab of the node, or of a new one.
void* alloc_single_from_partial(kmem_cache* cache, kmem_cache_node* n) {
    const spin_guard guard(n->list_lock);
    page* slab = n->partial.first;
    if (!slab)
        return nullptr;
    slab_counters old = read_counters(slab);
    slab_counters to{};
    void* object = nullptr;
    do { // pops are under list_lock, so what follows the first stays what it is
        object = slab_object_at(slab, old.freelist);
        to = {slab_place(slab, get_freepointer(cache, object)),
              static_cast<std::uint16_t>(old.inuse + 1), false};
    } while (!cmpxchg_double_slab(slab, &old, to));
    if (!to.freelist)
        remove_partial(n, slab);
    return object;
}

void* alloc_single_from_new_slab(kmem_cache* cache, gfp_t flags, int node) {
    page* slab = new_slab(cache, flags, node, nullptr);
    if (!slab)
        return nullptr;
    stat(cache, nullptr, ALLOC_SLAB);
    void* object = slab_object_at(slab, read_counters(slab).freelist);
    const slab_counters to{slab_place(slab, get_freepointer(cache, object)), 1, false};
    kmem_cache_node* n = get_node(cache, slab->nid);
    const spin_guard guard(n->list_lock);
    init_counters(slab, to);
    if (to.freelist)
        add_partial(n, slab, false);
    return object;
}

void* alloc_without_cpu(kmem_cache* cache, gfp_t flags, int node) {
    stat(cache, nullptr, ALLOC_SLOWPATH);
    kmem_cache_node* n = get_node(cache, node == NUMA_NO_NODE ? numa_mem_id() : node);
    void* object = n ? alloc_single_from_partial(cache, n) : nullptr;
    if (!object)
        object = alloc_single_from_new_slab(cache, flags, node);
    if (object)
        account_out(cache, nullptr, 1);
    return object;
}

// ---- freeing

// The slab of an object that is handed back; NULL (and a report) when the address is no object of
// the cache.
page* slab_of(kmem_cache* cache, void* object) {
    page* slab = nullptr;
    if (virt_addr_valid(object)) [[likely]] {
        slab = virt_to_head_page(object, page_order(virt_to_pfn(object)) & 0x3f);
        if (slab->slab_cache == cache) [[likely]] {
            const std::size_t index = obj_to_index(cache, slab, object);
            if (index < slab->objects && index_to_obj(cache, slab, index) == object) [[likely]]
                return slab;
            report("BUG %s: free of %p, which lies inside an object", cache->name, object);
            return nullptr;
        }
    }
    kmem_cache* owner = virt_to_cache(object);
    if (owner && owner->memcg_params.root_cache == cache) {
        slub_free_past_cpu(owner, object); // it came by before its thread had heard of children
        return nullptr;
    }
    report("BUG %s: free of %p, which is an object of %s", cache->name, object,
           owner ? owner->name : "no cache");
    return nullptr;
}

// cnt objects head..tail, linked, back onto their slab.
void __slab_free(kmem_cache* cache, kmem_cache_cpu* c, page* slab, void* head, void* tail,
                 unsigned cnt) {
    stat(cache, c, FREE_SLOWPATH);
    kmem_cache_node* n = nullptr;
    std::unique_lock<spinlock_t> lock;
    slab_counters old = read_counters(slab);
    slab_counters to{};
    // Counted first: with its last object back on the slab, a group's cache that is off-line may
    // go.
    account_back(cache, c, cnt);
    do {
        void* const prior = slab_object_at(slab, old.freelist);
        if (old.inuse < cnt || prior == head) [[unlikely]] {
            account_out(cache, c, cnt); // nothing came back
            return report("BUG %s: %p is freed a second time", cache->name, head);
        }
        if (n)
            lock.unlock();
        n = nullptr;
        set_freepointer(cache, tail, prior);
        to = {slab_place(slab, head), static_cast<std::uint16_t>(old.inuse - cnt), old.frozen};
        if (old.frozen || (to.inuse && old.freelist))
            continue; // no list changes
        if (!old.freelist && kmem_cache_has_cpu_partial(cache, c)) {
            to.frozen = true; // it was full and on no list: it becomes this slot's
        } else {
            n = get_node(cache, slab->nid); // a list will change, if the exchange succeeds
            lock = std::unique_lock(n->list_lock);
        }
    } while (!cmpxchg_double_slab(slab, &old, to));
    if (!n) {
        if (old.frozen)
            return stat(cache, c, FREE_FROZEN);
        if (!to.frozen)
            return;
        put_cpu_partial(cache, c, slab, true);
        return stat(cache, c, CPU_PARTIAL_FREE);
    }
    if (!to.inuse && n->partial.count >= cache->min_partial) {
        if (old.freelist) {
            remove_partial(n, slab);
            stat(cache, c, FREE_REMOVE_PARTIAL);
        }
        lock.unlock();
        stat(cache, c, FREE_SLAB);
        return discard_slab(cache, slab);
    }
    if (!old.freelist) {
        add_partial(n, slab, true);
        stat(cache, c, FREE_ADD_PARTIAL);
    }
}

void push_freelist(kmem_cache* cache, kmem_cache_cpu* c, void* object) {
    if (object == c->freelist) [[unlikely]]
        return report("BUG %s: %p is freed a second time", cache->name, object);
    set_freepointer(cache, object, c->freelist);
    c->freelist = object;
    c->freelist_len += 1u;
}

// Objects of one slab on their way back to it.
struct detached_freelist {
    page* slab;
    void* head;
    void* tail;
    unsigned cnt;
};

} // namespace

// Many objects of any slabs, those of one slab together as far as they can be (the kernel's
// build_detached_freelist looks three objects ahead; this has a small table).
void free_many(kmem_cache* cache, kmem_cache_cpu* c, void** objects, std::size_t n) {
    constexpr std::size_t AHEAD = 8;
    constexpr std::size_t PLACES = 64;
    detached_freelist table[PLACES] = {};
    for (std::size_t i = 0; i < n; ++i) {
        if (i + AHEAD < n && virt_addr_valid(objects[i + AHEAD]))
            prefetchw(static_cast<std::byte*>(objects[i + AHEAD]) + cache->offset);
        void* object = objects[i];
        page* slab = slab_of(cache, object);
        if (!slab)
            continue;
        if (c && slab == c->slab) {
            push_freelist(cache, c, object);
            continue;
        }
        detached_freelist& df =
            table[reinterpret_cast<std::uintptr_t>(slab) / sizeof(page) % PLACES];
        if (df.slab == slab) {
            set_freepointer(cache, object, df.head);
            df.head = object;
            ++df.cnt;
            continue;
        }
        if (df.slab)
            __slab_free(cache, c, df.slab, df.head, df.tail, df.cnt);
        df = {slab, object, object, 1};
    }
    for (const detached_freelist& df : table)
        if (df.slab)
            __slab_free(cache, c, df.slab, df.head, df.tail, df.cnt);
}

namespace {

// The oldest nr objects leave the sheaf; those that have left it already are the barn's.
void sheaf_flush(kmem_cache* cache, kmem_cache_cpu* c, std::uint32_t nr, std::size_t stored = 0) {
    if (stored < nr)
        free_many(cache, c, c->entry + stored, nr - stored);
    c->avail -= nr;
    std::memmove(c->entry, c->entry + nr, sizeof(void*) * c->avail);
}

// A full sheaf makes room for nr objects: the barn takes what it can, the slabs the rest.
void sheaf_make_room(kmem_cache* cache, kmem_cache_cpu* c, std::uint32_t nr) {
    sheaf_flush(cache, c, nr, barn_put(cache, c, c->entry, nr));
}

// Sheaves hold objects of the thread's node only, as far as there are several.
bool fits_sheaf(const kmem_cache* cache, const kmem_cache_cpu* c, const void* object) {
    return has_sheaf(c) && (nr_node_ids() == 1 || obj_to_nid(cache, object) == numa_mem_id());
}

void free_to_sheaf(kmem_cache* cache, kmem_cache_cpu* c, void* object) {
    if (c->avail >= c->limit)
        sheaf_make_room(cache, c, std::min<std::uint32_t>(std::max(1u, +c->batchcount), c->avail));
    else
        stat(cache, c, FREE_FASTPATH);
    c->entry[c->avail] = object;
    c->avail += 1u;
}

void do_slab_free(kmem_cache* cache, kmem_cache_cpu* c, void* object) {
    page* slab = slab_of(cache, object);
    if (!slab)
        return;
    if (c && slab == c->slab) {
        stat(cache, c, FREE_FASTPATH);
        push_freelist(cache, c, object);
        return;
    }
    __slab_free(cache, c, slab, object, object, 1);
}

} // namespace

// ---- lists of a node. REQUIRES list_lock.

void add_partial(kmem_cache_node* n, page* slab, bool tail) {
    if (tail)
        n->partial.add_tail(slab);
    else
        n->partial.add(slab);
    slab->slab_list = ON_PARTIAL;
    n->nr_partial.store(n->partial.count, std::memory_order_relaxed);
}

void remove_partial(kmem_cache_node* n, page* slab) {
    n->partial.del(slab);
    slab->slab_list = ON_NONE;
    n->nr_partial.store(n->partial.count, std::memory_order_relaxed);
}

// ---- giving slabs of a slot up

// The cpu slab is unfrozen, with what is left on the cpu freelist.
void deactivate_slab(kmem_cache* cache, kmem_cache_cpu* c) {
    page* slab = c->slab;
    void* const freelist = c->freelist;
    void* tail = nullptr;
    unsigned cnt = 0;
    for (void* p = freelist; p && cnt < slab->objects; p = get_freepointer(cache, p), ++cnt)
        tail = p;
    c->slab = nullptr;
    c->freelist = nullptr;
    c->freelist_len = 0;
    c->tid = next_tid(c->tid);
    account_back(cache, c, cnt);

    kmem_cache_node* n = get_node(cache, slab->nid);
    std::unique_lock lock(n->list_lock);
    slab_counters old = read_counters(slab);
    slab_counters to{};
    do {
        if (tail)
            set_freepointer(cache, tail, slab_object_at(slab, old.freelist));
        to = {tail ? slab_place(slab, freelist) : old.freelist,
              static_cast<std::uint16_t>(old.inuse - cnt), false};
    } while (!cmpxchg_double_slab(slab, &old, to));
    if (old.freelist)
        stat(cache, c, DEACTIVATE_REMOTE_FREES);
    if (!to.freelist)
        return stat(cache, c, DEACTIVATE_FULL);
    if (to.inuse || n->partial.count < cache->min_partial) {
        add_partial(n, slab, old.freelist != 0);
        return stat(cache, c, old.freelist ? DEACTIVATE_TO_TAIL : DEACTIVATE_TO_HEAD);
    }
    lock.unlock();
    stat(cache, c, DEACTIVATE_EMPTY);
    stat(cache, c, FREE_SLAB);
    discard_slab(cache, slab);
}

void flush_slab(kmem_cache* cache, kmem_cache_cpu* c) {
    stat(cache, c, CPUSLAB_FLUSH);
    deactivate_slab(cache, c);
}

// The slot's partial slabs go to their nodes' lists; empty ones beyond what a node keeps go back.
void unfreeze_partials(kmem_cache* cache, kmem_cache_cpu* c) {
    page* discard = nullptr;
    for (page *slab = c->partial, *next = nullptr; slab; slab = next) {
        next = slab->next;
        kmem_cache_node* n = get_node(cache, slab->nid);
        const spin_guard guard(n->list_lock);
        slab_counters old = read_counters(slab);
        slab_counters to{};
        do {
            to = {old.freelist, old.inuse, false};
        } while (!cmpxchg_double_slab(slab, &old, to));
        if (to.inuse || n->partial.count < cache->min_partial) {
            add_partial(n, slab, true);
            stat(cache, c, FREE_ADD_PARTIAL);
        } else {
            slab->next = discard;
            discard = slab;
        }
    }
    c->partial = nullptr;
    c->partial_slabs = 0;
    c->partial_objects = 0;
    while (page* slab = discard) {
        discard = slab->next;
        stat(cache, c, DEACTIVATE_EMPTY);
        stat(cache, c, FREE_SLAB);
        discard_slab(cache, slab);
    }
}

// REQUIRES slub_cpu_open().
void flush_cpu_slab(kmem_cache* cache, kmem_cache_cpu* c) {
    if (c->avail)
        sheaf_flush(cache, c, c->avail);
    if (c->slab)
        flush_slab(cache, c);
    unfreeze_partials(cache, c);
}

// A slot whose thread has gone, or the caller's own (the kernel's handler for a dead CPU).
void slub_cpu_dead(kmem_cache* cache, kmem_cache_cpu* c) {
    const cpu_scope scope(cache, c);
    flush_cpu_slab(cache, c);
}

// ---- what the fast path sees

void slub_cpu_open(kmem_cache*, kmem_cache_cpu* c) {
    if (c->held) {
        c->avail += c->held;
        c->held = 0;
    }
    if (c->held_freelist) {
        c->freelist = c->held_freelist;
        c->held_freelist = nullptr;
    }
    c->limit = c->capacity;
    c->batchcount = (c->capacity + 2) / 3;
    c->hard_limit = 0;
    c->live_tag = 0;
}

void slub_cpu_close(kmem_cache* cache, kmem_cache_cpu* c) {
    const std::uint32_t hooks = cache->hooks.load(std::memory_order_acquire);
    if (nr_node_ids() > 1) // whose node is it? every free has to look
        c->limit = 0;
    if (hooks) {
        if ((hooks & HOOK_ALL) == HOOK_HARDENED && c->limit) {
            c->hard_limit = std::uint32_t{c->limit};
            c->live_tag = hooks >> HOOK_TAG_SHIFT;
        }
        c->held += c->avail;
        c->avail = 0;
        c->limit = 0;
    }
    if (hooks || has_sheaf(c)) {
        c->held_freelist = c->freelist;
        c->freelist = nullptr;
        c->slab_bytes = 0;
        return;
    }
    const page* slab = c->slab;
    const auto* addr =
        slab ? static_cast<const std::byte*>(slab->s_mem) - cache->red_left_pad : nullptr;
    c->slab_addr = reinterpret_cast<std::uintptr_t>(addr);
    c->slab_bytes =
        slab ? static_cast<std::uint32_t>(PAGE_SIZE << page_order(virt_to_pfn(addr))) : 0;
}

// Owner of the slot only; see serve_requests().
void slub_serve_requests(kmem_cache* cache, kmem_cache_cpu* c) {
    const cpu_scope scope(cache, c);
    const std::uint32_t drain = cache->drain.load(std::memory_order_relaxed);
    if (drain == c->drained)
        return;
    c->drained = drain;
    flush_cpu_slab(cache, c);
    for (int nid = 0; nid < nr_node_ids(); ++nid)
        if (kmem_cache_node* n = get_node(cache, nid))
            slub_drain_node(cache, n, SIZE_MAX);
}

// ---- doors

// From node `node` (NUMA_NO_NODE: any). NULL: out of memory.
void* slub_alloc_object(kmem_cache* cache, gfp_t flags, int node) {
    kmem_cache_cpu* c = cpu_array(cache);
    if (!c)
        return alloc_without_cpu(cache, flags, node);
    const cpu_scope scope(cache, c);
    if (has_sheaf(c) && node == NUMA_NO_NODE) {
        if (!c->avail)
            return refill_sheaf(cache, flags, c);
        stat(cache, c, ALLOC_FASTPATH);
        c->avail -= 1u;
        return c->entry[c->avail];
    }
    if (c->freelist && node_match(c->slab, node)) {
        stat(cache, c, ALLOC_FASTPATH);
        return pop_freelist(cache, c);
    }
    return __slab_alloc(cache, flags, node, c);
}

// Up to n objects; returns how many.
std::size_t slub_alloc_bulk(kmem_cache* cache, gfp_t flags, std::size_t n, void** objects) {
    std::size_t got = 0;
    kmem_cache_cpu* c = cpu_array(cache);
    if (!c) {
        while (got < n && (objects[got] = alloc_without_cpu(cache, flags, NUMA_NO_NODE)))
            ++got;
        return got;
    }
    const cpu_scope scope(cache, c);
    if (n < c->capacity / 2 && !c->avail) {
        void* object = refill_sheaf(cache, flags, c);
        if (!object)
            return 0;
        c->entry[c->avail] = object;
        c->avail += 1u;
    }
    got = std::min<std::size_t>(n, c->avail);
    c->avail -= static_cast<std::uint32_t>(got);
    std::memcpy(objects, c->entry + c->avail, sizeof(void*) * got);
    if (got < n && has_sheaf(c))
        got += barn_get(cache, c, objects + got, n - got);
    while (got < n && (c->freelist || refill_freelist(cache, c, flags, NUMA_NO_NODE, true)))
        while (got < n && c->freelist)
            objects[got++] = pop_freelist(cache, c);
    return got;
}

void slub_free_object(kmem_cache* cache, void* object) {
    kmem_cache_cpu* c = cpu_array_to_fill(cache);
    if (!c)
        return do_slab_free(cache, nullptr, object);
    const cpu_scope scope(cache, c);
    if (fits_sheaf(cache, c, object))
        free_to_sheaf(cache, c, object);
    else
        do_slab_free(cache, c, object);
}

void slub_free_past_cpu(kmem_cache* cache, void* object) {
    do_slab_free(cache, nullptr, object);
}

void slub_free_bulk(kmem_cache* cache, std::size_t n, void** objects) {
    kmem_cache_cpu* c = cpu_array_to_fill(cache, n);
    if (!c)
        return free_many(cache, nullptr, objects, n);
    const cpu_scope scope(cache, c);
    if (n > c->capacity || nr_node_ids() > 1) // no sheaf, too small a one, or who knows whose
        return free_many(cache, c, objects, n);
    if (const std::uint32_t room = c->limit - c->avail; n > room)
        sheaf_make_room(cache, c,
                        std::max<std::uint32_t>(std::min(+c->batchcount, +c->avail),
                                                static_cast<std::uint32_t>(n) - room));
    std::memcpy(c->entry + c->avail, objects, sizeof(void*) * n);
    c->avail += static_cast<std::uint32_t>(n);
}

} // namespace slabfwd
