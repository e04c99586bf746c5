// SPDX-License-Identifier: BSD-3-Clause
//
// What bench forward shows: the table of stages, the others, the weighted sums, the plot. See
// forward.h.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <sys/wait.h>

#include <fmt/format.h>

#include "dataplane/bench/forward.h"
#include "dataplane/worker/stage_clock.h"
#include "neigh/drop_reason.h"

namespace slabfwd {

namespace {

const std::string PEER = "slabfwd";

/// Workloads that have a metric.
std::vector<std::string> with(const bench_report& r, const std::string& metric) {
    std::vector<std::string> out;
    for (const std::string& w : r.workloads())
        if (r.value(w, PEER, metric))
            out.push_back(w);
    return out;
}

struct column {
    std::string head, metric;
    int decimals;
};

/// One table; columns in which nobody has more than nothing are left out.
std::string table(const bench_report& r, const std::string& title, const std::string& needs,
                  std::vector<column> columns) {
    const std::vector<std::string> lines = with(r, needs);
    if (lines.empty())
        return {};
    std::erase_if(columns, [&](const column& c) {
        return std::ranges::all_of(lines, [&](const std::string& w) {
            return r.value(w, PEER, c.metric).value_or(0) == 0;
        });
    });
    size_t width = 8;
    for (const std::string& w : lines)
        width = std::max(width, w.size());
    std::string text = fmt::format("{}\n{:<{}}", title, "workload", width);
    for (const column& c : columns)
        text += fmt::format("  {:>{}}", c.head, std::max<size_t>(c.head.size(), 7));
    text += "\n";
    for (const std::string& w : lines) {
        text += fmt::format("{:<{}}", w, width);
        for (const column& c : columns) {
            const auto v = r.value(w, PEER, c.metric);
            text += fmt::format("  {:>{}}", v ? fmt::format("{:.{}f}", *v, c.decimals) : "-",
                                std::max<size_t>(c.head.size(), 7));
        }
        text += "\n";
    }
    return text + "\n";
}

/// Stacked bars: a bar a workload, a colour a stage.
std::string stages_panel(const bench_report& r, const std::vector<std::string>& workloads) {
    std::string s = "$stages << EOD\nworkload";
    for (unsigned i = 0; i < NR_STAGES; ++i)
        s += fmt::format(" {}", stage_name(stage(i)));
    s += "\n";
    for (const std::string& w : workloads) {
        s += "\"" + w + "\"";
        for (unsigned i = 0; i < NR_STAGES; ++i)
            s += fmt::format(
                " {:.6g}",
                r.value(w, PEER, fmt::format("stage_{}", stage_name(stage(i)))).value_or(0));
        s += "\n";
    }
    s += "EOD\nset style data histograms\nset style histogram rowstacked\nset style fill solid "
         "0.85\nset boxwidth 0.7\n"
         "set grid ytics\nset key outside right top invert\nset xtics rotate by -30 "
         "noenhanced\nset yrange [0:*]\n"
         "set title 'Cost of a packet by stage'\nset ylabel 'TSC cycles'\nunset xlabel\nplot ";
    for (unsigned i = 0; i < NR_STAGES; ++i)
        s += fmt::format("{}$stages using {}{} title columnheader({})", i ? ", " : "", i + 2,
                         i ? "" : ":xtic(1)", i + 2);
    return s + "\n";
}

/// Cost over the number of rules; no rule stands at 1 on the logarithmic axis and says so.
std::string rules_panel(const std::vector<std::pair<double, double>>& curve) {
    std::string s = "$rules << EOD\n";
    for (const auto& [rules, cycles] : curve)
        s += fmt::format("{:.6g} {:.6g} \"{:g}\"\n", std::max(rules, 1.0), cycles, rules);
    return s + "EOD\nset logscale x\nset xtics norotate autofreq\nset yrange [0:*]\n"
               "set title 'Cost of a packet over rules in filter FORWARD that do not match'\nset "
               "xlabel 'rules'\n"
               "set ylabel 'TSC cycles'\nplot $rules using 1:2:xtic(3) with linespoints title "
               "'slabfwd'\n";
}

} // namespace

std::vector<bench_metric> forward_metrics() {
    std::vector<bench_metric> m = {
        {"cycles", "TSC cycles/packet", "Cycles of a packet", false, 1, true},
        {"mpps", "Mpps", "Packets, millions per second of CPU time", true, 2, false},
        {"hit_ratio", "%", "Found in the route cache", true, 2, false},
        {"feed", "TSC cycles/packet", "Making frames and taking them away (not in cycles)", false,
         1, false},
        {"clock_cost", "%", "What a stage clock costs that times one turn in 64", false, 2, false},
        {"clock_scale", "x", "CPU time by what the timed turns add up to", false, 3, false},
        {"rx", "packets", "Received", true, 0, false},
        {"tx", "packets", "Sent", true, 0, false},
        {"drops", "%", "Dropped", false, 2, false},
        {"weighted_ratio", "x", "Cost by the weighted sum of its parts", false, 3, false},
        {"no_drop_mpps", "Mpps", "Rate without a drop", true, 3, false},
        {"fails_mpps", "Mpps", "Slowest rate above it that lost frames", true, 3, false},
        {"failed_loss", "%", "Lost at that rate", false, 3, false},
        {"failed_before", "%", "Lost before the router", false, 3, false},
        {"failed_dropped", "%", "Dropped by the router", false, 3, false},
        {"failed_behind", "%", "Lost behind the router", false, 3, false},
        {"sent_mpps", "Mpps", "Sent in the trial", true, 3, false},
        {"loss", "%", "Lost in the trial", false, 3, false},
        {"lost_ring_full", "%", "Lost, the router's ring being full", false, 3, false},
        {"lost_off_cpu", "%", "Lost while the forwarding thread did not run", false, 3, false},
        {"lost_dropped", "%", "Dropped by the router", false, 3, false},
        {"lost_no_buffer", "%", "Not sent for want of a buffer", false, 3, false},
        {"lost_unexplained", "%", "Lost and counted nowhere", false, 3, false},
        {"off_cpu", "%", "Of the time that the forwarding thread did not run", false, 1, false},
        {"generator_off_cpu", "%", "Of the time that the generator did not run", false, 1, false},
        {"collects", "calls", "Garbage collections meanwhile", false, 0, false},
        {"reloads", "loads", "Tables loaded meanwhile", true, 0, false},
        {"stamped", "packets", "Timed", true, 0, false},
        {"route_changes", "changes", "Routes changed meanwhile", true, 0, false},
        {"work_entries", "entries", "Most entries in a chain that one packet looked at", false, 0,
         false},
        {"work_collected", "entries", "Most entries that one packet looked at to collect", false, 0,
         false},
        {"work_routes", "routes", "Most routes that one packet looked at", false, 0, false},
        {"work_rules", "rules", "Most rules that one packet looked at", false, 0, false},
    };
    for (unsigned s = 0; s < NR_STAGES; ++s)
        m.push_back({fmt::format("stage_{}", stage_name(stage(s))), "TSC cycles/packet",
                     stage_name(stage(s)), false, 1, false});
    for (const char* clock : {"cpu", "wall"})
        for (const char* q : {"p50", "p99", "p99.9", "max"})
            m.push_back({fmt::format("{}_{}", clock, q), "us", fmt::format("{} {}", clock, q),
                         false, 2, false});
    for (unsigned i = 0; i < NR_DROP_REASONS; ++i)
        m.push_back({fmt::format("drop_{}", drop_reason_name(skb_drop_reason(i))), "%", "dropped",
                     false, 2, false});
    return m;
}

std::string forward_table(const bench_report& r) {
    std::vector<column> stages, drops = {{"tx", "tx", 0}, {"drops %", "drops", 2}};
    for (unsigned s = 0; s < NR_STAGES; ++s)
        stages.push_back({stage_name(stage(s)), fmt::format("stage_{}", stage_name(stage(s))), 1});
    stages.push_back({"= total", "cycles", 1});
    stages.push_back({"feed", "feed", 1});
    stages.push_back({"Mpps", "mpps", 2});
    stages.push_back({"hits %", "hit_ratio", 2});
    stages.push_back({"clock %", "clock_cost", 2});
    drops.insert(drops.begin(), {"rx", "rx", 0});
    for (unsigned i = 0; i < NR_DROP_REASONS; ++i) {
        const char* name = drop_reason_name(skb_drop_reason(i));
        drops.push_back({name, fmt::format("drop_{}", name), 2});
    }
    std::string text = table(
        r, "TSC cycles of CPU time a packet, by stage (feed: making the frames, is in no total)",
        "cycles", stages);
    text += table(r, "Packets, and drops in % of those received", "rx", drops);
    text += table(r, "Rate without a drop (Mpps); lost at the next rate tried, in % of those sent",
                  "no_drop_mpps",
                  {{"Mpps", "no_drop_mpps", 3},
                   {"fails at", "fails_mpps", 3},
                   {"loss %", "failed_loss", 3},
                   {"before", "failed_before", 3},
                   {"dropped", "failed_dropped", 3},
                   {"behind", "failed_behind", 3}});
    for (const std::string& w : with(r, "no_drop_mpps"))
        if (r.value(w, PEER, "fails_mpps").value_or(1) == 0)
            text.insert(text.size() - 1,
                        w + ": no rate failed, the generator can send no faster\n");
    text += table(r,
                  "Latency from rx to tx in us, in CPU time of the forwarding thread and by the "
                  "clock on the wall",
                  "cpu_p50",
                  {{"cpu p50", "cpu_p50", 2},
                   {"p99", "cpu_p99", 2},
                   {"p99.9", "cpu_p99.9", 2},
                   {"max", "cpu_max", 2},
                   {"wall p50", "wall_p50", 2},
                   {"p99", "wall_p99", 2},
                   {"p99.9", "wall_p99.9", 2},
                   {"max", "wall_max", 2},
                   {"packets", "stamped", 0}});
    text += table(r, "What was sent meanwhile, and what was lost by cause, in % of it", "sent_mpps",
                  {{"Mpps", "sent_mpps", 3},
                   {"loss %", "loss", 3},
                   {"ring full", "lost_ring_full", 3},
                   {"off CPU", "lost_off_cpu", 3},
                   {"dropped", "lost_dropped", 3},
                   {"no buffer", "lost_no_buffer", 3},
                   {"unexplained", "lost_unexplained", 3},
                   {"router off CPU %", "off_cpu", 1},
                   {"generator off CPU %", "generator_off_cpu", 1},
                   {"hits %", "hit_ratio", 2},
                   {"collections", "collects", 0},
                   {"route changes", "route_changes", 0},
                   {"reloads", "reloads", 0}});
    text += table(r, "The most that one packet made the router look at", "work_entries",
                  {{"chain", "work_entries", 0},
                   {"collection", "work_collected", 0},
                   {"routes", "work_routes", 0},
                   {"rules", "work_rules", 0}});
    if (!text.empty())
        text.pop_back();
    return text;
}

std::vector<std::pair<double, double>> forward_rules_curve(const bench_report& r) {
    std::vector<std::pair<double, double>> curve;
    for (const std::string& w : with(r, "cycles")) {
        const size_t at = w.rfind(" rules"), from = w.rfind(' ', at == w.npos ? at : at - 1);
        if (at != w.npos && from != w.npos && at + 6 == w.size())
            curve.emplace_back(std::strtod(w.c_str() + from + 1, nullptr),
                               *r.value(w, PEER, "cycles"));
    }
    return curve;
}

std::string forward_weighted_text(const bench_report& r) {
    double farthest = 1;
    std::string text;
    for (const std::string& w : with(r, "weighted_ratio")) {
        const double ratio = *r.value(w, PEER, "weighted_ratio");
        if (std::abs(ratio - 1) > std::abs(farthest - 1))
            farthest = ratio;
        text += fmt::format("{:<18} {:8.1f} cycles, {:.2f} x the weighted sum\n", w,
                            r.value(w, PEER, "cycles").value_or(0), ratio);
    }
    return text.empty() ? text : text + fmt::format("farthest from it: {:.2f} x\n", farthest);
}

std::string forward_plot(const bench_report& r, const std::string& file) {
    const std::vector<std::string> workloads = with(r, "cycles");
    const auto curve = forward_rules_curve(r);
    if (workloads.empty())
        return "nothing to plot";
    const unsigned panels = curve.size() > 1 ? 2 : 1;
    std::string drawing =
        fmt::format("set multiplot layout {},1 title 'slabfwd bench forward'\n", panels);
    drawing += stages_panel(r, workloads);
    if (panels == 2)
        drawing += rules_panel(curve);
    drawing += "unset multiplot\nunset output\n";
    const size_t width = std::clamp<size_t>(workloads.size() * 60, 900, 4000);
    for (const std::string& name : plot_files(file))
        if (std::string why = run_gnuplot(plot_terminal(name, width, 480 * panels) + drawing, name);
            !why.empty())
            return why;
    return {};
}

} // namespace slabfwd
