// SPDX-License-Identifier: BSD-3-Clause
//
// Forwarding of one packet: dst->input of a route that leads on.
// Doors: ip_forward, ip_forward_finish. Order of the checks as in the kernel: it decides which
// error a packet gets that has several things wrong. Threads: any slot. Origin:
// net/ipv4/ip_forward.c (6.18).
#include "dataplane/ip/ip_net.h"

namespace slabfwd {

using enum skb_drop_reason;

namespace {

/// Packet priority by TOS bits. Origin: ip_tos2prio (net/ipv4/route.c).
uint32_t rt_tos2priority(uint8_t tos) {
    constexpr uint32_t BESTEFFORT = 0, BULK = 2, INTERACTIVE_BULK = 4, INTERACTIVE = 6;
    constexpr uint32_t prio[4] = {BESTEFFORT, BULK, INTERACTIVE, INTERACTIVE_BULK};
    return prio[(tos & 0x18) >> 3]; // the lower two of the four TOS bits do not matter
}

/// The TTL is used up.
int ip_forward_too_many_hops(sk_buff* skb) {
    IP_INC_STATS(ipstats_mib::INHDRERRORS);
    icmp_send(skb, ICMP_TIME_EXCEEDED, ICMP_EXC_TTL, {});
    return ip_drop(skb, IP_INHDR);
}

int ip_forward_too_big(sk_buff* skb, uint32_t mtu) {
    IP_INC_STATS(ipstats_mib::FRAGFAILS);
    icmp_send(skb, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, cpu_to_be32(mtu));
    return ip_drop(skb, PKT_TOO_BIG);
}

} // namespace

bool ip_exceeds_mtu(const sk_buff* skb, uint32_t mtu) {
    if (skb_len(skb) <= mtu)
        return false;
    if (!(ip_hdr(skb)->frag_off & cpu_to_be16(IP_DF)))
        return false;
    // Its sender's own fragments would not have fitted either.
    if (skb->cb.frag_max_size > mtu)
        return true;
    // Reassembled here, of fragments that fit: it leaves as such.
    return !(skb->cb.flags & IPSKB_FRAG_COMPLETE);
}

int ip_forward(sk_buff* skb) {
    net& n = dev_net(skb->dev);
    rtable* rt = skb_rtable(skb);
    inet_skb_parm* cb = IPCB(skb);
    if (skb->pkt_type != PACKET_HOST)
        return ip_drop(skb, UNICAST_IN_L2_MULTICAST);
    if (!xfrm4_policy_check(skb))
        return ip_drop(skb, XFRM_POLICY);
    if (cb->opt.router_alert && ip_call_ra_chain(skb))
        return 0;
    if (ip_hdr(skb)->ttl <= 1)
        return ip_forward_too_many_hops(skb);
    if (!xfrm4_route_forward(skb))
        return ip_drop(skb, XFRM_POLICY);
    if (cb->opt.is_strictroute && rt->rt_uses_gateway) {
        icmp_send(skb, ICMP_DEST_UNREACH, ICMP_SR_FAILED, {});
        return ip_drop(skb, IP_OPTIONS);
    }
    IP_INC_STATS(ipstats_mib::OUTFORWDATAGRAMS);
    cb->flags |= IPSKB_FORWARDED;
    uint32_t mtu = ip_dst_mtu_maybe_forward(&rt->dst, true);
    if (ip_exceeds_mtu(skb, mtu))
        return ip_forward_too_big(skb, mtu);

    iphdr* iph = ip_hdr(skb);
    ip_decrease_ttl(iph);
    trace_packet(skb, "ip_forward ttl %d->%d", iph->ttl + 1, iph->ttl);
    bool redirect = (cb->flags & IPSKB_DOREDIRECT) || (skb->rt_flags & RTCF_DOREDIRECT);
    if (redirect && !cb->opt.srr)
        ip_rt_send_redirect(skb);
    if (n.ipv4.sysctl_ip_forward_update_priority)
        skb->priority = rt_tos2priority(iph->tos);
    return NF_HOOK(NF_INET_FORWARD, n, skb, skb->dev, rt->dst.dev, ip_forward_finish);
}

int ip_forward_finish(net&, sk_buff* skb) {
    if (IPCB(skb)->opt.optlen)
        ip_forward_options(skb);
    return dst_output(skb);
}

} // namespace slabfwd
