// SPDX-License-Identifier: BSD-3-Clause
//
// `bench alloc` measures what it says: the workloads hand back each object once and lose none,
// every peer can do every workload, and a target is judged by the right numbers.
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <mutex>
#include <unordered_set>

#include <gmock/gmock.h>

#include "dataplane/bench/alloc_run.h"

namespace slabfwd {
namespace {

using testing::HasSubstr;

/// An allocator that knows what is out.
struct checked_peer {
    std::mutex lock;
    std::unordered_set<void*> live;
    uint64_t allocated = 0, wrong = 0;
    size_t most = 0;

    std::string prepare(const alloc_peer&) { return {}; }
    std::string open(const alloc_peer&, const alloc_job&, size_t) { return {}; }
    void purge() {}

    struct local : single_calls<local> {
        explicit local(checked_peer& peer) : p(&peer) {}
        void* alloc() {
            void* object = std::malloc(256);
            const std::lock_guard guard(p->lock);
            p->live.insert(object);
            p->most = std::max(p->most, p->live.size());
            ++p->allocated;
            return object;
        }
        void free(void* object) {
            const std::lock_guard guard(p->lock);
            if (p->live.erase(object))
                std::free(object);
            else
                ++p->wrong;
        }
        static constexpr size_t size = 256;
        checked_peer* p;
    };

    ~checked_peer() {
        for (void* object : live)
            std::free(object);
    }
};

struct kept { // live objects after the workload, and the most there may ever be
    alloc_job job;
    size_t live, most;
};

class Workload : public testing::TestWithParam<kept> {};

TEST_P(Workload, FreesEachObjectOnceAndKeepsAsManyAsItSays) {
    kept k = GetParam();
    k.job.size = 256;
    k.job.span_ns = 2'000'000;
    checked_peer peer;
    const measured m = run_timed(peer, k.job);
    EXPECT_EQ(peer.wrong, 0u);
    EXPECT_EQ(peer.live.size(), k.live);
    EXPECT_LE(peer.most, k.most);
    EXPECT_LE(peer.most, live_objects(k.job) + 2 * GC_PASS);
    EXPECT_GT(m.ops, 0u);
    EXPECT_LE(m.ops, peer.allocated);
    EXPECT_TRUE(std::isfinite(m.cycles_per_op()));
}

INSTANTIATE_TEST_SUITE_P(
    All, Workload,
    testing::Values(
        kept{{.work = alloc_work::pair}, 0, 1}, kept{{.work = alloc_work::zeroed_pair}, 0, 1},
        kept{{.work = alloc_work::batch, .count = 32, .order = free_order::fifo}, 0, 32},
        kept{{.work = alloc_work::batch, .count = 100, .order = free_order::lifo}, 0, 100},
        kept{{.work = alloc_work::batch, .count = 512, .order = free_order::random}, 0, 512},
        kept{{.work = alloc_work::bulk, .count = 32}, 0, 32},
        kept{{.work = alloc_work::gc, .count = 4096}, 4096, 4096},
        kept{{.work = alloc_work::gc_two_threads, .count = 4096}, 8192, 8192},
        kept{{.work = alloc_work::gc_shared, .count = 16384}, 16384, 16384},
        kept{{.work = alloc_work::producer_consumer},
             0,
             hand_over_ring::BLOCKS* hand_over_ring::OBJECTS + 64}));

TEST(Workloads, RandomOrderIsAPermutation) {
    const uint32_t* p = random_permutation(1000, 3);
    std::vector<bool> seen(1000);
    size_t in_place = 0;
    for (size_t i = 0; i < 1000; ++i) {
        ASSERT_LT(p[i], 1000u);
        EXPECT_FALSE(seen[p[i]]);
        seen[p[i]] = true;
        in_place += p[i] == i;
    }
    EXPECT_LT(in_place, 20u);
}

TEST(Workloads, AnonymousMemoryIsSeen) {
    const size_t before = anonymous_bytes();
    system_array<char>(8 << 20);
    const size_t more = anonymous_bytes() - before;
    EXPECT_GE(more, size_t{8} << 20);
    EXPECT_LE(more, size_t{10} << 20);
}

/// Every peer does every kind of workload, in a child as in the program.
class Peer : public testing::TestWithParam<size_t> {};

TEST_P(Peer, DoesEveryWorkloadOrSaysWhyNot) {
    const alloc_peer& peer = alloc_peers()[GetParam()];
    std::vector<alloc_work> done;
    for (const alloc_workload& w : alloc_workloads()) {
        if (std::find(done.begin(), done.end(), w.job.work) != done.end())
            continue; // one of each kind
        if (peer.column.kind == peer_kind::reference && w.job.work >= alloc_work::gc_two_threads)
            break; // knows no threads
        done.push_back(w.job.work);
        alloc_job job = w.job;
        job.span_ns = 1'000'000;
        job.count = std::min<size_t>(job.count, 4096);
        const child_result r =
            run_in_child([&](child_result& out) { peer.run(peer, job, out); }, 60);
        EXPECT_EQ(r.error, "") << peer.column.name << " " << w.name;
        if (peer.library && !r.skipped.empty())
            GTEST_SKIP() << r.skipped;
        EXPECT_EQ(r.skipped, "") << peer.column.name << " " << w.name;
        EXPECT_NE(r.samples.empty(), r.skipped.empty()) << peer.column.name << " " << w.name;
        for (const auto& [metric, value] : r.samples)
            EXPECT_TRUE(std::isfinite(value)) << peer.column.name << " " << w.name << " " << metric;
    }
}

INSTANTIATE_TEST_SUITE_P(All, Peer, testing::Range(size_t{0}, alloc_peers().size()),
                         [](const auto& i) { return alloc_peers()[i.param].column.name; });

TEST(Malloc, ALibraryThatIsNotThereIsASentence) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "no other malloc under a sanitizer";
#endif
    malloc_entry none = jemalloc;
    none.soname = "libnone-at-all.so.7";
    malloc_library lib;
    EXPECT_THAT(open_malloc_library(none, false, &lib), HasSubstr("libnone-at-all.so.7"));
    malloc_entry other = tcmalloc_minimal; // loads its malloc from the C library it depends on
    other.alloc = "getenv";
    const child_result r = run_in_child(
        [&](child_result& out) { out.skipped = open_malloc_library(other, false, &lib); }, 30);
    if (r.skipped.find("Debian:") == std::string::npos) { // it is installed
        EXPECT_THAT(r.skipped, HasSubstr("turns out to be that of"));
    }
}

TEST(Targets, AreJudgedByMediansInOneRun) {
    std::vector<bench_peer> columns;
    for (const alloc_peer& p : alloc_peers())
        columns.push_back(p.column);
    bench_report r("alloc", {{"cycles", "TSC cycles", ""}, {"bytes_per_object", "bytes", ""}},
                   columns);
    r.add("pair/192", "lifo", "cycles", 2);
    r.add("pair/192", "tcmalloc", "cycles", 10);
    r.add("pair/192", "glibc", "cycles", 20);
    r.add("pair/192", "slab_handle", "cycles", 2.4); // 1.2 of the bare array: met
    r.add("pair/192", "slab_cache", "cycles", 5.1);  // 0.51 of tcmalloc: missed
    r.add("memory_1M/192", "slab_handle", "bytes_per_object", 193.4);
    r.add("memory_1M/200", "slab_handle", "bytes_per_object", 203);
    unsigned missed = 99;
    const std::string text = alloc_targets_text(r, &missed);
    EXPECT_EQ(missed, 2u) << text;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4) << text;
    EXPECT_THAT(text, HasSubstr("0.51x tcmalloc"));
}

} // namespace
} // namespace slabfwd
