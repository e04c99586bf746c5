// SPDX-License-Identifier: BSD-3-Clause
//
// See slab_options.h.
#include "dataplane/slab_options.h"

#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "alloc/failslab.h"
#include "alloc/kmem_cache.h"
#include "alloc/slab_debug.h"

namespace slabfwd {

void add_slab_options(CLI::App& app) {
    constexpr const char* LATE = "the slab allocator is at work already";
    app.add_option_function<std::string>(
           "--slab-allocator",
           [](const std::string& name) {
               if (slab_set_allocator(name == "slub" ? slab_allocator::slub : slab_allocator::slab))
                   throw CLI::ValidationError("--slab-allocator", LATE);
           },
           "back end of the slab caches: slab (default) or slub")
        ->check(CLI::IsMember({"slab", "slub"}))
        ->type_name("NAME");
    app.add_option_function<std::string>(
           "--slab-tuning",
           [](const std::string& name) {
               if (slab_set_tuning(name == "linux" ? slab_tuning::linux_5_2
                                                   : slab_tuning::throughput))
                   throw CLI::ValidationError("--slab-tuning", LATE);
           },
           "how slab caches are cut: throughput (default), or linux (the kernel's numbers)")
        ->check(CLI::IsMember({"throughput", "linux"}))
        ->type_name("NAME");
    app.add_flag_function(
        "--slab-merge", [](std::int64_t) { slab_set_merge(true); },
        "let slab caches that can share their slabs");
}

void add_slab_memory_option(CLI::App& app, std::string* name,
                            std::initializer_list<const char*> sources) {
    app.add_option("--slab-memory", *name,
                   "memory of the slab caches: anonymous (default; transparent hugepages where "
                   "there are some), "
                   "or another of those named")
        ->check(CLI::IsMember(std::vector<std::string>(sources.begin(), sources.end())))
        ->type_name("NAME");
}

void add_slab_debug_options(CLI::App& app) {
    app.add_option_function<std::string>(
           "--slab-debug",
           [](const std::string& text) {
               if (slab_debug_setup(text) != 0)
                   throw CLI::ValidationError(
                       "--slab-debug",
                       text + ": LETTERS[,CACHE*,...][;...] of FZPUTAOHR is wanted");
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
