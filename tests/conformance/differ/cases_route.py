# SPDX-License-Identifier: BSD-3-Clause
"""Which route a packet takes: prefixes, metrics, types, TOS, rules, next hops, sources, and changes under way."""

from case import Case, family, mac_of, own_mac
from frames import BROADCAST, echo, ip, tcp, udp

NO_COST = "sysctl -w net.ipv4.icmp_ratemask=0"


def three(name, *config, **options):
    options.setdefault("settle", 8)
    return Case(name, NO_COST, "sysctl -w net.ipv4.conf.all.send_redirects=0",
        *(f"sysctl -w net.ipv4.conf.p{i}.send_redirects=0" for i in range(3)), *config, ports=3, **options)


def spray(case, *destinations, src="10.0.0.2", port="p0", **header):
    for dst in destinations:
        case.udp(src, dst, port, **header)
    return case


@family("fwd")
def lookups():
    case = three("prefixes", "ip route add default via 10.0.1.2", "ip route add 10.0.0.0/8 via 10.0.2.2",
        "ip route add 10.9.0.0/16 via 10.0.1.3",
                 "ip route add 10.9.9.0/24 via 10.0.2.3", "ip route add 10.9.9.9/32 via 10.0.1.4",
                     "ip route add 10.9.9.8/31 via 10.0.2.4",
                 "ip route add 0.0.0.0/1 via 10.0.1.5", "ip route add 128.0.0.0/2 via 10.0.2.5",
                     "ip route add 192.0.2.128/25 via 10.0.1.6", fast=True)
    yield spray(case, "10.9.9.9", "10.9.9.8", "10.9.9.7", "10.9.8.1", "10.8.1.1", "11.1.1.1", "1.2.3.4", "130.1.1.1",
        "192.0.2.127", "192.0.2.129", "223.255.255.255", "192.168.0.1")
    case = three("metrics", "ip route add 192.168.0.0/24 via 10.0.1.2 metric 100",
        "ip route add 192.168.0.0/24 via 10.0.2.2 metric 50", "ip route add 192.168.0.0/24 via 10.0.1.3 metric 200",
                 "ip route append 192.168.0.0/24 via 10.0.2.3 metric 50",
                     "ip route prepend 192.168.0.0/24 via 10.0.2.4 metric 50", fast=True)
    for line in ("", "ip route del 192.168.0.0/24", "ip route del 192.168.0.0/24 metric 50",
        "ip route del 192.168.0.0/24 via 10.0.1.2", "ip route del 192.168.0.0/24", "ip route del 192.168.0.0/24",
        "ip route del 192.168.0.0/24"):
        if line:
            case.command(line, may_fail=True)
        spray(case, "192.168.0.1")
    yield case
    case = three("types", fast=True)
    for kind in ("unicast", "blackhole", "unreachable", "prohibit", "throw", "local", "broadcast", "multicast",
        "anycast", "nat"):
        where = "via 10.0.1.2" if kind == "unicast" else "dev p1" if kind in ("broadcast", "multicast",
            "anycast") else ("dev lo" if kind == "local" else "")
        case.command(f"ip route replace {kind} 192.168.1.0/24 {where} table main", may_fail=True)
        case.udp(dst="192.168.1.1").echo(dst="192.168.1.1").udp("192.168.1.1", "10.0.1.2",
            source="10.0.0.2").udp("10.0.1.2", "192.168.1.1", "p1", ttl=1)
        case.arp(1, "10.0.0.2", "192.168.1.1")
        case.command(f"ip route del {kind} 192.168.1.0/24", may_fail=True)
    yield case
    case = three("local-routes", "ip route add local 198.51.100.0/24 dev lo", "ip route add local 203.0.113.7 dev p1",
        "ip route add broadcast 192.0.2.255 dev p1 table local", fast=True)
    for dst in ("198.51.100.1", "203.0.113.7", "192.0.2.255"):
        case.echo(dst=dst).udp(dst=dst).arp(1, "10.0.0.2", dst).udp(dst, "10.0.1.2", source="10.0.0.2").tcp(dst=dst)
    yield case
    case = three("links", "ip addr add 172.16.0.0/31 dev p1", "ip addr add 172.16.1.1/32 dev p1",
        "ip route add 172.16.1.2/32 dev p1", "ip addr add 172.16.2.1 peer 172.16.2.2 dev p2",
                 "ip addr add 172.16.3.1/30 dev p2", "ip route add 192.168.1.0/24 via 172.16.0.1",
                     "ip route add 192.168.2.0/24 via 172.16.1.2", "ip route add 192.168.3.0/24 via 172.16.2.2",
                 "ip route add 192.168.4.0/24 via 203.0.113.9 dev p2 onlink", "ip route add 192.168.5.0/24 dev p1",
                     "ip route add 192.168.6.0/24 dev p1 scope link src 172.16.1.1", fast=True)
    for port, hosts in (("p1", ("172.16.0.1", "172.16.1.2", "192.168.5.1", "192.168.6.1")),
        ("p2", ("172.16.2.2", "203.0.113.9", "172.16.3.2", "172.16.3.0"))):
        case.hosts[port] |= {host: mac_of(host) for host in hosts}
    spray(case, "172.16.0.1", "172.16.0.0", "172.16.1.2", "172.16.1.3", "172.16.2.2", "172.16.2.1", "172.16.3.2",
        "172.16.3.3", "172.16.3.0", *(f"192.168.{i}.1" for i in range(1, 7)))
    for host, port in (("172.16.0.1", "p1"), ("172.16.1.2", "p1"), ("172.16.2.2", "p2")):
        case.udp(host, "10.0.0.2", port, ttl=1).echo(host, "10.0.0.1", port).arp(1, host, "172.16.0.0", port).arp(1,
            host, "172.16.2.1", port)
    yield case
    case = three("refused", fast=True)
    outside = ("192.168.1.1", "192.168.2.1", "192.168.9.1", "8.8.8.8", "240.0.0.1")
    for port in ("p1", "p2"):
        case.answer_for(port, *outside)
    for line in ("ip route add 192.168.1.0/24 via 10.9.9.9", "ip route add 192.168.1.1/24 via 10.0.1.2",
        "ip route add 192.168.1.0/24 via 10.0.1.1", "ip route add 192.168.1.0/24 via 10.0.1.255",
                 "ip route add 192.168.1.0/24 via 10.0.1.2 dev p2",
                     "ip route add 192.168.1.0/24 via 10.0.1.2 src 9.9.9.9",
                     "ip route add 192.168.1.0/24 via 10.0.1.2", "ip route add 192.168.1.0/24 via 10.0.2.2",
                 "ip route add 192.168.2.0/24 via 192.168.1.5", "ip route change 192.168.9.0/24 via 10.0.1.2",
                     "ip route replace 192.168.9.0/24 via 10.0.1.3", "ip route change 192.168.9.0/24 via 10.0.2.3",
                 "ip route del 192.168.77.0/24", "ip route append 192.168.1.0/24 via 10.0.1.2",
                     "ip route add 224.1.0.0/16 dev p1", "ip route add default dev p1",
                     "ip route add default via 10.0.2.4 metric 5", "ip route add 10.0.1.0/24 via 10.0.2.2",
                 "ip route add 10.0.1.0/25 via 10.0.2.2",
                     "ip route add 192.168.3.0/24 nexthop via 10.0.1.2 nexthop via 10.9.9.9",
                     "ip route add 192.168.4.0/24 via 10.0.1.2 mtu 40",
                     "ip route add 192.168.4.0/24 via 10.0.1.2 tos 3",
                 "ip route add 127.1.0.0/16 via 10.0.1.2", "ip route add 255.255.255.255 via 10.0.1.2",
                     "ip route add 0.0.0.0/8 via 10.0.1.2", "ip route add 240.0.0.0/4 via 10.0.1.2"):
        case.command(line, may_fail=True)
        spray(case, *outside, "10.0.1.9", src=case.stranger())
    yield case


@family("tos")
def tos():
    case = three("routes", "ip route add 192.168.1.0/24 via 10.0.1.2",
        "ip route add 192.168.1.0/24 tos 0x10 via 10.0.2.2", "ip route add 192.168.1.0/24 tos 0x1c via 10.0.2.3",
        "ip route add 192.168.1.0/24 tos 0xb8 via 10.0.2.4",
                 "ip route add 192.168.0.0/16 tos 0x20 via 10.0.2.5", "ip route add default tos 0x10 via 10.0.1.6",
                     "ip route add 192.168.1.0/24 tos 0x10 metric 5 via 10.0.1.5", fast=True)
    for value in range(0, 256, 4):
        case.udp(dst="192.168.1.1", tos=value).udp(case.stranger(), "9.9.9.9", tos=value)
    for value in (1, 2, 3, 0x11, 0x13, 0xBB):
        case.udp(dst="192.168.1.1", tos=value).echo("192.168.1.1", "10.0.0.1", tos=value,
            source="10.0.0.2").udp("192.168.1.1", "10.0.0.1", tos=value, source="10.0.0.2")
    yield case
    case = three("rules", "ip route add 192.168.1.0/24 via 10.0.1.2",
        "ip route add 192.168.1.0/24 via 10.0.2.2 table 100", "ip rule add tos 0x10 table 100", fast=True)
    for line in ("ip rule add dsfield 0xb8 table 100 priority 50", "ip rule add dsfield 0x1c table 100 priority 51",
        "ip rule add tos 3 table 100"):
        case.command(line, may_fail=True)
    for value in (0, 4, 8, 0x0C, 0x10, 0x11, 0x14, 0x18, 0x1C, 0x90, 0xB8, 0xB9, 0xFC):
        case.udp(dst="192.168.1.1", tos=value).echo("192.168.1.1", "10.0.0.1", tos=value, source="10.0.0.2")
    yield case
    case = three("changes", "ip route add 192.168.1.0/24 tos 0x10 via 10.0.1.2",
        "ip route add 192.168.1.0/24 tos 0x08 via 10.0.1.3", "ip route add 192.168.1.0/24 via 10.0.1.4")
    for line in ("ip route replace 192.168.1.0/24 tos 0x10 via 10.0.2.2", "ip route del 192.168.1.0/24 tos 0x08",
        "ip route add 192.168.1.0/24 tos 0x10 via 10.0.2.3", "ip route append 192.168.1.0/24 tos 0x10 via 10.0.2.3",
                 "ip route del 192.168.1.0/24", "ip route change 192.168.1.0/24 tos 0x10 via 10.0.2.5",
                     "ip route del 192.168.1.0/24 tos 0x10", "ip route del 192.168.1.0/24",
                     "ip route del 192.168.1.0/24"):
        case.command(line, may_fail=True)
        for value in (0, 8, 0x10, 0x20):
            case.udp(dst="192.168.1.1", tos=value)
    yield case


@family("rule")
def rules():
    tables = ["ip route add default via 10.0.1.2", "ip route add default via 10.0.2.2 table 100",
        "ip route add default via 10.0.1.3 table 101", "ip route add 192.168.1.0/24 via 10.0.2.4 table 102",
        "ip route add throw 192.168.2.0/24 table 103",
              "ip route add default via 10.0.2.5 table 103", "ip route add unreachable default table 104",
                  "ip route add blackhole default table 105", "ip route add prohibit default table 106"]
    selectors = ["from 10.0.0.2", "from 10.0.0.0/24", "to 192.168.1.0/24", "iif p0", "iif p1", "not from 10.0.0.2",
        "tos 0x10", "fwmark 7", "ipproto udp", "ipproto udp dport 2000", "sport 1000", "ipproto tcp dport 1-100",
                 "ipproto icmp", "from all", "oif p2", "iif lo", "from 10.0.0.2 to 192.168.2.1",
                     "not to 192.168.1.1 iif p0", "dport 2000-3000 sport 999-1001"]
    for i, selector in enumerate(selectors):
        case = three("select-" + selector.replace(" ", "_").replace("/", "-"), *tables,
            f"ip rule add {selector} table 100", fast=i % 4 == 0)
        case.hosts["p0"]["10.0.0.2"] = mac_of("10.0.0.2")
        for dst in ("192.168.1.1", "192.168.2.1", "10.0.0.3", "10.0.1.7"):
            case.udp(dst=dst).udp("10.0.0.3", dst).tcp(dst=dst).echo(dst=dst).udp(dst=dst, sport=5,
                dport=6).udp(dst=dst, tos=0x10).udp("10.0.1.4", dst, "p1").udp(dst=dst, frag=0x0010).udp(dst=dst,
                frag=0x2000)
            case.udp("172.20.1.1", dst, source="10.0.0.2", ttl=1).echo("172.20.1.1", "10.0.0.1", source="10.0.0.2")
        yield case
    for action in ("table 102", "table 103", "table 104", "table 105", "table 106", "table 199", "blackhole",
        "unreachable", "prohibit", "table main suppress_prefixlength 0", "table 100 suppress_prefixlength 0",
        "table main suppress_prefixlength 16",
                   "table main suppress_prefixlength 24"):
        case = three("act-" + action.replace(" ", "_"), *tables, f"ip rule add from 10.0.0.2 {action} priority 100",
            "ip rule add from 10.0.0.2 table 101 priority 200", "ip rule add from all table 100 priority 500",
            fast="suppress" in action)
        yield spray(spray(case, "192.168.1.1", "192.168.2.1", "8.8.8.8", "10.0.1.3"), "192.168.1.1", "8.8.8.8",
            src="10.0.0.3").echo("8.8.8.8", "10.0.0.1", source="10.0.0.2").udp(ttl=1, dst="8.8.8.8")
    case = three("order", *tables, fast=True)
    for line in ("ip rule add from 10.0.0.2 table 100", "ip rule add from 10.0.0.2 table 101",
        "ip rule add from 10.0.0.2 table 101 priority 10", "ip rule del from 10.0.0.2 table 101 priority 10",
        "ip rule del priority 32766", "ip rule add table main priority 32766",
                 "ip rule add from 10.0.0.2 table 100", "ip rule del from 10.0.0.2", "ip rule del table 100",
                     "ip rule del priority 0", "ip rule add table local priority 0", "ip rule del from 9.9.9.9",
                     "ip rule flush", "ip rule add table 100", "ip rule add priority 1 from all to 8.8.8.8 prohibit"):
        case.command(line, may_fail=True)
        spray(case, "8.8.8.8", "10.0.1.3").udp("10.0.0.3", "8.8.8.8").echo()
    yield case


@family("rpf")
def sources():
    for all_value in (0, 1, 2):
        for value in (0, 1, 2):
            for more, lines in (("", []), ("-default", ["ip route add default via 10.0.1.2"]),
                ("-own", ["ip route add default via 10.0.0.4", "ip addr add 172.16.0.1/24 dev p0"])):
                case = three(f"rp{all_value}{value}{more}", f"sysctl -w net.ipv4.conf.all.rp_filter={all_value}",
                    f"sysctl -w net.ipv4.conf.p0.rp_filter={value}", "ip route add 192.168.1.0/24 via 10.0.1.3",
                    "ip route add 192.168.2.0/24 via 10.0.0.3",
                             "ip route add unreachable 192.168.3.0/24", "ip route add blackhole 192.168.4.0/24",
                                 "ip route add 192.168.5.0/24 nexthop via 10.0.0.3 nexthop via 10.0.1.3",
                                 "ip route add throw 192.168.6.0/24", "ip route add local 192.168.7.0/24 dev lo",
                             "ip route add 192.168.8.0/24 via 10.0.1.3",
                                 "ip route append 192.168.8.0/24 via 10.0.0.3",
                                 "ip route add 192.168.9.0/24 via 10.0.0.3 metric 10",
                                 "ip route add 192.168.9.0/24 via 10.0.1.3 metric 5", *lines,
                                 fast=(all_value, value) in ((1, 0), (0, 2)) and not more)
                for src in ("10.0.0.2", "10.0.0.1", "10.0.1.2", "10.0.1.1", "10.0.0.255", "10.0.1.255", "172.16.0.9",
                    "8.8.8.8", "127.0.0.1", "0.0.0.0", "0.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1",
                    *(f"192.168.{i}.1" for i in range(1, 10))):
                    case.udp(src, "10.0.2.2", source="10.0.0.2").echo(src, "10.0.0.1", source="10.0.0.2").udp(src,
                        "10.0.0.255", source="10.0.0.2", dst_mac=BROADCAST).arp(1, src, "10.0.0.1",
                        sha=mac_of("10.0.0.2"))
                    case.udp(src, "192.168.2.9", source="10.0.0.2")
                yield case
    for line in ("accept_local", "src_valid_mark", "route_localnet", "log_martians"):
        case = three(f"rp1-{line}", "sysctl -w net.ipv4.conf.all.rp_filter=1",
            f"sysctl -w net.ipv4.conf.all.{line}=1", "ip rule add fwmark 1 table 100",
            "ip route add 192.168.1.0/24 dev p0 table 100",
            "iptables -t mangle -A PREROUTING -s 192.168.1.1 -j MARK --set-mark 1",
            "ip route add 192.168.1.0/24 via 10.0.1.3")
        for src in ("192.168.1.1", "192.168.1.2", "10.0.0.1", "10.0.1.1", "10.0.1.2", "127.0.0.1"):
            case.udp(src, "10.0.2.2", source="10.0.0.2").echo(src, "10.0.0.1", source="10.0.0.2")
        yield case
    case = three("unnumbered", "sysctl -w net.ipv4.conf.all.rp_filter=2", "ip addr del 10.0.0.1/24 dev p0",
        "ip route add 10.0.0.0/24 dev p0", "ip route add 192.168.1.0/24 via 10.0.1.3")
    for src in ("10.0.0.2", "192.168.1.1", "8.8.8.8", "10.0.1.1"):
        case.udp(src, "10.0.2.2", source="10.0.0.2").udp(src, "10.0.1.2", source="10.0.0.2")
    yield case


@family("bcast")
def broadcasts():
    targets = ("10.0.0.255", "10.0.1.255", "10.0.2.255", "10.0.0.0", "10.0.1.0", "255.255.255.255", "10.255.255.255",
        "224.0.0.1", "224.0.0.2", "224.0.0.9", "239.1.1.1", "172.16.0.255", "172.16.9.255", "172.17.0.7")
    addresses = ["ip addr add 172.16.0.1/24 brd 172.16.9.255 dev p1", "ip addr add 172.17.0.1/29 brd + dev p1"]
    for forwarding, lines in (("", []), ("-all", ["sysctl -w net.ipv4.conf.all.bc_forwarding=1"]),
        ("-p0", ["sysctl -w net.ipv4.conf.all.bc_forwarding=1", "sysctl -w net.ipv4.conf.p0.bc_forwarding=1"]),
        ("-p1", ["sysctl -w net.ipv4.conf.all.bc_forwarding=1", "sysctl -w net.ipv4.conf.p1.bc_forwarding=1"]),
                              ("-echo", ["sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=0"]),
                                  ("-both", ["sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=0",
                                  "sysctl -w net.ipv4.conf.all.bc_forwarding=1",
                                  "sysctl -w net.ipv4.conf.p0.bc_forwarding=1", "ip route add default via 10.0.2.3"]),
                              ("-mroute", ["ip route add multicast 239.0.0.0/8 dev p1",
                                  "ip route add 224.0.0.0/4 dev p2"]),
                                  ("-default", ["ip route add default via 10.0.2.3"])):
        case = three("bc" + forwarding, *addresses, *lines, fast=forwarding in ("", "-both", "-p0"))
        case.answer_for("p0", "10.0.0.0").answer_for("p1", "10.0.1.0")
        for dst in targets:
            for mac in (own_mac("p0"), BROADCAST):
                for ttl in (64, 1):
                    case.udp(dst=dst, dst_mac=mac, ttl=ttl).echo(dst=dst, dst_mac=mac, ttl=ttl)
                case.tcp(dst=dst).packet(ip("10.0.0.2", dst, b"", 200), dst=mac).udp(dst=dst, dst_mac=mac,
                    data=bytes(1472), frag=0x4000).udp("10.0.0.2", dst, dst_mac=mac, opts=b"\x07\x07\x04" + bytes(4))
        yield case.udp("10.0.1.2", "10.0.0.255", "p1").echo("10.0.1.2", "10.0.0.255", "p1").udp("10.0.0.2",
            "10.0.0.255").alive()
    case = three("mtu", "sysctl -w net.ipv4.conf.all.bc_forwarding=1", "sysctl -w net.ipv4.conf.p0.bc_forwarding=1",
        "ip link set dev p1 mtu 600")
    yield case.udp(dst="10.0.1.255", data=bytes(1000)).udp(dst="10.0.1.255", data=bytes(1000),
        frag=0x4000).udp(dst="10.0.1.255", dst_mac=BROADCAST, data=bytes(1000))


def flows(case, dst, count=240, l4=False):
    """One packet each of many flows, then all of them again: they have to take the same way."""
    from frames import eth
    pairs = []
    for i in range(count):
        src = f"10.0.0.{2 + i % 6}" if l4 else f"172.30.{i % 7}.{i % 250 + 1}"
        to = dst if l4 else f"{dst.rsplit('.', 1)[0]}.{i % 200 + 1}"
        pairs.append(("p0", eth(own_mac("p0"), mac_of("10.0.0.2"),
            ip(src, to, udp(src, to, 2000 + i if l4 else 5, 6000 + i % 9 if l4 else 6), ident=i + 1))))
    for start in range(0, count, 40):
        case.burst(pairs[start:start + 40])
    return case.burst(pairs[:40])


@family("mpath")
def next_hops():
    for name, hops in (("equal", "nexthop via 10.0.1.2 nexthop via 10.0.2.2"),
        ("one-port", "nexthop via 10.0.1.2 nexthop via 10.0.1.3"),
        ("weights", "nexthop via 10.0.1.2 weight 1 nexthop via 10.0.2.2 weight 4"),
                       ("three", "nexthop via 10.0.1.2 weight 3 nexthop via 10.0.2.2 weight 2 nexthop via 10.0.2.3"),
                           ("on-link", "nexthop dev p1 nexthop via 10.0.2.2"),
                           ("big", "nexthop via 10.0.1.2 weight 256 nexthop via 10.0.2.2 weight 1")):
        for policy in (0, 1, 2):
            case = three(f"{name}-policy{policy}", f"sysctl -w net.ipv4.fib_multipath_hash_policy={policy}",
                f"ip route add 192.168.0.0/16 {hops}", multipath="l4" if policy == 1 else "l3", arp=False, settle=20,
                counters=False, fast=name == "weights" and policy < 2)
            case.learn("10.0.1.2", "10.0.1.3", "10.0.2.2", "10.0.2.3")
            case.hosts["p1"] |= {f"192.168.7.{i}": mac_of(f"192.168.7.{i}") for i in range(256)}
            yield flows(case, "192.168.7.7", l4=policy == 1)
    for line in ("ip link set dev p2 down", "ip route del 10.0.2.0/24 dev p2", "ip addr del 10.0.2.1/24 dev p2",
        "ip neigh replace 10.0.2.2 dev p2 nud failed"):
        case = three("dies-" + line.split("dev")[0].replace("ip ", "").strip().replace(" ", "_").replace("/", "-"),
            "ip route add 192.168.0.0/16 nexthop via 10.0.1.2 nexthop via 10.0.2.2", multipath="l3", arp=False,
            settle=20, counters=False)
        case.learn("10.0.1.2", "10.0.2.2").command(line, may_fail=True)
        yield flows(case, "192.168.7.7", 120)
    case = three("comes-back", "ip route add 192.168.0.0/16 nexthop via 10.0.1.2 nexthop via 10.0.2.2",
        "sysctl -w net.ipv4.conf.all.ignore_routes_with_linkdown=1")
    case.command("ip link set dev p2 down").udp(dst="192.168.1.1").udp(dst="192.168.1.2").udp(dst="192.168.1.3").command("ip link set dev p2 up")
    yield case.command("ip link set dev p1 down").udp(dst="192.168.1.1").command("ip link set dev p1 up").udp(dst="192.168.1.1")
    case = three("inet6", "ip -6 addr add fe80::1/64 dev p1", "ip neigh add fe80::2 lladdr 02:bb:66:66:66:66 dev p1",
        "ip route add 192.168.1.0/24 via inet6 fe80::2 dev p1",
        "ip route add 192.168.2.0/24 nexthop via inet6 fe80::2 dev p1 nexthop via 10.0.1.2", arp=False)
    del case
    case = three("metrics", "ip route add 192.168.0.0/16 mtu 600 nexthop via 10.0.1.2 nexthop via 10.0.1.2",
        "ip route add 192.169.0.0/16 nexthop via 10.0.0.3 nexthop via 10.0.0.3")
    yield case.udp(dst="192.168.1.1", data=bytes(800)).udp(dst="192.168.1.1", data=bytes(800),
        frag=0x4000).udp(dst="192.168.1.1", ttl=1).udp(dst="192.169.1.1").echo("192.168.1.1", "10.0.0.1",
        source="10.0.0.2")


@family("dyn")
def changes():
    base = ["ip route add 192.168.1.0/24 via 10.0.1.2", "ip route add 192.168.2.0/24 via 10.0.2.2"]

    # Each time from another host: how many are told within a second that there is no route is limited per host
    # (route.error_cost, which a namespace cannot set), so that which of them are hangs on milliseconds.
    def traffic(case, turn=0):
        src = f"10.0.0.{2 + turn % 8}"
        return case.udp(src, "192.168.1.1").udp(src, "192.168.2.1").udp(src, "10.0.1.4").udp("10.0.1.4", "10.0.0.3",
            "p1").echo(src).echo(src, "10.0.1.1").udp(src, "10.0.1.1", ttl=3).udp(src, "8.8.8.8").arp(1, src,
            "10.0.1.1").udp(src, "10.0.2.5", ttl=1)

    lines = {
        "addr": ["ip addr del 10.0.1.1/24 dev p1", "ip addr add 10.0.1.1/24 dev p1",
            "ip route add 192.168.1.0/24 via 10.0.1.2", "ip addr add 10.0.1.50/24 dev p1",
            "ip addr del 10.0.1.1/24 dev p1", "ip addr add 10.0.1.1/25 dev p1", "ip addr flush dev p1"],
        "promote": ["sysctl -w net.ipv4.conf.p1.promote_secondaries=1", "ip addr add 10.0.1.50/24 dev p1",
            "ip addr add 10.0.1.51/24 dev p1", "ip addr del 10.0.1.1/24 dev p1", "ip addr del 10.0.1.50/24 dev p1",
            "ip addr add 10.0.1.1/24 dev p1"],
        "link": ["ip link set dev p1 down", "ip link set dev p1 up", "ip route add 192.168.1.0/24 via 10.0.1.2",
            "ip link set dev p0 down", "ip link set dev p0 up", "ip link set dev p2 down",
            "ip route add 192.168.2.0/24 via 10.0.1.3", "ip link set dev p2 up"],
        "mtu": ["ip link set dev p1 mtu 600", "ip link set dev p1 mtu 68", "ip link set dev p1 mtu 67",
            "ip link set dev p1 mtu 1500", "ip link set dev p1 mtu 9000", "ip link set dev p0 mtu 30"],
        "mac": ["ip link set dev p1 address 02:aa:00:00:00:91", "ip link set dev p0 address 02:aa:00:00:00:90",
            "ip link set dev p1 address 01:00:00:00:00:01"],
        "neigh": ["ip neigh del 10.0.1.2 dev p1", f"ip neigh replace 10.0.1.2 lladdr {mac_of('9.9.9.9')} dev p1",
            "ip neigh flush dev p1", "ip neigh add 10.0.1.4 lladdr 02:bb:44:44:44:44 dev p1 nud stale",
            "ip neigh change 10.0.1.4 lladdr 02:bb:44:44:44:45 dev p1 nud reachable", "ip neigh del 10.0.1.4 dev p1",
            "ip neigh del 10.0.1.4 dev p1",
                  "ip neigh flush all"],
        "route": ["ip route del 192.168.1.0/24", "ip route add 192.168.0.0/16 via 10.0.2.3",
            "ip route add 192.168.1.0/24 via 10.0.1.3 src 10.0.0.1", "ip route add 192.168.1.1/32 via 10.0.2.4",
            "ip route change 192.168.1.0/24 via 10.0.1.5", "ip route del 192.168.1.1",
            "ip route flush 192.168.0.0/16", "ip route flush root 192.168.0.0/16", "ip route add default via 10.0.1.6",
                  "ip route replace default via 10.0.2.6", "ip route replace blackhole default",
                      "ip route add prohibit 10.0.1.4", "ip route flush table main", "ip route add 10.0.1.0/24 dev p1"],
        "sysctl": ["sysctl -w net.ipv4.ip_forward=0", "sysctl -w net.ipv4.ip_forward=1",
            "sysctl -w net.ipv4.conf.p0.forwarding=0", "sysctl -w net.ipv4.conf.p1.forwarding=0",
            "sysctl -w net.ipv4.conf.all.forwarding=1", "sysctl -w net.ipv4.ip_default_ttl=9",
            "sysctl -w net.ipv4.icmp_echo_ignore_all=1", "sysctl -w net.ipv4.conf.default.rp_filter=1",
                   "sysctl -w net.ipv4.conf.all.rp_filter=1", "sysctl -w net.ipv4.conf.all.accept_local=1"],
        "rule": ["ip rule add from 10.0.0.2 prohibit", "ip rule del from 10.0.0.2 prohibit",
            "ip route add default via 10.0.2.7 table 5", "ip rule add to 8.8.8.8 table 5",
            "ip rule add priority 3 iif p0 blackhole", "ip rule del priority 3", "ip rule del to 8.8.8.8",
            "ip rule add from all to 10.0.1.1 unreachable priority 0"],
        "secondary": ["ip addr add 10.0.0.200/24 dev p0", "ip addr add 10.0.0.201/24 dev p0",
            "ip addr del 10.0.0.200/24 dev p0", "ip addr add 10.0.0.202/32 dev p0",
            "ip addr add 172.16.0.1/24 dev p0", "ip addr del 10.0.0.1/24 dev p0"],
    }
    for name, changes_ in lines.items():
        case = three(name, *base, fast=name in ("addr", "route", "neigh", "link"))
        case.hosts["p1"]["8.8.8.8"] = mac_of("8.8.8.8")
        traffic(case)
        for turn, line in enumerate(changes_, 1):
            traffic(case.command(line, may_fail=True), turn)
        yield case.wait(20)


@family("frag")
def forwarded():
    """Pieces are forwarded as they come, or cut again."""
    case = three("transit", "ip link set dev p1 mtu 600", fast=True)
    from frames import fragments
    for proto, payload in ((17, udp("10.0.0.2", "10.0.1.2", data=bytes(3000))), (1, echo(data=bytes(3000))),
        (6, tcp("10.0.0.2", "10.0.1.2", data=bytes(3000)))):
        for sizes in ((1480, 1480), (576, 576, 576), (8, 1000, 1480)):
            for packet in fragments(ip("10.0.0.2", "10.0.1.2", payload, proto, ident=len(sizes) * 10 + proto),
                list(sizes)):
                case.packet(packet)
    yield case
