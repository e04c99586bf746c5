// SPDX-License-Identifier: BSD-3-Clause
//
// --slab-debug and --failslab. See slab_options.h.
#include "dataplane/slab_options.h"

#include <string>

#include <CLI/CLI.hpp>

#include "alloc/failslab.h"
#include "alloc/slab_debug.h"

namespace slabfwd {

void add_slab_debug_options(CLI::App& app) {
    app.add_option_function<std::string>(
           "--slab-debug",
           [](const std::string& text) {
               if (slab_debug_setup(text) != 0)
                   throw CLI::ValidationError(
                       "--slab-debug", text + ": LETTERS[,CACHE*,...][;...] of FZPUTAOHR is wanted");
           },
           "debug the slab allocator as the kernel's slab_debug= does: F checks, Z red zones, "
           "P poison, U owners, T trace, A failslab; H hardened, R random order")
        ->type_name("LETTERS[,CACHE*...]");
    app.add_option_function<std::string>(
           "--failslab",
           [](const std::string& text) {
               if (setup_failslab(text) != 0)
                   throw CLI::ValidationError(
                       "--failslab", text + ": interval,probability,space,times or KEY=VALUE,... "
                                            "is wanted");
           },
           "let allocations fail on purpose: interval,probability,space,times, or KEY=VALUE,... "
           "of interval, probability, space, times, nth, cache, cache-filter, verbose")
        ->type_name("SPEC");
}

} // namespace slabfwd
