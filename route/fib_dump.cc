// SPDX-License-Identifier: BSD-3-Clause
//
// Walking whole tables: what `ip route show` prints, in the order in which Linux does (rising
// addresses, of equal ones the longest prefix first, then TOS falling, metric rising), and `ip
// route flush`. Doors: fib_table_dump, fib_result_row, fib_flush_matching. Threads: under rtnl.
// Origin: net/ipv4/fib_trie.c (fib_table_dump), net/ipv4/fib_semantics.c (fib_dump_info); 6.18.
#include <algorithm>
#include <cstring>
#include <vector>

#include "route/fib_lookup.h"
#include "route/route.h"

namespace slabfwd {

namespace {

struct table_row {
    uint32_t key;
    int plen;
    const fib_node* node;
};

std::vector<table_row> sorted_nodes(const fib_table* tb) {
    std::vector<table_row> rows;
    for (const fn_zone* fz = tb->tb_data.fn_zone_list; fz; fz = fz->fz_next)
        for (uint32_t i = 0; i <= fz->fz_hash->hashmask; ++i)
            for (const fib_node* f = fz->fz_hash->bucket[i]; f; f = f->fn_hash)
                rows.push_back({be32_to_cpu(f->fn_key), fz->fz_order, f});
    std::ranges::sort(rows, [](const table_row& a, const table_row& b) {
        return a.key != b.key ? a.key < b.key : a.plen > b.plen;
    });
    return rows;
}

uint32_t shown_flags(const fib_nh& nh) {
    uint32_t flags = uint32_t(int(nh.fib_nh_flags));
    if ((flags & RTNH_F_LINKDOWN) && ip_ignore_linkdown(nh.fib_nh_dev))
        flags |= RTNH_F_DEAD;
    return flags;
}

fib_nh_config shown_nexthop(const fib_nh& nh) {
    fib_nh_config out;
    out.has_gw = nh.gw_family == AF_INET_;
    out.gw = nh.fib_nh_gw4;
    out.has_gw6 = nh.gw_family == AF_INET6_;
    memcpy(out.gw6, nh.gw6, sizeof(out.gw6));
    out.oif = nh.fib_nh_oif;
    out.weight = nh.fib_nh_weight;
    out.flags = shown_flags(nh);
    return out;
}

fib_route_row shown_row(uint32_t tb_id, const table_row& at, const fib_alias* fa) {
    const fib_info* fi = fa->fa_info;
    fib_route_row row{};
    row.table = tb_id;
    row.type = fa->fa_type;
    row.protocol = fi->fib_protocol;
    row.scope = fi->fib_scope;
    row.tos = fa->fa_tos;
    row.dst_len = uint8_t(at.plen);
    row.dst = at.node->fn_key;
    row.prefsrc = fi->fib_prefsrc;
    row.priority = fi->fib_priority;
    std::copy(std::begin(fi->fib_metrics), std::end(fi->fib_metrics), row.metrics);
    row.mtu_locked = fi->mtu_locked;
    row.flags = uint32_t(int(fi->fib_flags));
    for (int i = 0; i < fi->fib_nhs; ++i)
        if (fi->fib_nhs > 1 || fi->fib_nh_[i].fib_nh_dev) // blackhole & co. have none
            row.nexthops.push_back(shown_nexthop(fi->fib_nh_[i]));
    if (fi->fib_nhs == 1)
        row.flags |= shown_flags(fi->fib_nh_[0]);
    return row;
}

bool dump_table(const fib_table* tb, bool (*fn)(const fib_route_row&, void*), void* cookie) {
    for (const table_row& at : sorted_nodes(tb))
        for (const fib_alias* fa = at.node->fn_alias; fa; fa = fa->fa_next)
            if (!fn(shown_row(tb->tb_id, at, fa), cookie))
                return false;
    return true;
}

/// What a flush names.
struct flush_request {
    uint8_t protocol, type;
    const net_device* dev;
    be32_t root;
    int root_len;
};

bool flush_wanted(const fib_table*, const fib_node* f, int plen, const fib_alias* fa,
                  void* cookie) {
    const auto* want = static_cast<const flush_request*>(cookie);
    const fib_info* fi = fa->fa_info;
    auto by_dev = [&] {
        for (int i = 0; i < fi->fib_nhs; ++i)
            if (fi->fib_nh_[i].fib_nh_dev == want->dev)
                return true;
        return false;
    };
    return (!want->protocol || fi->fib_protocol == want->protocol) &&
           (!want->type || fa->fa_type == want->type) && (!want->dev || by_dev()) &&
           plen >= want->root_len && !((f->fn_key ^ want->root) & inet_make_mask(want->root_len));
}

template <class F>
void for_each_table(net& n, uint32_t id, F f) {
    for (fib_table* head : n.ipv4.fib->fib_table_hash)
        for (fib_table* tb = head; tb; tb = tb->tb_next)
            if (id == RT_TABLE_UNSPEC || tb->tb_id == id)
                f(tb);
}

} // namespace

void fib_table_dump(net& n, uint32_t table, bool (*fn)(const fib_route_row&, void*), void* cookie) {
    std::lock_guard rtnl(n.rtnl);
    bool more = true;
    for_each_table(n, table, [&](fib_table* tb) { more = more && dump_table(tb, fn, cookie); });
}

bool fib_result_row(const fib_result& res, fib_route_row* row) {
    const fib_net* fn = res.table->tb_net;
    // Until the first `ip rule` command the answer may be the other table's (fib_table_lookup).
    for (const fib_table* tb : {res.table, fn->fib_local, fn->fib_main})
        if (const fib_node* f = fib_find_node(tb, res.prefix, res.prefixlen))
            for (const fib_alias* fa = f->fn_alias; fa; fa = fa->fa_next)
                if (fa->fa_info == res.fi && fa->fa_type == res.type && fa->fa_tos == res.tos) {
                    *row = shown_row(res.tb_id, {0, res.prefixlen, f}, fa);
                    return true;
                }
    return false;
}

int fib_flush_matching(net& n, uint32_t table, uint8_t protocol, uint8_t type,
                       const net_device* dev, be32_t root, int root_len) {
    std::lock_guard rtnl(n.rtnl);
    flush_request want{protocol, type, dev, root, root_len};
    int flushed = 0;
    for_each_table(n, table,
                   [&](fib_table* tb) { flushed += fib_table_flush(tb, flush_wanted, &want); });
    rt_cache_flush(n);
    return flushed;
}

} // namespace slabfwd
