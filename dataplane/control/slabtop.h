// SPDX-License-Identifier: BSD-3-Clause
//
// The terminal view of `slabfwd ctl slabtop`: asks the router for a look again and again.
// Door: slabtop_view(). Keys: those of slabtop(1): a letter of SLABTOP_KEYS sorts by it, space
// refreshes, q quits. Threads: the client's one.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace slabfwd {

/// Sends a command, its text goes into the string; the exit status, negative: stop.
using slabtop_ask = std::function<int(const std::vector<std::string>& words, std::string* text)>;

/// Runs until q or an interrupt; with -o once. `words`: slabtop [-o] [-d SEC] [-s KEY]. The exit
/// status.
int slabtop_view(const std::vector<std::string>& words, const slabtop_ask& ask);

} // namespace slabfwd
