// SPDX-License-Identifier: BSD-3-Clause
//
// What a burst costs that the cache does not know: a flood, or flows on their first packet. The
// table leads to a next hop, and its own entry says all the rest; it was made by the full
// rules under this generation. So only what differs from packet to packet is asked: the addresses,
// that neither is one of ours, and whether the flow pays for an entry: then that is like the next
// hop's, else the packet uses the next hop's own.
// One memory access follows from another (array, group, own entry; and of the entry that makes room:
// bucket, chain), so the packets of a burst take them in step, each step asked for one before.
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

/// How many entries collection will look at when so many more are wanted.
unsigned entries_over(const rt_hash_shard* shard, unsigned wanted) {
    const dst_ops& ops = shard->ipv4_dst_ops;
    const uint64_t then = uint64_t(dst_entries_get_fast(&ops)) + wanted;
    return unsigned(std::min<uint64_t>(then > ops.gc_thresh ? then - ops.gc_thresh : 0, wanted));
}

/// This host's addresses, as the local table has them.
struct own_addresses {
    const uint64_t* used = nullptr;
    uint32_t hashmask = 0;
    const fn_zone* zone = nullptr;

    own_addresses() = default;
    explicit own_addresses(const fn_zone* fz) : zone(fz) {
        const fz_hash_table* ht = rcu_dereference(fz->fz_hash);
        used = ht->used;
        hashmask = ht->hashmask;
    }
    /// By the bits of the zone's buckets, a line or a few, rather than by the buckets: few addresses get past them.
    [[gnu::always_inline]] bool may_be(be32_t a) const {
        const uint32_t h = fn_hashfn(32, a, hashmask);
        return READ_ONCE(used[h >> 6]) >> (h & 63) & 1;
    }
    /// One of them is.
    [[gnu::always_inline]] bool contain(be32_t a, be32_t b) const {
        return unlikely(may_be(a) | may_be(b)) && (fn_zone_find(zone, a) || fn_zone_find(zone, b));
    }
};

/// What is the same for all packets of a burst.
struct burst_rules {
    rt_hash_shard* shard;
    net_device* dev;
    unsigned cpu;
    uint32_t genid;
    jiffies_t now;
    uint32_t chance; ///< of rt_admit
    bool lends;  ///< what gets no entry uses the next hop's own (net.ipv4.route.admission)
    bool full;   ///< entries are for flows that pay, now or before the burst is through
    bool simple = false;          ///< nothing but the table decides; else what follows is not filled in
    const fib_lpm* lpm = nullptr; ///< null: a small table
    own_addresses ours;
    unsigned longest_other = 0; ///< length of the local table's other prefixes

    burst_rules(softnet_data* sd, net_device* d)
        : shard(sd->rt_shard), dev(d), cpu(sd->cpu), genid(rt_genid(*sd->nd_net)), now(sd->jiffies),
          chance(rt_admit_chance(shard)), lends(sd->nd_net->ipv4.rt.admission),
          full(lends && entries_over(shard, PACKET_BURST)) {
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
        ours = own_addresses(fz);
        const fn_zone* other = rcu_dereference(fz->fz_next);
        longest_other = other ? unsigned(other->fz_order) : 0;
        lpm = rcu_dereference(fn->fib_main->tb_lpm);
        simple = true;
    }
    static bool usual(be32_t a) {
        const uint32_t top = be32_to_cpu(a) >> 24;
        return top - 1 < 223 && top != 127;
    }
    /// The own entry that a packet may use, by the table alone: asked for; null: the full rules are to be asked.
    [[gnu::always_inline]] rtable* own_entry(const iphdr* iph, const fib_leaf* leaf) const {
        if (!leaf->nh_rth_input || leaf->plen <= longest_other || !usual(iph->daddr) || !usual(iph->saddr))
            return nullptr;
        rtable* own = leaf->nh_rth_input[cpu];
        __builtin_prefetch(own);
        return own;
    }
    rtable* own_entry_by_zones(const iphdr* iph) const {
        flowi4 fl4;
        fl4.flowi4_iif = dev->ifindex;
        fl4.flowi4_tos = iph->tos & INET_DSCP_MASK;
        fl4.daddr = iph->daddr;
        fl4.saddr = iph->saddr;
        fib_result res;
        if (!usual(iph->daddr) || !usual(iph->saddr) || fib_lookup(rt_shard_net(shard), &fl4, &res) ||
            res.type != RTN_UNICAST || res.fi->fib_nhs != 1)
            return nullptr;
        return res.nh()->nh_rth_input[cpu];
    }
    /// May a packet use it?
    [[gnu::always_inline]] bool answers(const rtable* rt, const iphdr* iph) const {
        return rt && rt->rt_genid == genid && rt->plain() == 1 && rt->dst.dev != dev &&
               rt_neigh_valid(rt->dst.neighbour) && !ours.contain(iph->daddr, iph->saddr);
    }
    /// The entry of a packet's flow, if there is one.
    rtable* cached(const iphdr* iph, uint32_t hash) const {
        return rt_cache_probe(shard, rt_make_key(iph->daddr, iph->saddr, dev->ifindex, 0, 0, iph->tos), hash);
    }
    /// Are entries, as many as there are now, for flows that pay?
    bool thrifty() const { return full && rt_thrifty(shard); }
};

/// Counts of the packets of a burst.
struct burst_counts {
    unsigned found = 0, renewed = 0, entered = 0, lent = 0, unadmitted = 0;

    void add_to(softnet_data* sd) const {
        sd->rt_stat[rt_cache_stat::in_hit].add(found);
        sd->rt_stat[rt_cache_stat::revalidated].add(renewed);
        sd->rt_stat[rt_cache_stat::missed].add(renewed + entered + lent);
        sd->rt_stat[rt_cache_stat::in_slow_tot].add(renewed + entered + lent);
        sd->rt_stat[rt_cache_stat::uncached].add(lent);
        sd->rt_stat[rt_cache_stat::unadmitted].add(unadmitted);
    }
};

/// Gives the packets of `missed`, whose rt[i] is their next hop's own entry, or null, theirs. Returns which
/// have it.
uint32_t give_entries(const burst_rules& rules, iphdr* const* iph, const uint32_t* hash, uint32_t missed,
                      rtable** rt, rt_gc_ahead& gc) {
    rt_hash_shard* shard = rules.shard;
    softnet_data* sd = shard->sd;
    burst_counts counts;
    uint32_t done = 0;
    bool room = true, thrifty = rules.thrifty();
    for_each_bit(missed, [&](unsigned i) {
        gc.one_more();
        if (!rules.answers(rt[i], iph[i]))
            return;
        rt_bucket& bucket = shard->rt_hash_table[hash[i] & shard->rt_hash_mask];
        const uint32_t seen = bucket.seen;
        rtable* old = unlikely(bucket.may_have(hash[i])) ? rules.cached(iph[i], hash[i]) : nullptr;
        if (old && old->rt_genid == rules.genid) { // an earlier packet of this burst has entered or renewed it
            if (old->plain() != 1 || !rt_neigh_valid(old->dst.neighbour))
                return;
            dst_use_noref(&old->dst, rules.now);
            rt[i] = old;
            ++counts.found;
        } else if (old) {
            if (!rt_renew_like(old, rt[i]))
                return;
            dst_use_noref(&old->dst, rules.now);
            rt[i] = old;
            ++counts.renewed;
        } else if (thrifty &&
                   !rt_admit(bucket, hash[i], iph[i]->tos & INET_DSCP_MASK, rules.now, rules.chance)) {
            ++counts.unadmitted;
        } else if (!room || rt_chain_is_long(shard, hash[i])) {
            bucket.seen = seen;
            return; // the full rules find out what is to be done
        } else if (rtable* entry = rt_enter_like(shard, rt[i], iph[i], hash[i], rules.dev->ifindex)) {
            rt[i] = entry;
            ++counts.entered;
            thrifty = rules.thrifty();
        } else if (rules.lends) {
            bucket.seen = seen; // lent, which is what the full rules would end with
        } else {
            room = false;
            return;
        }
        done |= 1u << i;
    });
    counts.lent = unsigned(std::popcount(done)) - counts.found - counts.renewed - counts.entered;
    counts.add_to(sd);
    return done;
}

/// Finds the own entries of the next hops that the packets of `missed` leave by: rt[i], or null. By the compiled
/// table, whose entries are E.
template <class E>
void find_by_lpm(const burst_rules& rules, iphdr* const* iph, uint32_t missed, rtable** rt, rt_gc_ahead& gc) {
    const fib_lpm* lpm = rules.lpm;
    if (!rules.shard->missed_lately) // else the caller has asked for it
        for_each_bit(missed, [&](unsigned i) { fib_lpm_prefetch(lpm, iph[i]->daddr); });
    E first[PACKET_BURST];
    uint32_t in_groups = 0; // of prefixes longer than 24: few
    for_each_bit(missed, [&](unsigned i) {
        const uint32_t daddr = be32_to_cpu(iph[i]->daddr);
        first[i] = __fib_lpm_first<E>(lpm, daddr);
        if (unlikely(first[i] & FIB_LPM_EXT<E>)) {
            prefetch_l2(__fib_lpm_in_group<E>(lpm, daddr, first[i]));
            in_groups |= 1u << i;
        } else {
            rt[i] = rules.own_entry(iph[i], lpm->leaves + first[i]);
        }
    });
    gc.heads();
    for_each_bit(in_groups, [&](unsigned i) {
        rt[i] = rules.own_entry(iph[i], __fib_lpm_second<E>(lpm, be32_to_cpu(iph[i]->daddr), first[i]));
    });
}

/// The same by the zones: those of a table that is too small to be compiled, or found no memory for it.
void find_by_zones(const burst_rules& rules, iphdr* const* iph, uint32_t missed, rtable** rt, rt_gc_ahead& gc) {
    for_each_bit(missed, [&](unsigned i) { rt[i] = rules.own_entry_by_zones(iph[i]); });
    gc.heads();
}

} // namespace

uint32_t ip_route_input_list(softnet_data* sd, net_device* dev, iphdr* const* iph, const uint32_t* hash,
                             uint32_t missed, rtable** rt) {
    const burst_rules rules(sd, dev);
    if (!rules.simple)
        return 0;
    rt_gc_ahead gc(rules.shard);
    if (!rules.full)
        gc.begin(entries_over(rules.shard, unsigned(std::popcount(missed))));
    auto* find = !rules.lpm ? find_by_zones : rules.lpm->wide ? find_by_lpm<uint32_t> : find_by_lpm<uint16_t>;
    find(rules, iph, missed, rt, gc);
    gc.chains();
    return give_entries(rules, iph, hash, missed, rt, gc);
}

} // namespace slabfwd
