// SPDX-License-Identifier: BSD-3-Clause
//
// The burst path must do what the per-packet functions do, only faster. Two routers with the same
// configuration get the same frames: one in bursts, one packet by packet (a tracer forces that). What
// they send, in which order, and every counter have to be equal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <utility>

#include "dataplane/control/control.h"
#include "dataplane/ip/ip.h"
#include "dataplane/worker/worker.h"
#include "route/ip_fib.h"
#include "route/route_cache.h"
#include "tests/support/test_net.h"

namespace slabfwd::test {
namespace {

void ignore_event(packet_tracer*, const sk_buff*, const char*, const char*) {}
packet_tracer silent{ignore_event};

/// Two ports, a gateway behind p1, hosts on both, everything resolved.
class two_port_router : public test_net {
public:
    explicit two_port_router(bool per_packet) {
        EXPECT_EQ(0, nf_net_init(n));
        EXPECT_EQ(0, ip_rt_init(n, 4096));
        EXPECT_EQ(0, ip_init(n));
        add_lo(false);
        p0 = port("p0", "10.0.0.1");
        p1 = port("p1", "10.0.1.1");
        n.ipv4.devconf_all.forwarding = 1;
        for (net_device* dev : {p0, p1})
            dev->ip_ptr->cnf.forwarding = 1;
        n.ipv4.sysctl_icmp_ratelimit = 0;
        n.ipv4.rt.gc_elasticity = 1000; // flows that differ in TOS only share a chain: keep them all
        fib_config route;
        route.fc_dst = ip("192.168.0.0");
        route.fc_dst_len = 16;
        route.fc_nlflags = NLM_F_CREATE | NLM_F_EXCL;
        route.nexthops.push_back({.gw = ip("10.0.1.2"), .has_gw = true});
        netlink_ext_ack ack;
        EXPECT_EQ(0, inet_rtm_newroute(n, route, &ack)) << ack.msg;
        neighbour_of(p0, "10.0.0.2", "02:bb:00:00:00:02");
        neighbour_of(p1, "10.0.1.2", "02:bb:00:00:01:02");
        neighbour_of(p1, "10.0.1.3", "02:bb:00:00:01:03");
        n.softnet[0]->tracer = per_packet ? &silent : nullptr;
    }
    ~two_port_router() {
        enter(0); // the other router may have been the last one used
        n.softnet[0]->tracer = nullptr;
        ip_exit(n);
        neigh_ifdown(n.arp_tbl, nullptr);
        ip_rt_exit(n);
        nf_net_exit(n);
    }

    void receive_burst(net_device* dev, const std::vector<bytes>& frames) {
        softnet_data& sd = *n.softnet[0];
        rte_mbuf* m[NET_RX_BURST];
        uint16_t count = 0;
        for (const bytes& f : frames) {
            sk_buff* skb = inject(make_rx_skb(f, dev));
            m[count++] = skb_mbuf(skb);
        }
        netif_receive_burst(sd, dev, m, count);
        dst_run_gc(sd);
        rcu_do_batch(sd);
    }

    net_device *p0, *p1;

private:
    net_device* port(const char* name, const char* addr) {
        net_device* dev = add_port(name);
        ifa_config cfg;
        cfg.local = cfg.address = ip(addr);
        cfg.prefixlen = 24;
        netlink_ext_ack ack;
        EXPECT_EQ(0, inet_rtm_newaddr(n, dev, cfg, false, &ack)) << ack.msg;
        return dev;
    }
    void neighbour_of(net_device* dev, const char* addr, const char* lladdr) {
        EXPECT_EQ(0, neigh_add(n, dev, ip(addr), mac(lladdr).data(), NUD_PERMANENT, true, false, 0));
    }
};

bytes frame_to(const net_device* dev, const bytes& packet) {
    bytes f(ETH_HLEN);
    std::memcpy(f.data(), dev->dev_addr, ETH_ALEN);
    std::memcpy(f.data() + ETH_ALEN, mac("02:bb:00:00:00:02").data(), ETH_ALEN);
    f[12] = 0x08;
    f.insert(f.end(), packet.begin(), packet.end());
    return f;
}

void fix_checksum(bytes& frame) {
    auto* iph = reinterpret_cast<iphdr*>(frame.data() + ETH_HLEN);
    if (ETH_HLEN + (iph->ihl_version & 15) * 4u <= frame.size()) // the length may be wrong, too
        ip_send_check(iph);
}

/// A frame of one of a few flows, now and then with something about it that is not plain.
bytes random_frame(std::mt19937& rng, const net_device* dev) {
    static const char* const targets[] = {"192.168.1.1", "192.168.2.9", "10.0.1.2", "10.0.1.3",
                                          "10.0.0.1",    "10.9.9.9",    "192.168.3.3"};
    bytes f = frame_to(dev, udp_packet(ip("10.0.0.2"), ip(targets[rng() % std::size(targets)]),
                                       rng() % 64, uint8_t(rng() % 8 ? 64 : rng() % 3)));
    auto* iph = reinterpret_cast<iphdr*>(f.data() + ETH_HLEN);
    switch (rng() % 16) {
    case 0:
        f.resize(f.size() + rng() % 30); // padding
        break;
    case 1:
        f[ETH_HLEN + rng() % 20] ^= uint8_t(1 + rng() % 255); // any header byte, checksum wrong
        break;
    case 2:
        f[ETH_HLEN + rng() % 20] ^= uint8_t(1 + rng() % 255); // any header byte, checksum right
        fix_checksum(f);
        break;
    case 3:
        f.resize(rng() % f.size() + 1);
        break;
    case 4:
        f[rng() % 12] ^= 1; // a MAC address
        break;
    case 5:
        iph->tos = uint8_t(rng());
        fix_checksum(f);
        break;
    case 6:
        iph->frag_off = cpu_to_be16(uint16_t(rng()));
        fix_checksum(f);
        break;
    case 7:
        f[12] ^= uint8_t(rng() % 2 ? 0x86 ^ 0x08 : 1); // EtherType
        break;
    default:
        break;
    }
    return f;
}

template <class E> void expect_equal(const mib_array<E>& a, const mib_array<E>& b, const char* what) {
    for (unsigned i = 0; i < unsigned(E::MAX); ++i)
        EXPECT_EQ(a[E(i)].get(), b[E(i)].get()) << what << " " << i;
}

void expect_same(two_port_router& burst, two_port_router& single) {
    auto a = burst.take_sent(), b = single.take_sent();
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) {
        EXPECT_STREQ(a[i].dev->name, b[i].dev->name) << i;
        EXPECT_EQ(a[i].data, b[i].data) << i;
    }
    const softnet_data &x = *burst.n.softnet[0], &y = *single.n.softnet[0];
    expect_equal(x.ip_statistics, y.ip_statistics, "Ip");
    expect_equal(x.icmp_statistics, y.icmp_statistics, "Icmp");
    // All but in_hlist_search: a burst looks all its packets up before its misses lengthen the chains.
    for (rt_cache_stat e : {rt_cache_stat::in_hit, rt_cache_stat::in_slow_tot, rt_cache_stat::allocated})
        EXPECT_EQ(x.rt_stat[e].get(), y.rt_stat[e].get()) << "rt_cache " << int(e);
    expect_equal(x.balance, y.balance, "balance");
    for (unsigned r = 0; r < NR_DROP_REASONS; ++r)
        EXPECT_EQ(x.drops[r].get(), y.drops[r].get()) << drop_reason_name(skb_drop_reason(r));
}

TEST(burst, plain_flow_stays_in_the_burst_and_is_forwarded) {
    two_port_router r(false);
    bytes f = frame_to(r.p0, udp_packet(ip("10.0.0.2"), ip("192.168.1.1")));
    r.receive_burst(r.p0, {f});
    r.receive_burst(r.p0, std::vector<bytes>(NET_RX_BURST, f));
    auto sent = r.take_sent();
    ASSERT_EQ(1u + NET_RX_BURST, sent.size());
    for (const sent_frame& s : sent) {
        EXPECT_EQ(r.p1, s.dev);
        EXPECT_EQ(mac("02:bb:00:00:01:02"), eth_dst(s.data));
        EXPECT_EQ(63, s.data[ETH_HLEN + 8]);
        EXPECT_EQ(0, ip_fast_csum(s.data.data() + ETH_HLEN, 5));
    }
    const softnet_data& sd = *r.n.softnet[0];
    EXPECT_EQ(uint64_t(NET_RX_BURST), sd.rt_stat[rt_cache_stat::in_hit].get());
    EXPECT_EQ(1u + NET_RX_BURST, sd.ip_statistics[ipstats_mib::OUTFORWDATAGRAMS].get());
    r.expect_balanced();
}

/// What a flood has left in a bucket stands in front of a flow's entry until the flow's next packet.
TEST(burst, a_hit_comes_to_the_front_of_what_was_not_used_since) {
    two_port_router r(false);
    const rt_hash_shard* shard = r.n.softnet[0]->rt_shard;
    auto bucket = [&](uint32_t src) -> const rt_bucket& {
        const uint32_t hash = rt_hash_seeded(ip("192.168.1.1"), cpu_to_be32(src), uint32_t(r.p0->ifindex),
                                             shard->rt_hash_seed);
        return shard->rt_hash_table[hash & shard->rt_hash_mask];
    };
    constexpr uint32_t FIRST = 0x0a000002; // 10.0.0.2
    uint32_t second = FIRST + 1;
    while (&bucket(second) != &bucket(FIRST))
        ++second;
    auto receive = [&](uint32_t src) {
        r.enter(0);
        r.receive_burst(r.p0, {frame_to(r.p0, udp_packet(cpu_to_be32(src), ip("192.168.1.1")))});
    };
    auto head = [&] { return be32_to_cpu(bucket(FIRST).head()->key.saddr); };
    receive(FIRST);
    receive(second);
    EXPECT_EQ(second, head());
    receive(FIRST);
    EXPECT_EQ(second, head()) << "which was used just now";
    r.advance_ms(100);
    receive(FIRST);
    EXPECT_EQ(FIRST, head());
    receive(second);
    EXPECT_EQ(FIRST, head());
    EXPECT_EQ(2u, bucket(FIRST).length());
    EXPECT_EQ(3u, r.n.softnet[0]->rt_stat[rt_cache_stat::in_hit].get());
    EXPECT_TRUE(rt_shard_is_valid(shard));
}

TEST(burst, same_as_packet_by_packet) {
    two_port_router burst(false), single(true);
    std::mt19937 rng(1);
    for (int round = 0; round < 400 && !testing::Test::HasFailure(); ++round) {
        std::vector<bytes> frames;
        for (unsigned i = 0, n = 1 + rng() % NET_RX_BURST; i < n; ++i)
            frames.push_back(random_frame(rng, burst.p0));
        burst.enter(0);
        burst.receive_burst(burst.p0, frames);
        single.enter(0);
        single.receive_burst(single.p0, frames);
        expect_same(burst, single);
    }
    burst.enter(0);
    burst.advance_ms(60000); // fragments time out, so that what is held is counted alike
    single.enter(0);
    single.advance_ms(60000);
    expect_same(burst, single);
}

/// One packet of a burst gets its next hop's own entry; a later one, whose flow pays, finds that the gateway
/// behind it has failed.
TEST(burst, a_gateway_that_fails_sends_nothing_to_nobody) {
    for (bool lends_first : {true, false}) {
        two_port_router r(false);
        r.n.ipv4.rt.gc_thresh = 0;
        r.n.softnet[0]->rt_shard->ipv4_dst_ops.gc_thresh = 0; // flows get an entry with their second packet
        auto of_flow = [&](const char* dst) { return frame_to(r.p0, udp_packet(ip("10.0.0.2"), ip(dst))); };
        const bytes a = of_flow("192.168.1.1"), b = of_flow("192.168.2.9");
        r.receive_burst(r.p0, {of_flow("192.168.7.7")});
        r.receive_burst(r.p0, {b});
        EXPECT_EQ(2u, r.take_sent().size());
        neighbour* gateway = neigh_lookup(r.n.arp_tbl, ip("10.0.1.2"), r.p1);
        ASSERT_TRUE(gateway);
        EXPECT_EQ(0, neigh_update(gateway, nullptr, NUD_FAILED, NEIGH_UPDATE_F_OVERRIDE | NEIGH_UPDATE_F_ADMIN));
        r.receive_burst(r.p0, lends_first ? std::vector{a, b, a} : std::vector{b, a, a});
        for (const sent_frame& s : r.take_sent())
            EXPECT_NE(mac_addr{}, eth_dst(s.data));
        neigh_release(gateway);
    }
}

unsigned accept(void* priv, sk_buff*, const nf_hook_state*) {
    ++*static_cast<int*>(priv);
    return NF_ACCEPT;
}
unsigned drop_port_7(void*, sk_buff* skb, const nf_hook_state*) {
    return skb_network_header(skb)[23] == 7 ? NF_DROP : NF_ACCEPT;
}

unsigned renew_secret_once(void* priv, sk_buff*, const nf_hook_state*) {
    if (!std::exchange(*static_cast<bool*>(priv), true))
        rt_rebuild(this_softnet()->rt_shard);
    return NF_ACCEPT;
}

/// Where flows are new, the second half of a burst is hashed before the first is sent; that may
/// renew the hash's secret.
TEST(burst, a_new_secret_between_two_halves) {
    two_port_router r(false);
    uint32_t host = 0;
    const auto new_flows = [&] {
        std::vector<bytes> frames;
        for (unsigned i = 0; i < NET_RX_BURST; ++i)
            frames.push_back(
                frame_to(r.p0, udp_packet(ip("10.0.0.2"), cpu_to_be32(0xc0a80000u + host++))));
        return frames;
    };
    r.receive_burst(r.p0, new_flows());
    ASSERT_TRUE(r.n.softnet[0]->rt_missed);
    const rt_hash_shard* shard = r.n.softnet[0]->rt_shard;
    const uint64_t secret = shard->rt_hash_seed;
    bool renewed = false;
    nf_hook_ops op{renew_secret_once, &renewed, NF_INET_FORWARD, 0, "renew"};
    ASSERT_EQ(0, nf_register_net_hook(r.n, &op));
    const auto frames = new_flows();
    r.receive_burst(r.p0, frames);
    EXPECT_NE(secret, shard->rt_hash_seed);
    EXPECT_TRUE(rt_shard_is_valid(shard));
    nf_unregister_net_hook(r.n, &op);
    const uint64_t hits = r.n.softnet[0]->rt_stat[rt_cache_stat::in_hit].get();
    r.receive_burst(r.p0, frames);
    EXPECT_EQ(hits + NET_RX_BURST, r.n.softnet[0]->rt_stat[rt_cache_stat::in_hit].get());
    EXPECT_EQ(3u * NET_RX_BURST, r.take_sent().size());
}

TEST(burst, hooks_see_every_packet_and_may_drop) {
    for (bool per_packet : {false, true}) {
        two_port_router r(per_packet);
        int seen[3] = {};
        nf_hook_ops ops[] = {
            {accept, &seen[0], NF_INET_PRE_ROUTING, 0, "count"},
            {accept, &seen[1], NF_INET_FORWARD, NF_IP_PRI_FIRST, "count"},
            {drop_port_7, nullptr, NF_INET_FORWARD, NF_IP_PRI_FILTER, "filter"},
            {accept, &seen[2], NF_INET_POST_ROUTING, 0, "count"},
        };
        for (nf_hook_ops& o : ops)
            ASSERT_EQ(0, nf_register_net_hook(r.n, &o));
        std::vector<bytes> frames;
        for (uint16_t port : {5, 6, 7, 8})
            frames.push_back(frame_to(
                r.p0, udp_packet(ip("10.0.0.2"), ip("192.168.1.1"), 8, 64, 1000, port)));
        r.receive_burst(r.p0, frames); // misses
        r.receive_burst(r.p0, frames); // hits
        EXPECT_THAT(seen, testing::ElementsAre(8, 8, 6));
        EXPECT_EQ(6u, r.take_sent().size());
        EXPECT_EQ(2u, r.drops(skb_drop_reason::NETFILTER_DROP));
        r.expect_balanced();
        for (nf_hook_ops& o : ops)
            nf_unregister_net_hook(r.n, &o);
    }
}

/// Rules of every kind that a burst may meet: some ask for an sk_buff, some change the packet, its route or
/// its length, some answer it, some remember the packets before.
const char* const rules[] = {
    "iptables -t raw -A PREROUTING -p udp --dport 2000 -m statistic --mode nth --every 5 --packet 2 -j DROP",
    "iptables -t mangle -A PREROUTING -d 192.168.1.1 -j MARK --set-mark 7",
    "iptables -t mangle -A PREROUTING -d 192.168.3.3 -j TTL --ttl-dec 62",
    "iptables -t mangle -A FORWARD -m mark --mark 7 -j TOS --set-tos 0x10",
    "iptables -t mangle -A FORWARD -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu",
    "iptables -t mangle -A POSTROUTING -o p1 -j DSCP --set-dscp 3",
    "iptables -N more",
    "iptables -A FORWARD -m limit --limit 100/second --limit-burst 40 -j more",
    "iptables -A FORWARD -d 192.168.2.9 -m length --length 60: -j REJECT",
    "iptables -A FORWARD -m ttl --ttl-lt 3 -j REJECT --reject-with icmp-admin-prohibited",
    "iptables -A FORWARD -p tcp -j REJECT --reject-with tcp-reset",
    "iptables -A more -d 10.0.1.2 -m statistic --mode nth --every 3 --packet 0 -j DROP",
    "iptables -A more -i p0 -o p1 -p udp --sport 1000 --dport 1990:2010 -j RETURN",
    "iptables -A more -d 10.0.1.3 -g more2",
    "iptables -A INPUT -p udp -j DROP",
    "iptables -A OUTPUT -p icmp --icmp-type time-exceeded -m limit --limit 5/second -j ACCEPT",
    "ip rule add fwmark 7 lookup 100",
    "ip route add 192.168.0.0/16 via 10.0.1.3 table 100",
};

void configure(two_port_router& r) {
    r.enter(r.n.control_cpu());
    ASSERT_EQ(0, control_execute(r.n, "iptables -N more2").rc);
    for (const char* line : rules) {
        control_result done = control_execute(r.n, line);
        ASSERT_EQ(0, done.rc) << line << "\n" << done.err;
    }
    r.n.rcu.offline(r.n.control_cpu());
    r.enter(0);
}

bytes tcp_frame(std::mt19937& rng, const net_device* dev) {
    bytes f = frame_to(dev, udp_packet(ip("10.0.0.2"), ip(rng() % 2 ? "192.168.1.1" : "192.168.3.3"), 12 + rng() % 8));
    auto* iph = reinterpret_cast<iphdr*>(f.data() + ETH_HLEN);
    iph->protocol = IPPROTO_TCP_;
    fix_checksum(f);
    auto* th = reinterpret_cast<tcphdr*>(iph + 1);
    th->flags = uint8_t(rng() % 3 ? TCPHDR_SYN : rng());
    th->doff_res = 0x50;
    unsigned len = unsigned(f.size()) - ETH_HLEN - 20;
    th->check = {};
    th->check.raw = csum_tcpudp_magic(iph->saddr, iph->daddr, len, IPPROTO_TCP_, csum_partial(th, len, 0));
    return f;
}

/// Frames by device: what a hook answers leaves before what the burst sends to others.
void sort_by_device(std::vector<sent_frame>& sent) {
    std::ranges::stable_sort(sent, {}, [](const sent_frame& f) { return f.dev->ifindex; });
}

TEST(burst, rules_same_as_packet_by_packet) {
    two_port_router burst(false), single(true);
    configure(burst);
    configure(single);
    std::mt19937 rng(3);
    for (int round = 0; round < 400 && !testing::Test::HasFailure(); ++round) {
        std::vector<bytes> frames;
        for (unsigned i = 0, n = 1 + rng() % NET_RX_BURST; i < n; ++i)
            frames.push_back(rng() % 6 ? random_frame(rng, burst.p0) : tcp_frame(rng, burst.p0));
        for (two_port_router* r : {&burst, &single}) {
            r->enter(0);
            r->advance_ms(17);
            r->receive_burst(r->p0, frames);
        }
        auto a = burst.take_sent(), b = single.take_sent();
        sort_by_device(a);
        sort_by_device(b);
        ASSERT_EQ(a.size(), b.size()) << round;
        for (size_t i = 0; i < a.size(); ++i)
            ASSERT_EQ(a[i].data, b[i].data) << round << ": " << a[i].dev->name << " " << i;
        expect_same(burst, single);
    }
    for (const char* table : {"raw", "mangle", "filter"}) {
        std::string list = std::string("iptables -vxnL -t ") + table;
        burst.enter(burst.n.control_cpu());
        std::string one = control_execute(burst.n, list).out;
        single.enter(single.n.control_cpu());
        EXPECT_EQ(one, control_execute(single.n, list).out);
    }
    for (two_port_router* r : {&burst, &single}) {
        r->n.rcu.offline(r->n.control_cpu());
        r->enter(0);
        r->advance_ms(60000);
        r->expect_balanced();
    }
}

TEST(burst, slow_packets_keep_their_place) {
    two_port_router r(false);
    bytes plain = frame_to(r.p0, udp_packet(ip("10.0.0.2"), ip("192.168.1.1")));
    r.receive_burst(r.p0, {plain});
    r.take_sent();
    // Every second frame carries a NOP option: off the burst, but not out of order.
    std::vector<bytes> frames;
    for (uint16_t id = 0; id < 16; ++id) {
        bytes f = plain;
        auto* iph = reinterpret_cast<iphdr*>(f.data() + ETH_HLEN);
        iph->id = cpu_to_be16(id);
        if (id % 2) {
            iph->ihl_version = 0x46;
            iph->tot_len = cpu_to_be16(uint16_t(be16_to_cpu(iph->tot_len) + 4));
            f.insert(f.begin() + ETH_HLEN + 20, {1, 1, 1, 0});
        }
        fix_checksum(f);
        frames.push_back(f);
    }
    r.receive_burst(r.p0, frames);
    auto sent = r.take_sent();
    ASSERT_EQ(16u, sent.size());
    for (uint8_t id = 0; id < 16; ++id)
        EXPECT_EQ(id, sent[id].data[ETH_HLEN + 5]);
}

} // namespace
} // namespace slabfwd::test
