// SPDX-License-Identifier: BSD-3-Clause
//
// struct net: one router. Everything hangs here, so that tests make several: devices, CPU slots,
// sysctls, FIB, neighbour table, netfilter. Made by router_create (dataplane/router.cc) or a
// test's fixture. Threads: pointers to tables are set before workers start; tunables are
// sysctl_int. Origin: include/net/net_namespace.h, include/net/netns/ipv4.h.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "neigh/netdevice.h"
#include "neigh/rcu.h"
#include "neigh/softnet.h"

namespace slabfwd {

struct neigh_table;
struct fib_net; ///< route/: tables, rules, fib_info hashes
struct rt_net;  ///< route/: what the shards of the route cache share
struct nf_net;  ///< dataplane/netfilter: hook entries
struct ip_net;  ///< dataplane/ip: fragment queues, ICMP limiter
struct inet_peer_base;

// clang-format off
/// X(sysctl name, default) of net.ipv4.conf.DEV.*; 6.18's defaults.
#define SLABFWD_DEVCONF(X)                                                                        \
    X(forwarding, 0) X(mc_forwarding, 0) X(accept_redirects, 1) X(secure_redirects, 1)            \
    X(shared_media, 1) X(rp_filter, 0) X(send_redirects, 1) X(accept_source_route, 0)             \
    X(accept_local, 0) X(src_valid_mark, 0) X(proxy_arp, 0) X(bootp_relay, 0) X(log_martians, 0)  \
    X(tag, 0) X(arp_filter, 0) X(arp_announce, 0) X(arp_ignore, 0) X(arp_accept, 0)               \
    X(arp_notify, 0) X(arp_evict_nocarrier, 1) X(proxy_arp_pvlan, 0)                              \
    X(drop_gratuitous_arp, 0) X(drop_unicast_in_l2_multicast, 0) X(route_localnet, 0)             \
    X(bc_forwarding, 0) X(ignore_routes_with_linkdown, 0) X(promote_secondaries, 0)               \
    X(medium_id, 0) X(force_igmp_version, 0) X(disable_xfrm, 0) X(disable_policy, 0)              \
    X(igmpv2_unsolicited_report_interval, 10000) X(igmpv3_unsolicited_report_interval, 1000)
/// X(sysctl name below net.ipv4., field, default); plain integers.
#define SLABFWD_IPV4_SYSCTLS(X)                                                                   \
    X(ip_forward_update_priority, 1) X(ip_forward_use_pmtu, 0) X(ip_default_ttl, 64)              \
    X(ip_no_pmtu_disc, 0) X(ip_nonlocal_bind, 0) X(ip_dynaddr, 0) X(ip_early_demux, 1)            \
    X(icmp_echo_ignore_all, 0) X(icmp_echo_ignore_broadcasts, 1)                                  \
    X(icmp_ignore_bogus_error_responses, 1) X(icmp_errors_use_inbound_ifaddr, 0)                  \
    X(icmp_ratelimit, 1000) X(icmp_ratemask, 6168) X(icmp_msgs_per_sec, 1000)                     \
    X(icmp_msgs_burst, 50) X(fwmark_reflect, 0) X(fib_multipath_hash_policy, 0)                   \
    X(fib_multipath_hash_fields, 7) X(fib_multipath_use_neigh, 0) X(fib_sync_mem, 524288)         \
    X(ipfrag_high_thresh, 4194304) X(ipfrag_low_thresh, 3145728) X(ipfrag_time, 30)               \
    X(ipfrag_max_dist, 64) X(ipfrag_secret_interval, 0) X(rt_cache_rebuild_count, 4)              \
    X(fib_notify_on_flag_change, 0) X(ip_unprivileged_port_start, 1024)                           \
    X(tcp_l3mdev_accept, 0) X(udp_l3mdev_accept, 0) X(raw_l3mdev_accept, 1)
// clang-format on

/// net.ipv4.conf.DEV.*
struct ipv4_devconf {
#define X(name, def) sysctl_int name{def};
    SLABFWD_DEVCONF(X)
#undef X
    uint64_t state =
        0; ///< bit per key in the order above: set here, default no longer copied; control thread
};

/// net.ipv4.route.*, as in 2.6.32 (times in seconds unless named otherwise; kept in jiffies).
struct rt_sysctls {
    sysctl_int gc_thresh{0}; ///< set from the table size at start
    sysctl_int max_size{0};
    sysctl_int gc_min_interval{int(HZ / 2)};
    sysctl_int gc_timeout{int(300 * HZ)};
    sysctl_int gc_interval{int(60 * HZ)};
    sysctl_int gc_elasticity{8};
    sysctl_int mtu_expires{int(10 * 60 * HZ)};
    sysctl_int min_pmtu{552};
    sysctl_int min_adv_mss{256};
    sysctl_int redirect_number{9};
    sysctl_int redirect_load{int(HZ / 50)};
    sysctl_int redirect_silence{int((HZ / 50) << 10)};
    sysctl_int error_cost{int(HZ)};
    sysctl_int error_burst{int(5 * HZ)};
    sysctl_int secret_interval{int(10 * 60 * HZ)};
    /// 1 (default): above gc_thresh a flow is admitted when it pays, that is when it comes again within a
    /// window and is remembered; else the packet uses the next hop's own entry. 0: the kernel's rule, every
    /// miss enters, and when nothing can go: "Route cache is full", the packet is dropped.
    sysctl_int admission{1};
};

struct netns_ipv4 {
    ipv4_devconf devconf_all, devconf_dflt;
#define X(name, def) sysctl_int sysctl_##name{def};
    SLABFWD_IPV4_SYSCTLS(X)
#undef X
    rt_sysctls rt;
    std::atomic<uint32_t> rt_genid{
        1};                ///< bumped once per batch of route changes; see route/route.h
    rt_net* rtn = nullptr; ///< route/: what the cache's shards share
    fib_net* fib = nullptr;
    inet_peer_base* peers = nullptr;
    ip_net* ip = nullptr;
};

struct net {
    explicit net(unsigned nr_workers);
    ~net();
    net(const net&) = delete;
    net& operator=(const net&) = delete;

    unsigned nr_workers; ///< worker slots; the control slot comes after them
    unsigned nr_cpus() const { return nr_workers + 1; }
    unsigned control_cpu() const { return nr_workers; }
    std::vector<std::unique_ptr<softnet_data>> softnet; ///< one per slot
    rcu_domain rcu;
    /// Held while tables change: by the control thread around a command. Never by a worker.
    /// Origin: rtnl_mutex.
    std::recursive_mutex rtnl;
    std::array<net_device*, MAX_NETDEV> devs{}; ///< by ifindex, RCU
    std::vector<netdev_notifier> netdev_chain;
    net_device* loopback_dev = nullptr;
    neigh_table* arp_tbl = nullptr;
    neigh_table* nd_tbl = nullptr; ///< see ndisc.h
    nf_net* nf = nullptr;
    netns_ipv4 ipv4;

    template <class F>
    void for_each_netdev(F f) {
        for (net_device*& d : devs)
            if (net_device* dev = rcu_dereference(d))
                f(dev);
    }
};

} // namespace slabfwd
