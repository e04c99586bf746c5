// SPDX-License-Identifier: BSD-3-Clause
//
// Lookups: which table and prefix answer, what errors stand for, choosing among next hops and
// default routes, what kind of address an address is, the source check.
#include <cerrno>
#include <cmath>
#include <gmock/gmock.h>
#include <set>

#include <fmt/format.h>

#include "neigh/neighbour.h"
#include "tests/route/fib_router.h"

namespace slabfwd::test {
namespace {

class fib_lookup_of : public testing::Test {
protected:
    fib_lookup_of() {
        r.setup(R"(
            addr add 10.0.0.1/24 dev p0
            link set p0 up
            addr add 10.0.1.1/24 dev p1
            link set p1 up
            addr add 10.0.2.1/24 dev p2
            link set p2 up)");
    }
    fib_result find(const std::string& words) {
        fl4 = parse_flow(r, words);
        fib_result res;
        EXPECT_EQ(fib_lookup(r.n, &fl4, &res), 0) << words;
        return res;
    }
    fib_router r;
    flowi4 fl4;
};

TEST_F(fib_lookup_of, longest_prefix_wins) {
    r.setup(R"(
        route add default via 10.0.0.2
        route add 172.16.0.0/12 via 10.0.0.3
        route add 172.16.0.0/16 via 10.0.1.2
        route add 172.16.5.0/24 via 10.0.0.4
        route add 172.16.5.128/25 via 10.0.1.3
        route add 172.16.5.200 via 10.0.0.5)");
    EXPECT_EQ(r.lookup("172.16.5.200"), "unicast 172.16.5.200 via 10.0.0.5 dev p0");
    EXPECT_EQ(r.lookup("172.16.5.201"), "unicast 172.16.5.128/25 via 10.0.1.3 dev p1");
    EXPECT_EQ(r.lookup("172.16.5.127"), "unicast 172.16.5.0/24 via 10.0.0.4 dev p0");
    EXPECT_EQ(r.lookup("172.16.6.1"), "unicast 172.16.0.0/16 via 10.0.1.2 dev p1");
    EXPECT_EQ(r.lookup("172.31.0.1"), "unicast 172.16.0.0/12 via 10.0.0.3 dev p0");
    EXPECT_EQ(r.lookup("172.32.0.1"), "unicast default via 10.0.0.2 dev p0");
    EXPECT_EQ(r.lookup("10.0.0.1"), "local 10.0.0.1 dev p0");
    EXPECT_EQ(r.lookup("10.0.0.255"), "broadcast 10.0.0.255 dev p0");
    EXPECT_EQ(r.lookup("10.0.0.77"), "unicast 10.0.0.0/24 dev p0");
    EXPECT_EQ(r.lookup("172.16.5.200 oif p1"), "unicast 172.16.5.128/25 via 10.0.1.3 dev p1");
}

/// Each bucket's byte in `used` says whether it has a node.
bool used_buckets_are_right(const fn_zone* fz) {
    const fz_hash_table* ht = fz->fz_hash;
    for (uint32_t i = 0; i <= ht->hashmask; ++i)
        if (ht->used[i] != (ht->bucket[i] != nullptr))
            return false;
    return true;
}

TEST_F(fib_lookup_of, a_zone_tells_which_of_its_buckets_are_used) {
    const fn_zone* hosts = r.n.ipv4.fib->fib_local->tb_data.fn_zones[32];
    const uint32_t first_mask = hosts->fz_hash->hashmask;
    const auto address = [](unsigned i) { return fmt::format("10.9.{}.{}", i >> 8, i & 255); };
    for (unsigned i = 0; i < 1200; ++i) {
        r.setup(("addr add " + address(i) + "/32 dev p0").c_str());
        ASSERT_TRUE(used_buckets_are_right(hosts)) << i;
    }
    EXPECT_GT(hosts->fz_hash->hashmask, first_mask) << "it has grown meanwhile";
    for (unsigned i = 0; i < 1200; i += 1 + i % 3) {
        r.setup(("addr del " + address(i) + "/32 dev p0").c_str());
        ASSERT_TRUE(used_buckets_are_right(hosts)) << i;
    }
    for (const auto& fz : r.n.ipv4.fib->fib_main->tb_data.fn_zones)
        EXPECT_TRUE(!fz || used_buckets_are_right(fz));
}

TEST_F(fib_lookup_of, local_and_main_are_one_until_the_first_rule) {
    r.setup(R"(
        route add 127.5.0.0/16 via 10.0.0.2
        route add local 10.9.0.0/16 dev lo
        route add 10.9.1.0/24 via 10.0.0.2)");
    EXPECT_EQ(r.lookup("127.5.0.1"), "unicast 127.5.0.0/16 via 10.0.0.2 dev p0");
    EXPECT_EQ(r.lookup("10.9.1.1"), "unicast 10.9.1.0/24 via 10.0.0.2 dev p0");
    EXPECT_EQ(inet_addr_type(r.n, parse_ip("10.9.1.1")), RTN_UNICAST);
    r.setup("rule add from 1.2.3.4 table 100");
    EXPECT_EQ(r.lookup("127.5.0.1"), "local 127.0.0.0/8 dev lo");
    EXPECT_EQ(r.lookup("10.9.1.1"), "local 10.9.0.0/16 dev lo");
    EXPECT_EQ(inet_addr_type(r.n, parse_ip("10.9.1.1")), RTN_LOCAL);
    r.setup("rule del from 1.2.3.4"); // and it stays so
    EXPECT_EQ(r.lookup("10.9.1.1"), "local 10.9.0.0/16 dev lo");
}

TEST_F(fib_lookup_of, error_routes) {
    r.setup(R"(
        route add default via 10.0.0.2
        route add blackhole 9.1.0.0/16
        route add unreachable 9.2.0.0/16
        route add prohibit 9.3.0.0/16
        route add throw 9.4.0.0/16
        route add 9.0.0.0/8 via 10.0.0.9 table default)");
    EXPECT_EQ(r.lookup("9.1.1.1"), "error " + std::to_string(EINVAL)); // goes no further
    EXPECT_EQ(r.lookup("9.2.1.1"), "error " + std::to_string(EHOSTUNREACH));
    EXPECT_EQ(r.lookup("9.3.1.1"), "error " + std::to_string(EACCES));
    EXPECT_EQ(r.lookup("9.4.1.1"), "unicast 9.0.0.0/8 via 10.0.0.9 dev p0"); // not main's default
    r.setup("route del 9.0.0.0/8 table default");
    EXPECT_EQ(r.lookup("9.4.1.1"), "error " + std::to_string(ENETUNREACH));
    r.setup("route del default");
    EXPECT_EQ(r.lookup("8.8.8.8"), "error " + std::to_string(ENETUNREACH));
}

TEST_F(fib_lookup_of, metric_and_append_order) {
    r.setup(R"(
        route add 20.0.0.0/8 via 10.0.0.2 metric 20
        route add 20.0.0.0/8 via 10.0.1.2 metric 10
        route append 20.0.0.0/8 via 10.0.2.2 metric 10)");
    EXPECT_EQ(r.lookup("20.0.0.1"), "unicast 20.0.0.0/8 via 10.0.1.2 dev p1");
    r.setup("route del 20.0.0.0/8 via 10.0.1.2");
    EXPECT_EQ(r.lookup("20.0.0.1"), "unicast 20.0.0.0/8 via 10.0.2.2 dev p2");
    r.setup("route del 20.0.0.0/8 metric 10");
    EXPECT_EQ(r.lookup("20.0.0.1"), "unicast 20.0.0.0/8 via 10.0.0.2 dev p0");
}

TEST_F(fib_lookup_of, multipath_shares_by_weight) {
    r.setup("route add 20.0.0.0/8 nexthop via 10.0.0.2 weight 1 nexthop via 10.0.1.2 weight 3 "
            "nexthop via 10.0.2.2 weight 4");
    int hits[3] = {};
    for (int i = 0; i < 8000; ++i) {
        fib_result res = find("20.0.0.1");
        fl4.saddr = cpu_to_be32(0x0b000000u + uint32_t(i) * 7919u);
        fib_select_multipath(&res, fib_multipath_hash(r.n, &fl4, nullptr), nullptr);
        ++hits[res.nh_sel];
    }
    EXPECT_NEAR(hits[0], 1000, 150);
    EXPECT_NEAR(hits[1], 3000, 250);
    EXPECT_NEAR(hits[2], 4000, 250);
    // The last next hop's share ends where the hash does.
    fib_result res = find("20.0.0.1");
    fib_select_multipath(&res, 0x7fffffff, nullptr);
    EXPECT_EQ(res.nh_sel, 2);
    fib_select_multipath(&res, 0, nullptr);
    EXPECT_EQ(res.nh_sel, 0);
}

TEST_F(fib_lookup_of, multipath_passes_over_the_dead) {
    r.setup("route add 20.0.0.0/8 nexthop via 10.0.0.2 nexthop via 10.0.1.2 nexthop via 10.0.2.2");
    auto chosen = [this] {
        std::set<int> all;
        for (uint32_t h = 0; h < 0x80000000u; h += 0x1000000) {
            fib_result res = find("20.0.0.1");
            fib_select_multipath(&res, h, nullptr);
            all.insert(res.nh_sel);
        }
        return all;
    };
    EXPECT_EQ(chosen(), (std::set<int>{0, 1, 2}));
    r.setup("link set p1 down");
    EXPECT_EQ(chosen(), (std::set<int>{0, 2}));
    r.setup("link set p2 carrier off"); // counts only where the device says so
    EXPECT_EQ(chosen(), (std::set<int>{0, 2}));
    r.setup("link set p2 carrier on");
    r.port("p2")->ip_ptr->cnf.ignore_routes_with_linkdown = 1;
    r.setup("link set p2 carrier off");
    EXPECT_EQ(chosen(), (std::set<int>{0}));
    r.setup("link set p2 carrier on\nlink set p1 up");
    EXPECT_EQ(chosen(), (std::set<int>{0, 1, 2}));
}

TEST_F(fib_lookup_of, multipath_prefers_the_next_hop_of_the_source) {
    r.setup("route add 20.0.0.0/8 nexthop via 10.0.0.2 nexthop via 10.0.1.2");
    for (uint32_t h : {0u, 0x3fffffffu, 0x40000000u, 0x7fffffffu})
        for (int want : {0, 1}) {
            fib_result res = find("20.0.0.1");
            fl4.saddr = parse_ip(want ? "10.0.1.1" : "10.0.0.1");
            fib_select_multipath(&res, h, &fl4);
            EXPECT_EQ(res.nh_sel, want) << h;
        }
}

TEST_F(fib_lookup_of, multipath_asks_neighbours_when_told) {
    r.setup("route add 20.0.0.0/8 nexthop via 10.0.0.2 nexthop via 10.0.1.2");
    ASSERT_EQ(
        neigh_add(r.n, r.port("p0"), parse_ip("10.0.0.2"), nullptr, NUD_FAILED, true, false, 0), 0);
    fib_result res = find("20.0.0.1");
    fib_select_multipath(&res, 0, nullptr);
    EXPECT_EQ(res.nh_sel, 0);
    r.n.ipv4.sysctl_fib_multipath_use_neigh = 1;
    fib_select_multipath(&res, 0, nullptr);
    EXPECT_EQ(res.nh_sel, 1);
}

TEST_F(fib_lookup_of, hash_policies) {
    auto hash = [this](const char* words) {
        flowi4 f = parse_flow(r, words);
        return fib_multipath_hash(r.n, &f, nullptr);
    };
    const char* flow = "20.0.0.1 from 30.0.0.1 ipproto udp sport 1 dport 2";
    const char* other_port = "20.0.0.1 from 30.0.0.1 ipproto udp sport 3 dport 2";
    const char* back = "30.0.0.1 from 20.0.0.1 ipproto udp sport 2 dport 1";
    EXPECT_EQ(hash(flow), hash(other_port));
    EXPECT_EQ(hash(flow), hash(back));
    EXPECT_NE(hash(flow), hash("20.0.0.2 from 30.0.0.1"));
    r.n.ipv4.sysctl_fib_multipath_hash_policy = 1;
    EXPECT_NE(hash(flow), hash(other_port));
    EXPECT_EQ(hash(flow), hash(back));
    EXPECT_EQ(hash(flow) >> 31, 0u);
    r.n.ipv4.sysctl_fib_multipath_hash_policy = 3; // addresses and protocol, as chosen by default
    EXPECT_EQ(hash(flow), hash(other_port));
    EXPECT_NE(hash(flow), hash("20.0.0.1 from 30.0.0.1 ipproto tcp sport 1 dport 2"));
    r.n.ipv4.sysctl_fib_multipath_hash_fields = 0x10; // the source's port alone
    EXPECT_NE(hash(flow), hash(other_port));
    EXPECT_EQ(hash(flow), hash("20.0.0.2 from 30.0.0.2 ipproto tcp sport 1 dport 9"));
}

/// An ICMP error about a packet: takes the way of that packet's answers.
TEST_F(fib_lookup_of, icmp_errors_hash_as_what_they_are_about) {
    const bytes inner = udp_packet(parse_ip("20.0.0.1"), parse_ip("30.0.0.1"));
    bytes outer(sizeof(iphdr) + sizeof(icmphdr));
    auto* iph = reinterpret_cast<iphdr*>(outer.data());
    *iph = {};
    iph->ihl_version = 0x45;
    iph->protocol = IPPROTO_ICMP_;
    iph->saddr = parse_ip("99.9.9.9");
    iph->daddr = parse_ip("20.0.0.1");
    outer[sizeof(iphdr)] = ICMP_TIME_EXCEEDED;
    outer.insert(outer.end(), inner.begin(), inner.begin() + 28);
    flowi4 none;
    auto hash = [&](const bytes& packet) {
        sk_buff* skb = make_skb(packet, r.port("p0"));
        skb_reset_network_header(skb);
        const uint32_t h = fib_multipath_hash(r.n, &none, skb);
        consume_skb(skb);
        return h;
    };
    EXPECT_EQ(hash(outer), hash(inner));
    outer[sizeof(iphdr)] = ICMP_ECHO;
    EXPECT_NE(hash(outer), hash(inner));
}

TEST_F(fib_lookup_of, fragments_of_a_datagram_go_one_way) {
    r.n.ipv4.sysctl_fib_multipath_hash_policy = 1;
    flowi4 none;
    std::set<uint32_t> hashes;
    for (uint16_t frag : {IP_MF, uint16_t(IP_MF | 10), uint16_t(20)}) {
        bytes packet = udp_packet(parse_ip("20.0.0.1"), parse_ip("30.0.0.1"), 8, 64, 1234, frag);
        reinterpret_cast<iphdr*>(packet.data())->frag_off = cpu_to_be16(frag);
        sk_buff* skb = make_skb(packet, r.port("p0"));
        skb_reset_network_header(skb);
        hashes.insert(fib_multipath_hash(r.n, &none, skb));
        consume_skb(skb);
    }
    EXPECT_EQ(hashes.size(), 1u);
}

TEST_F(fib_lookup_of, default_routes_by_what_neighbours_say) {
    r.setup(R"(
        route add default via 10.0.0.2
        route append default via 10.0.1.2)");
    auto chosen = [this] {
        fib_result res = find("8.8.8.8");
        fib_select_path(r.n, &res, &fl4, nullptr);
        return ip_text(res.nh()->fib_nh_gw4);
    };
    auto set = [this](const char* dev, const char* gw, uint8_t state) {
        const uint8_t mac[] = {2, 0, 0, 0, 0, 9};
        ASSERT_EQ(neigh_add(r.n, r.port(dev), parse_ip(gw), mac, state, true, false, 0), 0);
    };
    EXPECT_EQ(chosen(), "10.0.0.2"); // nothing is known of either
    set("p0", "10.0.0.2", NUD_FAILED);
    EXPECT_EQ(chosen(), "10.0.1.2");
    set("p1", "10.0.1.2", NUD_REACHABLE);
    EXPECT_EQ(chosen(), "10.0.1.2");
    set("p0", "10.0.0.2", NUD_REACHABLE);
    EXPECT_EQ(chosen(), "10.0.0.2");
    // A worse metric takes no part.
    r.setup("route add default via 10.0.2.2 metric 5");
    set("p0", "10.0.0.2", NUD_FAILED);
    set("p1", "10.0.1.2", NUD_FAILED);
    EXPECT_NE(chosen(), "10.0.2.2");
}

TEST_F(fib_lookup_of, preferred_source) {
    r.setup(R"(
        addr add 10.0.3.1/24 dev p0
        route add 20.0.0.0/8 via 10.0.3.2
        route add 21.0.0.0/8 via 10.0.0.2 src 10.0.1.1)");
    auto src = [this](const char* dst) {
        fib_result res = find(dst);
        return ip_text(fib_result_prefsrc(r.n, &res));
    };
    EXPECT_EQ(src("20.0.0.1"), "10.0.3.1");
    EXPECT_EQ(src("21.0.0.1"), "10.0.1.1");
    EXPECT_EQ(src("10.0.0.9"), "10.0.0.1");
    r.setup(
        "addr del 10.0.3.1/24 dev p0"); // what was kept at the next hop is not believed any more
    EXPECT_EQ(src("20.0.0.1"), "10.0.0.1");
}

TEST_F(fib_lookup_of, address_types) {
    auto type = [this](const char* a) { return inet_addr_type(r.n, parse_ip(a)); };
    EXPECT_EQ(type("10.0.0.1"), RTN_LOCAL);
    EXPECT_EQ(type("127.3.2.1"), RTN_LOCAL);
    EXPECT_EQ(type("10.0.0.255"), RTN_BROADCAST);
    EXPECT_EQ(type("255.255.255.255"), RTN_BROADCAST);
    EXPECT_EQ(type("0.0.0.0"), RTN_BROADCAST);
    EXPECT_EQ(type("0.0.0.9"), RTN_UNICAST);
    EXPECT_EQ(type("224.0.0.5"), RTN_MULTICAST);
    EXPECT_EQ(type("10.0.0.2"), RTN_UNICAST);
    EXPECT_EQ(type("99.0.0.2"), RTN_UNICAST);
    EXPECT_EQ(inet_dev_addr_type(r.n, r.port("p0"), parse_ip("10.0.0.1")), RTN_LOCAL);
    EXPECT_EQ(inet_dev_addr_type(r.n, r.port("p1"), parse_ip("10.0.0.1")), RTN_UNICAST);
    EXPECT_EQ(inet_addr_type_dev_table(r.n, r.port("p1"), parse_ip("10.0.0.1")), RTN_LOCAL);
    EXPECT_EQ(inet_addr_type_table(r.n, parse_ip("10.0.0.1"), 100), RTN_UNICAST);
}

// --- the source check ----------------------------------------------------------------------------

struct source_case {
    int rp_filter;
    const char* src;
    int want; ///< < 0: -errno; 0 or 1: the source is (not) on link by the device
    skb_drop_reason reason;
};

TEST_F(fib_lookup_of, source_check) {
    r.setup(R"(
        route add 192.168.9.0/24 via 10.0.2.2
        route add 20.0.0.0/8 nexthop via 10.0.0.2 nexthop via 10.0.1.2
        route add blackhole 66.0.0.0/8)");
    constexpr auto none = skb_drop_reason::NOT_DROPPED_YET, rpf = skb_drop_reason::IP_RPFILTER,
                   mine = skb_drop_reason::IP_LOCAL_SOURCE,
                   invalid = skb_drop_reason::IP_INVALID_SOURCE;
    const source_case cases[] = {
        {0, "10.0.0.2", 0, none},
        {1, "10.0.0.2", 1, none},
        {2, "10.0.0.2", 1, none},
        {0, "192.168.9.9", 0, none},
        {1, "192.168.9.9", -EXDEV, rpf},
        {2, "192.168.9.9", 0, none},
        {0, "172.30.0.1", 0, none},
        {1, "172.30.0.1", -EXDEV, rpf},
        {2, "172.30.0.1", -EXDEV, rpf},
        {0, "10.0.1.1", -EINVAL, mine},
        {1, "10.0.1.1", -EINVAL, mine},
        {2, "10.0.0.1", -EINVAL, mine},
        {1, "10.0.0.255", -EINVAL, invalid},
        {1, "20.1.1.1", 0, none},
        {1, "66.1.1.1", -EXDEV, rpf},
    };
    net_device* dev = r.port("p0");
    for (const source_case& c : cases) {
        dev->ip_ptr->cnf.rp_filter = c.rp_filter;
        skb_drop_reason reason = none;
        uint32_t itag = 0;
        const int got = fib_validate_source(r.n, nullptr, parse_ip(c.src), parse_ip("10.0.1.9"), 0,
                                            r.port("p1")->ifindex, dev, &itag, &reason);
        EXPECT_EQ(got, c.want) << c.src << " rp_filter " << c.rp_filter;
        if (c.want < 0) {
            EXPECT_EQ(drop_reason_name(reason), std::string(drop_reason_name(c.reason))) << c.src;
        }
    }
}

TEST_F(fib_lookup_of, source_check_for_redirects_and_own_addresses) {
    net_device* dev = r.port("p0");
    skb_drop_reason reason;
    uint32_t itag;
    auto check = [&](const char* src, int oif) {
        return fib_validate_source(r.n, nullptr, parse_ip(src), parse_ip("10.0.0.9"), 0, oif, dev,
                                   &itag, &reason);
    };
    EXPECT_EQ(check("10.0.0.2", dev->ifindex), 1); // leaves as it came: may be told a better way
    dev->ip_ptr->cnf.accept_local = 1;
    EXPECT_EQ(check("10.0.1.1", r.port("p1")->ifindex), 0);
    dev->ip_ptr->cnf.accept_local = 0;
    // A local route that is no address is found once there are such routes.
    EXPECT_EQ(check("10.9.0.1", r.port("p1")->ifindex), 0);
    r.setup("route add local 10.9.0.0/16 dev lo");
    EXPECT_EQ(check("10.9.0.1", r.port("p1")->ifindex), -EINVAL);
    EXPECT_EQ(reason, skb_drop_reason::IP_LOCAL_SOURCE);
}

TEST_F(fib_lookup_of, source_check_of_a_device_without_address) {
    r.setup("link set p3 up");
    net_device* dev = r.port("p3");
    skb_drop_reason reason;
    uint32_t itag;
    auto check = [&] {
        return fib_validate_source(r.n, nullptr, parse_ip("10.0.0.2"), parse_ip("10.0.1.9"), 0, 0,
                                   dev, &itag, &reason);
    };
    EXPECT_EQ(check(), 0);
    dev->ip_ptr->cnf.rp_filter = 2;
    EXPECT_EQ(check(), -EXDEV);
    EXPECT_EQ(reason, skb_drop_reason::IP_RPFILTER);
}

} // namespace
} // namespace slabfwd::test
