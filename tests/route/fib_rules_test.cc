// SPDX-License-Identifier: BSD-3-Clause
//
// `ip rule`: the list, its order, what rules match, what their actions do. The first test's
// expectations were taken from a Linux 6.18 given the same lines.
#include <cerrno>
#include <gmock/gmock.h>

#include "tests/route/fib_router.h"

namespace slabfwd::test {
namespace {

using testing::ElementsAre;

class fib_rules : public testing::Test {
protected:
    fib_rules() {
        r.setup(R"(
            addr add 10.0.0.1/24 dev p0
            link set p0 up
            addr add 10.0.1.1/24 dev p1
            link set p1 up
            route add 20.0.0.0/8 via 10.0.0.2
            route add 20.0.0.0/8 via 10.0.0.7 table 7
            route add 20.0.0.0/8 via 10.0.0.9 table 9)");
    }
    std::string gw(const std::string& words) {
        const std::string found = r.lookup(words);
        const size_t via = found.find("via ");
        return via == std::string::npos ? found
                                        : found.substr(via + 4, found.find(" dev") - via - 4);
    }
    fib_router r;
};

TEST_F(fib_rules, adding_deleting_and_order) {
    EXPECT_THAT(r.rules(), ElementsAre("0: from all lookup local", "32766: from all lookup main",
                                       "32767: from all lookup default"));
    r.setup(R"(
        rule add from 1.2.3.4 table 100
        rule add from 1.2.3.4 table 100
        rule add from 1.2.3.4 table 100 prio 500)");
    EXPECT_EQ(r.ip("rule add from 1.2.3.4 table 100 prio 500"), -EEXIST);
    r.setup(R"(
        rule add prio 501
        rule add from 1.2.3.0/24 iif p0 oif p1 fwmark 0x10/0xf0 tos 0x10 ipproto udp sport 10-20 dport 53 table 7 prio 77 suppress_prefixlength 0
        rule add unreachable to 5.5.5.5
        rule add not from 5.5.5.5 iif nodev table 9)");
    EXPECT_EQ(r.ip("rule add tos 3 table 9"), -EINVAL);
    EXPECT_EQ(r.text(), "Invalid dsfield (tos): ECN bits must be 0");
    EXPECT_EQ(r.ip("rule add tos 0xb8 table 9"), -EINVAL);
    EXPECT_EQ(r.text(), "Invalid tos");
    EXPECT_THAT(
        r.rules(),
        ElementsAre("0: from all lookup local",
                    "75: not from 5.5.5.5 iif nodev [detached] lookup 9",
                    "76: from all to 5.5.5.5 unreachable",
                    "77: from 1.2.3.0/24 tos 0x10 fwmark 0x10/0xf0 iif p0 oif p1 ipproto 17 sport "
                    "10-20 dport 53 lookup 7 suppress_prefixlength 0",
                    "500: from 1.2.3.4 lookup 100", "501: from all lookup main",
                    "32764: from 1.2.3.4 lookup 100", "32765: from 1.2.3.4 lookup 100",
                    "32766: from all lookup main", "32767: from all lookup default"));
    EXPECT_EQ(r.ip("rule del prio 99"), -ENOENT);
    EXPECT_EQ(r.ip("rule del table 77"), -ENOENT);
    r.setup(
        "rule del from 1.2.3.4\nrule del prio 501\nrule del not from 5.5.5.5\nrule del prio 77");
    EXPECT_THAT(r.rules(),
                ElementsAre("0: from all lookup local", "76: from all to 5.5.5.5 unreachable",
                            "32764: from 1.2.3.4 lookup 100", "32765: from 1.2.3.4 lookup 100",
                            "32766: from all lookup main", "32767: from all lookup default"));
}

TEST_F(fib_rules, rules_that_are_there_already) {
    const struct {
        const char* line;
        int err;
    } cases[] = {{"rule add prio 5 from 1.1.1.1 table 9", 0},
                 {"rule add prio 5 from 1.1.1.1 table 9", EEXIST},
                 {"rule add prio 5 table 9", EEXIST}, // what is not given is not compared
                 {"rule add prio 5 from 1.1.1.2 table 9", 0},
                 {"rule add prio 6 from 1.1.1.1 table 9", 0},
                 {"rule add prio 60 from 1.1.1.1 iif lo fwmark 4 ipproto udp table 10", 0},
                 {"rule add prio 60 from 1.1.1.1 table 10", 0},
                 {"rule add prio 60 from 1.1.1.1 fwmark 4 table 10", 0},
                 {"rule add prio 60 tos 8 table 11", 0},
                 {"rule add prio 60 table 11", EEXIST},
                 {"rule add prio 61 not from 2.2.2.2 table 11", 0},
                 {"rule add prio 61 from 2.2.2.2 table 11", EEXIST},
                 {"rule add prio 62 unreachable", 0},
                 {"rule add prio 62 table 12", 0},
                 {"rule add prio 63 table 12 suppress_prefixlength 3", 0},
                 {"rule add prio 63 table 12", 0},
                 {"rule add prio 64 table 12 sport 5", 0},
                 {"rule add prio 64 table 12", 0}};
    for (const auto& c : cases)
        EXPECT_EQ(r.ip(c.line), -c.err) << c.line;
}

struct match_case {
    const char* rule;
    const char* hits;
    const char* misses;
};

TEST_F(fib_rules, selectors) {
    const match_case cases[] = {
        {"from 1.2.0.0/16", "20.0.0.1 from 1.2.9.9", "20.0.0.1 from 1.3.9.9"},
        {"to 20.1.0.0/16", "20.1.0.1", "20.2.0.1"},
        {"iif p1", "20.0.0.1 iif p1", "20.0.0.1 iif p0"},
        {"iif lo", "20.0.0.1", "20.0.0.1 iif p0"},
        {"oif p0", "20.0.0.1 oif p0", "20.0.0.1"},
        {"tos 0x10", "20.0.0.1 tos 0xf0", "20.0.0.1 tos 0x08"},
        {"fwmark 0x10/0xf0", "20.0.0.1 mark 0x1f", "20.0.0.1 mark 0x21"},
        {"fwmark 5", "20.0.0.1 mark 5", "20.0.0.1 mark 7"},
        {"ipproto udp", "20.0.0.1 ipproto udp", "20.0.0.1 ipproto tcp"},
        {"sport 10-20", "20.0.0.1 sport 20", "20.0.0.1 sport 21"},
        {"dport 53", "20.0.0.1 dport 53", "20.0.0.1 dport 54"},
        {"not from 1.2.0.0/16", "20.0.0.1 from 1.3.9.9", "20.0.0.1 from 1.2.9.9"},
    };
    for (const match_case& c : cases) {
        ASSERT_EQ(r.ip(std::string("rule add ") + c.rule + " table 7"), 0) << c.rule;
        EXPECT_EQ(gw(c.hits), "10.0.0.7") << c.rule;
        EXPECT_EQ(gw(c.misses), "10.0.0.2") << c.rule;
        ASSERT_EQ(r.ip(std::string("rule del ") + c.rule + " table 7"), 0) << c.rule;
        EXPECT_EQ(gw(c.hits), "10.0.0.2") << c.rule;
    }
}

TEST_F(fib_rules, actions) {
    r.setup(R"(
        rule add prio 10 from 1.0.0.1 blackhole
        rule add prio 11 from 1.0.0.2 unreachable
        rule add prio 12 from 1.0.0.3 prohibit
        rule add prio 13 from 1.0.0.4 table 1234
        rule add prio 14 from 1.0.0.5 table 7 suppress_prefixlength 8
        rule add prio 15 from 1.0.0.6 table 7 suppress_prefixlength 7)");
    EXPECT_EQ(gw("20.0.0.1 from 1.0.0.1"), "error " + std::to_string(EINVAL));
    EXPECT_EQ(gw("20.0.0.1 from 1.0.0.2"), "error " + std::to_string(ENETUNREACH));
    EXPECT_EQ(gw("20.0.0.1 from 1.0.0.3"), "error " + std::to_string(EACCES));
    EXPECT_EQ(gw("20.0.0.1 from 1.0.0.4"), "10.0.0.2"); // no such table: the next rule
    EXPECT_EQ(gw("20.0.0.1 from 1.0.0.5"), "10.0.0.2");
    EXPECT_EQ(gw("20.0.0.1 from 1.0.0.6"), "10.0.0.7");
    r.setup("route add throw 20.9.0.0/16 table 7\nrule add prio 5 to 20.9.0.0/16 table 7");
    EXPECT_EQ(gw("20.9.0.1"), "10.0.0.2");
    r.setup("rule del prio 32766");
    EXPECT_EQ(gw("20.9.0.1"), "error " + std::to_string(ENETUNREACH));
}

TEST_F(fib_rules, a_goto_goes_to_the_first_rule_of_its_priority) {
    r.setup(R"(
        rule add prio 10 from 1.0.0.1 goto 30
        rule add prio 20 from 1.0.0.0/24 table 9
        rule add prio 30 from 1.0.0.9 blackhole
        rule add prio 30 table 7)");
    EXPECT_EQ(gw("20.0.0.1 from 1.0.0.1"), "10.0.0.7"); // its own target does not match: the next
    EXPECT_EQ(gw("20.0.0.1 from 1.0.0.2"), "10.0.0.9");
    EXPECT_EQ(r.ip("rule add prio 10 from 1.0.0.1 goto 40"), -EEXIST); // where to is not compared
    EXPECT_EQ(r.ip("rule add prio 11 goto 11"), -EINVAL);
    EXPECT_EQ(r.text(), "Backward goto not supported");
    EXPECT_EQ(r.ip("rule add prio 11 goto 0"), -EINVAL);
    EXPECT_EQ(r.text(), "Backward goto not supported");

    r.setup("rule del prio 30 blackhole"); // the other one takes its place
    EXPECT_EQ(r.rules()[1], "10: from 1.0.0.1 goto 30");
    EXPECT_EQ(gw("20.0.0.1 from 1.0.0.1"), "10.0.0.7");
    r.setup("rule del prio 30");
    EXPECT_EQ(r.rules()[1], "10: from 1.0.0.1 goto 30 [unresolved]");
    EXPECT_EQ(gw("20.0.0.1 from 1.0.0.1"), "10.0.0.9"); // nowhere to go: the rule is passed over
    r.setup("rule add prio 30 from 1.0.0.1 nop\nrule add prio 29 goto 32766");
    EXPECT_EQ(r.rules()[1], "10: from 1.0.0.1 goto 30");
    EXPECT_EQ(gw("20.0.0.1 from 1.0.0.1"), "10.0.0.2");
    r.setup("rule del prio 20\nrule add prio 31 from 1.0.0.0/24 table 7");
    EXPECT_EQ(gw("20.0.0.1 from 1.0.0.1"), "10.0.0.7");
    EXPECT_EQ(gw("20.0.0.1 from 1.0.0.2"), "10.0.0.2"); // past 31
}

TEST_F(fib_rules, routes_out_of_a_group_of_devices_do_not_count) {
    r.setup("rule add prio 10 table 7 suppress_ifgroup 5");
    EXPECT_EQ(gw("20.0.0.1"), "10.0.0.7");
    r.setup("rule add prio 9 table 9 suppress_ifgroup 0"); // all devices are of group 0
    EXPECT_EQ(gw("20.0.0.1"), "10.0.0.7");
    EXPECT_EQ(gw("20.0.0.1 from 1.0.0.1"), "10.0.0.7");
    r.setup("route add blackhole 20.7.0.0/16 table 9"); // out of no device
    EXPECT_EQ(gw("20.7.0.1"), "error " + std::to_string(EINVAL));
}

TEST_F(fib_rules, devices_that_come_later) {
    r.setup("rule add iif p9 table 7 prio 3");
    EXPECT_EQ(r.rules()[1], "3: from all iif p9 [detached] lookup 7");
    net_device* p9 = r.add_port("p9");
    EXPECT_EQ(r.rules()[1], "3: from all iif p9 lookup 7");
    EXPECT_EQ(gw("20.0.0.1 iif p9"), "10.0.0.7");
    r.enter(r.n.control_cpu());
    unregister_netdevice(p9);
    EXPECT_EQ(r.rules()[1], "3: from all iif p9 [detached] lookup 7");
}

TEST_F(fib_rules, ports_are_read_only_when_asked_for) {
    sk_buff* skb = make_skb(udp_packet(parse_ip("1.1.1.1"), parse_ip("2.2.2.2"), 8, 64, 1000, 53),
                            r.port("p0"));
    skb_reset_network_header(skb);
    flowi4 fl4;
    EXPECT_FALSE(fib4_rules_early_flow_dissect(r.n, skb, &fl4));
    r.setup("rule add dport 53 table 7");
    EXPECT_TRUE(fib4_rules_early_flow_dissect(r.n, skb, &fl4));
    EXPECT_EQ(fl4.flowi4_proto, IPPROTO_UDP_);
    EXPECT_EQ(be16_to_cpu(fl4.fl4_sport), 1000);
    EXPECT_EQ(be16_to_cpu(fl4.fl4_dport), 53);
    r.setup("rule del dport 53");
    EXPECT_FALSE(fib4_rules_early_flow_dissect(r.n, skb, &fl4));
    consume_skb(skb);
}

} // namespace
} // namespace slabfwd::test
