// SPDX-License-Identifier: BSD-3-Clause
//
// Four flows at a time: rt_bucket::first_for with a lane for each.
#include <immintrin.h>

#include "route/rt_bucket_list.h"

namespace slabfwd {

namespace {

__m256i two(const rt_bucket& low, const rt_bucket& high) {
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(&low))),
        _mm_load_si128(reinterpret_cast<const __m128i*>(&high)), 1);
}

__m256i all(uint64_t v) {
    return _mm256_set1_epi64x(int64_t(v));
}

} // namespace

uint32_t rt_bucket_list_avx2(const rt_bucket* table, uint32_t mask, const uint32_t* hash,
                             unsigned n, rtable** rt) {
    constexpr unsigned LANES = 4;
    const __m256i one = all(1), no_entry = _mm256_setzero_si256();
    uint64_t absent = 0; // those of later flows come in from above
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const uint32_t* h = hash + i;
        const __m256i even = two(table[h[0] & mask], table[h[2] & mask]),
                      odd = two(table[h[1] & mask], table[h[3] & mask]);
        const __m256i chain = _mm256_unpacklo_epi64(even, odd),
                      marks = _mm256_unpackhi_epi64(even, odd); // seen above them
        const __m256i hashes =
            _mm256_cvtepu32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(h)));
        const __m256i first = _mm256_srlv_epi64(marks, _mm256_srli_epi64(hashes, 27));
        const __m256i second =
            _mm256_srlv_epi64(marks, _mm256_and_si256(_mm256_srli_epi64(hashes, 22), all(31)));
        const __m256i third = _mm256_srlv_epi64(
            chain, _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi64(hashes, 19), all(7)),
                                   all(rt_bucket::MARKS_AT)));
        const __m256i has =
            _mm256_and_si256(_mm256_and_si256(first, second), _mm256_and_si256(third, one));
        const __m256i head = _mm256_and_si256(_mm256_and_si256(chain, all(rt_bucket::HEAD)),
                                              _mm256_sub_epi64(no_entry, has));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(rt + i), head);
        const int none =
            _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(head, no_entry)));
        absent = absent >> LANES | uint64_t(uint32_t(none)) << (64 - LANES);
        for (unsigned lane = 0; lane < LANES; ++lane)
            __builtin_prefetch(rt[i + lane]);
    }
    const auto whole = uint32_t(i ? absent >> (64 - i) : 0);
    return i < n ? whole | rt_bucket_list_plain(table, mask, hash + i, unsigned(n - i), rt + i) << i
                 : whole;
}

} // namespace slabfwd
