// SPDX-License-Identifier: BSD-3-Clause
//
// The states of a neighbour and their timing, on a clock that stands still until it is moved.
#include <gtest/gtest.h>

#include "tests/support/test_net.h"

namespace slabfwd {
namespace {

using namespace test;
using enum skb_drop_reason;

const mac_addr peer = mac("02:bb:00:00:00:02"), other = mac("02:bb:00:00:00:66");
const mac_addr bcast = mac("ff:ff:ff:ff:ff:ff");

class nud : public ::testing::Test {
protected:
    nud() { t.add_addr(p0, "10.0.0.1/24"); }
    ~nud() override { EXPECT_TRUE(t.all_valid()); }

    /// Sends a packet through the entry of `to`.
    void send(const char* to = "10.0.0.2", const char* from = "10.9.9.9", unsigned payload = 8) {
        sk_buff* skb = t.inject(make_skb(udp_packet(ip(from), ip(to), payload), p0));
        neighbour* n = ip_neigh_gw4(p0, ip(to));
        ASSERT_NE(n, nullptr);
        neigh_output(n, skb);
    }
    /// The peer answers a question.
    void answer(const mac_addr& from = peer) {
        t.receive(p0,
                  arp_frame(own, from, {ARPOP_REPLY, from, ip("10.0.0.2"), own, ip("10.0.0.1")}));
    }
    /// What was sent since last asked: "?" ARP broadcast, "!" ARP unicast request, "=" IP packet.
    std::string sent() {
        std::string s;
        for (auto& f : t.take_sent()) {
            last = f;
            s += eth_proto(f.data) == ETH_P_IP ? '=' : eth_dst(f.data) == bcast ? '?' : '!';
        }
        return s;
    }
    neighbour* entry() { return t.find(p0, "10.0.0.2"); }
    uint8_t state() { return t.state(p0, "10.0.0.2"); }
    void set(uint8_t state, const mac_addr& lladdr = peer) {
        EXPECT_EQ(neigh_add(t.n, p0, ip("10.0.0.2"), lladdr.data(), state, true, false, 0), 0);
    }

    test_net t;
    net_device* p0 = t.add_port("p0");
    const mac_addr own = mac("02:00:00:00:00:00");
    sent_frame last{};
};

TEST_F(nud, incomplete_asks_three_times_then_fails) {
    send();
    EXPECT_EQ(state(), NUD_INCOMPLETE);
    EXPECT_EQ(sent(), "?");
    EXPECT_EQ(parse_arp(last.data),
              (arp_fields{ARPOP_REQUEST, own, ip("10.0.0.1"), {}, ip("10.0.0.2")}));
    EXPECT_EQ(last.data.size(), 42u);
    send();
    EXPECT_EQ(sent(), "");
    EXPECT_EQ(t.arp().held, 2);
    t.advance_ms(996);
    EXPECT_EQ(sent(), "");
    t.advance_ms(4);
    EXPECT_EQ(sent(), "?");
    t.advance_ms(1000);
    EXPECT_EQ(sent(), "?");
    EXPECT_TRUE(t.all_valid());
    EXPECT_TRUE(neigh_table_active(&t.arp()));
    t.advance_ms(1000);
    EXPECT_EQ(sent(), "");
    EXPECT_EQ(state(), NUD_FAILED);
    EXPECT_EQ(t.drops(NEIGH_FAILED), 2u);
    EXPECT_EQ(t.arp().held, 0);
    EXPECT_EQ(t.nd_stat(neigh_statistics::res_failed), 1u);
    EXPECT_FALSE(neigh_table_active(&t.arp()));
    send(); // and again from the start
    EXPECT_EQ(state(), NUD_INCOMPLETE);
    EXPECT_EQ(sent(), "?");
}

TEST_F(nud, answer_sends_what_waited_in_order) {
    send("10.0.0.2", "10.9.9.9", 1);
    send("10.0.0.2", "10.9.9.9", 2);
    EXPECT_EQ(sent(), "?");
    answer();
    EXPECT_EQ(state(), NUD_REACHABLE);
    auto frames = t.take_sent();
    ASSERT_EQ(frames.size(), 2u);
    EXPECT_EQ(frames[0].data.size(), 14u + 29);
    EXPECT_EQ(frames[1].data.size(), 14u + 30);
    EXPECT_EQ(eth_dst(frames[0].data), peer);
    EXPECT_EQ(eth_src(frames[0].data), own);
    EXPECT_EQ(t.arp().held, 0);
    EXPECT_TRUE(t.all_valid());
    send();
    EXPECT_EQ(sent(), "=");
}

TEST_F(nud, reachable_grows_stale_then_delay_probe_failed) {
    send();
    answer();
    sent();
    const int reachable = p0->arp_parms->reachable_time;
    EXPECT_GE(reachable, int(15 * HZ));
    EXPECT_LT(reachable, int(45 * HZ));
    t.advance_ms(jiffies_to_msecs(jiffies_t(reachable)));
    EXPECT_EQ(state(), NUD_REACHABLE);
    t.advance_ms(50);
    EXPECT_EQ(state(), NUD_STALE);
    EXPECT_FALSE(neigh_table_active(&t.arp()));
    EXPECT_EQ(sent(), "");
    send(); // goes out at once, and starts the doubt
    EXPECT_EQ(sent(), "=");
    EXPECT_EQ(state(), NUD_DELAY);
    t.advance_ms(4996);
    EXPECT_EQ(state(), NUD_DELAY);
    EXPECT_EQ(sent(), "");
    t.advance_ms(4);
    EXPECT_EQ(state(), NUD_PROBE);
    EXPECT_EQ(sent(), "!");
    EXPECT_EQ(eth_dst(last.data), peer);
    EXPECT_EQ(parse_arp(last.data).tha, mac_addr{});
    send();
    EXPECT_EQ(sent(), "=");
    t.advance_ms(1000);
    EXPECT_EQ(sent(), "!");
    t.advance_ms(1000);
    EXPECT_EQ(sent(), "!");
    EXPECT_EQ(state(), NUD_PROBE);
    t.advance_ms(1000);
    EXPECT_EQ(state(), NUD_FAILED);
    EXPECT_EQ(sent(), "");
    send(); // broadcast again, as nothing is known
    EXPECT_EQ(sent(), "?");
}

TEST_F(nud, probe_answered_is_reachable) {
    set(NUD_STALE);
    send();
    t.advance_ms(5000);
    EXPECT_EQ(sent(), "=!");
    answer();
    EXPECT_EQ(state(), NUD_REACHABLE);
    t.advance_ms(5000);
    EXPECT_EQ(sent(), "");
}

TEST_F(nud, confirmation_in_delay_saves_the_probe) {
    set(NUD_STALE);
    send();
    t.advance_ms(2000);
    neigh_confirm(entry());
    t.advance_ms(3000);
    EXPECT_EQ(state(), NUD_REACHABLE);
    EXPECT_EQ(sent(), "=");
}

TEST_F(nud, reachable_in_use_goes_to_delay_without_a_packet) {
    neigh_parms_write(t.n, p0->arp_parms, &neigh_parms::base_reachable_time, int(2 * HZ));
    send();
    answer();
    EXPECT_TRUE(neigh_table_active(&t.arp()));
    t.advance_ms(3100); // 1..3 s have passed; used less than 5 s ago
    EXPECT_EQ(state(), NUD_DELAY);
}

TEST_F(nud, queue_is_bounded_in_bytes_the_oldest_goes) {
    neigh_parms_write(t.n, p0->arp_parms, &neigh_parms::queue_len_bytes, 3 * 832);
    for (unsigned i = 1; i <= 5; ++i)
        send("10.0.0.2", "10.9.9.9", i);
    EXPECT_EQ(t.drops(NEIGH_QUEUEFULL), 2u);
    EXPECT_EQ(t.nd_stat(neigh_statistics::unres_discards), 2u);
    EXPECT_EQ(t.arp().held, 3);
    EXPECT_TRUE(t.all_valid());
    sent();
    answer();
    auto frames = t.take_sent();
    ASSERT_EQ(frames.size(), 3u);
    EXPECT_EQ(frames[0].data.size(), 42u + 3);
}

TEST_F(nud, a_bound_of_nothing_still_holds_one) {
    neigh_parms_write(t.n, p0->arp_parms, &neigh_parms::queue_len_bytes, 0);
    send();
    send();
    EXPECT_EQ(t.arp().held, 1);
    EXPECT_EQ(t.drops(NEIGH_QUEUEFULL), 1u);
}

TEST_F(nud, default_bound_holds_what_the_kernel_holds) {
    for (int i = 0; i < 300; ++i)
        send();
    EXPECT_EQ(t.arp().held, 212992 / 832);
}

TEST_F(nud, table_bound_drops_the_newest) {
    t.arp().held_max = 3;
    send("10.0.0.2");
    send("10.0.0.3");
    send("10.0.0.4");
    send("10.0.0.5");
    EXPECT_EQ(t.drops(HELD_LIMIT), 1u);
    EXPECT_EQ(t.arp().held, 3);
    EXPECT_EQ(sent(), "????"); // the question is asked all the same
}

TEST_F(nud, held_packets_carry_no_route) {
    sk_buff* skb = t.inject(make_skb(udp_packet(ip("10.9.9.9"), ip("10.0.0.2")), p0));
    skb->dst = reinterpret_cast<dst_entry*>(skb);
    skb->rt_mtu = 1234;
    static uint32_t mtu;
    arp_hh_ops.error_report = [](neighbour* n, sk_buff* s) {
        EXPECT_TRUE(n->lock.try_lock()); // reports come without the lock
        n->lock.unlock();
        EXPECT_EQ(s->dst, nullptr);
        mtu = s->rt_mtu;
        kfree_skb_reason(s, NEIGH_FAILED);
    };
    neigh_output(ip_neigh_gw4(p0, ip("10.0.0.2")), skb);
    t.advance_ms(3000);
    arp_hh_ops.error_report = arp_direct_ops.error_report;
    EXPECT_EQ(mtu, 1234u);
}

TEST_F(nud, no_solicitation_configured_fails_at_once) {
    neigh_parms_write(t.n, p0->arp_parms, &neigh_parms::mcast_probes, 0);
    send();
    EXPECT_EQ(state(), NUD_FAILED);
    EXPECT_EQ(t.drops(NEIGH_FAILED), 1u);
    EXPECT_EQ(sent(), "");
}

TEST_F(nud, more_probe_counts) {
    neigh_parms_write(t.n, p0->arp_parms, &neigh_parms::ucast_probes, 1);
    neigh_parms_write(t.n, p0->arp_parms, &neigh_parms::app_probes, 1);
    neigh_parms_write(t.n, p0->arp_parms, &neigh_parms::mcast_reprobes, 2);
    neigh_parms_write(t.n, p0->arp_parms, &neigh_parms::retrans_time, int(HZ / 2));
    set(NUD_STALE);
    send();
    t.advance_ms(5000);
    EXPECT_EQ(sent(), "=!");
    t.advance_ms(500);
    EXPECT_EQ(sent(), ""); // the daemon's turn
    t.advance_ms(500);
    EXPECT_EQ(sent(), "?");
    t.advance_ms(500);
    EXPECT_EQ(sent(), "?");
    t.advance_ms(500);
    EXPECT_EQ(state(), NUD_FAILED);
}

TEST_F(nud, set_probe_once) {
    send();
    t.advance_ms(3000);
    sent();
    neighbour* n = entry();
    n->lock.lock();
    __neigh_set_probe_once(n);
    n->lock.unlock();
    EXPECT_EQ(state(), NUD_INCOMPLETE);
    EXPECT_TRUE(t.all_valid());
    t.advance_ms(1000);
    EXPECT_EQ(state(), NUD_FAILED);
}

// --- neigh_update --------------------------------------------------------------------------------

TEST_F(nud, update_rules_for_the_address) {
    set(NUD_REACHABLE);
    neighbour* n = entry();
    auto ha = [&] {
        mac_addr m;
        memcpy(m.data(), n->ha, ETH_ALEN);
        return m;
    };
    // Another address without OVERRIDE: nothing changes, with WEAK_OVERRIDE doubt.
    EXPECT_EQ(neigh_update(n, other.data(), NUD_REACHABLE, 0), 0);
    EXPECT_EQ(ha(), peer);
    EXPECT_EQ(state(), NUD_REACHABLE);
    EXPECT_EQ(neigh_update(n, other.data(), NUD_REACHABLE, NEIGH_UPDATE_F_WEAK_OVERRIDE), 0);
    EXPECT_EQ(ha(), peer);
    EXPECT_EQ(state(), NUD_STALE);
    // The same address, stale: a fresher state stays.
    neigh_update(n, peer.data(), NUD_REACHABLE, 0);
    neigh_update(n, peer.data(), NUD_STALE, 0);
    EXPECT_EQ(state(), NUD_REACHABLE);
    // With OVERRIDE it is believed.
    neigh_update(n, other.data(), NUD_STALE, NEIGH_UPDATE_F_OVERRIDE);
    EXPECT_EQ(ha(), other);
    EXPECT_EQ(state(), NUD_STALE);
    EXPECT_TRUE(t.all_valid());
    // Permanent entries listen to the administrator only.
    set(NUD_PERMANENT);
    EXPECT_EQ(neigh_update(n, other.data(), NUD_STALE, NEIGH_UPDATE_F_OVERRIDE), -EPERM);
    EXPECT_EQ(ha(), peer);
    set(NUD_PERMANENT, other);
    EXPECT_EQ(ha(), other);
    EXPECT_TRUE(t.all_valid());
}

TEST_F(nud, update_without_address) {
    send();
    neighbour* n = entry();
    EXPECT_EQ(neigh_update(n, nullptr, NUD_STALE, NEIGH_UPDATE_F_ADMIN), -EINVAL);
    answer();
    EXPECT_EQ(neigh_update(n, nullptr, NUD_STALE, NEIGH_UPDATE_F_ADMIN), 0);
    EXPECT_EQ(state(), NUD_STALE);
    sent();
}

TEST_F(nud, administrator_may_fail_or_restart_an_entry) {
    send();
    EXPECT_EQ(neigh_update(entry(), nullptr, NUD_FAILED, NEIGH_UPDATE_F_ADMIN), 0);
    EXPECT_EQ(state(), NUD_FAILED);
    EXPECT_EQ(t.drops(NEIGH_FAILED), 1u);
    sent();
    EXPECT_EQ(neigh_update(entry(), nullptr, NUD_INCOMPLETE, NEIGH_UPDATE_F_ADMIN), 0);
    EXPECT_TRUE(t.all_valid());
    send();
    EXPECT_EQ(neigh_update(entry(), nullptr, NUD_NONE, NEIGH_UPDATE_F_ADMIN), 0);
    EXPECT_EQ(t.drops(QUEUE_PURGE), 1u);
    EXPECT_TRUE(t.all_valid());
    set(NUD_PROBE); // asks at once
    t.advance_ms(4);
    EXPECT_EQ(sent(), "!");
}

// --- the cached header ---------------------------------------------------------------------------

TEST_F(nud, header_is_usable_exactly_while_connected) {
    uint64_t hh[2];
    send();
    EXPECT_FALSE(neigh_hh_read(entry(), hh));
    EXPECT_EQ(entry()->hh.hh_len, 0u);
    answer();
    ASSERT_TRUE(neigh_hh_read(entry(), hh));
    uint8_t raw[16];
    memcpy(raw, hh, sizeof raw);
    EXPECT_EQ(memcmp(raw + 2, peer.data(), 6), 0);
    EXPECT_EQ(memcmp(raw + 8, own.data(), 6), 0);
    EXPECT_EQ(raw[14] << 8 | raw[15], ETH_P_IP);
    const uint32_t seq = entry()->hh.hh_seq;
    t.advance_ms(46000);
    EXPECT_EQ(state(), NUD_STALE);
    EXPECT_FALSE(neigh_hh_read(entry(), hh));
    EXPECT_EQ(entry()->hh.hh_len, unsigned(ETH_HLEN));
    answer(other);
    ASSERT_TRUE(neigh_hh_read(entry(), hh));
    EXPECT_EQ(entry()->hh.hh_seq, seq + 2);
    memcpy(raw, hh, sizeof raw);
    EXPECT_EQ(memcmp(raw + 2, other.data(), 6), 0);
    sent();
    send();
    EXPECT_EQ(sent(), "=");
    EXPECT_EQ(eth_dst(last.data), other);
}

TEST_F(nud, output_without_room_for_sixteen_bytes) {
    set(NUD_PERMANENT);
    sk_buff* skb = t.inject(make_skb(udp_packet(ip("10.9.9.9"), ip("10.0.0.2")), p0));
    skb_push(skb, HEAP_HEADROOM - 14);
    skb_trim(skb, 60);
    neigh_output(entry(), skb); // 14 are enough
    EXPECT_EQ(sent(), "=");
    skb = t.inject(make_skb(udp_packet(ip("10.9.9.9"), ip("10.0.0.2")), p0));
    skb_push(skb, HEAP_HEADROOM - 13);
    neigh_output(entry(), skb);
    EXPECT_EQ(t.drops(NEIGH_HH_FILLFAIL), 1u);
}

} // namespace
} // namespace slabfwd
