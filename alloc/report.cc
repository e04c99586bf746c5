// SPDX-License-Identifier: BSD-3-Clause
//
// report.cc - messages of the allocator: misuse, leaks, out of memory.
//
// Door: report(); slab_set_report() for the process around it.
// Threads: any; a line is written with one call.
// Origin: printk and lib/ratelimit.c of Linux v5.2 in idea. Never called on a path that succeeds.
#include <chrono>
#include <cstdarg>
#include <cstdio>

#include "alloc/slab.h"

namespace slabfwd {

namespace {
constinit std::atomic<void (*)(const char*)> sink{nullptr};

constexpr unsigned RATELIMIT_BURST = 10;
constexpr auto RATELIMIT_INTERVAL = std::chrono::seconds(5);

struct {
    spinlock_t lock;
    std::chrono::steady_clock::time_point begin;
    unsigned printed = 0;
} constinit ratelimit;
} // namespace

void slab_set_report(void (*fn)(const char* line)) {
    sink.store(fn, std::memory_order_release);
}

void report(const char* format, ...) {
    char line[256];
    va_list args;
    va_start(args, format);
    std::vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (auto* fn = sink.load(std::memory_order_acquire))
        fn(line);
    else
        std::fprintf(stderr, "slabfwd: %s\n", line);
}

bool report_ratelimit() {
    const auto now = std::chrono::steady_clock::now();
    const spin_guard guard(ratelimit.lock);
    if (ratelimit.printed == 0 || now - ratelimit.begin > RATELIMIT_INTERVAL) {
        ratelimit.begin = now;
        ratelimit.printed = 0;
    }
    return ratelimit.printed++ < RATELIMIT_BURST;
}

} // namespace slabfwd
