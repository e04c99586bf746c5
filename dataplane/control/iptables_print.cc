// SPDX-License-Identifier: BSD-3-Clause
//
// What iptables prints: -L in columns, -S and iptables-save as commands. Doors: ipt_list_text,
// ipt_list_rules_text, ipt_save_text, ipt_rule_text. Addresses are printed as numbers, with or
// without -n; services, protocols and "anywhere" by name without. Origin of the layouts: xshared.c
// (print_rule_details and friends), nft.c (1.8.9).
#include <ctime>

#include "dataplane/control/iptables.h"

namespace slabfwd {

namespace {

const char* policy_name(const ipt_chain& c) {
    return c.policy == NF_ACCEPT ? "ACCEPT" : "DROP";
}

const ipt_target_extension* extension_of(const xt_entry<xt_target>& t) {
    const bool alias = std::string_view(t.kind->name) == "CT" && t.as<xt_ct_info>().notrack_alias;
    for (const auto& e : ipt_target_extensions())
        if (std::string_view(e.name) == (alias ? "NOTRACK" : t.kind->name))
            return &e;
    return nullptr;
}

const ipt_match_extension* extension_of(const xt_entry<xt_match>& m) {
    for (const auto& e : ipt_match_extensions())
        if (std::string_view(e.name) == m.kind->name)
            return &e;
    return nullptr;
}

/// The word behind -j; listing calls NOTRACK by its kernel name.
std::string target_name(ipt_table& t, const ipt_entry& e, bool as_typed) {
    switch (e.verdict) {
    case ipt_verdict::NONE:
        return "";
    case ipt_verdict::ACCEPT:
        return "ACCEPT";
    case ipt_verdict::DROP:
        return "DROP";
    case ipt_verdict::RETURN:
        return "RETURN";
    case ipt_verdict::JUMP:
    case ipt_verdict::GOTO:
        return t.find(e.chain)->name;
    case ipt_verdict::TARGET:
        break;
    }
    return as_typed ? extension_of(e.target)->name : e.target.kind->name;
}

/// A counter in a column: eight places, or five with K, M, G. Origin: xtables_print_num.
std::string number(uint64_t n, bool exact, bool table = true) {
    if (exact)
        return table ? fmt::format("{:8} ", n) : fmt::format("{} ", n);
    if (n <= 99999)
        return table ? fmt::format("{:5} ", n) : fmt::format("{} ", n);
    char unit = 'K';
    n = (n + 500) / 1000;
    for (char next : {'M', 'G', 'T'}) {
        if (n <= 9999)
            break;
        n = (n + 500) / 1000;
        unit = next;
    }
    return table ? fmt::format("{:4}{} ", n, unit) : fmt::format("{}{} ", n, unit);
}

std::string address(be32_t addr, be32_t mask, bool numeric) {
    if (!mask && !addr && !numeric)
        return "anywhere";
    return ipt_address(addr) + ipt_mask_suffix(mask);
}

void list_header(std::string& to, ipt_table& t, const ipt_chain& c, const ipt_request& r) {
    to += fmt::format("Chain {}", c.name);
    if (c.builtin()) {
        to += fmt::format(" (policy {}", policy_name(c));
        if (r.verbose) {
            xt_counters n = c.counter->get();
            to += " " + number(n.pcnt, r.exact, false) + "packets, " +
                  number(n.bcnt, r.exact, false) + "bytes";
        }
        to += ")\n";
    } else {
        to += fmt::format(" ({} references)\n", t.references(c));
    }
    if (r.line_numbers)
        to += "num  ";
    if (r.verbose)
        to += r.exact ? "    pkts      bytes " : " pkts bytes ";
    to += "target     prot opt";
    if (r.verbose)
        to += " in     out    ";
    to += " source               destination         \n";
}

void list_rule(std::string& to, ipt_table& t, const ipt_entry& e, const ipt_request& r,
               size_t num) {
    const ipt_ip& ip = e.ip;
    auto inv = [&](uint8_t flag) { return bool(ip.invflags & flag); };
    if (r.line_numbers)
        to += fmt::format("{:<4} ", num);
    if (r.verbose) {
        xt_counters n = e.counter->get();
        to += number(n.pcnt, r.exact) + number(n.bcnt, r.exact);
    }
    std::string proto = ipt_proto_name(ip.proto, r.numeric);
    to += fmt::format("{:<9} {}{:<4} {} ", target_name(t, e, false), inv(IPT_INV_PROTO) ? "!" : " ",
                      proto,
                      !(ip.flags & IPT_F_FRAG) ? "--"
                      : inv(IPT_INV_FRAG)      ? "!f"
                                               : "-f");
    if (r.verbose) {
        auto device = [&](const char* name, bool invert) {
            return (invert ? "!" : "") + std::string(*name ? name : r.numeric ? "*" : "any");
        };
        to += fmt::format(" {:<6} {:<6} ", device(ip.iniface, inv(IPT_INV_VIA_IN)),
                          device(ip.outiface, inv(IPT_INV_VIA_OUT)));
    }
    to += fmt::format("{}{:<19} {}{:<19} ", inv(IPT_INV_SRCIP) ? "!" : " ",
                      address(ip.src, ip.smsk, r.numeric), inv(IPT_INV_DSTIP) ? "!" : " ",
                      address(ip.dst, ip.dmsk, r.numeric));
    if (e.verdict == ipt_verdict::GOTO)
        to += "[goto] ";
    for (const auto& m : e.matches)
        if (const auto* ext = extension_of(m); ext && ext->list)
            ext->list(to, m, ip, r.numeric);
    if (e.verdict == ipt_verdict::TARGET)
        if (const auto* ext = extension_of(e.target); ext && ext->list)
            ext->list(to, e.target, ip, r.numeric);
    to += "\n";
}

std::string chain_text(const ipt_chain& c, bool with_counters) {
    if (!c.builtin())
        return fmt::format("-N {}\n", c.name);
    std::string text = fmt::format("-P {} {}", c.name, policy_name(c));
    if (with_counters) {
        xt_counters n = c.counter->get();
        text += fmt::format(" -c {} {}", n.pcnt, n.bcnt);
    }
    return text + "\n";
}

/// Everything of a rule behind "-A CHAIN".
std::string rule_words(ipt_table& t, const ipt_entry& e, bool with_counters) {
    const ipt_ip& ip = e.ip;
    std::string to;
    auto bang = [&](uint8_t flag) { return ip.invflags & flag ? " !" : ""; };
    auto addr = [&](const char* option, be32_t a, be32_t mask, uint8_t flag) {
        if (!a && !mask && !(ip.invflags & flag))
            return;
        std::string suffix = ipt_mask_suffix(mask);
        to += fmt::format("{} {} {}{}", bang(flag), option, ipt_address(a),
                          suffix.empty() ? "/32" : suffix);
    };
    addr("-s", ip.src, ip.smsk, IPT_INV_SRCIP);
    addr("-d", ip.dst, ip.dmsk, IPT_INV_DSTIP);
    if (ip.iniface[0])
        to += fmt::format("{} -i {}", bang(IPT_INV_VIA_IN), ip.iniface);
    if (ip.outiface[0])
        to += fmt::format("{} -o {}", bang(IPT_INV_VIA_OUT), ip.outiface);
    if (ip.proto)
        to += fmt::format("{} -p {}", bang(IPT_INV_PROTO), ipt_proto_name(ip.proto, false));
    if (ip.flags & IPT_F_FRAG)
        to += fmt::format("{} -f", bang(IPT_INV_FRAG));
    for (const auto& m : e.matches) {
        to += fmt::format(" -m {}", m.kind->name);
        if (const auto* ext = extension_of(m); ext && ext->save)
            ext->save(to, m, ip);
    }
    if (with_counters) {
        xt_counters n = e.counter->get();
        to += fmt::format(" -c {} {}", n.pcnt, n.bcnt);
    }
    if (e.verdict == ipt_verdict::NONE)
        return to;
    to += fmt::format(" {} {}", e.verdict == ipt_verdict::GOTO ? "-g" : "-j",
                      target_name(t, e, true));
    if (e.verdict == ipt_verdict::TARGET)
        if (const auto* ext = extension_of(e.target); ext && ext->save)
            ext->save(to, e.target, ip);
    return to;
}

/// The chains that a report is about: the named one, or all.
std::vector<ipt_chain*> chains_of(ipt_table& t, const ipt_request& r) {
    if (r.chain.empty())
        return t.chains();
    return {t.find(r.chain)};
}

std::string now_text() {
    time_t now = time(nullptr);
    tm local;
    char buf[64];
    localtime_r(&now, &local);
    strftime(buf, sizeof buf, "%a %b %e %H:%M:%S %Y", &local);
    return buf;
}

} // namespace

std::string ipt_rule_text(ipt_table& t, const ipt_chain& c, const ipt_entry& e,
                          bool with_counters) {
    return fmt::format("-A {}{}", c.name, rule_words(t, e, with_counters));
}

std::string ipt_list_text(ipt_table& t, const ipt_request& r) {
    std::string to;
    for (ipt_chain* c : chains_of(t, r)) {
        if (r.rulenum) {
            if (*r.rulenum <= c->rules.size())
                list_rule(to, t, *c->rules[*r.rulenum - 1], r, *r.rulenum);
            continue;
        }
        if (!to.empty())
            to += "\n";
        list_header(to, t, *c, r);
        for (size_t i = 0; i < c->rules.size(); ++i)
            list_rule(to, t, *c->rules[i], r, i + 1);
    }
    return to;
}

std::string ipt_list_rules_text(ipt_table& t, const ipt_request& r) {
    std::string to;
    if (!r.rulenum)
        for (ipt_chain* c : chains_of(t, r))
            to += chain_text(*c, r.verbose);
    for (ipt_chain* c : chains_of(t, r))
        for (size_t i = 0; i < c->rules.size(); ++i)
            if (!r.rulenum || *r.rulenum == i + 1)
                to += ipt_rule_text(t, *c, *c->rules[i], r.verbose) + "\n";
    return to;
}

std::string ipt_save_text(ipt_table& t, bool with_counters) {
    std::string to =
        fmt::format("# Generated by iptables-save v1.8.9 on {}\n*{}\n", now_text(), t.name);
    for (ipt_chain* c : t.chains()) {
        xt_counters n = c->builtin() ? c->counter->get() : xt_counters{};
        to += fmt::format(":{} {} [{}:{}]\n", c->name, c->builtin() ? policy_name(*c) : "-", n.pcnt,
                          n.bcnt);
    }
    for (ipt_chain* c : t.chains())
        for (const ipt_rule& r : c->rules) {
            xt_counters n = r->counter->get();
            if (with_counters)
                to += fmt::format("[{}:{}] ", n.pcnt, n.bcnt);
            to += ipt_rule_text(t, *c, *r, false) + "\n";
        }
    return to + fmt::format("COMMIT\n# Completed on {}\n", now_text());
}

} // namespace slabfwd
