#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Fuzz the parsers with clang's libFuzzer under AddressSanitizer and UBSan:
#   tests/fuzz/run.sh [SECONDS [TARGET...]]     SECONDS of CPU time a target, one after the other (default 20)
# Needs the packages that `tests/packages.sh fuzz` installs, and builds the preset `fuzz` unless
# SLABFWD_FUZZ_BUILD names a build folder. A finding stays in FOLDER/findings (FUZZ_WORK, default build/fuzz/work)
# and fails the target; what the fuzzer learnt stays in FOLDER/TARGET and is used again. An input that takes longer
# than FUZZ_TIMEOUT seconds of wall time (60) is a finding: give more where the machine pauses the run now and then.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$top"
seconds=${1:-20}
shift || true
targets=("$@")
((${#targets[@]})) || targets=(ip_lines iptables_lines sysctl_lines iptables_restore ip_packets capture_reader)

build=${SLABFWD_FUZZ_BUILD:-}
if [[ -z $build ]]; then
    tests/packages.sh build test fuzz
    cmake --preset fuzz >/dev/null && cmake --build --preset fuzz --target fuzz_targets
    build=$top/build/fuzz
fi
work=${FUZZ_WORK:-$build/work}
mkdir -p "$work/findings"
tests/fuzz/corpus.py "$work/seeds"
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=0}

for target in "${targets[@]}"; do
    mkdir -p "$work/$target"
    log=$work/$target.log status=0 leaks=1
    # One router for all packets: what it keeps in slabs the leak checker cannot see. Their count is balanced.
    [[ $target != ip_packets ]] || leaks=0
    # CPU time, not wall time: ulimit would end it without a summary, so the fuzzer is asked in slices.
    "$top/tests/fuzz/cpu_seconds.py" "$seconds" "$build/tests/fuzz/fuzz_$target" \
        "-timeout=${FUZZ_TIMEOUT:-60}" -rss_limit_mb=2048 -entropic=0 -max_len=4096 -detect_leaks=$leaks -print_final_stats=1 \
        "-artifact_prefix=$work/findings/$target-" \
        "$work/$target" "$work/seeds/$target" >"$log" 2>&1 || status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | paste -sd+ | bc 2>/dev/null || true)
    report "$status" "fuzz/$target" "${runs:-?} inputs in $seconds CPU seconds"
    ((status == 0)) || tail -n 40 "$log"
done
totals
