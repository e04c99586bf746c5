// SPDX-License-Identifier: BSD-3-Clause
//
// UDP, UDP-Lite and TCP to this host, where nobody listens: port unreachable, reset, silence.
#include <gtest/gtest.h>

#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {
namespace {

using enum skb_drop_reason;

ip_spec to_us(uint8_t proto) {
    return {.dst = ip("10.0.0.1"), .proto = proto};
}

// --- UDP --------------------------------------------------------------------------------------

struct udp_case {
    const char* name;
    void (*change)(bytes& datagram);
    bool answered;
    skb_drop_reason reason;
};

TEST(UdpRcv, ClosedPort) {
    const udp_case cases[] = {
        {"plain", [](bytes&) {}, true, NO_SOCKET},
        {"without checksum", [](bytes& d) { d[6] = d[7] = 0; }, true, NO_SOCKET},
        {"checksum wrong", [](bytes& d) { d[6] ^= 1; }, false, UDP_CSUM},
        {"shorter than its header", [](bytes& d) { d.resize(7); }, false, PKT_TOO_SMALL},
        {"length below 8", [](bytes& d) { d[5] = 7; }, false, PKT_TOO_SMALL},
        {"length beyond the packet", [](bytes& d) { d[5] = 100; }, false, PKT_TOO_SMALL},
        {"bytes behind the datagram",
         [](bytes& d) {
             d.insert(d.end(), {1, 2, 3});
         },
         true, NO_SOCKET},
    };
    for (const udp_case& c : cases) {
        SCOPED_TRACE(c.name);
        ip_test_net t;
        ip_spec s = to_us(17);
        s.payload = udp_datagram(s, 5000, 53, pattern(10));
        size_t datagram = s.payload.size();
        c.change(s.payload);
        bytes packet = ip_packet(s);
        t.rx(t.p0, packet);
        EXPECT_EQ(t.drops(c.reason), 1u);
        EXPECT_EQ(t.udp_stat(udp_mib::NOPORTS), c.answered ? 1u : 0u);
        EXPECT_EQ(t.udp_stat(udp_mib::INERRORS), c.answered ? 0u : 1u);
        EXPECT_EQ(t.udp_stat(udp_mib::CSUMERRORS), c.reason == UDP_CSUM ? 1u : 0u);
        if (c.answered) {
            ip_view v = t.sent_one(t.p0);
            EXPECT_EQ(v.icmp()->code, ICMP_PORT_UNREACH);
            packet.resize(20 + datagram); // what is not of the datagram is not quoted
            EXPECT_EQ(v.quoted(), packet);
        } else {
            EXPECT_EQ(t.sent_count(), 0u);
        }
        t.expect_ip_balanced();
    }
}

TEST(UdpRcv, InFragmentsIsQuotedFromTheStart) {
    ip_test_net t;
    ip_spec s = to_us(17);
    bytes datagram = udp_datagram(s, 5000, 53, pattern(792));
    s.payload = bytes(datagram.begin(), datagram.begin() + 400);
    s.frag_off = IP_MF;
    t.rx(t.p0, ip_packet(s));
    s.payload = bytes(datagram.begin() + 400, datagram.end());
    s.frag_off = 50;
    t.rx(t.p0, ip_packet(s));
    ip_view v = t.sent_one(t.p0);
    EXPECT_EQ(v.b.size(), 576u);
    bytes quoted = v.quoted();
    EXPECT_EQ(bytes(quoted.begin() + 20, quoted.end()),
              bytes(datagram.begin(), datagram.begin() + 528));
    EXPECT_EQ(be16_to_cpu(reinterpret_cast<const iphdr*>(quoted.data())->tot_len), 820);
    t.expect_ip_balanced();
}

TEST(UdpRcv, ToEverybodyIsNotAnswered) {
    ip_test_net t;
    for (const char* dst : {"10.0.0.255", "255.255.255.255"}) {
        ip_spec s{.dst = ip(dst)};
        s.payload = udp_datagram(s, 5000, 53, pattern(10));
        t.rx(t.p0, ip_packet(s), mac("ff:ff:ff:ff:ff:ff"));
    }
    EXPECT_EQ(t.sent_count(), 0u);
    EXPECT_EQ(t.udp_stat(udp_mib::IGNOREDMULTI), 2u);
    EXPECT_EQ(t.drops(NO_SOCKET), 2u);
}

TEST(UdpLite, CoverageDecidesWhatIsChecked) {
    ip_test_net t;
    ip_spec s = to_us(136);
    auto lite = [&](uint16_t coverage, unsigned damaged) {
        bytes d = pattern(20);
        d[4] = uint8_t(coverage >> 8);
        d[5] = uint8_t(coverage);
        d[6] = d[7] = 0;
        unsigned len = coverage ? coverage : 20;
        uint16_t sum = csum_tcpudp_magic(s.src, s.dst, 20, 136, csum_partial(d.data(), len, 0));
        memcpy(&d[6], &sum, 2);
        if (damaged)
            d[damaged] ^= 1;
        s.payload = d;
        t.rx(t.p0, ip_packet(s));
        return t.sent(t.p0).size();
    };
    EXPECT_EQ(lite(0, 0), 1u);
    EXPECT_EQ(lite(20, 0), 1u);
    EXPECT_EQ(lite(12, 15), 1u);
    EXPECT_EQ(lite(12, 10), 0u);
    EXPECT_EQ(lite(5, 0), 0u);
    EXPECT_EQ(t.drops(UDP_CSUM), 2u);
}

// --- TCP --------------------------------------------------------------------------------------

struct tcp_case {
    const char* name;
    uint8_t flags;
    unsigned data;
    bytes options;
    int reset_flags; ///< -1: no reset
    uint32_t seq, ack;
};

TEST(TcpRcv, ClosedPortIsReset) {
    constexpr uint32_t S = 0xfffffffe, A = 777;
    const tcp_case cases[] = {
        {"SYN", TCPHDR_SYN, 0, {}, TCPHDR_RST | TCPHDR_ACK, 0, S + 1},
        {"SYN with data and FIN",
         TCPHDR_SYN | TCPHDR_FIN,
         5,
         {},
         TCPHDR_RST | TCPHDR_ACK,
         0,
         S + 7},
        {"nothing set", 0, 3, {}, TCPHDR_RST | TCPHDR_ACK, 0, S + 3},
        {"ACK", TCPHDR_ACK, 10, {}, TCPHDR_RST, A, 0},
        {"SYN, ACK", TCPHDR_SYN | TCPHDR_ACK, 0, {}, TCPHDR_RST, A, 0},
        {"RST", TCPHDR_RST, 0, {}, -1, 0, 0},
        {"RST, ACK", TCPHDR_RST | TCPHDR_ACK, 0, {}, -1, 0, 0},
        {"SYN with options",
         TCPHDR_SYN,
         0,
         {2, 4, 5, 0xb4, 1, 1, 4, 2},
         TCPHDR_RST | TCPHDR_ACK,
         0,
         S + 1},
        {"signed", TCPHDR_SYN, 0, bytes{1, 1, 19, 18} + bytes(16), -1, 0, 0},
        {"option longer than the header",
         TCPHDR_SYN,
         0,
         {2, 40, 0, 0},
         TCPHDR_RST | TCPHDR_ACK,
         0,
         S + 1},
        {"option of no length", TCPHDR_SYN, 0, {2, 0, 19, 18}, TCPHDR_RST | TCPHDR_ACK, 0, S + 1},
    };
    for (const tcp_case& c : cases) {
        SCOPED_TRACE(c.name);
        ip_test_net t;
        ip_spec s = to_us(6);
        s.tos = 0x4b;
        s.payload = tcp_segment(s, c.flags, S, A, c.options, pattern(c.data));
        t.rx(t.p0, ip_packet(s));
        EXPECT_EQ(t.drops(NO_SOCKET), 1u);
        EXPECT_EQ(t.tcp_stat(tcp_mib::INSEGS), 1u);
        EXPECT_EQ(t.tcp_stat(tcp_mib::OUTRSTS), c.reset_flags < 0 ? 0u : 1u);
        if (c.reset_flags < 0) {
            EXPECT_EQ(t.sent_count(), 0u);
            continue;
        }
        ip_view v = t.sent_one(t.p0);
        EXPECT_EQ(v.ip()->id.raw, 0);
        EXPECT_EQ(v.frag_off(), IP_DF);
        EXPECT_EQ(v.ip()->ttl, 64);
        EXPECT_EQ(v.ip()->tos, 0x48);
        EXPECT_EQ(v.ip()->saddr, ip("10.0.0.1"));
        const auto* th = reinterpret_cast<const tcphdr*>(v.b.data() + 20);
        EXPECT_EQ(v.b.size(), 40u);
        EXPECT_EQ(th->flags, c.reset_flags);
        EXPECT_EQ(be32_to_cpu(th->seq), c.seq);
        EXPECT_EQ(be32_to_cpu(th->ack_seq), c.ack);
        EXPECT_EQ(be16_to_cpu(th->source), 80);
        EXPECT_EQ(be16_to_cpu(th->dest), 1000);
        EXPECT_EQ(th->window.raw, 0);
        EXPECT_EQ(csum_tcpudp_magic(v.ip()->saddr, v.ip()->daddr, 20, 6, csum_partial(th, 20, 0)),
                  0);
        t.expect_ip_balanced();
    }
}

TEST(TcpRcv, DamagedSegments) {
    ip_test_net t;
    ip_spec s = to_us(6);
    bytes good = tcp_segment(s, TCPHDR_SYN, 1, 0, {}, pattern(5));
    s.payload = good;
    s.payload[22] ^= 1;
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.drops(TCP_CSUM), 1u);
    EXPECT_EQ(t.tcp_stat(tcp_mib::CSUMERRORS), 1u);
    EXPECT_EQ(t.tcp_stat(tcp_mib::INERRS), 1u);
    for (int offset_words : {4, 15}) {
        s.payload = good;
        s.payload[12] = uint8_t(offset_words << 4);
        t.rx(t.p0, ip_packet(s));
    }
    s.payload = pattern(19);
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.drops(PKT_TOO_SMALL), 3u);
    EXPECT_EQ(t.tcp_stat(tcp_mib::INERRS), 2u);
    EXPECT_EQ(t.sent_count(), 0u);
}

TEST(TcpRcv, ToEverybodyIsNotAnswered) {
    ip_test_net t;
    ip_spec s{.dst = ip("10.0.0.255"), .proto = 6};
    s.payload = tcp_segment(s, TCPHDR_SYN, 1, 0, {}, {});
    t.rx(t.p0, ip_packet(s), mac("ff:ff:ff:ff:ff:ff"));
    t.rx(t.p0, ip_packet(s));
    EXPECT_EQ(t.sent_count(), 0u);
    EXPECT_EQ(t.all_drops(), 2u);
}

TEST(TcpRcv, OutOfPacketsIsSilent) {
    ip_test_net t;
    ip_spec s = to_us(6);
    s.payload = tcp_segment(s, TCPHDR_SYN, 1, 0, {}, {});
    bytes packet = ip_packet(s);
    heap_skbs_fail(1, 1);
    t.rx(t.p0, packet);
    heap_skbs_fail(0, 0);
    EXPECT_EQ(t.sent_count(), 0u);
    t.expect_ip_balanced();
}

} // namespace
} // namespace slabfwd::test
