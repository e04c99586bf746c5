// SPDX-License-Identifier: BSD-3-Clause
//
// The forwarding information base: tables of prefixes (fib_table -> fn_hash -> fn_zone -> fib_node
// -> fib_alias), shared next-hop objects (fib_info with fib_nh), rules that choose the table
// (fib_rules.h). Doors: fib_lookup (any slot, under RCU), inet_rtm_newroute & co. (control thread,
// under rtnl) for the command line. Threads: readers follow RCU
// links; writers hold net.rtnl, and call rt_cache_flush afterwards. Slabs: ip_fib_hash (fib_node),
// ip_fib_alias; fib_info and tables by kmalloc. Origin: net/ipv4/fib_hash.c (2.6.32),
// fib_semantics.c, fib_frontend.c (6.18 for what is decided).
#pragma once

#include <string>
#include <vector>

#include "neigh/arp.h"
#include "neigh/inetdevice.h"
#include "neigh/net_namespace.h"
#include "route/fib_nh_list.h"

namespace slabfwd {

struct rtable;
struct fib_table;
struct fib_node;

constexpr uint32_t RT_TABLE_UNSPEC = 0, RT_TABLE_DEFAULT = 253, RT_TABLE_MAIN = 254,
                   RT_TABLE_LOCAL = 255;
constexpr uint8_t RTPROT_UNSPEC = 0, RTPROT_REDIRECT = 1, RTPROT_KERNEL = 2, RTPROT_BOOT = 3,
                  RTPROT_STATIC = 4;
constexpr uint32_t RTNH_F_DEAD = 1, RTNH_F_PERVASIVE = 2, RTNH_F_ONLINK = 4, RTNH_F_LINKDOWN = 16;
constexpr uint32_t LOOPBACK_IFINDEX = 1;
constexpr uint8_t RTN_MAX = 11; ///< RTN_XRESOLVE; RTN_* themselves are in neigh/arp.h
/// Flag of the lookups: next hops without carrier are good even where ignore_routes_with_linkdown
/// is set.
constexpr int FIB_LOOKUP_IGNORE_LINKSTATE = 2;
constexpr uint8_t AF_INET_ = 2, AF_INET6_ = 10; ///< values of fib_nh::gw_family

/// What is looked up. Origin: struct flowi4.
struct flowi4 {
    int flowi4_oif = 0, flowi4_iif = 0;
    uint32_t flowi4_mark = 0;
    uint8_t flowi4_tos = 0; ///< DSCP bits (INET_DSCP_MASK)
    uint8_t flowi4_scope = RT_SCOPE_UNIVERSE;
    uint8_t flowi4_proto = 0;
    uint8_t flowi4_flags = 0; ///< FLOWI_FLAG_*
    be32_t saddr{}, daddr{};
    be16_t fl4_sport{}, fl4_dport{}; ///< 0: not known (fragments)
    int flowi4_l3mdev = 0;
    uint32_t flowi4_multipath_hash = 0;
};

/// A next hop of a fib_info. Origin: struct fib_nh(_common).
struct fib_nh {
    net_device* fib_nh_dev = nullptr;
    struct fib_info* nh_parent = nullptr;
    int fib_nh_oif = 0;
    be32_t fib_nh_gw4{};   ///< 0: on link
    uint8_t gw_family = 0; ///< 0, AF_INET or AF_INET6
    uint8_t gw6[16] = {};
    be32_t gw6_key{}; ///< what gw6 is called in net.nd_tbl
    uint8_t fib_nh_scope = 0;
    sysctl_int fib_nh_flags{0}; ///< RTNH_F_*
    int fib_nh_weight = 1;
    std::atomic<int> fib_nh_upper_bound{0}; ///< multipath: share of the 31-bit hash space
    /// Preferred source: nh_saddr_genid in the high, the address (raw) in the low half, so that
    /// both are of one moment. Read it with fib_result_prefsrc or fib_nh_saddr.
    std::atomic<uint64_t> nh_saddr{0};
    rtable** nh_rth_input = nullptr; ///< [slot]: the next hop's own entry, each its slot's alone
    rtable** nh_rth_output = nullptr;
};

constexpr unsigned RTAX_MTU = 2, RTAX_ADVMSS = 8, RTAX_HOPLIMIT = 10, RTAX_MAX = 17;

/// The next hop's own source address, as it was when last asked for.
inline be32_t fib_nh_saddr(const fib_nh* nh) {
    return {uint32_t(nh->nh_saddr.load(std::memory_order_relaxed))};
}

/// What routes share: next hops, metrics, protocol, preferred source. From kmalloc; RCU.
/// The tree's own count (fib_clntref starts at 1) is given back a grace period after the last alias
/// has gone, so that whoever found the object under RCU may fib_info_hold() it.
struct fib_info {
    std::atomic<int> fib_clntref{1}; ///< users: aliases and cache entries
    int fib_treeref = 0;             ///< aliases; under rtnl
    std::atomic<uint8_t> fib_dead{0};
    uint8_t fib_protocol = 0, fib_scope = 0, fib_type = 0;
    be32_t fib_prefsrc{};
    uint32_t fib_tb_id = 0, fib_priority = 0;
    uint32_t fib_metrics[RTAX_MAX] = {}; ///< RTAX_* - 1
    bool mtu_locked = false;
    sysctl_int fib_flags{0};
    fib_info *fib_hash_next = nullptr, *fib_hash_prev = nullptr;
    net* fib_net_ = nullptr;
    /// [cpu * FIB_SLOT_STRIDE]: cache entries of that slot, which hold one fib_clntref together: so
    /// that making and freeing entries costs no shared cache line. Written by the slot alone.
    uint32_t* fib_slot_refs = nullptr;
    int fib_nhs = 0;
    rcu_head rcu;
    fib_nh fib_nh_[1]; ///< fib_nhs of them (allocated behind)
};
inline void fib_info_hold(fib_info* fi) {
    fi->fib_clntref.fetch_add(1, std::memory_order_relaxed);
}
/// Gives a reference back; the last one frees the fib_info after a grace period. Any slot.
void fib_info_put(fib_info* fi);
constexpr unsigned FIB_SLOT_STRIDE = 16; ///< a cache line of counters for each slot
/// The same for the entries of one slot, on that slot: only its first and last touch fib_clntref.
inline void fib_info_hold_slot(fib_info* fi, unsigned cpu) {
    if (fi->fib_slot_refs[cpu * FIB_SLOT_STRIDE]++ == 0)
        fib_info_hold(fi);
}
inline void fib_info_put_slot(fib_info* fi, unsigned cpu) {
    if (--fi->fib_slot_refs[cpu * FIB_SLOT_STRIDE] == 0)
        fib_info_put(fi);
}
/// Whether a redirect to gw may be believed under secure_redirects: 0 when gw is the gateway of a
/// live next hop on dev, else -1. Any slot, under RCU. Origin: ip_fib_check_default.
int ip_fib_check_default(be32_t gw, net_device* dev);
/// Called when fi is about to be freed, on the slot of its last put and after a grace period in
/// which no burst can have found it: frees what the slots have hung at nh_rth_input/nh_rth_output.
/// Those entries hold no reference on fi and are DST_NOCOUNT, so that no slot's counters are
/// touched. Filled in by route.cc; null: nothing to free. The arrays themselves are freed by
/// fib_semantics.cc.
extern void (*rt_nh_release)(fib_info* fi);

struct fib_result {
    be32_t prefix{};
    uint8_t prefixlen = 0, nh_sel = 0, type = 0, scope = 0;
    uint8_t tos = 0;
    uint32_t tclassid = 0;
    fib_info* fi = nullptr;
    fib_table* table = nullptr;
    uint32_t tb_id = 0;
    fib_node* fn = nullptr; ///< of one of several default routes, for fib_select_default; else it
                            ///< may be null; RCU
    fib_nh* nh() const { return &fi->fib_nh_[nh_sel]; }
};

/// Looks flp up through the rules. 0 and *res, or -errno: -ENETUNREACH (nothing), -EINVAL
/// (blackhole), -EHOSTUNREACH (unreachable), -EACCES (prohibit), -EAGAIN (never: throw goes on to
/// the next rule). Any slot, under RCU. Origin: fib_lookup, fib_table_lookup. flags: FIB_LOOKUP_*.
int fib_lookup(net& n, const flowi4* flp, fib_result* res, int flags = 0);
/// One table only; -EAGAIN when it has nothing. Until the first `ip rule` command, local and main
/// are one longest-prefix lookup (the kernel keeps them in one trie), also here.
int fib_table_lookup(fib_table* tb, const flowi4* flp, fib_result* res, int flags = 0);
/// The table of an id (0: main); null when there is none. Any slot, under RCU.
fib_table* fib_get_table(net& n, uint32_t id);
/// Chooses among the next hops / default routes. Origin: fib_select_path. skb may be null.
void fib_select_path(net& n, fib_result* res, flowi4* fl4, const sk_buff* skb);
/// Sets res->nh_sel by a 31-bit hash, dead next hops left out; fl4 (may be null): its source
/// address is preferred. What the input path calls when fi->fib_nhs > 1. Origin:
/// fib_select_multipath.
void fib_select_multipath(fib_result* res, uint32_t hash, const flowi4* fl4);
/// 31-bit hash of a packet for multipath by fib_multipath_hash_policy. Origin: fib_multipath_hash.
uint32_t fib_multipath_hash(net& n, const flowi4* fl4, const sk_buff* skb);
/// Source check of a received packet: < 0: -errno and *reason; else > 0 when the source is on link
/// by the device (a redirect may be sent), 0 otherwise. Origin: fib_validate_source.
int fib_validate_source(net& n, const sk_buff* skb, be32_t src, be32_t dst, uint8_t tos, int oif,
                        net_device* dev, uint32_t* itag, skb_drop_reason* reason);
/// RTN_* of an address: inet_addr_type, inet_dev_addr_type, inet_addr_type_dev_table.
uint8_t inet_addr_type(net& n, be32_t addr);
uint8_t inet_addr_type_dev_table(net& n, const net_device* dev, be32_t addr);
uint8_t inet_addr_type_table(net& n, be32_t addr, uint32_t tb_id);
uint8_t inet_dev_addr_type(net& n, const net_device* dev, be32_t addr);
/// True when one of fi's next hops leaves by dev (or by a device enslaved to it). Origin:
/// fib_info_nh_uses_dev.
bool fib_info_nh_uses_dev(const fib_info* fi, const net_device* dev);
/// The source address a reply to skb would carry. Origin: fib_compute_spec_dst.
be32_t fib_compute_spec_dst(sk_buff* skb);
/// Preferred source of a result (fib_prefsrc, else an address of the next hop's device). Origin:
/// fib_result_prefsrc.
be32_t fib_result_prefsrc(net& n, fib_result* res);

/// An error of a command: errno-like code and the kernel's extended text ("" when it has none).
struct netlink_ext_ack {
    std::string msg;
};
/// Sets the text, if there is somebody to tell.
inline void NL_SET_ERR_MSG(netlink_ext_ack* extack, const char* msg) {
    if (extack)
        extack->msg = msg;
}

constexpr uint16_t NLM_F_REPLACE = 0x100, NLM_F_EXCL = 0x200, NLM_F_CREATE = 0x400,
                   NLM_F_APPEND = 0x800;
/// A route as a command gives it. What is not given (fc_*_given) is filled in as ip(8) does: scope
/// by type and gateway, protocol boot, type unicast; for a deletion it matches anything.
/// fc_priority 0 matches any metric in a deletion. Origin: struct fib_config.
struct fib_config {
    uint8_t fc_dst_len = 0, fc_tos = 0, fc_protocol = RTPROT_BOOT, fc_scope = RT_SCOPE_UNIVERSE,
            fc_type = RTN_UNICAST;
    bool fc_scope_given = false, fc_protocol_given = false, fc_type_given = false,
         fc_priority_given = false;
    /// RT_TABLE_UNSPEC: by type as ip(8) chooses: local for local, broadcast, anycast, nat; else
    /// main.
    uint32_t fc_table = RT_TABLE_UNSPEC;
    be32_t fc_dst{};
    be32_t fc_prefsrc{};
    uint32_t fc_priority = 0;
    uint32_t fc_metrics[RTAX_MAX] = {};
    bool fc_mtu_locked = false;
    uint16_t fc_nlflags = 0;             ///< NLM_F_*
    fib_nh_list nexthops;                ///< at most one: a plain route; more: multipath
};
/// Adds/replaces/appends/changes by fc_nlflags; deletes the first match. 0 or -errno with extack,
/// as `ip route` meets them (-EEXIST, -ENOENT, -ESRCH, -ENETUNREACH "Nexthop has invalid gateway.",
/// -EINVAL..). Control thread; flushes the cache itself. Origin: inet_rtm_newroute,
/// inet_rtm_delroute.
int inet_rtm_newroute(net& n, const fib_config& cfg, netlink_ext_ack* extack);
int inet_rtm_delroute(net& n, const fib_config& cfg, netlink_ext_ack* extack);

/// A route for dumps: everything `ip route show` prints.
struct fib_route_row {
    uint32_t table;
    uint8_t type, protocol, scope, tos, dst_len;
    be32_t dst, prefsrc;
    uint32_t priority;
    uint32_t metrics[RTAX_MAX];
    bool mtu_locked;
    uint32_t flags;
    std::vector<fib_nh_config> nexthops; ///< flags: RTNH_F_* as shown; oif resolved
};
/// Calls fn(row) for every route of the table (RT_TABLE_UNSPEC: all tables), in the kernel's dump
/// order; stops when it returns false. Control thread.
void fib_table_dump(net& n, uint32_t table, bool (*fn)(const fib_route_row&, void*), void* cookie);
/// The row that a lookup answered by, as it would be dumped; false when it is no more there. Under
/// rtnl. Origin: inet_rtm_getroute (RTM_F_FIB_MATCH).
bool fib_result_row(const fib_result& res, fib_route_row* row);
/// Removes the matching routes (`ip route flush`); returns how many. table as for dump; proto/type
/// 0: any.
int fib_flush_matching(net& n, uint32_t table, uint8_t protocol, uint8_t type,
                       const net_device* dev, be32_t root, int root_len);

// ---- addresses (route/devinet.cc; net/ipv4/devinet.c) ----

struct ifa_config {
    be32_t local{}, address{}, broadcast{};
    bool broadcast_given = false;
    uint8_t prefixlen = 32, scope = RT_SCOPE_UNIVERSE;
    bool prefixlen_given = true; ///< deletion: false takes the first address of any length
    bool scope_given = false;
    uint32_t flags = IFA_F_PERMANENT;
    uint32_t rt_priority = 0;
    std::string label;
};
/// `ip addr add|del`: the address with its local, broadcast and connected routes. 0 or -errno
/// (-EEXIST, -EADDRNOTAVAIL, -EINVAL, -ENOBUFS). Control thread. Origin: inet_rtm_newaddr /
/// inet_rtm_deladdr.
int inet_rtm_newaddr(net& n, net_device* dev, const ifa_config& cfg, bool replace,
                     netlink_ext_ack* extack);
int inet_rtm_deladdr(net& n, net_device* dev, const ifa_config& cfg, netlink_ext_ack* extack);

/// Makes / frees the FIB of a net: tables local and main (default comes with its first route),
/// rules 0, 32766 and 32767, the notifiers for devices; addresses and routes of devices that are up
/// already. 0 or -ENOMEM (nothing is left). exit: no worker runs; all addresses go, and every slab
/// of the FIB is empty afterwards, provided that nobody else holds a fib_info. Called by ip_rt_init
/// / ip_rt_exit. Origin: ip_fib_init, fib_net_init.
int fib_net_init(net& n);
void fib_net_exit(net& n);

} // namespace slabfwd
