// SPDX-License-Identifier: BSD-3-Clause
//
// Each segment is one malloc: rte_mbuf, private area with the sk_buff, buffer; as in a mempool.
#include "tests/support/heap_skb.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

namespace slabfwd::test {

namespace {

std::atomic<int> live{0}, fail_after{0}, fail_times{0};

bool should_fail() {
    if (!fail_times)
        return false;
    if (fail_after > 0) {
        --fail_after;
        return false;
    }
    if (fail_times > 0)
        --fail_times;
    return true;
}

rte_mbuf* make_segment(unsigned room) {
    constexpr size_t head = sizeof(rte_mbuf) + SKB_PRIV_SIZE;
    void* mem = aligned_alloc(64, (head + HEAP_HEADROOM + room + 63) & ~size_t(63));
    if (!mem)
        return nullptr;
    auto* m = new (mem) rte_mbuf{};
    m->buf_addr = static_cast<char*>(mem) + head;
    m->buf_len = uint16_t(HEAP_HEADROOM + room);
    m->priv_size = SKB_PRIV_SIZE;
    m->data_off = HEAP_HEADROOM;
    m->nb_segs = 1;
    m->port = RTE_MBUF_PORT_INVALID;
    rte_mbuf_refcnt_set(m, 1);
    ++live;
    return m;
}

void heap_free(rte_mbuf* m) {
    while (m) {
        rte_mbuf* next = m->next;
        --live;
        free(m);
        m = next;
    }
}

rte_mbuf* heap_alloc(unsigned size) {
    return should_fail() ? nullptr : heap_mbuf_chain(size, HEAP_SEG_SIZE);
}

} // namespace

rte_mbuf* heap_mbuf_chain(unsigned size, unsigned seg_size) {
    rte_mbuf* head = make_segment(seg_size);
    rte_mbuf* last = head;
    for (unsigned room = seg_size; head && room < size; room += seg_size) {
        last->next = make_segment(seg_size);
        if (!last->next) {
            heap_free(head);
            return nullptr;
        }
        last = last->next;
        ++head->nb_segs;
    }
    return head;
}

void use_heap_skbs() {
    skb_ops = {heap_alloc, heap_free};
}
int heap_skbs_live() {
    return live;
}
void heap_skbs_fail(int after, int times) {
    fail_after = after;
    fail_times = times;
}

} // namespace slabfwd::test
