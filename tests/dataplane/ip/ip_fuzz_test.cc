// SPDX-License-Identifier: BSD-3-Clause
//
// Any bytes as packets: nothing crashes (run it under the sanitizers), every packet is accounted
// for.
#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>
#include <random>

#include "tests/dataplane/ip/fuzz_one.h"
#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {
namespace {

using rng_t = std::mt19937_64;

/// A sound packet of a random kind, to be damaged afterwards.
bytes seed_packet(rng_t& rng) {
    const char* addresses[] = {"10.0.0.1",   "10.0.1.1",        "10.0.0.2",   "10.0.1.3",
                               "10.0.0.255", "255.255.255.255", "224.0.0.1",  "127.0.0.1",
                               "0.0.0.0",    "192.168.1.1",     "172.16.1.1", "10.0.1.77"};
    ip_spec s;
    s.src = ip(addresses[rng() % (rng() % 3 ? 4 : std::size(addresses))]);
    s.dst = ip(addresses[rng() % std::size(addresses)]);
    s.ttl = rng() % 4 ? 64 : uint8_t(rng() % 3);
    s.tos = uint8_t(rng());
    s.id = uint16_t(rng() % 8);
    if (rng() % 3 == 0)
        s.frag_off = uint16_t(rng() % 3 ? (rng() % 6) | (rng() % 2 ? IP_MF : 0) : rng());
    if (rng() % 3 == 0) {
        static const bytes kinds[] = {{7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0},
                                      {68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0},
                                      {68, 8, 5, 0, 0, 0, 0, 0},
                                      {131, 11, 4, 10, 0, 1, 2, 10, 0, 1, 3},
                                      {137, 7, 4, 10, 0, 1, 1},
                                      {148, 4, 0, 0},
                                      {130, 3, 0},
                                      {134, 8, 0, 0, 0, 1, 0, 0}};
        for (unsigned i = 0; i < 1 + rng() % 2; ++i)
            s.options = s.options + kinds[rng() % std::size(kinds)];
    }
    bytes data = pattern(unsigned(rng() % (rng() % 4 ? 64 : 1400)), unsigned(rng() % 256));
    switch (rng() % 6) {
    case 0:
        s.proto = 1;
        s.payload = icmp_message(uint8_t(rng() % 20), uint8_t(rng() % 6), uint32_t(rng()), data);
        break;
    case 1: {
        ip_spec inner{.src = ip("10.0.0.1"), .dst = s.src, .proto = uint8_t(rng() % 2 ? 1 : 17)};
        inner.payload = icmp_message(uint8_t(rng() % 2 * 8), 0, 1, pattern(20));
        s.proto = 1;
        s.payload = icmp_message(uint8_t(3 + rng() % 3), uint8_t(rng() % 6), uint32_t(rng() % 1500),
                                 ip_packet(inner));
        break;
    }
    case 2:
        s.payload = udp_datagram(s, 1, 2, data);
        break;
    case 3:
        s.proto = 6;
        s.payload = tcp_segment(s, uint8_t(rng()), uint32_t(rng()), uint32_t(rng()),
                                rng() % 2 ? bytes{} : bytes{2, 4, 1, 1, 1, 1, 19, 2}, data);
        break;
    default:
        s.proto = uint8_t(rng());
        s.payload = data;
    }
    return ip_packet(s);
}

/// Damages a packet, half of the time so that its header checksum stays right.
void mutate(bytes& p, rng_t& rng) {
    for (unsigned n = unsigned(rng() % 4); n; --n) {
        if (p.empty())
            return;
        size_t at = rng() % (rng() % 2 ? p.size() : std::min<size_t>(p.size(), 60));
        switch (rng() % 4) {
        case 0:
            p[at] ^= uint8_t(1u << (rng() % 8));
            break;
        case 1:
            p[at] = uint8_t(rng());
            break;
        case 2:
            p.resize(rng() % (p.size() + 1));
            break;
        default:
            p.insert(p.begin() + long(at), uint8_t(rng()));
        }
    }
    if (rng() % 2 && p.size() >= 60 && (p[0] & 15) >= 5)
        fix_checksum(p);
}

struct IpFuzz : ::testing::Test {
    ~IpFuzz() override {
        heap_skbs_fail(0, 0);
        fuzz_end();
    }
};

/// Seconds of fuzzing: SLABFWD_FUZZ_SECONDS; without it a fixed number of rounds.
TEST_F(IpFuzz, MutatedPacketsNeverCrashAndAlwaysBalance) {
    rng_t rng(20261);
    const char* seconds = getenv("SLABFWD_FUZZ_SECONDS");
    const time_t end = seconds ? time(nullptr) + atoi(seconds) : 0;
    uint64_t frames = 0;
    for (unsigned round = 0; end ? time(nullptr) < end : round < 4000; ++round) {
        bytes input;
        for (unsigned i = 0; i < 8; ++i) {
            bytes p = seed_packet(rng);
            mutate(p, rng);
            input = input + bytes{uint8_t(p.size()), uint8_t(p.size() >> 8), uint8_t(rng())} + p;
        }
        frames += fuzz_one(input.data(), input.size());
    }
    EXPECT_GT(frames, 1000u);
}

TEST_F(IpFuzz, PureNoise) {
    rng_t rng(4);
    for (unsigned round = 0; round < 2000; ++round) {
        bytes input(rng() % 600);
        for (uint8_t& b : input)
            b = uint8_t(rng());
        fuzz_one(input.data(), input.size());
    }
}

TEST_F(IpFuzz, WithoutMemoryNowAndThen) {
    rng_t rng(5);
    for (unsigned round = 0; round < 1500; ++round) {
        bytes p = seed_packet(rng);
        mutate(p, rng);
        bytes input = bytes{uint8_t(p.size()), uint8_t(p.size() >> 8), uint8_t(rng())} + p;
        heap_skbs_fail(int(rng() % 3), 1);
        fuzz_one(input.data(), input.size());
        heap_skbs_fail(0, 0);
    }
}

} // namespace
} // namespace slabfwd::test
