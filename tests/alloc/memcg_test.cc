// SPDX-License-Identifier: BSD-3-Clause
//
// Groups: child caches, charges, limits, and what becomes of both when a group ends.
#include <atomic>
#include <random>
#include <thread>

#include "alloc/failslab.h"
#include "alloc/memcg.h"
#include "alloc/slab_debug.h"
#include "alloc/slub_sysfs.h"
#include "alloc_test.h"

namespace slabfwd {
namespace {

using test::all_valid;
using test::is_valid;

struct as_group {
    explicit as_group(mem_cgroup* m) : old(memalloc_use_memcg(m)) {}
    ~as_group() { memalloc_use_memcg(old); }
    mem_cgroup* old;
};

std::size_t slab_bytes(kmem_cache* cache) {
    return PAGE_SIZE * get_slabinfo(cache).pagesperslab;
}

TEST(Memcg, CachesWithoutAccountTakeNoPart) {
    const kmem_cache_ptr plain(kmem_cache_create("plain", 64, 0, 0, nullptr));
    mem_cgroup* g = mem_cgroup_create("plain-group", nullptr);
    ASSERT_NE(g, nullptr);
    {
        const as_group in(g);
        void* p = kmem_cache_alloc(plain.get(), GFP_KERNEL);
        EXPECT_EQ(virt_to_cache(p), plain.get());
        EXPECT_EQ(mem_cgroup_from_obj(p), nullptr);
        kmem_cache_free(plain.get(), p);
    }
    EXPECT_EQ(plain->hooks.load(), 0u); // the fast path is as before
    EXPECT_EQ(mem_cgroup_stats(g).usage, 0u);
    EXPECT_EQ(mem_cgroup_stats(g).caches, 0u);
    mem_cgroup_offline(g);
}

TEST(Memcg, ObjectsComeFromAChildOfTheGroup) {
    const kmem_cache_ptr cache(kmem_cache_create("acc", 192, 0, SLAB_ACCOUNT, nullptr));
    mem_cgroup* a = mem_cgroup_create("a", nullptr);
    mem_cgroup* b = mem_cgroup_create("b", nullptr);
    void* none = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    void* of_a = nullptr;
    void* of_b = nullptr;
    {
        const as_group in(a);
        of_a = kmem_cache_zalloc(cache.get(), GFP_KERNEL);
        const as_group nested(b);
        of_b = kmem_cache_alloc(cache.get(), GFP_KERNEL);
        EXPECT_EQ(current_memcg(), b);
    }
    EXPECT_EQ(current_memcg(), nullptr);
    EXPECT_EQ(virt_to_cache(none), cache.get());
    EXPECT_TRUE(is_root_cache(cache.get()));
    for (void* p : {of_a, of_b}) {
        EXPECT_FALSE(is_root_cache(virt_to_cache(p)));
        EXPECT_EQ(memcg_root_cache(virt_to_cache(p)), cache.get());
    }
    EXPECT_NE(virt_to_cache(of_a), virt_to_cache(of_b));
    EXPECT_EQ(mem_cgroup_from_obj(of_a), a);
    EXPECT_EQ(mem_cgroup_from_obj(of_b), b);
    EXPECT_EQ(mem_cgroup_stats(a).usage, slab_bytes(cache.get()));
    EXPECT_EQ(mem_cgroup_stats(a).caches, 1u);
    // One line for all in slabinfo, one of its own for each group.
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 3u);
    EXPECT_EQ(slabinfo_text().find("acc("), std::string::npos);
    const std::string name = virt_to_cache(of_a)->name;
    EXPECT_EQ(name.substr(0, 4), "acc(");
    EXPECT_NE(name.find(":a)"), std::string::npos);
    EXPECT_NE(memcg_slab_show(a).find(name), std::string::npos);
    EXPECT_EQ(memcg_slab_show(b).find(name), std::string::npos);
    // Given back through the root cache, by its name or by none.
    kmem_cache_free(cache.get(), of_a);
    kfree(of_b);
    kmem_cache_free(cache.get(), none);
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 0u);
    EXPECT_TRUE(is_valid(cache.get()));
    EXPECT_EQ(kmem_cache_shrink(cache.get()), 0);
    EXPECT_EQ(mem_cgroup_stats(a).usage, 0u);
    mem_cgroup_offline(a);
    mem_cgroup_offline(b);
}

TEST(Memcg, KmallocWithAccountIsCharged) {
    mem_cgroup* g = mem_cgroup_create("kmalloc", nullptr);
    const as_group in(g);
    void* plain = kmalloc(100, GFP_KERNEL);
    EXPECT_EQ(mem_cgroup_stats(g).usage, 0u);
    void* p = kmalloc(100, GFP_KERNEL_ACCOUNT);
    std::size_t unknown = 1000;
    asm("" : "+r"(unknown));
    void* q = kmalloc(unknown, GFP_KERNEL_ACCOUNT);
    EXPECT_EQ(mem_cgroup_from_obj(plain), nullptr);
    EXPECT_EQ(mem_cgroup_from_obj(p), g);
    EXPECT_EQ(mem_cgroup_from_obj(q), g);
    EXPECT_EQ(ksize(p), 128u);
    EXPECT_GT(mem_cgroup_stats(g).usage, 0u);
    kfree(plain);
    kfree(p);
    kfree(q);
    memalloc_unuse_memcg();
    mem_cgroup_offline(g);
}

TEST(Memcg, TheLimitHoldsForAllBelow) {
    const test::reports said;
    const kmem_cache_ptr cache(kmem_cache_create("bounded", 1024, 0, SLAB_ACCOUNT, nullptr));
    mem_cgroup* top = mem_cgroup_create("top", nullptr);
    mem_cgroup* sub = mem_cgroup_create("sub", top);
    mem_cgroup_set_limit(top, 2 * slab_bytes(cache.get()));
    std::vector<void*> objects;
    {
        const as_group in(sub);
        for (void* p; (p = kmem_cache_alloc(cache.get(), GFP_KERNEL));)
            objects.push_back(p);
        EXPECT_EQ(objects.size(), 2u * get_slabinfo(cache.get()).objperslab);
        EXPECT_EQ(mem_cgroup_stats(top).usage, mem_cgroup_stats(top).limit);
        EXPECT_EQ(mem_cgroup_stats(sub).usage, mem_cgroup_stats(top).usage);
        EXPECT_GT(mem_cgroup_stats(top).failcnt, 0u);
        EXPECT_EQ(mem_cgroup_stats(sub).failcnt, 0u);
        EXPECT_TRUE(said.has("Unable to allocate memory"));
        mem_cgroup_set_limit(top, 0);
        void* p = kmem_cache_alloc(cache.get(), GFP_ATOMIC);
        EXPECT_NE(p, nullptr);
        objects.push_back(p);
        EXPECT_EQ(mem_cgroup_stats(top).max_usage, 3 * slab_bytes(cache.get()));
    }
    for (void* p : objects)
        kmem_cache_free(cache.get(), p);
    mem_cgroup_offline(sub);
    mem_cgroup_offline(top);
}

TEST(Memcg, FreeSlabsMakeRoomBeforeTheLimitRefuses) {
    const kmem_cache_ptr one(kmem_cache_create("room-one", 512, 0, SLAB_ACCOUNT, nullptr));
    const kmem_cache_ptr two(kmem_cache_create("room-two", 512, 0, SLAB_ACCOUNT, nullptr));
    mem_cgroup* g = mem_cgroup_create("room", nullptr);
    mem_cgroup_set_limit(g, slab_bytes(one.get()));
    const as_group in(g);
    kmem_cache_free(one.get(), kmem_cache_alloc(one.get(), GFP_KERNEL));
    EXPECT_EQ(mem_cgroup_stats(g).usage, slab_bytes(one.get()));
    EXPECT_EQ(kmem_cache_alloc(two.get(), GFP_NOWAIT | __GFP_NOWARN), nullptr);
    void* p = kmem_cache_alloc(two.get(), GFP_KERNEL);
    EXPECT_NE(p, nullptr);
    kmem_cache_free(two.get(), p);
    memalloc_unuse_memcg();
    mem_cgroup_offline(g);
}

TEST(Memcg, AnOfflineGroupsObjectsBelongToItsParent) {
    const kmem_cache_ptr cache(kmem_cache_create("orphan", 256, 0, SLAB_ACCOUNT, nullptr));
    mem_cgroup* parent = mem_cgroup_create("parent", nullptr);
    mem_cgroup* child = mem_cgroup_create("child", parent);
    memalloc_use_memcg(child);
    void* p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    void* r = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    const std::size_t bytes = slab_bytes(cache.get());
    mem_cgroup_offline(child);
    EXPECT_EQ(mem_cgroup_from_obj(p), parent);
    EXPECT_EQ(mem_cgroup_stats(parent).usage, bytes);
    // Who still names the group allocates for the parent.
    void* q = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    EXPECT_EQ(mem_cgroup_from_obj(q), parent);
    EXPECT_NE(virt_to_cache(q), virt_to_cache(p));
    EXPECT_EQ(mem_cgroup_stats(parent).usage, 2 * bytes);
    memalloc_unuse_memcg();
    kmem_cache_free(cache.get(), p);
    EXPECT_EQ(mem_cgroup_stats(parent).usage, 2 * bytes);
    kfree(r); // the last of its slab: that goes at once
    EXPECT_EQ(mem_cgroup_stats(parent).usage, bytes);
    kmem_cache_free(cache.get(), q);
    EXPECT_EQ(cache->memcg_params.children->memcg_params.children_next == nullptr, false);
    cache_reap(); // the empty child goes
    EXPECT_EQ(cache->memcg_params.children->memcg_params.children_next, nullptr);
    mem_cgroup_offline(parent);
    EXPECT_EQ(cache->memcg_params.children, nullptr);
    EXPECT_TRUE(is_valid(cache.get()));
}

TEST(Memcg, DestroyTakesChildrenAlongOrNamesTheirObjects) {
    const test::reports said;
    kmem_cache* cache = kmem_cache_create("family", 64, 0, SLAB_ACCOUNT, nullptr);
    mem_cgroup* g = mem_cgroup_create("f", nullptr);
    memalloc_use_memcg(g);
    void* p = kmem_cache_alloc(cache, GFP_KERNEL);
    memalloc_unuse_memcg();
    EXPECT_EQ(kmem_cache_destroy(cache), -EBUSY);
    EXPECT_TRUE(said.has("family("));
    kmem_cache_free(cache, p);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
    EXPECT_EQ(mem_cgroup_stats(g).usage, 0u);
    EXPECT_EQ(mem_cgroup_stats(g).caches, 0u);
    mem_cgroup_offline(g);
}

TEST(Memcg, TunablesReachChildren) {
    if (test::slub)
        GTEST_SKIP() << "of SLAB only";
    const kmem_cache_ptr cache(kmem_cache_create("tuned", 128, 0, SLAB_ACCOUNT, nullptr));
    ASSERT_EQ(kmem_cache_tune(cache.get(), 40, 20, 2), 0);
    kmem_cache_set_max(cache.get(), 5000);
    slab_statistics(cache.get(), true);
    mem_cgroup* g = mem_cgroup_create("t", nullptr);
    memalloc_use_memcg(g);
    void* p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    kmem_cache* child = virt_to_cache(p);
    EXPECT_EQ(child->limit, 40u);
    EXPECT_EQ(child->max_slabs.load(), cache->max_slabs.load());
    EXPECT_NE(child->hooks.load(), 0u);
    ASSERT_EQ(kmem_cache_tune(cache.get(), 30, 10, 1), 0);
    EXPECT_EQ(child->limit, 30u);
    EXPECT_EQ(child->batchcount, 10u);
    EXPECT_EQ(child->shared, 1u);
    kmem_cache_free(cache.get(), p);
    memalloc_unuse_memcg();
    mem_cgroup_offline(g);
}

TEST(Memcg, AttributesOfSlubReachChildren) {
    if (!test::slub)
        GTEST_SKIP() << "of SLUB only";
    const kmem_cache_ptr cache(kmem_cache_create("attrs", 128, 0, SLAB_ACCOUNT, nullptr));
    const auto set = [&cache](const char* attr, const char* value) {
        EXPECT_EQ(slab_attr_store(cache.get(), attr, value), 0) << attr;
    };
    const auto expect_numbers = [](const kmem_cache* c, unsigned cpu, unsigned min,
                                   unsigned ratio) {
        EXPECT_EQ(c->cpu_partial, cpu) << c->name;
        EXPECT_EQ(c->min_partial, min) << c->name;
        EXPECT_EQ(c->remote_node_defrag_ratio, ratio * 10) << c->name;
    };
    set("cpu_partial", "21");
    set("min_partial", "7");
    set("remote_node_defrag_ratio", "33");
    mem_cgroup* g = mem_cgroup_create("attrs", nullptr);
    memalloc_use_memcg(g);
    void* p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
    kmem_cache* child = virt_to_cache(p);
    ASSERT_FALSE(is_root_cache(child));
    expect_numbers(child, 21, 7, 33);
    set("cpu_partial", "22");
    set("min_partial", "8");
    set("remote_node_defrag_ratio", "34");
    expect_numbers(child, 22, 8, 34);
    memalloc_unuse_memcg();
    mem_cgroup_offline(g); // a child that ends keeps no empty slab, whatever the root is told
    set("min_partial", "9");
    EXPECT_EQ(child->min_partial, 0u);
    kmem_cache_free(cache.get(), p);
    cache_reap();
    EXPECT_TRUE(is_valid(cache.get()));
}

// A child of the group for the root cache, one object of which is out.
struct child_of {
    child_of(kmem_cache* root, const char* name) : root(root), g(mem_cgroup_create(name, nullptr)) {
        const as_group in(g);
        object = kmem_cache_alloc(root, GFP_KERNEL);
        cache = virt_to_cache(object);
    }
    ~child_of() {
        if (object)
            kmem_cache_free(root, object);
        mem_cgroup_offline(g);
    }
    void free_object() {
        kmem_cache_free(root, object);
        object = nullptr;
    }
    kmem_cache* root;
    mem_cgroup* g;
    void* object;
    kmem_cache* cache;
};

TEST(Memcg, DebuggingReachesChildren) {
    const kmem_cache_ptr root(kmem_cache_create("dbg-root", 192, 0, SLAB_ACCOUNT, nullptr));
    child_of before(root.get(), "before");
    constexpr slab_flags_t live = SLAB_HARDENED | SLAB_CONSISTENCY_CHECKS;
    ASSERT_EQ(slab_debug_change(root.get(), live, true), 0);
    child_of after(root.get(), "after");
    for (child_of* c : {&before, &after}) {
        EXPECT_EQ(slab_debug_flags(c->cache), live) << c->cache->name;
        EXPECT_EQ(slab_debug_change(c->cache, live, false), -EINVAL) << "by its root only";
        const as_group in(c->g);
        void* p = kmem_cache_alloc(root.get(), GFP_KERNEL);
        ASSERT_EQ(virt_to_cache(p), c->cache);
        const test::reports said;
        kmem_cache_free(root.get(), p);
        EXPECT_EQ(said.count(), 0u) << said.text();
        kmem_cache_free(root.get(), p);
        EXPECT_TRUE(said.has(std::string("BUG ") + c->cache->name)) << said.text();
        EXPECT_TRUE(said.has("is freed a second time")) << said.text();
        EXPECT_EQ(slab_bugs(c->cache), 1u);
    }
    ASSERT_EQ(slab_debug_change(root.get(), live, false), 0);
    child_of later(root.get(), "later");
    for (child_of* c : {&before, &after, &later})
        EXPECT_EQ(slab_debug_flags(c->cache), 0u) << c->cache->name;
    EXPECT_TRUE(all_valid());
}

TEST(Memcg, ALayoutChangesForAllChildrenOrForNone) {
    const kmem_cache_ptr root(kmem_cache_create("dbg-layout", 100, 0, SLAB_ACCOUNT, nullptr));
    child_of a(root.get(), "layout-a");
    child_of b(root.get(), "layout-b");
    b.free_object();
    constexpr slab_flags_t ZPU = SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER;
    EXPECT_EQ(slab_debug_change(root.get(), ZPU, true), -EBUSY) << "one child has an object";
    for (kmem_cache* c : {root.get(), a.cache, b.cache})
        EXPECT_EQ(slab_debug_flags(c), 0u) << c->name;
    a.free_object();
    ASSERT_EQ(slab_debug_change(root.get(), ZPU, true), 0);
    for (child_of* c : {&a, &b}) {
        EXPECT_EQ(slab_debug_flags(c->cache), ZPU) << c->cache->name;
        const as_group in(c->g);
        auto* p = static_cast<unsigned char*>(kmem_cache_alloc(root.get(), GFP_KERNEL));
        const test::reports said;
        kmem_cache_free(root.get(), p);
        p = static_cast<unsigned char*>(kmem_cache_alloc(root.get(), GFP_KERNEL));
        EXPECT_EQ(said.count(), 0u) << said.text();
        EXPECT_EQ(p[50], 0x6b) << "poisoned";
        kmem_cache_free(root.get(), p);
    }
    EXPECT_TRUE(all_valid());
}

TEST(Memcg, TheDebugSettingReachesChildrenByTheirRootsName) {
    const kmem_cache_ptr root(kmem_cache_create("dbg-named", 64, 0, SLAB_ACCOUNT, nullptr));
    child_of a(root.get(), "named");
    ASSERT_EQ(slab_debug_setup("H,dbg-named"), 0);
    EXPECT_EQ(slab_debug_flags(root.get()), SLAB_HARDENED);
    EXPECT_EQ(slab_debug_flags(a.cache), SLAB_HARDENED);
    ASSERT_EQ(slab_debug_setup("-"), 0);
    EXPECT_TRUE(all_valid());
}

TEST(Memcg, ManyGroups) {
    const kmem_cache_ptr cache(kmem_cache_create("many", 64, 0, SLAB_ACCOUNT, nullptr));
    std::vector<mem_cgroup*> groups;
    std::vector<void*> objects;
    for (int i = 0; i < 40; ++i) {
        groups.push_back(mem_cgroup_create(("g" + std::to_string(i)).c_str(), nullptr));
        const as_group in(groups.back());
        objects.push_back(kmem_cache_alloc(cache.get(), GFP_KERNEL));
        EXPECT_EQ(mem_cgroup_from_obj(objects.back()), groups.back());
    }
    EXPECT_EQ(get_slabinfo(cache.get()).num_slabs, 40u);
    for (void* p : objects)
        kmem_cache_free(cache.get(), p);
    for (mem_cgroup* g : groups)
        mem_cgroup_offline(g);
    EXPECT_EQ(cache->memcg_params.children, nullptr);
    EXPECT_EQ(get_slabinfo(cache.get()).num_slabs, 0u);
}

// A cache whose child cannot be made serves from the root: as the kernel does until the child is.
TEST(Memcg, EveryFailureIsClean) {
    const kmem_cache_ptr cache(kmem_cache_create("failing", 300, 0, SLAB_ACCOUNT, nullptr));
    for (std::uint64_t nth = 1; nth <= 30; ++nth) {
        mem_cgroup* g = mem_cgroup_create("fail", nullptr);
        ASSERT_NE(g, nullptr);
        memalloc_use_memcg(g);
        fault_attr attr;
        attr.nth = nth;
        failslab_set(attr);
        void* p = kmem_cache_alloc(cache.get(), GFP_KERNEL | __GFP_NOWARN);
        failslab_off();
        if (p)
            kmem_cache_free(cache.get(), p);
        memalloc_unuse_memcg();
        mem_cgroup_offline(g);
        ASSERT_TRUE(is_valid(cache.get())) << nth;
    }
    EXPECT_EQ(cache->memcg_params.children, nullptr);
    EXPECT_TRUE(all_valid());
}

// Threads in groups that come and go, while objects wander.
TEST(Memcg, GroupsComeAndGoAmongThreads) {
    const kmem_cache_ptr cache(kmem_cache_create("busy", 192, 0, SLAB_ACCOUNT, nullptr));
    mem_cgroup* top = mem_cgroup_create("busy-top", nullptr);
    static std::atomic<void*> places[128];
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            std::mt19937 rng(t);
            for (int round = 0; round < 60; ++round) {
                mem_cgroup* g = mem_cgroup_create("worker", top);
                ASSERT_NE(g, nullptr);
                memalloc_use_memcg(g);
                for (int i = 0; i < 400; ++i) {
                    void* p = kmem_cache_alloc(cache.get(), GFP_KERNEL);
                    ASSERT_NE(p, nullptr);
                    std::memset(p, static_cast<int>(t), 192);
                    void* old = places[rng() % 128].exchange(p, std::memory_order_acq_rel);
                    if (old && i % 2)
                        kmem_cache_free(cache.get(), old);
                    else if (old)
                        kfree(old);
                }
                memalloc_unuse_memcg();
                mem_cgroup_offline(g);
                slab_cpu_serve();
                if (round % 10 == 0)
                    cache_reap();
            }
        });
    for (std::thread& t : threads)
        t.join();
    for (auto& place : places)
        if (void* p = place.exchange(nullptr))
            kfree(p);
    cache_reap();
    EXPECT_EQ(get_slabinfo(cache.get()).active_objs, 0u);
    EXPECT_EQ(mem_cgroup_stats(top).usage, 0u);
    EXPECT_EQ(cache->memcg_params.children, nullptr);
    mem_cgroup_offline(top);
    EXPECT_TRUE(all_valid());
}

} // namespace
} // namespace slabfwd
