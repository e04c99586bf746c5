// SPDX-License-Identifier: BSD-3-Clause
//
// `ip rule`: which table a packet is looked up in. A list sorted by priority, equal ones in the
// order they came; the first rule that matches and whose table has an answer decides. Doors:
// fib_rule_add, fib_rule_del, fib_rules_dump (control thread, under rtnl); fib_rules_lookup (any
// slot, under RCU), which fib_lookup calls once a rule command has been given.
// Origin: net/core/fib_rules.c, net/ipv4/fib_rules.c (6.18).
#pragma once

#include <string>

#include "route/ip_fib.h"

namespace slabfwd {

constexpr uint8_t FR_ACT_UNSPEC = 0, FR_ACT_TO_TBL = 1, FR_ACT_GOTO = 2, FR_ACT_NOP = 3,
                  FR_ACT_BLACKHOLE = 6, FR_ACT_UNREACHABLE = 7, FR_ACT_PROHIBIT = 8;

/// A range of ports, both ends included; start 0: any.
struct fib_rule_port_range {
    uint16_t start = 0, end = 0;
};

/// What a rule asks for and does: as a command gives it, and as a dump shows it.
struct fib_rule_config {
    bool pref_given = false;
    uint32_t pref = 0; ///< priority
    uint8_t action = FR_ACT_TO_TBL;
    bool action_given = false; ///< deletion: compare it (a table that is given says FR_ACT_TO_TBL)
    uint32_t table = 0;        ///< RT_TABLE_UNSPEC: one without routes for a new rule that looks
                               ///< up; any for a deletion
    bool target_given = false; ///< FR_ACT_GOTO:
    uint32_t target = 0;       ///< the priority to go on with
    bool unresolved = false;   ///< dump: no rule has the priority `target`
    bool invert = false;       ///< `not`
    uint8_t src_len = 0, dst_len = 0;
    be32_t src{}, dst{};
    std::string iifname, oifname;                    ///< "" any
    bool iif_detached = false, oif_detached = false; ///< dump: there is no such device now
    uint32_t mark = 0, mark_mask = 0;                ///< mark_mask 0: any mark
    uint8_t tos = 0;        ///< 0: any; compared with three bits of the packet's TOS
    bool dscp_full = false; ///< `dscp` was given: compare all six bits of `dscp` instead
    uint8_t dscp = 0;       ///< shifted as in the TOS octet
    uint8_t ip_proto = 0;
    fib_rule_port_range sport, dport;
    bool uid_given = false; ///< the owners whose packets are meant, both ends included
    uint32_t uid_start = 0, uid_end = UINT32_MAX;
    uint64_t tun_id = 0;         ///< of the tunnel a packet came by; 0: any
    uint32_t realms = 0;         ///< from << 16 | to; kept and shown, nothing here counts by them
    int suppress_prefixlen = -1; ///< results of this prefix length or shorter do not count; -1: off
    int suppress_ifgroup = -1;   ///< results out of a device of this group do not count; -1: off
    bool l3mdev = false;         ///< table of the packet's VRF
    uint8_t protocol = 0;        ///< RTPROT_*: who made it
};

/// Adds a rule; without a priority it goes in front of the second one of the list, as on Linux. 0
/// or -errno: -EEXIST (exclusive, and the same rule is there), -EINVAL, -ENOBUFS. Flushes the
/// cache. Origin: fib_nl_newrule.
int fib_rule_add(net& n, const fib_rule_config& cfg, bool exclusive, netlink_ext_ack* extack);
/// Removes the first rule that has all that is given. 0, -ENOENT, -EINVAL. Origin: fib_nl_delrule.
int fib_rule_del(net& n, const fib_rule_config& cfg, netlink_ext_ack* extack);
/// Calls fn for every rule in order, until it returns false.
void fib_rules_dump(net& n, bool (*fn)(const fib_rule_config&, void*), void* cookie);

/// The answer of the rules: as fib_lookup. Any slot, under RCU.
int fib_rules_lookup(net& n, const flowi4* flp, fib_result* res, int flags);
/// True after the first rule command. Origin: fib4_has_custom_rules.
bool fib4_has_custom_rules(const net& n);
/// Fills protocol and ports of fl4 from the packet when some rule asks for them (first fragments
/// and whole packets only). True when it did. Origin: fib4_rules_early_flow_dissect.
bool fib4_rules_early_flow_dissect(net& n, const sk_buff* skb, flowi4* fl4);

// For fib_frontend.cc.
int fib4_rules_init(net& n);
void fib4_rules_exit(net& n);
/// A device came or went: rules by name find it or lose it. Origin: fib_rules_event.
void fib_rules_event(netdev_event event, net_device* dev);

} // namespace slabfwd
