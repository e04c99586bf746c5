// SPDX-License-Identifier: BSD-3-Clause
//
// `slabfwd bench fib`: the routing table beside DPDK's rte_fib (DIR24_8, with next hops of 1, 2 and
// 4 bytes) and rte_lpm: time to load a full table, cycles of a lookup in bursts of 32, bytes a
// route; and lookups beside changes (fib_changes.cc). Our own load is the whole of `ip route add`:
// checks, shared next hops, nodes, compiled form. Door: bench_fib_main(). All peers answer the same
// addresses in one process each, in turn; CPU time of the own thread is counted. Threads: one.
#include <algorithm>
#include <cstdio>
#include <random>
#include <set>

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_fib.h>
#include <rte_lpm.h>
#include <rte_malloc.h>
#include <sys/mman.h>

#include "alloc/slabinfo.h"
#include "dataplane/bench/bench_clock.h"
#include "dataplane/bench/bench_options.h"
#include "dataplane/bench/bench_programs.h"
#include "dataplane/bench/fib_job.h"
#include "route/fib_lpm.h"

namespace slabfwd {

namespace {

constexpr unsigned BURST = FIB_BURST;
constexpr size_t LPM_ROUTES = 100'000; ///< above that rte_lpm is measured when it was named
constexpr size_t ADDRESSES = FIB_ADDRESSES;

/// Addresses of the table, uniformly over its prefixes.
std::vector<uint32_t> table_addresses(const std::vector<prefix>& routes) {
    std::mt19937 rng(11);
    std::vector<uint32_t> out(ADDRESSES);
    for (uint32_t& a : out) {
        const prefix& p = routes[rng() % routes.size()];
        a = p.addr | (p.len < 32 ? uint32_t(rng()) >> p.len : 0);
    }
    return out;
}

/// A virtual machine's host may have taken back memory that was free for a while: to touch a page
/// of it costs milliseconds, which are nobody's of those compared. So as much as anybody wants is
/// touched and freed before each is measured; pages are still cleared for whoever takes them.
void fetch_memory() {
    constexpr size_t PAGE = 4096;
    const auto free_pages = size_t(std::max(0L, sysconf(_SC_AVPHYS_PAGES)));
    const size_t bytes = std::min(size_t(768) << 20, free_pages * PAGE / 2);
    void* p = bytes
                  ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                  : MAP_FAILED;
    if (p == MAP_FAILED)
        return;
    madvise(p, bytes, MADV_HUGEPAGE);
    for (size_t at = 0; at < bytes; at += PAGE)
        static_cast<volatile char*>(p)[at] = 1;
    munmap(p, bytes);
}

/// Resident memory of this process, its hugepages among it, which the kernel counts apart.
double resident() {
    double sum = 0;
    if (FILE* f = std::fopen("/proc/self/status", "r")) {
        char line[256];
        for (long kib = 0; std::fgets(line, sizeof line, f);)
            if (std::sscanf(line, "VmRSS: %ld", &kib) == 1 ||
                std::sscanf(line, "HugetlbPages: %ld", &kib) == 1)
                sum += double(kib) * 1024;
        std::fclose(f);
    }
    return sum;
}

/// Best of several rounds over all addresses: what others on the machine evict is not ours.
template <class F>
double cycles_per_lookup(F lookup, double ns) {
    double best = 1e9;
    uint64_t spent = 0;
    while (double(spent) < ns) {
        const stopwatch watch;
        for (size_t at = 0; at < ADDRESSES; at += BURST)
            lookup(at);
        const uint64_t took = watch.cpu_ns();
        spent += took;
        best = std::min(best, double(took) * tsc_ghz() / ADDRESSES);
    }
    return best;
}

void report(child_result& out, uint64_t load_ns, uint64_t insert_ns, double memory, double cycles,
            size_t routes) {
    out.samples = {{"load", double(load_ns) / 1e6},
                   {"insert", double(insert_ns) / 1e6},
                   {"cycles", cycles},
                   {"bytes", memory / double(routes)}};
}

void run_own(const fib_job& job, child_result& out) {
    route_cache_job none;
    auto b = bench_router::make(none);
    if (!b) {
        out.error = b.error();
        return;
    }
    net& n = b->n();
    const double before = resident();
    fib_config cfg = bench_route({}, 0);
    const stopwatch watch;
    for (size_t i = 0; i < job.routes->size(); ++i) {
        const prefix& p = (*job.routes)[i];
        cfg.fc_dst = cpu_to_be32(p.addr);
        cfg.fc_dst_len = p.len;
        cfg.nexthops[0].gw = bench_next_hop(unsigned(i % BENCH_NEXT_HOPS));
        if (const int err = inet_rtm_newroute(n, cfg, nullptr); err && err != -EEXIST) {
            out.error = fmt::format("route {}: {}", i, err);
            return;
        }
    }
    const uint64_t load = watch.cpu_ns();
    rcu_barrier_all(n);
    const double memory = resident() - before;
    const fib_table* tb = fib_get_table(n, RT_TABLE_MAIN);
    std::vector<be32_t> addr(ADDRESSES);
    for (size_t i = 0; i < ADDRESSES; ++i)
        addr[i] = cpu_to_be32((*job.addresses)[i]);
    uintptr_t sum = 0;
    const fib_lpm* lpm = tb->tb_lpm;
    if (!lpm) {
        out.error = "no memory for the compiled form";
        return;
    }
    const auto compiled = [&](size_t at) {
        const fib_leaf* leaf[BURST];
        fib_lpm_lookup_bulk(lpm, &addr[at], leaf, BURST);
        for (const fib_leaf* l : leaf)
            sum += uintptr_t(l->fi);
    };
    report(out, load, load, memory, cycles_per_lookup(compiled, job.span_ns), job.routes->size());
    out.samples.emplace_back("lpm_bytes", double(fib_lpm_bytes(tb)) / double(job.routes->size()));
    if (!sum)
        out.error = "nothing was found";
}

/// `watch` and `before` are of the moment before the peer's table was made: its memory is taken
/// (and cleared) then, ours as routes come.
template <class Add, class Lookup>
void run_dpdk(const fib_job& job, child_result& out, double before, const stopwatch& watch, Add add,
              Lookup lookup) {
    const uint64_t made = watch.cpu_ns();
    for (size_t i = 0; i < job.routes->size(); ++i)
        if (const prefix& p = (*job.routes)[i]; add(p, uint32_t(1 + i % BENCH_NEXT_HOPS)) < 0) {
            out.skipped = fmt::format("its groups for long prefixes were full after {} routes", i);
            return;
        }
    const uint64_t load = watch.cpu_ns();
    const double memory = resident() - before;
    report(out, load, load - made, memory, cycles_per_lookup(lookup, job.span_ns),
           job.routes->size());
}

bool start(child_result& out) {
    eal_options options;
    options.no_huge_mb = 1024;
    const auto eal = eal_start(options);
    if (!eal)
        out.error = eal.error();
    return bool(eal);
}

void run_rte_fib(const fib_job& job, rte_fib_dir24_8_nh_sz size, child_result& out) {
    if (!start(out))
        return;
    const double before = resident();
    const stopwatch watch;
    rte_fib_conf conf{};
    conf.type = RTE_FIB_DIR24_8;
    conf.max_routes = int(job.routes->size()) + 1000;
    conf.dir24_8.nh_sz = size;
    conf.dir24_8.num_tbl8 = size == RTE_FIB_DIR24_8_1B ? 127 : 32767;
    rte_fib* fib = rte_fib_create("bench", SOCKET_ID_ANY, &conf);
    if (!fib) {
        out.error = fmt::format("rte_fib_create: {}", rte_strerror(rte_errno));
        return;
    }
    uint64_t sum = 0;
    run_dpdk(
        job, out, before, watch,
        [&](const prefix& p, uint32_t nh) { return rte_fib_add(fib, p.addr, p.len, nh); },
        [&](size_t at) {
            uint64_t nh[BURST];
            rte_fib_lookup_bulk(fib, const_cast<uint32_t*>(&(*job.addresses)[at]), nh, BURST);
            for (uint64_t v : nh)
                sum += v;
        });
    if (!sum && out.error.empty())
        out.error = "nothing was found";
}

void run_rte_lpm(const fib_job& job, child_result& out) {
    if (job.routes->size() > LPM_ROUTES && !job.patient) {
        out.skipped = "rte_lpm_add goes through all rules of a length for each route: minutes for "
                      "this table (--peer rte_lpm measures it)";
        return;
    }
    if (!start(out))
        return;
    const double before = resident();
    const stopwatch watch;
    rte_lpm_config conf{};
    conf.max_rules = uint32_t(job.routes->size()) + 1000;
    conf.number_tbl8s = 32767;
    rte_lpm* lpm = rte_lpm_create("bench", SOCKET_ID_ANY, &conf);
    if (!lpm) {
        out.error = fmt::format("rte_lpm_create: {}", rte_strerror(rte_errno));
        return;
    }
    uint64_t sum = 0;
    run_dpdk(
        job, out, before, watch,
        [&](const prefix& p, uint32_t nh) {
            return p.len ? rte_lpm_add(lpm, p.addr, p.len, nh) : 0;
        },
        [&](size_t at) {
            uint32_t nh[BURST];
            rte_lpm_lookup_bulk(lpm, &(*job.addresses)[at], nh, BURST);
            for (uint32_t v : nh)
                sum += v;
        });
    if (!sum && out.error.empty())
        out.error = "nothing was found";
}

struct fib_peer {
    bench_peer column;
    void (*run)(const fib_job&, child_result&);
};

std::vector<fib_peer> fib_peers() {
    return {
        {{"slabfwd", peer_kind::ours}, run_own},
        {{"rte_fib", peer_kind::peer},
         [](const fib_job& j, child_result& o) { run_rte_fib(j, RTE_FIB_DIR24_8_4B, o); }},
        {{"rte_fib_2B", peer_kind::peer},
         [](const fib_job& j, child_result& o) { run_rte_fib(j, RTE_FIB_DIR24_8_2B, o); }},
        {{"rte_fib_1B", peer_kind::peer},
         [](const fib_job& j, child_result& o) { run_rte_fib(j, RTE_FIB_DIR24_8_1B, o); }},
        {{"rte_lpm", peer_kind::peer}, run_rte_lpm},
    };
}

} // namespace

int bench_fib_main(int argc, char** argv) {
    bench_options o;
    std::string from = "900000";
    CLI::App app("The routing table beside rte_fib and rte_lpm.");
    app.name("slabfwd bench fib");
    describe_bench_options(app, o);
    o.turns = 3;
    app.add_option("--routes", from, "the table: how many to draw, or a file of prefixes (gz)")
        ->type_name("N|FILE")
        ->capture_default_str();
    if (const auto status = parse_bench_options(app, argc, argv))
        return *status;
    std::vector<bench_peer> columns;
    for (const fib_peer& p : fib_peers())
        columns.push_back(p.column);
    std::vector<std::string> names;
    for (const bench_peer& p : columns)
        names.push_back(p.name);
    auto routes = read_prefixes(from);
    if (!routes) {
        std::fprintf(stderr, "slabfwd bench: --routes %s\n", routes.error().c_str());
        return 2;
    }
    const std::vector<std::string> workloads = {fmt::format("{} routes", routes->size()), "10,000 changes/s"};
    if (o.list) {
        fmt::print("peers:\n  {}\nworkloads:\n  {}\n", fmt::join(names, "\n  "), fmt::join(workloads, "\n  "));
        return 0;
    }
    if (const auto status = refuse_unknown_names(o, names, workloads))
        return *status;
    tsc_ghz();
    const std::vector<uint32_t> addresses = table_addresses(*routes);
    const fib_job job{&*routes, &addresses, o.quick ? 2e7 : 5e8,
                      std::ranges::find(o.peers, "rte_lpm") != o.peers.end()};
    bench_report result(
        "fib",
        {{"load", "ms", "CPU time from nothing to a loaded table, ms", false, 0, true},
         {"insert", "ms", "of which adding the routes to an empty one whose memory is there", false,
          0, false},
         {"cycles", "TSC cycles", "TSC cycles a lookup, bursts of 32", false, 1, true},
         {"bytes", "bytes", "Resident bytes a route, all of it", false, 1, true},
         {"lpm_bytes", "bytes", "of which the compiled form", false, 1, false},
         {"quiet_lookups", "M/s", "Lookups of one worker, nobody changes the table", true, 1,
          false},
         {"beside_lookups", "M/s", "Lookups of one worker beside the changes", true, 1, false},
         {"changes", "per s", "Routes added or deleted a second meanwhile", true, 0, false},
         {"checked", "answers", "Answers checked against a linear model", true, 0, false},
         {"wrong", "answers", "Answers that were neither the old nor the new one", false, 0,
          false}},
        columns);
    unsigned failed = 0;
    std::set<std::string> said;
    for (unsigned turn = 0; turn < o.turns; ++turn)
        for (const fib_peer& p : fib_peers()) {
            if (!name_matches(o.peers, p.column.name) || !name_matches(o.workloads, workloads[0]))
                continue;
            const child_result r = run_in_child(
                [&](child_result& out) {
                    fetch_memory();
                    p.run(job, out);
                },
                900);
            if (!r.error.empty() || !r.skipped.empty())
                said.insert(fmt::format("{}: {}{}", p.column.name,
                                        r.error.empty() ? "skipped: " : "failed: ",
                                        r.error.empty() ? r.skipped : r.error));
            failed += !r.error.empty();
            for (const auto& [metric, value] : r.samples)
                result.add(workloads[0], p.column.name, metric, value);
        }
    if (name_matches(o.peers, "slabfwd") && name_matches(o.workloads, workloads[1])) {
        const child_result r =
            run_in_child([&](child_result& out) { run_fib_changes(job, out); }, 300);
        if (!r.error.empty() || !r.skipped.empty())
            said.insert("changes: " + r.error + r.skipped);
        failed += !r.error.empty();
        for (const auto& [metric, value] : r.samples)
            result.add(workloads[1], "slabfwd", metric, value);
        failed += std::ranges::any_of(
            r.samples, [](const auto& m) { return m.first == "wrong" && m.second > 0; });
    }
    std::printf(
        "%zu routes over %u next hops; every peer looks up the same %zu addresses, drawn "
        "uniformly over the table's prefixes. In our column, (0.85x) is the ratio to the best "
        "other one.\n\n",
        routes->size(), BENCH_NEXT_HOPS, ADDRESSES);
    std::fputs(bench_table_text(result).c_str(), stdout);
    std::fflush(stdout);
    for (const std::string& line : said)
        std::fprintf(stderr, "%s\n", line.c_str());
    std::string why;
    if (!o.json.empty())
        why = write_text_file(o.json, bench_json(result.rows()).dump(1) + "\n");
    if (why.empty() && !o.plot.empty())
        why = bench_plot(result, o.plot);
    if (!why.empty())
        std::fprintf(stderr, "slabfwd bench: %s\n", why.c_str());
    return failed || !why.empty() ? 1 : 0;
}

} // namespace slabfwd
