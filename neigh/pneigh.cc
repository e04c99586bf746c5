// SPDX-License-Identifier: BSD-3-Clause
//
// Proxy ARP: the addresses that are answered for (`ip neigh add proxy`), and the queue in which
// requests wait for a random time, so that the owner of the address can answer first. Door:
// pneigh_lookup, pneigh_create, pneigh_delete, pneigh_enqueue. Threads: the list is read under RCU
// and written under tbl->lock; the queue has proxy_lock and is worked off by whichever slot its
// timer was set on. Origin: net/core/neighbour.c (pneigh_*, neigh_proxy_process).
#include "neigh/neighbour_priv.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <new>

#include "neigh/arp.h"
#include "neigh/inetdevice.h"

namespace slabfwd {

// --- entries -------------------------------------------------------------------------------------

namespace {

void pneigh_free(pneigh_entry* p) {
    kfree(p);
}

/// Takes out every entry that gone() names; tbl->lock is taken here. Returns how many.
template <class F>
int pneigh_unlink_if(neigh_table* tbl, F gone) {
    int found = 0;
    spin_guard guard(tbl->lock);
    for (pneigh_entry** link = &tbl->phash; pneigh_entry* p = *link;) {
        if (!gone(p)) {
            link = &p->next;
            continue;
        }
        rcu_assign_pointer(*link, p->next);
        call_rcu_free<pneigh_entry, pneigh_free>(p);
        ++found;
    }
    return found;
}

} // namespace

pneigh_entry* pneigh_lookup(neigh_table* tbl, be32_t key, const net_device* dev) {
    pneigh_entry* p = rcu_dereference(tbl->phash);
    while (p && !(p->key == key && (p->dev == dev || !p->dev)))
        p = rcu_dereference(p->next);
    return p;
}

int pneigh_create(neigh_table* tbl, be32_t key, net_device* dev, uint8_t flags, uint8_t protocol,
                  bool permanent) {
    pneigh_entry* p = pneigh_lookup(tbl, key, dev);
    const bool fresh = !p;
    if (fresh) {
        void* mem = kmalloc(sizeof(pneigh_entry), GFP_KERNEL);
        if (!mem)
            return -ENOBUFS;
        p = new (mem) pneigh_entry;
        p->key = key;
        p->dev = dev;
    }
    p->flags = flags;
    p->permanent = permanent;
    if (protocol)
        p->protocol = protocol;
    if (fresh) {
        spin_guard guard(tbl->lock);
        p->next = tbl->phash;
        rcu_assign_pointer(tbl->phash, p);
    }
    return 0;
}

int pneigh_delete(neigh_table* tbl, be32_t key, const net_device* dev) {
    auto gone = [&](const pneigh_entry* p) { return p->key == key && p->dev == dev; };
    return pneigh_unlink_if(tbl, gone) ? 0 : -ENOENT;
}

void pneigh_ifdown(neigh_table* tbl, const net_device* dev, bool skip_perm) {
    pneigh_unlink_if(tbl, [&](const pneigh_entry* p) {
        return !(skip_perm && p->permanent) && (!dev || p->dev == dev);
    });
}

// --- requests that wait --------------------------------------------------------------------------

namespace {

neigh_parms* proxy_parms(const sk_buff* skb) {
    return skb->dev->arp_parms;
}

/// Moves what taken() names from the queue to `out`; proxy_lock held.
template <class F>
void proxy_take(neigh_table* tbl, sk_buff_head* out, F taken) {
    sk_buff_head rest;
    while (sk_buff* skb = tbl->proxy_queue.pop_front()) {
        if (!taken(skb)) {
            rest.push_back(skb);
            continue;
        }
        if (neigh_parms* p = proxy_parms(skb))
            p->qlen.fetch_sub(1, std::memory_order_relaxed);
        out->push_back(skb);
    }
    tbl->proxy_queue = rest;
    neigh_unhold(tbl, int(out->qlen));
}

} // namespace

void pneigh_enqueue(neigh_table* tbl, neigh_parms* p, sk_buff* skb) {
    const jiffies_t when = jiffies() + get_random_u32_below(uint32_t(p->proxy_delay.get()));
    if (p->qlen.load(std::memory_order_relaxed) > p->proxy_qlen)
        return kfree_skb_reason(skb, skb_drop_reason::NEIGH_QUEUEFULL);
    if (tbl->held.fetch_add(1, std::memory_order_relaxed) >= tbl->held_max) {
        neigh_unhold(tbl, 1);
        return kfree_skb_reason(skb, skb_drop_reason::HELD_LIMIT);
    }
    NEIGH_CB(skb)->sched_next = when;
    NEIGH_CB(skb)->flags |= LOCALLY_ENQUEUED;
    skb->dst = nullptr;
    trace_packet(skb, "dev %s: proxy answer waits", skb->dev->name);

    spin_guard guard(tbl->proxy_lock);
    jiffies_t next = when;
    if (del_timer(&tbl->proxy_timer))
        next = std::min(next, tbl->proxy_timer.expires);
    tbl->proxy_queue.push_back(skb);
    p->qlen.fetch_add(1, std::memory_order_relaxed);
    mod_timer(&tbl->proxy_timer, next);
}

void neigh_proxy_process(timer_list* t) {
    auto* tbl = reinterpret_cast<neigh_table*>(reinterpret_cast<char*>(t) -
                                               offsetof(neigh_table, proxy_timer));
    const jiffies_t now = jiffies();
    sk_buff_head due;
    {
        spin_guard guard(tbl->proxy_lock);
        jiffies_t next = ~jiffies_t(0);
        proxy_take(tbl, &due, [&](sk_buff* skb) {
            const jiffies_t when = NEIGH_CB(skb)->sched_next;
            if (when > now)
                next = std::min(next, when);
            return when <= now;
        });
        if (tbl->proxy_queue.qlen)
            mod_timer(&tbl->proxy_timer, next);
    }
    while (sk_buff* skb = due.pop_front()) {
        if (skb->dev->up())
            arp_process(skb);
        else
            kfree_skb_reason(skb, skb_drop_reason::DEV_READY);
    }
}

void pneigh_queue_purge(neigh_table* tbl, const net_device* dev) {
    sk_buff_head gone;
    {
        spin_guard guard(tbl->proxy_lock);
        proxy_take(tbl, &gone, [&](sk_buff* skb) { return !dev || skb->dev == dev; });
        if (!tbl->proxy_queue.qlen)
            del_timer(&tbl->proxy_timer);
    }
    skb_queue_purge_reason(&gone, skb_drop_reason::QUEUE_PURGE);
}

} // namespace slabfwd
