// SPDX-License-Identifier: BSD-3-Clause
//
// What a burst costs that the cache does not know: a flood, or flows on their first packet. The
// compiled table leads to a next hop, and its own entry says all the rest; it was made by the full
// rules under this generation. So only what differs from packet to packet is asked: the addresses,
// that neither is one of ours, and whether the flow pays for an entry: then that is like the next
// hop's, else the packet uses the next hop's own.
// One memory access follows from another (array, group, leaf, next hop; and of the entry that makes
// room: bucket, chain), so the packets of a burst take them in step, each step asked for one before.
// Door: ip_route_input_list. Threads: on the slot that owns the shard, under RCU.
// Origin: none in the kernel; the decisions are those of ip_route_input_slow (6.18).
#include <algorithm>
#include <bit>

#include "neigh/bits.h"
#include "route/fib_lpm.h"
#include "route/fib_rules.h"
#include "route/fib_zone.h"
#include "route/route_cache.h"

namespace slabfwd {

namespace {

constexpr unsigned BURST = 32; // packets, at most: a bit each in `missed`

/// How many entries collection will look at when so many more are wanted.
unsigned entries_over(const rt_hash_shard* shard, unsigned wanted) {
    const dst_ops& ops = shard->ipv4_dst_ops;
    const uint64_t then = uint64_t(dst_entries_get_fast(&ops)) + wanted;
    return unsigned(std::min<uint64_t>(then > ops.gc_thresh ? then - ops.gc_thresh : 0, wanted));
}

/// What is the same for all packets of a burst.
struct burst_rules {
    rt_hash_shard* shard;
    net_device* dev;
    unsigned cpu;
    uint32_t genid;
    bool lends;   ///< what gets no entry uses the next hop's own (net.ipv4.route.admission)
    bool thrifty; ///< only flows that pay get entries
    const fib_lpm* lpm = nullptr;   ///< null: the rules are not the simple ones
    const fn_zone* own32 = nullptr; ///< own addresses
    unsigned longest_other = 0;     ///< length of the local table's other prefixes

    burst_rules(softnet_data* sd, net_device* d)
        : shard(sd->rt_shard), dev(d), cpu(sd->cpu), genid(rt_genid(*sd->nd_net)),
          lends(sd->nd_net->ipv4.rt.admission), thrifty(lends && entries_over(sd->rt_shard, BURST)) {
        const net& n = *sd->nd_net;
        const fib_net* fn = n.ipv4.fib;
        const in_device* in_dev = __in_dev_get_rcu(d);
        if (!in_dev || !IN_DEV_FORWARD(in_dev) || IN_DEV_RPFILTER(in_dev) || d->master_ifindex ||
            fib4_has_custom_rules(n) ||
            fn->fib_has_custom_local_routes.load(std::memory_order_relaxed) ||
            n.ipv4.peers->learned.load(std::memory_order_relaxed) || !shard->max_size ||
            !rt_caching(n, shard))
            return;
        const fn_zone* fz = rcu_dereference(fn->fib_local->tb_data.fn_zone_list);
        if (!fz || fz->fz_order != 32)
            return;
        own32 = fz;
        const fn_zone* other = rcu_dereference(fz->fz_next);
        longest_other = other ? unsigned(other->fz_order) : 0;
        lpm = rcu_dereference(fn->fib_main->tb_lpm);
    }
    static bool usual(be32_t a) {
        const uint32_t top = be32_to_cpu(a) >> 24;
        return top - 1 < 223 && top != 127;
    }
    /// The own entry of the next hop that a packet leaves by; null: by the full rules.
    rtable* own_entry(const iphdr* iph, const fib_leaf* leaf) const {
        if (!usual(iph->daddr) || !usual(iph->saddr))
            return nullptr;
        if (!leaf->fi || leaf->type != RTN_UNICAST || leaf->plen <= longest_other ||
            leaf->fi->fib_nhs != 1)
            return nullptr;
        rtable* own = leaf->fi->fib_nh_[0].nh_rth_input[cpu];
        if (!own || own->rt_genid != genid || own->plain() != 1 || own->dst.dev == dev ||
            !rt_neigh_valid(own->dst.neighbour) || fn_zone_find(own32, iph->daddr) ||
            fn_zone_find(own32, iph->saddr))
            return nullptr;
        return own;
    }
    rt_key key(const iphdr* iph) const {
        return rt_make_key(iph->daddr, iph->saddr, dev->ifindex, 0, 0, iph->tos);
    }
    /// The entry of a packet's flow, if there is one.
    [[gnu::always_inline]] rtable* cached(const iphdr* iph, uint32_t hash) const {
        return rt_cache_probe(shard, key(iph), hash);
    }
    /// May the flow of a packet that has no entry get one?
    [[gnu::always_inline]] bool admits(const iphdr* iph, uint32_t hash) const {
        return !thrifty || rt_admit(shard, hash, key(iph));
    }
};

/// Counts of the packets of a burst.
struct burst_counts {
    unsigned found = 0, entered = 0, lent = 0;

    void add_to(softnet_data* sd) const {
        sd->rt_stat[rt_cache_stat::in_hit].add(found);
        sd->rt_stat[rt_cache_stat::missed].add(entered + lent);
        sd->rt_stat[rt_cache_stat::in_slow_tot].add(entered + lent);
        sd->rt_stat[rt_cache_stat::uncached].add(lent);
    }
};

/// Gives the packets of `todo`, whose rt[i] is their next hop's own entry, theirs. Returns which have it.
uint32_t give_entries(const burst_rules& rules, iphdr* const* iph, const uint32_t* hash, uint32_t todo,
                      rtable** rt, rt_gc_ahead& gc) {
    softnet_data* sd = rules.shard->sd;
    burst_counts counts;
    uint32_t done = 0;
    bool room = true;
    for (uint32_t m = todo; m; m &= m - 1) {
        const auto i = unsigned(std::countr_zero(m));
        gc.one_more();
        if (rtable* old = rules.cached(iph[i], hash[i])) {
            // An earlier packet of this burst has entered it; a stale one is for ip_route_input.
            if (old->rt_genid != rules.genid || old->plain() != 1 || !rt_neigh_valid(old->dst.neighbour))
                continue;
            dst_use_noref(&old->dst, sd->jiffies);
            rt[i] = old;
            ++counts.found;
        } else if (!rules.admits(iph[i], hash[i])) {
            ++counts.lent;
        } else if (!room || rt_chain_is_long(rules.shard, hash[i])) {
            continue; // the full rules find out what is to be done
        } else if (rtable* entry =
                       rt_enter_like(rules.shard, rt[i], iph[i], hash[i], rules.dev->ifindex)) {
            rt[i] = entry;
            ++counts.entered;
        } else if (rules.lends) {
            ++counts.lent; // which is what the full rules would end with
        } else {
            room = false;
            continue;
        }
        done |= 1u << i;
    }
    counts.add_to(sd);
    return done;
}

} // namespace

uint32_t ip_route_input_list(softnet_data* sd, net_device* dev, iphdr* const* iph, const uint32_t* hash,
                             uint32_t missed, rtable** rt) {
    const burst_rules rules(sd, dev);
    rt_hash_shard* shard = rules.shard;
    for_each_bit(missed, [&](unsigned i) {
        if (rules.lpm)
            fib_lpm_prefetch(rules.lpm, iph[i]->daddr);
        else
            fib_lookup_prefetch(*sd->nd_net, iph[i]->daddr);
        if (rules.thrifty)
            __builtin_prefetch(rt_admit_slot(shard, hash[i]), 1);
    });
    if (!rules.lpm)
        return 0;
    rt_gc_ahead gc(shard);
    if (!rules.thrifty)
        gc.begin(entries_over(shard, unsigned(std::popcount(missed))));
    uint32_t first[BURST];
    for_each_bit(missed, [&](unsigned i) {
        first[i] = fib_lpm_first(rules.lpm, iph[i]->daddr);
        fib_lpm_prefetch_second(rules.lpm, iph[i]->daddr, first[i]);
    });
    gc.heads();
    uint32_t todo = 0;
    for_each_bit(missed, [&](unsigned i) {
        rt[i] = rules.own_entry(iph[i], fib_lpm_second(rules.lpm, iph[i]->daddr, first[i]));
        todo |= uint32_t(rt[i] != nullptr) << i;
    });
    gc.chains();
    return give_entries(rules, iph, hash, todo, rt, gc);
}

} // namespace slabfwd
