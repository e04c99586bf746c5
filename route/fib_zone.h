// SPDX-License-Identifier: BSD-3-Clause
//
// The zones of a table: a hash of nodes per prefix length, grown with its contents. Used by
// the tables' own files and by route_list.cc, which looks for this host's addresses; rules of RCU
// in fib_lookup.h. Origin: net/ipv4/fib_hash.c (2.6.32):
// fn_new_zone, fn_rehash_zone, fib_find_node.
#pragma once

#include "route/fib_lookup.h"

namespace slabfwd {

extern kmem_cache *fn_hash_kmem, *fn_alias_kmem; ///< "ip_fib_hash", "ip_fib_alias"

/// Of hosts, asked for by any packet that is not cached: the cheapest that scatters.
[[gnu::always_inline]] inline uint32_t fn_hashfn_host(be32_t key, uint32_t hashmask) {
    return uint32_t(uint64_t(key.raw) * 0x9e3779b97f4a7c15u >> 32) & hashmask;
}
inline uint32_t fn_hashfn(int order, be32_t key, uint32_t hashmask) {
    if (order == 32)
        return fn_hashfn_host(key, hashmask);
    // Only the prefix' bits count. Neighbours stay neighbours, so that a sorted table loads by
    // cache lines; what the upper bits tell apart is folded in, many times over.
    const uint32_t h = uint32_t(uint64_t(be32_to_cpu(key)) >> (32 - order));
    return (h ^ (h >> 16) * 0x9e3779b1u >> 12 ^ h >> 9 << 4) & hashmask;
}
/// The node of a masked key; null when there is none. Any slot, under RCU.
inline fib_node* fn_zone_find(const fn_zone* fz, be32_t key) {
    const fz_hash_table* ht = rcu_dereference(fz->fz_hash);
    fib_node* f = rcu_dereference(ht->bucket[fn_hashfn(fz->fz_order, key, ht->hashmask)]);
    while (f && f->fn_key != key)
        f = rcu_dereference(f->fn_hash);
    return f;
}
/// Makes and publishes a node with its first alias, with the zone if it is the first of its length,
/// and lets the zone grow. False when out of memory (nothing was published).
bool fn_insert_node(fn_hash* t, be32_t key, int plen, fib_alias* fa);
/// Takes a node out of its chain and frees it after a grace period; its aliases are the caller's.
void fn_remove_node(fn_hash* t, fib_node* f, int plen);
/// Frees the zones of an empty table; nobody reads any more.
void fn_hash_destroy(fn_hash* t);

} // namespace slabfwd
