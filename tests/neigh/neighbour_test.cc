// SPDX-License-Identifier: BSD-3-Clause
//
// The table: `ip neigh`, tunables, devices that change, memory that runs out, and a random mix of
// it all.
#include <cerrno>
#include <gtest/gtest.h>
#include <random>

#include "alloc/failslab.h"
#include "alloc/slabinfo.h"
#include "tests/support/test_net.h"

namespace slabfwd {
namespace {

using namespace test;
using enum skb_drop_reason;

const mac_addr host = mac("02:bb:00:00:00:02"), host2 = mac("02:bb:00:00:00:66");

class neigh_table_test : public ::testing::Test {
protected:
    neigh_table_test() {
        t.add_addr(p0, "10.0.0.1/24");
        t.add_addr(p1, "10.0.1.1/24");
    }
    ~neigh_table_test() override { EXPECT_TRUE(t.all_valid()); }
    int add(const char* addr, const mac_addr* m, uint8_t state, bool create, bool excl,
            uint8_t ntf = 0, bool replace = true) {
        return neigh_add(t.n, p0, ip(addr), m ? m->data() : nullptr, state, create, excl, ntf,
                         replace);
    }
    void send(net_device* dev, const char* to) {
        sk_buff* skb = t.inject(make_skb(udp_packet(ip("10.9.9.9"), ip(to)), dev));
        if (neighbour* n = ip_neigh_gw4(dev, ip(to)))
            neigh_output(n, skb);
        else
            kfree_skb_reason(skb, NEIGH_CREATEFAIL);
    }
    test_net t;
    net_device *p0 = t.add_port("p0"), *p1 = t.add_port("p1");
};

TEST_F(neigh_table_test, ip_neigh_and_its_errors) {
    EXPECT_EQ(neigh_delete(t.n, p0, ip("10.0.0.2")), -ENOENT);
    EXPECT_EQ(neigh_delete(t.n, nullptr, ip("10.0.0.2")), -EINVAL);
    EXPECT_EQ(neigh_add(t.n, nullptr, ip("10.0.0.2"), host.data(), NUD_PERMANENT, true, true, 0),
              -EINVAL);
    EXPECT_EQ(add("10.0.0.2", &host, NUD_PERMANENT, false, false), -ENOENT); // change
    EXPECT_EQ(add("10.0.0.2", &host, NUD_PERMANENT, true, true), 0);         // add
    EXPECT_EQ(add("10.0.0.2", &host, NUD_PERMANENT, true, true), -EEXIST);
    EXPECT_EQ(add("10.0.0.2", &host2, NUD_REACHABLE, false, false), 0); // change
    EXPECT_EQ(t.state(p0, "10.0.0.2"), NUD_REACHABLE);
    EXPECT_EQ(memcmp(t.find(p0, "10.0.0.2")->ha, host2.data(), 6), 0);
    EXPECT_EQ(add("10.0.0.2", &host, NUD_STALE, true, false, 0, false), 0); // append: no override
    EXPECT_EQ(memcmp(t.find(p0, "10.0.0.2")->ha, host2.data(), 6), 0);
    EXPECT_EQ(add("10.0.0.2", &host, NUD_STALE, true, false), 0); // replace
    EXPECT_EQ(memcmp(t.find(p0, "10.0.0.2")->ha, host.data(), 6), 0);
    EXPECT_EQ(add("10.0.0.3", nullptr, NUD_PERMANENT, true, true), -EINVAL);
    EXPECT_EQ(add("10.0.0.2", nullptr, NUD_PERMANENT, true, false), 0); // the address stays
    EXPECT_EQ(neigh_delete(t.n, p0, ip("10.0.0.2")), 0);
    EXPECT_EQ(t.find(p0, "10.0.0.2"), nullptr);
    EXPECT_EQ(t.find(p1, "10.0.0.2"), nullptr);
}

TEST_F(neigh_table_test, a_deleted_entry_is_forgotten_whoever_holds_it) {
    ASSERT_EQ(add("10.0.0.2", &host, NUD_REACHABLE, true, true), 0);
    neighbour* held = neigh_lookup(&t.arp(), ip("10.0.0.2"), p0);
    EXPECT_EQ(neigh_delete(t.n, p0, ip("10.0.0.2")), 0);
    EXPECT_EQ(t.find(p0, "10.0.0.2"), nullptr);
    EXPECT_TRUE(held->dead);
    EXPECT_FALSE(held->nud_state & NUD_VALID);
    EXPECT_EQ(neigh_delete(t.n, p0, ip("10.0.0.2")), -ENOENT);
    neigh_release(held);
}

TEST_F(neigh_table_test, delete_reports_what_waits) {
    send(p0, "10.0.0.2");
    EXPECT_EQ(neigh_delete(t.n, p0, ip("10.0.0.2")), 0);
    EXPECT_EQ(t.drops(NEIGH_FAILED), 1u);
    EXPECT_EQ(t.arp().entries, 0);
}

TEST_F(neigh_table_test, use_and_learned_and_router_flags) {
    EXPECT_EQ(add("10.0.0.2", nullptr, NUD_NONE, true, true, NTF_USE), 0);
    EXPECT_EQ(t.state(p0, "10.0.0.2"), NUD_INCOMPLETE); // asked for at once
    EXPECT_EQ(t.take_sent().size(), 1u);
    EXPECT_EQ(add("10.0.0.3", &host, NUD_PERMANENT, true, true, NTF_ROUTER), 0);
    EXPECT_EQ(t.find(p0, "10.0.0.3")->flags, NTF_ROUTER);
    EXPECT_EQ(add("10.0.0.3", nullptr, NUD_NONE, false, false, NTF_USE), 0); // loses permanence
    EXPECT_EQ(t.state(p0, "10.0.0.3"), NUD_INCOMPLETE);
    EXPECT_TRUE(t.all_valid());
}

TEST_F(neigh_table_test, defaults_reach_devices_that_were_not_set) {
    auto field = &neigh_parms::retrans_time;
    neigh_parms_write(t.n, p1->arp_parms, field, 77);
    neigh_parms_write(t.n, &t.arp().parms, field, 33);
    EXPECT_EQ(p0->arp_parms->retrans_time, 33);
    EXPECT_EQ(p1->arp_parms->retrans_time, 77);
    EXPECT_EQ(t.add_port("p2")->arp_parms->retrans_time, 33);
    neigh_parms_write(t.n, &t.arp().parms, &neigh_parms::base_reachable_time, 100);
    EXPECT_LT(p0->arp_parms->reachable_time, 150);
    EXPECT_GE(p0->arp_parms->reachable_time, 50);
}

TEST_F(neigh_table_test, devices_that_change_flush_their_entries) {
    ASSERT_EQ(add("10.0.0.2", &host, NUD_REACHABLE, true, true), 0);
    ASSERT_EQ(add("10.0.0.3", &host, NUD_PERMANENT, true, true), 0);
    send(p0, "10.0.0.4");
    send(p1, "10.0.1.4");
    netif_carrier_set(p0, false);
    EXPECT_EQ(t.state(p0, "10.0.0.2"), NUD_NONE);
    EXPECT_EQ(t.state(p0, "10.0.0.3"), NUD_PERMANENT);
    EXPECT_EQ(t.drops(QUEUE_PURGE), 1u);
    EXPECT_EQ(t.state(p1, "10.0.1.4"), NUD_INCOMPLETE);
    netif_carrier_set(p0, true);
    dev_set_mac_address(p0, mac("02:00:00:00:00:99").data());
    EXPECT_EQ(t.find(p0, "10.0.0.3"), nullptr);
    ASSERT_EQ(add("10.0.0.3", &host, NUD_PERMANENT, true, true), 0);
    t.take_sent();
    send(p0, "10.0.0.3");
    EXPECT_EQ(eth_src(t.take_sent().at(0).data), mac("02:00:00:00:00:99"));
    p0->ip_ptr->cnf.arp_evict_nocarrier = 0;
    ASSERT_EQ(add("10.0.0.2", &host, NUD_REACHABLE, true, true), 0);
    netif_carrier_set(p0, false);
    EXPECT_EQ(t.state(p0, "10.0.0.2"), NUD_REACHABLE);
    dev_change_flags(p0, 0, IFF_UP);
    EXPECT_EQ(t.find(p0, "10.0.0.2"), nullptr);
    EXPECT_EQ(t.find(p0, "10.0.0.3"), nullptr);
    netif_carrier_set(p0, true);
}

TEST_F(neigh_table_test, an_entry_that_died_in_somebodys_hands_swallows_packets) {
    ASSERT_EQ(add("10.0.0.2", &host, NUD_REACHABLE, true, true), 0);
    neighbour* held = neigh_lookup(&t.arp(), ip("10.0.0.2"), p0);
    send(p0, "10.0.0.3");
    neighbour* waiting = neigh_lookup(&t.arp(), ip("10.0.0.3"), p0);
    dev_change_flags(p0, 0, IFF_UP);
    dev_change_flags(p0, IFF_UP, IFF_UP);
    t.take_sent();
    for (neighbour* n : {held, waiting}) {
        EXPECT_TRUE(n->dead);
        neigh_output(n, t.inject(make_skb(udp_packet(ip("10.9.9.9"), ip("10.0.0.2")), p0)));
        EXPECT_EQ(neigh_update(n, host.data(), NUD_REACHABLE, NEIGH_UPDATE_F_ADMIN), -EPERM);
        neigh_resolve_output(waiting, t.inject(make_skb(udp_packet({1}, {2}), p0)));
    }
    EXPECT_EQ(t.drops(NEIGH_DEAD), 4u);
    EXPECT_EQ(t.sent_count(), 0u);
    EXPECT_NE(t.arp().entries, 0);
    neigh_release(held);
    neigh_release(waiting);
    EXPECT_EQ(t.arp().entries, 0);
}

TEST_F(neigh_table_test, entries_live_in_slab_arp_cache) {
    auto active = [] {
        for (const slabinfo& s : slabinfo_list())
            if (s.name == "arp_cache")
                return s.active_objs;
        return size_t(0);
    };
    EXPECT_EQ(active(), 0u);
    ASSERT_EQ(add("10.0.0.2", &host, NUD_REACHABLE, true, true), 0);
    EXPECT_EQ(active(), 1u);
    ASSERT_EQ(neigh_delete(t.n, p0, ip("10.0.0.2")), 0);
    EXPECT_EQ(active(), 1u); // till a grace period has passed
    t.advance_ms(1);
    EXPECT_EQ(active(), 0u);
}

TEST(neigh_table_init, survives_failed_allocations) {
    net n(1);
    for (uint64_t nth = 1;; ++nth) {
        fault_attr attr;
        attr.nth = nth;
        failslab_set(attr);
        const int err = neigh_table_init(n);
        const bool failed = failslab_stats().failed;
        failslab_off();
        if (!failed) {
            EXPECT_EQ(err, 0);
            EXPECT_GE(nth, 3u);
            break;
        }
        EXPECT_EQ(err, -ENOMEM);
        EXPECT_EQ(n.arp_tbl, nullptr);
    }
    neigh_table_clear(n);
}

/// Every allocation of a busy table fails now and then; nothing is lost.
TEST_F(neigh_table_test, failed_allocations_are_counted_drops) {
    std::mt19937 rng(5);
    t.arp().gc_thresh3 = 400;
    t.arp().gc_thresh2 = 300;
    for (unsigned round = 0; round < 20; ++round) {
        fault_attr attr;
        attr.interval = 1 + round % 5;
        failslab_set(attr);
        heap_skbs_fail(int(rng() % 3), 5);
        for (int i = 0; i < 100; ++i) {
            const std::string addr = "10.0.0." + std::to_string(2 + rng() % 250);
            heap_skbs_fail(1 + int(rng() % 2), 1); // the packet itself comes through
            send(p0, addr.c_str());
            add(addr.c_str(), &host, NUD_STALE, true, false);
        }
        failslab_off();
        heap_skbs_fail(0, 0);
        ASSERT_TRUE(t.all_valid());
        t.expect_balanced();
        t.advance_ms(700);
    }
    EXPECT_GT(t.drops(NEIGH_CREATEFAIL), 0u);
}

/// Everything that can happen to entries, at random, with the invariants checked all along.
TEST_F(neigh_table_test, random_mix_keeps_every_invariant) {
    std::mt19937 rng(11);
    t.record = false;
    t.arp().gc_thresh1 = 8;
    t.arp().gc_thresh2 = 24;
    t.arp().gc_thresh3 = 32;
    t.arp().held_max = 60;
    neigh_parms_write(t.n, &t.arp().parms, &neigh_parms::queue_len_bytes, 5 * 832);
    auto* saved = log_sink;
    log_sink = [](const char*) {};
    std::vector<neighbour*> held;
    constexpr uint8_t states[] = {NUD_NONE,  NUD_INCOMPLETE, NUD_REACHABLE, NUD_STALE,    NUD_DELAY,
                                  NUD_PROBE, NUD_FAILED,     NUD_NOARP,     NUD_PERMANENT};
    for (int step = 0; step < 30000; ++step) {
        net_device* dev = rng() % 4 ? p0 : p1;
        const std::string addr =
            (dev == p0 ? "10.0.0." : "10.0.1.") + std::to_string(2 + rng() % 40);
        const mac_addr m = rng() % 3 ? host : host2;
        switch (rng() % 16) {
        case 0:
            neigh_add(t.n, dev, ip(addr.c_str()), rng() % 4 ? m.data() : nullptr,
                      states[rng() % std::size(states)], rng() % 2, rng() % 8 == 0,
                      uint8_t(rng() % 16 ? 0 : NTF_EXT_LEARNED), rng() % 2);
            break;
        case 1:
            neigh_delete(t.n, dev, ip(addr.c_str()));
            break;
        case 2:
            if (neighbour* n = neigh_lookup(&t.arp(), ip(addr.c_str()), dev))
                held.push_back(n);
            break;
        case 3:
        case 4:
            if (!held.empty()) {
                neigh_release(held.back());
                held.pop_back();
            }
            break;
        case 5:
        case 6:
            t.receive(dev, arp_frame(mac("ff:ff:ff:ff:ff:ff"), m,
                                     {ARPOP_REQUEST,
                                      m,
                                      ip(addr.c_str()),
                                      {},
                                      dev == p0 ? ip("10.0.0.1") : ip("10.0.1.1")}));
            break;
        case 7:
        case 8: {
            mac_addr own;
            dev_addr_get(dev, own.data());
            t.receive(dev, arp_frame(own, m, {ARPOP_REPLY, m, ip(addr.c_str()), own, {}}));
            break;
        }
        case 9:
            t.advance_ms(rng() % 3000);
            break;
        case 10:
            if (rng() % 50 == 0)
                t.advance_ms(100'000);
            break;
        case 11:
            if (rng() % 100 == 0) {
                dev_change_flags(dev, 0, IFF_UP);
                dev_change_flags(dev, IFF_UP, IFF_UP);
            } else if (rng() % 100 == 0) {
                netif_carrier_set(dev, false);
                netif_carrier_set(dev, true);
            }
            break;
        default:
            send(dev, addr.c_str());
        }
        ASSERT_TRUE(t.all_valid()) << "step " << step;
        ASSERT_LE(t.arp().held, 60);
        ASSERT_LE(t.arp().gc_entries, 33);
    }
    t.expect_balanced();
    for (neighbour* n : held)
        neigh_release(n);
    log_sink = saved;
}

} // namespace
} // namespace slabfwd
