// SPDX-License-Identifier: BSD-3-Clause
//
// Misses of a burst taken together (ip_route_input_list): what they are given is what
// ip_route_input would have given each, entries that are made like a next hop's own are the ones
// that it would have made, and buckets stay right while all of it comes and goes.
#include <gtest/gtest.h>
#include <optional>
#include <random>
#include <tuple>

#include "alloc/failslab.h"
#include "route/fib_lpm.h"
#include "tests/route/rt_router.h"

namespace slabfwd::test {
namespace {

using S = rt_cache_stat;
constexpr unsigned BURST = 32;

/// A burst of packets from p0 that the cache has nothing plain for.
struct misses {
    rt_router& r;
    iphdr header[BURST];
    iphdr* iph[BURST];
    uint32_t hash[BURST];
    rtable* rt[BURST] = {};
    unsigned count = 0;
    bool asks = false; ///< those that are in no bucket are asked about before, as the pipeline does
                       ///< in a flood

    explicit misses(rt_router& router) : r(router) {}
    void add(be32_t src, be32_t dst, uint8_t tos = 0) {
        iphdr& h = header[count];
        h = iphdr{};
        h.ihl_version = 0x45;
        h.ttl = 64;
        h.tos = tos;
        h.protocol = IPPROTO_UDP_;
        h.saddr = src;
        h.daddr = dst;
        iph[count] = &h;
        hash[count] = rt_hash_of(r.shard(), key(count));
        ++count;
    }
    rt_key key(unsigned i) const {
        return rt_make_key(header[i].daddr, header[i].saddr, r.port("p0")->ifindex, 0, 0, header[i].tos);
    }
    uint32_t all() const { return count == BURST ? ~0u : (1u << count) - 1; }
    rt_bucket& bucket(unsigned i) const {
        return r.shard()->rt_hash_table[hash[i] & r.shard()->rt_hash_mask];
    }
    /// By the list alone.
    uint32_t route_list() {
        rt_asked asked;
        uint32_t absent = 0;
        for (unsigned i = 0; asks && i < count; ++i)
            absent |= uint32_t(!bucket(i).first_for(hash[i])) << i;
        if (absent)
            ip_route_ask_list(this_softnet(), iph, hash, absent, asked);
        return ip_route_input_list(this_softnet(), r.port("p0"), iph, hash, all(), asked, rt);
    }
    /// Then, as the pipeline does, each of the others. Returns what the list did.
    uint32_t route() {
        const uint32_t done = route_list();
        for (unsigned i = 0; i < count; ++i) {
            auto reason = skb_drop_reason::NOT_SPECIFIED;
            if (!(done >> i & 1) &&
                !ip_route_input_burst(this_softnet(), r.port("p0"), iph[i], &rt[i], &reason)) {
                r.input(to_string(header[i].saddr).c_str(), to_string(header[i].daddr).c_str(), "p0",
                        header[i].tos);
                rt[i] = r.rt;
            }
        }
        return done;
    }
};

/// With the table compiled in either form.
class route_list : public testing::TestWithParam<tables> {
protected:
    route_list() {
        router.emplace();
        r().setup(R"(
            route add 192.168.1.0/24 via 10.0.1.2
            route add 192.168.1.128/25 via 10.0.1.3 mtu 1000
            route add 192.168.2.0/24 via 10.0.2.2
            route add blackhole 192.168.3.0/24
            route add 192.168.6.0/24 via 10.0.0.3
            route add 192.168.7.0/24 dev p2
            route add 192.168.9.0/24 via 10.0.1.77
        )");
    }
    rt_router& r() { return *router; }
    /// The next hops' own entries come with the first packets over them.
    void warm() {
        misses m(r());
        for (const char* dst : {"192.168.1.1", "192.168.1.200", "192.168.2.1", "192.168.7.1"})
            m.add(ip("10.0.0.9"), ip(dst));
        m.route();
    }
    /// What the list does with m once the next hops' own entries have come, and by which next hop
    /// its first packet goes then.
    void expect_first_by(misses& m, uint32_t done, const char* gateway) {
        m.route();
        EXPECT_EQ(m.route(), done);
        EXPECT_EQ(rt_nexthop(m.rt[0], m.header[0].daddr), ip(gateway));
    }
    const compiled_as form{GetParam()};
    std::optional<rt_router> router;
};

TEST_P(route_list, takes_what_is_a_plain_forward_and_nothing_else) {
    warm();
    misses m(r());
    m.add(ip("10.0.0.2"), ip("192.168.1.5"));
    m.add(ip("10.0.0.2"), ip("192.168.1.129"), 0x08);
    m.add(ip("10.0.0.2"), ip("192.168.2.5"));
    const char* others[] = {"192.168.3.1", "192.168.6.1", "192.168.9.1", "10.0.1.7", "10.0.0.1",
                            "10.0.1.1",    "8.8.8.8",     "224.0.0.1",   "0.1.2.3",  "127.0.0.1"};
    for (const char* dst : others)
        m.add(ip("10.0.0.2"), ip(dst));
    for (const char* src : {"10.0.0.1", "10.0.1.1", "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"})
        m.add(ip(src), ip("192.168.1.5"));
    EXPECT_EQ(m.route(), 7u);
    EXPECT_EQ(rt_nexthop(m.rt[0], m.header[0].daddr), ip("10.0.1.2"));
    EXPECT_EQ(rt_nexthop(m.rt[1], m.header[1].daddr), ip("10.0.1.3"));
    EXPECT_EQ(m.rt[1]->dst.mtu, 1000u);
    EXPECT_EQ(m.rt[1]->key.tos, 0x08);
    EXPECT_EQ(rt_nexthop(m.rt[2], m.header[2].daddr), ip("10.0.2.2"));
    EXPECT_TRUE(rt_shard_is_valid(r().shard()));
}

/// Prefixes as short as the local table's 127.0.0.0/8 are looked up like others. Where the local
/// table has one as long that covers the destination, it has the say.
TEST_P(route_list, short_prefixes_are_taken_unless_the_local_table_covers_them) {
    r().setup("route add 20.0.0.0/8 via 10.0.1.4\nroute add 21.0.0.0/8 via 10.0.1.5\nroute add "
              "21.1.0.0/16 via 10.0.1.6");
    misses m(r());
    for (const char* dst : {"20.1.1.1", "21.0.0.1", "21.1.0.1"})
        m.add(ip("10.0.0.2"), ip(dst));
    m.route(); // the next hops' own entries come
    EXPECT_EQ(m.route(), 7u);
    r().setup("addr add 21.255.255.254/8 dev lo");
    m.route();
    EXPECT_EQ(m.route(), 5u);
    r().input("10.0.0.2", "21.0.0.1");
    EXPECT_EQ(m.rt[1]->rt_type, RTN_LOCAL);
    EXPECT_EQ(rt_nexthop(m.rt[2], m.header[2].daddr), ip("10.0.1.6"));
    // As the only one of its length, without 127.0.0.0/8. A shorter one besides, which has no say
    // over 20.0.0.0/8, is for the full rules to tell.
    r().setup("addr del 127.0.0.1/8 dev lo");
    m.route();
    EXPECT_EQ(m.route(), 5u);
    r().setup("addr add 20.255.255.254/7 dev lo\naddr add 127.0.0.1/8 dev lo\n"
              "addr del 21.255.255.254/8 dev lo");
    m.route();
    EXPECT_EQ(m.route(), 4u);
    r().input("10.0.0.2", "20.1.1.1");
    EXPECT_EQ(rt_nexthop(r().rt, ip("20.1.1.1")), ip("10.0.1.4"));
    r().setup("addr del 20.255.255.254/7 dev lo");
    m.route();
    EXPECT_EQ(m.route(), 7u);
}

/// Also where there are several: the first is used while it lives. A large table leaves them to the
/// full rules.
TEST_P(route_list, a_default_route_is_taken_where_there_is_one) {
    const uint32_t taken = GetParam() == tables::small;
    r().setup("route add default via 10.0.1.4");
    misses m(r());
    m.add(ip("10.0.0.2"), ip("8.8.8.8"));
    expect_first_by(m, taken, "10.0.1.4");
    r().setup("route append default via 10.0.1.5\nroute append default via 10.0.2.2 metric 9");
    expect_first_by(m, taken, "10.0.1.4");
    r().setup("link set p1 down");
    expect_first_by(m, taken, "10.0.2.2");
}

/// It may be dead but still in the table, and then the next one is taken; or a blackhole, and then
/// it is the one.
TEST_P(route_list, a_first_route_that_is_no_plain_forward_is_for_the_full_rules) {
    r().setup(
        "route add 20.0.0.0/8 via 10.0.1.4 metric 5\nroute add 20.0.0.0/8 via 10.0.2.2 metric 9\n"
        "route add blackhole 21.0.0.0/8 metric 5\nroute add 21.0.0.0/8 via 10.0.2.2 metric 9");
    misses m(r());
    m.add(ip("10.0.0.2"), ip("20.1.1.1"));
    m.add(ip("10.0.0.2"), ip("21.1.1.1"));
    expect_first_by(m, 1u, "10.0.1.4");
    r().port("p1")->ip_ptr->cnf.ignore_routes_with_linkdown = 1;
    r().setup("link set p1 carrier off");
    for (int round = 0; round < 2; ++round) {
        EXPECT_EQ(m.route(), 0u);
        EXPECT_EQ(rt_nexthop(m.rt[0], m.header[0].daddr), ip("10.0.2.2"));
    }
    r().setup("link set p1 carrier on");
    expect_first_by(m, 1u, "10.0.1.4");
}

/// Of several routes to one prefix the first is taken; where a TOS decides, the full rules say
/// which.
TEST_P(route_list, of_several_routes_to_a_prefix_the_first_is_taken) {
    r().setup(
        "route add 20.0.0.0/8 via 10.0.2.2 metric 9\nroute add 20.0.0.0/8 via 10.0.1.4 metric 5");
    misses m(r());
    m.add(ip("10.0.0.2"), ip("20.1.1.1"));
    expect_first_by(m, 1u, "10.0.1.4");
    r().setup("route add 20.0.0.0/8 via 10.0.2.2 metric 1");
    expect_first_by(m, 1u, "10.0.2.2");
    r().setup("route add 20.0.0.0/8 tos 0x10 via 10.0.1.5");
    expect_first_by(m, 0u, "10.0.2.2");
}

/// It is asked after the main one, which the list knows alone.
TEST_P(route_list, routes_of_the_default_table_are_for_the_full_rules) {
    r().setup("route add default via 10.0.1.4 table default");
    misses m(r());
    m.add(ip("10.0.0.2"), ip("8.8.8.8"));
    const uint64_t missed = r().stat(rt_cache_stat::missed);
    EXPECT_EQ(m.route(), 0u);
    EXPECT_EQ(m.route(), 0u);
    EXPECT_EQ(rt_nexthop(m.rt[0], m.header[0].daddr), ip("10.0.1.4"));
    EXPECT_EQ(r().stat(rt_cache_stat::missed), missed + 1);
}

TEST_P(route_list, an_entry_is_the_one_that_ip_route_input_makes) {
    warm();
    for (const char* dst : {"192.168.1.77", "192.168.1.177", "192.168.2.77"}) {
        misses m(r());
        m.add(ip("10.0.0.2"), ip(dst), 0x10);
        ASSERT_EQ(m.route(), 1u);
        const rtable a = *m.rt[0];
        ASSERT_TRUE(a.rt_cached);
        rt_remove(r().shard(), m.rt[0]);
        r().burst_end();
        r().input("10.0.0.2", dst, "p0", 0x10);
        const rtable& b = *r().rt;
        ASSERT_TRUE(b.rt_cached);
        EXPECT_TRUE(a.key == b.key);
        EXPECT_EQ(a.kind(), b.kind());
        auto same = [](const rtable& x) {
            return std::tuple(x.plain(), x.rt_genid, x.dst.neighbour, x.dst.dev, x.dst.mtu, x.dst.__use,
                              x.dst.lastuse, x.dst.__refcnt, x.dst.input, x.dst.output, x.dst.ops,
                              x.dst.expires, x.dst.obsolete, x.dst.flags, x.dst.error);
        };
        auto slow = [](const rtable& x) {
            return std::tuple(x.rt_flags, x.rt_type, x.rt_is_input, x.rt_shared, x.rt_uses_gateway,
                              x.rt_gw6, x.rt_neigh_lent, x.rt_iif, x.rt_dst, x.rt_src, x.rt_gateway,
                              x.rt_spec_dst, x.rt_pmtu, x.rt_mtu_locked, x.rt_scope, x.fi, x.rt_table_id,
                              x.rt_listed);
        };
        EXPECT_TRUE(same(a) == same(b));
        EXPECT_TRUE(slow(a) == slow(b));
    }
}

TEST_P(route_list, the_second_packet_of_a_flow_finds_what_the_first_entered) {
    warm();
    misses m(r());
    for (unsigned i = 0; i < 4; ++i)
        m.add(ip("10.0.0.2"), ip("192.168.1.9"));
    const uint64_t hits = r().stat(S::in_hit), missed = r().stat(S::missed);
    EXPECT_EQ(m.route(), 15u);
    EXPECT_EQ(m.rt[3], m.rt[0]);
    EXPECT_EQ(r().stat(S::in_hit) - hits, 3u);
    EXPECT_EQ(r().stat(S::missed) - missed, 1u);
}

TEST_P(route_list, a_stale_entry_and_a_failed_neighbour_are_for_the_full_rules) {
    warm();
    misses m(r());
    m.add(ip("10.0.0.2"), ip("192.168.1.9"));
    ASSERT_EQ(m.route(), 1u);
    rt_cache_flush(r().n);
    EXPECT_EQ(m.route(), 0u) << "the next hop's own entry is stale, too";
    EXPECT_TRUE(m.rt[0]->rt_genid == rt_genid(r().n)) << "decided anew";
    neighbour& failed = *m.rt[0]->dst.neighbour;
    failed.nud_state.store(NUD_FAILED);
    failed.hh.hh_seq.fetch_add(1); // its header may not be used, then
    misses other(r());
    other.add(ip("10.0.0.2"), ip("192.168.1.10"));
    EXPECT_EQ(other.route(), 0u);
    EXPECT_TRUE(!other.rt[0]->rt_cached);
    failed.nud_state.store(NUD_PERMANENT);
    failed.hh.hh_seq.fetch_add(1);
}

/// A change of routes makes every entry stale: of those that still hold the burst renews all but the first over
/// each next hop.
TEST_P(route_list, stale_entries_that_hold_are_renewed_where_they_lie) {
    warm();
    misses m(r());
    for (const char* dst : {"192.168.1.9", "192.168.1.200", "192.168.2.9", "192.168.1.10", "192.168.1.201",
                            "192.168.2.10"})
        m.add(ip("10.0.0.2"), ip(dst));
    ASSERT_EQ(m.route(), m.all());
    const std::vector<rtable*> before(m.rt, m.rt + m.count);
    r().setup("route replace 192.168.1.128/25 via 10.0.1.3 mtu 900");
    const uint64_t renewed = r().stat(S::revalidated), allocated = r().stat(S::allocated),
                   missed = r().stat(S::missed);
    misses first(r()), others(r());
    for (unsigned i = 0; i < 3; ++i)
        first.add(m.header[i].saddr, m.header[i].daddr);
    EXPECT_EQ(first.route(), 0u);
    for (unsigned i = 0; i < m.count; ++i)
        others.add(m.header[i].saddr, m.header[i].daddr);
    EXPECT_EQ(others.route(), others.all() & ~(1u << 4)) << "the route of one has changed";
    EXPECT_EQ(r().stat(S::revalidated) - renewed, 4u);
    EXPECT_EQ(r().stat(S::missed) - missed, 6u);
    EXPECT_EQ(r().stat(S::allocated) - allocated, 2u);
    for (unsigned i = 0; i < m.count; ++i) {
        const bool changed = i == 1 || i == 4;
        EXPECT_EQ(others.rt[i] == before[i], !changed) << i;
        EXPECT_EQ(others.rt[i]->dst.mtu, changed ? 900u : 1500u);
        EXPECT_EQ(others.rt[i]->rt_genid, rt_genid(r().n));
        const rtable a = *others.rt[i];
        r().input("10.0.0.2", to_string(m.header[i].daddr).c_str());
        EXPECT_EQ(r().rt, others.rt[i]) << "a hit";
        EXPECT_TRUE(a.plain() && a.rt_src == m.header[i].saddr);
    }
    EXPECT_TRUE(rt_shard_is_valid(r().shard()));
}

/// As the full rules: by the next hop's own entry, or not at all under the kernel's rule, which is for
/// ip_route_input to say.
TEST_P(route_list, without_memory_the_packet_uses_the_next_hops_own_entry) {
    for (int admission : {1, 0}) {
        r().n.ipv4.rt.admission = admission;
        warm();
        misses m(r());
        m.add(ip("10.0.0.2"), ip(admission ? "192.168.1.9" : "192.168.1.10"));
        const uint64_t uncached = r().stat(S::uncached);
        fault_attr attr;
        attr.only = ip_dst_cachep.get();
        failslab_set(attr);
        EXPECT_EQ(m.route_list(), unsigned(admission));
        failslab_off();
        EXPECT_TRUE(m.rt[0]->rt_shared);
        EXPECT_EQ(r().stat(S::uncached) - uncached, unsigned(admission));
        EXPECT_EQ(m.route(), 1u);
        EXPECT_TRUE(m.rt[0]->rt_cached);
    }
}

/// Above gc_thresh, asked ahead or by the list: a flow enters with its second packet, also within a
/// burst.
TEST_P(route_list, a_flow_that_is_asked_about_enters_with_its_second_packet) {
    for (const bool asks : {false, true}) {
        r().limits(1, 2000, 8);
        warm();
        misses m(r());
        m.asks = asks;
        const be32_t src = ip(asks ? "10.0.0.2" : "10.0.0.3");
        m.add(src, ip("192.168.1.9"));
        m.add(src, ip("192.168.2.9"));
        const uint64_t lent = r().stat(S::unadmitted);
        EXPECT_EQ(m.route(), 3u);
        EXPECT_TRUE(m.rt[0]->rt_shared && m.rt[1]->rt_shared);
        EXPECT_EQ(r().stat(S::unadmitted) - lent, 2u);
        m.add(src, ip("192.168.1.20"));
        m.add(src, ip("192.168.1.20"));
        EXPECT_EQ(m.route(), 15u);
        EXPECT_TRUE(m.rt[0]->rt_cached && m.rt[1]->rt_cached && m.rt[3]->rt_cached);
        EXPECT_TRUE(m.rt[2]->rt_shared);
        EXPECT_EQ(r().stat(S::unadmitted) - lent, 3u);
        EXPECT_TRUE(rt_shard_is_valid(r().shard()));
    }
}

/// What the list leaves to the full rules is theirs to ask about: it is not asked twice for one
/// packet.
TEST_P(route_list, who_was_asked_about_for_nothing_is_as_before) {
    r().limits(1, 2000, 8);
    warm();
    misses m(r());
    m.asks = true;
    m.add(ip("10.0.0.2"), ip("192.168.3.1")); // blackhole
    m.add(ip("10.0.0.2"), ip("192.168.9.1")); // its next hop is not resolved
    for (const uint32_t seen : {0u, 0x12340001u}) {
        for (unsigned i = 0; i < m.count; ++i)
            m.bucket(i).seen = seen;
        EXPECT_EQ(m.route_list(), 0u);
        for (unsigned i = 0; i < m.count; ++i)
            EXPECT_EQ(m.bucket(i).seen, seen);
    }
}

/// Whether a flow pays is asked by the list, and once more by the full rules, which make room in its chain.
TEST_P(route_list, a_flow_that_pays_enters_a_long_chain) {
    r().limits(1000, 2000, 8);
    warm();
    const rt_hash_shard* shard = r().shard();
    uint32_t next = 0x0b000000, bucket = 0; // sources in 11.0.0.0/8
    auto one_more = [&](misses& m) { // a flow of the bucket
        do {
            m.count = 0;
            m.add(cpu_to_be32(next++), ip("192.168.1.9"));
        } while (bucket && (m.hash[0] & shard->rt_hash_mask) != bucket);
        bucket = m.hash[0] & shard->rt_hash_mask;
    };
    misses m(r());
    for (unsigned i = 0; i < 9; ++i) {
        one_more(m);
        ASSERT_EQ(m.route(), 1u);
        ASSERT_TRUE(m.rt[0]->rt_cached);
        r().burst_end();
    }
    r().limits(8, 2000, 8);
    r().advance_ms(100);
    one_more(m);
    for (unsigned packet = 0; packet < 3; ++packet) {
        m.asks = packet != 2;
        m.route();
        EXPECT_EQ(m.rt[0]->rt_cached, packet > 0) << packet;
        r().burst_end();
    }
    EXPECT_LE(shard->rt_hash_table[bucket].length(), 10u);
    EXPECT_TRUE(rt_shard_is_valid(shard));
}

/// One call may free 64 entries, twice what a burst makes: also those that the burst was about to ask for.
TEST_P(route_list, collection_may_take_more_than_was_foreseen) {
    warm();
    r().limits(1000, 2000, 8);
    for (uint32_t flow = 0; flow < 320; flow += BURST) {
        misses m(r());
        for (uint32_t i = 0; i < BURST; ++i)
            m.add(cpu_to_be32(0x0a000002 + flow / 64), cpu_to_be32(0xc0a80201 + (flow + i) % 250));
        m.route();
        r().burst_end();
    }
    const uint32_t before = r().shard()->nr_cached;
    ASSERT_GT(before, 200u);
    r().advance_ms(100);
    r().n.ipv4.rt.admission = 0;
    r().n.ipv4.rt.gc_min_interval = 0;
    r().limits(8, 2000, 0);
    r().shard()->gc_expire = 1;
    misses m(r());
    for (uint32_t i = 0; i < BURST; ++i)
        m.add(ip("10.0.0.50"), cpu_to_be32(0xc0a80201 + i));
    m.route();
    EXPECT_LT(r().shard()->nr_cached, before - 64);
    EXPECT_EQ(r().shard()->gc_next, nullptr);
    EXPECT_TRUE(rt_shard_is_valid(r().shard()));
}

/// Flows of any kind come and go, under both rules; every burst leaves a valid shard.
TEST_P(route_list, random_bursts) {
    std::mt19937 rng(3);
    for (int admission : {0, 1})
        for (int elasticity : {8, 1}) {
            r().n.ipv4.rt.admission = admission;
            r().n.ipv4.rt.gc_min_interval = 0;
            r().limits(200, 300, elasticity);
            warm();
            const uint64_t entered = r().stat(S::allocated);
            for (unsigned burst = 0; burst < 600; ++burst) {
                misses m(r());
                m.asks = burst % 3;
                for (unsigned i = 0; i < BURST; ++i)
                    m.add(cpu_to_be32(0x0a000002 + rng() % 5),
                          cpu_to_be32(0xc0a80100 + rng() % (burst % 7 ? 0x200 : 0x10)));
                m.route();
                for (unsigned i = 0; i < BURST; ++i)
                    ASSERT_TRUE(!m.rt[i] || !m.rt[i]->rt_cached || m.rt[i]->key == m.key(i));
                ASSERT_TRUE(rt_shard_is_valid(r().shard()));
                // Under the kernel's rule all of a burst have room once something waits for its end.
                const rt_hash_shard* shard = r().shard();
                const uint32_t over = admission ? 0 : BURST;
                ASSERT_LE(dst_entries_get_fast(&shard->ipv4_dst_ops), shard->max_size + over);
                r().burst_end();
                if (burst % 16 == 15)
                    r().advance_ms(4);
                if (burst % 100 == 99)
                    rt_cache_flush(r().n);
            }
            EXPECT_GT(r().stat(S::allocated), entered + 200);
        }
}

INSTANTIATE_TEST_SUITE_P(tables, route_list, testing::Values(tables::small, tables::large),
                         tables_name);

} // namespace
} // namespace slabfwd::test
