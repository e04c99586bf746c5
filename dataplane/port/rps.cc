// SPDX-License-Identifier: BSD-3-Clause
//
// Receive packet steering: where a port has fewer receive queues than there are workers, who receives a
// frame looks at its flow and hands bursts of other workers' flows to them over rings, one a worker. A
// flow is a pair of IPv4 addresses, as the route cache knows it, so that its packets keep their order and
// its entry lies in one shard; fragments go where the rest of their datagram goes. What is not IPv4 stays.
// Doors: rps_init, rps_steer (by who received), process_backlog (by whose flow it is).
// Threads: any worker puts into a ring, its own worker alone takes out. A burst costs one exchange on
// each ring it goes to. Origin: get_rps_cpu, enqueue_to_backlog, process_backlog (net/core/dev.c).
#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_ring.h>

#include "dataplane/port/port.h"
#include "neigh/wire.h"

namespace slabfwd {

namespace {

/// net.core.netdev_max_backlog is 1000.
constexpr unsigned BACKLOG = 1024;

/// The worker whose flow the frame is of; `self`: for whoever has it.
unsigned get_rps_cpu(const rte_mbuf* m, unsigned workers, unsigned self) {
    const auto* eth = rte_pktmbuf_mtod(m, const ethhdr*);
    if (unlikely(m->data_len < ETH_HLEN + sizeof(iphdr) || eth->h_proto != cpu_to_be16(ETH_P_IP)))
        return self;
    const auto* iph = reinterpret_cast<const iphdr*>(eth + 1);
    const uint64_t flow = uint64_t(iph->saddr.raw) << 32 | iph->daddr.raw;
    // The upper half of a product has taken in every bit; it is scaled to the workers, not divided.
    const uint64_t hash = flow * 0x9e3779b97f4a7c15u >> 32;
    return unsigned(((hash ^ flow * 0xa0761d6478bd642fu >> 32) & 0xffffffff) * workers >> 32);
}

/// Origin: enqueue_to_backlog.
void enqueue_to_backlog(port& p, softnet_data& sd, unsigned cpu, rte_mbuf** m, unsigned n) {
    const unsigned done =
        rte_ring_enqueue_burst(p.backlog[cpu], reinterpret_cast<void**>(m), n, nullptr);
    if (unlikely(done < n)) {
        sd.dev[size_t(p.dev.ifindex)].rx_dropped.add(n - done);
        sd.drops[unsigned(skb_drop_reason::CPU_BACKLOG)].add(n - done);
        for (unsigned i = done; i < n && unlikely(sd.drop_mon != nullptr); ++i) {
            sk_buff* skb = skb_from_mbuf(m[i]);
            skb_init(skb, &p.dev, sd.now_ns);
            sd.drop_mon->dropped(sd.drop_mon, skb, skb_drop_reason::CPU_BACKLOG);
        }
        rte_pktmbuf_free_bulk(m + done, n - done);
    }
}

} // namespace

std::string rps_init(port& p, unsigned workers) {
    if (workers > RPS_MAX_WORKERS)
        return fmt::format("flows are spread over {} workers at most", RPS_MAX_WORKERS);
    for (unsigned cpu = 0; cpu < workers; ++cpu) {
        rte_ring* r = rte_ring_create(fmt::format("rps{}_{}", p.port_id, cpu).c_str(), BACKLOG,
                                      SOCKET_ID_ANY, RING_F_SC_DEQ);
        if (!r)
            return fmt::format("backlog ring: {}", rte_strerror(rte_errno));
        p.backlog.push_back(r);
    }
    return {};
}

uint16_t rps_steer(port& p, softnet_data& sd, rte_mbuf** m, uint16_t n) {
    const auto workers = unsigned(p.backlog.size());
    std::array<std::array<rte_mbuf*, NET_RX_BURST>, RPS_MAX_WORKERS> to;
    std::array<uint8_t, RPS_MAX_WORKERS> count{};
    for (uint16_t i = 0; i < n; ++i)
        rte_prefetch0(rte_pktmbuf_mtod(m[i], void*));
    for (uint16_t i = 0; i < n; ++i) {
        const unsigned cpu = get_rps_cpu(m[i], workers, sd.cpu);
        to[cpu][count[cpu]++] = m[i];
    }
    for (unsigned cpu = 0; cpu < workers; ++cpu)
        if (cpu != sd.cpu && count[cpu])
            enqueue_to_backlog(p, sd, cpu, to[cpu].data(), count[cpu]);
    std::copy_n(to[sd.cpu].begin(), count[sd.cpu], m);
    return count[sd.cpu];
}

uint16_t backlog_take(port& p, const softnet_data& sd, rte_mbuf** m) {
    return uint16_t(rte_ring_dequeue_burst(p.backlog[sd.cpu], reinterpret_cast<void**>(m), NET_RX_BURST,
                                           nullptr));
}

} // namespace slabfwd
