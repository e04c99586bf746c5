// SPDX-License-Identifier: BSD-3-Clause
//
// rtable and the route cache: one shard per CPU slot, hash chains of rtables keyed by (daddr,
// saddr, iif, oif, tos, mark), filled by ip_route_input and ip_route_output, emptied by
// rt_garbage_collect. Doors: ip_route_input (per packet), rt_cache_probe and ip_route_input_list
// (burst), ip_route_output_key, rt_cache_flush.
//
// Threads: a shard is its slot's alone. Tables may change at any time on the control thread, which
// bumps net.ipv4.rt_genid once per batch of changes; an entry of another generation is no hit: it
// is looked up again in place and, when it leads to the same fib_info, takes the new generation.
// Above gc_thresh a flow is admitted when it pays (rt_admit); else the packet uses the next hop's
// own entry (fib_nh, one per slot). net.ipv4.route.admission = 0 asks for the kernel's rule
// instead. rt_cache_rebuild_count < 0 turns the cache off: each packet takes the next hop's own
// entry. Files: route.cc (the cache), rt_bucket_list*.cc and route_list.cc (bursts), route_entry.cc
// (making entries), route_gc.cc, dst.cc, route_input.cc, route_output.cc, route_icmp.cc (errors,
// redirects, path mtu), route_dump.cc, inetpeer.cc (what is known of hosts). Origin:
// net/ipv4/route.c of 2.6.32 (cache), 6.18 (what is decided).
#pragma once

#include <arpa/inet.h>
#include <span>
#include <vector>

#include "neigh/arp.h"
#include "neigh/bits.h"
#include "neigh/inetdevice.h"
#include "route/dst.h"
#include "route/ip_fib.h"

namespace slabfwd {

constexpr uint32_t RTCF_NOTIFY = 0x00010000, RTCF_DIRECTDST = 0x00020000,
                   RTCF_REDIRECTED = 0x00040000, RTCF_DOREDIRECT = 0x01000000,
                   RTCF_DIRECTSRC = 0x04000000, RTCF_BROADCAST = 0x10000000,
                   RTCF_MULTICAST = 0x20000000, RTCF_LOCAL = 0x80000000u;
constexpr uint8_t INET_DSCP_MASK = 0xfc; ///< bits of TOS that routing looks at

/// The cache key, first in an rtable: 17 bytes that are compared as they lie, and what an rtable keeps behind.
struct rt_key {
    be32_t daddr, saddr;
    uint16_t iif, oif; ///< ifindex; iif 0 for own packets
    uint32_t mark;
    uint8_t tos;
    uint8_t plain = 0; ///< not part of the key: rtable::plain
    uint16_t kind = 0; ///< not part of the key: rtable::kind
    friend bool operator==(const rt_key& a, const rt_key& b) {
        return __builtin_memcmp(&a, &b, offsetof(rt_key, plain)) == 0;
    }
};
static_assert(sizeof(rt_key) == 20);

/// Eight bytes of a key, or of what lies behind it.
[[gnu::always_inline]] inline uint64_t rt_key_word(const rt_key& k, size_t at) {
    uint64_t v;
    __builtin_memcpy(&v, reinterpret_cast<const char*>(&k) + at, sizeof v);
    return v;
}
/// The burst path's comparison: the 17 bytes that are the key, without a call.
[[gnu::always_inline]] inline bool rt_key_equal(const rt_key& a, const rt_key& b) {
    return ((rt_key_word(a, 0) ^ rt_key_word(b, 0)) | (rt_key_word(a, 8) ^ rt_key_word(b, 8)) |
            uint64_t(a.tos ^ b.tos)) == 0;
}

/// One route-cache entry, at most 256 bytes; what a cached packet reads is the first cache line.
struct alignas(64) rtable {
    rt_key key;
    uint32_t rt_genid;
    dst_entry dst; ///< starts at byte 24; its first 40 bytes complete the first line
    // ---- third part: slow path
    uint32_t rt_flags;      ///< RTCF_*
    uint16_t rt_type;       ///< RTN_*
    bool rt_is_input;
    bool rt_cached;         ///< in the hash
    bool rt_shared;         ///< a next hop's own entry (or one of rt_own): many flows use it, so that what
                            ///< belongs to a flow is not in it (rt_dst, rt_src, rt_iif, RTCF_DOREDIRECT are 0)
    bool rt_uses_gateway;
    bool rt_gw6;            ///< rt_gateway is an IPv6 one: a key of net.nd_tbl (rt_gw_family)
    bool rt_neigh_lent;     ///< dst.neighbour is no reference any more: good to the end of the burst (RCU)
    int rt_iif;             ///< where it came in (0: made here)
    be32_t rt_dst, rt_src;  ///< resolved destination and source (output: chosen source)
    be32_t rt_gateway;      ///< next hop: gateway, or the destination when on link
    be32_t rt_spec_dst;     ///< RFC 1122 specific destination: source of replies
    uint32_t rt_pmtu;       ///< learned path mtu, 0: none
    bool rt_mtu_locked;
    uint8_t rt_scope;
    fib_info* fi;           ///< counted (fib_info_hold) unless rt_shared; null for entries without one
    uint32_t rt_table_id;
    uint32_t rt_peer_genid; ///< own packets: state of the peers' path mtus that rt_pmtu was taken from
    uint32_t rt_listed;     ///< jiffies (low half) when it went to the end of the shard's list
    rtable *lru_next, *lru_prev; ///< the shard's list for spread-out collection

    /// 1 for a plain forward: input is ip_forward, output ip_output, no redirect, no error. In the first
    /// line's key.plain so that a burst sees it without another line. 2: plain but for ICMP, on a route over
    /// several next hops, where errors choose their way by the packet that they quote.
    uint8_t plain() const { return key.plain; }
    /// May a burst forward a packet of this protocol by the first line alone?
    bool plain_for(uint8_t protocol) const {
        return key.plain == 1 || (key.plain == 2 && protocol != 1);
    }
    /// While in the hash: the kind of its flow (rt_bucket), by its hash.
    uint16_t kind() const { return key.kind; }
};
static_assert(sizeof(rtable) <= 256);
static_assert(offsetof(rtable, dst) == 24);

/// TOS, plain, kind and generation of an entry, as they lie in its first line.
[[gnu::always_inline]] inline uint64_t rt_state(const rtable* rt) {
    return rt_key_word(rt->key, 16);
}
/// Those of a plain one of TOS 0 that is in no bucket.
[[gnu::always_inline]] inline uint64_t rt_plain_state(uint32_t genid) {
    return uint64_t(genid) << 32 | 1u << 8;
}
constexpr uint64_t RT_STATE_KIND = 0xffff0000; ///< the kind in it
static_assert(offsetof(rt_key, tos) == 16 && offsetof(rtable, rt_genid) == 20);

inline rtable* rt_from_dst(dst_entry* dst) {
    return reinterpret_cast<rtable*>(reinterpret_cast<char*>(dst) - offsetof(rtable, dst));
}
[[gnu::always_inline]] inline rtable* rt_next_in_chain(const rtable* rt) {
    return rt->dst.rt_next ? rt_from_dst(rt->dst.rt_next) : nullptr;
}
inline rtable* skb_rtable(const sk_buff* skb) { return skb->dst ? rt_from_dst(skb->dst) : nullptr; }
/// Text of an address for traces and log lines.
struct ip4_str {
    char s[INET_ADDRSTRLEN];
    explicit ip4_str(be32_t a) { inet_ntop(AF_INET, &a.raw, s, sizeof s); }
};
/// Gives skb the (uncounted) route and keeps what a later holder of skb needs: rt_flags, rt_type, rt_mtu.
void skb_rtable_set(sk_buff* skb, rtable* rt);
/// The next hop of a packet on rt. Origin: rt_nexthop.
inline be32_t rt_nexthop(const rtable* rt, be32_t daddr) {
    return rt->rt_uses_gateway && !rt->rt_gw6 ? rt->rt_gateway : daddr;
}

constexpr unsigned RT_OWN_MAX = 8;

/// A bucket of the hash: all that a flow which has no entry is told by, without a look at the
/// entries of others, which lie all over the memory. Marks are those of every entry's kind, three
/// for each; of others, too, after an entry in the middle has gone.
struct alignas(16) rt_bucket {
    static constexpr unsigned LONG = 15, MARKS_AT = 56;
    static constexpr uint64_t MARKS = ~uint64_t(0) << MARKS_AT, HEAD = ~MARKS & ~uint64_t(LONG);
    uint64_t chain = 0; ///< third marks; the head (entries are linked by dst.rt_next); how many
                        ///< (LONG: that or more)
    uint32_t marks = 0; ///< first and second marks
    uint32_t seen = 0;  ///< a flow that came without an entry, and when (rt_admit); 0: none

    /// The bits of a hash that make a flow's kind; up to 2^19 buckets are chosen by the others.
    [[gnu::always_inline]] static uint16_t kind_of(uint32_t hash) { return uint16_t(hash >> 19); }
    /// With one entry here one other flow in 2,000 looks as if it had one, too; with two one in
    /// 250.
    static uint64_t marks_of(uint16_t kind) {
        return uint64_t(1) << (MARKS_AT | (kind & 7)) | uint32_t(1) << (kind >> 3 & 31) |
               uint32_t(1) << (kind >> 8);
    }
    uint64_t all_marks() const { return (chain & MARKS) | marks; }
    [[gnu::always_inline]] rtable* head() const { return reinterpret_cast<rtable*>(chain & HEAD); }
    /// All marks of the hash's kind are there.
    [[gnu::always_inline]] bool may_have(uint32_t hash) const {
        const uint32_t third = uint32_t(chain >> (MARKS_AT | (hash >> 19 & 7)));
        return marks >> (hash >> 22 & 31) & marks >> (hash >> 27) & third & 1;
    }
    /// Where to begin the search for a flow; null: it is not here. Without a branch.
    [[gnu::always_inline]] rtable* first_for(uint32_t hash) const {
        return reinterpret_cast<rtable*>(chain & HEAD & -uint64_t(may_have(hash)));
    }
    unsigned length() const { return unsigned(chain & LONG); }
    void set(rtable* head, unsigned length, uint64_t marks_of_all) {
        chain = (marks_of_all & MARKS) | reinterpret_cast<uint64_t>(head) |
                (length < LONG ? length : LONG);
        marks = uint32_t(marks_of_all);
    }
    /// rt, which is in no chain, becomes the head.
    [[gnu::always_inline]] void push(rtable* rt, uint32_t hash) {
        rt->key.kind = kind_of(hash);
        rtable* next = head();
        rt->dst.rt_next = next ? &next->dst : nullptr;
        set(rt, length() + 1, all_marks() | marks_of(rt->kind()));
    }
    /// rt, which is in the chain behind before, becomes the head.
    void to_front(rtable* before, rtable* rt) {
        before->dst.rt_next = rt->dst.rt_next;
        rt->dst.rt_next = &head()->dst;
        chain = reinterpret_cast<uint64_t>(rt) | (chain & ~HEAD);
    }
};
static_assert(alignof(rtable) > rt_bucket::LONG && sizeof(rt_bucket) == 16);

/// One slot's route cache.
/// ipv4_dst_ops.entries = nr_cached + nr_free_counted + entries that were freed while somebody held them.
struct rt_hash_shard {
    rt_bucket* rt_hash_table = nullptr;
    uint32_t rt_hash_mask = 0;
    uint64_t rt_hash_seed = 0;           ///< secret of the hash, drawn at start and at rebuilds
    dst_ops ipv4_dst_ops;
    softnet_data* sd = nullptr;
    uint32_t max_size = 0;               ///< the shard's share of net.ipv4.route.max_size; 0: caches nothing
    uint32_t nr_cached = 0;              ///< entries in the hash
    /// All entries in the hash, in the order in which collection looks at them: new ones, and those that
    /// were looked at and kept, go to the tail. A hit does not move an entry: its lastuse tells.
    rtable *lru_head = nullptr, *lru_tail = nullptr;
    dst_entry* free_list = nullptr;      ///< dst_free'd, destroyed by dst_run_gc
    uint32_t nr_free_counted = 0;        ///< counted entries among them
    jiffies_t last_gc = 0;
    uint32_t gc_expire = 0;              ///< adaptive age limit in jiffies (rt_garbage_collect)
    int64_t gc_equilibrium = 0;
    int rebuild_count = 0;               ///< emergency rebuilds of the hash (rt_cache_rebuild_count)
    jiffies_t last_rebuild = 0;
    timer_list periodic;                 ///< gc_interval check of expired entries; pending while nr_cached
    uint32_t admit_chance = 1;           ///< a generator's state (rt_admit)
    unsigned gc_ahead = 0;               ///< entries at lru_head that a burst has asked for (rt_gc_ahead)
    const rtable* gc_next = nullptr;     ///< the entry behind them in the list; null outside of such a burst
    unsigned gc_looked_max = 0;          ///< most entries that one packet paid for; tests and reports
    rtable* rt_own[RT_OWN_MAX] = {};     ///< shared entries of results without a next hop: local, errors
};

/// The entry of key in the shard, of whatever generation; null when there is none. For the burst path: an
/// entry may be used when rt_genid is net.ipv4.rt_genid, its dst.expires (never set on a plain one) has not
/// passed and its neighbour is usable; else ip_route_input sorts it out.
[[gnu::always_inline]] inline rtable* rt_cache_probe(const rt_hash_shard* shard, const rt_key& key,
                                                     uint32_t hash) {
    rtable* rt = shard->rt_hash_table[hash & shard->rt_hash_mask].first_for(hash);
    while (rt && !rt_key_equal(rt->key, key))
        rt = rt_next_in_chain(rt);
    return rt;
}
/// Marks a use. Origin: dst_use_noref.
inline void dst_use_noref(dst_entry* dst, jiffies_t now) {
    ++dst->__use;
    dst->lastuse = uint32_t(now);
}
/// Caching is on: net.ipv4.rt_cache_rebuild_count is not negative and was not exceeded here. Origin: rt_caching.
bool rt_caching(const net& n, const rt_hash_shard* shard);

/// The hash of keys of one interface, on the burst path and off it: one widening multiplication under a
/// secret, folded; and one to bring every bit into the upper half, since neighbouring addresses would still
/// meet in some buckets without it. (A CRC would be as fast, but collides for the same flows whatever its seed.)
struct rt_hash_rule {
    uint64_t seed, factor;

    /// iif_oif = iif | oif << 16.
    [[gnu::always_inline]] rt_hash_rule(uint32_t iif_oif, uint64_t secret)
        : seed(secret),
          factor((0x9e3779b97f4a7c15u ^ (secret << 17) ^ iif_oif * 0xa0761d6478bd642fu) | 1) {}
    [[gnu::always_inline]] uint32_t operator()(be32_t daddr, be32_t saddr) const {
        __extension__ using u128 = unsigned __int128;
        const u128 p = u128((uint64_t(daddr.raw) << 32 | saddr.raw) ^ seed) * factor;
        return uint32_t(((uint64_t(p) ^ uint64_t(p >> 64)) * 0xd6e8feb86659fd93u) >> 32);
    }
};
[[gnu::always_inline]] inline uint32_t rt_hash_seeded(be32_t daddr, be32_t saddr, uint32_t iif_oif,
                                                      uint64_t seed) {
    return rt_hash_rule(iif_oif, seed)(daddr, saddr);
}

/// Functions to the right of this folder that routes lead to. Filled in once at start.
struct ip_route_handlers {
    int (*ip_forward)(sk_buff*);
    int (*ip_local_deliver)(sk_buff*);
    int (*ip_output)(sk_buff*);
    int (*ip_mc_output)(sk_buff*);
    int (*ip_mr_input)(sk_buff*);
    /// icmp_send without IP options of ours. info in network byte order.
    void (*icmp_send)(sk_buff* skb, int type, int code, be32_t info);
};
extern ip_route_handlers ip_handlers;

/// Makes the FIB, the peers, and a cache shard on every slot (buckets in all, split among the slots;
/// 0: chosen from memory as the kernel does). Creates "ip_dst_cache". 0 or -ENOMEM.
int ip_rt_init(net& n, uint32_t rhash_entries);
/// Frees all of it; no worker runs. Every slab of route/ is empty afterwards.
void ip_rt_exit(net& n);

/// Routes a received packet: cache, else ip_route_input_slow. On success skb has its route; its errno-like
/// result is 0. Otherwise -errno and *reason; counters (rt_cache, InNoRoutes..) are counted here, the
/// packet is the caller's. Where the sender should be told of a better way, IPSKB_DOREDIRECT is set in
/// IPCB(skb)->flags (6.18) and RTCF_DOREDIRECT in skb->rt_flags, whatever entry the packet uses.
/// Origin: ip_route_input_noref.
int ip_route_input(sk_buff* skb, be32_t daddr, be32_t saddr, uint8_t tos, net_device* dev,
                   skb_drop_reason* reason);
int ip_route_input_slow(sk_buff* skb, be32_t daddr, be32_t saddr, uint8_t tos, net_device* dev,
                        skb_drop_reason* reason);

/// For a packet of a burst that rt_cache_probe did not answer, and that is to be forwarded by the simplest
/// rules: false when it is not of that kind (nothing is counted, ip_route_input is to be asked); else *rt is
/// what carries it, whose input is ip_forward (plain or not), or null: to be dropped for *reason. The
/// packet has no options, mark 0, and is an IPv4 packet for this host's MAC.
bool ip_route_input_burst(softnet_data* sd, net_device* dev, const iphdr* iph, rtable** rt,
                          skb_drop_reason* reason);
/// What was asked about packets of a burst before ip_route_input_list, while their buckets were at
/// hand.
struct rt_asked {
    uint32_t packets = 0;  ///< these are in no bucket; a large table's memory is on its way
    uint32_t decided = 0;  ///< of these it is known whether their flows get an entry (rt_admit)
    uint32_t admitted = 0; ///< these do
    uint32_t seen[PACKET_BURST]; ///< of those that are decided: their buckets' words before
};
/// Asks about the packets `missed`, which by their buckets have no entry, while a large
/// table's memory is on its way; of a small one it is left to ip_route_input_list, which has to
/// follow.
void ip_route_ask_list(softnet_data* sd, iphdr* const* iph, const uint32_t* hash, uint32_t missed,
                       rt_asked& asked);
/// The same for the packets `missed` (bit i: iph[i], hash[i] of its key) of a burst, where a next
/// hop's own entry says what there is to say: those get rt[i], a plain entry, new or the next hop's
/// own, and their bit in the result. rt[i] of the others in `missed` may be overwritten. mark is 0
/// for all.
uint32_t ip_route_input_list(softnet_data* sd, net_device* dev, iphdr* const* iph,
                             const uint32_t* hash, uint32_t missed, rt_asked& asked, rtable** rt);

/// Routes an own packet; fl4.saddr/oif are filled in. The rtable is good to the end of the burst; null with
/// *err = -errno (-ENETUNREACH, -EHOSTUNREACH, -EACCES, -EINVAL, -ENOBUFS). Origin: ip_route_output_key.
rtable* ip_route_output_key(net& n, flowi4* fl4, int* err);
/// The same for a reply to skb (may be null), by whose headers a multipath route chooses.
rtable* ip_route_output_key_hash(net& n, flowi4* fl4, const sk_buff* skb, int* err);
/// Always decides anew (tables instead of cache). Origin: __ip_route_output_key of 2.6.32's slow half.
rtable* ip_route_output_slow(net& n, flowi4* fl4, const sk_buff* skb, int* err);

/// All cached routes are stale from now on (cheap: a generation). `ip route flush cache`, table changes.
void rt_cache_flush(net& n);
/// What `ip route flush cache` (net.ipv4.route.flush) does: rt_cache_flush, and learned path mtus and
/// redirects are forgotten. Any slot. Origin: ipv4_sysctl_rtcache_flush.
void ipv4_sysctl_rtcache_flush(net& n);
/// Batches: between begin and end (nested counts) rt_cache_flush only marks; end bumps once.
void rt_genid_batch_begin(net& n);
void rt_genid_batch_end(net& n);
/// Drops every entry of the calling slot's shard (shutdown, flush on request, cache switched off).
void rt_shard_flush(rt_hash_shard* shard);

/// The neighbour to send skb to by rt (the bound one, else that of the next hop, made when missing): RCU, no
/// reference. When the neighbour table is full, entries of this slot's cache that may hold neighbours are
/// let go and it is tried once more; null then: "Neighbour table overflow", the packet is the caller's to
/// drop (NEIGH_CREATEFAIL). Origin: ip_neigh_for_gw, and rt_intern_hash of 2.6.32.
neighbour* ip_neigh_for_gw(rtable* rt, sk_buff* skb);
/// dst->output of entries that lead in only: drops skb. Origin: ip_rt_bug.
int ip_rt_bug(sk_buff* skb);

/// dst->input of unroutable packets: ICMP error with its rate limit, drop counted. Origin: ip_error.
int ip_error(sk_buff* skb);
/// Sends an ICMP redirect when the rules and limits allow. Origin: ip_rt_send_redirect.
void ip_rt_send_redirect(sk_buff* skb);
/// A neighbour failed for skb: host unreachable. Set as arp ops' error_report. Origin: ipv4_link_failure.
void arp_error_report(neighbour* neigh, sk_buff* skb);
/// The mtu of a forwarded packet / of a route for own packets (learned path mtu included).
uint32_t ip_dst_mtu_maybe_forward(const dst_entry* dst, bool forwarding);
uint32_t ipv4_mtu(const dst_entry* dst);
/// ICMP fragmentation needed about a packet of ours to daddr. Origin: ip_rt_update_pmtu / __ip_rt_update_pmtu.
void ipv4_update_pmtu(net& n, const sk_buff* skb, be32_t daddr, be32_t saddr, uint8_t tos, uint32_t mtu);
/// ICMP redirect received. Origin: __ip_do_redirect.
void ip_rt_redirect(sk_buff* skb, be32_t old_gw, be32_t daddr, be32_t saddr, uint8_t tos, be32_t new_gw);
/// Lifetime left of a fresh TTL for packets made here: ip_default_ttl, or the route's hoplimit.
int ip4_dst_hoplimit(net& n, const dst_entry* dst);

/// Tells the sender of skb that its next hop does not answer: host unreachable. skb stays the caller's.
/// Origin: ipv4_link_failure.
void ipv4_link_failure(sk_buff* skb);

/// Binds rt to its neighbour (made when missing); 0, or -ENOBUFS when the table is full.
/// Origin: arp_bind_neighbour (2.6.32).
int arp_bind_neighbour(rtable* rt);
/// Enters rt into the shard's hash. An entry of the same key stands: rt is freed and that one returned.
/// Binds a unicast entry to its neighbour; null (rt is freed) when there is no room for one. Chains longer
/// than gc_elasticity lose their entry of lowest rt_score. Origin: rt_intern_hash (2.6.32).
rtable* rt_intern_hash(rt_hash_shard* shard, uint32_t hash, rtable* rt);
/// ops->gc: a bounded piece of collection (at most RT_GC_BATCH entries are looked at); false when the
/// shard is at its max_size. Origin: rt_garbage_collect (2.6.32).
bool rt_garbage_collect(dst_ops* ops);
constexpr unsigned RT_GC_BATCH = 64;

/// One entry as a report shows it: a copy, made on the owner's slot.
struct rt_cache_row {
    char iface[IFNAMSIZ_];
    be32_t dst, gateway, src, spec_dst;
    uint32_t flags, use, mtu, age_jiffies, mark;
    int refcnt, error, iif, oif;
    uint8_t tos, type;
    uint32_t genid;
    bool hh_uptodate;
    jiffies_t expires;
};
/// Copies of all entries of all slots that are of the current generation (at most max rows, 0: all).
/// Control thread; the owners fill it in their loops.
std::vector<rt_cache_row> rt_cache_dump(net& n, size_t max);

/// Sums over slots for the summary.
struct rt_cache_totals {
    uint64_t hits, misses; ///< lookups: answered by an entry, or not (revalidated in place: a miss too)
    uint64_t allocated, collected, entries; ///< entries of the cache: allocated - collected = entries
    uint64_t revalidated, uncached;         ///< stale ones that held; packets on shared or passing entries
};
rt_cache_totals rt_cache_get_totals(net& n);
/// gc_thresh / max_size / elasticity changed: shares are divided anew. Control thread.
void rt_sysctl_changed(net& n);
/// Checks a shard's invariants (chains, counts, lru); debug and tests.
bool rt_shard_is_valid(const rt_hash_shard* shard);

} // namespace slabfwd
