// SPDX-License-Identifier: BSD-3-Clause
//
// A generator lcore that paces frames into the router: the rate without drops by binary search, in
// the manner of RFC 2544, and latency at shares of that rate. See forward.h.
//
// Each trial sends at one rate for a while and waits until nothing comes any more; what was sent
// and did not come was lost. Some bursts carry a stamp in their data: the TSC and the forwarding
// thread's CPU clock at the moment they were handed to the port. Taken away by the forwarding
// thread itself, right after the turn that sent them, they tell both times from rx to tx. A
// preempted generator skips what it missed; it sends no burst to catch up. Threads: generator and
// forwarder of their own; the caller is the control slot (route changes).
#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <pthread.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_pause.h>
#include <rte_ring.h>

#include "dataplane/bench/bench_clock.h"
#include "dataplane/bench/forward.h"
#include "dataplane/control/control.h"
#include "dataplane/summary.h"
#include "neigh/packet_work.h"

namespace slabfwd {

namespace {

constexpr uint64_t STAMP_MAGIC = 0x51abf0d51abf0d5a;
constexpr unsigned STAMP_AT = 42, STAMP_END = 60; ///< behind the UDP header, in the shortest frame
constexpr unsigned STAMP_EVERY = 16;              ///< bursts; the rest pay no clock

struct [[gnu::packed]] stamp {
    uint64_t tsc, cpu_ns;
    uint16_t magic;
};
static_assert(STAMP_AT + sizeof(stamp) <= STAMP_END);

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

/// Where a trial's frames go in and come out.
class test_bed {
public:
    virtual ~test_bed() = default;
    /// Hands n frames over; those not taken stay the caller's. Generator.
    virtual unsigned send(rte_mbuf** m, unsigned n) = 0;
    /// Frames that came out so far. Generator; it is where a tester's ports are emptied.
    virtual uint64_t received() = 0;
    /// The forwarding thread's CPU clock, where frames are stamped with it.
    virtual std::optional<clockid_t> stamp_clock() const { return std::nullopt; }
};

/// The router's ring ports, with a forwarder of our own.
class ring_bed final : public test_bed {
public:
    ring_bed(forward_router& f, const forward_job& job) : f_(f), job_(job) {
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
    std::optional<clockid_t> stamp_clock() const override { return clock_; }
    /// Where times go from now on; only between trials.
    void measure(latencies* to) { latencies_.store(to, std::memory_order_release); }

private:
    void forward() {
        rte_thread_register();
        if (!job_.cores.empty()) {
            cpu_set_t set;
            CPU_ZERO(&set);
            CPU_SET(size_t(job_.cores[0]), &set);
            pthread_setaffinity_np(pthread_self(), sizeof set, &set);
        }
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
        auto& bed = *static_cast<ring_bed*>(self);
        latencies* to = bed.latencies_.load(std::memory_order_acquire);
        uint64_t tsc = 0, cpu = 0;
        for (unsigned i = 0; to && i < n; ++i) {
            stamp s;
            if (m[i]->data_len < STAMP_END)
                continue;
            std::memcpy(&s, rte_pktmbuf_mtod_offset(m[i], const char*, STAMP_AT), sizeof s);
            if (s.magic != uint16_t(STAMP_MAGIC))
                continue;
            if (!tsc) {
                tsc = __rdtsc();
                cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
            }
            to->add(tsc - std::min(tsc, s.tsc),
                    uint64_t(double(cpu - std::min(cpu, s.cpu_ns)) * tsc_ghz()));
        }
    }

    forward_router& f_;
    const forward_job& job_;
    std::thread thread_;
    clockid_t clock_{};
    std::atomic<bool> ready_{false}, stop_{false};
    std::atomic<uint64_t> received_{0};
    std::atomic<latencies*> latencies_{nullptr};
};

struct trial_result {
    uint64_t sent = 0, received = 0;
    double pps = 0; ///< that were really sent

    double loss() const {
        return sent ? 100.0 * double(sent - std::min(sent, received)) / double(sent) : 100;
    }
};

void write_stamp(rte_mbuf* m, uint64_t cpu_ns) {
    const stamp s{__rdtsc(), cpu_ns, uint16_t(STAMP_MAGIC)};
    std::memcpy(rte_pktmbuf_mtod_offset(m, char*, STAMP_AT), &s, sizeof s);
}

/// Sends at `pps` for `span_ns`, then waits for what is still under way.
trial_result run_trial(test_bed& bed, frame_sequence& frames, double pps, uint64_t span_ns,
                       bool stamps) {
    const double hz = tsc_ghz() * 1e9;
    const uint64_t received0 = bed.received(), begin = __rdtsc(),
                   end = begin + uint64_t(double(span_ns) * tsc_ghz());
    const double gap = hz / pps; // cycles between two frames
    double next = double(begin);
    trial_result r;
    uint64_t now = begin, bursts = 0;
    rte_mbuf* m[NET_RX_BURST];
    for (; now < end; now = __rdtsc()) {
        if (double(now) < next) {
            bed.received();
            rte_pause();
            continue;
        }
        if (double(now) - next >
            64 * gap + hz / 1e5) // we were not there: time lost is not made good
            next = double(now);
        const auto n = unsigned(std::min(1 + (double(now) - next) / gap, double(NET_RX_BURST)));
        next += n * gap;
        if (rte_pktmbuf_alloc_bulk(pktmbuf_pool(), m, n) != 0) {
            r.sent += n; // they could not be sent: the router holds all buffers
            continue;
        }
        frames.fill(m, n);
        const auto clock = bed.stamp_clock();
        if (stamps && clock && ++bursts % STAMP_EVERY == 0) {
            const uint64_t cpu = clock_ns(*clock);
            for (unsigned i = 0; i < n; ++i)
                write_stamp(m[i], cpu);
        }
        const unsigned taken = bed.send(m, n);
        rte_pktmbuf_free_bulk(m + taken, n - taken);
        r.sent += n;
    }
    r.pps = double(r.sent) / (double(now - begin) / hz);
    uint64_t seen = bed.received();
    for (uint64_t quiet = __rdtsc(); double(__rdtsc() - quiet) < hz / 50;) // 20 ms of silence
        if (const uint64_t more = bed.received(); more != seen) {
            seen = more;
            quiet = __rdtsc();
        }
    r.received = seen - received0;
    return r;
}

/// The highest rate at which a trial loses nothing, to 2 %. A trial that loses is repeated twice:
/// on a shared machine others may have had the CPU.
double search_rate(test_bed& bed, frame_sequence& frames, const forward_job& job, double* tried) {
    auto passes = [&](double pps, double* real) {
        for (unsigned again = 0; again < 3; ++again) {
            const trial_result t = run_trial(bed, frames, pps, job.span_ns / 4, false);
            *real = t.pps;
            if (t.loss() <= job.loss)
                return true;
        }
        return false;
    };
    run_trial(bed, frames, 1e5, job.span_ns / 4, false); // neighbours and cache
    double low = 0, high = 0, real = 0, best = 0;
    for (double pps = 1e5; pps < 1e9 && !high; pps *= 2) {
        if (!passes(pps, &real)) {
            high = pps;
        } else {
            low = pps;
            best = std::max(best, real);
            if (real < pps * 0.9) // the generator cannot send faster
                break;
        }
    }
    *tried = high ? high : best;
    while (high && high - low > 0.02 * high) {
        const double middle = (low + high) / 2;
        if (passes(middle, &real)) {
            low = middle;
            best = std::max(best, real);
            if (real < middle * 0.9)
                break;
        } else {
            high = middle;
        }
    }
    return best;
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
}

/// Changes routes for as long as it is asked to: one at a time, and a table of many in one go,
/// again and again.
class route_churn {
public:
    route_churn(net& n, unsigned routes) : n_(n), routes_(routes) {}
    std::string why;
    uint64_t changes = 0, reloads = 0;

    void turn() {
        if (!why.empty())
            return;
        if (++turns_ % 64) {
            execute(fmt::format("ip route replace 12.200.{}.0/24 via 10.1.0.{}", turns_ & 255,
                                2 + (turns_ >> 8 & 63)));
            return;
        }
        ++reloads;
        const std::lock_guard rtnl(n_.rtnl);
        rt_genid_batch_begin(n_);
        for (unsigned i = 0; i < routes_ && why.empty(); ++i)
            execute(fmt::format("ip route replace 13.{}.{}.0/24 via 10.1.0.{}", i >> 8 & 255,
                                i & 255, 2 + reloads % 200));
        rt_genid_batch_end(n_);
    }

private:
    void execute(const std::string& line) {
        ++changes;
        if (const control_result r = control_execute(n_, line); r.rc)
            why = line + ": " + r.err;
    }
    net& n_;
    unsigned routes_, turns_ = 0;
};

void add_work_max(const net& n, child_result& out) {
    const char* names[] = {"work_entries", "work_routes", "work_rules"};
    for (unsigned k = 0; k < unsigned(packet_work::MAX); ++k)
        out.samples.emplace_back(names[k], packet_work_most(packet_work(k)));
    out.samples.emplace_back("work_collected", READ_ONCE(n.softnet[0]->rt_shard->gc_looked_max));
}

/// The generator's part: rates, then times.
void latency_trials(ring_bed& bed, frame_sequence& frames, const forward_job& job,
                    std::atomic<bool>& churning, child_result& out) {
    double limit = 0;
    const double rate = search_rate(bed, frames, job, &limit);
    out.samples.emplace_back("no_drop_mpps", rate / 1e6);
    struct {
        const char* name;
        double share;
        bool churn;
    } const trials[] = {
        {"10%", 0.1, false}, {"50%", 0.5, false}, {"90%", 0.9, false}, {"50%+churn", 0.5, true}};
    for (const auto& t : trials) {
        auto times = std::make_unique<latencies>();
        churning = t.churn;
        bed.measure(times.get());
        const trial_result r = run_trial(bed, frames, std::max(rate * t.share, 1000.0),
                                         job.span_ns * (t.churn ? 4 : 1), true);
        bed.measure(nullptr);
        add_latencies(*times, t.name, out);
        out.samples.emplace_back(fmt::format("{}_loss", t.name), r.loss());
        out.samples.emplace_back(fmt::format("{}_stamped", t.name), double(times->wall.total()));
    }
}

/// Frames by hand into the tester's first port, whatever comes out of its others is counted.
class port_bed final : public test_bed {
public:
    explicit port_bed(std::vector<port*> tester) : ports_(std::move(tester)) {}
    unsigned send(rte_mbuf** m, unsigned n) override {
        return rte_eth_tx_burst(ports_[0]->port_id, 0, m, uint16_t(n));
    }
    uint64_t received() override {
        rte_mbuf* m[NET_RX_BURST];
        for (port* p : ports_)
            while (const uint16_t n = rte_eth_rx_burst(p->port_id, 0, m, NET_RX_BURST)) {
                for (unsigned i = 0; p != ports_[0] && i < n;
                     ++i) // IPv4 that is not ours to begin with
                    received_ += m[i]->data_len >= 34 &&
                                 !std::memcmp(rte_pktmbuf_mtod_offset(m[i], char*, 12), "\x08", 2);
                rte_pktmbuf_free_bulk(m, n);
            }
        return received_;
    }

private:
    std::vector<port*> ports_;
    uint64_t received_ = 0;
};

} // namespace

void run_forward_latency(const forward_job& given, child_result& out) {
    forward_job job = given;
    job.lanes = 1;
    auto made = forward_router::make(job);
    auto frames = frame_sequence::make(job.mix, 0);
    if (!made || !frames) {
        out.error = made ? frames.error() : made.error();
        return;
    }
    forward_router& f = *made;
    route_churn churn(f.n(), job.churn_routes);
    {
        ring_bed bed(f, job);
        std::atomic<bool> done{false}, churning{false};
        std::thread generator([&] {
            rte_thread_register();
            latency_trials(bed, *frames, job, churning, out);
            rte_thread_unregister();
            done = true;
        });
        while (!done) {
            if (churning) {
                churn.turn();
            } else {
                const timespec ms{0, 1'000'000};
                nanosleep(&ms, nullptr);
            }
            f.n().rcu.quiescent(f.n().control_cpu());
            rcu_do_batch(*f.n().softnet[f.n().control_cpu()]);
        }
        generator.join();
    }
    out.samples.emplace_back("route_changes", double(churn.changes));
    add_work_max(f.n(), out);
    if (!churn.why.empty())
        out.error = churn.why;
    forward_end(f, out);
}

void run_forward_ports(const forward_job& job, const search_ports_job& ports, child_result& out) {
    eal_options options;
    options.no_huge = job.no_huge;
    for (const auto* list : {&ports.router, &ports.tester})
        for (const port_config& c : *list)
            options.pci |= c.devargs.substr(0, c.devargs.find(',')).find(':') != std::string::npos;
    auto frames = frame_sequence::make(job.mix, 0);
    const auto started = eal_start(options);
    router_options ro;
    ro.seed = 1;
    auto made = started ? router_create(ro) : tl::expected<std::unique_ptr<router>, std::string>();
    if (!started || !made || !frames) {
        out.error = !started ? started.error() : !made ? made.error() : frames.error();
        return;
    }
    router& r = **made;
    r.cores = job.cores;
    r.poll = true;
    // The tester's ports are no ports of the router's: no worker polls them.
    net tester_net(1);
    std::vector<std::unique_ptr<port>> tester;
    for (const port_config& c : ports.router)
        if (auto p = router_add_port(r, c); !p)
            out.error = p.error();
        else
            (*p)->keep_mac = job.keep_mac;
    for (const port_config& c : ports.tester)
        if (auto p = port_open(tester_net, c); !p)
            out.error = p.error();
        else
            tester.push_back(std::move(*p));
    if (out.error.empty())
        if (auto loaded = control_load_file(r, job.config); !loaded)
            out.error = loaded.error();
    if (out.error.empty()) {
        router_start(r);
        std::vector<port*> list;
        for (const auto& p : tester)
            list.push_back(p.get());
        port_bed bed(list);
        r.n->rcu.offline(
            r.n->control_cpu()); // this thread reads no table: nobody shall wait for it
        double limit = 0;
        out.samples.emplace_back("no_drop_mpps", search_rate(bed, *frames, job, &limit) / 1e6);
        router_stop(r);
    }
    for (const auto& p : tester)
        port_close(*p);
    tester.clear();
    if (const std::string left = router_destroy(std::move(*made));
        !left.empty() && out.error.empty())
        out.error = "not given back at the end: " + left;
}

} // namespace slabfwd
