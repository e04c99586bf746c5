// SPDX-License-Identifier: BSD-3-Clause
//
// A measurement in a process of its own: every peer starts from the same, fresh state, what one
// leaves behind (memory, threads, settings of a library that hold for a process) does not reach the
// next, and a peer that dies is a line in the report.
//
// Door: run_in_child(). Threads: REQUIRES that the caller's process has one thread.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace slabfwd {

/// What comes back from a child.
struct child_result {
    std::vector<std::pair<std::string, double>> samples; ///< metric, value
    std::string skipped; ///< why this peer cannot do it here; empty: it did
    std::string error;   ///< what went wrong; empty: nothing
};

/// Forks, runs `work` in the child and returns what it filled in. A child that takes longer than
/// `seconds` is ended.
child_result run_in_child(const std::function<void(child_result&)>& work, unsigned seconds);

} // namespace slabfwd
