// SPDX-License-Identifier: BSD-3-Clause
//
// rt_router: decisions in words.
#include "tests/route/rt_router.h"

#include <algorithm>
#include <gtest/gtest.h>

#include "neigh/neighbour.h"

namespace slabfwd::test {

std::vector<icmp_asked> rt_router::icmp;
std::vector<std::string> rt_router::log;

namespace {

// Told apart by address only; nothing here sends packets on.
int fake_forward(sk_buff* skb) {
    return consume_skb(skb), 1;
}
int fake_local_deliver(sk_buff* skb) {
    return consume_skb(skb), 2;
}
int fake_output(sk_buff* skb) {
    return consume_skb(skb), 3;
}
int fake_mc_output(sk_buff* skb) {
    return consume_skb(skb), 4;
}
int fake_mr_input(sk_buff* skb) {
    return consume_skb(skb), 5;
}
void fake_icmp_send(sk_buff*, int type, int code, be32_t info) {
    rt_router::icmp.push_back({type, code, info});
}

std::string words_of_input(const rtable* rt, const sk_buff* skb) {
    if (rt->dst.input == ip_error)
        return "error " + std::to_string(rt->dst.error);
    if (rt->dst.input == fake_local_deliver)
        return skb->rt_flags & RTCF_MULTICAST   ? "multicast"
               : skb->rt_flags & RTCF_BROADCAST ? "broadcast"
               : skb->rt_flags & RTCF_LOCAL     ? "local"
                                                : "?";
    if (rt->dst.input == fake_mr_input)
        return "multicast routing";
    if (rt->dst.input != fake_forward || rt->dst.output != fake_output)
        return "?";
    return "forward via " + to_string(rt_nexthop(rt, ip_hdr(skb)->daddr)) + " dev " +
           rt->dst.dev->name + (skb->cb.flags & IPSKB_DOREDIRECT ? " redirect" : "");
}

} // namespace

bool logged(const std::string& text) {
    return std::any_of(rt_router::log.begin(), rt_router::log.end(), [&](const std::string& line) {
        return line.find(text) != std::string::npos;
    });
}

rt_router::rt_router(unsigned workers) : fib_router(workers) {
    ip_handlers = {fake_forward,   fake_local_deliver, fake_output,
                   fake_mc_output, fake_mr_input,      fake_icmp_send};
    log_sink = [](const char* line) { log.emplace_back(line); };
    icmp.clear();
    log.clear();
    enter(n.control_cpu());
    for (int i = 0; i < 3; ++i) {
        std::string p = "p" + std::to_string(i), net = "10.0." + std::to_string(i) + ".";
        ip("link set " + p + " up");
        EXPECT_EQ(ip("addr add " + net + "1/24 dev " + p), 0);
        for (int host = 2; host < 10; ++host)
            neigh(p.c_str(), net + std::to_string(host));
    }
    n.ipv4.devconf_all.forwarding = 1;
    n.for_each_netdev([](net_device* dev) { dev->ip_ptr->cnf.forwarding = 1; });
    enter(0);
}

rt_router::~rt_router() {
    log_sink = nullptr;
    for (unsigned cpu = 0; cpu < n.nr_cpus(); ++cpu) {
        enter(cpu);
        EXPECT_TRUE(rt_shard_is_valid(shard()));
        dst_run_gc(*this_softnet());
    }
}

void rt_router::neigh(const char* dev, const std::string& addr, uint8_t state) {
    be32_t a = test::ip(addr.c_str());
    uint8_t mac[ETH_ALEN] = {2, 0xcc};
    memcpy(mac + 2, &a, 4);
    EXPECT_EQ(neigh_add(n, port(dev), a, mac, state, true, false, 0), 0);
}

void rt_router::limits(int gc_thresh, int max_size, int elasticity) {
    n.ipv4.rt.gc_thresh = gc_thresh;
    n.ipv4.rt.max_size = max_size;
    n.ipv4.rt.gc_elasticity = elasticity;
    rt_sysctl_changed(n);
}

void rt_router::cache_off() {
    n.ipv4.sysctl_rt_cache_rebuild_count = -1;
    rt_sysctl_changed(n);
}

std::string rt_router::input(const char* src, const char* dst, const char* dev, uint8_t tos,
                             uint8_t proto) {
    bytes packet = udp_packet(test::ip(src), test::ip(dst));
    packet[9] = proto;
    sk_buff* skb = make_skb(packet, port(dev));
    skb_reset_network_header(skb);
    skb->protocol = cpu_to_be16(ETH_P_IP);
    auto reason = skb_drop_reason::NOT_SPECIFIED;
    int err = ip_route_input(skb, test::ip(dst), test::ip(src), tos, port(dev), &reason);
    rt = err ? nullptr : skb_rtable(skb);
    std::string words =
        err ? std::string("refused ") + drop_reason_name(reason) : words_of_input(rt, skb);
    EXPECT_TRUE(err ||
                (skb->rt_type == rt->rt_type && skb->rt_is_input && skb->rt_mtu == rt->dst.mtu));
    consume_skb(skb);
    return words;
}

std::string rt_router::output(const char* dst, const char* src, const char* oif) {
    flowi4 fl4;
    fl4.daddr = test::ip(dst);
    fl4.saddr = src ? test::ip(src) : be32_t{};
    fl4.flowi4_oif = oif ? port(oif)->ifindex : 0;
    int err = 0;
    rt = ip_route_output_key(n, &fl4, &err);
    if (!rt)
        return "error " + std::to_string(-err);
    EXPECT_EQ(fl4.flowi4_oif, rt->dst.dev->ifindex);
    return "via " + to_string(rt_nexthop(rt, fl4.daddr)) + " dev " + rt->dst.dev->name + " src " +
           to_string(fl4.saddr) +
           (rt->rt_flags & RTCF_BROADCAST   ? " broadcast"
            : rt->rt_flags & RTCF_MULTICAST ? " multicast"
            : rt->rt_flags & RTCF_LOCAL     ? " local"
                                            : "");
}

namespace {
sk_buff* routed_skb(rt_router& r, const char* src, const char* dst, const char* dev) {
    sk_buff* skb = r.inject(make_skb(udp_packet(ip(src), ip(dst)), r.port(dev)));
    skb_reset_network_header(skb);
    skb->protocol = cpu_to_be16(ETH_P_IP);
    auto reason = skb_drop_reason::NOT_SPECIFIED;
    EXPECT_EQ(ip_route_input(skb, ip(dst), ip(src), 0, r.port(dev), &reason), 0);
    return skb;
}
} // namespace

void rt_router::error_packet(const char* src, const char* dst, const char* dev) {
    sk_buff* skb = routed_skb(*this, src, dst, dev);
    ASSERT_EQ(skb->dst->input, ip_error);
    dst_input(skb);
}

void rt_router::redirect_packet(const char* src, const char* dst, const char* dev) {
    sk_buff* skb = routed_skb(*this, src, dst, dev);
    ASSERT_TRUE(IPCB(skb)->flags & IPSKB_DOREDIRECT);
    ip_rt_send_redirect(skb);
    kfree_skb_reason(skb, skb_drop_reason::SHUTDOWN);
}

} // namespace slabfwd::test
