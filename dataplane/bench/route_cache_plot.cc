// SPDX-License-Identifier: BSD-3-Clause
//
// Curves drawn by gnuplot, panels one below the other. See route_cache.h.
#include <fmt/format.h>

#include "dataplane/bench/route_cache.h"

namespace slabfwd {

namespace {

std::string quoted(const std::string& text) {
    std::string out = "'";
    for (char c : text)
        out += c == '\'' ? std::string("''") : std::string(1, c);
    return out + "'";
}

constexpr size_t COLOURS = 8; ///< that gnuplot has; then dashes tell curves apart

std::string panel_text(const plot_panel& p, size_t number) {
    std::string s, plot;
    for (size_t c = 0; c < p.curves.size(); ++c) {
        s += fmt::format("$d{}_{} << EOD\n", number, c);
        for (auto [x, y] : p.curves[c].points)
            s += fmt::format("{:.8g} {:.8g}\n", x, y);
        s += "EOD\n";
        plot += fmt::format("{}$d{}_{} using 1:2 with linespoints linecolor {} dashtype {} "
                            "pointtype {} pointsize 0.5 title {}",
                            c ? ", " : "plot ", number, c, c % COLOURS + 1, c / COLOURS + 1, c + 1,
                            quoted(p.curves[c].title));
    }
    s += fmt::format("set title {}\nset xlabel {}\nset ylabel {}\n", quoted(p.title),
                     quoted(p.xlabel), quoted(p.ylabel));
    s += fmt::format("unset logscale\n{}{}", p.logx ? "set logscale x\n" : "",
                     p.logy                      ? "set logscale y\n"
                     : p.ylabel.starts_with('%') ? "set yrange [0:105]\n"
                                                 : "set yrange [0:*]\n");
    s += plot + "\nset yrange [*:*]\n";
    return s;
}

} // namespace

std::string plot_curves(const std::string& title, const std::vector<plot_panel>& panels,
                        const std::string& file) {
    if (panels.empty())
        return "nothing to plot";
    std::string drawing =
        fmt::format("set multiplot layout {},1 title {}\n", panels.size(), quoted(title));
    drawing += "set grid\nset key outside right top maxcols 1 samplen 3 font ',9'\n";
    size_t curves = 0;
    for (const plot_panel& p : panels)
        curves = std::max(curves, p.curves.size());
    const size_t height = std::max<size_t>(400, 100 + 14 * curves); // the key has a line for each
    for (size_t i = 0; i < panels.size(); ++i)
        drawing += panel_text(panels[i], i);
    drawing += "unset multiplot\nunset output\n";
    for (const std::string& name : plot_files(file)) {
        const std::string why =
            run_gnuplot(plot_terminal(name, 1200, height * panels.size()) + drawing, name);
        if (!why.empty())
            return why;
    }
    return {};
}

} // namespace slabfwd
