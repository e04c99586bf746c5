// SPDX-License-Identifier: BSD-3-Clause
//
// bench_report: what every benchmark of `slabfwd bench` has in common once it has numbers: samples
// of several turns become medians, medians become a table for people, rows of JSON for programs and
// a plot.
//
// Doors: bench_report::add(), bench_table_text(), bench_json(), bench_plot().
// Peers are measured in turn in one run; what counts is a ratio: each of our own columns shows how
// it stands to the best of the peers in the same line. Threads: one.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace slabfwd {

/// Median; of an even number the mean of the two in the middle. NaN of nothing.
double median(std::vector<double> values);

/// One number of the result, as it stands in {"rows":[...]}.
struct bench_row {
    std::string bench, workload, peer, metric;
    double value = 0;
    std::string unit;
};

/// What a metric is and how it is shown.
struct bench_metric {
    std::string name, unit;
    std::string title;             ///< above the table
    bool higher_is_better = false; ///< Mpps; else time, bytes
    int decimals = 1;
    bool plotted = false; ///< has a panel of its own in the plot
};

enum class peer_kind {
    peer,      ///< what we measure ourselves by
    ours,      ///< shown with the ratio to the best peer
    reference, ///< a bound nobody reaches, no peer
};

/// A column of the tables.
struct bench_peer {
    std::string name;
    peer_kind kind = peer_kind::peer;
};

/// The best of the peers in one line of a table.
struct best_peer {
    std::string name;
    double value = 0;
};

/// Samples of one benchmark, by workload, peer and metric, in the order of their first appearance.
class bench_report {
public:
    bench_report(std::string bench, std::vector<bench_metric> metrics,
                 std::vector<bench_peer> peers)
        : bench_(std::move(bench)), metrics_(std::move(metrics)), peers_(std::move(peers)) {}

    /// One turn's number. REQUIRES that metric and peer were named to the constructor.
    void add(const std::string& workload, const std::string& peer, const std::string& metric,
             double value);
    /// Median of the turns; nothing when there was none.
    std::optional<double> value(const std::string& workload, const std::string& peer,
                                const std::string& metric) const;
    /// The best of the peers, or of those `among` names; nothing when none was measured.
    std::optional<best_peer> best(const std::string& workload, const std::string& metric,
                                  const std::vector<std::string>& among = {}) const;
    /// Medians, and for our own columns rows of the metric NAME_ratio (unit "x") to the best peer.
    std::vector<bench_row> rows() const;

    const std::string& bench() const { return bench_; }
    const std::vector<bench_metric>& metrics() const { return metrics_; }
    const std::vector<bench_peer>& peers() const { return peers_; }
    const std::vector<std::string>& workloads() const { return workloads_; }

private:
    struct cell {
        std::string workload, peer, metric;
        std::vector<double> samples;
    };
    const cell* find(const std::string& workload, const std::string& peer,
                     const std::string& metric) const;

    std::string bench_;
    std::vector<bench_metric> metrics_;
    std::vector<bench_peer> peers_;
    std::vector<std::string> workloads_;
    std::vector<cell> cells_;
};

/// The tables, one a metric that has numbers: a line a workload, a column a peer. In our own
/// columns the ratio to the best peer follows in parentheses.
std::string bench_table_text(const bench_report& report);

/// {"rows":[{"bench","workload","peer","metric","value","unit"}]}; numbers that are none are left
/// out.
nlohmann::json bench_json(const std::vector<bench_row>& rows);

/// What gnuplot is given: a panel of bars for each metric with `plotted`.
std::string bench_plot_script(const bench_report& report, const std::string& file);
/// Draws the plot with gnuplot; the error is a sentence, empty when all went well. FILE.svg or
/// FILE.png; a name without such an ending stands for both.
std::string bench_plot(const bench_report& report, const std::string& file);
/// The files that the argument of --plot stands for.
std::vector<std::string> plot_files(const std::string& name);
/// `set terminal` and `set output` for one of them.
std::string plot_terminal(const std::string& file, size_t width, size_t height);
/// Runs gnuplot on a script that draws `file`; the error is a sentence.
std::string run_gnuplot(const std::string& script, const std::string& file);

} // namespace slabfwd
