// SPDX-License-Identifier: BSD-3-Clause
//
// page_alloc.cc - the buddy system.
//
// Door: page_alloc.h.
// Threads: pages.lock guards the free lists, the state bytes and the counters. The state bytes of
// an allocated block are read without it by those who hold an object in the block: they were
// written before the block was handed out and stay until it is given back. Origin: mm/page_alloc.c
// of Linux v5.2 (split and merge); one zone a node, no migrate types, no per-CPU page lists (slabs
// are large and keep free slabs of their own).
//
// Invariants (page_alloc_is_valid): a block in free list `o` starts at a multiple of 2^o pages, its
// state byte is STATE_FREE | o, no two buddies of one order are both in such a list, and the sum over all
// lists of a zone, that of ready blocks too, is its `free` less `faulting`; a block never crosses into
// another node's part.
#include "alloc/page_alloc.h"

#include <algorithm>
#include <atomic>
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
constexpr std::uint8_t STATE_READY = 0x20;      // free, in a zone's list of those
constexpr std::uint8_t STATE_ORDER = 0x1f;
constexpr unsigned READY_ORDER = 9; // 2 MiB
constexpr std::size_t MAX_BLOCK = std::size_t{1} << (MAX_ORDER - 1);
constexpr std::size_t RESERVE_MAX = 256; // pages

// The pages of one node: the part [start, end) of the range, populated from its start.
struct zone {
    page_list free_area[MAX_ORDER];
    // Free blocks of READY_ORDER whose memory is there. Apart: in free_area they would merge with others, and say so
    // of those, too.
    page_list ready;
    std::size_t start = 0;
    std::size_t end = 0;
    std::size_t populated = 0; // first page that is not usable yet
    std::size_t free = 0;      // pages in free_area[] and ready, and on their way there
    std::size_t faulting = 0;  // of these, pages that are being made ready
    std::size_t given_back = 0;
    std::size_t limit = 0; // pages; 0: none of its own
};
constinit zone zones[MAX_NUMNODES];

// All of them together.
struct {
    spinlock_t lock; // guards the zones as well
    page_source* source = nullptr;
    std::size_t npages = 0;     // pages of the range
    std::size_t node_pages = 0; // pages of each node's part
    std::size_t limit = 0;      // pages; 0: npages
    bool started = false;       // range reserved
    bool failed = false;        // nothing could be reserved
    std::size_t ready_goal = 0; // blocks that a zone should have ready; 0: nobody makes any
} constinit pages;

// Whether the thread that makes blocks ready has to do.
enum : std::uint32_t { READY_NONE = 0, READY_WANTED = 1, READY_STOP = 2 };
constinit std::atomic<std::uint32_t> ready_call{READY_NONE};

zone& zone_of(std::size_t pfn) {
    return zones[std::min<std::size_t>(pfn / pages.node_pages, std::size_t(nr_node_ids()) - 1)];
}

std::size_t sum(std::size_t zone::*field) {
    std::size_t n = 0;
    for (int nid = 0; nid < nr_node_ids(); ++nid)
        n += zones[nid].*field;
    return n;
}

std::size_t populated_pages() {
    return sum(&zone::populated) - sum(&zone::start);
}

std::uint8_t& state_of(std::size_t pfn) {
    return detail::mem.state[pfn];
}

void free_area_add(std::size_t pfn, unsigned order, bool given_back) {
    state_of(pfn) =
        static_cast<std::uint8_t>(detail::STATE_FREE | (given_back ? STATE_GIVEN_BACK : 0) | order);
    zone& z = zone_of(pfn);
    z.free_area[order].add(page_at(pfn));
    z.free += std::size_t{1} << order;
    if (given_back)
        z.given_back += std::size_t{1} << order;
}

// Takes a block out of its list; returns whether its memory is with the system.
bool free_area_del(std::size_t pfn, unsigned order) {
    const bool given_back = state_of(pfn) & STATE_GIVEN_BACK;
    state_of(pfn) = 0;
    zone& z = zone_of(pfn);
    z.free_area[order].del(page_at(pfn));
    z.free -= std::size_t{1} << order;
    if (given_back)
        z.given_back -= std::size_t{1} << order;
    return given_back;
}

// Puts a block into the free lists, merged with its free buddies.
void free_one_page(std::size_t pfn, unsigned order, bool given_back) {
    while (order < MAX_ORDER - 1) {
        const std::size_t buddy = pfn ^ (std::size_t{1} << order);
        if (buddy >= zone_of(pfn).populated ||
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

// Each node gets an equal part of the range, in whole blocks of the largest order.
void zones_start() {
    const auto nodes = static_cast<std::size_t>(nr_node_ids());
    pages.node_pages = pages.npages / nodes / MAX_BLOCK * MAX_BLOCK;
    for (std::size_t nid = 0; nid < nodes; ++nid) {
        zones[nid].start = zones[nid].populated = nid * pages.node_pages;
        zones[nid].end = zones[nid].start + pages.node_pages;
    }
}

// Reserves the range and its metadata at first use.
bool range_start() {
    if (pages.started || pages.failed)
        return pages.started;
    if (!pages.source)
        pages.source = anonymous_page_source();
    page_source* src = pages.source;
    const std::size_t block_bytes = MAX_BLOCK * PAGE_SIZE * static_cast<unsigned>(nr_node_ids());
    for (std::size_t bytes = src->reserve_bytes; bytes >= block_bytes; bytes /= 2) {
        bytes = bytes / block_bytes * block_bytes;
        void* base = src->reserve(src, bytes, MAX_BLOCK * PAGE_SIZE);
        if (!base)
            continue;
        pages.npages = bytes >> PAGE_SHIFT;
        void* map = reserve_metadata(pages.npages * (sizeof(page) + 1));
        if (!map)
            break;
        detail::mem.granules = pages.npages >> detail::GRANULE_ORDER;
        detail::mem.map = static_cast<page*>(map);
        detail::mem.state = reinterpret_cast<std::uint8_t*>(detail::mem.map + pages.npages);
        detail::mem.base = static_cast<std::byte*>(base);
        detail::mem.bytes = bytes;
        zones_start();
        return pages.started = true;
    }
    pages.failed = true;
    return false;
}

// Makes more of a node's part usable, enough for a block of `order`. The gap up to the block's
// alignment becomes free memory too.
bool zone_grow(int nid, unsigned order) {
    zone& z = zones[nid];
    const std::size_t step = std::size_t{1} << std::max(order, pages.source->chunk_order);
    const std::size_t end = (z.populated + step - 1) / step * step + step;
    if (end > z.end)
        return false;
    std::byte* from = detail::mem.base + (z.populated << PAGE_SHIFT);
    if (pages.source->populate(pages.source, from, (end - z.populated) << PAGE_SHIFT, nid) != 0)
        return false;
    std::size_t pfn = z.populated;
    z.populated = end;
    while (pfn < end) {
        unsigned o = MAX_ORDER - 1;
        while ((pfn & ((std::size_t{1} << o) - 1)) || pfn + (std::size_t{1} << o) > end)
            --o;
        free_one_page(pfn, o, true);
        pfn += std::size_t{1} << o;
    }
    return true;
}

// May `n` pages more be used under the limit, given who asks?
bool watermark_ok(gfp_t gfp, std::size_t n) {
    const std::size_t limit = pages.limit ? pages.limit : pages.npages;
    std::size_t reserve = pages.limit ? std::min(limit / 64, RESERVE_MAX) : 0;
    if ((gfp & __GFP_MEMALLOC) && !(gfp & __GFP_NOMEMALLOC))
        reserve = 0;
    else if (gfp & __GFP_HIGH)
        reserve /= 2;
    return populated_pages() - sum(&zone::free) + n + reserve <= limit;
}

// The same for the bound that a node has of its own.
bool zone_watermark_ok(const zone& z, std::size_t n) {
    return !z.limit || z.populated - z.start - z.free + n <= z.limit;
}

void ready_add(zone& z, std::size_t pfn) {
    state_of(pfn) = detail::STATE_FREE | STATE_READY | READY_ORDER;
    z.ready.add(page_at(pfn));
    z.free += std::size_t{1} << READY_ORDER;
}

// The first block that is ready, out of its list.
std::size_t ready_take(zone& z) {
    const std::size_t pfn = page_to_pfn(z.ready.first);
    z.ready.del(z.ready.first);
    z.free -= std::size_t{1} << READY_ORDER;
    return pfn;
}

// They become free blocks like others.
void ready_release(zone& z) {
    while (!z.ready.empty())
        free_one_page(ready_take(z), READY_ORDER, false);
}

// A free block of `order` out of the lists; false when there is none.
bool take_block(zone& z, unsigned order, std::size_t* pfn) {
    unsigned o = order;
    while (o < MAX_ORDER && z.free_area[o].empty())
        ++o;
    const bool found = o < MAX_ORDER;
    if (found)
        *pfn = page_to_pfn(z.free_area[o].first);
    if (order <= READY_ORDER && (!found || (state_of(*pfn) & STATE_GIVEN_BACK))) {
        const bool ready = !z.ready.empty();
        if (ready)
            expand(*pfn = ready_take(z), READY_ORDER, order, false);
        if (pages.ready_goal && pages.source->fault_in && z.ready.count * 2 <= pages.ready_goal)
            ready_call.fetch_or(READY_WANTED, std::memory_order_relaxed);
        if (ready)
            return true;
    }
    if (found)
        expand(*pfn, o, order, free_area_del(*pfn, o));
    return found;
}

// A block of one node. REQUIRES pages.lock and a range.
page* rmqueue_node(int nid, unsigned order) {
    zone& z = zones[nid];
    const std::size_t n = std::size_t{1} << order;
    if (!zone_watermark_ok(z, n))
        return nullptr;
    std::size_t pfn = 0;
    while (!take_block(z, order, &pfn)) {
        if (zone_grow(nid, order))
            continue;
        if (z.ready.empty())
            return nullptr;
        ready_release(z); // merged they may do
    }
    std::memset(&state_of(pfn), static_cast<int>(order), n);
    return page_at(pfn);
}

// A block from the free lists (mm/page_alloc.c: rmqueue): of node `*nid`, else (without
// __GFP_THISNODE) of the next node that has one, which *nid then names.
page* rmqueue(int* nid, gfp_t gfp, unsigned order) {
    const spin_guard guard(pages.lock);
    if (!range_start() || !watermark_ok(gfp, std::size_t{1} << order))
        return nullptr;
    const int nodes = (gfp & __GFP_THISNODE) ? 1 : nr_node_ids();
    const int first = *nid;
    for (int i = 0; i < nodes; ++i) {
        *nid = (first + i) % nr_node_ids();
        if (page* p = rmqueue_node(*nid, order))
            return p;
    }
    return nullptr;
}

} // namespace

page* alloc_pages_node(int nid, gfp_t gfp, unsigned order) {
    if (nid == NUMA_NO_NODE)
        nid = numa_mem_id();
    if (order >= MAX_ORDER || (gfp & __GFP_NOFAIL) || nid < 0 || nid >= nr_node_ids() ||
        should_fail_alloc_page(gfp, order))
        return nullptr;
    const int wanted = nid;
    page* p = rmqueue(&nid, gfp, order);
    if (ready_call.load(std::memory_order_relaxed) == READY_WANTED)
        ready_call.notify_one(); // a system call only while the thread sleeps
    if (!p && (gfp & __GFP_DIRECT_RECLAIM) && !(gfp & __GFP_NORETRY) && try_to_free_pages(order))
        p = rmqueue(&(nid = wanted), gfp, order);
    if (!p)
        return nullptr;
    *p = page{};
    p->nid = static_cast<std::uint8_t>(nid);
    if (gfp & __GFP_ZERO)
        std::memset(page_address(p), 0, PAGE_SIZE << order);
    return p;
}

page* alloc_pages(gfp_t gfp, unsigned order) {
    return alloc_pages_node(NUMA_NO_NODE, gfp, order);
}

void __free_pages(page* p, unsigned order) {
    const std::size_t pfn = page_to_pfn(p);
    const spin_guard guard(pages.lock);
    if (pfn >= zone_of(pfn).populated || state_of(pfn) != order) {
        report("BUG: __free_pages of %p, order %u: not an allocated block of that order",
               page_address(p), order);
        return;
    }
    free_one_page(pfn, order, false);
}

std::size_t page_alloc_trim(std::size_t keep_bytes) {
    const std::size_t keep = keep_bytes >> PAGE_SHIFT;
    std::size_t trimmed = 0;
    const spin_guard guard(pages.lock);
    if (keep < sum(&zone::free) - sum(&zone::given_back))
        for (int nid = 0; nid < nr_node_ids(); ++nid)
            ready_release(zones[nid]);
    std::size_t kept = sum(&zone::free) - sum(&zone::given_back);
    for (unsigned o = MAX_ORDER; o-- > detail::GRANULE_ORDER;) {
        for (int nid = 0; nid < nr_node_ids(); ++nid) {
            for (page* p = zones[nid].free_area[o].first; p && kept > keep; p = p->next) {
                const std::size_t pfn = page_to_pfn(p);
                if (state_of(pfn) & STATE_GIVEN_BACK)
                    continue;
                trimmed +=
                    pages.source->give_back(pages.source, page_address(p), PAGE_SIZE << o, nid);
                state_of(pfn) |= STATE_GIVEN_BACK;
                zones[nid].given_back += std::size_t{1} << o;
                kept -= std::size_t{1} << o;
            }
        }
    }
    return trimmed;
}

std::size_t page_give_back(void* addr, std::size_t bytes) {
    const int nid = static_cast<int>(&zone_of(virt_to_pfn(addr)) - zones);
    return pages.source->give_back(pages.source, addr, bytes, nid);
}

bool page_alloc_started() {
    const spin_guard guard(pages.lock);
    return pages.started;
}

namespace {

// A free block of READY_ORDER whose memory is with the system, for whoever has it faulted in; false when there is
// no use in that, or none.
bool take_for_ready(int nid, std::size_t* pfn) {
    zone& z = zones[nid];
    const std::size_t n = std::size_t{1} << READY_ORDER;
    const std::size_t there = n + (z.ready.count << READY_ORDER); // with this one
    if (!watermark_ok(GFP_KERNEL, there) || !zone_watermark_ok(z, there))
        return false;
    for (int pass = 0; pass < 2; ++pass) {
        for (unsigned o = READY_ORDER; o < MAX_ORDER; ++o)
            for (page* p = z.free_area[o].first; p; p = p->next) {
                *pfn = page_to_pfn(p);
                if (!(state_of(*pfn) & STATE_GIVEN_BACK))
                    continue;
                expand(*pfn, o, READY_ORDER, free_area_del(*pfn, o));
                std::memset(&state_of(*pfn), READY_ORDER, n);
                z.free += n;
                z.faulting += n;
                return true;
            }
        if (pass == 0 && !zone_grow(nid, READY_ORDER))
            return false;
    }
    return false;
}

// One block more; false: as many as there should be, or no more to be had.
bool make_one_ready(int nid) {
    std::size_t pfn = 0;
    {
        const spin_guard guard(pages.lock);
        if (zones[nid].ready.count >= pages.ready_goal || !take_for_ready(nid, &pfn))
            return false;
    }
    void* addr = detail::mem.base + (pfn << PAGE_SHIFT);
    const bool there = pages.source->fault_in(pages.source, addr, PAGE_SIZE << READY_ORDER) == 0;
    const spin_guard guard(pages.lock);
    zones[nid].free -= std::size_t{1} << READY_ORDER;
    zones[nid].faulting -= std::size_t{1} << READY_ORDER;
    if (there && pages.ready_goal)
        ready_add(zones[nid], pfn);
    else
        free_one_page(pfn, READY_ORDER, !there);
    return there;
}

} // namespace

void pages_ready_start() {
    const spin_guard guard(pages.lock);
    pages.ready_goal = 1;
    ready_call = READY_NONE;
}

void pages_ready_stop() {
    {
        const spin_guard guard(pages.lock);
        pages.ready_goal = 0;
        for (int nid = 0; nid < nr_node_ids(); ++nid)
            ready_release(zones[nid]);
    }
    ready_call.fetch_or(READY_STOP);
    ready_call.notify_one();
}

bool pages_ready_wait() {
    ready_call.wait(READY_NONE);
    return !(ready_call.fetch_and(std::uint32_t(~READY_WANTED)) & READY_STOP);
}

void pages_make_ready(std::size_t blocks) {
    {
        const spin_guard guard(pages.lock);
        if (pages.ready_goal)
            pages.ready_goal = blocks;
    }
    for (int nid = 0; nid < nr_node_ids(); ++nid)
        while (make_one_ready(nid))
            ;
}

int set_page_source(page_source* source) {
    const spin_guard guard(pages.lock);
    if (pages.started)
        return -EBUSY;
    pages.source = source;
    pages.failed = false;
    return 0;
}

void page_alloc_set_limit(std::size_t bytes, int nid) {
    const spin_guard guard(pages.lock);
    if (nid == NUMA_NO_NODE)
        pages.limit = bytes >> PAGE_SHIFT;
    else if (nid >= 0 && nid < MAX_NUMNODES)
        zones[nid].limit = bytes >> PAGE_SHIFT;
}

page_alloc_stats page_alloc_get_stats(int nid) {
    const spin_guard guard(pages.lock);
    page_alloc_stats s{};
    s.source = pages.source ? pages.source->name : "none";
    for (int n = 0; n < nr_node_ids(); ++n) {
        if (nid != NUMA_NO_NODE && n != nid)
            continue;
        const zone& z = zones[n];
        s.reserved += z.end - z.start;
        s.populated += z.populated - z.start;
        s.free += z.free;
        s.given_back += z.given_back;
        s.ready += z.ready.count << READY_ORDER;
        for (unsigned o = 0; o < MAX_ORDER; ++o)
            s.free_blocks[o] += z.free_area[o].count;
    }
    const std::size_t own = nid == NUMA_NO_NODE ? 0 : zones[nid].limit;
    s.limit = own ? own : pages.limit ? pages.limit : s.reserved;
    return s;
}

std::string buddyinfo() {
    std::string text;
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        const page_alloc_stats s = page_alloc_get_stats(nid);
        char field[48];
        std::snprintf(field, sizeof field, "Node %d, zone   Normal ", nid);
        text += field;
        for (const std::size_t n : s.free_blocks) {
            std::snprintf(field, sizeof field, "%6zu ", n);
            text += field;
        }
        text += "\n";
    }
    return text;
}

namespace {

// What is wrong with a block of free list `o` of a zone; NULL when nothing is.
const char* check_free_block(const zone& z, std::size_t pfn, unsigned o) {
    const std::size_t buddy = pfn ^ (std::size_t{1} << o);
    if (pfn < z.start || pfn >= z.populated)
        return "block of another node";
    if (pfn & ((std::size_t{1} << o) - 1))
        return "block not aligned to its order";
    if ((state_of(pfn) & ~STATE_GIVEN_BACK) != (detail::STATE_FREE | o))
        return "state byte does not name the list";
    if (o < MAX_ORDER - 1 && buddy < z.populated &&
        (state_of(buddy) & ~STATE_GIVEN_BACK) == (detail::STATE_FREE | o))
        return "two free buddies not merged";
    return nullptr;
}

// The free pages of a zone by its state bytes: every page belongs to exactly one block.
std::size_t walk_zone(const zone& z, const char** wrong) {
    std::size_t free = 0;
    for (std::size_t pfn = z.start; pfn < z.populated && !*wrong;) {
        const std::uint8_t s = state_of(pfn);
        const unsigned o = s & STATE_ORDER;
        if (o >= MAX_ORDER)
            *wrong = "state byte out of range";
        if (s & detail::STATE_FREE)
            free += std::size_t{1} << o;
        pfn += std::size_t{1} << o;
    }
    return free;
}

const char* check_zone(const zone& z) {
    const char* wrong = nullptr;
    std::size_t free = 0;
    std::size_t given_back = 0;
    for (unsigned o = 0; o < MAX_ORDER && !wrong; ++o) {
        std::size_t count = 0;
        for (const page* p = z.free_area[o].first; p && !wrong; p = p->next, ++count) {
            const std::size_t pfn = page_to_pfn(p);
            wrong = check_free_block(z, pfn, o);
            free += std::size_t{1} << o;
            given_back += (state_of(pfn) & STATE_GIVEN_BACK) ? std::size_t{1} << o : 0;
        }
        if (!wrong && count != z.free_area[o].count)
            wrong = "length of a free list";
    }
    for (const page* p = z.ready.first; p && !wrong; p = p->next) {
        if (state_of(page_to_pfn(p)) != (detail::STATE_FREE | STATE_READY | READY_ORDER))
            wrong = "a ready block's state byte does not say so";
        free += std::size_t{1} << READY_ORDER;
    }
    const std::size_t walked_free = wrong ? 0 : walk_zone(z, &wrong);
    if (!wrong && (free + z.faulting != z.free || walked_free + z.faulting != z.free))
        wrong = "free pages do not add up";
    if (!wrong && given_back != z.given_back)
        wrong = "given back pages do not add up";
    return wrong;
}

} // namespace

bool page_alloc_is_valid(std::string* why) {
    const spin_guard guard(pages.lock);
    const char* wrong = nullptr;
    for (int nid = 0; nid < nr_node_ids() && !wrong; ++nid)
        wrong = check_zone(zones[nid]);
    if (wrong && why)
        *why = wrong;
    return wrong == nullptr;
}

void for_each_slab(const kmem_cache* cache, void (*fn)(page* slab, void* arg), void* arg) {
    const spin_guard guard(pages.lock);
    for (int nid = 0; nid < nr_node_ids(); ++nid) {
        for (std::size_t pfn = zones[nid].start; pfn < zones[nid].populated;) {
            const std::uint8_t s = state_of(pfn);
            if (!(s & detail::STATE_FREE) && page_at(pfn)->slab_cache == cache)
                fn(page_at(pfn), arg);
            pfn += std::size_t{1} << (s & STATE_ORDER);
        }
    }
}

} // namespace slabfwd
