// SPDX-License-Identifier: BSD-3-Clause
//
// Starting DPDK's environment for a program that makes its own threads: one EAL lcore (the control
// thread, on any CPU), hugepages when there are enough, no files left behind.
// Door: eal_start. Threads: once, from main.
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <fstream>
#include <sched.h>
#include <unistd.h>

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>

#include "dataplane/router.h"

namespace slabfwd {

namespace {

constexpr uint64_t MIN_HUGE_BYTES = 256u << 20; ///< less than this is not worth starting with

/// Bytes of free hugepages of all sizes.
uint64_t free_hugepage_bytes() {
    uint64_t total = 0;
    const char* base = "/sys/kernel/mm/hugepages";
    DIR* d = opendir(base);
    if (!d)
        return 0;
    while (dirent* e = readdir(d)) {
        unsigned long kb = 0;
        if (std::sscanf(e->d_name, "hugepages-%lukB", &kb) != 1)
            continue;
        uint64_t n = 0;
        std::ifstream(fmt::format("{}/{}/free_hugepages", base, e->d_name)) >> n;
        total += n * kb * 1024;
    }
    closedir(d);
    return total;
}

/// "0@(2,3,7)": lcore 0 floats over the CPUs that the process may use.
std::string floating_lcore() {
    cpu_set_t set;
    std::string cpus;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (int c = 0; c < CPU_SETSIZE; ++c)
            if (CPU_ISSET(c, &set))
                cpus += (cpus.empty() ? "" : ",") + std::to_string(c);
    return "0@(" + (cpus.empty() ? "0" : cpus) + ")";
}

bool given(const std::vector<std::string>& words, std::initializer_list<const char*> options) {
    for (const std::string& w : words)
        for (const char* o : options)
            if (w == o || w.rfind(std::string(o) + "=", 0) == 0)
                return true;
    return false;
}

} // namespace

tl::expected<void, std::string> eal_start(const eal_options& o) {
    std::vector<std::string> args = {"slabfwd", "--no-telemetry",
                                     fmt::format("--file-prefix=slabfwd{}", getpid())};
    bool huge = !o.no_huge && free_hugepage_bytes() >= MIN_HUGE_BYTES;
    if (given(o.extra, {"--no-huge", "--in-memory", "--huge-dir"}))
        ; // the user decides
    else if (huge)
        args.push_back("--in-memory");
    else
        args.insert(args.end(), {"--no-huge", "--no-shconf", "-m", std::to_string(o.no_huge_mb)});
    if (!given(o.extra, {"-l", "-c", "--lcores"}))
        args.insert(args.end(), {"--lcores", floating_lcore()});
    if (!o.pci && !given(o.extra, {"-a", "--allow", "-b", "--block"}))
        args.push_back("--no-pci");
    if (o.quiet && !given(o.extra, {"--log-level"}))
        args.push_back("--log-level=*:error");
    args.insert(args.end(), o.extra.begin(), o.extra.end());
    std::vector<char*> argv;
    for (std::string& a : args)
        argv.push_back(a.data());
    argv.push_back(nullptr);
    if (rte_eal_init(int(args.size()), argv.data()) < 0)
        return tl::unexpected(fmt::format("DPDK's environment did not start: {} (options: {})",
                                          rte_strerror(rte_errno),
                                          fmt::join(args.begin() + 1, args.end(), " ")));
    return {};
}

void eal_stop() { rte_eal_cleanup(); }

} // namespace slabfwd
