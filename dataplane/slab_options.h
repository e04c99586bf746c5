// SPDX-License-Identifier: BSD-3-Clause
//
// Options that all commands share which debug the slab allocator: --slab-debug and --failslab, the
// kernel's boot options slab_debug= and failslab=.
//
// Door: add_slab_debug_options(). Threads: one, before workers start.
#pragma once

namespace CLI {
class App;
}

namespace slabfwd {

/// Adds the options. They take effect while the command line is parsed, for all caches to come; a
/// wrong value is an error of the command line.
void add_slab_debug_options(CLI::App& app);

} // namespace slabfwd
