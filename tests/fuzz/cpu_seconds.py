#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
#
# cpu_seconds.py SECONDS FUZZER ARGS...: runs a libFuzzer program again and again, each time for as long as is
# left, until it has used SECONDS of CPU time (on a busy machine wall time says little). Exit status: the
# first that is not 0.
import resource
import subprocess
import sys


def used():
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


seconds, command = float(sys.argv[1]), sys.argv[2:]
while (left := seconds - used()) >= 1:
    status = subprocess.call(command + [f"-max_total_time={int(min(left, 120)) or 1}"])
    if status:
        sys.exit(1)
