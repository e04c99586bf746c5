#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Neighbours: nobody there means host unreachable; a packet that had to wait for the answer is not lost.
. "$(dirname "$0")/_init.sh"
two_hosts
router <<<"$two_ports"

# the first packet waits for ARP and arrives
on a ping -n -c 1 -W 2 10.0.1.2
shows '^10\.0\.1\.2 dev p1 lladdr' ip neigh show

# nobody at .99
if on a ping -n -c 1 -W 5 10.0.1.99 >"$tmp/out"; then
    fail "an answer from nobody"
fi
grep -q 'From 10.0.0.1 .*Host Unreachable' "$tmp/out" || fail "$(cat "$tmp/out")"

# an entry by hand, permanent: the frame goes to that MAC without asking
ctl ip neigh add 10.0.1.50 lladdr 02:00:00:00:00:50 dev p1 nud permanent
shows '^10\.0\.1\.50 dev p1 lladdr 02:00:00:00:00:50 PERMANENT' ip neigh show
refused ctl ip neigh add 10.0.1.50 lladdr 02:00:00:00:00:51 dev p1 nud permanent
because 'File exists'
ctl ip neigh del 10.0.1.50 dev p1
stop
(($(counter drops.NEIGH_FAILED) >= 1)) || fail "the packet to nobody was not counted"
