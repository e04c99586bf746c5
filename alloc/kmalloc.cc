// SPDX-License-Identifier: BSD-3-Clause
//
// kmalloc.cc - memory of any size.
//
// Door: kmalloc.h.
// Threads: any. kmalloc_caches[][] is filled once by kmem_cache_init() and then only read.
// Origin: mm/slab_common.c (kmalloc_info, size_index, kmalloc_slab), mm/slab.c (__do_kmalloc,
// kfree, ksize) and mm/util.c of Linux v5.2.
#include "alloc/kmalloc.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>

#include "alloc/slab.h"

namespace slabfwd {

constinit std::atomic<kmem_cache*> kmalloc_caches[NR_KMALLOC_TYPES][KMALLOC_SHIFT_HIGH + 1] = {};

namespace {

struct kmalloc_info_struct {
    const char* name[NR_KMALLOC_TYPES];
    unsigned size;
};

// By kmalloc_index(). Entries below KMALLOC_SHIFT_LOW but for 1 and 2 have no cache.
constexpr kmalloc_info_struct kmalloc_info[KMALLOC_SHIFT_HIGH + 1] = {
    {{nullptr, nullptr, nullptr}, 0},
    {{"kmalloc-96", "kmalloc-rcl-96", "kmalloc-cg-96"}, 96},
    {{"kmalloc-192", "kmalloc-rcl-192", "kmalloc-cg-192"}, 192},
    {{nullptr, nullptr, nullptr}, 8},
    {{nullptr, nullptr, nullptr}, 16},
    {{"kmalloc-32", "kmalloc-rcl-32", "kmalloc-cg-32"}, 32},
    {{"kmalloc-64", "kmalloc-rcl-64", "kmalloc-cg-64"}, 64},
    {{"kmalloc-128", "kmalloc-rcl-128", "kmalloc-cg-128"}, 128},
    {{"kmalloc-256", "kmalloc-rcl-256", "kmalloc-cg-256"}, 256},
    {{"kmalloc-512", "kmalloc-rcl-512", "kmalloc-cg-512"}, 512},
    {{"kmalloc-1k", "kmalloc-rcl-1k", "kmalloc-cg-1k"}, 1024},
    {{"kmalloc-2k", "kmalloc-rcl-2k", "kmalloc-cg-2k"}, 2048},
    {{"kmalloc-4k", "kmalloc-rcl-4k", "kmalloc-cg-4k"}, 4096},
    {{"kmalloc-8k", "kmalloc-rcl-8k", "kmalloc-cg-8k"}, 8192},
};

constexpr unsigned INDEX_NODE = kmalloc_index(sizeof(kmem_cache_node));

// The caches as kmem_cache_init() makes them; other threads see none before all are there.
constinit kmem_cache* boot_caches[NR_KMALLOC_TYPES][KMALLOC_SHIFT_HIGH + 1] = {};

// kmalloc_index() of sizes up to 192, by (size - 1) / 8.
consteval std::array<std::uint8_t, 24> setup_kmalloc_cache_index_table() {
    std::array<std::uint8_t, 24> table{};
    for (unsigned i = 0; i < table.size(); ++i)
        table[i] = static_cast<std::uint8_t>(kmalloc_index(i * 8 + 8));
    return table;
}
constexpr auto size_index = setup_kmalloc_cache_index_table();

void new_kmalloc_cache(unsigned index, kmalloc_cache_type type) {
    const kmalloc_info_struct& info = kmalloc_info[index];
    const slab_flags_t flags = type == KMALLOC_RECLAIM  ? SLAB_RECLAIM_ACCOUNT
                               : type == KMALLOC_CGROUP ? SLAB_ACCOUNT
                                                        : 0;
    boot_caches[type][index] = create_kmalloc_cache(
        info.name[type], info.size, kmem_cache_flags(info.size, flags, info.name[type]));
}

// The head page of an address that kmalloc() or a cache gave; NULL (and a report) for others.
page* head_page_of(const void* p, const char* what) {
    if (virt_addr_valid(p)) {
        const std::size_t pfn = virt_to_pfn(p);
        if (!(detail::mem.state[pfn] & detail::STATE_FREE)) {
            page* head = virt_to_head_page(p);
            if (head->slab_cache || page_address(head) == p)
                return head;
        }
    }
    report("BUG: %s of %p, which is not allocated here", what, p);
    return nullptr;
}

void* kmalloc_large_node(std::size_t size, gfp_t flags, int nid) {
    if (size > KMALLOC_MAX_SIZE)
        return nullptr;
    page* p = alloc_pages_node(nid, flags | __GFP_COMP, get_order(size));
    return p ? page_address(p) : nullptr;
}

SLAB_ENTRY void* __do_kmalloc_node(std::size_t size, gfp_t flags, int nid) {
    if (size > KMALLOC_MAX_CACHE_SIZE)
        return kmalloc_large_node(size, flags, nid);
    if (size == 0)
        return ZERO_SIZE_PTR;
    kmem_cache* cache = kmalloc_slab(size, flags);
    if (!cache && !slab_boots_here()) {
        kmem_cache_init();
        cache = kmalloc_slab(size, flags);
    }
    if (!cache)
        return nullptr;
    return nid == NUMA_NO_NODE ? kmem_cache_alloc(cache, flags)
                               : kmem_cache_alloc_node(cache, flags, nid);
}

SLAB_ENTRY void* __do_kmalloc(std::size_t size, gfp_t flags) {
    return __do_kmalloc_node(size, flags, NUMA_NO_NODE);
}

} // namespace

// Aligned to the largest power of two in the size: to all of it where it is one.
kmem_cache* create_kmalloc_cache(const char* name, unsigned size, slab_flags_t flags) {
    void* mem = kmem_cache_alloc(kmem_cache_cache, GFP_NOWAIT);
    if (!mem) {
        report("panic: out of memory when creating slab %s", name);
        std::abort();
    }
    auto* c = new (mem) kmem_cache{};
    const unsigned align = std::min<unsigned>(size & (0u - size), PAGE_SIZE);
    create_boot_cache(c, name, size, flags, align);
    return c;
}

void create_kmalloc_node_cache() {
    new_kmalloc_cache(INDEX_NODE, KMALLOC_NORMAL);
}

void create_kmalloc_caches() {
    for (unsigned type = KMALLOC_NORMAL; type < NR_KMALLOC_TYPES; ++type)
        for (unsigned i = 1; i <= KMALLOC_SHIFT_HIGH; ++i)
            if (kmalloc_info[i].name[type] && !boot_caches[type][i])
                new_kmalloc_cache(i, static_cast<kmalloc_cache_type>(type));
}

void publish_kmalloc_caches() {
    for (unsigned type = KMALLOC_NORMAL; type < NR_KMALLOC_TYPES; ++type)
        for (unsigned i = 1; i <= KMALLOC_SHIFT_HIGH; ++i)
            kmalloc_caches[type][i].store(boot_caches[type][i], std::memory_order_release);
}

kmem_cache* kmalloc_slab(std::size_t size, gfp_t flags) {
    if (size == 0 || size > KMALLOC_MAX_CACHE_SIZE)
        return nullptr;
    const unsigned index =
        size <= 192 ? size_index[(size - 1) / 8] : static_cast<unsigned>(std::bit_width(size - 1));
    kmem_cache* c = kmalloc_caches[kmalloc_type(flags)][index].load(std::memory_order_acquire);
    return !c && slab_boots_here() ? boot_caches[kmalloc_type(flags)][index] : c;
}

SLAB_ENTRY void* __kmalloc(std::size_t size, gfp_t flags) {
    return __do_kmalloc(size, flags);
}

void* kmalloc_large(std::size_t size, gfp_t flags) {
    return kmalloc_large_node(size, flags, NUMA_NO_NODE);
}

SLAB_ENTRY void* kmalloc_node(std::size_t size, gfp_t flags, int nid) {
    return __do_kmalloc_node(size, flags, nid);
}

SLAB_ENTRY void kfree(const void* p) {
    if (ZERO_OR_NULL_PTR(p))
        return;
    page* head = head_page_of(p, "kfree");
    if (!head)
        return;
    if (kmem_cache* cache = head->slab_cache)
        kmem_cache_free(cache, const_cast<void*>(p));
    else
        __free_pages(head, page_order(page_to_pfn(head)));
}

SLAB_ENTRY void kfree_sensitive(void* p) {
    if (const std::size_t n = ksize(p)) {
        std::memset(p, 0, n);
        __asm__ volatile("" : : "r"(p) : "memory"); // the zeros are to stay
    }
    kfree(p);
}

std::size_t ksize(const void* p) {
    if (ZERO_OR_NULL_PTR(p))
        return 0;
    const page* head = head_page_of(p, "ksize");
    if (!head)
        return 0;
    return head->slab_cache ? head->slab_cache->object_size
                            : PAGE_SIZE << page_order(page_to_pfn(head));
}

SLAB_ENTRY void* krealloc(void* p, std::size_t new_size, gfp_t flags) {
    if (new_size == 0) {
        kfree(p);
        return ZERO_SIZE_PTR;
    }
    const std::size_t old_size = ksize(p);
    if (old_size >= new_size)
        return p;
    void* q = __kmalloc(new_size, flags);
    if (q && old_size) {
        std::memcpy(q, p, old_size);
        kfree(p);
    }
    return q;
}

SLAB_ENTRY char* kstrdup(const char* s, gfp_t flags) {
    if (!s)
        return nullptr;
    const std::size_t n = std::strlen(s) + 1;
    auto* copy = static_cast<char*>(__kmalloc(n, flags));
    if (copy)
        std::memcpy(copy, s, n);
    return copy;
}

kmem_cache* virt_to_cache(const void* object) {
    if (!virt_addr_valid(object) || (detail::mem.state[virt_to_pfn(object)] & detail::STATE_FREE))
        return nullptr;
    return virt_to_head_page(object)->slab_cache;
}

int __check_heap_object(const void* ptr, std::size_t n) {
    const kmem_cache* c = virt_to_cache(ptr);
    if (!c)
        return -EFAULT;
    const page* slab = virt_to_slab(c, ptr);
    const std::size_t index = obj_to_index(c, slab, ptr);
    const auto offset =
        static_cast<std::size_t>(static_cast<const std::byte*>(ptr) -
                                 static_cast<const std::byte*>(index_to_obj(c, slab, index)));
    if (index >= objs_per_slab(c, slab) || offset < c->useroffset ||
        offset - c->useroffset > c->usersize || n > c->useroffset + c->usersize - offset)
        return -EFAULT;
    return 0;
}

} // namespace slabfwd
