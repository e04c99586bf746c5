// SPDX-License-Identifier: BSD-3-Clause
//
// bench forward --port: the rate without a drop over real ports, two of the router's and two that
// are wired to them. See forward.h, forward_trial.h.
//
// Threads: the router's workers; the caller sends and counts (its ports are the tester's) and gives
// up its control slot for so long. Rates are by the clock on the wall.
#include <cstring>

#include <fmt/format.h>
#include <rte_ethdev.h>

#include "dataplane/bench/forward_trial.h"
#include "dataplane/control/control.h"

namespace slabfwd {

namespace {

/// Frames by hand into the tester's first port, whatever comes out of its others is counted.
class port_bed final : public test_bed {
public:
    port_bed(const router& r, std::vector<port*> tester) : r_(r), ports_(std::move(tester)) {}
    unsigned send(rte_mbuf** m, unsigned n) override {
        return rte_eth_tx_burst(ports_[0]->port_id, 0, m, uint16_t(n));
    }
    uint64_t received() override {
        for (port* p : ports_)
            for (uint16_t q = 0; q < p->nb_rx_queues; ++q)
                drain(*p, q);
        return received_;
    }
    bool refusal_is_loss() const override { return false; }
    bed_counters counters() const override { return bed_counters(r_); }

private:
    void drain(const port& p, uint16_t queue) {
        rte_mbuf* m[NET_RX_BURST];
        while (const uint16_t n = rte_eth_rx_burst(p.port_id, queue, m, NET_RX_BURST)) {
            for (unsigned i = 0; &p != ports_[0] && i < n; ++i) // IPv4; ARP is the router's own
                received_ += m[i]->data_len >= 34 &&
                             !std::memcmp(rte_pktmbuf_mtod_offset(m[i], char*, 12), "\x08", 2);
            rte_pktmbuf_free_bulk(m, n);
        }
    }

    const router& r_;
    std::vector<port*> ports_;
    uint64_t received_ = 0;
};

/// The tester's ports, in a net of their own: they are no ports of the router's, no worker polls
/// them. A net takes the thread that makes it into its control slot; the tester's is only entered
/// for as long as its ports are opened or closed.
class tester_ports {
public:
    tester_ports() : n_(1) {}
    tester_ports(const tester_ports&) = delete;
    ~tester_ports() {
        softnet_data* const slot = enter();
        for (const auto& p : ports_)
            port_close(*p);
        ports_.clear();
        softnet_enter(slot);
    }
    /// The error is a sentence.
    std::string open(const std::vector<port_config>& configs) {
        softnet_data* const slot = enter();
        std::string why;
        for (const port_config& c : configs)
            if (auto p = port_open(n_, c); p)
                ports_.push_back(std::move(*p));
            else if (why.empty())
                why = p.error();
        softnet_enter(slot);
        if (why.empty() && ports_.size() < 2)
            why = "--tester: two ports are wanted, one that sends and one that receives";
        return why;
    }
    std::vector<port*> list() const {
        std::vector<port*> out;
        for (const auto& p : ports_)
            out.push_back(p.get());
        return out;
    }

private:
    /// Returns the slot that the thread was in.
    softnet_data* enter() {
        softnet_data* const slot = this_softnet();
        softnet_enter(n_.softnet[n_.control_cpu()].get());
        return slot;
    }
    net n_;
    std::vector<std::unique_ptr<port>> ports_;
};

/// Opens the router's ports and loads the configuration; the error is a sentence.
std::string open_router(router& r, const forward_job& job, const std::vector<port_config>& ports) {
    for (const port_config& c : ports) {
        auto p = router_add_port(r, c);
        if (!p)
            return p.error();
        (*p)->keep_mac = job.keep_mac;
    }
    const auto loaded = control_load_file(r, job.config);
    return loaded ? std::string() : loaded.error();
}

/// Where the frames of the slowest trial that failed were lost, in percent of those sent.
void add_failed(const trial_result& t, child_result& out) {
    const uint64_t rx = std::min(t.sent, t.rx()), tx = t.after.tx - t.before.tx;
    out.samples.emplace_back("failed_loss", t.loss());
    out.samples.emplace_back("failed_before", t.percent(t.sent - rx));
    out.samples.emplace_back("failed_dropped", t.percent(t.dropped()));
    out.samples.emplace_back("failed_behind", t.percent(tx - std::min(tx, t.received)));
}

std::string search(router& r, frame_sequence& frames, const forward_job& job,
                   const tester_ports& tester, child_result& out) {
    port_bed bed(r, tester.list());
    r.n->rcu.offline(r.n->control_cpu()); // this thread reads no table: nobody shall wait for it
    const search_result s = search_rate(bed, frames, job);
    r.n->rcu.online(r.n->control_cpu());
    if (s.best == 0 && s.failed.sent == 0)
        return "the tester's first port takes no frame";
    if (s.best == 0)
        return fmt::format(
            "frames are lost at any rate: at {:.0f} a second, of {} sent the router received {}, "
            "dropped {} and sent {}, and {} came out",
            s.fails, s.failed.sent, s.failed.rx(), s.failed.dropped(),
            s.failed.after.tx - s.failed.before.tx, s.failed.received);
    out.samples.emplace_back("no_drop_mpps", s.best / 1e6);
    out.samples.emplace_back("fails_mpps", s.fails / 1e6);
    if (s.fails > 0)
        add_failed(s.failed, out);
    return {};
}

} // namespace

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
    if (!started || !frames) {
        out.error = !started ? started.error() : frames.error();
        return;
    }
    auto tester =
        std::make_unique<tester_ports>(); // before the router, whose slot is the later one
    auto made = router_create(ro);
    if (!made) {
        out.error = made.error();
        return;
    }
    router& r = **made;
    r.cores = job.cores;
    r.poll = true;
    out.error = open_router(r, job, ports.router);
    if (out.error.empty())
        out.error = tester->open(ports.tester);
    if (out.error.empty()) {
        router_start(r);
        out.error = search(r, *frames, job, *tester, out);
        router_stop(r);
    }
    tester.reset();
    if (const std::string left = router_destroy(std::move(*made));
        !left.empty() && out.error.empty())
        out.error = "not given back at the end: " + left;
}

} // namespace slabfwd
