// SPDX-License-Identifier: BSD-3-Clause
//
// page_alloc.cc - the buddy system.
//
// Door: page_alloc.h.
// Threads: zone.lock guards the free lists, the state bytes and the counters. The state bytes of an
// allocated block are read without it by those who hold an object in the block: they were written
// before the block was handed out and stay until it is given back.
// Origin: mm/page_alloc.c of Linux v5.2 (split and merge); one zone, no migrate types, no per-CPU
// page lists (slabs are large and keep free slabs of their own).
//
// Invariants (page_alloc_is_valid): a block in free list `o` starts at a multiple of 2^o pages, its
// state byte is STATE_FREE | o, no two buddies of one order are both free, and the sum over all
// lists is zone.free.
#include "alloc/page_alloc.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "alloc/failslab.h"
#include "alloc/slab.h"
#include "alloc/spinlock.h"

namespace slabfwd {

namespace detail {
constinit mem_range mem;
}

namespace {

constexpr std::uint8_t STATE_GIVEN_BACK = 0x40; // free and its memory is with the system
constexpr std::uint8_t STATE_ORDER = 0x3f;
constexpr std::size_t MAX_BLOCK = std::size_t{1} << (MAX_ORDER - 1);
constexpr std::size_t RESERVE_MAX = 256; // pages

// One zone over the whole range.
struct zone {
    spinlock_t lock;
    page_list free_area[MAX_ORDER];
    page_source* source = nullptr;
    std::size_t npages = 0;    // pages of the range
    std::size_t populated = 0; // pages made usable, from the start of the range
    std::size_t free = 0;      // pages in free_area[]
    std::size_t given_back = 0;
    std::size_t limit = 0; // pages; 0: npages
    bool started = false;  // range reserved
    bool failed = false;   // nothing could be reserved
};
constinit zone zone;

std::uint8_t& state_of(std::size_t pfn) {
    return detail::mem.state[pfn];
}

void free_area_add(std::size_t pfn, unsigned order, bool given_back) {
    state_of(pfn) =
        static_cast<std::uint8_t>(detail::STATE_FREE | (given_back ? STATE_GIVEN_BACK : 0) | order);
    zone.free_area[order].add(page_at(pfn));
    zone.free += std::size_t{1} << order;
    if (given_back)
        zone.given_back += std::size_t{1} << order;
}

// Takes a block out of its list; returns whether its memory is with the system.
bool free_area_del(std::size_t pfn, unsigned order) {
    const bool given_back = state_of(pfn) & STATE_GIVEN_BACK;
    state_of(pfn) = 0;
    zone.free_area[order].del(page_at(pfn));
    zone.free -= std::size_t{1} << order;
    if (given_back)
        zone.given_back -= std::size_t{1} << order;
    return given_back;
}

// Puts a block into the free lists, merged with its free buddies.
void free_one_page(std::size_t pfn, unsigned order, bool given_back) {
    while (order < MAX_ORDER - 1) {
        const std::size_t buddy = pfn ^ (std::size_t{1} << order);
        if (buddy >= zone.populated ||
            (state_of(buddy) & ~STATE_GIVEN_BACK) != (detail::STATE_FREE | order))
            break;
        given_back = free_area_del(buddy, order) && given_back;
        pfn &= buddy;
        ++order;
    }
    free_area_add(pfn, order, given_back);
}

// Splits a free block down to `order`, the upper halves stay free.
void expand(std::size_t pfn, unsigned high, unsigned order, bool given_back) {
    while (high > order) {
        --high;
        free_area_add(pfn + (std::size_t{1} << high), high, given_back);
    }
}

// Reserves the range and its metadata at first use.
bool zone_start() {
    if (zone.started || zone.failed)
        return zone.started;
    if (!zone.source)
        zone.source = anonymous_page_source();
    page_source* src = zone.source;
    const std::size_t block_bytes = MAX_BLOCK * PAGE_SIZE;
    for (std::size_t bytes = src->reserve_bytes; bytes >= block_bytes; bytes /= 2) {
        bytes = bytes / block_bytes * block_bytes;
        void* base = src->reserve(src, bytes, block_bytes);
        if (!base)
            continue;
        zone.npages = bytes >> PAGE_SHIFT;
        void* map = reserve_metadata(zone.npages * (sizeof(page) + 1));
        if (!map)
            break;
        detail::mem.granules = zone.npages >> detail::GRANULE_ORDER;
        detail::mem.map = static_cast<page*>(map);
        detail::mem.state = reinterpret_cast<std::uint8_t*>(detail::mem.map + zone.npages);
        detail::mem.base = static_cast<std::byte*>(base);
        detail::mem.bytes = bytes;
        return zone.started = true;
    }
    zone.failed = true;
    return false;
}

// Makes more of the range usable, enough for a block of `order`. The gap up to the block's
// alignment becomes free memory too.
bool zone_grow(unsigned order) {
    if (!zone_start())
        return false;
    const std::size_t step = std::size_t{1} << std::max(order, zone.source->chunk_order);
    const std::size_t end = (zone.populated + step - 1) / step * step + step;
    if (end > zone.npages)
        return false;
    std::byte* from = detail::mem.base + (zone.populated << PAGE_SHIFT);
    if (zone.source->populate(zone.source, from, (end - zone.populated) << PAGE_SHIFT, 0) != 0)
        return false;
    std::size_t pfn = zone.populated;
    zone.populated = end;
    while (pfn < end) {
        unsigned o = MAX_ORDER - 1;
        while ((pfn & ((std::size_t{1} << o) - 1)) || pfn + (std::size_t{1} << o) > end)
            --o;
        free_one_page(pfn, o, true);
        pfn += std::size_t{1} << o;
    }
    return true;
}

// May `pages` more be used under the limit, given who asks?
bool watermark_ok(gfp_t gfp, std::size_t pages) {
    const std::size_t limit = zone.limit ? zone.limit : zone.npages;
    std::size_t reserve = zone.limit ? std::min(limit / 64, RESERVE_MAX) : 0;
    if (gfp & __GFP_MEMALLOC)
        reserve = 0;
    else if (gfp & __GFP_HIGH)
        reserve /= 2;
    return zone.populated - zone.free + pages + reserve <= limit;
}

// A block from the free lists (mm/page_alloc.c: rmqueue).
page* rmqueue(gfp_t gfp, unsigned order) {
    const spin_guard guard(zone.lock);
    if (!zone_start() || !watermark_ok(gfp, std::size_t{1} << order))
        return nullptr;
    for (int pass = 0; pass < 2; ++pass) {
        for (unsigned o = order; o < MAX_ORDER; ++o) {
            if (zone.free_area[o].empty())
                continue;
            page* p = zone.free_area[o].first;
            const std::size_t pfn = page_to_pfn(p);
            expand(pfn, o, order, free_area_del(pfn, o));
            std::memset(&state_of(pfn), static_cast<int>(order), std::size_t{1} << order);
            return p;
        }
        if (!zone_grow(order))
            break;
    }
    return nullptr;
}

} // namespace

page* alloc_pages_node(int nid, gfp_t gfp, unsigned order) {
    if (order >= MAX_ORDER || (gfp & __GFP_NOFAIL) || nid >= MAX_NUMNODES ||
        should_fail_alloc_page(gfp, order))
        return nullptr;
    page* p = rmqueue(gfp, order);
    if (!p && (gfp & __GFP_DIRECT_RECLAIM) && !(gfp & __GFP_NORETRY) && try_to_free_pages(order))
        p = rmqueue(gfp, order);
    if (!p)
        return nullptr;
    *p = page{};
    if (gfp & __GFP_ZERO)
        std::memset(page_address(p), 0, PAGE_SIZE << order);
    return p;
}

page* alloc_pages(gfp_t gfp, unsigned order) {
    return alloc_pages_node(NUMA_NO_NODE, gfp, order);
}

void __free_pages(page* p, unsigned order) {
    const std::size_t pfn = page_to_pfn(p);
    const spin_guard guard(zone.lock);
    if (pfn >= zone.populated || state_of(pfn) != order) {
        report("BUG: __free_pages of %p, order %u: not an allocated block of that order",
               page_address(p), order);
        return;
    }
    free_one_page(pfn, order, false);
}

std::size_t page_alloc_trim(std::size_t keep_bytes) {
    const std::size_t keep = keep_bytes >> PAGE_SHIFT;
    std::size_t trimmed = 0;
    const spin_guard guard(zone.lock);
    for (unsigned o = MAX_ORDER; o-- > detail::GRANULE_ORDER;) {
        for (page* p = zone.free_area[o].first; p; p = p->next) {
            if (zone.free - zone.given_back <= keep)
                return trimmed;
            const std::size_t pfn = page_to_pfn(p);
            if (state_of(pfn) & STATE_GIVEN_BACK)
                continue;
            trimmed += zone.source->give_back(zone.source, page_address(p), PAGE_SIZE << o, p->nid);
            state_of(pfn) |= STATE_GIVEN_BACK;
            zone.given_back += std::size_t{1} << o;
        }
    }
    return trimmed;
}

std::size_t page_give_back(void* addr, std::size_t bytes) {
    return zone.source->give_back(zone.source, addr, bytes, 0);
}

int set_page_source(page_source* source) {
    const spin_guard guard(zone.lock);
    if (zone.started)
        return -EBUSY;
    zone.source = source;
    zone.failed = false;
    return 0;
}

void page_alloc_set_limit(std::size_t bytes) {
    const spin_guard guard(zone.lock);
    zone.limit = bytes >> PAGE_SHIFT;
}

page_alloc_stats page_alloc_get_stats() {
    const spin_guard guard(zone.lock);
    page_alloc_stats s{};
    s.reserved = zone.npages;
    s.populated = zone.populated;
    s.free = zone.free;
    s.given_back = zone.given_back;
    s.limit = zone.limit ? zone.limit : zone.npages;
    for (unsigned o = 0; o < MAX_ORDER; ++o)
        s.free_blocks[o] = zone.free_area[o].count;
    s.source = zone.source ? zone.source->name : "none";
    return s;
}

std::string buddyinfo() {
    const page_alloc_stats s = page_alloc_get_stats();
    std::string text = "Node 0, zone   Normal ";
    for (const std::size_t n : s.free_blocks) {
        char field[32];
        std::snprintf(field, sizeof field, "%6zu ", n);
        text += field;
    }
    return text + "\n";
}

namespace {

// What is wrong with a block of free list `o`; NULL when nothing is.
const char* check_free_block(std::size_t pfn, unsigned o) {
    const std::size_t buddy = pfn ^ (std::size_t{1} << o);
    if (pfn & ((std::size_t{1} << o) - 1))
        return "block not aligned to its order";
    if ((state_of(pfn) & ~STATE_GIVEN_BACK) != (detail::STATE_FREE | o))
        return "state byte does not name the list";
    if (o < MAX_ORDER - 1 && buddy < zone.populated &&
        (state_of(buddy) & ~STATE_GIVEN_BACK) == (detail::STATE_FREE | o))
        return "two free buddies not merged";
    return nullptr;
}

} // namespace

bool page_alloc_is_valid(std::string* why) {
    const spin_guard guard(zone.lock);
    const char* wrong = nullptr;
    std::size_t free = 0;
    std::size_t given_back = 0;
    for (unsigned o = 0; o < MAX_ORDER && !wrong; ++o) {
        std::size_t count = 0;
        for (page* p = zone.free_area[o].first; p && !wrong; p = p->next, ++count) {
            const std::size_t pfn = page_to_pfn(p);
            wrong = check_free_block(pfn, o);
            free += std::size_t{1} << o;
            given_back += (state_of(pfn) & STATE_GIVEN_BACK) ? std::size_t{1} << o : 0;
        }
        if (!wrong && count != zone.free_area[o].count)
            wrong = "length of a free list";
    }
    // Every page belongs to exactly one block: walk the range by the state bytes.
    std::size_t walked_free = 0;
    for (std::size_t pfn = 0; pfn < zone.populated && !wrong;) {
        const std::uint8_t s = state_of(pfn);
        const unsigned o = s & STATE_ORDER;
        if (o >= MAX_ORDER)
            wrong = "state byte out of range";
        if (s & detail::STATE_FREE)
            walked_free += std::size_t{1} << o;
        pfn += std::size_t{1} << o;
    }
    if (!wrong && (free != zone.free || walked_free != zone.free))
        wrong = "free pages do not add up";
    if (!wrong && given_back != zone.given_back)
        wrong = "given back pages do not add up";
    if (wrong && why)
        *why = wrong;
    return wrong == nullptr;
}

void for_each_slab(const kmem_cache* cache, void (*fn)(page* slab, void* arg), void* arg) {
    const spin_guard guard(zone.lock);
    for (std::size_t pfn = 0; pfn < zone.populated;) {
        const std::uint8_t s = state_of(pfn);
        if (!(s & detail::STATE_FREE) && page_at(pfn)->slab_cache == cache)
            fn(page_at(pfn), arg);
        pfn += std::size_t{1} << (s & STATE_ORDER);
    }
}

} // namespace slabfwd
