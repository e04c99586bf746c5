// SPDX-License-Identifier: BSD-3-Clause
//
// The FIB's doors: lookups through the rules, the commands that change routes, what an address is,
// the check of a received packet's source, start and end. (Addresses and devices: fib_ifaddr.cc.)
// Threads: lookups, address types and the source check on any slot, under RCU; the rest under rtnl.
// Origin: net/ipv4/fib_frontend.c (6.18).
#include <cerrno>
#include <new>

#include "alloc/kmalloc.h"
#include "neigh/skbuff.h"
#include "route/fib_lookup.h"
#include "route/fib_rules.h"
#include "route/l3mdev.h"
#include "route/route.h"

namespace slabfwd {

namespace {

/// Local and main as one, then default: what there is before the first rule.
int lookup_without_rules(fib_net* fn, const flowi4* flp, fib_result* res, int flags) {
    int err = fib_two_table_lookup(fn->fib_local, fn->fib_main, flp, res, flags);
    fib_table* last = rcu_dereference(fn->fib_default);
    if (last && (err == 1 || err == -EAGAIN))
        err = fib_one_table_lookup(last, flp, res, flags);
    return err == 1 || err == -EAGAIN ? -ENETUNREACH : err;
}

/// What ip(8) fills in before it asks the kernel.
fib_config complete_config(const fib_config& given, bool deletion) {
    fib_config cfg = given;
    const bool has_gw =
        cfg.nexthops.size() > 1 ||
        (cfg.nexthops.size() == 1 && (cfg.nexthops[0].has_gw || cfg.nexthops[0].has_gw6));
    if (!cfg.fc_type_given)
        cfg.fc_type = deletion ? RTN_UNSPEC : RTN_UNICAST;
    if (!cfg.fc_protocol_given)
        cfg.fc_protocol = deletion ? RTPROT_UNSPEC : RTPROT_BOOT;
    const bool host = cfg.fc_type == RTN_LOCAL || cfg.fc_type == RTN_NAT;
    const bool link = cfg.fc_type == RTN_BROADCAST || cfg.fc_type == RTN_ANYCAST;
    if (cfg.fc_table == RT_TABLE_UNSPEC)
        cfg.fc_table = host || link ? RT_TABLE_LOCAL : RT_TABLE_MAIN;
    if (cfg.fc_scope_given)
        return cfg;
    const bool unicast = cfg.fc_type == RTN_UNICAST || cfg.fc_type == RTN_UNSPEC;
    cfg.fc_scope = RT_SCOPE_UNIVERSE;
    if (host)
        cfg.fc_scope = RT_SCOPE_HOST;
    else if (link || cfg.fc_type == RTN_MULTICAST)
        cfg.fc_scope = RT_SCOPE_LINK;
    else if (unicast && deletion)
        cfg.fc_scope = RT_SCOPE_NOWHERE;
    else if (unicast && !has_gw)
        cfg.fc_scope = RT_SCOPE_LINK;
    return cfg;
}

bool valid_tos(const fib_config& cfg, netlink_ext_ack* extack) {
    if (!(cfg.fc_tos & ~INET_DSCP_MASK))
        return true;
    NL_SET_ERR_MSG(extack, "Invalid dsfield (tos): ECN bits must be 0");
    return false;
}

uint8_t addr_type(net& n, const net_device* dev, be32_t addr, uint32_t tb_id) {
    if (ipv4_is_zeronet(addr) || ipv4_is_lbcast(addr))
        return RTN_BROADCAST;
    if (ipv4_is_multicast(addr))
        return RTN_MULTICAST;
    fib_table* tb = fib_get_table(n, tb_id);
    flowi4 fl4;
    fl4.daddr = addr;
    fib_result res;
    if (!tb || fib_table_lookup(tb, &fl4, &res))
        return RTN_UNICAST;
    return !dev || res.fi->fib_nh_[0].fib_nh_dev == dev ? res.type : RTN_UNICAST;
}

/// One of our addresses, on whatever device? Each has its /32 of type local in the local table.
/// Origin: inet_lookup_ifaddr_rcu.
bool inet_lookup_ifaddr(const fib_net* fn, be32_t addr) {
    const fib_node* f = fib_find_node(fn->fib_local, addr, 32);
    for (const fib_alias* fa = f ? rcu_dereference(f->fn_alias) : nullptr; fa;
         fa = rcu_dereference(fa->fa_next))
        if (fa->fa_type == RTN_LOCAL)
            return true;
    return false;
}

/// The full check: is the route back to src by dev? Origin: __fib_validate_source.
int validate_source_by_route(net& n, const sk_buff* skb, be32_t src, be32_t dst, uint8_t tos,
                             int oif, net_device* dev, int rpf, skb_drop_reason* reason) {
    const in_device* in_dev = __in_dev_get_rcu(dev);
    auto last_resort = [rpf, reason] {
        *reason = skb_drop_reason::IP_RPFILTER;
        return rpf ? -EXDEV : 0;
    };
    flowi4 fl4;
    fl4.flowi4_l3mdev = l3mdev_master_ifindex(dev);
    fl4.flowi4_iif = oif ? oif : int(LOOPBACK_IFINDEX);
    fl4.daddr = src;
    fl4.saddr = dst;
    fl4.flowi4_tos = tos;
    fl4.flowi4_mark = skb && IN_DEV_SRC_VMARK(in_dev) ? skb->mark : 0;
    if (fib4_rules_early_flow_dissect(n, skb, &fl4))
        std::swap(fl4.fl4_sport, fl4.fl4_dport);
    fib_result res;
    if (fib_lookup(n, &fl4, &res))
        return last_resort();
    if (res.type != RTN_UNICAST && res.type != RTN_LOCAL) {
        *reason = skb_drop_reason::IP_INVALID_SOURCE;
        return -EINVAL;
    }
    if (res.type == RTN_LOCAL && !IN_DEV_ACCEPT_LOCAL(in_dev)) {
        *reason = skb_drop_reason::IP_LOCAL_SOURCE;
        return -EINVAL;
    }
    if (fib_info_nh_uses_dev(res.fi, dev) || (res.type == RTN_LOCAL && dev == n.loopback_dev))
        return res.nh()->fib_nh_scope >= RT_SCOPE_HOST;
    if (!rcu_dereference(in_dev->ifa_list))
        return last_resort();
    if (rpf == 1) {
        *reason = skb_drop_reason::IP_RPFILTER;
        return -EXDEV;
    }
    fl4.flowi4_oif = dev->ifindex;
    if (fib_lookup(n, &fl4, &res, FIB_LOOKUP_IGNORE_LINKSTATE) || res.type != RTN_UNICAST)
        return 0;
    return res.nh()->fib_nh_scope >= RT_SCOPE_HOST;
}

void free_all_tables(fib_net* fn) {
    for (fib_table*& head : fn->fib_table_hash)
        while (fib_table* tb = head) {
            head = tb->tb_next;
            fib_free_table(tb);
        }
}

/// Notifiers cannot be taken back, so a net that is started again has them already.
void register_once(net& n, netdev_notifier fn) {
    for (netdev_notifier other : n.netdev_chain)
        if (other == fn)
            return;
    register_netdevice_notifier(n, fn);
}

int make_tables(net& n) {
    fib_net* fn = n.ipv4.fib;
    fn->fib_main = fib_hash_table(fn, RT_TABLE_MAIN);
    fn->fib_local = fib_hash_table(fn, RT_TABLE_LOCAL);
    if (!fn->fib_main || !fn->fib_local)
        return -ENOMEM;
    if (int err = fib_info_hash_alloc(fn))
        return err;
    return fib4_rules_init(n);
}

} // namespace

fib_table* fib_get_table(net& n, uint32_t id) {
    if (!id)
        id = RT_TABLE_MAIN;
    fib_table* tb = rcu_dereference(n.ipv4.fib->fib_table_hash[id & (FIB_TABLE_HASHSZ - 1)]);
    while (tb && tb->tb_id != id)
        tb = rcu_dereference(tb->tb_next);
    return tb;
}

int fib_lookup(net& n, const flowi4* flp, fib_result* res, int flags) {
    res->tclassid = 0;
    if (fib4_has_custom_rules(n))
        return fib_rules_lookup(n, flp, res, flags);
    return lookup_without_rules(n.ipv4.fib, flp, res, flags);
}

int fib_table_lookup(fib_table* tb, const flowi4* flp, fib_result* res, int flags) {
    fib_net* fn = tb->tb_net;
    int err;
    if ((tb == fn->fib_local || tb == fn->fib_main) &&
        !fn->fib_has_custom_rules.load(std::memory_order_acquire)) {
        err = fib_two_table_lookup(fn->fib_local, fn->fib_main, flp, res, flags);
        res->table = tb;
        res->tb_id = tb->tb_id;
    } else {
        err = fib_one_table_lookup(tb, flp, res, flags);
    }
    return err == 1 ? -EAGAIN : err;
}

int inet_rtm_newroute(net& n, const fib_config& given, netlink_ext_ack* extack) {
    std::lock_guard rtnl(n.rtnl);
    const fib_config cfg = complete_config(given, false);
    if (!valid_tos(cfg, extack))
        return -EINVAL;
    fib_table* tb = fib_new_table(n, cfg.fc_table);
    if (!tb)
        return -ENOBUFS;
    int err = fib_table_insert(n, tb, cfg, extack);
    if (!err && cfg.fc_type == RTN_LOCAL)
        n.ipv4.fib->fib_has_custom_local_routes.store(true, std::memory_order_relaxed);
    return err;
}

int inet_rtm_delroute(net& n, const fib_config& given, netlink_ext_ack* extack) {
    std::lock_guard rtnl(n.rtnl);
    const fib_config cfg = complete_config(given, true);
    if (!valid_tos(cfg, extack))
        return -EINVAL;
    if (fib_table* tb = fib_get_table(n, cfg.fc_table))
        return fib_table_delete(n, tb, cfg, extack);
    NL_SET_ERR_MSG(extack, "FIB table does not exist");
    return -ESRCH;
}

int fib_flush(net& n) {
    int flushed = 0;
    for (fib_table* head : n.ipv4.fib->fib_table_hash)
        for (fib_table* tb = head; tb; tb = tb->tb_next)
            flushed += fib_table_flush(
                tb,
                [](const fib_table*, const fib_node*, int, const fib_alias* fa, void*) {
                    return (fa->fa_info->fib_flags & int(RTNH_F_DEAD)) != 0;
                },
                nullptr);
    rt_cache_flush(n);
    return flushed;
}

uint8_t inet_addr_type_table(net& n, be32_t addr, uint32_t tb_id) {
    return addr_type(n, nullptr, addr, tb_id);
}
uint8_t inet_addr_type(net& n, be32_t addr) {
    return addr_type(n, nullptr, addr, RT_TABLE_LOCAL);
}
uint8_t inet_dev_addr_type(net& n, const net_device* dev, be32_t addr) {
    const uint32_t vrf = dev ? l3mdev_fib_table(dev) : 0;
    return addr_type(n, dev, addr, vrf ? vrf : RT_TABLE_LOCAL);
}
uint8_t inet_addr_type_dev_table(net& n, const net_device* dev, be32_t addr) {
    const uint32_t vrf = dev ? l3mdev_fib_table(dev) : 0;
    return addr_type(n, nullptr, addr, vrf ? vrf : RT_TABLE_LOCAL);
}

be32_t fib_compute_spec_dst(sk_buff* skb) {
    const rtable* rt = skb_rtable(skb);
    if (rt && (rt->rt_flags & (RTCF_BROADCAST | RTCF_MULTICAST | RTCF_LOCAL)) == RTCF_LOCAL)
        return ip_hdr(skb)->daddr;
    net_device* dev = skb->dev;
    net& n = *dev->nd_net;
    const be32_t saddr = ip_hdr(skb)->saddr;
    if (ipv4_is_zeronet(saddr))
        return inet_select_addr(dev, saddr, RT_SCOPE_LINK);
    const in_device* in_dev = __in_dev_get_rcu(dev);
    flowi4 fl4;
    fl4.flowi4_iif = int(LOOPBACK_IFINDEX);
    fl4.flowi4_l3mdev = l3mdev_master_ifindex(dev);
    fl4.daddr = saddr;
    fl4.flowi4_tos = ip_hdr(skb)->tos & INET_DSCP_MASK;
    fl4.flowi4_mark = in_dev && IN_DEV_SRC_VMARK(in_dev) ? skb->mark : 0;
    fib_result res;
    if (!fib_lookup(n, &fl4, &res))
        return fib_result_prefsrc(n, &res);
    return inet_select_addr(dev, saddr, RT_SCOPE_UNIVERSE);
}

int fib_validate_source(net& n, const sk_buff* skb, be32_t src, be32_t dst, uint8_t tos, int oif,
                        net_device* dev, uint32_t* itag, skb_drop_reason* reason) {
    const in_device* in_dev = __in_dev_get_rcu(dev);
    const fib_net* fn = n.ipv4.fib;
    *itag = 0;
    const int rpf = IN_DEV_RPFILTER(in_dev);
    const bool may_redirect = dev->ifindex == oif && IN_DEV_TX_REDIRECTS(in_dev);
    if (!rpf && !may_redirect) {
        if (IN_DEV_ACCEPT_LOCAL(in_dev))
            return 0;
        // Nobody wants to know the way back: that src is not one of ours can be had for less.
        if (!fn->fib_has_custom_local_routes.load(std::memory_order_relaxed) &&
            !fib4_has_custom_rules(n)) {
            if (!inet_lookup_ifaddr(fn, src))
                return 0;
            *reason = skb_drop_reason::IP_LOCAL_SOURCE;
            return -EINVAL;
        }
    }
    return validate_source_by_route(n, skb, src, dst, tos, oif, dev, rpf, reason);
}

int fib_net_init(net& n) {
    if (fib_hash_init())
        return -ENOMEM;
    void* mem = kzalloc(sizeof(fib_net), GFP_KERNEL);
    if (!mem) {
        fib_hash_exit();
        return -ENOMEM;
    }
    auto* fn = new (mem) fib_net;
    n.ipv4.fib = fn;
    fn->nd_net = &n;
    fn->fib_hash_seed = get_random_u32();
    if (make_tables(n)) {
        fib_net_exit(n);
        return -ENOMEM;
    }
    register_once(n, inetdev_event);
    register_once(n, fib_netdev_event);
    n.for_each_netdev([](net_device* dev) {
        if (!dev->up())
            return;
        inetdev_event(netdev_event::UP, dev);
        fib_netdev_event(netdev_event::UP, dev);
    });
    return 0;
}

void fib_net_exit(net& n) {
    fib_net* fn = n.ipv4.fib;
    if (!fn)
        return;
    std::lock_guard rtnl(n.rtnl);
    if (fn->fib_info_hash && fn->fib_main && fn->fib_local)
        n.for_each_netdev([](net_device* dev) {
            if (in_device* in_dev = __in_dev_get_rcu(dev))
                inetdev_destroy_addrs(in_dev);
        });
    free_all_tables(fn);
    fib4_rules_exit(n);
    rcu_barrier_all(n);
    n.ipv4.fib = nullptr;
    kfree(fn->fib_info_hash);
    kfree(fn);
    fib_hash_exit();
}

} // namespace slabfwd
