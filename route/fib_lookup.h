// SPDX-License-Identifier: BSD-3-Clause
//
// What the files of the FIB share among themselves: the nodes of a table (fn_zone, fib_node,
// fib_alias), struct fib_net, and the steps of a change. Not for other folders (tests apart).
//
// A table is an array of zones, one per prefix length. A zone is a hash of fib_nodes, one per
// prefix; a node has a list of fib_aliases, one per route, sorted by TOS (falling) and metric
// (rising); an alias names the fib_info that it shares with other routes. RCU: readers start at
// fn_zone_list and follow rcu_dereference'd links only; a published fib_node keeps its key and a
// published fib_alias all but fa_next and fa_default. A replaced route is one store into the link
// that leads to it. Writers hold net.rtnl. Origin: net/ipv4/fib_lookup.h, net/ipv4/fib_hash.c
// (2.6.32).
#pragma once

#include <array>

#include "alloc/kmem_cache.h"
#include "route/ip_fib.h"

namespace slabfwd {

struct fib_rule;
struct fib_lpm;

/// One route: what differs between routes of a prefix. From slab "ip_fib_alias".
struct fib_alias {
    fib_alias* fa_next = nullptr; ///< RCU
    fib_info* fa_info = nullptr;  ///< counted by fib_treeref
    uint8_t fa_tos = 0, fa_type = 0;
    /// Default routes: which of the group was last found alive; -1: none was asked. Written by
    /// readers.
    std::atomic<int16_t> fa_default{-1};
    rcu_head rcu;
};

/// One prefix. From slab "ip_fib_hash".
struct fib_node {
    fib_node* fn_hash = nullptr;   ///< RCU; chain of the zone's bucket
    fib_alias* fn_alias = nullptr; ///< RCU; never empty while the node is in a chain
    be32_t fn_key{};
    rcu_head rcu;
};

/// The buckets of a zone. Grown by copying the nodes into a larger one and switching fz_hash; the
/// old one with its nodes stays as it was for those who still read it, to the end of their grace
/// period.
struct fz_hash_table {
    fib_node** bucket; ///< hashmask + 1 of them
    uint8_t* used;     ///< 1 for each bucket that has a node, else 0
    uint32_t hashmask;
    rcu_head rcu;
};

/// All prefixes of one length. Made with the first of them, freed with the table.
struct fn_zone {
    fn_zone* fz_next = nullptr;       ///< RCU; the next shorter length that has a zone
    fz_hash_table* fz_hash = nullptr; ///< RCU
    uint32_t fz_nent = 0;
    int fz_order = 0; ///< the prefix length
    be32_t fz_mask{};
};

/// The zones of a table.
struct fn_hash {
    std::array<fn_zone*, 33> fn_zones{};
    fn_zone* fn_zone_list = nullptr; ///< RCU; longest prefix first
    /// Prefixes that are no host's, but for 127.0.0.0/8: raised before one can be found, lowered
    /// when it cannot be any more. WRITE_ONCE, under rtnl.
    uint32_t fn_nets = 0;
};

struct fib_table {
    fib_table* tb_next = nullptr; ///< RCU; chain of fib_table_hash, newest first
    struct fib_net* tb_net = nullptr;
    uint32_t tb_id = 0;
    std::atomic<int> tb_num_default{0}; ///< routes of prefix length 0
    fn_hash tb_data;
    fib_lpm* tb_lpm = nullptr; ///< RCU; the compiled form (fib_lpm.h); null: none
    uint32_t tb_num_nodes = 0; ///< prefixes; under rtnl
};

constexpr unsigned FIB_TABLE_HASHSZ = 256;

/// The FIB of one net, at net.ipv4.fib.
struct fib_net {
    net* nd_net = nullptr;
    std::array<fib_table*, FIB_TABLE_HASHSZ> fib_table_hash{}; ///< by the id's low byte; RCU
    fib_table *fib_local = nullptr, *fib_main = nullptr;       ///< never change
    fib_table* fib_default = nullptr; ///< RCU; made with its first route, never changes after
    fib_rule* rules_list = nullptr;   ///< RCU; by priority
    /// False until the first `ip rule` command: lookups then skip the rules, and take the longest
    /// prefix of local and main together. Never becomes false again.
    std::atomic<bool> fib_has_custom_rules{false};
    std::atomic<bool> fib_has_custom_local_routes{false}; ///< `ip route add local` was used
    std::atomic<int> fib_rules_require_fldissect{0};      ///< rules that ask for protocol or ports
    std::atomic<uint32_t> dev_addr_genid{1};              ///< age of fib_nh::nh_saddr
    fib_info** fib_info_hash = nullptr;                   ///< under rtnl
    uint32_t fib_info_hash_size = 0, fib_info_cnt = 0;
    uint32_t fib_hash_seed = 0; ///< of the multipath hash
};

/// What the kernel knows about a route type: the result of a lookup that meets it, and the widest
/// scope that such a route may have.
struct fib_prop {
    int error;
    uint8_t scope;
};
extern const std::array<fib_prop, RTN_MAX + 1> fib_props;

/// TOS routes and `ip rule ... tos` look at three bits of a packet's TOS, as the kernel still does.
inline bool fib_dscp_masked_match(uint8_t tos, const flowi4* fl4) {
    return tos == (fl4->flowi4_tos & 0x1c);
}

/// Routes by a device without carrier are to be passed over.
inline bool ip_ignore_linkdown(const net_device* dev) {
    const in_device* in_dev = dev ? __in_dev_get_rcu(dev) : nullptr;
    return in_dev && IN_DEV_IGNORE_ROUTES_WITH_LINKDOWN(in_dev);
}

// ---- fib_hash.cc: tables. Writers hold rtnl.

/// Makes the slabs of nodes, aliases and addresses, or counts one more user. 0 or -ENOMEM.
int fib_hash_init();
void fib_hash_exit();
fib_table* fib_hash_table(fib_net* fn, uint32_t id);
/// Finds or makes a table; null when out of memory. Origin: fib_new_table.
fib_table* fib_new_table(net& n, uint32_t id);
/// Enters a route by cfg.fc_nlflags. 0 or -errno: -EEXIST, -ENOENT, -EINVAL, -ENOBUFS, and what
/// fib_create_info says. Flushes the route cache.
int fib_table_insert(net& n, fib_table* tb, const fib_config& cfg, netlink_ext_ack* extack);
/// Removes the first route that cfg describes: 0, -ESRCH, -EINVAL.
int fib_table_delete(net& n, fib_table* tb, const fib_config& cfg, netlink_ext_ack* extack);
/// Which routes fib_table_flush takes.
using fib_flush_filter = bool (*)(const fib_table*, const fib_node*, int plen, const fib_alias*,
                                  void*);
/// Removes every route that the filter wants; returns how many.
int fib_table_flush(fib_table* tb, fib_flush_filter wanted, void* cookie);
/// Frees an empty or full table at once; nobody reads any more.
void fib_free_table(fib_table* tb);
/// One table by itself, whatever the rules: 0, -errno, or 1 when nothing matched.
int fib_one_table_lookup(fib_table* tb, const flowi4* flp, fib_result* res, int flags);
/// The longest prefix of two tables; of equal ones, first's.
int fib_two_table_lookup(fib_table* first, fib_table* second, const flowi4* flp, fib_result* res,
                         int flags);
/// The node of a prefix, or null.
fib_node* fib_find_node(const fib_table* tb, be32_t key, int plen);

// ---- fib_semantics.cc: fib_info.

/// Makes (or finds the equal) fib_info of a route, with one more fib_treeref. Null with *err =
/// -errno.
fib_info* fib_create_info(net& n, const fib_config& cfg, netlink_ext_ack* extack, int* err);
/// An alias lets go of fi. Origin: fib_release_info.
void fib_release_info(fib_info* fi);
/// True when fi's next hops are those that cfg names (deletion). Origin: fib_nh_match.
bool fib_nh_match(const fib_config& cfg, const fib_info* fi);
bool fib_metrics_match(const fib_config& cfg, const fib_info* fi);
/// Goes through a node's routes; 0 with *res, -errno, or 1: none suits. Origin: fib_semantic_match
/// (2.6.32).
int fib_semantic_match(fib_alias* head, const flowi4* flp, fib_result* res, int flags);
/// The same for one route of type and TOS 0.
int fib_info_match(fib_info* fi, uint8_t type, const flowi4* flp, fib_result* res, int flags);
/// Marks what depends on dev / on the address; returns how many fib_infos are dead now.
int fib_sync_down_dev(net_device* dev, netdev_event event, bool force);
int fib_sync_down_addr(net_device* dev, be32_t local);
/// Takes nh_flags (RTNH_F_DEAD, RTNH_F_LINKDOWN) off next hops by dev; returns how many live again.
int fib_sync_up(net_device* dev, uint32_t nh_flags);
/// Asks again for the source address of a next hop. Origin: fib_info_update_nhc_saddr.
be32_t fib_info_update_nh_saddr(net& n, fib_nh* nh, uint8_t scope);
int fib_info_hash_alloc(fib_net* fn);

// ---- fib_nexthop.cc: may these next hops be used, and in which shares.

/// Resolves and checks one next hop of a route of `table` and `scope`. 0 or -errno. Origin:
/// fib_check_nh.
int fib_check_nh(net& n, fib_nh* nh, uint32_t table, uint8_t scope, netlink_ext_ack* extack);
/// Shares of the hash space by weight among the living. Origin: fib_rebalance.
void fib_rebalance(fib_info* fi);

// ---- fib_frontend.cc, fib_ifaddr.cc

/// Removes the routes whose fib_info is dead; flushes the cache. Returns how many.
int fib_flush(net& n);
/// The routes that an address brings. 0 or -ENOBUFS (then all of them are to be taken back).
int fib_add_ifaddr(in_ifaddr* ifa);
/// Removes the routes that only ifa brought. iprim: ifa stays, but its primary, iprim, goes.
void fib_del_ifaddr(in_ifaddr* ifa, const in_ifaddr* iprim);
void fib_modify_prefix_metric(in_ifaddr* ifa, uint32_t new_metric);
/// An address came (0 or -ENOBUFS) or went. Origin: fib_inetaddr_event.
int fib_inetaddr_up(in_ifaddr* ifa);
void fib_inetaddr_down(in_ifaddr* ifa);
void fib_netdev_event(netdev_event event, net_device* dev);

// ---- devinet.cc

extern kmem_cache* in_ifaddr_cachep;
void inetdev_event(netdev_event event, net_device* dev);
/// Removes all addresses of a device with their routes.
void inetdev_destroy_addrs(in_device* in_dev);
/// The primary of the subnet (prefix, mask), or null. Origin: inet_ifa_byprefix.
in_ifaddr* inet_ifa_byprefix(const in_device* in_dev, be32_t prefix, be32_t mask);

} // namespace slabfwd
