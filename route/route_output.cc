// SPDX-License-Identifier: BSD-3-Clause
//
// Routing of packets made here: the source address, the device, the next hop; from the cache or the
// tables. Doors: ip_route_output_key, ip_route_output_key_hash (replies), ip_route_output_slow
// (tables only). Own packets have cache keys with iif 0. What a key cannot tell (scope, flags,
// protocol, ports that rules ask for, next hops chosen by ports) is not cached. Threads: on any
// slot, for packets of that slot, under RCU. Origin: ip_route_output_key_hash_rcu, __mkroute_output
// in net/ipv4/route.c of 6.18; cache as in 2.6.32.
#include <cerrno>

#include "route/fib_lookup.h"
#include "route/route_cache.h"

namespace slabfwd {

namespace {

/// One look-up for an own packet on its way through the stages below.
struct rt_output {
    net& n;
    flowi4* fl4;
    const sk_buff* skb;
    rt_decision d;
    fib_result res;
    net_device* dev_out = nullptr;
    int orig_oif = 0;
    uint32_t flags = 0;
};

// Origin: __ip_dev_find: the device that has addr as its own.
net_device* ip_dev_find(net& n, be32_t addr) {
    net_device* found = nullptr;
    n.for_each_netdev([&](net_device* dev) {
        const in_device* in_dev = __in_dev_get_rcu(dev);
        if (found || !in_dev)
            return;
        for (in_ifaddr* ifa = rcu_dereference(in_dev->ifa_list); ifa;
             ifa = rcu_dereference(ifa->ifa_next))
            if (ifa->ifa_local == addr)
                found = dev;
    });
    if (!found && inet_addr_type(n, addr) == RTN_LOCAL)
        found = n.loopback_dev; // by a local route rather than an address
    return found;
}

bool key_tells_all(const net& n, const flowi4* fl4) {
    return fl4->flowi4_scope == RT_SCOPE_UNIVERSE && !fl4->flowi4_flags && fl4->daddr &&
           fl4->flowi4_proto != IPPROTO_IGMP_ && !fl4->flowi4_l3mdev &&
           !n.ipv4.fib->fib_rules_require_fldissect.load(std::memory_order_relaxed);
}

// What leaves by out.dev_out is decided: type, flags, functions, next hop.
int __mkroute_output(rt_output& out) {
    const in_device* in_dev = __in_dev_get_rcu(out.dev_out);
    const flowi4* fl4 = out.fl4;
    fib_info* fi = out.res.fi;
    uint16_t type = out.res.type;
    bool loopback = out.dev_out->flags & IFF_LOOPBACK;
    if (!in_dev)
        return -EINVAL;
    if (!IN_DEV_ROUTE_LOCALNET(in_dev) && ipv4_is_loopback(fl4->saddr) && !loopback)
        return -EINVAL;
    if (ipv4_is_lbcast(fl4->daddr)) {
        type = RTN_BROADCAST;
        fi = nullptr; // no gateway
    } else if (ipv4_is_multicast(fl4->daddr)) {
        type = RTN_MULTICAST;
    } else if (ipv4_is_zeronet(fl4->daddr)) {
        return -EINVAL;
    }
    if (loopback)
        out.flags |= RTCF_LOCAL;
    if (type == RTN_BROADCAST) {
        out.flags |= RTCF_BROADCAST | RTCF_LOCAL;
    } else if (type == RTN_MULTICAST) {
        out.flags |= RTCF_MULTICAST;
        if (ip_check_mc_rcu(in_dev, fl4->daddr))
            out.flags |= RTCF_LOCAL;
        if (fi && out.res.prefixlen < 4)
            fi = nullptr; // the default route's gateway does not take multicast
    }
    rt_decision& d = out.d;
    d.dev = out.dev_out;
    d.type = type ? type : uint16_t(RTN_UNICAST);
    d.flags = out.flags;
    d.iif = out.orig_oif;
    d.src = fl4->saddr;
    d.input = out.flags & RTCF_LOCAL ? ip_handlers.ip_local_deliver : ip_rt_bug;
    d.output = ip_handlers.ip_output;
    RT_CACHE_STAT_INC(rt_cache_stat::out_slow_tot);
    if ((out.flags & (RTCF_BROADCAST | RTCF_MULTICAST)) && (out.flags & RTCF_LOCAL) && !loopback) {
        d.output = ip_handlers.ip_mc_output;
        RT_CACHE_STAT_INC(rt_cache_stat::out_slow_mc);
    }
    if (fi)
        rt_set_nexthop(out.n, &d, out.res, fl4->daddr);
    return 0;
}

// A source was given: it has to be one of ours. 1: the device is known by it; 0: go on; else
// -errno.
int check_saddr(rt_output& out) {
    flowi4* fl4 = out.fl4;
    if (!fl4->saddr)
        return 0;
    if (ipv4_is_multicast(fl4->saddr) || ipv4_is_lbcast(fl4->saddr))
        return -EINVAL;
    if (!fl4->flowi4_oif && (ipv4_is_multicast(fl4->daddr) || ipv4_is_lbcast(fl4->daddr))) {
        out.dev_out = ip_dev_find(out.n, fl4->saddr);
        if (!out.dev_out)
            return -ENETUNREACH;
        fl4->flowi4_oif = out.dev_out->ifindex;
        return 1;
    }
    // An address of a VRF's port is in none of the tables that inet_addr_type knows.
    if (!(fl4->flowi4_flags & FLOWI_FLAG_ANYSRC) && inet_addr_type(out.n, fl4->saddr) != RTN_LOCAL &&
        !ip_dev_find(out.n, fl4->saddr))
        return -ENETUNREACH;
    return 0;
}

// A device was given. As check_saddr.
int check_oif(rt_output& out) {
    flowi4* fl4 = out.fl4;
    if (!fl4->flowi4_oif)
        return 0;
    net_device* dev = out.dev_out = dev_get_by_index(out.n, fl4->flowi4_oif);
    if (!dev)
        return -ENODEV;
    if (!dev->up() || !__in_dev_get_rcu(dev))
        return -ENETUNREACH;
    if (ipv4_is_local_multicast(fl4->daddr) || ipv4_is_lbcast(fl4->daddr) ||
        fl4->flowi4_proto == IPPROTO_IGMP_) {
        if (!fl4->saddr)
            fl4->saddr = inet_select_addr(dev, INADDR_ANY, RT_SCOPE_LINK);
        return 1;
    }
    if (!fl4->saddr) {
        if (ipv4_is_multicast(fl4->daddr))
            fl4->saddr = inet_select_addr(dev, INADDR_ANY, fl4->flowi4_scope);
        else if (!fl4->daddr)
            fl4->saddr = inet_select_addr(dev, INADDR_ANY, RT_SCOPE_HOST);
    }
    return 0;
}

// No destination: to ourselves.
void to_self(rt_output& out) {
    flowi4* fl4 = out.fl4;
    fl4->daddr = fl4->saddr;
    if (!fl4->daddr)
        fl4->daddr = fl4->saddr = INADDR_LOOPBACK;
    out.dev_out = out.n.loopback_dev;
    fl4->flowi4_oif = LOOPBACK_IFINDEX;
    out.res.type = RTN_LOCAL;
    out.flags |= RTCF_LOCAL;
}

void to_local(rt_output& out) {
    flowi4* fl4 = out.fl4;
    const fib_nh* nh = out.res.nh();
    if (!fl4->saddr)
        fl4->saddr = out.res.fi->fib_prefsrc ? out.res.fi->fib_prefsrc : fl4->daddr;
    int master = nh->fib_nh_dev ? nh->fib_nh_dev->master_ifindex.get() : 0;
    net_device* l3mdev = master ? dev_get_by_index(out.n, master) : nullptr;
    out.dev_out = l3mdev ? l3mdev : out.n.loopback_dev;
    out.orig_oif = nh->fib_nh_oif;
    fl4->flowi4_oif = out.dev_out->ifindex;
    out.flags |= RTCF_LOCAL;
}

// Nothing in the tables. With a device given the destination is taken to be on its link.
int without_route(rt_output& out, int err) {
    flowi4* fl4 = out.fl4;
    out.res = {};
    if (!fl4->flowi4_oif || (!ipv4_is_multicast(fl4->daddr) && fl4->flowi4_l3mdev))
        return err;
    if (!fl4->saddr)
        fl4->saddr = inet_select_addr(out.dev_out, INADDR_ANY, RT_SCOPE_LINK);
    out.res.type = RTN_UNICAST;
    out.d.shareable = false;
    return 0;
}

// Several ways: what was chosen may depend on more than the key.
void choose_path(rt_output& out) {
    const fib_result& res = out.res;
    if (res.fi->fib_nhs > 1)
        out.d.cacheable =
            out.d.cacheable && !out.skb && out.n.ipv4.sysctl_fib_multipath_hash_policy == 0;
    else if (!res.prefixlen && res.table && res.table->tb_num_default > 1)
        out.d.cacheable = false; // by the state of the gateways
    fib_select_path(out.n, &out.res, out.fl4, out.skb);
    out.dev_out = out.res.nh()->fib_nh_dev;
}

int rt_decide_output(rt_output& out) {
    flowi4* fl4 = out.fl4;
    out.d.genid = rt_genid(out.n);
    out.d.peer_genid = out.n.ipv4.peers->learned_genid.load(std::memory_order_acquire);
    out.d.is_input = false;
    out.orig_oif = fl4->flowi4_oif;
    fl4->flowi4_iif = LOOPBACK_IFINDEX;
    fl4->flowi4_tos &= INET_DSCP_MASK;
    int err = check_saddr(out);
    if (err == 0)
        err = check_oif(out);
    if (err < 0)
        return err;
    if (err == 0) {
        if (!fl4->daddr) {
            to_self(out);
        } else if ((err = fib_lookup(out.n, fl4, &out.res))) {
            trace_packet(out.skb, "fib_lookup: no route, error %d", -err);
            if ((err = without_route(out, err)))
                return err;
        } else if (out.res.type == RTN_LOCAL) {
            to_local(out);
        } else {
            choose_path(out);
        }
    }
    return out.dev_out ? __mkroute_output(out) : -ENETUNREACH;
}

// stale: the entry of the key, or null.
rtable* route_output_miss(net& n, flowi4* fl4, const sk_buff* skb, const rt_key& key, uint32_t hash,
                          rtable* stale, int* err) {
    rt_hash_shard* shard = this_softnet()->rt_shard;
    RT_CACHE_STAT_INC(rt_cache_stat::missed);
    rt_output out{n, fl4, skb, {}, {}};
    out.d.key = key;
    out.d.cacheable = key_tells_all(n, fl4);
    bool probed = out.d.cacheable;
    if ((*err = rt_decide_output(out))) {
        if (stale)
            rt_remove(shard, stale);
        return nullptr;
    }
    auto reason = skb_drop_reason::NOT_SPECIFIED;
    rtable* rt = rt_entry_for(shard, hash, out.d, probed ? stale : nullptr, skb, &reason);
    if (!rt) {
        *err = -ENOBUFS;
        return nullptr;
    }
    fl4->flowi4_oif = rt->dst.dev->ifindex;
    trace_packet(skb, "output to %s from %s -> via %s dev %s", ip4_str(fl4->daddr).s,
                 ip4_str(fl4->saddr).s, ip4_str(rt_nexthop(rt, fl4->daddr)).s, rt->dst.dev->name);
    return rt;
}

rt_key output_key(const flowi4* fl4) {
    return rt_make_key(fl4->daddr, fl4->saddr, 0, fl4->flowi4_oif, fl4->flowi4_mark,
                       fl4->flowi4_tos);
}

bool output_hit(const net& n, const rtable* rt, const sk_buff* skb) {
    return rt->rt_genid == rt_genid(n) && rt_usable(rt, jiffies()) &&
           rt->rt_peer_genid == n.ipv4.peers->learned_genid.load(std::memory_order_acquire) &&
           !(skb && rt->fi && rt->fi->fib_nhs > 1);
}

} // namespace

rtable* ip_route_output_key_hash(net& n, flowi4* fl4, const sk_buff* skb, int* err) {
    rt_hash_shard* shard = this_softnet()->rt_shard;
    rt_key key = output_key(fl4);
    uint32_t hash = rt_hash_of(shard, key);
    rtable* rt = nullptr;
    if (key_tells_all(n, fl4)) {
        rt = shard->rt_hash_table[hash & shard->rt_hash_mask].head();
        for (; rt && !rt_key_equal(rt->key, key); rt = rt_next_in_chain(rt))
            RT_CACHE_STAT_INC(rt_cache_stat::out_hlist_search);
    }
    if (!rt || !output_hit(n, rt, skb))
        return route_output_miss(n, fl4, skb, key, hash, rt, err);
    RT_CACHE_STAT_INC(rt_cache_stat::out_hit);
    dst_use_noref(&rt->dst, jiffies());
    *err = 0;
    fl4->saddr = rt->rt_src;
    fl4->flowi4_oif = rt->dst.dev->ifindex;
    trace_packet(skb, "cache hit rtable %p -> via %s dev %s", (void*)rt,
                 ip4_str(rt_nexthop(rt, fl4->daddr)).s, rt->dst.dev->name);
    return rt;
}

rtable* ip_route_output_key(net& n, flowi4* fl4, int* err) {
    return ip_route_output_key_hash(n, fl4, nullptr, err);
}

rtable* ip_route_output_slow(net& n, flowi4* fl4, const sk_buff* skb, int* err) {
    rt_hash_shard* shard = this_softnet()->rt_shard;
    rt_key key = output_key(fl4);
    uint32_t hash = rt_hash_of(shard, key);
    rtable* rt = key_tells_all(n, fl4) ? rt_cache_probe(shard, key, hash) : nullptr;
    return route_output_miss(n, fl4, skb, key, hash, rt, err);
}

} // namespace slabfwd
