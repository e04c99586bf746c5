// SPDX-License-Identifier: BSD-3-Clause
//
// What the files of `ip route` share: the verbs, and the printing of one route.
// Threads: control thread under rtnl. Origin: iproute2's ip/iproute.c.
#pragma once

#include "dataplane/control/command.h"
#include "route/ip_fib.h"

namespace slabfwd {

bool route_show(command& c, std::span<const argument> args);
bool route_flush(command& c, std::span<const argument> args);
bool route_get(command& c, std::span<const argument> args);
/// The table of a VRF by its name; false with iproute2's error.
bool vrf_table_of(command& c, const std::string& name, uint32_t* table);
std::span<const keyword> route_selectors();
std::span<const keyword> route_get_keywords();

/// A route as print_route takes it: a row of the table, or of the cache (cloned).
struct route_view {
    fib_route_row row{};
    bool cloned = false;
    // Of a cloned one only:
    be32_t from{};
    bool has_from = false;
    uint8_t from_len = 32;
    uint32_t cache_flags = 0; ///< RTCF_*
    uint32_t mark = 0;
    bool has_uid = false;
    int iif = 0;
    uint32_t expires_sec = 0, error = 0, users = 0, used = 0, age_sec = 0;
};

/// What a selection leaves out of the print, because all rows have it alike.
struct route_columns {
    bool table = true, dev = true, via = true, src = true, protocol = true, scope = true,
         metric = true, tos = true;
};

void print_route(printer& p, const command& c, const route_view& v, const route_columns& columns);

} // namespace slabfwd
