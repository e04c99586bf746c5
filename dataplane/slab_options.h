// SPDX-License-Identifier: BSD-3-Clause
//
// Options that all commands share which choose how the slab allocator works (--slab-allocator,
// --slab-tuning, --slab-merge) and debug it (--slab-debug and --failslab, the kernel's boot options
// slab_debug= and failslab=).
//
// Doors: add_slab_options(), before add_slab_debug_options(). Threads: one, before workers start.
#pragma once

namespace CLI {
class App;
}

namespace slabfwd {

/// Adds back end and tuning. They take effect while the command line is parsed, which must be before
/// the first cache.
void add_slab_options(CLI::App& app);

/// Adds the options that debug. They take effect while the command line is parsed, for all caches to come; a
/// wrong value is an error of the command line.
void add_slab_debug_options(CLI::App& app);

} // namespace slabfwd
