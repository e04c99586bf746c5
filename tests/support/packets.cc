// SPDX-License-Identifier: BSD-3-Clause
//
// Packets built and read field by field.
#include "tests/support/packets.h"

#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "neigh/softnet.h"

namespace slabfwd::test {

be32_t ip(const char* dotted) {
    unsigned a, b, c, d;
    if (sscanf(dotted, "%u.%u.%u.%u", &a, &b, &c, &d) != 4)
        throw std::invalid_argument(dotted);
    return cpu_to_be32(a << 24 | b << 16 | c << 8 | d);
}

mac_addr mac(const char* colons) {
    mac_addr m{};
    if (sscanf(colons, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) !=
        ETH_ALEN)
        throw std::invalid_argument(colons);
    return m;
}

std::string to_string(be32_t addr) {
    const uint32_t a = be32_to_cpu(addr);
    char text[16];
    snprintf(text, sizeof text, "%u.%u.%u.%u", a >> 24, (a >> 16) & 255, (a >> 8) & 255, a & 255);
    return text;
}

bytes arp_frame(const mac_addr& dst, const mac_addr& src, const arp_fields& f) {
    bytes out(sizeof(ethhdr) + sizeof(arphdr));
    auto* eth = reinterpret_cast<ethhdr*>(out.data());
    memcpy(eth->h_dest, dst.data(), ETH_ALEN);
    memcpy(eth->h_source, src.data(), ETH_ALEN);
    eth->h_proto = cpu_to_be16(ETH_P_ARP);
    auto* arp = reinterpret_cast<arphdr*>(eth + 1);
    arp->ar_hrd = cpu_to_be16(ARPHRD_ETHER);
    arp->ar_pro = cpu_to_be16(ETH_P_IP);
    arp->ar_hln = ETH_ALEN;
    arp->ar_pln = 4;
    arp->ar_op = cpu_to_be16(f.op);
    memcpy(arp->ar_sha, f.sha.data(), ETH_ALEN);
    arp->ar_sip = f.sip;
    memcpy(arp->ar_tha, f.tha.data(), ETH_ALEN);
    arp->ar_tip = f.tip;
    return out;
}

arp_fields parse_arp(const bytes& frame) {
    arp_fields f;
    if (frame.size() < sizeof(ethhdr) + sizeof(arphdr) || eth_proto(frame) != ETH_P_ARP)
        return f;
    auto* arp = reinterpret_cast<const arphdr*>(frame.data() + sizeof(ethhdr));
    f.op = be16_to_cpu(arp->ar_op);
    memcpy(f.sha.data(), arp->ar_sha, ETH_ALEN);
    f.sip = arp->ar_sip;
    memcpy(f.tha.data(), arp->ar_tha, ETH_ALEN);
    f.tip = arp->ar_tip;
    return f;
}

static mac_addr mac_at(const bytes& frame, size_t offset) {
    mac_addr m{};
    if (frame.size() >= offset + ETH_ALEN)
        memcpy(m.data(), frame.data() + offset, ETH_ALEN);
    return m;
}
mac_addr eth_dst(const bytes& frame) {
    return mac_at(frame, 0);
}
mac_addr eth_src(const bytes& frame) {
    return mac_at(frame, ETH_ALEN);
}
uint16_t eth_proto(const bytes& frame) {
    return frame.size() < sizeof(ethhdr) ? 0 : uint16_t(frame[12] << 8 | frame[13]);
}

bytes udp_packet(be32_t src, be32_t dst, unsigned payload, uint8_t ttl, uint16_t sport,
                 uint16_t dport) {
    const unsigned l4 = unsigned(sizeof(udphdr)) + payload;
    bytes out(sizeof(iphdr) + l4);
    auto* iph = reinterpret_cast<iphdr*>(out.data());
    iph->ihl_version = 0x45;
    iph->tot_len = cpu_to_be16(uint16_t(out.size()));
    iph->ttl = ttl;
    iph->protocol = IPPROTO_UDP_;
    iph->saddr = src;
    iph->daddr = dst;
    ip_send_check(iph);
    auto* udp = reinterpret_cast<udphdr*>(iph + 1);
    udp->source = cpu_to_be16(sport);
    udp->dest = cpu_to_be16(dport);
    udp->len = cpu_to_be16(uint16_t(l4));
    for (unsigned i = 0; i < payload; ++i)
        out[out.size() - payload + i] = uint8_t(i);
    udp->check.raw = csum_tcpudp_magic(src, dst, l4, IPPROTO_UDP_, csum_partial(udp, l4, 0));
    return out;
}

/// Copies `data` into a fresh packet, over as many segments as it takes.
static sk_buff* skb_of(const bytes& data) {
    rte_mbuf* head = skb_ops.alloc(unsigned(data.size()));
    if (!head)
        return nullptr;
    size_t done = 0;
    for (rte_mbuf* m = head; done < data.size(); m = m->next) {
        const size_t n = std::min<size_t>(data.size() - done, m->buf_len - m->data_off);
        memcpy(rte_pktmbuf_mtod(m, void*), data.data() + done, n);
        m->data_len = uint16_t(n);
        done += n;
    }
    head->pkt_len = uint32_t(data.size());
    return skb_from_mbuf(head);
}

sk_buff* make_skb(const bytes& ip_packet, net_device* dev) {
    sk_buff* skb = skb_of(ip_packet);
    if (skb) {
        skb_init(skb, dev, ktime_get_ns());
        skb->protocol = cpu_to_be16(ETH_P_IP);
    }
    return skb;
}

sk_buff* make_rx_skb(const bytes& frame, net_device* dev) {
    sk_buff* skb = skb_of(frame);
    if (skb)
        skb_init(skb, dev, ktime_get_ns());
    return skb;
}

bytes to_bytes(const sk_buff* skb) {
    bytes out(skb_len(skb));
    skb_copy_bits(skb, 0, out.data(), unsigned(out.size()));
    return out;
}

} // namespace slabfwd::test
