// SPDX-License-Identifier: BSD-3-Clause
//
// slab_live.h - the live map: which objects are with a caller, beside the objects.
//
// Doors: live_take() when an object is given out, live_drop() when it comes back (kmem_cache.h);
// live_map_open() for a cache. What the hardened mode and the debugging checks stand on.
// An entry of 16 bits stands for each 2^shift bytes of the address range, 2^shift being the largest
// power of two in the size of the objects: so no entry has two objects. It holds the low bits of
// the object's address plus the cache's mark while the object is out, and another mark of the cache
// while it is not. An address that is freed is right when its entry is just that: a second free
// finds the other mark, an object of another cache other marks, an address inside an object another
// address. No slab is looked at. Anything else in an entry means that the cache did not keep the
// map when the object was given out: not known, no fault. A cache gets new marks when it starts to
// keep the map again, so that what it left there is not mistaken. Addresses are multiples of 8,
// marks 8n + 1 and 8n + 2: so the three kinds never meet. Threads: an entry is written by whoever
// takes or drops the object, with plain atomic stores. Two threads that free one object at the same
// moment may both find it out; then the second of the two that get it afterwards finds it out
// already (live_take() fails), or its slab has it free twice. Origin: ours.
#pragma once

#include "alloc/slab.h"

namespace slabfwd {

inline constexpr unsigned LIVE_SHIFT_MIN = 3;
/// From this object size on an entry stands for a page.
inline constexpr unsigned LIVE_SHIFT_MAX = PAGE_SHIFT;

using detail::live_drop;
using detail::live_take;

/// Is the object with a caller? (Not known: as if not.)
inline bool live_is_out(const kmem_cache* cache, const void* object) {
    const live_map* m = &cache->live;
    return m->entry.load(std::memory_order_acquire) &&
           detail::live_at(m, object).load(std::memory_order_relaxed) ==
               detail::live_value(object, m->tag);
}
/// The cache's mark if it keeps the map now; 0: it does not. Read once for one object: the mark and
/// whether it counts come in one word.
inline std::uint32_t live_tag(const kmem_cache* cache) {
    return cache->hooks.load(std::memory_order_acquire) >> HOOK_TAG_SHIFT;
}
/// Does the cache have a map?
inline bool has_live_map(const kmem_cache* cache) {
    return cache->live.entry.load(std::memory_order_acquire) != nullptr;
}
/// A map, and marks that none of the cache's objects has yet: what callers hold is not known. They
/// count when they are in kmem_cache::hooks. 0, -ENOMEM, -ENOSPC (no mark left). REQUIRES
/// slab_mutex or a cache that nobody knows yet.
int live_map_open(kmem_cache* cache);
/// Gives the marks back. REQUIRES that nobody uses the cache.
void live_map_close(kmem_cache* cache);
/// A slab was made: none of its objects is out.
void live_map_new_slab(const kmem_cache* cache, const page* slab);

} // namespace slabfwd
