// SPDX-License-Identifier: BSD-3-Clause
//
// `ip rule show`, `add`, `del`, `flush`.
// Threads: control thread under rtnl. Origin: iproute2's ip/iprule.c.
#include <cerrno>
#include <optional>

#include "dataplane/control/ip_commands.h"
#include "dataplane/control/values.h"
#include "neigh/arp.h"
#include "route/fib_rules.h"

namespace slabfwd {

namespace {

enum rule_key {
    U_NOT,
    U_FROM,
    U_TO,
    U_PREF,
    U_TOS,
    U_DSCP,
    U_FWMARK,
    U_TABLE,
    U_SUPPRESS,
    U_IIF,
    U_OIF,
    U_PROTO,
    U_IPPROTO,
    U_SPORT,
    U_DPORT,
    U_TYPE,
    U_L3MDEV
};

constexpr keyword modify_keywords[] = {
    {"not", true, takes::nothing, U_NOT, nullptr},
    {"from", true, takes::prefix, U_FROM, "PREFIX"},
    {"to", true, takes::prefix, U_TO, "PREFIX"},
    {"preference", false, takes::u32, U_PREF, "NUMBER", "preference value is invalid\n"},
    {"order", false, takes::u32, U_PREF, "NUMBER", "preference value is invalid\n"},
    {"priority", false, takes::u32, U_PREF, "NUMBER", "preference value is invalid\n"},
    {"tos", true, takes::tos, U_TOS, "TOS", "TOS value is invalid\n"},
    {"dsfield", false, takes::tos, U_TOS, "TOS", "TOS value is invalid\n"},
    {"dscp", true, takes::u8, U_DSCP, "DSCP", "invalid dscp value\n"},
    {"fwmark", true, takes::mark, U_FWMARK, "FWMARK[/MASK]", "fwmark value is invalid\n"},
    {"protocol", false, takes::protocol, U_PROTO, "RTPROTO", "\"protocol\" value is invalid\n"},
    {"table", false, takes::table, U_TABLE, "TABLE_ID", "invalid table ID\n"},
    {"lookup", true, takes::table, U_TABLE, "TABLE_ID", "invalid table ID\n"},
    {"suppress_prefixlength", true, takes::u32, U_SUPPRESS, "NUMBER",
     "suppress_prefixlength value is invalid\n"},
    {"sup_pl", true, takes::u32, U_SUPPRESS, "NUMBER", "suppress_prefixlength value is invalid\n"},
    {"dev", true, takes::word, U_IIF, "DEVICE"},
    {"iif", true, takes::word, U_IIF, "DEVICE"},
    {"oif", true, takes::word, U_OIF, "DEVICE"},
    {"l3mdev", true, takes::nothing, U_L3MDEV, nullptr},
    {"ipproto", true, takes::ipproto, U_IPPROTO, "PROTOCOL", "Invalid \"ipproto\" value\n"},
    {"sport", true, takes::port_range, U_SPORT, "PORT[-PORT]", "invalid port range\n"},
    {"dport", true, takes::port_range, U_DPORT, "PORT[-PORT]", "invalid port range\n"},
    {"type", true, takes::word, U_TYPE, "{ blackhole | unreachable | prohibit }", nullptr,
     KEY_BARE},
};

constexpr keyword show_keywords[] = {
    {"preference", false, takes::u32, U_PREF, "NUMBER", "preference value is invalid\n"},
    {"order", false, takes::u32, U_PREF, "NUMBER", "preference value is invalid\n"},
    {"priority", false, takes::u32, U_PREF, "NUMBER", "preference value is invalid\n"},
    {"not", true, takes::nothing, U_NOT, nullptr},
    {"tos", true, takes::tos, U_TOS, "TOS", "TOS value is invalid\n"},
    {"dsfield", false, takes::tos, U_TOS, "TOS", "TOS value is invalid\n"},
    {"fwmark", true, takes::mark, U_FWMARK, "FWMARK[/MASK]", "fwmark value is invalid\n"},
    {"iif", true, takes::word, U_IIF, "DEVICE"},
    {"dev", true, takes::word, U_IIF, "DEVICE"},
    {"oif", true, takes::word, U_OIF, "DEVICE"},
    {"l3mdev", true, takes::nothing, U_L3MDEV, nullptr},
    {"table", false, takes::table, U_TABLE, "TABLE_ID", "table id value is invalid\n"},
    {"lookup", true, takes::table, U_TABLE, "TABLE_ID", "table id value is invalid\n"},
    {"protocol", false, takes::protocol, U_PROTO, "RTPROTO", "\"protocol\" value is invalid\n"},
    {"from", true, takes::prefix, U_FROM, "PREFIX", "inet prefix", KEY_BARE},
    {"to", true, takes::prefix, U_TO, "PREFIX", "inet prefix"},
};

bool take_type(command& c, const argument& a, fib_rule_config* cfg) {
    if (a.word == "goto" || a.word == "nop" || a.word == "nat" || a.word == "map-to")
        return c.unsupported(a.word,
                             fmt::format("Rules of type \"{}\" are not taken here", a.word));
    auto type = route_type_number(a.word);
    if (!type)
        return c.fail(
            255, a.word,
            fmt::format("Error: argument \"{}\" is wrong: Failed to parse rule type\n", a.word));
    if (*type != RTN_BLACKHOLE && *type != RTN_UNREACHABLE && *type != RTN_PROHIBIT &&
        *type != RTN_UNICAST)
        return c.answers(-EINVAL, a.word);
    cfg->action = *type; // RTN_* and FR_ACT_* agree in these
    cfg->action_given = true;
    return true;
}

bool take_name(command& c, const argument& a, std::string* to) {
    if (a.word.size() >= IFNAMSIZ_ || a.word.empty() || a.word.find('/') != std::string::npos)
        return c.wrong(a.word, fmt::format("\"{}\" not a valid ifname", a.key->name));
    *to = a.word;
    return true;
}

bool take_port_range(command& c, const argument& a, fib_rule_port_range* to) {
    *to = {uint16_t(a.number), uint16_t(a.high)};
    if (!a.number || a.high < a.number)
        return c.answers(-EINVAL, a.word, fmt::format("Invalid {} range", a.key->name));
    return true;
}

bool take_word(command& c, const argument& a, fib_rule_config* cfg) {
    switch (a.key->id) {
    case U_NOT:
        cfg->invert = true;
        return true;
    case U_FROM:
        cfg->src = a.prefix.addr;
        cfg->src_len = a.prefix.bitlen;
        return true;
    case U_TO:
        cfg->dst = a.prefix.addr;
        cfg->dst_len = a.prefix.bitlen;
        return true;
    case U_PREF:
        cfg->pref = uint32_t(a.number);
        cfg->pref_given = true;
        return true;
    case U_TOS:
        cfg->tos = uint8_t(a.number);
        return true;
    case U_DSCP:
        if (a.number > 63)
            return c.wrong(a.word, "invalid dscp value\n");
        cfg->dscp = uint8_t(a.number << 2);
        cfg->dscp_full = true;
        return true;
    case U_FWMARK:
        cfg->mark = uint32_t(a.number);
        cfg->mark_mask = uint32_t(a.high);
        return true;
    case U_TABLE:
        cfg->table = uint32_t(a.number);
        cfg->action_given = true;
        return true;
    case U_SUPPRESS:
        cfg->suppress_prefixlen = int(a.number);
        return true;
    case U_IIF:
        return take_name(c, a, &cfg->iifname);
    case U_OIF:
        return take_name(c, a, &cfg->oifname);
    case U_PROTO:
        cfg->protocol = uint8_t(a.number);
        return true;
    case U_IPPROTO:
        cfg->ip_proto = uint8_t(a.number);
        return true;
    case U_SPORT:
        return take_port_range(c, a, &cfg->sport);
    case U_DPORT:
        return take_port_range(c, a, &cfg->dport);
    case U_L3MDEV:
        cfg->l3mdev = true;
        return true;
    case U_TYPE:
        return take_type(c, a, cfg);
    }
    return true;
}

bool build(command& c, std::span<const argument> args, fib_rule_config* cfg) {
    for (const argument& a : args)
        if (!take_word(c, a, cfg))
            return false;
    return true;
}

bool rule_add(command& c, std::span<const argument> args) {
    if (args.empty())
        return c.fail(1, "", "\"ip rule add\" requires arguments.\n");
    fib_rule_config cfg;
    if (!build(c, args, &cfg))
        return false;
    if (!cfg.table && cfg.action == FR_ACT_TO_TBL && !cfg.l3mdev)
        cfg.table = RT_TABLE_MAIN;
    netlink_ext_ack extack;
    int err = fib_rule_add(c.n, cfg, true, &extack);
    return !err || c.answers(err, args[0].word, extack.msg);
}

bool rule_del(command& c, std::span<const argument> args) {
    if (args.empty())
        return c.fail(1, "", "\"ip rule del\" requires arguments.\n");
    fib_rule_config cfg;
    if (!build(c, args, &cfg))
        return false;
    netlink_ext_ack extack;
    int err = fib_rule_del(c.n, cfg, &extack);
    return !err || c.answers(err, args[0].word, extack.msg);
}

// --- show, flush --------------------------------------------------------------------------------

std::vector<fib_rule_config> all_rules(net& n) {
    std::vector<fib_rule_config> rules;
    fib_rules_dump(
        n,
        [](const fib_rule_config& r, void* cookie) {
            static_cast<std::vector<fib_rule_config>*>(cookie)->push_back(r);
            return true;
        },
        &rules);
    return rules;
}

bool same_prefix(const argument& a, be32_t addr, uint8_t len) {
    return a.prefix.bitlen == len && a.prefix.addr == addr;
}

bool wants(std::span<const argument> filter, const fib_rule_config& r) {
    for (const argument& a : filter) {
        bool ok = true;
        switch (a.key->id) {
        case U_PREF:
            ok = r.pref == a.number;
            break;
        case U_NOT:
            ok = r.invert;
            break;
        case U_TOS:
            ok = r.tos == a.number;
            break;
        case U_FWMARK:
            ok = r.mark == a.number &&
                 (a.word.find('/') == std::string::npos || r.mark_mask == a.high);
            break;
        case U_IIF:
            ok = r.iifname == a.word;
            break;
        case U_OIF:
            ok = r.oifname == a.word;
            break;
        case U_L3MDEV:
            ok = r.l3mdev;
            break;
        case U_TABLE:
            ok = r.action == FR_ACT_TO_TBL && r.table == a.number;
            break;
        case U_PROTO:
            ok = r.protocol == a.number;
            break;
        case U_FROM:
            ok = same_prefix(a, r.src, r.src_len);
            break;
        case U_TO:
            ok = same_prefix(a, r.dst, r.dst_len);
            break;
        }
        if (!ok)
            return false;
    }
    return true;
}

void print_prefix(printer& p, const char* name, const char* length, const char* text, be32_t addr,
                  uint8_t len) {
    p.json_field(name, format_ipv4(addr));
    p.text("{}{}", text, format_ipv4(addr));
    if (len != 32)
        p.field(length, len, "/{}", len);
}

void print_ports(printer& p, const char* name, const fib_rule_port_range& r) {
    if (!r.start)
        return;
    if (r.start == r.end) {
        p.field(name, r.start, " {} {}", name, r.start);
        return;
    }
    p.json_field(fmt::format("{}_start", name).c_str(), r.start);
    p.json_field(fmt::format("{}_end", name).c_str(), r.end);
    p.text(" {} {}-{}", name, r.start, r.end);
}

void print_selector(printer& p, const command& c, const fib_rule_config& r) {
    if (r.invert)
        p.field("not", nullptr, "not ");
    if (r.src_len)
        print_prefix(p, "src", "srclen", "from ", r.src, r.src_len);
    else
        p.field("src", "all", "from all");
    if (r.dst_len)
        print_prefix(p, "dst", "dstlen", " to ", r.dst, r.dst_len);
    if (r.tos)
        p.field("tos", dsfield_name(r.tos, c.opt.numeric), " tos {}",
                dsfield_name(r.tos, c.opt.numeric));
    if (r.dscp_full)
        p.field("dscp", fmt::format("{}", r.dscp >> 2), " dscp {}", r.dscp >> 2);
    if (r.mark || r.mark_mask) {
        std::string mark = fmt::format("0x{:x}", r.mark), mask = fmt::format("0x{:x}", r.mark_mask);
        p.field("fwmark", r.mark ? mark : "0", " fwmark {}", r.mark ? mark : "0");
        if (r.mark_mask != UINT32_MAX)
            p.field("fwmask", mask, "/{}", mask);
    }
    auto device = [&](const char* key, const std::string& name, bool detached) {
        if (name.empty())
            return;
        p.field(key, name, " {} {}", key, name);
        if (detached)
            p.field(fmt::format("{}_detached", key).c_str(), nullptr, " [detached]");
    };
    device("iif", r.iifname, r.iif_detached);
    device("oif", r.oifname, r.oif_detached);
    if (r.l3mdev)
        p.field("l3mdev", nullptr, " lookup [l3mdev-table]");
    if (r.ip_proto)
        p.field("ipproto", ipproto_name(r.ip_proto), " ipproto {}", ipproto_name(r.ip_proto));
    print_ports(p, "sport", r.sport);
    print_ports(p, "dport", r.dport);
}

void print_rule(printer& p, const command& c, const fib_rule_config& r) {
    p.begin();
    p.field("priority", r.pref, "{}:\t", r.pref);
    print_selector(p, c, r);
    if (r.action == FR_ACT_TO_TBL && !r.l3mdev) {
        std::string table = table_name(r.table, c.opt.numeric);
        p.field("table", table, " lookup {}", table);
        if (r.suppress_prefixlen != -1)
            p.field("suppress_prefixlen", r.suppress_prefixlen, " suppress_prefixlength {}",
                    r.suppress_prefixlen);
    } else if (r.action != FR_ACT_TO_TBL) {
        std::string action = route_type_name(r.action, c.opt.numeric);
        p.field("action", action, " {}", action);
    }
    if (c.opt.details || (r.protocol > RTPROT_BOOT))
        if (c.opt.details || r.protocol != RTPROT_KERNEL)
            p.field("protocol", protocol_name(r.protocol, c.opt.numeric), " proto {}",
                    protocol_name(r.protocol, c.opt.numeric));
    p.text("\n");
    p.end();
}

bool rule_show(command& c, std::span<const argument> args) {
    printer p = c.make_printer();
    for (const fib_rule_config& r : all_rules(c.n))
        if (wants(args, r))
            print_rule(p, c, r);
    return true;
}

/// Rules that the kernel made stay when all are flushed by a selector, and the one of table local
/// always.
bool rule_flush(command& c, std::span<const argument> args) {
    std::vector<fib_rule_config> victims;
    for (const fib_rule_config& r : all_rules(c.n))
        if (r.pref && wants(args, r))
            victims.push_back(r);
    for (fib_rule_config& r : victims) {
        r.pref_given = r.action_given = true;
        netlink_ext_ack extack;
        if (int err = fib_rule_del(c.n, r, &extack))
            return c.answers(err, fmt::format("{}", r.pref), extack.msg);
    }
    return true;
}

} // namespace

std::span<const verb> rule_verbs() {
    static constexpr verb verbs[] = {
        {"list", false, show_keywords, rule_show, "the rules in order", false},
        {"lst", false, show_keywords, rule_show, "the rules in order", false},
        {"show", false, show_keywords, rule_show, "the rules in order", false},
        {"add", false, modify_keywords, rule_add, "a new rule", false},
        {"delete", false, modify_keywords, rule_del, "take a rule away", false},
        {"flush", false, show_keywords, rule_flush, "take away all that match", false},
    };
    return verbs;
}

} // namespace slabfwd
