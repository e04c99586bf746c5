// SPDX-License-Identifier: BSD-3-Clause
//
// bench forward --weighted: does a mixture cost what its parts cost? See forward.h.
//
// Each share of slow packets has a lane of its own, with its cache and its ports; one thread works
// in all of them, slice by slice in turn, so that what others do on the machine meets all alike. A
// round of slices gives one ratio, and the median of the rounds counts. Only the turns of the
// worker are timed, by the TSC; a turn in which the thread was interrupted is left out. Before
// that, each lane has come to where it stays: where flows never repeat, the cache is full and
// collects. Door: run_forward_weighted. Threads: one.
#include <algorithm>
#include <array>
#include <memory>

#include <fmt/format.h>
#include <pthread.h>
#include <rte_lcore.h>
#include <rte_ring.h>

#include "dataplane/bench/bench_clock.h"
#include "dataplane/bench/forward.h"
#include "route/route.h"

namespace slabfwd {

namespace {

/// In percent; the first are plain packets, the last all slow.
constexpr std::array SHARES = {0.0, 1.0, 10.0, 50.0, 100.0};
constexpr size_t LANES = SHARES.size();
constexpr uint64_t SLICE_NS = 2'000'000;
/// Longer turns were interrupted: 64 packets take no 100,000 ns.
constexpr double LONGEST_TURN_NS = 100'000;
constexpr uint64_t LONGEST_WARM_UP_NS = 4'000'000'000;

frame_mix at_share(const frame_mix& pure, double percent) {
    frame_mix mix = pure;
    for (double frame_mix::*kind :
         {&frame_mix::options, &frame_mix::misses, &frame_mix::ttl1, &frame_mix::fragments})
        mix.*kind *= percent / 100;
    return mix;
}

/// One worker's ports and frames, for as long as the thread works in its slot.
class weighted_lane {
public:
    weighted_lane(forward_router& f, unsigned number, frame_sequence frames, bool strangers,
                  bool arp_answer)
        : f_(f), w_(*f.r->workers[number]), frames_(std::move(frames)), number_(number),
          strangers_(strangers), arp_(arp_answer) {}

    void warm_up() {
        softnet_loop_begin(*w_.sd);
        const uint64_t begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        do
            once_through();
        while (growing() && clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin < LONGEST_WARM_UP_NS);
        softnet_loop_end(*w_.sd);
    }
    /// Cycles of a packet, over a slice; what the other lanes have pushed out of the processor's
    /// caches comes back first.
    double slice() {
        softnet_loop_begin(*w_.sd);
        once_through();
        cycles_ = packets_ = 0;
        const uint64_t begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        while (clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin < SLICE_NS)
            for (unsigned i = 0; i < 16; ++i)
                turn();
        softnet_loop_end(*w_.sd);
        return double(cycles_) / double(std::max<uint64_t>(packets_, 1));
    }

private:
    bool growing() const {
        const dst_ops& ops = w_.sd->rt_shard->ipv4_dst_ops;
        return strangers_ && dst_entries_get_fast(&ops) < ops.gc_thresh;
    }
    void once_through() {
        for (size_t done = 0; done < frames_.size(); done += NET_RX_BURST)
            turn();
    }
    void turn() {
        if (unlikely(!frames_.feed(f_.in(number_).ring_in)))
            return;
        const uint64_t begin = __rdtsc();
        worker_turn(w_, uint64_t(double(begin) / tsc_ghz()));
        const uint64_t took = __rdtsc() - begin;
        take_away(f_, number_, arp_);
        if (double(took) > LONGEST_TURN_NS * tsc_ghz())
            return;
        cycles_ += took;
        packets_ += NET_RX_BURST;
    }

    forward_router& f_;
    worker& w_;
    frame_sequence frames_;
    unsigned number_;
    bool strangers_, arp_;
    uint64_t cycles_ = 0, packets_ = 0;
};

struct weighted_samples {
    std::array<std::vector<double>, LANES> cycles, ratios;

    void add(const std::array<double, LANES>& round) {
        const double plain = round.front(), slow = round.back();
        for (size_t i = 0; i < LANES; ++i) {
            cycles[i].push_back(round[i]);
            ratios[i].push_back(weighted_ratio(SHARES[i], plain, slow, round[i]));
        }
    }
};

weighted_samples measure(std::vector<std::unique_ptr<weighted_lane>>& lanes, uint64_t span_ns) {
    weighted_samples samples;
    for (auto& l : lanes)
        l->warm_up();
    const uint64_t begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (size_t first = 0; clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin < span_ns; ++first) {
        std::array<double, LANES> round;
        for (size_t k = 0; k < LANES; ++k) { // every lane stands behind every other one
            const size_t i = (first + k) % LANES;
            round[i] = lanes[i]->slice();
        }
        samples.add(round);
    }
    return samples;
}

} // namespace

void run_forward_weighted(const forward_job& given, child_result& out) {
    forward_job job = given;
    job.lanes = LANES;
    auto made = forward_router::make(job);
    if (!made) {
        out.error = made.error();
        return;
    }
    std::vector<std::unique_ptr<weighted_lane>> lanes;
    for (unsigned i = 0; i < LANES; ++i) {
        const frame_mix mix = at_share(job.mix, SHARES[i]);
        auto frames = frame_sequence::make(mix, i);
        if (!frames) {
            out.error = frames.error();
            return;
        }
        lanes.push_back(std::make_unique<weighted_lane>(*made, i, std::move(*frames),
                                                        mix.misses > 0, job.arp_answer));
    }
    net& n = made->n();
    softnet_data* const control = this_softnet();
    n.rcu.offline(control->cpu); // from here on this thread works in the lanes' slots
    softnet_enter(nullptr);
    const weighted_samples samples = measure(lanes, 4 * job.span_ns);
    softnet_enter(control);
    n.rcu.online(control->cpu);
    for (size_t i = 0; i < LANES; ++i) {
        const std::string at = fmt::format("{:g}%", SHARES[i]);
        out.samples.emplace_back(at + "_cycles", median(samples.cycles[i]));
        if (i && i + 1 < LANES)
            out.samples.emplace_back(at + "_weighted_ratio", median(samples.ratios[i]));
    }
    forward_end(*made, out);
}

} // namespace slabfwd
