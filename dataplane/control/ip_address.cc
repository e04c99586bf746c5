// SPDX-License-Identifier: BSD-3-Clause
//
// `ip addr show`, `add`, `del`, `change`, `replace`, `flush`.
// Threads: control thread under rtnl. Origin: iproute2's ip/ipaddress.c.
#include <arpa/inet.h>
#include <cerrno>
#include <fnmatch.h>

#include "dataplane/control/ip_commands.h"
#include "dataplane/control/ip_link.h"
#include "dataplane/control/values.h"
#include "neigh/inetdevice.h"
#include "neigh/neighbour.h"
#include "route/ip_fib.h"

namespace slabfwd {

namespace {

enum address_key {
    A_LOCAL,
    A_PEER,
    A_BROADCAST,
    A_LABEL,
    A_SCOPE,
    A_DEV,
    A_METRIC,
    A_VALID,
    A_PREFERRED,
    A_NOPREFIXROUTE,
    A_TO,
    A_UP,
    A_PRIMARY,
    A_SECONDARY,
    A_PERMANENT,
    A_DYNAMIC,
    A_MASTER
};

constexpr keyword modify_keywords[] = {
    {"peer", true, takes::prefix, A_PEER, "PREFIX", nullptr, KEY_DUP},
    {"remote", true, takes::prefix, A_PEER, "PREFIX", nullptr, KEY_DUP},
    {"broadcast", false, takes::broadcast, A_BROADCAST, "{ ADDRESS | + | - }", nullptr, KEY_DUP},
    {"brd", true, takes::broadcast, A_BROADCAST, "{ ADDRESS | + | - }", nullptr, KEY_DUP},
    {"scope", true, takes::scope, A_SCOPE, "SCOPE", "invalid scope value."},
    {"dev", true, takes::device, A_DEV, "DEVICE"},
    {"label", true, takes::word, A_LABEL, "LABEL"},
    {"metric", false, takes::u32, A_METRIC, "METRIC", "\"metric\" value is invalid\n"},
    {"priority", false, takes::u32, A_METRIC, "METRIC", "\"metric\" value is invalid\n"},
    {"preference", true, takes::u32, A_METRIC, "METRIC", "\"metric\" value is invalid\n"},
    {"valid_lft", true, takes::word, A_VALID, "forever"},
    {"preferred_lft", true, takes::word, A_PREFERRED, "forever"},
    {"noprefixroute", true, takes::nothing, A_NOPREFIXROUTE, nullptr},
    {"local", true, takes::prefix, A_LOCAL, "PREFIX", nullptr, KEY_BARE | KEY_ONCE},
};

constexpr keyword show_keywords[] = {
    {"to", true, takes::prefix, A_TO, "PREFIX"},
    {"scope", true, takes::word, A_SCOPE, "SCOPE"},
    {"up", true, takes::nothing, A_UP, nullptr},
    {"label", true, takes::word, A_LABEL, "LABEL"},
    {"primary", true, takes::nothing, A_PRIMARY, nullptr},
    {"secondary", true, takes::nothing, A_SECONDARY, nullptr},
    {"temporary", true, takes::nothing, A_SECONDARY, nullptr},
    {"permanent", true, takes::nothing, A_PERMANENT, nullptr},
    {"dynamic", true, takes::nothing, A_DYNAMIC, nullptr},
    {"master", true, takes::word, A_MASTER, "DEVICE"},
    {"dev", true, takes::device, A_DEV, "DEVICE", nullptr, KEY_BARE | KEY_ONCE},
};

void set_broadcast(const argument& a, ifa_config* cfg) {
    cfg->broadcast_given = true;
    be32_t host = ~inet_make_mask(cfg->prefixlen);
    if (a.word == "+" || a.word == "-") {
        cfg->broadcast_given = cfg->prefixlen <= 30;
        cfg->broadcast = a.word == "+" ? cfg->address | host : cfg->address & ~host;
    } else {
        cfg->broadcast = *parse_ipv4(a.word);
    }
}

bool check_lifetimes(command& c, std::span<const argument> args) {
    for (int id : {A_VALID, A_PREFERRED}) {
        const argument* a = find_argument(args, id);
        if (!a || a->word == "forever")
            continue;
        const char* name = a->key->name;
        auto seconds = parse_number(a->word, UINT32_MAX);
        if (!seconds)
            return c.wrong(a->word, fmt::format("{} value", name));
        if (id == A_VALID && *seconds == 0)
            return c.fail(1, a->word, "valid_lft is zero\n");
        if (*seconds != UINT32_MAX)
            return c.unsupported(a->word,
                                 "Addresses with a lifetime are not taken: \"forever\" only");
    }
    return true;
}

/// What add, change and del have in common; prefix lengths and peer sorted out.
bool collect(command& c, std::span<const argument> args, bool deletion, ifa_config* cfg,
             net_device** dev) {
    const argument* name = find_argument(args, A_DEV);
    if (!name)
        return c.fail(1, "", "Not enough information: \"dev\" argument is required.\n");
    const argument *local = find_argument(args, A_LOCAL), *peer = find_argument(args, A_PEER);
    if (local) {
        cfg->local = cfg->address = local->prefix.addr;
        cfg->prefixlen = local->prefix.bitlen;
        cfg->prefixlen_given = local->prefix.has_len || peer;
    }
    if (peer) {
        cfg->address = peer->prefix.addr;
        cfg->prefixlen = peer->prefix.bitlen;
    }
    if (const argument* brd = find_argument(args, A_BROADCAST))
        set_broadcast(*brd, cfg);
    if (!check_lifetimes(c, args))
        return false;
    const argument* scope = find_argument(args, A_SCOPE);
    if (scope)
        cfg->scope = uint8_t(scope->number);
    else if (!deletion && local)
        cfg->scope = ipv4_is_loopback(cfg->local) ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
    cfg->scope_given = scope;
    if (const argument* label = find_argument(args, A_LABEL)) {
        if (label->word.size() >= IFNAMSIZ_)
            return c.answers(-ERANGE, label->word, "Attribute failed policy validation");
        cfg->label = label->word;
    }
    if (const argument* metric = find_argument(args, A_METRIC))
        cfg->rt_priority = uint32_t(metric->number);
    if (find_argument(args, A_NOPREFIXROUTE))
        cfg->flags |= IFA_F_NOPREFIXROUTE;
    if (!(*dev = c.device(name->word)))
        return false;
    return local || c.answers(-EOPNOTSUPP, name->word);
}

/// Once an address was set, a device's tunables no longer follow conf.default. Origin:
/// ipv4_devconf_setall.
void tunables_are_own(net_device* dev) {
    in_device* in_dev = __in_dev_get_rcu(dev);
    in_dev->cnf.state = ~uint64_t(0);
    if (dev->arp_parms)
        dev->arp_parms->data_state.store(~uint32_t(0), std::memory_order_relaxed);
}

/// `change` of an address that is not there adds it, as the kernel has it.
bool address_new(command& c, std::span<const argument> args, bool replace) {
    ifa_config cfg;
    net_device* dev = nullptr;
    if (!collect(c, args, false, &cfg, &dev))
        return false;
    const std::string& at = find_argument(args, A_LOCAL)->word;
    netlink_ext_ack extack;
    int err = inet_rtm_newaddr(c.n, dev, cfg, replace, &extack);
    if (err)
        return c.answers(err, at, extack.msg);
    tunables_are_own(dev);
    return true;
}

bool address_add(command& c, std::span<const argument> args) {
    return address_new(c, args, false);
}
bool address_change(command& c, std::span<const argument> args) {
    return address_new(c, args, true);
}
bool address_replace(command& c, std::span<const argument> args) {
    return address_new(c, args, true);
}

bool address_del(command& c, std::span<const argument> args) {
    ifa_config cfg;
    net_device* dev = nullptr;
    if (!collect(c, args, true, &cfg, &dev))
        return false;
    netlink_ext_ack extack;
    int err = inet_rtm_deladdr(c.n, dev, cfg, &extack);
    if (err)
        return c.answers(err, find_argument(args, A_LOCAL)->word, extack.msg);
    if (!cfg.prefixlen_given)
        c.warn(fmt::format(
            "Warning: Executing wildcard deletion to stay compatible with old scripts.\n"
            "         Explicitly specify the prefix length ({0}/32) to avoid this warning.\n"
            "         This special behaviour is likely to disappear in further releases,\n"
            "         fix your scripts!\n",
            format_ipv4(cfg.local)));
    return true;
}

// --- show, flush --------------------------------------------------------------------------------

struct address_filter {
    const argument *dev = nullptr, *to = nullptr, *label = nullptr;
    bool up = false, by_scope = false;
    uint8_t scope = 0;
    uint32_t flags = 0, flag_mask = 0;

    bool selective() const { return to || label || by_scope || flag_mask; }
    bool wants(const in_ifaddr* ifa) const {
        if (to && (ifa->ifa_local ^ to->prefix.addr) & inet_make_mask(to->prefix.bitlen))
            return false;
        if (label && fnmatch(label->word.c_str(), ifa->ifa_label, 0) != 0)
            return false;
        if (by_scope && ifa->ifa_scope != scope)
            return false;
        return (ifa->ifa_flags & flag_mask) == flags;
    }
};

bool make_filter(command& c, std::span<const argument> args, address_filter* f) {
    f->dev = find_argument(args, A_DEV);
    f->to = find_argument(args, A_TO);
    f->label = find_argument(args, A_LABEL);
    f->up = find_argument(args, A_UP);
    if (f->to)
        c.opt.family = AF_INET; // the prefix tells the family, as -4 does
    if (const argument* scope = find_argument(args, A_SCOPE); scope && scope->word != "all") {
        argument value;
        constexpr keyword key{"scope", true, takes::scope, A_SCOPE, "SCOPE", "invalid \"scope\"\n"};
        if (!parse_value(c, key, scope->word, true, &value))
            return false;
        f->by_scope = true;
        f->scope = uint8_t(value.number);
    }
    constexpr struct {
        int id;
        uint32_t flag;
        bool on;
    } flags[] = {{A_PRIMARY, IFA_F_SECONDARY, false},
                 {A_SECONDARY, IFA_F_SECONDARY, true},
                 {A_PERMANENT, IFA_F_PERMANENT, true},
                 {A_DYNAMIC, IFA_F_PERMANENT, false}};
    for (auto& e : flags)
        if (find_argument(args, e.id)) {
            f->flag_mask |= e.flag;
            f->flags = e.on ? f->flags | e.flag : f->flags & ~e.flag;
        }
    for (int id : {A_DEV, A_MASTER})
        if (const argument* a = find_argument(args, id);
            a && (id == A_MASTER || !dev_get_by_name(c.n, a->word.c_str())))
            return c.fail(1, a->word, fmt::format("Device \"{}\" does not exist.\n", a->word));
    return true;
}

/// One address in the brief list.
void print_brief(printer& p, const in_ifaddr* ifa) {
    json a = json::object();
    a["local"] = format_ipv4(ifa->ifa_local);
    if (ifa->ifa_address == ifa->ifa_local) {
        p.text("{}", a["local"].get<std::string>());
    } else {
        a["address"] = format_ipv4(ifa->ifa_address);
        p.text("{} peer {}", format_ipv4(ifa->ifa_local), format_ipv4(ifa->ifa_address));
    }
    a["prefixlen"] = ifa->ifa_prefixlen;
    p.text("/{} ", ifa->ifa_prefixlen);
    if (ifa->ifa_rt_priority) {
        a["metric"] = ifa->ifa_rt_priority;
        p.text("metric {} ", ifa->ifa_rt_priority);
    }
    if (p.as_json())
        p.object()["addr_info"].push_back(a);
}

/// "10.0.0.1/24 brd 10.0.0.255 scope global secondary p0" and its JSON twin.
void print_address(printer& p, const in_ifaddr* ifa) {
    json a = json::object();
    std::string text = "    inet " + format_ipv4(ifa->ifa_local);
    a["family"] = "inet";
    a["local"] = format_ipv4(ifa->ifa_local);
    if (ifa->ifa_address != ifa->ifa_local) {
        a["address"] = format_ipv4(ifa->ifa_address);
        text += " peer " + format_ipv4(ifa->ifa_address);
    }
    a["prefixlen"] = ifa->ifa_prefixlen;
    text += fmt::format("/{} ", ifa->ifa_prefixlen);
    if (ifa->ifa_rt_priority) {
        a["metric"] = ifa->ifa_rt_priority;
        text += fmt::format("metric {} ", ifa->ifa_rt_priority);
    }
    if (ifa->ifa_broadcast) {
        a["broadcast"] = format_ipv4(ifa->ifa_broadcast);
        text += fmt::format("brd {} ", format_ipv4(ifa->ifa_broadcast));
    }
    a["scope"] = scope_name(ifa->ifa_scope);
    text += fmt::format("scope {} ", scope_name(ifa->ifa_scope));
    constexpr struct {
        uint32_t flag;
        const char* name;
    } flags[] = {{IFA_F_SECONDARY, "secondary"}, {IFA_F_NOPREFIXROUTE, "noprefixroute"}};
    for (auto& f : flags)
        if (ifa->ifa_flags & f.flag) {
            a[f.name] = true;
            text += fmt::format("{} ", f.name);
        }
    a["label"] = ifa->ifa_label;
    a["valid_life_time"] = UINT32_MAX;
    a["preferred_life_time"] = UINT32_MAX;
    p.text("{}{}{}       valid_lft forever preferred_lft forever\n", text, ifa->ifa_label, p.nl());
    if (p.as_json())
        p.object()["addr_info"].push_back(a);
}

template <class F>
void for_each_wanted(const net_device* dev, const address_filter& f, F fn) {
    if (in_device* in_dev = __in_dev_get_rcu(dev))
        for (in_ifaddr* i = rcu_dereference(in_dev->ifa_list); i; i = rcu_dereference(i->ifa_next))
            if (f.wants(i))
                fn(i);
}

void show_device(printer& p, const command& c, const net_device* dev, const address_filter& f) {
    size_t wanted = 0;
    for_each_wanted(dev, f, [&](const in_ifaddr*) { ++wanted; });
    if (!wanted && (c.opt.family || f.selective()))
        return;
    p.begin();
    if (c.opt.brief) {
        if (!f.label)
            print_link_brief(p, dev);
        if (p.as_json())
            p.object()["addr_info"] = json::array();
        for_each_wanted(dev, f, [&](const in_ifaddr* i) { print_brief(p, i); });
        p.text("\n");
        p.end();
        return;
    }
    if (!f.label && (!c.opt.oneline || p.as_json())) { // a label is an address's: links stay out
        print_link(p, c, dev, !c.opt.family || c.opt.details, false);
        if (c.opt.statistics)
            print_link_stats(p, c, dev);
        p.text("\n");
    }
    if (p.as_json())
        p.object()["addr_info"] = json::array();
    for_each_wanted(dev, f, [&](const in_ifaddr* i) {
        if (c.opt.oneline)
            p.text("{}: {}", dev->ifindex, dev->name);
        print_address(p, i);
    });
    p.end();
}

bool address_show(command& c, std::span<const argument> args) {
    address_filter f;
    if (!make_filter(c, args, &f))
        return false;
    printer p = c.make_printer();
    c.n.for_each_netdev([&](net_device* dev) {
        if ((!f.dev || f.dev->word == dev->name) && (!f.up || dev->up()))
            show_device(p, c, dev, f);
    });
    return true;
}

/// Takes away one address; promotion and order may change, so the list is read anew each time.
bool flush_one(command& c, net_device* dev, const address_filter& f, int* err) {
    const in_ifaddr* victim = nullptr;
    for_each_wanted(dev, f, [&](const in_ifaddr* i) {
        if (!victim)
            victim = i;
    });
    if (!victim)
        return false;
    ifa_config cfg;
    cfg.local = victim->ifa_local;
    cfg.address = victim->ifa_address;
    cfg.prefixlen = victim->ifa_prefixlen;
    cfg.label = victim->ifa_label;
    *err = inet_rtm_deladdr(c.n, dev, cfg, nullptr);
    return *err == 0;
}

bool address_flush(command& c, std::span<const argument> args) {
    if (args.empty())
        return c.fail(1, "", "Flush requires arguments.\n");
    address_filter f;
    if (!make_filter(c, args, &f))
        return false;
    unsigned n = 0;
    int err = 0;
    c.n.for_each_netdev([&](net_device* dev) {
        if ((!f.dev || f.dev->word == dev->name) && (!f.up || dev->up()))
            while (flush_one(c, dev, f, &err))
                ++n;
    });
    if (err)
        return c.answers(err, f.dev ? f.dev->word : "");
    if (c.opt.statistics)
        c.to.out(n ? fmt::format("\n*** Round 1, deleting {} addresses ***\n"
                                 "*** Flush is complete after 1 round ***\n",
                                 n)
                   : std::string("Nothing to flush.\n"));
    return true;
}

} // namespace

std::span<const verb> address_verbs() {
    static constexpr verb verbs[] = {
        {"add", false, modify_keywords, address_add, "give a device an address", false},
        {"change", true, modify_keywords, address_change, "change an address", false},
        {"chg", true, modify_keywords, address_change, "change an address", false},
        {"replace", false, modify_keywords, address_replace, "add or change", false},
        {"delete", false, modify_keywords, address_del, "take an address away", false},
        {"show", false, show_keywords, address_show, "addresses of devices", false},
        {"list", false, show_keywords, address_show, "addresses of devices", false},
        {"lst", false, show_keywords, address_show, "addresses of devices", false},
        {"flush", false, show_keywords, address_flush, "take away all that match", false},
    };
    return verbs;
}

} // namespace slabfwd
