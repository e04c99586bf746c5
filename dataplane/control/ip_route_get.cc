// SPDX-License-Identifier: BSD-3-Clause
//
// `ip route get`: asks the routing functions that packets use. A question with an input device is
// put with a packet that has only an IP header; nothing is sent. Threads: control thread under
// rtnl, on the control slot's route cache. Origin: iproute2's ip/iproute.c (iproute_get),
// net/ipv4/route.c (inet_rtm_getroute, rt_fill_info).
#include <cerrno>

#include "dataplane/control/ip_route.h"
#include "dataplane/control/values.h"
#include "neigh/arp.h"
#include "neigh/ndisc.h"
#include "neigh/softnet.h"
#include "route/route.h"
#include "route/route_dump.h"

namespace slabfwd {

namespace {

enum get_key {
    G_TO,
    G_FROM,
    G_TOS,
    G_IIF,
    G_OIF,
    G_VRF,
    G_MARK,
    G_IPPROTO,
    G_SPORT,
    G_DPORT,
    G_UID,
    G_FIBMATCH,
    G_NOISE
};

constexpr keyword get_keywords[] = {
    {"tos", true, takes::tos, G_TOS, "TOS", "TOS value is invalid\n"},
    {"dsfield", false, takes::tos, G_TOS, "TOS", "TOS value is invalid\n"},
    {"iif", false, takes::device, G_IIF, "DEVICE"},
    {"mark", false, takes::u32, G_MARK, "NUMBER", "invalid mark\n"},
    {"oif", false, takes::device, G_OIF, "DEVICE"},
    {"dev", true, takes::device, G_OIF, "DEVICE"},
    {"vrf", true, takes::word, G_VRF, "NAME"},
    {"notify", false, takes::nothing, G_NOISE, nullptr},
    {"connected", false, takes::nothing, G_NOISE, nullptr},
    {"uid", true, takes::u32, G_UID, "NUMBER", "invalid UID\n"},
    {"fibmatch", false, takes::nothing, G_FIBMATCH, nullptr},
    {"sport", true, takes::u16, G_SPORT, "NUMBER", "invalid sport\n"},
    {"dport", true, takes::u16, G_DPORT, "NUMBER", "invalid dport\n"},
    {"ipproto", true, takes::ipproto, G_IPPROTO, "PROTOCOL", "Invalid \"ipproto\" value\n"},
    {"from", true, takes::prefix, G_FROM, "ADDRESS", "inet prefix"},
    {"to", false, takes::prefix, G_TO, "ADDRESS", nullptr, KEY_BARE},
};

struct question {
    flowi4 fl4;
    bool has_src = false, fibmatch = false;
    net_device *iif = nullptr, *oif = nullptr;
};

bool only_host(command& c, const argument& a, be32_t* to) {
    *to = a.prefix.addr;
    if (a.prefix.has_len && a.prefix.bitlen != 32)
        c.warn(fmt::format("Warning: /{} as prefix is invalid, only /32 (or none) is supported.\n",
                           a.prefix.bitlen));
    return true;
}

bool take_word(command& c, const argument& a, question* q) {
    flowi4& fl4 = q->fl4;
    switch (a.key->id) {
    case G_TO:
        return only_host(c, a, &fl4.daddr);
    case G_FROM:
        q->has_src = true;
        return only_host(c, a, &fl4.saddr);
    case G_TOS:
        fl4.flowi4_tos = uint8_t(a.number) & INET_DSCP_MASK;
        return true;
    case G_IIF:
        return (q->iif = c.device(a.word));
    case G_OIF:
        if (!(q->oif = c.device(a.word)))
            return false;
        fl4.flowi4_oif = q->oif->ifindex;
        return true;
    case G_VRF: {
        uint32_t table;
        if (!vrf_table_of(c, a.word, &table))
            return false;
        q->oif = c.device(a.word);
        fl4.flowi4_oif = q->oif->ifindex;
        return true;
    }
    case G_MARK:
        fl4.flowi4_mark = uint32_t(a.number);
        return true;
    case G_IPPROTO:
        fl4.flowi4_proto = uint8_t(a.number);
        return true;
    case G_SPORT:
        fl4.fl4_sport = cpu_to_be16(uint16_t(a.number));
        return true;
    case G_DPORT:
        fl4.fl4_dport = cpu_to_be16(uint16_t(a.number));
        return true;
    case G_FIBMATCH:
        q->fibmatch = true;
        return true;
    }
    return true;
}

/// A packet as the question describes it, arriving on iif.
sk_buff* make_packet(const question& q) {
    sk_buff* skb = alloc_skb(64);
    if (!skb)
        return nullptr;
    skb->dev = q.iif;
    skb->skb_iif = q.iif->ifindex;
    skb->mark = q.fl4.flowi4_mark;
    skb->protocol = cpu_to_be16(ETH_P_IP);
    skb->pkt_type = PACKET_HOST;
    auto* iph = reinterpret_cast<iphdr*>(skb_put(skb, sizeof(iphdr) + sizeof(udphdr)));
    memset(iph, 0, sizeof(iphdr) + sizeof(udphdr));
    skb_reset_mac_header(skb);
    skb_reset_network_header(skb);
    skb->transport_header = uint16_t(skb->network_header + sizeof(iphdr));
    iph->ihl_version = 0x45;
    iph->tos = q.fl4.flowi4_tos;
    iph->ttl = 64;
    iph->protocol = q.fl4.flowi4_proto ? q.fl4.flowi4_proto : IPPROTO_UDP_;
    iph->tot_len = cpu_to_be16(uint16_t(skb_len(skb)));
    iph->saddr = q.fl4.saddr;
    iph->daddr = q.fl4.daddr;
    auto* udp = reinterpret_cast<udphdr*>(iph + 1);
    udp->source = q.fl4.fl4_sport;
    udp->dest = q.fl4.fl4_dport;
    udp->len = cpu_to_be16(sizeof(udphdr));
    ip_send_check(iph);
    return skb;
}

void fill_view(const question& q, const rtable* rt, route_view* v) {
    fib_route_row& row = v->row;
    v->cloned = true;
    row.type = uint8_t(rt->rt_type);
    row.table = rt->rt_table_id;
    row.dst = q.fl4.daddr;
    row.dst_len = 32;
    v->has_from = q.has_src;
    v->from = q.fl4.saddr;
    fib_nh_config nh;
    nh.oif = rt->dst.dev ? rt->dst.dev->ifindex : 0;
    nh.has_gw = rt->rt_uses_gateway && !rt->rt_gw6;
    nh.gw = rt->rt_gateway;
    nh.has_gw6 = rt->rt_gw6;
    if (nh.has_gw6)
        memcpy(nh.gw6, in6_of_key(rt->dst.dev->nd_net->nd_tbl, rt->rt_gateway), sizeof nh.gw6);
    row.nexthops.push_back(nh);
    if (rt->fi)
        std::copy(std::begin(rt->fi->fib_metrics), std::end(rt->fi->fib_metrics), row.metrics);
    row.mtu_locked = rt->rt_mtu_locked || (rt->fi && rt->fi->mtu_locked);
    jiffies_t now = jiffies();
    if (rt->rt_pmtu && time_after(rt->dst.expires, now)) {
        row.metrics[RTAX_MTU - 1] = rt->rt_pmtu;
        v->expires_sec = uint32_t((rt->dst.expires - now) / HZ);
    }
    v->cache_flags = rt->rt_flags;
    v->mark = q.fl4.flowi4_mark;
    v->iif = q.iif ? q.iif->ifindex : 0;
}

/// What `-s` adds: how the flow's packets have used the cache until now, on all workers. The
/// question itself is none of them; it is put on the control slot, which receives nothing.
void fill_use(command& c, const question& q, route_view* v) {
    const flowi4& fl4 = q.fl4;
    const rt_key key{fl4.daddr,
                     fl4.saddr,
                     uint16_t(q.iif ? q.iif->ifindex : 0),
                     uint16_t(q.iif ? 0 : fl4.flowi4_oif),
                     fl4.flowi4_mark,
                     uint8_t(fl4.flowi4_tos & INET_DSCP_MASK),
                     {}};
    const rt_cache_flow flow = rt_cache_find(c.n, key, !q.iif);
    v->users = flow.users;
    v->used = uint32_t(flow.used);
    v->age_sec = uint32_t(flow.age / HZ);
}

bool ask_input(command& c, const question& q, const std::string& at, route_view* v) {
    sk_buff* skb = make_packet(q);
    if (!skb)
        return c.answers(-ENOBUFS, at);
    skb_drop_reason reason = skb_drop_reason::NOT_SPECIFIED;
    int err = ip_route_input(skb, q.fl4.daddr, q.fl4.saddr, q.fl4.flowi4_tos, q.iif, &reason);
    const rtable* rt = err ? nullptr : skb_rtable(skb);
    if (rt && rt->dst.error)
        err = -rt->dst.error;
    if (rt && !err) {
        fill_view(q, rt, v);
        v->cache_flags |= skb->rt_flags & RTCF_DOREDIRECT;
    }
    consume_skb(skb);
    return !err || c.answers(err, at);
}

bool ask_output(command& c, const question& q, const std::string& at, route_view* v) {
    flowi4 fl4 = q.fl4;
    int err = 0;
    rtable* rt = ip_route_output_key(c.n, &fl4, &err);
    if (rt && rt->dst.error)
        err = -rt->dst.error;
    if (!rt || err)
        return c.answers(err ? err : -ENETUNREACH, at);
    fill_view(q, rt, v);
    if (!q.has_src)
        v->row.prefsrc = fl4.saddr;
    v->has_uid = true;
    return true;
}

/// What the tables say of the question; nothing found: res->fi is null.
void look_up(command& c, const question& q, fib_result* res) {
    flowi4 fl4 = q.fl4;
    fl4.flowi4_iif = q.iif ? q.iif->ifindex : int(LOOPBACK_IFINDEX);
    if (fib_lookup(c.n, &fl4, res))
        res->fi = nullptr;
}

/// The row of the table that answers, rather than the route made of it, whose type it is shown
/// with.
bool show_row(command& c, const fib_result& res, const std::string& at, route_view* v) {
    const uint8_t type = v->row.type;
    *v = {};
    if (!res.fi || !fib_result_row(res, &v->row))
        return c.answers(-EHOSTUNREACH, at);
    v->row.type = type;
    return true;
}

} // namespace

std::span<const keyword> route_get_keywords() {
    return get_keywords;
}

bool route_get(command& c, std::span<const argument> args) {
    question q;
    for (const argument& a : args)
        if (!take_word(c, a, &q))
            return false;
    const argument* to = find_argument(args, G_TO);
    if (!to)
        return c.fail(1, "", "need at least a destination address\n");
    if (q.iif && q.oif && q.iif == q.oif)
        q.oif = nullptr;
    route_view v;
    if (c.opt.statistics && !q.fibmatch)
        fill_use(c, q, &v);
    if (!(q.iif ? ask_input(c, q, to->word, &v) : ask_output(c, q, to->word, &v)))
        return false;
    fib_result res;
    look_up(c, q, &res);
    if (q.fibmatch && !show_row(c, res, to->word, &v))
        return false;
    if (!q.fibmatch && res.fi)
        v.row.tos = res.tos;
    printer p = c.make_printer();
    print_route(p, c, v, {});
    return true;
}

} // namespace slabfwd
