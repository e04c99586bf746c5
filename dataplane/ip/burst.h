// SPDX-License-Identifier: BSD-3-Clause
//
// The per-burst context: parallel arrays that carry what the next stage needs. A packet that is plain
// (20-byte header, checksum right, cached plain route, connected neighbour) never gets an sk_buff; any
// other leaves: its bit is set in `slow`, with the stage whose per-packet function takes it on. Leaving
// packets are processed in their place when the burst is sent, so that no flow is reordered.
// Origin: the kernel's list receive (ip_list_rcv, net/ipv4/ip_input.c), made arrays.
#pragma once

#include "dataplane/netfilter/netfilter.h"
#include "dataplane/port/port.h"
#include "neigh/bits.h"
#include "route/route.h"

namespace slabfwd {

/// Where a packet that leaves its burst goes on.
enum class burst_exit : uint8_t {
    netif_receive_skb, ///< nothing done yet; data at the Ethernet header
    ip_rcv_finish,     ///< header checked, PRE_ROUTING passed; route wanted
    ip_forward_finish, ///< FORWARD passed, which has made it longer than the mtu
    ip_finish_output,  ///< the same of POST_ROUTING
    ip_forward,        ///< on a route to forward by (rt), but it, the TTL, length or neighbour is not plain
};

struct ip_burst {
    softnet_data* sd;
    net* nd_net;
    net_device* dev;
    uint32_t count;
    uint32_t slow;  ///< bit i: packet i leaves at exit[i]
    uint32_t gone;  ///< bit i: packet i was consumed by a hook
    uint32_t skbs;  ///< bit i: packet i has its sk_buff, data at the IP header
    bool hh_kept;   ///< the link headers are in hh, not yet in the frames
    uint64_t octets;  ///< of the IP datagrams in the burst: received, then (behind ip_rcv) to be sent
    uint32_t octets_of; ///< bit i: packet i passed ip_rcv, and is among them
    net_device* out;  ///< the port that all plain packets leave by; null: several, or no port
    rte_mbuf** m;     ///< the receiver's array
    iphdr* iph[PACKET_BURST];
    uint32_t len[PACKET_BURST]; ///< of frame i as received, behind its Ethernet header
    rtable* rt[PACKET_BURST];
    uint32_t hash[PACKET_BURST]; ///< of packet i's flow in the route cache
    uint64_t hh[PACKET_BURST][2]; ///< next hop's link header, when hooks are still to see the frame's own
    burst_exit exit[PACKET_BURST];

    uint32_t all() const { return count == PACKET_BURST ? ~0u : (1u << count) - 1; }
    uint32_t live() const { return all() & ~(slow | gone); }
    void leave(unsigned i, burst_exit at) {
        slow |= 1u << i;
        exit[i] = at;
    }
};

/// Calls f(i) for each packet of a set. All of them, the common case, is a plain loop.
template <class F> [[gnu::always_inline]] inline void for_each_of(const ip_burst& b, uint32_t set, F f) {
    const unsigned count = b.count; // f writes to the burst: read it once
    if (likely(set == b.all()))
        for (unsigned i = 0; i < count; ++i)
            f(i);
    else
        for_each_bit(set, f);
}
/// The same for the packets that are still in the burst.
template <class F> [[gnu::always_inline]] inline void for_each_live(const ip_burst& b, F f) {
    for_each_of(b, b.live(), f);
}

/// Gives packet i its sk_buff (data at the IP header) unless it has one.
sk_buff* burst_skb(ip_burst& b, unsigned i);

} // namespace slabfwd
