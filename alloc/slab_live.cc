// SPDX-License-Identifier: BSD-3-Clause
//
// slab_live.cc - maps and marks of the live map.
//
// Door: slab_live.h.
// Threads: maps are made and marks given out under a lock of their own; a map stays for the life of
// the process. Its memory is touched where caches that use it have slabs, and nowhere else.
// Origin: ours.
#include "alloc/slab_live.h"

#include <bitset>
#include <cerrno>

namespace slabfwd {

namespace {

// A mark has 16 - (shift - 3) bits; all ones is left to LIVE_UNKNOWN.
constexpr unsigned mark_bits(unsigned shift) {
    return 16 - (shift - LIVE_SHIFT_MIN);
}
constexpr unsigned MARKS_MAX = 4096; // caches with a map, of one shift

struct live_table {
    live_entry* map = nullptr;
    std::bitset<MARKS_MAX> used; // by mark, from 1
};

constinit spinlock_t live_lock;
constinit live_table tables[LIVE_SHIFT_MAX + 1] = {};

unsigned shift_of(unsigned size) {
    const unsigned shift = static_cast<unsigned>(std::bit_width(size)) - 1;
    return shift < LIVE_SHIFT_MAX ? shift : LIVE_SHIFT_MAX;
}

// A free mark of the table; 0: none.
unsigned take_mark(live_table& table, unsigned shift) {
    const unsigned all = (1u << mark_bits(shift)) - 1;
    for (unsigned mark = 1; mark < all && mark < MARKS_MAX; ++mark) {
        if (!table.used[mark]) {
            table.used[mark] = true;
            return mark;
        }
    }
    return 0;
}

void fill(const kmem_cache* cache, const page* slab, std::uint16_t value) {
    for (std::size_t i = 0; i < cache->num; ++i)
        live_at(cache, live_offset(index_to_obj(cache, slab, i)))
            .store(value, std::memory_order_relaxed);
}

} // namespace

int live_map_open(kmem_cache* cache) {
    const unsigned shift = shift_of(cache->size);
    live_table& table = tables[shift];
    {
        const spin_guard guard(live_lock);
        if (!table.map)
            table.map = static_cast<live_entry*>(
                reserve_metadata((detail::mem.bytes >> shift) * sizeof(live_entry)));
        if (!table.map)
            return -ENOMEM;
        const unsigned mark = take_mark(table, shift);
        if (!mark)
            return -ENOSPC;
        cache->live_tag = static_cast<std::uint16_t>(mark << (shift - LIVE_SHIFT_MIN));
    }
    cache->live_shift = static_cast<std::uint8_t>(shift);
    cache->live_mask = (std::uint64_t{1} << shift) - 1;
    cache->live_map = table.map;
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
    if (!cache->live_map)
        return;
    const spin_guard guard(live_lock);
    tables[cache->live_shift].used[cache->live_tag >> (cache->live_shift - LIVE_SHIFT_MIN)] = false;
    cache->live_map = nullptr;
}

void live_map_new_slab(const kmem_cache* cache, const page* slab) {
    fill(cache, slab, 0);
}

} // namespace slabfwd
