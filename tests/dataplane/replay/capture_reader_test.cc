// SPDX-License-Identifier: BSD-3-Clause
//
// capture_reader and capture_merge: every format, every kind of damage, and the order of merged
// inputs.
#include "dataplane/replay/capture_reader.h"

#include <thread>

#include <gmock/gmock.h>
#include <rapidcheck.h>
#include <sys/stat.h>

#include "tests/dataplane/replay/capture_files.h"

namespace slabfwd {
namespace {

using namespace test;
using testing::HasSubstr;

struct read_result {
    std::vector<test_frame> frames;
    capture_status end;
    std::string error;
};

read_result read_all(const std::string& path) {
    auto reader = capture_reader::open(path);
    EXPECT_TRUE(reader) << reader.error();
    if (!reader)
        return {};
    read_result got;
    captured_frame f;
    while ((got.end = (*reader)->next(f)) == capture_status::FRAME)
        got.frames.push_back(
            {f.ts_ns, bytes(reinterpret_cast<const char*>(f.data), f.caplen), f.len});
    EXPECT_EQ((*reader)->next(f), got.end) << "the end is not the end";
    EXPECT_EQ((*reader)->frames(), got.frames.size());
    got.error = (*reader)->error();
    return got;
}

void expect_frames(const std::vector<test_frame>& got, const std::vector<test_frame>& want,
                   uint64_t unit_ns = 1) {
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
        EXPECT_EQ(got[i].ts_ns, want[i].ts_ns / unit_ns * unit_ns) << "frame " << i;
        EXPECT_EQ(got[i].data, want[i].data) << "frame " << i;
        EXPECT_EQ(got[i].len, want[i].len ? want[i].len : want[i].data.size()) << "frame " << i;
    }
}

std::vector<test_frame> frames_with_nanoseconds() {
    auto frames = some_frames(50);
    for (size_t i = 0; i < frames.size(); ++i)
        frames[i].ts_ns += i * 12'345 + 7;
    return frames;
}

TEST(capture_reader, reads_pcap_of_either_resolution_and_byte_order) {
    temp_dir dir;
    auto want = frames_with_nanoseconds();
    for (bool nano : {false, true})
        for (bool swapped : {false, true}) {
            auto path = write_file(dir / "a.pcap", pcap_bytes(want, {nano, swapped}));
            auto got = read_all(path);
            EXPECT_EQ(got.end, capture_status::END) << got.error;
            expect_frames(got.frames, want, nano ? 1 : 1000);
        }
}

TEST(capture_reader, reads_pcapng_of_either_resolution) {
    temp_dir dir;
    auto want = frames_with_nanoseconds();
    for (uint8_t resolution : {6, 9}) {
        auto got = read_all(write_file(dir / "a.pcapng", pcapng_bytes(want, resolution)));
        EXPECT_EQ(got.end, capture_status::END) << got.error;
        expect_frames(got.frames, want, resolution == 9 ? 1 : 1000);
    }
}

TEST(capture_reader, knows_gzip_by_its_bytes_not_by_the_name) {
    temp_dir dir;
    auto want = frames_with_nanoseconds();
    auto got = read_all(write_file(dir / "a.pcap", gzip_bytes(pcap_bytes(want, {.nano = true}))));
    EXPECT_EQ(got.end, capture_status::END) << got.error;
    expect_frames(got.frames, want);
    got = read_all(write_file(dir / "b.gz", pcap_bytes(want, {.nano = true})));
    EXPECT_EQ(got.end, capture_status::END) << got.error;
    expect_frames(got.frames, want);
    got = read_all(write_file(dir / "c", gzip_bytes(pcapng_bytes(want, 9))));
    EXPECT_EQ(got.end, capture_status::END) << got.error;
    expect_frames(got.frames, want);
}

TEST(capture_reader, gives_frames_cut_by_the_snap_length_as_they_are) {
    temp_dir dir;
    std::vector<test_frame> want{
        {5, bytes(96, 'x'), 1514}, {6, bytes(), 60}, {7, bytes(10, 'y'), 0}};
    auto got = read_all(write_file(dir / "a.pcap", pcap_bytes(want, {.nano = true})));
    EXPECT_EQ(got.end, capture_status::END) << got.error;
    expect_frames(got.frames, want);
}

TEST(capture_reader, takes_seconds_beyond_2038) {
    temp_dir dir;
    std::vector<test_frame> want{{4'000'000'000ull * 1'000'000'000, bytes(60, 'x'), 0}};
    auto got = read_all(write_file(dir / "a.pcap", pcap_bytes(want, {.nano = true})));
    expect_frames(got.frames, want);
}

TEST(capture_reader, reads_a_pipe) {
    temp_dir dir;
    auto want = some_frames(2000);
    std::string fifo = dir / "fifo";
    ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
    std::thread writer([&] { write_file(fifo, gzip_bytes(pcap_bytes(want))); });
    auto got = read_all(fifo);
    writer.join();
    EXPECT_EQ(got.end, capture_status::END) << got.error;
    expect_frames(got.frames, want);
}

// --- what is refused
// ------------------------------------------------------------------------------

std::string refused(const std::string& path) {
    auto reader = capture_reader::open(path);
    EXPECT_FALSE(reader) << path << " was opened";
    return reader ? "" : reader.error();
}

TEST(capture_reader, names_the_file_and_the_reason_when_it_cannot_open) {
    temp_dir dir;
    EXPECT_THAT(refused(dir / "gone.pcap"),
                testing::AllOf(HasSubstr("gone.pcap"), HasSubstr("No such file")));
    EXPECT_THAT(refused(dir / ""), HasSubstr("directory"));
    EXPECT_THAT(refused(write_file(dir / "empty.pcap", "")), HasSubstr("empty.pcap"));
    EXPECT_THAT(refused(write_file(dir / "text.pcap", "ip link set dev p0 up\nand more of it\n")),
                HasSubstr("text.pcap"));
    EXPECT_THAT(refused(write_file(dir / "short.pcap", pcap_bytes({}).substr(0, 11))),
                HasSubstr("short.pcap"));
    EXPECT_THAT(refused(write_file(dir / "cut.gz", gzip_bytes(pcap_bytes({})).substr(0, 14))),
                HasSubstr("cut.gz"));
}

TEST(capture_reader, refuses_other_link_types_by_name) {
    temp_dir dir;
    auto cooked = write_file(dir / "any.pcap", pcap_bytes(some_frames(3), {.linktype = 113}));
    EXPECT_THAT(refused(cooked),
                testing::AllOf(HasSubstr("any.pcap"), HasSubstr("LINUX_SLL"), HasSubstr("EN10MB")));
}

// --- damage
// ---------------------------------------------------------------------------------------

TEST(capture_reader, gives_a_cut_file_up_to_the_cut) {
    temp_dir dir;
    auto frames = some_frames(20);
    bytes whole = pcap_bytes(frames);
    size_t ends[21] = {24};
    for (size_t i = 0; i < 20; ++i)
        ends[i + 1] = ends[i] + 16 + frames[i].data.size();
    ASSERT_EQ(ends[20], whole.size());
    for (size_t keep = 24; keep <= whole.size(); ++keep) {
        auto got = read_all(write_file(dir / "cut.pcap", whole.substr(0, keep)));
        auto complete = size_t(std::upper_bound(ends, ends + 21, keep) - ends - 1);
        EXPECT_EQ(got.frames.size(), complete) << "cut at " << keep;
        bool at_edge = ends[complete] == keep;
        EXPECT_EQ(got.end, at_edge ? capture_status::END : capture_status::DAMAGED);
        if (!at_edge) {
            EXPECT_THAT(got.error,
                        testing::AllOf(HasSubstr("cut.pcap"),
                                       HasSubstr("after frame " + std::to_string(complete))));
        }
    }
}

TEST(capture_reader, sees_that_a_gzip_stream_ends_too_early_wherever_it_does) {
    temp_dir dir;
    auto frames = some_frames(300);
    bytes packed = gzip_bytes(pcap_bytes(frames));
    size_t most = 0;
    for (size_t keep = packed.size() / 2; keep < packed.size(); ++keep) {
        auto reader = capture_reader::open(write_file(dir / "cut.gz", packed.substr(0, keep)));
        if (!reader)
            continue; // the compressor had said nothing yet
        captured_frame f;
        capture_status end;
        while ((end = (*reader)->next(f)) == capture_status::FRAME)
            EXPECT_EQ(f.ts_ns, frames[(*reader)->frames() - 1].ts_ns);
        EXPECT_EQ(end, capture_status::DAMAGED) << "cut at " << keep;
        EXPECT_THAT((*reader)->error(), HasSubstr("cut.gz"));
        most = std::max<size_t>(most, (*reader)->frames());
    }
    EXPECT_EQ(most, frames.size()) << "only the gzip trailer was missing, all frames are there";
}

TEST(capture_reader, reads_gzip_members_as_one_stream_and_ignores_what_follows) {
    temp_dir dir;
    auto want = some_frames(3000);
    bytes whole = pcap_bytes(want, {.nano = true});
    bytes packed;
    for (size_t at = 0; at < whole.size(); at += 777)
        packed += gzip_bytes(whole.substr(at, 777));
    for (const bytes& tail : {bytes(), bytes("\x1f"), bytes(5, '\0'), bytes("garbage")}) {
        auto got = read_all(write_file(dir / "a.gz", packed + tail));
        EXPECT_EQ(got.end, capture_status::END) << got.error;
        expect_frames(got.frames, want);
    }
}

TEST(capture_reader, gives_all_frames_before_a_damage_in_the_compressed_data) {
    temp_dir dir;
    std::vector<test_frame> frames = some_frames(2000);
    uint32_t x = 1;
    for (test_frame& f : frames)
        for (char& c : f.data)
            c = char((x = x * 1664525 + 1013904223) >>
                     24); // does not compress: bytes keep their place
    bytes packed = gzip_bytes(pcap_bytes(frames));
    size_t at = packed.size() / 2;
    packed.replace(at, 64, bytes(64, '\xff'));
    auto got = read_all(write_file(dir / "bad.gz", packed));
    EXPECT_EQ(got.end, capture_status::DAMAGED);
    EXPECT_THAT(got.error, HasSubstr("bad.gz"));
    EXPECT_GT(got.frames.size(), 900u) << "half of the file is good";
    EXPECT_LE(got.frames.size(), 2000u);
}

TEST(capture_reader, sees_a_wrong_gzip_checksum) {
    temp_dir dir;
    bytes packed = gzip_bytes(pcap_bytes(some_frames(30)));
    packed[packed.size() - 6] = char(packed[packed.size() - 6] ^ 0xff);
    auto got = read_all(write_file(dir / "bad.gz", packed));
    EXPECT_EQ(got.end, capture_status::DAMAGED);
    EXPECT_EQ(got.frames.size(), 30u) << "all that could be inflated is there";
    EXPECT_THAT(got.error, HasSubstr("bad.gz"));
}

TEST(capture_reader, stops_at_an_impossible_length) {
    temp_dir dir;
    auto frames = some_frames(5);
    bytes data = pcap_bytes(frames);
    size_t at = 24;
    for (int i = 0; i < 3; ++i)
        at += 16 + frames[size_t(i)].data.size();
    data.replace(at + 8, 8, bytes("\xff\xff\xff\x7f\xff\xff\xff\x7f", 8));
    auto got = read_all(write_file(dir / "length.pcap", data));
    EXPECT_EQ(got.frames.size(), 3u);
    EXPECT_EQ(got.end, capture_status::DAMAGED);
}

// Whatever the bytes: frames or an error, never a crash or a hang.
TEST(capture_reader, survives_any_bytes) {
    temp_dir dir;
    bytes good = pcapng_bytes(some_frames(20), 6);
    rc::check("random damage", [&] {
        bytes data = good;
        for (int i = 0, n = *rc::gen::inRange(1, 8); i < n; ++i)
            data[*rc::gen::inRange<size_t>(0, data.size())] = *rc::gen::arbitrary<char>();
        auto reader = capture_reader::open(write_file(dir / "fuzz", data));
        if (!reader)
            return;
        captured_frame f;
        size_t n = 0;
        while ((*reader)->next(f) == capture_status::FRAME)
            RC_ASSERT(++n <= 1000u);
    });
}

TEST(capture_reader, consumes_all_bytes_of_the_file) {
    temp_dir dir;
    bytes packed = gzip_bytes(pcap_bytes(some_frames(20000)));
    auto reader = capture_reader::open(write_file(dir / "a.gz", packed));
    ASSERT_TRUE(reader);
    EXPECT_EQ((*reader)->bytes_total(), packed.size());
    EXPECT_TRUE((*reader)->reopenable());
    captured_frame f;
    uint64_t last = 0;
    while ((*reader)->next(f) == capture_status::FRAME) {
        EXPECT_GE((*reader)->bytes_consumed(), last);
        last = (*reader)->bytes_consumed();
    }
    EXPECT_EQ(last, packed.size());
}

// --- merging
// --------------------------------------------------------------------------------------

capture_merge merge_of(const temp_dir& dir, const std::vector<std::vector<test_frame>>& inputs) {
    std::vector<std::unique_ptr<capture_reader>> readers;
    for (size_t i = 0; i < inputs.size(); ++i) {
        auto path = write_file(dir / std::to_string(i), pcap_bytes(inputs[i], {.nano = true}));
        readers.push_back(std::move(*capture_reader::open(path)));
    }
    return capture_merge(std::move(readers));
}

// Against the simple model: a stable sort by time of the inputs one behind the other.
TEST(capture_merge, orders_by_time_and_ties_as_given) {
    temp_dir dir;
    rc::check("merge equals a stable sort", [&] {
        std::vector<std::vector<test_frame>> inputs(*rc::gen::inRange<size_t>(1, 5));
        std::vector<std::pair<uint64_t, bytes>> want;
        for (size_t i = 0; i < inputs.size(); ++i) {
            uint64_t at = 1000;
            for (int k = 0, n = *rc::gen::inRange(0, 12); k < n; ++k) {
                at += *rc::gen::inRange<uint64_t>(0, 3);
                bytes data = "frame " + std::to_string(k) + " of " + std::to_string(i);
                inputs[i].push_back({at, data, 0});
                want.emplace_back(at, data);
            }
        }
        std::stable_sort(want.begin(), want.end(),
                         [](auto& a, auto& b) { return a.first < b.first; });
        auto merged = merge_of(dir, inputs);
        captured_frame f;
        for (const auto& [at, data] : want) {
            RC_ASSERT(merged.peek() && merged.peek()->ts_ns == at);
            RC_ASSERT(merged.next(f) == capture_status::FRAME);
            RC_ASSERT(f.ts_ns == at);
            RC_ASSERT(bytes(reinterpret_cast<const char*>(f.data), f.caplen) == data);
        }
        RC_ASSERT(merged.next(f) == capture_status::END);
        RC_ASSERT(!merged.peek());
    });
}

TEST(capture_merge, goes_on_with_the_others_after_damage) {
    temp_dir dir;
    auto a = some_frames(10, 1000), b = some_frames(10, 500);
    auto cut = pcap_bytes(a, {.nano = true});
    cut.resize(cut.size() - 5);
    std::vector<std::unique_ptr<capture_reader>> readers;
    readers.push_back(std::move(*capture_reader::open(write_file(dir / "cut.pcap", cut))));
    readers.push_back(std::move(
        *capture_reader::open(write_file(dir / "b.pcap", pcap_bytes(b, {.nano = true})))));
    capture_merge merged(std::move(readers));
    captured_frame f;
    unsigned n[2] = {};
    while (merged.next(f) == capture_status::FRAME)
        ++n[f.input];
    EXPECT_EQ(n[0], 9u);
    EXPECT_EQ(n[1], 10u);
    ASSERT_EQ(merged.damages().size(), 1u);
    EXPECT_THAT(merged.damages()[0], HasSubstr("cut.pcap"));
}

// --- captures that nobody here made
// ---------------------------------------------------------------

/// Complete records of a classic little-endian pcap, and whether something incomplete follows: by
/// walking.
std::pair<size_t, bool> count_records(bytes data) {
    if (data.compare(0, 2, "\x1f\x8b") == 0) {
        bytes out(64u << 20, '\0');
        z_stream z{};
        inflateInit2(&z, 15 + 16);
        z.next_in = reinterpret_cast<Bytef*>(data.data());
        z.avail_in = uInt(data.size());
        z.next_out = reinterpret_cast<Bytef*>(out.data());
        z.avail_out = uInt(out.size());
        EXPECT_EQ(inflate(&z, Z_FINISH), Z_STREAM_END);
        out.resize(z.total_out);
        inflateEnd(&z);
        data = out;
    }
    size_t n = 0;
    size_t at = 24;
    for (; at + 16 <= data.size(); ++n) {
        uint32_t caplen;
        std::memcpy(&caplen, data.data() + at + 8, 4);
        if (at + 16 + caplen > data.size())
            break;
        at += 16 + caplen;
    }
    return {n, at != data.size()};
}

TEST(capture_reader, reads_every_real_capture_completely) {
    const char* shared = std::getenv("SLABFWD_SHARED");
    if (!shared)
        GTEST_SKIP() << "SLABFWD_SHARED is not set";
    size_t files = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator(std::string(shared) + "/data/pcaps")) {
        auto got = read_all(entry.path());
        auto [records, cut] = count_records(read_file(entry.path()));
        EXPECT_EQ(got.end, cut ? capture_status::DAMAGED : capture_status::END) << got.error;
        EXPECT_EQ(got.frames.size(), records) << entry.path();
        EXPECT_GT(got.frames.size(), 0u) << entry.path();
        ++files;
    }
    EXPECT_GE(files, 20u);
}

TEST(capture_reader, reads_every_capture_of_the_project) {
    for (const auto& entry : std::filesystem::directory_iterator(SLABFWD_SOURCE_DIR "/pcaps"))
        if (entry.path().string().find(".pcap") != std::string::npos) {
            auto got = read_all(entry.path());
            EXPECT_EQ(got.end, capture_status::END) << got.error;
            EXPECT_GT(got.frames.size(), 0u) << entry.path();
        }
}

} // namespace
} // namespace slabfwd
