// SPDX-License-Identifier: BSD-3-Clause
//
// `ip route show` and `ip route flush` with their selectors, the route cache among the tables.
// Threads: control thread under rtnl. Origin: iproute2's ip/iproute.c (iproute_list_flush_or_save,
// filter_nlmsg).
#include <algorithm>
#include <cerrno>
#include <optional>

#include "dataplane/control/ip_route.h"
#include "dataplane/control/values.h"
#include "route/route.h"

namespace slabfwd {

namespace {

enum selector_key {
    S_TO,
    S_ROOT,
    S_MATCH,
    S_EXACT,
    S_TABLE,
    S_CACHE,
    S_TOS,
    S_METRIC,
    S_PROTO,
    S_SCOPE,
    S_TYPE,
    S_DEV,
    S_IIF,
    S_VIA,
    S_SRC,
    S_FROM,
    S_VRF
};

constexpr keyword selectors[] = {
    {"table", false, takes::word, S_TABLE, "{ TABLE_ID | all | cache }"},
    {"vrf", true, takes::word, S_VRF, "NAME"},
    {"cached", false, takes::nothing, S_CACHE, nullptr},
    {"cloned", false, takes::nothing, S_CACHE, nullptr},
    {"tos", true, takes::tos, S_TOS, "TOS", "TOS value is invalid\n"},
    {"dsfield", false, takes::tos, S_TOS, "TOS", "TOS value is invalid\n"},
    {"metric", false, takes::u32, S_METRIC, "NUMBER", "\"metric\" value is invalid\n"},
    {"priority", false, takes::u32, S_METRIC, "NUMBER", "\"metric\" value is invalid\n"},
    {"protocol", false, takes::word, S_PROTO, "RTPROTO"},
    {"scope", false, takes::word, S_SCOPE, "SCOPE"},
    {"type", false, takes::route_type, S_TYPE, "TYPE", "node type value is invalid\n"},
    {"dev", true, takes::device, S_DEV, "DEVICE"},
    {"oif", true, takes::device, S_DEV, "DEVICE"},
    {"iif", true, takes::device, S_IIF, "DEVICE"},
    {"via", true, takes::prefix, S_VIA, "PREFIX", "inet prefix", KEY_FOREIGN},
    {"src", true, takes::prefix, S_SRC, "PREFIX", "inet prefix"},
    {"from", false, takes::prefix, S_FROM, "PREFIX"},
    {"to", true, takes::nothing, S_TO, nullptr},
    {"root", true, takes::prefix, S_ROOT, "PREFIX"},
    {"match", true, takes::prefix, S_MATCH, "PREFIX"},
    {"exact", true, takes::prefix, S_EXACT, "PREFIX", nullptr, KEY_BARE},
};

struct route_filter {
    uint32_t table = RT_TABLE_MAIN; ///< RT_TABLE_UNSPEC: all
    bool cache = false;
    std::optional<uint8_t> tos, protocol, scope, type;
    std::optional<uint32_t> metric;
    int oif = 0, iif = 0;
    std::optional<inet_prefix> via, src, from, root, match;
};

bool covers(const inet_prefix& p, be32_t addr) {
    return !((p.addr ^ addr) & inet_make_mask(p.bitlen));
}

/// A word that is a number or name of kind, or "all".
bool value_or_all(command& c, const argument& a, takes kind, const char* wrong,
                  std::optional<uint8_t>* to) {
    if (a.word == "all")
        return true;
    argument v;
    const keyword key{a.key->name, true, kind, a.key->id, nullptr, wrong};
    if (!parse_value(c, key, a.word, true, &v))
        return false;
    *to = uint8_t(v.number);
    return true;
}

bool take_table(command& c, const argument& a, route_filter* f) {
    if (a.word == "cache") {
        f->cache = true;
        return true;
    }
    auto id = a.word == "all" ? std::optional<uint32_t>(0) : table_number(a.word);
    if (!id)
        return c.wrong(a.word, "table id value is invalid\n");
    f->table = *id;
    return true;
}

bool take_device(command& c, const argument& a, int* ifindex) {
    net_device* dev = c.device(a.word);
    if (dev)
        *ifindex = dev->ifindex;
    return dev;
}

/// "any" and "all" are of any family, and so say nothing of a destination, whereas "default" is
/// 0.0.0.0/0. Gateways and sources that nothing is asked of need not even be there.
bool says_nothing(const command& c, const argument& a) {
    if (a.key->id == S_VIA || a.key->id == S_SRC)
        return !a.prefix.bitlen;
    return a.prefix.any && a.word != "default" && c.opt.family != AF_INET;
}

bool take_selector(command& c, const argument& a, route_filter* f) {
    if (says_nothing(c, a))
        return true;
    switch (a.key->id) {
    case S_TABLE:
        return take_table(c, a, f);
    case S_VRF:
        return vrf_table_of(c, a.word, &f->table);
    case S_CACHE:
        f->cache = true;
        return true;
    case S_TOS:
        f->tos = uint8_t(a.number);
        return true;
    case S_METRIC:
        f->metric = uint32_t(a.number);
        return true;
    case S_PROTO:
        return value_or_all(c, a, takes::protocol, "invalid \"protocol\"\n", &f->protocol);
    case S_SCOPE:
        return value_or_all(c, a, takes::scope, "invalid \"scope\"\n", &f->scope);
    case S_TYPE:
        f->type = uint8_t(a.number);
        return true;
    case S_DEV:
        return take_device(c, a, &f->oif);
    case S_IIF:
        return take_device(c, a, &f->iif);
    case S_VIA:
        f->via = a.prefix;
        return true;
    case S_SRC:
        f->src = a.prefix;
        return true;
    case S_FROM:
        f->from = a.prefix;
        return true;
    case S_ROOT:
        f->root = a.prefix;
        return true;
    case S_MATCH:
        f->match = a.prefix;
        return true;
    case S_EXACT:
        f->root = f->match = a.prefix;
        return true;
    }
    return true;
}

bool wants_destination(const route_filter& f, be32_t dst, unsigned len) {
    if (f.root && (len < f.root->bitlen || !covers(*f.root, dst)))
        return false;
    return !f.match ||
           (len <= f.match->bitlen && !((f.match->addr ^ dst) & inet_make_mask(int(len))));
}

bool wants(const route_filter& f, const fib_route_row& row) {
    const fib_nh_config* nh = row.nexthops.size() == 1 ? &row.nexthops[0] : nullptr;
    if (f.iif || f.from)
        return false;
    if ((f.tos && *f.tos != row.tos) || (f.protocol && *f.protocol != row.protocol) ||
        (f.scope && *f.scope != row.scope) || (f.type && *f.type != row.type) ||
        (f.metric && *f.metric != row.priority))
        return false;
    if (f.oif && !(nh && nh->oif == f.oif))
        return false;
    if (f.via && !(nh && nh->has_gw && covers(*f.via, nh->gw)))
        return false;
    if (f.src && !(row.prefsrc && covers(*f.src, row.prefsrc)))
        return false;
    return wants_destination(f, row.dst, row.dst_len);
}

bool make_filter(command& c, std::span<const argument> args, route_filter* f) {
    return std::ranges::all_of(args, [&](const argument& a) { return take_selector(c, a, f); });
}

/// The kernel knows a table once it had a route. The three standard ones always are.
bool table_exists(command& c, const route_filter& f) {
    return f.table == RT_TABLE_UNSPEC || fib_get_table(c.n, f.table);
}

bool no_table(command& c, const route_filter& f, const char* what) {
    return c.fail(2, fmt::format("{}", f.table),
                  fmt::format("Error: ipv4: FIB table does not exist.\n{} terminated\n", what));
}

template <class F>
void for_each_route(net& n, const route_filter& f, F fn) {
    struct walk {
        const route_filter& f;
        F& fn;
    } w{f, fn};
    fib_table_dump(
        n, f.table,
        [](const fib_route_row& row, void* cookie) {
            walk& w = *static_cast<walk*>(cookie);
            if (wants(w.f, row))
                w.fn(row);
            return true;
        },
        &w);
}

route_columns columns_for(const route_filter& f) {
    route_columns columns;
    columns.table = f.table == RT_TABLE_UNSPEC;
    columns.dev = !f.oif;
    columns.via = !(f.via && f.via->bitlen == 32); // a single one need not be told again
    columns.src = !(f.src && f.src->bitlen == 32);
    columns.protocol = !f.protocol;
    columns.scope = !f.scope;
    columns.metric = !f.metric;
    columns.tos = !f.tos;
    return columns;
}

void show_routes(command& c, const route_filter& f) {
    printer p = c.make_printer();
    const route_columns columns = columns_for(f);
    for_each_route(c.n, f, [&](const fib_route_row& row) {
        route_view v;
        v.row = row;
        print_route(p, c, v, columns);
    });
}

// --- the cache ----------------------------------------------------------------------------------

bool wants_cached(const route_filter& f, const rt_cache_row& row) {
    if ((f.tos && *f.tos != row.tos) || (f.type && *f.type != row.type) ||
        (f.oif && f.oif != row.oif) || (f.iif && f.iif != row.iif))
        return false;
    if (f.via && !covers(*f.via, row.gateway))
        return false;
    if (f.from && !covers(*f.from, row.src))
        return false;
    return wants_destination(f, row.dst, 32);
}

route_view view_of(const command& c, const rt_cache_row& row) {
    route_view v;
    v.cloned = true;
    v.row.type = row.type;
    v.row.dst = row.dst;
    v.row.dst_len = 32;
    v.row.tos = row.tos;
    v.row.metrics[RTAX_MTU - 1] = row.mtu;
    if (net_device* dev = dev_get_by_name(c.n, row.iface)) {
        fib_nh_config nh;
        nh.oif = dev->ifindex;
        nh.has_gw = row.gateway != row.dst;
        nh.gw = row.gateway;
        v.row.nexthops.push_back(nh);
    }
    v.has_from = row.iif;
    v.from = row.src;
    if (!row.iif)
        v.row.prefsrc = row.src;
    v.cache_flags = row.flags;
    v.mark = row.mark;
    v.iif = row.iif;
    jiffies_t now = jiffies();
    v.expires_sec =
        row.expires && time_after(row.expires, now) ? uint32_t((row.expires - now) / HZ) : 0;
    v.error = uint32_t(row.error);
    v.users = uint32_t(row.refcnt);
    v.used = row.use;
    v.age_sec = uint32_t(row.age_jiffies / HZ);
    return v;
}

void show_cache(command& c, const route_filter& f) {
    printer p = c.make_printer();
    for (const rt_cache_row& row : rt_cache_dump(c.n, 0))
        if (wants_cached(f, row))
            print_route(p, c, view_of(c, row), columns_for(f));
}

// --- flush --------------------------------------------------------------------------------------

fib_config deletion_of(const fib_route_row& row) {
    fib_config cfg;
    cfg.fc_table = row.table;
    cfg.fc_dst = row.dst;
    cfg.fc_dst_len = row.dst_len;
    cfg.fc_tos = row.tos;
    cfg.fc_type = row.type;
    cfg.fc_protocol = row.protocol;
    cfg.fc_scope = row.scope;
    cfg.fc_type_given = cfg.fc_protocol_given = cfg.fc_scope_given = cfg.fc_priority_given = true;
    cfg.fc_priority = row.priority;
    cfg.fc_prefsrc = row.prefsrc;
    cfg.nexthops = row.nexthops;
    for (fib_nh_config& nh : cfg.nexthops)
        nh.flags &= RTNH_F_ONLINK;
    return cfg;
}

} // namespace

std::span<const keyword> route_selectors() {
    return selectors;
}

bool route_show(command& c, std::span<const argument> args) {
    route_filter f;
    if (!make_filter(c, args, &f))
        return false;
    if (f.cache) {
        show_cache(c, f);
        return true;
    }
    if (!table_exists(c, f))
        return no_table(c, f, "Dump");
    show_routes(c, f);
    return true;
}

bool route_flush(command& c, std::span<const argument> args) {
    if (args.empty())
        return c.fail(1, "", "\"ip route flush\" requires arguments.\n");
    route_filter f;
    if (!make_filter(c, args, &f))
        return false;
    if (f.cache) {
        ipv4_sysctl_rtcache_flush(c.n);
        if (c.opt.statistics)
            c.to.out("*** IPv4 routing cache is flushed.\n");
        return true;
    }
    if (!table_exists(c, f))
        return no_table(c, f, "Flush");
    if (c.opt.statistics > 1)
        show_routes(c, f);
    std::vector<fib_config> victims;
    for_each_route(c.n, f, [&](const fib_route_row& row) { victims.push_back(deletion_of(row)); });
    rt_genid_batch_begin(c.n);
    size_t n = 0;
    for (const fib_config& cfg : victims)
        n += inet_rtm_delroute(c.n, cfg, nullptr) == 0;
    rt_genid_batch_end(c.n);
    if (c.opt.statistics)
        c.to.out(n ? fmt::format("\n*** Round 1, deleting {} entries ***\n"
                                 "*** Flush is complete after 1 round ***\n",
                                 n)
                   : std::string("Nothing to flush.\n"));
    return true;
}

} // namespace slabfwd
