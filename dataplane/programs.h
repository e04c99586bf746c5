// SPDX-License-Identifier: BSD-3-Clause
//
// The mains of the subcommands; argv[0] is the subcommand's name. Each returns the exit status.
#pragma once

namespace slabfwd {

int run_main(int argc, char** argv);    ///< dataplane/run.cc
int replay_main(int argc, char** argv); ///< dataplane/replay
int bench_main(int argc, char** argv);  ///< dataplane/bench
int ctl_main(int argc, char** argv);    ///< dataplane/control

} // namespace slabfwd
