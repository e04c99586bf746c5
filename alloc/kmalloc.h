// SPDX-License-Identifier: BSD-3-Clause
//
// kmalloc.h - memory of any size from caches of fixed sizes.
//
// Doors: kmalloc(), kzalloc(), krealloc(), kfree(), ksize().
// Sizes up to KMALLOC_MAX_CACHE_SIZE come from the caches kmalloc-32 .. kmalloc-8k (and the two
// odd ones of 96 and 192), larger ones from the page allocator. kfree() finds the cache from the
// address alone.
// Threads: any thread, also for freeing what another allocated.
// Origin: include/linux/slab.h and mm/slab_common.c of Linux v5.2/v5.3. Difference: the largest
// cache is SLUB's (two pages) for both back ends.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>

#include "gfp.h"
#include "kmem_cache.h"

namespace slabfwd {

inline constexpr unsigned KMALLOC_SHIFT_LOW = 5;
inline constexpr unsigned KMALLOC_SHIFT_HIGH = PAGE_SHIFT + 1;
inline constexpr unsigned KMALLOC_SHIFT_MAX = MAX_ORDER + PAGE_SHIFT - 1;
inline constexpr std::size_t KMALLOC_MIN_SIZE = std::size_t{1} << KMALLOC_SHIFT_LOW;
/// Largest size that has a cache.
inline constexpr std::size_t KMALLOC_MAX_CACHE_SIZE = std::size_t{1} << KMALLOC_SHIFT_HIGH;
/// Largest size that kmalloc() gives.
inline constexpr std::size_t KMALLOC_MAX_SIZE = std::size_t{1} << KMALLOC_SHIFT_MAX;

/// kmalloc(0): may be freed, must not be read or written.
inline void* const ZERO_SIZE_PTR = reinterpret_cast<void*>(16);
/// NULL or ZERO_SIZE_PTR?
inline bool ZERO_OR_NULL_PTR(const void* p) {
    return reinterpret_cast<std::uintptr_t>(p) <= 16;
}

enum kmalloc_cache_type { KMALLOC_NORMAL, KMALLOC_RECLAIM, KMALLOC_CGROUP, NR_KMALLOC_TYPES };

/// Which set of caches serves these flags.
constexpr kmalloc_cache_type kmalloc_type(gfp_t flags) {
    return (flags & __GFP_ACCOUNT)       ? KMALLOC_CGROUP
           : (flags & __GFP_RECLAIMABLE) ? KMALLOC_RECLAIM
                                         : KMALLOC_NORMAL;
}

/// Number of the cache for `size` (1: 96 bytes, 2: 192 bytes, n: 2^n bytes); 0 for size 0.
/// REQUIRES size <= KMALLOC_MAX_CACHE_SIZE.
constexpr unsigned kmalloc_index(std::size_t size) {
    if (size == 0)
        return 0;
    if (size <= KMALLOC_MIN_SIZE)
        return KMALLOC_SHIFT_LOW;
    if (size > 64 && size <= 96)
        return 1;
    if (size > 128 && size <= 192)
        return 2;
    return static_cast<unsigned>(std::bit_width(size - 1));
}

/// The caches; NULL until kmem_cache_init().
extern constinit std::atomic<kmem_cache*> kmalloc_caches[NR_KMALLOC_TYPES][KMALLOC_SHIFT_HIGH + 1];

/// The cache that serves (size, flags); NULL when the size is too large for one.
kmem_cache* kmalloc_slab(std::size_t size, gfp_t flags);

/// kmalloc() for sizes that are not known when compiling.
void* __kmalloc(std::size_t size, gfp_t flags);
/// From the page allocator, whatever the size (up to KMALLOC_MAX_SIZE).
void* kmalloc_large(std::size_t size, gfp_t flags);
/// From a kmalloc cache that is already chosen.
inline void* kmem_cache_alloc_trace(kmem_cache* cache, gfp_t flags, std::size_t) {
    return kmem_cache_alloc(cache, flags);
}

/// `size` bytes, aligned to 8 at least (to their size where it is a power of two up to a page).
/// ZERO_SIZE_PTR for 0, NULL when out of memory or too large.
inline void* kmalloc(std::size_t size, gfp_t flags) {
    if (__builtin_constant_p(size) && size != 0 && size <= KMALLOC_MAX_CACHE_SIZE) {
        kmem_cache* c = kmalloc_caches[kmalloc_type(flags)][kmalloc_index(size)].load(
            std::memory_order_acquire);
        if (c) [[likely]]
            return kmem_cache_alloc_trace(c, flags, size);
    }
    return __kmalloc(size, flags);
}

/// kmalloc() from node `nid` (NUMA_NO_NODE: the caller's) or, without __GFP_THISNODE, another.
void* kmalloc_node(std::size_t size, gfp_t flags, int nid);

/// kmalloc() filled with zeros.
inline void* kzalloc(std::size_t size, gfp_t flags) {
    return kmalloc(size, flags | __GFP_ZERO);
}

/// An array of n elements of `size` bytes; NULL when the product overflows.
inline void* kmalloc_array(std::size_t n, std::size_t size, gfp_t flags) {
    std::size_t bytes = 0;
    return __builtin_mul_overflow(n, size, &bytes) ? nullptr : __kmalloc(bytes, flags);
}
/// kmalloc_array() filled with zeros.
inline void* kcalloc(std::size_t n, std::size_t size, gfp_t flags) {
    return kmalloc_array(n, size, flags | __GFP_ZERO);
}

/// Make `p` hold `new_size` bytes, moving it where needed (contents kept). p may be NULL or
/// ZERO_SIZE_PTR; new_size 0 frees and returns ZERO_SIZE_PTR. NULL: out of memory, p is untouched.
/// With __GFP_ZERO bytes that are new to a moved block are zero.
[[nodiscard]] void* krealloc(void* p, std::size_t new_size, gfp_t flags);
/// Give back what kmalloc() and its kin returned (or any object of a cache). NULL is fine.
void kfree(const void* p);
/// kfree() of memory that is overwritten with zeros first.
void kfree_sensitive(void* p);
/// Bytes that the caller may use at `p`; 0 for NULL and ZERO_SIZE_PTR.
std::size_t ksize(const void* p);
/// A copy of the string in kmalloc() memory, or NULL.
[[nodiscard]] char* kstrdup(const char* s, gfp_t flags);

} // namespace slabfwd
