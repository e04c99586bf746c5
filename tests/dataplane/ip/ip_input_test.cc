// SPDX-License-Identifier: BSD-3-Clause
//
// Receive: every check of the header with its counter and reason, trailers, what is for whom, local
// delivery.
#include <gtest/gtest.h>

#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {
namespace {

using enum skb_drop_reason;

bytes plain_udp() {
    ip_spec s;
    s.payload = udp_datagram(s, 11, 22, pattern(6));
    return ip_packet(s);
}

/// A packet that has something wrong, and what comes of it.
struct header_case {
    const char* name;
    void (*damage)(bytes& packet);
    skb_drop_reason reason;
    ipstats_mib counter;
    bool csum_counter;
};
const header_case header_cases[] = {
    {"nineteen bytes", [](bytes& p) { p.resize(19); }, IP_INHDR, ipstats_mib::INHDRERRORS, false},
    {"empty", [](bytes& p) { p.clear(); }, IP_INHDR, ipstats_mib::INHDRERRORS, false},
    {"version 6", [](bytes& p) { p[0] = 0x65; }, IP_INHDR, ipstats_mib::INHDRERRORS, false},
    {"header of 16 bytes", [](bytes& p) { p[0] = 0x44; }, IP_INHDR, ipstats_mib::INHDRERRORS,
     false},
    {"header longer than the frame", [](bytes& p) { p[0] = 0x4f; }, IP_INHDR,
     ipstats_mib::INHDRERRORS, false},
    {"checksum", [](bytes& p) { p[10] ^= 1; }, IP_CSUM, ipstats_mib::INHDRERRORS, true},
    {"truncated", [](bytes& p) { p.resize(p.size() - 1); }, PKT_TOO_SMALL,
     ipstats_mib::INTRUNCATEDPKTS, false},
    {"total length below header",
     [](bytes& p) {
         p[2] = 0;
         p[3] = 19;
         fix_checksum(p);
     },
     IP_INHDR, ipstats_mib::INHDRERRORS, false},
};

TEST(IpRcv, BadHeadersAreDroppedAndCounted) {
    for (const header_case& c : header_cases) {
        SCOPED_TRACE(c.name);
        ip_test_net t;
        bytes packet = plain_udp();
        c.damage(packet);
        t.rx(t.p0, packet);
        EXPECT_EQ(t.sent_count(), 0u);
        EXPECT_EQ(t.drops(c.reason), 1u);
        EXPECT_EQ(t.all_drops(), 1u);
        EXPECT_EQ(t.ip_stat(ipstats_mib::INPKTS), 1u);
        EXPECT_EQ(t.ip_stat(c.counter), 1u);
        EXPECT_EQ(t.ip_stat(ipstats_mib::CSUMERRORS), c.csum_counter ? 1u : 0u);
        t.expect_ip_balanced();
    }
}

TEST(IpRcv, TrailerIsCutOff) {
    ip_test_net t;
    bytes packet = plain_udp();
    t.rx(t.p0, packet + bytes(12, 0xee));
    EXPECT_EQ(t.sent_one(t.p1).b.size(), packet.size());
    EXPECT_EQ(t.ip_stat(ipstats_mib::INOCTETS), packet.size() + 12);
}

TEST(IpRcv, EcnFieldsAreCounted) {
    ip_test_net t;
    const ipstats_mib counters[] = {ipstats_mib::NOECTPKTS, ipstats_mib::ECT1PKTS,
                                    ipstats_mib::ECT0PKTS, ipstats_mib::CEPKTS};
    for (unsigned ecn = 0; ecn < 4; ++ecn)
        for (unsigned i = 0; i <= ecn; ++i)
            t.rx(t.p0, ip_packet({.tos = uint8_t(ecn), .payload = pattern(8)}));
    for (unsigned ecn = 0; ecn < 4; ++ecn)
        EXPECT_EQ(t.ip_stat(counters[ecn]), ecn + 1) << ecn;
}

TEST(IpRcv, FramesForOthersAreNotLookedAt) {
    ip_test_net t;
    t.rx(t.p0, plain_udp(), mac("02:99:00:00:00:01"));
    EXPECT_EQ(t.drops(OTHERHOST), 1u);
    EXPECT_EQ(t.ip_stat(ipstats_mib::INPKTS), 0u);
}

TEST(IpRcv, UnknownEtherTypesAreDropped) {
    ip_test_net t;
    bytes frame = bytes{2, 0, 0, 0, 0, 0, 2, 0xbb, 0, 0, 0, 1, 0x86, 0xdd} + bytes(40);
    t.rx_frame(t.p0, frame);
    EXPECT_EQ(t.drops(UNHANDLED_PROTO), 1u);
}

bytes tagged(uint16_t vid, const bytes& packet) {
    return bytes{2, 0, 0, 0, 0, 0, 2, 0xbb, 0, 0, 0, 1, 0x81, 0, uint8_t(vid >> 8), uint8_t(vid),
                 8, 0} +
           packet;
}

TEST(IpRcv, VlanFramesAreForOthersPriorityTagsAreNot) {
    ip_test_net t;
    t.rx_frame(t.p0, tagged(0xe00a, plain_udp()));
    EXPECT_EQ(t.drops(OTHERHOST), 1u);
    t.rx_frame(t.p0, tagged(0xe000, plain_udp()));
    EXPECT_EQ(t.sent(t.p1).size(), 1u);
    bytes twice = tagged(0xe000, plain_udp());
    twice.insert(twice.begin() + 12, {0x81, 0, 0xe0, 0});
    t.rx_frame(t.p0, twice);
    EXPECT_EQ(t.sent(t.p1).size(), 1u);
    twice[15] = 10; // a VLAN's own tag before it
    t.rx_frame(t.p0, twice);
    EXPECT_EQ(t.drops(UNHANDLED_PROTO), 1u);
    t.rx_frame(t.p0, bytes{2, 0, 0, 0, 0, 0, 2, 0xbb, 0, 0, 0, 1, 0x81, 0, 0, 0});
    EXPECT_EQ(t.drops(PKT_TOO_SMALL), 1u);
}

TEST(IpRcv, UnicastInL2MulticastIsDroppedWhenAsked) {
    ip_test_net t;
    t.p0->ip_ptr->cnf.drop_unicast_in_l2_multicast = 1;
    ip_spec s{.dst = ip("10.0.0.1"),
              .proto = IPPROTO_ICMP_,
              .payload = icmp_message(8, 0, 1, pattern(8))};
    t.rx(t.p0, ip_packet(s), mac("ff:ff:ff:ff:ff:ff"));
    EXPECT_EQ(t.drops(UNICAST_IN_L2_MULTICAST), 1u);
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.sent(t.p0).size(), 1u);
}

TEST(IpRcv, BroadcastIsCountedAsSuch) {
    ip_test_net t;
    ip_spec s{.dst = ip("10.0.0.255")};
    s.payload = udp_datagram(s, 11, 22, pattern(6));
    t.rx(t.p0, ip_packet(s), mac("ff:ff:ff:ff:ff:ff"));
    EXPECT_EQ(t.ip_stat(ipstats_mib::INBCASTPKTS), 1u);
    EXPECT_EQ(t.ip_stat(ipstats_mib::INBCASTOCTETS), 34u);
    EXPECT_EQ(t.udp_stat(udp_mib::IGNOREDMULTI), 1u);
    EXPECT_EQ(t.sent_count(), 0u);
}

TEST(IpLocalDeliver, UnknownProtocolIsUnreachable) {
    ip_test_net t;
    bytes packet = ip_packet({.dst = ip("10.0.0.1"), .proto = 253, .payload = pattern(20)});
    t.rx(t.p0, packet);
    ip_view v = t.sent_one(t.p0);
    EXPECT_EQ(v.icmp()->type, ICMP_DEST_UNREACH);
    EXPECT_EQ(v.icmp()->code, ICMP_PROT_UNREACH);
    EXPECT_EQ(v.quoted(), packet);
    EXPECT_EQ(t.ip_stat(ipstats_mib::INUNKNOWNPROTOS), 1u);
    EXPECT_EQ(t.drops(IP_NOPROTO), 1u);
}

TEST(IpLocalDeliver, IgmpIsConsumedSilently) {
    ip_test_net t;
    t.rx(t.p0, ip_packet({.dst = ip("10.0.0.1"), .proto = IPPROTO_IGMP_, .payload = pattern(8)}));
    EXPECT_EQ(t.balance(balance_stat::delivered), 1u);
    EXPECT_EQ(t.sent_count(), 0u);
    EXPECT_EQ(t.all_drops(), 0u);
}

std::vector<bytes> extra_protocol_got;
int extra_protocol(sk_buff* skb) {
    extra_protocol_got.push_back(to_bytes(skb));
    ip_consume(skb);
    return 0;
}

TEST(IpLocalDeliver, AnotherProtocolCanBeAdded) {
    ip_test_net t;
    EXPECT_EQ(inet_add_protocol(t.n, 253, extra_protocol), 0);
    EXPECT_EQ(inet_add_protocol(t.n, 253, extra_protocol), -EEXIST);
    extra_protocol_got.clear();
    t.rx(t.p0, ip_packet({.dst = ip("10.0.0.1"), .proto = 253, .payload = pattern(20)}));
    ASSERT_EQ(extra_protocol_got.size(), 1u);
    EXPECT_EQ(extra_protocol_got[0], pattern(20));
    EXPECT_EQ(t.ip_stat(ipstats_mib::INDELIVERS), 1u);
}

// --- hooks on the way -------------------------------------------------------------------------

struct hook_log {
    std::vector<unsigned> points;
    unsigned verdict_at = NF_INET_NUMHOOKS, verdict = NF_ACCEPT;
};
unsigned log_hook(void* priv, sk_buff*, const nf_hook_state* state) {
    auto* log = static_cast<hook_log*>(priv);
    log->points.push_back(state->hook);
    return state->hook == log->verdict_at ? log->verdict : NF_ACCEPT;
}

struct HookWay : ::testing::Test {
    hook_log log;
    nf_hook_ops ops[NF_INET_NUMHOOKS];
    ip_test_net t;
    HookWay() {
        for (unsigned i = 0; i < NF_INET_NUMHOOKS; ++i) {
            ops[i] = {log_hook, &log, i, 0, "log"};
            nf_register_net_hook(t.n, &ops[i]);
        }
    }
    ~HookWay() override {
        for (auto& o : ops)
            nf_unregister_net_hook(t.n, &o);
    }
};

TEST_F(HookWay, ForwardedPacketPassesThree) {
    t.rx(t.p0, plain_udp());
    EXPECT_EQ(log.points,
              (std::vector<unsigned>{NF_INET_PRE_ROUTING, NF_INET_FORWARD, NF_INET_POST_ROUTING}));
    EXPECT_EQ(t.sent(t.p1).size(), 1u);
}

TEST_F(HookWay, EchoPassesInAndOut) {
    t.rx(t.p0,
         ip_packet(
             {.dst = ip("10.0.0.1"), .proto = 1, .payload = icmp_message(8, 0, 1, pattern(8))}));
    EXPECT_EQ(log.points, (std::vector<unsigned>{NF_INET_PRE_ROUTING, NF_INET_LOCAL_IN,
                                                 NF_INET_LOCAL_OUT, NF_INET_POST_ROUTING}));
    EXPECT_EQ(t.sent(t.p0).size(), 1u);
}

TEST_F(HookWay, DropAtEachPointIsOneCountedDrop) {
    for (unsigned point : {NF_INET_PRE_ROUTING, NF_INET_FORWARD, NF_INET_POST_ROUTING}) {
        log.verdict_at = point;
        log.verdict = NF_DROP;
        uint64_t before = t.drops(NETFILTER_DROP);
        t.rx(t.p0, plain_udp());
        EXPECT_EQ(t.drops(NETFILTER_DROP), before + 1);
        EXPECT_EQ(t.sent_count(), 0u);
        t.expect_ip_balanced();
    }
}

TEST(IpInit, ComesAndGoesRepeatedly) {
    for (int i = 0; i < 3; ++i) {
        ip_test_net t;
        t.rx(t.p0, plain_udp());
    }
}

} // namespace
} // namespace slabfwd::test
