// SPDX-License-Identifier: BSD-3-Clause
//
// Types and checksums of the wire, against the plain definition.
#include "neigh/wire.h"

#include <gtest/gtest.h>
#include <random>
#include <vector>

#include "neigh/drop_reason.h"
#include "tests/support/packets.h"

namespace slabfwd {
namespace {

/// RFC 1071 word by word.
uint16_t reference_csum(const uint8_t* p, size_t len, uint32_t sum = 0) {
    for (; len >= 2; p += 2, len -= 2)
        sum += uint32_t(p[0] << 8 | p[1]);
    if (len)
        sum += uint32_t(p[0] << 8);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return uint16_t(~sum);
}

TEST(wire, csum_partial_is_rfc1071_at_any_length_and_alignment) {
    std::mt19937 rng(1);
    std::vector<uint8_t> data(4096);
    for (auto& b : data)
        b = rng() % 8 ? uint8_t(rng()) : 0xff;
    for (int i = 0; i < 20000; ++i) {
        const size_t at = rng() % 64, len = rng() % (i % 50 ? 200 : 4000);
        const uint8_t* p = data.data() + at;
        ASSERT_EQ(__builtin_bswap16(csum_fold(csum_partial(p, len, 0))), reference_csum(p, len));
        // In two parts, the first of even length.
        const size_t cut = (rng() % (len + 1)) & ~size_t(1);
        ASSERT_EQ(csum_fold(csum_partial(p + cut, len - cut, csum_partial(p, cut, 0))),
                  csum_fold(csum_partial(p, len, 0)));
    }
}

TEST(wire, header_checksum_and_its_ttl_update) {
    for (unsigned ttl = 1; ttl < 256; ++ttl)
        for (unsigned low = 0; low < 256; low += 5) {
            auto packet = test::udp_packet(cpu_to_be32(0x0a000000u + low * 0x01010101u),
                                           test::ip("255.255.255.254"), 4, uint8_t(ttl));
            auto* iph = reinterpret_cast<iphdr*>(packet.data());
            ASSERT_EQ(ip_fast_csum(iph, 5), 0);
            ASSERT_EQ(reference_csum(packet.data(), 20), 0);
            ip_decrease_ttl(iph);
            ASSERT_EQ(iph->ttl, ttl - 1);
            ASSERT_EQ(ip_fast_csum(iph, 5), 0);
        }
}

TEST(wire, pseudo_header) {
    const be32_t src = test::ip("10.1.2.3"), dst = test::ip("192.168.255.1");
    std::vector<uint8_t> seg(37, 0xa5), all = {10, 1, 2, 3, 192, 168, 255, 1, 0, 17, 0, 37};
    all.insert(all.end(), seg.begin(), seg.end());
    EXPECT_EQ(__builtin_bswap16(csum_tcpudp_magic(src, dst, 37, IPPROTO_UDP_,
                                                  csum_partial(seg.data(), seg.size(), 0))),
              reference_csum(all.data(), all.size()));
}

TEST(wire, masks_and_classes) {
    for (int len = 0; len <= 32; ++len)
        EXPECT_EQ(inet_mask_len(inet_make_mask(len)), len);
    EXPECT_EQ(inet_make_mask(24), test::ip("255.255.255.0"));
    EXPECT_TRUE(ipv4_is_multicast(test::ip("239.255.255.255")));
    EXPECT_FALSE(ipv4_is_multicast(test::ip("240.0.0.0")));
    EXPECT_TRUE(ipv4_is_local_multicast(test::ip("224.0.0.251")));
    EXPECT_TRUE(ipv4_is_loopback(test::ip("127.255.0.1")));
    EXPECT_TRUE(ipv4_is_zeronet(test::ip("0.0.0.0")));
    EXPECT_FALSE(ipv4_is_zeronet(test::ip("0.1.2.3")));
    EXPECT_TRUE(ipv4_is_linklocal_169(test::ip("169.254.1.1")));
}

TEST(wire, drop_reasons_are_spelt_as_the_tracepoint_does) {
    EXPECT_STREQ(drop_reason_name(skb_drop_reason::IP_CSUM), "IP_CSUM");
    EXPECT_STREQ(drop_reason_name(skb_drop_reason::NEIGH_QUEUEFULL), "NEIGH_QUEUEFULL");
    EXPECT_STREQ(drop_reason_name(skb_drop_reason::XMIT_RECURSION), "XMIT_RECURSION");
}

} // namespace
} // namespace slabfwd
