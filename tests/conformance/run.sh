#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Play the cases recorded from a Linux kernel against slabfwd, with the route cache as it is by default,
# switched off, and squeezed to four entries:
#   tests/conformance/run.sh [default|off|squeezed ...]
# All of tiers 1 and 2 has to pass in each; so does every case of tier 3 named in passing.txt.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
here=$top/tests/conformance
oracle=${SLABFWD_SHARED:-}/oracle/run.py

if [[ ! -f $oracle ]]; then
    report 77 conformance "the recorded cases are not here (SLABFWD_SHARED)"
    totals
    exit
fi

tunables() {
    case $1 in
    default) ;;
    off) echo "sysctl -w net.ipv4.rt_cache_rebuild_count=-1" ;;
    squeezed)
        echo "sysctl -w net.ipv4.route.gc_thresh=1"
        echo "sysctl -w net.ipv4.route.max_size=4"
        echo "sysctl -w net.ipv4.route.gc_elasticity=1"
        ;;
    *) echo "run.sh: '$1' is none of default, off, squeezed" >&2; exit 2 ;;
    esac
}

output=$(mktemp)
trap 'rm -f "$output"' EXIT

# play CACHE SELECTION...: the oracle's cases, its totals added to ours, its failures shown
play() {
    local cache=$1 begin=$SECONDS good all
    shift
    SLABFWD_WITH=$(tunables "$cache") python3 "$oracle" --slabfwd "$here/slabfwd-with" "$@" >"$output" 2>&1 || true
    read -r good all < <(sed -n 's/^oracle: \([0-9]*\) of \([0-9]*\) cases.*/\1 \2/p' "$output") || true
    if [[ -z ${all:-} || $all == 0 ]]; then
        report 1 "conformance/$cache" "the oracle did not run: $(tail -n 2 "$output")"
        return
    fi
    passed=$((passed + good)) failed=$((failed + all - good))
    echo "conformance/$cache ($*): $good of $all, $((SECONDS - begin)) s"
    grep '^FAIL' "$output" | cut -c1-300 | head -n 30 || true
}

caches=("$@")
((${#caches[@]})) || caches=(default off squeezed)
known=$(grep -v '^#' "$here/passing.txt" | paste -sd, || true)
for cache in "${caches[@]}"; do
    tunables "$cache" >/dev/null
    play "$cache" --tier 1,2
    [[ -z $known ]] || play "$cache" --name "$known"
done
totals
