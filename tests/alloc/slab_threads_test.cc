// SPDX-License-Identifier: BSD-3-Clause
//
// Four threads that allocate, hand objects to each other and free what others allocated, threads
// that come and go, and a control thread that tunes, shrinks, reaps, injects failures and reads
// slabinfo meanwhile. Run under ThreadSanitizer.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "alloc/failslab.h"
#include "alloc/slab_debug.h"
#include "alloc_test.h"

namespace slabfwd {
namespace {

constexpr int THREADS = 4;

std::chrono::milliseconds run_time() {
    const char* s = std::getenv("SLABFWD_TEST_SECONDS");
    return s ? std::chrono::milliseconds(1000 * std::atoi(s)) : std::chrono::milliseconds(1500);
}

// Places where threads leave objects for each other.
std::array<std::atomic<std::uint64_t*>, 1024> places;

void worker(kmem_cache* cache, unsigned seed, std::atomic<bool>& stop) {
    std::mt19937_64 rng(seed);
    const auto h = kmem_cache_this_cpu(cache);
    void* bulk[40];
    while (!stop.load(std::memory_order_relaxed)) {
        for (int i = 0; i < 200; ++i) {
            auto* p = static_cast<std::uint64_t*>(
                rng() % 2 ? kmem_cache_alloc(h, GFP_ATOMIC | __GFP_NOWARN)
                          : kmem_cache_zalloc(cache, GFP_KERNEL | __GFP_NOWARN));
            if (p) {
                std::memset(p, 0x11, 192);
                p[0] = reinterpret_cast<std::uint64_t>(p);
            }
            p = places[rng() % places.size()].exchange(p, std::memory_order_acq_rel);
            if (p) {
                ASSERT_EQ(p[0], reinterpret_cast<std::uint64_t>(p));
                if (rng() % 4)
                    kmem_cache_free(h, p);
                else
                    kfree(p);
            }
        }
        const std::size_t n = 1 + rng() % 40;
        if (kmem_cache_alloc_bulk(h, GFP_ATOMIC | __GFP_NOWARN, n, bulk) == n) {
            for (std::size_t i = 0; i < n; ++i)
                std::memset(bulk[i], 0x22, 192);
            kmem_cache_free_bulk(cache, n, bulk);
        }
        void* k = kmalloc(1 + rng() % 9000, GFP_KERNEL | __GFP_NOWARN);
        kfree(k);
        slab_cpu_serve();
        if (rng() % 64 == 0)
            cache_reap();
    }
}

void control(kmem_cache* cache, std::atomic<bool>& stop) {
    std::mt19937 rng(99);
    while (!stop.load(std::memory_order_relaxed)) {
        switch (rng() % 8) {
        case 5:
            EXPECT_EQ(slab_debug_change(cache, SLAB_HARDENED, rng() % 2), 0);
            break;
        case 6:
            EXPECT_EQ(slab_debug_change(cache, SLAB_CONSISTENCY_CHECKS, rng() % 2), 0);
            break;
        case 0:
            kmem_cache_shrink(cache);
            break;
        case 1: {
            const auto limit = static_cast<unsigned>(1 + rng() % 900);
            kmem_cache_tune(cache, limit, (limit + 1) / 2, rng() % 8);
            break;
        }
        case 2:
            EXPECT_NE(slabinfo_text(true).find("threads"), std::string::npos);
            break;
        case 3:
            failslab_set({.interval = 10});
            break;
        case 4:
            failslab_off();
            break;
        default: // a thread that lives for a moment
            std::thread([cache] {
                for (int i = 0; i < 50; ++i)
                    if (void* p = kmem_cache_alloc(cache, GFP_KERNEL | __GFP_NOWARN))
                        kmem_cache_free(cache, p);
            }).join();
            if (kmem_cache* brief = kmem_cache_create("brief", 64, 0, 0, nullptr)) {
                if (void* p = kmem_cache_alloc(brief, GFP_KERNEL | __GFP_NOWARN))
                    kmem_cache_free(brief, p);
                EXPECT_EQ(kmem_cache_destroy(brief), 0);
            }
            break;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
}

void run_all(slab_flags_t flags) {
    kmem_cache* cache = kmem_cache_create("threads", 192, 0, flags, nullptr);
    ASSERT_NE(cache, nullptr);
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < THREADS; ++i)
        threads.emplace_back([&, i] { worker(cache, i + 1, stop); });
    threads.emplace_back([&] { control(cache, stop); });
    std::this_thread::sleep_for(run_time());
    stop = true;
    for (auto& t : threads)
        t.join();
    failslab_off();
    for (auto& place : places)
        if (std::uint64_t* p = place.exchange(nullptr))
            kmem_cache_free(cache, p);
    EXPECT_TRUE(test::all_valid());
    EXPECT_EQ(get_slabinfo(cache).active_objs, 0u);
    EXPECT_EQ(slab_bugs(cache), 0u);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

TEST(slab_threads, free_by_others) {
    run_all(0);
}
TEST(slab_threads, free_by_others_typesafe) {
    run_all(SLAB_TYPESAFE_BY_RCU);
}

TEST(slab_threads, free_by_others_hardened) {
    run_all(SLAB_HARDENED);
}
TEST(slab_threads, free_by_others_under_debugging) {
    run_all(SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER | SLAB_RANDOM);
}

TEST(slab_threads, one_allocates_one_frees) {
    const kmem_cache_ptr cache(kmem_cache_create("one-way", 200, 0, 0, nullptr));
    constexpr int TOTAL = 200000;
    std::atomic<int> produced{0};
    std::thread producer([&] {
        const auto h = kmem_cache_this_cpu(cache.get());
        for (int i = 0; i < TOTAL;) {
            auto& place = places[static_cast<std::size_t>(i) % places.size()];
            if (place.load(std::memory_order_acquire)) {
                std::this_thread::yield();
                continue;
            }
            auto* p = static_cast<std::uint64_t*>(kmem_cache_alloc(h, GFP_ATOMIC));
            *p = static_cast<std::uint64_t>(i);
            place.store(p, std::memory_order_release);
            produced = ++i;
        }
    });
    for (int i = 0; i < TOTAL; ++i) {
        auto& place = places[static_cast<std::size_t>(i) % places.size()];
        std::uint64_t* p = nullptr;
        while (!(p = place.exchange(nullptr, std::memory_order_acq_rel)))
            std::this_thread::yield();
        ASSERT_EQ(*p, static_cast<std::uint64_t>(i));
        kmem_cache_free(cache.get(), p);
    }
    producer.join();
    const slabinfo s = get_slabinfo(cache.get());
    EXPECT_EQ(s.active_objs, 0u);
    EXPECT_LT(s.num_objs, 20000u) << "objects come round again";
    EXPECT_TRUE(test::is_valid(cache.get()));
}

TEST(slab_threads, more_threads_than_slots) {
    const kmem_cache_ptr cache(kmem_cache_create("crowd", 200, 0, 0, nullptr));
    constexpr unsigned MANY = NR_CPUS + 40;
    std::atomic<unsigned> ready{0};
    std::atomic<unsigned> without{0};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < MANY; ++i)
        threads.emplace_back([&] {
            void* p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
            void* q = kmalloc(100, GFP_KERNEL);
            EXPECT_TRUE(p && q);
            without += slab_cpu == 0;
            ++ready;
            while (ready < MANY)
                std::this_thread::yield();
            kmem_cache_free(cache.get(), p);
            kfree(q);
        });
    for (auto& t : threads)
        t.join();
    EXPECT_GE(without, 40u);
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 0u);
    EXPECT_TRUE(test::all_valid());
}

} // namespace
} // namespace slabfwd
