// SPDX-License-Identifier: BSD-3-Clause
//
// slabinfo: the text as the kernel prints it, the numbers, the tunables.
#include <cerrno>
#include <numeric>
#include <sstream>

#include "alloc/slab_detail.h"
#include "alloc_test.h"

namespace slabfwd {
namespace {

std::string line_of(const std::string& text, const std::string& name) {
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);)
        if (line.rfind(name + " ", 0) == 0)
            return line;
    return "";
}

TEST(slabinfo, text_is_version_2_1) {
    if (test::slub)
        GTEST_SKIP() << "of SLAB only";
    const kmem_cache_ptr cache(kmem_cache_create("ip_dst_test", 200, 0, 0, nullptr));
    ASSERT_EQ(kmem_cache_tune(cache.get(), 100, 50, 4), 0);
    void* objs[3];
    for (void*& p : objs)
        p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    const std::string text = slabinfo_text();
    EXPECT_EQ(text.rfind("slabinfo - version: 2.1\n"
                         "# name            <active_objs> <num_objs> <objsize> <objperslab> "
                         "<pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata "
                         "<active_slabs> <num_slabs> <sharedavail>\n",
                         0),
              0u);
    char want[256];
    std::snprintf(want, sizeof want,
                  "%-17s %6d %6u %6d %4u %4d : tunables %4d %4d %4d : slabdata %6d %6d %6d",
                  "ip_dst_test", 3, cache->num, 200, cache->num, 1 << cache->gfporder, 100, 50, 4,
                  1, 1, 0);
    EXPECT_EQ(line_of(text, "ip_dst_test"), want);
    EXPECT_NE(slabinfo_text(true).find("cpustat"), std::string::npos);
    for (void* p : objs)
        kmem_cache_free(cache.get(), p);
    EXPECT_NE(line_of(slabinfo_text(), "ip_dst_test").find("ip_dst_test            0"),
              std::string::npos);
}

TEST(slabinfo, objects_add_up) {
    const kmem_cache_ptr cache(kmem_cache_create("sums", 200, 0, 0, nullptr));
    std::vector<void*> objs(5000);
    for (void*& p : objs)
        p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    while (objs.size() > 1234) {
        kmem_cache_free(cache.get(), objs.back());
        objs.pop_back();
    }
    const slabinfo s = get_slabinfo(cache.get());
    EXPECT_EQ(s.active_objs, 1234u);
    EXPECT_EQ(s.active_objs + s.cpu_objs + s.sharedavail + s.free_objs, s.num_objs);
    EXPECT_EQ(s.num_objs, s.num_slabs * s.objperslab);
    EXPECT_GE(s.high_mark, test::slub ? 0u : 5000u);
    EXPECT_GE(s.grown, s.num_slabs);
    EXPECT_EQ(s.errors, 0u);
    for (void* p : objs)
        kmem_cache_free(cache.get(), p);
}

TEST(slabinfo, write_sets_tunables_at_once) {
    if (test::slub)
        GTEST_SKIP() << "of SLAB only";
    const kmem_cache_ptr cache(kmem_cache_create("tuned", 200, 0, 0, nullptr));
    const auto h = kmem_cache_this_cpu(cache.get());
    std::vector<void*> objs(6000);
    for (const char* line :
         {"tuned 10 5 0", "tuned 3000 1500 2\n", "tuned 1 1 0", " tuned  77 7 3"}) {
        for (void*& p : objs)
            p = kmem_cache_alloc(h, GFP_KERNEL);
        ASSERT_EQ(slabinfo_write(line), 0) << line;
        ASSERT_TRUE(test::is_valid(cache.get())) << line;
        for (void* p : objs)
            kmem_cache_free(h, p); // the handle lives through it all
        const slabinfo s = get_slabinfo(cache.get());
        EXPECT_LE(s.cpu_objs, s.limit);
        EXPECT_EQ(s.active_objs, 0u);
        ASSERT_TRUE(test::is_valid(cache.get())) << line;
    }
    const slabinfo s = get_slabinfo(cache.get());
    EXPECT_EQ(s.limit, 77u);
    EXPECT_EQ(s.batchcount, 7u);
    EXPECT_EQ(s.sharedfactor, 3u);
    for (const char* bad :
         {"", "tuned", "tuned 1 1", "tuned 5 6 0", "tuned 0 0 0", "tuned 5 0 0", "tuned 5 5 -1",
          "tuned 5 5 5 5", "tuned a b c", "tuned 5x 5 5", "nobody 5 5 5", "tuned 99999999 5 5"})
        EXPECT_EQ(slabinfo_write(bad), -EINVAL) << bad;
    EXPECT_EQ(get_slabinfo(cache.get()).limit, 77u);
}

TEST(slabinfo, default_tunables) {
    if (test::slub)
        GTEST_SKIP() << "of SLAB only";
    struct {
        std::size_t size;
        unsigned limit, batchcount, shared;
    } const linux_wants[] = {{64, 120, 60, 8},  {256, 120, 60, 8}, {264, 54, 27, 8},
                             {2048, 24, 12, 8}, {4096, 24, 12, 8}, {8192, 8, 4, 0},
                             {100000, 8, 4, 0}, {200000, 1, 1, 0}},
            throughput_wants[] = {{64, 768, 256, 32}, {256, 768, 256, 32}, {264, 384, 128, 16},
                                  {2048, 96, 32, 16}, {4096, 48, 16, 16},  {8192, 24, 8, 16},
                                  {100000, 1, 1, 16}, {200000, 1, 1, 0}};
    for (const auto& c : test::tuning == slab_tuning::linux_5_2 ? linux_wants : throughput_wants) {
        const kmem_cache_ptr cache(kmem_cache_create("defaults", c.size, 0, 0, nullptr));
        const slabinfo s = get_slabinfo(cache.get());
        EXPECT_EQ(s.limit, c.limit) << c.size;
        EXPECT_EQ(s.batchcount, c.batchcount) << c.size;
        EXPECT_EQ(s.sharedfactor, c.shared) << c.size;
    }
}

TEST(slabinfo, slabs_are_cut_by_the_kernels_rule) {
    if (test::tuning != slab_tuning::linux_5_2 || test::slub)
        GTEST_SKIP() << "of SLAB's linux tuning only";
    // Objects a slab and pages a slab of a v5.2 kernel with SLAB on x86-64.
    struct {
        std::size_t size;
        unsigned num, pages;
    } const wants[] = {{32, 124, 1}, {64, 64, 1},  {128, 32, 1}, {192, 21, 1}, {256, 16, 1},
                       {512, 8, 1},  {1024, 4, 1}, {2048, 2, 1}, {4096, 1, 1}, {8192, 1, 2}};
    for (const auto& c : wants) {
        const kmem_cache_ptr cache(kmem_cache_create("cut", c.size, 0, 0, nullptr));
        const slabinfo s = get_slabinfo(cache.get());
        EXPECT_EQ(s.objperslab, c.num) << c.size;
        EXPECT_EQ(s.pagesperslab, c.pages) << c.size;
    }
}

TEST(slabinfo, statistics_count_hits_on_demand) {
    const kmem_cache_ptr cache(kmem_cache_create("counted-hits", 200, 0, 0, nullptr));
    const auto h = kmem_cache_this_cpu(cache.get());
    kmem_cache_free(h, kmem_cache_alloc(h, GFP_KERNEL));
    EXPECT_EQ(get_slabinfo(cache.get()).allochit, 0u);
    EXPECT_EQ(get_slabinfo(cache.get()).allocmiss, 1u);
    slab_statistics(cache.get(), true);
    for (int i = 0; i < 100; ++i)
        kmem_cache_free(h, kmem_cache_alloc(h, GFP_KERNEL));
    EXPECT_TRUE(test::is_valid(cache.get()));
    const slabinfo s = get_slabinfo(cache.get());
    EXPECT_EQ(s.allochit, 100u);
    EXPECT_EQ(s.freehit, 100u);
    EXPECT_EQ(s.active_objs, 0u);
    slab_statistics(cache.get(), false);
    kmem_cache_free(h, kmem_cache_alloc(h, GFP_KERNEL));
    EXPECT_EQ(get_slabinfo(cache.get()).allochit, 100u);
}

TEST(slabinfo, detail_tells_where_objects_are) {
    const kmem_cache_ptr cache(kmem_cache_create("detailed", 200, 0, 0, nullptr));
    std::vector<void*> objects(3000);
    for (void*& p : objects)
        p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    for (std::size_t i = 0; i < objects.size(); ++i)
        if (i % 10)
            kmem_cache_free(cache.get(), objects[i]);
    kmem_cache_shrink(cache.get());
    const slab_detail d = get_slab_detail(cache.get());
    ASSERT_EQ(d.nodes.size(), 1u);
    const slab_node_detail& n = d.nodes[0];
    EXPECT_EQ(n.full + n.partial + n.free, d.info.num_slabs);
    EXPECT_EQ(std::accumulate(n.occupancy.begin(), n.occupancy.end(), std::size_t{0}), n.partial);
    EXPECT_EQ(n.occupancy[0] + n.occupancy[1], n.partial); // a tenth each
    EXPECT_EQ(n.free_objects, d.info.num_objs - 300);
    EXPECT_EQ(d.info.active_objs, 300u);
    EXPECT_EQ(d.used_bytes, 300u * 200);
    EXPECT_GT(d.fragmentation, 80.0);
    EXPECT_LT(d.fragmentation + d.waste, 100.0);
    ASSERT_FALSE(d.cpus.empty());
    std::uint64_t moved = 0;
    for (const slab_cpu_detail& c : d.cpus)
        moved += c.refilled;
    EXPECT_EQ(
        moved, 3000u + [&] {
            std::uint64_t flushed = 0;
            for (const slab_cpu_detail& c : d.cpus)
                flushed += c.flushed;
            return flushed;
        }() - 2700u);
    EXPECT_NE(slab_detail_text(cache.get()).find("detailed: 300 of"), std::string::npos);
    for (std::size_t i = 0; i < objects.size(); i += 10)
        kmem_cache_free(cache.get(), objects[i]);
}

} // namespace
} // namespace slabfwd
