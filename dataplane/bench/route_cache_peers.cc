// SPDX-License-Identifier: BSD-3-Clause
//
// Where the entries of the cache come from: our slab as always, or another allocator by
// dst_ops::objects. A further one is a row in route_cache_peers() and a case in use_peer().
// See route_cache.h.
#include <algorithm>
#include <cstdlib>
#include <malloc.h>
#include <x86intrin.h>

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_mempool.h>

#include "alloc/kmem_cache.h"
#include "alloc/slabinfo.h"
#include "dataplane/bench/bench_clock.h"
#include "dataplane/bench/route_cache.h"

namespace slabfwd {

namespace {

constexpr const char* POOL = "ip_dst_cache";

struct malloc_objects : dst_objects {
    malloc_objects() {
        alloc = [](dst_objects*) { return std::malloc(sizeof(rtable)); };
        free = [](dst_objects*, void* p) { std::free(p); };
    }
};

/// As `new` would: an entry's type asks for whole cache lines.
struct aligned_objects : dst_objects {
    aligned_objects() {
        alloc = [](dst_objects*) { return std::aligned_alloc(alignof(rtable), sizeof(rtable)); };
        free = [](dst_objects*, void* p) { std::free(p); };
    }
};

struct mempool_objects : dst_objects {
    rte_mempool* mp;
    explicit mempool_objects(rte_mempool* pool) : mp(pool) {
        alloc = [](dst_objects* self) {
            void* p = nullptr;
            return rte_mempool_get(static_cast<mempool_objects*>(self)->mp, &p) ? nullptr : p;
        };
        free = [](dst_objects* self, void* p) {
            rte_mempool_put(static_cast<mempool_objects*>(self)->mp, p);
        };
    }
};

/// One thread's calls timed.
struct timed_objects : dst_objects {
    dst_objects* inner = nullptr;
    kmem_cache* slab = nullptr;
    uint64_t cycles = 0, calls = 0;
    timed_objects() {
        alloc = [](dst_objects* s) {
            auto* self = static_cast<timed_objects*>(s);
            const uint64_t t = __rdtsc();
            void* p = self->inner ? self->inner->alloc(self->inner)
                                  : kmem_cache_alloc(self->slab, GFP_ATOMIC);
            self->count(t);
            return p;
        };
        free = [](dst_objects* s, void* p) {
            auto* self = static_cast<timed_objects*>(s);
            const uint64_t t = __rdtsc();
            if (self->inner)
                self->inner->free(self->inner, p);
            else
                kmem_cache_free(self->slab, p);
            self->count(t);
        };
    }
    void count(uint64_t since) {
        // A quarter of a millisecond: no call takes so long. Somebody else had the core.
        constexpr uint64_t LONGEST = 1 << 19;
        if (const uint64_t took = __rdtsc() - since; took < LONGEST)
            cycles += took;
        ++calls;
    }
};

/// What two adjacent readings of the TSC differ by: the least of several means, since in some of
/// them the thread was interrupted.
double rdtsc_overhead() {
    constexpr int MEANS = 16, READINGS = 1000;
    double least = 1e9;
    for (int mean = 0; mean < MEANS; ++mean) {
        uint64_t sum = 0;
        for (int i = 0; i < READINGS; ++i) {
            const uint64_t t = __rdtsc();
            sum += __rdtsc() - t;
        }
        least = std::min(least, double(sum) / READINGS);
    }
    return least;
}

void set_objects(net& n, dst_objects* objects) {
    for (auto& sd : n.softnet)
        sd->rt_shard->ipv4_dst_ops.objects = objects;
}

std::string use_mempool(net& n, uint32_t capacity) {
    constexpr unsigned CACHE = 512;
    const unsigned count = capacity + 2 * CACHE * n.nr_cpus();
    rte_mempool* mp = rte_mempool_create_empty(POOL, count, sizeof(rtable), CACHE, 0, -1,
                                               RTE_MEMPOOL_F_NO_IOVA_CONTIG);
    if (!mp)
        return fmt::format("rte_mempool_create_empty: {}", rte_strerror(rte_errno));
    const size_t bytes = size_t(mp->header_size + mp->elt_size + mp->trailer_size) * count;
    void* memory = std::aligned_alloc(size_t(2) << 20, (bytes + (size_t(2) << 20)) & ~0x1fffffull);
    if (!memory || rte_mempool_populate_iova(mp, static_cast<char*>(memory), RTE_BAD_IOVA, bytes,
                                             nullptr, nullptr) < int(count))
        return "no memory for the pool";
    set_objects(n, new mempool_objects(mp));
    return {};
}

} // namespace

std::vector<route_cache_peer> route_cache_peers() {
    struct row {
        const char* name;
        peer_kind kind;
        const char* about;
        int admission;
    };
    static constexpr row rows[] = {
        {"slab", peer_kind::ours, "kmem_cache as in Linux's SLAB, as the router runs", -1},
        {"slub", peer_kind::ours, "kmem_cache as in Linux's SLUB", -1},
        {"rte_mempool", peer_kind::peer, "DPDK's pool, a cache of 512 a core, filled at start", -1},
        {"malloc", peer_kind::peer, "the C library's malloc, entries across cache lines", -1},
        {"aligned_alloc", peer_kind::peer,
         "the same, entries on whole cache lines as all others' are", -1},
        {"kernel-rule", peer_kind::reference, "slab with net.ipv4.route.admission=0", 0},
    };
    std::vector<route_cache_peer> peers;
    for (const row& r : rows) {
        route_cache_peer& p = peers.emplace_back();
        p.column.name = r.name;
        p.column.kind = r.kind;
        p.about = r.about;
        p.admission = r.admission;
    }
    return peers;
}

std::string prepare_peer(const std::string& peer) {
    if (peer == "slub" && slab_set_allocator(slab_allocator::slub) != 0)
        return "kmem_cache is at work already, with the other back end";
    return {};
}

std::string use_peer(net& n, const std::string& peer, uint32_t capacity) {
    if (peer == "slab" || peer == "slub" || peer == "kernel-rule")
        return {};
    if (peer == "malloc") {
        set_objects(n, new malloc_objects);
        return {};
    }
    if (peer == "aligned_alloc") {
        set_objects(n, new aligned_objects);
        return {};
    }
    return use_mempool(n, capacity);
}

size_t peer_entry_bytes(const std::string& peer) {
    if (peer == "malloc") {
        void* p = std::malloc(sizeof(rtable));
        const size_t bytes = malloc_usable_size(p) + sizeof(size_t); // glibc: a word before each
        std::free(p);
        return bytes;
    }
    if (peer == "aligned_alloc") // the word before each takes it to the next line
        return RTE_ALIGN_CEIL(sizeof(rtable) + sizeof(size_t), alignof(rtable));
    if (peer == "rte_mempool") {
        const rte_mempool* mp = rte_mempool_lookup(POOL);
        return mp ? mp->header_size + mp->elt_size + mp->trailer_size : 0;
    }
    const slabinfo s = get_slabinfo(find_cache("ip_dst_cache"));
    return s.num_objs ? s.num_slabs * s.pagesperslab * 4096 / s.num_objs : sizeof(rtable);
}

std::string tune_arrays(const route_cache_job& job) {
    if ((!job.limit && !job.batchcount) || (job.peer != "slab" && job.peer != "kernel-rule"))
        return {};
    kmem_cache* cache = find_cache("ip_dst_cache");
    const slabinfo now = get_slabinfo(cache);
    const unsigned limit = job.limit ? job.limit : std::max(now.limit, job.batchcount);
    const unsigned batchcount = job.batchcount ? job.batchcount : std::max(1u, limit / 2);
    if (kmem_cache_tune(cache, limit, batchcount, now.sharedfactor))
        return fmt::format("limit {}, batchcount {}: batchcount is to be 1 to limit", limit,
                           batchcount);
    return {};
}

uint64_t peer_cycles(net& n, bool begin) {
    static timed_objects timed;
    if (begin) {
        dst_ops& ops = n.softnet[0]->rt_shard->ipv4_dst_ops;
        timed.inner = ops.objects;
        timed.slab = ops.kmem_cachep;
        timed.cycles = timed.calls = 0;
        ops.objects = &timed;
        return 0;
    }
    n.softnet[0]->rt_shard->ipv4_dst_ops.objects = timed.inner;
    const double pure = double(timed.cycles) - rdtsc_overhead() * double(timed.calls);
    return pure > 0 ? uint64_t(pure) : 0;
}

} // namespace slabfwd
