// SPDX-License-Identifier: BSD-3-Clause
//
// Neighbour unreachability detection: the states of an entry, what moves it from one to the next,
// the packets that wait in it, its cached header. Door: neigh_event_send (a packet needs the
// entry), neigh_update (something was learnt), neigh_timer_handler (time passed).
//
//      NONE --packet--> INCOMPLETE --answer--> REACHABLE --time--> STALE --packet--> DELAY
//      --time--> PROBE
//                           |                      ^  ^                                | |
//                           +--no answer--> FAILED |  +----------- confirmed ----------+---- answer
//                           ---+
//                                     ^------------+--------------------------------- no answer
//                                     -------+
//
// Threads: every function takes n->lock itself unless it says otherwise; none holds it while a
// packet is sent, reported or dropped. Origin: net/core/neighbour.c.
#include "neigh/neighbour_priv.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <new>

#include "neigh/arp.h"

namespace slabfwd {

// --- the state, and the header that follows it ---------------------------------------------------

namespace {

/// The header may be used no longer. Everything that is stored after this is seen by no reader that
/// still finds the count even.
void hh_invalidate(hh_cache& hh) {
    uint32_t seq = hh.hh_seq.load(std::memory_order_relaxed);
    if (!(seq & 1))
        hh.hh_seq.store(seq + 1, std::memory_order_relaxed);
}

void hh_validate(hh_cache& hh) {
    uint32_t seq = hh.hh_seq.load(std::memory_order_relaxed);
    if (hh.hh_len && (seq & 1))
        hh.hh_seq.store(seq + 1, std::memory_order_release);
}

/// Writes the header; the count is odd. The release of each word keeps the odd count in front of
/// it.
void hh_fill(neighbour* n) {
    uint64_t words[2];
    eth_header_cache(n, ETH_P_IP, words);
    n->hh.hh_data[0].store(words[0], std::memory_order_release);
    n->hh.hh_data[1].store(words[1], std::memory_order_release);
    WRITE_ONCE(n->hh.hh_len, ETH_HLEN);
}

char* ntop(be32_t a, char (&buf)[16]) {
    uint32_t v = be32_to_cpu(a);
    snprintf(buf, sizeof buf, "%u.%u.%u.%u", v >> 24, (v >> 16) & 255, (v >> 8) & 255, v & 255);
    return buf;
}

} // namespace

void neigh_set_state(neighbour* n, uint8_t state) {
    if (!(state & NUD_CONNECTED))
        hh_invalidate(n->hh);
    n->nud_state.store(state, std::memory_order_relaxed);
    if (bool(state & NUD_INCOMPLETE) != n->asked)
        n->asked ? neigh_question_del(n) : neigh_question_add(n);
}

void neigh_suspect(neighbour* n) {
    hh_invalidate(n->hh);
    WRITE_ONCE(n->output, n->ops->output);
}

void neigh_connect(neighbour* n) {
    WRITE_ONCE(n->output, n->ops->connected_output);
    if (!dev_has_header(n->dev))
        return;
    if (!n->hh.hh_len)
        hh_fill(n);
    hh_validate(n->hh);
}

void neigh_update_hhs(neighbour* n) {
    if (!n->hh.hh_len)
        return;
    bool usable = !(n->hh.hh_seq.load(std::memory_order_relaxed) & 1);
    hh_invalidate(n->hh);
    hh_fill(n);
    if (usable)
        hh_validate(n->hh);
}

// --- packets that wait ---------------------------------------------------------------------------

sk_buff* neigh_dequeue(neighbour* n) {
    sk_buff* skb = n->arp_queue.pop_front();
    if (skb)
        n->arp_queue_len_bytes -= skb_truesize(skb);
    return skb;
}

void neigh_take_queue(neighbour* n, sk_buff_head* to) {
    while (sk_buff* skb = neigh_dequeue(n))
        to->push_back(skb);
}

namespace {

/// What a packet that could not wait is dropped for.
struct dropped_packets {
    sk_buff_head oldest;       ///< pushed out by the byte bound
    sk_buff* newest = nullptr; ///< found the table's bound reached

    void drop(neighbour* n) {
        for (uint32_t i = oldest.qlen; i; --i)
            NEIGH_CACHE_STAT_INC(neigh_statistics::unres_discards);
        neigh_unhold(n->tbl, int(oldest.qlen));
        skb_queue_purge_reason(&oldest, skb_drop_reason::NEIGH_QUEUEFULL);
        kfree_skb_reason(newest, skb_drop_reason::HELD_LIMIT);
    }
};

/// Queues skb in n (n->lock held), making room at the front. It keeps no route: that belongs to a
/// burst.
void neigh_enqueue(neighbour* n, sk_buff* skb, dropped_packets& dropped) {
    const uint32_t bound = uint32_t(n->parms->queue_len_bytes.get()), size = skb_truesize(skb);
    while (n->arp_queue_len_bytes + size > bound) {
        sk_buff* old = neigh_dequeue(n);
        if (!old)
            break;
        dropped.oldest.push_back(old);
    }
    // Those just pushed out leave room under the table's bound, too.
    int held = n->tbl->held.fetch_add(1, std::memory_order_relaxed) - int(dropped.oldest.qlen);
    if (held >= n->tbl->held_max) {
        neigh_unhold(n->tbl, 1);
        dropped.newest = skb;
        return;
    }
    skb->dst = nullptr;
    n->arp_queue.push_back(skb);
    n->arp_queue_len_bytes += size;
}

/// The front of a waiting packet, copied so that a question about it can be asked without the lock.
/// It lies on the stack, laid out as a real packet: mbuf, then sk_buff, then data.
class packet_front {
public:
    sk_buff* copy(const sk_buff* from) {
        auto* m = new (bytes_) rte_mbuf{};
        const unsigned len = std::min(skb_len(from), DATA_SIZE);
        m->buf_addr = bytes_ + DATA;
        m->buf_len = DATA_SIZE;
        m->nb_segs = 1;
        m->data_len = uint16_t(len);
        m->pkt_len = len;
        sk_buff* skb = skb_from_mbuf(m);
        *skb = *from;
        skb->next = nullptr;
        skb->network_header = skb->mac_header = skb->transport_header = 0;
        skb_copy_bits(from, 0, skb_data(skb), len);
        return skb;
    }

private:
    static constexpr unsigned DATA = sizeof(rte_mbuf) + SKB_PRIV_SIZE, DATA_SIZE = 64;
    alignas(64) uint8_t bytes_[DATA + DATA_SIZE];
};

/// Asks once more; on account of the packet queued last. Releases n->lock, which is held.
void neigh_probe(neighbour* n) {
    packet_front front;
    sk_buff* skb = n->arp_queue.tail ? front.copy(n->arp_queue.tail) : nullptr;
    n->lock.unlock();
    if (n->ops->solicit)
        n->ops->solicit(n, skb);
    n->probes.fetch_add(1, std::memory_order_relaxed);
}

} // namespace

void neigh_invalidate(neighbour* n) {
    NEIGH_CACHE_STAT_INC(neigh_statistics::res_failed);
    neigh_touch(n);
    sk_buff* skb;
    while (n->nud_state == NUD_FAILED && (skb = neigh_dequeue(n))) {
        n->lock.unlock();
        neigh_unhold(n->tbl, 1);
        trace_packet(skb, "dev %s FAILED: nobody answered", n->dev->name);
        n->ops->error_report(n, skb);
        n->lock.lock();
    }
}

void neigh_unlock_and_purge(neighbour* n) {
    sk_buff_head left;
    if (!(n->nud_state & NUD_INCOMPLETE))
        neigh_take_queue(n, &left);
    n->lock.unlock();
    neigh_unhold(n->tbl, int(left.qlen));
    skb_queue_purge_reason(&left, skb_drop_reason::QUEUE_PURGE);
}

// --- time ----------------------------------------------------------------------------------------

void neigh_add_timer(neighbour* n, jiffies_t when) {
    neigh_clone(n);
    if (time_before(n->used, READ_ONCE(n->confirmed)))
        n->used = READ_ONCE(n->confirmed);
    mod_timer_on(n->tbl->nd_net->softnet[n->dev->owner]->timers, &n->timer, when);
}

bool neigh_del_timer(neighbour* n) {
    if (!(n->nud_state & NUD_IN_TIMER) || !del_timer(&n->timer))
        return false;
    neigh_release(n); // the timer's; the caller has one of its own
    return true;
}

namespace {

int neigh_max_probes(const neighbour* n) {
    const neigh_parms* p = n->parms;
    return p->ucast_probes + p->app_probes +
           (n->nud_state & NUD_PROBE ? p->mcast_reprobes : p->mcast_probes);
}

jiffies_t delay_probe_time(const neighbour* n) {
    return jiffies_t(n->parms->delay_probe_time.get());
}

/// Leaves a state that time has ended; returns when the next one ends.
jiffies_t neigh_timer_reachable(neighbour* n, jiffies_t now) {
    if (time_before_eq(now, READ_ONCE(n->confirmed) + neigh_reachable_time(n)))
        return READ_ONCE(n->confirmed) + neigh_reachable_time(n);
    bool in_use = time_before_eq(now, n->used + delay_probe_time(n));
    neigh_set_state(n, in_use ? NUD_DELAY : NUD_STALE);
    neigh_touch(n);
    neigh_suspect(n);
    return now + delay_probe_time(n);
}

jiffies_t neigh_timer_delay(neighbour* n, jiffies_t now) {
    neigh_touch(n);
    if (time_before_eq(now, READ_ONCE(n->confirmed) + delay_probe_time(n))) {
        neigh_set_state(n, NUD_REACHABLE);
        neigh_connect(n);
        return READ_ONCE(n->confirmed) + neigh_reachable_time(n);
    }
    neigh_set_state(n, NUD_PROBE);
    n->probes = 0;
    return now + neigh_retrans_time(n->parms);
}

} // namespace

void neigh_timer_handler(timer_list* t) {
    auto* n = reinterpret_cast<neighbour*>(reinterpret_cast<char*>(t) - offsetof(neighbour, timer));
    const jiffies_t now = jiffies();
    n->lock.lock();
    const uint8_t state = n->nud_state;
    if (!(state & NUD_IN_TIMER)) {
        n->lock.unlock();
        return neigh_release(n);
    }
    jiffies_t next = state & NUD_REACHABLE ? neigh_timer_reachable(n, now)
                     : state & NUD_DELAY   ? neigh_timer_delay(n, now)
                                           : now + neigh_retrans_time(n->parms);
    if ((n->nud_state & (NUD_INCOMPLETE | NUD_PROBE)) && n->probes >= neigh_max_probes(n)) {
        neigh_set_state(n, NUD_FAILED);
        neigh_invalidate(n);
        neigh_unlock_and_purge(n);
        return neigh_release(n);
    }
    if (n->nud_state & NUD_IN_TIMER) {
        next = std::max(next, now + NEIGH_MIN_TIMER);
        if (!mod_timer_on(n->tbl->nd_net->softnet[n->dev->owner]->timers, &n->timer, next))
            neigh_clone(n);
    }
    if (n->nud_state & (NUD_INCOMPLETE | NUD_PROBE))
        neigh_probe(n); // unlocks
    else
        n->lock.unlock();
    neigh_release(n);
}

void neigh_confirm(neighbour* n) {
    if (READ_ONCE(n->confirmed) != jiffies())
        WRITE_ONCE(n->confirmed, jiffies());
}

void __neigh_set_probe_once(neighbour* n) {
    if (n->dead)
        return;
    neigh_touch(n);
    if (!(n->nud_state & NUD_FAILED))
        return;
    neigh_set_state(n, NUD_INCOMPLETE);
    n->probes = neigh_max_probes(n);
    neigh_add_timer(n, jiffies() + neigh_retrans_time(n->parms));
}

// --- a packet needs the entry --------------------------------------------------------------------

namespace {

enum class resolution { usable, queue, queue_and_probe, failed, dead };

/// Moves n on, since it is needed, and says what becomes of the packet. n->lock held.
resolution neigh_need(neighbour* n, bool may_ask) {
    const uint8_t state = n->nud_state;
    if (state & (NUD_CONNECTED | NUD_DELAY | NUD_PROBE))
        return resolution::usable;
    if (n->dead)
        return state & NUD_STALE ? resolution::usable : resolution::dead;
    if (state & NUD_INCOMPLETE)
        return resolution::queue;
    if (state & NUD_STALE) {
        neigh_set_state(n, NUD_DELAY);
        neigh_touch(n);
        neigh_add_timer(n, jiffies() + delay_probe_time(n));
        return resolution::usable;
    }
    neigh_touch(n);
    if (!(n->parms->mcast_probes + n->parms->app_probes) || !may_ask) {
        neigh_set_state(n, NUD_FAILED);
        return resolution::failed;
    }
    n->probes = n->parms->ucast_probes.get(); // nobody to ask directly: the broadcasts come at once
    neigh_set_state(n, NUD_INCOMPLETE);
    neigh_add_timer(n, jiffies() + neigh_retrans_time(n->parms));
    return resolution::queue_and_probe;
}

int __neigh_event_send(neighbour* n, sk_buff* skb) {
    char ip[16];
    dropped_packets dropped;
    const uint8_t before = n->nud_state;
    const bool may_ask = (before != NUD_NONE && before != NUD_FAILED) || neigh_may_ask(n->tbl);
    n->lock.lock();
    const resolution r = neigh_need(n, may_ask);
    const uint8_t state = n->nud_state;
    if (skb && (r == resolution::queue || r == resolution::queue_and_probe)) {
        trace_packet(skb, "%s dev %s INCOMPLETE: packet queued%s", ntop(n->primary_key, ip),
                     n->dev->name, r == resolution::queue ? "" : ", ARP request");
        neigh_enqueue(n, skb, dropped);
    }
    if (r == resolution::queue_and_probe)
        neigh_probe(n); // unlocks
    else
        n->lock.unlock();
    dropped.drop(n);

    if (r == resolution::usable) {
        trace_packet(skb, "%s dev %s %s", ntop(n->primary_key, ip), n->dev->name,
                     nud_state_name(state));
        return 0;
    }
    if (r == resolution::failed || r == resolution::dead)
        kfree_skb_reason(skb, r == resolution::dead ? skb_drop_reason::NEIGH_DEAD
                                                    : skb_drop_reason::NEIGH_FAILED);
    return 1;
}

} // namespace

int neigh_event_send(neighbour* n, sk_buff* skb) {
    const jiffies_t now = jiffies();
    if (n->used.load(std::memory_order_relaxed) != now)
        n->used.store(now, std::memory_order_relaxed);
    if (likely(n->nud_state.load(std::memory_order_relaxed) &
               (NUD_CONNECTED | NUD_DELAY | NUD_PROBE)))
        return 0;
    return __neigh_event_send(n, skb);
}

} // namespace slabfwd
