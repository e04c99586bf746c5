// SPDX-License-Identifier: BSD-3-Clause
//
// Headers into words, functions into depths.
#include "dataplane/control/trace_format.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "dataplane/control/values.h"

namespace slabfwd {

namespace {

struct function_depth {
    std::string_view name;
    int depth;
};

// In the order of a packet's way; a step inside another one stands one deeper.
constexpr function_depth depths[] = {
    {"eth_type_trans", 0},
    {"netif_receive_skb", 0},
    {"__netif_receive_skb_core", 0},
    {"ip_list_rcv", 0},
    {"arp_rcv", 1},
    {"arp_process", 2},
    {"arp_learn", 2},
    {"arp_reply", 3},
    {"ip_rcv", 1},
    {"ip_rcv_core", 2},
    {"ip_rcv_finish", 2},
    {"ip_rcv_finish_core", 3},
    {"ip_rcv_options", 3},
    {"ip_route_input", 3},
    {"ip_route_input_slow", 4},
    {"fib_lookup", 5},
    {"fib_table_lookup", 6},
    {"fib_validate_source", 5},
    {"ip_mkroute_input", 5},
    {"__mkroute_input", 6},
    {"rt_dst_alloc", 7},
    {"dst_alloc", 7},
    {"__rt_garbage_collect", 8},
    {"kmem_cache_alloc", 8},
    {"rt_make_cached", 6},
    {"rt_entry_for", 6},
    {"rt_intern_hash", 6},
    {"arp_bind_neighbour", 7},
    {"ip_error", 3},
    {"ip_local_deliver", 3},
    {"ip_local_deliver_finish", 4},
    {"ip_defrag", 4},
    {"icmp_rcv", 5},
    {"udp_rcv", 5},
    {"tcp_v4_rcv", 5},
    {"ip_forward", 3},
    {"ip_forward_finish", 4},
    {"ip_rt_send_redirect", 4},
    {"ip_route_output_key", 4},
    {"ip_local_out", 4},
    {"ip_output", 5},
    {"ip_mc_output", 5},
    {"ip_finish_output", 6},
    {"ip_fragment", 7},
    {"ip_do_fragment", 7},
    {"ip_finish_output2", 7},
    {"neigh_output", 8},
    {"neigh_hh_output", 8},
    {"neigh_resolve_output", 8},
    {"neigh_connected_output", 8},
    {"neigh_event_send", 9},
    {"__neigh_event_send", 9},
    {"arp_send", 10},
    {"neigh_direct_output", 8},
    {"dev_queue_xmit", 11},
    {"icmp_send", 4},
};

constexpr std::string_view entries[] = {
    "eth_type_trans", "netif_receive_skb", "__netif_receive_skb_core",
    "ip_list_rcv",    "arp_rcv",           "ip_rcv"};

bool is_entry(std::string_view function) {
    return std::ranges::find(entries, function) != std::end(entries);
}

/// A header of type T at the front of bytes, copied out; false when there is not that much.
template <class T>
bool read(std::span<const uint8_t> bytes, T* to) {
    if (bytes.size() < sizeof(T))
        return false;
    memcpy(static_cast<void*>(to), bytes.data(), sizeof(T));
    return true;
}

std::string icmp_words(std::span<const uint8_t> l4) {
    icmphdr icmp;
    if (!read(l4, &icmp))
        return "ICMP (cut)";
    if (icmp.type == ICMP_ECHO || icmp.type == ICMP_ECHOREPLY)
        return fmt::format("ICMP echo {} id {} seq {}",
                           icmp.type == ICMP_ECHO ? "request" : "reply",
                           be16_to_cpu(icmp.un.echo.id), be16_to_cpu(icmp.un.echo.sequence));
    return fmt::format("ICMP type {} code {}", icmp.type, icmp.code);
}

std::string tcp_flags(uint8_t flags) {
    std::string s;
    constexpr char letters[] = "FSRPAU";
    for (int i = 0; i < 6; ++i)
        if (flags >> i & 1)
            s += letters[i];
    return s.empty() ? "-" : s;
}

std::string transport_words(uint8_t protocol, std::span<const uint8_t> l4) {
    udphdr udp;
    tcphdr tcp;
    switch (protocol) {
    case IPPROTO_ICMP_:
        return icmp_words(l4);
    case IPPROTO_UDP_:
        return read(l4, &udp)
                   ? fmt::format("UDP {} > {}", be16_to_cpu(udp.source), be16_to_cpu(udp.dest))
                   : "UDP (cut)";
    case IPPROTO_TCP_:
        return read(l4, &tcp) ? fmt::format("TCP {} > {} [{}]", be16_to_cpu(tcp.source),
                                            be16_to_cpu(tcp.dest), tcp_flags(tcp.flags))
                              : "TCP (cut)";
    }
    return fmt::format("protocol {}", protocol);
}

std::string arp_words(std::span<const uint8_t> bytes) {
    arphdr arp;
    if (!read(bytes, &arp))
        return "ARP (cut)";
    if (be16_to_cpu(arp.ar_op) == ARPOP_REQUEST)
        return fmt::format("ARP who has {} tell {}", format_ipv4(arp.ar_tip),
                           format_ipv4(arp.ar_sip));
    return fmt::format("ARP op {}: {} is at {}", be16_to_cpu(arp.ar_op), format_ipv4(arp.ar_sip),
                       format_mac(arp.ar_sha));
}

} // namespace

std::string ip_packet_summary(std::span<const uint8_t> packet) {
    iphdr ip;
    if (!read(packet, &ip) || ip.version() != 4)
        return fmt::format("{} bytes, not IPv4", packet.size());
    std::string s = fmt::format("{} > {} ", format_ipv4(ip.saddr), format_ipv4(ip.daddr));
    uint16_t frag = be16_to_cpu(ip.frag_off);
    if (frag & IP_OFFSET)
        s += fmt::format("protocol {} fragment at {}", ip.protocol, (frag & IP_OFFSET) * 8);
    else
        s += transport_words(ip.protocol,
                             packet.subspan(std::min<size_t>(packet.size(), ip.hdr_len())));
    s += fmt::format(" ttl {} id {:04x} len {}", ip.ttl, be16_to_cpu(ip.id),
                     be16_to_cpu(ip.tot_len));
    if (ip.tos)
        s += fmt::format(" tos 0x{:02x}", ip.tos);
    if (ip.hdr_len() > sizeof(iphdr))
        s += fmt::format(" options {}", ip.hdr_len() - sizeof(iphdr));
    return s + (frag & IP_DF ? " DF" : "") + (frag & IP_MF ? " MF" : "");
}

std::string packet_summary(std::span<const uint8_t> frame) {
    ethhdr eth;
    if (!read(frame, &eth))
        return fmt::format("{} bytes, no Ethernet header", frame.size());
    std::string s = fmt::format("{} > {} ", format_mac(eth.h_source), format_mac(eth.h_dest));
    uint16_t proto = be16_to_cpu(eth.h_proto);
    std::span<const uint8_t> rest = frame.subspan(sizeof eth);
    if (proto == ETH_P_IP)
        return s + ip_packet_summary(rest);
    if (proto == ETH_P_ARP)
        return s + arp_words(rest);
    return s + fmt::format("EtherType {:04x}, {} bytes", proto, rest.size());
}

std::string packet_summary(const sk_buff* skb) {
    const rte_mbuf* m = skb_mbuf(skb);
    const size_t end = size_t(m->data_off) + m->data_len;
    auto from = [&](size_t offset) {
        return std::span<const uint8_t>(skb_head(skb) + offset,
                                        offset < end && end <= m->buf_len ? end - offset : 0);
    };
    const size_t data = m->data_off, mac = skb->mac_header, network = skb->network_header;
    // The link header is there while the packet is as it came in, and again when it leaves.
    if (skb->protocol && mac + sizeof(ethhdr) == data)
        return packet_summary(from(mac));
    if (auto eth = from(data); mac == data && eth.size() >= sizeof(ethhdr))
        return packet_summary(eth);
    if (network && network <= end && network >= sizeof(rte_mbuf) / 8)
        return ip_packet_summary(from(network));
    return fmt::format("{} bytes", skb_len(skb));
}

int trace_depth(std::string_view function) {
    auto it = std::ranges::find(depths, function, &function_depth::name);
    return it == std::end(depths) ? -1 : it->depth;
}

bool trace_formatter::begins_packet(const sk_buff* skb, const char* function) const {
    return skb && is_entry(function) && (skb != current_ || !last_was_entry_);
}

std::string trace_formatter::event(const sk_buff* skb, const char* function, const char* text) {
    std::string s;
    if (begins_packet(skb, function)) {
        ++packets_;
        uint64_t number = next_ ? next_(cookie_) : packets_;
        s = fmt::format("packet {}: {} {}.{:06} {}\n", number, skb->dev ? skb->dev->name : "-",
                        skb->tstamp / NSEC_PER_SEC, skb->tstamp % NSEC_PER_SEC / 1000,
                        packet_summary(skb));
        received_ = skb;
        depth_ = 0;
    } else if (skb && skb != current_ && skb != received_) {
        s = fmt::format("{:{}}another packet: {}\n", "", 4 + 2 * depth_, packet_summary(skb));
    }
    if (skb) {
        current_ = skb;
        last_was_entry_ = is_entry(function);
    }
    if (int d = trace_depth(function); d >= 0)
        depth_ = d;
    std::string_view words = text;
    if (words.starts_with(function))
        words.remove_prefix(strlen(function));
    words.remove_prefix(std::min(words.find_first_not_of(' '), words.size()));
    return s + fmt::format("{:{}}{}{}{}\n", "", 2 + 2 * depth_, function, words.empty() ? "" : ": ",
                           words);
}

} // namespace slabfwd
