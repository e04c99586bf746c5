// SPDX-License-Identifier: BSD-3-Clause
//
// failslab.cc - fault injection for caches and pages.
//
// Door: failslab.h.
// Threads: attributes and counts under their own lock; the question "is it on?" is one relaxed
// load, and for caches not even asked unless hooks are set.
// Origin: mm/failslab.c, lib/fault-inject.c of Linux v5.2. Difference: nth counts calls of the
// process, not of a task.
#include "alloc/failslab.h"

#include "alloc/slab.h"

namespace slabfwd {

namespace {

struct injector {
    std::atomic<bool> on{false};
    spinlock_t lock;
    fault_attr attr;
    fault_stats stats;
    std::uint64_t random = 0;

    void set(const fault_attr& a) {
        const spin_guard guard(lock);
        attr = a;
        stats = {};
        random = 0x9e3779b97f4a7c15u; // the same dice in every run
        on.store(true, std::memory_order_relaxed);
    }
    fault_stats get() {
        const spin_guard guard(lock);
        return stats;
    }

    bool dice() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        return random % 100 < attr.probability;
    }
    bool decide() {
        ++stats.seen;
        if (attr.nth)
            return stats.seen == attr.nth;
        if (attr.times == 0 || (attr.interval > 1 && stats.seen % attr.interval) || !dice())
            return false;
        if (attr.times > 0)
            --attr.times;
        return true;
    }
    bool filtered(const kmem_cache* cache, gfp_t flags) const {
        if (attr.ignore_gfp_reclaim && (flags & __GFP_DIRECT_RECLAIM))
            return true;
        return cache && ((attr.only && attr.only != cache) ||
                         (attr.cache_filter && !cache->failslab.load(std::memory_order_relaxed)));
    }
    bool should_fail(const kmem_cache* cache, gfp_t flags) {
        if (!on.load(std::memory_order_relaxed)) [[likely]]
            return false;
        const spin_guard guard(lock);
        if (filtered(cache, flags) || !decide())
            return false;
        ++stats.failed;
        return true;
    }
};

constinit injector failslab;
constinit injector fail_page_alloc;

} // namespace

void failslab_set(const fault_attr& attr) {
    kmem_cache_init();
    failslab.set(attr);
    slab_set_hooks(HOOK_FAILSLAB, 0, attr.only);
}

void failslab_off() {
    failslab.on.store(false, std::memory_order_relaxed);
    slab_set_hooks(0, HOOK_FAILSLAB, nullptr);
}

fault_stats failslab_stats() {
    return failslab.get();
}

void fail_page_alloc_set(const fault_attr& attr) {
    fail_page_alloc.set(attr);
}
void fail_page_alloc_off() {
    fail_page_alloc.on.store(false, std::memory_order_relaxed);
}
fault_stats fail_page_alloc_stats() {
    return fail_page_alloc.get();
}

bool should_failslab(const kmem_cache* cache, gfp_t flags) {
    return failslab.should_fail(cache, flags);
}

bool should_fail_alloc_page(gfp_t flags, unsigned) {
    return fail_page_alloc.should_fail(nullptr, flags);
}

} // namespace slabfwd
