// SPDX-License-Identifier: BSD-3-Clause
//
// REJECT: tells the sender of a packet that it is not welcome, by an ICMP error or a TCP reset, and
// drops it. Nothing is said about later fragments, packets whose own checksum is wrong, resets, nor
// to what was sent to more than one. Door: the xt_target table. Threads: any. Origin:
// net/ipv4/netfilter/{ipt_REJECT,nf_reject_ipv4}.c, net/netfilter/utils.c (nf_ip_checksum), 6.18.
#include "dataplane/ip/ip_net.h"
#include "dataplane/netfilter/x_tables.h"

namespace slabfwd::xt {

namespace {

constexpr uint8_t IPPROTO_GRE_ = 47, IPPROTO_ESP_ = 50, IPPROTO_AH_ = 51, IPPROTO_DCCP_ = 33,
                  IPPROTO_SCTP_ = 132, IPPROTO_UDPLITE_ = 136;

/// Is the Internet checksum of what the packet carries right? The IP header is summed too, as the
/// kernel does: a right one adds nothing, one whose options are being filled in is not right now.
/// Origin: nf_ip_checksum.
bool nf_ip_checksum_ok(xt_action_param& par) {
    const sk_buff* skb = xt_skb(par);
    const uint8_t protocol = par.iph->protocol;
    uint32_t sum = skb_checksum(skb, 0, par.len, 0);
    if (protocol != IPPROTO_TCP_ && protocol != IPPROTO_UDP_)
        return csum_fold(sum) == 0;
    return csum_tcpudp_magic(par.iph->saddr, par.iph->daddr, par.len - par.thoff, protocol, sum) ==
           0;
}

/// Does the protocol have a checksum over all of its payload? Origin: nf_reject_verify_csum.
bool nf_reject_verify_csum(xt_action_param& par) {
    switch (par.iph->protocol) {
    case IPPROTO_UDP_: {
        udphdr buf;
        auto* uh = static_cast<const udphdr*>(xt_header_pointer(par, par.thoff, sizeof buf, &buf));
        return !uh || uh->check;
    }
    case IPPROTO_GRE_: {
        uint8_t buf;
        auto* flags = static_cast<const uint8_t*>(xt_header_pointer(par, par.thoff, 1, &buf));
        return !flags || (*flags & 0x80);
    }
    case IPPROTO_AH_:
    case IPPROTO_ESP_:
    case IPPROTO_SCTP_:
    case IPPROTO_UDPLITE_:
    case IPPROTO_DCCP_:
        return false;
    default:
        return true;
    }
}

void nf_send_unreach(xt_action_param& par, int code) {
    if (par.fragoff)
        return;
    if (nf_reject_verify_csum(par) && !nf_ip_checksum_ok(par))
        return;
    icmp_send(xt_skb(par), ICMP_DEST_UNREACH, code, {});
}

/// The reset that answers th, which begins seglen bytes of TCP. Origin: nf_reject_ip_tcphdr_put.
tcphdr reset_for(const tcphdr& oth, uint32_t seglen) {
    tcphdr th{};
    th.source = oth.dest;
    th.dest = oth.source;
    th.doff_res = sizeof(tcphdr) / 4 << 4;
    th.flags = TCPHDR_RST;
    if (oth.flags & TCPHDR_ACK) {
        th.seq = oth.ack_seq;
        return th;
    }
    th.flags |= TCPHDR_ACK;
    th.ack_seq = cpu_to_be32(be32_to_cpu(oth.seq) + bool(oth.flags & TCPHDR_SYN) +
                             bool(oth.flags & TCPHDR_FIN) + seglen - oth.hdr_len());
    return th;
}

/// Headers of the reset, from old's addresses the other way round. Origin: nf_reject_iphdr_put.
void put_reset(sk_buff* skb, const iphdr* old, const tcphdr& reset, uint8_t ttl) {
    auto* th = reinterpret_cast<tcphdr*>(skb_put(skb, sizeof(tcphdr)));
    *th = reset;
    th->check.raw = csum_tcpudp_magic(old->daddr, old->saddr, sizeof(tcphdr), IPPROTO_TCP_,
                                      csum_partial(th, sizeof(tcphdr), 0));
    skb_reset_transport_header(skb);
    auto* iph = reinterpret_cast<iphdr*>(skb_push(skb, sizeof(iphdr)));
    skb_reset_network_header(skb);
    *iph = {};
    iph->ihl_version = 0x45;
    iph->tot_len = cpu_to_be16(sizeof(iphdr) + sizeof(tcphdr));
    iph->frag_off = cpu_to_be16(IP_DF);
    iph->ttl = ttl;
    iph->protocol = IPPROTO_TCP_;
    iph->saddr = old->daddr;
    iph->daddr = old->saddr;
}

void nf_send_reset(xt_action_param& par) {
    tcphdr oth;
    if (par.fragoff || par.iph->protocol != IPPROTO_TCP_)
        return;
    const void* p = xt_header_pointer(par, par.thoff, sizeof oth, &oth);
    if (!p)
        return;
    if (p != &oth)
        memcpy(&oth, p, sizeof oth);
    sk_buff* skb = xt_skb(par);
    if ((oth.flags & TCPHDR_RST) || !nf_ip_checksum_ok(par) ||
        (skb->rt_flags & (RTCF_BROADCAST | RTCF_MULTICAST)))
        return;
    sk_buff* reset = alloc_skb(sizeof(iphdr) + sizeof(tcphdr));
    if (!reset)
        return;
    reset->mark = IP4_REPLY_MARK(*par.n, skb->mark);
    put_reset(reset, par.iph, reset_for(oth, par.len - par.thoff),
              uint8_t(ip4_dst_hoplimit(*par.n, skb->dst)));
    skb_rtable_set(reset, skb_rtable(skb));
    if (ip_route_me_harder(*par.n, reset, RTN_UNSPEC) || skb_len(reset) > ipv4_mtu(reset->dst))
        return consume_skb(reset); // never was on its way
    BALANCE_INC(balance_stat::originated);
    ip_local_out(*par.n, reset);
}

} // namespace

unsigned reject_tg(xt_action_param& par, const void* info) {
    switch (static_cast<const ipt_reject_info*>(info)->with) {
    case ipt_reject_with::ICMP_NET_UNREACHABLE:
        nf_send_unreach(par, ICMP_NET_UNREACH);
        break;
    case ipt_reject_with::ICMP_HOST_UNREACHABLE:
        nf_send_unreach(par, ICMP_HOST_UNREACH);
        break;
    case ipt_reject_with::ICMP_PROT_UNREACHABLE:
        nf_send_unreach(par, ICMP_PROT_UNREACH);
        break;
    case ipt_reject_with::ICMP_PORT_UNREACHABLE:
        nf_send_unreach(par, ICMP_PORT_UNREACH);
        break;
    case ipt_reject_with::ICMP_NET_PROHIBITED:
        nf_send_unreach(par, ICMP_NET_ANO);
        break;
    case ipt_reject_with::ICMP_HOST_PROHIBITED:
        nf_send_unreach(par, ICMP_HOST_ANO);
        break;
    case ipt_reject_with::ICMP_ADMIN_PROHIBITED:
        nf_send_unreach(par, ICMP_PKT_FILTERED);
        break;
    case ipt_reject_with::TCP_RESET:
        nf_send_reset(par);
        break;
    case ipt_reject_with::ICMP_ECHOREPLY: // no tool makes such a rule
        break;
    }
    return NF_DROP;
}

} // namespace slabfwd::xt
