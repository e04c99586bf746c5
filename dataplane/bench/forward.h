// SPDX-License-Identifier: BSD-3-Clause
//
// `slabfwd bench forward`: a router without NICs, the frames it is fed, and what is measured of it.
//
//   frames (forward_frames.cc) -> net_ring port -> the whole pipeline -> net_ring port -> taken
//   away
//
// Doors: frame_sequence, forward_router, run_forward, run_forward_latency, search_ports. A
// measurement runs in a process of its own (bench_child.h). Threads: a lane (an input port, an
// output port, their frames) belongs to one worker.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/bench/bench_child.h"
#include "dataplane/bench/bench_report.h"
#include "dataplane/router.h"

namespace slabfwd {

constexpr unsigned FORWARD_LANES = 16; ///< most lanes of the default router

/// What the frames are. Shares are in percent of the packets; the rest are plain packets of `flows`
/// flows.
struct frame_mix {
    std::string capture; ///< a file of frames instead of generated ones
    uint32_t flows = 1000;
    std::string size = "64"; ///< bytes on the wire, checksum included, or "imix"
    double options = 0, misses = 0, ttl1 = 0, fragments = 0;
};
/// Frame sizes in bytes of "64", "imix" and so on; empty: no such thing.
std::vector<unsigned> frame_sizes(const std::string& size);

/// A lane's frames, again and again. Those of kind `miss` have a destination that never repeats.
class frame_sequence {
public:
    static tl::expected<frame_sequence, std::string> make(const frame_mix& mix, unsigned lane);
    /// Writes the next n frames into fresh buffers.
    void fill(rte_mbuf** m, unsigned n);
    /// Puts a receive burst of them on a port's ring; false: out of buffers.
    bool feed(rte_ring* ring_in);
    size_t size() const { return frames_.size(); } ///< frames until they begin again
    size_t left_out() const { return left_out_; } ///< of the capture: too long for a buffer, or cut

private:
    struct frame {
        uint32_t at;   ///< in bytes_
        uint16_t len;  ///< of the frame
        uint16_t head; ///< thereof written each time: what the router reads or changes
        bool miss;
    };
    void add(const std::vector<uint8_t>& bytes, size_t len, bool miss);

    std::vector<uint8_t> bytes_;
    std::vector<frame> frames_;
    size_t next_ = 0, left_out_ = 0;
    uint32_t stranger_ = 0, lane_ = 0;
};

/// Everything that a measurement is told.
struct forward_job {
    frame_mix mix;
    std::string config; ///< file of commands instead of the default router
    unsigned rules = 0; ///< of filter FORWARD, none of which matches
    bool keep_mac = false, arp_answer = true, no_huge = false;
    unsigned lanes = 1;
    std::vector<int> cores; ///< CPU of each lane's worker; fewer: the rest float
    uint64_t span_ns = 500'000'000;
    unsigned ring = 1024;
    double loss = 0; ///< percent that a trial may lose and still count as none
    unsigned churn_routes = 10'000, churn_rate = 1000; ///< loaded in one go; changed a second
    bool pace_by_wall = false; ///< frames are due by the clock on the wall, see forward_trial.h
};

/// A router with lane i from port p<i> to port p<lanes + i>, configured, with its rules.
struct forward_router {
    std::unique_ptr<router> r;
    net& n() { return *r->n; }
    port& in(unsigned lane) { return *r->ports[lane]; }
    port& out(unsigned lane) { return *r->ports[r->workers.size() + lane]; }
    static tl::expected<forward_router, std::string> make(const forward_job& job);
};
/// The text of an iptables-restore file with n rules that match nothing the default frames are.
std::string forward_rules_text(unsigned n);
/// What the router sends by the ports of lane `lane` goes: counted, ARP answered, freed. Returns
/// how many were no ARP. `seen` is called with each burst first, null: nobody wants it.
unsigned take_away(forward_router& f, unsigned lane, bool arp_answer,
                   void (*seen)(void* who, rte_mbuf** m, unsigned n) = nullptr,
                   void* who = nullptr);

/// Ends the router; packets that do not balance, or anything it has not given back, are out's
/// error.
void forward_end(forward_router& f, child_result& out);

std::vector<bench_metric> forward_metrics();

/// Cycles by stage, rate, hits, drops: fills in the numbers (forward_metrics(), and drop_REASON).
void run_forward(const forward_job& job, child_result& out);
/// What a mixture with `percent` of slow packets costs, `mixed`, of the weighted sum of its parts,
/// in which all packets are plain or all are slow.
inline double weighted_ratio(double percent, double plain, double slow, double mixed) {
    return mixed / (plain + percent / 100 * (slow - plain));
}
/// What mixtures of plain packets and of job.mix cost beside the weighted sum of both, for each
/// share in percent: `cycles` and `weighted_ratio`, named "SHARE%_METRIC".
void run_forward_weighted(const forward_job& job, child_result& out);
/// No-drop rate by binary search, then latency at 10, 50, 90 % of it; at 50 % once more with flows
/// that never repeat, while routes change and are loaded anew, and while they change as fast as can
/// be. Fills in, for each, what was lost and by which cause.
void run_forward_latency(const forward_job& job, child_result& out);

/// Real ports: the router's (two) and the tester's, wired to them.
struct search_ports_job {
    std::vector<port_config> router, tester;
};
/// The no-drop rate over real ports, and where the first rate that failed lost frames.
void run_forward_ports(const forward_job& job, const search_ports_job& ports, child_result& out);

/// Cost by stage as stacked bars, and cost over the number of rules when a workload has a number;
/// SVG or PNG.
std::string forward_plot(const bench_report& report, const std::string& file);
/// The table of stages, then the others.
std::string forward_table(const bench_report& report);
/// The median cycles of the workloads whose rules were counted: (rules, cycles); by workload name
/// "... N rules".
std::vector<std::pair<double, double>> forward_rules_curve(const bench_report& report);
/// How far the cost of mixtures is from the weighted sum of their parts; empty when none was
/// measured.
std::string forward_weighted_text(const bench_report& report);

} // namespace slabfwd
