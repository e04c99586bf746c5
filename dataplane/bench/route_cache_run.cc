// SPDX-License-Identifier: BSD-3-Clause
//
// Packets of a law through the route cache: bursts of 32 much as the router's own pipeline asks it (hash
// and prefetch, chains, then what missed), or one by one for the time of a single lookup. Ends of
// bursts, clock, timers and RCU are the worker's. Only CPU time of the own thread is counted.
// Door: run_route_cache(). See route_cache.h.
#include <thread>

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_lcore.h>

#include "dataplane/bench/bench_clock.h"
#include "dataplane/bench/route_cache.h"
#include "neigh/skbuff.h"
#include "route/route_cache.h"
#include "route/rt_bucket_list.h"

namespace slabfwd {

namespace {

constexpr unsigned BURST = PACKET_BURST;
using stat = rt_cache_stat;

/// Counts of a slot's cache at a moment.
struct counts {
    uint64_t hits, allocated, collected, uncached, gc, goal_miss;
    explicit counts(const softnet_data& sd)
        : hits(sd.rt_stat[stat::in_hit]), allocated(sd.rt_stat[stat::allocated]),
          collected(sd.rt_stat[stat::collected]), uncached(sd.rt_stat[stat::uncached]),
          gc(sd.rt_stat[stat::gc_total]), goal_miss(sd.rt_stat[stat::gc_goal_miss]) {}
};

/// One thread's numbers.
struct lane_result {
    measured work;
    uint64_t hits = 0, allocated = 0, collected = 0, uncached = 0, gc = 0, goal_miss = 0,
             refused = 0, dropped = 0, entries_max = 0, entries = 0, looked_max = 0;
    double alloc_share = 0;
    latency_histogram hit, miss;
    std::vector<std::pair<double, double>> curve; ///< seconds, entries
};

/// One slot's way through its packets.
class lane {
public:
    lane(const route_cache_job& job, bench_router& b, unsigned cpu)
        : job_(job), b_(b), sd_(*b.n().softnet[cpu]), dev_(&b.p0->dev) {
        for (unsigned i = 0; i < BURST; ++i) {
            m_[i] = rte_pktmbuf_alloc(pktmbuf_pool());
            iph_[i] = reinterpret_cast<iphdr*>(rte_pktmbuf_append(m_[i], 46));
            *iph_[i] = iphdr{};
            iph_[i]->ihl_version = 0x45;
            iph_[i]->ttl = 64;
            iph_[i]->protocol = IPPROTO_UDP_;
            iph_[i]->tot_len = cpu_to_be16(46);
        }
        // Lanes have packets of their own: rounds of a scan that others do not use.
        packets_ = *make_packets(job, packets_of_law(job), cpu * 65536 + 65536);
    }
    ~lane() {
        for (rte_mbuf* m : m_)
            rte_pktmbuf_free(m);
    }

    lane_result run() {
        lane_result out;
        work_for(job_.span_ns / 4, nullptr); // to a steady state
        fill(out);
        const counts before(sd_);
        refused_ = dropped_ = 0;
        out.work = work_for(job_.span_ns, &out);
        const counts after(sd_);
        out.hits = after.hits - before.hits;
        out.allocated = after.allocated - before.allocated;
        out.collected = after.collected - before.collected;
        out.uncached = after.uncached - before.uncached;
        out.gc = after.gc - before.gc;
        out.goal_miss = after.goal_miss - before.goal_miss;
        out.refused = refused_;
        out.dropped = dropped_;
        out.entries = entries();
        out.looked_max = sd_.rt_shard->gc_looked_max;
        if (job_.threads == 1) {
            peer_cycles(b_.n(), true);
            const measured timed = work_for(job_.span_ns / 4, nullptr);
            out.alloc_share =
                double(peer_cycles(b_.n(), false)) / (double(timed.cpu_ns) * tsc_ghz()) * 100;
        }
        single(out);
        return out;
    }

private:
    uint64_t entries() const { return dst_entries_get_fast(&sd_.rt_shard->ipv4_dst_ops); }

    /// Before anything is counted, scans fill the cache up to gc_thresh, and other laws run until
    /// their flows have the entries that they will get: each packet of the law comes, again and
    /// again, until that adds next to nothing.
    void fill(lane_result& out) {
        const uint64_t wanted = sd_.rt_shard->ipv4_dst_ops.gc_thresh;
        if (job_.law == flow_law::scan || job_.law == flow_law::scan_src) {
            for (unsigned i = 0; entries() < wanted && i < 64; ++i)
                work_for(job_.span_ns / 4, &out);
        } else {
            const stopwatch watch;
            uint64_t before = 0;
            do {
                before = entries();
                for (size_t i = 0; i < packets_.size() && watch.cpu_ns() < job_.span_ns * 10;)
                    for (const size_t end = i + size_t(BURST) * 512; i < end;)
                        i += burst();
            } while (entries() > before + before / 100 && watch.cpu_ns() < job_.span_ns * 10);
        }
        out.entries_max = 0;
        out.curve.clear();
    }

    measured work_for(uint64_t ns, lane_result* out) {
        measured sum;
        while (sum.cpu_ns < ns) {
            const stopwatch watch;
            uint64_t n = 0;
            for (unsigned i = 0; i < 512; ++i)
                n += burst();
            sum += {n, watch.cpu_ns(), watch.wall_ns()};
            if (out) {
                out->entries_max = std::max(out->entries_max, entries());
                out->curve.emplace_back(double(sum.cpu_ns) / 1e9, double(entries()));
            }
        }
        return sum;
    }

    /// The next packets, all of a law from first to last, then from the first again.
    void write_headers(unsigned n) {
        for (unsigned i = 0; i < n; ++i) {
            const packet_addrs& p = packets_[at_];
            iph_[i]->saddr = shift_ ? cpu_to_be32(be32_to_cpu(p.saddr) + shift_) : p.saddr;
            iph_[i]->daddr = p.daddr;
            if (unlikely(++at_ == packets_.size()))
                begin_anew();
        }
    }
    /// What a further lap of a scan adds to the sources, so that no pair comes twice.
    void begin_anew() {
        at_ = 0;
        if (job_.law == flow_law::scan)
            shift_ += 4;
        else if (job_.law == flow_law::scan_src)
            shift_ += uint32_t(packets_.size());
    }

    /// Clock, timers and RCU, as between two bursts of a worker.
    void end_of_burst() {
        if (sd_.rt_shard->free_list)
            dst_run_gc(sd_);
        if (sd_.rcu_wait || sd_.rcu_next)
            rcu_do_batch(sd_);
        slab_cpu_serve();
        sd_.nd_net->rcu.quiescent(sd_.cpu);
        sd_.now_ns = uint64_t(double(__rdtsc()) / tsc_ghz());
        sd_.jiffies = nsecs_to_jiffies(sd_.now_ns);
        if (sd_.timers.next_expiry.load(std::memory_order_relaxed) <= sd_.jiffies)
            run_timers(sd_.timers, sd_.jiffies, 64);
    }

    /// As ip_rcv_finish_list and what it calls for misses.
    unsigned burst() {
        write_headers(BURST);
        rt_hash_shard* shard = sd_.rt_shard;
        const uint32_t genid = b_.n().ipv4.rt_genid.load(std::memory_order_acquire);
        const auto iif = uint32_t(dev_->ifindex);
        uint32_t hash[BURST], missed = 0, hits = 0;
        rtable* first[BURST];
        rt_asked asked;
        for (unsigned i = 0; i < BURST; ++i) {
            hash[i] = rt_hash_seeded(iph_[i]->daddr, iph_[i]->saddr, iif, shard->rt_hash_seed);
            __builtin_prefetch(&shard->rt_hash_table[hash[i] & shard->rt_hash_mask]);
        }
        missed = rt_bucket_list(shard->rt_hash_table, shard->rt_hash_mask, hash, BURST, first);
        if (missed)
            ip_route_ask_list(&sd_, iph_, hash, missed, asked);
        for (unsigned i = 0; i < BURST; ++i) {
            const rt_key key{iph_[i]->daddr, iph_[i]->saddr, uint16_t(iif), 0, 0, 0, 0, 0};
            rtable* rt = first[i];
            while (rt && !rt_key_equal(rt->key, key))
                rt = rt_next_in_chain(rt);
            if (!rt || rt->rt_genid != genid || !rt->plain()) {
                missed |= 1u << i;
                continue;
            }
            dst_use_noref(&rt->dst, sd_.jiffies);
            ++hits;
        }
        sd_.rt_stat[stat::in_hit].add(hits);
        if (missed) {
            rtable* rt[BURST];
            const uint32_t done = ip_route_input_list(&sd_, dev_, iph_, hash, missed, asked, rt);
            for_each_bit(missed & ~done, [&](unsigned i) { miss(i); });
        }
        end_of_burst();
        return BURST;
    }
    void miss(unsigned i) {
        rtable* rt = nullptr;
        auto reason = skb_drop_reason::NOT_SPECIFIED;
        if (!ip_route_input_burst(&sd_, dev_, iph_[i], &rt, &reason))
            route_alone(i);
        else if (!rt)
            not_carried(reason);
    }
    void not_carried(skb_drop_reason reason) {
        ++(reason == skb_drop_reason::ROUTE_CACHE_FULL ? refused_ : dropped_);
    }
    void route_alone(unsigned i) {
        sk_buff* skb = skb_from_mbuf(m_[i]);
        skb_init(skb, dev_, sd_.now_ns);
        skb_reset_network_header(skb);
        skb->protocol = cpu_to_be16(ETH_P_IP);
        auto reason = skb_drop_reason::NOT_SPECIFIED;
        if (ip_route_input(skb, iph_[i]->daddr, iph_[i]->saddr, 0, dev_, &reason))
            not_carried(reason);
    }

    /// ip_route_input packet by packet, each timed; in bursts all the same.
    void single(lane_result& out) {
        const uint64_t none = tsc_overhead();
        for (unsigned n = 0; n < 4096; ++n) {
            write_headers(BURST);
            for (unsigned i = 0; i < BURST; ++i) {
                const uint64_t hits = sd_.rt_stat[stat::in_hit];
                const uint64_t t = tsc_begin();
                route_alone(i);
                const uint64_t took = tsc_end() - t;
                const bool hit = sd_.rt_stat[stat::in_hit] != hits;
                (hit ? out.hit : out.miss).add(took > none ? took - none : 0);
            }
            end_of_burst();
        }
    }

    const route_cache_job& job_;
    bench_router& b_;
    softnet_data& sd_;
    net_device* dev_;
    rte_mbuf* m_[BURST];
    iphdr* iph_[BURST];
    std::vector<packet_addrs> packets_;
    size_t at_ = 0;
    uint32_t shift_ = 0;
    uint64_t refused_ = 0, dropped_ = 0;
};

void add_latency(child_result& out, const char* what, const latency_histogram& h) {
    if (h.total() < 100)
        return;
    for (auto [name, q] : {std::pair{"p50", 0.5}, {"p99", 0.99}, {"p99_9", 0.999}})
        out.samples.emplace_back(fmt::format("{}_{}", what, name), double(h.quantile(q)));
    for (int i = 1; i < 40; ++i) // the distribution, for the plot
        out.samples.emplace_back(fmt::format("{}_cdf_{}", what, i), double(h.quantile(i / 40.0)));
}

void report(const route_cache_job& job, const net& n, std::vector<lane_result>& lanes,
            child_result& out) {
    lane_result sum;
    double mpps = 0, alloc = 0, freed = 0;
    for (lane_result& l : lanes) {
        const double s = double(l.work.cpu_ns) / 1e9;
        mpps += double(l.work.ops) / s / 1e6;
        alloc += double(l.allocated) / s / 1e6;
        freed += double(l.collected) / s / 1e6;
        sum.work += l.work;
        sum.hits += l.hits;
        sum.uncached += l.uncached;
        sum.refused += l.refused;
        sum.dropped += l.dropped;
        sum.gc += l.gc;
        sum.entries += l.entries;
        sum.entries_max += l.entries_max;
        sum.looked_max = std::max(sum.looked_max, l.looked_max);
    }
    const auto packets = double(sum.work.ops);
    const double ns = double(sum.work.cpu_ns) / packets;
    out.samples.insert(out.samples.end(),
                       {
                           {"lookups", mpps},
                           {"allocs", alloc},
                           {"frees", freed},
                           {"hit_ratio", double(sum.hits) / packets * 100},
                           {"ns", ns},
                           {"cycles", ns * tsc_ghz()},
                           {"refused", double(sum.refused)},
                           {"dropped", double(sum.dropped)},
                           {"uncached", double(sum.uncached) / packets * 100},
                           {"gc_runs", double(sum.gc) / packets * 1000},
                           {"gc_looked", double(sum.looked_max)},
                           {"entries", double(sum.entries)},
                           {"entries_max", double(sum.entries_max)},
                           {"entries_of_max", double(sum.entries_max) / n.ipv4.rt.max_size * 100},
                           {"buckets", double(n.ipv4.rtn->buckets)},
                           {"gc_thresh", double(n.ipv4.rt.gc_thresh)},
                           {"max_size", double(n.ipv4.rt.max_size)},
                           {"bytes", double(peer_entry_bytes(job.peer))},
                       });
    if (job.threads == 1)
        out.samples.emplace_back("alloc_share", lanes[0].alloc_share);
    add_latency(out, "hit", lanes[0].hit);
    add_latency(out, "miss", lanes[0].miss);
    const auto& curve = lanes[0].curve;
    const size_t step = curve.size() / 60 + 1;
    for (size_t i = 0; i < curve.size(); i += step) {
        out.samples.emplace_back("time_x", curve[i].first);
        out.samples.emplace_back("time_entries", curve[i].second);
    }
}

} // namespace

void run_route_cache(const route_cache_job& job, child_result& out) {
    out.skipped = too_few_routes(job);
    if (out.skipped.empty())
        out.skipped = prepare_peer(job.peer);
    if (!out.skipped.empty())
        return;
    auto made = bench_router::make(job);
    if (!made) {
        out.error = made.error();
        return;
    }
    bench_router& b = *made;
    const auto capacity = uint32_t(b.n().ipv4.rt.max_size.get());
    // A pool is filled at start: as many as can be reached, 2M at most by default.
    const uint32_t most = job.max_size ? capacity : std::min(capacity, 2u << 20);
    out.skipped = use_peer(b.n(), job.peer, most);
    if (out.skipped.empty())
        out.error = tune_arrays(job);
    if (!out.skipped.empty() || !out.error.empty())
        return;
    std::vector<lane_result> results(job.threads);
    std::vector<std::thread> threads;
    for (unsigned cpu = 0; cpu < job.threads; ++cpu)
        threads.emplace_back([&, cpu] {
            rte_thread_register();
            softnet_loop_begin(*b.n().softnet[cpu]);
            {
                lane l(job, b, cpu);
                results[cpu] = l.run();
                rt_shard_flush(b.n().softnet[cpu]->rt_shard);
                dst_run_gc(*b.n().softnet[cpu]);
            }
            softnet_loop_end(*b.n().softnet[cpu]);
            rte_thread_unregister();
        });
    for (std::thread& t : threads)
        t.join();
    softnet_enter(b.n().softnet[b.n().control_cpu()].get());
    report(job, b.n(), results, out);
}

} // namespace slabfwd
