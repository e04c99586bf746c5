// SPDX-License-Identifier: BSD-3-Clause
//
// numa.h - memory nodes: the machine's own, or faked ones for tests and measurements.
//
// Doors: slab_set_numa(), set_numa_mem_id(), numa_mem_id().
// The range of the page allocator is cut into one part a node; slabs, shared arrays and slab lists
// are a node's. A CPU slot belongs to one node for good, and so does its array: it holds objects
// of that node only. Objects of other nodes that are freed here go home through alien caches.
// With one node (the default) nothing of that costs anything; with more every free takes the slow
// way, because it has to look whose object it is, as the kernel's does.
// Threads: the number of nodes is fixed before the first page is handed out; numa_mem_id() is the
// calling thread's.
// Origin: include/linux/topology.h and numa=fake= of Linux v5.2.
#pragma once

#include <cstddef>

namespace slabfwd {

/// Nodes that a process can have.
inline constexpr int MAX_NUMNODES = 8;
inline constexpr int NUMA_NO_NODE = -1;

/// How many nodes there are: `nodes` > 0 fakes so many; 0 takes those of the machine (at most
/// MAX_NUMNODES), to which memory is then bound. Default: one. 0; -EBUSY once a page was handed
/// out; -EINVAL.
int slab_set_numa(int nodes);

namespace detail {
extern constinit int nr_nodes;
int numa_mem_id_slow();
} // namespace detail

/// Nodes in use: 0 .. nr_node_ids() - 1.
inline int nr_node_ids() {
    return detail::nr_nodes;
}

/// Node of the calling thread: that of its CPU slot.
inline int numa_mem_id() {
    return nr_node_ids() == 1 ? 0 : detail::numa_mem_id_slow();
}

/// The calling thread is one of node `nid` from now on; handles that it took before must not be
/// used any more. A thread that does not say is one of the node that it runs on when it first
/// allocates (faked nodes: slots go round). 0 or -EINVAL.
int set_numa_mem_id(int nid);

/// Are the nodes the machine's?
bool numa_is_real();

} // namespace slabfwd
