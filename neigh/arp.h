// SPDX-License-Identifier: BSD-3-Clause
//
// ARP: answering, learning, asking. arp_rcv takes a frame whose data starts at the ARP header.
// arp_process has to know where an address is routed; that is to the right of this folder, so it
// asks through arp_route_ops, which route/ fills in at start. Origin: net/ipv4/arp.c.
#pragma once

#include "neigh/neighbour.h"

namespace slabfwd {

/// What arp.cc asks of routing. All on the calling slot. Filled in by route/ (ip_rt_init).
struct arp_route_operations {
    /// Route type (RTN_*) of an ARP packet's target as ip_route_input sees it, arriving on dev from
    /// sip: RTN_LOCAL, RTN_UNICAST, ... or -errno when there is no route or the source is not
    /// believed. out_dev is set to the outgoing device for RTN_UNICAST.
    int (*input_type)(net_device* dev, be32_t tip, be32_t sip, net_device** out_dev);
    /// inet_addr_type_dev_table: RTN_* of addr as seen from dev.
    int (*addr_type)(net_device* dev, be32_t addr);
    /// For arp_filter: true when the route from `local` side to sip leaves by dev. Origin:
    /// arp_filter().
    bool (*output_dev_is)(net_device* dev, be32_t sip, be32_t tip);
};
extern arp_route_operations arp_route_ops;
constexpr uint8_t RTN_UNSPEC = 0, RTN_UNICAST = 1, RTN_LOCAL = 2, RTN_BROADCAST = 3,
                  RTN_ANYCAST = 4, RTN_MULTICAST = 5, RTN_BLACKHOLE = 6, RTN_UNREACHABLE = 7,
                  RTN_PROHIBIT = 8, RTN_THROW = 9, RTN_NAT = 10;

/// The neigh_ops of Ethernet neighbours; error_report is set by the IP layer at start (till then it
/// drops with NEIGH_FAILED). arp_direct_ops: devices without a link header.
extern neigh_ops arp_generic_ops, arp_hh_ops, arp_direct_ops;
/// Fills in a fresh entry (type, ops, state of multicast/broadcast/NOARP). 0 or -EINVAL. Origin:
/// arp_constructor.
int arp_constructor(neighbour* n);

/// Processes an ARP packet that arp_rcv has checked, or that has waited for its proxy delay.
/// Consumes skb.
void arp_process(sk_buff* skb);
/// Takes an ARP frame (data at the ARP header, skb->dev the arrival device). Consumes skb.
void arp_rcv(sk_buff* skb);
/// Builds and sends one ARP packet; null addresses mean broadcast / own. Silent when out of
/// packets.
void arp_send(uint16_t op, be32_t dest_ip, net_device* dev, be32_t src_ip, const uint8_t* dest_hw,
              const uint8_t* src_hw, const uint8_t* target_hw);
/// Flushes entries when a device changes its address, goes down or loses its carrier. Registered by
/// neigh_table_init. Origin: arp_netdev_event.
void arp_netdev_event(netdev_event event, net_device* dev);
/// Maps an IPv4 multicast group to its MAC (RFC 1112). Origin: ip_eth_mc_map.
void ip_eth_mc_map(be32_t addr, uint8_t* mac);

/// Sorts a received frame: sets pkt_type by destination MAC, protocol, pulls the Ethernet header.
/// The frame has its 14 bytes in the first segment (a shorter one never gets past the port).
/// Origin: eth_type_trans (net/ethernet/eth.c).
void eth_type_trans(sk_buff* skb, net_device* dev);
/// Writes an Ethernet header in front of data (saddr null: the device's address). False when there
/// is no room in front, or without daddr on a device that needs one. Origin: eth_header.
bool eth_header(sk_buff* skb, net_device* dev, uint16_t type, const uint8_t* daddr,
                const uint8_t* saddr);
/// The cached header of n's address (caller holds n->lock) as two words, header in bytes 2..15.
/// Origin: eth_header_cache.
void eth_header_cache(const neighbour* n, uint16_t type, uint64_t words[2]);

} // namespace slabfwd
