// SPDX-License-Identifier: BSD-3-Clause
//
// What routes have to do with ICMP: errors for packets that cannot be routed, redirects sent and
// believed, path mtus learned, and the mtu and hop limit that follow from a route. Doors: ip_error,
// ip_rt_send_redirect, arp_error_report, ipv4_update_pmtu, ip_rt_redirect, ipv4_mtu. What is
// learned and how often hosts were told something lives in inet_peer, not in an entry, so that it
// is the same whether entries are cached or not. Threads: on any slot; peers are shared under their
// locks. Origin: net/ipv4/route.c of 6.18, arp_error_report in net/ipv4/arp.c.
#include <algorithm>
#include <cerrno>
#include <mutex>

#include "route/fib_lookup.h"
#include "route/route_cache.h"

namespace slabfwd {

// ---- what a route says about sizes and lifetimes

namespace {
uint32_t dst_metric_raw(const rtable* rt, unsigned metric) {
    return rt->fi ? rt->fi->fib_metrics[metric - 1] : 0;
}
bool ip_mtu_locked(const rtable* rt) {
    return rt->rt_mtu_locked || (rt->fi && rt->fi->mtu_locked);
}
const rtable* rt_of(const dst_entry* dst) {
    return rt_from_dst(const_cast<dst_entry*>(dst));
}
} // namespace

uint32_t ip_dst_mtu_maybe_forward(const dst_entry* dst, bool forwarding) {
    const rtable* rt = rt_of(dst);
    const netns_ipv4& ipv4 = dst->dev->nd_net->ipv4;
    if (!forwarding || ipv4.sysctl_ip_forward_use_pmtu || ip_mtu_locked(rt))
        if (rt->rt_pmtu && time_before(jiffies(), dst->expires))
            return std::min(rt->rt_pmtu, IP_MAX_MTU);
    if (uint32_t mtu = dst_metric_raw(rt, RTAX_MTU))
        return std::min(mtu, IP_MAX_MTU);
    auto mtu = uint32_t(dst->dev->mtu);
    if (ip_mtu_locked(rt) && rt->rt_uses_gateway && mtu > 576)
        mtu = 576;
    return std::min(mtu, IP_MAX_MTU);
}

uint32_t ipv4_mtu(const dst_entry* dst) {
    return ip_dst_mtu_maybe_forward(dst, false);
}

int ip4_dst_hoplimit(net& n, const dst_entry* dst) {
    uint32_t hoplimit = dst_metric_raw(rt_of(dst), RTAX_HOPLIMIT);
    return hoplimit ? int(hoplimit) : int(n.ipv4.sysctl_ip_default_ttl);
}

// ---- errors

int ip_rt_bug(sk_buff* skb) {
    net_warn_ratelimited("IPv4: ip_rt_bug: %s -> %s, %s", ip4_str(ip_hdr(skb)->saddr).s,
                         ip4_str(ip_hdr(skb)->daddr).s, skb->dev ? skb->dev->name : "?");
    kfree_skb_reason(skb, skb_drop_reason::NOT_SPECIFIED);
    return 0;
}

namespace {

// Takes the price of one error out of the bucket of the host that caused it.
bool error_allowed(net& n, const sk_buff* skb) {
    inet_peer* peer = inet_getpeer_v4(n, ip_hdr(skb)->saddr, skb->dev->master_ifindex);
    if (!peer)
        return true;
    jiffies_t now = jiffies();
    auto cost = jiffies_t(n.ipv4.rt.error_cost), burst = jiffies_t(n.ipv4.rt.error_burst);
    std::lock_guard guard(peer->lock);
    if (time_after(now, peer->rate_last)) {
        peer->rate_tokens = std::min(peer->rate_tokens + (now - peer->rate_last), burst);
        peer->rate_last = now;
    } else {
        peer->rate_tokens = std::min(peer->rate_tokens, burst);
    }
    if (peer->rate_tokens < cost)
        return false;
    peer->rate_tokens -= cost;
    return true;
}

struct unreach {
    int code; // -1: nothing is sent
    skb_drop_reason reason;
};

// A router that forwards: what the sender is told.
unreach forwarding_error(int error) {
    switch (error) {
    case EHOSTUNREACH:
        return {ICMP_HOST_UNREACH, skb_drop_reason::ROUTE_UNREACHABLE};
    case ENETUNREACH:
        IP_INC_STATS(ipstats_mib::INNOROUTES);
        return {ICMP_NET_UNREACH, skb_drop_reason::IP_INNOROUTES};
    case EACCES:
        return {ICMP_PKT_FILTERED, skb_drop_reason::ROUTE_PROHIBIT};
    case EINVAL:
        return {-1, skb_drop_reason::BLACKHOLE};
    default:
        return {-1, skb_drop_reason::NOT_SPECIFIED};
    }
}

// A host: it keeps silent.
unreach host_error(int error) {
    switch (error) {
    case EHOSTUNREACH:
        IP_INC_STATS(ipstats_mib::INADDRERRORS);
        return {-1, skb_drop_reason::IP_INADDRERRORS};
    case ENETUNREACH:
        IP_INC_STATS(ipstats_mib::INNOROUTES);
        return {-1, skb_drop_reason::IP_INNOROUTES};
    default:
        return {-1, skb_drop_reason::NOT_SPECIFIED};
    }
}

} // namespace

int ip_error(sk_buff* skb) {
    const in_device* in_dev = __in_dev_get_rcu(skb->dev);
    unreach what{-1, skb_drop_reason::NOT_SPECIFIED};
    if (in_dev) {
        int error = skb_rtable(skb)->dst.error;
        what = IN_DEV_FORWARD(in_dev) ? forwarding_error(error) : host_error(error);
    }
    if (what.code >= 0 && error_allowed(*skb->dev->nd_net, skb))
        ip_handlers.icmp_send(skb, ICMP_DEST_UNREACH, what.code, be32_t{});
    kfree_skb_reason(skb, what.reason);
    return 0;
}

void ipv4_link_failure(sk_buff* skb) {
    if (!pskb_may_pull(skb, sizeof(iphdr)) || ip_hdr(skb)->version() != 4 || ip_hdr(skb)->ihl() < 5)
        return;
    ip_handlers.icmp_send(skb, ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, be32_t{});
}

void arp_error_report(neighbour*, sk_buff* skb) {
    ipv4_link_failure(skb);
    kfree_skb_reason(skb, skb_drop_reason::NEIGH_FAILED);
}

// ---- redirects sent

namespace {

enum class redirect : uint8_t { hold, send, send_last };

// Backs off exponentially from a host that does not listen, up to redirect_number; silence starts
// anew.
redirect redirect_allowed(net& n, inet_peer* peer) {
    const rt_sysctls& rt = n.ipv4.rt;
    jiffies_t now = jiffies();
    auto number = uint32_t(rt.redirect_number);
    std::lock_guard guard(peer->lock);
    if (time_after(now, peer->rate_last + jiffies_t(rt.redirect_silence))) {
        peer->rate_tokens = 0;
        peer->n_redirects = 0;
    }
    if (peer->n_redirects >= number) {
        peer->rate_last = now;
        return redirect::hold;
    }
    jiffies_t wait = jiffies_t(rt.redirect_load) << std::min(peer->n_redirects, 32u);
    if (peer->n_redirects && !time_after(now, peer->rate_last + wait))
        return redirect::hold;
    ++peer->n_redirects;
    return peer->n_redirects == number ? redirect::send_last : redirect::send;
}

} // namespace

void ip_rt_send_redirect(sk_buff* skb) {
    rtable* rt = skb_rtable(skb);
    net_device* dev = rt->dst.dev;
    const in_device* in_dev = __in_dev_get_rcu(dev);
    if (!in_dev || !IN_DEV_TX_REDIRECTS(in_dev))
        return;
    be32_t saddr = ip_hdr(skb)->saddr, daddr = ip_hdr(skb)->daddr;
    be32_t gw = rt_nexthop(rt, daddr);
    inet_peer* peer = inet_getpeer_v4(*dev->nd_net, saddr, dev->master_ifindex);
    redirect verdict = peer ? redirect_allowed(*dev->nd_net, peer) : redirect::send;
    if (verdict == redirect::hold)
        return;
    ip_handlers.icmp_send(skb, ICMP_REDIRECT, ICMP_REDIR_HOST, gw);
    if (peer) {
        std::lock_guard guard(peer->lock);
        peer->rate_last = jiffies();
    }
    if (verdict == redirect::send_last && IN_DEV_LOG_MARTIANS(in_dev))
        net_warn_ratelimited("IPv4: host %s/if%d ignores redirects for %s to %s", ip4_str(saddr).s,
                             skb->skb_iif, ip4_str(daddr).s, ip4_str(gw).s);
}

// ---- path mtu and redirects received

namespace {

bool is_gateway_on(const fib_info* fi, be32_t gw, const net_device* dev) {
    for (int i = 0; i < fi->fib_nhs; ++i) {
        const fib_nh& nh = fi->fib_nh_[i];
        if (nh.fib_nh_dev == dev && nh.gw_family == AF_INET_ && nh.fib_nh_gw4 == gw &&
            !(nh.fib_nh_flags & RTNH_F_DEAD))
            return true;
    }
    return false;
}

// A route of the zone has the gateway; looks at *budget routes at most.
bool zone_has_gateway(const fn_zone* zone, be32_t gw, const net_device* dev, unsigned* budget) {
    const fz_hash_table* hash = rcu_dereference(zone->fz_hash);
    for (uint32_t b = 0; *budget && b <= hash->hashmask; ++b)
        for (fib_node* fn = rcu_dereference(hash->bucket[b]); fn; fn = rcu_dereference(fn->fn_hash))
            for (fib_alias* fa = rcu_dereference(fn->fn_alias); fa && *budget;
                 fa = rcu_dereference(fa->fa_next), --*budget)
                if (is_gateway_on(fa->fa_info, gw, dev))
                    return true;
    return false;
}

} // namespace

// The kernel has a hash of next hops by device for this. Here the main table is walked, default
// routes first and no further than a bound: secure_redirects without shared_media is rare, and so
// are redirects.
int ip_fib_check_default(be32_t gw, net_device* dev) {
    unsigned budget = 4096;
    const fib_table* main = dev->nd_net->ipv4.fib->fib_main;
    for (fn_zone* const& z : main->tb_data.fn_zones)
        if (const fn_zone* zone = rcu_dereference(z))
            if (zone_has_gateway(zone, gw, dev, &budget))
                return 0;
    return -1;
}

namespace {

bool fib_path_of(net& n, flowi4 fl4, fib_result* res) {
    if (fib_lookup(n, &fl4, res))
        return false;
    fib_select_path(n, res, &fl4, nullptr);
    return true;
}

be32_t gateway_of(const fib_nh* nh) {
    return nh->gw_family == AF_INET_ ? nh->fib_nh_gw4 : be32_t{};
}

// Origin: __ip_rt_update_pmtu.
void __ip_rt_update_pmtu(net& n, const rtable* rt, const flowi4& fl4, uint32_t mtu) {
    uint32_t old_mtu = ipv4_mtu(&rt->dst);
    if (ip_mtu_locked(rt) || old_mtu < mtu)
        return;
    auto min_pmtu = uint32_t(n.ipv4.rt.min_pmtu), keep = uint32_t(n.ipv4.rt.mtu_expires);
    bool lock = mtu < min_pmtu;
    if (lock)
        mtu = std::min(old_mtu, min_pmtu);
    jiffies_t now = jiffies();
    if (rt->rt_pmtu == mtu && !lock && time_before(now, rt->dst.expires - keep / 2))
        return;
    fib_result res;
    if (!fib_path_of(n, fl4, &res))
        return;
    const fib_nh* nh = res.nh();
    bool any = res.fi->fib_nhs > 1; // whichever next hop the next packet takes
    inet_peer_learn(n, fl4.daddr, any ? 0 : nh->fib_nh_oif, any ? be32_t{} : gateway_of(nh), mtu,
                    lock, be32_t{}, now + keep);
    if (lock || n.ipv4.sysctl_ip_forward_use_pmtu)
        rt_cache_flush(n); // forwarded packets heed it too
}

flowi4 flow_of(net& n, const sk_buff* skb, be32_t daddr, be32_t saddr, uint8_t tos) {
    flowi4 fl4;
    fl4.daddr = daddr;
    fl4.saddr = saddr;
    fl4.flowi4_tos = tos & INET_DSCP_MASK;
    fl4.flowi4_mark = skb && n.ipv4.sysctl_fwmark_reflect ? skb->mark : 0;
    return fl4;
}

bool redirect_believed(net& n, const in_device* in_dev, be32_t old_gw, be32_t new_gw) {
    if (new_gw == old_gw || !IN_DEV_RX_REDIRECTS(in_dev) || ipv4_is_multicast(new_gw) ||
        ipv4_is_lbcast(new_gw) || ipv4_is_zeronet(new_gw))
        return false;
    if (IN_DEV_SHARED_MEDIA(in_dev))
        return inet_addr_type(n, new_gw) == RTN_UNICAST;
    return inet_addr_onlink(in_dev, new_gw, old_gw) &&
           !(IN_DEV_SEC_REDIRECTS(in_dev) && ip_fib_check_default(new_gw, in_dev->dev));
}

// The new gateway answers: from now on packets to fl4's destination go there.
void redirect_take(net& n, const flowi4& fl4, be32_t new_gw) {
    fib_result res;
    if (!fib_path_of(n, fl4, &res))
        return;
    jiffies_t expires = jiffies() + jiffies_t(n.ipv4.rt.gc_timeout);
    if (inet_peer_learn(n, fl4.daddr, res.nh()->fib_nh_oif, gateway_of(res.nh()), 0, false, new_gw,
                        expires))
        rt_cache_flush(n);
}

} // namespace

void ipv4_update_pmtu(net& n, const sk_buff* skb, be32_t daddr, be32_t saddr, uint8_t tos,
                      uint32_t mtu) {
    flowi4 fl4 = flow_of(n, skb, daddr, saddr, tos);
    int err = 0;
    flowi4 asked = fl4;
    if (const rtable* rt = ip_route_output_key(n, &asked, &err))
        __ip_rt_update_pmtu(n, rt, fl4, mtu);
}

void ip_rt_redirect(sk_buff* skb, be32_t old_gw, be32_t daddr, be32_t saddr, uint8_t tos,
                    be32_t new_gw) {
    net_device* dev = skb->dev;
    net& n = *dev->nd_net;
    const in_device* in_dev = __in_dev_get_rcu(dev);
    flowi4 fl4 = flow_of(n, skb, daddr, saddr, tos);
    int err = 0;
    flowi4 asked = fl4;
    const rtable* rt = ip_route_output_key(n, &asked, &err);
    if (!rt || !in_dev || !rt->rt_uses_gateway || rt->rt_gw6 || rt->rt_gateway != old_gw)
        return;
    if (!redirect_believed(n, in_dev, old_gw, new_gw)) {
        if (IN_DEV_LOG_MARTIANS(in_dev))
            net_warn_ratelimited("IPv4: Redirect from %s on %s about %s ignored\n"
                                 "  Advised path = %s -> %s",
                                 ip4_str(old_gw).s, dev->name, ip4_str(new_gw).s, ip4_str(saddr).s,
                                 ip4_str(daddr).s);
        return;
    }
    neighbour* n_gw = ip_neigh_gw4(rt->dst.dev, new_gw);
    if (!n_gw)
        return;
    if (n_gw->nud_state.load(std::memory_order_relaxed) & NUD_VALID)
        redirect_take(n, fl4, new_gw);
    else
        neigh_event_send(n_gw, nullptr); // asks; the next redirect finds it valid
}

} // namespace slabfwd
