// SPDX-License-Identifier: BSD-3-Clause
//
// What `ip link` and `ip addr` share: the first lines of a device, and its counters.
// Threads: control thread.
#pragma once

#include <string>

#include "dataplane/control/command.h"

namespace slabfwd {

/// The counters of a device summed over all slots.
struct link_stats {
    uint64_t rx_packets = 0, rx_bytes = 0, rx_errors = 0, rx_dropped = 0, multicast = 0;
    uint64_t tx_packets = 0, tx_bytes = 0, tx_errors = 0, tx_dropped = 0;
};
link_stats get_link_stats(const net& n, const net_device* dev);

/// "UP", "DOWN", "UNKNOWN" (lo), "LOWERLAYERDOWN" is not ours.
const char* link_operstate(const net_device* dev);
/// Starts an entry of `ip link` / `ip addr`: header line and link-layer line (not with -4).
void print_link(printer& p, const command& c, const net_device* dev, bool link_layer,
                bool linkmode);
/// The counters below it (-s).
void print_link_stats(printer& p, const command& c, const net_device* dev);
/// Starts a line of the brief form: name and state.
void print_link_brief(printer& p, const net_device* dev);

} // namespace slabfwd
