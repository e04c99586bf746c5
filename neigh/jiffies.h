// SPDX-License-Identifier: BSD-3-Clause
//
// The coarse clock. Kernel time is counted in jiffies, HZ = 250 a second. Each CPU slot
// (softnet_data) has its own copy, set once per loop by the worker from the TSC, or by replay from
// the capture's time stamps; nothing in neigh/, route/ or dataplane/ip reads another clock. Origin:
// include/linux/jiffies.h.
#pragma once

#include <cstdint>

namespace slabfwd {

using jiffies_t = uint64_t; ///< never wraps in practice; compare with time_after() all the same
constexpr uint64_t HZ = 250;
constexpr uint64_t NSEC_PER_SEC = 1'000'000'000, NSEC_PER_MSEC = 1'000'000;
constexpr uint64_t NSEC_PER_JIFFY = NSEC_PER_SEC / HZ;
/// Jiffies at the clock's zero: five minutes, so that "long ago" (jiffies - n) stays positive.
constexpr jiffies_t INITIAL_JIFFIES = 300 * HZ;
constexpr jiffies_t MAX_JIFFY_OFFSET = ~jiffies_t(0) >> 2;

constexpr jiffies_t msecs_to_jiffies(uint64_t ms) {
    return (ms * HZ + 999) / 1000;
}
constexpr uint64_t jiffies_to_msecs(jiffies_t j) {
    return j * 1000 / HZ;
}
constexpr jiffies_t nsecs_to_jiffies(uint64_t ns) {
    return INITIAL_JIFFIES + ns / NSEC_PER_JIFFY;
}
constexpr bool time_after(jiffies_t a, jiffies_t b) {
    return int64_t(b - a) < 0;
}
constexpr bool time_before(jiffies_t a, jiffies_t b) {
    return time_after(b, a);
}
constexpr bool time_after_eq(jiffies_t a, jiffies_t b) {
    return int64_t(a - b) >= 0;
}
constexpr bool time_before_eq(jiffies_t a, jiffies_t b) {
    return time_after_eq(b, a);
}

/// Jiffies of the calling CPU slot's clock (see softnet.h).
jiffies_t jiffies();
/// Nanoseconds of the calling CPU slot's clock since its zero (TSC start, or the capture's epoch
/// time).
uint64_t ktime_get_ns();
/// Wall-clock nanoseconds since 1970 on the calling slot's clock (for the IP time-stamp option).
uint64_t ktime_get_real_ns();

} // namespace slabfwd
