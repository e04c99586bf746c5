// SPDX-License-Identifier: BSD-3-Clause
//
// The common options, by CLI11. See bench_options.h.
#include "dataplane/bench/bench_options.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fnmatch.h>
#include <fstream>

#include <fmt/format.h>

namespace slabfwd {

void describe_bench_options(CLI::App& app, bench_options& o) {
    app.add_option("--turns", o.turns, "measure so many times, peers in turn; medians are shown")
        ->check(CLI::Range(1u, 1001u))
        ->type_name("N")
        ->capture_default_str();
    app.add_flag("--quick", o.quick, "short turns: shows that all works, the numbers are rough");
    app.add_option("--json", o.json, "write the numbers as JSON too")->type_name("FILE");
    app.add_option("--plot", o.plot, "draw the numbers with gnuplot; without an ending both")
        ->type_name("FILE[.svg|.png]");
    app.add_option("--peer", o.peers, "only peers that match (repeat; wildcards)")
        ->allow_extra_args(false)
        ->type_name("NAME");
    app.add_option("--workload", o.workloads, "only workloads that match (repeat; wildcards)")
        ->allow_extra_args(false)
        ->type_name("NAME");
    app.add_flag("--list", o.list, "name the peers and workloads, measure nothing");
    app.add_flag("--strict", o.strict, "exit status 1 when a target is missed");
}

CLI::Validator number_range(double least, double most) {
    const auto check = [least, most](std::string& word) {
        double v = 0;
        // nan is in no comparison
        const bool within = CLI::detail::lexical_cast(word, v) && v >= least && v <= most;
        return within ? std::string()
                      : fmt::format("{} is no number from {} to {}", word, least, most);
    };
    return {check, fmt::format("[{} - {}]", least, most)};
}

std::optional<int> parse_bench_options(CLI::App& app, int argc, char** argv) {
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        const int status = app.exit(e);
        return status ? 2 : 0;
    }
    return std::nullopt;
}

bool name_matches(const std::vector<std::string>& patterns, const std::string& name) {
    for (const std::string& p : patterns) {
        const bool wild = p.find_first_of("*?[") != std::string::npos;
        if (wild ? fnmatch(p.c_str(), name.c_str(), 0) == 0 : name.find(p) != std::string::npos)
            return true;
    }
    return patterns.empty();
}

std::optional<int> refuse_unknown_names(const bench_options& o, const std::vector<std::string>& peers,
                                        const std::vector<std::string>& workloads) {
    const auto unknown = [](const char* option, const std::vector<std::string>& patterns,
                            const std::vector<std::string>& names) {
        for (const std::string& p : patterns)
            if (std::ranges::none_of(names, [&](const std::string& n) { return name_matches({p}, n); })) {
                fmt::print(stderr, "slabfwd bench: {} {}: there is none of that name; {}\n", option, p,
                           fmt::join(names, ", "));
                return true;
            }
        return false;
    };
    if (unknown("--peer", o.peers, peers) || unknown("--workload", o.workloads, workloads))
        return 2;
    return {};
}

std::string write_text_file(const std::string& path, const std::string& text) {
    std::ofstream out(path);
    out << text;
    out.close();
    return out ? std::string() : fmt::format("{}: {}", path, std::strerror(errno));
}

} // namespace slabfwd
