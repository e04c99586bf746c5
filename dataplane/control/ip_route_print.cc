// SPDX-License-Identifier: BSD-3-Clause
//
// One route as `ip route` prints it, field by field.
// Threads: control thread. Origin of the format: iproute2's ip/iproute.c (print_route).
#include "dataplane/control/ip_route.h"
#include "dataplane/control/values.h"
#include "route/route.h"

namespace slabfwd {

namespace {

struct flag_name {
    uint32_t flag;
    const char* name;
};
constexpr flag_name nexthop_flags[] = {{RTNH_F_DEAD, "dead"},
                                       {RTNH_F_ONLINK, "onlink"},
                                       {RTNH_F_PERVASIVE, "pervasive"},
                                       {RTNH_F_LINKDOWN, "linkdown"}};
constexpr flag_name cache_flags[] = {
    {RTCF_LOCAL, "local"},          {RTCF_MULTICAST, "mc"},         {RTCF_BROADCAST, "brd"},
    {RTCF_DIRECTDST, "dst-direct"}, {RTCF_DIRECTSRC, "src-direct"}, {RTCF_REDIRECTED, "redirected"},
    {RTCF_DOREDIRECT, "redirect"},  {RTCF_NOTIFY, "notify"}};
constexpr const char* metric_names[RTAX_MAX + 1] = {
    nullptr,    nullptr,   "mtu",      "window",     "rtt",      "rttvar",
    "ssthresh", "cwnd",    "advmss",   "reordering", "hoplimit", "initcwnd",
    "features", "rto_min", "initrwnd", "quickack",   "congctl",  "fastopen_no_cookie"};

std::string device_name(const command& c, int ifindex) {
    net_device* dev = dev_get_by_index(c.n, ifindex);
    return dev ? dev->name : fmt::format("if{}", ifindex);
}

void flags_of(uint32_t flags, json* list, std::string* text) {
    *list = json::array();
    for (const flag_name& f : nexthop_flags)
        if (flags & f.flag) {
            list->push_back(f.name);
            *text += fmt::format("{} ", f.name);
        }
}

/// "via 10.0.0.1 " and {"gateway": ...}.
void gateway_of(const fib_nh_config& nh, json* to, std::string* text) {
    if (nh.has_gw6) {
        (*to)["via"] = {{"family", "inet6"}, {"host", format_ipv6(nh.gw6)}};
        *text += fmt::format("via inet6 {} ", format_ipv6(nh.gw6));
    } else if (nh.has_gw) {
        (*to)["gateway"] = format_ipv4(nh.gw);
        *text += fmt::format("via {} ", format_ipv4(nh.gw));
    }
}

/// The members that a helper made join the entry in their order.
void add(printer& p, const json& members, const std::string& text) {
    p.text("{}", text);
    if (p.as_json())
        for (auto& [key, value] : members.items())
            p.object()[key] = value;
}

std::string metric_text(unsigned rtax, uint32_t v) {
    if (rtax != 4 && rtax != 5 && rtax != 13)
        return fmt::format("{} ", v);
    if (v >= 1000)
        return fmt::format("{:g}s ", v / 1e3);
    return fmt::format("{}ms ", v);
}

void print_metrics(printer& p, const fib_route_row& row) {
    json values = json::object();
    for (unsigned i = RTAX_MTU; i <= RTAX_MAX; ++i) {
        uint32_t v = row.metrics[i - 1];
        if (!v || !metric_names[i])
            continue;
        v /= i == 4 ? 8 : i == 5 ? 4 : 1;
        bool locked = (row.metrics[0] >> i & 1) || (i == RTAX_MTU && row.mtu_locked);
        values[metric_names[i]] = v;
        p.text("{} {}{}", metric_names[i], locked ? "lock " : "", metric_text(i, v));
    }
    if (p.as_json() && !values.empty())
        p.object()["metrics"] = json::array({values});
}

void print_cache(printer& p, const command& c, const route_view& v) {
    json list = json::array();
    std::string names;
    for (const flag_name& f : cache_flags)
        if (v.cache_flags & f.flag) {
            list.push_back(f.name);
            names += fmt::format("{}{}", names.empty() ? "" : ",", f.name);
        }
    p.field("cache", list, "{}    cache ", p.nl());
    if (!names.empty())
        p.text("<{}> ", names);
    if (v.expires_sec)
        p.field("expires", v.expires_sec, "expires {}sec ", v.expires_sec);
    if (v.error)
        p.field("error", v.error, "error {} ", v.error);
    if (!c.opt.statistics)
        return;
    if (v.users)
        p.field("users", v.users, "users {} ", v.users);
    if (v.used)
        p.field("used", v.used, "used {} ", v.used);
    if (v.age_sec)
        p.field("age", v.age_sec, "age {}sec ", v.age_sec);
}

void print_nexthops(printer& p, const command& c, const fib_route_row& row) {
    json list = json::array();
    for (const fib_nh_config& nh : row.nexthops) {
        json one = json::object(), flags;
        std::string text;
        gateway_of(nh, &one, &text);
        if (nh.oif) {
            one["dev"] = device_name(c, nh.oif);
            text += fmt::format("dev {} ", device_name(c, nh.oif));
        }
        one["weight"] = nh.weight;
        text += fmt::format("weight {} ", nh.weight);
        flags_of(nh.flags, &flags, &text);
        one["flags"] = flags;
        list.push_back(one);
        p.text("{}\tnexthop {}", p.nl(), text);
    }
    p.json_field("nexthops", list);
}

void print_table_columns(printer& p, const command& c, const route_view& v,
                         const route_columns& columns) {
    const fib_route_row& row = v.row;
    const bool all = c.opt.details;
    if (columns.table && row.table && (row.table != RT_TABLE_MAIN || all)) {
        std::string name = table_name(row.table, c.opt.numeric);
        p.field("table", name, "table {} ", name);
    }
    if (v.cloned)
        return;
    if (columns.protocol && (row.protocol != RTPROT_BOOT || all)) {
        std::string name = protocol_name(row.protocol, c.opt.numeric);
        p.field("protocol", name, "proto {} ", name);
    }
    if (columns.scope && (row.scope != RT_SCOPE_UNIVERSE || all)) {
        std::string name = scope_name(row.scope, c.opt.numeric);
        p.field("scope", name, "scope {} ", name);
    }
}

void print_destination(printer& p, const command& c, const route_view& v,
                       const route_columns& columns) {
    const fib_route_row& row = v.row;
    if (row.type != RTN_UNICAST || c.opt.details) {
        std::string type = route_type_name(row.type, c.opt.numeric);
        p.field("type", type, "{} ", type);
    }
    std::string dst = row.dst_len == 0 ? (row.dst ? format_ipv4(row.dst) + "/0" : "default")
                                       : format_dst(row.dst, row.dst_len);
    p.field("dst", dst, "{} ", dst);
    if (v.has_from) {
        std::string from = format_dst(v.from, v.from_len);
        p.field("from", from, "from {} ", from);
    }
    if (row.tos && columns.tos) {
        std::string tos = dsfield_name(row.tos, c.opt.numeric);
        p.field("tos", tos, "tos {} ", tos);
    }
}

} // namespace

void print_route(printer& p, const command& c, const route_view& v, const route_columns& columns) {
    const fib_route_row& row = v.row;
    p.begin();
    print_destination(p, c, v, columns);
    const fib_nh_config* nh = row.nexthops.size() == 1 ? &row.nexthops[0] : nullptr;
    json members = json::object();
    std::string text;
    if (nh && columns.via)
        gateway_of(*nh, &members, &text);
    add(p, members, text);
    if (nh && nh->oif && columns.dev)
        p.field("dev", device_name(c, nh->oif), "dev {} ", device_name(c, nh->oif));
    print_table_columns(p, c, v, columns);
    if (row.prefsrc && columns.src)
        p.field("prefsrc", format_ipv4(row.prefsrc), "src {} ", format_ipv4(row.prefsrc));
    if (row.priority && columns.metric)
        p.field("metric", row.priority, "metric {} ", row.priority);
    json flags;
    text.clear();
    flags_of(row.flags, &flags, &text);
    p.field("flags", flags, "{}", text);
    if (v.mark)
        p.field("mark", v.mark, "mark {} ",
                v.mark >= 16 ? fmt::format("0x{:x}", v.mark) : fmt::format("{}", v.mark));
    if (v.has_uid)
        p.field("uid", 0, "uid 0 ");
    if (v.cloned)
        print_cache(p, c, v);
    print_metrics(p, row);
    if (v.iif)
        p.field("iif", device_name(c, v.iif), "iif {} ", device_name(c, v.iif));
    if (row.nexthops.size() > 1)
        print_nexthops(p, c, row);
    p.text("\n");
    p.end();
}

} // namespace slabfwd
