#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What cannot be done is refused at the start: a clear message, exit status not 0.
. "$(dirname "$0")/_init.sh"
null="--port p0=net_null0 --port p1=net_null1"
# start CONFIG-LINE [OPTIONS]: try to run with the two port lines and one more
start() {
    local line=$1
    shift
    printf '%s\n%s\n' "$two_ports" "$line" >"$config"
    refused on router timeout 20 "$SLABFWD" run --no-huge --config "$config" "$@"
    ! grep -qw '^ready' "$tmp/refused" || fail "got ready with: $line"
}
# bad_line LINE WORD: refused, naming the file, the line's number (6) and the word
bad_line() {
    # shellcheck disable=SC2086
    start "$1" $null
    because "$2"
    because "config"
    because "6"
}

bad_line 'frobnicate the net' frobnicate
bad_line 'ip frobnicate' frobnicate
bad_line 'ip route add 10.0.0.0/33 via 10.0.1.2' 10.0.0.0/33
bad_line 'ip route add 10.2.0.0/16 via 10.0.1.256' 10.0.1.256
bad_line 'ip route add 10.2.0.0/16 dev p9' p9
bad_line 'ip addr add 10.0.0.999/24 dev p0' 10.0.0.999
bad_line 'ip link set dev p0 mtu huge' huge
bad_line 'ip neigh add 10.0.0.9 lladdr 02:zz:00:00:00:01 dev p0' 02:zz
bad_line 'sysctl -w net.ipv4.frobnicate=1' frobnicate
bad_line 'ip route show | tee /tmp/x' '|'
bad_line 'ip addr add $ADDRESS dev p0' '\$'
bad_line 'ip addr add "10.0.0.3/24 dev p0' quot

# shellcheck disable=SC2086
refused on router timeout 20 "$SLABFWD" run --no-huge --config "$tmp/missing" $null
because missing
# shellcheck disable=SC2086
refused on router timeout 20 "$SLABFWD" run --no-huge --config "$tmp" $null
start '' --port p0=net_af_packet0,iface=nowhere --port p1=net_null1
because p0
start '' --port p0=net_nothing0 --port p1=net_null1
because p0
start '' --port p0
start '' --port p0=net_null0 --port p0=net_null1
because p0
start '' # no ports: p0 of the configuration does not exist
refused "$SLABFWD"
refused "$SLABFWD" frobnicate
refused "$SLABFWD" run
refused "$SLABFWD" run --frobnicate
refused "$SLABFWD" ctl --ctl "$tmp/nobody.sock" ip link show
because nobody.sock

# replay: files that are missing, empty, or no captures
echo "$two_ports" >"$config"
refused "$SLABFWD" replay --config "$config" --in p0="$tmp/missing.pcap" --out p1="$tmp/out.pcap"
because missing.pcap
: >"$tmp/empty.pcap"
refused "$SLABFWD" replay --config "$config" --in p0="$tmp/empty.pcap" --out p1="$tmp/out.pcap"
because empty.pcap
refused "$SLABFWD" replay --config "$config" --in p0="$config" --out p1="$tmp/out.pcap"
refused "$SLABFWD" replay --config "$config" --in p0="$top/pcaps/arp.pcap" --out p1="$tmp/no/such/folder/out.pcap"
because out.pcap
