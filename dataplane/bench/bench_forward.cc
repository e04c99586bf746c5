// SPDX-License-Identifier: BSD-3-Clause
//
// `slabfwd bench forward`: what a packet costs on its whole way, stage by stage, without a NIC.
//
// Door: bench_forward_main(). Workloads follow from the options: each of --flows with each of
// --size, or a sweep of rules, or the mixtures of --weighted; --latency and --port measure rates
// with a generator instead. Each is measured in a process of its own, in turn, --turns times.
// Threads: this process has one.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <sstream>
#include <unistd.h>

#include <fmt/format.h>

#include "dataplane/bench/bench_clock.h"
#include "dataplane/bench/bench_options.h"
#include "dataplane/bench/bench_programs.h"
#include "dataplane/bench/forward.h"

namespace slabfwd {

namespace {

const std::string PEER = "slabfwd";
constexpr const char* RULES_SWEEP = "0,10,100,1000,10000";

struct workload {
    std::string name;
    forward_job job;
};

struct settings {
    bench_options common;
    forward_job job;
    std::string flows = "1,1000,100000", size = "64", rules, cores, pace = "cpu";
    std::vector<std::string> ports, tester;
    bool latency = false, weighted = false, no_arp_answer = false;
    double seconds = 0;
};

void describe_frames(CLI::App& app, settings& s) {
    app.add_option("--in", s.job.mix.capture,
                   "frames of a capture, again and again, into p0 (default: generated)")
        ->type_name("FILE");
    app.add_option("--flows", s.flows, "numbers of flows, each a workload")
        ->type_name("N,N..")
        ->capture_default_str();
    app.add_option("--size", s.size,
                   "frame sizes with checksum, each a workload: 64 to 1518, imix, or rfc2544 for "
                   "all of its")
        ->type_name("N,..|imix|rfc2544")
        ->capture_default_str();
    const auto share = [&](const char* name, double& to, const char* about) {
        app.add_option(name, to, about)->check(number_range(0, 100))->type_name("PERCENT");
    };
    share("--options", s.job.mix.options, "packets with IP options (record route)");
    share("--misses", s.job.mix.misses, "packets of flows that never repeat");
    share("--ttl1", s.job.mix.ttl1, "packets whose TTL ends here");
    share("--fragments", s.job.mix.fragments,
          "packets that have to be fragmented (1,000 bytes, mtu 576)");
}

/// What one option would leave without effect is refused beside it, not dropped.
void refuse_contradictions(CLI::App& app) {
    const auto excludes = [&](const char* name, std::initializer_list<const char*> others) {
        for (const char* other : others)
            app.get_option(name)->excludes(app.get_option(other));
    };
    excludes("--in", {"--flows", "--size", "--options", "--misses", "--ttl1", "--fragments"});
    excludes("--weighted", {"--in", "--flows", "--size", "--options", "--misses", "--ttl1",
                            "--fragments", "--rules", "--cores", "--latency", "--port"});
    excludes("--port", {"--latency", "--rules", "--ring", "--no-arp-answer"});
    for (const char* name : {"--churn-routes", "--churn-rate"})
        app.get_option(name)->needs(app.get_option("--latency"));
}

void describe(CLI::App& app, settings& s) {
    describe_bench_options(app, s.common);
    s.common.turns = 5;
    describe_frames(app, s);
    app.add_option(
           "--rules", s.rules,
           fmt::format("so many rules in filter FORWARD that do not match; sweep: {}", RULES_SWEEP))
        ->type_name("N,N..|sweep");
    app.add_flag(
        "--weighted", s.weighted,
        "1, 10, 50 and 100 % of slow packets of each kind beside the weighted sum of its parts");
    app.add_flag(
        "--latency", s.latency,
        "rate without a drop, latency at 10, 50, 90 % of it, and while routes change or the "
        "cache collects");
    app.add_option(
           "--config", s.job.config,
           "commands as typed on Linux, for ports p0 (in) and p1 (default: a router of its own)")
        ->type_name("FILE")
        ->check(CLI::ExistingFile);
    app.add_option("--cores", s.cores,
                   "CPUs, each a worker with its own pair of ports, such as 0-1")
        ->type_name("LIST");
    app.add_flag("--keep-mac", s.job.keep_mac,
                 "frames as captured, not as if sent to the port's MAC");
    app.add_flag("--no-arp-answer", s.no_arp_answer, "no simulated hosts that answer ARP");
    app.add_flag("--no-huge", s.job.no_huge, "do without hugepages");
    app.add_option(
           "--port", s.ports,
           "the router's real ports, for the rate without a drop (needs --config and --tester)")
        ->type_name("NAME=DEVARGS");
    app.add_option("--tester", s.tester,
                   "ports wired to them: frames go out of the first, and are counted at the others")
        ->type_name("NAME=DEVARGS");
    app.add_option("--ring", s.job.ring, "frames that wait at a port at most, a power of two")
        ->capture_default_str();
    app.add_option("--loss", s.job.loss, "percent that may be lost and count as none")
        ->check(number_range(0, 100))
        ->capture_default_str();
    app.add_option("--churn-routes", s.job.churn_routes,
                   "routes loaded anew while latency is measured")
        ->check(CLI::Range(1u, 65536u))
        ->capture_default_str();
    app.add_option("--churn-rate", s.job.churn_rate,
                   "routes changed a second, one by one, while latency is measured")
        ->check(CLI::Range(1u, 1000000u))
        ->capture_default_str();
    app.add_option(
           "--pace", s.pace,
           "frames are due by the forwarding thread's CPU time, so that none is while others "
           "have its core, or by the clock on the wall")
        ->check(CLI::IsMember({"cpu", "wall"}))
        ->capture_default_str();
    app.add_option("--seconds", s.seconds,
                   "CPU time of a measurement (default 0.5); of a trial (default 1)")
        ->check(number_range(0.001, 3600));
    refuse_contradictions(app);
    app.footer("The stages of a line add up to its total. Time is CPU time of the forwarding "
               "thread, in TSC cycles;\n"
               "stages are told by a clock in one turn of 7, scaled to the total measured without "
               "any clock. Making\n"
               "the frames (feed) is outside of it. clock %: what `slabfwd ctl stages` costs "
               "beside live traffic.");
}

std::vector<std::string> words_of(const std::string& list) {
    std::vector<std::string> out;
    std::istringstream in(list);
    for (std::string word; std::getline(in, word, ',');)
        out.push_back(word);
    return out;
}

/// A list of whole numbers; the error is a sentence.
tl::expected<std::vector<uint32_t>, std::string>
numbers(const char* option, const std::string& list, uint32_t least, uint32_t most) {
    std::vector<uint32_t> out;
    for (const std::string& word : words_of(list)) {
        char* end = nullptr;
        const unsigned long v = std::strtoul(word.c_str(), &end, 10);
        if (word.empty() || !isdigit(word[0]) || *end || v < least || v > most)
            return tl::unexpected(
                fmt::format("{} {}: numbers from {} to {} are wanted", option, word, least, most));
        out.push_back(uint32_t(v));
    }
    if (out.empty())
        return tl::unexpected(fmt::format("{}: a number is wanted", option));
    return out;
}

/// The lines that options ask for; the error is a sentence.
tl::expected<std::vector<workload>, std::string> by_flows(const settings& s) {
    const auto flows = numbers("--flows", s.flows, 1, 1 << 22);
    if (!flows)
        return tl::unexpected(flows.error());
    const std::vector<std::string> sizes =
        words_of(s.size == "rfc2544" ? "64,128,256,512,1024,1280,1518" : s.size);
    std::vector<workload> out;
    for (const std::string& size : sizes) {
        if (frame_sizes(size).empty())
            return tl::unexpected(
                fmt::format("--size {}: 64 to 1518, imix or rfc2544 is wanted", size));
        for (const uint32_t f : *flows) {
            workload w{fmt::format("{} flow{}, {}", f, f == 1 ? "" : "s",
                                   size == "imix" ? size : size + " bytes"),
                       s.job};
            w.job.mix.flows = f;
            w.job.mix.size = size;
            out.push_back(std::move(w));
        }
        if (!s.job.mix.capture.empty()) {
            out.resize(1);
            out[0].name = "capture";
            break;
        }
    }
    return out;
}

/// Slow packets of each kind, and of all.
std::vector<workload> mixtures(const settings& s) {
    std::vector<workload> out;
    workload all{"all four", s.job};
    all.job.mix = {};
    const std::pair<const char*, double frame_mix::*> kinds[] = {
        {"options", &frame_mix::options},
        {"misses", &frame_mix::misses},
        {"ttl1", &frame_mix::ttl1},
        {"fragments", &frame_mix::fragments}};
    for (const auto& [name, member] : kinds) {
        workload w{name, s.job};
        w.job.mix = {};
        w.job.mix.*member = 100;
        all.job.mix.*member = 25;
        out.push_back(std::move(w));
    }
    out.push_back(std::move(all));
    return out;
}

tl::expected<std::vector<workload>, std::string> workloads(const settings& s) {
    if (s.weighted)
        return mixtures(s);
    auto base = by_flows(s);
    if (!base || s.rules.empty())
        return base;
    const auto rules = numbers("--rules", s.rules == "sweep" ? RULES_SWEEP : s.rules, 0, 100000);
    if (!rules)
        return tl::unexpected(rules.error());
    std::vector<workload> out;
    for (const workload& b : *base)
        for (const uint32_t n : *rules) {
            workload w = b;
            w.name += fmt::format(", {} rules", n);
            w.job.rules = n;
            out.push_back(std::move(w));
        }
    return out;
}

/// Puts the options together that hang on each other; the error is a sentence.
std::string complete(settings& s) {
    if (!s.cores.empty()) {
        const auto list = parse_cores(s.cores);
        if (!list)
            return list.error();
        if (list->size() > FORWARD_LANES)
            return fmt::format("--cores {}: {} at most", s.cores, FORWARD_LANES);
        s.job.cores = *list;
        s.job.lanes = unsigned(list->size());
    }
    if (s.job.ring < 64 || s.job.ring > 65536 || (s.job.ring & (s.job.ring - 1)))
        return fmt::format("--ring {}: a power of two from 64 to 65536 is wanted", s.job.ring);
    const frame_mix& m = s.job.mix;
    if (m.options + m.misses + m.ttl1 + m.fragments > 100)
        return "shares add up to more than 100 %";
    if (s.ports.empty() != s.tester.empty() || (!s.ports.empty() && s.job.config.empty()))
        return "--port, --tester and --config go together";
    if (s.rules.empty() && s.flows == "1,1000,100000" && s.latency)
        s.flows = "1000";
    if (!s.rules.empty() && s.flows == "1,1000,100000")
        s.flows = "1000";
    s.job.arp_answer = !s.no_arp_answer;
    s.job.pace_by_wall = s.pace == "wall";
    const bool trials = s.latency || !s.ports.empty();
    if (!trials && (s.job.loss > 0 || s.job.pace_by_wall))
        return "--loss and --pace are for --latency and --port";
    const double seconds = s.seconds > 0    ? s.seconds
                           : s.common.quick ? (trials ? 0.1 : 0.06)
                           : trials         ? 1.0
                                            : 0.5;
    s.job.span_ns = uint64_t(seconds * 1e9);
    return {};
}

tl::expected<std::vector<port_config>, std::string>
port_list(const std::vector<std::string>& words) {
    std::vector<port_config> out;
    for (const std::string& word : words) {
        const size_t eq = word.find('=');
        if (eq == 0 || eq == word.npos || eq + 1 == word.size())
            return tl::unexpected(fmt::format("{}: NAME=DEVARGS is wanted", word));
        out.push_back({.name = word.substr(0, eq), .devargs = word.substr(eq + 1)});
    }
    return out;
}

/// Latency's numbers belong to lines of their own: "50%_cpu_p99" is cpu_p99 of "NAME at 50%".
void take(const workload& w, const child_result& r, bench_report& report) {
    static const auto metrics = forward_metrics();
    for (const auto& [name, value] : r.samples) {
        const auto known = [&](const std::string& metric) {
            return std::ranges::any_of(metrics,
                                       [&](const bench_metric& m) { return m.name == metric; });
        };
        const size_t bar = name.find('_');
        if (known(name))
            report.add(w.name, PEER, name, value);
        else if (bar != name.npos && known(name.substr(bar + 1)))
            report.add(w.name + " at " + name.substr(0, bar), PEER, name.substr(bar + 1), value);
    }
}

unsigned measure(const std::vector<workload>& todo, const settings& s, bench_report& report) {
    std::map<std::string, unsigned> failed;
    const search_ports_job ports{port_list(s.ports).value_or(std::vector<port_config>{}),
                                 port_list(s.tester).value_or(std::vector<port_config>{})};
    for (unsigned turn = 0; turn < s.common.turns; ++turn)
        for (const workload& w : todo) {
            if (isatty(STDERR_FILENO))
                std::fprintf(stderr, "\r%-40s", w.name.c_str());
            const child_result r = run_in_child(
                [&](child_result& out) {
                    if (!s.ports.empty())
                        run_forward_ports(w.job, ports, out);
                    else if (s.weighted)
                        run_forward_weighted(w.job, out);
                    else if (s.latency)
                        run_forward_latency(w.job, out);
                    else
                        run_forward(w.job, out);
                },
                unsigned(300 + double(w.job.span_ns) / 1e9 * 60));
            if (r.error.empty())
                take(w, r, report);
            else
                ++failed[fmt::format("{}: {}", w.name, r.error)];
        }
    if (isatty(STDERR_FILENO))
        std::fprintf(stderr, "\r%-40s\r", "");
    for (const auto& [text, times] : failed)
        std::fprintf(stderr, "slabfwd bench: %s (%u times)\n", text.c_str(), times);
    return unsigned(failed.size());
}

int fail(const std::string& why, int status) {
    std::fprintf(stderr, "slabfwd bench: %s\n", why.c_str());
    return status;
}

} // namespace

int bench_forward_main(int argc, char** argv) {
    settings s;
    CLI::App app("What a packet costs on its whole way, stage by stage, without a NIC.");
    app.name("slabfwd bench forward");
    describe(app, s);
    if (const auto status = parse_bench_options(app, argc, argv))
        return *status;
    if (const std::string why = complete(s); !why.empty())
        return fail(why, 2);
    for (const auto* list : {&s.ports, &s.tester})
        if (const auto parsed = port_list(*list); !parsed)
            return fail(parsed.error(), 2);
    auto all = workloads(s);
    if (!all)
        return fail(all.error(), 2);
    std::vector<std::string> names;
    for (const workload& w : *all)
        names.push_back(w.name);
    if (const auto status = refuse_unknown_names(s.common, {PEER}, names))
        return *status;
    std::vector<workload> todo;
    for (workload& w : *all)
        if (name_matches(s.common.workloads, w.name))
            todo.push_back(std::move(w));
    if (s.common.list) {
        for (const workload& w : todo)
            std::puts(w.name.c_str());
        return 0;
    }
    tsc_ghz(); // once, for all children
    bench_report report("forward", forward_metrics(), {{PEER, peer_kind::ours}});
    const unsigned failed = measure(todo, s, report);
    const std::string weighted = s.weighted ? forward_weighted_text(report) : std::string();
    std::printf("%u worker%s, medians of %u turns\n\n", s.job.lanes, s.job.lanes == 1 ? "" : "s",
                s.common.turns);
    std::fputs(forward_table(report).c_str(), stdout);
    if (!weighted.empty())
        std::printf("\n%s", weighted.c_str());
    std::fflush(stdout);
    std::string why;
    if (!s.common.json.empty())
        why = write_text_file(s.common.json, bench_json(report.rows()).dump(1) + "\n");
    if (why.empty() && !s.common.plot.empty())
        why = forward_plot(report, s.common.plot);
    if (!why.empty())
        return fail(why, 1);
    return failed ? 1 : 0;
}

} // namespace slabfwd
