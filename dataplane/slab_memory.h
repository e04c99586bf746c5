// SPDX-License-Identifier: BSD-3-Clause
//
// Where the slab allocator's pages come from in a program that runs DPDK: anonymous memory (the
// default), the system's hugetlb pool, or DPDK's own memory.
//
// Door: set_slab_memory(). Threads: once, while starting, after eal_start() and before the first
// allocation. Origin: ours; alloc/ itself knows no DPDK.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "alloc/page_alloc.h"

namespace slabfwd {

/// DPDK's memory as a page source: one memory zone, as large as can be had (1 GiB at first try,
/// then halves down to 64 MiB), taken whole and never given back.
page_source* dpdk_page_source();

/// Use the source of that name: "anonymous", "hugetlb" or "dpdk". The error is a sentence.
tl::expected<void, std::string> set_slab_memory(const std::string& name);

} // namespace slabfwd
