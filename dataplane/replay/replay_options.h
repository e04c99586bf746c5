// SPDX-License-Identifier: BSD-3-Clause
//
// The command line of `slabfwd replay`, read into plain values. Options that tcpreplay has carry
// its names. Door: parse_replay_options. Threads: main.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace slabfwd {

/// NAME=FILE of --in or --out.
struct port_file {
    unsigned port; ///< index into replay_options::ports
    std::string path;
};

struct replay_options {
    std::string config, drops, json, eal, slab_memory;
    std::vector<std::string> hooks; ///< shared objects of --hook
    std::vector<std::string> ports; ///< every NAME once, in order of first appearance
    std::vector<port_file> in, out; ///< in the order given
    uint64_t loop = 1;
    uint64_t limit = UINT64_MAX;
    uint64_t seed = 1;
    std::optional<uint64_t> trace; ///< how many frames; --trace alone: all
    bool keep_mac = false, no_arp_answer = false, no_huge = false, quiet = false;
};

/// Why a command line is not carried out: the text for the user and the exit status (0 for --help).
struct usage_exit {
    std::string text;
    int status;
};

/// argv[0] is the subcommand's name.
tl::expected<replay_options, usage_exit> parse_replay_options(int argc, const char* const* argv);

} // namespace slabfwd
