#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A second instance on the same ctl socket is refused, and the first goes on undisturbed.
. "$(dirname "$0")/_init.sh"
two_hosts
router --ctl "$tmp/ctl.sock" <<<"$two_ports"

mkdir "$tmp/second"
RUNTIME_DIRECTORY=$tmp/second refused on router timeout 20 \
    "$SLABFWD" run --no-huge --config "$config" --port p0=net_null0 --port p1=net_null1 --ctl "$tmp/ctl.sock"
because 'ctl.sock'
shows '^[0-9]+: p0' --ctl "$tmp/ctl.sock" ip link show
on a ping -n -c 2 -i 0.05 -W 2 10.0.1.2

# A socket file that a killed instance left behind is no obstacle.
kill -KILL "$router_pid"
wait "$router_pid" || true
router --ctl "$tmp/ctl.sock" <<<"$two_ports"
shows '^[0-9]+: p0' --ctl "$tmp/ctl.sock" ip link show
stop
refused "$SLABFWD" ctl --ctl "$tmp/ctl.sock" ip link show
because 'ctl.sock'
