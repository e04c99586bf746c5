// SPDX-License-Identifier: BSD-3-Clause
//
// The replay loop. See replay_engine.h. What makes it the same every time: one thread, the clock
// moved only here, frames of a batch decided by time stamp and port alone, ports drained in order.
#include "dataplane/replay/replay_engine.h"

#include <algorithm>
#include <cstring>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "dataplane/ip/ip.h"
#include "dataplane/replay/arp_hosts.h"
#include "neigh/neighbour.h"

namespace slabfwd {

namespace {

/// Most timer steps in one gap between frames: a stamp far in the future (a damaged one, say) would
/// else be reached a timer at a time. After so many the rest fire late, as after a suspend.
constexpr unsigned STEPS_MAX = 200'000;
/// How often the clock looks whether it may stop running on.
constexpr uint64_t LOOK_EVERY_NS = 100 * NSEC_PER_MSEC;

} // namespace

rte_mbuf* mbuf_from_bytes(const uint8_t* data, uint32_t len) {
    rte_mbuf* head = rte_pktmbuf_alloc(pktmbuf_pool());
    for (rte_mbuf* seg = head; seg;) {
        uint32_t n = std::min<uint32_t>(len, rte_pktmbuf_tailroom(seg));
        if (n)
            std::memcpy(rte_pktmbuf_mtod(seg, void*), data, n);
        seg->data_len = uint16_t(n);
        head->pkt_len += n;
        data += n, len -= n;
        if (!len)
            return head;
        seg->next = rte_pktmbuf_alloc(pktmbuf_pool());
        seg = seg->next;
        head->nb_segs = uint16_t(head->nb_segs + (seg ? 1 : 0));
    }
    rte_pktmbuf_free(head);
    return nullptr;
}

replay_engine::replay_engine(router& r, replay_sinks sinks)
    : r_(r), sinks_(std::move(sinks)), w_(*r.workers.front()), now_(w_.sd->now_ns) {
    sinks_.out.resize(r.ports.size());
    monitor_.engine = this;
    monitor_.dropped = [](drop_monitor* self, const sk_buff* skb, skb_drop_reason reason) {
        static_cast<monitor*>(self)->engine->on_drop(skb, reason);
    };
    softnet_enter(w_.sd);
    r_.n->rcu.online(w_.sd->cpu);
    w_.sd->drop_mon = &monitor_;
    run(); // what the configuration sends
}

replay_engine::~replay_engine() {
    w_.sd->drop_mon = nullptr;
    w_.sd->tracer = nullptr;
    r_.n->rcu.offline(w_.sd->cpu);
    softnet_enter(r_.n->softnet[r_.n->control_cpu()].get());
}

// --- in
// -------------------------------------------------------------------------------------------

bool replay_engine::frame(unsigned port, const captured_frame& f) {
    uint64_t at = std::max(f.ts_ns, now_);
    bool tracing = sinks_.tracer && frames_ < sinks_.trace_frames;
    if (batch_ && (at != now_ || port != batch_port_ || batch_ == NET_RX_BURST || tracing))
        run();
    if (at != now_)
        advance(at);
    w_.sd->tracer = tracing ? sinks_.tracer : nullptr;
    rte_mbuf* m = mbuf_from_bytes(f.data, f.caplen);
    if (!m || rte_ring_enqueue(r_.ports[port]->ring_in, m) != 0) {
        rte_pktmbuf_free(m);
        ++refused_;
        return false;
    }
    batch_port_ = port;
    ++batch_;
    ++frames_;
    cut_ += f.caplen < f.len;
    if (tracing)
        run();
    return true;
}

void replay_engine::run() {
    batch_ = 0;
    while (worker_turn(w_, now_) + drain())
        ;
}

/// Timers fire each at its own time on the way.
void replay_engine::advance(uint64_t to_ns) {
    for (unsigned steps = 0; steps < STEPS_MAX; ++steps) {
        uint64_t next = worker_next_timer(w_);
        if (next > to_ns)
            break;
        now_ = std::max(now_, next);
        run();
    }
    now_ = std::max(now_, to_ns);
}

// --- out
// ------------------------------------------------------------------------------------------

unsigned replay_engine::drain() {
    unsigned seen = 0;
    for (unsigned i = 0; i < r_.ports.size(); ++i)
        while (drain_port(i, seen))
            ;
    return seen;
}

bool replay_engine::drain_port(unsigned index, unsigned& seen) {
    rte_mbuf* m[NET_RX_BURST];
    unsigned n = rte_ring_dequeue_burst(r_.ports[index]->ring_out, reinterpret_cast<void**>(m),
                                        NET_RX_BURST, nullptr);
    capture_writer* out = sinks_.out[index];
    for (unsigned i = 0; i < n; ++i) {
        if (out && !out->write(now_, m[i]) && error_.empty())
            error_ = out->error();
        if (sinks_.arp_answer)
            answer_arp(index, m[i]);
        rte_pktmbuf_free(m[i]);
    }
    seen += n;
    return n != 0;
}

void replay_engine::answer_arp(unsigned index, const rte_mbuf* m) {
    port& p = *r_.ports[index];
    uint8_t reply[ARP_FRAME_LEN];
    std::span<const uint8_t> frame(rte_pktmbuf_mtod(m, const uint8_t*), m->data_len);
    if (!arp_host_answer(p.dev, frame, reply))
        return;
    if (rte_mbuf* answer = mbuf_from_bytes(reply, sizeof reply))
        receive_uncounted(p, answer);
}

/// Straight into the pipeline, behind where ports count. Exactly one of two things becomes of the
/// frame: it is delivered or it is dropped; packets that waited for it have counts of their own.
void replay_engine::receive_uncounted(port& p, rte_mbuf* m) {
    simulated_ = m;
    simulated_delivered_at_ = delivered();
    netif_receive_burst(*w_.sd, &p.dev, &m, 1);
    simulated_delivered_ += simulated_ != nullptr; // else on_drop has seen it
    simulated_ = nullptr;
    ++answers_;
}

uint64_t replay_engine::delivered() const {
    return w_.sd->balance[balance_stat::delivered];
}

void replay_engine::exclude_simulated(router_summary& s) const {
    s.delivered -= std::min(s.delivered, simulated_delivered_);
    for (const auto& [reason, count] : simulated_drops_)
        s.drops_subtract(drop_reason_name(reason), count);
}

// --- drops
// ----------------------------------------------------------------------------------------

void replay_engine::on_drop(const sk_buff* skb, skb_drop_reason reason) {
    // Once the simulated frame is delivered its buffer may be another packet's.
    if (skb_mbuf(skb) == simulated_ && delivered() == simulated_delivered_at_) {
        ++simulated_drops_[reason];
        simulated_ = nullptr;
        return;
    }
    if (sinks_.drops)
        write_drop(skb, reason);
}

/// How the Ethernet header of a dropped packet is found: `front` bytes before data, or it is
/// nowhere and `fill` bytes of zeros stand for it (packets made here that never got one).
struct replay_engine::frame_start {
    uint32_t front = 0, fill = 0;
    explicit frame_start(const sk_buff* skb) {
        const uint16_t data = skb_mbuf(skb)->data_off, mac = skb->mac_header;
        be16_t type{};
        if (skb_headlen(skb) >= ETH_HLEN)
            std::memcpy(&type, skb_data(skb) + 12, sizeof type);
        bool at_data = data + ETH_HLEN == skb->network_header ||
                       (mac == data && !skb->originated) || (mac == data && type == skb->protocol);
        bool before = !skb->originated && mac + ETH_HLEN <= data &&
                      (mac + ETH_HLEN == skb->network_header || mac + ETH_HLEN == data);
        if (before)
            front = uint32_t(data - mac);
        else if (!at_data)
            fill = ETH_HLEN;
    }
};

void replay_engine::write_drop(const sk_buff* skb, skb_drop_reason reason) {
    const rte_mbuf* m = skb_mbuf(skb);
    const auto [front, fill] = frame_start(skb);
    flat_.assign(fill + front + m->pkt_len, 0);
    if (be16_t type = skb->protocol ? skb->protocol : cpu_to_be16(ETH_P_IP); fill)
        std::memcpy(flat_.data() + 12, &type, sizeof type);
    if (front) // nothing at all may be there: an empty frame
        std::memcpy(flat_.data() + fill, skb_data(skb) - front, front);
    skb_copy_bits(skb, 0, flat_.data() + fill + front, m->pkt_len);

    const net_device* in = skb->skb_iif ? dev_get_by_index(*r_.n, skb->skb_iif) : skb->dev;
    unsigned interface = 0;
    for (unsigned i = 0; i < r_.ports.size(); ++i)
        if (&r_.ports[i]->dev == in)
            interface = i;
    auto len = uint32_t(flat_.size());
    if (!sinks_.drops->packet(interface, now_, flat_.data(), len, len, drop_reason_name(reason)) &&
        error_.empty())
        error_ = sinks_.drops->error();
}

// --- the end
// --------------------------------------------------------------------------------------

/// Held packets go when a timer says so; so do questions of a neighbour whose state has a timer.
bool replay_engine::timers_pending() const {
    if (router_held(r_))
        return true;
    bool any = false;
    for (neigh_table* tbl : {r_.n->arp_tbl, r_.n->nd_tbl})
        neigh_for_each(
            tbl,
            [](neighbour* n, void* found) {
                if (n->nud_state.load(std::memory_order_relaxed) & NUD_IN_TIMER)
                    *static_cast<bool*>(found) = true;
            },
            &any);
    return any || r_.n->arp_tbl->proxy_queue.qlen;
}

bool replay_engine::finish() {
    run();
    w_.sd->tracer = nullptr;
    const uint64_t end = now_ + RUN_ON_MAX;
    for (unsigned steps = 0; steps < STEPS_MAX; ++steps) {
        if (!timers_pending())
            return true;
        uint64_t next = worker_next_timer(w_);
        if (next > end)
            return false;
        advance(std::max(next, now_ + LOOK_EVERY_NS));
    }
    return false;
}

} // namespace slabfwd
