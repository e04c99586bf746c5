// SPDX-License-Identifier: BSD-3-Clause
//
// The files below /sys/kernel/slab, `echo` to them and to /proc/slabinfo, `ls`, and slabtop.
// Doors: slab_file (for `cat`), echo_command, ls_command, slabtop_command. Threads: control thread
// under rtnl. Origin: mm/slub.c of Linux v5.2; slabtop(1) of procps-ng 4.0.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "dataplane/control/command.h"

namespace slabfwd {

/// The text of a file below /sys/kernel/slab, or nothing when there is none of that name.
std::optional<std::string> slab_file(std::string_view path);

/// `echo WORD... FILE` (sh writes `echo WORD > FILE`: the arrow may stand, quoted).
bool echo_command(command& c, std::span<const std::string> words);
/// `ls [-l] [-j] /sys/kernel/slab[/NAME]`: aliases are shown as links.
bool ls_command(command& c, std::span<const std::string> words);
/// `slabtop [-o] [-j] [-s KEY]`: one look; `slabfwd ctl` refreshes it on a terminal.
bool slabtop_command(command& c, std::span<const std::string> words);

/// The sort keys of slabtop.
inline constexpr std::string_view SLABTOP_KEYS = "abclvnopsu";

} // namespace slabfwd
