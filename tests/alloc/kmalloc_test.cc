// SPDX-License-Identifier: BSD-3-Clause
//
// kmalloc: boundaries of every size class, large sizes, krealloc, misuse.
#include <cstring>

#include "alloc_test.h"

namespace slabfwd {
namespace {

static_assert(kmalloc_index(0) == 0);
static_assert(kmalloc_index(1) == 5);
static_assert(kmalloc_index(32) == 5);
static_assert(kmalloc_index(33) == 6);
static_assert(kmalloc_index(64) == 6);
static_assert(kmalloc_index(65) == 1);
static_assert(kmalloc_index(96) == 1);
static_assert(kmalloc_index(97) == 7);
static_assert(kmalloc_index(129) == 2);
static_assert(kmalloc_index(192) == 2);
static_assert(kmalloc_index(193) == 8);
static_assert(kmalloc_index(8192) == 13);

TEST(kmalloc, every_size_up_to_two_classes_beyond_the_caches) {
    for (std::size_t size = 1; size <= 4 * KMALLOC_MAX_CACHE_SIZE;
         size += size < 300 ? 1 : size / 7) {
        auto* p = static_cast<unsigned char*>(kmalloc(size, GFP_KERNEL));
        ASSERT_NE(p, nullptr) << size;
        ASSERT_GE(ksize(p), size);
        ASSERT_EQ(reinterpret_cast<std::uintptr_t>(p) % 8, 0u);
        if (kmem_cache* c = kmalloc_slab(size, GFP_KERNEL)) {
            ASSERT_EQ(virt_to_cache(p), c);
            ASSERT_EQ(ksize(p), c->object_size);
            ASSERT_EQ(c, kmalloc_caches[KMALLOC_NORMAL][kmalloc_index(size)].load());
        } else {
            ASSERT_EQ(virt_to_cache(p), nullptr);
        }
        p[0] = 1;
        p[size - 1] = 2;
        kfree(p);
    }
    EXPECT_TRUE(test::all_valid());
}

TEST(kmalloc, powers_of_two_are_aligned_to_their_size) {
    for (std::size_t size = 32; size <= 4096; size *= 2) {
        void* p = kmalloc(size, GFP_KERNEL);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % size, 0u) << size;
        kfree(p);
    }
}

TEST(kmalloc, constant_sizes_and_types) {
    void* a = kmalloc(100, GFP_KERNEL);
    void* b = kmalloc(100, GFP_KERNEL | __GFP_RECLAIMABLE);
    EXPECT_STREQ(virt_to_cache(a)->name, "kmalloc-128");
    EXPECT_STREQ(virt_to_cache(b)->name, "kmalloc-rcl-128");
    kfree(a);
    kfree(b);
}

TEST(kmalloc, zero_size_and_null) {
    void* p = kmalloc(0, GFP_KERNEL);
    EXPECT_EQ(p, ZERO_SIZE_PTR);
    EXPECT_TRUE(ZERO_OR_NULL_PTR(p));
    EXPECT_TRUE(ZERO_OR_NULL_PTR(nullptr));
    EXPECT_EQ(ksize(p), 0u);
    EXPECT_EQ(ksize(nullptr), 0u);
    kfree(p);
    kfree(nullptr);
}

TEST(kmalloc, large) {
    const page_alloc_stats before = page_alloc_get_stats();
    void* p = kmalloc(KMALLOC_MAX_SIZE, GFP_KERNEL);
    ASSERT_NE(p, nullptr);
    EXPECT_EQ(ksize(p), KMALLOC_MAX_SIZE);
    kfree(p);
    EXPECT_EQ(kmalloc(KMALLOC_MAX_SIZE + 1, GFP_KERNEL), nullptr);
    auto* z = static_cast<unsigned char*>(kzalloc(100000, GFP_KERNEL));
    for (std::size_t i = 0; i < 100000; ++i)
        ASSERT_EQ(z[i], 0);
    kfree(z);
    const page_alloc_stats after = page_alloc_get_stats();
    EXPECT_EQ(after.populated - after.free, before.populated - before.free);
}

TEST(kmalloc, arrays_do_not_overflow) {
    EXPECT_EQ(kmalloc_array(SIZE_MAX / 2, 4, GFP_KERNEL), nullptr);
    auto* p = static_cast<unsigned char*>(kcalloc(10, 10, GFP_KERNEL));
    EXPECT_EQ(p[99], 0);
    kfree(p);
}

TEST(kmalloc, krealloc_keeps_contents) {
    auto* p = static_cast<unsigned char*>(krealloc(nullptr, 1, GFP_KERNEL));
    p[0] = 0;
    std::size_t filled = 1;
    for (std::size_t size : {20u, 33u, 100u, 130u, 5000u, 9000u, 100000u, 50u, 7u}) {
        p = static_cast<unsigned char*>(krealloc(p, size, GFP_KERNEL));
        ASSERT_NE(p, nullptr);
        for (std::size_t i = 0; i < std::min(filled, size); ++i)
            ASSERT_EQ(p[i], i % 256) << size;
        for (std::size_t i = 0; i < size; ++i)
            p[i] = static_cast<unsigned char>(i);
        filled = size;
    }
    EXPECT_EQ(krealloc(p, KMALLOC_MAX_SIZE + 1, GFP_KERNEL), nullptr) << "p stays";
    EXPECT_EQ(p[6], 6);
    EXPECT_EQ(krealloc(p, 0, GFP_KERNEL), ZERO_SIZE_PTR);
    void* q = krealloc(ZERO_SIZE_PTR, 10, GFP_KERNEL);
    EXPECT_NE(q, nullptr);
    kfree(q);
}

TEST(kmalloc, kstrdup_and_sensitive) {
    char* s = kstrdup("ip_dst_cache", GFP_KERNEL);
    EXPECT_STREQ(s, "ip_dst_cache");
    kfree_sensitive(s);
    EXPECT_EQ(kstrdup(nullptr, GFP_KERNEL), nullptr);
}

TEST(kmalloc, kfree_of_what_is_not_ours) {
    test::reports r;
    int local = 0;
    kfree(&local);
    EXPECT_TRUE(r.has("BUG: kfree of"));
    void* p = kmalloc(100000, GFP_KERNEL);
    kfree(static_cast<char*>(p) + 8192);
    EXPECT_EQ(r.count(), 2u) << "not the start of the block";
    kfree(p);
    EXPECT_EQ(r.count(), 2u);
    kfree(p);
    EXPECT_EQ(r.count(), 3u) << "a second time";
}

TEST(kmalloc, kfree_frees_objects_of_any_cache) {
    const kmem_cache_ptr cache(kmem_cache_create("any", 200, 0, 0, nullptr));
    kfree(kmem_cache_alloc(cache.get(), GFP_KERNEL));
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 0u);
}

} // namespace
} // namespace slabfwd
