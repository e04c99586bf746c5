// SPDX-License-Identifier: BSD-3-Clause
//
// Next hops typed as commands and met by packets: IPv6 ones with their neighbours, several of them,
// and what becomes of both when a link goes down.
#include <gmock/gmock.h>
#include <set>

#include "neigh/ndisc.h"
#include "tests/dataplane/control/control_net.h"

namespace slabfwd::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Nexthop : ::testing::Test {
    control_net r;

    Nexthop() {
        for (const char* line : TWO_PORTS)
            r.must(line);
        r.must("ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:aa dev p0");
        r.enter(0);
    }
    ~Nexthop() override { r.enter(r.n.control_cpu()); }
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
    void rx(const char* dst, uint16_t sport = 1) {
        ip_spec s{.src = ip("10.0.0.2"), .dst = ip(dst)};
        s.payload = udp_datagram(s, sport, 2, pattern(8));
        r.rx(r.p0, ip_packet(s));
    }
    /// Destination MAC of the only frame that left by p1; empty: there is none.
    std::string sent_to(const char* dst, uint16_t sport = 1) {
        rx(dst, sport);
        auto frames = r.take_sent();
        if (frames.size() != 1 || frames[0].dev != r.p1)
            return "";
        EXPECT_EQ(eth_proto(frames[0].data), ETH_P_IP);
        const uint8_t* d = frames[0].data.data();
        char text[18];
        snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", d[0], d[1], d[2], d[3], d[4],
                 d[5]);
        return text;
    }
};

TEST_F(Nexthop, Ipv4PacketsToAnIpv6Gateway) {
    must("ip route add 192.0.2.0/24 via inet6 fe80::2 dev p1");
    must("ip -6 neigh add fe80::2 lladdr 02:00:00:00:00:22 dev p1");
    for (int i = 0; i < 3; ++i) // made, then by the cache
        EXPECT_EQ(sent_to("192.0.2.7"), "02:00:00:00:00:22");
    must("ip neigh replace fe80::2 lladdr 02:00:00:00:00:33 dev p1");
    EXPECT_EQ(sent_to("192.0.2.7"), "02:00:00:00:00:33");
    must("ip route replace 192.0.2.0/24 via inet6 fe80::3 dev p1");
    must("ip neigh add fe80::3 lladdr 02:00:00:00:00:44 dev p1 nud reachable");
    EXPECT_EQ(sent_to("192.0.2.7"), "02:00:00:00:00:44");
    run("ip neigh add 0.0.0.1 lladdr 02:00:00:00:00:55 dev p1"); // no other table's entry
    EXPECT_EQ(sent_to("192.0.2.7"), "02:00:00:00:00:44");
    EXPECT_THAT(must("ip route get 192.0.2.7"), HasSubstr("via inet6 fe80::3 dev p1"));
    EXPECT_THAT(must("ip route"), HasSubstr("192.0.2.0/24 via inet6 fe80::3 dev p1 \n"));
}

TEST_F(Nexthop, NobodyAnswersForAnIpv6NeighbourThatIsNotThere) {
    must("ip route add 192.0.2.0/24 via inet6 fe80::9 dev p1");
    rx("192.0.2.7");
    EXPECT_EQ(r.sent_count(), 0u);
    EXPECT_EQ(neigh_held(r.n), 1);
    r.advance_ms(4000);
    r.end_burst();
    ip_view error = r.sent_one(r.p0);
    EXPECT_EQ(error.icmp()->type, ICMP_DEST_UNREACH);
    EXPECT_EQ(error.icmp()->code, ICMP_HOST_UNREACH);
    EXPECT_THAT(must("ip -6 neigh"), HasSubstr("fe80::9 dev p1 FAILED"));
    must("ip neigh replace fe80::9 lladdr 02:00:00:00:00:99 dev p1"); // known after all
    EXPECT_EQ(sent_to("192.0.2.7"), "02:00:00:00:00:99");
}

TEST_F(Nexthop, Ipv6NeighboursAreShownByFamily) {
    must("ip neigh add fe80::2 lladdr 02:00:00:00:00:22 dev p1");
    must("ip neigh add 10.0.1.77 lladdr 02:00:00:00:00:77 dev p1");
    const std::string six = "fe80::2 dev p1 lladdr 02:00:00:00:00:22 PERMANENT";
    EXPECT_THAT(must("ip neigh"), AllOf(HasSubstr(six), HasSubstr("10.0.1.77")));
    EXPECT_THAT(must("ip -6 neigh"), AllOf(HasSubstr(six), Not(HasSubstr("10.0.1.77"))));
    EXPECT_THAT(must("ip -4 neigh"), Not(HasSubstr("fe80")));
    EXPECT_THAT(must("cat /proc/net/arp"), Not(HasSubstr("00:22")));
    EXPECT_EQ(run("ip neigh add fe80::2 lladdr 02:00:00:00:00:23 dev p1").err,
              "RTNETLINK answers: File exists\n");
    EXPECT_EQ(run("ip -4 neigh add fe80::5 lladdr 02:00:00:00:00:23 dev p1").err,
              "Error: inet address is expected rather than \"fe80::5\".\n");
    must("ip neigh del fe80::2 dev p1");
    EXPECT_EQ(must("ip -6 neigh"), "");
    must("ip neigh add fe80::2 lladdr 02:00:00:00:00:22 dev p1");
    must("ip link set dev p1 down"); // with the link go its neighbours
    EXPECT_EQ(must("ip -6 neigh"), "");
}

TEST_F(Nexthop, ADownLinkTakesItsNextHopsOut) {
    net_device* p2 = r.add_port("p2");
    must("ip link set dev p2 up");
    must("ip addr add 10.0.2.1/24 dev p2");
    must("ip neigh add 10.0.1.2 lladdr 02:00:00:00:00:12 dev p1");
    must("ip neigh add 10.0.2.2 lladdr 02:00:00:00:00:13 dev p2");
    must("ip route add 192.0.2.0/24 nexthop via 10.0.1.2 weight 1 nexthop via 10.0.2.2 weight 1");
    must("sysctl -qw net.ipv4.fib_multipath_hash_policy=1");
    auto ports = [&] {
        std::set<std::string> seen;
        for (uint16_t sport = 1; sport < 64; ++sport) {
            rx("192.0.2.7", sport);
            for (const sent_frame& f : r.take_sent())
                seen.insert(f.dev->name);
        }
        return seen;
    };
    EXPECT_EQ(ports(), (std::set<std::string>{"p1", "p2"}));
    must("sysctl -qw net.ipv4.conf.all.ignore_routes_with_linkdown=1");
    r.enter(r.n.control_cpu());
    netif_carrier_set(p2, false);
    r.enter(0);
    EXPECT_THAT(must("ip route show 192.0.2.0/24"), HasSubstr("linkdown"));
    EXPECT_EQ(ports(), (std::set<std::string>{"p1"}));
    must("ip link set dev p2 down");
    EXPECT_THAT(must("ip route show 192.0.2.0/24"), HasSubstr("dead"));
    EXPECT_EQ(ports(), (std::set<std::string>{"p1"}));
    r.enter(r.n.control_cpu());
    netif_carrier_set(p2, true);
    r.enter(0);
    must("ip link set dev p2 up");
    must("ip neigh replace 10.0.2.2 lladdr 02:00:00:00:00:13 dev p2");
    EXPECT_EQ(ports(), (std::set<std::string>{"p1", "p2"}));
    must("ip link set dev p2 down");
    must("ip addr flush dev p2");
}

} // namespace
} // namespace slabfwd::test
