// SPDX-License-Identifier: BSD-3-Clause
//
// slub_cache.cc - SLUB: how a cache is cut, how slabs are made and given back, how it comes up.
//
// Doors: kmem_cache_open(), new_slab(), discard_slab(), slub_kmem_cache_init().
// Threads: creation and tunables under slab_mutex; slabs are made and unmade by any thread with no
// lock held, while nobody else knows them.
// Origin: mm/slub.c of Linux v5.2 under its function names. `linux_5_2` follows its numbers;
// `throughput` starts at 64 KiB a slab (the kernel's slub_min_order), keeps as many free objects in
// a slot's partial slabs as SLAB keeps in an array, and puts a sheaf before them.
#include "alloc/slab_live.h"
#include "alloc/slub.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

#if defined(SLABFWD_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace slabfwd {

namespace {

constexpr std::size_t MIN_PARTIAL = 5;
constexpr std::size_t MAX_PARTIAL = 10;
constexpr unsigned SHEAF_MAX_DEFAULT = 768;
constexpr unsigned DEFAULT_DEFRAG_RATIO = 1000; // of 1024: a call in 42 stays at home

// Boot parameters of the kernel: orders between these, so many objects a slab at least.
struct slub_orders {
    unsigned min_order;
    unsigned max_order;
    unsigned min_objects; // 0: by the number of CPUs
};
slub_orders orders() {
    return slab_get_tuning() == slab_tuning::linux_5_2 ? slub_orders{0, 3, 0}
                                                       : slub_orders{4, 6, 1};
}

// The smallest order from min_order on that wastes at most 1/fract_leftover.
unsigned slab_order(unsigned size, unsigned min_objects, unsigned max_order,
                    unsigned fract_leftover) {
    const unsigned min_order = orders().min_order;
    if (order_objects(min_order, size) > MAX_OBJS_PER_PAGE)
        return get_order(std::size_t{size} * MAX_OBJS_PER_PAGE) - 1;
    unsigned order = std::max(min_order, get_order(std::size_t{min_objects} * size));
    for (; order <= max_order; ++order) {
        const std::size_t slab_size = PAGE_SIZE << order;
        if (slab_size % size <= slab_size / fract_leftover)
            break;
    }
    return order;
}

// The order that keeps waste and the number of objects a slab in balance; negative: none fits.
int calculate_order(unsigned size) {
    const slub_orders o = orders();
    unsigned min_objects = o.min_objects;
    if (!min_objects)
        min_objects =
            4 * (static_cast<unsigned>(std::bit_width(std::thread::hardware_concurrency())) + 1);
    min_objects = std::min(min_objects, order_objects(o.max_order, size));
    for (; min_objects > 1 || (min_objects && o.min_order); --min_objects) {
        for (unsigned fraction = 16; fraction >= 4; fraction /= 2) {
            const unsigned order = slab_order(size, min_objects, o.max_order, fraction);
            if (order <= o.max_order)
                return static_cast<int>(order);
        }
    }
    unsigned order = slab_order(size, 1, o.max_order, 1);
    if (order > o.max_order)
        order = slab_order(size, 1, MAX_ORDER, 1);
    return order < MAX_ORDER ? static_cast<int>(order) : -ENOSYS;
}

void set_cpu_partial(kmem_cache* cache) {
    const unsigned size = cache->size;
    if (slab_get_tuning() == slab_tuning::linux_5_2)
        cache->cpu_partial = size >= PAGE_SIZE ? 2 : size >= 1024 ? 6 : size >= 256 ? 13 : 30;
    else
        cache->cpu_partial = std::clamp(131072u / size, 2u, 512u);
}

void set_sheaf_capacity(kmem_cache* cache) {
    if (cache->sheaf_capacity != kmem_cache_args::SHEAF_DEFAULT)
        return;
    const unsigned batch =
        std::bit_floor(std::clamp(65536u / cache->size, 1u, SHEAF_MAX_DEFAULT / 3));
    if (slab_get_tuning() == slab_tuning::linux_5_2)
        cache->sheaf_capacity = 0;
    else
        cache->sheaf_capacity = cache->size > 65536 ? 1 : 3 * batch; // as SLAB's arrays
}

// ---- nodes

constexpr unsigned BARN_OBJECT_MAX =
    131072; // larger objects have no barn, as in SLAB no shared array

// "kmem_cache_node": where node structures come from when SLUB serves the allocator's own caches.
constinit kmem_cache* kmem_cache_node_cache = nullptr;

void inc_slabs_node(kmem_cache_node* n, std::size_t objects) {
    n->nr_slabs.fetch_add(1, std::memory_order_relaxed);
    n->total_objects.fetch_add(objects, std::memory_order_relaxed);
}
void dec_slabs_node(kmem_cache_node* n, std::size_t objects) {
    n->nr_slabs.fetch_sub(1, std::memory_order_relaxed);
    n->total_objects.fetch_sub(objects, std::memory_order_relaxed);
}

// ---- slabs

void setup_object(kmem_cache* cache, void* object) {
    if (cache->ctor)
        cache->ctor(object);
#if defined(SLABFWD_ASAN)
    if (!(cache->flags & SLAB_TYPESAFE_BY_RCU))
        __asan_poison_memory_region(static_cast<std::byte*>(object) - cache->red_left_pad,
                                    cache->size);
#endif
}

// The object that is the i-th to be given out.
void* object_in_turn(const kmem_cache* cache, const page* slab, std::size_t i) {
    const bool shuffled = cache->random_seq && slab->objects == cache->num;
    return index_to_obj(cache, slab, shuffled ? random_object(cache, slab, i) : i);
}

// Links all objects of a new slab (shuffle_freelist where the cache has a random sequence).
void link_objects(kmem_cache* cache, page* slab) {
    void* const first = object_in_turn(cache, slab, 0);
    void* object = first;
    for (std::size_t i = 1; i <= slab->objects; ++i) {
        void* next = i < slab->objects ? object_in_turn(cache, slab, i) : nullptr;
        setup_object(cache, object);
        set_freepointer(cache, object, next);
        object = next;
    }
    init_counters(slab, {slab_place(slab, first), 0, false});
}

// Pages of the order wished for, else of the least.
page* alloc_slab_page(kmem_cache* cache, gfp_t flags, int node, kmem_cache_order_objects* oo) {
    *oo = cache->oo;
    const bool can_fall_back = oo_order(cache->min) < oo_order(cache->oo);
    const gfp_t first =
        can_fall_back ? (flags | __GFP_NOWARN | __GFP_NORETRY) & ~__GFP_DIRECT_RECLAIM : flags;
    page* slab = kmem_getpages(cache, first, node, oo_order(*oo));
    if (slab || !can_fall_back)
        return slab;
    *oo = cache->min;
    return kmem_getpages(cache, flags, node, oo_order(*oo));
}

page* allocate_slab(kmem_cache* cache, gfp_t flags, int node, kmem_cache_cpu* c) {
    kmem_cache_order_objects oo;
    page* slab = alloc_slab_page(cache, flags, node, &oo);
    if (!slab)
        return nullptr;
    if (oo.x != cache->oo.x)
        stat(cache, c, ORDER_FALLBACK);
    slab->objects = oo_objects(oo);
    slab->slab_list = ON_NONE;
    slab->s_mem = static_cast<std::byte*>(page_address(slab)) + cache->red_left_pad;
    slab->slab_cache = cache;
    if (has_live_map(cache) || (cache->flags & DEBUG_METADATA_FLAGS))
        setup_slab_debug(cache, slab);
    link_objects(cache, slab);
    return slab;
}

} // namespace

// A slab that nobody knows yet, all its objects on its freelist, not frozen. NULL: out of memory.
page* new_slab(kmem_cache* cache, gfp_t flags, int node, kmem_cache_cpu* c) {
    if (!charge_slab(cache))
        return nullptr;
    page* slab = allocate_slab(cache, flags, node, c);
    if (!slab) {
        uncharge_slab(cache);
        return nullptr;
    }
    inc_slabs_node(get_node(cache, slab->nid), slab->objects);
    cache->grown.fetch_add(1, std::memory_order_relaxed);
    return slab;
}

// Gives a slab back that is on no list and whose objects are all free.
void discard_slab(kmem_cache* cache, page* slab) {
    dec_slabs_node(get_node(cache, slab->nid), slab->objects);
    slab->freelist = nullptr;
    kmem_freepages_rcu(cache, slab);
    uncharge_slab(cache);
}

// ---- making caches

void set_min_partial(kmem_cache* cache, std::size_t min) {
    cache->min_partial = std::clamp(min, MIN_PARTIAL, MAX_PARTIAL);
}

// Order, sizes and the place of the free pointer. `forced_order`: negative, none. 0 or -E2BIG.
int calculate_sizes(kmem_cache* cache, slab_flags_t flags, int forced_order) {
    const std::size_t size = lay_out_object(cache, flags, true);
    const int order =
        forced_order >= 0 ? forced_order : calculate_order(static_cast<unsigned>(size));
    if (order < 0)
        return -E2BIG;
    const auto bytes = static_cast<unsigned>(size);
    cache->size = bytes;
    cache->reciprocal_buffer_size =
        static_cast<std::uint32_t>(((std::uint64_t{1} << 32) + size - 1) / size);
    cache->oo = oo_make(static_cast<unsigned>(order), bytes);
    cache->min = oo_make(get_order(size), bytes);
    if (oo_objects(cache->min) > oo_objects(cache->oo))
        cache->min = cache->oo;
    if (oo_objects(cache->oo) > oo_objects(cache->max))
        cache->max = cache->oo;
    if (!oo_objects(cache->oo))
        return -E2BIG;
    cache->num = oo_objects(cache->oo);
    cache->gfporder = oo_order(cache->oo);
    cache->flags = flags;
    cache->allocflags = __GFP_COMP | ((flags & SLAB_RECLAIM_ACCOUNT) ? __GFP_RECLAIMABLE : 0);
    return 0;
}

void slub_propagate_attrs(kmem_cache* child) {
    const kmem_cache* root = child->memcg_params.root_cache;
    child->min_partial = std::size_t{root->min_partial};
    child->cpu_partial = unsigned{root->cpu_partial};
    child->remote_node_defrag_ratio = unsigned{root->remote_node_defrag_ratio};
}

void slub_deactivate(kmem_cache* child) {
    child->min_partial = 0;
    child->cpu_partial = 0;
}

// The structure of a slot, with room for its sheaf and counters. NULL: not now.
kmem_cache_cpu* alloc_kmem_cache_cpu(kmem_cache* cache) {
    const unsigned sheaf = cache->sheaf_capacity;
    kmem_cache_cpu* c = alloc_arraycache(cache, sheaf + NR_SLUB_STAT_ITEMS);
    if (!c)
        return nullptr;
    c->capacity = sheaf;
    c->limit = 0;
    c->random = cache->random;
    c->offset = cache->offset;
    c->stat = reinterpret_cast<owned<std::uint64_t>*>(c->entry + sheaf);
    for (unsigned i = 0; i < NR_SLUB_STAT_ITEMS; ++i)
        new (c->stat + i) owned<std::uint64_t>;
    return c;
}

namespace {

// Before there is a "kmem_cache_node" to take from: its first object, of its first slab, is its own
// node.
void early_kmem_cache_node_alloc(kmem_cache* cache, int node) {
    if (!charge_slab(cache)) // no bound is set yet
        std::abort();
    page* slab = allocate_slab(cache, GFP_NOWAIT, node, nullptr);
    if (!slab) {
        report("panic: no memory for the first slab of %s", cache->name);
        std::abort();
    }
    void* object = slab_object_at(slab, read_counters(slab).freelist);
    init_counters(slab, {slab_place(slab, get_freepointer(cache, object)), 1, false});
    detail::kasan_unpoison(cache, object);
    auto* n = new (object) kmem_cache_node;
    cache->node[node] = n;
    inc_slabs_node(n, slab->objects);
    cache->slow_allocs.fetch_add(1, std::memory_order_relaxed);
    add_partial(n, slab, false);
}

kmem_cache_node* alloc_node(int nid) {
    void* p = kmem_cache_node_cache ? kmem_cache_alloc(kmem_cache_node_cache, GFP_KERNEL)
                                    : kmalloc(sizeof(kmem_cache_node), GFP_KERNEL);
    (void)nid;
    return p ? new (p) kmem_cache_node : nullptr;
}

int init_kmem_cache_nodes(kmem_cache* cache) {
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        if (slab_state() == DOWN) {
            early_kmem_cache_node_alloc(cache, nid);
            continue;
        }
        if (!(cache->node[nid] = alloc_node(nid)))
            return -ENOMEM;
        if (cache->size <= BARN_OBJECT_MAX)
            cache->node[nid]->shared_room = shared_entries(MAX_FULL_SHEAVES, cache->sheaf_capacity);
    }
    return 0;
}

std::uint64_t get_random_long() {
    static std::atomic<std::uint64_t> state{0};
    std::uint64_t z = state.fetch_add(0x9e3779b97f4a7c15u, std::memory_order_relaxed) +
                      reinterpret_cast<std::uintptr_t>(&state) + 0x632be59bd9b4e019u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

} // namespace

// A cache whose name, object_size, align, ctor and flags are set. 0, -E2BIG, -ENOMEM.
int kmem_cache_open(kmem_cache* cache, slab_flags_t flags) {
    cache->align = std::max<unsigned>(cache->align, BYTES_PER_WORD);
    cache->random = get_random_long();
    if (const int err = calculate_sizes(cache, flags, -1))
        return err;
    set_min_partial(cache, static_cast<std::size_t>(std::bit_width(cache->size) - 1) / 2);
    set_cpu_partial(cache);
    set_sheaf_capacity(cache);
    cache->remote_node_defrag_ratio = DEFAULT_DEFRAG_RATIO;
    kmem_cache_init_gate(cache);
    cache->hooks = slab_default_hooks.load(std::memory_order_relaxed) | slab_debug_hooks(flags) |
                   memcg_hooks(cache, flags);
    int err = slab_debug_open(cache);
    if (!err)
        err = init_kmem_cache_nodes(cache);
    if (err)
        __kmem_cache_release(cache);
    return err;
}

// ---- giving back

namespace {

// Empty slabs out of a node's list, at most `most`; returns how many.
std::size_t take_empty(kmem_cache_node* n, std::size_t most, page_list* discard) {
    const spin_guard guard(n->list_lock);
    for (page *slab = n->partial.first, *next = nullptr; slab && discard->count < most;
         slab = next) {
        next = slab->next;
        slab_counters old = read_counters(slab);
        if (old.inuse)
            continue;
        remove_partial(n, slab); // nobody else can have an object of it: nothing can change it
        discard->add(slab);
    }
    return discard->count;
}

// The fullest slabs to the head of the list, so that they fill up and the emptier ones empty out.
void promote_fullest(kmem_cache_node* n) {
    constexpr unsigned SHRINK_PROMOTE_MAX = 32;
    page_list promote[SHRINK_PROMOTE_MAX];
    const spin_guard guard(n->list_lock);
    for (page *slab = n->partial.first, *next = nullptr; slab; slab = next) {
        next = slab->next;
        const unsigned free = slab->objects - read_counters(slab).inuse;
        if (free == 0 || free > SHRINK_PROMOTE_MAX)
            continue;
        n->partial.del(slab);
        promote[free - 1].add(slab);
    }
    for (unsigned i = SHRINK_PROMOTE_MAX; i-- > 0;)
        while (page* slab = promote[i].first) {
            promote[i].del(slab);
            n->partial.add(slab);
        }
}

} // namespace

// Up to `tofree` empty slabs of a node go; returns how many.
std::size_t slub_drain_node(kmem_cache* cache, kmem_cache_node* n, std::size_t tofree) {
    page_list discard;
    const std::size_t freed = take_empty(n, tofree, &discard);
    while (page* slab = discard.first) {
        discard.del(slab);
        cache->stat[FREE_SLAB].fetch_add(1, std::memory_order_relaxed);
        discard_slab(cache, slab);
    }
    return freed;
}

// __kmem_cache_shrink(): 0 when no slab is left, else 1.
int slub_cache_shrink(kmem_cache* cache) {
    drain_cpu_caches(cache);
    bool left = false;
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        kmem_cache_node* n = get_node(cache, nid);
        slub_drain_node(cache, n, SIZE_MAX);
        promote_fullest(n);
        left = left || n->nr_slabs.load(std::memory_order_relaxed);
    }
    return left;
}

// The reaper's turn at a node: empty slabs go. Returns how many.
std::size_t slub_reap(kmem_cache* cache, kmem_cache_node* n) {
    barn_reap(cache, n);
    const std::size_t freed = slub_drain_node(cache, n, SIZE_MAX);
    cache->reaped.fetch_add(freed, std::memory_order_relaxed);
    return freed;
}

namespace {

// Names objects that are still out (list_slab_objects).
void list_slab_objects(kmem_cache* cache, std::size_t live) {
    constexpr unsigned LEAKS_NAMED = 16;
    report("kmem_cache_destroy %s: Slab cache still has objects: %zu of %u bytes", cache->name,
           live, cache->object_size);
    struct listing {
        kmem_cache* cache;
        void* objects[LEAKS_NAMED];
        unsigned named;
    } l{cache, {}, 0};
    for_each_slab(
        cache,
        [](page* slab, void* arg) {
            auto* list = static_cast<listing*>(arg);
            for (std::size_t i = 0; i < slab->objects; ++i)
                if (!slub_object_is_free(list->cache, slab, i) && list->named++ < LEAKS_NAMED)
                    list->objects[list->named - 1] = index_to_obj(list->cache, slab, i);
        },
        &l);
    for (unsigned i = 0; i < std::min(l.named, LEAKS_NAMED); ++i)
        report_live_object(cache, l.objects[i]);
    if (l.named > LEAKS_NAMED)
        report("  ... and %u more", l.named - LEAKS_NAMED);
}

} // namespace

// Empties a cache that nobody uses any more, slots of all threads included. 0, or -EBUSY with a
// report when objects are live.
int slub_cache_shutdown(kmem_cache* cache) {
    for (unsigned cpu = 1; cpu < nr_cpu_ids(); ++cpu) {
        kmem_cache_cpu* c = cache->cpu_cache[cpu].load(std::memory_order_acquire);
        if (c != cache->gate())
            slub_cpu_dead(cache, c);
    }
    for (int nid = 0; nid < nr_node_ids(); ++nid)
        barn_shrink(cache, get_node(cache, nid), SIZE_MAX);
    bool left = false;
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        kmem_cache_node* n = get_node(cache, nid);
        slub_drain_node(cache, n, SIZE_MAX);
        left = left || n->nr_slabs.load(std::memory_order_relaxed);
    }
    if (!left)
        return 0;
    list_slab_objects(cache, slub_objects_out(cache));
    return -EBUSY;
}

// ---- start-up

namespace {

alignas(kmem_cache) constinit std::byte boot_kmem_cache[sizeof(kmem_cache)] = {};
alignas(kmem_cache) constinit std::byte boot_kmem_cache_node[sizeof(kmem_cache)] = {};

// A cache that was made in static memory moves to where caches are.
kmem_cache* bootstrap(kmem_cache* static_cache) {
    void* mem = kmem_cache_alloc(kmem_cache_cache, GFP_NOWAIT);
    if (!mem) {
        report("panic: no memory for the cache %s", static_cache->name);
        std::abort();
    }
    slab_caches_del(static_cache);
    // Nobody has a slot yet, so the old one is referred to by its slabs and nothing else.
    std::memcpy(mem, static_cast<const void*>(static_cache), sizeof(kmem_cache));
    auto* cache = static_cast<kmem_cache*>(mem);
    kmem_cache_init_gate(cache);
    for_each_slab(
        static_cache,
        [](page* slab, void* arg) { slab->slab_cache = static_cast<kmem_cache*>(arg); }, cache);
    slab_caches_add(cache);
    return cache;
}

} // namespace

// mm/slub.c, kmem_cache_init(), up to the kmalloc caches.
void slub_kmem_cache_init() {
    auto* node_cache = new (boot_kmem_cache_node) kmem_cache{};
    auto* cache_cache = new (boot_kmem_cache) kmem_cache{};
    kmem_cache_cache = cache_cache;
    create_boot_cache(node_cache, "kmem_cache_node", sizeof(kmem_cache_node), SLAB_HWCACHE_ALIGN,
                      0);
    kmem_cache_node_cache = node_cache;
    set_slab_state(PARTIAL); // kmem_cache_node works
    create_boot_cache(cache_cache, "kmem_cache", sizeof(kmem_cache), SLAB_HWCACHE_ALIGN, 0);
    kmem_cache_cache = bootstrap(cache_cache);
    kmem_cache_node_cache = bootstrap(node_cache);
    set_slab_state(PARTIAL_NODE);
}

} // namespace slabfwd
