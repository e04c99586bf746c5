// SPDX-License-Identifier: BSD-3-Clause
//
// What the headers of a whole burst are asked first: sent to us? IPv4 without options? checksum
// right? as long as the frame? The plain version reads like the rule; SSE4.2, AVX2 and AVX-512 ask
// 4, 8 or 16 frames at a time and must give the same bits
// (tests/dataplane/ip/ip_rcv_check_test.cc). Door: ip_rcv_check, the best version for the CPU that
// the program runs on, chosen at start. Threads: any; nothing is kept. Origin: eth_type_trans and
// ip_rcv_core of Linux, for frames that pass.
#pragma once

#include <span>

#include "neigh/wire.h"

namespace slabfwd {

/// Whom frames are for: destination & mask == mac, as the first eight bytes of a frame lie in
/// memory.
struct rcv_address {
    uint64_t mac, mask;
};

/// What the frames of a burst are; bit i stands for frame i.
struct rcv_verdict {
    uint32_t bad;    ///< not for `to`, not IPv4 with a header of 20 bytes, or its checksum is wrong
    uint32_t resize; ///< tot_len is not what the frame has behind its Ethernet header
    uint32_t ect;    ///< TOS with ECN bits
    friend bool operator==(const rcv_verdict&, const rcv_verdict&) = default;
};
/// iph[i]: behind 14 bytes of Ethernet header; 34 bytes are read. len[i]: bytes of the frame from
/// iph[i] on. n <= PACKET_BURST.
using ip_rcv_check_t = rcv_verdict(const iphdr* const* iph, const uint32_t* len, unsigned n,
                                   rcv_address to);

ip_rcv_check_t ip_rcv_check_plain, ip_rcv_check_sse42, ip_rcv_check_avx2, ip_rcv_check_avx512;

/// One version and what it is called.
struct ip_rcv_check_version {
    const char* name;
    ip_rcv_check_t* check;
};
/// Those that this CPU can run, the best last.
std::span<const ip_rcv_check_version> ip_rcv_check_versions();

/// The best one.
extern ip_rcv_check_t* const ip_rcv_check;

/// The bits of a TOS that are ECN's.
constexpr uint8_t INET_ECN_MASK = 3;
/// EtherType IPv4 followed by version 4, 20 bytes of header, as a little-endian load at byte 12.
constexpr uint32_t ETH_IP_IHL5 = 0x00450008, ETH_IP_IHL5_MASK = 0x00ffffff;

} // namespace slabfwd
