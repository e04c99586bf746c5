// SPDX-License-Identifier: BSD-3-Clause
//
// The frame of the benchmarks: medians, ratios, table, JSON, plot, histogram, children.
#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

#include <gmock/gmock.h>

#include "dataplane/bench/bench_child.h"
#include "dataplane/bench/bench_clock.h"
#include "dataplane/bench/bench_options.h"
#include "dataplane/bench/bench_report.h"

namespace slabfwd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

TEST(Median, OfOddEvenAndNothing) {
    EXPECT_DOUBLE_EQ(median({5, 1, 9}), 5);
    EXPECT_DOUBLE_EQ(median({4, 1, 9, 2}), 3);
    EXPECT_DOUBLE_EQ(median({7}), 7);
    EXPECT_TRUE(std::isnan(median({})));
}

bench_report sample_report() {
    bench_report r("b",
                   {{"cycles", "TSC cycles", "Cycles", false, 1, true},
                    {"rate", "Mpps", "Rate", true, 1, false}},
                   {{"bound", peer_kind::reference},
                    {"a", peer_kind::peer},
                    {"b", peer_kind::peer},
                    {"us", peer_kind::ours}});
    for (const double v : {10.0, 30.0, 20.0})
        r.add("w1", "a", "cycles", v);
    r.add("w1", "b", "cycles", 40);
    r.add("w1", "us", "cycles", 5);
    r.add("w1", "bound", "cycles", 1);
    r.add("w2", "a", "rate", 3);
    r.add("w2", "b", "rate", 8);
    r.add("w2", "us", "rate", 12);
    return r;
}

TEST(Report, BestPeerIsByDirectionAndNeverUsOrTheReference) {
    const bench_report r = sample_report();
    EXPECT_EQ(r.value("w1", "a", "cycles"), 20.0);
    EXPECT_EQ(r.value("w1", "a", "rate"), std::nullopt);
    EXPECT_EQ(r.best("w1", "cycles")->name, "a");
    EXPECT_EQ(r.best("w2", "rate")->name, "b");
    EXPECT_EQ(r.best("w1", "cycles", {"b"})->value, 40);
    EXPECT_EQ(r.best("w1", "cycles", {"bound"})->value, 1);
    EXPECT_FALSE(r.best("w3", "cycles"));
}

TEST(Report, RowsHoldMediansAndRatios) {
    const auto rows = sample_report().rows();
    ASSERT_EQ(rows.size(), 9u); // 7 medians, 2 ratios
    const auto ratio = std::find_if(rows.begin(), rows.end(), [](const bench_row& x) {
        return x.workload == "w1" && x.metric == "cycles_ratio";
    });
    ASSERT_NE(ratio, rows.end());
    EXPECT_EQ(ratio->peer, "us");
    EXPECT_DOUBLE_EQ(ratio->value, 0.25);
    EXPECT_EQ(ratio->unit, "x");
}

TEST(Report, JsonHasTheSixFieldsAndOnlyNumbers) {
    const auto j =
        bench_json({{"b", "w", "p", "m", 1.5, "u"}, {"b", "w", "p", "n", std::nan(""), "u"}});
    ASSERT_EQ(j["rows"].size(), 1u);
    EXPECT_EQ(j["rows"][0], (nlohmann::json{{"bench", "b"},
                                            {"workload", "w"},
                                            {"peer", "p"},
                                            {"metric", "m"},
                                            {"value", 1.5},
                                            {"unit", "u"}}));
    EXPECT_EQ(bench_json({}).dump(), R"({"rows":[]})");
}

TEST(Report, TableShowsRatiosAndLeavesOutWhatWasNotMeasured) {
    std::istringstream text(bench_table_text(sample_report()));
    std::vector<std::vector<std::string>> lines;
    for (std::string line; std::getline(text, line);) {
        std::istringstream words(line);
        lines.emplace_back(std::istream_iterator<std::string>(words),
                           std::istream_iterator<std::string>());
    }
    ASSERT_EQ(lines.size(), 7u);
    EXPECT_THAT(lines[1], ElementsAre("workload", "bound", "a", "b", "us", "best", "peer"));
    EXPECT_THAT(lines[2], ElementsAre("w1", "1.0", "20.0", "40.0", "5.0", "(0.25x)", "a"));
    EXPECT_THAT(lines[5], ElementsAre("workload", "a", "b", "us", "best", "peer"));
    EXPECT_THAT(lines[6], ElementsAre("w2", "3.0", "8.0", "12.0", "(1.50x)", "b"));
}

TEST(Plot, ScriptHasAPanelForEachPlottedMetric) {
    const std::string s = bench_plot_script(sample_report(), "it's.svg");
    EXPECT_THAT(s, HasSubstr("set output 'it''s.svg'"));
    EXPECT_THAT(s, HasSubstr("\"w1\" 1 20 40 5\n"));
    EXPECT_THAT(s, Not(HasSubstr("Mpps")));
    EXPECT_EQ(bench_plot_script(bench_report("b", {}, {}), "x"), "");
}

TEST(Plot, GnuplotDrawsIt) {
    if (std::system("command -v gnuplot >/dev/null") != 0)
        GTEST_SKIP() << "gnuplot is not installed";
    const auto file = std::filesystem::temp_directory_path() /
                      ("bench_frame_test." + std::to_string(getpid()) + ".svg");
    EXPECT_EQ(bench_plot(sample_report(), file.string()), "");
    std::ifstream in(file);
    const std::string svg((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    std::filesystem::remove(file);
    EXPECT_THAT(svg, HasSubstr("</svg>"));
    EXPECT_THAT(svg, HasSubstr("w1"));
    EXPECT_NE(bench_plot(sample_report(), "/nowhere/at/all.svg"), "");
}

TEST(Histogram, QuantilesAreExactBelow1024AndToASixtyFourthAbove) {
    latency_histogram h;
    std::vector<uint64_t> all;
    uint64_t x = 12345;
    for (int i = 0; i < 100000; ++i) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        const uint64_t v = (x >> 33) >> (x >> 59); // from a few to 2^31
        h.add(v);
        all.push_back(v);
    }
    h.add(UINT64_MAX);
    all.push_back(UINT64_MAX);
    std::sort(all.begin(), all.end());
    for (const double q : {0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0}) {
        const size_t rank = size_t(std::ceil(q * double(all.size())));
        const uint64_t exact = all[rank - 1];
        const uint64_t got = h.quantile(q);
        EXPECT_GE(got, exact) << q;
        EXPECT_LE(got - exact, exact < 1024 ? 0 : exact / 64) << q;
    }
    EXPECT_EQ(latency_histogram().quantile(0.5), 0u);
}

TEST(Clock, TscRunsAndCpuTimeIsNotWallTime) {
    EXPECT_GT(tsc_ghz(), 0.1);
    EXPECT_LT(tsc_ghz(), 10);
    const stopwatch watch;
    usleep(20000);
    EXPECT_GE(watch.wall_ns(), 20'000'000u);
    EXPECT_LT(watch.cpu_ns(), watch.wall_ns());
}

TEST(Child, SamplesSkipsAndErrorsComeBack) {
    const auto r = run_in_child(
        [](child_result& out) {
            out.samples = {{"cycles", 1.0 / 3}, {"ns", 2}};
            out.skipped = "has not got it";
        },
        30);
    EXPECT_THAT(r.samples, ElementsAre(Pair("cycles", 1.0 / 3), Pair("ns", 2.0)));
    EXPECT_EQ(r.skipped, "has not got it");
    EXPECT_EQ(r.error, "");
    EXPECT_EQ(run_in_child([](child_result&) { throw std::runtime_error("so it goes"); }, 30).error,
              "so it goes");
}

TEST(Child, DeathAndDelayAreErrors) {
    EXPECT_THAT(run_in_child([](child_result&) { raise(SIGKILL); }, 30).error,
                HasSubstr("signal 9"));
    EXPECT_THAT(run_in_child([](child_result&) { _exit(3); }, 30).error, HasSubstr("status 3"));
    EXPECT_THAT(run_in_child([](child_result&) { pause(); }, 1).error, HasSubstr("within 1 s"));
}

TEST(Options, NamesMatchByPartOrWildcard) {
    EXPECT_TRUE(name_matches({}, "anything"));
    EXPECT_TRUE(name_matches({"gc"}, "gc_64k/192"));
    EXPECT_TRUE(name_matches({"x", "gc_*/256"}, "gc_1M/256"));
    EXPECT_FALSE(name_matches({"gc_*/256"}, "gc_1M/192"));
    EXPECT_FALSE(name_matches({"pair"}, "gc_64k/192"));
}

TEST(Options, WrongWordsAreRefused) {
    for (const char* word : {"--turns=0", "--nonsense", "--turns=x"}) {
        CLI::App app;
        bench_options o;
        describe_bench_options(app, o);
        char name[] = "alloc";
        std::string w = word;
        char* argv[] = {name, w.data(), nullptr};
        testing::internal::CaptureStderr();
        EXPECT_EQ(parse_bench_options(app, 2, argv), 2) << word;
        EXPECT_NE(testing::internal::GetCapturedStderr(), "") << word;
    }
}

TEST(Options, NumbersOutsideOfTheirRangeAndNanAreRefused) {
    const CLI::Validator percent = number_range(0, 100);
    for (const char* word : {"0", "100", "0.5", "1e2"})
        EXPECT_EQ(percent(std::string(word)), "") << word;
    for (const char* word :
         {"nan", "-nan", "NAN(1)", "inf", "-inf", "-0.1", "100.1", "1x", "x", ""})
        EXPECT_THAT(percent(std::string(word)), HasSubstr("is no number from 0 to 100")) << word;
}

TEST(Options, NamesThatAreNoneAreRefused) {
    const std::vector<std::string> peers = {"slab", "malloc"}, workloads = {"pair/192"};
    bench_options o;
    EXPECT_EQ(refuse_unknown_names(o, peers, workloads), std::nullopt);
    o.peers = {"slab", "mall*"};
    o.workloads = {"pair"};
    EXPECT_EQ(refuse_unknown_names(o, peers, workloads), std::nullopt);
    o.peers.push_back("nosuch");
    testing::internal::CaptureStderr();
    EXPECT_EQ(refuse_unknown_names(o, peers, workloads), 2);
    EXPECT_EQ(testing::internal::GetCapturedStderr(),
              "slabfwd bench: --peer nosuch: there is none of that name; slab, malloc\n");
    o.peers.clear();
    o.workloads = {"gc"};
    testing::internal::CaptureStderr();
    EXPECT_EQ(refuse_unknown_names(o, peers, workloads), 2);
    EXPECT_EQ(testing::internal::GetCapturedStderr(),
              "slabfwd bench: --workload gc: there is none of that name; pair/192\n");
}

} // namespace
} // namespace slabfwd
