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
#include <bit>
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
constexpr uint8_t INET_ECN_MASK = 3;
/// Receive flags that take a frame off the path: a tag the driver stripped, a bad header checksum.
constexpr uint64_t RX_NOT_PLAIN = RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_IP_CKSUM_BAD;

template <class T>
[[gnu::always_inline]] inline T load(const void* p) {
    T v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

/// Is the one's complement sum over a header without options that of a right checksum? Adding a word
/// to itself with its halves exchanged leaves the folded sum, end-around carry and all, in the upper.
[[gnu::always_inline]] inline bool checksum_ok(const iphdr* iph) {
    const char* p = reinterpret_cast<const char*>(iph);
    uint64_t sum = 0; // five words of 32 bits: no carry is lost
    for (unsigned i = 0; i < sizeof(iphdr); i += sizeof(uint32_t))
        sum += load<uint32_t>(p + i);
    sum += std::rotr(sum, 32);
    uint32_t half = uint32_t(sum >> 32);
    half += std::rotr(half, 16);
    return half >= 0xffff0000;
}

/// Frames for our MAC that carry IPv4 without options stay.
void eth_type_trans_list(ip_burst& b) {
    // One comparison says whom a frame is for: us, or, where a replayed capture's unicast frames count
    // as sent to us whatever their MAC, anybody but a group.
    uint64_t mask = MAC_MASK, mac = 0;
    std::memcpy(&mac, b.dev->dev_addr, ETH_ALEN);
    if (is_port(b.dev) && !port_of(b.dev)->keep_mac) {
        mask = 1;
        mac = 0;
    }
    for (unsigned i = 0; i < b.count; ++i)
        rte_prefetch0(rte_pktmbuf_mtod(b.m[i], void*));
    for (unsigned i = 0; i < b.count; ++i) {
        rte_mbuf* m = b.m[i];
        char* eth = rte_pktmbuf_mtod(m, char*);
        b.iph[i] = reinterpret_cast<iphdr*>(eth + ETH_HLEN);
        if (unlikely(m->data_len < ETH_HLEN + sizeof(iphdr))) {
            b.leave(i, burst_exit::netif_receive_skb);
            continue;
        }
        const uint64_t odd = (m->ol_flags & RX_NOT_PLAIN) |
                             ((load<uint32_t>(eth + 12) ^ ETH_IP_IHL5) & ETH_IP_IHL5_MASK) |
                             ((load<uint64_t>(eth) ^ mac) & mask);
        if (unlikely(odd))
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

/// How long the datagram says it is fits the frame: bytes behind it are padding and go. False: not plain.
[[gnu::noinline]] bool ip_trim(rte_mbuf* m, uint32_t tot_len) {
    const uint32_t len = m->pkt_len - ETH_HLEN;
    if (tot_len < sizeof(iphdr) || tot_len > len || m->nb_segs != 1)
        return false;
    m->pkt_len = tot_len + ETH_HLEN;
    m->data_len = uint16_t(tot_len + ETH_HLEN);
    return true;
}

void count_ect(ip_burst& b, unsigned n, unsigned tos_of_all) {
    auto& ip = b.sd->ip_statistics;
    if (likely((tos_of_all & INET_ECN_MASK) == 0))
        return ip[ipstats_mib::NOECTPKTS].add(n);
    for_each_live(b, [&](unsigned i) {
        ip[ipstats_mib(unsigned(ipstats_mib::NOECTPKTS) + (b.iph[i]->tos & INET_ECN_MASK))].add(1);
    });
}

/// Every check of ip_rcv_core that a plain header passes; what fails one is for ip_rcv_core to judge.
void ip_rcv_list(ip_burst& b) {
    uint64_t octets = 0;
    unsigned tos_of_all = 0;
    for_each_live(b, [&](unsigned i) {
        rte_mbuf* m = b.m[i];
        const iphdr* iph = b.iph[i];
        const uint32_t len = m->pkt_len - ETH_HLEN, tot_len = be16_to_cpu(iph->tot_len);
        bool good = checksum_ok(iph) ||
                    (m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD;
        if (unlikely(!good || (tot_len != len && !ip_trim(m, tot_len))))
            return b.leave(i, burst_exit::netif_receive_skb);
        octets += len;
        tos_of_all |= iph->tos;
    });
    const unsigned n = unsigned(std::popcount(b.live()));
    auto& ip = b.sd->ip_statistics;
    ip[ipstats_mib::INPKTS].add(n);
    ip[ipstats_mib::INOCTETS].add(octets);
    count_ect(b, n, tos_of_all);
    if (const nf_hook_entries* e = nf_hooks(*b.nd_net, NF_INET_PRE_ROUTING); unlikely(e != nullptr))
        nf_hook_list(b, NF_INET_PRE_ROUTING, e);
}

/// What a burst asks the route cache, but for the addresses and TOS, and how it is compared: three words
/// of an entry's first line, as they lie there.
struct cache_question {
    uint64_t iif;     ///< iif, oif 0 and mark 0
    uint64_t current; ///< TOS 0, plain, and the generation

    explicit cache_question(const ip_burst& b)
        : iif(uint16_t(b.dev->ifindex)),
          current(uint64_t(b.nd_net->ipv4.rt_genid.load(std::memory_order_acquire)) << 32 | 1u << 8) {}
    [[gnu::always_inline]] bool answered_by(const rtable* rt, const iphdr* iph) const {
        const char* key = reinterpret_cast<const char*>(&rt->key);
        const uint64_t addresses = std::rotr(load<uint64_t>(&iph->saddr), 32);
        return ((load<uint64_t>(key) ^ addresses) | (load<uint64_t>(key + 8) ^ iif) |
                (load<uint64_t>(key + 16) ^ (current | (iph->tos & INET_DSCP_MASK)))) == 0;
    }
};
static_assert(offsetof(iphdr, daddr) == offsetof(iphdr, saddr) + 4);
static_assert(offsetof(rt_key, saddr) == 4 && offsetof(rt_key, iif) == 8 && offsetof(rt_key, tos) == 16);
static_assert(offsetof(rtable, rt_genid) == 20);

/// The entry that answers, behind the first of its chain; null: none, or not a plain one.
[[gnu::noinline]] rtable* rt_cache_search(rtable* rt, const iphdr* iph, const cache_question& q,
                                          uint32_t* searched) {
    while (rt && !q.answered_by(rt, iph)) {
        ++*searched;
        rt = rt->dst.rt_next ? rt_from_dst(rt->dst.rt_next) : nullptr;
    }
    return rt;
}

/// Packets that the cache has no plain entry for, on their way out of the burst. Most want nothing but a forward by the tables: those
/// come back when their entry, new or the next hop's own, is plain.
[[gnu::noinline]] void ip_route_miss_list(ip_burst& b, uint32_t missed) {
    const uint32_t done = ip_route_input_list(b.sd, b.dev, b.iph, missed, b.rt);
    b.slow &= ~done;
    for_each_bit(done, [&](unsigned i) { rte_prefetch0(b.rt[i]->dst.neighbour); });
    for_each_bit(missed & ~done, [&](unsigned i) {
        auto reason = skb_drop_reason::NOT_SPECIFIED;
        if (!ip_route_input_burst(b.sd, b.dev, b.iph[i], &b.rt[i], &reason))
            return;
        b.slow &= ~(1u << i);
        if (unlikely(!b.rt[i])) {
            kfree_skb_reason(burst_skb(b, i), reason);
            b.gone |= 1u << i;
        } else if (!b.rt[i]->plain_for(b.iph[i]->protocol)) {
            b.leave(i, burst_exit::ip_forward);
        }
    });
}

/// The route cache: a hit of the current generation that is a plain forward stays.
void ip_rcv_finish_list(ip_burst& b) {
    const rt_hash_shard& shard = *b.sd->rt_shard;
    const uint32_t jiffies = uint32_t(b.sd->jiffies);
    const cache_question question(b);
    dst_entry** bucket[NET_RX_BURST];
    for_each_live(b, [&](unsigned i) {
        const iphdr* iph = b.iph[i];
        bucket[i] = &shard.rt_hash_table[rt_hash_seeded(iph->daddr, iph->saddr, uint32_t(question.iif),
                                                        shard.rt_hash_seed) &
                                         shard.rt_hash_mask];
        rte_prefetch0(bucket[i]);
    });
    for_each_live(b, [&](unsigned i) {
        dst_entry* head = *bucket[i];
        b.rt[i] = head ? rt_from_dst(head) : nullptr;
        rte_prefetch0(b.rt[i]);
    });
    uint32_t searched = 0, missed = 0;
    for_each_live(b, [&](unsigned i) {
        rtable* rt = b.rt[i];
        if (unlikely(!rt || !question.answered_by(rt, b.iph[i]))) {
            b.rt[i] = rt = rt_cache_search(rt, b.iph[i], question, &searched);
            if (!rt) {
                missed |= 1u << i;
                return b.leave(i, burst_exit::ip_rcv_finish);
            }
        }
        rte_prefetch0(rt->dst.neighbour);
        ++rt->dst.__use;
        rt->dst.lastuse = jiffies;
    });
    b.sd->rt_stat[rt_cache_stat::in_hit].add(unsigned(std::popcount(b.live())));
    b.sd->rt_stat[rt_cache_stat::in_hlist_search].add(searched);
    if (unlikely(missed))
        ip_route_miss_list(b, missed);
}

/// ip_forward for routes that are a plain forward: TTL, mtu; then FORWARD.
void ip_forward_list(ip_burst& b) {
    // Most of a burst goes to few next hops: the header of the one before is read once.
    const neighbour* last = nullptr;
    uint64_t hh[2] = {};
    for_each_live(b, [&](unsigned i) {
        iphdr* iph = b.iph[i];
        const rtable* rt = b.rt[i];
        bool plain = iph->ttl > 1 && be16_to_cpu(iph->tot_len) <= rt->dst.mtu;
        if (unlikely(rt->dst.neighbour != last)) {
            last = neigh_hh_read(rt->dst.neighbour, hh) ? rt->dst.neighbour : nullptr;
            plain = plain && last;
        }
        if (unlikely(!plain))
            return b.leave(i, burst_exit::ip_forward);
        b.hh[i][0] = hh[0];
        b.hh[i][1] = hh[1];
        ip_decrease_ttl(iph);
    });
    // Counted before the hooks, as in the kernel: what FORWARD drops is a forwarded datagram all the same.
    b.sd->ip_statistics[ipstats_mib::OUTFORWDATAGRAMS].add(unsigned(std::popcount(b.live())));
    if (const nf_hook_entries* e = nf_hooks(*b.nd_net, NF_INET_FORWARD); unlikely(e != nullptr))
        nf_hook_list(b, NF_INET_FORWARD, e);
}

/// A device that is no port takes its frames one by one.
[[gnu::noinline]] void dev_hard_start_xmit(ip_burst& b, unsigned i) {
    net_device* dev = b.rt[i]->dst.dev;
    sk_buff* skb = skb_from_mbuf(b.m[i]);
    if (!(b.skbs >> i & 1))
        skb_init(skb, dev, b.sd->now_ns);
    skb->dev = dev;
    dev->netdev_ops->ndo_start_xmit(skb, dev);
}

/// Where the packets of a burst go: most of it leaves by one device, whose stage is looked up once.
struct burst_output {
    const net_device* dev = nullptr;
    tx_stage* stage = nullptr; ///< null: not a port
    uint64_t octets = 0;       ///< of IP datagrams

    /// Puts the cached link header in front and the frame on its port's stage.
    [[gnu::always_inline]] void neigh_hh_output(ip_burst& b, unsigned i) {
        rte_mbuf* m = b.m[i];
        std::memcpy(reinterpret_cast<char*>(b.iph[i]) - 16, b.hh[i], 16);
        if (unlikely(b.skbs >> i & 1)) { // back to the Ethernet header
            m->data_off = uint16_t(m->data_off - ETH_HLEN);
            m->data_len = uint16_t(m->data_len + ETH_HLEN);
            m->pkt_len += ETH_HLEN;
        }
        if (unlikely(b.rt[i]->dst.dev != dev)) {
            dev = b.rt[i]->dst.dev;
            stage = is_port(dev) ? &port_tx_stage(*port_of(dev), *b.sd) : nullptr;
        }
        octets += m->pkt_len - ETH_HLEN;
        if (likely(stage != nullptr))
            port_stage(*stage, m);
        else
            dev_hard_start_xmit(b, i);
    }
};

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
    burst_output out;
    const uint32_t live = b.live();
    if (likely(live == b.all())) {
        for (unsigned i = 0, count = b.count; i < count; ++i)
            out.neigh_hh_output(b, i);
    } else {
        for_each_bit(b.all() & ~b.gone, [&](unsigned i) {
            if (live >> i & 1)
                out.neigh_hh_output(b, i);
            else
                leave_burst(b, i);
        });
    }
    b.sd->ip_statistics[ipstats_mib::OUTPKTS].add(unsigned(std::popcount(live)));
    b.sd->ip_statistics[ipstats_mib::OUTOCTETS].add(out.octets);
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
