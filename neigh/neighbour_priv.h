// SPDX-License-Identifier: BSD-3-Clause
//
// What the files of the neighbour table share among themselves and with arp.cc: neighbour.cc (hash,
// life of an entry, output), neighbour_nud.cc (states), neighbour_update.cc (what a command or an
// answer changes), neighbour_question.cc (asking), neighbour_gc.cc (collection), neighbour_table.cc
// (set-up, `ip neigh`), pneigh.cc (proxies). Not for other folders.
#pragma once

#include "alloc/kmalloc.h"
#include "neigh/neighbour.h"
#include "neigh/net_namespace.h"
#include "neigh/softnet.h"

namespace slabfwd {

/// A device with link headers; the others need no address and cache no header.
inline bool dev_has_header(const net_device* dev) {
    return dev->hard_header_len != 0;
}

/// What an ARP request carries while it waits for its proxy answer, in the place of the IP control
/// block. Origin: struct neighbour_cb.
struct [[gnu::packed, gnu::may_alias]] neighbour_cb {
    jiffies_t sched_next;
    uint32_t flags;
};
static_assert(sizeof(neighbour_cb) <= sizeof(inet_skb_parm));
constexpr uint32_t LOCALLY_ENQUEUED = 1;
inline neighbour_cb* NEIGH_CB(sk_buff* skb) {
    return reinterpret_cast<neighbour_cb*>(&skb->cb);
}

constexpr bool time_in_range(jiffies_t a, jiffies_t from, jiffies_t to) {
    return time_after_eq(a, from) && time_before_eq(a, to);
}

constexpr jiffies_t NEIGH_MIN_TIMER = HZ / 100;
inline jiffies_t neigh_retrans_time(const neigh_parms* p) {
    jiffies_t t = jiffies_t(p->retrans_time.get());
    return t > NEIGH_MIN_TIMER ? t : NEIGH_MIN_TIMER;
}
inline jiffies_t neigh_reachable_time(const neighbour* n) {
    return jiffies_t(n->parms->reachable_time.get());
}
inline void neigh_touch(neighbour* n) {
    WRITE_ONCE(n->updated, jiffies());
}
/// Entries that no collection takes and no limit counts.
inline bool neigh_exempt_from_gc(uint8_t state, uint8_t flags) {
    return (state & NUD_PERMANENT) || (flags & NTF_EXT_LEARNED);
}

// neighbour.cc
neighbour* ___neigh_create(neigh_table* tbl, be32_t key, net_device* dev, uint8_t flags,
                           bool exempt_from_gc, bool want_ref, int* err);
/// Chain of a key. The hash may grow meanwhile: under RCU or tbl->lock.
neighbour** neigh_bucket(neigh_hash_table* nht, be32_t key, const net_device* dev);
/// Allocates buckets; null when out of memory. Counted when a table grows.
neigh_hash_table* neigh_hash_alloc(unsigned shift, uint32_t rnd);
void neigh_hash_free(neigh_hash_table* nht);
/// Takes n out of the hash and marks it dead. tbl->lock and n->lock held; the hash's reference is
/// now the caller's to release.
void neigh_unlink(neighbour* n);
/// Takes n out when nobody but the hash holds it. tbl->lock held. True when it went.
bool neigh_remove_one(neighbour* n);
/// Takes n out of the table whoever holds it; what waits in it goes to *waiting. tbl->lock and
/// n->lock held; the table's reference is the caller's to give back.
void neigh_evict(neighbour* n, sk_buff_head* waiting);
/// Takes out all entries of dev (null: of all devices). Takes tbl->lock.
void neigh_flush_dev(neigh_table* tbl, const net_device* dev, bool skip_perm);
void neigh_blackhole(neighbour* n, sk_buff* skb);

// State changes keep one rule: the cached header is usable exactly in NUD_CONNECTED. n->lock held.
void neigh_set_state(neighbour* n, uint8_t state);
/// From now on through ops->output / through ops->connected_output and the cached header.
void neigh_suspect(neighbour* n);
void neigh_connect(neighbour* n);
/// The address changed: the cached header follows. Origin: neigh_update_hhs.
void neigh_update_hhs(neighbour* n);

/// Takes the packets that wait out of n (n->lock held); the caller drops them without the lock.
void neigh_take_queue(neighbour* n, sk_buff_head* to);
/// Takes the oldest, with its bytes; it still counts as held.
sk_buff* neigh_dequeue(neighbour* n);
/// A packet taken from a queue is held no longer.
inline void neigh_unhold(neigh_table* tbl, int packets) {
    tbl->held.fetch_sub(packets, std::memory_order_relaxed);
}

// neighbour_nud.cc
void neigh_timer_handler(timer_list* t);
/// Nobody answered: everything that waits is reported, one by one without the lock, for the report
/// may come back to this very entry. n->lock held before and after.
void neigh_invalidate(neighbour* n);
/// Drops what waits in an entry that is not being resolved (any more). Releases n->lock.
void neigh_unlock_and_purge(neighbour* n);
void neigh_add_timer(neighbour* n, jiffies_t when);
bool neigh_del_timer(neighbour* n);

// neighbour_gc.cc
void neigh_gc_list_add(neighbour* n); ///< tbl->lock held, as for _del
void neigh_gc_list_del(neighbour* n);
void neigh_update_gc_list(neighbour* n);
int neigh_forced_gc(neigh_table* tbl);
void neigh_periodic_work(timer_list* t);

// neighbour_question.cc
/// n became a question (NUD_INCOMPLETE) or is none any more. n->lock held.
void neigh_question_add(neighbour* n);
void neigh_question_del(neighbour* n);
/// Whether one more host may be asked for; the one that was asked for longest may make way. No lock
/// held.
bool neigh_may_ask(neigh_table* tbl);

// pneigh.cc
void neigh_proxy_process(timer_list* t);
void pneigh_queue_purge(neigh_table* tbl, const net_device* dev);
void pneigh_ifdown(neigh_table* tbl, const net_device* dev, bool skip_perm);

} // namespace slabfwd
