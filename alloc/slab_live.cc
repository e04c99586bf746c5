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

unsigned shift_of(unsigned size) {
    const unsigned shift = static_cast<unsigned>(std::bit_width(size)) - 1;
    return shift < LIVE_SHIFT_MAX ? shift : LIVE_SHIFT_MAX;
}

// A mark that no cache has; 0: none.
std::uint16_t take_mark() {
    for (unsigned n = 0; n < MARKS; ++n) {
        if (!marks_used[n]) {
            marks_used[n] = true;
            return static_cast<std::uint16_t>(8 * n + 1);
        }
    }
    return 0;
}

void fill(const kmem_cache* cache, const page* slab, std::uint16_t value) {
    for (std::size_t i = 0; i < cache->num; ++i)
        detail::live_at(&cache->live, index_to_obj(cache, slab, i))
            .store(value, std::memory_order_relaxed);
}

} // namespace

int live_map_open(kmem_cache* cache) {
    const unsigned shift = shift_of(cache->size);
    live_map map{};
    {
        const spin_guard guard(live_lock);
        if (!maps[shift]) {
            const std::size_t bytes = (detail::mem.bytes >> shift) * sizeof(live_entry);
            maps[shift] = static_cast<live_entry*>(reserve_metadata(bytes));
            madvise(maps[shift], bytes, MADV_HUGEPAGE); // entries are read at random
        }
        if (!maps[shift])
            return -ENOMEM;
        if (!(map.tag = take_mark()))
            return -ENOSPC;
        map.entry = maps[shift];
    }
    map.base = detail::mem.base;
    map.bytes = detail::mem.bytes;
    map.shift = static_cast<std::uint8_t>(shift);
    cache->live = map;
    live_map_forget(cache);
    return 0;
}

void live_map_forget(kmem_cache* cache) {
    for_each_slab(
        cache,
        [](page* slab, void* arg) { fill(static_cast<kmem_cache*>(arg), slab, LIVE_UNKNOWN); },
        cache);
}

void live_map_close(kmem_cache* cache) {
    if (!cache->live.entry)
        return;
    const spin_guard guard(live_lock);
    marks_used[cache->live.tag / 8] = false;
    cache->live = {};
}

void live_map_new_slab(const kmem_cache* cache, const page* slab) {
    fill(cache, slab, 0);
}

} // namespace slabfwd
