// SPDX-License-Identifier: BSD-3-Clause
//
// Addresses of devices: adding and removing them, primaries with their secondaries, and what lo
// gets by itself. Readers of the lists are in neigh/inetdevice.cc. Doors: inet_rtm_newaddr,
// inet_rtm_deladdr, inetdev_event. Threads: under rtnl; the lists are RCU: an in_ifaddr that is
// listed is not changed but for its metric and link, so promotion lists a fresh copy in place of
// the secondary. Origin: net/ipv4/devinet.c (6.18).
#include <cerrno>
#include <new>
#include <string_view>

#include "alloc/kmalloc.h"
#include "route/fib_lookup.h"
#include "route/route.h"

namespace slabfwd {

namespace {

in_ifaddr* inet_alloc_ifa() {
    void* mem = kmem_cache_alloc(in_ifaddr_cachep, GFP_KERNEL);
    return mem ? new (mem) in_ifaddr : nullptr;
}

void inet_free_ifa_now(in_ifaddr* ifa) {
    kmem_cache_free(in_ifaddr_cachep, ifa);
}
void inet_free_ifa(in_ifaddr* ifa) {
    call_rcu_free<in_ifaddr, inet_free_ifa_now>(ifa);
}

bool same_subnet(const in_ifaddr* a, const in_ifaddr* b) {
    return a->ifa_mask == b->ifa_mask && inet_ifa_match(a->ifa_address, b);
}

bool is_secondary(const in_ifaddr* ifa) {
    return ifa->ifa_flags & IFA_F_SECONDARY;
}

void copy_label(in_ifaddr* ifa, std::string_view label) {
    label.copy(ifa->ifa_label, sizeof(ifa->ifa_label) - 1);
}

/// Fills in what a command says. Origin: rtm_to_ifaddr (and ip(8) for the scope).
in_ifaddr* rtm_to_ifaddr(in_device* in_dev, const ifa_config& cfg) {
    in_ifaddr* ifa = inet_alloc_ifa();
    if (!ifa)
        return nullptr;
    ifa->ifa_dev = in_dev;
    ifa->ifa_local = cfg.local;
    ifa->ifa_address = cfg.address ? cfg.address : cfg.local;
    ifa->ifa_prefixlen = cfg.prefixlen;
    ifa->ifa_mask = inet_make_mask(cfg.prefixlen);
    ifa->ifa_broadcast = cfg.broadcast_given ? cfg.broadcast : INADDR_ANY;
    ifa->ifa_scope = cfg.scope_given               ? cfg.scope
                     : ipv4_is_loopback(cfg.local) ? RT_SCOPE_HOST
                                                   : RT_SCOPE_UNIVERSE;
    ifa->ifa_flags = cfg.flags & ~IFA_F_SECONDARY;
    ifa->ifa_rt_priority = cfg.rt_priority;
    copy_label(ifa, cfg.label.empty() ? std::string_view(in_dev->dev->name) : cfg.label);
    return ifa;
}

/// Where a new address goes: primaries by falling scope number, before the secondaries; a secondary
/// last. Sets IFA_F_SECONDARY. REQUIRES that the same address is not there yet. 0 or -errno.
int find_place(in_device* in_dev, in_ifaddr* ifa, in_ifaddr*** place, netlink_ext_ack* extack) {
    in_ifaddr** last_primary = &in_dev->ifa_list;
    in_ifaddr** link = &in_dev->ifa_list;
    for (; in_ifaddr* other = *link; link = &other->ifa_next) {
        if (!is_secondary(other) && ifa->ifa_scope <= other->ifa_scope)
            last_primary = &other->ifa_next;
        if (!same_subnet(ifa, other))
            continue;
        if (other->ifa_scope != ifa->ifa_scope) {
            NL_SET_ERR_MSG(extack, "ipv4: Invalid scope value");
            return -EINVAL;
        }
        ifa->ifa_flags |= IFA_F_SECONDARY;
    }
    *place = is_secondary(ifa) ? link : last_primary;
    return 0;
}

void unlink_ifa(in_device* in_dev, in_ifaddr* ifa) {
    in_ifaddr** link = &in_dev->ifa_list;
    while (*link != ifa)
        link = &(*link)->ifa_next;
    rcu_assign_pointer(*link, ifa->ifa_next);
}

/// Lists ifa and enters its routes; takes everything back when memory runs out. ifa is consumed.
/// Origin: __inet_insert_ifa.
int inet_insert_ifa(in_device* in_dev, in_ifaddr* ifa, netlink_ext_ack* extack) {
    in_ifaddr** place = nullptr;
    if (int err = find_place(in_dev, ifa, &place, extack)) {
        inet_free_ifa_now(ifa);
        return err;
    }
    ifa->ifa_next = *place;
    rcu_assign_pointer(*place, ifa);
    int err = fib_inetaddr_up(ifa);
    if (err) {
        unlink_ifa(in_dev, ifa);
        fib_del_ifaddr(ifa, nullptr);
        inet_free_ifa(ifa);
    }
    return err;
}

/// Takes ifa off the list, with what it brought, and frees it.
void remove_ifa(in_device* in_dev, in_ifaddr* ifa) {
    unlink_ifa(in_dev, ifa);
    fib_inetaddr_down(ifa);
    inet_free_ifa(ifa);
}

template <class F>
void for_each_secondary(in_device* in_dev, const in_ifaddr* prim, F f) {
    for (in_ifaddr *ifa = in_dev->ifa_list, *next; ifa; ifa = next) {
        next = ifa->ifa_next;
        if (ifa != prim && is_secondary(ifa) && same_subnet(prim, ifa))
            f(ifa);
    }
}

/// Lists `fresh` as the last primary of at least its scope, in the place where the old primary's
/// followers end, and takes the secondary that it replaces off.
void list_promoted(in_device* in_dev, in_ifaddr* fresh, in_ifaddr* promoted) {
    in_ifaddr** place = &in_dev->ifa_list;
    for (in_ifaddr** link = place; *link; link = &(*link)->ifa_next)
        if (!is_secondary(*link) && fresh->ifa_scope <= (*link)->ifa_scope)
            place = &(*link)->ifa_next;
    fresh->ifa_next = *place;
    rcu_assign_pointer(*place, fresh);
    unlink_ifa(in_dev, promoted);
    inet_free_ifa(promoted);
}

/// Removes a primary whose first secondary takes its place. All routes of the subnet change their
/// preferred source, so they are removed while all addresses are listed, and entered anew after.
int remove_and_promote(in_device* in_dev, in_ifaddr* ifa, in_ifaddr* promoted) {
    in_ifaddr* fresh = inet_alloc_ifa();
    if (!fresh)
        return -ENOBUFS;
    *fresh = *promoted;
    fresh->rcu = {};
    fresh->ifa_flags &= ~IFA_F_SECONDARY;
    for_each_secondary(in_dev, ifa, [ifa](in_ifaddr* sec) { fib_del_ifaddr(sec, ifa); });
    unlink_ifa(in_dev, ifa);
    fib_inetaddr_down(ifa);
    list_promoted(in_dev, fresh, promoted);
    int err = fib_inetaddr_up(fresh);
    for_each_secondary(in_dev, fresh, [&err](in_ifaddr* sec) {
        if (int e = fib_add_ifaddr(sec))
            err = e;
    });
    if (err)
        net_warn_ratelimited("%s: no memory for the routes of an address", in_dev->dev->name);
    inet_free_ifa(ifa);
    return 0;
}

/// Origin: __inet_del_ifa.
int inet_del_ifa(in_device* in_dev, in_ifaddr* ifa) {
    if (!is_secondary(ifa)) {
        in_ifaddr* first = nullptr;
        const bool promote = IN_DEV_PROMOTE_SECONDARIES(in_dev);
        for_each_secondary(in_dev, ifa, [&](in_ifaddr* sec) {
            if (!promote)
                remove_ifa(in_dev, sec);
            else if (!first)
                first = sec;
        });
        if (first)
            return remove_and_promote(in_dev, ifa, first);
    }
    remove_ifa(in_dev, ifa);
    return 0;
}

in_ifaddr* find_matching_ifa(const in_device* in_dev, const in_ifaddr* like) {
    in_ifaddr* ifa = in_dev->ifa_list;
    while (ifa && !(same_subnet(like, ifa) && ifa->ifa_local == like->ifa_local))
        ifa = ifa->ifa_next;
    return ifa;
}

bool ifa_is_meant(const in_ifaddr* ifa, const ifa_config& cfg) {
    const be32_t address = cfg.address ? cfg.address : cfg.local;
    return ifa->ifa_local == cfg.local && (cfg.label.empty() || cfg.label == ifa->ifa_label) &&
           (!cfg.prefixlen_given ||
            (ifa->ifa_prefixlen == cfg.prefixlen && inet_ifa_match(address, ifa)));
}

/// lo has its address as soon as it is up.
void loopback_up(net_device* dev, in_device* in_dev) {
    if (!(dev->flags & IFF_LOOPBACK) || in_dev->ifa_list)
        return;
    ifa_config cfg;
    cfg.local = INADDR_LOOPBACK;
    cfg.prefixlen = 8;
    in_ifaddr* ifa = rtm_to_ifaddr(in_dev, cfg);
    if (!ifa || inet_insert_ifa(in_dev, ifa, nullptr))
        net_warn_ratelimited("%s: no memory for 127.0.0.1", dev->name);
}

/// Tells the link where our addresses are. Origin: inetdev_send_gratuitous_arp.
void send_gratuitous_arp(net_device* dev, const in_device* in_dev) {
    for (const in_ifaddr* ifa = in_dev->ifa_list; ifa; ifa = ifa->ifa_next)
        arp_send(ARPOP_REQUEST, ifa->ifa_local, dev, ifa->ifa_local, nullptr, dev->dev_addr,
                 nullptr);
}

} // namespace

in_ifaddr* inet_ifa_byprefix(const in_device* in_dev, be32_t prefix, be32_t mask) {
    in_ifaddr* ifa = in_dev->ifa_list;
    while (ifa && !(!is_secondary(ifa) && ifa->ifa_mask == mask && inet_ifa_match(prefix, ifa)))
        ifa = ifa->ifa_next;
    return ifa;
}

int inet_rtm_newaddr(net& n, net_device* dev, const ifa_config& cfg, bool replace,
                     netlink_ext_ack* extack) {
    std::lock_guard rtnl(n.rtnl);
    if (cfg.prefixlen > 32) {
        NL_SET_ERR_MSG(extack, "ipv4: Invalid prefix length");
        return -EINVAL;
    }
    in_device* in_dev = dev ? __in_dev_get_rcu(dev) : nullptr;
    if (!in_dev) {
        NL_SET_ERR_MSG(extack, "ipv4: Device not found");
        return -ENODEV;
    }
    if (!cfg.local) // Linux takes it, and nothing comes of it
        return 0;
    in_ifaddr* ifa = rtm_to_ifaddr(in_dev, cfg);
    if (!ifa)
        return -ENOBUFS;
    in_ifaddr* existing = find_matching_ifa(in_dev, ifa);
    if (!existing)
        return inet_insert_ifa(in_dev, ifa, extack);
    if (!replace) {
        inet_free_ifa_now(ifa);
        NL_SET_ERR_MSG(extack, "ipv4: Address already assigned");
        return -EEXIST;
    }
    if (existing->ifa_rt_priority != ifa->ifa_rt_priority) {
        fib_modify_prefix_metric(existing, ifa->ifa_rt_priority);
        WRITE_ONCE(existing->ifa_rt_priority, ifa->ifa_rt_priority);
    }
    inet_free_ifa_now(ifa);
    return 0;
}

int inet_rtm_deladdr(net& n, net_device* dev, const ifa_config& cfg, netlink_ext_ack* extack) {
    std::lock_guard rtnl(n.rtnl);
    in_device* in_dev = dev ? __in_dev_get_rcu(dev) : nullptr;
    if (!in_dev) {
        NL_SET_ERR_MSG(extack, "ipv4: Device not found");
        return -ENODEV;
    }
    for (in_ifaddr* ifa = in_dev->ifa_list; ifa; ifa = ifa->ifa_next)
        if (ifa_is_meant(ifa, cfg))
            return inet_del_ifa(in_dev, ifa);
    NL_SET_ERR_MSG(extack, "ipv4: Address not found");
    return -EADDRNOTAVAIL;
}

void inetdev_destroy_addrs(in_device* in_dev) {
    while (in_ifaddr* ifa = in_dev->ifa_list)
        remove_ifa(in_dev, ifa);
}

void inetdev_event(netdev_event event, net_device* dev) {
    in_device* in_dev = __in_dev_get_rcu(dev);
    if (!dev->nd_net->ipv4.fib || !in_dev)
        return;
    std::lock_guard rtnl(dev->nd_net->rtnl);
    switch (event) {
    case netdev_event::UP:
        loopback_up(dev, in_dev);
        if (IN_DEV_ARP_NOTIFY(in_dev))
            send_gratuitous_arp(dev, in_dev);
        break;
    case netdev_event::CHANGEADDR:
        if (IN_DEV_ARP_NOTIFY(in_dev))
            send_gratuitous_arp(dev, in_dev);
        break;
    case netdev_event::UNREGISTER:
        inetdev_destroy_addrs(in_dev);
        break;
    default:
        break;
    }
}

} // namespace slabfwd
