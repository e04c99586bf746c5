// SPDX-License-Identifier: BSD-3-Clause
//
// What the files of the route cache share among themselves (and with bench route-cache, which
// drives them without frames, and addrtype's iface). A route is found in two steps: route_input.cc
// and route_output.cc decide (rt_decision, nothing allocated), route_entry.cc turns the decision
// into an entry: the stale one when it still says the same, a new one in the cache, or a shared
// one. Threads: as route.h; everything here runs on the slot that owns the shard.
#pragma once

#include <mutex>

#include "alloc/prefetch.h"
#include "neigh/bits.h"
#include "route/inetpeer.h"
#include "route/route.h"

namespace slabfwd {

/// A kmem_cache that all nets of the process use; made by the first, destroyed by the last.
/// Threads: get_ref and put_ref on control threads; get() anywhere between them.
class shared_cache {
public:
    constexpr shared_cache(const char* name, std::size_t size, std::size_t align)
        : name_(name), size_(size), align_(align) {}
    /// False when out of memory.
    bool get_ref() {
        std::lock_guard guard(mutex_);
        if (!users_)
            cache_ = kmem_cache_create(name_, size_, align_, SLAB_HWCACHE_ALIGN, nullptr);
        users_ += cache_ != nullptr;
        return cache_;
    }
    void put_ref() {
        std::lock_guard guard(mutex_);
        if (--users_ == 0) {
            kmem_cache_destroy(cache_);
            cache_ = nullptr;
        }
    }
    kmem_cache* get() const { return cache_; }

private:
    const char* name_;
    std::size_t size_, align_;
    std::mutex mutex_;
    int users_ = 0;
    kmem_cache* cache_ = nullptr;
};

/// What the shards of a net share (net.ipv4.rtn). Control thread, under rtnl.
struct rt_net {
    uint32_t buckets = 0;     ///< of all workers' shards
    unsigned batch_depth = 0; ///< rt_genid_batch_begin, nested
    bool batch_dirty = false; ///< a flush came while a batch was open
};

constexpr uint8_t FLOWI_FLAG_ANYSRC = 1, FLOWI_FLAG_KNOWN_NH = 2;
constexpr uint32_t IP_MAX_MTU = 0xffff;

/// What was decided about a packet, before an entry stands for it.
struct rt_decision {
    rt_key key;                ///< what the entry is found by
    uint32_t genid = 0;        ///< net.ipv4.rt_genid before the tables were read
    fib_info* fi = nullptr;    ///< RCU; null: no next hop
    fib_nh* nh = nullptr;      ///< the chosen one of fi
    net_device* dev = nullptr; ///< dst.dev
    int (*input)(sk_buff*) = nullptr;
    int (*output)(sk_buff*) = nullptr;
    uint32_t flags = 0; ///< RTCF_*
    uint16_t type = 0;  ///< RTN_*
    int error = 0;      ///< positive errno of ip_error
    int iif = 0;        ///< rt_iif
    bool is_input = true;
    bool uses_gateway = false;
    bool cacheable = true; ///< depends on nothing but the key
    bool shareable = true; ///< another flow with the same next hop may use the same entry
    bool gw6 = false;      ///< gateway is a key of net.nd_tbl
    be32_t gateway{};      ///< when uses_gateway
    be32_t src{};          ///< source (output: chosen)
    inet_peer_learned learned;
    uint32_t peer_genid = 0;
    uint8_t scope = 0;
    uint32_t table_id = 0;
};

inline rt_hash_shard* rt_shard_of(dst_ops* ops) {
    return reinterpret_cast<rt_hash_shard*>(reinterpret_cast<char*>(ops) -
                                            offsetof(rt_hash_shard, ipv4_dst_ops));
}
inline net& rt_shard_net(const rt_hash_shard* shard) {
    return *shard->sd->nd_net;
}
inline uint32_t rt_hash_of(const rt_hash_shard* shard, const rt_key& key) {
    return rt_hash_seeded(key.daddr, key.saddr, key.iif | uint32_t(key.oif) << 16,
                          shard->rt_hash_seed);
}
inline rt_key rt_make_key(be32_t daddr, be32_t saddr, int iif, int oif, uint32_t mark,
                          uint8_t tos) {
    return {daddr, saddr, uint16_t(iif), uint16_t(oif), mark, uint8_t(tos & INET_DSCP_MASK), 0, 0};
}
/// net.ipv4.rt_genid as of now, before tables are read.
inline uint32_t rt_genid(const net& n) {
    return n.ipv4.rt_genid.load(std::memory_order_acquire);
}

// ---- route.cc: the hash
/// Takes rt out of the hash and the list. It is still to be freed.
void rt_unlink(rt_hash_shard* shard, rtable* rt);
/// rt_unlink and dst_free; at once when no packet of this burst can have it. Origin: rt_free behind
/// *rthp = rt_next.
void rt_remove(rt_hash_shard* shard, rtable* rt);
/// rt, of no chain and of a key that the shard has no entry for, is entered, in its bucket by hash.
void rt_enter(rt_hash_shard* shard, rt_bucket& bucket, uint32_t hash, rtable* rt);
/// The neighbour can be sent to: so can one whose header may be used, which is asked first.
[[gnu::always_inline]] inline bool rt_neigh_valid(const neighbour* n) {
    return likely(!(n->hh.hh_seq.load(std::memory_order_relaxed) & 1)) ||
           ((n->nud_state.load(std::memory_order_relaxed) & NUD_VALID) &&
            !n->dead.load(std::memory_order_relaxed));
}
/// rt may carry a packet: its neighbour is there and valid, what it learned has not expired.
bool rt_usable(const rtable* rt, jiffies_t now);
/// A valid neighbour of rt's next hop, with a reference; null when there is none (yet).
neighbour* rt_resolved_neighbour(net_device* dev, be32_t nexthop, bool gw6);
/// True when entries of this kind are bound to a neighbour.
inline bool rt_needs_neighbour(const rtable* rt) {
    return rt->rt_type == RTN_UNICAST && !rt->dst.error;
}
/// Reorders the hash under a new secret: costs nr_cached.
void rt_rebuild(rt_hash_shard* shard);
/// on_each_cpu: rt_shard_flush of the slot's shard.
void shard_flush_here(void*);
/// rt moves to the end of the shard's list.
void rt_lru_rotate(rt_hash_shard* shard, rtable* rt);

// ---- route_entry.cc: from a decision to an entry
/// The entry that carries a packet of decision d: stale when it (an entry of d.key, or null) still
/// says the same, a new one, or a shared one. Null with *reason when there is none
/// (ROUTE_CACHE_FULL, NOMEM); stale is gone from the cache then.
rtable* rt_entry_for(rt_hash_shard* shard, uint32_t hash, const rt_decision& d, rtable* stale,
                     const sk_buff* skb, skb_drop_reason* reason);
/// A new entry of the cache for a packet's flow (mark 0) that own, a plain next hop's own entry of the
/// current generation towards a valid neighbour, says all about. Null: no memory, or collection has found
/// no room. The caller has asked whether the flow has an entry (rt_cache_probe) and pays (rt_admit), and that
/// the chain is not long (rt_chain_is_long).
rtable* rt_enter_like(rt_hash_shard* shard, const rtable* own, const iphdr* iph, uint32_t hash, int iif);
/// rt, a stale entry of the cache, still says what own does, a plain next hop's own entry of the current generation
/// that stands for a packet of rt's key: rt becomes current. False: it does not, or has learned more than own.
bool rt_renew_like(rtable* rt, const rtable* own);
/// Chains that are to be looked at before another entry comes in, so that the worst of them goes, are
/// rt_intern_hash's.
bool rt_chain_is_long(const rt_hash_shard* shard, uint32_t hash);
/// Makes the next hop's own entry for d, or brings it up to date, unless d says more than it can.
void rt_own_refresh(rt_hash_shard* shard, const rt_decision& d);
/// dst_ops of the IPv4 route cache.
void ipv4_dst_destroy(dst_entry* dst);
/// Frees the entries in rt_own.
void rt_own_flush(rt_hash_shard* shard);
/// rt_nh_release: frees the entries that slots have hung at fi's next hops.
void rt_nh_free(fib_info* fi);
/// The cache of rtables, "ip_dst_cache".
extern shared_cache ip_dst_cachep;

// ---- who gets an entry
constexpr uint32_t RT_ADMIT_WINDOW = 8 * HZ;
/// What rt_admit goes by besides the flow, for a burst or packet.
struct rt_admission {
    /// The time in units of 8 jiffies, odd ones: unambiguous for half an hour.
    static constexpr unsigned SHIFT = 3;
    uint32_t time;   ///< 16 bits, never 0: nor is a bucket's word, then
    uint32_t chance; ///< odd; another each time: no pattern of packets is in step with it

    explicit rt_admission(rt_hash_shard* shard)
        : time(uint16_t(shard->sd->jiffies >> SHIFT | 1)),
          chance((shard->admit_chance = shard->admit_chance * 1664525 + 1013904223) | 1) {}
};
/// May the flow of a packet that has no entry get one, where that has to pay: is it the one that its bucket
/// remembers, and did it come within RT_ADMIT_WINDOW? A yes forgets it: ask once a packet, and give the bucket its
/// word back when no entry could be made after all. After a no one in RT_ADMIT_STAYS takes the place of the
/// remembered one (all do when there is none, or it is too long ago). So of flows that wait for an entry in one
/// bucket, in whatever order they come, now one and now another is still remembered when it comes again, and a
/// flood's passing flows push it out that seldom. A flow is remembered by the upper half of its hash. Without a
/// branch: in a flood each would be a guess.
[[gnu::always_inline]] inline bool rt_admit(rt_bucket& bucket, uint32_t hash, uint8_t dscp,
                                            rt_admission by) {
    constexpr uint32_t RT_ADMIT_STAYS = 4;
    const uint32_t tag = hash >> 16 ^ dscp, seen = bucket.seen;
    const uint32_t lately = uint16_t(by.time - seen) <= RT_ADMIT_WINDOW >> rt_admission::SHIFT;
    const uint32_t same = uint32_t(seen >> 16 == tag) & lately;
    const uint32_t stays =
        uint32_t(seen != 0) & lately & uint32_t(hash * by.chance >= ~0u / RT_ADMIT_STAYS);
    bucket.seen = ((seen & -stays) | ((tag << 16 | by.time) & (stays - 1))) & (same - 1);
    return same;
}
/// Are entries for those flows only that pay: that come again before they are forgotten (rt_admit)? Not
/// below gc_thresh, and not under the kernel's rule (net.ipv4.route.admission 0).
[[gnu::always_inline]] inline bool rt_thrifty(const rt_hash_shard* shard) {
    return dst_entries_get_fast(&shard->ipv4_dst_ops) >= shard->ipv4_dst_ops.gc_thresh &&
           rt_shard_net(shard).ipv4.rt.admission;
}

// ---- route_gc.cc
/// Asks for all lines of an entry.
[[gnu::always_inline]] inline void rt_prefetch(const rtable* rt) {
    prefetch_l2(rt);
    prefetch_l2(&rt->dst.input);
    prefetch_l2(&rt->lru_next);
}

/// The entries that collection for a burst will look at, the oldest ones: what their removal reads is asked
/// for in steps, between which the burst does something else. begin: buckets; heads: the first of each chain;
/// chains: the others, up to the entry itself. The entries' own lines were asked for by the burst before,
/// which calls one_more() for each packet: for those behind, from shard->gc_next on, which moves on when
/// collection takes more than was foreseen.
struct rt_gc_ahead {
    rt_hash_shard* shard;
    unsigned count = 0;
    const rtable *entry[PACKET_BURST], *at[PACKET_BURST];

    explicit rt_gc_ahead(rt_hash_shard* of) : shard(of) {}
    ~rt_gc_ahead() {
        shard->gc_ahead = 0;
        shard->gc_next = nullptr;
    }
    rt_gc_ahead(const rt_gc_ahead&) = delete;
    rt_gc_ahead& operator=(const rt_gc_ahead&) = delete;
    void begin(unsigned n);
    void heads() {
        if (count)
            ask_for_heads();
    }
    void chains() {
        if (count)
            ask_for_chains();
    }
    [[gnu::always_inline]] void one_more() {
        if (shard->gc_next && (shard->gc_next = shard->gc_next->lru_next))
            rt_prefetch(shard->gc_next);
    }

private:
    void ask_for_heads();
    void ask_for_chains();
};
/// The body of rt_garbage_collect under other limits.
bool __rt_garbage_collect(rt_hash_shard* shard, int elasticity, jiffies_t min_interval);
/// Lets up to RT_GC_BATCH entries go together with their hold on neighbours. True when there were
/// any.
bool rt_shrink_neighbours(rt_hash_shard* shard);
/// The periodic check (rt_hash_shard::periodic). Origin: rt_check_expire.
void rt_check_expire(timer_list* timer);
/// Arms the periodic check unless it is pending.
void rt_periodic_start(rt_hash_shard* shard);
/// Divides gc_thresh and max_size among the shards; this slot's share is stored in its shard.
void rt_shard_limits(rt_hash_shard* shard);
/// Slow enough to be looked at apart: rt is worth keeping, or was not used since long.
bool rt_may_expire(const rtable* rt, uint32_t tmo, uint32_t tmo_valuable, jiffies_t now);
uint32_t rt_score(const rtable* rt, jiffies_t now);

// ---- route_input.cc
/// Decides about a received packet (skb may be null: ARP asks); 0 with *d, or -errno with *reason.
struct rt_input {
    net& n;
    const sk_buff* skb;
    be32_t daddr, saddr;
    uint8_t tos;
    net_device* dev;
    uint32_t mark;
    bool is_ip; ///< an IP packet, not an ARP request that asks for a route
};
int rt_decide_input(const rt_input& in, rt_decision* d, skb_drop_reason* reason);
/// Groups that this host is a member of on a device: all-hosts. Origin: ip_check_mc_rcu
/// (net/ipv4/igmp.c).
bool ip_check_mc_rcu(const in_device* in_dev, be32_t mc_addr);
/// Fills in the next-hop part of a decision from a lookup. Origin: rt_set_nexthop.
void rt_set_nexthop(net& n, rt_decision* d, const fib_result& res, be32_t daddr);
/// ARP's questions (arp_route_ops).
int rt_arp_input_type(net_device* dev, be32_t tip, be32_t sip, net_device** out_dev);

} // namespace slabfwd
