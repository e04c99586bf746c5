// SPDX-License-Identifier: BSD-3-Clause
//
// fuzz_one: see fuzz_one.h. One router lives for all inputs, so that state builds up as it does in
// service; its clock moves on a little with each frame, so that timers of all kinds go off too.
#include "tests/dataplane/ip/fuzz_one.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {

namespace {

/// A router that takes whatever can be switched on.
std::unique_ptr<ip_test_net> the_router;
uint64_t frames_in;
void (*setup)(ip_test_net& router) = nullptr;

ip_test_net& router() {
    if (!the_router) {
        the_router = std::make_unique<ip_test_net>();
        frames_in = 0;
        ip_test_net* r = the_router.get();
        r->record = false;
        auto open = [](ipv4_devconf& c) {
            c.accept_source_route = c.bc_forwarding = c.accept_redirects = 1;
            c.secure_redirects = 0;
        };
        open(r->n.ipv4.devconf_all);
        open(r->p0->ip_ptr->cnf);
        open(r->p1->ip_ptr->cnf);
        r->n.ipv4.sysctl_icmp_echo_ignore_broadcasts = 0;
        r->n.ipv4.sysctl_icmp_ignore_bogus_error_responses = 0;
        r->n.ipv4.sysctl_icmp_msgs_per_sec = 1'000'000;
        r->n.ipv4.sysctl_icmp_msgs_burst = 1'000'000;
        r->n.ipv4.sysctl_icmp_ratelimit = 0;
        r->n.ipv4.sysctl_ipfrag_high_thresh = 200'000;
        dev_set_mtu(r->p1, 600);
        r->add_route("192.168.0.0/16", "10.0.0.3", nullptr);
        r->add_route("172.16.0.0/16", nullptr, nullptr, RTN_UNREACHABLE);
        if (setup)
            setup(*r);
        r->enter(0);
    }
    return *the_router;
}

bool balanced(ip_test_net& t, uint64_t rx, uint64_t tx) {
    uint64_t in = rx + t.balance(balance_stat::originated) +
                  t.balance(balance_stat::fragments_created) + t.balance(balance_stat::copies);
    uint64_t out = tx + t.balance(balance_stat::delivered) + t.balance(balance_stat::fragmented) +
                   t.all_drops() + ip_frag_held(t.n) + uint64_t(neigh_held(t.n));
    if (in != out)
        fprintf(stderr, "in %lu out %lu\n", static_cast<unsigned long>(in),
                static_cast<unsigned long>(out));
    return in == out;
}

uint64_t sum_dev(const ip_test_net& t, cpu_counter dev_stats::*counter) {
    uint64_t sum = 0;
    for (const auto& sd : t.n.softnet)
        for (const net_device* dev : {t.p0, t.p1})
            sum += (sd->dev[size_t(dev->ifindex)].*counter).get();
    return sum;
}

void one_frame(ip_test_net& t, const uint8_t* data, size_t len, uint8_t switches) {
    net_device* dev = switches & 1 ? t.p1 : t.p0;
    const unsigned seg = switches & 2 ? 40 + (switches >> 4) * 8 : 2000;
    rte_mbuf* head = heap_mbuf_chain(unsigned(len + ETH_HLEN), seg);
    ethhdr eth{};
    memset(eth.h_dest, switches & 4 ? 0xff : 0, ETH_ALEN);
    if (!(switches & 4))
        memcpy(eth.h_dest, dev->dev_addr, ETH_ALEN);
    eth.h_source[0] = 2;
    eth.h_proto = cpu_to_be16(ETH_P_IP);
    size_t done = 0;
    for (rte_mbuf* m = head; m; m = m->next) {
        auto* to = rte_pktmbuf_mtod(m, uint8_t*);
        size_t n = std::min<size_t>(seg, len + ETH_HLEN - done);
        for (size_t i = 0; i < n; ++i, ++done)
            to[i] =
                done < ETH_HLEN ? reinterpret_cast<uint8_t*>(&eth)[done] : data[done - ETH_HLEN];
        m->data_len = uint16_t(n);
    }
    head->pkt_len = uint32_t(len + ETH_HLEN);
    sk_buff* skb = skb_from_mbuf(head);
    skb_init(skb, dev, ktime_get_ns());
    t.inject(skb);
    eth_type_trans(skb, dev);
    netif_receive_skb(skb);
    t.end_burst();
}

} // namespace

unsigned fuzz_one(const uint8_t* data, size_t len) {
    ip_test_net& t = router();
    t.enter(0);
    unsigned frames = 0;
    while (len > 3) {
        size_t want = size_t(data[0]) | size_t(data[1]) << 8;
        uint8_t switches = data[2];
        data += 3;
        len -= 3;
        size_t n = std::min(want % 2048, len);
        one_frame(t, data, n, switches);
        ++frames_in;
        ++frames;
        if (switches & 8) {
            t.advance_ms(37);
            t.end_burst(); // what timers sent over the loopback
        }
        if (!balanced(t, frames_in, sum_dev(t, &dev_stats::tx_packets))) {
            for (size_t i = 0; i < n; ++i)
                fprintf(stderr, "%02x", data[i]);
            fprintf(stderr, "\nswitches %02x\n", switches);
            abort();
        }
        data += n;
        len -= n;
    }
    return frames;
}

void fuzz_setup(void (*more)(ip_test_net& router)) {
    setup = more;
}

void fuzz_end() {
    the_router.reset();
}

} // namespace slabfwd::test
