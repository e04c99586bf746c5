// SPDX-License-Identifier: BSD-3-Clause
//
// Medians, ratios, the table and the JSON. See bench_report.h.
#include "dataplane/bench/bench_report.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace slabfwd {

double median(std::vector<double> values) {
    if (values.empty())
        return std::numeric_limits<double>::quiet_NaN();
    std::sort(values.begin(), values.end());
    const size_t half = values.size() / 2;
    return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

void bench_report::add(const std::string& workload, const std::string& peer,
                       const std::string& metric, double value) {
    if (std::find(workloads_.begin(), workloads_.end(), workload) == workloads_.end())
        workloads_.push_back(workload);
    if (const cell* c = find(workload, peer, metric)) {
        const_cast<cell*>(c)->samples.push_back(value); // one of cells_, which is ours to change
        return;
    }
    cells_.push_back({workload, peer, metric, {value}});
}

const bench_report::cell* bench_report::find(const std::string& workload, const std::string& peer,
                                             const std::string& metric) const {
    for (const cell& c : cells_)
        if (c.workload == workload && c.peer == peer && c.metric == metric)
            return &c;
    return nullptr;
}

std::optional<double> bench_report::value(const std::string& workload, const std::string& peer,
                                          const std::string& metric) const {
    const cell* c = find(workload, peer, metric);
    return c ? std::optional(median(c->samples)) : std::nullopt;
}

std::optional<best_peer> bench_report::best(const std::string& workload, const std::string& metric,
                                            const std::vector<std::string>& among) const {
    auto m = std::find_if(metrics_.begin(), metrics_.end(),
                          [&](const bench_metric& x) { return x.name == metric; });
    const bool higher = m != metrics_.end() && m->higher_is_better;
    std::optional<best_peer> best;
    for (const bench_peer& p : peers_) {
        const bool asked = among.empty()
                               ? p.kind == peer_kind::peer
                               : std::find(among.begin(), among.end(), p.name) != among.end();
        const auto v = asked ? value(workload, p.name, metric) : std::nullopt;
        if (v && (!best || (higher ? *v > best->value : *v < best->value)))
            best = best_peer{p.name, *v};
    }
    return best;
}

std::vector<bench_row> bench_report::rows() const {
    std::vector<bench_row> rows;
    for (const std::string& w : workloads_)
        for (const bench_metric& m : metrics_)
            for (const bench_peer& p : peers_) {
                const auto v = value(w, p.name, m.name);
                if (!v)
                    continue;
                rows.push_back({bench_, w, p.name, m.name, *v, m.unit});
                const auto b = p.kind == peer_kind::ours ? best(w, m.name) : std::nullopt;
                if (b && b->value > 0)
                    rows.push_back({bench_, w, p.name, m.name + "_ratio", *v / b->value, "x"});
            }
    return rows;
}

namespace {

using text_line = std::vector<std::string>;

std::string cell_text(const bench_report& r, const std::string& workload, const bench_peer& p,
                      const bench_metric& m) {
    const auto v = r.value(workload, p.name, m.name);
    if (!v)
        return "-";
    std::string text = fmt::format("{:.{}f}", *v, m.decimals);
    const auto best = p.kind == peer_kind::ours ? r.best(workload, m.name) : std::nullopt;
    // The ratio to what is shown as 0 would only be read as if it meant something.
    if (best && fmt::format("{:.{}f}", best->value, m.decimals).find_first_of("123456789") !=
                    std::string::npos)
        text += fmt::format(" ({:.2f}x)", *v / best->value);
    return text;
}

/// Lines of one metric, the heading first; only the heading when nothing was measured.
std::vector<text_line> metric_lines(const bench_report& r, const bench_metric& m) {
    std::vector<bench_peer> columns;
    for (const bench_peer& p : r.peers())
        for (const std::string& w : r.workloads())
            if (r.value(w, p.name, m.name)) {
                columns.push_back(p);
                break;
            }
    std::vector<text_line> lines(1, {"workload"});
    for (const bench_peer& p : columns)
        lines[0].push_back(p.name);
    lines[0].push_back("best peer");
    for (const std::string& w : r.workloads()) {
        text_line line = {w};
        for (const bench_peer& p : columns)
            line.push_back(cell_text(r, w, p, m));
        const auto best = r.best(w, m.name);
        line.push_back(best ? best->name : "-");
        if (std::any_of(line.begin() + 1, line.end() - 1,
                        [](const std::string& t) { return t != "-"; }))
            lines.push_back(std::move(line));
    }
    return lines;
}

} // namespace

std::string bench_table_text(const bench_report& report) {
    std::string text;
    for (const bench_metric& m : report.metrics()) {
        const std::vector<text_line> lines = metric_lines(report, m);
        if (lines.size() == 1)
            continue;
        std::vector<size_t> width(lines[0].size());
        for (const text_line& line : lines)
            for (size_t i = 0; i < line.size(); ++i)
                width[i] = std::max(width[i], line[i].size());
        text += fmt::format("{}{}\n", text.empty() ? "" : "\n", m.title);
        for (const text_line& line : lines) {
            std::string out = fmt::format("{:<{}}", line[0], width[0]);
            for (size_t i = 1; i < line.size(); ++i)
                out += fmt::format("  {:>{}}", line[i], width[i]);
            text += out + "\n";
        }
    }
    return text;
}

nlohmann::json bench_json(const std::vector<bench_row>& rows) {
    nlohmann::json list = nlohmann::json::array();
    for (const bench_row& r : rows)
        if (std::isfinite(r.value))
            list.push_back({{"bench", r.bench},
                            {"workload", r.workload},
                            {"peer", r.peer},
                            {"metric", r.metric},
                            {"value", r.value},
                            {"unit", r.unit}});
    return {{"rows", std::move(list)}};
}

} // namespace slabfwd
