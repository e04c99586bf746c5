// SPDX-License-Identifier: BSD-3-Clause
//
// The targets that -j names: how their options are read, listed and saved. Door:
// ipt_target_extensions. ACCEPT, DROP and RETURN are no extensions (iptables_parse.cc). Origin of
// names and layouts: extensions/libipt_{REJECT,LOG,TTL}.c, libxt_{MARK,TOS,DSCP,TCPMSS,CT}.c.
#include <algorithm>

#include <strings.h>

#include "dataplane/control/iptables_ext.h"

namespace slabfwd {

namespace ipt_ext {

namespace {

constexpr struct {
    uint8_t value;
    const char* name;
} tos_symbols[] = {{0x10, "Minimize-Delay"},
                   {0x08, "Maximize-Throughput"},
                   {0x04, "Maximize-Reliability"},
                   {0x02, "Minimize-Cost"},
                   {0x00, "Normal-Service"}};
constexpr uint8_t TOS_SYMBOL_MASK = 0x3f;

constexpr struct {
    const char* name;
    uint8_t dscp;
} dscp_classes[] = {{"CS0", 0x00},  {"CS1", 0x08},  {"CS2", 0x10},  {"CS3", 0x18},  {"CS4", 0x20},
                    {"CS5", 0x28},  {"CS6", 0x30},  {"CS7", 0x38},  {"BE", 0x00},   {"AF11", 0x0a},
                    {"AF12", 0x0c}, {"AF13", 0x0e}, {"AF21", 0x12}, {"AF22", 0x14}, {"AF23", 0x16},
                    {"AF31", 0x1a}, {"AF32", 0x1c}, {"AF33", 0x1e}, {"AF41", 0x22}, {"AF42", 0x24},
                    {"AF43", 0x26}, {"EF", 0x2e}};

} // namespace

bool tos_value(ipt_reading& r, uint8_t* value, uint8_t* mask) {
    if (!r.value.empty() && isdigit(static_cast<unsigned char>(r.value[0]))) {
        uint32_t v = 0, m = 0xff;
        if (!ipt_masked(r.value, 255, &v, &m))
            return r.problem(
                fmt::format("{}: bad value for option \"--{}\", neither a valid number nor a "
                            "symbolic name",
                            r.extension, r.option->name));
        *value = uint8_t(v);
        *mask = uint8_t(m);
        return true;
    }
    for (const auto& s : tos_symbols)
        if (strcasecmp(s.name, r.value.c_str()) == 0) {
            *value = s.value;
            *mask = TOS_SYMBOL_MASK;
            return true;
        }
    return r.problem(fmt::format("Symbolic name \"{}\" is unknown", r.value));
}

const char* tos_symbol(uint8_t value, uint8_t mask) {
    if (mask != TOS_SYMBOL_MASK)
        return nullptr;
    for (const auto& s : tos_symbols)
        if (s.value == value)
            return s.name;
    return nullptr;
}

bool dscp_class(ipt_reading& r, uint8_t* dscp) {
    for (const auto& c : dscp_classes)
        if (strcasecmp(c.name, r.value.c_str()) == 0) {
            *dscp = c.dscp;
            return true;
        }
    return r.problem(fmt::format("Invalid DSCP value `{}'\n", r.value));
}

const char* option_name(const char* extension, int id) {
    auto find = [&](const auto& list) -> const char* {
        for (const auto& e : list)
            if (!strcmp(e.name, extension))
                for (const ipt_option& o : e.options)
                    if (o.id == id)
                        return o.name;
        return nullptr;
    };
    const char* name = find(ipt_match_extensions());
    if (!name)
        name = find(ipt_target_extensions());
    return name ? name : "?";
}

} // namespace ipt_ext

using namespace ipt_ext;

namespace {

using entry = xt_entry<xt_target>;

// --- REJECT

constexpr ipt_option reject_options[] = {{"reject-with", 0}};
constexpr struct {
    const char *name, *alias;
    ipt_reject_with with;
} reject_names[] = {
    {"icmp-net-unreachable", "net-unreach", ipt_reject_with::ICMP_NET_UNREACHABLE},
    {"icmp-host-unreachable", "host-unreach", ipt_reject_with::ICMP_HOST_UNREACHABLE},
    {"icmp-proto-unreachable", "proto-unreach", ipt_reject_with::ICMP_PROT_UNREACHABLE},
    {"icmp-port-unreachable", "port-unreach", ipt_reject_with::ICMP_PORT_UNREACHABLE},
    {"icmp-net-prohibited", "net-prohib", ipt_reject_with::ICMP_NET_PROHIBITED},
    {"icmp-host-prohibited", "host-prohib", ipt_reject_with::ICMP_HOST_PROHIBITED},
    {"tcp-reset", "tcp-rst", ipt_reject_with::TCP_RESET},
    {"icmp-admin-prohibited", "admin-prohib", ipt_reject_with::ICMP_ADMIN_PROHIBITED}};

bool reject_read(ipt_reading& r, entry& e) {
    auto begins = [&](const char* name) {
        return strncasecmp(name, r.value.c_str(), r.value.size()) == 0;
    };
    for (const auto& n : reject_names)
        if (begins(n.name) || begins(n.alias)) {
            e.as<ipt_reject_info>().with = n.with;
            return true;
        }
    if (begins("echo-reply") || begins("echoreply"))
        r.x.c.warn("--reject-with echo-reply no longer supported\n");
    return r.problem(fmt::format("unknown reject type \"{}\"", r.value));
}

const char* reject_name(const entry& e) {
    auto with = e.as<ipt_reject_info>().with;
    return std::ranges::find_if(reject_names, [&](const auto& n) { return n.with == with; })->name;
}

void reject_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    to += fmt::format(" reject-with {}", reject_name(e));
}

void reject_save(std::string& to, const entry& e, const ipt_ip&) {
    to += fmt::format(" --reject-with {}", reject_name(e));
}

// --- LOG

enum { LOG_PREFIX, LOG_LEVEL, LOG_SEQ, LOG_OPT, LOG_IPOPT, LOG_UID, LOG_MAC };
constexpr ipt_option log_options[] = {
    {"log-prefix", LOG_PREFIX},           {"log-level", LOG_LEVEL},
    {"log-tcp-sequence", LOG_SEQ, false}, {"log-tcp-options", LOG_OPT, false},
    {"log-ip-options", LOG_IPOPT, false}, {"log-uid", LOG_UID, false},
    {"log-macdecode", LOG_MAC, false}};
constexpr struct {
    const char* name;
    uint8_t level;
} log_levels[] = {{"emerg", 0},  {"panic", 0}, {"alert", 1}, {"crit", 2},
                  {"error", 3},  {"err", 3},   {"warn", 4},  {"warning", 4},
                  {"notice", 5}, {"info", 6},  {"debug", 7}};
constexpr struct {
    uint8_t flag;
    const char *option, *name;
} log_flags[] = {{XT_LOG_TCPSEQ, " --log-tcp-sequence", " tcp-sequence"},
                 {XT_LOG_TCPOPT, " --log-tcp-options", " tcp-options"},
                 {XT_LOG_IPOPT, " --log-ip-options", " ip-options"},
                 {XT_LOG_UID, " --log-uid", " uid"},
                 {XT_LOG_MACDECODE, " --log-macdecode", " macdecode"}};

bool log_read(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_log_info>();
    switch (r.option->id) {
    case LOG_PREFIX: {
        if (r.value.find('\n') != std::string::npos)
            return r.problem("Newlines not allowed in --log-prefix");
        std::fill(std::begin(i.prefix), std::end(i.prefix), '\0');
        size_t n = std::min(r.value.size(), sizeof i.prefix - 1); // the tool cuts it too
        std::copy_n(r.value.begin(), n, i.prefix);
        return true;
    }
    case LOG_LEVEL: {
        if (auto n = ipt_number(r.value, 7)) {
            i.level = uint8_t(*n);
            return true;
        }
        for (const auto& l : log_levels)
            if (strcasecmp(l.name, r.value.c_str()) == 0) {
                i.level = l.level;
                return true;
            }
        return r.problem(fmt::format("log level \"{}\" unknown\n", r.value));
    }
    default:
        i.logflags |= log_flags[r.option->id - LOG_SEQ].flag;
        return true;
    }
}

void log_list(std::string& to, const entry& e, const ipt_ip&, bool numeric) {
    const auto& i = e.as<xt_log_info>();
    to += " LOG";
    if (numeric) {
        to += fmt::format(" flags {} level {}", i.logflags, i.level);
    } else {
        auto level =
            std::ranges::find_if(log_levels, [&](const auto& l) { return l.level == i.level; });
        to += fmt::format(" level {}", level->name);
        for (const auto& f : log_flags)
            to += i.logflags & f.flag ? f.name : "";
    }
    if (i.prefix[0])
        to += fmt::format(" prefix \"{}\"", i.prefix);
}

void log_save(std::string& to, const entry& e, const ipt_ip&) {
    const auto& i = e.as<xt_log_info>();
    if (i.prefix[0])
        to += " --log-prefix" + ipt_quoted(i.prefix);
    if (i.level != xt_log_info{}.level)
        to += fmt::format(" --log-level {}", i.level);
    for (const auto& f : log_flags)
        to += i.logflags & f.flag ? f.option : "";
}

// --- MARK

enum { SET_XMARK, SET_MARK, AND_MARK, OR_MARK, XOR_MARK };
constexpr ipt_option mark_options[] = {{"set-xmark", SET_XMARK},
                                       {"set-mark", SET_MARK},
                                       {"and-mark", AND_MARK},
                                       {"or-mark", OR_MARK},
                                       {"xor-mark", XOR_MARK}};

bool mark_read(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_mark_tginfo>();
    uint32_t value = 0, mask = 0xffffffff;
    if (r.seen & (r.seen - 1))
        return r.problem("MARK: only one of the --set-xmark, --{and,or,xor,set}-mark options is "
                         "allowed");
    const bool with_mask = r.option->id == SET_XMARK || r.option->id == SET_MARK;
    if ((!with_mask && r.value.find('/') != std::string::npos) ||
        !ipt_masked(r.value, 0xffffffff, &value, &mask))
        return r.out_of_range(0, 0xffffffff);
    switch (r.option->id) {
    case SET_XMARK:
        i = {value, mask};
        break;
    case SET_MARK:
        i = {value, value | mask};
        break;
    case AND_MARK:
        i = {0, ~value};
        break;
    case OR_MARK:
        i = {value, value};
        break;
    default:
        i = {value, 0};
    }
    return true;
}

bool mark_finish(ipt_reading& r, entry&) {
    return r.seen || r.problem("MARK: One of the --set-xmark, --{and,or,xor,set}-mark options is "
                               "required");
}

void mark_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    const auto& i = e.as<xt_mark_tginfo>();
    if (i.mark == 0)
        to += fmt::format(" MARK and 0x{:x}", uint32_t(~i.mask));
    else if (i.mark == i.mask)
        to += fmt::format(" MARK or 0x{:x}", i.mark);
    else if (i.mask == 0)
        to += fmt::format(" MARK xor 0x{:x}", i.mark);
    else if (i.mask == 0xffffffff)
        to += fmt::format(" MARK set 0x{:x}", i.mark);
    else
        to += fmt::format(" MARK xset 0x{:x}/0x{:x}", i.mark, i.mask);
}

void mark_save(std::string& to, const entry& e, const ipt_ip&) {
    const auto& i = e.as<xt_mark_tginfo>();
    to += fmt::format(" --set-xmark 0x{:x}/0x{:x}", i.mark, i.mask);
}

// --- TOS

enum { SET_TOS, AND_TOS, OR_TOS, XOR_TOS };
constexpr ipt_option tos_options[] = {
    {"set-tos", SET_TOS}, {"and-tos", AND_TOS}, {"or-tos", OR_TOS}, {"xor-tos", XOR_TOS}};

bool tos_read(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_tos_target_info>();
    if (r.seen & (r.seen - 1))
        return r.problem("TOS: only one of the --set-tos, --{and,or,xor}-tos options is allowed");
    if (r.option->id == SET_TOS)
        return tos_value(r, &i.value, &i.mask);
    uint8_t bits = 0;
    if (!r.number(&bits, 0, 255))
        return false;
    if (r.option->id == AND_TOS)
        i = {0, uint8_t(~bits)};
    else if (r.option->id == OR_TOS)
        i = {bits, bits};
    else
        i = {bits, 0};
    return true;
}

bool tos_finish(ipt_reading& r, entry&) {
    return r.seen || r.problem("TOS: An action is required");
}

void tos_list(std::string& to, const entry& e, const ipt_ip&, bool numeric) {
    const auto& i = e.as<xt_tos_target_info>();
    if (const char* name = numeric ? nullptr : tos_symbol(i.value, i.mask))
        to += fmt::format("  TOS set{}", name);
    else if (numeric)
        to += fmt::format(" TOS set 0x{:02x}/0x{:02x}", i.value, i.mask);
    else if (i.value == 0)
        to += fmt::format(" TOS and 0x{:02x}", uint8_t(~i.mask));
    else if (i.value == i.mask)
        to += fmt::format(" TOS or 0x{:02x}", i.value);
    else if (i.mask == 0)
        to += fmt::format(" TOS xor 0x{:02x}", i.value);
    else
        to += fmt::format(" TOS set 0x{:02x}/0x{:02x}", i.value, i.mask);
}

void tos_save(std::string& to, const entry& e, const ipt_ip&) {
    const auto& i = e.as<xt_tos_target_info>();
    to += fmt::format(" --set-tos 0x{:02x}/0x{:02x}", i.value, i.mask);
}

// --- DSCP

constexpr ipt_option dscp_options[] = {{"set-dscp", 0}, {"set-dscp-class", 1}};

bool dscp_read(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_DSCP_info>();
    if (r.seen & (r.seen - 1))
        return r.problem("DSCP: option \"--set-dscp\" cannot be used together with "
                         "\"--set-dscp-class\".\n");
    return r.option->id == 0 ? r.number(&i.dscp, 0, 63) : dscp_class(r, &i.dscp);
}

bool dscp_finish(ipt_reading& r, entry&) {
    return r.seen || r.problem("DSCP target: Parameter --set-dscp is required");
}

void dscp_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    to += fmt::format(" DSCP set 0x{:02x}", e.as<xt_DSCP_info>().dscp);
}

void dscp_save(std::string& to, const entry& e, const ipt_ip&) {
    to += fmt::format(" --set-dscp 0x{:02x}", e.as<xt_DSCP_info>().dscp);
}

// --- TTL

constexpr ipt_option ttl_options[] = {
    {"ttl-set", IPT_TTL_SET}, {"ttl-inc", IPT_TTL_INC}, {"ttl-dec", IPT_TTL_DEC}};

bool ttl_read(ipt_reading& r, entry& e) {
    auto& i = e.as<ipt_TTL_info>();
    if (r.seen & (r.seen - 1))
        return r.problem("TTL: only one action is allowed");
    i.mode = uint8_t(r.option->id);
    return r.number(&i.ttl, i.mode == IPT_TTL_SET ? 0 : 1, 255);
}

bool ttl_finish(ipt_reading& r, entry&) {
    return r.seen || r.problem("TTL: You must specify an action");
}

void ttl_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    constexpr const char* actions[] = {"set to", "increment by", "decrement by"};
    const auto& i = e.as<ipt_TTL_info>();
    to += fmt::format(" TTL {} {}", actions[i.mode], i.ttl);
}

void ttl_save(std::string& to, const entry& e, const ipt_ip&) {
    const auto& i = e.as<ipt_TTL_info>();
    to += fmt::format(" --{} {}", ttl_options[i.mode].name, i.ttl);
}

// --- TCPMSS

constexpr ipt_option tcpmss_options[] = {{"set-mss", 0}, {"clamp-mss-to-pmtu", 1, false}};

bool tcpmss_read(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_tcpmss_info>();
    if (r.seen & (r.seen - 1))
        return r.problem("TCPMSS: option \"--set-mss\" cannot be used together with "
                         "\"--clamp-mss-to-pmtu\".\n");
    if (r.option->id == 0)
        return r.number(&i.mss, 0, 65495);
    i.mss = XT_TCPMSS_CLAMP_PMTU;
    return true;
}

bool tcpmss_finish(ipt_reading& r, entry&) {
    return r.seen || r.problem("TCPMSS target: At least one parameter is required");
}

void tcpmss_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    uint16_t mss = e.as<xt_tcpmss_info>().mss;
    to += mss == XT_TCPMSS_CLAMP_PMTU ? std::string(" TCPMSS clamp to PMTU")
                                      : fmt::format(" TCPMSS set {}", mss);
}

void tcpmss_save(std::string& to, const entry& e, const ipt_ip&) {
    uint16_t mss = e.as<xt_tcpmss_info>().mss;
    to += mss == XT_TCPMSS_CLAMP_PMTU ? std::string(" --clamp-mss-to-pmtu")
                                      : fmt::format(" --set-mss {}", mss);
}

// --- CT, NOTRACK

constexpr ipt_option ct_options[] = {{"notrack", 0, false}};

bool ct_read(ipt_reading&, entry&) {
    return true;
}

bool ct_finish(ipt_reading& r, entry&) {
    return r.seen || r.problem("CT: only --notrack can be done: connections are not tracked here");
}

void ct_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    to += e.as<xt_ct_info>().notrack_alias ? " NOTRACK" : " CT notrack";
}

void ct_save(std::string& to, const entry&, const ipt_ip&) {
    to += " --notrack";
}

void notrack_make(entry& e, const xt_target* kind) {
    make<xt_ct_info>(e, kind);
    e.as<xt_ct_info>().notrack_alias = 1;
}

const ipt_target_extension extensions[] = {
    {"REJECT", "REJECT", reject_options, make<ipt_reject_info>, reject_read, nullptr, reject_list,
     reject_save},
    {"LOG", "LOG", log_options, make<xt_log_info>, log_read, nullptr, log_list, log_save},
    {"MARK", "MARK", mark_options, make<xt_mark_tginfo>, mark_read, mark_finish, mark_list,
     mark_save},
    {"TOS", "TOS", tos_options, make<xt_tos_target_info>, tos_read, tos_finish, tos_list, tos_save},
    {"DSCP", "DSCP", dscp_options, make<xt_DSCP_info>, dscp_read, dscp_finish, dscp_list,
     dscp_save},
    {"TTL", "TTL", ttl_options, make<ipt_TTL_info>, ttl_read, ttl_finish, ttl_list, ttl_save},
    {"TCPMSS", "TCPMSS", tcpmss_options, make<xt_tcpmss_info>, tcpmss_read, tcpmss_finish,
     tcpmss_list, tcpmss_save},
    {"CT", "CT", ct_options, make<xt_ct_info>, ct_read, ct_finish, ct_list, ct_save},
    {"NOTRACK", "CT", {}, notrack_make, ct_read, nullptr, ct_list, nullptr},
};

} // namespace

std::span<const ipt_target_extension> ipt_target_extensions() {
    return extensions;
}

} // namespace slabfwd
