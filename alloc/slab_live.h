// SPDX-License-Identifier: BSD-3-Clause
//
// slab_live.h - the live map: which objects are with a caller, beside the objects.
//
// Doors: live_take() when an object is given out, live_drop() when it comes back; live_map_open()
// for a cache. What the hardened mode and the debugging checks stand on.
// An entry of 16 bits stands for each 2^live_shift bytes of the address range, 2^live_shift being
// the largest power of two in the size of the objects: so no entry has two objects. It holds 0
// (no object here is out) or the cache's mark and the object's place within those bytes. An
// address that is freed is right when its entry is just that: a second free finds 0, an object of
// another cache another mark, an address inside an object another place. No slab is looked at.
// Caches with the same shift share a map and have marks of their own.
// Threads: an entry is written by whoever takes or drops the object, with plain atomic stores. Two
// threads that free one object at the same moment may both find it out; then the second of the two
// that get it afterwards finds it out already (live_take() fails), or its slab has it free twice.
// Origin: ours.
#pragma once

#include <bit>

#include "alloc/slab.h"

namespace slabfwd {

using live_entry = std::atomic<std::uint16_t>;

/// The object was there before its cache had a map: whether it is out is not known.
inline constexpr std::uint16_t LIVE_UNKNOWN = 0xffff;
/// From this object size on an entry stands for a page.
inline constexpr unsigned LIVE_SHIFT_MIN = 3;
inline constexpr unsigned LIVE_SHIFT_MAX = PAGE_SHIFT;

// What the entry of an object that is out holds; `offset` from the start of the range. The
// rotation takes the low bits, zero in an object's address, out of the 16 bits' reach.
inline std::uint64_t live_value(const kmem_cache* cache, std::uint64_t offset) {
    return std::rotr(offset & cache->live_mask, LIVE_SHIFT_MIN) + cache->live_tag;
}

inline std::uint64_t live_offset(const void* object) {
    return static_cast<std::uint64_t>(static_cast<const std::byte*>(object) - detail::mem.base);
}

inline live_entry& live_at(const kmem_cache* cache, std::uint64_t offset) {
    return cache->live_map[offset >> cache->live_shift];
}

/// An object goes to a caller. False: a caller has it already. REQUIRES an object of the cache.
inline bool live_take(const kmem_cache* cache, const void* object) {
    const std::uint64_t offset = live_offset(object);
    live_entry& entry = live_at(cache, offset);
    const std::uint64_t value = live_value(cache, offset);
    if (entry.load(std::memory_order_relaxed) == value) [[unlikely]]
        return false;
    entry.store(static_cast<std::uint16_t>(value), std::memory_order_relaxed);
    return true;
}

/// An address comes back. False: no caller has an object of this cache there.
inline bool live_drop(const kmem_cache* cache, const void* address) {
    const std::uint64_t offset = live_offset(address);
    if (offset >= detail::mem.bytes) [[unlikely]]
        return false;
    live_entry& entry = live_at(cache, offset);
    if (entry.load(std::memory_order_relaxed) != live_value(cache, offset)) [[unlikely]]
        return false;
    entry.store(0, std::memory_order_relaxed);
    return true;
}

/// Is the object with a caller? (Not known: as if not.)
inline bool live_is_out(const kmem_cache* cache, const void* object) {
    const std::uint64_t offset = live_offset(object);
    return live_at(cache, offset).load(std::memory_order_relaxed) == live_value(cache, offset);
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
