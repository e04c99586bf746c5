// SPDX-License-Identifier: BSD-3-Clause
//
// IP options: what is entered on the way, what is refused and with which pointer, source routes,
// echoes.
#include <gtest/gtest.h>
#include <optional>

#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {
namespace {

using enum skb_drop_reason;

ip_spec with_options(bytes options) {
    ip_spec s;
    s.options = std::move(options);
    s.payload = udp_datagram(s, 11, 22, pattern(4));
    return s;
}

/// Options in, options out; or the offset that a parameter problem points at.
struct option_case {
    const char* name;
    bytes in;
    bytes out;
    int pointer = -1;
};
const option_case option_cases[] = {
    {"record route", {7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {7, 11, 8, 10, 0, 1, 1, 0, 0, 0, 0, 0}},
    {"record route, second",
     {7, 11, 8, 1, 2, 3, 4, 0, 0, 0, 0, 0},
     {7, 11, 12, 1, 2, 3, 4, 10, 0, 1, 1, 0}},
    {"record route, full", {7, 7, 8, 1, 2, 3, 4, 0}, {7, 7, 8, 1, 2, 3, 4, 0}},
    {"record route, pointer 3", {7, 7, 3, 0, 0, 0, 0, 0}, {}, 22},
    {"record route, no whole place", {7, 7, 5, 0, 0, 0, 0, 0}, {}, 22},
    {"record route, length 2", {7, 2, 0, 0}, {}, 21},
    {"record route, twice", {7, 3, 4, 7, 3, 4, 0, 0}, {}, 23},
    {"length 1", {7, 1, 0, 0}, {}, 20},
    {"length beyond the header", {7, 9, 4, 0}, {}, 20},
    {"length byte missing", {1, 1, 1, 7}, {}, 23},
    {"no operation, end, rubbish", {1, 0, 5, 6}, {1, 0, 0, 0}},
    {"unknown option passes", {0x99, 4, 1, 2}, {0x99, 4, 1, 2}},
    {"time stamp full", {68, 8, 9, 0x30, 0, 0, 0, 0}, {68, 8, 9, 0x40, 0, 0, 0, 0}},
    {"time stamp overflow", {68, 8, 9, 0xf0, 0, 0, 0, 0}, {}, 23},
    {"time stamp, pointer 4", {68, 8, 4, 0, 0, 0, 0, 0}, {}, 22},
    {"time stamp, length 3", {68, 3, 5, 0}, {}, 21},
    {"time stamp, no whole place", {68, 8, 6, 0, 0, 0, 0, 0}, {}, 22},
    {"time stamp with address, room for one only", {68, 8, 5, 1, 0, 0, 0, 0}, {}, 22},
    {"time stamp for somebody else",
     {68, 12, 5, 3, 10, 9, 9, 9, 0, 0, 0, 0},
     {68, 12, 5, 3, 10, 9, 9, 9, 0, 0, 0, 0}},
    {"router alert", {148, 4, 0, 0}, {148, 4, 0, 0}},
    {"router alert too short", {148, 3, 0, 0}, {}, 21},
    {"CIPSO", {134, 8, 0, 0, 0, 1, 0, 0}, {}, 22},
    {"two source routes", {131, 7, 4, 10, 0, 1, 2, 137, 7, 4, 10, 0, 1, 2, 0, 0}, {}, 27},
    {"source route, length 2", {131, 2, 0, 0}, {}, 21},
};

TEST(IpOptions, OnTheWay) {
    for (const option_case& c : option_cases) {
        SCOPED_TRACE(c.name);
        ip_test_net t;
        bytes packet = ip_packet(with_options(c.in));
        t.rx(t.p0, packet);
        if (c.pointer < 0) {
            EXPECT_EQ(t.sent_one(t.p1).options(), c.out);
        } else {
            ip_view v = t.sent_one(t.p0);
            EXPECT_EQ(v.icmp()->type, ICMP_PARAMETERPROB);
            EXPECT_EQ(be32_to_cpu(v.icmp()->un.gateway), uint32_t(c.pointer) << 24);
            EXPECT_EQ(t.drops(IP_INHDR), 1u);
            EXPECT_EQ(t.ip_stat(ipstats_mib::INHDRERRORS), 1u);
        }
        t.expect_ip_balanced();
    }
}

TEST(IpOptions, TimeStampsAreMillisecondsOfTheDay) {
    ip_test_net t;
    t.advance_ms(86'400'000ull * 3 + 12'345'678);
    t.rx(t.p0, ip_packet(with_options({68, 8, 5, 0, 0, 0, 0, 0})));
    EXPECT_EQ(t.sent_one(t.p1).options(), (bytes{68, 8, 9, 0, 0, 0xbc, 0x61, 0x4e}));
}

TEST(IpOptions, TimeStampWithAddress) {
    ip_test_net t;
    t.advance_ms(1000);
    t.rx(t.p0, ip_packet(with_options({68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0})));
    // The address is where the sender would find us: that of the arrival side (see
    // ip_forward_options).
    EXPECT_EQ(t.sent_one(t.p1).options(), (bytes{68, 12, 13, 1, 10, 0, 0, 1, 0, 0, 0x03, 0xe8}));
}

struct source_route_test : ::testing::Test {
    ip_test_net t;
    void allow() {
        t.n.ipv4.devconf_all.accept_source_route = t.p0->ip_ptr->cnf.accept_source_route = 1;
    }
    void send(bytes options, const char* dst) {
        ip_spec s = with_options(std::move(options));
        s.dst = ip(dst);
        t.rx(t.p0, ip_packet(s));
    }
};

TEST_F(source_route_test, RefusedByDefault) {
    send({131, 7, 4, 10, 0, 1, 2, 0}, "10.0.0.1");
    EXPECT_EQ(t.drops(IP_OPTIONS), 1u);
    EXPECT_EQ(t.sent_count(), 0u);
}

TEST_F(source_route_test, LooseRouteGoesOn) {
    allow();
    send({131, 11, 4, 10, 0, 1, 2, 192, 168, 9, 9, 0}, "10.0.0.1");
    ip_view v = t.sent_one(t.p1);
    EXPECT_EQ(v.ip()->daddr, ip("10.0.1.2"));
    EXPECT_EQ(v.options(), (bytes{131, 11, 8, 10, 0, 1, 1, 192, 168, 9, 9, 0}));
}

TEST_F(source_route_test, LooseRouteNotForUsPasses) {
    allow();
    send({131, 7, 4, 9, 9, 9, 9, 0}, "10.0.1.2");
    EXPECT_EQ(t.sent_one(t.p1).options(), (bytes{131, 7, 4, 9, 9, 9, 9, 0}));
}

TEST_F(source_route_test, StrictRouteNotForUsIsWrong) {
    allow();
    send({137, 7, 4, 9, 9, 9, 9, 0}, "10.0.1.2");
    ip_view v = t.sent_one(t.p0);
    EXPECT_EQ(v.icmp()->type, ICMP_PARAMETERPROB);
    EXPECT_EQ(be32_to_cpu(v.icmp()->un.gateway), 16u << 24);
}

TEST_F(source_route_test, StrictRouteMayNotUseAGateway) {
    allow();
    t.add_route("192.168.0.0/16", "10.0.1.2", nullptr);
    send({137, 7, 4, 192, 168, 1, 1, 0}, "10.0.0.1");
    ip_view v = t.sent_one(t.p0);
    EXPECT_EQ(v.icmp()->type, ICMP_DEST_UNREACH);
    EXPECT_EQ(v.icmp()->code, ICMP_SR_FAILED);
}

TEST_F(source_route_test, OurOwnAddressesAreSkipped) {
    allow();
    send({131, 11, 4, 10, 0, 1, 1, 10, 0, 1, 2, 0}, "10.0.0.1");
    EXPECT_EQ(t.sent_one(t.p1).ip()->daddr, ip("10.0.1.2"));
}

TEST_F(source_route_test, DamagedPointer) {
    allow();
    send({131, 7, 6, 10, 0, 1, 2, 0}, "10.0.0.1");
    ip_view v = t.sent_one(t.p0);
    EXPECT_EQ(v.icmp()->type, ICMP_PARAMETERPROB);
    EXPECT_EQ(be32_to_cpu(v.icmp()->un.gateway), 22u << 24);
}

TEST(IpOptionsEcho, RecordRouteComesBackInTheReply) {
    ip_test_net t;
    ip_spec s{.dst = ip("10.0.0.1"),
              .proto = IPPROTO_ICMP_,
              .options = {7, 15, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
              .payload = icmp_message(8, 0, 1, pattern(8))};
    t.rx(t.p0, ip_packet(s));
    ip_view v = t.sent_one(t.p0);
    EXPECT_EQ(v.options(), (bytes{7, 15, 12, 10, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0}));
    EXPECT_EQ(v.icmp()->type, ICMP_ECHOREPLY);
}

TEST(IpOptionsEcho, ErrorsCarryTheOptionsToo) {
    ip_test_net t;
    ip_spec s = with_options({7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    s.ttl = 1;
    t.rx(t.p0, ip_packet(s));
    ip_view v = t.sent_one(t.p0);
    EXPECT_EQ(v.options(), (bytes{7, 11, 12, 10, 0, 0, 1, 10, 0, 0, 1, 0}));
    EXPECT_EQ(v.quoted().size(), 20u + 12 + 12);
}

TEST(IpOptionsEcho, SourceRouteIsTurnedRound) {
    ip_test_net t;
    t.n.ipv4.devconf_all.accept_source_route = t.p0->ip_ptr->cnf.accept_source_route = 1;
    // It came from 10.0.0.2 by 10.0.0.3 and 10.0.0.4; the route is used up.
    ip_spec s{.dst = ip("10.0.0.1"),
              .proto = IPPROTO_ICMP_,
              .options = {131, 11, 12, 10, 0, 0, 3, 10, 0, 0, 4},
              .payload = icmp_message(8, 0, 1, pattern(8))};
    t.rx(t.p0, ip_packet(s));
    ip_view v = t.sent_one(t.p0);
    EXPECT_EQ(v.ip()->daddr, ip("10.0.0.4"));
    EXPECT_EQ(v.options(), (bytes{131, 11, 4, 10, 0, 0, 3, 10, 0, 0, 2, 0}));
}

} // namespace
} // namespace slabfwd::test
