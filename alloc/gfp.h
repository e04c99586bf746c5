// SPDX-License-Identifier: BSD-3-Clause
//
// gfp.h - how an allocation may be made (GFP_*) and what a cache is (SLAB_*).
//
// Door: the `flags` argument of every allocating call; `flags` of kmem_cache_create().
// Threads: constants only.
// Origin: include/linux/gfp.h and include/linux/slab.h of Linux v5.2 (same names, same values),
// as constants of the namespace instead of macros.
#pragma once

#include <cstdint>

namespace slabfwd {

/// How an allocation may be made. A set of bits; combine with `|`.
using gfp_t = std::uint32_t;
/// What a cache is. A set of bits; combine with `|`.
using slab_flags_t = std::uint32_t;

// Memory that the shrinkers can get back (kmalloc takes it from the kmalloc-rcl-* caches).
inline constexpr gfp_t __GFP_RECLAIMABLE = 0x10u;
// May use half of the reserve of the page allocator.
inline constexpr gfp_t __GFP_HIGH = 0x20u;
inline constexpr gfp_t __GFP_IO = 0x40u;
inline constexpr gfp_t __GFP_FS = 0x80u;
// No report when the allocation fails.
inline constexpr gfp_t __GFP_NOWARN = 0x200u;
// "Cannot fail" is a promise that user space cannot keep: refused, the call returns NULL.
inline constexpr gfp_t __GFP_NOFAIL = 0x800u;
inline constexpr gfp_t __GFP_NORETRY = 0x1000u;
// May use the whole reserve of the page allocator.
inline constexpr gfp_t __GFP_MEMALLOC = 0x2000u;
inline constexpr gfp_t __GFP_COMP = 0x4000u;
// The memory comes back filled with zeros.
inline constexpr gfp_t __GFP_ZERO = 0x8000u;
inline constexpr gfp_t __GFP_NOMEMALLOC = 0x10000u;
inline constexpr gfp_t __GFP_THISNODE = 0x40000u;
inline constexpr gfp_t __GFP_ATOMIC = 0x80000u;
inline constexpr gfp_t __GFP_ACCOUNT = 0x100000u;
// May call the shrinkers when memory is short.
inline constexpr gfp_t __GFP_DIRECT_RECLAIM = 0x200000u;
inline constexpr gfp_t __GFP_KSWAPD_RECLAIM = 0x400000u;
inline constexpr gfp_t __GFP_RECLAIM = __GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM;

/// For the data path: never calls a shrinker, may use a part of the reserve.
inline constexpr gfp_t GFP_ATOMIC = __GFP_HIGH | __GFP_ATOMIC | __GFP_KSWAPD_RECLAIM;
/// For control work: may call the shrinkers.
inline constexpr gfp_t GFP_KERNEL = __GFP_RECLAIM | __GFP_IO | __GFP_FS;
/// GFP_KERNEL charged to the current group.
inline constexpr gfp_t GFP_KERNEL_ACCOUNT = GFP_KERNEL | __GFP_ACCOUNT;
/// Neither shrinkers nor reserve.
inline constexpr gfp_t GFP_NOWAIT = __GFP_KSWAPD_RECLAIM;

// Debugging, per cache.
inline constexpr slab_flags_t SLAB_CONSISTENCY_CHECKS = 0x100u;
inline constexpr slab_flags_t SLAB_RED_ZONE = 0x400u;
inline constexpr slab_flags_t SLAB_POISON = 0x800u;
inline constexpr slab_flags_t SLAB_STORE_USER = 0x10000u;
/// Align objects to cache lines (to a half, a quarter ... line while the object fits).
inline constexpr slab_flags_t SLAB_HWCACHE_ALIGN = 0x2000u;
/// Objects can be got back by a shrinker.
inline constexpr slab_flags_t SLAB_RECLAIM_ACCOUNT = 0x20000u;
/// kmem_cache_create() ends the program instead of returning NULL.
inline constexpr slab_flags_t SLAB_PANIC = 0x40000u;
/// The pages of a slab outlive a grace period: a reader may look at an object that was freed
/// (and perhaps given out again), but the memory is still one of this cache's objects.
inline constexpr slab_flags_t SLAB_TYPESAFE_BY_RCU = 0x80000u;
inline constexpr slab_flags_t SLAB_MEM_SPREAD = 0x100000u;
inline constexpr slab_flags_t SLAB_TRACE = 0x200000u;
/// The freelist index stays on the slab; for caches that the allocator itself leans on.
inline constexpr slab_flags_t SLAB_NOLEAKTRACE = 0x800000u;
/// The cache takes part in fault injection when failslab runs with its cache filter.
inline constexpr slab_flags_t SLAB_FAILSLAB = 0x2000000u;
/// Ours: double and foreign frees are found always, cheaply (slab_debug.h).
inline constexpr slab_flags_t SLAB_HARDENED = 0x1000000u;
/// Ours: objects of a new slab are given out in random order (CONFIG_SLAB_FREELIST_RANDOM).
inline constexpr slab_flags_t SLAB_RANDOM = 0x400000u;
/// Objects are charged to the current group.
inline constexpr slab_flags_t SLAB_ACCOUNT = 0x4000000u;

} // namespace slabfwd
