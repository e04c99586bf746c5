// SPDX-License-Identifier: BSD-3-Clause
//
// Frames in and out of a port. A burst that leaves by one port goes to the driver as it is; of others each
// worker stages what it sends on a port and hands it over once a burst. A worker without a transmit queue there
// passes its frames to the port's owner over a ring. Doors: port_rx_burst, port_xmit_burst, port_stage, port_flush.
// Threads: a queue and a stage belong to one worker.
#include <rte_ethdev.h>
#include <rte_ring.h>

#include "dataplane/port/port.h"

namespace slabfwd {

namespace {

void count_drops(softnet_data& sd, net_device& dev, rte_mbuf** m, unsigned n, skb_drop_reason reason) {
    for (unsigned i = 0; i < n; ++i) {
        if (unlikely(sd.drop_mon != nullptr)) {
            sk_buff* skb = skb_from_mbuf(m[i]);
            skb_init(skb, &dev, sd.now_ns);
            sd.drop_mon->dropped(sd.drop_mon, skb, reason);
        }
    }
    sd.drops[unsigned(reason)].add(n);
    sd.dev[size_t(dev.ifindex)].tx_dropped.add(n);
    rte_pktmbuf_free_bulk(m, n);
}

/// The driver's own counter of frames it took and could not send; they were counted as sent.
uint64_t driver_oerrors(const port& p) {
    rte_eth_stats s;
    return rte_eth_stats_get(p.port_id, &s) == 0 ? s.oerrors : 0;
}

/// `bytes`: of all n frames, and of others that will come without any (tx_stage).
void send_now(port& p, softnet_data& sd, uint16_t queue, rte_mbuf** m, uint16_t n, uint64_t bytes) {
    uint16_t sent = rte_eth_tx_burst(p.port_id, queue, m, n);
    if (unlikely(sent < n)) {
        for (uint16_t i = sent; i < n; ++i)
            bytes -= m[i]->pkt_len;
        count_drops(sd, p.dev, m + sent, n - sent, skb_drop_reason::TX_RING_FULL);
    }
    dev_stats& st = sd.dev[size_t(p.dev.ifindex)];
    st.tx_packets.add(sent);
    st.tx_bytes.add(bytes);
}

void hand_over(port& p, softnet_data& sd, rte_mbuf** m, uint16_t n) {
    unsigned done = rte_ring_enqueue_burst(p.handover, reinterpret_cast<void**>(m), n, nullptr);
    if (unlikely(done < n))
        count_drops(sd, p.dev, m + done, n - done, skb_drop_reason::TX_RING_FULL);
}

} // namespace

uint16_t port_rx_burst(const port& p, uint16_t q, rte_mbuf** m) {
    return rte_eth_rx_burst(p.port_id, q, m, NET_RX_BURST);
}

void port_count_rx(const port& p, softnet_data& sd, uint16_t n, uint64_t bytes) {
    dev_stats& st = sd.dev[size_t(p.dev.ifindex)];
    st.rx_packets.add(n);
    st.rx_bytes.add(bytes);
}

void port_xmit_burst(tx_stage& st, rte_mbuf** m, uint16_t n, uint64_t bytes) {
    port& p = *st.p;
    port_flush(p, *st.sd);
    if (int q = p.tx_queue[st.sd->cpu]; likely(q >= 0))
        send_now(p, *st.sd, uint16_t(q), m, n, bytes);
    else
        hand_over(p, *st.sd, m, n);
}

void port_flush(port& p, softnet_data& sd) {
    tx_stage& st = p.stage[sd.cpu];
    if (!st.n)
        return;
    if (int q = p.tx_queue[sd.cpu]; likely(q >= 0))
        send_now(p, sd, uint16_t(q), st.m, uint16_t(st.n), st.bytes);
    else
        hand_over(p, sd, st.m, uint16_t(st.n));
    st.n = st.bytes = 0;
}

/// ndo_start_xmit of ports. The control slot is in no loop that would flush it: it hands over at once.
void port_xmit(sk_buff* skb, net_device* dev) {
    port& p = *port_of(dev);
    softnet_data& sd = *this_softnet();
    port_stage(port_tx_stage(p, sd), skb_mbuf(skb));
    if (unlikely(p.tx_queue[sd.cpu] < 0))
        port_flush(p, sd);
}

unsigned port_serve_handover(port& p, softnet_data& sd) {
    rte_mbuf* m[TX_STAGE];
    unsigned n = rte_ring_dequeue_burst(p.handover, reinterpret_cast<void**>(m), TX_STAGE, nullptr);
    if (n)
        send_now(p, sd, uint16_t(p.tx_queue[sd.cpu]), m, uint16_t(n), burst_bytes(m, n));
    return n;
}

void port_count_oerrors(port& p, softnet_data& sd) {
    uint64_t seen = driver_oerrors(p), lost = seen - p.oerrors_seen;
    if (!lost)
        return;
    p.oerrors_seen = seen;
    dev_stats& st = sd.dev[size_t(p.dev.ifindex)];
    st.tx_packets.add(-lost);
    st.tx_errors.add(lost);
    sd.drops[unsigned(skb_drop_reason::TX_ERROR)].add(lost);
}

} // namespace slabfwd
