// SPDX-License-Identifier: BSD-3-Clause
//
// in_device: the IPv4 side of a device: its addresses (in_ifaddr, RCU list in the kernel's order)
// and its configuration (net.ipv4.conf.DEV.*). The rules all+dev combine by are the kernel's
// IN_DEV_* macros. Lives in neigh/ because ARP reads it; addresses are added by route/devinet.cc.
// Origin: include/linux/inetdevice.h.
#pragma once

#include "neigh/net_namespace.h"
#include "neigh/netdevice.h"

namespace slabfwd {

constexpr uint8_t RT_SCOPE_UNIVERSE = 0, RT_SCOPE_SITE = 200, RT_SCOPE_LINK = 253,
                  RT_SCOPE_HOST = 254, RT_SCOPE_NOWHERE = 255;
constexpr uint32_t IFA_F_SECONDARY = 1, IFA_F_PERMANENT = 0x80, IFA_F_NOPREFIXROUTE = 0x200;

/// One address of a device. From slab "in_ifaddr"; freed by RCU.
struct in_ifaddr {
    in_ifaddr* ifa_next = nullptr; ///< RCU
    in_device* ifa_dev = nullptr;
    be32_t ifa_local, ifa_address, ifa_mask,
        ifa_broadcast; ///< address: the peer's on point-to-point
    uint8_t ifa_scope = 0, ifa_prefixlen = 0;
    uint32_t ifa_flags = 0; ///< IFA_F_*
    uint32_t ifa_rt_priority = 0;
    char ifa_label[IFNAMSIZ_] = {};
    rcu_head rcu;
};

struct in_device {
    net_device* dev = nullptr;
    in_ifaddr* ifa_list = nullptr; ///< RCU; primaries before their secondaries
    ipv4_devconf cnf;
    neigh_parms* arp_parms = nullptr;
    rcu_head rcu;
};

/// The in_device of dev; null only before register_netdevice / after unregister.
inline in_device* __in_dev_get_rcu(const net_device* dev) {
    return rcu_dereference(dev->ip_ptr);
}
inline const ipv4_devconf& devconf_all(const in_device* d) {
    return d->dev->nd_net->ipv4.devconf_all;
}

// How "all" and the device's own value combine.
#define SLABFWD_IN_DEV(name, field, op)                                                            \
    inline int IN_DEV_##name(const in_device* d) {                                                 \
        return op(devconf_all(d).field, d->cnf.field);                                             \
    }
constexpr int in_dev_and(int a, int b) {
    return a && b;
}
constexpr int in_dev_or(int a, int b) {
    return a || b;
}
constexpr int in_dev_max(int a, int b) {
    return a > b ? a : b;
}
constexpr int in_dev_own(int, int b) {
    return b;
}
SLABFWD_IN_DEV(FORWARD, forwarding, in_dev_own)
SLABFWD_IN_DEV(RPFILTER, rp_filter, in_dev_max)
SLABFWD_IN_DEV(SRC_VMARK, src_valid_mark, in_dev_or)
SLABFWD_IN_DEV(SOURCE_ROUTE, accept_source_route, in_dev_and)
SLABFWD_IN_DEV(ACCEPT_LOCAL, accept_local, in_dev_or)
SLABFWD_IN_DEV(BFORWARD, bc_forwarding, in_dev_and)
SLABFWD_IN_DEV(LOG_MARTIANS, log_martians, in_dev_or)
SLABFWD_IN_DEV(PROXY_ARP, proxy_arp, in_dev_or)
SLABFWD_IN_DEV(PROXY_ARP_PVLAN, proxy_arp_pvlan, in_dev_or)
SLABFWD_IN_DEV(SHARED_MEDIA, shared_media, in_dev_or)
SLABFWD_IN_DEV(TX_REDIRECTS, send_redirects, in_dev_or)
SLABFWD_IN_DEV(SEC_REDIRECTS, secure_redirects, in_dev_or)
SLABFWD_IN_DEV(ROUTE_LOCALNET, route_localnet, in_dev_or)
SLABFWD_IN_DEV(ARPFILTER, arp_filter, in_dev_or)
SLABFWD_IN_DEV(ARP_ACCEPT, arp_accept, in_dev_max)
SLABFWD_IN_DEV(ARP_ANNOUNCE, arp_announce, in_dev_max)
SLABFWD_IN_DEV(ARP_IGNORE, arp_ignore, in_dev_max)
SLABFWD_IN_DEV(ARP_NOTIFY, arp_notify, in_dev_max)
SLABFWD_IN_DEV(ARP_EVICT_NOCARRIER, arp_evict_nocarrier, in_dev_and)
SLABFWD_IN_DEV(DROP_GRATUITOUS_ARP, drop_gratuitous_arp, in_dev_or)
SLABFWD_IN_DEV(MEDIUM_ID, medium_id, in_dev_own)
SLABFWD_IN_DEV(IGNORE_ROUTES_WITH_LINKDOWN, ignore_routes_with_linkdown, in_dev_or)
SLABFWD_IN_DEV(PROMOTE_SECONDARIES, promote_secondaries, in_dev_or)
SLABFWD_IN_DEV(ORCONF_DROP_UNICAST_IN_L2_MULTICAST, drop_unicast_in_l2_multicast, in_dev_or)
#undef SLABFWD_IN_DEV
/// accept_redirects: both must allow while forwarding, either one otherwise.
inline int IN_DEV_RX_REDIRECTS(const in_device* d) {
    int a = devconf_all(d).accept_redirects, b = d->cnf.accept_redirects;
    return IN_DEV_FORWARD(d) ? (a && b) : (a || b);
}

/// True when addr lies on the subnet of one of ifa's primaries (and b too, unless 0).
bool inet_addr_onlink(const in_device* in_dev, be32_t a, be32_t b);
/// True when addr is within ifa's subnet.
inline bool inet_ifa_match(be32_t addr, const in_ifaddr* ifa) {
    return !((addr ^ ifa->ifa_address) & ifa->ifa_mask);
}
/// An own address fit for sending to dst from dev (any device when dev has none), scope at most
/// `scope`; 0 when there is none. Origin: inet_select_addr (net/ipv4/devinet.c); also VRF-aware.
be32_t inet_select_addr(const net_device* dev, be32_t dst, int scope);
/// The local address that matches (dst, local, scope); 0 when there is none. Origin:
/// inet_confirm_addr.
be32_t inet_confirm_addr(net& n, const in_device* in_dev, be32_t dst, be32_t local, int scope);

} // namespace slabfwd
