// SPDX-License-Identifier: BSD-3-Clause
//
// slab_live.h - the live map: which objects are with a caller, beside the objects.
//
// Doors: live_take() when an object is given out, live_drop() when it comes back (kmem_cache.h);
// live_map_open() for a cache. What the hardened mode and the debugging checks stand on.
// An entry of 16 bits stands for each 2^shift bytes of the address range, 2^shift being the largest
// power of two in the size of the objects: so no entry has two objects. It holds 0 (no object here
// is out) or the low bits of the object's address plus the cache's mark. An address that is freed
// is right when its entry is just that: a second free finds 0, an object of another cache another
// mark, an address inside an object another address. No slab is looked at.
// Marks are no multiples of 8, addresses of objects are: so the sum is neither 0 nor LIVE_UNKNOWN.
// Threads: an entry is written by whoever takes or drops the object, with plain atomic stores. Two
// threads that free one object at the same moment may both find it out; then the second of the two
// that get it afterwards finds it out already (live_take() fails), or its slab has it free twice.
// Origin: ours.
#pragma once

#include "alloc/slab.h"

namespace slabfwd {

/// The object was there before its cache kept the map: whether it is out is not known.
inline constexpr std::uint16_t LIVE_UNKNOWN = 8;
inline constexpr unsigned LIVE_SHIFT_MIN = 3;
/// From this object size on an entry stands for a page.
inline constexpr unsigned LIVE_SHIFT_MAX = PAGE_SHIFT;

using detail::live_drop;
using detail::live_take;

/// Is the object with a caller? (Not known: as if not.)
inline bool live_is_out(const kmem_cache* cache, const void* object) {
    const live_map* m = &cache->live;
    return m->entry && detail::live_at(m, object).load(std::memory_order_relaxed) ==
                           detail::live_value(m, object);
}

/// A map and a mark for a cache; objects of slabs that it has are LIVE_UNKNOWN. 0, -ENOMEM,
/// -ENOSPC (no mark left). REQUIRES slab_mutex or a cache that nobody knows yet.
int live_map_open(kmem_cache* cache);
/// The map was not kept for a while: all objects of the cache's slabs are LIVE_UNKNOWN again.
void live_map_forget(kmem_cache* cache);
/// Gives the mark back.
void live_map_close(kmem_cache* cache);
/// A slab was made: none of its objects is out.
void live_map_new_slab(const kmem_cache* cache, const page* slab);

} // namespace slabfwd
