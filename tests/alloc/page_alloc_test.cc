// SPDX-License-Identifier: BSD-3-Clause
//
// The buddy system: against a model under random operations, limits, giving back, page sources.
#include "alloc/page_alloc.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "alloc/failslab.h"
#include "alloc/page_ahead.h"

namespace slabfwd {
namespace {

// Counts what the default source is asked for.
struct counting_source : page_source {
    std::size_t populated = 0;
    std::size_t returned = 0;
    counting_source() : page_source(*anonymous_page_source()) {
        name = "counting";
        chunk_order = 6;
        reserve_bytes = std::size_t{1} << 30;
        populate = [](page_source* self, void* addr, std::size_t bytes, int nid) {
            static_cast<counting_source*>(self)->populated += bytes;
            return anonymous_page_source()->populate(anonymous_page_source(), addr, bytes, nid);
        };
        give_back = [](page_source* self, void* addr, std::size_t bytes, int nid) {
            const std::size_t n =
                anonymous_page_source()->give_back(anonymous_page_source(), addr, bytes, nid);
            static_cast<counting_source*>(self)->returned += n;
            return n;
        };
        fault_in = [](page_source* self, void* addr, std::size_t bytes) {
            auto* me = static_cast<counting_source*>(self);
            {
                const std::lock_guard guard(me->lock);
                me->faulted_at.insert(addr);
            }
            ++me->faulted;
            return me->no_memory ? -ENOMEM
                                 : anonymous_page_source()->fault_in(anonymous_page_source(), addr, bytes);
        };
    }
    std::atomic<unsigned> faulted{0};
    std::atomic<bool> no_memory{false};
    std::mutex lock;
    std::set<void*> faulted_at;
    // Lies the address in a block that was faulted in?
    bool was_faulted_in(const page* p) {
        const std::lock_guard guard(lock);
        const auto a = reinterpret_cast<std::uintptr_t>(page_address(p));
        return faulted_at.contains(reinterpret_cast<void*>(a & ~((PAGE_SIZE << 9) - 1)));
    }
};
counting_source source;
const int source_set = set_page_source(&source);

::testing::AssertionResult valid() {
    std::string why;
    if (page_alloc_is_valid(&why))
        return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << why;
}

std::size_t used_pages() {
    const page_alloc_stats s = page_alloc_get_stats();
    return s.populated - s.free;
}

TEST(page_alloc, source_is_asked_in_chunks) {
    ASSERT_EQ(source_set, 0);
    page* p = alloc_pages(GFP_KERNEL, 0);
    ASSERT_NE(p, nullptr);
    EXPECT_STREQ(page_alloc_get_stats().source, "counting");
    EXPECT_EQ(source.populated % (PAGE_SIZE << 6), 0u);
    EXPECT_EQ(source.populated, page_alloc_get_stats().populated * PAGE_SIZE);
    EXPECT_EQ(set_page_source(anonymous_page_source()), -EBUSY);
    __free_pages(p, 0);
}

TEST(page_alloc, blocks_are_aligned_and_found_from_any_address) {
    for (unsigned order = 0; order < MAX_ORDER; ++order) {
        page* p = alloc_pages(GFP_KERNEL, order);
        ASSERT_NE(p, nullptr) << order;
        auto* a = static_cast<std::byte*>(page_address(p));
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a) % (PAGE_SIZE << order), 0u);
        EXPECT_EQ(page_at(page_to_pfn(p)), p);
        for (std::size_t off :
             {std::size_t{0}, (PAGE_SIZE << order) / 2, (PAGE_SIZE << order) - 1}) {
            EXPECT_EQ(virt_to_head_page(a + off), p);
            EXPECT_EQ(virt_to_head_page(a + off, order), p);
        }
        __free_pages(p, order);
        ASSERT_TRUE(valid());
    }
    EXPECT_EQ(used_pages(), 0u);
}

TEST(page_alloc, refuses_what_it_cannot_promise) {
    EXPECT_EQ(alloc_pages(GFP_KERNEL, MAX_ORDER), nullptr);
    EXPECT_EQ(alloc_pages(GFP_KERNEL | __GFP_NOFAIL, 0), nullptr);
    EXPECT_FALSE(virt_addr_valid(nullptr));
    int local = 0;
    EXPECT_FALSE(virt_addr_valid(&local));
}

TEST(page_alloc, zero_after_use) {
    page* p = alloc_pages(GFP_KERNEL, 3);
    std::memset(page_address(p), 0xff, PAGE_SIZE << 3);
    __free_pages(p, 3);
    p = alloc_pages(GFP_KERNEL | __GFP_ZERO, 3);
    const auto* b = static_cast<const unsigned char*>(page_address(p));
    for (std::size_t i = 0; i < PAGE_SIZE << 3; ++i)
        ASSERT_EQ(b[i], 0) << i;
    __free_pages(p, 3);
}

TEST(page_alloc, limit_and_reserve) {
    const std::size_t limit = std::size_t{16} << 20;
    page_alloc_set_limit(limit);
    std::vector<page*> got;
    while (page* p = alloc_pages(GFP_NOWAIT, 0))
        got.push_back(p);
    const std::size_t normal = got.size();
    while (page* p = alloc_pages(GFP_ATOMIC, 0))
        got.push_back(p);
    const std::size_t atomic = got.size();
    while (page* p = alloc_pages(GFP_ATOMIC | __GFP_MEMALLOC, 0))
        got.push_back(p);
    EXPECT_EQ(got.size(), limit / PAGE_SIZE);
    EXPECT_EQ(normal, limit / PAGE_SIZE - limit / PAGE_SIZE / 64);
    EXPECT_EQ(atomic, limit / PAGE_SIZE - limit / PAGE_SIZE / 128);
    for (page* p : got)
        __free_pages(p, 0);
    page_alloc_set_limit(0);
    EXPECT_TRUE(valid());
    EXPECT_EQ(used_pages(), 0u);
}

TEST(page_alloc, trim_gives_back_once_and_memory_comes_again) {
    page* p = alloc_pages(GFP_KERNEL, 9);
    std::memset(page_address(p), 1, PAGE_SIZE << 9);
    __free_pages(p, 9);
    EXPECT_GT(page_alloc_trim(), 0u);
    const page_alloc_stats s = page_alloc_get_stats();
    EXPECT_LT(s.free - s.given_back, 16u) << "only blocks below 64 KiB stay";
    EXPECT_EQ(page_alloc_trim(), 0u);
    EXPECT_TRUE(valid());
    p = alloc_pages(GFP_KERNEL, 9);
    std::memset(page_address(p), 2, PAGE_SIZE << 9);
    __free_pages(p, 9);
    EXPECT_TRUE(valid());
    const std::size_t before = source.returned;
    EXPECT_EQ(page_alloc_trim(SIZE_MAX), 0u);
    EXPECT_EQ(source.returned, before);
}

TEST(page_alloc, injected_failures) {
    fault_attr attr;
    attr.nth = 3;
    fail_page_alloc_set(attr);
    page* a = alloc_pages(GFP_KERNEL, 0);
    page* b = alloc_pages(GFP_KERNEL, 0);
    page* c = alloc_pages(GFP_KERNEL, 0);
    page* d = alloc_pages(GFP_KERNEL, 0);
    EXPECT_TRUE(a && b && !c && d);
    EXPECT_EQ(fail_page_alloc_stats().failed, 1u);
    fail_page_alloc_off();
    for (page* p : {a, b, d})
        __free_pages(p, 0);
}

// Waits until so many pages are ready.
bool become_ready(std::size_t n, int longest_ms = 20000) {
    for (int ms = 0; ms < longest_ms && page_alloc_get_stats().ready < n; ++ms)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return page_alloc_get_stats().ready >= n;
}

constexpr unsigned READY_ORDER = 9;
constexpr std::size_t READY_PAGES = std::size_t{1} << READY_ORDER;

TEST(page_ahead, has_blocks_ready_and_they_are_taken_first) {
    page_alloc_trim();
    EXPECT_EQ(page_alloc_get_stats().ready, 0u);
    {
        const page_ahead ahead, second; // one thread for both
        page* first = alloc_pages(GFP_KERNEL, READY_ORDER);
        ASSERT_NE(first, nullptr);
        ASSERT_TRUE(become_ready(2 * READY_PAGES));
        EXPECT_GE(source.faulted, 2u);
        EXPECT_TRUE(valid());
        EXPECT_EQ(used_pages(), READY_PAGES) << "what is ready is free";
        EXPECT_FALSE(source.was_faulted_in(first));
        page* p = alloc_pages(GFP_KERNEL, 4);
        EXPECT_TRUE(source.was_faulted_in(p));
        page* q = alloc_pages(GFP_KERNEL, 4); // the rest of that block
        EXPECT_EQ(virt_to_pfn(page_address(q)) >> READY_ORDER, virt_to_pfn(page_address(p)) >> READY_ORDER);
        std::memset(page_address(p), 1, PAGE_SIZE << 4);
        EXPECT_TRUE(valid());
        __free_pages(first, READY_ORDER);
        __free_pages(p, 4);
        __free_pages(q, 4);
    }
    EXPECT_EQ(page_alloc_get_stats().ready, 0u);
    EXPECT_EQ(used_pages(), 0u);
    EXPECT_TRUE(valid());
}

TEST(page_ahead, makes_more_ready_the_sooner_they_go) {
    page_alloc_trim();
    const page_ahead ahead;
    std::vector<page*> got;
    for (std::size_t goal = 2; goal <= 8; goal *= 2) {
        bool reached = false; // more than once: on a busy machine they may not have gone within a second
        for (int i = 0; i < 400 && !reached; ++i) {
            got.push_back(alloc_pages(GFP_KERNEL, READY_ORDER));
            reached = become_ready(goal * READY_PAGES, 50);
        }
        EXPECT_TRUE(reached) << goal;
    }
    for (page* p : got)
        __free_pages(p, READY_ORDER);
    page_alloc_trim();
    EXPECT_TRUE(valid());
}

TEST(page_ahead, without_memory_or_within_a_limit_all_is_as_without_it) {
    page_alloc_trim();
    const std::size_t limit = std::size_t{16} << 20;
    page_alloc_set_limit(limit);
    for (bool no_memory : {true, false}) {
        source.no_memory = no_memory;
        const unsigned before = source.faulted;
        const page_ahead ahead;
        std::vector<page*> got;
        while (page* p = alloc_pages(GFP_NOWAIT | __GFP_MEMALLOC, 2)) {
            got.push_back(p);
            if (got.size() == 1)
                for (int ms = 0; ms < 20000 && source.faulted == before; ++ms)
                    std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        EXPECT_GT(source.faulted, before);
        EXPECT_EQ(got.size(), limit / PAGE_SIZE / 4);
        for (page* p : got)
            __free_pages(p, 2);
        page_alloc_trim();
    }
    page_alloc_set_limit(0);
    EXPECT_EQ(used_pages(), 0u);
    EXPECT_TRUE(valid());
}

// A block of the largest order wants the ready ones' memory when the range is full: they merge.
TEST(page_ahead, what_is_ready_makes_room_for_large_blocks) {
    page_alloc_trim();
    const page_ahead ahead;
    __free_pages(alloc_pages(GFP_KERNEL, READY_ORDER), READY_ORDER);
    page* one = alloc_pages(GFP_KERNEL, READY_ORDER);
    ASSERT_TRUE(become_ready(2 * READY_PAGES)); // all that are wanted: none is on its way
    __free_pages(one, READY_ORDER);
    std::vector<page*> got;
    while (page* p = alloc_pages(GFP_NOWAIT, MAX_ORDER - 1))
        got.push_back(p);
    EXPECT_EQ(got.size(), page_alloc_get_stats().reserved >> (MAX_ORDER - 1));
    for (page* p : got)
        __free_pages(p, MAX_ORDER - 1);
    page_alloc_trim();
    EXPECT_TRUE(valid());
}

// The model: address ranges that are out. No two overlap, contents stay.
class buddy_random : public ::testing::TestWithParam<unsigned> {};

TEST_P(buddy_random, against_model) {
    std::optional<page_ahead> ahead; // beside every other one
    if (GetParam() % 2)
        ahead.emplace();
    std::mt19937 rng(GetParam());
    std::map<std::byte*, std::pair<page*, unsigned>> live;
    const auto range_free = [&](std::byte* from, std::byte* to) {
        auto it = live.lower_bound(from);
        if (it != live.end() && it->first < to)
            return false;
        return it == live.begin() || (--it, it->first + (PAGE_SIZE << it->second.second) <= from);
    };
    for (int step = 0; step < 4000; ++step) {
        if (live.empty() || rng() % 100 < 52) {
            const unsigned order = std::min<unsigned>(rng() % 12, rng() % 12);
            page* p = alloc_pages(GFP_KERNEL, order);
            ASSERT_NE(p, nullptr);
            auto* a = static_cast<std::byte*>(page_address(p));
            ASSERT_TRUE(range_free(a, a + (PAGE_SIZE << order)));
            std::memset(a, static_cast<int>(order), 64);
            live[a] = {p, order};
        } else {
            auto it = std::next(live.begin(), static_cast<long>(rng() % live.size()));
            ASSERT_EQ(static_cast<unsigned>(it->first[63]), it->second.second);
            __free_pages(it->second.first, it->second.second);
            live.erase(it);
        }
        if (rng() % 300 == 0)
            page_alloc_trim(rng() % (1 << 22));
        if (step % 50 == 0) {
            ASSERT_TRUE(valid());
            std::size_t pages = 0;
            for (const auto& [a, block] : live)
                pages += std::size_t{1} << block.second;
            ASSERT_EQ(used_pages(), pages);
        }
    }
    for (const auto& [a, block] : live)
        __free_pages(block.first, block.second);
    EXPECT_TRUE(valid());
    EXPECT_EQ(used_pages(), 0u);
}
INSTANTIATE_TEST_SUITE_P(seeds, buddy_random, ::testing::Range(1u, 6u));

TEST(page_alloc, buddyinfo_has_a_column_an_order) {
    const std::string text = buddyinfo();
    EXPECT_EQ(text.rfind("Node 0, zone   Normal", 0), 0u);
    EXPECT_EQ(text.size(), std::strlen("Node 0, zone   Normal ") + 7 * MAX_ORDER + 1);
}

} // namespace
} // namespace slabfwd
