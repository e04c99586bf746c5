// SPDX-License-Identifier: BSD-3-Clause
//
// "lo": what is sent to it is received on the same slot in its next turn. A looped packet keeps its route
// (whose input is local delivery), as in the kernel: it is not routed, nor its source checked, again.
// Door: loopback_create; the worker loop calls loopback_poll. Threads: a queue per slot, each its slot's.
// Origin: drivers/net/loopback.c.
#include <cstdio>
#include <vector>

#include "dataplane/ip/ip.h"
#include "dataplane/port/port.h"
#include "neigh/arp.h"

namespace slabfwd {

namespace {

struct loopback {
    net_device dev;
    std::vector<sk_buff_head> queue; ///< [slot]
};

loopback* loopback_of(const net_device* dev) { return static_cast<loopback*>(dev->priv); }

void loopback_xmit(sk_buff* skb, net_device* dev) {
    dev_stats& st = dev_stats_of(dev);
    st.tx_packets.inc();
    st.tx_bytes.add(skb_len(skb));
    if (skb->dst)
        dst_hold(skb->dst);
    softnet_data& sd = *this_softnet();
    loopback_of(dev)->queue[sd.cpu].push_back(skb);
    if (unlikely(sd.cpu == dev->nd_net->control_cpu())) // is in no loop that would poll
        loopback_poll(sd);
}

constexpr net_device_ops loopback_ops{loopback_xmit, nullptr};

} // namespace

net_device* loopback_create(net& n) {
    auto* lo = new loopback;
    net_device& dev = lo->dev;
    lo->queue.resize(n.nr_cpus());
    std::snprintf(dev.name, sizeof dev.name, "lo");
    dev.ifindex = 1;
    dev.type = ARPHRD_LOOPBACK;
    dev.mtu = 65536;
    dev.flags = IFF_LOOPBACK;
    for (uint8_t& b : dev.broadcast)
        b = 0;
    dev.netdev_ops = &loopback_ops;
    dev.priv = lo;
    if (register_netdevice(n, &dev)) {
        delete lo;
        return nullptr;
    }
    n.loopback_dev = &dev;
    return &dev;
}

void loopback_destroy(net& n) {
    loopback* lo = loopback_of(n.loopback_dev);
    for (sk_buff_head& q : lo->queue)
        while (sk_buff* skb = q.pop_front()) {
            if (skb->dst)
                dst_release(skb->dst);
            kfree_skb_reason(skb, skb_drop_reason::SHUTDOWN);
        }
    unregister_netdevice(&lo->dev);
    n.loopback_dev = nullptr;
    delete lo;
}

unsigned loopback_poll(softnet_data& sd) {
    net_device* dev = sd.nd_net->loopback_dev;
    if (!dev)
        return 0;
    sk_buff_head& q = loopback_of(dev)->queue[sd.cpu];
    // What a looped packet sends to lo again waits for the next turn: no endless loop.
    unsigned n = q.qlen;
    for (unsigned i = 0; i < n; ++i) {
        sk_buff* skb = q.pop_front();
        if (!skb) // taken by a poll within, on the control slot
            break;
        dev_stats& st = sd.dev[size_t(dev->ifindex)];
        st.rx_packets.inc();
        st.rx_bytes.add(skb_len(skb));
        dst_entry* dst = skb->dst;
        net_device* in = dst && dst->dev->vrf_table ? dst->dev : dev; // a VRF is its own loopback
        skb_init(skb, in, sd.now_ns);
        eth_type_trans(skb, in);
        if (dst)
            skb_rtable_set(skb, rt_from_dst(dst));
        netif_receive_skb(skb);
        if (dst)
            dst_release(dst); // still good to the end of this turn
    }
    return n;
}

} // namespace slabfwd
