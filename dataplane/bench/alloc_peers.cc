// SPDX-License-Identifier: BSD-3-Clause
//
// The table of peers of `slabfwd bench alloc`. A further one is a row here. See alloc_job.h.
#include "dataplane/bench/alloc_run.h"

namespace slabfwd {

namespace {

using free_plain = void(void*);
using free_sized = void(void*, size_t);
using free_sized_flags = void(void*, size_t, int);

const alloc_peer peers[] = {
    {.column = {"lifo", peer_kind::reference}, .run = run_alloc_job<lifo_peer>},
    {.column = {"glibc"},
     .is_malloc = true,
     .run = run_alloc_job<malloc_peer<free_plain>>,
     .library = &glibc_malloc},
    {.column = {"jemalloc"},
     .is_malloc = true,
     .run = run_alloc_job<malloc_peer<free_sized_flags>>,
     .library = &jemalloc},
    {.column = {"tcmalloc"},
     .is_malloc = true,
     .run = run_alloc_job<malloc_peer<free_sized>>,
     .library = &tcmalloc_minimal},
    {.column = {"mimalloc"},
     .is_malloc = true,
     .run = run_alloc_job<malloc_peer<free_plain>>,
     .library = &mimalloc},
    {.column = {"rte_mempool"}, .run = run_alloc_job<mempool_peer>},
    {.column = {"slab_handle", peer_kind::ours}, .run = run_alloc_job<slab_peer<true>>},
    {.column = {"slab_cache", peer_kind::ours}, .run = run_alloc_job<slab_peer<false>>},
    {.column = {"slab_linux", peer_kind::ours},
     .run = run_alloc_job<slab_peer<true>>,
     .slab = {.linux_tuning = true}},
    {.column = {"slub_handle", peer_kind::ours},
     .run = run_alloc_job<slab_peer<true>>,
     .slab = {.slub = true}},
    {.column = {"slub_cache", peer_kind::ours},
     .run = run_alloc_job<slab_peer<false>>,
     .slab = {.slub = true}},
    {.column = {"slub_linux", peer_kind::ours},
     .run = run_alloc_job<slab_peer<true>>,
     .slab = {.linux_tuning = true, .slub = true}},
    {.column = {"slab_hardened", peer_kind::ours},
     .run = run_alloc_job<slab_peer<true>>,
     .slab = {.flags = SLAB_HARDENED}},
    {.column = {"slab_numa", peer_kind::ours},
     .run = run_alloc_job<slab_peer<true>>,
     .slab = {.nodes = 2},
     .on_request = true},
    {.column = {"slub_numa", peer_kind::ours},
     .run = run_alloc_job<slab_peer<true>>,
     .slab = {.slub = true, .nodes = 2},
     .on_request = true},
    {.column = {"slab_memcg", peer_kind::ours},
     .run = run_alloc_job<slab_peer<true>>,
     .slab = {.flags = SLAB_ACCOUNT, .memcg = true},
     .on_request = true},
    {.column = {"slub_memcg", peer_kind::ours},
     .run = run_alloc_job<slab_peer<true>>,
     .slab = {.slub = true, .flags = SLAB_ACCOUNT, .memcg = true},
     .on_request = true},
};

} // namespace

std::span<const alloc_peer> alloc_peers() {
    return peers;
}

} // namespace slabfwd
