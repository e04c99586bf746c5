#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Build slabfwd and run all of its tests:
#   tests/run.sh            everything; installs missing packages first (as root, Debian 12)
#   tests/run.sh STEP...    only these: layers release replay live conformance; asan: unit tests, replays and
#                           two live tests under AddressSanitizer and UBSan; tsan: what has threads under TSan
# Logs are in build/logs. The last line counts; the exit status is 0 when nothing failed.
# SLABFWD_SHARED names the folder with the recorded kernel cases and real captures; what needs it is
# skipped without. SLABFWD_NO_SKIP=1 makes a skipped test a failed one.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$top"
logs=$top/build/logs
mkdir -p "$logs"
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1:abort_on_error=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}

# step NAME COMMAND...: run it into a log, add the counts of its last line ("N passed, N failed, N skipped")
step() {
    local name=$1 status=0 begin=$SECONDS p=0 f=0 s=0
    local log=$logs/${name// /-}.log
    shift
    "$@" >"$log" 2>&1 </dev/null || status=$?
    read -r p f s < <(tail -n 1 "$log" | sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p') ||
        { p=0 f=1 s=0; }
    ((status == 0 || f > 0)) || f=1
    if [[ -n ${SLABFWD_NO_SKIP:-} ]]; then
        f=$((f + s)) s=0
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    printf '%-20s %4d passed %4d failed %4d skipped  %4d s\n' "$name" "$p" "$f" "$s" $((SECONDS - begin))
    if ((f > 0)); then
        grep -E -A12 '^(FAIL|SKIP)|: Failure$|FAILED|\*\*\*Failed|error:|ERROR: |Error' "$log" | head -n 80 | sed 's/^/    | /' || true
        tail -n 3 "$log" | sed 's/^/    | /'
        echo "    | all of it: $log"
    fi
}

# built PRESET [TARGET...]: configure and build; counts as one test
built() {
    local preset=$1
    shift
    cmake --preset "$preset" && cmake --build --preset "$preset" ${1:+--target "$@"} || return 1
    echo "1 passed, 0 failed, 0 skipped"
}

# units PRESET [CTEST OPTIONS]: the unit tests of a build, counted by ctest
units() {
    local preset=$1 junit=$logs/$1-units.xml total failures skips runner=()
    shift
    # The sanitizer of this compiler knows less address space randomisation than newer kernels do.
    [[ $preset != tsan ]] || runner=(setarch "$(uname -m)" -R)
    "${runner[@]}" ctest --preset "$preset" --output-junit "$junit" -j "$(nproc)" "$@" || true
    total=$(sed -n 's/.*[^a-z]tests="\([0-9]*\)".*/\1/p' "$junit" | head -n 1)
    failures=$(sed -n 's/.*failures="\([0-9]*\)".*/\1/p' "$junit" | head -n 1)
    skips=$(sed -n 's/.*skipped="\([0-9]*\)".*/\1/p' "$junit" | head -n 1)
    ((total > 0)) || { echo "no tests"; return 1; }
    echo "$((total - failures - skips)) passed, $failures failed, $skips skipped"
    ((failures == 0))
}

layers() {
    tests/layers --self-test || return 1
    echo "1 passed, 0 failed, 0 skipped"
}

do_layers() { step layers layers; }
do_release() {
    step "build release" built release
    step "unit release" units release
}
do_asan() {
    step "build asan" built asan
    step "unit asan" units asan
    SLABFWD=$(slabfwd_of "$top/build/asan") step "replay asan" tests/replay/run.py
    SLABFWD=$(slabfwd_of "$top/build/asan") step "live asan" tests/live/run.sh ping stop
}
do_tsan() {
    step "build tsan" built tsan threaded_tests
    step "unit tsan" units tsan -L threaded
}
do_replay() { step replay tests/replay/run.py; }
do_live() { step live tests/live/run.sh; }
do_conformance() { step conformance tests/conformance/run.sh; }

steps=("$@")
((${#steps[@]})) || steps=(layers release replay live conformance asan tsan)
for name in "${steps[@]}"; do
    declare -F "do_$name" >/dev/null || { echo "run.sh: no step '$name'" >&2; exit 2; }
done
tests/packages.sh build test
for name in "${steps[@]}"; do
    SLABFWD=$(slabfwd_of "$top/build/release") "do_$name"
done
totals
