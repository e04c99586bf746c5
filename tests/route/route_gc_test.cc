// SPDX-License-Identifier: BSD-3-Clause
//
// Collection: thresholds, shares, the kernel's rule and ours, ageing, and that no call does much.
#include <gtest/gtest.h>

#include "alloc/failslab.h"
#include "tests/route/rt_router.h"

namespace slabfwd::test {
namespace {

using S = rt_cache_stat;

class route_gc : public ::testing::Test {
protected:
    rt_router r;
    route_gc() { r.setup("route add 192.168.0.0/16 via 10.0.1.2"); }
    std::string flow(unsigned i) {
        return r.input("10.0.0.2", to_string(cpu_to_be32(0xc0a80000u + i)).c_str());
    }
    uint32_t entries() { return dst_entries_get_fast(&r.shard()->ipv4_dst_ops); }
    static constexpr const char* WAY = "forward via 10.0.1.2 dev p1";
};

TEST_F(route_gc, below_gc_thresh_nothing_is_collected) {
    r.limits(100, 200);
    r.n.ipv4.rt.admission = 0;
    uint32_t thresh = r.shard()->ipv4_dst_ops.gc_thresh;
    for (unsigned i = 0; i < thresh; ++i)
        flow(i);
    EXPECT_EQ(entries(), thresh);
    EXPECT_EQ(r.stat(S::gc_total), 0u);
    flow(1000);
    EXPECT_EQ(r.stat(S::gc_total), 0u);
    flow(1001);
    EXPECT_EQ(r.stat(S::gc_total), 1u);
}

TEST_F(route_gc, shares_add_up) {
    for (auto [total, workers] :
         {std::pair{1000, 1u}, {1000, 3u}, {4, 2u}, {7, 2u}, {1, 1u}, {0, 2u}}) {
        rt_router many(workers);
        many.limits(total, total);
        uint32_t thresh = 0, max = 0;
        for (auto& sd : many.n.softnet) {
            thresh += sd->rt_shard->ipv4_dst_ops.gc_thresh;
            max += sd->rt_shard->max_size;
        }
        EXPECT_EQ(thresh, uint32_t(total));
        EXPECT_EQ(max, uint32_t(total));
    }
}

TEST_F(route_gc, an_idle_shard_takes_nothing_from_a_busy_one) {
    rt_router two(2);
    two.setup("route add 192.168.0.0/16 via 10.0.1.2");
    two.limits(40, 80);
    for (unsigned i = 0; i < 1000; ++i)
        two.input("10.0.0.2", to_string(cpu_to_be32(0xc0a80000u + i)).c_str());
    two.burst_end();
    uint64_t in_first = dst_entries_get_fast(&two.shard()->ipv4_dst_ops);
    EXPECT_LE(in_first, two.shard()->max_size);
    two.enter(1);
    for (unsigned i = 0; i < two.shard()->ipv4_dst_ops.gc_thresh; ++i)
        two.input("10.0.0.2", to_string(cpu_to_be32(0xc0a80000u + i)).c_str());
    EXPECT_EQ(two.stat(S::gc_total), 0u);
    two.enter(0);
    EXPECT_EQ(dst_entries_get_fast(&two.shard()->ipv4_dst_ops), in_first);
}

TEST_F(route_gc, flows_that_never_repeat_are_not_admitted_above_gc_thresh) {
    r.limits(64, 256);
    for (unsigned i = 0; i < 20000; ++i) {
        ASSERT_EQ(flow(i), WAY);
        ASSERT_LE(entries(), r.shard()->ipv4_dst_ops.gc_thresh + 2);
        if (i % 32 == 31)
            r.burst_end();
        if (i % 100 == 99)
            r.advance_ms(4);
    }
    EXPECT_GT(r.stat(S::unadmitted), 19000u);
    EXPECT_GT(r.stat(S::uncached), 19000u);
    EXPECT_LE(r.shard()->gc_looked_max, RT_GC_BATCH);
    EXPECT_TRUE(rt_router::log.empty());
    EXPECT_TRUE(rt_shard_is_valid(r.shard()));
}

TEST_F(route_gc, a_flow_is_admitted_with_its_second_packet_in_the_window) {
    r.limits(64, 256);
    for (unsigned i = 0; entries() < r.shard()->ipv4_dst_ops.gc_thresh; ++i)
        flow(i);
    flow(1000);
    EXPECT_TRUE(r.rt->rt_shared);
    flow(1000);
    EXPECT_TRUE(r.rt->rt_cached);
    flow(2000);
    r.advance_ms((RT_ADMIT_WINDOW + 16) * 1000 / HZ);
    flow(2000);
    EXPECT_TRUE(r.rt->rt_shared) << "too long ago";
    flow(2000);
    EXPECT_TRUE(r.rt->rt_cached);
}

// Each flow has two packets and no more: the worst that admission by the second packet lets in.
TEST_F(route_gc, by_default_nothing_is_refused_and_max_size_holds) {
    r.limits(64, 256);
    uint32_t max = r.shard()->max_size;
    for (unsigned i = 0; i < 20000; ++i) {
        ASSERT_EQ(flow(i), WAY);
        ASSERT_EQ(flow(i), WAY);
        ASSERT_LE(entries(), max);
        if (i % 32 == 31)
            r.burst_end();
        if (i % 100 == 99)
            r.advance_ms(4);
    }
    EXPECT_GT(r.stat(S::gc_ignored), 0u);
    EXPECT_GT(r.stat(S::gc_goal_miss), 0u);
    EXPECT_GT(r.stat(S::collected), 5000u) << "the cache went on living";
    EXPECT_LE(r.shard()->gc_looked_max, RT_GC_BATCH);
    EXPECT_TRUE(rt_router::log.empty());
    EXPECT_TRUE(rt_shard_is_valid(r.shard()));
}

TEST_F(route_gc, the_kernels_rule_refuses) {
    r.limits(16, 64);
    r.n.ipv4.rt.admission = 0;
    unsigned refused = 0;
    for (unsigned i = 0; i < 100; ++i) {
        std::string got = flow(i);
        if (got != WAY) {
            EXPECT_EQ(got, "refused ROUTE_CACHE_FULL");
            ++refused;
        }
        r.burst_end();
        r.advance_ms(4);
    }
    EXPECT_GT(refused, 5u);
    EXPECT_LT(refused, 40u) << "the age limit is halved until something goes";
    EXPECT_TRUE(logged("Route cache is full"));
    EXPECT_TRUE(logged("dst cache overflow"));
    EXPECT_TRUE(rt_shard_is_valid(r.shard()));
}

TEST_F(route_gc, one_call_looks_at_a_bounded_number) {
    r.limits(2000, 4000, 1000);
    r.n.ipv4.rt.admission = 0;
    for (unsigned i = 0; i < 3000; ++i)
        flow(i);
    r.advance_ms(400 * 1000); // all older than gc_timeout; the periodic check has taken some
    r.burst_end();
    for (unsigned i = 3000; r.shard()->nr_cached < 2500; ++i)
        flow(i);
    uint32_t before = r.shard()->nr_cached;
    r.advance_ms(1000);
    r.burst_end();
    uint64_t collected = r.stat(S::collected);
    rt_garbage_collect(&r.shard()->ipv4_dst_ops);
    EXPECT_GE(r.shard()->nr_cached + RT_GC_BATCH, before);
    r.burst_end();
    EXPECT_LE(r.stat(S::collected) - collected, RT_GC_BATCH);
}

TEST_F(route_gc, flows_in_use_survive) {
    r.limits(32, 64);
    for (unsigned i = 0; i < 20000; ++i) {
        flow(100000 + i); // never again
        flow(i % 8);
        if (i % 32 == 0)
            r.burst_end();
        if (i % 50 == 0)
            r.advance_ms(20);
    }
    uint64_t hits = r.stat(S::in_hit);
    EXPECT_GT(hits, 20000u * 9 / 10);
}

TEST_F(route_gc, idle_entries_go_periodically) {
    r.limits(1000, 2000, 1000);
    for (unsigned i = 0; i < 800; ++i)
        flow(i);
    EXPECT_TRUE(timer_pending(&r.shard()->periodic));
    r.advance_ms(290 * 1000);
    r.burst_end();
    EXPECT_EQ(r.shard()->nr_cached, 800u);
    for (int s = 0; s < 400; s += 10) {
        r.advance_ms(10 * 1000);
        flow(0);
        r.burst_end();
    }
    EXPECT_EQ(r.shard()->nr_cached, 1u) << "the one in use stays";
    r.advance_ms(1000 * 1000);
    r.burst_end();
    EXPECT_EQ(r.shard()->nr_cached, 0u);
    EXPECT_FALSE(timer_pending(&r.shard()->periodic)) << "no entries, no timer";
}

TEST_F(route_gc, shorter_gc_timeout_and_interval) {
    r.n.ipv4.rt.gc_timeout = int(10 * HZ);
    r.n.ipv4.rt.gc_interval = int(2 * HZ);
    rt_sysctl_changed(r.n);
    for (unsigned i = 0; i < 50; ++i)
        flow(i);
    r.advance_ms(60 * 1000);
    r.burst_end();
    EXPECT_EQ(r.shard()->nr_cached, 0u);
}

TEST_F(route_gc, entries_of_neighbours_that_failed_go_periodically) {
    r.neigh("p1", "10.0.1.30", NUD_REACHABLE);
    r.input("10.0.0.2", "10.0.1.30");
    ASSERT_EQ(r.shard()->nr_cached, 1u);
    neigh_delete(r.n, r.port("p1"), ip("10.0.1.30"));
    r.advance_ms(61 * 1000);
    r.burst_end();
    EXPECT_EQ(r.shard()->nr_cached, 0u);
}

// Whichever allocation fails while entries are made and others collected for them: the packet is
// routed by other means or refused for a counted reason, and the shard is whole.
TEST_F(route_gc, any_allocation_may_fail_while_entries_come_and_go) {
    for (int admission : {0, 1}) {
        r.limits(8, 16, 1);
        r.n.ipv4.rt.gc_min_interval = 0;
        r.n.ipv4.rt.admission = admission;
        unsigned failed = 0, next = 0;
        for (uint64_t nth = 1; nth <= 60; ++nth) {
            r.advance_ms(1000);
            fault_attr attr;
            attr.nth = nth;
            failslab_set(attr);
            std::vector<std::string> got;
            for (unsigned i = 0; i < 30; ++i, ++next) {
                got.push_back(flow(next));
                got.push_back(flow(next));
                r.burst_end();
            }
            failed += failslab_stats().failed != 0;
            failslab_off();
            unsigned no_memory = 0;
            for (const std::string& g : got) {
                EXPECT_TRUE(g == WAY || g == "refused NOMEM" || g == "refused ROUTE_CACHE_FULL")
                    << g;
                EXPECT_TRUE(g == WAY || !admission) << "the next hop's entry stands in";
                no_memory += g == "refused NOMEM";
            }
            EXPECT_LE(no_memory, 1u);
            ASSERT_TRUE(rt_shard_is_valid(r.shard()));
        }
        EXPECT_GT(failed, 10u);
        EXPECT_GT(r.stat(S::collected), 100u);
    }
}

TEST_F(route_gc, score_and_expiry_rules) {
    flow(1);
    rtable* rt = r.rt;
    jiffies_t now = jiffies();
    EXPECT_FALSE(rt_may_expire(rt, 10, 10, now + 10));
    EXPECT_TRUE(rt_may_expire(rt, 10, 10, now + 11));
    rt->dst.expires = now + 5;
    EXPECT_TRUE(rt_may_expire(rt, 10, 10, now + 5));
    EXPECT_FALSE(rt_may_expire(rt, 1, 10, now + 4)) << "valuable: what was learned is in it";
    dst_hold(&rt->dst);
    EXPECT_FALSE(rt_may_expire(rt, 0, 0, now + 1000));
    --rt->dst.__refcnt;
    uint32_t valuable = rt_score(rt, now);
    rt->dst.expires = 0;
    EXPECT_GT(valuable, rt_score(rt, now));
    EXPECT_GT(rt_score(rt, now), rt_score(rt, now + 100)) << "older is worth less";
    uint32_t forwarded = rt_score(rt, now);
    r.input("10.0.0.2", "10.0.0.1");
    EXPECT_GT(forwarded, rt_score(r.rt, now)) << "local delivery before forwarding";
}

/// More flows than gc_thresh, far fewer than max_size, round and round.
TEST_F(route_gc, working_sets_between_gc_thresh_and_max_size_are_cached) {
    const unsigned buckets = r.shard()->rt_hash_mask + 1;
    r.limits(int(buckets), int(buckets) * 16);
    const unsigned flows = buckets * 3; // 19 % of max_size; elasticity 8 would let 8 x buckets live
    uint64_t hits = 0;
    for (unsigned round = 0; round < 12; ++round) {
        const uint64_t before = r.stat(S::in_hit);
        for (unsigned i = 0; i < flows; ++i) {
            flow(i);
            if (i % 32 == 31)
                r.burst_end();
        }
        r.advance_ms(40);
        hits = r.stat(S::in_hit) - before;
    }
    EXPECT_GT(hits, flows * 9ul / 10) << "of " << flows << ", entries " << entries() << ", max_size "
                                      << r.shard()->max_size;
}

} // namespace
} // namespace slabfwd::test
