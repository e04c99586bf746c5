#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two lcores, each with a port of its own, beside one lcore with one port; and one port's flows over two lcores.

    tests/bench/two_cores.py [--turns 3] [--seconds 3] [--slices 6] [--flows 1000] [--cores 0,1] [--no-huge]
                             [--json FILE]

The ports are those of macswap.py. Four routers are started and run in turn, slice by slice, the others stopped:
one lcore on the first core, one on the second, two lcores on two ports, two lcores on one port whose flows are
spread in software (--rps). Printed: millions of packets per second of CPU time of a forwarding thread, added
over the threads - what lcores do on cores of their own -, the same per second of wall time, and the ratio to
one lcore (the mean of both cores). The target is 1.9 for two ports.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import macswap


class Router(macswap.Peer):
    """slabfwd on `ports` ports and `cores`."""

    def __init__(self, name, program, place, options, ports, cores, *more):
        self.place, self.program = place / name.replace(" ", "-"), program
        self.place.mkdir()
        self.threads = len(cores)
        self.rates = {"cpu": [], "wall": []}
        (self.place / "config").write_text(macswap.config(*range(ports)))
        self.env = os.environ | {"RUNTIME_DIRECTORY": str(self.place)}
        words = [w for port in range(ports)
                 for w in ("--port", f"p{port}=net_pcap{port},rx_pcap={place}/frames{port}.pcap,infinite_rx=1")]
        super().__init__(name, [program, "run", *([] if options.huge else ["--no-huge"]), "--config",
                                self.place / "config", *words, "--cores", ",".join(map(str, cores)), "--quiet",
                                "--mbufs", 32767, *more], env=self.env)
        macswap.wait_for(self.process.stdout, r"\bready\b")
        time.sleep(0.3)
        self.process.send_signal(macswap.signal.SIGSTOP)

    def packets(self):
        said = subprocess.run([self.program, "ctl", "ip", "-j", "-s", "link"], capture_output=True, text=True,
                              check=True, env=self.env).stdout
        return sum(link["stats64"]["tx"]["packets"] for link in json.loads(said) if link["ifname"] != "lo")

    def measure(self, seconds):
        self.process.send_signal(macswap.signal.SIGCONT)
        time.sleep(0.05)
        first, begin, clock = self.packets(), macswap.cpu_times(self.process.pid), time.monotonic()
        time.sleep(seconds)
        last, end = self.packets(), macswap.cpu_times(self.process.pid)
        wall = time.monotonic() - clock
        self.process.send_signal(macswap.signal.SIGSTOP)
        ran = sorted((t - begin.get(thread, 0) for thread, t in end.items()), reverse=True)[:self.threads]
        self.rates["cpu"].append((last - first) * self.threads / sum(ran) / 1e6)
        self.rates["wall"].append((last - first) / wall / 1e6)


def one_turn(program, options, place, cores):
    """name -> {"cpu", "wall"}: medians of the slices in Mpps."""
    one, other = cores
    routers = []
    try:
        for name, ports, on, more in (("one lcore", 1, [one], []), ("one lcore, other core", 1, [other], []),
                                      ("two lcores, two ports", 2, cores, []),
                                      ("two lcores, one port, --rps", 1, cores, ["--rps"])):
            routers.append(Router(name, program, place, options, ports, on, *more))
        for number in range(options.slices):
            first = number % len(routers)
            for router in routers[first:] + routers[:first]:
                router.measure(options.seconds / options.slices)
    finally:
        for router in routers:
            router.kill()
            shutil.rmtree(router.place)
    return {r.name: {kind: statistics.median(values) for kind, values in r.rates.items()} for r in routers}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--slices", type=int, default=6)
    parser.add_argument("--flows", type=int, default=1000)
    parser.add_argument("--cores", default=",".join(map(str, sorted(os.sched_getaffinity(0))[:2])))
    parser.add_argument("--no-huge", dest="huge", action="store_false")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    program = os.environ.get("SLABFWD") or str(macswap.TOP / "build/release/slabfwd")
    cores = [int(c) for c in options.cores.split(",")]
    if len(cores) != 2:
        sys.exit("two cores are wanted")
    turns = []
    with tempfile.TemporaryDirectory(prefix="slabfwd-bench-") as folder:
        for port in (0, 1):
            macswap.write_frames(Path(folder) / f"frames{port}.pcap", options.flows, port)
        for _ in range(options.turns):
            turns.append(one_turn(program, options, Path(folder), cores))
    rate = {name: {kind: statistics.median(t[name][kind] for t in turns) for kind in ("cpu", "wall")}
            for name in turns[0]}
    base = {kind: (rate["one lcore"][kind] + rate["one lcore, other core"][kind]) / 2 for kind in ("cpu", "wall")}
    print(f"64-byte frames of {options.flows} flows, {'hugepages' if options.huge else 'no hugepages'}, medians of "
          f"{options.turns} turns of {options.seconds:g} s\n{'Mpps':32} {'CPU time':>9} {'ratio':>6} "
          f"{'wall time':>9} {'ratio':>6}")
    rows = []
    for name, by in rate.items():
        print(f"{name:32} {by['cpu']:9.1f} {by['cpu'] / base['cpu']:6.2f} {by['wall']:9.1f} "
              f"{by['wall'] / base['wall']:6.2f}")
        rows += [{"bench": "two_cores", "workload": f"{options.flows} flows, 64 bytes", "peer": name, "metric": kind,
                  "value": value, "unit": "Mpps"} for kind, value in by.items()]
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
