// SPDX-License-Identifier: BSD-3-Clause
//
// A router with FIB, ports p0..p3 and lo, driven by `ip` command lines and answering as ip(8)
// prints, so that expectations can be taken from a Linux machine word for word. Doors:
// fib_router::ip, routes, rules, lookup.
#pragma once

#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "route/fib_lookup.h"
#include "route/fib_lpm.h"
#include "route/fib_rules.h"
#include "route/route.h"
#include "tests/support/test_net.h"

namespace slabfwd::test {

enum class tables { zones, small, large };

/// All tables are compiled so, or looked up by their zones alone, for as long as it lives. Small
/// ones may have many more prefixes than in a router, but not more than they can name groups for.
class compiled_as {
public:
    explicit compiled_as(tables form) {
        fib_lpm_min_nodes = form == tables::zones ? UINT32_MAX : 1;
        fib_lpm_large_nodes = form == tables::large ? 1 : 8192;
    }
    ~compiled_as() {
        fib_lpm_min_nodes = min_;
        fib_lpm_large_nodes = large_;
    }
    compiled_as(const compiled_as&) = delete;
    compiled_as& operator=(const compiled_as&) = delete;

private:
    uint32_t min_ = fib_lpm_min_nodes, large_ = fib_lpm_large_nodes;
};
inline std::string tables_name(const testing::TestParamInfo<tables>& of) {
    return of.param == tables::zones ? "zones" : of.param == tables::small ? "small" : "large";
}

class fib_router : public test_net {
public:
    /// Ports are down and without addresses; lo is up.
    explicit fib_router(unsigned workers = 1);
    ~fib_router();

    net_device* port(const std::string& name) { return dev_get_by_name(n, name.c_str()); }

    /// Carries out "route add ...", "addr del ...", "rule add ...", "link set p0 up|down|carrier
    /// on|off". The command's result; text() has its words.
    int ip(const std::string& line);
    const std::string& text() const { return extack_.msg; }
    /// Carries out several, a line each, which have to succeed.
    void setup(const char* lines);

    /// `ip route show table T` (0: all, with the tables named).
    std::vector<std::string> routes(uint32_t table = RT_TABLE_MAIN);
    /// `ip rule show`.
    std::vector<std::string> rules();
    /// What a lookup finds: "unicast 10.0.0.0/8 via 10.0.0.2 dev p0", or "error N". Words as in `ip
    /// route get`: to, from, iif, oif, tos, mark, sport, dport, ipproto.
    std::string lookup(const std::string& words);
    /// `ip addr show dev D`, the inet lines: "10.0.0.1/24 secondary".
    std::vector<std::string> addresses(const std::string& dev);
    /// Callbacks of ended grace periods run.
    void settle() { rcu_barrier_all(n); }

    std::string dev_name(int ifindex);

private:
    int route_command(std::vector<std::string> words);
    int addr_command(std::vector<std::string> words);
    int rule_command(std::vector<std::string> words);
    int link_command(std::vector<std::string> words);
    netlink_ext_ack extack_;
};

/// "10.0.0.0/8", "default", "10.0.0.1" -> address and length.
std::pair<be32_t, uint8_t> parse_prefix(const std::string& text);
be32_t parse_ip(const std::string& text);
std::string ip_text(be32_t addr);
flowi4 parse_flow(fib_router& r, const std::string& words);

} // namespace slabfwd::test
