// SPDX-License-Identifier: BSD-3-Clause
//
// ICMP: errors about packets that cannot go on, answers to requests, messages from others.
// Doors: icmp_send (an error about a packet), icmp_rcv (a message for us), ping_listen.
// No error is sent about an ICMP error, a fragment other than the first, or anything sent to more
// than one (RFC 1122, 3.2.2); types in icmp_ratemask keep to icmp_ratelimit per destination
// (inet_peer) and to icmp_msgs_per_sec/burst for the whole router. Threads: any slot. An ICMP
// message that itself makes trouble while it is being sent makes no second one. Origin:
// net/ipv4/icmp.c, ping_rcv of net/ipv4/ping.c (6.18).
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "dataplane/ip/ip_net.h"
#include "route/inetpeer.h"
#include "route/l3mdev.h"

namespace slabfwd {

using enum skb_drop_reason;

namespace {

constexpr uint8_t ICMP_EXT_ECHO = 42, ICMP_EXT_ECHOREPLY = 43;
constexpr uint8_t TOS_MASK = 0x1e, PREC_INTERNETCONTROL = 0xc0;
/// Source of errors when the router has no address at all (RFC 7600). Origin: INADDR_DUMMY.
constexpr be32_t DUMMY_SADDR = cpu_to_be32(0xc0000008);

icmphdr* icmp_hdr(const sk_buff* skb) {
    return reinterpret_cast<icmphdr*>(skb_transport_header(skb));
}

/// A message in the making.
struct icmp_bxm {
    const sk_buff* skb; ///< what it quotes
    int offset;         ///< of the quoted bytes, from skb's data; negative: before it
    unsigned data_len;  ///< quoted bytes
    unsigned head_len;  ///< bytes of `data` in front of them
    struct [[gnu::packed]] {
        icmphdr icmph;
        be32_t times[3];
    } data;
    ip_options replyopts;
    uint8_t optdata[40];
};

/// Copies len bytes from offset (see icmp_bxm) over segments. Bytes before data lie in the first
/// one.
void copy_quoted(const sk_buff* skb, int offset, uint8_t* to, unsigned len) {
    if (offset < 0) {
        unsigned before = std::min(len, unsigned(-offset));
        memcpy(to, skb_data(skb) + offset, before);
        to += before;
        len -= before;
        offset = 0;
    }
    skb_copy_bits(skb, unsigned(offset), to, len);
}

// --- limits -----------------------------------------------------------------------------------

bool icmpv4_mask_allow(const net& n, int type, int code) {
    if (type > NR_ICMP_TYPES)
        return true;
    if (type == ICMP_DEST_UNREACH && code == ICMP_FRAG_NEEDED) // path mtu discovery
        return true;
    return !((1 << type) & n.ipv4.sysctl_icmp_ratemask);
}

/// Is there credit in the router's bucket? Fills it up; taking from it is icmp_global_consume's.
bool icmp_global_allow(net& n) {
    ip_net& ip = *n.ipv4.ip;
    if (ip.icmp_global_credit.load(std::memory_order_relaxed) > 0)
        return true;
    uint32_t now = uint32_t(jiffies()),
             oldstamp = ip.icmp_global_stamp.load(std::memory_order_relaxed);
    uint32_t delta = std::min(now - oldstamp, uint32_t(HZ));
    if (delta < HZ / 50)
        return false;
    int incr = int(int64_t(n.ipv4.sysctl_icmp_msgs_per_sec) * delta / int64_t(HZ));
    if (incr <= 0)
        return false;
    if (ip.icmp_global_stamp.compare_exchange_strong(oldstamp, now, std::memory_order_relaxed)) {
        int old = ip.icmp_global_credit.load(std::memory_order_relaxed), fresh;
        do
            fresh = std::min(old + incr, int(n.ipv4.sysctl_icmp_msgs_burst));
        while (!ip.icmp_global_credit.compare_exchange_weak(old, fresh, std::memory_order_relaxed));
    }
    return true;
}

/// One credit on average, so that nobody can count what others make us send.
void icmp_global_consume(net& n) {
    if (uint32_t credits = get_random_u32_below(3))
        n.ipv4.ip->icmp_global_credit.fetch_sub(int(credits), std::memory_order_relaxed);
}

bool icmpv4_global_allow(net& n, int type, int code, bool* apply_ratelimit) {
    if (icmpv4_mask_allow(n, type, code))
        return true;
    if (icmp_global_allow(n)) {
        *apply_ratelimit = true;
        return true;
    }
    ICMP_INC_STATS(icmp_mib::RATELIMITGLOBAL);
    return false;
}

bool icmpv4_xrlim_allow(net& n, const rtable* rt, be32_t daddr, bool apply_ratelimit) {
    if (!apply_ratelimit || (rt->dst.dev && (rt->dst.dev->flags & IFF_LOOPBACK))) {
        if (apply_ratelimit)
            icmp_global_consume(n);
        return true;
    }
    inet_peer* peer = inet_getpeer_v4(n, daddr, l3mdev_master_ifindex(rt->dst.dev));
    if (inet_peer_xrlim_allow(
            peer, msecs_to_jiffies(uint64_t(std::max(0, int(n.ipv4.sysctl_icmp_ratelimit)))))) {
        icmp_global_consume(n);
        return true;
    }
    ICMP_INC_STATS(icmp_mib::RATELIMITHOST);
    return false;
}

/// One message at a time per thread. Origin: icmp_xmit_lock.
thread_local bool icmp_xmit_busy;
struct icmp_xmit_guard {
    bool taken = !icmp_xmit_busy;
    icmp_xmit_guard() { icmp_xmit_busy = true; }
    ~icmp_xmit_guard() {
        if (taken)
            icmp_xmit_busy = false;
    }
};

// --- sending ----------------------------------------------------------------------------------

/// Puts the message together and sends it. fl4 carries the final addresses; counted_type: what it
/// counts as.
void icmp_push_reply(net& n, icmp_bxm& param, const flowi4& fl4, rtable* rt, uint8_t tos,
                     uint8_t counted_type) {
    const unsigned len = param.head_len + param.data_len;
    sk_buff* skb = nullptr;
    if (sizeof(iphdr) + param.replyopts.optlen + len <= 65535 &&
        inetdev_valid_mtu(ipv4_mtu(&rt->dst)))
        skb = alloc_skb(len);
    if (!skb) {
        ICMP_INC_STATS(icmp_mib::OUTERRORS);
        return;
    }
    param.data.icmph.checksum = {};
    skb_append_pieces(skb, len, [&](uint8_t* to, unsigned offset, unsigned bytes) {
        unsigned head = offset < param.head_len ? std::min(bytes, param.head_len - offset) : 0;
        memcpy(to, reinterpret_cast<const uint8_t*>(&param.data) + offset, head);
        copy_quoted(param.skb, param.offset + int(offset + head - param.head_len), to + head,
                    bytes - head);
    });
    skb_reset_transport_header(skb);
    // Sums that come to zero are -0, as where they are made while copying: nothing but zeros has
    // the checksum 0000.
    icmp_hdr(skb)->checksum.raw = csum_fold(skb_checksum(skb, 0, len, 0xffff));
    icmp_out_count(counted_type);
    ip_build_and_send_pkt(n, skb, rt, fl4, IPPROTO_ICMP_, &param.replyopts, param.optdata, tos, 0,
                          false);
}

/// Answers the request skb.
void icmp_reply(icmp_bxm& param, const sk_buff* skb) {
    net& n = dev_net(skb->dev);
    const iphdr* iph = ip_hdr(skb);
    const int type = param.data.icmph.type, code = param.data.icmph.code;
    bool apply_ratelimit = false;
    if (ip_options_echo(n, &param.replyopts, param.optdata, skb))
        return;
    if (!icmpv4_global_allow(n, type, code, &apply_ratelimit))
        return;
    icmp_xmit_guard guard;
    if (!guard.taken)
        return;
    flowi4 fl4;
    fl4.daddr = param.replyopts.srr ? param.replyopts.faddr : iph->saddr;
    fl4.saddr = fib_compute_spec_dst(const_cast<sk_buff*>(skb));
    fl4.flowi4_mark = IP4_REPLY_MARK(n, skb->mark);
    fl4.flowi4_tos = iph->tos & INET_DSCP_MASK;
    fl4.flowi4_proto = IPPROTO_ICMP_;
    fl4.flowi4_oif = l3mdev_master_ifindex(skb->dev);
    int err;
    rtable* rt = ip_route_output_key(n, &fl4, &err);
    if (!rt) {
        trace_packet(skb, "no route for the reply: error %d", -err);
        return;
    }
    if (!icmpv4_xrlim_allow(n, rt, fl4.daddr, apply_ratelimit))
        return;
    fl4.daddr = iph->saddr;
    // The kernel counts by the type in the flow, which a reply leaves at zero: all are echo
    // replies.
    icmp_push_reply(n, param, fl4, rt, iph->tos, ICMP_ECHOREPLY);
}

/// Must nothing be sent about skb_in? (RFC 1122, 3.2.2.)
bool icmp_send_forbidden(const sk_buff* skb_in, int type) {
    const unsigned end = skb_mbuf(skb_in)->data_off + skb_headlen(skb_in);
    if (skb_in->network_header + sizeof(iphdr) > end)
        return true;
    if (skb_in->pkt_type != PACKET_HOST)
        return true;
    if (skb_in->rt_flags & (RTCF_BROADCAST | RTCF_MULTICAST))
        return true;
    const iphdr* iph = ip_hdr(skb_in);
    if (iph->frag_off & cpu_to_be16(IP_OFFSET))
        return true;
    if (!icmp_is_err(uint8_t(type)) || iph->protocol != IPPROTO_ICMP_)
        return false;
    // About an ICMP message: not when that is an error, or may be one.
    int offset = int(skb_in->network_header + iph->hdr_len()) - int(skb_mbuf(skb_in)->data_off);
    if (int64_t(offset) + 1 > int64_t(skb_len(skb_in)))
        return true;
    uint8_t inner_type;
    copy_quoted(skb_in, offset, &inner_type, 1);
    return inner_type > NR_ICMP_TYPES || icmp_is_err(inner_type);
}

/// The source of an error about skb_in: what it was sent to when that is us, else 0: the route's
/// choice.
be32_t icmp_error_source(net& n, const sk_buff* skb_in) {
    const iphdr* iph = ip_hdr(skb_in);
    if (skb_in->rt_flags & RTCF_LOCAL)
        return iph->daddr;
    if (skb_in->rt_is_input && n.ipv4.sysctl_icmp_errors_use_inbound_ifaddr)
        if (net_device* dev = dev_get_by_index(n, skb_in->skb_iif))
            return inet_select_addr(dev, iph->saddr, RT_SCOPE_LINK);
    return {};
}

/// What the packet came by; one made here goes by its route. Origin: icmp_get_route_lookup_dev.
net_device* icmp_get_route_lookup_dev(const sk_buff* skb) {
    return skb->dev ? skb->dev : skb->dst ? skb->dst->dev : nullptr;
}

rtable* icmp_route_lookup(net& n, flowi4* fl4, const sk_buff* skb_in, be32_t saddr, uint8_t tos,
                          uint32_t mark, const icmp_bxm& param) {
    fl4->daddr = param.replyopts.srr ? param.replyopts.faddr : ip_hdr(skb_in)->saddr;
    fl4->saddr = saddr;
    fl4->flowi4_mark = mark;
    fl4->flowi4_tos = tos & INET_DSCP_MASK;
    fl4->flowi4_proto = IPPROTO_ICMP_;
    fl4->flowi4_oif = l3mdev_master_ifindex(icmp_get_route_lookup_dev(skb_in));
    int err;
    rtable* rt = ip_route_output_key_hash(n, fl4, skb_in, &err);
    if (!rt)
        trace_packet(skb_in, "no route for the ICMP error: error %d", -err);
    return rt;
}

/// How much of skb_in an error by rt quotes: as much as fits 576 bytes. 0: not even its header.
unsigned icmp_quote_len(const sk_buff* skb_in, const rtable* rt, const icmp_bxm& param) {
    int room = int(std::min(ipv4_mtu(&rt->dst), 576u));
    room -= int(sizeof(iphdr) + param.replyopts.optlen + sizeof(icmphdr));
    if (room <= int(sizeof(iphdr)))
        return 0;
    return std::min(unsigned(room), unsigned(int(skb_len(skb_in)) - param.offset));
}

} // namespace

bool icmp_is_err(uint8_t type) {
    constexpr uint32_t errors = 1u << 1 | 1u << 2 | 1u << ICMP_DEST_UNREACH |
                                1u << ICMP_SOURCE_QUENCH | 1u << ICMP_REDIRECT | 1u << 6 | 1u << 7 |
                                1u << 9 | 1u << 10 | 1u << ICMP_TIME_EXCEEDED |
                                1u << ICMP_PARAMETERPROB;
    return type <= NR_ICMP_TYPES && (errors >> type & 1);
}

void icmp_out_count(uint8_t type) {
    this_softnet()->icmpmsg_out[type].inc();
    ICMP_INC_STATS(icmp_mib::OUTMSGS);
}

void icmp_send(sk_buff* skb_in, int type, int code, be32_t info) {
    net_device* in = icmp_get_route_lookup_dev(skb_in);
    if (!in || skb_in->rt_type == RTN_UNSPEC) // never had a route
        return;
    net& n = dev_net(in);
    if (unlikely(!n.ipv4.ip)) // shutting down: what neighbours still held
        return;
    if (icmp_send_forbidden(skb_in, type)) {
        trace_packet(skb_in, "icmp_send type %d code %d: must not be sent", type, code);
        return;
    }
    bool apply_ratelimit = false;
    if (!(in->flags & IFF_LOOPBACK) && !icmpv4_global_allow(n, type, code, &apply_ratelimit)) {
        trace_packet(skb_in, "icmp_send type %d code %d: over icmp_msgs_per_sec", type, code);
        return;
    }
    icmp_xmit_guard guard;
    if (!guard.taken)
        return;
    const iphdr* iph = ip_hdr(skb_in);
    be32_t saddr = icmp_error_source(n, skb_in);
    uint8_t tos = icmp_is_err(uint8_t(type)) ? uint8_t((iph->tos & TOS_MASK) | PREC_INTERNETCONTROL)
                                             : iph->tos;
    icmp_bxm param;
    if (ip_options_echo(n, &param.replyopts, param.optdata, skb_in))
        return;
    param.data.icmph = {uint8_t(type), uint8_t(code), {}, {}};
    param.data.icmph.un.gateway = info;
    param.skb = skb_in;
    param.offset = int(skb_in->network_header) - int(skb_mbuf(skb_in)->data_off);

    flowi4 fl4;
    rtable* rt =
        icmp_route_lookup(n, &fl4, skb_in, saddr, tos, IP4_REPLY_MARK(n, skb_in->mark), param);
    if (!rt)
        return;
    if (!icmpv4_xrlim_allow(n, rt, fl4.daddr, apply_ratelimit)) {
        trace_packet(skb_in, "icmp_send type %d code %d: over icmp_ratelimit", type, code);
        return;
    }
    param.data_len = icmp_quote_len(skb_in, rt, param);
    if (!param.data_len)
        return;
    param.head_len = sizeof(icmphdr);
    if (!fl4.saddr)
        fl4.saddr = DUMMY_SADDR;
    fl4.daddr = iph->saddr;
    trace_packet(skb_in, "icmp_send type %d code %d", type, code);
    icmp_push_reply(n, param, fl4, rt, tos, uint8_t(type));
}

// --- receiving --------------------------------------------------------------------------------

namespace {

/// Counts a message that is no good and says why it is dropped.
skb_drop_reason icmp_in_error(skb_drop_reason reason) {
    ICMP_INC_STATS(icmp_mib::INERRORS);
    return reason;
}

/// Is the echo with header `echo` one of the ping that listens?
ping_listener* ping_lookup(const net& n, const icmphdr* echo) {
    ping_listener* l = n.ipv4.ip->listener.load(std::memory_order_acquire);
    return l && l->id == echo->un.echo.id ? l : nullptr;
}

skb_drop_reason ping_rcv(sk_buff* skb) {
    ping_listener* l = ping_lookup(dev_net(skb->dev), icmp_hdr(skb));
    if (!l)
        return NO_SOCKET;
    skb_push(skb, sizeof(icmphdr));
    l->reply(l, skb);
    return NOT_DROPPED_YET;
}

/// An ICMP error about an ICMP message of ours, which begins at `inner`. Origin: icmp_err,
/// ping_err.
void icmp_err(net& n, sk_buff* skb, const iphdr* iph, const icmphdr* inner, uint32_t mtu) {
    const icmphdr* icmph = icmp_hdr(skb);
    ping_listener* l = inner->type == ICMP_ECHO ? ping_lookup(n, inner) : nullptr;
    // Only what was sent by the router itself is its business: echo replies, and the ping that
    // listens.
    if (inner->type != ICMP_ECHOREPLY && !l)
        return;
    if (icmph->type == ICMP_DEST_UNREACH && icmph->code == ICMP_FRAG_NEEDED)
        ipv4_update_pmtu(n, skb, iph->daddr, iph->saddr, iph->tos, mtu);
    else if (icmph->type == ICMP_REDIRECT && (icmph->code & 7) <= 3)
        ip_rt_redirect(skb, ip_hdr(skb)->saddr, iph->daddr, iph->saddr, iph->tos,
                       icmph->un.gateway);
    if (l && l->error)
        l->error(l, skb);
}

/// Hands an error to the protocol of the packet that it quotes, which begins at skb's data. Only
/// ICMP has anything to do with it: the others have no sockets. Origin: icmp_socket_deliver.
void icmp_socket_deliver(net& n, sk_buff* skb, uint32_t info) {
    const auto* iph = reinterpret_cast<const iphdr*>(skb_data(skb));
    if (!pskb_may_pull(skb, iph->hdr_len() + 8)) {
        ICMP_INC_STATS(icmp_mib::INERRORS);
        return;
    }
    iph = reinterpret_cast<const iphdr*>(skb_data(skb));
    if (iph->protocol == IPPROTO_ICMP_)
        icmp_err(n, skb, iph, reinterpret_cast<const icmphdr*>(skb_data(skb) + iph->hdr_len()),
                 info);
    else if (iph->protocol == IPPROTO_UDP_ || iph->protocol == IPPROTO_TCP_)
        ICMP_INC_STATS(icmp_mib::INERRORS); // no such socket
}

/// Destination unreachable, time exceeded, parameter problem, source quench.
skb_drop_reason icmp_unreach(net& n, sk_buff* skb) {
    if (!pskb_may_pull(skb, sizeof(iphdr)))
        return icmp_in_error(PKT_TOO_SMALL);
    const icmphdr* icmph = icmp_hdr(skb);
    const auto* iph = reinterpret_cast<const iphdr*>(skb_data(skb));
    if (iph->ihl() < 5)
        return icmp_in_error(IP_INHDR);
    uint32_t info = 0;
    if (icmph->type == ICMP_DEST_UNREACH) {
        if ((icmph->code & 15) == ICMP_FRAG_NEEDED) {
            int mode = n.ipv4.sysctl_ip_no_pmtu_disc;
            if (mode == 2 ||
                mode == 3) // 3: only for protocols that can tell a forged quote; ICMP cannot
                return NOT_DROPPED_YET;
            if (mode == 0)
                info = be16_to_cpu(icmph->un.frag.mtu);
        }
        if (icmph->code > NR_ICMP_UNREACH)
            return NOT_DROPPED_YET;
    } else if (icmph->type == ICMP_PARAMETERPROB) {
        info = be32_to_cpu(icmph->un.gateway) >> 24;
    } else if (icmph->type == ICMP_TIME_EXCEEDED && icmph->code == ICMP_EXC_FRAGTIME) {
        return NOT_DROPPED_YET;
    }
    if (!n.ipv4.sysctl_icmp_ignore_bogus_error_responses &&
        inet_addr_type_dev_table(n, skb->dev, iph->daddr) == RTN_BROADCAST) {
        net_warn_ratelimited(
            "IPv4: %s sent an invalid ICMP type %u, code %u error to a broadcast: %s on %s",
            ip4_str(ip_hdr(skb)->saddr).s, icmph->type, icmph->code, ip4_str(iph->daddr).s,
            skb->dev->name);
        return NOT_DROPPED_YET;
    }
    icmp_socket_deliver(n, skb, info);
    return NOT_DROPPED_YET;
}

skb_drop_reason icmp_redirect(net& n, sk_buff* skb) {
    if (!pskb_may_pull(skb, sizeof(iphdr)))
        return icmp_in_error(PKT_TOO_SMALL);
    icmp_socket_deliver(n, skb, be32_to_cpu(icmp_hdr(skb)->un.gateway));
    return NOT_DROPPED_YET;
}

skb_drop_reason icmp_echo(net& n, sk_buff* skb) {
    if (n.ipv4.sysctl_icmp_echo_ignore_all)
        return NOT_DROPPED_YET;
    icmp_bxm param;
    param.data.icmph = *icmp_hdr(skb);
    param.data.icmph.type = ICMP_ECHOREPLY;
    param.skb = skb;
    param.offset = 0;
    param.data_len = skb_len(skb);
    param.head_len = sizeof(icmphdr);
    icmp_reply(param, skb);
    return NOT_DROPPED_YET;
}

skb_drop_reason icmp_timestamp(net&, sk_buff* skb) {
    icmp_bxm param;
    if (!skb_copy_bits(skb, 0, &param.data.times[0], 4))
        return icmp_in_error(PKT_TOO_SMALL);
    param.data.times[1] = param.data.times[2] = inet_current_timestamp();
    param.data.icmph = *icmp_hdr(skb);
    param.data.icmph.type = ICMP_TIMESTAMPREPLY;
    param.data.icmph.code = 0;
    param.skb = skb;
    param.offset = 0;
    param.data_len = 0;
    param.head_len = sizeof(icmphdr) + 12;
    icmp_reply(param, skb);
    return NOT_DROPPED_YET;
}

/// Does what a message of a known type asks; data is behind its header. Origin:
/// icmp_pointers[].handler.
skb_drop_reason icmp_handle(net& n, sk_buff* skb) {
    switch (icmp_hdr(skb)->type) {
    case ICMP_ECHOREPLY:
        return ping_rcv(skb);
    case ICMP_DEST_UNREACH:
    case ICMP_SOURCE_QUENCH:
    case ICMP_TIME_EXCEEDED:
    case ICMP_PARAMETERPROB:
        return icmp_unreach(n, skb);
    case ICMP_REDIRECT:
        return icmp_redirect(n, skb);
    case ICMP_ECHO:
        return icmp_echo(n, skb);
    case ICMP_TIMESTAMP:
        return icmp_timestamp(n, skb);
    default: // address masks, information, router discovery: nobody here wants them
        return NOT_DROPPED_YET;
    }
}

/// Messages that were sent to more than one: what of them is answered at all?
bool icmp_to_many_allowed(const net& n, uint8_t type) {
    if (type == ICMP_ECHO || type == ICMP_TIMESTAMP)
        return !n.ipv4.sysctl_icmp_echo_ignore_broadcasts;
    return type == ICMP_ADDRESS || type == ICMP_ADDRESSREPLY;
}

skb_drop_reason icmp_rcv_checked(net& n, sk_buff* skb) {
    ICMP_INC_STATS(icmp_mib::INMSGS);
    if (csum_fold(skb_checksum(skb, 0, skb_len(skb), 0))) {
        ICMP_INC_STATS(icmp_mib::CSUMERRORS);
        return icmp_in_error(ICMP_CSUM);
    }
    if (!pskb_may_pull(skb, sizeof(icmphdr)))
        return icmp_in_error(PKT_TOO_SMALL);
    skb_pull(skb, sizeof(icmphdr));
    const uint8_t type = icmp_hdr(skb)->type;
    trace_packet(skb, "icmp_rcv type %d code %d", type, icmp_hdr(skb)->code);
    this_softnet()->icmpmsg_in[type].inc();
    if (type == ICMP_EXT_ECHO) // probes are off unless asked for (icmp_echo_enable_probe)
        return NOT_DROPPED_YET;
    if (type == ICMP_EXT_ECHOREPLY)
        return ping_rcv(skb);
    if (type > NR_ICMP_TYPES)
        return icmp_in_error(UNHANDLED_PROTO);
    if ((skb->rt_flags & (RTCF_BROADCAST | RTCF_MULTICAST)) && !icmp_to_many_allowed(n, type))
        return icmp_in_error(INVALID_PROTO);
    return icmp_handle(n, skb);
}

} // namespace

int icmp_rcv(sk_buff* skb) {
    skb_drop_reason reason = icmp_rcv_checked(dev_net(skb->dev), skb);
    if (reason == NOT_DROPPED_YET)
        ip_consume(skb);
    else
        kfree_skb_reason(skb, reason);
    return 0;
}

void ping_listen(net& n, ping_listener* listener) {
    n.ipv4.ip->listener.store(listener, std::memory_order_release);
    if (!listener)
        synchronize_rcu(n); // nobody calls the old one any more
}

} // namespace slabfwd
