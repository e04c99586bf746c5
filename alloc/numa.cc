// SPDX-License-Identifier: BSD-3-Clause
//
// numa.cc - how many memory nodes there are, and which is whose.
//
// Door: numa.h; cpu_to_node() and numa_node_here() for cpu_slot.cc and the page sources.
// Threads: the number of nodes is written before there are any; a slot's node by the thread that
// takes the slot first.
// Origin: ours, after arch/x86/mm/numa_emulation.c and lib/cpumask.c of Linux v5.2 in idea.
#include "alloc/numa.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "alloc/slab.h"

namespace slabfwd {

namespace detail {
constinit int nr_nodes = 1;
}

namespace {
constinit bool real_nodes = false;
constinit thread_local int thread_node = NUMA_NO_NODE; // what the thread said

// The highest node that the system names, plus one. 1 where it names none.
int machine_nodes() {
    std::FILE* f = std::fopen("/sys/devices/system/node/online", "re");
    if (!f)
        return 1;
    int highest = 0;
    int n = 0;
    for (int c = std::fgetc(f); c != EOF; c = std::fgetc(f)) {
        if (c >= '0' && c <= '9')
            highest = std::max(highest, n = n * 10 + (c - '0'));
        else
            n = 0;
    }
    std::fclose(f);
    return std::min(highest + 1, MAX_NUMNODES);
}
} // namespace

int slab_set_numa(int nodes) {
    if (nodes < 0 || nodes > MAX_NUMNODES)
        return -EINVAL;
    if (page_alloc_started() || slab_state() != DOWN)
        return -EBUSY;
    real_nodes = nodes == 0;
    detail::nr_nodes = nodes ? nodes : machine_nodes();
    return 0;
}

bool numa_is_real() {
    return real_nodes;
}

// The node that a thread asks for when it takes a slot; NUMA_NO_NODE: any.
int numa_node_wanted() {
    if (nr_node_ids() == 1)
        return 0;
    if (thread_node != NUMA_NO_NODE)
        return thread_node;
    unsigned node = 0;
    if (!real_nodes || syscall(SYS_getcpu, nullptr, &node, nullptr) != 0)
        return NUMA_NO_NODE;
    return std::min(static_cast<int>(node), nr_node_ids() - 1);
}

int detail::numa_mem_id_slow() {
    if (slab_cpu)
        return cpu_to_node(slab_cpu);
    return std::max(numa_node_wanted(), 0);
}

int set_numa_mem_id(int nid) {
    if (nid < 0 || nid >= nr_node_ids())
        return -EINVAL;
    thread_node = nid;
    if (slab_cpu && cpu_to_node(slab_cpu) != nid)
        slab_cpu_leave();
    return 0;
}

} // namespace slabfwd
