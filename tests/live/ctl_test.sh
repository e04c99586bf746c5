#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The same commands at run time: what they change is seen by traffic, what they cannot do changes nothing.
. "$(dirname "$0")/_init.sh"
two_hosts
on b ip addr add 192.0.2.7/32 dev lo
router <<<"$two_ports"

# routes
no_answer a 192.0.2.7 'Net Unreachable'
ctl ip route add 192.0.2.0/24 via 10.0.1.2
on a ping -n -c 1 -W 2 192.0.2.7
shows '^192\.0\.2\.0/24 via 10\.0\.1\.2 dev p1' ip route show
shows 'via 10\.0\.1\.2 dev p1' ip route get 192.0.2.7 from 10.0.0.2 iif p0
refused ctl ip route add 192.0.2.0/24 via 10.0.1.2
because 'File exists'
ctl ip route replace prohibit 192.0.2.7
no_answer a 192.0.2.7 'Packet filtered'
ctl ip route del 192.0.2.7
on a ping -n -c 1 -W 2 192.0.2.7
ctl ip route del 192.0.2.0/24
sleep 2 # a router sends few errors to one host
no_answer a 192.0.2.7 'Net Unreachable'
refused ctl ip route del 192.0.2.0/24
because 'No such process'
ctl ip r a 198.51.100.0/24 via 10.0.1.2 # abbreviated as iproute2 allows

# links and addresses
shows '^[0-9]+: p0: <.*UP' ip link show
shows 'RX: ' ip -s link show dev p1
shows 'inet 10\.0\.0\.1/24' ip addr show
ctl ip -j route show | python3 -m json.tool >/dev/null
ctl ip link set dev p1 down
no_answer a 10.0.1.2
ctl ip link set dev p1 up
on a ping -n -c 1 -W 2 10.0.1.2

# tunables
ctl sysctl -w net.ipv4.ip_forward=0
no_answer a 10.0.1.2
ctl sysctl -w net.ipv4.ip_forward=1
on a ping -n -c 1 -W 2 10.0.1.2
shows '^net.ipv4.ip_forward = 1$' sysctl net.ipv4.ip_forward

# what cannot be carried out changes nothing
ctl ip route show >"$tmp/before"
refused ctl frobnicate
because 'frobnicate'
refused ctl ip frobnicate
because 'frobnicate'
refused ctl ip route add 10.0.0.0/33 via 10.0.1.2
because '10.0.0.0/33'
refused ctl ip route add 300.0.0.0/8 via 10.0.1.2
because '300.0.0.0/8'
refused ctl ip route add 203.0.113.0/24 via 10.9.9.9
because 'unreachable\|invalid gateway'
refused ctl ip route add 203.0.113.0/24 dev p7
because 'p7'
refused ctl ip route add 203.0.113.0/24 via 10.0.1.2 frobnicate 7
because 'frobnicate'
refused ctl sysctl -w net.ipv4.frobnicate=1
because 'frobnicate'
refused ctl sysctl -w net.ipv4.ip_forward=many
refused ctl ip link set dev p0 mtu 7
ctl ip route show | diff "$tmp/before" -
stop
