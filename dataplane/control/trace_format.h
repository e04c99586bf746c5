// SPDX-License-Identifier: BSD-3-Clause
//
// A packet's walk as text: a headline that says what packet it is, then a line for each kernel
// function that reported a step, indented by how deep it is called. `replay --trace` and `ctl
// trace` print with it. Door: trace_formatter::event, for each event of a packet_tracer;
// packet_summary for one line about a packet. Threads: a formatter belongs to one slot.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "neigh/skbuff.h"
#include "neigh/softnet.h"

namespace slabfwd {

/// One line about a frame: addresses, protocol, ports or type, TTL, length. `frame` starts at the
/// Ethernet header; cut or broken ones are described as far as they go.
std::string packet_summary(std::span<const uint8_t> frame);
/// The same about a packet without link header.
std::string ip_packet_summary(std::span<const uint8_t> packet);
/// The same about skb wherever it is on its way.
std::string packet_summary(const sk_buff* skb);

/// How deep a function lies below netif_receive_skb; -1: not known, it then stands where the last
/// one stood.
int trace_depth(std::string_view function);

class trace_formatter {
public:
    /// The text of one event, to be printed at once: a headline when a packet begins, then the
    /// step.
    std::string event(const sk_buff* skb, const char* function, const char* text);
    /// Received packets so far.
    uint64_t packets() const { return packets_; }
    /// Whether this event would begin another received packet.
    bool begins_packet(const sk_buff* skb, const char* function) const;
    /// Numbers given to packets come from here when set (several formatters, one sequence).
    void number_from(uint64_t (*next)(void*), void* cookie) {
        next_ = next;
        cookie_ = cookie;
    }

private:
    uint64_t packets_ = 0;
    const sk_buff* current_ = nullptr;
    const sk_buff* received_ = nullptr; ///< the packet whose walk this is
    bool last_was_entry_ = false;
    int depth_ = 0;
    uint64_t (*next_)(void*) = nullptr;
    void* cookie_ = nullptr;
};

} // namespace slabfwd
