#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Is slabfwd equal to this machine's Linux kernel, frame for frame?

    tests/conformance/differ/run.py [--family F,...] [--name GLOB,...] [--cache default,off,squeezed] [--fast] [-v]

Each case is played on the kernel (a namespace with veth ports) and on slabfwd at the same time; frames, their
order, SNMP counters and the balance of packets are compared. Needs root, iproute2, iptables and sysctl.
--fast: the selection that the test suite runs. The last line counts; exit status 0 when all is equal.
A case that fails while others are played beside it is played once more alone (unless more than FEW fail): both
routers live by the clock, and a busy machine may hold one of them up. What it said first is printed either way.
"""

import argparse
import fnmatch
import multiprocessing
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../..")]

import cases  # noqa: E402
import drops  # noqa: E402
from frames import summary  # noqa: E402
from play import play  # noqa: E402
from routers import CACHES  # noqa: E402

FEW = 5                # failures that may be the machine's
SKIP_BELOW = (6, 18)   # older kernels differ from the one that slabfwd is equal to


def kernel_version():
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


def work(job):
    case, program, caches, verbose, each_step, with_drops = job
    begin = time.monotonic()
    trace = None
    try:
        trace = drops.DropTrace() if with_drops else None
        found, seen = play(case, program, caches, each_step, trace)
    except Exception as error:  # a lab that could not be made is a failed case
        return case.name, {caches[0]: [f"{type(error).__name__}: {error}"]}, [], time.monotonic() - begin
    finally:
        if trace:
            trace.close()
    lines = []
    if verbose:
        lines += ["    # " + line for line in case.config]
        for i, step in enumerate(case.steps):
            if step[0] == "frames":
                lines += [f"    step {i}: {port} {summary(frame)}" for port, frame in step[1]]
            else:
                lines.append(f"    step {i}: {step}")
        lines += [f"    {name:8} {frame}" for name, frames in seen for frame in frames]
    return case.name, found, lines, time.monotonic() - begin


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--slabfwd", default=os.environ.get("SLABFWD",
        os.path.join(HERE, "../../../build/release/slabfwd")))
    parser.add_argument("--family")
    parser.add_argument("--name")
    parser.add_argument("--cache", default="default")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--each-step", action="store_true",
        help="compare the counters after each step, to find the one at fault")
    parser.add_argument("--drops", action="store_true", help="hold reasons of drops against the kernel's tracepoint")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    return parser.parse_args()


def play_all(jobs, at_once, verbose):
    """Plays and prints; the names of those that failed."""
    failed = []
    with multiprocessing.get_context("fork").Pool(max(1, at_once)) as pool:
        for name, found, lines, seconds in pool.imap_unordered(work, jobs):
            wrong = {cache: complaints for cache, complaints in found.items() if complaints}
            if wrong:
                failed.append(name)
            if wrong or verbose:
                print(f"{'FAIL' if wrong else 'PASS'}  {name} ({seconds:.1f} s)")
                print(*lines, sep="\n", end="\n" if lines else "")
            for cache, complaints in wrong.items():
                for complaint in complaints[:12]:
                    print(f"      {cache}: {complaint}")
            sys.stdout.flush()
    return failed


def main():
    args = parse()
    chosen = cases.select(args.family, args.name, args.fast)
    if args.list:
        for case in chosen:
            print(f"{case.family:10} {case.name}")
        return 0
    if os.geteuid() != 0 or kernel_version() < SKIP_BELOW:
        print(f"SKIP  differ: needs root and a kernel of {'.'.join(map(str, SKIP_BELOW))} or later")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    caches = args.cache.split(",")
    if not set(caches) <= set(CACHES):
        print(f"run.py: --cache takes {', '.join(CACHES)}", file=sys.stderr)
        return 2
    jobs = [(case, os.path.abspath(args.slabfwd), caches, args.verbose, args.each_step, args.drops) for case in
            sorted(chosen, key=lambda c: -sum(s[1] for s in c.steps if s[0] == "wait"))]
    failed = play_all(jobs, args.jobs, args.verbose)
    if args.jobs > 1 and 0 < len(failed) <= FEW:
        print("again, alone: " + ", ".join(failed))
        failed = play_all([job for job in jobs if job[0].name in failed], 1, args.verbose)
    print(f"{len(jobs) - len(failed)} passed, {len(failed)} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
