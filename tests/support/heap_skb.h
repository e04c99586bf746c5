// SPDX-License-Identifier: BSD-3-Clause
//
// Packets from plain memory, so that unit tests need no EAL and the sanitizers see every byte.
// Door: use_heap_skbs() once, then alloc_skb & co. work; heap_skbs_live() finds leaks.
// Threads: any.
#pragma once

#include "neigh/skbuff.h"

namespace slabfwd::test {

constexpr unsigned HEAP_SEG_SIZE = 2048, HEAP_HEADROOM = 128;

/// Points skb_ops at the heap.
void use_heap_skbs();
/// Packets (segments) that are allocated now.
int heap_skbs_live();
/// The next allocations fail: after `after` more succeed, `times` fail (-1: all). (0, 0) ends it.
void heap_skbs_fail(int after, int times);
/// A chain whose segments have `seg_size` bytes of room each, `size` in all; data_len 0.
rte_mbuf* heap_mbuf_chain(unsigned size, unsigned seg_size);

} // namespace slabfwd::test
