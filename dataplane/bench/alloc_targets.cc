// SPDX-License-Identifier: BSD-3-Clause
//
// What the allocator has to reach, as ratios within one run, and how a report stands to it.
// Targets are for both ways of calling unless one is named. See alloc_job.h.
#include <fmt/format.h>

#include "dataplane/bench/alloc_job.h"

namespace slabfwd {

std::vector<alloc_target> alloc_targets() {
    const std::vector<std::string> mallocs = {"glibc", "jemalloc", "tcmalloc", "mimalloc"};
    const std::vector<std::string> mempool = {"rte_mempool"};
    std::vector<std::string> all = mallocs;
    all.push_back("rte_mempool");
    return {
        {"pair, by handle, to a bare array", "pair", "cycles", "slab_handle", 1.2, {"lifo"}},
        {"pair, by cache, to the best malloc", "pair", "cycles", "slab_cache", 0.5, mallocs},
        {"zeroed pair", "zeroed_pair", "cycles", "slab_handle", 0.6, all},
        {"gc, 64k objects", "gc_64k", "cycles", "slab_handle", 0.5, all},
        {"gc, 1M objects", "gc_1M", "cycles", "slab_handle", 0.7, all},
        {"gc, two threads", "gc_64k_two_threads", "cycles", "slab_handle", 0.7, all},
        {"gc, shared table", "gc_64k_shared", "cycles", "slab_handle", 0.8, all},
        {"bulk of 32, to rte_mempool", "bulk_32", "cycles", "slab_handle", 1.0, mempool},
        {"producer/consumer, to the best malloc", "producer_consumer", "cycles", "slab_handle", 0.6,
         mallocs},
        {"producer/consumer, to rte_mempool", "producer_consumer", "cycles", "slab_handle", 1.1,
         mempool},
        {"bytes of a 192-byte object",
         "memory_1M/192",
         "bytes_per_object",
         "slab_handle",
         193.5,
         {}},
        {"bytes of a 200-byte object", "memory_1M/200", "bytes_per_object", "slab_handle", 202, {}},
        {"% of memory after 90 % is freed", "memory_1M", "after_90", "slab_handle", 91, {}},
        {"% of memory after all is freed", "memory_1M", "after_all", "slab_handle", 1, {}},
        {"pair, hardened, to plain", "pair", "cycles", "slab_hardened", 4, {"slab_handle"}},
        {"gc, 1M objects, hardened, to plain",
         "gc_1M",
         "cycles",
         "slab_hardened",
         1.3,
         {"slab_handle"}},
        {"p99.99 of a call in gc, TSC cycles", "latency_gc_64k", "p99_99", "slab_handle", 156, {}},
    };
}

namespace {

/// Does the line of the table belong to the target? Names go up to the slash, or are whole.
bool belongs(const std::string& workload, const std::string& target) {
    return workload == target || workload.substr(0, workload.find('/')) == target;
}

} // namespace

std::string alloc_targets_text(const bench_report& report, unsigned* missed) {
    std::string text;
    *missed = 0;
    for (const alloc_target& t : alloc_targets()) {
        for (const std::string& w : report.workloads()) {
            const auto ours = report.value(w, t.ours, t.metric);
            if (!belongs(w, t.workload) || !ours)
                continue;
            double value = *ours;
            std::string than;
            if (!t.against.empty()) {
                const auto best = report.best(w, t.metric, t.against);
                if (!best || best->value <= 0)
                    continue;
                value /= best->value;
                than = "x " + best->name;
            }
            const bool ok = value <= t.limit;
            *missed += !ok;
            text += fmt::format("{:<6} {:<38} {:<24} {:>8.2f}{:<14} (at most {:g})\n",
                                ok ? "met" : "MISSED", t.what, w, value, than, t.limit);
        }
    }
    return text;
}

} // namespace slabfwd
