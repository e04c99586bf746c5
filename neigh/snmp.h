// SPDX-License-Identifier: BSD-3-Clause
//
// SNMP counters under their kernel names: /proc/net/snmp (Ip, Icmp, IcmpMsg, Tcp, Udp, UdpLite) and
// /proc/net/netstat (IpExt). One array per CPU slot, written by its owner, summed by readers.
// Door: IP_INC_STATS & co. in softnet.h. Origin: include/uapi/linux/snmp.h, net/ipv4/proc.c.
#pragma once

#include "neigh/rcu.h"

namespace slabfwd {

// clang-format off
/// X(enumerator, name printed in /proc/net/snmp or netstat)
#define SLABFWD_IPSTATS(X)                                                                        \
    X(INPKTS, InReceives) X(INHDRERRORS, InHdrErrors) X(INADDRERRORS, InAddrErrors)               \
    X(OUTFORWDATAGRAMS, ForwDatagrams) X(INUNKNOWNPROTOS, InUnknownProtos) X(INDISCARDS, InDiscards)\
    X(INDELIVERS, InDelivers) X(OUTREQUESTS, OutRequests) X(OUTDISCARDS, OutDiscards)             \
    X(OUTNOROUTES, OutNoRoutes) X(REASMTIMEOUT, ReasmTimeout) X(REASMREQDS, ReasmReqds)           \
    X(REASMOKS, ReasmOKs) X(REASMFAILS, ReasmFails) X(FRAGOKS, FragOKs) X(FRAGFAILS, FragFails)   \
    X(FRAGCREATES, FragCreates) X(OUTPKTS, OutTransmits)                                          \
    X(INNOROUTES, InNoRoutes) X(INTRUNCATEDPKTS, InTruncatedPkts) X(INMCASTPKTS, InMcastPkts)     \
    X(OUTMCASTPKTS, OutMcastPkts) X(INBCASTPKTS, InBcastPkts) X(OUTBCASTPKTS, OutBcastPkts)       \
    X(INOCTETS, InOctets) X(OUTOCTETS, OutOctets) X(INMCASTOCTETS, InMcastOctets)                 \
    X(OUTMCASTOCTETS, OutMcastOctets) X(INBCASTOCTETS, InBcastOctets)                             \
    X(OUTBCASTOCTETS, OutBcastOctets) X(CSUMERRORS, InCsumErrors) X(NOECTPKTS, InNoECTPkts)       \
    X(ECT1PKTS, InECT1Pkts) X(ECT0PKTS, InECT0Pkts) X(CEPKTS, InCEPkts)                           \
    X(REASM_OVERLAPS, ReasmOverlaps)
#define SLABFWD_ICMPSTATS(X)                                                                      \
    X(INMSGS, InMsgs) X(INERRORS, InErrors) X(CSUMERRORS, InCsumErrors)                           \
    X(OUTMSGS, OutMsgs) X(OUTERRORS, OutErrors) X(RATELIMITGLOBAL, OutRateLimitGlobal)            \
    X(RATELIMITHOST, OutRateLimitHost)
#define SLABFWD_UDPSTATS(X)                                                                       \
    X(INDATAGRAMS, InDatagrams) X(NOPORTS, NoPorts) X(INERRORS, InErrors)                         \
    X(OUTDATAGRAMS, OutDatagrams) X(RCVBUFERRORS, RcvbufErrors) X(SNDBUFERRORS, SndbufErrors)     \
    X(CSUMERRORS, InCsumErrors) X(IGNOREDMULTI, IgnoredMulti) X(MEMERRORS, MemErrors)
#define SLABFWD_TCPSTATS(X)                                                                       \
    X(INSEGS, InSegs) X(OUTSEGS, OutSegs) X(INERRS, InErrs) X(OUTRSTS, OutRsts)                   \
    X(CSUMERRORS, InCsumErrors)
/// X(enumerator, column of /proc/net/stat/rt_cache), in column order after `entries`.
#define SLABFWD_RTSTATS(X)                                                                        \
    X(in_hit) X(in_slow_tot) X(in_slow_mc) X(in_no_route) X(in_brd) X(in_martian_dst)             \
    X(in_martian_src) X(out_hit) X(out_slow_tot) X(out_slow_mc) X(gc_total) X(gc_ignored)         \
    X(gc_goal_miss) X(gc_dst_overflow) X(in_hlist_search) X(out_hlist_search)                     \
    X(allocated) X(collected) X(uncached) X(missed) X(revalidated)                              \
    X(unadmitted)
/// X(counter of /proc/net/stat/arp_cache), struct neigh_statistics.
#define SLABFWD_NDSTATS(X)                                                                        \
    X(allocs) X(destroys) X(hash_grows) X(lookups) X(hits) X(res_failed) X(rcv_probes_mcast)      \
    X(rcv_probes_ucast) X(periodic_gc_runs) X(forced_gc_runs) X(unres_discards) X(table_fulls)
/// What the balance of DESIGN needs beside ports and drops: rx + originated + fragments_created + copies
/// = tx + delivered + fragmented + drops + held.
#define SLABFWD_BALANCE(X) X(originated) X(copies) X(delivered) X(fragmented) X(fragments_created)
// clang-format on

#define X(e, ...) e,
enum class ipstats_mib : uint8_t { SLABFWD_IPSTATS(X) MAX };
enum class icmp_mib : uint8_t { SLABFWD_ICMPSTATS(X) MAX };
enum class udp_mib : uint8_t { SLABFWD_UDPSTATS(X) MAX };
enum class tcp_mib : uint8_t { SLABFWD_TCPSTATS(X) MAX };
enum class rt_cache_stat : uint8_t { SLABFWD_RTSTATS(X) MAX };
enum class neigh_statistics : uint8_t { SLABFWD_NDSTATS(X) MAX };
enum class balance_stat : uint8_t { SLABFWD_BALANCE(X) MAX };
#undef X

/// A fixed array of per-CPU counters indexed by an enum class.
template <class E>
struct mib_array {
    cpu_counter c[unsigned(E::MAX)];
    cpu_counter& operator[](E e) { return c[unsigned(e)]; }
    const cpu_counter& operator[](E e) const { return c[unsigned(e)]; }
};

} // namespace slabfwd
