// SPDX-License-Identifier: BSD-3-Clause
//
// Timers of a CPU slot: a pairing heap by (expires, order of arming). Arming and disarming cost
// O(1) and O(log n) amortised; the next expiry is the root. Door: mod_timer_on, mod_timer,
// del_timer, run_timers. Threads: links and expires are under base->lock; timer->base says under
// which one. Of several threads that arm a timer which is not pending, one wins the base and the
// others move it afterwards. Origin: kernel/time/timer.c (the interface; the kernel's wheel rounds,
// this does not).
#include "neigh/timer.h"

#include <utility>

#include "neigh/softnet.h"

namespace slabfwd {

namespace {

bool fires_before(const timer_list* a, const timer_list* b) {
    return a->expires != b->expires ? a->expires < b->expires : a->seq < b->seq;
}

/// Makes the later of two roots the first child of the other. A child's prev is its parent when it
/// is the first child, else its left sibling; a root's prev and sibling are null.
timer_list* meld(timer_list* a, timer_list* b) {
    if (!a || !b)
        return a ? a : b;
    if (fires_before(b, a))
        std::swap(a, b);
    b->prev = a;
    b->sibling = a->child;
    if (a->child)
        a->child->prev = b;
    a->child = b;
    return a;
}

/// Melds a list of siblings into one heap: pairs from the left, then all from the right.
timer_list* merge_pairs(timer_list* first) {
    timer_list* paired = nullptr; // heaps linked by sibling, last first
    while (first) {
        timer_list *a = first, *b = a->sibling;
        first = b ? b->sibling : nullptr;
        a->prev = a->sibling = nullptr;
        if (b)
            b->prev = b->sibling = nullptr;
        timer_list* heap = meld(a, b);
        heap->sibling = paired;
        paired = heap;
    }
    timer_list* root = nullptr;
    while (paired) {
        timer_list* next = paired->sibling;
        paired->sibling = nullptr;
        root = meld(root, paired);
        paired = next;
    }
    return root;
}

void note_next_expiry(timer_base& base) {
    base.next_expiry.store(base.root ? base.root->expires : ~jiffies_t(0),
                           std::memory_order_relaxed);
}

/// Takes t out of the heap; base.lock held.
void detach(timer_base& base, timer_list* t) {
    timer_list* children = merge_pairs(t->child);
    t->child = nullptr;
    if (base.root == t) {
        base.root = children;
    } else {
        (t->prev->child == t ? t->prev->child : t->prev->sibling) = t->sibling;
        if (t->sibling)
            t->sibling->prev = t->prev;
        t->prev = t->sibling = nullptr;
        base.root = meld(base.root, children);
    }
    note_next_expiry(base);
    t->base.store(nullptr, std::memory_order_release);
}

} // namespace

bool del_timer(timer_list* timer) {
    while (timer_base* base = timer->base.load(std::memory_order_acquire)) {
        spin_guard guard(base->lock);
        if (timer->base.load(std::memory_order_relaxed) == base) {
            detach(*base, timer);
            return true;
        }
    }
    return false;
}

bool mod_timer_on(timer_base& base, timer_list* timer, jiffies_t expires) {
    for (bool pending = false;;) {
        pending |= del_timer(timer);
        spin_guard guard(base.lock);
        timer_base* none = nullptr;
        if (!timer->base.compare_exchange_strong(none, &base, std::memory_order_acq_rel))
            continue; // somebody armed it meanwhile
        timer->expires = expires;
        timer->seq = ++base.seq;
        timer->child = timer->sibling = timer->prev = nullptr;
        base.root = meld(base.root, timer);
        note_next_expiry(base);
        return pending;
    }
}

bool mod_timer(timer_list* timer, jiffies_t expires) {
    timer_base* base = timer->base.load(std::memory_order_acquire);
    return mod_timer_on(base ? *base : this_softnet()->timers, timer, expires);
}

unsigned run_timers(timer_base& base, jiffies_t now, unsigned budget) {
    unsigned ran = 0;
    while (base.next_expiry.load(std::memory_order_relaxed) <= now && (!budget || ran < budget)) {
        timer_list* t;
        {
            spin_guard guard(base.lock);
            t = base.root;
            if (!t || t->expires > now)
                continue;
            detach(base, t);
        }
        t->function(t);
        ++ran;
    }
    return ran;
}

} // namespace slabfwd
