#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""slabfwd's cached path beside dpdk-testpmd --forward-mode=macswap: same port, same frames, same lcore, in turn.

    tests/bench/macswap.py [--turns 5] [--seconds 3] [--slices 6] [--flows 1,1000,10000,100000] [--core 1]
                           [--no-huge] [--config FILE] [--json FILE] [--beside PROGRAM]

Both read 64-byte frames of UDP flows from one net_pcap port with infinite_rx=1 and send them out of the same
port, whose transmit side drops. macswap only exchanges two addresses; slabfwd validates, looks up the route
cache, counts down the TTL and writes the neighbour's header. A turn starts both anew; then one runs while the
other is stopped (SIGSTOP), slice by slice, so that what else the machine does in those seconds meets both.
Printed: the medians of the turns in TSC cycles per packet and the ratio. A cycle counts when the forwarding
thread ran (its own CPU time, from schedstat); absolute numbers on a shared machine prove nothing, the ratio does.
--config: further lines for slabfwd, such as rules, to see what they cost. --beside: a second slabfwd (without
those lines), measured in the same slices, to compare two builds or configurations.
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



def mac(port):
    return f"02:00:00:00:00:{port + 1:02x}"


def config(*ports):
    """Hosts of 10.(2 PORT).0.0/16 send to 10.(2 PORT + 1).0.0/16, which is behind a host of the same port."""
    lines = ["sysctl -w net.ipv4.ip_forward=1", "sysctl -w net.ipv4.conf.all.send_redirects=0"]
    for port in ports:
        lines += [f"ip link set dev p{port} up address {mac(port)}", f"ip addr add 10.{2 * port}.0.1/16 dev p{port}",
                  f"ip route add 10.{2 * port + 1}.0.0/16 via 10.{2 * port}.0.2",
                  f"ip neigh add 10.{2 * port}.0.2 lladdr 02:00:0a:00:00:02 dev p{port} nud permanent",
                  f"sysctl -w net.ipv4.conf.p{port}.send_redirects=0"]
    return "\n".join(lines) + "\n"


def write_frames(path, flows, port=0):
    """64 bytes on the wire (60 and the checksum), one frame a flow."""
    destination = bytes.fromhex(mac(port).replace(":", ""))
    frames = []
    for flow in range(flows):
        host = flow % 50000
        source = f"10.{2 * port}.{1 + host // 250}.{1 + host % 250}"
        target = f"10.{2 * port + 1}.{flow // 250 % 250}.{1 + flow % 250}"
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


class Peer:
    """A forwarding program that runs only while it is measured: started, then stopped but for its slices."""

    def __init__(self, name, command, env=None, **pipes):
        self.name, self.cycles = name, []
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True,
                                        stderr=subprocess.STDOUT, env=env, bufsize=1, **pipes)

    def slice(self, seconds):
        """(packets, seconds of CPU time of the forwarding thread) of one slice."""
        self.process.send_signal(signal.SIGCONT)
        time.sleep(0.05)
        first, begin = self.packets(), cpu_times(self.process.pid)
        time.sleep(seconds)
        last, end = self.packets(), cpu_times(self.process.pid)
        self.process.send_signal(signal.SIGSTOP)
        return last - first, forwarding_time(begin, end)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Testpmd(Peer):
    def __init__(self, port, options):
        main_core = next(c for c in os.sched_getaffinity(0) if c != options.core)
        super().__init__("testpmd", [
            "stdbuf", "-oL", "dpdk-testpmd", "-l", f"{main_core},{options.core}", "--main-lcore", main_core,
            *(hugepages(options) or ["--in-memory"]), "--no-pci", "--no-telemetry", "--file-prefix", "macswap",
            "--vdev", f"net_pcap0,{port}", "--", "-i", "--nb-cores=1", "--forward-mode=macswap",
            f"--total-num-mbufs={mbufs(options)}", "--no-lsc-interrupt"], stdin=subprocess.PIPE)
        self.say("set record-core-cycles on")
        self.say("start")
        self.packets()
        time.sleep(0.5)
        self.process.send_signal(signal.SIGSTOP)

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def packets(self):
        self.say("show port stats 0")
        return int(wait_for(self.process.stdout, r"RX-packets:\s+(\d+)")[1])

    def finish(self):
        """Ends it; the TSC's frequency in Hz."""
        self.process.send_signal(signal.SIGCONT)
        self.say("show fwd stats all")
        hertz = float(wait_for(self.process.stdout, r"at ([\d.]+) MHz Clock")[1]) * 1e6
        self.say("stop")
        self.say("quit")
        self.process.stdout.read()
        self.process.wait()
        return hertz


class Slabfwd(Peer):
    def __init__(self, name, program, place, port, options, more=""):
        self.place, self.program = place / name, program
        self.place.mkdir(exist_ok=True)
        (self.place / "config").write_text(config(0) + more)
        self.env = os.environ | {"RUNTIME_DIRECTORY": str(self.place)}
        super().__init__(name, [
            program, "run", *(["--no-huge"] if not options.huge else []), "--config", self.place / "config",
            "--port", f"p0=net_pcap0,{port}", "--cores", options.core, "--json", self.place / "summary.json",
            "--mbufs", mbufs(options), *options.arguments.split()], env=self.env)
        wait_for(self.process.stdout, r"\bready\b")
        time.sleep(0.5)
        self.process.send_signal(signal.SIGSTOP)

    def packets(self):
        said = subprocess.run([self.program, "ctl", "ip", "-j", "-s", "link", "show", "dev", "p0"],
                              capture_output=True, text=True, check=True, env=self.env).stdout
        return json.loads(said)[0]["stats64"]["rx"]["packets"]

    def finish(self):
        """Ends it; all of it has to have gone through the cache."""
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGINT)
        said = self.process.stdout.read()
        if self.process.wait():
            sys.exit(f"{self.name} ended with {self.process.returncode}:\n{said[-2000:]}")
        summary = json.loads((self.place / "summary.json").read_text())
        if sum(summary["drops"].values()) > summary["ports"]["p0"]["rx_packets"] / 1000:
            sys.exit(f"{self.name} dropped {summary['drops']}")
        return summary["route_cache"]


def mbufs(options):
    """Room for the frames of the capture, which the port keeps, and for those under way."""
    return 32767 if options.flow_count <= 10000 else 262143


def turn(programs, place, port, options):
    """One turn: name -> median of the slices in cycles per packet."""
    peers = []
    try:
        peers.append(Testpmd(port, options))
        for name, program, more in programs:
            peers.append(Slabfwd(name, program, place, port, options, more))
        runs = {peer.name: [] for peer in peers}
        for number in range(options.slices):
            first = number % len(peers)
            for peer in peers[first:] + peers[:first]:
                runs[peer.name].append(peer.slice(options.seconds / options.slices))
        hertz = peers[0].finish()
        for peer in peers[1:]:
            cache = peer.finish()
            if cache["misses"] > 2 * options.flow_count:
                sys.exit(f"{peer.name}: not the cached path: {cache}")
    finally:
        for peer in peers:
            peer.kill()
    return {name: statistics.median(seconds * hertz / packets for packets, seconds in slices)
            for name, slices in runs.items()}


def measure(programs, place, options, flows):
    """Medians of the turns: cycles per packet of all."""
    options.flow_count = flows
    write_frames(place / "frames.pcap", flows)
    port = f"rx_pcap={place}/frames.pcap,infinite_rx=1"
    turns = []
    for number in range(options.turns):
        turns.append(turn(programs, place, port, options))
        said = ", ".join(f"{name} {cycles:6.1f}" for name, cycles in turns[-1].items())
        print(f"  {flows} flows, turn {number + 1}: {said} cycles a packet", file=sys.stderr, flush=True)
    return {name: statistics.median(t[name] for t in turns) for name in turns[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--slices", type=int, default=6, help="parts of a turn's seconds, all programs in turn")
    parser.add_argument("--flows", default="1,1000,10000,100000")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--no-huge", dest="huge", action="store_false")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--beside", metavar="PROGRAM", help="a second slabfwd, without the lines of --config")
    parser.add_argument("--arguments", default="", help="further arguments for slabfwd run")
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
    programs = [("slabfwd", program, options.config.read_text() if options.config else "")]
    if options.beside:
        programs.append(("beside", options.beside, ""))

    rows = []
    print(f"64-byte frames on net_pcap,infinite_rx=1, {'hugepages' if options.huge else 'no hugepages'}, "
          f"lcore {options.core}, medians of {options.turns} turns of {options.seconds:g} s\n"
          "TSC cycles of the forwarding thread's CPU time per packet\n"
          f"{'flows':>8} {'macswap':>10}" + "".join(f" {name:>10} {'ratio':>8}" for name, _, _ in programs))
    for flows in (int(word) for word in options.flows.split(",")):
        with tempfile.TemporaryDirectory(prefix="slabfwd-bench-") as folder:
            cycles = measure(programs, Path(folder), options, flows)
        ratio = {name: cycles[name] / cycles["testpmd"] for name, _, _ in programs}
        print(f"{flows:8} {cycles['testpmd']:10.1f}" +
              "".join(f" {cycles[name]:10.1f} {ratio[name]:8.2f}" for name in ratio), flush=True)
        workload = f"{flows} flows, 64 bytes, {'hugepages' if options.huge else 'no hugepages'}"
        for name, value in cycles.items():
            rows.append({"bench": "macswap", "workload": workload, "peer": name, "metric": "cycles",
                         "value": value, "unit": "TSC cycles/packet"})
        for name, value in ratio.items():
            rows.append({"bench": "macswap", "workload": workload, "peer": name, "metric": "ratio",
                         "value": value, "unit": ""})
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
