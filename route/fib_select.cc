// SPDX-License-Identifier: BSD-3-Clause
//
// Which of several: next hops of a route by a hash of the packet, default routes by what is known
// of their gateways. Doors: fib_select_path (own packets), fib_select_multipath (the input path),
// fib_multipath_hash. The hash is ours (the kernel's is seeded at start, so nobody can depend on
// it), but like the kernel's it is the same for both directions of a flow, and an ICMP error hashes
// as the packet that it is about. Threads: any slot, under RCU. Origin: net/ipv4/fib_semantics.c,
// net/ipv4/route.c (fib_multipath_hash); 6.18.
#include <cstring>

#include "neigh/neighbour.h"
#include "neigh/skbuff.h"
#include "route/fib_lookup.h"
#include "route/l3mdev.h"

namespace slabfwd {

namespace {

/// What a flow is known by.
struct flow_keys {
    uint32_t src = 0, dst = 0;
    uint16_t sport = 0, dport = 0;
    uint8_t proto = 0;
};

uint64_t mix64(uint64_t x) {
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ull;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ull;
    return x ^ x >> 32;
}

/// Both directions of a flow give the same hash: the smaller end comes first.
uint32_t flow_hash(flow_keys k, uint32_t seed) {
    if (k.dst < k.src || (k.dst == k.src && k.dport < k.sport)) {
        std::swap(k.src, k.dst);
        std::swap(k.sport, k.dport);
    }
    uint64_t h = mix64((uint64_t(k.src) << 32 | k.dst) ^ seed);
    h = mix64(h ^ (uint64_t(k.sport) << 24 | uint64_t(k.dport) << 8 | k.proto));
    return uint32_t(h >> 32) & 0x7fffffff;
}

bool icmp_is_err(uint8_t type) {
    return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH || type == ICMP_REDIRECT ||
           type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

/// Copies len bytes at `offset` behind the start of the IP header; false when the packet ends
/// before.
bool header_bytes(const sk_buff* skb, unsigned offset, void* to, unsigned len) {
    const int base = int(skb->network_header) - int(skb_mbuf(skb)->data_off);
    return base + int(offset) >= 0 && skb_copy_bits(skb, unsigned(base) + offset, to, len);
}

/// Addresses; of the packet inside, when this is an ICMP error. Origin: ip_multipath_l3_keys.
flow_keys l3_keys(const sk_buff* skb) {
    const iphdr* iph = ip_hdr(skb);
    flow_keys k{.src = iph->saddr.raw, .dst = iph->daddr.raw};
    if (iph->protocol != IPPROTO_ICMP_ || (iph->frag_off & cpu_to_be16(IP_OFFSET)))
        return k;
    icmphdr icmph;
    iphdr inner;
    if (header_bytes(skb, iph->hdr_len(), &icmph, sizeof(icmph)) && icmp_is_err(icmph.type) &&
        header_bytes(skb, iph->hdr_len() + sizeof(icmph), &inner, sizeof(inner)))
        k = {.src = inner.saddr.raw, .dst = inner.daddr.raw};
    return k;
}

/// Addresses, protocol, ports; no ports of fragments, so that all of a datagram go one way.
flow_keys l4_keys(const sk_buff* skb) {
    const iphdr* iph = ip_hdr(skb);
    flow_keys k{.src = iph->saddr.raw, .dst = iph->daddr.raw, .proto = iph->protocol};
    be16_t ports[2];
    const bool has_ports = iph->protocol == IPPROTO_TCP_ || iph->protocol == IPPROTO_UDP_;
    if (has_ports && !ip_is_fragment(iph->frag_off) &&
        header_bytes(skb, iph->hdr_len(), ports, sizeof(ports))) {
        k.sport = ports[0].raw;
        k.dport = ports[1].raw;
    }
    return k;
}

flow_keys flow_keys_of(const flowi4* fl4) {
    return {.src = fl4->saddr.raw,
            .dst = fl4->daddr.raw,
            .sport = fl4->fl4_sport.raw,
            .dport = fl4->fl4_dport.raw,
            .proto = fl4->flowi4_proto};
}

/// What fib_multipath_hash_fields names of k; the packet inside a tunnel is not looked at. Origin:
/// fib_multipath_custom_hash_skb.
flow_keys custom_keys(const flow_keys& k, uint32_t fields) {
    constexpr uint32_t SRC_IP = 1, DST_IP = 2, IP_PROTO = 4, SRC_PORT = 16, DST_PORT = 32;
    flow_keys to;
    to.src = fields & SRC_IP ? k.src : 0;
    to.dst = fields & DST_IP ? k.dst : 0;
    to.proto = fields & IP_PROTO ? k.proto : 0;
    to.sport = fields & SRC_PORT ? k.sport : 0;
    to.dport = fields & DST_PORT ? k.dport : 0;
    return to;
}

/// The gateway's neighbour, if there is one.
const neighbour* gateway_neighbour(const fib_nh& nh) {
    const net& n = *nh.fib_nh_dev->nd_net;
    return nh.gw_family == AF_INET_ ? __neigh_lookup_noref(n.arp_tbl, nh.fib_nh_gw4, nh.fib_nh_dev)
                                    : __neigh_lookup_noref(n.nd_tbl, nh.gw6_key, nh.fib_nh_dev);
}

/// Is the gateway's neighbour good, as far as it is known? Origin: fib_good_nh.
bool fib_good_nh(const fib_nh& nh) {
    if (nh.fib_nh_scope != RT_SCOPE_LINK || !nh.gw_family)
        return true;
    const neighbour* n = gateway_neighbour(nh);
    return !n || (n->nud_state.load(std::memory_order_relaxed) & NUD_VALID);
}

/// The routes of one default group, asked one by one whether their gateway answers.
/// Origin: fib_detect_death and the state around it.
struct default_candidates {
    int last_chosen;                 ///< fa_default of the group
    fib_info* last_resort = nullptr; ///< the best of those that do not answer for sure
    int last_idx = -1;

    /// True when fi, number `order` of the group, may be taken.
    bool alive(fib_info* fi, int order) {
        const fib_nh& nh = fi->fib_nh_[0];
        const neighbour* n = gateway_neighbour(nh);
        if (!n)
            return true;
        const uint8_t state = n->nud_state.load(std::memory_order_relaxed);
        if (state == NUD_REACHABLE || ((state & NUD_VALID) && order != last_chosen))
            return true;
        if ((state & NUD_VALID) ||
            (last_idx < 0 && order > last_chosen && state != NUD_INCOMPLETE)) {
            last_resort = fi;
            last_idx = order;
        }
        return false;
    }
};

/// A default route that competes: unicast by a gateway on the link, of the scope that was found.
bool competes(const fib_alias* fa, const fib_result* res) {
    const fib_nh& nh = fa->fa_info->fib_nh_[0];
    return fa->fa_info->fib_scope == res->scope && fa->fa_type == RTN_UNICAST && nh.gw_family &&
           nh.fib_nh_scope == RT_SCOPE_LINK;
}

void assign(fib_result* res, fib_info* fi) {
    res->fi = fi;
    res->nh_sel = 0;
}

/// Among default routes of the same TOS and metric, prefers one whose gateway is known to answer,
/// and goes on to the next when the one taken last does not. Origin: fib_select_default.
void fib_select_default(const flowi4* flp, fib_result* res) {
    fib_alias* first = nullptr; // the group's, where the choice is remembered
    fib_info* fi = nullptr;
    int order = -1;
    uint32_t last_prio = res->fi->fib_priority;
    uint8_t last_tos = 0;
    default_candidates group{-1};
    for (fib_alias* fa = rcu_dereference(res->fn->fn_alias); fa;
         fa = rcu_dereference(fa->fa_next)) {
        fib_info* next = fa->fa_info;
        if (fa->fa_tos && !fib_dscp_masked_match(fa->fa_tos, flp))
            continue;
        if (next->fib_priority > last_prio && fa->fa_tos == last_tos) {
            if (last_tos)
                continue;
            break;
        }
        if (next->fib_flags & int(RTNH_F_DEAD))
            continue;
        last_tos = fa->fa_tos;
        last_prio = next->fib_priority;
        if (!competes(fa, res))
            continue;
        if (!fi) {
            if (next != res->fi)
                break;
            first = fa;
            group.last_chosen = first->fa_default.load(std::memory_order_relaxed);
        } else if (group.alive(fi, order)) {
            assign(res, fi);
            first->fa_default.store(int16_t(order), std::memory_order_relaxed);
            return;
        }
        fi = next;
        ++order;
    }
    if (!first)
        return;
    int chosen = -1; // a single candidate is not asked
    if (order > 0) {
        if (group.alive(fi, order)) {
            assign(res, fi);
            chosen = order;
        } else {
            if (group.last_idx >= 0)
                assign(res, group.last_resort);
            chosen = group.last_idx;
        }
    }
    first->fa_default.store(int16_t(chosen), std::memory_order_relaxed);
}

} // namespace

uint32_t fib_multipath_hash(net& n, const flowi4* fl4, const sk_buff* skb) {
    flow_keys k;
    const int policy = n.ipv4.sysctl_fib_multipath_hash_policy;
    if (policy == 1 || policy == 3)
        k = skb ? l4_keys(skb) : flow_keys_of(fl4);
    else if (skb)
        k = l3_keys(skb);
    else
        k = {.src = fl4->saddr.raw, .dst = fl4->daddr.raw};
    if (policy == 3)
        k = custom_keys(k, uint32_t(n.ipv4.sysctl_fib_multipath_hash_fields));
    uint32_t h = flow_hash(k, n.ipv4.fib->fib_hash_seed);
    if (fl4 && fl4->flowi4_multipath_hash)
        h = uint32_t(mix64(uint64_t(fl4->flowi4_multipath_hash) << 32 | h) >> 33);
    return h;
}

void fib_select_multipath(fib_result* res, uint32_t hash, const flowi4* fl4) {
    fib_info* fi = res->fi;
    const bool use_neigh = fi->fib_net_->ipv4.sysctl_fib_multipath_use_neigh;
    const be32_t saddr = fl4 ? fl4->saddr : be32_t{};
    const int full = saddr ? 3 : 1; // the right source counts twice, the share of the hash once
    int best = -1;
    for (int nhsel = 0; nhsel < fi->fib_nhs && best < full; ++nhsel) {
        const fib_nh& nh = fi->fib_nh_[nhsel];
        const int upper_bound = nh.fib_nh_upper_bound.load(std::memory_order_relaxed);
        if (upper_bound == -1 || (use_neigh && !fib_good_nh(nh)))
            continue;
        const int score =
            (saddr && fib_nh_saddr(&nh) == saddr ? 2 : 0) + (int(hash) <= upper_bound);
        if (score > best) {
            res->nh_sel = uint8_t(nhsel);
            best = score;
        }
    }
}

void fib_select_path(net& n, fib_result* res, flowi4* fl4, const sk_buff* skb) {
    if (!fl4->flowi4_oif) {
        if (res->fi->fib_nhs > 1)
            fib_select_multipath(res, fib_multipath_hash(n, fl4, skb), fl4);
        else if (res->fn && !res->prefixlen && res->type == RTN_UNICAST &&
                 res->fi->fib_tb_id == res->table->tb_id &&
                 res->table->tb_num_default.load(std::memory_order_relaxed) > 1)
            fib_select_default(fl4, res);
    }
    if (fl4->saddr)
        return;
    const net_device* vrf = dev_get_by_index(n, fl4->flowi4_l3mdev);
    const net_device* dev = res->nh()->fib_nh_dev;
    if (!vrf || l3mdev_master_ifindex(dev) == vrf->ifindex)
        fl4->saddr = fib_result_prefsrc(n, res);
    else
        fl4->saddr = inet_select_addr(vrf, be32_t{}, RT_SCOPE_LINK);
}

} // namespace slabfwd
