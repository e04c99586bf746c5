// SPDX-License-Identifier: BSD-3-Clause
//
// Every version of rt_bucket_list finds what the plain one finds, and that what
// rt_bucket::first_for says: in buckets of all lengths, for flows that are there and for others, in
// bursts of every length.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "neigh/bits.h"
#include "route/rt_bucket_list.h"

namespace slabfwd::test {
namespace {

constexpr uint32_t BUCKETS = 64;

class rt_bucket_list_of_random_buckets : public testing::Test {
protected:
    rt_bucket_list_of_random_buckets() : entries(200), buckets(BUCKETS) {
        for (rtable& rt : entries) {
            const auto hash = uint32_t(rng());
            buckets[hash & (BUCKETS - 1)].push(&rt, hash);
            present.push_back(hash);
        }
        for (rt_bucket& b : buckets)
            b.seen = uint32_t(rng());
    }
    /// Half of them are of entries.
    std::vector<uint32_t> hashes(unsigned n) {
        std::vector<uint32_t> of(n);
        for (uint32_t& h : of)
            h = rng() & 1 ? present[rng() % present.size()] : uint32_t(rng());
        return of;
    }

    std::mt19937 rng{7};
    std::vector<rtable> entries;
    std::vector<rt_bucket> buckets;
    std::vector<uint32_t> present;
};

TEST_F(rt_bucket_list_of_random_buckets, all_versions_agree_with_the_buckets_themselves) {
    unsigned found = 0, absent = 0;
    for (unsigned round = 0; round < 2000; ++round) {
        const unsigned n = 1 + round % PACKET_BURST;
        const std::vector<uint32_t> hash = hashes(n);
        for (const rt_bucket_list_version& version : rt_bucket_list_versions()) {
            std::vector<rtable*> rt(n, &entries[0]);
            const uint32_t none =
                version.list(buckets.data(), BUCKETS - 1, hash.data(), n, rt.data());
            for (unsigned i = 0; i < n; ++i) {
                rtable* want = buckets[hash[i] & (BUCKETS - 1)].first_for(hash[i]);
                ASSERT_EQ(rt[i], want) << version.name << ", round " << round << ", flow " << i;
                ASSERT_EQ(none >> i & 1, uint32_t(!want)) << version.name;
                ++(want ? found : absent);
            }
            ASSERT_EQ(n < 32 ? none >> n : 0, 0u) << version.name;
        }
    }
    EXPECT_GT(found, 10'000u);
    EXPECT_GT(absent, 10'000u);
}

TEST_F(rt_bucket_list_of_random_buckets, a_flow_that_is_there_is_never_missed) {
    for (const uint32_t hash : present)
        for (const rt_bucket_list_version& version : rt_bucket_list_versions()) {
            const std::vector<uint32_t> all(PACKET_BURST, hash);
            std::vector<rtable*> rt(PACKET_BURST);
            EXPECT_EQ(
                version.list(buckets.data(), BUCKETS - 1, all.data(), PACKET_BURST, rt.data()), 0u)
                << version.name;
        }
}

TEST(rt_bucket_list, the_best_version_is_used) {
    EXPECT_EQ(rt_bucket_list, rt_bucket_list_versions().back().list);
    EXPECT_EQ(rt_bucket_list_versions().front().list, &rt_bucket_list_plain);
}

} // namespace
} // namespace slabfwd::test
