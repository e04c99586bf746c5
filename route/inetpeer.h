// SPDX-License-Identifier: BSD-3-Clause
//
// inet_peer: what the router remembers of a remote host beyond any one route: the ICMP token
// bucket, how many redirects it ignored, the path mtu and the better gateway learned for it. It
// lives here and not in route-cache entries, so that behaviour on the wire does not depend on the
// cache. Doors: inet_getpeer_v4 (find or make), inet_peer_xrlim_allow (ICMP rate limit). Threads:
// one table a net, used by all slots. A chain is changed under its bucket's lock and read under
// RCU; a peer's fields change under its own lock. Peers are freed after a grace period.
// Origin: include/net/inetpeer.h, net/ipv4/inetpeer.c (6.18; the learned facts as in 2.6.39).
#pragma once

#include "neigh/net_namespace.h"

namespace slabfwd {

struct inet_peer {
    inet_peer* next = nullptr; ///< chain, RCU
    be32_t addr{};
    int vif = 0;                     ///< VRF device the address belongs to, 0: none
    std::atomic<jiffies_t> dtime{0}; ///< last use
    std::atomic<uint32_t> rid{0};    ///< fragments received from it (ipfrag_max_dist)
    spinlock_t lock;                 ///< what follows
    uint32_t n_redirects = 0;        ///< sent and not heeded
    jiffies_t rate_tokens = 0;       ///< ICMP token bucket, in jiffies
    jiffies_t rate_last = 0;         ///< when it was filled last; last redirect
    // Learned for the destination `addr`, by the next hop (learned_oif, learned_gw) only; oif 0: by
    // any.
    int learned_oif = 0;
    be32_t learned_gw{};
    uint32_t learned_genid = 0; ///< inet_peer_base::genid then; another one: forgotten
    uint32_t pmtu_learned = 0;  ///< 0: none
    bool pmtu_locked = false;
    jiffies_t pmtu_expires = 0;
    be32_t redirect_learned{}; ///< 0: none
    jiffies_t redirect_expires = 0;
    rcu_head rcu;
};

/// What was learned for a destination, as a route takes it over.
struct inet_peer_learned {
    uint32_t pmtu = 0;
    bool pmtu_locked = false;
    be32_t gateway{};
    jiffies_t expires = 0; ///< of both: the earlier one; 0: nothing learned
};

struct inet_peer_bucket;

/// All peers of a net. Origin: struct inet_peer_base.
struct inet_peer_base {
    inet_peer_bucket* buckets = nullptr;
    uint32_t mask = 0;
    uint64_t seed = 0;
    std::atomic<int> total{0};
    std::atomic<uint32_t> rover{0};
    std::atomic<uint32_t> genid{1};         ///< bumped: everything learned is forgotten
    std::atomic<uint32_t> learned_genid{1}; ///< bumped whenever something is learned or forgotten
    std::atomic<int> learned{0};            ///< peers that have learned facts; 0 spares the look-up
};

// Origin: inet_peer_threshold, inet_peer_minttl, inet_peer_maxttl.
constexpr int inet_peer_threshold = 65536 + 128;
constexpr jiffies_t inet_peer_minttl = 120 * HZ, inet_peer_maxttl = 10 * 60 * HZ;

/// Makes / frees the peers of a net (net.ipv4.peers, slab "inet_peer_cache"). 0 or -ENOMEM.
int inet_peers_init(net& n);
void inet_peers_exit(net& n);
/// The peer of an address, made when missing and `create`: good to the end of the burst (RCU). Null
/// when there is none, or no memory. Idle peers of the chains passed go on the way, sooner the more
/// there are.
inet_peer* inet_getpeer_v4(net& n, be32_t addr, int vif, bool create = true);
/// Token bucket: true when one more message that costs `timeout` jiffies may be sent to the peer;
/// null always may. Origin: inet_peer_xrlim_allow.
bool inet_peer_xrlim_allow(inet_peer* peer, jiffies_t timeout);
/// What was learned about daddr when reached by (oif, gw). Cheap when nothing was ever learned.
inet_peer_learned inet_peer_find_learned(net& n, be32_t daddr, int oif, be32_t gw);
/// Learns a path mtu (pmtu != 0) or a gateway (gateway != 0) for daddr by (oif, gw); oif 0: by
/// whichever next hop. False: no memory.
bool inet_peer_learn(net& n, be32_t daddr, int oif, be32_t gw, uint32_t pmtu, bool pmtu_locked,
                     be32_t gateway, jiffies_t expires);
/// Forgets everything learned.
void inet_peer_forget_all(net& n);

} // namespace slabfwd
