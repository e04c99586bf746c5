// SPDX-License-Identifier: BSD-3-Clause
//
// Collection of neighbours: thresholds, ages, what is exempt.
#include <gtest/gtest.h>

#include "tests/support/test_net.h"

namespace slabfwd {
namespace {

using namespace test;

class neigh_gc : public ::testing::Test {
protected:
    neigh_gc() {
        t.add_addr(p0, "10.0.0.1/16");
        t.record = false;
    }
    ~neigh_gc() override { EXPECT_TRUE(t.all_valid()); }
    /// An entry for 10.0.x.y in a state.
    void add(unsigned i, uint8_t state) {
        const be32_t addr = cpu_to_be32(0x0a000100u + i);
        const mac_addr m = mac("02:bb:00:00:00:02");
        ASSERT_EQ(neigh_add(t.n, p0, addr, m.data(), state, true, false, 0), 0);
    }
    neighbour* make(unsigned i) {
        return neigh_create(&t.arp(), cpu_to_be32(0x0a000100u + i), p0, false);
    }

    test_net t;
    net_device* p0 = t.add_port("p0");
};

TEST_F(neigh_gc, periodic_work_leaves_small_tables_alone) {
    for (unsigned i = 0; i < 127; ++i)
        add(i, NUD_STALE);
    t.advance_ms(300'000);
    EXPECT_EQ(t.arp().entries, 127);
    EXPECT_GT(t.nd_stat(neigh_statistics::periodic_gc_runs), 10u);
}

TEST_F(neigh_gc, periodic_work_takes_unused_and_failed_entries) {
    for (unsigned i = 0; i < 100; ++i)
        add(i, NUD_STALE);
    for (unsigned i = 100; i < 150; ++i)
        add(i, NUD_PERMANENT);
    neighbour* held = neigh_lookup(&t.arp(), cpu_to_be32(0x0a000100u), p0);
    t.advance_ms(55'000);
    EXPECT_EQ(t.arp().entries, 150); // nobody is 60 s old
    t.advance_ms(30'000);
    EXPECT_EQ(t.arp().entries, 51); // the permanent ones and the one that is held
    neigh_release(held);
    t.arp().gc_thresh1 = 0;
    t.advance_ms(30'000);
    EXPECT_EQ(t.arp().entries, 50);
    neigh_event_send(make(500), nullptr);
    t.advance_ms(30'000); // failed entries go at the next turn
    EXPECT_EQ(t.arp().entries, 50);
}

TEST_F(neigh_gc, above_thresh2_old_entries_make_room) {
    t.arp().gc_thresh1 = 1000;
    t.arp().gc_thresh2 = 50;
    for (unsigned i = 0; i < 60; ++i)
        add(i, NUD_STALE);
    EXPECT_EQ(t.arp().gc_entries, 60);
    t.advance_ms(5'100);
    add(60, NUD_STALE); // updated more than 5 s ago, last flush as well
    EXPECT_EQ(t.nd_stat(neigh_statistics::forced_gc_runs), 1u);
    EXPECT_EQ(t.arp().gc_entries, 50);
    for (unsigned i = 61; i < 70; ++i)
        add(i, NUD_STALE); // not again within 5 s
    EXPECT_EQ(t.nd_stat(neigh_statistics::forced_gc_runs), 1u);
}

std::vector<std::string> logged;

TEST_F(neigh_gc, at_thresh3_the_table_is_full) {
    auto* saved = log_sink;
    log_sink = [](const char* line) { logged.emplace_back(line); };
    t.arp().gc_thresh2 = 16;
    t.arp().gc_thresh3 = 32;
    for (unsigned i = 0; i < 32; ++i)
        add(i, NUD_STALE);
    EXPECT_EQ(make(100), nullptr);
    EXPECT_EQ(t.nd_stat(neigh_statistics::table_fulls), 1u);
    EXPECT_EQ(logged, std::vector<std::string>{"neighbour: arp_cache: neighbor table overflow!"});
    EXPECT_EQ(t.arp().gc_entries, 32);
    const mac_addr m = mac("02:bb:00:00:00:02");
    EXPECT_EQ(neigh_add(t.n, p0, ip("10.0.9.9"), m.data(), NUD_STALE, true, true, 0), -ENOBUFS);
    add(101, NUD_PERMANENT); // not counted
    EXPECT_EQ(t.arp().entries, 33);
    EXPECT_EQ(t.arp().gc_entries, 32);
    t.advance_ms(5'100);
    EXPECT_NE(make(100), nullptr);
    EXPECT_EQ(t.arp().gc_entries, 16); // the new one included
    log_sink = saved;
}

TEST_F(neigh_gc, failed_entries_go_first_whatever_their_age) {
    t.arp().gc_thresh2 = 2;
    t.arp().gc_thresh3 = 4;
    for (unsigned i = 0; i < 3; ++i)
        add(i, NUD_STALE);
    neighbour* n = make(3);
    n->lock.lock();
    n->nud_state = NUD_FAILED;
    n->lock.unlock();
    EXPECT_NE(make(4), nullptr);
    EXPECT_EQ(t.find(p0, "10.0.1.3"), nullptr);
    EXPECT_EQ(t.arp().gc_entries, 4);
}

TEST_F(neigh_gc, permanence_decides_who_counts) {
    add(1, NUD_STALE);
    EXPECT_EQ(t.arp().gc_entries, 1);
    add(1, NUD_PERMANENT);
    EXPECT_EQ(t.arp().gc_entries, 0);
    EXPECT_TRUE(t.all_valid());
    add(1, NUD_REACHABLE);
    EXPECT_EQ(t.arp().gc_entries, 1);
    const mac_addr m = mac("02:bb:00:00:00:02");
    EXPECT_EQ(neigh_add(t.n, p0, ip("10.0.1.1"), m.data(), NUD_STALE, true, false, NTF_EXT_LEARNED),
              0);
    EXPECT_EQ(t.arp().gc_entries, 0);
}

TEST_F(neigh_gc, hash_grows_and_finds_everybody) {
    t.arp().gc_thresh3 = 100000;
    t.arp().gc_thresh2 = 100000;
    for (unsigned i = 0; i < 5000; ++i)
        ASSERT_NE(make(i), nullptr);
    EXPECT_GE(t.arp().nht->hash_shift, 12u);
    EXPECT_EQ(t.nd_stat(neigh_statistics::hash_grows), t.arp().nht->hash_shift - 3);
    for (unsigned i = 0; i < 5000; ++i)
        ASSERT_NE(__neigh_lookup_noref(&t.arp(), cpu_to_be32(0x0a000100u + i), p0), nullptr);
    unsigned longest = 0;
    for (unsigned i = 0; i < 1u << t.arp().nht->hash_shift; ++i) {
        unsigned len = 0;
        for (neighbour* n = t.arp().nht->hash_heads[i]; n; n = n->next)
            ++len;
        longest = std::max(longest, len);
    }
    EXPECT_LT(longest, 12u);
}

TEST_F(neigh_gc, reachable_time_is_drawn_anew_every_five_minutes) {
    const int first = p0->arp_parms->reachable_time;
    t.advance_ms(290'000);
    EXPECT_EQ(p0->arp_parms->reachable_time, first);
    bool changed = false;
    for (int i = 0; i < 3 && !changed; ++i) {
        t.advance_ms(330'000);
        changed = p0->arp_parms->reachable_time != first;
        EXPECT_GE(p0->arp_parms->reachable_time, int(15 * HZ));
        EXPECT_LT(p0->arp_parms->reachable_time, int(45 * HZ));
    }
    EXPECT_TRUE(changed);
}

} // namespace
} // namespace slabfwd
