// SPDX-License-Identifier: BSD-3-Clause
//
// The same lines typed to the Linux tools in a network namespace and to our router: exit status,
// standard output and standard error have to agree. Needs root and iproute2; skipped without. What
// differs by nature is taken out before comparing: veth's "@if2" and "link-netns", the order of
// neighbours, tables of IPv6.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <regex>
#include <sstream>

#include <nlohmann/json.hpp>

#include "dataplane/control/printer.h"
#include "tests/dataplane/control/control_net.h"

namespace slabfwd::test {
namespace {

namespace fs = std::filesystem;

/// A namespace with p0 and p1 whose peers are up elsewhere.
class namespaces {
public:
    namespaces()
        : name_("sfctl" + std::to_string(getpid())), dir_(fs::temp_directory_path() / name_) {
        ok_ = geteuid() == 0 && sh("ip netns add " + name_ + " && ip netns add " + name_ + "q");
        fs::create_directory(dir_);
        for (const char* i : {"0", "1"})
            ok_ = ok_ &&
                  sh(std::string("ip link add p") + i + " netns " + name_ +
                     " address 02:00:00:00:00:0" + i + " type veth peer name q" + i + " netns " +
                     name_ + "q") &&
                  sh("ip -n " + name_ + "q link set q" + i + " up");
        ok_ = ok_ &&
              sh("ip netns exec " + name_ +
                 " sysctl -qw net.ipv6.conf.all.disable_ipv6=1 "
                 "net.ipv6.conf.default.disable_ipv6=1") &&
              sh("ip -n " + name_ + " link set lo up");
    }
    ~namespaces() {
        sh("ip netns del " + name_);
        sh("ip netns del " + name_ + "q");
        fs::remove_all(dir_);
    }
    bool ok() const { return ok_; }

    /// Runs the lines there, one after the other.
    std::vector<control_result> run(const std::vector<std::string>& lines) {
        std::ofstream script(dir_ / "script");
        script << "cd " << dir_.string() << "\nset -f\n";
        for (size_t i = 0; i < lines.size(); ++i)
            script << lines[i] << " >o" << i << " 2>e" << i << "; echo $? >r" << i << "\n";
        script.close();
        sh("ip netns exec " + name_ + " sh " + (dir_ / "script").string());
        std::vector<control_result> results;
        for (size_t i = 0; i < lines.size(); ++i) {
            std::string n = std::to_string(i), rc = read("r" + n);
            results.push_back({rc.empty() ? -1 : std::stoi(rc), read("o" + n), read("e" + n)});
        }
        return results;
    }

private:
    static bool sh(const std::string& line) {
        return std::system((line + " 2>/dev/null >/dev/null").c_str()) == 0;
    }
    std::string read(const std::string& name) {
        std::ifstream in(dir_ / name);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    std::string name_;
    fs::path dir_;
    bool ok_ = false;
};

std::string without(std::string text, const char* pattern, const char* by = "") {
    return std::regex_replace(text, std::regex(pattern), by);
}

/// Lines (or JSON entries) in sorted order.
std::string sorted(const std::string& text) {
    if (text.starts_with("[{")) {
        auto list = nlohmann::json::parse(text);
        std::vector<std::string> entries;
        for (const auto& e : list)
            entries.push_back(e.dump());
        std::ranges::sort(entries);
        return testing::PrintToString(entries);
    }
    std::istringstream in(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);)
        lines.push_back(line);
    std::ranges::sort(lines);
    return testing::PrintToString(lines);
}

std::string alike(const std::string& line, std::string text) {
    text = without(text, "@if\\d+");
    text = without(text, " link-netns \\S+");
    text = without(text, " link-netnsid \\d+");
    text = without(text, ",\"link_netnsid\":\\d+");
    text = without(text, "\"link_index\":\\d+,");
    text = without(text, ",\\n +\"link_netnsid\": \\d+");
    text = without(text, " +\"link_index\": \\d+,\\n");
    if (line.starts_with("ip -br"))
        text = without(text, "(p[01]) +", "$1 ");
    if (line.find("neigh") != std::string::npos)
        text = sorted(text);
    return text;
}

/// The first `setup` lines are the configuration: they have to succeed on both sides.
void compare(const std::vector<std::string>& lines, size_t setup) {
    namespaces linux_side;
    if (!linux_side.ok())
        GTEST_SKIP() << "needs root and ip(8) with network namespaces";
    auto wanted = linux_side.run(lines);
    control_net r;
    for (size_t i = 0; i < lines.size(); ++i) {
        if (i < setup) {
            EXPECT_EQ(wanted[i].rc, 0) << lines[i] << "\n" << wanted[i].err;
        } else {
            EXPECT_FALSE(wanted[i].rc == -1) << lines[i];
        }
        control_result got = r.run(lines[i]);
        const std::string& line = lines[i];
        EXPECT_EQ(got.rc, wanted[i].rc)
            << line << "\nours: " << got.err << "theirs: " << wanted[i].err;
        EXPECT_EQ(alike(line, got.out), alike(line, wanted[i].out)) << line;
        EXPECT_EQ(got.err, wanted[i].err) << line;
    }
}

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

void compare(const std::vector<std::string>& setup, const std::vector<std::string>& lines) {
    compare(setup + lines, setup.size());
}

const std::vector<std::string> configuration = {
    "ip link set dev p0 up",
    "ip link set dev p1 up mtu 1400",
    "ip addr add 10.0.0.1/24 dev p0",
    "ip addr add 10.0.1.1/24 brd + dev p1",
    "ip addr add 10.0.0.5/24 dev p0",
    "ip addr add 192.0.2.1 dev p1",
    "ip addr add 192.0.2.9/32 dev lo",
    "ip addr add 10.5.0.1 peer 10.5.0.2/32 dev p0 scope link",
    "ip addr add 10.6.6.1/24 dev p0 metric 77 noprefixroute label p0:x",
    "ip route add default via 10.0.0.2",
    "ip route add 10.1.0.0/16 via 10.0.1.2 metric 20 mtu 1300 tos 0x10",
    "ip route add 10.1.0.0/16 via 10.0.1.3 metric 20",
    "ip route add 10.1.0.0/16 via 10.0.1.4 metric 10 tos 0x28",
    "ip route append 10.1.0.0/16 via 10.0.1.5 metric 20",
    "ip route prepend 10.1.0.0/16 via 10.0.1.6 metric 20",
    "ip route add 10.2.0.0/16 dev p1 src 10.0.1.1 proto static scope link mtu lock 1200 advmss "
    "1000",
    "ip route add blackhole 10.3.0.0/16",
    "ip route add unreachable 10.4.0.0/16 metric 7",
    "ip route add prohibit 10.6.0.0/16",
    "ip route add throw 10.7.0.0/16 table 100",
    "ip route add 10.7.0.0/16 via 10.0.0.3 table 70000",
    "ip route add 10.8.0.0/16 nexthop via 10.0.0.3 dev p0 weight 2 nexthop via 10.0.1.3 weight 5 "
    "nexthop dev p1",
    "ip route add 10.18.0.0/16 nexthop via 10.0.0.3",
    "ip route add local 10.9.0.1 dev p0",
    "ip route add broadcast 10.9.0.255 dev p0",
    "ip route add 10.10.0.0/16 via 172.16.0.1 dev p0 onlink proto 77",
    "ip route add multicast 239.0.0.0/8 dev p0",
    "ip route add 10.12.0.0/16 via 10.0.0.2 hoplimit 33 initcwnd 10 window 4000 rtt 30ms rto_min "
    "20 reordering 5",
    "ip route add 10.44/16 via 10.0.0.2 preference 5 proto bgp",
    "ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:01 dev p0 nud permanent",
    "ip neigh add 10.0.0.3 lladdr 02:00:00:00:00:02 dev p0 nud stale",
    "ip neigh add 10.0.0.4 lladdr 02:00:00:00:00:03 dev p0 nud noarp",
    "ip neigh add 10.0.1.4 lladdr 02:00:00:00:00:04 dev p1",
    "ip neigh add proxy 10.0.1.77 dev p1",
    "ip neigh add 10.0.0.8 dev p0 nud failed",
    "ip rule add from 10.1.0.0/16 table 100",
    "ip rule add to 10.2.0.0/16 iif p0 lookup 200 pref 50",
    "ip rule add fwmark 0x10/0xff table main",
    "ip rule add ipproto udp dport 1000-2000 sport 5 table 100",
    "ip rule add oif p1 blackhole",
    "ip rule add not from 10.9.9.9 tos 0x10 prohibit",
    "ip rule add iif p77 unreachable",
    "ip rule add from 10.3.0.0/16 table main suppress_prefixlength 0 pref 60",
    "sysctl -w net.ipv4.ip_forward=1",
};

TEST(Linux, ShowForms) {
    std::vector<std::string> shows;
    for (const char* what : {"link show lo",
                             "link show p1",
                             "-o link show p0",
                             "-j link",
                             "-j -p link show p0",
                             "-br link",
                             "-j -br link",
                             "addr",
                             "-4 addr",
                             "-o addr",
                             "-br addr",
                             "-j addr",
                             "-j -p addr show p0",
                             "-j -br addr",
                             "addr show scope host",
                             "addr show secondary",
                             "addr show up",
                             "addr show dev p0 primary",
                             "addr show to 10.0.0.0/24",
                             "-o addr show to 10.0.0.0/24",
                             "-br addr show to 10.0.0.0/24",
                             "addr show label p0",
                             "addr show label p*",
                             "-o addr show label p0*",
                             "addr show label x",
                             "route",
                             "-d route",
                             "-o route",
                             "-N route show table all",
                             "route show table all",
                             "route show table local",
                             "route show table 100",
                             "route show table 70000",
                             "route show table default",
                             "-j route",
                             "-j -d route",
                             "-j -p route",
                             "-j route show table all",
                             "route show 10.0.0.0/24",
                             "route show root 10.0.0.0/8",
                             "route show match 10.8.1.1",
                             "route show exact 10.8.0.0/16",
                             "route show default",
                             "route show proto kernel",
                             "route show type blackhole",
                             "route show via 10.0.0.2",
                             "route show scope link",
                             "route show src 10.0.0.1",
                             "route show dev p1",
                             "-j route show dev p1",
                             "route show 10.8.1.1",
                             "route list table main proto static",
                             "route show metric 20",
                             "route show tos 0x10",
                             "route show to root 10.1.0.0/16 metric 10",
                             "neigh",
                             "-j neigh",
                             "neigh show nud all",
                             "-j -p neigh show 10.0.0.2",
                             "neigh show proxy",
                             "neigh show dev p0",
                             "-j neigh show dev p1",
                             "neigh show nud stale",
                             "neigh show to 10.0.0.0/24 dev p0 nud permanent",
                             "neigh show 10.0.0.3",
                             "neigh get 10.0.0.2 dev p0",
                             "rule",
                             "-j rule",
                             "-j -p rule",
                             "rule show table 100",
                             "rule show pref 50",
                             "rule show from 10.1.0.0/16",
                             "rule show iif p0"})
        shows.push_back(std::string("ip ") + what);
    compare(configuration, shows);
}

TEST(Linux, RouteGet) {
    std::vector<std::string> gets;
    for (const char* what :
         {"10.1.2.3", "8.8.8.8 from 10.0.1.9 iif p1", "10.0.0.1", "10.0.0.255",
          "10.2.0.5 tos 0x10 mark 7", "8.8.8.8 from 10.0.0.5", "10.3.0.1", "10.4.0.1", "10.6.0.1",
          "10.0.1.1 from 10.0.0.9 iif p0", "10.0.0.9 from 1.2.3.4", "10.1.2.3 oif p1",
          "10.1.2.3 dev p1", "240.0.0.1", "10.0.0.0/24", "127.0.0.1", "10.12.0.1",
          "10.44.1.1 mark 300", "10.9.0.1"})
        gets.push_back(std::string("ip route get ") + what);
    gets.push_back("ip -j route get 10.0.0.1");
    gets.push_back("ip -j route get 8.8.8.8 from 10.0.1.9 iif p1");
    gets.push_back("ip -j -p route get 10.12.0.1");
    gets.push_back("ip -d route get 10.1.2.3");
    std::vector<std::string> setup = configuration;
    std::erase_if(setup, [](const std::string& l) {
        return l.find("ip rule") == 0 || l.find("nexthop") != std::string::npos;
    });
    compare(setup, gets);
}

/// What answers is told as the table has it: by TOS, of either table, of a type of its own.
TEST(Linux, RouteGetFibmatch) {
    std::vector<std::string> setup = configuration;
    std::erase_if(setup, [](const std::string& l) { return l.find("ip rule") == 0; });
    std::vector<std::string> lines;
    for (const char* what :
         {"10.0.0.1", "10.0.0.255", "127.0.0.1", "10.0.0.1 from 10.0.0.7 iif p0",
          "127.0.0.1 from 10.0.0.7 iif p0", "10.1.2.3", "10.1.2.3 tos 0x10", "10.1.2.3 tos 0x28",
          "8.8.8.8 tos 0x10", "224.0.0.1", "239.1.1.1", "10.3.0.1", "10.9.0.1", "10.9.0.255"})
        for (const char* how : {"ip route get fibmatch ", "ip -j route get fibmatch "})
            lines.push_back(std::string(how) + what);
    for (const char* what :
         {"10.1.2.3 tos 0x10", "10.1.2.3 tos 0x28", "10.1.2.3 from 10.0.0.7 iif p0 tos 0x10",
          "8.8.8.8 from 10.0.0.7 iif p0", "10.0.0.9 from 10.0.0.7 iif p0"})
        for (const char* how : {"ip route get ", "ip -j route get "})
            lines.push_back(std::string(how) + what);
    lines.push_back("ip rule add from 1.2.3.4 lookup 100");
    lines.push_back("ip route get fibmatch 10.0.0.1"); // now from the table local
    lines.push_back("ip route get fibmatch 10.1.2.3 tos 0x10");
    compare(setup, lines);
}

/// Beginnings of types, prefixes as selectors, and words that stand for any family.
TEST(Linux, RouteWords) {
    std::vector<std::string> lines = {"ip route add black 1.0.0.0/8",
                                      "ip route add un 2.0.0.0/8",
                                      "ip route add proto 5 any 3.0.0.0/8 dev p0",
                                      "ip route add broad 4.0.0.0/8 dev p0 src 10.0.0.1",
                                      "ip route add throw 5.0.0.0/8",
                                      "ip route add 6.0.0.0/8 via 10.0.0.2 mtu 70000 advmss 70000",
                                      "ip route add 7.0.0.0/8 via 10.0.0.2 mtu lock 65521",
                                      "ip route show 6.0.0.0/8",
                                      "ip route show 7.0.0.0/8",
                                      "ip route del 6.0.0.0/8 mtu 70000",
                                      "ip route del 6.0.0.0/8 mtu 65520",
                                      "ip route add blackhole",
                                      "ip route add any"};
    for (const char* what : {"any", "all", "default", "root any", "match all", "exact any",
                             "via 10.0.0.0/24", "via 10.0.0.2", "via any", "src 10.0.0.0/24",
                             "src 10.0.0.1", "src any", "type broadcast"})
        for (const char* how : {"ip route show ", "ip -4 route show ", "ip -j route show "})
            lines.push_back(std::string(how) + what);
    for (const char* line : {"ip rule add goto 32766 pref 3", "ip rule add goto 90 pref 4",
                             "ip rule", "ip rule flush", "ip rule"})
        lines.push_back(line);
    compare(configuration, lines);
}

TEST(Linux, Refusals) {
    std::vector<std::string> lines;
    for (const char* line :
         {"ip frobnicate",
          "ip route frobnicate",
          "ip link frobnicate",
          "ip addr frobnicate",
          "ip neigh frobnicate",
          "ip rule frobnicate",
          "ip -x route",
          "ip route add 10.0.0.0/33 via 10.0.1.2",
          "ip route add 300.0.0.0/8 via 10.0.1.2",
          "ip route add 10.2.0.0/16 via 10.0.1.256",
          "ip route add 203.0.113.0/24 via 10.9.9.9",
          "ip route add 203.0.113.0/24 dev p7",
          "ip route add 203.0.113.0/24 via 10.0.1.2 frobnicate 7",
          "ip route add 203.0.113.0/24 via",
          "ip route add 203.0.113.0/24",
          "ip route add 10.1.0.0/16 via 10.0.1.2 tos 0x10 metric 20",
          "ip route add 10.1.0.0/8 via 10.0.1.2",
          "ip route add 10.77.0.0/16 metric abc via 10.0.1.2",
          "ip route add 10.77.0.0/16 mtu lock x via 10.0.1.2",
          "ip route add 10.77.0.0/16 table abc via 10.0.1.2",
          "ip route add 10.77.0.0/16 tos 300 via 10.0.1.2",
          "ip route add 10.77.0.0/16 tos 0x03 via 10.0.1.2",
          "ip route add 10.77.0.0/16 proto abc via 10.0.1.2",
          "ip route add 10.77.0.0/16 scope abc via 10.0.1.2",
          "ip route add 10.77.0.0/16 scope host via 10.0.1.2",
          "ip route add 10.77.0.0/16 src 1.2.3.4 via 10.0.1.2",
          "ip route add 10.77.0.0/16 src abc via 10.0.1.2",
          "ip route add 10.77.0.0/16 10.78.0.0/16 via 10.0.1.2",
          "ip route add 10.77.0.0/16 hoplimit 256 via 10.0.1.2",
          "ip route add 10.77.0.0/16 nexthop",
          "ip route add 10.77.0.0/16 nexthop via 10.0.1.2 weight 0",
          "ip route add 10.77.0.0/16 nexthop via 10.0.1.2 weight 257",
          "ip route add 10.77.0.0/16 nexthop via 10.0.1.2 weight 256 nexthop via 10.99.0.1",
          "ip route add 10.77.0.0/16 nexthop frob",
          "ip route add 10.77.0.0/16 via 10.0.1.2 via 10.0.1.3",
          "ip route add 10.77.0.0/16 via 10.0.1.2 nexthop via 10.0.1.3",
          "ip route add blackhole 10.77.0.0/16 via 10.0.1.2",
          "ip route add blackhole",
          "ip route add blackhole 10.77.0.0/16 dev p0",
          "ip route add local 10.77.0.0/16 via 10.0.1.2",
          "ip route add via 10.0.1.2 10.77.0.0/16 onlink",
          "ip route add 10.77.1.0/24 via 10.0.0.255",
          "ip route add 10.77.1.0/24 via 10.0.1.2 dev p0",
          "ip route add 10.77.1.0/24 via 8.8.8.8 onlink",
          "ip route add 10.77.1.0/24 via 10.0.1.1",
          "ip route del 10.77.1.0/24",
          "ip route del 10.99.0.0/16",
          "ip route del 10.1.0.0/16 via 10.0.1.99 tos 0x10",
          "ip route change 10.99.0.0/16 via 10.0.1.2",
          "ip route prepend 10.99.1.0/24 via 10.0.1.2",
          "ip route del 10.99.1.0/24",
          "ip route add default via 10.0.0.2",
          "ip route add 10.77.0.0/16 via fe80::1",
          "ip route get",
          "ip route get abc",
          "ip route get 10.0.0.9 iif",
          "ip route get 10.0.0.9 iif p7",
          "ip route get 10.0.0.9 oif p7",
          "ip route get 10.0.0.9 frob",
          "ip route get 10.0.0.9 tos xx",
          "ip route show frob",
          "ip route show table abc",
          "ip route show table 777",
          "ip route show dev p7",
          "ip route show via 10.0.1.2 foo",
          "ip route flush",
          "ip route flush frob",
          "ip route flush table 777",
          "ip route flush cache",
          "ip link set",
          "ip link set dev",
          "ip link set dev p9 up",
          "ip link set dev p0 mtu huge",
          "ip link set dev p0 mtu 7",
          "ip link set dev p0 mtu 70000",
          "ip link set dev p0 address",
          "ip link set dev p0 address 02:zz:00:00:00:01",
          "ip link set dev p0 address 01:00:00:00:00:01",
          "ip link set dev p0 address 02:00:00:00:00",
          "ip link set dev p0 frob",
          "ip link set dev p0 arp maybe",
          "ip link set dev p0 master nope",
          "ip link set dev p0 nomaster",
          "ip link set dev p0 multicast maybe",
          "ip link set p0 p1 up",
          "ip link show p9",
          "ip link show dev p0 frob",
          "ip addr add",
          "ip addr add 10.0.0.999/24 dev p0",
          "ip addr add 10.0.0.1/24 dev p0",
          "ip addr add 10.0.0.1/24",
          "ip addr add 10.0.0.7/24 dev p9",
          "ip addr add 10.0.0.7/33 dev p0",
          "ip addr add 10.0.0.7/24 dev p0 frob",
          "ip addr add 10.0.0.7/24 brd dev p0",
          "ip addr add 10.0.0.7/24 brd x dev p0",
          "ip addr add 10.0.0.7/24 peer dev p0",
          "ip addr add 10.0.0.7/24 dev p0 scope frob",
          "ip addr add 10.0.0.7/24 10.0.0.8/24 dev p0",
          "ip addr add 10.0.0.7/24 peer 10.0.0.9/24 peer 10.0.0.10 dev p0",
          "ip addr add 10.0.0.7/24 dev p0 valid_lft 0",
          "ip addr add 10.0.0.7/24 dev p0 valid_lft abc",
          "ip addr add dev p0",
          "ip addr del 10.0.0.77/24 dev p0",
          "ip addr del 10.0.0.1/25 dev p0",
          "ip addr del",
          "ip addr del 10.0.0.1/24",
          "ip addr show frob",
          "ip addr show dev p0 frob",
          "ip addr flush",
          "ip addr flush dev p9",
          "ip neigh add",
          "ip neigh add 10.0.0.9 dev p0",
          "ip neigh add 10.0.0.9 lladdr 02:zz:00:00:00:01 dev p0",
          "ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:01",
          "ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:01 dev p9",
          "ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:01 dev p0",
          "ip neigh add 10.0.0.999 lladdr 02:00:00:00:00:01 dev p0",
          "ip neigh add 10.0.0.10 lladdr 02:00:00:00:00:01 dev p0 nud frob",
          "ip neigh add 10.0.0.10 lladdr 02:00:00:00:00:01 dev p0 frob x",
          "ip neigh add 10.0.0.10 lladdr 02:00:00:00:00 dev p0",
          "ip neigh add 10.0.0.0/24 lladdr 02:00:00:00:00:01 dev p0",
          "ip neigh change 10.0.0.10 lladdr 02:00:00:00:00:01 dev p0",
          "ip neigh append 10.0.0.2 lladdr 02:00:00:00:00:01 dev p0",
          "ip neigh del 10.0.0.99 dev p0",
          "ip neigh del 10.0.0.99",
          "ip neigh del",
          "ip neigh show frob",
          "ip neigh show dev p9",
          "ip neigh flush",
          "ip neigh get 10.0.0.2",
          "ip neigh get 10.0.0.99 dev p0",
          "ip neigh get dev p0",
          "ip neigh show nud frob",
          "ip rule add",
          "ip rule add from abc",
          "ip rule add from 10.0.0.0/8 table abc",
          "ip rule add from 10.0.0.0/8 table 5 frob",
          "ip rule add iif",
          "ip rule add fwmark xx",
          "ip rule add dport 10-5",
          "ip rule add ipproto frob",
          "ip rule add tos 300 table 5",
          "ip rule del pref 999",
          "ip rule del",
          "ip rule add from 10.1.0.0/16 table 100 pref 32765",
          "ip rule show frob",
          "sysctl net.ipv4.frobnicate",
          "sysctl -w net.ipv4.frobnicate=1",
          "sysctl -e -w net.ipv4.frobnicate=1",
          "sysctl -w net.ipv4.ip_forward=many",
          "sysctl -w net.ipv4.ip_forward=",
          "sysctl -w net.ipv4.ip_forward",
          "sysctl net.ipv4.ip_forward",
          "sysctl net/ipv4/ip_forward",
          "sysctl -n net.ipv4.ip_forward",
          "sysctl -N net.ipv4.ip_forward",
          "sysctl -qw net.ipv4.ip_forward=1",
          "sysctl -w net.ipv4.ip_forward=2",
          "sysctl net.ipv4.ip_forward",
          "sysctl net.ipv4.ip_forward=1",
          "sysctl -w net.ipv4.conf.p9.rp_filter=5",
          "sysctl -w net.ipv4.ip_default_ttl=0",
          "sysctl -w net.ipv4.conf.p0.rp_filter=99999999999",
          "sysctl -w net.ipv4.conf.p0.rp_filter=-1",
          "sysctl -w net.ipv4.conf.p0.rp_filter=0x10",
          "sysctl -w net.ipv4.conf.p0.rp_filter=1x",
          "sysctl -w 'net.ipv4.conf.p0.rp_filter=1 2'",
          "sysctl net.ipv4.conf.p0.rp_filter",
          "sysctl net.ipv4.neigh.p0",
          "sysctl net.ipv4.conf.p0",
          "sysctl -w",
          "sysctl -b net.ipv4.ip_forward",
          "sysctl -a -r '^net.ipv4.conf.*forwarding'",
          "sysctl -e net.ipv4.nope",
          "sysctl -w net.ipv4.icmp_ratelimit=33",
          "sysctl net.ipv4.icmp_ratelimit"})
        lines.push_back(line);
    compare(configuration,
            lines + std::vector<std::string>{"ip -j route show table all", "ip -j addr",
                                             "ip -j rule", "ip -j neigh"});
}

/// A key of each kind: what it takes, what it refuses, and how it shows what it took.
TEST(Linux, SysctlRanges) {
    std::vector<std::string> lines;
    for (const char* key : {"ip_forward",
                            "ip_forward_update_priority",
                            "ip_default_ttl",
                            "ip_no_pmtu_disc",
                            "icmp_echo_ignore_all",
                            "icmp_ratelimit",
                            "icmp_msgs_per_sec",
                            "fib_multipath_hash_policy",
                            "fib_multipath_hash_fields",
                            "ipfrag_time",
                            "ipfrag_max_dist",
                            "fib_notify_on_flag_change",
                            "conf.p1.rp_filter",
                            "conf.default.shared_media",
                            "neigh.p1.mcast_solicit",
                            "neigh.p1.retrans_time_ms",
                            "neigh.p1.retrans_time",
                            "neigh.p1.base_reachable_time",
                            "neigh.p1.unres_qlen",
                            "neigh.p1.unres_qlen_bytes",
                            "neigh.p1.interval_probe_time_ms",
                            "route.mtu_expires",
                            "route.min_pmtu",
                            "route.min_adv_mss"})
        for (const char* value : {"-1", "0", "1", "2", "4", "67", "68", "256", "4096", "8589935",
                                  "2147483648", "0x21", "5 6", "x"}) {
            std::string name = std::string("net.ipv4.") + key;
            if (name.find("retrans_time") + 12 == name.size())
                if (value[0] == '-' || strlen(value) > 8)
                    continue; // the kernel wraps these round
            if (strlen(value) > 9 && name.ends_with("_ms"))
                continue;
            if (strlen(value) > 9 && name.ends_with("icmp_ratelimit"))
                continue;
            lines.push_back("sysctl -w '" + name + "=" + value + "'");
            lines.push_back("sysctl " + name);
        }
    compare({}, lines);
}

TEST(Linux, Changes) {
    std::vector<std::string> lines;
    for (const char* line : {"ip route replace 10.1.0.0/16 via 10.0.1.9 metric 20",
                             "ip route change 10.1.0.0/16 via 10.0.1.8 metric 10 tos 0x28",
                             "ip route replace blackhole 10.3.0.0/16 metric 5",
                             "ip route del 10.1.0.0/16",
                             "ip route del 10.8.0.0/16",
                             "ip route",
                             "ip route del prohibit 10.6.0.0/16",
                             "ip route del 10.4.0.0/16 metric 8",
                             "ip route del 10.44.0.0/16 proto static",
                             "ip route flush proto static",
                             "ip route",
                             "ip -s route flush cache",
                             "ip -s -s route flush exact 10.10.0.0/16",
                             "ip route flush root 10.12.0.0/14",
                             "ip route",
                             "ip -s route flush table 100",
                             "ip -s route flush table 100",
                             "ip -s route flush 10.77.0.0/16",
                             "ip -d route show table all",
                             "ip addr add 10.0.1.1/24 dev p1",
                             "ip addr replace 10.0.1.1/24 dev p1",
                             "ip addr change 10.0.1.1/24 dev p1",
                             "ip addr change 10.200.0.1/24 dev p1",
                             "ip addr del 10.0.0.1/24 dev p0",
                             "ip addr show p0",
                             "ip route",
                             "ip addr del 10.0.1.1 dev p1",
                             "ip -s addr flush dev p0 scope link",
                             "ip -s addr flush dev p0 scope link",
                             "ip addr show p0",
                             "ip -s neigh flush dev p0",
                             "ip neigh",
                             "ip neigh replace 10.0.0.2 lladdr 02:00:00:00:00:09 dev p0",
                             "ip neigh change 10.0.0.2 lladdr 02:00:00:00:00:0a dev p0 nud stale",
                             "ip neigh",
                             "ip neigh del 10.0.0.2 dev p0",
                             "ip neigh show proxy",
                             "ip neigh del proxy 10.0.1.77 dev p1",
                             "ip neigh show proxy",
                             "ip rule del from 10.1.0.0/16",
                             "ip rule del pref 50",
                             "ip rule del table main",
                             "ip rule",
                             "ip rule flush",
                             "ip rule",
                             "ip link set dev p1 down",
                             "ip route show table all",
                             "ip link set dev p1 up arp off",
                             "ip route show table all",
                             "ip addr",
                             "ip link set dev p0 address 02:00:00:00:aa:bb mtu 9000",
                             "ip addr show p0",
                             "ip neigh show nud all"})
        lines.push_back(line);
    compare(configuration, lines);
}

} // namespace
} // namespace slabfwd::test
