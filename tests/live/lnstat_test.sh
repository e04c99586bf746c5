#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# iproute2's own lnstat reads /proc/net/stat/rt_cache as slabfwd prints it, and each of its columns moves for
# the packets that the kernel's documentation names, by as many as there were.
. "$(dirname "$0")/_init.sh"
command -v lnstat >/dev/null || skip "no lnstat"
# b forwards nothing: what goes to 192.0.2.0/24 ends there without an answer.
two_hosts
on a ip link set eth0 address 02:00:0a:00:00:02
on b ip link set eth0 address 02:00:0a:00:01:02
router <<<"$two_ports
ip link set dev p0 address 02:00:00:00:00:01
ip neigh add 10.0.0.2 lladdr 02:00:0a:00:00:02 dev p0
ip neigh add 10.0.1.2 lladdr 02:00:0a:00:01:02 dev p1
ip route add 192.0.2.0/24 via 10.0.1.2"

cat >"$tmp/send.py" <<'PY'
# send.py TESTS SOURCE DESTINATION.. : a UDP packet to each.
import socket, sys, time
sys.path.insert(0, sys.argv[1])
from frames import eth, ip, udp

out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
out.bind(("eth0", 0))
for dst in sys.argv[3:]:
    out.send(eth("02:00:00:00:00:01", "02:00:0a:00:00:02", ip(sys.argv[2], dst, udp(sys.argv[2], dst))))
PY
send() {
    on a python3 "$tmp/send.py" "$tests/conformance/differ" "$@"
    sleep 0.2
}

# lnstat looks under /proc/net/stat: in a namespace of mounts the router's file is there.
mkdir -p "$tmp/proc/net/stat"
now() {
    ctl cat /proc/net/stat/rt_cache >"$tmp/proc/net/stat/rt_cache"
    # Its exit status is 1 whatever it has printed.
    unshare -m sh -ec "mount --make-rprivate /; mount --bind '$tmp/proc' /proc; lnstat -j -c 1 -i 1 -f rt_cache || true"
}

# moved COLUMN=NUMBER.. -- COMMAND..: these columns move by so much (N+: at least), no other does.
moved() {
    local wanted=()
    while [[ $1 != -- ]]; do
        wanted+=("$1")
        shift
    done
    shift
    now >"$tmp/before"
    "$@" >/dev/null
    now >"$tmp/after"
    python3 - "$tmp/before" "$tmp/after" "${wanted[@]}" <<'PY' || fail "lnstat after: $*"
import json, sys
before, after = (json.load(open(name)) for name in sys.argv[1:3])
want = dict(w.split("=") for w in sys.argv[3:])
assert len(after) == 17 and set(want) <= set(after), after
wrong = []
for column in after:
    by, w = after[column] - before[column], want.get(column, "0")
    if not (by >= int(w[:-1]) if w[-1] == "+" else by == int(w)):
        wrong.append(f"{column} moved by {by}, not {w}")
print("\n".join(wrong), file=sys.stderr)
sys.exit(bool(wrong))
PY
}

r="-- send 10.0.0.2"
moved entries=1 in_slow_tot=1 $r 192.0.2.1
moved in_hit=3 $r 192.0.2.1 192.0.2.1 192.0.2.1
moved in_no_route=2 entries=0+ in_slow_tot=0 out_slow_tot=1+ out_hit=0+ in_hlist_search=0+ out_hlist_search=0+ \
    $r 198.51.100.1 198.51.100.2
moved in_martian_dst=1 $r 127.0.0.5
moved in_martian_src=1 -- send 127.0.0.1 192.0.2.1
moved in_brd=1 in_slow_tot=1 entries=0+ $r 10.0.0.255
moved in_slow_mc=1 entries=0+ $r 224.0.0.1

# What the router sends itself: the first by the tables, the others by the cache.
moved out_slow_tot=1+ out_hit=2+ entries=1+ in_slow_tot=1+ in_hit=1+ in_hlist_search=0+ out_hlist_search=0+ \
    -- ctl ping -c 4 -i 0.05 10.0.1.2

# Collection, by the kernel's rule.
ctl sysctl -qw net.ipv4.route.admission=0
ctl sysctl -qw net.ipv4.route.gc_min_interval_ms=500
ctl sysctl -qw net.ipv4.route.gc_thresh=16
ctl sysctl -qw net.ipv4.route.max_size=64
flows() {
    local i list=()
    for i in $(seq "$1" "$2"); do list+=("192.0.2.$i"); done
    send 10.0.0.2 "${list[@]}"
}
moved gc_total=1+ gc_ignored=1+ gc_goal_miss=1+ gc_dst_overflow=1+ entries=20+ in_slow_tot=100 out_slow_tot=0+ \
    out_hit=0+ in_hit=0+ in_hlist_search=0+ -- flows 101 200
stop
