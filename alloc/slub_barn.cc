// SPDX-License-Identifier: BSD-3-Clause
//
// slub_barn.cc - SLUB: what stands between the sheaves of a node's slots and the slabs.
//
// Doors: barn_get() when a sheaf has run empty, barn_put() when one is full, barn_shrink() and
// barn_reap() to give back. A batch goes in and out by one copy, without a look at any object:
// who frees more than a sheaf holds and allocates it again touches no slab.
// Threads: under the node's list_lock. Its objects are the node's, as those on its slabs are.
// Origin: struct node_barn of mm/slub.c, Linux 6.18. Differences: one array of objects (made at the
// first flush, as SLAB's shared array, whose place in kmem_cache_node it has) in place of a list of
// sheaves, so that a slot's sheaf stays its own.
#include <algorithm>
#include <cstring>

#include "alloc/array_cache.h"
#include "alloc/slub.h"

namespace slabfwd {

std::size_t barn_get(kmem_cache* cache, kmem_cache_cpu* c, void** to, std::size_t max) {
    kmem_cache_node* n = get_node(cache, numa_mem_id());
    const spin_guard guard(n->list_lock);
    array_cache* barn = n->shared;
    if (!barn || !barn->avail)
        return 0;
    const std::size_t nr = std::min<std::size_t>(max, barn->avail);
    barn->touched = 1;
    barn->avail -= static_cast<std::uint32_t>(nr);
    std::memcpy(to, barn->entry + barn->avail, sizeof(void*) * nr);
    account_out(cache, c, nr);
    return nr;
}

std::size_t barn_put(kmem_cache* cache, kmem_cache_cpu* c, void** objects, std::size_t n) {
    kmem_cache_node* node = get_node(cache, numa_mem_id());
    const spin_guard guard(node->list_lock);
    array_cache* barn = node->shared;
    const std::size_t nr = barn ? std::min<std::size_t>(n, barn->limit - barn->avail) : 0;
    if (!nr)
        return 0;
    std::memcpy(barn->entry + barn->avail, objects, sizeof(void*) * nr);
    barn->avail += static_cast<std::uint32_t>(nr);
    account_back(cache, c, nr);
    return nr;
}

// The oldest first. Slabs have locks of their own: objects leave the barn before they get there.
void barn_shrink(kmem_cache* cache, kmem_cache_node* n, std::size_t nr) {
    void* objects[256];
    while (nr) {
        std::size_t taken = 0;
        {
            const spin_guard guard(n->list_lock);
            array_cache* barn = n->shared;
            if (!barn || !barn->avail)
                return;
            taken = std::min({nr, std::size_t{barn->avail}, std::size(objects)});
            std::memcpy(objects, barn->entry, sizeof(void*) * taken);
            barn->avail -= static_cast<std::uint32_t>(taken);
            std::memmove(barn->entry, barn->entry + taken, sizeof(void*) * barn->avail);
        }
        account_out(cache, nullptr, taken); // for free_many() to take back
        free_many(cache, nullptr, objects, taken);
        nr -= taken;
    }
}

void barn_reap(kmem_cache* cache, kmem_cache_node* n) {
    std::size_t nr = 0;
    {
        const spin_guard guard(n->list_lock);
        if (!n->shared)
            return;
        if (!n->shared->touched)
            nr = std::min<std::size_t>((n->shared->limit + 4u) / 5u, (n->shared->avail + 1u) / 2u);
        n->shared->touched = 0;
    }
    barn_shrink(cache, n, nr);
}

} // namespace slabfwd
