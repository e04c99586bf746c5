// SPDX-License-Identifier: BSD-3-Clause
//
// worker: one forwarding loop. Each turn: clock, rx bursts of its queues through the pipeline, requests
// of other threads, due timers, transmit flush, end of burst (freed routes, RCU). Run to completion.
// Doors: worker_run (a thread's main), worker_turn (replay, bench and tests drive it themselves).
// Threads: a worker's data are its own; start/stop from the control thread.
#pragma once

#include <atomic>
#include <vector>

#include "dataplane/port/port.h"

namespace slabfwd {

struct rx_queue {
    port* p;
    uint16_t queue;
};

struct worker {
    softnet_data* sd = nullptr;
    std::vector<rx_queue> rx;       ///< polled in order
    std::vector<port*> ports;       ///< all ports: transmit staging is flushed on each
    bool poll = false;              ///< never sleep
    std::atomic<bool> stop{false};
    uint64_t idle_turns = 0;
    int core = -1;                  ///< CPU to run on, -1: any
};

/// Takes one burst of the slot's flows from a port's backlog through the pipeline. Returns how many frames.
/// Origin: process_backlog.
unsigned process_backlog(port& p, softnet_data& sd);
/// One turn at time now_ns (ktime_get_ns of the slot). Returns the number of frames received, handed over
/// and looped back: 0 when there was nothing to do.
unsigned worker_turn(worker& w, uint64_t now_ns);
/// Turns until w.stop, on the calling thread, with the TSC clock; sleeps when idle unless w.poll.
void worker_run(worker& w);
/// The next time a timer of w's slot is due, in ns of its clock; UINT64_MAX: none.
uint64_t worker_next_timer(const worker& w);

/// The burst pipeline: takes n <= NET_RX_BURST frames received on dev; each is forwarded,
/// delivered, held, or dropped and counted. Returns how many bytes they had. Origin:
/// netif_receive_skb_list -> ip_list_rcv.
uint64_t netif_receive_burst(softnet_data& sd, net_device* dev, rte_mbuf** m, uint16_t n);
/// One frame as received, on its own: the entry of everything that is not plain.
void netif_receive_mbuf(softnet_data& sd, net_device* dev, rte_mbuf* m);

} // namespace slabfwd
