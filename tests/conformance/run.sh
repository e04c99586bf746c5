#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Is slabfwd equal to Linux? Twice over:
#   - a selection of differ's cases, played on this machine's kernel and on slabfwd side by side (skipped on a
#     kernel that is older than the one slabfwd is equal to);
#   - the cases recorded from a Linux kernel, with the route cache as it is by default, switched off, and
#     squeezed to four entries. All of tiers 1 and 2 has to pass in each; so does every case
#     of tier 3 named in passing.txt.
#   tests/conformance/run.sh [default|off|squeezed ...]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
here=$top/tests/conformance
oracle=${SLABFWD_SHARED:-}/oracle/run.py

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

# differ CACHE: the fast selection, its totals added to ours, its failures shown
differ() {
    local begin=$SECONDS good=0 bad=0 skips=0
    python3 "$here/differ/run.py" --fast --cache "$1" >"$output" 2>&1 || true
    if ! read -r good bad skips < <(tail -n 1 "$output" |
        sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p'); then
        report 1 "conformance/differ" "did not run: $(tail -n 2 "$output")"
        return
    fi
    if ((skips)); then
        report 77 "conformance/differ" "needs root and a newer kernel"
        return
    fi
    passed=$((passed + good)) failed=$((failed + bad))
    echo "conformance/differ ($1): $good of $((good + bad)), $((SECONDS - begin)) s"
    sed '$d' "$output" | cut -c1-300 | head -n 60
}

# recorded CACHE SELECTION...: plays the oracle's cases into $output; sets good, all
recorded() {
    SLABFWD_WITH=$(tunables "$1") python3 "$oracle" --slabfwd "$here/slabfwd-with" "${@:2}" >"$output" 2>&1 || true
    read -r good all < <(sed -n 's/^oracle: \([0-9]*\) of \([0-9]*\) cases.*/\1 \2/p' "$output") || true
}

# play CACHE SELECTION...: the oracle's cases, its totals added to ours, its failures shown. Up to five that
# fail are played again one at a time: they hang on milliseconds, which a busy machine does not keep.
play() {
    local cache=$1 begin=$SECONDS good='' all='' first total again
    shift
    recorded "$cache" "$@"
    if [[ -z ${all:-} || $all == 0 ]]; then
        report 1 "conformance/$cache" "the oracle did not run: $(tail -n 2 "$output")"
        return
    fi
    first=$good total=$all
    if ((total > first && total - first <= 5)); then
        again=$(sed -n 's/^FAIL  *[^ ]*  *\([^ ]*\) .*/\1/p' "$output" | paste -sd,)
        echo "again, alone: $again"
        grep -A3 '^FAIL' "$output" | cut -c1-300
        recorded "$cache" --jobs 1 --name "$again"
        good=$((first + ${good:-0}))
    fi
    passed=$((passed + good)) failed=$((failed + total - good))
    echo "conformance/$cache ($*): $good of $total, $((SECONDS - begin)) s"
    grep '^FAIL' "$output" | cut -c1-300 | head -n 30 || true
}

caches=("$@")
((${#caches[@]})) || caches=(default off squeezed)
known=$(grep -v '^#' "$here/passing.txt" | paste -sd, || true)
for cache in "${caches[@]}"; do
    tunables "$cache" >/dev/null
done
differ "${caches[0]}"
if [[ ! -f $oracle ]]; then
    report 77 conformance "the recorded cases are not here (SLABFWD_SHARED)"
    totals
    exit
fi
for cache in "${caches[@]}"; do
    play "$cache" --tier 1,2
    [[ -z $known ]] || play "$cache" --name "$known"
done
totals
