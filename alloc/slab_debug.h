// SPDX-License-Identifier: BSD-3-Clause
//
// slab_debug.h - finding misuse: red zones, poison, owners, the hardened mode, random freelists.
//
// Doors: slab_debug_setup() (the string of the kernel's boot option slab_debug=), the SLAB_* flags
// of kmem_cache_create(), slab_debug_change() for one cache at run time, validate_slab_cache() and
// slab_leaks() to look.
// Threads: setup and change by any thread, under slab_mutex; they are in force for the calling
// thread and threads that have gone at once, for others with their next slow call or
// slab_cpu_serve(). Checks run in the thread that allocates or frees.
// Cost: none for caches without any of it; the fast path has no branch for it.
// Origin: mm/slub.c (slub_debug) and mm/slab.c (DEBUG) of Linux v5.2. Differences: a damaged object
// is reported, mended and stays in use; what must not be freed is refused; hardened mode is ours.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kmem_cache.h"

namespace slabfwd {

/// What debugging can be asked for: letters of slab_debug, kernel's first.
///   F consistency checks   Z red zones   P poison   U owners (stacks)   T trace   A failslab
///   O no debugging that would need a larger slab order    - none
///   H hardened: double and foreign free found always, cheaply    R random freelist
/// `setting` is "LETTERS[,NAME[*],NAME...][;...]": letters for all caches, or for those named; no
/// letters: FZPU. Replaces the setting before it, for caches to come. Caches that exist and match
/// get F, T, H and A at once, and Z, P, U, R if they have no object (else they say so in a report
/// and keep their layout). 0 or -EINVAL (nothing changed).
int slab_debug_setup(std::string_view setting);

/// Debugging of one cache on or off at run time: SLAB_CONSISTENCY_CHECKS, SLAB_TRACE,
/// SLAB_HARDENED and SLAB_FAILSLAB at any time; SLAB_RED_ZONE, SLAB_POISON, SLAB_STORE_USER and
/// SLAB_RANDOM only while the cache has no slab but free ones and nobody else uses it: -EBUSY
/// else. The children of groups go along: all of them can change, or none does.
/// 0, -EINVAL (another flag; a merged, internal or child cache), -ENOMEM.
int slab_debug_change(kmem_cache* cache, slab_flags_t flags, bool on);

/// Which of the flags above are in force.
slab_flags_t slab_debug_flags(const kmem_cache* cache);

/// The letters of flags, in the order FZPUTAHR.
std::string slab_debug_letters(slab_flags_t flags);

/// Seed of the random freelists of caches to come; 0: another one for each process (the default).
void slab_random_seed(std::uint64_t seed);

/// Misuse found in the cache so far.
std::uint64_t slab_bugs(const kmem_cache* cache);

/// Check all objects: red zones, poison, padding, and what is free against what is in use. Each
/// fault is reported and mended. REQUIRES that no other thread uses the cache. Returns how many.
long validate_slab_cache(kmem_cache* cache);

/// An object that a caller holds.
struct slab_leak {
    const void* object;
    const void* addr;      ///< who allocated it (return address); NULL without SLAB_STORE_USER
    std::uint64_t age_ms;  ///< for how long it is out
    int pid;               ///< thread that allocated it
    std::string call_site; ///< `addr` as text; empty without SLAB_STORE_USER
};
/// The objects that callers hold, at most `max`. REQUIRES one of F, Z, P, U or H from the start of
/// the cache on (without: empty); exact when no other thread uses the cache.
std::vector<slab_leak> slab_leaks(kmem_cache* cache, std::size_t max = SIZE_MAX);

/// Who holds objects / who freed those that are free: a line for each call site, as in
/// /sys/kernel/slab/NAME/alloc_calls and free_calls ("COUNT SITE age=MIN/AVG/MAX pid=MIN-MAX"; ages
/// in ms), most objects first. "No data" without SLAB_STORE_USER. REQUIRES as slab_leaks().
std::string slab_alloc_calls(kmem_cache* cache);
std::string slab_free_calls(kmem_cache* cache);

/// A code address as "function+0x12 (program)", or "program+0x1234" where it has no name.
std::string slab_symbol(const void* addr);

} // namespace slabfwd
