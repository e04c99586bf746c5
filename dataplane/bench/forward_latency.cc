// SPDX-License-Identifier: BSD-3-Clause
//
// bench forward --latency: a generator lcore paces frames into the router over net_ring; the rate
// without a drop, latency at shares of it, and what becomes of it while routes change, a large
// table is loaded and the route cache collects. See forward.h, forward_trial.h.
//
// Some bursts carry a stamp in their data: the TSC and the forwarding thread's CPU clock at the
// moment they were handed to the port. Taken away by the forwarding thread itself, right after the
// turn that sent them, they tell both times from rx to tx. Threads: generator and forwarder of
// their own; the caller is the control slot (route changes). The forwarder has a CPU to itself
// wherever there are two, the others share the rest.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include <fmt/format.h>
#include <pthread.h>
#include <rte_lcore.h>
#include <rte_pause.h>
#include <rte_ring.h>

#include "alloc/page_ahead.h"
#include "dataplane/bench/forward_trial.h"
#include "dataplane/control/control.h"
#include "neigh/packet_work.h"
#include "route/route.h"

namespace slabfwd {

namespace {

/// Times in cycles.
struct latencies {
    latency_histogram wall, cpu;
    uint64_t wall_max = 0, cpu_max = 0;

    void add(uint64_t w, uint64_t c) {
        wall.add(w);
        cpu.add(c);
        wall_max = std::max(wall_max, w);
        cpu_max = std::max(cpu_max, c);
    }
};

/// CPUs for the forwarder and for all others, where the process may use two.
struct cpu_plan {
    cpu_set_t forwarder, others;

    explicit cpu_plan(const std::vector<int>& cores) {
        cpu_set_t all;
        CPU_ZERO(&all);
        sched_getaffinity(0, sizeof all, &all);
        int last = 0;
        for (int c = 0; c < CPU_SETSIZE; ++c)
            last = CPU_ISSET(c, &all) ? c : last;
        const int own = cores.empty() ? last : cores[0];
        CPU_ZERO(&forwarder);
        CPU_SET(own, &forwarder);
        others = all;
        CPU_CLR(own, &others);
        if (!CPU_COUNT(&others))
            forwarder = others = all;
    }
};

void run_on(const cpu_set_t& set) {
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

/// The router's ring ports, with a forwarder of our own.
class ring_bed final : public test_bed {
public:
    ring_bed(forward_router& f, const forward_job& job, const cpu_plan& cpus)
        : f_(f), job_(job), cpus_(cpus) {
        thread_ = std::thread([this] { forward(); });
        while (!ready_.load(std::memory_order_acquire))
            rte_pause();
    }
    ~ring_bed() override {
        stop_ = true;
        thread_.join();
    }
    unsigned send(rte_mbuf** m, unsigned n) override {
        return rte_ring_enqueue_burst(f_.in(0).ring_in, reinterpret_cast<void**>(m), n, nullptr);
    }
    uint64_t received() override { return received_.load(std::memory_order_acquire); }
    unsigned waiting() const override { return rte_ring_count(f_.in(0).ring_in); }
    std::optional<clockid_t> forwarder_clock() const override { return clock_; }
    bed_counters counters() const override { return bed_counters(*f_.r); }
    /// Where times go from now on; only between trials.
    void measure(latencies* to) { latencies_.store(to, std::memory_order_release); }

private:
    void forward() {
        rte_thread_register();
        run_on(cpus_.forwarder);
        worker& w = *f_.r->workers[0];
        softnet_loop_begin(*w.sd);
        pthread_getcpuclockid(pthread_self(), &clock_);
        ready_.store(true, std::memory_order_release);
        while (!stop_.load(std::memory_order_relaxed)) {
            worker_turn(w, uint64_t(double(__rdtsc()) / tsc_ghz()));
            if (const unsigned n = take_away(f_, 0, job_.arp_answer, seen, this))
                received_.store(received_.load(std::memory_order_relaxed) + n,
                                std::memory_order_release);
        }
        softnet_loop_end(*w.sd);
        rte_thread_unregister();
    }
    static void seen(void* self, rte_mbuf** m, unsigned n) {
        latencies* to = static_cast<ring_bed*>(self)->latencies_.load(std::memory_order_acquire);
        uint64_t tsc = 0, cpu = 0;
        for (unsigned i = 0; to && i < n; ++i) {
            const auto s = read_stamp(m[i]);
            if (!s)
                continue;
            if (!tsc) {
                tsc = __rdtsc();
                cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
            }
            to->add(tsc - std::min<uint64_t>(tsc, s->tsc),
                    uint64_t(double(cpu - std::min<uint64_t>(cpu, s->cpu_ns)) * tsc_ghz()));
        }
    }

    forward_router& f_;
    const forward_job& job_;
    const cpu_plan& cpus_;
    std::thread thread_;
    clockid_t clock_{};
    std::atomic<bool> ready_{false}, stop_{false};
    std::atomic<uint64_t> received_{0};
    std::atomic<latencies*> latencies_{nullptr};
};

enum class churn : uint8_t {
    none,
    paced, ///< churn_rate routes a second one by one, and a table of churn_routes each second
    storm  ///< as fast as the control thread can
};

/// Changes routes: one at a time, and a table of many in one go, again and again.
class route_churn {
public:
    route_churn(net& n, const forward_job& job) : n_(n), job_(job) {}
    std::string why; ///< the first change that failed
    std::atomic<uint64_t> changes{0}, reloads{0};

    /// What the control thread does from now on. Generator; returns when what it did has ended.
    void set(churn m) {
        mode_ = m;
        while (m == churn::none && was_ != m)
            rte_pause();
    }

    /// A step of the control thread's; sleeps when nothing is due.
    void turn() {
        const churn m = mode_;
        const uint64_t now = clock_ns(CLOCK_MONOTONIC);
        if (was_.exchange(m) != m)
            change_at_ = reload_at_ = now;
        if (m == churn::storm && why.empty())
            return ++turns_ % 64 ? change() : reload();
        if (m == churn::paced && why.empty() && reload_at_ <= now) {
            reload_at_ = now + 1'000'000'000;
            return reload();
        }
        if (m == churn::paced && why.empty() && change_at_ <= now) {
            change_at_ += 1'000'000'000 / job_.churn_rate;
            ++turns_;
            return change();
        }
        const timespec pause{0, 200'000};
        nanosleep(&pause, nullptr);
    }

private:
    void change() {
        execute(fmt::format("ip route replace 12.200.{}.0/24 via 10.1.0.{}", turns_ & 255,
                            2 + (turns_ >> 8 & 63)));
    }
    void reload() {
        ++reloads;
        const std::lock_guard rtnl(n_.rtnl);
        rt_genid_batch_begin(n_);
        for (unsigned i = 0; i < job_.churn_routes && why.empty(); ++i)
            execute(fmt::format("ip route replace 13.{}.{}.0/24 via 10.1.0.{}", i >> 8 & 255,
                                i & 255, 2 + reloads % 200));
        rt_genid_batch_end(n_);
    }
    void execute(const std::string& line) {
        ++changes;
        if (const control_result r = control_execute(n_, line); r.rc)
            why = line + ": " + r.err;
    }
    net& n_;
    const forward_job& job_;
    unsigned turns_ = 0;
    uint64_t change_at_ = 0, reload_at_ = 0;
    std::atomic<churn> mode_{churn::none}, was_{churn::none};
};

void add_work_max(const net& n, child_result& out) {
    const char* names[] = {"work_entries", "work_routes", "work_rules"};
    for (unsigned k = 0; k < unsigned(packet_work::MAX); ++k)
        out.samples.emplace_back(names[k], packet_work_most(packet_work(k)));
    out.samples.emplace_back("work_collected", READ_ONCE(n.softnet[0]->rt_shard->gc_looked_max));
}

void add_latencies(const latencies& l, const std::string& at, child_result& out) {
    const auto us = [](uint64_t cycles) { return double(cycles) / tsc_ghz() / 1e3; };
    for (const auto& [name, h, most] :
         {std::tuple("cpu", &l.cpu, l.cpu_max), std::tuple("wall", &l.wall, l.wall_max)}) {
        out.samples.emplace_back(fmt::format("{}_{}_p50", at, name), us(h->quantile(0.5)));
        out.samples.emplace_back(fmt::format("{}_{}_p99", at, name), us(h->quantile(0.99)));
        out.samples.emplace_back(fmt::format("{}_{}_p99.9", at, name), us(h->quantile(0.999)));
        out.samples.emplace_back(fmt::format("{}_{}_max", at, name), us(most));
    }
    out.samples.emplace_back(at + "_stamped", double(l.wall.total()));
}

void add_trial(const trial_result& r, const forward_job& job, const std::string& at,
               child_result& out) {
    const auto add = [&](const char* metric, double value) {
        out.samples.emplace_back(fmt::format("{}_{}", at, metric), value);
    };
    const uint64_t taken = r.sent - r.no_buffer - r.refused;
    add("sent_mpps", r.pps / 1e6);
    add("loss", r.loss());
    add("lost_no_buffer", r.percent(r.no_buffer));
    add("lost_ring_full", r.percent(r.refused - r.refused_off_cpu));
    add("lost_off_cpu", r.percent(r.refused_off_cpu));
    add("lost_dropped", r.percent(r.dropped()));
    add("lost_unexplained", r.percent(taken - std::min(taken, r.received + r.dropped())));
    add("off_cpu",
        100 - 100 * std::min(1.0, double(r.cpu_ns) / double(std::max<uint64_t>(r.wall_ns, 1))));
    add("generator_off_cpu",
        100.0 * double(r.away_ns) /
            double(std::max<uint64_t>(job.pace_by_wall ? r.wall_ns : r.cpu_ns, 1)));
    add("hit_ratio",
        100.0 * double(r.after.hits - r.before.hits) / double(std::max<uint64_t>(r.rx(), 1)));
    add("collects", double(r.collects()));
}

/// What runs beside a trial.
struct latency_trial {
    const char* name;
    double share; ///< of the rate without a drop
    churn routes = churn::none;
    enum { none, some, collecting } strangers = none; ///< see below
};
/// Strangers are flows that never repeat, a tenth of the frames. `some`: the cache grows, its
/// memory comes from the system. `collecting`: it has grown until it collected.
constexpr latency_trial TRIALS[] = {
    {"10%", 0.1},
    {"50%", 0.5},
    {"90%", 0.9},
    {"50%+changes", 0.5, churn::paced},
    {"50%+storm", 0.5, churn::storm},
    {"50%+strangers", 0.5, churn::none, latency_trial::some},
    {"50%+collecting", 0.5, churn::none, latency_trial::collecting}};

/// Trials, at most, until one sees the cache collect. Beyond gc_thresh it admits few strangers:
/// where frames go slowly, not every trial does.
constexpr unsigned MOST_TO_COLLECT = 40;

/// Strangers until the cache has grown so far that it collects.
void fill_cache(ring_bed& bed, frame_sequence& strangers, const trial_plan& plan) {
    for (unsigned i = 0; i < MOST_TO_COLLECT && !run_trial(bed, strangers, plan).collects(); ++i)
        ;
}

/// A trial, and the latencies of its stamped frames.
struct measured_trial {
    std::unique_ptr<latencies> times = std::make_unique<latencies>();
    trial_result r;

    measured_trial(ring_bed& bed, frame_sequence& sent, const trial_plan& plan) {
        bed.measure(times.get());
        r = run_trial(bed, sent, plan);
        bed.measure(nullptr);
    }
};

/// The generator's part: rates, then times.
void latency_trials(ring_bed& bed, frame_sequence& frames, frame_sequence& with_strangers,
                    const forward_job& job, route_churn& churning, child_result& out) {
    const search_result rate = search_rate(bed, frames, job);
    out.samples.emplace_back("no_drop_mpps", rate.best / 1e6);
    out.samples.emplace_back("fails_mpps", rate.fails / 1e6);
    if (rate.best == 0) {
        out.error = "frames are lost at any rate";
        return;
    }
    for (const latency_trial& t : TRIALS) {
        const bool beside = t.routes != churn::none || t.strangers != latency_trial::none;
        frame_sequence& sent = t.strangers != latency_trial::none ? with_strangers : frames;
        trial_plan plan{std::max(rate.best * t.share, 1000.0), job.span_ns, job.pace_by_wall};
        if (t.strangers == latency_trial::collecting)
            fill_cache(bed, sent, plan);
        plan.span_ns *= beside ? 4 : 1;
        plan.stamps = true;
        const uint64_t changes = churning.changes, reloads = churning.reloads;
        churning.set(t.routes);
        measured_trial m(bed, sent, plan);
        if (t.strangers == latency_trial::collecting)
            for (unsigned i = 0; i < MOST_TO_COLLECT && !m.r.collects(); ++i)
                m = measured_trial(bed, sent, plan);
        churning.set(churn::none);
        add_latencies(*m.times, t.name, out);
        add_trial(m.r, job, t.name, out);
        out.samples.emplace_back(fmt::format("{}_route_changes", t.name),
                                 double(churning.changes - changes));
        out.samples.emplace_back(fmt::format("{}_reloads", t.name),
                                 double(churning.reloads - reloads));
    }
}

} // namespace

void run_forward_latency(const forward_job& given, child_result& out) {
    forward_job job = given;
    job.lanes = 1;
    frame_mix strange = job.mix;
    strange.misses =
        std::min(strange.misses + 10, 100 - strange.options - strange.ttl1 - strange.fragments);
    auto made = forward_router::make(job);
    auto frames = frame_sequence::make(job.mix, 0);
    auto strangers = frame_sequence::make(strange, 0);
    if (!made || !frames || !strangers) {
        out.error = !made ? made.error() : !frames ? frames.error() : strangers.error();
        return;
    }
    forward_router& f = *made;
    net& n = f.n();
    const cpu_plan cpus(job.cores);
    run_on(cpus.others);
    route_churn churning(n, job);
    {
        const page_ahead ahead; // as beside a running router's workers
        ring_bed bed(f, job, cpus);
        std::atomic<bool> done{false};
        std::thread generator([&] {
            rte_thread_register();
            latency_trials(bed, *frames, *strangers, job, churning, out);
            rte_thread_unregister();
            done = true;
        });
        while (!done) {
            churning.turn();
            n.rcu.quiescent(n.control_cpu());
            rcu_do_batch(*n.softnet[n.control_cpu()]);
        }
        generator.join();
    }
    add_work_max(n, out);
    if (!churning.why.empty())
        out.error = churning.why;
    forward_end(f, out);
}

} // namespace slabfwd
