// SPDX-License-Identifier: BSD-3-Clause
//
// `bench route-cache` measures what it says: packets follow their law from first to last, a capture
// of any length is played whole, sweeps change what they name, and what a run reports holds for
// every allocator (each in a child, as in the program).
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <unistd.h>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "dataplane/bench/bench_programs.h"
#include "dataplane/bench/route_cache.h"

namespace slabfwd {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::vector<prefix>& routes() {
    static const std::vector<prefix> some = *read_prefixes("5000");
    return some;
}

/// A workload as the program has them, in the short.
route_cache_job job_of(flow_law law, uint32_t flows = 1000) {
    route_cache_job job;
    job.law = law;
    job.flows = flows;
    job.routes = &routes();
    job.span_ns = 20'000'000;
    job.rhash_entries = 4096;
    return job;
}

uint64_t pair_of(const packet_addrs& a) {
    return uint64_t(be32_to_cpu(a.saddr)) << 32 | be32_to_cpu(a.daddr);
}

std::map<uint64_t, unsigned> counts(const route_cache_job& job, size_t n) {
    std::map<uint64_t, unsigned> times;
    const auto packets = make_packets(job, n, 0);
    for (const packet_addrs& a : *packets)
        ++times[pair_of(a)];
    return times;
}

void expect_no_pair_twice(const route_cache_job& job) {
    std::set<uint64_t> seen;
    for (uint32_t round : {0u, 1u, 65536u}) {
        const auto packets = make_packets(job, 100'000, round);
        for (const packet_addrs& a : *packets)
            ASSERT_TRUE(seen.insert(pair_of(a)).second) << flow_law_name(job.law);
    }
}

TEST(Laws, ScansNeverRepeat) {
    for (flow_law law : {flow_law::scan, flow_law::scan_src})
        expect_no_pair_twice(job_of(law));
}

TEST(Laws, ScansOfASmallTableDoNotRepeatOrAreRefused) {
    const std::vector<prefix> small(routes().begin(), routes().begin() + 150),
        one = {{0x01000000, 24}};
    route_cache_job job = job_of(flow_law::scan);
    EXPECT_EQ(too_few_routes(job), "");
    job.routes = &small;
    EXPECT_EQ(too_few_routes(job), "");
    expect_no_pair_twice(job);
    std::vector<prefix> with_a_host = routes();
    with_a_host.push_back({0x01000000, 32});
    job.routes = &with_a_host;
    EXPECT_EQ(too_few_routes(job), "");
    job.routes = &one;
    EXPECT_THAT(too_few_routes(job), HasSubstr("too few addresses"));
    child_result run, flood;
    run_route_cache(job, run);
    run_flood(job, flood_kind::destinations, flood);
    EXPECT_EQ(run.skipped, too_few_routes(job));
    EXPECT_EQ(flood.skipped, too_few_routes(job));
    job.law = flow_law::scan_src;
    EXPECT_EQ(too_few_routes(job), "");
    expect_no_pair_twice(job);
}

TEST(Laws, AWorkingSetComesInWholeRounds) {
    for (uint32_t flows : {1u, 7u, 1000u, 300'000u, 3'000'000u}) {
        const route_cache_job job = job_of(flow_law::working_set, flows);
        const size_t n = packets_of_law(job);
        EXPECT_GE(n, size_t(1) << 21);
        EXPECT_EQ(n % flows, 0u);
    }
    const route_cache_job job = job_of(flow_law::working_set, 300);
    const auto times = counts(job, 3000);
    EXPECT_EQ(times.size(), 300u);
    for (auto [flow, n] : times)
        EXPECT_EQ(n, 10u);
}

TEST(Laws, UniformAndZipfAreAsTheirNamesSay) {
    const auto even = counts(job_of(flow_law::uniform, 100), 100'000);
    ASSERT_EQ(even.size(), 100u);
    for (auto [flow, n] : even)
        EXPECT_NEAR(n, 1000, 200);
    // The k-th flow has 1/k of the first one's packets; the harmonic number of 1000 is 7.485.
    const auto skewed = counts(job_of(flow_law::zipf, 1000), 400'000);
    std::vector<unsigned> by_rank;
    for (auto [flow, n] : skewed)
        by_rank.push_back(n);
    std::ranges::sort(by_rank, std::greater{});
    for (unsigned k : {1u, 2u, 4u, 10u})
        EXPECT_NEAR(by_rank[k - 1], 400'000 / 7.485 / k, 400'000 / 7.485 / k * 0.05) << k;
    EXPECT_GE(packets_of_law(job_of(flow_law::uniform, 4'000'000)), 4'000'000u)
        << "most flows come";
}

// ---- tables

struct temporary_file {
    std::string path;
    explicit temporary_file(const std::string& ending) {
        path = testing::TempDir() + "bench_route_cache." + std::to_string(getpid()) + ending;
    }
    ~temporary_file() { std::filesystem::remove(path); }
};

TEST(Tables, HoldOnePrefixAtLeast) {
    const auto why = [](const std::string& word) {
        const auto read = read_prefixes(word);
        return read ? "read" : read.error();
    };
    for (const std::string word : {"0", "-5", "4000001", "99999999999999999999", ""})
        EXPECT_EQ(why(word), word + ": a number from 1 to 4000000 or a file is wanted");
    EXPECT_EQ(why("/dev/null"), "/dev/null: holds no prefix");
    EXPECT_EQ(why("/tmp"), "/tmp: Is a directory");
    EXPECT_EQ(why("/nonexistent"), "/nonexistent: No such file or directory");
    EXPECT_EQ(read_prefixes("1")->size(), 1u);
    const temporary_file file(".routes");
    std::ofstream(file.path) << "1.0.0.0/24\n";
    const auto one = read_prefixes(file.path);
    ASSERT_TRUE(one) << one.error();
    ASSERT_EQ(one->size(), 1u);
    EXPECT_EQ((*one)[0].addr, 0x01000000u);
}

// ---- captures

/// A capture of Ethernet frames from and to these addresses (host order); 0, 0: no IPv4 frame.
void write_capture(const std::string& path,
                   const std::vector<std::pair<uint32_t, uint32_t>>& frames) {
    std::string bytes;
    auto u32 = [&](uint32_t v) { bytes.append(reinterpret_cast<const char*>(&v), 4); };
    auto be = [&](uint32_t v) {
        for (int shift : {24, 16, 8, 0})
            bytes += char(v >> shift);
    };
    u32(0xa1b2c3d4);
    u32(4u << 16 | 2);
    u32(0);
    u32(0);
    u32(65535);
    u32(1);
    for (auto [saddr, daddr] : frames) {
        u32(1);
        u32(0);
        u32(60);
        u32(60);
        bytes.append(12, '\2');
        bytes += saddr ? std::string("\x08\x00", 2) : std::string("\x86\xdd", 2);
        bytes.append(12, '\0');
        be(saddr);
        be(daddr);
        bytes.append(60 - 14 - 20, '\0');
    }
    std::ofstream(path, std::ios::binary) << bytes;
}

constexpr uint32_t LOOPBACK = 0x7f000001, MULTICAST = 0xe0000005, OWN_NET = 0x0a010007,
                   HOST = 0x0b000001;

TEST(Captures, KeepTheirOrderAndTheAddressesThatCanBeForwarded) {
    const temporary_file file(".pcap");
    const uint32_t routed = routes()[17].addr;
    write_capture(file.path, {{HOST, routed},
                              {0, 0},
                              {LOOPBACK, LOOPBACK},
                              {HOST, MULTICAST},
                              {HOST, routed},
                              {LOOPBACK, LOOPBACK},
                              {OWN_NET, routed}});
    const auto got = read_captured_flows(file.path, routes());
    ASSERT_TRUE(got) << got.error();
    ASSERT_EQ(got->packets.size(), 6u) << "the IPv4 ones";
    EXPECT_EQ(got->flows, 4u);
    EXPECT_EQ(got->moved, 3u);
    EXPECT_EQ(pair_of(got->packets[0]), uint64_t(HOST) << 32 | routed);
    EXPECT_EQ(pair_of(got->packets[3]), pair_of(got->packets[0]));
    EXPECT_EQ(pair_of(got->packets[4]), pair_of(got->packets[1]));
    std::set<uint64_t> pairs;
    for (const packet_addrs& a : got->packets)
        pairs.insert(pair_of(a));
    EXPECT_EQ(pairs.size(), 4u) << "flows stay apart";
}

TEST(Captures, WithoutIpv4AreRefused) {
    const temporary_file file(".pcap");
    write_capture(file.path, {{0, 0}});
    EXPECT_THAT(read_captured_flows(file.path, routes()).error(), HasSubstr("no IPv4 packets"));
    EXPECT_THAT(read_captured_flows("/nonexistent", routes()).error(), HasSubstr("No such file"));
}

/// Hugepages are the machine's: other programs may take the last ones between a child's look at
/// them and its start, which is no failure of what is tested here. Tries again then, a few times.
template <class F>
auto with_memory(F run, auto error_of) {
    auto got = run();
    for (int i = 0;
         i < 20 && error_of(got).find("did not start: Cannot allocate") != std::string::npos; ++i) {
        usleep(200'000);
        got = run();
    }
    return got;
}
child_result in_child(const route_cache_job& job) {
    return with_memory(
        [&] { return run_in_child([&](child_result& out) { run_route_cache(job, out); }, 120); },
        [](const child_result& r) { return r.error; });
}

/// What a job's child told, by metric (the last of a name).
std::map<std::string, double> run(const route_cache_job& job) {
    const child_result r = in_child(job);
    EXPECT_EQ(r.error, "");
    EXPECT_EQ(r.skipped, "");
    std::map<std::string, double> values;
    for (const auto& [metric, value] : r.samples)
        values[metric] = value;
    return values;
}

TEST(Captures, OfAnyLengthArePlayedWhole) {
    for (unsigned flows :
         {1u, 3u, 31u, 33u, 100u}) { // shorter than a burst, and no multiple of one
        const temporary_file file(".pcap");
        std::vector<std::pair<uint32_t, uint32_t>> frames;
        for (unsigned i = 0; i < flows; ++i)
            frames.emplace_back(HOST + i, i % 2 ? LOOPBACK : routes()[i].addr);
        write_capture(file.path, frames);
        const auto captured = *read_captured_flows(file.path, routes());
        route_cache_job job = job_of(flow_law::capture);
        job.captured = &captured;
        auto got = run(job);
        EXPECT_EQ(got["hit_ratio"], 100) << flows;
        EXPECT_EQ(got["entries"], flows) << "each flow has its entry";
        EXPECT_EQ(got["dropped"] + got["refused"], 0) << flows;
    }
}

TEST(Captures, OfOthersToo) {
    const char* shared = std::getenv("SLABFWD_SHARED");
    if (!shared)
        GTEST_SKIP() << "SLABFWD_SHARED is not set";
    const std::string dir = std::string(shared) + "/data/pcaps/";
    const auto flood = read_captured_flows(dir + "dhcp_dhcp_flood.pcap", routes());
    ASSERT_TRUE(flood) << flood.error();
    EXPECT_EQ(flood->flows, 500u);
    const auto echo = read_captured_flows(dir + "echo-connections.pcap.gz", routes());
    ASSERT_TRUE(echo) << echo.error();
    EXPECT_EQ(echo->packets.size(), 82'582u);
    for (const captured_flows* c : {&*flood, &*echo}) {
        route_cache_job job = job_of(flow_law::capture);
        job.captured = c;
        auto got = run(job);
        EXPECT_EQ(got["entries"], double(c->flows));
        EXPECT_EQ(got["dropped"] + got["refused"], 0);
    }
}

// ---- runs

class Allocator : public testing::TestWithParam<const char*> {};

TEST_P(Allocator, HitsAreHits) {
    route_cache_job job = job_of(flow_law::working_set, 2000);
    job.peer = GetParam();
    auto got = run(job);
    EXPECT_EQ(got["hit_ratio"], 100);
    EXPECT_EQ(got["entries"], 2000);
    EXPECT_EQ(got["allocs"], 0);
    EXPECT_EQ(got["dropped"] + got["refused"], 0);
    EXPECT_GE(got["bytes"], sizeof(rtable));
    EXPECT_LE(got["bytes"], 512) << "an entry has 256 bytes at most, the rest is the allocator's";
    EXPECT_GT(got["hit_p50"], 0);
    EXPECT_LE(got["hit_p50"], got["hit_p99"]);
    EXPECT_LE(got["hit_p99"], got["hit_p99_9"]);
}

TEST_P(Allocator, EveryPacketOfAChurnAllocatesOneEntryAndFreesOne) {
    route_cache_job job = job_of(flow_law::scan);
    job.peer = GetParam();
    job.admission = 0;
    job.gc_min_interval_ms = 0;
    // Many enough that the oldest is not of this jiffy: such a one the kernel's rule keeps.
    job.gc_thresh = job.max_size = job.rhash_entries = 65536;
    auto got = run(job);
    EXPECT_EQ(got["hit_ratio"], 0);
    EXPECT_NEAR(got["allocs"], got["lookups"], got["lookups"] * 0.02);
    EXPECT_NEAR(got["frees"], got["allocs"], got["allocs"] * 0.02);
    EXPECT_LE(got["entries_of_max"], 100) << "max_size holds at each sample";
    EXPECT_GT(got["entries_of_max"], 90);
    EXPECT_LE(got["gc_looked"], RT_GC_BATCH);
    EXPECT_EQ(got["dropped"], 0);
    EXPECT_LE(got["refused"], 20) << "where an age limit was just halved";
    EXPECT_EQ(got["gc_thresh"], 65536);
    EXPECT_GT(got["alloc_share"], 0);
    EXPECT_LT(got["alloc_share"], 100);
}

INSTANTIATE_TEST_SUITE_P(All, Allocator,
                         testing::Values("slab", "slub", "rte_mempool", "malloc", "aligned_alloc"));

TEST(Runs, TheKernelsRuleIsToldByItsRefusals) {
    route_cache_job job = job_of(flow_law::scan);
    job.admission = 0;
    job.gc_thresh = 500;
    job.max_size = 1000;
    EXPECT_GT(run(job)["refused"], 0);
    job.admission = 1;
    auto got = run(job);
    EXPECT_EQ(got["refused"], 0);
    EXPECT_GT(got["uncached"], 90);
}

TEST(Runs, AFloodRefusesNobodyBetweenPortsOfEitherKind) {
    for (const bool pcap_ports : {false, true}) {
        route_cache_job job = job_of(flow_law::scan);
        job.rhash_entries = 4096;
        job.pcap_ports = pcap_ports;
        const child_result r = with_memory(
            [&] {
                return run_in_child(
                    [&](child_result& out) { run_flood(job, flood_kind::sources, out); }, 120);
            },
            [](const child_result& c) { return c.error; });
        ASSERT_EQ(r.error, "");
        std::map<std::string, double> got(r.samples.begin(), r.samples.end());
        EXPECT_GT(got["cached_mpps"], 0);
        EXPECT_GT(got["flood_mpps"], 0);
        EXPECT_GT(got["flood_hit_ratio"], 99);
        EXPECT_EQ(got["flood_refused"], 0);
        EXPECT_GE(got["entries_max"], 1000);
        EXPECT_LT(got["entries_of_max"], 100);
        EXPECT_LE(got["gc_looked"], 64);
    }
}

TEST(Runs, WorkersHaveFlowsOfTheirOwn) {
    route_cache_job job = job_of(flow_law::working_set, 500);
    job.threads = 2;
    auto got = run(job);
    EXPECT_EQ(got["hit_ratio"], 100);
    EXPECT_EQ(got["entries"], 1000) << "each has its shard";
}

TEST(Runs, ArraysOfTheSlabAreTuned) {
    auto error_of = [](unsigned limit, unsigned batchcount, const char* peer) {
        route_cache_job job = job_of(flow_law::working_set, 100);
        job.limit = limit;
        job.batchcount = batchcount;
        job.peer = peer;
        return in_child(job).error;
    };
    EXPECT_EQ(error_of(1, 0, "slab"), "") << "batchcount goes along";
    EXPECT_EQ(error_of(0, 4000, "slab"), "") << "limit goes along";
    EXPECT_THAT(error_of(8, 60, "slab"), HasSubstr("limit 8, batchcount 60"));
    EXPECT_EQ(error_of(8, 60, "malloc"), "") << "has none";
}

// ---- sweeps and the program

std::vector<route_cache_workload> two_workloads() {
    std::vector<route_cache_workload> all(2);
    all[0].name = "working-set";
    all[1].name = "churn-64k";
    all[1].job.gc_thresh = all[1].job.max_size = 65536;
    return all;
}

TEST(Sweeps, ChangeWhatTheyName) {
    std::vector<route_cache_workload> out;
    EXPECT_EQ(sweep_workloads(two_workloads(), "flows=10,2000", out), "");
    ASSERT_EQ(out.size(), 2u);
    EXPECT_EQ(out[1].name, "working-set flows=2000");
    EXPECT_EQ(out[1].job.flows, 2000u);
    EXPECT_EQ(out[1].at, 2000);
    EXPECT_EQ(sweep_workloads(two_workloads(), "gc_thresh=1000", out), "");
    EXPECT_EQ(out[2].job.gc_thresh, 1000);
    EXPECT_EQ(out[2].job.max_size, 1000) << "churn keeps so many live";
    EXPECT_EQ(sweep_workloads(two_workloads(), "working-set:gc_thresh=1000", out), "");
    EXPECT_EQ(out[3].job.max_size, 16000);
    EXPECT_EQ(sweep_workloads(two_workloads(), "limit=7", out), "");
    EXPECT_EQ(out[4].name, "churn-64k limit=7");
    EXPECT_EQ(out[4].job.limit, 7u);
    EXPECT_EQ(sweep_workloads(two_workloads(), "batchcount=3", out), "");
    EXPECT_EQ(out[5].job.batchcount, 3u);
    EXPECT_EQ(sweep_workloads(two_workloads(), "rhash-entries=4096", out), "");
    EXPECT_EQ(out[6].job.rhash_entries, 4096u);
}

TEST(Sweeps, AreRefusedWithASentence) {
    std::vector<route_cache_workload> out;
    for (const char* text :
         {"flows", "flows=", "flows=abc", "flows=1,,2", "flows=0", "flows=-1", "flows=1e3",
          "flows=99999999999", "frob=1", "nosuch:flows=1", "=1", ""})
        EXPECT_THAT(sweep_workloads(two_workloads(), text, out), HasSubstr("--sweep")) << text;
    EXPECT_TRUE(out.empty());
}

struct said {
    int status;
    std::string out, err;
};
said program(std::vector<std::string> words) {
    words.insert(words.begin(), "route-cache");
    std::vector<char*> argv;
    for (std::string& w : words)
        argv.push_back(w.data());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    said s;
    s.status = bench_route_cache_main(int(argv.size()), argv.data());
    s.out = testing::internal::GetCapturedStdout();
    s.err = testing::internal::GetCapturedStderr();
    return s;
}

TEST(Program, RefusesWhatItDoesNotKnow) {
    const std::vector<std::vector<std::string>> wrong = {
        {"--peer", "nosuch"}, {"--workload", "nosuch"},      {"--sweep", "nosuch=1"},
        {"--flows", "0"},     {"--capture", "/nonexistent"}, {"--workload", "capture"}};
    for (std::vector<std::string> words : wrong) {
        words.insert(words.end(), {"--routes", "100", "--quick"});
        const said s = program(words);
        EXPECT_NE(s.status, 0) << words[0] << " " << words[1];
        EXPECT_THAT(s.err, HasSubstr(words[0]));
        EXPECT_THAT(s.out, IsEmpty());
    }
}

TEST(Program, RefusesTablesAndNumbersThatAreNone) {
    const std::pair<const char*, const char*> wrong[] = {
        {"--routes", "0"},    {"--routes", "-5"},   {"--routes", "/dev/null"}, {"--zipf", "nan"},
        {"--seconds", "nan"}, {"--routes", "/tmp"}, {"--seconds", "0"},        {"--zipf", "-1"}};
    for (const auto& [option, value] : wrong) {
        const said s = program({"--quick", "--turns", "1", "--peer", "slab", "--workload",
                                "working-set", option, value});
        EXPECT_EQ(s.status, 2) << option << " " << value;
        EXPECT_THAT(s.err, HasSubstr(option));
        EXPECT_THAT(s.err, HasSubstr(value));
        EXPECT_THAT(s.out, IsEmpty());
    }
}

TEST(Program, MeasuresATableOfOneRoute) {
    const temporary_file json(".json");
    const said s = with_memory(
        [&] {
            return program({"--quick", "--turns", "1", "--routes", "1", "--peer", "slab",
                            "--workload", "working-set", "--rhash-entries", "4096", "--flows",
                            "100", "--json", json.path});
        },
        [](const said& t) { return t.err; });
    EXPECT_EQ(s.status, 0) << s.err;
    const auto rows = nlohmann::json::parse(std::ifstream(json.path))["rows"];
    EXPECT_FALSE(rows.empty());
}

TEST(Program, WritesATableJsonAndPlots) {
    if (std::system("gnuplot --version >/dev/null 2>&1"))
        GTEST_SKIP() << "no gnuplot";
    const temporary_file json(".json"), plot(""), svg(".svg"), png(".png");
    const std::vector<std::string> words = {
        "--routes",        "2000",           "--turns", "1",       "--seconds", "0.01",
        "--rhash-entries", "4096",           "--peer",  "slab",    "--peer",    "malloc",
        "--sweep",         "flows=100,1000", "--json",  json.path, "--plot",    plot.path};
    const said s = with_memory([&] { return program(words); }, [](const said& t) { return t.err; });
    EXPECT_EQ(s.status, 0) << s.err;
    EXPECT_THAT(s.out, HasSubstr("buckets 4096, gc_thresh 4096, max_size 65536"));
    EXPECT_THAT(s.out, HasSubstr("working-set flows=1000"));
    EXPECT_THAT(s.out, Not(HasSubstr("nan")));
    const auto rows = nlohmann::json::parse(std::ifstream(json.path))["rows"];
    std::set<std::string> metrics;
    for (const auto& row : rows)
        if (row["peer"] == "slab")
            metrics.insert(row["metric"]);
    for (const char* metric :
         {"lookups", "hit_ratio", "ns", "cycles", "allocs", "frees", "hit_p50", "hit_p99",
          "hit_p99_9", "gc_runs", "entries", "bytes", "entries_of_max"})
        EXPECT_TRUE(metrics.contains(metric)) << metric;
    std::ifstream drawn(svg.path);
    const std::string text((std::istreambuf_iterator<char>(drawn)), {});
    EXPECT_THAT(text, HasSubstr("<svg"));
    EXPECT_THAT(text, HasSubstr("Hit ratio over flows"));
    EXPECT_THAT(text, HasSubstr("working-set, malloc"));
    EXPECT_GT(std::filesystem::file_size(png.path), 1000u);
}

} // namespace
} // namespace slabfwd
