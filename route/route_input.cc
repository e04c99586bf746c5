// SPDX-License-Identifier: BSD-3-Clause
//
// Routing of received packets: the cache first, else the tables. Who is a martian, what is for us,
// what is broadcast, what is forwarded and what is answered with an error. Door: ip_route_input.
// The slow half decides (rt_decide_input -> ip_mkroute_input -> __mkroute_input) and leaves the
// entry to rt_entry_for. Threads: on any slot, for packets of that slot, under RCU. Origin:
// net/ipv4/route.c of 6.18 for every decision, of 2.6.32 for the look-up in the cache and its
// counters.
#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "neigh/packet_work.h"
#include "route/fib_rules.h"
#include "route/route_cache.h"

namespace slabfwd {

namespace {

using reason_t = skb_drop_reason;

int IN_DEV_MFORWARD(const in_device* d) {
    return devconf_all(d).mc_forwarding && d->cnf.mc_forwarding;
}

// Whose frame it was: the link header, in hexadecimal.
void log_link_header(const rt_input& in) {
    if (!in.skb || !in.dev->hard_header_len ||
        in.skb->mac_header + unsigned(in.dev->hard_header_len) > in.skb->network_header)
        return;
    char line[64 + 3 * 32];
    int at = snprintf(line, sizeof line, "ll header: 00000000:");
    for (unsigned i = 0; i < std::min<unsigned>(in.dev->hard_header_len, 16); ++i)
        at += snprintf(line + at, sizeof line - unsigned(at), " %02x", skb_mac_header(in.skb)[i]);
    log_sink(line);
}

// A source that cannot be: logged where asked for (RFC 1812). Origin: ip_handle_martian_source.
void ip_handle_martian_source(const rt_input& in, const in_device* in_dev) {
    RT_CACHE_STAT_INC(rt_cache_stat::in_martian_src);
    if (IN_DEV_LOG_MARTIANS(in_dev) &&
        net_warn_ratelimited("IPv4: martian source %s from %s, on dev %s", ip4_str(in.daddr).s,
                             ip4_str(in.saddr).s, in.dev->name))
        log_link_header(in);
}

void ip_handle_martian_destination(const rt_input& in, const in_device* in_dev) {
    RT_CACHE_STAT_INC(rt_cache_stat::in_martian_dst);
    if (IN_DEV_LOG_MARTIANS(in_dev))
        net_warn_ratelimited("IPv4: martian destination %s from %s, dev %s", ip4_str(in.daddr).s,
                             ip4_str(in.saddr).s, in.dev->name);
}

int refuse(reason_t* reason, reason_t why, int err = -EINVAL) {
    *reason = why;
    return err;
}

int martian_source(const rt_input& in, const in_device* in_dev, reason_t* reason, reason_t why,
                   int err = -EINVAL) {
    ip_handle_martian_source(in, in_dev);
    return refuse(reason, why, err);
}

int martian_destination(const rt_input& in, const in_device* in_dev, reason_t* reason,
                        reason_t why) {
    ip_handle_martian_destination(in, in_dev);
    return refuse(reason, why);
}

// fib_validate_source with the errors that it leaves unnamed given a name.
int validate_source(const rt_input& in, be32_t dst, int oif, reason_t* reason) {
    uint32_t itag = 0;
    *reason = reason_t::NOT_SPECIFIED;
    return fib_validate_source(in.n, in.skb, in.saddr, dst, in.tos, oif, in.dev, &itag, reason);
}

// The device that local packets seem to come from.
net_device* local_dev(const rt_input& in, const fib_result* res) {
    const net_device* dev =
        res && res->fi && res->nh()->fib_nh_dev ? res->nh()->fib_nh_dev : in.dev;
    net_device* master =
        dev->master_ifindex ? dev_get_by_index(in.n, dev->master_ifindex) : nullptr;
    return master ? master : in.n.loopback_dev;
}

// What ends here: for us, broadcast, or an error. Origin: the label local_input of
// ip_route_input_slow.
int local_input(const rt_input& in, const fib_result* res, uint32_t flags, uint16_t type, int error,
                rt_decision* d) {
    d->dev = local_dev(in, res);
    d->flags = flags | (error ? 0 : RTCF_LOCAL);
    d->type = type;
    d->error = error;
    d->input = error ? ip_error : ip_handlers.ip_local_deliver;
    d->output = ip_rt_bug;
    // The fib_info of a broadcast route may also carry forwarded broadcasts (bc_forwarding): not
    // shared.
    if (res && res->fi && type == RTN_LOCAL) {
        d->fi = res->fi;
        d->nh = res->nh();
        d->table_id = res->tb_id;
    }
    d->scope = RT_SCOPE_HOST;
    d->src = in.saddr;
    return 0;
}

// Origin: the label brd_input of ip_route_input_slow.
int brd_input(const rt_input& in, const in_device* in_dev, rt_decision* d, reason_t* reason) {
    if (!in.is_ip)
        return refuse(reason, reason_t::INVALID_PROTO);
    if (!ipv4_is_zeronet(in.saddr))
        if (int err = validate_source(in, INADDR_ANY, 0, reason); err < 0)
            return martian_source(in, in_dev, reason, *reason, err);
    RT_CACHE_STAT_INC(rt_cache_stat::in_brd);
    return local_input(in, nullptr, RTCF_BROADCAST, RTN_BROADCAST, 0, d);
}

// Origin: ip_mc_validate_source.
int ip_mc_validate_source(const rt_input& in, const in_device* in_dev, rt_decision* d,
                          reason_t* reason) {
    if (ipv4_is_multicast(in.saddr) || ipv4_is_lbcast(in.saddr))
        return refuse(reason, reason_t::IP_INVALID_SOURCE);
    if (!in.is_ip)
        return refuse(reason, reason_t::INVALID_PROTO);
    if (ipv4_is_loopback(in.saddr) && !IN_DEV_ROUTE_LOCALNET(in_dev))
        return refuse(reason, reason_t::IP_LOCALNET);
    if (!ipv4_is_zeronet(in.saddr))
        return validate_source(in, INADDR_ANY, 0, reason);
    d->cacheable = false; // IGMP may come without a source: depends on more than the key
    if (!ipv4_is_local_multicast(in.daddr) && ip_hdr(in.skb)->protocol != IPPROTO_IGMP_)
        return refuse(reason, reason_t::IP_INVALID_SOURCE);
    return 0;
}

int ip_route_input_mc(const rt_input& in, const in_device* in_dev, bool our, rt_decision* d,
                      reason_t* reason) {
    if (int err = ip_mc_validate_source(in, in_dev, d, reason); err < 0)
        return err;
    local_input(in, nullptr, RTCF_MULTICAST, RTN_MULTICAST, 0, d);
    if (!our)
        d->flags &= ~RTCF_LOCAL;
    if (!ipv4_is_local_multicast(in.daddr) && IN_DEV_MFORWARD(in_dev) && ip_handlers.ip_mr_input)
        d->input = ip_handlers.ip_mr_input;
    RT_CACHE_STAT_INC(rt_cache_stat::in_slow_mc);
    return 0;
}

// A redirect is due when the packet leaves where it came in and the sender could have reached the
// next hop by itself.
bool redirect_due(const rt_input& in, const in_device* in_dev, const in_device* out_dev,
                  const fib_nh* nh, int source_onlink) {
    if (out_dev != in_dev || source_onlink <= 0 || !IN_DEV_TX_REDIRECTS(out_dev) || !in.is_ip)
        return false;
    be32_t gw = nh->gw_family == AF_INET_ ? nh->fib_nh_gw4 : be32_t{};
    return IN_DEV_SHARED_MEDIA(out_dev) || inet_addr_onlink(out_dev, in.saddr, gw);
}

int __mkroute_input(const rt_input& in, const fib_result& res, const in_device* in_dev,
                    rt_decision* d, reason_t* reason) {
    fib_nh* nh = res.nh();
    net_device* dev = nh->fib_nh_dev;
    const in_device* out_dev = dev ? __in_dev_get_rcu(dev) : nullptr;
    if (!out_dev)
        return refuse(reason, reason_t::NOT_SPECIFIED);
    int err = validate_source(in, in.daddr, nh->fib_nh_oif, reason);
    if (err < 0)
        return martian_source(in, in_dev, reason, *reason, err);
    if (redirect_due(in, in_dev, out_dev, nh, err))
        d->flags |= RTCF_DOREDIRECT;
    // A proxy does not answer for hosts that the asker can reach itself.
    if (!in.is_ip && out_dev == in_dev && !IN_DEV_PROXY_ARP_PVLAN(in_dev))
        return refuse(reason, reason_t::ARP_PVLAN_DISABLE);
    d->dev = dev;
    d->type = res.type;
    d->input = ip_handlers.ip_forward;
    d->output = ip_handlers.ip_output;
    d->src = in.saddr;
    d->shareable = res.type == RTN_UNICAST;
    rt_set_nexthop(in.n, d, res, in.daddr);
    return 0;
}

int ip_mkroute_input(const rt_input& in, fib_result* res, const in_device* in_dev, flowi4* fl4,
                     rt_decision* d, reason_t* reason) {
    if (res->fi->fib_nhs > 1) {
        fib_select_multipath(res, fib_multipath_hash(in.n, fl4, in.skb), nullptr);
        // By ports, or by the packet that an ICMP error quotes: flows of one key may go different
        // ways.
        d->cacheable = d->cacheable && in.n.ipv4.sysctl_fib_multipath_hash_policy == 0 &&
                       !(in.skb && ip_hdr(in.skb)->protocol == IPPROTO_ICMP_);
    }
    return __mkroute_input(in, *res, in_dev, d, reason);
}

// Checks of addresses alone. 1: limited broadcast; 0: to the tables; else refused.
int check_addresses(const rt_input& in, const in_device* in_dev, reason_t* reason) {
    if (ipv4_is_multicast(in.saddr) || ipv4_is_lbcast(in.saddr))
        return martian_source(in, in_dev, reason, reason_t::IP_INVALID_SOURCE);
    if (ipv4_is_lbcast(in.daddr) || (!in.saddr && !in.daddr))
        return 1;
    if (ipv4_is_zeronet(in.saddr))
        return martian_source(in, in_dev, reason, reason_t::IP_INVALID_SOURCE);
    if (ipv4_is_zeronet(in.daddr))
        return martian_destination(in, in_dev, reason, reason_t::IP_INVALID_DEST);
    if (ipv4_is_loopback(in.daddr)) {
        if (!IN_DEV_ROUTE_LOCALNET(in_dev))
            return martian_destination(in, in_dev, reason, reason_t::IP_LOCALNET);
    } else if (ipv4_is_loopback(in.saddr) && !IN_DEV_ROUTE_LOCALNET(in_dev)) {
        return martian_source(in, in_dev, reason, reason_t::IP_LOCALNET);
    }
    return 0;
}

// No route, or one that says no: the packet goes to ip_error, which knows whether to answer.
int no_route(const rt_input& in, const in_device* in_dev, int err, rt_decision* d) {
    RT_CACHE_STAT_INC(rt_cache_stat::in_no_route);
    if (!IN_DEV_FORWARD(in_dev))
        err = -EHOSTUNREACH;
    trace_packet(in.skb, "fib_lookup: no route, error %d", -err);
    return local_input(in, nullptr, 0, RTN_UNREACHABLE, -err, d);
}

// With a route found: whose is the packet?
int route_found(const rt_input& in, const in_device* in_dev, fib_result* res, flowi4* fl4,
                rt_decision* d, reason_t* reason) {
    if (res->type == RTN_BROADCAST) {
        if (IN_DEV_BFORWARD(in_dev))
            return ip_mkroute_input(in, res, in_dev, fl4, d, reason);
        return brd_input(in, in_dev, d, reason);
    }
    if (res->type == RTN_LOCAL) {
        if (int err = validate_source(in, in.daddr, 0, reason); err < 0)
            return martian_source(in, in_dev, reason, *reason, err);
        return local_input(in, res, 0, RTN_LOCAL, 0, d);
    }
    if (!IN_DEV_FORWARD(in_dev))
        return no_route(in, in_dev, -EHOSTUNREACH, d);
    if (res->type != RTN_UNICAST)
        return martian_destination(in, in_dev, reason, reason_t::IP_INVALID_DEST);
    return ip_mkroute_input(in, res, in_dev, fl4, d, reason);
}

int decide_slow(const rt_input& in, const in_device* in_dev, rt_decision* d, reason_t* reason) {
    int err = check_addresses(in, in_dev, reason);
    if (err < 0)
        return err;
    if (err)
        return brd_input(in, in_dev, d, reason);
    flowi4 fl4;
    fl4.flowi4_iif = in.dev->ifindex;
    fl4.flowi4_mark = in.mark;
    fl4.flowi4_tos = in.tos & INET_DSCP_MASK;
    fl4.daddr = in.daddr;
    fl4.saddr = in.saddr;
    if (fib4_rules_early_flow_dissect(in.n, in.skb, &fl4))
        d->cacheable = false;
    fib_result res;
    err = fib_lookup(in.n, &fl4, &res);
    if (err)
        return no_route(in, in_dev, err, d);
    RT_CACHE_STAT_INC(rt_cache_stat::in_slow_tot);
    if (unlikely(this_softnet()->tracer != nullptr))
        __trace_packet(in.skb, "ip_route_input_slow", "fib_lookup: table %u, %s/%u type %u",
                       res.tb_id, ip4_str(res.prefix).s, res.prefixlen, res.type);
    return route_found(in, in_dev, &res, &fl4, d, reason);
}

int decide_multicast(const rt_input& in, const in_device* in_dev, rt_decision* d,
                     reason_t* reason) {
    bool our = ip_check_mc_rcu(in_dev, in.daddr);
    if (!our && (ipv4_is_local_multicast(in.daddr) || !IN_DEV_MFORWARD(in_dev)))
        return refuse(reason, reason_t::NOT_SPECIFIED);
    return ip_route_input_mc(in, in_dev, our, d, reason);
}

// ICMP errors choose among several next hops by the packet that they quote, not by their own
// addresses.
bool chooses_otherwise(const rtable* rt, const sk_buff* skb) {
    return unlikely(rt->fi && rt->fi->fib_nhs > 1) && ip_hdr(skb)->protocol == IPPROTO_ICMP_;
}

// The packet is not answered by the cache. rt: the entry of its key all the same, or null.
int route_input_miss(sk_buff* skb, const rt_input& in, const rt_key& key, uint32_t hash, rtable* rt,
                     reason_t* reason) {
    rt_hash_shard* shard = this_softnet()->rt_shard;
    rt_decision d;
    d.key = key;
    RT_CACHE_STAT_INC(rt_cache_stat::missed);
    int err = rt_decide_input(in, &d, reason);
    if (err) {
        trace_packet(skb, "refused: %s", drop_reason_name(*reason));
        if (rt)
            rt_remove(shard, rt);
        return err;
    }
    if (rt && chooses_otherwise(rt, skb)) {
        d.cacheable = false;
        rt = nullptr; // the entry stays for the flow's own packets
    }
    rt = rt_entry_for(shard, hash, d, rt, skb, reason);
    if (!rt)
        return -ENOBUFS;
    skb_rtable_set(skb, rt);
    if (unlikely(d.flags & RTCF_DOREDIRECT)) {
        IPCB(skb)->flags |= IPSKB_DOREDIRECT;
        skb->rt_flags |= RTCF_DOREDIRECT;
    }
    return 0;
}

} // namespace

bool ip_check_mc_rcu(const in_device* in_dev, be32_t mc_addr) {
    return in_dev->dev->up() && mc_addr == cpu_to_be32(0xe0000001);
}

void rt_set_nexthop(net& n, rt_decision* d, const fib_result& res, be32_t daddr) {
    fib_nh* nh = res.nh();
    d->fi = res.fi;
    d->nh = nh;
    d->scope = res.scope;
    d->table_id = res.tb_id;
    be32_t gw = nh->gw_family == AF_INET_ ? nh->fib_nh_gw4 : be32_t{};
    const bool gw6 = nh->gw_family == AF_INET6_;
    d->uses_gateway = (gw || gw6) && nh->fib_nh_scope == RT_SCOPE_LINK;
    d->gw6 = d->uses_gateway && gw6;
    d->gateway = gw6 ? nh->gw6_key : gw;
    d->peer_genid = n.ipv4.peers->learned_genid.load(std::memory_order_acquire);
    d->learned = inet_peer_find_learned(n, daddr, nh->fib_nh_oif, gw);
    if (unlikely(bool(d->learned.gateway)) && d->uses_gateway && !gw6) {
        d->gateway = d->learned.gateway;
        d->flags |= RTCF_REDIRECTED;
    }
}

int rt_decide_input(const rt_input& in, rt_decision* d, skb_drop_reason* reason) {
    d->genid = rt_genid(in.n);
    d->is_input = true;
    d->iif = in.dev->ifindex;
    const in_device* in_dev = __in_dev_get_rcu(in.dev);
    if (!in_dev)
        return refuse(reason, skb_drop_reason::NOT_SPECIFIED);
    return ipv4_is_multicast(in.daddr) ? decide_multicast(in, in_dev, d, reason)
                                       : decide_slow(in, in_dev, d, reason);
}

namespace {

/// Decides about a forwarded packet where each of decide_slow's questions has its usual answer: one
/// next hop by another device, a source that nobody wants to know the way back to. False: one has
/// not, and nothing was counted.
bool decide_plain_forward(net& n, net_device* dev, const in_device* in_dev, const iphdr* iph,
                          rt_decision* d) {
    const be32_t daddr = iph->daddr, saddr = iph->saddr;
    auto unusual = [](be32_t a) {
        const uint32_t top = be32_to_cpu(a) >> 24;
        return top == 0 || top == 127 || top >= 224;
    };
    if (unusual(daddr) || unusual(saddr) || dev->master_ifindex || !IN_DEV_FORWARD(in_dev) ||
        IN_DEV_RPFILTER(in_dev) || fib4_has_custom_rules(n))
        return false;
    flowi4 fl4;
    fl4.flowi4_iif = dev->ifindex;
    fl4.flowi4_tos = iph->tos & INET_DSCP_MASK;
    fl4.daddr = daddr;
    fl4.saddr = saddr;
    fib_result res;
    if (fib_lookup(n, &fl4, &res) || res.type != RTN_UNICAST || res.fi->fib_nhs != 1)
        return false;
    fib_nh* nh = res.nh();
    // By another device no redirect is due, and then the source's own way is not asked for.
    if (!nh->fib_nh_dev || nh->fib_nh_dev == dev || !__in_dev_get_rcu(nh->fib_nh_dev))
        return false;
    uint32_t itag = 0;
    skb_drop_reason reason{};
    if (fib_validate_source(n, nullptr, saddr, daddr, iph->tos, nh->fib_nh_oif, dev, &itag, &reason))
        return false;
    d->dev = nh->fib_nh_dev;
    d->type = res.type;
    d->input = ip_handlers.ip_forward;
    d->output = ip_handlers.ip_output;
    d->src = saddr;
    rt_set_nexthop(n, d, res, daddr);
    return !d->learned.expires;
}

} // namespace

bool ip_route_input_burst(softnet_data* sd, net_device* dev, const iphdr* iph, rtable** rt,
                          skb_drop_reason* reason) {
    rt_hash_shard* shard = sd->rt_shard;
    net& n = *sd->nd_net;
    rt_decision d;
    d.key = rt_make_key(iph->daddr, iph->saddr, dev->ifindex, 0, 0, iph->tos);
    const uint32_t hash = rt_hash_of(shard, d.key);
    d.genid = rt_genid(n);
    rtable* old = rt_cache_probe(shard, d.key, hash);
    if (old && old->rt_genid == d.genid) {
        // An earlier packet of this burst has entered or renewed it.
        if (!old->plain_for(iph->protocol) || !rt_usable(old, sd->jiffies))
            return false;
        RT_CACHE_STAT_INC(rt_cache_stat::in_hit);
        dst_use_noref(&old->dst, sd->jiffies);
        *rt = old;
        return true;
    }
    const in_device* in_dev = __in_dev_get_rcu(dev);
    d.iif = dev->ifindex;
    if (!in_dev || !decide_plain_forward(n, dev, in_dev, iph, &d))
        return false;
    RT_CACHE_STAT_INC(rt_cache_stat::missed);
    RT_CACHE_STAT_INC(rt_cache_stat::in_slow_tot);
    *rt = rt_entry_for(shard, hash, d, old, nullptr, reason);
    if (*rt && !(*rt)->rt_shared)
        rt_own_refresh(shard, d); // the next burst's packets over this next hop are ip_route_input_list's
    return true;
}

int ip_route_input(sk_buff* skb, be32_t daddr, be32_t saddr, uint8_t tos, net_device* dev,
                   skb_drop_reason* reason) {
    softnet_data* sd = this_softnet();
    rt_hash_shard* shard = sd->rt_shard;
    net& n = *sd->nd_net;
    rt_key key = rt_make_key(daddr, saddr, dev->ifindex, 0, skb->mark, tos);
    uint32_t hash = rt_hash_of(shard, key);
    rtable* rt = nullptr;
    unsigned looked = 0;
    for (rtable* rth = shard->rt_hash_table[hash & shard->rt_hash_mask].head(); rth;
         rth = rt_next_in_chain(rth)) {
        ++looked;
        if (rt_key_equal(rth->key, key)) {
            rt = rth;
            break;
        }
        RT_CACHE_STAT_INC(rt_cache_stat::in_hlist_search);
    }
    packet_work_seen(*sd, packet_work::entries, looked);
    if (rt && rt->rt_genid == rt_genid(n) && rt_usable(rt, sd->jiffies) &&
        !chooses_otherwise(rt, skb)) {
        RT_CACHE_STAT_INC(rt_cache_stat::in_hit);
        dst_use_noref(&rt->dst, sd->jiffies);
        skb_rtable_set(skb, rt);
        trace_packet(skb, "cache hit rtable %p -> via %s dev %s", (void*)rt,
                     ip4_str(rt_nexthop(rt, daddr)).s, rt->dst.dev->name);
        return 0;
    }
    trace_packet(skb, "cache miss (%s)", rt ? "stale" : "no entry");
    rt_input in{n, skb, daddr, saddr, tos, dev, skb->mark, true};
    return route_input_miss(skb, in, key, hash, rt, reason);
}

int ip_route_input_slow(sk_buff* skb, be32_t daddr, be32_t saddr, uint8_t tos, net_device* dev,
                        skb_drop_reason* reason) {
    rt_hash_shard* shard = this_softnet()->rt_shard;
    rt_key key = rt_make_key(daddr, saddr, dev->ifindex, 0, skb->mark, tos);
    uint32_t hash = rt_hash_of(shard, key);
    rt_input in{rt_shard_net(shard), skb, daddr, saddr, tos, dev, skb->mark, true};
    return route_input_miss(skb, in, key, hash, rt_cache_probe(shard, key, hash), reason);
}

int rt_arp_input_type(net_device* dev, be32_t tip, be32_t sip, net_device** out_dev) {
    rt_decision d;
    auto reason = skb_drop_reason::NOT_SPECIFIED;
    rt_input in{*dev->nd_net, nullptr, tip, sip, 0, dev, 0, false};
    int err = rt_decide_input(in, &d, &reason);
    if (err)
        return err;
    *out_dev = d.dev;
    return d.type;
}

} // namespace slabfwd
