// SPDX-License-Identifier: BSD-3-Clause
//
// Hook points: order, verdicts, registration while packets pass, what a hook may not do.
#include <cerrno>
#include <gtest/gtest.h>
#include <string>
#include <thread>

#include "dataplane/netfilter/netfilter.h"
#include "tests/support/test_net.h"

namespace slabfwd::test {
namespace {

using enum skb_drop_reason;

struct Hooks : ::testing::Test {
    test_net t;
    net_device* dev = t.add_port("p0");
    std::string order;
    Hooks() { nf_net_init(t.n); }
    ~Hooks() override {
        rcu_barrier_all(t.n);
        nf_net_exit(t.n);
    }
    int run(unsigned hook = NF_INET_FORWARD) {
        const nf_hook_entries* e = nf_hooks(t.n, hook);
        sk_buff* skb = t.inject(make_skb(udp_packet(ip("10.0.0.1"), ip("10.0.0.2")), dev));
        int rc = e ? nf_hook_slow(skb, {hook, dev, nullptr, &t.n}, e) : 1;
        if (rc == 1) {
            BALANCE_INC(balance_stat::delivered);
            consume_skb(skb);
        }
        return rc;
    }
};

struct named_hook {
    std::string* order;
    char name;
    unsigned verdict = NF_ACCEPT;
    int repeats = 0;
    nf_hook_ops ops{};
    named_hook(std::string* o, char c, int priority, unsigned v = NF_ACCEPT)
        : order(o), name(c), verdict(v) {
        ops = {call, this, NF_INET_FORWARD, priority, "named"};
    }
    static unsigned call(void* priv, sk_buff* skb, const nf_hook_state*) {
        auto* self = static_cast<named_hook*>(priv);
        self->order->push_back(self->name);
        if (self->repeats-- > 0)
            return NF_REPEAT;
        if (self->verdict == NF_STOLEN) {
            BALANCE_INC(balance_stat::delivered);
            consume_skb(skb);
        }
        return self->verdict;
    }
};

TEST_F(Hooks, RunInOrderOfPriorityThenOfRegistration) {
    named_hook b(&order, 'b', 0), a(&order, 'a', -100), c(&order, 'c', 0), d(&order, 'd', 7);
    for (named_hook* h : {&b, &d, &a, &c})
        EXPECT_EQ(nf_register_net_hook(t.n, &h->ops), 0);
    EXPECT_EQ(run(), 1);
    EXPECT_EQ(order, "abcd");
    order.clear();
    nf_unregister_net_hook(t.n, &b.ops);
    EXPECT_EQ(run(), 1);
    EXPECT_EQ(order, "acd");
    nf_unregister_net_hook(t.n, &b.ops); // twice does nothing
    for (named_hook* h : {&d, &a, &c})
        nf_unregister_net_hook(t.n, &h->ops);
    EXPECT_EQ(nf_hooks(t.n, NF_INET_FORWARD), nullptr);
}

TEST_F(Hooks, VerdictsEndTheWalk) {
    struct {
        unsigned verdict;
        int rc;
        unsigned drops;
    } cases[] = {{NF_ACCEPT, 1, 0},
                 {NF_DROP, -EPERM, 1},
                 {NF_STOLEN, 0, 0},
                 {NF_QUEUE, -EPERM, 1},
                 {99, -EPERM, 1}};
    for (auto [verdict, rc, drops] : cases) {
        named_hook first(&order, '1', 0, verdict), second(&order, '2', 1);
        nf_register_net_hook(t.n, &first.ops);
        nf_register_net_hook(t.n, &second.ops);
        uint64_t before = t.drops(NETFILTER_DROP);
        order.clear();
        EXPECT_EQ(run(), rc) << verdict;
        EXPECT_EQ(order, verdict == NF_ACCEPT ? "12" : "1");
        EXPECT_EQ(t.drops(NETFILTER_DROP) - before, drops);
        nf_unregister_net_hook(t.n, &first.ops);
        nf_unregister_net_hook(t.n, &second.ops);
    }
    t.expect_balanced();
}

std::string logged;

TEST_F(Hooks, QueueIsRefusedWithTheHooksName) {
    named_hook h(&order, 'q', 0, NF_QUEUE);
    nf_register_net_hook(t.n, &h.ops);
    auto* sink = log_sink;
    logged.clear();
    log_sink = [](const char* line) { logged += line; };
    run();
    log_sink = sink;
    EXPECT_NE(logged.find("named"), std::string::npos);
    EXPECT_NE(logged.find("FORWARD"), std::string::npos);
    nf_unregister_net_hook(t.n, &h.ops);
}

TEST_F(Hooks, RepeatCallsTheSameHookAgain) {
    named_hook a(&order, 'a', 0), b(&order, 'b', 1);
    a.repeats = 2;
    nf_register_net_hook(t.n, &a.ops);
    nf_register_net_hook(t.n, &b.ops);
    EXPECT_EQ(run(), 1);
    EXPECT_EQ(order, "aaab");
    a.repeats = 1 << 30; // for ever
    EXPECT_EQ(run(), -EPERM);
    EXPECT_EQ(t.drops(NETFILTER_DROP), 1u);
    nf_unregister_net_hook(t.n, &a.ops);
    nf_unregister_net_hook(t.n, &b.ops);
}

TEST_F(Hooks, BadRegistrationsAreRefused) {
    nf_hook_ops ops;
    EXPECT_EQ(nf_register_net_hook(t.n, &ops), -EINVAL);
    ops.hook = named_hook::call;
    ops.hooknum = NF_INET_NUMHOOKS;
    EXPECT_EQ(nf_register_net_hook(t.n, &ops), -EINVAL);
    nf_unregister_net_hook(t.n, &ops);
    std::vector<nf_hook_ops> many(1025);
    for (size_t i = 0; i < many.size(); ++i) {
        many[i].hook = named_hook::call;
        many[i].hooknum = NF_INET_LOCAL_IN;
        EXPECT_EQ(nf_register_net_hook(t.n, &many[i]), i < 1024 ? 0 : -E2BIG);
    }
}

unsigned count_hook(void* priv, sk_buff*, const nf_hook_state*) {
    static_cast<std::atomic<uint64_t>*>(priv)->fetch_add(1, std::memory_order_relaxed);
    return NF_ACCEPT;
}

TEST(HooksThreads, RegistrationWhilePacketsPass) {
    test_net t(2);
    net_device* dev = t.add_port("p0");
    nf_net_init(t.n);
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> calls{0}, walks{0};
    std::thread worker([&] {
        softnet_data& sd = *t.n.softnet[1];
        softnet_loop_begin(sd);
        while (!stop.load(std::memory_order_relaxed)) {
            if (const nf_hook_entries* e = nf_hooks(t.n, NF_INET_FORWARD)) {
                sk_buff* skb = make_skb(udp_packet(ip("10.0.0.1"), ip("10.0.0.2")), dev);
                EXPECT_EQ(nf_hook_slow(skb, {NF_INET_FORWARD, dev, nullptr, &t.n}, e), 1);
                consume_skb(skb);
            }
            walks.fetch_add(1, std::memory_order_relaxed);
            t.n.rcu.quiescent(1);
        }
        softnet_loop_end(sd);
    });
    t.enter(t.n.control_cpu());
    while (!walks)
        std::this_thread::yield();
    for (int i = 0; i < 100; ++i) {
        auto ops = std::make_unique<nf_hook_ops>(
            nf_hook_ops{count_hook, &calls, NF_INET_FORWARD, i % 3, "count"});
        auto other = std::make_unique<nf_hook_ops>(*ops);
        ASSERT_EQ(nf_register_net_hook(t.n, ops.get()), 0);
        ASSERT_EQ(nf_register_net_hook(t.n, other.get()), 0);
        uint64_t seen = calls;
        while (calls == seen)
            std::this_thread::yield();
        nf_unregister_net_hook(t.n, ops.get());
        ops.reset(); // nobody is in it any more
        nf_unregister_net_hook(t.n, other.get());
        rcu_do_batch(*this_softnet());
    }
    stop = true;
    worker.join();
    rcu_barrier_all(t.n);
    nf_net_exit(t.n);
    t.enter(0);
}

} // namespace
} // namespace slabfwd::test
