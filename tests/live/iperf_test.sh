#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# iperf3 through the router: TCP both ways and UDP.
. "$(dirname "$0")/_init.sh"
two_hosts
router <<<"$two_ports"

on b iperf3 -s -1 -p 5201 >/dev/null &
on b iperf3 -s -1 -p 5202 >/dev/null &
on b iperf3 -s -1 -p 5203 >/dev/null &
for port in 5201 5202 5203; do
    eventually 10 listens b $port
done

# megabits NAME: what the receiver got
megabits() {
    python3 -c 'import json,sys; end=json.load(open(sys.argv[1]))["end"]
print(int((end.get("sum_received") or end["sum"])["bits_per_second"] / 1e6))' "$tmp/$1"
}
on a iperf3 -c 10.0.1.2 -p 5201 -t 2 -J >"$tmp/tcp"
on a iperf3 -c 10.0.1.2 -p 5202 -t 2 -R -J >"$tmp/tcp-reverse"
on a iperf3 -c 10.0.1.2 -p 5203 -t 2 -u -b 50M -l 1400 -J >"$tmp/udp"
for kind in tcp tcp-reverse udp; do
    echo "$kind: $(megabits $kind) Mbit/s"
    (($(megabits $kind) >= 10)) || fail "$kind: hardly anything came through"
done
stop
