#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Two hosts ping each other through the router, small, fragmented and of the link's full size.
. "$(dirname "$0")/_init.sh"
two_hosts
router <<<"$two_ports"

on a ping -n -c 3 -i 0.05 -W 2 10.0.1.2
on b ping -n -c 3 -i 0.05 -W 2 10.0.0.2
on a ping -n -c 3 -i 0.05 -W 2 -s 4000 10.0.1.2
on a ping -n -c 3 -i 0.05 -W 2 -s 1472 -M do 10.0.1.2
on a ping -n -c 500 -i 0.002 -q 10.0.1.2 | tee "$tmp/many"
grep -q ' 0% packet loss' "$tmp/many"

# the router itself: near and far address, reassembling what is large
on a ping -n -c 3 -i 0.05 -W 2 10.0.0.1
on a ping -n -c 3 -i 0.05 -W 2 10.0.1.1
on b ping -n -c 3 -i 0.05 -W 2 -s 4000 10.0.1.1

stop
(($(counter route_cache.hits) > 500)) || fail "the flood did not hit the route cache"
