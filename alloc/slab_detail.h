// SPDX-License-Identifier: BSD-3-Clause
//
// slab_detail.h - where a cache's objects are: per CPU slot, per node, and what lies idle.
//
// Doors: get_slab_detail(), slab_detail_text().
// Threads: any; counts of other threads are read without stopping them.
// Origin: ours; the numbers are those of /sys/kernel/slab/NAME/cpu_slabs, objects_partial and
// their like, for SLAB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "slabinfo.h"

namespace slabfwd {

/// The array of one CPU slot.
struct slab_cpu_detail {
    unsigned cpu = 0;
    int nid = 0;
    unsigned avail = 0; ///< objects in it
    unsigned limit = 0;
    unsigned batchcount = 0;
    std::uint64_t refilled = 0; ///< objects that came in by refills
    std::uint64_t flushed = 0;  ///< objects that left by flushes
    std::uint64_t allocmiss = 0;
    std::uint64_t freemiss = 0;
};

/// The slabs of one node.
struct slab_node_detail {
    int nid = 0;
    std::size_t partial = 0, full = 0, free = 0; ///< slabs
    std::size_t free_objects = 0;                ///< on them
    std::size_t partial_free = 0;                ///< of these, on partial slabs
    std::size_t free_limit = 0;
    std::size_t shared = 0, shared_limit = 0; ///< objects in the shared array, and its room
    std::size_t alien = 0;                    ///< objects on their way to other nodes
    std::vector<std::size_t> occupancy;       ///< partial slabs by tenths of their objects used
};

/// All of a cache (without children).
struct slab_detail {
    slabinfo info;
    std::vector<slab_cpu_detail> cpus;
    std::vector<slab_node_detail> nodes;
    std::size_t bytes = 0;      ///< of all slabs
    std::size_t used_bytes = 0; ///< object_size x active objects
    /// Of the bytes of all slabs, in percent: free objects on partial slabs (what shrinking cannot
    /// give back as whole slabs) ...
    double fragmentation = 0;
    /// ... and what no object can use: alignment, colours, the index on the slab.
    double waste = 0;
};

slab_detail get_slab_detail(kmem_cache* cache);
/// As a page of text.
std::string slab_detail_text(kmem_cache* cache);

} // namespace slabfwd
