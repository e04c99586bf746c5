// SPDX-License-Identifier: BSD-3-Clause
//
// The routes that addresses bring, and what becomes of routes when addresses and devices come and
// go. An address brings: itself as a local /32; its broadcast address; a primary also the connected
// prefix and that prefix' own broadcast address. The preferred source of all is the primary of the
// subnet. Doors: fib_add_ifaddr, fib_del_ifaddr, fib_netdev_event. Threads: under rtnl. Origin:
// net/ipv4/fib_frontend.c (6.18).
#include <algorithm>
#include <cerrno>
#include <vector>

#include "neigh/neighbour.h"
#include "route/fib_lookup.h"
#include "route/fib_rules.h"
#include "route/l3mdev.h"
#include "route/route.h"

namespace slabfwd {

namespace {

/// A route that an address brings.
struct ifa_route {
    uint8_t type;
    be32_t dst;
    uint8_t dst_len;
    uint32_t priority;
    be32_t prefsrc;
    /// The same route for the table: its metric is no part of what it is looked up by.
    bool operator==(const ifa_route& o) const {
        return type == o.type && dst == o.dst && dst_len == o.dst_len && prefsrc == o.prefsrc;
    }
};

bool has_prefix(const in_ifaddr* ifa) {
    const be32_t prefix = ifa->ifa_address & ifa->ifa_mask;
    return !(ifa->ifa_flags & IFA_F_SECONDARY) && !ipv4_is_zeronet(prefix) &&
           (prefix != ifa->ifa_local || ifa->ifa_prefixlen < 32);
}

ifa_route connected_route(const in_ifaddr* ifa) {
    const bool lo = ifa->ifa_dev->dev->flags & IFF_LOOPBACK;
    return {lo ? RTN_LOCAL : RTN_UNICAST, ifa->ifa_address & ifa->ifa_mask, ifa->ifa_prefixlen,
            ifa->ifa_rt_priority, ifa->ifa_local};
}

/// All that ifa brings on a device that is up; prim: the primary of its subnet. The local route is
/// first.
std::vector<ifa_route> routes_of(const in_ifaddr* ifa, const in_ifaddr* prim) {
    std::vector<ifa_route> routes{{RTN_LOCAL, ifa->ifa_local, 32, 0, prim->ifa_local}};
    auto broadcast = [&](be32_t addr) {
        routes.push_back({RTN_BROADCAST, addr, 32, 0, prim->ifa_local});
    };
    if (ifa->ifa_broadcast && ifa->ifa_broadcast != INADDR_BROADCAST)
        broadcast(ifa->ifa_broadcast);
    if (!has_prefix(ifa))
        return routes;
    if (!(ifa->ifa_flags & IFA_F_NOPREFIXROUTE))
        routes.push_back(connected_route(ifa));
    if (ifa->ifa_prefixlen < 31)
        broadcast((ifa->ifa_address & ifa->ifa_mask) | ~ifa->ifa_mask);
    return routes;
}

const in_ifaddr* primary_of(const in_ifaddr* ifa) {
    return ifa->ifa_flags & IFA_F_SECONDARY
               ? inet_ifa_byprefix(ifa->ifa_dev, ifa->ifa_address & ifa->ifa_mask, ifa->ifa_mask)
               : ifa;
}

/// Enters or removes one route of an address by dev. Origin: fib_magic.
int fib_magic(net_device* dev, const ifa_route& route, bool add) {
    net& n = *dev->nd_net;
    fib_config cfg;
    cfg.fc_protocol = RTPROT_KERNEL;
    cfg.fc_type = route.type;
    cfg.fc_dst = route.dst;
    cfg.fc_dst_len = route.dst_len;
    cfg.fc_priority = route.priority;
    cfg.fc_prefsrc = route.prefsrc;
    cfg.fc_scope = route.type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_LINK;
    cfg.fc_nlflags = NLM_F_CREATE | NLM_F_APPEND;
    cfg.nexthops.resize(1);
    cfg.nexthops[0].oif = dev->ifindex;
    const uint32_t vrf = l3mdev_fib_table(dev);
    cfg.fc_table = vrf ? vrf : route.type == RTN_UNICAST ? RT_TABLE_MAIN : RT_TABLE_LOCAL;
    fib_table* tb = fib_new_table(n, cfg.fc_table);
    if (!tb)
        return -ENOBUFS;
    return add ? fib_table_insert(n, tb, cfg, nullptr) : fib_table_delete(n, tb, cfg, nullptr);
}

/// The routes that the other addresses of the device bring as well. iprim: not those of its subnet.
std::vector<ifa_route> routes_of_others(const in_ifaddr* ifa, const in_ifaddr* iprim) {
    std::vector<ifa_route> routes;
    for (const in_ifaddr* other = ifa->ifa_dev->ifa_list; other; other = other->ifa_next) {
        if (other == ifa || (iprim && other->ifa_mask == iprim->ifa_mask &&
                             inet_ifa_match(other->ifa_address, iprim)))
            continue;
        const in_ifaddr* prim = primary_of(other);
        if (!prim)
            continue;
        for (const ifa_route& route : routes_of(other, prim))
            routes.push_back(route);
    }
    return routes;
}

bool is_listed(const in_ifaddr* ifa) {
    const in_ifaddr* it = ifa->ifa_dev->ifa_list;
    while (it && it != ifa)
        it = it->ifa_next;
    return it;
}

/// The device's IP is over: routes by it go, or with force (address or device gone) even its own
/// addresses. Origin: fib_disable_ip.
void fib_disable_ip(net_device* dev, netdev_event event, bool force) {
    net& n = *dev->nd_net;
    if (fib_sync_down_dev(dev, event, force))
        fib_flush(n);
    else
        rt_cache_flush(n);
    neigh_ifdown_all(n, dev);
}

void netdev_up(net_device* dev, in_device* in_dev) {
    for (in_ifaddr* ifa = in_dev->ifa_list; ifa; ifa = ifa->ifa_next)
        if (fib_add_ifaddr(ifa))
            net_warn_ratelimited("%s: no memory for the routes of an address", dev->name);
    fib_sync_up(dev, RTNH_F_DEAD);
    dev->nd_net->ipv4.fib->dev_addr_genid.fetch_add(1, std::memory_order_release);
    rt_cache_flush(*dev->nd_net);
}

void netdev_change(net_device* dev) {
    if (dev->running())
        fib_sync_up(dev, RTNH_F_LINKDOWN);
    else
        fib_sync_down_dev(dev, netdev_event::CHANGE, false);
    rt_cache_flush(*dev->nd_net);
}

} // namespace

int fib_add_ifaddr(in_ifaddr* ifa) {
    net_device* dev = ifa->ifa_dev->dev;
    const in_ifaddr* prim = primary_of(ifa);
    if (!prim)
        return 0;
    for (const ifa_route& route : routes_of(ifa, prim)) {
        if (fib_magic(dev, route, true) == -ENOBUFS)
            return -ENOBUFS;
        if (!dev->up()) // the address itself is there all the same
            break;
    }
    return 0;
}

void fib_del_ifaddr(in_ifaddr* ifa, const in_ifaddr* iprim) {
    net_device* dev = ifa->ifa_dev->dev;
    net& n = *dev->nd_net;
    const in_ifaddr* prim = primary_of(ifa);
    if (!prim)
        return;
    const std::vector<ifa_route> kept = routes_of_others(ifa, iprim);
    bool local_gone = true;
    for (ifa_route route : routes_of(ifa, prim)) {
        if (std::ranges::find(kept, route) != kept.end()) {
            local_gone &= route.type != RTN_LOCAL || route.dst_len != 32;
            continue;
        }
        route.priority = 0; // whatever metric it has
        fib_magic(dev, route, false);
    }
    // The last trace of the address is gone: routes that prefer it as their source go too.
    if (local_gone && !is_listed(ifa) &&
        inet_addr_type_dev_table(n, dev, ifa->ifa_local) != RTN_LOCAL &&
        fib_sync_down_addr(dev, ifa->ifa_local))
        fib_flush(n);
}

void fib_modify_prefix_metric(in_ifaddr* ifa, uint32_t new_metric) {
    net_device* dev = ifa->ifa_dev->dev;
    if (!dev->up() || !has_prefix(ifa) || (ifa->ifa_flags & IFA_F_NOPREFIXROUTE))
        return;
    const ifa_route old = connected_route(ifa);
    ifa_route changed = old;
    changed.priority = new_metric;
    fib_magic(dev, changed, true);
    fib_magic(dev, old, false);
}

int fib_inetaddr_up(in_ifaddr* ifa) {
    net_device* dev = ifa->ifa_dev->dev;
    if (int err = fib_add_ifaddr(ifa))
        return err;
    fib_sync_up(dev, RTNH_F_DEAD);
    dev->nd_net->ipv4.fib->dev_addr_genid.fetch_add(1, std::memory_order_release);
    rt_cache_flush(*dev->nd_net);
    return 0;
}

void fib_inetaddr_down(in_ifaddr* ifa) {
    net_device* dev = ifa->ifa_dev->dev;
    fib_del_ifaddr(ifa, nullptr);
    dev->nd_net->ipv4.fib->dev_addr_genid.fetch_add(1, std::memory_order_release);
    if (!ifa->ifa_dev->ifa_list)
        fib_disable_ip(dev, netdev_event::DOWN, true);
    else
        rt_cache_flush(*dev->nd_net);
}

void fib_netdev_event(netdev_event event, net_device* dev) {
    net& n = *dev->nd_net;
    if (!n.ipv4.fib)
        return;
    std::lock_guard rtnl(n.rtnl);
    if (event == netdev_event::REGISTER || event == netdev_event::UNREGISTER)
        fib_rules_event(event, dev);
    if (event == netdev_event::UNREGISTER) {
        fib_disable_ip(dev, event, true);
        return;
    }
    in_device* in_dev = __in_dev_get_rcu(dev);
    if (!in_dev)
        return;
    switch (event) {
    case netdev_event::UP:
        netdev_up(dev, in_dev);
        break;
    case netdev_event::DOWN:
        fib_disable_ip(dev, event, false);
        break;
    case netdev_event::CHANGE:
        netdev_change(dev);
        break;
    case netdev_event::CHANGEMTU:
        rt_cache_flush(n);
        break;
    case netdev_event::CHANGEUPPER: // all its routes are of the other domain
        fib_disable_ip(dev, netdev_event::DOWN, true);
        break;
    default:
        break;
    }
}

} // namespace slabfwd
