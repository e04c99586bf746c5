// SPDX-License-Identifier: BSD-3-Clause
//
// TCP to this host. There are no sockets: a good segment is answered with a reset, unless it is one
// itself. Door: tcp_v4_rcv (protocol handler; data at the TCP header). Threads: any slot. Origin:
// net/ipv4/tcp_ipv4.c, ip_send_unicast_reply of ip_output.c (6.18).
#include <cstring>

#include "dataplane/ip/ip_net.h"
#include "route/l3mdev.h"

namespace slabfwd {

using enum skb_drop_reason;

namespace {

constexpr uint8_t TCPOPT_EOL = 0, TCPOPT_NOP = 1, TCPOPT_MD5SIG = 19, TCPOLEN_MD5SIG = 18;

tcphdr* tcp_hdr(const sk_buff* skb) {
    return reinterpret_cast<tcphdr*>(skb_transport_header(skb));
}

/// Is the segment signed? Then a reset would have to be, with the key of a socket, and there is
/// none. Malformed options end the search. Origin: tcp_parse_auth_options.
bool tcp_has_md5sig(const tcphdr* th) {
    const auto* p = reinterpret_cast<const uint8_t*>(th + 1);
    for (unsigned left = th->hdr_len() - unsigned(sizeof(tcphdr)); left > 1 && *p != TCPOPT_EOL;) {
        if (*p == TCPOPT_NOP) {
            ++p;
            --left;
            continue;
        }
        if (p[1] < 2 || p[1] > left)
            return false;
        if (p[0] == TCPOPT_MD5SIG && p[1] == TCPOLEN_MD5SIG)
            return true;
        left -= p[1];
        p += p[1];
    }
    return false;
}

/// The reset that answers segment th of seglen bytes of data, SYN and FIN: RFC 9293, 3.10.7.1.
tcphdr tcp_reset_for(const tcphdr* th, uint32_t seglen) {
    tcphdr rep{};
    rep.source = th->dest;
    rep.dest = th->source;
    rep.doff_res = sizeof(tcphdr) / 4 << 4;
    rep.flags = TCPHDR_RST;
    if (th->flags & TCPHDR_ACK) {
        rep.seq = th->ack_seq;
    } else {
        rep.flags |= TCPHDR_ACK;
        rep.ack_seq = cpu_to_be32(be32_to_cpu(th->seq) + seglen);
    }
    return rep;
}

/// Sends one TCP header back to the sender of skb. Origin: ip_send_unicast_reply.
void tcp_v4_send_reply(net& n, const sk_buff* skb, tcphdr rep) {
    const iphdr* iph = ip_hdr(skb);
    ip_options replyopts;
    uint8_t optdata[40];
    if (ip_options_echo(n, &replyopts, optdata, skb))
        return;
    flowi4 fl4;
    fl4.daddr = replyopts.srr ? replyopts.faddr : iph->saddr;
    fl4.saddr = iph->daddr;
    fl4.flowi4_mark = IP4_REPLY_MARK(n, skb->mark);
    fl4.flowi4_tos = iph->tos & INET_DSCP_MASK;
    fl4.flowi4_proto = IPPROTO_TCP_;
    fl4.fl4_sport = rep.source;
    fl4.fl4_dport = rep.dest;
    fl4.flowi4_oif = l3mdev_master_ifindex(skb->dev);
    int err;
    rtable* rt = ip_route_output_key(n, &fl4, &err);
    sk_buff* out = rt && inetdev_valid_mtu(ipv4_mtu(&rt->dst)) ? alloc_skb(sizeof rep) : nullptr;
    if (!out)
        return;
    rep.check.raw = csum_tcpudp_magic(fl4.saddr, iph->saddr, sizeof rep, IPPROTO_TCP_,
                                      csum_partial(&rep, sizeof rep, 0));
    memcpy(skb_put(out, sizeof rep), &rep, sizeof rep);
    fl4.daddr = iph->saddr;
    ip_build_and_send_pkt(n, out, rt, fl4, IPPROTO_TCP_, &replyopts, optdata,
                          iph->tos & INET_DSCP_MASK, 0, true); // no ECN: it carries no data
}

void tcp_v4_send_reset(net& n, const sk_buff* skb) {
    const tcphdr* th = tcp_hdr(skb);
    if ((th->flags & TCPHDR_RST) || skb->rt_type != RTN_LOCAL || tcp_has_md5sig(th))
        return;
    uint32_t seglen =
        skb_len(skb) - th->hdr_len() + bool(th->flags & TCPHDR_SYN) + bool(th->flags & TCPHDR_FIN);
    trace_packet(skb, "tcp_v4_send_reset to port %u", be16_to_cpu(th->source));
    tcp_v4_send_reply(n, skb, tcp_reset_for(th, seglen));
    TCP_INC_STATS(tcp_mib::OUTSEGS);
    TCP_INC_STATS(tcp_mib::OUTRSTS);
}

skb_drop_reason tcp_v4_rcv_checked(net& n, sk_buff* skb) {
    if (skb->pkt_type != PACKET_HOST)
        return UNICAST_IN_L2_MULTICAST;
    TCP_INC_STATS(tcp_mib::INSEGS);
    if (!pskb_may_pull(skb, sizeof(tcphdr)))
        return PKT_TOO_SMALL;
    if (tcp_hdr(skb)->hdr_len() < sizeof(tcphdr)) {
        TCP_INC_STATS(tcp_mib::INERRS);
        return PKT_TOO_SMALL;
    }
    if (!pskb_may_pull(skb, tcp_hdr(skb)->hdr_len()))
        return PKT_TOO_SMALL;
    const iphdr* iph = ip_hdr(skb);
    if (csum_tcpudp_magic(iph->saddr, iph->daddr, skb_len(skb), IPPROTO_TCP_,
                          skb_checksum(skb, 0, skb_len(skb), 0))) {
        TCP_INC_STATS(tcp_mib::CSUMERRORS);
        TCP_INC_STATS(tcp_mib::INERRS);
        return TCP_CSUM;
    }
    tcp_v4_send_reset(n, skb);
    return NO_SOCKET;
}

} // namespace

int tcp_v4_rcv(sk_buff* skb) {
    kfree_skb_reason(skb, tcp_v4_rcv_checked(dev_net(skb->dev), skb));
    return 0;
}

} // namespace slabfwd
