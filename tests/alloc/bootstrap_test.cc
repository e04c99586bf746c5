// SPDX-License-Identifier: BSD-3-Clause
//
// How the allocator comes up: the states in their order, and everything works from many threads
// that all come first.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "alloc_test.h"

namespace slabfwd {
namespace {

// Memory in small chunks, so that each stage of the start-up asks for some; notes the state it is
// asked in.
std::vector<slab_state_t> seen;
page_source watching = [] {
    page_source s = *anonymous_page_source();
    s.name = "watching";
    s.chunk_order = 4;
    s.populate = [](page_source*, void* addr, std::size_t bytes, int nid) {
        if (seen.empty() || seen.back() != slab_state())
            seen.push_back(slab_state());
        return anonymous_page_source()->populate(anonymous_page_source(), addr, bytes, nid);
    };
    return s;
}();

TEST(bootstrap, states_come_in_order) {
    ASSERT_EQ(set_page_source(&watching), 0);
    EXPECT_EQ(slab_state(), DOWN);
    std::atomic<int> good{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&good] {
            void* p = kmalloc(100, GFP_KERNEL);
            void* q = kzalloc(5000, GFP_KERNEL);
            good += p && q && slab_state() == FULL && ksize(p) == 128 && ksize(q) == 8192;
            kfree(p);
            kfree(q);
        });
    for (auto& t : threads)
        t.join();
    EXPECT_EQ(good, 4);
    EXPECT_EQ(slab_state(), FULL);
    ASSERT_GE(seen.size(), 3u);
    // SLAB needs nothing while DOWN, its first structures are static; SLUB's first node is an object.
    EXPECT_EQ(std::vector(seen.begin(), seen.begin() + 2),
              test::slub ? (std::vector<slab_state_t>{DOWN, PARTIAL})
                   : (std::vector<slab_state_t>{PARTIAL, PARTIAL_NODE}));
    EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
    kmem_cache_init();
    EXPECT_EQ(slab_set_tuning(slab_tuning::linux_5_2), -EBUSY);
}

TEST(bootstrap, first_caches_are_made_from_themselves) {
    if (test::slub)
        GTEST_SKIP() << "of SLAB only";
    const auto list = slabinfo_list();
    ASSERT_GT(list.size(), 10u);
    EXPECT_EQ(list[0].name, "kmem_cache");
    EXPECT_EQ(list[1].name, "kmalloc-" + std::to_string(list[1].objsize)) << "where nodes live";
    // The boot cache itself is static, all others are its objects.
    EXPECT_EQ(list[0].active_objs, list.size() - 1);
    EXPECT_TRUE(test::all_valid());
}

TEST(bootstrap, boot_caches_cannot_be_destroyed) {
    EXPECT_EQ(kmem_cache_destroy(find_cache("kmalloc-64")), -EINVAL);
    EXPECT_NE(find_cache("kmalloc-64"), nullptr);
}

} // namespace
} // namespace slabfwd
