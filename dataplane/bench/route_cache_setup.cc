// SPDX-License-Identifier: BSD-3-Clause
//
// The router that the benchmarks of routing run on, its routes, and packets by law.
// See route_cache.h.
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <sys/mman.h>
#include <unistd.h>
#include <unordered_set>
#include <zlib.h>

#include <fmt/format.h>

#include "dataplane/bench/route_cache.h"
#include "dataplane/control/control.h"
#include "dataplane/replay/capture_reader.h"
#include "dataplane/replay/capture_writer.h"
#include "dataplane/replay/output_file.h"

namespace slabfwd {

namespace {

tl::unexpected<std::string> error(std::string text) {
    return tl::unexpected(std::move(text));
}

constexpr long DRAWN_MAX = 4'000'000; ///< prefixes that are drawn at most

uint32_t mask_of(unsigned len) {
    return len ? ~0u << (32 - len) : 0;
}

/// Lengths as in the Internet's table of 2022, roughly, in per mille.
std::vector<prefix> drawn_prefixes(size_t count) {
    const std::map<unsigned, double> lengths = {{12, 1},   {13, 1},   {14, 2},  {15, 3},  {16, 15},
                                                {17, 9},   {18, 15},  {19, 27}, {20, 46}, {21, 52},
                                                {22, 118}, {23, 108}, {24, 603}};
    std::vector<double> weight(33);
    for (auto [len, w] : lengths)
        weight[len] = w;
    std::discrete_distribution<unsigned> draw_len(weight.begin(), weight.end());
    std::mt19937 rng(1);
    std::set<std::pair<uint32_t, unsigned>> seen;
    std::vector<prefix> out;
    while (out.size() < count) {
        const unsigned len = draw_len(rng);
        const uint32_t addr = (uint32_t(rng()) % 0xd0000000u + 0x0b000000u) & mask_of(len);
        const unsigned top = addr >> 24;
        if (top == 127 || top >= 224 || !seen.emplace(addr, len).second)
            continue;
        out.push_back({addr, uint8_t(len)});
    }
    return out;
}

bool parse_prefix(const char* line, prefix* p) {
    unsigned a, b, c, d, len;
    if (std::sscanf(line, "%u.%u.%u.%u/%u", &a, &b, &c, &d, &len) != 5 || len > 32)
        return false;
    *p = {(a << 24 | b << 16 | c << 8 | d) & mask_of(len), uint8_t(len)};
    return a < 256 && b < 256 && c < 256 && d < 256;
}

} // namespace

tl::expected<std::vector<prefix>, std::string> read_prefixes(const std::string& number_or_file) {
    const char* const last = number_or_file.data() + number_or_file.size();
    long count = 0;
    if (const auto [end, err] = std::from_chars(number_or_file.data(), last, count); end == last) {
        if (err != std::errc() || count < 1 || count > DRAWN_MAX)
            return error(fmt::format("{}: a number from 1 to {} or a file is wanted",
                                     number_or_file, DRAWN_MAX));
        return drawn_prefixes(size_t(count));
    }
    const std::unique_ptr<gzFile_s, int (*)(gzFile)> in(gzopen(number_or_file.c_str(), "rb"),
                                                        gzclose);
    if (!in)
        return error(fmt::format("{}: {}", number_or_file, std::strerror(errno)));
    std::vector<prefix> out;
    char line[128];
    while (gzgets(in.get(), line, sizeof line)) {
        prefix p;
        if (!parse_prefix(line, &p))
            return error(fmt::format("{}:{}: no prefix: {}", number_or_file, out.size() + 1, line));
        out.push_back(p);
    }
    int code = Z_OK;
    if (const char* why = gzerror(in.get(), &code); code < 0) // a directory, or its end is missing
        return error(why);
    if (out.empty())
        return error(fmt::format("{}: holds no prefix", number_or_file));
    return out;
}

const char* flow_law_name(flow_law law) {
    static constexpr const char* names[] = {"uniform", "zipf",     "working-set",
                                            "scan",    "scan-src", "capture"};
    return names[size_t(law)];
}

// ---- packets

namespace {

/// So many flows that differ have one destination; each time sources are 2^24 further up.
constexpr uint32_t DESTINATION_USES = 80;

/// Flow i of a set: an address inside a route of the table, and a host behind p0.
packet_addrs flow_addrs(const std::vector<prefix>& routes, uint64_t i, uint32_t source) {
    const size_t n = routes.size();
    // Neighbours in i are far apart in the table; the step has no factor in common with most sizes.
    const prefix& p = routes[size_t((i * 2'654'435'761u) % n)];
    const auto lap = uint32_t(i / n);
    const uint32_t host = (lap + 1) * 0x9e3779b1u & ~mask_of(p.len);
    const uint32_t use = uint32_t(uint64_t(lap) >> (32 - p.len)) % DESTINATION_USES;
    // Prefixes nest: the length in the source keeps their addresses apart.
    return {cpu_to_be32(source + (use << 24) + (uint32_t(p.len) << 16) + lap % 4),
            cpu_to_be32(p.addr | host)};
}

constexpr uint32_t SOURCES = 0x0b000000; // 11.0.0.0 and up: hosts somewhere behind p0

/// Which addresses the bench's router forwards between.
class forwarded_addrs {
public:
    explicit forwarded_addrs(const std::vector<prefix>& routes) {
        for (const prefix& p : routes)
            known_.insert(uint64_t(p.addr) << 8 | p.len);
    }
    bool operator()(const packet_addrs& a) const {
        const uint32_t daddr = be32_to_cpu(a.daddr);
        return !unusual(be32_to_cpu(a.saddr)) && !unusual(daddr) && has_route(daddr);
    }

private:
    /// No host's address, or one of the router's own networks 10.0.0.0/16 and 10.1.0.0/16.
    static bool unusual(uint32_t a) {
        return a >> 24 == 0 || a >> 24 == 127 || a >> 24 >= 224 || a >> 17 == 0x0a00u >> 1;
    }
    bool has_route(uint32_t addr) const {
        for (unsigned len = 0; len <= 32; ++len)
            if (known_.contains(uint64_t(addr & mask_of(len)) << 8 | len))
                return true;
        return false;
    }
    std::unordered_set<uint64_t> known_;
};

/// A generator of flow numbers.
struct flow_picker {
    const route_cache_job& job;
    std::mt19937_64 rng{7};
    std::vector<double> cumulative{};

    explicit flow_picker(const route_cache_job& j) : job(j) {
        if (job.law != flow_law::zipf)
            return;
        double sum = 0;
        for (uint32_t k = 1; k <= job.flows; ++k)
            cumulative.push_back(sum += 1 / std::pow(k, job.zipf_s));
    }
    uint64_t operator()(size_t i) {
        switch (job.law) {
        case flow_law::uniform:
            return rng() % job.flows;
        case flow_law::working_set:
            return i % job.flows;
        case flow_law::zipf: {
            const double u = double(rng() >> 11) * 0x1p-53 * cumulative.back();
            return uint64_t(std::lower_bound(cumulative.begin(), cumulative.end(), u) -
                            cumulative.begin());
        }
        default:
            return i;
        }
    }
};

} // namespace

tl::expected<std::vector<packet_addrs>, std::string> make_packets(const route_cache_job& job,
                                                                  size_t n, uint32_t round) {
    if (job.law == flow_law::capture)
        return job.captured->packets;
    std::vector<packet_addrs> out;
    out.reserve(n);
    flow_picker pick(job);
    for (size_t i = 0; i < n; ++i) {
        const uint64_t flow = pick(i);
        if (job.law == flow_law::scan_src) {
            packet_addrs a = flow_addrs(*job.routes, flow % 1000, 0);
            // 16.0.0.0 .. 95.255.255.255, each once in all rounds.
            a.saddr =
                cpu_to_be32(0x10000000u + uint32_t((flow + uint64_t(round) * n) % 0x50000000u));
            out.push_back(a);
        } else if (job.law == flow_law::scan) {
            out.push_back(flow_addrs(*job.routes, flow, SOURCES + round * 4));
        } else {
            out.push_back(flow_addrs(*job.routes, flow, SOURCES + uint32_t(flow % 16384) * 4));
        }
    }
    return out;
}

size_t packets_of_law(const route_cache_job& job) {
    constexpr size_t PACKETS = size_t(1) << 21;
    const size_t flows = std::max(job.flows, 1u);
    switch (job.law) {
    case flow_law::working_set: // whole rounds
        return (PACKETS + flows - 1) / flows * flows;
    case flow_law::uniform:
    case flow_law::zipf:
        return std::max(PACKETS, 4 * flows);
    default:
        return PACKETS;
    }
}

std::string too_few_routes(const route_cache_job& job) {
    if (job.law != flow_law::scan)
        return {};
    const uint64_t n = job.routes->size(), laps = (packets_of_law(job) + n - 1) / n;
    uint64_t repeated = 0;
    for (const prefix& p : *job.routes)
        repeated += laps - std::min(laps, uint64_t(DESTINATION_USES) << (32 - p.len));
    // Some hosts' routes in a large table are not seen in the numbers.
    if (repeated * 100 < laps * n)
        return {};
    return "the table has too few addresses for flows that never repeat";
}

tl::expected<captured_flows, std::string> read_captured_flows(const std::string& file,
                                                              const std::vector<prefix>& routes) {
    auto reader = capture_reader::open(file);
    if (!reader)
        return error(reader.error());
    const forwarded_addrs forwarded(routes);
    captured_flows out;
    std::map<std::pair<uint32_t, uint32_t>, packet_addrs> flows;
    captured_frame f;
    while ((*reader)->next(f) == capture_status::FRAME) {
        if (f.caplen < 34 || f.data[12] != 8 || f.data[13] != 0)
            continue;
        packet_addrs a;
        std::memcpy(&a.saddr, f.data + 26, 4);
        std::memcpy(&a.daddr, f.data + 30, 4);
        auto [at, fresh] = flows.try_emplace({be32_to_cpu(a.saddr), be32_to_cpu(a.daddr)}, a);
        if (fresh && !forwarded(a)) {
            const size_t flow = flows.size() - 1;
            at->second = flow_addrs(routes, flow, SOURCES + uint32_t(flow % 16384) * 4);
            ++out.moved;
        }
        out.packets.push_back(at->second);
    }
    out.flows = flows.size();
    if (out.packets.empty())
        return error(file + ": no IPv4 packets");
    return out;
}

// ---- the router

namespace {

std::string configure(net& n, const route_cache_job& job) {
    std::vector<std::string> lines = {
        "sysctl -w net.ipv4.ip_forward=1",
        "ip link set dev p0 up",
        "ip link set dev p1 up",
        "ip addr add 10.0.0.1/16 dev p0",
        "ip addr add 10.1.0.1/16 dev p1",
        fmt::format("sysctl -w net.ipv4.route.admission={}", job.admission)};
    for (unsigned i = 0; i < BENCH_NEXT_HOPS; ++i)
        lines.push_back(fmt::format(
            "ip neigh add 10.1.0.{} lladdr 02:bb:00:00:01:{:02x} dev p1 nud permanent", 2 + i, i));
    lines.push_back("ip neigh add 10.0.1.0 lladdr 02:bb:00:00:00:01 dev p0 nud permanent");
    if (job.gc_thresh)
        lines.push_back(fmt::format("sysctl -w net.ipv4.route.gc_thresh={}", job.gc_thresh));
    if (job.gc_min_interval_ms >= 0)
        lines.push_back(
            fmt::format("sysctl -w net.ipv4.route.gc_min_interval_ms={}", job.gc_min_interval_ms));
    if (job.max_size)
        lines.push_back(fmt::format("sysctl -w net.ipv4.route.max_size={}", job.max_size));
    for (const std::string& line : lines)
        if (const control_result r = control_execute(n, line); r.rc)
            return fmt::format("{}: {}", line, r.err);
    return {};
}

std::string add_routes(net& n, const std::vector<prefix>& routes) {
    rt_genid_batch_begin(n);
    fib_config cfg;
    cfg.fc_nlflags = NLM_F_CREATE | NLM_F_EXCL;
    cfg.nexthops.resize(1);
    cfg.nexthops[0].has_gw = true;
    int err = 0;
    for (size_t i = 0; i < routes.size() && (!err || err == -EEXIST); ++i) {
        cfg.fc_dst = cpu_to_be32(routes[i].addr);
        cfg.fc_dst_len = routes[i].len;
        cfg.nexthops[0].gw = bench_next_hop(unsigned(i % BENCH_NEXT_HOPS));
        err = inet_rtm_newroute(n, cfg, nullptr);
    }
    rt_genid_batch_end(n);
    return err && err != -EEXIST ? std::string("routes: ") + std::strerror(-err) : std::string();
}

/// A burst of frames of 64 bytes (60 and the checksum), the shortest there are.
std::string write_frames(const std::string& path) {
    auto file = output_file::open(path);
    auto out = file ? capture_writer::begin(std::move(*file)) : tl::unexpected(file.error());
    if (!out)
        return out.error();
    const std::array<uint8_t, 60> frame{};
    for (unsigned i = 0; i < NET_RX_BURST; ++i)
        (*out)->write(0, frame.data(), frame.size());
    return (*out)->finish();
}

/// A port that receives frames without end, over which who measures writes.
tl::expected<port*, std::string> add_pcap_port(router& r) {
    const int fd = memfd_create("frames", 0); // read when the port starts, and not again
    if (fd < 0)
        return error(fmt::format("memfd_create: {}", std::strerror(errno)));
    const std::string file = fmt::format("/proc/self/fd/{}", fd), why = write_frames(file);
    tl::expected<port*, std::string> opened = error(why);
    if (why.empty())
        opened = router_add_port(
            r, {.name = "p0",
                .devargs = fmt::format("net_pcap_flood,rx_pcap={},infinite_rx=1", file)});
    close(fd);
    return opened;
}

} // namespace

tl::expected<bench_router, std::string> bench_router::make(const route_cache_job& job) {
    eal_options options;
    options.no_huge_mb = 256;
    static const auto eal = eal_start(options);
    if (!eal)
        return error(eal.error());
    log_sink = [](const char*) {}; // what is refused is counted
    router_options ro;
    ro.nr_workers = job.threads;
    ro.rhash_entries = job.rhash_entries;
    ro.seed = 1;
    auto made = router_create(ro);
    if (!made)
        return error(made.error());
    bench_router b;
    b.r = std::move(*made);
    for (port** p : {&b.p0, &b.p1}) {
        const bool in = p == &b.p0;
        auto opened =
            !job.pcap_ports ? router_add_ring_port(*b.r, in ? "p0" : "p1", 1024)
            : in            ? add_pcap_port(*b.r)
                 : router_add_port(*b.r, {.name = "p1", .devargs = "net_null_flood,no-rx=1"});
        if (!opened)
            return error(opened.error());
        *p = *opened;
        (*p)->keep_mac = false;
    }
    if (std::string why = configure(b.n(), job); !why.empty())
        return error(why);
    if (job.routes)
        if (std::string why = add_routes(b.n(), *job.routes); !why.empty())
            return error(why);
    return b;
}

std::string bench_router::end() {
    return router_destroy(std::move(r));
}

} // namespace slabfwd
