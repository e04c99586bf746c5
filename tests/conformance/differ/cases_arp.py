# SPDX-License-Identifier: BSD-3-Clause
"""ARP: who is answered, what is learnt, how a neighbour is asked and given up."""

from case import Case, family, mac_of, own_mac
from frames import BROADCAST, arp, eth, ip, udp, vlan

H2, H3 = mac_of("10.0.0.2"), mac_of("10.0.0.3")
OTHER = "02:bb:99:99:99:99"
ZERO = "00:00:00:00:00:00"
SECOND = "ip addr add 10.0.0.129/25 dev p0"


def askers(case):
    """Questions of every kind, from and for every kind of address."""
    for tip in ("10.0.0.1", "10.0.1.1", "10.0.0.9", "10.0.1.9", "10.9.9.9", "10.0.0.255", "10.0.0.0", "127.0.0.1",
        "224.0.0.1",
                "255.255.255.255", "0.0.0.0", "240.0.0.1", "172.16.0.1", "192.168.7.7"):
        for sip in ("10.0.0.2", "10.0.1.9", "172.16.0.9", "0.0.0.0"):
            case.arp(1, sip, tip)
    return case


@family("arp")
def answered():
    """Each of the settings that rule who is answered, alone and in pairs."""
    more = ["ip addr add 172.16.0.1/24 dev p0", "ip addr add 10.0.0.77/32 dev p1",
        "ip route add 10.9.9.0/24 via 10.0.1.2",
            "ip route add 192.168.7.0/24 via 10.0.0.3"]
    yield askers(Case("plain", *more, fast=True, settle=8))
    yield askers(Case("not-forwarding", *more, forwarding=False, settle=8))
    yield askers(Case("scopes", *more,
                 "ip addr add 10.0.1.200/25 scope link dev p1", settle=8))
    for key, values in (("arp_ignore", (1, 2, 3, 4, 8)), ("arp_filter", (1,)), ("proxy_arp", (1,)),
        ("proxy_arp_pvlan", (1,)),
                        ("arp_accept", (1, 2)), ("route_localnet", (1,)), ("rp_filter", (1, 2)), ("accept_local", (1,)),
                        ("drop_gratuitous_arp", (1,))):
        for value in values:
            case = askers(Case(f"{key}={value}", *more, f"sysctl -w net.ipv4.conf.p0.{key}={value}", settle=8,
                fast=value == 2, step_slack=99 if key.startswith("proxy") else 0))
            case.wait(1200 if key.startswith("proxy") else 20)
            case.udp("10.0.1.3", "10.0.0.2", "p1").udp("10.0.1.3", "172.16.0.9", "p1")
            yield case
    yield askers(Case("all.arp_ignore=1,p0=2", *more, "sysctl -w net.ipv4.conf.all.arp_ignore=1",
                      "sysctl -w net.ipv4.conf.p0.arp_ignore=2", settle=8))
    yield askers(Case("proxy+ignore", *more, "sysctl -w net.ipv4.conf.p0.proxy_arp=1",
                      "sysctl -w net.ipv4.conf.p0.arp_ignore=1", settle=8, step_slack=99)).wait(1200)
    case = Case("proxy_entry", *more, "ip neigh add proxy 10.9.9.9 dev p0", "ip neigh add proxy 10.0.0.44 dev p0",
                "ip neigh add proxy 10.0.1.2 dev p0", step_slack=99)
    for tip in ("10.9.9.9", "10.0.0.44", "10.0.1.2", "10.0.1.3"):
        case.arp(1, "10.0.0.2", tip).arp(1, "10.0.0.2", tip, dst=own_mac("p0"))
    yield case.wait(1200)


@family("arp")
def formats():
    """Packets that are not quite ARP."""
    case = Case("fields", fast=True, settle=8)
    for fields in ({"hrd": 6}, {"hrd": 2}, {"hrd": 0}, {"hrd": 0xFFFF}, {"pro": 0x86DD}, {"hln": 5}, {"hln": 8},
        {"pln": 16},
                   {"pln": 0}):
        case.arp(1, "10.0.0.2", "10.0.0.1", **fields)
    for op in (0, 2, 3, 4, 5, 8, 9, 10, 23, 256, 65535):
        case.arp(op, "10.0.0.3", "10.0.0.1")
    for n in (0, 1, 7, 8, 20, 27, 28, 29):
        case.frame("p0", eth(BROADCAST, H2, arp(1, H2, "10.0.0.2", ZERO, "10.0.0.1")[:n], 0x0806, pad=False))
    case.frame("p0", eth(BROADCAST, H2, arp(1, H2, "10.0.0.2", ZERO, "10.0.0.1") + bytes(range(200)), 0x0806))
    yield case.alive()
    case = Case("link-addresses", settle=8, fast=True)
    for dst in (BROADCAST, own_mac("p0"), own_mac("p1"), OTHER, "01:00:5e:00:00:01", "01:80:c2:00:00:00",
        "33:33:00:00:00:01"):
        for src in (H2, OTHER, own_mac("p0"), BROADCAST, ZERO):
            case.arp(1, "10.0.0.2", "10.0.0.1", dst=dst, src=src)
    for sha in (OTHER, own_mac("p0"), BROADCAST, ZERO, "01:00:5e:00:00:01"):
        case.arp(1, "10.0.0.4", "10.0.0.1", sha=sha, src=H2).udp("10.0.1.2", "10.0.0.4", "p1")
    for tha in (OTHER, own_mac("p0"), BROADCAST):
        case.arp(1, "10.0.0.2", "10.0.0.1", tha=tha)
    yield case.alive()
    case = Case("vlan", settle=8, fast=True)
    question = eth(BROADCAST, H2, arp(1, H2, "10.0.0.2", ZERO, "10.0.0.1"), 0x0806)
    packet = eth(own_mac("p0"), H2, ip("10.0.0.2", "10.0.1.2", udp("10.0.0.2", "10.0.1.2")))
    for frame in (question, packet):
        for vid in (0, 1, 100, 4095):
            for tpid in (0x8100, 0x88A8, 0x9100):
                case.frame("p0", vlan(frame, vid, 0, tpid))
        case.frame("p0", vlan(frame, 0, 7)).frame("p0", vlan(vlan(frame, 0), 0)).frame("p0", vlan(vlan(frame, 0), 5))
        case.frame("p0", vlan(frame, 0, 0, 0x8100)[:16]).frame("p0", frame[:12] + b"\x81\0\0\0")
    yield case.alive()


@family("arp")
def learnt():
    """What a packet teaches, seen by where the next one goes; after each kind of entry."""
    says = {
        "request-us": lambda c: c.arp(1, "10.0.0.2", "10.0.0.1", sha=OTHER),
        "request-us-unicast": lambda c: c.arp(1, "10.0.0.2", "10.0.0.1", sha=OTHER, dst=own_mac("p0")),
        "request-other": lambda c: c.arp(1, "10.0.0.2", "10.0.0.9", sha=OTHER),
        "garp-request": lambda c: c.arp(1, "10.0.0.2", "10.0.0.2", sha=OTHER),
        "garp-request-tha": lambda c: c.arp(1, "10.0.0.2", "10.0.0.2", sha=OTHER, tha=BROADCAST),
        "garp-reply": lambda c: c.arp(2, "10.0.0.2", "10.0.0.2", sha=OTHER, tha=OTHER),
        "garp-reply-broadcast": lambda c: c.arp(2, "10.0.0.2", "10.0.0.2", sha=OTHER, tha=BROADCAST),
        "garp-reply-zero": lambda c: c.arp(2, "10.0.0.2", "10.0.0.2", sha=OTHER, tha=ZERO),
        "reply-us": lambda c: c.arp(2, "10.0.0.2", "10.0.0.1", sha=OTHER, tha=own_mac("p0"), dst=own_mac("p0")),
        "reply-us-broadcast": lambda c: c.arp(2, "10.0.0.2", "10.0.0.1", sha=OTHER, tha=own_mac("p0")),
        "reply-other": lambda c: c.arp(2, "10.0.0.2", "10.0.0.9", sha=OTHER, tha=H3, dst=own_mac("p0")),
        "reply-same": lambda c: c.arp(2, "10.0.0.2", "10.0.0.1", tha=own_mac("p0"), dst=own_mac("p0")),
        "request-same": lambda c: c.arp(1, "10.0.0.2", "10.0.0.1"),
        "probe": lambda c: c.arp(1, "0.0.0.0", "10.0.0.2", sha=OTHER),
        "reply-zero-sender": lambda c: c.arp(2, "0.0.0.0", "10.0.0.1", sha=OTHER, dst=own_mac("p0")),
    }
    before = {"none": None, "reachable": "nud reachable", "stale": "nud stale", "permanent": "nud permanent",
        "noarp": "nud noarp",
              "delay": "nud delay", "probe": "nud probe", "failed": "nud failed", "used": ""}
    for kind, nud in before.items():
        for accept in (0, 1, 2):
            if accept and kind not in ("none", "used"):
                continue
            for pause in (0, 1150):
                if pause and kind not in ("used", "reachable"):
                    continue
                case = Case(f"learn-{kind}{f'-accept{accept}' if accept else ''}{'-later' if pause else ''}",
                            f"sysctl -w net.ipv4.conf.all.arp_accept={accept}", settle=10,
                                fast=kind == "used" and not pause and not accept)
                for i, (what, say) in enumerate(says.items()):
                    del what
                    case.command("ip neigh flush dev p0")
                    if kind == "used":
                        case.udp("10.0.1.2", "10.0.0.2", "p1", ident=50 + i)
                    elif nud:
                        case.command(f"ip neigh replace 10.0.0.2 lladdr {H2} dev p0 {nud}")
                    if pause:
                        case.wait(pause)
                    say(case)
                    case.answer("p0", {}).udp("10.0.1.2", "10.0.0.2", "p1", ident=100 + i)
                    case.answer("p0", case.hosts["p0"])
                    case.command("ip neigh del 10.0.0.2 dev p0", may_fail=True)
                yield case


@family("arp")
def asking():
    """Which sender address our questions carry."""
    for announce in (0, 1, 2):
        case = Case(f"announce{announce}", SECOND, "ip addr add 172.16.0.1/24 dev p0",
            "ip addr add 172.16.0.200/24 dev p0",
                    "ip addr add 192.0.2.1/32 dev p1", "ip route add 198.51.100.0/24 dev p0",
                    "ip route add 203.0.113.0/24 dev p0 src 172.16.0.200",
                        f"sysctl -w net.ipv4.conf.all.arp_announce={announce}",
                    fast=announce == 1, settle=10)
        for dst in ("10.0.0.4", "10.0.0.200", "172.16.0.4", "198.51.100.4", "203.0.113.4"):
            case.udp("10.0.1.2", dst, "p1")
        for us in ("10.0.0.1", "10.0.0.129", "10.0.1.1", "172.16.0.1", "172.16.0.200", "192.0.2.1"):
            for i, host in enumerate(("10.0.0.5", "10.0.0.205", "172.16.0.5", "198.51.100.5", "203.0.113.5")):
                case.command("ip neigh flush dev p0").echo(host, us, ident=i, source="10.0.0.5")
        yield case


@family("arp")
def resolving():
    """The packets that wait for an answer, the questions meanwhile, and the end."""
    case = Case("silent", fast=True).answer("p1", {})
    yield case.udp().wait(4300).udp(ident=7).wait(200)
    case = Case("silent-many", timing=350).answer("p1", {})
    yield case.burst([("p0", eth(own_mac("p0"), mac_of(f"10.0.0.{2 + i % 4}"),
        ip(f"10.0.0.{2 + i % 4}", "10.0.1.2", udp(f"10.0.0.{2 + i % 4}", "10.0.1.2"), ident=i + 1)))
                      for i in range(8)]).wait(4300)
    for size, count in ((7, 300), (1400, 150)):
        case = Case(f"queue-{size}x{count}", counters=False).answer("p1", {})
        for i in range(count):
            case.burst([("p0", eth(own_mac("p0"), H2, ip("10.0.0.2", "10.0.1.2",
                udp("10.0.0.2", "10.0.1.2", data=bytes(size)), ident=i + 1)))])
        case.steps = case.steps[:1] + [("frames", [f for s in case.steps[1:] for f in s[1]])]
        yield case.answer("p1", case.hosts["p1"]).wait(1300)
    case = Case("answer-late").answer("p1", {})
    yield case.udp().udp(ident=2).wait(1500).arp(2, "10.0.1.2", "10.0.1.1", "p1", tha=own_mac("p1"),
        dst=own_mac("p1")).udp(ident=3)
    case = Case("answer-by-request").answer("p1", {})
    yield case.udp().udp(ident=2).wait(300).arp(1, "10.0.1.2", "10.0.1.1", "p1").udp(ident=3)
    case = Case("answer-by-garp").answer("p1", {})
    yield case.udp().udp(ident=2).wait(300).arp(1, "10.0.1.2", "10.0.1.2", "p1").udp(ident=3).wait(1200)
    case = Case("answer-broadcast").answer("p1", {})
    yield case.udp().udp(ident=2).wait(300).arp(2, "10.0.1.2", "10.0.1.1", "p1",
        tha=own_mac("p1")).udp(ident=3).wait(6500)
    case = Case("own-silent", timing=350).answer("p0", {})
    yield case.echo().echo(seq=2).wait(4300)
    case = Case("silent-gateway", "ip route add 192.168.0.0/16 via 10.0.1.7").answer("p1", {})
    yield case.udp(dst="192.168.1.1").udp(dst="192.168.2.2", src="10.0.0.3").wait(3300)
    case = Case("delay-probe", timing=350)
    yield case.udp().udp(ident=2).command("ip neigh replace 10.0.1.2 lladdr " + mac_of("10.0.1.2") + " dev p1 nud stale").udp(ident=3).wait(5600).udp(ident=4)
    case = Case("delay-probe-silent", timing=350)
    yield (case.udp().answer("p1", {}).command("ip neigh replace 10.0.1.2 lladdr " + mac_of("10.0.1.2") + " dev p1 nud stale")
           .udp(ident=3).wait(8700).udp(ident=4).wait(3300).udp(ident=5).wait(3400))
    for key, value in (("mcast_solicit", 1), ("ucast_solicit", 1), ("retrans_time_ms", 300), ("app_solicit", 2),
        ("unres_qlen", 2),
                       ("unres_qlen_bytes", 1000), ("delay_first_probe_time", 1), ("mcast_resolicit", 2),
                           ("locktime", 0)):
        case = Case(f"{key}={value}", f"sysctl -w net.ipv4.neigh.p1.{key}={value}", timing=350,
            counters=not key.startswith("unres")).answer("p1", {})
        case.udp().udp(ident=2).udp(ident=3).wait(3600)
        case.command("ip neigh replace 10.0.1.3 lladdr " + mac_of("10.0.1.3") + " dev p1 nud stale").udp(dst="10.0.1.3")
        yield case.wait(9800)
    for nud in ("reachable", "stale", "delay", "probe", "permanent", "noarp", "failed", "none"):
        case = Case(f"nud-{nud}", timing=350)
        case.command(f"ip neigh add 10.0.1.2 lladdr {OTHER} dev p1 nud {nud}", may_fail=True).udp().udp(ident=2)
        yield case.wait(1500).udp(ident=3).wait(5200).udp(ident=4)


@family("arp")
def own_changes():
    """What a change of our own addresses or hardware address does."""
    case = Case("notify", "sysctl -w net.ipv4.conf.all.arp_notify=1")
    yield (case.command("ip addr add 10.0.0.50/24 dev p0").command("ip link set dev p0 address 02:aa:00:00:00:77").wait(50)
           .command("ip link set dev p0 down").command("ip link set dev p0 up").wait(50)
           .arp(1, "10.0.0.2", "10.0.0.1").arp(1, "10.0.0.2", "10.0.0.50"))
    case = Case("new-mac", fast=True)
    case.udp().udp("10.0.1.2", "10.0.0.2", "p1").command("ip link set dev p0 address 02:aa:00:00:00:77")
    case.udp().udp("10.0.1.2", "10.0.0.2", "p1").arp(1, "10.0.0.2", "10.0.0.1")
    case.frame("p0", eth("02:aa:00:00:00:77", H2, ip("10.0.0.2", "10.0.1.2", udp("10.0.0.2", "10.0.1.2"))))
    yield case.frame("p0", eth("02:aa:00:00:00:77", H2, ip("10.0.0.2", "10.0.0.1", proto=200)))
    case = Case("duplicate-us")
    for op in (1, 2):
        case.arp(op, "10.0.0.1", "10.0.0.1", sha=OTHER).arp(op, "10.0.0.1", "10.0.0.2", sha=OTHER).arp(op, "10.0.1.1",
            "10.0.0.1", sha=OTHER)
    yield case.alive().udp("10.0.1.2", "10.0.0.1", "p1")
    for value in (0, 1):
        yield askers(Case(f"noarp{value}", settle=8).command(f"ip link set dev p0 arp {'off' if value else 'on'}")
                     ).udp("10.0.1.2", "10.0.0.2", "p1").command("ip link set dev p0 arp on").udp("10.0.1.2",
                         "10.0.0.2", "p1")
