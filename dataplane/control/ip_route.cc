// SPDX-License-Identifier: BSD-3-Clause
//
// `ip route add|replace|append|prepend|change|del`: from words to a fib_config. The other verbs are
// in ip_route_show.cc and ip_route_get.cc; the table of all of them is here. Threads: control
// thread under rtnl. Origin: iproute2's ip/iproute.c (iproute_modify).
#include "dataplane/control/ip_route.h"

#include <cerrno>

#include "dataplane/control/ip_commands.h"
#include "dataplane/control/values.h"

namespace slabfwd {

namespace {

enum modify_key {
    R_TO,
    R_TYPE,
    R_SRC,
    R_VIA,
    R_DEV,
    R_TOS,
    R_METRIC,
    R_SCOPE,
    R_PROTO,
    R_TABLE,
    R_VRF,
    R_ONLINK,
    R_NEXTHOP,
    R_WEIGHT,
    R_METRICS = 100
}; // R_METRICS + RTAX_*

constexpr keyword nexthop_keywords[] = {
    {"via", true, takes::gateway, R_VIA, "[ inet | inet6 ] ADDRESS"},
    {"dev", true, takes::device, R_DEV, "DEVICE"},
    {"weight", true, takes::u32, R_WEIGHT, "NUMBER", "\"weight\" is invalid\n"},
    {"onlink", true, takes::nothing, R_ONLINK, nullptr},
};

#define METRIC(name, exact, kind, rtax, value)                                                     \
    {                                                                                              \
        name, exact, takes::kind, R_METRICS + rtax, value, "\"" name "\" value is invalid\n",      \
            KEY_LOCK                                                                               \
    }
constexpr keyword modify_keywords[] = {
    {"to", true, takes::prefix, R_TO, "PREFIX", nullptr, KEY_BARE | KEY_ONCE},
    {"src", true, takes::address, R_SRC, "ADDRESS"},
    {"via", true, takes::gateway, R_VIA, "[ inet | inet6 ] ADDRESS"},
    {"tos", true, takes::tos, R_TOS, "TOS", "\"tos\" value is invalid\n"},
    {"dsfield", false, takes::tos, R_TOS, "TOS", "\"tos\" value is invalid\n"},
    {"metric", false, takes::u32, R_METRIC, "NUMBER", "\"metric\" value is invalid\n"},
    {"priority", false, takes::u32, R_METRIC, "NUMBER", "\"metric\" value is invalid\n"},
    {"preference", true, takes::u32, R_METRIC, "NUMBER", "\"metric\" value is invalid\n"},
    {"scope", true, takes::scope, R_SCOPE, "SCOPE", "invalid \"scope\" value\n"},
    METRIC("mtu", true, u32, 2, "NUMBER"),
    METRIC("hoplimit", true, u8, 10, "NUMBER"),
    METRIC("advmss", true, u32, 8, "NUMBER"),
    METRIC("reordering", false, u32, 9, "NUMBER"),
    METRIC("rtt", true, time_ms, 4, "TIME"),
    METRIC("rto_min", true, time_ms, 13, "TIME"),
    METRIC("rttvar", false, time_ms, 5, "TIME"),
    METRIC("window", false, u32, 3, "NUMBER"),
    METRIC("cwnd", false, u32, 7, "NUMBER"),
    METRIC("initcwnd", false, u32, 11, "NUMBER"),
    METRIC("initrwnd", false, u32, 14, "NUMBER"),
    METRIC("quickack", false, u32, 15, "{ 0 | 1 }"),
    METRIC("ssthresh", false, u32, 6, "NUMBER"),
    METRIC("fastopen_no_cookie", false, u32, 17, "{ 0 | 1 }"),
    {"onlink", true, takes::nothing, R_ONLINK, nullptr},
    {"nexthop", true, takes::nothing, R_NEXTHOP, nullptr, nullptr, 0, nexthop_keywords},
    {"protocol", false, takes::protocol, R_PROTO, "RTPROTO", "\"protocol\" value is invalid\n"},
    {"table", false, takes::table, R_TABLE, "TABLE_ID", "\"table\" value is invalid\n"},
    {"vrf", true, takes::word, R_VRF, "NAME"},
    {"dev", true, takes::device, R_DEV, "DEVICE"},
    {"oif", true, takes::device, R_DEV, "DEVICE"},
    // Behind all others, which come first where a beginning could be either's.
    {"local", true, takes::nothing, R_TYPE, nullptr},
    {"broadcast", false, takes::nothing, R_TYPE, nullptr},
    {"anycast", false, takes::nothing, R_TYPE, nullptr},
    {"multicast", false, takes::nothing, R_TYPE, nullptr},
    {"prohibit", false, takes::nothing, R_TYPE, nullptr},
    {"unreachable", false, takes::nothing, R_TYPE, nullptr},
    {"blackhole", false, takes::nothing, R_TYPE, nullptr},
    {"unicast", false, takes::nothing, R_TYPE, nullptr},
    {"throw", true, takes::nothing, R_TYPE, nullptr},
};
#undef METRIC

constexpr int RTAX_RTT = 4, RTAX_RTTVAR = 5, RTAX_RTO_MIN = 13;

} // namespace

bool vrf_table_of(command& c, const std::string& name, uint32_t* table) {
    const net_device* vrf = dev_get_by_name(c.n, name.c_str());
    *table = vrf ? vrf->vrf_table : 0;
    return *table || c.wrong(name, "Invalid VRF\n");
}

namespace {

/// Words of one route on their way into a fib_config.
class route_builder {
public:
    route_builder(command& c, fib_config& cfg) : c_(c), cfg_(cfg) {}

    bool build(std::span<const argument> args) {
        for (const argument& a : args)
            if (!take(a))
                return false;
        if (type_given_ && !dst_given_)
            return c_.incomplete(type_word_);
        if (!dst_given_)
            return c_.fail(255, "", "Error: the destination is missing (\"default\" is all).\n");
        return finish_nexthops();
    }

private:
    bool take(const argument& a) {
        if (a.key->id > R_METRICS)
            return take_metric(a);
        switch (a.key->id) {
        case R_TO:
            cfg_.fc_dst = a.prefix.addr;
            cfg_.fc_dst_len = a.prefix.bitlen;
            dst_given_ = true;
            return true;
        case R_TYPE:
            cfg_.fc_type = *route_type_number(a.key->name);
            cfg_.fc_type_given = type_given_ = true;
            type_word_ = a.word;
            return true;
        case R_SRC:
            cfg_.fc_prefsrc = a.prefix.addr;
            return true;
        case R_TOS:
            cfg_.fc_tos = uint8_t(a.number);
            return true;
        case R_METRIC:
            cfg_.fc_priority = uint32_t(a.number);
            cfg_.fc_priority_given = true;
            return true;
        case R_SCOPE:
            cfg_.fc_scope = uint8_t(a.number);
            cfg_.fc_scope_given = true;
            return true;
        case R_PROTO:
            cfg_.fc_protocol = uint8_t(a.number);
            cfg_.fc_protocol_given = true;
            return true;
        case R_TABLE:
            cfg_.fc_table = uint32_t(a.number);
            return true;
        case R_VRF:
            return vrf_table_of(c_, a.word, &cfg_.fc_table);
        case R_NEXTHOP:
            cfg_.nexthops.emplace_back();
            in_list_ = true;
            return true;
        default:
            return take_nexthop_word(a);
        }
    }
    bool take_metric(const argument& a) {
        int rtax = a.key->id - R_METRICS;
        uint64_t v = a.number;
        bool raw = a.high;
        if (a.key->kind == takes::time_ms && !raw)
            v *= rtax == RTAX_RTT ? 8 : rtax == RTAX_RTTVAR ? 4 : 1;
        cfg_.fc_metrics[rtax - 1] = uint32_t(v);
        if (a.locked || rtax == RTAX_RTO_MIN)
            cfg_.fc_metrics[0] |= 1u << rtax; // RTAX_LOCK
        if (rtax == int(RTAX_MTU))
            cfg_.fc_mtu_locked = a.locked;
        return true;
    }
    bool take_nexthop_word(const argument& a) {
        fib_nh_config& nh = in_list_ ? cfg_.nexthops.back() : single_;
        switch (a.key->id) {
        case R_VIA:
            if (nh.has_gw || nh.has_gw6)
                return c_.wrong(a.key->name, "use nexthop syntax to specify multiple via\n");
            nh.has_gw = !a.ipv6;
            nh.has_gw6 = a.ipv6;
            nh.gw = a.prefix.addr;
            if (a.ipv6)
                memcpy(nh.gw6, a.bytes, sizeof nh.gw6);
            break;
        case R_DEV: {
            net_device* dev = c_.device(a.word);
            if (!dev)
                return false;
            nh.oif = dev->ifindex;
            break;
        }
        case R_WEIGHT:
            if (a.number < 1 || a.number > 256)
                return c_.wrong(a.word, "\"weight\" is invalid\n");
            nh.weight = int(a.number);
            break;
        case R_ONLINK:
            nh.flags |= RTNH_F_ONLINK;
            break;
        }
        if (!in_list_)
            single_given_ = true;
        return true;
    }
    /// A gateway beside a list has to be that of the list's first. Origin: fib_create_info.
    bool finish_nexthops() {
        if (!in_list_) {
            if (single_given_)
                cfg_.nexthops.push_back(single_);
            return true;
        }
        const fib_nh_config& first = cfg_.nexthops.front();
        if (single_.oif && single_.oif != first.oif)
            return c_.answers(-EINVAL, "nexthop", "Nexthop device index does not match RTA_OIF");
        if ((single_.has_gw && !(first.has_gw && first.gw == single_.gw)) ||
            (single_.has_gw6 &&
             !(first.has_gw6 && !memcmp(first.gw6, single_.gw6, sizeof first.gw6))))
            return c_.answers(-EINVAL, "nexthop",
                              "Nexthop gateway does not match RTA_GATEWAY or RTA_VIA");
        return true;
    }

    command& c_;
    fib_config& cfg_;
    fib_nh_config single_;
    bool single_given_ = false, in_list_ = false, dst_given_ = false, type_given_ = false;
    std::string type_word_;
};

std::string destination(const fib_config& cfg) {
    return format_dst(cfg.fc_dst, cfg.fc_dst_len);
}

bool route_modify(command& c, std::span<const argument> args, uint16_t flags) {
    fib_config cfg;
    cfg.fc_nlflags = flags;
    if (!route_builder(c, cfg).build(args))
        return false;
    netlink_ext_ack extack;
    int err = inet_rtm_newroute(c.n, cfg, &extack);
    return !err || c.answers(err, destination(cfg), extack.msg);
}

bool route_add(command& c, std::span<const argument> args) {
    return route_modify(c, args, NLM_F_CREATE | NLM_F_EXCL);
}
bool route_replace(command& c, std::span<const argument> args) {
    return route_modify(c, args, NLM_F_CREATE | NLM_F_REPLACE);
}
bool route_change(command& c, std::span<const argument> args) {
    return route_modify(c, args, NLM_F_REPLACE);
}
bool route_append(command& c, std::span<const argument> args) {
    return route_modify(c, args, NLM_F_CREATE | NLM_F_APPEND);
}
bool route_prepend(command& c, std::span<const argument> args) {
    return route_modify(c, args, NLM_F_CREATE);
}

bool route_del(command& c, std::span<const argument> args) {
    fib_config cfg;
    cfg.fc_type = RTN_UNSPEC;
    cfg.fc_protocol = RTPROT_UNSPEC;
    cfg.fc_scope = RT_SCOPE_NOWHERE;
    if (!route_builder(c, cfg).build(args))
        return false;
    netlink_ext_ack extack;
    int err = inet_rtm_delroute(c.n, cfg, &extack);
    return !err || c.answers(err, destination(cfg), extack.msg);
}

} // namespace

std::span<const verb> route_verbs() {
    static const verb verbs[] = {
        {"list", false, route_selectors(), route_show, "routes", false},
        {"show", false, route_selectors(), route_show, "routes", false},
        {"lst", false, route_selectors(), route_show, "routes", false},
        {"get", false, route_get_keywords(), route_get, "the route that a packet takes", false},
        {"add", false, modify_keywords, route_add, "a new route", true},
        {"change", false, modify_keywords, route_change, "change a route", true},
        {"chg", true, modify_keywords, route_change, "change a route", true},
        {"replace", false, modify_keywords, route_replace, "add or change", true},
        {"prepend", false, modify_keywords, route_prepend, "add in front of equal ones", true},
        {"append", false, modify_keywords, route_append, "add behind equal ones", true},
        {"delete", false, modify_keywords, route_del, "take a route away", true},
        {"flush", false, route_selectors(), route_flush, "take away all that match; `cache`",
         false},
    };
    return verbs;
}

} // namespace slabfwd
