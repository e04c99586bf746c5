// SPDX-License-Identifier: BSD-3-Clause
//
// The burst path: frames of one receive burst, from the Ethernet header to the transmit stage of the
// next hop's port. Each stage is one loop over the burst; memory that the next one needs is prefetched.
//
//   eth_type_trans_list -> ip_rcv_list (checks, PRE_ROUTING) -> ip_rcv_finish_list (route cache)
//     -> ip_forward_list (TTL, mtu, FORWARD) -> ip_output_list (POST_ROUTING, link header, staging)
//
// On the path of a cached flow there is no lock, allocation, virtual or indirect call per packet.
// Door: netif_receive_burst. Threads: the worker that received the burst; under RCU to its end.
// Origin: ip_list_rcv, ip_sublist_rcv, ip_list_rcv_finish (net/ipv4/ip_input.c); the checks are
// ip_rcv_core's, ip_forward's and neigh_hh_output's, for the case that all of them pass.
#include <cstring>

#include <rte_prefetch.h>

#include "dataplane/ip/burst.h"
#include "dataplane/ip/ip.h"
#include "dataplane/worker/worker.h"

namespace slabfwd {

namespace {

/// EtherType IPv4 followed by version 4, 20 bytes of header, as a little-endian load at byte 12.
constexpr uint32_t ETH_IP_IHL5 = 0x00450008, ETH_IP_IHL5_MASK = 0x00ffffff;
constexpr uint64_t MAC_MASK = 0x0000ffffffffffff;
/// Receive flags that take a frame off the path: a tag the driver stripped, a bad header checksum.
constexpr uint64_t RX_NOT_PLAIN = RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_IP_CKSUM_BAD;

template <class T> [[gnu::always_inline]] inline T load(const void* p) {
    T v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

/// Sum of the five words of a header without options; 0xffff when its checksum is right.
[[gnu::always_inline]] inline bool checksum_ok(const iphdr* iph) {
    const char* p = reinterpret_cast<const char*>(iph);
    uint64_t s = load<uint64_t>(p);
    uint64_t t = load<uint64_t>(p + 8);
    s += t;
    s += s < t;
    s = (s & 0xffffffff) + (s >> 32) + load<uint32_t>(p + 16);
    s = (s & 0xffffffff) + (s >> 32);
    s = (s & 0xffff) + (s >> 16);
    s = (s & 0xffff) + (s >> 16);
    return s == 0xffff;
}

/// Frames for our MAC that carry IPv4 without options stay.
void eth_type_trans_list(ip_burst& b) {
    uint64_t mac = 0;
    std::memcpy(&mac, b.dev->dev_addr, ETH_ALEN);
    // A replayed capture's unicast frames count as sent to us, whatever their MAC.
    bool any_mac = is_port(b.dev) && !port_of(b.dev)->keep_mac;
    for (unsigned i = 0; i < b.count; ++i)
        rte_prefetch0(rte_pktmbuf_mtod(b.m[i], void*));
    for (unsigned i = 0; i < b.count; ++i) {
        rte_mbuf* m = b.m[i];
        const char* eth = rte_pktmbuf_mtod(m, const char*);
        b.iph[i] = reinterpret_cast<iphdr*>(const_cast<char*>(eth) + ETH_HLEN);
        bool plain = m->data_len >= ETH_HLEN + sizeof(iphdr) && !(m->ol_flags & RX_NOT_PLAIN);
        plain = plain && (load<uint32_t>(eth + 12) & ETH_IP_IHL5_MASK) == ETH_IP_IHL5;
        plain = plain && ((load<uint64_t>(eth) & MAC_MASK) == mac || (any_mac && !(eth[0] & 1)));
        if (unlikely(!plain))
            b.leave(i, burst_exit::netif_receive_skb);
    }
}

/// PRE_ROUTING, FORWARD or POST_ROUTING for the packets still in the burst.
[[gnu::noinline]] void nf_hook_list(ip_burst& b, unsigned hook, const nf_hook_entries* entries) {
    for_each_bit(b.live(), [&](unsigned i) {
        sk_buff* skb = burst_skb(b, i);
        net_device* out = nullptr;
        if (hook != NF_INET_PRE_ROUTING) {
            skb_rtable_set(skb, b.rt[i]);
            out = b.rt[i]->dst.dev;
        }
        net_device* in = hook == NF_INET_POST_ROUTING ? nullptr : b.dev;
        if (hook == NF_INET_POST_ROUTING)
            skb->dev = out;
        if (nf_hook_slow(skb, nf_hook_state{hook, in, out, b.nd_net}, entries) != 1) {
            b.gone |= 1u << i;
            return;
        }
        b.iph[i] = ip_hdr(skb);
        // A hook may have changed what the cache is asked by, or the header's length.
        if (hook == NF_INET_PRE_ROUTING && (skb->mark || b.iph[i]->ihl_version != 0x45))
            b.leave(i, burst_exit::ip_rcv_finish);
    });
}

/// Every check of ip_rcv_core that a plain header passes; what fails one is for ip_rcv_core to judge.
void ip_rcv_list(ip_burst& b) {
    uint64_t octets = 0, n = 0;
    uint32_t ect[4] = {};
    for_each_bit(b.live(), [&](unsigned i) {
        rte_mbuf* m = b.m[i];
        const iphdr* iph = b.iph[i];
        uint32_t len = m->pkt_len - ETH_HLEN, tot_len = be16_to_cpu(iph->tot_len);
        bool good = (m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD ||
                    checksum_ok(iph);
        good = good && tot_len >= sizeof(iphdr) && tot_len <= len;
        good = good && (tot_len == len || m->nb_segs == 1);
        if (unlikely(!good))
            return b.leave(i, burst_exit::netif_receive_skb);
        m->pkt_len = tot_len + ETH_HLEN; // bytes behind the datagram are padding
        if (m->nb_segs == 1)
            m->data_len = uint16_t(tot_len + ETH_HLEN);
        octets += len;
        ++n;
        ++ect[iph->tos & 3];
    });
    auto& ip = b.sd->ip_statistics;
    ip[ipstats_mib::INPKTS].add(n);
    ip[ipstats_mib::INOCTETS].add(octets);
    for (unsigned e = 0; e < 4; ++e)
        ip[ipstats_mib(unsigned(ipstats_mib::NOECTPKTS) + e)].add(ect[e]);
    if (const nf_hook_entries* e = nf_hooks(*b.nd_net, NF_INET_PRE_ROUTING); unlikely(e != nullptr))
        nf_hook_list(b, NF_INET_PRE_ROUTING, e);
}

/// The route cache: a hit of the current generation that is a plain forward stays.
void ip_rcv_finish_list(ip_burst& b) {
    const rt_hash_shard& shard = *b.sd->rt_shard;
    const uint32_t genid = b.nd_net->ipv4.rt_genid.load(std::memory_order_acquire);
    const uint32_t iif = uint32_t(b.dev->ifindex);
    uint32_t live = b.live();
    for_each_bit(live, [&](unsigned i) {
        b.hash[i] = rt_hash_seeded(b.iph[i]->daddr, b.iph[i]->saddr, iif, shard.rt_hash_seed) &
                    shard.rt_hash_mask;
        rte_prefetch0(&shard.rt_hash_table[b.hash[i]]);
    });
    for_each_bit(live, [&](unsigned i) {
        dst_entry* head = shard.rt_hash_table[b.hash[i]];
        b.rt[i] = head ? rt_from_dst(head) : nullptr;
        rte_prefetch0(b.rt[i]);
    });
    uint32_t hits = 0, searched = 0;
    for_each_bit(live, [&](unsigned i) {
        const iphdr* iph = b.iph[i];
        rt_key key{iph->daddr, iph->saddr, uint16_t(iif), 0, 0, uint8_t(iph->tos & INET_DSCP_MASK), {}};
        rtable* rt = b.rt[i];
        uint32_t skipped = 0;
        while (rt && !(rt_key_equal(rt->key, key) && rt->rt_genid == genid)) {
            ++skipped;
            rt = rt->dst.rt_next ? rt_from_dst(rt->dst.rt_next) : nullptr;
        }
        if (unlikely(!rt || !rt->plain()))
            return b.leave(i, burst_exit::ip_rcv_finish);
        b.rt[i] = rt;
        rte_prefetch0(rt->dst.neighbour);
        ++hits;
        searched += skipped;
        ++rt->dst.__use;
        rt->dst.lastuse = uint32_t(b.sd->jiffies);
    });
    b.sd->rt_stat[rt_cache_stat::in_hit].add(hits);
    b.sd->rt_stat[rt_cache_stat::in_hlist_search].add(searched);
}

/// ip_forward for routes that are a plain forward: TTL, mtu; then FORWARD.
void ip_forward_list(ip_burst& b) {
    uint64_t n = 0;
    for_each_bit(b.live(), [&](unsigned i) {
        iphdr* iph = b.iph[i];
        const rtable* rt = b.rt[i];
        bool plain = iph->ttl > 1 && be16_to_cpu(iph->tot_len) <= rt->dst.mtu;
        plain = plain && neigh_hh_read(rt->dst.neighbour, b.hh[i]);
        if (unlikely(!plain))
            return b.leave(i, burst_exit::ip_forward);
        ip_decrease_ttl(iph);
        ++n;
    });
    // Counted before the hooks, as in the kernel: what FORWARD drops is a forwarded datagram all the same.
    b.sd->ip_statistics[ipstats_mib::OUTFORWDATAGRAMS].add(n);
    if (const nf_hook_entries* e = nf_hooks(*b.nd_net, NF_INET_FORWARD); unlikely(e != nullptr))
        nf_hook_list(b, NF_INET_FORWARD, e);
}

/// Puts the cached link header in front and the frame on its port's stage.
[[gnu::always_inline]] inline void neigh_hh_output(ip_burst& b, unsigned i) {
    rte_mbuf* m = b.m[i];
    std::memcpy(reinterpret_cast<char*>(b.iph[i]) - 16, b.hh[i], 16);
    if (unlikely(b.skbs >> i & 1)) { // back to the Ethernet header
        m->data_off = uint16_t(m->data_off - ETH_HLEN);
        m->data_len = uint16_t(m->data_len + ETH_HLEN);
        m->pkt_len += ETH_HLEN;
    }
    net_device* dev = b.rt[i]->dst.dev;
    if (likely(is_port(dev)))
        return port_stage(*port_of(dev), *b.sd, m);
    sk_buff* skb = skb_from_mbuf(m); // a device of another kind takes frames one by one
    if (!(b.skbs >> i & 1))
        skb_init(skb, dev, b.sd->now_ns);
    skb->dev = dev;
    dev->netdev_ops->ndo_start_xmit(skb, dev);
}

/// A packet that is not plain goes on alone, from the stage that it did not pass.
[[gnu::noinline]] void leave_burst(ip_burst& b, unsigned i) {
    net& n = *b.nd_net;
    if (b.exit[i] == burst_exit::netif_receive_skb)
        return netif_receive_mbuf(*b.sd, b.dev, b.m[i]);
    sk_buff* skb = burst_skb(b, i);
    if (b.exit[i] == burst_exit::ip_rcv_finish) {
        ip_rcv_finish(n, skb);
    } else {
        skb_rtable_set(skb, b.rt[i]);
        ip_forward(skb);
    }
}

/// POST_ROUTING, then every packet of the burst in its order: sent, or off on its own.
void ip_output_list(ip_burst& b) {
    if (const nf_hook_entries* e = nf_hooks(*b.nd_net, NF_INET_POST_ROUTING); unlikely(e != nullptr))
        nf_hook_list(b, NF_INET_POST_ROUTING, e);
    uint64_t octets = 0;
    uint32_t live = b.live();
    for_each_bit(live, [&](unsigned i) { octets += be16_to_cpu(b.iph[i]->tot_len); });
    b.sd->ip_statistics[ipstats_mib::OUTPKTS].add(unsigned(std::popcount(live)));
    b.sd->ip_statistics[ipstats_mib::OUTOCTETS].add(octets);
    if (likely(live == b.all())) {
        for (unsigned i = 0; i < b.count; ++i)
            neigh_hh_output(b, i);
        return;
    }
    for_each_bit(b.all() & ~b.gone, [&](unsigned i) {
        if (live >> i & 1)
            neigh_hh_output(b, i);
        else
            leave_burst(b, i);
    });
}

} // namespace

sk_buff* burst_skb(ip_burst& b, unsigned i) {
    sk_buff* skb = skb_from_mbuf(b.m[i]);
    if (b.skbs >> i & 1)
        return skb;
    b.skbs |= 1u << i;
    skb_init(skb, b.dev, b.sd->now_ns);
    skb_reset_mac_header(skb);
    skb->protocol = cpu_to_be16(ETH_P_IP);
    skb->pkt_type = PACKET_HOST;
    skb->ip_summed = CHECKSUM_UNNECESSARY;
    skb_pull(skb, ETH_HLEN);
    skb_reset_network_header(skb);
    skb->transport_header = uint16_t(skb->network_header + sizeof(iphdr));
    return skb;
}

void netif_receive_mbuf(softnet_data& sd, net_device* dev, rte_mbuf* m) {
    sk_buff* skb = skb_from_mbuf(m);
    skb_init(skb, dev, sd.now_ns);
    if (unlikely(!dev->up()))
        return kfree_skb_reason(skb, skb_drop_reason::DEV_READY);
    if (unlikely(m->data_len < ETH_HLEN && !pskb_may_pull(skb, ETH_HLEN)))
        return kfree_skb_reason(skb, skb_drop_reason::HDR_TRUNC);
    // The driver took a VLAN tag off: the frame belongs to a VLAN, not to this device's IPv4.
    if (unlikely(m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED))
        return kfree_skb_reason(skb, skb_drop_reason::VLAN_TAG);
    eth_type_trans(skb, dev);
    if (skb->pkt_type == PACKET_OTHERHOST && is_port(dev) && !port_of(dev)->keep_mac)
        skb->pkt_type = PACKET_HOST;
    uint64_t cksum = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
    if (cksum == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
        skb->ip_summed = CHECKSUM_UNNECESSARY;
    netif_receive_skb(skb);
}

void netif_receive_burst(softnet_data& sd, net_device* dev, rte_mbuf** m, uint16_t n) {
    if (unlikely(sd.tracer || !dev->up())) {
        for (uint16_t i = 0; i < n; ++i)
            netif_receive_mbuf(sd, dev, m[i]);
        return;
    }
    ip_burst b;
    b.sd = &sd;
    b.nd_net = sd.nd_net;
    b.dev = dev;
    b.count = n;
    b.slow = b.gone = b.skbs = 0;
    std::memcpy(b.m, m, n * sizeof m[0]);
    eth_type_trans_list(b);
    ip_rcv_list(b);
    ip_rcv_finish_list(b);
    ip_forward_list(b);
    ip_output_list(b);
}

} // namespace slabfwd
