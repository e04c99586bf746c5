// SPDX-License-Identifier: BSD-3-Clause
//
// cpu_slot.cc - CPU slots: small integers that threads own while they live.
//
// Door: slab_cpu (the calling thread's), slab_cpu_acquire().
// A slot stands for what a CPU is to the kernel: the owner of one array in every cache. A thread
// takes one at its first slow call and leaves it, arrays filled, when it ends; the next new
// thread takes it over as it is. In between the reaper may own it for a moment (BUSY).
// Threads: states change by compare-and-exchange; acquire/release hands the arrays over.
// Origin: ours; the kernel has real CPUs, and a handler for one that goes away.
#include <atomic>

#include "alloc/slab.h"

namespace slabfwd {

constinit thread_local unsigned slab_cpu = 0;

namespace {

enum slot_state : std::uint8_t { FREE, OWNED, GONE, BUSY };

constinit std::atomic<std::uint8_t> slots[NR_CPUS] = {};
constinit std::atomic<unsigned> cpu_ids{1};

constinit std::atomic<std::uint8_t> nodes[NR_CPUS] = {}; // a slot's node, from its first owner on

constinit thread_local bool thread_ends = false;

// Leaves the slot when the thread ends. What the thread's later destructors allocate or free goes
// the way of threads without a slot.
struct slot_leaver {
    ~slot_leaver() {
        thread_ends = true;
        slab_cpu_leave();
    }
};

bool try_take(unsigned cpu, slot_state from, slot_state to) {
    std::uint8_t expected = from;
    return slots[cpu].load(std::memory_order_relaxed) == from &&
           slots[cpu].compare_exchange_strong(expected, to, std::memory_order_acquire,
                                              std::memory_order_relaxed);
}

// A slot of the node. One that was left is preferred: its arrays hold objects.
unsigned take_slot(int nid) {
    const unsigned used = cpu_ids.load(std::memory_order_acquire);
    for (unsigned cpu = 1; cpu < used; ++cpu)
        if ((nid == NUMA_NO_NODE || cpu_to_node(cpu) == nid) && try_take(cpu, GONE, OWNED)) {
            if (nid == NUMA_NO_NODE || cpu_to_node(cpu) == nid)
                return cpu;
            slots[cpu].store(GONE, std::memory_order_release);
        }
    for (unsigned cpu = 1; cpu < NR_CPUS; ++cpu)
        if (try_take(cpu, FREE, OWNED)) {
            const int node = nid != NUMA_NO_NODE ? nid : static_cast<int>(cpu - 1) % nr_node_ids();
            nodes[cpu].store(static_cast<std::uint8_t>(node), std::memory_order_relaxed);
            return cpu;
        }
    return 0;
}

} // namespace

unsigned slab_cpu_acquire() {
    if (slab_cpu || thread_ends)
        return slab_cpu;
    const unsigned cpu = take_slot(numa_node_wanted());
    if (!cpu)
        return 0; // asked again at the next slow call
    unsigned used = cpu_ids.load(std::memory_order_relaxed);
    while (used <= cpu && !cpu_ids.compare_exchange_weak(used, cpu + 1, std::memory_order_acq_rel))
        ;
    static thread_local slot_leaver leaver;
    (void)leaver;
    return slab_cpu = cpu;
}

// The calling thread gives its slot up, arrays filled, and takes another at its next slow call.
void slab_cpu_leave() {
    const unsigned cpu = slab_cpu;
    slab_cpu = 0;
    if (cpu)
        slots[cpu].store(GONE, std::memory_order_release);
}

int cpu_to_node(unsigned cpu) {
    return nodes[cpu].load(std::memory_order_relaxed);
}

unsigned nr_cpu_ids() {
    return cpu_ids.load(std::memory_order_acquire);
}

void for_each_gone_cpu(void (*fn)(unsigned cpu, void* arg), void* arg) {
    for (unsigned cpu = 1; cpu < nr_cpu_ids(); ++cpu) {
        if (!try_take(cpu, GONE, BUSY))
            continue;
        fn(cpu, arg);
        slots[cpu].store(GONE, std::memory_order_release);
    }
}

} // namespace slabfwd
