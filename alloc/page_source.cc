// SPDX-License-Identifier: BSD-3-Clause
//
// page_source.cc - anonymous memory with transparent hugepages, the default page source.
//
// Door: anonymous_page_source(); reserve_metadata() for the page allocator's own arrays.
// Threads: called under the lock of the page allocator.
// Origin: ours.
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>

#include "alloc/page_alloc.h"
#include "alloc/slab.h"

namespace slabfwd {

namespace {

constexpr std::size_t GiB = std::size_t{1} << 30;

// Addresses only: nothing is charged, and an access faults until populate().
void* anon_reserve(page_source*, std::size_t bytes, std::size_t align) {
    void* raw =
        mmap(nullptr, bytes + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED)
        return nullptr;
    const auto start = reinterpret_cast<std::uintptr_t>(raw);
    const std::uintptr_t base = (start + align - 1) / align * align;
    if (base > start)
        munmap(raw, base - start);
    if (const std::size_t tail = start + align - base; tail > 0)
        munmap(reinterpret_cast<void*>(base + bytes), tail);
    return reinterpret_cast<void*>(base);
}

int anon_populate(page_source*, void* addr, std::size_t bytes, int) {
    if (mprotect(addr, bytes, PROT_READ | PROT_WRITE) != 0)
        return -errno;
    madvise(addr, bytes, MADV_HUGEPAGE); // where the kernel has none, small pages do
    return 0;
}

std::size_t anon_give_back(page_source*, void* addr, std::size_t bytes, int) {
    return madvise(addr, bytes, MADV_DONTNEED) == 0 ? bytes : 0;
}

page_source anonymous = {
    .name = "anonymous",
    .reserve = anon_reserve,
    .populate = anon_populate,
    .give_back = anon_give_back,
    .reserve_bytes = 64 * GiB,
    .chunk_order = 10,
};

} // namespace

page_source* anonymous_page_source() {
    return &anonymous;
}

void* reserve_metadata(std::size_t bytes) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? nullptr : p;
}

} // namespace slabfwd
