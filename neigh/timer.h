// SPDX-License-Identifier: BSD-3-Clause
//
// Timers of a CPU slot: one timer_base each, an intrusive pairing heap by expiry, so that nothing
// is allocated and the next expiry is known at once (replay runs its clock to it). Door: mod_timer,
// del_timer, run_timers. A timer fires on the slot that it was set on (add_timer_on). Threads:
// setting and deleting take the base's lock and work from any slot; the handler runs with no lock
// held. Origin: kernel/time/timer.c.
#pragma once

#include "neigh/jiffies.h"
#include "neigh/rcu.h"

namespace slabfwd {

struct timer_base;

/// One timer, embedded in its owner, who passes it to the handler's container_of.
struct timer_list {
    void (*function)(timer_list*) = nullptr;
    jiffies_t expires = 0;
    std::atomic<timer_base*> base{nullptr}; ///< where it is pending, else null
    timer_list *child = nullptr, *sibling = nullptr,
               *prev = nullptr; ///< heap links, under base->lock
    uint64_t seq = 0;           ///< order of arming: equal expiries fire first in, first out
};

/// The timers of one slot.
struct timer_base {
    spinlock_t lock;
    timer_list* root = nullptr;
    uint64_t seq = 0;                                  ///< of the timer armed last
    std::atomic<jiffies_t> next_expiry{~jiffies_t(0)}; ///< of root; read without the lock
    unsigned cpu = 0;
};

/// (Re)arms timer on slot `base` at jiffy `expires`; true when it was pending before.
bool mod_timer_on(timer_base& base, timer_list* timer, jiffies_t expires);
/// The same on the base where the timer is pending, else on the calling slot's.
bool mod_timer(timer_list* timer, jiffies_t expires);
/// Disarms; true when it was pending. The handler may still be running on another slot.
bool del_timer(timer_list* timer);
inline bool timer_pending(const timer_list* t) {
    return t->base.load(std::memory_order_relaxed);
}
/// Runs what is due at `now`, oldest first; at most `budget` handlers (0: no limit). Returns how
/// many ran.
unsigned run_timers(timer_base& base, jiffies_t now, unsigned budget);

} // namespace slabfwd
