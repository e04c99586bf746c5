// SPDX-License-Identifier: BSD-3-Clause
//
// ARP: whom the router answers, what it learns, how it asks.
#include "neigh/arp.h"

#include <gtest/gtest.h>

#include "tests/support/test_net.h"

namespace slabfwd {
namespace {

using namespace test;
using enum skb_drop_reason;

const mac_addr bcast = mac("ff:ff:ff:ff:ff:ff"), host = mac("02:bb:00:00:00:02"),
               host2 = mac("02:bb:00:00:00:66"), own0 = mac("02:00:00:00:00:00"),
               own1 = mac("02:00:00:00:00:01");

class arp : public ::testing::Test {
protected:
    arp() {
        t.add_addr(p0, "10.0.0.1/24");
        t.add_addr(p1, "10.0.1.1/24");
    }
    ~arp() override { EXPECT_TRUE(t.all_valid()); }

    void request(const char* sip, const char* tip, const mac_addr& sha = host,
                 const mac_addr& dst = bcast) {
        t.receive(p0, arp_frame(dst, sha, {ARPOP_REQUEST, sha, ip(sip), {}, ip(tip)}));
    }
    void reply(const char* sip, const char* tip, const mac_addr& sha, const mac_addr& tha,
               const mac_addr& dst) {
        t.receive(p0, arp_frame(dst, sha, {ARPOP_REPLY, sha, ip(sip), tha, ip(tip)}));
    }
    /// The one answer sent since last asked; op 0 when there was none.
    arp_fields answer() {
        auto frames = t.take_sent();
        EXPECT_LE(frames.size(), 1u);
        if (frames.empty())
            return {};
        to = eth_dst(frames[0].data);
        return parse_arp(frames[0].data);
    }
    bool answered() { return answer().op == ARPOP_REPLY; }
    mac_addr ha(const char* addr) {
        mac_addr m{};
        if (neighbour* n = t.find(p0, addr))
            memcpy(m.data(), n->ha, ETH_ALEN);
        return m;
    }
    void sysctl(sysctl_int ipv4_devconf::*key, int value) { p0->ip_ptr->cnf.*key = value; }
    void all(sysctl_int ipv4_devconf::*key, int value) { t.n.ipv4.devconf_all.*key = value; }

    test_net t;
    net_device *p0 = t.add_port("p0"), *p1 = t.add_port("p1");
    mac_addr to{};
};

TEST_F(arp, own_address_is_answered_and_the_asker_learnt) {
    request("10.0.0.2", "10.0.0.1");
    EXPECT_EQ(answer(), (arp_fields{ARPOP_REPLY, own0, ip("10.0.0.1"), host, ip("10.0.0.2")}));
    EXPECT_EQ(to, host);
    EXPECT_EQ(t.state(p0, "10.0.0.2"), NUD_STALE);
    EXPECT_EQ(t.balance(balance_stat::delivered), 1u);
    EXPECT_EQ(t.balance(balance_stat::originated), 1u);
    request("10.0.0.2", "10.0.0.1", host, own0); // asked directly
    EXPECT_TRUE(answered());
}

TEST_F(arp, others_addresses_are_not_answered_and_nothing_is_learnt) {
    for (const char* tip :
         {"10.0.0.3", "192.168.1.1", "10.0.1.2", "10.0.0.255", "255.255.255.255"}) {
        request("10.0.0.2", tip);
        EXPECT_FALSE(answered()) << tip;
    }
    EXPECT_EQ(t.find(p0, "10.0.0.2"), nullptr);
}

TEST_F(arp, weak_host_answers_for_every_port) {
    request("10.0.0.2", "10.0.1.1");
    EXPECT_EQ(answer(), (arp_fields{ARPOP_REPLY, own0, ip("10.0.1.1"), host, ip("10.0.0.2")}));
}

TEST_F(arp, arp_ignore) {
    t.add_addr(t.add_lo(), "10.77.0.1/32", RT_SCOPE_HOST);
    t.add_addr(p0, "10.88.0.1/32", RT_SCOPE_HOST);
    struct {
        int mode;
        const char *sip, *tip;
        bool answered;
    } const cases[] = {
        {0, "10.0.0.2", "10.0.1.1", true},   {0, "9.9.9.9", "10.0.0.1", true},
        {0, "10.0.0.2", "10.77.0.1", true},  {1, "10.0.0.2", "10.0.1.1", false},
        {1, "9.9.9.9", "10.0.0.1", true},    {1, "10.0.0.2", "10.77.0.1", false},
        {1, "10.0.0.2", "10.88.0.1", true},  {2, "10.0.0.2", "10.0.0.1", true},
        {2, "9.9.9.9", "10.0.0.1", false},   {2, "10.0.0.2", "10.0.1.1", false},
        {3, "10.0.0.2", "10.0.1.1", true},   {3, "10.0.0.2", "10.77.0.1", false},
        {3, "10.0.0.2", "10.88.0.1", false}, {4, "9.9.9.9", "10.0.1.1", true},
        {5, "9.9.9.9", "10.0.1.1", true},    {6, "9.9.9.9", "10.0.1.1", true},
        {7, "9.9.9.9", "10.0.1.1", true},    {8, "10.0.0.2", "10.0.0.1", false},
    };
    for (auto& c : cases) {
        sysctl(&ipv4_devconf::arp_ignore, c.mode);
        request(c.sip, c.tip);
        EXPECT_EQ(answered(), c.answered) << c.mode << " " << c.sip << " " << c.tip;
    }
    sysctl(&ipv4_devconf::arp_ignore, 0);
    all(&ipv4_devconf::arp_ignore, 8); // the larger of the two counts
    request("10.0.0.2", "10.0.0.1");
    EXPECT_FALSE(answered());
}

TEST_F(arp, arp_filter_answers_where_the_way_back_leads) {
    sysctl(&ipv4_devconf::arp_filter, 1);
    request("10.0.0.2", "10.0.0.1");
    EXPECT_TRUE(answered());
    request("10.0.1.2", "10.0.0.1"); // routed out of p1
    EXPECT_FALSE(answered());
}

TEST_F(arp, probe_without_sender_is_answered_and_teaches_nothing) {
    request("0.0.0.0", "10.0.0.1");
    EXPECT_EQ(answer(), (arp_fields{ARPOP_REPLY, own0, ip("10.0.0.1"), host, {}}));
    request("0.0.0.0", "10.0.0.7");
    EXPECT_FALSE(answered());
    EXPECT_EQ(t.arp().entries, 0);
    sysctl(&ipv4_devconf::arp_ignore, 8);
    request("0.0.0.0", "10.0.0.1");
    EXPECT_FALSE(answered());
}

TEST_F(arp, malformed_packets_are_dropped) {
    const arp_fields good{ARPOP_REQUEST, host, ip("10.0.0.2"), {}, ip("10.0.0.1")};
    auto variant = [&](size_t at, uint8_t value) {
        bytes f = arp_frame(bcast, host, good);
        f[14 + at] = value;
        t.receive(p0, f);
        return answered();
    };
    EXPECT_FALSE(variant(1, 7)); // hardware type
    EXPECT_TRUE(variant(1, 6));  // IEEE 802 is Ethernet enough
    EXPECT_FALSE(variant(2, 9)); // protocol
    EXPECT_FALSE(variant(4, 8)); // address lengths
    EXPECT_FALSE(variant(5, 16));
    EXPECT_FALSE(variant(7, 3)); // RARP
    EXPECT_EQ(t.drops(NOT_SPECIFIED), 5u);
    bytes shortened = arp_frame(bcast, host, good);
    shortened.resize(14 + 27);
    t.receive(p0, shortened);
    EXPECT_EQ(t.drops(PKT_TOO_SMALL), 1u);
    request("10.0.0.2", "224.0.0.1");
    request("10.0.0.2", "127.0.0.1");
    EXPECT_EQ(t.drops(NOT_SPECIFIED), 7u);
    EXPECT_EQ(t.sent_count(), 0u);
}

TEST_F(arp, frames_for_others_and_devices_without_arp_are_consumed) {
    request("10.0.0.2", "10.0.0.1", host, mac("02:cc:00:00:00:01"));
    EXPECT_FALSE(answered());
    dev_change_flags(p0, IFF_NOARP, IFF_NOARP);
    request("10.0.0.2", "10.0.0.1");
    EXPECT_FALSE(answered());
    EXPECT_EQ(t.balance(balance_stat::delivered), 2u);
    EXPECT_EQ(t.arp().entries, 0);
}

// --- learning ------------------------------------------------------------------------------------

TEST_F(arp, gratuitous_arp_refreshes_at_once_but_makes_no_entry) {
    request("10.0.0.2", "10.0.0.2", host);
    EXPECT_EQ(t.arp().entries, 0);
    request("10.0.0.2", "10.0.0.1", host);
    answer();
    request("10.0.0.2", "10.0.0.2", host2); // within the lock time
    EXPECT_EQ(ha("10.0.0.2"), host2);
    reply("10.0.0.2", "10.0.0.2", host, host, bcast); // as a reply: sender and target agree
    EXPECT_EQ(ha("10.0.0.2"), host);
    reply("10.0.0.2", "10.0.0.2", host2, {}, bcast); // they do not: an ordinary reply, locked out
    EXPECT_EQ(ha("10.0.0.2"), host);
    EXPECT_EQ(t.state(p0, "10.0.0.2"), NUD_STALE);
}

TEST_F(arp, lock_time_holds_back_replies_not_requests) {
    request("10.0.0.2", "10.0.0.1", host);
    t.advance_ms(996);
    reply("10.0.0.2", "10.0.0.1", host2, own0, own0);
    EXPECT_EQ(ha("10.0.0.2"), host);
    request("10.0.0.2", "10.0.0.1", host2); // neigh_event_ns overrides
    EXPECT_EQ(ha("10.0.0.2"), host2);
    t.advance_ms(1004);
    reply("10.0.0.2", "10.0.0.1", host, own0, own0);
    EXPECT_EQ(ha("10.0.0.2"), host);
    EXPECT_EQ(t.state(p0, "10.0.0.2"), NUD_REACHABLE);
    t.take_sent();
}

TEST_F(arp, repetitions_do_not_prolong_the_lock_time) {
    request("10.0.0.2", "10.0.0.1", host);
    for (int i = 0; i < 5; ++i) {
        t.advance_ms(400);
        request("10.0.0.2", "10.0.0.1", host);
    }
    reply("10.0.0.2", "10.0.0.1", host2, own0, own0);
    EXPECT_EQ(ha("10.0.0.2"), host2);
    t.take_sent();
}

TEST_F(arp, only_a_reply_to_us_proves_reachability) {
    request("10.0.0.2", "10.0.0.1", host);
    t.take_sent();
    reply("10.0.0.2", "10.0.0.1", host, own0, bcast);
    EXPECT_EQ(t.state(p0, "10.0.0.2"), NUD_STALE);
    reply("10.0.0.2", "10.0.0.1", host, own0, own0);
    EXPECT_EQ(t.state(p0, "10.0.0.2"), NUD_REACHABLE);
}

TEST_F(arp, unasked_replies_make_an_entry_only_with_arp_accept) {
    reply("10.0.0.2", "10.0.0.1", host, own0, own0);
    EXPECT_EQ(t.arp().entries, 0);
    sysctl(&ipv4_devconf::arp_accept, 1);
    reply("10.0.0.2", "10.0.0.1", host, own0, own0);
    EXPECT_EQ(t.state(p0, "10.0.0.2"), NUD_REACHABLE);
    request("10.0.0.3", "10.0.0.3", host); // gratuitous
    EXPECT_EQ(t.state(p0, "10.0.0.3"), NUD_STALE);
    request("10.0.0.4", "10.0.0.9", host); // about somebody else
    EXPECT_EQ(t.find(p0, "10.0.0.4"), nullptr);
    sysctl(&ipv4_devconf::arp_accept, 2);
    request("10.5.0.3", "10.5.0.3", host);
    EXPECT_EQ(t.find(p0, "10.5.0.3"), nullptr);
    request("10.0.0.5", "10.0.0.5", host);
    EXPECT_EQ(t.state(p0, "10.0.0.5"), NUD_STALE);
    reply("10.0.0.1", "10.0.0.1", host, host, bcast); // our own address: nobody else's
    EXPECT_EQ(t.find(p0, "10.0.0.1"), nullptr);
}

TEST_F(arp, drop_gratuitous_arp) {
    sysctl(&ipv4_devconf::drop_gratuitous_arp, 1);
    request("10.0.0.2", "10.0.0.2", host);
    EXPECT_EQ(t.drops(NOT_SPECIFIED), 1u);
}

TEST_F(arp, permanent_entries_are_not_changed) {
    ASSERT_EQ(neigh_add(t.n, p0, ip("10.0.0.2"), host.data(), NUD_PERMANENT, true, true, 0), 0);
    request("10.0.0.2", "10.0.0.2", host2);
    request("10.0.0.2", "10.0.0.1", host2);
    EXPECT_TRUE(answered());
    EXPECT_EQ(ha("10.0.0.2"), host);
    EXPECT_EQ(t.state(p0, "10.0.0.2"), NUD_PERMANENT);
}

// --- asking --------------------------------------------------------------------------------------

TEST_F(arp, arp_announce_chooses_the_sender_address) {
    t.add_addr(p0, "10.5.0.1/24");
    auto asked_with = [&](const char* from, const char* target) {
        neigh_changeaddr(&t.arp(), p0);
        t.take_sent();
        sk_buff* skb = t.inject(make_skb(udp_packet(ip(from), ip("10.0.0.2")), p0));
        neigh_output(ip_neigh_gw4(p0, ip(target)), skb);
        return to_string(answer().sip);
    };
    EXPECT_EQ(asked_with("10.9.9.9", "10.0.0.2"), "10.0.0.1");
    EXPECT_EQ(asked_with("10.9.9.9", "10.5.0.2"), "10.5.0.1");
    EXPECT_EQ(asked_with("10.0.1.1", "10.0.0.2"), "10.0.1.1"); // any own address
    sysctl(&ipv4_devconf::arp_announce, 1);
    EXPECT_EQ(asked_with("10.0.1.1", "10.0.0.2"), "10.0.0.1");
    EXPECT_EQ(asked_with("10.0.0.1", "10.5.0.2"), "10.5.0.1");
    EXPECT_EQ(asked_with("10.5.0.1", "10.5.0.2"), "10.5.0.1");
    sysctl(&ipv4_devconf::arp_announce, 2);
    EXPECT_EQ(asked_with("10.0.1.1", "10.0.0.2"), "10.0.0.1");
}

TEST_F(arp, known_without_asking) {
    auto dst_of = [&](net_device* dev, const char* target) {
        t.take_sent();
        neigh_output(ip_neigh_gw4(dev, ip(target)),
                     t.inject(make_skb(udp_packet(ip("10.0.0.1"), ip(target)), dev)));
        auto frames = t.take_sent();
        return frames.size() == 1 && eth_proto(frames[0].data) == ETH_P_IP ? eth_dst(frames[0].data)
                                                                           : mac_addr{};
    };
    EXPECT_EQ(dst_of(p0, "224.0.0.251"), mac("01:00:5e:00:00:fb"));
    EXPECT_EQ(dst_of(p0, "239.129.2.3"), mac("01:00:5e:01:02:03"));
    EXPECT_EQ(dst_of(p0, "10.0.0.255"), bcast);
    EXPECT_EQ(dst_of(p0, "255.255.255.255"), bcast);
    EXPECT_EQ(t.state(p0, "224.0.0.251"), NUD_NOARP);
    net_device* noarp = t.add_port("p2", IFF_NOARP);
    EXPECT_EQ(dst_of(noarp, "10.7.7.7"), mac("02:00:00:00:00:02"));
    net_device* ptp = t.add_port("p3", IFF_POINTOPOINT);
    EXPECT_EQ(dst_of(ptp, "10.7.7.7"), bcast);
    EXPECT_EQ(dst_of(ptp, "10.7.7.8"), bcast);
    EXPECT_EQ(t.state(ptp, "0.0.0.0"), NUD_NOARP); // one entry for both
    EXPECT_EQ(t.find(ptp, "10.7.7.7"), nullptr);
    EXPECT_TRUE(t.all_valid());
}

TEST_F(arp, out_of_packets_asks_later) {
    sk_buff* skb = t.inject(make_skb(udp_packet(ip("10.9.9.9"), ip("10.0.0.2")), p0));
    heap_skbs_fail(0, 1);
    neigh_output(ip_neigh_gw4(p0, ip("10.0.0.2")), skb);
    EXPECT_EQ(t.sent_count(), 0u);
    EXPECT_EQ(t.balance(balance_stat::originated), 0u);
    t.advance_ms(1000);
    EXPECT_EQ(t.sent_count(), 1u);
    t.take_sent();
    request("10.0.0.2", "10.0.0.1"); // and its entry resolves as ever
    EXPECT_EQ(t.arp().held, 0);
    t.take_sent();
}

// --- proxy ---------------------------------------------------------------------------------------

TEST_F(arp, proxy_arp_answers_for_what_is_routed_elsewhere) {
    sysctl(&ipv4_devconf::proxy_arp, 1);
    request("10.0.0.2", "10.0.1.2");
    EXPECT_FALSE(answered()); // not forwarding
    sysctl(&ipv4_devconf::forwarding, 1);
    request("10.0.0.2", "10.0.1.2", host, own0); // asked directly: at once
    EXPECT_EQ(answer(), (arp_fields{ARPOP_REPLY, own0, ip("10.0.1.2"), host, ip("10.0.0.2")}));
    request("10.0.0.2", "10.0.0.3", host, own0); // same side
    EXPECT_FALSE(answered());
    request("10.0.0.2", "10.0.1.2"); // broadcast: within proxy_delay
    EXPECT_EQ(t.arp().held, 1);
    EXPECT_TRUE(neigh_table_active(&t.arp()));
    t.advance_ms(800);
    EXPECT_TRUE(answered());
    EXPECT_EQ(t.arp().held, 0);
    EXPECT_EQ(t.state(p0, "10.0.0.2"), NUD_STALE);
    neigh_parms_write(t.n, p0->arp_parms, &neigh_parms::proxy_delay, 0);
    request("10.0.0.2", "10.0.1.2");
    EXPECT_TRUE(answered());
    sysctl(&ipv4_devconf::medium_id, 3);
    p1->ip_ptr->cnf.medium_id = 3;
    request("10.0.0.2", "10.0.1.2");
    EXPECT_FALSE(answered()); // same medium
}

TEST_F(arp, proxy_entries) {
    sysctl(&ipv4_devconf::forwarding, 1);
    neigh_parms_write(t.n, p0->arp_parms, &neigh_parms::proxy_delay, 0);
    EXPECT_EQ(neigh_add(t.n, p0, ip("10.0.1.2"), nullptr, NUD_PERMANENT, true, true, NTF_PROXY), 0);
    request("10.0.0.2", "10.0.1.2");
    EXPECT_TRUE(answered());
    request("10.0.0.2", "10.0.1.3");
    EXPECT_FALSE(answered());
    EXPECT_EQ(neigh_delete(t.n, p1, ip("10.0.1.2"), NTF_PROXY), -ENOENT);
    EXPECT_EQ(neigh_delete(t.n, p0, ip("10.0.1.2"), NTF_PROXY), 0);
    request("10.0.0.2", "10.0.1.2");
    EXPECT_FALSE(answered());
    EXPECT_EQ(neigh_add(t.n, nullptr, ip("10.0.1.2"), nullptr, 0, true, true, NTF_PROXY), 0);
    request("10.0.0.2", "10.0.1.2");
    EXPECT_TRUE(answered());
}

TEST_F(arp, private_vlan_proxy_answers_on_the_same_segment) {
    sysctl(&ipv4_devconf::forwarding, 1);
    sysctl(&ipv4_devconf::proxy_arp_pvlan, 1);
    request("10.0.0.2", "10.0.0.3", host, own0);
    EXPECT_TRUE(answered());
    request("10.0.0.3", "10.0.0.3", host, own0);
    EXPECT_FALSE(answered());
}

TEST_F(arp, proxy_queue_is_bounded_and_purged) {
    sysctl(&ipv4_devconf::forwarding, 1);
    sysctl(&ipv4_devconf::proxy_arp, 1);
    for (int i = 0; i < 70; ++i)
        request("10.0.0.2", "10.0.1.2");
    EXPECT_EQ(t.arp().held, 65); // one more than proxy_qlen, as in the kernel
    EXPECT_EQ(t.drops(NEIGH_QUEUEFULL), 5u);
    dev_change_flags(p0, 0, IFF_UP);
    EXPECT_EQ(t.arp().held, 0);
    EXPECT_EQ(t.drops(QUEUE_PURGE), 65u);
    t.advance_ms(1000);
    EXPECT_EQ(t.sent_count(), 0u);
}

} // namespace
} // namespace slabfwd
