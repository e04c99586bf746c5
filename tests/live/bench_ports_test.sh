#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# bench forward --port: the rate without a drop over real ports, two veth pairs with the tester at their far ends;
# and what it says when there is no such rate.
. "$(dirname "$0")/_init.sh"
for i in 0 1; do
    ip -n "$tag-router" link add p$i type veth peer name t$i
    for port in p$i t$i; do
        on router ethtool -K "$port" tx off tso off gso off gro off >/dev/null 2>&1
        ip -n "$tag-router" link set "$port" arp off up
    done
done
cat >"$config" <<EOF
ip link set dev p0 up
ip link set dev p1 up
ip addr add 10.0.0.1/24 dev p0
ip addr add 10.1.0.1/24 dev p1
ip neigh add 10.1.0.2 lladdr 02:00:0a:01:00:02 dev p1 nud permanent
ip route add 11.0.0.0/16 via 10.0.0.2
ip route add 12.0.0.0/16 via 10.1.0.2
sysctl -w net.ipv4.ip_forward=1
EOF

# search OPTIONS...: one search with short trials; a percent may be lost, other programs have the cores too
search() {
    on router timeout 60 "$SLABFWD" bench forward --no-huge --config "$config" --turns 1 --seconds 0.2 --flows 100 \
        --loss 1 --json "$tmp/rates.json" --port p0=net_af_packet0,iface=p0 --port p1=net_af_packet1,iface=p1 \
        --tester t0=net_af_packet2,iface=t0 "$@"
}
search --tester t1=net_af_packet3,iface=t1
python3 - "$tmp/rates.json" <<'PY'
import json, sys
rows = {row["metric"]: row["value"] for row in json.load(open(sys.argv[1]))["rows"]}
rate, fails = rows["no_drop_mpps"], rows["fails_mpps"]
assert 0.002 < rate < 100, rows
if fails:
    assert fails > rate * 0.9, rows
    lost = rows["failed_loss"]
    assert 1 < lost <= 100, rows
    told = rows["failed_before"] + rows["failed_dropped"] + rows["failed_behind"]
    assert abs(told - lost) < 0.1, rows
PY

# No rate is without loss where the router drops them all.
echo "ip route replace blackhole 12.0.0.0/16" >>"$config"
refused search --tester t1=net_af_packet3,iface=t1
because "frames are lost at any rate: .* dropped [1-9]"
# Nobody is there to receive.
refused search
because "two ports are wanted"
