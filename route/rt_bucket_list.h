// SPDX-License-Identifier: BSD-3-Clause
//
// Where in the route cache the search for a burst's flows begins: of each its bucket's first entry,
// or that it has none, by the bucket's marks alone (rt_bucket, route.h). The plain version reads
// like the rule; AVX2 asks four at a time and must give the same
// (tests/route/rt_bucket_list_test.cc). Door: rt_bucket_list, the best version for the CPU that the
// program runs on, chosen at start. Threads: the slot that owns the shard; nothing is kept.
// Origin: none; the kernel follows the chain.
#pragma once

#include <span>

#include "route/route.h"

namespace slabfwd {

/// rt[i]: where the search for a flow of hash[i] begins, whose entry is on its way; null: the cache
/// does not have it. Returns these: bit i. n <= PACKET_BURST.
using rt_bucket_list_t = uint32_t(const rt_bucket* table, uint32_t mask, const uint32_t* hash,
                                  unsigned n, rtable** rt);

rt_bucket_list_t rt_bucket_list_plain, rt_bucket_list_avx2;

/// One version and what it is called.
struct rt_bucket_list_version {
    const char* name;
    rt_bucket_list_t* list;
};
/// Those that this CPU can run, the best last.
std::span<const rt_bucket_list_version> rt_bucket_list_versions();

/// The best one.
extern rt_bucket_list_t* const rt_bucket_list;

} // namespace slabfwd
