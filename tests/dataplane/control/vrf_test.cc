// SPDX-License-Identifier: BSD-3-Clause
//
// VRFs: made, joined, left and deleted by command lines, and what packets do meanwhile.
#include <gmock/gmock.h>

#include "tests/dataplane/control/control_net.h"

namespace slabfwd::test {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

/// p0 and p1 in VRF red (table 100), p2 and p3 in none; 10.0.0.0/24 and 10.0.1.0/24 in both.
struct Vrf : ::testing::Test {
    control_net r;
    net_device *p2, *p3;

    Vrf() {
        p2 = r.add_port("p2");
        p3 = r.add_port("p3");
        for (const char* line :
             {"ip link add red type vrf table 100", "ip link set dev red up",
              "ip link set dev p0 up", "ip link set dev p1 up", "ip link set dev p2 up",
              "ip link set dev p3 up", "ip addr add 10.0.0.1/24 dev p0",
              "ip link set dev p0 master red", "ip link set dev p1 vrf red",
              "ip addr add 10.0.1.1/24 dev p1", "ip addr add 10.0.0.1/24 dev p2",
              "ip addr add 10.0.1.1/24 dev p3", "sysctl -qw net.ipv4.ip_forward=1"})
            r.must(line);
        for (const char* port : {"0", "1", "2", "3"})
            r.must(std::string("ip neigh add 10.0.") + (*port % 2 ? "1" : "0") +
                   ".2 lladdr 02:00:00:00:00:aa dev p" + port);
        r.enter(0);
        r.take_sent();
    }
    ~Vrf() override {
        r.enter(r.n.control_cpu());
        r.must("ip link del red");
        r.must("ip addr flush dev p2");
        r.must("ip addr flush dev p3");
    }
    control_result run(const std::string& line) {
        r.enter(r.n.control_cpu());
        control_result result = r.run(line);
        r.enter(0);
        return result;
    }
    std::string must(const std::string& line) {
        control_result result = run(line);
        EXPECT_EQ(result.rc, 0) << line << ": " << result.err;
        return result.out;
    }
    /// Ports by which a UDP packet from 10.0.0.2 that came in on dev left.
    std::string forwarded(net_device* dev, const char* dst = "10.0.1.2") {
        ip_spec s{.src = ip("10.0.0.2"), .dst = ip(dst)};
        s.payload = udp_datagram(s, 1, 2, pattern(8));
        r.rx(dev, ip_packet(s));
        std::string ports;
        for (const sent_frame& f : r.take_sent())
            ports += f.dev->name;
        return ports;
    }
};

TEST_F(Vrf, DomainsWithTheSameAddressesDoNotMeet) {
    EXPECT_EQ(forwarded(r.p0), "p1");
    EXPECT_EQ(forwarded(p2), "p3");
    EXPECT_EQ(forwarded(r.p0), "p1"); // by the cache
    must("ip route add 192.0.2.0/24 via 10.0.1.2 vrf red");
    EXPECT_EQ(forwarded(r.p0, "192.0.2.1"), "p1");
    EXPECT_EQ(forwarded(p2, "192.0.2.1"), "p2"); // network unreachable
    must("ip route add 198.51.100.0/24 via 10.0.1.2 dev p3");
    EXPECT_EQ(forwarded(r.p0, "198.51.100.1"), "p3"); // not in table 100: rules go on to main
    must("ip route add unreachable default metric 4278198272 table 100");
    EXPECT_EQ(forwarded(r.p0, "198.51.100.1"), "p0");
}

TEST_F(Vrf, RoutesFollowThePort) {
    EXPECT_THAT(must("ip route show table 100"), HasSubstr("10.0.0.0/24 dev p0"));
    EXPECT_THAT(must("ip route show vrf red"), HasSubstr("10.0.1.0/24 dev p1"));
    EXPECT_THAT(must("ip route show table 100 type local"), HasSubstr("local 10.0.0.1 dev p0"));
    EXPECT_THAT(must("ip route show table local"), Not(HasSubstr("dev p0")));
    EXPECT_THAT(must("ip route"), Not(HasSubstr("dev p0")));
    EXPECT_EQ(must("ip rule"), "0:\tfrom all lookup local\n1000:\tfrom all lookup [l3mdev-table]\n"
                               "32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n");
    must("ip link set dev p0 nomaster");
    EXPECT_THAT(must("ip route"), HasSubstr("10.0.0.0/24 dev p0"));
    EXPECT_THAT(must("ip route show table 100"), Not(HasSubstr("dev p0")));
    must("ip link add blue type vrf table 200");
    must("ip link set dev p1 master blue"); // from one to the other
    EXPECT_THAT(must("ip route show table 200"), HasSubstr("10.0.1.0/24 dev p1"));
    must("ip link del blue");
    EXPECT_THAT(must("ip route"), HasSubstr("10.0.1.0/24 dev p1"));
}

TEST_F(Vrf, AnswersComeFromItsOwnDomain) {
    ip_spec s{.src = ip("10.0.0.2"), .dst = ip("10.0.0.1"), .proto = IPPROTO_ICMP_};
    s.payload = icmp_message(ICMP_ECHO, 0, 7, pattern(8));
    r.rx(r.p0, ip_packet(s));
    ip_view reply = r.sent_one(r.p0);
    EXPECT_EQ(reply.icmp()->type, ICMP_ECHOREPLY);
    s.dst = ip("10.0.1.1"); // an address of another port of the domain
    r.rx(r.p0, ip_packet(s));
    EXPECT_EQ(r.sent_one(r.p0).ip()->saddr, ip("10.0.1.1"));
    s.dst = ip("10.0.1.2");
    s.ttl = 1;
    r.rx(r.p0, ip_packet(s));
    ip_view error = r.sent_one(r.p0);
    EXPECT_EQ(error.icmp()->type, ICMP_TIME_EXCEEDED);
    EXPECT_EQ(error.ip()->saddr, ip("10.0.0.1"));
}

TEST_F(Vrf, HooksSeeThePortThenTheVrf) {
    for (const char* line :
         {"-t raw -A PREROUTING -i p0", "-t raw -A PREROUTING -i red", "-A FORWARD -i red -o p1",
          "-A FORWARD -i p0", "-A INPUT -i red", "-A OUTPUT -o red", "-A OUTPUT -o p0",
          "-t mangle -A POSTROUTING -o red"})
        must(std::string("iptables ") + line);
    EXPECT_EQ(forwarded(r.p0), "p1");
    ip_spec s{.src = ip("10.0.0.2"), .dst = ip("10.0.0.1"), .proto = IPPROTO_ICMP_};
    s.payload = icmp_message(ICMP_ECHO, 0, 7, pattern(8));
    r.rx(r.p0, ip_packet(s));
    r.take_sent();
    EXPECT_THAT(must("iptables -t raw -vS PREROUTING"),
                AllOf(HasSubstr("-i p0 -c 2 72"), HasSubstr("-i red -c 2 72")));
    EXPECT_THAT(must("iptables -vS"),
                AllOf(HasSubstr("-i red -o p1 -c 1 36"), HasSubstr("FORWARD -i p0 -c 0 0"),
                      HasSubstr("INPUT -i red -c 1 36"), HasSubstr("OUTPUT -o red -c 1 36"),
                      HasSubstr("OUTPUT -o p0 -c 1 36")));
    EXPECT_THAT(must("iptables -t mangle -vS POSTROUTING"), HasSubstr("-o red -c 1 36"));
    EXPECT_THAT(must("ip -s link show red"), ContainsRegex("72 +2 ")); // received
}

TEST_F(Vrf, ShownAsIpDoes) {
    EXPECT_THAT(must("ip link show red"),
                HasSubstr("red: <NOARP,MASTER,UP,LOWER_UP> mtu 65575 qdisc noqueue state UP"));
    EXPECT_THAT(must("ip link show p0"), HasSubstr("qdisc noqueue master red state UP"));
    EXPECT_THAT(must("ip -d link show red"), HasSubstr("\n    vrf table 100 "));
    EXPECT_THAT(must("ip -d link show p0"), HasSubstr("\n    vrf_slave table 100 "));
    EXPECT_THAT(must("ip -br link show master red"),
                AllOf(HasSubstr("p0"), HasSubstr("p1"), Not(HasSubstr("p2"))));
    EXPECT_THAT(must("ip -j link show type vrf"), HasSubstr("\"ifname\":\"red\""));
    EXPECT_THAT(must("ip route get 10.0.1.2 vrf red"), HasSubstr("dev p1 table 100"));
}

TEST_F(Vrf, RefusedAsLinuxRefuses) {
    EXPECT_EQ(run("ip link add red type vrf table 7").err, "RTNETLINK answers: File exists\n");
    EXPECT_EQ(run("ip link add b type vrf").err, "Error: VRF table id is missing.\n");
    EXPECT_EQ(run("ip link add b type vrf table 0").err, "Error: Invalid VRF table id.\n");
    EXPECT_EQ(run("ip link add b type vrf table x").err,
              "Error: argument \"x\" is wrong: invalid table ID\n\n");
    EXPECT_EQ(run("ip link add b type vrf up").err,
              "vrf: unknown option \"up\"?\nUsage: ... vrf table TABLEID\n");
    EXPECT_EQ(run("ip link set dev lo master red").err,
              "Error: Can not enslave loopback device to a VRF.\n");
    EXPECT_EQ(run("ip link set dev red master red").err,
              "Error: Can not enslave an L3 master device to a VRF.\n");
    EXPECT_EQ(run("ip link set dev p2 master p3").err,
              "RTNETLINK answers: Operation not supported\n");
    EXPECT_EQ(run("ip link set dev p2 vrf p3").err,
              "Error: argument \"p3\" is wrong: Not a valid VRF name\n\n");
    EXPECT_EQ(run("ip link del p2").err, "RTNETLINK answers: Operation not supported\n");
    EXPECT_EQ(run("ip route show vrf p2").err, "Error: argument \"p2\" is wrong: Invalid VRF\n\n");
    EXPECT_THAT(must("ip link show p2"), Not(HasSubstr("master")));
}

TEST(VrfLife, ManyTimesOverWithTrafficInBetween) {
    control_net r;
    for (const char* line :
         {"ip link set dev p0 up", "ip link set dev p1 up", "ip addr add 10.0.0.1/24 dev p0",
          "ip addr add 10.0.1.1/24 dev p1", "sysctl -qw net.ipv4.ip_forward=1"})
        r.must(line);
    ip_spec s{.src = ip("10.0.0.2"), .dst = ip("10.0.1.2")};
    s.payload = udp_datagram(s, 1, 2, pattern(8));
    ip_spec local{.src = ip("10.0.0.2"), .dst = ip("10.0.0.1"), .proto = IPPROTO_ICMP_};
    local.payload = icmp_message(ICMP_ECHO, 0, 7, pattern(8));
    for (int i = 0; i < 20; ++i) {
        r.enter(r.n.control_cpu());
        r.must("ip link add type vrf table 100");
        r.must("ip link set dev vrf0 up");
        r.must("ip link set dev p0 vrf vrf0");
        r.must("ip link set dev p1 vrf vrf0");
        r.must("ip neigh replace 10.0.0.2 lladdr 02:00:00:00:00:aa dev p0");
        r.must("ip neigh replace 10.0.1.2 lladdr 02:00:00:00:00:aa dev p1");
        r.enter(0);
        r.rx(r.p0, ip_packet(s));
        r.rx(r.p0, ip_packet(local));
        EXPECT_EQ(r.take_sent().size(), 2u) << i;
        r.enter(r.n.control_cpu());
        r.must("ip link del vrf0");
        r.enter(0);
    }
    r.enter(r.n.control_cpu());
    r.must("ip link add last type vrf table 9"); // left to the net's end
}

} // namespace
} // namespace slabfwd::test
