# SPDX-License-Identifier: BSD-3-Clause
"""Headers, lifetimes, ICMP errors, delivery to the router itself."""

import itertools
import struct

from case import Case, family, mac_of, own_mac
from frames import BROADCAST, checksum, echo, eth, fragments, icmp, ip, tcp, udp

H2 = mac_of("10.0.0.2")
UNLIMITED = "sysctl -w net.ipv4.icmp_ratelimit=0"
NO_COST = "sysctl -w net.ipv4.icmp_ratemask=0"
OTHER = "02:bb:99:99:99:99"

ADDRESSES = ("0.0.0.0", "0.0.0.1", "0.255.255.255", "1.1.1.1", "10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.255",
    "10.0.1.0",
             "10.0.1.1", "10.0.1.2", "10.0.1.255", "127.0.0.1", "127.255.255.255", "169.254.1.1", "192.168.1.1",
                 "224.0.0.1",
             "224.0.0.5", "224.0.0.251", "239.1.2.3", "240.0.0.1", "255.255.255.254", "255.255.255.255")


@family("hdr")
def headers():
    case = Case("version-ihl", UNLIMITED, settle=6, fast=True)
    for version in range(16):
        case.udp(version=version)
    for ihl in range(16):
        case.udp(ihl=ihl, data=bytes(64))
    yield case.alive()
    case = Case("tot_len", UNLIMITED, settle=6, fast=True)
    for dst in ("10.0.1.2", "10.0.0.1"):
        for tot_len in (0, 1, 19, 20, 21, 27, 28, 34, 35, 36, 45, 46, 47, 60, 1500, 1501, 65535):
            case.udp(dst=dst, tot_len=tot_len)
    yield case.alive()
    case = Case("cut", UNLIMITED, settle=6, fast=True)
    for dst in ("10.0.1.2", "10.0.0.1"):
        packet = ip("10.0.0.2", dst, udp("10.0.0.2", dst))
        for n in (0, 1, 10, 19, 20, 21, 27, 28, 34):
            case.frame("p0", eth(own_mac("p0"), H2, packet[:n], pad=False))
        for n in (0, 1, 5, 18, 100, 1000):
            case.frame("p0", eth(own_mac("p0"), H2, packet + b"\xaa" * n, pad=False))
    yield case.alive()
    case = Case("checksum", settle=6)
    for value in (0, 1, 0xFFFF, 0x1234):
        case.udp(csum=value)
    for ident in range(0, 0x10000, 1013):
        case.udp(ident=ident)
    packet = ip("10.0.0.2", "10.0.1.2", b"", 99, ident=0)
    # headers whose checksum comes to each edge of ones' complement arithmetic
    base = checksum(packet[:10] + b"\0\0" + packet[12:20])
    for want in (0x0000, 0x0001, 0x00FF, 0x0100, 0xFEFE, 0xFEFF, 0xFF00, 0xFFFE, 0xFFFF):
        case.packet(ip("10.0.0.2", "10.0.1.2", b"", 99, ident=(base - want) % 0xFFFF))
        case.packet(ip("10.0.0.2", "10.0.1.2", b"", 99, ident=(base - want) % 0xFFFF, csum=want))
    yield case.alive()
    case = Case("flags-offset", UNLIMITED, settle=6, fast=True)
    for frag in (0x8000, 0xC000, 0xE000, 0x4000, 0x2000, 0x6000, 0x0001, 0x1FFF, 0x3FFF, 0x4001, 0x8001, 0xFFFF):
        for dst in ("10.0.1.2", "10.0.0.1", "192.168.1.1"):
            case.udp(dst=dst, frag=frag, ident=frag or 1)
    yield case.alive()
    case = Case("link", UNLIMITED, settle=6, fast=True)
    for mac in (own_mac("p0"), own_mac("p1"), OTHER, BROADCAST, "01:00:5e:00:00:01", "01:00:5e:01:02:03",
        "33:33:00:00:00:01",
                "01:80:c2:00:00:00", "01:80:c2:00:00:0e", "00:00:00:00:00:00", "03:aa:00:00:00:00"):
        for dst in ("10.0.1.2", "10.0.0.1", "192.168.1.1", "224.0.0.1", "10.0.0.255", "255.255.255.255"):
            case.udp(dst=dst, dst_mac=mac).echo(dst=dst, dst_mac=mac)
        case.udp(dst_mac=mac, ttl=1)
    yield case.alive()
    case = Case("drop_unicast_in_l2_multicast", "sysctl -w net.ipv4.conf.all.drop_unicast_in_l2_multicast=1", settle=6)
    for mac in (own_mac("p0"), BROADCAST, "01:00:5e:00:00:01"):
        for dst in ("10.0.1.2", "10.0.0.1", "224.0.0.1", "255.255.255.255"):
            case.udp(dst=dst, dst_mac=mac).echo(dst=dst, dst_mac=mac)
    yield case.alive()
    case = Case("ethertypes", settle=6, fast=True)
    packet = ip("10.0.0.2", "10.0.1.2", udp("10.0.0.2", "10.0.1.2"))
    for ethertype in (0, 46, 0x05DC, 0x05FF, 0x0600, 0x0801, 0x0805, 0x8035, 0x8847, 0x8863, 0x8864, 0x88CC, 0x9000,
        0xFFFF, 0x0004):
        case.frame("p0", eth(own_mac("p0"), H2, packet, ethertype))
    for lsap in (b"\xaa\xaa\x03\0\0\0\x08\0", b"\x42\x42\x03", b"\xff\xff", b"\x06\x06\x03",
        b"\xaa\xaa\x03\0\0\0\x08\x06"):
        case.frame("p0", eth(own_mac("p0"), H2, lsap + packet, len(lsap + packet)))
    yield case.alive()


@family("hdr")
def addresses():
    """Every special source with every special destination, by itself and with the settings that change it."""
    settings = {"": [], "default-route": ["ip route add default via 10.0.1.2"],
                "host": ["sysctl -w net.ipv4.ip_forward=0", "ip route add default via 10.0.1.2"],
                "localnet": ["sysctl -w net.ipv4.conf.p0.route_localnet=1", "ip route add default via 10.0.1.2"],
                "localnet-all": ["sysctl -w net.ipv4.conf.all.route_localnet=1"],
                "accept_local": ["sysctl -w net.ipv4.conf.p0.accept_local=1", "ip route add default via 10.0.1.2"],
                "rp1": ["sysctl -w net.ipv4.conf.all.rp_filter=1", "ip route add default via 10.0.1.2"],
                "rp2": ["sysctl -w net.ipv4.conf.p0.rp_filter=2"],
                    "rp1-accept_local": ["sysctl -w net.ipv4.conf.p0.rp_filter=1",
                    "sysctl -w net.ipv4.conf.p0.accept_local=1"],
                "bc_forwarding": ["sysctl -w net.ipv4.conf.all.bc_forwarding=1",
                    "sysctl -w net.ipv4.conf.p0.bc_forwarding=1",
                                  "ip route add default via 10.0.1.2"],
                "echo_broadcasts": ["sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=0",
                    "ip route add default via 10.0.1.2"],
                "echo_broadcasts-norouting": ["sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=0",
                    "sysctl -w net.ipv4.ip_forward=0"],
                "unaddressed": ["ip addr del 10.0.0.1/24 dev p0", "ip route add default via 10.0.1.2",
                    "ip route add 10.0.0.0/24 dev p0"],
                "bc_all_only": ["sysctl -w net.ipv4.conf.all.bc_forwarding=1"]}
    for (name, lines), part in itertools.product(settings.items(), range(4)):
        case = Case("addresses" + (f"-{name}" if name else "") + f"-{part}", UNLIMITED, NO_COST, *lines, settle=5,
            fast=name in ("", "default-route"))
        for port in case.ports:   # nobody is silent: the case is about routing, and not about time
            case.answer_for(port, *ADDRESSES)
        for src in ADDRESSES:
            for dst in ADDRESSES[part::4]:   # few enough that no source's errors are rationed
                case.udp(src, dst, source="10.0.0.2")
                if dst in ("10.0.0.0", "10.0.0.2"):
                    continue    # a second redirect would be a matter of milliseconds
                if src in ("10.0.0.2", "0.0.0.0", "10.0.0.255", "192.168.1.1", "10.0.1.2"):
                    case.echo(src, dst, source="10.0.0.2").echo(src, dst, source="10.0.0.2", dst_mac=BROADCAST)
        yield case.alive()


@family("ttl")
def ttl():
    payloads = {"udp": (17, udp("10.0.0.2", "10.0.1.2")), "tcp": (6, tcp("10.0.0.2", "10.0.1.2")), "echo": (1, echo()),
                "reply": (1, echo(kind=0)), "unreach": (1, icmp(3, 1, data=bytes(28))), "unknown-icmp": (1, icmp(41)),
                "icmp-empty": (1, b""), "gre": (47, bytes(20)), "p255": (255, b"x"), "igmp": (103, bytes(8))}
    for setting in ("", "ip route add 10.9.0.0/16 via 10.0.1.2"):
        case = Case("ttl" + ("-route" if setting else ""), UNLIMITED, NO_COST,
            *(f"sysctl -w net.ipv4.conf.{dev}.send_redirects=0" for dev in ("all", "p0", "p1")),
                    *([setting] if setting else []), settle=6, fast=not setting)
        for proto, payload in payloads.values():
            for value in (0, 1, 2, 255):
                for dst in ("10.0.1.2", "10.9.9.9", "10.0.0.1", "10.0.0.3"):
                    case.packet(ip(case.stranger() if dst == "10.9.9.9" else "10.0.0.2", dst, payload, proto, ttl=value))
        yield case.alive()
    case = Case("quote", UNLIMITED, NO_COST, settle=6, fast=True)
    for size in (0, 1, 7, 8, 20, 100, 500, 519, 520, 521, 527, 528, 529, 548, 549, 600, 1400, 1472):
        case.udp(data=bytes(i & 255 for i in range(size)), ttl=1)
    for tos in range(0, 256, 7):
        case.udp(tos=tos, ttl=1)
    for frag in (0x4000, 0x2000, 0x2001, 0x0005, 0x8000, 0xC000):
        case.udp(ttl=1, frag=frag)
    yield case.alive()
    for key in ("ip_default_ttl=1", "ip_default_ttl=255", "icmp_errors_use_inbound_ifaddr=1"):
        case = Case(key, UNLIMITED, NO_COST, "sysctl -w net.ipv4." + key, "ip route add 192.168.0.0/16 via 10.0.1.3",
            settle=8)
        case.udp(ttl=1).udp(dst="10.0.0.1").echo().echo(ttl=1).udp("192.168.1.1", "10.0.1.4", ttl=1).udp("10.0.1.4",
            "10.0.0.3", ttl=1)
        yield case.udp(dst="172.31.1.1").echo("192.168.1.1", "10.0.0.1").tcp(dst="10.0.0.1")


@family("icmperr")
def reasons():
    """Every error, about every kind of packet, and what no error may be sent about."""
    routes = ["ip route add unreachable 192.168.1.0/24", "ip route add prohibit 192.168.2.0/24",
        "ip route add blackhole 192.168.3.0/24",
              "ip route add throw 192.168.4.0/24", "ip route add 192.168.5.0/24 via 10.0.1.2 mtu 600",
                  "ip route add 192.168.6.0/24 via 10.0.1.99"]
    about = {"udp": (17, udp("10.0.0.2", "10.0.1.2", data=bytes(900))),
        "tcp": (6, tcp("10.0.0.2", "10.0.1.2", data=bytes(900)))}
    for kind in (0, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 30, 40, 41, 42, 43, 255):
        about[f"icmp{kind}"] = (1, icmp(kind, 0, data=bytes(900)))
    for dst in ("192.168.1.1", "192.168.2.1", "192.168.3.1", "192.168.4.1", "192.168.5.1", "192.168.99.1", "10.0.0.1",
        "10.0.1.2"):
        case = Case(f"about-{dst}", UNLIMITED, NO_COST, *routes, settle=6, times=True, fast=dst == "192.168.5.1")
        for proto, payload in about.values():
            for header in ({}, {"frag": 0x4000}, {"frag": 0x2000}, {"frag": 0x0010}, {"ttl": 1}):
                case.packet(ip(case.stranger(), dst, payload, proto, **header), source="10.0.0.2")
        case.hosts["p0"] = {f"10.0.0.{h}": H2 for h in range(2, 250)}
        yield case.alive()
    case = Case("sources", UNLIMITED, NO_COST, *routes, "ip route add default via 10.0.1.2",
        "ip addr add 10.0.0.7/32 dev p1", settle=6)
    for src in ADDRESSES:
        for dst in ("192.168.1.1", "192.168.2.1", "192.168.5.1", "10.0.0.1"):
            case.udp(src, dst, source="10.0.0.2").udp(src, dst, source="10.0.0.2", ttl=1)
            case.udp(src, dst, source="10.0.0.2", frag=0x4000, data=bytes(900)).udp(src, dst, source="10.0.0.2",
                dst_mac=BROADCAST)
    yield case.alive()
    case = Case("source-choice", UNLIMITED, NO_COST, *routes, "ip addr add 10.0.0.11/24 dev p0",
        "ip addr add 10.0.0.12/32 dev p0",
                "ip addr add 172.16.0.1/24 dev p0", "ip route add 198.51.100.0/24 via 10.0.0.3 src 10.0.0.11",
                "ip route add 203.0.113.0/24 dev p0 src 172.16.0.1", "ip route add 100.64.0.0/10 via 172.16.0.9",
                "ip route add 100.65.0.0/16 via 10.0.1.3", settle=8, fast=True)
    case.hosts["p0"] |= {h: H2 for h in ("172.16.0.9", "203.0.113.9", "172.16.0.5")}
    for src in ("10.0.0.2", "172.16.0.5", "198.51.100.9", "203.0.113.9", "100.64.0.9", "100.65.0.9", "10.0.1.5"):
        for dst in ("192.168.1.1", "10.0.1.2", "10.0.0.11", "10.0.0.12", "172.16.0.1"):
            case.udp(src, dst, source="10.0.0.2", ttl=1).echo(src, dst, source="10.0.0.2", ttl=1)
    yield case
    for more in (["sysctl -w net.ipv4.icmp_errors_use_inbound_ifaddr=1"],
        ["sysctl -w net.ipv4.conf.all.accept_local=1"]):
        case2 = Case("source-choice-" + more[0].split(".")[-1], *case.config[5:], *more, settle=8)
        case2.hosts, case2.steps = case.hosts, case.steps
        yield case2
    case = Case("unnumbered", "ip addr add 10.5.5.5/32 dev lo", "ip route add 10.0.0.0/24 dev p0",
        "ip route add 10.0.1.0/24 dev p1",
                UNLIMITED, NO_COST, addressed=False, settle=8)
    yield case.udp().udp(ttl=1).udp(dst="192.168.1.1").udp(dst="10.5.5.5").echo(dst="10.5.5.5").echo()
    case = Case("no-address", "ip route add 10.0.0.0/24 dev p0", "ip route add 10.0.1.0/24 dev p1", UNLIMITED,
        NO_COST, addressed=False, settle=8)
    yield case.udp().udp(ttl=1).udp(dst="192.168.1.1").udp(dst="10.5.5.5").echo(dst="10.5.5.5").echo().wait(3300)


def _many(case, count, gap, step):
    for i in range(count):
        step(i)
        if gap:
            case.wait(gap)
    return case


@family("icmperr")
def limits():
    """How many errors are sent in a row, and how soon there may be another."""
    lines = {"default": [], "limit500": ["sysctl -w net.ipv4.icmp_ratelimit=500"], "limit0": [UNLIMITED],
             "limit3000": ["sysctl -w net.ipv4.icmp_ratelimit=3000"], "mask0": [NO_COST],
                 "mask-echo": ["sysctl -w net.ipv4.icmp_ratemask=1"],
             "mask-all": ["sysctl -w net.ipv4.icmp_ratemask=524287"]}
    for name, config in lines.items():
        for what, step in (("ttl", lambda c, i: c.udp(ttl=1, ident=i + 1)),
            ("noroute", lambda c, i: c.udp(dst="192.168.1.1", ident=i + 1)),
                           ("port", lambda c, i: c.udp(dst="10.0.0.1", ident=i + 1)),
                               ("echo", lambda c, i: c.echo(seq=i, ident=7)),
                           ("df", lambda c, i: c.udp(dst="10.0.1.3", frag=0x4000, data=bytes(900), ident=i + 1)),
                           ("proto", lambda c, i: c.packet(ip("10.0.0.2", "10.0.0.1", b"", 200, ident=i + 1)))):
            case = Case(f"limit-{name}-{what}", "ip link set dev p1 mtu 600", *config, settle=8)
            _many(case, 12, 0, lambda i, case=case, step=step: step(case, i))
            _many(case, 4, 320, lambda i, case=case, step=step: step(case, 20 + i))
            case.wait(2200)
            yield _many(case, 5, 0, lambda i, case=case, step=step: step(case, 40 + i))
    case = Case("limit-mixed", settle=8)
    for i in range(8):
        case.udp(ttl=1, ident=i + 1).udp(dst="192.168.1.1", ident=100 + i).udp(dst="10.0.0.1",
            ident=200 + i).udp("10.0.0.3", ttl=1, ident=300 + i)
    yield case


@family("local")
def icmp_messages():
    case = Case("types", NO_COST, settle=6, fast=True, times=True)
    for kind in range(0, 48):
        for code in (0, 1, 15):
            case.packet(ip("10.0.0.2", "10.0.0.1", icmp(kind, code, struct.pack("!HH", 5, kind), bytes(range(20))), 1))
    yield case.alive()
    case = Case("lengths", settle=6, times=True, fast=True)
    for kind in (8, 13, 17, 3, 5, 11):
        message = icmp(kind, 0, struct.pack("!HH", 5, kind), bytes(range(40)))
        for n in (0, 1, 3, 4, 7, 8, 9, 11, 12, 16, 19, 20, 21, 28, 48):
            cut = message[:n]
            good = cut[:2] + b"\0\0" + cut[4:]
            good = good[:2] + struct.pack("!H", checksum(good)) + good[4:] if n >= 4 else cut
            case.packet(ip("10.0.0.2", "10.0.0.1", cut, 1)).packet(ip("10.0.0.2", "10.0.0.1", good, 1))
    for size in (0, 1, 2, 3, 100, 1000, 1471, 1472):
        case.echo(data=bytes(i & 255 for i in range(size)))
    yield case.alive()
    case = Case("echo", "ip addr add 10.0.0.11/24 dev p0", "ip addr add 10.0.1.11/24 dev p1", settle=6, fast=True)
    for dst in ("10.0.0.1", "10.0.0.11", "10.0.1.1", "10.0.1.11"):
        for tos in (0, 0x10, 0x02, 0x03, 0xFF, 0xB8, 0x1C):
            case.echo(dst=dst, tos=tos, ttl=1 if tos == 2 else 7)
        case.echo(dst=dst, frag=0x4000).echo(dst=dst, frag=0x8000)
        case.packet(ip("10.0.0.2", dst, icmp(8, 0, csum=0), 1)).packet(ip("10.0.0.2", dst, icmp(8, 5, b"abcd", b"x"),
            1))
    for size in (0, 1, 8, 900):
        case.echo(ident=0, seq=0, data=bytes(size))
    case.echo("10.0.0.1", "10.0.0.1", source="10.0.0.2").echo("10.0.1.1", "10.0.0.1", source="10.0.0.2")
    yield case.alive()
    for key in ("icmp_echo_ignore_all=1", "icmp_echo_ignore_broadcasts=0"):
        case = Case(key, "sysctl -w net.ipv4." + key, settle=6, times=True)
        for dst in ("10.0.0.1", "10.0.0.255", "255.255.255.255", "224.0.0.1", "10.0.1.255", "10.0.0.0"):
            for mac in (own_mac("p0"), BROADCAST):
                case.echo(dst=dst, dst_mac=mac).packet(ip("10.0.0.2", dst, icmp(13, 0, b"abcd", bytes(12)), 1), dst=mac)
                case.packet(ip("10.0.0.2", dst, icmp(42, 0, b"ab\0\1", b"\0\3\0\x08\0\0\0\1"), 1), dst=mac)
        yield case.alive()
    case = Case("err-for-us", NO_COST, settle=6, fast=True)
    for inner in (ip("10.0.0.1", "10.0.0.2", udp("10.0.0.1", "10.0.0.2")),
        ip("10.0.0.1", "10.0.0.2", tcp("10.0.0.1", "10.0.0.2"), 6),
                  ip("10.0.0.1", "10.0.0.2", echo(kind=0), 1), ip("10.0.0.1", "10.0.0.2", echo(), 1),
                      ip("10.0.0.9", "10.0.0.2", echo(), 1),
                  ip("10.0.0.1", "10.0.0.255", echo(), 1), ip("10.0.0.1", "10.0.0.2", b"12345678", 99),
                      ip("10.0.0.1", "10.0.0.2", b"", 1),
                  b"", b"\x45" + bytes(19), b"\x40" + bytes(27), b"\x4f" + bytes(30)):
        for kind, code in ((3, 0), (3, 2), (3, 3), (3, 4), (3, 5), (3, 13), (3, 16), (4, 0), (5, 0), (5, 1), (11, 0),
            (11, 1), (12, 0)):
            case.packet(ip("10.0.0.2", "10.0.0.1", icmp(kind, code, b"\x0a\0\0\x03", inner), 1))
    yield case.alive()


@family("local")
def by_gateway():
    case = Case("ways-back", "ip route add 192.168.0.0/16 via 10.0.1.3", "ip route add prohibit 172.16.0.0/16",
        "ip route add blackhole 172.17.0.0/16",
                "ip route add unreachable 172.18.0.0/16", NO_COST, settle=6)
    for src in ("192.168.1.1", "172.16.1.1", "172.17.1.1", "172.18.1.1", "172.19.1.1"):
        for dst in ("10.0.0.1", "10.0.1.1"):
            case.echo(src, dst, source="10.0.0.2").udp(src, dst, source="10.0.0.2").tcp(src, dst)
            case.packet(ip(src, dst, b"", 200), source="10.0.0.2")
    yield case.alive()


@family("local-l4")
def closed_ports():
    case = Case("udp", NO_COST, settle=6, fast=True)
    for data in (b"", b"x", bytes(100), bytes(520), bytes(600), bytes(1472)):
        case.udp(dst="10.0.0.1", data=data).udp(dst="10.0.1.1", data=data, tos=0xFF)
    for length in (0, 7, 8, 9, 14, 15, 16, 200):
        case.packet(ip("10.0.0.2", "10.0.0.1", udp("10.0.0.2", "10.0.0.1", length=length)))
    for csum in (0, 1, 0xFFFF):
        case.packet(ip("10.0.0.2", "10.0.0.1", udp("10.0.0.2", "10.0.0.1", csum=csum)))
    for n in range(0, 9):
        case.packet(ip("10.0.0.2", "10.0.0.1", udp("10.0.0.2", "10.0.0.1")[:n]))
    for dst in ("10.0.0.255", "255.255.255.255", "224.0.0.1", "10.0.0.0"):
        case.udp(dst=dst).udp(dst=dst, dst_mac=BROADCAST)
    case.udp(dst="10.0.0.1", sport=0).udp(dst="10.0.0.1", dport=0)
    yield case.alive()
    case = Case("tcp", settle=6, fast=True)
    for flags in range(0, 64):
        case.tcp(dst="10.0.0.1", flags=flags, seq=100 + flags, ack=9000 + flags, data=b"abc" if flags & 8 else b"")
    for extra in ({"ack": 0}, {"seq": 0xFFFFFFFF, "flags": 2}, {"seq": 0xFFFFFFFF, "flags": 3, "data": b"xyz"},
        {"csum": 0}, {"csum": 0xFFFF},
                  {"off": 4}, {"off": 15}, {"opts": b"\x02\x04\x05\xb4\x01\x01\x08\x0a" + bytes(8)}, {"window": 0},
                      {"dport": 0}, {"sport": 0}):
        case.tcp(dst="10.0.0.1", **extra).tcp(dst="10.0.0.1", **({"flags": 0x10} | extra))
    for n in range(0, 21, 4):
        case.packet(ip("10.0.0.2", "10.0.0.1", tcp("10.0.0.2", "10.0.0.1")[:n], 6))
    for header in ({"ttl": 1}, {"tos": 0xB8}, {"tos": 3}, {"frag": 0x4000}, {"ident": 0}, {"frag": 0x8000}):
        case.tcp(dst="10.0.0.1", header=header).tcp(dst="10.0.1.1", header=header, flags=0x10, ack=5)
    for dst in ("10.0.0.255", "255.255.255.255", "224.0.0.1"):
        case.tcp(dst=dst)
    yield case.alive()
    case = Case("tcp-md5-ao", settle=6)
    for option in (b"\x13\x12" + bytes(16), b"\x1d\x10\x01\x02" + bytes(12), b"\x1d\x04\x01\x02",
        b"\x05\x0a" + bytes(8)):
        case.tcp(dst="10.0.0.1", opts=option).tcp(dst="10.0.0.1", opts=option, flags=0x10, ack=77)
    yield case
    case = Case("protocols", NO_COST, settle=5, fast=True)
    for proto in range(256):
        case.packet(ip("10.0.0.2", "10.0.0.1", bytes(24), proto)) if proto != 2 else None
    for dst in ("10.0.0.255", "224.0.0.1", "255.255.255.255"):
        case.packet(ip("10.0.0.2", dst, bytes(24), 200))
    yield case.alive()
    case = Case("fragmented", NO_COST, settle=6)
    for dst in ("10.0.0.1", "10.0.1.1"):
        for payload, proto in ((udp("10.0.0.2", dst, data=bytes(2000)), 17),
            (tcp("10.0.0.2", dst, data=bytes(2000)), 6), (echo(data=bytes(3000)), 1), (bytes(2000), 200)):
            for packet in fragments(ip("10.0.0.2", dst, payload, proto, ident=proto + 77), [800, 800]):
                case.packet(packet)
    yield case.alive()
