#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Flows spread in software: af_packet ports with one receive queue, two workers. Both forward, nothing is lost.
. "$(dirname "$0")/_init.sh"
(($(nproc) >= 2)) || skip "needs two cores"
two_hosts
router --cores 0,1 --rps <<<"$two_ports"
for i in {3..18}; do
    ip -n "$tag-b" addr add 10.0.1.$i/24 dev eth0
done
on b iperf3 -s -1 -D -p 5201
eventually 10 listens b 5201
for i in {2..18}; do
    on a ping -n -c 20 -i 0.01 -q 10.0.1.$i >/dev/null &
    pings+=($!)
done
wait "${pings[@]}"
on a iperf3 -c 10.0.1.2 -p 5201 -t 1 -P 2 >/dev/null
on a ping -n -c 2 -i 0.05 -W 2 -s 4000 10.0.1.3
# A row of hexadecimal numbers for each worker, in_hit second: what each forwarded from its own cache.
ctl cat /proc/net/stat/rt_cache >"$tmp/rt_cache"
for row in 2 3; do
    hits=$((16#$(sed -n "${row}p" "$tmp/rt_cache" | awk '{print $2}')))
    echo "worker $((row - 2)): $hits hits"
    ((hits > 50)) || fail "the flows are not spread: $(cat "$tmp/rt_cache")"
done
stop
