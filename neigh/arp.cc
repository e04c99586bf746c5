// SPDX-License-Identifier: BSD-3-Clause
//
// ARP: who asks, who is answered, what is learnt from whom.
// Door: arp_rcv for frames, arp_solicit (through neigh_ops) for questions, arp_constructor for
// entries. What it must know of routes it asks through arp_route_ops; which own address to ask with
// it reads from the address lists. Threads: any slot. Origin: net/ipv4/arp.c of Linux 6.18 (no
// netfilter ARP hooks, no tunnels).
#include "neigh/arp.h"

#include <cerrno>
#include <cstring>

#include "neigh/inetdevice.h"
#include "neigh/neighbour_priv.h"

namespace slabfwd {

namespace {

constexpr uint16_t ARPHRD_IEEE802 = 6;

void arp_solicit(neighbour* n, sk_buff* skb);
void arp_drop_failed(neighbour*, sk_buff* skb) {
    kfree_skb_reason(skb, skb_drop_reason::NEIGH_FAILED);
}

int no_input_type(net_device*, be32_t, be32_t, net_device**) {
    return -ENETUNREACH;
}
int no_addr_type(net_device*, be32_t) {
    return RTN_UNICAST;
}
bool no_output_dev_is(net_device*, be32_t, be32_t) {
    return false;
}

} // namespace

arp_route_operations arp_route_ops = {no_input_type, no_addr_type, no_output_dev_is};

constexpr int AF_INET_ = 2;
neigh_ops arp_generic_ops = {AF_INET_, arp_solicit, arp_drop_failed, neigh_resolve_output,
                             neigh_connected_output};
neigh_ops arp_hh_ops = {AF_INET_, arp_solicit, arp_drop_failed, neigh_resolve_output,
                        neigh_resolve_output};
neigh_ops arp_direct_ops = {AF_INET_, nullptr, arp_drop_failed, neigh_direct_output,
                            neigh_direct_output};

// --- entries -------------------------------------------------------------------------------------

void ip_eth_mc_map(be32_t addr, uint8_t* mac) {
    const uint32_t a = be32_to_cpu(addr);
    const uint8_t out[ETH_ALEN] = {
        0x01, 0x00, 0x5e, uint8_t((a >> 16) & 0x7f), uint8_t(a >> 8), uint8_t(a)};
    memcpy(mac, out, ETH_ALEN);
}

/// Addresses that need no question: n->ha is filled in and true returned.
static bool arp_address_known(neighbour* n) {
    net_device* dev = n->dev;
    if (n->type == RTN_MULTICAST && dev->type == ARPHRD_ETHER)
        ip_eth_mc_map(n->primary_key, n->ha);
    else if (dev->flags & (IFF_NOARP | IFF_LOOPBACK) && n->type != RTN_MULTICAST)
        dev_addr_get(dev, n->ha);
    else if (n->type == RTN_MULTICAST || n->type == RTN_BROADCAST || dev->flags & IFF_POINTOPOINT)
        memcpy(n->ha, dev->broadcast, ETH_ALEN);
    else
        return false;
    return true;
}

int arp_constructor(neighbour* n) {
    net_device* dev = n->dev;
    if (dev->flags & (IFF_LOOPBACK | IFF_POINTOPOINT))
        n->primary_key = INADDR_ANY; // one entry for everybody behind it
    const in_device* in_dev = __in_dev_get_rcu(dev);
    if (!in_dev)
        return -EINVAL;
    n->type = uint8_t(arp_route_ops.addr_type(dev, n->primary_key));
    if (in_dev->arp_parms)
        n->parms = in_dev->arp_parms;

    const bool direct = !dev_has_header(dev);
    n->ops = direct ? &arp_direct_ops : &arp_hh_ops;
    if (direct || arp_address_known(n)) {
        neigh_set_state(n, NUD_NOARP);
        neigh_connect(n);
    } else {
        neigh_suspect(n);
    }
    return 0;
}

static void arp_table_event(neigh_table* tbl, netdev_event event, net_device* dev) {
    const in_device* in_dev = __in_dev_get_rcu(dev);
    switch (event) {
    case netdev_event::CHANGEADDR:
        return neigh_changeaddr(tbl, dev);
    case netdev_event::DOWN:
        return neigh_ifdown(tbl, dev);
    case netdev_event::CHANGE:
        if (dev->flags_changed & IFF_NOARP)
            neigh_changeaddr(tbl, dev);
        if (!dev->carrier && (!in_dev || IN_DEV_ARP_EVICT_NOCARRIER(in_dev)))
            neigh_carrier_down(tbl, dev);
        return;
    default:
        return;
    }
}

void arp_netdev_event(netdev_event event, net_device* dev) {
    for (neigh_table* tbl : {dev->nd_net->arp_tbl, dev->nd_net->nd_tbl})
        if (tbl)
            arp_table_event(tbl, event, dev);
}

// --- sending -------------------------------------------------------------------------------------

/// The packet without its link header. Origin: arp_create.
static sk_buff* arp_create(uint16_t op, be32_t dest_ip, net_device* dev, be32_t src_ip,
                           const uint8_t* src_hw, const uint8_t* target_hw) {
    sk_buff* skb = alloc_skb(sizeof(arphdr));
    if (!skb)
        return nullptr;
    uint8_t own[ETH_ALEN];
    dev_addr_get(dev, own);
    auto* arp = reinterpret_cast<arphdr*>(skb_put(skb, sizeof(arphdr)));
    skb_reset_network_header(skb);
    skb->dev = dev;
    skb->protocol = cpu_to_be16(ETH_P_ARP);
    arp->ar_hrd = cpu_to_be16(dev->type);
    arp->ar_pro = cpu_to_be16(ETH_P_IP);
    arp->ar_hln = ETH_ALEN;
    arp->ar_pln = sizeof(be32_t);
    arp->ar_op = cpu_to_be16(op);
    memcpy(arp->ar_sha, src_hw ? src_hw : own, ETH_ALEN);
    arp->ar_sip = src_ip;
    if (target_hw)
        memcpy(arp->ar_tha, target_hw, ETH_ALEN);
    else
        memset(arp->ar_tha, 0, ETH_ALEN);
    arp->ar_tip = dest_ip;
    return skb;
}

void arp_send(uint16_t op, be32_t dest_ip, net_device* dev, be32_t src_ip, const uint8_t* dest_hw,
              const uint8_t* src_hw, const uint8_t* target_hw) {
    if (dev->flags & IFF_NOARP)
        return;
    sk_buff* skb = arp_create(op, dest_ip, dev, src_ip, src_hw, target_hw);
    if (!skb) {
        trace_packet(nullptr, "dev %s: no memory for an ARP packet", dev->name);
        return;
    }
    BALANCE_INC(balance_stat::originated);
    if (!eth_header(skb, dev, ETH_P_ARP, dest_hw ? dest_hw : dev->broadcast, src_hw)) {
        kfree_skb_reason(skb, skb_drop_reason::NEIGH_HH_FILLFAIL);
        return;
    }
    trace_packet(skb, "dev %s: ARP %s", dev->name, op == ARPOP_REQUEST ? "request" : "reply");
    dev_queue_xmit(skb);
}

namespace {

/// The sender address of a question caused by skb: its own source where arp_announce lets that out.
be32_t arp_solicit_saddr(const in_device* in_dev, be32_t target, const sk_buff* skb) {
    net_device* dev = in_dev->dev;
    const int announce = IN_DEV_ARP_ANNOUNCE(in_dev);
    if (skb && announce != 2) {
        const be32_t saddr = ip_hdr(skb)->saddr;
        if (arp_route_ops.addr_type(dev, saddr) == RTN_LOCAL &&
            (announce != 1 || inet_addr_onlink(in_dev, target, saddr)) && saddr)
            return saddr;
    }
    return inet_select_addr(dev, target, RT_SCOPE_LINK);
}

void arp_solicit(neighbour* n, sk_buff* skb) {
    net_device* dev = n->dev;
    const in_device* in_dev = __in_dev_get_rcu(dev);
    if (!in_dev)
        return;
    const be32_t target = n->primary_key, saddr = arp_solicit_saddr(in_dev, target, skb);
    const int probes = n->probes - n->parms->ucast_probes;
    if (probes >= 0 && probes < n->parms->app_probes)
        return; // left to a daemon that listens for it; there is none in here
    uint8_t ha[ETH_ALEN];
    if (probes < 0) {
        spin_guard guard(n->lock);
        memcpy(ha, n->ha, ETH_ALEN);
    }
    arp_send(ARPOP_REQUEST, target, dev, saddr, probes < 0 ? ha : nullptr, nullptr, nullptr);
}

// --- receiving -----------------------------------------------------------------------------------

/// Whether arp_ignore forbids to answer sip about tip, which is ours.
bool arp_ignore(const in_device* in_dev, be32_t sip, be32_t tip) {
    net& n = *in_dev->dev->nd_net;
    switch (IN_DEV_ARP_IGNORE(in_dev)) {
    case 1: // only addresses of the device itself
        return !inet_confirm_addr(n, in_dev, INADDR_ANY, tip, RT_SCOPE_HOST);
    case 2: // and the asker is in the same subnet
        return !inet_confirm_addr(n, in_dev, sip, tip, RT_SCOPE_HOST);
    case 3: // no addresses of scope host
        return !inet_confirm_addr(n, nullptr, INADDR_ANY, tip, RT_SCOPE_LINK);
    case 8: // never
        return true;
    default:
        return false;
    }
}

/// Whether ARP from somebody unknown may make an entry.
bool arp_accept(const in_device* in_dev, be32_t sip) {
    switch (IN_DEV_ARP_ACCEPT(in_dev)) {
    case 1:
        return true;
    case 2: // when its address is in a subnet of the device
        return bool(
            inet_confirm_addr(*in_dev->dev->nd_net, in_dev, sip, INADDR_ANY, RT_SCOPE_LINK));
    default:
        return false;
    }
}

/// Proxy ARP for what is routed out of another device, with respect to media (medium_id).
bool arp_fwd_proxy(const in_device* in_dev, const net_device* out_dev) {
    if (out_dev == in_dev->dev || !IN_DEV_PROXY_ARP(in_dev))
        return false;
    const int imi = IN_DEV_MEDIUM_ID(in_dev);
    if (imi == 0 || imi == -1)
        return imi == 0;
    const in_device* out = __in_dev_get_rcu(out_dev);
    const int omi = out ? IN_DEV_MEDIUM_ID(out) : -1;
    return omi != imi && omi != -1;
}

/// RFC 3069: answering for hosts on the same segment that cannot see each other.
bool arp_fwd_pvlan(const in_device* in_dev, const net_device* out_dev, be32_t sip, be32_t tip) {
    return out_dev == in_dev->dev && sip != tip && IN_DEV_PROXY_ARP_PVLAN(in_dev);
}

/// A checked ARP packet and what the functions below want of it.
struct arp_packet {
    sk_buff* skb;
    net_device* dev;
    const in_device* in_dev;
    uint16_t op;
    be32_t sip, tip;
    const uint8_t *sha, *tha;
};

enum class arp_verdict { learn, consume, drop, queued };

void arp_reply(const arp_packet& p) {
    trace_packet(p.skb, "dev %s: answered", p.dev->name);
    arp_send(ARPOP_REPLY, p.sip, p.dev, p.tip, p.sha, nullptr, p.sha);
}

/// Makes or refreshes the asker's entry; false when the table is full.
bool arp_learn_asker(const arp_packet& p) {
    neighbour* n = neigh_event_ns(p.dev->nd_net->arp_tbl, p.sha, p.sip, p.dev);
    if (n)
        neigh_release(n);
    return n;
}

/// The header's fixed fields, and addresses that ARP does not speak about.
bool arp_acceptable(const arphdr* arp, const arp_packet& p) {
    const uint16_t hrd = be16_to_cpu(arp->ar_hrd);
    const bool hrd_ok =
        hrd == p.dev->type || (p.dev->type == ARPHRD_ETHER && hrd == ARPHRD_IEEE802);
    if (!hrd_ok || be16_to_cpu(arp->ar_pro) != ETH_P_IP)
        return false;
    if (p.op != ARPOP_REQUEST && p.op != ARPOP_REPLY)
        return false;
    if (ipv4_is_multicast(p.tip) || (ipv4_is_loopback(p.tip) && !IN_DEV_ROUTE_LOCALNET(p.in_dev)))
        return false;
    return !(p.sip == p.tip && IN_DEV_DROP_GRATUITOUS_ARP(p.in_dev));
}

/// Duplicate address detection (RFC 2131, RFC 5227): the asker has no address yet.
arp_verdict arp_process_probe(const arp_packet& p) {
    if (p.op == ARPOP_REQUEST && arp_route_ops.addr_type(p.dev, p.tip) == RTN_LOCAL &&
        !arp_ignore(p.in_dev, p.sip, p.tip))
        arp_reply(p);
    return arp_verdict::consume;
}

arp_verdict arp_process_proxy(const arp_packet& p, const net_device* out_dev) {
    neigh_table* tbl = p.dev->nd_net->arp_tbl;
    if (!arp_fwd_proxy(p.in_dev, out_dev) && !arp_fwd_pvlan(p.in_dev, out_dev, p.sip, p.tip) &&
        !(out_dev != p.dev && pneigh_lookup(tbl, p.tip, p.dev)))
        return arp_verdict::learn;
    arp_learn_asker(p);
    if ((NEIGH_CB(p.skb)->flags & LOCALLY_ENQUEUED) || p.skb->pkt_type == PACKET_HOST ||
        p.in_dev->arp_parms->proxy_delay == 0) {
        arp_reply(p);
        return arp_verdict::consume;
    }
    pneigh_enqueue(tbl, p.in_dev->arp_parms, p.skb);
    return arp_verdict::queued;
}

arp_verdict arp_process_request(const arp_packet& p) {
    net_device* out_dev = p.dev;
    const int type = arp_route_ops.input_type(p.dev, p.tip, p.sip, &out_dev);
    if (type == RTN_LOCAL) {
        if (!arp_ignore(p.in_dev, p.sip, p.tip) &&
            !(IN_DEV_ARPFILTER(p.in_dev) && !arp_route_ops.output_dev_is(p.dev, p.sip, p.tip)) &&
            arp_learn_asker(p))
            arp_reply(p);
        return arp_verdict::consume;
    }
    if (type == RTN_UNICAST && IN_DEV_FORWARD(p.in_dev))
        return arp_process_proxy(p, out_dev);
    return arp_verdict::learn;
}

/// Speaks about itself; a reply of that kind has to name the same hardware twice. addr_type is set
/// once it is known. Origin: arp_is_garp.
bool arp_is_garp(const arp_packet& p, int* addr_type) {
    if (p.tip != p.sip || (p.op == ARPOP_REPLY && !ether_addr_equal(p.tha, p.sha)))
        return false;
    *addr_type = arp_route_ops.addr_type(p.dev, p.sip);
    return *addr_type == RTN_UNICAST;
}

/// What is said about sip, by whomever: refreshes an entry that is there, makes one if arp_accept
/// says so.
void arp_learn(const arp_packet& p) {
    neigh_table* tbl = p.dev->nd_net->arp_tbl;
    neighbour* n = neigh_lookup(tbl, p.sip, p.dev);
    const bool accept = arp_accept(p.in_dev, p.sip);
    int addr_type = -1;
    const bool is_garp = (n || accept) && arp_is_garp(p, &addr_type);
    if (!n && accept) {
        if (addr_type < 0 && p.op == ARPOP_REPLY)
            addr_type = arp_route_ops.addr_type(p.dev, p.sip);
        if (is_garp || (p.op == ARPOP_REPLY && addr_type == RTN_UNICAST))
            n = neigh_create(tbl, p.sip, p.dev, true);
    }
    if (!n)
        return;
    // Of several answers in a row the first one counts: two proxies must not make the entry flap.
    const jiffies_t locked_until = READ_ONCE(n->updated) + jiffies_t(n->parms->locktime.get());
    const bool override = is_garp || time_after(jiffies(), locked_until);
    // Only an answer that was sent to us says that the neighbour hears us.
    const bool reachable = p.op == ARPOP_REPLY && p.skb->pkt_type == PACKET_HOST;
    neigh_update(n, p.sha, reachable ? NUD_REACHABLE : NUD_STALE,
                 override ? NEIGH_UPDATE_F_OVERRIDE : 0);
    trace_packet(p.skb, "dev %s: sender's entry is %s", p.dev->name, nud_state_name(n->nud_state));
    neigh_release(n);
}

} // namespace

void arp_process(sk_buff* skb) {
    const auto* arp = reinterpret_cast<const arphdr*>(skb_data(skb));
    const in_device* in_dev = __in_dev_get_rcu(skb->dev);
    arp_packet p{skb,         skb->dev,    in_dev,      be16_to_cpu(arp->ar_op),
                 arp->ar_sip, arp->ar_tip, arp->ar_sha, arp->ar_tha};
    arp_verdict verdict = arp_verdict::drop;
    if (in_dev && arp_acceptable(arp, p)) {
        verdict = arp_verdict::learn;
        if (!p.sip)
            verdict = arp_process_probe(p);
        else if (p.op == ARPOP_REQUEST)
            verdict = arp_process_request(p);
    }
    switch (verdict) {
    case arp_verdict::learn:
        arp_learn(p);
        [[fallthrough]];
    case arp_verdict::consume:
        BALANCE_INC(balance_stat::delivered);
        return consume_skb(skb);
    case arp_verdict::drop:
        return kfree_skb_reason(skb, skb_drop_reason::NOT_SPECIFIED);
    case arp_verdict::queued:
        return; // counts as held
    }
}

void arp_rcv(sk_buff* skb) {
    net_device* dev = skb->dev;
    if ((dev->flags & IFF_NOARP) || skb->pkt_type == PACKET_OTHERHOST ||
        skb->pkt_type == PACKET_LOOPBACK) {
        trace_packet(skb, "dev %s: ARP that is not for us", dev->name);
        BALANCE_INC(balance_stat::delivered);
        return consume_skb(skb);
    }
    if (skb_len(skb) < sizeof(arphdr))
        return kfree_skb_reason(skb, skb_drop_reason::PKT_TOO_SMALL);
    if (!pskb_may_pull(skb, sizeof(arphdr)))
        return kfree_skb_reason(skb, skb_drop_reason::NOMEM);
    const auto* arp = reinterpret_cast<const arphdr*>(skb_data(skb));
    trace_packet(skb, "dev %s: ARP %s", dev->name,
                 be16_to_cpu(arp->ar_op) == ARPOP_REQUEST ? "request" : "reply");
    if (arp->ar_hln != ETH_ALEN || arp->ar_pln != sizeof(be32_t))
        return kfree_skb_reason(skb, skb_drop_reason::NOT_SPECIFIED);
    *NEIGH_CB(skb) = {};
    arp_process(skb);
}

} // namespace slabfwd
