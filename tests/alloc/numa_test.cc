// SPDX-License-Identifier: BSD-3-Clause
//
// Memory nodes, faked: whose objects come from where, how they go home, and what happens when a
// node has nothing left.
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <thread>

#include "alloc/numa.h"
#include "alloc_test.h"

namespace slabfwd {
namespace {

using test::all_valid;
using test::is_valid;

constexpr int NODES = 3;
const int numa_set = slab_set_numa(NODES);

int nid_of(const void* p) {
    return virt_to_head_page(p)->nid;
}

// Runs fn in a thread of that node.
template <typename Fn>
void on_node(int nid, Fn&& fn) {
    std::thread([&] {
        ASSERT_EQ(set_numa_mem_id(nid), 0);
        fn();
    }).join();
}

TEST(Numa, NodesAreFixedBeforeTheFirstPage) {
    EXPECT_EQ(numa_set, 0);
    kmem_cache_init();
    EXPECT_EQ(slab_set_numa(2), -EBUSY);
    EXPECT_EQ(slab_set_numa(MAX_NUMNODES + 1), -EINVAL);
    EXPECT_EQ(nr_node_ids(), NODES);
    EXPECT_EQ(set_numa_mem_id(NODES), -EINVAL);
    EXPECT_EQ(set_numa_mem_id(-1), -EINVAL);
}

TEST(Numa, PagesComeFromTheNodeAskedFor) {
    for (int nid = 0; nid < NODES; ++nid) {
        page* p = alloc_pages_node(nid, GFP_KERNEL, 2);
        ASSERT_NE(p, nullptr);
        EXPECT_EQ(p->nid, nid);
        EXPECT_GT(page_alloc_get_stats(nid).populated, 0u);
        __free_pages(p, 2);
    }
    EXPECT_EQ(alloc_pages_node(NODES, GFP_KERNEL, 0), nullptr);
    EXPECT_EQ(std::ranges::count(buddyinfo(), '\n'), NODES);
    EXPECT_TRUE(all_valid());
}

TEST(Numa, AThreadGetsObjectsOfItsNode) {
    const kmem_cache_ptr cache(kmem_cache_create("numa-own", 192, 0, 0, nullptr));
    for (int nid = 0; nid < NODES; ++nid)
        on_node(nid, [&] {
            EXPECT_EQ(numa_mem_id(), nid);
            std::vector<void*> objects(2000);
            for (void*& p : objects) {
                p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
                ASSERT_EQ(nid_of(p), nid);
            }
            for (void* p : objects)
                kmem_cache_free(cache.get(), p);
            void* bulk[300];
            ASSERT_EQ(kmem_cache_alloc_bulk(cache.get(), GFP_KERNEL, 300, bulk), 300u);
            for (void* p : bulk)
                EXPECT_EQ(nid_of(p), nid);
            kmem_cache_free_bulk(cache.get(), 300, bulk);
        });
    EXPECT_TRUE(is_valid(cache.get()));
}

TEST(Numa, AnObjectOfAnotherNodeCanBeAskedFor) {
    const kmem_cache_ptr cache(kmem_cache_create("numa-ask", 128, 0, 0, nullptr));
    on_node(0, [&] {
        for (int nid = 0; nid < NODES; ++nid) {
            void* p = kmem_cache_alloc_node(cache.get(), GFP_KERNEL | __GFP_ZERO, nid);
            ASSERT_NE(p, nullptr);
            EXPECT_EQ(nid_of(p), nid);
            EXPECT_TRUE(std::all_of(static_cast<char*>(p), static_cast<char*>(p) + 128,
                                    [](char c) { return c == 0; }));
            kmem_cache_free(cache.get(), p);
            void* k = kmalloc_node(100, GFP_KERNEL, nid);
            EXPECT_EQ(nid_of(k), nid);
            kfree(k);
            void* large = kmalloc_node(100'000, GFP_KERNEL, nid);
            EXPECT_EQ(nid_of(large), nid);
            kfree(large);
        }
        void* any = kmem_cache_alloc_node(cache.get(), GFP_KERNEL, NUMA_NO_NODE);
        EXPECT_EQ(nid_of(any), 0);
        kmem_cache_free(cache.get(), any);
        EXPECT_EQ(kmem_cache_alloc_node(cache.get(), GFP_KERNEL, NODES), nullptr);
    });
    EXPECT_GE(get_slabinfo(cache.get()).node_allocs, test::slub ? 0u : 2u);
    EXPECT_TRUE(is_valid(cache.get()));
}

// Objects freed on a foreign node wait in its alien cache, and are of the old node when they come
// out again.
TEST(Numa, ObjectsGoHomeThroughAlienCaches) {
    if (test::slub)
        GTEST_SKIP() << "of SLAB only";
    const kmem_cache_ptr cache(kmem_cache_create("numa-alien", 192, 0, 0, nullptr));
    std::vector<void*> objects(1000);
    on_node(1, [&] {
        for (void*& p : objects)
            p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    });
    on_node(2, [&] {
        for (void* p : objects)
            kmem_cache_free(cache.get(), p);
    });
    const slabinfo s = get_slabinfo(cache.get());
    EXPECT_EQ(s.active_objs, 0u);
    EXPECT_EQ(s.node_frees, 1000u);
    EXPECT_GT(s.node_overflow, 0u);
    EXPECT_GT(s.alien_objs, 0u);
    EXPECT_TRUE(is_valid(cache.get()));
    on_node(2, [&] {
        void* p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
        EXPECT_EQ(nid_of(p), 2);
        kmem_cache_free(cache.get(), p);
    });
    for (int i = 0; i < 3 * NODES; ++i)
        cache_reap();
    EXPECT_EQ(get_slabinfo(cache.get()).alien_objs, 0u);
    EXPECT_TRUE(is_valid(cache.get()));
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 0);
    EXPECT_EQ(get_slabinfo(cache.get()).num_slabs, 0u);
}

// SLUB has no alien caches: an object that is freed on a foreign node goes onto its own slab, and
// a slot has objects of its node only.
TEST(Numa, SlubObjectsGoHomeToTheirSlabs) {
    if (!test::slub)
        GTEST_SKIP() << "of SLUB only";
    const kmem_cache_ptr cache(kmem_cache_create("numa-remote", 192, 0, 0, nullptr));
    std::vector<void*> objects(1000);
    on_node(1, [&] {
        for (void*& p : objects)
            p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    });
    const std::size_t slabs = get_slabinfo(cache.get()).num_slabs;
    on_node(2, [&] {
        for (std::size_t i = 0; i < 900; ++i)
            kmem_cache_free(cache.get(), objects[i]);
        kmem_cache_free_bulk(cache.get(), 100, &objects[900]);
        EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 0u);
        EXPECT_TRUE(is_valid(cache.get()));
        for (void*& p : objects) {
            p = kmem_cache_alloc(cache.get(), GFP_KERNEL | __GFP_THISNODE);
            ASSERT_EQ(nid_of(p), 2);
        }
    });
    EXPECT_LE(get_slabinfo(cache.get()).num_slabs, 2 * slabs) << "node 1's may have gone";
    on_node(1, [&] {
        for (void* p : objects)
            kmem_cache_free(cache.get(), p);
        void* p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
        EXPECT_EQ(nid_of(p), 1);
        kmem_cache_free(cache.get(), p);
    });
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 0u);
    EXPECT_TRUE(is_valid(cache.get()));
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 0);
}

TEST(Numa, ANodeWithoutMemoryFallsBackUnlessItMayNot) {
    const kmem_cache_ptr cache(kmem_cache_create("numa-short", 512, 0, 0, nullptr));
    on_node(1, [&] {
        page_alloc_set_limit(1, 1); // less than what is in use: nothing more
        page_alloc_set_limit(PAGE_SIZE, 1);
        std::vector<void*> objects;
        for (int i = 0; i < 300; ++i) {
            void* p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
            ASSERT_NE(p, nullptr);
            EXPECT_NE(nid_of(p), 1);
            objects.push_back(p);
        }
        void* bulk[100];
        EXPECT_EQ(kmem_cache_alloc_bulk(cache.get(), GFP_KERNEL, 100, bulk), 100u);
        kmem_cache_free_bulk(cache.get(), 100, bulk);
        EXPECT_EQ(kmem_cache_alloc_node(cache.get(), GFP_NOWAIT | __GFP_THISNODE | __GFP_NOWARN, 1),
                  nullptr);
        page_alloc_set_limit(0, 1);
        void* p = kmem_cache_alloc_node(cache.get(), GFP_NOWAIT | __GFP_THISNODE, 1);
        ASSERT_NE(p, nullptr);
        EXPECT_EQ(nid_of(p), 1);
        objects.push_back(p);
        for (void* o : objects)
            kmem_cache_free(cache.get(), o);
    });
    EXPECT_TRUE(is_valid(cache.get()));
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 0);
}

TEST(Numa, AThreadThatMovesTakesASlotOfItsNewNode) {
    const kmem_cache_ptr cache(kmem_cache_create("numa-move", 192, 0, 0, nullptr));
    std::vector<void*> objects;
    std::thread([&] {
        for (int i = 0; i < 12; ++i) {
            ASSERT_EQ(set_numa_mem_id(i % NODES), 0);
            void* p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
            EXPECT_EQ(nid_of(p), i % NODES);
            objects.push_back(p);
        }
        for (void* p : objects)
            kmem_cache_free(cache.get(), p);
    }).join();
    EXPECT_TRUE(is_valid(cache.get()));
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 0u);
}

// Threads of all nodes hand objects to each other.
TEST(Numa, ObjectsWanderAmongThreads) {
    const kmem_cache_ptr cache(kmem_cache_create("numa-mix", 200, 0, 0, nullptr));
    static std::atomic<void*> places[256];
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            set_numa_mem_id(t % NODES);
            std::mt19937 rng(static_cast<unsigned>(t));
            for (int i = 0; i < 60'000; ++i) {
                void* p = kmem_cache_alloc_node(cache.get(), GFP_KERNEL,
                                                static_cast<int>(rng() % (NODES + 1)) - 1);
                ASSERT_NE(p, nullptr);
                std::memset(p, t, 200);
                if (void* old = places[rng() % 256].exchange(p, std::memory_order_acq_rel))
                    kmem_cache_free(cache.get(), old);
                if (t == 3 && i % 5000 == 0)
                    cache_reap();
                slab_cpu_serve();
            }
        });
    for (std::thread& t : threads)
        t.join();
    for (auto& place : places)
        if (void* p = place.exchange(nullptr))
            kmem_cache_free(cache.get(), p);
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 0u);
    EXPECT_TRUE(all_valid());
}

// The same as a model: every object live at any time is where it was asked for.
TEST(Numa, RandomOperationsAgainstAModel) {
    const kmem_cache_ptr cache(kmem_cache_create("numa-model", 96, 0, 0, nullptr));
    std::mt19937 rng(5);
    std::map<void*, unsigned> live;
    std::thread([&] {
        for (unsigned i = 0; i < 30'000; ++i) {
            if (rng() % 64 == 0) {
                ASSERT_EQ(set_numa_mem_id(static_cast<int>(rng() % NODES)), 0);
            }
            if (live.size() < 2000 && rng() % 5 < 3) {
                const int nid = static_cast<int>(rng() % NODES);
                void* p = kmem_cache_alloc_node(cache.get(), GFP_KERNEL | __GFP_THISNODE, nid);
                ASSERT_NE(p, nullptr);
                ASSERT_EQ(nid_of(p), nid);
                ASSERT_TRUE(live.emplace(p, i).second);
                *static_cast<unsigned*>(p) = i;
            } else if (!live.empty()) {
                auto it = live.lower_bound(reinterpret_cast<void*>(
                    reinterpret_cast<std::uintptr_t>(live.begin()->first) + (rng() << 8)));
                if (it == live.end())
                    it = live.begin();
                ASSERT_EQ(*static_cast<unsigned*>(it->first), it->second);
                kmem_cache_free(cache.get(), it->first);
                live.erase(it);
            }
            if (rng() % 4000 == 0) {
                kmem_cache_shrink(cache.get());
                ASSERT_TRUE(is_valid(cache.get()));
            }
        }
        EXPECT_EQ(get_slabinfo(cache.get()).active_objs, live.size());
        for (const auto& [p, i] : live)
            kmem_cache_free(cache.get(), p);
    }).join();
    EXPECT_TRUE(all_valid());
}

} // namespace
} // namespace slabfwd
