// SPDX-License-Identifier: BSD-3-Clause
//
// The zones of a table: a hash of nodes per prefix length, grown with its contents. Used by
// fib_hash.cc and fib_dump.cc only; rules of RCU in fib_lookup.h. Origin: net/ipv4/fib_hash.c
// (2.6.32): fn_new_zone, fn_rehash_zone, fib_find_node.
#pragma once

#include "route/fib_lookup.h"

namespace slabfwd {

extern kmem_cache *fn_hash_kmem, *fn_alias_kmem; ///< "ip_fib_hash", "ip_fib_alias"

/// The node of a masked key; null when there is none. Any slot, under RCU.
fib_node* fn_zone_find(const fn_zone* fz, be32_t key);
/// Makes and publishes a node with its first alias, with the zone if it is the first of its length,
/// and lets the zone grow. False when out of memory (nothing was published).
bool fn_insert_node(fn_hash* t, be32_t key, int plen, fib_alias* fa);
/// Takes a node out of its chain and frees it after a grace period; its aliases are the caller's.
void fn_remove_node(fn_hash* t, fib_node* f, int plen);
/// Frees the zones of an empty table; nobody reads any more.
void fn_hash_destroy(fn_hash* t);

} // namespace slabfwd
