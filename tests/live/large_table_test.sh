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

# The slabfwd ctl that a background job of ctl has become.
ctl_of() {
    local name
    name=$(basename "$SLABFWD")
    pgrep -x -P "$1" "$name" || pgrep -P "$1" | xargs -r -n 1 pgrep -x "$name" -P
}
ended() {
    local pid=$1
    kill -KILL "$pid"
    eventually 5 gone "$pid"
}
gone() { ! kill -0 "$1" 2>/dev/null; }

# Killed in the midst of the load, between two lines and with a line half sent: what was sent is in, the rest
# is not, and the router lives on.
mkfifo "$tmp/lines"
{ ctl -force -batch - <"$tmp/lines" >/dev/null 2>&1 || true; } &
job=$!
exec 5>"$tmp/lines"
head -n 40000 "$tmp/routes" >&5
printf 'ip route add 29.0.0.0/24 via 10.' >&5
some_are_in() { (($(shown) > 100)); }
eventually 20 some_are_in
ended "$(ctl_of $job)"
wait $job 2>/dev/null || true
exec 5>&-
in=$(shown)
((in > 100 && in <= 40000)) || fail "$in routes are in after 40000 were sent"
((in == $(ctl ip route show | grep -cF -f <(head -n "$in" "$tmp/routes" | awk '{ print $4 " " }')))) ||
    fail "those that are in are not the first $in"
on a ping -n -c 1 -W 2 20.0.0.1

# The whole of it, with those that are there already counted as errors but no reason to stop.
ctl -force -batch "$tmp/routes" >/dev/null 2>&1 || true
((($(shown)) == routes)) || fail "$(shown) routes of $routes"

# A reader that has seen enough.
(ctl ip route show || true) 2>/dev/null | head -n 3 >"$tmp/first"
(($(wc -l <"$tmp/first") == 3)) || fail "nothing was shown"

# One that stops reading in the midst keeps nobody waiting, and is killed there.
mkfifo "$tmp/part"
{ ctl ip route show >"$tmp/part" 2>/dev/null || true; } &
job=$!
exec 6<"$tmp/part"
read -r -u 6 line
[[ $line == *via* || $line == *dev* ]] || fail "the first line is: $line"
sleep 0.3
reader=$(ctl_of $job)
kill -0 "$reader" || fail "all of it went into a pipe that nobody reads"
on a ping -n -c 3 -i 0.1 -W 2 20.0.0.1
ctl ip route add 30.0.0.0/24 via 10.0.1.2
ctl ip route del 30.0.0.0/24 via 10.0.1.2
ended "$reader"
wait $job 2>/dev/null || true
exec 6<&-
((($(shown)) == routes)) || fail "$(shown) routes after interrupted readers"

# Away again, as fast.
sed 's/^ip route add/ip route del/' "$tmp/routes" >"$tmp/gone"
ctl -batch "$tmp/gone"
((($(shown)) == 0)) || fail "routes are left"
on a ping -n -c 1 -W 2 10.0.1.2
stop INT
