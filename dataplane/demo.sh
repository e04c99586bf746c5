#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# See slabfwd at work on a fresh Debian 12 (as root the first time: it installs packages):
# builds it, replays the captures of pcaps/ through a two-port router and shows what happened.
# The output captures stay in build/demo.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$top/tests/lib.sh"
cd "$top"
out=build/demo
bold=$'\e[1m' plain=$'\e[0m'
[[ -t 1 ]] || bold='' plain=''
title() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }

tests/packages.sh build
mkdir -p "$out"
title "building (log in $out/build.log)"
{ cmake --preset release && cmake --build --preset release --target slabfwd; } >"$out/build.log" 2>&1 ||
    { tail -n 30 "$out/build.log"; exit 1; }
slabfwd=$(slabfwd_of build/release)
export RUNTIME_DIRECTORY=$top/$out

title "a router with two ports (pcaps/router.conf)"
grep -v '^#' pcaps/router.conf

title "256 packets of 64 flows, and their answers, through it"
"$slabfwd" replay --config pcaps/router.conf \
    --in p0=pcaps/udp-flows.pcap --in p1=pcaps/udp-replies.pcapng \
    --out p0="$out/p0.pcap" --out p1="$out/p1.pcap"

title "the first packets out of p1, as tshark reads them (ARP first, MACs and TTL changed)"
tshark -n -r "$out/p1.pcap" -c 8 -T fields -e frame.number -e eth.src -e eth.dst -e ip.src -e ip.dst -e ip.ttl \
    -e _ws.col.Info 2>/dev/null

title "one packet's walk, function by function"
"$slabfwd" replay --config pcaps/router.conf --in p0=pcaps/udp-flows.pcap --out p1="$out/trace.pcap" \
    --trace 1 --limit 1

title "every capture of pcaps/: frames in and out, and why the others were dropped"
printf '%-20s %6s %6s  %s\n' capture in out drops
for capture in pcaps/*.pcap pcaps/*.pcap.gz pcaps/*.pcapng; do
    name=$(basename "$capture")
    port=p0
    [[ $name != udp-replies* ]] || port=p1
    "$slabfwd" replay --config pcaps/router.conf --in "$port=$capture" --out p0="$out/$name.p0.pcap" \
        --out p1="$out/$name.p1.pcap" --drops "$out/$name.drops.pcapng" --json "$out/summary.json" >/dev/null
    tests/balance.py "$out/summary.json"
    python3 - "$name" "$out/summary.json" <<'PY'
import json, sys
name, file = sys.argv[1:]
summary = json.load(open(file))
ports = summary["ports"].values()
drops = ", ".join(f"{count} {reason}" for reason, count in sorted(summary["drops"].items()) if count)
print(f"{name:20} {sum(p['rx_packets'] for p in ports):6} {sum(p['tx_packets'] for p in ports):6}  {drops}")
PY
    for port in p0 p1; do
        tshark -n -r "$out/$name.$port.pcap" >/dev/null 2>"$out/tshark.log" || { cat "$out/tshark.log"; exit 1; }
    done
done
echo
echo "tshark read every output without an error; they are in $out, the dropped packets beside them in *.drops.pcapng."
