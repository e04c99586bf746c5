# SPDX-License-Identifier: BSD-3-Clause
"""Plays a case on the kernel and on slabfwd side by side, step by step, so that both see the same pauses."""

import contextlib
import time

import drops
from compare import Seen, compare, spread
from counters import difference, snapshot
from routers import Kernel, Slabfwd

PATIENCE = 3.0   # s that the slower one may take to send as many frames in a step as the other
HURRY = 0.3      # the same once patience was in vain: the case has failed anyway


def _pump(routers, seconds, until=None):
    end = time.monotonic() + seconds
    while True:
        for router in routers:
            router.lab.drain()
        now = time.monotonic()
        if now >= end or (until and until()):
            return
        time.sleep(min(0.001, end - now))


class Pace:
    """How long a case waits for its slowest router."""

    def __init__(self):
        self.patience = PATIENCE


def _settle(routers, quiet, pace, start):
    """Until no router has sent for `quiet` ms and all have sent equally often since they had sent `start`
    frames, or patience is over."""
    counts = lambda: [len(router.lab.frames) - first for router, first in zip(routers, start)]
    end = time.monotonic() + pace.patience
    while True:
        before = counts()
        _pump(routers, quiet / 1000)
        after = counts()
        if after == before and len(set(after)) == 1:
            return
        if time.monotonic() > end + (0 if after == before else PATIENCE):
            pace.patience = HURRY
            return


def _play_step(routers, step, quiet, pace, trace):
    """Complaints. trace: hears what the kernel drops, or None."""
    start = [len(router.lab.frames) for router in routers]
    if step[0] == "wait":
        _pump(routers, step[1] / 1000)
        return []
    if step[0] == "answer":
        for router in routers:
            router.lab.answers[step[1]] = dict(step[2])
        return []
    if step[0] == "command":
        results = []
        for router in routers:
            router.lab.since = time.monotonic()
            results.append(router.command(step[1]))
        _settle(routers, quiet, pace, start)
        out = []
        for router, (status, text) in zip(routers, results):
            if (status == 0) != (results[0][0] == 0):
                out.append(f"{router.name}: '{step[1]}' ends with {status}, on the kernel with {results[0][0]}: {text.strip()[-200:]}")
        if results[0][0] and not step[2]:
            out.append(f"the kernel refuses '{step[1]}': {results[0][1].strip()[-200:]}")
        return out
    for router in routers:
        router.lab.since = time.monotonic()
        with trace if trace and router.name == "kernel" else contextlib.nullcontext():
            for port, frame in step[1]:
                router.lab.send(port, frame)
    _settle(routers, quiet, pace, start)
    return []


def _judge(case, kernel, other):
    wants = [Seen(*frame) for frame in kernel.lab.frames]
    gots = [Seen(*frame) for frame in other.lab.frames]
    if not case.multipath:
        return compare(case, wants, gots)
    mine, split = spread(case, wants)
    theirs, split_too = spread(case, gots)
    out = [f"kernel: {text}" for text in split] + split_too
    total = sum(mine.values())
    for hop in sorted({*mine, *theirs}):
        if abs(mine.get(hop, 0) - theirs.get(hop, 0)) > 4 * total ** 0.5:
            out.append(f"next hop {hop}: {theirs.get(hop, 0)} flows, {mine.get(hop, 0)} on the kernel")
    return out + compare(case, wants, gots)


def play(case, program, caches, each_step=False, trace=None):
    """{cache: complaints} and the frames seen, for reading. each_step: counters after every step (slow)."""
    routers, out = [], {}
    try:
        routers.append(Kernel(case))
        routers += [Slabfwd(case, program, cache) for cache in caches]
        for router in routers:
            router.lab.answers = {port: dict(hosts) for port, hosts in case.hosts.items()}
        if trace:
            trace.clear()
        before = [snapshot(router) for router in routers] if case.counters else []
        complaints, pace = [], Pace()
        for i, step in enumerate(case.steps):
            for router in routers:
                router.lab.step = i
            complaints += _play_step(routers, step, case.settle, pace, trace)
            if each_step:
                now = [snapshot(router) for router in routers]
                complaints += [f"step {i}: {text}" for text in difference(before[0], now[0], before[1], now[1])]
                before = now
        _settle(routers, 3 * case.settle, pace, [len(router.lab.frames) for router in routers])
        after = [snapshot(router) for router in routers] if case.counters else []
        for i, cache in enumerate(caches, 1):
            found = complaints + _judge(case, routers[0], routers[i])
            if case.counters:
                found += difference(before[0], after[0], before[i], after[i])
            out[cache] = found
        seen = [(router.name, [Seen(*frame) for frame in router.lab.frames]) for router in routers]
    finally:
        ends = [router.stop() for router in routers]
    for router, cache, complaints in zip(routers[1:], caches, ends[1:]):
        out[cache] += complaints
        if trace and router.drops is not None and case.counters:
            out[cache] += drops.difference(trace.reasons(), router.drops)
    return out, seen
