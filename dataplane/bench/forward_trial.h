// SPDX-License-Identifier: BSD-3-Clause
//
// A trial: frames at one rate for a while, and where those went that did not come out; the rate
// without a drop is a binary search over trials, in the manner of RFC 2544.
//
// A trial's clock is, where it can be read, the forwarding thread's own CPU time: `pps` then are
// frames a second that this thread runs, and while somebody else has its core no frame is due.
// Otherwise it is the clock on the wall.
// Doors: run_trial, search_rate. Threads: a trial belongs to the thread that runs it, the
// generator.
#pragma once

#include <functional>
#include <optional>

#include "dataplane/bench/bench_clock.h"
#include "dataplane/bench/forward.h"

namespace slabfwd {

/// What the router has counted so far.
struct bed_counters {
    uint64_t rx = 0, tx = 0;
    uint64_t drops = 0;    ///< for any reason
    uint64_t hits = 0;     ///< found in the route cache
    uint64_t collects = 0; ///< calls of rt_garbage_collect

    bed_counters() = default;
    explicit bed_counters(const router& r);
};

/// Where a trial's frames go in and come out.
class test_bed {
public:
    virtual ~test_bed() = default;
    /// Hands n frames over; those not taken stay the caller's. Generator.
    virtual unsigned send(rte_mbuf** m, unsigned n) = 0;
    /// Frames that came out so far. Generator; it is where a tester's ports are emptied.
    virtual uint64_t received() = 0;
    /// Frames handed over that the router has not taken yet, as far as anybody can tell.
    virtual unsigned waiting() const { return 0; }
    /// Is a frame that send() does not take the router's loss? Else it was never sent.
    virtual bool refusal_is_loss() const { return true; }
    /// The forwarding thread's CPU clock, where there is one such thread.
    virtual std::optional<clockid_t> forwarder_clock() const { return std::nullopt; }
    virtual bed_counters counters() const { return {}; }
};

struct trial_plan {
    double pps = 0;
    uint64_t span_ns = 0; ///< by the trial's clock; ten times as long by the wall's at most
    bool by_wall = false; ///< the clock on the wall, whatever the bed has
    bool stamps = false;  ///< see frame_stamp
};

/// Every frame that was due while the generator ran was sent or could not be.
struct trial_result {
    uint64_t sent = 0;      ///< due, whether or not the router took them
    uint64_t received = 0;  ///< came out
    uint64_t no_buffer = 0; ///< of sent: none was free to make them in
    uint64_t refused = 0;   ///< of sent: the router's ring was full
    /// Of refused: no more than came due, by the wall's clock, while the forwarder did not run and
    /// the ring had not been empty since.
    uint64_t refused_off_cpu = 0;
    uint64_t cpu_ns = 0,
             wall_ns = 0; ///< how long was sent, by the forwarder's clock and the wall's
    uint64_t away_ns = 0; ///< thereof the generator was kept off its core
    double pps = 0; ///< that were really sent while the generator was there, by the trial's clock
    bed_counters before{}, after{};

    uint64_t lost() const { return std::max(no_buffer + refused, sent - std::min(sent, received)); }
    double loss() const { return percent(lost()); }
    /// Taken by the router's ports; what is missing of the frames that were handed over was lost
    /// before.
    uint64_t rx() const { return after.rx - before.rx; }
    uint64_t dropped() const { return after.drops - before.drops; }
    uint64_t collects() const { return after.collects - before.collects; }
    double percent(uint64_t frames) const {
        return sent ? 100.0 * double(frames) / double(sent) : 100;
    }
};

trial_result run_trial(test_bed& bed, frame_sequence& frames, const trial_plan& plan);

struct search_result {
    double best = 0;  ///< frames a second of the fastest trial that lost nothing; 0: none did
    double fails = 0; ///< the slowest rate above it that lost some; 0: the generator was the limit
    trial_result failed{}; ///< the trial at `fails`
};
/// A trial at so many frames a second.
using trial_at = std::function<trial_result(double pps)>;
/// The highest rate at which a trial loses no more than `loss` percent, to 2 %. A trial that loses
/// is repeated twice: on a shared machine others may have had the CPU.
search_result search_rate(const trial_at& trial, double loss);
/// The same of trials of a quarter of job.span_ns on this bed, at job.loss percent.
search_result search_rate(test_bed& bed, frame_sequence& frames, const forward_job& job);

/// In the data of some frames: when they were handed over.
struct [[gnu::packed]] frame_stamp {
    uint64_t tsc, cpu_ns; ///< cpu_ns: forwarder_clock
    uint16_t magic;
};
/// The stamp of a frame, if it has one.
std::optional<frame_stamp> read_stamp(const rte_mbuf* m);

} // namespace slabfwd
