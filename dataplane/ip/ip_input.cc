// SPDX-License-Identifier: BSD-3-Clause
//
// IPv4 receive, one packet at a time: the checks of the header, PRE_ROUTING, the route, delivery to
// the protocols of this host. Doors: netif_receive_skb (a frame after eth_type_trans), ip_rcv,
// ip_local_deliver (dst->input). Threads: any slot. There are no raw sockets here, and no
// router-alert listeners. Origin: net/core/dev.c (__netif_receive_skb_core), net/ipv4/ip_input.c
// (6.18).
#include <cstring>

#include "dataplane/ip/ip_net.h"
#include "dataplane/ip/vrf.h"

namespace slabfwd {

using enum skb_drop_reason;

namespace {

constexpr uint16_t ETH_P_8021AD = 0x88a8;
constexpr unsigned VLAN_HLEN = 4, VLAN_VID_MASK = 0xfff;

bool eth_type_vlan(be16_t protocol) {
    return protocol == cpu_to_be16(ETH_P_8021Q) || protocol == cpu_to_be16(ETH_P_8021AD);
}

/// Takes the VLAN tag off a frame. There are no VLAN devices, so a frame of a VLAN is for somebody
/// else; one that only carries a priority (VLAN 0) is ours like an untagged one. False: no whole
/// tag there.
bool skb_vlan_untag(sk_buff* skb) {
    uint8_t tag[VLAN_HLEN];
    if (!pskb_may_pull(skb, VLAN_HLEN) || !skb_copy_bits(skb, 0, tag, VLAN_HLEN))
        return false;
    skb_pull(skb, VLAN_HLEN);
    if (((unsigned(tag[0]) << 8 | tag[1]) & VLAN_VID_MASK) != 0)
        skb->pkt_type = PACKET_OTHERHOST;
    memcpy(&skb->protocol, tag + 2, sizeof skb->protocol);
    return true;
}

/// A priority tag may stand before another tag; behind the tag of a VLAN nobody looks any further.
bool skb_vlan_untag_all(sk_buff* skb) {
    do {
        if (!skb_vlan_untag(skb))
            return false;
    } while (eth_type_vlan(skb->protocol) && skb->pkt_type != PACKET_OTHERHOST);
    skb_reset_network_header(skb);
    return true;
}

int ip_inhdr_error(sk_buff* skb, skb_drop_reason reason) {
    IP_INC_STATS(ipstats_mib::INHDRERRORS);
    return ip_drop(skb, reason);
}

/// Source routes and the like have been dealt with; counts, and drops what RFC 1122, 3.3.6 lets us
/// drop.
bool ip_rcv_finish_type(sk_buff* skb, net_device* dev) {
    if (skb->rt_type == RTN_MULTICAST) {
        IP_UPD_PO_STATS(ipstats_mib::INMCASTPKTS, ipstats_mib::INMCASTOCTETS, skb_len(skb));
    } else if (skb->rt_type == RTN_BROADCAST) {
        IP_UPD_PO_STATS(ipstats_mib::INBCASTPKTS, ipstats_mib::INBCASTOCTETS, skb_len(skb));
    } else if (skb->pkt_type == PACKET_BROADCAST || skb->pkt_type == PACKET_MULTICAST) {
        const in_device* in_dev = __in_dev_get_rcu(dev);
        if (in_dev && IN_DEV_ORCONF_DROP_UNICAST_IN_L2_MULTICAST(in_dev)) {
            ip_drop(skb, UNICAST_IN_L2_MULTICAST);
            return false;
        }
    }
    return true;
}

const char* rtn_name(uint16_t type) {
    constexpr const char* names[] = {"unspec",   "unicast",   "local",     "broadcast",
                                     "anycast",  "multicast", "blackhole", "unreachable",
                                     "prohibit", "throw",     "nat"};
    return type < std::size(names) ? names[type] : "?";
}

/// Finds the route and looks after the options; false when skb is gone. Origin: ip_rcv_finish_core.
bool ip_rcv_finish_core(net&, sk_buff* skb, net_device* dev) {
    if (!skb->dst) {
        const iphdr* iph = ip_hdr(skb);
        skb_drop_reason reason = NOT_SPECIFIED;
        if (int err = ip_route_input(skb, iph->daddr, iph->saddr, iph->tos & INET_DSCP_MASK, dev,
                                     &reason)) {
            trace_packet(skb, "no route: error %d", -err);
            ip_drop(skb, reason);
            return false;
        }
    }
    trace_packet(skb, "route found: %s dev %s%s", rtn_name(skb->rt_type),
                 skb->dst->dev ? skb->dst->dev->name : "-",
                 rt_from_dst(skb->dst)->rt_uses_gateway ? " via a gateway" : "");
    if (ip_hdr(skb)->ihl() > 5 && !ip_rcv_options(skb, dev))
        return false;
    return ip_rcv_finish_type(skb, dev);
}

/// Hands skb (data behind the IP header) to its protocol. Origin: ip_protocol_deliver_rcu.
void ip_protocol_deliver_rcu(net& n, sk_buff* skb, int protocol) {
    for (;;) {
        net_protocol_handler handler =
            n.ipv4.ip->inet_protos[protocol].load(std::memory_order_acquire);
        if (!handler)
            break;
        int ret = handler(skb);
        if (ret >= 0) {
            IP_INC_STATS(ipstats_mib::INDELIVERS);
            return;
        }
        protocol = -ret & int(MAX_INET_PROTOS - 1); // to be delivered to another one
    }
    if (!xfrm4_policy_check(skb)) {
        ip_drop(skb, XFRM_POLICY);
        return;
    }
    IP_INC_STATS(ipstats_mib::INUNKNOWNPROTOS);
    icmp_send(skb, ICMP_DEST_UNREACH, ICMP_PROT_UNREACH, {});
    ip_drop(skb, IP_NOPROTO);
}

} // namespace

void netif_receive_skb(sk_buff* skb) {
    skb_reset_network_header(skb);
    if (unlikely(eth_type_vlan(skb->protocol)) && !skb_vlan_untag_all(skb)) {
        ip_drop(skb, PKT_TOO_SMALL);
        return;
    }
    skb_reset_transport_header(skb);
    if (skb->protocol == cpu_to_be16(ETH_P_IP)) {
        ip_rcv(skb, skb->dev);
    } else if (skb->protocol == cpu_to_be16(ETH_P_ARP)) {
        arp_rcv(skb);
    } else {
        trace_packet(skb, "nobody takes EtherType %04x", be16_to_cpu(skb->protocol));
        ip_drop(skb, UNHANDLED_PROTO);
    }
}

sk_buff* ip_rcv_core(sk_buff* skb, net&) {
    // A device in promiscuous mode hears what is for others.
    if (skb->pkt_type == PACKET_OTHERHOST)
        return ip_drop(skb, OTHERHOST), nullptr;
    IP_UPD_PO_STATS(ipstats_mib::INPKTS, ipstats_mib::INOCTETS, skb_len(skb));

    if (!pskb_may_pull(skb, sizeof(iphdr)))
        return ip_inhdr_error(skb, IP_INHDR), nullptr;
    const iphdr* iph = ip_hdr(skb);
    if (iph->ihl() < 5 || iph->version() != 4)
        return ip_inhdr_error(skb, IP_INHDR), nullptr;
    // NOECT, ECT1, ECT0, CE stand in the order of the two bits.
    IP_INC_STATS(ipstats_mib(unsigned(ipstats_mib::NOECTPKTS) + (iph->tos & 3)));
    if (!pskb_may_pull(skb, iph->hdr_len()))
        return ip_inhdr_error(skb, IP_INHDR), nullptr;
    iph = ip_hdr(skb);
    if (skb->ip_summed != CHECKSUM_UNNECESSARY && unlikely(ip_fast_csum(iph, iph->ihl()))) {
        IP_INC_STATS(ipstats_mib::CSUMERRORS);
        return ip_inhdr_error(skb, IP_CSUM), nullptr;
    }
    unsigned len = be16_to_cpu(iph->tot_len);
    if (skb_len(skb) < len) {
        IP_INC_STATS(ipstats_mib::INTRUNCATEDPKTS);
        return ip_drop(skb, PKT_TOO_SMALL), nullptr;
    }
    if (len < iph->hdr_len())
        return ip_inhdr_error(skb, IP_INHDR), nullptr;
    skb_trim(skb, len); // Ethernet pads short frames
    skb->transport_header = uint16_t(skb->network_header + iph->hdr_len());
    *IPCB(skb) = inet_skb_parm{};
    return skb;
}

int ip_rcv(sk_buff* skb, net_device* dev) {
    net& n = dev_net(dev);
    trace_packet(skb, "ip_rcv dev %s, %u bytes", dev->name, skb_len(skb));
    skb = ip_rcv_core(skb, n);
    if (!skb)
        return 1;
    return NF_HOOK(NF_INET_PRE_ROUTING, n, skb, dev, nullptr, ip_rcv_finish);
}

int ip_rcv_finish(net& n, sk_buff* skb) {
    net_device* dev = skb->dev; // the route is asked for by the port, not by its VRF
    skb = l3mdev_ip_rcv(skb);
    if (!skb)
        return 0;
    if (!ip_rcv_finish_core(n, skb, dev))
        return 1;
    return dst_input(skb);
}

bool ip_call_ra_chain(sk_buff*) {
    return false;
}

int ip_local_deliver(sk_buff* skb) {
    net& n = dev_net(skb->dev);
    if (ip_is_fragment(ip_hdr(skb)->frag_off)) {
        skb = ip_defrag(n, skb, IP_DEFRAG_LOCAL_DELIVER);
        if (!skb)
            return 0;
    }
    return NF_HOOK(NF_INET_LOCAL_IN, n, skb, skb->dev, nullptr, ip_local_deliver_finish);
}

int ip_local_deliver_finish(net& n, sk_buff* skb) {
    int protocol = ip_hdr(skb)->protocol;
    trace_packet(skb, "ip_local_deliver protocol %d", protocol);
    skb_pull(skb, ip_hdrlen(skb));
    skb_reset_transport_header(skb);
    ip_protocol_deliver_rcu(n, skb, protocol);
    return 0;
}

/// Multicast routing: there are no multicast routes to follow (mc_forwarding cannot be switched on
/// without a routing daemon), so only the copy for this host is of use. Origin: ip_mr_input
/// (net/ipv4/ipmr.c).
int ip_mr_input(sk_buff* skb) {
    if (skb->rt_flags & RTCF_LOCAL)
        return ip_local_deliver(skb);
    return ip_drop(skb, IP_INNOROUTES);
}

int dev_loopback_xmit(sk_buff* skb) {
    skb_reset_mac_header(skb);
    skb->pkt_type = PACKET_LOOPBACK;
    if (skb->ip_summed == CHECKSUM_NONE)
        skb->ip_summed = CHECKSUM_UNNECESSARY;
    skb->skb_iif = skb->dev->ifindex;
    return ip_rcv(skb, skb->dev);
}

} // namespace slabfwd
