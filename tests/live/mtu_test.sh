#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A smaller link behind the router: a packet that may not be cut is refused with the link's mtu, others are cut.
. "$(dirname "$0")/_init.sh"
two_hosts
on b ip link set eth0 mtu 1000
router <<<"$two_ports
ip link set dev p1 mtu 1000"

if on a ping -n -c 1 -W 2 -s 1400 -M do 10.0.1.2 >"$tmp/out"; then
    fail "1428 bytes with DF came through a link of 1000"
fi
grep -q 'From 10.0.0.1 .*mtu = 1000' "$tmp/out" || fail "$(cat "$tmp/out")"
on a ip route flush cache
on a ping -n -c 2 -i 0.05 -W 2 -s 1400 -M dont 10.0.1.2
stop
(($(counter fragmented) >= 2)) || fail "nothing was fragmented"
