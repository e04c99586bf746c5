# SPDX-License-Identifier: BSD-3-Clause
"""The SNMP counters of both routers: what a case added to them has to be equal."""

FILES = ("/proc/net/snmp", "/proc/net/netstat")
PROTOCOLS = ("Ip", "Icmp", "IcmpMsg", "IpExt", "Udp")
# Gauges, and what counts sockets' or memory's business rather than packets.
LEFT_OUT = {"Ip.Forwarding", "Ip.DefaultTTL"}


def snapshot(router):
    values = {}
    for path in FILES:
        lines = router.cat(path).splitlines()
        for names, numbers in zip(lines[::2], lines[1::2]):
            protocol = names.split(":")[0]
            if protocol in PROTOCOLS:
                for name, number in zip(names.split()[1:], numbers.split()[1:]):
                    values[f"{protocol}.{name}"] = int(number)
    return values


def difference(before, after, other_before, other_after):
    out = []
    for name in sorted({*after, *other_after} - LEFT_OUT):
        want = after.get(name, 0) - before.get(name, 0)
        got = other_after.get(name, 0) - other_before.get(name, 0)
        if want != got:
            out.append(f"counter {name}: {got}, on the kernel {want}")
    return out
