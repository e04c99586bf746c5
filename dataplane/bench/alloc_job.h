// SPDX-License-Identifier: BSD-3-Clause
//
// `slabfwd bench alloc`: what is measured (workloads) and who is measured (peers), as two tables.
// A further allocator is a class in alloc_peers.h and a row in alloc_peers.cc.
//
// Door: alloc_workloads(), alloc_peers(). Threads: a job runs in a process of its own, see
// bench_child.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "alloc/gfp.h"
#include "dataplane/bench/bench_child.h"
#include "dataplane/bench/bench_report.h"

namespace slabfwd {

enum class alloc_work {
    pair,        ///< allocate, free, again
    zeroed_pair, ///< idem, filled with zeros
    batch,       ///< `count` allocated, then freed in `order`
    bulk,        ///< `count` by one call, freed by one call
    gc, ///< table of `count` live objects; 512 freed at random, 512 allocated, first line written
    gc_two_threads,    ///< two threads, each with a table of its own
    gc_shared,         ///< two threads, one table: each frees what the other allocated
    producer_consumer, ///< one thread allocates, the other frees, a ring between
    latency,           ///< gc, each call timed
    memory,            ///< `count` live; 90 % freed at random and given back; all freed
};
enum class free_order { fifo, lifo, random };

/// What to do with one peer in one child.
struct alloc_job {
    alloc_work work = alloc_work::pair;
    size_t size = 192; ///< bytes of an object
    size_t count = 0;  ///< see alloc_work
    free_order order = free_order::fifo;
    uint64_t span_ns = 40'000'000; ///< CPU time to measure for
    bool hugepages = false;        ///< mallocs are told to use hugepages too
    std::string slab_memory = {};  ///< page source of our own; empty: the default
};

/// A line of the tables. The name is followed by "/SIZE".
struct alloc_workload {
    std::string name;
    alloc_job job;
};
/// All workloads, with all sizes that each is measured with.
std::vector<alloc_workload> alloc_workloads();

/// How the slab allocator is set up: what holds for a process.
struct slab_setup {
    bool linux_tuning = false;
    bool slub = false;
    slab_flags_t flags = 0; ///< of the cache
    int nodes = 1;          ///< memory nodes, faked if there are more than one
    bool memcg = false;     ///< all threads work for a group that is charged
};

/// A column of the tables.
struct alloc_peer {
    bench_peer column;
    bool is_malloc = false;
    /// In the child: opens the peer and runs the job.
    void (*run)(const alloc_peer& self, const alloc_job& job, child_result& out);
    const struct malloc_entry* library = nullptr; ///< mallocs
    slab_setup slab = {};                         ///< our own
    bool on_request = false;                      ///< measured only when --peer names it
};
std::span<const alloc_peer> alloc_peers();

/// A target: in `workload` (one of each size in `sizes`) `ours` takes at most `limit` of what the
/// best of `against` takes; with nobody to stand against, `limit` is the value itself.
struct alloc_target {
    const char* what;
    const char* workload;
    const char* metric;
    const char* ours;
    double limit;
    std::vector<std::string> against;
};
std::vector<alloc_target> alloc_targets();
/// How the report stands to the targets, a line each; *missed counts those that are not met.
std::string alloc_targets_text(const bench_report& report, unsigned* missed);

} // namespace slabfwd
