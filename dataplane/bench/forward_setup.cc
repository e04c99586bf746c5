// SPDX-License-Identifier: BSD-3-Clause
//
// The router of bench forward, its rules, and the far end of its ports. See forward.h.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <unistd.h>

#include <fmt/format.h>
#include <rte_ring.h>

#include "dataplane/bench/bench_options.h"
#include "dataplane/bench/forward.h"
#include "dataplane/control/control.h"
#include "dataplane/replay/arp_hosts.h"
#include "dataplane/summary.h"

namespace slabfwd {

namespace {

tl::unexpected<std::string> error(std::string text) {
    return tl::unexpected(std::move(text));
}

/// The router that is there when no file says otherwise.
std::string default_config(unsigned lanes) {
    std::string s = "sysctl -w net.ipv4.ip_forward=1\n";
    for (unsigned i = 0; i < lanes; ++i) {
        const unsigned out = lanes + i;
        s += fmt::format("ip link set dev p{} up\nip link set dev p{} up\n"
                         "ip addr add 10.0.{}.1/24 dev p{}\nip addr add 10.1.{}.1/24 dev p{}\n",
                         i, out, i, i, i, out);
        s += fmt::format(
            "ip neigh add 10.0.{}.2 lladdr 02:00:0a:00:{:02x}:02 dev p{} nud permanent\n"
            "ip neigh add 10.1.{}.2 lladdr 02:00:0a:01:{:02x}:02 dev p{} nud permanent\n",
            i, i, i, i, i, out);
        s += fmt::format(
            "ip route add 11.{}.0.0/16 via 10.0.{}.2\nip route add 12.{}.0.0/16 via 10.1.{}.2\n"
            "ip route add {}.0.0.0/8 via 10.1.{}.2\n"
            "ip route add {}.0.0.0/8 via 10.1.{}.2 mtu lock 576\n",
            i, i, i, i, 16 + i, i, 40 + i, i);
    }
    return s;
}

/// A file that lives as long as it is looked at.
class text_file {
public:
    explicit text_file(const std::string& text) {
        const int fd = mkstemp(path_.data());
        if (fd >= 0)
            close(fd);
        why_ = fd < 0 ? path_ + ": " + std::strerror(errno) : write_text_file(path_, text);
    }
    ~text_file() { unlink(path_.c_str()); }
    text_file(const text_file&) = delete;
    const std::string& path() const { return path_; }
    const std::string& why() const { return why_; }

private:
    std::string path_ = "/tmp/slabfwd-bench-XXXXXX", why_;
};

std::string configure(router& r, const forward_job& job) {
    const text_file builtin(job.config.empty() ? default_config(job.lanes) : "");
    if (!builtin.why().empty())
        return builtin.why();
    if (auto done = control_load_file(r, job.config.empty() ? builtin.path() : job.config); !done)
        return done.error();
    if (!job.rules)
        return {};
    const text_file rules(forward_rules_text(job.rules));
    const std::string words[] = {"iptables-restore", "-n", rules.path()};
    const control_result done = control_execute(*r.n, words);
    return done.rc ? "rules: " + done.err : std::string();
}

/// The answer to an ARP request of the router, when it is one and somebody has the address.
bool answer_arp(port& p, rte_mbuf* m) {
    uint8_t reply[ARP_FRAME_LEN];
    const auto* frame = rte_pktmbuf_mtod(m, const uint8_t*);
    if (!arp_host_answer(p.dev, {frame, m->data_len}, reply))
        return false;
    rte_mbuf* answer = rte_pktmbuf_alloc(pktmbuf_pool());
    if (!answer)
        return false;
    std::memcpy(rte_pktmbuf_append(answer, ARP_FRAME_LEN), reply, ARP_FRAME_LEN);
    if (rte_ring_enqueue(p.ring_in, answer) != 0)
        rte_pktmbuf_free(answer);
    return true;
}

bool is_arp(const rte_mbuf* m) {
    const auto* eth = rte_pktmbuf_mtod(m, const uint8_t*);
    return m->data_len >= ARP_FRAME_LEN && eth[12] == 8 && eth[13] == 6;
}

} // namespace

std::string forward_rules_text(unsigned n) {
    std::string s = "*filter\n";
    for (unsigned i = 0; i < n; ++i)
        s += fmt::format(
            "-A FORWARD -s 172.16.{}.{}/32 -d 172.24.{}.{}/32 -p {} -m {} --dport {} -j DROP\n",
            i >> 8 & 255, i & 255, i >> 8 & 255, i & 255, i % 2 ? "tcp" : "udp",
            i % 2 ? "tcp" : "udp", 1 + i % 60000);
    return s + "COMMIT\n";
}

tl::expected<forward_router, std::string> forward_router::make(const forward_job& job) {
    eal_options options;
    options.no_huge = job.no_huge;
    options.no_huge_mb = 256;
    if (auto started = eal_start(options); !started)
        return error(started.error());
    router_options ro;
    ro.nr_workers = job.lanes;
    ro.seed = 1;
    ro.nr_mbufs = std::max(16383u, 4 * job.ring * job.lanes);
    auto made = router_create(ro);
    if (!made)
        return error(made.error());
    forward_router f;
    f.r = std::move(*made);
    f.r->cores = job.cores;
    for (unsigned i = 0; i < 2 * job.lanes;
         ++i) { // all inputs, then all outputs: worker i has both of lane i
        auto opened = router_add_ring_port(*f.r, fmt::format("p{}", i), job.ring);
        if (!opened)
            return error(opened.error());
        (*opened)->keep_mac = job.keep_mac;
    }
    if (std::string why = configure(*f.r, job); !why.empty())
        return error(why);
    return f;
}

unsigned take_away(forward_router& f, unsigned lane, bool arp_answer,
                   void (*seen)(void*, rte_mbuf**, unsigned), void* who) {
    rte_mbuf* m[TX_STAGE];
    unsigned total = 0;
    for (port* p : {&f.out(lane), &f.in(lane)}) {
        unsigned n;
        while ((n = rte_ring_dequeue_burst(p->ring_out, reinterpret_cast<void**>(m), TX_STAGE,
                                           nullptr)) != 0) {
            unsigned arp = 0;
            for (unsigned i = 0; i < n; ++i)
                if (unlikely(is_arp(m[i]))) {
                    ++arp;
                    if (arp_answer)
                        answer_arp(*p, m[i]);
                }
            if (seen)
                seen(who, m, n);
            rte_pktmbuf_free_bulk(m, n);
            total += n - arp;
        }
    }
    return total;
}

void forward_end(forward_router& f, child_result& out) {
    router_quiesce(*f.r);
    std::string why;
    if (!balanced(collect_summary(*f.r), &why))
        out.error = "packets do not balance: " + why;
    if (const std::string left = router_destroy(std::move(f.r)); !left.empty())
        out.error = "not given back at the end: " + left;
}

} // namespace slabfwd
