// SPDX-License-Identifier: BSD-3-Clause
//
// port: a net_device on a DPDK ethdev. Owns the queues, the transmit staging of each worker and the rings
// by which workers that have no transmit queue here hand bursts to the owner.
// Doors: port_open (a --port NAME=DEVARGS), port_open_rings (replay, bench), port_rx_burst, port_flush.
// Threads: opened and closed by the control thread with no worker running; rx queue q belongs to one worker.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "neigh/net_namespace.h"
#include "neigh/skbuff.h"

struct rte_mempool;
struct rte_ring;

namespace slabfwd {

/// Frames taken from a queue at once, and staged before they are handed to one: NAPI_POLL_WEIGHT.
constexpr uint16_t NET_RX_BURST = 64, TX_STAGE = 64;
/// Frames that port_stage_run copies at once, whether all of them are wanted or not.
constexpr unsigned TX_RUN = 16;

struct port;

/// Frames waiting to be sent by one worker on one port.
struct alignas(64) tx_stage {
    uint32_t n = 0;
    uint32_t bytes = 0; ///< of the n frames, and of those that port_stage_run is still to stage
    port* p = nullptr;
    softnet_data* sd = nullptr;
    /// Behind TX_STAGE is room for what port_stage_run copies too much.
    rte_mbuf* m[TX_STAGE + TX_RUN];
};

struct port {
    net_device dev;
    uint16_t port_id = 0;
    std::string devargs;
    std::string driver;
    uint16_t nb_rx_queues = 1, nb_tx_queues = 1;
    bool virtual_port = true;     ///< no hardware: an idle worker may sleep
    bool keep_mac = true;         ///< false: unicast frames count as sent to our MAC (replay)
    std::vector<unsigned> rx_owner; ///< [queue] worker slot
    std::vector<int> tx_queue;      ///< [slot] transmit queue, -1: hand over to dev.owner
    std::vector<tx_stage> stage;    ///< [slot]
    rte_ring* handover = nullptr;   ///< to dev.owner from slots without a queue (MPSC)
    std::vector<rte_ring*> backlog; ///< [slot] frames for it that others received (MPSC); empty: no steering
    rte_ring *ring_in = nullptr, *ring_out = nullptr; ///< net_ring ports: what the program feeds and drains
    uint64_t rx_flags_good = 0, rx_flags_bad = 0; ///< RTE_MBUF_F_RX_IP_CKSUM_* that this port really sets
    uint64_t oerrors_seen = 0;
};

/// The packet pool of the program (one per process): data room 2176, private area SKB_PRIV_SIZE.
/// Makes it with n packets and sets skb_ops to it. 0 or -errno (rte_errno).
int pktmbuf_pool_init(unsigned n);
void pktmbuf_pool_fini();
rte_mempool* pktmbuf_pool();

/// Workers that the flows of one port can be spread over.
constexpr unsigned RPS_MAX_WORKERS = 64;

/// Options of a port as the command line gives them.
struct port_config {
    std::string name, devargs;
    uint16_t rxq = 0; ///< receive queues; 0: one, and on NICs that spread flows (RSS) one a worker
    uint16_t workers = 1; ///< as many transmit queues are taken, where there are so many
    uint16_t rx_desc = 1024, tx_desc = 1024;
};
/// Probes DEVARGS (a vdev such as net_af_packet0,iface=x, or a PCI address), configures and starts it, and
/// registers its net_device under config.name. The error is a sentence that names the port and the reason.
tl::expected<std::unique_ptr<port>, std::string> port_open(net& n, const port_config& config);
/// A port over two rings (net_ring PMD): frames put into ring_in are received, sent ones come out of
/// ring_out. MAC 02:00:00:00:00:<index>.
tl::expected<std::unique_ptr<port>, std::string> port_open_rings(net& n, const std::string& name,
                                                                 unsigned index, unsigned ring_size);
void port_close(port& p);
extern const net_device_ops port_netdev_ops;
/// The port behind a device; REQUIRES is_port(dev).
inline port* port_of(const net_device* dev) { return static_cast<port*>(dev->priv); }
inline bool is_port(const net_device* dev) { return dev->netdev_ops == &port_netdev_ops; }

/// Receives up to NET_RX_BURST frames of queue q. Owner of the queue, who counts them.
uint16_t port_rx_burst(const port& p, uint16_t q, rte_mbuf** m);
/// Counts n frames, `bytes` long together, as received. How long they are is known behind the
/// pipeline's first loop over them; a loop of its own cost a cycle a packet, of thirty.
void port_count_rx(const port& p, softnet_data& sd, uint16_t n, uint64_t bytes);
/// Flows of the port will be spread over the first `workers` slots. "" or why not. Control thread, no worker runs.
std::string rps_init(port& p, unsigned workers);
/// Hands those of the n received frames that are of other workers' flows over to them; those of the caller's come
/// first in m afterwards, their number is returned. REQUIRES !p.backlog.empty().
uint16_t rps_steer(port& p, softnet_data& sd, rte_mbuf** m, uint16_t n);
/// Up to NET_RX_BURST frames of the slot's flows that others received.
uint16_t backlog_take(port& p, const softnet_data& sd, rte_mbuf** m);
/// Sends what the slot staged (or hands it to the owner); unsent frames are counted drops (TX_RING_FULL).
void port_flush(port& p, softnet_data& sd);
/// Where the slot stages frames for the port.
inline tx_stage& port_tx_stage(port& p, const softnet_data& sd) { return p.stage[sd.cpu]; }
/// Stages one frame for sending, flushing when full. Counts happen when it is sent.
[[gnu::always_inline]] inline void port_stage(tx_stage& st, rte_mbuf* m) {
    st.m[st.n++] = m;
    st.bytes += m->pkt_len;
    if (unlikely(st.n == TX_STAGE))
        port_flush(*st.p, *st.sd);
}
/// Stages n frames, which may be none, of an array that goes on for TX_RUN pointers behind them;
/// how long they are the caller has added to st.bytes. How many they are is no branch: in a mixture
/// it would be a guess.
[[gnu::always_inline]] inline void port_stage_run(tx_stage& st, rte_mbuf* const* m, unsigned n) {
    do {
        const unsigned some = std::min({n, TX_RUN, TX_STAGE - st.n});
        std::memcpy(st.m + st.n, m, TX_RUN * sizeof *m);
        st.n += some;
        m += some;
        n -= some;
        if (unlikely(st.n == TX_STAGE))
            port_flush(*st.p, *st.sd);
    } while (unlikely(n));
}
/// Sends the frames of a whole burst, `bytes` long together, after those that are staged.
void port_xmit_burst(tx_stage& st, rte_mbuf** m, uint16_t n, uint64_t bytes);
/// Bytes of n frames.
inline uint64_t burst_bytes(rte_mbuf* const* m, unsigned n) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < n; ++i)
        bytes += m[i]->pkt_len;
    return bytes;
}
/// Owner: sends what others handed over. Returns how many.
unsigned port_serve_handover(port& p, softnet_data& sd);
/// Owner of the port, now and then: frames the driver took but could not send (oerrors) become counted
/// drops (TX_ERROR) instead of sent ones.
void port_count_oerrors(port& p, softnet_data& sd);
/// Control thread, once a second: the link state into the device.
void port_poll_status(port& p);

/// The loopback device "lo" (ifindex 1): frames sent to it are received again in the same loop.
net_device* loopback_create(net& n);
void loopback_destroy(net& n);
/// Delivers what was looped back on the calling slot; called by the worker loop. Returns how many.
unsigned loopback_poll(softnet_data& sd);

} // namespace slabfwd
