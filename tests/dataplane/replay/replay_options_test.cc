// SPDX-License-Identifier: BSD-3-Clause
//
// The command line of replay, the checks on its files, and the progress line.
#include "dataplane/replay/replay_options.h"

#include <gmock/gmock.h>

#include "dataplane/replay/progress.h"
#include "dataplane/replay/replay_files.h"
#include "tests/dataplane/replay/capture_files.h"

namespace slabfwd {
namespace {

using namespace test;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

tl::expected<replay_options, usage_exit> parse(std::vector<std::string> words) {
    std::vector<const char*> argv{"replay"};
    for (const std::string& w : words)
        argv.push_back(w.c_str());
    return parse_replay_options(int(argv.size()), argv.data());
}

std::string refused(std::vector<std::string> words) {
    auto o = parse(std::move(words));
    EXPECT_FALSE(o) << "was taken";
    if (o)
        return {};
    EXPECT_NE(o.error().status, 0);
    return o.error().text;
}

TEST(replay_options, defaults) {
    auto o = parse({"--config", "c", "--in", "p0=a.pcap"});
    ASSERT_TRUE(o) << o.error().text;
    EXPECT_EQ(o->config, "c");
    EXPECT_EQ(o->loop, 1u);
    EXPECT_EQ(o->limit, UINT64_MAX);
    EXPECT_EQ(o->seed, 1u);
    EXPECT_FALSE(o->trace);
    EXPECT_FALSE(o->keep_mac || o->no_arp_answer || o->no_huge || o->quiet);
}

TEST(replay_options, ports_are_numbered_by_first_appearance_over_in_and_out) {
    auto o = parse({"--out", "west=w.pcap", "--in", "east=e1", "--config", "c", "--in", "west=w1",
                    "--in", "east=e=2", "--out", "north=n"});
    ASSERT_TRUE(o) << o.error().text;
    EXPECT_THAT(o->ports, ElementsAre("west", "east", "north"));
    ASSERT_EQ(o->in.size(), 3u);
    EXPECT_EQ(o->in[0].port, 1u);
    EXPECT_EQ(o->in[1].port, 0u);
    EXPECT_EQ(o->in[2].port, 1u);
    EXPECT_EQ(o->in[2].path, "e=2");
    ASSERT_EQ(o->out.size(), 2u);
    EXPECT_EQ(o->out[1].port, 2u);
}

TEST(replay_options, the_equals_sign_form_keeps_the_order_too) {
    auto o = parse({"--config=c", "--in=b=1", "--out=a=2"});
    ASSERT_TRUE(o) << o.error().text;
    EXPECT_THAT(o->ports, ElementsAre("b", "a"));
}

TEST(replay_options, trace_with_and_without_a_number) {
    auto all = parse({"--config", "c", "--in", "p0=a", "--trace"});
    ASSERT_TRUE(all) << all.error().text;
    EXPECT_EQ(all->trace, UINT64_MAX);
    auto three = parse({"--config", "c", "--trace", "3", "--in", "p0=a"});
    ASSERT_TRUE(three) << three.error().text;
    EXPECT_EQ(three->trace, 3u);
    auto followed = parse({"--config", "c", "--trace", "--in", "p0=a"});
    ASSERT_TRUE(followed) << followed.error().text;
    EXPECT_EQ(followed->trace, UINT64_MAX);
    EXPECT_THAT(refused({"--config", "c", "--in", "p0=a", "--trace", "few"}), HasSubstr("few"));
}

TEST(replay_options, numbers_and_flags) {
    auto o = parse({"--config",  "c",       "--in",    "p0=a", "--loop",     "3",
                    "--limit",   "0",       "--seed",  "77",   "--keep-mac", "--no-arp-answer",
                    "--no-huge", "--quiet", "--drops", "d",    "--json",     "j",
                    "--eal",     "-m 64"});
    ASSERT_TRUE(o) << o.error().text;
    EXPECT_EQ(o->loop, 3u);
    EXPECT_EQ(o->limit, 0u);
    EXPECT_EQ(o->seed, 77u);
    EXPECT_TRUE(o->keep_mac && o->no_arp_answer && o->no_huge && o->quiet);
    EXPECT_EQ(o->drops, "d");
    EXPECT_EQ(o->json, "j");
    EXPECT_EQ(o->eal, "-m 64");
}

TEST(replay_options, refuses_what_it_cannot_do) {
    EXPECT_THAT(refused({}), HasSubstr("--config"));
    EXPECT_THAT(refused({"--config", "c"}), HasSubstr("--in"));
    EXPECT_THAT(refused({"--config", "c", "--in", "p0"}),
                AllOf(HasSubstr("--in p0"), HasSubstr("NAME=FILE")));
    EXPECT_THAT(refused({"--config", "c", "--in", "=a"}), HasSubstr("NAME=FILE"));
    EXPECT_THAT(refused({"--config", "c", "--in", "p0="}), HasSubstr("NAME=FILE"));
    EXPECT_THAT(refused({"--config", "c", "--in", "p0=a", "--out", "p1=b", "--out", "p1=c"}),
                AllOf(HasSubstr("p1=c"), HasSubstr("(b)")));
    EXPECT_THAT(refused({"--config", "c", "--in", "p0=a", "--loop", "0"}), HasSubstr("--loop"));
    EXPECT_THAT(refused({"--config", "c", "--in", "p0=a", "--loop", "-1"}), HasSubstr("--loop"));
    EXPECT_THAT(refused({"--config", "c", "--in", "p0=a", "--limit", "x"}), HasSubstr("--limit"));
    EXPECT_THAT(refused({"--config", "c", "--in", "p0=a", "--topspeed"}), HasSubstr("--topspeed"));
    EXPECT_THAT(refused({"--config", "c", "--in", "p0=a", "stray"}), HasSubstr("stray"));
}

TEST(replay_options, help_is_no_error) {
    auto o = parse({"--help"});
    ASSERT_FALSE(o);
    EXPECT_EQ(o.error().status, 0);
    EXPECT_THAT(o.error().text, AllOf(HasSubstr("--keep-mac"), HasSubstr("--no-arp-answer")));
}

// --- files
// ----------------------------------------------------------------------------------------

TEST(replay_files, an_output_may_not_be_an_input_or_another_output) {
    temp_dir dir;
    auto input = write_file(dir / "in.pcap", pcap_bytes(some_frames(2)));
    auto config = write_file(dir / "config", "# nothing\n");
    auto fails = [&](std::vector<std::string> more) {
        std::vector<std::string> words{"--config", config, "--in", "p0=" + input};
        words.insert(words.end(), more.begin(), more.end());
        auto o = parse(words);
        EXPECT_TRUE(o);
        auto files = replay_outputs::open(*o);
        EXPECT_FALSE(files);
        return files ? std::string() : files.error();
    };
    EXPECT_THAT(fails({"--out", "p0=" + input}), HasSubstr("in.pcap"));
    EXPECT_THAT(fails({"--json", config}), HasSubstr("config"));
    EXPECT_THAT(fails({"--out", "p0=" + (dir / "x"), "--out", "p1=" + (dir / "./x")}),
                HasSubstr("same file"));
    EXPECT_THAT(fails({"--out", "p0=" + (dir / "x"), "--drops", dir / "x"}),
                HasSubstr("same file"));
    EXPECT_THAT(fails({"--out", "p0=" + (dir / "x"), "--json", dir / "no/where"}),
                HasSubstr("no/where"));
    EXPECT_EQ(read_file(input), pcap_bytes(some_frames(2))) << "the input was touched";
    EXPECT_EQ(read_file(config), "# nothing\n");
    EXPECT_FALSE(std::filesystem::exists(dir / "x")) << "a refused replay leaves nothing";
}

TEST(replay_files, a_pipe_is_not_played_twice) {
    auto o = parse({"--config", "c", "--in", "p0=/dev/stdin", "--loop", "2"});
    ASSERT_TRUE(o);
    o->in[0].path = "/dev/null";
    auto inputs = open_inputs(*o);
    EXPECT_FALSE(inputs);
}

// --- progress
// -------------------------------------------------------------------------------------

TEST(progress, line_fits_the_terminal) {
    for (unsigned columns : {20u, 60u, 80u, 200u})
        for (double share : {0.0, 0.001, 0.5, 1.0, 1.7}) {
            std::string line = progress::line(share, 123'456, 10, columns);
            if (columns >= 60) {
                EXPECT_LT(line.size(), columns) << line;
            }
        }
    EXPECT_THAT(progress::line(0.5, 1000, 10, 80),
                AllOf(HasSubstr("50 %"), HasSubstr("10 s left"), HasSubstr("####....")));
    EXPECT_THAT(progress::line(-1, 1000, 10, 80),
                AllOf(HasSubstr("1000 frames"), HasSubstr("100/s")));
}

} // namespace
} // namespace slabfwd
