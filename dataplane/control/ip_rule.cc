// SPDX-License-Identifier: BSD-3-Clause
//
// `ip rule show`, `add`, `del`, `flush`.
// Threads: control thread under rtnl. Origin: iproute2's ip/iprule.c.
#include <cerrno>
#include <optional>
#include <tuple>

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
    U_SUPPRESS_GROUP,
    U_IIF,
    U_OIF,
    U_PROTO,
    U_IPPROTO,
    U_SPORT,
    U_DPORT,
    U_UIDRANGE,
    U_TUN_ID,
    U_REALMS,
    U_GOTO,
    U_NAT,
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
    {"suppress_ifgroup", true, takes::word, U_SUPPRESS_GROUP, "GROUP"},
    {"sup_group", true, takes::word, U_SUPPRESS_GROUP, "GROUP"},
    {"dev", true, takes::word, U_IIF, "DEVICE"},
    {"iif", true, takes::word, U_IIF, "DEVICE"},
    {"oif", true, takes::word, U_OIF, "DEVICE"},
    {"l3mdev", true, takes::nothing, U_L3MDEV, nullptr},
    {"uidrange", true, takes::word, U_UIDRANGE, "NUMBER-NUMBER"},
    {"tun_id", true, takes::word, U_TUN_ID, "TUN_ID"},
    {"realms", false, takes::word, U_REALMS, "[SRCREALM/]DSTREALM"},
    {"goto", true, takes::word, U_GOTO, "NUMBER"},
    {"nat", false, takes::word, U_NAT, "ADDRESS"},
    {"map-to", false, takes::word, U_NAT, "ADDRESS"},
    {"ipproto", true, takes::ipproto, U_IPPROTO, "PROTOCOL", "Invalid \"ipproto\" value\n"},
    {"sport", true, takes::port_range, U_SPORT, "PORT[-PORT]", "invalid port range\n"},
    {"dport", true, takes::port_range, U_DPORT, "PORT[-PORT]", "invalid dport range\n"},
    {"type", true, takes::word, U_TYPE, "{ blackhole | unreachable | prohibit | nop }", nullptr,
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
    {"uidrange", true, takes::word, U_UIDRANGE, "NUMBER-NUMBER"},
    {"table", false, takes::table, U_TABLE, "TABLE_ID", "table id value is invalid\n"},
    {"lookup", true, takes::table, U_TABLE, "TABLE_ID", "table id value is invalid\n"},
    {"protocol", false, takes::protocol, U_PROTO, "RTPROTO", "\"protocol\" value is invalid\n"},
    {"from", true, takes::prefix, U_FROM, "PREFIX", "inet prefix", KEY_BARE},
    {"to", true, takes::prefix, U_TO, "PREFIX", "inet prefix"},
};

bool take_type(command& c, const argument& a, fib_rule_config* cfg) {
    cfg->action_given = true;
    if (a.word == "nop") {
        cfg->action = FR_ACT_NOP;
        return true;
    }
    if (a.word == "goto")
        return c.incomplete(a.word);
    auto type = route_type_number(a.word);
    if (!type)
        return c.fail(
            255, a.word,
            fmt::format("Error: argument \"{}\" is wrong: Failed to parse rule type\n", a.word));
    cfg->action = *type; // RTN_* and FR_ACT_* are numbered alike
    return true;
}

bool take_goto(command& c, const argument& a, fib_rule_config* cfg) {
    const auto target = parse_number(a.word, UINT32_MAX);
    if (!target)
        return c.wrong(a.word, "invalid target\n");
    cfg->action = FR_ACT_GOTO;
    cfg->action_given = true;
    cfg->target_given = true;
    cfg->target = uint32_t(*target);
    return true;
}

bool take_group(command& c, const argument& a, fib_rule_config* cfg) {
    const auto group = a.word == "default" ? 0 : parse_number(a.word, UINT32_MAX);
    if (!group)
        return c.wrong(a.word, "Invalid \"suppress_ifgroup\" value\n");
    cfg->suppress_ifgroup = int(*group);
    return true;
}

std::optional<std::pair<uint32_t, uint32_t>> uid_range(const std::string& word) {
    const size_t dash = word.find('-');
    if (dash == word.npos)
        return {};
    const auto start = parse_number(word.substr(0, dash), UINT32_MAX, 10);
    const auto end = parse_number(word.substr(dash + 1), UINT32_MAX, 10);
    if (!start || !end)
        return {};
    return std::pair(uint32_t(*start), uint32_t(*end));
}

bool take_uid_range(command& c, const argument& a, fib_rule_config* cfg) {
    const auto range = uid_range(a.word);
    if (!range)
        return c.wrong(a.word, "invalid UID range\n");
    cfg->uid_given = true;
    std::tie(cfg->uid_start, cfg->uid_end) = *range;
    return true;
}

std::optional<uint32_t> realm_number(std::string_view word) {
    if (word == "cosmos")
        return 0;
    const auto n = parse_number(word, 255);
    return n ? std::optional(uint32_t(*n)) : std::nullopt;
}

/// `to`, or `from/to`; a `to` that is not there is 0.
bool take_realms(command& c, const argument& a, fib_rule_config* cfg) {
    const size_t slash = a.word.find('/');
    if (slash == a.word.npos) {
        const auto raw = parse_number(a.word, UINT32_MAX);
        const auto to = a.word == "cosmos" ? std::optional(uint64_t(0)) : raw;
        cfg->realms = uint32_t(to.value_or(0));
        return to || c.wrong(a.word, "invalid realms\n");
    }
    const std::string right = a.word.substr(slash + 1);
    const auto from = realm_number(a.word.substr(0, slash));
    const auto to = right.empty() ? std::optional(0u) : realm_number(right);
    if (!from || !to)
        return c.wrong(a.word, "invalid realms\n");
    cfg->realms = *from << 16 | *to;
    return true;
}

bool take_name(command& c, const argument& a, std::string* to) {
    if (a.word.size() >= IFNAMSIZ_ || a.word.empty() || a.word.find('/') != std::string::npos)
        return c.wrong(a.word, fmt::format("{} not a valid ifname",
                                           a.key->id == U_IIF ? "\"iif\"/\"dev\"" : "\"oif\""));
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
    case U_SUPPRESS_GROUP:
        return take_group(c, a, cfg);
    case U_UIDRANGE:
        return take_uid_range(c, a, cfg);
    case U_TUN_ID: {
        const auto id = parse_number(a.word, UINT64_MAX);
        cfg->tun_id = id.value_or(0);
        return id || c.wrong(a.word, "\"tun_id\" value is invalid\n");
    }
    case U_REALMS:
        return take_realms(c, a, cfg);
    case U_GOTO:
        return take_goto(c, a, cfg);
    case U_NAT:
        return c.unsupported(a.word, "Rules that translate addresses are not taken here");
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
    if (cfg.l3mdev && cfg.table)
        return c.fail(22, args[0].word, "table can not be specified for l3mdev rules\n");
    if (!cfg.action_given && !cfg.l3mdev)
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

/// Is the rule's address in the prefix asked for? A rule that has none passes only without bits.
bool lies_within(const argument& a, be32_t addr, uint8_t len) {
    const uint8_t bits = a.prefix.bitlen;
    const uint32_t mask = bits ? UINT32_MAX << (32 - bits) : 0;
    return !bits || (len && !((be32_to_cpu(addr) ^ be32_to_cpu(a.prefix.addr)) & mask));
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
        case U_UIDRANGE:
            ok = r.uid_given && uid_range(a.word) == std::pair(r.uid_start, r.uid_end);
            break;
        case U_FROM:
            ok = lies_within(a, r.src, r.src_len);
            break;
        case U_TO:
            ok = lies_within(a, r.dst, r.dst_len);
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
    if (r.uid_given) {
        p.json_field("uid_start", r.uid_start);
        p.json_field("uid_end", r.uid_end);
        p.text(" uidrange {}-{}", r.uid_start, r.uid_end);
    }
    if (r.ip_proto)
        p.field("ipproto", ipproto_name(r.ip_proto), " ipproto {}", ipproto_name(r.ip_proto));
    print_ports(p, "sport", r.sport);
    print_ports(p, "dport", r.dport);
    if (r.tun_id)
        p.field("tun_id", r.tun_id, " tun_id {}", r.tun_id);
}

std::string realm_name(uint32_t realm) {
    return realm ? fmt::format("{}", realm) : "cosmos";
}

/// What the rule does with a packet that it selects.
void print_action(printer& p, const command& c, const fib_rule_config& r) {
    if (r.table) {
        std::string table = table_name(r.table, c.opt.numeric);
        p.field("table", table, " lookup {}", table);
        if (r.suppress_prefixlen != -1)
            p.field("suppress_prefixlen", r.suppress_prefixlen, " suppress_prefixlength {}",
                    r.suppress_prefixlen);
        if (r.suppress_ifgroup != -1) {
            std::string group = r.suppress_ifgroup || c.opt.numeric
                                    ? fmt::format("{}", r.suppress_ifgroup)
                                    : "default";
            p.field("suppress_ifgroup", group, " suppress_ifgroup {}", group);
        }
    }
    if (r.realms) {
        const std::string from = realm_name(r.realms >> 16), to = realm_name(r.realms & 0xffff);
        if (r.realms >> 16)
            p.json_field("flow_from", from);
        p.json_field("flow_to", to);
        p.text(" realms {}", r.realms >> 16 ? from + "/" + to : to);
    }
    if (r.action == FR_ACT_GOTO) {
        p.field("goto", r.target, " goto {}", r.target);
        if (r.unresolved)
            p.field("unresolved", nullptr, " [unresolved]");
    } else if (r.action == FR_ACT_NOP) {
        p.field("nop", nullptr, " nop");
    } else if (r.action != FR_ACT_TO_TBL) {
        std::string action = route_type_name(r.action, c.opt.numeric);
        p.field("action", action, " {}", action);
    }
}

void print_rule(printer& p, const command& c, const fib_rule_config& r) {
    p.begin();
    p.field("priority", r.pref, "{}:\t", r.pref);
    print_selector(p, c, r);
    print_action(p, c, r);
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
