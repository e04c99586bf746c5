// SPDX-License-Identifier: BSD-3-Clause
//
// The neighbour table: its hash, the life of an entry, and the way of a packet through one.
// Door: neigh_lookup, neigh_create, neigh_release; neigh_output and what it chooses from.
// Threads: lookups take no lock (RCU); tbl->lock guards the chains. An entry is freed a grace
// period after its last reference. While the hash grows a reader may follow an entry into its new
// chain and miss one that is there; a creator looks again under the lock, so no entry exists twice.
// Origin: net/core/neighbour.c. Differences: one chain link per entry, devices are flushed by a
// walk.
#include "neigh/neighbour_priv.h"

#include <cerrno>
#include <cstring>
#include <new>

#include "neigh/arp.h"
#include "neigh/trace_kmem.h"

namespace slabfwd {

// --- hash ----------------------------------------------------------------------------------------

namespace {

/// arp_hash: mixes key and device with the table's seed (finaliser of MurmurHash3).
uint32_t arp_hash(be32_t key, const net_device* dev, uint32_t rnd) {
    uint32_t h = key.raw ^ rnd;
    h = (h ^ (h >> 16)) * 0x85ebca6bu;
    h += uint32_t(dev->ifindex) * 0x9e3779b1u;
    h = (h ^ (h >> 13)) * 0xc2b2ae35u;
    return h ^ (h >> 16);
}

neighbour** chain(neigh_hash_table* nht, be32_t key, const net_device* dev) {
    return &nht->hash_heads[arp_hash(key, dev, nht->hash_rnd) & ((1u << nht->hash_shift) - 1)];
}

/// Doubles the table when memory allows; tbl->lock held. Origin: neigh_hash_grow.
void neigh_hash_grow(neigh_table* tbl) {
    NEIGH_CACHE_STAT_INC(neigh_statistics::hash_grows);
    neigh_hash_table* old = tbl->nht;
    neigh_hash_table* bigger = neigh_hash_alloc(old->hash_shift + 1, get_random_u32());
    if (!bigger)
        return;
    for (unsigned i = 0; i < 1u << old->hash_shift; ++i)
        for (neighbour *n = old->hash_heads[i], *next; n; n = next) {
            next = n->next;
            neighbour** head = chain(bigger, n->primary_key, n->dev);
            rcu_assign_pointer(n->next, *head);
            *head = n;
        }
    rcu_assign_pointer(tbl->nht, bigger);
    call_rcu_free<neigh_hash_table, neigh_hash_free>(old);
}

neighbour* find(neigh_table* tbl, be32_t key, const net_device* dev) {
    neighbour* n = rcu_dereference(*chain(rcu_dereference(tbl->nht), key, dev));
    while (n && !(n->dev == dev && n->primary_key == key))
        n = rcu_dereference(n->next);
    return n;
}

} // namespace

neigh_hash_table* neigh_hash_alloc(unsigned shift, uint32_t rnd) {
    size_t size = sizeof(neigh_hash_table) + (sizeof(neighbour*) << shift);
    auto* nht = static_cast<neigh_hash_table*>(kzalloc(size, GFP_ATOMIC | __GFP_NOWARN));
    if (nht) {
        nht->hash_shift = shift;
        nht->hash_rnd = rnd;
    }
    return nht;
}

void neigh_hash_free(neigh_hash_table* nht) {
    kfree(nht);
}

neighbour* __neigh_lookup_noref(neigh_table* tbl, be32_t key, const net_device* dev) {
    return find(tbl, key, dev);
}

neighbour* neigh_lookup(neigh_table* tbl, be32_t key, const net_device* dev) {
    NEIGH_CACHE_STAT_INC(neigh_statistics::lookups);
    neighbour* n = find(tbl, key, dev);
    if (!n || !neigh_tryget(n))
        return nullptr;
    NEIGH_CACHE_STAT_INC(neigh_statistics::hits);
    return n;
}

neighbour* ip_neigh_gw4(net_device* dev, be32_t daddr) {
    neigh_table* tbl = dev->nd_net->arp_tbl;
    // All of such a device's neighbours are one (see arp_constructor).
    be32_t key = dev->flags & (IFF_LOOPBACK | IFF_POINTOPOINT) ? INADDR_ANY : daddr;
    neighbour* n = find(tbl, key, dev);
    return n ? n : neigh_create_question(tbl, daddr, dev, false);
}

neighbour* ip_neigh_gw6(net_device* dev, be32_t key) {
    neigh_table* tbl = dev->nd_net->nd_tbl;
    neighbour* n = find(tbl, key, dev);
    return n ? n : neigh_create(tbl, key, dev, false);
}

// --- life of an entry ----------------------------------------------------------------------------

namespace {

/// Counts the entry against the limits, collecting when they are passed; false when there is no
/// room.
bool neigh_charge(neigh_table* tbl) {
    int entries = tbl->gc_entries.fetch_add(1, std::memory_order_relaxed);
    const int gc_thresh3 = tbl->gc_thresh3;
    bool collect =
        entries >= gc_thresh3 ||
        (entries >= tbl->gc_thresh2 && time_after(jiffies(), READ_ONCE(tbl->last_flush) + 5 * HZ));
    if (!collect || neigh_forced_gc(tbl) || entries < gc_thresh3)
        return true;
    net_warn_ratelimited("neighbour: arp_cache: neighbor table overflow!");
    NEIGH_CACHE_STAT_INC(neigh_statistics::table_fulls);
    return false;
}

neighbour* neigh_alloc(neigh_table* tbl, uint8_t flags, bool exempt_from_gc) {
    void* mem = exempt_from_gc || neigh_charge(tbl)
                    ? kmem_cache_alloc(tbl->cache, GFP_ATOMIC | __GFP_NOWARN)
                    : nullptr;
    trace_kmem_cache_alloc(__func__, tbl->cache, mem);
    if (!mem) {
        if (!exempt_from_gc)
            tbl->gc_entries.fetch_sub(1, std::memory_order_relaxed);
        return nullptr;
    }
    auto* n = new (mem) neighbour;
    n->updated = jiffies();
    n->used = jiffies();
    n->output = neigh_blackhole;
    n->flags = flags;
    n->parms = &tbl->parms;
    n->timer.function = neigh_timer_handler;
    n->tbl = tbl;
    n->dead = 1;
    NEIGH_CACHE_STAT_INC(neigh_statistics::allocs);
    tbl->entries.fetch_add(1, std::memory_order_relaxed);
    return n;
}

void neigh_free(neighbour* n) {
    kmem_cache* cache = n->tbl->cache;
    n->~neighbour();
    kmem_cache_free(cache, n);
}

void neigh_destroy(neighbour* n) {
    NEIGH_CACHE_STAT_INC(neigh_statistics::destroys);
    sk_buff_head waiting;
    {
        spin_guard guard(n->lock);
        neigh_take_queue(n, &waiting);
    }
    neigh_unhold(n->tbl, int(waiting.qlen));
    skb_queue_purge_reason(&waiting, skb_drop_reason::QUEUE_PURGE);
    n->tbl->entries.fetch_sub(1, std::memory_order_relaxed);
    call_rcu_free<neighbour, neigh_free>(n);
}

} // namespace

void neigh_release(neighbour* n) {
    if (n->refcnt.fetch_sub(1, std::memory_order_acq_rel) == 1)
        neigh_destroy(n);
}

neighbour* ___neigh_create(neigh_table* tbl, be32_t key, net_device* dev, uint8_t flags,
                           bool exempt_from_gc, bool want_ref, int* err) {
    *err = -ENOBUFS;
    neighbour* n = neigh_alloc(tbl, flags, exempt_from_gc);
    if (!n)
        return nullptr;
    n->primary_key = key;
    n->dev = dev;
    neighbour* rc = nullptr;
    *err = tbl->constructor(n);
    if (!*err) {
        n->confirmed = jiffies() - (jiffies_t(n->parms->base_reachable_time.get()) << 1);
        spin_guard guard(tbl->lock);
        if (tbl->entries.load(std::memory_order_relaxed) > 1 << tbl->nht->hash_shift)
            neigh_hash_grow(tbl);
        rc = find(tbl, n->primary_key, dev);
        if (!rc) {
            rc = n;
            n->dead.store(0, std::memory_order_relaxed);
            if (!exempt_from_gc)
                neigh_gc_list_add(n);
            neighbour** head = chain(tbl->nht, n->primary_key, dev);
            n->next = *head;
            rcu_assign_pointer(*head, n);
        }
        if (want_ref)
            rc->refcnt.fetch_add(1, std::memory_order_relaxed);
    }
    if (rc != n) { // constructor refused, or somebody else was faster
        if (!exempt_from_gc)
            tbl->gc_entries.fetch_sub(1, std::memory_order_relaxed);
        neigh_release(n);
    }
    return rc;
}

neighbour* neigh_create(neigh_table* tbl, be32_t key, net_device* dev, bool want_ref) {
    int err;
    return ___neigh_create(tbl, key, dev, 0, false, want_ref, &err);
}

neighbour* neigh_create_question(neigh_table* tbl, be32_t key, net_device* dev, bool want_ref) {
    return neigh_may_ask(tbl) ? neigh_create(tbl, key, dev, want_ref) : nullptr;
}

void neigh_unlink(neighbour* n) {
    neigh_table* tbl = n->tbl;
    neighbour** link = chain(tbl->nht, n->primary_key, n->dev);
    while (*link != n)
        link = &(*link)->next;
    rcu_assign_pointer(*link, n->next); // n->next stays: readers may stand on n
    n->dead.store(1, std::memory_order_relaxed);
    if (n->asked)
        neigh_question_del(n);
    if (n->on_gc_list) {
        neigh_gc_list_del(n);
        tbl->gc_entries.fetch_sub(1, std::memory_order_relaxed);
    }
}

bool neigh_remove_one(neighbour* n) {
    {
        spin_guard guard(n->lock);
        if (n->refcnt.load(std::memory_order_acquire) != 1)
            return false;
        neigh_unlink(n);
    }
    neigh_release(n);
    return true;
}

void neigh_evict(neighbour* n, sk_buff_head* waiting) {
    const uint8_t state = n->nud_state;
    neigh_del_timer(n);
    neigh_unlink(n);
    neigh_take_queue(n, waiting);
    if (n->refcnt.load(std::memory_order_acquire) != 1) {
        // A route still points here: it finds an entry that swallows everything.
        neigh_suspect(n);
        WRITE_ONCE(n->output, neigh_blackhole);
        n->nud_state = state & NUD_VALID ? NUD_NOARP : NUD_NONE;
    }
}

void neigh_flush_dev(neigh_table* tbl, const net_device* dev, bool skip_perm) {
    sk_buff_head waiting;
    auto flush = [&](neighbour* n) {
        {
            spin_guard guard(n->lock);
            if ((dev && n->dev != dev) || (skip_perm && (n->nud_state & NUD_PERMANENT)))
                return;
            neigh_evict(n, &waiting);
        }
        neigh_release(n);
    };
    {
        spin_guard guard(tbl->lock);
        neigh_hash_table* nht = tbl->nht;
        for (unsigned i = 0; i < 1u << nht->hash_shift; ++i)
            for (neighbour *n = nht->hash_heads[i], *next; n; n = next) {
                next = n->next;
                flush(n);
            }
    }
    neigh_unhold(tbl, int(waiting.qlen));
    skb_queue_purge_reason(&waiting, skb_drop_reason::QUEUE_PURGE);
}

// --- output --------------------------------------------------------------------------------------

namespace {

/// Link header from the entry's present address, and out. The address is copied under the lock,
/// which plays the part of the kernel's ha_lock.
void neigh_hard_header_xmit(neighbour* n, sk_buff* skb) {
    uint8_t ha[ETH_ALEN];
    {
        spin_guard guard(n->lock);
        memcpy(ha, n->ha, ETH_ALEN);
    }
    if (likely(eth_header(skb, n->dev, be16_to_cpu(skb->protocol), ha, nullptr)))
        dev_queue_xmit(skb);
    else
        kfree_skb_reason(skb, skb_drop_reason::NEIGH_HH_FILLFAIL);
}

} // namespace

void neigh_blackhole(neighbour* n, sk_buff* skb) {
    trace_packet(skb, "dev %s: entry is dead", n->dev->name);
    kfree_skb_reason(skb, skb_drop_reason::NEIGH_DEAD);
}

void neigh_resolve_output(neighbour* n, sk_buff* skb) {
    if (neigh_event_send(n, skb))
        return;
    trace_packet(skb, "dev %s %s: sent to the address known", n->dev->name,
                 nud_state_name(n->nud_state));
    neigh_hard_header_xmit(n, skb);
}

void neigh_connected_output(neighbour* n, sk_buff* skb) {
    neigh_hard_header_xmit(n, skb);
}

void neigh_direct_output(neighbour* n, sk_buff* skb) {
    trace_packet(skb, "dev %s: no link header", n->dev->name);
    dev_queue_xmit(skb);
}

void neigh_output(neighbour* n, sk_buff* skb) {
    uint64_t hh[2];
    if (likely(neigh_hh_read(n, hh)) && likely(rte_pktmbuf_headroom(skb_mbuf(skb)) >= sizeof hh)) {
        trace_packet(skb, "dev %s: cached link header", n->dev->name);
        memcpy(skb_data(skb) - sizeof hh, hh, sizeof hh);
        skb_push(skb, ETH_HLEN);
        skb_reset_mac_header(skb);
        return dev_queue_xmit(skb);
    }
    READ_ONCE(n->output)(n, skb);
}

} // namespace slabfwd
