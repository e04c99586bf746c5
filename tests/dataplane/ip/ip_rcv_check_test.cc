// SPDX-License-Identifier: BSD-3-Clause
//
// Every version of the header check gives the bits of the plain one, and the plain one those of the
// rule: right frames, frames with any bit turned over, and random bytes, in bursts of every length.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "dataplane/ip/ip_rcv_check.h"

namespace slabfwd::test {
namespace {

constexpr size_t FRAME = ETH_HLEN + sizeof(iphdr);
constexpr uint8_t OUR_MAC[] = {2, 0, 0, 0, 0, 1};

rcv_address ours() {
    rcv_address a{0, 0x0000ffffffffffff};
    std::memcpy(&a.mac, OUR_MAC, sizeof OUR_MAC);
    return a;
}
constexpr rcv_address ANY_UNICAST{0, 1};

/// Frames that end where their memory does, so that a sanitizer sees a read beyond the header.
struct burst {
    std::vector<std::vector<uint8_t>> frames;
    std::vector<const iphdr*> iph;
    std::vector<uint32_t> len;

    rcv_verdict by(ip_rcv_check_t* check, rcv_address to) const {
        return check(iph.data(), len.data(), unsigned(iph.size()), to);
    }

    void add(std::mt19937& rng) {
        std::vector<uint8_t> f(FRAME);
        for (uint8_t& byte : f)
            byte = uint8_t(rng());
        std::memcpy(f.data(), OUR_MAC, sizeof OUR_MAC);
        f[12] = 0x08;
        f[13] = 0x00;
        f[14] = 0x45;
        f[15] &= uint8_t(~INET_ECN_MASK);
        ip_send_check(reinterpret_cast<iphdr*>(f.data() + ETH_HLEN));
        len.push_back(uint32_t(f[16] << 8 | f[17]));
        frames.push_back(std::move(f));
        iph.push_back(reinterpret_cast<const iphdr*>(frames.back().data() + ETH_HLEN));
    }
};

TEST(ip_rcv_check, plain_frames_pass_in_bursts_of_every_length) {
    std::mt19937 rng(1);
    burst b;
    for (unsigned n = 1; n <= 32; ++n) {
        b.add(rng);
        for (const auto& version : ip_rcv_check_versions())
            EXPECT_EQ(b.by(version.check, ours()), rcv_verdict{})
                << version.name << ", " << n << " frames";
    }
}

TEST(ip_rcv_check, a_bit_turned_over_in_what_is_checked_is_seen_at_every_place) {
    std::mt19937 rng(2);
    burst b;
    for (unsigned i = 0; i < 32; ++i)
        b.add(rng);
    for (unsigned i = 0; i < 32; ++i)
        for (size_t bit = 0; bit < FRAME * 8; ++bit) {
            const size_t byte = bit / 8;
            const bool checked = byte < 6 || byte >= 12; // the source address is nobody's business
            b.frames[i][byte] ^= uint8_t(1 << bit % 8);
            for (const auto& version : ip_rcv_check_versions())
                EXPECT_EQ(b.by(version.check, ours()).bad, checked ? 1u << i : 0u)
                    << version.name << ", frame " << i << ", bit " << bit;
            b.frames[i][byte] ^= uint8_t(1 << bit % 8);
        }
}

TEST(ip_rcv_check, any_unicast_address_will_do_where_a_capture_is_replayed) {
    std::mt19937 rng(3);
    burst b;
    for (unsigned i = 0; i < 32; ++i) {
        b.add(rng);
        b.frames[i][0] = uint8_t(i);
        b.frames[i][3] = uint8_t(rng());
    }
    for (const auto& version : ip_rcv_check_versions())
        EXPECT_EQ(b.by(version.check, ANY_UNICAST).bad, 0xaaaaaaaau) << version.name;
}

TEST(ip_rcv_check, a_datagram_shorter_or_longer_than_its_frame_is_told) {
    std::mt19937 rng(5);
    burst b;
    for (unsigned i = 0; i < 32; ++i)
        b.add(rng);
    for (const uint32_t off :
         {1u, 0xffffu, 0x100u, 0x10000u, ~0u}) // the last but one: no tot_len says so much
        for (unsigned i = 0; i < 32; ++i) {
            b.len[i] += off;
            for (const auto& version : ip_rcv_check_versions())
                EXPECT_EQ(b.by(version.check, ours()),
                          (rcv_verdict{.bad = 0, .resize = 1u << i, .ect = 0}))
                    << version.name << ", frame " << i << ", off by " << int(off);
            b.len[i] -= off;
        }
}

TEST(ip_rcv_check, ecn_bits_are_told) {
    std::mt19937 rng(6);
    burst b;
    uint32_t ect = 0;
    for (unsigned i = 0; i < 32; ++i) {
        b.add(rng);
        const unsigned bits = unsigned(rng()) & INET_ECN_MASK;
        b.frames[i][15] |= uint8_t(bits);
        ip_send_check(reinterpret_cast<iphdr*>(b.frames[i].data() + ETH_HLEN));
        ect |= uint32_t(bits != 0) << i;
    }
    for (const auto& version : ip_rcv_check_versions())
        EXPECT_EQ(b.by(version.check, ours()), (rcv_verdict{.bad = 0, .resize = 0, .ect = ect}))
            << version.name;
}

TEST(ip_rcv_check, all_versions_agree_on_anything) {
    std::mt19937 rng(4);
    for (unsigned round = 0; round < 2000; ++round) {
        burst b;
        const unsigned n = 1 + unsigned(rng() % 32);
        for (unsigned i = 0; i < n; ++i) {
            b.add(rng);
            for (unsigned wrong = unsigned(rng() % 3); wrong;
                 --wrong) // none, one, or two that may cancel out
                b.frames[i][rng() % FRAME] += uint8_t(rng() % 2 ? 1 : 255);
            if (rng() % 8 == 0) // sums at the edges: all ones, all zeros
                std::memset(b.frames[i].data() + ETH_HLEN, rng() % 2 ? 0xff : 0, sizeof(iphdr));
        }
        for (rcv_address to : {ours(), ANY_UNICAST}) {
            const rcv_verdict want = b.by(ip_rcv_check_plain, to);
            for (const auto& version : ip_rcv_check_versions())
                ASSERT_EQ(b.by(version.check, to), want) << version.name << ", round " << round;
        }
    }
}

TEST(ip_rcv_check, the_best_version_is_used) {
    EXPECT_EQ(ip_rcv_check, ip_rcv_check_versions().back().check);
    EXPECT_EQ(ip_rcv_check_versions().front().check, &ip_rcv_check_plain);
}

} // namespace
} // namespace slabfwd::test
