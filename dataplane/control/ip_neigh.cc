// SPDX-License-Identifier: BSD-3-Clause
//
// `ip neigh show`, `get`, `add`, `change`, `replace`, `del`, `flush`, proxies among them.
// Threads: control thread under rtnl; entries are copied under their lock.
// Origin: iproute2's ip/ipneigh.c.
#include <cerrno>
#include <mutex>
#include <optional>

#include "dataplane/control/ip_commands.h"
#include "dataplane/control/values.h"
#include "neigh/ndisc.h"
#include "neigh/neighbour.h"
#include "neigh/softnet.h"

namespace slabfwd {

namespace {

enum neigh_key {
    N_TO,
    N_LLADDR,
    N_NUD,
    N_DEV,
    N_PROXY,
    N_ROUTER,
    N_EXTERN,
    N_PROTO,
    N_UNUSED,
    N_VRF
};

constexpr keyword modify_keywords[] = {
    {"lladdr", true, takes::mac, N_LLADDR, "LLADDR"},
    {"nud", true, takes::nud, N_NUD, "STATE", "nud state is bad"},
    {"proxy", false, takes::prefix, N_PROXY, "ADDRESS", "any valid address"},
    {"router", true, takes::nothing, N_ROUTER, nullptr},
    {"extern_learn", false, takes::nothing, N_EXTERN, nullptr},
    {"dev", true, takes::device, N_DEV, "DEVICE"},
    {"protocol", false, takes::protocol, N_PROTO, "RTPROTO", "\"protocol\" value is invalid\n"},
    {"to", true, takes::neighbour, N_TO, "ADDRESS", "any valid address", KEY_BARE | KEY_ONCE},
};

constexpr keyword show_keywords[] = {
    {"dev", true, takes::device, N_DEV, "DEVICE"},
    {"unused", true, takes::nothing, N_UNUSED, nullptr},
    {"nud", true, takes::word, N_NUD, "{ STATE | all }"},
    {"proxy", true, takes::nothing, N_PROXY, nullptr},
    {"protocol", true, takes::protocol, N_PROTO, "RTPROTO", "\"protocol\" value is invalid\n"},
    {"to", true, takes::prefix, N_TO, "PREFIX", nullptr, KEY_BARE},
};

constexpr keyword get_keywords[] = {
    {"dev", true, takes::device, N_DEV, "DEVICE"},
    {"proxy", true, takes::address, N_PROXY, "ADDRESS", "any valid address"},
    {"to", true, takes::neighbour, N_TO, "ADDRESS", "any valid address", KEY_BARE | KEY_ONCE},
};

/// A copy of an entry.
struct neigh_row {
    neigh_table* tbl = nullptr;
    be32_t key{};
    const net_device* dev = nullptr;
    uint8_t state = 0, ha[ETH_ALEN] = {}, flags = 0, protocol = 0;
    jiffies_t used = 0, confirmed = 0, updated = 0;
    int probes = 0, refcnt = 0;
};

neigh_row copy(neighbour* n) {
    std::lock_guard guard(n->lock);
    neigh_row row;
    row.tbl = n->tbl;
    row.key = n->primary_key;
    row.dev = n->dev;
    row.state = n->nud_state;
    memcpy(row.ha, n->ha, ETH_ALEN);
    row.flags = n->flags;
    row.protocol = n->protocol;
    row.used = n->used;
    row.confirmed = n->confirmed;
    row.updated = n->updated;
    row.probes = n->probes;
    row.refcnt = n->refcnt - 1;
    return row;
}

/// Those of the family that was asked for, or of both.
std::vector<neigh_row> all_neighbours(const command& c) {
    std::vector<neigh_row> rows;
    auto add = [&](neigh_table* tbl) {
        neigh_for_each(
            tbl,
            [](neighbour* e, void* cookie) {
                if (!e->dead)
                    static_cast<std::vector<neigh_row>*>(cookie)->push_back(copy(e));
            },
            &rows);
    };
    if (c.opt.family != AF_INET6)
        add(c.n.arp_tbl);
    if (c.opt.family != AF_INET)
        add(c.n.nd_tbl);
    return rows;
}

std::string address_of(const net& n, const neigh_row& row) {
    return row.tbl == n.nd_tbl ? format_ipv6(in6_of_key(row.tbl, row.key)) : format_ipv4(row.key);
}

void print_state(printer& p, uint8_t state) {
    if (!state)
        return;
    p.json_field("state", json::array({nud_state_name(state)}));
    p.text("{} ", nud_state_name(state));
}

void print_neigh(printer& p, const command& c, const neigh_row& row, bool with_dev) {
    p.begin();
    p.field("dst", address_of(c.n, row), "{} ", address_of(c.n, row));
    if (with_dev)
        p.field("dev", row.dev->name, "dev {} ", row.dev->name);
    if (row.state & NUD_VALID)
        p.field("lladdr", format_mac(row.ha), "lladdr {} ", format_mac(row.ha));
    constexpr struct {
        uint8_t flag;
        const char* name;
    } flags[] = {{NTF_ROUTER, "router"}, {NTF_PROXY, "proxy"}, {NTF_EXT_LEARNED, "extern_learn"}};
    for (auto& f : flags)
        if (row.flags & f.flag)
            p.field(f.name, nullptr, "{} ", f.name);
    if (c.opt.statistics) {
        if (row.refcnt > 0)
            p.field("refcnt", row.refcnt, " ref {}", row.refcnt);
        jiffies_t now = jiffies();
        auto ago = [&](jiffies_t t) { return t > now ? 0 : (now - t) / HZ; };
        p.field("used", ago(row.used), " used {}", ago(row.used));
        p.field("confirmed", ago(row.confirmed), "/{}", ago(row.confirmed));
        p.field("updated", ago(row.updated), "/{}", ago(row.updated));
        p.field("probes", row.probes, "probes {} ", row.probes);
    }
    print_state(p, row.state);
    if (row.protocol)
        p.field("protocol", protocol_name(row.protocol), "proto {} ", protocol_name(row.protocol));
    p.text("\n");
    p.end();
}

void print_proxy(printer& p, const pneigh_entry* e, bool with_dev) {
    p.begin();
    p.field("dst", format_ipv4(e->key), "{} ", format_ipv4(e->key));
    if (with_dev && e->dev)
        p.field("dev", e->dev->name, "dev {} ", e->dev->name);
    p.field("proxy", nullptr, "proxy ");
    if (e->protocol)
        p.field("protocol", protocol_name(e->protocol), "proto {} ", protocol_name(e->protocol));
    p.text("\n");
    p.end();
}

// --- add, change, replace, del ------------------------------------------------------------------

struct neigh_request {
    net_device* dev = nullptr;
    neigh_table* tbl = nullptr;
    be32_t dst{};
    const argument *lladdr = nullptr, *at = nullptr;
    uint8_t state = NUD_PERMANENT, flags = 0, protocol = 0;
};

/// The table and the key of an address as typed.
void target_of(command& c, const argument& a, neigh_table** tbl, be32_t* key) {
    *tbl = a.ipv6 ? c.n.nd_tbl : c.n.arp_tbl;
    *key = a.ipv6 ? in6_key(c.n, a.bytes) : a.prefix.addr;
}

bool make_request(command& c, std::span<const argument> args, neigh_request* r) {
    const argument *name = find_argument(args, N_DEV), *to = find_argument(args, N_TO),
                   *proxy = find_argument(args, N_PROXY);
    r->at = proxy ? proxy : to;
    if (!r->at || (!name && !proxy))
        return c.fail(255, r->at ? r->at->word : "",
                      "Device and destination are required arguments.\n");
    if (name && !(r->dev = c.device(name->word)))
        return false;
    target_of(c, *r->at, &r->tbl, &r->dst);
    r->lladdr = find_argument(args, N_LLADDR);
    if (const argument* nud = find_argument(args, N_NUD))
        r->state = uint8_t(nud->number);
    if (const argument* proto = find_argument(args, N_PROTO))
        r->protocol = uint8_t(proto->number);
    r->flags = uint8_t((proxy ? NTF_PROXY : 0) | (find_argument(args, N_ROUTER) ? NTF_ROUTER : 0) |
                       (find_argument(args, N_EXTERN) ? NTF_EXT_LEARNED : 0));
    return true;
}

bool neigh_modify(command& c, std::span<const argument> args, bool create, bool exclusive) {
    neigh_request r;
    if (!make_request(c, args, &r))
        return false;
    if (r.lladdr && r.lladdr->number < ETH_ALEN)
        return c.answers(-EINVAL, r.lladdr->word, "Invalid link address");
    int err = neigh_add(r.tbl, r.dev, r.dst, r.lladdr ? r.lladdr->bytes : nullptr, r.state, create,
                        exclusive, r.flags, !exclusive, r.protocol);
    if (err == -EINVAL && !r.lladdr && !(r.flags & NTF_PROXY))
        return c.answers(err, r.at->word, "No link layer address given");
    return !err || c.answers(err, r.at->word);
}

bool neigh_add_command(command& c, std::span<const argument> args) {
    return neigh_modify(c, args, true, true);
}
bool neigh_change(command& c, std::span<const argument> args) {
    return neigh_modify(c, args, false, false);
}
bool neigh_replace(command& c, std::span<const argument> args) {
    return neigh_modify(c, args, true, false);
}

bool neigh_del(command& c, std::span<const argument> args) {
    neigh_request r;
    if (!make_request(c, args, &r))
        return false;
    int err = neigh_delete(r.tbl, r.dev, r.dst, r.flags & NTF_PROXY);
    return !err || c.answers(err, r.at->word);
}

// --- show, flush, get ---------------------------------------------------------------------------

constexpr unsigned STATE_NONE_TOO = 0x100; ///< entries without a state are wanted as well

struct neigh_filter {
    const net_device* dev = nullptr;
    std::optional<inet_prefix> to;
    unsigned states = 0;
    bool states_given = false, proxy = false, unused = false;
    std::optional<uint8_t> protocol;

    bool wants_key(be32_t key) const {
        return !to || !((key ^ to->addr) & inet_make_mask(to->bitlen));
    }
    bool wants(const neigh_row& row) const {
        if ((dev && row.dev != dev) || (to && row.tbl != row.dev->nd_net->arp_tbl) ||
            !wants_key(row.key) || (unused && row.refcnt > 0) ||
            (protocol && *protocol != row.protocol))
            return false;
        return (row.state & states) || row.flags & NTF_EXT_LEARNED ||
               (!row.state && states & STATE_NONE_TOO);
    }
};

bool take_state(command& c, const argument& a, neigh_filter* f) {
    if (!f->states_given)
        f->states = 0;
    f->states_given = true;
    if (a.word == "all") {
        f->states = STATE_NONE_TOO | 0xff;
        return true;
    }
    argument v;
    constexpr keyword key{"nud", true, takes::nud, N_NUD, nullptr, "nud state is bad"};
    if (!parse_value(c, key, a.word, true, &v))
        return false;
    f->states |= v.number ? unsigned(v.number) : STATE_NONE_TOO;
    return true;
}

bool make_filter(command& c, std::span<const argument> args, unsigned states, neigh_filter* f) {
    f->states = states;
    for (const argument& a : args)
        switch (a.key->id) {
        case N_DEV:
            if (!(f->dev = c.device(a.word)))
                return false;
            break;
        case N_NUD:
            if (!take_state(c, a, f))
                return false;
            break;
        case N_TO:
            f->to = a.prefix;
            break;
        case N_PROXY:
            f->proxy = true;
            break;
        case N_UNUSED:
            f->unused = true;
            break;
        case N_PROTO:
            f->protocol = uint8_t(a.number);
            break;
        }
    return true;
}

bool neigh_show(command& c, std::span<const argument> args) {
    neigh_filter f;
    if (!make_filter(c, args, 0xff & ~NUD_NOARP, &f))
        return false;
    printer p = c.make_printer();
    if (f.proxy) {
        for (pneigh_entry* e = rcu_dereference(c.n.arp_tbl->phash); e; e = rcu_dereference(e->next))
            if ((!f.dev || e->dev == f.dev) && f.wants_key(e->key))
                print_proxy(p, e, !f.dev);
        return true;
    }
    for (const neigh_row& row : all_neighbours(c))
        if (f.wants(row))
            print_neigh(p, c, row, !f.dev);
    return true;
}

bool neigh_flush(command& c, std::span<const argument> args) {
    if (args.empty())
        return c.fail(1, "", "Flush requires arguments.\n");
    neigh_filter f;
    if (!make_filter(c, args, 0xff & ~(NUD_PERMANENT | NUD_NOARP), &f))
        return false;
    unsigned n = 0;
    for (const neigh_row& row : all_neighbours(c))
        if (f.wants(row))
            n += neigh_delete(row.tbl, const_cast<net_device*>(row.dev), row.key) == 0;
    if (c.opt.statistics)
        c.to.out(n ? fmt::format("\n*** Round 1, deleting {} entries ***\n"
                                 "*** Flush is complete after 1 round ***\n",
                                 n)
                   : std::string("Nothing to flush.\n"));
    return true;
}

bool neigh_get(command& c, std::span<const argument> args) {
    const argument *name = find_argument(args, N_DEV), *to = find_argument(args, N_TO),
                   *proxy = find_argument(args, N_PROXY);
    const argument* at = proxy ? proxy : to;
    if (!name || !at)
        return c.fail(1, at ? at->word : "", "Device and address are required arguments.\n");
    net_device* dev = c.device(name->word);
    if (!dev)
        return false;
    printer p = c.make_printer();
    if (proxy) {
        pneigh_entry* e = pneigh_lookup(c.n.arp_tbl, at->prefix.addr, dev);
        if (!e)
            return c.answers(-ENOENT, at->word, "Proxy neighbour entry not found");
        print_proxy(p, e, true);
        return true;
    }
    neigh_table* tbl;
    be32_t key;
    target_of(c, *at, &tbl, &key);
    neighbour* n = neigh_lookup(tbl, key, dev);
    if (!n)
        return c.answers(-ENOENT, at->word, "Neighbour entry not found");
    neigh_row row = copy(n);
    neigh_release(n);
    --row.refcnt;
    print_neigh(p, c, row, true);
    return true;
}

} // namespace

std::span<const verb> neigh_verbs() {
    static constexpr verb verbs[] = {
        {"add", false, modify_keywords, neigh_add_command, "a new neighbour", false},
        {"change", true, modify_keywords, neigh_change, "change a neighbour", false},
        {"chg", true, modify_keywords, neigh_change, "change a neighbour", false},
        {"replace", false, modify_keywords, neigh_replace, "add or change", false},
        {"delete", false, modify_keywords, neigh_del, "forget a neighbour", false},
        {"get", false, get_keywords, neigh_get, "one neighbour", false},
        {"show", false, show_keywords, neigh_show, "the neighbour table", false},
        {"list", false, show_keywords, neigh_show, "the neighbour table", false},
        {"lst", false, show_keywords, neigh_show, "the neighbour table", false},
        {"flush", false, show_keywords, neigh_flush, "forget all that match", false},
    };
    return verbs;
}

} // namespace slabfwd
