// SPDX-License-Identifier: BSD-3-Clause
//
// Grace periods, callbacks, requests to other slots; with real threads where it matters.
#include "neigh/rcu.h"

#include <gtest/gtest.h>
#include <thread>

#include "neigh/net_namespace.h"
#include "tests/support/test_net.h"

namespace slabfwd {
namespace {

struct object {
    int value = 0;
    rcu_head rcu;
};
std::atomic<int> freed{0};
void free_object(object* o) {
    o->value = -1;
    delete o;
    ++freed;
}

TEST(rcu, callback_waits_for_every_online_reader) {
    net n(2);
    softnet_data& control = *n.softnet[2];
    n.rcu.online(0);
    n.rcu.online(1);
    freed = 0;
    call_rcu_free<object, free_object>(new object);
    rcu_do_batch(control);
    EXPECT_EQ(freed, 0);
    n.rcu.quiescent(0);
    rcu_do_batch(control);
    EXPECT_EQ(freed, 0);
    n.rcu.quiescent(1);
    rcu_do_batch(control);
    EXPECT_EQ(freed, 1);

    call_rcu_free<object, free_object>(new object);
    rcu_do_batch(control);
    call_rcu_free<object, free_object>(new object); // comes after the grace period began
    n.rcu.quiescent(0);
    n.rcu.offline(1); // offline is as good
    rcu_do_batch(control);
    EXPECT_EQ(freed, 2);
    rcu_do_batch(control);
    EXPECT_EQ(freed, 2);
    n.rcu.quiescent(0);
    rcu_do_batch(control);
    EXPECT_EQ(freed, 3);
    n.rcu.offline(0);
}

TEST(rcu, quiescent_does_not_bring_an_offline_slot_online) {
    net n(1);
    n.rcu.quiescent(0);
    synchronize_rcu(n); // would wait for ever
}

TEST(rcu, readers_never_see_freed_memory) {
    net n(2);
    object* shared = new object{1, {}};
    std::atomic<bool> stop{false};
    std::atomic<int> bad{0};
    auto reader = [&](unsigned cpu) {
        softnet_data& sd = *n.softnet[cpu];
        softnet_loop_begin(sd);
        while (!stop.load(std::memory_order_relaxed)) {
            for (int i = 0; i < 50; ++i)
                bad += rcu_dereference(shared)->value <= 0;
            n.rcu.quiescent(cpu);
            flush_smp_call_function_queue(sd);
        }
        softnet_loop_end(sd);
    };
    std::thread a(reader, 0), b(reader, 1);
    freed = 0;
    for (int i = 2; i < 2000; ++i) {
        object* old = shared;
        rcu_assign_pointer(shared, new object{i, {}});
        if (i % 100 == 0) {
            synchronize_rcu(n);
            free_object(old);
        } else {
            call_rcu_free<object, free_object>(old);
        }
        rcu_do_batch(*this_softnet());
    }
    stop = true;
    a.join();
    b.join();
    rcu_barrier_all(n);
    EXPECT_EQ(freed, 1998);
    EXPECT_EQ(bad, 0);
    delete shared;
}

struct request {
    std::thread::id ran_on;
    unsigned cpu = 99;
    int calls = 0;
};
void serve(void* info) {
    auto* r = static_cast<request*>(info);
    r->ran_on = std::this_thread::get_id();
    r->cpu = this_softnet()->cpu;
    ++r->calls;
}

TEST(smp, idle_slot_is_served_in_its_name) {
    net n(2);
    request r;
    smp_call_function_single(n, 1, serve, &r);
    EXPECT_EQ(r.cpu, 1u);
    EXPECT_EQ(r.ran_on, std::this_thread::get_id());
    EXPECT_EQ(this_softnet(), n.softnet[2].get());
    on_each_cpu(n, serve, &r);
    EXPECT_EQ(r.calls, 4);
}

TEST(smp, running_slot_serves_itself_and_may_go_at_any_time) {
    net n(1);
    softnet_data& sd = *n.softnet[0];
    std::atomic<bool> stop{false};
    std::atomic<int> loops{0};
    std::thread worker([&] {
        while (!stop) { // comes and goes, so that requests meet it in every state
            softnet_loop_begin(sd);
            for (int i = 0; i < 20; ++i) {
                flush_smp_call_function_queue(sd);
                n.rcu.quiescent(0);
                ++loops;
            }
            softnet_loop_end(sd);
        }
    });
    request r;
    for (int i = 0; i < 5000 || loops < 500; ++i) {
        smp_call_function_single(n, 0, serve, &r);
        ASSERT_EQ(r.calls, i + 1);
        ASSERT_EQ(r.cpu, 0u);
    }
    stop = true;
    worker.join();
    EXPECT_GT(loops, 0);
}

TEST(timer_threads, set_and_deleted_from_another_thread) {
    net n(1);
    struct ticking {
        timer_list timer;
        std::atomic<int> fired{0};
    } t;
    t.timer.function = [](timer_list* l) { ++reinterpret_cast<ticking*>(l)->fired; };
    timer_base& base = n.softnet[0]->timers;
    std::atomic<bool> stop{false};
    std::thread owner([&] {
        softnet_enter(n.softnet[0].get());
        for (jiffies_t now = 0; !stop; ++now)
            run_timers(base, now, 0);
    });
    int armed = 0, disarmed = 0;
    for (int i = 0; i < 20000; ++i) {
        armed += !mod_timer_on(base, &t.timer, jiffies_t(i % 7 ? 0 : ~0u));
        if (i % 3 == 0)
            disarmed += del_timer(&t.timer);
    }
    disarmed += del_timer(&t.timer);
    stop = true;
    owner.join();
    EXPECT_EQ(armed, disarmed + t.fired); // each arming ended once
}

} // namespace
} // namespace slabfwd
