// SPDX-License-Identifier: BSD-3-Clause
//
// Every operation in random order against a model: the set of live objects with what was written
// into them. An object that is handed out twice, or a byte that the allocator writes into a live
// object, shows as a wrong pattern; everything else in kmem_cache_is_valid().
#include <cerrno>
#include <cstring>
#include <memory>
#include <random>

#include "alloc/failslab.h"
#include "alloc/slab_debug.h"
#include "alloc_test.h"

namespace slabfwd {
namespace {

struct live_object {
    unsigned char* p;
    unsigned char pattern;
};

void construct(void* p) {
    std::memset(p, 0xc7, 8);
}

class model {
public:
    model(const char* name, std::size_t size, slab_flags_t flags, bool ctor)
        : size_(size), ctor_(ctor),
          cache_(kmem_cache_create(name, size, 0, flags, ctor ? construct : nullptr)),
          handle_(kmem_cache_this_cpu(cache_.get())) {}

    ~model() {
        while (!live_.empty())
            free_one(0, 0);
        EXPECT_EQ(get_slabinfo(cache_.get()).active_objs, 0u);
        EXPECT_EQ(slab_bugs(cache_.get()), 0u);
    }

    void alloc_one(unsigned how) {
        const gfp_t flags = GFP_KERNEL | __GFP_NOWARN | (how % 3 == 0 && !ctor_ ? __GFP_ZERO : 0);
        void* p =
            how % 2 ? kmem_cache_alloc(cache_.get(), flags) : kmem_cache_alloc(handle_, flags);
        if (p)
            take(p, flags);
    }

    void free_one(std::size_t index, unsigned how) {
        const live_object o = live_[index];
        live_[index] = live_.back();
        live_.pop_back();
        check(o);
        if (how % 3 == 0)
            kmem_cache_free(cache_.get(), o.p);
        else if (how % 3 == 1)
            kmem_cache_free(handle_, o.p);
        else
            kfree(o.p);
    }

    void alloc_bulk(std::size_t n) {
        std::vector<void*> objs(n);
        const std::size_t got =
            kmem_cache_alloc_bulk(cache_.get(), GFP_KERNEL | __GFP_NOWARN, n, objs.data());
        ASSERT_TRUE(got == 0 || got == n);
        for (std::size_t i = 0; i < got; ++i)
            take(objs[i], 0);
    }

    void free_bulk(std::size_t n, std::mt19937& rng) {
        std::vector<void*> objs;
        for (; n && !live_.empty(); --n) {
            std::swap(live_[rng() % live_.size()], live_.back());
            check(live_.back());
            objs.push_back(live_.back().p);
            live_.pop_back();
        }
        kmem_cache_free_bulk(handle_, objs.size(), objs.data());
    }

    ::testing::AssertionResult valid() {
        if (auto r = test::is_valid(cache_.get()); !r)
            return r;
        const std::size_t active = get_slabinfo(cache_.get()).active_objs;
        if (active != live_.size())
            return ::testing::AssertionFailure()
                   << active << " active, " << live_.size() << " live";
        return ::testing::AssertionSuccess();
    }

    // Misuse, which a cache with debugging has to refuse.
    void misuse(std::mt19937& rng) {
        if (live_.empty() || !(slab_debug_flags(cache_.get()) & (SLAB_HARDENED | SLAB_POISON)))
            return;
        const test::reports quiet;
        const std::uint64_t before = slab_bugs(cache_.get());
        const std::size_t i = rng() % live_.size();
        if (rng() % 2) {
            const live_object o = live_[i];
            free_one(i, rng());
            kmem_cache_free(cache_.get(), o.p);
        } else {
            kmem_cache_free(cache_.get(), live_[i].p + 1 + rng() % (size_ - 1));
        }
        ASSERT_EQ(slab_bugs(cache_.get()), before + 1);
        cache_.get()->bugs = before;
    }

    kmem_cache* cache() { return cache_.get(); }
    std::size_t live() const { return live_.size(); }

private:
    void take(void* raw, gfp_t flags) {
        auto* p = static_cast<unsigned char*>(raw);
        for (std::size_t i = 0; (flags & __GFP_ZERO) && i < size_; ++i)
            ASSERT_EQ(p[i], 0);
        if (ctor_) {
            ASSERT_EQ(p[0], 0xc7) << "constructed state";
            ASSERT_EQ(p[7], 0xc7);
        }
        const live_object o = {p, ++next_};
        std::memset(p + first(), o.pattern, size_ - first());
        live_.push_back(o);
    }
    void check(const live_object& o) {
        for (std::size_t i = first(); i < size_; ++i)
            ASSERT_EQ(o.p[i], o.pattern) << "byte " << i;
    }
    std::size_t first() const { return ctor_ ? 8 : 0; }

    std::size_t size_;
    bool ctor_;
    kmem_cache_ptr cache_;
    kmem_cache_handle handle_;
    std::vector<live_object> live_;
    unsigned char next_ = 0;
};

void control_operation(model& m, std::mt19937& rng) {
    const auto limit = static_cast<unsigned>(1 + rng() % 700);
    switch (rng() % 9) {
    case 7:
        slab_debug_change(m.cache(), SLAB_TRACE, false);
        slab_debug_change(m.cache(), SLAB_CONSISTENCY_CHECKS, rng() % 2);
        break;
    case 8:
        slab_debug_change(m.cache(), SLAB_HARDENED, rng() % 2);
        break;
    case 0:
        kmem_cache_shrink(m.cache());
        break;
    case 1:
        cache_reap();
        break;
    case 2: {
        const int err = kmem_cache_tune(m.cache(), limit, static_cast<unsigned>(1 + rng() % limit),
                                        static_cast<unsigned>(rng() % 10));
        if (test::slub) {
            EXPECT_EQ(err, -EIO);
        } else {
            EXPECT_TRUE(err == 0 || err == -ENOMEM) << err; // pages may be made to fail
        }
        break;
    }
    case 3:
        slab_statistics(m.cache(), rng() % 2);
        break;
    case 4:
        failslab_set({.interval = static_cast<unsigned>(2 + rng() % 20), .only = m.cache()});
        break;
    case 5:
        failslab_off();
        break;
    default:
        fail_page_alloc_set({.interval = 2, .times = 5});
        break;
    }
}

class slab_random : public ::testing::TestWithParam<unsigned> {};

TEST_P(slab_random, against_model) {
    std::mt19937 rng(GetParam());
    std::vector<std::unique_ptr<model>> models;
    models.push_back(std::make_unique<model>("random-24", 24, 0, false));
    models.push_back(std::make_unique<model>("random-200", 200, 0, false));
    models.push_back(std::make_unique<model>("random-256", 256, SLAB_HWCACHE_ALIGN, false));
    models.push_back(std::make_unique<model>("random-ctor", 120, SLAB_TYPESAFE_BY_RCU, true));
    models.push_back(std::make_unique<model>("random-5000", 5000, SLAB_RECLAIM_ACCOUNT, false));
    constexpr slab_flags_t FZPU =
        SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER;
    models.push_back(std::make_unique<model>("random-debug", 100, FZPU, false));
    models.push_back(std::make_unique<model>("random-debug-ctor", 64, FZPU | SLAB_RANDOM, true));
    models.push_back(std::make_unique<model>("random-hard", 192, SLAB_HARDENED, false));
    models.push_back(
        std::make_unique<model>("random-order", 72, SLAB_RANDOM | SLAB_HARDENED, false));
    for (int step = 0; step < 30000; ++step) {
        model& m = *models[rng() % models.size()];
        const unsigned dice = rng() % 1000;
        // The share of allocations swings, so that caches fill and empty.
        const unsigned allocs = (step / 2500) % 2 ? 350 : 600;
        if (dice < allocs)
            m.alloc_one(rng());
        else if (dice < 940 && m.live())
            m.free_one(rng() % m.live(), rng());
        else if (dice < 965)
            m.alloc_bulk(1 + rng() % (rng() % 8 ? 64 : 900));
        else if (dice < 970)
            m.misuse(rng);
        else if (dice < 992)
            m.free_bulk(1 + rng() % (rng() % 8 ? 64 : 900), rng);
        else
            control_operation(m, rng);
        if (step % 250 == 0) {
            for (auto& each : models)
                ASSERT_TRUE(each->valid()) << "step " << step;
        }
        if (::testing::Test::HasFatalFailure())
            return;
    }
    failslab_off();
    fail_page_alloc_off();
    ASSERT_TRUE(test::all_valid());
    models.clear();
    ASSERT_TRUE(test::all_valid());
}
INSTANTIATE_TEST_SUITE_P(seeds, slab_random, ::testing::Range(1u, 9u));

} // namespace
} // namespace slabfwd
