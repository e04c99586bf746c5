// SPDX-License-Identifier: BSD-3-Clause
//
// slab_check.cc - every object that goes out or comes back is looked at (HOOK_DEBUG).
//
// Doors: alloc_debug_processing(), free_debug_processing(), setup_slab_debug(),
// validate_slab_cache().
// A free object holds POISON_FREE up to POISON_END and SLUB_RED_INACTIVE around it, one that is out
// has SLUB_RED_ACTIVE around it; what lies between and behind is POISON_INUSE. A second free, a
// foreign and an interior address are told by the live map (slab_live.h).
// Threads: the thread that has the object; reports of two threads may mix line by line.
// Origin: mm/slub.c of Linux v5.2 under its function names, include/linux/poison.h. Differences:
// damage is mended and the object stays in use; a bad free is refused.
#include <algorithm>
#include <cstdio>
#include <vector>

#include "alloc/slab.h"
#include "alloc/slab_debug.h"
#include "alloc/slab_live.h"
#include "alloc/slab_track.h"

// The parts of a slot are read and written whatever AddressSanitizer thinks of them; a loop,
// because memset() and memcmp() are instrumented as such.
#define SLAB_UNCHECKED [[gnu::no_sanitize_address]]

namespace slabfwd {

namespace {

using byte_t = unsigned char;

constexpr byte_t POISON_INUSE = 0x5a;
constexpr byte_t POISON_FREE = 0x6b;
constexpr byte_t POISON_END = 0xa5;
constexpr byte_t SLUB_RED_INACTIVE = 0xbb;
constexpr byte_t SLUB_RED_ACTIVE = 0xcc;

byte_t* bytes_of(void* object) {
    return static_cast<byte_t*>(object);
}

SLAB_UNCHECKED void fill(byte_t* at, byte_t value, std::size_t n) {
    for (volatile byte_t* p = at; n; --n)
        *p++ = value;
}

SLAB_UNCHECKED const byte_t* memchr_inv(const byte_t* at, byte_t value, std::size_t n) {
    for (; n; --n, ++at)
        if (*static_cast<const volatile byte_t*>(at) != value)
            return at;
    return nullptr;
}

// Where the padding behind the last part of a slot starts.
unsigned padding_offset(const kmem_cache* cache) {
    if (cache->track_offset)
        return cache->track_offset + 2 * static_cast<unsigned>(sizeof(track));
    return cache->offset ? cache->offset + static_cast<unsigned>(BYTES_PER_WORD) : cache->inuse;
}

[[maybe_unused]] void* slot_of(const kmem_cache* cache, void* object) {
    return bytes_of(object) - cache->red_left_pad;
}

// AddressSanitizer: the whole slot may be touched / all but an object that is out may not.
void unpoison_slot([[maybe_unused]] const kmem_cache* cache, [[maybe_unused]] void* object) {
#if defined(SLABFWD_ASAN)
    __asan_unpoison_memory_region(slot_of(cache, object), cache->size);
#endif
}
void poison_slot([[maybe_unused]] const kmem_cache* cache, [[maybe_unused]] void* object,
                 [[maybe_unused]] bool out) {
#if defined(SLABFWD_ASAN)
    if (out || (cache->flags & SLAB_TYPESAFE_BY_RCU)) {
        __asan_poison_memory_region(slot_of(cache, object), cache->red_left_pad);
        __asan_poison_memory_region(bytes_of(object) + (cache->object_size + 7) / 8 * 8,
                                    cache->size - cache->red_left_pad -
                                        (cache->object_size + 7) / 8 * 8);
    } else {
        __asan_poison_memory_region(slot_of(cache, object), cache->size);
    }
#endif
}

// ---- reports

void slab_bug(kmem_cache* cache, const void* object, const char* what) {
    cache->bugs.fetch_add(1, std::memory_order_relaxed);
    report("BUG %s: object %p: %s", cache->name, object, what);
}

SLAB_UNCHECKED void print_section(const char* what, const byte_t* at, std::size_t n) {
    for (std::size_t i = 0; i < n; i += 16) {
        char hex[16 * 3 + 1] = "";
        for (std::size_t j = 0; j < 16 && i + j < n; ++j)
            std::snprintf(hex + 3 * j, 4, " %02x", unsigned{at[i + j]});
        report("  %-8s %p:%s", what, static_cast<const void*>(at + i), hex);
    }
}

// Who had the object, where it lies, and its bytes.
void print_trailer(kmem_cache* cache, void* object, const void* caller) {
    constexpr std::size_t SHOWN = 64;
    print_tracking(cache, object);
    if (caller)
        print_here("Found", caller);
    const page* slab = virt_to_slab(cache, object);
    report("  Slab %p objects=%u object=%p @offset=%td", page_address(slab), cache->num, object,
           bytes_of(object) - static_cast<byte_t*>(page_address(slab)));
    if (cache->red_left_pad)
        print_section("Redzone", bytes_of(object) - BYTES_PER_WORD, BYTES_PER_WORD);
    print_section("Object", bytes_of(object), std::min<std::size_t>(cache->object_size, SHOWN));
    if (cache->inuse > cache->object_size)
        print_section("Redzone", bytes_of(object) + cache->object_size,
                      cache->inuse - cache->object_size);
}

// ---- contents

// One part of an object must hold one value; else it is reported and mended.
SLAB_UNCHECKED bool check_bytes_and_report(kmem_cache* cache, void* object, const char* what,
                                           byte_t* start, byte_t value, std::size_t n,
                                           const void* caller) {
    const byte_t* fault = memchr_inv(start, value, n);
    if (!fault)
        return true;
    const byte_t* end = start + n;
    while (end > fault && end[-1] == value)
        --end;
    slab_bug(cache, object, what);
    report("  %p-%p: first byte %#04x instead of %#04x, %td bytes from the object's start",
           static_cast<const void*>(fault), static_cast<const void*>(end - 1), unsigned{*fault},
           unsigned{value}, fault - bytes_of(object));
    print_trailer(cache, object, caller);
    report("FIX %s: restoring %p-%p=%#04x", cache->name, static_cast<const void*>(fault),
           static_cast<const void*>(end - 1), unsigned{value});
    fill(start, value, n);
    return false;
}

// Red zones `value`, contents of a free object, padding. Returns the number of faults.
SLAB_UNCHECKED unsigned check_object(kmem_cache* cache, void* object, byte_t value,
                                     const void* caller) {
    byte_t* p = bytes_of(object);
    unsigned faults = 0;
    const auto check = [&](const char* what, byte_t* start, byte_t v, std::size_t n) {
        faults += !check_bytes_and_report(cache, object, what, start, v, n, caller);
    };
    const std::size_t after = cache->inuse - cache->object_size;
    if (cache->flags & SLAB_RED_ZONE) {
        check("Left Redzone overwritten", p - cache->red_left_pad, value, cache->red_left_pad);
        check("Right Redzone overwritten", p + cache->object_size, value, after);
    } else if (cache->flags & SLAB_POISON) {
        check("Alignment padding overwritten", p + cache->object_size, POISON_INUSE, after);
    }
    if (!(cache->flags & SLAB_POISON))
        return faults;
    if (value == SLUB_RED_INACTIVE && object_poisoned(cache, cache->flags)) {
        check("Poison overwritten (write after free)", p, POISON_FREE, cache->object_size - 1u);
        check("End Poison overwritten (write after free)", p + cache->object_size - 1, POISON_END,
              1);
    }
    const unsigned pad = padding_offset(cache);
    check("Object padding overwritten", p + pad, POISON_INUSE,
          cache->size - cache->red_left_pad - pad);
    return faults;
}

void init_object(const kmem_cache* cache, void* object, byte_t value) {
    byte_t* p = bytes_of(object);
    if (object_poisoned(cache, cache->flags)) {
        fill(p, POISON_FREE, cache->object_size - 1u);
        fill(p + cache->object_size - 1, POISON_END, 1);
    }
    if (cache->flags & SLAB_RED_ZONE) {
        fill(p - cache->red_left_pad, value, cache->red_left_pad);
        fill(p + cache->object_size, value, cache->inuse - cache->object_size);
    }
}

void setup_object_debug(const kmem_cache* cache, void* object) {
    byte_t* p = bytes_of(object);
    if (cache->flags & SLAB_POISON) // every part that is not something else
        fill(p + cache->object_size, POISON_INUSE,
             cache->size - cache->red_left_pad - cache->object_size);
    init_object(cache, object, SLUB_RED_INACTIVE);
    init_tracking(cache, object);
}

void trace(const kmem_cache* cache, const void* object, const char* what, const void* caller) {
    if (!(cache->hooks.load(std::memory_order_relaxed) & HOOK_TRACE))
        return;
    report("TRACE %s %s %p", cache->name, what, object);
    print_here("by", caller);
}

// ---- what a refused address is

// The slab of an address if it is one of the cache's; else NULL.
page* slab_of_cache(const kmem_cache* cache, void* address) {
    if (!virt_addr_valid(address))
        return nullptr;
    page* slab = virt_to_slab(cache, address);
    return slab->slab_cache == cache ? slab : nullptr;
}

// Object of a slab that an address lies in; NULL: before the first or behind the last.
void* object_around(const kmem_cache* cache, const page* slab, void* address) {
    byte_t* first = static_cast<byte_t*>(slab->s_mem) - cache->red_left_pad;
    if (bytes_of(address) < first)
        return nullptr;
    const auto index = static_cast<std::size_t>(bytes_of(address) - first) / cache->size;
    return index < objs_per_slab(cache, slab) ? index_to_obj(cache, slab, index) : nullptr;
}

void report_foreign(kmem_cache* cache, void* address, const void* caller) {
    kmem_cache* owner = virt_to_cache(address);
    cache->bugs.fetch_add(1, std::memory_order_relaxed);
    report("BUG %s: free of %p, which is an object of %s", cache->name, address,
           owner ? owner->name : "no cache");
    if (page* slab = owner ? slab_of_cache(owner, address) : nullptr)
        if (void* object = object_around(owner, slab, address))
            print_tracking(owner, object);
    print_here("Found", caller);
}

// Reports an address that no caller has from the cache.
void report_bad_free(kmem_cache* cache, void* address, const void* caller) {
    page* slab = slab_of_cache(cache, address);
    if (!slab)
        return report_foreign(cache, address, caller);
    void* object = object_around(cache, slab, address);
    cache->bugs.fetch_add(1, std::memory_order_relaxed);
    if (object == address)
        report("BUG %s: %p is freed a second time: object is free already", cache->name, address);
    else if (object)
        report("BUG %s: free of %p, which lies inside an object: %p%+td", cache->name, address,
               object, bytes_of(address) - bytes_of(object));
    else
        report("BUG %s: free of %p, which lies beside the objects of its slab", cache->name,
               address);
    if (object)
        print_trailer(cache, object, caller);
    else
        print_here("Found", caller);
}

// The live map has no such object out: is it to be freed all the same? Else it is reported.
bool live_dispute(kmem_cache* cache, void* object, std::uint32_t tag, const void* caller) {
    const page* slab = slab_of_cache(cache, object);
    if (slab && object_around(cache, slab, object) == object) {
        std::atomic<std::uint16_t>& entry = detail::live_at(&cache->live, object);
        const auto free_mark = static_cast<std::uint16_t>(tag + 1);
        std::uint16_t found = entry.load(std::memory_order_relaxed);
        if (found != free_mark && entry.compare_exchange_strong(found, free_mark))
            return true; // it was given out before the checks were turned on
    }
    report_bad_free(cache, object, caller);
    return false;
}

} // namespace

void setup_slab_debug(kmem_cache* cache, page* slab) {
    if (has_live_map(cache))
        live_map_new_slab(cache, slab);
    if (!(cache->flags & DEBUG_METADATA_FLAGS))
        return;
    for (std::size_t i = 0; i < objs_per_slab(cache, slab); ++i)
        setup_object_debug(cache, index_to_obj(cache, slab, i));
}

bool alloc_debug_processing(kmem_cache* cache, void* object, const void* caller) {
    const std::uint32_t tag = live_tag(cache);
    // A thread that had not noticed yet that the map is kept may have freed it without a mark.
    if (tag && !live_take(&cache->live, object, tag) &&
        !cache->live.late.load(std::memory_order_relaxed)) {
        slab_bug(cache, object, "is to be given out while a caller has it (freed twice)");
        print_trailer(cache, object, caller);
        return false;
    }
    if (cache->flags & DEBUG_METADATA_FLAGS) {
        unpoison_slot(cache, object);
        check_object(cache, object, SLUB_RED_INACTIVE, caller);
        set_track(cache, object, TRACK_ALLOC, caller);
        init_object(cache, object, SLUB_RED_ACTIVE);
        poison_slot(cache, object, true);
    }
    trace(cache, object, "alloc", caller);
    return true;
}

bool free_debug_processing(kmem_cache* cache, void* object, const void* caller) {
    if (const std::uint32_t tag = live_tag(cache)) {
        if (!live_drop(&cache->live, object, tag) && !live_dispute(cache, object, tag, caller))
            return false;
    } else if (const page* slab = slab_of_cache(cache, object);
               !slab || object_around(cache, slab, object) != object) {
        report_bad_free(cache, object, caller);
        return false;
    }
    if (cache->flags & DEBUG_METADATA_FLAGS) {
        unpoison_slot(cache, object);
        check_object(cache, object, SLUB_RED_ACTIVE, caller);
        set_track(cache, object, TRACK_FREE, caller);
        init_object(cache, object, SLUB_RED_INACTIVE);
        poison_slot(cache, object, false);
    }
    trace(cache, object, "free", caller);
    return true;
}

void report_live_object(const kmem_cache* cache, const void* object) {
    report("  object %p of %s", object, cache->name);
    print_tracking(cache, object);
}

// ---- looking at a whole cache

namespace {

struct validation {
    kmem_cache* cache;
    std::vector<page*> slabs;
};

SLAB_UNCHECKED long validate_slab(kmem_cache* cache, page* slab) {
    long faults = 0;
    for (std::size_t i = 0; i < objs_per_slab(cache, slab); ++i) {
        void* object = index_to_obj(cache, slab, i);
        const bool out = live_is_out(cache, object);
        if (out && object_is_free(cache, slab, i)) {
            slab_bug(cache, object, "is on its slab's freelist while a caller has it");
            ++faults;
        }
        unpoison_slot(cache, object);
        faults += check_object(cache, object, out ? SLUB_RED_ACTIVE : SLUB_RED_INACTIVE, nullptr);
        poison_slot(cache, object, out);
    }
    return faults;
}

} // namespace

long validate_slab_cache(kmem_cache* cache) {
    const spin_guard guard(slab_mutex);
    if (!has_live_map(cache))
        return 0;
    validation v{cache, {}};
    for_each_slab(
        cache, [](page* slab, void* arg) { static_cast<validation*>(arg)->slabs.push_back(slab); },
        &v);
    long faults = 0;
    for (page* slab : v.slabs)
        faults += validate_slab(cache, slab);
    return faults;
}

} // namespace slabfwd
