// SPDX-License-Identifier: BSD-3-Clause
//
// Every allocation of every command fails once: the command says -ENOBUFS or copes, nothing else
// has changed, nothing leaks (the slabs are empty when the router ends: fib_net_exit destroys them,
// which names what is left).
#include <cerrno>
#include <gmock/gmock.h>

#include "alloc/failslab.h"
#include "tests/route/fib_router.h"

namespace slabfwd::test {
namespace {

class fib_memory : public testing::Test {
protected:
    fib_memory() {
        r.setup(R"(
            addr add 10.0.0.1/24 dev p0
            link set p0 up
            addr add 10.0.1.1/24 dev p1
            addr add 10.0.1.2/24 dev p1
            link set p1 up
            route add 30.0.0.0/8 via 10.0.0.2)");
        r.port("p1")->ip_ptr->cnf.promote_secondaries = 1;
    }
    ~fib_memory() override { failslab_off(); }

    std::vector<std::string> everything() {
        std::vector<std::string> all = r.routes(RT_TABLE_UNSPEC);
        for (const char* dev : {"p0", "p1", "p2"})
            for (const std::string& addr : r.addresses(dev))
                all.push_back(addr);
        for (const std::string& rule : r.rules())
            all.push_back(rule);
        return all;
    }
    /// Lets the nth allocation of the command fail, n = 1, 2, .., until it passes; undo takes it
    /// back.
    void fail_each(const std::string& command, const std::string& undo) {
        for (unsigned nth = 1;; ++nth) {
            ASSERT_LT(nth, 100u);
            const auto before = everything();
            fault_attr attr;
            attr.nth = nth;
            failslab_set(attr);
            const int err = r.ip(command);
            const bool failed = failslab_stats().failed;
            failslab_off();
            if (err) {
                EXPECT_EQ(err, -ENOBUFS) << command << ", allocation " << nth;
                EXPECT_TRUE(failed);
                EXPECT_EQ(everything(), before) << command << ", allocation " << nth;
                continue;
            }
            if (!undo.empty()) {
                EXPECT_EQ(r.ip(undo), 0) << undo;
                EXPECT_EQ(everything(), before) << undo;
            }
            if (!failed)
                return;
        }
    }
    fib_router r;
};

TEST_F(fib_memory, routes) {
    fail_each("route add 40.0.0.0/8 via 10.0.0.2", "route del 40.0.0.0/8");
    fail_each("route add 41.0.0.0/9 via 10.0.0.2 table 1000", "route del 41.0.0.0/9 table 1000");
    fail_each("route append 30.0.0.0/8 via 10.0.0.3", "route del 30.0.0.0/8 via 10.0.0.3");
    fail_each("route replace 30.0.0.0/8 via 10.0.0.3 metric 1", "route del 30.0.0.0/8 metric 1");
    fail_each("route add blackhole 42.0.0.0/8", "route del blackhole 42.0.0.0/8");
    fail_each("route add 43.0.0.0/8 nexthop via 10.0.0.2 nexthop via 10.0.1.2",
              "route del 43.0.0.0/8");
}

TEST_F(fib_memory, replacement_keeps_the_old_route) {
    for (unsigned nth = 1; nth < 6; ++nth) {
        fault_attr attr;
        attr.nth = nth;
        failslab_set(attr);
        const int err = r.ip("route replace 30.0.0.0/8 via 10.0.0." + std::to_string(2 + nth));
        failslab_off();
        if (!err)
            break;
        EXPECT_EQ(r.lookup("30.0.0.1"), "unicast 30.0.0.0/8 via 10.0.0.2 dev p0");
    }
}

TEST_F(fib_memory, growing_zones) {
    fault_attr attr;
    attr.interval = 3;
    int added = 0;
    for (int i = 0; i < 2000; ++i) {
        if (i % 5 == 0)
            failslab_set(attr);
        added += !r.ip("route add 50." + std::to_string(i / 250) + "." + std::to_string(i % 250) +
                       ".0/24 via 10.0.0.2");
        failslab_off();
    }
    EXPECT_GT(added, 1000);
    int found = 0;
    for (int i = 0; i < 2000; ++i)
        found += r.lookup("50." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ".1")
                     .starts_with("unicast");
    EXPECT_EQ(found, added);
}

TEST_F(fib_memory, addresses) {
    fail_each("addr add 10.0.2.1/24 brd 10.0.2.128 dev p0", "addr del 10.0.2.1/24 dev p0");
    fail_each("addr add 10.0.0.9/24 dev p0", "addr del 10.0.0.9/24 dev p0");
}

TEST_F(fib_memory, rules) {
    fail_each("rule add from 1.1.1.1 table 7", "rule del from 1.1.1.1");
}

TEST_F(fib_memory, deletions_need_none) {
    fault_attr attr;
    failslab_set(attr);
    const int route = r.ip("route del 30.0.0.0/8"), addr = r.ip("addr del 10.0.0.1/24 dev p0");
    const int promoted =
        r.ip("addr del 10.0.1.1/24 dev p1"); // lists a new primary: refused as a whole
    failslab_off();
    EXPECT_EQ(route, 0);
    EXPECT_EQ(addr, 0);
    EXPECT_EQ(promoted, -ENOBUFS);
    EXPECT_THAT(r.addresses("p1"), testing::ElementsAre("10.0.1.1/24", "10.0.1.2/24 secondary"));
}

/// A router that cannot be started leaves nothing behind.
TEST(fib_memory_start, every_allocation) {
    for (unsigned nth = 1;; ++nth) {
        ASSERT_LT(nth, 200u);
        test_net t;
        fault_attr attr;
        attr.nth = nth;
        failslab_set(attr);
        const int err = fib_net_init(t.n);
        const bool failed = failslab_stats().failed;
        failslab_off();
        t.enter(t.n.control_cpu());
        if (!err)
            fib_net_exit(t.n);
        else
            EXPECT_EQ(err, -ENOMEM);
        EXPECT_EQ(t.n.ipv4.fib, nullptr);
        if (!failed)
            return;
    }
}

} // namespace
} // namespace slabfwd::test
