// SPDX-License-Identifier: BSD-3-Clause
//
// alloc_test.h - what the tests of alloc/ share: the tuning under test and a catcher of reports.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "alloc/kmalloc.h"
#include "alloc/kmem_cache.h"
#include "alloc/slabinfo.h"

namespace slabfwd::test {

#if defined(SLAB_TEST_LINUX_TUNING)
inline constexpr slab_tuning tuning = slab_tuning::linux_5_2;
#else
inline constexpr slab_tuning tuning = slab_tuning::throughput;
#endif
inline const int tuning_set = slab_set_tuning(tuning);

/// The back end under test: SLAB, or SLUB with SLAB_TEST_ALLOCATOR=slub in the environment.
inline const bool slub = [] {
    const char* name = std::getenv("SLAB_TEST_ALLOCATOR");
    return name && std::strcmp(name, "slub") == 0;
}();
inline const int allocator_set =
    slab_set_allocator(slub ? slab_allocator::slub : slab_allocator::slab);

/// Collects what the allocator reports while it lives.
class reports {
public:
    reports() {
        lines().clear();
        slab_set_report([](const char* line) {
            const std::lock_guard guard(mutex());
            lines().emplace_back(line);
        });
    }
    ~reports() { slab_set_report(nullptr); }
    bool has(const std::string& part) const {
        for (const std::string& l : lines())
            if (l.find(part) != l.npos)
                return true;
        return false;
    }
    std::size_t count() const { return lines().size(); }
    std::string text() const {
        std::string all;
        for (const std::string& l : lines())
            all += l + "\n";
        return all;
    }

private:
    static std::vector<std::string>& lines() {
        static std::vector<std::string> v;
        return v;
    }
    static std::mutex& mutex() {
        static std::mutex m;
        return m;
    }
};

inline ::testing::AssertionResult is_valid(kmem_cache* cache) {
    std::string why;
    if (kmem_cache_is_valid(cache, &why))
        return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << cache->name << ": " << why;
}

inline ::testing::AssertionResult all_valid() {
    for (const slabinfo& s : slabinfo_list())
        if (auto r = is_valid(find_cache(s.name)); !r)
            return r;
    std::string why;
    if (!page_alloc_is_valid(&why))
        return ::testing::AssertionFailure() << "pages: " << why;
    return ::testing::AssertionSuccess();
}

} // namespace slabfwd::test
