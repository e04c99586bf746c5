// SPDX-License-Identifier: BSD-3-Clause
//
// The program: `slabfwd run | replay | bench | ctl`. Each subcommand parses its own words.
#include <cstdio>
#include <cstring>

#include "dataplane/programs.h"

namespace {

struct program {
    const char* name;
    const char* about;
    int (*main)(int argc, char** argv);
};

constexpr program programs[] = {
    {"run", "forward packets between ports", slabfwd::run_main},
    {"replay", "send captures through a router and write what comes out", slabfwd::replay_main},
    {"bench",
     "measure: allocator, table and route cache beside their peers, and each stage of forwarding",
     slabfwd::bench_main},
    {"ctl", "talk to a running router: ip, sysctl, cat /proc/..., ping, trace", slabfwd::ctl_main},
};

int usage(FILE* to, int status) {
    std::fprintf(to, "usage: slabfwd COMMAND [OPTIONS]\n\n");
    for (const program& p : programs)
        std::fprintf(to, "  %-8s %s\n", p.name, p.about);
    std::fprintf(to, "\n`slabfwd COMMAND --help` tells the options of each.\n");
    return status;
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 2)
        return usage(stderr, 2);
    for (const program& p : programs)
        if (std::strcmp(argv[1], p.name) == 0)
            return p.main(argc - 1, argv + 1);
    if (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0 ||
        std::strcmp(argv[1], "help") == 0)
        return usage(stdout, 0);
    if (std::strcmp(argv[1], "--version") == 0) {
        std::printf("slabfwd %s\n", SLABFWD_VERSION);
        return 0;
    }
    std::fprintf(stderr, "slabfwd: unknown command \"%s\"\n", argv[1]);
    return usage(stderr, 2);
}
