# SPDX-License-Identifier: BSD-3-Clause
"""Says in which frames, and in which of their fields, what slabfwd sent differs from what the kernel sent.

Frames are compared per port and flow, in order; only what the kernel draws at random is left out: the
identification of packets that the router makes (zero has to stay zero), time stamps (5 s), and in cases
that say so the choice among several next hops.
"""

import struct

from frames import checksum, decode, summary

TIME_STAMP_MS = 5000


def near_in_time(a, b):
    """Equal but for 32-bit time stamps that lie close together?"""
    if len(a) != len(b):
        return False
    i = 0
    while i < len(a):
        if a[i] == b[i]:
            i += 1
            continue
        for start in range(i, max(0, i - 3) - 1, -1):
            if start + 4 > len(a):
                continue
            x, y = (struct.unpack("!I", data[start:start + 4])[0] for data in (a, b))
            if abs(x - y) < TIME_STAMP_MS and a[start:i] == b[start:i]:
                i = start + 4
                break
        else:
            return False
    return True


def without_quoted_checksum(data):
    """The quote of an ICMP error, with the quoted header's checksum taken out if it is right."""
    if len(data) < 20 or len(data) < (data[0] & 15) * 4:
        return data
    ok = checksum(data[:(data[0] & 15) * 4]) == 0
    return data[:10] + (b"ok" if ok else data[10:12]) + data[12:]


def differing(want, got, case, sent_ids):
    """Names of the fields in which two decoded frames differ."""
    out = []
    for key in [*want, *(k for k in got if k not in want)]:
        a, b = want.get(key), got.get(key)
        if a == b or key in case.ignore or (case.multipath and key in ("eth.dst", "eth.src")):
            continue
        # Chosen by the router: by chance zero too, but zero for sure where it must not be cut.
        may_be_cut = key == "ip.id" and want["ip.flags"][1] == "0"
        if key == "ip.id" and (want["ip.src"], a) not in sent_ids and (may_be_cut or (a == 0) == (b == 0)):
            continue
        if case.times and key in ("ip.options", "icmp.data", "payload") and a is not None and b is not None:
            x, y = bytes.fromhex(a), bytes.fromhex(b)
            if near_in_time(x, y) or near_in_time(without_quoted_checksum(x), without_quoted_checksum(y)):
                continue
        out.append(key)
    return out


def describe(want, got, keys):
    parts = []
    for key in keys[:5]:
        a, b = str(want.get(key)), str(got.get(key))
        if max(len(a), len(b)) > 90:
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            a, b = f"..@{at // 2}:{a[at:at + 32]}({len(a) // 2})", f"..@{at // 2}:{b[at:at + 32]}({len(b) // 2})"
        parts.append(f"{key} want {a} got {b}")
    return "; ".join(parts)


class Seen:
    """A frame as it came out of a router."""

    def __init__(self, port, step, ms, frame):
        self.port, self.step, self.ms, self.frame = port, step, ms, frame
        self.flow, self.fields = decode(frame)

    def __str__(self):
        return f"{self.port} after step {self.step} +{self.ms:.0f} ms: {summary(self.frame)}"


def _match(case, wants, gots, sent_ids):
    """Takes equal frames of one flow out of both lists; complains about a changed order."""
    left, missing, complaints, swapped = list(gots), [], [], False
    for want in wants:
        at = next((i for i, got in enumerate(left) if want.step == got.step and
                   not differing(want.fields, got.fields, case, sent_ids)), None)
        if at is None:
            at = next((i for i, got in enumerate(left) if not differing(want.fields, got.fields, case, sent_ids)), None)
        if at is None:
            missing.append(want)
            continue
        got = left.pop(at)
        swapped = swapped or (at > 0 and not case.step_slack)
        if abs(want.step - got.step) > case.step_slack:
            complaints.append(f"after step {got.step} rather than {want.step}: {want}")
        elif case.timing and abs(want.ms - got.ms) > case.timing:
            complaints.append(f"{got.ms:.0f} ms rather than {want.ms:.0f}: {want}")
    if swapped and not missing and not left:
        complaints.append(f"order differs: {wants[0]}")
    return missing, left, complaints


def compare(case, wants, gots):
    """Complaints; empty when the two routers sent the same."""
    sent_ids = case.sent_ids()
    flows, missing, extra, out = {}, [], [], []
    for side, frames in ((0, wants), (1, gots)):
        for seen in frames:
            if not case.judge_arp and seen.flow[0] == "arp":
                continue
            port = "*" if case.multipath else seen.port
            flows.setdefault((port, seen.flow), ([], []))[side].append(seen)
    for mine, others in flows.values():
        m, e, complaints = _match(case, mine, others, sent_ids)
        missing += m
        extra += e
        out += complaints
    for want in list(missing):
        best = None
        for got in extra:
            if got.fields["eth.type"] != want.fields["eth.type"] or (got.port != want.port and not case.multipath):
                continue
            keys = differing(want.fields, got.fields, case, sent_ids)
            if len(keys) <= 6 and (best is None or len(keys) < len(best[0])):
                best = (keys, got)
        if best:
            missing.remove(want)
            extra.remove(best[1])
            out.append(f"differs: {want} [{describe(want.fields, best[1].fields, best[0])}]")
    out += [f"missing: {seen}" for seen in missing] + [f"extra: {seen}" for seen in extra]
    return out


def spread(case, seen_frames):
    """{next hop: flows} of a multipath case, and complaints about flows that were split."""
    flows, out = {}, []
    for seen in seen_frames:
        f = seen.fields
        if "ip.src" not in f:
            continue
        key = (f["ip.src"], f["ip.dst"]) + ((f["ip.proto"], f.get("payload", "")[:8]) if case.multipath == "l4" else ())
        flows.setdefault(key, set()).add((seen.port, f["eth.dst"]))
    counts = {}
    for key, hops in flows.items():
        if len(hops) > 1:
            out.append(f"flow {key} was split over {sorted(hops)}")
        for hop in hops:
            counts[hop] = counts.get(hop, 0) + 1
    return counts, out
