// SPDX-License-Identifier: BSD-3-Clause
//
// memcg.h - groups whose memory is counted and bounded (memory cgroups, kmem accounting).
//
// Doors: mem_cgroup_create(), memalloc_use_memcg(), mem_cgroup_set_limit(), mem_cgroup_offline().
// A thread that works for a group gets objects of caches with SLAB_ACCOUNT (and kmalloc() with
// __GFP_ACCOUNT) from child caches of the group's own: "NAME(ID:GROUP)" under the root cache, made
// at the first allocation. The pages of their slabs are charged to the group and to all groups
// above it. Caches without SLAB_ACCOUNT have no part in it and pay nothing; those with it pay from
// the first group on, because every call then takes the slow way (HOOK_MEMCG).
// Threads: any; the current group is the calling thread's. Groups, children and their lists are
// guarded by slab_mutex, charges by a lock of their own.
// Origin: mm/memcontrol.c and mm/slab_common.c of Linux v5.2. Differences: a child cache is made by
// the first allocation itself instead of a work queue; an offline group's caches go to its parent
// at once (v5.3); kmalloc has caches of its own for __GFP_ACCOUNT (v5.14).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace slabfwd {

struct kmem_cache;
struct mem_cgroup;

/// A new group below `parent` (NULL: at the top). `name` is copied. NULL when out of memory.
mem_cgroup* mem_cgroup_create(const char* name, mem_cgroup* parent);
/// At most `bytes` of slab pages for the group and all below it (0: no bound); rounded down to
/// pages. What is in use already stays; further slabs are refused (the allocation gives NULL after
/// the group's free slabs were given back, where the flags allow waiting).
void mem_cgroup_set_limit(mem_cgroup* memcg, std::size_t bytes);
/// The group ends: no new slabs are charged to it, its caches take objects back only and belong to
/// the parent, which is charged for them already; a cache goes when its last object has come back
/// (cache_reap, kmem_cache_shrink, kmem_cache_destroy look). Threads that still name the group
/// allocate for its nearest living ancestor. The pointer must not be used any more, but by those.
void mem_cgroup_offline(mem_cgroup* memcg);

/// The calling thread works for `memcg` from now on (NULL: for no group). Returns for whom it did.
mem_cgroup* memalloc_use_memcg(mem_cgroup* memcg);
/// The calling thread works for no group.
void memalloc_unuse_memcg();
/// For whom the calling thread works.
mem_cgroup* current_memcg();

/// What a group has, in bytes.
struct memcg_stats {
    std::size_t usage = 0;     ///< slab pages charged to it and all below it
    std::size_t max_usage = 0; ///< most that were
    std::size_t limit = 0;     ///< upper bound; 0: none
    std::uint64_t failcnt = 0; ///< charges that were refused
    unsigned caches = 0;       ///< child caches that are its own
};
memcg_stats mem_cgroup_stats(mem_cgroup* memcg);
/// The group that an object is charged to; NULL: none.
mem_cgroup* mem_cgroup_from_obj(const void* object);
/// The lines of /proc/slabinfo of one group's own caches (memory.kmem.slabinfo).
std::string memcg_slab_show(mem_cgroup* memcg);

/// Is it no child of another?
bool is_root_cache(const kmem_cache* cache);
/// The cache whose child it is; a root cache itself.
kmem_cache* memcg_root_cache(kmem_cache* cache);

} // namespace slabfwd
