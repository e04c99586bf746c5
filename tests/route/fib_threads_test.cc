// SPDX-License-Identifier: BSD-3-Clause
//
// Lookups on several slots while the control slot changes routes: every answer is one that was
// right at some moment of the lookup. Meant for ThreadSanitizer.
#include <cerrno>
#include <gmock/gmock.h>
#include <random>
#include <thread>

#include "route/fib_lpm.h"
#include "tests/route/fib_router.h"

namespace slabfwd::test {
namespace {

constexpr unsigned READERS = 3;

/// By the zones alone, and with every table compiled in either form.
class fib_threads : public testing::TestWithParam<tables> {
protected:
    fib_threads() : r(READERS) {
        r.enter(r.n.control_cpu());
        r.setup(R"(
            addr add 10.0.0.1/24 dev p0
            link set p0 up
            addr add 10.0.1.1/24 dev p1
            link set p1 up)");
    }
    /// Runs `read` in bursts on every slot beside `change`, which runs on this one.
    template <class Read, class Change>
    void run(Read read, Change change) {
        std::atomic<bool> stop{false};
        std::atomic<uint64_t> bursts{0};
        std::vector<std::thread> readers;
        for (unsigned cpu = 0; cpu < READERS; ++cpu)
            readers.emplace_back([&, cpu] {
                r.enter(cpu);
                r.n.rcu.online(cpu);
                std::mt19937 rng(cpu);
                while (!stop) {
                    for (int i = 0; i < 32; ++i)
                        read(rng);
                    bursts.fetch_add(1);
                    r.n.rcu.quiescent(cpu);
                    rcu_do_batch(*this_softnet());
                }
                r.n.rcu.offline(cpu);
            });
        while (bursts < READERS)
            std::this_thread::yield();
        change();
        stop = true;
        for (std::thread& t : readers)
            t.join();
        EXPECT_GT(bursts, READERS);
    }
    /// The last byte of the gateway for addr; 0 when there is no route.
    int gateway(uint32_t addr) {
        flowi4 fl4;
        fl4.daddr = cpu_to_be32(addr);
        fib_result res;
        if (fib_lookup(r.n, &fl4, &res))
            return 0;
        fib_info_hold(res.fi); // as a cache entry does
        const int gw = int(be32_to_cpu(res.nh()->fib_nh_gw4) & 255);
        fib_result_prefsrc(r.n, &res);
        fib_info_put(res.fi);
        return gw;
    }
    void control_loop() {
        r.n.rcu.quiescent(r.n.control_cpu());
        rcu_do_batch(*this_softnet());
    }
    const compiled_as form{GetParam()};
    fib_router r;
};

TEST_P(fib_threads, replace_is_seen_as_old_or_new) {
    r.setup("route add 20.0.0.0/8 via 10.0.0.9\nroute add 20.1.0.0/16 via 10.0.0.2");
    run(
        [this](std::mt19937& rng) {
            const int gw = gateway(0x14010000u | (rng() & 0xffff));
            EXPECT_TRUE(gw == 2 || gw == 3) << gw; // never the shorter prefix, never nothing
        },
        [this] {
            for (int i = 0; i < 3000; ++i) {
                ASSERT_EQ(r.ip(i % 2 ? "route replace 20.1.0.0/16 via 10.0.0.2"
                                     : "route replace 20.1.0.0/16 via 10.0.0.3"),
                          0);
                control_loop();
            }
        });
}

TEST_P(fib_threads, zones_grow_beside_lookups) {
    r.setup("route add 20.0.0.0/8 via 10.0.0.9\nroute add 20.200.0.0/24 via 10.0.0.2");
    run(
        [this](std::mt19937& rng) {
            EXPECT_EQ(gateway(0x14c80001), 2); // stands there all the time
            const int gw = gateway(0x14000000u | (rng() % 3000) << 8 | 1);
            EXPECT_TRUE(gw == 9 || gw == 4) << gw;
        },
        [this] {
            fib_config cfg;
            cfg.fc_dst_len = 24;
            cfg.fc_nlflags = NLM_F_CREATE | NLM_F_EXCL;
            cfg.nexthops.resize(1);
            cfg.nexthops[0].has_gw = true;
            cfg.nexthops[0].gw = parse_ip("10.0.0.4");
            for (uint32_t i = 0; i < 3000; ++i) {
                cfg.fc_dst = cpu_to_be32(0x14000000u | i << 8);
                ASSERT_EQ(inet_rtm_newroute(r.n, cfg, nullptr), 0);
                control_loop();
            }
            for (uint32_t i = 0; i < 3000; ++i) {
                cfg.fc_dst = cpu_to_be32(0x14000000u | i << 8);
                ASSERT_EQ(inet_rtm_delroute(r.n, cfg, nullptr), 0);
                control_loop();
            }
        });
}

TEST_P(fib_threads, rules_addresses_and_links) {
    r.setup("route add 20.0.0.0/8 nexthop via 10.0.0.2 nexthop via 10.0.1.3");
    run(
        [this](std::mt19937& rng) {
            flowi4 fl4;
            fl4.daddr = cpu_to_be32(0x14000000u | (rng() & 0xffffff));
            fib_result res;
            const int err = fib_lookup(r.n, &fl4, &res);
            EXPECT_TRUE(!err || err == -ENETUNREACH) << err;
            if (!err) {
                fib_select_multipath(&res, rng() & 0x7fffffff, &fl4);
                const int gw = int(be32_to_cpu(res.nh()->fib_nh_gw4) & 255);
                EXPECT_TRUE(gw == 2 || gw == 3);
            }
            inet_addr_type(r.n, parse_ip("10.0.3.1"));
            uint32_t itag;
            skb_drop_reason reason;
            fib_validate_source(r.n, nullptr, parse_ip("10.0.1.9"), parse_ip("20.0.0.1"), 0, 0,
                                r.port("p1"), &itag, &reason);
        },
        [this] {
            for (int i = 0; i < 300; ++i) {
                r.setup(R"(
                    rule add from 1.2.3.4 table 7 prio 5
                    addr add 10.0.3.1/24 dev p1
                    link set p1 down
                    link set p1 up
                    addr del 10.0.3.1/24 dev p1
                    rule del prio 5)");
                control_loop();
            }
        });
}

// Random routes come and go in a corner of the table where prefixes nest; each reader compares with
// what stays: never longer than a route that was added, never shorter than the one that stays.
TEST_P(fib_threads, random_changes_beside_lookups) {
    r.setup("route add 20.0.0.0/8 via 10.0.0.9\nroute add 20.1.0.0/16 via 10.0.0.8");
    run(
        [this](std::mt19937& rng) {
            const uint32_t addr = 0x14010000u | (rng() & 0xffff);
            const int gw = gateway(addr);
            // A route of /17 and longer goes by the gateway of its length's parity.
            EXPECT_TRUE(gw == 8 || gw == 2 || gw == 3) << gw;
            EXPECT_EQ(gateway(0x14020000u | (rng() & 0xffff)), 9);
        },
        [this] {
            std::mt19937 rng(3);
            fib_config cfg;
            cfg.nexthops.resize(1);
            cfg.nexthops[0].has_gw = true;
            for (int i = 0; i < 6000; ++i) {
                cfg.fc_dst_len = uint8_t(17 + rng() % 16);
                cfg.fc_dst =
                    cpu_to_be32(0x14010000u | (rng() & 0xffff)) & inet_make_mask(cfg.fc_dst_len);
                cfg.nexthops[0].gw = parse_ip(cfg.fc_dst_len % 2 ? "10.0.0.2" : "10.0.0.3");
                cfg.fc_nlflags = NLM_F_CREATE | NLM_F_EXCL;
                const int err = inet_rtm_newroute(r.n, cfg, nullptr);
                ASSERT_EQ(err ? inet_rtm_delroute(r.n, cfg, nullptr) : 0, 0) << err;
                control_loop();
            }
            EXPECT_TRUE(fib_lpm_is_valid(r.n.ipv4.fib->fib_main));
        });
}

/// One of them, as it was found, or as it is: what chooses among several finds more or fewer of
/// them than the lookup did.
TEST_P(fib_threads, default_routes_come_and_go_while_one_is_chosen) {
    r.setup("route add default via 10.0.0.2");
    run(
        [&](std::mt19937& rng) {
            flowi4 fl4;
            fl4.daddr = cpu_to_be32(0x08000000u | (rng() & 0xffffff));
            fib_result res;
            ASSERT_EQ(fib_lookup(r.n, &fl4, &res), 0);
            fib_select_path(r.n, &res, &fl4, nullptr);
            const uint32_t gw = be32_to_cpu(res.nh()->fib_nh_gw4);
            ASSERT_TRUE(gw == 0x0a000002 || gw == 0x0a000003) << gw;
        },
        [&] {
            for (int i = 0; i < 1500; ++i) {
                r.setup("route append default via 10.0.0.3");
                control_loop();
                r.setup("route del default via 10.0.0.3");
                control_loop();
            }
        });
}

INSTANTIATE_TEST_SUITE_P(tables, fib_threads,
                         testing::Values(tables::zones, tables::small, tables::large), tables_name);

} // namespace
} // namespace slabfwd::test
