// SPDX-License-Identifier: BSD-3-Clause
//
// slab_common.cc - making and ending caches, and how the allocator itself comes up.
//
// Doors: kmem_cache_create(), kmem_cache_destroy(), kmem_cache_init().
// Threads: slab_mutex guards slab_caches, names, aliases and reference counts. kmem_cache_init() is
// done once, by whoever comes first; others wait for it.
// Origin: mm/slab_common.c of Linux v5.2, kmem_cache_init() of mm/slab.c. Differences: caches keep
// their own name unless slab_set_merge(true); a failed destroy leaves the cache usable.
#include "alloc/array_cache.h"
#include "alloc/slab.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#include "alloc/memcg.h"
#include "alloc/slab_debug.h"
#include "alloc/slabinfo.h"
#include "alloc/slub.h"

namespace slabfwd {

constinit spinlock_t slab_mutex;
constinit cache_list slab_caches{nullptr, nullptr};
constinit std::atomic<std::uint32_t> slab_default_hooks{0};
constinit kmem_cache* kmem_cache_cache = nullptr;

namespace {

constinit std::atomic<slab_state_t> state{DOWN};
constinit std::atomic<slab_tuning> tuning{slab_tuning::throughput};
constinit std::atomic<slab_allocator> allocator{slab_allocator::slab};
constinit std::atomic<bool> merge{false};
constinit std::once_flag init_once;
constinit thread_local bool boots_here = false;

// The cache of caches before there is one.
alignas(kmem_cache) constinit std::byte kmem_cache_boot_storage[sizeof(kmem_cache)] = {};

// ---- start-up

kmem_cache* kmem_cache_boot() {
    return new (kmem_cache_boot_storage) kmem_cache{};
}

[[noreturn]] void panic(const char* what, const char* name) {
    report("panic: %s %s", what, name);
    std::abort();
}

// mm/slab.c, kmem_cache_init(), up to the kmalloc caches.
void slab_kmem_cache_init() {
    // 1. The cache of caches, static itself, with a static node.
    kmem_cache_cache = kmem_cache_boot();
    create_boot_cache(kmem_cache_cache, "kmem_cache", sizeof(kmem_cache), SLAB_HWCACHE_ALIGN, 0);
    set_slab_state(PARTIAL);
    // 2. The kmalloc cache that nodes come from, with the second static node.
    create_kmalloc_node_cache();
    set_slab_state(PARTIAL_NODE);
    // 3. Nodes of these two move out of static memory.
    for (kmem_cache* c = slab_caches.first; c; c = c->next)
        if (replace_static_nodes(c) != 0)
            panic("no memory for the nodes of", c->name);
}

void do_kmem_cache_init() {
    boots_here = true;
    if (slab_get_allocator() == slab_allocator::slub)
        slub_kmem_cache_init();
    else
        slab_kmem_cache_init();
    // 4. Where indices and arrays live, then the other kmalloc caches.
    slab_init_tables();
    create_kmalloc_caches();
    set_slab_state(UP);
    // 5. Arrays get their final size.
    for (kmem_cache* c = slab_caches.first; c; c = c->next)
        if (enable_cpucache(c) != 0)
            panic("no memory for the arrays of", c->name);
    // 6. All is there.
    publish_kmalloc_caches();
    set_slab_state(FULL);
    boots_here = false;
}

bool name_taken(const char* name) {
    for (const kmem_cache* c = slab_caches.first; c; c = c->next) {
        if (!is_root_cache(c))
            continue;
        if (std::strcmp(c->name, name) == 0)
            return true;
        for (const cache_alias* a = c->aliases; a; a = a->next)
            if (std::strcmp(a->name, name) == 0)
                return true;
    }
    return false;
}

constexpr unsigned align_up(unsigned n, unsigned a) {
    return (n + a - 1) / a * a;
}

} // namespace

bool slab_unmergeable(const kmem_cache* c) {
    return !is_root_cache(c) || (c->flags & SLAB_NEVER_MERGE) || c->ctor || c->usersize ||
           c->refcount < 0;
}

namespace {

// A further name for an existing cache that can serve the request; NULL: make a new one.
kmem_cache* __kmem_cache_alias(const char* name, unsigned size, unsigned align, slab_flags_t flags,
                               void (*ctor)(void*)) {
    kmem_cache* c = find_mergeable(size, align, flags, name, ctor);
    if (!c)
        return nullptr;
    auto* alias = static_cast<cache_alias*>(kmalloc(sizeof(cache_alias), GFP_KERNEL));
    char* copy = alias ? kstrdup(name, GFP_KERNEL) : nullptr;
    if (!copy) {
        kfree(alias);
        return nullptr;
    }
    *alias = {c->aliases, copy};
    c->aliases = alias;
    ++c->refcount;
    // Zeroing has to reach all of the larger one.
    c->object_size = std::max(c->object_size, size);
    c->inuse = std::max<unsigned>(c->inuse, align_up(size, BYTES_PER_WORD));
    return c;
}

// A cache that is not in the list yet. NULL with *err set.
kmem_cache* do_kmem_cache_create(const char* name, unsigned size, unsigned align,
                                 slab_flags_t flags, const kmem_cache_args& args, int* err,
                                 kmem_cache* root = nullptr, mem_cgroup* memcg = nullptr) {
    *err = -ENOMEM;
    void* mem = kmem_cache_alloc(kmem_cache_cache, GFP_KERNEL);
    if (!mem)
        return nullptr;
    auto* c = new (mem) kmem_cache{};
    c->name = kstrdup(name, GFP_KERNEL);
    c->object_size = size;
    c->align = align;
    c->useroffset = args.useroffset;
    c->usersize = args.usersize;
    c->ctor = args.ctor;
    c->use_freeptr_offset = args.use_freeptr_offset;
    c->freeptr_offset = args.freeptr_offset;
    c->sheaf_capacity = args.sheaf_capacity;
    c->refcount = 1;
    c->memcg_params.root_cache = root;
    c->memcg_params.memcg = memcg;
    if (c->name && (*err = __kmem_cache_create(c, flags)) == 0)
        return c;
    kfree(c->name);
    kmem_cache_free(kmem_cache_cache, c);
    return nullptr;
}

// What the rest of the arguments of a cache may be. 0 or -EINVAL.
int check_args(std::size_t size, slab_flags_t flags, const kmem_cache_args& args) {
    constexpr unsigned SHEAF_MAX = 1u << 16;
    if ((flags & ~SLAB_FLAGS_PERMITTED) || (args.align & (args.align - 1)) ||
        args.align > PAGE_SIZE)
        return -EINVAL;
    if (args.use_freeptr_offset &&
        (args.ctor || args.freeptr_offset % sizeof(void*) || (flags & SLAB_POISON) ||
         args.freeptr_offset + sizeof(void*) > size))
        return -EINVAL;
    if (args.sheaf_capacity > SHEAF_MAX && args.sheaf_capacity != kmem_cache_args::SHEAF_DEFAULT)
        return -EINVAL;
    return 0;
}

// May the request be served by a cache made for another one?
bool plain_request(const kmem_cache_args& args) {
    return !args.usersize && !args.use_freeptr_offset &&
           args.sheaf_capacity == kmem_cache_args::SHEAF_DEFAULT;
}

kmem_cache* creation_failed(const char* name, slab_flags_t flags, int err) {
    if (flags & SLAB_PANIC)
        panic("kmem_cache_create: failed to create slab", name ? name : "(no name)");
    errno = -err;
    return nullptr;
}

} // namespace

void set_slab_state(slab_state_t s) {
    state.store(s, std::memory_order_release);
}
bool slab_boots_here() {
    return boots_here;
}
slab_state_t slab_state() {
    return state.load(std::memory_order_acquire);
}

void kmem_cache_init() {
    if (slab_state() != FULL)
        std::call_once(init_once, do_kmem_cache_init);
}

int slab_set_tuning(slab_tuning t) {
    if (slab_state() != DOWN)
        return -EBUSY;
    tuning.store(t, std::memory_order_relaxed);
    return 0;
}

slab_tuning slab_get_tuning() {
    return tuning.load(std::memory_order_relaxed);
}
int slab_set_allocator(slab_allocator a) {
    if (slab_state() != DOWN)
        return -EBUSY;
    allocator.store(a, std::memory_order_relaxed);
    return 0;
}
slab_allocator slab_get_allocator() {
    return allocator.load(std::memory_order_relaxed);
}
slab_allocator kmem_cache_allocator(const kmem_cache* cache) {
    return is_slub(cache) ? slab_allocator::slub : slab_allocator::slab;
}
void slab_set_merge(bool on) {
    merge.store(on, std::memory_order_relaxed);
}
bool slab_nomerge() {
    return !merge.load(std::memory_order_relaxed);
}

void slab_caches_add(kmem_cache* c) {
    c->next = nullptr;
    c->prev = slab_caches.last;
    (slab_caches.last ? slab_caches.last->next : slab_caches.first) = c;
    slab_caches.last = c;
}

void slab_caches_del(kmem_cache* c) {
    (c->prev ? c->prev->next : slab_caches.first) = c->next;
    (c->next ? c->next->prev : slab_caches.last) = c->prev;
}

// mm/slab_common.c: SLAB_HWCACHE_ALIGN asks for a line, or the half, quarter ... that still holds
// the object; `align` is the least; a word always.
unsigned calculate_alignment(slab_flags_t flags, unsigned align, unsigned size) {
    if (flags & SLAB_HWCACHE_ALIGN) {
        unsigned ralign = cache_line_size;
        while (size <= ralign / 2)
            ralign /= 2;
        align = std::max(align, ralign);
    }
    return align_up(std::max<unsigned>(align, BYTES_PER_WORD), BYTES_PER_WORD);
}

// 0, -EINVAL or -EEXIST. REQUIRES slab_mutex.
int kmem_cache_sanity_check(const char* name, std::size_t size) {
    if (!name || !*name || std::strpbrk(name, " \t\n") || size < sizeof(void*) ||
        size > KMALLOC_MAX_SIZE) {
        report("kmem_cache_create(%s) integrity check failed", name ? name : "(no name)");
        return -EINVAL;
    }
    return name_taken(name) ? -EEXIST : 0;
}

// A cache whose objects can stand for those asked for, with less than a word wasted. REQUIRES
// slab_mutex.
kmem_cache* find_mergeable(unsigned size, unsigned align, slab_flags_t flags, const char*,
                           void (*ctor)(void*)) {
    if (slab_nomerge() || ctor || (flags & SLAB_NEVER_MERGE))
        return nullptr;
    size = align_up(size, BYTES_PER_WORD);
    align = calculate_alignment(flags, align, size);
    size = align_up(size, align);
    for (kmem_cache* c = slab_caches.last; c; c = c->prev) {
        if (slab_unmergeable(c) || size > c->size ||
            (flags & SLAB_MERGE_SAME) != (c->flags & SLAB_MERGE_SAME) || c->use_freeptr_offset ||
            c->size % align || c->size - size >= sizeof(void*) || align > c->align ||
            c->align % align)
            continue;
        return c;
    }
    return nullptr;
}

kmem_cache* kmem_cache_create(const char* name, std::size_t size, const kmem_cache_args* given,
                              slab_flags_t flags) {
    kmem_cache_init();
    kmem_cache_args args = given ? *given : kmem_cache_args{};
    const spin_guard guard(slab_mutex);
    int err = kmem_cache_sanity_check(name, size);
    if (!err)
        err = check_args(size, flags, args);
    if (err)
        return creation_failed(name, flags, err);
    const slab_flags_t panics = flags & SLAB_PANIC;
    const auto osize = static_cast<unsigned>(size);
    flags = kmem_cache_flags(osize, flags & CACHE_CREATE_MASK & ~SLAB_PANIC, name);
    if (args.allocator == slab_allocator::slub)
        flags |= CFLGS_SLUB;
    if (args.useroffset >= size || args.usersize > size - args.useroffset)
        args.usersize = args.useroffset = 0;
    if (plain_request(args))
        if (kmem_cache* alias = __kmem_cache_alias(name, osize, args.align, flags, args.ctor))
            return alias;
    kmem_cache* c = do_kmem_cache_create(name, osize, calculate_alignment(flags, args.align, osize),
                                         flags, args, &err);
    if (!c)
        return creation_failed(name, panics, err);
    slab_caches_add(c);
    return c;
}

kmem_cache* kmem_cache_create_usercopy(const char* name, std::size_t size, std::size_t align,
                                       slab_flags_t flags, std::size_t useroffset,
                                       std::size_t usersize, void (*ctor)(void*)) {
    kmem_cache_args args;
    args.align = static_cast<unsigned>(std::min<std::size_t>(align, ~0u));
    args.useroffset = static_cast<unsigned>(std::min<std::size_t>(useroffset, ~0u));
    args.usersize = static_cast<unsigned>(std::min<std::size_t>(usersize, ~0u));
    args.ctor = ctor;
    return kmem_cache_create(name, size, &args, flags);
}

kmem_cache* kmem_cache_create(const char* name, std::size_t size, std::size_t align,
                              slab_flags_t flags, void (*ctor)(void*)) {
    return kmem_cache_create_usercopy(name, size, align, flags, 0, 0, ctor);
}

int kmem_cache_destroy(kmem_cache* cache) {
    if (!cache)
        return 0;
    {
        const spin_guard guard(slab_mutex);
        if (cache->refcount > 1) {
            --cache->refcount;
            cache_alias* alias = cache->aliases;
            cache->aliases = alias->next;
            kfree(alias->name);
            kfree(alias);
            return 0;
        }
        if (cache->flags & CFLGS_KMALLOC)
            return -EINVAL;
        if (shutdown_memcg_caches(cache) != 0 || __kmem_cache_shutdown(cache) != 0)
            return -EBUSY;
        slab_caches_del(cache);
    }
    if (cache->flags & SLAB_TYPESAFE_BY_RCU)
        rcu_barrier(); // pages on their way back name the cache
    free_cache(cache);
    return 0;
}

// The memory of a cache that is in no list and has no slabs.
void free_cache(kmem_cache* cache) {
    __kmem_cache_release(cache);
    memcg_free_cache_params(cache);
    kfree(cache->name);
    kmem_cache_free(kmem_cache_cache, cache);
}

// A group's cache under a root cache, in no list yet (memcg_create_kmem_cache). NULL when out of
// memory. REQUIRES slab_mutex.
kmem_cache* create_child_cache(kmem_cache* root, mem_cgroup* memcg, const char* name) {
    int err = 0;
    kmem_cache_args args;
    args.useroffset = root->useroffset;
    args.usersize = root->usersize;
    args.ctor = root->ctor;
    args.use_freeptr_offset = root->use_freeptr_offset;
    args.freeptr_offset = root->freeptr_offset;
    args.sheaf_capacity = root->sheaf_capacity;
    // Debugging as it is now, which may not be what the root was made with.
    constexpr slab_flags_t kept =
        (CACHE_CREATE_MASK | CFLGS_SLUB) & ~(SLAB_DEBUG_FLAGS | SLAB_FAILSLAB);
    const slab_flags_t flags = (root->flags & kept) | slab_debug_flags(root);
    kmem_cache* c =
        do_kmem_cache_create(name, root->object_size, root->align, flags, args, &err, root, memcg);
    if (c && is_slub(c))
        slub_propagate_attrs(c);
    return c;
}

// A cache made while the list has no lock yet; ends the program when it cannot be made.
void create_boot_cache(kmem_cache* c, const char* name, unsigned size, slab_flags_t flags,
                       unsigned align) {
    c->name = name;
    c->object_size = size;
    c->align = calculate_alignment(flags, align, size);
    c->refcount = 1;
    c->sheaf_capacity = kmem_cache_args::SHEAF_DEFAULT;
    if (slab_get_allocator() == slab_allocator::slub)
        flags |= CFLGS_SLUB;
    if (__kmem_cache_create(c, (flags & ~SLAB_PANIC) | CFLGS_KMALLOC) != 0)
        panic("creation of boot cache failed:", name);
    slab_caches_add(c);
}

void kmem_cache_set_max(kmem_cache* cache, std::size_t objects) {
    const std::size_t slabs = objects ? std::max<std::size_t>(objects / cache->num, 1) : 0;
    cache->max_slabs.store(slabs, std::memory_order_relaxed);
}

kmem_cache* find_cache(std::string_view name) {
    const spin_guard guard(slab_mutex);
    for (kmem_cache* c = slab_caches.first; c; c = c->next) {
        if (!is_root_cache(c))
            continue;
        if (name == c->name)
            return c;
        for (const cache_alias* a = c->aliases; a; a = a->next)
            if (name == a->name)
                return c;
    }
    return nullptr;
}

void slab_set_hooks(std::uint32_t set, std::uint32_t clear, kmem_cache* only) {
    const spin_guard guard(slab_mutex);
    if (!only)
        slab_default_hooks = (slab_default_hooks.load(std::memory_order_relaxed) | set) & ~clear;
    for (kmem_cache* c = slab_caches.first; c; c = c->next) {
        if (only && c != only && c->memcg_params.root_cache != only)
            continue;
        c->hooks = (c->hooks.load(std::memory_order_relaxed) | set) & ~clear;
        c->request.fetch_add(1, std::memory_order_release);
        if (slab_cpu)
            serve_requests(c, slab_cpu);
    }
    detail::slab_request_gen.fetch_add(1, std::memory_order_release);
}

// From now on root caches with SLAB_ACCOUNT ask for whom each call is.
void slab_set_account_hooks() {
    const spin_guard guard(slab_mutex);
    for (kmem_cache* c = slab_caches.first; c; c = c->next) {
        c->hooks.fetch_or(memcg_hooks(c, c->flags));
        c->request.fetch_add(1, std::memory_order_release);
        if (slab_cpu)
            serve_requests(c, slab_cpu);
    }
    detail::slab_request_gen.fetch_add(1, std::memory_order_release);
}

} // namespace slabfwd
