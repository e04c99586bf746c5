// SPDX-License-Identifier: BSD-3-Clause
//
// The plot of a benchmark: bars by workload and peer, one panel for each plotted metric, drawn by
// gnuplot as SVG or PNG. See bench_report.h.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sys/wait.h>

#include <fmt/format.h>

#include "dataplane/bench/bench_report.h"

namespace slabfwd {

namespace {

/// Text between gnuplot's single quotes.
std::string quoted(const std::string& text) {
    std::string out = "'";
    for (char c : text)
        out += c == '\'' ? std::string("''") : std::string(1, c);
    return out + "'";
}

struct panel {
    const bench_metric* metric;
    std::vector<std::string> workloads;
    std::vector<std::string> peers;
};

std::vector<panel> panels_of(const bench_report& r) {
    std::vector<panel> panels;
    for (const bench_metric& m : r.metrics()) {
        panel p{&m, {}, {}};
        for (const std::string& w : r.workloads())
            if (std::any_of(r.peers().begin(), r.peers().end(),
                            [&](const bench_peer& b) { return bool(r.value(w, b.name, m.name)); }))
                p.workloads.push_back(w);
        for (const bench_peer& b : r.peers())
            if (std::any_of(p.workloads.begin(), p.workloads.end(),
                            [&](const std::string& w) { return bool(r.value(w, b.name, m.name)); }))
                p.peers.push_back(b.name);
        if (m.plotted && !p.workloads.empty())
            panels.push_back(std::move(p));
    }
    return panels;
}

/// The numbers of a panel as a gnuplot data block.
std::string data_block(const bench_report& r, const panel& p, size_t number) {
    std::string out = fmt::format("$panel{} << EOD\nworkload", number);
    for (const std::string& peer : p.peers)
        out += fmt::format(" \"{}\"", peer);
    out += "\n";
    for (const std::string& w : p.workloads) {
        out += fmt::format("\"{}\"", w);
        for (const std::string& peer : p.peers) {
            const auto v = r.value(w, peer, p.metric->name);
            out += v ? fmt::format(" {:.6g}", *v) : std::string(" NaN");
        }
        out += "\n";
    }
    return out + "EOD\n";
}

} // namespace

std::string bench_plot_script(const bench_report& report, const std::string& file) {
    const std::vector<panel> panels = panels_of(report);
    if (panels.empty())
        return {};
    size_t bars = 0;
    for (const panel& p : panels)
        bars = std::max(bars, p.workloads.size() * (p.peers.size() + 1));
    std::string s =
        plot_terminal(file, std::clamp<size_t>(bars * 7, 900, 4000), 420 * panels.size());
    for (size_t i = 0; i < panels.size(); ++i)
        s += data_block(report, panels[i], i);
    s += fmt::format("set multiplot layout {},1 title {}\n", panels.size(),
                     quoted("slabfwd bench " + report.bench()));
    s +=
        "set style data histograms\nset style histogram clustered gap 1\nset style fill solid 0.8\n"
        "set key outside right top\nset xtics rotate by -40 noenhanced\nset grid ytics\n"
        "set logscale y\nset datafile missing 'NaN'\n";
    for (size_t i = 0; i < panels.size(); ++i) {
        const panel& p = panels[i];
        s += fmt::format("set title {}\nset ylabel {}\nplot ", quoted(p.metric->title),
                         quoted(p.metric->unit));
        for (size_t c = 0; c < p.peers.size(); ++c)
            s += fmt::format("{}$panel{} using {}{} title columnheader({})", c ? ", " : "", i,
                             c + 2, c ? "" : ":xtic(1)", c + 2);
        s += "\n";
    }
    return s + "unset multiplot\nunset output\n";
}

std::vector<std::string> plot_files(const std::string& name) {
    if (name.ends_with(".svg") || name.ends_with(".png"))
        return {name};
    return {name + ".svg", name + ".png"};
}

std::string plot_terminal(const std::string& file, size_t width, size_t height) {
    return fmt::format("set terminal {} size {},{} noenhanced font 'sans,11'\nset output {}\n",
                       file.ends_with(".png") ? "pngcairo" : "svg background 'white'", width,
                       height, quoted(file));
}

std::string run_gnuplot(const std::string& script, const std::string& file) {
    FILE* gnuplot = popen("gnuplot", "w");
    if (!gnuplot)
        return fmt::format("gnuplot: {}", std::strerror(errno));
    const bool written = std::fwrite(script.data(), 1, script.size(), gnuplot) == script.size();
    const int status = pclose(gnuplot);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return "gnuplot is not installed (Debian: gnuplot-nox)";
    if (!written || status != 0)
        return fmt::format("gnuplot could not draw {}", file);
    return {};
}

std::string bench_plot(const bench_report& report, const std::string& file) {
    for (const std::string& name : plot_files(file)) {
        const std::string script = bench_plot_script(report, name);
        const std::string why = script.empty() ? "nothing to plot" : run_gnuplot(script, name);
        if (!why.empty())
            return why;
    }
    return {};
}

} // namespace slabfwd
