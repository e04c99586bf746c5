// SPDX-License-Identifier: BSD-3-Clause
//
// A router that takes command lines: p0 and p1 down and without addresses, lo up, as in a fresh
// network namespace. Door: control_net::run. Threads: one, as the control slot.
#pragma once

#include <gtest/gtest.h>
#include <string>

#include "dataplane/control/control.h"
#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {

class control_net : public ip_test_net {
public:
    explicit control_net(unsigned workers = 1) : ip_test_net(workers) {
        enter(n.control_cpu());
        must("sysctl -qw net.ipv4.ip_forward=0");
        for (const char* dev : {"p0", "p1"}) {
            must(std::string("ip addr flush dev ") + dev);
            must(std::string("ip link set dev ") + dev + " down");
        }
        must("ip neigh flush nud all");
        for (net_device* dev : {lo, p0, p1}) {
            dev->ip_ptr->cnf.state = 0;
            dev->arp_parms->data_state = 0;
        }
    }
    ~control_net() { enter(0); }

    control_result run(const std::string& line) { return control_execute(n, line); }
    /// Runs a line that has to succeed; what it printed.
    std::string must(const std::string& line) {
        control_result r = run(line);
        EXPECT_EQ(r.rc, 0) << line << "\n" << r.err;
        return r.out;
    }
    /// Everything that commands can change, as text.
    std::string state() {
        std::string s;
        for (const char* line :
             {"ip -j -d link", "ip -j addr", "ip -j route show table all", "ip -j rule",
              "ip -j neigh show nud all", "ip neigh show proxy", "sysctl -a --deprecated"})
            s += must(line);
        return s;
    }
};

/// What the tests begin with: two ports with addresses, forwarding.
inline const char* const TWO_PORTS[] = {
    "ip link set dev p0 up", "ip link set dev p1 up", "ip addr add 10.0.0.1/24 dev p0",
    "ip addr add 10.0.1.1/24 brd + dev p1", "sysctl -w net.ipv4.ip_forward=1"};

} // namespace slabfwd::test
