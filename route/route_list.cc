// SPDX-License-Identifier: BSD-3-Clause
//
// What a burst costs that the cache does not know: a flood, or flows on their first packet. The
// table leads to a next hop, and its own entry says all the rest; it was made by the full
// rules under this generation. So only what differs from packet to packet is asked: the addresses,
// that neither is one of ours, and whether the flow pays for an entry: then that is like the next
// hop's, else the packet uses the next hop's own.
// One memory access follows from another (array, group, own entry; and of the entry that makes
// room: bucket, chain), so the packets of a burst take them in step, each step asked for one
// before. Whether flows pay is asked while a large table's memory is on its way, as the bucket
// alone says it; of a small table, whose memory is at hand, with the lookup.
//
// Doors: ip_route_ask_list, ip_route_input_list. Threads: on the slot that owns the shard, under
// RCU. Origin: none in the kernel; the decisions are those of ip_route_input_slow (6.18).
#include <algorithm>
#include <array>
#include <bit>
#include <type_traits>

#include "alloc/prefetch.h"
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
    const uint8_t* used = nullptr;
    uint32_t hashmask = 0;
    const fn_zone* zone = nullptr;

    own_addresses() = default;
    explicit own_addresses(const fn_zone* fz) : zone(fz) {
        const fz_hash_table* ht = rcu_dereference(fz->fz_hash);
        used = ht->used;
        hashmask = ht->hashmask;
    }
    /// Which of the zone's buckets have nodes, rather than these: few addresses get past it.
    [[gnu::always_inline]] unsigned may_be(be32_t a) const {
        return READ_ONCE(used[fn_hashfn_host(a, hashmask)]);
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
    rt_admission admission;
    bool lends;  ///< what gets no entry uses the next hop's own (net.ipv4.route.admission)
    bool full;   ///< entries are for flows that pay, now or before the burst is through
    /// The main table; null: it is not compiled, or something else than the table decides, too.
    /// Then what follows is not filled in.
    const fib_lpm* lpm = nullptr;
    own_addresses ours;
    const fn_zone* other = nullptr; ///< the local table's prefixes besides; null: 127/8 at most
    int longest_other = -1;         ///< how long they are at most; -1: there are none

    burst_rules(softnet_data* sd, net_device* d)
        : shard(sd->rt_shard), dev(d), cpu(sd->cpu), genid(rt_genid(*sd->nd_net)), now(sd->jiffies),
          admission(shard), lends(sd->nd_net->ipv4.rt.admission),
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
        if (READ_ONCE(fn->fib_local->tb_data.fn_nets))
            other = rcu_dereference(fz->fz_next);
        longest_other = other ? other->fz_order : -1;
        lpm = rcu_dereference(fn->fib_main->tb_lpm);
    }
    /// Neither is of 0/8, 127/8 or from 224 on. Without a branch.
    [[gnu::always_inline]] static bool usual(be32_t a, be32_t b) {
        static constexpr auto unusual = [] {
            std::array<uint8_t, 256> of{};
            for (unsigned top = 0; top < 256; ++top)
                of[top] = top == 0 || top == 127 || top >= 224;
            return of;
        }();
        return !(unusual[uint8_t(a.raw)] | unusual[uint8_t(b.raw)]);
    }
    /// The local table may have the say: one of its prefixes covers addr, and the longest of them
    /// is as long as `plen` at least.
    [[gnu::always_inline]] bool local_covers(unsigned plen, be32_t addr) const {
        return unlikely(int(plen) <= longest_other) && in_other(addr);
    }
    [[gnu::noinline]] bool in_other(be32_t addr) const {
        for (const fn_zone* fz = other; fz; fz = rcu_dereference(fz->fz_next))
            if (fn_zone_find(fz, addr & fz->fz_mask))
                return true;
        return false;
    }
    /// The own entry that a packet may use, by the table alone: asked for; null: the full rules are to be asked.
    [[gnu::always_inline]] rtable* own_entry(fib_leaf_input leaf, be32_t daddr) const {
        if (unlikely(!leaf.word) || local_covers(leaf.plen(), daddr))
            return nullptr;
        rtable* own = leaf.nh_rth_input()[cpu];
        __builtin_prefetch(own);
        return own;
    }
    /// May a packet use it?
    [[gnu::always_inline]] bool answers(const rtable* rt, const iphdr* iph) const {
        return likely(rt) && likely(rt_state(rt) == rt_plain_state(genid)) && rt->dst.dev != dev &&
               rt_neigh_valid(rt->dst.neighbour) && usual(iph->daddr, iph->saddr) &&
               !ours.contain(iph->daddr, iph->saddr);
    }
    /// The entry of a packet's flow, if there is one.
    rtable* cached(const iphdr* iph, uint32_t hash) const {
        return rt_cache_probe(shard, rt_make_key(iph->daddr, iph->saddr, dev->ifindex, 0, 0, iph->tos), hash);
    }
    /// Are entries, as many as there are now, for flows that pay?
    bool thrifty() const { return full && rt_thrifty(shard); }
};

/// Asks of flows that are in no bucket whether they pay. What the buckets said before is kept.
struct admission_asker {
    rt_bucket* buckets; // not read again after a store
    uint32_t mask;
    rt_admission by;

    admission_asker(const rt_hash_shard* shard, rt_admission admission)
        : buckets(shard->rt_hash_table), mask(shard->rt_hash_mask), by(admission) {}
    /// Of packet i's flow, in a bit.
    [[gnu::always_inline]] uint32_t admitted(unsigned i, const iphdr* iph, uint32_t hash,
                                             rt_asked& asked) const {
        rt_bucket& bucket = buckets[hash & mask];
        asked.seen[i] = bucket.seen;
        return uint32_t(rt_admit(bucket, hash, iph->tos & INET_DSCP_MASK, by)) << i;
    }
};

/// Counts of the packets of a burst.
struct burst_counts {
    unsigned found = 0, renewed = 0, entered = 0, lent = 0, unadmitted = 0;

    void add_to(softnet_data* sd) const {
        if (unlikely(found | renewed)) {
            sd->rt_stat[rt_cache_stat::in_hit].add(found);
            sd->rt_stat[rt_cache_stat::revalidated].add(renewed);
        }
        sd->rt_stat[rt_cache_stat::missed].add(renewed + entered + lent);
        sd->rt_stat[rt_cache_stat::in_slow_tot].add(renewed + entered + lent);
        sd->rt_stat[rt_cache_stat::uncached].add(lent);
        sd->rt_stat[rt_cache_stat::unadmitted].add(unadmitted);
    }
};

/// Gives the packets of a burst, whose rt[i] is their next hop's own entry, their own.
struct entry_giver {
    const burst_rules& rules;
    iphdr* const* iph;
    const uint32_t* hash;
    rtable** rt;
    burst_counts& counts;
    bool thrifty = rules.thrifty(), room = true;

    /// To packet i. False: the full rules find out what is to be done.
    bool give(unsigned i, const rt_asked& asked) {
        rt_hash_shard* shard = rules.shard;
        rt_bucket& bucket = shard->rt_hash_table[hash[i] & shard->rt_hash_mask];
        const bool admitted = asked.admitted >> i & 1;
        const uint32_t seen = admitted ? asked.seen[i] : bucket.seen;
        rtable* old = unlikely(bucket.may_have(hash[i])) ? rules.cached(iph[i], hash[i]) : nullptr;
        if (old)
            return give_old(i, old);
        if (thrifty && !admitted &&
            !rt_admit(bucket, hash[i], iph[i]->tos & INET_DSCP_MASK, rules.admission)) {
            ++counts.unadmitted;
            return true;
        }
        if (!room || rt_chain_is_long(shard, hash[i])) {
            bucket.seen = seen;
            return false;
        }
        if (rtable* entry = rt_enter_like(shard, rt[i], iph[i], hash[i], rules.dev->ifindex)) {
            rt[i] = entry;
            ++counts.entered;
            thrifty = rules.thrifty();
            return true;
        }
        room = rules.lends;
        if (room)
            bucket.seen = seen; // lent, which is what the full rules would end with
        return room;
    }
    /// An earlier packet of this burst has entered or renewed it, or it is stale.
    bool give_old(unsigned i, rtable* old) {
        if (old->rt_genid == rules.genid) {
            if (old->plain() != 1 || !rt_neigh_valid(old->dst.neighbour))
                return false;
            ++counts.found;
        } else {
            if (!rt_renew_like(old, rt[i]))
                return false;
            ++counts.renewed;
        }
        dst_use_noref(&old->dst, rules.now);
        rt[i] = old;
        return true;
    }
};

/// Gives the packets of `wanting`, whose rt[i] is their next hop's own entry, theirs: a new one,
/// one that is there already, or that one. Returns which have it, and adds to the counts.
[[gnu::noinline]] uint32_t give_to_those(const burst_rules& rules, iphdr* const* iph,
                                         const uint32_t* hash, uint32_t wanting,
                                         const rt_asked& asked, rtable** rt, rt_gc_ahead& gc,
                                         burst_counts& counts) {
    entry_giver to{rules, iph, hash, rt, counts};
    uint32_t done = 0;
    for_each_bit(wanting, [&](unsigned i) {
        gc.one_more();
        done |= uint32_t(to.give(i, asked)) << i;
    });
    return done;
}

/// The same for those of `answered`. Where flows do not pay, as most of a flood's, nothing is left
/// to be done: their packets keep the next hop's own entry.
uint32_t give_entries(const burst_rules& rules, iphdr* const* iph, const uint32_t* hash,
                      uint32_t answered, const rt_asked& asked, rtable** rt, rt_gc_ahead& gc) {
    const uint32_t unadmitted = answered & asked.decided & ~asked.admitted;
    burst_counts counts;
    counts.unadmitted = unsigned(std::popcount(unadmitted));
    uint32_t done = unadmitted;
    if (const uint32_t wanting = answered & ~unadmitted)
        done |= give_to_those(rules, iph, hash, wanting, asked, rt, gc, counts);
    counts.lent = unsigned(std::popcount(done)) - counts.found - counts.renewed - counts.entered;
    counts.add_to(rules.shard->sd);
    return done;
}

/// Finds the own entries of the next hops that the packets of `missed` leave by: rt[i], or null.
/// Returns those for which it says all that is to be said. L: a large form.
template <class L>
[[gnu::noinline]] uint32_t find_in_large(const burst_rules& rules, iphdr* const* iph,
                                         uint32_t missed, const rt_asked& asked, rtable** rt,
                                         rt_gc_ahead& gc) {
    static_assert(L::ROOT_SHIFT == 8, "a group's byte is the address' last");
    const fib_lpm* lpm = rules.lpm;
    const fib_lookup_ahead table(lpm);
    for_each_bit(missed & ~asked.packets,
                 [&](unsigned i) { __builtin_prefetch(table.of(iph[i]->daddr)); });
    typename L::entry first[PACKET_BURST];
    uint32_t in_groups = 0; // of prefixes longer than 24: few
    for_each_bit(missed, [&](unsigned i) {
        const uint32_t daddr = be32_to_cpu(iph[i]->daddr);
        first[i] = __fib_lpm_first<L>(lpm, daddr);
        if (unlikely(first[i] & L::EXT)) {
            prefetch_l2(__fib_lpm_in_group<L>(lpm, daddr, 0, first[i]));
            in_groups |= 1u << i;
        } else {
            rt[i] = rules.own_entry(lpm->inputs[first[i]], iph[i]->daddr);
        }
    });
    gc.heads();
    for_each_bit(in_groups, [&](unsigned i) {
        const uint32_t daddr = be32_to_cpu(iph[i]->daddr);
        rt[i] =
            rules.own_entry(lpm->inputs[__fib_lpm_rest<L>(lpm, daddr, first[i])], iph[i]->daddr);
    });
    uint32_t answered = 0;
    for_each_bit(missed,
                 [&](unsigned i) { answered |= uint32_t(rules.answers(rt[i], iph[i])) << i; });
    return answered;
}

/// The same where the table is small. Nothing is waited for meanwhile: whether flows pay is asked
/// here.
uint32_t find_in_small(const burst_rules& rules, iphdr* const* iph, const uint32_t* hash,
                       uint32_t missed, rt_asked& asked, rtable** rt, rt_gc_ahead& gc) {
    const fib_lpm* lpm = rules.lpm;
    const admission_asker asker(rules.shard, rules.admission);
    const uint32_t to_ask = rules.thrifty() ? asked.packets & ~asked.decided : 0;
    uint32_t answered = 0, admitted = 0;
    for_each_bit(missed, [&](unsigned i) {
        const be32_t daddr = iph[i]->daddr;
        const auto leaf = __fib_lpm_find<fib_lpm_small>(lpm, be32_to_cpu(daddr));
        rt[i] = rules.own_entry(lpm->inputs[leaf], daddr);
        answered |= uint32_t(rules.answers(rt[i], iph[i])) << i;
        if (answered & to_ask & 1u << i)
            admitted |= asker.admitted(i, iph[i], hash[i], asked);
    });
    asked.decided |= answered & to_ask;
    asked.admitted |= admitted;
    gc.heads();
    return answered;
}

uint32_t find(const burst_rules& rules, iphdr* const* iph, const uint32_t* hash, uint32_t missed,
              rt_asked& asked, rtable** rt, rt_gc_ahead& gc) {
    return fib_lpm_as(rules.lpm->form, [&]<class L>(L) {
        if constexpr (std::is_same_v<L, fib_lpm_small>)
            return find_in_small(rules, iph, hash, missed, asked, rt, gc);
        else
            return find_in_large<L>(rules, iph, missed, asked, rt, gc);
    });
}

} // namespace

void ip_route_ask_list(softnet_data* sd, iphdr* const* iph, const uint32_t* hash, uint32_t missed,
                       rt_asked& asked) {
    asked.packets = missed;
    const fib_lookup_ahead table(*sd->nd_net);
    if (!table.size)
        return;
    if (!rt_thrifty(sd->rt_shard))
        return for_each_bit(missed,
                            [&](unsigned i) { __builtin_prefetch(table.of(iph[i]->daddr)); });
    const admission_asker asker(sd->rt_shard, rt_admission(sd->rt_shard));
    uint32_t admitted = 0;
    for_each_bit(missed, [&](unsigned i) {
        __builtin_prefetch(table.of(iph[i]->daddr));
        admitted |= asker.admitted(i, iph[i], hash[i], asked);
    });
    asked.decided = missed;
    asked.admitted = admitted;
}

uint32_t ip_route_input_list(softnet_data* sd, net_device* dev, iphdr* const* iph,
                             const uint32_t* hash, uint32_t missed, rt_asked& asked, rtable** rt) {
    const burst_rules rules(sd, dev);
    rt_hash_shard* shard = rules.shard;
    uint32_t answered = 0, done = 0;
    if (rules.lpm) {
        rt_gc_ahead gc(shard);
        if (!rules.full)
            gc.begin(entries_over(shard, unsigned(std::popcount(missed))));
        answered = find(rules, iph, hash, missed, asked, rt, gc);
        gc.chains();
        done = give_entries(rules, iph, hash, answered, asked, rt, gc);
    }
    // The full rules ask for themselves whether those pay that are left to them.
    if (const uint32_t left = asked.decided & ~answered; unlikely(left))
        for_each_bit(left, [&](unsigned i) {
            shard->rt_hash_table[hash[i] & shard->rt_hash_mask].seen = asked.seen[i];
        });
    return done;
}

} // namespace slabfwd
