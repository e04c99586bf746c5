// SPDX-License-Identifier: BSD-3-Clause
//
// May a next hop be used: the gateway has to be reachable over a link (or `onlink` says so), the
// device has to be there and up. What is found is kept in the fib_nh: a route does not move when
// the one that resolved its gateway goes. And the shares of several next hops. Doors: fib_check_nh,
// fib_rebalance. Threads: under rtnl. Origin: net/ipv4/fib_semantics.c (6.18); for IPv6 gateways
// net/ipv6/route.c (fib6_nh_init).
#include <algorithm>
#include <cerrno>
#include <span>

#include "route/fib_lookup.h"

namespace slabfwd {

namespace {

/// Fills in the device; -ENETDOWN when it is down (with its text where the kernel has one).
int use_device(fib_nh* nh, net_device* dev, uint8_t scope) {
    nh->fib_nh_dev = dev;
    nh->fib_nh_oif = dev->ifindex;
    nh->fib_nh_scope = scope;
    if (!dev->carrier)
        nh->fib_nh_flags = nh->fib_nh_flags | int(RTNH_F_LINKDOWN);
    return dev->up() ? 0 : -ENETDOWN;
}

int check_onlink_gw(net& n, fib_nh* nh, uint8_t scope, netlink_ext_ack* extack) {
    if (scope >= RT_SCOPE_LINK) {
        NL_SET_ERR_MSG(extack, "Nexthop has invalid scope");
        return -EINVAL;
    }
    net_device* dev = dev_get_by_index(n, nh->fib_nh_oif);
    if (!dev) {
        NL_SET_ERR_MSG(extack, "Nexthop device required for onlink");
        return -ENODEV;
    }
    if (!dev->up()) {
        NL_SET_ERR_MSG(extack, "Nexthop device is not up");
        return -ENETDOWN;
    }
    if (inet_addr_type_dev_table(n, dev, nh->fib_nh_gw4) != RTN_UNICAST) {
        NL_SET_ERR_MSG(extack, "Nexthop has invalid gateway");
        return -EINVAL;
    }
    return use_device(nh, dev, RT_SCOPE_LINK);
}

/// Looks the gateway up as one that has to be nearer than the route itself.
int check_v4_gw(net& n, fib_nh* nh, uint32_t table, uint8_t scope, netlink_ext_ack* extack) {
    if (nh->fib_nh_flags & int(RTNH_F_ONLINK))
        return check_onlink_gw(n, nh, scope, extack);
    flowi4 fl4;
    fl4.daddr = nh->fib_nh_gw4;
    fl4.flowi4_scope = std::max(uint8_t(scope + 1), RT_SCOPE_LINK);
    fl4.flowi4_oif = nh->fib_nh_oif;
    fl4.flowi4_iif = int(LOOPBACK_IFINDEX);
    fib_result res;
    fib_table* tb = table && table != RT_TABLE_MAIN ? fib_get_table(n, table) : nullptr;
    int err = tb ? fib_table_lookup(tb, &fl4, &res, FIB_LOOKUP_IGNORE_LINKSTATE) : -EAGAIN;
    if (err)
        err = fib_lookup(n, &fl4, &res, FIB_LOOKUP_IGNORE_LINKSTATE);
    if (!err && res.type != RTN_UNICAST && res.type != RTN_LOCAL)
        err = -EINVAL;
    if (err) {
        NL_SET_ERR_MSG(extack, "Nexthop has invalid gateway");
        return err;
    }
    if (!res.nh()->fib_nh_dev) {
        NL_SET_ERR_MSG(extack, "No egress device for nexthop gateway");
        return -EINVAL;
    }
    return use_device(nh, res.nh()->fib_nh_dev, res.scope);
}

bool ipv6_is_unicast(const uint8_t* a) {
    return a[0] != 0xff && std::any_of(a, a + 16, [](uint8_t b) { return b != 0; });
}

/// There is no IPv6 routing here, so a gateway is link-local on a named device, or said to be on
/// link.
int check_v6_gw(net& n, fib_nh* nh, netlink_ext_ack* extack) {
    const bool onlink = nh->fib_nh_flags & int(RTNH_F_ONLINK);
    const bool link_local = nh->gw6[0] == 0xfe && (nh->gw6[1] & 0xc0) == 0x80;
    net_device* dev = dev_get_by_index(n, nh->fib_nh_oif);
    if (nh->fib_nh_oif && !dev)
        return -ENODEV;
    if (onlink && !dev) {
        NL_SET_ERR_MSG(extack, "Nexthop device required for onlink");
        return -ENODEV;
    }
    if (!ipv6_is_unicast(nh->gw6)) {
        NL_SET_ERR_MSG(extack, "Invalid gateway address");
        return -EINVAL;
    }
    if (!link_local && !onlink)
        return -EHOSTUNREACH;
    if (!dev) {
        NL_SET_ERR_MSG(extack, "Egress device not specified");
        return -EINVAL;
    }
    if (dev->flags & IFF_LOOPBACK) {
        NL_SET_ERR_MSG(extack, "Egress device can not be loopback device for this route");
        return -EINVAL;
    }
    if (!dev->up()) {
        NL_SET_ERR_MSG(extack, "Nexthop device is not up");
        return -ENETDOWN;
    }
    return use_device(nh, dev, RT_SCOPE_LINK);
}

int check_nongw(net& n, fib_nh* nh, netlink_ext_ack* extack) {
    if (nh->fib_nh_flags & int(RTNH_F_PERVASIVE | RTNH_F_ONLINK)) {
        NL_SET_ERR_MSG(extack, "Invalid flags for nexthop - PERVASIVE and ONLINK can not be set");
        return -EINVAL;
    }
    net_device* dev = dev_get_by_index(n, nh->fib_nh_oif);
    if (!dev || !__in_dev_get_rcu(dev))
        return -ENODEV;
    if (!dev->up()) {
        NL_SET_ERR_MSG(extack, "Device for nexthop is not up");
        return -ENETDOWN;
    }
    return use_device(nh, dev, RT_SCOPE_HOST);
}

/// A next hop that takes part in the shares.
bool shares(const fib_nh& nh) {
    const int flags = nh.fib_nh_flags;
    return !(flags & int(RTNH_F_DEAD)) &&
           !((flags & int(RTNH_F_LINKDOWN)) && ip_ignore_linkdown(nh.fib_nh_dev));
}

} // namespace

int fib_check_nh(net& n, fib_nh* nh, uint32_t table, uint8_t scope, netlink_ext_ack* extack) {
    switch (nh->gw_family) {
    case AF_INET_:
        return check_v4_gw(n, nh, table, scope, extack);
    case AF_INET6_:
        return check_v6_gw(n, nh, extack);
    default:
        return check_nongw(n, nh, extack);
    }
}

void fib_rebalance(fib_info* fi) {
    if (fi->fib_nhs < 2)
        return;
    const std::span<fib_nh> nhs(fi->fib_nh_, size_t(fi->fib_nhs));
    uint64_t total = 0, w = 0;
    for (const fib_nh& nh : nhs)
        total += shares(nh) ? uint64_t(nh.fib_nh_weight) : 0;
    for (fib_nh& nh : nhs) {
        int upper_bound = -1;
        if (shares(nh)) {
            w += uint64_t(nh.fib_nh_weight);
            upper_bound = int(((w << 31) + total / 2) / total - 1);
        }
        nh.fib_nh_upper_bound.store(upper_bound, std::memory_order_relaxed);
    }
}

} // namespace slabfwd
