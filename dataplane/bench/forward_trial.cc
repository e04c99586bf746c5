// SPDX-License-Identifier: BSD-3-Clause
//
// Trials: pacing, stamping, counting what is lost. See forward_trial.h.
//
// A preempted generator skips what it missed; it sends no burst to catch up. After its last frame
// it waits until none has come out for a while.
#include <algorithm>
#include <cstring>
#include <utility>

#include <rte_mbuf.h>
#include <rte_pause.h>

#include "dataplane/bench/forward_trial.h"

namespace slabfwd {

namespace {

constexpr uint16_t STAMP_MAGIC = 0x5d5a;
constexpr unsigned STAMP_AT = 42, STAMP_END = 60; ///< behind the UDP header, in the shortest frame
constexpr unsigned STAMP_EVERY = 16;              ///< bursts; the rest pay no clock
static_assert(STAMP_AT + sizeof(frame_stamp) <= STAMP_END);

/// Frames that are later than this are not sent: the generator is too slow for the rate.
constexpr double LATE_FRAMES = 64, LATE_NS = 20'000;
/// No step of the generator takes so long: somebody else had its core.
constexpr double AWAY_NS = 20'000;
constexpr double STAMPING_NS = 5'000; ///< that stamping a burst takes at most, undisturbed
constexpr double SILENCE_NS = 20e6;   ///< nothing came out for so long: nothing will
constexpr double LONGEST_WAIT_NS = 2e9;
constexpr double FIRST_PPS = 1e5; ///< of a search
constexpr double LEAST_PPS = 500; ///< a search that loses frames at this rate has found nothing

double wall_now() {
    const double ghz = tsc_ghz(); // takes a while when it is asked for the first time
    return double(__rdtsc()) / ghz;
}

/// Both clocks, in ns.
struct instant {
    double wall, cpu;

    explicit instant(const test_bed& bed) : wall(wall_now()), cpu(wall) {
        if (const auto clock = bed.forwarder_clock())
            cpu = double(clock_ns(*clock));
    }
};

/// When frames are due, and how many of those came due while the forwarder was kept off its core.
class pacer {
public:
    pacer(const test_bed& bed, const trial_plan& plan)
        : bed_(bed), plan_(plan), gap_(1e9 / plan.pps), begin_(bed), last_(begin_),
          next_(of(begin_)) {}

    /// Frames due now, NET_RX_BURST at most.
    unsigned due() {
        const double seen = std::exchange(polled_, wall_now());
        const bool was_away = polled_ - seen > AWAY_NS;
        if (polled_ < of_wall_ && !was_away) // the other clock goes no faster than this one
            return 0;
        const instant now(bed_), before = std::exchange(last_, now);
        const double at = of(now);
        if (plan_.by_wall)
            off_cpu_ += std::max(0.0, (now.wall - before.wall) - (now.cpu - before.cpu)) / gap_;
        if (was_away)
            away_ += std::max(0.0, (at - of(before)) - (seen - before.wall));
        if (was_away || at - next_ > LATE_FRAMES * gap_ + LATE_NS)
            next_ = std::max(next_, at);
        of_wall_ = now.wall + std::max(0.0, next_ - at);
        if (at < next_)
            return 0;
        const auto n = unsigned(std::min(1 + (at - next_) / gap_, double(NET_RX_BURST)));
        next_ += n * gap_;
        return n;
    }
    bool over() const {
        const double span = double(plan_.span_ns);
        return of(last_) - of(begin_) >= span || wall_now() - begin_.wall >= 10 * span;
    }
    /// The router has caught up: what is refused from now on is not for what was before.
    void caught_up() { off_cpu_ = 0; }
    /// Of so many refused frames, those that came due while the forwarder did not run.
    unsigned off_cpu(unsigned refused) {
        const auto n = unsigned(std::min(off_cpu_, double(refused)));
        off_cpu_ -= n;
        return n;
    }
    void finish(trial_result& r) const {
        r.wall_ns = uint64_t(last_.wall - begin_.wall);
        r.cpu_ns = uint64_t(last_.cpu - begin_.cpu);
        r.away_ns = uint64_t(away_);
        r.pps = double(r.sent) / std::max(of(last_) - of(begin_) - away_, 1.0) * 1e9;
    }

private:
    double of(const instant& i) const { return plan_.by_wall ? i.wall : i.cpu; }

    const test_bed& bed_;
    const trial_plan& plan_;
    const double gap_; ///< between two frames
    const instant begin_;
    instant last_;
    double next_;        ///< when the next frame is due
    double of_wall_ = 0; ///< not before this moment of the wall's clock
    double polled_ = begin_.wall;
    double off_cpu_ = 0; ///< frames
    double away_ = 0;    ///< ns in which the generator was not there
};

/// Stamps all frames of a burst; again when somebody had the core meanwhile.
void write_stamps(rte_mbuf** m, unsigned n, clockid_t clock) {
    const auto too_long = uint64_t(STAMPING_NS * tsc_ghz());
    frame_stamp s{0, 0, STAMP_MAGIC};
    do {
        s.tsc = __rdtsc();
        s.cpu_ns = clock_ns(clock);
        for (unsigned i = 0; i < n; ++i)
            std::memcpy(rte_pktmbuf_mtod_offset(m[i], char*, STAMP_AT), &s, sizeof s);
    } while (__rdtsc() - s.tsc > too_long);
}

/// What is still under way comes out, or is lost.
uint64_t wait_for_the_rest(test_bed& bed) {
    const instant begin(bed);
    instant quiet = begin, now = begin;
    uint64_t seen = bed.received();
    // By both clocks: a forwarder that does not run is not silent.
    while ((now.cpu - quiet.cpu < SILENCE_NS || now.wall - quiet.wall < SILENCE_NS) &&
           now.wall - begin.wall < LONGEST_WAIT_NS) {
        now = instant(bed);
        if (const uint64_t more = bed.received(); more != seen) {
            seen = more;
            quiet = now;
        }
    }
    return seen;
}

} // namespace

bed_counters::bed_counters(const router& r) {
    for (const auto& sd : r.n->softnet) {
        hits += sd->rt_stat[rt_cache_stat::in_hit];
        collects += sd->rt_stat[rt_cache_stat::gc_total];
        for (const auto& d : sd->drops)
            drops += d;
        for (const auto& p : r.ports) {
            rx += sd->dev[size_t(p->dev.ifindex)].rx_packets;
            tx += sd->dev[size_t(p->dev.ifindex)].tx_packets;
        }
    }
}

std::optional<frame_stamp> read_stamp(const rte_mbuf* m) {
    frame_stamp s;
    if (m->data_len < STAMP_END)
        return std::nullopt;
    std::memcpy(&s, rte_pktmbuf_mtod_offset(m, const char*, STAMP_AT), sizeof s);
    if (s.magic != STAMP_MAGIC)
        return std::nullopt;
    return s;
}

trial_result run_trial(test_bed& bed, frame_sequence& frames, const trial_plan& plan) {
    trial_result r;
    const auto clock = bed.forwarder_clock();
    const uint64_t received0 = bed.received();
    r.before = bed.counters();
    pacer pace(bed, plan);
    rte_mbuf* m[NET_RX_BURST];
    for (uint64_t bursts = 0; !pace.over();) {
        const unsigned n = pace.due();
        if (!n) {
            bed.received();
            rte_pause();
            continue;
        }
        if (plan.by_wall && bed.waiting() < NET_RX_BURST)
            pace.caught_up();
        if (rte_pktmbuf_alloc_bulk(pktmbuf_pool(), m, n) != 0) {
            r.sent += n;
            r.no_buffer += n;
            continue;
        }
        frames.fill(m, n);
        if (plan.stamps && clock && ++bursts % STAMP_EVERY == 0)
            write_stamps(m, n, *clock);
        const unsigned taken = bed.send(m, n);
        rte_pktmbuf_free_bulk(m + taken, n - taken);
        r.sent += bed.refusal_is_loss() ? n : taken;
        if (taken < n && bed.refusal_is_loss()) {
            r.refused += n - taken;
            r.refused_off_cpu += pace.off_cpu(n - taken);
        }
    }
    pace.finish(r);
    r.received = wait_for_the_rest(bed) - received0;
    r.after = bed.counters();
    return r;
}

search_result search_rate(const trial_at& trial, double loss) {
    search_result s;
    double low = 0, high = 0;
    bool slow_generator = false;
    const auto tries = [&](double pps) {
        trial_result t;
        bool lossless = false;
        for (unsigned again = 0; again < 3; ++again) {
            const trial_result last = trial(pps);
            if (!last.sent || last.loss() > loss) {
                t = last;
                continue;
            }
            lossless = true;
            s.best = std::max(s.best, last.pps);
            slow_generator = last.pps < pps * 0.9; // was it disturbed, or can it not?
            if (!slow_generator)
                break;
        }
        if (lossless) {
            low = pps;
            return true;
        }
        high = s.fails = pps;
        s.failed = t;
        return false;
    };
    trial(FIRST_PPS); // neighbours and cache
    for (double pps = FIRST_PPS; pps < 1e9 && tries(pps) && !slow_generator; pps *= 2)
        ;
    while (high >= LEAST_PPS && high - low > 0.02 * high && !slow_generator)
        tries((low + high) / 2);
    return s;
}

search_result search_rate(test_bed& bed, frame_sequence& frames, const forward_job& job) {
    return search_rate(
        [&](double pps) {
            return run_trial(bed, frames, {pps, job.span_ns / 4, job.pace_by_wall});
        },
        job.loss);
}

} // namespace slabfwd
