// SPDX-License-Identifier: BSD-3-Clause
//
// The workloads of `slabfwd bench alloc`, as templates over a peer (alloc_peers.h).
//
// Door: run_alloc_job<Peer>(). Each is warmed up for a fifth of its time first. Costs are those of
// an allocation together with its free. Threads: those with two bind them to two CPUs, where there
// are two; each thread's own CPU time counts. Memory of the benchmark's own (tables) never comes
// from malloc, so that it does not disturb the peers.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>

#include "dataplane/bench/alloc_peers.h"
#include "dataplane/bench/bench_clock.h"

namespace slabfwd {

/// An array of zeros straight from the system, touched, never given back. On hugepages, so that the
/// misses that are measured are the allocators'.
template <typename T>
T* system_array(size_t n) {
    char* p = huge_memory(n * sizeof(T));
    if (!p)
        throw std::runtime_error("no memory for the benchmark's own tables");
    std::memset(p, 0, n * sizeof(T));
    return reinterpret_cast<T*>(p);
}

/// Random numbers, the same in every run (a multiplicative congruential generator, upper half).
class bench_random {
public:
    explicit bench_random(uint64_t seed) : s_(seed * 2 + 1) {}
    uint32_t operator()() {
        s_ = s_ * 0xd1342543de82ef95u + 0x632be59bd9b4e019u;
        return uint32_t(s_ >> 32);
    }
    uint32_t below(uint32_t n) { return uint32_t((uint64_t{(*this)()} * n) >> 32); }

private:
    uint64_t s_;
};

/// Bytes of memory that this process has in pages of its own (anonymous and hugepages), counted
/// exactly.
size_t anonymous_bytes();
/// Binds the calling thread to the n-th CPU that the process may use (modulo their number).
void bind_to_cpu(unsigned n);
/// A permutation of 0..n-1.
uint32_t* random_permutation(size_t n, uint64_t seed);

/// Runs `pass`, which returns the operations it did, for a while. Costs per operation.
template <typename Pass>
measured measure_passes(uint64_t span_ns, Pass&& pass) {
    for (const stopwatch warm; warm.cpu_ns() < span_ns / 5;)
        pass();
    measured m;
    const stopwatch watch;
    do
        m.ops += pass();
    while (watch.cpu_ns() < span_ns);
    m.cpu_ns = watch.cpu_ns();
    m.wall_ns = watch.wall_ns();
    return m;
}

inline void report_costs(child_result& out, const measured& m) {
    out.samples.emplace_back("cycles", m.cycles_per_op());
    out.samples.emplace_back("ns", m.ns_per_op());
}

/// The compiler may neither drop the object nor keep the allocator's state in registers.
[[gnu::always_inline]] inline void escape(void* p) {
    asm volatile("" : : "r"(p) : "memory");
}

// ---- one thread

template <typename Local>
uint64_t pair_pass(Local l) {
    constexpr unsigned N = 20000;
    for (unsigned i = 0; i < N; ++i) {
        void* p = l.alloc();
        escape(p);
        l.free(p);
        escape(p);
    }
    return N;
}

template <typename Local>
uint64_t zeroed_pair_pass(Local l) {
    constexpr unsigned N = 20000;
    for (unsigned i = 0; i < N; ++i) {
        void* p = l.zalloc();
        escape(p);
        l.free(p);
        escape(p);
    }
    return N;
}

template <typename Local>
void batch_pass(Local l, void** objects, size_t n, free_order order, const uint32_t* permutation) {
    for (size_t i = 0; i < n; ++i)
        objects[i] = l.alloc();
    escape(objects);
    if (order == free_order::fifo)
        for (size_t i = 0; i < n; ++i)
            l.free(objects[i]);
    else if (order == free_order::lifo)
        for (size_t i = n; i-- > 0;)
            l.free(objects[i]);
    else
        for (size_t i = 0; i < n; ++i)
            l.free(objects[permutation[i]]);
}

template <typename Local>
measured batch(Local l, const alloc_job& job) {
    const size_t n = job.count;
    auto** objects = system_array<void*>(n);
    const size_t times = std::max<size_t>(1, 8192 / n);
    uint32_t* permutation = random_permutation(n, 1);
    return measure_passes(job.span_ns, [=, &job] {
        for (size_t i = 0; i < times; ++i)
            batch_pass(l, objects, n, job.order, permutation);
        return uint64_t{times * n};
    });
}

template <typename Local>
measured bulk(Local l, const alloc_job& job) {
    auto** objects = system_array<void*>(job.count);
    return measure_passes(job.span_ns, [l, objects, n = job.count]() mutable {
        constexpr unsigned TIMES = 512;
        for (unsigned i = 0; i < TIMES; ++i) {
            if (!l.alloc_bulk(objects, n))
                throw std::runtime_error("out of memory");
            escape(objects);
            l.free_bulk(objects, n);
            escape(objects);
        }
        return uint64_t{TIMES * n};
    });
}

inline constexpr size_t GC_PASS = 512; ///< objects collected, then allocated, at a time

/// Live objects in a table, some of which are freed at random and then allocated anew.
template <typename Local>
class gc_table {
public:
    gc_table(Local l, size_t slots, uint64_t seed)
        : l_(l), slots_(uint32_t(slots)), table_(system_array<void*>(slots)), random_(seed) {
        for (size_t i = 0; i < slots; ++i)
            table_[i] = make(l_);
    }
    uint64_t pass() {
        Local l = l_; // a copy nobody sees: may live in registers
        uint32_t at[GC_PASS];
        for (size_t n = 0; n < GC_PASS;) {
            const uint32_t i = random_.below(slots_);
            void* p = table_[i];
            if (!p)
                continue; // already among these
            table_[i] = nullptr;
            l.free(p);
            at[n++] = i;
        }
        for (const uint32_t i : at)
            table_[i] = make(l);
        return GC_PASS;
    }
    /// As pass(), each call timed less `overhead`.
    void timed_pass(latency_histogram& h, uint64_t overhead) {
        Local l = l_;
        const auto note = [&](uint64_t t) { h.add(t > overhead ? t - overhead : 0); };
        uint32_t at[GC_PASS];
        for (size_t n = 0; n < GC_PASS;) {
            const uint32_t i = random_.below(slots_);
            void* p = table_[i];
            if (!p)
                continue;
            table_[i] = nullptr;
            const uint64_t t = tsc_begin();
            l.free(p);
            note(tsc_end() - t);
            at[n++] = i;
        }
        for (const uint32_t i : at) {
            const uint64_t t = tsc_begin();
            void* p = l.alloc();
            note(tsc_end() - t);
            *static_cast<volatile uint64_t*>(p) = i;
            table_[i] = p;
        }
    }

private:
    [[gnu::always_inline]] static void* make(Local& l) {
        void* p = l.alloc();
        *static_cast<volatile uint64_t*>(p) = 1; // first line written
        return p;
    }
    Local l_;
    uint32_t slots_;
    void** table_;
    bench_random random_;
};

template <typename Local>
measured gc(Local l, const alloc_job& job) {
    gc_table<Local> table(l, job.count, 1);
    for (size_t i = 0; i < 2 * job.count / GC_PASS; ++i)
        table.pass(); // until the order of the heap is random
    return measure_passes(job.span_ns, [&table] { return table.pass(); });
}

template <typename Local>
void latency(Local l, const alloc_job& job, child_result& out) {
    gc_table<Local> table(l, job.count, 1);
    for (size_t i = 0; i < 2 * job.count / GC_PASS; ++i)
        table.pass();
    const uint64_t overhead = tsc_overhead();
    auto* h = new (system_array<latency_histogram>(1)) latency_histogram;
    const stopwatch watch;
    while (watch.cpu_ns() < job.span_ns)
        table.timed_pass(*h, overhead);
    out.samples.emplace_back("p50", double(h->quantile(0.5)));
    out.samples.emplace_back("p99_9", double(h->quantile(0.999)));
    out.samples.emplace_back("p99_99", double(h->quantile(0.9999)));
}

// ---- two threads

/// Runs work(local, thread, stop) in two threads at once until the time is up. Costs are sums of
/// both threads' CPU time; `work` returns its operations and calls started(), which waits for the
/// other.
template <typename Peer, typename Work>
measured two_threads(Peer& peer, uint64_t span_ns, Work&& work) {
    std::atomic<unsigned> ready{0};
    std::atomic<bool> stop{false};
    measured done[2];
    std::string errors[2];
    const auto body = [&](unsigned id) {
        bind_to_cpu(id);
        try {
            typename Peer::local l(peer);
            stopwatch watch;
            const auto started = [&] {
                ready.fetch_add(1);
                while (ready.load() < 2)
                    std::this_thread::yield();
                watch.reset();
            };
            done[id].ops = work(l, id, started, stop);
            done[id].cpu_ns = watch.cpu_ns();
            done[id].wall_ns = watch.wall_ns();
        } catch (const std::exception& e) {
            errors[id] = e.what();
            ready.fetch_add(1); // the other may go on
        }
    };
    std::thread first(body, 0u), second(body, 1u);
    while (ready.load() < 2)
        std::this_thread::yield();
    const timespec span{time_t(span_ns / 1'000'000'000), long(span_ns % 1'000'000'000)};
    nanosleep(&span, nullptr);
    stop = true;
    first.join();
    second.join();
    for (const std::string& e : errors)
        if (!e.empty())
            throw std::runtime_error(e);
    done[0] += done[1];
    return done[0];
}

template <typename Peer>
measured gc_two_threads(Peer& peer, const alloc_job& job) {
    using local = typename Peer::local;
    return two_threads(peer, job.span_ns * 2,
                       [&job](local& l, unsigned id, auto& started, std::atomic<bool>& stop) {
                           gc_table<local> table(l, job.count, id + 1);
                           for (size_t i = 0; i < 2 * job.count / GC_PASS; ++i)
                               table.pass();
                           started();
                           uint64_t ops = 0;
                           do // at least once, however late the thread gets its CPU
                               ops += table.pass();
                           while (!stop.load(std::memory_order_relaxed));
                           return ops;
                       });
}

/// A table in blocks; a thread takes a block at a time, so that sharing costs one exchange for 512
/// objects.
struct shared_table {
    static constexpr size_t BLOCK = 1024;
    struct alignas(64) block_lock {
        std::atomic<bool> taken{false};
    };
    size_t blocks;
    block_lock* locks;
    void** slots;

    explicit shared_table(size_t count)
        : blocks(count / BLOCK), locks(system_array<block_lock>(blocks)),
          slots(system_array<void*>(count)) {}

    /// A block that nobody else has, at random.
    size_t take(bench_random& random) {
        for (;;) {
            const size_t b = random.below(uint32_t(blocks));
            if (!locks[b].taken.load(std::memory_order_relaxed) &&
                !locks[b].taken.exchange(true, std::memory_order_acquire))
                return b;
        }
    }
    void put(size_t b) { locks[b].taken.store(false, std::memory_order_release); }
};

template <typename Local>
uint64_t shared_pass(Local l, shared_table& table, bench_random& random) {
    const size_t b = table.take(random);
    void** slots = table.slots + b * shared_table::BLOCK;
    uint32_t at[GC_PASS];
    for (size_t n = 0; n < GC_PASS;) {
        const uint32_t i = random.below(shared_table::BLOCK);
        void* p = slots[i];
        if (!p)
            continue;
        slots[i] = nullptr;
        l.free(p);
        at[n++] = i;
    }
    for (const uint32_t i : at) {
        void* p = l.alloc();
        *static_cast<volatile uint64_t*>(p) = 1;
        slots[i] = p;
    }
    table.put(b);
    return GC_PASS;
}

template <typename Peer>
measured gc_shared(Peer& peer, const alloc_job& job) {
    using local = typename Peer::local;
    shared_table table(job.count);
    return two_threads(peer, job.span_ns * 2,
                       [&](local& l, unsigned id, auto& started, std::atomic<bool>& stop) {
                           bench_random random(id + 1);
                           const size_t half = job.count / 2;
                           for (size_t i = id * half; i < (id + 1) * half; ++i) {
                               table.slots[i] = l.alloc();
                               *static_cast<volatile uint64_t*>(table.slots[i]) = 1;
                           }
                           started();
                           for (size_t i = 0; i < 2 * job.count / GC_PASS; ++i)
                               shared_pass(l, table, random);
                           uint64_t ops = job.count * 2;
                           while (!stop.load(std::memory_order_relaxed))
                               ops += shared_pass(l, table, random);
                           return ops;
                       });
}

/// Blocks of objects from one thread to another. Who has to wait sleeps until half of the ring is
/// free or full, so that waiting is not CPU time.
class hand_over_ring {
public:
    static constexpr uint32_t BLOCKS = 256, OBJECTS = 32;
    struct block {
        void* object[OBJECTS];
    };

    /// The block to fill; waits for it.
    block* to_fill() {
        const uint32_t head = head_.load(std::memory_order_relaxed);
        for (uint32_t tail; head - (tail = tail_.load(std::memory_order_acquire)) == BLOCKS;)
            tail_.wait(tail, std::memory_order_acquire);
        return &blocks_[head % BLOCKS];
    }
    void filled() { step(head_); }
    /// The block to empty; NULL when all is done.
    block* to_empty() {
        const uint32_t tail = tail_.load(std::memory_order_relaxed);
        for (uint32_t head; (head = head_.load(std::memory_order_acquire)) == tail;) {
            if (ended_.load(std::memory_order_acquire))
                return head_.load(std::memory_order_acquire) == tail ? nullptr
                                                                     : &blocks_[tail % BLOCKS];
            head_.wait(head, std::memory_order_acquire);
        }
        return &blocks_[tail % BLOCKS];
    }
    void emptied() { step(tail_); }
    /// Is the block now in hand one whose filling wakes the other side?
    bool may_end() const {
        return head_.load(std::memory_order_relaxed) % (BLOCKS / 2) == BLOCKS / 2 - 1;
    }
    /// No block comes after the one in hand.
    void end() { ended_.store(true, std::memory_order_release); }

private:
    void step(std::atomic<uint32_t>& index) {
        const uint32_t next = index.load(std::memory_order_relaxed) + 1;
        index.store(next, std::memory_order_release);
        if (next % (BLOCKS / 2) == 0)
            index.notify_one();
    }
    alignas(64) std::atomic<uint32_t> head_{0};
    alignas(64) std::atomic<uint32_t> tail_{0};
    alignas(64) std::atomic<bool> ended_{false};
    alignas(64) block blocks_[BLOCKS];
};

template <typename Local>
uint64_t produce(Local l, hand_over_ring& ring, std::atomic<bool>& stop) {
    for (bool last = false; !last;) {
        hand_over_ring::block* b = ring.to_fill();
        for (void*& object : b->object) {
            object = l.alloc();
            *static_cast<volatile uint64_t*>(object) = 1;
        }
        last = stop.load(std::memory_order_relaxed) && ring.may_end();
        if (last)
            ring.end(); // before the last block: who sees the block full sees this too
        ring.filled();
    }
    return 0; // counted by the consumer
}

template <typename Local>
uint64_t consume(Local l, hand_over_ring& ring) {
    uint64_t ops = 0;
    while (hand_over_ring::block* b = ring.to_empty()) {
        for (void* object : b->object) {
            (void)*static_cast<volatile uint64_t*>(object);
            l.free(object);
        }
        ring.emptied();
        ops += hand_over_ring::OBJECTS;
    }
    return ops;
}

template <typename Peer>
measured producer_consumer(Peer& peer, const alloc_job& job) {
    using local = typename Peer::local;
    auto* ring = new (system_array<hand_over_ring>(1)) hand_over_ring;
    measured m = two_threads(peer, job.span_ns * 2,
                             [&](local& l, unsigned id, auto& started, std::atomic<bool>& stop) {
                                 started();
                                 return id == 0 ? produce(l, *ring, stop) : consume(l, *ring);
                             });
    m.wall_ns /= 2; // both worked on the same objects
    return m;
}

// ---- memory

template <typename Peer>
void memory(const alloc_peer& self, Peer& peer, const alloc_job& job, child_result& out) {
    auto** objects = system_array<void*>(job.count);
    const uint32_t* order = random_permutation(job.count, 7);
    const size_t before = anonymous_bytes();
    if (out.skipped = peer.open(self, job, job.count); !out.skipped.empty())
        return;
    typename Peer::local l(peer);
    for (size_t i = 0; i < job.count; ++i) {
        objects[i] = l.alloc();
        *static_cast<volatile uint64_t*>(objects[i]) = 1;
        *(static_cast<volatile char*>(objects[i]) + job.size - 1) = 1;
    }
    const auto used = [before] { return double(anonymous_bytes()) - double(before); };
    const double full = used();
    const size_t most = job.count / 10 * 9;
    for (size_t i = 0; i < most; ++i)
        l.free(objects[order[i]]);
    peer.purge();
    const double tenth = used();
    for (size_t i = most; i < job.count; ++i)
        l.free(objects[order[i]]);
    peer.purge();
    out.samples.emplace_back("bytes_per_object", full / double(job.count));
    out.samples.emplace_back("after_90", 100 * tenth / full);
    out.samples.emplace_back("after_all", 100 * used() / full);
}

// ---- which it is

/// Objects that are alive at a time, at most.
inline size_t live_objects(const alloc_job& job) {
    switch (job.work) {
    case alloc_work::gc_two_threads:
        return 2 * job.count;
    case alloc_work::producer_consumer:
        return (hand_over_ring::BLOCKS + 2) * hand_over_ring::OBJECTS;
    case alloc_work::pair:
    case alloc_work::zeroed_pair:
        return 512;
    default:
        return std::max<size_t>(job.count, 512);
    }
}

template <typename Peer>
measured run_timed(Peer& peer, const alloc_job& job) {
    if (job.work == alloc_work::gc_two_threads)
        return gc_two_threads(peer, job);
    if (job.work == alloc_work::gc_shared)
        return gc_shared(peer, job);
    if (job.work == alloc_work::producer_consumer)
        return producer_consumer(peer, job);
    typename Peer::local l(peer);
    if (job.work == alloc_work::zeroed_pair)
        return measure_passes(job.span_ns, [l] { return zeroed_pair_pass(l); });
    if (job.work == alloc_work::batch)
        return batch(l, job);
    if (job.work == alloc_work::bulk)
        return bulk(l, job);
    if (job.work == alloc_work::gc)
        return gc(l, job);
    return measure_passes(job.span_ns, [l] { return pair_pass(l); });
}

/// In the child: the whole job.
template <typename Peer>
void run_alloc_job(const alloc_peer& self, const alloc_job& job, child_result& out) {
    auto* peer = new Peer; // threads may outlive everything here but the process
    if (out.skipped = peer->prepare(self); !out.skipped.empty())
        return;
    if (job.work == alloc_work::memory)
        return memory(self, *peer, job, out);
    if (out.skipped = peer->open(self, job, live_objects(job)); !out.skipped.empty())
        return;
    if (job.work == alloc_work::latency) {
        typename Peer::local l(*peer);
        latency(l, job, out);
    } else {
        report_costs(out, run_timed(*peer, job));
    }
}

} // namespace slabfwd
