// SPDX-License-Identifier: BSD-3-Clause
//
// `bench forward` measures what it says: the frames are what the options ask for, the stages of a
// line add up to its total, packets balance, and what one packet makes the router look at does not
// grow with its tables.
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include <gmock/gmock.h>
#include <pthread.h>
#include <rte_ring.h>

#include "dataplane/bench/bench_options.h"
#include "dataplane/bench/bench_programs.h"
#include "dataplane/bench/forward.h"
#include "dataplane/bench/forward_trial.h"
#include "dataplane/control/control.h"
#include "dataplane/worker/stage_clock.h"
#include "neigh/wire.h"

namespace slabfwd {
namespace {

using testing::HasSubstr;
using numbers = std::map<std::string, double>;

forward_job short_job() {
    forward_job job;
    job.mix.flows = 64;
    job.span_ns = 5'000'000;
    job.no_huge = true;
    return job;
}

/// Runs work in a process of its own, as the benchmark does.
numbers measure(const std::function<void(child_result&)>& work) {
    const child_result r = run_in_child(work, 120);
    EXPECT_EQ(r.error, "");
    return {r.samples.begin(), r.samples.end()};
}
numbers measure(const forward_job& job) {
    return measure([&](child_result& out) { run_forward(job, out); });
}

int bench(std::vector<std::string> words) {
    words.insert(words.begin(), "forward");
    std::vector<char*> argv;
    for (std::string& w : words)
        argv.push_back(w.data());
    return bench_forward_main(int(argv.size()), argv.data());
}

/// A file for this test; its path.
std::string text_file(const char* name, const std::string& text) {
    const std::string path = testing::TempDir() + name;
    EXPECT_EQ(write_text_file(path, text), "");
    return path;
}

/// Frames on the wire by what they are.
struct census {
    unsigned n = 0, options = 0, ttl1 = 0, big = 0;
    std::map<uint32_t, unsigned> destinations{};

    explicit census(const frame_mix& mix) {
        auto s = frame_sequence::make(mix, 0);
        if (!s)
            return;
        n = unsigned(s->size());
        std::vector<char> room(4096);
        rte_mbuf m{};
        rte_mbuf* list[] = {&m};
        m.buf_addr = room.data();
        for (unsigned i = 0; i < n; ++i) {
            s->fill(list, 1);
            iphdr h;
            std::memcpy(&h, room.data() + ETH_HLEN, sizeof h);
            options += h.hdr_len() > sizeof h;
            ttl1 += h.ttl == 1;
            big += m.pkt_len > 1000;
            ++destinations[be32_to_cpu(h.daddr)];
        }
    }
};

TEST(BenchForwardFrames, HaveTheSharesThatWereAskedFor) {
    frame_mix mix;
    mix.flows = 100;
    mix.options = 10;
    mix.ttl1 = 1;
    mix.fragments = 25;
    mix.misses = 5;
    const census c(mix);
    EXPECT_EQ(c.n, 4800u);
    EXPECT_EQ(c.options, 480u);
    EXPECT_EQ(c.ttl1, 48u);
    EXPECT_EQ(c.big, 1200u);
    unsigned once = 0;
    for (const auto& [address, times] : c.destinations)
        once += address >> 24 == 16 && times == 1;
    EXPECT_EQ(once, 240u);
}

TEST(BenchForwardFrames, HaveTheSizesThatWereAskedFor) {
    EXPECT_EQ(frame_sizes("64"), std::vector<unsigned>{64});
    EXPECT_EQ(frame_sizes("1518"), std::vector<unsigned>{1518});
    EXPECT_EQ(frame_sizes("imix").size(), 12u);
    for (const char* wrong : {"", "63", "1519", "64x", "big", "-64"})
        EXPECT_TRUE(frame_sizes(wrong).empty()) << wrong;
    frame_mix mix;
    mix.flows = 7;
    mix.size = "1518";
    const census c(mix);
    EXPECT_EQ(c.big, c.n);
    EXPECT_EQ(c.destinations.size(), 7u);
}

TEST(BenchForward, StagesAddUpToTheTotalAndPacketsBalance) {
    numbers r = measure(short_job());
    double sum = 0;
    for (unsigned s = 0; s < NR_STAGES; ++s)
        sum += r[std::string("stage_") + stage_name(stage(s))];
    EXPECT_GT(r["cycles"], 0);
    EXPECT_NEAR(sum, r["cycles"], r["cycles"] * 1e-9);
    EXPECT_GT(r["stage_route_cache"], 0);
    EXPECT_GT(r["stage_ip_output"], 0);
    EXPECT_GT(r["feed"], 0);
    EXPECT_GT(r["rx"], 0);
    EXPECT_EQ(r["tx"], r["rx"]);
    EXPECT_EQ(r["drops"], 0);
    EXPECT_EQ(r["hit_ratio"], 100);
    EXPECT_EQ(r["stage_slow"], 0);
    EXPECT_EQ(r["stage_netfilter"], 0);
}

TEST(BenchForward, SlowPacketsAndRulesShowInTheirStages) {
    forward_job job = short_job();
    job.mix.options = 10;
    job.mix.misses = 10;
    job.mix.ttl1 = 10;
    job.rules = 20;
    numbers r = measure(job);
    EXPECT_GT(r["stage_slow"], 0);
    EXPECT_GT(r["stage_ip_route_input"], 0);
    EXPECT_GT(r["stage_netfilter"], 0);
    EXPECT_NEAR(r["drop_IP_INHDR"], 10, 0.5);
    EXPECT_LT(r["hit_ratio"], 91);
    EXPECT_EQ(r.count("drop_NETFILTER_DROP"), 0u) << "the rules match none of these packets";
}

TEST(BenchForward, FragmentsAreCut) {
    forward_job job = short_job();
    job.mix.fragments = 50;
    numbers r = measure(job);
    EXPECT_NEAR(r["tx"] / r["rx"], 1.5, 0.01) << "half of them become two";
}

TEST(BenchForward, EachCoreHasPortsOfItsOwn) {
    forward_job job = short_job();
    job.lanes = 2;
    numbers r = measure(job);
    EXPECT_EQ(r["tx"], r["rx"]);
    EXPECT_EQ(r["drops"], 0);
}

TEST(BenchForward, AConfigurationOfOnesOwnIsUsed) {
    forward_job job = short_job();
    job.config = text_file("bench_forward_drop.conf",
                           "ip link set dev p0 up\nip link set dev p1 up\n"
                           "ip addr add 10.0.0.1/24 dev p0\nip addr add 10.1.0.1/24 dev p1\n"
                           "ip route add blackhole 12.0.0.0/8\nsysctl -w net.ipv4.ip_forward=1\n");
    numbers r = measure(job);
    EXPECT_EQ(r["tx"], 0);
    EXPECT_EQ(r["drops"], 100);
}

TEST(BenchForward, OnePacketsWorkDoesNotGrowWithTheTables) {
    forward_job job = short_job();
    job.config = text_file("bench_forward_work.conf",
                           "ip link set dev p0 up\nip link set dev p1 up\n"
                           "ip addr add 10.0.0.1/24 dev p0\nip addr add 10.1.0.1/24 dev p1\n"
                           "ip neigh add 10.1.0.2 lladdr 2:0:0:0:0:2 dev p1 nud permanent\n"
                           "ip route add 12.0.0.0/16 via 10.1.0.2\n"
                           "ip route add 16.0.0.0/8 via 10.1.0.2\n"
                           "sysctl -w net.ipv4.ip_forward=1 net.ipv4.route.gc_thresh=256\n");
    job.mix.misses = 50;
    job.span_ns = 40'000'000;
    job.churn_routes = 500;
    job.ring = 1024;
    job.loss = 100; // the rate does not matter here
    job.rules = 1000;
    numbers r = measure([&](child_result& out) { run_forward_latency(job, out); });
    EXPECT_GT(r["no_drop_mpps"], 0);
    EXPECT_GE(r["50%+storm_route_changes"], 100);
    EXPECT_GE(r["50%+changes_reloads"], 1);
    EXPECT_GT(r["50%+collecting_collects"], 0);
    for (const char* at :
         {"10%", "50%", "90%", "50%+changes", "50%+storm", "50%+strangers", "50%+collecting"}) {
        const std::string name = at;
        EXPECT_GT(r[name + "_stamped"], 0) << at;
        EXPECT_LE(r[name + "_cpu_p50"], r[name + "_cpu_max"]) << at;
        EXPECT_EQ(r[name + "_lost_unexplained"], 0) << at;
        EXPECT_EQ(r[name + "_lost_off_cpu"], 0) << at << ": paced by CPU time";
    }
    EXPECT_GE(r["work_routes"], 1);
    EXPECT_LE(r["work_routes"], 4);
    EXPECT_GE(r["work_rules"], 1);
    EXPECT_LE(r["work_rules"], 8) << "1,000 rules, none of which can match";
    EXPECT_GE(r["work_entries"], 1);
    EXPECT_LE(r["work_entries"], 64);
    EXPECT_GE(r["work_collected"], 1);
    EXPECT_LE(r["work_collected"], 128);
}

/// A bed without a router: what it takes comes out, or does not.
class fake_bed : public test_bed {
public:
    unsigned take = NET_RX_BURST; ///< frames of each burst
    uint64_t lose_every = 0;      ///< 0: none
    bool may_refuse = true;
    std::optional<clockid_t> clock{};

    unsigned send(rte_mbuf** m, unsigned n) override {
        n = std::min(n, take);
        rte_pktmbuf_free_bulk(m, n);
        for (unsigned i = 0; i < n; ++i)
            lose_every && ++taken_ % lose_every == 0 ? ++counters_.drops : ++received_;
        counters_.rx += n;
        return n;
    }
    uint64_t received() override { return received_; }
    unsigned waiting() const override { return NET_RX_BURST; }
    bool refusal_is_loss() const override { return may_refuse; }
    std::optional<clockid_t> forwarder_clock() const override { return clock; }
    bed_counters counters() const override { return counters_; }

private:
    uint64_t received_ = 0, taken_ = 0;
    bed_counters counters_{};
};

/// Results of `work` with buffers and frames to send.
numbers on_fake_bed(const std::function<void(fake_bed&, frame_sequence&, child_result&)>& work) {
    return measure([&](child_result& out) {
        auto f = forward_router::make(short_job());
        auto frames = frame_sequence::make(short_job().mix, 0);
        if (!f || !frames) {
            out.error = f ? frames.error() : f.error();
            return;
        }
        fake_bed bed;
        work(bed, *frames, out);
        out.error = router_destroy(std::move(f->r));
    });
}

void tell(const trial_result& t, child_result& out) {
    const std::pair<const char*, double> all[] = {{"sent", double(t.sent)},
                                                  {"received", double(t.received)},
                                                  {"refused", double(t.refused)},
                                                  {"off_cpu", double(t.refused_off_cpu)},
                                                  {"dropped", double(t.dropped())},
                                                  {"lost", double(t.lost())},
                                                  {"loss", t.loss()},
                                                  {"pps", t.pps}};
    out.samples.insert(out.samples.end(), std::begin(all), std::end(all));
}

TEST(ForwardTrial, SendsAtTheRateAndLosesNothing) {
    numbers r = on_fake_bed([](fake_bed& bed, frame_sequence& frames, child_result& out) {
        tell(run_trial(bed, frames, {200'000, 20'000'000}), out);
    });
    EXPECT_GT(r["sent"], 0);
    EXPECT_LE(r["sent"], 200'000 * 0.02 + NET_RX_BURST);
    EXPECT_LE(r["pps"], 2 * 200'000)
        << "the time without the generator is no part of it, however much it was";
    EXPECT_EQ(r["received"], r["sent"]);
    EXPECT_EQ(r["loss"], 0);
}

TEST(ForwardTrial, WhatARouterDropsIsLostAndExplained) {
    numbers r = on_fake_bed([](fake_bed& bed, frame_sequence& frames, child_result& out) {
        bed.lose_every = 10;
        tell(run_trial(bed, frames, {200'000, 20'000'000}), out);
    });
    EXPECT_GT(r["dropped"], 0);
    EXPECT_EQ(r["lost"], r["dropped"]);
    EXPECT_NEAR(r["loss"], 10, 1);
    EXPECT_EQ(r["refused"], 0);
}

TEST(ForwardTrial, ARefusedFrameIsTheRoutersLossOrWasNeverSent) {
    numbers r = on_fake_bed([](fake_bed& bed, frame_sequence& frames, child_result& out) {
        bed.take = 0;
        tell(run_trial(bed, frames, {200'000, 20'000'000}), out);
    });
    EXPECT_GT(r["sent"], 0);
    EXPECT_EQ(r["refused"], r["sent"]);
    EXPECT_EQ(r["loss"], 100);
    EXPECT_EQ(r["off_cpu"], 0) << "this forwarder has no clock of its own that stood still";
    r = on_fake_bed([](fake_bed& bed, frame_sequence& frames, child_result& out) {
        bed.take = 0;
        bed.may_refuse = false;
        tell(run_trial(bed, frames, {200'000, 20'000'000}), out);
    });
    EXPECT_EQ(r["sent"], 0);
    EXPECT_EQ(r["refused"], 0);
}

TEST(ForwardTrial, ByTheWallsClockFramesAreLostToAForwarderThatDoesNotRun) {
    numbers r = on_fake_bed([](fake_bed& bed, frame_sequence& frames, child_result& out) {
        std::mutex held;
        held.lock();
        std::thread idle([&] { held.lock(); });
        clockid_t clock;
        pthread_getcpuclockid(idle.native_handle(), &clock);
        bed.clock = clock;
        bed.take = 0;
        tell(run_trial(bed, frames, {200'000, 20'000'000, true}), out);
        // By its own clock nothing ever is due; the trial ends by the wall's.
        out.samples.emplace_back("by_cpu",
                                 double(run_trial(bed, frames, {200'000, 2'000'000}).sent));
        held.unlock();
        idle.join();
    });
    EXPECT_GT(r["refused"], 0);
    EXPECT_NEAR(r["off_cpu"], r["refused"], r["refused"] * 0.1 + NET_RX_BURST);
    EXPECT_LE(r["by_cpu"], NET_RX_BURST);
}

/// What a tenth of a second at this rate is to a router that takes `takes` frames a second, sent by
/// a generator that makes no more than `makes`.
trial_result a_trial(double pps, double takes, double makes = 1e12) {
    trial_result t;
    t.pps = std::min(pps, makes);
    t.sent = uint64_t(t.pps / 10);
    t.received = std::min(t.sent, uint64_t(takes / 10));
    return t;
}

TEST(ForwardTrial, ASearchFindsTheRateOfABottleneck) {
    unsigned trials = 0;
    const search_result s = search_rate(
        [&](double pps) {
            ++trials;
            return a_trial(pps, 1'234'567);
        },
        0);
    EXPECT_LE(s.best, 1'234'570);
    EXPECT_GT(s.best, 1'234'567 * 0.98);
    EXPECT_GT(s.fails, 1'234'567);
    EXPECT_LE(s.fails, s.best * 1.021);
    EXPECT_GT(s.failed.lost(), 0u);
    EXPECT_LT(trials, 40u);
}

TEST(ForwardTrial, ASearchTakesTheLossThatIsAllowed) {
    const search_result s = search_rate([](double pps) { return a_trial(pps, 1e6); }, 20);
    EXPECT_GT(s.best, 1.2e6);
    EXPECT_LE(s.best, 1.2501e6);
}

TEST(ForwardTrial, ATrialThatWasDisturbedTwiceIsRepeated) {
    std::map<double, unsigned> at;
    const search_result s =
        search_rate([&](double pps) { return a_trial(pps, ++at[pps] % 3 ? 0 : 1e6); }, 0);
    EXPECT_GT(s.best, 0.98e6);
    EXPECT_LE(s.best, 1e6);
}

TEST(ForwardTrial, ASearchEndsWhereTheGeneratorDoes) {
    const search_result s = search_rate([](double pps) { return a_trial(pps, 1e9, 3e6); }, 0);
    EXPECT_EQ(s.best, 3e6);
    EXPECT_EQ(s.fails, 0);
}

TEST(ForwardTrial, ASearchEndsWhereEveryRateLoses) {
    const search_result s = search_rate([](double pps) { return a_trial(pps, 1); }, 0);
    EXPECT_EQ(s.best, 0);
    EXPECT_GT(s.fails, 0);
    EXPECT_GT(s.failed.loss(), 90);
}

TEST(ForwardTrial, ASearchOnABedThatLosesAllFindsNothing) {
    numbers r = on_fake_bed([](fake_bed& bed, frame_sequence& frames, child_result& out) {
        bed.lose_every = 1;
        const search_result s = search_rate(bed, frames, short_job());
        out.samples.emplace_back("best", s.best);
        out.samples.emplace_back("lost", s.failed.loss());
    });
    EXPECT_EQ(r["best"], 0) << "and the search has ended";
    EXPECT_EQ(r["lost"], 100);
}

TEST(BenchForward, MixturesStandBesideTheWeightedSumOfTheirParts) {
    forward_job job = short_job();
    job.mix.ttl1 = 100;
    job.span_ns = 20'000'000;
    numbers r = measure([&](child_result& out) { run_forward_weighted(job, out); });
    for (const std::string share : {"0%", "1%", "10%", "50%", "100%"}) {
        EXPECT_GT(r[share + "_cycles"], 0) << share;
        EXPECT_EQ(r.count(share + "_weighted_ratio"), share != "0%" && share != "100%") << share;
    }
}

TEST(BenchForward, TheWeightedSumIsThatOfTheParts) {
    EXPECT_DOUBLE_EQ(weighted_ratio(10, 30, 130, 40), 1);
    EXPECT_DOUBLE_EQ(weighted_ratio(50, 30, 130, 120), 1.5);
    EXPECT_DOUBLE_EQ(weighted_ratio(0, 30, 130, 15), 0.5);
}

TEST(BenchForward, TheFarthestFromTheWeightedSumIsTold) {
    bench_report report("forward", forward_metrics(), {{"slabfwd", peer_kind::ours}});
    report.add("ttl1 at 10%", "slabfwd", "cycles", 75);
    report.add("ttl1 at 10%", "slabfwd", "weighted_ratio", 1.07);
    report.add("ttl1 at 50%", "slabfwd", "cycles", 75);
    report.add("ttl1 at 50%", "slabfwd", "weighted_ratio", 0.9);
    const std::string text = forward_weighted_text(report);
    EXPECT_THAT(text, HasSubstr("1.07 x the weighted sum"));
    EXPECT_THAT(text, HasSubstr("farthest from it: 0.90 x"));
}

TEST(BenchForward, TheCurveOfRulesIsTakenFromTheNames) {
    bench_report report("forward", forward_metrics(), {{"slabfwd", peer_kind::ours}});
    report.add("1 flow, 64 bytes", "slabfwd", "cycles", 40);
    report.add("1 flow, 64 bytes, 0 rules", "slabfwd", "cycles", 50);
    report.add("1 flow, 64 bytes, 10000 rules", "slabfwd", "cycles", 90);
    EXPECT_THAT(forward_rules_curve(report),
                testing::ElementsAre(std::pair(0.0, 50.0), std::pair(10000.0, 90.0)));
}

TEST(BenchForward, WrongOptionsAreRefused) {
    EXPECT_EQ(bench({"--flows", "0"}), 2);
    EXPECT_EQ(bench({"--flows", "many"}), 2);
    EXPECT_EQ(bench({"--size", "63"}), 2);
    EXPECT_EQ(bench({"--rules", "-1"}), 2);
    EXPECT_EQ(bench({"--options", "60", "--ttl1", "60"}), 2);
    EXPECT_EQ(bench({"--options", "101"}), 2);
    EXPECT_EQ(bench({"--ring", "100"}), 2);
    EXPECT_EQ(bench({"--cores", "x"}), 2);
    EXPECT_EQ(bench({"--port", "p0=net_null0"}), 2);
    EXPECT_EQ(bench({"--workload", "nosuch"}), 2);
    EXPECT_EQ(bench({"--peer", "nosuch"}), 2);
    EXPECT_EQ(bench({"--list", "--rules", "sweep"}), 0);
}

TEST(BenchForward, NumbersOutsideOfTheirRangeAreRefused) {
    for (const char* option :
         {"--options", "--misses", "--ttl1", "--fragments", "--loss", "--seconds"})
        for (const char* value : {"nan", "-1", "inf"})
            EXPECT_EQ(bench({"--list", "--latency", option, value}), 2) << option << " " << value;
    EXPECT_EQ(bench({"--list", "--seconds", "0"}), 2);
    EXPECT_EQ(bench({"--list", "--latency", "--loss", "100.5"}), 2);
    EXPECT_EQ(bench({"--list", "--latency", "--loss", "100", "--seconds", "0.5"}), 0);
}

TEST(BenchForward, OptionsWithoutEffectAreRefused) {
    const std::vector<std::vector<std::string>> wrong = {{"--weighted", "--latency"},
                                                         {"--weighted", "--rules", "sweep"},
                                                         {"--weighted", "--flows", "10"},
                                                         {"--weighted", "--size", "imix"},
                                                         {"--weighted", "--misses", "10"},
                                                         {"--weighted", "--in", "x.pcap"},
                                                         {"--weighted", "--cores", "0"},
                                                         {"--in", "x.pcap", "--flows", "10"},
                                                         {"--in", "x.pcap", "--ttl1", "10"},
                                                         {"--churn-rate", "10"},
                                                         {"--churn-routes", "10", "--weighted"},
                                                         {"--loss", "1"},
                                                         {"--pace", "wall", "--weighted"}};
    const std::string config = text_file("bench_forward_excludes.conf", "");
    const std::vector<std::string> ports = {"--list",   "--config", config,    "--port",
                                            "p0=net_a", "--tester", "t0=net_b"};
    for (std::vector<std::string> words : wrong) {
        words.push_back("--list");
        EXPECT_EQ(bench(words), 2) << testing::PrintToString(words);
    }
    EXPECT_EQ(bench(ports), 0);
    for (const std::vector<std::string>& more : std::vector<std::vector<std::string>>{
             {"--weighted"}, {"--latency"}, {"--rules", "10"}, {"--ring", "512"}}) {
        std::vector<std::string> words = ports;
        words.insert(words.end(), more.begin(), more.end());
        EXPECT_EQ(bench(words), 2) << more[0];
    }
    EXPECT_EQ(bench({"--list", "--latency", "--rules", "10", "--churn-rate", "10"}), 0);
    EXPECT_EQ(bench({"--list", "--latency", "--loss", "1", "--pace", "wall"}), 0);
}

TEST(StageClock, CountsTheTurnsThatMovePackets) {
    numbers r = measure([](child_result& out) {
        auto f = forward_router::make(short_job());
        auto frames = frame_sequence::make(short_job().mix, 0);
        if (!f || !frames) {
            out.error = f ? frames.error() : f.error();
            return;
        }
        net& n = f->n();
        stage_clock* c = stage_clock_start(n, 0, 2);
        out.samples.emplace_back("joined", stage_clock_start(n, 0, 5) == c);
        softnet_enter(n.softnet[0].get());
        for (unsigned turn = 0; turn < 40; ++turn) {
            rte_mbuf* m[NET_RX_BURST];
            if (turn % 4 < 2) { // the others are idle
                rte_pktmbuf_alloc_bulk(pktmbuf_pool(), m, NET_RX_BURST);
                frames->fill(m, NET_RX_BURST);
                rte_ring_enqueue_bulk(f->in(0).ring_in, reinterpret_cast<void**>(m), NET_RX_BURST,
                                      nullptr);
            }
            worker_turn(*f->r->workers[0], n.softnet[0]->now_ns + 1000);
            take_away(*f, 0, true);
        }
        const stage_totals t = stage_clock_read(*c);
        softnet_enter(n.softnet[n.control_cpu()].get());
        out.samples.emplace_back("kept", stage_clock_stop(n, 0) == c);
        out.samples.emplace_back("gone", !stage_clock_stop(n, 0) && !this_stages.clock);
        out.samples.emplace_back("turns", double(t.turns + t.interrupted));
        out.samples.emplace_back("packets", double(t.packets));
        out.samples.emplace_back("counted_turns", double(t.turns));
        out.error = router_destroy(std::move(f->r));
    });
    EXPECT_EQ(r["joined"], 1);
    EXPECT_EQ(r["kept"], 1);
    EXPECT_EQ(r["gone"], 1);
    EXPECT_EQ(r["turns"], 10) << "every second turn is timed, half of those move packets";
    EXPECT_EQ(r["packets"], r["counted_turns"] * NET_RX_BURST);
}

TEST(StageClock, CtlTellsStagesAndTotal) {
    numbers r = measure([](child_result& out) {
        auto f = forward_router::make(short_job());
        if (!f) {
            out.error = f.error();
            return;
        }
        const control_result json_text = control_execute(f->n(), "stages -j -d 0.02");
        const auto j = nlohmann::json::parse(json_text.out);
        out.samples.emplace_back("stages", double(j[0]["stages"].size()));
        out.samples.emplace_back("bounds", double(j[0]["packet_work_max"].size()));
        const control_result text = control_execute(f->n(), "stages -d 0.02");
        out.samples.emplace_back("text", text.rc == 0 &&
                                             text.out.find("ip_output") != std::string::npos &&
                                             text.out.find("\ntotal ") != std::string::npos);
        out.samples.emplace_back("off", !stage_clock_stop(f->n(), 0));
        unsigned refused = 0;
        for (const char* line : {"stages -d x", "stages -d 0", "stages -x", "stages 5"})
            refused += control_execute(f->n(), line).rc != 0;
        out.samples.emplace_back("refused", refused);
        out.error = router_destroy(std::move(f->r));
    });
    EXPECT_EQ(r["stages"], NR_STAGES);
    EXPECT_EQ(r["bounds"], 4);
    EXPECT_EQ(r["text"], 1);
    EXPECT_EQ(r["off"], 1);
    EXPECT_EQ(r["refused"], 4);
}

} // namespace
} // namespace slabfwd
