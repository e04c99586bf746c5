// SPDX-License-Identifier: BSD-3-Clause
//
// page_alloc.h - the page allocator: a buddy system over one reserved range of addresses.
//
// Doors: alloc_pages(), __free_pages(), page_address(), virt_to_head_page(), set_page_source().
// All pages lie in one reserved range, so that address -> struct page is arithmetic. Where the
// memory behind the addresses comes from is the page source's business (anonymous memory with
// transparent hugepages unless another is plugged in before the first allocation).
// Threads: every function may be called by any thread; one lock guards the free lists.
// Origin: mm/page_alloc.c and include/linux/mm.h of Linux v5.2. Differences: MAX_ORDER is larger
// (tables of 64 MiB come in one piece); struct page of the first page of each 64 KiB lie together,
// so that large slabs touch little metadata; the state of a block is a byte per page beside it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "gfp.h"
#include "numa.h"

namespace slabfwd {

struct kmem_cache;

inline constexpr unsigned PAGE_SHIFT = 12;
inline constexpr std::size_t PAGE_SIZE = std::size_t{1} << PAGE_SHIFT;
/// Orders 0 .. MAX_ORDER - 1 can be asked for.
inline constexpr unsigned MAX_ORDER = 15;

/// What call_rcu() hangs in its queue; lies in the memory that waits.
struct rcu_head {
    rcu_head* next;
    void (*func)(rcu_head*);
};

/// One page (of 4 KiB), or the first of a block. Who holds the block owns the fields; those of a
/// slab are guarded by the list_lock of its node.
struct page {
    page* next;             ///< neighbours in a free list of the buddy system or a slab list
    page* prev;             ///< idem
    kmem_cache* slab_cache; ///< cache whose slab this is; NULL for other pages
    void* s_mem;            ///< first object of the slab
    union {
        void* freelist; ///< SLAB: freelist index of the slab (array or bitmap, on or off the slab)
        std::uint64_t counters; ///< SLUB: first free object, objects in use, frozen (slub.h)
    };
    union {
        std::uint32_t active;  ///< SLAB: objects of the slab that are given out
        std::uint32_t objects; ///< SLUB: objects of the slab
    };
    std::uint16_t hint;     ///< bitmap: no free object lies in a word before this one
    std::uint8_t slab_list; ///< which list the slab is on (enum slab_list in slab.h)
    std::uint8_t nid;       ///< node of the page
    rcu_head rcu;           ///< waits here for a grace period (SLAB_TYPESAFE_BY_RCU)
};
static_assert(sizeof(page) == 64, "one cache line a page");

/// Where memory comes from. Plugged in by set_page_source(); must live as long as the process.
/// Every function gets `self`; they are called under the lock of the page allocator and must not
/// call back into it.
struct page_source {
    const char* name; ///< for reports
    /// Reserve `bytes` of addresses, aligned to `align`. NULL: not so much (a smaller amount is
    /// asked for next).
    void* (*reserve)(page_source* self, std::size_t bytes, std::size_t align);
    /// Make [addr, addr+bytes) readable and writable. 0 or -errno. Called in ascending order.
    int (*populate)(page_source* self, void* addr, std::size_t bytes, int nid);
    /// Give the memory (not the addresses) back: contents may be lost, the next touch gets memory
    /// again. May do nothing; returns the bytes given back.
    std::size_t (*give_back)(page_source* self, void* addr, std::size_t bytes, int nid);
    /// Have memory behind [addr, addr+bytes), which is populated and in nobody's use: contents may change. Called
    /// without the lock, by any thread. 0 or -errno. NULL: it is there as soon as it is populated.
    int (*fault_in)(page_source* self, void* addr, std::size_t bytes);
    std::size_t reserve_bytes; ///< how much to reserve at first try
    unsigned chunk_order;      ///< memory is populated in blocks of this order at least
};

/// The default source: anonymous memory, MADV_HUGEPAGE; bound to its node where nodes are real.
page_source* anonymous_page_source();
/// Pages of /proc/sys/vm/nr_hugepages (2 MiB each). Where the pool has run dry the allocation
/// fails as any other: there is no silent change to small pages.
page_source* hugetlb_page_source();
/// Either of them, or one that another part of the process has registered, by its name
/// ("anonymous", "hugetlb", "dpdk"); NULL: no such source.
page_source* find_page_source(std::string_view name);
/// Makes a source known to find_page_source(). It must outlive the process.
void register_page_source(page_source* source);

/// Use `source` from now on. 0, or -EBUSY once the first page was handed out.
int set_page_source(page_source* source);

/// Hard upper bound on the memory in use, in bytes; 0: as much as is reserved. The last 1/64 of
/// it (at most 1 MiB) is the reserve that only GFP_ATOMIC (half) and __GFP_MEMALLOC may use (never
/// together with __GFP_NOMEMALLOC). With `nid` the bound is that node's own, without a reserve.
void page_alloc_set_limit(std::size_t bytes, int nid = NUMA_NO_NODE);

/// What the page allocator has, in pages.
struct page_alloc_stats {
    std::size_t reserved;               ///< addresses reserved
    std::size_t populated;              ///< pages ever made usable
    std::size_t free;                   ///< pages in the free lists
    std::size_t given_back;             ///< pages of these whose memory is with the system
    std::size_t ready;                  ///< pages of these that a page_ahead has had faulted in
    std::size_t limit;                  ///< upper bound in force
    std::size_t free_blocks[MAX_ORDER]; ///< blocks in each free list
    const char* source;                 ///< name of the page source
};
/// Of one node, or of all together.
page_alloc_stats page_alloc_get_stats(int nid = NUMA_NO_NODE);

/// Text in the manner of /proc/buddyinfo, a line a node.
std::string buddyinfo();

/// 2^order pages in a row, aligned to their size. NULL when out of memory. __GFP_ZERO is honoured;
/// __GFP_NOFAIL is refused (NULL).
page* alloc_pages(gfp_t gfp, unsigned order);
/// As alloc_pages(), from node `nid` (NUMA_NO_NODE: the caller's) or, without __GFP_THISNODE, from
/// another when that one has none.
page* alloc_pages_node(int nid, gfp_t gfp, unsigned order);
/// Give back what alloc_pages() returned; `order` must be the same.
void __free_pages(page* page, unsigned order);
/// Returns the memory of free blocks of 64 KiB and larger to the system, but for `keep_bytes`.
/// Returns the bytes given back.
std::size_t page_alloc_trim(std::size_t keep_bytes = 0);

/// Check the free lists against the state of the pages. For tests. True when all is right; else
/// `why` (if given) says what is not.
bool page_alloc_is_valid(std::string* why = nullptr);

namespace detail {
/// The reserved range and its metadata. Written once, before the first page is handed out.
struct mem_range {
    std::byte* base = nullptr;     // first address
    std::size_t bytes = 0;         // size of the range
    std::size_t granules = 0;      // 64 KiB pieces in the range
    page* map = nullptr;           // struct page of all pages, see page_at()
    std::uint8_t* state = nullptr; // a byte per page, see page_order()
};
extern constinit mem_range mem;

inline constexpr unsigned GRANULE_ORDER = 4; // 16 pages: 64 KiB
inline constexpr std::uint8_t STATE_FREE = 0x80;
} // namespace detail

/// The struct page of page number `pfn` of the range. First pages of 64 KiB pieces are neighbours.
inline page* page_at(std::size_t pfn) {
    using namespace detail;
    constexpr std::size_t mask = (std::size_t{1} << GRANULE_ORDER) - 1;
    return mem.map + (pfn & mask) * mem.granules + (pfn >> GRANULE_ORDER);
}

/// Does the address lie in the reserved range?
inline bool virt_addr_valid(const void* addr) {
    return static_cast<std::size_t>(static_cast<const std::byte*>(addr) - detail::mem.base) <
           detail::mem.bytes;
}

/// Number of the page that holds `addr`. REQUIRES virt_addr_valid(addr).
inline std::size_t virt_to_pfn(const void* addr) {
    return static_cast<std::size_t>(static_cast<const std::byte*>(addr) - detail::mem.base) >>
           PAGE_SHIFT;
}

/// Order of the allocated block that holds page `pfn`. REQUIRES that the block is allocated.
inline unsigned page_order(std::size_t pfn) {
    return detail::mem.state[pfn];
}

/// First page of the allocated block of 2^order pages that holds `addr`; pure arithmetic.
inline page* virt_to_head_page(const void* addr, unsigned order) {
    return page_at(virt_to_pfn(addr) & ~((std::size_t{1} << order) - 1));
}

/// First page of the allocated block that holds `addr`.
inline page* virt_to_head_page(const void* addr) {
    const std::size_t pfn = virt_to_pfn(addr);
    return virt_to_head_page(addr, page_order(pfn));
}

/// Number of a page in the range.
inline std::size_t page_to_pfn(const page* p) {
    const auto i = static_cast<std::size_t>(p - detail::mem.map);
    return ((i % detail::mem.granules) << detail::GRANULE_ORDER) + i / detail::mem.granules;
}

/// The memory of a page.
inline void* page_address(const page* p) {
    return detail::mem.base + (page_to_pfn(p) << PAGE_SHIFT);
}

/// Smallest order whose block holds `size` bytes.
constexpr unsigned get_order(std::size_t size) {
    unsigned order = 0;
    while ((PAGE_SIZE << order) < size)
        ++order;
    return order;
}

} // namespace slabfwd
