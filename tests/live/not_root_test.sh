#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Without root a port of the host's cannot be opened: said clearly. A replay needs no privilege at all.
. "$(dirname "$0")/_init.sh"
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
chmod 755 "$tmp"
mkdir -m 777 "$tmp/nobody"
"${nobody[@]}" test -x "$SLABFWD" || skip "the build folder is closed to other users"
echo "$two_ports" >"$config"
chmod 644 "$config"

export RUNTIME_DIRECTORY=$tmp/nobody
refused on router "${nobody[@]}" timeout 20 "$SLABFWD" run --no-huge --config "$config" \
    --port p0=net_af_packet0,iface=lo --port p1=net_null1
because 'p0\|root\|permi\|privilege'

"${nobody[@]}" "$SLABFWD" replay --config "$config" --in p0="$top/pcaps/udp-flows.pcap" \
    --out p1="$tmp/nobody/out.pcap" --json "$tmp/nobody/summary.json"
"$tests/balance.py" "$tmp/nobody/summary.json"
