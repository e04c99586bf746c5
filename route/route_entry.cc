// SPDX-License-Identifier: BSD-3-Clause
//
// From a decision to an entry. In this order: the stale entry of the same key, when it still says
// the same (it takes the new generation, nothing is allocated); a new entry in the cache; the next
// hop's own entry, which all flows over it share; an entry for this packet alone. Door:
// rt_entry_for. Threads: on the slot that owns the shard. A next hop has one own entry a slot
// (fib_nh), made and replaced by that slot only, freed with the fib_info by whoever puts it last.
// Origin: rt_dst_alloc, rt_set_nexthop, rt_cache_route in net/ipv4/route.c (6.18).
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "route/route_cache.h"

namespace slabfwd {

namespace {

// What tells entries of one next hop apart; a redirect is the packet's affair (skb_rtable_set).
constexpr uint32_t RTCF_SHARED = RTCF_BROADCAST | RTCF_MULTICAST | RTCF_LOCAL;

bool is_shareable(const rt_decision& d) {
    return d.shareable && !d.learned.expires;
}

/// rt leads where d leads. Generation, mtu and what was learned may differ: rt_refresh.
bool rt_same(const rtable* rt, const rt_decision& d) {
    return rt->fi == d.fi && rt->dst.dev == d.dev && rt->rt_type == d.type &&
           rt->dst.error == d.error && rt->dst.input == d.input && rt->dst.output == d.output &&
           rt->rt_uses_gateway == d.uses_gateway &&
           (!d.uses_gateway || (rt->rt_gateway == d.gateway && rt->rt_gw6 == d.gw6)) && rt->rt_is_input == d.is_input &&
           !((rt->rt_flags ^ d.flags) & RTCF_SHARED);
}

// The mtu of packets forwarded by rt, as the tables and devices say now.
void rt_set_mtu(rtable* rt) {
    rt->dst.mtu = ip_dst_mtu_maybe_forward(&rt->dst, rt->rt_is_input);
}

/// A burst may forward by rt's first cache line and the neighbour's header alone.
bool rt_is_plain(const rtable* rt) {
    return (rt->rt_cached || rt->rt_shared) && rt->rt_is_input && rt->dst.input == ip_handlers.ip_forward &&
           rt->dst.output == ip_handlers.ip_output && !rt->dst.error &&
           rt->rt_type == RTN_UNICAST && !(rt->rt_flags & (RTCF_DOREDIRECT | RTCF_SHARED)) &&
           rt->dst.neighbour && !rt->dst.expires && rt->fi &&
           rt->dst.dev->type == ARPHRD_ETHER && !(rt->dst.dev->flags & IFF_LOOPBACK);
}

// See rtable::plain.
void rt_set_plain(rtable* rt) {
    rt->key.plain = !rt_is_plain(rt) ? 0 : rt->fi->fib_nhs == 1 ? 1 : 2;
}

/// Takes over from d what may change while rt_same holds.
void rt_refresh(rtable* rt, const rt_decision& d) {
    rt->rt_genid = d.genid;
    rt->rt_flags = rt->rt_shared ? d.flags & ~RTCF_DOREDIRECT : d.flags;
    rt->rt_scope = d.scope;
    rt->rt_table_id = d.table_id;
    rt->rt_pmtu = d.learned.pmtu;
    rt->rt_mtu_locked = d.learned.pmtu_locked;
    rt->rt_peer_genid = d.peer_genid;
    rt->dst.expires = d.learned.expires;
    if (!rt->rt_shared)
        rt->rt_src = d.src;
    rt_set_mtu(rt);
    rt_set_plain(rt);
}

// Sets all that dst_init left alone.
void rt_fill(rtable* rt, const rt_decision& d, bool shared) {
    rt->key = shared ? rt_key{} : d.key;
    rt->rt_type = d.type;
    rt->rt_is_input = d.is_input;
    rt->rt_cached = false;
    rt->rt_shared = shared;
    rt->rt_uses_gateway = d.uses_gateway;
    rt->rt_gw6 = d.gw6;
    rt->rt_neigh_lent = false;
    rt->rt_iif = shared ? 0 : d.iif;
    rt->rt_dst = shared ? be32_t{} : d.key.daddr;
    rt->rt_src = {};
    rt->rt_gateway = d.uses_gateway ? d.gateway : rt->rt_dst;
    rt->rt_spec_dst = !shared && d.is_input && (d.flags & RTCF_LOCAL) && d.type == RTN_LOCAL
                          ? d.key.daddr
                          : be32_t{};
    rt->fi = d.fi;
    if (d.fi && !shared)
        fib_info_hold_slot(d.fi, rt->dst.ops->sd->cpu);
    rt->lru_next = rt->lru_prev = nullptr;
    rt->dst.input = d.input;
    rt->dst.output = d.output;
    rt->dst.error = d.error;
    rt_refresh(rt, d);
}

// Origin: rt_dst_alloc.
rtable* rt_dst_alloc(rt_hash_shard* shard, const rt_decision& d, uint16_t dst_flags) {
    dst_entry* dst =
        dst_alloc(&shard->ipv4_dst_ops, d.dev, 0, DST_OBSOLETE_FORCE_CHK, DST_HOST | dst_flags);
    if (!dst)
        return nullptr;
    rtable* rt = rt_from_dst(dst);
    rt_fill(rt, d, dst_flags & DST_NOCOUNT && is_shareable(d));
    return rt;
}

// ---- the cache

// The valid neighbour that d leads to, with a reference: by the next hop's own entry when it has it
// at hand.
neighbour* rt_decided_neighbour(const rt_hash_shard* shard, const rt_decision& d) {
    if (d.uses_gateway && d.is_input && d.nh->nh_rth_input) {
        const rtable* own = d.nh->nh_rth_input[shard->sd->cpu];
        if (own && own->rt_uses_gateway && own->rt_gateway == d.gateway && own->rt_gw6 == d.gw6 &&
            own->dst.dev == d.dev &&
            own->dst.neighbour && rt_usable(own, shard->sd->jiffies)) {
            neigh_clone(own->dst.neighbour);
            return own->dst.neighbour;
        }
    }
    return rt_resolved_neighbour(d.dev, d.uses_gateway ? d.gateway : d.key.daddr, d.gw6);
}

// A new entry of the cache; null: the packet has to do without (then *refused tells whether it
// may).
rtable* rt_make_cached(rt_hash_shard* shard, uint32_t hash, const rt_decision& d,
                       const sk_buff* skb, skb_drop_reason* refused) {
    rt_bucket& bucket = shard->rt_hash_table[hash & shard->rt_hash_mask];
    const uint32_t seen = bucket.seen;
    if (rt_thrifty(shard) && !rt_admit(bucket, hash, d.key.tos, rt_admission(shard))) {
        RT_CACHE_STAT_INC(rt_cache_stat::unadmitted);
        trace_packet(skb, "above gc_thresh, and its bucket does not remember it: not entered");
        return nullptr;
    }
    neighbour* n = nullptr;
    if (d.type == RTN_UNICAST && !d.error) {
        n = rt_decided_neighbour(shard, d);
        if (!n) {
            bucket.seen = seen;
            trace_packet(skb, "next hop %s not resolved: not entered",
                         ip4_str(d.uses_gateway ? d.gateway : d.key.daddr).s);
            return nullptr;
        }
    }
    bool strict = !rt_shard_net(shard).ipv4.rt.admission;
    rtable* rt = rt_dst_alloc(shard, d, strict ? 0 : DST_QUIET);
    if (!rt) {
        bucket.seen = seen;
        if (n)
            neigh_release(n);
        if (strict)
            *refused = dst_entries_get_fast(&shard->ipv4_dst_ops) >= shard->max_size
                           ? skb_drop_reason::ROUTE_CACHE_FULL
                           : skb_drop_reason::NOMEM;
        return nullptr;
    }
    rt->dst.neighbour = n;
    rt = rt_intern_hash(shard, hash, rt);
    if (rt) {
        rt_set_plain(rt);
        dst_use_noref(&rt->dst, jiffies());
    }
    return rt;
}

// ---- shared entries

// A shared entry towards a gateway holds its neighbour while that one is valid, so that it may be
// plain. What packets of this burst still read is kept by RCU.
void rt_shared_bind(rtable* rt) {
    if (!rt->rt_uses_gateway || !rt_needs_neighbour(rt))
        return;
    const neighbour* had = rt->dst.neighbour;
    if (had && rt_usable(rt, jiffies()))
        return;
    if (had)
        neigh_release(rt->dst.neighbour);
    rt->dst.neighbour = rt_resolved_neighbour(rt->dst.dev, rt->rt_gateway, rt->rt_gw6);
    if (had || rt->dst.neighbour)
        rt_set_plain(rt);
}

// Lets a shared entry go that others of this burst may still use.
void rt_drop_shared(rtable** slot) {
    if (rtable* rt = std::exchange(*slot, nullptr))
        dst_free(&rt->dst);
}

// The shared entry in *slot, brought up to d or replaced. Null when out of memory.
rtable* rt_shared_at(rt_hash_shard* shard, rtable** slot, const rt_decision& d) {
    if (*slot && rt_same(*slot, d)) {
        if ((*slot)->rt_genid != d.genid)
            rt_refresh(*slot, d);
        rt_shared_bind(*slot);
        return *slot;
    }
    rtable* rt = rt_dst_alloc(shard, d, DST_NOCOUNT);
    if (!rt)
        return nullptr;
    rt_drop_shared(slot);
    rt_shared_bind(rt);
    return *slot = rt;
}

// For results without a next hop. The set is small: kinds of local delivery, broadcast and errors;
// null when it is full of others.
rtable** rt_own_slot(rt_hash_shard* shard, const rt_decision& d) {
    rtable** empty = nullptr;
    for (rtable*& slot : shard->rt_own) {
        if (slot && rt_same(slot, d))
            return &slot;
        if (!slot && !empty)
            empty = &slot;
    }
    return empty;
}

// Where the entry that d may share hangs; null when there is no such place.
rtable** rt_shared_slot(rt_hash_shard* shard, const rt_decision& d) {
    if (!is_shareable(d))
        return nullptr;
    if (!d.fi)
        return rt_own_slot(shard, d);
    rtable** cpus = d.is_input ? d.nh->nh_rth_input : d.nh->nh_rth_output;
    return cpus ? &cpus[shard->sd->cpu] : nullptr;
}

// An entry that no table holds: it goes at the end of the burst.
rtable* rt_uncached(rt_hash_shard* shard, rt_decision d) {
    d.shareable = false;
    rtable* rt = rt_dst_alloc(shard, d, DST_NOCOUNT);
    if (rt)
        dst_free(&rt->dst);
    return rt;
}

rtable* rt_stand_in(rt_hash_shard* shard, const rt_decision& d) {
    RT_CACHE_STAT_INC(rt_cache_stat::uncached);
    if (rtable** slot = rt_shared_slot(shard, d))
        return rt_shared_at(shard, slot, d);
    return rt_uncached(shard, d);
}

} // namespace

rtable* rt_entry_for(rt_hash_shard* shard, uint32_t hash, const rt_decision& d, rtable* stale,
                     const sk_buff* skb, skb_drop_reason* reason) {
    const bool cacheable = d.cacheable && shard->max_size && rt_caching(rt_shard_net(shard), shard);
    if (stale) {
        jiffies_t now = jiffies();
        if (cacheable && rt_same(stale, d)) {
            rt_refresh(stale, d);
            if (rt_usable(stale, now)) {
                RT_CACHE_STAT_INC(rt_cache_stat::revalidated);
                dst_use_noref(&stale->dst, now);
                trace_packet(skb, "stale rtable %p still holds: generation %u", (void*)stale,
                             d.genid);
                return stale;
            }
        }
        rt_remove(shard, stale);
    }
    auto refused = skb_drop_reason::NOT_DROPPED_YET;
    if (cacheable) {
        if (rtable* rt = rt_make_cached(shard, hash, d, skb, &refused))
            return rt;
        if (refused != skb_drop_reason::NOT_DROPPED_YET) {
            *reason = refused;
            return nullptr;
        }
    }
    rtable* rt = rt_stand_in(shard, d);
    if (!rt)
        *reason = skb_drop_reason::NOMEM;
    else
        trace_packet(skb, "%s entry %p -> dev %s", rt->rt_shared ? "shared" : "passing", (void*)rt,
                     d.dev->name);
    return rt;
}

void rt_own_refresh(rt_hash_shard* shard, const rt_decision& d) {
    // An own entry towards no gateway has no neighbour, and is never plain.
    rtable** slot = d.fi && d.uses_gateway ? rt_shared_slot(shard, d) : nullptr;
    if (slot && !(*slot && (*slot)->rt_genid == d.genid && (*slot)->plain()))
        rt_shared_at(shard, slot, d);
}

bool rt_chain_is_long(const rt_hash_shard* shard, uint32_t hash) {
    const unsigned length = shard->rt_hash_table[hash & shard->rt_hash_mask].length();
    return unlikely(int(length) > rt_shard_net(shard).ipv4.rt.gc_elasticity || length == rt_bucket::LONG);
}

rtable* rt_enter_like(rt_hash_shard* shard, const rtable* own, const iphdr* iph, uint32_t hash, int iif) {
    dst_ops* ops = &shard->ipv4_dst_ops;
    void* mem = dst_object_alloc(ops, DST_QUIET);
    if (unlikely(!mem))
        return nullptr;
    auto* rt = static_cast<rtable*>(mem);
    // Line by line: the first is the flow's, of the others most is as in own.
    rt->key = {iph->daddr, iph->saddr, uint16_t(iif), 0, 0, uint8_t(iph->tos & INET_DSCP_MASK), 1, 0};
    rt->rt_genid = own->rt_genid;
    rt->dst.neighbour = neigh_clone(own->dst.neighbour);
    rt->dst.dev = own->dst.dev;
    rt->dst.mtu = own->dst.mtu;
    rt->dst.__use = 1;
    rt->dst.lastuse = uint32_t(shard->sd->jiffies);
    rt->dst.__refcnt = 0;
    constexpr size_t LINE = 64;
    std::memcpy(reinterpret_cast<char*>(rt) + LINE, reinterpret_cast<const char*>(own) + LINE,
                sizeof(rtable) - LINE);
    rt->dst.flags = DST_HOST;
    rt->rt_shared = false;
    rt->rt_iif = iif;
    rt->rt_dst = iph->daddr;
    rt->rt_src = iph->saddr;
    fib_info_hold_slot(rt->fi, shard->sd->cpu);
    rt_enter(shard, shard->rt_hash_table[hash & shard->rt_hash_mask], hash, rt);
    return rt;
}

bool rt_renew_like(rtable* rt, const rtable* own) {
    // What rt_same asks: device and gateway are the neighbour's, an error has an input of its own.
    if (rt->fi != own->fi || rt->dst.neighbour != own->dst.neighbour || rt->dst.input != own->dst.input ||
        rt->dst.output != own->dst.output || rt->rt_type != own->rt_type || rt->dst.expires ||
        ((rt->rt_flags ^ own->rt_flags) & RTCF_SHARED))
        return false;
    rt->rt_genid = own->rt_genid;
    rt->rt_flags = own->rt_flags;
    rt->rt_scope = own->rt_scope;
    rt->rt_table_id = own->rt_table_id;
    rt->rt_pmtu = own->rt_pmtu;
    rt->rt_mtu_locked = own->rt_mtu_locked;
    rt->rt_peer_genid = own->rt_peer_genid;
    rt->rt_src = rt->key.saddr;
    rt->dst.mtu = own->dst.mtu;
    rt->key.plain = own->key.plain;
    return true;
}

void ipv4_dst_destroy(dst_entry* dst) {
    rtable* rt = rt_from_dst(dst);
    if (dst->neighbour && !rt->rt_neigh_lent)
        neigh_release(dst->neighbour);
    if (rt->fi && !rt->rt_shared)
        fib_info_put_slot(rt->fi, dst->ops->sd->cpu);
}

void rt_own_flush(rt_hash_shard* shard) {
    for (rtable*& slot : shard->rt_own)
        rt_drop_shared(&slot);
}

void rt_nh_free(fib_info* fi) {
    const unsigned cpus = fi->fib_net_->nr_cpus();
    for (int i = 0; i < fi->fib_nhs; ++i)
        for (rtable** slots : {fi->fib_nh_[i].nh_rth_input, fi->fib_nh_[i].nh_rth_output})
            for (unsigned cpu = 0; slots && cpu < cpus; ++cpu)
                if (rtable* rt = std::exchange(slots[cpu], nullptr))
                    dst_destroy(&rt->dst);
}

} // namespace slabfwd
