// SPDX-License-Identifier: BSD-3-Clause
//
// Frames for the replay tests, and reading them back.
#pragma once

#include <arpa/inet.h>

#include "neigh/wire.h"
#include "tests/dataplane/replay/capture_files.h"

namespace slabfwd::test {

inline be32_t ip(const char* dotted) {
    be32_t a{};
    inet_pton(AF_INET, dotted, &a);
    return a;
}

struct udp_spec {
    const char *src = "10.0.0.2", *dst = "10.0.1.2";
    unsigned payload = 18; ///< with the headers the 60 bytes of a smallest Ethernet frame
    uint16_t id = 1, frag_off = 0;
    uint8_t ttl = 64;
    char fill = 'x';
};

inline uint16_t header_checksum(const void* header, size_t len) {
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < len; i += 2) {
        uint16_t word;
        std::memcpy(&word, static_cast<const char*>(header) + i, 2);
        sum += word;
    }
    return csum_fold(sum);
}

/// An Ethernet frame with a UDP datagram (checksum 0: none), from 02:aa:..., to 02:ee:...
inline bytes udp_frame(const udp_spec& s = {}) {
    bytes out("\x02\xee\xee\xee\xee\xee\x02\xaa\xaa\xaa\xaa\xaa\x08\x00", 14);
    iphdr iph{};
    iph.ihl_version = 0x45;
    iph.tot_len = cpu_to_be16(uint16_t(sizeof iph + sizeof(udphdr) + s.payload));
    iph.id = cpu_to_be16(s.id);
    iph.frag_off = cpu_to_be16(s.frag_off);
    iph.ttl = s.ttl;
    iph.protocol = IPPROTO_UDP_;
    iph.saddr = ip(s.src);
    iph.daddr = ip(s.dst);
    iph.check.raw = header_checksum(&iph, sizeof iph);
    udphdr udp{cpu_to_be16(1000), cpu_to_be16(2000),
               cpu_to_be16(uint16_t(sizeof(udphdr) + s.payload)), be16_t{}};
    out.append(reinterpret_cast<const char*>(&iph), sizeof iph);
    out.append(reinterpret_cast<const char*>(&udp), sizeof udp);
    out.append(s.payload, s.fill);
    return out;
}

inline iphdr ip_header_of(const bytes& frame) {
    iphdr iph{};
    if (frame.size() >= 34)
        std::memcpy(&iph, frame.data() + 14, sizeof iph);
    return iph;
}

inline uint16_t ether_type(const bytes& frame) {
    return frame.size() < 14 ? 0 : uint16_t(uint8_t(frame[12]) << 8 | uint8_t(frame[13]));
}

/// The target of an ARP request frame; 0 when it is none.
inline be32_t arp_asked_for(const bytes& frame) {
    arphdr arp{};
    if (ether_type(frame) != ETH_P_ARP || frame.size() < 42)
        return {};
    std::memcpy(&arp, frame.data() + 14, sizeof arp);
    return arp.ar_op == cpu_to_be16(ARPOP_REQUEST) ? arp.ar_tip : be32_t{};
}

} // namespace slabfwd::test
