// SPDX-License-Identifier: BSD-3-Clause
//
// The verbs of the ip objects, one table in each file, and what prints on the way of several.
// Door: ip_command. Threads: control thread under rtnl.
#pragma once

#include <span>

#include "dataplane/control/command.h"

namespace slabfwd {

/// `ip ...` without the first word. Origin: iproute2's ip/ip.c.
bool ip_command(command& c, std::span<const std::string> words);

std::span<const verb> link_verbs();
std::span<const verb> address_verbs();
std::span<const verb> route_verbs();
std::span<const verb> neigh_verbs();
std::span<const verb> rule_verbs();

} // namespace slabfwd
