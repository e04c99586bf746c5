// SPDX-License-Identifier: BSD-3-Clause
//
// The check of ip_rcv_check.h for V::N frames at a time; V says what a vector is. Words of the
// frames are brought side by side (word k of every frame in one vector), then the rule is computed
// for all at once. For the .cc files of the versions only: each is compiled for its own CPU, hence
// the unnamed namespace.
#pragma once

#include "dataplane/ip/ip_rcv_check.h"

namespace slabfwd {

namespace {

/// Words of N frames: word[k] holds word k of each, lane i that of frame i.
template <class V>
struct frame_words {
    typename V::vec word[4];
};

/// The 16 bytes at `offset` from each header. A row holds frames r, r + 4, ...: one a group of four
/// lanes.
template <class V>
[[gnu::always_inline]] inline frame_words<V> words_at(const iphdr* const* iph, int offset) {
    auto a = V::row(iph, 0, offset), b = V::row(iph, 1, offset);
    auto c = V::row(iph, 2, offset), d = V::row(iph, 3, offset);
    auto ab = V::unpack_low32(a, b), cd = V::unpack_low32(c, d);
    auto ab_high = V::unpack_high32(a, b), cd_high = V::unpack_high32(c, d);
    return {{V::unpack_low64(ab, cd), V::unpack_high64(ab, cd), V::unpack_low64(ab_high, cd_high),
             V::unpack_high64(ab_high, cd_high)}};
}

template <class V>
[[gnu::always_inline]] inline typename V::vec differs(typename V::vec word, uint64_t want,
                                                      uint64_t mask) {
    return V::and_(V::xor_(word, V::all(uint32_t(want))), V::all(uint32_t(mask)));
}

/// Of N frames.
template <class V>
[[gnu::always_inline]] inline rcv_verdict check_frames(const iphdr* const* iph, const uint32_t* len,
                                                       rcv_address to) {
    const auto half = V::all(0xffff);
    const frame_words<V> eth = words_at<V>(iph, -int(ETH_HLEN)), ip = words_at<V>(iph, 0);
    auto odd = V::or_(differs<V>(eth.word[0], to.mac, to.mask),
                      V::or_(differs<V>(eth.word[1], to.mac >> 32, to.mask >> 32),
                             differs<V>(eth.word[3], ETH_IP_IHL5, ETH_IP_IHL5_MASK)));
    auto daddr = V::words(iph, 16);
    auto sum = V::add(V::and_(daddr, half), V::high_half(daddr));
    for (auto word : ip.word)
        sum = V::add(sum, V::add(V::and_(word, half), V::high_half(word)));
    // Ten halves: after one fold the sum is at most 0xffff + 9, and right exactly when it is
    // 0xffff.
    sum = V::add(V::and_(sum, half), V::high_half(sum));
    // Version, TOS and tot_len, whose bytes are the other way round.
    const auto head = ip.word[0];
    const auto tot_len = V::or_(V::high_byte(head), V::and_(V::high_three(head), V::all(0xff00)));
    return {.bad = V::not_zero(V::or_(odd, V::xor_(sum, half))),
            .resize = V::not_zero(V::xor_(tot_len, V::load_all(len))),
            .ect = V::not_zero(V::and_(head, V::all(INET_ECN_MASK << 8)))};
}

template <class V>
[[gnu::always_inline]] inline rcv_verdict check_burst(const iphdr* const* iph, const uint32_t* len,
                                                      unsigned n, rcv_address to) {
    rcv_verdict all{0, 0, 0};
    const auto add = [&all](unsigned i, rcv_verdict v) {
        all.bad |= v.bad << i;
        all.resize |= v.resize << i;
        all.ect |= v.ect << i;
    };
    unsigned i = 0;
    for (; i + V::N <= n; i += V::N)
        add(i, check_frames<V>(iph + i, len + i, to));
    if (i < n)
        add(i, ip_rcv_check_plain(iph + i, len + i, n - i, to));
    return all;
}

} // namespace

} // namespace slabfwd
