// SPDX-License-Identifier: BSD-3-Clause
//
// The replay itself: frames with time stamps go through a router of net_ring ports, on one worker
// that is turned from here, on a clock that stands still while the router works.
//
//   frame -> (timers that are due before it) -> ring_in -> worker_turn ... -> ring_out ->
//   capture_writer
//                                                    ^-- ARP answers of simulated hosts --'
//
// Doors: frame() for each frame in order, run() when a batch is complete, finish() after the last.
// Threads: one, which is worker 0's slot while the engine lives and the control slot again
// afterwards.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "dataplane/replay/capture_reader.h"
#include "dataplane/replay/capture_writer.h"
#include "dataplane/replay/pcapng_writer.h"
#include "dataplane/router.h"
#include "dataplane/summary.h"

namespace slabfwd {

/// Where everything goes. Pointers are borrowed.
struct replay_sinks {
    std::vector<capture_writer*> out; ///< by port; null (or none): sent frames are counted only
    pcapng_writer* drops = nullptr;   ///< its interfaces are the ports, in order
    packet_tracer* tracer = nullptr;
    uint64_t trace_frames = 0; ///< how many frames from the first are traced
    bool arp_answer = true;    ///< simulated hosts answer ARP
};

class replay_engine {
public:
    /// Takes over a configured router with one worker and ring ports, at the time its slots' clocks
    /// show.
    replay_engine(router& r, replay_sinks sinks);
    ~replay_engine();
    replay_engine(const replay_engine&) = delete;
    replay_engine& operator=(const replay_engine&) = delete;

    /// Delivers a frame to port number `port` at its time stamp, or now when that has passed.
    /// Frames of one port and one time are received in one burst, so it may wait until the next
    /// call. False: no packet buffers for it (counted in refused()).
    bool frame(unsigned port, const captured_frame& f);
    /// Turns the router until it has nothing more to do at this time.
    void run();
    /// Lets the clock run on until no timer can send or free a packet any more. False: one still
    /// could after RUN_ON_MAX of the clock (held packets are then for router_destroy).
    bool finish();

    uint64_t now_ns() const { return now_; }
    uint64_t frames() const { return frames_; }   ///< delivered
    uint64_t refused() const { return refused_; } ///< no buffers
    uint64_t cut() const { return cut_; }         ///< delivered as cut by the snap length
    uint64_t arp_answers() const { return answers_; }
    /// The first error of a writer, "" while all is written.
    const std::string& error() const { return error_; }

    /// Takes the simulated hosts' frames out of the counts of what was consumed here: they were not
    /// counted as received either.
    void exclude_simulated(router_summary& s) const;

    static constexpr uint64_t RUN_ON_MAX = 24ull * 3600 * 1'000'000'000;

private:
    struct monitor : drop_monitor {
        replay_engine* engine;
    };
    struct frame_start;
    void advance(uint64_t to_ns);
    unsigned drain();
    bool drain_port(unsigned port, unsigned& seen);
    void answer_arp(unsigned port, const rte_mbuf* m);
    void receive_uncounted(port& p, rte_mbuf* m);
    bool timers_pending() const;
    void on_drop(const sk_buff* skb, skb_drop_reason reason);
    void write_drop(const sk_buff* skb, skb_drop_reason reason);
    uint64_t delivered() const;

    router& r_;
    replay_sinks sinks_;
    worker& w_;
    monitor monitor_;
    uint64_t now_;
    unsigned batch_port_ = 0, batch_ = 0; ///< frames in ring_in not yet received
    uint64_t frames_ = 0, refused_ = 0, cut_ = 0, answers_ = 0;
    std::string error_;

    // The simulated frame being received, and what became of those before.
    const rte_mbuf* simulated_ = nullptr;
    uint64_t simulated_delivered_at_ = 0;
    uint64_t simulated_delivered_ = 0;
    std::map<skb_drop_reason, uint64_t> simulated_drops_;
    std::vector<uint8_t> flat_;
};

/// A packet of our pool with these bytes, chained where it is longer than a segment; null: out of
/// buffers.
rte_mbuf* mbuf_from_bytes(const uint8_t* data, uint32_t len);

} // namespace slabfwd
