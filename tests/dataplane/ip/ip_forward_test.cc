// SPDX-License-Identifier: BSD-3-Clause
//
// Forwarding: TTL, mtu and DF, strict source route, priority, redirect; which error a packet with
// several things wrong gets.
#include <gtest/gtest.h>

#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {
namespace {

using enum skb_drop_reason;

ip_spec udp_spec(unsigned len = 32) {
    ip_spec s;
    s.payload = udp_datagram(s, 11, 22, pattern(len));
    return s;
}

TEST(IpForward, TtlGoesDownChecksumStaysRight) {
    ip_test_net t;
    for (unsigned ttl : {2u, 3u, 64u, 255u}) {
        ip_spec s = udp_spec();
        s.ttl = uint8_t(ttl);
        t.rx(t.p0, ip_packet(s));
        ip_view v = t.sent_one(t.p1);
        --s.ttl;
        EXPECT_EQ(v.b, ip_packet(s));
    }
    EXPECT_EQ(t.ip_stat(ipstats_mib::OUTFORWDATAGRAMS), 4u);
    EXPECT_EQ(t.ip_stat(ipstats_mib::OUTPKTS), 4u);
    EXPECT_EQ(t.ip_stat(ipstats_mib::OUTREQUESTS), 0u);
}

TEST(IpForward, LinkAddressesAreOursAndTheNextHops) {
    ip_test_net t;
    t.rx(t.p0, ip_packet(udp_spec()));
    auto frames = t.take_sent();
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(eth_dst(frames[0].data), ip_test_net::host_mac(ip("10.0.1.2")));
    EXPECT_EQ(eth_src(frames[0].data), mac("02:00:00:00:00:01"));
}

TEST(IpForward, TtlUsedUp) {
    for (unsigned ttl : {0u, 1u}) {
        ip_test_net t;
        ip_spec s = udp_spec();
        s.ttl = uint8_t(ttl);
        bytes packet = ip_packet(s);
        t.rx(t.p0, packet);
        ip_view v = t.sent_one(t.p0);
        EXPECT_EQ(v.icmp()->type, ICMP_TIME_EXCEEDED);
        EXPECT_EQ(v.icmp()->code, ICMP_EXC_TTL);
        EXPECT_EQ(v.ip()->saddr, ip("10.0.0.1"));
        EXPECT_EQ(v.ip()->tos, 0xc0);
        EXPECT_EQ(v.ip()->ttl, 64);
        EXPECT_EQ(v.quoted(), packet);
        EXPECT_EQ(t.drops(IP_INHDR), 1u);
        EXPECT_EQ(t.ip_stat(ipstats_mib::INHDRERRORS), 1u);
        t.expect_ip_balanced();
    }
}

struct mtu_case {
    unsigned mtu, len;
    bool df;
    unsigned pieces; ///< 0: an error
};

TEST(IpForward, MtuAndDf) {
    const mtu_case cases[] = {
        {1500, 1500, true, 1},  {1000, 1000, true, 1},  {1000, 1001, true, 0},
        {1000, 1001, false, 2}, {1000, 1000, false, 1}, {576, 1500, false, 3},
        {68, 1500, true, 0},
    };
    for (const mtu_case& c : cases) {
        SCOPED_TRACE(testing::Message() << "mtu " << c.mtu << " len " << c.len << " df " << c.df);
        ip_test_net t;
        dev_set_mtu(t.p1, int(c.mtu));
        ip_spec s = udp_spec(c.len - 28);
        s.frag_off = c.df ? IP_DF : 0;
        t.rx(t.p0, ip_packet(s));
        EXPECT_EQ(t.ip_stat(ipstats_mib::OUTFORWDATAGRAMS), 1u);
        if (c.pieces) {
            EXPECT_EQ(t.sent(t.p1).size(), c.pieces);
        } else {
            ip_view v = t.sent_one(t.p0);
            EXPECT_EQ(v.icmp()->type, ICMP_DEST_UNREACH);
            EXPECT_EQ(v.icmp()->code, ICMP_FRAG_NEEDED);
            EXPECT_EQ(be16_to_cpu(v.icmp()->un.frag.mtu), c.mtu);
            EXPECT_EQ(v.b.size(), std::min(c.len + 28, 576u));
            EXPECT_EQ(t.drops(PKT_TOO_BIG), 1u);
            EXPECT_EQ(t.ip_stat(ipstats_mib::FRAGFAILS), 1u);
        }
        t.expect_ip_balanced();
    }
}

TEST(IpForward, TtlComesBeforeMtu) {
    ip_test_net t;
    dev_set_mtu(t.p1, 600);
    ip_spec s = udp_spec(1000);
    s.frag_off = IP_DF;
    s.ttl = 1;
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.sent_one(t.p0).icmp()->type, ICMP_TIME_EXCEEDED);
}

TEST(IpForward, LinkBroadcastIsNotForwarded) {
    ip_test_net t;
    t.rx(t.p0, ip_packet(udp_spec()), mac("ff:ff:ff:ff:ff:ff"));
    EXPECT_EQ(t.sent_count(), 0u);
    EXPECT_EQ(t.all_drops(), 1u);
}

TEST(IpForward, RedirectToTheBetterGateway) {
    ip_test_net t;
    t.add_route("192.168.0.0/16", "10.0.0.3", nullptr);
    ip_spec s = udp_spec();
    s.dst = ip("192.168.7.7");
    s.payload = udp_datagram(s, 11, 22, pattern(32));
    t.rx(t.p0, ip_packet(s));
    std::vector<ip_view> out = t.sent(t.p0);
    ASSERT_EQ(out.size(), 2u);
    EXPECT_EQ(out[0].icmp()->type, ICMP_REDIRECT);
    EXPECT_EQ(out[0].icmp()->code, ICMP_REDIR_HOST);
    EXPECT_EQ(out[0].icmp()->un.gateway, ip("10.0.0.3"));
    EXPECT_EQ(out[0].ip()->daddr, ip("10.0.0.2"));
    EXPECT_EQ(out[1].ip()->ttl, 63);
    t.expect_ip_balanced();
}

/// Remembers the priority of what passes FORWARD.
unsigned priority_hook(void* priv, sk_buff* skb, const nf_hook_state*) {
    static_cast<std::vector<uint32_t>*>(priv)->push_back(skb->priority);
    return NF_ACCEPT;
}

TEST(IpForward, PriorityFollowsTos) {
    ip_test_net t;
    std::vector<uint32_t> seen;
    nf_hook_ops ops{priority_hook, &seen, NF_INET_FORWARD, 0, "priority"};
    nf_register_net_hook(t.n, &ops);
    for (uint8_t tos : {0x00, 0x04, 0x08, 0x10, 0x18}) {
        ip_spec s = udp_spec();
        s.tos = tos;
        t.rx(t.p0, ip_packet(s));
    }
    t.n.ipv4.sysctl_ip_forward_update_priority = 0;
    ip_spec s = udp_spec();
    s.tos = 0x10;
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(seen, (std::vector<uint32_t>{0, 0, 2, 6, 4, 0}));
    nf_unregister_net_hook(t.n, &ops);
}

TEST(IpForward, NoPacketsLeftDropsNothingElse) {
    ip_test_net t;
    ip_spec s = udp_spec();
    s.ttl = 1;
    bytes packet = ip_packet(s);
    heap_skbs_fail(1, 1); // the received packet still, the error not
    t.rx(t.p0, packet);
    heap_skbs_fail(0, 0);
    EXPECT_EQ(t.sent_count(), 0u);
    EXPECT_EQ(t.icmp_stat(icmp_mib::OUTERRORS), 1u);
    t.expect_ip_balanced();
}

} // namespace
} // namespace slabfwd::test
