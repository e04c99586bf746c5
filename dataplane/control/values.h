// SPDX-License-Identifier: BSD-3-Clause
//
// The values of the command language, in and out: numbers, addresses, and the names that iproute2
// keeps in /etc/iproute2 (scopes, protocols, tables, dsfield). Doors: parse_value (by kind, for the
// grammar), the *_name functions for printing. Threads: control thread. Origin: iproute2's
// lib/utils.c, lib/rt_names.c.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "dataplane/control/grammar.h"

namespace slabfwd {

/// A whole number: decimal, 0x.. or 0.., at most max.
std::optional<uint64_t> parse_number(std::string_view word, uint64_t max, int base = 0);
/// One to four numbers with dots between them; what is missing is zero.
std::optional<be32_t> parse_ipv4(std::string_view word);
std::optional<inet_prefix> parse_prefix(std::string_view word);
/// Colon-separated bytes; how many, or -1 with *bad = the part that is no byte.
int parse_mac(std::string_view word, uint8_t bytes[16], std::string* bad);

/// Reads word as key's kind into a; false with c's error. `family_known`: an IPv4 value stood
/// before, so that iproute2 speaks of inet.
bool parse_value(command& c, const keyword& key, const std::string& word, bool family_known,
                 argument* a);

std::string format_ipv4(be32_t addr);
std::string format_ipv6(const uint8_t bytes[16]);
std::string format_mac(const uint8_t* mac);
/// "10.0.0.0/8", "10.0.0.1" for /32, "default" for 0/0.
std::string format_dst(be32_t addr, unsigned len);

std::string scope_name(uint8_t scope, bool numeric = false);
std::string protocol_name(uint8_t protocol, bool numeric = false);
std::string table_name(uint32_t table, bool numeric = false);
std::string dsfield_name(uint8_t tos, bool numeric = false);
std::string route_type_name(uint8_t type, bool numeric = false);
std::string ipproto_name(uint8_t protocol);
std::optional<uint8_t> route_type_number(std::string_view word);
std::optional<uint32_t> table_number(std::string_view word);

} // namespace slabfwd
