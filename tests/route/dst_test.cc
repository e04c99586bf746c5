// SPDX-License-Identifier: BSD-3-Clause
//
// dst_entry: counts, the list of freed entries, the limit in dst_alloc.
#include <gtest/gtest.h>

#include "alloc/failslab.h"
#include "tests/route/rt_router.h"

namespace slabfwd::test {
namespace {

class dst_test : public ::testing::Test {
protected:
    rt_router r;
    dst_ops& ops = r.shard()->ipv4_dst_ops;
    dst_entry* make(uint16_t flags = DST_HOST, int ref = 0) {
        dst_entry* dst = dst_alloc(&ops, r.port("p0"), ref, DST_OBSOLETE_FORCE_CHK, flags);
        if (dst) {
            rtable* rt = rt_from_dst(dst);
            rt->fi = nullptr;
            rt->rt_shared = rt->rt_neigh_lent = false;
        }
        return dst;
    }
};

TEST_F(dst_test, starts_as_asked) {
    dst_entry* dst = make(DST_HOST | DST_QUIET, 1);
    EXPECT_EQ(dst->__refcnt, 1u);
    EXPECT_EQ(dst->dev, r.port("p0"));
    EXPECT_EQ(dst->flags, DST_HOST) << "DST_QUIET is about the call";
    EXPECT_EQ(dst->obsolete, DST_OBSOLETE_FORCE_CHK);
    EXPECT_EQ(dst->lastuse, uint32_t(jiffies()));
    EXPECT_EQ(dst->neighbour, nullptr);
    EXPECT_EQ(dst_entries_get_fast(&ops), 1u);
    dst_free(dst);
    dst_release(dst);
    EXPECT_EQ(dst_run_gc(*this_softnet()), 1u);
    EXPECT_EQ(dst_entries_get_fast(&ops), 0u);
}

TEST_F(dst_test, freed_entries_last_to_the_end_of_the_burst) {
    dst_entry* dst = make();
    dst_free(dst);
    dst_free(dst); // once is enough
    EXPECT_EQ(dst->obsolete, DST_OBSOLETE_DEAD);
    EXPECT_EQ(dst_entries_get_fast(&ops), 1u);
    EXPECT_EQ(dst_run_gc(*this_softnet()), 1u);
    EXPECT_EQ(dst_entries_get_fast(&ops), 0u);
    EXPECT_EQ(dst_run_gc(*this_softnet()), 0u);
}

TEST_F(dst_test, held_entries_last_until_released) {
    dst_entry* dst = make();
    dst_hold(dst);
    dst_free(dst);
    EXPECT_EQ(dst_run_gc(*this_softnet()), 0u);
    EXPECT_EQ(dst_entries_get_fast(&ops), 1u);
    dst_release(dst);
    EXPECT_EQ(dst_run_gc(*this_softnet()), 1u);
    dst_release(nullptr);
}

TEST_F(dst_test, uncounted_entries_pass_by_the_limit) {
    r.limits(0, 0);
    dst_entry* dst = make(DST_HOST | DST_NOCOUNT);
    ASSERT_NE(dst, nullptr);
    EXPECT_EQ(dst_entries_get_fast(&ops), 0u);
    dst_free(dst);
    EXPECT_EQ(dst_run_gc(*this_softnet()), 1u);
    EXPECT_EQ(dst_entries_get_fast(&ops), 0u);
}

TEST_F(dst_test, full_is_said_once_in_a_while) {
    r.limits(1, 3);
    std::vector<dst_entry*> held;
    while (dst_entry* dst = make())
        held.push_back(dst);
    EXPECT_EQ(held.size(), 3u);
    EXPECT_TRUE(logged("Route cache is full: consider increasing sysctl net.ipv4.route.max_size."));
    size_t lines = rt_router::log.size();
    for (int i = 0; i < 1000; ++i)
        EXPECT_EQ(make(), nullptr);
    EXPECT_LT(rt_router::log.size(), lines + 15);
    lines = rt_router::log.size();
    EXPECT_EQ(make(DST_HOST | DST_QUIET), nullptr);
    EXPECT_EQ(rt_router::log.size(), lines);
    for (dst_entry* dst : held)
        dst_free(dst);
    dst_run_gc(*this_softnet());
}

TEST_F(dst_test, no_memory) {
    fault_attr attr;
    attr.only = ip_dst_cachep.get();
    failslab_set(attr);
    EXPECT_EQ(make(), nullptr);
    failslab_off();
    EXPECT_EQ(dst_entries_get_fast(&ops), 0u);
    EXPECT_FALSE(logged("Route cache is full"));
}

} // namespace
} // namespace slabfwd::test
