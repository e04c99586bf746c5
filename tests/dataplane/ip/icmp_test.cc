// SPDX-License-Identifier: BSD-3-Clause
//
// ICMP: answers, errors and when there must be none, quotes, sources, rate limits, messages from
// others.
#include <gtest/gtest.h>

#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {
namespace {

using enum skb_drop_reason;

ip_spec echo_to(const char* dst, unsigned len = 8) {
    return {.dst = ip(dst),
            .proto = IPPROTO_ICMP_,
            .payload = icmp_message(8, 0, 0x12340001, pattern(len))};
}
ip_spec udp_to(const char* dst, unsigned len = 8) {
    ip_spec s{.dst = ip(dst)};
    s.payload = udp_datagram(s, 11, 22, pattern(len));
    return s;
}

// --- answers ----------------------------------------------------------------------------------

TEST(IcmpEcho, IsAnsweredInKind) {
    for (unsigned len : {0u, 1u, 56u, 1472u}) {
        ip_test_net t;
        ip_spec s = echo_to("10.0.0.1", len);
        s.tos = 0x1f;
        s.payload = icmp_message(8, 5, 0x12340001, pattern(len)); // the code comes back as well
        t.rx(t.p0, ip_packet(s));
        ip_view v = t.sent_one(t.p0);
        EXPECT_EQ(v.payload(), icmp_message(0, 5, 0x12340001, pattern(len)));
        EXPECT_EQ(v.ip()->saddr, ip("10.0.0.1"));
        EXPECT_EQ(v.ip()->daddr, ip("10.0.0.2"));
        EXPECT_EQ(v.ip()->tos, 0x1f);
        EXPECT_EQ(v.ip()->ttl, 64);
        EXPECT_EQ(v.frag_off(), 0);
        EXPECT_EQ(t.icmp_stat(icmp_mib::INMSGS), 1u);
        EXPECT_EQ(t.icmp_stat(icmp_mib::OUTMSGS), 1u);
        EXPECT_EQ(t.n.softnet[0]->icmpmsg_in[8], 1u);
        EXPECT_EQ(t.n.softnet[0]->icmpmsg_out[0], 1u);
        EXPECT_EQ(t.balance(balance_stat::delivered), 1u);
        EXPECT_EQ(t.balance(balance_stat::originated), 1u);
        t.expect_ip_balanced();
    }
}

TEST(IcmpEcho, LongReplyIsFragmented) {
    ip_test_net t;
    dev_set_mtu(t.p0, 600);
    t.rx_chained(t.p0, ip_packet(echo_to("10.0.0.1", 4000)), 700);
    std::vector<ip_view> out = t.sent(t.p0);
    ASSERT_EQ(out.size(), 7u);
    bytes data;
    for (const ip_view& v : out)
        data = data + v.payload();
    EXPECT_EQ(data, icmp_message(0, 0, 0x12340001, pattern(4000)));
}

TEST(IcmpEcho, LongestOfAll) {
    ip_test_net t;
    t.rx_chained(t.p0, ip_packet(echo_to("10.0.0.1", 65535 - 28)), 2000);
    bytes data;
    for (const ip_view& v : t.sent(t.p0))
        data = data + v.payload();
    EXPECT_EQ(data, icmp_message(0, 0, 0x12340001, pattern(65535 - 28)));
}

TEST(IcmpEcho, ChecksumOfNothingButZerosIsZero) {
    ip_test_net t;
    ip_spec s = echo_to("10.0.0.1");
    s.payload = icmp_message(8, 0, 0, bytes(32));
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.sent_one(t.p0).payload(), bytes(8 + 32));
}

TEST(IcmpRcv, RedirectWithAShortQuotedHeaderIsNoError) {
    ip_test_net t;
    ip_spec s = echo_to("10.0.0.1");
    s.payload = icmp_message(5, 1, 0x0a000003, bytes(28));
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.icmp_stat(icmp_mib::INERRORS), 0u);
    EXPECT_EQ(t.balance(balance_stat::delivered), 1u);
    t.expect_ip_balanced();
}

struct silent_case {
    const char* name;
    uint8_t type;
    void (*prepare)(ip_test_net&);
    skb_drop_reason reason; ///< NOT_DROPPED_YET: consumed
};

TEST(IcmpRcv, WhatIsNotAnswered) {
    const silent_case cases[] = {
        {"ignore all", 8, [](ip_test_net& t) { t.n.ipv4.sysctl_icmp_echo_ignore_all = 1; },
         NOT_DROPPED_YET},
        {"echo reply nobody waits for", 0, nullptr, NO_SOCKET},
        {"extended echo", 42, nullptr, NOT_DROPPED_YET},
        {"extended echo reply", 43, nullptr, NO_SOCKET},
        {"unknown", 19, nullptr, UNHANDLED_PROTO},
        {"unknown, 255", 255, nullptr, UNHANDLED_PROTO},
        {"address mask", 17, nullptr, NOT_DROPPED_YET},
        {"information", 15, nullptr, NOT_DROPPED_YET},
        {"router solicitation", 10, nullptr, NOT_DROPPED_YET},
        {"time stamp reply", 14, nullptr, NOT_DROPPED_YET},
    };
    for (const silent_case& c : cases) {
        SCOPED_TRACE(c.name);
        ip_test_net t;
        if (c.prepare)
            c.prepare(t);
        ip_spec s = echo_to("10.0.0.1");
        s.payload = icmp_message(c.type, 0, 1, pattern(20));
        t.rx(t.p0, ip_packet(s));
        EXPECT_EQ(t.sent_count(), 0u);
        EXPECT_EQ(t.balance(balance_stat::delivered), c.reason == NOT_DROPPED_YET ? 1u : 0u);
        EXPECT_EQ(t.drops(c.reason), c.reason == NOT_DROPPED_YET ? 0u : 1u);
        t.expect_ip_balanced();
    }
}

TEST(IcmpRcv, DamagedMessages) {
    ip_test_net t;
    ip_spec s = echo_to("10.0.0.1");
    s.payload[5] ^= 1;
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.drops(ICMP_CSUM), 1u);
    EXPECT_EQ(t.icmp_stat(icmp_mib::CSUMERRORS), 1u);
    EXPECT_EQ(t.icmp_stat(icmp_mib::INERRORS), 1u);
    s.payload = {0xff, 0xff, 0, 0};
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.drops(PKT_TOO_SMALL), 1u);
    s.payload = {};
    t.rx(t.p0, ip_packet(s)); // the sum of nothing is not right
    EXPECT_EQ(t.drops(ICMP_CSUM), 2u);
    EXPECT_EQ(t.sent_count(), 0u);
}

TEST(IcmpRcv, BroadcastEchoOnlyWhenAllowed) {
    ip_test_net t;
    bytes packet = ip_packet(echo_to("10.0.0.255"));
    t.rx(t.p0, packet, mac("ff:ff:ff:ff:ff:ff"));
    EXPECT_EQ(t.sent_count(), 0u);
    EXPECT_EQ(t.drops(INVALID_PROTO), 1u);
    t.n.ipv4.sysctl_icmp_echo_ignore_broadcasts = 0;
    t.rx(t.p0, packet, mac("ff:ff:ff:ff:ff:ff"));
    EXPECT_EQ(t.sent_one(t.p0).ip()->saddr, ip("10.0.0.1"));
}

TEST(IcmpRcv, TimeStampIsAnswered) {
    ip_test_net t;
    t.advance_ms(5000);
    ip_spec s = echo_to("10.0.0.1");
    s.payload = icmp_message(13, 0, 1, {0, 0, 0, 9, 1, 1, 1, 1, 2, 2, 2, 2});
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.sent_one(t.p0).payload(),
              icmp_message(14, 0, 1, {0, 0, 0, 9, 0, 0, 0x13, 0x88, 0, 0, 0x13, 0x88}));
    s.payload = icmp_message(13, 0, 1, {0, 0, 0});
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.drops(PKT_TOO_SMALL), 1u);
}

// --- errors -----------------------------------------------------------------------------------

struct forbidden_case {
    const char* name;
    ip_spec spec;
    bool broadcast_mac = false;
    bool allowed = false;
};

ip_spec icmp_ttl1(uint8_t type) {
    return {.proto = IPPROTO_ICMP_, .ttl = 1, .payload = icmp_message(type, 0, 1, pattern(28))};
}

TEST(IcmpSend, WhatMustNotBeAnswered) {
    const forbidden_case cases[] = {
        {"an error", icmp_ttl1(3)},
        {"a redirect", icmp_ttl1(5)},
        {"a time exceeded", icmp_ttl1(11)},
        {"a parameter problem", icmp_ttl1(12)},
        {"an unknown type", icmp_ttl1(40)},
        {"an echo request", icmp_ttl1(8), false, true},
        {"an echo reply", icmp_ttl1(0), false, true},
        {"ICMP without a type", {.proto = IPPROTO_ICMP_, .ttl = 1}},
        {"a later fragment", {.ttl = 1, .frag_off = 5, .payload = pattern(40)}},
        {"the first fragment", {.ttl = 1, .frag_off = IP_MF, .payload = pattern(40)}, false, true},
        {"sent to everybody on the link", {.ttl = 1, .payload = pattern(40)}, true},
        {"TCP", {.proto = 6, .ttl = 1, .payload = pattern(40)}, false, true},
    };
    for (const forbidden_case& c : cases) {
        SCOPED_TRACE(c.name);
        ip_test_net t;
        t.rx(t.p0, ip_packet(c.spec),
             c.broadcast_mac ? std::optional(mac("ff:ff:ff:ff:ff:ff")) : std::nullopt);
        EXPECT_EQ(t.sent(t.p0).size(), c.allowed ? 1u : 0u);
        t.expect_ip_balanced();
    }
}

TEST(IcmpSend, QuotesAsMuchAsFits576) {
    for (unsigned len : {0u, 7u, 500u, 519u, 520u, 521u, 1400u}) {
        ip_test_net t;
        ip_spec s = udp_to("10.0.1.2", len);
        s.ttl = 1;
        bytes packet = ip_packet(s);
        t.rx_chained(t.p0, packet, 256);
        ip_view v = t.sent_one(t.p0);
        EXPECT_EQ(v.b.size(), std::min<size_t>(576, packet.size() + 28));
        EXPECT_EQ(v.quoted(), bytes(packet.begin(), packet.begin() + long(v.b.size() - 28)));
        EXPECT_TRUE(v.icmp_checksum_ok());
    }
}

TEST(IcmpSend, QuoteKeepsToASmallMtu) {
    ip_test_net t;
    dev_set_mtu(t.p0, 300);
    ip_spec s = udp_to("10.0.1.2", 200);
    s.ttl = 1;
    s.options = bytes(40, 1);
    s.payload = pattern(200);
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.sent_one(t.p0).b.size(), 288u); // all of it fits
    dev_set_mtu(t.p0, 100);
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.sent_one(t.p0).b.size(), 100u);
}

TEST(IcmpSend, TosIsInternetControl) {
    ip_test_net t;
    ip_spec s = udp_to("10.0.1.2");
    s.ttl = 1;
    s.tos = 0xff;
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.sent_one(t.p0).ip()->tos, 0xde);
}

TEST(IcmpSend, SourceIsTheAddressAskedOrOfTheWayBack) {
    ip_test_net t;
    t.rx(t.p0, ip_packet(udp_to("10.0.1.1"))); // ours, on the other side
    EXPECT_EQ(t.sent_one(t.p0).ip()->saddr, ip("10.0.1.1"));
    // The way back to 192.168.7.7 leads out of p1.
    t.add_route("192.168.7.0/24", "10.0.1.3", nullptr);
    ip_spec s = udp_to("10.0.1.2");
    s.src = ip("192.168.7.7");
    s.ttl = 1;
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.sent_one(t.p1).ip()->saddr, ip("10.0.1.1"));
    t.advance_ms(10'000);
    t.n.ipv4.sysctl_icmp_errors_use_inbound_ifaddr = 1;
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.sent_one(t.p1).ip()->saddr, ip("10.0.0.1"));
}

TEST(IcmpSend, NoRouteBackNoError) {
    ip_test_net t;
    ip_spec s = udp_to("10.0.1.2");
    s.src = ip("172.16.5.5");
    s.ttl = 1;
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.sent_count(), 0u);
    EXPECT_EQ(t.all_drops(), 1u);
}

TEST(IcmpSend, MarkIsReflectedWhenAsked) {
    ip_test_net t;
    struct marker {
        static unsigned in(void*, sk_buff* skb, const nf_hook_state*) {
            skb->mark = 77;
            return NF_ACCEPT;
        }
        static unsigned out(void* priv, sk_buff* skb, const nf_hook_state*) {
            static_cast<std::vector<uint32_t>*>(priv)->push_back(skb->mark);
            return NF_ACCEPT;
        }
    };
    std::vector<uint32_t> marks;
    nf_hook_ops in{marker::in, nullptr, NF_INET_PRE_ROUTING, 0, "in"},
        out{marker::out, &marks, NF_INET_LOCAL_OUT, 0, "out"};
    nf_register_net_hook(t.n, &in);
    nf_register_net_hook(t.n, &out);
    t.rx(t.p0, ip_packet(echo_to("10.0.0.1")));
    t.n.ipv4.sysctl_fwmark_reflect = 1;
    t.rx(t.p0, ip_packet(echo_to("10.0.0.1")));
    EXPECT_EQ(marks, (std::vector<uint32_t>{0, 77}));
    nf_unregister_net_hook(t.n, &in);
    nf_unregister_net_hook(t.n, &out);
}

// --- limits -----------------------------------------------------------------------------------

unsigned errors_for(ip_test_net& t, unsigned packets, const char* src, unsigned step_ms = 0) {
    ip_spec s = udp_to("10.0.1.2");
    s.src = ip(src);
    s.ttl = 1;
    unsigned sent = 0;
    for (unsigned i = 0; i < packets; ++i) {
        t.rx(t.p0, ip_packet(s));
        sent += unsigned(t.sent(t.p0).size());
        t.advance_ms(step_ms);
    }
    return sent;
}

TEST(IcmpLimit, SixInABurstThenOneASecondPerDestination) {
    ip_test_net t;
    t.advance_ms(60'000);
    EXPECT_EQ(errors_for(t, 20, "10.0.0.2"), 6u);
    EXPECT_EQ(t.icmp_stat(icmp_mib::RATELIMITHOST), 14u);
    EXPECT_EQ(errors_for(t, 20, "10.0.0.3"), 6u); // others have their own
    EXPECT_EQ(errors_for(t, 100, "10.0.0.2", 100), 9u);
    t.expect_ip_balanced();
}

TEST(IcmpLimit, MaskSaysWhichTypes) {
    ip_test_net t;
    t.advance_ms(60'000);
    t.n.ipv4.sysctl_icmp_ratemask = 0;
    EXPECT_EQ(errors_for(t, 50, "10.0.0.2"), 50u);
    t.n.ipv4.sysctl_icmp_ratemask = 1 << ICMP_TIME_EXCEEDED;
    t.n.ipv4.sysctl_icmp_ratelimit = 0;
    t.n.ipv4.sysctl_icmp_msgs_per_sec = 1000000;
    t.n.ipv4.sysctl_icmp_msgs_burst = 1000000;
    EXPECT_EQ(errors_for(t, 50, "10.0.0.2", 20), 50u);
}

TEST(IcmpLimit, EchoRepliesAreNotLimited) {
    ip_test_net t;
    for (int i = 0; i < 500; ++i)
        t.rx(t.p0, ip_packet(echo_to("10.0.0.1")));
    EXPECT_EQ(t.sent(t.p0).size(), 500u);
}

TEST(IcmpLimit, WholeRouterKeepsToItsBurst) {
    ip_test_net t;
    t.advance_ms(60'000);
    t.n.ipv4.sysctl_icmp_ratelimit = 0;
    unsigned sent = errors_for(t, 500, "10.0.0.2");
    EXPECT_GT(sent, 30u); // 50 credits of which each takes 0 to 2
    EXPECT_LT(sent, 80u);
    EXPECT_EQ(t.icmp_stat(icmp_mib::RATELIMITGLOBAL), 500 - sent);
    EXPECT_GT(errors_for(t, 300, "10.0.0.2", 20), 280u); // 1000 a second is plenty for these
}

TEST(IcmpLimit, PathMtuDiscoveryIsNotLimited) {
    ip_test_net t;
    dev_set_mtu(t.p1, 600);
    t.n.ipv4.sysctl_icmp_ratemask = -1;
    ip_spec s = udp_to("10.0.1.2", 1000);
    s.frag_off = IP_DF;
    for (int i = 0; i < 100; ++i)
        t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.sent(t.p0).size(), 100u);
}

// --- from others ------------------------------------------------------------------------------

/// Fragmentation needed about `quoted` of ours, from a router on p0's side.
bytes frag_needed(const bytes& quoted, uint16_t mtu) {
    return ip_packet(
        {.src = ip("10.0.0.3"),
         .dst = ip("10.0.0.1"),
         .proto = IPPROTO_ICMP_,
         .payload = icmp_message(3, 4, mtu, bytes(quoted.begin(), quoted.begin() + 28))});
}

size_t reply_pieces(ip_test_net& t, unsigned len) {
    t.rx(t.p0, ip_packet(echo_to("10.0.0.1", len)));
    return t.sent(t.p0).size();
}

TEST(IcmpUnreach, FragNeededAboutOurEchoReplyLowersThePathMtu) {
    ip_test_net t;
    EXPECT_EQ(reply_pieces(t, 1200), 1u);
    ip_spec reply{.src = ip("10.0.0.1"),
                  .dst = ip("10.0.0.2"),
                  .proto = 1,
                  .payload = icmp_message(0, 0, 1, pattern(1200))};
    t.rx(t.p0, frag_needed(ip_packet(reply), 700));
    EXPECT_EQ(reply_pieces(t, 1200), 2u);
    t.advance_ms(601'000);
    EXPECT_EQ(reply_pieces(t, 1200), 1u);
}

TEST(IcmpUnreach, AboutWhatWeNeverSentIsIgnored) {
    ip_test_net t;
    ip_spec udp{.src = ip("10.0.0.1"), .dst = ip("10.0.0.2")};
    udp.payload = udp_datagram(udp, 1, 2, pattern(1200));
    t.rx(t.p0, frag_needed(ip_packet(udp), 700));
    EXPECT_EQ(t.icmp_stat(icmp_mib::INERRORS), 1u);
    ip_spec request{.src = ip("10.0.0.1"),
                    .dst = ip("10.0.0.2"),
                    .proto = 1,
                    .payload = icmp_message(8, 0, 1, pattern(1200))};
    t.rx(t.p0, frag_needed(ip_packet(request), 700));
    t.n.ipv4.sysctl_ip_no_pmtu_disc = 2;
    ip_spec reply{.src = ip("10.0.0.1"),
                  .dst = ip("10.0.0.2"),
                  .proto = 1,
                  .payload = icmp_message(0, 0, 1, pattern(1200))};
    t.rx(t.p0, frag_needed(ip_packet(reply), 700));
    EXPECT_EQ(reply_pieces(t, 1200), 1u);
}

TEST(IcmpUnreach, DamagedQuotes) {
    ip_test_net t;
    ip_spec s{.src = ip("10.0.0.3"),
              .dst = ip("10.0.0.1"),
              .proto = 1,
              .payload = icmp_message(3, 1, 0, pattern(19))};
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.drops(PKT_TOO_SMALL), 1u);
    s.payload = icmp_message(3, 1, 0, bytes{0x44} + pattern(40));
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.drops(IP_INHDR), 1u);
    s.payload = icmp_message(3, 1, 0, bytes{0x4f} + pattern(40));
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.icmp_stat(icmp_mib::INERRORS), 3u);
    s.payload = icmp_message(5, 1, 0x0a000004, pattern(10));
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.drops(PKT_TOO_SMALL), 2u);
    t.expect_ip_balanced();
}

struct heard {
    ping_listener l;
    std::vector<bytes> replies, errors;
    heard() : l{on_reply, cpu_to_be16(0x1234), on_error} {}
    static void on_reply(ping_listener* l, const sk_buff* skb) {
        reinterpret_cast<heard*>(l)->replies.push_back(to_bytes(skb));
    }
    static void on_error(ping_listener* l, const sk_buff* skb) {
        reinterpret_cast<heard*>(l)->errors.push_back(
            bytes(skb_transport_header(skb), skb_transport_header(skb) + 8));
    }
};

TEST(Ping, ListenerHearsItsReplies) {
    ip_test_net t;
    heard h;
    ping_listen(t.n, &h.l);
    ip_spec s = echo_to("10.0.0.1");
    s.payload = icmp_message(0, 0, 0x12340007, pattern(8));
    t.rx(t.p0, ip_packet(s));
    ASSERT_EQ(h.replies.size(), 1u);
    EXPECT_EQ(h.replies[0], s.payload);
    EXPECT_EQ(t.balance(balance_stat::delivered), 1u);
    s.payload = icmp_message(0, 0, 0x99990007, pattern(8)); // somebody else's
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(h.replies.size(), 1u);
    EXPECT_EQ(t.drops(NO_SOCKET), 1u);
    ip_spec request{.src = ip("10.0.0.1"),
                    .dst = ip("10.9.9.9"),
                    .proto = 1,
                    .payload = icmp_message(8, 0, 0x12340007, pattern(8))};
    s.payload = icmp_message(3, 1, 0, ip_packet(request));
    t.rx(t.p0, ip_packet(s));
    ASSERT_EQ(h.errors.size(), 1u);
    EXPECT_EQ(h.errors[0][0], 3);
    t.enter(t.n.control_cpu());
    ping_listen(t.n, nullptr);
    t.enter(0);
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(h.errors.size(), 1u);
}

// --- about packets that a neighbour held ------------------------------------------------------

TEST(IcmpSend, FailedNeighbourIsHostUnreachable) {
    ip_test_net t;
    bytes packet = ip_packet(udp_to("10.0.1.99"));
    t.rx(t.p0, packet);
    t.advance_ms(10'000);
    std::vector<ip_view> out = t.sent(t.p0);
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(out[0].icmp()->type, ICMP_DEST_UNREACH);
    EXPECT_EQ(out[0].icmp()->code, ICMP_HOST_UNREACH);
    EXPECT_EQ(out[0].ip()->saddr, ip("10.0.0.1"));
    EXPECT_EQ(out[0].quoted().size(), packet.size());
    t.expect_ip_balanced();
}

} // namespace
} // namespace slabfwd::test
