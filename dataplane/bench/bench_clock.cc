// SPDX-License-Identifier: BSD-3-Clause
//
// The TSC's rate and the histogram of call times. See bench_clock.h.
#include "dataplane/bench/bench_clock.h"

#include <algorithm>

namespace slabfwd {

namespace {

double measure_tsc_ghz() {
    constexpr uint64_t SPAN = 20'000'000;
    const uint64_t t0 = clock_ns(CLOCK_MONOTONIC);
    const uint64_t c0 = __rdtsc();
    uint64_t t1 = t0;
    while (t1 - t0 < SPAN)
        t1 = clock_ns(CLOCK_MONOTONIC);
    return double(__rdtsc() - c0) / double(t1 - t0);
}

} // namespace

double tsc_ghz() {
    static const double ghz = measure_tsc_ghz();
    return ghz;
}

uint64_t latency_histogram::upper(size_t i) {
    if (i < EXACT)
        return i;
    const size_t log = (i - EXACT) / STEPS + FIRST;
    const uint64_t step = (i - EXACT) % STEPS;
    return (uint64_t{1} << log) + ((step + 1) << (log - 6)) - 1;
}

uint64_t latency_histogram::quantile(double q) const {
    const double wanted = q * double(total_);
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
        seen += counts_[i];
        if (counts_[i] && double(seen) >= wanted)
            return upper(i);
    }
    return 0;
}

uint64_t tsc_overhead() {
    latency_histogram h;
    for (int i = 0; i < 20000; ++i) {
        const uint64_t t = tsc_begin();
        h.add(tsc_end() - t);
    }
    return h.quantile(0.5);
}

} // namespace slabfwd
