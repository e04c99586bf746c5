// SPDX-License-Identifier: BSD-3-Clause
//
// Header layouts of the wire: Ethernet, ARP, IPv4, ICMP, UDP, TCP. Field names are the kernel's
// (include/uapi/linux/{if_ether,if_arp,ip,icmp,udp,tcp}.h); all are byte-packed views over packet
// data and may lie at any alignment of two bytes, as they do behind a 14-byte Ethernet header.
#pragma once

#include "neigh/types.h"

namespace slabfwd {

constexpr int ETH_ALEN = 6, ETH_HLEN = 14, ETH_ZLEN = 60;
constexpr uint16_t ETH_P_IP = 0x0800, ETH_P_ARP = 0x0806, ETH_P_8021Q = 0x8100, ETH_P_IPV6 = 0x86dd;

struct [[gnu::packed]] ethhdr {
    uint8_t h_dest[ETH_ALEN];
    uint8_t h_source[ETH_ALEN];
    be16_t h_proto;
};
static_assert(sizeof(ethhdr) == 14);

constexpr uint16_t ARPHRD_ETHER = 1, ARPHRD_LOOPBACK = 772, ARPHRD_NONE = 0xfffe;
constexpr uint16_t ARPOP_REQUEST = 1, ARPOP_REPLY = 2;

/// ARP for IPv4 over Ethernet: RFC 826.
struct [[gnu::packed]] arphdr {
    be16_t ar_hrd, ar_pro;
    uint8_t ar_hln, ar_pln;
    be16_t ar_op;
    uint8_t ar_sha[ETH_ALEN];
    be32_t ar_sip;
    uint8_t ar_tha[ETH_ALEN];
    be32_t ar_tip;
};
static_assert(sizeof(arphdr) == 28);

constexpr uint8_t IPPROTO_ICMP_ = 1, IPPROTO_IGMP_ = 2, IPPROTO_TCP_ = 6, IPPROTO_UDP_ = 17;
constexpr uint16_t IP_CE = 0x8000, IP_DF = 0x4000, IP_MF = 0x2000, IP_OFFSET = 0x1fff;

struct [[gnu::packed]] iphdr {
    uint8_t ihl_version; ///< version in the high, header length in words in the low four bits
    uint8_t tos;
    be16_t tot_len, id, frag_off;
    uint8_t ttl, protocol;
    be16_t check;
    be32_t saddr, daddr;
    uint8_t version() const { return ihl_version >> 4; }
    uint8_t ihl() const { return ihl_version & 15; }
    unsigned hdr_len() const { return ihl() * 4u; }
};
static_assert(sizeof(iphdr) == 20);

/// A fragment of a datagram (first, middle or last). Origin: ip_is_fragment (include/net/ip.h).
constexpr bool ip_is_fragment(be16_t frag_off) {
    return (frag_off.raw & cpu_to_be16(IP_MF | IP_OFFSET).raw) != 0;
}

struct [[gnu::packed]] icmphdr {
    uint8_t type, code;
    be16_t checksum;
    union {
        struct [[gnu::packed]] {
            be16_t id, sequence;
        } echo;
        be32_t gateway;
        struct [[gnu::packed]] {
            be16_t unused, mtu;
        } frag;
        be32_t rest;
    } un;
};
static_assert(sizeof(icmphdr) == 8);

constexpr uint8_t ICMP_ECHOREPLY = 0, ICMP_DEST_UNREACH = 3, ICMP_SOURCE_QUENCH = 4,
                  ICMP_REDIRECT = 5, ICMP_ECHO = 8, ICMP_TIME_EXCEEDED = 11,
                  ICMP_PARAMETERPROB = 12, ICMP_TIMESTAMP = 13, ICMP_TIMESTAMPREPLY = 14,
                  ICMP_INFO_REQUEST = 15, ICMP_INFO_REPLY = 16, ICMP_ADDRESS = 17,
                  ICMP_ADDRESSREPLY = 18, NR_ICMP_TYPES = 18;
constexpr uint8_t ICMP_NET_UNREACH = 0, ICMP_HOST_UNREACH = 1, ICMP_PROT_UNREACH = 2,
                  ICMP_PORT_UNREACH = 3, ICMP_FRAG_NEEDED = 4, ICMP_SR_FAILED = 5, ICMP_NET_ANO = 9,
                  ICMP_HOST_ANO = 10, ICMP_PKT_FILTERED = 13, ICMP_PREC_VIOLATION = 14,
                  ICMP_PREC_CUTOFF = 15, NR_ICMP_UNREACH = 15;
constexpr uint8_t ICMP_REDIR_NET = 0, ICMP_REDIR_HOST = 1, ICMP_EXC_TTL = 0, ICMP_EXC_FRAGTIME = 1;

struct [[gnu::packed]] udphdr {
    be16_t source, dest, len, check;
};

struct [[gnu::packed]] tcphdr {
    be16_t source, dest;
    be32_t seq, ack_seq;
    uint8_t doff_res; ///< data offset in words in the high four bits
    uint8_t flags;    ///< CWR ECE URG ACK PSH RST SYN FIN, FIN lowest
    be16_t window, check, urg_ptr;
    unsigned hdr_len() const { return (doff_res >> 4) * 4u; }
};
static_assert(sizeof(tcphdr) == 20);
constexpr uint8_t TCPHDR_FIN = 1, TCPHDR_SYN = 2, TCPHDR_RST = 4, TCPHDR_PSH = 8, TCPHDR_ACK = 16,
                  TCPHDR_URG = 32;

inline bool is_multicast_ether_addr(const uint8_t* a) {
    return a[0] & 1;
}
inline bool is_broadcast_ether_addr(const uint8_t* a) {
    return (a[0] & a[1] & a[2] & a[3] & a[4] & a[5]) == 0xff;
}
inline bool is_zero_ether_addr(const uint8_t* a) {
    return !(a[0] | a[1] | a[2] | a[3] | a[4] | a[5]);
}
inline bool ether_addr_equal(const uint8_t* a, const uint8_t* b) {
    return __builtin_memcmp(a, b, ETH_ALEN) == 0;
}

/// Standard Internet checksum helpers (RFC 1071); sums are folded 32-bit one's complement sums over
/// bytes in memory order, so results can be stored without a swap.
uint32_t csum_partial(const void* data, size_t len, uint32_t sum);
inline uint16_t csum_fold(uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return uint16_t(~sum);
}
/// Checksum of an IPv4 header of ihl words; 0 when the checksum in the header is right.
uint16_t ip_fast_csum(const void* iph, unsigned ihl);
/// Writes a fresh header checksum. Origin: ip_send_check (net/ipv4/ip_output.c).
inline void ip_send_check(iphdr* iph) {
    iph->check = {};
    iph->check.raw = ip_fast_csum(iph, iph->ihl());
}
/// Checksum over UDP/TCP pseudo header plus payload sum. Origin: csum_tcpudp_magic.
uint16_t csum_tcpudp_magic(be32_t saddr, be32_t daddr, uint32_t len, uint8_t proto, uint32_t sum);
/// TTL minus one with the incremental checksum of RFC 1624, as ip_decrease_ttl (include/net/ip.h).
[[gnu::always_inline]] inline void ip_decrease_ttl(iphdr* iph) {
    uint32_t check = iph->check.raw + uint32_t(cpu_to_be16(0x0100).raw);
    iph->check.raw = uint16_t(check + (check >= 0xffff));
    --iph->ttl;
}

} // namespace slabfwd
