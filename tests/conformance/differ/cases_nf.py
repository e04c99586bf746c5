# SPDX-License-Identifier: BSD-3-Clause
"""iptables: what matches, what a target does to a packet, and in which order."""

from case import Case, family, mac_of
from frames import echo, icmp, ip, tcp, udp

QUIET = ["sysctl -w net.ipv4.icmp_ratemask=0"]


def mixed(case, dst="10.0.1.2", src="10.0.0.2", port="p0"):
    """Packets of every kind that a match may tell apart."""
    case.udp(src, dst, port).udp(src, dst, port, sport=53, dport=53, ttl=9, tos=0x10).udp(src, dst, port,
        data=bytes(600), tos=0xB8).udp(src, dst, port, ttl=1)
    case.udp(src, dst, port, sport=1024, dport=65535).udp(src, dst, port, sport=0, dport=0).udp(src, dst, port,
        frag=0x2000).udp(src, dst, port, frag=0x0010).udp(src, dst, port, tos=3)
    for flags in (0x02, 0x12, 0x10, 0x11, 0x04, 0x18, 0x00, 0x3F, 0x29):
        case.tcp(src, dst, port, flags=flags, opts=b"\x02\x04\x05\xb4" if flags & 2 else b"",
            data=b"xyz" if flags == 0x18 else b"")
    case.tcp(src, dst, port, dport=443, flags=2, opts=b"\x02\x04\x02\x00\x01\x03\x03\x07").tcp(src, dst, port,
        sport=22, flags=0x10)
    for kind, code in ((8, 0), (0, 0), (3, 1), (3, 3), (3, 4), (11, 0), (12, 1), (13, 0), (5, 1), (17, 0)):
        case.packet(ip(src, dst, icmp(kind, code, b"\0\1\0\2", ip(dst, src, udp(dst, src)) if kind in (3, 5, 11,
            12) else bytes(12)), 1), port)
    for proto in (47, 50, 132, 136, 255):
        case.packet(ip(src, dst, bytes(24), proto), port)
    return case.packet(ip(src, dst, udp(src, dst), 17, opts=b"\x07\x07\x04" + bytes(4)),
        port).packet(ip(src, dst, udp(src, dst)[:6], 17), port).packet(ip(src, dst, tcp(src, dst)[:13], 6), port)


MATCHES = ("-s 10.0.0.2", "! -s 10.0.0.2", "-s 10.0.0.0/24", "-d 10.0.1.2", "! -d 10.0.1.0/24", "-i p0", "! -i p0",
    "-i p+", "-o p1", "! -o p1", "-o p2", "-p udp", "! -p udp", "-p tcp", "-p icmp", "-p 47", "-p all",
    "-p udp --dport 2000",
           "-p udp --sport 0:1023", "-p udp --sport 1024:", "-p udp ! --dport 2000", "-p tcp --dport 80",
               "-p tcp --sport 22", "-p tcp --syn", "-p tcp ! --syn", "-p tcp --tcp-flags SYN,ACK,FIN,RST ACK",
               "-p tcp --tcp-flags ALL NONE", "-p tcp --tcp-flags ALL ALL",
           "-p tcp --tcp-flags ALL FIN,PSH,URG", "-p tcp --tcp-option 2", "-p tcp ! --tcp-option 2",
               "-p icmp --icmp-type 8", "-p icmp --icmp-type echo-reply",
               "-p icmp --icmp-type destination-unreachable", "-p icmp --icmp-type 3/4", "-p icmp --icmp-type any",
           "-p icmp ! --icmp-type 8", "-f", "! -f", "-m multiport -p udp --dports 53,2000",
               "-m multiport -p udp --sports 0:53,1000", "-m multiport -p tcp --ports 22,443",
               "-m multiport -p tcp ! --dports 80", "-m iprange --src-range 10.0.0.2-10.0.0.4",
           "-m iprange ! --dst-range 10.0.1.3-10.0.1.9", "-m ttl --ttl-eq 9", "-m ttl --ttl-lt 10",
               "-m ttl --ttl-gt 10", "-m length --length 35", "-m length --length 0:100", "-m length ! --length 100:",
               "-m dscp --dscp 46", "-m dscp --dscp-class EF", "-m tos --tos 0x10",
           "-m tos --tos 0x10/0x1c", "-m tos ! --tos 0", "-m mark --mark 0", "-m mark ! --mark 1",
               "-m mac --mac-source 02:bb:0a:00:00:02", "-m mac ! --mac-source 02:bb:0a:00:00:02",
               "-m addrtype --dst-type UNICAST", "-m addrtype --dst-type LOCAL", "-m addrtype --src-type LOCAL",
           "-m addrtype ! --src-type UNICAST", "-m addrtype --src-type UNICAST --limit-iface-in",
               "-m statistic --mode nth --every 3 --packet 0", "-m statistic --mode nth --every 2 --packet 1",
               "-m comment --comment text", "-m limit --limit 1/hour --limit-burst 5",
               "-p udp -m udp --dport 2000:2000 -s 10.0.0.0/8 -i p0 -o p1",
           "-p icmp --icmp-type 5")


@family("nf-filter")
def matches():
    for i, match in enumerate(MATCHES):
        case = Case("m-" + match.replace(" ", "_").replace("/", "|"), *QUIET, settle=5, times=True, fast=i % 9 == 0)
        mixed(case.command(f"iptables -A FORWARD {match} -j DROP"))
        case.command("iptables -F FORWARD")
        if "-o" not in match.split():
            case.command(f"iptables -A INPUT {match} -j DROP")
            mixed(case, "10.0.0.1")
        if "-i" not in match.split() and "mac" not in match and "iface" not in match:
            case.command("iptables -F").command(f"iptables -A OUTPUT {match} -j DROP")
            mixed(case, "10.0.0.1").udp(dst="8.8.8.8")
        yield case


@family("nf-filter")
def rejects():
    for what in ("", *("--reject-with " + w for w in ("icmp-net-unreachable", "icmp-host-unreachable",
        "icmp-port-unreachable", "icmp-proto-unreachable", "icmp-net-prohibited", "icmp-host-prohibited",
        "icmp-admin-prohibited"))):
        for chain in ("FORWARD", "INPUT", "OUTPUT"):
            case = Case(f"reject-{chain}-{what.split(' ')[-1] or 'default'}", *QUIET,
                f"iptables -A {chain} -j REJECT {what}".rstrip(), settle=5, times=True, fast=not what)
            mixed(case, "10.0.1.2" if chain == "FORWARD" else "10.0.0.1").udp(dst="10.0.0.255").echo(dst="10.0.0.255").udp("8.8.8.8", source="10.0.0.2").udp("10.0.0.7", ttl=1)
            yield case
    for chain in ("FORWARD", "INPUT", "OUTPUT"):
        case = Case(f"reject-{chain}-tcp-reset", *QUIET,
            f"iptables -A {chain} -p tcp -j REJECT --reject-with tcp-reset",
            "iptables -A OUTPUT -p tcp --tcp-flags RST RST -j ACCEPT", settle=5, times=True, fast=True)
        dst = "10.0.1.2" if chain == "FORWARD" else "10.0.0.1"
        mixed(case, dst)
        for flags in range(0, 64, 3):
            case.tcp(dst=dst, flags=flags, seq=77, ack=99, data=b"ab")
        yield case.tcp(dst=dst, csum=0).tcp(dst=dst, header={"frag": 0x2000}).tcp(dst=dst,
            header={"ttl": 1}).tcp(dst=dst, header={"tos": 0xB8}).tcp("8.8.8.8", dst)


@family("nf-filter")
def chains():
    case = Case("user-chains", *QUIET, "iptables -N A", "iptables -N B", "iptables -A FORWARD -p udp -j A",
        "iptables -A FORWARD -p tcp -g B", "iptables -A FORWARD -p icmp -j DROP",
        "iptables -A A -m ttl --ttl-lt 10 -j RETURN", "iptables -A A -p udp --dport 53 -j DROP",
                "iptables -A A -s 10.0.0.2 -j B", "iptables -A B -p udp -m length --length 100: -j DROP",
                    "iptables -A B -p tcp --syn -j DROP", "iptables -P FORWARD DROP",
                    "iptables -A FORWARD -d 10.0.1.2 -j ACCEPT", fast=True, settle=5, times=True)
    yield mixed(case)
    case = Case("policies", *QUIET, settle=5, times=True, fast=True)
    for line in ("-P FORWARD DROP", "-P INPUT DROP", "-P FORWARD ACCEPT", "-P OUTPUT DROP", "-P INPUT ACCEPT",
        "-P OUTPUT ACCEPT", "-A INPUT -p icmp -j DROP", "-I INPUT -p icmp --icmp-type 8 -j ACCEPT",
        "-R INPUT 1 -p udp -j DROP", "-D INPUT 1", "-D INPUT -p icmp -j DROP", "-D INPUT 9", "-F", "-N X",
        "-A FORWARD -j X", "-X X", "-A X -j DROP", "-F X",
                 "-D FORWARD -j X", "-X X", "-Z", "-A NOPE -j DROP", "-t raw -A PREROUTING -d 10.0.0.1 -j DROP",
                     "-t raw -F", "-t mangle -P POSTROUTING DROP", "-t mangle -P POSTROUTING ACCEPT",
                     "-t mangle -P PREROUTING DROP"):
        case.command("iptables " + line, may_fail=True).udp().echo().udp(dst="10.0.0.1").udp(ttl=1)
    yield case
    case = Case("limit", *QUIET, "iptables -A FORWARD -m limit --limit 4/second --limit-burst 3 -j ACCEPT",
        "iptables -P FORWARD DROP", settle=6)
    for i in range(8):
        case.udp(ident=i + 1)
    for i in range(6):
        case.wait(300).udp(ident=i + 20)
    yield case


@family("nf-mangle")
def targets():
    sets = {"mark-route": ["iptables -t mangle -A PREROUTING -p udp -j MARK --set-mark 7",
        "ip rule add fwmark 7 table 100", "ip route add default via 10.0.1.5 table 100"],
            "xmark": ["iptables -t mangle -A PREROUTING -j MARK --set-xmark 0xff/0xf0",
                "iptables -t mangle -A PREROUTING -j MARK --or-mark 1",
                "iptables -t mangle -A PREROUTING -j MARK --and-mark 0xf1",
                "iptables -t mangle -A FORWARD -m mark --mark 0xf1 -j TTL --ttl-set 33"],
            "mark-output": ["iptables -t mangle -A OUTPUT -p icmp -j MARK --set-mark 7",
                "ip rule add fwmark 7 table 100", "ip route add default via 10.0.1.5 table 100"],
            "tos": ["iptables -t mangle -A FORWARD -p udp -j TOS --set-tos 0x10",
                "iptables -t mangle -A FORWARD -p tcp -j TOS --set-tos 0x08/0x1c",
                "iptables -t mangle -A POSTROUTING -p icmp -j TOS --set-tos 0xff",
                "iptables -t mangle -A OUTPUT -p icmp -j TOS --set-tos 0x04"],
            "dscp": ["iptables -t mangle -A FORWARD -p udp -j DSCP --set-dscp 46",
                "iptables -t mangle -A POSTROUTING -p tcp -j DSCP --set-dscp-class AF31",
                "iptables -t mangle -A PREROUTING -p icmp -j DSCP --set-dscp 0"],
            "ttl": ["iptables -t mangle -A PREROUTING -p udp -j TTL --ttl-set 5",
                "iptables -t mangle -A FORWARD -p tcp -j TTL --ttl-dec 3",
                "iptables -t mangle -A POSTROUTING -p icmp -j TTL --ttl-inc 200"],
            "ttl-dec": ["iptables -t mangle -A PREROUTING -j TTL --ttl-dec 70"],
                "ttl-inc": ["iptables -t mangle -A PREROUTING -j TTL --ttl-inc 1"],
            "mss": ["iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1000"],
                "mss-clamp": ["iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu", "ip link set dev p1 mtu 900"],
            "mss-up": ["iptables -t mangle -A FORWARD -p tcp --syn -j TCPMSS --set-mss 9000"],
            "input": ["iptables -t mangle -A INPUT -j TTL --ttl-set 99",
                "iptables -t mangle -A INPUT -p udp --dport 53 -j DROP"],
                "postrouting": ["iptables -t mangle -A POSTROUTING -o p0 -j TTL --ttl-set 77",
                "iptables -t mangle -A POSTROUTING -d 10.0.1.2 -p tcp -j DROP"],
            "raw": ["iptables -t raw -A PREROUTING -p udp -j DROP",
                "iptables -t raw -A OUTPUT -p icmp --icmp-type 0 -j DROP",
                "iptables -t raw -A PREROUTING -p tcp -j NOTRACK"],
            "reflect": ["sysctl -w net.ipv4.fwmark_reflect=1",
                "iptables -t mangle -A PREROUTING -j MARK --set-mark 7", "ip rule add fwmark 7 table 100",
                "ip route add default via 10.0.1.5 table 100"],
            "log": ["iptables -A FORWARD -j LOG --log-prefix x", "iptables -A FORWARD -p udp -j DROP"]}
    for name, lines in sets.items():
        case = Case("t-" + name, *QUIET, *lines, settle=5, times=True, fast=name in ("mark-route", "mss", "ttl"))
        mixed(mixed(case), "10.0.0.1").udp("8.8.8.8", ttl=1, source="10.0.0.2").echo("10.0.1.9", "10.0.0.1", "p1")
        for mss in (0, 100, 535, 536, 999, 1000, 1001, 1460, 65535):
            case.tcp(opts=b"\x02\x04" + mss.to_bytes(2, "big")).tcp(opts=b"\x01\x01\x02\x04" + mss.to_bytes(2, "big"),
                flags=0x12)
        case.tcp(opts=b"").tcp(data=b"12345").tcp(opts=b"\x02\x03\x01\0").tcp(opts=b"\x08\x0a" + bytes(8) + b"\x02").tcp(opts=b"\x02\x04\x05\xb4" + b"\x01" * 36)
        yield case.tcp(opts=bytes(40)).tcp(flags=6).tcp(off=4).tcp(off=15)
