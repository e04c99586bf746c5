// SPDX-License-Identifier: BSD-3-Clause
//
// slab_track.h - who allocated an object and who freed it (SLAB_STORE_USER).
//
// Door: set_track(), get_track(), print_tracking(). Tracks lie behind the object: one for the last
// allocation, one for the last free. A stack is kept as addresses; names are looked up when a
// report needs them.
// Threads: a track is written by the thread that has the object.
// Origin: mm/slub.c of Linux v5.2 (struct track). Difference: ages in ms, threads for CPUs.
#pragma once

#include "alloc/slab.h"

namespace slabfwd {

inline constexpr unsigned TRACK_ADDRS_COUNT = 12;

/// One allocation or free.
struct track {
    const void* addr;                     ///< return address of the call; NULL: never happened
    std::uint64_t when;                   ///< ms of the monotonic clock
    int pid;                              ///< thread
    std::uint16_t cpu;                    ///< its slot
    std::uint16_t nr;                     ///< addresses in addrs
    const void* addrs[TRACK_ADDRS_COUNT]; ///< the stack, innermost first, from the caller on
};

enum track_item { TRACK_ALLOC, TRACK_FREE };

/// Makes the first stack capture, which loads a library, before it matters.
void track_start();
inline track* get_track(const kmem_cache* cache, const void* object, track_item item) {
    auto* at = const_cast<std::byte*>(static_cast<const std::byte*>(object)) + cache->track_offset;
    return reinterpret_cast<track*>(at) + item;
}
/// The calling thread did it just now; `caller` is the return address of its call. No effect for
/// caches without SLAB_STORE_USER.
void set_track(const kmem_cache* cache, void* object, track_item item, const void* caller);
void init_tracking(const kmem_cache* cache, void* object);
/// A copy of a track, whatever AddressSanitizer thinks of where it lies.
track read_track(const kmem_cache* cache, const void* object, track_item item);
/// Reports both tracks of an object, as far as there are any.
void print_tracking(const kmem_cache* cache, const void* object);
/// Reports a track that is none of an object's: what is going on now.
void print_here(const char* what, const void* caller);
std::uint64_t track_now();

} // namespace slabfwd
