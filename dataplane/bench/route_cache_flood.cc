// SPDX-License-Identifier: BSD-3-Clause
//
// The flood: the whole pipeline between two saturated ports. 1,000 established flows are half of
// the packets, the other half never repeats. The rate is told beside the rate with every packet
// cached: the flood pauses sixty times for a moment of those, so that a machine which is now faster and now
// slower is so for both, and the ratio is the median of sixty. The hit ratio is of the established flows
// alone, since a packet that never comes again cannot hit. Time is the worker's turns by the TSC;
// what a turn was interrupted for by other programs is cut off (turns longer than 20 times the
// median). Door: run_flood(). See route_cache.h.
#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <rte_ethdev.h>
#include <rte_ring.h>
#include <x86intrin.h>

#include "dataplane/bench/bench_clock.h"
#include "dataplane/bench/route_cache.h"
#include "dataplane/worker/worker.h"

namespace slabfwd {

namespace {

constexpr unsigned BURST = NET_RX_BURST, ESTABLISHED = 1000;
constexpr size_t PACKETS = size_t(1) << 21;
using stat = rt_cache_stat;

/// Frames into p0 and out of p1, without end.
class saturated_ports {
public:
    saturated_ports(bench_router& b, const std::vector<packet_addrs>& flows,
                    const std::vector<packet_addrs>& flood, bool sources)
        : b_(b), w_(*b.r->workers[0]), sd_(*w_.sd), flows_(flows), flood_(flood),
          sources_(sources) {
        if (!rings())
            callback_ = rte_eth_add_rx_callback(b.p0->port_id, 0, make_received, this);
    }
    ~saturated_ports() {
        if (callback_)
            rte_eth_remove_rx_callback(b_.p0->port_id, 0, callback_);
        rte_pktmbuf_free_bulk(m_, waiting_);
    }
    saturated_ports(const saturated_ports&) = delete;
    /// One burst, of which every `flood_every`th packet (0: none) never repeats. TSC cycles of the
    /// worker's turn, without those that frames are made in.
    uint64_t turn(unsigned flood_every) {
        flood_every_ = flood_every;
        making_ = 0;
        void** objects = reinterpret_cast<void**>(m_);
        if (rings()) {
            for (; waiting_ < BURST; ++waiting_) {
                m_[waiting_] = rte_pktmbuf_alloc(pktmbuf_pool());
                rte_pktmbuf_append(m_[waiting_], 60);
            }
            make(m_, BURST);
            rte_ring_enqueue_bulk(b_.p0->ring_in, objects, BURST, nullptr);
        }
        const auto now = uint64_t(double(__rdtsc()) / tsc_ghz());
        const uint64_t t = tsc_begin();
        worker_turn(w_, now);
        const uint64_t took = tsc_end() - t - making_;
        if (rings())
            waiting_ = rte_ring_dequeue_burst(b_.p1->ring_out, objects, BURST, nullptr);
        return took;
    }
    /// Received so far and not sent.
    uint64_t lost() const {
        return sd_.dev[size_t(b_.p0->dev.ifindex)].rx_packets -
               sd_.dev[size_t(b_.p1->dev.ifindex)].tx_packets;
    }
    uint64_t established() const { return friend_; } ///< packets of theirs so far

private:
    bool rings() const { return b_.p0->ring_in; }
    /// The driver's frames become ours before the worker has them.
    static uint16_t make_received(uint16_t, uint16_t, rte_mbuf** m, uint16_t n, uint16_t,
                                  void* ports) {
        auto& self = *static_cast<saturated_ports*>(ports);
        const uint64_t t = tsc_begin();
        self.make(m, n);
        self.making_ += tsc_end() - t;
        return n;
    }
    void make(rte_mbuf** m, unsigned n) {
        for (unsigned i = 0; i < n; ++i)
            write(m[i],
                  flood_every_ && i % flood_every_ == flood_every_ - 1 ? stranger() : friendly());
    }
    packet_addrs friendly() { return flows_[friend_++ % flows_.size()]; }
    packet_addrs stranger() {
        packet_addrs a = flood_[stranger_ % PACKETS];
        const auto lap = uint32_t(stranger_++ / PACKETS);
        a.saddr =
            cpu_to_be32(be32_to_cpu(a.saddr) + (sources_ ? lap * uint32_t(PACKETS) : lap * 4));
        return a;
    }
    void write(rte_mbuf* m, packet_addrs a) {
        uint8_t* eth = rte_pktmbuf_mtod(m, uint8_t*);
        std::memcpy(eth, b_.p0->dev.dev_addr, ETH_ALEN);
        eth[12] = 8;
        eth[13] = 0;
        auto* iph = reinterpret_cast<iphdr*>(eth + ETH_HLEN);
        *iph = iphdr{};
        iph->ihl_version = 0x45;
        iph->ttl = 64;
        iph->protocol = IPPROTO_UDP_;
        iph->tot_len = cpu_to_be16(46);
        iph->saddr = a.saddr;
        iph->daddr = a.daddr;
        ip_send_check(iph);
    }

    bench_router& b_;
    worker& w_;
    const softnet_data& sd_;
    const std::vector<packet_addrs>&flows_, &flood_;
    bool sources_;
    const rte_eth_rxtx_callback* callback_ = nullptr;
    rte_mbuf* m_[BURST]; ///< of rings: those that are not under way
    unsigned waiting_ = 0, flood_every_ = 0;
    uint64_t friend_ = 0, stranger_ = 0, making_ = 0;
};

/// Turns of a kind with their cycles.
struct phase {
    std::vector<uint32_t> cycles;

    double mpps() const {
        std::vector<uint32_t> sorted(cycles);
        std::nth_element(sorted.begin(), sorted.begin() + long(sorted.size() / 2), sorted.end());
        const uint64_t cut = uint64_t(sorted[sorted.size() / 2]) * 20;
        uint64_t sum = 0, n = 0;
        for (uint32_t c : cycles)
            if (c <= cut) {
                sum += c;
                ++n;
            }
        return double(n) * BURST / (double(sum) / tsc_ghz()) * 1e3;
    }
};

constexpr unsigned SAMPLES = 60;

phase run_phase(saturated_ports& ports, unsigned flood_every, uint64_t ns) {
    phase out;
    const uint64_t end = clock_ns(CLOCK_MONOTONIC) + ns;
    do
        for (unsigned i = 0; i < 256; ++i)
            out.cycles.push_back(uint32_t(ports.turn(flood_every)));
    while (clock_ns(CLOCK_MONOTONIC) < end);
    return out;
}

} // namespace

void run_flood(const route_cache_job& given, flood_kind kind, child_result& out) {
    route_cache_job job = given;
    job.threads = 1;
    job.law = kind == flood_kind::sources ? flow_law::scan_src : flow_law::scan;
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
    out.skipped = use_peer(b.n(), job.peer, uint32_t(b.n().ipv4.rt.max_size.get()));
    if (!out.skipped.empty())
        return;
    route_cache_job friends_job = job;
    friends_job.law = flow_law::working_set;
    friends_job.flows = ESTABLISHED;
    const auto flows = make_packets(friends_job, ESTABLISHED, 0);
    // A flow of the flood is none of the established: their sources differ.
    const auto flood = make_packets(job, PACKETS, 65536);
    softnet_data& sd = *b.n().softnet[0];
    softnet_loop_begin(sd);
    {
        saturated_ports ports(b, *flows, *flood, kind == flood_kind::sources);
        const unsigned every = kind == flood_kind::alone ? 1 : 2;
        run_phase(ports, 0, job.span_ns / 8);
        const auto& hit = sd.rt_stat[stat::in_hit];
        const uint64_t alloc0 = sd.rt_stat[stat::allocated];
        uint64_t most = 0, turns = 0, hits = 0, friends = 0, lost = 0, entries = 0;
        std::vector<double> flooded, cached, ratio;
        for (unsigned n = 1; n <= SAMPLES; ++n) {
            cached.push_back(run_phase(ports, 0, job.span_ns / SAMPLES / 4).mpps());
            const uint64_t hits0 = hit, friends0 = ports.established(), lost0 = ports.lost();
            const phase p = run_phase(ports, every, job.span_ns / SAMPLES);
            flooded.push_back(p.mpps());
            ratio.push_back(flooded.back() / cached.back());
            entries = dst_entries_get_fast(&sd.rt_shard->ipv4_dst_ops);
            most = std::max(most, entries);
            const uint64_t f = ports.established() - friends0, l = ports.lost() - lost0;
            out.samples.emplace_back("time_x", double(job.span_ns) / 1e9 * n / SAMPLES);
            out.samples.emplace_back("time_mpps", flooded.back());
            out.samples.emplace_back("time_entries", double(entries));
            if (f)
                out.samples.emplace_back("time_hit_ratio", double(hit - hits0) / double(f) * 100);
            out.samples.emplace_back("time_refused", double(l) / (double(p.cycles.size()) * BURST) * 100);
            hits += hit - hits0;
            friends += f;
            lost += l;
            turns += p.cycles.size();
        }
        const double packets = double(turns) * BURST;
        out.samples.insert(out.samples.end(),
                           {
                               {"flood_mpps", median(flooded)},
                               {"cached_mpps", median(cached)},
                               {"flood_rate", median(ratio)},
                               {"flood_refused", double(lost)},
                               {"flood_refused_share", double(lost) / packets * 100},
                               {"entries_max", double(most)},
                               {"entries_of_max", double(most) / sd.rt_shard->max_size * 100},
                               {"gc_looked", double(sd.rt_shard->gc_looked_max)},
                               {"allocs_per_packet", double(sd.rt_stat[stat::allocated] - alloc0) / packets * 100},
                           });
        if (friends)
            out.samples.emplace_back("flood_hit_ratio", double(hits) / double(friends) * 100);
        rt_shard_flush(sd.rt_shard);
        dst_run_gc(sd);
    }
    softnet_loop_end(sd);
    softnet_enter(b.n().softnet[b.n().control_cpu()].get());
}

} // namespace slabfwd
