// SPDX-License-Identifier: BSD-3-Clause
//
// Ethernet: sorting received frames, writing headers, the header that a neighbour caches.
// Door: eth_type_trans, eth_header, eth_header_cache. Origin: net/ethernet/eth.c.
#include <cstring>

#include "neigh/arp.h"

namespace slabfwd {

namespace {
constexpr uint16_t ETH_P_802_3_MIN = 0x0600, ETH_P_802_3 = 0x0001, ETH_P_802_2 = 0x0004;

uint8_t eth_pkt_type(const ethhdr* eth, const net_device* dev) {
    uint8_t own[ETH_ALEN];
    dev_addr_get(dev, own);
    if (likely(ether_addr_equal(eth->h_dest, own)))
        return PACKET_HOST;
    if (!is_multicast_ether_addr(eth->h_dest))
        return PACKET_OTHERHOST;
    return ether_addr_equal(eth->h_dest, dev->broadcast) ? PACKET_BROADCAST : PACKET_MULTICAST;
}

/// A length instead of a type: IEEE 802.3, with or without an LLC header (0xffff begins an IPX
/// frame).
uint16_t eth_802_3_protocol(const sk_buff* skb) {
    uint16_t first;
    return skb_copy_bits(skb, 0, &first, sizeof first) && first == 0xffff ? ETH_P_802_3
                                                                          : ETH_P_802_2;
}
} // namespace

void eth_type_trans(sk_buff* skb, net_device* dev) {
    skb->dev = dev;
    skb_reset_mac_header(skb);
    skb_pull(skb, ETH_HLEN);
    const ethhdr* eth = eth_hdr(skb);
    skb->pkt_type = eth_pkt_type(eth, dev);
    skb->protocol = eth->h_proto;
    if (unlikely(be16_to_cpu(eth->h_proto) < ETH_P_802_3_MIN))
        skb->protocol = cpu_to_be16(eth_802_3_protocol(skb));
    skb_reset_network_header(skb);
}

bool eth_header(sk_buff* skb, net_device* dev, uint16_t type, const uint8_t* daddr,
                const uint8_t* saddr) {
    if (unlikely(rte_pktmbuf_headroom(skb_mbuf(skb)) < ETH_HLEN))
        return false;
    auto* eth = reinterpret_cast<ethhdr*>(skb_push(skb, ETH_HLEN));
    skb_reset_mac_header(skb);
    eth->h_proto = cpu_to_be16(type);
    if (saddr)
        memcpy(eth->h_source, saddr, ETH_ALEN);
    else
        dev_addr_get(dev, eth->h_source);
    if (daddr) {
        memcpy(eth->h_dest, daddr, ETH_ALEN);
        return true;
    }
    memset(eth->h_dest, 0, ETH_ALEN);
    return dev->flags & (IFF_LOOPBACK | IFF_NOARP); // nobody looks at the destination there
}

void eth_header_cache(const neighbour* n, uint16_t type, uint64_t words[2]) {
    uint8_t bytes[16] = {};
    auto* eth = reinterpret_cast<ethhdr*>(bytes + 2);
    memcpy(eth->h_dest, n->ha, ETH_ALEN);
    dev_addr_get(n->dev, eth->h_source);
    eth->h_proto = cpu_to_be16(type);
    memcpy(words, bytes, sizeof bytes);
}

} // namespace slabfwd
