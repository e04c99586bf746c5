// SPDX-License-Identifier: BSD-3-Clause
//
// `slabfwd bench NAME`: which benchmark it is. A further one is a row in the table.
#include <cstdio>
#include <cstring>

#include "dataplane/bench/bench_programs.h"
#include "dataplane/programs.h"

namespace slabfwd {

namespace {

struct benchmark {
    const char* name;
    const char* about;
    int (*main)(int argc, char** argv);
};

constexpr benchmark benchmarks[] = {
    {"alloc", "the slab allocator beside malloc, jemalloc, tcmalloc, mimalloc, rte_mempool",
     bench_alloc_main},
    {"fib", "the routing table beside rte_fib and rte_lpm", bench_fib_main},
    {"forward",
     "what a packet costs on its whole way, by stage; rules, latency, rate without a drop",
     bench_forward_main},
    {"route-cache", "how fast the route cache allocates, hits and forgets; floods",
     bench_route_cache_main},
};

int usage(FILE* to, int status) {
    std::fprintf(to, "usage: slabfwd bench NAME [OPTIONS]\n\n");
    for (const benchmark& b : benchmarks)
        std::fprintf(to, "  %-12s %s\n", b.name, b.about);
    std::fprintf(to, "\n`slabfwd bench NAME --help` tells the options of each.\n");
    return status;
}

} // namespace

int bench_main(int argc, char** argv) {
    if (argc < 2)
        return usage(stderr, 2);
    for (const benchmark& b : benchmarks)
        if (std::strcmp(argv[1], b.name) == 0)
            return b.main(argc - 1, argv + 1);
    if (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0)
        return usage(stdout, 0);
    std::fprintf(stderr, "slabfwd bench: no benchmark \"%s\"\n", argv[1]);
    return usage(stderr, 2);
}

} // namespace slabfwd
