// SPDX-License-Identifier: BSD-3-Clause
//
// Eight frames at a time, in two groups of four.
#include <cstring>

#include <immintrin.h>

#include "dataplane/ip/ip_rcv_check_simd.h"

namespace slabfwd {

namespace {

struct avx2 {
    static constexpr unsigned N = 8;
    using vec = __m256i;

    static __m128i load(const iphdr* iph, int offset) {
        return _mm_loadu_si128(
            reinterpret_cast<const __m128i*>(reinterpret_cast<const char*>(iph) + offset));
    }
    static int word(const iphdr* iph, int offset) {
        int v;
        std::memcpy(&v, reinterpret_cast<const char*>(iph) + offset, sizeof v);
        return v;
    }
    static vec row(const iphdr* const* iph, unsigned r, int offset) {
        return _mm256_inserti128_si256(_mm256_castsi128_si256(load(iph[r], offset)),
                                       load(iph[r + 4], offset), 1);
    }
    static vec words(const iphdr* const* iph, int o) {
        return _mm256_setr_epi32(word(iph[0], o), word(iph[1], o), word(iph[2], o), word(iph[3], o),
                                 word(iph[4], o), word(iph[5], o), word(iph[6], o),
                                 word(iph[7], o));
    }
    static vec all(uint32_t v) { return _mm256_set1_epi32(int(v)); }
    static vec unpack_low32(vec a, vec b) { return _mm256_unpacklo_epi32(a, b); }
    static vec unpack_high32(vec a, vec b) { return _mm256_unpackhi_epi32(a, b); }
    static vec unpack_low64(vec a, vec b) { return _mm256_unpacklo_epi64(a, b); }
    static vec unpack_high64(vec a, vec b) { return _mm256_unpackhi_epi64(a, b); }
    static vec and_(vec a, vec b) { return _mm256_and_si256(a, b); }
    static vec or_(vec a, vec b) { return _mm256_or_si256(a, b); }
    static vec xor_(vec a, vec b) { return _mm256_xor_si256(a, b); }
    static vec add(vec a, vec b) { return _mm256_add_epi32(a, b); }
    static vec high_half(vec a) { return _mm256_srli_epi32(a, 16); }
    static vec high_byte(vec a) { return _mm256_srli_epi32(a, 24); }
    static vec high_three(vec a) { return _mm256_srli_epi32(a, 8); }
    static vec load_all(const uint32_t* v) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(v));
    }
    static uint32_t not_zero(vec a) {
        const vec zero = _mm256_cmpeq_epi32(a, _mm256_setzero_si256());
        return uint32_t(_mm256_movemask_ps(_mm256_castsi256_ps(zero))) ^ 0xff;
    }
};

} // namespace

rcv_verdict ip_rcv_check_avx2(const iphdr* const* iph, const uint32_t* len, unsigned n,
                              rcv_address to) {
    return check_burst<avx2>(iph, len, n, to);
}

} // namespace slabfwd
