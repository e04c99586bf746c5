// SPDX-License-Identifier: BSD-3-Clause
//
// `slabfwd bench route-cache`: how fast a route cache allocates, hits and forgets.
//
// Door: bench_route_cache_main(). Workloads are laws by which flows come, columns are allocators of
// the entries; each pair is measured in a process of its own, in turn, `--turns` times. `--sweep`
// repeats a workload over values of a parameter; floods run the whole pipeline between two ports.
// Threads: this process has one.
#include <algorithm>
#include <cstdio>
#include <map>
#include <span>
#include <unistd.h>

#include <fmt/format.h>

#include "dataplane/bench/bench_clock.h"
#include "dataplane/bench/bench_options.h"
#include "dataplane/bench/bench_programs.h"
#include "dataplane/bench/route_cache.h"

namespace slabfwd {

std::vector<bench_metric> route_cache_metrics() {
    return {
        {"lookups", "M/s", "Packets looked up, millions per second of CPU time", true, 2, true},
        {"hit_ratio", "%", "Found in the cache, % of packets", true, 2, true},
        {"cycles", "TSC cycles", "TSC cycles of CPU time a packet", false, 0, true},
        {"ns", "ns", "The same in ns", false, 1, false},
        {"allocs", "M/s", "Entries allocated, millions per second", true, 3, true},
        {"frees", "M/s", "Entries freed, millions per second", true, 3, false},
        {"uncached", "%", "Carried by a next hop's own entry, % of packets", false, 2, false},
        {"refused", "packets", "Refused (\"Route cache is full\"), packets", false, 0, false},
        {"dropped", "packets", "Dropped for another reason (no memory), packets", false, 0, false},
        {"alloc_share", "%", "Spent in the allocator, % of cycles", false, 1, false},
        {"hit_p50", "TSC cycles", "One lookup alone that hits, median", false, 0, false},
        {"hit_p99", "TSC cycles", "One lookup that hits, 99 %", false, 0, false},
        {"hit_p99_9", "TSC cycles", "One lookup that hits, 99.9 %", false, 0, false},
        {"miss_p50", "TSC cycles", "One lookup alone that misses, median", false, 0, false},
        {"miss_p99", "TSC cycles", "One lookup that misses, 99 %", false, 0, false},
        {"miss_p99_9", "TSC cycles", "One lookup that misses, 99.9 %", false, 0, false},
        {"gc_runs", "per 1000", "Calls of rt_garbage_collect per 1,000 packets", false, 2, false},
        {"gc_looked", "entries", "Most entries that one packet paid for in collection", false, 0,
         false},
        {"entries", "entries", "Entries at the end", false, 0, false},
        {"entries_max", "entries", "Most entries at any sample", false, 0, false},
        {"bytes", "bytes", "Memory of an entry with its share of the allocator's", false, 0, false},
        {"flood_rate", "x", "Rate under the flood, of the rate with every packet cached", true, 3,
         true},
        {"flood_mpps", "Mpps", "Rate under the flood, whole pipeline", true, 2, false},
        {"cached_mpps", "Mpps", "Rate with every packet cached, whole pipeline", true, 2, false},
        {"flood_hit_ratio", "%", "Established flows found in the cache, % of their packets", true,
         3, true},
        {"flood_refused", "packets", "Packets that did not come out", false, 0, false},
        {"flood_refused_share", "%", "The same, % of all packets", false, 2, false},
        {"entries_of_max", "%", "Most entries at any sample, % of max_size", false, 2, false},
        {"allocs_per_packet", "%", "Packets that allocated an entry, %", false, 2, false},
    };
}

namespace {

using workload = route_cache_workload;

struct settings {
    bench_options common;
    std::string routes = "900000", capture, ports = "net_ring";
    captured_flows captured;
    uint32_t flows = 100000, rhash_entries = 0;
    double zipf = 1.0;
    unsigned threads = 1, limit = 0, batchcount = 0;
    int gc_thresh = 0, max_size = 0, admission = 1;
    double seconds = 0;
    std::vector<std::string> sweeps;
    std::vector<prefix> prefixes;
};

route_cache_job base_job(const settings& s) {
    route_cache_job job;
    job.flows = s.flows;
    job.zipf_s = s.zipf;
    job.captured = &s.captured;
    job.threads = s.threads;
    job.gc_thresh = s.gc_thresh;
    job.max_size = s.max_size;
    job.admission = s.admission;
    job.rhash_entries = s.rhash_entries;
    job.limit = s.limit;
    job.batchcount = s.batchcount;
    job.routes = &s.prefixes;
    job.span_ns = uint64_t((s.seconds > 0 ? s.seconds : s.common.quick ? 0.05 : 1.0) * 1e9);
    return job;
}

workload of_law(const settings& s, flow_law law, std::string name, std::string about) {
    workload w{std::move(name), std::move(about), base_job(s)};
    w.job.law = law;
    return w;
}

/// All-miss traffic under the kernel's rule with so many entries alive: the speed of allocation.
/// buckets: unless told otherwise; 0: by memory.
workload churn(const settings& s, int live, uint32_t buckets, const char* name) {
    workload w = of_law(s, flow_law::scan, name,
                        "no flow repeats, every packet enters one entry and collects another");
    w.job.admission = 0;
    w.job.gc_min_interval_ms = 0; // else collection is ignored until max_size, and then refuses
    w.job.gc_thresh = w.job.max_size = live;
    if (!s.rhash_entries)
        w.job.rhash_entries = buckets;
    return w;
}

workload flood(const settings& s, flood_kind kind, const char* name, const char* about) {
    workload w{name, about, base_job(s)};
    w.flood = true;
    w.kind = kind;
    w.job.pcap_ports = s.ports == "net_pcap";
    if (s.seconds <= 0)
        w.job.span_ns *= 4;
    return w;
}

std::vector<workload> workloads(const settings& s) {
    std::vector<workload> all = {
        of_law(s, flow_law::uniform, "uniform", "each flow as likely as any other"),
        of_law(s, flow_law::zipf, fmt::format("zipf-{:g}", s.zipf), "few flows have most packets"),
        of_law(s, flow_law::working_set, "working-set", "one flow after the other, in turn"),
        of_law(s, flow_law::scan, "scan", "destinations that never repeat"),
        of_law(s, flow_law::scan_src, "scan-src", "sources that never repeat"),
        churn(s, 65536, 0, "churn-64k"),
        churn(s, 1 << 20, 1 << 20, "churn-1M"),
        flood(s, flood_kind::destinations, "flood-dst",
              "1,000 flows are half of the packets, destinations that never repeat the other half"),
        flood(s, flood_kind::sources, "flood-src", "the same with sources that never repeat"),
        flood(s, flood_kind::alone, "flood-alone", "nothing but packets that never repeat"),
    };
    if (!s.capture.empty())
        all.push_back(of_law(
            s, flow_law::capture, "capture",
            fmt::format("the {} packets of {}: {} pairs of addresses in their order "
                        "({} of them moved to where the table leads)",
                        s.captured.packets.size(), s.capture, s.captured.flows, s.captured.moved)));
    return all;
}

void describe(CLI::App& app, settings& s) {
    describe_bench_options(app, s.common);
    s.common.turns = 3;
    app.add_option("--routes", s.routes, "the table: how many to draw, or a file of prefixes (gz)")
        ->type_name("N|FILE")
        ->capture_default_str();
    app.add_option("--flows", s.flows, "flows of uniform, zipf and working-set")
        ->check(CLI::Range(1u, 1u << 24))
        ->capture_default_str();
    app.add_option("--zipf", s.zipf, "the law's exponent")
        ->check(number_range(0, 10))
        ->capture_default_str();
    app.add_option("--capture", s.capture,
                   "adds the workload capture: flows come in the order of this file's packets")
        ->type_name("FILE.pcap");
    app.add_option("--threads", s.threads, "workers, each with its shard")
        ->check(CLI::Range(1u, 64u));
    app.add_option("--gc-thresh", s.gc_thresh,
                   "net.ipv4.route.gc_thresh: so many entries before any is collected (default: "
                   "buckets)")
        ->check(CLI::Range(1, 1 << 30));
    app.add_option("--max-size", s.max_size,
                   "net.ipv4.route.max_size: never more entries (default: 16 x buckets)")
        ->check(CLI::Range(1, 1 << 30));
    app.add_option("--admission", s.admission, "net.ipv4.route.admission: 1 pays, 0 kernel's rule")
        ->check(CLI::Range(0, 1));
    app.add_option("--rhash-entries", s.rhash_entries, "buckets (default: by memory)")
        ->check(CLI::Range(1u, 1u << 26));
    app.add_option("--limit", s.limit, "slab: free entries that a core keeps at hand, at most")
        ->check(CLI::Range(1u, 1u << 20));
    app.add_option("--batchcount", s.batchcount,
                   "slab: entries that it fetches or gives back at a time, at most limit")
        ->check(CLI::Range(1u, 1u << 20));
    app.add_option("--ports", s.ports,
                   "floods: come in by and go out of net_ring, the cheapest port there is, or come "
                   "in by net_pcap, which copies each frame, and are dropped by net_null")
        ->check(CLI::IsMember({"net_ring", "net_pcap"}))
        ->capture_default_str();
    app.add_option("--seconds", s.seconds, "CPU time of a measurement (floods: time)")
        ->check(number_range(0.001, 3600));
    app.add_option("--sweep", s.sweeps,
                   "repeat a workload over values of flows or rhash-entries (working-set where no "
                   "other is named), gc_thresh, limit or batchcount (churn-64k); repeat for more; "
                   "with --plot alone: gc_thresh and flows")
        ->allow_extra_args(false)
        ->type_name("[WORKLOAD:]KEY=V,V..");
    app.footer(
        "A packet's route is looked up in a hash of flows first (a hit), else in the "
        "routing table\n"
        "(a miss); a miss makes an entry, so that the flow's next packet hits. Entries come "
        "from a\n"
        "memory allocator: the columns. The lines are laws by which flows come. Numbers of "
        "the own\n"
        "columns are followed by their ratio to the best other one.\n\n"
        "Examples:\n"
        "  slabfwd bench route-cache --plot cache           everything, and the curves\n"
        "  slabfwd bench route-cache --workload churn --peer slab --peer malloc\n"
        "  slabfwd bench route-cache --workload flood-dst --peer slab --peer kernel-rule "
        "--plot flood\n"
        "  slabfwd bench route-cache --sweep limit=8,60,500 --sweep zipf-1:flows=1000,1000000");
}

int list_names(const settings& s) {
    std::puts("peers:");
    for (const route_cache_peer& p : route_cache_peers())
        std::printf("  %-14s %s\n", p.column.name.c_str(), p.about.c_str());
    std::puts("workloads:");
    for (const workload& w : workloads(s))
        std::printf("  %-14s %s\n", w.name.c_str(), w.about.c_str());
    return 0;
}

/// The curves that a run brings along, by what they show.
struct curves {
    std::map<std::string, plot_panel> panels;

    void add(const char* key, plot_panel like, const std::string& title, double x, double y) {
        plot_panel& p = panels.try_emplace(key, std::move(like)).first->second;
        for (plot_curve& c : p.curves)
            if (c.title == title) {
                c.points.emplace_back(x, y);
                return;
            }
        p.curves.push_back({title, {{x, y}}});
    }
    /// Of the first turn: distributions and the course of time; those of the cache alone where
    /// there is room for them (`all`), or else a panel would show a bunch of curves that nobody can
    /// tell apart.
    void take(const workload& w, const std::string& peer, const child_result& r, bool all) {
        const std::string title = w.name + ", " + peer;
        double x = 0;
        for (const auto& [metric, value] : r.samples) {
            for (const char* what : {"hit", "miss"})
                if (all && metric.starts_with(fmt::format("{}_cdf_", what)))
                    add("1 latency",
                        {"Time of one lookup: share of lookups that take no longer",
                         "TSC cycles",
                         "%",
                         true,
                         false,
                         {}},
                        title + ", " + what, value,
                        std::strtod(metric.c_str() + metric.rfind('_') + 1, nullptr) * 2.5);
            if (metric == "time_x")
                x = value;
            if ((all || w.flood) && metric == "time_entries")
                add("4 entries", {"Entries over time", "s", "entries", false, true, {}}, title, x,
                    value);
            if (metric == "time_mpps")
                add("5 flood",
                    {"Rate under a flood, whole pipeline", "s", "Mpps", false, false, {}}, title, x,
                    value);
            if (metric == "time_hit_ratio")
                add("6 flood hits",
                    {"Flood: packets of established flows that hit", "s", "%", false, false, {}},
                    title, x, value);
            if (metric == "time_refused")
                add("7 flood refused",
                    {"Flood: packets refused (\"Route cache is full\")",
                     "s",
                     "% of all",
                     false,
                     false,
                     {}},
                    title, x, value);
        }
    }
    void sweeps(const bench_report& r, const std::vector<workload>& ws) {
        for (const workload& w : ws)
            for (const bench_peer& p : r.peers()) {
                if (w.swept.empty())
                    continue;
                const std::string of = w.name.substr(0, w.name.find(' ')) + ", " + p.name;
                if (auto v = r.value(w.name, p.name, "allocs"); v && *v > 0)
                    add(("2 allocs over " + w.swept).c_str(),
                        {"Entries allocated over " + w.swept, w.swept, "M/s", true, false, {}}, of,
                        w.at, *v);
                if (auto v = r.value(w.name, p.name, "lookups"))
                    add(("2 rate over " + w.swept).c_str(),
                        {"Lookups over " + w.swept, w.swept, "M/s", true, false, {}}, of, w.at, *v);
                if (auto v = r.value(w.name, p.name, "hit_ratio"))
                    add(("3 hits over " + w.swept).c_str(),
                        {"Hit ratio over " + w.swept, w.swept, "%", true, false, {}}, of, w.at, *v);
            }
    }
    std::string draw(const std::string& file) const {
        std::vector<plot_panel> all;
        for (const auto& [key, p] : panels)
            if (std::ranges::any_of(p.curves, [](const plot_curve& c) {
                    return std::ranges::any_of(c.points, [](auto xy) { return xy.second != 0; });
                }))
                all.push_back(p);
        return plot_curves("slabfwd bench route-cache", all, file);
    }
};

bool known_metric(const std::string& name) {
    static const auto all = route_cache_metrics();
    return std::ranges::any_of(all, [&](const bench_metric& m) { return m.name == name; });
}

/// The limits of a workload's router: what its children told.
std::string limits_text(const child_result& r) {
    std::string text;
    for (const char* key : {"buckets", "gc_thresh", "max_size"})
        for (const auto& [metric, value] : r.samples)
            if (metric == key)
                text += fmt::format("{}{} {:.0f}", text.empty() ? "" : ", ", key, value);
    return text;
}

/// crowded: only the first peer's own curves are drawn, not each one's.
unsigned measure(const workload& w, const settings& s, bool crowded, bench_report& report,
                 curves& drawn, std::map<std::string, unsigned>& said,
                 std::map<std::string, std::string>& limits) {
    unsigned failed = 0;
    std::string first;
    for (unsigned turn = 0; turn < s.common.turns; ++turn)
        for (const route_cache_peer& peer : route_cache_peers()) {
            const bool named = !s.common.peers.empty();
            if (first.empty() && name_matches(s.common.peers, peer.column.name))
                first = peer.column.name;
            if (!name_matches(s.common.peers, peer.column.name) ||
                (!named && w.flood && peer.column.name != "slab" && peer.admission < 0) ||
                (!named && peer.admission == w.job.admission)) // the same as slab
                continue;
            if (!named && (w.swept == "limit" || w.swept == "batchcount") &&
                peer.column.name != "slab")
                continue; // only the slab has them
            route_cache_job job = w.job;
            job.peer = peer.column.name;
            if (peer.admission >= 0)
                job.admission = peer.admission;
            const child_result r = run_in_child(
                [&](child_result& out) {
                    if (w.flood)
                        run_flood(job, w.kind, out);
                    else
                        run_route_cache(job, out);
                },
                unsigned(120 + double(job.span_ns) / 1e9 * 40));
            if (!r.skipped.empty())
                ++said[fmt::format("{}: skipped: {}", peer.column.name, r.skipped)];
            if (!r.error.empty())
                failed +=
                    !!++said[fmt::format("{}: {}: failed: {}", w.name, peer.column.name, r.error)];
            for (const auto& [metric, value] : r.samples)
                if (known_metric(metric))
                    report.add(w.name, peer.column.name, metric, value);
            if (turn == 0)
                drawn.take(w, peer.column.name, r, crowded ? peer.column.name == first : true);
            if (const std::string is = limits_text(r); !is.empty())
                limits[w.name] = is;
        }
    return failed;
}

/// What the tables are about to be read by, for one who sees them for the first time.
void explain(const settings& s, const std::vector<workload>& todo,
             const std::map<std::string, std::string>& limits) {
    std::printf("%zu routes over %u next hops, %u worker%s, an entry has %zu bytes. Medians of %u "
                "turn%s.\n\nLines are laws by which packets choose their flows:\n",
                s.prefixes.size(), BENCH_NEXT_HOPS, s.threads, s.threads == 1 ? "" : "s",
                sizeof(rtable), s.common.turns, s.common.turns == 1 ? "" : "s");
    size_t width = 14;
    for (const workload& w : todo)
        width = std::max(width, w.name.size());
    for (const workload& w : todo) {
        const auto is = limits.find(w.name);
        std::printf("  %-*s  %s%s%s\n", int(width), w.name.c_str(), w.about.c_str(),
                    is == limits.end() ? "" : "; ", is == limits.end() ? "" : is->second.c_str());
    }
    std::puts("Above gc_thresh entries the cache looks for some to let go, and never has more than "
              "max_size.\nColumns are where the entries' memory comes from:");
    std::vector<std::string> others;
    for (const route_cache_peer& p : route_cache_peers()) {
        if (!name_matches(s.common.peers, p.column.name))
            continue;
        std::printf("  %-16s %s\n", p.column.name.c_str(), p.about.c_str());
        if (p.column.kind == peer_kind::peer)
            others.push_back(p.column.name);
    }
    if (!others.empty())
        std::printf("(0.85x): the ratio to the best of %s in that line; ",
                    fmt::format("{}", fmt::join(others, ", ")).c_str());
    std::puts("\"-\": not measured.\n");
}

int write_results(const bench_report& report, const settings& s, const curves& drawn) {
    int status = 0;
    auto tell = [&](const std::string& why) {
        if (why.empty())
            return;
        std::fprintf(stderr, "slabfwd bench: %s\n", why.c_str());
        status = 1;
    };
    if (!s.common.json.empty())
        tell(write_text_file(s.common.json, bench_json(report.rows()).dump(1) + "\n"));
    if (!s.common.plot.empty())
        tell(drawn.draw(s.common.plot));
    return status;
}

} // namespace

int bench_route_cache_main(int argc, char** argv) {
    settings s;
    CLI::App app("How fast the route cache allocates, hits and forgets.");
    app.name("slabfwd bench route-cache");
    describe(app, s);
    if (const auto status = parse_bench_options(app, argc, argv))
        return *status;
    if (s.common.list)
        return list_names(s);
    auto prefixes = read_prefixes(s.routes);
    if (!prefixes) {
        std::fprintf(stderr, "slabfwd bench: --routes %s\n", prefixes.error().c_str());
        return 2;
    }
    s.prefixes = std::move(*prefixes);
    if (!s.capture.empty()) {
        auto captured = read_captured_flows(s.capture, s.prefixes);
        if (!captured) {
            std::fprintf(stderr, "slabfwd bench: --capture: %s\n", captured.error().c_str());
            return 1;
        }
        s.captured = std::move(*captured);
    }
    tsc_ghz(); // once, for all children
    std::vector<workload> todo;
    for (const workload& w : workloads(s))
        if (s.sweeps.empty()
                ? name_matches(s.common.workloads, w.name)
                : !s.common.workloads.empty() && name_matches(s.common.workloads, w.name))
            todo.push_back(w);
    const size_t unswept = todo.size();
    const bool plot_alone =
        !s.common.plot.empty() && s.sweeps.empty() && s.common.workloads.empty();
    if (plot_alone)
        s.sweeps = {"churn-64k:gc_thresh=16384,65536,262144,1048576",
                    "working-set:flows=1000,10000,100000,1000000,3000000"};
    for (const std::string& text : s.sweeps)
        if (const std::string why = sweep_workloads(workloads(s), text, todo); !why.empty()) {
            std::fprintf(stderr, "slabfwd bench: %s\n", why.c_str());
            return 2;
        }
    if (plot_alone && !s.rhash_entries) // so that the last of the working sets is beyond max_size
        for (workload& w : std::span(todo).subspan(unswept))
            if (w.swept == "flows")
                w.job.rhash_entries = 65536;
    std::vector<bench_peer> columns;
    std::vector<std::string> peer_names, workload_names;
    for (const route_cache_peer& p : route_cache_peers()) {
        columns.push_back(p.column);
        peer_names.push_back(p.column.name);
    }
    for (const workload& w : workloads(s))
        workload_names.push_back(w.name);
    if (const auto status = refuse_unknown_names(s.common, peer_names, workload_names))
        return *status;
    bench_report report("route-cache", route_cache_metrics(), columns);
    curves drawn;
    std::map<std::string, unsigned> said;
    std::map<std::string, std::string> limits;
    unsigned failed = 0;
    const bool crowded = todo.size() > 3;
    for (const workload& w : todo) {
        if (isatty(STDERR_FILENO))
            std::fprintf(stderr, "\r%-40s", w.name.c_str());
        failed += measure(w, s, crowded, report, drawn, said, limits);
    }
    if (isatty(STDERR_FILENO))
        std::fprintf(stderr, "\r%-40s\r", "");
    drawn.sweeps(report, todo);
    explain(s, todo, limits);
    std::fputs(bench_table_text(report).c_str(), stdout);
    std::fflush(stdout);
    for (const auto& [text, times] : said)
        std::fprintf(stderr, "%s (%u times)\n", text.c_str(), times);
    const int status = write_results(report, s, drawn);
    return failed ? 1 : status;
}

} // namespace slabfwd
