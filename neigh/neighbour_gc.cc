// SPDX-License-Identifier: BSD-3-Clause
//
// Collecting neighbours. Below gc_thresh1 nothing is collected; above it the periodic work takes
// what failed or was not used for gc_stale_time; above gc_thresh2 a new entry first makes room, at
// most every 5 s; at gc_thresh3 it has to. What a route, a timer or anybody else holds is never
// taken, and neither is an answered entry to make room for questions (neighbour_question.cc) while
// answered ones are no more than gc_thresh2. All of it is done in pieces, so that no packet waits
// for a sweep of a large table. Door: neigh_forced_gc (from neigh_create), neigh_periodic_work (a
// timer on slot 0). Threads: any slot, under tbl->lock. Origin: net/core/neighbour.c.
#include "neigh/neighbour_priv.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace slabfwd {

// --- the list of what may be collected, oldest first ---------------------------------------------

void neigh_gc_list_add(neighbour* n) {
    neigh_table* tbl = n->tbl;
    n->gc_prev = tbl->gc_tail;
    n->gc_next = nullptr;
    (tbl->gc_tail ? tbl->gc_tail->gc_next : tbl->gc_head) = n;
    tbl->gc_tail = n;
    n->on_gc_list = true;
}

void neigh_gc_list_del(neighbour* n) {
    neigh_table* tbl = n->tbl;
    (n->gc_prev ? n->gc_prev->gc_next : tbl->gc_head) = n->gc_next;
    (n->gc_next ? n->gc_next->gc_prev : tbl->gc_tail) = n->gc_prev;
    n->gc_prev = n->gc_next = nullptr;
    n->on_gc_list = false;
}

void neigh_update_gc_list(neighbour* n) {
    neigh_table* tbl = n->tbl;
    spin_guard table_guard(tbl->lock);
    spin_guard guard(n->lock);
    const bool exempt = neigh_exempt_from_gc(n->nud_state, n->flags);
    if (n->dead || exempt != n->on_gc_list)
        return;
    if (exempt) {
        neigh_gc_list_del(n);
        tbl->gc_entries.fetch_sub(1, std::memory_order_relaxed);
    } else {
        neigh_gc_list_add(n);
        tbl->gc_entries.fetch_add(1, std::memory_order_relaxed);
    }
}

// --- making room for a new entry -----------------------------------------------------------------

namespace {

constexpr int FORCED_GC_LOOK = 1024; ///< entries that one pass of making room looks at

/// Nobody asks for it, or it has failed: the first to go, whatever its age.
bool worthless(const neighbour* n) {
    return n->nud_state == NUD_FAILED || n->nud_state == NUD_NOARP ||
           ipv4_is_multicast(n->primary_key);
}
bool older_than_5_s(const neighbour* n, jiffies_t now) {
    return !time_in_range(READ_ONCE(n->updated), now - 5 * HZ, now);
}

/// Takes up to `goal` of the oldest entries that nobody holds and may_take agrees to; tbl->lock
/// held. With `rotate`, what it looked at and kept goes to the end of the list.
template <class F>
int forced_gc_pass(neigh_table* tbl, int goal, bool rotate, F may_take) {
    int shrunk = 0, looked = 0;
    for (neighbour *n = tbl->gc_head, *next; n && shrunk < goal && looked < FORCED_GC_LOOK;
         n = next, ++looked) {
        next = n->gc_next;
        bool take;
        {
            spin_guard guard(n->lock);
            take = n->refcnt.load(std::memory_order_relaxed) == 1 && may_take(n);
        }
        if (take && neigh_remove_one(n)) {
            ++shrunk;
        } else if (rotate) {
            neigh_gc_list_del(n);
            neigh_gc_list_add(n);
        }
    }
    return shrunk;
}

} // namespace

int neigh_forced_gc(neigh_table* tbl) {
    NEIGH_CACHE_STAT_INC(neigh_statistics::forced_gc_runs);
    const jiffies_t now = jiffies();
    spin_guard guard(tbl->lock);
    auto entries = [&] { return tbl->gc_entries.load(std::memory_order_relaxed); };
    const bool full = entries() >= tbl->gc_thresh3;
    int shrunk = forced_gc_pass(tbl, entries() - tbl->gc_thresh2, false, worthless);
    int goal = entries() - tbl->questions.load(std::memory_order_relaxed) - tbl->gc_thresh2;
    if (full && !shrunk)
        goal = std::max(goal, 1);
    // Of a long list the next call shall see the next part.
    shrunk += forced_gc_pass(tbl, goal, entries() > FORCED_GC_LOOK,
                             [&](const neighbour* n) { return older_than_5_s(n, now); });
    WRITE_ONCE(tbl->last_flush, now);
    return shrunk;
}

// --- the periodic work ---------------------------------------------------------------------------

namespace {

bool periodic_gc_may_take(neighbour* n, jiffies_t now) {
    const uint8_t state = n->nud_state;
    if ((state & (NUD_PERMANENT | NUD_IN_TIMER)) || (n->flags & NTF_EXT_LEARNED))
        return false;
    const jiffies_t confirmed = READ_ONCE(n->confirmed);
    if (time_before(n->used, confirmed) && time_before_eq(confirmed, now))
        n->used = confirmed;
    const jiffies_t used = n->used, stale = jiffies_t(n->parms->gc_staletime.get());
    const bool in_use = time_after_eq(now, used) && time_before(now, used + stale);
    return n->refcnt.load(std::memory_order_acquire) == 1 && (state == NUD_FAILED || !in_use);
}

constexpr unsigned PERIODIC_BUCKETS = 1024; ///< of which one run takes care

/// From tbl->gc_bucket on; true when that was the last piece of the table.
bool collect_unused(neigh_table* tbl, jiffies_t now) {
    neigh_hash_table* nht = tbl->nht;
    const unsigned size = 1u << nht->hash_shift;
    const unsigned end = std::min(size, tbl->gc_bucket + PERIODIC_BUCKETS);
    for (unsigned i = std::exchange(tbl->gc_bucket, end < size ? end : 0); i < end; ++i)
        for (neighbour *n = nht->hash_heads[i], *next; n; n = next) {
            next = n->next;
            bool take;
            {
                spin_guard guard(n->lock);
                if ((take = periodic_gc_may_take(n, now)))
                    neigh_unlink(n);
            }
            if (take)
                neigh_release(n);
        }
    return end == size;
}

/// Reachable times are drawn anew every five minutes, so that routers do not fall into step.
void redraw_reachable_times(neigh_table* tbl) {
    auto redraw = [](neigh_parms* p) {
        p->reachable_time = neigh_rand_reach_time(p->base_reachable_time);
    };
    redraw(&tbl->parms);
    tbl->nd_net->for_each_netdev([&](net_device* dev) {
        if (neigh_parms* p = dev->arp_parms)
            redraw(p);
    });
}

} // namespace

int neigh_rand_reach_time(int base) {
    return base ? int(get_random_u32_below(uint32_t(base))) + (base >> 1) : 0;
}

void neigh_periodic_work(timer_list* t) {
    auto* tbl =
        reinterpret_cast<neigh_table*>(reinterpret_cast<char*>(t) - offsetof(neigh_table, gc_work));
    const jiffies_t now = jiffies();
    if (!tbl->gc_bucket) {
        NEIGH_CACHE_STAT_INC(neigh_statistics::periodic_gc_runs);
        if (time_after(now, tbl->last_rand + 300 * HZ)) {
            tbl->last_rand = now;
            redraw_reachable_times(tbl);
        }
    }
    bool done = true;
    if (tbl->gc_bucket || tbl->entries.load(std::memory_order_relaxed) >= tbl->gc_thresh1) {
        spin_guard guard(tbl->lock);
        done = collect_unused(tbl, now);
    }
    const int pause = done ? tbl->parms.base_reachable_time >> 1 : 1;
    mod_timer(t, now + jiffies_t(std::max(pause, 1)));
}

// --- what may still happen by itself -------------------------------------------------------------

namespace {

/// A reachable entry whose time ends while it counts as in use is probed afterwards.
bool entry_active(neighbour* n) {
    spin_guard guard(n->lock);
    if (n->nud_state & (NUD_INCOMPLETE | NUD_DELAY | NUD_PROBE))
        return true;
    if (!(n->nud_state & NUD_REACHABLE))
        return false;
    const neigh_parms* p = n->parms;
    const jiffies_t end = READ_ONCE(n->confirmed) + jiffies_t(p->reachable_time.get());
    return time_before_eq(std::max(end, jiffies()), n->used + jiffies_t(p->delay_probe_time.get()));
}

} // namespace

bool neigh_table_active(neigh_table* tbl) {
    {
        spin_guard guard(tbl->proxy_lock);
        if (tbl->proxy_queue.qlen)
            return true;
    }
    spin_guard guard(tbl->lock);
    for (unsigned i = 0; i < 1u << tbl->nht->hash_shift; ++i)
        for (neighbour* n = tbl->nht->hash_heads[i]; n; n = n->next)
            if (entry_active(n))
                return true;
    return false;
}

} // namespace slabfwd
