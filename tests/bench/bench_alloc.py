#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""`slabfwd bench alloc` from end to end: table, JSON and plot, every peer in every workload.

    tests/bench/bench_alloc.py [--slabfwd PROGRAM] [--turns 1] [--full] [--json FILE] [--plot FILE.svg]

By default short turns: shows that all peers run and that the numbers are complete and plausible, asserts no
times. --full measures (7 turns unless told otherwise) and prints the targets; `slabfwd bench alloc --strict`
is what judges them. Exit status 1 when something is missing.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
FIELDS = {"bench", "workload", "peer", "metric", "value", "unit"}
OURS = {"slab_handle", "slab_cache", "slab_linux"}
METRICS = {"latency": {"p50", "p99_9", "p99_99"}, "memory": {"bytes_per_object", "after_90", "after_all"}}


def names(program):
    """(peers, workloads) as --list names them."""
    lists = {}
    for line in subprocess.run([program, "bench", "alloc", "--list"], check=True, capture_output=True,
                               text=True).stdout.splitlines():
        if line.endswith(":"):
            current = lists.setdefault(line[:-1], [])
        else:
            current.append(line.strip())
    return lists["peers"], lists["workloads"]


def complaints(rows, peers, workloads, skipped):
    """What is wrong with the rows, a sentence each."""
    numbers = {}
    for row in rows:
        if set(row) != FIELDS or row["bench"] != "alloc":
            yield f"a row of other fields: {row}"
            continue
        if not math.isfinite(row["value"]):
            yield f"no number: {row}"
        numbers[row["workload"], row["peer"], row["metric"]] = row["value"]
    for workload in workloads:
        wanted = METRICS.get(workload.split("_")[0], {"cycles", "ns"})
        for peer in peers:
            if peer == "lifo" or peer in skipped:
                continue
            for metric in wanted:
                if (workload, peer, metric) not in numbers:
                    yield f"{workload}: {peer} has no {metric}"
        size = int(workload.rsplit("/")[1])
        for peer in peers:
            used = numbers.get((workload, peer, "bytes_per_object"))
            if used is not None and not size <= used < 4 * size:
                yield f"{workload}: {peer} takes {used:.1f} bytes for {size}"
            if numbers.get((workload, peer, "cycles"), 1) <= 0:
                yield f"{workload}: {peer} takes no time"
            low, high = (numbers.get((workload, peer, m), 0) for m in ("p50", "p99_99"))
            if low > high:
                yield f"{workload}: {peer}: p50 {low} above p99.99 {high}"
    if not any(metric == "cycles_ratio" and peer in OURS for _, peer, metric in numbers):
        yield "no ratios"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slabfwd", default=str(TOP / "build" / "slabfwd"), metavar="PROGRAM")
    parser.add_argument("--turns", type=int)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plot", metavar="FILE.svg")
    args = parser.parse_args()

    peers, workloads = names(args.slabfwd)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(args.json or f"{folder}/alloc.json")
        svg = Path(args.plot or f"{folder}/alloc.svg")
        command = [args.slabfwd, "bench", "alloc", "--json", str(out), "--plot", str(svg),
                   "--turns", str(args.turns or (7 if args.full else 1))]
        run = subprocess.run(command + ([] if args.full else ["--quick"]), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        print(run.stdout, end="")
        print(run.stderr, end="", file=sys.stderr)
        if run.returncode:
            sys.exit(f"bench_alloc.py: exit status {run.returncode}")
        skipped = {line.split(":")[0] for line in run.stderr.splitlines() if ": skipped: " in line}
        wrong = list(complaints(json.loads(out.read_text())["rows"], peers, workloads, skipped))
        if "</svg>" not in svg.read_text():
            wrong.append("the plot is no SVG")
    for sentence in wrong:
        print(f"bench_alloc.py: {sentence}", file=sys.stderr)
    print(f"{len(workloads)} workloads, {len(peers)} peers, {len(skipped)} skipped, {len(wrong)} complaints")
    return 1 if wrong or skipped & OURS else 0


if __name__ == "__main__":
    sys.exit(main())
