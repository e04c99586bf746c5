// SPDX-License-Identifier: BSD-3-Clause
//
// Zones: hashes of the prefixes of one length, and the slabs that nodes and aliases come from.
// A zone grows fourfold when it has more nodes than buckets. Growing copies the nodes, since a node
// can be in one chain only while readers may still be walking the old ones; when memory is short
// the zone simply stays as it is, and tries again with the next insertion. Threads: fn_zone_find on
// any slot; the rest under rtnl. Origin: net/ipv4/fib_hash.c (2.6.32), which grows under a lock.
#include "route/fib_zone.h"

#include <cerrno>
#include <mutex>
#include <new>

#include "alloc/kmalloc.h"

namespace slabfwd {

kmem_cache *fn_hash_kmem, *fn_alias_kmem, *in_ifaddr_cachep;

namespace {

/// Many more than most routers' prefixes of one length: a lookup that meets another prefix in the
/// bucket is one that the processor did not foresee.
constexpr uint32_t FZ_MIN_DIVISOR = 256;
/// Of the hosts' zone: so many that few addresses meet one of the own ones' buckets, of which each packet that is
/// not cached asks.
constexpr uint32_t FZ_HOSTS_DIVISOR = 1024;
constexpr uint32_t FZ_MAX_DIVISOR = KMALLOC_MAX_SIZE / sizeof(fib_node*);

std::mutex caches_lock;
unsigned caches_users = 0; ///< nets that have a FIB; under caches_lock

fz_hash_table* fz_hash_alloc(uint32_t divisor) {
    void* mem = kmalloc(sizeof(fz_hash_table), GFP_KERNEL);
    if (!mem)
        return nullptr;
    auto* ht = new (mem) fz_hash_table;
    ht->hashmask = divisor - 1;
    ht->bucket = static_cast<fib_node**>(kcalloc(divisor, sizeof(fib_node*), GFP_KERNEL));
    ht->used = static_cast<uint8_t*>(kcalloc(divisor, sizeof *ht->used, GFP_KERNEL));
    if (ht->bucket && ht->used)
        return ht;
    kfree(ht->used);
    kfree(ht->bucket);
    kfree(ht);
    return nullptr;
}

/// Counted by fn_hash::fn_nets.
bool is_other_net(be32_t key, int plen) {
    return plen != 32 && !(plen == 8 && ipv4_is_loopback(key));
}

/// Says of bucket i, which has changed, whether there is a node in it.
void fz_bucket_changed(fz_hash_table* ht, uint32_t i) {
    WRITE_ONCE(ht->used[i], ht->bucket[i] != nullptr);
}

/// Frees the buckets and every node that is still in them.
void fz_hash_free(fz_hash_table* ht) {
    for (uint32_t i = 0; i <= ht->hashmask; ++i)
        for (fib_node *f = ht->bucket[i], *next; f; f = next) {
            next = f->fn_hash;
            kmem_cache_free(fn_hash_kmem, f);
        }
    kfree(ht->used);
    kfree(ht->bucket);
    kfree(ht);
}

fib_node* fib_node_alloc(be32_t key, fib_alias* fa) {
    void* mem = kmem_cache_alloc(fn_hash_kmem, GFP_KERNEL);
    if (!mem)
        return nullptr;
    auto* f = new (mem) fib_node;
    f->fn_key = key;
    f->fn_alias = fa;
    return f;
}

void fib_node_free(fib_node* f) {
    kmem_cache_free(fn_hash_kmem, f);
}

fn_zone* fn_new_zone(fn_hash* t, int plen) {
    void* mem = kmalloc(sizeof(fn_zone), GFP_KERNEL);
    if (!mem)
        return nullptr;
    auto* fz = new (mem) fn_zone;
    fz->fz_order = plen;
    fz->fz_mask = inet_make_mask(plen);
    fz->fz_hash =
        fz_hash_alloc(plen == 32 ? FZ_HOSTS_DIVISOR : std::min(FZ_MIN_DIVISOR, 1u << plen));
    if (!fz->fz_hash) {
        kfree(fz);
        return nullptr;
    }
    fn_zone** link = &t->fn_zone_list;
    while (*link && (*link)->fz_order > plen)
        link = &(*link)->fz_next;
    fz->fz_next = *link;
    rcu_assign_pointer(*link, fz);
    rcu_assign_pointer(t->fn_zones[size_t(plen)], fz);
    return fz;
}

/// Copies the nodes of `from` into the empty buckets of `to`; false when memory ran out on the way.
bool fz_copy_nodes(const fn_zone* fz, const fz_hash_table* from, fz_hash_table* to) {
    for (uint32_t i = 0; i <= from->hashmask; ++i)
        for (const fib_node* f = from->bucket[i]; f; f = f->fn_hash) {
            fib_node* copy = fib_node_alloc(f->fn_key, f->fn_alias);
            if (!copy)
                return false;
            const uint32_t h = fn_hashfn(fz->fz_order, f->fn_key, to->hashmask);
            copy->fn_hash = to->bucket[h];
            to->bucket[h] = copy;
            fz_bucket_changed(to, h);
        }
    return true;
}

void fn_rehash_zone(fn_zone* fz) {
    fz_hash_table* old = fz->fz_hash;
    const uint64_t divisor = std::min<uint64_t>((uint64_t(old->hashmask) + 1) * 4, FZ_MAX_DIVISOR);
    if (fz->fz_order < 32 && divisor > uint64_t(1) << fz->fz_order)
        return;
    fz_hash_table* ht = fz_hash_alloc(uint32_t(divisor));
    if (!ht)
        return;
    if (!fz_copy_nodes(fz, old, ht)) {
        fz_hash_free(ht);
        return;
    }
    rcu_assign_pointer(fz->fz_hash, ht);
    call_rcu_free<fz_hash_table, fz_hash_free>(old);
}

kmem_cache* make_cache(const char* name, size_t size) {
    return kmem_cache_create(name, size, 0, SLAB_FAILSLAB, nullptr);
}

} // namespace

bool fn_insert_node(fn_hash* t, be32_t key, int plen, fib_alias* fa) {
    fn_zone* fz = t->fn_zones[size_t(plen)];
    if (!fz && !(fz = fn_new_zone(t, plen)))
        return false;
    fib_node* f = fib_node_alloc(key, fa);
    if (!f)
        return false;
    if (fz->fz_nent > fz->fz_hash->hashmask && fz->fz_hash->hashmask + 1 < FZ_MAX_DIVISOR)
        fn_rehash_zone(fz);
    fz_hash_table* ht = fz->fz_hash;
    const uint32_t h = fn_hashfn(fz->fz_order, key, ht->hashmask);
    f->fn_hash = ht->bucket[h];
    if (is_other_net(key, plen))
        WRITE_ONCE(t->fn_nets, t->fn_nets + 1);
    rcu_assign_pointer(ht->bucket[h], f);
    fz_bucket_changed(ht, h);
    ++fz->fz_nent;
    return true;
}

void fn_remove_node(fn_hash* t, fib_node* f, int plen) {
    fn_zone* fz = t->fn_zones[size_t(plen)];
    fz_hash_table* ht = fz->fz_hash;
    const uint32_t h = fn_hashfn(fz->fz_order, f->fn_key, ht->hashmask);
    fib_node** link = &ht->bucket[h];
    while (*link != f)
        link = &(*link)->fn_hash;
    rcu_assign_pointer(*link, f->fn_hash);
    if (is_other_net(f->fn_key, plen))
        WRITE_ONCE(t->fn_nets, t->fn_nets - 1);
    fz_bucket_changed(ht, h);
    --fz->fz_nent;
    call_rcu_free<fib_node, fib_node_free>(f);
}

void fn_hash_destroy(fn_hash* t) {
    for (fn_zone *fz = t->fn_zone_list, *next; fz; fz = next) {
        next = fz->fz_next;
        fz_hash_free(fz->fz_hash);
        kfree(fz);
    }
    *t = {};
}

int fib_hash_init() {
    std::lock_guard lock(caches_lock);
    if (caches_users++)
        return 0;
    fn_hash_kmem = make_cache("ip_fib_hash", sizeof(fib_node));
    fn_alias_kmem = make_cache("ip_fib_alias", sizeof(fib_alias));
    in_ifaddr_cachep = make_cache("in_ifaddr", sizeof(in_ifaddr));
    if (fn_hash_kmem && fn_alias_kmem && in_ifaddr_cachep)
        return 0;
    --caches_users;
    for (kmem_cache** cache : {&fn_hash_kmem, &fn_alias_kmem, &in_ifaddr_cachep}) {
        kmem_cache_destroy(*cache);
        *cache = nullptr;
    }
    return -ENOMEM;
}

void fib_hash_exit() {
    std::lock_guard lock(caches_lock);
    if (--caches_users)
        return;
    for (kmem_cache** cache : {&fn_hash_kmem, &fn_alias_kmem, &in_ifaddr_cachep}) {
        kmem_cache_destroy(*cache);
        *cache = nullptr;
    }
}

} // namespace slabfwd
