// SPDX-License-Identifier: BSD-3-Clause
//
// The rule itself, and the choice of the version that is used.
#include "route/rt_bucket_list.h"

namespace slabfwd {

namespace {

/// Versions in order; those beyond what the CPU knows are cut off.
constexpr rt_bucket_list_version versions[] = {
    {"plain", rt_bucket_list_plain},
#if defined(__x86_64__)
    {"avx2", rt_bucket_list_avx2},
#endif
};

} // namespace

uint32_t rt_bucket_list_plain(const rt_bucket* table, uint32_t mask, const uint32_t* hash,
                              unsigned n, rtable** rt) {
    uint32_t absent = 0;
    for (unsigned i = 0; i < n; ++i) {
        rt[i] = table[hash[i] & mask].first_for(hash[i]);
        absent |= uint32_t(!rt[i]) << i;
        __builtin_prefetch(rt[i]);
    }
    return absent;
}

std::span<const rt_bucket_list_version> rt_bucket_list_versions() {
    size_t n = 1;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2"))
        n = 2;
#endif
    return {versions, n};
}

rt_bucket_list_t* const rt_bucket_list = rt_bucket_list_versions().back().list;

} // namespace slabfwd
