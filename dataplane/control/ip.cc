// SPDX-License-Identifier: BSD-3-Clause
//
// `ip`: options, object, verb. The table of objects is in the order in which abbreviations are
// resolved. Threads: control thread under rtnl. Origin: iproute2's ip/ip.c.
#include <arpa/inet.h>

#include "dataplane/control/ip_commands.h"

namespace slabfwd {

namespace {

/// The verb that stands when none is typed.
const verb* standard_verb(std::span<const verb> verbs) {
    for (const verb& v : verbs)
        if (std::string_view(v.name) == "show")
            return &v;
    return nullptr;
}

std::string usage() {
    std::string text =
        "Usage: ip [ -j ] [ -p ] [ -s ] [ -d ] [ -o ] [ -br ] [ -4 ] OBJECT { COMMAND | help }\n"
        "where  OBJECT := {";
    for (const object& o : ip_objects())
        text += fmt::format(" {}{}", o.name, &o == &ip_objects().back() ? " }\n" : " |");
    return text;
}

/// One option, with or without its second dash; takes what follows when it needs it.
bool take_option(command& c, std::span<const std::string> words, size_t* at) {
    std::string_view option = words[*at];
    option.remove_prefix(option.starts_with("--") ? 2 : 1);
    ip_command_options& o = c.opt;
    if (option == "4")
        o.family = AF_INET;
    else if (option == "6")
        o.family = AF_INET6;
    else if (option == "0" || option == "M" || option == "B")
        return c.unsupported(words[*at], "Only IPv4 is known here");
    else if (option.empty())
        return c.fail(255, words[*at],
                      fmt::format("Option \"{}\" is unknown, try \"ip -help\".\n", words[*at]));
    else if (matches(option, "family")) {
        if (++*at == words.size())
            return c.incomplete(words[*at - 1]);
        if (words[*at] != "inet" && words[*at] != "inet6")
            return c.unsupported(words[*at], "Only IPv4 is known here");
        o.family = words[*at] == "inet" ? AF_INET : AF_INET6;
    } else if (option == "h" || matches(option, "human-readable"))
        o.human = true;
    else if (matches(option, "stats") || matches(option, "statistics"))
        ++o.statistics;
    else if (matches(option, "details"))
        ++o.details;
    else if (matches(option, "oneline"))
        o.oneline = true;
    else if (matches(option, "json"))
        o.json = true;
    else if (matches(option, "pretty"))
        o.pretty = true;
    else if (matches(option, "brief") || option == "br")
        o.brief = true;
    else if (matches(option, "Numeric"))
        o.numeric = true;
    else if (option == "c" || option.starts_with("color") || matches(option, "resolve") ||
             matches(option, "timestamp") || option == "ts" || matches(option, "all") ||
             matches(option, "iec"))
        return true; // no colours, names or time stamps here
    else if (matches(option, "help"))
        return c.fail(255, words[*at], usage());
    else
        return c.fail(255, words[*at],
                      fmt::format("Option \"{}\" is unknown, try \"ip -help\".\n", words[*at]));
    return true;
}

} // namespace

std::span<const object> ip_objects() {
    static const object objects[] = {
        {"address", "address", address_verbs(), standard_verb(address_verbs())},
        {"route", "route", route_verbs(), standard_verb(route_verbs())},
        {"rule", "rule", rule_verbs(), standard_verb(rule_verbs())},
        {"neighbor", "neigh", neigh_verbs(), standard_verb(neigh_verbs())},
        {"neighbour", "neigh", neigh_verbs(), standard_verb(neigh_verbs())},
        {"link", "link", link_verbs(), standard_verb(link_verbs())},
    };
    return objects;
}

bool ip_command(command& c, std::span<const std::string> words) {
    size_t at = 0;
    for (; at < words.size() && words[at].starts_with("-"); ++at)
        if (!take_option(c, words, &at))
            return false;
    if (at >= words.size())
        return c.fail(255, "", usage());
    const std::string& name = words[at++];
    const object* o = find_object(name);
    if (!o) {
        if (matches(name, "help"))
            return c.fail(255, name, usage());
        return c.fail(1, name, fmt::format("Object \"{}\" is unknown, try \"ip help\".\n", name));
    }
    const verb* v = o->standard;
    if (at < words.size()) {
        if (matches(words[at], "help"))
            return c.fail(255, words[at], usage_of(*o));
        if (!(v = find_verb(*o, words[at])))
            return c.fail(255, words[at],
                          fmt::format("Command \"{}\" is unknown, try \"ip {} help\".\n", words[at],
                                      o->unknown));
        ++at;
    }
    if (c.opt.family == AF_INET6 && std::string_view(o->unknown) != "neigh")
        return c.unsupported("-6", "Of IPv6 only neighbours are known here");
    words = words.subspan(at);
    if ((v->needs_words && words.empty()) || (!words.empty() && words[0] == "help"))
        return c.fail(255, v->name, "Usage: " + usage_of(*o, *v));
    std::vector<argument> args;
    return parse_arguments(c, v->keywords, words, &args) && v->run(c, args);
}

} // namespace slabfwd
