#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# LOG says what the kernel's LOG says: the same frames through the same rules, in a namespace whose kernel is the
# router and through slabfwd; the lines of the kernel's log and of ours are equal, word for word, and so are the
# counters of all rules. The kernel logs for a namespace only when net.netfilter.nf_log_all_netns allows it.
. "$(dirname "$0")/_init.sh"
. "$(dirname "$0")/_kernel.sh"
allow=/proc/sys/net/netfilter/nf_log_all_netns
allowed=$(cat "$allow" 2>/dev/null) || not_here "needs a kernel with nf_log"
before_log_test() {
    local status=$?
    set +e
    echo "$allowed" >"$allow"
    (exit "$status")
    cleanup
}
{ trap before_log_test EXIT && echo 1 >"$allow"; } 2>/dev/null || not_here "needs to set $allow"

host a p0 10.0.0.2/24
host b p1 10.0.1.2/24
kernel_router

prefix=$tag-log
all="--log-ip-options --log-tcp-options --log-tcp-sequence"
rules="ip link set dev lo up
ip link set dev p0 up address 02:00:00:00:00:01
ip link set dev p1 up address 02:00:00:00:00:02
ip addr add 10.0.0.1/24 dev p0
ip addr add 10.0.1.1/24 dev p1
ip route add 10.0.2.0/24 via 10.0.1.2
ip neigh add 10.0.0.2 lladdr 02:00:0a:00:00:02 dev p0 nud permanent
ip neigh add 10.0.1.2 lladdr 02:00:0a:00:01:02 dev p1 nud permanent
sysctl -w net.ipv4.ip_forward=1
iptables -t raw -A PREROUTING -j LOG --log-prefix '$prefix raw '
iptables -t mangle -A PREROUTING -j LOG --log-prefix '$prefix pre ' --log-level notice --log-macdecode $all
iptables -t mangle -A FORWARD -j LOG --log-prefix '$prefix fwd:' --log-level 7 --log-ip-options
iptables -t mangle -A FORWARD -j MARK --set-mark 0x2f
iptables -A FORWARD -j LOG --log-prefix '$prefix' --log-tcp-sequence
iptables -t mangle -A POSTROUTING -j LOG --log-prefix '$prefix post ' --log-level info --log-tcp-options
iptables -N seen
iptables -N back
iptables -A FORWARD -p tcp -j seen
iptables -A FORWARD -p udp -g seen
iptables -A FORWARD -j ACCEPT
iptables -P FORWARD DROP
iptables -A seen -p tcp --syn -j RETURN
iptables -A seen -j back
iptables -A seen -f -j ACCEPT
iptables -A seen -d 10.0.1.2 -j ACCEPT
iptables -A back -m length --length 0:30 -j RETURN
iptables -A back -p udp -m statistic --mode nth --every 2 --packet 0 -j RETURN
iptables -A back
iptables -A INPUT -j LOG --log-prefix '$prefix in ' --log-level debug --log-macdecode
iptables -A INPUT -d 10.0.1.1 -p udp -j DROP
iptables -A OUTPUT -j LOG --log-prefix '$prefix out ' --log-uid $all"

# Kinds of packets, each to a host behind the router and to the router itself.
cat >"$tmp/send.py" <<'PY'
import socket, struct, sys, time
sys.path.insert(0, sys.argv[1])
from frames import echo, eth, fragments, icmp, ip, tcp, udp

def packets(dst, src="10.0.0.2"):
    quoted = ip(dst, "198.51.100.7", udp(dst, "198.51.100.7"), opts=b"\x07\x07\x04" + bytes(5))
    mss = b"\x02\x04\x05\xb4\x01\x03\x03\x07\x04\x02\x08\x0a" + bytes(8)
    def unreach(kind, code, rest=bytes(4), inner=quoted):
        return ip(src, dst, icmp(kind, code, rest, inner), 1, 64)
    yield ip(src, dst, tcp(src, dst, 1024, 80, 0x12345678, flags=2, opts=mss), 6, 64, tos=0xb9, ident=0, frag=0x4000)
    yield ip(src, dst, tcp(src, dst, 65535, 1, 7, 0xfffffffe, flags=0xff, window=0), 6, 2)
    yield ip(src, dst, tcp(src, dst, flags=0, off=15), 6, 64)
    yield ip(src, dst, tcp(src, dst)[:12], 6, 64)
    yield ip(src, dst, udp(src, dst, 68, 67, b""), 17, 64, tos=0xff, ident=0xffff, frag=0x8000)
    yield ip(src, dst, udp(src, dst, length=9999), 17, 64)
    yield ip(src, dst, b"\0\x35\0\x35", 17, 64)
    yield ip(src, dst, udp(src, dst), 136, 64)
    yield ip(src, dst, echo(4660, 43981), 1, 64)
    yield ip(src, dst, echo(1, 2, kind=0), 1, 64)
    for kind in (13, 14, 17, 18, 9, 10, 15, 30, 255):
        yield ip(src, dst, icmp(kind, 0, bytes(range(4)), bytes(16)), 1, 64)
    yield ip(src, dst, icmp(13, 0, bytes(4)), 1, 64)
    yield ip(src, dst, icmp(8)[:3], 1, 64)
    yield unreach(3, 1)
    yield unreach(3, 4, struct.pack("!HH", 0, 1400))
    yield unreach(3, 3, inner=ip(dst, src, tcp(dst, src, opts=mss), 6))
    yield unreach(3, 3, inner=ip(dst, src, tcp(dst, src), 6)[:28])
    yield unreach(3, 3, inner=ip(dst, src, echo(), 1))
    yield unreach(3, 3, inner=ip(dst, src, icmp(3, 0, bytes(4), quoted), 1))
    yield unreach(3, 3, inner=ip(dst, src, udp(dst, src), 17, frag=0x2005))
    yield unreach(3, 3, inner=quoted[:20])
    yield unreach(3, 3, inner=b"\x45")
    yield unreach(4, 0)
    yield unreach(5, 1, bytes((10, 0, 0, 254)))
    yield unreach(11, 0)
    yield unreach(12, 0, b"\x14\0\0\0")
    yield ip(src, dst, b"\0\0\0\1\0\0\0\2" + bytes(16), 51, 64)
    yield ip(src, dst, bytes(7), 51, 64)
    yield ip(src, dst, b"\xde\xad\xbe\xef" + bytes(12), 50, 64)
    yield ip(src, dst, bytes(3), 50, 64)
    yield ip(src, dst, bytes(8), 253, 64)
    yield ip(src, dst, b"", 4, 64)
    yield ip(src, dst, udp(src, dst), 17, 64, opts=b"\x07\x0b\x04" + bytes(9))
    yield ip(src, dst, tcp(src, dst), 6, 64, opts=b"\x94\x04\0\0\x44\x0c\x05\x03\xc0\0\x02\x01" + bytes(4))
    yield ip(src, dst, udp(src, dst), 17, 1)
    yield from fragments(ip(src, dst, udp(src, dst, data=bytes(40)), 17, 64, ident=77), [24, 16])

out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
out.bind(("eth0", 0))
for dst in ("10.0.1.2", "10.0.2.9", "10.0.0.1", "10.0.1.1", "10.9.9.9", "10.0.0.255", "224.0.0.1"):
    for packet in packets(dst):
        out.send(eth("02:00:00:00:00:01", "02:00:0a:00:00:02", packet))
        time.sleep(0.004)
PY

# What differs by nature: the time, and what a router chooses as id of packets of its own. slabfwd has several
# packets of a burst pass a hook before the next one, so that the order is that of a hook's lines.
lines() {
    sed -n "s/^\(<[0-9]*>\)\[[^]]*\] /\1/; /$prefix/p" | sed '/IN= /s/ ID=[0-9]* / ID=x /' >"$tmp/all"
    for hook in ' raw' ' pre' ' fwd' IN ' post' ' in' ' out'; do grep "$prefix$hook" "$tmp/all"; done
}

# Counters of all rules, by the tools of `$@`: after the frames, and after some were set to zero.
# Policies are left out: nf_tables does not count them.
counters() {
    local table zero
    for zero in '-L INPUT 1' '-Z seen 2' '-Z back'; do
        # shellcheck disable=SC2086 # words
        "$@" iptables $zero >/dev/null
        for table in raw mangle filter; do "$@" iptables-save -c -t "$table" | grep '^\['; done
    done
}

on kernel sh -e <<<"$rules" >/dev/null
kernel_says "$tmp/kernel" on k0 python3 "$tmp/send.py" "$tests/conformance/differ"
counters on kernel >"$tmp/kernel.counters"

router <<<"$rules"
on a python3 "$tmp/send.py" "$tests/conformance/differ"
sleep 0.2
lines <"$log" >"$tmp/ours"
counters ctl >"$tmp/counters"
stop
same() {
    diff -u "$1" "$2" >"$tmp/difference" || fail "$3: $(grep '^[-+]' "$tmp/difference" | sed -n 1,20p)"
}
same "$tmp/kernel" "$tmp/ours" "not the kernel's lines"
same "$tmp/kernel.counters" "$tmp/counters" "not counted alike"
echo "$(wc -l <"$tmp/ours") lines equal"
