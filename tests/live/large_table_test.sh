#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Routes by the hundred thousand while packets pass: loaded from a file, shown, both interrupted on their way.
. "$(dirname "$0")/_init.sh"
two_hosts
on b ip addr add 20.0.0.1/32 dev lo
router <<<"$two_ports"

routes=100000
python3 - $routes >"$tmp/routes" <<'PY'
import sys
for i in range(int(sys.argv[1])):
    print(f"ip route add {20 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/24 via 10.0.1.2")
PY
shown() { ctl ip route show | grep -c '^2[0-9]\.' || true; }

# Killed in the midst of the load: what was sent is in, the rest is not, and the router lives on.
ctl -force -batch "$tmp/routes" &
loader=$!
some_are_in() { (($(shown) > 100)); }
eventually 20 some_are_in
kill -KILL "$(ps -o pid= --ppid $loader | tail -n 1 || true)" $loader 2>/dev/null || true
wait $loader || true
on a ping -n -c 1 -W 2 20.0.0.1

# The whole of it, with those that are there already counted as errors but no reason to stop.
ctl -force -batch "$tmp/routes" >/dev/null 2>&1 || true
((($(shown)) == routes)) || fail "$(shown) routes of $routes"

# A reader that has seen enough, and one that is killed.
(ctl ip route show || true) 2>/dev/null | head -n 3 >"$tmp/first"
(($(wc -l <"$tmp/first") == 3)) || fail "nothing was shown"
ctl ip route show >"$tmp/part" &
reader=$!
sleep 0.05
kill -KILL $reader 2>/dev/null || true
wait $reader 2>/dev/null || true
on a ping -n -c 3 -i 0.1 -W 2 20.0.0.1
((($(shown)) == routes)) || fail "$(shown) routes after interrupted readers"

# Away again, as fast.
sed 's/^ip route add/ip route del/' "$tmp/routes" >"$tmp/gone"
ctl -batch "$tmp/gone"
((($(shown)) == 0)) || fail "routes are left"
on a ping -n -c 1 -W 2 10.0.1.2
stop INT
