// SPDX-License-Identifier: BSD-3-Clause
//
// Internet checksums (RFC 1071) over plain memory. Sums are taken over words as they lie in memory;
// a one's complement sum does not depend on the byte order, so the result is stored without a swap.
// Door: csum_partial, ip_fast_csum, csum_tcpudp_magic. Origin: lib/checksum.c,
// arch/x86/lib/csum-partial_64.c.
#include "neigh/wire.h"

#include <cstring>

namespace slabfwd {

namespace {

template <class T>
uint64_t load(const uint8_t* p) {
    T v;
    memcpy(&v, p, sizeof v);
    return v;
}

/// End-around carry addition.
uint64_t add_carry(uint64_t a, uint64_t b) {
    uint64_t s;
    return __builtin_add_overflow(a, b, &s) ? s + 1 : s;
}

uint32_t fold64(uint64_t sum) {
    sum = (sum & 0xffffffff) + (sum >> 32);
    return uint32_t(sum) + uint32_t(sum >> 32);
}

} // namespace

uint32_t csum_partial(const void* data, size_t len, uint32_t initial) {
    auto* p = static_cast<const uint8_t*>(data);
    uint64_t even = initial, odd = 0; // two chains: the carries do not wait for each other
    for (; len >= 16; p += 16, len -= 16) {
        even = add_carry(even, load<uint64_t>(p));
        odd = add_carry(odd, load<uint64_t>(p + 8));
    }
    if (len & 8)
        even = add_carry(even, load<uint64_t>(p)), p += 8;
    if (len & 4)
        odd = add_carry(odd, load<uint32_t>(p)), p += 4;
    if (len & 2)
        even = add_carry(even, load<uint16_t>(p)), p += 2;
    if (len & 1)
        odd = add_carry(odd, *p); // the missing byte counts as zero, behind this one
    return fold64(add_carry(even, odd));
}

uint16_t ip_fast_csum(const void* iph, unsigned ihl) {
    auto* p = static_cast<const uint8_t*>(iph);
    uint64_t sum = 0; // at most 15 words: no carry is lost
    for (unsigned i = 0; i < ihl; ++i)
        sum += load<uint32_t>(p + i * 4);
    return csum_fold(fold64(sum));
}

uint16_t csum_tcpudp_magic(be32_t saddr, be32_t daddr, uint32_t len, uint8_t proto, uint32_t sum) {
    uint64_t s = uint64_t(sum) + saddr.raw + daddr.raw;
    s += cpu_to_be32(len).raw;
    s += cpu_to_be32(proto).raw;
    return csum_fold(fold64(s));
}

} // namespace slabfwd
