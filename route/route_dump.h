// SPDX-License-Identifier: BSD-3-Clause
//
// What the cache says of one flow, for `ip -s route get`. Door: rt_cache_find. Threads: control
// thread; the owners look in their loops.
#pragma once

#include <cstdint>

#include "neigh/jiffies.h"
#include "route/route.h"

namespace slabfwd {

/// The entries of one key and of the current generation, of all shards that were asked: a flow that
/// several workers receive has one on each.
struct rt_cache_flow {
    unsigned entries = 0; ///< 0: no packet of the flow would hit
    uint32_t users = 0;   ///< references beside the cache's
    uint64_t used = 0;    ///< packets that took an entry
    uint32_t age = 0;     ///< jiffies since the last one did
};
/// Looks for key in every worker's shard, and in the control slot's when `control`: that one
/// carries own packets, and what `ip route get` asked. No use is counted.
rt_cache_flow rt_cache_find(net& n, const rt_key& key, bool control);

} // namespace slabfwd
