// SPDX-License-Identifier: BSD-3-Clause
//
// The compiled forms of a table by themselves: from one to the other, growth from 16 to 32 bits,
// groups that come and go, what remains when memory is short, dead next hops, several routes and
// TOS (where the zones have the last word).
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <optional>
#include <random>
#include <sys/resource.h>

#include "alloc/failslab.h"
#include "route/fib_lpm.h"
#include "tests/route/fib_router.h"

namespace slabfwd::test {
namespace {

class fib_lpm_of_main : public testing::TestWithParam<tables> {
protected:
    fib_lpm_of_main() : fib_lpm_of_main(GetParam()) {}
    explicit fib_lpm_of_main(tables form) : compiled(form) {
        r.setup("addr add 10.0.0.1/24 dev p0\nlink set p0 up\n"
                "addr add 10.0.1.1/24 dev p1\nlink set p1 up");
        tb = r.n.ipv4.fib->fib_main;
    }
    fib_config config(uint32_t dst, int len, int gw, uint32_t metric = 0) {
        fib_config cfg;
        cfg.fc_dst = cpu_to_be32(dst);
        cfg.fc_dst_len = uint8_t(len);
        cfg.fc_priority = metric;
        cfg.fc_nlflags = NLM_F_CREATE | NLM_F_EXCL;
        cfg.nexthops.resize(1);
        cfg.nexthops[0].has_gw = true;
        cfg.nexthops[0].gw = cpu_to_be32(0x0a000000u + uint32_t(gw));
        return cfg;
    }
    int add(const fib_config& cfg) { return inet_rtm_newroute(r.n, cfg, nullptr); }
    int del(const fib_config& cfg) { return inet_rtm_delroute(r.n, cfg, nullptr); }

    const compiled_as compiled;
    fib_router r;
    fib_table* tb;
};
class fib_lpm_large_main : public fib_lpm_of_main {
protected:
    fib_lpm_large_main() : fib_lpm_of_main(tables::large) {}
};

TEST_P(fib_lpm_of_main, a_dead_next_hop_falls_back_to_shorter_prefixes) {
    r.setup("route add 20.0.0.0/8 via 10.0.0.2\nroute add 20.1.0.0/16 via 10.0.1.2\n"
            "route add 20.1.1.0/24 via 10.0.1.3\nroute add 20.1.1.128/25 via 10.0.1.4");
    ASSERT_TRUE(tb->tb_lpm);
    EXPECT_EQ(r.lookup("20.1.1.200"), "unicast 20.1.1.128/25 via 10.0.1.4 dev p1");
    EXPECT_EQ(r.lookup("20.1.1.200 oif p0"), "unicast 20.0.0.0/8 via 10.0.0.2 dev p0");
    EXPECT_EQ(r.lookup("20.1.2.1 oif p0"), "unicast 20.0.0.0/8 via 10.0.0.2 dev p0");
    EXPECT_TRUE(fib_lpm_is_valid(tb));
}

TEST_P(fib_lpm_of_main, tos_metrics_and_throw) {
    r.setup("route add 20.0.0.0/8 via 10.0.0.2\nroute add 20.1.0.0/16 tos 0x10 via 10.0.0.3\n"
            "route add throw 20.2.0.0/16\nroute add blackhole 20.3.0.0/16 metric 7\n"
            "route add 20.3.0.0/16 via 10.0.0.4");
    EXPECT_EQ(r.lookup("20.1.1.1 tos 0x10"), "unicast 20.1.0.0/16 via 10.0.0.3 dev p0");
    EXPECT_EQ(r.lookup("20.1.1.1"), "unicast 20.0.0.0/8 via 10.0.0.2 dev p0");
    EXPECT_EQ(r.lookup("20.2.1.1"), "error 101");
    EXPECT_EQ(r.lookup("20.3.1.1"), "unicast 20.3.0.0/16 via 10.0.0.4 dev p0");
    r.setup("route del 20.3.0.0/16 via 10.0.0.4");
    EXPECT_EQ(r.lookup("20.3.1.1"), "error 22");
    EXPECT_TRUE(fib_lpm_is_valid(tb));
}

TEST_P(fib_lpm_of_main, local_addresses_come_before_routes_as_long) {
    r.setup("addr add 10.9.9.9/32 dev p0\nroute add 10.9.9.9/32 via 10.0.0.2\n"
            "route add 10.9.9.0/24 via 10.0.0.3");
    EXPECT_EQ(r.lookup("10.9.9.9").substr(0, 5), "local");
    EXPECT_EQ(r.lookup("10.9.9.8"), "unicast 10.9.9.0/24 via 10.0.0.3 dev p0");
    r.setup("route add 127.0.0.0/16 via 10.0.0.4");
    EXPECT_EQ(r.lookup("127.0.1.1"), "unicast 127.0.0.0/16 via 10.0.0.4 dev p0");
    EXPECT_EQ(r.lookup("127.1.1.1").substr(0, 5), "local");
}

TEST_F(fib_lpm_large_main, more_classes_than_16_bits_name) {
    constexpr uint32_t ROUTES = 40000; // a metric each: no two share a fib_info
    for (uint32_t i = 0; i < ROUTES; ++i)
        ASSERT_EQ(add(config(0x14000000u + (i << 8), 24, 2, i + 1)), 0);
    r.settle();
    ASSERT_TRUE(tb->tb_lpm);
    EXPECT_EQ(tb->tb_lpm->form, fib_lpm_form::wide);
    EXPECT_TRUE(fib_lpm_is_valid(tb));
    for (uint32_t i = 0; i < ROUTES; i += 97) {
        const fib_leaf* leaf = fib_lpm_find(tb->tb_lpm, cpu_to_be32(0x14000005u + (i << 8)));
        ASSERT_TRUE(leaf->fi);
        EXPECT_EQ(leaf->fi->fib_priority, i + 1);
    }
    EXPECT_GT(fib_lpm_bytes(tb), size_t(64) << 20);
    for (uint32_t i = 0; i < ROUTES; ++i)
        ASSERT_EQ(del(config(0x14000000u + (i << 8), 24, 2, i + 1)), 0);
    r.settle();
    EXPECT_TRUE(fib_lpm_is_valid(tb));
    EXPECT_EQ(r.lookup("20.0.0.5"), "error 101");
}

// Each of many /24s gets prefixes of its own and loses them again: groups are used anew, and more
// of them than there were at first.
TEST_P(fib_lpm_of_main, groups_come_and_go) {
    r.setup("route add 20.0.0.0/8 via 10.0.0.9");
    for (int round = 0; round < 3; ++round) {
        for (uint32_t i = 0; i < 3000; ++i)
            ASSERT_EQ(add(config(0x14000040u + (i << 8), 26, 2)), 0);
        r.settle();
        EXPECT_TRUE(fib_lpm_is_valid(tb));
        EXPECT_EQ(r.lookup("20.0.7.70"), "unicast 20.0.7.64/26 via 10.0.0.2 dev p0");
        EXPECT_EQ(r.lookup("20.0.7.130"), "unicast 20.0.0.0/8 via 10.0.0.9 dev p0");
        for (uint32_t i = 0; i < 3000; ++i)
            ASSERT_EQ(del(config(0x14000040u + (i << 8), 26, 2)), 0);
        r.settle();
        EXPECT_TRUE(fib_lpm_is_valid(tb));
        EXPECT_EQ(r.lookup("20.0.7.70"), "unicast 20.0.0.0/8 via 10.0.0.9 dev p0");
    }
    const size_t most = GetParam() == tables::large ? size_t(40) << 20 : size_t(4) << 20;
    EXPECT_LT(fib_lpm_bytes(tb), most) << "groups of former rounds are used again";
}

TEST_P(fib_lpm_of_main, bulk_lookups_are_the_single_ones) {
    std::mt19937 rng(5);
    for (int i = 0; i < 4000; ++i) {
        const int len = int(8 + rng() % 25);
        const uint32_t dst = (0x14000000u | (rng() & 0xffffff)) & be32_to_cpu(inet_make_mask(len));
        const int err = add(config(dst, len, 2 + int(rng() % 5)));
        ASSERT_TRUE(!err || err == -EEXIST);
    }
    for (unsigned n : {1u, 31u, 32u, 77u}) {
        std::vector<be32_t> addr(n);
        std::vector<const fib_leaf*> leaf(n);
        for (be32_t& a : addr)
            a = cpu_to_be32(0x14000000u | (rng() & 0xffffff));
        fib_lpm_lookup_bulk(tb->tb_lpm, addr.data(), leaf.data(), n);
        for (unsigned i = 0; i < n; ++i)
            EXPECT_EQ(leaf[i], fib_lpm_find(tb->tb_lpm, addr[i]));
    }
}

// As many changes as there may be before a grace period ends: what rests is used again.
TEST_P(fib_lpm_of_main, changes_without_a_grace_period) {
    r.setup("route add 20.0.0.0/8 via 10.0.0.9");
    const fib_lpm* first = tb->tb_lpm;
    ASSERT_TRUE(first);
    r.n.rcu.online(0); // and never quiescent
    for (uint32_t i = 0; i < 5000; ++i) {
        ASSERT_EQ(add(config(0x14000001u + (i << 8), 32, 2, i % 7)), 0);
        ASSERT_EQ(del(config(0x14000001u + (i << 8), 32, 2, i % 7)), 0);
    }
    EXPECT_NE(tb->tb_lpm, first) << "there was no room for all that rests";
    EXPECT_TRUE(fib_lpm_is_valid(tb));
    EXPECT_LT(fib_lpm_bytes(tb), GetParam() == tables::small ? size_t(32) << 10 : size_t(40) << 20);
    r.n.rcu.offline(0);
    r.settle();
    EXPECT_TRUE(fib_lpm_is_valid(tb));
}

/// Default routes of a large table are the zones'.
TEST_P(fib_lpm_of_main, several_routes_and_default_routes) {
    const bool small = GetParam() == tables::small;
    r.setup("route add default via 10.0.0.2\nroute add 20.0.0.0/8 via 10.0.0.3 metric 5");
    const auto leaf = [&](const char* addr) { return fib_lpm_find(tb->tb_lpm, parse_ip(addr)); };
    EXPECT_EQ(leaf("8.8.8.8")->only(), small);
    EXPECT_TRUE(leaf("8.8.8.8")->any);
    EXPECT_EQ(leaf("8.8.8.8")->plen, 0);
    EXPECT_TRUE(leaf("20.1.1.1")->only());
    EXPECT_EQ(r.lookup("8.8.8.8"), "unicast default via 10.0.0.2 dev p0");
    r.setup("route append default via 10.0.1.2\nroute add 20.0.0.0/8 via 10.0.1.3 metric 9");
    EXPECT_TRUE(leaf("20.1.1.1")->fi && leaf("20.1.1.1")->more);
    EXPECT_EQ(leaf("8.8.8.8")->more, small);
    EXPECT_FALSE(leaf("20.1.1.1")->only() || leaf("8.8.8.8")->only());
    EXPECT_EQ(r.lookup("20.1.1.1"), "unicast 20.0.0.0/8 via 10.0.0.3 dev p0");
    EXPECT_EQ(r.lookup("20.1.1.1 oif p1"), "unicast 20.0.0.0/8 via 10.0.1.3 dev p1");
    EXPECT_EQ(r.lookup("8.8.8.8 oif p1"), "unicast default via 10.0.1.2 dev p1");
    r.setup("route add 20.0.0.0/8 tos 0x10 via 10.0.0.4");
    EXPECT_FALSE(leaf("20.1.1.1")->fi);
    EXPECT_EQ(r.lookup("20.1.1.1 tos 0x10"), "unicast 20.0.0.0/8 via 10.0.0.4 dev p0");
    r.setup("route del 20.0.0.0/8 tos 0x10\nroute del 20.0.0.0/8 metric 5\nroute del default via "
            "10.0.0.2");
    EXPECT_TRUE(leaf("20.1.1.1")->only());
    EXPECT_EQ(leaf("8.8.8.8")->only(), small);
    EXPECT_EQ(r.lookup("20.1.1.1"), "unicast 20.0.0.0/8 via 10.0.1.3 dev p1");
    r.setup("route del default");
    EXPECT_FALSE(leaf("8.8.8.8")->any);
    EXPECT_TRUE(fib_lpm_is_valid(tb));
}

// Another may come between a lookup and what is done with it.
TEST_P(fib_lpm_of_main, a_default_route_that_was_found_alone_is_the_answer) {
    r.setup("route add default via 10.0.0.2");
    flowi4 fl4;
    fl4.daddr = parse_ip("8.8.8.8");
    fib_result res;
    ASSERT_EQ(fib_lookup(r.n, &fl4, &res), 0);
    r.setup("route append default via 10.0.0.3");
    fib_select_path(r.n, &res, &fl4, nullptr);
    EXPECT_EQ(res.nh()->fib_nh_gw4, parse_ip("10.0.0.2"));
}

INSTANTIATE_TEST_SUITE_P(forms, fib_lpm_of_main, testing::Values(tables::small, tables::large),
                         tables_name);

// As a router has them: compiled from the first route on, large from 1024 on, small below a quarter
// of that.
TEST(fib_lpm, a_table_has_the_form_that_suits_it) {
    fib_router r;
    r.setup("addr add 10.0.0.1/24 dev p0\nlink set p0 up");
    const auto route = [&](const char* what, uint32_t i) {
        r.setup(fmt::format("route {} 20.{}.{}.0/24 via 10.0.0.2 table 77", what, i >> 8, i & 255)
                    .c_str());
    };
    const auto form = [&] {
        const fib_table* tb = fib_get_table(r.n, 77);
        EXPECT_TRUE(fib_lpm_is_valid(tb));
        return tb->tb_lpm ? std::optional(tb->tb_lpm->form) : std::nullopt;
    };
    uint32_t i = 0;
    route("add", i++);
    EXPECT_EQ(form(), fib_lpm_form::small);
    EXPECT_LT(fib_lpm_bytes(fib_get_table(r.n, 77)), 8192u);
    while (i < 1023)
        route("add", i++);
    EXPECT_EQ(form(), fib_lpm_form::small);
    route("add", i++);
    EXPECT_EQ(form(), fib_lpm_form::large);
    while (i > 256)
        route("del", --i);
    EXPECT_EQ(form(), fib_lpm_form::large);
    route("del", --i);
    EXPECT_EQ(form(), fib_lpm_form::small);
    while (i)
        route("del", --i);
    EXPECT_EQ(form(), std::nullopt);
    EXPECT_EQ(fib_lpm_bytes(fib_get_table(r.n, 77)), 0u);
}

// Each in a /16 of its own.
TEST(fib_lpm, a_small_table_of_prefixes_far_from_one_another) {
    fib_router r;
    r.setup("addr add 10.0.0.1/24 dev p0\nlink set p0 up");
    for (unsigned i = 0; i < 1000; ++i)
        r.setup(fmt::format("route add {}.{}.9.0/24 via 10.0.0.2 table 77", 20 + i % 200, i / 4)
                    .c_str());
    const fib_table* tb = fib_get_table(r.n, 77);
    ASSERT_TRUE(tb->tb_lpm && tb->tb_lpm->form == fib_lpm_form::small);
    EXPECT_TRUE(fib_lpm_is_valid(tb));
    EXPECT_LT(fib_lpm_bytes(tb), 700'000u);
}

// Each allocation of the small form fails once; it is tried again with the next route.
TEST(fib_lpm, without_memory_for_the_small_form_the_zones_answer) {
    fib_router r;
    r.setup("addr add 10.0.0.1/24 dev p0\nlink set p0 up\nroute add 20.200.0.0/16 via 10.0.0.2");
    fib_table* tb = r.n.ipv4.fib->fib_main;
    const auto add_failing = [&](uint64_t nth) {
        fault_attr attr;
        std::strcpy(attr.name, "kmalloc-*");
        attr.nth = nth;
        failslab_set(attr);
        // The same next hop, and a zone that is there: all that is allocated is the form's.
        r.setup(fmt::format("route add 20.{}.0.0/16 via 10.0.0.2", nth).c_str());
        const bool failed = failslab_stats().failed;
        failslab_off();
        EXPECT_EQ(r.lookup(fmt::format("20.{}.1.1", nth)),
                  fmt::format("unicast 20.{}.0.0/16 via 10.0.0.2 dev p0", nth));
        return failed;
    };
    uint64_t nth = 0;
    do {
        fib_lpm_destroy(tb);
        ASSERT_LT(++nth, 20u);
    } while (add_failing(nth) && !tb->tb_lpm);
    EXPECT_TRUE(tb->tb_lpm);
    EXPECT_GE(nth, 5u) << "root, groups, leaves, inputs";
    EXPECT_TRUE(fib_lpm_is_valid(tb));
}

// No address space for the compiled form: routes are entered and found all the same.
TEST_F(fib_lpm_large_main, without_memory_the_zones_answer) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer needs address space of its own";
#endif
    r.setup("route add 20.0.0.0/8 via 10.0.0.2");
    fib_lpm_destroy(tb);
    rlimit old{};
    getrlimit(RLIMIT_AS, &old);
    rlimit none{1, old.rlim_max};
    setrlimit(RLIMIT_AS, &none);
    const uint32_t before = tb->tb_num_nodes;
    uint32_t i = 0;
    bool ok = true;
    for (; ok && i < 40; ++i)
        ok = add(config(0x15000000u + (i << 8), 24, 2)) == 0;
    setrlimit(RLIMIT_AS, &old);
    EXPECT_TRUE(ok);
    EXPECT_EQ(tb->tb_num_nodes, before + i);
    EXPECT_FALSE(tb->tb_lpm);
    EXPECT_EQ(r.lookup("21.0.7.7"), "unicast 21.0.7.0/24 via 10.0.0.2 dev p0");
    EXPECT_TRUE(fib_lpm_is_valid(tb));
}

} // namespace
} // namespace slabfwd::test
