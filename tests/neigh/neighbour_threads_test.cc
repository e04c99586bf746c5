// SPDX-License-Identifier: BSD-3-Clause
//
// Workers read cached headers and look entries up while another thread changes and removes them.
#include <gtest/gtest.h>
#include <thread>

#include "tests/support/test_net.h"

namespace slabfwd {
namespace {

using namespace test;

/// Addresses whose bytes are all alike, so that a torn header shows.
mac_addr uniform_mac(uint8_t v) {
    return {uint8_t(v & ~1), v, v, v, v, v};
}

TEST(neigh_threads, cached_header_is_never_torn) {
    test_net t(1);
    net_device* p0 = t.add_port("p0");
    t.add_addr(p0, "10.0.0.1/24");
    mac_addr m = uniform_mac(1);
    ASSERT_EQ(neigh_add(t.n, p0, ip("10.0.0.2"), m.data(), NUD_REACHABLE, true, true, 0), 0);
    neighbour* n = t.find(p0, "10.0.0.2");
    t.enter(t.n.control_cpu());
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> good{0}, torn{0};
    std::thread reader([&] {
        softnet_loop_begin(*t.n.softnet[0]);
        while (!stop) {
            uint64_t hh[2];
            uint8_t raw[16];
            if (neigh_hh_read(n, hh)) {
                memcpy(raw, hh, sizeof raw);
                bool same = raw[2] == (raw[3] & ~1);
                for (int i = 4; i < 8; ++i)
                    same &= raw[i] == raw[3];
                ++(same ? good : torn);
            }
            t.n.rcu.quiescent(0);
        }
        softnet_loop_end(*t.n.softnet[0]);
    });
    for (int i = 0; i < 30000 || !good; ++i) {
        m = uniform_mac(uint8_t(i));
        neigh_update(n, m.data(), i % 5 ? NUD_REACHABLE : NUD_STALE,
                     NEIGH_UPDATE_F_ADMIN | NEIGH_UPDATE_F_OVERRIDE);
    }
    stop = true;
    reader.join();
    EXPECT_EQ(torn, 0u);
    EXPECT_GT(good, 0u);
    t.enter(0);
    EXPECT_TRUE(t.all_valid());
}

class neigh_threads_of : public ::testing::TestWithParam<int> {};

// With room for all, and with so little that questions make way for each other all the time.
INSTANTIATE_TEST_SUITE_P(gc_thresh3, neigh_threads_of, ::testing::Values(1024, 40));

TEST_P(neigh_threads_of, packets_and_commands_meet_in_the_same_entries) {
    test_net t(2);
    t.record = false;
    t.arp().gc_thresh2 = t.arp().gc_thresh3 = GetParam();
    auto* saved = log_sink;
    log_sink = [](const char*) {};
    net_device* p0 = t.add_port("p0");
    t.add_addr(p0, "10.0.0.1/24");
    t.enter(t.n.control_cpu());
    std::atomic<bool> stop{false};
    auto address = [](unsigned i) { return cpu_to_be32(0x0a000002u + i % 50); };
    auto worker = [&](unsigned cpu) {
        softnet_data& sd = *t.n.softnet[cpu];
        softnet_loop_begin(sd);
        for (unsigned i = cpu; !stop; ++i) {
            for (unsigned k = 0; k < 8; ++k) {
                const be32_t to = address(i * 7 + k);
                sk_buff* skb = t.inject(make_skb(udp_packet(ip("10.9.9.9"), to), p0));
                if (neighbour* n = ip_neigh_gw4(p0, to))
                    neigh_output(n, skb);
                else
                    kfree_skb_reason(skb, skb_drop_reason::NEIGH_CREATEFAIL);
            }
            ++sd.jiffies;
            run_timers(sd.timers, sd.jiffies, 0);
            flush_smp_call_function_queue(sd);
            t.n.rcu.quiescent(cpu);
            rcu_do_batch(sd);
        }
        softnet_loop_end(sd);
    };
    std::thread a(worker, 0), b(worker, 1);
    const mac_addr m = mac("02:bb:00:00:00:02");
    for (unsigned i = 0; i < 3000; ++i) {
        if (i % 3)
            neigh_add(t.n, p0, address(i), m.data(), i % 2 ? NUD_REACHABLE : NUD_STALE, true, false,
                      0);
        else
            neigh_delete(t.n, p0, address(i));
        if (i % 500 == 499) {
            dev_set_mac_address(p0, uniform_mac(uint8_t(i)).data());
            synchronize_rcu(t.n);
        }
        rcu_do_batch(*this_softnet());
    }
    stop = true;
    a.join();
    b.join();
    t.enter(0);
    EXPECT_TRUE(t.all_valid());
    t.expect_balanced();
    log_sink = saved;
}

} // namespace
} // namespace slabfwd
