// SPDX-License-Identifier: BSD-3-Clause
//
// `slabfwd replay` as a user runs it: each call in a process of its own (the EAL starts once a
// process), its output and exit status looked at, bad input of every kind.
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <map>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "dataplane/programs.h"
#include "dataplane/replay/capture_reader.h"
#include "tests/dataplane/replay/frames.h"

namespace slabfwd {
namespace {

using namespace test;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using json = nlohmann::json;

const std::string PCAPS = SLABFWD_SOURCE_DIR "/pcaps/";

struct outcome {
    int status = -1;
    std::string out, err;
};

/// A folder with a configuration, in which replays run.
class place {
public:
    explicit place(const std::string& config_text = read_file(PCAPS + "router.conf")) {
        config = write_file(dir / "config", config_text);
        setenv("RUNTIME_DIRECTORY", (dir / "").c_str(), 1);
    }

    pid_t start(std::vector<std::string> words) {
        pid_t child = fork();
        if (child != 0)
            return child;
        redirect("stdout", STDOUT_FILENO);
        redirect("stderr", STDERR_FILENO);
        words.insert(words.begin(), "replay");
        std::vector<char*> argv;
        for (std::string& w : words)
            argv.push_back(w.data());
        argv.push_back(nullptr);
        int status = replay_main(int(words.size()), argv.data());
        std::fflush(stdout);
        _exit(status);
    }

    outcome wait(pid_t child) {
        int status = 0;
        waitpid(child, &status, 0);
        EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status) << "\n"
                                       << read_file(dir / "stderr");
        return {WEXITSTATUS(status), read_file(dir / "stdout"), read_file(dir / "stderr")};
    }

    outcome run(std::vector<std::string> words) { return wait(start(std::move(words))); }

    /// With --config, --no-huge and --json; the summary is read when the replay got that far.
    outcome replay(std::vector<std::string> words) {
        words.insert(words.begin(), {"--config", config, "--no-huge", "--json", dir / "json"});
        outcome o = run(std::move(words));
        std::string text = read_file(dir / "json");
        summary = text.empty() ? json() : json::parse(text);
        return o;
    }

    size_t frames(const std::string& name) const {
        auto reader = capture_reader::open(dir / name);
        EXPECT_TRUE(reader) << reader.error();
        captured_frame f;
        while ((*reader)->next(f) == capture_status::FRAME)
            ;
        EXPECT_EQ((*reader)->error(), "");
        return (*reader)->frames();
    }

    temp_dir dir;
    std::string config;
    json summary;

private:
    void redirect(const char* name, int fd) {
        int file = open((dir / name).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(file, fd);
    }
};

/// Refused at the start: a status, words on standard error, and neither summary nor output.
void expect_refused(const outcome& o, const testing::Matcher<std::string>& says) {
    EXPECT_GT(o.status, 0);
    EXPECT_LT(o.status, 124);
    EXPECT_THAT(o.err, says);
    EXPECT_EQ(o.out, "");
}

// --- what it does
// ---------------------------------------------------------------------------------

TEST(replay, writes_captures_summary_and_json) {
    place at;
    auto o = at.replay({"--in", "p0=" + PCAPS + "udp-flows.pcap", "--in",
                        "p1=" + PCAPS + "udp-replies.pcapng", "--out", "p0=" + (at.dir / "0.pcap"),
                        "--out", "p1=" + (at.dir / "1.pcap")});
    ASSERT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(o.err, "");
    const json& s = at.summary;
    EXPECT_EQ(s["ports"]["p0"]["rx_packets"], 256);
    EXPECT_EQ(s["ports"]["p1"]["rx_packets"], 256);
    EXPECT_EQ(s["ports"]["p0"]["tx_packets"], at.frames("0.pcap"));
    EXPECT_EQ(s["ports"]["p1"]["tx_packets"], at.frames("1.pcap"));
    EXPECT_EQ(s["delivered"], 0);
    EXPECT_EQ(s["held"], 0);
    EXPECT_TRUE(s["drops"].empty()) << s["drops"];
    for (const char* key : {"originated", "fragmented", "fragments_created", "copies"})
        EXPECT_TRUE(s[key].is_number_unsigned()) << key;
    for (const char* key : {"hits", "misses", "allocated", "collected", "entries"})
        EXPECT_TRUE(s["route_cache"][key].is_number_unsigned()) << key;
    bool dst_cache = false;
    for (const json& c : s["slab"]) {
        EXPECT_EQ(c["active_objs"], 0) << c;
        EXPECT_TRUE(c["num_objs"].is_number_unsigned() && c["objsize"].is_number_unsigned());
        dst_cache |= c["name"] == "ip_dst_cache";
    }
    EXPECT_TRUE(dst_cache);
    for (const char* word :
         {"p0", "p1", "rx packets", "256", "route cache", "hits", "ip_dst_cache"})
        EXPECT_THAT(o.out, HasSubstr(word));
}

TEST(replay, two_runs_write_the_same_bytes) {
    place at;
    std::string files[2];
    for (int i : {0, 1}) {
        auto o =
            at.replay({"--in", "p0=" + PCAPS + "fragments.pcap", "--in", "p0=" + PCAPS + "bad.pcap",
                       "--in", "p0=" + PCAPS + "options.pcap", "--out", "p0=" + (at.dir / "0.pcap"),
                       "--out", "p1=" + (at.dir / "1.pcap"), "--drops", at.dir / "drops"});
        ASSERT_EQ(o.status, 0) << o.err;
        for (const char* name : {"0.pcap", "1.pcap", "drops", "json", "stdout"})
            files[i] += read_file(at.dir / name);
    }
    EXPECT_TRUE(files[0] == files[1]) << "two runs differ";
}

TEST(replay, drops_carry_their_reason_as_a_comment_that_tshark_shows) {
    if (std::system("command -v tshark >/dev/null 2>&1") != 0)
        GTEST_SKIP() << "no tshark";
    place at;
    auto o = at.replay({"--in", "p0=" + PCAPS + "bad.pcap", "--out", "p1=" + (at.dir / "1.pcap"),
                        "--drops", at.dir / "drops.pcapng"});
    ASSERT_EQ(o.status, 0) << o.err;
    std::string command = "tshark -n -r " + (at.dir / "drops.pcapng") +
                          " -T fields -e frame.comment 2>/dev/null | sort | uniq -c";
    FILE* pipe = popen(command.c_str(), "r");
    std::map<std::string, unsigned> found;
    char reason[64];
    for (unsigned n; fscanf(pipe, "%u %63s", &n, reason) == 2;)
        found[reason] = n;
    EXPECT_EQ(pclose(pipe), 0);
    EXPECT_FALSE(found.empty());
    EXPECT_EQ(json(found), at.summary["drops"]);
}

TEST(replay, trace_prints_the_walk_of_the_first_frames) {
    place at;
    auto o = at.replay({"--in", "p0=" + PCAPS + "udp-flows.pcap", "--out", "p1=/dev/null",
                        "--trace", "1", "--limit", "3"});
    ASSERT_EQ(o.status, 0) << o.err;
    for (const char* step :
         {"ip_rcv", "ip_route_input_slow", "dst_alloc", "ip_forward",
          "kmem_cache_alloc: call_site=dst_alloc ptr=0x", "name=ip_dst_cache bytes_req=192",
          "kmem_cache_alloc: call_site=neigh_alloc ptr=0x", "gfp_flags=GFP_ATOMIC", "ip_output",
          "ip_finish_output", "another packet: 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff ARP who has"})
        EXPECT_THAT(o.out, HasSubstr(step));
    EXPECT_EQ(at.summary["ports"]["p0"]["rx_packets"], 3);
}

TEST(replay, quiet_says_nothing_and_ports_without_output_still_count) {
    place at;
    auto o =
        at.replay({"--in", "p0=" + PCAPS + "udp-flows.pcap", "--out", "p1=/dev/null", "--quiet"});
    EXPECT_EQ(o.status, 0);
    EXPECT_EQ(o.out + o.err, "");
    EXPECT_GT(at.summary["ports"]["p1"]["tx_packets"], 256);
}

TEST(replay, real_captures_into_one_port_lose_nothing) {
    const char* shared = std::getenv("SLABFWD_SHARED");
    if (!shared)
        GTEST_SKIP() << "SLABFWD_SHARED is not set";
    place at("ip link set dev p0 up\nip link set dev p1 up\nip addr add 198.18.0.1/24 dev p0\n"
             "ip addr add 198.18.1.1/24 dev p1\nip route add default via 198.18.1.2\n"
             "sysctl -w net.ipv4.ip_forward=1\n");
    for (const auto& entry :
         std::filesystem::directory_iterator(std::string(shared) + "/data/pcaps")) {
        SCOPED_TRACE(entry.path().filename());
        auto reader = capture_reader::open(entry.path());
        ASSERT_TRUE(reader);
        captured_frame f;
        while ((*reader)->next(f) == capture_status::FRAME)
            ;
        bool damaged = !(*reader)->error().empty();
        auto o =
            at.replay({"--in", "p0=" + entry.path().string(), "--out", "p1=" + (at.dir / "1.pcap"),
                       "--out", "p0=" + (at.dir / "0.pcap"), "--drops", at.dir / "drops"});
        EXPECT_EQ(o.status, damaged ? 1 : 0) << o.err;
        ASSERT_TRUE(at.summary.is_object());
        const json& s = at.summary;
        EXPECT_EQ(s["ports"]["p0"]["rx_packets"], (*reader)->frames());
        EXPECT_EQ(s["held"], 0);
        uint64_t dropped = 0;
        for (const auto& [reason, count] : s["drops"].items())
            dropped += count.get<uint64_t>();
        EXPECT_EQ(at.frames("drops"), dropped);
        EXPECT_EQ(at.frames("0.pcap") + at.frames("1.pcap"),
                  s["ports"]["p0"]["tx_packets"].get<size_t>() +
                      s["ports"]["p1"]["tx_packets"].get<size_t>());
    }
}

// --- bad input
// ------------------------------------------------------------------------------------

TEST(replay, refuses_missing_and_strange_files) {
    place at;
    auto refuse = [&](std::vector<std::string> words, const char* what) {
        expect_refused(at.replay(std::move(words)), HasSubstr(what));
    };
    std::string good = "p0=" + PCAPS + "udp-flows.pcap";
    refuse({"--in", "p0=" + (at.dir / "gone.pcap")}, "gone.pcap");
    refuse({"--in", "p0=" + write_file(at.dir / "empty.pcap", "")}, "empty.pcap");
    refuse({"--in", "p0=" + at.config}, "config");
    refuse(
        {"--in", good, "--in", "p0=" + write_file(at.dir / "ppp", pcap_bytes({}, {.linktype = 9}))},
        "PPP");
    refuse({"--in", good, "--out", "p1=" + (at.dir / "no/out.pcap")}, "no/out.pcap");
    refuse({"--in", good, "--out", "p1=/dev/full"}, "/dev/full");
    refuse({"--in", good, "--out", "p1=" + (at.dir / "a"), "--out", "p1=" + (at.dir / "b")}, "p1");
    refuse({"--in", good, "--out", "p1=" + (at.dir / "a"), "--drops", at.dir / "a"}, "same file");
    refuse({"--in", "averylongportname=" + PCAPS + "udp-flows.pcap"}, "averylongportname");
    refuse({"--in", "lo=" + PCAPS + "udp-flows.pcap"}, "lo");
    refuse({"--in", good, "--eal", "'"}, "--eal");
}

TEST(replay, refuses_a_configuration_that_does_not_fit) {
    std::string in = "p0=" + PCAPS + "udp-flows.pcap";
    {
        place at;
        std::filesystem::remove(at.config);
        expect_refused(at.replay({"--in", in, "--out", "p1=" + (at.dir / "1.pcap")}),
                       HasSubstr("config"));
    }
    place at("ip link set dev p0 up\nip link set dev p7 up\n");
    write_file(at.dir / "1.pcap", "an older output");
    auto o =
        at.replay({"--in", in, "--out", "p1=" + (at.dir / "1.pcap"), "--drops", at.dir / "drops"});
    expect_refused(o, AllOf(HasSubstr("config"), HasSubstr("2"), HasSubstr("p7")));
    EXPECT_EQ(read_file(at.dir / "1.pcap"), "an older output") << "nothing lost";
    EXPECT_FALSE(std::filesystem::exists(at.dir / "drops"));
    EXPECT_FALSE(std::filesystem::exists(at.dir / "json"));
}

TEST(replay, a_damaged_capture_is_replayed_up_to_the_damage_and_reported) {
    place at;
    bytes whole = read_file(PCAPS + "udp-flows.pcap");
    for (size_t keep : {whole.size() - 1, whole.size() - 70}) {
        auto path = write_file(at.dir / "cut.pcap", whole.substr(0, keep));
        auto o = at.replay({"--in", "p0=" + path, "--out", "p1=" + (at.dir / "1.pcap")});
        EXPECT_EQ(o.status, 1);
        EXPECT_THAT(o.err, AllOf(HasSubstr("cut.pcap"), HasSubstr("after frame 255")));
        EXPECT_EQ(at.summary["ports"]["p0"]["rx_packets"], 255);
        EXPECT_EQ(at.summary["ports"]["p1"]["tx_packets"], at.frames("1.pcap"));
    }
}

TEST(replay, a_disk_that_fills_up_is_reported) {
    place at;
    // A file size limit stands for the full disk: the header fits, the frames do not.
    pid_t child = fork();
    if (child == 0) {
        rlimit limit{8192, RLIM_INFINITY};
        setrlimit(RLIMIT_FSIZE, &limit);
        outcome o =
            at.run({"--config", at.config, "--no-huge", "--in", "p0=" + PCAPS + "udp-flows.pcap",
                    "--out", "p1=" + (at.dir / "1.pcap"), "--quiet"});
        _exit(o.status == 1 && o.err.find("1.pcap: File too large") != std::string::npos ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << read_file(at.dir / "stderr");
}

TEST(replay, an_interrupt_ends_it_in_order) {
    place at;
    std::string fifo = at.dir / "fifo";
    ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
    pid_t child = at.start({"--config", at.config, "--no-huge", "--json", at.dir / "json", "--in",
                            "p0=" + fifo, "--out", "p1=" + (at.dir / "1.pcap")});
    std::thread writer([&] {
        std::signal(SIGPIPE, SIG_IGN);
        bytes data = pcap_bytes({{1'000'000'000, udp_frame(), 0}});
        FILE* to = fopen(fifo.c_str(), "w");
        fwrite(data.data(), data.size(), 1, to);
        fflush(to);
        bytes frame = data.substr(24);
        // Once frames come out the other end, interrupt, once; more frames wake the reader.
        bool interrupted = false;
        for (int i = 0; i < 20'000; ++i) {
            if (fwrite(frame.data(), frame.size(), 1, to) != 1 || fflush(to) != 0)
                break;
            std::error_code none;
            auto size = std::filesystem::file_size(at.dir / "1.pcap", none);
            if (!interrupted && !none && size > 4096)
                interrupted = kill(child, SIGINT) == 0;
            usleep(200);
        }
        fclose(to);
    });
    outcome o = at.wait(child);
    writer.join();
    EXPECT_EQ(o.status, 128 + SIGINT);
    EXPECT_THAT(o.err, HasSubstr("interrupted"));
    auto s = json::parse(read_file(at.dir / "json"));
    EXPECT_GT(s["ports"]["p0"]["rx_packets"], 10);
    EXPECT_EQ(s["ports"]["p1"]["tx_packets"], at.frames("1.pcap"));
}

} // namespace
} // namespace slabfwd

int main(int argc, char** argv) {
    testing::InitGoogleMock(&argc, argv);
    return RUN_ALL_TESTS();
}
