// SPDX-License-Identifier: BSD-3-Clause
//
// softnet_data: all that one CPU slot owns. Slots 0..nr_workers-1 are the worker lcores; the last
// one is the control thread (it never polls a port; it runs ctl commands and may make packets,
// which it hands to a worker). Nothing in here is written by another slot, except what says so.
// Door: this_softnet() for slow paths; the burst path passes its softnet_data along.
// Origin: struct softnet_data (include/linux/netdevice.h).
#pragma once

#include <array>
#include <cstdarg>
#include <memory>

#include "neigh/drop_reason.h"
#include "neigh/jiffies.h"
#include "neigh/netdevice.h"
#include "neigh/rcu.h"
#include "neigh/snmp.h"
#include "neigh/timer.h"

namespace slabfwd {

struct net;
struct sk_buff;
struct rt_hash_shard; ///< route/: this slot's route cache

/// Sees the walk of each packet (replay --trace, ctl trace). skb may be null.
struct packet_tracer {
    void (*event)(packet_tracer* self, const sk_buff* skb, const char* function, const char* text);
};
/// Sees every dropped packet before it is freed (replay --drops).
struct drop_monitor {
    void (*dropped)(drop_monitor* self, const sk_buff* skb, skb_drop_reason reason);
};

/// A request to a slot from another thread; see smp_call_function_single.
struct call_single_data {
    void (*func)(void* info) = nullptr;
    void* info = nullptr;
    std::atomic<call_single_data*> next{nullptr};
    std::atomic<bool> done{false};
};

struct alignas(64) softnet_data {
    // The clock, set once per loop.
    jiffies_t jiffies = INITIAL_JIFFIES;
    uint64_t now_ns = 0;         ///< ktime_get_ns
    uint64_t real_offset_ns = 0; ///< ktime_get_real_ns = now_ns + real_offset_ns
    net* nd_net = nullptr;
    unsigned cpu = 0;
    bool rt_missed = false; ///< the last burst had flows that the route cache did not know
    rt_hash_shard* rt_shard = nullptr;
    packet_tracer* tracer = nullptr; ///< when set, every packet takes the per-packet functions
    drop_monitor* drop_mon = nullptr;
    uint64_t rng_state = 1; ///< see get_random_u32

    alignas(64) mib_array<ipstats_mib> ip_statistics;
    mib_array<icmp_mib> icmp_statistics;
    cpu_counter icmpmsg_in[256], icmpmsg_out[256]; ///< IcmpMsg InTypeN / OutTypeN
    mib_array<udp_mib> udp_statistics;
    mib_array<tcp_mib> tcp_statistics;
    mib_array<rt_cache_stat> rt_stat;
    mib_array<neigh_statistics> nd_stat;
    mib_array<balance_stat> balance;
    cpu_counter drops[NR_DROP_REASONS];
    std::array<dev_stats, MAX_NETDEV> dev;

    timer_base timers;
    /// call_rcu queue: rcu_wait waits for the grace period rcu_token, rcu_next came later. Oldest
    /// first.
    rcu_head *rcu_wait = nullptr, *rcu_next = nullptr, **rcu_tail = &rcu_next;
    uint64_t rcu_token = 0;
    unsigned xmit_recursion = 0;                        ///< depth of dev_queue_xmit
    std::atomic<call_single_data*> call_queue{nullptr}; ///< pushed by others, served by the owner
    /// A thread works in this slot's name: its own, between softnet_loop_begin and _end (it then
    /// serves call_queue), or a caller of smp_call_function_single that has taken over an idle
    /// slot.
    std::atomic<bool> running{false};
};

[[gnu::tls_model("initial-exec")]] extern constinit thread_local softnet_data* current_softnet;
/// The calling thread's slot; set by softnet_enter. Never null inside the stack.
[[gnu::always_inline]] inline softnet_data* this_softnet() {
    return current_softnet;
}
/// Makes sd the calling thread's slot (a thread has one at a time; replay and tests switch freely).
void softnet_enter(softnet_data* sd);
/// A thread begins / ends its loop over slot sd: takes the slot (waiting for whoever works in its
/// name), enters it and goes online for RCU; afterwards others' requests are served by the loop,
/// not for it.
void softnet_loop_begin(softnet_data& sd);
void softnet_loop_end(softnet_data& sd);

/// Runs func(info) on slot cpu and waits until it has: by the slot's own loop when it is running,
/// else on the calling thread in the slot's name. Control thread only; never from func itself.
/// Origin: kernel/smp.c.
void smp_call_function_single(net& n, unsigned cpu, void (*func)(void*), void* info);
/// The same on every slot in turn.
void on_each_cpu(net& n, void (*func)(void*), void* info);
/// Serves what others asked of the calling slot; called by its loop. Returns how many.
unsigned flush_smp_call_function_queue(softnet_data& sd);

/// Seeds every slot's random numbers from one seed (replay --seed); a fresh net is seeded by the
/// system.
void prandom_seed(net& n, uint64_t seed);
/// Random numbers for hash seeds, choices and jitter; seeded per slot (replay --seed). Whoever
/// sees a few whole ones can tell the others, so that none is sent to the network whole.
uint32_t get_random_u32();
uint32_t get_random_u32_below(uint32_t ceil);

// Counters of the calling slot.
inline void IP_INC_STATS(ipstats_mib e) {
    this_softnet()->ip_statistics[e].inc();
}
inline void IP_ADD_STATS(ipstats_mib e, uint64_t n) {
    this_softnet()->ip_statistics[e].add(n);
}
inline void ICMP_INC_STATS(icmp_mib e) {
    this_softnet()->icmp_statistics[e].inc();
}
inline void UDP_INC_STATS(udp_mib e) {
    this_softnet()->udp_statistics[e].inc();
}
inline void TCP_INC_STATS(tcp_mib e) {
    this_softnet()->tcp_statistics[e].inc();
}
inline void RT_CACHE_STAT_INC(rt_cache_stat e) {
    this_softnet()->rt_stat[e].inc();
}
inline void NEIGH_CACHE_STAT_INC(neigh_statistics e) {
    this_softnet()->nd_stat[e].inc();
}
inline void BALANCE_INC(balance_stat e) {
    this_softnet()->balance[e].inc();
}
inline dev_stats& dev_stats_of(const net_device* dev) {
    return this_softnet()->dev[size_t(dev->ifindex)];
}

/// Reports a step of skb's walk when the slot is tracing; printf-like. skb may be null.
void __trace_packet(const sk_buff* skb, const char* function, const char* fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define trace_packet(skb, ...)                                                                     \
    do {                                                                                           \
        if (unlikely(::slabfwd::this_softnet()->tracer != nullptr))                                \
            ::slabfwd::__trace_packet((skb), __func__, __VA_ARGS__);                               \
    } while (0)

/// A log line at most every 5 s per call site (10 in a burst), as net_ratelimit; `fmt` printf-like,
/// no newline at its end. Goes to the sink set by the program (stderr by default). Returns false when
/// suppressed.
bool net_warn_ratelimited(const char* fmt, ...) __attribute__((format(printf, 1, 2)));
extern void (*log_sink)(const char* line);

} // namespace slabfwd
