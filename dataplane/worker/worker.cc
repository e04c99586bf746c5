// SPDX-License-Identifier: BSD-3-Clause
//
// The forwarding loop. See worker.h. Order within a turn: frames first, then what others asked,
// then timers; the transmit stages are flushed after each receive burst, so that a frame waits for
// its burst only. The end of a turn is the end of the burst for RCU and for freed routes.
#include "dataplane/worker/worker.h"

#include <ctime>

#include <pthread.h>
#include <rte_cycles.h>
#include <rte_lcore.h>
#include <rte_ring.h>
#include <sys/prctl.h>

#include "dataplane/worker/stage_clock.h"
#include "route/route.h"

namespace slabfwd {

namespace {

constexpr unsigned TIMERS_PER_TURN = 64;
constexpr unsigned IDLE_TURNS_BEFORE_SLEEP = 256;
constexpr long IDLE_SLEEP_NS = 100'000;
/// Turns between two rounds of housekeeping.
constexpr uint64_t STATUS_TURNS = 1 << 12;
/// The period of cache_reap, as the kernel's REAPTIMEOUT_AC.
constexpr uint64_t REAP_NS = 2 * NSEC_PER_SEC;

void flush_ports(worker& w) {
    for (port* p : w.ports)
        port_flush(*p, *w.sd);
}

/// Frames of a port whose flows are spread over the workers: this one's stay.
void receive_steered(worker& w, port& p, rte_mbuf** m, uint16_t n) {
    port_count_rx(p, *w.sd, n, burst_bytes(m, n));
    if (const uint16_t mine = rps_steer(p, *w.sd, m, n))
        netif_receive_burst(*w.sd, &p.dev, m, mine);
}

unsigned receive(worker& w) {
    rte_mbuf* m[NET_RX_BURST];
    unsigned total = 0;
    for (rx_queue& q : w.rx) {
        const uint16_t n = port_rx_burst(*q.p, q.queue, m);
        stage_mark(stage::rx);
        if (!n)
            continue;
        total += n;
        if (likely(q.p->backlog.empty()))
            port_count_rx(*q.p, *w.sd, n, netif_receive_burst(*w.sd, &q.p->dev, m, n));
        else
            receive_steered(w, *q.p, m, n);
        flush_ports(w);
        stage_mark(stage::tx);
    }
    return total;
}

/// A look at a ring that others fill; rte_ring_empty's plain loads are no promise to the compiler.
bool ring_seems_empty(const rte_ring* r) {
    return __atomic_load_n(&r->prod.tail, __ATOMIC_RELAXED) ==
           __atomic_load_n(&r->cons.tail, __ATOMIC_RELAXED);
}

/// What other workers have for this one: received frames of its flows, frames to send by its ports.
unsigned serve_rings(worker& w) {
    unsigned total = 0;
    for (port* p : w.ports)
        if (unlikely(!p->backlog.empty()) && !ring_seems_empty(p->backlog[w.sd->cpu])) {
            total += process_backlog(*p, *w.sd);
            flush_ports(w);
        }
    for (port* p : w.ports)
        if (p->dev.owner == w.sd->cpu && !ring_seems_empty(p->handover))
            total += port_serve_handover(*p, *w.sd);
    return total;
}

/// Sleeps a moment, not waited for by anybody's grace period.
void idle_sleep(worker& w) {
    net& n = *w.sd->nd_net;
    n.rcu.offline(w.sd->cpu);
    timespec ts{0, IDLE_SLEEP_NS};
    nanosleep(&ts, nullptr);
    n.rcu.online(w.sd->cpu);
}

/// Nanoseconds since the TSC's zero without the 64-bit overflow of tsc * 1e9.
struct tsc_clock {
    uint64_t hz = rte_get_tsc_hz();
    uint64_t ns(uint64_t tsc) const {
        uint64_t s = tsc / hz;
        return s * NSEC_PER_SEC + (tsc - s * hz) * NSEC_PER_SEC / hz;
    }
};

/// What is due now and then: the drivers' error counters, the allocator's periodic drain.
void housekeeping(worker& w, uint64_t& reap_at) {
    for (port* p : w.ports)
        if (p->dev.owner == w.sd->cpu)
            port_count_oerrors(*p, *w.sd);
    if (w.sd->now_ns >= reap_at) {
        cache_reap();
        reap_at = w.sd->now_ns + REAP_NS;
    }
}

void pin(int core) {
    if (core < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(size_t(core), &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

} // namespace

unsigned process_backlog(port& p, softnet_data& sd) {
    rte_mbuf* m[NET_RX_BURST];
    const uint16_t n = backlog_take(p, sd, m);
    netif_receive_burst(sd, &p.dev, m, n);
    return n;
}

unsigned worker_turn(worker& w, uint64_t now_ns) {
    softnet_data& sd = *w.sd;
    sd.now_ns = now_ns;
    sd.jiffies = nsecs_to_jiffies(now_ns);
    if (unlikely(this_stages.clock != nullptr))
        stage_turn_begin();
    unsigned work = receive(w);
    work += serve_rings(w);
    work += loopback_poll(sd);
    if (unlikely(sd.call_queue.load(std::memory_order_relaxed) != nullptr))
        work += flush_smp_call_function_queue(sd);
    if (unlikely(sd.timers.next_expiry.load(std::memory_order_relaxed) <= sd.jiffies))
        run_timers(sd.timers, sd.jiffies, TIMERS_PER_TURN);
    flush_ports(w);
    if (unlikely(sd.rt_shard->free_list != nullptr))
        dst_run_gc(sd);
    if (unlikely(sd.rcu_wait || sd.rcu_next))
        rcu_do_batch(sd);
    slab_cpu_serve();
    sd.nd_net->rcu.quiescent(sd.cpu);
    if (unlikely(this_stages.timed != nullptr))
        stage_turn_end(work);
    return work;
}

void worker_run(worker& w) {
    softnet_data& sd = *w.sd;
    rte_thread_register(); // per-lcore mempool cache; works without it, only slower
    pin(w.core);
    prctl(PR_SET_TIMERSLACK, 1000);
    softnet_loop_begin(sd);
    const tsc_clock clock;
    uint64_t reap_at = 0;
    uint64_t turns = 0;
    unsigned idle = 0;
    while (!w.stop.load(std::memory_order_relaxed)) {
        if (worker_turn(w, clock.ns(rte_rdtsc()))) {
            idle = 0;
        } else if (!w.poll && ++idle > IDLE_TURNS_BEFORE_SLEEP) {
            ++w.idle_turns;
            idle_sleep(w);
        }
        if (unlikely((++turns & (STATUS_TURNS - 1)) == 0))
            housekeeping(w, reap_at);
    }
    flush_ports(w);
    softnet_loop_end(sd);
    rte_thread_unregister();
}

uint64_t worker_next_timer(const worker& w) {
    jiffies_t next = w.sd->timers.next_expiry.load(std::memory_order_relaxed);
    return next == ~jiffies_t(0) ? UINT64_MAX : (next - INITIAL_JIFFIES) * NSEC_PER_JIFFY;
}

} // namespace slabfwd
