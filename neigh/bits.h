// SPDX-License-Identifier: BSD-3-Clause
//
// Packets of a burst as the bits of a word. Door: for_each_bit(). Threads: any.
// Origin: for_each_set_bit of include/linux/find.h, for one word.
#pragma once

#include <bit>
#include <cstdint>

namespace slabfwd {

/// Packets that are looked at together at most: a bit each.
constexpr unsigned PACKET_BURST = 32;

/// Calls f(i) for each set bit of mask, lowest first.
template <class F> [[gnu::always_inline]] inline void for_each_bit(uint32_t mask, F f) {
    for (; mask; mask &= mask - 1)
        f(unsigned(std::countr_zero(mask)));
}

} // namespace slabfwd
