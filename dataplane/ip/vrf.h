// SPDX-License-Identifier: BSD-3-Clause
//
// VRF: a device that stands for a routing domain. Ports enslaved to it route by its table; their
// packets pass PRE_ROUTING once more as the VRF's, and are the VRF's from then on; what is made
// here for such a port passes LOCAL_OUT and POST_ROUTING as the VRF's first. Doors: vrf_newlink &
// co. for commands; l3mdev_ip_rcv, l3mdev_ip_out per packet. Threads: devices are the control
// thread's, under net.rtnl; packets on any slot under RCU. Origin: drivers/net/vrf.c,
// include/net/l3mdev.h (6.18).
#pragma once

#include <string>

#include "dataplane/netfilter/netfilter.h"
#include "route/route.h"

namespace slabfwd {

/// Makes a VRF for a table; the first one also makes the rule that leads there. name empty: the
/// next vrfN. 0 and the name in *chosen, -EEXIST (name), -EINVAL (table 0), -ENOSPC, -ENOMEM.
int vrf_newlink(net& n, const std::string& name, uint32_t table, netlink_ext_ack* extack,
                std::string* chosen);
/// Takes a VRF away; its ports leave it first.
void vrf_dellink(net_device* vrf);
/// A port joins a VRF (leaving another): its routes go, those of its addresses are made anew in the
/// VRF's table. 0, -EINVAL, -EOPNOTSUPP.
int vrf_add_slave(net_device* vrf, net_device* dev, netlink_ext_ack* extack);
/// It leaves. Nothing to do for a device of no VRF.
void vrf_del_slave(net_device* dev);
/// All VRFs of a net go, for good: at the net's end, before its ports.
void vrf_net_exit(net& n);

/// The VRF's part of receiving and of sending. Null when skb is gone.
sk_buff* vrf_ip_rcv(sk_buff* skb);
sk_buff* vrf_ip_out(net& n, sk_buff* skb);

/// A received packet of an enslaved port becomes its VRF's. Null when a hook has taken skb.
inline sk_buff* l3mdev_ip_rcv(sk_buff* skb) {
    return likely(!skb->dev->master_ifindex) ? skb : vrf_ip_rcv(skb);
}
/// A packet made here that leaves by an enslaved port passes the VRF first. Null as above.
inline sk_buff* l3mdev_ip_out(net& n, sk_buff* skb) {
    return likely(!skb->dst->dev->master_ifindex) ? skb : vrf_ip_out(n, skb);
}

} // namespace slabfwd
