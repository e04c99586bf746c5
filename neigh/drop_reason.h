// SPDX-License-Identifier: BSD-3-Clause
//
// Why a packet was dropped: one reason and one counter each. Names as the kernel's skb:kfree_skb
// tracepoint prints them (include/net/dropreason-core.h, 6.18); our own, last, in the same style.
// Door: kfree_skb_reason (skbuff.h) counts; drop_reason_name() spells.
#pragma once

#include <cstdint>

namespace slabfwd {

// clang-format off
#define SLABFWD_DROP_REASONS(X)                                                                  \
    X(NOT_DROPPED_YET) X(NOT_SPECIFIED) X(NO_SOCKET) X(PKT_TOO_SMALL) X(TCP_CSUM) X(UDP_CSUM) X(NETFILTER_DROP)     \
    X(OTHERHOST) X(IP_CSUM) X(IP_INHDR) X(IP_RPFILTER) X(UNICAST_IN_L2_MULTICAST) X(XFRM_POLICY) \
    X(IP_NOPROTO) X(PROTO_MEM) X(IP_OUTNOROUTES) X(NEIGH_CREATEFAIL) X(NEIGH_FAILED)             \
    X(NEIGH_QUEUEFULL) X(NEIGH_DEAD) X(NEIGH_HH_FILLFAIL) X(SKB_CSUM) X(SKB_GSO_SEG)             \
    X(SKB_UCOPY_FAULT) X(DEV_HDR) X(DEV_READY) X(CPU_BACKLOG) X(FULL_RING) X(NOMEM)              \
    X(HDR_TRUNC) X(ICMP_CSUM)                                                                    \
    X(INVALID_PROTO) X(IP_INADDRERRORS) X(IP_INNOROUTES) X(IP_LOCAL_SOURCE)                      \
    X(IP_INVALID_SOURCE) X(IP_LOCALNET) X(IP_INVALID_DEST) X(PKT_TOO_BIG) X(DUP_FRAG)            \
    X(FRAG_REASM_TIMEOUT) X(FRAG_TOO_FAR) X(UNHANDLED_PROTO) X(ARP_PVLAN_DISABLE)                \
    X(MAC_INVALID_SOURCE) X(IP_TUNNEL_ECN) X(TTL_EXPIRED) X(BLACKHOLE) X(FRAG_INVALID)           \
    X(QUEUE_PURGE)                                                                               \
    X(ROUTE_CACHE_FULL) X(TX_RING_FULL) X(TX_ERROR) X(HELD_LIMIT) X(IP_OPTIONS) X(FORWARDING_OFF)\
    X(ICMP_RATELIMIT) X(SHUTDOWN) X(VLAN_TAG) X(XMIT_RECURSION)\
    X(ROUTE_UNREACHABLE) X(ROUTE_PROHIBIT)
// clang-format on

/// The reason of a drop; every drop has exactly one.
enum class skb_drop_reason : uint8_t {
#define X(name) name,
    SLABFWD_DROP_REASONS(X)
#undef X
        MAX
};
constexpr unsigned NR_DROP_REASONS = unsigned(skb_drop_reason::MAX);

/// The reason as the tracepoint spells it, without the SKB_DROP_REASON_ prefix: "IP_CSUM".
const char* drop_reason_name(skb_drop_reason reason);

} // namespace slabfwd
