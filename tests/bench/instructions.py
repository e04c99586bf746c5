#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Instructions that a packet costs, counted by callgrind over a fixed replay: the same on a busy machine.

    tests/bench/instructions.py [--json FILE] [--baseline FILE [--limit 1.05]] [SLABFWD]

Replays the same 8,192 frames whenever it runs and counts what the worker's turns execute, port to port. With
--baseline (an earlier --json) each workload is shown beside it; one that takes more than --limit times as many
makes the exit status 1. Exit status 77 (skipped) without valgrind. SLABFWD defaults to build/release/slabfwd.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "tests/dataplane/worker"))
import hot_path  # noqa: E402  (frames, and the replay under callgrind)

RECORD_ROUTE = bytes([7, 7, 4, 0, 0, 0, 0, 0])
RULES = "".join(f"iptables -A FORWARD -s 172.16.0.{i} -d 172.24.0.{i} -p udp --dport {i + 1} -j DROP\n"
                for i in range(100))


def frames(flows=hot_path.FLOWS, slow_every=0, **slow):
    """PACKETS frames of so many flows; every slow_every-th is made with `slow`."""
    return [hot_path.frame(i % flows, **(slow if slow_every and i % slow_every == 0 else {}))
            for i in range(hot_path.PACKETS)]


WORKLOADS = {
    "8 flows": lambda: ("", frames()),
    "1000 flows": lambda: ("", frames(1000)),
    "no flow repeats": lambda: ("", frames(hot_path.PACKETS)),
    "10% options": lambda: ("", frames(slow_every=10, options=RECORD_ROUTE)),
    "10% ttl1": lambda: ("", frames(slow_every=10, ttl=1)),
    "100 rules": lambda: (RULES, frames()),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("slabfwd", nargs="?", default=str(TOP / "build/release/slabfwd"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--limit", type=float, default=1.05)
    parser.add_argument("--workload", action="append", choices=WORKLOADS)
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        print("SKIP: valgrind is not installed")
        return 77
    before = {}
    if options.baseline:
        before = {row["workload"]: row["value"] for row in json.loads(options.baseline.read_text())["rows"]}
    rows, worse = [], 0
    print(f"{'workload':<18}{'instructions':>14}" + ("  before    ratio" if before else ""))
    for name in options.workload or WORKLOADS:
        config, input_frames = WORKLOADS[name]()
        counts = hot_path.profile(os.path.abspath(options.slabfwd), hot_path.CONFIG + config, input_frames)
        value = sum(counts.values()) / hot_path.PACKETS
        if value < 10:
            sys.exit(f"{name}: {value:.1f} instructions a packet: the profile does not show the loop")
        line = f"{name:<18}{value:14.1f}"
        if before.get(name):
            ratio = value / before[name]
            line += f"{before[name]:8.1f} {ratio:8.3f}" + ("  more than the limit" if ratio > options.limit else "")
            worse += ratio > options.limit
        print(line, flush=True)
        rows.append({"bench": "instructions", "workload": name, "peer": "slabfwd", "metric": "instructions",
                     "value": value, "unit": "instructions/packet"})
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
