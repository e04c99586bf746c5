// SPDX-License-Identifier: BSD-3-Clause
//
// The burst path: frames of one receive burst, from the Ethernet header to the queue or transmit stage of
// the next hop's port. Each stage is one loop over the burst; memory that the next one needs is prefetched.
//
//   eth_type_trans_list -> ip_rcv_list (checks, PRE_ROUTING) -> ip_rcv_finish_list (route cache)
//     -> ip_forward_list (TTL, mtu, FORWARD) -> ip_output_list (POST_ROUTING, link header, sending)
//
// On the path of a cached flow there is no lock, allocation, virtual or indirect call per packet.
// Door: netif_receive_burst. Threads: the worker that received the burst; under RCU to its end.
// Origin: ip_list_rcv, ip_sublist_rcv, ip_list_rcv_finish (net/ipv4/ip_input.c); the checks are
// ip_rcv_core's, ip_forward's and neigh_hh_output's, for the case that all of them pass.
#include <algorithm>
#include <bit>
#include <cstring>

#include <rte_prefetch.h>

#include "alloc/prefetch.h"
#include "dataplane/ip/burst.h"
#include "dataplane/ip/ip.h"
#include "dataplane/ip/ip_rcv_check.h"
#include "dataplane/worker/stage_clock.h"
#include "dataplane/worker/worker.h"
#include "neigh/packet_work.h"
#include "route/rt_bucket_list.h"

namespace slabfwd {

namespace {

constexpr uint64_t MAC_MASK = 0x0000ffffffffffff;
/// Receive flags that take a frame off the path: a tag the driver stripped, a bad header checksum.
constexpr uint64_t RX_NOT_PLAIN = RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_IP_CKSUM_BAD;

template <class T>
[[gnu::always_inline]] inline T load(const void* p) {
    T v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

/// Stands for a frame that is too short to be looked at; not plain, whatever it is asked.
constexpr char no_frame[ETH_HLEN + sizeof(iphdr)] = {};

/// Whom the frames of the burst have to be for: us, or, where a replayed capture's unicast frames count as
/// sent to us whatever their MAC, anybody but a group.
rcv_address address_of(const net_device* dev) {
    if (is_port(dev) && !port_of(dev)->keep_mac)
        return {0, 1};
    uint64_t mac = 0;
    std::memcpy(&mac, dev->dev_addr, ETH_ALEN);
    return {mac, MAC_MASK};
}

/// The route cache's buckets, for the flows of a burst.
struct rt_buckets {
    rt_bucket* table;
    uint32_t mask;
    rt_hash_rule rule;

    explicit rt_buckets(const ip_burst& b)
        : table(b.sd->rt_shard->rt_hash_table), mask(b.sd->rt_shard->rt_hash_mask),
          rule(uint16_t(b.dev->ifindex), b.sd->rt_shard->rt_hash_seed) {}
    /// The hash of a packet's flow, whose bucket is on its way.
    [[gnu::always_inline]] uint32_t prefetch(const iphdr* iph) const {
        const uint32_t hash = rule(iph->daddr, iph->saddr);
        rte_prefetch0(&table[hash & mask]);
        return hash;
    }
    [[gnu::always_inline]] rt_bucket& of(uint32_t hash) const { return table[hash & mask]; }
};

/// Frames that the driver has nothing to say against and that have room for a header stay. Their
/// buckets of the route cache are asked for before the headers are checked, which takes about as
/// long as the memory: what turns out to be no header has been hashed for nothing. Returns how many
/// bytes the frames have.
uint64_t eth_type_trans_list(ip_burst& b) {
    const rt_buckets buckets(b); // not read again after a store
    uint64_t bytes = 0;
    for (unsigned i = 0, count = b.count; i < count; ++i) {
        const rte_mbuf* m = b.m[i];
        const char* eth = rte_pktmbuf_mtod(m, const char*);
        if (unlikely((m->ol_flags & RX_NOT_PLAIN) || m->data_len < sizeof no_frame)) {
            b.leave(i, burst_exit::netif_receive_skb);
            eth = no_frame;
        }
        b.iph[i] = reinterpret_cast<iphdr*>(const_cast<char*>(eth) + ETH_HLEN);
        b.len[i] = m->pkt_len - ETH_HLEN;
        bytes += m->pkt_len;
        b.hash[i] = buckets.prefetch(b.iph[i]);
    }
    return bytes;
}

/// Their flows anew, when the hash's secret has changed.
void hash_list(ip_burst& b) {
    for_each_live(
        b, [&b, buckets = rt_buckets(b)](unsigned i) { b.hash[i] = buckets.prefetch(b.iph[i]); });
}

/// Only the checksum is wrong, and a NIC that saw the whole frame says that it is right.
bool checksum_was_verified(const rte_mbuf* m, const iphdr* iph, rcv_address to) {
    const char* eth = reinterpret_cast<const char*>(iph) - ETH_HLEN;
    return (m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD &&
           (load<uint64_t>(eth) & to.mask) == to.mac &&
           (load<uint32_t>(eth + 12) & ETH_IP_IHL5_MASK) == ETH_IP_IHL5;
}

net_device* nf_burst_out(const nf_hook_burst* h, unsigned i) {
    return static_cast<ip_burst*>(h->owner)->rt[i]->dst.dev;
}

sk_buff* nf_burst_skb(nf_hook_burst* h, unsigned i) {
    ip_burst& b = *static_cast<ip_burst*>(h->owner);
    sk_buff* skb = burst_skb(b, i);
    if (h->hook != NF_INET_PRE_ROUTING) {
        skb_rtable_set(skb, b.rt[i]);
        skb->cb.flags |= IPSKB_FORWARDED;
    }
    if (h->hook == NF_INET_POST_ROUTING)
        skb->dev = b.rt[i]->dst.dev;
    return skb;
}

/// A hook has had packet i in its hands: it may have moved the header, or made it longer.
void nf_hook_finish(ip_burst& b, unsigned i, unsigned hook) {
    const iphdr* iph = b.iph[i] = ip_hdr(skb_from_mbuf(b.m[i]));
    if (hook == NF_INET_PRE_ROUTING) {
        if (unlikely(iph->ihl_version != 0x45))
            b.leave(i, burst_exit::ip_rcv_finish);
    } else if (unlikely(be16_to_cpu(iph->tot_len) > b.rt[i]->dst.mtu)) {
        b.leave(i, hook == NF_INET_FORWARD ? burst_exit::ip_forward_finish
                                           : burst_exit::ip_finish_output);
    }
}

/// PRE_ROUTING, FORWARD or POST_ROUTING for the packets still in the burst.
[[gnu::noinline]] void nf_hook_list(ip_burst& b, unsigned hook, const nf_hook_entries* entries) {
    const uint32_t live = b.live();
    if (!live)
        return;
    stage_mark(hook == NF_INET_PRE_ROUTING ? stage::ip_rcv
               : hook == NF_INET_FORWARD   ? stage::ip_forward
                                           : stage::ip_output);
    nf_hook_burst h{.nd_net = b.nd_net,
                    .hook = hook,
                    .live = live,
                    .in = b.dev,
                    .iph = b.iph,
                    .m = b.m,
                    .out = hook == NF_INET_PRE_ROUTING ? nullptr : nf_burst_out,
                    .make_skb = nf_burst_skb,
                    .skbs = &b.skbs,
                    .owner = &b,
                    .bytes = b.octets,
                    .bytes_of = b.octets_of};
    if (hook != NF_INET_PRE_ROUTING) // those that have their sk_buff from an earlier hook
        for_each_bit(live & b.skbs, [&](unsigned i) { nf_burst_skb(&h, i); });
    nf_hook_burst_slow(h, entries);
    b.gone |= live & ~h.live;
    for_each_bit(h.live & b.skbs, [&](unsigned i) { nf_hook_finish(b, i, hook); });
    stage_mark(stage::netfilter);
}

/// Does a packet's fate at one of `hooks` hang on those before it (limit, statistic, LOG)? Then none may
/// overtake a packet that has left the burst.
bool nf_ordered(const ip_burst& b, uint32_t hooks) {
    return b.nd_net->nf->ordered.load(std::memory_order_relaxed) & hooks;
}

/// From the first packet on that has left, or that is not plain(i), all leave at `at`.
template <class F> [[gnu::noinline]] void keep_order(ip_burst& b, burst_exit at, F plain) {
    bool behind = false;
    for_each_bit(b.all() & ~b.gone, [&](unsigned i) {
        if (b.slow >> i & 1)
            behind = true;
        else if (behind || !plain(i)) {
            behind = true;
            b.leave(i, at);
        }
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

void count_ect(ip_burst& b, uint32_t ect) {
    auto& ip = b.sd->ip_statistics;
    ip[ipstats_mib::NOECTPKTS].add(unsigned(std::popcount(b.live() & ~ect)));
    for_each_bit(b.live() & ect, [&](unsigned i) {
        ip[ipstats_mib(unsigned(ipstats_mib::NOECTPKTS) + (b.iph[i]->tos & INET_ECN_MASK))].add(1);
    });
}

/// Every check of ip_rcv_core that a plain header passes; what fails one is for ip_rcv_core to judge.
void ip_rcv_list(ip_burst& b) {
    const rcv_address to = address_of(b.dev);
    const rcv_verdict verdict = ip_rcv_check(b.iph, b.len, b.count, to);
    if (uint32_t bad = verdict.bad & b.live(); unlikely(bad))
        for_each_bit(bad, [&](unsigned i) {
            if (!checksum_was_verified(b.m[i], b.iph[i], to))
                b.leave(i, burst_exit::netif_receive_skb);
        });
    if (unlikely(nf_ordered(b, 1u << NF_INET_PRE_ROUTING)))
        keep_order(b, burst_exit::netif_receive_skb, [](unsigned) { return true; });
    uint32_t padding = 0; // received, but not sent
    for_each_bit(verdict.resize & b.live(), [&](unsigned i) {
        const uint32_t tot_len = be16_to_cpu(b.iph[i]->tot_len);
        if (!ip_trim(b.m[i], tot_len))
            return b.leave(i, burst_exit::netif_receive_skb);
        padding += b.len[i] - tot_len;
    });
    for_each_bit(b.all() & b.slow, [&](unsigned i) { b.octets -= uint64_t(b.m[i]->pkt_len) - ETH_HLEN; });
    const unsigned n = unsigned(std::popcount(b.live()));
    auto& ip = b.sd->ip_statistics;
    ip[ipstats_mib::INPKTS].add(n);
    ip[ipstats_mib::INOCTETS].add(b.octets);
    b.octets -= padding;
    b.octets_of = b.live();
    count_ect(b, verdict.ect);
    const nf_hook_entries* e = nf_hooks(*b.nd_net, NF_INET_PRE_ROUTING);
    if (likely(!e))
        return;
    const uint64_t secret = b.sd->rt_shard->rt_hash_seed;
    nf_hook_list(b, NF_INET_PRE_ROUTING, e);
    if (unlikely(b.sd->rt_shard->rt_hash_seed != secret)) // what a hook sent has had the hash reordered
        hash_list(b);
}

/// What a burst asks the route cache, but for the addresses, TOS and mark, and how it is compared: three words
/// of an entry's first line, as they lie there.
struct cache_question {
    uint64_t iif; ///< iif, oif 0 and mark 0
    uint64_t current;

    explicit cache_question(const ip_burst& b)
        : iif(uint16_t(b.dev->ifindex)),
          current(rt_plain_state(b.nd_net->ipv4.rt_genid.load(std::memory_order_acquire))) {}
    [[gnu::always_inline]] bool answered_by(const rtable* rt, const iphdr* iph,
                                            uint64_t mark) const {
        const uint64_t addresses = std::rotr(load<uint64_t>(&iph->saddr), 32);
        return ((rt_key_word(rt->key, 0) ^ addresses) |
                (rt_key_word(rt->key, 8) ^ (iif | mark << 32)) |
                ((rt_state(rt) ^ (current | (iph->tos & INET_DSCP_MASK))) & ~RT_STATE_KIND)) == 0;
    }
};
static_assert(offsetof(iphdr, daddr) == offsetof(iphdr, saddr) + 4);
static_assert(offsetof(rt_key, saddr) == 4 && offsetof(rt_key, iif) == 8);

/// The entry that answers, in the chain of a hash's bucket; null: none, or not a plain one. Found behind one
/// that no packet used lately it becomes the first: those that a flood has left stand in nobody's way.
[[gnu::noinline]] rtable* rt_cache_search(rt_bucket& bucket, uint32_t hash, const iphdr* iph, uint64_t mark,
                                          const cache_question& q, softnet_data& sd, uint32_t* searched) {
    rtable* const first = bucket.first_for(hash);
    rtable *before = nullptr, *rt = first;
    unsigned looked = 0;
    for (; rt && !q.answered_by(rt, iph, mark); rt = rt_next_in_chain(rt)) {
        ++looked;
        before = rt;
    }
    packet_work_seen(sd, packet_work::entries, looked + (rt != nullptr));
    *searched += looked;
    if (rt && before && first->dst.lastuse != uint32_t(sd.jiffies))
        bucket.to_front(before, rt);
    return rt;
}

/// Packets that the cache has no plain entry for. Most want nothing but a forward by the tables: those stay in
/// the burst when their entry, new or the next hop's own, is plain; the others leave.
[[gnu::noinline]] void ip_route_miss_list(ip_burst& b, uint32_t missed, rt_asked& asked) {
    stage_mark(stage::route_cache);
    const uint32_t done = ip_route_input_list(b.sd, b.dev, b.iph, b.hash, missed, asked, b.rt);
    const uint32_t others = missed & ~done;
    for_each_bit(others, [&](unsigned i) {
        auto reason = skb_drop_reason::NOT_SPECIFIED;
        if (!ip_route_input_burst(b.sd, b.dev, b.iph[i], &b.rt[i], &reason)) {
            b.leave(i, burst_exit::ip_rcv_finish);
        } else if (unlikely(!b.rt[i])) {
            kfree_skb_reason(burst_skb(b, i), reason);
            b.gone |= 1u << i;
        }
    });
    // Only now: one of the others may have found the neighbour of an entry that an earlier packet has, too, to
    // be gone, and then the entry is plain no more.
    if (others)
        for_each_bit(missed & ~(b.slow | b.gone), [&](unsigned i) {
            if (!b.rt[i]->plain_for(b.iph[i]->protocol))
                b.leave(i, burst_exit::ip_forward);
        });
    stage_mark(stage::ip_route_input);
}

/// The route cache: a hit of the current generation that is a plain forward stays. MARKED: a hook may
/// have changed the addresses of those that have an sk_buff, and marked them.
template <bool MARKED>
void rt_cache_list(ip_burst& b) {
    const uint32_t jiffies = uint32_t(b.sd->jiffies);
    const cache_question question(b);
    const rt_buckets buckets(b);
    if constexpr (MARKED)
        for_each_bit(b.live() & b.skbs, [&](unsigned i) { b.hash[i] = buckets.prefetch(b.iph[i]); });
    uint32_t searched = 0;
    uint32_t missed = rt_bucket_list(buckets.table, buckets.mask, b.hash, b.count, b.rt) & b.live();
    rt_asked asked;
    if constexpr (MARKED)
        missed = 0; // one that is marked asks the rules for itself
    else if (unlikely(missed))
        ip_route_ask_list(b.sd, b.iph, b.hash, missed, asked);
    for_each_of(b, b.live() & ~missed, [&](unsigned i) {
        rtable* rt = b.rt[i];
        const uint32_t mark = MARKED && (b.skbs >> i & 1) ? skb_from_mbuf(b.m[i])->mark : 0;
        if (unlikely((MARKED && !rt) || !question.answered_by(rt, b.iph[i], mark))) {
            b.rt[i] = rt =
                rt_cache_search(buckets.of(b.hash[i]), b.hash[i], b.iph[i], mark, question, *b.sd, &searched);
            if (!rt) {
                if (MARKED && mark)
                    b.leave(i, burst_exit::ip_rcv_finish);
                else
                    missed |= 1u << i;
                return;
            }
        }
        rte_prefetch0(rt->dst.neighbour);
        ++rt->dst.__use;
        rt->dst.lastuse = jiffies;
    });
    b.sd->rt_stat[rt_cache_stat::in_hit].add(unsigned(std::popcount(b.live() & ~missed)));
    b.sd->rt_stat[rt_cache_stat::in_hlist_search].add(searched);
    b.sd->rt_missed = missed;
    if (unlikely(missed))
        ip_route_miss_list(b, missed, asked);
}

void ip_rcv_finish_list(ip_burst& b) {
    if (likely(!b.skbs))
        rt_cache_list<false>(b);
    else
        rt_cache_list<true>(b);
}

/// May packet i be forwarded as it is?
bool ip_forward_plain(const ip_burst& b, unsigned i) {
    uint64_t hh[2];
    const rtable* rt = b.rt[i];
    return b.iph[i]->ttl > 1 && be16_to_cpu(b.iph[i]->tot_len) <= rt->dst.mtu &&
           neigh_hh_read(rt->dst.neighbour, hh);
}

/// The next hop of the packets before, and its link header: most of a burst goes to few of them.
struct burst_next_hop {
    const neighbour* last = nullptr; ///< null: its header may not be used
    uint64_t hh[2] = {};

    /// Another next hop: false when its header may not be used.
    [[gnu::always_inline]] bool change(ip_burst& b, const rtable* rt, bool first) {
        last = neigh_hh_read(rt->dst.neighbour, hh) ? rt->dst.neighbour : nullptr;
        if (first)
            b.out = is_port(rt->dst.dev) ? rt->dst.dev : nullptr;
        else if (rt->dst.dev != b.out)
            b.out = nullptr;
        return last;
    }
};

/// The 16 bytes in front of a header, word by word: where next hops change from packet to packet they have
/// just been written so, and one wide load waits until two narrow stores have left the core.
[[gnu::always_inline]] inline void hh_write(void* to, const uint64_t hh[2]) {
    uint64_t words[2] = {hh[0], hh[1]};
    asm("" : "+r"(words[0]), "+r"(words[1])); // not to be merged again
    std::memcpy(to, &words[0], 8);
    std::memcpy(static_cast<char*>(to) + 8, &words[1], 8);
}

/// TTL, mtu and next hop of the packets that are plain. KEEP: hooks are to see the frames with the link header
/// that they came with; the new one waits in hh.
template <bool KEEP>
void ip_forward_plain_list(ip_burst& b) {
    burst_next_hop next;
    bool first = true;
    for_each_live(b, [&](unsigned i) {
        iphdr* iph = b.iph[i];
        const rtable* rt = b.rt[i];
        if (unlikely(rt->dst.neighbour != next.last)) {
            const bool usable = next.change(b, rt, first);
            first = false;
            if (!usable)
                return b.leave(i, burst_exit::ip_forward);
        }
        if (unlikely(iph->ttl <= 1 || be16_to_cpu(iph->tot_len) > rt->dst.mtu))
            return b.leave(i, burst_exit::ip_forward);
        hh_write(KEEP ? reinterpret_cast<char*>(b.hh[i]) : reinterpret_cast<char*>(iph) - 16, next.hh);
        ip_decrease_ttl(iph);
    });
}

/// ip_forward for routes that are a plain forward: TTL, mtu; then FORWARD.
void ip_forward_list(ip_burst& b) {
    if (unlikely(nf_ordered(b, 1u << NF_INET_FORWARD | 1u << NF_INET_POST_ROUTING)))
        keep_order(b, burst_exit::ip_forward, [&](unsigned i) { return ip_forward_plain(b, i); });
    const nf_hook_entries* e = nf_hooks(*b.nd_net, NF_INET_FORWARD);
    b.out = nullptr;
    b.hh_kept = e || nf_hooks(*b.nd_net, NF_INET_POST_ROUTING);
    if (likely(!b.hh_kept))
        ip_forward_plain_list<false>(b);
    else
        ip_forward_plain_list<true>(b);
    // Counted before the hooks, as in the kernel: what FORWARD drops is a forwarded datagram all the same.
    b.sd->ip_statistics[ipstats_mib::OUTFORWDATAGRAMS].add(unsigned(std::popcount(b.live())));
    if (unlikely(e != nullptr))
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

    /// Puts the cached link header in front, unless it is there, and the frame on its port's stage.
    [[gnu::always_inline]] void neigh_hh_output(ip_burst& b, unsigned i) {
        rte_mbuf* m = b.m[i];
        if (b.hh_kept)
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
    /// The same for plain packets that leave by one port, without an sk_buff: the runs between
    /// those that leave.
    template <class F>
    [[gnu::always_inline]] void runs(ip_burst& b, F leave) {
        put_headers(b);
        tx_stage& st = port_tx_stage(*port_of(b.out), *b.sd);
        rte_mbuf* m[PACKET_BURST + TX_RUN];
        std::fill_n(std::copy_n(b.m, b.count, m), TX_RUN, nullptr);
        octets = b.octets;
        for_each_bit(b.slow & b.octets_of,
                     [&](unsigned i) { octets -= uint64_t(m[i]->pkt_len) - ETH_HLEN; });
        st.bytes += uint32_t(octets) + unsigned(std::popcount(b.live())) * ETH_HLEN;
        unsigned begin = 0;
        for_each_bit(b.slow, [&](unsigned i) {
            port_stage_run(st, m + begin, i - begin);
            leave(i);
            begin = i + 1;
        });
        port_stage_run(st, m + begin, b.count - begin);
    }
    static void put_headers(ip_burst& b) {
        if (b.hh_kept)
            for_each_live(b, [&b](unsigned i) {
                std::memcpy(reinterpret_cast<char*>(b.iph[i]) - 16, b.hh[i], 16);
            });
    }
    /// The same for a whole burst.
    void all(ip_burst& b) {
        put_headers(b);
        octets = b.octets;
        stage_mark(stage::ip_output);
        port_xmit_burst(port_tx_stage(*port_of(b.out), *b.sd), b.m, b.count,
                        uint32_t(octets) + b.count * ETH_HLEN);
        stage_mark(stage::tx);
    }
};

/// A packet that is not plain goes on alone, from the stage that it did not pass.
[[gnu::noinline]] void leave_burst(ip_burst& b, unsigned i) {
    net& n = *b.nd_net;
    if (b.exit[i] == burst_exit::netif_receive_skb)
        return netif_receive_mbuf(*b.sd, b.dev, b.m[i]);
    sk_buff* skb = burst_skb(b, i);
    switch (b.exit[i]) {
    case burst_exit::netif_receive_skb:
        break;
    case burst_exit::ip_rcv_finish:
        ip_rcv_finish(n, skb);
        break;
    case burst_exit::ip_forward:
        skb_rtable_set(skb, b.rt[i]);
        ip_forward(skb);
        break;
    case burst_exit::ip_forward_finish:
        ip_forward_finish(n, skb);
        break;
    case burst_exit::ip_finish_output:
        ip_finish_output(n, skb);
        break;
    }
}

/// POST_ROUTING, then every packet of the burst in its order: sent, or off on its own.
void ip_output_list(ip_burst& b) {
    if (const nf_hook_entries* e = nf_hooks(*b.nd_net, NF_INET_POST_ROUTING); unlikely(e != nullptr))
        nf_hook_list(b, NF_INET_POST_ROUTING, e);
    const uint32_t live = b.live();
    const bool one_way = b.out && !(b.skbs & live); // for all that are live
    burst_output out;
    const auto leave = [&b](unsigned i) {
        stage_mark(stage::ip_output);
        leave_burst(b, i);
        stage_mark(stage::slow);
    };
    if (likely(live == b.all() && one_way)) {
        out.all(b);
    } else if (one_way && !b.gone && !b.skbs) {
        out.runs(b, leave);
    } else {
        for_each_bit(b.all() & ~b.gone, [&](unsigned i) {
            if (live >> i & 1)
                out.neigh_hh_output(b, i);
            else
                leave(i);
        });
    }
    b.sd->ip_statistics[ipstats_mib::OUTPKTS].add(unsigned(std::popcount(live)));
    b.sd->ip_statistics[ipstats_mib::OUTOCTETS].add(out.octets);
}

/// A burst of up to PACKET_BURST frames, with their flows' buckets on their way. Returns how many
/// bytes they have.
uint64_t ip_burst_begin(ip_burst& b, softnet_data& sd, net_device* dev, rte_mbuf** m, unsigned n) {
    b.sd = &sd;
    b.nd_net = sd.nd_net;
    b.dev = dev;
    b.count = n;
    b.slow = b.gone = b.skbs = 0;
    b.m = m;
    const uint64_t bytes = eth_type_trans_list(b);
    b.octets = bytes - uint64_t(n) * ETH_HLEN;
    stage_mark(stage::eth_type_trans);
    return bytes;
}

void ip_burst_end(ip_burst& b) {
    ip_rcv_list(b);
    stage_mark(stage::ip_rcv);
    ip_rcv_finish_list(b);
    stage_mark(stage::route_cache);
    ip_forward_list(b);
    stage_mark(stage::ip_forward);
    ip_output_list(b);
    stage_mark(stage::ip_output);
}

/// Frames on their way through the stages: up to PACKET_BURST. Returns how many bytes they had.
[[gnu::flatten]] uint64_t ip_burst_rcv(softnet_data& sd, net_device* dev, rte_mbuf** m,
                                       unsigned n) {
    ip_burst b;
    const uint64_t bytes = ip_burst_begin(b, sd, dev, m, n);
    ip_burst_end(b);
    return bytes;
}

/// The same for more than PACKET_BURST, up to twice as many. Flows that the cache does not know
/// have buckets that no packet used lately: their memory takes longer than a burst's header checks,
/// so the second burst's are asked for before the first goes on. Where all is at hand that would
/// only push other things out of the first-level cache.
[[gnu::noinline, gnu::flatten]] uint64_t ip_two_bursts_rcv(softnet_data& sd, net_device* dev,
                                                           rte_mbuf** m, unsigned n) {
    ip_burst b[2];
    const uint64_t secret = sd.rt_shard->rt_hash_seed;
    uint64_t bytes = ip_burst_begin(b[0], sd, dev, m, PACKET_BURST);
    bytes += ip_burst_begin(b[1], sd, dev, m + PACKET_BURST, n - PACKET_BURST);
    for (ip_burst& one : b) {
        if (unlikely(sd.rt_shard->rt_hash_seed != secret))
            hash_list(one);
        ip_burst_end(one);
    }
    return bytes;
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

uint64_t netif_receive_burst(softnet_data& sd, net_device* dev, rte_mbuf** m, uint16_t n) {
    uint64_t bytes = 0;
    if (unlikely(sd.tracer || !dev->up() || dev->master_ifindex)) { // a VRF's hooks come in between
        bytes = burst_bytes(m, n);
        for (uint16_t i = 0; i < n; ++i)
            netif_receive_mbuf(sd, dev, m[i]);
        stage_mark(stage::slow);
        return bytes;
    }
    while (n) {
        const bool two = n > PACKET_BURST && sd.rt_missed;
        const auto some = std::min<uint16_t>(n, two ? 2 * PACKET_BURST : PACKET_BURST);
        bytes += two ? ip_two_bursts_rcv(sd, dev, m, some) : ip_burst_rcv(sd, dev, m, some);
        m += some;
        n = uint16_t(n - some);
    }
    return bytes;
}

} // namespace slabfwd
