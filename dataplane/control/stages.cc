// SPDX-License-Identifier: BSD-3-Clause
//
// `stages [-j] [-d SEC]`: where the workers' cycles go, by stage, over the next SEC seconds (1) or
// until the one who typed it has had enough. One turn in STAGE_EVERY is timed, so that a router
// under load does not notice. Threads: the job on the control thread; each worker counts on its own
// clock.
#include <algorithm>
#include <cmath>

#include "dataplane/control/job.h"
#include "dataplane/control/values.h"
#include "dataplane/worker/stage_clock.h"
#include "neigh/packet_work.h"
#include "route/route.h"

namespace slabfwd {

namespace {

/// The most entries that one packet has made a worker look at to collect.
unsigned collected_most(const net& n) {
    unsigned most = 0;
    for (unsigned cpu = 0; cpu < n.nr_workers; ++cpu)
        most = std::max(most, READ_ONCE(n.softnet[cpu]->rt_shard->gc_looked_max));
    return most;
}

class stages_job final : public control_job {
public:
    stages_job(net& n, bool as_json, uint64_t span_ns)
        : n_(n), json_(as_json), began_(monotonic_ns()), until_(began_ + span_ns) {
        for (unsigned cpu = 0; cpu < n.nr_workers; ++cpu) {
            clocks_.push_back(stage_clock_start(n, cpu));
            before_.push_back(stage_clock_read(*clocks_.back()));
        }
    }
    ~stages_job() override {
        for (unsigned cpu = 0; cpu < clocks_.size(); ++cpu)
            stage_clock_stop(n_, cpu);
    }

    bool step(control_output& to, uint64_t now) override {
        if (now < until_ && !stopping_)
            return true;
        stage_totals sum;
        for (unsigned cpu = 0; cpu < clocks_.size(); ++cpu)
            sum += stage_clock_read(*clocks_[cpu]) - before_[cpu];
        const double seconds = double(now - began_) / 1e9;
        to.out(json_ ? as_json(sum, seconds).dump() + "\n" : as_text(sum, seconds));
        return false;
    }
    uint64_t due() const override { return until_; }
    int event_fd() const override { return -1; }
    void interrupt() override { stopping_ = true; }

private:
    static double per_packet(const stage_totals& t, unsigned s) {
        return t.packets ? double(t.cycles[s]) / double(t.packets) : 0;
    }
    static double total(const stage_totals& t) {
        double sum = 0;
        for (unsigned s = 0; s < NR_STAGES; ++s)
            sum += per_packet(t, s);
        return sum;
    }
    std::string as_text(const stage_totals& t, double seconds) const {
        const double all = total(t);
        std::string text = fmt::format("{:<16}{:>14}{:>9}\n", "stage", "cycles/packet", "share");
        for (unsigned s = 0; s < NR_STAGES; ++s)
            text += fmt::format("{:<16}{:>14.1f}{:>8.1f}%\n", stage_name(stage(s)),
                                per_packet(t, s), all > 0 ? per_packet(t, s) / all * 100 : 0);
        text += fmt::format("{:<16}{:>14.1f}{:>8.1f}%\n", "total", all, all > 0 ? 100.0 : 0.0);
        text += fmt::format(
            "{} packets in {} timed turns (one turn in {}) over {:.1f} s, {} interrupted\n",
            t.packets, t.turns, STAGE_EVERY, seconds, t.interrupted);
        return text +
               fmt::format(
                   "most for one packet: {} cache entries in a chain, {} in collection, {} routes, "
                   "{} rules\n",
                   packet_work_most(packet_work::entries), collected_most(n_),
                   packet_work_most(packet_work::routes), packet_work_most(packet_work::rules));
    }
    json as_json(const stage_totals& t, double seconds) const {
        json stages = json::array();
        for (unsigned s = 0; s < NR_STAGES; ++s)
            stages.push_back({{"stage", stage_name(stage(s))}, {"cycles", per_packet(t, s)}});
        return json::array({{{"stages", stages},
                             {"total", total(t)},
                             {"packets", t.packets},
                             {"turns", t.turns},
                             {"interrupted", t.interrupted},
                             {"every", STAGE_EVERY},
                             {"seconds", seconds},
                             {"packet_work_max",
                              {{"entries", packet_work_most(packet_work::entries)},
                               {"collected", collected_most(n_)},
                               {"routes", packet_work_most(packet_work::routes)},
                               {"rules", packet_work_most(packet_work::rules)}}}}});
    }

    net& n_;
    bool json_, stopping_ = false;
    uint64_t began_, until_;
    std::vector<stage_clock*> clocks_;
    std::vector<stage_totals> before_;
};

} // namespace

std::unique_ptr<control_job> stages_start(command& c, std::span<const std::string> words) {
    double seconds = 1;
    for (size_t i = 0; i < words.size(); ++i) {
        if (words[i] == "-j") {
            c.opt.json = true;
        } else if (words[i] == "-d" && i + 1 < words.size()) {
            char* end = nullptr;
            seconds = std::strtod(words[++i].c_str(), &end);
            if (*end || !std::isfinite(seconds) || seconds < 0.01 || seconds > 86400) {
                c.fail(1, words[i],
                       fmt::format("stages: invalid number of seconds: '{}'\n", words[i]));
                return nullptr;
            }
        } else {
            c.fail(1, words[i],
                   fmt::format("stages: \"{}\" is too much: stages [ -j ] [ -d SEC ]\n", words[i]));
            return nullptr;
        }
    }
    return std::make_unique<stages_job>(c.n, c.opt.json, uint64_t(seconds * 1e9));
}

} // namespace slabfwd
