#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# ctl ping sends from the router itself and prints as ping does.
. "$(dirname "$0")/_init.sh"
two_hosts
router <<<"$two_ports"

ctl ping -c 3 -i 0.1 10.0.1.2 | tee "$tmp/out"
grep -Eq '^64 bytes from 10\.0\.1\.2: icmp_seq=1 ttl=64 time=' "$tmp/out"
grep -Eq '^3 packets transmitted, 3 received, 0% packet loss' "$tmp/out"
ctl ping -c 1 -I 10.0.0.1 10.0.1.2 >"$tmp/out" || true # b knows the way back to 10.0.0.1
grep -q ' 1 received' "$tmp/out"
! ctl ping -c 1 -W 1 10.0.1.99 || fail "an answer from nobody"
refused ctl ping -c 1 nowhere
refused ctl ping -c 1 203.0.113.1
because 'unreachable'
stop
