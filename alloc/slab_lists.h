// SPDX-License-Identifier: BSD-3-Clause
//
// slab_lists.h - taking objects from slabs and putting them back.
//
// Doors of slab_lists.cc; internal. REQUIRES the node's list_lock unless it says otherwise.
#pragma once

#include <cstddef>

#include "alloc/slab.h"

namespace slabfwd {

// Up to `batch` objects of the slab into `to`; returns how many.
std::size_t alloc_block(kmem_cache* cache, page* slab, void** to, std::size_t batch);
// Objects from the slabs of a node into `to`; returns how many there were.
std::size_t alloc_from_slabs(kmem_cache* cache, kmem_cache_node* n, void** to, std::size_t batch);
// Numbers of objects that left the slabs.
void account_allocs(kmem_cache* cache, kmem_cache_node* n, std::size_t got);
// A new slab; up to `batch` of its objects go to `to`, then it joins the lists. No lock held.
std::size_t grow(kmem_cache* cache, gfp_t flags, int nid, void** to, std::size_t batch);
// `nr` objects back onto their slabs. Slabs above the limit of free ones are left in `list`, for
// slabs_destroy() after the lock.
void free_block(kmem_cache* cache, void** objpp, std::size_t nr, kmem_cache_node* n,
                page_list* list);
// Takes a slab off the node's free ones and their counts, for slabs_destroy(). REQUIRES list_lock,
// and that there is one.
page* take_free_slab(const kmem_cache* cache, kmem_cache_node* n);
// A slab that cache_grow_begin() made joins the node. No lock held.
void cache_grow_end(kmem_cache* cache, page* slab);

} // namespace slabfwd
