// SPDX-License-Identifier: BSD-3-Clause
//
// The keys and their units, and what a write does beside storing: conf.all and conf.default as
// devinet_conf_proc, forwarding as inet_forward_change.
#include "dataplane/control/sysctl.h"

#include <algorithm>
#include <cerrno>

#include "neigh/inetdevice.h"
#include "neigh/softnet.h"
#include "route/route.h"

namespace slabfwd {

namespace {

constexpr int64_t USER_HZ = 100;
constexpr int64_t TRUESIZE = 2090; ///< SKB_TRUESIZE(ETH_FRAME_LEN)

struct ipv4_key {
    const char* name;
    sysctl_int netns_ipv4::*value;
};
constexpr ipv4_key ipv4_keys[] = {
#define X(name, def) {#name, &netns_ipv4::sysctl_##name},
    SLABFWD_IPV4_SYSCTLS(X)
#undef X
};

struct limits {
    const char* name;
    int64_t min, max;
    sysctl_unit unit = sysctl_unit::plain;
};
constexpr limits ipv4_limits[] = {
    {"ip_forward_update_priority", 0, 1},
    {"ip_forward_use_pmtu", 0, 255},
    {"ip_default_ttl", 1, 255},
    {"ip_no_pmtu_disc", 0, 255},
    {"ip_nonlocal_bind", 0, 255},
    {"ip_dynaddr", 0, 255},
    {"ip_early_demux", 0, 255},
    {"icmp_echo_ignore_all", 0, 1},
    {"icmp_echo_ignore_broadcasts", 0, 1},
    {"icmp_ignore_bogus_error_responses", 0, 1},
    {"icmp_errors_use_inbound_ifaddr", 0, 1},
    {"icmp_ratelimit", 0, INT32_MAX, sysctl_unit::ms_as_ms},
    {"icmp_msgs_per_sec", 0, INT32_MAX},
    {"icmp_msgs_burst", 0, INT32_MAX},
    {"fwmark_reflect", 0, 255},
    {"fib_multipath_hash_policy", 0, 3},
    {"fib_multipath_hash_fields", 1, 4095},
    {"fib_multipath_use_neigh", 0, 1},
    {"fib_sync_mem", 65536, 67108864},
    {"ipfrag_high_thresh", 0, INT32_MAX},
    {"ipfrag_low_thresh", 0, INT32_MAX},
    {"ipfrag_time", -8589934, 8589934},
    {"ipfrag_max_dist", 0, INT32_MAX},
    {"fib_notify_on_flag_change", 0, 2},
    {"ip_unprivileged_port_start", 0, 65535},
    {"tcp_l3mdev_accept", 0, 1},
    {"udp_l3mdev_accept", 0, 1},
    {"raw_l3mdev_accept", 0, 1},
};

struct conf_key {
    const char* name;
    sysctl_int ipv4_devconf::*value;
};
constexpr conf_key conf_keys[] = {
#define X(name, def) {#name, &ipv4_devconf::name},
    SLABFWD_DEVCONF(X)
#undef X
};
constexpr unsigned CONF_FORWARDING = 0;
static_assert(std::string_view(conf_keys[CONF_FORWARDING].name) == "forwarding");

struct neigh_key {
    const char* name;
    sysctl_int neigh_parms::*value;
    sysctl_unit unit = sysctl_unit::plain;
    int64_t min = 0;
    bool hidden = false;
};
constexpr neigh_key neigh_keys[] = {
    {"mcast_solicit", &neigh_parms::mcast_probes},
    {"ucast_solicit", &neigh_parms::ucast_probes},
    {"app_solicit", &neigh_parms::app_probes},
    {"mcast_resolicit", &neigh_parms::mcast_reprobes},
    {"retrans_time", &neigh_parms::retrans_time, sysctl_unit::clock_ticks, INT64_MIN, true},
    {"retrans_time_ms", &neigh_parms::retrans_time, sysctl_unit::ms},
    {"base_reachable_time", &neigh_parms::base_reachable_time, sysctl_unit::seconds, INT32_MIN,
     true},
    {"base_reachable_time_ms", &neigh_parms::base_reachable_time, sysctl_unit::ms},
    {"delay_first_probe_time", &neigh_parms::delay_probe_time, sysctl_unit::seconds, INT32_MIN},
    {"gc_stale_time", &neigh_parms::gc_staletime, sysctl_unit::seconds, INT32_MIN},
    {"unres_qlen", &neigh_parms::queue_len_bytes, sysctl_unit::packets},
    {"unres_qlen_bytes", &neigh_parms::queue_len_bytes},
    {"proxy_qlen", &neigh_parms::proxy_qlen},
    {"anycast_delay", &neigh_parms::anycast_delay, sysctl_unit::clock_ticks, INT64_MIN},
    {"proxy_delay", &neigh_parms::proxy_delay, sysctl_unit::clock_ticks, INT64_MIN},
    {"locktime", &neigh_parms::locktime, sysctl_unit::clock_ticks, INT64_MIN},
    {"interval_probe_time_ms", &neigh_parms::interval_probe_time_ms, sysctl_unit::ms, 1},
};

struct table_key {
    const char* name;
    sysctl_int neigh_table::*value;
    sysctl_unit unit = sysctl_unit::plain;
};
constexpr table_key table_keys[] = {
    {"gc_interval", &neigh_table::gc_interval, sysctl_unit::seconds},
    {"gc_thresh1", &neigh_table::gc_thresh1},
    {"gc_thresh2", &neigh_table::gc_thresh2},
    {"gc_thresh3", &neigh_table::gc_thresh3},
    {"held_max", &neigh_table::held_max},
};

struct route_key {
    const char* name;
    sysctl_int rt_sysctls::*value;
    sysctl_unit unit = sysctl_unit::plain;
    int64_t min = INT32_MIN;
};
constexpr route_key route_keys[] = {
    {"gc_thresh", &rt_sysctls::gc_thresh},
    {"max_size", &rt_sysctls::max_size},
    {"gc_min_interval", &rt_sysctls::gc_min_interval, sysctl_unit::seconds},
    {"gc_min_interval_ms", &rt_sysctls::gc_min_interval, sysctl_unit::ms, 0},
    {"gc_timeout", &rt_sysctls::gc_timeout, sysctl_unit::seconds},
    {"gc_interval", &rt_sysctls::gc_interval, sysctl_unit::seconds},
    {"gc_elasticity", &rt_sysctls::gc_elasticity},
    {"admission", &rt_sysctls::admission, sysctl_unit::plain, 0},
    {"mtu_expires", &rt_sysctls::mtu_expires, sysctl_unit::seconds},
    {"min_pmtu", &rt_sysctls::min_pmtu, sysctl_unit::plain, 68},
    {"min_adv_mss", &rt_sysctls::min_adv_mss},
    {"redirect_number", &rt_sysctls::redirect_number},
    {"redirect_load", &rt_sysctls::redirect_load},
    {"redirect_silence", &rt_sysctls::redirect_silence},
    {"error_cost", &rt_sysctls::error_cost},
    {"error_burst", &rt_sysctls::error_burst},
    {"secret_interval", &rt_sysctls::secret_interval, sysctl_unit::seconds},
};

// --- the keys, one kind after the other ----------------------------------------------------------

using visitor = std::function<void(const sysctl_key&)>;

void visit_plain(net& n, const visitor& fn) {
    for (const ipv4_key& k : ipv4_keys) {
        sysctl_key key{.path = fmt::format("net/ipv4/{}", k.name), .value = &(n.ipv4.*k.value)};
        auto l = std::ranges::find_if(ipv4_limits, [&](const limits& e) {
            return key.path.ends_with(e.name) &&
                   key.path.size() == 9 + std::string_view(e.name).size();
        });
        if (l != std::end(ipv4_limits)) {
            key.min = l->min;
            key.max = l->max;
            key.unit = l->unit;
        }
        fn(key);
    }
    fn({.path = "net/ipv4/ip_forward",
        .value = &n.ipv4.devconf_all.forwarding,
        .conf = &n.ipv4.devconf_all,
        .conf_bit = CONF_FORWARDING});
}

void visit_conf(ipv4_devconf& conf, std::string_view dev, const visitor& fn) {
    for (unsigned i = 0; i < std::size(conf_keys); ++i)
        fn({.path = fmt::format("net/ipv4/conf/{}/{}", dev, conf_keys[i].name),
            .value = &(conf.*conf_keys[i].value),
            .writable = std::string_view(conf_keys[i].name) != "mc_forwarding",
            .conf = &conf,
            .conf_bit = i});
}

void visit_neigh(neigh_parms& parms, std::string_view dev, const visitor& fn) {
    for (const neigh_key& k : neigh_keys)
        fn({.path = fmt::format("net/ipv4/neigh/{}/{}", dev, k.name),
            .value = &(parms.*k.value),
            .unit = k.unit,
            .min = k.min,
            .max = k.unit == sysctl_unit::clock_ticks ? INT64_MAX : INT32_MAX,
            .hidden = k.hidden,
            .parms = &parms,
            .field = k.value});
}

void visit_neigh_table(neigh_table& tbl, const visitor& fn) {
    for (const table_key& k : table_keys)
        fn({.path = fmt::format("net/ipv4/neigh/default/{}", k.name),
            .value = &(tbl.*k.value),
            .unit = k.unit,
            .min = k.unit == sysctl_unit::plain ? 0 : INT32_MIN});
}

void visit_route(net& n, const visitor& fn) {
    for (const route_key& k : route_keys)
        fn({.path = fmt::format("net/ipv4/route/{}", k.name),
            .value = &(n.ipv4.rt.*k.value),
            .unit = k.unit,
            .min = k.min});
    fn({.path = "net/ipv4/route/flush", .readable = false});
}

void visit_device(net_device* dev, const visitor& fn, bool conf) {
    if (conf && __in_dev_get_rcu(dev))
        visit_conf(__in_dev_get_rcu(dev)->cnf, dev->name, fn);
    if (!conf && dev->arp_parms)
        visit_neigh(*dev->arp_parms, dev->name, fn);
}

/// Visits the keys of one directory: conf or neigh of "all", "default" or a device.
void visit_directory(net& n, std::string_view kind, std::string_view dev, const visitor& fn) {
    if (kind == "conf" && dev == "all")
        return visit_conf(n.ipv4.devconf_all, dev, fn);
    if (kind == "conf" && dev == "default")
        return visit_conf(n.ipv4.devconf_dflt, dev, fn);
    if (kind == "neigh" && dev == "default" && n.arp_tbl) {
        visit_neigh(n.arp_tbl->parms, dev, fn);
        return visit_neigh_table(*n.arp_tbl, fn);
    }
    if (net_device* d = dev_get_by_name(n, std::string(dev).c_str()))
        visit_device(d, fn, kind == "conf");
}

// --- values -------------------------------------------------------------------------------------

/// A whole number as the kernel reads one from a write: blanks around it, a sign, 0x and 0
/// prefixes; what follows after a blank is not looked at. Origin: proc_get_long.
std::optional<int64_t> parse_proc_int(std::string_view text) {
    size_t start = text.find_first_not_of(" \t\n\v\f\r");
    if (start == std::string_view::npos)
        return std::nullopt;
    text.remove_prefix(start);
    text = text.substr(0, text.find_first_of(" \t\n\v\f\r"));
    bool negative = text.starts_with('-');
    text.remove_prefix(negative);
    int base = 10;
    if (text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == 'x') {
        base = 16;
        text.remove_prefix(2);
    } else if (text.size() > 1 && text[0] == '0') {
        base = 8;
    }
    int64_t v = 0;
    auto digit = [](char c) {
        return c >= '0' && c <= '9'                     ? c - '0'
               : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                        : 99;
    };
    for (char c : text) {
        if (digit(c) >= base || v > INT64_MAX / 32)
            return std::nullopt;
        v = v * base + digit(c);
    }
    return text.empty() ? std::nullopt : std::optional(negative ? -v : v);
}

/// The value as it is kept, when it is one.
std::optional<int> to_kept(const sysctl_key& key, std::string_view text) {
    auto v = parse_proc_int(text);
    if (!v || *v < key.min || *v > key.max)
        return std::nullopt;
    int64_t kept = *v;
    switch (key.unit) {
    case sysctl_unit::plain:
        break;
    case sysctl_unit::seconds:
        if (std::abs(kept) > INT32_MAX / int64_t(HZ))
            return std::nullopt;
        kept *= int64_t(HZ);
        break;
    case sysctl_unit::ms:
        kept = int64_t(msecs_to_jiffies(uint64_t(kept)));
        break;
    case sysctl_unit::ms_as_ms:
        kept = std::min<int64_t>(INT32_MAX,
                                 int64_t(jiffies_to_msecs(msecs_to_jiffies(uint64_t(kept)))));
        break;
    case sysctl_unit::clock_ticks:
        kept = kept < 0 ? 0 : kept > INT32_MAX ? INT64_MAX : kept * int64_t(HZ) / USER_HZ;
        break;
    case sysctl_unit::packets:
        if (kept > INT32_MAX / TRUESIZE)
            return std::nullopt;
        kept *= TRUESIZE;
        break;
    }
    if (kept < INT32_MIN || kept > INT32_MAX)
        return std::nullopt;
    return int(kept);
}

/// conf.all.forwarding follows down to all devices. Origin: inet_forward_change.
void inet_forward_change(net& n, int on) {
    n.ipv4.devconf_all.accept_redirects = !on;
    n.ipv4.devconf_dflt.forwarding = on;
    n.for_each_netdev([&](net_device* dev) {
        if (in_device* in_dev = __in_dev_get_rcu(dev))
            in_dev->cnf.forwarding = on;
    });
}

/// Origin: devinet_conf_proc, devinet_sysctl_forward.
void write_conf(net& n, const sysctl_key& key, int v) {
    const bool changed = *key.value != v;
    *key.value = v;
    if (key.conf_bit == CONF_FORWARDING) {
        if (changed && key.conf == &n.ipv4.devconf_all)
            inet_forward_change(n, v);
        return;
    }
    const uint64_t bit = uint64_t(1) << key.conf_bit;
    key.conf->state |= bit;
    if (key.conf != &n.ipv4.devconf_dflt)
        return;
    n.for_each_netdev([&](net_device* dev) {
        in_device* in_dev = __in_dev_get_rcu(dev);
        if (in_dev && !(in_dev->cnf.state & bit))
            in_dev->cnf.*conf_keys[key.conf_bit].value = v;
    });
}

bool is_fragment_limit(const sysctl_key& key, const char* name) {
    return key.path.ends_with(name);
}

} // namespace

std::optional<sysctl_key> find_sysctl(net& n, std::string_view path) {
    std::optional<sysctl_key> found;
    visitor pick = [&](const sysctl_key& key) {
        if (key.path == path)
            found = key;
    };
    constexpr std::string_view root = "net/ipv4/";
    if (!path.starts_with(root))
        return found;
    std::string_view rest = path.substr(root.size());
    size_t first = rest.find('/'), last = rest.rfind('/');
    if (first == std::string_view::npos)
        visit_plain(n, pick);
    else if (rest.substr(0, first) == "route")
        visit_route(n, pick);
    else if (last != first)
        visit_directory(n, rest.substr(0, first), rest.substr(first + 1, last - first - 1), pick);
    return found;
}

void for_each_sysctl(net& n, std::string_view prefix, const visitor& fn) {
    std::vector<sysctl_key> all;
    visitor collect = [&](const sysctl_key& key) {
        if (key.path.starts_with(prefix))
            all.push_back(key);
    };
    visit_plain(n, collect);
    visit_route(n, collect);
    for (const char* dev : {"all", "default"})
        visit_directory(n, "conf", dev, collect);
    visit_directory(n, "neigh", "default", collect);
    n.for_each_netdev([&](net_device* dev) {
        visit_device(dev, collect, true);
        visit_device(dev, collect, false);
    });
    // By component, so that a directory stands among its neighbours.
    auto order = [](const sysctl_key& a, const sysctl_key& b) {
        return std::ranges::lexicographical_compare(a.path, b.path, [](char x, char y) {
            return (x == '/' ? '\1' : x) < (y == '/' ? '\1' : y);
        });
    };
    std::ranges::sort(all, order);
    for (const sysctl_key& key : all)
        fn(key);
}

std::string sysctl_read(const sysctl_key& key) {
    const int64_t v = *key.value;
    switch (key.unit) {
    case sysctl_unit::seconds:
        return fmt::format("{}", v / int64_t(HZ));
    case sysctl_unit::ms:
        return fmt::format("{}", v * 1000 / int64_t(HZ));
    case sysctl_unit::clock_ticks:
        return fmt::format("{}", v * USER_HZ / int64_t(HZ));
    case sysctl_unit::packets:
        return fmt::format("{}", v / TRUESIZE);
    default:
        return fmt::format("{}", v);
    }
}

bool sysctl_accepts(const sysctl_key& key, std::string_view text) {
    return key.writable && (!key.value || to_kept(key, text));
}

int sysctl_write(net& n, const sysctl_key& key, std::string_view text) {
    if (!key.value) { // route.flush
        ipv4_sysctl_rtcache_flush(n);
        return 0;
    }
    auto v = to_kept(key, text);
    if (!v || !key.writable)
        return -EINVAL;
    if ((is_fragment_limit(key, "/ipfrag_high_thresh") && *v < n.ipv4.sysctl_ipfrag_low_thresh) ||
        (is_fragment_limit(key, "/ipfrag_low_thresh") && *v > n.ipv4.sysctl_ipfrag_high_thresh))
        return -EINVAL;
    if (key.conf)
        write_conf(n, key, *v);
    else if (key.parms)
        neigh_parms_write(n, key.parms, key.field, *v);
    else
        *key.value = *v;
    if (key.path.starts_with("net/ipv4/route/") || key.path == "net/ipv4/rt_cache_rebuild_count")
        rt_sysctl_changed(n);
    if (!key.parms)
        rt_cache_flush(n); // what a cached route was decided by may have changed
    return 0;
}

} // namespace slabfwd
