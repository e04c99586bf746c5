// SPDX-License-Identifier: BSD-3-Clause
//
// Fragments of the same datagrams on several slots at once: every piece ends in a whole datagram or
// in a counted drop, whoever brings it, and whatever timers do meanwhile.
#include <algorithm>
#include <gtest/gtest.h>
#include <random>
#include <thread>

#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {
namespace {

constexpr unsigned SLOTS = 4, DATAGRAMS = 300, PIECES = 6, PIECE = 80;

struct Crowd : ::testing::Test {
    ip_test_net t{SLOTS};
    std::vector<unsigned> work;
    std::atomic<size_t> next{0};
    std::atomic<unsigned> wholes{0}, wrong{0};

    Crowd() {
        t.n.ipv4.sysctl_ipfrag_high_thresh = 1 << 30;
        for (unsigned i = 0; i < DATAGRAMS * PIECES; ++i)
            work.push_back(i);
        std::shuffle(work.begin(), work.end(), std::mt19937(11));
    }

    /// Piece `w % PIECES` of datagram `w / PIECES`, handed to ip_defrag on the calling slot.
    void bring(unsigned w) {
        unsigned part = w % PIECES;
        sk_buff* skb = make_skb(
            ip_packet({.dst = ip("10.0.0.1"),
                       .id = uint16_t(w / PIECES),
                       .frag_off = uint16_t(part * PIECE / 8 | (part + 1 < PIECES ? IP_MF : 0)),
                       .payload = pattern(PIECE, part * PIECE)}),
            t.p0);
        skb_reset_network_header(t.inject(skb));
        sk_buff* whole = ip_defrag(t.n, skb, IP_DEFRAG_LOCAL_DELIVER);
        if (!whole)
            return;
        if (ip_view{to_bytes(whole)}.payload() != pattern(PIECES * PIECE))
            ++wrong;
        ++wholes;
        ip_consume(whole);
    }

    void run(bool timers) {
        std::vector<std::thread> threads;
        for (unsigned cpu = 0; cpu < SLOTS; ++cpu)
            threads.emplace_back([this, cpu, timers] {
                softnet_data& sd = *t.n.softnet[cpu];
                softnet_loop_begin(sd);
                for (size_t i; (i = next.fetch_add(1)) < work.size();) {
                    bring(work[i]);
                    if (timers && i % 16 == 0) {
                        sd.jiffies += HZ / 2;
                        run_timers(sd.timers, sd.jiffies, 0);
                    }
                    dst_run_gc(sd);
                    t.n.rcu.quiescent(cpu);
                    rcu_do_batch(sd);
                }
                softnet_loop_end(sd);
            });
        for (std::thread& th : threads)
            th.join();
        t.enter(0);
    }
};

TEST_F(Crowd, EveryDatagramComesTogether) {
    t.n.ipv4.sysctl_ipfrag_max_dist = 0;
    run(false);
    EXPECT_EQ(wholes, DATAGRAMS);
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(ip_frag_held(t.n), 0u);
    EXPECT_EQ(t.n.ipv4.ip->frags.mem, 0);
    t.expect_ip_balanced();
}

TEST_F(Crowd, TimersGoOffMeanwhile) {
    t.n.ipv4.sysctl_ipfrag_time = 3;
    t.n.ipv4.sysctl_ipfrag_max_dist = 500;
    run(true);
    EXPECT_EQ(wrong, 0u);
    EXPECT_GT(t.drops(skb_drop_reason::FRAG_REASM_TIMEOUT), 0u);
    t.expect_ip_balanced();
}

} // namespace
} // namespace slabfwd::test
