// SPDX-License-Identifier: BSD-3-Clause
//
// Output: fragmentation of all shapes of packets, identifiers, copies of multicast and broadcast
// for ourselves.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {
namespace {

using enum skb_drop_reason;

/// Puts pieces together as a host would; checks that they tile the datagram.
bytes reassemble(const std::vector<ip_view>& pieces, uint32_t mtu, unsigned base = 0,
                 bool more = false) {
    bytes data;
    for (size_t i = 0; i < pieces.size(); ++i) {
        const ip_view& v = pieces[i];
        EXPECT_TRUE(v.ok());
        EXPECT_LE(v.b.size(), mtu);
        EXPECT_EQ((v.frag_off() & IP_OFFSET) * 8u, base + data.size());
        EXPECT_EQ(bool(v.frag_off() & IP_MF), more || i + 1 < pieces.size());
        bytes payload = v.payload();
        if (i + 1 < pieces.size()) {
            EXPECT_EQ(payload.size() % 8, 0u);
            EXPECT_GT(payload.size() + 8 + v.hlen(), mtu) << "piece smaller than it might be";
        }
        data = data + payload;
    }
    return data;
}

TEST(IpFragment, RandomSizesMtusAndSegments) {
    rc::check("the pieces make the packet", [] {
        ip_test_net t;
        const unsigned len = *rc::gen::inRange(1u, 9000u), mtu = *rc::gen::inRange(68u, 3000u);
        const unsigned seg = *rc::gen::inRange(100u, 2000u);
        const unsigned options = *rc::gen::inRange(0u, 11u) * 4;
        dev_set_mtu(t.p1, int(mtu));
        ip_spec s{.options = bytes(options, 1), .payload = pattern(len)};
        t.rx_chained(t.p0, ip_packet(s), seg);
        std::vector<ip_view> pieces = t.sent(t.p1);
        RC_ASSERT(!pieces.empty());
        RC_ASSERT(reassemble(pieces, mtu) == s.payload);
        for (const ip_view& v : pieces) {
            RC_ASSERT(be16_to_cpu(v.ip()->id) == s.id);
            RC_ASSERT(v.ip()->ttl == 63);
        }
        RC_ASSERT(t.balance(balance_stat::fragments_created) ==
                  (pieces.size() > 1 ? pieces.size() : 0));
        RC_ASSERT(t.ip_stat(ipstats_mib::FRAGCREATES) == (pieces.size() > 1 ? pieces.size() : 0));
        RC_ASSERT(t.ip_stat(ipstats_mib::FRAGOKS) == (pieces.size() > 1 ? 1u : 0u));
        t.expect_ip_balanced();
        RC_ASSERT(!::testing::Test::HasFailure());
    });
}

TEST(IpFragment, FragmentsOfAFragment) {
    ip_test_net t;
    dev_set_mtu(t.p1, 500);
    ip_spec s{.frag_off = IP_MF | 100, .payload = pattern(1200)};
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(reassemble(t.sent(t.p1), 500, 800, true), s.payload);
    s.frag_off = 100; // the last one
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(reassemble(t.sent(t.p1), 500, 800, false), s.payload);
}

TEST(IpFragment, OnlyCopiedOptionsAreInLaterPieces) {
    ip_test_net t;
    dev_set_mtu(t.p1, 500);
    // Record route (not copied), security (copied), time stamp (not copied).
    ip_spec s{.options = bytes{7, 7, 8, 1, 1, 1, 1, 130, 3, 9, 68, 8, 9, 0, 1, 1, 1, 1},
              .payload = pattern(900)};
    t.rx(t.p0, ip_packet(s));
    std::vector<ip_view> out = t.sent(t.p1);
    ASSERT_GE(out.size(), 2u);
    EXPECT_EQ(out[0].options(),
              (bytes{7, 7, 8, 1, 1, 1, 1, 130, 3, 9, 68, 8, 9, 0x10, 1, 1, 1, 1, 0, 0}));
    for (size_t i = 1; i < out.size(); ++i)
        EXPECT_EQ(out[i].options(),
                  (bytes{1, 1, 1, 1, 1, 1, 1, 130, 3, 9, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0}));
}

TEST(IpFragment, OptionsOfALaterFragmentStay) {
    ip_test_net t;
    dev_set_mtu(t.p1, 500);
    ip_spec s{.frag_off = IP_MF | 10, .options = {7, 7, 8, 1, 1, 1, 1, 0}, .payload = pattern(904)};
    t.rx(t.p0, ip_packet(s));
    std::vector<ip_view> out = t.sent(t.p1);
    ASSERT_EQ(out.size(), 2u);
    for (const ip_view& v : out)
        EXPECT_EQ(v.options(), s.options);
}

TEST(IpFragment, OutOfPacketsHalfWayIsOneCountedDrop) {
    for (int after = 0; after < 4; ++after) {
        ip_test_net t;
        dev_set_mtu(t.p1, 500);
        bytes packet = ip_packet({.payload = pattern(1400)});
        heap_skbs_fail(after + 1, 1);
        t.rx(t.p0, packet);
        heap_skbs_fail(0, 0);
        if (after < 3) {
            EXPECT_EQ(t.sent(t.p1).size(), size_t(after));
            EXPECT_EQ(t.drops(NOMEM), 1u);
            EXPECT_EQ(t.ip_stat(ipstats_mib::FRAGFAILS), 1u);
        } else {
            EXPECT_EQ(t.sent(t.p1).size(), 3u);
        }
        t.expect_ip_balanced();
    }
}

TEST(IpFragment, RouteMtuTooSmallForAnything) {
    ip_test_net t;
    t.add_route("192.168.0.0/16", "10.0.1.2", nullptr, RTN_UNICAST, 24);
    ip_spec s{.dst = ip("192.168.1.1"), .payload = pattern(100)};
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.all_drops(), 1u);
    t.expect_ip_balanced();
}

TEST(IpIdent, CountsUpPerDestination) {
    ip_test_net t;
    ip_spec s{.dst = ip("10.0.0.1"), .proto = 1, .payload = icmp_message(8, 0, 1, pattern(8))};
    std::vector<uint16_t> ids;
    for (int i = 0; i < 4; ++i) {
        t.rx(t.p0, ip_packet(s));
        ids.push_back(be16_to_cpu(t.sent_one(t.p0).ip()->id));
    }
    for (int i = 1; i < 4; ++i)
        EXPECT_EQ(uint16_t(ids[size_t(i)] - ids[size_t(i - 1)]), 1);
}

sk_buff* own_packet(unsigned payload) {
    sk_buff* skb = alloc_skb(payload);
    bytes data = pattern(payload);
    skb_append_pieces(skb, payload, [&](uint8_t* to, unsigned offset, unsigned n) {
        std::copy_n(data.begin() + offset, n, to);
    });
    return skb;
}

TEST(IpLocalOut, BuildsHeaderAndFragments) {
    ip_test_net t;
    dev_set_mtu(t.p1, 576);
    flowi4 fl4;
    fl4.daddr = ip("10.0.1.2");
    int err;
    rtable* rt = ip_route_output_key(t.n, &fl4, &err);
    ASSERT_NE(rt, nullptr);
    ip_build_and_send_pkt(t.n, own_packet(3000), rt, fl4, 253, nullptr, nullptr, 0x20, 0, false);
    std::vector<ip_view> out = t.sent(t.p1);
    EXPECT_EQ(reassemble(out, 576), pattern(3000));
    EXPECT_EQ(out[0].ip()->saddr, ip("10.0.1.1"));
    EXPECT_EQ(out[0].ip()->ttl, 64);
    EXPECT_EQ(out[0].ip()->tos, 0x20);
    EXPECT_EQ(t.ip_stat(ipstats_mib::OUTREQUESTS), 1u);
    EXPECT_EQ(t.balance(balance_stat::originated), 1u);
    EXPECT_EQ(t.balance(balance_stat::fragmented), 1u);
}

TEST(IpLocalOut, BroadcastIsHeardHereToo) {
    ip_test_net t;
    t.n.ipv4.sysctl_icmp_echo_ignore_broadcasts = 0;
    flowi4 fl4;
    fl4.daddr = ip("10.0.1.255");
    int err;
    rtable* rt = ip_route_output_key(t.n, &fl4, &err);
    ASSERT_NE(rt, nullptr);
    ip_build_and_send_pkt(t.n, own_packet(100), rt, fl4, IPPROTO_IGMP_, nullptr, nullptr, 0, 1,
                          false);
    t.end_burst();
    EXPECT_EQ(t.balance(balance_stat::copies), 1u);
    EXPECT_EQ(t.balance(balance_stat::delivered), 1u);
    auto frames = t.take_sent();
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_EQ(eth_dst(frames[0].data), mac("ff:ff:ff:ff:ff:ff"));
    EXPECT_EQ(t.ip_stat(ipstats_mib::OUTBCASTPKTS), 1u);
    t.expect_ip_balanced();
}

TEST(IpLocalOut, ToOurselvesGoesOverLoopback) {
    ip_test_net t;
    flowi4 fl4;
    fl4.daddr = ip("10.0.1.1");
    int err;
    rtable* rt = ip_route_output_key(t.n, &fl4, &err);
    ASSERT_NE(rt, nullptr);
    EXPECT_EQ(rt->dst.dev, t.lo);
    ip_build_and_send_pkt(t.n, own_packet(100), rt, fl4, IPPROTO_IGMP_, nullptr, nullptr, 0, 0,
                          false);
    t.end_burst();
    EXPECT_EQ(t.balance(balance_stat::delivered), 1u);
    EXPECT_EQ(t.sent_count(), 0u);
}

} // namespace
} // namespace slabfwd::test
