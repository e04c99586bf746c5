// SPDX-License-Identifier: BSD-3-Clause
//
// `slabfwd bench route-cache` and `bench fib`: a router without NICs, its full table, and the laws
// by which flows come. A job is measured in a process of its own (bench_child.h).
//
// Doors: read_prefixes(), bench_router, make_packets(), run_route_cache(), run_flood().
// Threads: a router is made and ended by one thread; run_route_cache starts one for each worker.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/bench/bench_child.h"
#include "dataplane/bench/bench_report.h"
#include "dataplane/router.h"
#include "route/route.h"

namespace slabfwd {

struct prefix {
    uint32_t addr; ///< host order
    uint8_t len;
};
/// The routes: a number (drawn at random, lengths as in the Internet's table) or a file of one
/// prefix a line, plain or gzipped; one at least. The error is the word and a sentence.
tl::expected<std::vector<prefix>, std::string> read_prefixes(const std::string& number_or_file);

constexpr unsigned BENCH_NEXT_HOPS = 64; ///< prefix i goes to next hop i modulo this
/// Next hop i: 10.1.0.(2 + i) by p1.
inline be32_t bench_next_hop(unsigned i) {
    return cpu_to_be32(0x0a010002u + i);
}

/// The law by which packets choose their flows.
enum class flow_law {
    uniform,     ///< each of `flows` as likely as any other
    zipf,        ///< flow k with weight 1 / k^s
    working_set, ///< one flow after the other, round and round
    scan,        ///< destinations that never repeat, spread over the table
    scan_src,    ///< sources that never repeat, towards 1,000 destinations
    capture,     ///< the IPv4 packets of a capture, in their order, round and round
};
const char* flow_law_name(flow_law law);

/// Addresses of a packet, as in its header.
struct packet_addrs {
    be32_t saddr, daddr;
};

/// The packets of a capture's IPv4 frames, in their order. A pair of addresses that the bench's
/// router would not forward by these routes (loopback, multicast, its own networks, no route) gets
/// those of a flow of the table instead, always the same one: what counts is the order in which
/// flows come.
struct captured_flows {
    std::vector<packet_addrs> packets;
    size_t flows = 0, moved = 0; ///< pairs of addresses, and how many of them got others
};
/// The error is a sentence.
tl::expected<captured_flows, std::string> read_captured_flows(const std::string& file,
                                                              const std::vector<prefix>& routes);

/// Everything that a measurement is told.
struct route_cache_job {
    flow_law law = flow_law::scan;
    uint32_t flows = 1000;
    double zipf_s = 1.0;
    const captured_flows* captured = nullptr; ///< of flow_law::capture
    std::string peer = "slab";
    unsigned threads = 1;
    int gc_thresh = 0, max_size = 0; ///< 0: as by default
    int admission = 1;
    int gc_min_interval_ms = -1;        ///< -1: as by default
    uint32_t rhash_entries = 0;         ///< 0: by memory
    unsigned limit = 0, batchcount = 0; ///< of the slab's array caches; 0: as by default
    uint64_t span_ns = 1'000'000'000;
    const std::vector<prefix>* routes = nullptr;
    /// Floods: come in by net_pcap, which allocates and copies each frame, and go out of net_null,
    /// which frees it, rather than by net_ring, which hands pointers over and is the cheapest port
    /// there is.
    bool pcap_ports = false;
};

/// `n` packets of a law (a capture's: as many as there are); scans never repeat a pair of addresses
/// within n, and not with another `round` either.
tl::expected<std::vector<packet_addrs>, std::string> make_packets(const route_cache_job& job,
                                                                  size_t n, uint32_t round);
/// How many packets of a law stand for it before they come again: each flow of the law is among
/// them as often as its law says.
size_t packets_of_law(const route_cache_job& job);
/// Why the table is too small for a job's law (a scan would repeat itself), or nothing.
std::string too_few_routes(const route_cache_job& job);

/// A router with ports p0 10.0.0.1/16 and p1 10.1.0.1/16, next hops that answer, and routes.
struct bench_router {
    std::unique_ptr<router> r;
    port *p0 = nullptr, *p1 = nullptr;
    net& n() { return *r->n; }
    /// The error is a sentence.
    static tl::expected<bench_router, std::string> make(const route_cache_job& job);
    /// Ends it; what is left over, as router_destroy says.
    std::string end();
};

/// An allocator of entries.
struct route_cache_peer {
    bench_peer column;
    std::string about;
    int admission = -1; ///< -1: as the job says
};
std::vector<route_cache_peer> route_cache_peers();
/// What a peer needs before there is a router. Why it cannot be, or nothing.
std::string prepare_peer(const std::string& peer);
/// Makes the shards of a fresh router take their entries from a peer. Why it cannot be, or nothing.
/// Its own memory lives to the end of the process.
std::string use_peer(net& n, const std::string& peer, uint32_t capacity);
/// The time inside a peer's calls: begin with peer_cycles(true), read with false.
uint64_t peer_cycles(net& n, bool begin);
/// Bytes that an entry takes, with what its allocator adds. REQUIRES use_peer, and entries alive.
size_t peer_entry_bytes(const std::string& peer);
/// Sets limit and batchcount of the slab's array caches as a job says; one alone brings the other
/// along. Why it cannot be, or nothing. Peers without array caches are left as they are.
std::string tune_arrays(const route_cache_job& job);

/// Runs a job in this process and fills in its numbers (route_cache_metrics()).
void run_route_cache(const route_cache_job& job, child_result& out);

/// What a flood consists of, beside 1,000 established flows that are half of the packets.
enum class flood_kind { destinations, sources, alone };
struct flood_sample {
    double seconds = 0, mpps = 0, hit_ratio = 0;
    uint64_t entries = 0;
};
/// Runs the whole pipeline between two ports under a flood for job.span_ns.
void run_flood(const route_cache_job& job, flood_kind kind, child_result& out);

std::vector<bench_metric> route_cache_metrics();

/// A law by which packets come, under a name: a line of the tables.
struct route_cache_workload {
    std::string name, about;
    route_cache_job job = {};
    bool flood = false;
    flood_kind kind = flood_kind::destinations;
    std::string swept = {}; ///< the parameter of a sweep, and where it stands
    double at = 0;
};
/// `[WORKLOAD:]KEY=VALUE,VALUE..`: adds a workload for each value to `out`. The error is a
/// sentence; `out` is as it was then.
std::string sweep_workloads(const std::vector<route_cache_workload>& all, const std::string& text,
                            std::vector<route_cache_workload>& out);

/// A curve of a plot: title, and points of x and y.
struct plot_curve {
    std::string title;
    std::vector<std::pair<double, double>> points;
};
struct plot_panel {
    std::string title, xlabel, ylabel;
    bool logx = false, logy = false;
    std::vector<plot_curve> curves;
};
/// Draws panels one below the other into FILE.svg or FILE.png; the error is a sentence.
std::string plot_curves(const std::string& title, const std::vector<plot_panel>& panels,
                        const std::string& file);

} // namespace slabfwd
