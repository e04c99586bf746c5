// SPDX-License-Identifier: BSD-3-Clause
//
// Making, using and ending caches.
#include <cerrno>
#include <cstring>
#include <set>
#include <thread>

#include "alloc_test.h"

namespace slabfwd {
namespace {

using test::is_valid;

TEST(kmem_cache_create, sanity_check) {
    test::reports r;
    const auto fails = [](const char* name, std::size_t size, std::size_t align,
                          slab_flags_t flags) {
        errno = 0;
        EXPECT_EQ(kmem_cache_create(name, size, align, flags, nullptr), nullptr) << name;
        return errno;
    };
    EXPECT_EQ(fails(nullptr, 64, 0, 0), EINVAL);
    EXPECT_EQ(fails("", 64, 0, 0), EINVAL);
    EXPECT_EQ(fails("with space", 64, 0, 0), EINVAL);
    EXPECT_EQ(fails("small", sizeof(void*) - 1, 0, 0), EINVAL);
    EXPECT_EQ(fails("large", KMALLOC_MAX_SIZE + 1, 0, 0), EINVAL);
    EXPECT_TRUE(r.has("kmem_cache_create(large) integrity check failed"));
    EXPECT_EQ(fails("align", 64, 24, 0), EINVAL);
    EXPECT_EQ(fails("flags", 64, 0, 0x1u), EINVAL);
    const kmem_cache_ptr first(kmem_cache_create("twice", 64, 0, 0, nullptr));
    ASSERT_TRUE(first);
    EXPECT_EQ(fails("twice", 64, 0, 0), EEXIST);
    EXPECT_EQ(fails("kmalloc-64", 64, 0, 0), EEXIST);
}

TEST(kmem_cache_create, calculate_alignment) {
    struct {
        std::size_t size, align;
        slab_flags_t flags;
        unsigned want_size, want_align;
    } const cases[] = {
        {200, 0, 0, 200, 8},
        {200, 0, SLAB_HWCACHE_ALIGN, 256, 64},
        {33, 0, SLAB_HWCACHE_ALIGN, 64, 64},
        {32, 0, SLAB_HWCACHE_ALIGN, 32, 32},
        {17, 0, SLAB_HWCACHE_ALIGN, 32, 32},
        {16, 0, SLAB_HWCACHE_ALIGN, 16, 16},
        {16, 64, SLAB_HWCACHE_ALIGN, 64, 64},
        {20, 4, 0, 24, 8},
        {100, 16, 0, 112, 16},
        {192, 128, 0, 256, 128},
        {5000, 4096, 0, 8192, 4096},
    };
    for (const auto& c : cases) {
        const kmem_cache_ptr cache(kmem_cache_create("aligned", c.size, c.align, c.flags, nullptr));
        ASSERT_TRUE(cache);
        EXPECT_EQ(cache->size, c.want_size) << c.size;
        EXPECT_EQ(cache->align, c.want_align) << c.size;
        EXPECT_EQ(kmem_cache_size(cache.get()), c.size);
        std::vector<void*> objs(cache->num * 3);
        for (void*& p : objs) {
            p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
            ASSERT_EQ(reinterpret_cast<std::uintptr_t>(p) % c.want_align, 0u);
        }
        EXPECT_TRUE(is_valid(cache.get()));
        for (void* p : objs)
            kmem_cache_free(cache.get(), p);
    }
}

TEST(kmem_cache, every_size_gives_separate_memory) {
    for (std::size_t size : {8u, 16u, 24u, 32u, 100u, 192u, 200u, 256u, 700u, 1500u, 4096u, 5000u,
                             20000u, 70000u, 300000u}) {
        const kmem_cache_ptr cache(kmem_cache_create("sizes", size, 0, 0, nullptr));
        ASSERT_TRUE(cache) << size;
        std::vector<unsigned char*> objs(size > 5000 ? 20 : 1000);
        for (std::size_t i = 0; i < objs.size(); ++i) {
            objs[i] = static_cast<unsigned char*>(kmem_cache_alloc(cache.get(), GFP_KERNEL));
            ASSERT_NE(objs[i], nullptr);
            std::memset(objs[i], static_cast<int>(i % 251), size);
        }
        EXPECT_TRUE(is_valid(cache.get())) << size;
        for (std::size_t i = 0; i < objs.size(); ++i) {
            ASSERT_EQ(objs[i][0], i % 251);
            ASSERT_EQ(objs[i][size - 1], i % 251);
            kmem_cache_free(cache.get(), objs[i]);
        }
        EXPECT_TRUE(is_valid(cache.get())) << size;
    }
}

TEST(kmem_cache, last_in_first_out) {
    const kmem_cache_ptr cache(kmem_cache_create("lifo", 200, 0, 0, nullptr));
    void* a = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    void* b = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    kmem_cache_free(cache.get(), a);
    kmem_cache_free(cache.get(), b);
    EXPECT_EQ(kmem_cache_alloc(cache.get(), GFP_KERNEL), b);
    EXPECT_EQ(kmem_cache_alloc(cache.get(), GFP_KERNEL), a);
    kmem_cache_free(cache.get(), a);
    kmem_cache_free(cache.get(), b);
}

TEST(kmem_cache, zalloc_gives_zeros) {
    const kmem_cache_ptr cache(kmem_cache_create("zeros", 200, 0, 0, nullptr));
    const auto h = kmem_cache_this_cpu(cache.get());
    for (int round = 0; round < 3; ++round) {
        auto* p =
            static_cast<unsigned char*>(round % 2 ? kmem_cache_zalloc(h, GFP_KERNEL)
                                                  : kmem_cache_zalloc(cache.get(), GFP_KERNEL));
        for (int i = 0; i < 200; ++i)
            ASSERT_EQ(p[i], 0);
        std::memset(p, 0xee, 200);
        kmem_cache_free(h, p);
    }
}

int constructed = 0;

TEST(kmem_cache, constructor_runs_once_an_object) {
    constructed = 0;
    const kmem_cache_ptr cache(kmem_cache_create("ctor", 64, 0, 0, [](void* p) {
        ++constructed;
        std::memset(p, 0x5a, 64);
    }));
    std::vector<unsigned char*> objs(cache->num);
    for (int round = 0; round < 2; ++round) {
        for (auto*& p : objs) {
            p = static_cast<unsigned char*>(kmem_cache_alloc(cache.get(), GFP_KERNEL));
            ASSERT_EQ(p[0], 0x5a);
            ASSERT_EQ(p[63], 0x5a);
        }
        for (auto* p : objs)
            kmem_cache_free(cache.get(), p);
    }
    EXPECT_EQ(constructed % static_cast<int>(cache->num), 0) << "whole slabs";
    EXPECT_EQ(constructed, static_cast<int>(get_slabinfo(cache.get()).num_objs));
}

TEST(kmem_cache, bulk_is_all_or_nothing) {
    const kmem_cache_ptr cache(kmem_cache_create("bulk", 200, 0, 0, nullptr));
    const auto h = kmem_cache_this_cpu(cache.get());
    for (std::size_t n : {1u, 7u, 32u, 120u, 511u, 512u, 513u, 3000u, 20000u}) {
        std::vector<void*> objs(n);
        ASSERT_EQ(kmem_cache_alloc_bulk(h, GFP_KERNEL | __GFP_ZERO, n, objs.data()), n);
        ASSERT_EQ(std::set<void*>(objs.begin(), objs.end()).size(), n);
        for (void* p : objs) {
            ASSERT_EQ(static_cast<unsigned char*>(p)[199], 0);
            std::memset(p, 0xff, 200);
        }
        ASSERT_TRUE(is_valid(cache.get())) << n;
        EXPECT_EQ(get_slabinfo(cache.get()).active_objs, n);
        if (n % 2)
            kmem_cache_free_bulk(cache.get(), n, objs.data());
        else
            kmem_cache_free_bulk(h, n, objs.data());
        ASSERT_TRUE(is_valid(cache.get())) << n;
        EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 0u);
    }
    const std::size_t slab = cache->num;
    kmem_cache_shrink(cache.get());
    kmem_cache_set_max(cache.get(), slab);
    std::vector<void*> objs(slab + 1);
    test::reports r;
    EXPECT_EQ(kmem_cache_alloc_bulk(cache.get(), GFP_KERNEL, slab + 1, objs.data()), 0u);
    EXPECT_EQ(kmem_cache_alloc_bulk(cache.get(), GFP_KERNEL | __GFP_NOFAIL, 1, objs.data()), 0u);
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 0u);
    EXPECT_TRUE(is_valid(cache.get()));
}

TEST(kmem_cache, hard_upper_bound) {
    const kmem_cache_ptr cache(kmem_cache_create("bound", 256, 0, 0, nullptr));
    kmem_cache_set_max(cache.get(), cache->num * 2u);
    test::reports r;
    std::vector<void*> objs;
    while (void* p = kmem_cache_alloc(cache.get(), GFP_KERNEL))
        objs.push_back(p);
    EXPECT_EQ(objs.size(), cache->num * 2u);
    EXPECT_TRUE(r.has(test::slub ? "SLUB: Unable to allocate memory on node 0"
                           : "SLAB: Unable to allocate memory on node 0"));
    EXPECT_TRUE(r.has("cache: bound"));
    EXPECT_EQ(get_slabinfo(cache.get()).errors, 1u);
    EXPECT_TRUE(is_valid(cache.get()));
    kmem_cache_set_max(cache.get(), 0);
    objs.push_back(kmem_cache_alloc(cache.get(), GFP_KERNEL));
    EXPECT_NE(objs.back(), nullptr);
    for (void* p : objs)
        kmem_cache_free(cache.get(), p);
}

TEST(kmem_cache, nofail_is_refused) {
    const kmem_cache_ptr cache(kmem_cache_create("nofail", 64, 0, 0, nullptr));
    EXPECT_EQ(kmem_cache_alloc(cache.get(), GFP_KERNEL | __GFP_NOFAIL | __GFP_NOWARN), nullptr);
}

TEST(kmem_cache_destroy, names_what_is_live) {
    kmem_cache* cache = kmem_cache_create("leaky", 200, 0, 0, nullptr);
    std::vector<void*> objs(20);
    for (void*& p : objs)
        p = kmem_cache_alloc(cache, GFP_KERNEL);
    {
        test::reports r;
        EXPECT_EQ(kmem_cache_destroy(cache), -EBUSY);
        EXPECT_TRUE(r.has("leaky"));
        EXPECT_TRUE(r.has("still has objects: 20 of 200 bytes"));
        char address[32];
        std::snprintf(address, sizeof address, "object %p", objs[3]);
        EXPECT_TRUE(r.has(address));
        EXPECT_TRUE(r.has("and 4 more"));
    }
    // It works on as before.
    objs.push_back(kmem_cache_alloc(cache, GFP_KERNEL));
    EXPECT_TRUE(is_valid(cache));
    for (void* p : objs)
        kmem_cache_free(cache, p);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
    EXPECT_EQ(find_cache("leaky"), nullptr);
    EXPECT_EQ(kmem_cache_destroy(nullptr), 0);
}

TEST(kmem_cache_shrink, gives_memory_back) {
    const kmem_cache_ptr cache(kmem_cache_create("shrunk", 200, 0, 0, nullptr));
    std::vector<void*> objs(50000);
    for (void*& p : objs)
        p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 1);
    void* last = objs.back();
    objs.pop_back();
    std::memset(last, 0x77, 200);
    for (void* p : objs)
        kmem_cache_free(cache.get(), p);
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 1);
    EXPECT_EQ(get_slabinfo(cache.get()).num_slabs, 1u);
    EXPECT_EQ(static_cast<unsigned char*>(last)[0], 0x77) << "live pages of a partial slab stay";
    EXPECT_EQ(static_cast<unsigned char*>(last)[199], 0x77);
    EXPECT_TRUE(is_valid(cache.get()));
    kmem_cache_free(cache.get(), last);
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 0);
    const slabinfo s = get_slabinfo(cache.get());
    EXPECT_EQ(s.num_objs, 0u);
    EXPECT_EQ(s.active_objs, 0u);
    EXPECT_TRUE(test::all_valid());
}

TEST(kmem_cache_shrink, takes_what_ended_threads_left) {
    const kmem_cache_ptr cache(kmem_cache_create("left", 200, 0, 0, nullptr));
    std::thread([&] {
        std::vector<void*> objs(100);
        for (void*& p : objs)
            p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
        for (void* p : objs)
            kmem_cache_free(cache.get(), p);
    }).join();
    EXPECT_GT(get_slabinfo(cache.get()).cpu_objs, 0u);
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 0);
}

TEST(kmem_cache, slot_of_an_ended_thread_is_taken_over) {
    unsigned first = 0;
    unsigned second = 0;
    const kmem_cache_ptr cache(kmem_cache_create("slots", 200, 0, 0, nullptr));
    void* obj = nullptr;
    std::thread([&] {
        kmem_cache_free(cache.get(), obj = kmem_cache_alloc(cache.get(), GFP_KERNEL));
        first = slab_cpu;
    }).join();
    std::thread([&] {
        void* p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
        EXPECT_EQ(p, obj) << "the array is taken over as it was";
        kmem_cache_free(cache.get(), p);
        second = slab_cpu;
    }).join();
    EXPECT_NE(first, 0u);
    EXPECT_EQ(first, second);
    EXPECT_NE(first, slab_cpu);
}

TEST(kmem_cache, misuse_is_found_at_the_slab) {
    if (test::slub)
        GTEST_SKIP() << "of SLAB only";
    const kmem_cache_ptr cache(kmem_cache_create("misused", 200, 0, 0, nullptr));
    const kmem_cache_ptr other(kmem_cache_create("innocent", 200, 0, 0, nullptr));
    ASSERT_EQ(kmem_cache_tune(cache.get(), 1, 1, 0), 0);
    int local = 0;
    void* foreign = kmem_cache_alloc(other.get(), GFP_KERNEL);
    auto* good = static_cast<char*>(kmem_cache_alloc(cache.get(), GFP_KERNEL));
    void* keep = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    const auto free_and_flush = [&](void* p) {
        kmem_cache_free(cache.get(), p);
        kmem_cache_shrink(cache.get());
    };
    test::reports r;
    free_and_flush(&local);
    EXPECT_TRUE(r.has("BUG misused: free of"));
    EXPECT_TRUE(r.has("which is an object of no cache"));
    free_and_flush(foreign);
    EXPECT_TRUE(r.has("which is an object of innocent"));
    free_and_flush(good + 8);
    EXPECT_TRUE(r.has("lies inside an object"));
    const std::size_t reports = r.count();
    free_and_flush(good);
    EXPECT_EQ(r.count(), reports);
#if !defined(SLAB_TEST_LINUX_TUNING) // an index of bytes does not know which objects are free
    free_and_flush(good);
    EXPECT_TRUE(r.has("is freed a second time"));
#endif
    EXPECT_TRUE(is_valid(cache.get()));
    kmem_cache_free(cache.get(), keep);
    kmem_cache_free(other.get(), foreign);
}

TEST(kmem_cache, merging_makes_aliases) {
    slab_set_merge(true);
    kmem_cache* a = kmem_cache_create("merge-a", 304, 0, 0, nullptr);
    kmem_cache* b = kmem_cache_create("merge-b", 300, 0, 0, nullptr);
    kmem_cache* ctor = kmem_cache_create("merge-ctor", 304, 0, 0, [](void*) {});
    kmem_cache* bigger = kmem_cache_create("merge-288", 288, 0, 0, nullptr);
    kmem_cache* rcl = kmem_cache_create("merge-rcl", 304, 0, SLAB_RECLAIM_ACCOUNT, nullptr);
    kmem_cache* hw = kmem_cache_create("merge-hw", 304, 0, SLAB_HWCACHE_ALIGN, nullptr);
    slab_set_merge(false);
    EXPECT_EQ(a, b);
    EXPECT_NE(a, ctor);
    EXPECT_NE(a, bigger) << "waste of a word or more";
    EXPECT_NE(a, rcl);
    EXPECT_NE(a, hw);
    EXPECT_EQ(find_cache("merge-b"), a);
    EXPECT_EQ(get_slabinfo(a).aliases, std::vector<std::string>{"merge-b"});
    EXPECT_EQ(kmem_cache_create("merge-b", 64, 0, 0, nullptr), nullptr) << "the name is taken";
    EXPECT_EQ(kmem_cache_destroy(b), 0);
    EXPECT_EQ(find_cache("merge-b"), nullptr);
    void* p = kmem_cache_alloc(a, GFP_KERNEL);
    EXPECT_NE(p, nullptr);
    kmem_cache_free(a, p);
    for (kmem_cache* c : {a, ctor, bigger, rcl, hw})
        EXPECT_EQ(kmem_cache_destroy(c), 0);
}

TEST(kmem_cache, usercopy_window) {
    const kmem_cache_ptr cache(kmem_cache_create_usercopy("window", 128, 0, 0, 32, 64, nullptr));
    auto* p = static_cast<char*>(kmem_cache_alloc(cache.get(), GFP_KERNEL));
    EXPECT_EQ(__check_heap_object(p + 32, 64), 0);
    EXPECT_EQ(__check_heap_object(p + 95, 1), 0);
    EXPECT_EQ(__check_heap_object(p + 31, 1), -EFAULT);
    EXPECT_EQ(__check_heap_object(p + 32, 65), -EFAULT);
    EXPECT_EQ(__check_heap_object(p + 96, 1), -EFAULT);
    int local = 0;
    EXPECT_EQ(__check_heap_object(&local, 1), -EFAULT);
    kmem_cache_free(cache.get(), p);
}

// Grace periods: callbacks wait in a list until somebody lets them go.
rcu_head* waiting = nullptr;
std::size_t waiting_count = 0;
void run_waiting() {
    while (rcu_head* h = waiting) {
        waiting = h->next;
        h->func(h);
        --waiting_count;
    }
}
constexpr slab_rcu_ops rcu_test_ops = {
    .call_rcu =
        [](rcu_head* head, void (*func)(rcu_head*)) {
            *head = {waiting, func};
            waiting = head;
            ++waiting_count;
        },
    .rcu_barrier = run_waiting,
};

TEST(kmem_cache, typesafe_by_rcu_keeps_pages_for_a_grace_period) {
    slab_set_rcu_ops(&rcu_test_ops);
    kmem_cache* cache = kmem_cache_create("typesafe", 200, 0, SLAB_TYPESAFE_BY_RCU, nullptr);
    std::vector<unsigned*> objs(2000);
    for (auto*& p : objs) {
        p = static_cast<unsigned*>(kmem_cache_alloc(cache, GFP_KERNEL));
        *p = 0xabcd;
    }
    for (auto* p : objs)
        kmem_cache_free(cache, p);
    EXPECT_EQ(kmem_cache_shrink(cache), 0);
    EXPECT_GT(waiting_count, 0u);
    for (auto* p : objs)
        ASSERT_EQ(*p, 0xabcdu) << "a reader may still look";
    EXPECT_EQ(kmem_cache_destroy(cache), 0) << "waits by itself";
    EXPECT_EQ(waiting_count, 0u);
    slab_set_rcu_ops(nullptr);
    EXPECT_TRUE(test::all_valid());
}

struct counted {
    static inline int live = 0;
    int value;
    explicit counted(int v) noexcept : value(v) { ++live; }
    ~counted() { --live; }
};

TEST(kmem_cache_of, constructs_and_destructs) {
    kmem_cache_of<counted> cache("counted");
    ASSERT_TRUE(cache);
    counted* c = cache.create(GFP_KERNEL, 42);
    EXPECT_EQ(c->value, 42);
    EXPECT_EQ(counted::live, 1);
    cache.destroy(c);
    cache.destroy(nullptr);
    EXPECT_EQ(counted::live, 0);
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 0u);
}

std::vector<void*> shrinkable;
kmem_cache* shrinker_cache = nullptr;

TEST(shrinker, is_called_when_memory_is_short) {
    const kmem_cache_ptr cache(kmem_cache_create("cold", 4096, 0, 0, nullptr));
    shrinker_cache = cache.get();
    shrinker s = {
        .count_objects = [](shrinker*) { return shrinkable.size(); },
        .scan_objects =
            [](shrinker*, std::size_t nr) {
                std::size_t freed = 0;
                for (; freed < nr && !shrinkable.empty(); ++freed, shrinkable.pop_back())
                    kmem_cache_free(shrinker_cache, shrinkable.back());
                return freed;
            },
    };
    register_shrinker(&s);
    test::reports r;
    slab_reclaim_all();
    const page_alloc_stats now = page_alloc_get_stats();
    page_alloc_set_limit((now.populated - now.free) * PAGE_SIZE + (std::size_t{8} << 20));
    // GFP_NOWAIT fails at the limit and leaves the shrinker alone.
    while (void* p = kmem_cache_alloc(cache.get(), GFP_NOWAIT))
        shrinkable.push_back(p);
    const std::size_t full = shrinkable.size();
    EXPECT_GT(full, 500u);
    void* p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    EXPECT_NE(p, nullptr);
    EXPECT_LT(shrinkable.size(), full);
    kmem_cache_free(cache.get(), p);
    EXPECT_TRUE(is_valid(cache.get()));
    unregister_shrinker(&s);
    page_alloc_set_limit(0);
    for (void* q : shrinkable)
        kmem_cache_free(cache.get(), q);
    shrinkable.clear();
}

TEST(cache_reap, drains_what_is_not_used) {
    const kmem_cache_ptr cache(kmem_cache_create("reaped", 200, 0, 0, nullptr));
    std::vector<void*> objs(3000);
    for (void*& p : objs)
        p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    for (void* p : objs)
        kmem_cache_free(cache.get(), p);
    const std::size_t before = get_slabinfo(cache.get()).num_slabs;
    EXPECT_GT(before, 0u);
    for (int i = 0; i < 200 && get_slabinfo(cache.get()).num_slabs; ++i)
        cache_reap();
    EXPECT_EQ(get_slabinfo(cache.get()).num_slabs, 0u);
    EXPECT_TRUE(test::all_valid());
}

TEST(kmem_cache, per_object_cost) {
    // Bytes of slabs, index and page structures for a million objects.
    if (test::tuning != slab_tuning::throughput)
        GTEST_SKIP() << "the kernel's numbers are what they are";
    for (auto [size, most] : {std::pair{200u, 202.0}, std::pair{192u, 193.5}}) {
        const kmem_cache_ptr cache(kmem_cache_create("dense", size, 0, 0, nullptr));
        const double slab = static_cast<double>(PAGE_SIZE << cache->gfporder) + sizeof(page) + 16 +
                            (cache->freelist_cache ? cache->freelist_cache->size : 0);
        EXPECT_LE(slab / cache->num, most) << size;
    }
}

// Objects whose size is a multiple of a high power of two start at different cache lines from slab
// to slab, so that their first lines do not share a few sets of the cache.
TEST(kmem_cache, slabs_are_coloured) {
    if (test::slub)
        GTEST_SKIP() << "of SLAB only";
    if (test::tuning == slab_tuning::linux_5_2)
        GTEST_SKIP() << "the kernel colours with what is left over only";
    for (const std::size_t size : {128u, 256u, 512u, 1024u}) {
        const kmem_cache_ptr cache(kmem_cache_create("coloured", size, 0, 0, nullptr));
        const std::size_t per_slab = get_slabinfo(cache.get()).objperslab;
        const std::size_t colours = size / 64;
        EXPECT_EQ(per_slab, 65536 / size - 1);
        std::vector<void*> objects(per_slab * colours);
        std::vector<unsigned> seen(colours);
        for (void*& p : objects) {
            p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
            ++seen[reinterpret_cast<std::uintptr_t>(p) % size / 64];
        }
        for (std::size_t i = 0; i < colours; ++i)
            EXPECT_EQ(seen[i], per_slab) << size << " colour " << i;
        for (void* p : objects)
            kmem_cache_free(cache.get(), p);
        EXPECT_TRUE(test::is_valid(cache.get()));
    }
    // What asks for an alignment keeps it.
    const kmem_cache_ptr aligned(kmem_cache_create("aligned", 256, 256, 0, nullptr));
    EXPECT_EQ(get_slabinfo(aligned.get()).objperslab, 256u);
}

} // namespace
} // namespace slabfwd
