#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What rules cost a forwarded packet: slabfwd beside the kernel's iptables, on the same veth ports.

    tests/bench/iptables_peer.py [--rules 0,10,100,1000,10000] [--peers slabfwd,legacy,nft,alone] [--turns 3]
                                 [--seconds 0.5] [--flows 1000] [--cores 0,1] [--no-changes] [--json FILE] [--plot FILE]

Three namespaces: one sends 60-byte UDP frames as fast as it can, the router's two veth ports forward them, the
third takes them. filter FORWARD holds so many rules with -s, -d, -p and --dport, none of which matches.

    slabfwd   af_packet ports, one worker
    legacy    the kernel forwards, rules of iptables-legacy (a rule after the other)
    nft       the kernel forwards, rules of iptables on nf_tables, which Debian installs as iptables
    alone     slabfwd bench forward: no ports, the packet's way only

The sender has the first core, who forwards the second. Cost: CPU time of the forwarding thread by packets that
came out of the second port; the kernel forwards in a thread too (threaded NAPI of the veth port). Both send into
the same kernel, which drops the frame behind the port at their expense. The ports' share is in every figure but
`alone`: what says something is the ratio to the same way with 10 rules or none.
Then the time of a change: the whole load by iptables-restore, and one `iptables -A` on top of it (slabfwd's through
`slabfwd ctl`). --plot: SVG or PNG by gnuplot. Needs root, iptables, ethtool.
"""

import argparse
import ctypes
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import macswap
from macswap import make

TITLES = {"slabfwd": "slabfwd", "legacy": "kernel, iptables-legacy", "nft": "kernel, iptables-nft",
          "alone": "slabfwd, no ports"}


# --- the sender ------------------------------------------------------------------------------------

class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.POINTER(Iovec)),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("hdr", Msghdr), ("len", ctypes.c_uint)]


def send_forever(device, flows, parent):
    """Frames of all flows in turn, without the queueing discipline; ends with its parent."""
    router = bytes.fromhex("020000000001")
    frames = []
    for flow in range(flows):
        source, target = f"10.0.{flow // 250 % 4}.{2 + flow % 250}", f"10.1.{flow // 250 % 200}.{1 + flow % 250}"
        packet = make.ipv4(source, target, make.UDP, make.udp(source, target, 1024 + flow % 60000, 5000, b"x" * 18))
        frames.append(ctypes.create_string_buffer(make.ethernet(make.host_mac(source), packet, destination=router)))
    vectors = [Iovec(ctypes.cast(f, ctypes.c_void_p), len(f) - 1) for f in frames]
    messages = (Mmsghdr * flows)(*(Mmsghdr(Msghdr(iov=ctypes.pointer(v), iovlen=1)) for v in vectors))
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    out.bind((device, 0))
    out.setsockopt(263, 20, 1)  # SOL_PACKET, PACKET_QDISC_BYPASS
    out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    sendmmsg = ctypes.CDLL(None).sendmmsg
    at, size = 0, ctypes.sizeof(Mmsghdr)
    while os.getppid() == parent:
        done = sendmmsg(out.fileno(), ctypes.byref(messages, at * size), min(flows - at, 256), 0)
        at = (at + max(done, 1)) % flows


# --- namespaces ------------------------------------------------------------------------------------

def run(*words, **more):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: {done.stderr or done.stdout}")
    return done.stdout


class Lab:
    """sender eth0 - p0 router p1 - eth0 sink; the sender runs only while somebody measures."""

    def __init__(self, options):
        self.options = options
        self.tag = f"rules{os.getpid()}"
        self.sender = None
        for name in ("sender", "router", "sink"):
            run("ip", "netns", "add", self.ns(name))
            self.on(name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        for port, end in ((0, "sender"), (1, "sink")):
            run("ip", "link", "add", f"p{port}", "address", macswap.mac(port), "netns", self.ns("router"), "type",
                "veth", "peer", "name", "eth0", "netns", self.ns(end))
            for where, device in ((end, "eth0"), ("router", f"p{port}")):
                self.on(where, "ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
                self.on(where, "ip", "link", "set", device, "arp", "off", "up")

    def ns(self, name):
        return f"{self.tag}-{name}"

    def on(self, name, *words, **more):
        return run("ip", "netns", "exec", self.ns(name), *words, **more)

    def sent(self):
        return int(self.on("router", "cat", "/sys/class/net/p1/statistics/tx_packets"))

    def start_sender(self):
        self.sender = subprocess.Popen(
            ["ip", "netns", "exec", self.ns("sender"), "taskset", "-c", str(self.options.cores[0]), sys.executable,
             __file__, "--send", "eth0", "--flows", str(self.options.flows), "--parent", str(os.getpid())])
        time.sleep(0.4)
        self.sender.send_signal(signal.SIGSTOP)

    def measure(self, cpu):
        """(nanoseconds of CPU time a packet, packets a second); cpu(): seconds that the forwarding thread ran."""
        self.sender.send_signal(signal.SIGCONT)
        time.sleep(0.15)
        first, begin, clock = self.sent(), cpu(), time.monotonic()
        time.sleep(self.options.seconds)
        last, end, wall = self.sent(), cpu(), time.monotonic() - clock
        self.sender.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        if last - first < 100:
            sys.exit(f"only {last - first} packets were forwarded")
        return (end - begin) / (last - first) * 1e9, (last - first) / wall

    def close(self):
        if self.sender:
            self.sender.kill()
            self.sender.wait()
        for name in ("sender", "router", "sink"):
            run("ip", "netns", "del", self.ns(name))


CONFIG = """ip link set dev p0 up address 02:00:00:00:00:01
ip link set dev p1 up address 02:00:00:00:00:02
ip addr add 10.0.0.1/16 dev p0
ip addr add 10.2.0.1/16 dev p1
ip route add 10.1.0.0/16 via 10.2.0.2
ip neigh add 10.2.0.2 lladdr 02:00:0a:02:00:02 dev p1 nud permanent
sysctl -w net.ipv4.ip_forward=1
"""


def rules_text(count):
    lines = ["*filter"]
    for i in range(count):
        protocol = ("udp", "tcp")[i % 2]
        lines.append(f"-A FORWARD -s 172.16.{i >> 8 & 255}.{i & 255}/32 -d 172.24.{i >> 8 & 255}.{i & 255}/32 "
                     f"-p {protocol} -m {protocol} --dport {1 + i % 60000} -j DROP")
    return "\n".join(lines + ["COMMIT", ""])


class Kernel:
    """Forwards in the NAPI thread of p0, pinned to the second core."""

    def __init__(self, lab, options, tool):
        self.lab, self.tool, before = lab, tool, self.threads()
        lab.on("router", "ethtool", "-K", "p0", "gro", "on")  # veth has NAPI only then
        lab.on("router", "sh", "-c", "echo 1 > /sys/class/net/p0/threaded")
        self.thread = (self.threads() - before).pop()
        os.sched_setaffinity(self.thread, {options.cores[1]})
        lab.on("router", "sh", "-e", input=CONFIG)

    @staticmethod
    def threads():
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "comm").read_text().startswith("napi/p0-"):
                    found.add(int(folder.name))
            except OSError:
                pass  # it ended meanwhile
        return found

    def cpu(self):
        return int(Path(f"/proc/{self.thread}/schedstat").read_text().split()[0]) / 1e9

    def load(self, text):
        self.lab.on("router", f"{self.tool}-restore", input=text)

    def append(self, rule):
        self.lab.on("router", self.tool, "-A", *rule)

    def close(self):
        pass


class Slabfwd:
    def __init__(self, lab, options, place):
        self.place = place
        self.env = os.environ | {"RUNTIME_DIRECTORY": str(place)}
        (place / "config").write_text(CONFIG)
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", lab.ns("router"), "taskset", "-c", str(options.cores[1]), options.program, "run",
             "--no-huge", "--config", place / "config", "--port", "p0=net_af_packet0,iface=p0", "--port",
             "p1=net_af_packet1,iface=p1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.env)
        macswap.wait_for(self.process.stdout, r"\bready\b")
        self.program = options.program

    def cpu(self):
        return max(macswap.cpu_times(self.process.pid).values())  # of all threads it ran most

    def load(self, text):
        (self.place / "rules").write_text(text)
        run(self.program, "ctl", "iptables-restore", self.place / "rules", env=self.env)

    def append(self, rule):
        run(self.program, "ctl", "iptables", "-A", *rule, env=self.env)

    def close(self):
        self.process.send_signal(signal.SIGINT)
        said = self.process.stdout.read()
        if self.process.wait():
            sys.exit(f"slabfwd ended with {self.process.returncode}:\n{said[-2000:]}")


# --- measurements ----------------------------------------------------------------------------------

def timed(action, *words):
    begin = time.monotonic()
    action(*words)
    return (time.monotonic() - begin) * 1e3


def on_ports(peer, options, place):
    """One turn: {rules: (ns, packets a second)}, {change: ms}."""
    lab, router = Lab(options), None
    try:
        router = Slabfwd(lab, options, place) if peer == "slabfwd" else Kernel(
            lab, options, {"legacy": "iptables-legacy", "nft": "iptables"}[peer])
        lab.start_sender()
        costs = {}
        for count in options.rules:
            if count:
                router.load(rules_text(count))
            costs[count] = lab.measure(router.cpu)
        changes = {}
        if options.changes:
            most = options.rules[-1]
            changes["restore"] = timed(router.load, rules_text(most))
            appends = [timed(router.append, ("FORWARD", "-s", f"172.30.0.{i}", "-p", "udp", "--dport", "53", "-j",
                                             "DROP")) for i in range(1, 6)]
            changes["append"] = statistics.median(appends)
        return costs, changes
    finally:
        if router:
            router.close()
        lab.close()


def alone(options, place):
    """The same without ports, by the benchmark that slabfwd has."""
    run(options.program, "bench", "forward", "--flows", options.flows, "--turns", 1, "--no-huge",
        "--rules", ",".join(map(str, options.rules)), "--json", place / "alone.json")
    rows = json.loads((place / "alone.json").read_text())["rows"]
    costs = {}
    for row in rows:
        if row["metric"] == "mpps" and row["workload"].endswith(" rules"):
            costs[int(row["workload"].split()[-2])] = (1e3 / row["value"], row["value"] * 1e6)
    return costs, {}


def plot(costs, options):
    terminal = "pngcairo" if options.plot.suffix == ".png" else "svg background 'white'"
    script = (f"set terminal {terminal} size 900,560 noenhanced font 'sans,11'\nset output '{options.plot}'\n"
              "set logscale xy\nset grid\n"
              "set title 'CPU time of a forwarded packet over rules in filter FORWARD that do not match'\n"
              "set xlabel 'rules'\nset ylabel 'ns'\nset key left top\n")
    for peer, by_rules in costs.items():
        script += f"${peer} << EOD\n"
        script += "".join(f"{max(n, 1)} {ns:.6g} \"{n}\"\n" for n, (ns, _) in by_rules.items()) + "EOD\n"
    curves = (f"${peer} using 1:2:xtic(3) with linespoints title '{TITLES[peer]}'" for peer in costs)
    run("gnuplot", input=script + "plot " + ", ".join(curves) + "\n")


def report(costs, changes, options):
    rows = []
    print(f"60-byte frames of {options.flows} UDP flows, rules that do not match; medians of {options.turns} turns "
          f"of {options.seconds:g} s\n{'':26}{'rules':>7} {'ns/packet':>10} {'kpps':>8} {'of 0':>7} {'of 10':>7}")
    for peer, by_rules in costs.items():
        for count, (ns, rate) in by_rules.items():
            of = {base: f"{ns / by_rules[base][0]:.2f}" if base in by_rules else "" for base in (0, 10)}
            print(f"{TITLES[peer]:26}{count:7} {ns:10.0f} {rate / 1e3:8.0f} {of[0]:>7} {of[10]:>7}")
            for metric, value, unit in (("cost", ns, "ns/packet"), ("rate", rate, "packets/s")):
                rows.append({"bench": "iptables_peer", "workload": f"{count} rules", "peer": TITLES[peer],
                             "metric": metric, "value": value, "unit": unit})
    if any(changes.values()):
        print(f"\n{'ms at ' + str(options.rules[-1]) + ' rules':26}{'restore of all':>16} {'one iptables -A':>16}")
    for peer, took in changes.items():
        if took:
            print(f"{TITLES[peer]:26}{took['restore']:16.1f} {took['append']:16.1f}")
        for change, ms in took.items():
            rows.append({"bench": "iptables_peer", "workload": f"{change} at {options.rules[-1]} rules",
                         "peer": TITLES[peer], "metric": "time", "value": ms, "unit": "ms"})
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    if options.plot:
        plot(costs, options)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    numbers = lambda text: [int(word) for word in text.split(",")]  # noqa: E731
    parser.add_argument("--rules", type=numbers, default=[0, 10, 100, 1000, 10000])
    parser.add_argument("--peers", type=lambda text: text.split(","), default=list(TITLES))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--flows", type=int, default=1000)
    parser.add_argument("--cores", type=numbers, default=sorted(os.sched_getaffinity(0))[:2])
    parser.add_argument("--no-changes", dest="changes", action="store_false")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--send", help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse()
    if options.send:
        send_forever(options.send, options.flows, options.parent)
        return
    options.program = os.environ.get("SLABFWD") or str(macswap.TOP / "build/release/slabfwd")
    for need in (options.program, "iptables-restore", "iptables-legacy-restore", "ethtool", "ip"):
        if not shutil.which(need):
            sys.exit(f"{need} is not here")
    if len(options.cores) != 2:
        sys.exit("two cores are wanted: the sender's, and that of who forwards")
    options.rules.sort()
    turns = {peer: [] for peer in options.peers}
    for number in range(options.turns):
        for peer in options.peers:
            with tempfile.TemporaryDirectory(prefix="slabfwd-bench-") as folder:
                turns[peer].append((alone if peer == "alone" else lambda o, p, who=peer: on_ports(who, o, p))(
                    options, Path(folder)))
            said = ", ".join(f"{n}: {ns:.0f}" for n, (ns, _) in turns[peer][-1][0].items())
            print(f"  turn {number + 1}, {TITLES[peer]}: ns a packet by rules {said}", file=sys.stderr, flush=True)
    costs = {peer: {n: tuple(statistics.median(t[0][n][i] for t in seen) for i in (0, 1)) for n in options.rules}
             for peer, seen in turns.items()}
    changes = {peer: {c: statistics.median(t[1][c] for t in seen) for c in seen[0][1]} for peer, seen in turns.items()}
    report(costs, changes, options)


if __name__ == "__main__":
    main()
