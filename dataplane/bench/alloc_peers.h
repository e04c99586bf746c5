// SPDX-License-Identifier: BSD-3-Clause
//
// The allocators that are compared, each through its best interface, all of one shape that the
// workloads are compiled against (so that inline fast paths stay inline):
//
//   prepare(peer)        what must not count as the allocator's memory (DPDK's start)
//   open(peer, job)      the allocator, able to hold `capacity` objects at a time
//   local(p)             a thread's way into it: alloc, zalloc, free, alloc_bulk, free_bulk
//   purge()              gives all free memory back
// prepare and open return why it cannot be done here, or nothing.
//
// Threads: a `local` belongs to the thread that made it.
#pragma once

#include <cstring>
#include <string>
#include <sys/mman.h>

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mempool.h>

#include "alloc/kmem_cache.h"
#include "alloc/memcg.h"
#include "alloc/numa.h"
#include "alloc/slabinfo.h"
#include "dataplane/bench/alloc_job.h"
#include "dataplane/bench/malloc_library.h"
#include "dataplane/router.h"
#include "dataplane/slab_memory.h"

namespace slabfwd {

/// Memory with transparent hugepages, straight from the system; NULL when there is none.
inline char* huge_memory(size_t bytes) {
    constexpr size_t HUGE = size_t{2} << 20;
    void* raw = mmap(nullptr, bytes + HUGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED)
        return nullptr;
    char* start = static_cast<char*>(raw) + (HUGE - uintptr_t(raw) % HUGE) % HUGE;
    madvise(start, bytes, MADV_HUGEPAGE);
    return start;
}

/// Loops for those that have no bulk calls and no zeroing one (malloc and an inlined memset is
/// never slower than their calloc).
template <typename Local>
struct single_calls {
    [[gnu::always_inline]] void* zalloc() {
        void* p = self().alloc();
        std::memset(p, 0, self().size);
        return p;
    }
    [[gnu::always_inline]] bool alloc_bulk(void** objects, size_t n) {
        for (size_t i = 0; i < n; ++i)
            objects[i] = self().alloc();
        return true;
    }
    [[gnu::always_inline]] void free_bulk(void** objects, size_t n) {
        for (size_t i = 0; i < n; ++i)
            self().free(objects[i]);
    }

private:
    Local& self() { return static_cast<Local&>(*this); }
};

/// A bare array used as a stack, with no check whatever: what a workload costs beside its
/// allocator, and the bound for what a pair can cost.
struct lifo_peer {
    struct stack {
        size_t top;
        void** entry() { return reinterpret_cast<void**>(this + 1); } // all objects of the workload
    };
    stack* s = nullptr;
    size_t size = 0;

    std::string prepare(const alloc_peer&) { return {}; }
    std::string open(const alloc_peer&, const alloc_job& job, size_t capacity) {
        size = job.size;
        s = reinterpret_cast<stack*>(huge_memory(sizeof(stack) + capacity * sizeof(void*)));
        char* objects = huge_memory(capacity * size);
        if (!s || !objects)
            return "no memory";
        for (s->top = 0; s->top < capacity; ++s->top)
            s->entry()[s->top] = objects + size * s->top;
        return {};
    }
    void purge() {}

    struct local : single_calls<local> {
        explicit local(lifo_peer& p) : s(p.s), size(p.size) {}
        [[gnu::always_inline]] void* alloc() { return s->entry()[--s->top]; }
        [[gnu::always_inline]] void free(void* p) { s->entry()[s->top++] = p; }
        stack* s;
        size_t size;
    };
};

/// A malloc; `Free` is the type of its free function.
template <typename Free>
struct malloc_peer {
    malloc_library lib;
    const malloc_entry* entry = nullptr;
    size_t size = 0;

    std::string prepare(const alloc_peer&) { return {}; }
    std::string open(const alloc_peer& peer, const alloc_job& job, size_t) {
        entry = peer.library;
        size = job.size;
        return open_malloc_library(*entry, job.hugepages, &lib);
    }
    void purge() { entry->purge(lib.handle); }

    struct local : single_calls<local> {
        explicit local(malloc_peer& p)
            : alloc_(p.lib.alloc), free_(reinterpret_cast<Free*>(p.lib.free)), size(p.size) {}
        [[gnu::always_inline]] void* alloc() { return alloc_(size); }
        [[gnu::always_inline]] void free(void* p) {
            if constexpr (std::is_invocable_v<Free*, void*>)
                free_(p);
            else if constexpr (std::is_invocable_v<Free*, void*, size_t>)
                free_(p, size);
            else
                free_(p, size, 0);
        }
        void* (*alloc_)(size_t);
        Free* free_;
        size_t size;
    };
};

/// DPDK's mempool with a cache of 512 for each lcore, on memory with transparent hugepages.
struct mempool_peer {
    rte_mempool* mp = nullptr;

    std::string prepare(const alloc_peer&) {
        eal_options o;
        o.no_huge_mb = 256; // the pool's ring; its objects have memory of their own
        const auto started = eal_start(o);
        return started ? std::string() : started.error();
    }
    std::string open(const alloc_peer&, const alloc_job& job, size_t capacity) {
        constexpr unsigned CACHE = 512;
        const auto n = unsigned(capacity + 2 * CACHE * 2); // two threads' caches full
        mp = rte_mempool_create_empty("bench", n, unsigned(job.size), CACHE, 0, -1,
                                      RTE_MEMPOOL_F_NO_IOVA_CONTIG);
        if (!mp)
            return fmt::format("rte_mempool_create_empty: {}", rte_strerror(rte_errno));
        const size_t each = mp->header_size + mp->elt_size + mp->trailer_size;
        char* memory = huge_memory(n * each);
        if (!memory)
            return "no memory";
        if (rte_mempool_populate_iova(mp, memory, RTE_BAD_IOVA, n * each, nullptr, nullptr) <
            int(n))
            return fmt::format("rte_mempool_populate_iova: {}", rte_strerror(rte_errno));
        return {};
    }
    void purge() {}

    struct local {
        explicit local(mempool_peer& p)
            : mp(p.mp), size(p.mp->elt_size), registered(rte_lcore_id() == LCORE_ID_ANY) {
            if (registered && rte_thread_register() != 0)
                throw std::runtime_error("rte_thread_register failed");
            cache = rte_mempool_default_cache(mp, rte_lcore_id());
        }
        [[gnu::always_inline]] void* alloc() {
            void* p = nullptr;
            rte_mempool_generic_get(mp, &p, 1, cache);
            return p;
        }
        [[gnu::always_inline]] void* zalloc() {
            void* p = alloc();
            std::memset(p, 0, size);
            return p;
        }
        [[gnu::always_inline]] void free(void* p) { rte_mempool_generic_put(mp, &p, 1, cache); }
        [[gnu::always_inline]] bool alloc_bulk(void** objects, size_t n) {
            return rte_mempool_generic_get(mp, objects, unsigned(n), cache) == 0;
        }
        [[gnu::always_inline]] void free_bulk(void** objects, size_t n) {
            rte_mempool_generic_put(mp, objects, unsigned(n), cache);
        }
        rte_mempool* mp;
        size_t size;
        rte_mempool_cache* cache = nullptr;
        bool registered; ///< not undone: the process ends with the job
    };
};

/// Our own slab; BY_HANDLE: the thread keeps its array, else each call finds it from the cache.
template <bool BY_HANDLE>
struct slab_peer {
    kmem_cache* cache = nullptr;
    mem_cgroup* group = nullptr;

    std::string prepare(const alloc_peer&) { return {}; }
    std::string open(const alloc_peer& peer, const alloc_job& job, size_t) {
        if (!job.slab_memory.empty())
            if (const auto set = set_slab_memory(job.slab_memory); !set)
                return set.error();
        if (peer.slab.linux_tuning && slab_set_tuning(slab_tuning::linux_5_2) != 0)
            return "the allocator is up already";
        if (peer.slab.slub && slab_set_allocator(slab_allocator::slub) != 0)
            return "the allocator is up already";
        if (peer.slab.nodes > 1 && slab_set_numa(peer.slab.nodes) != 0)
            return "the allocator has memory already";
        if (peer.slab.memcg && !(group = mem_cgroup_create("bench", nullptr)))
            return "no memory";
        cache = kmem_cache_create("bench", job.size, 0, peer.slab.flags, nullptr);
        return cache ? std::string() : fmt::format("kmem_cache_create: {}", std::strerror(errno));
    }
    void purge() { kmem_cache_shrink(cache); }

    struct local {
        explicit local(slab_peer& p)
            : way([&p] {
                  if constexpr (BY_HANDLE)
                      return kmem_cache_this_cpu(p.cache);
                  else
                      return p.cache;
              }()) {
            if (p.group)
                memalloc_use_memcg(p.group);
        }
        [[gnu::always_inline]] void* alloc() { return kmem_cache_alloc(way, GFP_ATOMIC); }
        [[gnu::always_inline]] void* zalloc() { return kmem_cache_zalloc(way, GFP_ATOMIC); }
        [[gnu::always_inline]] void free(void* p) { kmem_cache_free(way, p); }
        [[gnu::always_inline]] bool alloc_bulk(void** objects, size_t n) {
            return kmem_cache_alloc_bulk(way, GFP_ATOMIC, n, objects) == n;
        }
        [[gnu::always_inline]] void free_bulk(void** objects, size_t n) {
            kmem_cache_free_bulk(way, n, objects);
        }
        std::conditional_t<BY_HANDLE, kmem_cache_handle, kmem_cache*> way;
    };
};

} // namespace slabfwd
