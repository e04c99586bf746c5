// SPDX-License-Identifier: BSD-3-Clause
//
// The matches that -m names: how their options are read, listed and saved. Door:
// ipt_match_extensions. tcp, udp and icmp are in iptables_proto.cc.
#include <algorithm>
#include <cmath>

#include <arpa/inet.h>

#include "dataplane/control/iptables_ext.h"
#include "neigh/skbuff.h"
#include "route/route.h"

namespace slabfwd {

using namespace ipt_ext;

namespace {

using entry = xt_entry<xt_match>;

const char* bang(bool invert) {
    return invert ? " !" : "";
}

// --- multiport

constexpr ipt_option multiport_options[] = {{"source-ports", 0, true, true},
                                            {"sports", 0, true, true},
                                            {"destination-ports", 1, true, true},
                                            {"dports", 1, true, true},
                                            {"ports", 2, true, true},
                                            {"port", 2, true, true}};

bool multiport_proto(const ipt_ip& ip) {
    constexpr uint16_t with_ports[] = {6, 17, 33, 132, 136};
    return !(ip.invflags & IPT_INV_PROTO) &&
           std::ranges::find(with_ports, ip.proto) != std::end(with_ports);
}

bool multiport_read(ipt_reading& r, entry& e) {
    auto& multi = e.as<xt_multiport>();
    if (!r.ip.proto || (r.ip.invflags & IPT_INV_PROTO))
        return r.problem("multiport needs `-p tcp', `-p udp', `-p udplite', `-p sctp' or "
                         "`-p dccp'");
    if (!multiport_proto(r.ip))
        return r.problem("multiport only works with TCP, UDP, UDPLITE, SCTP and DCCP");
    if (r.seen & (r.seen - 1))
        return r.problem("multiport: only one port list can be given");
    multi = {};
    multi.flags = uint8_t(r.option->id);
    multi.invert = r.invert;
    for (const std::string& word : split(r.value, ',')) {
        size_t colon = word.find(':');
        auto lo = ipt_port(word.substr(0, colon), r.ip.proto);
        if (!lo)
            return r.problem(
                fmt::format("invalid port/service `{}' specified", word.substr(0, colon)));
        if (multi.count + (colon != std::string::npos ? 1u : 0u) >= XT_MULTI_PORTS)
            return r.problem("too many ports specified");
        if (colon != std::string::npos) {
            auto hi = ipt_port(word.substr(colon + 1), r.ip.proto);
            if (!hi)
                return r.problem(
                    fmt::format("invalid port/service `{}' specified", word.substr(colon + 1)));
            if (*lo >= *hi)
                return r.problem("invalid portrange specified");
            multi.pflags[multi.count] = 1;
            multi.ports[multi.count++] = *lo;
            multi.ports[multi.count++] = *hi;
            continue;
        }
        multi.ports[multi.count++] = *lo;
    }
    return true;
}

bool multiport_finish(ipt_reading& r, entry&) {
    return r.seen || r.problem("no ports specified");
}

std::string multiport_ports(const xt_multiport& multi, const ipt_ip& ip, bool numeric) {
    std::string list;
    for (unsigned i = 0; i < multi.count; ++i) {
        list += i ? "," : "";
        list += ipt_port_name(multi.ports[i], ip.proto, numeric);
        if (multi.pflags[i])
            list += ":" + ipt_port_name(multi.ports[++i], ip.proto, numeric);
    }
    return list;
}

void multiport_list(std::string& to, const entry& e, const ipt_ip& ip, bool numeric) {
    constexpr const char* names[] = {"sports", "dports", "ports"};
    const auto& multi = e.as<xt_multiport>();
    to += fmt::format(" multiport {} {}{}", names[multi.flags], bang(multi.invert),
                      multiport_ports(multi, ip, numeric));
}

void multiport_save(std::string& to, const entry& e, const ipt_ip& ip) {
    constexpr const char* names[] = {"sports", "dports", "ports"};
    const auto& multi = e.as<xt_multiport>();
    to += fmt::format("{} --{} {}", bang(multi.invert), names[multi.flags],
                      multiport_ports(multi, ip, true));
}

// --- iprange

constexpr ipt_option iprange_options[] = {{"src-range", 0, true, true},
                                          {"dst-range", 1, true, true}};

bool iprange_read(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_iprange>();
    size_t dash = r.value.find('-');
    in_addr lo, hi;
    std::string first = r.value.substr(0, dash),
                last = dash == std::string::npos ? first : r.value.substr(dash + 1);
    if (!inet_pton(AF_INET, first.c_str(), &lo) || !inet_pton(AF_INET, last.c_str(), &hi))
        return r.problem(
            fmt::format("iprange: Bad value for \"--{}\" option: \"{}\"", r.option->name, r.value));
    uint32_t from = ntohl(lo.s_addr), to = ntohl(hi.s_addr);
    if (from > to)
        r.x.c.warn(fmt::format("xt_iprange: range {} is reversed and will never match\n", r.value));
    if (r.option->id == 0) {
        i.src_min = from, i.src_max = to;
        i.flags |= uint8_t(IPRANGE_SRC | (r.invert ? IPRANGE_SRC_INV : 0));
    } else {
        i.dst_min = from, i.dst_max = to;
        i.flags |= uint8_t(IPRANGE_DST | (r.invert ? IPRANGE_DST_INV : 0));
    }
    return true;
}

bool iprange_finish(ipt_reading& r, entry&) {
    return r.seen || r.problem("iprange match: You must specify `--src-range' or `--dst-range'");
}

std::string range_text(uint32_t lo, uint32_t hi) {
    return ipt_address(cpu_to_be32(lo)) + "-" + ipt_address(cpu_to_be32(hi));
}

void iprange_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    const auto& i = e.as<xt_iprange>();
    if (i.flags & IPRANGE_SRC)
        to += fmt::format(" source IP range{} {}", bang(i.flags & IPRANGE_SRC_INV),
                          range_text(i.src_min, i.src_max));
    if (i.flags & IPRANGE_DST)
        to += fmt::format(" destination IP range{} {}", bang(i.flags & IPRANGE_DST_INV),
                          range_text(i.dst_min, i.dst_max));
}

void iprange_save(std::string& to, const entry& e, const ipt_ip&) {
    const auto& i = e.as<xt_iprange>();
    if (i.flags & IPRANGE_SRC)
        to += fmt::format("{} --src-range {}", bang(i.flags & IPRANGE_SRC_INV),
                          range_text(i.src_min, i.src_max));
    if (i.flags & IPRANGE_DST)
        to += fmt::format("{} --dst-range {}", bang(i.flags & IPRANGE_DST_INV),
                          range_text(i.dst_min, i.dst_max));
}

// --- ttl

constexpr ipt_option ttl_options[] = {
    {"ttl-lt", 0}, {"ttl-gt", 1}, {"ttl-eq", 2, true, true}, {"ttl", 2, true, true}};

bool ttl_read(ipt_reading& r, entry& e) {
    auto& i = e.as<ipt_ttl>();
    i.mode = r.option->id == 0   ? IPT_TTL_LT
             : r.option->id == 1 ? IPT_TTL_GT
             : r.invert          ? IPT_TTL_NE
                                 : IPT_TTL_EQ;
    if (r.seen & (r.seen - 1))
        return r.problem("TTL match: Only one of `--ttl-eq', `--ttl-lt', `--ttl-gt' can be used");
    return r.number(&i.ttl, 0, 255);
}

bool ttl_finish(ipt_reading& r, entry&) {
    return r.seen ||
           r.problem("TTL match: You must specify one of `--ttl-eq', `--ttl-lt', `--ttl-gt");
}

void ttl_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    constexpr const char* relations[] = {"==", "!=", "<", ">"};
    const auto& i = e.as<ipt_ttl>();
    to += fmt::format(" TTL match TTL {} {}", relations[i.mode], i.ttl);
}

void ttl_save(std::string& to, const entry& e, const ipt_ip&) {
    constexpr const char* words[] = {" --ttl-eq", " ! --ttl-eq", " --ttl-lt", " --ttl-gt"};
    const auto& i = e.as<ipt_ttl>();
    to += fmt::format("{} {}", words[i.mode], i.ttl);
}

// --- length

constexpr ipt_option length_options[] = {{"length", 0, true, true}};

bool length_read(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_length>();
    size_t colon = r.value.find(':');
    std::string lo = r.value.substr(0, colon),
                hi = colon == std::string::npos ? lo : r.value.substr(colon + 1);
    auto from = lo.empty() ? 0 : ipt_number(lo, 0xffff),
         to = hi.empty() && colon != std::string::npos ? 0xffff : ipt_number(hi, 0xffff);
    if (!from || !to)
        return r.out_of_range(0, 65535, true);
    i.min = uint16_t(*from);
    i.max = uint16_t(*to);
    i.invert = r.invert;
    return true;
}

std::string length_text(const xt_length& i) {
    return i.min == i.max ? fmt::format("{}", i.min) : fmt::format("{}:{}", i.min, i.max);
}

void length_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    const auto& i = e.as<xt_length>();
    to += fmt::format(" length {}{}", i.invert ? "!" : "", length_text(i));
}

void length_save(std::string& to, const entry& e, const ipt_ip&) {
    const auto& i = e.as<xt_length>();
    to += fmt::format("{} --length {}", bang(i.invert), length_text(i));
}

// --- dscp

constexpr ipt_option dscp_options[] = {{"dscp", 0, true, true}, {"dscp-class", 1, true, true}};

bool dscp_read(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_dscp>();
    i.invert = r.invert;
    if (r.seen & (r.seen - 1))
        return r.problem("dscp: option \"--dscp\" cannot be used together with "
                         "\"--dscp-class\".\n");
    return r.option->id == 0 ? r.number(&i.dscp, 0, 63) : dscp_class(r, &i.dscp);
}

bool dscp_finish(ipt_reading& r, entry&) {
    return r.seen || r.problem("DSCP match: Parameter --dscp is required");
}

void dscp_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    const auto& i = e.as<xt_dscp>();
    to += fmt::format(" DSCP match {}0x{:02x}", i.invert ? "!" : "", i.dscp);
}

void dscp_save(std::string& to, const entry& e, const ipt_ip&) {
    const auto& i = e.as<xt_dscp>();
    to += fmt::format("{} --dscp 0x{:02x}", bang(i.invert), i.dscp);
}

// --- tos

constexpr ipt_option tos_options[] = {{"tos", 0, true, true}};

bool tos_read(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_tos>();
    i.invert = r.invert;
    return tos_value(r, &i.value, &i.mask);
}

void tos_list(std::string& to, const entry& e, const ipt_ip&, bool numeric) {
    const auto& i = e.as<xt_tos>();
    to += fmt::format(" tos match{}", i.invert ? "!" : "");
    const char* name = numeric ? nullptr : tos_symbol(i.value, i.mask);
    to += name ? fmt::format(" {}", name) : fmt::format("0x{:02x}/0x{:02x}", i.value, i.mask);
}

void tos_save(std::string& to, const entry& e, const ipt_ip&) {
    const auto& i = e.as<xt_tos>();
    to += fmt::format("{} --tos 0x{:02x}/0x{:02x}", bang(i.invert), i.value, i.mask);
}

// --- mark

constexpr ipt_option mark_options[] = {{"mark", 0, true, true}};

bool mark_read(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_mark>();
    i.invert = r.invert;
    return ipt_masked(r.value, 0xffffffff, &i.mark, &i.mask) || r.out_of_range(0, 0xffffffff);
}

std::string mark_text(const xt_mark& i) {
    return i.mask == 0xffffffff ? fmt::format("0x{:x}", i.mark)
                                : fmt::format("0x{:x}/0x{:x}", i.mark, i.mask);
}

void mark_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    const auto& i = e.as<xt_mark>();
    to += fmt::format(" mark match{} {}", bang(i.invert), mark_text(i));
}

void mark_save(std::string& to, const entry& e, const ipt_ip&) {
    const auto& i = e.as<xt_mark>();
    to += fmt::format("{} --mark {}", bang(i.invert), mark_text(i));
}

// --- mac

constexpr ipt_option mac_options[] = {{"mac-source", 0, true, true}};

bool mac_read(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_mac>();
    unsigned b[ETH_ALEN];
    int end = 0;
    i.invert = r.invert;
    if (r.value.size() > 17 ||
        sscanf(r.value.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%n", b, b + 1, b + 2, b + 3, b + 4, b + 5,
               &end) != ETH_ALEN ||
        r.value[size_t(end)])
        return r.problem("Invalid MAC address specified.");
    std::copy(b, b + ETH_ALEN, i.srcaddr);
    return true;
}

std::string mac_text(const xt_mac& i) {
    const uint8_t* a = i.srcaddr;
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", a[0], a[1], a[2], a[3], a[4],
                       a[5]);
}

void mac_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    const auto& i = e.as<xt_mac>();
    to += fmt::format(" MAC{} {}", bang(i.invert), mac_text(i));
}

void mac_save(std::string& to, const entry& e, const ipt_ip&) {
    const auto& i = e.as<xt_mac>();
    to += fmt::format("{} --mac-source {}", bang(i.invert), mac_text(i));
}

// --- limit

constexpr ipt_option limit_options[] = {{"limit", 0}, {"limit-burst", 1}};
constexpr struct {
    const char* name;
    uint32_t mult;
} rates[] = {{"day", XT_LIMIT_SCALE * 24 * 60 * 60},
             {"hour", XT_LIMIT_SCALE * 60 * 60},
             {"min", XT_LIMIT_SCALE * 60},
             {"sec", XT_LIMIT_SCALE}};

/// "3/second" and its abbreviations. Origin: parse_rate.
bool limit_rate(ipt_reading& r, uint32_t* avg) {
    uint32_t mult = 1;
    size_t slash = r.value.find('/');
    if (slash != std::string::npos) {
        std::string unit = r.value.substr(slash + 1);
        std::ranges::transform(unit, unit.begin(), [](unsigned char ch) { return tolower(ch); });
        auto is = [&](std::string_view name) { return !unit.empty() && name.starts_with(unit); };
        mult = is("second") ? 1 : is("minute") ? 60 : is("hour") ? 3600 : is("day") ? 86400 : 0;
    }
    char* end;
    unsigned long n = strtoul(r.value.c_str(), &end, 10);
    bool whole = end == r.value.c_str() + (slash == std::string::npos ? r.value.size() : slash);
    if (!mult || !whole || !n || end == r.value.c_str())
        return r.problem(fmt::format("bad rate \"{}\"'", r.value));
    if (n / mult > XT_LIMIT_SCALE)
        return r.problem(fmt::format("Rate too fast \"{}\"", r.value));
    *avg = uint32_t(uint64_t(XT_LIMIT_SCALE) * mult / n);
    return *avg || r.problem(fmt::format("Rate too fast \"{}\"", r.value));
}

bool limit_read(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_limit>();
    return r.option->id == 0 ? limit_rate(r, &i.avg) : r.number(&i.burst, 0, 10000);
}

/// Origin: print_rate.
std::string rate_text(uint32_t period) {
    size_t i = 1;
    for (; i < std::size(rates); ++i)
        if (period > rates[i].mult || rates[i].mult / period < rates[i].mult % period)
            break;
    return fmt::format("{}/{}", rates[i - 1].mult / period, rates[i - 1].name);
}

void limit_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    const auto& i = e.as<xt_limit>();
    to += fmt::format(" limit: avg {} burst {}", rate_text(i.avg), i.burst);
}

void limit_save(std::string& to, const entry& e, const ipt_ip&) {
    const auto& i = e.as<xt_limit>();
    to += fmt::format(" --limit {}", rate_text(i.avg));
    if (i.burst != xt_limit{}.burst)
        to += fmt::format(" --limit-burst {}", i.burst);
}

// --- comment

constexpr ipt_option comment_options[] = {{"comment", 0}};

bool comment_read(ipt_reading& r, entry& e) {
    if (r.value.size() >= XT_MAX_COMMENT_LEN)
        return r.problem(fmt::format("comment: option \"--comment\" too long (at most {} "
                                     "characters)",
                                     XT_MAX_COMMENT_LEN - 1));
    std::ranges::copy(r.value, e.as<xt_comment>().comment);
    return true;
}

void comment_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    to += fmt::format(" /* {} */", e.as<xt_comment>().comment);
}

void comment_save(std::string& to, const entry& e, const ipt_ip&) {
    to += " --comment" + ipt_quoted(e.as<xt_comment>().comment);
}

// --- addrtype

constexpr ipt_option addrtype_options[] = {{"src-type", 0, true, true},
                                           {"dst-type", 1, true, true},
                                           {"limit-iface-in", 2, false},
                                           {"limit-iface-out", 3, false}};
constexpr const char* rtn_names[] = {"UNSPEC",   "UNICAST",   "LOCAL",     "BROADCAST",
                                     "ANYCAST",  "MULTICAST", "BLACKHOLE", "UNREACHABLE",
                                     "PROHIBIT", "THROW",     "NAT",       "XRESOLVE"};

bool addrtype_mask(ipt_reading& r, uint16_t* mask) {
    for (const std::string& word : split(r.value, ',')) {
        auto at = std::ranges::find_if(rtn_names, [&](const char* name) {
            return word.size() && strncasecmp(name, word.c_str(), word.size()) == 0;
        });
        if (at == std::end(rtn_names))
            return r.problem(fmt::format("addrtype: bad type \"{}\"", word));
        *mask = uint16_t(*mask | 1u << (at - rtn_names));
    }
    return true;
}

bool addrtype_read(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_addrtype>();
    if (r.has(2) && r.has(3))
        return r.problem("addrtype: option \"--limit-iface-in\" cannot be used together with "
                         "\"--limit-iface-out\".\n");
    switch (r.option->id) {
    case 0:
        i.flags |= r.invert ? XT_ADDRTYPE_INVERT_SOURCE : 0;
        return addrtype_mask(r, &i.source);
    case 1:
        i.flags |= r.invert ? XT_ADDRTYPE_INVERT_DEST : 0;
        return addrtype_mask(r, &i.dest);
    case 2:
        i.flags |= XT_ADDRTYPE_LIMIT_IFACE_IN;
        return true;
    default:
        i.flags |= XT_ADDRTYPE_LIMIT_IFACE_OUT;
        return true;
    }
}

bool addrtype_finish(ipt_reading& r, entry&) {
    return (r.has(0) || r.has(1)) ||
           r.problem("addrtype: you must specify --src-type or --dst-type");
}

std::string addrtype_names(uint16_t mask) {
    std::string list;
    for (size_t i = 0; i < std::size(rtn_names); ++i)
        if (mask >> i & 1)
            list += fmt::format("{}{}", list.empty() ? "" : ",", rtn_names[i]);
    return list;
}

void addrtype_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    const auto& i = e.as<xt_addrtype>();
    to += " ADDRTYPE match";
    if (i.source)
        to += fmt::format(" src-type {}{}", i.flags & XT_ADDRTYPE_INVERT_SOURCE ? "!" : "",
                          addrtype_names(i.source));
    if (i.dest)
        to += fmt::format(" dst-type {}{}", i.flags & XT_ADDRTYPE_INVERT_DEST ? "!" : "",
                          addrtype_names(i.dest));
    to += i.flags & XT_ADDRTYPE_LIMIT_IFACE_IN ? " limit-in" : "";
    to += i.flags & XT_ADDRTYPE_LIMIT_IFACE_OUT ? " limit-out" : "";
}

void addrtype_save(std::string& to, const entry& e, const ipt_ip&) {
    const auto& i = e.as<xt_addrtype>();
    if (i.source)
        to += fmt::format("{} --src-type {}", bang(i.flags & XT_ADDRTYPE_INVERT_SOURCE),
                          addrtype_names(i.source));
    if (i.dest)
        to += fmt::format("{} --dst-type {}", bang(i.flags & XT_ADDRTYPE_INVERT_DEST),
                          addrtype_names(i.dest));
    to += i.flags & XT_ADDRTYPE_LIMIT_IFACE_IN ? " --limit-iface-in" : "";
    to += i.flags & XT_ADDRTYPE_LIMIT_IFACE_OUT ? " --limit-iface-out" : "";
}

// --- statistic

constexpr ipt_option statistic_options[] = {
    {"mode", 0}, {"probability", 1, true, true}, {"every", 2, true, true}, {"packet", 3}};

bool statistic_read(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_statistic>();
    switch (r.option->id) {
    case 0:
        if (r.value != "random" && r.value != "nth")
            return r.problem(fmt::format("Bad mode \"{}\"", r.value));
        i.mode = r.value == "random" ? XT_STATISTIC_RANDOM : XT_STATISTIC_NTH;
        return true;
    case 1: {
        char* end;
        double p = strtod(r.value.c_str(), &end);
        if (*end || end == r.value.c_str() || !(p >= 0 && p <= 1))
            return r.problem("statistic: bad value for option \"--probability\", or out of range "
                             "(0.000000-1.000000).\n");
        i.probability = uint32_t(lround(p * 0x80000000));
        i.invert = r.invert;
        return true;
    }
    case 2:
        i.invert = r.invert;
        return r.number(&i.every, 1, 0xfffffffe);
    default:
        return r.number(&i.packet, 0, 0xfffffffe);
    }
}

bool statistic_finish(ipt_reading& r, entry& e) {
    auto& i = e.as<xt_statistic>();
    if (!r.has(0))
        return r.problem("statistic: option \"--mode\" must be specified\n");
    if (i.mode == XT_STATISTIC_RANDOM) {
        if (r.has(2) || r.has(3))
            return r.problem("--every, --packet: not used with --mode random");
        return r.has(1) || r.problem("--probability must be specified when using random mode");
    }
    if (r.has(1))
        return r.problem("--probability: not used with --mode nth");
    if (!r.has(2))
        return r.problem("--every must be specified when using nth mode");
    if (!r.has(3))
        return r.problem("statistic: option \"--every\" also requires \"--packet\".\n");
    --i.every;
    if (i.packet > i.every)
        return r.problem("the --packet p must be 0 <= p <= n-1");
    i.count = i.every - i.packet;
    return true;
}

void statistic_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    const auto& i = e.as<xt_statistic>();
    if (i.mode == XT_STATISTIC_RANDOM) {
        to += fmt::format(" statistic mode random{} probability {:.11f}", bang(i.invert),
                          double(i.probability) / 0x80000000);
        return;
    }
    to += fmt::format(" statistic mode nth{} every {}", bang(i.invert), i.every + 1);
    if (i.packet)
        to += fmt::format(" packet {}", i.packet);
}

void statistic_save(std::string& to, const entry& e, const ipt_ip&) {
    const auto& i = e.as<xt_statistic>();
    if (i.mode == XT_STATISTIC_RANDOM)
        to += fmt::format(" --mode random{} --probability {:.11f}", bang(i.invert),
                          double(i.probability) / 0x80000000);
    else
        to += fmt::format(" --mode nth{} --every {} --packet {}", bang(i.invert), i.every + 1,
                          i.packet);
}

// --- pkttype

constexpr ipt_option pkttype_options[] = {{"pkt-type", 0, true, true}};
constexpr struct {
    const char* name;
    int type;
} pkttypes[] = {{"unicast", PACKET_HOST},        {"broadcast", PACKET_BROADCAST},
                {"multicast", PACKET_MULTICAST}, {"bcast", PACKET_BROADCAST},
                {"mcast", PACKET_MULTICAST},     {"host", PACKET_HOST}};

bool pkttype_read(ipt_reading& r, entry& e) {
    for (const auto& p : pkttypes)
        if (strcasecmp(p.name, r.value.c_str()) == 0) {
            e.as<xt_pkttype>().type = p.type;
            e.as<xt_pkttype>().invert = r.invert;
            return true;
        }
    return r.problem(fmt::format("Bad packet type '{}'", r.value));
}

const char* pkttype_name(int type) {
    return std::ranges::find_if(pkttypes, [&](const auto& p) { return p.type == type; })->name;
}

void pkttype_list(std::string& to, const entry& e, const ipt_ip&, bool) {
    const auto& i = e.as<xt_pkttype>();
    to += fmt::format(" PKTTYPE {} {}", i.invert ? "!=" : "=", pkttype_name(i.type));
}

void pkttype_save(std::string& to, const entry& e, const ipt_ip&) {
    const auto& i = e.as<xt_pkttype>();
    to += fmt::format("{} --pkt-type {}", bang(i.invert), pkttype_name(i.type));
}

const ipt_match_extension extensions[] = {
    {"tcp", "tcp", tcp_options, make<xt_tcp>, tcp_read, nullptr, tcp_list, tcp_save},
    {"udp", "udp", udp_options, make<xt_udp>, udp_read, nullptr, udp_list, udp_save},
    {"icmp", "icmp", icmp_options, make<ipt_icmp>, icmp_read, required<0>, icmp_list, icmp_save},
    {"multiport", "multiport", multiport_options, make<xt_multiport>, multiport_read,
     multiport_finish, multiport_list, multiport_save},
    {"iprange", "iprange", iprange_options, make<xt_iprange>, iprange_read, iprange_finish,
     iprange_list, iprange_save},
    {"ttl", "ttl", ttl_options, make<ipt_ttl>, ttl_read, ttl_finish, ttl_list, ttl_save},
    {"length", "length", length_options, make<xt_length>, length_read, required<0>, length_list,
     length_save},
    {"dscp", "dscp", dscp_options, make<xt_dscp>, dscp_read, dscp_finish, dscp_list, dscp_save},
    {"tos", "tos", tos_options, make<xt_tos>, tos_read, required<0>, tos_list, tos_save},
    {"mark", "mark", mark_options, make<xt_mark>, mark_read, required<0>, mark_list, mark_save},
    {"mac", "mac", mac_options, make<xt_mac>, mac_read, required<0>, mac_list, mac_save},
    {"limit", "limit", limit_options, make<xt_limit>, limit_read, nullptr, limit_list, limit_save},
    {"comment", "comment", comment_options, make<xt_comment>, comment_read, required<0>,
     comment_list, comment_save},
    {"addrtype", "addrtype", addrtype_options, make<xt_addrtype>, addrtype_read, addrtype_finish,
     addrtype_list, addrtype_save},
    {"statistic", "statistic", statistic_options, make<xt_statistic>, statistic_read,
     statistic_finish, statistic_list, statistic_save},
    {"pkttype", "pkttype", pkttype_options, make<xt_pkttype>, pkttype_read, required<0>,
     pkttype_list, pkttype_save},
};

} // namespace

std::span<const ipt_match_extension> ipt_match_extensions() {
    return extensions;
}

} // namespace slabfwd
