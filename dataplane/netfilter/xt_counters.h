// SPDX-License-Identifier: BSD-3-Clause
//
// Packet and byte counters of rules and policies: one pair per slot each, found by a number that a
// rule keeps as long as it lives, whatever generation of its table is in force. Nothing is lost
// when tables change or counters are set to zero: each slot only ever adds, and zero is where the
// owner began to look. Doors: xt_counter (owner), xt_slot_counters::add (packets). Threads:
// xt_counter and the pool belong to the control thread; add() to each slot for itself. Origin:
// struct xt_counters, xt_percpu_counter_alloc (net/netfilter/x_tables.c).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "neigh/rcu.h"

namespace slabfwd {

/// What a rule has counted.
struct xt_counters {
    uint64_t pcnt = 0, bcnt = 0;
    friend bool operator==(const xt_counters&, const xt_counters&) = default;
};

/// One slot's counters, in pieces that never move.
class xt_slot_counters {
public:
    static constexpr unsigned CHUNK_SHIFT = 10, CHUNK = 1u << CHUNK_SHIFT, MAX_CHUNKS = 4096;
    struct pair {
        cpu_counter pcnt, bcnt;
    };
    /// REQUIRES: id is of a living xt_counter; called on the slot.
    [[gnu::always_inline]] void add(uint32_t id, uint64_t packets, uint64_t bytes) {
        pair& c = chunks_[id >> CHUNK_SHIFT].load(std::memory_order_relaxed)[id & (CHUNK - 1)];
        c.pcnt.add(packets);
        c.bcnt.add(bytes);
    }

private:
    friend class xt_counter_pool;
    std::atomic<pair*> chunks_[MAX_CHUNKS] = {};
};

class xt_counter_pool : public std::enable_shared_from_this<xt_counter_pool> {
public:
    explicit xt_counter_pool(unsigned nr_cpus);
    ~xt_counter_pool();
    xt_counter_pool(const xt_counter_pool&) = delete;
    xt_counter_pool& operator=(const xt_counter_pool&) = delete;
    xt_slot_counters& slot(unsigned cpu) { return *slots_[cpu]; }
    /// How many xt_counter there can be.
    static constexpr uint32_t capacity() {
        return xt_slot_counters::CHUNK * xt_slot_counters::MAX_CHUNKS;
    }
    uint32_t in_use() const { return next_ - uint32_t(free_.size()); }

private:
    friend class xt_counter;
    uint32_t take();
    void put(uint32_t id) { free_.push_back(id); }
    xt_counters sum(uint32_t id) const;

    std::vector<std::unique_ptr<xt_slot_counters>> slots_;
    std::vector<uint32_t> free_;
    uint32_t next_ = 0;
};

/// A counter of one rule. Its number is given back when it is destroyed: REQUIRES that no packet
/// counts there any more (its owner lives until a grace period after the last table with it).
class xt_counter {
public:
    explicit xt_counter(std::shared_ptr<xt_counter_pool> pool);
    ~xt_counter() { pool_->put(id_); }
    xt_counter(const xt_counter&) = delete;
    xt_counter& operator=(const xt_counter&) = delete;
    uint32_t id() const { return id_; }
    xt_counters get() const;
    /// What get() says from now on, plus what is counted from now on. Returns what it said.
    xt_counters set(const xt_counters& to);

private:
    std::shared_ptr<xt_counter_pool> pool_;
    uint32_t id_;
    xt_counters offset_; ///< added to the sum; wraps
};

} // namespace slabfwd
