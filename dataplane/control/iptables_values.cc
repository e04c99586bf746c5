// SPDX-License-Identifier: BSD-3-Clause
//
// Numbers, ports, protocols and texts as iptables reads and writes them. Names come from
// /etc/services and /etc/protocols; hosts are numbers only, so that no name server holds up the
// control thread.
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <netdb.h>
#include <strings.h>

#include "dataplane/control/iptables.h"

namespace slabfwd {

namespace {

/// Protocols that need no file. Origin: xtables_chain_protos.
constexpr struct {
    const char* name;
    uint16_t number;
} protocols[] = {{"tcp", 6},  {"sctp", 132},    {"udp", 17},       {"udplite", 136},
                 {"icmp", 1}, {"icmpv6", 58},   {"ipv6-icmp", 58}, {"esp", 50},
                 {"ah", 51},  {"ipv6-mh", 135}, {"mh", 135},       {"all", 0}};

const char* service_proto(uint16_t proto) {
    switch (proto) {
    case 6:
        return "tcp";
    case 17:
        return "udp";
    case 33:
        return "dccp";
    case 132:
        return "sctp";
    case 136:
        return "udplite";
    default:
        return nullptr;
    }
}

} // namespace

std::optional<uint64_t> ipt_number(std::string_view text, uint64_t max) {
    std::string s(text);
    if (s.empty() || !isdigit(static_cast<unsigned char>(s[0])))
        return {};
    char* end;
    errno = 0;
    uint64_t n = strtoull(s.c_str(), &end, 0);
    if (*end || errno || n > max)
        return {};
    return n;
}

bool ipt_masked(std::string_view text, uint64_t max, uint32_t* value, uint32_t* mask) {
    size_t slash = text.find('/');
    auto v = ipt_number(text.substr(0, slash), max);
    if (!v)
        return false;
    *value = uint32_t(*v);
    if (slash == std::string_view::npos)
        return true;
    auto m = ipt_number(text.substr(slash + 1), max);
    if (!m)
        return false;
    *mask = uint32_t(*m);
    return true;
}

std::optional<uint16_t> ipt_port(const std::string& text, uint16_t proto) {
    if (auto n = ipt_number(text, 0xffff))
        return uint16_t(*n);
    servent entry, *found = nullptr;
    char buf[1024];
    if (!text.empty() &&
        getservbyname_r(text.c_str(), service_proto(proto), &entry, buf, sizeof buf, &found) == 0 &&
        found)
        return ntohs(uint16_t(found->s_port));
    return {};
}

std::string ipt_port_name(uint16_t port, uint16_t proto, bool numeric) {
    servent entry, *found = nullptr;
    char buf[1024];
    if (!numeric &&
        getservbyport_r(htons(port), service_proto(proto), &entry, buf, sizeof buf, &found) == 0 &&
        found)
        return found->s_name;
    return std::to_string(port);
}

std::optional<uint16_t> ipt_proto(const std::string& text) {
    if (auto n = ipt_number(text, 255))
        return uint16_t(*n);
    std::string lower = text;
    std::ranges::transform(lower, lower.begin(), [](unsigned char ch) { return tolower(ch); });
    for (const auto& p : protocols)
        if (lower == p.name)
            return p.number;
    protoent entry, *found = nullptr;
    char buf[1024];
    if (getprotobyname_r(lower.c_str(), &entry, buf, sizeof buf, &found) == 0 && found)
        return uint16_t(found->p_proto);
    return {};
}

std::string ipt_proto_name(uint16_t proto, bool numeric) {
    if (numeric)
        return std::to_string(proto);
    for (const auto& p : protocols)
        if (proto == p.number)
            return p.name;
    protoent entry, *found = nullptr;
    char buf[1024];
    if (getprotobynumber_r(proto, &entry, buf, sizeof buf, &found) == 0 && found)
        return found->p_name;
    return std::to_string(proto);
}

std::string ipt_quoted(const std::string& text) {
    constexpr std::string_view plain =
        "_-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if (!text.empty() && text.find_first_not_of(plain) == std::string::npos)
        return " " + text;
    std::string out = " \"";
    for (char ch : text) {
        if (ch == '"' || ch == '\\' || ch == '\'')
            out += '\\';
        out += ch;
    }
    return out + "\"";
}

std::string ipt_address(be32_t a) {
    return fmt::format("{}.{}.{}.{}", a.raw & 255, a.raw >> 8 & 255, a.raw >> 16 & 255,
                       a.raw >> 24);
}

std::string ipt_mask_suffix(be32_t mask) {
    uint32_t m = be32_to_cpu(mask);
    if (m == 0xffffffff)
        return "";
    if ((~m & (~m + 1)) == 0)
        return fmt::format("/{}", std::popcount(m));
    return "/" + ipt_address(mask);
}

bool ipt_reading::out_of_range(uint64_t lo, uint64_t hi, bool near) {
    if (hi >= 0xffffffff)
        return x.problem(value, fmt::format("{}: bad integer value for option \"--{}\", or out of "
                                            "range.\n",
                                            extension, option->name));
    return x.problem(value, fmt::format("{}: bad value for option \"--{}\"{}, or out of range "
                                        "({}-{}).\n",
                                        extension, option->name,
                                        near ? " near \"" + value + "\"" : "", lo, hi));
}

} // namespace slabfwd
