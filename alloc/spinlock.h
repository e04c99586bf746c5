// SPDX-License-Identifier: BSD-3-Clause
//
// spinlock.h - the lock of alloc/: spins a little, then sleeps.
//
// Door: spinlock_t with lock(), unlock(), try_lock() (fits std::lock_guard).
// Threads: any. Not recursive; try_lock() by the holder fails instead of being undefined.
// Origin: ours; include/linux/spinlock.h gives the name. A pure spin would burn a time slice
// whenever the holder is off its CPU, which the kernel prevents and user space cannot.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

namespace slabfwd {

class spinlock_t {
public:
    constexpr spinlock_t() = default;
    spinlock_t(const spinlock_t&) = delete;
    spinlock_t& operator=(const spinlock_t&) = delete;

    bool try_lock() {
        std::uint32_t free = FREE;
        return state_.compare_exchange_strong(free, HELD, std::memory_order_acquire,
                                              std::memory_order_relaxed);
    }
    void lock() {
        if (!try_lock()) [[unlikely]]
            lock_slow();
    }
    void unlock() {
        if (state_.exchange(FREE, std::memory_order_release) == WAITED) [[unlikely]]
            state_.notify_one();
    }

private:
    enum : std::uint32_t { FREE, HELD, WAITED };

    [[gnu::noinline]] void lock_slow() {
        for (int i = 0; i < 200; ++i) {
            if (state_.load(std::memory_order_relaxed) == FREE && try_lock())
                return;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        }
        while (state_.exchange(WAITED, std::memory_order_acquire) != FREE)
            state_.wait(WAITED, std::memory_order_relaxed);
    }

    std::atomic<std::uint32_t> state_{FREE};
};

using spin_guard = std::lock_guard<spinlock_t>;

} // namespace slabfwd
