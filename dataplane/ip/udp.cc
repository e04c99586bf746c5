// SPDX-License-Identifier: BSD-3-Clause
//
// UDP and UDP-Lite to this host. There are no sockets: what is in order is answered with port
// unreachable, what is damaged, or was sent to more than one, is dropped silently. Doors: udp_rcv,
// udplite_rcv (protocol handlers; data at the UDP header), udplite_counts. Threads: any slot.
// Origin: net/ipv4/udp.c, include/net/udplite.h (6.18).
#include <iterator>

#include "dataplane/ip/ip_net.h"

namespace slabfwd {

using enum skb_drop_reason;

namespace {

constexpr uint8_t IPPROTO_UDPLITE = 136;
constexpr unsigned CHECKSUM_BREAK =
    76; ///< up to here a checksum is checked at once (include/linux/skbuff.h)

/// Counts for the protocol of skb. Origin: __UDP_INC_STATS.
void udp_count(const sk_buff* skb, udp_mib field) {
    if (likely(ip_hdr(skb)->protocol != IPPROTO_UDPLITE))
        UDP_INC_STATS(field);
    else
        dev_net(skb->dev).ipv4.ip->udplite_statistics[size_t(field)].fetch_add(
            1, std::memory_order_relaxed);
}

int udp_drop(sk_buff* skb, skb_drop_reason reason) {
    udp_count(skb, udp_mib::INERRORS);
    kfree_skb_reason(skb, reason);
    return 0;
}

int udp_csum_error(sk_buff* skb) {
    udp_count(skb, udp_mib::CSUMERRORS);
    return udp_drop(skb, UDP_CSUM);
}

/// Is the checksum over the first `coverage` bytes right?
bool udp_checksum_ok(const sk_buff* skb, unsigned coverage, uint8_t proto) {
    const iphdr* iph = ip_hdr(skb);
    return csum_tcpudp_magic(iph->saddr, iph->daddr, skb_len(skb), proto,
                             skb_checksum(skb, 0, coverage, 0)) == 0;
}

const udphdr* udp_hdr(const sk_buff* skb) {
    return reinterpret_cast<const udphdr*>(skb_transport_header(skb));
}

/// Nobody listens, as always here.
int udp_no_sk(sk_buff* skb) {
    if (skb->rt_flags & (RTCF_BROADCAST | RTCF_MULTICAST)) {
        udp_count(skb, udp_mib::IGNOREDMULTI);
        kfree_skb_reason(skb, NO_SOCKET);
        return 0;
    }
    udp_count(skb, udp_mib::NOPORTS);
    icmp_send(skb, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, {});
    kfree_skb_reason(skb, NO_SOCKET);
    return 0;
}

bool to_many(const sk_buff* skb) {
    return skb->rt_flags & (RTCF_BROADCAST | RTCF_MULTICAST);
}

} // namespace

int udp_rcv(sk_buff* skb) {
    if (!pskb_may_pull(skb, sizeof(udphdr)))
        return udp_drop(skb, PKT_TOO_SMALL);
    unsigned ulen = be16_to_cpu(udp_hdr(skb)->len);
    if (ulen > skb_len(skb) || ulen < sizeof(udphdr))
        return udp_drop(skb, PKT_TOO_SMALL);
    skb_trim(skb, ulen);
    // To many: looked at by those who listen, and nobody does; but a short one is always checked.
    if ((!to_many(skb) || ulen <= CHECKSUM_BREAK) && udp_hdr(skb)->check &&
        !udp_checksum_ok(skb, ulen, IPPROTO_UDP_))
        return udp_csum_error(skb);
    return udp_no_sk(skb);
}

int udplite_rcv(sk_buff* skb) {
    if (!pskb_may_pull(skb, sizeof(udphdr)))
        return udp_drop(skb, PKT_TOO_SMALL);
    unsigned coverage = be16_to_cpu(udp_hdr(skb)->len);
    if (coverage > skb_len(skb))
        return udp_drop(skb, PKT_TOO_SMALL);
    if (!udp_hdr(skb)->check) // not optional here (RFC 3828)
        return udp_csum_error(skb);
    if (coverage == 0)
        coverage = skb_len(skb);
    else if (coverage < sizeof(udphdr))
        return udp_csum_error(skb);
    if (!to_many(skb) && !udp_checksum_ok(skb, coverage, IPPROTO_UDPLITE))
        return udp_csum_error(skb);
    return udp_no_sk(skb);
}

void udplite_counts(const net& n, uint64_t (&to)[size_t(udp_mib::MAX)]) {
    for (size_t i = 0; n.ipv4.ip && i < std::size(to); ++i)
        to[i] = n.ipv4.ip->udplite_statistics[i].load(std::memory_order_relaxed);
}

} // namespace slabfwd
