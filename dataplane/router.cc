// SPDX-License-Identifier: BSD-3-Clause
//
// A router's life: tables, ports, workers, and the way back, after which nothing may be left.
// Door: router_create .. router_destroy. Threads: control thread.
#include "dataplane/netfilter/hook_plugin.h"
#include "dataplane/router.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <ctime>
#include <map>

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_mempool.h>
#include <sched.h>

#include "alloc/slabinfo.h"
#include "dataplane/ip/ip.h"
#include "dataplane/netfilter/netfilter.h"
#include "neigh/neighbour.h"
#include "route/route.h"

namespace slabfwd {

namespace {

using error = tl::unexpected<std::string>;

uint64_t clock_ns(clockid_t id) {
    timespec ts;
    clock_gettime(id, &ts);
    return uint64_t(ts.tv_sec) * NSEC_PER_SEC + uint64_t(ts.tv_nsec);
}

void start_slots(net& n, uint64_t seed, std::optional<uint64_t> clock_start_ns) {
    if (seed) // else by the system's random numbers, as the net was made
        prandom_seed(n, seed);
    uint64_t hz = rte_get_tsc_hz(), tsc = rte_rdtsc();
    uint64_t now = tsc / hz * NSEC_PER_SEC + tsc % hz * NSEC_PER_SEC / hz;
    for (auto& sd : n.softnet) {
        sd->real_offset_ns = clock_start_ns ? 0 : clock_ns(CLOCK_REALTIME) - now;
        sd->now_ns = clock_start_ns.value_or(now);
        sd->jiffies = nsecs_to_jiffies(sd->now_ns);
    }
}

/// A new port's queues go to the workers in turn; the first queue's worker owns the port.
tl::expected<port*, std::string> adopt(router& r, std::unique_ptr<port> p) {
    if (r.rps && p->nb_rx_queues < r.workers.size())
        if (std::string why = rps_init(*p, unsigned(r.workers.size())); !why.empty()) {
            port_close(*p);
            return error(fmt::format("port {}: {}", p->dev.name, why));
        }
    size_t next = r.ports.size();
    for (uint16_t q = 0; q < p->nb_rx_queues; ++q) {
        unsigned cpu = unsigned((next + q) % r.workers.size());
        p->rx_owner[q] = cpu;
        r.workers[cpu]->rx.push_back({p.get(), q});
    }
    p->dev.owner = p->rx_owner[0];
    p->tx_queue[p->dev.owner] = 0;
    uint16_t txq = 1;
    for (unsigned cpu = 0; cpu < r.workers.size() && txq < p->nb_tx_queues; ++cpu)
        if (p->tx_queue[cpu] < 0)
            p->tx_queue[cpu] = txq++;
    for (auto& w : r.workers)
        w->ports.push_back(p.get());
    r.ports.push_back(std::move(p));
    return r.ports.back().get();
}

using slab_counts = std::map<std::string, size_t>;

slab_counts count_objects() {
    slab_counts counts;
    for (const slabinfo& s : slabinfo_list())
        counts[s.name] = s.active_objs - std::min(s.active_objs, s.array_objs);
    return counts;
}

/// What is allocated beyond `before`, as "slab NAME: n objects", or "". What the allocator needs itself (its
/// arrays, what describes its slabs and caches) stays as long as caches do.
std::string leftovers(const slab_counts& before) {
    std::string left;
    for (const auto& [name, n] : count_objects()) {
        auto it = before.find(name);
        size_t base = it == before.end() ? 0 : it->second;
        bool own = name.rfind("kmem_cache", 0) == 0 || name.rfind("slab_freelist", 0) == 0;
        if (n > base && !own)
            left += fmt::format("{}slab {}: {} objects", left.empty() ? "" : ", ", name, n - base);
    }
    if (unsigned n = rte_mempool_in_use_count(pktmbuf_pool()))
        left += fmt::format("{}{} packet buffers", left.empty() ? "" : ", ", n);
    return left;
}

} // namespace

tl::expected<std::unique_ptr<router>, std::string> router_create(const router_options& o) {
    auto r = std::make_unique<router>();
    r->slabs_before = count_objects();
    r->rps = o.rps;
    if (int rc = pktmbuf_pool_init(o.nr_mbufs))
        return error(fmt::format("no memory for {} packet buffers: {}", o.nr_mbufs, std::strerror(-rc)));
    r->n = std::make_unique<net>(o.nr_workers);
    net& n = *r->n;
    start_slots(n, o.seed, o.clock_start_ns);
    softnet_enter(n.softnet[n.control_cpu()].get());
    if (neigh_table_init(n) || nf_net_init(n) || ip_rt_init(n, o.rhash_entries) || ip_init(n) ||
        !loopback_create(n) || dev_change_flags(n.loopback_dev, IFF_UP, IFF_UP))
        return error("no memory for the tables");
    for (unsigned cpu = 0; cpu < o.nr_workers; ++cpu) {
        auto w = std::make_unique<worker>();
        w->sd = n.softnet[cpu].get();
        r->workers.push_back(std::move(w));
    }
    return r;
}

tl::expected<void, std::string> router_load_hooks(router& r, const std::vector<std::string>& paths) {
    for (const std::string& path : paths) {
        auto plugin = hook_plugin_load(*r.n, path);
        if (!plugin)
            return error(plugin.error());
        r.plugins.push_back(std::move(*plugin));
    }
    return {};
}

tl::expected<port*, std::string> router_add_port(router& r, const port_config& config) {
    port_config c = config;
    c.workers = uint16_t(r.workers.size());
    auto p = port_open(*r.n, c);
    if (!p)
        return error(p.error());
    return adopt(r, std::move(*p));
}

tl::expected<port*, std::string> router_add_ring_port(router& r, const std::string& name,
                                                      unsigned ring_size) {
    auto p = port_open_rings(*r.n, name, unsigned(r.ports.size()), ring_size);
    if (!p)
        return error(p.error());
    return adopt(r, std::move(*p));
}

void router_start(router& r) {
    r.ahead = std::make_unique<page_ahead>();
    for (size_t i = 0; i < r.workers.size(); ++i) {
        worker& w = *r.workers[i];
        w.poll = r.poll;
        w.core = i < r.cores.size() ? r.cores[i] : -1;
        w.stop = false;
        r.threads.emplace_back([&w] { worker_run(w); });
    }
    for (auto& w : r.workers)
        while (!w->sd->running.load(std::memory_order_acquire))
            std::this_thread::yield();
    r.running = true;
}

void router_stop(router& r) {
    for (auto& w : r.workers)
        w->stop = true;
    for (std::thread& t : r.threads)
        t.join();
    r.threads.clear();
    r.ahead.reset();
    r.running = false;
}

uint64_t router_held(const router& r) {
    return uint64_t(neigh_held(*r.n)) + ip_frag_held(*r.n);
}

namespace {

/// What slots have staged for p, or handed over to its owner, goes out.
void port_drain(net& n, port& p) {
    for (auto& sd : n.softnet) {
        softnet_enter(sd.get());
        port_flush(p, *sd);
    }
    softnet_data& owner = *n.softnet[p.dev.owner];
    softnet_enter(&owner);
    while (port_serve_handover(p, owner))
        ;
}

/// Frames that were steered to slot cpu and that it has not come to.
void backlog_drain(router& r, port& p, unsigned cpu) {
    softnet_data& sd = *r.n->softnet[cpu];
    for (softnet_enter(&sd); process_backlog(p, sd); softnet_enter(&sd))
        for (auto& out : r.ports)
            port_drain(*r.n, *out);
}

} // namespace

void router_quiesce(router& r) {
    net& n = *r.n;
    for (auto& p : r.ports)
        for (unsigned cpu = 0; cpu < p->backlog.size(); ++cpu)
            backlog_drain(r, *p, cpu);
    for (auto& p : r.ports) {
        port_drain(n, *p);
        port_count_oerrors(*p, *n.softnet[p->dev.owner]);
    }
    softnet_enter(n.softnet[n.control_cpu()].get());
}

std::string router_destroy(std::unique_ptr<router> r) {
    router_stop(*r);
    net& n = *r->n;
    softnet_enter(n.softnet[n.control_cpu()].get());
    router_quiesce(*r);
    r->plugins.clear();
    ip_exit(n);
    for (auto& p : r->ports)
        port_close(*p);
    loopback_destroy(n);
    ip_rt_exit(n);        // routes first: they hold neighbours
    neigh_table_clear(n);
    nf_net_exit(n);
    rcu_barrier_all(n);
    softnet_enter(nullptr);
    r->ports.clear();
    r->n.reset();
    std::string left = leftovers(r->slabs_before);
    pktmbuf_pool_fini();
    return left;
}

namespace {

/// Asked as the worker will: what there is, less what this process is kept from.
bool may_run_on(int cpu) {
    cpu_set_t before, only;
    CPU_ZERO(&only);
    CPU_SET(size_t(cpu), &only);
    if (sched_getaffinity(0, sizeof before, &before) || sched_setaffinity(0, sizeof only, &only))
        return false;
    sched_setaffinity(0, sizeof before, &before);
    return true;
}

} // namespace

tl::expected<std::vector<int>, std::string> parse_cores(const std::string& list) {
    std::vector<int> cores;
    size_t at = 0;
    auto number = [&](int& v) {
        auto [end, ec] = std::from_chars(list.data() + at, list.data() + list.size(), v);
        bool ok = ec == std::errc() && v >= 0 && v < CPU_SETSIZE;
        at = size_t(end - list.data());
        return ok;
    };
    for (;;) {
        int first = 0, last = 0;
        bool ok = number(first);
        last = first;
        if (ok && at < list.size() && list[at] == '-') {
            ++at;
            ok = number(last) && last >= first;
        }
        if (!ok || (at < list.size() && list[at] != ','))
            return error(fmt::format("--cores {}: a list such as 1-3,5 is wanted", list));
        for (int c = first; c <= last; ++c) {
            if (!may_run_on(c))
                return error(fmt::format("--cores {}: no CPU {} to run on", list, c));
            if (std::find(cores.begin(), cores.end(), c) == cores.end())
                cores.push_back(c);
        }
        if (at++ >= list.size())
            return cores;
    }
}

} // namespace slabfwd
