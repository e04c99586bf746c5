#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A host gets another MAC address: the router finds it again, by the host's announcement or by asking itself.
. "$(dirname "$0")/_init.sh"
two_hosts
router <<<"$two_ports
sysctl -w net.ipv4.neigh.p1.base_reachable_time_ms=1000"
on a ping -n -c 2 -i 0.05 -W 2 10.0.1.2

# The host says nothing about its new address; what it sends to the router makes the router ask again.
on b ip link set eth0 down
on b ip link set eth0 address 02:11:22:33:44:55
on b ip link set eth0 up
on b ip route add default via 10.0.1.1
on b ping -n -c 1 -W 2 10.0.1.1
eventually 10 on a ping -n -c 1 -W 1 10.0.1.2
shows '^10\.0\.1\.2 dev p1 lladdr 02:11:22:33:44:55' ip neigh show

# And with nobody talking but the sender: the entry goes stale, is probed, fails and is resolved anew.
on b ip link set eth0 down
on b ip link set eth0 address 02:11:22:33:44:66
on b ip link set eth0 up
on b ip route add default via 10.0.1.1
eventually 30 on a ping -n -c 1 -W 1 10.0.1.2
stop
