// SPDX-License-Identifier: BSD-3-Clause
//
// slab_cache.cc - how a cache is cut into slabs, and how slabs are made and given back.
//
// Doors: __kmem_cache_create(), cache_grow_begin(), slabs_destroy(), enable_cpucache().
// Threads: creation and tunables under slab_mutex; slabs are made and unmade by any thread with
// no lock held, while nobody else knows them.
// Origin: mm/slab.c of Linux v5.2 (cache_estimate, calculate_slab_order, set_*_slab_cache,
// alloc_slabmgmt, cache_init_objs, enable_cpucache). `linux_5_2` follows it to the number.
// `throughput` has slabs of 64 KiB, arrays of 192 KiB worth of objects, and keeps the index as a
// bitmap in a cache of its own: bitmaps at the end of each slab would all fall into one cache set.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>

#include "alloc/array_cache.h"
#include "alloc/slab.h"
#include "alloc/slab_lists.h"
#include "alloc/slub.h"

namespace slabfwd {

namespace {

constexpr unsigned SLAB_MAX_ORDER_HI = 1;      // linux: the order not to go beyond without need
constexpr unsigned THROUGHPUT_ORDER = 4;       // 64 KiB
constexpr unsigned THROUGHPUT_ORDER_WASTE = 6; // up to here the order grows to save waste
constexpr std::size_t THROUGHPUT_KEPT_SLABS = 16;

// Static nodes of the first two caches, until kmalloc() works.
constinit kmem_cache_node init_kmem_cache_node[2 * MAX_NUMNODES];
constinit unsigned init_nodes_used = 0;

// Caches for bitmaps (throughput). Their own bitmaps are on their slabs.
constexpr unsigned FREELIST_CACHES = 3;
constexpr unsigned freelist_sizes[FREELIST_CACHES] = {64, 256, 1024};
constinit kmem_cache* freelist_caches[FREELIST_CACHES] = {};

// Where arrays of 768 entries live; smaller ones come from kmalloc().
constinit kmem_cache* array_cachep = nullptr;
constexpr std::size_t ARRAY_HEADER = offsetof(array_cache, entry);
constexpr unsigned ARRAY_ENTRIES = 768;

bool is_static_node(const kmem_cache_node* n) {
    return n >= init_kmem_cache_node && n < init_kmem_cache_node + 2 * MAX_NUMNODES;
}

constexpr std::size_t align_up(std::size_t n, std::size_t a) {
    return (n + a - 1) / a * a;
}

struct estimate {
    unsigned num;
    std::size_t left_over;
};

// Objects of `size` in a slab of `order`, and the bytes left.
estimate cache_estimate(unsigned order, std::size_t size, slab_flags_t flags) {
    const std::size_t slab = PAGE_SIZE << order;
    if (flags & (CFLGS_OBJFREELIST_SLAB | CFLGS_OFF_SLAB))
        return {static_cast<unsigned>(slab / size), slab % size};
    std::size_t num = slab / size;
    while (num && num * size + freelist_bytes(num, flags) > slab)
        --num;
    return {static_cast<unsigned>(num), slab - num * size - freelist_bytes(num, flags)};
}

kmem_cache* freelist_cache_for(unsigned bytes) {
    if (slab_get_tuning() == slab_tuning::linux_5_2)
        return slab_state() >= PARTIAL_NODE ? kmalloc_slab(bytes, 0) : nullptr;
    for (unsigned i = 0; i < FREELIST_CACHES; ++i)
        if (bytes <= freelist_sizes[i])
            return freelist_caches[i];
    return nullptr;
}

// May the index of such a slab live in a cache? Not in one that itself needs a cache for it, and
// not in one whose objects cost more than the index on the slab.
bool off_slab_possible(unsigned num, std::size_t size, slab_flags_t flags) {
    const kmem_cache* fc = freelist_cache_for(freelist_bytes(num, flags));
    return fc && !(fc->flags & CFLGS_OFF_SLAB) && ((flags & CFLGS_BITMAP) || fc->size <= size / 2);
}

// mm/slab.c: order and number of objects; returns the bytes left, cache->num == 0: impossible.
std::size_t calculate_slab_order(kmem_cache* cache, std::size_t size, slab_flags_t flags) {
    std::size_t left_over = 0;
    cache->num = 0;
    for (unsigned order = 0; order < MAX_ORDER; ++order) {
        const estimate e = cache_estimate(order, size, flags);
        if (!e.num)
            continue;
        if (e.num > SLAB_OBJ_MAX_NUM)
            break;
        if ((flags & CFLGS_OFF_SLAB) && !off_slab_possible(e.num, size, flags))
            continue;
        cache->num = e.num;
        cache->gfporder = order;
        left_over = e.left_over;
        if ((flags & SLAB_RECLAIM_ACCOUNT) || order >= SLAB_MAX_ORDER_HI ||
            left_over * 8 <= (PAGE_SIZE << order))
            break;
    }
    return left_over;
}

void set_colour(kmem_cache* cache, std::size_t left_over) {
    cache->colour = left_over / cache->colour_off;
}

bool set_objfreelist_slab_cache(kmem_cache* cache, std::size_t size, slab_flags_t flags) {
    if (cache->ctor || (flags & (SLAB_TYPESAFE_BY_RCU | SLAB_POISON)))
        return false; // a free object must stay as it is
    const std::size_t left = calculate_slab_order(cache, size, flags | CFLGS_OBJFREELIST_SLAB);
    if (!cache->num || freelist_bytes(cache->num, 0) > cache->object_size)
        return false;
    set_colour(cache, left);
    return true;
}

bool set_off_slab_cache(kmem_cache* cache, std::size_t size, slab_flags_t flags) {
    if (flags & SLAB_NOLEAKTRACE)
        return false;
    const std::size_t left = calculate_slab_order(cache, size, flags | CFLGS_OFF_SLAB);
    if (!cache->num || left >= freelist_bytes(cache->num, 0))
        return false; // the index fits on the slab for nothing
    set_colour(cache, left);
    return true;
}

bool set_on_slab_cache(kmem_cache* cache, std::size_t size, slab_flags_t flags) {
    const std::size_t left = calculate_slab_order(cache, size, flags);
    if (!cache->num)
        return false;
    set_colour(cache, left);
    return true;
}

// The kernel's three ways, in its order.
bool cut_linux(kmem_cache* cache, std::size_t size, slab_flags_t* flags) {
    if (set_objfreelist_slab_cache(cache, size, *flags)) {
        *flags |= CFLGS_OBJFREELIST_SLAB;
        return true;
    }
    if (set_off_slab_cache(cache, size, *flags)) {
        *flags |= CFLGS_OFF_SLAB;
        return true;
    }
    return set_on_slab_cache(cache, size, *flags);
}

// Objects at every 256th byte use a quarter of the cache's sets if only their first lines are
// touched. Where an object less a slab costs little, slabs start at different lines instead.
void make_room_for_colours(const kmem_cache* cache, std::size_t size, estimate* e) {
    constexpr unsigned ENOUGH = 64; // objects a slab
    const std::size_t stride = std::min(size & (0 - size), PAGE_SIZE);
    if (stride <= cache_line_size || cache->colour_off > cache_line_size || e->num < ENOUGH ||
        e->left_over >= stride - cache_line_size)
        return;
    e->num -= 1;
    e->left_over += size;
}

// 64 KiB, or larger where an eighth would be wasted; bitmap off the slab where that can be.
bool cut_throughput(kmem_cache* cache, std::size_t size, slab_flags_t* flags) {
    *flags |= CFLGS_BITMAP;
    const bool on_slab = *flags & SLAB_NOLEAKTRACE;
    for (unsigned order = THROUGHPUT_ORDER; order < MAX_ORDER; ++order) {
        slab_flags_t f = *flags | CFLGS_OFF_SLAB;
        estimate e = cache_estimate(order, size, f);
        if (on_slab || !off_slab_possible(e.num, size, f)) {
            f = *flags;
            e = cache_estimate(order, size, f);
        }
        if (!e.num || (e.left_over * 8 > (PAGE_SIZE << order) && order < THROUGHPUT_ORDER_WASTE))
            continue;
        make_room_for_colours(cache, size, &e);
        cache->num = e.num;
        cache->gfporder = order;
        *flags = f;
        set_colour(cache, e.left_over);
        return true;
    }
    return false;
}

// The node structure of a cache; static while kmalloc() cannot give one.
kmem_cache_node* alloc_kmem_cache_node(int nid) {
    if (slab_state() < PARTIAL_NODE)
        return &init_kmem_cache_node[init_nodes_used++];
    void* p = kmalloc_node(sizeof(kmem_cache_node), GFP_KERNEL, nid);
    return p ? new (p) kmem_cache_node : nullptr;
}

void free_kmem_cache_nodes(kmem_cache* cache) {
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        kmem_cache_node* n = cache->node[nid];
        if (!n)
            continue;
        free_arraycache(n->shared);
        free_alien_caches(n->alien);
        if (!is_static_node(n))
            kfree(n);
        cache->node[nid] = nullptr;
    }
}

std::size_t free_limit_of(const kmem_cache* cache) {
    const std::size_t kernel = (1 + nr_cpu_ids()) * cache->batchcount + cache->num;
    if (slab_get_tuning() == slab_tuning::linux_5_2)
        return kernel;
    return kernel + THROUGHPUT_KEPT_SLABS * cache->num;
}

void kmem_cache_node_init(const kmem_cache* cache, kmem_cache_node* n) {
    n->free_limit = free_limit_of(cache);
}

int init_cache_nodes(kmem_cache* cache) {
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        if (!(cache->node[nid] = alloc_kmem_cache_node(nid)))
            return -ENOMEM;
        kmem_cache_node_init(cache, cache->node[nid]);
    }
    return 0;
}

// Arrays for a new cache. Before FULL they get the smallest possible numbers; kmem_cache_init()
// resizes them at its end.
int setup_cpu_cache(kmem_cache* cache) {
    if (slab_state() >= FULL)
        return enable_cpucache(cache);
    cache->batchcount = 1;
    cache->limit = BOOT_CPUCACHE_ENTRIES;
    cache->shared = 0;
    return 0;
}

// Keeps array_objs of the cache an array lies in; one of a page of its own (a large shared array)
// is in none.
void count_array(const void* array, int delta) {
    if (kmem_cache* home = virt_to_cache(array))
        home->array_objs.fetch_add(std::size_t(delta), std::memory_order_relaxed);
}

} // namespace

array_cache* alloc_arraycache(kmem_cache* cache, unsigned entries) {
    if (slab_state() < UP || !entries)
        return nullptr;
    const std::size_t bytes = ARRAY_HEADER + entries * sizeof(void*);
    constexpr gfp_t gfp = GFP_NOWAIT | __GFP_NOWARN;
    void* p =
        bytes > KMALLOC_MAX_CACHE_SIZE / 4 && array_cachep && bytes <= array_cachep->object_size
            ? kmem_cache_alloc(array_cachep, gfp)
            : kmalloc(bytes, gfp);
    if (!p)
        return nullptr;
    count_array(p, 1);
    auto* ac = new (p) array_cache{};
    ac->cache = cache;
    ac->capacity = entries;
    ac->limit = entries;
    return ac;
}

void free_arraycache(array_cache* ac) {
    while (ac) {
        array_cache* older = ac->retired;
        count_array(ac, -1);
        kfree(ac);
        ac = older;
    }
}

void kmem_cache_init_gate(kmem_cache* cache) {
    auto* gate = new (cache->gate_storage) array_cache{};
    gate->cache = cache;
    for (auto& ac : cache->cpu_cache)
        ac.store(gate, std::memory_order_relaxed);
}

// The caches that the allocator itself needs beside kmalloc.
void slab_init_tables() {
    if (slab_get_tuning() == slab_tuning::throughput) {
        static constexpr const char* names[FREELIST_CACHES] = {
            "slab_freelist-64", "slab_freelist-256", "slab_freelist-1k"};
        for (unsigned i = 0; i < FREELIST_CACHES; ++i)
            freelist_caches[i] =
                create_kmalloc_cache(names[i], freelist_sizes[i], SLAB_NOLEAKTRACE);
    }
    unsigned entries = ARRAY_ENTRIES;
    if (slab_get_allocator() == slab_allocator::slub)
        entries += NR_SLUB_STAT_ITEMS; // counters stand behind the entries
    const auto size = static_cast<unsigned>(
        align_up(ARRAY_HEADER + entries * sizeof(void*), alignof(array_cache)));
    array_cachep = create_kmalloc_cache("array_cache", size, SLAB_NOLEAKTRACE | CFLGS_NO_ARRAY);
}

// Sizes, order and index of a cache. 0 or -E2BIG (no slab can hold an object).
static int cut_cache(kmem_cache* cache, slab_flags_t flags) {
    if (flags & CFLGS_SLUB)
        return calculate_sizes(cache, flags, -1);
    std::size_t size = lay_out_object(cache, flags, false);
    const bool linux_like = slab_get_tuning() == slab_tuning::linux_5_2;
    if (linux_like && size < SLAB_OBJ_MIN_SIZE) // an index of bytes names 255 objects
        size = align_up(SLAB_OBJ_MIN_SIZE, cache->align);
    cache->colour_off = std::max<unsigned>(cache_line_size, cache->align);
    if (!(linux_like ? cut_linux(cache, size, &flags) : cut_throughput(cache, size, &flags)))
        return -E2BIG;
    cache->freelist_size = freelist_bytes(cache->num, flags);
    cache->flags = flags;
    cache->allocflags = __GFP_COMP | ((flags & SLAB_RECLAIM_ACCOUNT) ? __GFP_RECLAIMABLE : 0);
    cache->size = static_cast<unsigned>(size);
    cache->reciprocal_buffer_size =
        static_cast<std::uint32_t>(((std::uint64_t{1} << 32) + size - 1) / size);
    cache->freelist_cache =
        (flags & CFLGS_OFF_SLAB) ? freelist_cache_for(cache->freelist_size) : nullptr;
    return 0;
}

// Sizes, alignment, order and index of a cache whose name, object_size, align and ctor are set.
// 0, -E2BIG (no slab can hold an object), -ENOMEM.
int __kmem_cache_create(kmem_cache* cache, slab_flags_t flags) {
    if (flags & CFLGS_SLUB)
        return kmem_cache_open(cache, flags);
    cache->align = std::max<unsigned>(cache->align, BYTES_PER_WORD);
    if (const int err = cut_cache(cache, flags))
        return err;
    kmem_cache_init_gate(cache);
    cache->hooks = slab_default_hooks.load(std::memory_order_relaxed) | memcg_hooks(cache, flags);
    if (const int err = slab_debug_open(cache))
        return err;
    cache->limit = BOOT_CPUCACHE_ENTRIES;
    cache->batchcount = 1;
    int err = init_cache_nodes(cache);
    if (!err)
        err = setup_cpu_cache(cache);
    if (err)
        __kmem_cache_release(cache);
    return err;
}

// The memory around a cache that has no slabs any more.
void __kmem_cache_release(kmem_cache* cache) {
    for (auto& slot : cache->cpu_cache) {
        array_cache* ac = slot.load(std::memory_order_relaxed);
        if (ac && ac != cache->gate())
            free_arraycache(ac);
        slot.store(cache->gate(), std::memory_order_relaxed);
    }
    free_kmem_cache_nodes(cache);
    slab_debug_close(cache);
}

// Cuts a cache without slabs anew, for other debugging flags. REQUIRES that nobody else uses it.
// 0, -E2BIG (nothing changed), -ENOMEM.
int cut_cache_again(kmem_cache* cache, slab_flags_t flags) {
    constexpr slab_flags_t cut = CFLGS_OFF_SLAB | CFLGS_OBJFREELIST_SLAB | CFLGS_BITMAP;
    const slab_flags_t old = cache->flags;
    int err = cut_cache(cache, flags & ~cut);
    if (err) {
        cut_cache(cache, old & ~cut);
        return err;
    }
    slab_debug_close(cache);
    if ((err = slab_debug_open(cache)) == 0)
        err = enable_cpucache(cache);
    return err;
}

// After PARTIAL_NODE: the static nodes of the first caches give way to kmalloc'ed ones.
int replace_static_nodes(kmem_cache* cache) {
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        kmem_cache_node* old = cache->node[nid];
        if (!is_static_node(old))
            continue;
        void* p = kmalloc(sizeof(kmem_cache_node), GFP_KERNEL);
        if (!p)
            return -ENOMEM;
        auto* n = new (p) kmem_cache_node;
        n->slabs_partial = old->slabs_partial;
        n->slabs_full = old->slabs_full;
        n->slabs_free = old->slabs_free;
        n->total_slabs = old->total_slabs;
        n->free_slabs = old->free_slabs;
        n->free_objects = old->free_objects;
        n->free_limit = old->free_limit;
        n->colour_next = old->colour_next;
        cache->node[nid] = n;
    }
    return 0;
}

// ---- tunables

// Room of a shared array for so many batches, or a little less: its header must not cost another
// half of a power of two.
unsigned shared_entries(std::size_t batches, std::size_t batchcount) {
    if (!batches || !batchcount)
        return 0;
    std::size_t bytes = ARRAY_HEADER + batches * batchcount * sizeof(void*);
    if (const std::size_t pow2 = std::bit_floor(bytes); bytes - pow2 <= ARRAY_HEADER)
        bytes = pow2;
    return static_cast<unsigned>((bytes - ARRAY_HEADER) / sizeof(void*));
}

// Says how large a node's shared array is to be, by the tunables; it is made when the first
// objects are to be put in (make_shared). Objects of the old one go back to their slabs.
static void setup_kmem_cache_node(kmem_cache* cache, int nid) {
    kmem_cache_node* n = get_node(cache, nid);
    const unsigned room = shared_entries(cache->shared, cache->batchcount);
    if (!n->alien)
        n->alien.store(alloc_alien_caches(cache, nid), std::memory_order_release);
    page_list list;
    array_cache* old = nullptr;
    {
        const spin_guard guard(n->list_lock);
        old = n->shared;
        n->shared = nullptr;
        n->shared_room = room;
        n->free_limit = cache->memcg_params.dying ? 0 : free_limit_of(cache);
        if (old)
            free_block(cache, old->entry, old->avail, n, &list);
    }
    slabs_destroy(cache, &list);
    free_arraycache(old);
}

// The shared array of a node, when the first flush has come. Without memory the next one tries
// again; a change of the tunables meanwhile wins.
void make_shared(kmem_cache* cache, kmem_cache_node* n) {
    const unsigned room = n->shared_room.exchange(0);
    array_cache* shared = alloc_arraycache(cache, room);
    const spin_guard guard(n->list_lock);
    if (!n->shared && !n->shared_room) {
        n->shared = shared;
        if (!shared)
            n->shared_room = room;
        return;
    }
    free_arraycache(shared);
}

// REQUIRES slab_mutex (or a cache that nobody knows yet).
static int __do_tune_cpucache(kmem_cache* cache, unsigned limit, unsigned batchcount,
                              unsigned shared) {
    cache->batchcount = batchcount;
    cache->limit = limit;
    cache->shared = shared;
    for (int nid = 0; nid < nr_node_ids(); ++nid)
        setup_kmem_cache_node(cache, nid);
    cache->request.fetch_add(1, std::memory_order_release);
    detail::slab_request_gen.fetch_add(1, std::memory_order_release);
    if (slab_cpu)
        serve_requests(cache, slab_cpu);
    return 0;
}

// A root cache's children get the same numbers.
int do_tune_cpucache(kmem_cache* cache, unsigned limit, unsigned batchcount, unsigned shared) {
    int err = __do_tune_cpucache(cache, limit, batchcount, shared);
    for (kmem_cache* c = cache->memcg_params.children; c && !err; c = c->memcg_params.children_next)
        err = __do_tune_cpucache(c, limit, batchcount, shared);
    return err;
}

// The numbers that fit the size of the objects; a child's are its root's.
int enable_cpucache(kmem_cache* cache) {
    if (is_slub(cache))
        return 0; // slots get their structures at first use
    if (const kmem_cache* root = cache->memcg_params.root_cache)
        return do_tune_cpucache(cache, root->limit, root->batchcount, root->shared);
    const unsigned size = cache->size;
    unsigned limit = 0;
    unsigned shared = 0;
    if (cache->flags & CFLGS_NO_ARRAY)
        return do_tune_cpucache(cache, 1, 1, 0);
    if (slab_get_tuning() == slab_tuning::linux_5_2) {
        limit = size > 131072 ? 1 : size > PAGE_SIZE ? 8 : size > 1024 ? 24 : size > 256 ? 54 : 120;
        shared = size <= PAGE_SIZE ? 8 : 0;
        return do_tune_cpucache(cache, limit, (limit + 1) / 2, shared);
    }
    // Three batches: who frees two of them and allocates two again, over and over, comes to rest
    // where neither finds the array full or empty.
    const unsigned batch = std::bit_floor(std::clamp(65536u / size, 1u, ARRAY_ENTRIES / 3));
    shared = size > 131072 ? 0 : batch == ARRAY_ENTRIES / 3 ? 32 : 16;
    return do_tune_cpucache(cache, size > 65536 ? 1 : 3 * batch, batch, shared);
}

// ---- slabs

namespace {

constinit std::atomic<const slab_rcu_ops*> rcu_ops{nullptr};

void asan_unpoison_slab([[maybe_unused]] page* slab, [[maybe_unused]] unsigned order) {
#if defined(SLABFWD_ASAN)
    __asan_unpoison_memory_region(page_address(slab), PAGE_SIZE << order);
#endif
}

} // namespace

page* kmem_getpages(kmem_cache* cache, gfp_t flags, int nid, unsigned order) {
    page* slab =
        alloc_pages_node(nid, (flags & ~(__GFP_ZERO | __GFP_NOFAIL)) | cache->allocflags, order);
    if (slab && !memcg_charge_slab(cache, flags, order)) {
        __free_pages(slab, order);
        return nullptr;
    }
    return slab;
}

void kmem_freepages(kmem_cache* cache, page* slab) {
    const unsigned order = page_order(page_to_pfn(slab));
    asan_unpoison_slab(slab, order);
    slab->slab_cache = nullptr;
    memcg_uncharge_slab(cache, order);
    __free_pages(slab, order);
}

static void kmem_rcu_free(rcu_head* head) {
    auto* raw = reinterpret_cast<std::byte*>(head) - offsetof(page, rcu);
    auto* slab = reinterpret_cast<page*>(raw);
    kmem_freepages(slab->slab_cache, slab);
}

void kmem_freepages_rcu(kmem_cache* cache, page* slab) {
    const slab_rcu_ops* ops = rcu_ops.load(std::memory_order_acquire);
    if ((cache->flags & SLAB_TYPESAFE_BY_RCU) && ops)
        ops->call_rcu(&slab->rcu, kmem_rcu_free);
    else
        kmem_freepages(cache, slab);
}

bool charge_slab(kmem_cache* cache) {
    const std::size_t max = cache->max_slabs.load(std::memory_order_relaxed);
    if (cache->nr_slabs.fetch_add(1, std::memory_order_relaxed) < max || !max)
        return true;
    uncharge_slab(cache);
    return false;
}

void uncharge_slab(kmem_cache* cache) {
    cache->nr_slabs.fetch_sub(1, std::memory_order_release);
}

namespace {

// The memory for the index of a new slab, and the place of its first object.
bool alloc_slabmgmt(kmem_cache* cache, page* slab, std::size_t colour_off, gfp_t flags) {
    auto* addr = static_cast<std::byte*>(page_address(slab));
    slab->s_mem = addr + colour_off + cache->red_left_pad;
    slab->active = 0;
    slab->hint = 0;
    if (cache->flags & CFLGS_OFF_SLAB)
        slab->freelist = kmem_cache_alloc(cache->freelist_cache, flags & ~__GFP_ZERO);
    else if (cache->flags & CFLGS_OBJFREELIST_SLAB) // the object that is given out last
        slab->freelist = index_to_obj(
            cache, slab,
            cache->random_seq ? random_object(cache, slab, cache->num - 1u) : cache->num - 1u);
    else
        slab->freelist = addr + (PAGE_SIZE << cache->gfporder) - cache->freelist_size;
    return slab->freelist != nullptr;
}

void init_freelist(kmem_cache* cache, page* slab) {
    if (!(cache->flags & CFLGS_BITMAP)) {
        for (unsigned i = 0; i < cache->num; ++i)
            static_cast<freelist_idx_t*>(slab->freelist)[i] =
                static_cast<freelist_idx_t>(cache->random_seq ? random_object(cache, slab, i) : i);
        return;
    }
    std::uint64_t* map = bitmap_of(slab);
    std::memset(map, 0, cache->freelist_size);
    for (unsigned i = 0; i < cache->num / 64; ++i)
        map[i] = ~std::uint64_t{0};
    if (const unsigned rest = cache->num % 64)
        map[cache->num / 64] = (std::uint64_t{1} << rest) - 1;
}

void cache_init_objs(kmem_cache* cache, page* slab) {
    init_freelist(cache, slab);
    if (cache->live.entry.load(std::memory_order_acquire) || (cache->flags & DEBUG_METADATA_FLAGS))
        setup_slab_debug(cache, slab);
    if (!cache->ctor && !detail::SLABFWD_POISONS)
        return;
    for (unsigned i = 0; i < cache->num; ++i) {
        void* obj = index_to_obj(cache, slab, i);
        if (cache->ctor)
            cache->ctor(obj);
#if defined(SLABFWD_ASAN)
        if (!(cache->flags & SLAB_TYPESAFE_BY_RCU))
            __asan_poison_memory_region(static_cast<std::byte*>(obj) - cache->red_left_pad,
                                        cache->size);
#endif
    }
}

std::size_t next_colour(kmem_cache* cache, kmem_cache_node* n) {
    const spin_guard guard(n->list_lock);
    const std::size_t colour = n->colour_next;
    n->colour_next = colour + 1 < cache->colour ? colour + 1 : 0;
    return colour < cache->colour ? colour * cache->colour_off : 0;
}

void slab_destroy(kmem_cache* cache, page* slab) {
    void* freelist = slab->freelist;
    kmem_freepages_rcu(cache, slab);
    if (cache->flags & CFLGS_OFF_SLAB)
        kmem_cache_free(cache->freelist_cache, freelist);
    // Last: a dying child without slabs may be gone right after.
    uncharge_slab(cache);
}

} // namespace

// A new slab that nobody knows yet; cache_grow_end() makes it known. NULL when out of memory.
page* cache_grow_begin(kmem_cache* cache, gfp_t flags, int nid) {
    if (!charge_slab(cache))
        return nullptr;
    page* slab = kmem_getpages(cache, flags, nid, cache->gfporder);
    if (slab) {
        const std::size_t offset = next_colour(cache, get_node(cache, slab->nid));
        if (alloc_slabmgmt(cache, slab, offset, flags)) {
            slab->slab_cache = cache;
            cache_init_objs(cache, slab);
            return slab;
        }
        kmem_freepages(cache, slab);
    }
    uncharge_slab(cache);
    return nullptr;
}

void slabs_destroy(kmem_cache* cache, page_list* list) {
    while (page* slab = list->first) {
        list->del(slab);
        slab_destroy(cache, slab);
    }
}

void slab_set_rcu_ops(const slab_rcu_ops* ops) {
    rcu_ops.store(ops, std::memory_order_release);
}

void rcu_barrier() {
    if (const slab_rcu_ops* ops = rcu_ops.load(std::memory_order_acquire); ops && ops->rcu_barrier)
        ops->rcu_barrier();
}

} // namespace slabfwd
