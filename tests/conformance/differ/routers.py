# SPDX-License-Identifier: BSD-3-Clause
"""The two routers under test: this machine's kernel, and slabfwd on AF_PACKET ports; the same doors for both."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

from balance import complaints  # tests/balance.py
from lab import Lab, run

CACHES = {
    "default": [],
    "off": ["sysctl -w net.ipv4.rt_cache_rebuild_count=-1"],
    "squeezed": ["sysctl -w net.ipv4.route.gc_thresh=1", "sysctl -w net.ipv4.route.max_size=4",
                 "sysctl -w net.ipv4.route.gc_elasticity=1"],
}


class Kernel:
    name = "kernel"

    def __init__(self, case):
        self.lab = Lab(case.ports, for_kernel=True)
        with self.lab.router:
            done = run(["sh", "-c", "set -e\n" + "\n".join(case.config)])
        if done.returncode:
            raise RuntimeError("the kernel refuses the configuration: " + done.stdout.strip()[-300:])

    def command(self, line):
        with self.lab.router:
            done = run(["sh", "-c", line])
        return done.returncode, done.stdout

    def cat(self, path):
        with self.lab.router, open(path, encoding="ascii") as file:
            return file.read()

    def stop(self):
        self.lab.close()
        return []


class Slabfwd:
    name = "slabfwd"

    def __init__(self, case, program, cache):
        self.drops = None   # {reason: packets}, once it has ended
        self.program, self.folder = program, tempfile.mkdtemp(prefix="slabfwd-differ-")
        self.socket = self.folder + "/ctl"
        self.lab = Lab(case.ports, for_kernel=False)
        try:
            self._start(case, CACHES[cache])
        except Exception:
            self._remove()
            raise

    def _start(self, case, first):
        with open(self.folder + "/config", "w", encoding="utf-8") as file:
            file.write("\n".join(first + case.config) + "\n")
        argv = [self.program, "run", "--no-huge", "--config", self.folder + "/config", "--ctl", self.socket, "--json",
                self.folder + "/summary"]
        for port in case.ports:
            argv += ["--port", f"{port}=net_af_packet{port[1:]},iface={port}"]
        with self.lab.router, open(self.folder + "/out", "wb") as out, open(self.folder + "/err", "wb") as err:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                            env=dict(os.environ, RUNTIME_DIRECTORY=self.folder), start_new_session=True)
        end = time.monotonic() + 30
        while "ready" not in self._text("out").split():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"slabfwd did not start: {self.last_words()}")
            time.sleep(0.01)

    def _text(self, name):
        with open(f"{self.folder}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()

    def last_words(self):
        return " | ".join((self._text("err") + self._text("out")).strip().splitlines()[-3:])[-400:]

    def command(self, line):
        with self.lab.router:
            done = run([self.program, "ctl", "--ctl", self.socket, *shlex.split(line)])
        return done.returncode, done.stdout

    def cat(self, path):
        return self.command("cat " + path)[1]

    def stop(self):
        """Ends it; complaints about how it ended, and about packets that its counters lost."""
        out = []
        if self.process.poll() is not None:
            out.append(f"slabfwd died, status {self.process.returncode}: {self.last_words()}")
        else:
            self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(10)
                if status:
                    out.append(f"slabfwd ended with status {status}: {self.last_words()}")
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
                out.append("slabfwd did not stop")
        if not out:
            summary = json.loads(self._text("summary"))
            self.drops = summary["drops"]
            out += complaints(summary)
        self._remove()
        return out

    def _remove(self):
        process = getattr(self, "process", None)
        if process and process.poll() is None:
            process.kill()
            process.wait(10)
        self.lab.close()
        shutil.rmtree(self.folder, ignore_errors=True)
