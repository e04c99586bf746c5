// SPDX-License-Identifier: BSD-3-Clause
//
// Failing allocations: which ones fail, and that nothing is lost whichever fails.
#include "alloc/failslab.h"

#include <algorithm>
#include <cerrno>
#include <map>

#include "alloc_test.h"

namespace slabfwd {
namespace {

// How many of `calls` allocations fail.
int failures(kmem_cache* cache, int calls, gfp_t flags = GFP_KERNEL) {
    int failed = 0;
    for (int i = 0; i < calls; ++i) {
        void* p = kmem_cache_alloc(cache, flags | __GFP_NOWARN);
        failed += !p;
        if (p)
            kmem_cache_free(cache, p);
    }
    return failed;
}

TEST(failslab, attributes) {
    const kmem_cache_ptr a(kmem_cache_create("fail-a", 200, 0, SLAB_FAILSLAB, nullptr));
    const kmem_cache_ptr b(kmem_cache_create("fail-b", 200, 0, 0, nullptr));
    EXPECT_EQ(failures(a.get(), 100), 0);
    failslab_set({.only = a.get()});
    EXPECT_EQ(failures(a.get(), 100), 100);
    EXPECT_EQ(failures(b.get(), 100), 0);
    failslab_set({.interval = 10, .only = a.get()});
    EXPECT_EQ(failures(a.get(), 100), 10);
    failslab_set({.interval = 10, .times = 3, .only = a.get()});
    EXPECT_EQ(failures(a.get(), 100), 3);
    failslab_set({.nth = 42, .only = a.get()});
    EXPECT_EQ(failures(a.get(), 41), 0);
    EXPECT_EQ(failures(a.get(), 1), 1);
    EXPECT_EQ(failures(a.get(), 100), 0);
    EXPECT_EQ(failslab_stats().seen, 142u);
    EXPECT_EQ(failslab_stats().failed, 1u);
    failslab_set({.probability = 50, .only = a.get()});
    const int half = failures(a.get(), 1000);
    EXPECT_GT(half, 400);
    EXPECT_LT(half, 600);
    failslab_set({.cache_filter = true});
    EXPECT_EQ(failures(a.get(), 10), 10);
    EXPECT_EQ(failures(b.get(), 10), 0);
    failslab_set({.ignore_gfp_reclaim = true});
    EXPECT_EQ(failures(a.get(), 10, GFP_KERNEL), 0);
    EXPECT_EQ(failures(a.get(), 10, GFP_ATOMIC), 10);
    failslab_off();
    EXPECT_EQ(failures(a.get(), 100), 0);
    EXPECT_EQ(failures(b.get(), 100), 0);
    EXPECT_TRUE(test::all_valid());
}

TEST(failslab, space_and_reports) {
    const kmem_cache_ptr a(kmem_cache_create("fail-space", 200, 0, 0, nullptr));
    const test::reports r;
    failslab_set({.space = 1000, .verbose = 2, .only = a.get()});
    EXPECT_EQ(failures(a.get(), 4), 0) << "as long as more than an object's bytes are left";
    EXPECT_EQ(r.count(), 0u);
    EXPECT_EQ(failures(a.get(), 10), 10);
    EXPECT_TRUE(r.has("FAULT_INJECTION: forcing a failure of 200 bytes of fail-space"));
    EXPECT_TRUE(r.has("Asked for in ")) << r.text();
    EXPECT_TRUE(r.has("failures")) << "the stack has the caller: " << r.text();
    failslab_off();
}

TEST(failslab, text) {
    const kmem_cache_ptr a(kmem_cache_create("fail-text", 200, 0, 0, nullptr));
    const kmem_cache_ptr b(kmem_cache_create("fail-other", 200, 0, 0, nullptr));
    ASSERT_EQ(setup_failslab("cache=fail-text,interval=4,times=5"), 0);
    EXPECT_EQ(failures(a.get(), 100), 5);
    EXPECT_EQ(failures(b.get(), 100), 0);
    ASSERT_EQ(setup_failslab("10,100,0,-1"), 0);
    EXPECT_EQ(failures(a.get(), 100), 10);
    ASSERT_EQ(setup_failslab("nth=7,cache=fail-other"), 0);
    EXPECT_EQ(failures(b.get(), 6), 0);
    EXPECT_EQ(failures(b.get(), 1), 1);
    for (const char* bad : {"", "1,2,3", "1,2,3,4,5", "interval", "interval=x", "depth=1",
                            "probability=101", "1,101,0,1", "cache-filter=2"})
        EXPECT_EQ(setup_failslab(bad), -EINVAL) << bad;
    ASSERT_EQ(setup_failslab("cache=fail-o*"), 0);
    EXPECT_EQ(failures(a.get(), 10), 0);
    EXPECT_EQ(failures(b.get(), 10), 10);
    ASSERT_EQ(setup_failslab("off"), 0);
    EXPECT_EQ(failures(b.get(), 100), 0);
}

TEST(failslab, hooks_leave_objects_in_place) {
    const kmem_cache_ptr cache(kmem_cache_create("fail-held", 200, 0, 0, nullptr));
    const auto h = kmem_cache_this_cpu(cache.get());
    void* p = kmem_cache_alloc(h, GFP_KERNEL);
    kmem_cache_free(h, p);
    failslab_set({.interval = 2, .only = cache.get()});
    EXPECT_TRUE(test::is_valid(cache.get()));
    EXPECT_EQ(kmem_cache_alloc(h, GFP_KERNEL | __GFP_NOWARN), p) << "still last in, first out";
    EXPECT_EQ(kmem_cache_alloc(h, GFP_KERNEL | __GFP_NOWARN), nullptr);
    kmem_cache_free(h, p);
    failslab_off();
    EXPECT_EQ(kmem_cache_alloc(h, GFP_KERNEL), p);
    kmem_cache_free(h, p);
    EXPECT_TRUE(test::is_valid(cache.get()));
}

// A whole life of a cache, each step of which may fail. Returns whether all went well.
bool life(slab_flags_t flags = 0) {
    kmem_cache* cache = kmem_cache_create("mortal", 200, 0, SLAB_HWCACHE_ALIGN | flags, nullptr);
    if (!cache) {
        EXPECT_EQ(errno, ENOMEM);
        return false;
    }
    bool well = true;
    std::vector<void*> objs;
    for (int i = 0; i < 700; ++i) {
        if (void* p = kmem_cache_zalloc(cache, GFP_KERNEL | __GFP_NOWARN))
            objs.push_back(p);
        else
            well = false;
    }
    void* bulk[600];
    const std::size_t n = kmem_cache_alloc_bulk(cache, GFP_ATOMIC | __GFP_NOWARN, 600, bulk);
    EXPECT_TRUE(n == 0 || n == 600);
    well = well && n;
    objs.insert(objs.end(), bulk, bulk + n);
    well = kmem_cache_tune(cache, 300, 150, 2) == (test::slub ? -EIO : 0) && well;
    for (std::size_t i = 0; i < objs.size() / 2; ++i, objs.pop_back())
        kmem_cache_free(cache, objs.back());
    kmem_cache_shrink(cache);
    void* k = kmalloc(300, GFP_KERNEL | __GFP_NOWARN);
    void* k2 = k ? krealloc(k, 3000, GFP_KERNEL | __GFP_NOWARN) : nullptr;
    well = well && k2;
    kfree(k2 ? k2 : k);
    EXPECT_TRUE(test::is_valid(cache));
    kmem_cache_free_bulk(cache, objs.size(), objs.data());
    EXPECT_EQ(get_slabinfo(cache).active_objs, 0u);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
    return well;
}

// Objects in use by cache, but for freelist indices: of these there is one for each slab whose
// index is kept off it, whatever those slabs are.
std::map<std::string, std::size_t> active() {
    std::map<std::string, std::size_t> m;
    std::map<std::string, std::size_t> indices;
    for (const slabinfo& s : slabinfo_list()) {
        m[s.name] += s.active_objs;
        if (const kmem_cache* fc = find_cache(s.name)->freelist_cache)
            indices[fc->name] += s.num_slabs;
    }
    for (const auto& [name, count] : indices) {
        EXPECT_GE(m[name], count) << name;
        m[name] -= count;
    }
    return m;
}

TEST(failslab, at_every_nth_allocation_of_a_life) {
    ASSERT_TRUE(life()); // arrays of the caches that the allocator itself uses are made here
    const auto before = active();
    std::uint64_t nth = 1;
    for (bool done = false; !done; ++nth) {
        failslab_set({.nth = nth});
        life();
        done = failslab_stats().failed == 0;
        failslab_off();
        ASSERT_EQ(active(), before) << "lost when allocation " << nth << " failed";
        if (nth % 50 == 0) {
            ASSERT_TRUE(test::all_valid()) << nth;
        }
    }
    EXPECT_GT(nth, 700u) << "each of the life's allocations had its turn";
    EXPECT_TRUE(test::all_valid());
}

TEST(failslab, at_every_seventh_allocation_of_a_life_under_debugging) {
    constexpr slab_flags_t all =
        SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER | SLAB_RANDOM;
    for (const slab_flags_t flags : {all, SLAB_HARDENED}) {
        const test::reports r;
        ASSERT_TRUE(life(flags));
        const auto before = active();
        std::uint64_t nth = 1;
        for (bool done = false; !done; nth += 7) {
            failslab_set({.nth = nth});
            life(flags);
            done = failslab_stats().failed == 0;
            failslab_off();
            ASSERT_EQ(active(), before) << "lost when allocation " << nth << " failed";
        }
        EXPECT_GT(nth, 700u);
        EXPECT_FALSE(r.has("BUG")) << r.text();
    }
    EXPECT_TRUE(test::all_valid());
}

TEST(failslab, at_every_nth_page_allocation_of_a_life) {
    ASSERT_TRUE(life());
    const auto before = active();
    std::uint64_t nth = 1;
    for (bool done = false; !done; ++nth) {
        slab_reclaim_all();
        fail_page_alloc_set({.nth = nth});
        life();
        done = fail_page_alloc_stats().failed == 0;
        fail_page_alloc_off();
        ASSERT_EQ(active(), before) << "lost when page allocation " << nth << " failed";
        ASSERT_TRUE(test::all_valid()) << nth;
    }
    EXPECT_GT(nth, 4u);
}

} // namespace
} // namespace slabfwd
