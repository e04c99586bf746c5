// SPDX-License-Identifier: BSD-3-Clause
//
// Pages from the hugetlb pool: caches work on them while it has any, and run dry cleanly.
#include <algorithm>
#include <cstdio>

#include "alloc_test.h"

namespace slabfwd {
namespace {

long meminfo(const char* key) {
    long n = 0;
    std::FILE* f = std::fopen("/proc/meminfo", "re");
    char line[128];
    char name[64];
    while (f && std::fgets(line, sizeof line, f))
        if (long v = 0; std::sscanf(line, "%63[^:]: %ld", name, &v) == 2 && !std::strcmp(name, key))
            n = v;
    if (f)
        std::fclose(f);
    return n;
}

TEST(Hugetlb, SourcesAreFoundByName) {
    EXPECT_EQ(find_page_source("anonymous"), anonymous_page_source());
    EXPECT_EQ(find_page_source("hugetlb"), hugetlb_page_source());
    EXPECT_EQ(find_page_source("none"), nullptr);
    static page_source mine = *anonymous_page_source();
    mine.name = "mine";
    register_page_source(&mine);
    register_page_source(&mine);
    EXPECT_EQ(find_page_source("mine"), &mine);
}

TEST(Hugetlb, CachesLiveOnThePool) {
    constexpr long ENOUGH = 8; // a large pool is not emptied
    const long pool = std::min(meminfo("HugePages_Free") - meminfo("HugePages_Rsvd"), ENOUGH);
    page_alloc_set_limit(std::size_t{ENOUGH} << 21);
    ASSERT_EQ(set_page_source(hugetlb_page_source()), 0);
    page* probe = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 4);
    if (pool == 0) { // none to be had: no memory, and no crash at the first touch either
        EXPECT_EQ(probe, nullptr);
        return;
    }
    ASSERT_NE(probe, nullptr);
    std::memset(page_address(probe), 1, PAGE_SIZE << 4);
    EXPECT_LE(page_alloc_get_stats().populated * PAGE_SIZE, std::size_t(pool) << 21);
    __free_pages(probe, 4);
    EXPECT_STREQ(page_alloc_get_stats().source, "hugetlb");

    const kmem_cache_ptr cache(kmem_cache_create("huge", 4096, 0, 0, nullptr));
    std::vector<void*> objects;
    for (void* o; (o = kmem_cache_alloc(cache.get(), GFP_KERNEL | __GFP_NOWARN));) {
        std::memset(o, 0x5a, 4096);
        objects.push_back(o);
    }
    // All of the pool, and not a byte beyond it.
    EXPECT_LE(page_alloc_get_stats().populated * PAGE_SIZE, std::size_t(pool) << 21);
    EXPECT_GT(page_alloc_get_stats().populated * PAGE_SIZE, std::size_t(pool - 1) << 21);
    EXPECT_GT(objects.size(), 100u);
    for (void* o : objects)
        kmem_cache_free(cache.get(), o);
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 0);
    void* again = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    ASSERT_NE(again, nullptr);
    std::memset(again, 1, 4096);
    kmem_cache_free(cache.get(), again);
    EXPECT_TRUE(test::all_valid());
}

} // namespace
} // namespace slabfwd
