// SPDX-License-Identifier: BSD-3-Clause
//
// sk_buff: a packet that has left the burst, as the per-packet functions see it. It is no buffer of
// its own but a view that lies in the private area directly behind its rte_mbuf (SKB_PRIV_SIZE of
// every pool), so that changing from one to the other is an addition, and nothing is allocated.
// Door: skb_from_mbuf / skb_mbuf, skb_init, alloc_skb, kfree_skb_reason / consume_skb.
// Data pointers follow the mbuf (data_off, data_len, pkt_len); headers are offsets from the start
// of the buffer. Jumbo frames are chains of mbufs: pskb_may_pull brings bytes into the first
// segment. Threads: a packet belongs to one slot at a time. Origin: include/linux/skbuff.h.
#pragma once

#include <rte_mbuf.h>

#include "neigh/drop_reason.h"
#include "neigh/netdevice.h"
#include "neigh/wire.h"

namespace slabfwd {

struct dst_entry;

constexpr uint8_t PACKET_HOST = 0, PACKET_BROADCAST = 1, PACKET_MULTICAST = 2, PACKET_OTHERHOST = 3,
                  PACKET_OUTGOING = 4, PACKET_LOOPBACK = 5;
constexpr uint8_t CHECKSUM_NONE = 0,
                  CHECKSUM_UNNECESSARY = 1; ///< ip_summed: header checksum known good

/// Parsed IP options of a packet: offsets from the start of the IP header. Origin: struct
/// ip_options.
struct ip_options {
    be32_t faddr; ///< final destination of a source route being echoed; first hop
    be32_t nexthop;
    uint8_t optlen = 0, srr = 0, rr = 0, ts = 0;
    bool is_strictroute = false, srr_is_hit = false, is_changed = false, rr_needaddr = false,
         ts_needtime = false, ts_needaddr = false;
    uint8_t router_alert = 0, cipso = 0;
};

constexpr uint16_t IPSKB_FORWARDED = 1, IPSKB_XFRM_TUNNEL_SIZE = 2, IPSKB_XFRM_TRANSFORMED = 4,
                   IPSKB_FRAG_COMPLETE = 8, IPSKB_REROUTED = 16, IPSKB_DOREDIRECT = 32,
                   IPSKB_FRAG_PMTU = 64, IPSKB_L3SLAVE = 128, IPSKB_MCROUTED = 256;

/// Control block of a packet inside IP. Origin: struct inet_skb_parm (include/net/ip.h).
struct inet_skb_parm {
    ip_options opt;
    uint16_t flags = 0;         ///< IPSKB_*
    uint16_t frag_max_size = 0; ///< largest fragment of a reassembled packet
};

struct sk_buff {
    sk_buff* next;   ///< list link: queue of a neighbour, fragments, a caller's list
    net_device* dev; ///< arrived on, later: leaves by
    dst_entry* dst;  ///< route, not counted (good to the end of the burst); null when unknown
    uint64_t tstamp; ///< ns, receive time on the slot's clock
    uint16_t mac_header, network_header, transport_header; ///< offsets from m->buf_addr
    be16_t protocol;                                       ///< EtherType
    uint8_t pkt_type;                                      ///< PACKET_*
    uint8_t ip_summed;                                     ///< CHECKSUM_*
    uint8_t nf_trace;
    uint8_t originated; ///< made here (ICMP, ARP, local out)
    uint32_t mark, priority;
    int skb_iif;       ///< ifindex of arrival; 0 for packets made here
    uint32_t rt_flags; ///< RTCF_* of dst, kept when the packet is held without it (see neighbour.h)
    uint32_t rt_mtu;   ///< path mtu of dst, likewise
    uint16_t rt_type;  ///< RTN_*, likewise
    bool rt_is_input;  ///< dst came from ip_route_input
    void* nfct;        ///< connection tracking entry, when there is one
    inet_skb_parm cb;
};
constexpr unsigned SKB_PRIV_SIZE = 192; ///< private area of every mbuf pool, a multiple of 64
static_assert(sizeof(sk_buff) <= SKB_PRIV_SIZE);
static_assert(sizeof(rte_mbuf) == 128);

inline sk_buff* skb_from_mbuf(rte_mbuf* m) {
    return reinterpret_cast<sk_buff*>(m + 1);
}
inline rte_mbuf* skb_mbuf(const sk_buff* skb) {
    return reinterpret_cast<rte_mbuf*>(const_cast<sk_buff*>(skb)) - 1;
}
inline inet_skb_parm* IPCB(sk_buff* skb) {
    return &skb->cb;
}

/// Starts the view of a received frame (data at the Ethernet header): every field set, dev and iif
/// = dev.
void skb_init(sk_buff* skb, net_device* dev, uint64_t tstamp);

inline uint8_t* skb_data(const sk_buff* skb) {
    return rte_pktmbuf_mtod(skb_mbuf(skb), uint8_t*);
}
inline uint32_t skb_len(const sk_buff* skb) {
    return skb_mbuf(skb)->pkt_len;
}
inline uint32_t skb_headlen(const sk_buff* skb) {
    return skb_mbuf(skb)->data_len;
}
inline uint8_t* skb_head(const sk_buff* skb) {
    return static_cast<uint8_t*>(skb_mbuf(skb)->buf_addr);
}
inline void skb_reset_mac_header(sk_buff* skb) {
    skb->mac_header = skb_mbuf(skb)->data_off;
}
inline void skb_reset_network_header(sk_buff* skb) {
    skb->network_header = skb_mbuf(skb)->data_off;
}
inline void skb_reset_transport_header(sk_buff* skb) {
    skb->transport_header = skb_mbuf(skb)->data_off;
}
inline uint8_t* skb_mac_header(const sk_buff* skb) {
    return skb_head(skb) + skb->mac_header;
}
inline uint8_t* skb_network_header(const sk_buff* skb) {
    return skb_head(skb) + skb->network_header;
}
inline uint8_t* skb_transport_header(const sk_buff* skb) {
    return skb_head(skb) + skb->transport_header;
}
inline ethhdr* eth_hdr(const sk_buff* skb) {
    return reinterpret_cast<ethhdr*>(skb_mac_header(skb));
}
inline iphdr* ip_hdr(const sk_buff* skb) {
    return reinterpret_cast<iphdr*>(skb_network_header(skb));
}
inline unsigned ip_hdrlen(const sk_buff* skb) {
    return ip_hdr(skb)->hdr_len();
}

/// Drops len bytes from the front / takes them back; the caller has checked that they are there
/// (pskb_may_pull / headroom). Return the new start of data.
uint8_t* skb_pull(sk_buff* skb, unsigned len);
uint8_t* skb_push(sk_buff* skb, unsigned len);
/// Extends the data by len bytes at the end (single-segment packets with tailroom); start of the
/// new bytes.
uint8_t* skb_put(sk_buff* skb, unsigned len);
/// Makes the first len bytes contiguous; false when the packet is shorter or the first segment has
/// no room (the packet is then unchanged).
bool pskb_may_pull(sk_buff* skb, unsigned len);
/// Cuts the packet to len bytes of data. Origin: pskb_trim_rcsum.
void skb_trim(sk_buff* skb, unsigned len);
/// Copies len bytes from offset (relative to data) to `to`, over segments; false when too short.
bool skb_copy_bits(const sk_buff* skb, unsigned offset, void* to, unsigned len);
/// One's complement sum of len bytes from offset (which must be there), over segments.
uint32_t skb_checksum(const sk_buff* skb, unsigned offset, unsigned len, uint32_t sum);

/// What the packet weighs in the queues that are bounded in bytes: the memory that the kernel would
/// charge for it (a head of fixed size for small packets). Origin: skb->truesize.
uint32_t skb_truesize(const sk_buff* skb);

/// Where packets come from and go to: the mbuf pool of the program, plain memory in unit tests.
/// Filled in once at start; neigh/ needs no started EAL. Any slot.
struct skb_operations {
    /// A packet with headroom >= 128 and room for size bytes of data (chained when larger than a
    /// segment), data_len 0; null when the pool is empty.
    rte_mbuf* (*alloc)(unsigned size);
    /// Frees a packet with all its segments, or one segment that was unlinked (next null, nb_segs
    /// 1).
    void (*free)(rte_mbuf* m);
};
extern skb_operations skb_ops;

/// A new packet made here: dev null, data empty, `originated` set; the caller counts
/// balance_stat::originated once it is really on its way (before the call that may drop it). Null
/// when out of packets.
sk_buff* alloc_skb(unsigned size);
/// A deep copy of skb (data, headers, marks; not dst), or null. For multicast and loopback clones
/// the caller counts balance_stat::copies.
sk_buff* skb_copy(const sk_buff* skb);

/// Drops a packet: counts reason on the calling slot, shows it to the tracer and the drop monitor,
/// frees. Null is fine.
void kfree_skb_reason(sk_buff* skb, skb_drop_reason reason);
/// Frees a packet that was consumed here (not dropped). Counts nothing.
void consume_skb(sk_buff* skb);

/// FIFO of packets linked by skb->next. Not locked.
struct sk_buff_head {
    sk_buff *head = nullptr, *tail = nullptr;
    uint32_t qlen = 0;
    void push_back(sk_buff* skb) {
        skb->next = nullptr;
        (tail ? tail->next : head) = skb;
        tail = skb;
        ++qlen;
    }
    sk_buff* pop_front() {
        sk_buff* skb = head;
        if (skb) {
            head = skb->next;
            if (!head)
                tail = nullptr;
            skb->next = nullptr;
            --qlen;
        }
        return skb;
    }
};
/// Drops all that is queued, with reason. Origin: skb_queue_purge_reason.
void skb_queue_purge_reason(sk_buff_head* list, skb_drop_reason reason);

} // namespace slabfwd
