// SPDX-License-Identifier: BSD-3-Clause
//
// Devices: the registry, changes and their notifiers, the way out; Ethernet's sorting of frames.
#include "neigh/netdevice.h"

#include <cerrno>
#include <gtest/gtest.h>

#include "alloc/failslab.h"
#include "tests/support/test_net.h"

namespace slabfwd {
namespace {

std::vector<netdev_event> events;
void note(netdev_event e, net_device*) {
    events.push_back(e);
}

int refuse = 0;
int ndo_change(net_device*, int, int, const uint8_t*) {
    return refuse;
}
void ndo_xmit(sk_buff* skb, net_device*) {
    consume_skb(skb);
}
const net_device_ops driver = {ndo_xmit, ndo_change};

TEST(netdevice, registry) {
    test::test_net t;
    net_device* p0 = t.add_port("p0");
    net_device* lo = t.add_lo();
    net_device* p1 = t.add_port("p1");
    EXPECT_EQ(lo->ifindex, 1);
    EXPECT_EQ(p0->ifindex, 2);
    EXPECT_EQ(p1->ifindex, 3);
    EXPECT_EQ(t.n.loopback_dev, lo);
    EXPECT_EQ(dev_get_by_name(t.n, "p1"), p1);
    EXPECT_EQ(dev_get_by_name(t.n, "p2"), nullptr);
    EXPECT_EQ(dev_get_by_index(t.n, 2), p0);
    EXPECT_EQ(dev_get_by_index(t.n, 0), nullptr);
    EXPECT_EQ(dev_get_by_index(t.n, 300), nullptr);
    net_device twin;
    strcpy(twin.name, "p0");
    EXPECT_EQ(register_netdevice(t.n, &twin), -EEXIST);
    unregister_netdevice(p0);
    EXPECT_EQ(dev_get_by_name(t.n, "p0"), nullptr);
    EXPECT_EQ(register_netdevice(t.n, &twin), 0);
    EXPECT_EQ(twin.ifindex, 2);
    unregister_netdevice(&twin);
}

TEST(netdevice, register_survives_a_failed_allocation) {
    test::test_net t;
    net_device dev;
    strcpy(dev.name, "p9");
    for (uint64_t nth = 1; nth <= 2; ++nth) {
        fault_attr attr;
        attr.nth = nth;
        failslab_set(attr);
        EXPECT_EQ(register_netdevice(t.n, &dev), -ENOMEM);
        failslab_off();
        EXPECT_EQ(dev_get_by_name(t.n, "p9"), nullptr);
    }
    EXPECT_EQ(register_netdevice(t.n, &dev), 0);
    unregister_netdevice(&dev);
}

TEST(netdevice, changes_ask_the_driver_and_tell_the_stack) {
    test::test_net t;
    register_netdevice_notifier(t.n, note);
    net_device dev;
    strcpy(dev.name, "p0");
    dev.netdev_ops = &driver;
    events.clear();
    ASSERT_EQ(register_netdevice(t.n, &dev), 0);
    refuse = -ENOTSUP;
    EXPECT_EQ(dev_change_flags(&dev, IFF_UP, IFF_UP), -ENOTSUP);
    EXPECT_FALSE(dev.up());
    EXPECT_EQ(dev_set_mtu(&dev, 1400), -ENOTSUP);
    EXPECT_EQ(dev_set_mac_address(&dev, test::mac("02:00:00:00:00:77").data()), -ENOTSUP);
    refuse = 0;
    EXPECT_EQ(dev_change_flags(&dev, IFF_UP, IFF_UP), 0);
    EXPECT_EQ(dev_change_flags(&dev, IFF_UP, IFF_UP), 0); // no change, no event
    EXPECT_EQ(dev_get_flags(&dev), IFF_UP | IFF_RUNNING | IFF_LOWER_UP);
    EXPECT_EQ(dev_set_mtu(&dev, 67), -EINVAL);
    EXPECT_EQ(dev_set_mtu(&dev, 65536), -EINVAL);
    EXPECT_EQ(dev_set_mtu(&dev, 1400), 0);
    EXPECT_EQ(dev_set_mtu(&dev, 1400), 0);
    EXPECT_EQ(dev_set_mac_address(&dev, test::mac("03:00:00:00:00:00").data()), -EADDRNOTAVAIL);
    EXPECT_EQ(dev_set_mac_address(&dev, test::mac("00:00:00:00:00:00").data()), -EADDRNOTAVAIL);
    EXPECT_EQ(dev_set_mac_address(&dev, test::mac("02:00:00:00:00:77").data()), 0);
    EXPECT_EQ(dev.dev_addr[5], 0x77);
    netif_carrier_set(&dev, false);
    netif_carrier_set(&dev, false);
    EXPECT_EQ(dev_get_flags(&dev), IFF_UP);
    netif_carrier_set(&dev, true);
    unregister_netdevice(&dev);
    using enum netdev_event;
    EXPECT_EQ(events,
              (std::vector{REGISTER, UP, CHANGEMTU, CHANGEADDR, CHANGE, CHANGE, DOWN, UNREGISTER}));
}

TEST(netdevice, xmit_drops_what_cannot_go) {
    test::test_net t;
    net_device* p0 = t.add_port("p0");
    auto send = [&](unsigned payload) {
        sk_buff* skb = t.inject(test::make_skb(test::udp_packet({1}, {2}, payload), p0));
        skb_push(skb, ETH_HLEN);
        dev_queue_xmit(skb);
    };
    send(1500 - 28);
    EXPECT_EQ(t.sent_count(), 1u);
    send(1500 - 27);
    EXPECT_EQ(t.drops(skb_drop_reason::PKT_TOO_BIG), 1u);
    dev_change_flags(p0, 0, IFF_UP);
    send(8);
    EXPECT_EQ(t.drops(skb_drop_reason::DEV_READY), 1u);
    EXPECT_EQ(dev_stats_of(p0).tx_dropped, 2u);
    EXPECT_EQ(dev_stats_of(p0).tx_packets, 1u);
}

TEST(netdevice, xmit_in_circles_ends) {
    test::test_net t;
    static const net_device_ops again = {[](sk_buff* skb, net_device*) { dev_queue_xmit(skb); },
                                         nullptr};
    net_device* p0 = t.add_port("p0");
    p0->netdev_ops = &again;
    dev_queue_xmit(t.inject(test::make_skb(test::udp_packet({1}, {2}), p0)));
    EXPECT_EQ(t.drops(skb_drop_reason::XMIT_RECURSION), 1u);
    EXPECT_EQ(this_softnet()->xmit_recursion, 0u);
}

TEST(ether, frames_are_sorted_by_destination) {
    test::test_net t;
    net_device* p0 = t.add_port("p0");
    auto type_of = [&](const char* dst) {
        sk_buff* skb = test::make_rx_skb(test::arp_frame(test::mac(dst), {}, {}), p0);
        eth_type_trans(skb, p0);
        EXPECT_EQ(be16_to_cpu(skb->protocol), ETH_P_ARP);
        EXPECT_EQ(skb_len(skb), sizeof(arphdr));
        const uint8_t type = skb->pkt_type;
        consume_skb(skb);
        return type;
    };
    EXPECT_EQ(type_of("02:00:00:00:00:00"), PACKET_HOST);
    EXPECT_EQ(type_of("02:00:00:00:00:01"), PACKET_OTHERHOST);
    EXPECT_EQ(type_of("ff:ff:ff:ff:ff:ff"), PACKET_BROADCAST);
    EXPECT_EQ(type_of("01:00:5e:00:00:01"), PACKET_MULTICAST);
}

TEST(inetdevice, source_selection) {
    test::test_net t;
    t.add_lo();
    net_device *p0 = t.add_port("p0"), *p1 = t.add_port("p1"), *p2 = t.add_port("p2");
    t.add_addr(p0, "10.0.0.1/24");
    t.add_addr(p0, "10.0.0.9/24", RT_SCOPE_UNIVERSE, IFA_F_SECONDARY);
    t.add_addr(p0, "10.5.0.1/16");
    t.add_addr(p1, "169.254.1.1/16", RT_SCOPE_LINK);
    using test::ip;
    EXPECT_EQ(inet_select_addr(p0, ip("10.5.3.3"), RT_SCOPE_LINK), ip("10.5.0.1"));
    EXPECT_EQ(inet_select_addr(p0, ip("10.9.9.9"), RT_SCOPE_LINK), ip("10.0.0.1"));
    EXPECT_EQ(inet_select_addr(p0, {}, RT_SCOPE_UNIVERSE), ip("10.0.0.1"));
    EXPECT_EQ(inet_select_addr(p1, ip("10.9.9.9"), RT_SCOPE_LINK), ip("169.254.1.1"));
    EXPECT_EQ(inet_select_addr(p1, ip("10.9.9.9"), RT_SCOPE_UNIVERSE), ip("10.0.0.1"));
    EXPECT_EQ(inet_select_addr(p2, ip("10.9.9.9"), RT_SCOPE_LINK), ip("10.0.0.1")); // not lo's
    const in_device* d0 = __in_dev_get_rcu(p0);
    EXPECT_EQ(inet_confirm_addr(t.n, d0, {}, ip("10.0.0.9"), RT_SCOPE_HOST), ip("10.0.0.9"));
    EXPECT_EQ(inet_confirm_addr(t.n, d0, ip("10.0.0.7"), ip("10.0.0.1"), RT_SCOPE_HOST),
              ip("10.0.0.1"));
    EXPECT_EQ(inet_confirm_addr(t.n, d0, ip("10.9.9.9"), ip("10.0.0.1"), RT_SCOPE_HOST), be32_t{});
    EXPECT_EQ(inet_confirm_addr(t.n, d0, ip("10.5.1.1"), {}, RT_SCOPE_LINK), ip("10.5.0.1"));
    EXPECT_EQ(inet_confirm_addr(t.n, nullptr, {}, ip("127.0.0.1"), RT_SCOPE_LINK), be32_t{});
    EXPECT_EQ(inet_confirm_addr(t.n, nullptr, {}, ip("127.0.0.1"), RT_SCOPE_HOST), ip("127.0.0.1"));
    EXPECT_TRUE(inet_addr_onlink(d0, ip("10.0.0.7"), ip("10.0.0.8")));
    EXPECT_FALSE(inet_addr_onlink(d0, ip("10.0.0.7"), ip("10.5.0.8")));
}

} // namespace
} // namespace slabfwd
