// SPDX-License-Identifier: BSD-3-Clause
//
// The tunables as files below /proc/sys: which there are, how each shows its value, what it takes.
// Doors: find_sysctl, for_each_sysctl, sysctl_read, sysctl_write; sysctl_command is the tool.
// Threads: control thread under rtnl; values are read anywhere.
// Origin: net/ipv4/{sysctl_net_ipv4,devinet,route,ip_fragment}.c, net/core/neighbour.c,
// kernel/sysctl.c (6.18; net.ipv4.route as in 2.6.32).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "dataplane/control/command.h"
#include "neigh/neighbour.h"

namespace slabfwd {

/// How a value is shown and taken; all are kept as plain integers or jiffies.
enum class sysctl_unit : uint8_t {
    plain,
    seconds,     ///< kept in jiffies (proc_dointvec_jiffies)
    ms,          ///< kept in jiffies (proc_dointvec_ms_jiffies)
    clock_ticks, ///< hundredths of a second, kept in jiffies (proc_dointvec_userhz_jiffies)
    ms_as_ms,    ///< kept in milliseconds, rounded to a jiffy as above
    packets,     ///< kept in bytes of 2090 a packet (proc_unres_qlen)
};

/// One key of a net.
struct sysctl_key {
    std::string path; ///< below /proc/sys: "net/ipv4/conf/p0/rp_filter"
    sysctl_int* value = nullptr;
    sysctl_unit unit = sysctl_unit::plain;
    int64_t min = INT32_MIN, max = INT32_MAX; ///< as typed
    bool readable = true, writable = true;
    bool hidden = false; ///< `sysctl -a` leaves it out (an older twin)
    // What else a write does:
    ipv4_devconf* conf = nullptr; ///< conf.*: bit of the key in its state
    unsigned conf_bit = 0;
    neigh_parms* parms = nullptr; ///< neigh.*
    sysctl_int neigh_parms::*field = nullptr;
};

/// The key at path ("net/ipv4/..."), if there is one.
std::optional<sysctl_key> find_sysctl(net& n, std::string_view path);
/// All keys whose path begins with prefix, in the order in which sysctl -a lists them.
void for_each_sysctl(net& n, std::string_view prefix,
                     const std::function<void(const sysctl_key&)>& fn);

std::string sysctl_read(const sysctl_key& key);
/// True when text would be taken.
bool sysctl_accepts(const sysctl_key& key, std::string_view text);
/// Takes text as a write to the file does: 0 or -EINVAL. Flushes the route cache when routes may
/// change.
int sysctl_write(net& n, const sysctl_key& key, std::string_view text);

/// `sysctl ...` without the first word. Origin of messages: procps-ng 4.0.
bool sysctl_command(command& c, std::span<const std::string> words);

} // namespace slabfwd
