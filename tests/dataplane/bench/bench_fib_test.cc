// SPDX-License-Identifier: BSD-3-Clause
//
// `bench fib` measures tables of any size, from one route on, and refuses what is no table.
#include <fstream>
#include <map>
#include <unistd.h>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "dataplane/bench/bench_options.h"
#include "dataplane/bench/bench_programs.h"
#include "dataplane/bench/fib_job.h"

namespace slabfwd {
namespace {

using testing::HasSubstr;

int bench(std::vector<std::string> words) {
    words.insert(words.begin(), {"fib", "--quick", "--turns", "1", "--peer", "slabfwd"});
    std::vector<char*> argv;
    for (std::string& w : words)
        argv.push_back(w.data());
    return bench_fib_main(int(argv.size()), argv.data());
}

TEST(BenchFib, WhatIsNoTableIsRefused) {
    const std::pair<const char*, const char*> wrong[] = {
        {"0", "--routes 0: a number from 1 to 4000000 or a file is wanted"},
        {"-5", "--routes -5: a number from 1 to 4000000 or a file is wanted"},
        {"/dev/null", "--routes /dev/null: holds no prefix"},
        {"/tmp", "--routes /tmp: Is a directory"}};
    for (const auto& [value, why] : wrong) {
        testing::internal::CaptureStderr();
        EXPECT_EQ(bench({"--list", "--routes", value}), 2) << value;
        EXPECT_EQ(testing::internal::GetCapturedStderr(),
                  std::string("slabfwd bench: ") + why + "\n");
    }
}

TEST(BenchFib, ATableOfOneRouteIsMeasured) {
    const std::string path = testing::TempDir() + "bench_fib." + std::to_string(getpid()) + ".json";
    EXPECT_EQ(bench({"--routes", "1", "--json", path}), 0);
    std::map<std::string, double> values;
    const auto rows = nlohmann::json::parse(std::ifstream(path))["rows"];
    for (const auto& row : rows)
        values[row["metric"]] = row["value"];
    unlink(path.c_str());
    EXPECT_GT(values["cycles"], 0);
    EXPECT_GT(values["load"], 0);
    EXPECT_GT(values["checked"], 0);
    EXPECT_EQ(values["wrong"], 0);
}

/// What may change are the table's own prefixes, where no longer ones fit inside.
TEST(BenchFib, ATableOfHostsChangesToo) {
    std::vector<prefix> hosts;
    for (uint32_t i = 0; i < 1500; ++i)
        hosts.push_back({0x0b000000u + i * 256, 32});
    std::vector<uint32_t> addresses(FIB_ADDRESSES);
    for (size_t i = 0; i < addresses.size(); ++i)
        addresses[i] = hosts[i % hosts.size()].addr;
    const fib_job job{&hosts, &addresses, 1e7, false};
    const child_result r = run_in_child([&](child_result& out) { run_fib_changes(job, out); }, 60);
    EXPECT_EQ(r.error, "");
    EXPECT_EQ(r.skipped, "");
    std::map<std::string, double> values(r.samples.begin(), r.samples.end());
    EXPECT_GT(values["changes"], 0);
    EXPECT_GT(values["checked"], 0);
    EXPECT_EQ(values["wrong"], 0);
}

} // namespace
} // namespace slabfwd
