// SPDX-License-Identifier: BSD-3-Clause
//
// Workers on real ports (net_ring): whole bursts by one port and by several, frames in chained
// buffers, and flows that are spread over workers: none is reordered, none is lost uncounted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>
#include <thread>

#include <rte_mempool.h>
#include <rte_ring.h>

#include "dataplane/control/control.h"
#include "dataplane/router.h"
#include "dataplane/summary.h"
#include "tests/support/packets.h"

namespace slabfwd::test {
namespace {

constexpr unsigned RING = 4096;
constexpr uint64_t T0 = 1'700'000'000ull * NSEC_PER_SEC;

/// Three ports, a resolved host behind each: 10.0.N.2 behind pN.
class ring_router {
public:
    ring_router(unsigned workers, bool rps, bool threads = false) {
        router_options o{.nr_workers = workers,
                         .rhash_entries = 4096,
                         .seed = 1,
                         .rps = rps,
                         .clock_start_ns = {}};
        if (!threads)
            o.clock_start_ns = T0;
        auto made = router_create(o);
        EXPECT_TRUE(made) << made.error();
        r = std::move(*made);
        command("sysctl -w net.ipv4.ip_forward=1");
        for (int i = 0; i < 3; ++i) {
            const std::string name = "p" + std::to_string(i),
                              net = "10.0." + std::to_string(i) + ".";
            auto p = router_add_ring_port(*r, name, RING);
            EXPECT_TRUE(p) << p.error();
            (*p)->keep_mac = false;
            command("ip link set dev " + name + " up");
            command("ip addr add " + net + "1/24 dev " + name);
            command("ip neigh add " + net + "2 lladdr 02:bb:00:00:0" + std::to_string(i) +
                    ":02 dev " + name);
        }
        command("ip route add 192.168.0.0/16 via 10.0.1.2");
    }
    ~ring_router() {
        if (!r)
            return;
        router_stop(*r);
        router_quiesce(*r);
        for (unsigned i = 0; i < 3; ++i)
            take(i);
        const router_summary s = collect_summary(*r);
        std::string why;
        EXPECT_TRUE(balanced(s, &why)) << why;
        EXPECT_EQ(router_destroy(std::move(r)), "");
    }
    void command(const std::string& line) {
        const control_result done = control_execute(*r->n, line);
        EXPECT_EQ(done.rc, 0) << line << ": " << done.err;
    }
    /// A frame into port's receive ring, in buffers of at most `room` bytes.
    void feed(unsigned port, const bytes& frame, size_t room = 1 << 11) {
        rte_mbuf *head = nullptr, *last = nullptr;
        for (size_t at = 0; at < frame.size(); at += room) {
            const size_t n = std::min(room, frame.size() - at);
            rte_mbuf* m = rte_pktmbuf_alloc(pktmbuf_pool());
            ASSERT_NE(m, nullptr);
            std::memcpy(rte_pktmbuf_append(m, uint16_t(n)), frame.data() + at, n);
            if (!head) {
                head = m;
            } else {
                last->next = m;
                ++head->nb_segs;
                head->pkt_len += uint32_t(n);
            }
            last = m;
        }
        ASSERT_EQ(rte_ring_enqueue(r->ports[port]->ring_in, head), 0);
    }
    /// What port has sent, in order; the buffers are freed.
    std::vector<bytes> take(unsigned port) {
        std::vector<bytes> frames;
        void* object;
        while (rte_ring_dequeue(r->ports[port]->ring_out, &object) == 0) {
            auto* m = static_cast<rte_mbuf*>(object);
            bytes f;
            for (const rte_mbuf* s = m; s; s = s->next) {
                const auto* data = rte_pktmbuf_mtod(s, const uint8_t*);
                f.insert(f.end(), data, data + s->data_len);
            }
            EXPECT_EQ(f.size(), m->pkt_len);
            frames.push_back(std::move(f));
            rte_pktmbuf_free(m);
        }
        return frames;
    }
    /// Every worker's turns, on this thread, until none finds work.
    void turn() {
        for (bool busy = true; busy;) {
            busy = false;
            for (auto& w : r->workers) {
                softnet_enter(w->sd);
                busy |= worker_turn(*w, T0) != 0;
            }
        }
        softnet_enter(r->n->softnet[r->n->control_cpu()].get());
    }
    uint64_t dropped(skb_drop_reason reason) const {
        uint64_t n = 0;
        for (auto& sd : r->n->softnet)
            n += sd->drops[unsigned(reason)].get();
        return n;
    }

    std::unique_ptr<router> r;
};

bytes framed(const bytes& packet) {
    bytes f = {2, 0xee, 0, 0, 0, 1, 2, 0xaa, 0, 0, 0, 2, 8, 0};
    f.insert(f.end(), packet.begin(), packet.end());
    return f;
}
iphdr header(const bytes& frame) {
    iphdr iph;
    std::memcpy(&iph, frame.data() + ETH_HLEN, sizeof iph);
    return iph;
}
/// Packet `id` of the flow to 192.168.F.F.
bytes flow_frame(unsigned flow, uint16_t id) {
    const std::string to =
        "192.168." + std::to_string(flow >> 8) + "." + std::to_string(flow & 255);
    bytes p = udp_packet(ip("10.0.0.2"), ip(to.c_str()));
    auto* iph = reinterpret_cast<iphdr*>(p.data());
    iph->id = cpu_to_be16(id);
    ip_send_check(iph);
    return framed(p);
}

/// As the router sends it on: TTL one less, checksum right, the rest untouched, next hop's header
/// in front.
void expect_forwarded(const bytes& in, const bytes& out, const char* next_hop) {
    ASSERT_EQ(in.size(), out.size());
    EXPECT_EQ(eth_dst(out), mac(next_hop));
    EXPECT_EQ(header(out).ttl, header(in).ttl - 1);
    EXPECT_EQ(ip_fast_csum(out.data() + ETH_HLEN, 5), 0);
    EXPECT_TRUE(std::equal(in.begin() + ETH_HLEN + 12, in.end(), out.begin() + ETH_HLEN + 12));
}

TEST(ports, a_burst_leaves_by_one_port_or_by_several_in_its_order) {
    ring_router x(1, false);
    std::vector<bytes> to[3];
    for (unsigned round = 0; round < 4; ++round) { // twice by one port, then by two
        for (unsigned i = 0; i < NET_RX_BURST; ++i) {
            const unsigned port = round >= 2 && i % 3 == 0 ? 2 : 1;
            bytes f =
                framed(udp_packet(ip("10.0.0.2"), ip(port == 1 ? "10.0.1.2" : "10.0.2.2"), i));
            x.feed(0, f);
            to[port].push_back(f);
        }
        x.turn();
    }
    for (unsigned port : {1u, 2u}) {
        const auto sent = x.take(port);
        ASSERT_EQ(sent.size(), to[port].size());
        for (size_t i = 0; i < sent.size(); ++i)
            expect_forwarded(to[port][i], sent[i],
                             port == 1 ? "02:bb:00:00:01:02" : "02:bb:00:00:02:02");
    }
    const router_summary s = collect_summary(*x.r);
    uint64_t bytes_in = 0;
    for (auto& frames : to)
        for (auto& f : frames)
            bytes_in += f.size();
    EXPECT_EQ(s.ports[0].rx_bytes, bytes_in);
    EXPECT_EQ(s.ports[1].tx_bytes + s.ports[2].tx_bytes, bytes_in);
}

TEST(ports, padding_is_received_and_not_sent) {
    ring_router x(1, false);
    const bytes f = framed(udp_packet(ip("10.0.0.2"), ip("10.0.1.2")));
    bytes padded = f;
    padded.resize(f.size() + 20);
    for (unsigned round = 0; round < 2; ++round) { // the second time from the cache
        for (unsigned i = 0; i < NET_RX_BURST; ++i)
            x.feed(0, padded);
        x.turn();
    }
    for (const bytes& sent : x.take(1))
        EXPECT_EQ(sent.size(), f.size());
    const router_summary s = collect_summary(*x.r);
    const unsigned count = 2 * NET_RX_BURST;
    EXPECT_EQ(s.ports[1].tx_bytes, count * f.size());
    const auto& mib = x.r->n->softnet[0]->ip_statistics;
    EXPECT_EQ(mib[ipstats_mib::INOCTETS].get(), count * (padded.size() - ETH_HLEN));
    EXPECT_EQ(mib[ipstats_mib::OUTOCTETS].get(), count * (f.size() - ETH_HLEN));
}

/// Frames that leave their burst go out in their place between plain ones, more of them than a
/// stage takes.
TEST(ports, a_mixture_by_one_port_keeps_its_order_and_its_bytes) {
    ring_router x(1, false);
    x.command("ip link set dev p1 mtu 576");
    std::mt19937 rng(1);
    uint64_t bytes_in = 0;
    uint16_t id = 0;
    for (unsigned round = 0; round < 40; ++round) {
        for (unsigned i = 0; i < NET_RX_BURST; ++i) {
            const unsigned kind =
                round ? unsigned(rng() % 8) : 0; // first only plain ones, into the cache
            bytes p = udp_packet(ip("10.0.0.2"), ip("10.0.1.2"), kind == 1 ? 1400 : rng() % 64);
            if (kind == 2) // three NOPs and the end of the list
                p.insert(p.begin() + sizeof(iphdr), {1, 1, 1, 0});
            auto* iph = reinterpret_cast<iphdr*>(p.data());
            iph->frag_off = {};
            iph->id = cpu_to_be16(++id);
            iph->ttl = kind == 3 ? 1 : 64;
            if (kind == 2) {
                iph->ihl_version = 0x46;
                iph->tot_len = cpu_to_be16(uint16_t(p.size()));
            }
            ip_send_check(iph);
            bytes f = framed(p);
            if (kind == 4) // padding
                f.resize(f.size() + 1 + rng() % 30);
            bytes_in += f.size();
            x.feed(0, f);
        }
        x.turn();
    }
    const auto sent = x.take(1), back = x.take(0);
    uint64_t bytes_out = 0;
    int last = 0;
    for (const bytes& f : sent) {
        EXPECT_GE(be16_to_cpu(header(f).id), last);
        EXPECT_EQ(f.size() - ETH_HLEN, be16_to_cpu(header(f).tot_len));
        EXPECT_EQ(ip_fast_csum(f.data() + ETH_HLEN, header(f).ihl()), 0);
        last = be16_to_cpu(header(f).id);
        bytes_out += f.size();
    }
    EXPECT_GT(sent.size(), 40u * NET_RX_BURST);
    const router_summary s = collect_summary(*x.r);
    EXPECT_EQ(s.ports[0].rx_bytes, bytes_in);
    EXPECT_EQ(s.ports[1].tx_packets, sent.size());
    EXPECT_EQ(s.ports[1].tx_bytes, bytes_out);
    const auto& mib = x.r->n->softnet[0]->ip_statistics;
    for (const bytes& f : back)
        bytes_out += f.size();
    EXPECT_EQ(mib[ipstats_mib::OUTOCTETS].get(),
              bytes_out - (sent.size() + back.size()) * ETH_HLEN);
}

TEST(ports, jumbo_frames_in_chained_buffers_are_forwarded_or_cut) {
    ring_router x(1, false);
    x.command("ip link set dev p0 mtu 9000");
    x.command("ip link set dev p1 mtu 9000");
    std::vector<bytes> in;
    for (unsigned i = 0; i < 40; ++i) {
        in.push_back(framed(udp_packet(ip("10.0.0.2"), ip("10.0.1.2"), 3000 + 100 * i)));
        x.feed(0, in.back(), i % 2 ? 1500 : 100);
        x.feed(0, framed(udp_packet(ip("10.0.0.2"), ip("10.0.2.2"), 3000)),
               1000); // its mtu is 1500
        x.turn();
    }
    const auto sent = x.take(1);
    ASSERT_EQ(sent.size(), in.size());
    for (size_t i = 0; i < sent.size(); ++i)
        expect_forwarded(in[i], sent[i], "02:bb:00:00:01:02");
    const auto cut = x.take(2);
    ASSERT_EQ(cut.size(), 40u * 3);
    size_t payload = 0;
    for (const bytes& f : cut) {
        EXPECT_LE(f.size(), 1514u);
        EXPECT_EQ(ip_fast_csum(f.data() + ETH_HLEN, 5), 0);
        payload += be16_to_cpu(header(f).tot_len) - sizeof(iphdr);
    }
    EXPECT_EQ(payload, 40u * 3008);
}

TEST(rps, all_of_a_pair_of_addresses_goes_to_one_worker) {
    ring_router x(3, true);
    port& p = *x.r->ports[0];
    softnet_data& sd = *x.r->n->softnet[0];
    std::map<bool, unsigned> flows;
    for (unsigned flow = 1; flow < 200; ++flow) {
        rte_mbuf* m[3];
        for (unsigned i = 0; i < 3; ++i) { // another TOS, a fragment
            bytes f = flow_frame(flow, uint16_t(i));
            f[ETH_HLEN + 1] = uint8_t(i == 1 ? 0x10 : 0);
            f[ETH_HLEN + 7] = i == 2;
            m[i] = rte_pktmbuf_alloc(pktmbuf_pool());
            std::memcpy(rte_pktmbuf_append(m[i], uint16_t(f.size())), f.data(), f.size());
        }
        const uint16_t mine = rps_steer(p, sd, m, 3);
        EXPECT_TRUE(mine == 0 || mine == 3) << mine;
        ++flows[mine != 0];
        sd.dev[size_t(p.dev.ifindex)].rx_packets.add(3); // they count as received
        rte_pktmbuf_free_bulk(m, mine);
        sd.drops[unsigned(skb_drop_reason::SHUTDOWN)].add(mine);
    }
    EXPECT_GT(flows[true], 40u); // a third
    EXPECT_LT(flows[true], 95u);
}

TEST(rps, what_is_not_ipv4_stays_with_who_received_it) {
    ring_router x(2, true);
    for (unsigned i = 0; i < 50; ++i)
        x.feed(0, arp_frame(mac("ff:ff:ff:ff:ff:ff"), mac("02:aa:00:00:00:02"),
                            {1,
                             mac("02:aa:00:00:00:02"),
                             ip(("10.0.0." + std::to_string(2 + i)).c_str()),
                             {},
                             ip("10.0.0.1")}));
    softnet_enter(x.r->workers[0]->sd);
    EXPECT_EQ(worker_turn(*x.r->workers[0], T0), 50u);
    EXPECT_TRUE(rte_ring_empty(x.r->ports[0]->backlog[1]));
    x.turn();
    EXPECT_EQ(x.take(0).size(), 50u);
}

TEST(rps, frames_for_a_worker_that_does_not_come_are_dropped_and_counted) {
    ring_router x(2, true);
    softnet_enter(x.r->workers[0]->sd);
    unsigned flow = 1; // one of worker 1
    for (;; ++flow) {
        x.feed(0, flow_frame(flow, 0));
        worker_turn(*x.r->workers[0], T0);
        if (!rte_ring_empty(x.r->ports[0]->backlog[1]))
            break;
    }
    for (unsigned i = 0; i < 1200; ++i)
        x.feed(0, flow_frame(flow, uint16_t(i)));
    while (worker_turn(*x.r->workers[0], T0))
        ;
    EXPECT_EQ(x.dropped(skb_drop_reason::CPU_BACKLOG), 1200u + 1 - 1023);
    const auto& st = x.r->workers[0]->sd->dev[size_t(x.r->ports[0]->dev.ifindex)];
    EXPECT_EQ(st.rx_dropped.get(), 1200u + 1 - 1023);
    x.turn(); // the rest is sent, or is when the router ends
    EXPECT_GE(x.take(1).size(), 1023u);
}

/// The packets of each flow come in their order; flow -> packets seen.
void expect_in_order(const std::vector<bytes>& frames, std::map<uint32_t, unsigned>& seen) {
    for (const bytes& f : frames) {
        const iphdr iph = header(f);
        ASSERT_EQ(be16_to_cpu(iph.id), uint16_t(seen[iph.daddr.raw]++)) << "flow out of order";
    }
}
uint64_t forwarded(const ring_router& x) {
    uint64_t n = 0;
    for (auto& w : x.r->workers)
        n += w->sd->ip_statistics[ipstats_mib::OUTFORWDATAGRAMS].get();
    return n;
}

// Fed before the workers start and taken after they ended: what they do among themselves is all
// that ThreadSanitizer has to understand. It cannot see into the net_ring driver, which is not
// built for it.
TEST(rps, workers_pass_flows_on_in_their_order) {
    constexpr unsigned FLOWS = 64, PACKETS = 1000;
    ring_router x(3, true, true);
    for (unsigned i = 0; i < PACKETS; ++i)
        x.feed(0, flow_frame(1 + i % FLOWS, uint16_t(i / FLOWS)));
    router_start(*x.r);
    const uint64_t end = rte_get_tsc_cycles() + 60 * rte_get_tsc_hz();
    while (forwarded(x) < PACKETS && rte_get_tsc_cycles() < end)
        std::this_thread::yield();
    router_stop(*x.r);
    router_quiesce(*x.r);
    std::map<uint32_t, unsigned> seen;
    const auto sent = x.take(1);
    EXPECT_EQ(sent.size(), PACKETS);
    expect_in_order(sent, seen);
}

#ifndef __SANITIZE_THREAD__
TEST(rps, flows_keep_their_order_over_running_workers) {
    constexpr unsigned FLOWS = 64, PACKETS = 20000, UNDER_WAY = 512;
    ring_router x(3, true, true);
    router_start(*x.r);
    std::map<uint32_t, unsigned> next; // flow -> packets seen
    unsigned fed = 0, got = 0;
    const uint64_t end = rte_get_tsc_cycles() + 60 * rte_get_tsc_hz();
    while (got < PACKETS && rte_get_tsc_cycles() < end) {
        for (; fed < PACKETS && fed - got < UNDER_WAY; ++fed)
            x.feed(0, flow_frame(1 + fed % FLOWS, uint16_t(fed / FLOWS)));
        const auto sent = x.take(1);
        got += unsigned(sent.size());
        ASSERT_NO_FATAL_FAILURE(expect_in_order(sent, next));
    }
    EXPECT_EQ(got, PACKETS);
    router_stop(*x.r);
    for (auto& w : x.r->workers)
        EXPECT_GT(w->sd->ip_statistics[ipstats_mib::OUTFORWDATAGRAMS].get(), PACKETS / FLOWS)
            << "worker " << w->sd->cpu;
}
#endif

} // namespace
} // namespace slabfwd::test

int main(int argc, char** argv) {
    testing::InitGoogleMock(&argc, argv);
    if (auto started = slabfwd::eal_start({.no_huge = true, .extra = {}}); !started) {
        std::fprintf(stderr, "%s\n", started.error().c_str());
        return 1;
    }
    const int status = RUN_ALL_TESTS();
    slabfwd::eal_stop();
    return status;
}
