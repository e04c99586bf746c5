// SPDX-License-Identifier: BSD-3-Clause
//
// replay --trace: prints the walk of packets through the router on standard output, as `ctl trace`
// does. Door: trace_printer as the engine's tracer. Threads: the one that turns the worker.
#pragma once

#include <cstdio>

#include "dataplane/control/trace_format.h"
#include "neigh/softnet.h"

namespace slabfwd {

class trace_printer : public packet_tracer {
public:
    explicit trace_printer(FILE* to = stdout);

private:
    FILE* to_;
    trace_formatter formatter_;
};

} // namespace slabfwd
