#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Replay captures through slabfwd and check what comes of them.

    tests/replay/run.py [NAME-PART ...] [--learn]

Every capture (the project's own in pcaps/ through pcaps/router.conf; the real ones in
$SLABFWD_SHARED/data/pcaps into p0 with a default route out of p1) is replayed twice:
  - packets in = packets out + counted drops (tests/balance.py), all frames of the file were received
  - frames sent (less ARP requests) and drop reasons are those of expected.json, which a person has compared with
    the capture
  - tshark reads the outputs without an error and counts what the summary counts
  - both runs give the same bytes
Then the damaged, the looped and the limited ones. --learn rewrites expected.json with what happens now.
SLABFWD names the program (build/release/slabfwd).
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
import balance  # noqa: E402  (a script of ours, one folder up)

ROUTER = (TOP / "pcaps/router.conf").read_text()
DEFAULT_ROUTE = """ip link set dev p0 up
ip link set dev p1 up
ip addr add 198.18.0.1/24 dev p0
ip addr add 198.18.1.1/24 dev p1
ip route add default via 198.18.1.2
sysctl -w net.ipv4.ip_forward=1
"""
EXPECTED = HERE / "expected.json"


class Failure(Exception):
    """What went wrong, in words."""


def require(condition, text):
    if not condition:
        raise Failure(text)


def program():
    named = os.environ.get("SLABFWD")
    places = [named] if named else [TOP / "build/release/slabfwd", TOP / "build/release/dataplane/slabfwd"]
    for place in places:
        if Path(place).is_file():
            return str(place)
    sys.exit(f"{places[0]} is not built")


# Real captures that end in the middle of a frame: replayed up to there, then reported.
CUT = {"modbus_modbus-and-non-modbus-p502.pcap"}


def frames_of(path, among="frame"):
    """How many whole frames tshark finds; it has to read the file without an error, unless that is cut."""
    run = subprocess.run(["tshark", "-n", "-r", path, "-Y", among, "-T", "fields", "-e", "frame.number"],
                         capture_output=True, text=True, check=False)
    errors = [line for line in run.stderr.splitlines() if not line.startswith("Running as user")]
    require(path.name in CUT or (run.returncode == 0 and not errors), f"tshark on {path.name}: {run.returncode} {errors}")
    return len(run.stdout.split())


class Replay:
    """One run of `slabfwd replay` in a folder of its own."""

    def __init__(self, place, config, inputs, *options, status=0):
        place.mkdir()
        (place / "config").write_text(config)
        self.place = place
        words = [program(), "replay", "--config", place / "config", "--json", place / "summary.json"]
        for port, capture in inputs:
            words += ["--in", f"{port}={capture}"]
        for port in ("p0", "p1"):
            words += ["--out", f"{port}={place / port}.pcap"]
        self.run = subprocess.run([str(w) for w in words + list(options)], capture_output=True, text=True,
                                  errors="replace", check=False, timeout=300,
                                  env=os.environ | {"RUNTIME_DIRECTORY": str(place)})
        said = (self.run.stdout + self.run.stderr)[-2000:]
        if status == "failure":
            require(0 < self.run.returncode < 124, f"exit status {self.run.returncode}, expected a failure:\n{said}")
        else:
            require(self.run.returncode == status, f"exit status {self.run.returncode}:\n{said}")
        require((place / "summary.json").is_file(), f"no summary:\n{said}")
        self.summary = json.loads((place / "summary.json").read_text())
        require(not (wrong := list(balance.complaints(self.summary))), "; ".join(wrong))

    def output(self, port):
        return self.place / f"{port}.pcap"

    def total(self, key):
        return sum(port[key] for port in self.summary["ports"].values())

    def forwarded(self):
        """Frames sent, less ARP requests: when a neighbour is probed hangs on the random numbers of the run."""
        return self.total("tx_packets") - sum(frames_of(self.output(port), "arp.opcode == 1")
                                              for port in self.summary["ports"])

    def reasons(self):
        return {reason: count for reason, count in sorted(self.summary["drops"].items()) if count}

    def check_outputs(self):
        for port, counters in self.summary["ports"].items():
            found = frames_of(self.output(port))
            require(found == counters["tx_packets"], f"{port}: {found} frames written, {counters['tx_packets']} counted")


def same(first, second):
    for port in ("p0", "p1"):
        require(first.output(port).read_bytes() == second.output(port).read_bytes(), f"two runs differ on {port}")
    require(first.reasons() == second.reasons(), "two runs differ in their drops")


# --- the captures ---------------------------------------------------------------------------------------------------

def captures():
    """(name, config, inputs) of every capture there is."""
    own = TOP / "pcaps"
    for path in sorted(own.glob("*.pcap*")):
        port = "p1" if path.name.startswith("udp-replies") else "p0"
        yield path.name, ROUTER, [(port, path)]
    yield "udp-both-ways", ROUTER, [("p0", own / "udp-flows.pcap"), ("p1", own / "udp-replies.pcapng")]
    if shared := os.environ.get("SLABFWD_SHARED"):
        for path in sorted(Path(shared, "data/pcaps").glob("*.pcap*")):
            yield path.name, DEFAULT_ROUTE, [("p0", path)]


def check_capture(place, config, inputs, expected):
    status = "failure" if any(path.name in CUT for _, path in inputs) else 0
    first = Replay(place / "1", config, inputs, status=status)
    second = Replay(place / "2", config, inputs, status=status)
    same(first, second)
    first.check_outputs()
    frames = sum(frames_of(path) for _, path in inputs)
    require(first.total("rx_packets") == frames, f"{first.total('rx_packets')} received of {frames} frames")
    outcome = {"tx": first.forwarded(), "drops": first.reasons()}
    if expected is not None:
        require(outcome == expected, f"expected {expected}, got {outcome}")
    return outcome


# --- special cases --------------------------------------------------------------------------------------------------

FLOWS = TOP / "pcaps/udp-flows.pcap"


def damaged(place):
    """A capture cut within a frame: replayed up to there, reported, exit status not 0."""
    whole = FLOWS.read_bytes()
    record = 16 + 60  # all its frames have 60 bytes
    for cut, rest in (("frame", 16 + 20), ("header", 5)):
        capture = place / f"cut-{cut}.pcap"
        capture.write_bytes(whole[:24 + 100 * record + rest])
        replay = Replay(place / cut, ROUTER, [("p0", capture)], status="failure")
        require(replay.total("rx_packets") == 100, f"{cut}: {replay.total('rx_packets')} of 100 whole frames replayed")
        require(capture.name in replay.run.stderr, f"{cut}: not reported: {replay.run.stderr}")
        replay.check_outputs()


def damaged_gzip(place):
    """A gzipped capture that ends too early: the same."""
    capture = place / "cut.pcap.gz"
    capture.write_bytes(gzip.compress(FLOWS.read_bytes(), mtime=0)[:-100])
    replay = Replay(place / "run", ROUTER, [("p0", capture)], status="failure")
    require(0 < replay.total("rx_packets") < 256, f"{replay.total('rx_packets')} frames replayed")
    require(capture.name in replay.run.stderr, f"not reported: {replay.run.stderr}")


def damaged_length(place):
    """A record that claims an impossible length."""
    data = bytearray(FLOWS.read_bytes())
    at = 24 + 10 * 76 + 8
    data[at:at + 8] = b"\xff\xff\xff\x7f" * 2
    capture = place / "length.pcap"
    capture.write_bytes(data)
    replay = Replay(place / "run", ROUTER, [("p0", capture)], status="failure")
    require(replay.total("rx_packets") == 10, f"{replay.total('rx_packets')} of 10 good frames replayed")
    require(capture.name in replay.run.stderr, f"not reported: {replay.run.stderr}")


def loop_and_limit(place):
    """tcpreplay's --loop and --limit."""
    require(Replay(place / "loop", ROUTER, [("p0", FLOWS)], "--loop", "3").total("rx_packets") == 768, "--loop 3")
    require(Replay(place / "limit", ROUTER, [("p0", FLOWS)], "--limit", "10").total("rx_packets") == 10, "--limit 10")


def nobody_answers(place):
    """--no-arp-answer: neighbours fail, what waited for them is dropped under that name; nothing is held on."""
    replay = Replay(place / "run", ROUTER, [("p0", FLOWS)], "--no-arp-answer")
    reasons = replay.reasons()
    require(any(reason.startswith("NEIGH_") for reason in reasons), f"drops: {reasons}")
    require(replay.summary["ports"]["p1"]["tx_packets"] < 64, "frames went out to nobody")


def keep_mac(place):
    """--keep-mac: frames for other MACs are not ours."""
    capture = place / "other.pcap"
    data = bytearray(FLOWS.read_bytes())
    for at in range(24, len(data), 76):
        data[at + 16:at + 22] = b"\x02\xee\xee\xee\xee\xee"
    capture.write_bytes(data)
    require(Replay(place / "as-own", ROUTER, [("p0", capture)]).summary["ports"]["p1"]["tx_packets"] >= 256, "dropped")
    kept = Replay(place / "kept", ROUTER, [("p0", capture)], "--keep-mac")
    require(kept.reasons() == {"OTHERHOST": 256}, f"drops: {kept.reasons()}")


def drops_file(place):
    """--drops FILE: every dropped packet in a pcapng, its reason as the comment."""
    replay = Replay(place / "run", ROUTER, [("p0", TOP / "pcaps/bad.pcap")], "--drops", place / "drops.pcapng")
    run = subprocess.run(["tshark", "-n", "-r", place / "drops.pcapng", "-T", "fields", "-e", "frame.comment"],
                         capture_output=True, text=True, check=True)
    found = {}
    for line in run.stdout.splitlines():
        for reason in replay.reasons():
            if reason in line.split() or line.strip() == reason:
                found[reason] = found.get(reason, 0) + 1
    require(found == replay.reasons(), f"comments {found}, counted {replay.reasons()}")


def trace(place):
    """--trace: a packet's walk by kernel function, with the allocation of its route."""
    said = Replay(place / "run", ROUTER, [("p0", FLOWS)], "--trace", "1").run.stdout
    steps = ["ip_rcv", "ip_route_input_slow", "dst_alloc", "kmem_cache_alloc", "ip_dst_cache", "ip_forward",
             "ip_output", "ip_finish_output"]
    require(not (missing := [step for step in steps if step not in said]), f"the trace lacks {missing}:\n{said[:3000]}")


def made_again(place):
    """pcaps/make.py gives the committed captures."""
    subprocess.run([sys.executable, TOP / "pcaps/make.py", place], check=True)
    for path in sorted(place.iterdir()):
        made, kept = path.read_bytes(), (TOP / "pcaps" / path.name).read_bytes()
        if path.suffix == ".gz":
            made, kept = gzip.decompress(made), gzip.decompress(kept)
        require(made == kept, f"{path.name} differs from what make.py makes")


SPECIAL = [made_again, damaged, damaged_gzip, damaged_length, loop_and_limit, nobody_answers, keep_mac, drops_file, trace]


def main():
    words = [word for word in sys.argv[1:] if word != "--learn"]
    learn = "--learn" in sys.argv
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    counts = {"PASS": 0, "FAIL": 0, "SKIP": 0}

    def report(name, test):
        if words and not any(word in name for word in words):
            return
        word, text = "PASS", ""
        with tempfile.TemporaryDirectory(prefix="slabfwd-replay-") as place:
            try:
                test(Path(place))
            except (Failure, OSError, subprocess.SubprocessError, ValueError) as error:
                word, text = "FAIL", str(error)
        counts[word] += 1
        print(f"{word}  replay/{name:40} {text}".rstrip(), flush=True)

    program()
    for name, config, inputs in captures():
        def test(place, name=name, config=config, inputs=inputs):
            outcome = check_capture(place, config, inputs, None if learn else expected.get(name))
            require(learn or name in expected, f"expected.json lacks it (--learn adds it): {outcome}")
            expected[name] = outcome
        report(name, test)
    for special in SPECIAL:
        report(special.__name__, special)
    if not os.environ.get("SLABFWD_SHARED"):
        counts["FAIL" if os.environ.get("SLABFWD_NO_SKIP") else "SKIP"] += 1
        print("SKIP  replay/real captures: SLABFWD_SHARED is not set")
    if learn:
        rows = [f"{json.dumps(name)}: {json.dumps(expected[name])}" for name in sorted(expected)]
        EXPECTED.write_text("{\n" + ",\n".join(rows) + "\n}\n")
    print(f"{counts['PASS']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
