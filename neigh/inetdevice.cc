// SPDX-License-Identifier: BSD-3-Clause
//
// Readers of the address lists: which own address suits a destination, is this one ours, is that
// one on link. (Addresses are added and removed in route/devinet.cc.) Door: inet_select_addr,
// inet_confirm_addr, inet_addr_onlink. Threads: any slot, under RCU. Origin: net/ipv4/devinet.c.
#include "neigh/inetdevice.h"

#include <algorithm>

namespace slabfwd {

namespace {

template <class F>
const in_ifaddr* find_ifa(const in_device* in_dev, F wanted) {
    const in_ifaddr* ifa = rcu_dereference(in_dev->ifa_list);
    while (ifa && !wanted(ifa))
        ifa = rcu_dereference(ifa->ifa_next);
    return ifa;
}

/// With route_localnet an address of scope host may speak on the link.
int effective_scope(const in_device* in_dev, const in_ifaddr* ifa) {
    return std::min(ifa->ifa_scope, IN_DEV_ROUTE_LOCALNET(in_dev) ? RT_SCOPE_LINK : RT_SCOPE_HOST);
}

bool is_secondary(const in_ifaddr* ifa) {
    return READ_ONCE(ifa->ifa_flags) & IFA_F_SECONDARY;
}

/// First primary of in_dev that may speak on behalf of another device.
be32_t in_dev_select_addr(const in_device* in_dev, int scope) {
    const in_ifaddr* found = find_ifa(in_dev, [&](const in_ifaddr* ifa) {
        return !is_secondary(ifa) && ifa->ifa_scope != RT_SCOPE_LINK && ifa->ifa_scope <= scope;
    });
    return found ? found->ifa_local : INADDR_ANY;
}

/// The device's own choice: the first primary whose subnet holds dst, else the first in scope.
be32_t select_own_addr(const in_device* in_dev, be32_t dst, int scope) {
    be32_t addr = INADDR_ANY;
    const in_ifaddr* match = find_ifa(in_dev, [&](const in_ifaddr* ifa) {
        if (is_secondary(ifa) || effective_scope(in_dev, ifa) > scope)
            return false;
        if (!addr)
            addr = ifa->ifa_local;
        return !dst || inet_ifa_match(dst, ifa);
    });
    return match ? match->ifa_local : addr;
}

be32_t confirm_addr_indev(const in_device* in_dev, be32_t dst, be32_t local, int scope) {
    be32_t addr = INADDR_ANY;
    bool same = false; // a subnet that holds both dst and local was seen
    find_ifa(in_dev, [&](const in_ifaddr* ifa) {
        bool in_scope = effective_scope(in_dev, ifa) <= scope;
        if (!addr && (local == ifa->ifa_local || !local) && in_scope) {
            addr = ifa->ifa_local;
            if (same)
                return true;
        }
        if (same)
            return false;
        same = (!local || inet_ifa_match(local, ifa)) && (!dst || inet_ifa_match(dst, ifa));
        if (!same || !addr)
            return false;
        // Done when the address found is fixed, need not suit dst, or lies in dst's subnet itself.
        if (local || !dst || inet_ifa_match(addr, ifa))
            return true;
        if (in_scope) { // this subnet's own address is the better source
            addr = ifa->ifa_local;
            return true;
        }
        same = false; // a larger subnet of dst may still hold addr
        return false;
    });
    return same ? addr : INADDR_ANY;
}

} // namespace

bool inet_addr_onlink(const in_device* in_dev, be32_t a, be32_t b) {
    return find_ifa(in_dev, [&](const in_ifaddr* ifa) {
        return inet_ifa_match(a, ifa) && (!b || inet_ifa_match(b, ifa));
    });
}

be32_t inet_select_addr(const net_device* dev, be32_t dst, int scope) {
    net& n = *dev->nd_net;
    if (const in_device* in_dev = __in_dev_get_rcu(dev))
        if (be32_t addr = select_own_addr(in_dev, dst, scope))
            return addr;
    // No address here: a VRF's own device comes first, then any device of the same domain, lo
    // leading.
    const int master_idx = dev->master_ifindex;
    if (const net_device* vrf = master_idx ? dev_get_by_index(n, master_idx) : nullptr)
        if (const in_device* in_dev = __in_dev_get_rcu(vrf))
            if (be32_t addr = in_dev_select_addr(in_dev, scope))
                return addr;
    be32_t addr = INADDR_ANY;
    n.for_each_netdev([&](const net_device* other) {
        if (addr || other->master_ifindex != master_idx)
            return;
        if (const in_device* in_dev = __in_dev_get_rcu(other))
            addr = in_dev_select_addr(in_dev, scope);
    });
    return addr;
}

be32_t inet_confirm_addr(net& n, const in_device* in_dev, be32_t dst, be32_t local, int scope) {
    if (in_dev)
        return confirm_addr_indev(in_dev, dst, local, scope);
    be32_t addr = INADDR_ANY;
    n.for_each_netdev([&](const net_device* dev) {
        if (const in_device* d = addr ? nullptr : __in_dev_get_rcu(dev))
            addr = confirm_addr_indev(d, dst, local, scope);
    });
    return addr;
}

} // namespace slabfwd
