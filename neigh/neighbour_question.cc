// SPDX-License-Identifier: BSD-3-Clause
//
// Hosts that are asked for and have not answered: a scan of a large connected prefix makes as many
// as it has addresses. They may have half of the table (of gc_thresh3), so that hosts which do
// answer always find room; then the one asked for longest makes way for the next. How many may do
// so in a jiffy is bounded: the oldest has had two jiffies at least for its answer, and what a scan
// makes us broadcast has an end. A host that is there therefore becomes known in the midst of a
// scan. Doors: neigh_may_ask, neigh_question_add / _del (from neigh_set_state).
//
// Threads: any slot. The list has a lock of its own, the innermost: tbl->lock, n->lock,
// question_lock. Origin: none; the kernel's table fills up, and then refuses until questions fail.
#include "neigh/neighbour_priv.h"

#include <algorithm>

namespace slabfwd {

void neigh_question_add(neighbour* n) {
    neigh_table* tbl = n->tbl;
    spin_guard guard(tbl->question_lock);
    n->question_prev = tbl->question_tail;
    n->question_next = nullptr;
    (tbl->question_tail ? tbl->question_tail->question_next : tbl->question_head) = n;
    tbl->question_tail = n;
    n->asked = true;
    tbl->questions.fetch_add(1, std::memory_order_relaxed);
}

void neigh_question_del(neighbour* n) {
    neigh_table* tbl = n->tbl;
    spin_guard guard(tbl->question_lock);
    (n->question_prev ? n->question_prev->question_next : tbl->question_head) = n->question_next;
    (n->question_next ? n->question_next->question_prev : tbl->question_tail) = n->question_prev;
    n->question_prev = n->question_next = nullptr;
    n->asked = false;
    tbl->questions.fetch_sub(1, std::memory_order_relaxed);
}

namespace {

constexpr int REPLACED_PER_JIFFY = 256;

int question_limit(const neigh_table* tbl) {
    return std::max(tbl->gc_thresh3 / 2, 1);
}

/// The oldest question with a reference, or null when no more may make way in this jiffy.
neighbour* question_to_replace(neigh_table* tbl) {
    const jiffies_t now = jiffies();
    spin_guard guard(tbl->question_lock);
    if (tbl->question_jiffy != now) {
        tbl->question_jiffy = now;
        tbl->question_replaced = 0;
    }
    if (tbl->question_replaced >= std::clamp(question_limit(tbl) / 2, 1, REPLACED_PER_JIFFY))
        return nullptr;
    neighbour* n = tbl->question_head;
    if (!n || !neigh_tryget(n))
        return nullptr;
    ++tbl->question_replaced;
    return n;
}

/// n has failed; it leaves the table unless a route holds it. What waits for it is dropped.
void replace_question(neighbour* n) {
    neigh_table* tbl = n->tbl;
    sk_buff_head waiting;
    bool unlinked = false;
    {
        spin_guard table_guard(tbl->lock);
        spin_guard guard(n->lock);
        if (!n->dead && (n->nud_state & NUD_INCOMPLETE)) {
            neigh_del_timer(n);
            neigh_set_state(n, NUD_FAILED);
            neigh_touch(n);
            neigh_take_queue(n, &waiting);
            unlinked = n->refcnt.load(std::memory_order_acquire) == 2;
            if (unlinked)
                neigh_unlink(n);
        }
    }
    neigh_unhold(tbl, int(waiting.qlen));
    skb_queue_purge_reason(&waiting, skb_drop_reason::HELD_LIMIT);
    if (unlinked)
        neigh_release(n);
    neigh_release(n);
}

} // namespace

bool neigh_may_ask(neigh_table* tbl) {
    if (likely(tbl->questions.load(std::memory_order_relaxed) < question_limit(tbl)))
        return true;
    if (neighbour* n = question_to_replace(tbl)) {
        replace_question(n);
        return true;
    }
    NEIGH_CACHE_STAT_INC(neigh_statistics::table_fulls);
    net_warn_ratelimited("neighbour: arp_cache: too many hosts do not answer");
    return false;
}

} // namespace slabfwd
