// SPDX-License-Identifier: BSD-3-Clause
//
// The matches of the protocols: tcp, udp and icmp, which -p brings along. Doors: tcp_read and its
// fellows (iptables_ext.h). Origin of names and layouts: extensions/libxt_{tcp,udp}.c,
// libipt_icmp.c.
#include <algorithm>

#include <strings.h>

#include "dataplane/control/iptables_ext.h"

namespace slabfwd::ipt_ext {

namespace {

enum { SPORT, DPORT, SYN, FLAGS, OPTION };

constexpr ipt_option tcp_option_table[] = {{"source-port", SPORT, true, true},
                                           {"sport", SPORT, true, true},
                                           {"destination-port", DPORT, true, true},
                                           {"dport", DPORT, true, true},
                                           {"syn", SYN, false, true},
                                           {"tcp-flags", FLAGS, true, true},
                                           {"tcp-option", OPTION, true, true}};
constexpr ipt_option udp_option_table[] = {{"source-port", SPORT, true, true},
                                           {"sport", SPORT, true, true},
                                           {"destination-port", DPORT, true, true},
                                           {"dport", DPORT, true, true}};
constexpr ipt_option icmp_option_table[] = {{"icmp-type", 0, true, true}};

constexpr struct {
    const char* name;
    uint8_t bits;
} tcp_flags[] = {{"FIN", 0x01}, {"SYN", 0x02}, {"RST", 0x04}, {"PSH", 0x08},
                 {"ACK", 0x10}, {"URG", 0x20}, {"ALL", 0x3f}, {"NONE", 0}};
constexpr unsigned SINGLE_FLAGS = 6;

/// "80", "http", "1024:", ":1023", "1:9".
bool port_range(ipt_reading& r, uint16_t proto, uint16_t range[2]) {
    size_t colon = r.value.find(':');
    std::string lo = r.value.substr(0, colon),
                hi = colon == std::string::npos ? lo : r.value.substr(colon + 1);
    auto side = [&](const std::string& word, uint16_t open, uint16_t* to) {
        if (word.empty() && colon != std::string::npos) {
            *to = open;
            return true;
        }
        auto port = ipt_port(word, proto);
        if (!port)
            return r.x.problem(word, fmt::format("invalid port/service `{}' specified", word));
        *to = *port;
        return true;
    };
    if (!side(lo, 0, &range[0]) || !side(hi, 0xffff, &range[1]))
        return false;
    return range[0] <= range[1] || r.problem("invalid portrange (min > max)");
}

/// A port option of tcp or udp; false and no error when it is another one.
template <class T>
bool read_port(ipt_reading& r, uint16_t proto, T& info) {
    const bool source = r.option->id == SPORT;
    if (r.invert)
        info.invflags |= source ? XT_INV_SRCPT : XT_INV_DSTPT;
    return port_range(r, proto, source ? info.spts : info.dpts);
}

bool flag_names(ipt_reading& r, const std::string& words, uint8_t* bits) {
    for (const std::string& word : split(words, ',')) {
        auto at = std::ranges::find_if(
            tcp_flags, [&](const auto& f) { return strcasecmp(f.name, word.c_str()) == 0; });
        if (at == std::end(tcp_flags))
            return r.x.problem(word, fmt::format("Unknown TCP flag `{}'", word));
        *bits |= at->bits;
    }
    return true;
}

std::string flag_text(uint8_t bits) {
    if (!bits)
        return "NONE";
    std::string list;
    for (unsigned i = 0; i < SINGLE_FLAGS; ++i)
        if (bits & tcp_flags[i].bits)
            list += fmt::format("{}{}", list.empty() ? "" : ",", tcp_flags[i].name);
    return list;
}

void list_ports(std::string& to, const char* name, const uint16_t range[2], bool invert,
                uint16_t proto, bool numeric) {
    if (range[0] == 0 && range[1] == 0xffff && !invert)
        return;
    const char* bang = invert ? "!" : "";
    if (range[0] == range[1])
        to += fmt::format(" {}:{}{}", name, bang, ipt_port_name(range[0], proto, numeric));
    else
        to += fmt::format(" {}s:{}{}:{}", name, bang, ipt_port_name(range[0], proto, numeric),
                          ipt_port_name(range[1], proto, numeric));
}

void save_ports(std::string& to, const char* option, const uint16_t range[2], bool invert) {
    if (range[0] == 0 && range[1] == 0xffff && !invert)
        return;
    to += fmt::format("{} {} {}", invert ? " !" : "", option, range[0]);
    if (range[0] != range[1])
        to += fmt::format(":{}", range[1]);
}

} // namespace

const std::span<const ipt_option> tcp_options = tcp_option_table, udp_options = udp_option_table,
                                  icmp_options = icmp_option_table;

bool tcp_read(ipt_reading& r, match_entry& e) {
    auto& tcp = e.as<xt_tcp>();
    switch (r.option->id) {
    case SPORT:
    case DPORT:
        return read_port(r, IPPROTO_TCP_, tcp);
    case SYN:
        tcp.flg_mask = 0x17; // SYN, RST, ACK, FIN
        tcp.flg_cmp = 0x02;
        tcp.invflags |= r.invert ? XT_INV_FLAGS : 0;
        return true;
    case FLAGS: { // value: "MASK COMP"
        size_t blank = r.value.find(' ');
        tcp.flg_mask = tcp.flg_cmp = 0;
        tcp.invflags |= r.invert ? XT_INV_FLAGS : 0;
        return flag_names(r, r.value.substr(0, blank), &tcp.flg_mask) &&
               flag_names(r, r.value.substr(blank + 1), &tcp.flg_cmp);
    }
    default:
        tcp.invflags |= r.invert ? XT_INV_OPTION : 0;
        return r.number(&tcp.option, 1, 255);
    }
}

void tcp_list(std::string& to, const match_entry& e, const ipt_ip&, bool numeric) {
    const auto& tcp = e.as<xt_tcp>();
    to += " tcp";
    list_ports(to, "spt", tcp.spts, tcp.invflags & XT_INV_SRCPT, IPPROTO_TCP_, numeric);
    list_ports(to, "dpt", tcp.dpts, tcp.invflags & XT_INV_DSTPT, IPPROTO_TCP_, numeric);
    if (tcp.option || (tcp.invflags & XT_INV_OPTION))
        to += fmt::format(" option={}{}", tcp.invflags & XT_INV_OPTION ? "!" : "", tcp.option);
    if (!tcp.flg_mask && !(tcp.invflags & XT_INV_FLAGS))
        return;
    to += fmt::format(" flags:{}", tcp.invflags & XT_INV_FLAGS ? "!" : "");
    to += numeric ? fmt::format("0x{:02X}/0x{:02X}", tcp.flg_mask, tcp.flg_cmp)
                  : flag_text(tcp.flg_mask) + "/" + flag_text(tcp.flg_cmp);
}

void tcp_save(std::string& to, const match_entry& e, const ipt_ip&) {
    const auto& tcp = e.as<xt_tcp>();
    save_ports(to, "--sport", tcp.spts, tcp.invflags & XT_INV_SRCPT);
    save_ports(to, "--dport", tcp.dpts, tcp.invflags & XT_INV_DSTPT);
    if (tcp.option || (tcp.invflags & XT_INV_OPTION))
        to +=
            fmt::format("{} --tcp-option {}", tcp.invflags & XT_INV_OPTION ? " !" : "", tcp.option);
    if (tcp.flg_mask || (tcp.invflags & XT_INV_FLAGS))
        to += fmt::format("{} --tcp-flags {} {}", tcp.invflags & XT_INV_FLAGS ? " !" : "",
                          flag_text(tcp.flg_mask), flag_text(tcp.flg_cmp));
}

bool udp_read(ipt_reading& r, match_entry& e) {
    return read_port(r, IPPROTO_UDP_, e.as<xt_udp>());
}

void udp_list(std::string& to, const match_entry& e, const ipt_ip&, bool numeric) {
    const auto& udp = e.as<xt_udp>();
    to += " udp";
    list_ports(to, "spt", udp.spts, udp.invflags & XT_INV_SRCPT, IPPROTO_UDP_, numeric);
    list_ports(to, "dpt", udp.dpts, udp.invflags & XT_INV_DSTPT, IPPROTO_UDP_, numeric);
}

void udp_save(std::string& to, const match_entry& e, const ipt_ip&) {
    const auto& udp = e.as<xt_udp>();
    save_ports(to, "--sport", udp.spts, udp.invflags & XT_INV_SRCPT);
    save_ports(to, "--dport", udp.dpts, udp.invflags & XT_INV_DSTPT);
}

// --- icmp

namespace {

/// Types and codes by name; an alias directly behind what it stands for. Origin: icmp_codes.
constexpr struct {
    const char* name;
    uint8_t type, lo, hi;
} icmp_codes[] = {
    {"any", 0xff, 0, 0xff},
    {"echo-reply", 0, 0, 0xff},
    {"pong", 0, 0, 0xff},
    {"destination-unreachable", 3, 0, 0xff},
    {"network-unreachable", 3, 0, 0},
    {"host-unreachable", 3, 1, 1},
    {"protocol-unreachable", 3, 2, 2},
    {"port-unreachable", 3, 3, 3},
    {"fragmentation-needed", 3, 4, 4},
    {"source-route-failed", 3, 5, 5},
    {"network-unknown", 3, 6, 6},
    {"host-unknown", 3, 7, 7},
    {"network-prohibited", 3, 9, 9},
    {"host-prohibited", 3, 10, 10},
    {"TOS-network-unreachable", 3, 11, 11},
    {"TOS-host-unreachable", 3, 12, 12},
    {"communication-prohibited", 3, 13, 13},
    {"host-precedence-violation", 3, 14, 14},
    {"precedence-cutoff", 3, 15, 15},
    {"source-quench", 4, 0, 0xff},
    {"redirect", 5, 0, 0xff},
    {"network-redirect", 5, 0, 0},
    {"host-redirect", 5, 1, 1},
    {"TOS-network-redirect", 5, 2, 2},
    {"TOS-host-redirect", 5, 3, 3},
    {"echo-request", 8, 0, 0xff},
    {"ping", 8, 0, 0xff},
    {"router-advertisement", 9, 0, 0xff},
    {"router-solicitation", 10, 0, 0xff},
    {"time-exceeded", 11, 0, 0xff},
    {"ttl-exceeded", 11, 0, 0xff},
    {"ttl-zero-during-transit", 11, 0, 0},
    {"ttl-zero-during-reassembly", 11, 1, 1},
    {"parameter-problem", 12, 0, 0xff},
    {"ip-header-bad", 12, 0, 0},
    {"required-option-missing", 12, 1, 1},
    {"timestamp-request", 13, 0, 0xff},
    {"timestamp-reply", 14, 0, 0xff},
    {"address-mask-request", 17, 0, 0xff},
    {"address-mask-reply", 18, 0, 0xff},
};

} // namespace

bool icmp_read(ipt_reading& r, match_entry& e) {
    auto& icmp = e.as<ipt_icmp>();
    icmp.invflags = r.invert;
    const decltype(&icmp_codes[0]) none = nullptr;
    auto found = none;
    for (const auto& code : icmp_codes) { // the whole name, or a beginning that is unique
        if (r.value.empty() || strncasecmp(code.name, r.value.c_str(), r.value.size()))
            continue;
        if (std::string_view(code.name).size() == r.value.size()) {
            found = &code;
            break;
        }
        if (found)
            return r.problem(fmt::format("Ambiguous ICMP type `{}': `{}' or `{}'?", r.value,
                                         found->name, code.name));
        found = &code;
    }
    if (found) {
        icmp.type = found->type;
        icmp.code[0] = found->lo;
        icmp.code[1] = found->hi;
        return true;
    }
    size_t slash = r.value.find('/');
    auto type = ipt_number(r.value.substr(0, slash), 255);
    if (!type)
        return r.problem(fmt::format("Unknown ICMP type `{}'", r.value));
    icmp.type = uint8_t(*type);
    icmp.code[0] = 0;
    icmp.code[1] = 0xff;
    if (slash != std::string::npos) {
        auto code = ipt_number(r.value.substr(slash + 1), 255);
        if (!code)
            return r.problem(fmt::format("Unknown ICMP code `{}'", r.value.substr(slash + 1)));
        icmp.code[0] = icmp.code[1] = uint8_t(*code);
    }
    return true;
}

void icmp_list(std::string& to, const match_entry& e, const ipt_ip&, bool numeric) {
    const auto& i = e.as<ipt_icmp>();
    to += " icmp";
    if (!numeric)
        for (const auto& code : icmp_codes)
            if (code.type == i.type && code.lo == i.code[0] && code.hi == i.code[1]) {
                to += fmt::format(" {}{}", i.invflags ? "!" : "", code.name);
                return;
            }
    to += fmt::format("{}type {}", i.invflags ? " !" : "", i.type);
    if (i.code[0] == i.code[1])
        to += fmt::format(" code {}", i.code[0]);
    else if (i.code[0] != 0 || i.code[1] != 0xff)
        to += fmt::format(" codes {}-{}", i.code[0], i.code[1]);
}

void icmp_save(std::string& to, const match_entry& e, const ipt_ip&) {
    const auto& i = e.as<ipt_icmp>();
    to += i.invflags ? " !" : "";
    if (i.type == 0xff) {
        to += " --icmp-type any";
        return;
    }
    to += fmt::format(" --icmp-type {}", i.type);
    if (i.code[0] != 0 || i.code[1] != 0xff)
        to += fmt::format("/{}", i.code[0]);
}

} // namespace slabfwd::ipt_ext
