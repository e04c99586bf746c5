// SPDX-License-Identifier: BSD-3-Clause
//
// A whole IPv4 router for unit tests: test_net with routes, hooks, the IP layer and a loopback that
// loops. Packets enter through netif_receive_skb, one at a time; after each the burst ends (routes
// freed, loopback served). Door: ip_test_net; ip_packet() and ip_view to write packets and read
// them. Threads: one, as slot 0 (see test_net).
#pragma once

#include <optional>

#include "dataplane/ip/ip_net.h"
#include "tests/support/test_net.h"

namespace slabfwd::test {

/// An IPv4 packet as a test states it. Total length and header checksum are filled in unless given.
struct ip_spec {
    be32_t src = ip("10.0.0.2"), dst = ip("10.0.1.2");
    uint8_t proto = IPPROTO_UDP_, ttl = 64, tos = 0;
    uint16_t id = 0x1234, frag_off = 0;
    bytes options = {}; ///< padded with end-of-list to full words
    bytes payload = {};
};
bytes ip_packet(const ip_spec& s);
/// n bytes that tell where they are.
bytes pattern(unsigned n, unsigned from = 0);
bytes operator+(bytes a, const bytes& b);
/// Transport payloads with right checksums (ICMP; UDP and TCP between the addresses of s).
bytes icmp_message(uint8_t type, uint8_t code, uint32_t rest, const bytes& data);
bytes udp_datagram(const ip_spec& s, uint16_t sport, uint16_t dport, const bytes& data);
bytes tcp_segment(const ip_spec& s, uint8_t flags, uint32_t seq, uint32_t ack, const bytes& options,
                  const bytes& data);
/// Writes the header checksum of an IP packet anew.
void fix_checksum(bytes& packet);

/// Reads an IP packet (no link header).
struct ip_view {
    bytes b;
    const iphdr* ip() const { return reinterpret_cast<const iphdr*>(b.data()); }
    bool ok() const; ///< long enough, lengths agree, header checksum right
    unsigned hlen() const { return ip()->hdr_len(); }
    uint16_t frag_off() const { return be16_to_cpu(ip()->frag_off); }
    bytes options() const { return {b.begin() + 20, b.begin() + hlen()}; }
    bytes payload() const { return {b.begin() + hlen(), b.end()}; }
    const icmphdr* icmp() const { return reinterpret_cast<const icmphdr*>(b.data() + hlen()); }
    bytes quoted() const { return {b.begin() + hlen() + 8, b.end()}; } ///< of an ICMP error
    bool icmp_checksum_ok() const;
};

class ip_test_net : public test_net {
public:
    /// p0 10.0.0.1/24 and p1 10.0.1.1/24, forwarding on; hosts .2 to .5 of both are known
    /// neighbours.
    explicit ip_test_net(unsigned workers = 1);
    ~ip_test_net();

    net_device *lo, *p0, *p1;

    void add_address(net_device* dev, const char* prefix);
    void add_route(const char* prefix, const char* via, net_device* dev, uint8_t type = RTN_UNICAST,
                   uint32_t mtu = 0);
    void add_host(net_device* dev, const char* addr);
    static mac_addr host_mac(be32_t addr);

    /// Receives an IP packet on dev from a host, addressed to the router's MAC (or dst_mac); ends
    /// the burst.
    void rx(net_device* dev, const bytes& packet, std::optional<mac_addr> dst_mac = {});
    /// Receives a raw frame and ends the burst.
    void rx_frame(net_device* dev, const bytes& frame);
    /// The same as a chain of segments of seg_size bytes.
    void rx_chained(net_device* dev, const bytes& packet, unsigned seg_size);
    void end_burst();

    /// Takes the IP packets sent by dev since the last call.
    std::vector<ip_view> sent(net_device* dev);
    /// Takes the only IP packet sent at all; fails the test unless there is exactly one.
    ip_view sent_one(net_device* dev);

    uint64_t ip_stat(ipstats_mib e) const;
    uint64_t icmp_stat(icmp_mib e) const;
    uint64_t udp_stat(udp_mib e) const;
    uint64_t tcp_stat(tcp_mib e) const;
    uint64_t all_drops() const;
    void expect_ip_balanced() { expect_balanced(int(ip_frag_held(n))); }

private:
    static void lo_xmit(sk_buff* skb, net_device* dev);
    void lo_poll();
    net_device lo_;
    sk_buff_head looped_;
};

} // namespace slabfwd::test
