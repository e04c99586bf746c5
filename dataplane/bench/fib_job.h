// SPDX-License-Identifier: BSD-3-Clause
//
// What the parts of `slabfwd bench fib` share. Threads: none of its own.
#pragma once

#include "dataplane/bench/route_cache.h"

namespace slabfwd {

constexpr unsigned FIB_BURST = 32;
constexpr size_t FIB_ADDRESSES = size_t(1) << 20;
constexpr unsigned CHANGES_PER_SECOND = 10'000;

struct fib_job {
    const std::vector<prefix>* routes;
    const std::vector<uint32_t>* addresses; ///< FIB_ADDRESSES of them, host order
    double span_ns;
    bool patient; ///< rte_lpm was asked for by name
};

/// A configuration of the route of p by next hop nh, as `ip route add` makes it.
fib_config bench_route(prefix p, unsigned nh);

/// Lookups beside CHANGES_PER_SECOND additions and deletions a second: both rates, and the wrong
/// answers by a linear model.
void run_fib_changes(const fib_job& job, child_result& out);

} // namespace slabfwd
