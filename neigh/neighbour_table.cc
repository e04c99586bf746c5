// SPDX-License-Identifier: BSD-3-Clause
//
// The table as a whole: set-up and end, tunables, `ip neigh`, walks, the check of an entry's
// invariants. Door: neigh_table_init, neigh_parms_alloc, neigh_add / neigh_delete, neigh_for_each.
// Threads: the control thread, but for neigh_for_each and neigh_is_valid.
// Origin: net/core/neighbour.c.
#include "neigh/neighbour_priv.h"

#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>

#include "neigh/arp.h"
#include "neigh/ndisc.h"

namespace slabfwd {

namespace {

constexpr unsigned NEIGH_HASH_SHIFT = 3; ///< 8 chains at first

/// "arp_cache": the first table makes it, the last one ends it.
std::mutex arp_cache_mutex;
kmem_cache* arp_cache;
unsigned arp_cache_users;

kmem_cache* arp_cache_get() {
    std::lock_guard guard(arp_cache_mutex);
    if (!arp_cache)
        arp_cache = kmem_cache_create("arp_cache", sizeof(neighbour), alignof(neighbour),
                                      SLAB_HWCACHE_ALIGN, nullptr);
    arp_cache_users += arp_cache != nullptr;
    return arp_cache;
}

void arp_cache_put() {
    std::lock_guard guard(arp_cache_mutex);
    if (--arp_cache_users == 0 && kmem_cache_destroy(arp_cache) == 0)
        arp_cache = nullptr;
}

/// Copies every tunable of `from` that `to` has not been given itself.
void neigh_copy_dflt_parms(const neigh_parms& from, neigh_parms& to) {
    const uint32_t own = to.data_state.load(std::memory_order_relaxed);
    unsigned bit = 0;
#define X(field, name, def)                                                                        \
    if (!(own & (1u << bit++)))                                                                    \
        to.field = from.field;
    SLABFWD_NEIGH_PARMS(X)
#undef X
}

unsigned neigh_parms_bit(sysctl_int neigh_parms::*field) {
    unsigned bit = 0;
#define X(f, name, def)                                                                            \
    if (field == &neigh_parms::f)                                                                  \
        return bit;                                                                                \
    ++bit;
    SLABFWD_NEIGH_PARMS(X)
#undef X
    return bit;
}

} // namespace

// --- set-up --------------------------------------------------------------------------------------

static void neigh_table_free(neigh_table* tbl) {
    neigh_hash_free(tbl->nht);
    tbl->~neigh_table();
    kfree(tbl);
}

static neigh_table* neigh_table_alloc(net& n, int (*constructor)(neighbour*)) {
    void* mem = kmalloc(sizeof(neigh_table), GFP_KERNEL);
    if (!mem)
        return nullptr;
    auto* tbl = new (mem) neigh_table;
    tbl->nd_net = &n;
    tbl->constructor = constructor;
    tbl->nht = neigh_hash_alloc(NEIGH_HASH_SHIFT, get_random_u32());
    tbl->cache = tbl->nht ? arp_cache_get() : nullptr;
    if (!tbl->cache) {
        neigh_table_free(tbl);
        return nullptr;
    }
    tbl->parms.reachable_time = neigh_rand_reach_time(tbl->parms.base_reachable_time);
    tbl->last_flush = tbl->last_rand = jiffies();
    tbl->gc_work.function = neigh_periodic_work;
    tbl->proxy_timer.function = neigh_proxy_process;
    mod_timer_on(n.softnet[0]->timers, &tbl->gc_work,
                 jiffies() + jiffies_t(tbl->parms.reachable_time.get()));
    return tbl;
}

int neigh_table_init(net& n) {
    n.arp_tbl = neigh_table_alloc(n, arp_constructor);
    n.nd_tbl = n.arp_tbl ? neigh_table_alloc(n, ndisc_constructor) : nullptr;
    if (!n.nd_tbl) {
        neigh_table_clear(n);
        return -ENOMEM;
    }
    register_netdevice_notifier(n, arp_netdev_event);
    return 0;
}

static void neigh_table_clear(net& n, neigh_table** slot) {
    neigh_table* tbl = *slot;
    if (!tbl)
        return;
    del_timer(&tbl->gc_work);
    neigh_ifdown(tbl, nullptr);
    rcu_barrier_all(n);
    *slot = nullptr;
    if (int left = tbl->entries.load(std::memory_order_relaxed))
        net_warn_ratelimited("neighbour leakage: %d entries are still held", left);
    neigh_table_free(tbl);
    arp_cache_put();
}

void neigh_table_clear(net& n) {
    neigh_table_clear(n, &n.nd_tbl);
    neigh_table_clear(n, &n.arp_tbl);
}

void neigh_ifdown_all(net& n, net_device* dev) {
    for (neigh_table* tbl : {n.arp_tbl, n.nd_tbl})
        if (tbl)
            neigh_ifdown(tbl, dev);
}

int neigh_held(const net& n) {
    int held = 0;
    for (const neigh_table* tbl : {n.arp_tbl, n.nd_tbl})
        held += tbl ? tbl->held.load(std::memory_order_relaxed) : 0;
    return held;
}

void neigh_changeaddr(neigh_table* tbl, net_device* dev) {
    neigh_flush_dev(tbl, dev, false);
}

static void __neigh_ifdown(neigh_table* tbl, net_device* dev, bool skip_perm) {
    neigh_flush_dev(tbl, dev, skip_perm);
    pneigh_ifdown(tbl, dev, skip_perm);
    pneigh_queue_purge(tbl, dev);
}
void neigh_ifdown(neigh_table* tbl, net_device* dev) {
    __neigh_ifdown(tbl, dev, false);
}
void neigh_carrier_down(neigh_table* tbl, net_device* dev) {
    __neigh_ifdown(tbl, dev, true);
}

// --- tunables ------------------------------------------------------------------------------------

neigh_parms* neigh_parms_alloc(net_device* dev, neigh_table* tbl) {
    void* mem = kmalloc(sizeof(neigh_parms), GFP_KERNEL);
    if (!mem)
        return nullptr;
    auto* p = new (mem) neigh_parms;
    neigh_copy_dflt_parms(tbl->parms, *p);
    p->reachable_time = neigh_rand_reach_time(p->base_reachable_time);
    p->dev = dev;
    return p;
}

static void neigh_parms_free(neigh_parms* p) {
    p->~neigh_parms();
    kfree(p);
}

void neigh_parms_release(neigh_parms* p) {
    call_rcu_free<neigh_parms, neigh_parms_free>(p);
}

void neigh_parms_write(net& n, neigh_parms* p, sysctl_int neigh_parms::*field, int value) {
    const bool redraw = field == &neigh_parms::base_reachable_time;
    auto write = [&](neigh_parms* to) {
        to->*field = value;
        if (redraw)
            to->reachable_time = neigh_rand_reach_time(value);
    };
    const uint32_t bit = 1u << neigh_parms_bit(field);
    write(p);
    p->data_state.fetch_or(bit, std::memory_order_relaxed);
    if (p->dev)
        return;
    n.for_each_netdev([&](net_device* dev) {
        neigh_parms* own = dev->arp_parms;
        if (own && !(own->data_state.load(std::memory_order_relaxed) & bit))
            write(own);
    });
}

// --- ip neigh ------------------------------------------------------------------------------------

namespace {

/// NTF_EXT_LEARNED and NTF_ROUTER follow the command.
void update_flags(neighbour* n, uint8_t ntf_flags, bool override) {
    constexpr uint8_t follow = NTF_EXT_LEARNED | NTF_ROUTER;
    spin_guard guard(n->lock);
    const uint8_t mask = override ? follow : NTF_EXT_LEARNED;
    WRITE_ONCE(n->flags, uint8_t((n->flags & ~mask) | (ntf_flags & mask)));
}

/// NTF_USE: the entry loses permanence and is resolved as if a packet needed it.
int neigh_use(neighbour* n) {
    {
        spin_guard guard(n->lock);
        if (n->dead)
            return -EPERM;
        const uint8_t state = n->nud_state;
        if (state & NUD_PERMANENT) {
            neigh_suspect(n);
            neigh_set_state(n, state & ~NUD_PERMANENT);
        }
    }
    neigh_event_send(n, nullptr);
    return 0;
}

/// The entry to change: found, or made when `create` says so. With a reference, or null and *err.
neighbour* neigh_add_target(neigh_table* tbl, net_device* dev, be32_t dst, uint8_t state, bool create,
                            bool exclusive, uint8_t ntf_flags, int* err) {
    if (neighbour* found = neigh_lookup(tbl, dst, dev)) {
        if (!exclusive)
            return found;
        neigh_release(found);
        *err = -EEXIST;
        return nullptr;
    }
    if (!create) {
        *err = -ENOENT;
        return nullptr;
    }
    return ___neigh_create(tbl, dst, dev, ntf_flags & NTF_EXT_LEARNED,
                           neigh_exempt_from_gc(state, ntf_flags), true, err);
}

} // namespace

int neigh_add(neigh_table* tbl, net_device* dev, be32_t dst, const uint8_t* lladdr, uint8_t state,
              bool create, bool exclusive, uint8_t ntf_flags, bool replace, uint8_t protocol) {
    if (ntf_flags & NTF_PROXY)
        return pneigh_create(tbl, dst, dev, ntf_flags, protocol, state & NUD_PERMANENT);
    if (!dev)
        return -EINVAL;
    int err = 0;
    neighbour* neigh = neigh_add_target(tbl, dev, dst, state, create, exclusive, ntf_flags, &err);
    if (!neigh)
        return err;
    const bool override = replace || (create && exclusive); // a fresh entry always takes it all
    if (protocol)
        WRITE_ONCE(neigh->protocol, protocol);
    update_flags(neigh, ntf_flags, override);
    if (ntf_flags & NTF_USE)
        err = neigh_use(neigh);
    else
        err = neigh_update(neigh, lladdr, state,
                           NEIGH_UPDATE_F_ADMIN | (override ? NEIGH_UPDATE_F_OVERRIDE : 0));
    // A refused command leaves nothing behind: an entry that was made for it goes again.
    if (err && neigh->nud_state == NUD_NONE) {
        spin_guard guard(tbl->lock);
        neigh_release(neigh);
        neigh_remove_one(neigh);
        return err;
    }
    neigh_update_gc_list(neigh);
    neigh_release(neigh);
    return err;
}

int neigh_delete(neigh_table* tbl, net_device* dev, be32_t dst, uint8_t ntf_flags) {
    if (ntf_flags & NTF_PROXY)
        return pneigh_delete(tbl, dst, dev);
    if (!dev)
        return -EINVAL;
    neighbour* neigh = neigh_lookup(tbl, dst, dev);
    if (!neigh)
        return -ENOENT;
    int err =
        neigh_update(neigh, nullptr, NUD_FAILED, NEIGH_UPDATE_F_OVERRIDE | NEIGH_UPDATE_F_ADMIN);
    // The route cache may hold it, for which there is no counterpart in the kernel: forgotten is
    // forgotten, and whoever has it looks it up anew.
    sk_buff_head waiting;
    bool evicted = false;
    {
        spin_guard table_guard(tbl->lock);
        spin_guard guard(neigh->lock);
        if (!neigh->dead) {
            neigh_evict(neigh, &waiting);
            evicted = true;
        }
    }
    neigh_unhold(tbl, int(waiting.qlen));
    skb_queue_purge_reason(&waiting, skb_drop_reason::QUEUE_PURGE);
    if (evicted)
        neigh_release(neigh);
    neigh_release(neigh);
    return err;
}

int neigh_add(net& n, net_device* dev, be32_t dst, const uint8_t* lladdr, uint8_t state,
              bool create, bool exclusive, uint8_t ntf_flags, bool replace, uint8_t protocol) {
    return neigh_add(n.arp_tbl, dev, dst, lladdr, state, create, exclusive, ntf_flags, replace,
                     protocol);
}

int neigh_delete(net& n, net_device* dev, be32_t dst, uint8_t ntf_flags) {
    return neigh_delete(n.arp_tbl, dev, dst, ntf_flags);
}

// --- walks and checks ----------------------------------------------------------------------------

void neigh_for_each(neigh_table* tbl, void (*fn)(neighbour*, void*), void* cookie) {
    neigh_hash_table* nht = rcu_dereference(tbl->nht);
    for (unsigned i = 0; i < 1u << nht->hash_shift; ++i)
        for (neighbour* n = rcu_dereference(nht->hash_heads[i]); n; n = rcu_dereference(n->next))
            fn(n, cookie);
}

const char* nud_state_name(uint8_t state) {
    switch (state) {
    case NUD_NONE:
        return "NONE";
    case NUD_INCOMPLETE:
        return "INCOMPLETE";
    case NUD_REACHABLE:
        return "REACHABLE";
    case NUD_STALE:
        return "STALE";
    case NUD_DELAY:
        return "DELAY";
    case NUD_PROBE:
        return "PROBE";
    case NUD_FAILED:
        return "FAILED";
    case NUD_NOARP:
        return "NOARP";
    case NUD_PERMANENT:
        return "PERMANENT";
    }
    return "UNKNOWN";
}

namespace {

bool queue_is_valid(const neighbour* n) {
    uint32_t bytes = 0, len = 0;
    for (sk_buff* skb = n->arp_queue.head; skb; skb = skb->next, ++len) {
        bytes += skb_truesize(skb);
        if (skb->dst || (!skb->next && skb != n->arp_queue.tail))
            return false;
    }
    return bytes == n->arp_queue_len_bytes && len == n->arp_queue.qlen &&
           (!len || (n->nud_state & NUD_INCOMPLETE));
}

bool hh_is_valid(const neighbour* n) {
    uint64_t hh[2], wanted[2];
    const bool connected = n->nud_state & NUD_CONNECTED;
    if (n->dead || !dev_has_header(n->dev))
        return true;
    if (neigh_hh_read(n, hh) != connected)
        return false;
    eth_header_cache(n, ETH_P_IP, wanted);
    return !connected || (n->hh.hh_len == ETH_HLEN && !memcmp(hh, wanted, sizeof hh));
}

bool output_is_valid(const neighbour* n) {
    auto output = READ_ONCE(n->output);
    if (n->dead)
        return true;
    return output == (n->nud_state & NUD_CONNECTED ? n->ops->connected_output : n->ops->output);
}

} // namespace

bool neigh_is_valid(neighbour* n) {
    spin_guard table_guard(n->tbl->lock);
    spin_guard guard(n->lock);
    const bool timer = timer_pending(&n->timer);
    return n->refcnt.load(std::memory_order_relaxed) >= 1 + timer &&
           timer == bool(!n->dead && (n->nud_state & NUD_IN_TIMER)) && queue_is_valid(n) &&
           hh_is_valid(n) && output_is_valid(n) &&
           n->asked == (!n->dead && (n->nud_state & NUD_INCOMPLETE)) &&
           n->on_gc_list == (!n->dead && !neigh_exempt_from_gc(n->nud_state, n->flags));
}

} // namespace slabfwd
