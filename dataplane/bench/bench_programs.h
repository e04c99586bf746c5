// SPDX-License-Identifier: BSD-3-Clause
//
// The subcommands of `slabfwd bench`; argv[0] is the subcommand's name. Each returns the exit
// status.
#pragma once

namespace slabfwd {

int bench_alloc_main(int argc, char** argv); ///< bench_alloc.cc

} // namespace slabfwd
