// SPDX-License-Identifier: BSD-3-Clause
//
// Options that run, replay and bench alloc share which choose how the slab allocator works
// (--slab-allocator, --slab-tuning, --slab-merge, --slab-memory) and debug it (--slab-debug and
// --failslab, the kernel's boot options slab_debug= and failslab=).
//
// Doors: add_slab_options(), before add_slab_debug_options(). Threads: one, before workers start.
#pragma once

#include <initializer_list>
#include <string>

namespace CLI {
class App;
}

namespace slabfwd {

/// Adds back end and tuning. They take effect while the command line is parsed, which must be before
/// the first cache.
void add_slab_options(CLI::App& app);

/// Adds --slab-memory, one of `sources`. It only writes `*name`: what takes effect, and when, is
/// set_slab_memory()'s (slab_memory.h).
void add_slab_memory_option(CLI::App& app, std::string* name,
                            std::initializer_list<const char*> sources = {"anonymous", "hugetlb",
                                                                          "dpdk"});

/// Adds the options that debug. They take effect while the command line is parsed, for all caches to come; a
/// wrong value is an error of the command line.
void add_slab_debug_options(CLI::App& app);

} // namespace slabfwd
