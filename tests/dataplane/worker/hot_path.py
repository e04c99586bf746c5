#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A packet of a cached flow costs no call, no locked instruction and no indirect jump.

usage: hot_path.py SLABFWD

Replays 8,192 frames of 8 flows under callgrind, which counts how often each instruction of the worker's
loop ran. What ran for every second packet or more often is "per packet"; among it must be no call
(so no allocation either), no jump through a pointer and no lock. A burst may call: receive, hooks, transmit.
Exit status 77 (skipped) without valgrind or objdump.
"""

import collections
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile

PACKETS, FLOWS, BURST = 8192, 8, 32
CONFIG = """\
sysctl -w net.ipv4.ip_forward=1
ip link set dev p0 up
ip link set dev p1 up
ip addr add 10.0.0.1/24 dev p0
ip addr add 10.0.1.1/24 dev p1
ip neigh add 10.0.1.2 lladdr 02:bb:00:00:01:02 dev p1 nud permanent
ip route add default via 10.0.1.2
"""


def checksum(header):
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(flow, ttl=64, options=b""):
    head = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 50 + len(options), 0, 0, ttl, 17, 0,
                       bytes([10, 0, 0, 2]), bytes([192, 168, flow >> 8, flow & 255])) + options
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    ethernet = bytes.fromhex("020000000000" "02bb00000002" "0800")
    return ethernet + head + struct.pack("!HHHH", 1000, 2000, 30, 0) + bytes(22)


def write_capture(path, frames):
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for i, data in enumerate(frames):
            # As many frames at one instant as make whole bursts.
            out.write(struct.pack("<IIII", 0, i // (16 * BURST), len(data), len(data)) + data)


def executed(profile):
    """(object, address) -> how often that instruction ran inside worker_turn()."""
    counts = collections.Counter()
    obj, inclusive = "", False
    for line in open(profile, encoding="utf-8", errors="replace"):
        if line.startswith("ob="):
            obj = line[3:].strip()
        elif line.startswith("calls="):
            inclusive = True  # the next line is what the callee cost
        elif line.startswith("0x"):
            if not inclusive:
                address, _, cost = line.split()[:3]
                counts[obj, int(address, 16)] += int(cost)
            inclusive = False
    return counts


def profile(slabfwd, config, frames):
    """The same for a replay of the frames from p0 to p1."""
    with tempfile.TemporaryDirectory() as folder:
        path = lambda name: os.path.join(folder, name)
        open(path("config"), "w", encoding="utf-8").write(config)
        write_capture(path("in.pcap"), frames)
        run = subprocess.run(
            ["valgrind", "--tool=callgrind", "--dump-instr=yes", "--compress-pos=no", "--compress-strings=no",
             f"--callgrind-out-file={path('profile')}", "--toggle-collect=slabfwd::worker_turn*",
             slabfwd, "replay", "--no-huge", "--config", path("config"), "--in", f"p0={path('in.pcap')}",
             "--out", f"p1={path('out.pcap')}"], capture_output=True, text=True, timeout=3600,
            # By CPU time: on a busy machine it may take many times as long by the clock.
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (240, 240)))
        if run.returncode:
            sys.exit(f"replay under callgrind failed:\n{run.stdout}\n{run.stderr}")
        return executed(path("profile"))


def disassembly(obj):
    """address -> (function, instruction)"""
    text = subprocess.run(["objdump", "-d", "-C", "--no-show-raw-insn", obj],
                          check=True, capture_output=True, text=True).stdout
    function, code = "", {}
    for line in text.splitlines():
        if m := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            function = m[1]
        elif m := re.match(r"\s*([0-9a-f]+):\t(.*)$", line):
            code[int(m[1], 16)] = (function, m[2].strip())
    return code


def offence(instruction):
    word, _, operands = instruction.partition(" ")
    if word.startswith("call"):
        return "a call"
    if word == "lock" or (word.startswith("xchg") and "(" in operands):
        return "a locked instruction"
    if word.startswith("jmp") and operands.lstrip().startswith("*"):
        return "an indirect jump"
    return None


def main():
    slabfwd = os.path.abspath(sys.argv[1])
    for tool in ("valgrind", "objdump"):
        if not shutil.which(tool):
            print(f"SKIP: {tool} is not installed")
            return 77
    counts = profile(slabfwd, CONFIG, [frame(i % FLOWS) for i in range(PACKETS)])
    hot = {key: n for key, n in counts.items() if n >= PACKETS // 2}
    print(f"{sum(counts.values()) / PACKETS:.1f} instructions a packet, "
          f"{sum(hot.values()) / PACKETS:.1f} of them in {len(hot)} places that each packet passes")
    if sum(hot.values()) < 50 * PACKETS:
        sys.exit("FAIL: that is no packet's way: the profile does not show the loop")
    code = {obj: disassembly(obj) for obj in {obj for obj, _ in hot}}
    found = 0
    for (obj, address), n in sorted(hot.items()):
        function, instruction = code[obj].get(address, ("?", "?"))
        if why := offence(instruction):
            found += 1
            print(f"FAIL: {why} for each packet: {instruction}\n      in {function} of {obj} ({n} times)")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
