// SPDX-License-Identifier: BSD-3-Clause
//
// The subcommands of `slabfwd bench`; argv[0] is the subcommand's name. Each returns the exit
// status.
#pragma once

namespace slabfwd {

int bench_alloc_main(int argc, char** argv);       ///< bench_alloc.cc
int bench_fib_main(int argc, char** argv);         ///< bench_fib.cc
int bench_forward_main(int argc, char** argv);     ///< bench_forward.cc
int bench_route_cache_main(int argc, char** argv); ///< bench_route_cache.cc

} // namespace slabfwd
