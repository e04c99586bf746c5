// SPDX-License-Identifier: BSD-3-Clause
//
// The matches that look at one packet alone: protocol headers, IP header fields, marks, MAC.
// Door: the xt_match table (x_tables.cc). Threads: any, several at a time; nothing is kept. Origin:
// net/netfilter/xt_{tcpudp,multiport,iprange,hl,length,dscp,mark,mac,pkttype,addrtype}.c,
// net/ipv4/netfilter/ip_tables.c (icmp), 6.18. iptables on nf_tables makes ports and flags of tcp
// and udp into nft_payload expressions, which ask nothing but whether the bytes are there: those of
// a later fragment stand for ports too.
#include <cerrno>

#include "dataplane/netfilter/x_tables.h"
#include "neigh/softnet.h"
#include "route/route.h"

namespace slabfwd::xt {

namespace {

template <class T>
const T& as(const void* info) {
    return *static_cast<const T*>(info);
}

bool port_match(const uint16_t range[2], uint16_t port, bool invert) {
    return (port >= range[0] && port <= range[1]) != invert;
}

bool any_port(const uint16_t range[2]) {
    return range[0] == 0 && range[1] == 0xffff;
}

/// Both port ranges of a tcp or udp match; a full range asks nothing.
bool ports_match(xt_action_param& par, const uint16_t* spts, const uint16_t* dpts,
                 uint8_t invflags) {
    const bool ask_s = !any_port(spts) || (invflags & XT_INV_SRCPT),
               ask_d = !any_port(dpts) || (invflags & XT_INV_DSTPT);
    if (!ask_s && !ask_d)
        return true;
    uint16_t port;
    if (ask_s &&
        (!xt_payload_port(par, 0, &port) || !port_match(spts, port, invflags & XT_INV_SRCPT)))
        return false;
    return !ask_d ||
           (xt_payload_port(par, 2, &port) && port_match(dpts, port, invflags & XT_INV_DSTPT));
}

/// Is option among those of the TCP header? A header that is cut off or too short to be one drops
/// the packet. Origin: tcp_find_option.
bool tcp_find_option(xt_action_param& par, uint8_t option, bool invert) {
    uint8_t header[60];
    auto* th =
        static_cast<const tcphdr*>(xt_header_pointer(par, par.thoff, sizeof(tcphdr), header));
    if (!th || th->hdr_len() < sizeof(tcphdr)) {
        par.hotdrop = true;
        return false;
    }
    const unsigned optlen = th->hdr_len() - unsigned(sizeof(tcphdr));
    if (!optlen)
        return invert;
    auto* opt = static_cast<const uint8_t*>(
        xt_header_pointer(par, par.thoff + unsigned(sizeof(tcphdr)), optlen, header));
    if (!opt) {
        par.hotdrop = true;
        return false;
    }
    for (unsigned i = 0; i < optlen;) {
        if (opt[i] == option)
            return !invert;
        i += opt[i] < 2 || i + 1 >= optlen || !opt[i + 1] ? 1 : opt[i + 1];
    }
    return invert;
}

} // namespace

bool tcp_mt(xt_action_param& par, const void* info, void*) {
    const auto& tcp = as<xt_tcp>(info);
    tcphdr th;
    if (tcp.by_xt()) {
        if (par.fragoff) {
            par.hotdrop = par.fragoff == 1; // would overwrite the header when put together
            return false;
        }
        if (!xt_header_pointer(par, par.thoff, sizeof th, &th)) {
            par.hotdrop = true;
            return false;
        }
    }
    if (!ports_match(par, tcp.spts, tcp.dpts, tcp.invflags))
        return false;
    if (tcp.flg_mask || (tcp.invflags & XT_INV_FLAGS)) {
        uint8_t buf;
        const void* flags = xt_header_pointer(par, par.thoff + 13u, 1, &buf);
        if (!flags)
            return false;
        bool hit = (*static_cast<const uint8_t*>(flags) & tcp.flg_mask) == tcp.flg_cmp;
        if (hit == bool(tcp.invflags & XT_INV_FLAGS))
            return false;
    }
    return !tcp.option || tcp_find_option(par, tcp.option, tcp.invflags & XT_INV_OPTION);
}

bool udp_mt(xt_action_param& par, const void* info, void*) {
    const auto& udp = as<xt_udp>(info);
    udphdr uh;
    if (udp.by_xt()) {
        if (par.fragoff)
            return false;
        par.hotdrop = !xt_header_pointer(par, par.thoff, sizeof uh, &uh);
        return !par.hotdrop;
    }
    return ports_match(par, udp.spts, udp.dpts, udp.invflags);
}

bool icmp_match(xt_action_param& par, const void* info, void*) {
    const auto& icmp = as<ipt_icmp>(info);
    icmphdr buf;
    if (par.fragoff)
        return false;
    auto* ic = static_cast<const icmphdr*>(xt_header_pointer(par, par.thoff, sizeof buf, &buf));
    if (!ic) {
        par.hotdrop = true;
        return false;
    }
    bool hit = icmp.type == 0xff ||
               (ic->type == icmp.type && ic->code >= icmp.code[0] && ic->code <= icmp.code[1]);
    return hit != bool(icmp.invflags);
}

bool multiport_mt(xt_action_param& par, const void* info, void*) {
    const auto& multi = as<xt_multiport>(info);
    uint16_t sport, dport;
    if (par.fragoff)
        return false;
    if (!xt_ports(par, &sport, &dport)) {
        par.hotdrop = true;
        return false;
    }
    bool hit = false;
    for (unsigned i = 0; i < multi.count && !hit; ++i) {
        uint16_t lo = multi.ports[i], hi = multi.pflags[i] ? multi.ports[++i] : lo;
        bool src = sport >= lo && sport <= hi, dst = dport >= lo && dport <= hi;
        hit = multi.flags == XT_MULTIPORT_SOURCE        ? src
              : multi.flags == XT_MULTIPORT_DESTINATION ? dst
                                                        : src || dst;
    }
    return hit != bool(multi.invert);
}

bool iprange_mt(xt_action_param& par, const void* info, void*) {
    const auto& range = as<xt_iprange>(info);
    uint32_t s = be32_to_cpu(par.iph->saddr), d = be32_to_cpu(par.iph->daddr);
    if (range.flags & IPRANGE_SRC) {
        bool out = s < range.src_min || s > range.src_max;
        if (out != bool(range.flags & IPRANGE_SRC_INV))
            return false;
    }
    if (range.flags & IPRANGE_DST) {
        bool out = d < range.dst_min || d > range.dst_max;
        if (out != bool(range.flags & IPRANGE_DST_INV))
            return false;
    }
    return true;
}

bool ttl_mt(xt_action_param& par, const void* info, void*) {
    const auto& i = as<ipt_ttl>(info);
    switch (i.mode) {
    case IPT_TTL_EQ:
        return par.iph->ttl == i.ttl;
    case IPT_TTL_NE:
        return par.iph->ttl != i.ttl;
    case IPT_TTL_LT:
        return par.iph->ttl < i.ttl;
    default:
        return par.iph->ttl > i.ttl;
    }
}

bool length_mt(xt_action_param& par, const void* info, void*) {
    const auto& i = as<xt_length>(info);
    uint32_t len = be16_to_cpu(par.iph->tot_len);
    return (len >= i.min && len <= i.max) != bool(i.invert);
}

bool dscp_mt(xt_action_param& par, const void* info, void*) {
    const auto& i = as<xt_dscp>(info);
    return ((par.iph->tos >> 2) == i.dscp) != bool(i.invert);
}

bool tos_mt(xt_action_param& par, const void* info, void*) {
    const auto& i = as<xt_tos>(info);
    return ((par.iph->tos & i.mask) == i.value) != bool(i.invert);
}

bool mark_mt(xt_action_param& par, const void* info, void*) {
    const auto& i = as<xt_mark>(info);
    uint32_t mark = par.skb ? par.skb->mark : 0; // no sk_buff yet: nobody has marked it
    return ((mark & i.mask) == i.mark) != bool(i.invert);
}

bool mac_mt(xt_action_param& par, const void* info, void*) {
    const auto& i = as<xt_mac>(info);
    if (!par.in || par.in->type != ARPHRD_ETHER)
        return false;
    const sk_buff* skb = xt_skb(par);
    if (skb->mac_header + unsigned(ETH_HLEN) > skb->network_header) // was never received
        return false;
    return ether_addr_equal(eth_hdr(skb)->h_source, i.srcaddr) != bool(i.invert);
}

bool pkttype_mt(xt_action_param& par, const void* info, void*) {
    const auto& i = as<xt_pkttype>(info);
    uint8_t type = xt_skb(par)->pkt_type;
    if (type == PACKET_LOOPBACK)
        type = ipv4_is_multicast(par.iph->daddr) ? PACKET_MULTICAST : PACKET_BROADCAST;
    return (type == i.type) != bool(i.invert);
}

bool addrtype_mt(xt_action_param& par, const void* info, void*) {
    const auto& i = as<xt_addrtype>(info);
    const net_device* dev = i.flags & XT_ADDRTYPE_LIMIT_IFACE_IN    ? par.in
                            : i.flags & XT_ADDRTYPE_LIMIT_IFACE_OUT ? par.out
                                                                    : nullptr;
    auto is = [&](be32_t addr, uint16_t mask) {
        return bool(mask >> inet_dev_addr_type(*par.n, dev, addr) & 1);
    };
    if (i.source && is(par.iph->saddr, i.source) == bool(i.flags & XT_ADDRTYPE_INVERT_SOURCE))
        return false;
    return !i.dest || is(par.iph->daddr, i.dest) != bool(i.flags & XT_ADDRTYPE_INVERT_DEST);
}

int addrtype_mt_checkentry(const void* info, uint32_t hook_mask) {
    const auto& i = as<xt_addrtype>(info);
    constexpr uint32_t no_out = hook_bit(NF_INET_PRE_ROUTING) | hook_bit(NF_INET_LOCAL_IN);
    constexpr uint32_t no_in = hook_bit(NF_INET_POST_ROUTING) | hook_bit(NF_INET_LOCAL_OUT);
    if ((i.flags & XT_ADDRTYPE_LIMIT_IFACE_OUT) && (hook_mask & no_out))
        return -EINVAL;
    return (i.flags & XT_ADDRTYPE_LIMIT_IFACE_IN) && (hook_mask & no_in) ? -EINVAL : 0;
}

} // namespace slabfwd::xt
