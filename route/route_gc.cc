// SPDX-License-Identifier: BSD-3-Clause
//
// Collection of route-cache entries: on demand when dst_alloc finds too many (rt_garbage_collect),
// and periodically (rt_check_expire). Also the limits themselves: what share of gc_thresh and
// max_size a shard has.
//
// The goal, the equilibrium and the halving age limit are 2.6.32's. What differs is the amount of
// work: the kernel sweeps the whole table in one go, here a call looks at no more than RT_GC_BATCH
// entries, oldest first (rt_hash_shard::lru_head), and those that are kept go to the tail. So no
// packet waits for a sweep. Threads: on the slot that owns the shard; rt_sysctl_changed on the
// control thread. Origin: rt_garbage_collect, rt_check_expire, rt_may_expire, rt_score in
// net/ipv4/route.c of 2.6.32.
#include <algorithm>

#include "route/route_cache.h"

namespace slabfwd {

namespace {

constexpr unsigned CHECK_BATCH = 256; // entries that one run of the periodic check looks at

uint32_t age_of(const rtable* rt, jiffies_t now) {
    return uint32_t(now) - rt->dst.lastuse;
}

// Received broadcasts and multicasts that stand in the way of others in their chain.
bool rt_fast_clean(const rtable* rt) {
    return (rt->rt_flags & (RTCF_BROADCAST | RTCF_MULTICAST)) && rt->key.iif && rt->dst.rt_next;
}

bool rt_valuable(const rtable* rt) {
    return (rt->rt_flags & (RTCF_REDIRECTED | RTCF_NOTIFY)) || rt->dst.expires;
}

// Stale and not used since: it only keeps an old fib_info alive.
bool rt_is_expired(const rtable* rt, jiffies_t now) {
    const net& n = *rt->dst.ops->sd->nd_net;
    return rt->rt_genid != rt_genid(n) && age_of(rt, now) >= HZ;
}

} // namespace

bool rt_may_expire(const rtable* rt, uint32_t tmo, uint32_t tmo_valuable, jiffies_t now) {
    if (rt->dst.__refcnt)
        return false;
    if (rt->dst.expires && time_after_eq(now, rt->dst.expires))
        return true;
    uint32_t age = age_of(rt, now);
    return !((age <= tmo && !rt_fast_clean(rt)) || (age <= tmo_valuable && rt_valuable(rt)));
}

uint32_t rt_score(const rtable* rt, jiffies_t now) {
    uint32_t score = ~age_of(rt, now) & ~(3u << 30);
    if (rt_valuable(rt))
        score |= 1u << 31;
    if (!rt->key.iif || !(rt->rt_flags & (RTCF_BROADCAST | RTCF_MULTICAST | RTCF_LOCAL)))
        score |= 1u << 30; // own routes and forwarded flows before what ends here
    return score;
}

namespace {

const rt_bucket* bucket_of(const rt_hash_shard* shard, const rtable* rt) {
    return &shard->rt_hash_table[rt_hash_of(shard, rt->key) & shard->rt_hash_mask];
}

// Asks for what the removal of the entries behind rt will read, each a step before it is followed:
// the fifth one's lines, the fourth one's bucket, then along the chains, where the oldest is last.
// (Inline, since gcc takes a function that only prefetches for one without effects.)
[[gnu::always_inline]] inline void rt_gc_prefetch(const rt_hash_shard* shard, const rtable* rt) {
    const rtable* ahead[5] = {rt};
    for (unsigned i = 1; i < 5; ++i)
        if (!(ahead[i] = ahead[i - 1]->lru_next))
            return;
    if (const rtable* head = bucket_of(shard, ahead[1])->head(); head && head->dst.rt_next)
        __builtin_prefetch(head->dst.rt_next->rt_next);
    if (const rtable* head = bucket_of(shard, ahead[2])->head())
        __builtin_prefetch(head->dst.rt_next);
    __builtin_prefetch(bucket_of(shard, ahead[3])->head());
    if (const rtable* fifth = ahead[4]->lru_next) {
        __builtin_prefetch(bucket_of(shard, ahead[4]));
        rt_prefetch(fifth);
    }
}

// Looks at up to *budget entries, frees up to goal of them. Returns how many it freed. The list is
// in the order in which entries were entered or looked at, so an entry that nobody used since, and
// that is too young to go, is the oldest: those behind it need not be looked at.
unsigned rt_gc_slice(rt_hash_shard* shard, unsigned goal, uint32_t expire, jiffies_t now,
                     unsigned* budget) {
    unsigned freed = 0;
    for (; *budget && freed < goal && shard->lru_head; --*budget) {
        rtable* rt = shard->lru_head;
        if (shard->gc_ahead)
            --shard->gc_ahead;
        else
            rt_gc_prefetch(shard, rt);
        if (rt_is_expired(rt, now) || rt_may_expire(rt, expire, expire, now)) {
            rt_remove(shard, rt);
            ++freed;
        } else if (!rt->dst.__refcnt && !rt_valuable(rt) && rt->dst.lastuse == rt->rt_listed) {
            break;
        } else {
            rt_lru_rotate(shard, rt);
        }
    }
    return freed;
}

// How many entries are to go. Entries that wait for the end of the burst have gone already.
int64_t rt_gc_goal(rt_hash_shard* shard, int elasticity) {
    int64_t entries = int64_t(shard->ipv4_dst_ops.entries) - shard->nr_free_counted;
    int64_t buckets = int64_t(shard->rt_hash_mask) + 1;
    int64_t& equilibrium = shard->gc_equilibrium;
    int64_t goal = entries - elasticity * buckets;
    if (goal > 0) { // dangerous area: reduce the cache aggressively
        goal = std::max(goal >> 1, buckets);
        equilibrium = entries - goal;
        return goal;
    }
    equilibrium = std::max<int64_t>(equilibrium, shard->ipv4_dst_ops.gc_thresh);
    goal = entries - equilibrium;
    if (goal > 0) {
        equilibrium += std::min(goal >> 1, buckets);
        goal = entries - equilibrium;
    }
    return goal;
}

// The goal was met: entries may live longer again.
void rt_gc_work_done(rt_hash_shard* shard) {
    const rt_sysctls& rt = rt_shard_net(shard).ipv4.rt;
    shard->gc_expire += uint32_t(rt.gc_min_interval);
    if (shard->gc_expire > uint32_t(rt.gc_timeout) ||
        dst_entries_get_fast(&shard->ipv4_dst_ops) < shard->ipv4_dst_ops.gc_thresh)
        shard->gc_expire = uint32_t(rt.gc_timeout);
}

bool rt_has_room(const rt_hash_shard* shard) {
    return dst_entries_get_fast(&shard->ipv4_dst_ops) < shard->max_size;
}

// At max_size: under the kernel's rule, entries that only wait for the end of the burst count as
// room (there they wait for a grace period); by default max_size holds at every moment, and the
// caller has an alternative.
bool rt_gc_overflow(rt_hash_shard* shard, bool freed) {
    if (rt_has_room(shard) || (freed && !rt_shard_net(shard).ipv4.rt.admission))
        return true;
    RT_CACHE_STAT_INC(rt_cache_stat::gc_dst_overflow);
    if (!rt_shard_net(shard).ipv4.rt.admission)
        net_warn_ratelimited("dst cache overflow");
    return false;
}

} // namespace

void rt_gc_ahead::begin(unsigned n) {
    for (const rtable* rt = shard->lru_head; rt && count < n; rt = rt->lru_next) {
        entry[count++] = rt;
        prefetch_l2(bucket_of(shard, rt));
    }
    shard->gc_ahead = count;
    shard->gc_next = count ? entry[count - 1]->lru_next : nullptr;
}

void rt_gc_ahead::ask_for_heads() {
    for (unsigned i = 0; i < count; ++i)
        prefetch_l2(at[i] = bucket_of(shard, entry[i])->head());
}

void rt_gc_ahead::ask_for_chains() {
    // The loads of a round are independent of one another: it costs about one access to memory.
    constexpr int ROUNDS = 8;
    uint64_t going = count;
    for (int round = 0; going && round < ROUNDS; ++round) {
        going = 0;
        for (unsigned i = 0; i < count; ++i)
            if (at[i] && at[i] != entry[i]) {
                prefetch_l2(at[i] = rt_next_in_chain(at[i]));
                ++going;
            }
    }
}

bool __rt_garbage_collect(rt_hash_shard* shard, int elasticity, jiffies_t min_interval) {
    jiffies_t now = jiffies();
    RT_CACHE_STAT_INC(rt_cache_stat::gc_total);
    if (now - shard->last_gc < min_interval && rt_has_room(shard)) {
        RT_CACHE_STAT_INC(rt_cache_stat::gc_ignored);
        return true;
    }
    int64_t goal = rt_gc_goal(shard, elasticity);
    if (now - shard->last_gc >= min_interval)
        shard->last_gc = now;
    if (goal <= 0) {
        shard->gc_equilibrium += goal;
        rt_gc_work_done(shard);
        return rt_gc_overflow(shard, shard->nr_free_counted);
    }
    // By default room is made for a burst at a time, since what is freed counts to the end of this
    // one.
    if (!rt_has_room(shard) && rt_shard_net(shard).ipv4.rt.admission)
        goal = std::max<int64_t>(goal, std::min(RT_GC_BATCH / 2, shard->nr_cached / 4 + 1));
    const unsigned batch = std::min(RT_GC_BATCH, shard->nr_cached);
    const auto slice = unsigned(std::min<int64_t>(goal, batch));
    unsigned budget = batch;
    unsigned freed = rt_gc_slice(shard, slice, shard->gc_expire, now, &budget);
    if (freed >= slice) {
        rt_gc_work_done(shard);
    } else {
        RT_CACHE_STAT_INC(rt_cache_stat::gc_goal_miss);
        shard->gc_expire >>= 1;
        // The kernel halves the limit again and again where it may take its time. Here the entries
        // that were not looked at yet bound the time, and a flow that pays shall have its entry.
        const bool pays = rt_shard_net(shard).ipv4.rt.admission;
        while (pays && !freed && budget && shard->gc_expire && !rt_has_room(shard)) {
            freed = rt_gc_slice(shard, 1, shard->gc_expire, now, &budget);
            if (!freed)
                shard->gc_expire >>= 1;
        }
    }
    shard->gc_looked_max = std::max(shard->gc_looked_max, batch - budget);
    trace_packet(nullptr, "goal %lld, %u of %u freed, age limit %u jiffies", (long long)goal, freed,
                 slice, shard->gc_expire);
    return rt_gc_overflow(shard, freed || shard->nr_free_counted);
}

bool rt_garbage_collect(dst_ops* ops) {
    rt_hash_shard* shard = rt_shard_of(ops);
    const rt_sysctls& rt = rt_shard_net(shard).ipv4.rt;
    return __rt_garbage_collect(shard, rt.gc_elasticity, jiffies_t(rt.gc_min_interval.get()));
}

bool rt_shrink_neighbours(rt_hash_shard* shard) {
    unsigned freed = 0;
    for (unsigned budget = std::min(RT_GC_BATCH, shard->nr_cached); budget; --budget) {
        rtable* rt = shard->lru_head;
        if (rt->dst.__refcnt || !rt->dst.neighbour) {
            rt_lru_rotate(shard, rt);
            continue;
        }
        // Packets of this burst may still read the pointer: RCU keeps what it points to.
        neigh_release(rt->dst.neighbour);
        rt->rt_neigh_lent = true;
        rt_remove(shard, rt);
        ++freed;
    }
    return freed;
}

// ---- the periodic check

namespace {

// Of all entries, gc_interval / gc_timeout are looked at in each gc_interval, in runs of
// CHECK_BATCH.
jiffies_t check_period(const rt_hash_shard* shard) {
    const rt_sysctls& rt = rt_shard_net(shard).ipv4.rt;
    uint64_t interval = uint64_t(std::max(1, rt.gc_interval.get()));
    uint64_t timeout = uint64_t(std::max(1, rt.gc_timeout.get()));
    uint64_t goal = std::max<uint64_t>(shard->nr_cached * interval / timeout, 1);
    uint64_t runs = (goal + CHECK_BATCH - 1) / CHECK_BATCH;
    return std::max<jiffies_t>(interval / runs, 1);
}

bool rt_check_one(const rtable* rt, uint32_t timeout, jiffies_t now) {
    if (rt->dst.__refcnt)
        return false;
    if (!rt_usable(rt, now) || rt_is_expired(rt, now))
        return true;
    return !rt->dst.expires && rt_may_expire(rt, timeout, timeout, now);
}

// The secret is changed from time to time, so that what was found out about it loses its worth.
// Only where the hash is small enough to be reordered at once; a long chain of held entries changes
// it in any case.
void rt_secret_rebuild(rt_hash_shard* shard, jiffies_t now) {
    constexpr uint32_t REBUILD_MAX = 65536;
    int interval = rt_shard_net(shard).ipv4.rt.secret_interval;
    if (interval > 0 && now - shard->last_rebuild >= jiffies_t(interval) &&
        shard->nr_cached <= REBUILD_MAX)
        rt_rebuild(shard);
}

} // namespace

void rt_periodic_start(rt_hash_shard* shard) {
    if (!timer_pending(&shard->periodic))
        mod_timer_on(shard->sd->timers, &shard->periodic, jiffies() + check_period(shard));
}

void rt_check_expire(timer_list* timer) {
    auto* shard = reinterpret_cast<rt_hash_shard*>(reinterpret_cast<char*>(timer) -
                                                   offsetof(rt_hash_shard, periodic));
    jiffies_t now = jiffies();
    auto timeout = uint32_t(rt_shard_net(shard).ipv4.rt.gc_timeout);
    for (unsigned budget = std::min(CHECK_BATCH, shard->nr_cached); budget; --budget) {
        rtable* rt = shard->lru_head;
        if (rt_check_one(rt, timeout, now))
            rt_remove(shard, rt);
        else
            rt_lru_rotate(shard, rt);
    }
    rt_secret_rebuild(shard, now);
    if (shard->nr_cached)
        rt_periodic_start(shard);
}

// ---- limits

namespace {
// The control slot sends next to nothing: it gets a sixteenth, 64 at most; the workers share the
// rest evenly.
uint32_t share_of(uint32_t total, unsigned cpu, unsigned nr_workers) {
    uint32_t control = std::min(64u, total / 16);
    if (cpu == nr_workers)
        return control;
    total -= control;
    return total / nr_workers + (cpu < total % nr_workers);
}
} // namespace

void rt_shard_limits(rt_hash_shard* shard) {
    const net& n = rt_shard_net(shard);
    auto share = [&](int total) {
        return share_of(uint32_t(std::max(total, 0)), shard->sd->cpu, n.nr_workers);
    };
    shard->ipv4_dst_ops.gc_thresh = share(n.ipv4.rt.gc_thresh);
    shard->max_size = share(n.ipv4.rt.max_size);
    shard->gc_equilibrium = 0;
    if (!rt_caching(n, shard))
        rt_shard_flush(shard);
    while (shard->nr_cached > shard->max_size)
        rt_remove(shard, shard->lru_head);
}

void rt_sysctl_changed(net& n) {
    on_each_cpu(
        n,
        [](void*) {
            if (rt_hash_shard* shard = this_softnet()->rt_shard)
                rt_shard_limits(shard);
        },
        nullptr);
    rt_cache_flush(n); // mtu and redirect rules may have changed with them
}

} // namespace slabfwd
