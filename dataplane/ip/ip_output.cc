// SPDX-License-Identifier: BSD-3-Clause
//
// IPv4 output, one packet at a time: POST_ROUTING, the mtu, fragmentation, the neighbour; and the
// way of packets made here, LOCAL_OUT first. Doors: ip_output and ip_mc_output (dst->output),
// ip_local_out, ip_build_and_send_pkt, ip_fragment. Returns of the output functions: 0, or -errno
// when the packet was dropped and its fellows had better be too. Threads: any slot. Origin:
// net/ipv4/ip_output.c, ip_select_ident of net/ipv4/route.c (6.18).
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "dataplane/ip/ip_net.h"
#include "dataplane/ip/vrf.h"

namespace slabfwd {

using enum skb_drop_reason;

namespace {

/// The mtu that skb has to keep to on its route. Origin: ip_skb_dst_mtu (include/net/ip.h).
uint32_t ip_skb_dst_mtu(const sk_buff* skb) {
    return ip_dst_mtu_maybe_forward(skb->dst, skb->cb.flags & IPSKB_FORWARDED);
}

/// A copy of a multicast or broadcast packet that leaves is received by this host too.
int ip_mc_finish_output(net&, sk_buff* skb) {
    return dev_loopback_xmit(skb);
}

void ip_mc_loop(net& n, const sk_buff* skb) {
    sk_buff* copy = skb_copy(skb);
    if (!copy)
        return;
    BALANCE_INC(balance_stat::copies);
    copy->dst = skb->dst; // this burst's: it is used up before
    trace_packet(copy, "copy for this host");
    NF_HOOK(NF_INET_POST_ROUTING, n, copy, nullptr, copy->dev, ip_mc_finish_output);
}

} // namespace

int ip_output(sk_buff* skb) {
    net_device *dev = skb->dst->dev, *indev = skb->dev;
    skb->dev = dev;
    skb->protocol = cpu_to_be16(ETH_P_IP);
    trace_packet(skb, "dev %s", dev->name);
    return NF_HOOK_COND(NF_INET_POST_ROUTING, dev_net(dev), skb, indev, dev, ip_finish_output,
                        !(IPCB(skb)->flags & IPSKB_REROUTED));
}

int ip_mc_output(sk_buff* skb) {
    const rtable* rt = skb_rtable(skb);
    net_device* dev = rt->dst.dev;
    net& n = dev_net(dev);
    skb->dev = dev;
    skb->protocol = cpu_to_be16(ETH_P_IP);
    if (rt->rt_flags & RTCF_MULTICAST) {
        if ((rt->rt_flags & RTCF_LOCAL) || !(IPCB(skb)->flags & IPSKB_FORWARDED))
            ip_mc_loop(n, skb);
        if (ip_hdr(skb)->ttl == 0) // for this host alone
            return ip_consume(skb), 0;
    }
    if (rt->rt_flags & RTCF_BROADCAST)
        ip_mc_loop(n, skb);
    return NF_HOOK_COND(NF_INET_POST_ROUTING, n, skb, nullptr, dev, ip_finish_output,
                        !(IPCB(skb)->flags & IPSKB_REROUTED));
}

int ip_finish_output(net& n, sk_buff* skb) {
    uint32_t mtu = ip_skb_dst_mtu(skb);
    if (skb_len(skb) > mtu || IPCB(skb)->frag_max_size)
        return ip_fragment(n, skb, mtu, ip_finish_output2);
    return ip_finish_output2(n, skb);
}

int ip_finish_output2(net&, sk_buff* skb) {
    rtable* rt = skb_rtable(skb);
    if (rt->rt_type == RTN_MULTICAST)
        IP_UPD_PO_STATS(ipstats_mib::OUTMCASTPKTS, ipstats_mib::OUTMCASTOCTETS, skb_len(skb));
    else if (rt->rt_type == RTN_BROADCAST)
        IP_UPD_PO_STATS(ipstats_mib::OUTBCASTPKTS, ipstats_mib::OUTBCASTOCTETS, skb_len(skb));
    IP_UPD_PO_STATS(ipstats_mib::OUTPKTS, ipstats_mib::OUTOCTETS, skb_len(skb));

    if (lwtunnel_xmit_redirect(&rt->dst))
        return 0;
    neighbour* neigh = ip_neigh_for_gw(rt, skb);
    if (unlikely(!neigh)) {
        net_warn_ratelimited("%s: No header cache and no neighbour!", __func__);
        kfree_skb_reason(skb, NEIGH_CREATEFAIL);
        return -ENOBUFS;
    }
    trace_packet(skb, "ip_finish_output2 neigh %u.%u.%u.%u dev %s %s", neigh->primary_key.raw & 255,
                 neigh->primary_key.raw >> 8 & 255, neigh->primary_key.raw >> 16 & 255,
                 neigh->primary_key.raw >> 24, skb->dev->name, nud_state_name(neigh->nud_state));
    neigh_output(neigh, skb);
    return 0;
}

// --- packets made here ------------------------------------------------------------------------

int __ip_local_out(net& n, sk_buff* skb) {
    iphdr* iph = ip_hdr(skb);
    IP_INC_STATS(ipstats_mib::OUTREQUESTS);
    iph->tot_len = cpu_to_be16(uint16_t(skb_len(skb)));
    ip_send_check(iph);
    skb->protocol = cpu_to_be16(ETH_P_IP);
    skb = l3mdev_ip_out(n, skb);
    if (!skb)
        return 0;
    const nf_hook_entries* e = nf_hooks(n, NF_INET_LOCAL_OUT);
    return e ? nf_hook_slow(skb, nf_hook_state{NF_INET_LOCAL_OUT, nullptr, skb->dst->dev, &n}, e)
             : 1;
}

int ip_local_out(net& n, sk_buff* skb) {
    trace_packet(skb, "ip_local_out %u bytes, protocol %d", skb_len(skb), ip_hdr(skb)->protocol);
    int verdict = __ip_local_out(n, skb);
    return verdict == 1 ? dst_output(skb) : verdict;
}

namespace {
uint32_t ip_idents_hash(const ip_net& ip, const iphdr* iph) {
    uint64_t h = ip.ip_id_key ^ (uint64_t(iph->daddr.raw) << 32 | iph->saddr.raw);
    h = (h ^ (h >> 32)) * 0xd6e8feb86659fd93u;
    h = (h ^ iph->protocol ^ (h >> 32)) * 0xd6e8feb86659fd93u;
    return uint32_t(h >> 32);
}
} // namespace

void ip_select_ident(net& n, sk_buff* skb) {
    iphdr* iph = ip_hdr(skb);
    if (iph->frag_off & cpu_to_be16(IP_DF)) {
        iph->id = {}; // never fragmented: needs none (RFC 6864)
        return;
    }
    ip_ident& ident = n.ipv4.ip->ip_idents[ip_idents_hash(*n.ipv4.ip, iph) % IP_IDENTS_SZ];
    uint32_t now = uint32_t(jiffies()), old = ident.tstamp.load(std::memory_order_relaxed),
             step = 0;
    if (old != now && ident.tstamp.compare_exchange_strong(old, now, std::memory_order_relaxed))
        step = get_random_u32_below(now - old);
    iph->id = cpu_to_be16(uint16_t(ident.id.fetch_add(step + 1, std::memory_order_relaxed) + step));
}

int ip_build_and_send_pkt(net& n, sk_buff* skb, rtable* rt, const flowi4& fl4, uint8_t proto,
                          const ip_options* opt, const uint8_t* optdata, uint8_t tos, uint8_t ttl,
                          bool df) {
    unsigned optlen = opt ? opt->optlen : 0;
    skb_reset_transport_header(skb);
    skb_push(skb, unsigned(sizeof(iphdr)) + optlen);
    skb_reset_network_header(skb);
    iphdr* iph = ip_hdr(skb);
    iph->ihl_version = uint8_t(0x45 + (optlen >> 2));
    iph->tos = tos;
    iph->tot_len = cpu_to_be16(uint16_t(skb_len(skb)));
    iph->frag_off = df ? cpu_to_be16(IP_DF) : be16_t{};
    iph->ttl = ttl                            ? ttl
               : rt->rt_type == RTN_MULTICAST ? uint8_t(1)
                                              : uint8_t(ip4_dst_hoplimit(n, &rt->dst));
    iph->protocol = proto;
    iph->saddr = fl4.saddr;
    iph->daddr = optlen && opt->srr ? opt->faddr : fl4.daddr;
    skb->mark = fl4.flowi4_mark;
    skb_rtable_set(skb, rt); // no device until ip_output: it came in by none
    ip_select_ident(n, skb);
    if (optlen)
        ip_options_build(n, skb, opt, optdata, fl4.daddr, rt);
    BALANCE_INC(balance_stat::originated);
    int err = ip_local_out(n, skb);
    if (err < 0)
        IP_INC_STATS(ipstats_mib::OUTDISCARDS);
    return err;
}

// --- fragmentation ----------------------------------------------------------------------------

namespace {

/// What is still to be sent of a packet. Origin: struct ip_frag_state.
struct ip_frag_state {
    bool df;              ///< each piece keeps DF (IPSKB_FRAG_PMTU)
    bool not_last_frag;   ///< the packet is itself a fragment with more behind it
    unsigned hlen, mtu;   ///< header; data space of a piece
    unsigned left, ptr;   ///< bytes left, where they start in the packet
    unsigned offset;      ///< of the next piece in the datagram
    const rte_mbuf* frag; ///< pieces as they came in: the segment that is next; null: cut by mtu
};

/// A packet put together here leaves in the pieces that it came in, if these fit. Origin: the
/// frag_list path of ip_do_fragment.
bool ip_fraglist_fits(const sk_buff* skb, unsigned hlen, unsigned mtu) {
    const rte_mbuf* m = skb_mbuf(skb);
    if (!(skb->cb.flags & IPSKB_FRAG_COMPLETE) || !m->next || m->data_len < hlen)
        return false;
    unsigned first = m->data_len - hlen;
    if (first > mtu || (first & 7) || ip_is_fragment(ip_hdr(skb)->frag_off))
        return false;
    for (m = m->next; m; m = m->next)
        if (m->data_len == 0 || m->data_len > mtu || ((m->data_len & 7) && m->next))
            return false;
    return true;
}

ip_frag_state ip_frag_init(const sk_buff* skb, unsigned hlen, unsigned mtu) {
    unsigned frag_off = be16_to_cpu(ip_hdr(skb)->frag_off);
    bool fits = ip_fraglist_fits(skb, hlen, mtu);
    return {.df = !fits && (skb->cb.flags & IPSKB_FRAG_PMTU),
            .not_last_frag = bool(frag_off & IP_MF),
            .hlen = hlen,
            .mtu = mtu,
            .left = skb_len(skb) - hlen,
            .ptr = hlen,
            .offset = (frag_off & IP_OFFSET) << 3,
            .frag = fits ? skb_mbuf(skb) : nullptr};
}

unsigned ip_frag_len(ip_frag_state* state) {
    if (state->frag) {
        unsigned len = state->frag->data_len - (state->ptr == state->hlen ? state->hlen : 0);
        state->frag = state->frag->next;
        return len;
    }
    unsigned len = std::min(state->left, state->mtu);
    return len < state->left ? len & ~7u : len;
}

void ip_copy_metadata(sk_buff* to, const sk_buff* from) {
    to->dev = from->dev;
    to->dst = from->dst;
    to->tstamp = from->tstamp;
    to->protocol = from->protocol;
    to->pkt_type = from->pkt_type;
    to->originated = from->originated;
    to->mark = from->mark;
    to->priority = from->priority;
    to->skb_iif = from->skb_iif;
    to->rt_flags = from->rt_flags;
    to->rt_mtu = from->rt_mtu;
    to->rt_type = from->rt_type;
    to->rt_is_input = from->rt_is_input;
    to->nfct = from->nfct;
    IPCB(to)->flags = from->cb.flags;
}

/// The next piece of skb as a packet of its own; null when out of packets.
sk_buff* ip_frag_next(sk_buff* skb, ip_frag_state* state) {
    unsigned len = ip_frag_len(state);
    sk_buff* piece = alloc_skb(state->hlen + len);
    if (!piece)
        return nullptr;
    skb_append_pieces(piece, state->hlen + len, [&](uint8_t* to, unsigned offset, unsigned n) {
        unsigned head = offset < state->hlen ? std::min(n, state->hlen - offset) : 0;
        memcpy(to, skb_network_header(skb) + offset, head);
        skb_copy_bits(skb, state->ptr + offset + head - state->hlen, to + head, n - head);
    });
    skb_reset_network_header(piece);
    piece->transport_header = uint16_t(piece->network_header + state->hlen);
    ip_copy_metadata(piece, skb);

    state->left -= len;
    iphdr* iph = ip_hdr(piece);
    uint16_t frag_off = uint16_t(state->offset >> 3);
    if (state->df)
        frag_off |= IP_DF;
    if (state->left || state->not_last_frag)
        frag_off |= IP_MF;
    iph->frag_off = cpu_to_be16(frag_off);
    iph->tot_len = cpu_to_be16(uint16_t(state->hlen + len));
    ip_send_check(iph);
    state->ptr += len;
    state->offset += len;
    return piece;
}

int ip_fragment_failed(sk_buff* skb, skb_drop_reason reason, int err) {
    IP_INC_STATS(ipstats_mib::FRAGFAILS);
    kfree_skb_reason(skb, reason);
    return err;
}

} // namespace

int ip_fragment(net& n, sk_buff* skb, uint32_t mtu, int (*output)(net&, sk_buff*)) {
    const inet_skb_parm* cb = IPCB(skb);
    bool df = bool(ip_hdr(skb)->frag_off & cpu_to_be16(IP_DF));
    if (!df || ((cb->flags & IPSKB_FRAG_COMPLETE) && cb->frag_max_size <= mtu))
        return ip_do_fragment(n, skb, mtu, output);
    icmp_send(skb, ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, cpu_to_be32(mtu));
    return ip_fragment_failed(skb, PKT_TOO_BIG, -EMSGSIZE);
}

int ip_do_fragment(net& n, sk_buff* skb, uint32_t mtu, int (*output)(net&, sk_buff*)) {
    inet_skb_parm* cb = IPCB(skb);
    unsigned hlen = ip_hdrlen(skb);
    if (cb->frag_max_size && cb->frag_max_size < mtu)
        mtu = cb->frag_max_size;
    // A route's mtu may be as small as it likes. Below a header's length the difference wraps, as
    // the kernel's does: the packet leaves in one piece. Room for no unit of data would never end.
    const unsigned room = mtu - hlen;
    if (room < 8)
        return ip_fragment_failed(skb, PKT_TOO_BIG, -EMSGSIZE);
    ip_frag_state state = ip_frag_init(skb, hlen, room);
    cb->flags |= IPSKB_FRAG_COMPLETE;
    trace_packet(skb, "ip_do_fragment %u bytes, mtu %u", skb_len(skb), mtu);
    while (state.left) {
        const bool first_frag = state.offset == 0; // of the datagram: a later one keeps what it has
        sk_buff* piece = ip_frag_next(skb, &state);
        if (!piece)
            return ip_fragment_failed(skb, NOMEM, -ENOMEM);
        BALANCE_INC(balance_stat::fragments_created);
        // The pieces behind the first inherit what is left of the options.
        if (first_frag && cb->opt.optlen)
            ip_options_fragment(skb);
        if (int err = output(n, piece); err < 0)
            return ip_fragment_failed(skb, NEIGH_CREATEFAIL, err);
        IP_INC_STATS(ipstats_mib::FRAGCREATES);
    }
    BALANCE_INC(balance_stat::fragmented);
    consume_skb(skb);
    IP_INC_STATS(ipstats_mib::FRAGOKS);
    return 0;
}

} // namespace slabfwd
