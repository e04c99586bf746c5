// SPDX-License-Identifier: BSD-3-Clause
//
// Addresses and packets as tests write them down.
// Door: ip("10.0.0.1"), mac("02:..."), udp_packet(), arp_frame(), and reading them back.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "neigh/skbuff.h"

namespace slabfwd::test {

using mac_addr = std::array<uint8_t, ETH_ALEN>;
using bytes = std::vector<uint8_t>;

be32_t ip(const char* dotted);
mac_addr mac(const char* colons);
std::string to_string(be32_t addr);

/// An ARP packet as a test states or expects it.
struct arp_fields {
    uint16_t op = 0;
    mac_addr sha{};
    be32_t sip{};
    mac_addr tha{};
    be32_t tip{};
    bool operator==(const arp_fields&) const = default;
};
/// Ethernet frame with an ARP packet, not padded.
bytes arp_frame(const mac_addr& dst, const mac_addr& src, const arp_fields& arp);
/// Reads an ARP frame; op is 0 when it is none.
arp_fields parse_arp(const bytes& frame);
mac_addr eth_dst(const bytes& frame);
mac_addr eth_src(const bytes& frame);
uint16_t eth_proto(const bytes& frame);

/// IPv4 + UDP with right checksums, without link header.
bytes udp_packet(be32_t src, be32_t dst, unsigned payload = 8, uint8_t ttl = 64,
                 uint16_t sport = 1000, uint16_t dport = 2000);
/// The packet as an sk_buff with data at the IP header, for leaving by dev. Null when out of
/// packets.
sk_buff* make_skb(const bytes& ip_packet, net_device* dev);
/// A received frame: data at the Ethernet header, ready for eth_type_trans. Null when out of
/// packets.
sk_buff* make_rx_skb(const bytes& frame, net_device* dev);
/// All bytes from data on.
bytes to_bytes(const sk_buff* skb);

} // namespace slabfwd::test
