// SPDX-License-Identifier: BSD-3-Clause
//
// `slabfwd bench alloc`: the slab allocator beside the mallocs and rte_mempool.
//
// Door: bench_alloc_main(). For each workload all peers are measured in turn, each in a process of
// its own, and that `--turns` times; medians are shown. Threads: this process has one; those of the
// workloads are in the children.
#include "dataplane/bench/bench_programs.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <unistd.h>

#include <fmt/format.h>

#include "dataplane/bench/alloc_job.h"
#include "dataplane/bench/bench_clock.h"
#include "dataplane/bench/bench_options.h"
#include "dataplane/bench/malloc_library.h"
#include "dataplane/slab_options.h"

namespace slabfwd {

namespace {

constexpr unsigned CHILD_SECONDS = 60;

std::vector<bench_metric> metrics() {
    return {
        {"cycles", "TSC cycles",
         "TSC cycles of own CPU time for an allocation and its free (ratio to the best peer)",
         false, 1, true},
        {"ns", "ns", "Wall time of the same, ns", false, 2, false},
        {"p50", "TSC cycles", "One call in gc, median, TSC cycles", false, 0, false},
        {"p99_9", "TSC cycles", "One call in gc, 99.9 %, TSC cycles", false, 0, false},
        {"p99_99", "TSC cycles", "One call in gc, 99.99 %, TSC cycles", false, 0, true},
        {"bytes_per_object", "bytes", "Resident bytes per live object", false, 1, true},
        {"after_90", "%", "Resident after 90 % are freed at random and given back, % of full",
         false, 1, true},
        {"after_all", "%", "Resident after all are freed and given back, % of full", false, 2,
         false},
    };
}

bench_report empty_report() {
    std::vector<bench_peer> columns;
    for (const alloc_peer& p : alloc_peers())
        columns.push_back(p.column);
    return {"alloc", metrics(), std::move(columns)};
}

int list_names() {
    for (const bool on_request : {false, true}) {
        std::puts(on_request ? "peers, if --peer names them:" : "peers:");
        for (const alloc_peer& p : alloc_peers())
            if (p.on_request == on_request)
                std::printf("  %s\n", p.column.name.c_str());
    }
    std::puts("workloads:");
    for (const alloc_workload& w : alloc_workloads())
        std::printf("  %s\n", w.name.c_str());
    return 0;
}

/// One line a peer and reason, however often it happens.
class complaints {
public:
    void add(const std::string& peer, const std::string& workload, const char* what,
             const std::string& reason) {
        auto& [times, where] = seen_[fmt::format("{}: {}: {}", peer, what, reason)];
        ++times;
        where = workload;
    }
    void print() const {
        for (const auto& [text, where] : seen_)
            std::fprintf(stderr, "%s (%u times, last in %s)\n", text.c_str(), where.first,
                         where.second.c_str());
    }

private:
    std::map<std::string, std::pair<unsigned, std::string>> seen_;
};

/// The bare array is for one thread, and needs no memory but what it was made of. Its latencies are
/// those of the machine: what a call takes at worst that does nothing.
bool applies(const alloc_peer& peer, const alloc_job& job) {
    return peer.column.kind != peer_kind::reference ||
           job.work == alloc_work::latency ||
           (job.work < alloc_work::gc_two_threads && job.work != alloc_work::bulk);
}

/// All turns of one workload, peers in turn. Returns the number of children that failed.
unsigned measure_workload(const alloc_workload& w, const bench_options& o, const alloc_job& job,
                          bench_report& report, complaints& said) {
    unsigned failed = 0;
    for (unsigned turn = 0; turn < o.turns; ++turn) {
        for (const alloc_peer& peer : alloc_peers()) {
            if (!applies(peer, job) || !name_matches(o.peers, peer.column.name) ||
                (peer.on_request && o.peers.empty()))
                continue;
            const child_result r =
                run_in_child([&](child_result& out) { peer.run(peer, job, out); }, CHILD_SECONDS);
            if (!r.skipped.empty())
                said.add(peer.column.name, w.name, "skipped", r.skipped);
            if (!r.error.empty()) {
                said.add(peer.column.name, w.name, "failed", r.error);
                ++failed;
            }
            for (const auto& [metric, value] : r.samples)
                report.add(w.name, peer.column.name, metric, value);
        }
    }
    return failed;
}

int write_results(const bench_report& report, const bench_options& o) {
    int status = 0;
    std::string why;
    if (!o.json.empty())
        why = write_text_file(o.json, bench_json(report.rows()).dump(1) + "\n");
    if (!why.empty()) {
        std::fprintf(stderr, "slabfwd bench: %s\n", why.c_str());
        status = 1;
    }
    why = o.plot.empty() ? std::string() : bench_plot(report, o.plot);
    if (!why.empty()) {
        std::fprintf(stderr, "slabfwd bench: %s\n", why.c_str());
        status = 1;
    }
    return status;
}

/// What the libraries need in the environment is read when a program starts: start once more with
/// it.
void restart_with_tunables(int argc, char** argv, bool hugepages) {
    constexpr const char* MARK = "SLABFWD_BENCH_RESTARTED";
    if (std::getenv(MARK))
        return;
    std::string value = malloc_tunables(hugepages);
    if (const char* old = std::getenv("GLIBC_TUNABLES"); old && *old)
        value = std::string(old) + ":" + value;
    setenv("GLIBC_TUNABLES", value.c_str(), 1);
    setenv(MARK, "1", 1);
    std::vector<char*> words = {const_cast<char*>("slabfwd"), const_cast<char*>("bench")};
    words.insert(words.end(), argv, argv + argc);
    words.push_back(nullptr);
    std::fflush(nullptr);
    execv("/proc/self/exe", words.data());
    std::fprintf(stderr, "slabfwd bench: cannot start again: %s\n", std::strerror(errno));
}

} // namespace

int bench_alloc_main(int argc, char** argv) {
    bench_options o;
    bool hugepages = false;
    CLI::App app("The slab allocator beside glibc, jemalloc, tcmalloc, mimalloc and rte_mempool.");
    app.name("slabfwd bench alloc");
    describe_bench_options(app, o);
    app.add_flag("--hugepages", hugepages,
                 "tell the mallocs to use hugepages too, where they can (ours and rte_mempool do)");
    std::string slab_memory;
    add_slab_options(app);
    add_slab_memory_option(app, &slab_memory, {"anonymous", "hugetlb"});
    add_slab_debug_options(app);
    if (const auto status = parse_bench_options(app, argc, argv))
        return *status;
    if (o.list)
        return list_names();
    std::vector<std::string> peers, workloads;
    for (const alloc_peer& p : alloc_peers())
        peers.push_back(p.column.name);
    for (const alloc_workload& w : alloc_workloads())
        workloads.push_back(w.name);
    if (const auto status = refuse_unknown_names(o, peers, workloads))
        return *status;
    restart_with_tunables(argc, argv, hugepages);
    tsc_ghz(); // once, for all children

    bench_report report = empty_report();
    complaints said;
    unsigned failed = 0;
    for (const alloc_workload& w : alloc_workloads()) {
        if (!name_matches(o.workloads, w.name))
            continue;
        alloc_job job = w.job;
        job.hugepages = hugepages;
        job.slab_memory = slab_memory;
        job.span_ns = o.quick                           ? 5'000'000
                      : job.work == alloc_work::latency ? 200'000'000
                                                        : 40'000'000;
        if (isatty(STDERR_FILENO))
            std::fprintf(stderr, "\r%-40s", w.name.c_str());
        failed += measure_workload(w, o, job, report, said);
    }
    if (isatty(STDERR_FILENO))
        std::fprintf(stderr, "\r%-40s\r", "");
    unsigned missed = 0;
    std::fputs(bench_table_text(report).c_str(), stdout);
    if (const std::string targets = alloc_targets_text(report, &missed); !targets.empty())
        std::printf("\nTargets\n%s", targets.c_str());
    std::fflush(stdout);
    said.print();
    const int status = write_results(report, o);
    return failed || (o.strict && missed) ? 1 : status;
}

} // namespace slabfwd
