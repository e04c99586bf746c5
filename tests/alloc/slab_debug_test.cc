// SPDX-License-Identifier: BSD-3-Clause
//
// Misuse that debugging has to find, each kind in a cache of its own; what the reports name; and
// that a cache works on after each.
#include "alloc/slab_debug.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "alloc/failslab.h"
#include "alloc_test.h"

namespace slabfwd {

// The two call sites that reports have to name: with a symbol each, and no tail calls.
[[gnu::noinline]] void* debug_test_allocates(kmem_cache* cache) {
    void* p = kmem_cache_alloc(cache, GFP_KERNEL);
    asm volatile("" : "+r"(p) : : "memory");
    return p;
}
[[gnu::noinline]] void debug_test_frees(kmem_cache* cache, void* p) {
    kmem_cache_free(cache, p);
    asm volatile("" : : : "memory");
}
[[gnu::noinline]] void debug_test_frees_again(kmem_cache* cache, void* p) {
    kmem_cache_free(cache, p);
    asm volatile("" : : : "memory");
}

namespace {

constexpr slab_flags_t FZPU =
    SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER;
constexpr const char* ALLOCATES = "Allocated in slabfwd::debug_test_allocates";

std::string hex(const void* p) {
    char text[32];
    std::snprintf(text, sizeof text, "%p", p);
    return text;
}

// Bytes that AddressSanitizer would stop us from writing.
[[gnu::no_sanitize_address]] void scribble(void* p, std::ptrdiff_t at, unsigned char value) {
    static_cast<volatile unsigned char*>(p)[at] = value;
}

// A cache with a report catcher; at the end all is valid.
class slab_debug : public ::testing::Test {
protected:
    void TearDown() override {
        slab_debug_setup("-");
        EXPECT_TRUE(test::all_valid());
    }
    // The report names what, the cache, the object and both call sites.
    void expect_report(const test::reports& r, const std::string& what, const kmem_cache* cache,
                       const void* object) {
        EXPECT_TRUE(r.has(std::string("BUG ") + cache->name)) << r.text();
        EXPECT_TRUE(r.has(what)) << r.text();
        EXPECT_TRUE(r.has(hex(object))) << r.text();
        EXPECT_TRUE(r.has(ALLOCATES)) << r.text();
    }
};

TEST_F(slab_debug, red_zones_right_and_left) {
    for (const std::size_t size : {8u, 24u, 100u, 192u, 200u, 4096u, 5000u}) {
        const kmem_cache_ptr c(
            kmem_cache_create("dbg-red", size, 0, SLAB_RED_ZONE | SLAB_STORE_USER, nullptr));
        void* p = debug_test_allocates(c.get());
        for (const std::ptrdiff_t at : {std::ptrdiff_t(size), std::ptrdiff_t{-1}}) {
            const test::reports r;
            scribble(p, at, 0x41);
            debug_test_frees(c.get(), p);
            expect_report(r, at < 0 ? "Left Redzone overwritten" : "Right Redzone overwritten",
                          c.get(), p);
            EXPECT_TRUE(r.has("first byte 0x41 instead of 0xcc")) << r.text();
            EXPECT_TRUE(r.has("Found in slabfwd::debug_test_frees")) << r.text();
            EXPECT_TRUE(r.has("FIX dbg-red: restoring"));
            p = debug_test_allocates(c.get());
        }
        const test::reports r;
        std::memset(p, 0x77, size);
        debug_test_frees(c.get(), p);
        EXPECT_EQ(r.count(), 0u) << "the whole object may be written to: " << r.text();
        EXPECT_EQ(slab_bugs(c.get()), 2u);
    }
}

TEST_F(slab_debug, write_after_free) {
    for (const slab_flags_t flags : {SLAB_POISON | SLAB_STORE_USER, FZPU}) {
        const kmem_cache_ptr c(kmem_cache_create("dbg-poison", 100, 0, flags, nullptr));
        void* p = debug_test_allocates(c.get());
        debug_test_frees(c.get(), p);
        scribble(p, 42, 0);
        scribble(p, 99, 0);
        const test::reports r;
        EXPECT_EQ(debug_test_allocates(c.get()), p) << "last in, first out";
        expect_report(r, "Poison overwritten (write after free)", c.get(), p);
        EXPECT_TRUE(r.has("Freed in slabfwd::debug_test_frees")) << r.text();
        EXPECT_TRUE(r.has("42 bytes from the object's start")) << r.text();
        EXPECT_TRUE(r.has("End Poison overwritten")) << r.text();
        debug_test_frees(c.get(), p);
        EXPECT_EQ(slab_bugs(c.get()), 2u);
        EXPECT_EQ(validate_slab_cache(c.get()), 0);
    }
}

TEST_F(slab_debug, double_free) {
    for (const slab_flags_t flags : {FZPU, SLAB_CONSISTENCY_CHECKS | SLAB_STORE_USER}) {
        const kmem_cache_ptr c(kmem_cache_create("dbg-twice", 192, 0, flags, nullptr));
        void* p = debug_test_allocates(c.get());
        debug_test_frees(c.get(), p);
        const test::reports r;
        debug_test_frees_again(c.get(), p);
        expect_report(r, "is freed a second time", c.get(), p);
        EXPECT_TRUE(r.has("Freed in slabfwd::debug_test_frees+")) << r.text();
        EXPECT_TRUE(r.has("Found in slabfwd::debug_test_frees_again")) << r.text();
        EXPECT_NE(debug_test_allocates(c.get()), debug_test_allocates(c.get()));
        EXPECT_EQ(get_slabinfo(c.get()).active_objs, 2u);
        for (const slab_leak& leak : slab_leaks(c.get()))
            kmem_cache_free(c.get(), const_cast<void*>(leak.object));
    }
}

TEST_F(slab_debug, foreign_pointer) {
    const kmem_cache_ptr c(kmem_cache_create("dbg-mine", 192, 0, FZPU, nullptr));
    const kmem_cache_ptr other(kmem_cache_create("dbg-other", 192, 0, FZPU, nullptr));
    void* p = debug_test_allocates(other.get());
    {
        const test::reports r;
        debug_test_frees(c.get(), p);
        expect_report(r, "which is an object of dbg-other", c.get(), p);
        EXPECT_TRUE(r.has("Found in slabfwd::debug_test_frees")) << r.text();
    }
    alignas(64) static char here[256];
    void* large = kmalloc_large(100000, GFP_KERNEL);
    for (void* wild : {static_cast<void*>(here), static_cast<void*>(&here[64]), large,
                       reinterpret_cast<void*>(8), reinterpret_cast<void*>(-64)}) {
        const test::reports r;
        debug_test_frees(c.get(), wild);
        EXPECT_TRUE(r.has("BUG dbg-mine: free of " + hex(wild))) << r.text();
        EXPECT_TRUE(r.has("which is an object of no cache")) << r.text();
        EXPECT_TRUE(r.has("Found in slabfwd::debug_test_frees")) << r.text();
    }
    kfree(large);
    debug_test_frees(other.get(), p);
    EXPECT_EQ(slab_bugs(c.get()), 6u);
    EXPECT_EQ(slab_bugs(other.get()), 0u);
}

TEST_F(slab_debug, interior_pointer) {
    const kmem_cache_ptr c(kmem_cache_create("dbg-inside", 192, 0, FZPU, nullptr));
    void* p = debug_test_allocates(c.get());
    for (const std::ptrdiff_t at : {1, 8, 64, 191, -4}) {
        const test::reports r;
        debug_test_frees(c.get(), static_cast<char*>(p) + at);
        expect_report(r, "which lies inside an object", c.get(), p);
        EXPECT_TRUE(r.has(hex(static_cast<char*>(p) + at))) << r.text();
        EXPECT_TRUE(r.has("Found in slabfwd::debug_test_frees")) << r.text();
    }
    const test::reports r;
    debug_test_frees(c.get(), p);
    EXPECT_EQ(r.count(), 0u) << r.text();
}

TEST_F(slab_debug, leak_at_destroy_and_on_demand) {
    kmem_cache* c = kmem_cache_create("dbg-leak", 192, 0, SLAB_STORE_USER, nullptr);
    void* p = debug_test_allocates(c);
    void* q = debug_test_allocates(c);
    void* k = kmem_cache_alloc(c, GFP_KERNEL);
    debug_test_frees(c, q);
    const auto leaks = slab_leaks(c);
    ASSERT_EQ(leaks.size(), 2u);
    const bool first = leaks[0].object == p;
    EXPECT_EQ(leaks[first ? 0 : 1].object, p);
    EXPECT_NE(leaks[first ? 0 : 1].call_site.find("debug_test_allocates"), std::string::npos);
    EXPECT_EQ(leaks[first ? 1 : 0].object, k);
    EXPECT_EQ(slab_leaks(c, 1).size(), 1u);
    EXPECT_NE(slab_alloc_calls(c).find("1 slabfwd::debug_test_allocates"), std::string::npos)
        << slab_alloc_calls(c);
    EXPECT_NE(slab_free_calls(c).find("1 slabfwd::debug_test_frees"), std::string::npos)
        << slab_free_calls(c);
    {
        const test::reports r;
        EXPECT_EQ(kmem_cache_destroy(c), -EBUSY);
        EXPECT_TRUE(r.has("dbg-leak: Slab cache still has objects: 2")) << r.text();
        EXPECT_TRUE(r.has("object " + hex(p) + " of dbg-leak")) << r.text();
        EXPECT_TRUE(r.has(ALLOCATES)) << r.text();
    }
    kmem_cache_free(c, p);
    kmem_cache_free(c, k);
    EXPECT_EQ(kmem_cache_destroy(c), 0);
}

TEST_F(slab_debug, validate_finds_what_nobody_stumbled_on) {
    const kmem_cache_ptr c(kmem_cache_create("dbg-validate", 64, 0, FZPU, nullptr));
    void* p = debug_test_allocates(c.get());
    void* q = debug_test_allocates(c.get());
    debug_test_frees(c.get(), q);
    EXPECT_EQ(validate_slab_cache(c.get()), 0);
    scribble(p, 64, 1);
    scribble(q, 0, 1);
    const test::reports r;
    EXPECT_EQ(validate_slab_cache(c.get()), 2);
    EXPECT_TRUE(r.has("BUG dbg-validate: object " + hex(p) + ": Right Redzone overwritten"));
    EXPECT_TRUE(r.has("BUG dbg-validate: object " + hex(q) + ": Poison overwritten"));
    EXPECT_EQ(validate_slab_cache(c.get()), 0) << "mended";
    debug_test_frees(c.get(), p);
}

TEST_F(slab_debug, padding) {
    const kmem_cache_ptr c(kmem_cache_create("dbg-pad", 20, 64, SLAB_POISON, nullptr));
    void* p = debug_test_allocates(c.get());
    const test::reports r;
    scribble(p, 21, 1);
    scribble(p, 60, 1);
    debug_test_frees(c.get(), p);
    EXPECT_TRUE(r.has("Alignment padding overwritten")) << r.text();
    EXPECT_TRUE(r.has("Object padding overwritten")) << r.text();
}

TEST_F(slab_debug, kmalloc_names_its_caller) {
    ASSERT_EQ(slab_debug_setup("FZPU,dbg-k*"), 0);
    const kmem_cache_ptr c(kmem_cache_create("dbg-kmalloc", 192, 0, 0, nullptr));
    EXPECT_EQ(slab_debug_flags(c.get()), FZPU);
    void* objs[3];
    ASSERT_EQ(kmem_cache_alloc_bulk(c.get(), GFP_KERNEL, 3, objs), 3u);
    for (const slab_leak& leak : slab_leaks(c.get()))
        EXPECT_NE(leak.call_site.find("kmalloc_names_its_caller"), std::string::npos)
            << leak.call_site;
    kmem_cache_free_bulk(c.get(), 2, objs);
    kfree(objs[2]);
    EXPECT_NE(slab_free_calls(c.get()).find("kmalloc_names_its_caller"), std::string::npos);
    EXPECT_EQ(get_slabinfo(c.get()).active_objs, 0u);
}

void construct(void* p) {
    std::memset(p, 0xc7, 40);
}

TEST_F(slab_debug, constructed_objects_keep_their_state) {
    for (const slab_flags_t flags : {slab_flags_t{0}, SLAB_TYPESAFE_BY_RCU}) {
        const kmem_cache_ptr c(kmem_cache_create("dbg-ctor", 40, 0, FZPU | flags, construct));
        for (int i = 0; i < 3; ++i) {
            void* p = debug_test_allocates(c.get());
            for (int j = 0; j < 40; ++j)
                ASSERT_EQ(static_cast<unsigned char*>(p)[j], 0xc7);
            debug_test_frees(c.get(), p);
        }
        void* p = debug_test_allocates(c.get());
        scribble(p, 40, 0);
        const test::reports r;
        debug_test_frees(c.get(), p);
        EXPECT_TRUE(r.has("Right Redzone overwritten"));
    }
}

TEST_F(slab_debug, zeroed_and_uninitialised_contents) {
    const kmem_cache_ptr c(kmem_cache_create("dbg-zero", 80, 0, FZPU, nullptr));
    auto* p = static_cast<unsigned char*>(kmem_cache_zalloc(c.get(), GFP_KERNEL));
    EXPECT_EQ(std::count(p, p + 80, 0), 80);
    kmem_cache_free(c.get(), p);
    p = static_cast<unsigned char*>(kmem_cache_alloc(c.get(), GFP_KERNEL));
    EXPECT_EQ(std::count(p, p + 79, 0x6b), 79) << "what was never written shows";
    kmem_cache_free(c.get(), p);
}

TEST_F(slab_debug, alignment_is_kept) {
    for (const std::size_t align : {8u, 64u, 256u, 4096u}) {
        const kmem_cache_ptr c(kmem_cache_create("dbg-align", 72, align, FZPU, nullptr));
        std::vector<void*> objs;
        for (int i = 0; i < 50; ++i) {
            objs.push_back(kmem_cache_alloc(c.get(), GFP_KERNEL));
            ASSERT_EQ(reinterpret_cast<std::uintptr_t>(objs.back()) % align, 0u);
        }
        EXPECT_TRUE(test::is_valid(c.get()));
        for (void* p : objs)
            kmem_cache_free(c.get(), p);
        EXPECT_EQ(slab_bugs(c.get()), 0u);
    }
}

// ---- the setting

TEST_F(slab_debug, setting_is_parsed_as_the_kernel_does) {
    const auto flags_of = [](const char* name) {
        const kmem_cache_ptr c(kmem_cache_create(name, 64, 0, 0, nullptr));
        return slab_debug_letters(slab_debug_flags(c.get()));
    };
    ASSERT_EQ(slab_debug_setup(",dbg-a*"), 0);
    EXPECT_EQ(flags_of("dbg-abc"), "FZPU");
    EXPECT_EQ(flags_of("dbg-b"), "");
    ASSERT_EQ(slab_debug_setup("zu,dbg-a,dbg-b"), 0);
    EXPECT_EQ(flags_of("dbg-a"), "ZU");
    EXPECT_EQ(flags_of("dbg-b"), "ZU");
    EXPECT_EQ(flags_of("dbg-abc"), "");
    ASSERT_EQ(slab_debug_setup("P,dbg-a;H,dbg-[bc]"), 0);
    EXPECT_EQ(flags_of("dbg-a"), "P");
    EXPECT_EQ(flags_of("dbg-c"), "H");
    ASSERT_EQ(slab_debug_setup("FATR,dbg-*"), 0);
    EXPECT_EQ(flags_of("dbg-a"), "FTAR");
    ASSERT_EQ(slab_debug_setup("OZPU,dbg-*"), 0);
    EXPECT_EQ(flags_of("dbg-a"), "ZPU") << "no larger order is needed";
    {
        const kmem_cache_ptr page(kmem_cache_create("dbg-page", 4096, 0, 0, nullptr));
        EXPECT_EQ(slab_debug_flags(page.get()), 0u) << "O: this would need two pages";
    }
    for (const char* bad : {"X", "FQ", "F,", "F,a,,b", "-F"})
        EXPECT_EQ(slab_debug_setup(bad), -EINVAL) << bad;
    ASSERT_EQ(slab_debug_setup("-"), 0);
    EXPECT_EQ(flags_of("dbg-a"), "");
}

TEST_F(slab_debug, live_caches_follow_the_setting) {
    const kmem_cache_ptr empty(kmem_cache_create("dbg-live-empty", 64, 0, 0, nullptr));
    const kmem_cache_ptr full(kmem_cache_create("dbg-live-full", 64, 0, 0, nullptr));
    void* e = kmem_cache_alloc(empty.get(), GFP_KERNEL);
    kmem_cache_free(empty.get(), e);
    void* p = kmem_cache_alloc(full.get(), GFP_KERNEL);
    {
        const test::reports r;
        ASSERT_EQ(slab_debug_setup("FZPUT,dbg-live*"), 0);
        EXPECT_TRUE(r.has("dbg-live-full has objects and keeps its layout: ZPU")) << r.text();
        EXPECT_FALSE(r.has("dbg-live-empty"));
    }
    EXPECT_EQ(slab_debug_letters(slab_debug_flags(empty.get())), "FZPUT");
    EXPECT_EQ(slab_debug_letters(slab_debug_flags(full.get())), "FT");
    {
        const test::reports r;
        kmem_cache_free(full.get(), p); // was out before: not an error
        EXPECT_TRUE(r.has("TRACE dbg-live-full free " + hex(p))) << r.text();
        EXPECT_FALSE(r.has("BUG")) << r.text();
        kmem_cache_free(full.get(), p);
        EXPECT_TRUE(r.has("is freed a second time")) << r.text();
    }
    {
        const test::reports r;
        e = debug_test_allocates(empty.get());
        scribble(e, 64, 0);
        debug_test_frees(empty.get(), e);
        EXPECT_TRUE(r.has("Right Redzone overwritten")) << r.text();
    }
    // All of it off again.
    EXPECT_EQ(slab_debug_change(empty.get(), slab_debug_flags(empty.get()), false), 0);
    EXPECT_EQ(slab_debug_change(full.get(), slab_debug_flags(full.get()), false), 0);
    EXPECT_EQ(slab_debug_flags(empty.get()), 0u);
    EXPECT_EQ(kmem_cache_this_cpu(empty.get()).get()->held, 0u);
    EXPECT_EQ(empty->hooks.load(), 0u) << "the fast path again";
    EXPECT_EQ(get_slabinfo(empty.get()).objsize, 64u);
}

TEST_F(slab_debug, change_refuses_what_it_must) {
    const kmem_cache_ptr c(kmem_cache_create("dbg-change", 64, 0, 0, nullptr));
    void* p = kmem_cache_alloc(c.get(), GFP_KERNEL);
    EXPECT_EQ(slab_debug_change(c.get(), SLAB_POISON, true), -EBUSY);
    EXPECT_EQ(slab_debug_change(c.get(), SLAB_RANDOM, true), -EBUSY);
    EXPECT_EQ(slab_debug_change(c.get(), SLAB_HWCACHE_ALIGN, true), -EINVAL);
    EXPECT_EQ(slab_debug_change(find_cache("kmem_cache"), SLAB_TRACE, true), -EINVAL);
    EXPECT_EQ(slab_debug_flags(c.get()), 0u);
    kmem_cache_free(c.get(), p);
    EXPECT_EQ(slab_debug_change(c.get(), SLAB_POISON | SLAB_RANDOM, true), 0);
    EXPECT_EQ(slab_debug_letters(slab_debug_flags(c.get())), "PR");
}

// ---- random freelists

TEST_F(slab_debug, random_freelist_gives_each_object_once_in_no_order) {
    for (const slab_flags_t flags : {SLAB_RANDOM, SLAB_RANDOM | FZPU}) {
        slab_random_seed(42);
        const kmem_cache_ptr c(kmem_cache_create("dbg-random", 128, 0, flags, nullptr));
        slab_random_seed(0);
        std::vector<void*> objs;
        for (int i = 0; i < 2000; ++i)
            objs.push_back(kmem_cache_alloc(c.get(), GFP_KERNEL));
        int neighbours = 0;
        const auto size = std::ptrdiff_t(get_slabinfo(c.get()).objsize);
        for (std::size_t i = 1; i < objs.size(); ++i)
            neighbours +=
                std::abs(static_cast<char*>(objs[i]) - static_cast<char*>(objs[i - 1])) == size;
        EXPECT_LT(neighbours, 400) << "a slab without it gives neighbours nearly always";
        EXPECT_TRUE(test::is_valid(c.get()));
        std::vector<void*> sorted = objs;
        std::sort(sorted.begin(), sorted.end());
        EXPECT_EQ(std::adjacent_find(sorted.begin(), sorted.end()), sorted.end());
        for (std::size_t i = 0; i < objs.size(); i += 2)
            kmem_cache_free(c.get(), objs[i]);
        kmem_cache_shrink(c.get());
        EXPECT_TRUE(test::is_valid(c.get()));
        for (std::size_t i = 1; i < objs.size(); i += 2)
            kmem_cache_free(c.get(), objs[i]);
        EXPECT_EQ(get_slabinfo(c.get()).active_objs, 0u);
        EXPECT_EQ(slab_bugs(c.get()), 0u);
    }
}

TEST_F(slab_debug, random_freelist_follows_its_seed) {
    const auto order = [](std::uint64_t seed) {
        slab_random_seed(seed);
        const kmem_cache_ptr c(kmem_cache_create("dbg-seed", 512, 0, SLAB_RANDOM, nullptr));
        slab_random_seed(0);
        std::vector<std::uint16_t> seq(c->random_seq, c->random_seq + c->num);
        return seq;
    };
    EXPECT_EQ(order(7), order(7));
    EXPECT_NE(order(7), order(8));
    EXPECT_NE(order(0), order(0));
}

// ---- the hardened mode

TEST_F(slab_debug, hardened_finds_double_foreign_and_interior_frees_at_once) {
    const kmem_cache_ptr c(kmem_cache_create("hard-a", 192, 0, SLAB_HARDENED, nullptr));
    const kmem_cache_ptr d(kmem_cache_create("hard-b", 192, 0, SLAB_HARDENED, nullptr));
    const kmem_cache_ptr e(kmem_cache_create("hard-c", 1000, 0, 0, nullptr));
    const auto h = kmem_cache_this_cpu(c.get());
    void* p = kmem_cache_alloc(h, GFP_KERNEL);
    void* q = kmem_cache_alloc(d.get(), GFP_KERNEL);
    void* s = kmem_cache_alloc(e.get(), GFP_KERNEL);
    const auto bad = [&](void* address, const char* what) {
        const test::reports r;
        const std::uint64_t before = slab_bugs(c.get());
        debug_test_frees(c.get(), address);
        EXPECT_TRUE(r.has(what)) << r.text();
        EXPECT_TRUE(r.has("Found in slabfwd::debug_test_frees")) << r.text();
        EXPECT_EQ(slab_bugs(c.get()), before + 1);
    };
    bad(q, "which is an object of hard-b");
    bad(s, "which is an object of hard-c");
    for (const int at : {1, 8, 63, 64, 128})
        bad(static_cast<char*>(p) + at, "which lies inside an object");
    bad(&p, "which is an object of no cache");
    kmem_cache_free(h, p);
    bad(p, "is freed a second time");
    EXPECT_EQ(kmem_cache_alloc(h, GFP_KERNEL), p);
    kmem_cache_free(h, p);
    std::vector<void*> objs(5000);
    ASSERT_EQ(kmem_cache_alloc_bulk(c.get(), GFP_KERNEL, objs.size(), objs.data()), objs.size());
    EXPECT_EQ(slab_leaks(c.get()).size(), objs.size());
    kmem_cache_free_bulk(h, objs.size(), objs.data());
    kmem_cache_shrink(c.get());
    bad(objs[77], "BUG hard-a: ");
    kmem_cache_free(d.get(), q);
    kmem_cache_free(e.get(), s);
    EXPECT_EQ(slab_bugs(d.get()), 0u);
}

TEST_F(slab_debug, hardened_of_every_size_never_cries_wolf) {
    for (std::size_t size = 8; size <= 20000; size += size < 600 ? 8 : 997) {
        const test::reports r;
        const kmem_cache_ptr c(kmem_cache_create("hard-size", size, 0, SLAB_HARDENED, nullptr));
        std::vector<void*> objs;
        for (int i = 0; i < 300; ++i)
            objs.push_back(kmem_cache_alloc(c.get(), GFP_KERNEL));
        for (void* p : objs)
            kmem_cache_free(c.get(), p);
        ASSERT_EQ(r.count(), 0u) << size << ": " << r.text();
        for (void* p : objs)
            kmem_cache_free(c.get(), p);
        ASSERT_EQ(slab_bugs(c.get()), objs.size()) << size;
    }
}

TEST_F(slab_debug, hardened_goes_on_while_objects_are_out) {
    const kmem_cache_ptr c(kmem_cache_create("hard-late", 64, 0, 0, nullptr));
    std::vector<void*> objs(1000);
    ASSERT_EQ(kmem_cache_alloc_bulk(c.get(), GFP_KERNEL, objs.size(), objs.data()), objs.size());
    ASSERT_EQ(slab_debug_change(c.get(), SLAB_HARDENED, true), 0);
    const test::reports r;
    for (void* p : objs)
        kmem_cache_free(c.get(), p);
    EXPECT_EQ(r.count(), 0u) << r.text();
    for (void* p : objs)
        kmem_cache_free(c.get(), p);
    EXPECT_EQ(slab_bugs(c.get()), objs.size());
    ASSERT_EQ(slab_debug_change(c.get(), SLAB_HARDENED, false), 0);
    ASSERT_EQ(kmem_cache_alloc_bulk(c.get(), GFP_KERNEL, objs.size(), objs.data()), objs.size());
    ASSERT_EQ(slab_debug_change(c.get(), SLAB_HARDENED, true), 0);
    for (void* p : objs)
        kmem_cache_free(c.get(), p);
    EXPECT_EQ(slab_bugs(c.get()), objs.size()) << "on, off, on: nothing is mistaken";
}

TEST_F(slab_debug, a_double_free_of_two_threads_is_found) {
    const kmem_cache_ptr c(kmem_cache_create("hard-race", 64, 0, SLAB_HARDENED, nullptr));
    const test::reports r;
    int rounds = 0;
    for (; rounds < 200; ++rounds) {
        void* p = kmem_cache_alloc(c.get(), GFP_KERNEL);
        std::thread other([&] { kmem_cache_free(c.get(), p); });
        other.join();
        kmem_cache_free(c.get(), p);
    }
    EXPECT_EQ(slab_bugs(c.get()), 200u);
}

TEST_F(slab_debug, no_memory_for_it_is_an_error_of_the_creation) {
    failslab_set({.interval = 1});
    errno = 0;
    EXPECT_EQ(kmem_cache_create("dbg-nomem", 64, 0, SLAB_RANDOM | FZPU, nullptr), nullptr);
    EXPECT_EQ(errno, ENOMEM);
    failslab_off();
}

} // namespace
} // namespace slabfwd
