// SPDX-License-Identifier: BSD-3-Clause
//
// Commands on a router of our own: messages and exit statuses, what they change, that a failed one
// changes nothing, and that what is shown can be typed again.
#include <fstream>
#include <gmock/gmock.h>
#include <random>
#include <regex>

#include "dataplane/control/command.h"
#include "dataplane/control/proc.h"
#include "dataplane/control/sysctl.h"
#include "route/route.h"
#include "tests/dataplane/control/control_net.h"

namespace slabfwd::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

struct refusal {
    const char* line;
    int rc;
    const char* err;
};

// As the tools answer on Linux 6.18 with iproute2 6.1 and procps-ng 4.0.
constexpr refusal refusals[] = {
    {"frobnicate", 1, "frobnicate: command not found; try \"help\"\n"},
    {"ip frobnicate", 1, "Object \"frobnicate\" is unknown, try \"ip help\".\n"},
    {"ip route frobnicate", 255, "Command \"frobnicate\" is unknown, try \"ip route help\".\n"},
    {"ip a frobnicate", 255, "Command \"frobnicate\" is unknown, try \"ip address help\".\n"},
    {"ip -x route", 255, "Option \"-x\" is unknown, try \"ip -help\".\n"},
    {"ip route add 10.0.0.0/33 via 10.0.1.2", 1,
     "Error: any valid prefix is expected rather than \"10.0.0.0/33\".\n"},
    {"ip -4 route add 10.0.0/33 via 1", 1,
     "Error: inet prefix is expected rather than \"10.0.0/33\".\n"},
    {"ip route add 10.2.0.0/16 via 10.0.1.256", 1,
     "Error: inet address is expected rather than \"10.0.1.256\".\n"},
    {"ip route add 203.0.113.0/24 via 10.9.9.9", 2, "Error: Nexthop has invalid gateway.\n"},
    {"ip route add 203.0.113.0/24 dev p7", 1, "Cannot find device \"p7\"\n"},
    {"ip route add 203.0.113.0/24 via 10.0.1.2 frobnicate 7", 255,
     "Error: either \"to\" is duplicate, or \"frobnicate\" is a garbage.\n"},
    {"ip route add 203.0.113.0/24 via", 255, "Command line is not complete. Try option \"help\"\n"},
    {"ip route add 203.0.113.0/24", 2, "RTNETLINK answers: No such device\n"},
    {"ip route add 10.1.0.0/8 via 10.0.1.2", 2, "Error: Invalid prefix for given prefix length.\n"},
    {"ip route add 10.0.0.0/24 dev p0 scope link proto kernel src 10.0.0.1", 2,
     "RTNETLINK answers: File exists\n"},
    {"ip route add 10.77.0.0/16 metric -1 via 10.0.1.2", 255,
     "Error: argument \"-1\" is wrong: \"metric\" value is invalid\n\n"},
    {"ip route add 10.77.0.0/16 mtu lock x via 10.0.1.2", 255,
     "Error: argument \"x\" is wrong: \"mtu\" value is invalid\n\n"},
    {"ip route add 10.77.0.0/16 tos 0x03 via 10.0.1.2", 2,
     "Error: Invalid dsfield (tos): ECN bits must be 0.\n"},
    {"ip route add 10.77.0.0/16 scope host via 10.0.1.2", 2,
     "Error: Route with host scope can not have a gateway.\n"},
    {"ip route add 10.77.0.0/16 nexthop", 255, "Error: unexpected end of line after \"nexthop\"\n"},
    {"ip route add 10.77.0.0/16 nexthop frob", 255,
     "Error: \"nexthop\" or end of line is expected instead of \"frob\"\n"},
    {"ip route add 10.77.0.0/16 nexthop via 10.0.1.2 weight 257", 255,
     "Error: argument \"257\" is wrong: \"weight\" is invalid\n\n"},
    {"ip route add 10.77.0.0/16 via 10.0.1.2 via 10.0.1.3", 255,
     "Error: argument \"via\" is wrong: use nexthop syntax to specify multiple via\n\n"},
    {"ip route add 10.77.0.0/16 via 10.0.1.2 nexthop via 10.0.1.3", 2,
     "Error: Nexthop gateway does not match RTA_GATEWAY or RTA_VIA.\n"},
    {"ip route add blackhole 10.77.0.0/16 dev p0", 2,
     "Error: Gateway, device and multipath can not be specified for this route type.\n"},
    {"ip route add blackhole", 255, "Command line is not complete. Try option \"help\"\n"},
    {"ip route del 10.99.0.0/16", 2, "RTNETLINK answers: No such process\n"},
    {"ip route change 10.99.0.0/16 via 10.0.1.2", 2,
     "RTNETLINK answers: No such file or directory\n"},
    {"ip route get", 1, "need at least a destination address\n"},
    {"ip route get 10.0.0.9 iif p7", 1, "Cannot find device \"p7\"\n"},
    {"ip route get 10.0.0.9 frob", 1, "Error: inet prefix is expected rather than \"frob\".\n"},
    {"ip route get 203.0.113.1", 2, "RTNETLINK answers: Network is unreachable\n"},
    {"ip route show table abc", 255,
     "Error: argument \"abc\" is wrong: table id value is invalid\n\n"},
    {"ip route show table 777", 2, "Error: ipv4: FIB table does not exist.\nDump terminated\n"},
    {"ip route flush", 1, "\"ip route flush\" requires arguments.\n"},
    {"ip link set", 255, "Not enough information: \"dev\" argument is required.\n"},
    {"ip link set dev p9 up", 1, "Cannot find device \"p9\"\n"},
    {"ip link set dev p0 mtu huge", 255,
     "Error: argument \"huge\" is wrong: Invalid \"mtu\" value\n\n"},
    {"ip link set dev p0 mtu 7", 2, "Error: mtu less than device minimum.\n"},
    {"ip link set dev p0 mtu 70000", 2, "Error: mtu greater than device maximum.\n"},
    {"ip link set dev p0 address 02:zz:00:00:00:01", 1, "\"zz\" is invalid lladdr.\n"},
    {"ip link set dev p0 address 01:00:00:00:00:01", 2,
     "RTNETLINK answers: Cannot assign requested address\n"},
    {"ip link set dev p0 address 02:00:00:00:00", 1,
     "Invalid address length 5 - must be 6 bytes\n"},
    {"ip link set dev p0 mtu 1400 up mtu 1300", 255,
     "Error: duplicate \"mtu\": \"1300\" is the second value.\n"},
    {"ip link set dev p0 arp maybe", 1,
     "Error: argument of \"arp\" must be \"on\" or \"off\", not \"maybe\"\n"},
    {"ip link set dev p0 frob", 255,
     "Error: either \"dev\" is duplicate, or \"frob\" is a garbage.\n"},
    {"ip link set dev p0 master nope", 255,
     "Error: argument \"nope\" is wrong: Device does not exist\n\n"},
    {"ip link show p9", 1, "Device \"p9\" does not exist.\n"},
    {"ip addr add 10.0.0.999/24 dev p0", 1,
     "Error: any valid prefix is expected rather than \"10.0.0.999/24\".\n"},
    {"ip addr add 10.0.0.1/24 dev p0", 2, "Error: ipv4: Address already assigned.\n"},
    {"ip addr add 10.0.0.7/24", 1, "Not enough information: \"dev\" argument is required.\n"},
    {"ip addr add 10.0.0.7/24 dev p0 scope frob", 255,
     "Error: argument \"frob\" is wrong: invalid scope value.\n"},
    {"ip addr add 10.0.0.7/24 peer 10.0.0.9/24 peer 10.0.0.10 dev p0", 255,
     "Error: duplicate \"peer\": \"10.0.0.10\" is the second value.\n"},
    {"ip addr add dev p0", 2, "RTNETLINK answers: Operation not supported\n"},
    {"ip addr del 10.0.0.77/24 dev p0", 2, "Error: ipv4: Address not found.\n"},
    {"ip addr flush", 1, "Flush requires arguments.\n"},
    {"ip neigh add 10.0.0.9 dev p0", 2, "Error: No link layer address given.\n"},
    {"ip neigh add 10.0.0.9 lladdr 02:00:00:00:00 dev p0", 2, "Error: Invalid link address.\n"},
    {"ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:01", 255,
     "Device and destination are required arguments.\n"},
    {"ip neigh add 10.0.0.999 dev p0", 1,
     "Error: any valid address is expected rather than \"10.0.0.999\".\n"},
    {"ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:01 dev p0 nud frob", 255,
     "Error: argument \"frob\" is wrong: nud state is bad\n"},
    {"ip neigh change 10.0.0.10 lladdr 02:00:00:00:00:01 dev p0", 2,
     "RTNETLINK answers: No such file or directory\n"},
    {"ip neigh append 10.0.0.2 lladdr 02:00:00:00:00:01 dev p0", 255,
     "Command \"append\" is unknown, try \"ip neigh help\".\n"},
    {"ip neigh del 10.0.0.99 dev p0", 2, "RTNETLINK answers: No such file or directory\n"},
    {"ip neigh get 10.0.0.99 dev p0", 2, "Error: Neighbour entry not found.\n"},
    {"ip rule add", 1, "\"ip rule add\" requires arguments.\n"},
    {"ip rule add from abc", 1, "Error: any valid prefix is expected rather than \"abc\".\n"},
    {"ip rule add from 10.0.0.0/8 table abc", 255,
     "Error: argument \"abc\" is wrong: invalid table ID\n\n"},
    {"ip rule add from 10.0.0.0/8 table 5 frob", 255,
     "Error: argument \"frob\" is wrong: Failed to parse rule type\n"},
    {"ip rule add dport 10-5", 2, "Error: Invalid dport range.\n"},
    {"ip rule del pref 999", 2, "RTNETLINK answers: No such file or directory\n"},
    {"ip rule show frob", 1, "Error: inet prefix is expected rather than \"frob\".\n"},
    {"sysctl net.ipv4.frobnicate", 1,
     "sysctl: cannot stat /proc/sys/net/ipv4/frobnicate: No such file or directory\n"},
    {"sysctl -w net.ipv4.conf.p9.rp_filter=1", 1,
     "sysctl: cannot stat /proc/sys/net/ipv4/conf/p9/rp_filter: No such file or directory\n"},
    {"sysctl -w net.ipv4.ip_forward=many", 1,
     "sysctl: setting key \"net.ipv4.ip_forward\": Invalid argument\n"},
    {"sysctl -w net.ipv4.ip_default_ttl=256", 1,
     "sysctl: setting key \"net.ipv4.ip_default_ttl\": Invalid argument\n"},
    {"sysctl -w net.ipv4.ip_default_ttl=9 net.ipv4.nope=1", 1,
     "sysctl: cannot stat /proc/sys/net/ipv4/nope: No such file or directory\n"},
    {"sysctl -w net.ipv4.ip_default_ttl=9 net.ipv4.ipfrag_low_thresh=99999999", 1,
     "sysctl: setting key \"net.ipv4.ipfrag_low_thresh\": Invalid argument\n"},
    {"sysctl -w net.ipv4.ip_forward", 1,
     "sysctl: command line(0): invalid syntax, continuing...\n"},
    {"sysctl -w net.ipv4.conf.p0.mc_forwarding=1", 1,
     "sysctl: setting key \"net.ipv4.conf.p0.mc_forwarding\": Invalid argument\n"},
    {"sysctl -w", 1, "sysctl: no variables specified\nTry `sysctl --help' for more information.\n"},
    {"iptables -t nat -A POSTROUTING -j MASQUERADE", 3,
     "iptables v1.8.9 (nf_tables): table 'nat' does not exist\n"
     "Perhaps iptables or your kernel needs to be upgraded.\n"},
    {"cat /proc/cpuinfo", 1, "cat: /proc/cpuinfo: No such file or directory\n"},
    {"ping nowhere", 2, "ping: nowhere: Name or service not known\n"},
    {"ping", 1, "ping: usage error: Destination address required\n"},
    {"ping -c 0 10.0.0.1", 1,
     "ping: invalid argument: '0': out of range: 1 <= value <= 9223372036854775807\n"},
    {"ping -c 1 -I 1.2.3.4 10.0.1.1", 2, "ping: bind: Cannot assign requested address\n"},
    {"ping -c 1 -I nope 10.0.1.1", 2, "ping: SO_BINDTODEVICE nope: No such device\n"},
    {"ping -c 1 203.0.113.1", 2, "ping: connect: Network is unreachable\n"},
    {"ping -c 1 10.0.1.255", 2,
     "ping: Do you want to ping broadcast? Then -b. If not, check your local firewall rules\n"},
    {"trace 0", 1, "trace: invalid number of packets: '0'\n"},
    {"ip link set dev p0 name x", 2, "Error: The name of a port is given when it is opened.\n"},
    {"ip link add v0 type bridge", 2,
     "Error: Ports are opened with --port; devices of this type cannot be made.\n"},
    {"ip rule add goto 5", 2, "Error: Backward goto not supported.\n"},
};

class Commands : public testing::Test {
protected:
    void SetUp() override {
        for (const char* line : TWO_PORTS)
            r.must(line);
    }
    control_net r;
};

TEST_F(Commands, RefusalsSayWhyAndChangeNothing) {
    const std::string before = r.state();
    for (const refusal& e : refusals) {
        control_result got = r.run(e.line);
        EXPECT_EQ(got.rc, e.rc) << e.line;
        EXPECT_EQ(got.err, e.err) << e.line;
        EXPECT_EQ(got.out, "") << e.line;
    }
    EXPECT_EQ(r.state(), before);
}

TEST_F(Commands, Abbreviations) {
    r.must("ip r a 10.1/16 via 10.0.1.2");
    EXPECT_EQ(r.must("ip ro sh exact 10.1.0.0/16"), "10.1.0.0/16 via 10.0.1.2 dev p1 \n");
    r.must("ip r d 10.1.0.0/16");
    EXPECT_EQ(r.must("ip a s dev p1"), r.must("ip address show dev p1"));
    EXPECT_EQ(r.must("ip l"), r.must("ip link show"));
    EXPECT_EQ(r.must("ip n"), r.must("ip neighbour list"));
    EXPECT_EQ(r.must("ip ru"), r.must("ip rule list"));
    EXPECT_EQ(r.must("/sbin/ip -js l show p0"), r.must("ip -json link show p0"));
    EXPECT_EQ(r.must("/sbin/ip -j -s l show p0"), r.must("ip -json -stats link show dev p0"));
}

TEST_F(Commands, LinkSet) {
    r.must("ip link set dev p0 mtu 1400 address 02:00:00:00:aa:01 arp off down");
    EXPECT_EQ(r.must("ip link show p0"),
              "2: p0: <BROADCAST,MULTICAST,NOARP> mtu 1400 qdisc noop state DOWN mode DEFAULT "
              "group default qlen 1000\n"
              "    link/ether 02:00:00:00:aa:01 brd ff:ff:ff:ff:ff:ff\n");
    r.must("ip link set p0 up arp on");
    EXPECT_EQ(r.must("ip -o link show p0"),
              "2: p0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400 qdisc noqueue state UP mode "
              "DEFAULT group default qlen "
              "1000\\    link/ether 02:00:00:00:aa:01 brd ff:ff:ff:ff:ff:ff\n");
    netif_carrier_set(r.p0, false);
    EXPECT_THAT(r.must("ip link show p0"), HasSubstr("<NO-CARRIER,BROADCAST,MULTICAST,UP> "));
    EXPECT_THAT(r.must("ip -j -br link show p0"), HasSubstr("\"operstate\":\"DOWN\""));
    netif_carrier_set(r.p0, true);
}

TEST_F(Commands, LinkCountersAreSumsOverSlots) {
    r.n.softnet[0]->dev[size_t(r.p0->ifindex)].rx_packets.add(3);
    r.n.softnet[1]->dev[size_t(r.p0->ifindex)].rx_packets.add(4);
    r.n.softnet[0]->dev[size_t(r.p0->ifindex)].rx_bytes.add(12345678901);
    EXPECT_THAT(r.must("ip -s link show p0"),
                HasSubstr("    RX:   bytes packets errors dropped  missed   mcast           \n"
                          "    12345678901       7      0       0       0       0 \n"
                          "    TX:  bytes packets errors dropped carrier collsns           \n"));
    EXPECT_THAT(
        r.must("ip -j -s link show p0"),
        HasSubstr(
            "\"stats64\":{\"rx\":{\"bytes\":12345678901,\"packets\":7,\"errors\":0,\"dropped\":0,"
            "\"over_errors\":0,\"multicast\":0},\"tx\":{\"bytes\":"));
    for (auto& sd : r.n.softnet) { // the packets were none: the account at the end is to balance
        sd->dev[size_t(r.p0->ifindex)].rx_packets.reset();
        sd->dev[size_t(r.p0->ifindex)].rx_bytes.reset();
    }
}

/// Routes as they are shown make the same routes when typed again.
TEST_F(Commands, ShownRoutesCanBeTypedAgain) {
    for (const char* line :
         {"ip route add default via 10.0.0.2",
          "ip route add 10.1.0.0/16 via 10.0.1.2 metric 20 mtu 1300 tos 0x10",
          "ip route add 10.2.0.0/16 dev p1 src 10.0.1.1 proto static scope link mtu lock 1200 "
          "advmss 1000",
          "ip route add blackhole 10.3.0.0/16", "ip route add unreachable 10.4.0.0/16 metric 7",
          "ip route add prohibit 10.6.0.0/16", "ip route add throw 10.7.0.0/16 table 100",
          "ip route add 10.10.0.0/16 via 172.16.0.1 dev p0 onlink proto 77",
          "ip route add 10.11.0.0/16 via inet6 fe80::1 dev p0",
          "ip route add 10.12.0.0/16 via 10.0.0.2 hoplimit 33 rtt 30ms rto_min 20 initcwnd 10 "
          "window 4000 quickack 1",
          "ip route add 10.8.0.0/16 nexthop via 10.0.0.3 dev p0 weight 2 nexthop via 10.0.1.3 "
          "weight 5 nexthop dev p1"})
        r.must(line);
    const std::string before = r.must("ip -j -d route show table all");
    std::string shown = r.must("ip -o route show table all");
    r.must("ip route flush table 100");
    for (const char* prefix :
         {"default", "10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16", "10.6.0.0/16",
          "10.8.0.0/16", "10.10.0.0/16", "10.11.0.0/16", "10.12.0.0/16"})
        r.must(std::string("ip route flush exact ") + prefix);
    EXPECT_NE(r.must("ip -j -d route show table all"), before);
    std::istringstream lines(shown);
    for (std::string line; std::getline(lines, line);) {
        if (line.find("proto kernel") != std::string::npos)
            continue;
        r.must("ip route add " + std::regex_replace(line, std::regex(R"(\\)"), " "));
    }
    EXPECT_EQ(r.must("ip -j -d route show table all"), before);
}

TEST_F(Commands, RouteGetAsksTheRoutingFunctions) {
    r.must("ip route add default via 10.0.1.2");
    EXPECT_EQ(r.must("ip route get 8.8.8.8 from 10.0.0.9 iif p0"),
              "8.8.8.8 from 10.0.0.9 via 10.0.1.2 dev p1 \n    cache iif p0 \n");
    EXPECT_EQ(r.must("ip route get 8.8.8.8"),
              "8.8.8.8 via 10.0.1.2 dev p1 src 10.0.1.1 uid 0 \n    cache \n");
    EXPECT_EQ(r.must("ip -j route get 10.0.0.1"),
              "[{\"type\":\"local\",\"dst\":\"10.0.0.1\",\"dev\":\"lo\",\"prefsrc\":\"10.0.0.1\","
              "\"flags\":[],\"uid\":0,\"cache\":[\"local\"]}]\n");
    r.must("sysctl -w net.ipv4.ip_forward=0");
    control_result no = r.run("ip route get 8.8.8.8 from 10.0.0.9 iif p0");
    EXPECT_EQ(no.rc, 2);
    EXPECT_EQ(no.err, "RTNETLINK answers: No route to host\n");
}

TEST_F(Commands, CacheIsShownAndFlushed) {
    r.must("ip route flush cache");
    EXPECT_EQ(r.must("ip route show cache"), "");
    r.must("ip neigh add 10.0.1.2 lladdr 02:bb:00:00:00:02 dev p1");
    r.enter(0);
    ip_spec s;
    s.payload = udp_datagram(s, 1, 2, {});
    r.rx(r.p0, ip_packet(s));
    EXPECT_EQ(r.sent(r.p1).size(), 1u);
    r.enter(r.n.control_cpu());
    EXPECT_THAT(r.must("ip route show cache"), HasSubstr("10.0.1.2 from 10.0.0.2 dev p1"));
    EXPECT_THAT(r.must("cat /proc/net/rt_cache"), HasSubstr("\np1\t0201000A\t0201000A\t"));
    EXPECT_THAT(r.must("rt_cache"), HasSubstr("10.0.1.2"));
    std::string table = r.must("cat /proc/net/rt_cache");
    for (size_t at = 0; at < table.size(); at = table.find('\n', at) + 1)
        EXPECT_GE(table.find('\n', at) - at, 127u);
    r.must("ip route flush cache");
    EXPECT_EQ(r.must("ip route show cache"), "");
}

TEST_F(Commands, Rules) {
    for (const char* line : {"ip rule add from 10.1.0.0/16 table 100",
                             "ip rule add to 10.2.0.0/16 iif p0 lookup 200 pref 50",
                             "ip rule add fwmark 0x10/0xff table main pref 49",
                             "ip rule add ipproto udp dport 1000-2000 sport 5 table 100 pref 48",
                             "ip rule add oif p1 blackhole pref 47",
                             "ip rule add not from 10.9.9.9 tos 0x10 prohibit pref 46"})
        r.must(line);
    EXPECT_EQ(
        r.must("ip rule"),
        "0:\tfrom all lookup local\n46:\tnot from 10.9.9.9 tos 0x10 prohibit\n"
        "47:\tfrom all oif p1 blackhole\n"
        "48:\tfrom all ipproto udp sport 5 dport 1000-2000 lookup 100\n"
        "49:\tfrom all fwmark 0x10/0xff lookup main\n"
        "50:\tfrom all to 10.2.0.0/16 iif p0 lookup 200\n32765:\tfrom 10.1.0.0/16 lookup 100\n"
        "32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n");
    const std::string before = r.must("ip -j rule");
    std::istringstream lines(r.must("ip rule"));
    r.must("ip rule flush");
    EXPECT_EQ(r.must("ip rule"), "0:\tfrom all lookup local\n");
    for (std::string line; std::getline(lines, line);)
        if (!line.starts_with("0:"))
            r.must("ip rule add pref " + std::regex_replace(line, std::regex(":\t"), " "));
    EXPECT_EQ(r.must("ip -j rule"), before);
}

TEST_F(Commands, Neighbours) {
    r.must("ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:01 dev p0 nud permanent");
    r.must("ip neigh replace 10.0.0.3 lladdr 02:00:00:00:00:02 dev p0 nud stale");
    r.must("ip neigh add 10.0.0.4 lladdr 02:00:00:00:00:03 dev p0 nud noarp");
    r.must("ip neigh add proxy 10.0.1.77 dev p1");
    EXPECT_EQ(r.run("ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:09 dev p0").err,
              "RTNETLINK answers: File exists\n");
    EXPECT_EQ(r.must("ip neigh get 10.0.0.2 dev p0"),
              "10.0.0.2 dev p0 lladdr 02:00:00:00:00:01 PERMANENT \n");
    EXPECT_EQ(r.must("ip neigh show nud noarp dev p0"),
              "10.0.0.4 lladdr 02:00:00:00:00:03 NOARP \n");
    EXPECT_THAT(r.must("ip neigh"), Not(HasSubstr("10.0.0.4")));
    EXPECT_EQ(r.must("ip neigh show proxy"), "10.0.1.77 dev p1 proxy \n");
    EXPECT_EQ(r.must("ip -j neigh show 10.0.0.3"),
              "[{\"dst\":\"10.0.0.3\",\"dev\":\"p0\",\"lladdr\":\"02:00:00:00:00:02\",\"state\":["
              "\"STALE\"]}]\n");
    EXPECT_THAT(r.must("ip -s neigh show 10.0.0.3"), HasSubstr(" used 0/"));
    EXPECT_THAT(
        r.must("cat /proc/net/arp"),
        AllOf(
            StartsWith(
                "IP address       HW type     Flags       HW address            Mask     Device\n"),
            HasSubstr(
                "10.0.0.2         0x1         0x6         02:00:00:00:00:01     *        p0\n"),
            HasSubstr(
                "10.0.1.77        0x1         0xc         00:00:00:00:00:00     *        p1\n"),
            Not(HasSubstr("10.0.0.4 "))));
    r.must("ip neigh change 10.0.0.3 lladdr 02:00:00:00:00:0a dev p0 nud reachable");
    EXPECT_THAT(r.must("ip neigh show 10.0.0.3"), HasSubstr("02:00:00:00:00:0a REACHABLE"));
    r.must("ip -s neigh flush dev p0");
    EXPECT_THAT(r.must("ip neigh"),
                AllOf(HasSubstr("10.0.0.2 "), Not(HasSubstr("10.0.0.3 dev p0 lladdr"))));
    r.must("ip neigh del proxy 10.0.1.77 dev p1");
    EXPECT_EQ(r.must("ip neigh show proxy"), "");
}

TEST_F(Commands, FilesInTheKernelsFormat) {
    r.must("ip route add 10.1.0.0/16 via 10.0.1.2 metric 20 advmss 1000");
    r.must("ip route add unreachable 10.4.0.0/16");
    std::string route = r.must("cat /proc/net/route");
    EXPECT_THAT(
        route,
        StartsWith(
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"));
    EXPECT_THAT(route,
                HasSubstr("\np1\t0000010A\t0201000A\t0003\t0\t0\t20\t0000FFFF\t1040\t0\t0 "));
    EXPECT_THAT(route, HasSubstr("\n*\t0000040A\t00000000\t0201\t0\t0\t0\t0000FFFF\t0\t0\t0 "));
    EXPECT_THAT(
        r.must("cat /proc/net/stat/rt_cache"),
        StartsWith(
            "entries  in_hit in_slow_tot in_slow_mc in_no_route in_brd in_martian_dst "
            "in_martian_src  "
            "out_hit out_slow_tot out_slow_mc  gc_total gc_ignored gc_goal_miss gc_dst_overflow "
            "in_hlist_search out_hlist_search\n0"));
    EXPECT_THAT(r.must("cat /proc/net/stat/arp_cache"),
                StartsWith("entries  allocs   destroys hash_grows "));
    EXPECT_THAT(r.must("cat /proc/slabinfo"), StartsWith("slabinfo - version: 2.1\n# name "));
    EXPECT_THAT(r.must("cat /proc/net/snmp"),
                StartsWith("Ip: Forwarding DefaultTTL InReceives InHdrErrors "));
    EXPECT_THAT(r.must("cat /proc/net/netstat"),
                AllOf(StartsWith("TcpExt: SyncookiesSent SyncookiesRecv "),
                      HasSubstr("\nIpExt: InNoRoutes InTruncatedPkts InMcastPkts ")));
    EXPECT_THAT(r.must("cat /proc/net/dev"),
                HasSubstr("\n    p0:       0       0    0    0    0     0          0         0"));
    r.must("slabinfo tune ip_dst_cache 64 16 4");
    EXPECT_THAT(r.must("cat /proc/slabinfo"), HasSubstr(" : tunables   64   16    4 : "));
    EXPECT_THAT(r.must("slabinfo detail ip_dst_cache"),
                AllOf(StartsWith("ip_dst_cache: "), HasSubstr("limit 64 batchcount 16 shared 4")));
    for (const char* bad : {"slabinfo tune ip_dst_cache 64 16", "slabinfo tune nobody 64 16 4",
                            "slabinfo tune ip_dst_cache 16 64 4", "slabinfo detail nobody"})
        EXPECT_NE(r.run(bad).rc, 0) << bad;
    for (const char* report :
         {"slabinfo -j", "slabinfo detail -j", "rt_cache -j", "snmp -j -a", "drops -j -a", "-j snmp"})
        EXPECT_TRUE(json::accept(r.must(report))) << report;
    for (const char* path : proc_files())
        EXPECT_NE(r.must(std::string("cat ") + path), "");
}

TEST_F(Commands, FilesOfTheSlabCaches) {
    EXPECT_THAT(r.must("ls /sys/kernel/slab"), HasSubstr("ip_dst_cache\n"));
    EXPECT_THAT(r.must("ls /sys/kernel/slab/ip_dst_cache"), HasSubstr("shrink*\nslab_size\n"));
    EXPECT_EQ(r.must("cat /sys/kernel/slab/ip_dst_cache/aliases"), "0\n");
    EXPECT_GE(std::stoi(r.must("cat /sys/kernel/slab/ip_dst_cache/object_size")), 100);
    r.must("echo 1 /sys/kernel/slab/ip_dst_cache/shrink");
    r.must("echo 'ip_dst_cache 60 20 2' '>' /proc/slabinfo");
    EXPECT_THAT(r.must("cat /proc/slabinfo"), HasSubstr(" : tunables   60   20    2 : "));
    for (const char* bad :
         {"echo 1 /sys/kernel/slab/ip_dst_cache/slab_size", "echo 1 /sys/kernel/slab/nobody/shrink",
          "echo 0 /sys/kernel/slab/ip_dst_cache/shrink", "echo /proc/slabinfo", "ls /proc",
          "cat /sys/kernel/slab/ip_dst_cache/nothing", "cat /sys/kernel/slab/nobody/align",
          "echo x /proc/slabinfo", "slabtop -s z"})
        EXPECT_NE(r.run(bad).rc, 0) << bad;
    EXPECT_THAT(r.must("slabtop -o -s n"),
                AllOf(StartsWith(" Active / Total Objects (% used)    : "),
                      HasSubstr("  OBJS ACTIVE  USE OBJ SIZE  SLABS OBJ/SLAB CACHE SIZE NAME\n"),
                      HasSubstr(" ip_dst_cache")));
    for (const char* report : {"slabtop -j", "ls -j", "ls -j /sys/kernel/slab/ip_dst_cache"})
        EXPECT_TRUE(json::accept(r.must(report))) << report;
}

TEST_F(Commands, SysctlUnits) {
    struct {
        const char *set, *read, *shown;
    } cases[] = {
        {"neigh.p0.retrans_time_ms=200", "neigh.p0.retrans_time", "20"},
        {"neigh.p0.retrans_time=33", "neigh.p0.retrans_time_ms", "328"},
        {"neigh.p0.base_reachable_time=7", "neigh.p0.base_reachable_time_ms", "7000"},
        {"neigh.p0.base_reachable_time_ms=7", "neigh.p0.base_reachable_time_ms", "8"},
        {"neigh.p0.unres_qlen=10", "neigh.p0.unres_qlen_bytes", "20900"},
        {"neigh.p0.locktime=255", "neigh.p0.locktime", "254"},
        {"neigh.p0.gc_stale_time=5000000", "neigh.p0.gc_stale_time", "5000000"},
        {"neigh.p0.delay_first_probe_time=-1", "neigh.p0.delay_first_probe_time", "-1"},
        {"icmp_ratelimit=33", "icmp_ratelimit", "36"},
        {"route.gc_min_interval_ms=100", "route.gc_min_interval", "0"},
        {"route.gc_timeout=20", "route.gc_timeout", "20"},
        {"route.error_cost=7", "route.error_cost", "7"},
        {"conf.p0.rp_filter=0x10", "conf.p0.rp_filter", "16"},
        {"conf.p0.rp_filter=3", "conf.p0.rp_filter", "3"},
    };
    for (auto& e : cases) {
        r.must(std::string("sysctl -q -w 'net.ipv4.") + e.set + "'");
        EXPECT_EQ(r.must(std::string("sysctl -n net.ipv4.") + e.read), std::string(e.shown) + "\n")
            << e.set;
    }
    r.must("sysctl -w net/ipv4/conf/p0/rp_filter=3");
    EXPECT_EQ(r.must("sysctl -n net.ipv4.conf.p0.rp_filter"), "3\n");
    EXPECT_EQ(r.n.ipv4.rt.gc_timeout, int(20 * HZ));
    EXPECT_EQ(r.n.ipv4.rt.gc_min_interval, 25);
    EXPECT_EQ(r.must("sysctl -e net.ipv4.nope"), "");
    EXPECT_EQ(r.must("sysctl -w net.ipv4.route.flush=1"), "net.ipv4.route.flush = 1\n");
    EXPECT_THAT(r.run("sysctl net.ipv4.route.flush").err, HasSubstr("permission denied"));
    EXPECT_THAT(r.must("sysctl net.ipv4.conf.p0"),
                StartsWith("net.ipv4.conf.p0.accept_local = 0\n"));
    EXPECT_THAT(r.must("sysctl -a -r 'ip_forward$'"), testing::StrEq("net.ipv4.ip_forward = 1\n"));
}

/// conf.all, conf.default and devices as devinet_conf_proc has them.
TEST(Sysctl, DefaultIsCopiedUntilTheDeviceHasItsOwn) {
    control_net r;
    auto value = [&](const char* key) {
        return r.must(std::string("sysctl -n net.ipv4.conf.") + key);
    };
    r.must("sysctl -w net.ipv4.conf.p0.rp_filter=1 net.ipv4.conf.default.rp_filter=2");
    EXPECT_EQ(value("p0.rp_filter"), "1\n");
    EXPECT_EQ(value("p1.rp_filter"), "2\n");
    r.must("ip link set p1 up");
    r.must("ip addr add 10.0.1.1/24 dev p1"); // from here on p1 is on its own
    r.must("sysctl -w net.ipv4.conf.default.rp_filter=0 net.ipv4.neigh.default.ucast_solicit=9");
    EXPECT_EQ(value("p1.rp_filter"), "2\n");
    EXPECT_EQ(r.must("sysctl -n net.ipv4.neigh.p1.ucast_solicit"), "3\n");
    EXPECT_EQ(r.must("sysctl -n net.ipv4.neigh.p0.ucast_solicit"), "9\n");
    r.must("sysctl -w net.ipv4.conf.all.rp_filter=1");
    EXPECT_EQ(value("p1.rp_filter"), "2\n");
    r.must("sysctl -w net.ipv4.ip_forward=1");
    EXPECT_EQ(value("all.forwarding") + value("default.forwarding") + value("p0.forwarding") +
                  value("p1.forwarding"),
              "1\n1\n1\n1\n");
    EXPECT_EQ(value("all.accept_redirects"), "0\n");
    r.must("sysctl -w net.ipv4.conf.p0.forwarding=0");
    EXPECT_EQ(value("all.forwarding") + value("p0.forwarding") + value("p1.forwarding"),
              "1\n0\n1\n");
    r.must("sysctl -w net.ipv4.ip_forward=0");
    EXPECT_EQ(value("all.accept_redirects") + value("p1.forwarding"), "1\n0\n");
}

/// Every key reads back what it takes, and refuses what is out of its range.
TEST(Sysctl, EveryKeyReadsAndWrites) {
    control_net r;
    std::vector<sysctl_key> keys;
    for_each_sysctl(r.n, "net/", [&](const sysctl_key& k) { keys.push_back(k); });
    EXPECT_GT(keys.size(), 200u);
    for (const sysctl_key& k : keys) {
        ASSERT_TRUE(find_sysctl(r.n, k.path)) << k.path;
        if (!k.readable || !k.writable)
            continue;
        std::string v = sysctl_read(k);
        EXPECT_EQ(sysctl_write(r.n, k, v), 0) << k.path;
        EXPECT_EQ(sysctl_read(k), v) << k.path;
        for (const char* bad : {"", "x", "1x", "- 1", "99999999999", "--1"})
            EXPECT_EQ(sysctl_write(r.n, k, bad), -EINVAL) << k.path << " " << bad;
        EXPECT_EQ(sysctl_read(k), v) << k.path;
    }
}

// --- files --------------------------------------------------------------------------------------

class File : public testing::Test {
protected:
    tl::expected<void, std::string> load(const std::string& text) {
        path = testing::TempDir() + "control_file_" + std::to_string(getpid());
        std::ofstream(path) << text;
        auto done = control_load_file(r.n, path);
        unlink(path.c_str());
        return done;
    }
    control_net r;
    std::string path;
};

TEST_F(File, LinesAreDoneInOrderAndTheGenerationMovesOnce) {
    const uint32_t genid = r.n.ipv4.rt_genid;
    auto done =
        load("# a router\n\nip link set dev p0 up\nip addr add 10.0.0.1/24 \\\n   dev p0 # first\n"
             "ip route add 10.1.0.0/16 via 10.0.0.2\nip route add 10.2.0.0/16 via 10.0.0.2\n"
             "sysctl -e -w net.ipv4.nope=1\nsysctl -w net.ipv4.ip_forward=1");
    ASSERT_TRUE(done) << done.error();
    EXPECT_EQ(r.n.ipv4.rt_genid, genid + 1);
    EXPECT_EQ(r.must("ip route show via 10.0.0.2"), "10.1.0.0/16 dev p0 \n10.2.0.0/16 dev p0 \n");
    EXPECT_EQ(r.must("sysctl -n net.ipv4.ip_forward"), "1\n");
}

TEST_F(File, TheFirstBadLineIsNamed) {
    struct {
        const char *line, *word, *reason;
    } cases[] = {
        {"frobnicate the net", "frobnicate", "command not found"},
        {"ip frobnicate", "frobnicate", "is unknown"},
        {"ip route add 10.0.0.0/33 via 10.0.1.2", "10.0.0.0/33", "prefix is expected"},
        {"ip route add 10.2.0.0/16 via 10.0.1.256", "10.0.1.256", "address is expected"},
        {"ip route add 10.2.0.0/16 dev p9", "p9", "Cannot find device"},
        {"ip link set dev p0 mtu huge", "huge", "Invalid \"mtu\""},
        {"ip neigh add 10.0.0.9 lladdr 02:zz:00:00:00:01 dev p0", "02:zz:00:00:00:01",
         "invalid lladdr"},
        {"sysctl -w net.ipv4.frobnicate=1", "net.ipv4.frobnicate=1", "No such file"},
        {"ip route show | tee /tmp/x", "|", "meaning to sh"},
        {"ip addr add $ADDRESS dev p0", "$", "meaning to sh"},
        {"ip addr add \"10.0.0.3/24 dev p0", "\"", "unterminated quote"},
        {"ping 10.0.0.1", "ping", "Network is unreachable"},
        {"trace 1", "trace", "not for a file"},
        {"ip route add", "add", "not complete"},
        {"iptables -P FORWARD QUEUE", "QUEUE", "Bad policy name"},
    };
    for (auto& e : cases) {
        const std::string before = r.state();
        auto done = load(std::string("# one\nip link set dev p1 up\n") + e.line +
                         "\nip link set dev p0 up\n");
        r.must("ip link set dev p1 down");
        ASSERT_FALSE(done) << e.line;
        EXPECT_THAT(done.error(),
                    AllOf(StartsWith(path + ":3: "), HasSubstr(e.word), HasSubstr(e.reason)))
            << e.line;
        EXPECT_THAT(done.error(), Not(HasSubstr("\n")));
        EXPECT_EQ(r.state(), before) << e.line;
    }
}

TEST_F(File, FilesThatCannotBeRead) {
    EXPECT_THAT(control_load_file(r.n, "/no/such/file").error(),
                HasSubstr("/no/such/file: No such file"));
    EXPECT_THAT(control_load_file(r.n, "/tmp").error(), HasSubstr("Is a directory"));
    EXPECT_FALSE(load(std::string("ip link\0", 8)));
    EXPECT_TRUE(load(""));
}

// --- whatever one types -------------------------------------------------------------------------

/// Words of the grammar and rubbish in any order: no crash, an exit status with a reason, and when
/// it failed nothing has changed.
TEST(Grammar, RandomLines) {
    control_net r;
    for (const char* line : TWO_PORTS)
        r.must(line);
    std::vector<std::string> pool = {"ip",
                                     "sysctl",
                                     "cat",
                                     "10.0.0.0/8",
                                     "10.0.1.2",
                                     "p0",
                                     "p1",
                                     "lo",
                                     "0",
                                     "1",
                                     "300",
                                     "-1",
                                     "all",
                                     "main",
                                     "local",
                                     "100",
                                     "02:00:00:00:00:07",
                                     "lock",
                                     "inet6",
                                     "fe80::1",
                                     "-j",
                                     "-s",
                                     "-d",
                                     "-o",
                                     "-4",
                                     "-br",
                                     "on",
                                     "off",
                                     "permanent",
                                     "stale",
                                     "default",
                                     "x",
                                     "",
                                     "%s%n",
                                     "/",
                                     "=",
                                     "net.ipv4.ip_forward",
                                     "net.ipv4.conf.p0.rp_filter=1",
                                     "help",
                                     "0x10/0xff",
                                     "10-20",
                                     "cache",
                                     "forever",
                                     "+",
                                     "link",
                                     "host",
                                     "1000000000000000000000"};
    for (const object& o : ip_objects()) {
        pool.push_back(o.name);
        for (const verb& v : o.verbs) {
            pool.push_back(v.name);
            for (const keyword& k : v.keywords)
                pool.push_back(k.name);
        }
    }
    std::mt19937 rng(7);
    auto pick = [&](const auto& list) -> decltype(auto) { return list[rng() % list.size()]; };
    unsigned failed = 0;
    for (int i = 0; i < 20000; ++i) {
        std::vector<std::string> words = {"ip"};
        const object& o = pick(ip_objects());
        const verb& v = pick(o.verbs);
        words.insert(words.end(), {o.name, v.name});
        for (unsigned n = rng() % 8; n--;) {
            if (rng() % 3 && !v.keywords.empty())
                words.push_back(pick(v.keywords).name);
            words.push_back(pick(pool));
        }
        if (rng() % 20 == 0)
            words.erase(words.begin());
        bool check = i % 50 == 0;
        const std::string before = check ? r.state() : "";
        control_result got = control_execute(r.n, words);
        if (got.rc) {
            ++failed;
            EXPECT_FALSE(got.err.empty());
            if (check) {
                EXPECT_EQ(r.state(), before) << testing::PrintToString(words);
            }
        }
    }
    EXPECT_GT(failed, 1000u);
    r.must("ip link set dev p0 up");
}

TEST(Grammar, HelpAndCompletionComeFromTheTables) {
    control_net r;
    EXPECT_THAT(r.must("help"), AllOf(HasSubstr("sysctl"), HasSubstr("/proc/slabinfo")));
    EXPECT_THAT(r.must("help route"), AllOf(HasSubstr("Usage: ip route"), HasSubstr("[ nexthop"),
                                            HasSubstr("mtu [ lock ] NUMBER")));
    EXPECT_THAT(r.run("ip route help").err, HasSubstr("ip route add"));
    EXPECT_EQ(r.run("help nothing").rc, 1);
    using words = std::vector<std::string>;
    EXPECT_EQ(complete(words{"ip", "ro"}), words{"route"});
    EXPECT_EQ(complete(words{"ip", "-j", "route", "ge"}), words{"get"});
    EXPECT_EQ(complete(words{"ip", "link", "set", "dev", "p0", "mt"}), words{"mtu"});
    EXPECT_TRUE(complete(words{"ip", "nothing", "x"}).empty());
}

} // namespace
} // namespace slabfwd::test
