#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
#
# corpus.py FOLDER: writes the seeds of every fuzz target to FOLDER/TARGET/. Lines come from tests/fuzz/lines and
# from the rules that are compared with the real iptables, a few lines a seed; packets and tables are
# made here; captures are those of pcaps/. What was found once is in tests/fuzz/findings.
import pathlib
import struct
import sys

here = pathlib.Path(__file__).resolve().parent
top = here.parent.parent
out = pathlib.Path(sys.argv[1])


def write(target, name, data):
    folder = out / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def write_lines(target, path, at_once):
    lines = [l for l in path.read_text().splitlines() if l and not l.startswith("#")]
    for i in range(0, len(lines), at_once):
        write(target, f"{path.stem}{i:03}", "\n".join(lines[i:i + at_once]).encode())


def checksum(data):
    data += b"\0" * (len(data) % 2)
    s = sum(struct.unpack(f"!{len(data) // 2}H", data))
    s = (s & 0xffff) + (s >> 16)
    return ~((s & 0xffff) + (s >> 16)) & 0xffff


def packet(proto, payload, dst="10.0.1.2", options=b"", ttl=64, tos=0, frag=0, src="10.0.0.2"):
    options += b"\0" * (-len(options) % 4)
    address = lambda a: bytes(map(int, a.split(".")))
    head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, tos, 20 + len(options) + len(payload), 7, frag, ttl,
                       proto, 0) + address(src) + address(dst) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def icmp(kind, code, rest, data=b""):
    m = struct.pack("!BBHI", kind, code, 0, rest) + data
    return m[:2] + struct.pack("!H", checksum(m)) + m[4:]


def packets():
    udp = struct.pack("!HHHH", 5, 53, 16, 0) + b"8 octets"
    syn = struct.pack("!HHIIBBHHH", 1000, 23, 1, 0, 0x70, 2, 1024, 0, 0) + bytes([2, 4, 5, 0xb4, 1, 1, 1, 0])
    quoted = packet(17, udp, src="10.0.0.1", dst="10.0.0.2")
    yield packet(17, udp)
    yield packet(6, syn)
    yield packet(6, syn, dst="10.0.0.1")
    yield packet(1, icmp(8, 0, 1, b"ping"), dst="10.0.0.1")
    yield packet(1, icmp(13, 0, 1, b"\0" * 12), dst="10.0.0.1")
    yield packet(1, icmp(3, 4, 576, quoted), dst="10.0.0.1")
    yield packet(1, icmp(5, 1, 0x0a000003, quoted), dst="10.0.0.1")
    yield packet(1, icmp(3, 1, 0, quoted))
    yield packet(17, udp, options=bytes([7, 11, 4] + [0] * 8))
    yield packet(17, udp, options=bytes([68, 12, 5, 1] + [0] * 8))
    yield packet(17, udp, options=bytes([131, 7, 4, 10, 0, 1, 3]), dst="10.0.0.1")
    yield packet(17, udp, options=bytes([137, 7, 4, 10, 0, 1, 3]), dst="10.0.0.1")
    yield packet(17, udp, options=bytes([148, 4, 0, 0]))
    yield packet(17, udp, frag=0x2000, dst="10.0.0.1")
    yield packet(17, b"8 octets", frag=2, dst="10.0.0.1")
    yield packet(17, udp + b"x" * 1200)
    yield packet(17, udp, ttl=1)
    yield packet(17, udp, tos=4)
    yield packet(17, udp, dst="10.0.0.255")
    yield packet(17, udp, dst="224.0.0.1")
    yield packet(51, b"\0" * 12, dst="172.16.1.1")


def frame(data, switches):
    return struct.pack("<HB", len(data), switches) + data


TABLES = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [12:3400]
:OUTPUT ACCEPT [0:0]
:user - [0:0]
[3:180] -A FORWARD -s 10.0.0.0/8 -p tcp -m tcp --dport 80 -m comment --comment "a \\"b\\"" -j user
-A FORWARD -p icmp -m icmp --icmp-type 3/1 -j REJECT --reject-with icmp-host-unreachable
-A user -m limit --limit 5/sec -j LOG --log-prefix "x y "
-A user -g user2
COMMIT
# a comment
*mangle
-A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-I FORWARD 1 -j MARK --set-xmark 0x1/0xff
COMMIT
*raw
:PREROUTING ACCEPT
-A PREROUTING -j CT --notrack
COMMIT
"""

write_lines("ip_lines", here / "lines" / "ip.txt", 5)
write_lines("sysctl_lines", here / "lines" / "sysctl.txt", 3)
for name in ("iptables_rules.txt", "iptables_mistakes.txt"):
    write_lines("iptables_lines", top / "tests/dataplane/control" / name, 4)
write("iptables_restore", "all", b"\0" + TABLES.replace("-A user -g user2\n", "").encode())
write("iptables_restore", "counters", b"\2" + TABLES.encode())
for n, table in enumerate(TABLES.split("COMMIT\n")):
    write("iptables_restore", f"table{n}", b"\3" + table.encode() + b"COMMIT\n")
rules = (top / "tests/dataplane/control/iptables_rules.txt").read_text().splitlines()
for i in range(0, len(rules), 6):
    lines = "\n".join(r for r in rules[i:i + 6] if not r.startswith("-t"))
    write("iptables_restore", f"rules{i:03}", f"\1*filter\n:u1 - [0:0]\n{lines}\nCOMMIT\n".encode())
for n, p in enumerate(packets()):
    write("ip_packets", f"packet{n:02}", frame(p, 0))
    write("ip_packets", f"chained{n:02}", frame(p, 2) + frame(p, 9))
for path in sorted(here.glob("findings/*/*")): # what the fuzzers found once
    write(path.parent.name, "found_" + path.name, path.read_bytes())
for path in sorted((top / "pcaps").iterdir()):
    if path.suffix in (".pcap", ".pcapng", ".gz") and path.stat().st_size < 20000:
        write("capture_reader", path.name, path.read_bytes())
for magic in (0xa1b2c3d4, 0xa1b23c4d):
    head = struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    write("capture_reader", f"pcap{magic:x}", head + struct.pack("<IIII", 1, 2, 4, 60) + b"abcd")
