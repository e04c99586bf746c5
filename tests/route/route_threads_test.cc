// SPDX-License-Identifier: BSD-3-Clause
//
// Two workers route packets by their shards while the control thread changes routes, limits and
// sysctls, flushes, and reads the caches. Under ThreadSanitizer this finds what is shared and
// should not be.
#include <atomic>
#include <gtest/gtest.h>
#include <thread>

#include "route/rt_bucket_list.h"
#include "tests/route/rt_router.h"

namespace slabfwd::test {
namespace {

const be32_t OUTSIDE = ip("8.8.8.8"), OWN = ip("21.0.0.1");

struct worker_result {
    uint64_t routed = 0, wrong = 0, by_default = 0;
};

// What a worker's loop does around its packets.
void end_of_burst(softnet_data& sd) {
    flush_smp_call_function_queue(sd);
    dst_run_gc(sd);
    rcu_do_batch(sd);
    sd.nd_net->rcu.quiescent(sd.cpu);
}

// A burst's misses: next hops are looked up in the table, their own entries used. Two of them are
// for the default route's, but one of these is this host's at all times, by an address of lo.
uint64_t route_burst(net_device* p0, uint32_t first, uint64_t* by_default) {
    iphdr header[PACKET_BURST] = {}, *iph[PACKET_BURST];
    uint32_t hash[PACKET_BURST];
    rtable* rt[PACKET_BURST];
    softnet_data& sd = *this_softnet();
    for (unsigned i = 0; i < PACKET_BURST; ++i) {
        header[i].ihl_version = 0x45;
        header[i].ttl = 64;
        header[i].saddr = ip("10.0.0.3");
        header[i].daddr = i == 0   ? OUTSIDE
                          : i == 1 ? OWN
                                   : cpu_to_be32(0xc0a80000u + (first + i) * 7919 % 3000);
        iph[i] = &header[i];
        hash[i] = rt_hash_of(sd.rt_shard,
                             rt_make_key(header[i].daddr, header[i].saddr, p0->ifindex, 0, 0, 0));
    }
    const uint32_t absent = rt_bucket_list(sd.rt_shard->rt_hash_table, sd.rt_shard->rt_hash_mask,
                                           hash, PACKET_BURST, rt);
    rt_asked asked;
    if (absent)
        ip_route_ask_list(&sd, iph, hash, absent, asked);
    uint64_t wrong = 0;
    for_each_bit(ip_route_input_list(&sd, p0, iph, hash, absent, asked, rt), [&](unsigned i) {
        const char* dev = rt[i]->dst.dev->name;
        wrong += dev[0] != 'p' || (dev[1] != '1' && dev[1] != '2') || i == 1;
        *by_default += i == 0;
    });
    return wrong;
}

void route_packets(rt_router& r, unsigned cpu, const std::atomic<bool>& stop, worker_result* out) {
    softnet_data& sd = *r.n.softnet[cpu];
    softnet_loop_begin(sd);
    net_device* p0 = r.port("p0");
    sk_buff* skb = make_skb(udp_packet(ip("10.0.0.2"), ip("192.168.0.1")), p0);
    skb_reset_network_header(skb);
    for (uint32_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
        auto reason = skb_drop_reason::NOT_SPECIFIED;
        be32_t daddr = cpu_to_be32(0xc0a80000u + i * 7919 % 300);
        if (ip_route_input(skb, daddr, ip("10.0.0.2"), 0, p0, &reason) == 0) {
            const char* dev = skb->dst->dev->name;
            out->wrong += dev[0] != 'p' || (dev[1] != '1' && dev[1] != '2');
        } else {
            ++out->wrong;
        }
        flowi4 fl4;
        fl4.daddr = daddr;
        int err = 0;
        out->wrong += !ip_route_output_key(r.n, &fl4, &err);
        skb->dst = nullptr;
        ++out->routed;
        if (i % 32 == 31) {
            out->wrong += ip_route_input(skb, OUTSIDE, ip("10.0.0.2"), 0, p0, &reason) != 0;
            skb->dst = nullptr;
            out->wrong += route_burst(p0, i, &out->by_default);
            ++sd.jiffies;
            end_of_burst(sd);
        }
    }
    consume_skb(skb);
    end_of_burst(sd);
    softnet_loop_end(sd);
}

void change_things(rt_router& r, int round) {
    const char* gateways[] = {"10.0.1.2", "10.0.2.2", "10.0.2.3", "10.0.1.77"};
    r.setup((std::string("route replace 192.168.0.0/16 via ") + gateways[round % 4]).c_str());
    if (round % 2) {
        r.setup("route append 192.168.0.0/16 via 10.0.2.4");
        r.setup("route del 192.168.0.0/16 via 10.0.2.4");
    }
    if (round % 3 == 0)
        r.limits(round % 2 ? 40 : 400, round % 2 ? 100 : 1000);
    if (round % 7 == 0)
        dev_set_mtu(r.port("p1"), 1400 + round % 100);
    if (round % 11 == 0) {
        r.n.ipv4.sysctl_rt_cache_rebuild_count = round % 2 ? -1 : 4;
        rt_sysctl_changed(r.n);
    }
    r.setup(round % 2 ? "addr add 127.0.0.1/8 dev lo" : "addr del 127.0.0.1/8 dev lo");
    if (round % 5 == 0)
        ipv4_sysctl_rtcache_flush(r.n);
    for (const rt_cache_row& row : rt_cache_dump(r.n, 0))
        EXPECT_TRUE(row.iface[0] == 'p' || row.iface[0] == 'l');
    rt_cache_totals t = rt_cache_get_totals(r.n);
    EXPECT_GE(t.allocated, t.collected);
    inet_getpeer_v4(r.n, cpu_to_be32(0x0b000000u + uint32_t(round)), 0);
    rcu_do_batch(*this_softnet());
}

TEST(route_threads, lookups_beside_changes) {
    rt_router r(2);
    r.setup("route add 192.168.0.0/16 via 10.0.1.2\nroute add default via 10.0.1.3\n"
            "addr add 21.255.255.254/8 dev lo");
    r.enter(r.n.control_cpu());
    std::atomic<bool> stop{false};
    worker_result result[2];
    std::thread workers[2];
    for (unsigned cpu = 0; cpu < 2; ++cpu)
        workers[cpu] =
            std::thread([&r, cpu, &stop, out = &result[cpu]] { route_packets(r, cpu, stop, out); });
    auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
    int round = 0;
    for (; std::chrono::steady_clock::now() < end; ++round)
        change_things(r, round);
    stop = true;
    for (auto& w : workers)
        w.join();
    for (const worker_result& w : result) {
        EXPECT_GT(w.routed, 1000u);
        EXPECT_GT(w.by_default, 0u);
        EXPECT_EQ(w.wrong, 0u);
    }
    EXPECT_GT(round, 10);
    r.enter(0);
}

} // namespace
} // namespace slabfwd::test
