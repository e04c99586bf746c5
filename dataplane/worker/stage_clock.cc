// SPDX-License-Identifier: BSD-3-Clause
//
// The clock's life and the end of a timed turn. See stage_clock.h.
#include "dataplane/worker/stage_clock.h"

#include <algorithm>
#include <memory>
#include <vector>

#include <rte_cycles.h>

#include "neigh/net_namespace.h"

namespace slabfwd {

const char* stage_name(stage s) {
    static constexpr const char* names[] = {
#define X(name) #name,
        SLABFWD_STAGES(X)
#undef X
    };
    return names[unsigned(s)];
}

constinit thread_local stage_thread this_stages;

void stage_turn_begin() {
    stage_clock& c = *this_stages.clock;
    if (likely(--c.countdown != 0))
        return;
    c.countdown = c.every;
    std::fill(std::begin(c.now), std::end(c.now), 0);
    c.last = __rdtsc();
    this_stages.timed = &c;
}

void stage_turn_end(unsigned packets) {
    stage_clock& c = *this_stages.timed;
    this_stages.timed = nullptr;
    c.mark(stage::rest);
    if (!packets)
        return;
    uint64_t sum = 0;
    for (uint64_t cycles : c.now)
        sum += cycles;
    if (unlikely(sum > c.longest))
        return c.interrupted.inc();
    for (unsigned s = 0; s < NR_STAGES; ++s)
        c.cycles[s].add(c.now[s]);
    c.turns.inc();
    c.packets.add(packets);
}

stage_totals& stage_totals::operator+=(const stage_totals& o) {
    for (unsigned s = 0; s < NR_STAGES; ++s)
        cycles[s] += o.cycles[s];
    turns += o.turns;
    packets += o.packets;
    interrupted += o.interrupted;
    return *this;
}

stage_totals stage_totals::operator-(const stage_totals& o) const {
    stage_totals d = *this;
    for (unsigned s = 0; s < NR_STAGES; ++s)
        d.cycles[s] -= o.cycles[s];
    d.turns -= o.turns;
    d.packets -= o.packets;
    d.interrupted -= o.interrupted;
    return d;
}

stage_totals stage_clock_read(const stage_clock& c) {
    stage_totals t;
    for (unsigned s = 0; s < NR_STAGES; ++s)
        t.cycles[s] = c.cycles[s];
    t.turns = c.turns;
    t.packets = c.packets;
    t.interrupted = c.interrupted;
    return t;
}

uint64_t stage_mark_cost() {
    static const uint64_t cost = [] {
        std::array<uint64_t, 1001> took;
        stage_clock c;
        c.last = __rdtsc();
        for (uint64_t& t : took) {
            const uint64_t before = c.now[0];
            c.mark(stage::rx);
            t = c.now[0] - before;
        }
        std::nth_element(took.begin(), took.begin() + took.size() / 2, took.end());
        return took[took.size() / 2];
    }();
    return cost;
}

namespace {

/// The clocks that run. Control thread.
struct running_clock {
    const net* n;
    unsigned cpu;
    std::unique_ptr<stage_clock> clock;
};
std::vector<running_clock> running;

auto find_running(const net& n, unsigned cpu) {
    return std::ranges::find_if(running,
                                [&](const running_clock& r) { return r.n == &n && r.cpu == cpu; });
}

void give_clock(void* clock) {
    this_stages = {static_cast<stage_clock*>(clock), nullptr};
}

} // namespace

stage_clock* stage_clock_start(net& n, unsigned cpu, uint32_t every) {
    if (auto r = find_running(n, cpu); r != running.end()) {
        ++r->clock->users;
        return r->clock.get();
    }
    auto c = std::make_unique<stage_clock>();
    c->every = every;
    c->mark_cycles = stage_mark_cost();
    c->longest = rte_get_tsc_hz() / 1000; // a millisecond: nothing that a turn does takes so long
    c->users = 1;
    smp_call_function_single(n, cpu, give_clock, c.get());
    return running.emplace_back(running_clock{&n, cpu, std::move(c)}).clock.get();
}

stage_clock* stage_clock_stop(net& n, unsigned cpu) {
    auto r = find_running(n, cpu);
    if (r == running.end())
        return nullptr;
    if (--r->clock->users)
        return r->clock.get();
    smp_call_function_single(n, cpu, give_clock, nullptr);
    running.erase(r);
    return nullptr;
}

} // namespace slabfwd
