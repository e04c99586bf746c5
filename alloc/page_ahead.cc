// SPDX-License-Identifier: BSD-3-Clause
//
// page_ahead.cc - the thread that has pages ready. See page_ahead.h.
//
// It sleeps until an allocation has left no more than half of the blocks that should be ready, and then makes ready
// as many as there should be. Threads: its own, and those that make and destroy a page_ahead.
#include "alloc/page_ahead.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <system_error>
#include <thread>

#include "alloc/slab.h"

namespace slabfwd {

namespace {

constexpr std::size_t MIN_BLOCKS = 2, MAX_BLOCKS = 32; // of 2 MiB

std::mutex users_lock;
unsigned users = 0;
std::thread thread;

void page_ahead_run() {
    using clock = std::chrono::steady_clock;
    std::size_t blocks = MIN_BLOCKS;
    clock::time_point before{};
    while (pages_ready_wait()) {
        const clock::time_point now = clock::now();
        blocks = now - before < std::chrono::seconds(1) ? std::min(2 * blocks, MAX_BLOCKS) : MIN_BLOCKS;
        before = now;
        pages_make_ready(blocks);
    }
}

} // namespace

page_ahead::page_ahead() {
    const std::lock_guard guard(users_lock);
    if (users++)
        return;
    pages_ready_start();
    try {
        thread = std::thread(page_ahead_run);
    } catch (const std::system_error&) {
        pages_ready_stop();
    }
}

page_ahead::~page_ahead() {
    const std::lock_guard guard(users_lock);
    if (--users || !thread.joinable())
        return;
    pages_ready_stop();
    thread.join();
}

} // namespace slabfwd
