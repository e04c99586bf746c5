// SPDX-License-Identifier: BSD-3-Clause
//
// A router whose routing decisions are looked at packet by packet: fib_router with addresses,
// neighbours that answer, and the functions to the right of route/ replaced by recorders. Doors:
// rt_router::input / output say in words what was decided; burst_end() ends a burst.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "route/route_cache.h"
#include "tests/route/fib_router.h"

namespace slabfwd::test {

/// An ICMP message that route/ asked for.
struct icmp_asked {
    int type, code;
    be32_t info;
    bool operator==(const icmp_asked&) const = default;
};

class rt_router : public fib_router {
public:
    /// p0 10.0.0.1/24, p1 10.0.1.1/24, p2 10.0.2.1/24 are up and forward.
    /// Of every /24, hosts .2 to .9 are known neighbours.
    explicit rt_router(unsigned workers = 1);
    ~rt_router();

    /// Routes a packet and says what comes of it: "forward via G dev D [redirect]", "local",
    /// "broadcast", "multicast", "error N", "refused REASON". The entry is in rt (good until
    /// burst_end).
    std::string input(const char* src, const char* dst, const char* dev = "p0", uint8_t tos = 0,
                      uint8_t proto = IPPROTO_UDP_);
    /// Routes an own packet: "via G dev D src S [local|broadcast|multicast]", "error N".
    std::string output(const char* dst, const char* src = nullptr, const char* oif = nullptr);
    /// The packet of the next-to-come handler call, as input() leaves it: runs ip_error on it.
    void error_packet(const char* src, const char* dst, const char* dev = "p0");
    /// A forwarded packet for which a redirect is due: runs ip_rt_send_redirect on it.
    void redirect_packet(const char* src, const char* dst, const char* dev = "p0");

    void burst_end() { dst_run_gc(*this_softnet()); }
    rt_hash_shard* shard() { return this_softnet()->rt_shard; }
    uint64_t stat(rt_cache_stat e) { return this_softnet()->rt_stat[e]; }
    /// A neighbour in state; address 02:cc:... made from its IP.
    void neigh(const char* dev, const std::string& addr, uint8_t state = NUD_PERMANENT);
    /// net.ipv4.route.{gc_thresh,max_size,gc_elasticity}
    void limits(int gc_thresh, int max_size, int elasticity = 8);
    void cache_off();

    rtable* rt = nullptr;
    static std::vector<icmp_asked> icmp;
    static std::vector<std::string> log;
};

/// Lines that entered rt_router::log contain text.
bool logged(const std::string& text);

} // namespace slabfwd::test
