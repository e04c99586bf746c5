# SPDX-License-Identifier: BSD-3-Clause
"""A case: a configuration and the frames, commands and pauses that follow. Families of cases are in cases_*.py:
functions marked @family that yield cases."""

import socket
import struct

import frames as fr

FAMILIES = {}


def family(name):
    """Marks a generator of cases."""
    def mark(function):
        FAMILIES.setdefault(name, []).append(function)
        return function
    return mark


def mac_of(address):
    """The hardware address of a simulated host."""
    return "02:bb:" + ":".join(f"{int(part):02x}" for part in address.split("."))


def own_mac(port):
    return f"02:aa:00:00:00:0{port[1:]}"


class Case:
    """pN is 10.0.N.1/24 unless config says otherwise; hosts 10.0.N.2 to .9 answer ARP there."""

    def __init__(self, name, *config, ports=2, addressed=True, forwarding=True, arp=True, times=False, timing=0,
                 multipath=None, counters=True, fast=False, ignore=(), step_slack=0, settle=25):
        self.name, self.family = name, ""
        self.ports = {f"p{i}": own_mac(f"p{i}") for i in range(ports)}
        self.config = ["sysctl -w net.ipv4.ip_forward=1"] if forwarding else []
        for i in range(ports):
            self.config.append(f"ip link set dev p{i} up")
            if addressed:
                self.config.append(f"ip addr add 10.0.{i}.1/24 dev p{i}")
        self.config += config
        self.hosts = {port: {f"10.0.{port[1:]}.{h}": mac_of(f"10.0.{port[1:]}.{h}") for h in range(2,
            10)} for port in self.ports}
        self.judge_arp, self.times, self.timing, self.multipath = arp, times, timing, multipath
        self.counters, self.fast, self.ignore, self.step_slack, self.settle = counters, fast, ignore, step_slack, settle
        self.steps, self._strangers = [], 0

    # ---- steps

    def frame(self, port, frame):
        self.steps.append(("frames", [(port, frame)]))
        return self

    def burst(self, pairs):
        self.steps.append(("frames", list(pairs)))
        return self

    def wait(self, ms):
        self.steps.append(("wait", ms))
        return self

    def command(self, line, may_fail=False):
        self.steps.append(("command", line, may_fail))
        return self

    def answer(self, port, hosts):
        """From now on these hosts alone answer ARP on the port."""
        self.steps.append(("answer", port, hosts))
        return self

    def stranger(self):
        """An address on p0, another at each call (of 200): errors about routes are rationed by host and by the
        clock, so what comes back to one host that asks for many says how fast the case went."""
        address = f"10.0.0.{20 + self._strangers % 200}"
        self._strangers += 1
        self.hosts["p0"][address] = mac_of(address)
        return address

    def answer_for(self, port, *addresses):
        """These have hosts on the port too, so that no question is asked twice, which is a matter of time."""
        self.hosts[port] |= {address: mac_of(address) for address in addresses}
        return self

    # ---- frames as a host of the port's network would send them

    def packet(self, packet, port="p0", source=None, dst=None):
        """An IPv4 packet to the router from the host that its source names (or `source`, an address)."""
        address = source or ".".join(str(b) for b in packet[12:16])
        return self.frame(port, fr.eth(dst or self.ports[port], mac_of(address), packet))

    def udp(self, src="10.0.0.2", dst="10.0.1.2", port="p0", data=b"payload", sport=1000, dport=2000, **header):
        to = {k: header.pop(k) for k in ("source", "dst_mac") if k in header}
        return self.packet(fr.ip(src, dst, fr.udp(src, dst, sport, dport, data), 17, **header), port, to.get("source"),
                           to.get("dst_mac"))

    def tcp(self, src="10.0.0.2", dst="10.0.1.2", port="p0", sport=1000, dport=80, header=None, **fields):
        return self.packet(fr.ip(src, dst, fr.tcp(src, dst, sport, dport, **fields), 6, **(header or {})), port)

    def echo(self, src="10.0.0.2", dst="10.0.0.1", port="p0", data=b"abcdefgh", ident=1, seq=1, source=None,
        dst_mac=None, **header):
        return self.packet(fr.ip(src, dst, fr.echo(ident, seq, data), 1, **header), port, source, dst_mac)

    def arp(self, op=1, sip="10.0.0.2", tip="10.0.0.1", port="p0", sha=None, tha="00:00:00:00:00:00", dst=fr.BROADCAST,
            src=None, **fields):
        sha = sha or mac_of(sip)
        return self.frame(port, fr.eth(dst, src or sha, fr.arp(op, sha, sip, tha, tip, **fields), 0x0806))

    def learn(self, *addresses):
        """The router gets to know hosts, so that later steps see no questions of its own."""
        for address in addresses:
            port = "p" + address.split(".")[2]
            self.arp(1, address, f"10.0.{port[1:]}.1", port)
        return self

    def alive(self):
        """Ends with an ordinary packet: nothing before has broken anything."""
        return self.udp("10.0.0.5", "10.0.1.5", ident=0x5E01, sport=7001, dport=7777)

    def sent_ids(self):
        """(source, identification) of what we send: any other is from the router's generator."""
        ids = set()
        for step in self.steps:
            if step[0] == "frames":
                ids |= {(socket.inet_ntoa(f[26:30]), struct.unpack("!H", f[18:20])[0]) for _,
                    f in step[1] if f[12:14] == b"\x08\x00" and len(f) >= 34}
        return ids
