#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# log_martians: packets with impossible addresses are told in the kernel's words. The same frames go to a namespace
# whose kernel is the router and to slabfwd; the lines of the kernel's log and of ours are equal.
. "$(dirname "$0")/_init.sh"
. "$(dirname "$0")/_kernel.sh"

host a p0 10.0.0.2/24
host b p1 10.0.1.2/24
kernel_router

settings="ip link set dev lo up
ip link set dev p0 up address 02:00:00:00:00:01
ip link set dev p1 up address 02:00:00:00:00:02
ip addr add 10.0.0.1/24 dev p0
ip addr add 10.0.1.1/24 dev p1
ip neigh add 10.0.0.2 lladdr 02:00:0a:00:00:02 dev p0 nud permanent
ip neigh add 10.0.1.2 lladdr 02:00:0a:00:01:02 dev p1 nud permanent
sysctl -w net.ipv4.ip_forward=1
sysctl -w net.ipv4.conf.all.log_martians=1
sysctl -w net.ipv4.conf.all.rp_filter=1"

# Fewer lines than a rate limit lets pass.
cat >"$tmp/send.py" <<'PY'
import socket, sys, time
sys.path.insert(0, sys.argv[1])
from frames import eth, ip, udp

out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
out.bind(("eth0", 0))
for src, dst in (("10.0.1.7", "10.0.0.1"), ("10.0.0.1", "10.0.1.2"), ("127.0.0.1", "10.0.1.2"),
                 ("224.0.0.9", "10.0.1.2"), ("10.0.0.2", "0.0.0.0"), ("10.0.0.2", "127.0.0.1")):
    out.send(eth("02:00:00:00:00:01", "02:00:0a:00:00:02", ip(src, dst, udp(src, dst))))
    time.sleep(0.02)
PY
lines() {
    sed -n 's/^<[0-9]*>\[[^]]*\] //; s/^<[0-9]*>//; /martian\|ll header/p'
}

on kernel sh -e <<<"$settings" >/dev/null
kernel_says "$tmp/kernel" on k0 python3 "$tmp/send.py" "$tests/conformance/differ"
router <<<"$settings"
on a python3 "$tmp/send.py" "$tests/conformance/differ"
sleep 0.3
lines <"$log" >"$tmp/ours"
stop
diff -u "$tmp/kernel" "$tmp/ours" || fail "not the kernel's lines"
