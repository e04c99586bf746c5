// SPDX-License-Identifier: BSD-3-Clause
//
// The route cache as a user meets it: each tunable written by `sysctl -w` while packets pass, by
// its effect; each column of /proc/net/stat/rt_cache as lnstat reads it; what is learned and
// forgotten.
#include <gmock/gmock.h>

#include <map>
#include <sstream>

#include "route/route_cache.h"
#include "tests/dataplane/control/control_net.h"

namespace slabfwd::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class RouteCache : public ::testing::Test {
protected:
    RouteCache() {
        log_sink = [](const char*) {};
        r.record = false;
        for (const char* line : TWO_PORTS)
            r.must(line);
        r.must("ip neigh add 10.0.1.2 lladdr 02:bb:00:00:00:02 dev p1");
        r.must("ip route add 192.168.0.0/16 via 10.0.1.2");
    }
    ~RouteCache() override {
        on_each_cpu(r.n, shard_flush_here, nullptr);
        log_sink = saved_;
    }
    /// A packet from p0.
    void packet(be32_t src, be32_t dst) {
        ip_spec s;
        s.src = src;
        s.dst = dst;
        s.payload = udp_datagram(s, 1, 2, {});
        r.enter(0);
        r.rx(r.p0, ip_packet(s));
        r.enter(r.n.control_cpu());
    }
    void packet(const char* src, const char* dst) { packet(ip(src), ip(dst)); }
    void flow(unsigned i) { packet(ip("10.0.0.2"), cpu_to_be32(0xc0a80000u + i)); }
    void flows(unsigned first, unsigned count) {
        for (unsigned i = 0; i < count; ++i)
            flow(first + i);
    }
    void set(const std::string& key_and_value) { r.must("sysctl -qw net.ipv4." + key_and_value); }
    /// The columns of `cat /proc/net/stat/rt_cache`, summed over the rows but for entries.
    std::map<std::string, uint64_t> stat() {
        std::istringstream text(r.must("cat /proc/net/stat/rt_cache"));
        std::string line, name;
        std::getline(text, line);
        std::istringstream heads(line);
        std::vector<std::string> names;
        while (heads >> name)
            names.push_back(name);
        EXPECT_EQ(names.size(), 17u);
        std::map<std::string, uint64_t> sums;
        while (std::getline(text, line)) {
            std::istringstream row(line);
            for (const std::string& n : names) {
                uint64_t v = 0;
                row >> std::hex >> v;
                sums[n] = n == "entries" ? v : sums[n] + v;
            }
        }
        return sums;
    }
    /// What `change` adds to each column that it moves.
    template <class F>
    std::map<std::string, int64_t> moved(F change) {
        auto before = stat();
        change();
        std::map<std::string, int64_t> by;
        for (auto [name, value] : stat())
            if (value != before[name])
                by[name] = int64_t(value - before[name]);
        return by;
    }
    uint64_t drops(skb_drop_reason reason) { return r.drops(reason); }
    /// A counter of the group Icmp.
    uint64_t icmp(const std::string& counter) {
        std::istringstream text(r.must("cat /proc/net/snmp"));
        std::string line, names, values;
        while (std::getline(text, line))
            if (line.starts_with("Icmp: "))
                (names.empty() ? names : values) = line;
        std::istringstream name(names), value(values);
        for (std::string n, v; name >> n && value >> v;)
            if (n == counter)
                return std::stoull(v);
        ADD_FAILURE() << counter;
        return 0;
    }

    control_net r;

private:
    void (*saved_)(const char*) = log_sink;
};

using moves = std::map<std::string, int64_t>;

TEST_F(RouteCache, EachColumnMovesForWhatItSays) {
    EXPECT_EQ(moved([&] { flow(1); }), (moves{{"entries", 1}, {"in_slow_tot", 1}}));
    EXPECT_EQ(moved([&] { flow(1); }), (moves{{"in_hit", 1}}));
    // No route, and the ICMP error about it is routed out.
    moves no_route = moved([&] { packet("10.0.0.2", "8.8.8.8"); });
    EXPECT_EQ(no_route["in_no_route"], 1);
    EXPECT_EQ(no_route["in_slow_tot"], 0) << "counts what the tables knew";
    EXPECT_EQ(no_route["out_slow_tot"], 1);
    moves brd = moved([&] { packet("10.0.0.2", "10.0.0.255"); });
    EXPECT_EQ(brd["in_brd"], 1);
    EXPECT_EQ(brd["in_slow_tot"], 1);
    moves mc = moved([&] { packet("10.0.0.2", "224.0.0.1"); });
    EXPECT_EQ(mc["in_slow_mc"], 1);
    EXPECT_EQ(mc["in_slow_tot"], 0) << "counted as one or the other";
    EXPECT_EQ(moved([&] { packet("10.0.0.2", "127.0.0.5"); })["in_martian_dst"], 1);
    EXPECT_EQ(moved([&] { packet("127.0.0.1", "192.168.0.1"); })["in_martian_src"], 1);
    EXPECT_EQ(moved([&] { packet("10.0.0.1", "192.168.0.1"); })["in_martian_src"], 1)
        << "our own address";
    auto own = [&](const char* dst) {
        return moved([&] {
            flowi4 fl4;
            fl4.daddr = ip(dst);
            int err;
            r.enter(0);
            EXPECT_NE(ip_route_output_key(r.n, &fl4, &err), nullptr);
            r.end_burst();
            r.enter(r.n.control_cpu());
        });
    };
    EXPECT_EQ(own("192.168.7.7"), (moves{{"entries", 1}, {"out_slow_tot", 1}}));
    EXPECT_EQ(own("192.168.7.7"), (moves{{"out_hit", 1}}));
    EXPECT_EQ(own("10.0.1.255")["out_slow_mc"], 1) << "what is sent to all is received here, too";
}

TEST_F(RouteCache, ChainsThatAreWalkedCount) {
    // More flows than buckets: some share a chain, and all but the first of it are searched for.
    set("route.gc_elasticity=1000");
    set("route.gc_thresh=100000");
    set("route.max_size=200000");
    const unsigned count = 4000;
    flows(0, count);
    EXPECT_EQ(stat()["entries"], count);
    EXPECT_GT(moved([&] { flows(0, count); })["in_hlist_search"], 10);
}

TEST_F(RouteCache, ThresholdsAndTheRuleOfAdmission) {
    set("route.admission=0");
    set("route.gc_min_interval_ms=0");
    set("route.gc_elasticity=8");
    set("route.gc_thresh=16");
    set("route.max_size=48");
    EXPECT_EQ(moved([&] { flows(0, 15); }), (moves{{"entries", 15}, {"in_slow_tot", 15}}))
        << "below gc_thresh nothing is collected";
    const uint64_t refused = drops(skb_drop_reason::ROUTE_CACHE_FULL);
    moves m = moved([&] { flows(100, 100); });
    EXPECT_GT(m["gc_total"], 50);
    EXPECT_GT(m["gc_goal_miss"], 10) << "all of them are too young";
    EXPECT_GT(m["gc_dst_overflow"], 10);
    EXPECT_GT(drops(skb_drop_reason::ROUTE_CACHE_FULL), refused);
    EXPECT_LE(stat()["entries"], 48u);
    // The other rule, at once and without a packet lost.
    set("route.admission=1");
    const uint64_t then = drops(skb_drop_reason::ROUTE_CACHE_FULL);
    flows(1000, 500);
    EXPECT_EQ(drops(skb_drop_reason::ROUTE_CACHE_FULL), then);
    EXPECT_LE(stat()["entries"], 48u);
    // A smaller max_size takes what is above it as traffic comes; a larger gc_thresh admits
    // everybody again.
    set("route.max_size=32");
    flows(1500, 500);
    EXPECT_LE(stat()["entries"], 32u);
    set("route.max_size=100000");
    set("route.gc_thresh=1000");
    flows(2000, 500);
    EXPECT_GE(stat()["entries"], 500u);
}

TEST_F(RouteCache, CollectionIsIgnoredWithinItsInterval) {
    set("route.admission=0");
    set("route.gc_thresh=8");
    set("route.max_size=1000");
    set("route.gc_min_interval=1");
    EXPECT_GT(moved([&] { flows(0, 100); })["gc_ignored"], 50);
    set("route.gc_min_interval_ms=0");
    EXPECT_EQ(moved([&] { flows(200, 100); })["gc_ignored"], 0);
}

TEST_F(RouteCache, ElasticityDecidesWhatIsTooMany) {
    set("route.admission=0");
    set("route.gc_min_interval_ms=0");
    set("route.gc_timeout=300");
    set("route.gc_thresh=8");
    set("route.max_size=100000");
    // Below elasticity x buckets the equilibrium rises with the entries: nothing young is taken.
    set("route.gc_elasticity=8");
    flows(0, 500);
    EXPECT_EQ(stat()["entries"], 500u);
    // A table of no elasticity is always in the dangerous area: the age limit falls until they go.
    set("route.gc_elasticity=0");
    for (unsigned i = 0; i < 50; ++i) {
        r.advance_ms(100);
        flow(1000 + i);
    }
    EXPECT_LT(stat()["entries"], 500u);
}

TEST_F(RouteCache, IdleEntriesGoByTimeoutAndInterval) {
    flows(0, 50);
    r.advance_ms(100'000);
    EXPECT_EQ(stat()["entries"], 50u) << "younger than gc_timeout";
    set("route.gc_timeout=20");
    set("route.gc_interval=2");
    flows(100, 50);
    EXPECT_GE(stat()["entries"], 50u);
    r.advance_ms(15'000);
    EXPECT_GE(stat()["entries"], 50u);
    r.advance_ms(130'000);
    EXPECT_EQ(stat()["entries"], 0u);
}

TEST_F(RouteCache, RebuildCountSwitchesItOffAndOnAtOnce) {
    flows(0, 20);
    EXPECT_EQ(stat()["entries"], 20u);
    set("rt_cache_rebuild_count=-1");
    const uint64_t out = r.n.softnet[0]->rt_stat[rt_cache_stat::uncached];
    EXPECT_EQ(moved([&] { flows(0, 20); })["in_hit"], 0);
    EXPECT_EQ(stat()["entries"], 0u) << "no packet may find them, so they are let go";
    EXPECT_EQ(r.n.softnet[0]->rt_stat[rt_cache_stat::uncached], out + 20)
        << "each packet takes the next hop's own entry";
    set("rt_cache_rebuild_count=4");
    EXPECT_EQ(moved([&] { flows(0, 20); })["entries"], 20);
}

TEST_F(RouteCache, LearnedPathMtusExpireAndAreForgotten) {
    auto learn = [&](uint32_t mtu) {
        ipv4_update_pmtu(r.n, nullptr, ip("192.168.1.5"), ip("10.0.1.1"), 0, mtu);
        return r.must("ip route get 192.168.1.5");
    };
    set("route.mtu_expires=30");
    EXPECT_THAT(learn(1200), HasSubstr("mtu 1200"));
    EXPECT_THAT(learn(1200), HasSubstr("expires"));
    r.advance_ms(29'000);
    EXPECT_THAT(r.must("ip route get 192.168.1.5"), HasSubstr("mtu 1200"));
    r.advance_ms(2'000);
    EXPECT_THAT(r.must("ip route get 192.168.1.5"), Not(HasSubstr("mtu")));
    set("route.min_pmtu=1000");
    EXPECT_THAT(learn(600), HasSubstr("mtu lock 1000"));
    r.must("ip route flush cache");
    EXPECT_THAT(r.must("ip route get 192.168.1.5"), Not(HasSubstr("mtu")));
    EXPECT_THAT(learn(1100), HasSubstr("mtu 1100"));
    set("route.flush=1");
    EXPECT_THAT(r.must("ip route get 192.168.1.5"), Not(HasSubstr("mtu")));
}

TEST_F(RouteCache, FlushMakesEveryFlowBeDecidedAnew) {
    flows(0, 10);
    EXPECT_EQ(moved([&] { flows(0, 10); })["in_hit"], 10);
    set("route.flush=1");
    EXPECT_EQ(moved([&] { flows(0, 10); }), (moves{{"in_slow_tot", 10}})) << "in place";
    EXPECT_EQ(moved([&] { flows(0, 10); })["in_hit"], 10);
}

TEST_F(RouteCache, RouteGetTellsWhatTheFlowsPacketsDid) {
    const std::string get = "ip -s route get 192.168.0.1 from 10.0.0.2 iif p0";
    EXPECT_THAT(r.must(get), Not(HasSubstr("used"))) << "no packet yet";
    EXPECT_THAT(r.must(get), Not(HasSubstr("used"))) << "and questions are none";
    flow(1);
    flow(1);
    flow(1);
    r.advance_ms(12'000);
    EXPECT_THAT(r.must(get), HasSubstr("\n    cache used 3 age 12sec "));
    EXPECT_THAT(r.must("ip -s -j route get 192.168.0.1 from 10.0.0.2 iif p0"),
                HasSubstr("\"used\":3,\"age\":12"));
    EXPECT_THAT(r.must("ip route get 192.168.0.1 from 10.0.0.2 iif p0"), Not(HasSubstr("used")));
    for (const char* other :
         {"192.168.0.2 from 10.0.0.2 iif p0", "192.168.0.1 from 10.0.0.3 iif p0",
          "192.168.0.1 from 10.0.0.2 iif p0 mark 7", "192.168.0.1 from 10.0.0.2 iif p0 tos 8"})
        EXPECT_THAT(r.must(std::string("ip -s route get ") + other), Not(HasSubstr("used")))
            << other;
    EXPECT_THAT(r.must("ip -s route show cache"), HasSubstr("used 3")) << "as the list of all says";
    // A stale entry is no hit, and goes on counting when it turns out to hold.
    set("route.flush=1");
    EXPECT_THAT(r.must(get), Not(HasSubstr("used")));
    flow(1);
    EXPECT_THAT(r.must(get), HasSubstr("used 4 "));
    // Own packets are the control slot's too, where the question is put: each is a use, as on
    // Linux.
    r.must("ip -s route get 192.168.0.9");
    EXPECT_THAT(r.must("ip -s route get 192.168.0.9"), HasSubstr("used 1 "));
    EXPECT_THAT(r.must("ip -s route get 192.168.0.9"), HasSubstr("used 2 "));
}

TEST_F(RouteCache, RedirectsFollowTheirKeys) {
    r.must("ip neigh add 10.0.0.9 lladdr 02:aa:00:00:00:09 dev p0");
    r.must("ip neigh add 10.0.0.2 lladdr 02:aa:00:00:00:02 dev p0");
    r.must("ip route add 172.16.0.0/16 via 10.0.0.9");
    auto sent = [&](unsigned packets, unsigned ms) {
        const uint64_t before = icmp("OutRedirects");
        for (unsigned i = 0; i < packets; ++i) {
            packet("10.0.0.2", "172.16.0.1");
            r.advance_ms(ms);
        }
        return icmp("OutRedirects") - before;
    };
    // From one to the next the time that has to pass doubles, from redirect_load jiffies on.
    set("route.redirect_number=3");
    set("route.redirect_load=25");      // 100 ms
    set("route.redirect_silence=2500"); // 10 s
    EXPECT_EQ(sent(2, 40), 1u);
    EXPECT_EQ(sent(1, 1000), 0u) << "200 ms are not over";
    EXPECT_EQ(sent(1, 1000), 1u);
    EXPECT_EQ(sent(1, 1000), 1u);
    EXPECT_EQ(sent(8, 1000), 0u) << "three were not heeded";
    r.advance_ms(11'000);
    EXPECT_EQ(sent(1, 1000), 1u) << "silence is over";
    set("route.redirect_number=5");
    EXPECT_EQ(sent(8, 4000), 4u);
    set("route.redirect_silence=250"); // 1 s
    EXPECT_EQ(sent(1, 2000), 1u);
    EXPECT_EQ(sent(1, 2000), 1u);
    set("route.redirect_number=9");
    set("route.redirect_silence=100000");
    set("route.redirect_load=0");
    r.advance_ms(1'000'000);
    EXPECT_EQ(sent(9, 40), 9u) << "no time has to pass";
}

TEST_F(RouteCache, ErrorsAboutMissingRoutesFollowTheirKeys) {
    r.must("ip neigh add 10.0.0.2 lladdr 02:aa:00:00:00:02 dev p0");
    set("icmp_ratelimit=0"); // else that limits them, too
    set("icmp_msgs_per_sec=100000");
    set("icmp_msgs_burst=100000");
    auto sent = [&](unsigned packets) {
        const uint64_t before = icmp("OutDestUnreachs");
        for (unsigned i = 0; i < packets; ++i)
            packet("10.0.0.2", "8.8.8.8");
        return icmp("OutDestUnreachs") - before;
    };
    set("route.error_cost=250"); // jiffies: a second's worth
    set("route.error_burst=1000");
    r.advance_ms(60'000);
    EXPECT_EQ(sent(20), 4u) << "error_burst / error_cost";
    r.advance_ms(2000);
    EXPECT_EQ(sent(20), 2u) << "one a second";
    set("route.error_burst=2000");
    r.advance_ms(60'000);
    EXPECT_EQ(sent(20), 8u);
    set("route.error_cost=500");
    r.advance_ms(60'000);
    EXPECT_EQ(sent(20), 4u);
    set("route.error_cost=0");
    EXPECT_EQ(sent(20), 20u);
}

TEST_F(RouteCache, TheSecretIsRenewedAsItsIntervalSays) {
    const rt_hash_shard* shard = r.n.softnet[0]->rt_shard;
    const uint64_t first = shard->rt_hash_seed;
    set("route.secret_interval=0");
    flows(0, 50);
    for (unsigned i = 0; i < 20; ++i) {
        r.advance_ms(60'000);
        flows(0, 50);
    }
    EXPECT_EQ(shard->rt_hash_seed, first) << "never";
    set("route.secret_interval=60");
    for (unsigned i = 0; i < 3; ++i) {
        r.advance_ms(60'000);
        flows(0, 50);
    }
    EXPECT_NE(shard->rt_hash_seed, first);
    EXPECT_TRUE(rt_shard_is_valid(shard));
    EXPECT_EQ(moved([&] { flows(0, 50); })["in_hit"], 50) << "entries stay, in other buckets";
    EXPECT_GT(r.n.softnet[0]->rt_shard->rt_hash_seed ^ r.n.softnet[1]->rt_shard->rt_hash_seed, 0u)
        << "each shard has its own";
}

TEST_F(RouteCache, TheTableGivesTheLimits) {
    control_net other;
    auto value = [&](const char* key) {
        return std::stoul(other.must(std::string("sysctl -n net.ipv4.route.") + key));
    };
    EXPECT_EQ(value("gc_thresh"), other.n.softnet[0]->rt_shard->rt_hash_mask + 1ul)
        << "a bucket each";
    EXPECT_EQ(value("max_size"), value("gc_thresh") * 16);
}

// "changes nothing": Linux leaves an entry without a state behind, and answers "File exists" to the
// next.
TEST_F(RouteCache, ARefusedNeighbourLeavesNothingBehind) {
    for (const char* refused :
         {"ip neigh add 10.0.1.9 dev p1", "ip neigh replace 10.0.1.9 dev p1"}) {
        EXPECT_THAT(r.run(refused).err, HasSubstr("No link layer address given")) << refused;
        EXPECT_THAT(r.must("ip neigh show nud all"), Not(HasSubstr("10.0.1.9"))) << refused;
    }
    r.must("ip neigh add 10.0.1.9 lladdr 02:bb:00:00:00:09 dev p1");
    EXPECT_THAT(r.run("ip neigh add 10.0.1.9 lladdr 02:bb:00:00:00:09 dev p1").err,
                HasSubstr("File exists"));
    r.must("ip neigh replace 10.0.1.9 dev p1"); // it has an address
    EXPECT_THAT(r.must("ip neigh show"), HasSubstr("10.0.1.9 dev p1 lladdr 02:bb:00:00:00:09"))
        << "as it was";
}

TEST_F(RouteCache, NeighbourThresholdsWorkAtRunTime) {
    set("neigh.default.gc_thresh1=0");
    set("neigh.default.gc_thresh2=8");
    set("neigh.default.gc_thresh3=16");
    auto scan = [&](unsigned first) {
        for (unsigned i = 0; i < 100; ++i) {
            packet(ip("10.0.0.2"), cpu_to_be32(0x0a000164u + (first + i) % 100));
            r.advance_ms(4);
        }
    };
    scan(0);
    EXPECT_LE(r.arp().gc_entries, 16);
    EXPECT_EQ(r.arp().questions, 8) << "half of gc_thresh3";
    set("neigh.default.gc_thresh3=64");
    scan(0);
    EXPECT_EQ(r.arp().questions, 32);
    set("neigh.default.held_max=4");
    r.advance_ms(10'000);
    scan(0);
    EXPECT_LE(r.arp().held, 4);
    EXPECT_EQ(stat()["entries"], 0u) << "hosts that do not answer are in no cache";
}

} // namespace
} // namespace slabfwd::test
