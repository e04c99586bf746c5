#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Make every capture of this folder again, byte for byte (python3, standard library only).

    pcaps/make.py [FOLDER]

The captures are what hosts of 10.0.0.0/24 send to a router's port p0 (10.0.0.1/24), and, in
udp-replies.pcapng, hosts of 10.0.1.0/24 to its port p1 (10.0.1.1/24). README.md says what is in each.
"""

import gzip
import io
import socket
import struct
import sys
from pathlib import Path

START_NS = 1_700_000_000 * 10**9
ROUTER = bytes.fromhex("020000000000")  # a replay delivers unicast frames whatever their address
BROADCAST = b"\xff" * 6
ICMP, UDP = 1, 17


def host_mac(address):
    """Hosts have the MAC 02:00 and their address, as the simulated hosts of a replay have."""
    return b"\x02\x00" + socket.inet_aton(address)


def checksum(data):
    data += b"\0" * (len(data) & 1)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(source, payload, ethertype=0x0800, destination=ROUTER):
    return (destination + source + struct.pack("!H", ethertype) + payload).ljust(60, b"\0")


def ipv4(source, destination, protocol, payload, *, ttl=64, ident=1, frag=0, tos=0, options=b"",
         version=4, length=None, bad_checksum=False):
    """One IPv4 packet; frag is the raw flags-and-offset field."""
    words = 5 + len(options) // 4
    header = struct.pack("!BBHHHBBH4s4s", version << 4 | words, tos,
                         length if length is not None else words * 4 + len(payload), ident, frag, ttl, protocol, 0,
                         socket.inet_aton(source), socket.inet_aton(destination)) + options
    total = checksum(header) ^ (0x5555 if bad_checksum else 0)
    return header[:10] + struct.pack("!H", total) + header[12:] + payload


def udp(source, destination, sport, dport, data):
    header = struct.pack("!HHHH", sport, dport, 8 + len(data), 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!BBH", 0, UDP, 8 + len(data))
    return header[:6] + struct.pack("!H", checksum(pseudo + header + data) or 0xFFFF) + data


def echo(ident, sequence, data=b"abcdefghijklmnopqrstuvwxyz012345", kind=8):
    body = struct.pack("!BBHHH", kind, 0, 0, ident, sequence) + data
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def udp_frame(source, destination, sport=4000, dport=5000, data=b"slabfwd", **header):
    return ethernet(host_mac(source), ipv4(source, destination, UDP, udp(source, destination, sport, dport, data), **header))


def fragments(source, destination, protocol, payload, ident, size):
    """The packet cut into fragments of `size` payload bytes (a multiple of 8)."""
    for offset in range(0, len(payload), size):
        more = 0x2000 if offset + size < len(payload) else 0
        yield ethernet(host_mac(source), ipv4(source, destination, protocol, payload[offset:offset + size],
                                              ident=ident, frag=more | offset // 8))


def arp(operation, sender, sender_address, target_address, *, target=bytes(6), destination=BROADCAST):
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + sender + socket.inet_aton(sender_address)
    return ethernet(sender, body + target + socket.inet_aton(target_address), 0x0806, destination)


# --- one function a capture: a list of frames, sent a millisecond apart ---------------------------------------------

def udp_flows():
    """64 flows of 4 packets: the first of a flow makes a route cache entry, the others hit it."""
    return [udp_frame(f"10.0.0.{10 + flow % 8}", f"10.0.1.{10 + flow // 8}", 4000 + flow, 5000,
                      f"flow {flow} packet {packet}".encode(), ident=1 + packet)
            for packet in range(4) for flow in range(64)]


def udp_replies():
    """What the hosts behind p1 answer to udp_flows, half a millisecond later."""
    return [udp_frame(f"10.0.1.{10 + flow // 8}", f"10.0.0.{10 + flow % 8}", 5000, 4000 + flow,
                      f"answer {flow} packet {packet}".encode(), ident=101 + packet)
            for packet in range(4) for flow in range(64)]


def icmp_echo():
    """Pings to the router's near and far address, through it, and to the two broadcast addresses."""
    targets = ["10.0.0.1", "10.0.1.1", "10.0.1.10", "10.0.0.255", "255.255.255.255"]
    return [ethernet(host_mac("10.0.0.10"), ipv4("10.0.0.10", target, ICMP, echo(7, sequence), ident=sequence),
                     destination=BROADCAST if target.endswith("255") else ROUTER)
            for sequence, target in enumerate(targets * 3, 1)]


def ttl():
    """A traceroute's probes: TTL 1 to 3, UDP ports 33434 and up, then a TTL of 0."""
    return [udp_frame("10.0.0.10", "10.0.1.10", 40000, 33434 + n, b"probe", ttl=1 + n // 3, ident=n + 1)
            for n in range(9)] + [udp_frame("10.0.0.10", "10.0.1.10", ttl=0)]


def cut():
    """Fragments: through the router, of a ping to it (out of order), overlapping, and one never completed."""
    big = echo(9, 1, bytes(range(256)) * 12)
    through = list(fragments("10.0.0.10", "10.0.1.10", ICMP, big, 100, 1480))
    local = list(fragments("10.0.0.10", "10.0.0.1", ICMP, big, 101, 1480))
    overlap = [ethernet(host_mac("10.0.0.10"), ipv4("10.0.0.10", "10.0.0.1", ICMP, big[a:b], ident=102,
                                                    frag=a // 8 | (0x2000 if b < len(big) else 0)))
               for a, b in ((0, 1480), (1400, 2880), (2880, len(big)))]
    lonely = list(fragments("10.0.0.10", "10.0.0.1", ICMP, big, 103, 1480))[:1]
    return through + local[::-1] + overlap + lonely


def options():
    """IP options: none but NOPs, record route, time stamp, router alert, source routes, a malformed one."""
    record_route = bytes([7, 11, 4]) + bytes(8) + b"\0"
    time_stamp = bytes([68, 12, 5, 0]) + bytes(8)
    loose = bytes([131, 7, 4]) + socket.inet_aton("10.0.1.10") + b"\0"
    strict = bytes([137, 7, 4]) + socket.inet_aton("10.0.9.9") + b"\0"
    frames = [udp_frame("10.0.0.10", "10.0.1.10", data=b"option", options=o, ident=n)
              for n, o in enumerate([b"\x01" * 4, record_route, time_stamp, b"\x94\x04\0\0", bytes([7, 40, 4, 0])], 1)]
    return frames + [udp_frame("10.0.0.10", "10.0.0.1", data=b"source route", options=o, ident=20)
                     for o in (loose, strict)]


def arp_talk():
    """ARP: for the router, for somebody else, a probe, a gratuitous one, an unasked reply, an IPv4 packet between."""
    me, mac = "10.0.0.10", host_mac("10.0.0.10")
    return [arp(1, mac, me, "10.0.0.1"), arp(1, mac, me, "10.0.0.77"), arp(1, mac, "0.0.0.0", "10.0.0.1"),
            arp(1, mac, me, me), arp(2, mac, me, "10.0.0.1", target=ROUTER, destination=ROUTER),
            udp_frame(me, "10.0.1.10"), arp(1, mac, me, "10.0.1.1"), arp(1, mac, "10.0.5.5", "10.0.0.1")]


def bad():
    """What a router has to drop, one reason a frame; a good packet at the end."""
    source, destination = "10.0.0.10", "10.0.1.10"
    data = udp(source, destination, 4000, 5000, b"bad")
    packet = ipv4(source, destination, UDP, data)
    mac = host_mac(source)
    return [ethernet(mac, ipv4(source, destination, UDP, data, bad_checksum=True)),
            ethernet(mac, ipv4(source, destination, UDP, data, version=5)),
            ethernet(mac, b"\x44" + packet[1:]),                                    # header of 16 bytes
            ethernet(mac, ipv4(source, destination, UDP, data, length=1400)),       # longer than the frame
            ethernet(mac, ipv4(source, destination, UDP, data, length=12)),         # shorter than its header
            ethernet(mac, packet, ethertype=0x1234),                                # no protocol of ours
            udp_frame("127.0.0.1", destination), udp_frame("255.255.255.255", destination),
            udp_frame("224.0.0.5", destination), udp_frame("10.0.0.1", destination),  # martian sources
            udp_frame(source, "127.0.0.1"), udp_frame(source, "240.0.0.1"),           # martian destinations
            udp_frame(source, "192.0.2.1"), udp_frame(source, "10.0.0.1"),            # no route, closed port
            udp_frame(source, destination)]


def mtu():
    """Packets of 1500 bytes for a link of less: with DF (refused) and without (cut)."""
    data = b"x" * 1472
    return [udp_frame("10.0.0.10", "10.0.1.10", data=data, frag=frag, ident=n)
            for n, frag in enumerate([0x4000, 0, 0x4000, 0], 1)]


# --- the file formats -----------------------------------------------------------------------------------------------

def as_pcap(frames, offset=0):
    """Classic pcap, microseconds."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for n, frame in enumerate(frames):
        seconds, nanoseconds = divmod(START_NS + offset + n * 10**6, 10**9)
        out.append(struct.pack("<IIII", seconds, nanoseconds // 1000, len(frame), len(frame)) + frame)
    return b"".join(out)


def as_pcapng(frames, offset=0):
    """pcapng, nanoseconds (if_tsresol 9)."""
    def block(kind, body):
        body += b"\0" * (-len(body) % 4)
        return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)

    out = [block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)),
           block(1, struct.pack("<HHI", 1, 0, 65535) + struct.pack("<HHB3x", 9, 1, 9) + struct.pack("<HH", 0, 0))]
    for n, frame in enumerate(frames):
        when = START_NS + offset + n * 10**6
        out.append(block(6, struct.pack("<IIIII", 0, when >> 32, when & 0xFFFFFFFF, len(frame), len(frame)) + frame))
    return b"".join(out)


def as_gzip(data):
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0, filename="") as stream:
        stream.write(data)
    return out.getvalue()


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    files = {"udp-flows.pcap": as_pcap(udp_flows()), "udp-replies.pcapng": as_pcapng(udp_replies(), 500_000),
             "icmp-echo.pcap": as_pcap(icmp_echo()), "ttl.pcap.gz": as_gzip(as_pcap(ttl())),
             "fragments.pcap": as_pcap(cut()), "options.pcap": as_pcap(options()), "arp.pcap": as_pcap(arp_talk()),
             "bad.pcap": as_pcap(bad()), "mtu.pcap": as_pcap(mtu())}
    for name, data in files.items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
