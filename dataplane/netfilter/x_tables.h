// SPDX-License-Identifier: BSD-3-Clause
//
// What a rule of the packet filter is made of: matches and targets, and the packet as they see it.
// A packet of a burst has no sk_buff until a match or target asks for one (xt_skb); what most rules
// look at (header, ports, devices) does without. Doors: xt_find_match, xt_find_target,
// xt_header_pointer, xt_skb. Threads: match and target functions run on any worker, several at a
// time; an extension's `state` is shared by all of them and guards itself. Origin:
// include/linux/netfilter/x_tables.h; what is decided where iptables on nf_tables differs from the
// older back end is decided as on nf_tables (6.18, iptables 1.8.9).
#pragma once

#include <atomic>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "dataplane/netfilter/netfilter.h"

namespace slabfwd {

/// What a target may answer besides NF_*: go on with the next rule.
constexpr unsigned XT_CONTINUE = 0xffffffff;

struct nf_hook_burst;

/// A packet on its way through the rules of one hook. Origin: struct xt_action_param.
struct xt_action_param {
    net* n;
    iphdr* iph;
    sk_buff* skb;         ///< null until xt_skb(), in a burst
    nf_hook_burst* burst; ///< where xt_skb gets it
    unsigned index;
    net_device *in, *out;
    unsigned hook;
    uint32_t len;     ///< of the packet from its IP header
    uint32_t headlen; ///< bytes that lie contiguously from iph
    uint16_t thoff, fragoff;
    bool hotdrop;
};
/// Fills in par for a packet that has its sk_buff (data at the IP header).
void xt_param_of_skb(xt_action_param& par, sk_buff* skb, const nf_hook_state& state);
/// The packet's sk_buff; never null.
sk_buff* xt_skb(xt_action_param& par);
/// len bytes at offset from the IP header: where they lie when contiguous, else copied to buf; null
/// when the packet is shorter. Origin: skb_header_pointer.
const void* xt_header_pointer(xt_action_param& par, unsigned offset, unsigned len, void* buf);
/// TCP/UDP ports in host order; false when this is a later fragment or they are not there.
bool xt_ports(xt_action_param& par, uint16_t* sport, uint16_t* dport);
/// The port at offset (0: source, 2: destination) behind the IP header, whatever stands there in a
/// later fragment; false when the packet is shorter. Origin: nft_payload_fast_eval.
[[gnu::always_inline]] inline bool xt_payload_port(xt_action_param& par, unsigned offset,
                                                   uint16_t* port) {
    be16_t buf;
    auto* p =
        static_cast<const be16_t*>(xt_header_pointer(par, par.thoff + offset, sizeof buf, &buf));
    if (p)
        *port = be16_to_cpu(*p);
    return p;
}

/// A kind of match. Origin: struct xt_match.
struct xt_match {
    const char* name;
    /// Null: always true (comment). `state` is of statesize bytes, or null.
    bool (*match)(xt_action_param& par, const void* info, void* state);
    unsigned matchsize;
    uint16_t proto = 0;          ///< needs -p of this number
    uint32_t hooks = 0;          ///< bits of the hooks where it may stand; 0: all
    bool ordered = false;        ///< the answer depends on the packets before
    const char* table = nullptr; ///< only there
    /// 0 or -errno for a rule reachable from the hooks in hook_mask. May be null.
    int (*checkentry)(const void* info, uint32_t hook_mask) = nullptr;
    /// Makes the state of a new rule. May be null: none.
    std::shared_ptr<void> (*state)(const void* info) = nullptr;
};

/// A kind of target. Origin: struct xt_target.
struct xt_target {
    const char* name;
    unsigned (*target)(xt_action_param& par, const void* info);
    unsigned targetsize;
    uint16_t proto = 0;
    uint32_t hooks = 0;
    bool ordered = false;
    const char* table = nullptr;
    int (*checkentry)(const void* info, uint32_t hook_mask) = nullptr;
};

/// Null when there is none of that name.
const xt_match* xt_find_match(std::string_view name);
const xt_target* xt_find_target(std::string_view name);

constexpr uint32_t hook_bit(unsigned hook) {
    return 1u << hook;
}

// ---- what the extensions are told: their part of a rule. Values in host order.

constexpr uint8_t XT_INV_SRCPT = 1, XT_INV_DSTPT = 2, XT_INV_FLAGS = 4, XT_INV_OPTION = 8;
struct xt_tcp {
    uint16_t spts[2] = {0, 0xffff}, dpts[2] = {0, 0xffff};
    uint8_t option = 0, flg_mask = 0, flg_cmp = 0, invflags = 0;
    /// Asks for what nf_tables has no expression for (or nothing): x_tables' own match judges.
    bool by_xt() const {
        return option || (!flg_mask && !invflags && spts[0] == 0 && spts[1] == 0xffff &&
                          dpts[0] == 0 && dpts[1] == 0xffff);
    }
};
struct xt_udp {
    uint16_t spts[2] = {0, 0xffff}, dpts[2] = {0, 0xffff};
    uint8_t invflags = 0;
    bool by_xt() const {
        return !invflags && spts[0] == 0 && spts[1] == 0xffff && dpts[0] == 0 && dpts[1] == 0xffff;
    }
};
struct ipt_icmp {
    uint8_t type = 0xff, code[2] = {0, 0xff}, invflags = 0;
};
constexpr unsigned XT_MULTI_PORTS = 15;
constexpr uint8_t XT_MULTIPORT_SOURCE = 0, XT_MULTIPORT_DESTINATION = 1, XT_MULTIPORT_EITHER = 2;
struct xt_multiport {
    uint8_t flags = 0, count = 0; ///< count of ports: a range takes two
    uint16_t ports[XT_MULTI_PORTS] = {};
    uint8_t pflags[XT_MULTI_PORTS] = {}; ///< begins a range
    uint8_t invert = 0;
};
constexpr uint8_t IPRANGE_SRC = 1, IPRANGE_DST = 2, IPRANGE_SRC_INV = 16, IPRANGE_DST_INV = 32;
struct xt_iprange {
    uint32_t src_min = 0, src_max = 0, dst_min = 0, dst_max = 0;
    uint8_t flags = 0;
};
constexpr uint8_t IPT_TTL_EQ = 0, IPT_TTL_NE = 1, IPT_TTL_LT = 2, IPT_TTL_GT = 3;
struct ipt_ttl {
    uint8_t mode = 0, ttl = 0;
};
struct xt_length {
    uint16_t min = 0, max = 0;
    uint8_t invert = 0;
};
struct xt_dscp {
    uint8_t dscp = 0, invert = 0;
};
struct xt_tos {
    uint8_t mask = 0xff, value = 0, invert = 0;
};
struct xt_mark {
    uint32_t mark = 0, mask = 0xffffffff;
    uint8_t invert = 0;
};
struct xt_mac {
    uint8_t srcaddr[ETH_ALEN] = {};
    uint8_t invert = 0;
};
constexpr uint32_t XT_LIMIT_SCALE = 10000;
struct xt_limit {
    uint32_t avg = XT_LIMIT_SCALE * 60 * 60 / 3; ///< time between packets, in 1/10000 s
    uint32_t burst = 5;
};
constexpr unsigned XT_MAX_COMMENT_LEN = 256;
struct xt_comment {
    char comment[XT_MAX_COMMENT_LEN] = {};
};
constexpr uint8_t XT_ADDRTYPE_INVERT_SOURCE = 1, XT_ADDRTYPE_INVERT_DEST = 2,
                  XT_ADDRTYPE_LIMIT_IFACE_IN = 4, XT_ADDRTYPE_LIMIT_IFACE_OUT = 8;
struct xt_addrtype {
    uint16_t source = 0, dest = 0; ///< bits of RTN_*; 0: not asked
    uint8_t flags = 0;
};
constexpr uint16_t XT_STATISTIC_RANDOM = 0, XT_STATISTIC_NTH = 1;
struct xt_statistic {
    uint16_t mode = 0xffff;
    uint8_t invert = 0;
    uint32_t probability = 0;                  ///< of 2^31
    uint32_t every = 0, packet = 0, count = 0; ///< `every` less one; count: where it begins
};
struct xt_pkttype {
    int type = 0;
    uint8_t invert = 0;
};

enum class ipt_reject_with : uint8_t {
    ICMP_NET_UNREACHABLE,
    ICMP_HOST_UNREACHABLE,
    ICMP_PROT_UNREACHABLE,
    ICMP_PORT_UNREACHABLE,
    ICMP_ECHOREPLY,
    ICMP_NET_PROHIBITED,
    ICMP_HOST_PROHIBITED,
    TCP_RESET,
    ICMP_ADMIN_PROHIBITED,
};
struct ipt_reject_info {
    ipt_reject_with with = ipt_reject_with::ICMP_PORT_UNREACHABLE;
};
constexpr uint8_t XT_LOG_TCPSEQ = 1, XT_LOG_TCPOPT = 2, XT_LOG_IPOPT = 4, XT_LOG_UID = 8,
                  XT_LOG_MACDECODE = 32;
struct xt_log_info {
    uint8_t level = 4, logflags = 0;
    char prefix[30] = {};
};
struct xt_mark_tginfo {
    uint32_t mark = 0, mask = 0;
};
struct xt_tos_target_info {
    uint8_t value = 0, mask = 0;
};
struct xt_DSCP_info {
    uint8_t dscp = 0;
};
constexpr uint8_t IPT_TTL_SET = 0, IPT_TTL_INC = 1, IPT_TTL_DEC = 2;
struct ipt_TTL_info {
    uint8_t mode = 0, ttl = 0;
};
constexpr uint16_t XT_TCPMSS_CLAMP_PMTU = 0xffff;
struct xt_tcpmss_info {
    uint16_t mss = 0;
};
/// NOTRACK, and CT --notrack.
struct xt_ct_info {
    uint8_t notrack_alias = 0; ///< was written -j NOTRACK
};

// The functions behind the tables of x_tables.cc, by the file that they are in.
namespace xt {
#define SLABFWD_XT_MATCHES(X)                                                                      \
    X(tcp_mt)                                                                                      \
    X(udp_mt)                                                                                      \
    X(icmp_match) X(multiport_mt) X(iprange_mt) X(ttl_mt) X(length_mt) X(dscp_mt) X(tos_mt)        \
        X(mark_mt) X(mac_mt) X(limit_mt) X(addrtype_mt) X(statistic_mt) X(pkttype_mt)
#define X(f) bool f(xt_action_param& par, const void* info, void* state);
SLABFWD_XT_MATCHES(X)
#undef X
#define SLABFWD_XT_TARGETS(X)                                                                      \
    X(reject_tg) X(log_tg) X(mark_tg) X(tos_tg) X(dscp_tg) X(ttl_tg) X(tcpmss_tg) X(notrack_tg)
#define X(f) unsigned f(xt_action_param& par, const void* info);
SLABFWD_XT_TARGETS(X)
#undef X
int addrtype_mt_checkentry(const void* info, uint32_t hook_mask);
int tcpmss_tg_check(const void* info, uint32_t hook_mask);
std::shared_ptr<void> limit_mt_state(const void* info);
std::shared_ptr<void> statistic_mt_state(const void* info);
} // namespace xt

/// Routes skb anew after its addresses, mark or TOS have changed. 0 or -errno; skb stays the
/// caller's. Origin: ip_route_me_harder (net/ipv4/netfilter.c).
int ip_route_me_harder(net& n, sk_buff* skb, uint8_t addr_type);

/// Replaces one 16-bit word in a checksum. Origin: csum_replace2 (RFC 1624).
inline void csum_replace2(be16_t* sum, be16_t from, be16_t to) {
    uint32_t s = uint32_t(uint16_t(~sum->raw)) + uint16_t(~from.raw) + to.raw;
    s = (s & 0xffff) + (s >> 16);
    s = (s & 0xffff) + (s >> 16);
    sum->raw = uint16_t(~s);
}

} // namespace slabfwd
