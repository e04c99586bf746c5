// SPDX-License-Identifier: BSD-3-Clause
//
// slub_test.cc - SLUB's own mechanism: cpu slabs, frozen and partial slabs, frees of other threads,
// sheaves, orders, the attributes below /sys/kernel/slab. What both back ends promise is tested by
// the other files, run with SLAB_TEST_ALLOCATOR=slub. SLAB_TEST_TUNING=linux: with the kernel's
// numbers.
#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <random>
#include <thread>

#include "alloc/failslab.h"
#include "alloc/page_alloc.h"
#include "alloc/slab_debug.h"
#include "alloc/slab_detail.h"
#include "alloc/slub.h"
#include "alloc/slub_sysfs.h"
#include "alloc_test.h"

namespace slabfwd {
namespace {

using test::all_valid;
using test::is_valid;
using test::reports;

const bool linux_tuning = [] {
    const char* name = std::getenv("SLAB_TEST_TUNING");
    const bool on = name && std::strcmp(name, "linux") == 0;
    if (on)
        slab_set_tuning(slab_tuning::linux_5_2);
    return on;
}();

// A cache of SLUB; without a sheaf, the kernel's of 5.x, unless one is given.
kmem_cache_ptr make(const char* name, std::size_t size, slab_flags_t flags = 0, unsigned sheaf = 0,
                    void (*ctor)(void*) = nullptr) {
    kmem_cache_args args;
    args.allocator = slab_allocator::slub;
    args.sheaf_capacity = sheaf;
    args.ctor = ctor;
    return kmem_cache_ptr(kmem_cache_create(name, size, &args, flags));
}

std::uint64_t count(const kmem_cache_ptr& cache, stat_item item) {
    return slub_stat(cache.get(), item);
}

std::vector<void*> take(const kmem_cache_ptr& cache, std::size_t n) {
    std::vector<void*> v(n);
    for (void*& p : v)
        if (!(p = kmem_cache_alloc(cache.get(), GFP_KERNEL)))
            ADD_FAILURE() << "out of memory";
    return v;
}

void give(const kmem_cache_ptr& cache, const std::vector<void*>& v) {
    for (void* p : v)
        kmem_cache_free(cache.get(), p);
}

std::string read(kmem_cache* cache, std::string_view attr) {
    std::string text;
    EXPECT_EQ(slab_attr_show(cache, attr, &text), 0) << attr;
    return text;
}

// "n N0=n\n"
std::string on_node_0(std::size_t n) {
    return std::to_string(n) + " N0=" + std::to_string(n) + "\n";
}

TEST(slub, the_hot_pair_stays_on_the_cpu_freelist) {
    const auto cache = make("pair", 192);
    give(cache, take(cache, 1));
    const auto slow = count(cache, ALLOC_SLOWPATH);
    const auto h = kmem_cache_this_cpu(cache.get());
    for (int i = 0; i < 1000; ++i) {
        void* p = kmem_cache_alloc(h, GFP_ATOMIC);
        void* q = kmem_cache_zalloc(cache.get(), GFP_ATOMIC);
        EXPECT_NE(p, q);
        EXPECT_TRUE(std::all_of(static_cast<char*>(q), static_cast<char*>(q) + 192,
                                [](char c) { return c == 0; }));
        kmem_cache_free(h, q);
        kmem_cache_free(h, p);
    }
    EXPECT_EQ(count(cache, ALLOC_SLOWPATH), slow);
    EXPECT_EQ(h.get()->avail + h.get()->limit, 0u) << "no array";
    EXPECT_TRUE(is_valid(cache.get()));
}

TEST(slub, free_pointers_are_encoded) {
    const auto cache = make("encoded", 64);
    const auto v = take(cache, 2);
    give(cache, {v[1], v[0]});
    const auto* word =
        reinterpret_cast<const std::uintptr_t*>(static_cast<const char*>(v[0]) + cache->offset);
    EXPECT_EQ(get_freepointer(cache.get(), v[0]), v[1]);
#if !defined(SLABFWD_ASAN)
    EXPECT_NE(*word, reinterpret_cast<std::uintptr_t>(v[1]));
#else
    (void)word;
#endif
    const auto other = make("encoded2", 64);
    EXPECT_NE(cache->random, other->random);
}

TEST(slub, where_the_free_pointer_lies) {
    const auto plain = make("fp-plain", 64);
    EXPECT_LT(plain->offset, 64u);
    EXPECT_EQ(plain->size, 64u);
    const auto rcu = make("fp-rcu", 64, SLAB_TYPESAFE_BY_RCU);
    EXPECT_EQ(rcu->offset, 64u) << "a reader may still look at the object";
    EXPECT_EQ(rcu->size, 72u);
    const auto ctor = make("fp-ctor", 64, 0, 0, [](void* p) { std::memset(p, 0x11, 64); });
    EXPECT_EQ(ctor->offset, 64u);
    kmem_cache_args args;
    args.allocator = slab_allocator::slub;
    args.use_freeptr_offset = true;
    args.freeptr_offset = 16;
    const kmem_cache_ptr given(kmem_cache_create("fp-given", 64, &args, SLAB_TYPESAFE_BY_RCU));
    EXPECT_EQ(given->offset, 16u);
    EXPECT_EQ(given->size, 64u);
    args.freeptr_offset = 60;
    EXPECT_EQ(kmem_cache_create("fp-bad", 64, &args, 0), nullptr);
    EXPECT_EQ(errno, EINVAL);
}

TEST(slub, constructed_objects_come_back_as_they_were_freed) {
    const auto cache = make("ctors", 40, 0, 0, [](void* p) { std::memset(p, 0x22, 40); });
    auto v = take(cache, 3 * cache->num);
    for (void* p : v)
        for (int i = 0; i < 40; ++i)
            ASSERT_EQ(static_cast<unsigned char*>(p)[i], 0x22);
    give(cache, v);
    v = take(cache, 3 * cache->num);
    for (void* p : v)
        for (int i = 0; i < 40; ++i)
            ASSERT_EQ(static_cast<unsigned char*>(p)[i], 0x22);
    give(cache, v);
}

// calculate_order(): what v5.2 makes of it.
TEST(slub, orders_and_objects) {
    for (const unsigned size :
         {8u, 64u, 192u, 200u, 256u, 700u, 1024u, 3000u, 4096u, 8192u, 20000u, 100000u, 1u << 20}) {
        const auto cache = make("order", size);
        ASSERT_TRUE(cache);
        const unsigned order = oo_order(cache->oo);
        const std::size_t bytes = PAGE_SIZE << order;
        EXPECT_EQ(oo_objects(cache->oo), bytes / cache->size);
        EXPECT_EQ(oo_order(cache->min), std::min(get_order(cache->size), order)) << size;
        if (oo_objects(cache->oo) > 1)
            EXPECT_LE(bytes % cache->size, bytes / 4) << size;
        else // more than the largest order wished for would waste: just what holds one
            EXPECT_GE(order, get_order(size)) << size;
        EXPECT_LE(order, linux_tuning && size <= 8192 ? 3u : MAX_ORDER - 1u);
        EXPECT_GE(order, linux_tuning ? 0u : 4u);
    }
    EXPECT_EQ(make("n", 4096)->cpu_partial, linux_tuning ? 2u : 32u);
    EXPECT_EQ(make("n", 1024)->cpu_partial, linux_tuning ? 6u : 128u);
    EXPECT_EQ(make("n", 256)->cpu_partial, linux_tuning ? 13u : 512u);
    EXPECT_EQ(make("n", 64)->cpu_partial, linux_tuning ? 30u : 512u);
    EXPECT_EQ(make("n", 64)->min_partial, 5u);
    EXPECT_EQ(make("n", 1u << 20)->min_partial, 10u);
}

// A full slab is on no list; its first free freezes it for the freeing slot.
TEST(slub, full_slabs_come_back_through_the_partial_list_of_the_slot) {
    const auto cache = make("frozen", 256);
    const unsigned num = cache->num;
    const auto v = take(cache, 4 * num);
    EXPECT_EQ(count(cache, ALLOC_SLAB), 4u);
    kmem_cache_free(cache.get(), v[0]);       // slab 0 was full
    kmem_cache_free(cache.get(), v[num]);     // slab 1
    kmem_cache_free(cache.get(), v[num + 1]); // is frozen by now
    EXPECT_EQ(count(cache, CPU_PARTIAL_FREE), 2u);
    EXPECT_EQ(count(cache, FREE_FROZEN), 1u);
    EXPECT_EQ(read(cache.get(), "slabs_cpu_partial").substr(0, 4), "2(2)");
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 4u * num - 3);
    EXPECT_TRUE(is_valid(cache.get()));
    const auto again = take(cache, 3);
    EXPECT_EQ(count(cache, CPU_PARTIAL_ALLOC), 2u);
    EXPECT_EQ(count(cache, ALLOC_SLAB), 4u);
    EXPECT_EQ((std::vector<void*>{again[0], again[1], again[2]}),
              (std::vector<void*>{v[num + 1], v[num], v[0]}));
    give(cache, v);
    EXPECT_TRUE(is_valid(cache.get()));
}

TEST(slub, too_many_partial_slabs_go_to_the_node) {
    const auto cache = make("drain", 256);
    cache->cpu_partial = 3;
    const unsigned num = cache->num;
    const auto v = take(cache, 12 * num);
    for (unsigned slab = 0; slab < 11; ++slab)
        kmem_cache_free(cache.get(), v[slab * num]);
    EXPECT_EQ(count(cache, CPU_PARTIAL_DRAIN), 2u) << "after each four";
    EXPECT_EQ(get_node(cache.get(), 0)->nr_partial, 8u);
    EXPECT_TRUE(is_valid(cache.get()));
    EXPECT_EQ(read(cache.get(), "partial"), "8 N0=8\n");
    EXPECT_EQ(read(cache.get(), "objects_partial"), on_node_0(std::size_t{8} * (num - 1)));
    // From there they come back, the first as cpu slab, further ones to the slot's list.
    const auto again = take(cache, 8);
    EXPECT_GE(count(cache, ALLOC_FROM_PARTIAL), 1u);
    EXPECT_GE(count(cache, CPU_PARTIAL_NODE), 1u);
    EXPECT_EQ(count(cache, ALLOC_SLAB), 12u);
    give(cache, again);
    for (std::size_t i = 0; i < v.size(); ++i)
        if (i % num || i >= std::size_t{11} * num)
            kmem_cache_free(cache.get(), v[i]);
    EXPECT_TRUE(is_valid(cache.get()));
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 0);
}

// What another thread frees onto the cpu slab is found by get_freelist().
TEST(slub, frees_of_others_refill_the_cpu_slab) {
    const auto cache = make("remote", 256);
    const unsigned num = cache->num;
    const auto v = take(cache, num);
    std::thread([&] { give(cache, {v[3], v[5], v[7]}); }).join();
    EXPECT_EQ(count(cache, FREE_FROZEN) + count(cache, CPU_PARTIAL_FREE), 3u);
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, num - 3u);
    EXPECT_TRUE(is_valid(cache.get()));
    const auto again = take(cache, 3);
    EXPECT_EQ(count(cache, ALLOC_REFILL), 1u);
    EXPECT_EQ(count(cache, ALLOC_SLAB), 1u);
    EXPECT_EQ((std::vector<void*>{again[2], again[1], again[0]}),
              (std::vector<void*>{v[3], v[5], v[7]}));
    give(cache, v);
}

TEST(slub, slabs_of_a_thread_that_has_gone_are_taken_over_or_flushed) {
    const auto cache = make("gone", 256);
    std::vector<void*> v;
    std::thread([&] { v = take(cache, 3); }).join();
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 3u) << "its freelist counts as free";
    EXPECT_EQ(read(cache.get(), "cpu_slabs"), "1 N0=1\n");
    give(cache, v);
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 0);
    EXPECT_GE(count(cache, CPUSLAB_FLUSH), 1u);
    EXPECT_TRUE(is_valid(cache.get()));
}

TEST(slub, a_node_keeps_min_partial_empty_slabs) {
    const auto cache = make("keeps", 256);
    cache->cpu_partial = 0; // straight to the node
    const unsigned num = cache->num;
    const auto v = take(cache, 20 * num);
    give(cache, v);
    const slabinfo s = get_slabinfo(cache.get());
    EXPECT_EQ(s.active_objs, 0u);
    EXPECT_EQ(s.num_slabs, cache->min_partial) << "one less on the list, and the cpu slab";
    EXPECT_EQ(count(cache, FREE_ADD_PARTIAL), 19u);
    EXPECT_EQ(count(cache, FREE_SLAB), 20u - cache->min_partial);
    EXPECT_TRUE(is_valid(cache.get()));
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 0);
}

TEST(slub, shrink_puts_the_fullest_first) {
    const auto cache = make("sorted", 256);
    const unsigned num = cache->num;
    ASSERT_GT(num, 8u);
    const auto v = take(cache, 5 * num);
    std::vector<void*> kept;
    for (unsigned i = 0; i < v.size(); ++i) // slab s loses s + 1 objects, the last all but one
        if (i / num == 4 ? i % num != 0 : i % num <= (i / num) * 2 % 5)
            kmem_cache_free(cache.get(), v[i]);
        else
            kept.push_back(v[i]);
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 1);
    unsigned last = 0;
    for (page* slab = get_node(cache.get(), 0)->partial.first; slab; slab = slab->next) {
        const unsigned free = slab->objects - read_counters(slab).inuse;
        EXPECT_GE(free, last);
        last = free;
    }
    EXPECT_EQ(last, num - 1u);
    EXPECT_TRUE(is_valid(cache.get()));
    give(cache, kept);
}

TEST(slub, large_slabs_fall_back_to_the_least_order) {
    const auto cache = make("fallback", 700);
    ASSERT_LT(oo_order(cache->min), oo_order(cache->oo));
    fail_page_alloc_set({.nth = 1});
    const auto v = take(cache, 1);
    fail_page_alloc_off();
    EXPECT_EQ(count(cache, ORDER_FALLBACK), 1u);
    EXPECT_EQ(virt_to_slab(cache.get(), v[0])->objects, oo_objects(cache->min));
    const auto more = take(cache, 3 * cache->num);
    EXPECT_TRUE(is_valid(cache.get()));
    give(cache, more);
    give(cache, v);
    EXPECT_TRUE(is_valid(cache.get()));
}

TEST(slub, sheaves_are_counted_exactly) {
    const auto cache = make("sheaf", 200, 0, 48);
    const auto v = take(cache, 1000);
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 1000u);
    give(cache, {v.begin(), v.begin() + 500});
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 500u);
    std::thread([&] { give(cache, {v.begin() + 500, v.begin() + 700}); }).join();
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 300u);
    EXPECT_TRUE(is_valid(cache.get()));
    EXPECT_EQ(read(cache.get(), "sheaf_capacity"), "48\n");
    give(cache, {v.begin() + 700, v.end()});
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 0);
    kmem_cache_args args;
    args.sheaf_capacity = 1u << 20;
    EXPECT_EQ(kmem_cache_create("too-large", 64, &args, 0), nullptr);
}

// What a slot has too much goes to the node and comes from there, slabs untouched.
TEST(slub, the_barn_stands_between_sheaves_and_slabs) {
    const auto cache = make("barn", 200, 0, 48); // batches of 16, room for ten sheaves
    const auto in_barn = [&] { return get_slab_detail(cache.get()).nodes[0].shared; };
    const auto v = take(cache, 2000);
    EXPECT_EQ(in_barn(), 0u);
    give(cache, {v.begin(), v.begin() + 200});
    EXPECT_EQ(in_barn() % 16, 0u) << "whole batches";
    EXPECT_GE(in_barn(), 200u - 48) << "no more than a sheaf holds is in the sheaf";
    EXPECT_EQ(count(cache, FREE_SLOWPATH), 0u);
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 1800u);
    EXPECT_TRUE(is_valid(cache.get()));
    auto again = take(cache, 200);
    EXPECT_TRUE(std::is_permutation(again.begin(), again.end(), v.begin()));
    EXPECT_EQ(in_barn(), 0u);
    void* bulk[300];
    give(cache, again);
    ASSERT_EQ(kmem_cache_alloc_bulk(cache.get(), GFP_KERNEL, 300, bulk), 300u);
    EXPECT_EQ(in_barn(), 0u) << "a bulk call empties it before it goes to the slabs";
    again.assign(bulk, bulk + 300);
    again.insert(again.end(), v.begin() + 200, v.end());
    give(cache, again);
    EXPECT_EQ(in_barn(), 480u) << "full: the rest is on slabs";
    EXPECT_GT(count(cache, FREE_SLOWPATH), 0u);
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 0u);
    EXPECT_TRUE(is_valid(cache.get()));
    cache_reap(); // used since the last time
    EXPECT_EQ(in_barn(), 480u);
    cache_reap();
    EXPECT_EQ(in_barn(), 480u - 96u) << "a fifth at a time";
    EXPECT_TRUE(is_valid(cache.get()));
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 0);
    EXPECT_EQ(in_barn(), 0u);
}

TEST(slub, bulk) {
    for (const unsigned sheaf : {0u, 96u}) {
        const auto cache = make("bulk", 192, 0, sheaf);
        std::vector<void*> all;
        for (const std::size_t n : {1u, 32u, 95u, 96u, 97u, 1000u}) {
            std::vector<void*> v(n);
            ASSERT_EQ(kmem_cache_alloc_bulk(cache.get(), GFP_KERNEL, n, v.data()), n);
            all.insert(all.end(), v.begin(), v.end());
        }
        auto sorted = all;
        std::sort(sorted.begin(), sorted.end());
        EXPECT_EQ(std::adjacent_find(sorted.begin(), sorted.end()), sorted.end());
        EXPECT_EQ(get_slabinfo(cache.get()).active_objs, all.size());
        EXPECT_TRUE(is_valid(cache.get()));
        std::shuffle(all.begin(), all.end(), std::mt19937(1));
        kmem_cache_free_bulk(cache.get(), 800, all.data());
        kmem_cache_free_bulk(cache.get(), 40, all.data() + 800);
        kmem_cache_free_bulk(cache.get(), all.size() - 840, all.data() + 840);
        EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 0u);
        EXPECT_TRUE(is_valid(cache.get()));
    }
}

TEST(slub, misuse_that_the_slab_can_tell_is_refused) {
    const auto cache = make("misuse", 256);
    const auto other = make("other", 256);
    cache->cpu_partial = 0;
    const auto v = take(cache, 3 * cache->num);
    void* foreign = kmem_cache_alloc(other.get(), GFP_KERNEL);
    reports r;
    kmem_cache_free(cache.get(), foreign);
    EXPECT_TRUE(r.has("which is an object of other"));
    kmem_cache_free(cache.get(), static_cast<char*>(v[0]) + 8);
    EXPECT_TRUE(r.has("which lies inside an object"));
    int local = 0;
    kmem_cache_free(cache.get(), &local);
    EXPECT_TRUE(r.has("which is an object of no cache"));
    kmem_cache_free(cache.get(), v[0]);
    kmem_cache_free(cache.get(), v[0]);
    EXPECT_TRUE(r.has("is freed a second time"));
    EXPECT_TRUE(is_valid(cache.get()));
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, v.size() - 1);
    kmem_cache_free(other.get(), foreign);
    give(cache, {v.begin() + 1, v.end()});
    EXPECT_EQ(r.count(), 4u);
}

TEST(slub, both_back_ends_in_one_process) {
    kmem_cache_args args;
    args.allocator = slab_allocator::slab;
    const kmem_cache_ptr slab(kmem_cache_create("as-slab", 200, &args, 0));
    const auto slub = make("as-slub", 200);
    EXPECT_EQ(kmem_cache_allocator(slab.get()), slab_allocator::slab);
    EXPECT_EQ(kmem_cache_allocator(slub.get()), slab_allocator::slub);
    auto v = take(slab, 5000);
    auto w = take(slub, 5000);
    EXPECT_TRUE(all_valid());
    give(slab, v);
    give(slub, w);
    EXPECT_TRUE(all_valid());
    EXPECT_EQ(kmem_cache_shrink(slab.get()) + kmem_cache_shrink(slub.get()), 0);
    EXPECT_EQ(kmem_cache_tune(slub.get(), 10, 5, 0), -EIO);
}

// Random operations on a few caches against a model.
TEST(slub, random_operations_against_a_model) {
    struct under_test {
        kmem_cache_ptr cache;
        std::map<void*, unsigned char> live;
    };
    std::vector<under_test> caches;
    caches.push_back({make("rnd-plain", 192), {}});
    caches.push_back({make("rnd-sheaf", 200, 0, 60), {}});
    caches.push_back({make("rnd-rcu", 48, SLAB_TYPESAFE_BY_RCU | SLAB_HWCACHE_ALIGN), {}});
    caches.push_back({make("rnd-large", 5000), {}});
    caches.push_back({make("rnd-random", 64, SLAB_RANDOM), {}});
    std::mt19937 random(7);
    const auto check_and_free = [&](under_test& u, std::map<void*, unsigned char>::iterator it) {
        const auto* p = static_cast<unsigned char*>(it->first);
        for (std::size_t i = 0; i < u.cache->object_size; ++i)
            ASSERT_EQ(p[i], it->second);
        kmem_cache_free(u.cache.get(), it->first);
        u.live.erase(it);
    };
    for (int step = 0; step < 60000; ++step) {
        under_test& u = caches[random() % caches.size()];
        const unsigned what = random() % 100;
        const std::size_t goal = step / 10000 % 2 ? 300 : 3000;
        if (what < 2) {
            kmem_cache_shrink(u.cache.get());
        } else if (what < 4) {
            u.cache->cpu_partial = random() % 40;
        } else if (what < 6) {
            slab_statistics(u.cache.get(), random() % 2);
        } else if (what < 8) {
            cache_reap();
        } else if (u.live.size() < random() % goal) {
            void* p = kmem_cache_alloc(u.cache.get(), GFP_KERNEL);
            ASSERT_NE(p, nullptr);
            const auto fill = static_cast<unsigned char>(random());
            std::memset(p, fill, u.cache->object_size);
            ASSERT_TRUE(u.live.emplace(p, fill).second) << "given out twice";
        } else if (!u.live.empty()) {
            auto it = u.live.lower_bound(reinterpret_cast<void*>(
                reinterpret_cast<std::uintptr_t>(u.live.begin()->first) + random() % (1 << 22)));
            check_and_free(u, it == u.live.end() ? u.live.begin() : it);
        }
        if (step % 2000 == 0)
            for (under_test& x : caches) {
                ASSERT_TRUE(is_valid(x.cache.get()));
                ASSERT_EQ(get_slabinfo(x.cache.get()).active_objs, x.live.size());
            }
    }
    for (under_test& u : caches)
        while (!u.live.empty())
            check_and_free(u, u.live.begin());
    EXPECT_TRUE(all_valid());
}

// Objects wander among threads; two caches, with and without a sheaf; slabs are shrunk meanwhile.
TEST(slub, threads_free_what_others_allocated) {
    constexpr unsigned THREADS = 4;
    constexpr unsigned SLOTS = 256;
    for (const unsigned sheaf : {0u, 24u}) {
        const auto cache = make("wander", 256, 0, sheaf);
        cache->cpu_partial = 20;
        std::unique_ptr<std::atomic<void*>[]> table(new std::atomic<void*>[SLOTS] {});
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < THREADS; ++t)
            threads.emplace_back([&, t] {
                std::mt19937 random(t);
                for (int i = 0; i < 30000; ++i) {
                    slab_cpu_serve();
                    void* mine = nullptr;
                    if (random() % 2) {
                        mine = kmem_cache_alloc(cache.get(), GFP_KERNEL);
                        std::memset(mine, static_cast<int>(t), 256);
                    }
                    if (void* theirs = table[random() % SLOTS].exchange(mine))
                        kmem_cache_free(cache.get(), theirs);
                    if (i % 5000 == 0) {
                        kmem_cache_shrink(cache.get());
                        (void)get_slabinfo(cache.get());
                    }
                }
            });
        for (std::thread& t : threads)
            t.join();
        EXPECT_TRUE(is_valid(cache.get()));
        std::size_t live = 0;
        for (unsigned i = 0; i < SLOTS; ++i)
            live += table[i] != nullptr;
        EXPECT_EQ(get_slabinfo(cache.get()).active_objs, live);
        for (unsigned i = 0; i < SLOTS; ++i)
            if (void* p = table[i])
                kmem_cache_free(cache.get(), p);
        EXPECT_EQ(kmem_cache_shrink(cache.get()), 0);
    }
}

// Each allocation of pages and objects in a whole life fails once.
TEST(slub, every_failure_in_a_life_is_clean) {
    const auto life = [] {
        const auto cache = make("life", 200, 0, 12);
        if (!cache)
            return;
        std::vector<void*> v;
        for (int i = 0; i < 700; ++i)
            if (void* p = kmem_cache_alloc(cache.get(), GFP_KERNEL | __GFP_NOWARN))
                v.push_back(p);
        void* bulk[64];
        const std::size_t n =
            kmem_cache_alloc_bulk(cache.get(), GFP_KERNEL | __GFP_NOWARN, 64, bulk);
        kmem_cache_free_bulk(cache.get(), n, bulk);
        EXPECT_TRUE(is_valid(cache.get()));
        give(cache, v);
        kmem_cache_shrink(cache.get());
    };
    for (std::uint64_t nth = 1; nth < 3000; ++nth) {
        failslab_set({.nth = nth});
        life();
        const bool past = failslab_stats().failed == 0;
        failslab_off();
        if (past)
            break;
    }
    for (std::uint64_t nth = 1; nth < 100; ++nth) {
        fail_page_alloc_set({.nth = nth});
        life();
        const bool past = fail_page_alloc_stats().failed == 0;
        fail_page_alloc_off();
        if (past)
            break;
    }
    EXPECT_TRUE(all_valid());
}

TEST(slub_sysfs, attributes_read_as_the_kernel_prints_them) {
    const auto cache = make("attrs", 200, SLAB_HWCACHE_ALIGN | SLAB_RECLAIM_ACCOUNT);
    const auto v = take(cache, cache->num + 1u);
    EXPECT_EQ(read(cache.get(), "object_size"), "200\n");
    EXPECT_EQ(read(cache.get(), "slab_size"), "256\n");
    EXPECT_EQ(read(cache.get(), "align"), "64\n");
    EXPECT_EQ(read(cache.get(), "hwcache_align"), "1\n");
    EXPECT_EQ(read(cache.get(), "reclaim_account"), "1\n");
    EXPECT_EQ(read(cache.get(), "destroy_by_rcu"), "0\n");
    EXPECT_EQ(read(cache.get(), "slabs"), "2 N0=2\n");
    EXPECT_EQ(read(cache.get(), "total_objects"), on_node_0(2u * cache->num));
    EXPECT_EQ(read(cache.get(), "objects"), on_node_0(cache->num + 1u));
    EXPECT_EQ(read(cache.get(), "alloc_slab"), "2 C" + std::to_string(slab_cpu) + "=2\n");
    EXPECT_EQ(read(cache.get(), "ctor"), "");
    EXPECT_EQ(read(cache.get(), "aliases"), "0\n");
    EXPECT_EQ(read(cache.get(), "remote_node_defrag_ratio"), "100\n");
    std::string text;
    EXPECT_EQ(slab_attr_show(cache.get(), "no_such", &text), -ENOENT);
    // Each that is listed can be read.
    for (const slab_attribute& a : slab_attributes(cache.get()))
        EXPECT_EQ(slab_attr_show(cache.get(), a.name, &text), 0) << a.name;
    for (const char* name : {"aliases",
                             "align",
                             "alloc_calls",
                             "cpu_partial",
                             "cpu_slabs",
                             "ctor",
                             "destroy_by_rcu",
                             "free_calls",
                             "hwcache_align",
                             "min_partial",
                             "object_size",
                             "objects",
                             "objects_partial",
                             "objs_per_slab",
                             "order",
                             "partial",
                             "poison",
                             "red_zone",
                             "sanity_checks",
                             "shrink",
                             "slab_size",
                             "slabs",
                             "slabs_cpu_partial",
                             "store_user",
                             "total_objects",
                             "trace",
                             "usersize",
                             "validate",
                             "remote_node_defrag_ratio",
                             "alloc_fastpath",
                             "cpu_partial_drain"})
        EXPECT_EQ(slab_attr_show(cache.get(), name, &text), 0) << name;
    give(cache, v);
}

TEST(slub_sysfs, attributes_that_can_be_written) {
    const auto cache = make("stores", 200);
    kmem_cache* c = cache.get();
    EXPECT_EQ(slab_attr_store(c, "cpu_partial", "7\n"), 0);
    EXPECT_EQ(c->cpu_partial, 7u);
    EXPECT_EQ(slab_attr_store(c, "cpu_partial", "many"), -EINVAL);
    EXPECT_EQ(slab_attr_store(c, "min_partial", "8"), 0);
    EXPECT_EQ(read(c, "min_partial"), "8\n");
    EXPECT_EQ(slab_attr_store(c, "min_partial", "100"), 0);
    EXPECT_EQ(read(c, "min_partial"), "10\n") << "MAX_PARTIAL";
    EXPECT_EQ(slab_attr_store(c, "remote_node_defrag_ratio", "50"), 0);
    EXPECT_EQ(read(c, "remote_node_defrag_ratio"), "50\n");
    EXPECT_EQ(slab_attr_store(c, "order", "1"), -EACCES);
    EXPECT_EQ(slab_attr_store(c, "nothing", "1"), -ENOENT);
    EXPECT_EQ(slab_attr_store(c, "shrink", "0"), -EINVAL);
    give(cache, take(cache, 5000));
    EXPECT_GT(get_slabinfo(c).num_slabs, 0u);
    EXPECT_EQ(slab_attr_store(c, "shrink", "1"), 0);
    EXPECT_EQ(get_slabinfo(c).num_slabs, 0u);
    EXPECT_EQ(slab_attr_store(c, "alloc_slab", "5"), -EINVAL);
    EXPECT_EQ(slab_attr_store(c, "alloc_slab", "0"), 0);
    EXPECT_EQ(read(c, "alloc_slab"), "0\n");
    // Debugging: at once, or while there are no objects.
    EXPECT_EQ(slab_attr_store(c, "sanity_checks", "1"), 0);
    EXPECT_EQ(read(c, "sanity_checks"), "1\n");
    EXPECT_EQ(slab_attr_store(c, "red_zone", "1"), 0);
    EXPECT_EQ(read(c, "red_zone"), "1\n");
    EXPECT_GT(c->size, 200u);
    auto v = take(cache, 10);
    EXPECT_EQ(slab_attr_store(c, "poison", "1"), -EBUSY);
    EXPECT_EQ(slab_attr_store(c, "validate", "1"), 0);
    give(cache, v);
    EXPECT_EQ(slab_attr_store(c, "red_zone", "0"), 0);
    EXPECT_EQ(c->size, 200u);
    EXPECT_EQ(slab_attr_store(c, "sanity_checks", "0"), 0);
    v = take(cache, 1000);
    give(cache, v);
    EXPECT_TRUE(is_valid(c));
}

TEST(slub_sysfs, fast_paths_are_counted_while_statistics_are_on) {
    const auto cache = make("stats", 200);
    slab_statistics(cache.get(), true);
    give(cache, take(cache, 10));
    EXPECT_EQ(count(cache, ALLOC_SLOWPATH), 1u);
    EXPECT_EQ(count(cache, ALLOC_FASTPATH), 9u);
    EXPECT_EQ(count(cache, FREE_FASTPATH), 10u);
    slab_statistics(cache.get(), false);
    give(cache, take(cache, 10));
    EXPECT_EQ(count(cache, ALLOC_FASTPATH), 9u);
}

TEST(slub_sysfs, aliases_are_links) {
    slab_set_merge(true);
    const auto a = make("merge-a", 1200, 0, kmem_cache_args::SHEAF_DEFAULT);
    const auto b = make("merge-b", 1196, 0, kmem_cache_args::SHEAF_DEFAULT);
    EXPECT_EQ(a.get(), b.get());
    EXPECT_EQ(read(a.get(), "aliases"), "1\n");
    std::map<std::string, std::string> links;
    for (const slab_sysfs_entry& e : slab_sysfs_list())
        links[e.name] = e.target;
    EXPECT_EQ(links["merge-a"], ":0001200");
    EXPECT_EQ(links["merge-b"], ":0001200");
    EXPECT_EQ(links.count(":0001200"), 1u);
    EXPECT_EQ(slab_sysfs_find(":0001200"), a.get());
    EXPECT_EQ(slab_sysfs_find("merge-b"), a.get());
    kmem_cache_args args;
    args.allocator = slab_allocator::slab;
    const kmem_cache_ptr other(kmem_cache_create("merge-c", 1200, &args, 0));
    EXPECT_NE(other.get(), a.get()) << "another back end";
    slab_set_merge(false);
    EXPECT_EQ(slab_sysfs_find("nobody"), nullptr);
}

} // namespace
} // namespace slabfwd
