// SPDX-License-Identifier: BSD-3-Clause
//
// The matches whose answer depends on the packets before: limit (a bucket of nanoseconds) and
// statistic (every nth, or by chance). Door: the xt_match table. Threads: any worker; the state of
// a rule is shared by all: a lock for the bucket, compare-and-exchange for the count. It lives as
// long as the rule, whatever happens to the rules around it. Origin: net/netfilter/nft_limit.c
// (into which iptables makes -m limit), xt_statistic.c (6.18).
#include <algorithm>

#include "alloc/spinlock.h"
#include "dataplane/netfilter/x_tables.h"
#include "neigh/softnet.h"

namespace slabfwd::xt {

namespace {

/// Origin: struct nft_limit_priv.
struct limit_state {
    spinlock_t lock;
    uint64_t last, tokens, tokens_max, cost; ///< ns
};

/// The rate that iptables hands to the kernel for an average of avg/10000 s: a whole number per
/// second, minute, hour or day, whichever is exact enough. Origin: add_nft_limit of iptables.
struct limit_rate {
    uint64_t rate, unit_ns;
};
limit_rate rate_of(uint32_t avg) {
    constexpr uint64_t seconds[] = {24 * 60 * 60, 60 * 60, 60, 1};
    uint64_t unit = seconds[0];
    for (unsigned i = 1; i < std::size(seconds); ++i) {
        uint64_t mult = seconds[i] * XT_LIMIT_SCALE;
        if (avg > mult || mult / avg < mult % avg)
            break;
        unit = seconds[i];
    }
    return {std::max<uint64_t>(1, unit * XT_LIMIT_SCALE / avg), unit * NSEC_PER_SEC};
}

} // namespace

std::shared_ptr<void> limit_mt_state(const void* info) {
    const auto& i = *static_cast<const xt_limit*>(info);
    limit_rate r = rate_of(i.avg);
    auto s = std::make_shared<limit_state>();
    s->cost = r.unit_ns / r.rate;
    s->tokens = s->tokens_max = s->cost * i.burst;
    s->last = this_softnet()->now_ns;
    return s;
}

bool limit_mt(xt_action_param&, const void*, void* state) {
    auto& s = *static_cast<limit_state*>(state);
    const uint64_t now = this_softnet()->now_ns;
    spin_guard guard(s.lock);
    // Another slot's clock may be a turn ahead.
    uint64_t tokens = s.tokens + (now > s.last ? now - s.last : 0);
    tokens = std::min(tokens, s.tokens_max);
    s.last = std::max(s.last, now);
    bool pass = tokens >= s.cost;
    s.tokens = pass ? tokens - s.cost : tokens;
    return pass;
}

std::shared_ptr<void> statistic_mt_state(const void* info) {
    return std::make_shared<std::atomic<uint32_t>>(static_cast<const xt_statistic*>(info)->count);
}

bool statistic_mt(xt_action_param&, const void* info, void* state) {
    const auto& i = *static_cast<const xt_statistic*>(info);
    if (i.mode == XT_STATISTIC_RANDOM)
        return ((get_random_u32() & 0x7fffffff) < i.probability) != bool(i.invert);
    auto& count = *static_cast<std::atomic<uint32_t>*>(state);
    uint32_t old = count.load(std::memory_order_relaxed), next;
    do
        next = old == i.every ? 0 : old + 1;
    while (!count.compare_exchange_weak(old, next, std::memory_order_relaxed));
    return (next == 0) != bool(i.invert);
}

} // namespace slabfwd::xt
