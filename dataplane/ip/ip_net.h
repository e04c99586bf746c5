// SPDX-License-Identifier: BSD-3-Clause
//
// ip_net: what the IP layer keeps for one net beside the tables of route/: fragment queues, the
// ICMP token bucket, the counters that IP IDs come from, the protocols above IP. For
// dataplane/ip, and REJECT, which answers as it does. Door: net.ipv4.ip, made by ip_init
// (af_inet.cc). Threads: all of it is reached from any slot: atomics, and the locks of
// inet_fragment.h. Origin: struct netns_ipv4, ip_idents and inet_protos of the kernel.
#pragma once

#include <memory>
#include <vector>

#include "dataplane/ip/inet_fragment.h"
#include "dataplane/ip/ip.h"

namespace slabfwd {

/// IDs of own packets: a counter per hash of (source, destination, protocol), moved on by a random
/// step after a pause, so that it tells nothing about the rate of others. Origin: ip_idents
/// (net/ipv4/route.c).
struct ip_ident {
    std::atomic<uint32_t> id{0};
    std::atomic<uint32_t> tstamp{0}; ///< jiffies of the last use, low half
};
constexpr unsigned IP_IDENTS_SZ = 2048, MAX_INET_PROTOS = 256;

struct ip_net {
    fqdir frags;
    std::atomic<int> icmp_global_credit{0}; ///< may be negative, see icmp_global_consume
    std::atomic<uint32_t> icmp_global_stamp{0};
    std::atomic<ping_listener*> listener{nullptr};
    std::atomic<net_protocol_handler> inet_protos[MAX_INET_PROTOS] = {};
    uint64_t ip_id_key = 0;
    std::atomic<uint64_t> udplite_statistics[size_t(udp_mib::MAX)] = {}; ///< few enough for one set
    ip_ident ip_idents[IP_IDENTS_SZ];
    std::vector<std::unique_ptr<net_device>> vrf_spare; ///< deleted VRFs, see vrf.cc
    bool vrf_rule = false;                              ///< the rule for VRFs has been made
};

/// The net of a packet, from its device.
inline net& dev_net(const net_device* dev) {
    return *dev->nd_net;
}
/// Mark of a reply to a packet marked `mark`. Origin: IP4_REPLY_MARK.
inline uint32_t IP4_REPLY_MARK(const net& n, uint32_t mark) {
    return n.ipv4.sysctl_fwmark_reflect ? mark : 0;
}

// Where the kernel asks IPsec policies and light-weight tunnels. Neither can be configured here, so
// that no route ever carries one; the answers are those of a kernel without any.
/// May skb be forwarded, and by which transformation? Origin: xfrm4_route_forward
/// (include/net/xfrm.h).
inline bool xfrm4_route_forward(const sk_buff*) {
    return true;
}
/// Does a policy forbid skb where it is? Origin: xfrm4_policy_check.
inline bool xfrm4_policy_check(const sk_buff*) {
    return true;
}
/// Does the route hand skb to a tunnel? Origin: lwtunnel_xmit_redirect (include/net/lwtunnel.h).
inline bool lwtunnel_xmit_redirect(const dst_entry*) {
    return false;
}

/// Counts a packet and its bytes. Origin: IP_UPD_PO_STATS.
inline void IP_UPD_PO_STATS(ipstats_mib pkts, ipstats_mib octets, uint64_t len) {
    IP_INC_STATS(pkts);
    IP_ADD_STATS(octets, len);
}

/// Drops skb with reason; returns 1, so that a stage can end with it.
inline int ip_drop(sk_buff* skb, skb_drop_reason reason) {
    kfree_skb_reason(skb, reason);
    return 1;
}
/// skb has come to its end here: counted as delivered, freed.
inline void ip_consume(sk_buff* skb) {
    BALANCE_INC(balance_stat::delivered);
    consume_skb(skb);
}

/// Milliseconds since midnight UT, in network byte order. Origin: inet_current_timestamp.
be32_t inet_current_timestamp();
/// Extends skb by len bytes over its (perhaps chained, still empty) segments and calls fill(at,
/// offset, n) for each piece.
template <class F>
void skb_append_pieces(sk_buff* skb, unsigned len, F fill) {
    rte_mbuf* head = skb_mbuf(skb);
    unsigned offset = 0;
    for (rte_mbuf* m = head; m && offset < len; m = m->next) {
        unsigned room = unsigned(m->buf_len) - m->data_off - m->data_len;
        unsigned n = room < len - offset ? room : len - offset;
        fill(rte_pktmbuf_mtod_offset(m, uint8_t*, m->data_len), offset, n);
        m->data_len = uint16_t(m->data_len + n);
        head->pkt_len += n;
        offset += n;
    }
}

/// Makes the fragment queues. 0 or -ENOMEM. Origin: ipfrag_init.
int ip_frag_init(net& n);

/// What icmp_rcv knows of a type: is it an error message? Origin: icmp_pointers[].error.
bool icmp_is_err(uint8_t type);
/// Counts an ICMP message that leaves. Origin: icmp_out_count.
void icmp_out_count(uint8_t type);

/// Who wants a packet for the loopback of multicast: received again on dev with its route. Origin:
/// dev_loopback_xmit.
int dev_loopback_xmit(sk_buff* skb);

} // namespace slabfwd
