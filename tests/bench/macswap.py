#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""slabfwd's cached path beside dpdk-testpmd --forward-mode=macswap: same port, same frames, same lcore, in turn.

    tests/bench/macswap.py [--turns 5] [--seconds 3] [--flows 1000] [--core 1] [--json FILE]

Both read 64-byte frames of 1,000 UDP flows from one net_pcap port with infinite_rx=1 and send them out of the
same port, whose transmit side drops. macswap only exchanges two addresses; slabfwd validates, looks up the
route cache, counts down the TTL and writes the neighbour's header. Printed: the median of the turns in Mpps,
in TSC cycles per packet, and the ratio. Absolute numbers on a shared machine prove nothing, the ratio does.
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
        source, target = f"10.0.{1 + flow // 250}.{1 + flow % 250}", f"10.1.{flow // 250}.{1 + flow % 250}"
        packet = make.ipv4(source, target, make.UDP, make.udp(source, target, 1024 + flow, 5000, b"x" * 18))
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


def testpmd(port, core, seconds):
    """(packets per second, TSC in Hz) of one turn of macswap."""
    main_core = next(c for c in os.sched_getaffinity(0) if c != core)
    command = ["stdbuf", "-oL", "dpdk-testpmd", "-l", f"{main_core},{core}", "--main-lcore", str(main_core), "--no-huge", "-m", "512",
               "--no-pci", "--no-telemetry", "--file-prefix", "macswap", "--vdev", f"net_pcap0,{port}", "--",
               "-i", "--nb-cores=1", "--forward-mode=macswap", "--total-num-mbufs=32768", "--no-lsc-interrupt"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          bufsize=1) as process:
        def say(text):
            process.stdin.write(text + "\n")
            process.stdin.flush()

        say("set record-core-cycles on")
        say("start")
        time.sleep(1)
        say("show port stats 0")  # the next one's rate counts from here
        wait_for(process.stdout, r"Rx-pps:\s+\d+")
        time.sleep(seconds)
        say("show port stats 0")
        rate = int(wait_for(process.stdout, r"Rx-pps:\s+(\d+)")[1])
        say("show fwd stats all")
        hertz = float(wait_for(process.stdout, r"at ([\d.]+) MHz Clock")[1]) * 1e6
        say("stop")
        say("quit")
        process.stdout.read()
    return rate, hertz


def received(program, place):
    """(now, packets received by p0 so far)"""
    before = time.monotonic()
    said = subprocess.run([program, "ctl", "ip", "-j", "-s", "link", "show", "dev", "p0"], capture_output=True,
                          text=True, check=True, env=os.environ | {"RUNTIME_DIRECTORY": str(place)}).stdout
    return (before + time.monotonic()) / 2, json.loads(said)[0]["stats64"]["rx"]["packets"]


def slabfwd(program, place, port, core, seconds):
    """Packets per second of one turn, and the summary: all of it has to have gone through the cache."""
    (place / "config").write_text(CONFIG)
    command = [program, "run", "--no-huge", "--config", place / "config", "--port", f"p0=net_pcap0,{port}",
               "--cores", str(core), "--json", place / "summary.json"]
    with subprocess.Popen([str(w) for w in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=os.environ | {"RUNTIME_DIRECTORY": str(place)}) as process:
        wait_for(process.stdout, r"\bready\b")
        time.sleep(1)
        begin, first = received(program, place)
        time.sleep(seconds)
        end, last = received(program, place)
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
    if process.returncode:
        sys.exit(f"slabfwd ended with {process.returncode}:\n{said[-2000:]}")
    summary = json.loads((place / "summary.json").read_text())
    drops = sum(summary["drops"].values())
    if drops > summary["ports"]["p0"]["rx_packets"] / 1000:
        sys.exit(f"slabfwd dropped {summary['drops']}")
    return (last - first) / (end - begin), summary


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--flows", type=int, default=1000)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    build = TOP / "build/release"
    program = os.environ.get("SLABFWD") or next(
        (str(p) for p in (build / "slabfwd", build / "dataplane/slabfwd") if p.is_file()), str(build / "slabfwd"))
    for need in (program, "dpdk-testpmd"):
        if not shutil.which(need):
            sys.exit(f"{need} is not here")

    rates = {"slabfwd": [], "testpmd": []}
    with tempfile.TemporaryDirectory(prefix="slabfwd-bench-") as folder:
        place = Path(folder)
        write_frames(place / "frames.pcap", options.flows)
        port = f"rx_pcap={place}/frames.pcap,infinite_rx=1"
        for turn in range(options.turns):
            rate, hertz = testpmd(port, options.core, options.seconds)
            rates["testpmd"].append(rate)
            rate, summary = slabfwd(program, place, port, options.core, options.seconds)
            rates["slabfwd"].append(rate)
            print(f"turn {turn + 1}: testpmd {rates['testpmd'][-1] / 1e6:6.2f} Mpps, slabfwd {rate / 1e6:6.2f} Mpps", flush=True)

    cache = summary["route_cache"]
    print(f"\n{options.flows} flows of 64-byte frames on net_pcap,infinite_rx=1, lcore {options.core}, "
          f"median of {options.turns} turns of {options.seconds:g} s")
    print(f"route cache of the last turn: {cache['hits']} hits, {cache['misses']} misses, {cache['allocated']} allocated")
    rows = []
    for name, peer in (("testpmd", "macswap"), ("slabfwd", "ip_forward")):
        rate = statistics.median(rates[name])
        print(f"{name + ' ' + peer:20} {rate / 1e6:8.2f} Mpps {hertz / rate:8.1f} TSC cycles/packet")
        for metric, value, unit in (("rate", rate / 1e6, "Mpps"), ("cycles", hertz / rate, "TSC cycles/packet")):
            rows.append({"bench": "macswap", "workload": f"{options.flows} flows, 64 bytes", "peer": name,
                         "metric": metric, "value": value, "unit": unit})
    ratio = statistics.median(rates["slabfwd"]) / statistics.median(rates["testpmd"])
    print(f"slabfwd / testpmd    {ratio:8.3f}")
    rows.append({"bench": "macswap", "workload": f"{options.flows} flows, 64 bytes", "peer": "testpmd",
                 "metric": "ratio", "value": ratio, "unit": ""})
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
