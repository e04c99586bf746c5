// SPDX-License-Identifier: BSD-3-Clause
//
// inet_peer and what rests on it: ICMP token buckets, error limits, redirects sent and believed,
// path mtus. All of it must not depend on whether entries are cached: the tests run with the cache
// on and off.
#include <gtest/gtest.h>

#include "alloc/failslab.h"
#include "alloc/slabinfo.h"
#include "tests/route/rt_router.h"

namespace slabfwd::test {
namespace {

class inetpeer : public ::testing::TestWithParam<bool> {
protected:
    rt_router r;
    inetpeer() {
        r.setup("route add 192.168.1.0/24 via 10.0.1.2\n"
                "route add 192.168.6.0/24 via 10.0.0.3\n"
                "route add default via 10.0.2.2\n"
                "route add unreachable 192.168.3.0/24");
        if (!GetParam())
            r.cache_off();
    }
    uint32_t pmtu(const char* dst) {
        EXPECT_EQ(r.output(dst).substr(0, 3), "via");
        return ipv4_mtu(&r.rt->dst);
    }
};

TEST_P(inetpeer, found_again_by_address_and_vrf) {
    inet_peer* a = inet_getpeer_v4(r.n, ip("1.2.3.4"), 0);
    ASSERT_NE(a, nullptr);
    EXPECT_EQ(inet_getpeer_v4(r.n, ip("1.2.3.4"), 0), a);
    EXPECT_NE(inet_getpeer_v4(r.n, ip("1.2.3.4"), 7), a);
    EXPECT_NE(inet_getpeer_v4(r.n, ip("1.2.3.5"), 0), a);
    EXPECT_EQ(inet_getpeer_v4(r.n, ip("1.2.3.6"), 0, false), nullptr);
    EXPECT_EQ(r.n.ipv4.peers->total, 3);
}

TEST_P(inetpeer, token_bucket) {
    inet_peer* p = inet_getpeer_v4(r.n, ip("1.2.3.4"), 0);
    int sent = 0;
    for (int i = 0; i < 20; ++i)
        sent += inet_peer_xrlim_allow(p, HZ);
    EXPECT_EQ(sent, 6) << "a burst of six";
    r.advance_ms(999);
    EXPECT_FALSE(inet_peer_xrlim_allow(p, HZ));
    r.advance_ms(10);
    EXPECT_TRUE(inet_peer_xrlim_allow(p, HZ));
    EXPECT_FALSE(inet_peer_xrlim_allow(p, HZ));
    EXPECT_TRUE(inet_peer_xrlim_allow(nullptr, HZ));
}

TEST_P(inetpeer, the_table_stays_bounded_and_forgets) {
    for (uint32_t i = 0; i < uint32_t(inet_peer_threshold) + 5000; ++i) {
        inet_getpeer_v4(r.n, cpu_to_be32(0x0b000000 + i), 0);
        if (i % 1000 == 0)
            r.advance_ms(8);
    }
    EXPECT_LE(r.n.ipv4.peers->total, inet_peer_threshold);
    r.advance_ms(700 * 1000);
    int before = r.n.ipv4.peers->total;
    for (uint32_t i = 0; i < 2000; ++i)
        inet_getpeer_v4(r.n, cpu_to_be32(0x0c000000 + i), 0);
    EXPECT_LT(r.n.ipv4.peers->total, before - 2000);
}

TEST_P(inetpeer, without_memory_errors_are_still_sent) {
    fault_attr attr;
    attr.only = find_cache("inet_peer_cache");
    failslab_set(attr);
    EXPECT_EQ(inet_getpeer_v4(r.n, ip("1.2.3.4"), 0), nullptr);
    for (int i = 0; i < 10; ++i)
        r.error_packet("10.0.0.2", "192.168.3.1");
    failslab_off();
    EXPECT_EQ(r.icmp.size(), 10u);
}

TEST_P(inetpeer, errors_have_a_bucket_per_host) {
    for (int i = 0; i < 20; ++i)
        r.error_packet("10.0.0.2", "192.168.3.1");
    EXPECT_EQ(r.icmp.size(), 5u) << "error_burst / error_cost";
    EXPECT_EQ(r.icmp[0], (icmp_asked{ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, {}}));
    r.error_packet("10.0.0.4", "192.168.3.1");
    EXPECT_EQ(r.icmp.size(), 6u);
    r.advance_ms(2000);
    for (int i = 0; i < 20; ++i)
        r.error_packet("10.0.0.2", "192.168.3.1");
    EXPECT_EQ(r.icmp.size(), 8u);
    EXPECT_EQ(r.drops(skb_drop_reason::ROUTE_UNREACHABLE), 41u);
}

TEST_P(inetpeer, each_error_has_its_code_and_reason) {
    r.setup("route del default\n route add prohibit 192.168.4.0/24\n route add blackhole "
            "192.168.2.0/24");
    r.error_packet("10.0.0.2", "8.8.8.8");
    r.error_packet("10.0.0.2", "192.168.4.1");
    r.error_packet("10.0.0.2", "192.168.2.1");
    EXPECT_EQ(r.icmp,
              (std::vector<icmp_asked>{{3, ICMP_NET_UNREACH, {}}, {3, ICMP_PKT_FILTERED, {}}}));
    EXPECT_EQ(r.drops(skb_drop_reason::IP_INNOROUTES), 1u);
    EXPECT_EQ(r.drops(skb_drop_reason::ROUTE_PROHIBIT), 1u);
    EXPECT_EQ(r.drops(skb_drop_reason::BLACKHOLE), 1u);
    EXPECT_EQ(this_softnet()->ip_statistics[ipstats_mib::INNOROUTES], 1u);
}

TEST_P(inetpeer, redirects_back_off_and_stop) {
    uint64_t load_ms = jiffies_to_msecs(jiffies_t(r.n.ipv4.rt.redirect_load));
    for (int i = 0; i < 5; ++i)
        r.redirect_packet("10.0.0.2", "192.168.6.1");
    ASSERT_EQ(r.icmp.size(), 1u);
    EXPECT_EQ(r.icmp[0], (icmp_asked{ICMP_REDIRECT, ICMP_REDIR_HOST, ip("10.0.0.3")}));
    uint64_t wait = load_ms * 2;
    for (size_t sent = 1; sent < 9; ++sent, wait *= 2) {
        r.advance_ms(wait - 4);
        r.redirect_packet("10.0.0.2", "192.168.6.1");
        EXPECT_EQ(r.icmp.size(), sent) << "too early";
        r.advance_ms(12);
        r.redirect_packet("10.0.0.2", "192.168.6.1");
        EXPECT_EQ(r.icmp.size(), sent + 1);
    }
    r.advance_ms(15000);
    r.redirect_packet("10.0.0.2", "192.168.6.1");
    EXPECT_EQ(r.icmp.size(), 9u) << "redirect_number was reached";
    r.redirect_packet("10.0.0.4", "192.168.6.1");
    EXPECT_EQ(r.icmp.size(), 10u) << "another host";
    r.advance_ms(21000);
    r.redirect_packet("10.0.0.2", "192.168.6.1");
    EXPECT_EQ(r.icmp.size(), 11u) << "after redirect_silence";
    r.port("p0")->ip_ptr->cnf.send_redirects = 0;
    r.n.ipv4.devconf_all.send_redirects = 0;
    rt_cache_flush(r.n);
    EXPECT_EQ(r.input("10.0.0.5", "192.168.6.1"), "forward via 10.0.0.3 dev p0");
}

TEST_P(inetpeer, redirects_only_within_the_link_unless_shared_media) {
    EXPECT_EQ(r.input("10.0.0.2", "192.168.6.1"), "forward via 10.0.0.3 dev p0 redirect");
    r.setup("addr add 10.7.0.1/24 dev p0\n route add 192.168.10.0/24 via 10.7.0.9");
    EXPECT_EQ(r.input("10.0.0.2", "192.168.10.1"), "forward via 10.7.0.9 dev p0 redirect");
    r.n.ipv4.devconf_all.shared_media = 0;
    r.port("p0")->ip_ptr->cnf.shared_media = 0;
    rt_cache_flush(r.n);
    EXPECT_EQ(r.input("10.0.0.2", "192.168.10.1"), "forward via 10.7.0.9 dev p0");
    EXPECT_EQ(r.input("10.0.0.2", "192.168.6.1"), "forward via 10.0.0.3 dev p0 redirect");
}

TEST_P(inetpeer, path_mtu_is_learned_and_forgotten) {
    EXPECT_EQ(pmtu("192.168.1.5"), 1500u);
    ipv4_update_pmtu(r.n, nullptr, ip("192.168.1.5"), ip("10.0.1.1"), 0, 1200);
    EXPECT_EQ(pmtu("192.168.1.5"), 1200u);
    EXPECT_EQ(pmtu("192.168.1.6"), 1500u);
    ipv4_update_pmtu(r.n, nullptr, ip("192.168.1.5"), ip("10.0.1.1"), 0, 1400);
    EXPECT_EQ(pmtu("192.168.1.5"), 1200u) << "it only goes down";
    r.advance_ms(601 * 1000);
    r.burst_end();
    EXPECT_EQ(pmtu("192.168.1.5"), 1500u) << "after mtu_expires";
    ipv4_update_pmtu(r.n, nullptr, ip("192.168.1.5"), ip("10.0.1.1"), 0, 100);
    EXPECT_EQ(pmtu("192.168.1.5"), 552u) << "not below min_pmtu";
    EXPECT_TRUE(r.rt->rt_mtu_locked);
    ipv4_sysctl_rtcache_flush(r.n);
    EXPECT_EQ(pmtu("192.168.1.5"), 1500u);
    r.setup("route replace 192.168.1.0/24 via 10.0.1.2 mtu lock 1300");
    EXPECT_EQ(pmtu("192.168.1.5"), 1300u);
    ipv4_update_pmtu(r.n, nullptr, ip("192.168.1.5"), ip("10.0.1.1"), 0, 1000);
    EXPECT_EQ(pmtu("192.168.1.5"), 1300u) << "locked";
}

TEST_P(inetpeer, forwarded_packets_heed_a_path_mtu_only_when_told) {
    ipv4_update_pmtu(r.n, nullptr, ip("192.168.1.5"), ip("10.0.1.1"), 0, 1200);
    r.input("10.0.0.2", "192.168.1.5");
    EXPECT_EQ(r.rt->dst.mtu, 1500u);
    EXPECT_EQ(ip_dst_mtu_maybe_forward(&r.rt->dst, true), 1500u);
    r.n.ipv4.sysctl_ip_forward_use_pmtu = 1;
    rt_cache_flush(r.n);
    r.input("10.0.0.2", "192.168.1.5");
    EXPECT_EQ(r.rt->dst.mtu, 1200u);
    EXPECT_FALSE(r.rt->plain());
    r.advance_ms(601 * 1000);
    r.input("10.0.0.2", "192.168.1.5");
    EXPECT_EQ(r.rt->dst.mtu, 1500u);
}

TEST_P(inetpeer, redirects_are_believed_from_the_gateway_only) {
    for (auto& d : {r.port("p2")}) {
        d->ip_ptr->cnf.forwarding = 0;
        d->ip_ptr->cnf.accept_redirects = 1;
    }
    auto redirect = [&](const char* from, const char* to) {
        sk_buff* skb = make_skb(udp_packet(ip(from), ip("10.0.2.1")), r.port("p2"));
        skb_reset_network_header(skb);
        ip_rt_redirect(skb, ip(from), ip("8.8.8.8"), ip("10.0.2.1"), 0, ip(to));
        consume_skb(skb);
    };
    EXPECT_EQ(r.output("8.8.8.8"), "via 10.0.2.2 dev p2 src 10.0.2.1");
    redirect("10.0.2.9", "10.0.2.4"); // not our gateway
    EXPECT_EQ(r.output("8.8.8.8"), "via 10.0.2.2 dev p2 src 10.0.2.1");
    redirect("10.0.2.2", "10.0.1.4"); // a unicast address: shared media
    redirect("10.0.2.2", "224.0.0.4");
    redirect("10.0.2.2", "10.0.2.1"); // ourselves
    EXPECT_EQ(r.output("8.8.8.8"), "via 10.0.2.2 dev p2 src 10.0.2.1");
    redirect("10.0.2.2", "10.0.2.4");
    EXPECT_EQ(r.output("8.8.8.8"), "via 10.0.2.4 dev p2 src 10.0.2.1");
    EXPECT_EQ(r.output("8.8.4.4"), "via 10.0.2.2 dev p2 src 10.0.2.1") << "for that host only";
    EXPECT_EQ(r.input("10.0.0.2", "8.8.8.8"), "forward via 10.0.2.4 dev p2");
    r.advance_ms(301 * 1000);
    EXPECT_EQ(r.output("8.8.8.8"), "via 10.0.2.2 dev p2 src 10.0.2.1") << "after gc_timeout";
}

TEST_P(inetpeer, secure_redirects_want_a_known_gateway) {
    net_device* p2 = r.port("p2");
    EXPECT_EQ(ip_fib_check_default(ip("10.0.2.2"), p2), 0);
    EXPECT_EQ(ip_fib_check_default(ip("10.0.2.3"), p2), -1);
    EXPECT_EQ(ip_fib_check_default(ip("10.0.1.2"), p2), -1);
    EXPECT_EQ(ip_fib_check_default(ip("10.0.1.2"), r.port("p1")), 0);
}

TEST_P(inetpeer, a_failed_neighbour_is_reported) {
    sk_buff* skb = r.inject(make_skb(udp_packet(ip("10.0.0.2"), ip("10.0.1.99")), r.port("p1")));
    skb_reset_network_header(skb);
    arp_error_report(nullptr, skb);
    EXPECT_EQ(r.icmp, (std::vector<icmp_asked>{{3, ICMP_HOST_UNREACH, {}}}));
    EXPECT_EQ(r.drops(skb_drop_reason::NEIGH_FAILED), 1u);
}

TEST_P(inetpeer, hop_limit_of_a_route) {
    r.output("192.168.1.5");
    EXPECT_EQ(ip4_dst_hoplimit(r.n, &r.rt->dst), 64);
    r.n.ipv4.sysctl_ip_default_ttl = 100;
    EXPECT_EQ(ip4_dst_hoplimit(r.n, &r.rt->dst), 100);
}

INSTANTIATE_TEST_SUITE_P(cache, inetpeer, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "on" : "off"; });

} // namespace
} // namespace slabfwd::test
