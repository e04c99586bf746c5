# SPDX-License-Identifier: BSD-3-Clause
"""Frames: building them field by field (also wrongly), and telling two of them apart by name of field."""

import socket
import struct

BROADCAST = "ff:ff:ff:ff:ff:ff"


def aton(address):
    return socket.inet_aton(address)


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


def checksum(data):
    if len(data) & 1:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


# ---- building


def eth(dst, src, payload, ethertype=0x0800, pad=True):
    frame = mac_bytes(dst) + mac_bytes(src) + struct.pack("!H", ethertype) + payload
    return frame.ljust(60, b"\0") if pad else frame


def vlan(frame, vid, prio=0, tpid=0x8100):
    return frame[:12] + struct.pack("!HH", tpid, prio << 13 | vid) + frame[12:]


def ip(src, dst, payload=b"", proto=17, ttl=64, tos=0, ident=1, frag=0, opts=b"", version=4, ihl=None,
       tot_len=None, csum=None):
    """An IPv4 packet; frag is the whole field (0x4000 DF, 0x2000 MF, offset in units of 8)."""
    opts += b"\0" * (-len(opts) % 4)
    length = 20 + len(opts) + len(payload)
    head = struct.pack("!BBHHHBBH4s4s", version << 4 | (5 + len(opts) // 4 if ihl is None else ihl), tos,
                       length if tot_len is None else tot_len, ident, frag, ttl, proto, 0, aton(src), aton(dst)) + opts
    value = checksum(head) if csum is None else csum
    return head[:10] + struct.pack("!H", value) + head[12:] + payload


def pseudo(src, dst, proto, segment):
    return aton(src) + aton(dst) + struct.pack("!BBH", 0, proto, len(segment)) + segment


def udp(src, dst, sport=1000, dport=2000, data=b"payload", csum=None, length=None):
    segment = struct.pack("!HHHH", sport, dport, 8 + len(data) if length is None else length, 0) + data
    value = (checksum(pseudo(src, dst, 17, segment)) or 0xFFFF) if csum is None else csum
    return segment[:6] + struct.pack("!H", value) + segment[8:]


def tcp(src, dst, sport=1000, dport=80, seq=1000, ack=0, flags=0x02, window=1024, opts=b"", data=b"", csum=None,
    off=None):
    opts += b"\0" * (-len(opts) % 4)
    segment = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, (5 + len(opts) // 4 if off is None else off) << 4,
                          flags, window, 0, 0) + opts + data
    value = checksum(pseudo(src, dst, 6, segment)) if csum is None else csum
    return segment[:16] + struct.pack("!H", value) + segment[18:]


def icmp(kind, code=0, rest=b"\0\0\0\0", data=b"", csum=None):
    message = struct.pack("!BBH", kind, code, 0) + rest + data
    value = checksum(message) if csum is None else csum
    return message[:2] + struct.pack("!H", value) + message[4:]


def echo(ident=1, seq=1, data=b"abcdefgh", kind=8):
    return icmp(kind, 0, struct.pack("!HH", ident, seq), data)


def arp(op, sha, spa, tha, tpa, hrd=1, pro=0x0800, hln=6, pln=4):
    return (struct.pack("!HHBBH", hrd, pro, hln, pln, op) + mac_bytes(sha) + aton(spa) + mac_bytes(tha) + aton(tpa))


def fragments(packet, sizes):
    """Cuts a packet's payload at sizes (bytes each, the last takes the rest): a list of packets."""
    head_len = (packet[0] & 15) * 4
    payload, field = packet[head_len:], struct.unpack("!H", packet[6:8])[0]
    base, out, offset = (field & 0x1FFF) * 8, [], 0
    for size in [*sizes, len(payload) - sum(sizes)]:
        more = 0x2000 if offset + size < len(payload) or field & 0x2000 else 0
        head = (packet[:2] + struct.pack("!H", head_len + size) + packet[4:6] +
                struct.pack("!H", (field & 0xC000) | more | (base + offset) // 8) + packet[8:10] + b"\0\0" +
                packet[12:head_len])
        out.append(head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload[offset:offset + size])
        offset += size
    return out


# ---- taking apart


def mac_text(data):
    return ":".join(f"{byte:02x}" for byte in data)


def decode(frame):
    """(flow, fields): what keeps its order, and every field by name. Random fields are left to compare.py."""
    f = {"eth.dst": mac_text(frame[:6]), "eth.src": mac_text(frame[6:12])}
    ethertype = struct.unpack("!H", frame[12:14])[0]
    f["eth.type"] = f"{ethertype:04x}"
    body = frame[14:]
    if ethertype == 0x0806 and len(body) >= 28:
        return _decode_arp(body, f)
    if ethertype == 0x0800 and len(body) >= 20:
        return _decode_ip(frame, body, f)
    f["raw"] = body.hex()
    return ("raw", ethertype), f


def _decode_arp(body, f):
    f["arp.head"] = body[:6].hex()
    f["arp.op"] = struct.unpack("!H", body[6:8])[0]
    f["arp.sha"], f["arp.spa"] = mac_text(body[8:14]), socket.inet_ntoa(body[14:18])
    f["arp.tha"], f["arp.tpa"] = mac_text(body[18:24]), socket.inet_ntoa(body[24:28])
    if any(body[28:]):
        f["trailer"] = body[28:].hex()
    return ("arp", f["arp.op"], f["arp.tpa"]), f


def _decode_ip(frame, body, f):
    vihl, tos, total, ident, frag, ttl, proto = struct.unpack("!BBHHHBB", body[:10])
    hlen = (vihl & 15) * 4
    f |= {"ip.version": vihl >> 4, "ip.hlen": hlen, "ip.tos": f"{tos:02x}", "ip.len": total, "ip.id": ident,
          "ip.flags": f"{frag >> 13:03b}", "ip.off": (frag & 0x1FFF) * 8, "ip.ttl": ttl, "ip.proto": proto,
          "ip.csum": "good" if checksum(body[:hlen]) == 0 else "bad", "ip.src": socket.inet_ntoa(body[12:16]),
          "ip.dst": socket.inet_ntoa(body[16:20]), "ip.options": body[20:hlen].hex()}
    payload, trailer = body[hlen:total], body[total:]
    if len(body) < total:
        f["cut"] = total - len(body)
    if trailer and (any(trailer) or len(frame) > 60):
        f["trailer"] = trailer.hex()
    where = (f["ip.src"], f["ip.dst"], proto)
    if frag & 0x3FFF:
        f["payload"] = payload.hex()
        return ("frag", *where), f
    if proto == 1 and len(payload) >= 8:
        f |= {"icmp.type": payload[0], "icmp.code": payload[1], "icmp.rest": payload[4:8].hex(),
              "icmp.csum": "good" if checksum(payload) == 0 else "bad " + payload[2:4].hex(),
                  "icmp.data": payload[8:].hex()}
        key = payload[4:6].hex() if payload[0] in (0, 8) else payload[20:28].hex()
        return ("icmp", *where, payload[0], key), f
    f["payload"] = payload.hex()
    if proto in (6, 17) and len(payload) >= 8:
        return ("l4", *where, payload[:4].hex()), f
    return ("ip", *where), f


def summary(frame):
    f = decode(frame)[1]
    ends = f"{f['eth.src'][-5:]}>{f['eth.dst'][-5:]}"
    if "arp.op" in f:
        return f"{ends} ARP {f['arp.op']} {f['arp.spa']}({f['arp.sha'][-5:]}) > {f['arp.tpa']}({f['arp.tha'][-5:]})"
    if "ip.src" not in f:
        return f"{ends} {f['eth.type']} {f['raw'][:60]}"
    text = (f"{ends} {f['ip.src']}>{f['ip.dst']} p{f['ip.proto']} len={f['ip.len']} ttl={f['ip.ttl']} tos={f['ip.tos']} "
            f"id={f['ip.id']} flags={f['ip.flags']}+{f['ip.off']}")
    if f["ip.options"]:
        text += " opt=" + f["ip.options"]
    if "icmp.type" in f:
        text += f" icmp {f['icmp.type']}/{f['icmp.code']} {f['icmp.rest']} +{len(f['icmp.data']) // 2}"
    elif f["ip.proto"] in (6, 17) and "payload" in f:
        text += f" {int(f['payload'][:4] or '0', 16)}>{int(f['payload'][4:8] or '0', 16)}"
    return text
