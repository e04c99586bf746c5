// SPDX-License-Identifier: BSD-3-Clause
//
// sk_buff over rte_mbuf: data pointers, chains of segments, copies, the end of a packet.
// Door: skb_init, alloc_skb, pskb_may_pull, skb_copy, kfree_skb_reason / consume_skb.
// Threads: a packet belongs to one slot. Every dropped packet of the program goes through
// kfree_skb_reason. Origin: net/core/skbuff.c.
#include "neigh/skbuff.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#include "neigh/softnet.h"

namespace slabfwd {

skb_operations skb_ops;

namespace {

uint8_t* seg_data(const rte_mbuf* m) {
    return rte_pktmbuf_mtod(m, uint8_t*);
}

/// Unlinks and frees the segments behind `last`; lengths are the caller's.
void free_segs_after(rte_mbuf* head, rte_mbuf* last) {
    rte_mbuf* m = last->next;
    last->next = nullptr;
    while (m) {
        rte_mbuf* next = m->next;
        m->next = nullptr;
        m->nb_segs = 1;
        skb_ops.free(m);
        --head->nb_segs;
        m = next;
    }
}

/// Calls fn(bytes, n) for each piece of [offset, offset + len); false when the packet is shorter.
template <class F>
bool for_each_piece(const sk_buff* skb, unsigned offset, unsigned len, F fn) {
    for (const rte_mbuf* m = skb_mbuf(skb); m && len; m = m->next) {
        if (offset >= m->data_len) {
            offset -= m->data_len;
            continue;
        }
        unsigned n = std::min(len, m->data_len - offset);
        fn(seg_data(m) + offset, n);
        len -= n;
        offset = 0;
    }
    return len == 0;
}

void shift_headers(sk_buff* skb, int delta) {
    skb->mac_header = uint16_t(skb->mac_header + delta);
    skb->network_header = uint16_t(skb->network_header + delta);
    skb->transport_header = uint16_t(skb->transport_header + delta);
}

} // namespace

void skb_init(sk_buff* skb, net_device* dev, uint64_t tstamp) {
    new (skb) sk_buff{};
    skb->dev = dev;
    skb->tstamp = tstamp;
    skb->skb_iif = dev ? dev->ifindex : 0;
    skb_reset_mac_header(skb);
    skb_reset_network_header(skb);
    skb_reset_transport_header(skb);
}

sk_buff* alloc_skb(unsigned size) {
    rte_mbuf* m = skb_ops.alloc(size);
    if (unlikely(!m))
        return nullptr;
    sk_buff* skb = skb_from_mbuf(m);
    skb_init(skb, nullptr, ktime_get_ns());
    skb->originated = 1;
    return skb;
}

uint8_t* skb_pull(sk_buff* skb, unsigned len) {
    return reinterpret_cast<uint8_t*>(rte_pktmbuf_adj(skb_mbuf(skb), uint16_t(len)));
}
uint8_t* skb_push(sk_buff* skb, unsigned len) {
    return reinterpret_cast<uint8_t*>(rte_pktmbuf_prepend(skb_mbuf(skb), uint16_t(len)));
}
uint8_t* skb_put(sk_buff* skb, unsigned len) {
    return reinterpret_cast<uint8_t*>(rte_pktmbuf_append(skb_mbuf(skb), uint16_t(len)));
}

bool pskb_may_pull(sk_buff* skb, unsigned len) {
    rte_mbuf* head = skb_mbuf(skb);
    if (likely(len <= head->data_len))
        return true;
    if (len > head->pkt_len)
        return false;
    unsigned need = len - head->data_len;
    if (need > unsigned(head->buf_len - head->data_off - head->data_len))
        return false;
    uint8_t* to = seg_data(head) + head->data_len;
    head->data_len = uint16_t(len);
    while (need) {
        rte_mbuf* m = head->next;
        unsigned n = std::min<unsigned>(need, m->data_len);
        memcpy(to, seg_data(m), n);
        to += n;
        need -= n;
        m->data_off = uint16_t(m->data_off + n);
        m->data_len = uint16_t(m->data_len - n);
        if (m->data_len)
            break;
        head->next = m->next;
        --head->nb_segs;
        m->next = nullptr;
        m->nb_segs = 1;
        skb_ops.free(m);
    }
    return true;
}

void skb_trim(sk_buff* skb, unsigned len) {
    rte_mbuf* head = skb_mbuf(skb);
    if (len >= head->pkt_len)
        return;
    head->pkt_len = len;
    rte_mbuf* m = head;
    for (; len > m->data_len; m = m->next)
        len -= m->data_len;
    m->data_len = uint16_t(len);
    free_segs_after(head, m);
}

bool skb_copy_bits(const sk_buff* skb, unsigned offset, void* to, unsigned len) {
    auto* out = static_cast<uint8_t*>(to);
    return for_each_piece(skb, offset, len, [&](const uint8_t* p, unsigned n) {
        memcpy(out, p, n);
        out += n;
    });
}

uint32_t skb_checksum(const sk_buff* skb, unsigned offset, unsigned len, uint32_t sum) {
    uint64_t total = sum;
    bool odd = false; // bytes so far: behind an odd number the words of a piece lie swapped
    for_each_piece(skb, offset, len, [&](const uint8_t* p, unsigned n) {
        uint32_t part = csum_partial(p, n, 0);
        total += odd ? __builtin_bswap32(part) : part;
        odd ^= n & 1;
    });
    total = (total & 0xffffffff) + (total >> 32);
    return uint32_t(total) + uint32_t(total >> 32);
}

uint32_t skb_truesize(const sk_buff* skb) {
    // As Linux 6.18 charges a frame that came over a veth: room for headers, data and
    // skb_shared_info out of skbuff_small_head or a kmalloc cache, and the sk_buff itself.
    constexpr uint32_t HEADROOM = 46, SHARED_INFO = 320, SMALL_HEAD = 576, SKBUFF = 256;
    const uint32_t head = ((skb_len(skb) + HEADROOM + 63) & ~63u) + SHARED_INFO;
    return (head <= SMALL_HEAD ? SMALL_HEAD : std::bit_ceil(head)) + SKBUFF;
}

sk_buff* skb_copy(const sk_buff* skb) {
    const rte_mbuf* from = skb_mbuf(skb);
    rte_mbuf* to = skb_ops.alloc(from->pkt_len);
    if (unlikely(!to))
        return nullptr;
    sk_buff* copy = skb_from_mbuf(to);
    *copy = *skb;
    copy->next = nullptr;
    copy->dst = nullptr;
    copy->nfct = nullptr;
    shift_headers(copy, int(to->data_off) - int(from->data_off));

    // The link header that was pulled comes along, where it fits in front.
    unsigned before = skb->mac_header < from->data_off ? from->data_off - skb->mac_header : 0;
    if (before && before <= to->data_off)
        memcpy(seg_data(to) - before, seg_data(from) - before, before);

    unsigned offset = 0, left = from->pkt_len;
    for (rte_mbuf* m = to; left; m = m->next) {
        unsigned n = std::min<unsigned>(left, m->buf_len - m->data_off);
        skb_copy_bits(skb, offset, seg_data(m), n);
        m->data_len = uint16_t(n);
        offset += n;
        left -= n;
    }
    to->pkt_len = from->pkt_len;
    return copy;
}

void kfree_skb_reason(sk_buff* skb, skb_drop_reason reason) {
    if (!skb)
        return;
    softnet_data* sd = this_softnet();
    sd->drops[unsigned(reason)].inc();
    if (unlikely(sd->tracer))
        __trace_packet(skb, "kfree_skb_reason", "dropped: %s", drop_reason_name(reason));
    if (unlikely(sd->drop_mon))
        sd->drop_mon->dropped(sd->drop_mon, skb, reason);
    skb_ops.free(skb_mbuf(skb));
}

void consume_skb(sk_buff* skb) {
    if (skb)
        skb_ops.free(skb_mbuf(skb));
}

void skb_queue_purge_reason(sk_buff_head* list, skb_drop_reason reason) {
    while (sk_buff* skb = list->pop_front())
        kfree_skb_reason(skb, reason);
}

} // namespace slabfwd
