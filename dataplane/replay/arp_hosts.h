// SPDX-License-Identifier: BSD-3-Clause
//
// The hosts behind the ports of a replay (and of bench forward). Offline nobody answers ARP; these
// do, at once: whoever is asked for has the MAC 02:00 followed by its address's four bytes. Door:
// arp_host_answer. Threads: any one that may read the devices' addresses (RCU).
#pragma once

#include <cstdint>
#include <span>

#include "neigh/netdevice.h"

namespace slabfwd {

constexpr unsigned ARP_FRAME_LEN = 42; ///< Ethernet and ARP header

/// True when `frame`, sent by the router on dev, is an ARP request that a host there answers; the
/// answer is then written to `reply`. Nobody answers for the router's own addresses, for a probe or
/// announcement of its own, or for what no host can have (groups, broadcast and network addresses,
/// 0/8, 127/8).
bool arp_host_answer(const net_device& dev, std::span<const uint8_t> frame,
                     std::span<uint8_t, ARP_FRAME_LEN> reply);

} // namespace slabfwd
