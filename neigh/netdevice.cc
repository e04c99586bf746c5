// SPDX-License-Identifier: BSD-3-Clause
//
// The registry of devices, changes of their state with the notifiers that follow, and the way out
// of the stack into a driver. Door: register_netdevice, dev_change_flags & co., dev_queue_xmit.
// Threads: changes on the control thread; lookups and dev_queue_xmit on any slot.
// Origin: net/core/dev.c, net/core/dev_addr_lists.c, net/ipv4/devinet.c (inetdev_init).
#include "neigh/netdevice.h"

#include <cerrno>
#include <cstring>
#include <new>

#include "alloc/kmalloc.h"
#include "neigh/inetdevice.h"
#include "neigh/neighbour.h"
#include "neigh/softnet.h"

namespace slabfwd {

namespace {

constexpr int ETH_MIN_MTU = 68, ETH_MAX_MTU = 65535;
/// A frame may pass through so many virtual devices before it counts as going in circles.
constexpr unsigned XMIT_RECURSION_LIMIT = 8;
constexpr int LOOPBACK_IFINDEX = 1;

int dev_new_index(net& n, const net_device* dev) {
    if ((dev->flags & IFF_LOOPBACK) && !n.devs[LOOPBACK_IFINDEX])
        return LOOPBACK_IFINDEX;
    for (int i = LOOPBACK_IFINDEX + 1; i < int(MAX_NETDEV); ++i)
        if (!n.devs[size_t(i)])
            return i;
    return -ENOSPC;
}

/// The device's IPv4 half, with the default configuration. Origin: inetdev_init.
in_device* inetdev_init(net& n, net_device* dev) {
    void* mem = kmalloc(sizeof(in_device), GFP_KERNEL);
    if (!mem)
        return nullptr;
    auto* in_dev = new (mem) in_device;
    in_dev->dev = dev;
    in_dev->cnf = n.ipv4.devconf_dflt;
    in_dev->arp_parms = dev->arp_parms;
    return in_dev;
}

/// Asks the driver, if it wants to know, about a change to (flags, mtu, addr).
int driver_change(net_device* dev, int flags, int mtu, const uint8_t* addr) {
    auto change = dev->netdev_ops ? dev->netdev_ops->ndo_change : nullptr;
    return change ? change(dev, flags, mtu, addr) : 0;
}

} // namespace

net_device* dev_get_by_index(net& n, int ifindex) {
    return ifindex > 0 && ifindex < int(MAX_NETDEV) ? rcu_dereference(n.devs[size_t(ifindex)])
                                                    : nullptr;
}

net_device* dev_get_by_name(net& n, const char* name) {
    for (net_device*& slot : n.devs)
        if (net_device* dev = rcu_dereference(slot); dev && !strcmp(dev->name, name))
            return dev;
    return nullptr;
}

int register_netdevice(net& n, net_device* dev) {
    if (dev_get_by_name(n, dev->name) || dev_get_by_index(n, dev->ifindex))
        return -EEXIST;
    int ifindex = dev->ifindex ? dev->ifindex : dev_new_index(n, dev);
    if (ifindex < 0 || ifindex >= int(MAX_NETDEV))
        return -ENOSPC;
    dev->nd_net = &n;
    if (n.arp_tbl && !(dev->arp_parms = neigh_parms_alloc(dev, n.arp_tbl)))
        return -ENOMEM;
    in_device* in_dev = inetdev_init(n, dev);
    if (!in_dev) {
        if (dev->arp_parms)
            neigh_parms_release(dev->arp_parms);
        dev->arp_parms = nullptr;
        return -ENOMEM;
    }
    dev->ifindex = ifindex;
    rcu_assign_pointer(dev->ip_ptr, in_dev);
    rcu_assign_pointer(n.devs[size_t(ifindex)], dev);
    if (dev->flags & IFF_LOOPBACK && !n.loopback_dev)
        n.loopback_dev = dev;
    call_netdevice_notifiers(netdev_event::REGISTER, dev);
    return 0;
}

void unregister_netdevice(net_device* dev) {
    net& n = *dev->nd_net;
    if (dev->up())
        dev_change_flags(dev, 0, IFF_UP);
    call_netdevice_notifiers(netdev_event::UNREGISTER, dev);
    rcu_assign_pointer(n.devs[size_t(dev->ifindex)], nullptr);
    if (n.loopback_dev == dev)
        n.loopback_dev = nullptr;
    neigh_ifdown_all(n, dev);
    in_device* in_dev = dev->ip_ptr;
    rcu_assign_pointer(dev->ip_ptr, nullptr);
    synchronize_rcu(n);
    // A burst that was under way may have made a neighbour between the flush and now.
    neigh_ifdown_all(n, dev);
    in_dev->~in_device();
    kfree(in_dev);
    if (dev->arp_parms)
        neigh_parms_release(dev->arp_parms);
    dev->arp_parms = nullptr;
}

int dev_get_flags(const net_device* dev) {
    int flags = dev->flags & ~(IFF_RUNNING | IFF_LOWER_UP);
    return dev->running() ? flags | IFF_RUNNING | IFF_LOWER_UP : flags;
}

void register_netdevice_notifier(net& n, netdev_notifier fn) {
    n.netdev_chain.push_back(fn);
}

void call_netdevice_notifiers(netdev_event event, net_device* dev) {
    for (netdev_notifier fn : dev->nd_net->netdev_chain)
        fn(event, dev);
}

int dev_change_flags(net_device* dev, int flags, int mask) {
    const int old_flags = dev->flags, new_flags = (old_flags & ~mask) | (flags & mask);
    const int changed = old_flags ^ new_flags;
    if (!changed)
        return 0;
    if (int err = driver_change(dev, new_flags, dev->mtu, dev->dev_addr))
        return err;
    dev->flags = new_flags;
    if (changed & IFF_UP)
        call_netdevice_notifiers(new_flags & IFF_UP ? netdev_event::UP : netdev_event::DOWN, dev);
    if ((changed & ~(IFF_UP | IFF_PROMISC | IFF_ALLMULTI)) && dev->up()) {
        dev->flags_changed = changed;
        call_netdevice_notifiers(netdev_event::CHANGE, dev);
        dev->flags_changed = 0;
    }
    return 0;
}

int dev_set_mtu(net_device* dev, int mtu) {
    if (mtu < ETH_MIN_MTU || (mtu > ETH_MAX_MTU && !dev->vrf_table))
        return -EINVAL;
    if (mtu == dev->mtu)
        return 0;
    if (int err = driver_change(dev, dev->flags, mtu, dev->dev_addr))
        return err;
    dev->mtu = mtu;
    call_netdevice_notifiers(netdev_event::CHANGEMTU, dev);
    return 0;
}

int dev_set_mac_address(net_device* dev, const uint8_t* addr) {
    if (is_multicast_ether_addr(addr) || is_zero_ether_addr(addr))
        return -EADDRNOTAVAIL;
    if (int err = driver_change(dev, dev->flags, dev->mtu, addr))
        return err;
    dev_addr_set(dev, addr);
    call_netdevice_notifiers(netdev_event::CHANGEADDR, dev);
    return 0;
}

void netif_carrier_set(net_device* dev, bool on) {
    if (bool(dev->carrier) == on)
        return;
    dev->carrier = on;
    if (dev->up())
        call_netdevice_notifiers(netdev_event::CHANGE, dev);
}

void dev_queue_xmit(sk_buff* skb) {
    net_device* dev = skb->dev;
    softnet_data* sd = this_softnet();
    skb_drop_reason reason;
    if (unlikely(!dev->up()))
        reason = skb_drop_reason::DEV_READY;
    else if (unlikely(skb_len(skb) > uint32_t(dev->mtu) + dev->hard_header_len))
        reason = skb_drop_reason::PKT_TOO_BIG;
    else if (unlikely(sd->xmit_recursion >= XMIT_RECURSION_LIMIT))
        reason = skb_drop_reason::XMIT_RECURSION;
    else {
        trace_packet(skb, "dev %s, %u bytes", dev->name, skb_len(skb));
        ++sd->xmit_recursion;
        dev->netdev_ops->ndo_start_xmit(skb, dev);
        --sd->xmit_recursion;
        return;
    }
    dev_stats_of(dev).tx_dropped.inc();
    kfree_skb_reason(skb, reason);
}

} // namespace slabfwd
