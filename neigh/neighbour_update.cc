// SPDX-License-Identifier: BSD-3-Clause
//
// neigh_update: what was learnt about a neighbour, from ARP or from `ip neigh`, enters its entry. A
// chain of small decisions: is the news allowed at all, does it say anything new, may it replace
// what is known; then the change itself, and the packets that waited for it go out. Door:
// neigh_update, neigh_event_ns. Threads: any slot; the entry changes under its lock, which is not
// held while packets are sent or reported. Origin: __neigh_update, neigh_event_ns
// (net/core/neighbour.c).
#include "neigh/neighbour_priv.h"

#include <cerrno>
#include <cstring>

namespace slabfwd {

namespace {

/// The address is known: what waited goes out. n->lock held before and after.
void neigh_send_queue(neighbour* n) {
    sk_buff* skb;
    while ((n->nud_state & NUD_VALID) && (skb = neigh_dequeue(n))) {
        n->lock.unlock();
        neigh_unhold(n->tbl, 1);
        READ_ONCE(n->output)(n, skb);
        n->lock.lock();
    }
}

/// What one neigh_update is about; n->lock held in every function that takes it.
struct update {
    neighbour* n;
    const uint8_t* lladdr;
    const uint8_t old_state;
    uint8_t new_state;
    const uint32_t flags;
};

/// The new state has no valid address.
int update_to_invalid(update& u) {
    neighbour* n = u.n;
    neigh_del_timer(n);
    if (u.old_state & NUD_CONNECTED)
        neigh_suspect(n);
    neigh_set_state(n, u.new_state);
    if (u.new_state & NUD_INCOMPLETE) {     // the kernel lets such an entry hang without a timer
        n->probes = n->parms->ucast_probes; // there is no address to ask
        neigh_add_timer(n, jiffies() + neigh_retrans_time(n->parms));
    }
    if ((u.old_state & (NUD_INCOMPLETE | NUD_PROBE)) && (u.new_state & NUD_FAILED))
        neigh_invalidate(n);
    return 0;
}

/// lladdr becomes n->ha when it says nothing new. -EINVAL: none given, none known.
int choose_lladdr(update& u) {
    neighbour* n = u.n;
    const bool known = u.old_state & NUD_VALID;
    if (!dev_has_header(n->dev))
        u.lladdr = n->ha;
    else if (!u.lladdr && !known)
        return -EINVAL;
    else if (!u.lladdr || (known && ether_addr_equal(u.lladdr, n->ha)))
        u.lladdr = n->ha;
    return 0;
}

/// Whether the news may replace what is known. May turn new_state back into the old one.
bool may_replace(update& u) {
    if (!(u.old_state & NUD_VALID))
        return true;
    const bool same = u.lladdr == u.n->ha;
    if (!same && !(u.flags & NEIGH_UPDATE_F_OVERRIDE)) {
        if (!(u.flags & NEIGH_UPDATE_F_WEAK_OVERRIDE) || !(u.old_state & NUD_CONNECTED))
            return false;
        u.lladdr = u.n->ha; // doubt, but keep the address
        u.new_state = NUD_STALE;
    } else if (same && u.new_state == NUD_STALE && !(u.flags & NEIGH_UPDATE_F_ADMIN)) {
        u.new_state = u.old_state; // a mere sign of life does not age a fresher entry
    }
    return true;
}

void change_state(update& u) {
    neighbour* n = u.n;
    neigh_del_timer(n);
    if (u.new_state & NUD_PROBE)
        n->probes = 0;
    if (u.new_state & NUD_IN_TIMER)
        neigh_add_timer(n, jiffies() + (u.new_state & NUD_REACHABLE ? neigh_reachable_time(n) : 0));
    neigh_set_state(n, u.new_state);
}

void change_lladdr(update& u) {
    neighbour* n = u.n;
    memcpy(n->ha, u.lladdr, ETH_ALEN);
    neigh_update_hhs(n);
    if (!(u.new_state & NUD_CONNECTED))
        WRITE_ONCE(n->confirmed, jiffies() - (jiffies_t(n->parms->base_reachable_time.get()) << 1));
}

int update_to_valid(update& u) {
    neighbour* n = u.n;
    if (int err = choose_lladdr(u))
        return err;
    // Whoever spoke is there, even when what it said changes nothing.
    if (u.new_state & NUD_CONNECTED)
        WRITE_ONCE(n->confirmed, jiffies());
    if (!may_replace(u)) {
        u.new_state = u.old_state;
        return 0;
    }
    const bool new_lladdr = u.lladdr != n->ha, new_state = u.new_state != u.old_state;
    if (!new_lladdr && !new_state)
        return 0; // `updated` stays: a repetition must not prolong the lock time
    neigh_touch(n);
    if (new_lladdr)
        neigh_suspect(n); // no reader may see the old header in the new state
    if (new_state)
        change_state(u);
    if (new_lladdr)
        change_lladdr(u);
    if (u.new_state & NUD_CONNECTED)
        neigh_connect(n);
    else
        neigh_suspect(n);
    if (new_state && !(u.old_state & NUD_VALID))
        neigh_send_queue(n);
    return 0;
}

int __neigh_update(update& u) {
    neighbour* n = u.n;
    if (n->dead ||
        (!(u.flags & NEIGH_UPDATE_F_ADMIN) && (u.old_state & (NUD_NOARP | NUD_PERMANENT)))) {
        u.new_state = u.old_state;
        return -EPERM;
    }
    return u.new_state & NUD_VALID ? update_to_valid(u) : update_to_invalid(u);
}

} // namespace

int neigh_update(neighbour* n, const uint8_t* lladdr, uint8_t new_state, uint32_t flags) {
    n->lock.lock();
    update u{n, lladdr, n->nud_state, new_state, flags};
    const int err = __neigh_update(u);
    const bool permanence_changed = !err && ((u.old_state ^ u.new_state) & NUD_PERMANENT);
    if (!err)
        neigh_unlock_and_purge(n);
    else
        n->lock.unlock();
    if (permanence_changed)
        neigh_update_gc_list(n);
    return err;
}

neighbour* neigh_event_ns(neigh_table* tbl, const uint8_t* lladdr, be32_t saddr, net_device* dev) {
    neighbour* n = neigh_lookup(tbl, saddr, dev);
    if (!n)
        n = neigh_create(tbl, saddr, dev, true);
    if (n)
        neigh_update(n, lladdr, NUD_STALE, NEIGH_UPDATE_F_OVERRIDE);
    return n;
}

} // namespace slabfwd
