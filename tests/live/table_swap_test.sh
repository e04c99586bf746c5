#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The filter table is replaced again and again by iptables-restore while packets pass: every generation accepts
# them, its policy would drop them. None is lost, and what counts them in the meantime counts each once.
. "$(dirname "$0")/_init.sh"
two_hosts
router <<<"$two_ports
iptables -P FORWARD DROP
iptables -A FORWARD -j ACCEPT
iptables -t raw -A PREROUTING -p udp --dport 9
iptables -t mangle -A POSTROUTING -p udp --dport 9"
on a ping -n -c 1 -W 2 10.0.1.2

for size in 1 40 400; do
    {
        echo "*filter"
        echo ":FORWARD DROP [0:0]"
        for ((i = 1; i < size; ++i)); do echo "-A FORWARD -s 192.0.2.$((i % 250)) -p udp --dport $i -j DROP"; done
        echo "-A FORWARD -p udp --dport 9 -j ACCEPT"
        echo "COMMIT"
    } >"$tmp/table$size"
done

on b python3 - >"$tmp/received" <<'PY' &
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind(("", 9))
s.settimeout(20)
seen = set()
while True:
    data = s.recv(100)
    if data == b"end":
        break
    seen.add(int(data))
print(len(seen))
PY
receiver=$!
eventually 10 eval '[[ -n $(on b ss -Hlun "sport = 9") ]]'
on a python3 - <<'PY' &
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("10.0.1.2", 9))
for i in range(10000):
    s.send(b"%d" % i)
    if i % 20 == 19:
        time.sleep(0.005)
PY
sender=$!
swaps=0
while kill -0 "$sender" 2>/dev/null; do
    for size in 1 40 400; do
        ctl iptables-restore "$tmp/table$size"
        swaps=$((swaps + 1))
    done
done
wait "$sender"
on a python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"end", ("10.0.1.2", 9))'
wait "$receiver"
((swaps >= 6)) || fail "only $swaps swaps"
[[ $(cat "$tmp/received") == 10000 ]] || fail "$(cat "$tmp/received") of 10000 arrived over $swaps swaps"
shows '^-A PREROUTING -p udp -m udp --dport 9 -c 10001 ' iptables -t raw -vS PREROUTING
shows '^-A POSTROUTING -p udp -m udp --dport 9 -c 10001 ' iptables -t mangle -vS POSTROUTING
stop
[[ $(counter drops.NETFILTER_DROP) == 0 ]] || fail "the policy was met"
