# SPDX-License-Identifier: BSD-3-Clause
"""Why the kernel dropped what it dropped: the skb:kfree_skb tracepoint, held against slabfwd's reasons.

The kernel handles what we send on a veth within our own system call, so that an instance of the tracer that
hears our process alone, and only while frames go to the kernel's router, hears what that router drops.
"""

import collections
import os
import re
import tempfile

from lab import run

# OTHERHOST, IP_INADDRERRORS: the hosts' namespace drops what it hears, in the same call. The others come of
# timers, when nobody listens here; or are our own (drops that no kernel has).
LEFT_OUT = {"OTHERHOST", "IP_INADDRERRORS", "NEIGH_FAILED", "QUEUE_PURGE", "FRAG_REASM_TIMEOUT", "NEIGH_QUEUEFULL",
    "SHUTDOWN",
            "TX_ERROR"}
UNNAMED = "NOT_SPECIFIED"   # of these the kernel does not say why; slabfwd may know
REASON = re.compile(r"kfree_skb: .*reason: (\w+)")


class DropTrace:
    """`with trace:` listens; `trace.reasons()` says what was heard. One for a process."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="slabfwd-tracefs-")
        done = run(["mount", "-t", "tracefs", "nodev", self.root])
        if done.returncode:
            os.rmdir(self.root)
            raise RuntimeError("no tracefs: " + done.stdout.strip())
        self.path = f"{self.root}/instances/slabfwd-{os.getpid()}"
        os.mkdir(self.path)
        self._write("tracing_on", 0)
        self._write("set_event_pid", os.getpid())
        self._write("events/skb/kfree_skb/enable", 1)

    def _write(self, name, value):
        with open(f"{self.path}/{name}", "w", encoding="ascii") as file:
            file.write(str(value))

    def __enter__(self):
        self._write("tracing_on", 1)
        return self

    def __exit__(self, *_):
        self._write("tracing_on", 0)

    def clear(self):
        self._write("trace", "")

    def reasons(self):
        with open(self.path + "/trace", encoding="ascii", errors="replace") as file:
            found = [REASON.search(line) for line in file]
        return collections.Counter(match[1] for match in found if match)

    def close(self):
        self._write("events/skb/kfree_skb/enable", 0)
        os.rmdir(self.path)
        run(["umount", self.root])
        os.rmdir(self.root)


def difference(kernel, slabfwd):
    """Complaints about two {reason: packets}: what the kernel names has to be named alike."""
    out, surplus = [], 0
    for reason in sorted({*kernel, *slabfwd} - LEFT_OUT - {UNNAMED}):
        mine, theirs = slabfwd.get(reason, 0), kernel.get(reason, 0)
        surplus += max(0, mine - theirs)
        if mine < theirs:
            out.append(f"drops {reason}: {mine}, on the kernel {theirs}")
    if surplus > kernel.get(UNNAMED, 0):
        out.append(f"drops that the kernel does not have: {dict(slabfwd)}, on the kernel {dict(kernel)}")
    return out
