// SPDX-License-Identifier: BSD-3-Clause
//
// DPDK's memory for the slab allocator. See slab_memory.h.
#include "dataplane/slab_memory.h"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_memzone.h>

namespace slabfwd {

namespace {

void* zone_reserve(page_source*, size_t bytes, size_t align) {
    const rte_memzone* zone =
        rte_memzone_reserve_aligned("slabfwd_slab", bytes, SOCKET_ID_ANY,
                                    RTE_MEMZONE_1GB | RTE_MEMZONE_SIZE_HINT_ONLY, unsigned(align));
    return zone ? zone->addr : nullptr;
}

// The zone is mapped when it is reserved, and stays.
int zone_populate(page_source*, void*, size_t, int) {
    return 0;
}
size_t zone_give_back(page_source*, void*, size_t, int) {
    return 0;
}

page_source dpdk = {
    .name = "dpdk",
    .reserve = zone_reserve,
    .populate = zone_populate,
    .give_back = zone_give_back,
    .fault_in = nullptr,
    .reserve_bytes = size_t{1} << 30,
    .chunk_order = 10,
};

} // namespace

page_source* dpdk_page_source() {
    return &dpdk;
}

tl::expected<void, std::string> set_slab_memory(const std::string& name) {
    register_page_source(dpdk_page_source());
    page_source* source = find_page_source(name);
    if (!source)
        return tl::unexpected(
            fmt::format("--slab-memory: \"{}\" is none of anonymous, hugetlb, dpdk", name));
    if (set_page_source(source) != 0)
        return tl::unexpected(std::string("--slab-memory: the allocator has memory already"));
    // Ask for the first page now: a program that starts is to fail here rather than later.
    page* first = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0);
    if (!first)
        return tl::unexpected(fmt::format("--slab-memory {}: there is no such memory to be had{}",
                                          name,
                                          name == "hugetlb" ? " (see /proc/sys/vm/nr_hugepages)"
                                          : name == "dpdk"  ? " (64 MiB in a row; see --eal \"-m\")"
                                                            : ""));
    __free_pages(first, 0);
    return {};
}

} // namespace slabfwd
