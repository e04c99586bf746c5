// SPDX-License-Identifier: BSD-3-Clause
//
// page_source.cc - where pages come from: anonymous memory with transparent hugepages (the
// default), hugetlb pages, or what other parts of the process register.
//
// Doors: anonymous_page_source(), hugetlb_page_source(), find_page_source(),
// register_page_source(); reserve_metadata() for the page allocator's own arrays.
// Threads: called under the lock of the page allocator; the table of sources has its own.
// Origin: ours.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

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

// With the machine's own nodes memory comes from its node while that has any (MPOL_PREFERRED).
void bind_to_node(void* addr, std::size_t bytes, int nid) {
    constexpr int MPOL_PREFERRED_MODE = 1;
    const unsigned long mask = 1ul << nid;
    if (numa_is_real() && nr_node_ids() > 1) // a hint: without the call memory is just farther away
        syscall(SYS_mbind, addr, bytes, MPOL_PREFERRED_MODE, &mask, 8 * sizeof mask, 0);
}

int anon_populate(page_source*, void* addr, std::size_t bytes, int nid) {
    if (mprotect(addr, bytes, PROT_READ | PROT_WRITE) != 0)
        return -errno;
    bind_to_node(addr, bytes, nid);
    madvise(addr, bytes, MADV_HUGEPAGE); // where the kernel has none, small pages do
    return 0;
}

std::size_t anon_give_back(page_source*, void* addr, std::size_t bytes, int) {
    return madvise(addr, bytes, MADV_DONTNEED) == 0 ? bytes : 0;
}

// Where the kernel has no MADV_POPULATE_WRITE (before 5.14), a byte of each page is written.
int fault_in(page_source*, void* addr, std::size_t bytes) {
    constexpr int POPULATE_WRITE = 23;
    if (madvise(addr, bytes, POPULATE_WRITE) == 0)
        return 0;
    if (errno != EINVAL)
        return -errno;
    auto* at = static_cast<volatile char*>(addr);
    for (std::size_t i = 0; i < bytes; i += PAGE_SIZE)
        at[i] = 0;
    return 0;
}

page_source anonymous = {
    .name = "anonymous",
    .reserve = anon_reserve,
    .populate = anon_populate,
    .give_back = anon_give_back,
    .fault_in = fault_in,
    .reserve_bytes = 64 * GiB,
    .chunk_order = 10,
};

// ---- hugetlb

constexpr std::size_t HUGE_PAGE = std::size_t{2} << 20;

// Maps pages of the pool over the reserved addresses. They are taken at once (MAP_POPULATE would
// hide that the pool is empty until the first touch, which then kills the process).
int huge_populate(page_source*, void* addr, std::size_t bytes, int nid) {
    constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED | (21 << 26);
    if (mmap(addr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) {
        const int err = errno;
        // A failed MAP_FIXED may have unmapped what was there: the addresses stay ours.
        mmap(addr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
             0);
        return -err;
    }
    bind_to_node(addr, bytes, nid);
    return 0;
}

// Whole hugepages only; the pool keeps them in reserve for this mapping.
std::size_t huge_give_back(page_source*, void* addr, std::size_t bytes, int) {
    const auto start = reinterpret_cast<std::uintptr_t>(addr);
    const std::uintptr_t first = (start + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    const std::uintptr_t end = (start + bytes) / HUGE_PAGE * HUGE_PAGE;
    if (end <= first)
        return 0;
    void* from = reinterpret_cast<void*>(first);
    return madvise(from, end - first, MADV_DONTNEED) == 0 ? end - first : 0;
}

page_source hugetlb = {
    .name = "hugetlb",
    .reserve = anon_reserve,
    .populate = huge_populate,
    .give_back = huge_give_back,
    .fault_in = fault_in,
    .reserve_bytes = 64 * GiB,
    .chunk_order = 9,
};

// ---- by name

constexpr unsigned SOURCES = 8;
spinlock_t sources_lock;
page_source* sources[SOURCES] = {&anonymous, &hugetlb};

} // namespace

page_source* anonymous_page_source() {
    return &anonymous;
}

page_source* hugetlb_page_source() {
    return &hugetlb;
}

page_source* find_page_source(std::string_view name) {
    const spin_guard guard(sources_lock);
    for (page_source* s : sources)
        if (s && name == s->name)
            return s;
    return nullptr;
}

void register_page_source(page_source* source) {
    const spin_guard guard(sources_lock);
    for (page_source*& s : sources) {
        if (s == source)
            return;
        if (!s) {
            s = source;
            return;
        }
    }
}

void* reserve_metadata(std::size_t bytes) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? nullptr : p;
}

} // namespace slabfwd
