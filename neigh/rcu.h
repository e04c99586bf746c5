// SPDX-License-Identifier: BSD-3-Clause
//
// Read-copy-update over rte_rcu_qsbr. Readers are the CPU slots: a worker reports a quiescent state
// once per loop, between bursts, so any pointer got by rcu_dereference() is good to the end of the
// burst. Door: rcu_dereference / rcu_assign_pointer for links, call_rcu for freeing,
// synchronize_rcu to wait. Threads: call_rcu may be called on any slot; the callback runs later on
// the same slot, from rcu_do_batch(), outside of any burst. Works without a started EAL. Origin:
// the kernel's RCU API (include/linux/rcupdate.h).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "alloc/page_alloc.h" // rcu_head: embedded in an object that is freed after a grace period
#include "alloc/spinlock.h"   // spinlock_t, spin_guard

struct rte_rcu_qsbr;

namespace slabfwd {

struct softnet_data;
struct net;

/// Loads a pointer published by rcu_assign_pointer; good to the end of the burst (or until the
/// caller's slot reports quiescence).
template <class T>
[[gnu::always_inline]] inline T* rcu_dereference(T* const& p) {
    return __atomic_load_n(&p, __ATOMIC_ACQUIRE);
}
/// Publishes what v points to, initialised before, to readers.
template <class T>
[[gnu::always_inline]] inline void rcu_assign_pointer(T*& p, std::type_identity_t<T>* v) {
    __atomic_store_n(&p, v, __ATOMIC_RELEASE);
}
/// A relaxed load/store of a word that another thread may write/read (no ordering).
template <class T>
[[gnu::always_inline]] inline T READ_ONCE(const T& v) {
    return __atomic_load_n(&v, __ATOMIC_RELAXED);
}
template <class T>
[[gnu::always_inline]] inline void WRITE_ONCE(T& p, std::type_identity_t<T> v) {
    __atomic_store_n(&p, v, __ATOMIC_RELAXED);
}

/// The RCU domain of one struct net: one qsbr variable with a reader per CPU slot.
class rcu_domain {
public:
    explicit rcu_domain(unsigned max_readers);
    ~rcu_domain();
    rcu_domain(const rcu_domain&) = delete;
    rcu_domain& operator=(const rcu_domain&) = delete;
    /// A slot starts / stops being waited for (it is about to read / will not read until online
    /// again).
    void online(unsigned reader);
    void offline(unsigned reader);
    /// The slot holds no pointer: called once per loop. Cheap: two loads of one line, a store only
    /// when somebody waits. Does nothing for a slot that is offline.
    void quiescent(unsigned reader);
    /// Begins a grace period; its token is for done(). Never 0.
    uint64_t start();
    /// True when every online reader has passed a quiescent state since start() gave token.
    bool done(uint64_t token);

private:
    rte_rcu_qsbr* v_;
    void* mem_;
};

/// Calls func(head) after a grace period, on the calling slot, from rcu_do_batch(). Never fails; a
/// plain list append, the grace period itself is begun once per batch.
void call_rcu(rcu_head* head, void (*func)(rcu_head*));
/// Runs the slot's callbacks whose grace period has passed and starts one for those that came
/// since; called between bursts by the slot's own thread. A bounded number; returns how many ran.
unsigned rcu_do_batch(softnet_data& sd);
/// Waits (pausing, then yielding the CPU) for a grace period; the calling slot itself counts as
/// quiescent. Slots that are offline are not waited for: a program with one thread never goes
/// online.
void synchronize_rcu(net& n);
/// Runs everything still queued on all slots, in each slot's name; only when no worker runs
/// (shutdown, tests).
void rcu_barrier_all(net& n);

/// Frees p with delete-like `Free` after a grace period: helper for types with member `rcu_head
/// rcu`.
template <class T, void (*Free)(T*)>
void call_rcu_free(T* p) {
    call_rcu(&p->rcu, [](rcu_head* h) {
        Free(reinterpret_cast<T*>(reinterpret_cast<char*>(h) - offsetof(T, rcu)));
    });
}

/// A counter written by one slot and read by others; add() is a plain load, add, store on x86.
class cpu_counter {
public:
    [[gnu::always_inline]] void add(uint64_t n) {
        v_.store(v_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    void inc() { add(1); }
    uint64_t get() const { return v_.load(std::memory_order_relaxed); }
    operator uint64_t() const { return get(); }
    void reset() { v_.store(0, std::memory_order_relaxed); }

private:
    std::atomic<uint64_t> v_{0};
};

/// A tunable: written by the control thread, read anywhere, no ordering.
class sysctl_int {
public:
    constexpr sysctl_int(int v = 0) : v_(v) {}
    sysctl_int(const sysctl_int& o) : v_(o.get()) {}
    sysctl_int& operator=(const sysctl_int& o) { return *this = o.get(); }
    sysctl_int& operator=(int v) {
        v_.store(v, std::memory_order_relaxed);
        return *this;
    }
    [[gnu::always_inline]] int get() const { return v_.load(std::memory_order_relaxed); }
    [[gnu::always_inline]] operator int() const { return get(); }

private:
    std::atomic<int> v_;
};

} // namespace slabfwd
