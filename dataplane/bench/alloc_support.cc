// SPDX-License-Identifier: BSD-3-Clause
//
// What the workloads of `slabfwd bench alloc` need of the system, and the table of the workloads.
// See alloc_run.h and alloc_job.h.
#include <fstream>
#include <numeric>
#include <sched.h>
#include <stdexcept>
#include <sys/mman.h>

#include <fmt/format.h>

#include "dataplane/bench/alloc_run.h"

namespace slabfwd {

size_t anonymous_bytes() {
    std::ifstream in("/proc/self/smaps_rollup");
    size_t kb = 0;
    std::string key;
    while (in >> key) {
        size_t n = 0;
        if ((key == "Anonymous:" || key == "Private_Hugetlb:") && in >> n)
            kb += n;
        in.ignore(4096, '\n');
    }
    return kb * 1024;
}

void bind_to_cpu(unsigned n) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return;
    static const cpu_set_t allowed = set; // before the first thread was bound
    const unsigned count = unsigned(CPU_COUNT(&allowed));
    unsigned at = n % count;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &allowed) || at-- != 0)
            continue;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        sched_setaffinity(0, sizeof set, &set);
        return;
    }
}

uint32_t* random_permutation(size_t n, uint64_t seed) {
    auto* p = system_array<uint32_t>(n);
    std::iota(p, p + n, 0u);
    bench_random random(seed);
    for (size_t i = n; i > 1; --i)
        std::swap(p[i - 1], p[random.below(uint32_t(i))]);
    return p;
}

std::vector<alloc_workload> alloc_workloads() {
    std::vector<alloc_workload> list;
    const auto add = [&list](const std::string& name, alloc_job job,
                             std::initializer_list<size_t> sizes = {192, 256}) {
        for (const size_t size : sizes) {
            job.size = size;
            list.push_back({fmt::format("{}/{}", name, size), job});
        }
    };
    add("pair", {.work = alloc_work::pair});
    add("zeroed_pair", {.work = alloc_work::zeroed_pair});
    for (const size_t n : {32, 512, 8192})
        for (const auto& [order, name] : {std::pair{free_order::fifo, "fifo"},
                                          {free_order::lifo, "lifo"},
                                          {free_order::random, "random"}})
            add(fmt::format("batch_{}_{}", n, name),
                {.work = alloc_work::batch, .count = n, .order = order});
    add("bulk_32", {.work = alloc_work::bulk, .count = 32});
    add("gc_64k", {.work = alloc_work::gc, .count = size_t{1} << 16});
    add("gc_1M", {.work = alloc_work::gc, .count = size_t{1} << 20});
    add("gc_64k_two_threads", {.work = alloc_work::gc_two_threads, .count = size_t{1} << 16});
    add("gc_64k_shared", {.work = alloc_work::gc_shared, .count = size_t{1} << 16});
    add("producer_consumer", {.work = alloc_work::producer_consumer});
    add("latency_gc_64k", {.work = alloc_work::latency, .count = size_t{1} << 16});
    add("memory_1M", {.work = alloc_work::memory, .count = 1'000'000}, {192, 200, 256});
    return list;
}

} // namespace slabfwd
