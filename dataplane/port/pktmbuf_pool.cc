// SPDX-License-Identifier: BSD-3-Clause
//
// The packet pool of the program: where every frame lives, received or made here. Each mbuf has room for
// a whole Ethernet frame and, in its private area, the sk_buff that views it.
// Without hugepages DPDK's own memory is 4 KiB pages of a file, which costs a forwarder half its speed
// (TLB misses); then the pool lives in an external heap over anonymous memory that asks for transparent
// huge pages.
// Door: pktmbuf_pool_init (sets skb_ops). Threads: any, after init; DPDK's per-lcore caches serve workers.
#include <cerrno>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <sys/mman.h>

#include "dataplane/port/port.h"

namespace slabfwd {

namespace {

rte_mempool* pool;

constexpr unsigned POOL_CACHE = 256;
constexpr uint16_t DATA_ROOM = 2048 + RTE_PKTMBUF_HEADROOM;
constexpr size_t HUGE_PAGE = 2u << 20;
constexpr const char* HEAP = "slabfwd";

/// The external heap's memory; null when DPDK has hugepages of its own.
void* heap_memory;
size_t heap_size;

/// Makes the heap with room for n packets; its socket id, or -1 (then DPDK's own memory will do).
int thp_heap(unsigned n) {
    // Object: mbuf, private area, data, mempool header and what the allocator rounds up.
    size_t object = sizeof(rte_mbuf) + SKB_PRIV_SIZE + DATA_ROOM + 4 * RTE_CACHE_LINE_SIZE;
    heap_size = (n * object / HUGE_PAGE + 4) * HUGE_PAGE;
    char* raw = static_cast<char*>(mmap(nullptr, heap_size + HUGE_PAGE, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (raw == MAP_FAILED)
        return -1;
    size_t skew = (HUGE_PAGE - uintptr_t(raw) % HUGE_PAGE) % HUGE_PAGE;
    heap_memory = raw + skew;
    if (skew)
        munmap(raw, skew);
    munmap(raw + skew + heap_size, HUGE_PAGE - skew);
    madvise(heap_memory, heap_size, MADV_HUGEPAGE);
    if (rte_malloc_heap_create(HEAP) == 0 &&
        rte_malloc_heap_memory_add(HEAP, heap_memory, heap_size, nullptr, unsigned(heap_size / HUGE_PAGE),
                                   HUGE_PAGE) == 0)
        return rte_malloc_heap_get_socket(HEAP);
    rte_malloc_heap_destroy(HEAP);
    munmap(heap_memory, heap_size);
    heap_memory = nullptr;
    return -1;
}

void thp_heap_free() {
    if (!heap_memory)
        return;
    rte_malloc_heap_memory_remove(HEAP, heap_memory, heap_size);
    rte_malloc_heap_destroy(HEAP);
    munmap(heap_memory, heap_size);
    heap_memory = nullptr;
}

/// Room for size bytes: one segment, or a chain whose segments are all still empty.
rte_mbuf* pool_alloc(unsigned size) {
    rte_mbuf* head = rte_pktmbuf_alloc(pool);
    if (!head)
        return nullptr;
    unsigned room = rte_pktmbuf_tailroom(head);
    for (rte_mbuf* last = head; room < size;) {
        rte_mbuf* m = rte_pktmbuf_alloc(pool);
        if (!m) {
            rte_pktmbuf_free(head);
            return nullptr;
        }
        last->next = m;
        last = m;
        ++head->nb_segs;
        room += rte_pktmbuf_tailroom(m);
    }
    return head;
}

void pool_free(rte_mbuf* m) { rte_pktmbuf_free(m); }

} // namespace

int pktmbuf_pool_init(unsigned n) {
    int socket = rte_eal_has_hugepages() ? SOCKET_ID_ANY : thp_heap(n);
    pool = rte_pktmbuf_pool_create("slabfwd", n, POOL_CACHE, SKB_PRIV_SIZE, DATA_ROOM, socket);
    if (!pool) {
        int rc = -rte_errno;
        thp_heap_free();
        return rc;
    }
    skb_ops = {pool_alloc, pool_free};
    return 0;
}

void pktmbuf_pool_fini() {
    rte_mempool_free(pool);
    pool = nullptr;
    thp_heap_free();
}

rte_mempool* pktmbuf_pool() { return pool; }

} // namespace slabfwd
