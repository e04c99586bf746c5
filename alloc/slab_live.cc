// SPDX-License-Identifier: BSD-3-Clause
//
// slab_live.cc - maps and marks of the live map.
//
// Door: slab_live.h.
// Threads: maps are made and marks given out under a lock of their own; a map stays for the life of
// the process. Its memory is touched where caches that use it have slabs, and nowhere else.
// Origin: ours.
#include "alloc/slab_live.h"

#include <bit>
#include <bitset>
#include <cerrno>
#include <sys/mman.h>

namespace slabfwd {

namespace {

using live_entry = std::atomic<std::uint16_t>;

constexpr unsigned MARKS = (1u << 16) / 8; // 8n + 1; for all caches with a map

constinit spinlock_t live_lock;
constinit live_entry* maps[LIVE_SHIFT_MAX + 1] = {}; // by shift
constinit std::bitset<MARKS> marks_used;
constinit unsigned last_mark = 0;

unsigned shift_of(unsigned size) {
    const unsigned shift = static_cast<unsigned>(std::bit_width(size)) - 1;
    return shift < LIVE_SHIFT_MAX ? shift : LIVE_SHIFT_MAX;
}

// A mark that no cache has, and that none had for as long as can be; 0: none.
std::uint16_t take_mark() {
    for (unsigned i = 1; i <= MARKS; ++i) {
        const unsigned n = (last_mark + i) % MARKS;
        if (!marks_used[n]) {
            marks_used[n] = true;
            last_mark = n;
            return static_cast<std::uint16_t>(8 * n + 1);
        }
    }
    return 0;
}

void give_mark_back(kmem_cache* cache) {
    if (has_live_map(cache))
        marks_used[cache->live.tag / 8] = false;
}

// Entries are read at random: hugepages, where the system has some, spare most of the misses.
live_entry* make_map(std::size_t bytes) {
    constexpr std::size_t HUGE = std::size_t{2} << 20;
    void* p = reserve_metadata(bytes + HUGE);
    if (!p)
        return nullptr;
    p = static_cast<std::byte*>(p) + (HUGE - reinterpret_cast<std::uintptr_t>(p) % HUGE) % HUGE;
    madvise(p, bytes, MADV_HUGEPAGE);
    return static_cast<live_entry*>(p);
}

} // namespace

int live_map_open(kmem_cache* cache) {
    const unsigned shift = shift_of(cache->size);
    const spin_guard guard(live_lock);
    if (!maps[shift])
        maps[shift] = make_map((detail::mem.bytes >> shift) * sizeof(live_entry));
    if (!maps[shift])
        return -ENOMEM;
    const std::uint16_t mark = take_mark();
    if (!mark)
        return -ENOSPC;
    give_mark_back(cache);
    cache->live.tag = mark;
    if (!has_live_map(cache)) {
        cache->live.base = detail::mem.base;
        cache->live.bytes = detail::mem.bytes;
        cache->live.shift = static_cast<std::uint8_t>(shift);
        cache->live.entry.store(maps[shift], std::memory_order_release);
    }
    return 0;
}

void live_map_close(kmem_cache* cache) {
    const spin_guard guard(live_lock);
    give_mark_back(cache);
    cache->live.entry.store(nullptr, std::memory_order_relaxed);
}

void live_map_new_slab(const kmem_cache* cache, const page* slab) {
    const std::uint32_t tag = live_tag(cache);
    for (std::size_t i = 0; tag && i < objs_per_slab(cache, slab); ++i)
        detail::live_at(&cache->live, index_to_obj(cache, slab, i))
            .store(static_cast<std::uint16_t>(tag + 1), std::memory_order_relaxed);
}

} // namespace slabfwd
