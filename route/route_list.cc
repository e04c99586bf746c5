// SPDX-License-Identifier: BSD-3-Clause
//
// What a burst costs that the cache does not know and that does not pay for entries: a flood. For a
// packet whose flow is not admitted, the compiled table leads to a next hop, and its own entry says
// all the rest; it was made by the full rules under this generation. So only what differs from
// packet to packet is asked: the addresses, and that neither is one of ours.
// Door: ip_route_input_list. Threads: on the slot that owns the shard, under RCU.
// Origin: none in the kernel; the decisions are those of ip_route_input_slow (6.18).
#include <bit>

#include "route/fib_lpm.h"
#include "route/fib_rules.h"
#include "route/fib_zone.h"
#include "route/route_cache.h"

namespace slabfwd {

namespace {

/// What is the same for all packets of a burst.
struct burst_rules {
    rt_hash_shard* shard;
    net_device* dev;
    unsigned cpu;
    uint32_t genid;
    const fib_lpm* lpm = nullptr;   ///< null: the rules are not the simple ones
    const fn_zone* own32 = nullptr; ///< own addresses
    unsigned longest_other = 0;     ///< length of the local table's other prefixes

    burst_rules(softnet_data* sd, net_device* d)
        : shard(sd->rt_shard), dev(d), cpu(sd->cpu), genid(rt_genid(*sd->nd_net)) {
        const net& n = *sd->nd_net;
        const fib_net* fn = n.ipv4.fib;
        const in_device* in_dev = __in_dev_get_rcu(d);
        if (!in_dev || !IN_DEV_FORWARD(in_dev) || IN_DEV_RPFILTER(in_dev) || d->master_ifindex ||
            fib4_has_custom_rules(n) ||
            fn->fib_has_custom_local_routes.load(std::memory_order_relaxed) ||
            n.ipv4.peers->learned.load(std::memory_order_relaxed) || !n.ipv4.rt.admission ||
            !rt_caching(n, shard) ||
            dst_entries_get_fast(&shard->ipv4_dst_ops) < shard->ipv4_dst_ops.gc_thresh)
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
    /// The next hop's own entry for a packet whose flow is not admitted; null: by the full rules.
    rtable* route(const iphdr* iph, uint32_t hash) const {
        if (!usual(iph->daddr) || !usual(iph->saddr))
            return nullptr;
        const fib_leaf* leaf = fib_lpm_find(lpm, iph->daddr);
        if (!leaf->fi || leaf->type != RTN_UNICAST || leaf->plen <= longest_other ||
            leaf->fi->fib_nhs != 1)
            return nullptr;
        rtable* own = leaf->fi->fib_nh_[0].nh_rth_input[cpu];
        if (!own || own->rt_genid != genid || own->plain() != 1 || own->dst.dev == dev)
            return nullptr;
        const rt_key key = rt_make_key(iph->daddr, iph->saddr, dev->ifindex, 0, 0, iph->tos);
        if (rt_cache_probe(shard, key, hash) || fn_zone_find(own32, iph->daddr) ||
            fn_zone_find(own32, iph->saddr) || rt_admit(shard, hash, key))
            return nullptr;
        return own;
    }
};

} // namespace

uint32_t ip_route_input_list(softnet_data* sd, net_device* dev, iphdr* const* iph, uint32_t missed,
                             rtable** rt) {
    const burst_rules rules(sd, dev);
    uint32_t hash[32];
    const uint64_t seed = rules.shard->rt_hash_seed;
    for (uint32_t m = missed; m; m &= m - 1) {
        const auto i = unsigned(std::countr_zero(m));
        hash[i] = rt_hash_seeded(iph[i]->daddr, iph[i]->saddr, uint32_t(dev->ifindex), seed);
        if (rules.lpm)
            fib_lpm_prefetch(rules.lpm, iph[i]->daddr);
        else
            fib_lookup_prefetch(*sd->nd_net, iph[i]->daddr);
        __builtin_prefetch(rt_admit_slot(rules.shard, hash[i]), 1);
    }
    if (!rules.lpm)
        return 0;
    uint32_t done = 0;
    for (uint32_t m = missed; m; m &= m - 1) {
        const auto i = unsigned(std::countr_zero(m));
        rt[i] = rules.route(iph[i], hash[i]);
        done |= uint32_t(rt[i] != nullptr) << i;
    }
    const auto n = unsigned(std::popcount(done));
    sd->rt_stat[rt_cache_stat::missed].add(n);
    sd->rt_stat[rt_cache_stat::in_slow_tot].add(n);
    sd->rt_stat[rt_cache_stat::uncached].add(n);
    return done;
}

} // namespace slabfwd
