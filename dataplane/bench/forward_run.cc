// SPDX-License-Identifier: BSD-3-Clause
//
// One measurement of the whole pipeline. See forward.h.
//
// A round: a receive burst of fresh buffers is filled and put on the input ring ("feed"), the worker takes a turn,
// what came out is taken away ("feed" too). Time is the thread's own CPU time. Slices of 10 ms run
// in turn without stage clock, with the clock as `ctl stages` runs it, and with one turn in 7
// timed: the first tells the total, the last how it divides among feed and stages, the second what
// a clock costs beside live traffic.
#include <algorithm>
#include <array>
#include <functional>
#include <thread>

#include <fmt/format.h>
#include <pthread.h>
#include <rte_lcore.h>
#include <rte_ring.h>

#include "dataplane/bench/bench_clock.h"
#include "dataplane/bench/forward.h"
#include "dataplane/summary.h"
#include "dataplane/worker/stage_clock.h"

namespace slabfwd {

namespace {

constexpr unsigned TIMED_EVERY = 7;
constexpr uint64_t SLICE_NS = 10'000'000;

enum mode : unsigned { CLOCK_OFF, CLOCK_LIVE, CLOCK_STAGES, MODES };

/// What a lane did in one mode.
struct mode_totals {
    uint64_t packets = 0, cpu_ns = 0;
    double cycles() const { return packets ? double(cpu_ns) * tsc_ghz() / double(packets) : 0; }
};

/// One worker with its ports and frames.
class lane {
public:
    lane(forward_router& f, unsigned number, frame_sequence frames, bool arp_answer)
        : f_(f), number_(number), arp_(arp_answer), w_(*f.r->workers[number]),
          frames_(std::move(frames)) {
        live_.mark_cycles = clock_.mark_cycles = stage_mark_cost();
        live_.longest = clock_.longest = uint64_t(tsc_ghz() * 1e6);
        clock_.every = 1;
    }

    /// Until each frame came twice, so that the cache and the neighbours know them.
    void warm_up() {
        const size_t frames = std::max<size_t>(2 * frames_.size(), 4096);
        for (size_t done = 0; done < frames; done += NET_RX_BURST)
            round(false);
    }
    void run(uint64_t span_ns) {
        for (uint64_t cpu = 0; cpu < span_ns;)
            for (unsigned m = 0; m < MODES; ++m)
                cpu += slice(mode(m));
        this_stages.clock = nullptr;
    }

    std::array<mode_totals, MODES> totals{};
    uint64_t feed_cycles = 0, feed_packets = 0;
    stage_totals stages() const { return stage_clock_read(clock_); }

private:
    uint64_t slice(mode m) {
        stage_clock* const live = m == CLOCK_LIVE ? &live_ : nullptr;
        this_stages.clock = live;
        const uint64_t begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        uint64_t end = begin, packets = 0;
        for (unsigned countdown = 1; end - begin < SLICE_NS;
             end = clock_ns(CLOCK_THREAD_CPUTIME_ID))
            for (unsigned i = 0; i < 128; ++i, packets += NET_RX_BURST) {
                const bool timed = m == CLOCK_STAGES && --countdown == 0;
                if (!timed) {
                    round(false);
                    continue;
                }
                countdown = TIMED_EVERY;
                this_stages.clock = &clock_;
                round(true);
                this_stages.clock = nullptr;
            }
        totals[m].packets += packets;
        totals[m].cpu_ns += end - begin;
        return end - begin;
    }
    [[gnu::noinline]] void round(bool timed) {
        const uint64_t t0 = timed ? __rdtsc() : 0;
        frames_.feed(f_.in(number_).ring_in);
        const uint64_t t1 = __rdtsc();
        worker_turn(w_, uint64_t(double(t1) / tsc_ghz()));
        const uint64_t t2 = timed ? __rdtsc() : 0;
        take_away(f_, number_, arp_);
        if (!timed)
            return;
        const uint64_t took = t1 - t0 + (__rdtsc() - t2);
        if (took > clock_.longest)
            return;
        feed_cycles += took;
        feed_packets += NET_RX_BURST;
    }

    forward_router& f_;
    unsigned number_;
    bool arp_;
    worker& w_;
    frame_sequence frames_;
    stage_clock clock_, live_;
};

void pin(const forward_job& job, unsigned number) {
    if (number >= job.cores.size())
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(size_t(job.cores[number]), &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

/// Counters before and after the measured part.
struct counters {
    uint64_t rx = 0, tx = 0, hits = 0;
    std::array<uint64_t, NR_DROP_REASONS> drops{};

    explicit counters(const router& r) {
        for (const auto& sd : r.n->softnet) {
            hits += sd->rt_stat[rt_cache_stat::in_hit];
            for (unsigned i = 0; i < NR_DROP_REASONS; ++i)
                drops[i] += sd->drops[i];
            for (const auto& p : r.ports) {
                rx += sd->dev[size_t(p->dev.ifindex)].rx_packets;
                tx += sd->dev[size_t(p->dev.ifindex)].tx_packets;
            }
        }
    }
};

using samples = std::vector<std::pair<std::string, double>>;

/// The stages' part of the total, as the timed turns divide it: they and the feed are all of it.
void add_stages(const std::vector<std::unique_ptr<lane>>& lanes, samples& out) {
    std::array<mode_totals, MODES> t{};
    stage_totals stages;
    uint64_t feed_cycles = 0, feed_packets = 0;
    for (const auto& l : lanes) {
        for (unsigned m = 0; m < MODES; ++m) {
            t[m].packets += l->totals[m].packets;
            t[m].cpu_ns += l->totals[m].cpu_ns;
        }
        stages += l->stages();
        feed_cycles += l->feed_cycles;
        feed_packets += l->feed_packets;
    }
    const double total = t[CLOCK_OFF].cycles();
    const double feed = double(feed_cycles) / double(std::max<uint64_t>(feed_packets, 1));
    double seen = feed;
    std::array<double, NR_STAGES> cycles;
    for (unsigned s = 0; s < NR_STAGES; ++s)
        seen += cycles[s] =
            double(stages.cycles[s]) / double(std::max<uint64_t>(stages.packets, 1));
    const double scale = total / seen, pipeline = total - feed * scale;
    out.emplace_back("cycles", pipeline);
    out.emplace_back("mpps", tsc_ghz() * 1e3 / pipeline * double(lanes.size()));
    out.emplace_back("feed", feed * scale);
    out.emplace_back("clock_scale", scale);
    out.emplace_back("clock_cost", (t[CLOCK_LIVE].cycles() - total) / pipeline * 100);
    for (unsigned s = 0; s < NR_STAGES; ++s)
        out.emplace_back(fmt::format("stage_{}", stage_name(stage(s))), cycles[s] * scale);
}

void add_counters(const counters& before, const counters& after, samples& out) {
    const uint64_t rx = after.rx - before.rx;
    out.emplace_back("rx", double(rx));
    out.emplace_back("tx", double(after.tx - before.tx));
    out.emplace_back("hit_ratio",
                     double(after.hits - before.hits) / double(std::max<uint64_t>(rx, 1)) * 100);
    uint64_t drops = 0;
    for (unsigned i = 0; i < NR_DROP_REASONS; ++i)
        if (const uint64_t n = after.drops[i] - before.drops[i]) {
            drops += n;
            out.emplace_back(fmt::format("drop_{}", drop_reason_name(skb_drop_reason(i))),
                             double(n) / double(std::max<uint64_t>(rx, 1)) * 100);
        }
    out.emplace_back("drops", double(drops) / double(std::max<uint64_t>(rx, 1)) * 100);
}

void in_own_thread(const forward_job& job, forward_router& f, unsigned number,
                   const std::function<void()>& work) {
    rte_thread_register();
    pin(job, number);
    softnet_loop_begin(*f.r->workers[number]->sd);
    work();
    softnet_loop_end(*f.r->workers[number]->sd);
    rte_thread_unregister();
}

template <class F>
void on_all_lanes(const forward_job& job, forward_router& f, F work) {
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < job.lanes; ++i)
        threads.emplace_back([&, i] { in_own_thread(job, f, i, [&] { work(i); }); });
    for (std::thread& t : threads)
        t.join();
}

} // namespace

void run_forward(const forward_job& job, child_result& out) {
    auto made = forward_router::make(job);
    if (!made) {
        out.error = made.error();
        return;
    }
    forward_router& f = *made;
    std::vector<std::unique_ptr<lane>> lanes;
    for (unsigned i = 0; i < job.lanes; ++i) {
        auto frames = frame_sequence::make(job.mix, i);
        if (!frames) {
            out.error = frames.error();
            return;
        }
        lanes.push_back(std::make_unique<lane>(f, i, std::move(*frames), job.arp_answer));
    }
    on_all_lanes(job, f, [&](unsigned i) { lanes[i]->warm_up(); });
    const counters before(*f.r);
    on_all_lanes(job, f, [&](unsigned i) { lanes[i]->run(job.span_ns); });
    add_counters(before, counters(*f.r), out.samples);
    add_stages(lanes, out.samples);
    forward_end(f, out);
}

} // namespace slabfwd
