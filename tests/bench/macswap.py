#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""slabfwd's cached path beside dpdk-testpmd --forward-mode=macswap: same port, same frames, same lcore, in turn.

    tests/bench/macswap.py [--turns 5] [--seconds 3] [--flows 1,1000,10000,100000] [--core 1] [--no-huge]
                           [--config FILE] [--json FILE]

Both read 64-byte frames of UDP flows from one net_pcap port with infinite_rx=1 and send them out of the same
port, whose transmit side drops. macswap only exchanges two addresses; slabfwd validates, looks up the route
cache, counts down the TTL and writes the neighbour's header. Printed: the medians of the turns in TSC cycles
per packet and the ratio. A cycle counts when the forwarding thread ran (its own CPU time, from schedstat), so
that a busy machine spoils little; absolute numbers on a shared machine prove nothing, the ratio does.
--config: further lines for slabfwd, such as rules, to see what they cost.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "pcaps"))
import make  # noqa: E402  (frames and file format as in pcaps/)

MAC = "02:00:00:00:00:01"
CONFIG = f"""ip link set dev p0 up address {MAC}
ip addr add 10.0.0.1/16 dev p0
ip route add 10.1.0.0/16 via 10.0.0.2
ip neigh add 10.0.0.2 lladdr 02:00:0a:00:00:02 dev p0 nud permanent
sysctl -w net.ipv4.ip_forward=1
sysctl -w net.ipv4.conf.all.send_redirects=0
sysctl -w net.ipv4.conf.p0.send_redirects=0
"""


def write_frames(path, flows):
    """64 bytes on the wire (60 and the checksum), one frame a flow."""
    destination = bytes.fromhex(MAC.replace(":", ""))
    frames = []
    for flow in range(flows):
        host = flow % 50000
        source, target = f"10.0.{1 + host // 250}.{1 + host % 250}", f"10.1.{flow // 250 % 250}.{1 + flow % 250}"
        packet = make.ipv4(source, target, make.UDP, make.udp(source, target, 1024 + flow % 60000, 5000, b"x" * 18))
        frames.append(make.ethernet(make.host_mac(source), packet, destination=destination))
    path.write_bytes(make.as_pcap(frames))


def wait_for(stream, pattern, seconds=20):
    """The first match of the pattern in the lines that come."""
    end = time.monotonic() + seconds
    said = []
    while time.monotonic() < end:
        line = stream.readline()
        if not line:
            break
        said.append(line)
        if match := re.search(pattern, line):
            return match
    sys.exit(f"did not see {pattern!r} in:\n{''.join(said[-30:])}")


def cpu_times(pid):
    """Seconds that each thread of the process has run."""
    return {task.name: int((task / "schedstat").read_text().split()[0]) / 1e9
            for task in Path(f"/proc/{pid}/task").iterdir()}


def forwarding_time(before, after):
    """What the forwarding thread ran meanwhile: of all threads it ran most."""
    return max(seconds - before.get(thread, 0) for thread, seconds in after.items())


def hugepages(options):
    return [] if options.huge else ["--no-huge", "-m", "1024"]


def testpmd(port, options):
    """(packets, seconds of CPU time) of one turn of macswap, and the TSC's frequency in Hz."""
    main_core = next(c for c in os.sched_getaffinity(0) if c != options.core)
    command = ["stdbuf", "-oL", "dpdk-testpmd", "-l", f"{main_core},{options.core}", "--main-lcore", str(main_core),
               *(hugepages(options) or ["--in-memory"]), "--no-pci", "--no-telemetry", "--file-prefix", "macswap",
               "--vdev", f"net_pcap0,{port}", "--", "-i", "--nb-cores=1", "--forward-mode=macswap",
               f"--total-num-mbufs={mbufs(options)}", "--no-lsc-interrupt"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          bufsize=1) as process:
        def say(text):
            process.stdin.write(text + "\n")
            process.stdin.flush()

        def packets():
            say("show port stats 0")
            return int(wait_for(process.stdout, r"RX-packets:\s+(\d+)")[1])

        say("set record-core-cycles on")
        say("start")
        time.sleep(1)
        first, begin = packets(), cpu_times(process.pid)
        time.sleep(options.seconds)
        last, end = packets(), cpu_times(process.pid)
        say("show fwd stats all")
        hertz = float(wait_for(process.stdout, r"at ([\d.]+) MHz Clock")[1]) * 1e6
        say("stop")
        say("quit")
        process.stdout.read()
    return last - first, forwarding_time(begin, end), hertz


def received(program, place):
    """Packets received by p0 so far."""
    said = subprocess.run([program, "ctl", "ip", "-j", "-s", "link", "show", "dev", "p0"], capture_output=True,
                          text=True, check=True, env=os.environ | {"RUNTIME_DIRECTORY": str(place)}).stdout
    return json.loads(said)[0]["stats64"]["rx"]["packets"]


def slabfwd(program, place, port, options):
    """(packets, seconds of CPU time) of one turn, and the summary: all of it has to have gone through the cache."""
    (place / "config").write_text(CONFIG + (options.config.read_text() if options.config else ""))
    command = [program, "run", *(["--no-huge"] if not options.huge else []), "--config", place / "config",
               "--port", f"p0=net_pcap0,{port}", "--cores", options.core, "--json", place / "summary.json",
               "--mbufs", mbufs(options)]
    with subprocess.Popen([str(w) for w in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=os.environ | {"RUNTIME_DIRECTORY": str(place)}) as process:
        wait_for(process.stdout, r"\bready\b")
        time.sleep(1)
        first, begin = received(program, place), cpu_times(process.pid)
        time.sleep(options.seconds)
        last, end = received(program, place), cpu_times(process.pid)
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
    if process.returncode:
        sys.exit(f"slabfwd ended with {process.returncode}:\n{said[-2000:]}")
    summary = json.loads((place / "summary.json").read_text())
    drops = sum(summary["drops"].values())
    if drops > summary["ports"]["p0"]["rx_packets"] / 1000:
        sys.exit(f"slabfwd dropped {summary['drops']}")
    return last - first, forwarding_time(begin, end), summary


def mbufs(options):
    """Room for the frames of the capture, which the port keeps, and for those under way."""
    return 32767 if options.flow_count <= 10000 else 262143


def measure(program, place, options, flows):
    """Medians of the turns: cycles per packet of both."""
    options.flow_count = flows
    write_frames(place / "frames.pcap", flows)
    port = f"rx_pcap={place}/frames.pcap,infinite_rx=1"
    cycles = {"testpmd": [], "slabfwd": []}
    for turn in range(options.turns):
        packets, seconds, hertz = testpmd(port, options)
        cycles["testpmd"].append(seconds * hertz / packets)
        packets, seconds, summary = slabfwd(program, place, port, options)
        cycles["slabfwd"].append(seconds * hertz / packets)
        print(f"  {flows} flows, turn {turn + 1}: testpmd {cycles['testpmd'][-1]:6.1f}, "
              f"slabfwd {cycles['slabfwd'][-1]:6.1f} cycles a packet", file=sys.stderr, flush=True)
    cache = summary["route_cache"]
    if cache["misses"] > 2 * flows:
        sys.exit(f"not the cached path: {cache}")
    return {name: statistics.median(values) for name, values in cycles.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--flows", default="1,1000,10000,100000")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--no-huge", dest="huge", action="store_false")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    build = TOP / "build/release"
    program = os.environ.get("SLABFWD") or str(build / "slabfwd")
    for need in (program, "dpdk-testpmd"):
        if not shutil.which(need):
            sys.exit(f"{need} is not here")
    free = int(Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").read_text())
    if options.huge and free < 1024:
        sys.exit(f"{free} free hugepages of 2 MiB: 1,024 are wanted (/proc/sys/vm/nr_hugepages), or --no-huge")

    rows = []
    print(f"64-byte frames on net_pcap,infinite_rx=1, {'hugepages' if options.huge else 'no hugepages'}, "
          f"lcore {options.core}, medians of {options.turns} turns of {options.seconds:g} s\n"
          "TSC cycles of the forwarding thread's CPU time per packet\n"
          f"{'flows':>8} {'macswap':>10} {'slabfwd':>10} {'ratio':>8}")
    for flows in (int(word) for word in options.flows.split(",")):
        with tempfile.TemporaryDirectory(prefix="slabfwd-bench-") as folder:
            cycles = measure(program, Path(folder), options, flows)
        ratio = cycles["slabfwd"] / cycles["testpmd"]
        print(f"{flows:8} {cycles['testpmd']:10.1f} {cycles['slabfwd']:10.1f} {ratio:8.2f}", flush=True)
        workload = f"{flows} flows, 64 bytes, {'hugepages' if options.huge else 'no hugepages'}"
        for name, value in cycles.items():
            rows.append({"bench": "macswap", "workload": workload, "peer": name, "metric": "cycles",
                         "value": value, "unit": "TSC cycles/packet"})
        rows.append({"bench": "macswap", "workload": workload, "peer": "testpmd", "metric": "ratio",
                     "value": ratio, "unit": ""})
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
