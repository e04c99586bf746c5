// SPDX-License-Identifier: BSD-3-Clause
//
// Sixteen frames at a time, in four groups of four.
#include <cstring>

#include <immintrin.h>

#include "dataplane/ip/ip_rcv_check_simd.h"

namespace slabfwd {

namespace {

struct avx512 {
    static constexpr unsigned N = 16;
    using vec = __m512i;

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
        vec v = _mm512_castsi128_si512(load(iph[r], offset));
        v = _mm512_inserti32x4(v, load(iph[r + 4], offset), 1);
        v = _mm512_inserti32x4(v, load(iph[r + 8], offset), 2);
        return _mm512_inserti32x4(v, load(iph[r + 12], offset), 3);
    }
    static vec words(const iphdr* const* iph, int o) {
        return _mm512_setr_epi32(word(iph[0], o), word(iph[1], o), word(iph[2], o), word(iph[3], o),
                                 word(iph[4], o), word(iph[5], o), word(iph[6], o), word(iph[7], o),
                                 word(iph[8], o), word(iph[9], o), word(iph[10], o),
                                 word(iph[11], o), word(iph[12], o), word(iph[13], o),
                                 word(iph[14], o), word(iph[15], o));
    }
    static vec all(uint32_t v) { return _mm512_set1_epi32(int(v)); }
    static vec unpack_low32(vec a, vec b) { return _mm512_unpacklo_epi32(a, b); }
    static vec unpack_high32(vec a, vec b) { return _mm512_unpackhi_epi32(a, b); }
    static vec unpack_low64(vec a, vec b) { return _mm512_unpacklo_epi64(a, b); }
    static vec unpack_high64(vec a, vec b) { return _mm512_unpackhi_epi64(a, b); }
    static vec and_(vec a, vec b) { return _mm512_and_si512(a, b); }
    static vec or_(vec a, vec b) { return _mm512_or_si512(a, b); }
    static vec xor_(vec a, vec b) { return _mm512_xor_si512(a, b); }
    static vec add(vec a, vec b) { return _mm512_add_epi32(a, b); }
    static vec high_half(vec a) { return _mm512_srli_epi32(a, 16); }
    static vec high_byte(vec a) { return _mm512_srli_epi32(a, 24); }
    static vec high_three(vec a) { return _mm512_srli_epi32(a, 8); }
    static vec load_all(const uint32_t* v) {
        return _mm512_loadu_si512(reinterpret_cast<const __m512i*>(v));
    }
    static uint32_t not_zero(vec a) { return _mm512_test_epi32_mask(a, a); }
};

} // namespace

rcv_verdict ip_rcv_check_avx512(const iphdr* const* iph, const uint32_t* len, unsigned n,
                                rcv_address to) {
    return check_burst<avx512>(iph, len, n, to);
}

} // namespace slabfwd
