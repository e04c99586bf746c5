// SPDX-License-Identifier: BSD-3-Clause
//
// Routing decisions and the cache: every decision the same with a cold cache, on a hit, after a
// change of generation, with the cache squeezed and with the cache off; hits, stale entries and
// what they cost.
#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <random>

#include "alloc/failslab.h"
#include "alloc/slabinfo.h"
#include "tests/route/rt_router.h"

namespace slabfwd::test {
namespace {

using S = rt_cache_stat;

constexpr const char* ROUTES = R"(
    route add 192.168.1.0/24 via 10.0.1.2
    route add blackhole 192.168.2.0/24
    route add unreachable 192.168.3.0/24
    route add prohibit 192.168.4.0/24
    route add throw 192.168.5.0/24
    route add 192.168.6.0/24 via 10.0.0.3
    route add 192.168.7.0/24 dev p2
    route add 192.168.8.0/24 via 10.0.1.2 mtu 1000
    route add 192.168.9.0/24 via 10.0.1.77
)";

struct input_case {
    const char *src, *dst, *expect;
};
constexpr input_case INPUT_CASES[] = {
    {"10.0.0.2", "10.0.0.1", "local"},
    {"10.0.0.2", "10.0.1.1", "local"},
    {"10.0.0.2", "10.0.0.255", "broadcast"},
    {"10.0.0.2", "255.255.255.255", "broadcast"},
    {"0.0.0.0", "255.255.255.255", "broadcast"},
    {"0.0.0.0", "0.0.0.0", "broadcast"},
    {"10.0.0.2", "192.168.1.5", "forward via 10.0.1.2 dev p1"},
    {"10.0.0.2", "10.0.1.7", "forward via 10.0.1.7 dev p1"},
    {"10.0.0.2", "10.0.1.99", "forward via 10.0.1.99 dev p1"},
    {"10.0.0.2", "192.168.2.1", "error 22"},
    {"10.0.0.2", "192.168.3.1", "error 113"},
    {"10.0.0.2", "192.168.4.1", "error 13"},
    {"10.0.0.2", "192.168.5.1", "error 101"},
    {"10.0.0.2", "8.8.8.8", "error 101"},
    {"10.0.0.2", "192.168.6.5", "forward via 10.0.0.3 dev p0 redirect"},
    {"10.0.1.2", "192.168.6.5", "forward via 10.0.0.3 dev p0"},
    {"10.0.0.2", "192.168.7.5", "forward via 192.168.7.5 dev p2"},
    {"10.0.0.2", "192.168.9.5", "forward via 10.0.1.77 dev p1"},
    {"10.0.0.2", "10.0.0.9", "forward via 10.0.0.9 dev p0 redirect"},
    {"224.0.0.1", "192.168.1.5", "refused IP_INVALID_SOURCE"},
    {"255.255.255.255", "192.168.1.5", "refused IP_INVALID_SOURCE"},
    {"0.1.2.3", "192.168.1.5", "forward via 10.0.1.2 dev p1"},
    {"0.0.0.0", "192.168.1.5", "refused IP_INVALID_SOURCE"},
    {"127.0.0.1", "192.168.1.5", "refused IP_LOCALNET"},
    {"10.0.0.2", "127.0.0.1", "refused IP_LOCALNET"},
    {"10.0.0.2", "0.1.2.3", "error 101"},
    {"10.0.0.2", "0.0.0.0", "refused IP_INVALID_DEST"},
    {"10.0.0.1", "192.168.1.5", "refused IP_LOCAL_SOURCE"},
    {"10.0.1.1", "10.0.0.1", "refused IP_LOCAL_SOURCE"},
    {"10.0.0.255", "192.168.1.5", "forward via 10.0.1.2 dev p1"}, // without rp_filter nobody looks
    {"10.0.0.255", "10.0.0.9", "refused IP_INVALID_SOURCE"},      // for a redirect somebody does
    {"10.0.0.2", "224.0.0.1", "multicast"},
    {"10.0.0.2", "224.0.0.5", "refused NOT_SPECIFIED"},
    {"10.0.0.2", "239.1.2.3", "refused NOT_SPECIFIED"},
    {"127.0.0.1", "224.0.0.1", "refused IP_LOCALNET"},
};

struct output_case {
    const char *dst, *src, *oif, *expect;
};
constexpr output_case OUTPUT_CASES[] = {
    {"192.168.1.5", nullptr, nullptr, "via 10.0.1.2 dev p1 src 10.0.1.1"},
    {"192.168.1.5", "10.0.0.1", nullptr, "via 10.0.1.2 dev p1 src 10.0.0.1"},
    {"192.168.1.5", "10.9.9.9", nullptr, "error 101"},
    {"192.168.1.5", "224.0.0.1", nullptr, "error 22"},
    {"10.0.1.7", nullptr, nullptr, "via 10.0.1.7 dev p1 src 10.0.1.1"},
    {"10.0.1.1", nullptr, nullptr, "via 10.0.1.1 dev lo src 10.0.1.1 local"},
    {"127.0.0.1", nullptr, nullptr, "via 127.0.0.1 dev lo src 127.0.0.1 local"},
    {"10.0.0.255", nullptr, nullptr, "via 10.0.0.255 dev p0 src 10.0.0.1 broadcast"},
    {"255.255.255.255", nullptr, "p2", "via 255.255.255.255 dev p2 src 10.0.2.1 broadcast"},
    {"255.255.255.255", "10.0.1.1", nullptr, "via 255.255.255.255 dev p1 src 10.0.1.1 broadcast"},
    {"224.0.0.1", nullptr, "p2", "via 224.0.0.1 dev p2 src 10.0.2.1 multicast"},
    {"224.0.0.9", "10.0.1.1", nullptr, "via 224.0.0.9 dev p1 src 10.0.1.1 multicast"},
    {"8.8.8.8", nullptr, nullptr, "error 101"},
    {"8.8.8.8", nullptr, "p1", "via 8.8.8.8 dev p1 src 10.0.1.1"},
    {"8.8.8.8", nullptr, "p3", "error 101"}, // p3 is down
    {"192.168.2.1", nullptr, nullptr, "error 22"},
    {"192.168.3.1", nullptr, nullptr, "error 113"},
    {"192.168.4.1", nullptr, nullptr, "error 13"},
    {"0.0.0.0", nullptr, nullptr, "via 127.0.0.1 dev lo src 127.0.0.1 local"},
    {"0.1.2.3", nullptr, "p1", "via 0.1.2.3 dev p1 src 10.0.1.1"},
};

void expect_all(rt_router& r, const char* when, size_t first = 0) {
    SCOPED_TRACE(when);
    for (size_t i = 0; i < std::size(INPUT_CASES); ++i) {
        const input_case& c = INPUT_CASES[(first + i) % std::size(INPUT_CASES)];
        EXPECT_EQ(r.input(c.src, c.dst, c.src == std::string("10.0.1.2") ? "p1" : "p0"), c.expect)
            << c.src << " -> " << c.dst;
    }
    for (const output_case& c : OUTPUT_CASES)
        EXPECT_EQ(r.output(c.dst, c.src, c.oif), c.expect) << "output " << c.dst;
    EXPECT_TRUE(rt_shard_is_valid(r.shard()));
    r.burst_end();
    EXPECT_TRUE(rt_shard_is_valid(r.shard()));
}

TEST(route, decisions_are_the_same_cold_hit_and_stale) {
    rt_router r;
    r.setup(ROUTES);
    expect_all(r, "cold");
    expect_all(r, "hits");
    uint32_t cached = r.shard()->nr_cached;
    uint64_t allocated = r.stat(S::allocated);
    rt_cache_flush(r.n);
    expect_all(r, "stale");
    EXPECT_EQ(r.shard()->nr_cached, cached);
    EXPECT_EQ(r.stat(S::allocated), allocated) << "stale entries were not taken over in place";
    EXPECT_GT(r.stat(S::revalidated), 0u);
}

TEST(route, decisions_are_the_same_squeezed) {
    rt_router r;
    r.setup(ROUTES);
    r.limits(1, 4, 1);
    for (int round = 0; round < 40; ++round) {
        expect_all(r, "squeezed", size_t(round) * 5); // others come first each time
        EXPECT_LE(r.shard()->ipv4_dst_ops.entries, 4u);
        r.advance_ms(round % 3 ? 10 : 700);
    }
    EXPECT_GT(r.stat(S::gc_total), 0u);
    EXPECT_GT(r.stat(S::allocated), 4u) << "collection never made room";
    EXPECT_GT(r.stat(S::uncached), 0u);
    EXPECT_FALSE(logged("Route cache is full"));
}

TEST(route, decisions_are_the_same_with_the_cache_off) {
    rt_router r;
    r.setup(ROUTES);
    expect_all(r, "on");
    r.cache_off();
    EXPECT_EQ(r.shard()->nr_cached, 0u);
    for (int i = 0; i < 3; ++i)
        expect_all(r, "off");
    EXPECT_EQ(r.shard()->nr_cached, 0u);
    EXPECT_EQ(r.stat(S::in_hit), 0u);
    rt_cache_flush(r.n);
    expect_all(r, "off, another generation");
    r.n.ipv4.sysctl_rt_cache_rebuild_count = 4;
    rt_sysctl_changed(r.n);
    expect_all(r, "on again");
    EXPECT_GT(r.shard()->nr_cached, 0u);
}

TEST(route, switched_off_entries_go_when_met) {
    rt_router r;
    r.setup(ROUTES);
    expect_all(r, "on");
    r.n.ipv4.sysctl_rt_cache_rebuild_count = -1;
    rt_cache_flush(r.n); // the generation alone
    expect_all(r, "off");
    expect_all(r, "off");
    EXPECT_EQ(r.shard()->nr_cached, 0u);
}

TEST(route, a_limit_of_nothing_still_routes) {
    rt_router r;
    r.setup(ROUTES);
    r.limits(0, 0, 1);
    expect_all(r, "no entries at all");
    EXPECT_EQ(r.shard()->ipv4_dst_ops.entries, 0u);
    EXPECT_EQ(r.stat(S::allocated), r.stat(S::collected));
}

TEST(route, hosts_do_not_forward) {
    rt_router r;
    r.setup(ROUTES);
    r.port("p0")->ip_ptr->cnf.forwarding = 0;
    EXPECT_EQ(r.input("10.0.0.2", "192.168.1.5"), "error 113");
    EXPECT_EQ(r.input("10.0.0.2", "8.8.8.8"), "error 113");
    EXPECT_EQ(r.input("10.0.0.2", "192.168.2.5"), "error 113");
    EXPECT_EQ(r.input("10.0.0.2", "10.0.1.1"), "local");
    r.error_packet("10.0.0.2", "192.168.1.5");
    EXPECT_TRUE(r.icmp.empty());
    EXPECT_EQ(r.drops(skb_drop_reason::IP_INADDRERRORS), 1u);
}

TEST(route, reverse_path_filter_and_localnet) {
    rt_router r;
    r.setup(ROUTES);
    r.port("p0")->ip_ptr->cnf.rp_filter = 1;
    EXPECT_EQ(r.input("10.0.1.9", "192.168.1.5"), "refused IP_RPFILTER");
    EXPECT_EQ(r.input("10.0.1.9", "10.0.0.1"), "refused IP_RPFILTER");
    EXPECT_EQ(r.stat(S::in_martian_src), 2u);
    r.port("p0")->ip_ptr->cnf.rp_filter = 0;
    EXPECT_EQ(r.input("10.0.1.9", "192.168.1.5"), "forward via 10.0.1.2 dev p1");
    r.port("p0")->ip_ptr->cnf.route_localnet = 1;
    EXPECT_EQ(r.input("10.0.0.2", "127.0.0.1"), "local");
    r.port("p0")->ip_ptr->cnf.log_martians = 1;
    EXPECT_EQ(r.input("224.0.0.1", "10.0.0.1"), "refused IP_INVALID_SOURCE");
    EXPECT_TRUE(logged("IPv4: martian source 10.0.0.1 from 224.0.0.1, on dev p0"));
    EXPECT_EQ(r.input("10.0.0.2", "0.0.0.0"), "refused IP_INVALID_DEST");
    EXPECT_TRUE(logged("IPv4: martian destination 0.0.0.0 from 10.0.0.2, dev p0"));
}

TEST(route, directed_broadcasts_are_forwarded_where_asked_for) {
    rt_router r;
    EXPECT_EQ(r.input("10.0.0.2", "10.0.1.255"), "broadcast");
    r.n.ipv4.devconf_all.bc_forwarding = 1;
    r.port("p0")->ip_ptr->cnf.bc_forwarding = 1;
    rt_cache_flush(r.n);
    EXPECT_EQ(r.input("10.0.0.2", "10.0.1.255"), "forward via 10.0.1.255 dev p1");
    EXPECT_FALSE(r.rt->plain());
    EXPECT_EQ(r.input("10.0.2.2", "10.0.1.255", "p2"), "broadcast");
    EXPECT_EQ(r.input("10.0.0.2", "255.255.255.255"), "broadcast");
    EXPECT_EQ(r.input("10.0.0.2", "10.0.0.255"), "forward via 10.0.0.255 dev p0 redirect");
}

TEST(route, plain_entries) {
    rt_router r;
    r.setup(ROUTES);
    auto plain = [&](const char* dst, const char* src = "10.0.0.2") {
        r.input(src, dst);
        return r.rt->rt_cached && r.rt->plain();
    };
    EXPECT_TRUE(plain("192.168.1.5"));
    EXPECT_TRUE(plain("10.0.1.7"));
    EXPECT_TRUE(plain("192.168.8.5"));
    EXPECT_EQ(r.rt->dst.mtu, 1000u);
    EXPECT_FALSE(plain("192.168.6.5")); // redirect
    EXPECT_FALSE(plain("10.0.0.1"));
    EXPECT_FALSE(plain("10.0.0.255"));
    EXPECT_FALSE(plain("8.8.8.8"));
    EXPECT_FALSE(plain("10.0.1.99")); // nobody there
    r.output("192.168.1.5");
    EXPECT_TRUE(r.rt->rt_cached);
    EXPECT_FALSE(r.rt->plain());
}

// Neighbouring hosts that send to neighbouring hosts, under any secret: chains as of random keys. Longer
// ones than gc_elasticity throw each other's entries out, packet after packet.
TEST(route, flows_of_neighbours_spread_over_the_buckets) {
    constexpr uint32_t FLOWS = 10000, BUCKETS = 16384;
    std::mt19937_64 secrets(1);
    for (int turn = 0; turn < 200; ++turn) {
        const rt_hash_rule hash(2, secrets());
        std::vector<unsigned> chain(BUCKETS);
        uint64_t searched = 0;
        for (uint32_t i = 0; i < FLOWS; ++i) {
            const be32_t saddr = cpu_to_be32(0x0a020000 + ((1 + i / 250) << 8) + 1 + i % 250);
            const be32_t daddr = cpu_to_be32(0x0a030000 + (i / 250 << 8) + 1 + i % 250);
            searched += chain[hash(daddr, saddr) % BUCKETS]++;
        }
        EXPECT_LE(*std::max_element(chain.begin(), chain.end()), 9u) << turn;
        EXPECT_LT(double(searched) / FLOWS, 1.1 * FLOWS / 2 / BUCKETS) << turn;
    }
}

TEST(route, counters_of_hits_and_misses) {
    rt_router r;
    r.setup(ROUTES);
    r.input("10.0.0.2", "192.168.1.5");
    EXPECT_EQ(r.stat(S::in_slow_tot), 1u);
    EXPECT_EQ(r.stat(S::in_hit), 0u);
    const rtable* first = r.rt;
    r.input("10.0.0.2", "192.168.1.5");
    EXPECT_EQ(r.rt, first);
    EXPECT_EQ(r.stat(S::in_hit), 1u);
    r.input("10.0.0.2", "192.168.1.5", "p0", 0x03); // ECN bits do not route
    EXPECT_EQ(r.rt, first);
    r.input("10.0.0.2", "192.168.1.5", "p0", 0x20);
    EXPECT_NE(r.rt, first);
    r.input("10.0.0.2", "8.8.8.8");
    EXPECT_EQ(r.stat(S::in_no_route), 1u);
    r.input("10.0.0.2", "224.0.0.1");
    EXPECT_EQ(r.stat(S::in_slow_mc), 1u);
    r.input("10.0.0.2", "255.255.255.255");
    EXPECT_EQ(r.stat(S::in_brd), 1u);
    r.output("192.168.1.5");
    r.output("192.168.1.5");
    EXPECT_EQ(r.stat(S::out_slow_tot), 1u);
    EXPECT_EQ(r.stat(S::out_hit), 1u);
    rt_cache_totals t = rt_cache_get_totals(r.n);
    EXPECT_EQ(t.hits, 3u);
    EXPECT_EQ(t.misses, 6u);
    EXPECT_EQ(t.allocated - t.collected, t.entries);
    EXPECT_EQ(t.entries, r.shard()->nr_cached);
}

TEST(route, changed_routes_take_effect) {
    rt_router r;
    r.setup(ROUTES);
    EXPECT_EQ(r.input("10.0.0.2", "192.168.1.5"), "forward via 10.0.1.2 dev p1");
    r.setup("route replace 192.168.1.0/24 via 10.0.2.5");
    EXPECT_EQ(r.input("10.0.0.2", "192.168.1.5"), "forward via 10.0.2.5 dev p2");
    EXPECT_EQ(r.shard()->nr_cached, 1u);
    r.setup("route del 192.168.1.0/24");
    EXPECT_EQ(r.input("10.0.0.2", "192.168.1.5"), "error 101");
    r.setup("addr add 192.168.1.5/32 dev p2");
    EXPECT_EQ(r.input("10.0.0.2", "192.168.1.5"), "local");
    r.setup("addr del 192.168.1.5/32 dev p2");
    EXPECT_EQ(r.input("10.0.0.2", "192.168.1.5"), "error 101");
    EXPECT_TRUE(rt_shard_is_valid(r.shard()));
}

TEST(route, a_batch_is_one_generation) {
    rt_router r;
    uint32_t before = rt_genid(r.n);
    rt_genid_batch_begin(r.n);
    rt_genid_batch_begin(r.n);
    r.setup(ROUTES);
    rt_genid_batch_end(r.n);
    EXPECT_EQ(rt_genid(r.n), before);
    rt_genid_batch_end(r.n);
    EXPECT_EQ(rt_genid(r.n), before + 1);
    rt_genid_batch_begin(r.n);
    rt_genid_batch_end(r.n);
    EXPECT_EQ(rt_genid(r.n), before + 1);
}

TEST(route, a_changed_mtu_is_in_the_entry) {
    rt_router r;
    r.setup(ROUTES);
    r.input("10.0.0.2", "192.168.1.5");
    const rtable* rt = r.rt;
    EXPECT_EQ(rt->dst.mtu, 1500u);
    dev_set_mtu(r.port("p1"), 1400);
    r.input("10.0.0.2", "192.168.1.5");
    EXPECT_EQ(r.rt, rt);
    EXPECT_EQ(rt->dst.mtu, 1400u);
    r.input("10.0.0.2", "10.0.1.99"); // the shared one
    EXPECT_EQ(r.rt->dst.mtu, 1400u);
    dev_set_mtu(r.port("p1"), 1300);
    r.input("10.0.0.2", "10.0.1.99");
    EXPECT_EQ(r.rt->dst.mtu, 1300u);
}

TEST(route, unresolved_neighbours_pin_nothing) {
    rt_router r;
    for (int i = 20; i < 120; ++i)
        EXPECT_EQ(r.input("10.0.0.2", ("10.0.1." + std::to_string(i)).c_str()),
                  "forward via 10.0.1." + std::to_string(i) + " dev p1");
    EXPECT_EQ(r.shard()->nr_cached, 0u);
    EXPECT_EQ(r.shard()->ipv4_dst_ops.entries, 0u);
    EXPECT_EQ(r.find(r.port("p1"), "10.0.1.20"), nullptr) << "routing alone makes no neighbour";
    const rtable* shared = r.rt;
    EXPECT_TRUE(shared->rt_shared);
    r.neigh("p1", "10.0.1.20", NUD_REACHABLE);
    r.input("10.0.0.2", "10.0.1.20");
    EXPECT_TRUE(r.rt->rt_cached);
    EXPECT_EQ(r.rt->dst.neighbour, r.find(r.port("p1"), "10.0.1.20"));
}

TEST(route, a_dead_neighbour_unbinds) {
    rt_router r;
    r.neigh("p1", "10.0.1.20", NUD_REACHABLE);
    r.input("10.0.0.2", "10.0.1.20");
    ASSERT_TRUE(r.rt->rt_cached);
    neigh_delete(r.n, r.port("p1"), ip("10.0.1.20"));
    r.input("10.0.0.2", "10.0.1.20");
    EXPECT_TRUE(r.rt->rt_shared);
    EXPECT_EQ(r.shard()->nr_cached, 0u);
    r.burst_end();
    EXPECT_EQ(r.shard()->ipv4_dst_ops.entries, 0u);
}

TEST(route, output_by_a_dead_neighbour_unbinds_too) {
    rt_router r;
    r.neigh("p1", "10.0.1.20", NUD_REACHABLE);
    r.input("10.0.0.2", "10.0.1.20");
    neighbour* before = r.rt->dst.neighbour;
    sk_buff* skb = make_skb(udp_packet(ip("10.0.0.2"), ip("10.0.1.20")), r.port("p0"));
    skb_reset_network_header(skb);
    EXPECT_EQ(ip_neigh_for_gw(r.rt, skb), before);
    EXPECT_TRUE(r.rt->rt_cached);
    neigh_delete(r.n, r.port("p1"), ip("10.0.1.20"));
    neighbour* after = ip_neigh_for_gw(r.rt, skb);
    EXPECT_NE(after, nullptr);
    EXPECT_FALSE(after->dead);
    EXPECT_EQ(r.shard()->nr_cached, 0u);
    consume_skb(skb);
    r.burst_end();
}

TEST(route, a_full_neighbour_table_gets_back_what_the_cache_holds) {
    rt_router r;
    r.arp().gc_thresh1 = 0;
    r.arp().gc_thresh2 = 0;
    for (int i = 2; i < 10; ++i)
        neigh_delete(r.n, r.port("p1"), ip(("10.0.1." + std::to_string(i)).c_str()));
    r.settle();
    for (int i = 20; i < 24; ++i) {
        std::string addr = "10.0.1." + std::to_string(i);
        r.neigh("p1", addr, NUD_STALE);
        r.input("10.0.0.2", addr.c_str());
        ASSERT_TRUE(r.rt->rt_cached);
    }
    r.advance_ms(20000);
    r.arp().gc_thresh3 = 4; // permanent ones do not count
    r.input("10.0.0.2", "10.0.1.99");
    sk_buff* skb = make_skb(udp_packet(ip("10.0.0.2"), ip("10.0.1.99")), r.port("p0"));
    skb_reset_network_header(skb);
    EXPECT_NE(ip_neigh_for_gw(r.rt, skb), nullptr);
    EXPECT_EQ(r.shard()->nr_cached, 0u);
    consume_skb(skb);
    r.burst_end();
}

// Hosts that do not exist are refused when too many are asked for; that is no reason to let go of
// what the cache holds.
TEST(route, a_scan_takes_nothing_from_the_cache) {
    rt_router r;
    r.setup(ROUTES);
    r.arp().gc_thresh2 = r.arp().gc_thresh3 = 64;
    for (int i = 1; i <= 20; ++i)
        r.input("10.0.0.2", ("192.168.1." + std::to_string(i)).c_str());
    ASSERT_EQ(r.shard()->nr_cached, 20u);
    int refused = 0;
    for (int i = 20; i < 220; ++i) {
        const std::string addr = "10.0.1." + std::to_string(i);
        r.input("10.0.0.2", addr.c_str());
        sk_buff* skb = make_skb(udp_packet(ip("10.0.0.2"), ip(addr.c_str())), r.port("p0"));
        skb_reset_network_header(skb);
        neighbour* n = ip_neigh_for_gw(r.rt, skb);
        refused += !n;
        if (n)
            neigh_event_send(n, nullptr);
        consume_skb(skb);
        r.burst_end();
    }
    EXPECT_EQ(refused, 200 - 32 - 16) << "half of the table, and what makes way in a jiffy";
    EXPECT_EQ(r.shard()->nr_cached, 20u);
    EXPECT_LE(r.arp().gc_entries, 64);
}

TEST(route, multipath_icmp_errors_choose_by_what_they_quote) {
    rt_router r;
    r.setup("route add 172.16.0.0/12 nexthop via 10.0.1.2 nexthop via 10.0.2.2");
    std::map<std::string, std::string> chosen;
    for (int i = 1; i < 60; ++i) {
        std::string dst = "172.16.0." + std::to_string(i);
        chosen[dst] = r.input("10.0.0.2", dst.c_str());
        EXPECT_TRUE(r.rt->rt_cached);
        EXPECT_EQ(r.rt->plain(), 2);
        EXPECT_TRUE(r.rt->plain_for(IPPROTO_UDP_));
        EXPECT_FALSE(r.rt->plain_for(IPPROTO_ICMP_));
        EXPECT_EQ(r.input("10.0.0.2", dst.c_str()), chosen[dst]);
        r.input("10.0.0.2", dst.c_str(), "p0", 0, IPPROTO_ICMP_);
        EXPECT_FALSE(r.rt->rt_cached) << "an ICMP packet neither uses nor replaces the entry";
        EXPECT_EQ(r.input("10.0.0.2", dst.c_str()), chosen[dst]);
        r.burst_end();
    }
    size_t p1 = 0;
    for (auto& [dst, way] : chosen)
        p1 += way.find("dev p1") != std::string::npos;
    EXPECT_GT(p1, 10u);
    EXPECT_LT(p1, 50u);
    r.n.ipv4.sysctl_fib_multipath_hash_policy = 1;
    rt_cache_flush(r.n);
    r.input("10.0.0.2", "172.16.0.1");
    EXPECT_TRUE(r.rt->rt_shared);
}

TEST(route, rules_that_look_at_ports_are_not_cached) {
    rt_router r;
    r.setup(ROUTES);
    EXPECT_EQ(r.input("10.0.0.2", "192.168.1.5"), "forward via 10.0.1.2 dev p1");
    r.setup("route add default via 10.0.2.2 table 100");
    r.setup("rule add ipproto udp dport 2000 prio 100 table 100");
    EXPECT_EQ(r.input("10.0.0.2", "192.168.1.5"), "forward via 10.0.2.2 dev p2");
    EXPECT_EQ(r.input("10.0.0.2", "192.168.1.5", "p0", 0, IPPROTO_TCP_),
              "forward via 10.0.1.2 dev p1");
    EXPECT_EQ(r.shard()->nr_cached, 0u);
}

TEST(route, a_device_that_goes_is_in_no_entry) {
    rt_router r;
    r.setup(ROUTES);
    r.input("10.0.0.2", "192.168.1.5");
    r.input("10.0.0.2", "10.0.1.1");
    r.input("10.0.0.2", "8.8.8.8");
    EXPECT_GT(r.shard()->nr_cached, 0u);
    net_device* p1 = r.port("p1");
    dev_change_flags(p1, 0, IFF_UP);
    EXPECT_EQ(r.input("10.0.0.2", "192.168.1.5"), "error 101");
    unregister_netdevice(p1);
    EXPECT_EQ(r.shard()->nr_cached, 0u);
    r.burst_end();
}

TEST(route, a_moved_secret_keeps_every_entry) {
    rt_router r;
    r.setup(ROUTES);
    expect_all(r, "before");
    uint32_t cached = r.shard()->nr_cached;
    uint64_t missed = r.stat(S::missed), uncached = r.stat(S::uncached);
    expect_all(r, "hits");
    uint64_t missed_a_round = r.stat(S::missed) - missed;
    rt_rebuild(r.shard());
    EXPECT_TRUE(rt_shard_is_valid(r.shard()));
    missed = r.stat(S::missed);
    expect_all(r, "after");
    EXPECT_EQ(r.shard()->nr_cached, cached);
    EXPECT_EQ(r.stat(S::missed) - missed, missed_a_round);
    EXPECT_GT(r.stat(S::uncached), uncached);
}

TEST(route, rt_intern_hash_keeps_the_first_of_a_key) {
    rt_router r;
    r.setup(ROUTES);
    r.input("10.0.0.2", "192.168.1.5");
    rtable* first = r.rt;
    dst_entry* dst = dst_alloc(&r.shard()->ipv4_dst_ops, first->dst.dev, 0, 0, DST_HOST);
    rtable* twin = rt_from_dst(dst);
    dst_entry saved = *dst;
    *twin = *first;
    twin->dst = saved;
    twin->rt_cached = false;
    twin->fi = nullptr;
    uint32_t hash = rt_hash_of(r.shard(), first->key);
    EXPECT_EQ(rt_intern_hash(r.shard(), hash, twin), first);
    EXPECT_EQ(r.shard()->nr_cached, 1u);
    r.burst_end();
    EXPECT_EQ(r.shard()->ipv4_dst_ops.entries, 1u);
}

TEST(route, long_chains_lose_their_least_valuable) {
    rt_router r;
    r.setup(ROUTES);
    r.limits(1000000, 1000000, 2);
    // More flows than buckets x (elasticity + 1) allow.
    for (int i = 0; i < 2000; ++i)
        r.input(("10.0.0." + std::to_string(2 + i % 250)).c_str(),
                ("192.168.1." + std::to_string(1 + i / 250)).c_str());
    EXPECT_LE(r.shard()->nr_cached, 64u * 3);
    EXPECT_GT(r.shard()->nr_cached, 64u);
    r.burst_end();
    EXPECT_TRUE(rt_shard_is_valid(r.shard()));
    EXPECT_EQ(r.shard()->ipv4_dst_ops.entries, r.shard()->nr_cached);
}

TEST(route, dump_and_flush) {
    rt_router r(2);
    r.setup(ROUTES);
    for (unsigned cpu : {0u, 1u}) {
        r.enter(cpu);
        for (int i = 1; i < 30; ++i)
            r.input("10.0.0.2", ("192.168.1." + std::to_string(i)).c_str());
    }
    r.enter(r.n.control_cpu());
    auto rows = rt_cache_dump(r.n, 0);
    ASSERT_EQ(rows.size(), 58u);
    EXPECT_EQ(rt_cache_dump(r.n, 10).size(), 10u);
    EXPECT_STREQ(rows[0].iface, "p1");
    EXPECT_EQ(to_string(rows[0].gateway), "10.0.1.2");
    EXPECT_EQ(to_string(rows[0].spec_dst), "10.0.0.1");
    EXPECT_TRUE(rows[0].hh_uptodate);
    EXPECT_EQ(rt_cache_get_totals(r.n).entries, 58u);
    rt_cache_flush(r.n);
    EXPECT_EQ(rt_cache_dump(r.n, 0).size(), 0u) << "of the current generation only";
    on_each_cpu(r.n, shard_flush_here, nullptr);
    r.enter(0);
    EXPECT_EQ(r.shard()->nr_cached, 0u);
}

TEST(route, arp_asks) {
    rt_router r;
    r.setup(ROUTES);
    net_device* out = nullptr;
    auto ask = [&](const char* tip, const char* sip, const char* dev = "p0") {
        return arp_route_ops.input_type(r.port(dev), ip(tip), ip(sip), &out);
    };
    EXPECT_EQ(ask("10.0.0.1", "10.0.0.2"), RTN_LOCAL);
    EXPECT_EQ(ask("10.0.1.1", "10.0.0.2"), RTN_LOCAL);
    EXPECT_EQ(ask("192.168.1.5", "10.0.0.2"), RTN_UNICAST);
    EXPECT_STREQ(out->name, "p1");
    EXPECT_LT(ask("10.0.0.9", "10.0.0.2"), 0); // by the same device: no proxy
    EXPECT_LT(ask("10.0.0.255", "10.0.0.2"), 0);
    EXPECT_LT(ask("10.0.0.1", "224.0.0.1"), 0);
    EXPECT_EQ(ask("8.8.8.8", "10.0.0.2"), RTN_UNREACHABLE);
    EXPECT_EQ(r.shard()->nr_cached, 0u);
    EXPECT_TRUE(arp_route_ops.output_dev_is(r.port("p0"), ip("10.0.0.2"), ip("10.0.0.1")));
    EXPECT_FALSE(arp_route_ops.output_dev_is(r.port("p1"), ip("10.0.0.2"), ip("10.0.1.1")));
    EXPECT_EQ(arp_route_ops.addr_type(r.port("p0"), ip("10.0.0.1")), RTN_LOCAL);
}

// Every allocation of every decision fails once, and all of them together: the packet is routed by
// other means or refused with NOMEM, and nothing leaks (the fixture looks).
TEST(route, failing_allocations) {
    for (int strict : {0, 1}) {
        rt_router r;
        r.setup(ROUTES);
        r.n.ipv4.rt.admission = !strict;
        kmem_cache* cache = ip_dst_cachep.get();
        for (int times : {1, -1}) {
            size_t refused = 0, any_failed = 0;
            for (const input_case& c : INPUT_CASES) {
                on_each_cpu(r.n, shard_flush_here, nullptr);
                fault_attr attr;
                attr.only = cache;
                attr.times = times;
                failslab_set(attr);
                std::string got =
                    r.input(c.src, c.dst, c.src == std::string("10.0.1.2") ? "p1" : "p0");
                uint64_t failed = failslab_stats().failed;
                failslab_off();
                if (!failed || got != "refused NOMEM") {
                    EXPECT_EQ(got, c.expect);
                }
                refused += got == "refused NOMEM";
                any_failed += failed != 0;
                r.burst_end();
            }
            EXPECT_GT(any_failed, 10u);
            if (strict) {
                EXPECT_EQ(refused, any_failed);
            } else {
                EXPECT_LT(refused, any_failed) << "the next hop's entry stands in";
            }
            for (const output_case& c : OUTPUT_CASES) {
                on_each_cpu(r.n, shard_flush_here, nullptr);
                fault_attr attr;
                attr.only = cache;
                attr.times = times;
                failslab_set(attr);
                std::string got = r.output(c.dst, c.src, c.oif);
                failslab_off();
                EXPECT_TRUE(got == c.expect || got == "error 105") << got;
                r.burst_end();
            }
        }
        EXPECT_TRUE(rt_shard_is_valid(r.shard()));
    }
}

TEST(route, init_fails_cleanly) {
    for (uint64_t nth = 1; nth < 60; ++nth) {
        test_net t;
        fault_attr attr;
        attr.nth = nth;
        failslab_set(attr);
        int err = ip_rt_init(t.n, 64);
        bool failed = failslab_stats().failed;
        failslab_off();
        EXPECT_EQ(err != 0, failed) << nth;
        if (!err)
            ip_rt_exit(t.n);
        EXPECT_EQ(t.n.ipv4.rtn, nullptr);
        if (!failed)
            return;
    }
    FAIL() << "more allocations than expected";
}

// A random mix against a model of sixteen prefixes: whatever the cache holds, the answer is the
// tables'.
class route_random : public ::testing::TestWithParam<int> {};

TEST_P(route_random, cache_never_disagrees_with_the_tables) {
    rt_router r;
    uint64_t rng = uint64_t(GetParam()) * 7919 + 1;
    auto rnd = [&](uint32_t below) {
        rng = rng * 6364136223846793005u + 1442695040888963407u;
        return uint32_t(rng >> 33) % below;
    };
    std::map<uint32_t, std::string> model; // third byte of 192.168.X -> answer
    const char* gateways[] = {"10.0.1.2", "10.0.1.3", "10.0.2.4", "10.0.2.77"};
    const int limits[][3] = {{1, 4, 1}, {16, 64, 2}, {64, 1024, 8}, {0, 0, 1}};
    for (int step = 0; step < 10000; ++step) {
        uint32_t x = rnd(16), op = rnd(1000);
        std::string prefix = "192.168." + std::to_string(x) + ".0/24";
        if (op < 12) {
            const char* gw = gateways[rnd(4)];
            r.setup(("route replace " + prefix + " via " + gw).c_str());
            model[x] = std::string("forward via ") + gw + (gw[5] == '1' ? " dev p1" : " dev p2");
        } else if (op < 18) {
            r.setup(("route replace prohibit " + prefix).c_str());
            model[x] = "error 13";
        } else if (op < 24) {
            if (model.erase(x))
                r.setup(("route del " + prefix).c_str());
        } else if (op < 27) {
            const int* l = limits[rnd(4)];
            r.limits(l[0], l[1], l[2]);
        } else if (op < 30) {
            r.n.ipv4.sysctl_rt_cache_rebuild_count = rnd(3) ? 4 : -1;
            rt_sysctl_changed(r.n);
        } else if (op < 60) {
            r.advance_ms(rnd(4) ? rnd(50) : rnd(100000));
        } else if (op < 70) {
            if (rnd(2))
                r.neigh("p2", "10.0.2.77", NUD_REACHABLE);
            else
                neigh_delete(r.n, r.port("p2"), ip("10.0.2.77"));
        } else {
            std::string dst = "192.168." + std::to_string(x) + "." + std::to_string(1 + rnd(12));
            auto it = model.find(x);
            ASSERT_EQ(r.input("10.0.0.2", dst.c_str()),
                      it == model.end() ? "error 101" : it->second)
                << "step " << step;
        }
        if (rnd(4) == 0)
            r.burst_end();
        ASSERT_TRUE(rt_shard_is_valid(r.shard())) << "step " << step;
        ASSERT_LE(r.shard()->nr_cached, std::max(r.shard()->max_size, 1u)) << "step " << step;
    }
    r.burst_end();
    rt_cache_totals t = rt_cache_get_totals(r.n);
    EXPECT_EQ(t.allocated - t.collected, t.entries);
    EXPECT_GT(t.hits, 100u);
    EXPECT_GT(t.revalidated, 10u);
}
INSTANTIATE_TEST_SUITE_P(seeds, route_random, ::testing::Range(0, 8));

} // namespace
} // namespace slabfwd::test
