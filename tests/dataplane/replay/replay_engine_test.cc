// SPDX-License-Identifier: BSD-3-Clause
//
// The engine over a real router (EAL without hugepages): forwarding, the clock and its timers,
// simulated hosts, drops, and the balance at the end of every test.
#include "dataplane/replay/replay_engine.h"

#include <gmock/gmock.h>
#include <rte_mempool.h>

#include "dataplane/control/control.h"
#include "dataplane/replay/arp_hosts.h"
#include "dataplane/replay/player.h"
#include "tests/dataplane/replay/frames.h"

namespace slabfwd {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr uint64_t SEC = 1'000'000'000;
constexpr uint64_t T0 = 1'700'000'000 * SEC;

constexpr char TWO_PORTS[] = "ip link set dev p0 up\n"
                             "ip link set dev p1 up\n"
                             "ip addr add 10.0.0.1/24 dev p0\n"
                             "ip addr add 10.0.1.1/24 dev p1\n"
                             "sysctl -w net.ipv4.ip_forward=1\n";

struct rig_options {
    std::string config = TWO_PORTS;
    bool arp_answer = true, keep_mac = false;
    uint64_t seed = 1;
};

/// A router of two ring ports with an engine whose outputs are files of a temporary folder.
class rig {
public:
    explicit rig(const rig_options& o = {}) {
        auto made = router_create({.seed = o.seed, .clock_start_ns = T0});
        EXPECT_TRUE(made) << made.error();
        r = std::move(*made);
        for (const char* name : {"p0", "p1"}) {
            auto p = router_add_ring_port(*r, name, 4096);
            EXPECT_TRUE(p) << p.error();
            (*p)->keep_mac = o.keep_mac;
        }
        auto loaded = control_load_file(*r, write_file(dir / "config", o.config));
        EXPECT_TRUE(loaded) << loaded.error();
        replay_sinks sinks;
        sinks.arp_answer = o.arp_answer;
        for (const char* name : {"p0", "p1"}) {
            writers.push_back(
                std::move(*capture_writer::begin(std::move(*output_file::open(dir / name)))));
            sinks.out.push_back(writers.back().get());
        }
        drops = std::move(
            *pcapng_writer::begin(std::move(*output_file::open(dir / "drops")), {"p0", "p1"}));
        sinks.drops = drops.get();
        engine = std::make_unique<replay_engine>(*r, sinks);
    }
    ~rig() {
        if (r)
            end();
    }

    bool send(unsigned port, uint64_t at, const bytes& data, uint32_t len = 0) {
        captured_frame f{at, uint32_t(data.size()), len ? len : uint32_t(data.size()),
                         reinterpret_cast<const uint8_t*>(data.data()), 0};
        return engine->frame(port, f);
    }

    /// Lets everything run out, checks that nothing is lost or left, and sums up.
    const router_summary& end() {
        EXPECT_TRUE(engine->finish());
        EXPECT_EQ(engine->error(), "");
        s = collect_summary(*r);
        engine->exclude_simulated(s);
        std::string why;
        EXPECT_TRUE(balanced(s, &why)) << why;
        EXPECT_EQ(s.held, 0u);
        EXPECT_EQ(rte_mempool_in_use_count(pktmbuf_pool()), 0u);
        EXPECT_EQ(drops->packets(), s.dropped());
        ended_at = engine->now_ns();
        engine.reset();
        for (auto& w : writers)
            EXPECT_EQ(w->finish(), "");
        EXPECT_EQ(drops->finish(), "");
        EXPECT_EQ(router_destroy(std::move(r)), "");
        summary_after_stop(s);
        for (const slab_summary& c : s.slab)
            EXPECT_EQ(c.left, 0u) << c.name;
        return s;
    }

    std::vector<test_frame> frames_of(const std::string& name) const {
        std::vector<test_frame> frames;
        auto reader = capture_reader::open(dir / name);
        EXPECT_TRUE(reader) << reader.error();
        captured_frame f;
        while ((*reader)->next(f) == capture_status::FRAME)
            frames.push_back(
                {f.ts_ns, bytes(reinterpret_cast<const char*>(f.data), f.caplen), f.len});
        return frames;
    }

    temp_dir dir;
    std::unique_ptr<router> r;
    std::vector<std::unique_ptr<capture_writer>> writers;
    std::unique_ptr<pcapng_writer> drops;
    std::unique_ptr<replay_engine> engine;
    router_summary s;
    uint64_t ended_at = 0;
};

// --- forwarding
// -----------------------------------------------------------------------------------

TEST(replay_engine, forwards_a_frame_to_a_simulated_host_at_its_time) {
    rig x;
    ASSERT_TRUE(x.send(0, T0 + 5, udp_frame()));
    auto& s = x.end();
    auto out = x.frames_of("p1");
    ASSERT_EQ(out.size(), 2u);
    EXPECT_EQ(arp_asked_for(out[0].data), ip("10.0.1.2"));
    EXPECT_EQ(out[0].ts_ns, T0 + 5);
    EXPECT_EQ(out[1].ts_ns, T0 + 5) << "the answer takes no time";
    EXPECT_EQ(out[1].data.substr(0, 14),
              bytes("\x02\x00\x0a\x00\x01\x02\x02\0\0\0\0\x01\x08\x00", 14));
    EXPECT_EQ(out[1].data.substr(34), udp_frame().substr(34));
    EXPECT_EQ(ip_header_of(out[1].data).ttl, 63);
    EXPECT_EQ(x.frames_of("p0").size(), 0u);

    ASSERT_EQ(s.ports.size(), 2u);
    EXPECT_EQ(s.ports[0].name, "p0");
    EXPECT_EQ(s.ports[0].rx_packets, 1u);
    EXPECT_EQ(s.ports[0].rx_bytes, udp_frame().size());
    EXPECT_EQ(s.ports[1].rx_packets, 0u) << "answers of simulated hosts are not received frames";
    EXPECT_EQ(s.ports[1].tx_packets, 2u);
    EXPECT_EQ(s.originated, 1u);
    EXPECT_EQ(s.delivered, 0u);
    EXPECT_EQ(s.dropped(), 0u);
    EXPECT_EQ(s.route_cache.misses, 1u);
}

TEST(replay_engine, a_burst_of_one_time_keeps_its_order) {
    rig x;
    for (uint16_t i = 0; i < 100; ++i)
        ASSERT_TRUE(x.send(0, T0, udp_frame({.id = i})));
    auto& s = x.end();
    auto out = x.frames_of("p1");
    ASSERT_EQ(out.size(), 101u);
    uint16_t next = 0;
    for (const test_frame& f : out)
        if (ether_type(f.data) == ETH_P_IP) {
            EXPECT_EQ(be16_to_cpu(ip_header_of(f.data).id), next++);
        }
    EXPECT_EQ(s.route_cache.hits + s.route_cache.misses, 100u);
}

TEST(replay_engine, time_never_runs_back) {
    rig x;
    x.send(0, T0 + SEC, udp_frame({.id = 1}));
    x.send(0, T0, udp_frame({.id = 2}));
    x.send(0, T0 + 2 * SEC, udp_frame({.id = 3}));
    x.end();
    std::vector<uint64_t> times;
    for (const test_frame& f : x.frames_of("p1"))
        if (ether_type(f.data) == ETH_P_IP)
            times.push_back(f.ts_ns - T0);
    EXPECT_THAT(times, ElementsAre(SEC, SEC, 2 * SEC));
}

TEST(replay_engine, large_frames_are_chained_and_go_through_whole) {
    rig x({.config = std::string(TWO_PORTS) +
                     "ip link set dev p0 mtu 65535\nip link set dev p1 mtu 65535\n"});
    std::vector<unsigned> sizes{2000, 2049, 9000, 60000, 65507};
    for (unsigned size :
         sizes) // a time each: together they are more than a neighbour's queue holds
        ASSERT_TRUE(x.send(0, T0 + size, udp_frame({.payload = size})));
    x.end();
    size_t at = 0;
    for (const test_frame& f : x.frames_of("p1"))
        if (ether_type(f.data) == ETH_P_IP) {
            ASSERT_LT(at, sizes.size());
            EXPECT_TRUE(f.data.substr(34) == udp_frame({.payload = sizes[at]}).substr(34))
                << sizes[at];
            ++at;
        }
    EXPECT_EQ(at, sizes.size());
}

TEST(replay_engine, a_large_frame_is_fragmented_for_a_small_mtu) {
    rig x({.config = std::string(TWO_PORTS) + "ip link set dev p1 mtu 576\n"});
    x.send(0, T0, udp_frame({.payload = 9000}));
    auto& s = x.end();
    EXPECT_EQ(s.fragmented, 1u);
    EXPECT_EQ(s.fragments_created, (9008 + 551) / 552u);
    EXPECT_EQ(x.frames_of("p1").size(), 1 + s.fragments_created);
}

TEST(replay_engine, frames_shorter_than_their_headers_are_counted_drops) {
    rig x;
    bytes frame = udp_frame();
    for (size_t len = 0; len < 42; ++len)
        ASSERT_TRUE(x.send(0, T0 + len, frame.substr(0, len), uint32_t(frame.size())));
    EXPECT_EQ(x.engine->cut(), 42u);
    auto& s = x.end();
    EXPECT_EQ(s.rx_packets(), 42u);
    EXPECT_EQ(s.dropped(), 42u);
    EXPECT_EQ(x.frames_of("drops").size(), 42u);
}

TEST(replay_engine, destination_macs_count_as_ours_unless_kept) {
    {
        rig x;
        x.send(0, T0, udp_frame());
        EXPECT_EQ(x.end().ports[1].tx_packets, 2u);
    }
    rig x({.keep_mac = true});
    x.send(0, T0, udp_frame());
    bytes for_us = udp_frame();
    for_us.replace(0, 6, bytes("\x02\0\0\0\0\0", 6));
    x.send(0, T0, for_us);
    auto& s = x.end();
    EXPECT_THAT(s.drops, ElementsAre(Pair("OTHERHOST", 1u)));
    EXPECT_EQ(s.ports[1].tx_packets, 2u);
}

// --- the clock
// ------------------------------------------------------------------------------------

TEST(replay_engine, timers_fire_at_their_own_time_between_frames) {
    rig x({.arp_answer = false});
    x.send(0, T0, udp_frame());
    x.send(0, T0 + 100 * SEC, udp_frame({.id = 2}));
    auto& s = x.end();
    std::vector<uint64_t> asked;
    for (const test_frame& f : x.frames_of("p1"))
        asked.push_back((f.ts_ns - T0 + SEC / 500) / SEC);
    EXPECT_THAT(asked, ElementsAre(0u, 1u, 2u, 100u, 101u, 102u))
        << "three questions, a second apart";
    EXPECT_EQ(s.ports[1].tx_packets, 6u);
    EXPECT_THAT(s.drops, testing::Contains(Pair("NEIGH_FAILED", testing::Ge(2u))));
    EXPECT_GE(x.ended_at, T0 + 103 * SEC);
}

TEST(replay_engine, the_clock_runs_on_until_fragments_have_timed_out) {
    rig x;
    x.send(0, T0, udp_frame({.dst = "10.0.0.1", .payload = 64, .frag_off = IP_MF}));
    EXPECT_EQ(router_held(*x.r), 0u) << "a frame of this time may still be followed by another";
    x.engine->run();
    EXPECT_EQ(router_held(*x.r), 1u);
    auto& s = x.end();
    EXPECT_GE(x.ended_at, T0 + 30 * SEC);
    EXPECT_THAT(s.drops, ElementsAre(Pair("FRAG_REASM_TIMEOUT", 1u)));
    // Time exceeded goes to the sender, who is asked for first.
    auto out = x.frames_of("p0");
    ASSERT_EQ(out.size(), 2u);
    EXPECT_EQ(arp_asked_for(out[0].data), ip("10.0.0.2"));
    EXPECT_EQ(out[1].data[34], char(ICMP_TIME_EXCEEDED));
    EXPECT_GE(out[1].ts_ns, T0 + 30 * SEC);
}

TEST(replay_engine, no_neighbour_has_a_timer_left_at_the_end) {
    rig x;
    x.send(0, T0, udp_frame());
    x.send(0, T0 + 29 * SEC, udp_frame());
    x.end(); // probes, if there were any, were answered and are in the output
    EXPECT_GT(x.ended_at, T0 + 29 * SEC);
}

TEST(replay_engine, a_stamp_far_in_the_future_is_reached_soon) {
    rig x;
    x.send(0, T0, udp_frame());
    x.send(0, T0 + 80ull * 365 * 24 * 3600 * SEC, udp_frame());
    auto& s = x.end();
    EXPECT_EQ(s.rx_packets(), 2u);
    EXPECT_EQ(s.dropped(), 0u);
}

TEST(replay_engine, the_same_frames_give_the_same_bytes) {
    auto play = [](uint64_t seed) {
        rig x({.seed = seed});
        uint32_t random = 12345;
        for (uint16_t i = 0; i < 500; ++i) {
            random = random * 1664525 + 1013904223;
            std::string dst = "10.0.1." + std::to_string(random >> 24);
            x.send(0, T0 + i * 7'000'000ull,
                   udp_frame({.dst = dst.c_str(), .id = i, .ttl = uint8_t(i % 5)}));
            if (i % 9 == 0)
                x.send(1, T0 + i * 7'000'000ull,
                       udp_frame({.src = "10.0.1.9", .dst = "10.0.0.1", .id = i}));
        }
        x.end();
        return read_file(x.dir / "p0") + "|" + read_file(x.dir / "p1") + "|" +
               read_file(x.dir / "drops");
    };
    bytes first = play(7);
    EXPECT_GT(first.size(), 10'000u);
    EXPECT_TRUE(first == play(7)) << "two runs differ";
}

/// The secret of the route cache's hash: the seed's where there is one.
TEST(replay_engine, a_router_without_a_seed_draws_secrets_of_its_own) {
    auto secret = [](uint64_t seed) {
        rig x({.seed = seed});
        return x.r->n->softnet[0]->rt_shard->rt_hash_seed;
    };
    EXPECT_EQ(secret(7), secret(7));
    EXPECT_NE(secret(7), secret(8));
    EXPECT_NE(secret(0), secret(0));
}

// --- drops
// ----------------------------------------------------------------------------------------

TEST(replay_engine, dropped_packets_are_written_with_their_ethernet_header) {
    rig x;
    bytes expired = udp_frame({.dst = "10.9.9.9"}), bad = udp_frame();
    bad[24] = char(bad[24] ^ 1); // the header checksum
    bytes other = udp_frame();
    other[12] = '\x88', other[13] = '\xcc';
    x.send(0, T0, expired);
    x.send(0, T0 + 1, bad);
    x.send(1, T0 + 2, other);
    auto& s = x.end();
    EXPECT_EQ(s.dropped(), 3u);
    auto out = x.frames_of("drops");
    ASSERT_EQ(out.size(), 3u);
    EXPECT_EQ(out[0].data, expired);
    EXPECT_EQ(out[1].data, bad);
    EXPECT_EQ(out[2].data, other);
    EXPECT_EQ(out[2].ts_ns, T0 + 2);
}

// --- simulated hosts
// ------------------------------------------------------------------------------

bytes arp_request(const char* sender, const char* target) {
    bytes out("\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x01\x08\x06", 14);
    arphdr arp{};
    arp.ar_hrd = cpu_to_be16(ARPHRD_ETHER);
    arp.ar_pro = cpu_to_be16(ETH_P_IP);
    arp.ar_hln = 6, arp.ar_pln = 4;
    arp.ar_op = cpu_to_be16(ARPOP_REQUEST);
    std::memcpy(arp.ar_sha, "\x02\0\0\0\0\x01", 6);
    arp.ar_sip = ip(sender);
    arp.ar_tip = ip(target);
    out.append(reinterpret_cast<const char*>(&arp), sizeof arp);
    return out;
}

TEST(arp_hosts, answer_for_addresses_that_a_host_there_can_have) {
    rig x;
    const net_device& p1 = x.r->ports[1]->dev;
    uint8_t reply[ARP_FRAME_LEN];
    auto ask = [&](const char* sender, const char* target) {
        bytes request = arp_request(sender, target);
        return arp_host_answer(
            p1, {reinterpret_cast<const uint8_t*>(request.data()), request.size()}, reply);
    };
    EXPECT_TRUE(ask("10.0.1.1", "10.0.1.7"));
    EXPECT_EQ(bytes(reinterpret_cast<char*>(reply), 42),
              bytes("\x02\0\0\0\0\x01\x02\0\x0a\0\x01\x07\x08\x06\0\x01\x08\0\x06\x04\0\x02"
                    "\x02\0\x0a\0\x01\x07\x0a\0\x01\x07\x02\0\0\0\0\x01\x0a\0\x01\x01",
                    42));
    EXPECT_TRUE(ask("10.0.1.1", "192.0.2.1")) << "off the subnet, but asked for: an on-link route";
    EXPECT_FALSE(ask("10.0.1.1", "10.0.1.1")) << "announcement";
    EXPECT_FALSE(ask("0.0.0.0", "10.0.1.1")) << "own address";
    EXPECT_FALSE(ask("10.0.1.1", "10.0.0.1")) << "own address on another port";
    EXPECT_FALSE(ask("10.0.1.1", "10.0.1.0"));
    EXPECT_FALSE(ask("10.0.1.1", "10.0.1.255"));
    EXPECT_FALSE(ask("10.0.1.1", "255.255.255.255"));
    EXPECT_FALSE(ask("10.0.1.1", "224.0.0.1"));
    EXPECT_FALSE(ask("10.0.1.1", "127.0.0.1"));
    EXPECT_FALSE(ask("10.0.1.1", "0.0.0.0"));
    bytes request = arp_request("10.0.1.1", "10.0.1.7");
    for (size_t len = 0; len < request.size(); ++len)
        EXPECT_FALSE(
            arp_host_answer(p1, {reinterpret_cast<const uint8_t*>(request.data()), len}, reply));
    request[21] = 2; // an answer is not answered
    EXPECT_FALSE(
        arp_host_answer(p1, {reinterpret_cast<const uint8_t*>(request.data()), 42}, reply));
}

TEST(replay_engine, many_neighbours_are_answered_and_none_is_counted) {
    rig x;
    for (unsigned i = 2; i < 255; ++i) {
        std::string dst = "10.0.1." + std::to_string(i);
        x.send(0, T0 + i * 1000, udp_frame({.dst = dst.c_str()}));
    }
    EXPECT_EQ(x.engine->arp_answers(), 252u) << "the last frame is still to be received";
    auto& s = x.end();
    EXPECT_EQ(s.originated, 253u);
    EXPECT_EQ(s.delivered, 0u);
    EXPECT_EQ(s.rx_packets(), 253u);
    EXPECT_EQ(s.dropped(), 0u);
    EXPECT_EQ(s.tx_packets(), 2 * 253u);
}

// --- passes
// ---------------------------------------------------------------------------------------

TEST(player, loops_follow_each_other_at_the_frames_own_distance) {
    rig x;
    std::vector<test_frame> frames;
    for (uint16_t i = 0; i < 5; ++i)
        frames.push_back({T0 + i * 10'000'000ull, udp_frame({.id = i}), 0});
    replay_options o;
    o.ports = {"p0", "p1"};
    o.in = {{0, write_file(x.dir / "in", pcap_bytes(frames, {.nano = true}))}};
    o.loop = 3;
    std::atomic<int> stop{0};
    capture_merge inputs(std::move(*open_inputs(o)));
    EXPECT_THAT(player(o, *x.engine, stop, false).play(inputs, 0), testing::IsEmpty());
    x.end();
    std::vector<uint64_t> times;
    for (const test_frame& f : x.frames_of("p1"))
        if (ether_type(f.data) == ETH_P_IP)
            times.push_back((f.ts_ns - T0) / 10'000'000);
    EXPECT_THAT(times, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14));
}

TEST(player, stops_at_the_limit_over_all_loops_and_when_told) {
    rig x;
    replay_options o;
    o.in = {
        {0, write_file(x.dir / "in", pcap_bytes({{T0, udp_frame(), 0}, {T0, udp_frame(), 0}}))}};
    o.loop = 10;
    o.limit = 5;
    std::atomic<int> stop{0};
    {
        capture_merge inputs(std::move(*open_inputs(o)));
        player(o, *x.engine, stop, false).play(inputs, 0);
        EXPECT_EQ(x.engine->frames(), 5u);
    }
    stop = SIGINT;
    capture_merge inputs(std::move(*open_inputs(o)));
    player(o, *x.engine, stop, false).play(inputs, 0);
    EXPECT_EQ(x.engine->frames(), 5u);
    x.end();
}

} // namespace
} // namespace slabfwd

int main(int argc, char** argv) {
    testing::InitGoogleMock(&argc, argv);
    slabfwd::eal_options eal;
    eal.no_huge = true;
    if (auto started = slabfwd::eal_start(eal); !started) {
        std::fprintf(stderr, "%s\n", started.error().c_str());
        return 1;
    }
    int status = RUN_ALL_TESTS();
    slabfwd::eal_stop();
    return status;
}
