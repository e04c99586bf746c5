// SPDX-License-Identifier: BSD-3-Clause
//
// The grammar of the ip commands as tables: objects, their verbs, the keywords of a verb and what
// kind of value each takes. The tables drive parsing, `help`, and completion. Doors: find_object,
// find_verb, parse_arguments, usage_of. Threads: control thread (tables are constant). Origin:
// iproute2 6.1's commands, abbreviations and messages.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "neigh/types.h"

namespace slabfwd {

struct command;
struct argument;

/// What follows a keyword.
enum class takes : uint8_t {
    nothing,
    word,      ///< any word
    device,    ///< name of a device; looked up when the command runs
    address,   ///< IPv4 address
    broadcast, ///< IPv4 address, or + or -: by the prefix length
    prefix,    ///< IPv4 prefix or address; "default", "any", "all"
    gateway,   ///< IPv4 address, or "inet A", or "inet6 A"
    neighbour, ///< IPv4 or IPv6 address
    mac,       ///< Ethernet address
    u8,
    u16,
    u32,
    time_ms, ///< milliseconds, or with a unit: 20ms, 3s
    tos,     ///< dsfield: number or name
    scope,
    protocol, ///< routing protocol
    table,
    route_type,
    ipproto,
    port_range, ///< N or N-M
    mark,       ///< N or N/MASK
    nud,        ///< neighbour state
    on_off,
};

/// An IPv4 or IPv6 address with a length, as typed.
struct inet_prefix {
    be32_t addr{};
    uint8_t bitlen = 32;
    bool has_len = false; ///< the length was typed
    bool any = false;     ///< "default", "any" or "all": 0.0.0.0/0
};

constexpr uint8_t KEY_LOCK = 1, ///< an optional "lock" may stand before the value
    KEY_BARE = 2,               ///< the value that may stand without its keyword
    KEY_ONCE = 4,     ///< a second bare value is `either "to" is duplicate, or ... a garbage`
    KEY_DUP = 8,      ///< a second one is `duplicate "mtu": "x" is the second value`
    KEY_FOREIGN = 16; ///< its address does not tell the family of the line's others

/// One keyword. `wrong` is what iproute2 says of a bad value: after `argument "x" is wrong: `.
struct keyword {
    const char* name;
    bool exact; ///< false: abbreviations of it are taken
    takes kind;
    int id;
    const char* value; ///< how help names the value
    const char* wrong = nullptr;
    uint8_t flags = 0;
    /// From here on the line is made of these keywords and this one again (nexthop).
    std::span<const keyword> section = {};
};

/// One keyword of a line with its value.
struct argument {
    const keyword* key = nullptr;
    std::string word; ///< the value as typed (the keyword when it takes none)
    bool locked = false;
    uint64_t number = 0, high = 0; ///< value; end of a range, or mask
    inet_prefix prefix;
    uint8_t bytes[16] = {}; ///< MAC or IPv6 address
    bool ipv6 = false;
};

using run_function = bool (*)(command& c, std::span<const argument> args);

struct verb {
    const char* name; ///< and its abbreviations
    bool exact;
    std::span<const keyword> keywords;
    run_function run;
    const char* about;
    bool needs_words = false; ///< without a word: usage
};

struct object {
    const char* name;
    const char* unknown; ///< its name in `Command "x" is unknown, try "ip route help".`
    std::span<const verb> verbs;
    const verb* standard; ///< when no verb is given
};

/// True when word is keyword, or (unless exact) a beginning of it. Origin: matches().
bool matches(std::string_view word, std::string_view keyword);
const object* find_object(std::string_view word);
const verb* find_verb(const object& o, std::string_view word);
/// All objects, for help and completion.
std::span<const object> ip_objects();

/// Takes words apart by the keywords; false with c's error when one does not fit.
bool parse_arguments(command& c, std::span<const keyword> keywords,
                     std::span<const std::string> words, std::vector<argument>* to);
/// The synopsis of one object's verbs, or of a single verb.
std::string usage_of(const object& o);
std::string usage_of(const object& o, const verb& v);
/// What may follow the words typed so far, for completion of the last one.
std::vector<std::string> complete(std::span<const std::string> words);

/// The arguments with this id: the last one, or null.
const argument* find_argument(std::span<const argument> args, int id);

} // namespace slabfwd
