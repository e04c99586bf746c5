// SPDX-License-Identifier: BSD-3-Clause
//
// The control slot of a running router between commands: its clock, timers and RCU, the state of
// the ports. A file of its own, so that the command language can be had without ports and workers.
// Threads: control thread.
#include <rte_cycles.h>

#include "dataplane/control/control.h"
#include "dataplane/control/job.h"
#include "dataplane/router.h"
#include "neigh/softnet.h"

namespace slabfwd {

namespace {

/// The slot's clock: nanoseconds since the TSC's zero, as the workers'.
uint64_t tsc_ns() {
    static const uint64_t hz = rte_get_tsc_hz();
    uint64_t tsc = rte_rdtsc();
    return tsc / hz * NSEC_PER_SEC + tsc % hz * NSEC_PER_SEC / hz;
}

} // namespace

tl::expected<void, std::string> control_load_file(router& r, const std::string& path) {
    return control_load_file(*r.n, path);
}

void control_serve(router& r, control_listener& socket, int stop_fd) {
    softnet_data& sd = *r.n->softnet[r.n->control_cpu()];
    softnet_enter(&sd);
    uint64_t next_look = 0;
    auto turn = [&] {
        sd.now_ns = tsc_ns();
        sd.jiffies = nsecs_to_jiffies(sd.now_ns);
        run_timers(sd.timers, sd.jiffies, 0);
        if (sd.now_ns < next_look)
            return;
        next_look = sd.now_ns + NSEC_PER_SEC;
        std::lock_guard rtnl(r.n->rtnl);
        for (auto& p : r.ports)
            port_poll_status(*p);
    };
    control_serve(*r.n, socket, stop_fd, turn);
}

} // namespace slabfwd
