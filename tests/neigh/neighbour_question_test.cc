// SPDX-License-Identifier: BSD-3-Clause
//
// A scan of a large connected prefix, and tables of 100,000 entries: hosts that do not exist take
// no room from those that do, what is asked and held is bounded, collection comes in pieces.
#include <gtest/gtest.h>

#include "tests/support/test_net.h"

namespace slabfwd {
namespace {

using namespace test;
using enum skb_drop_reason;

const mac_addr host = mac("02:bb:00:00:00:02");

class neigh_scan : public ::testing::Test {
protected:
    neigh_scan() {
        t.add_addr(p0, "10.0.0.1/8");
        log_sink = [](const char*) {};
    }
    ~neigh_scan() override {
        EXPECT_TRUE(t.all_valid());
        t.expect_balanced();
        log_sink = saved_;
    }
    static be32_t address(unsigned i) { return cpu_to_be32(0x0a100000u + i); }
    void add(unsigned i, uint8_t state) {
        ASSERT_EQ(neigh_add(t.n, p0, address(i), host.data(), state, true, false, 0), 0);
    }
    void send(be32_t to) {
        sk_buff* skb = t.inject(make_skb(udp_packet(ip("10.9.9.9"), to), p0));
        if (neighbour* n = ip_neigh_gw4(p0, to))
            neigh_output(n, skb);
        else
            kfree_skb_reason(skb, NEIGH_CREATEFAIL);
    }
    /// Packets to `count` hosts that do not exist, `burst` of them a jiffy.
    void scan(unsigned first, unsigned count, unsigned burst) {
        for (unsigned i = 0; i < count; ++i) {
            send(address(first + i));
            if (i % burst == burst - 1)
                t.advance_ms(4);
        }
    }
    void answer(be32_t addr) {
        mac_addr own;
        dev_addr_get(p0, own.data());
        t.receive(p0, arp_frame(own, host, {ARPOP_REPLY, host, addr, own, ip("10.0.0.1")}));
    }
    neighbour* find(be32_t addr) { return __neigh_lookup_noref(&t.arp(), addr, p0); }

    test_net t;
    net_device* p0 = t.add_port("p0");

private:
    void (*saved_)(const char*) = log_sink;
};

TEST_F(neigh_scan, takes_half_of_the_table_and_no_real_neighbour) {
    t.record = false;
    for (unsigned i = 0; i < 400; ++i)
        add(i, NUD_STALE);
    t.advance_ms(10'000); // old enough to be collected, if anybody may
    for (unsigned part = 0; part < 20; ++part) {
        scan(1000 + part * 1000, 1000, 100);
        ASSERT_LE(t.arp().questions, 512);
        ASSERT_LE(t.arp().gc_entries, 1024);
        ASSERT_LE(t.arp().held, 512);
        ASSERT_TRUE(t.all_valid());
    }
    for (unsigned i = 0; i < 400; ++i)
        ASSERT_NE(find(address(i)), nullptr) << i;
    EXPECT_GT(t.drops(HELD_LIMIT), 15'000u);
    EXPECT_EQ(t.drops(NEIGH_CREATEFAIL), 0u);
    t.advance_ms(10'000); // the last ones fail, and new hosts are as welcome as ever
    EXPECT_EQ(t.arp().questions, 0);
    EXPECT_EQ(t.arp().held, 0);
}

TEST_F(neigh_scan, hosts_that_answer_become_known_in_its_midst) {
    t.record = false;
    for (unsigned i = 0; i < 100; ++i) {
        scan(10'000 + i * 200, 200, 100);
        send(address(i));
        scan(10'000'000 + i * 50, 50, 100); // within the same jiffy, before the answer
        answer(address(i));
        ASSERT_EQ(find(address(i))->nud_state, NUD_REACHABLE) << i;
    }
    EXPECT_LE(t.arp().questions, 512);
}

TEST_F(neigh_scan, what_is_asked_in_a_jiffy_is_bounded) {
    scan(0, 10'000, 20'000);
    EXPECT_EQ(t.sent_count(), 512u + 256u);
    EXPECT_EQ(t.drops(NEIGH_CREATEFAIL), 10'000u - 512 - 256);
    EXPECT_EQ(t.nd_stat(neigh_statistics::table_fulls), 10'000u - 512 - 256);
    EXPECT_EQ(t.arp().entries, 512);
    t.take_sent();
    t.advance_ms(4);
    scan(20'000, 10'000, 20'000);
    EXPECT_EQ(t.sent_count(), 256u);
}

TEST_F(neigh_scan, the_smallest_table_still_asks) {
    t.arp().gc_thresh1 = t.arp().gc_thresh2 = t.arp().gc_thresh3 = 2;
    for (unsigned i = 0; i < 10; ++i) {
        send(address(i));
        EXPECT_EQ(t.sent_count(), i + 1);
        t.advance_ms(4);
    }
    EXPECT_EQ(t.arp().questions, 1);
}

TEST_F(neigh_scan, a_question_that_a_route_holds_stays_and_is_asked_again) {
    send(address(0));
    neighbour* held = neigh_lookup(&t.arp(), address(0), p0);
    scan(1, 2000, 100);
    EXPECT_EQ(held->nud_state, NUD_FAILED);
    EXPECT_FALSE(held->dead);
    send(address(0));
    EXPECT_EQ(held->nud_state, NUD_INCOMPLETE);
    answer(address(0));
    EXPECT_EQ(held->nud_state, NUD_REACHABLE);
    neigh_release(held);
}

// Each host gets many packets: what they hold is bounded for all of them together, too.
TEST_F(neigh_scan, held_packets_have_their_own_bound) {
    t.record = false;
    t.arp().held_max = 1000;
    for (unsigned round = 0; round < 20; ++round)
        for (unsigned i = 0; i < 100; ++i)
            send(address(i));
    EXPECT_EQ(t.arp().held, 1000);
    EXPECT_EQ(t.drops(HELD_LIMIT), 1000u);
    send(address(5000)); // nothing more is held, but who it is for is asked all the same
    answer(address(5000));
    EXPECT_EQ(find(address(5000))->nud_state, NUD_REACHABLE);
}

class neigh_100k : public neigh_scan {
protected:
    static constexpr unsigned N = 100'000;
    neigh_100k() {
        t.record = false;
        t.arp().gc_thresh1 = t.arp().gc_thresh2 = int(N / 2);
        t.arp().gc_thresh3 = int(N);
    }
};

TEST_F(neigh_100k, are_found_and_collected_in_pieces) {
    for (unsigned i = 0; i < N; ++i)
        add(i, NUD_STALE);
    EXPECT_EQ(t.arp().entries, int(N));
    for (unsigned i = 0; i < N; ++i)
        ASSERT_NE(find(address(i)), nullptr);
    // The table is full of entries older than 5 s: a new one makes room, but not by a sweep of all.
    t.advance_ms(6'000);
    const int before = t.arp().gc_entries;
    add(N, NUD_STALE);
    EXPECT_GE(t.arp().gc_entries, before - 1024);
    EXPECT_LT(t.arp().gc_entries, before);
    EXPECT_NE(find(address(N)), nullptr);
    // After gc_stale_time the periodic work takes them, a piece a jiffy.
    t.advance_ms(62'000);
    int most = 0;
    for (int ms = 0, last = t.arp().entries; ms < 40'000 && last; ms += 4) {
        t.advance_ms(4);
        most = std::max(most, last - t.arp().entries);
        last = t.arp().entries;
    }
    EXPECT_EQ(t.arp().entries, 0);
    EXPECT_LT(most, 3000) << "1024 buckets with about one entry each";
}

TEST_F(neigh_100k, a_full_table_of_entries_in_use_looks_at_a_bounded_number) {
    std::vector<neighbour*> held;
    for (unsigned i = 0; i < N; ++i) {
        add(i, NUD_STALE);
        held.push_back(neigh_lookup(&t.arp(), address(i), p0));
    }
    t.advance_ms(6'000);
    // Nobody can go. Each try begins where the last one ended, so the one that can is found.
    neigh_release(held[N / 2]);
    unsigned tries = 0;
    while (!neigh_create(&t.arp(), address(N + 1), p0, false) && tries < 200)
        ++tries;
    EXPECT_GT(tries, 10u);
    EXPECT_LT(tries, N / 1024);
    EXPECT_EQ(find(address(N / 2)), nullptr);
    held.erase(held.begin() + N / 2);
    for (neighbour* n : held)
        neigh_release(n);
}

} // namespace
} // namespace slabfwd
