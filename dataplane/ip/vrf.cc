// SPDX-License-Identifier: BSD-3-Clause
//
// VRF devices: see vrf.h. A VRF that is deleted leaves its net_device behind for the next one:
// stale entries of the route cache may still name it until their slots collect them.
#include "dataplane/ip/vrf.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "dataplane/ip/ip_net.h"
#include "neigh/neighbour.h"
#include "neigh/softnet.h"
#include "route/fib_rules.h"

namespace slabfwd {

namespace {

/// 65535 bytes behind an IPv6 header: a VRF's mtu must not matter. Origin: IP6_MAX_MTU.
constexpr int VRF_MTU = 65535 + 40;
constexpr uint32_t L3MDEV_RULE_PREF = 1000;

/// What is sent to a VRF itself is for this host: back over the loopback, which receives it as the
/// VRF's (by its route). Origin: vrf_local_xmit.
void vrf_xmit(sk_buff* skb, net_device* dev) {
    dev_stats& st = dev_stats_of(dev);
    st.tx_packets.inc();
    st.tx_bytes.add(skb_len(skb));
    net_device* lo = dev->nd_net->loopback_dev;
    lo->netdev_ops->ndo_start_xmit(skb, lo);
}

constexpr net_device_ops vrf_netdev_ops{vrf_xmit, nullptr};

net_device* vrf_of(const net_device* dev) {
    return dev_get_by_index(*dev->nd_net, dev->master_ifindex);
}

/// A device that was a VRF, or a new one. Origin: vrf_setup.
net_device* vrf_setup(net& n) {
    auto& spare = n.ipv4.ip->vrf_spare;
    std::unique_ptr<net_device> dev;
    if (spare.empty()) {
        dev = std::make_unique<net_device>();
    } else {
        dev = std::move(spare.back());
        spare.pop_back();
    }
    dev->ifindex = 0;
    dev->netdev_ops = &vrf_netdev_ops;
    dev->mtu = VRF_MTU;
    dev->flags = IFF_MASTER | IFF_NOARP;
    dev->owner = 0;
    uint8_t addr[ETH_ALEN] = {0x02};
    const uint32_t random = get_random_u32();
    memcpy(addr + 2, &random, sizeof random);
    dev_addr_set(dev.get(), addr);
    return dev.release();
}

/// The rule that sends packets of a VRF to its table; once in a net. Origin: vrf_add_fib_rules.
int add_l3mdev_rule(net& n) {
    if (n.ipv4.ip->vrf_rule)
        return 0;
    fib_rule_config cfg;
    cfg.pref = L3MDEV_RULE_PREF;
    cfg.pref_given = cfg.action_given = cfg.l3mdev = true;
    cfg.protocol = RTPROT_KERNEL;
    netlink_ext_ack extack;
    int err = fib_rule_add(n, cfg, false, &extack);
    n.ipv4.ip->vrf_rule = !err || err == -EEXIST;
    return n.ipv4.ip->vrf_rule ? 0 : err;
}

/// Down and up again, so that its routes come back where they belong now. Origin: cycle_netdev.
void cycle_netdev(net_device* dev) {
    if (!dev->up())
        return;
    dev_change_flags(dev, 0, IFF_UP);
    dev_change_flags(dev, IFF_UP, IFF_UP);
}

void set_master(net_device* dev, int master_ifindex) {
    dev->master_ifindex = master_ifindex;
    call_netdevice_notifiers(netdev_event::CHANGEUPPER, dev);
    cycle_netdev(dev);
}

bool chooses_name(net& n, const std::string& wanted, char* to) {
    if (!wanted.empty()) {
        snprintf(to, IFNAMSIZ_, "%s", wanted.c_str());
        return !dev_get_by_name(n, to);
    }
    for (unsigned i = 0; i < MAX_NETDEV; ++i) {
        snprintf(to, IFNAMSIZ_, "vrf%u", i);
        if (!dev_get_by_name(n, to))
            return true;
    }
    return false;
}

void reset_stats(net& n, const net_device* dev) {
    for (auto& sd : n.softnet)
        if (sd) {
            dev_stats& st = sd->dev[size_t(dev->ifindex)];
            for (cpu_counter* c :
                 {&st.rx_packets, &st.rx_bytes, &st.rx_errors, &st.rx_dropped, &st.multicast,
                  &st.tx_packets, &st.tx_bytes, &st.tx_errors, &st.tx_dropped})
                c->reset();
        }
}

} // namespace

int vrf_newlink(net& n, const std::string& name, uint32_t table, netlink_ext_ack* extack,
                std::string* chosen) {
    if (table == RT_TABLE_UNSPEC) {
        NL_SET_ERR_MSG(extack, "Invalid VRF table id");
        return -EINVAL;
    }
    char as[IFNAMSIZ_];
    if (!chooses_name(n, name, as))
        return -EEXIST;
    if (int err = add_l3mdev_rule(n))
        return err;
    std::unique_ptr<net_device> dev(vrf_setup(n));
    memcpy(dev->name, as, sizeof as);
    dev->vrf_table = table;
    if (int err = register_netdevice(n, dev.get()))
        return err;
    reset_stats(n, dev.get());
    dev.release();
    *chosen = as;
    return 0;
}

void vrf_dellink(net_device* vrf) {
    net& n = *vrf->nd_net;
    n.for_each_netdev([&](net_device* dev) {
        if (dev->master_ifindex == vrf->ifindex)
            set_master(dev, 0);
    });
    unregister_netdevice(vrf);
    n.ipv4.ip->vrf_spare.emplace_back(vrf);
}

int vrf_add_slave(net_device* vrf, net_device* dev, netlink_ext_ack* extack) {
    if (!vrf->vrf_table)
        return -EOPNOTSUPP;
    if (dev->vrf_table) {
        NL_SET_ERR_MSG(extack, "Can not enslave an L3 master device to a VRF");
        return -EINVAL;
    }
    if (dev->flags & IFF_LOOPBACK) {
        NL_SET_ERR_MSG(extack, "Can not enslave loopback device to a VRF");
        return -EOPNOTSUPP;
    }
    if (dev->master_ifindex == vrf->ifindex)
        return 0;
    vrf_del_slave(dev);
    set_master(dev, vrf->ifindex);
    return 0;
}

void vrf_del_slave(net_device* dev) {
    if (dev->master_ifindex)
        set_master(dev, 0);
}

void vrf_net_exit(net& n) {
    n.for_each_netdev([](net_device* dev) {
        if (dev->vrf_table)
            vrf_dellink(dev);
    });
}

sk_buff* vrf_ip_rcv(sk_buff* skb) {
    net_device* vrf = vrf_of(skb->dev);
    if (unlikely(!vrf)) // it is just going
        return skb;
    skb->dev = vrf;
    skb->skb_iif = vrf->ifindex;
    if (ipv4_is_multicast(ip_hdr(skb)->daddr))
        return skb;
    if (skb->pkt_type == PACKET_LOOPBACK) {
        skb->pkt_type = PACKET_HOST;
        return skb;
    }
    dev_stats& st = dev_stats_of(vrf);
    st.rx_packets.inc();
    st.rx_bytes.add(skb_len(skb));
    net& n = *vrf->nd_net;
    const nf_hook_entries* e = nf_hooks(n, NF_INET_PRE_ROUTING);
    if (e && nf_hook_slow(skb, {NF_INET_PRE_ROUTING, vrf, nullptr, &n}, e) != 1)
        return nullptr;
    return skb;
}

sk_buff* vrf_ip_out(net& n, sk_buff* skb) {
    net_device* vrf = vrf_of(skb->dst->dev);
    const be32_t daddr = ip_hdr(skb)->daddr;
    if (unlikely(!vrf) || ipv4_is_multicast(daddr) || ipv4_is_lbcast(daddr))
        return skb;
    net_device* before = skb->dev;
    skb->dev = vrf;
    for (unsigned hook : {NF_INET_LOCAL_OUT, NF_INET_POST_ROUTING}) {
        const nf_hook_entries* e = nf_hooks(n, hook);
        if (e && nf_hook_slow(skb, {hook, nullptr, vrf, &n}, e) != 1)
            return nullptr;
    }
    skb->dev = before;
    return skb;
}

} // namespace slabfwd
