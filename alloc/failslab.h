// SPDX-License-Identifier: BSD-3-Clause
//
// failslab.h - allocations that fail on purpose.
//
// Doors: failslab_set(), fail_page_alloc_set(), *_off(). `struct fault_attr` says which calls fail.
// Threads: set and cleared by any thread; calls of all threads are counted together. For the
// setting thread and threads that have gone it is in force at once, for others when they have
// used up what is in their arrays or called slab_cpu_serve().
// Cost: none on the fast path when off; when on, every call takes the slow way.
// Origin: mm/failslab.c, mm/page_alloc.c (fail_page_alloc), lib/fault-inject.c of Linux v5.2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "gfp.h"

namespace slabfwd {

struct kmem_cache;

/// Which calls fail. A call that is looked at counts; it fails when it is the nth one, or when
/// `space` is used up, it is one of every `interval` and the dice of `probability` percent say so;
/// never more than `times` calls fail.
struct fault_attr {
    unsigned probability = 100; ///< percent
    unsigned interval = 1;      ///< one call of so many
    int times = -1;             ///< failures at most; -1: without end
    std::size_t space = 0;      ///< so many bytes are allocated before anything fails
    int verbose = 0;            ///< 1: a report of each failure; 2: with the stack
    std::uint64_t nth = 0;      ///< exactly the nth call from now on (from 1) fails; 0: by interval
    bool cache_filter = false;  ///< only caches with SLAB_FAILSLAB
    bool ignore_gfp_reclaim = false; ///< leave alone calls with __GFP_DIRECT_RECLAIM
    kmem_cache* only = nullptr;      ///< only this cache; NULL: all
    char name[64] = {};              ///< only caches of this name (wildcards); empty: all
};

/// What happened since the attribute was set.
struct fault_stats {
    std::uint64_t seen = 0;   ///< calls that were looked at
    std::uint64_t failed = 0; ///< calls that were made to fail
};

/// Make kmem_cache_alloc() and kmalloc() fail.
void failslab_set(const fault_attr& attr);
void failslab_off();
fault_stats failslab_stats();

/// The same from text: "interval,probability,space,times" (the kernel's boot option failslab=, all
/// four), or "KEY=VALUE,..." with the keys interval, probability, space, times, nth, verbose, cache
/// (its name, with wildcards), cache-filter and ignore-gfp-wait (0 or 1); "off". 0 or -EINVAL.
int setup_failslab(std::string_view text);

/// Make alloc_pages() fail (`only` and `cache_filter` mean nothing here).
void fail_page_alloc_set(const fault_attr& attr);
void fail_page_alloc_off();
fault_stats fail_page_alloc_stats();

/// Is this allocation to fail? (mm/failslab.c)
bool should_failslab(const kmem_cache* cache, gfp_t flags);
/// Is this page allocation to fail?
bool should_fail_alloc_page(gfp_t flags, unsigned order);

} // namespace slabfwd
