// SPDX-License-Identifier: BSD-3-Clause
//
// The files below /proc that people's scripts read, and the short reports.
// Doors: cat_command, report_commands. Threads: control thread under rtnl; counters of other slots
// are read as they run. Origin of the formats: 2.6.32 net/ipv4/route.c (rt_cache,
// stat/rt_cache); 6.18 net/core/neighbour.c, net/ipv4/{arp,fib_trie,proc}.c, net/core/net-procfs.c;
// mm/slab_common.c.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "dataplane/control/command.h"

namespace slabfwd {

/// The text of a file, or nothing when there is none of that name.
std::optional<std::string> proc_file(net& n, std::string_view path);
/// The names of all files.
std::span<const char* const> proc_files();

/// `cat FILE...`
bool cat_command(command& c, std::span<const std::string> words);
/// `slabinfo`, `rt_cache`, `snmp`, `drops`, each with -j (and -a: zeros too).
bool slabinfo_command(command& c, std::span<const std::string> words);
bool rt_cache_command(command& c, std::span<const std::string> words);
bool snmp_command(command& c, std::span<const std::string> words);
bool drops_command(command& c, std::span<const std::string> words);

/// Sums over slots.
struct snmp_sums {
    uint64_t ip[unsigned(ipstats_mib::MAX)] = {};
    uint64_t icmp[unsigned(icmp_mib::MAX)] = {};
    uint64_t icmp_in[256] = {}, icmp_out[256] = {};
    uint64_t udp[unsigned(udp_mib::MAX)] = {}, udplite[unsigned(udp_mib::MAX)] = {};
    uint64_t tcp[unsigned(tcp_mib::MAX)] = {};
};
snmp_sums get_snmp_sums(const net& n);

} // namespace slabfwd
