// SPDX-License-Identifier: BSD-3-Clause
//
// RCU over rte_rcu_qsbr: grace periods, and the per-slot list of what waits for one.
// Door: call_rcu, rcu_do_batch, synchronize_rcu. A slot's list has two parts, as the kernel's
// segmented list has: rcu_wait, whose grace period has begun and has one token, and rcu_next, to
// which call_rcu appends. So freeing costs no shared cache line, however many entries a burst
// frees. Threads: a slot's list is touched by its own thread only. Origin: kernel/rcu/tree.c.
#include "neigh/rcu.h"

#include <new>
#include <rte_rcu_qsbr.h>
#include <sched.h>
#include <stdexcept>

#include "neigh/net_namespace.h"
#include "neigh/softnet.h"

namespace slabfwd {

namespace {
constexpr std::align_val_t QSBR_ALIGN{RTE_CACHE_LINE_SIZE};
/// Callbacks run in one rcu_do_batch at most, so that a flush of the cache does not stall the loop.
constexpr unsigned RCU_BATCH = 1024;
constexpr unsigned SPINS_BEFORE_YIELD = 64;
} // namespace

rcu_domain::rcu_domain(unsigned max_readers) {
    mem_ = ::operator new(rte_rcu_qsbr_get_memsize(max_readers), QSBR_ALIGN);
    v_ = static_cast<rte_rcu_qsbr*>(mem_);
    int rc = rte_rcu_qsbr_init(v_, max_readers);
    for (unsigned i = 0; !rc && i < max_readers; ++i)
        rc = rte_rcu_qsbr_thread_register(v_, i);
    if (rc) {
        ::operator delete(mem_, QSBR_ALIGN);
        throw std::runtime_error("rte_rcu_qsbr_init failed");
    }
}

rcu_domain::~rcu_domain() {
    ::operator delete(mem_, QSBR_ALIGN);
}

void rcu_domain::online(unsigned reader) {
    rte_rcu_qsbr_thread_online(v_, reader);
}
void rcu_domain::offline(unsigned reader) {
    rte_rcu_qsbr_thread_offline(v_, reader);
}

void rcu_domain::quiescent(unsigned reader) {
    if (READ_ONCE(v_->qsbr_cnt[reader].cnt) != __RTE_QSBR_CNT_THR_OFFLINE)
        rte_rcu_qsbr_quiescent(v_, reader);
}

uint64_t rcu_domain::start() {
    return rte_rcu_qsbr_start(v_);
}

// rte_rcu_qsbr_check without its cache of the least acknowledged token: that one is read and
// written by all slots without order, so a slot that trusts it has not synchronised with the
// readers itself.
bool rcu_domain::done(uint64_t token) {
    for (uint32_t i = 0; i < v_->max_threads; ++i) {
        const uint64_t seen = __atomic_load_n(&v_->qsbr_cnt[i].cnt, __ATOMIC_ACQUIRE);
        if (seen != __RTE_QSBR_CNT_THR_OFFLINE && seen < token)
            return false;
    }
    return true;
}

void call_rcu(rcu_head* head, void (*func)(rcu_head*)) {
    softnet_data* sd = this_softnet();
    head->func = func;
    head->next = nullptr;
    *sd->rcu_tail = head;
    sd->rcu_tail = &head->next;
}

unsigned rcu_do_batch(softnet_data& sd) {
    if (!sd.rcu_wait) {
        if (likely(!sd.rcu_next))
            return 0;
        sd.rcu_wait = sd.rcu_next;
        sd.rcu_next = nullptr;
        sd.rcu_tail = &sd.rcu_next;
        sd.rcu_token = sd.nd_net->rcu.start();
    }
    if (!sd.nd_net->rcu.done(sd.rcu_token))
        return 0;
    unsigned n = 0;
    for (; sd.rcu_wait && n < RCU_BATCH; ++n) {
        rcu_head* head = sd.rcu_wait;
        sd.rcu_wait = head->next;
        head->func(head);
    }
    return n;
}

void synchronize_rcu(net& n) {
    uint64_t token = n.rcu.start();
    softnet_data* sd = this_softnet();
    if (sd && sd->nd_net == &n)
        n.rcu.quiescent(sd->cpu);
    for (unsigned spins = 0; !n.rcu.done(token); ++spins) {
        if (spins < SPINS_BEFORE_YIELD)
            rte_pause();
        else
            sched_yield();
    }
}

void rcu_barrier_all(net& n) {
    softnet_data* self = this_softnet();
    for (bool more = true; more;) {
        more = false;
        for (auto& sd : n.softnet) {
            softnet_enter(sd.get());
            n.rcu.quiescent(sd->cpu);
            while (sd->rcu_wait || sd->rcu_next) {
                more = true; // what ran may have queued more, here or elsewhere
                for (unsigned cpu = 0; cpu < n.nr_cpus(); ++cpu)
                    n.rcu.quiescent(cpu);
                rcu_do_batch(*sd);
            }
        }
    }
    softnet_enter(self);
}

} // namespace slabfwd
