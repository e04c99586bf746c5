// SPDX-License-Identifier: BSD-3-Clause
//
// net_device: a port as the stack sees it. The driver side (ethdev, loopback, a test's recorder) is
// behind netdev_ops. Devices are made before the workers start or by the control thread, are found
// by name or ifindex, and are published in net.devs under RCU. Threads: the control thread writes;
// flags, mtu, carrier and the address may be read by any slot. Origin: include/linux/netdevice.h.
#pragma once

#include "neigh/rcu.h"
#include "neigh/wire.h"

struct rte_mbuf;

namespace slabfwd {

struct net;
struct net_device;
struct sk_buff;
struct in_device;
struct softnet_data;

constexpr unsigned IFNAMSIZ_ = 16, MAX_NETDEV = 256; ///< ifindex is 1..255

constexpr int IFF_UP = 0x1, IFF_BROADCAST = 0x2, IFF_LOOPBACK = 0x8, IFF_POINTOPOINT = 0x10,
              IFF_RUNNING = 0x40, IFF_NOARP = 0x80, IFF_PROMISC = 0x100, IFF_ALLMULTI = 0x200,
              IFF_MASTER = 0x400, IFF_MULTICAST = 0x1000, IFF_LOWER_UP = 0x10000;

/// What the driver of a device does. All take packets of this net's slots only.
struct net_device_ops {
    /// Sends one finished frame (link header in place) from the calling slot; consumes skb: sent,
    /// handed to the owning slot, or dropped and counted. Origin: ndo_start_xmit.
    void (*ndo_start_xmit)(sk_buff* skb, net_device* dev);
    /// A flag (IFF_UP), mtu or address is about to change; 0 or -errno. May be null.
    int (*ndo_change)(net_device* dev, int new_flags, int new_mtu, const uint8_t* new_addr);
};

/// Traffic counters of one device on one slot (struct rtnl_link_stats64's first columns).
struct dev_stats {
    cpu_counter rx_packets, rx_bytes, rx_errors, rx_dropped, multicast;
    cpu_counter tx_packets, tx_bytes, tx_errors, tx_dropped;
};

struct net_device {
    char name[IFNAMSIZ_] = {};
    int ifindex = 0;
    uint16_t type = ARPHRD_ETHER;
    uint8_t hard_header_len = ETH_HLEN;
    /// Own address. Written by dev_addr_set; other slots read it with dev_addr_get.
    alignas(8) uint8_t dev_addr[ETH_ALEN] = {};
    uint8_t dev_addr_pad[2] = {}; ///< completes the word that the two use
    uint8_t broadcast[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    sysctl_int mtu{1500};
    sysctl_int flags{0};   ///< IFF_UP and friends as configured
    sysctl_int carrier{1}; ///< link state of the driver: IFF_RUNNING/LOWER_UP follow it
    unsigned owner = 0;    ///< CPU slot that runs this device's neighbour timers
    const net_device_ops* netdev_ops = nullptr;
    net* nd_net = nullptr;
    in_device* ip_ptr = nullptr;             ///< RCU; made with the device, see inetdevice.h
    struct neigh_parms* arp_parms = nullptr; ///< made with the device, see neighbour.h
    void* priv = nullptr;                    ///< the driver's (dataplane/port)
    sysctl_int master_ifindex{0};            ///< VRF the device is enslaved to, else 0
    uint32_t vrf_table = 0; ///< a VRF device: the routing table of its domain, else 0
    int flags_changed = 0;  ///< during netdev_event::CHANGE: which flags
    rcu_head rcu;

    bool up() const { return flags & IFF_UP; }
    bool running() const { return up() && carrier; }
};

using dev_addr_word_t [[gnu::may_alias]] = uint64_t;
/// Copies the device's address to addr (6 bytes), whole even while it is being changed. Any slot.
inline void dev_addr_get(const net_device* dev, uint8_t* addr) {
    uint64_t w =
        __atomic_load_n(reinterpret_cast<const dev_addr_word_t*>(dev->dev_addr), __ATOMIC_RELAXED);
    __builtin_memcpy(addr, &w, ETH_ALEN);
}
/// Sets the address without telling anybody: for drivers before register_netdevice; later
/// dev_set_mac_address.
inline void dev_addr_set(net_device* dev, const uint8_t* addr) {
    uint64_t w = 0;
    __builtin_memcpy(&w, addr, ETH_ALEN);
    __atomic_store_n(reinterpret_cast<dev_addr_word_t*>(dev->dev_addr), w, __ATOMIC_RELAXED);
}

/// Finds a device by name or index; null when there is none. Any slot, under RCU.
net_device* dev_get_by_name(net& n, const char* name);
net_device* dev_get_by_index(net& n, int ifindex);
/// Enters dev into its net: gives it an ifindex (1 is lo) unless set, an in_device with the default
/// configuration and ARP parameters (when the net has its ARP table). 0, -EEXIST (name), -ENOSPC,
/// -ENOMEM; nothing is left behind on error. Control thread.
int register_netdevice(net& n, net_device* dev);
/// Takes it out again and frees what register made (not dev itself), after a grace period.
void unregister_netdevice(net_device* dev);
/// Flags as ip(8) shows them: configuration plus IFF_RUNNING, IFF_LOWER_UP.
int dev_get_flags(const net_device* dev);

/// Events on devices and addresses, in the kernel's words (include/linux/netdevice.h NETDEV_*).
enum class netdev_event : uint8_t {
    UP,
    DOWN,
    CHANGE,
    CHANGEMTU,
    CHANGEADDR,
    REGISTER,
    UNREGISTER,
    CHANGEUPPER, ///< joined or left a VRF
};
using netdev_notifier = void (*)(netdev_event event, net_device* dev);
/// Registers for events; called in order of registration on the control thread. At start only.
void register_netdevice_notifier(net& n, netdev_notifier fn);
void call_netdevice_notifiers(netdev_event event, net_device* dev);

/// Changes IFF_UP (and others of mask), the mtu, the address: driver first, then the stack, then
/// the notifiers. 0 or -errno (-EINVAL mtu out of 68..65535, -EADDRNOTAVAIL multicast address).
/// Control thread.
int dev_change_flags(net_device* dev, int flags, int mask);
int dev_set_mtu(net_device* dev, int mtu);
int dev_set_mac_address(net_device* dev, const uint8_t* addr);
/// The driver reports link up/down. Control thread.
void netif_carrier_set(net_device* dev, bool on);

/// Sends a frame whose link header is in place on skb->dev; consumes skb. Drops and counts when the
/// device is down or the frame is longer than mtu + link header. Origin: net/core/dev.c.
void dev_queue_xmit(sk_buff* skb);

} // namespace slabfwd
