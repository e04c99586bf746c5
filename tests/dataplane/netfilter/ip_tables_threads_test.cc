// SPDX-License-Identifier: BSD-3-Clause
//
// Tables that change while packets pass: every packet meets one generation or the other, none meets
// neither, and not one is lost from the counters, whatever is inserted, deleted, replaced, listed
// or set to zero meanwhile.
#include <gtest/gtest.h>

#include <thread>

#include "dataplane/netfilter/ipt_do_table.h"
#include "tests/support/test_net.h"

namespace slabfwd::test {
namespace {

constexpr unsigned WORKERS = 2;

struct traffic {
    net& n;
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> packets{0}, accepted{0};

    void run(unsigned cpu, net_device* dev) {
        softnet_data& sd = *n.softnet[cpu];
        softnet_loop_begin(sd);
        bytes b = udp_packet(ip("10.0.0.1"), ip("10.0.0.2"), 8, 64, 5, 53);
        while (!stop.load(std::memory_order_relaxed)) {
            const nf_hook_entries* e = nf_hooks(n, NF_INET_FORWARD);
            sk_buff* skb = make_skb(b, dev);
            if (nf_hook_slow(skb, {NF_INET_FORWARD, dev, dev, &n}, e) == 1) {
                accepted.fetch_add(1, std::memory_order_relaxed);
                consume_skb(skb);
            }
            packets.fetch_add(1, std::memory_order_relaxed);
            n.rcu.quiescent(cpu);
        }
        softnet_loop_end(sd);
    }
};

ipt_entry rule(const char* dst, ipt_verdict v) {
    ipt_entry e;
    if (*dst) {
        e.ip.dst = ip(dst);
        e.ip.dmsk = be32_t{~0u};
    }
    e.verdict = v;
    return e;
}

TEST(IpTablesThreads, SwapUnderLoadLosesAndMiscountsNothing) {
    test_net t(WORKERS);
    net_device* dev = t.add_port("p0");
    ASSERT_EQ(nf_net_init(t.n), 0);
    t.enter(t.n.control_cpu());
    t.n.rcu.online(t.n.control_cpu());
    ipt_net::slot& s = *ipt_find_table(t.n, "filter");
    ipt_table& f = *s.table;
    ipt_chain& c = *f.base(NF_INET_FORWARD);
    // First a rule that counts everything; at the end one that accepts; the policy would drop.
    f.insert(c, 0, {f.new_rule(rule("", ipt_verdict::NONE))});
    f.insert(c, 1, {f.new_rule(rule("10.0.0.2", ipt_verdict::ACCEPT))});
    f.set_policy(c, NF_DROP);
    ipt_commit(t.n, s);
    ipt_rule all = c.rules.front();

    traffic load{t.n};
    std::vector<std::thread> workers;
    for (unsigned cpu = 0; cpu < WORKERS; ++cpu)
        workers.emplace_back([&, cpu] { load.run(cpu, dev); });
    while (load.packets < 100)
        std::this_thread::yield();

    uint64_t zeroed = 0;
    xt_counters last{};
    for (unsigned i = 0; i < 400; ++i) {
        if (i % 7 == 6) { // another rule that accepts, before the old one goes
            f.insert(c, c.rules.size(), {f.new_rule(rule("10.0.0.2", ipt_verdict::ACCEPT))});
            f.erase(c, c.rules.size() - 2);
        } else if (i % 3 == 2 && c.rules.size() > 2) {
            f.erase(c, 1);
        } else {
            f.insert(c, 1, {f.new_rule(rule("10.9.9.9", ipt_verdict::DROP))});
        }
        ipt_commit(t.n, s);
        xt_counters now = all->counter->get();
        EXPECT_GE(now.pcnt, last.pcnt);
        last = now;
        if (i % 50 == 49) {
            zeroed += all->counter->set({}).pcnt;
            last = {};
        }
        rcu_do_batch(*this_softnet());
        t.n.rcu.quiescent(t.n.control_cpu());
    }
    load.stop = true;
    for (std::thread& w : workers)
        w.join();
    EXPECT_EQ(load.accepted, load.packets);
    EXPECT_EQ(c.counter->get().pcnt, 0u); // nobody ever met the policy
    EXPECT_EQ(zeroed + all->counter->get().pcnt, load.packets);
    EXPECT_EQ(all->counter->get().bcnt, all->counter->get().pcnt * 36);
    rcu_barrier_all(t.n);
    EXPECT_LT(ipt_tables(t.n).counters->in_use(),
              450u); // numbers of rules that went are used again
    nf_net_exit(t.n);
    t.n.rcu.offline(t.n.control_cpu());
    t.enter(0);
}

} // namespace
} // namespace slabfwd::test
