// SPDX-License-Identifier: BSD-3-Clause
//
// router: one running slabfwd: a net with its ports and workers, made from options, torn down in order.
// run, replay and bench differ only in where frames come from and who turns the workers.
// Threads: made and destroyed on the control thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <tl/expected.hpp>

#include "alloc/page_ahead.h"
#include "dataplane/port/port.h"
#include "dataplane/worker/worker.h"

namespace slabfwd {

/// How the EAL is started. hugepages are used when there are any, unless no_huge.
struct eal_options {
    bool no_huge = false;
    std::vector<std::string> extra;  ///< words of --eal
    bool quiet = true;
    bool pci = false;                ///< look for NICs (a port names one)
    unsigned no_huge_mb = 128;       ///< DPDK's memory without hugepages (packets have their own)
};
/// Starts the EAL once per process. The error is a sentence.
tl::expected<void, std::string> eal_start(const eal_options& options);
void eal_stop();

struct router_options {
    unsigned nr_workers = 1;
    uint32_t rhash_entries = 0;
    uint64_t seed = 0; ///< of random choices and secrets; 0: the system's random numbers
    unsigned nr_mbufs = 16383;
    bool rps = false;                ///< spread flows in software where a port has too few queues
    /// Replay: where the slots' clock starts, ns since 1970; whoever turns the worker moves it on.
    /// Unset: the TSC.
    std::optional<uint64_t> clock_start_ns;
};

struct router {
    std::unique_ptr<net> n;
    std::vector<std::unique_ptr<port>> ports;
    std::vector<std::unique_ptr<worker>> workers;
    std::vector<std::thread> threads;
    std::unique_ptr<page_ahead> ahead; ///< while the workers' threads run: new memory is no matter of theirs
    bool running = false;
    std::map<std::string, size_t> slabs_before; ///< objects per cache when it was made
    bool poll = false;        ///< workers never sleep
    bool rps = false;         ///< see router_options
    std::vector<int> cores;   ///< of the workers, in order; fewer: the rest float
    std::vector<std::shared_ptr<void>> plugins; ///< hooks from shared objects, see hook_plugin.h
};

/// Makes net, lo, tables, IP layer, netfilter; no ports yet. The calling thread becomes the control slot.
tl::expected<std::unique_ptr<router>, std::string> router_create(const router_options& options);
/// Loads the hooks of shared objects (--hook). Before router_start. The error is a sentence.
tl::expected<void, std::string> router_load_hooks(router& r, const std::vector<std::string>& paths);
/// Opens a port and gives its queues to workers (round robin). Before router_start.
tl::expected<port*, std::string> router_add_port(router& r, const port_config& config);
tl::expected<port*, std::string> router_add_ring_port(router& r, const std::string& name, unsigned ring_size);
/// Starts a thread per worker / stops and joins them.
void router_start(router& r);
void router_stop(router& r);
/// Brings what the slots still stage or have handed over to the ports, so that counters are final. No
/// worker runs.
void router_quiesce(router& r);
/// Stops everything, drops what is held (SHUTDOWN), closes ports, frees all tables.
/// Afterwards every slab cache is empty and no mbuf is in use, or the return value says what is left.
std::string router_destroy(std::unique_ptr<router> r);

/// The CPUs of a --cores list such as "1-3,5", where this thread may run; the error names the bad
/// part.
tl::expected<std::vector<int>, std::string> parse_cores(const std::string& list);

/// Packets held now: neighbour queues and fragment queues.
uint64_t router_held(const router& r);

} // namespace slabfwd
