// SPDX-License-Identifier: BSD-3-Clause
//
// The pool of counters: numbers, and the slots' chunks behind them.
#include "dataplane/netfilter/xt_counters.h"

namespace slabfwd {

xt_counter_pool::xt_counter_pool(unsigned nr_cpus) {
    for (unsigned cpu = 0; cpu < nr_cpus; ++cpu)
        slots_.push_back(std::make_unique<xt_slot_counters>());
}

xt_counter_pool::~xt_counter_pool() {
    for (auto& s : slots_)
        for (auto& c : s->chunks_)
            delete[] c.load(std::memory_order_relaxed);
}

uint32_t xt_counter_pool::take() {
    if (!free_.empty()) {
        uint32_t id = free_.back();
        free_.pop_back();
        return id;
    }
    if (next_ % xt_slot_counters::CHUNK == 0)
        for (auto& s : slots_)
            s->chunks_[next_ / xt_slot_counters::CHUNK].store(
                new xt_slot_counters::pair[xt_slot_counters::CHUNK], std::memory_order_relaxed);
    return next_++;
}

xt_counters xt_counter_pool::sum(uint32_t id) const {
    xt_counters c;
    for (const auto& s : slots_) {
        const xt_slot_counters::pair& p = s->chunks_[id / xt_slot_counters::CHUNK].load(
            std::memory_order_relaxed)[id % xt_slot_counters::CHUNK];
        c.pcnt += p.pcnt;
        c.bcnt += p.bcnt;
    }
    return c;
}

xt_counter::xt_counter(std::shared_ptr<xt_counter_pool> pool)
    : pool_(std::move(pool)), id_(pool_->take()) {
    set({});
}

xt_counters xt_counter::get() const {
    xt_counters c = pool_->sum(id_);
    return {c.pcnt + offset_.pcnt, c.bcnt + offset_.bcnt};
}

xt_counters xt_counter::set(const xt_counters& to) {
    xt_counters c = pool_->sum(id_), was{c.pcnt + offset_.pcnt, c.bcnt + offset_.bcnt};
    offset_ = {to.pcnt - c.pcnt, to.bcnt - c.bcnt};
    return was;
}

} // namespace slabfwd
