// SPDX-License-Identifier: BSD-3-Clause
//
// The options that every `slabfwd bench NAME` takes.
// Doors: number_range(), parse_bench_options(), name_matches(), refuse_unknown_names().
// Threads: one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace slabfwd {

struct bench_options {
    unsigned turns = 7;                        ///< medians are over so many
    bool quick = false;                        ///< short turns: to see that all works
    std::string json, plot;                    ///< files to write
    std::vector<std::string> peers, workloads; ///< patterns; empty: all
    bool list = false;                         ///< name peers and workloads, measure nothing
    bool strict = false;                       ///< exit status 1 when a target is missed
};

/// Adds the common options to a command line.
void describe_bench_options(CLI::App& app, bench_options& o);

/// For check(): a number from least to most. CLI::Range takes nan for one.
CLI::Validator number_range(double least, double most);

/// Parses; an exit status when there is nothing left to do (--help was asked for, or a word is
/// wrong: both were printed).
std::optional<int> parse_bench_options(CLI::App& app, int argc, char** argv);

/// Does one of the patterns (shell wildcards; a plain word matches anywhere) match? With none: yes.
bool name_matches(const std::vector<std::string>& patterns, const std::string& name);
/// An exit status when a pattern of --peer or --workload matches none of these names (which was said on stderr).
std::optional<int> refuse_unknown_names(const bench_options& o, const std::vector<std::string>& peers,
                                        const std::vector<std::string>& workloads);

/// Writes a file; the error is a sentence.
std::string write_text_file(const std::string& path, const std::string& text);

} // namespace slabfwd
