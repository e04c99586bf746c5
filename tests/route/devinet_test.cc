// SPDX-License-Identifier: BSD-3-Clause
//
// Addresses, and what happens to routes when addresses and links come and go. Expectations were
// taken from a Linux 6.18 given the same lines.
#include <cerrno>
#include <gmock/gmock.h>

#include "tests/route/fib_router.h"

namespace slabfwd::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

class devinet : public testing::Test {
protected:
    fib_router r;
    std::vector<std::string> local_of(const char* dev) {
        std::vector<std::string> lines;
        for (const std::string& line : r.routes(RT_TABLE_LOCAL))
            if (line.find(std::string("dev ") + dev) != std::string::npos)
                lines.push_back(line.substr(0, line.find(" dev")) + line.substr(line.find(" src")));
        return lines;
    }
};

TEST_F(devinet, lo_has_its_address_when_up) {
    EXPECT_THAT(r.addresses("lo"), ElementsAre("127.0.0.1/8"));
    EXPECT_THAT(
        r.routes(RT_TABLE_LOCAL),
        ElementsAre("local 127.0.0.0/8 dev lo proto kernel scope host src 127.0.0.1",
                    "local 127.0.0.1 dev lo proto kernel scope host src 127.0.0.1",
                    "broadcast 127.255.255.255 dev lo proto kernel scope link src 127.0.0.1"));
    EXPECT_EQ(r.port("lo")->ip_ptr->ifa_list->ifa_scope, RT_SCOPE_HOST);
}

TEST_F(devinet, what_an_address_brings) {
    r.setup("link set p0 up\naddr add 10.0.0.1/24 dev p0");
    EXPECT_THAT(local_of("p0"),
                ElementsAre("local 10.0.0.1 src 10.0.0.1", "broadcast 10.0.0.255 src 10.0.0.1"));
    EXPECT_THAT(r.routes(), ElementsAre("10.0.0.0/24 dev p0 proto kernel scope link src 10.0.0.1"));
    r.setup("addr del 10.0.0.1/24 dev p0\naddr add 10.0.1.1/31 dev p0");
    EXPECT_THAT(local_of("p0"), ElementsAre("local 10.0.1.1 src 10.0.1.1"));
    EXPECT_THAT(r.routes(), ElementsAre("10.0.1.0/31 dev p0 proto kernel scope link src 10.0.1.1"));
    r.setup("addr del 10.0.1.1/31 dev p0\naddr add 10.0.2.1/32 dev p0");
    EXPECT_THAT(local_of("p0"), ElementsAre("local 10.0.2.1 src 10.0.2.1"));
    EXPECT_THAT(r.routes(), IsEmpty());
    r.setup("addr add 10.0.5.1 peer 10.0.6.0/24 dev p0");
    EXPECT_THAT(local_of("p0"),
                ElementsAre("local 10.0.2.1 src 10.0.2.1", "local 10.0.5.1 src 10.0.5.1",
                            "broadcast 10.0.6.255 src 10.0.5.1"));
    EXPECT_THAT(r.routes(), ElementsAre("10.0.6.0/24 dev p0 proto kernel scope link src 10.0.5.1"));
    r.setup("addr add 10.7.0.1/24 brd 10.7.0.128 dev p0 noprefixroute");
    EXPECT_THAT(local_of("p0"), Contains("broadcast 10.7.0.128 src 10.7.0.1"));
    EXPECT_THAT(local_of("p0"), Contains("broadcast 10.7.0.255 src 10.7.0.1"));
    EXPECT_THAT(r.routes(), ElementsAre("10.0.6.0/24 dev p0 proto kernel scope link src 10.0.5.1"));
    r.setup("addr add 10.8.0.1/24 dev p0 metric 77\naddr replace 10.8.0.1/24 dev p0 metric 78");
    EXPECT_THAT(r.routes(),
                Contains("10.8.0.0/24 dev p0 proto kernel scope link src 10.8.0.1 metric 78"));
    EXPECT_THAT(r.routes(),
                Not(Contains("10.8.0.0/24 dev p0 proto kernel scope link src 10.8.0.1 metric 77")));
    r.setup("addr del 10.8.0.1/24 dev p0");
    EXPECT_THAT(r.routes(), ElementsAre("10.0.6.0/24 dev p0 proto kernel scope link src 10.0.5.1"));
}

TEST_F(devinet, commands_that_fail) {
    r.setup("link set p1 up\naddr add 10.0.1.1/24 dev p1");
    const struct {
        const char* line;
        int err;
        const char* text;
    } cases[] = {
        {"addr add 10.0.1.1/24 dev p1", EEXIST, "ipv4: Address already assigned"},
        {"addr add 10.0.1.1/24 dev p1 scope link", EEXIST, "ipv4: Address already assigned"},
        {"addr add 10.0.1.2/24 dev p1 scope link", EINVAL, "ipv4: Invalid scope value"},
        {"addr del 10.0.1.77/24 dev p1", EADDRNOTAVAIL, "ipv4: Address not found"},
        {"addr del 10.0.1.1/25 dev p1", EADDRNOTAVAIL, "ipv4: Address not found"},
        {"addr del 10.0.1.1/24 dev p1 label other", EADDRNOTAVAIL, "ipv4: Address not found"},
        {"addr add 10.0.1.2/33 dev p1", EINVAL, "ipv4: Invalid prefix length"},
        {"addr add 10.0.1.2/24 dev nodev", ENODEV, "ipv4: Device not found"},
        {"addr del 10.0.1.1/24 dev nodev", ENODEV, "ipv4: Device not found"}};
    for (const auto& c : cases) {
        EXPECT_EQ(r.ip(c.line), -c.err) << c.line;
        EXPECT_EQ(r.text(), c.text) << c.line;
    }
    EXPECT_THAT(r.addresses("p1"), ElementsAre("10.0.1.1/24"));
    r.setup("addr del 10.0.1.1 dev p1"); // of any length
    EXPECT_THAT(r.addresses("p1"), IsEmpty());
}

TEST_F(devinet, order_of_addresses) {
    r.setup(R"(
        addr add 10.0.1.1/24 dev p1
        addr add 10.0.1.2/24 dev p1
        addr add 10.0.3.2/24 dev p1
        addr add 10.0.9.1/24 dev p1 scope link
        addr add 10.0.4.2/24 dev p1)");
    EXPECT_THAT(r.addresses("p1"), ElementsAre("10.0.9.1/24", "10.0.1.1/24", "10.0.3.2/24",
                                               "10.0.4.2/24", "10.0.1.2/24 secondary"));
}

TEST_F(devinet, secondaries_go_with_their_primary) {
    r.setup(R"(
        link set p1 up
        addr add 10.0.1.1/24 dev p1
        addr add 10.0.1.9/24 dev p1
        addr add 10.0.2.1/24 dev p1)");
    EXPECT_THAT(local_of("p1"), Contains("local 10.0.1.9 src 10.0.1.1"));
    r.setup("addr del 10.0.1.1/24 dev p1");
    EXPECT_THAT(r.addresses("p1"), ElementsAre("10.0.2.1/24"));
    EXPECT_THAT(local_of("p1"),
                ElementsAre("local 10.0.2.1 src 10.0.2.1", "broadcast 10.0.2.255 src 10.0.2.1"));
}

TEST_F(devinet, promoted_secondaries) {
    r.port("p1")->ip_ptr->cnf.promote_secondaries = 1;
    r.setup(R"(
        link set p1 up
        addr add 10.0.1.1/24 dev p1
        addr add 10.0.2.1/24 dev p1
        addr add 10.0.1.9/24 dev p1
        addr add 10.0.1.8/24 dev p1
        addr del 10.0.1.1/24 dev p1)");
    EXPECT_THAT(r.addresses("p1"),
                ElementsAre("10.0.2.1/24", "10.0.1.9/24", "10.0.1.8/24 secondary"));
    EXPECT_THAT(local_of("p1"),
                ElementsAre("local 10.0.1.8 src 10.0.1.9", "local 10.0.1.9 src 10.0.1.9",
                            "broadcast 10.0.1.255 src 10.0.1.9", "local 10.0.2.1 src 10.0.2.1",
                            "broadcast 10.0.2.255 src 10.0.2.1"));
    EXPECT_THAT(r.routes(), ElementsAre("10.0.1.0/24 dev p1 proto kernel scope link src 10.0.1.9",
                                        "10.0.2.0/24 dev p1 proto kernel scope link src 10.0.2.1"));
}

TEST_F(devinet, what_another_address_brings_too_stays) {
    r.setup(R"(
        link set p1 up
        addr add 10.0.1.1/24 dev p1
        addr add 10.0.1.1/16 dev p1
        addr add 10.0.1.2/24 brd 10.0.1.255 dev p1
        addr del 10.0.1.1/16 dev p1)");
    EXPECT_THAT(local_of("p1"),
                ElementsAre("local 10.0.1.1 src 10.0.1.1", "local 10.0.1.2 src 10.0.1.1",
                            "broadcast 10.0.1.255 src 10.0.1.1"));
    r.setup("addr del 10.0.1.2/24 dev p1");
    EXPECT_THAT(local_of("p1"),
                ElementsAre("local 10.0.1.1 src 10.0.1.1", "broadcast 10.0.1.255 src 10.0.1.1"));
}

class links : public devinet {
protected:
    links() {
        r.setup(R"(
            addr add 10.0.0.1/24 dev p0
            link set p0 up
            addr add 10.0.1.1/24 dev p1
            link set p1 up
            route add 61.0.0.0/8 nexthop via 10.0.0.2 nexthop via 10.0.1.2
            route add 62.0.0.0/8 via 10.0.1.2
            route add 63.0.0.0/8 via 10.0.1.2 table 100)");
    }
    const std::string p0_net = "10.0.0.0/24 dev p0 proto kernel scope link src 10.0.0.1";
    const std::string p1_net = "10.0.1.0/24 dev p1 proto kernel scope link src 10.0.1.1";
    const std::string both =
        "61.0.0.0/8 nexthop via 10.0.0.2 dev p0 weight 1 nexthop via 10.0.1.2 dev p1 weight 1";
};

TEST_F(links, routes_go_with_their_link_and_connected_ones_come_back) {
    r.setup("link set p1 down");
    EXPECT_THAT(r.routes(), ElementsAre(p0_net, both + " dead linkdown"));
    EXPECT_THAT(r.routes(100), IsEmpty());
    EXPECT_THAT(local_of("p1"), ElementsAre("local 10.0.1.1 src 10.0.1.1")); // still an own address
    r.setup("link set p1 up");
    EXPECT_THAT(r.routes(), ElementsAre(p0_net, p1_net, both));
}

TEST_F(links, multipath_goes_with_its_last_next_hop) {
    r.setup("link set p1 down\nlink set p0 down");
    EXPECT_THAT(r.routes(), IsEmpty());
}

TEST_F(links, carrier) {
    r.setup("link set p1 carrier off");
    EXPECT_THAT(r.routes(), ElementsAre(p0_net, p1_net + " linkdown", both + " linkdown",
                                        "62.0.0.0/8 via 10.0.1.2 dev p1 linkdown"));
    EXPECT_EQ(r.lookup("62.0.0.1"), "unicast 62.0.0.0/8 via 10.0.1.2 dev p1");
    r.port("p1")->ip_ptr->cnf.ignore_routes_with_linkdown = 1;
    EXPECT_EQ(r.lookup("62.0.0.1"), "error " + std::to_string(ENETUNREACH));
    EXPECT_THAT(r.routes(), Contains("62.0.0.0/8 via 10.0.1.2 dev p1 dead linkdown"));
    r.setup("route add 64.0.0.0/8 via 10.0.1.3"); // made without carrier
    EXPECT_EQ(r.lookup("64.0.0.1"), "error " + std::to_string(ENETUNREACH));
    r.setup("link set p1 carrier on");
    EXPECT_EQ(r.lookup("62.0.0.1"), "unicast 62.0.0.0/8 via 10.0.1.2 dev p1");
    EXPECT_EQ(r.lookup("64.0.0.1"), "unicast 64.0.0.0/8 via 10.0.1.3 dev p1");
    EXPECT_THAT(r.routes(), Contains(both));
}

TEST_F(links, routes_with_the_source_of_an_address_go_with_it) {
    r.setup(R"(
        addr add 10.0.3.1/24 dev p1
        route add 71.0.0.0/8 via 10.0.0.2 src 10.0.3.1
        route add 72.0.0.0/8 via 10.0.0.2 src 10.0.3.1 table 100
        addr del 10.0.3.1/24 dev p1)");
    EXPECT_THAT(r.routes(), ElementsAre(p0_net, p1_net, both, "62.0.0.0/8 via 10.0.1.2 dev p1"));
    EXPECT_THAT(r.routes(100), Contains("72.0.0.0/8 via 10.0.0.2 dev p0 src 10.0.3.1"));
}

TEST_F(links, the_last_address_takes_all_routes_of_the_device) {
    r.setup("addr del 10.0.1.1/24 dev p1");
    EXPECT_THAT(r.routes(), ElementsAre(p0_net, both + " dead linkdown"));
    EXPECT_THAT(local_of("p1"), IsEmpty());
    r.setup("addr add 10.0.1.1/24 dev p1");
    EXPECT_THAT(r.routes(), ElementsAre(p0_net, p1_net, both));
}

TEST_F(links, a_device_that_goes_takes_everything) {
    r.enter(r.n.control_cpu());
    unregister_netdevice(r.port("p1"));
    EXPECT_THAT(r.routes(), ElementsAre(p0_net)); // no next hop may name it any more
    for (const std::string& line : r.routes(RT_TABLE_UNSPEC))
        EXPECT_EQ(line.find("10.0.1."), std::string::npos) << line;
}

TEST_F(links, address_of_a_device_that_is_down) {
    r.setup("addr add 10.0.2.1/24 dev p2");
    EXPECT_THAT(local_of("p2"), ElementsAre("local 10.0.2.1 src 10.0.2.1"));
    EXPECT_EQ(r.lookup("10.0.2.1"), "local 10.0.2.1 dev p2");
    EXPECT_EQ(r.lookup("10.0.2.2"), "error " + std::to_string(ENETUNREACH));
}

} // namespace
} // namespace slabfwd::test
