#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Run the live tests: all, or those named (tests/live/run.sh ping traceroute).
# Each is a script in namespaces of its own; its output is shown when it fails.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$top/tests/live"

names=("$@")
((${#names[@]})) || for file in *_test.sh; do names+=("${file%_test.sh}"); done

output=$(mktemp)
trap 'rm -f "$output"' EXIT
for name in "${names[@]}"; do
    status=0 begin=$SECONDS
    timeout -k 10 "${LIVE_TIMEOUT:-120}" bash "./${name}_test.sh" >"$output" 2>&1 || status=$?
    report "$status" "live/$name" "$((SECONDS - begin)) s"
    ((status == 0)) || sed 's/^/      /' "$output" | tail -n 60
done
totals
