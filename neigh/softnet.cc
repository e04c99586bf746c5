// SPDX-License-Identifier: BSD-3-Clause
//
// What belongs to a CPU slot but to no packet: its clock, its random numbers, requests from other
// slots, and how it speaks (traces, rate-limited log lines). Door: softnet_enter /
// softnet_loop_begin, smp_call_function_single. Threads: a slot has one thread at a time;
// sd.running says whether there is one, and changes hands by compare-and-exchange. Origin:
// kernel/smp.c, lib/ratelimit.c, lib/random32.c.
#include "neigh/softnet.h"

#include <cstdio>
#include <cstring>
#include <rte_pause.h>
#include <sched.h>

#include "neigh/net_namespace.h"
#include "neigh/skbuff.h"

namespace slabfwd {

constinit thread_local softnet_data* current_softnet = nullptr;

void softnet_enter(softnet_data* sd) {
    current_softnet = sd;
}

jiffies_t jiffies() {
    return this_softnet()->jiffies;
}
uint64_t ktime_get_ns() {
    return this_softnet()->now_ns;
}
uint64_t ktime_get_real_ns() {
    return this_softnet()->now_ns + this_softnet()->real_offset_ns;
}

// --- requests from other slots -------------------------------------------------------------------

namespace {

constexpr unsigned SPINS_BEFORE_YIELD = 256;

bool softnet_try_take(softnet_data& sd) {
    bool idle = false;
    return sd.running.compare_exchange_strong(idle, true, std::memory_order_acq_rel);
}

void relax(unsigned& spins) {
    if (++spins < SPINS_BEFORE_YIELD)
        rte_pause();
    else
        sched_yield();
}

/// Does the slot's requests in its name, on this thread, which has taken it.
void serve_taken_slot(softnet_data& sd) {
    softnet_data* self = this_softnet();
    softnet_enter(&sd);
    flush_smp_call_function_queue(sd);
    softnet_enter(self);
    sd.running.store(false, std::memory_order_release);
}

void call_queue_push(softnet_data& sd, call_single_data* csd) {
    call_single_data* head = sd.call_queue.load(std::memory_order_relaxed);
    do
        csd->next.store(head, std::memory_order_relaxed);
    while (!sd.call_queue.compare_exchange_weak(head, csd, std::memory_order_release,
                                                std::memory_order_relaxed));
}

} // namespace

void softnet_loop_begin(softnet_data& sd) {
    for (unsigned spins = 0; !softnet_try_take(sd);)
        relax(spins);
    softnet_enter(&sd);
    sd.nd_net->rcu.online(sd.cpu);
}

void softnet_loop_end(softnet_data& sd) {
    flush_smp_call_function_queue(sd);
    sd.nd_net->rcu.offline(sd.cpu);
    softnet_enter(nullptr);
    sd.running.store(false, std::memory_order_release); // later requests: the caller takes over
}

unsigned flush_smp_call_function_queue(softnet_data& sd) {
    if (likely(!sd.call_queue.load(std::memory_order_relaxed)))
        return 0;
    call_single_data *csd = sd.call_queue.exchange(nullptr, std::memory_order_acquire),
                     *oldest_first = nullptr;
    while (csd) {
        call_single_data* next = csd->next.load(std::memory_order_relaxed);
        csd->next.store(oldest_first, std::memory_order_relaxed);
        oldest_first = csd;
        csd = next;
    }
    unsigned served = 0;
    for (csd = oldest_first; csd; ++served) {
        call_single_data* next = csd->next.load(std::memory_order_relaxed);
        csd->func(csd->info);
        csd->done.store(true, std::memory_order_release); // csd may be gone from here on
        csd = next;
    }
    return served;
}

void smp_call_function_single(net& n, unsigned cpu, void (*func)(void*), void* info) {
    softnet_data& sd = *n.softnet[cpu];
    if (this_softnet() == &sd)
        return func(info);
    call_single_data csd;
    csd.func = func;
    csd.info = info;
    call_queue_push(sd, &csd);
    for (unsigned spins = 0; !csd.done.load(std::memory_order_acquire);) {
        if (!sd.running.load(std::memory_order_relaxed) && softnet_try_take(sd))
            serve_taken_slot(sd);
        else
            relax(spins);
    }
}

void on_each_cpu(net& n, void (*func)(void*), void* info) {
    for (unsigned cpu = 0; cpu < n.nr_cpus(); ++cpu)
        smp_call_function_single(n, cpu, func, info);
}

// --- random numbers ------------------------------------------------------------------------------

namespace {
/// SplitMix64 (Steele, Lea, Flood 2014): any seed will do, and one addition per step.
uint64_t splitmix64(uint64_t& state) {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
} // namespace

void prandom_seed(net& n, uint64_t seed) {
    for (auto& sd : n.softnet)
        sd->rng_state = splitmix64(seed);
}

uint32_t get_random_u32() {
    return uint32_t(splitmix64(this_softnet()->rng_state) >> 32);
}
uint32_t get_random_u32_below(uint32_t ceil) {
    return uint32_t((uint64_t(get_random_u32()) * ceil) >> 32);
}

// --- traces and log lines ------------------------------------------------------------------------

void __trace_packet(const sk_buff* skb, const char* function, const char* fmt, ...) {
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    packet_tracer* tracer = this_softnet()->tracer;
    tracer->event(tracer, skb, function, text);
}

namespace {

void log_to_stderr(const char* line) {
    fprintf(stderr, "%s\n", line);
}

constexpr jiffies_t RATELIMIT_INTERVAL = 5 * HZ;
constexpr unsigned RATELIMIT_BURST = 10;

/// What a call site (known by its format) has said lately. Origin: struct ratelimit_state.
struct ratelimit_state {
    const char* fmt = nullptr;
    const net* owner = nullptr;
    jiffies_t begin = 0;
    unsigned printed = 0, missed = 0;
};

spinlock_t ratelimit_lock;
ratelimit_state ratelimit_sites[64];

/// The state of fmt in net n; a new site takes the place that has been silent longest.
ratelimit_state& ratelimit_site(const net* n, const char* fmt) {
    ratelimit_state* oldest = &ratelimit_sites[0];
    for (ratelimit_state& s : ratelimit_sites) {
        if (s.fmt == fmt && s.owner == n)
            return s;
        if (!s.fmt || (oldest->fmt && s.begin < oldest->begin))
            oldest = &s;
    }
    return *oldest = {fmt, n, jiffies(), 0, 0};
}

/// May fmt speak now? `missed` becomes the number of lines that an interval now over has swallowed.
bool ratelimit_pass(const char* fmt, unsigned& missed) {
    spin_guard guard(ratelimit_lock);
    ratelimit_state& s = ratelimit_site(this_softnet()->nd_net, fmt);
    if (jiffies() > s.begin + RATELIMIT_INTERVAL || jiffies() < s.begin) {
        missed = s.missed;
        s.begin = jiffies();
        s.printed = s.missed = 0;
    }
    bool pass = s.printed < RATELIMIT_BURST;
    ++(pass ? s.printed : s.missed);
    return pass;
}

} // namespace

void (*log_sink)(const char* line) = log_to_stderr;

bool net_warn_ratelimited(const char* fmt, ...) {
    unsigned missed = 0;
    if (!ratelimit_pass(fmt, missed))
        return false;
    char line[512];
    if (missed) {
        snprintf(line, sizeof line, "net_ratelimit: %u callbacks suppressed", missed);
        log_sink(line);
    }
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    log_sink(line);
    return true;
}

} // namespace slabfwd
