// SPDX-License-Identifier: BSD-3-Clause
//
// The pairing heap against a std::multimap, and the clock's small print.
#include "neigh/timer.h"

#include <gtest/gtest.h>
#include <map>
#include <random>
#include <vector>

#include "tests/support/test_net.h"

namespace slabfwd {
namespace {

struct counting_timer {
    timer_list timer;
    int id = 0;
    std::vector<int>* fired = nullptr;
};
static void note(timer_list* t) {
    auto* c = reinterpret_cast<counting_timer*>(t); // timer is the first member
    c->fired->push_back(c->id);
}

TEST(timer, fires_in_order_of_expiry_then_of_arming) {
    timer_base base;
    std::vector<int> fired;
    counting_timer t[4];
    const jiffies_t expires[] = {20, 10, 20, 10};
    for (int i = 0; i < 4; ++i) {
        t[i].timer.function = note;
        t[i].id = i;
        t[i].fired = &fired;
        EXPECT_FALSE(mod_timer_on(base, &t[i].timer, expires[i]));
    }
    EXPECT_EQ(base.next_expiry, 10u);
    EXPECT_EQ(run_timers(base, 9, 0), 0u);
    EXPECT_EQ(run_timers(base, 10, 1), 1u);
    EXPECT_EQ(run_timers(base, 30, 0), 3u);
    EXPECT_EQ(fired, (std::vector<int>{1, 3, 0, 2}));
    EXPECT_EQ(base.next_expiry, ~jiffies_t(0));
    EXPECT_FALSE(timer_pending(&t[0].timer));
}

TEST(timer, moves_between_bases) {
    timer_base a, b;
    std::vector<int> fired;
    counting_timer t;
    t.timer.function = note;
    t.fired = &fired;
    EXPECT_FALSE(mod_timer_on(a, &t.timer, 5));
    EXPECT_TRUE(mod_timer_on(b, &t.timer, 7));
    EXPECT_EQ(run_timers(a, 100, 0), 0u);
    EXPECT_TRUE(mod_timer(&t.timer, 9)); // stays where it is pending
    EXPECT_EQ(b.next_expiry, 9u);
    EXPECT_TRUE(del_timer(&t.timer));
    EXPECT_FALSE(del_timer(&t.timer));
    EXPECT_EQ(run_timers(b, 100, 0), 0u);
}

TEST(timer, random_mix_against_a_multimap) {
    std::mt19937 rng(7);
    timer_base base;
    std::vector<int> fired;
    std::vector<counting_timer> timers(200);
    std::map<std::pair<jiffies_t, uint64_t>, int> model; // (expires, order) -> id
    std::vector<std::pair<jiffies_t, uint64_t>> where(timers.size());
    for (size_t i = 0; i < timers.size(); ++i) {
        timers[i].timer.function = note;
        timers[i].id = int(i);
        timers[i].fired = &fired;
    }
    uint64_t order = 0;
    jiffies_t now = 1000;
    for (int step = 0; step < 50000; ++step) {
        const size_t i = rng() % timers.size();
        const bool was = model.count(where[i]) && model[where[i]] == int(i);
        switch (rng() % 4) {
        case 0:
        case 1: {
            const jiffies_t expires = now + rng() % 50;
            EXPECT_EQ(mod_timer_on(base, &timers[i].timer, expires), was);
            if (was)
                model.erase(where[i]);
            where[i] = {expires, ++order};
            model[where[i]] = int(i);
            break;
        }
        case 2:
            EXPECT_EQ(del_timer(&timers[i].timer), was);
            if (was)
                model.erase(where[i]);
            break;
        case 3: {
            now += rng() % 4;
            std::vector<int> expected;
            while (!model.empty() && model.begin()->first.first <= now) {
                expected.push_back(model.begin()->second);
                model.erase(model.begin());
            }
            fired.clear();
            run_timers(base, now, 0);
            ASSERT_EQ(fired, expected) << "step " << step;
            break;
        }
        }
        ASSERT_EQ(base.next_expiry, model.empty() ? ~jiffies_t(0) : model.begin()->first.first);
    }
}

TEST(softnet, random_numbers_follow_the_seed) {
    test::test_net t;
    prandom_seed(t.n, 5);
    const uint32_t first = get_random_u32();
    EXPECT_NE(get_random_u32(), first);
    prandom_seed(t.n, 5);
    EXPECT_EQ(get_random_u32(), first);
    for (int i = 0; i < 1000; ++i)
        EXPECT_LT(get_random_u32_below(7), 7u);
    EXPECT_EQ(get_random_u32_below(0), 0u);
}

std::vector<std::string> logged;

TEST(softnet, log_lines_are_limited_per_call_site) {
    test::test_net t;
    auto* saved = log_sink;
    log_sink = [](const char* line) { logged.emplace_back(line); };
    auto warn = [](int i) { return net_warn_ratelimited("line %d of many", i); };
    int passed = 0;
    for (int i = 0; i < 25; ++i)
        passed += warn(i);
    EXPECT_EQ(passed, 10);
    EXPECT_TRUE(net_warn_ratelimited("another site"));
    t.advance_ms(5100);
    EXPECT_TRUE(warn(99));
    log_sink = saved;
    ASSERT_EQ(logged.size(), 13u);
    EXPECT_EQ(logged[0], "line 0 of many");
    EXPECT_EQ(logged[11], "net_ratelimit: 15 callbacks suppressed");
    EXPECT_EQ(logged[12], "line 99 of many");
}

} // namespace
} // namespace slabfwd
