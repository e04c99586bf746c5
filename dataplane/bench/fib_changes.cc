// SPDX-License-Identifier: BSD-3-Clause
//
// Lookups at full rate beside changes of the table: 10,000 random additions and deletions a second,
// half of them of the table's own prefixes, half of longer ones inside them. One burst in eight
// asks for addresses whose answers are checked against a plain linear model: the longest prefix
// that is always there, or one of the changing ones that cover the address; nothing else may come.
// After the last change the answers have to be exactly the model's.
//
// Door: run_fib_changes(). Threads: the caller changes, as the control thread; one worker looks up.
#include <atomic>
#include <random>
#include <set>
#include <thread>

#include <time.h>

#include <fmt/format.h>

#include "dataplane/bench/bench_clock.h"
#include "dataplane/bench/fib_job.h"
#include "route/fib_lpm.h"

namespace slabfwd {

fib_config bench_route(prefix p, unsigned nh) {
    fib_config cfg;
    cfg.fc_nlflags = NLM_F_CREATE | NLM_F_EXCL;
    cfg.fc_dst = cpu_to_be32(p.addr);
    cfg.fc_dst_len = p.len;
    cfg.nexthops.resize(1);
    cfg.nexthops[0].has_gw = true;
    cfg.nexthops[0].gw = bench_next_hop(nh);
    return cfg;
}

namespace {

constexpr unsigned CHANGING = 4096, TRIES = 64 * CHANGING, CHECKED = 1024, CHECK_EVERY = 8;

bool covers(prefix p, uint32_t addr) {
    return p.len == 0 || (addr ^ p.addr) >> (32 - p.len) == 0;
}

struct changing_prefix {
    prefix p;
    unsigned nh;
    bool present;
};

/// What changes, CHANGING prefixes or as many as a small table has room for, and what may be
/// answered meanwhile.
class linear_model {
public:
    explicit linear_model(const std::vector<prefix>& routes) : routes_(routes) {
        std::set<std::pair<uint32_t, uint8_t>> all;
        for (const prefix& p : routes)
            all.emplace(p.addr, p.len);
        changes_.assign(routes.size(), false);
        for (unsigned tries = 0; tries < TRIES && changing.size() < CHANGING; ++tries) {
            const size_t at = rng_() % routes.size();
            prefix p = routes[at];
            if (!changes_[at] && (changing.size() % 2 == 0 || p.len >= 30)) {
                changes_[at] = true;
                changing.push_back({p, unsigned(at % BENCH_NEXT_HOPS), true});
            } else if (p.len < 30) {
                p.len = uint8_t(p.len + 1 + rng_() % (30u - p.len));
                p.addr |= uint32_t(rng_()) >> routes[at].len & ~0u << (32 - p.len);
                if (all.emplace(p.addr, p.len).second)
                    changing.push_back({p, unsigned(rng_() % BENCH_NEXT_HOPS), false});
            }
        }
        for (unsigned i = 0; i < CHECKED; ++i) {
            const prefix p = changing[rng_() % changing.size()].p;
            address.push_back(p.addr | (p.len < 32 ? uint32_t(rng_()) >> p.len : 0));
            permitted.push_back(permitted_for(address.back()));
        }
    }
    /// The next hop for an address as things are; NONE: no route.
    unsigned now(uint32_t addr) const {
        unsigned nh = 0;
        int len = constant(addr, &nh);
        for (const changing_prefix& c : changing)
            if (c.present && c.p.len > len && covers(c.p, addr)) {
                len = c.p.len;
                nh = c.nh;
            }
        return len < 0 ? NONE : nh;
    }
    static constexpr unsigned NONE = BENCH_NEXT_HOPS;
    std::vector<changing_prefix> changing;
    std::vector<uint32_t> address;
    std::vector<std::pair<uint64_t, bool>> permitted; ///< next hops as bits; "no route" too?

private:
    /// Length and next hop of the longest prefix that stays; -1: there is none.
    int constant(uint32_t addr, unsigned* nh) const {
        int len = -1;
        for (size_t i = 0; i < routes_.size(); ++i)
            if (routes_[i].len > len && covers(routes_[i], addr) && !changes_[i]) {
                len = routes_[i].len;
                *nh = unsigned(i % BENCH_NEXT_HOPS);
            }
        return len;
    }
    std::pair<uint64_t, bool> permitted_for(uint32_t addr) const {
        unsigned nh = 0;
        const int len = constant(addr, &nh);
        uint64_t bits = len < 0 ? 0 : uint64_t(1) << nh;
        for (const changing_prefix& c : changing)
            if (c.p.len > len && covers(c.p, addr))
                bits |= uint64_t(1) << c.nh;
        return {bits, len < 0};
    }
    const std::vector<prefix>& routes_;
    std::vector<bool> changes_;
    std::mt19937 rng_{17};
};

/// The worker that looks up.
class fib_reader {
public:
    fib_reader(net& n, const fib_job& job, const linear_model& m) : n_(n), model_(m) {
        for (uint32_t a : *job.addresses)
            addr_.push_back(cpu_to_be32(a));
        for (uint32_t a : m.address)
            checked_.push_back(cpu_to_be32(a));
    }
    void run(const std::atomic<bool>& stop) {
        softnet_data& sd = *n_.softnet[0];
        softnet_loop_begin(sd);
        const stopwatch watch;
        for (size_t turn = 0; !stop.load(std::memory_order_relaxed); ++turn) {
            if (turn % CHECK_EVERY == 0)
                check(turn / CHECK_EVERY * FIB_BURST % CHECKED);
            else
                look_up(&addr_[turn * FIB_BURST % FIB_ADDRESSES]);
            n_.rcu.quiescent(0);
            lookups += FIB_BURST;
        }
        cpu_ns = watch.cpu_ns();
        softnet_loop_end(sd);
    }
    /// The next hop that the table leads to, also when only the zones know.
    unsigned next_hop(const fib_leaf* leaf, be32_t daddr) const {
        const fib_info* fi = leaf->fi;
        if (!fi) {
            flowi4 fl4;
            fl4.daddr = daddr;
            fib_result res;
            if (fib_lookup(n_, &fl4, &res))
                return linear_model::NONE;
            fi = res.fi;
        }
        return be32_to_cpu(fi->fib_nh_[0].fib_nh_gw4) - be32_to_cpu(bench_next_hop(0));
    }
    const fib_lpm* lpm() const {
        const fib_table* tb = fib_get_table(n_, RT_TABLE_MAIN);
        return rcu_dereference(tb->tb_lpm);
    }
    uint64_t lookups = 0, cpu_ns = 0, wrong = 0, checked = 0, found = 0;

private:
    void look_up(const be32_t* addr) {
        const fib_leaf* leaf[FIB_BURST];
        fib_lpm_lookup_bulk(lpm(), addr, leaf, FIB_BURST);
        for (const fib_leaf* l : leaf)
            found += l->fi != nullptr;
    }
    void check(size_t at) {
        const fib_leaf* leaf[FIB_BURST];
        fib_lpm_lookup_bulk(lpm(), &checked_[at], leaf, FIB_BURST);
        for (unsigned i = 0; i < FIB_BURST; ++i) {
            const unsigned nh = next_hop(leaf[i], checked_[at + i]);
            const auto [bits, none] = model_.permitted[at + i];
            wrong += nh >= BENCH_NEXT_HOPS ? nh != linear_model::NONE || !none : !(bits >> nh & 1);
            ++checked;
        }
    }
    net& n_;
    const linear_model& model_;
    std::vector<be32_t> addr_, checked_;
};

/// 10,000 changes a second for so long; how many, or 0 when one was refused.
uint64_t change(net& n, linear_model& m, uint64_t ns) {
    std::mt19937 rng(23);
    const uint64_t begin = clock_ns(CLOCK_MONOTONIC);
    uint64_t done = 0;
    for (uint64_t now = begin; now < begin + ns; now = clock_ns(CLOCK_MONOTONIC)) {
        for (; done < (now - begin) * CHANGES_PER_SECOND / 1'000'000'000; ++done) {
            changing_prefix& c = m.changing[rng() % m.changing.size()];
            fib_config cfg = bench_route(c.p, c.nh);
            if (c.present)
                cfg.fc_nlflags = 0;
            if (c.present ? inet_rtm_delroute(n, cfg, nullptr) : inet_rtm_newroute(n, cfg, nullptr))
                return 0;
            c.present = !c.present;
        }
        n.rcu.quiescent(n.control_cpu());
        rcu_do_batch(*this_softnet());
        const timespec pause{0, 500'000};
        nanosleep(&pause, nullptr);
    }
    return done;
}

double mega_per_second(const fib_reader& r) {
    return double(r.lookups) / (double(r.cpu_ns) / 1e9) / 1e6;
}

} // namespace

void run_fib_changes(const fib_job& job, child_result& out) {
    route_cache_job none;
    none.routes = job.routes;
    auto b = bench_router::make(none);
    if (!b) {
        out.error = b.error();
        return;
    }
    net& n = b->n();
    if (!fib_get_table(n, RT_TABLE_MAIN)->tb_lpm) {
        out.error = "no memory for the compiled form";
        return;
    }
    linear_model model(*job.routes);
    auto phase = [&](uint64_t ns, bool changes, uint64_t* done) {
        fib_reader reader(n, job, model);
        std::atomic<bool> stop{false};
        std::thread worker([&] { reader.run(stop); });
        if (changes) {
            *done = change(n, model, ns);
        } else {
            const timespec span{time_t(ns / 1'000'000'000), long(ns % 1'000'000'000)};
            nanosleep(&span, nullptr);
        }
        stop = true;
        worker.join();
        return reader;
    };
    uint64_t changes = 0;
    const auto span = uint64_t(job.span_ns * 10);
    const fib_reader quiet = phase(span / 4, false, nullptr);
    const fib_reader beside = phase(span, true, &changes);
    uint64_t wrong = quiet.wrong + beside.wrong;
    for (uint32_t a : model.address)
        wrong += quiet.next_hop(fib_lpm_find(quiet.lpm(), cpu_to_be32(a)), cpu_to_be32(a)) !=
                 model.now(a);
    if (!changes)
        out.error = "a change was refused";
    out.samples = {{"changes", double(changes) / (double(span) / 1e9)},
                   {"quiet_lookups", mega_per_second(quiet)},
                   {"beside_lookups", mega_per_second(beside)},
                   {"checked", double(quiet.checked + beside.checked + CHECKED)},
                   {"wrong", double(wrong)}};
}

} // namespace slabfwd
