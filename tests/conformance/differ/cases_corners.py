# SPDX-License-Identifier: BSD-3-Clause
"""Corners where two features meet: options that route and record, learned mtus and locks, rules that jump, targets
that answer for packets that nobody may be answered about. Few packets have no route: how often that is told hangs on
the time between them (route.error_cost, which a namespace cannot set)."""

from case import Case, family, own_mac
from cases_frag import NO_COST
from cases_nf import QUIET, mixed
from cases_route import flows, three
from frames import BROADCAST, aton, echo, eth, fragments, icmp, ip, tcp, udp, vlan

ROUTED = ["sysctl -w net.ipv4.conf.all.accept_source_route=1"]


def route(kind, pointer, *hops):
    return bytes((kind, 3 + 4 * len(hops), pointer)) + b"".join(aton(hop) for hop in hops)


def stamp(flag, pointer, room, overflow=0, *addresses):
    data = b"".join(aton(a) + bytes(4) for a in addresses).ljust(room, b"\0")
    return bytes((0x44, 4 + len(data), pointer, overflow << 4 | flag)) + data


@family("opts")
def source_routes():
    lsrr, ssrr = 0x83, 0x89
    forms = [
        route(lsrr, 4, "10.0.0.1", "10.0.1.2"), route(lsrr, 4, "10.0.1.1", "10.0.0.1", "10.0.1.2"),
        route(ssrr, 4, "10.0.1.1", "10.0.1.2"), route(ssrr, 4, "10.0.0.1", "10.0.0.1", "10.0.0.1"),
        route(lsrr, 8, "10.0.0.9", "10.0.1.2"), route(lsrr, 4, "10.0.1.255"), route(lsrr, 4, "255.255.255.255"),
        route(ssrr, 4, "224.0.0.5"), route(lsrr, 4, "127.0.0.1"), route(lsrr, 4, "0.0.0.0"), route(ssrr, 4,
            "240.0.0.1"),
        route(lsrr, 4, "192.168.1.1"), route(ssrr, 4, "192.168.1.1"), route(lsrr, 4, "10.0.0.3"), route(ssrr, 4,
            "10.0.0.3"),
        route(lsrr, 4, "172.16.7.7"), route(lsrr, 5, "10.0.1.2"), route(lsrr, 6, "10.0.1.2", "10.0.1.3"),
        route(lsrr, 4, *["10.0.1.2"] * 9), route(lsrr, 36, *["10.0.1.2"] * 9), route(lsrr, 40, *["10.0.1.2"] * 9),
        route(ssrr, 4, "10.0.1.2") + route(7, 4, "0.0.0.0", "0.0.0.0"),
        route(7, 4, "0.0.0.0", "0.0.0.0") + route(ssrr, 4, "10.0.1.2"),
        b"\x01" + route(lsrr, 4, "10.0.1.2") + b"\x01" + stamp(1, 5, 16),
        stamp(3, 5, 0, 0, "10.0.1.1", "10.0.0.1") + route(lsrr, 4, "10.0.1.2"),
        route(lsrr, 4, "10.0.1.2") + b"\0" + route(7, 4, "0.0.0.0"), route(lsrr, 4), route(lsrr, 4, "10.0.1.2")[:6],
    ]
    for name, lines in (("refused", []), ("taken", ROUTED), ("taken-rp1", [*ROUTED,
        "sysctl -w net.ipv4.conf.all.rp_filter=1"]),
                        ("taken-host", [*ROUTED, "sysctl -w net.ipv4.ip_forward=0"])):
        case = Case("routes-" + name, NO_COST, "ip route add 192.168.0.0/16 via 10.0.1.3", *lines, settle=6, times=True,
                    fast=name == "taken")
        for form in forms:
            for dst in ("10.0.0.1", "10.0.1.1", "10.0.1.2", "192.168.1.1", "10.0.0.255"):
                case.udp(dst=dst, opts=form)
            case.echo(opts=form).echo(dst="10.0.1.1", opts=form).udp(dst="10.0.0.1", opts=form, ttl=1)
            case.udp(dst="10.0.0.1", opts=form, frag=0x4000, data=bytes(1400)).tcp(dst="10.0.1.1",
                header={"opts": form})
            case.packet(ip("10.0.0.2", "10.0.0.1", b"", 200, opts=form))
        yield case.alive()


@family("opts")
def stamps():
    forms = [stamp(0, 5, 4, n) for n in (0, 1, 14, 15)] + [stamp(0, 9, 4, n) for n in (0, 1, 14, 15)]
    forms += [stamp(1, 5, 8, n) for n in (0, 15)] + [stamp(1, 13, 8, n) for n in (0, 14, 15)]
    forms += [stamp(1, 9, 8), stamp(1, 5, 4), stamp(1, 5, 12), stamp(3, 5, 8, 15, "10.0.0.1"), stamp(3, 13, 8, 14,
        "10.0.0.1"),
              stamp(3, 13, 8, 15, "10.0.0.1"), stamp(3, 5, 0, 3, "10.0.1.1", "10.0.0.1"), stamp(3, 5, 0, 0, "1.1.1.1",
                  "10.0.0.1"),
              stamp(3, 13, 0, 0, "1.1.1.1", "10.0.0.1"), stamp(3, 5, 0, 0, "10.0.1.2"), stamp(3, 5, 0, 0, "10.0.0.255"),
              stamp(3, 5, 0, 0, "224.0.0.1"), stamp(3, 5, 4), stamp(3, 9, 8), stamp(2, 5, 8), stamp(7, 5, 8),
                  stamp(15, 5, 8, 15),
              stamp(0, 5, 36), stamp(0, 33, 36), stamp(0, 37, 36), stamp(0, 41, 36, 3), stamp(1, 37, 36), stamp(0, 4,
                  4),
              stamp(0, 6, 8), stamp(0, 7, 8), stamp(0, 8, 8), stamp(0, 10, 4), bytes((0x44, 3, 5)), bytes((0x44, 4, 5,
                  0))]
    case = Case("stamps", NO_COST, settle=6, times=True, fast=True)
    for form in forms:
        case.udp(opts=form).echo(opts=form).udp(opts=form, ttl=1).udp(dst="10.0.0.1", opts=form)
        case.udp(opts=b"\x07\x07\x04" + bytes(4) + form if len(form) < 33 else form)
        case.udp("10.0.0.2", "10.0.0.255", opts=form).udp(opts=form, frag=0x2000).udp(opts=form, frag=0x0010)
    yield case.alive()


@family("opts")
def with_rules():
    """Options where a rule answers, and where the route is looked up anew."""
    form = b"\x07\x0b\x04" + bytes(8) + b"\x94\x04\0\0"
    for name, lines in {
        "reject": ["iptables -A FORWARD -j REJECT", "iptables -A INPUT -j REJECT --reject-with icmp-host-prohibited"],
        "reset": ["iptables -A FORWARD -p tcp -j REJECT --reject-with tcp-reset",
            "iptables -A INPUT -p tcp -j REJECT --reject-with tcp-reset"],
        "mark": ["iptables -t mangle -A OUTPUT -j MARK --set-mark 7", "ip rule add fwmark 7 table 100",
            "ip route add default via 10.0.1.5 table 100"],
        "tos": ["iptables -t mangle -A PREROUTING -j TOS --set-tos 0x10",
            "ip route add 10.0.1.0/24 tos 0x10 via 10.0.1.7"],
    }.items():
        case = Case("opts-" + name, *QUIET, *ROUTED, *lines, settle=6, times=True, fast=name == "reject")
        for opts in (form, route(0x83, 4, "10.0.1.2"), stamp(1, 5, 16), stamp(0, 9, 4, 15), b"\x94\x04\0\1",
            b"\x86\x04\0\0"):
            case.udp(opts=opts).udp(dst="10.0.0.1", opts=opts).echo(opts=opts).tcp(header={"opts": opts}).tcp(
                dst="10.0.0.1", header={"opts": opts}).udp(opts=opts, ttl=1).udp(opts=opts,
                    frag=0x2000).udp(opts=opts, frag=0x20)
        yield case.alive()


@family("mtu")
def learned():
    """What a frag-needed teaches, by mtu, by lock, by what it quotes."""
    sizes = (0, 1, 67, 68, 69, 295, 296, 551, 552, 553, 576, 1000, 1499, 1500, 1501, 65535)
    ways = {"": [], "-lock": ["ip route add 192.168.1.0/24 via 10.0.1.2 mtu lock 700"],
            "-mtu": ["ip route add 192.168.1.0/24 via 10.0.1.2 mtu 700"],
            "-min": ["sysctl -w net.ipv4.route.min_pmtu=300"], "-nopmtu": ["sysctl -w net.ipv4.ip_no_pmtu_disc=1"],
            "-nopmtu3": ["sysctl -w net.ipv4.ip_no_pmtu_disc=3"],
                "-forward": ["sysctl -w net.ipv4.ip_forward_use_pmtu=1"],
            "-forward-lock": ["sysctl -w net.ipv4.ip_forward_use_pmtu=1",
                "ip route add 192.168.1.0/24 via 10.0.1.2 mtu lock 700"]}
    for name, lines in ways.items():
        case = Case("learned" + name, NO_COST, "ip route add 192.168.0.0/16 via 10.0.1.2", *lines, settle=6,
            fast=name in ("-lock", "-forward"))
        for number, mtu in enumerate(sizes):
            there = f"192.168.{1 + number % 2}.{number + 1}"
            inner = ip("10.0.0.1", there, echo(kind=0, data=bytes(64)), 1)
            case.packet(ip("10.0.1.7", "10.0.0.1", icmp(3, 4, bytes(2) + mtu.to_bytes(2, "big"), inner[:60]), 1), "p1")
            for data in (0, 60, 260, 500, 540, 600, 900, 1400, 1472):
                case.echo(there, "10.0.0.1", source="10.0.0.2", data=bytes(data)).udp(dst=there, data=bytes(data),
                    frag=0x4000)
        yield case.alive()


@family("mtu")
def tiny():
    for mtu in (68, 70, 76, 100):
        case = Case(f"link-{mtu}", NO_COST, "ip link set dev p1 mtu " + str(mtu), settle=6, fast=mtu == 68)
        for size in (0, 20, 39, 40, 41, 48, 100, 300, 1400):
            for frag in (0, 0x4000, 0x2000, 0x2003, 0x0005):
                case.udp(data=bytes(size), frag=frag).udp(data=bytes(size), frag=frag, opts=b"\x07\x27\x04" + bytes(36))
            case.udp(data=bytes(size), opts=b"\x83\x04\x04\0").udp(data=bytes(size),
                opts=b"\x94\x04\0\0\x01\x01\x01\x01")
        yield case.alive()
    for mtu in (1, 67, 68, 552, 1400, 1500, 9000, 65535):
        case = Case(f"route-{mtu}", NO_COST, f"ip route add 192.168.1.0/24 via 10.0.1.2 mtu {mtu}",
                    f"ip route add 192.168.2.0/24 via 10.0.1.2 mtu lock {mtu}", settle=6, fast=mtu in (68, 9000))
        for dst in ("192.168.1.1", "192.168.2.1"):
            for size in (0, 40, 41, 500, 1372, 1472):
                case.udp(dst=dst, data=bytes(size)).udp(dst=dst, data=bytes(size), frag=0x4000).echo(
                    dst, "10.0.0.1", source="10.0.0.2", data=bytes(size)).echo(dst, "10.0.0.1", source="10.0.0.2",
                        data=bytes(size), frag=0x4000)
        yield case.alive()


@family("rule")
def jumps():
    tables = ["ip route add default via 10.0.1.2", "ip route add default via 10.0.2.2 table 100",
              "ip route add default via 10.0.1.3 table 101", "ip route add throw 192.168.2.0/24 table 101"]
    for name, lines in {
        "over": ["pref 10 from 10.0.0.2 goto 30", "pref 20 lookup 100", "pref 30 lookup 101"],
        "unresolved": ["pref 10 goto 30", "pref 20 from 10.0.0.2 lookup 100"],
        "nop": ["pref 10 nop", "pref 20 to 192.168.1.0/24 goto 25", "pref 21 lookup 100", "pref 25 nop",
            "pref 25 lookup 101"],
        "to-main": ["pref 10 to 192.168.1.0/24 goto 32766", "pref 20 lookup 100"],
        "chain": ["pref 10 goto 20", "pref 20 from 10.0.0.2 goto 30", "pref 21 lookup 100",
            "pref 30 not from 10.0.0.3 goto 40", "pref 40 lookup 101"],
        "not": ["pref 10 not to 192.168.1.0/24 goto 30", "pref 20 lookup 100", "pref 30 lookup 101"],
        "group": ["pref 10 lookup 100 suppress_ifgroup default", "pref 11 lookup 101 suppress_ifgroup 5"],
        "uid": ["pref 10 uidrange 0-100 to 192.168.1.0/24 lookup 100", "pref 11 uidrange 1-100 lookup 101",
            "pref 12 not uidrange 1-100 to 192.168.3.0/24 lookup 101"],
        "tunnel": ["pref 10 tun_id 7 lookup 100", "pref 11 not tun_id 7 to 192.168.1.0/24 lookup 101"],
        "types": ["pref 10 from 10.0.0.3 throw", "pref 11 from 10.0.0.4 multicast", "pref 12 from 10.0.0.5 unicast",
            "pref 13 from 10.0.0.6 lookup 0", "pref 14 realms 7 lookup 100"],
    }.items():
        case = three("goto-" + name, *tables, *("ip rule add " + line for line in lines), fast=name in ("over",
            "chain", "types"))
        for change in ("true", "ip rule del pref 30", "ip rule add pref 30 from 10.0.0.2 prohibit",
            "ip rule add pref 30 lookup 100",
                       "ip rule del pref 30 from 10.0.0.2", "ip rule del goto 30", "ip rule del pref 20"):
            if change != "true":
                case.command(change, may_fail=True)
            for src in ("10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"):
                for dst in ("192.168.1.1", "192.168.2.1"):
                    case.udp(src, dst)
                if src != "10.0.0.2":   # a host has five errors to spare, and this one is prohibited for a while
                    case.udp(src, "192.168.3.1")
            case.echo("192.168.1.7", "10.0.0.1", source="10.0.0.2").udp("10.0.0.3", "192.168.1.1", ttl=1)
        yield case


@family("tos")
def ecn():
    """Only six bits route; which of them, a route and a rule say differently."""
    case = three("ecn", "ip route add 192.168.1.0/24 via 10.0.1.2", "ip route add 192.168.1.0/24 tos 0x10 via 10.0.1.3",
                 "ip route add 192.168.1.0/24 tos 0x1c via 10.0.1.4",
                     "ip route add 192.168.1.0/24 tos 0x04 via 10.0.1.5",
                 "ip rule add tos 0x08 to 192.168.2.0/24 lookup 100", "ip route add default via 10.0.2.3 table 100",
                 "ip route add 192.168.2.0/24 via 10.0.1.6", fast=True)
    for value in range(256):
        if value & 0x1f in (0, 1, 2, 3, 4, 7, 8, 0xb, 0x10, 0x13, 0x1c, 0x1f):
            case.udp(dst="192.168.1.1", tos=value).udp(dst="192.168.2.1", tos=value)
    case.echo("192.168.1.9", "10.0.0.1", source="10.0.0.2", tos=0x13).udp(dst="192.168.1.1", tos=0x13,
        ttl=1).udp(dst="172.20.1.1", tos=0xff)
    yield case
    case = three("late", "ip route add 192.168.1.0/24 tos 0x10 via 10.0.1.3",
        "ip route add 192.168.0.0/16 via 10.0.1.2")
    for line in ("ip route add 192.168.1.0/24 tos 0x08 via 10.0.1.4", "ip route del 192.168.1.0/24 tos 0x10",
        "ip route add 192.168.1.0/24 tos 0x02 via 10.0.1.5",
                 "ip route add 192.168.1.0/24 tos 0xfc via 10.0.1.6",
                     "ip route replace 192.168.1.0/24 tos 0x08 via 10.0.1.7", "ip route del 192.168.1.0/24"):
        case.command(line, may_fail=True)
        for value in (0, 2, 8, 0xb, 0x10, 0xfc, 0xe8):
            case.udp(dst="192.168.1.1", tos=value)
    yield case


@family("nf-filter")
def answers():
    """REJECT where an answer may not go out, or goes another way."""
    kinds = ("icmp-port-unreachable", "icmp-host-prohibited", "icmp-admin-prohibited", "icmp-proto-unreachable",
        "tcp-reset")
    for kind in kinds:
        proto = "-p tcp " if kind == "tcp-reset" else ""
        case = three("r-" + kind, *QUIET, "sysctl -w net.ipv4.conf.all.bc_forwarding=1",
            "sysctl -w net.ipv4.conf.p0.bc_forwarding=1",
                     "sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=0",
                         f"iptables -A INPUT {proto}-j REJECT --reject-with {kind}",
                     f"iptables -A FORWARD {proto}-j REJECT --reject-with {kind}",
                         f"iptables -A OUTPUT {proto}-j REJECT --reject-with {kind}", fast=kind == "tcp-reset")
        for dst in ("10.0.0.1", "10.0.1.2", "10.0.0.255", "10.0.1.255", "255.255.255.255", "224.0.0.1", "10.0.1.1",
            "10.0.0.3"):
            for mac in (None, BROADCAST):
                case.udp(dst=dst, dst_mac=mac).udp(dst=dst, dst_mac=mac, ttl=1).udp(dst=dst, dst_mac=mac,
                    frag=0x2000).udp(dst=dst, dst_mac=mac, frag=0x20)
                case.echo(dst=dst, dst_mac=mac)
            for flags in (2, 4, 0x10, 0x11, 0x12, 0x3f, 0):
                case.tcp(dst=dst, flags=flags, seq=0xffffffff, ack=5, data=b"abc")
            case.tcp(dst=dst, csum=7).tcp(dst=dst, header={"frag": 0x2000}).tcp(dst=dst, header={"tos": 0xff,
                "ttl": 1}).tcp(dst=dst, off=4)
        for src in ("0.0.0.0", "127.0.0.1", "10.0.0.255", "224.0.0.1", "8.8.8.8"):
            case.udp(src, "10.0.1.2", source="10.0.0.2").udp(src, "10.0.0.1", source="10.0.0.2")
        yield case.alive()
    case = Case("nested", *QUIET, *(f"iptables -N c{i}" for i in range(6)),
        *(f"iptables -A c{i} -j c{i + 1}" for i in range(5)),
                "iptables -I c2 -p tcp -g c4", "iptables -I c1 -p icmp -j RETURN", "iptables -A c1 -p icmp -j DROP",
                    "iptables -A c4 -p tcp --dport 80 -j RETURN",
                "iptables -A c4 -p tcp -j DROP", "iptables -A c2 -p tcp -j DROP",
                    "iptables -A c5 -m ttl --ttl-lt 10 -j DROP", "iptables -A c0 -p udp --dport 53 -j DROP",
                "iptables -A FORWARD -j c0", "iptables -A FORWARD -p 47 -j DROP", fast=True, settle=5, times=True)
    mixed(case)
    for line in ("-E c4 d4", "-X d4", "-F d4", "-R c2 1 -p udp -g c5", "-D c1 1", "-Z c1 1", "-E c5 FORWARD", "-N c0",
        "-I c3 9 -j DROP",
                 "-I c3 -j c0", "-A c5 -j c0", "-g c1 -A c5", "-D FORWARD -j c0", "-A INPUT -g c1", "-P c0 DROP", "-X"):
        case.command("iptables " + line, may_fail=True).udp().tcp().tcp(dport=443).echo().udp(dport=53)
    yield case
    case = Case("nth", *QUIET, "iptables -N s", "iptables -A FORWARD -p udp -j s",
        "iptables -A s -m statistic --mode nth --every 3 --packet 0 -j RETURN",
                "iptables -A s -m statistic --mode nth --every 2 --packet 1 -j DROP",
                    "iptables -A s -m statistic --mode nth --every 4 --packet 3 -j REJECT", settle=5, times=True)
    for i in range(30):
        case.udp(ident=i + 1)
    yield case.command("iptables -R s 1 -m statistic --mode nth --every 2 --packet 0 -j DROP").udp(ident=50).udp(ident=51).udp(ident=52)


@family("nf-mangle")
def hop_limits():
    for hook, line in (("pre1", "PREROUTING -j TTL --ttl-set 1"), ("pre0", "PREROUTING -j TTL --ttl-set 0"),
        ("pre-dec", "PREROUTING -j TTL --ttl-dec 1"),
                       ("fwd0", "FORWARD -j TTL --ttl-set 0"), ("fwd-dec", "FORWARD -j TTL --ttl-dec 64"), ("post",
                           "POSTROUTING -j TTL --ttl-set 0"),
                       ("in0", "INPUT -j TTL --ttl-set 0"), ("out", "OUTPUT -j TTL --ttl-set 1"), ("inc",
                           "PREROUTING -j TTL --ttl-inc 255")):
        case = Case("ttl-" + hook, *QUIET, "iptables -t mangle -A " + line, "ip link set dev p1 mtu 600", settle=5,
            times=True, fast=hook in ("pre1", "fwd0"))
        for ttl in (0, 1, 2, 64, 65, 255):
            case.udp(ttl=ttl).udp(dst="10.0.0.1", ttl=ttl).echo(ttl=ttl).udp(ttl=ttl, data=bytes(1000)).udp(ttl=ttl,
                data=bytes(1000), frag=0x4000)
            case.udp(case.stranger(), "10.0.0.3", ttl=ttl).udp(ttl=ttl, opts=b"\x07\x07\x04" + bytes(4))
        yield case.alive()
    case = Case("pieces", *QUIET, "iptables -t mangle -A FORWARD -p udp --dport 2000 -j TOS --set-tos 0x10",
        "iptables -t mangle -A POSTROUTING -f -j DSCP --set-dscp 46",
                "iptables -t mangle -A FORWARD -p tcp --syn -j TCPMSS --set-mss 500",
                "ip link set dev p1 mtu 600", settle=5, times=True)
    for frag in (0, 0x2000, 0x2001, 0x0005, 0x4000):
        for size in (8, 100, 1000):
            case.udp(data=bytes(size), frag=frag).tcp(data=bytes(size), opts=b"\x02\x04\x05\xb4", header={"frag": frag})
    yield case.alive()


@family("rpf")
def loose():
    lines = ["ip route add 192.168.1.0/24 via 10.0.1.2",
             "ip route add blackhole 192.168.3.0/24", "ip route add 192.168.4.0/24 tos 0x10 via 10.0.0.5",
                 "ip route add 192.168.4.0/24 via 10.0.1.2",
             "ip rule add from 192.168.5.0/24 lookup 100", "ip route add 192.168.5.0/24 via 10.0.0.5 table 100",
                 "ip rule add to 192.168.6.0/24 iif p0 lookup 100",
             "ip route add 192.168.6.0/24 via 10.0.0.5 table 100", "ip rule add fwmark 9 lookup 101",
                 "ip route add default via 10.0.0.5 table 101",
             "iptables -t mangle -A PREROUTING -s 192.168.7.0/24 -j MARK --set-mark 9"]
    for value in (1, 2):
        for valid in (0, 1):
            case = three(f"rules-rp{value}-valid{valid}", f"sysctl -w net.ipv4.conf.all.rp_filter={value}",
                f"sysctl -w net.ipv4.conf.p0.src_valid_mark={valid}",
                         "sysctl -w net.ipv4.icmp_ratemask=0", *lines, fast=value == 1 and valid == 1)
            for net in range(1, 9):
                src = f"192.168.{net}.1"
                for tos in (0, 0x10, 0x13):
                    case.udp(src, "10.0.1.9", source="10.0.0.2", tos=tos).echo(src, "10.0.0.1", source="10.0.0.2",
                        tos=tos)
                case.udp(src, "10.0.0.9", source="10.0.0.2").udp(src, "255.255.255.255", source="10.0.0.2",
                    dst_mac=BROADCAST)
            yield case


@family("mpath")
def neighbours_known():
    hops = "nexthop via 10.0.1.2 nexthop via 10.0.2.2"
    for use in (0, 1):
        case = three(f"use-neigh{use}", f"sysctl -w net.ipv4.fib_multipath_use_neigh={use}",
            f"ip route add 192.168.0.0/16 {hops}",
                     "ip neigh add 10.0.1.2 dev p1 nud failed", multipath="l3", arp=False, settle=20, counters=False)
        case.learn("10.0.2.2")
        yield flows(case, "192.168.7.7", 120)
    for fields in (0x37, 0x10, 0x30):
        case = three(f"fields{fields:x}", "sysctl -w net.ipv4.fib_multipath_hash_policy=3",
            f"sysctl -w net.ipv4.fib_multipath_hash_fields={fields}",
                     f"ip route add 192.168.0.0/16 {hops}", multipath="l4", arp=False, settle=20, counters=False)
        case.learn("10.0.1.2", "10.0.2.2")
        yield flows(case, "192.168.7.7", l4=True)
    case = three("dead-hop", f"ip route add 192.168.0.0/16 {hops}", "ip link set dev p2 down", arp=False, settle=20)
    case.udp(dst="192.168.1.1").udp(dst="192.168.1.2").command("ip route replace 192.168.0.0/16 nexthop via 10.0.1.2 nexthop via 10.0.1.3 weight 3")
    yield case.udp(dst="192.168.1.1", ttl=1).command("ip link set dev p2 up").udp(dst="10.0.2.7").udp(dst="192.168.1.1", ttl=1)


@family("nf-filter")
def by_address_type():
    routes = ["ip route add unreachable 192.168.1.0/24", "ip route add prohibit 192.168.2.0/24",
        "ip route add blackhole 192.168.3.0/24",
              "ip route add throw 192.168.4.0/24", "ip route add local 192.168.5.0/24 dev lo",
                  "ip route add broadcast 192.168.6.7 dev p1 table local",
              "ip route add anycast 192.168.7.7 dev p1 table local", "ip route add multicast 239.0.0.0/8 dev p1",
                  "ip route add default via 10.0.1.9"]
    for kind in ("UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "BLACKHOLE", "UNREACHABLE",
        "PROHIBIT", "LOCAL,BROADCAST,PROHIBIT"):
        for side in ("src", "dst"):
            case = Case(f"type-{side}-{kind}", *QUIET, *routes,
                f"iptables -t raw -A PREROUTING -m addrtype --{side}-type {kind} -j DROP", settle=5,
                fast=kind == "LOCAL")
            for address in ("10.0.0.1", "10.0.1.1", "10.0.1.2", "10.0.1.255", "10.0.0.255", "255.255.255.255",
                "224.0.0.1", "239.1.1.1", "127.0.0.1", "8.8.8.8", "0.0.0.0",
                            *(f"192.168.{i}.7" for i in range(1, 8))):
                if side == "dst":
                    case.udp(dst=address).echo(dst=address)
                else:
                    case.udp(address, "10.0.1.3", source="10.0.0.2").echo(address, "10.0.0.1", source="10.0.0.2")
            yield case.alive()


@family("nf-filter")
def put_together():
    """INPUT sees datagrams, PREROUTING and FORWARD the pieces."""
    for chain, match in (("INPUT", "-f"), ("INPUT", "-m length --length 1000:"), ("INPUT", "-p udp --dport 2000"),
        ("FORWARD", "-f"), ("FORWARD", "! -f -p udp"),
                         ("FORWARD", "-p udp --dport 2000"), ("FORWARD", "-p tcp --syn"), ("FORWARD",
                             "-p icmp --icmp-type 8"), ("OUTPUT", "-f"), ("OUTPUT", "-m length --length 700:")):
        case = Case(f"pieces-{chain}-{match}".replace(" ", "_"), *QUIET, f"iptables -A {chain} {match} -j REJECT",
            "ip link set dev p0 mtu 600", settle=5, times=True, fast=match == "-f")
        for ident, (dst, proto) in enumerate((d, p) for d in ("10.0.0.1", "10.0.1.2") for p in (1, 17, 6)):
            body = {1: echo(data=bytes(900)), 17: udp("10.0.0.2", dst, data=bytes(900)), 6: tcp("10.0.0.2", dst,
                data=bytes(900))}[proto]
            for order in ((0, 1), (1, 0)):
                pieces = fragments(ip("10.0.0.2", dst, body, proto, ident=40 + 2 * ident + order[0]), [304])
                for i in order:
                    case.packet(pieces[i])
            case.packet(ip("10.0.0.2", dst, body, proto, ident=90 + ident))
        yield case.alive()


@family("nf-mangle")
def both_ways():
    for name, lines in {"reverse": ["ip link set dev p0 mtu 700"], "out": ["ip link set dev p1 mtu 700"],
        "route": ["ip route add 192.168.1.0/24 via 10.0.1.2 mtu 800"],
                        "lock": ["ip route add 192.168.1.0/24 via 10.0.1.2 mtu lock 800"],
                            "tiny": ["ip link set dev p1 mtu 68"],
                            "back-route": ["ip route add 172.16.0.0/16 via 10.0.0.9 mtu 650"]}.items():
        for chain in ("FORWARD", "POSTROUTING", "OUTPUT"):
            case = Case(f"clamp-{name}-{chain}", *QUIET, *lines,
                f"iptables -t mangle -A {chain} -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
                settle=5, times=True,
                        fast=name == "reverse" and chain == "FORWARD")
            for mss in (0, 28, 29, 40, 536, 610, 660, 661, 760, 761, 1460, 9000):
                for src, dst in (("10.0.0.2", "10.0.1.2"), (case.stranger(), "192.168.1.1"), ("172.16.1.1", "10.0.1.2")):
                    for opts in (b"\x02\x04" + mss.to_bytes(2, "big"), b"\x01" * 3 + b"\x02\x04" + mss.to_bytes(2,
                        "big"), b""):
                        case.packet(ip(src, dst, tcp(src, dst, opts=opts), 6), source="10.0.0.2")
            yield case.alive()
    case = three("tos-again", *QUIET, "iptables -t mangle -A OUTPUT -j TOS --set-tos 0x10",
        "ip route add 192.168.1.0/24 via 10.0.1.2", "ip route add 192.168.1.0/24 tos 0x10 via 10.0.2.2",
                 "ip rule add tos 0x10 to 192.168.2.0/24 lookup 100", "ip route add default via 10.0.2.3 table 100",
                     "ip route add default via 10.0.1.3", fast=True)
    for src in ("192.168.1.1", "192.168.2.1", "10.0.1.4"):
        case.echo(src, "10.0.0.1", source="10.0.0.2").echo(src, "10.0.0.1", source="10.0.0.2", tos=0x10).udp(src,
            "10.0.0.1", source="10.0.0.2").udp(src, "10.0.2.9", source="10.0.0.2", ttl=1)
        case.packet(ip(src, "10.0.0.1", tcp(src, "10.0.0.1"), 6), source="10.0.0.2")
    yield case


@family("rpf")
def routers():
    """Forwarding per device, local routes, addresses that are not on a network."""
    for name, lines in {"p0": ["sysctl -w net.ipv4.conf.p0.forwarding=0"],
        "p1": ["sysctl -w net.ipv4.conf.p1.forwarding=0"], "all": ["sysctl -w net.ipv4.conf.all.forwarding=0",
        "sysctl -w net.ipv4.conf.p0.forwarding=1"],
                        "default": ["sysctl -w net.ipv4.conf.default.forwarding=0"]}.items():
        case = three("forwarding-" + name, NO_COST, *lines, "ip route add default via 10.0.1.3",
            "sysctl -w net.ipv4.conf.all.rp_filter=2", fast=name == "p0")
        for src, dst, port in (("10.0.0.2", "10.0.1.2", "p0"), ("10.0.1.2", "10.0.0.2", "p1"), ("10.0.0.2",
            "10.0.0.3", "p0"), ("10.0.0.2", "8.8.8.8", "p0"), ("10.0.0.2", "10.0.1.1", "p0"),
                               ("10.0.1.2", "10.0.2.7", "p1"), ("10.0.0.2", "10.0.1.255", "p0"), ("10.0.0.2",
                                   "224.0.0.1", "p0")):
            case.udp(src, dst, port).udp(src, dst, port, ttl=1).echo(src, dst, port)
        yield case
    case = three("local-routes", NO_COST, "ip link set dev lo up", "ip route add local 192.168.5.0/24 dev lo",
        "ip route add local 192.168.6.0/24 dev p1", "ip addr add 172.16.0.1/32 dev lo",
        "ip addr add 172.17.0.1 peer 172.17.0.2 dev p1",
                 "ip addr add 172.18.0.1/24 dev p1 noprefixroute", "ip addr add 10.0.0.77/24 dev p0",
                     "ip route add 172.19.0.0/16 via 10.0.1.5 src 172.16.0.1", fast=True)
    case.answer_for("p1", "172.17.0.2", "172.18.0.9", "172.18.0.255")
    for dst in ("192.168.5.1", "192.168.5.255", "192.168.6.9", "172.16.0.1", "172.17.0.1", "172.17.0.2", "172.18.0.1",
        "172.18.0.9", "172.18.0.255", "10.0.0.77", "127.0.0.1", "172.19.1.1"):
        case.udp(dst=dst).echo(dst=dst).tcp(dst=dst).udp(dst=dst, ttl=1).udp(dst, "10.0.2.3", source="10.0.0.2")
        case.echo("172.19.1.1", dst, source="10.0.0.2").udp("172.19.1.1", dst, source="10.0.0.2")
    yield case


@family("icmperr")
def link_layers():
    """Frames that are more, or less, than an Ethernet header and IPv4."""
    case = Case("frames", NO_COST, settle=6, fast=True)
    packet = ip("10.0.0.2", "10.0.1.2", udp("10.0.0.2", "10.0.1.2"), ident=7)
    plain = eth(own_mac("p0"), "02:bb:0a:00:00:02", packet)
    for vid, prio in ((0, 0), (0, 7), (1, 0), (5, 3), (4095, 0)):
        case.frame("p0", vlan(plain, vid, prio)).frame("p0", vlan(plain, vid, prio, 0x88A8)).frame("p0",
            vlan(vlan(plain, vid, prio), 0))
    for kind in (0x0806, 0x86DD, 0x0801, 0x05DC, 0x002E, 0x0600, 0x8847, 0x8863, 0x88CC, 0xFFFF, 0x0000):
        case.frame("p0", eth(own_mac("p0"), "02:bb:0a:00:00:02", packet, kind))
    for mac in ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01", "02:bb:00:00:00:09",
        "00:00:00:00:00:00", "01:80:c2:00:00:00"):
        case.frame("p0", eth(mac, "02:bb:0a:00:00:02", packet)).frame("p0", eth(mac, "02:bb:0a:00:00:02",
            ip("10.0.0.2", "10.0.0.1", echo(), 1)))
        case.frame("p0", eth(mac, "02:bb:0a:00:00:02", ip("10.0.0.2", "224.0.0.1", echo(), 1))).frame("p0", eth(mac,
            "02:bb:0a:00:00:02", ip("10.0.0.2", "10.0.0.255", echo(), 1)))
    for source in ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", own_mac("p0"), "00:00:00:00:00:00"):
        case.frame("p0", eth(own_mac("p0"), source, packet)).frame("p0", eth(own_mac("p0"), source, ip("10.0.0.2",
            "10.0.0.1", echo(), 1)))
    yield case.alive()
    case = Case("igmp", NO_COST, settle=6, fast=True)
    for dst in ("224.0.0.1", "224.0.0.22", "224.0.0.2", "239.1.1.1", "10.0.0.1"):
        for kind in (0x11, 0x12, 0x16, 0x17, 0x22):
            body = icmp(kind, 1, aton("0.0.0.0"))
            case.packet(ip("10.0.0.2", dst, body, 2, ttl=1, opts=b"\x94\x04\0\0")).packet(ip("10.0.0.2", dst, body, 2,
                ttl=1)).packet(ip("10.0.0.2", dst, body[:6], 2, ttl=1))
    yield case.alive()
