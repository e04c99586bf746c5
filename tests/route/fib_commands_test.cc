// SPDX-License-Identifier: BSD-3-Clause
//
// What `ip route` commands answer and leave behind. Expectations were taken from a Linux 6.18 that
// was given the same lines.
#include <cerrno>
#include <gmock/gmock.h>

#include "tests/route/fib_router.h"

namespace slabfwd::test {
namespace {

using testing::ElementsAre;

struct command_case {
    const char* line;
    int err;
    const char* text;
};

class fib_commands : public testing::Test {
protected:
    fib_commands() {
        r.setup(R"(
            addr add 10.0.0.1/24 dev p0
            link set p0 up
            addr add 10.0.1.1/24 dev p1
            link set p1 up)");
    }
    void play(std::initializer_list<command_case> cases) {
        for (const command_case& c : cases) {
            EXPECT_EQ(r.ip(c.line), -c.err) << c.line;
            EXPECT_EQ(r.text(), c.text) << c.line;
        }
    }
    fib_router r;
};

constexpr const char* invalid_gateway = "Nexthop has invalid gateway";
constexpr const char* not_for_type =
    "Gateway, device and multipath can not be specified for this route type";

TEST_F(fib_commands, next_hops_are_checked) {
    play(
        {{"route add 30.0.0.0/8 via 99.0.0.1", ENETUNREACH, invalid_gateway},
         {"route add 30.0.0.0/8 via 10.0.0.1", 0, ""}, // an own address passes
         {"route add 30.1.0.0/16 via 10.0.0.255", EINVAL, invalid_gateway},
         {"route add 30.1.0.0/16 via 10.0.0.2 dev p1", ENETUNREACH, invalid_gateway},
         {"route add 30.1.0.0/16 dev p2", ENETDOWN, "Device for nexthop is not up"},
         {"route add 30.1.0.0/16 via 10.0.0.2 dev p2", ENETUNREACH, invalid_gateway},
         {"route add 30.1.0.0/16 via 10.5.0.2 dev p2 onlink", ENETDOWN, "Nexthop device is not up"},
         {"route add 30.1.0.0/16 via 10.5.0.2 onlink", ENODEV,
          "Nexthop device required for onlink"},
         {"route add 30.1.0.0/16 via 10.0.0.1 dev p0 onlink", EINVAL, invalid_gateway},
         {"route add 30.1.0.0/16 dev p0 onlink", EINVAL,
          "Invalid flags for nexthop - PERVASIVE and ONLINK can not be set"},
         {"route add 30.1.0.0/16", ENODEV, ""},
         {"route add 30.1.0.0/16 dev nodev", ENODEV, ""},
         {"route add 30.1.0.0/16 nexthop via 10.0.0.2 nexthop via 99.0.0.1", ENETUNREACH,
          invalid_gateway},
         {"route add 40.0.0.0/8 via 10.0.0.2", 0, ""},
         {"route add 41.0.0.0/8 via 40.0.0.1", ENETUNREACH, invalid_gateway},
         {"route add 41.0.0.0/8 via 10.9.9.9 dev p1 onlink", 0, ""}});
}

TEST_F(fib_commands, words_that_do_not_go_together) {
    play({{"route add 30.0.0.1/8 via 10.0.0.2", EINVAL, "Invalid prefix for given prefix length"},
          {"route add 30.0.0.0/33 via 10.0.0.2", EINVAL, "Invalid prefix length"},
          {"route add 30.0.0.0/8 via 10.0.0.2 src 1.1.1.1", EINVAL, "Invalid prefsrc address"},
          {"route add 30.0.0.0/8 via 10.0.0.2 scope host", EINVAL,
           "Route with host scope can not have a gateway"},
          {"route add 30.0.0.0/8 via 10.0.0.2 scope link", ENETUNREACH, invalid_gateway},
          {"route add blackhole 30.1.0.0/16 via 10.0.0.2", EINVAL, not_for_type},
          {"route add blackhole 30.1.0.0/16 dev p0", EINVAL, not_for_type},
          {"route add local 30.1.0.0/16", ENODEV, ""},
          {"route add local 30.1.1.1 dev lo scope global", EINVAL, "Invalid scope"},
          {"route add nat 30.1.1.1 via 10.0.0.2", EINVAL, "Invalid scope"},
          {"route add 30.2.0.0/16 tos 1 via 10.0.0.2", EINVAL,
           "Invalid dsfield (tos): ECN bits must be 0"},
          {"route add 30.2.0.0/16 nexthop via 10.0.0.2 weight 257 nexthop via 10.0.1.2", EINVAL,
           ""}});
    EXPECT_THAT(r.routes(), ElementsAre("10.0.0.0/24 dev p0 proto kernel scope link src 10.0.0.1",
                                        "10.0.1.0/24 dev p1 proto kernel scope link src 10.0.1.1"));
}

TEST_F(fib_commands, add_append_prepend_replace_change) {
    play({{"route add 40.0.0.0/8 via 10.0.0.2", 0, ""},
          {"route add 40.0.0.0/8 via 10.0.0.3", EEXIST, ""},
          {"route append 40.0.0.0/8 via 10.0.0.3", 0, ""},
          {"route append 40.0.0.0/8 via 10.0.0.3", EEXIST, ""},
          {"route prepend 40.0.0.0/8 via 10.0.0.4", 0, ""},
          {"route replace 40.0.0.0/8 via 10.0.0.3", EEXIST, ""}, // stands further down already
          {"route replace 40.0.0.0/8 via 10.0.0.4", 0, ""},      // stands first already
          {"route replace 40.0.0.0/8 via 10.0.0.5", 0, ""},
          {"route change 40.0.0.0/8 via 10.0.0.6", 0, ""},
          {"route change 40.0.0.0/8 via 10.0.0.6 metric 3", ENOENT, ""},
          {"route change 42.0.0.0/8 via 10.0.0.6", ENOENT, ""},
          {"route add 40.0.0.0/8 via 10.0.0.2 metric 10", 0, ""},
          {"route add 40.0.0.0/8 via 10.0.0.2 metric 5", 0, ""},
          {"route add 40.0.0.0/8 via 10.0.0.2 tos 0x08", 0, ""},
          {"route add 40.0.0.0/8 via 10.0.0.2 tos 0x10", 0, ""},
          {"route add 40.0.0.0/8 via 10.0.0.2 tos 0x10 metric 7", 0, ""},
          {"route add 40.0.0.0/8 via 10.0.0.2 tos 0xe0", 0, ""},
          {"route add unreachable 40.0.0.0/8 tos 0x10 metric 9", 0, ""}});
    EXPECT_THAT(
        r.routes(),
        ElementsAre(
            "10.0.0.0/24 dev p0 proto kernel scope link src 10.0.0.1",
            "10.0.1.0/24 dev p1 proto kernel scope link src 10.0.1.1",
            "40.0.0.0/8 tos 0xe0 via 10.0.0.2 dev p0", "40.0.0.0/8 tos 0x10 via 10.0.0.2 dev p0",
            "40.0.0.0/8 tos 0x10 via 10.0.0.2 dev p0 metric 7",
            "unreachable 40.0.0.0/8 tos 0x10 metric 9", "40.0.0.0/8 tos 0x08 via 10.0.0.2 dev p0",
            "40.0.0.0/8 via 10.0.0.6 dev p0", "40.0.0.0/8 via 10.0.0.2 dev p0",
            "40.0.0.0/8 via 10.0.0.3 dev p0", "40.0.0.0/8 via 10.0.0.2 dev p0 metric 5",
            "40.0.0.0/8 via 10.0.0.2 dev p0 metric 10"));
    // Three bits of a packet's TOS are looked at, so that 0xf0 meets 0x10 and 0xe0 none of them.
    EXPECT_EQ(r.lookup("40.1.1.1 tos 0xf0"), "unicast 40.0.0.0/8 via 10.0.0.2 dev p0");
    EXPECT_EQ(r.lookup("40.1.1.1 tos 0xe0"), "unicast 40.0.0.0/8 via 10.0.0.6 dev p0");
    EXPECT_EQ(r.lookup("40.1.1.1 tos 0x88"), "unicast 40.0.0.0/8 via 10.0.0.2 dev p0");
}

TEST_F(fib_commands, deletion_takes_what_is_named) {
    play({{"route add 20.0.0.0/8 nexthop via 10.0.0.2 nexthop via 10.0.1.2", 0, ""},
          {"route del 20.0.0.0/8 via 10.0.1.2", ESRCH, ""}, // the first next hop counts
          {"route del 20.0.0.0/8 via 10.0.0.2", 0, ""},
          {"route add 20.0.0.0/8 nexthop via 10.0.0.2 nexthop via 10.0.1.2", 0, ""},
          {"route del 20.0.0.0/8 nexthop via 10.0.0.2 nexthop via 10.0.1.3", ESRCH, ""},
          {"route del 20.0.0.0/8 nexthop via 10.0.0.2 nexthop via 10.0.1.2 nexthop via 10.0.1.3", 0,
           ""},
          {"route add 20.0.0.0/8 via 10.0.0.2", 0, ""},
          {"route del 20.0.0.0/8 nexthop via 10.0.0.2 nexthop via 10.0.1.2", 0, ""},
          {"route add 20.0.0.0/8 via 10.0.0.2 metric 5 mtu 1400", 0, ""},
          {"route del 20.0.0.0/8 metric 6", ESRCH, ""},
          {"route del 20.0.0.0/8 mtu 1300", ESRCH, ""},
          {"route del 20.0.0.0/8 tos 8", ESRCH, ""},
          {"route del 20.0.0.0/8 src 10.0.0.1", ESRCH, ""},
          {"route del 20.0.0.0/8 proto static", ESRCH, ""},
          {"route del 20.0.0.0/8 scope link", ESRCH, ""},
          {"route del unreachable 20.0.0.0/8", ESRCH, ""},
          {"route del 20.0.0.0/9", ESRCH, ""},
          {"route del 20.0.0.0/8 dev p1", ESRCH, ""},
          {"route del 20.0.0.0/8 table 999", ESRCH, "FIB table does not exist"},
          {"route del 20.0.0.0/8 dev p0 mtu 1400", 0, ""},
          {"route del 20.0.0.0/8", ESRCH, ""}});
}

TEST_F(fib_commands, ipv6_gateways) {
    play({{"route add 50.0.0.0/8 via inet6 fe80::1 dev p0", 0, ""},
          {"route add 50.1.0.0/16 via inet6 fe80::1", EINVAL, "Egress device not specified"},
          {"route add 50.1.0.0/16 via inet6 2001::1", EHOSTUNREACH, ""},
          {"route add 50.1.0.0/16 via inet6 fe80::1 dev lo", EINVAL,
           "Egress device can not be loopback device for this route"},
          {"route add 50.1.0.0/16 via inet6 fe80::1 dev p2", ENETDOWN, "Nexthop device is not up"},
          {"route add 50.1.0.0/16 via inet6 ff02::1 dev p1", EINVAL, "Invalid gateway address"},
          {"route add 50.2.0.0/16 via inet6 2001::1 dev p1 onlink", 0, ""},
          {"route del 50.2.0.0/16 via inet6 2001::2", ESRCH, ""},
          {"route del 50.2.0.0/16 via inet6 2001::1", 0, ""}});
    EXPECT_EQ(r.routes().back(), "50.0.0.0/8 via inet6 fe80::1 dev p0");
    flowi4 fl4 = parse_flow(r, "50.1.1.1");
    fib_result res;
    ASSERT_EQ(fib_lookup(r.n, &fl4, &res, 0), 0);
    EXPECT_EQ(res.nh()->gw_family, AF_INET6_);
    EXPECT_EQ(res.nh()->fib_nh_scope, RT_SCOPE_LINK);
    fib_select_path(r.n, &res, &fl4, nullptr);
    EXPECT_EQ(fl4.saddr, parse_ip("10.0.0.1"));
}

TEST_F(fib_commands, gateways_are_kept_as_they_were_resolved) {
    r.setup(R"(
        route add 44.0.0.0/8 dev p0
        route add 45.0.0.0/8 via 44.0.0.1
        route del 44.0.0.0/8
        route add 44.0.0.0/8 dev p1)");
    EXPECT_EQ(r.lookup("45.1.1.1"), "unicast 45.0.0.0/8 via 44.0.0.1 dev p0");
}

TEST_F(fib_commands, dump_order_and_tables) {
    r.setup(R"(
        addr add 10.0.2.1/31 dev p1
        addr add 10.0.5.1 peer 10.0.6.0/24 dev p1
        route add default via 10.0.0.2
        route add 0.0.0.0/1 via 10.0.0.2
        route add 10.0.0.0/8 via 10.0.0.2
        route add 10.0.0.0/16 via 10.0.0.3
        route add 10.0.0.0/32 via 10.0.0.3
        route add 192.168.0.0/16 table 100 via 10.0.0.5
        route add 192.168.0.0/16 table 50 via 10.0.0.5
        route add 192.168.0.0/16 table 253 via 10.0.0.5
        route add 192.168.0.0/16 table 511 via 10.0.0.5
        route add 192.168.0.0/16 table 256 via 10.0.0.5
        route add blackhole 9.9.9.0/24
        route add throw 9.9.8.0/24
        route add unreachable default table 100
        route add 172.16.0.0/16 nexthop via 10.0.0.2 weight 3 nexthop via 10.0.1.2 dev p1)");
    EXPECT_THAT(
        r.routes(RT_TABLE_UNSPEC),
        ElementsAre(
            "192.168.0.0/16 via 10.0.0.5 dev p0 table 256",
            "192.168.0.0/16 via 10.0.0.5 dev p0 table 50", "unreachable default table 100",
            "192.168.0.0/16 via 10.0.0.5 dev p0 table 100",
            "192.168.0.0/16 via 10.0.0.5 dev p0 table default", "0.0.0.0/1 via 10.0.0.2 dev p0",
            "default via 10.0.0.2 dev p0", "throw 9.9.8.0/24", "blackhole 9.9.9.0/24",
            "10.0.0.0 via 10.0.0.3 dev p0",
            "10.0.0.0/24 dev p0 proto kernel scope link src 10.0.0.1",
            "10.0.0.0/16 via 10.0.0.3 dev p0", "10.0.0.0/8 via 10.0.0.2 dev p0",
            "10.0.1.0/24 dev p1 proto kernel scope link src 10.0.1.1",
            "10.0.2.0/31 dev p1 proto kernel scope link src 10.0.2.1",
            "10.0.6.0/24 dev p1 proto kernel scope link src 10.0.5.1",
            "172.16.0.0/16 nexthop via 10.0.0.2 dev p0 weight 3 nexthop via 10.0.1.2 dev p1 weight "
            "1",
            "192.168.0.0/16 via 10.0.0.5 dev p0 table 511",
            "local 10.0.0.1 dev p0 table local proto kernel scope host src 10.0.0.1",
            "broadcast 10.0.0.255 dev p0 table local proto kernel scope link src 10.0.0.1",
            "local 10.0.1.1 dev p1 table local proto kernel scope host src 10.0.1.1",
            "broadcast 10.0.1.255 dev p1 table local proto kernel scope link src 10.0.1.1",
            "local 10.0.2.1 dev p1 table local proto kernel scope host src 10.0.2.1",
            "local 10.0.5.1 dev p1 table local proto kernel scope host src 10.0.5.1",
            "broadcast 10.0.6.255 dev p1 table local proto kernel scope link src 10.0.5.1",
            "local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1",
            "local 127.0.0.1 dev lo table local proto kernel scope host src 127.0.0.1",
            "broadcast 127.255.255.255 dev lo table local proto kernel scope link src 127.0.0.1"));
}

TEST_F(fib_commands, types_find_their_tables_and_scopes) {
    r.setup(R"(
        route add multicast 224.0.0.0/4 dev p0
        route add broadcast 10.77.0.255 dev p0
        route add anycast 10.77.0.3 dev p0
        route add throw 10.77.1.0/24 metric 3)");
    const auto local = r.routes(RT_TABLE_LOCAL), main = r.routes();
    EXPECT_THAT(local, testing::Contains("anycast 10.77.0.3 dev p0 scope link"));
    EXPECT_THAT(local, testing::Contains("broadcast 10.77.0.255 dev p0 scope link"));
    EXPECT_THAT(main, testing::Contains("multicast 224.0.0.0/4 dev p0 scope link"));
    EXPECT_THAT(main, testing::Contains("throw 10.77.1.0/24 metric 3"));
}

TEST_F(fib_commands, equal_routes_share_a_fib_info) {
    for (int i = 0; i < 200; ++i)
        ASSERT_EQ(r.ip("route add 60.0." + std::to_string(i) + ".0/24 via 10.0.0.2"), 0);
    const uint32_t shared = r.n.ipv4.fib->fib_info_cnt;
    ASSERT_EQ(r.ip("route add 61.0.0.0/24 via 10.0.0.3"), 0);
    EXPECT_EQ(r.n.ipv4.fib->fib_info_cnt, shared + 1);
    ASSERT_EQ(r.ip("route add 61.1.0.0/24 via 10.0.0.3"), 0);
    EXPECT_EQ(r.n.ipv4.fib->fib_info_cnt, shared + 1);
    for (int i = 0; i < 200; ++i) // more kinds than the hash has buckets at first
        ASSERT_EQ(r.ip("route add 62.0." + std::to_string(i) + ".0/24 via 10.0.0.2 metric " +
                       std::to_string(i + 1)),
                  0);
    EXPECT_EQ(r.n.ipv4.fib->fib_info_cnt, shared + 201);
    EXPECT_EQ(fib_flush_matching(r.n, RT_TABLE_MAIN, RTPROT_BOOT, 0, nullptr, {}, 0), 402);
    EXPECT_EQ(r.n.ipv4.fib->fib_info_cnt, shared - 1);
}

TEST_F(fib_commands, flush_takes_what_is_named) {
    r.setup(R"(
        route add 70.0.0.0/8 via 10.0.0.2 proto static
        route add 70.1.0.0/16 via 10.0.1.2
        route add blackhole 70.2.0.0/16
        route add 71.0.0.0/8 via 10.0.0.2
        route add 70.1.0.0/16 via 10.0.1.2 table 100)");
    const auto [root, root_len] = parse_prefix("70.0.0.0/8");
    EXPECT_EQ(fib_flush_matching(r.n, RT_TABLE_MAIN, RTPROT_STATIC, 0, nullptr, {}, 0), 1);
    EXPECT_EQ(fib_flush_matching(r.n, RT_TABLE_MAIN, 0, RTN_BLACKHOLE, nullptr, {}, 0), 1);
    EXPECT_EQ(fib_flush_matching(r.n, RT_TABLE_MAIN, 0, 0, r.port("p0"), root, root_len), 0);
    EXPECT_EQ(fib_flush_matching(r.n, RT_TABLE_UNSPEC, 0, 0, r.port("p1"), root, root_len), 2);
    EXPECT_EQ(r.routes().back(), "71.0.0.0/8 via 10.0.0.2 dev p0");
}

TEST_F(fib_commands, a_dump_stops_when_told) {
    int seen = 0;
    fib_table_dump(
        r.n, RT_TABLE_UNSPEC,
        [](const fib_route_row&, void* count) { return ++*static_cast<int*>(count) < 3; }, &seen);
    EXPECT_EQ(seen, 3);
}

} // namespace
} // namespace slabfwd::test
