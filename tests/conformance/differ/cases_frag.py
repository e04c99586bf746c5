# SPDX-License-Identifier: BSD-3-Clause
"""Fragments and mtu; IP options; redirects."""

import itertools
import struct

from case import Case, family, mac_of, own_mac
from frames import aton, echo, eth, fragments, icmp, ip, tcp, udp

NO_COST = "sysctl -w net.ipv4.icmp_ratemask=0"
H2 = mac_of("10.0.0.2")


def cut(case, size, sizes, order=None, dst="10.0.0.1", proto=1, ident=9, drop=(), twice=(), src="10.0.0.2", **header):
    payload = echo(data=bytes(i * 7 & 255 for i in range(size))) if proto == 1 else udp(src, dst, data=bytes(size))
    pieces = fragments(ip(src, dst, payload, proto, ident=ident, **header), sizes)
    for i in order or range(len(pieces)):
        if i not in drop:
            for _ in range(1 + (i in twice)):
                case.packet(pieces[i])
    return case


@family("frag")
def reassembly():
    case = Case("orders", settle=5, fast=True)
    for i, order in enumerate(itertools.permutations(range(4))):
        cut(case, 2000, [504, 504, 504], order, ident=i + 1)
    for i, order in enumerate(itertools.permutations(range(3))):
        cut(case, 2000, [504, 1000], order, ident=100 + i, twice=(0,))
        cut(case, 2000, [504, 1000], order, ident=200 + i, twice=(1,))
        cut(case, 2000, [504, 1000], order, ident=300 + i, twice=(2,))
    yield case.alive()
    case = Case("overlaps", settle=5, fast=True)
    data = echo(data=bytes(range(200)))
    ident = 1000
    for a, b in ((0, 100), (8, 64), (16, 8), (96, 16), (88, 24), (104, 8), (0, 16), (96, 8)):
        for first in (0, 1):
            ident += 1
            head = ip("10.0.0.2", "10.0.0.1", data[:104], 1, ident=ident, frag=0x2000)
            extra = ip("10.0.0.2", "10.0.0.1", data[a:a + b // 8 * 8], 1, ident=ident, frag=0x2000 | a // 8)
            tail = ip("10.0.0.2", "10.0.0.1", data[104:], 1, ident=ident, frag=13)
            for packet in ((head, extra, tail) if first else (extra, head, tail)):
                case.packet(packet)
            case.packet(head).packet(tail)
    yield case.alive()
    case = Case("ends", settle=5, fast=True)
    for ident, (pieces) in enumerate((
            ((0, 16, 1), (2, 8, 0), (3, 8, 0)), ((0, 16, 1), (2, 8, 0), (2, 16, 0)),
                ((2, 8, 0), (3, 8, 1), (0, 16, 1)), ((0, 0, 1), (0, 16, 1), (2, 8, 0)),
            ((0, 7, 1), (0, 16, 1), (2, 8, 0)), ((0, 15, 1), (2, 8, 0)), ((0, 16, 1), (2, 0, 0)),
                ((0, 16, 1), (2, 0, 1), (2, 8, 0)), ((8191, 8, 0), (0, 16, 1)),
            ((8190, 8, 1), (8191, 7, 0)), ((8189, 8, 0), (0, 16, 1), (2, 8, 0)), ((0, 16, 0),),
                ((0, 16, 1), (2, 8, 1), (3, 1, 0)), ((3, 1, 0), (2, 8, 1), (0, 16, 1)),
            ((1, 8, 0), (0, 8, 1)), ((1, 8, 0), (0, 7, 1), (0, 8, 1)), ((1, 16, 1), (0, 8, 1), (3, 8, 0), (2, 8, 0)))):
        base = echo(data=bytes(range(100)))
        for offset, length, more in pieces:
            part = base[offset * 8:offset * 8 + length] if offset < 12 else bytes(length)
            case.packet(ip("10.0.0.2", "10.0.0.1", part.ljust(length, b"\0"), 1, ident=3000 + ident,
                frag=more << 13 | offset))
    yield case.alive()
    case = Case("keys", settle=5)
    for changed in ({"src": "10.0.0.3"}, {"dst": "10.0.1.1"}, {"ident": 12}, {"proto": 17}):
        first = {"src": "10.0.0.2", "dst": "10.0.0.1", "ident": 11, "proto": 1}
        a, b = cut(Case("a"), 1000, [504], **first).steps, cut(Case("b"), 1000, [504], **(first | changed)).steps
        case.steps += [a[0], b[1], b[0], a[1]]
    yield case.alive()
    case = Case("ecn", settle=5, fast=True)
    for ident, (x, y) in enumerate(itertools.product(range(4), repeat=2)):
        a = cut(Case("a"), 1000, [504], ident=500 + ident, tos=0x10 | x).steps
        b = cut(Case("b"), 1000, [504], ident=500 + ident, tos=0x20 | y).steps
        case.steps += [a[0], b[1]]
        a = cut(Case("a"), 1000, [504], ident=600 + ident, tos=0x10 | x).steps
        b = cut(Case("b"), 1000, [504], ident=600 + ident, tos=0x20 | y).steps
        case.steps += [b[1], a[0]]
    yield case.alive()
    case = Case("big", settle=10)
    cut(case, 65400, [1480] * 44, ident=70)
    cut(case, 65400, [1480] * 44, order=list(range(44, -1, -1)), ident=71)
    cut(case, 20000, [8] * 100 + [1480] * 12, ident=72)
    yield case.alive()
    for key in ("ipfrag_time=1", "ipfrag_max_dist=1", "ipfrag_max_dist=0", "ipfrag_low_thresh=0"):
        case = Case(key, "sysctl -w net.ipv4." + key, settle=6, timing=300, counters="high" not in key)
        cut(case, 1000, [504], drop=(1,), ident=1)
        cut(case, 1000, [504], drop=(0,), ident=2)
        cut(case, 1000, [504], drop=(1,), ident=3, dst="10.0.1.1", proto=17, ttl=3)
        cut(case, 1000, [200, 200, 200], drop=(2,), ident=4, src="10.0.0.3")
        for i in range(5):
            cut(case, 500, [200], ident=20 + i)
        case.wait(1600)
        yield cut(case, 1000, [504], ident=5).alive()
    for dst in ("10.0.0.255", "224.0.0.1", "255.255.255.255"):
        yield cut(Case(f"to-{dst}", "sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=0",
            "sysctl -w net.ipv4.ipfrag_time=1", settle=6), 1000, [504], dst=dst).wait(1300).alive()
    options = b"\x07\x0b\x04" + bytes(8) + b"\x00"
    case = Case("options", "sysctl -w net.ipv4.ipfrag_time=1", settle=6)
    cut(case, 1000, [504], ident=1, opts=options)
    a = cut(Case("a"), 1000, [504], ident=2, opts=options).steps
    b = cut(Case("b"), 1000, [504], ident=2).steps
    case.steps += [a[0], b[1]]
    a = cut(Case("a"), 1000, [504], ident=3, opts=options).steps
    b = cut(Case("b"), 1000, [504], ident=3).steps
    case.steps += [a[1], b[0]]
    yield case.alive()
    case = Case("df-pieces", settle=6)
    for ident, flags in enumerate(((0x4000, 0x4000), (0x4000, 0), (0, 0x4000), (0x8000, 0))):
        base = echo(data=bytes(1000))
        case.packet(ip("10.0.0.2", "10.0.0.1", base[:504], 1, ident=80 + ident, frag=flags[0] | 0x2000))
        case.packet(ip("10.0.0.2", "10.0.0.1", base[504:], 1, ident=80 + ident, frag=flags[1] | 63))
    yield case.alive()


@family("mtu")
def sizes():
    for mtu in (68, 69, 100, 575, 576, 1000, 1280, 1499):
        case = Case(f"mtu{mtu}", NO_COST, f"ip link set dev p1 mtu {mtu}", settle=8, fast=mtu in (68, 576))
        for extra in (-9, -8, -1, 0, 1, 7, 8, 9, 500):
            for frag in (0, 0x4000, 0x2000, 0x0010, 0x4010, 0x6000, 0x8000):
                case.udp(data=bytes(max(0, mtu + extra - 28)), frag=frag, ident=frag | 1)
        yield case.alive() if mtu > 68 else case
    route = "ip route add 192.168.{}.0/24 via 10.0.1.2 {}"
    case = Case("route-mtu", NO_COST, "sysctl -w net.ipv4.conf.all.send_redirects=0",
        "sysctl -w net.ipv4.conf.p0.send_redirects=0", *(route.format(i, m) for i,
        m in enumerate(("mtu 600", "mtu lock 600", "mtu 9000", "mtu 100", "mtu lock 1400", "", "mtu 68"))),
                "ip route add 192.168.100.0/24 via 10.0.0.4 mtu 700", "ip route add 192.168.101.0/24 dev p1 mtu 700",
                    settle=8, fast=True)
    case.hosts["p1"]["192.168.101.1"] = mac_of("10.0.1.2")
    for i in (0, 1, 2, 3, 4, 5, 6, 100, 101):
        for size in (60, 100, 572, 573, 600, 700, 1300, 1400, 1472):
            for frag in (0, 0x4000):
                case.udp(dst=f"192.168.{i}.1", data=bytes(size), frag=frag)
    yield case.alive()
    for first in (b"\x94\x04\0\0", b"\x83\x07\x04" + aton("10.0.1.2") + b"\0", b"\x07\x0b\x04" + bytes(8) + b"\0",
        b"\x44\x0c\x05\0" + bytes(8),
                  b"\x01\x01\x94\x04\0\0\x07\x07\x04" + bytes(4) + b"\x88\x04\x12\x34" + b"\0",
                      b"\x82\x0b" + bytes(9) + b"\x01"):
        case = Case(f"options-{first[:2].hex()}", NO_COST, "ip link set dev p1 mtu 300",
            "sysctl -w net.ipv4.conf.all.accept_source_route=1", settle=8, times=True)
        case.udp(data=bytes(900), opts=first).udp(data=bytes(900), opts=first, frag=0x2000).udp(data=bytes(900),
            opts=first, frag=0x0020)
        case.udp(data=bytes(900), opts=first, frag=0x4000).udp(data=bytes(900),
            opts=first * 3 if len(first) < 12 else first, dst="10.0.0.1")
        yield case.alive()
    case = Case("own", NO_COST, "ip link set dev p0 mtu 300", settle=8)
    for size in (200, 264, 265, 272, 273, 1000):
        case.echo(data=bytes(size)).echo(data=bytes(size), frag=0x4000).udp(dst="10.0.0.1",
            data=bytes(size)).echo(data=bytes(size), opts=b"\x07\x0b\x04" + bytes(8) + b"\0")
    yield case.alive()
    case = Case("quote-small-mtu", NO_COST, "ip link set dev p0 mtu 100", "ip link set dev p1 mtu 200", settle=8)
    yield case.udp(data=bytes(900), frag=0x4000).udp(data=bytes(900), ttl=1).udp(data=bytes(900),
        dst="192.168.1.1").udp(data=bytes(900), dst="10.0.0.1")


def frag_needed(case, mtu, inner, src="10.0.0.2", dst="10.0.0.1"):
    return case.packet(ip(src, dst, icmp(3, 4, struct.pack("!HH", 0, mtu), inner[:28]), 1), source="10.0.0.2")


@family("mtu")
def learnt():
    """What ICMP teaches about a path, for our own packets and for forwarded ones."""
    reply = ip("10.0.0.1", "10.0.0.2", echo(kind=0), 1)
    for mtu in (0, 60, 68, 296, 500, 551, 552, 553, 1000, 1499, 1500, 1501, 65535):
        case = Case(f"learn-{mtu}", NO_COST, "sysctl -w net.ipv4.route.mtu_expires=2", settle=8,
            fast=mtu in (500, 1000))
        case.echo(data=bytes(1200))
        frag_needed(case, mtu, reply)
        case.echo(data=bytes(1200)).echo(data=bytes(1200), frag=0x4000).echo("10.0.0.3",
            data=bytes(1200)).udp("10.0.1.2", "10.0.0.2", "p1", data=bytes(1200), frag=0x4000)
        case.udp("10.0.1.2", "10.0.0.2", "p1", data=bytes(1200)).udp(dst="10.0.0.1", data=bytes(1200))
        yield case.wait(2400).echo(data=bytes(1200))
    for line in ("sysctl -w net.ipv4.ip_no_pmtu_disc=1", "sysctl -w net.ipv4.ip_no_pmtu_disc=2",
        "sysctl -w net.ipv4.ip_no_pmtu_disc=3",
                 "sysctl -w net.ipv4.ip_forward_use_pmtu=1", "sysctl -w net.ipv4.route.min_pmtu=1200",
                     "ip route add 10.0.0.2/32 dev p0 mtu 1400",
                 "ip route add 10.0.0.2/32 dev p0 mtu lock 1400", "ip route add 10.0.0.2/32 dev p0 mtu 900",
                     "ip route add 10.0.0.2 via 10.0.0.4"):
        case = Case("learn-" + line.split(" ", 2)[2].replace(" ", "_"), NO_COST, line, settle=8)
        case.echo(data=bytes(1300))
        frag_needed(case, 1000, reply)
        case.echo(data=bytes(1300)).udp("10.0.1.2", "10.0.0.2", "p1", data=bytes(1300), frag=0x4000).udp("10.0.1.2",
            "10.0.0.2", "p1", data=bytes(1300))
        frag_needed(case, 800, reply).echo(data=bytes(1300))
        frag_needed(case, 1100, reply).echo(data=bytes(1300))
        yield case.command("ip route add 10.5.0.0/16 via 10.0.1.2").echo(data=bytes(1300)).command("ip route flush cache").echo(data=bytes(1300))
    case = Case("learn-other-quotes", NO_COST, settle=8)
    for inner in (ip("10.0.0.1", "10.0.0.2", udp("10.0.0.1", "10.0.0.2")),
        ip("10.0.0.1", "10.0.0.2", tcp("10.0.0.1", "10.0.0.2"), 6),
                  ip("10.0.0.9", "10.0.0.2", echo(kind=0), 1), ip("10.0.0.2", "10.0.0.1", echo(), 1),
                      ip("10.0.0.1", "10.0.0.2", icmp(3, 3), 1),
                  ip("10.0.1.1", "10.0.0.2", echo(kind=0), 1), ip("10.0.0.1", "10.0.0.2", echo(), 1),
                      ip("10.0.0.1", "10.0.0.2", icmp(14), 1)):
        frag_needed(case, 700, inner).echo(data=bytes(1000)).echo(dst="10.0.1.1", data=bytes(1000))
    yield case


@family("opts")
def options():
    a = aton
    forms = {
        "rr0": b"\x07\x03\x04", "rr1": b"\x07\x07\x04" + bytes(4), "rr2": b"\x07\x0b\x04" + bytes(8),
            "rr2used": b"\x07\x0b\x08" + a("1.2.3.4") + bytes(4),
        "rr9": b"\x07\x27\x04" + bytes(36), "rrfull": b"\x07\x0b\x0c" + bytes(8),
            "ts0": b"\x44\x0c\x05\x00" + bytes(8), "ts1": b"\x44\x14\x05\x01" + bytes(16),
        "ts3other": b"\x44\x0c\x05\x03" + a("9.9.9.9") + bytes(4),
            "ts3us": b"\x44\x0c\x05\x03" + a("10.0.0.1") + bytes(4),
            "ts3out": b"\x44\x0c\x05\x03" + a("10.0.1.1") + bytes(4),
        "ts3two": b"\x44\x14\x05\x03" + a("10.0.0.1") + bytes(4) + a("10.0.1.1") + bytes(4),
            "tsfull": b"\x44\x08\x09\x00" + bytes(4), "tsoverflow": b"\x44\x08\x09\xf0" + bytes(4),
        "ts2": b"\x44\x0c\x05\x02" + bytes(8), "ts4": b"\x44\x0c\x05\x04" + bytes(8),
            "lsrr": b"\x83\x07\x04" + a("10.0.1.2"), "ssrr": b"\x89\x07\x04" + a("10.0.1.2"),
            "ssrrfar": b"\x89\x07\x04" + a("192.168.1.1"),
        "lsrr2": b"\x83\x0b\x04" + a("10.0.1.3") + a("10.0.1.2"), "lsrrdone": b"\x83\x07\x08" + a("10.0.1.2"),
            "lsrrus": b"\x83\x0b\x04" + a("10.0.1.1") + a("10.0.1.2"), "ra": b"\x94\x04\0\0", "ra1": b"\x94\x04\0\1",
        "sec": b"\x82\x0b" + bytes(9), "cipso": b"\x86\x0a\0\0\0\1\1\4\0\1", "sid": b"\x88\x04\0\1",
            "unknown": b"\x9e\x04\x11\x22", "exp": b"\x5e\x04\x11\x22", "nops": b"\x01\x01\x01\x01",
            "eol": b"\0\xff\xff\xff", "nop-eol": b"\x01\0\x55\x55",
        "two": b"\x07\x07\x04" + bytes(4) + b"\x94\x04\0\0",
            "rr+ts": b"\x07\x07\x04" + bytes(4) + b"\x44\x0c\x05\0" + bytes(8),
            "rr+rr": b"\x07\x07\x04" + bytes(4) + b"\x07\x07\x04" + bytes(4),
            "ts+ts": (b"\x44\x0c\x05\0" + bytes(8)) * 2,
        "lsrr+rr": b"\x83\x07\x04" + a("10.0.1.2") + b"\x07\x07\x04" + bytes(4),
            "lsrr+ssrr": b"\x83\x07\x04" + a("10.0.1.2") + b"\x89\x07\x04" + a("10.0.1.2"),
    }
    settings = {"": [], "-sourceroute": ["sysctl -w net.ipv4.conf.all.accept_source_route=1"],
        "-nosource": ["sysctl -w net.ipv4.conf.p0.accept_source_route=0"],
                "-host": ["sysctl -w net.ipv4.ip_forward=0"]}
    for name, lines in settings.items():
        case = Case("forms" + name, NO_COST, "ip route add 192.168.0.0/16 via 10.0.1.3", *lines, settle=6, times=True,
            fast=name in ("", "-sourceroute"))
        for form in forms.values():
            case.udp(opts=form).echo(dst="10.0.0.1", opts=form).echo(dst="10.0.1.1", opts=form).udp(dst="10.0.0.1",
                opts=form).udp(opts=form, ttl=1)
            case.udp(case.stranger(), "172.31.0.1", opts=form).udp(dst="192.168.1.1", opts=form)
            case.tcp(dst="10.0.0.1", header={"opts": form})
        yield case.alive()
    for which, good in (("rr", forms["rr2"]), ("ts", forms["ts1"]), ("lsrr", forms["lsrr2"]), ("ra", forms["ra"]),
        ("sec", forms["sec"])):
        case = Case("bad-" + which, NO_COST, settle=5, times=True, fast=which in ("rr", "ts"))
        for before in (b"", b"\x01", b"\x01\x01\x01"):
            for length in (0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 20, 39, 40, 41, 255):
                case.udp(opts=before + good[:1] + bytes([length]) + good[2:])
            for pointer in (0, 1, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 20, 21, 255):
                case.udp(opts=before + good[:2] + bytes([pointer]) + good[3:]).echo(opts=before + good[:2] + bytes([pointer]) + good[3:])
        yield case.alive()
    case = Case("echoed", NO_COST, settle=6, times=True, fast=True)
    for form in forms.values():
        case.echo(opts=form, data=bytes(1)).packet(ip("10.0.0.2", "10.0.0.1", icmp(13, 0, b"abcd", bytes(12)), 1,
            opts=form))
        case.udp(case.stranger(), "172.16.1.1", opts=form).packet(ip("10.0.0.2", "10.0.0.1", b"", 200, opts=form))
        case.echo(dst="10.0.0.255", opts=form).echo(dst="255.255.255.255", opts=form)
    yield case.alive()


@family("redirect")
def redirects():
    gateway = "ip route add 192.168.0.0/16 via 10.0.0.5"
    for name, lines in {"plain": [], "no-send": ["sysctl -w net.ipv4.conf.all.send_redirects=0",
        "sysctl -w net.ipv4.conf.p0.send_redirects=0"], "no-send-all": ["sysctl -w net.ipv4.conf.all.send_redirects=0"],
                        "no-shared": ["sysctl -w net.ipv4.conf.all.shared_media=0",
                            "sysctl -w net.ipv4.conf.p0.shared_media=0"], 
                        "second-net": ["ip addr add 172.16.0.1/24 dev p0"],
                            "second-net-unshared": ["ip addr add 172.16.0.1/24 dev p0",
                            "sysctl -w net.ipv4.conf.p0.shared_media=0", "sysctl -w net.ipv4.conf.all.shared_media=0"],
                        "rp1": ["sysctl -w net.ipv4.conf.all.rp_filter=1"],
                            "inbound": ["sysctl -w net.ipv4.icmp_errors_use_inbound_ifaddr=1"]}.items():
        case = Case(f"red-{name}", gateway, "ip route add 192.169.0.0/16 via 172.16.0.9 onlink dev p0", *lines,
            settle=8, fast=name in ("plain", "no-shared"))
        case.hosts["p0"] |= {"172.16.0.9": mac_of("10.0.0.6"), "172.16.0.5": mac_of("10.0.0.7")}
        # a host each: how soon one is told again is for `numbers` and `silence`
        case.hosts["p0"] |= {f"10.0.0.{h}": mac_of(f"10.0.0.{h}") for h in range(12, 16)}
        case.udp(dst="192.168.1.1").udp("10.0.0.12", "192.168.1.1", ttl=1).udp("10.0.0.13", "192.168.1.1",
            ttl=2).udp("10.0.0.3", "192.169.1.1").udp("172.16.0.5", "192.168.1.1").udp("172.16.0.5", "192.169.1.1")
        case.udp("10.0.1.2", "192.168.1.1", "p1").udp("192.168.3.3", "192.168.1.1", source="10.0.0.2").udp("10.0.0.4",
            "10.0.0.3").udp("10.0.0.5", "192.168.1.1").udp("10.0.0.6", "192.168.1.1", data=bytes(1400))
        case.echo("10.0.0.7", "192.168.1.1").packet(ip("10.0.0.8", "192.168.1.1", icmp(3, 1, data=bytes(28)),
            1)).udp("10.0.0.9", "192.168.1.1", frag=0x2000).udp("10.0.0.15", "192.168.1.1", frag=0x0005)
        case.udp("10.0.0.14", "192.168.1.1", opts=b"\x07\x0b\x04" + bytes(8) + b"\0").udp("9.9.9.9", "192.168.1.1",
            source="10.0.0.2").udp("10.0.1.77", "192.168.1.1", source="10.0.0.2")
        yield case.alive()
    case = Case("silence", gateway, settle=8, timing=150)
    for i in range(12):
        case.udp(dst="192.168.1.1", ident=i + 1).udp(dst="192.168.1.2", ident=i + 100).wait(25 if i < 4 else 90)
    yield case
    case = Case("numbers", gateway, settle=8)
    for i in range(14):
        case.udp(dst="192.168.1.1", ident=i + 1).wait(20 << min(i, 6))
    yield case
    for name, lines in {"believed": [], "off": ["sysctl -w net.ipv4.conf.p0.accept_redirects=0"],
        "all-off": ["sysctl -w net.ipv4.conf.all.accept_redirects=0"],
                        "unshared": ["sysctl -w net.ipv4.conf.p0.shared_media=0",
                            "sysctl -w net.ipv4.conf.all.shared_media=0"],
                        "insecure": ["sysctl -w net.ipv4.conf.p0.shared_media=0",
                            "sysctl -w net.ipv4.conf.all.shared_media=0",
                            "sysctl -w net.ipv4.conf.p0.secure_redirects=0",
                            "sysctl -w net.ipv4.conf.all.secure_redirects=0"],
                        "host": ["sysctl -w net.ipv4.ip_forward=0"],
                            "host-off": ["sysctl -w net.ipv4.ip_forward=0",
                            "sysctl -w net.ipv4.conf.p0.accept_redirects=0"],
                            "host-all-off": ["sysctl -w net.ipv4.ip_forward=0",
                            "sysctl -w net.ipv4.conf.all.accept_redirects=0"]}.items():
        case = Case(f"got-{name}", gateway, *lines, NO_COST, settle=8, fast=name == "host")
        inner = ip("10.0.0.1", "192.168.1.1", echo(kind=0), 1)
        case.echo("192.168.1.1", source="10.0.0.5")
        for new in ("10.0.0.6", "10.0.0.6", "10.0.0.5", "10.0.0.1", "10.0.1.6", "10.0.1.6", "172.16.0.1", "224.0.0.1",
            "10.0.0.255", "0.0.0.0", "10.0.0.7", "10.0.0.7"):
            for src in ("10.0.0.5", "10.0.0.4"):
                case.packet(ip(src, "10.0.0.1", icmp(5, 1, aton(new), inner), 1)).wait(20).echo("192.168.1.1",
                    source="10.0.0.5").udp("10.0.1.2", "192.168.1.1", "p1")
        for code in (0, 2, 3, 4, 9):
            case.packet(ip("10.0.0.5", "10.0.0.1", icmp(5, code, aton("10.0.0.8"), inner),
                1)).wait(20).echo("192.168.1.1", source="10.0.0.5")
        yield case.command("ip route flush cache").echo("192.168.1.1",
            source="10.0.0.5").command("ip route add 10.77.0.0/16 via 10.0.1.3").echo("192.168.1.1", source="10.0.0.5")
