// SPDX-License-Identifier: BSD-3-Clause
//
// fib_router: command lines to configurations, rows to lines.
#include "tests/route/fib_router.h"

#include <arpa/inet.h>
#include <cstring>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <map>
#include <sstream>
#include <stdexcept>

namespace slabfwd::test {

namespace {

const std::map<std::string, uint8_t> route_types = {{"unicast", RTN_UNICAST},
                                                    {"local", RTN_LOCAL},
                                                    {"broadcast", RTN_BROADCAST},
                                                    {"anycast", RTN_ANYCAST},
                                                    {"multicast", RTN_MULTICAST},
                                                    {"blackhole", RTN_BLACKHOLE},
                                                    {"unreachable", RTN_UNREACHABLE},
                                                    {"prohibit", RTN_PROHIBIT},
                                                    {"throw", RTN_THROW},
                                                    {"nat", RTN_NAT}};

std::string type_name(uint8_t type) {
    for (const auto& [name, value] : route_types)
        if (value == type)
            return name;
    return std::to_string(type);
}

uint8_t parse_scope(const std::string& text) {
    static const std::map<std::string, uint8_t> scopes = {{"global", RT_SCOPE_UNIVERSE},
                                                          {"site", RT_SCOPE_SITE},
                                                          {"link", RT_SCOPE_LINK},
                                                          {"host", RT_SCOPE_HOST}};
    return scopes.at(text);
}

uint32_t parse_table(const std::string& text) {
    static const std::map<std::string, uint32_t> tables = {
        {"main", RT_TABLE_MAIN}, {"local", RT_TABLE_LOCAL}, {"default", RT_TABLE_DEFAULT}};
    auto it = tables.find(text);
    return it != tables.end() ? it->second : uint32_t(std::stoul(text));
}

std::string table_name(uint32_t id) {
    return id == RT_TABLE_MAIN      ? "main"
           : id == RT_TABLE_LOCAL   ? "local"
           : id == RT_TABLE_DEFAULT ? "default"
                                    : std::to_string(id);
}

std::vector<std::string> split(const std::string& line) {
    std::istringstream in(line);
    std::vector<std::string> words;
    for (std::string word; in >> word;)
        words.push_back(word);
    return words;
}

/// Words of a command, taken one after the other.
struct word_list {
    std::vector<std::string> words;
    size_t at = 0;
    bool more() const { return at < words.size(); }
    std::string next() {
        if (!more())
            throw std::runtime_error("word missing");
        return words[at++];
    }
    uint32_t number() { return uint32_t(std::stoul(next(), nullptr, 0)); }
    bool take(const char* word) {
        if (!more() || words[at] != word)
            return false;
        ++at;
        return true;
    }
};

std::string prefix_text(be32_t dst, int len) {
    if (!len && !dst)
        return "default";
    return len == 32 ? ip_text(dst) : fmt::format("{}/{}", ip_text(dst), len);
}

std::string gateway_text(const fib_nh_config& nh) {
    char text[INET6_ADDRSTRLEN] = {};
    if (nh.has_gw6)
        inet_ntop(AF_INET6, nh.gw6, text, sizeof(text));
    return nh.has_gw    ? " via " + ip_text(nh.gw)
           : nh.has_gw6 ? fmt::format(" via inet6 {}", text)
                        : "";
}

std::string flags_text(uint32_t flags) {
    return std::string(flags & RTNH_F_DEAD ? " dead" : "") +
           (flags & RTNH_F_ONLINK ? " onlink" : "") + (flags & RTNH_F_LINKDOWN ? " linkdown" : "");
}

/// One route as ip(8) prints it; table named when all are shown.
std::string row_text(fib_router& r, const fib_route_row& row, bool all) {
    std::string s = row.type == RTN_UNICAST ? "" : type_name(row.type) + " ";
    s += prefix_text(row.dst, row.dst_len);
    if (row.tos)
        s += fmt::format(" tos {:#04x}", row.tos);
    if (row.nexthops.size() == 1)
        s += gateway_text(row.nexthops[0]) + " dev " + r.dev_name(row.nexthops[0].oif);
    if (all && row.table != RT_TABLE_MAIN)
        s += " table " + table_name(row.table);
    if (row.protocol == RTPROT_KERNEL)
        s += " proto kernel";
    else if (row.protocol != RTPROT_BOOT)
        s += row.protocol == RTPROT_STATIC ? " proto static"
                                           : fmt::format(" proto {}", row.protocol);
    if (row.scope != RT_SCOPE_UNIVERSE)
        s += row.scope == RT_SCOPE_LINK   ? " scope link"
             : row.scope == RT_SCOPE_HOST ? " scope host"
                                          : " scope ?";
    if (row.prefsrc)
        s += " src " + ip_text(row.prefsrc);
    if (row.priority)
        s += fmt::format(" metric {}", row.priority);
    s += flags_text(row.flags);
    if (row.metrics[RTAX_MTU - 1])
        s += fmt::format(" mtu {}{}", row.mtu_locked ? "lock " : "", row.metrics[RTAX_MTU - 1]);
    for (size_t i = 0; row.nexthops.size() > 1 && i < row.nexthops.size(); ++i) {
        const fib_nh_config& nh = row.nexthops[i];
        s += fmt::format(" nexthop{} dev {} weight {}{}", gateway_text(nh), r.dev_name(nh.oif),
                         nh.weight, flags_text(nh.flags));
    }
    return s;
}

fib_nh_config parse_nexthop(fib_router& r, word_list& w) {
    fib_nh_config nh;
    for (;;) {
        if (w.take("via")) {
            if (w.take("inet6")) {
                nh.has_gw6 = true;
                inet_pton(AF_INET6, w.next().c_str(), nh.gw6);
            } else {
                nh.has_gw = true;
                nh.gw = parse_ip(w.next());
            }
        } else if (w.take("dev")) {
            const net_device* dev = r.port(w.next());
            nh.oif = dev ? dev->ifindex : 250;
        } else if (w.take("weight")) {
            nh.weight = int(w.number());
        } else if (w.take("onlink")) {
            nh.flags |= RTNH_F_ONLINK;
        } else {
            return nh;
        }
    }
}

void parse_range(word_list& w, fib_rule_port_range& range) {
    const std::string text = w.next();
    const size_t dash = text.find('-');
    range.start = uint16_t(std::stoi(text));
    range.end =
        dash == std::string::npos ? range.start : uint16_t(std::stoi(text.substr(dash + 1)));
}

std::string range_text(const fib_rule_port_range& range) {
    return range.start == range.end ? fmt::format("{}", range.start)
                                    : fmt::format("{}-{}", range.start, range.end);
}

std::string rule_text(const fib_rule_config& c) {
    std::string s = fmt::format("{}: {}from {}", c.pref, c.invert ? "not " : "",
                                c.src_len ? prefix_text(c.src, c.src_len) : "all");
    if (c.dst_len)
        s += " to " + prefix_text(c.dst, c.dst_len);
    if (c.tos)
        s += fmt::format(" tos {:#04x}", c.tos);
    if (c.mark || c.mark_mask)
        s += c.mark_mask == ~0u ? fmt::format(" fwmark {:#x}", c.mark)
                                : fmt::format(" fwmark {:#x}/{:#x}", c.mark, c.mark_mask);
    if (!c.iifname.empty())
        s += " iif " + c.iifname + (c.iif_detached ? " [detached]" : "");
    if (!c.oifname.empty())
        s += " oif " + c.oifname + (c.oif_detached ? " [detached]" : "");
    if (c.ip_proto)
        s += fmt::format(" ipproto {}", c.ip_proto);
    if (c.sport.start)
        s += " sport " + range_text(c.sport);
    if (c.dport.start)
        s += " dport " + range_text(c.dport);
    if (c.action == FR_ACT_TO_TBL)
        s += " lookup " + table_name(c.table);
    else if (c.action == FR_ACT_GOTO)
        s += fmt::format(" goto {}{}", c.target, c.unresolved ? " [unresolved]" : "");
    else if (c.action == FR_ACT_NOP)
        s += " nop";
    else
        s += c.action == FR_ACT_BLACKHOLE     ? " blackhole"
             : c.action == FR_ACT_UNREACHABLE ? " unreachable"
                                              : " prohibit";
    if (c.suppress_prefixlen >= 0)
        s += fmt::format(" suppress_prefixlength {}", c.suppress_prefixlen);
    return s;
}

uint8_t parse_proto(const std::string& text) {
    return text == "udp" ? 17 : text == "tcp" ? 6 : text == "icmp" ? 1 : uint8_t(std::stoi(text));
}

uint16_t route_flags(const std::string& verb) {
    static const std::map<std::string, uint16_t> flags = {
        {"add", NLM_F_CREATE | NLM_F_EXCL}, {"replace", NLM_F_CREATE | NLM_F_REPLACE},
        {"change", NLM_F_REPLACE},          {"append", NLM_F_CREATE | NLM_F_APPEND},
        {"prepend", NLM_F_CREATE},          {"del", 0}};
    return flags.at(verb);
}

} // namespace

std::pair<be32_t, uint8_t> parse_prefix(const std::string& text) {
    if (text == "default")
        return {be32_t{}, uint8_t(0)};
    const size_t slash = text.find('/');
    return {parse_ip(text.substr(0, slash)),
            slash == std::string::npos ? uint8_t(32) : uint8_t(std::stoi(text.substr(slash + 1)))};
}

be32_t parse_ip(const std::string& text) {
    be32_t addr{};
    if (inet_pton(AF_INET, text.c_str(), &addr) != 1)
        throw std::runtime_error("not an address: " + text);
    return addr;
}

std::string ip_text(be32_t addr) {
    char text[INET_ADDRSTRLEN];
    return inet_ntop(AF_INET, &addr, text, sizeof(text));
}

fib_router::fib_router(unsigned workers) : test_net(workers) {
    record = false;
    if (ip_rt_init(n, 64))
        throw std::bad_alloc();
    add_lo(false);
    for (const char* name : {"p0", "p1", "p2", "p3"})
        dev_change_flags(add_port(name), 0, IFF_UP);
}

fib_router::~fib_router() {
    enter(n.control_cpu());
    ip_rt_exit(n);
}

std::string fib_router::dev_name(int ifindex) {
    const net_device* dev = dev_get_by_index(n, ifindex);
    return dev ? dev->name : fmt::format("if{}", ifindex);
}

int fib_router::route_command(std::vector<std::string> words) {
    word_list w{std::move(words)};
    const std::string verb = w.next();
    fib_config cfg;
    cfg.fc_nlflags = route_flags(verb);
    if (auto it = route_types.find(w.words.at(w.at)); it != route_types.end()) {
        cfg.fc_type = it->second;
        cfg.fc_type_given = true;
        ++w.at;
    }
    std::tie(cfg.fc_dst, cfg.fc_dst_len) = parse_prefix(w.next());
    while (w.more()) {
        const size_t before = w.at;
        fib_nh_config nh = parse_nexthop(*this, w);
        if (w.at != before) { // via, dev and onlink may stand apart
            if (cfg.nexthops.empty())
                cfg.nexthops.push_back(nh);
            else {
                fib_nh_config& first = cfg.nexthops[0];
                if (nh.oif)
                    first.oif = nh.oif;
                first.flags |= nh.flags;
            }
        } else if (w.take("nexthop")) {
            cfg.nexthops.push_back(parse_nexthop(*this, w));
        } else if (w.take("metric")) {
            cfg.fc_priority = w.number();
        } else if (w.take("table")) {
            cfg.fc_table = parse_table(w.next());
        } else if (w.take("tos")) {
            cfg.fc_tos = uint8_t(w.number());
        } else if (w.take("src")) {
            cfg.fc_prefsrc = parse_ip(w.next());
        } else if (w.take("mtu")) {
            cfg.fc_mtu_locked = w.take("lock");
            cfg.fc_metrics[RTAX_MTU - 1] = w.number();
        } else if (w.take("scope")) {
            cfg.fc_scope = parse_scope(w.next());
            cfg.fc_scope_given = true;
        } else if (w.take("proto")) {
            const std::string p = w.next();
            cfg.fc_protocol = p == "static"   ? RTPROT_STATIC
                              : p == "kernel" ? RTPROT_KERNEL
                                              : RTPROT_BOOT;
            cfg.fc_protocol_given = true;
        } else {
            throw std::runtime_error("unknown word " + w.next());
        }
    }
    return verb == "del" ? inet_rtm_delroute(n, cfg, &extack_)
                         : inet_rtm_newroute(n, cfg, &extack_);
}

int fib_router::addr_command(std::vector<std::string> words) {
    word_list w{std::move(words)};
    const std::string verb = w.next();
    ifa_config cfg;
    const std::string prefix = w.next();
    std::tie(cfg.local, cfg.prefixlen) = parse_prefix(prefix);
    cfg.prefixlen_given = prefix.find('/') != std::string::npos;
    net_device* dev = nullptr;
    while (w.more()) {
        if (w.take("dev"))
            dev = port(w.next());
        else if (w.take("peer"))
            std::tie(cfg.address, cfg.prefixlen) = parse_prefix(w.next());
        else if (w.take("brd")) {
            const bool computed = w.take("+"); // ip(8) leaves it out of subnets that have none
            cfg.broadcast_given = !computed || cfg.prefixlen <= 30;
            if (cfg.broadcast_given)
                cfg.broadcast =
                    computed ? cfg.local | ~inet_make_mask(cfg.prefixlen) : parse_ip(w.next());
        } else if (w.take("scope")) {
            cfg.scope = parse_scope(w.next());
            cfg.scope_given = true;
        } else if (w.take("label"))
            cfg.label = w.next();
        else if (w.take("metric"))
            cfg.rt_priority = w.number();
        else if (w.take("noprefixroute"))
            cfg.flags |= IFA_F_NOPREFIXROUTE;
        else
            throw std::runtime_error("unknown word " + w.next());
    }
    return verb == "del" ? inet_rtm_deladdr(n, dev, cfg, &extack_)
                         : inet_rtm_newaddr(n, dev, cfg, verb == "replace", &extack_);
}

int fib_router::rule_command(std::vector<std::string> words) {
    word_list w{std::move(words)};
    const std::string verb = w.next();
    fib_rule_config c;
    while (w.more()) {
        if (w.take("not"))
            c.invert = true;
        else if (w.take("from"))
            std::tie(c.src, c.src_len) = parse_prefix(w.take("all") ? "default" : w.next());
        else if (w.take("to"))
            std::tie(c.dst, c.dst_len) = parse_prefix(w.next());
        else if (w.take("iif"))
            c.iifname = w.next();
        else if (w.take("oif"))
            c.oifname = w.next();
        else if (w.take("tos"))
            c.tos = uint8_t(w.number());
        else if (w.take("fwmark")) {
            const std::string text = w.next();
            const size_t slash = text.find('/');
            c.mark = uint32_t(std::stoul(text, nullptr, 0));
            c.mark_mask = slash == std::string::npos
                              ? ~0u
                              : uint32_t(std::stoul(text.substr(slash + 1), nullptr, 0));
        } else if (w.take("ipproto"))
            c.ip_proto = parse_proto(w.next());
        else if (w.take("sport"))
            parse_range(w, c.sport);
        else if (w.take("dport"))
            parse_range(w, c.dport);
        else if (w.take("prio")) {
            c.pref = w.number();
            c.pref_given = true;
        } else if (w.take("table") || w.take("lookup"))
            c.table = parse_table(w.next());
        else if (w.take("suppress_prefixlength"))
            c.suppress_prefixlen = int(w.number());
        else if (w.take("suppress_ifgroup"))
            c.suppress_ifgroup = int(w.number());
        else if (w.take("goto")) {
            c.target_given = true;
            c.target = w.number();
            c.action = FR_ACT_GOTO;
            c.action_given = true;
        } else {
            static const std::map<std::string, uint8_t> actions = {
                {"nop", FR_ACT_NOP},
                {"blackhole", FR_ACT_BLACKHOLE},
                {"unreachable", FR_ACT_UNREACHABLE},
                {"prohibit", FR_ACT_PROHIBIT}};
            c.action = actions.at(w.next());
            c.action_given = true;
        }
    }
    if (verb == "del")
        return fib_rule_del(n, c, &extack_);
    if (!c.table && !c.action_given)
        c.table = RT_TABLE_MAIN;
    return fib_rule_add(n, c, true, &extack_);
}

int fib_router::link_command(std::vector<std::string> words) {
    word_list w{std::move(words)};
    w.take("set");
    net_device* dev = port(w.next());
    if (w.take("carrier"))
        netif_carrier_set(dev, w.next() == "on");
    else
        return dev_change_flags(dev, w.next() == "up" ? IFF_UP : 0, IFF_UP);
    return 0;
}

int fib_router::ip(const std::string& line) {
    extack_.msg.clear();
    std::vector<std::string> words = split(line);
    const std::string object = words.at(0);
    words.erase(words.begin());
    if (object == "route")
        return route_command(std::move(words));
    if (object == "addr")
        return addr_command(std::move(words));
    if (object == "rule")
        return rule_command(std::move(words));
    if (object == "link")
        return link_command(std::move(words));
    throw std::runtime_error("unknown object " + object);
}

void fib_router::setup(const char* lines) {
    std::istringstream in(lines);
    for (std::string line; std::getline(in, line);)
        if (!split(line).empty()) {
            EXPECT_EQ(ip(line), 0) << line << ": " << text();
        }
}

std::vector<std::string> fib_router::routes(uint32_t table) {
    struct context {
        fib_router* r;
        bool all;
        std::vector<std::string> lines;
    } ctx{this, table == RT_TABLE_UNSPEC, {}};
    fib_table_dump(
        n, table,
        [](const fib_route_row& row, void* cookie) {
            auto* c = static_cast<context*>(cookie);
            c->lines.push_back(row_text(*c->r, row, c->all));
            return true;
        },
        &ctx);
    return ctx.lines;
}

std::vector<std::string> fib_router::rules() {
    std::vector<std::string> lines;
    fib_rules_dump(
        n,
        [](const fib_rule_config& c, void* cookie) {
            static_cast<std::vector<std::string>*>(cookie)->push_back(rule_text(c));
            return true;
        },
        &lines);
    return lines;
}

flowi4 parse_flow(fib_router& r, const std::string& line) {
    word_list w{split(line)};
    flowi4 fl4;
    fl4.flowi4_iif = int(LOOPBACK_IFINDEX);
    fl4.daddr = parse_ip(w.next());
    while (w.more()) {
        if (w.take("from"))
            fl4.saddr = parse_ip(w.next());
        else if (w.take("iif"))
            fl4.flowi4_iif = r.port(w.next())->ifindex;
        else if (w.take("oif"))
            fl4.flowi4_oif = r.port(w.next())->ifindex;
        else if (w.take("tos"))
            fl4.flowi4_tos = uint8_t(w.number() & 0xfc);
        else if (w.take("mark"))
            fl4.flowi4_mark = w.number();
        else if (w.take("sport"))
            fl4.fl4_sport = cpu_to_be16(uint16_t(w.number()));
        else if (w.take("dport"))
            fl4.fl4_dport = cpu_to_be16(uint16_t(w.number()));
        else if (w.take("ipproto"))
            fl4.flowi4_proto = parse_proto(w.next());
        else
            throw std::runtime_error("unknown word " + w.next());
    }
    return fl4;
}

std::string fib_router::lookup(const std::string& words) {
    const flowi4 fl4 = parse_flow(*this, words);
    fib_result res;
    if (int err = fib_lookup(n, &fl4, &res))
        return fmt::format("error {}", -err);
    const fib_nh* nh = res.nh();
    std::string s = type_name(res.type) + " " + prefix_text(res.prefix, res.prefixlen);
    if (nh->gw_family == AF_INET_)
        s += " via " + ip_text(nh->fib_nh_gw4);
    return s + " dev " + nh->fib_nh_dev->name;
}

std::vector<std::string> fib_router::addresses(const std::string& dev) {
    std::vector<std::string> lines;
    for (const in_ifaddr* ifa = port(dev)->ip_ptr->ifa_list; ifa; ifa = ifa->ifa_next)
        lines.push_back(fmt::format("{}/{}{}", ip_text(ifa->ifa_local), ifa->ifa_prefixlen,
                                    ifa->ifa_flags & IFA_F_SECONDARY ? " secondary" : ""));
    return lines;
}

} // namespace slabfwd::test
