// SPDX-License-Identifier: BSD-3-Clause
//
// Any bytes as packets, to a router that takes whatever can be switched on and has a rule for every
// match and target of the packet filter: headers, options, fragments, ICMP and the tables. An input
// is frames, as fuzz_one.h says. Every packet has to be accounted for.
#include "dataplane/control/control.h"
#include "neigh/softnet.h"
#include "tests/dataplane/ip/fuzz_one.h"
#include "tests/dataplane/ip/ip_test_net.h"
#include "tests/fuzz/fuzz_target.h"

namespace slabfwd::fuzz {

namespace {

constexpr const char* rules[] = {
    "-N seen",
    "-A FORWARD -j seen",
    "-A INPUT -j seen",
    "-A OUTPUT -j seen",
    "-A seen -p tcp --sport 1:1023 --dport 80",
    "-A seen -p tcp ! --syn --tcp-option 5",
    "-A seen -p udp ! --dport 53",
    "-A seen -p icmp --icmp-type 3/1",
    "-A seen -f",
    "-A seen -p udp -m multiport --ports 1,2,5:9",
    "-A seen -m iprange --src-range 10.0.0.1-10.0.0.9",
    "-A seen -m ttl --ttl-lt 3",
    "-A seen -m length --length 100:",
    "-A seen -m dscp --dscp 46",
    "-A seen -m tos --tos 0x10/0x3f",
    "-A seen -m mark --mark 1/1",
    "-A seen -m limit --limit 5/second",
    "-A seen -m addrtype --src-type LOCAL,BROADCAST ! --dst-type UNICAST",
    "-A seen -m statistic --mode nth --every 3 --packet 1",
    "-A seen -m pkttype --pkt-type broadcast",
    "-A seen -m ttl --ttl-eq 17 -m comment --comment x -j RETURN",
    "-A FORWARD -m mac --mac-source 02:00:00:00:AA:01",
    "-A FORWARD -j LOG --log-prefix x --log-tcp-sequence --log-tcp-options --log-ip-options "
    "--log-macdecode",
    "-A FORWARD -p tcp --dport 23 -j REJECT --reject-with tcp-reset",
    "-A FORWARD -m dscp --dscp 1 -j REJECT --reject-with icmp-admin-prohibited",
    "-A INPUT -p udp --dport 7 -j REJECT",
    "-A INPUT -p tcp --dport 23 -j REJECT --reject-with tcp-reset",
    "-A OUTPUT -p icmp --icmp-type 0 -m length --length 77 -j DROP",
    "-t mangle -A PREROUTING -m tos --tos 4 -j MARK --set-mark 0x11/0xff",
    "-t mangle -A PREROUTING -m ttl --ttl-gt 60 -j TTL --ttl-dec 5",
    "-t mangle -A FORWARD -j TOS --xor-tos 0x08",
    "-t mangle -A FORWARD -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu",
    "-t mangle -A POSTROUTING -p tcp --syn -o p0 -j TCPMSS --set-mss 536",
    "-t mangle -A OUTPUT -j DSCP --set-dscp-class AF21",
    "-t raw -A PREROUTING -j CT --notrack",
    "-t raw -A PREROUTING -s 10.0.0.66 -j DROP",
};

/// Rules for the router that fuzz_one plays to.
void add_rules(test::ip_test_net& r) {
    log_sink = [](const char*) {}; // LOG
    r.enter(r.n.control_cpu());
    for (const char* rule : rules)
        if (control_result done = control_execute(r.n, std::string("iptables ") + rule); done.rc)
            finding(rule + (": " + done.err));
    r.n.rcu.offline(r.n.control_cpu());
}

} // namespace

} // namespace slabfwd::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const bool once = (slabfwd::test::fuzz_setup(slabfwd::fuzz::add_rules), true);
    (void)once;
    slabfwd::test::fuzz_one(data, size);
    return 0;
}
