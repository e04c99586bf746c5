#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Two workers: af_packet ports with two receive queues and one core each; the same traffic, nothing lost.
. "$(dirname "$0")/_init.sh"
(($(nproc) >= 2)) || skip "needs two cores"
two_hosts
port_options() {
    echo --port p0=net_af_packet0,iface=p0,qpairs=2 --port p1=net_af_packet1,iface=p1,qpairs=2 --cores 0,1
}
router <<<"$two_ports"
on b iperf3 -s -1 -D -p 5201
eventually 10 listens b 5201
on a ping -n -c 100 -i 0.01 -q 10.0.1.2 >/dev/null &
pings=$!
on a iperf3 -c 10.0.1.2 -p 5201 -t 2 -P 4 >/dev/null
wait "$pings"
ctl ip route add 198.51.100.0/24 via 10.0.1.2
on a ping -n -c 2 -i 0.05 -W 2 -s 4000 10.0.1.2
stop
