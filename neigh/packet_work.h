// SPDX-License-Identifier: BSD-3-Clause
//
// packet_work: the most that one packet has made a slot look at, by kind. It is a bound that no
// table's size may move; tests and `ctl stages` ask for it.
// Door: packet_work_seen, packet_work_most. Threads: each slot writes its own line, anybody reads.
#pragma once

#include "neigh/softnet.h"

namespace slabfwd {

enum class packet_work : uint8_t {
    entries, ///< of the route cache, in one chain (collection: rt_hash_shard::gc_looked_max)
    routes,  ///< of one prefix
    rules,   ///< of routing by one lookup, of netfilter in one table
    MAX
};

/// Slots with a line of their own; further ones share them.
constexpr unsigned PACKET_WORK_SLOTS = 128;

struct alignas(64) packet_work_line {
    unsigned most[unsigned(packet_work::MAX)] = {};
};
/// By slot, for the whole process.
extern packet_work_line packet_work_lines[PACKET_WORK_SLOTS];

/// A packet has made the slot look at n: the most is kept.
inline void packet_work_seen(const softnet_data& sd, packet_work kind, unsigned n) {
    unsigned& most = packet_work_lines[sd.cpu % PACKET_WORK_SLOTS].most[unsigned(kind)];
    if (unlikely(n > READ_ONCE(most)))
        WRITE_ONCE(most, n);
}
/// The most of any slot, since the process began.
unsigned packet_work_most(packet_work kind);

} // namespace slabfwd
