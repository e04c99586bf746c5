// SPDX-License-Identifier: BSD-3-Clause
//
// Integer types of the wire: be16_t and be32_t are big-endian values that do not convert silently.
// Door: cpu_to_be16/32, be16/32_to_cpu. Bit operations work on them as on the kernel's __be32;
// arithmetic needs a conversion first. READ_ONCE/WRITE_ONCE semantics live in neigh/rcu.h.
// Origin: the kernel's __be16/__be32 annotations (include/uapi/linux/types.h), made into types.
#pragma once

#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>

#include <netinet/in.h>
#include <netinet/ip.h>
#include <rte_branch_prediction.h> // likely, unlikely

// The C library's macros of these names hold host-order numbers; ours are typed.
#undef INADDR_ANY
#undef INADDR_BROADCAST
#undef INADDR_LOOPBACK
#undef IP_OPTIONS
#undef IP_CE
#undef IP_DF
#undef IP_MF
#undef IP_OFFSET
#undef IP_OFFMASK

namespace slabfwd {

/// A 16-bit value in network byte order, as it lies in a header. Plain data of alignment 1, so that
/// a header may lie at any address; value-initialise it ({}) where zero is meant.
struct [[gnu::packed]] be16_t {
    uint16_t raw;
    friend constexpr bool operator==(be16_t, be16_t) = default;
    friend constexpr be16_t operator&(be16_t a, be16_t b) { return {uint16_t(a.raw & b.raw)}; }
    friend constexpr be16_t operator|(be16_t a, be16_t b) { return {uint16_t(a.raw | b.raw)}; }
    friend constexpr be16_t operator~(be16_t a) { return {uint16_t(~a.raw)}; }
    constexpr explicit operator bool() const { return raw != 0; }
};

/// A 32-bit value in network byte order; IPv4 addresses are be32_t throughout.
struct [[gnu::packed]] be32_t {
    uint32_t raw;
    friend constexpr bool operator==(be32_t, be32_t) = default;
    friend constexpr be32_t operator&(be32_t a, be32_t b) { return {a.raw & b.raw}; }
    friend constexpr be32_t operator|(be32_t a, be32_t b) { return {a.raw | b.raw}; }
    friend constexpr be32_t operator^(be32_t a, be32_t b) { return {a.raw ^ b.raw}; }
    friend constexpr be32_t operator~(be32_t a) { return {~a.raw}; }
    constexpr explicit operator bool() const { return raw != 0; }
};
static_assert(std::endian::native == std::endian::little, "x86 only so far");

constexpr be16_t cpu_to_be16(uint16_t v) {
    return {__builtin_bswap16(v)};
}
constexpr be32_t cpu_to_be32(uint32_t v) {
    return {__builtin_bswap32(v)};
}
constexpr uint16_t be16_to_cpu(be16_t v) {
    return __builtin_bswap16(v.raw);
}
constexpr uint32_t be32_to_cpu(be32_t v) {
    return __builtin_bswap32(v.raw);
}

/// Netmask of a prefix length 0..32. Origin: inet_make_mask (include/linux/inetdevice.h).
constexpr be32_t inet_make_mask(int prefixlen) {
    return prefixlen ? cpu_to_be32(~0u << (32 - prefixlen)) : be32_t{};
}
/// Prefix length of a contiguous netmask.
constexpr int inet_mask_len(be32_t mask) {
    return 32 - std::countr_zero(be32_to_cpu(mask)) * (mask.raw != 0) - 32 * (mask.raw == 0);
}

constexpr be32_t INADDR_ANY{0};
constexpr be32_t INADDR_BROADCAST{0xffffffffu};
constexpr be32_t INADDR_LOOPBACK = cpu_to_be32(0x7f000001);

// Address classes (include/linux/in.h).
constexpr bool ipv4_is_loopback(be32_t a) {
    return (be32_to_cpu(a) >> 24) == 127;
}
constexpr bool ipv4_is_multicast(be32_t a) {
    return (be32_to_cpu(a) >> 28) == 14;
}
constexpr bool ipv4_is_local_multicast(be32_t a) {
    return (be32_to_cpu(a) >> 8) == 0xe00000;
}
constexpr bool ipv4_is_lbcast(be32_t a) {
    return a == INADDR_BROADCAST;
}
/// 0.0.0.0 alone: the rest of 0/8 is unicast to Linux (since 5.3).
constexpr bool ipv4_is_zeronet(be32_t a) {
    return a.raw == 0;
}
constexpr bool ipv4_is_linklocal_169(be32_t a) {
    return (be32_to_cpu(a) >> 16) == 0xa9fe;
}

} // namespace slabfwd
