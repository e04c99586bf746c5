#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# iperf3 TCP through two veth pairs: slabfwd on af_packet ports beside the kernel's own forwarding in the same
# namespace, in turn. Offloads are off on both, so that both forward the same segments of 1,500 bytes.
#   tests/bench/iperf_peer.sh [TURNS [SECONDS]]
. "$(dirname "$0")/../live/_init.sh"
turns=${1:-3} seconds=${2:-3}
two_hosts

# megabits PORT: what b received from a
megabits() {
    on b iperf3 -s -1 -p "$1" >/dev/null &
    eventually 10 listens b "$1"
    on a iperf3 -c 10.0.1.2 -p "$1" -t "$seconds" -J |
        python3 -c 'import json,sys; print(round(json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"] / 1e6))'
}

kernel_starts() {
    local i
    for i in 0 1; do
        ip -n "$tag-router" link set p$i arp on
        ip -n "$tag-router" addr add 10.0.$i.1/24 dev p$i
    done
    on router sysctl -qw net.ipv4.ip_forward=1
}

kernel_stops() {
    local i
    on router sysctl -qw net.ipv4.ip_forward=0
    for i in 0 1; do
        ip -n "$tag-router" addr flush dev p$i
        ip -n "$tag-router" link set p$i arp off
    done
}

for ((turn = 0; turn < turns; ++turn)); do
    router <<<"$two_ports"
    slabfwd=$(megabits $((5300 + 2 * turn)))
    stop
    kernel_starts
    on a ip neigh flush all
    on b ip neigh flush all
    kernel=$(megabits $((5301 + 2 * turn)))
    kernel_stops
    on a ip neigh flush all
    on b ip neigh flush all
    echo "$slabfwd $kernel" | tee -a "$tmp/megabits" | sed 's/^/  Mbit\/s: slabfwd /; s/ \([0-9]*\)$/, kernel \1/' >&2
done
python3 - "$tmp/megabits" <<'PY'
import statistics, sys
runs = [tuple(map(int, line.split())) for line in open(sys.argv[1])]
slabfwd, kernel = (statistics.median(column) for column in zip(*runs))
print(f"iperf3 TCP, medians of {len(runs)} turns: slabfwd {slabfwd:.0f} Mbit/s, kernel {kernel:.0f} Mbit/s, "
      f"ratio {slabfwd / kernel:.2f}")
PY
