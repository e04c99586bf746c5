// SPDX-License-Identifier: BSD-3-Clause
//
// Four frames at a time.
#include <cstring>

#include <immintrin.h>

#include "dataplane/ip/ip_rcv_check_simd.h"

namespace slabfwd {

namespace {

struct sse42 {
    static constexpr unsigned N = 4;
    using vec = __m128i;

    static __m128i load(const iphdr* iph, int offset) {
        return _mm_loadu_si128(
            reinterpret_cast<const __m128i*>(reinterpret_cast<const char*>(iph) + offset));
    }
    static int word(const iphdr* iph, int offset) {
        int v;
        std::memcpy(&v, reinterpret_cast<const char*>(iph) + offset, sizeof v);
        return v;
    }
    static vec row(const iphdr* const* iph, unsigned r, int offset) { return load(iph[r], offset); }
    static vec words(const iphdr* const* iph, int o) {
        return _mm_setr_epi32(word(iph[0], o), word(iph[1], o), word(iph[2], o), word(iph[3], o));
    }
    static vec all(uint32_t v) { return _mm_set1_epi32(int(v)); }
    static vec unpack_low32(vec a, vec b) { return _mm_unpacklo_epi32(a, b); }
    static vec unpack_high32(vec a, vec b) { return _mm_unpackhi_epi32(a, b); }
    static vec unpack_low64(vec a, vec b) { return _mm_unpacklo_epi64(a, b); }
    static vec unpack_high64(vec a, vec b) { return _mm_unpackhi_epi64(a, b); }
    static vec and_(vec a, vec b) { return _mm_and_si128(a, b); }
    static vec or_(vec a, vec b) { return _mm_or_si128(a, b); }
    static vec xor_(vec a, vec b) { return _mm_xor_si128(a, b); }
    static vec add(vec a, vec b) { return _mm_add_epi32(a, b); }
    static vec high_half(vec a) { return _mm_srli_epi32(a, 16); }
    static vec high_byte(vec a) { return _mm_srli_epi32(a, 24); }
    static vec high_three(vec a) { return _mm_srli_epi32(a, 8); }
    static vec load_all(const uint32_t* v) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(v));
    }
    static uint32_t not_zero(vec a) {
        const vec zero = _mm_cmpeq_epi32(a, _mm_setzero_si128());
        return uint32_t(_mm_movemask_ps(_mm_castsi128_ps(zero))) ^ 0xf;
    }
};

} // namespace

rcv_verdict ip_rcv_check_sse42(const iphdr* const* iph, const uint32_t* len, unsigned n,
                               rcv_address to) {
    return check_burst<sse42>(iph, len, n, to);
}

} // namespace slabfwd
