# SPDX-License-Identifier: BSD-3-Clause
#
# Shared by the test scripts (source it): where things are, and how a runner counts and reports.
#   SLABFWD         the program under test; the release build unless set
#   SLABFWD_SHARED  folder with the recorded kernel cases and real captures; tests that need it skip without
#   SLABFWD_NO_SKIP set: a skipped test is a failed one

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The program of a build folder.
slabfwd_of() {
    local candidate
    for candidate in "$1/slabfwd" "$1/dataplane/slabfwd"; do
        if [[ -x $candidate && ! -d $candidate ]]; then
            echo "$candidate"
            return
        fi
    done
    echo "$1/slabfwd"
}

: "${SLABFWD:=$(slabfwd_of "$top/build/release")}"
export SLABFWD

passed=0 failed=0 skipped=0

# report STATUS NAME [TEXT]: one line and one count for a test that ended with STATUS (0, 77 = skipped, 78 = compares
# with something that this machine's kernel does not show, and counts as nothing, else failed).
report() {
    local word
    case $1 in
    0) word=PASS passed=$((passed + 1)) ;;
    77)
        if [[ -n ${SLABFWD_NO_SKIP:-} ]]; then
            word=FAIL failed=$((failed + 1))
        else
            word=SKIP skipped=$((skipped + 1))
        fi
        ;;
    78) word=NONE ;;
    *) word=FAIL failed=$((failed + 1)) ;;
    esac
    printf '%s  %-28s %s\n' "$word" "$2" "${3:-}"
}

# The last line of every runner, and its exit status.
totals() {
    echo "$passed passed, $failed failed, $skipped skipped"
    ((failed == 0))
}
