#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A route cache far too small for the flows: every packet still gets through, the cache stays small.
. "$(dirname "$0")/_init.sh"
two_hosts
on b ip route add local 198.18.0.0/24 dev lo

# ping_all COUNT: sixty flows of COUNT packets each way through a cache of 16 entries
ping_all() {
    router <<<"$two_ports
ip route add 198.18.0.0/24 via 10.0.1.2
sysctl -w net.ipv4.route.gc_thresh=4
sysctl -w net.ipv4.route.max_size=16
sysctl -w net.ipv4.route.gc_elasticity=1"
    local last
    for last in $(seq 1 60); do
        on a ping -n -c "$1" -i 0.02 -W 2 -q "198.18.0.$last" >/dev/null || fail "198.18.0.$last did not answer"
    done
    ctl slabinfo | awk '$1 == "ip_dst_cache" { print "ip_dst_cache:", $2 }'
    ctl slabinfo | awk '$1 == "ip_dst_cache" && $2 > 32 { exit 1 }' || fail "the cache outgrew max_size"
    stop
}
# Flows that come back enter, and others go for them.
ping_all 3
(($(counter route_cache.allocated) > 60)) || fail "flows that repeat were not admitted"
(($(counter route_cache.collected) > 20)) || fail "nothing was collected"
# Flows of one packet share the next hop's entry.
ping_all 1
(($(counter route_cache.allocated) < 60)) || fail "flows of one packet were admitted"
