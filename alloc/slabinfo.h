// SPDX-License-Identifier: BSD-3-Clause
//
// slabinfo.h - what the caches hold: numbers and the text of /proc/slabinfo (version 2.1).
//
// Doors: slabinfo_text(), slabinfo_list(), slabinfo_write().
// Threads: any thread, at any time; counts of other threads are read without stopping them and
// may be a moment old.
// Origin: mm/slab_common.c (slab_show, cache_show) and mm/slab.c (get_slabinfo, slabinfo_write)
// of Linux v5.2. Difference: the kernel counts the objects in per-CPU arrays and the shared array
// as active; here active_objs are those that callers hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kmem_cache.h"

namespace slabfwd {

/// One cache's numbers; the first group are the columns of /proc/slabinfo under their names.
struct slabinfo {
    std::string name;
    std::size_t active_objs = 0; ///< objects that callers hold
    std::size_t num_objs = 0;    ///< objects in all slabs
    unsigned objsize = 0;        ///< bytes from one object to the next
    unsigned objperslab = 0;
    unsigned pagesperslab = 0;
    unsigned limit = 0;
    unsigned batchcount = 0;
    unsigned sharedfactor = 0;
    std::size_t active_slabs = 0; ///< slabs with an object out (to arrays or callers)
    std::size_t num_slabs = 0;
    std::size_t sharedavail = 0; ///< objects in the shared arrays

    slab_allocator allocator = slab_allocator::slab;
    unsigned object_size = 0;   ///< bytes that the creator asked for
    unsigned align = 0;         ///< bytes
    std::size_t cpu_objs = 0;   ///< objects in per-CPU arrays
    std::size_t array_objs = 0; ///< of active_objs, those that hold the allocator's own arrays
    std::size_t free_objs = 0;  ///< free objects on slabs
    std::size_t alien_objs = 0; ///< objects on their way to their node
    std::uint64_t num_allocations = 0; ///< objects moved from slabs to arrays or callers
    std::uint64_t high_mark = 0;       ///< most objects off the slabs at once
    std::uint64_t grown = 0;           ///< slabs made
    std::uint64_t reaped = 0;          ///< slabs given back
    std::uint64_t errors = 0;          ///< allocations that failed
    std::uint64_t max_freeable = 0;
    std::uint64_t node_allocs = 0;
    std::uint64_t node_frees = 0;
    std::uint64_t node_overflow = 0;
    std::uint64_t allochit = 0; ///< hits count while statistics are on (slab_statistics)
    std::uint64_t allocmiss = 0;
    std::uint64_t freehit = 0;
    std::uint64_t freemiss = 0;
    std::vector<std::string> aliases; ///< further names of the cache
};

/// One cache's numbers.
slabinfo get_slabinfo(kmem_cache* cache);
/// All caches, newest last.
std::vector<slabinfo> slabinfo_list();
/// The cache of that name (or alias); NULL when there is none. The caller keeps it alive.
kmem_cache* find_cache(std::string_view name);

/// The text of /proc/slabinfo, version 2.1, in the kernel's format; with the columns globalstat
/// and cpustat when `statistics` is set.
std::string slabinfo_text(bool statistics = false);

/// Change the tunables: limit >= 1, 1 <= batchcount <= limit, shared >= 0 (room of the shared array
/// in batchcounts). 0, -EINVAL, -ENOMEM. Arrays that have the room change at once, others when
/// their owner comes by.
int kmem_cache_tune(kmem_cache* cache, unsigned limit, unsigned batchcount, unsigned shared);
/// A line as one writes it to /proc/slabinfo: "NAME limit batchcount shared". 0, -EINVAL.
int slabinfo_write(std::string_view line);

/// Count hits too (every call then takes the slow way). Off by default.
void slab_statistics(kmem_cache* cache, bool on);

/// Check everything that must hold: each slab's list, counts and free index; arrays + shared +
/// slabs = total. REQUIRES that no other thread uses the cache. For tests. True when all is right,
/// else `why` (if given) says what is not.
bool kmem_cache_is_valid(kmem_cache* cache, std::string* why = nullptr);

} // namespace slabfwd
