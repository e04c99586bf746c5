// SPDX-License-Identifier: BSD-3-Clause
//
// What a router did, in numbers: the summary that run and replay print and write as JSON.
// Each number was counted where the thing happened; here they are only added up over the CPU slots.
// Doors: collect_summary, balanced, summary_text, summary_json.
// Threads: control thread. Counters of running workers may be a moment old; after router_stop and
// router_quiesce they are final.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "dataplane/router.h"
#include "route/route.h"

namespace slabfwd {

/// Traffic of one port.
struct port_summary {
    std::string name;
    uint64_t rx_packets = 0, tx_packets = 0, rx_bytes = 0, tx_bytes = 0;
};

/// One slab cache. active_objs: held by callers; num_objs: in all its slabs; objsize: bytes each.
struct slab_summary {
    std::string name;
    uint64_t active_objs = 0, num_objs = 0, objsize = 0;
    uint64_t left = 0; ///< active_objs after the router was destroyed (summary_after_stop)
};

struct router_summary {
    std::vector<port_summary> ports;                     ///< in the order they were opened
    std::vector<std::pair<std::string, uint64_t>> drops; ///< by reason, those that happened
    uint64_t originated = 0;                             ///< packets made here, ARP included
    uint64_t copies = 0;                                 ///< clones for multicast and loopback
    uint64_t delivered = 0;                              ///< packets consumed here, ARP included
    uint64_t fragmented = 0;                             ///< packets that were cut ...
    uint64_t fragments_created = 0;                      ///< ... and what became of them
    uint64_t held = 0; ///< waiting for a neighbour or for more fragments
    rt_cache_totals route_cache{};
    std::vector<slab_summary> slab;             ///< caches that were ever used
    std::map<std::string, size_t> slabs_before; ///< objects per cache before there was a router
    bool stopped = false;                       ///< summary_after_stop was called

    uint64_t rx_packets() const;
    uint64_t tx_packets() const;
    uint64_t dropped() const; ///< all reasons together
    /// Takes n packets off the count of a reason (those of frames that do not count); false: not so
    /// many.
    bool drops_subtract(const std::string& reason, uint64_t n);
};

/// Adds up the counters of all slots.
router_summary collect_summary(const router& r);

/// After router_destroy: looks up what is left in the slab caches that was not there before the
/// router. Caches that are gone were empty; the allocator's own (what describes the other caches)
/// do not count.
void summary_after_stop(router_summary& s);

/// Nothing is lost: rx + originated + fragments_created + copies = tx + delivered + fragmented +
/// drops + held. `why`, when given, gets both sides in words if they differ.
bool balanced(const router_summary& s, std::string* why = nullptr);

/// Tables for people, ending in a newline.
std::string summary_text(const router_summary& s);
/// The same for programs. `slab`'s active_objs are those of the moment, or, once the router has
/// been stopped, what was left after it: 0 unless something leaked.
nlohmann::ordered_json summary_json(const router_summary& s);
/// Writes the JSON to a file; "" or the file and the reason why not.
std::string write_summary_json(const router_summary& s, const std::string& path);

} // namespace slabfwd
