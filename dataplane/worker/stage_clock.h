// SPDX-License-Identifier: BSD-3-Clause
//
// stage_clock: where the cycles of a worker's turn go, by stage. A stage ends with stage_mark():
// the TSC since the mark before is that stage's. Off (no turn is timed) a mark is one
// branch a burst; on, one turn in `every` is timed, so that a clock that runs beside live traffic
// costs next to nothing. Doors: stage_clock_start, stage_clock_stop, stage_clock_read (control
// thread); stage_mark (the worker). Threads: a clock is written by its worker, read by anybody;
// made and freed by the control thread.
#pragma once

#include <array>
#include <x86intrin.h>

#include "neigh/softnet.h"

namespace slabfwd {

/// X(name): in the order of the packet's way. `ip_route_input`: what the route cache did not know;
/// `slow`: packets that left their burst, from there to the end of their way.
// clang-format off
#define SLABFWD_STAGES(X)                                                                         \
    X(rx) X(eth_type_trans) X(ip_rcv) X(route_cache) X(ip_route_input) X(ip_forward) X(netfilter) \
    X(ip_output) X(slow) X(tx) X(rest)
// clang-format on

enum class stage : uint8_t {
#define X(name) name,
    SLABFWD_STAGES(X)
#undef X
        MAX
};
constexpr unsigned NR_STAGES = unsigned(stage::MAX);
const char* stage_name(stage s);

/// One turn in so many is timed when a clock runs beside live traffic.
constexpr uint32_t STAGE_EVERY = 64;

struct stage_clock {
    uint64_t last = 0;            ///< TSC of the last mark
    uint64_t now[NR_STAGES] = {}; ///< cycles of this turn
    uint32_t every = STAGE_EVERY, countdown = 1;
    uint64_t mark_cycles = 0;        ///< what a mark itself costs; taken off each
    uint64_t longest = ~uint64_t(0); ///< a turn of more cycles was interrupted: it does not count
    cpu_counter cycles[NR_STAGES];   ///< of the turns that moved packets
    cpu_counter turns, packets, interrupted;
    unsigned users = 0; ///< control thread: who asked for it

    [[gnu::always_inline]] void mark(stage s) {
        const uint64_t t = __rdtsc(), took = t - last;
        now[unsigned(s)] += took > mark_cycles ? took - mark_cycles : 0;
        last = t;
    }
};

/// The calling thread's clock: the one that runs, and the same while the turn is a timed one.
struct stage_thread {
    stage_clock* clock = nullptr;
    stage_clock* timed = nullptr;
};
[[gnu::tls_model("initial-exec")]] extern constinit thread_local stage_thread this_stages;

/// Ends stage s, when the turn is timed.
[[gnu::always_inline]] inline void stage_mark(stage s) {
    if (unlikely(this_stages.timed != nullptr))
        this_stages.timed->mark(s);
}

/// A turn begins: is it one to be timed? REQUIRES this_stages.clock.
void stage_turn_begin();
/// The timed turn has moved so many packets. REQUIRES this_stages.timed.
void stage_turn_end(unsigned packets);

/// What one slot's clock has counted.
struct stage_totals {
    std::array<uint64_t, NR_STAGES> cycles{};
    uint64_t turns = 0, packets = 0, interrupted = 0;

    stage_totals& operator+=(const stage_totals& o);
    stage_totals operator-(const stage_totals& o) const;
};
stage_totals stage_clock_read(const stage_clock& c);

/// TSC cycles of a mark, measured. (What two of them in a row show.)
uint64_t stage_mark_cost();

/// Gives the thread of slot `cpu` a clock that times every so many turns, or joins the one that runs
/// there. Control thread.
stage_clock* stage_clock_start(net& n, unsigned cpu, uint32_t every = STAGE_EVERY);
/// Takes it away again; the last of its users frees it. Null: there is none any more.
stage_clock* stage_clock_stop(net& n, unsigned cpu);

} // namespace slabfwd
