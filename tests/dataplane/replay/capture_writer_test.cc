// SPDX-License-Identifier: BSD-3-Clause
//
// capture_writer, pcapng_writer and output_file: the bytes, what other programs make of them, and
// errors.
#include "dataplane/replay/capture_writer.h"

#include <csignal>
#include <cstdio>

#include <gmock/gmock.h>
#include <rte_mbuf.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "dataplane/replay/capture_reader.h"
#include "dataplane/replay/pcapng_writer.h"
#include "tests/dataplane/replay/capture_files.h"

namespace slabfwd {
namespace {

using namespace test;
using testing::HasSubstr;

const uint8_t* raw(const bytes& b) {
    return reinterpret_cast<const uint8_t*>(b.data());
}

std::unique_ptr<output_file> opened(const std::string& path) {
    auto file = output_file::open(path);
    EXPECT_TRUE(file) << file.error();
    return std::move(*file);
}

/// What a command prints; "" with a failure when it fails.
std::string output_of(const std::string& command) {
    FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r");
    std::string out;
    char buf[4096];
    for (size_t n; (n = fread(buf, 1, sizeof buf, pipe)) > 0;)
        out.append(buf, n);
    EXPECT_EQ(pclose(pipe), 0) << command;
    return out;
}

bool have_tshark() {
    return std::system("command -v tshark >/dev/null 2>&1") == 0;
}

void write_all(const std::string& path, const std::vector<test_frame>& frames) {
    auto w = capture_writer::begin(opened(path));
    ASSERT_TRUE(w) << w.error();
    for (const test_frame& f : frames)
        EXPECT_TRUE((*w)->write(f.ts_ns, raw(f.data), uint32_t(f.data.size())));
    EXPECT_EQ((*w)->finish(), "");
    EXPECT_EQ((*w)->frames(), frames.size());
}

TEST(capture_writer, writes_exactly_the_nanosecond_format) {
    temp_dir dir;
    auto frames = some_frames(30);
    frames[3].ts_ns += 123;
    write_all(dir / "a.pcap", frames);
    EXPECT_EQ(read_file(dir / "a.pcap"), pcap_bytes(frames, {.nano = true}));
}

TEST(capture_writer, overwrites_a_longer_file) {
    temp_dir dir;
    write_file(dir / "a.pcap", bytes(100'000, 'x'));
    write_all(dir / "a.pcap", some_frames(2));
    EXPECT_EQ(read_file(dir / "a.pcap"), pcap_bytes(some_frames(2), {.nano = true}));
}

TEST(capture_writer, writes_chained_packets_in_one_piece) {
    temp_dir dir;
    // Two segments made by hand: no EAL here.
    bytes first(100, 'a'), second(50, 'b');
    rte_mbuf tail{}, head{};
    tail.buf_addr = second.data();
    tail.data_len = uint16_t(second.size());
    head.buf_addr = first.data();
    head.data_len = uint16_t(first.size());
    head.pkt_len = uint32_t(first.size() + second.size());
    head.nb_segs = 2;
    head.next = &tail;
    auto w = capture_writer::begin(opened(dir / "a.pcap"));
    ASSERT_TRUE(w);
    EXPECT_TRUE((*w)->write(7, &head));
    EXPECT_EQ((*w)->finish(), "");
    EXPECT_EQ(read_file(dir / "a.pcap"), pcap_bytes({{7, first + second, 0}}, {.nano = true}));
}

TEST(capture_writer, reports_a_full_disk_at_once) {
    auto w = capture_writer::begin(opened("/dev/full"));
    ASSERT_FALSE(w);
    EXPECT_THAT(w.error(), testing::AllOf(HasSubstr("/dev/full"), HasSubstr("No space left")));
    auto ng = pcapng_writer::begin(opened("/dev/full"), {"p0"});
    ASSERT_FALSE(ng);
    EXPECT_THAT(ng.error(), testing::AllOf(HasSubstr("/dev/full"), HasSubstr("No space left")));
}

/// Files may not grow beyond `limit` while it lives.
struct file_size_limit {
    rlimit old{};
    explicit file_size_limit(rlim_t limit) {
        std::signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &old);
        rlimit now{limit, old.rlim_max};
        setrlimit(RLIMIT_FSIZE, &now);
    }
    ~file_size_limit() { setrlimit(RLIMIT_FSIZE, &old); }
};

TEST(capture_writer, reports_when_the_disk_fills_on_the_way) {
    temp_dir dir;
    bytes frame(1000, 'x');
    {
        file_size_limit limit(20'000);
        auto w = capture_writer::begin(opened(dir / "a.pcap"));
        ASSERT_TRUE(w) << w.error();
        int written = 0;
        while (written < 1000 && (*w)->write(1, raw(frame), uint32_t(frame.size())))
            ++written;
        EXPECT_LT(written, 1000);
        EXPECT_FALSE((*w)->write(1, raw(frame), uint32_t(frame.size())));
        EXPECT_THAT((*w)->finish(), HasSubstr("a.pcap"));
    }
    {
        file_size_limit limit(20'000);
        auto w = pcapng_writer::begin(opened(dir / "b.pcapng"), {"p0"});
        ASSERT_TRUE(w) << w.error();
        int written = 0;
        while (written < 1000 && (*w)->packet(0, 1, raw(frame), 1000, 1000, "X"))
            ++written;
        EXPECT_LT(written, 1000);
        EXPECT_THAT((*w)->finish(), HasSubstr("b.pcapng"));
    }
}

TEST(capture_writer, reports_what_fails_only_at_the_end) {
    temp_dir dir;
    file_size_limit limit(100); // the header fits, the buffered frames do not
    bytes frame(200, 'x');
    auto w = capture_writer::begin(opened(dir / "a.pcap"));
    ASSERT_TRUE(w) << w.error();
    (*w)->write(1, raw(frame), uint32_t(frame.size()));
    EXPECT_THAT((*w)->finish(), HasSubstr("a.pcap"));
}

// --- pcapng
// ---------------------------------------------------------------------------------------

struct commented {
    unsigned interface;
    test_frame frame;
    std::string comment;
};

std::vector<commented> commented_frames() {
    std::vector<commented> all;
    for (unsigned i = 0; i < 9; ++i) {
        commented& c = all.emplace_back();
        c.interface = i % 2;
        c.frame.ts_ns = 1'600'000'000'000'000'001 + i;
        c.frame.data.assign(60 + i, 'q');
        c.comment = std::string("REASON_NUMBER_").substr(0, 6 + i) + std::to_string(i);
    }
    return all;
}

void write_commented(const std::string& path) {
    auto w = pcapng_writer::begin(opened(path), {"p0", "wan1"});
    ASSERT_TRUE(w) << w.error();
    for (const commented& c : commented_frames()) {
        auto len = uint32_t(c.frame.data.size());
        EXPECT_TRUE(
            (*w)->packet(c.interface, c.frame.ts_ns, raw(c.frame.data), len, len, c.comment));
    }
    EXPECT_EQ((*w)->packets(), 9u);
    EXPECT_EQ((*w)->finish(), "");
}

TEST(pcapng_writer, libpcap_reads_frames_and_times_back) {
    temp_dir dir;
    write_commented(dir / "a.pcapng");
    auto reader = capture_reader::open(dir / "a.pcapng");
    ASSERT_TRUE(reader) << reader.error();
    captured_frame f;
    for (const commented& c : commented_frames()) {
        ASSERT_EQ((*reader)->next(f), capture_status::FRAME);
        EXPECT_EQ(f.ts_ns, c.frame.ts_ns);
        EXPECT_EQ(bytes(reinterpret_cast<const char*>(f.data), f.caplen), c.frame.data);
    }
    EXPECT_EQ((*reader)->next(f), capture_status::END) << (*reader)->error();
}

TEST(pcapng_writer, tshark_shows_comments_interfaces_and_nanoseconds) {
    if (!have_tshark())
        GTEST_SKIP() << "no tshark";
    temp_dir dir;
    write_commented(dir / "a.pcapng");
    std::string want;
    for (const commented& c : commented_frames())
        want += c.comment + "\t" + (c.interface ? "wan1" : "p0") + "\t1600000000.00000000" +
                std::to_string(c.frame.ts_ns % 10) + "\n";
    EXPECT_EQ(output_of("tshark -n -r " + (dir / "a.pcapng") +
                        " -T fields -e frame.comment -e frame.interface_name -e frame.time_epoch"),
              want);
}

// --- output_file
// ----------------------------------------------------------------------------------

TEST(output_file, leaves_an_older_file_alone_until_it_begins) {
    temp_dir dir;
    write_file(dir / "old", "what was there");
    { auto file = opened(dir / "old"); }
    EXPECT_EQ(read_file(dir / "old"), "what was there");
    {
        auto file = opened(dir / "old");
        FILE* stream = file->begin();
        std::fputs("new", stream);
        std::fclose(stream);
        EXPECT_EQ(file->finish(), "");
    }
    EXPECT_EQ(read_file(dir / "old"), "new");
}

TEST(output_file, takes_a_file_away_that_it_made_and_never_began) {
    temp_dir dir;
    { auto file = opened(dir / "fresh"); }
    EXPECT_FALSE(std::filesystem::exists(dir / "fresh"));
}

TEST(output_file, names_the_file_and_the_reason) {
    temp_dir dir;
    auto file = output_file::open(dir / "no/such/folder/out.pcap");
    ASSERT_FALSE(file);
    EXPECT_THAT(file.error(), testing::AllOf(HasSubstr("out.pcap"), HasSubstr("No such file")));
    auto folder = output_file::open(dir / "");
    ASSERT_FALSE(folder);
    EXPECT_THAT(folder.error(), HasSubstr("directory"));
}

TEST(output_file, knows_the_same_file_by_another_name) {
    temp_dir dir;
    auto a = opened(dir / "a"), b = opened(dir / "b");
    EXPECT_FALSE(a->same_file(*b));
    EXPECT_TRUE(a->same_file(*opened(dir / "./a")));
    std::filesystem::create_symlink(dir / "a", dir / "link");
    EXPECT_TRUE(a->same_file(*opened(dir / "link")));
    EXPECT_FALSE(opened("/dev/null")->same_file(*opened("/dev/null"))) << "devices may be shared";
}

} // namespace
} // namespace slabfwd
