#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# SIGINT and SIGTERM in the midst of traffic: exit status 0, a summary, nothing lost, every cache empty.
. "$(dirname "$0")/_init.sh"
two_hosts
for signal in INT TERM; do
    router <<<"$two_ports"
    on a ping -n -c 1 -W 2 10.0.1.2
    on b iperf3 -s -1 -D -p 5201
    eventually 10 listens b 5201
    on a iperf3 -c 10.0.1.2 -p 5201 -t 20 -u -b 100M >/dev/null 2>&1 &
    on a ping -n -f -q -s 4000 10.0.1.1 >/dev/null 2>&1 & # reassembly in progress too
    on a ping -n -i 0.01 -q 10.0.1.77 >/dev/null 2>&1 & # and packets held for a neighbour that is not there
    busy() { (($(ctl ip -j -s link show dev p1 | python3 -c 'import json,sys; print(json.load(sys.stdin)[0]["stats64"]["tx"]["packets"])') > 1000)); }
    eventually 15 busy
    stop "$signal"
    grep -q ip_dst_cache "$log" || fail "no summary"
    (($(counter ports.p1.tx_packets) > 1000)) || fail "there was no traffic"
    quiet a b
    wait
done
