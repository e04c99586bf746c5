// SPDX-License-Identifier: BSD-3-Clause
//
// The table of inet_peers: a hash of chains with a lock each, aged on the way: whoever makes a peer
// first frees the idle ones of its chain, and of a few more when the table is full, so that a flood
// of addresses costs each packet a bounded amount and memory stays under inet_peer_threshold
// entries. Origin: net/ipv4/inetpeer.c (6.18), with hash chains in place of the red-black tree.
#include "route/inetpeer.h"

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <new>

#include "alloc/kmalloc.h"
#include "alloc/kmem_cache.h"
#include "neigh/trace_kmem.h"
#include "route/route_cache.h"

namespace slabfwd {

struct inet_peer_bucket {
    spinlock_t lock; // writers of the chain
    inet_peer* head = nullptr;
};

namespace {

constexpr uint32_t PEER_BUCKETS = 16384;
constexpr unsigned PEER_GC_BUCKETS =
    16; // chains that one new peer may look at when the table is full

shared_cache inet_peer_cachep{"inet_peer_cache", sizeof(inet_peer), alignof(inet_peer)};

inet_peer_bucket& bucket_of(const inet_peer_base& base, be32_t addr, int vif) {
    return base.buckets[rt_hash_seeded(addr, {}, uint32_t(vif), base.seed) & base.mask];
}

inet_peer* chain_find(inet_peer_bucket& b, be32_t addr, int vif) {
    for (inet_peer* p = rcu_dereference(b.head); p; p = rcu_dereference(p->next))
        if (p->addr == addr && p->vif == vif)
            return p;
    return nullptr;
}

void inet_peer_free(inet_peer* p) {
    p->~inet_peer();
    kmem_cache_free(inet_peer_cachep.get(), p);
}

// How long an unused peer stays: the shorter the more there are. Origin: inet_peer_gc.
jiffies_t peer_ttl(const inet_peer_base& base) {
    int total = base.total.load(std::memory_order_relaxed);
    if (total >= inet_peer_threshold)
        return 0;
    return inet_peer_maxttl -
           (inet_peer_maxttl - inet_peer_minttl) / HZ * uint64_t(total) / inet_peer_threshold * HZ;
}

bool peer_has_learned(const inet_peer& p) {
    return p.pmtu_learned || p.redirect_learned;
}

// Unlinks the peers of b that were not used for ttl. REQUIRES b.lock.
unsigned chain_gc(inet_peer_base& base, inet_peer_bucket& b, jiffies_t ttl, jiffies_t now) {
    unsigned freed = 0;
    for (inet_peer** pp = &b.head; inet_peer* p = *pp;) {
        jiffies_t dtime = p->dtime.load(std::memory_order_relaxed);
        if (!time_after(now, dtime + ttl)) {
            pp = &p->next;
            continue;
        }
        rcu_assign_pointer(*pp, p->next);
        {
            std::lock_guard guard(p->lock);
            if (peer_has_learned(*p))
                base.learned.fetch_sub(1, std::memory_order_relaxed);
            p->pmtu_learned = 0;
            p->redirect_learned = {};
        }
        call_rcu_free<inet_peer, inet_peer_free>(p);
        ++freed;
    }
    if (freed)
        base.total.fetch_sub(int(freed), std::memory_order_relaxed);
    return freed;
}

// The table is full: looks for idle peers in a few more chains. No bucket lock is held.
bool make_room(inet_peer_base& base, jiffies_t now) {
    for (unsigned i = 0; i < PEER_GC_BUCKETS; ++i) {
        inet_peer_bucket& b =
            base.buckets[base.rover.fetch_add(1, std::memory_order_relaxed) & base.mask];
        std::lock_guard guard(b.lock);
        if (chain_gc(base, b, 0, now))
            return true;
    }
    return false;
}

inet_peer* peer_alloc(be32_t addr, int vif, jiffies_t now) {
    void* mem = kmem_cache_alloc(inet_peer_cachep.get(), GFP_ATOMIC);
    trace_kmem_cache_alloc(__func__, inet_peer_cachep.get(), mem);
    if (!mem)
        return nullptr;
    auto* p = new (mem) inet_peer;
    p->addr = addr;
    p->vif = vif;
    p->dtime.store(now, std::memory_order_relaxed);
    // As if the last message had been a minute ago: the bucket is full at once, whatever its size.
    p->rate_last = now - 60 * HZ;
    return p;
}

inet_peer* inet_peer_create(inet_peer_base& base, be32_t addr, int vif, jiffies_t now) {
    if (base.total.load(std::memory_order_relaxed) >= inet_peer_threshold && !make_room(base, now))
        return nullptr;
    inet_peer_bucket& b = bucket_of(base, addr, vif);
    std::lock_guard guard(b.lock);
    if (inet_peer* p = chain_find(b, addr, vif))
        return p;
    chain_gc(base, b, peer_ttl(base), now);
    inet_peer* p = peer_alloc(addr, vif, now);
    if (!p)
        return nullptr;
    p->next = b.head;
    rcu_assign_pointer(b.head, p);
    base.total.fetch_add(1, std::memory_order_relaxed);
    return p;
}

} // namespace

int inet_peers_init(net& n) {
    if (!inet_peer_cachep.get_ref())
        return -ENOMEM;
    void* mem = kzalloc(sizeof(inet_peer_base), GFP_KERNEL);
    void* buckets = mem ? kzalloc(PEER_BUCKETS * sizeof(inet_peer_bucket), GFP_KERNEL) : nullptr;
    if (!buckets) {
        kfree(mem);
        inet_peer_cachep.put_ref();
        return -ENOMEM;
    }
    auto* base = new (mem) inet_peer_base;
    base->buckets = static_cast<inet_peer_bucket*>(buckets);
    for (uint32_t i = 0; i < PEER_BUCKETS; ++i)
        new (&base->buckets[i]) inet_peer_bucket;
    base->mask = PEER_BUCKETS - 1;
    base->seed = uint64_t(get_random_u32()) << 32 | get_random_u32();
    n.ipv4.peers = base;
    return 0;
}

void inet_peers_exit(net& n) {
    inet_peer_base* base = n.ipv4.peers;
    if (!base)
        return;
    n.ipv4.peers = nullptr;
    rcu_barrier_all(n);
    for (uint32_t i = 0; i <= base->mask; ++i)
        while (inet_peer* p = base->buckets[i].head) {
            base->buckets[i].head = p->next;
            inet_peer_free(p);
        }
    kfree(base->buckets);
    base->~inet_peer_base();
    kfree(base);
    inet_peer_cachep.put_ref();
}

inet_peer* inet_getpeer_v4(net& n, be32_t addr, int vif, bool create) {
    inet_peer_base& base = *n.ipv4.peers;
    jiffies_t now = jiffies();
    inet_peer* p = chain_find(bucket_of(base, addr, vif), addr, vif);
    if (!p && create)
        p = inet_peer_create(base, addr, vif, now);
    if (p && p->dtime.load(std::memory_order_relaxed) != now)
        p->dtime.store(now, std::memory_order_relaxed);
    return p;
}

bool inet_peer_xrlim_allow(inet_peer* peer, jiffies_t timeout) {
    constexpr jiffies_t XRLIM_BURST_FACTOR = 6;
    if (!peer)
        return true;
    jiffies_t now = jiffies();
    std::lock_guard guard(peer->lock);
    if (time_after(now, peer->rate_last)) { // another slot's clock may be a little ahead
        peer->rate_tokens += now - peer->rate_last;
        peer->rate_tokens = std::min(peer->rate_tokens, XRLIM_BURST_FACTOR * timeout);
        peer->rate_last = now;
    }
    if (peer->rate_tokens < timeout)
        return false;
    peer->rate_tokens -= timeout;
    return true;
}

inet_peer_learned inet_peer_find_learned(net& n, be32_t daddr, int oif, be32_t gw) {
    inet_peer_base& base = *n.ipv4.peers;
    inet_peer_learned out;
    if (!base.learned.load(std::memory_order_relaxed))
        return out;
    inet_peer* p = chain_find(bucket_of(base, daddr, 0), daddr, 0);
    if (!p)
        return out;
    jiffies_t now = jiffies();
    std::lock_guard guard(p->lock);
    if ((p->learned_oif && (p->learned_oif != oif || p->learned_gw != gw)) ||
        p->learned_genid != base.genid.load(std::memory_order_acquire))
        return out;
    if (p->pmtu_learned && time_before(now, p->pmtu_expires)) {
        out.pmtu = p->pmtu_learned;
        out.pmtu_locked = p->pmtu_locked;
        out.expires = p->pmtu_expires;
    }
    if (p->redirect_learned && time_before(now, p->redirect_expires)) {
        out.gateway = p->redirect_learned;
        if (!out.expires || time_before(p->redirect_expires, out.expires))
            out.expires = p->redirect_expires;
    }
    return out;
}

bool inet_peer_learn(net& n, be32_t daddr, int oif, be32_t gw, uint32_t pmtu, bool pmtu_locked,
                     be32_t gateway, jiffies_t expires) {
    inet_peer_base& base = *n.ipv4.peers;
    inet_peer* p = inet_getpeer_v4(n, daddr, 0);
    if (!p)
        return false;
    uint32_t genid = base.genid.load(std::memory_order_acquire);
    std::lock_guard guard(p->lock);
    bool had = peer_has_learned(*p);
    if ((p->learned_oif && (p->learned_oif != oif || p->learned_gw != gw)) ||
        p->learned_genid != genid) {
        p->learned_oif = oif;
        p->learned_gw = gw;
        p->learned_genid = genid;
        p->pmtu_learned = 0;
        p->redirect_learned = {};
    }
    if (pmtu) {
        p->pmtu_learned = pmtu;
        p->pmtu_locked = pmtu_locked;
        p->pmtu_expires = expires;
    }
    if (gateway) {
        p->redirect_learned = gateway;
        p->redirect_expires = expires;
    }
    if (!had && peer_has_learned(*p))
        base.learned.fetch_add(1, std::memory_order_relaxed);
    base.learned_genid.fetch_add(1, std::memory_order_release);
    return true;
}

void inet_peer_forget_all(net& n) {
    inet_peer_base& base = *n.ipv4.peers;
    base.genid.fetch_add(1, std::memory_order_release);
    base.learned_genid.fetch_add(1, std::memory_order_release);
}

} // namespace slabfwd
