// SPDX-License-Identifier: BSD-3-Clause
//
// The tables of extensions by name, and how they reach into a packet.
// Doors: xt_find_match, xt_find_target, xt_header_pointer, xt_skb. Threads: any. Origin:
// net/netfilter/x_tables.c and the registrations in net/netfilter/xt_*.c, net/ipv4/netfilter
// (6.18).
#include "dataplane/netfilter/x_tables.h"

#include <algorithm>

#include "neigh/softnet.h"
#include "route/route_cache.h"

namespace slabfwd {

namespace {

constexpr uint32_t IN_HOOKS =
    hook_bit(NF_INET_PRE_ROUTING) | hook_bit(NF_INET_LOCAL_IN) | hook_bit(NF_INET_FORWARD);
constexpr uint32_t FILTER_HOOKS =
    hook_bit(NF_INET_LOCAL_IN) | hook_bit(NF_INET_FORWARD) | hook_bit(NF_INET_LOCAL_OUT);

const xt_match matches[] = {
    {.name = "tcp", .match = xt::tcp_mt, .matchsize = sizeof(xt_tcp), .proto = IPPROTO_TCP_},
    {.name = "udp", .match = xt::udp_mt, .matchsize = sizeof(xt_udp), .proto = IPPROTO_UDP_},
    {.name = "icmp",
     .match = xt::icmp_match,
     .matchsize = sizeof(ipt_icmp),
     .proto = IPPROTO_ICMP_},
    {.name = "multiport", .match = xt::multiport_mt, .matchsize = sizeof(xt_multiport)},
    {.name = "iprange", .match = xt::iprange_mt, .matchsize = sizeof(xt_iprange)},
    {.name = "ttl", .match = xt::ttl_mt, .matchsize = sizeof(ipt_ttl)},
    {.name = "length", .match = xt::length_mt, .matchsize = sizeof(xt_length)},
    {.name = "dscp", .match = xt::dscp_mt, .matchsize = sizeof(xt_dscp)},
    {.name = "tos", .match = xt::tos_mt, .matchsize = sizeof(xt_tos)},
    {.name = "mark", .match = xt::mark_mt, .matchsize = sizeof(xt_mark)},
    {.name = "mac", .match = xt::mac_mt, .matchsize = sizeof(xt_mac), .hooks = IN_HOOKS},
    {.name = "limit",
     .match = xt::limit_mt,
     .matchsize = sizeof(xt_limit),
     .ordered = true,
     .state = xt::limit_mt_state},
    {.name = "comment", .match = nullptr, .matchsize = sizeof(xt_comment)},
    {.name = "addrtype",
     .match = xt::addrtype_mt,
     .matchsize = sizeof(xt_addrtype),
     .checkentry = xt::addrtype_mt_checkentry},
    {.name = "statistic",
     .match = xt::statistic_mt,
     .matchsize = sizeof(xt_statistic),
     .ordered = true,
     .state = xt::statistic_mt_state},
    {.name = "pkttype", .match = xt::pkttype_mt, .matchsize = sizeof(xt_pkttype)},
};

const xt_target targets[] = {
    {.name = "REJECT",
     .target = xt::reject_tg,
     .targetsize = sizeof(ipt_reject_info),
     .hooks = FILTER_HOOKS,
     .ordered = true,
     .table = "filter"},
    {.name = "LOG", .target = xt::log_tg, .targetsize = sizeof(xt_log_info), .ordered = true},
    {.name = "MARK", .target = xt::mark_tg, .targetsize = sizeof(xt_mark_tginfo)},
    {.name = "TOS",
     .target = xt::tos_tg,
     .targetsize = sizeof(xt_tos_target_info),
     .table = "mangle"},
    {.name = "DSCP", .target = xt::dscp_tg, .targetsize = sizeof(xt_DSCP_info), .table = "mangle"},
    {.name = "TTL", .target = xt::ttl_tg, .targetsize = sizeof(ipt_TTL_info), .table = "mangle"},
    {.name = "TCPMSS",
     .target = xt::tcpmss_tg,
     .targetsize = sizeof(xt_tcpmss_info),
     .proto = IPPROTO_TCP_,
     .checkentry = xt::tcpmss_tg_check},
    {.name = "CT", .target = xt::notrack_tg, .targetsize = sizeof(xt_ct_info), .table = "raw"},
};

} // namespace

const xt_match* xt_find_match(std::string_view name) {
    auto* m = std::ranges::find_if(matches, [&](const xt_match& x) { return name == x.name; });
    return m == std::end(matches) ? nullptr : m;
}

const xt_target* xt_find_target(std::string_view name) {
    auto* t = std::ranges::find_if(targets, [&](const xt_target& x) { return name == x.name; });
    return t == std::end(targets) ? nullptr : t;
}

void xt_param_of_skb(xt_action_param& par, sk_buff* skb, const nf_hook_state& state) {
    const iphdr* iph = ip_hdr(skb);
    par.n = state.nd_net;
    par.iph = ip_hdr(skb);
    par.skb = skb;
    par.burst = nullptr;
    par.index = 0;
    par.in = state.in;
    par.out = state.out;
    par.hook = state.hook;
    par.len = skb_len(skb);
    par.headlen = skb_headlen(skb);
    par.thoff = uint16_t(iph->hdr_len());
    par.fragoff = be16_to_cpu(iph->frag_off) & IP_OFFSET;
    par.hotdrop = false;
}

sk_buff* xt_skb(xt_action_param& par) {
    if (!par.skb)
        par.skb = par.burst->make_skb(par.burst, par.index);
    return par.skb;
}

const void* xt_header_pointer(xt_action_param& par, unsigned offset, unsigned len, void* buf) {
    if (likely(offset + len <= par.headlen))
        return reinterpret_cast<const uint8_t*>(par.iph) + offset;
    if (offset + len > par.len || !skb_copy_bits(xt_skb(par), offset, buf, len))
        return nullptr;
    return buf;
}

bool xt_ports(xt_action_param& par, uint16_t* sport, uint16_t* dport) {
    be16_t buf[2];
    if (par.fragoff)
        return false;
    auto* p = static_cast<const be16_t*>(xt_header_pointer(par, par.thoff, sizeof buf, buf));
    if (!p)
        return false;
    *sport = be16_to_cpu(p[0]);
    *dport = be16_to_cpu(p[1]);
    return true;
}

int ip_route_me_harder(net& n, sk_buff* skb, uint8_t addr_type) {
    const iphdr* iph = ip_hdr(skb);
    const net_device* dev = skb->dst->dev;
    flowi4 fl4;
    if (addr_type == RTN_UNSPEC)
        addr_type = inet_addr_type_dev_table(n, dev, iph->saddr);
    fl4.saddr = iph->saddr;
    if (addr_type == RTN_LOCAL || addr_type == RTN_UNICAST)
        fl4.flowi4_flags |= FLOWI_FLAG_ANYSRC;
    else
        fl4.saddr = {};
    fl4.daddr = iph->daddr;
    fl4.flowi4_tos = iph->tos & INET_DSCP_MASK;
    fl4.flowi4_l3mdev = dev->master_ifindex;
    fl4.flowi4_mark = skb->mark;
    int err = 0;
    rtable* rt = ip_route_output_key(n, &fl4, &err);
    if (!rt)
        return err;
    skb_rtable_set(skb, rt);
    return 0;
}

} // namespace slabfwd
