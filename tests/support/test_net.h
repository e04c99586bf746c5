// SPDX-License-Identifier: BSD-3-Clause
//
// A router for unit tests: a net with its ARP table, recorder ports, a clock that stands still
// until it is moved, packets from the heap. At its end it checks that every packet is accounted for
// and none leaks. Door: test_net; derive from it to hang more below the net (route tests) and take
// that down again in the derived destructor. Threads: made and used by one thread, as slot 0;
// threads of a test enter further slots themselves.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "neigh/arp.h"
#include "neigh/inetdevice.h"
#include "neigh/net_namespace.h"
#include "tests/support/heap_skb.h"
#include "tests/support/packets.h"

namespace slabfwd::test {

/// A frame that left by a recorder port.
struct sent_frame {
    net_device* dev;
    uint64_t at_ns;
    bytes data;
};

/// ARP's questions about routes answered from the address lists alone: own addresses are local,
/// subnet broadcast addresses broadcast, class D multicast, the rest unicast out of the device
/// whose subnet holds it (none: no route). Tests of route/ replace it by their own.
void use_address_list_routes();

class test_net {
public:
    explicit test_net(unsigned workers = 1);
    ~test_net();
    test_net(const test_net&) = delete;
    test_net& operator=(const test_net&) = delete;

    net n;

    /// A recorder port, up, with address 02:00:00:00:00:NN in order.
    net_device* add_port(const char* name, int more_flags = 0);
    /// The loopback device, up, with 127.0.0.1/8 if with_addr; what is sent there is dropped
    /// (SHUTDOWN).
    net_device* add_lo(bool with_addr = true);
    /// An address straight into the list, no routes made. "10.0.0.1/24".
    in_ifaddr* add_addr(net_device* dev, const char* prefix, uint8_t scope = RT_SCOPE_UNIVERSE,
                        uint32_t flags = 0);

    /// Enters slot cpu on this thread.
    void enter(unsigned cpu) { softnet_enter(n.softnet[cpu].get()); }
    /// Time passes: due timers run on their slots, at their own jiffy, in order; then RCU
    /// callbacks.
    void advance_ms(uint64_t ms) { advance_ns(ms * NSEC_PER_MSEC); }
    void advance_ns(uint64_t ns);
    uint64_t now_ns() const { return now_ns_; }

    /// Receives a frame on dev as a port does: counts it, sorts it; ARP goes to arp_rcv, the rest
    /// to rx_ip.
    void receive(net_device* dev, const bytes& frame);
    /// What receives IP packets (data at the IP header); drops with UNHANDLED_PROTO unless set.
    void (*rx_ip)(sk_buff* skb) = nullptr;
    /// Counts a packet that a test hands into the middle of the stack as received.
    sk_buff* inject(sk_buff* skb);

    /// Takes the frames sent since the last call.
    std::vector<sent_frame> take_sent();
    size_t sent_count() const { return sent_.size(); }
    /// When false, frames are counted but not kept.
    bool record = true;

    uint64_t drops(skb_drop_reason reason) const;
    uint64_t balance(balance_stat e) const;
    uint64_t nd_stat(neigh_statistics e) const;
    neigh_table& arp() { return *n.arp_tbl; }
    /// Entry without reference, or null.
    neighbour* find(net_device* dev, const char* addr);
    /// State of the entry; NUD_NONE when there is none.
    uint8_t state(net_device* dev, const char* addr);
    /// Every entry's neigh_is_valid.
    bool all_valid();
    /// rx + originated + fragments_created + copies == tx + delivered + fragmented + drops + held.
    void expect_balanced(int held_elsewhere = 0);

private:
    static void xmit(sk_buff* skb, net_device* dev);
    void set_clock(uint64_t ns);

    std::vector<std::unique_ptr<net_device>> devs_;
    std::vector<std::pair<net_device*, in_ifaddr*>> addrs_;
    spinlock_t sent_lock_;
    std::deque<sent_frame> sent_;
    uint64_t now_ns_ = 0;
    std::atomic<uint64_t> rx_{0}, tx_{0};
    int live_at_start_;
};

} // namespace slabfwd::test
