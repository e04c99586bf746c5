// SPDX-License-Identifier: BSD-3-Clause
//
// The route cache: start and end, the hash of a shard (rt_intern_hash, rt_unlink), generations,
// flushing. Doors: ip_rt_init / ip_rt_exit, rt_intern_hash, rt_cache_flush, rt_shard_flush.
//
// A shard is written and read by its slot alone: no lock, no atomic. What other threads may do is
// bump the generation (rt_cache_flush), and ask the slot to do something to its shard
// (smp_call_function_single). Origin: net/ipv4/route.c of 2.6.32. Differences: a hash per CPU slot;
// a stale entry is looked up again in place (route_entry.cc) rather than thrown away; an entry
// whose neighbour is not resolved is not entered.
#include "route/route.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <new>

#include "alloc/kmalloc.h"
#include "route/route_cache.h"

namespace slabfwd {

ip_route_handlers ip_handlers;
shared_cache ip_dst_cachep{"ip_dst_cache", sizeof(rtable), alignof(rtable)};

namespace {

constexpr int rt_chain_length_max = 20;  // longer chains of entries in use call for another secret
constexpr uint32_t CONTROL_BUCKETS = 64; // of the control slot, which sends a ping now and then

// As alloc_large_system_hash gives the kernel: a bucket for each 32 KiB of memory, 512 Ki at most.
uint32_t default_buckets() {
    uint64_t mem = uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGESIZE));
    return uint32_t(std::clamp<uint64_t>(std::bit_floor(mem >> 15), 1024, 512 * 1024));
}

uint64_t new_secret() {
    return uint64_t(get_random_u32()) << 32 | get_random_u32();
}

void dst_ops_init(rt_hash_shard* shard) {
    dst_ops& ops = shard->ipv4_dst_ops;
    ops.gc = rt_garbage_collect;
    ops.destroy = ipv4_dst_destroy;
    ops.link_failure = ipv4_link_failure;
    ops.kmem_cachep = ip_dst_cachep.get();
    ops.sd = shard->sd;
    ops.dst_offset = offsetof(rtable, dst);
}

rt_hash_shard* shard_alloc(softnet_data* sd, uint32_t buckets) {
    void* mem = kzalloc(sizeof(rt_hash_shard), GFP_KERNEL);
    void* table = mem ? kzalloc(buckets * sizeof(rt_bucket), GFP_KERNEL) : nullptr;
    if (!table) {
        kfree(mem);
        return nullptr;
    }
    auto* shard = new (mem) rt_hash_shard;
    shard->rt_hash_table = static_cast<rt_bucket*>(table);
    shard->rt_hash_mask = buckets - 1;
    shard->rt_hash_seed = new_secret();
    shard->sd = sd;
    shard->gc_expire = uint32_t(sd->nd_net->ipv4.rt.gc_timeout);
    shard->periodic.function = rt_check_expire;
    dst_ops_init(shard);
    return shard;
}

void shard_free(rt_hash_shard* shard) {
    del_timer(&shard->periodic);
    kfree(shard->rt_hash_table);
    shard->~rt_hash_shard();
    kfree(shard);
}

void shard_drain_here(void*) {
    softnet_data* sd = this_softnet();
    if (!sd->rt_shard)
        return;
    rt_shard_flush(sd->rt_shard);
    rt_own_flush(sd->rt_shard);
    dst_run_gc(*sd);
}

void shards_free(net& n) {
    for (auto& sd : n.softnet)
        if (rt_hash_shard* shard = std::exchange(sd->rt_shard, nullptr))
            shard_free(shard);
}

int shards_alloc(net& n, uint32_t rhash_entries) {
    uint32_t total = rhash_entries ? rhash_entries : default_buckets();
    uint32_t each = std::max(16u, std::bit_ceil(std::max(1u, total / n.nr_workers)));
    for (auto& sd : n.softnet) {
        bool control = sd->cpu == n.control_cpu();
        sd->rt_shard = shard_alloc(sd.get(), control ? std::min(CONTROL_BUCKETS, each) : each);
        if (!sd->rt_shard) {
            shards_free(n);
            return -ENOMEM;
        }
    }
    n.ipv4.rtn->buckets = each * n.nr_workers;
    n.ipv4.rt.gc_thresh = int(n.ipv4.rtn->buckets);
    n.ipv4.rt.max_size = int(std::min<uint64_t>(uint64_t(n.ipv4.rtn->buckets) * 16, INT32_MAX));
    return 0;
}

// A device goes: no entry may name it any more. A changed mtu is part of the entries.
void rt_netdev_event(netdev_event event, net_device* dev) {
    net& n = *dev->nd_net;
    if (!n.ipv4.rtn)
        return;
    if (event == netdev_event::UNREGISTER) {
        rt_cache_flush(n);
        on_each_cpu(n, shard_flush_here, nullptr);
    } else if (event == netdev_event::CHANGEMTU || event == netdev_event::CHANGE) {
        rt_cache_flush(n);
    }
}

bool arp_addr_on_output(net_device* dev, be32_t sip, be32_t tip) {
    flowi4 fl4;
    fl4.daddr = sip;
    fl4.saddr = tip;
    int err = 0;
    rtable* rt = ip_route_output_key(*dev->nd_net, &fl4, &err);
    return rt && rt->dst.dev == dev;
}

void ops_init() {
    arp_route_ops.input_type = rt_arp_input_type;
    arp_route_ops.addr_type = [](net_device* dev, be32_t addr) {
        return int(inet_addr_type_dev_table(*dev->nd_net, dev, addr));
    };
    arp_route_ops.output_dev_is = arp_addr_on_output;
    arp_generic_ops.error_report = arp_error_report;
    arp_hh_ops.error_report = arp_error_report;
    arp_direct_ops.error_report = arp_error_report;
    rt_nh_release = rt_nh_free;
}

} // namespace

int ip_rt_init(net& n, uint32_t rhash_entries) {
    void* mem = kzalloc(sizeof(rt_net), GFP_KERNEL);
    if (!mem)
        return -ENOMEM;
    n.ipv4.rtn = new (mem) rt_net;
    if (!ip_dst_cachep.get_ref())
        goto no_cache;
    if (inet_peers_init(n))
        goto no_peers;
    if (shards_alloc(n, rhash_entries))
        goto no_shards;
    ops_init();
    rt_sysctl_changed(n);
    if (fib_net_init(n))
        goto no_fib;
    if (std::find(n.netdev_chain.begin(), n.netdev_chain.end(), rt_netdev_event) ==
        n.netdev_chain.end())
        register_netdevice_notifier(n, rt_netdev_event);
    return 0;
no_fib:
    shards_free(n);
no_shards:
    inet_peers_exit(n);
no_peers:
    ip_dst_cachep.put_ref();
no_cache:
    kfree(std::exchange(n.ipv4.rtn, nullptr));
    return -ENOMEM;
}

void ip_rt_exit(net& n) {
    if (!n.ipv4.rtn)
        return;
    on_each_cpu(n, shard_drain_here, nullptr);
    fib_net_exit(n);
    rcu_barrier_all(n); // fib_infos, with the entries that hang at them
    on_each_cpu(n, shard_drain_here, nullptr);
    inet_peers_exit(n);
    shards_free(n);
    ip_dst_cachep.put_ref();
    kfree(std::exchange(n.ipv4.rtn, nullptr));
}

// ---- generations

void rt_cache_flush(net& n) {
    if (n.ipv4.rtn && n.ipv4.rtn->batch_depth)
        n.ipv4.rtn->batch_dirty = true;
    else
        n.ipv4.rt_genid.fetch_add(1, std::memory_order_release);
}

void ipv4_sysctl_rtcache_flush(net& n) {
    inet_peer_forget_all(n);
    rt_cache_flush(n);
}

void rt_genid_batch_begin(net& n) {
    ++n.ipv4.rtn->batch_depth;
}

void rt_genid_batch_end(net& n) {
    if (--n.ipv4.rtn->batch_depth == 0 && std::exchange(n.ipv4.rtn->batch_dirty, false))
        rt_cache_flush(n);
}

bool rt_caching(const net& n, const rt_hash_shard* shard) {
    return shard->rebuild_count <= n.ipv4.sysctl_rt_cache_rebuild_count;
}

// ---- the hash

namespace {

void lru_add_tail(rt_hash_shard* shard, rtable* rt) {
    rt->rt_listed = uint32_t(jiffies());
    rt->lru_next = nullptr;
    rt->lru_prev = shard->lru_tail;
    (shard->lru_tail ? shard->lru_tail->lru_next : shard->lru_head) = rt;
    shard->lru_tail = rt;
}

void lru_del(rt_hash_shard* shard, rtable* rt) {
    if (unlikely(rt == shard->gc_next))
        shard->gc_next = rt->lru_next;
    (rt->lru_prev ? rt->lru_prev->lru_next : shard->lru_head) = rt->lru_next;
    (rt->lru_next ? rt->lru_next->lru_prev : shard->lru_tail) = rt->lru_prev;
}

rt_bucket& bucket_of(rt_hash_shard* shard, uint32_t hash) {
    return shard->rt_hash_table[hash & shard->rt_hash_mask];
}

// What a bucket says of its chain after rt, behind before (null: the first), was taken out of it.
// marks: those of the entries in front. Most leave as the last of their chain, being the oldest;
// entries behind rt are not looked at for their marks, which stay with rt's.
void bucket_after_del(rt_bucket& bucket, const rtable* before, rtable* after, uint64_t marks) {
    rtable* head = before ? bucket.head() : after;
    unsigned length = bucket.length() - 1;
    if (after)
        marks = bucket.all_marks();
    if (unlikely(bucket.length() == rt_bucket::LONG)) {
        marks = length = 0;
        for (const rtable* rt = head; rt; rt = rt_next_in_chain(rt), ++length)
            marks |= rt_bucket::marks_of(rt->kind());
    }
    bucket.set(head, length, marks);
}

// rt leaves its chain.
void chain_del(rt_bucket& bucket, rtable* rt) {
    rtable* before = nullptr;
    uint64_t marks = 0;
    for (rtable* rth = bucket.head(); rth != rt; rth = rt_next_in_chain(rth)) {
        marks |= rt_bucket::marks_of(rth->kind());
        before = rth;
    }
    if (before)
        before->dst.rt_next = rt->dst.rt_next;
    bucket_after_del(bucket, before, rt_next_in_chain(rt), marks);
}

// What a walk along a chain found.
struct chain_walk {
    rtable* same = nullptr; // an entry of the key, now first in the chain
    rtable* cand = nullptr; // one that nobody holds
    int length = 0;
};

chain_walk rt_walk_chain(rt_bucket& bucket, const rt_key& key) {
    chain_walk walk;
    rtable* before = nullptr;
    for (rtable* rth = bucket.head(); rth; before = rth, rth = rt_next_in_chain(rth)) {
        if (rt_key_equal(rth->key, key)) {
            if (before) // put it first
                bucket.to_front(before, rth);
            walk.same = rth;
            return walk;
        }
        if (!rth->dst.__refcnt)
            walk.cand = rth;
        ++walk.length;
    }
    return walk;
}

// The entry of lowest score among those nobody holds; only long chains are worth the memory that
// this reads.
rtable* rt_lowest_score(rtable* head) {
    rtable* cand = nullptr;
    uint32_t min_score = ~0u;
    const jiffies_t now = jiffies();
    for (rtable* rth = head; rth; rth = rt_next_in_chain(rth)) {
        if (rth->dst.__refcnt)
            continue;
        if (uint32_t score = rt_score(rth, now); score <= min_score) {
            cand = rth;
            min_score = score;
        }
    }
    return cand;
}

// All entries of a long chain are held: somebody may have guessed the secret.
void rt_emergency_hash_rebuild(rt_hash_shard* shard) {
    ++shard->rebuild_count;
    if (!rt_caching(rt_shard_net(shard), shard))
        net_warn_ratelimited("%d rebuilds is over limit, route caching disabled",
                             shard->rebuild_count);
    rt_rebuild(shard);
}

// A table that is full may have room once the cache lets go; one that is asking for too many hosts
// refuses whatever the cache does.
bool rt_may_shrink_neighbours(const net_device* dev) {
    return neigh_table_full(dev->nd_net->arp_tbl);
}

// Binds rt unless it is bound already; room is made once when the neighbour table is full.
int rt_bind(rt_hash_shard* shard, rtable* rt) {
    if (rt->dst.neighbour || !rt_needs_neighbour(rt))
        return 0;
    int err = arp_bind_neighbour(rt);
    if (err == -ENOBUFS && rt_may_shrink_neighbours(rt->dst.dev) && rt_shrink_neighbours(shard))
        err = arp_bind_neighbour(rt);
    if (err)
        net_warn_ratelimited("Neighbour table overflow.");
    return err;
}

} // namespace

void rt_lru_rotate(rt_hash_shard* shard, rtable* rt) {
    lru_del(shard, rt);
    lru_add_tail(shard, rt);
}

void rt_unlink(rt_hash_shard* shard, rtable* rt) {
    chain_del(bucket_of(shard, rt_hash_of(shard, rt->key)), rt);
    lru_del(shard, rt);
    rt->rt_cached = false;
    --shard->nr_cached;
}

void rt_remove(rt_hash_shard* shard, rtable* rt) {
    rt_unlink(shard, rt);
    // Whatever packet uses an entry stamps it, and the clock stands still during a burst.
    if (!rt->dst.__refcnt && rt->dst.lastuse != uint32_t(jiffies()))
        dst_destroy(&rt->dst);
    else
        dst_free(&rt->dst);
}

void rt_enter(rt_hash_shard* shard, rt_bucket& bucket, uint32_t hash, rtable* rt) {
    bucket.push(rt, hash);
    rt->rt_cached = true;
    lru_add_tail(shard, rt);
    if (shard->nr_cached++ == 0)
        rt_periodic_start(shard);
}

rtable* rt_intern_hash(rt_hash_shard* shard, uint32_t hash, rtable* rt) {
    if (rt_bind(shard, rt)) {
        dst_free(&rt->dst);
        return nullptr;
    }
    rt_bucket* bucket = &bucket_of(shard, hash);
    const chain_walk walk = rt_walk_chain(*bucket, rt->key);
    if (walk.same) {
        dst_use_noref(&walk.same->dst, jiffies());
        dst_free(&rt->dst);
        return walk.same;
    }
    if (walk.cand) {
        if (walk.length > rt_shard_net(shard).ipv4.rt.gc_elasticity)
            rt_remove(shard, rt_lowest_score(bucket->head()));
    } else if (walk.length > rt_chain_length_max) {
        rt_emergency_hash_rebuild(shard);
        hash = rt_hash_of(shard, rt->key);
        bucket = &bucket_of(shard, hash);
    }
    rt_enter(shard, *bucket, hash, rt);
    trace_packet(nullptr, "bucket %u, chain length %d", hash & shard->rt_hash_mask, walk.length);
    return rt;
}

void rt_rebuild(rt_hash_shard* shard) {
    shard->rt_hash_seed = new_secret();
    shard->last_rebuild = jiffies();
    std::fill_n(shard->rt_hash_table, size_t(shard->rt_hash_mask) + 1, rt_bucket{});
    for (rtable* rt = shard->lru_head; rt; rt = rt->lru_next) {
        const uint32_t hash = rt_hash_of(shard, rt->key);
        bucket_of(shard, hash).push(rt, hash);
    }
}

void rt_shard_flush(rt_hash_shard* shard) {
    while (shard->lru_head)
        rt_remove(shard, shard->lru_head);
    rt_own_flush(shard);
}

void shard_flush_here(void*) {
    if (rt_hash_shard* shard = this_softnet()->rt_shard)
        rt_shard_flush(shard);
}

// ---- neighbours

namespace {

// The key of a next hop in the neighbour table: devices without addresses have one entry for all.
be32_t neigh_key(const net_device* dev, be32_t nexthop) {
    return dev->flags & (IFF_LOOPBACK | IFF_POINTOPOINT) ? INADDR_ANY : nexthop;
}
} // namespace

bool rt_usable(const rtable* rt, jiffies_t now) {
    if (unlikely(rt->dst.expires && time_after_eq(now, rt->dst.expires)))
        return false;
    return !rt->dst.neighbour || rt_neigh_valid(rt->dst.neighbour);
}

neighbour* rt_resolved_neighbour(net_device* dev, be32_t nexthop, bool gw6) {
    neigh_table* tbl = gw6 ? dev->nd_net->nd_tbl : dev->nd_net->arp_tbl;
    const be32_t key = gw6 ? nexthop : neigh_key(dev, nexthop);
    neighbour* n = __neigh_lookup_noref(tbl, key, dev);
    if (!n || !(n->nud_state.load(std::memory_order_relaxed) & NUD_VALID))
        return nullptr;
    n = neigh_lookup(tbl, key, dev);
    if (n && n->dead.load(std::memory_order_relaxed)) {
        neigh_release(n);
        return nullptr;
    }
    return n;
}

int arp_bind_neighbour(rtable* rt) {
    if (rt->dst.neighbour)
        return 0;
    net_device* dev = rt->dst.dev;
    neigh_table* tbl = rt->rt_gw6 ? dev->nd_net->nd_tbl : dev->nd_net->arp_tbl;
    be32_t key = rt->rt_gw6 ? rt->rt_gateway : neigh_key(dev, rt->rt_gateway);
    neighbour* n = neigh_lookup(tbl, key, dev);
    if (!n)
        n = neigh_create_question(tbl, key, dev, true);
    if (!n)
        return -ENOBUFS;
    rt->dst.neighbour = n;
    return 0;
}

neighbour* ip_neigh_for_gw(rtable* rt, sk_buff* skb) {
    rt_hash_shard* shard = this_softnet()->rt_shard;
    neighbour* n = rt->dst.neighbour;
    if (n && rt->rt_cached && unlikely(!rt_neigh_valid(n)))
        rt_remove(shard, rt); // a failed neighbour unbinds; this packet still has the entry
    if (n && !n->dead.load(std::memory_order_relaxed))
        return n;
    auto find_or_make = [&] {
        return rt->rt_gw6 ? ip_neigh_gw6(rt->dst.dev, rt->rt_gateway)
                          : ip_neigh_gw4(rt->dst.dev, rt_nexthop(rt, ip_hdr(skb)->daddr));
    };
    n = find_or_make();
    if (n || !rt_may_shrink_neighbours(rt->dst.dev) || !rt_shrink_neighbours(shard))
        return n;
    n = find_or_make();
    if (!n)
        net_warn_ratelimited("Neighbour table overflow.");
    return n;
}

void skb_rtable_set(sk_buff* skb, rtable* rt) {
    skb->dst = &rt->dst;
    skb->rt_flags = rt->rt_flags;
    skb->rt_mtu = rt->dst.mtu;
    skb->rt_type = rt->rt_type;
    skb->rt_is_input = rt->rt_is_input;
    if (unlikely(rt->rt_flags & RTCF_DOREDIRECT))
        IPCB(skb)->flags |= IPSKB_DOREDIRECT;
}

} // namespace slabfwd
