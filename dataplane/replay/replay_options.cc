// SPDX-License-Identifier: BSD-3-Clause
//
// The command line, by CLI11. See replay_options.h.
#include "dataplane/replay/replay_options.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "dataplane/slab_options.h"

namespace slabfwd {

namespace {

using error = tl::unexpected<usage_exit>;

error wrong(std::string text) {
    return error(usage_exit{std::move(text), 2});
}

/// The words as CLI11 leaves them, before they are looked at.
struct raw_words {
    std::vector<std::string> in, out;
    std::string trace;
};

/// Whole numbers from `least`, in decimal; CLI11 itself would take -1 for a very large one.
auto number_from(uint64_t least) {
    return [least](const std::string& word) -> std::string {
        uint64_t n = 0;
        auto [end, ec] = std::from_chars(word.data(), word.data() + word.size(), n);
        if (ec == std::errc() && end == word.data() + word.size() && n >= least)
            return {};
        return fmt::format("{} is no number from {} on", word, least);
    };
}

void describe(CLI::App& app, replay_options& o, raw_words& raw) {
    app.name("slabfwd replay");
    app.add_option("--config", o.config, "file of commands, one a line, as typed on Linux")
        ->required()
        ->type_name("FILE");
    app.add_option("--in", raw.in,
                   "port and the capture it receives (repeat; one port may have several)")
        ->required()
        ->allow_extra_args(false)
        ->type_name("NAME=FILE");
    app.add_option("--out", raw.out, "port and the file for what it sends (repeat)")
        ->allow_extra_args(false)
        ->type_name("NAME=FILE");
    app.add_flag(
        "--keep-mac", o.keep_mac,
        "leave destination MACs as captured (else unicast frames count as sent to the port)");
    app.add_flag("--no-arp-answer", o.no_arp_answer, "no simulated hosts that answer ARP");
    add_slab_options(app);
    add_slab_memory_option(app, &o.slab_memory);
    app.add_option("--loop", o.loop, "play everything N times")
        ->check(number_from(1))
        ->type_name("N");
    app.add_option("--limit", o.limit, "stop after N frames")
        ->check(number_from(0))
        ->type_name("N");
    app.add_option("--seed", o.seed, "for every random choice (default 1; 0: another each time)")
        ->check(number_from(0))
        ->type_name("N");
    app.add_option("--trace", raw.trace, "print the walk of the first N frames (default: all)")
        ->expected(0, 1)
        ->default_str("all")
        ->type_name("[N]");
    app.add_option("--drops", o.drops,
                   "write every dropped packet to a pcapng, its reason as the comment")
        ->type_name("FILE");
    app.add_option("--hook", o.hooks, "shared object with packet hooks (repeat)")
        ->type_name("FILE.so");
    app.add_option("--json", o.json, "write the summary as JSON too")->type_name("FILE");
    app.add_flag("--no-huge", o.no_huge,
                 "do without hugepages (chosen by itself when there are none)");
    app.add_option("--eal", o.eal, "further options for DPDK's environment, as one string")
        ->type_name("WORDS");
    app.add_flag("--quiet", o.quiet, "no summary on standard output, no progress bar");
    add_slab_debug_options(app);
}

/// NAME=FILE; the name becomes a port when it is new. The reason when it is neither.
std::string add_port_file(replay_options& o, std::vector<port_file>& files, const char* option,
                          const std::string& word) {
    size_t eq = word.find('=');
    if (eq == std::string::npos || eq == 0 || eq + 1 == word.size())
        return fmt::format("{} {}: NAME=FILE is wanted", option, word);
    std::string name = word.substr(0, eq);
    auto at = std::find(o.ports.begin(), o.ports.end(), name);
    auto port = unsigned(at - o.ports.begin());
    if (at == o.ports.end())
        o.ports.push_back(name);
    files.push_back({port, word.substr(eq + 1)});
    return {};
}

/// --in and --out in the order they were typed: ports are numbered by first appearance.
std::string number_ports(const CLI::App& app, replay_options& o, const raw_words& raw) {
    size_t in = 0, out = 0;
    for (const CLI::Option* option : app.parse_order()) {
        std::string why;
        if (option->check_name("--in") && in < raw.in.size())
            why = add_port_file(o, o.in, "--in", raw.in[in++]);
        else if (option->check_name("--out") && out < raw.out.size())
            why = add_port_file(o, o.out, "--out", raw.out[out++]);
        if (!why.empty())
            return why;
    }
    for (size_t i = 0; i < o.out.size(); ++i)
        for (size_t j = 0; j < i; ++j)
            if (o.out[i].port == o.out[j].port)
                return fmt::format("--out {}: the port has an output already ({})", raw.out[i],
                                   o.out[j].path);
    return {};
}

std::string parse_trace(replay_options& o, const std::string& word) {
    o.trace = UINT64_MAX;
    if (word == "all")
        return {};
    if (std::string why = number_from(0)(word); !why.empty())
        return "--trace: " + why;
    o.trace = std::stoull(word);
    return {};
}

} // namespace

tl::expected<replay_options, usage_exit> parse_replay_options(int argc, const char* const* argv) {
    CLI::App app{
        "Sends captures through a router, on the clock of their time stamps, and writes what "
        "comes out.\nPorts are all NAMEs of --in and --out, in order of first appearance, with "
        "the MACs 02:00:00:00:00:NN."};
    replay_options o;
    raw_words raw;
    describe(app, o, raw);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        std::ostringstream out, err;
        int status = app.exit(e, out, err);
        return error(usage_exit{status ? err.str() : out.str(), status});
    }
    if (std::string why = number_ports(app, o, raw); !why.empty())
        return wrong(why + "\n");
    if (app.count("--trace"))
        if (std::string why = parse_trace(o, raw.trace); !why.empty())
            return wrong(why + "\n");
    if (o.ports.size() > 99)
        return wrong(fmt::format("{} ports; 99 at most\n", o.ports.size()));
    return o;
}

} // namespace slabfwd
