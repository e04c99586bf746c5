// SPDX-License-Identifier: BSD-3-Clause
//
// struct net: makes the CPU slots. What hangs below (ARP table, FIB, netfilter) is made and freed
// by the folders that own it, before the net goes. Door: net::net, net::~net. Origin:
// net/core/net_namespace.c.
#include "neigh/net_namespace.h"

#include <random>

namespace slabfwd {

net::net(unsigned workers) : nr_workers(workers), rcu(workers + 1) {
    ipv4.devconf_dflt.accept_source_route = 1; // a device allows it, "all" does not: both are needed
    softnet.reserve(nr_cpus());
    for (unsigned cpu = 0; cpu < nr_cpus(); ++cpu) {
        auto& sd = softnet.emplace_back(std::make_unique<softnet_data>());
        sd->nd_net = this;
        sd->cpu = sd->timers.cpu = cpu;
    }
    std::random_device entropy;
    prandom_seed(*this, uint64_t(entropy()) << 32 | entropy());
    softnet_enter(softnet[control_cpu()].get());
}

net::~net() {
    rcu_barrier_all(*this);
    if (this_softnet() && this_softnet()->nd_net == this)
        softnet_enter(nullptr);
}

} // namespace slabfwd
