// SPDX-License-Identifier: BSD-3-Clause
//
// Decoders and names. A decoder that refuses leaves iproute2's message in the command.
#include "dataplane/control/values.h"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <cstring>

#include "dataplane/control/command.h"
#include "neigh/arp.h"
#include "neigh/inetdevice.h"
#include "neigh/neighbour.h"
#include "route/ip_fib.h"

namespace slabfwd {

namespace {

struct name_number {
    const char* name;
    uint32_t number;
};

constexpr name_number scopes[] = {{"global", RT_SCOPE_UNIVERSE},
                                  {"nowhere", RT_SCOPE_NOWHERE},
                                  {"host", RT_SCOPE_HOST},
                                  {"link", RT_SCOPE_LINK},
                                  {"site", RT_SCOPE_SITE}};
constexpr name_number protocols[] = {
    {"unspec", 0},    {"redirect", 1}, {"kernel", 2}, {"boot", 3},   {"static", 4},
    {"gated", 8},     {"ra", 9},       {"mrt", 10},   {"zebra", 11}, {"bird", 12},
    {"dnrouted", 13}, {"xorp", 14},    {"ntk", 15},   {"dhcp", 16},  {"keepalived", 18},
    {"babel", 42},    {"openr", 99},   {"bgp", 186},  {"isis", 187}, {"ospf", 188},
    {"rip", 189},     {"eigrp", 192}};
constexpr name_number tables[] = {{"unspec", 0}, {"default", 253}, {"main", 254}, {"local", 255}};
constexpr name_number route_types[] = {{"none", RTN_UNSPEC},
                                       {"unicast", RTN_UNICAST},
                                       {"local", RTN_LOCAL},
                                       {"broadcast", RTN_BROADCAST},
                                       {"anycast", RTN_ANYCAST},
                                       {"multicast", RTN_MULTICAST},
                                       {"blackhole", RTN_BLACKHOLE},
                                       {"unreachable", RTN_UNREACHABLE},
                                       {"prohibit", RTN_PROHIBIT},
                                       {"throw", RTN_THROW},
                                       {"nat", RTN_NAT}};
constexpr name_number dsfields[] = {
    {"default", 0}, {"AF11", 0x28}, {"AF12", 0x30}, {"AF13", 0x38}, {"AF21", 0x48}, {"AF22", 0x50},
    {"AF23", 0x58}, {"AF31", 0x68}, {"AF32", 0x70}, {"AF33", 0x78}, {"AF41", 0x88}, {"AF42", 0x90},
    {"AF43", 0x98}, {"CS1", 0x20},  {"CS2", 0x40},  {"CS3", 0x60},  {"CS4", 0x80},  {"CS5", 0xa0},
    {"CS6", 0xc0},  {"CS7", 0xe0},  {"EF", 0xb8}};
constexpr name_number ip_protocols[] = {
    {"icmp", 1},   {"igmp", 2},   {"ipencap", 4},  {"tcp", 6},   {"udp", 17},
    {"gre", 47},   {"esp", 50},   {"ah", 51},      {"ospf", 89}, {"pim", 103},
    {"vrrp", 112}, {"sctp", 132}, {"udplite", 136}};
constexpr name_number nud_states[] = {
    {"permanent", NUD_PERMANENT}, {"reachable", NUD_REACHABLE}, {"noarp", NUD_NOARP},
    {"none", NUD_NONE},           {"stale", NUD_STALE},         {"incomplete", NUD_INCOMPLETE},
    {"delay", NUD_DELAY},         {"probe", NUD_PROBE},         {"failed", NUD_FAILED}};

template <size_t N>
std::optional<uint32_t> number_of(const name_number (&list)[N], std::string_view word, uint64_t max,
                                  int base = 0) {
    for (const name_number& e : list)
        if (word == e.name)
            return e.number;
    if (auto v = parse_number(word, max, base))
        return uint32_t(*v);
    return std::nullopt;
}

template <size_t N>
std::string name_of(const name_number (&list)[N], uint32_t number, bool numeric,
                    const char* format = "{}") {
    if (!numeric)
        for (const name_number& e : list)
            if (e.number == number)
                return e.name;
    return fmt::format(fmt::runtime(format), number);
}

std::optional<uint64_t> parse_time_ms(std::string_view word, bool* raw) {
    constexpr struct {
        std::string_view unit;
        uint64_t ms;
    } units[] = {{"msecs", 1}, {"msec", 1}, {"ms", 1}, {"secs", 1000}, {"sec", 1000}, {"s", 1000}};
    *raw = false;
    for (auto& u : units)
        if (word.size() > u.unit.size() && word.ends_with(u.unit)) {
            auto v = parse_number(word.substr(0, word.size() - u.unit.size()), UINT32_MAX / u.ms);
            return v ? std::optional(*v * u.ms) : v;
        }
    *raw = true;
    return parse_number(word, UINT32_MAX);
}

bool parse_split(std::string_view word, char at, uint64_t max, uint64_t* low, uint64_t* high,
                 bool* two) {
    size_t cut = word.find(at);
    auto a = parse_number(word.substr(0, cut), max);
    *two = cut != std::string_view::npos;
    auto b = *two ? parse_number(word.substr(cut + 1), max) : a;
    if (!a || !b)
        return false;
    *low = *a;
    *high = *b;
    return true;
}

bool parse_mark(command& c, const std::string& word, const char* wrong, argument* a) {
    const size_t cut = word.find('/');
    const auto mark = parse_number(word.substr(0, cut), UINT32_MAX);
    if (!mark)
        return c.wrong(word.substr(0, cut), wrong);
    const std::string rest = cut == word.npos ? "" : word.substr(cut + 1);
    const auto mask =
        cut == word.npos ? std::optional<uint64_t>(UINT32_MAX) : parse_number(rest, UINT32_MAX);
    if (!mask)
        return c.wrong(rest, "fwmask value is invalid\n");
    a->number = *mark;
    a->high = *mask;
    return true;
}

bool parse_gateway(command& c, const std::string& word, argument* a) {
    auto v = parse_prefix(word);
    if (!v || v->has_len)
        return c.expected("inet address", word);
    a->prefix = *v;
    return true;
}

bool parse_ipv6_gateway(command& c, const std::string& word, argument* a) {
    a->ipv6 = true;
    return inet_pton(AF_INET6, word.c_str(), a->bytes) == 1 || c.expected("inet6 address", word);
}

/// The kinds that are one number or name.
std::optional<uint64_t> parse_simple(takes kind, std::string_view word, argument* a) {
    switch (kind) {
    case takes::u8:
        return parse_number(word, UINT8_MAX);
    case takes::u16:
        return parse_number(word, UINT16_MAX);
    case takes::u32:
        return parse_number(word, UINT32_MAX);
    case takes::time_ms:
        return parse_time_ms(word, &a->locked);
    case takes::tos:
        return number_of(dsfields, word, UINT8_MAX, 16);
    case takes::scope:
        return number_of(scopes, word, UINT8_MAX);
    case takes::protocol:
        return number_of(protocols, word, UINT8_MAX);
    case takes::table:
        return table_number(word);
    case takes::route_type:
        return route_type_number(word);
    case takes::ipproto:
        return number_of(ip_protocols, word, UINT8_MAX);
    case takes::nud:
        return number_of(nud_states, word, UINT8_MAX);
    default:
        return std::nullopt;
    }
}

} // namespace

std::optional<uint64_t> parse_number(std::string_view word, uint64_t max, int base) {
    if (base == 0) {
        base = 10;
        if (word.size() > 1 && word[0] == '0')
            base = 8;
    }
    if (word.size() > 2 && word[0] == '0' && (word[1] | 0x20) == 'x') {
        word.remove_prefix(2);
        base = 16;
    }
    uint64_t v = 0;
    auto [end, err] = std::from_chars(word.data(), word.data() + word.size(), v, base);
    if (err != std::errc() || end != word.data() + word.size() || v > max)
        return std::nullopt;
    return v;
}

std::optional<be32_t> parse_ipv4(std::string_view word) {
    uint32_t addr = 0;
    for (int i = 0; i < 4; ++i) {
        size_t dot = word.find('.');
        auto v = parse_number(word.substr(0, dot), 255);
        if (!v)
            return std::nullopt;
        addr |= uint32_t(*v) << (24 - 8 * i);
        if (dot == std::string_view::npos)
            return cpu_to_be32(addr);
        word.remove_prefix(dot + 1);
    }
    return std::nullopt;
}

std::optional<inet_prefix> parse_prefix(std::string_view word) {
    inet_prefix p;
    if (word == "default" || word == "any" || word == "all") {
        p.bitlen = 0;
        p.any = true;
        return p;
    }
    size_t slash = word.find('/');
    auto addr = parse_ipv4(word.substr(0, slash));
    if (!addr)
        return std::nullopt;
    p.addr = *addr;
    if (slash == std::string_view::npos)
        return p;
    std::string_view len = word.substr(slash + 1);
    p.has_len = true;
    if (auto v = parse_number(len, 32)) {
        p.bitlen = uint8_t(*v);
        return p;
    }
    auto mask = len.find('.') == std::string_view::npos ? std::nullopt : parse_ipv4(len);
    if (!mask || (mask->raw && inet_make_mask(inet_mask_len(*mask)) != *mask))
        return std::nullopt;
    p.bitlen = mask->raw ? uint8_t(std::popcount(mask->raw)) : 0;
    return p;
}

int parse_mac(std::string_view word, uint8_t bytes[16], std::string* bad) {
    for (int n = 0; n < 16; ++n) {
        size_t colon = word.find(':');
        std::string_view part = word.substr(0, colon);
        unsigned v = 0;
        auto [end, err] = std::from_chars(part.data(), part.data() + part.size(), v, 16);
        if (err != std::errc() || end != part.data() + part.size() || v > 255) {
            *bad = part;
            return -1;
        }
        bytes[n] = uint8_t(v);
        if (colon == std::string_view::npos)
            return n + 1;
        word.remove_prefix(colon + 1);
    }
    *bad = word;
    return -1;
}

bool parse_value(command& c, const keyword& key, const std::string& word, bool family_known,
                 argument* a) {
    a->word = word;
    bool two;
    switch (key.kind) {
    case takes::nothing:
    case takes::word:
    case takes::device:
        return true;
    case takes::address: {
        auto v = parse_prefix(word);
        if (!v || v->has_len)
            return c.expected(key.wrong ? key.wrong : "inet address", word);
        a->prefix = *v;
        return true;
    }
    case takes::neighbour: {
        if (c.opt.family != AF_INET && inet_pton(AF_INET6, word.c_str(), a->bytes) == 1)
            return a->ipv6 = true;
        auto v = parse_prefix(word);
        if (c.opt.family == AF_INET6 || !v || v->has_len)
            return c.expected(c.opt.family == AF_INET    ? "inet address"
                              : c.opt.family == AF_INET6 ? "inet6 address"
                              : key.wrong                ? key.wrong
                                                         : "any valid address",
                              word);
        a->prefix = *v;
        return true;
    }
    case takes::broadcast:
        return word == "+" || word == "-" || parse_ipv4(word) || c.expected("inet address", word);
    case takes::prefix: {
        auto v = parse_prefix(word);
        if (!v)
            return c.expected(key.wrong      ? key.wrong
                              : family_known ? "inet prefix"
                                             : "any valid prefix",
                              word);
        a->prefix = *v;
        return true;
    }
    case takes::gateway:
        return a->ipv6 ? parse_ipv6_gateway(c, word, a) : parse_gateway(c, word, a);
    case takes::mac: {
        std::string bad;
        int n = parse_mac(word, a->bytes, &bad);
        if (n < 0)
            return c.fail(1, word, fmt::format("\"{}\" is invalid lladdr.\n", bad));
        a->number = uint64_t(n);
        return true;
    }
    case takes::on_off:
        if (word != "on" && word != "off")
            return c.fail(
                1, word,
                fmt::format("Error: argument of \"{}\" must be \"on\" or \"off\", not \"{}\"\n",
                            key.name, word));
        a->number = word == "on";
        return true;
    case takes::port_range:
        if (!parse_split(word, '-', UINT32_MAX, &a->number, &a->high, &two))
            return c.wrong(word, key.wrong);
        a->number &= UINT16_MAX; // read as 16 bits, what is over is lost
        a->high &= UINT16_MAX;
        return true;
    case takes::mark:
        return parse_mark(c, word, key.wrong, a);
    default:
        break;
    }
    bool locked = a->locked;
    auto v = parse_simple(key.kind, word, a);
    if (key.kind == takes::time_ms) {
        a->high = a->locked; // raw: typed without a unit
        a->locked = locked;
    }
    if (!v)
        return c.wrong(word, key.wrong ? key.wrong : "invalid value");
    a->number = *v;
    return true;
}

std::string format_ipv4(be32_t addr) {
    uint32_t a = be32_to_cpu(addr);
    return fmt::format("{}.{}.{}.{}", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
}

std::string format_ipv6(const uint8_t bytes[16]) {
    char text[INET6_ADDRSTRLEN];
    return inet_ntop(AF_INET6, bytes, text, sizeof text);
}

std::string format_mac(const uint8_t* m) {
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", m[0], m[1], m[2], m[3], m[4],
                       m[5]);
}

std::string format_dst(be32_t addr, unsigned len) {
    if (len == 32)
        return format_ipv4(addr);
    if (len == 0 && !addr)
        return "default";
    return fmt::format("{}/{}", format_ipv4(addr), len);
}

std::string scope_name(uint8_t scope, bool numeric) {
    return name_of(scopes, scope, numeric);
}
std::string protocol_name(uint8_t protocol, bool numeric) {
    return name_of(protocols, protocol, numeric);
}
std::string table_name(uint32_t table, bool numeric) {
    return name_of(tables, table, numeric);
}
std::string dsfield_name(uint8_t tos, bool numeric) {
    return name_of(dsfields, tos, numeric, "0x{:02x}");
}
std::string route_type_name(uint8_t type, bool numeric) {
    return name_of(route_types, type, numeric);
}
std::string ipproto_name(uint8_t protocol) {
    return name_of(ip_protocols, protocol, false);
}

std::optional<uint8_t> route_type_number(std::string_view word) {
    for (const name_number& e : route_types)
        if (word == e.name)
            return uint8_t(e.number);
    return std::nullopt;
}

std::optional<uint32_t> table_number(std::string_view word) {
    return number_of(tables, word, UINT32_MAX);
}

} // namespace slabfwd
