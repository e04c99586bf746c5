#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# traceroute sees the router's near address, then the host; with UDP and with ICMP probes.
. "$(dirname "$0")/_init.sh"
two_hosts
router <<<"$two_ports"

for kind in '' -I; do
    # shellcheck disable=SC2086
    on a traceroute -n $kind -q 1 -w 2 10.0.1.2 | tee "$tmp/hops"
    grep -Eq '^ *1  10\.0\.0\.1 ' "$tmp/hops"
    grep -Eq '^ *2  10\.0\.1\.2 ' "$tmp/hops"
done
stop
