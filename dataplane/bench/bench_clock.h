// SPDX-License-Identifier: BSD-3-Clause
//
// How benchmarks measure: CPU time of the calling thread (what others do on the machine at the same
// moment is not in it), wall time beside it, both as TSC cycles if wanted; and single calls by the
// TSC.
//
// Doors: stopwatch, tsc_ghz(), tsc_begin()/tsc_end(), latency_histogram.
// Threads: a stopwatch measures the thread that made it.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <x86intrin.h>

namespace slabfwd {

inline uint64_t clock_ns(clockid_t clock) {
    timespec t{};
    clock_gettime(clock, &t);
    return uint64_t(t.tv_sec) * 1'000'000'000u + uint64_t(t.tv_nsec);
}

/// TSC cycles in a nanosecond; measured once, over 20 ms.
double tsc_ghz();

/// Time since it was made or reset.
class stopwatch {
public:
    stopwatch() { reset(); }
    void reset() {
        cpu_ = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        wall_ = clock_ns(CLOCK_MONOTONIC);
    }
    uint64_t cpu_ns() const { return clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_; }
    uint64_t wall_ns() const { return clock_ns(CLOCK_MONOTONIC) - wall_; }

private:
    uint64_t cpu_, wall_;
};

/// Work done and what it took.
struct measured {
    uint64_t ops = 0, cpu_ns = 0, wall_ns = 0;

    void operator+=(const measured& o) {
        ops += o.ops;
        cpu_ns += o.cpu_ns;
        wall_ns += o.wall_ns;
    }
    double cycles_per_op() const { return double(cpu_ns) * tsc_ghz() / double(ops); }
    double ns_per_op() const { return double(wall_ns) / double(ops); }
};

/// Time stamps around one call: nothing of the call moves out, nothing of the surroundings moves
/// in.
inline uint64_t tsc_begin() {
    _mm_lfence();
    const uint64_t t = __rdtsc();
    _mm_lfence();
    return t;
}
inline uint64_t tsc_end() {
    unsigned aux = 0;
    const uint64_t t = __rdtscp(&aux);
    _mm_lfence();
    return t;
}

/// Counts of call times: exact to a cycle below 1024, to 1/64 above.
class latency_histogram {
public:
    void add(uint64_t cycles) {
        ++counts_[index(cycles)];
        ++total_;
    }
    /// Time that the share `q` (0..1) of the calls does not exceed; 0 when there was none.
    uint64_t quantile(double q) const;
    uint64_t total() const { return total_; }

private:
    static constexpr unsigned EXACT = 1024, STEPS = 64, FIRST = 10;

    static size_t index(uint64_t c) {
        if (c < EXACT)
            return c;
        const unsigned log = unsigned(std::bit_width(c)) - 1;
        return EXACT + (log - FIRST) * STEPS + ((c >> (log - 6)) & (STEPS - 1));
    }
    static uint64_t upper(size_t i); ///< largest value that index() maps to i

    std::array<uint64_t, EXACT + (64 - FIRST) * STEPS> counts_{};
    uint64_t total_ = 0;
};

/// What tsc_begin(), tsc_end() cost with nothing between: to be taken off each call's time.
uint64_t tsc_overhead();

} // namespace slabfwd
