// SPDX-License-Identifier: BSD-3-Clause
//
// The rule itself, and the choice of the version that is used.
#include "dataplane/ip/ip_rcv_check.h"

#include <cstring>

namespace slabfwd {

namespace {

template <class T>
T load(const void* p) {
    T v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

bool is_plain(const iphdr* iph, rcv_address to) {
    const char* eth = reinterpret_cast<const char*>(iph) - ETH_HLEN;
    return (load<uint64_t>(eth) & to.mask) == to.mac &&
           (load<uint32_t>(eth + 12) & ETH_IP_IHL5_MASK) == ETH_IP_IHL5 &&
           ip_fast_csum(iph, 5) == 0;
}

/// Versions in order; those beyond what the CPU knows are cut off.
constexpr ip_rcv_check_version versions[] = {
    {"plain", ip_rcv_check_plain},
#if defined(__x86_64__)
    {"sse4.2", ip_rcv_check_sse42},
    {"avx2", ip_rcv_check_avx2},
    {"avx512", ip_rcv_check_avx512},
#endif
};

} // namespace

rcv_verdict ip_rcv_check_plain(const iphdr* const* iph, const uint32_t* len, unsigned n,
                               rcv_address to) {
    rcv_verdict all{0, 0, 0};
    for (unsigned i = 0; i < n; ++i) {
        all.bad |= uint32_t(!is_plain(iph[i], to)) << i;
        all.resize |= uint32_t(be16_to_cpu(iph[i]->tot_len) != len[i]) << i;
        all.ect |= uint32_t((iph[i]->tos & INET_ECN_MASK) != 0) << i;
    }
    return all;
}

std::span<const ip_rcv_check_version> ip_rcv_check_versions() {
    size_t n = 1;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("sse4.2")) {
        n = 2;
        if (__builtin_cpu_supports("avx2")) {
            n = 3;
            if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
                n = 4;
        }
    }
#endif
    return {versions, n};
}

ip_rcv_check_t* const ip_rcv_check = ip_rcv_check_versions().back().check;

} // namespace slabfwd
