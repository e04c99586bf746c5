#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The same file of commands, run by sh in a namespace and by slabfwd: both hold the same routes, rules, neighbours
# and tables afterwards; what the real iptables-save prints is taken back by ours, and the other way round. Lines
# that fail there (refused.txt) fail here with the same status and words, and change nothing.
. "$(dirname "$0")/_init.sh"
command -v iptables-save >/dev/null || skip "needs iptables"

# A namespace whose kernel is the router: p0 to p3, each wired to nobody who says anything.
kernel_router() {
    local i
    namespace "$1"
    on "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0
    for i in 0 1 2 3; do
        ip link add "p$i" netns "$tag-$1" address "02:00:00:00:00:0$i" type veth peer name "k$i" netns "$tag-$1"
        on "$1" ip link set "k$i" up
    done
}
for i in 0 1 2 3; do host "h$i" "p$i" "10.99.$i.2/24"; done

# What a configuration has made, by the tools of `$@` (on NAME, or ctl). What is the kernel's alone is left out:
# neighbours that resolve by themselves, the devices behind the ports.
state() {
    local table
    "$@" ip -j -4 route show table all | python3 -c '
import json, sys
for r in json.load(sys.stdin):
    if not r.get("dev", "p").startswith("k"): print(json.dumps(r, sort_keys=True))'
    "$@" ip -j rule
    "$@" ip rule show
    "$@" ip -j neigh show nud permanent | python3 -c '
import json, sys
for n in sorted(map(str, (x for x in json.load(sys.stdin) if not x["dst"].startswith("ff")))): print(n)'
    for table in filter mangle raw; do "$@" iptables -t "$table" -S; done
}

# What a line that is wrong is told, by the tools of `$@`.
answers_to_refused() {
    local line status
    while read -r line; do
        [[ $line && $line != \#* ]] || continue
        status=0
        echo "$line"
        # shellcheck disable=SC2086 # words
        "$@" $line 2>&1 || status=$?
        echo "status $status"
    done <"$live/configs/refused.txt"
}

refusals() {
    state on k >"$tmp/before"
    answers_to_refused on k >"$tmp/refused.kernel"
    answers_to_refused ctl >"$tmp/refused.slabfwd"
    diff -u "$tmp/refused.kernel" "$tmp/refused.slabfwd" || fail "not refused in the kernel's words"
    state on k | diff -u "$tmp/before" - || fail "the kernel took one of the lines"
    state ctl | diff -u "$tmp/router.slabfwd" - || fail "a refused line changed something"
}

for file in "$live"/configs/*.conf; do
    name=$(basename "$file" .conf)
    kernel_router k
    on k sh -e "$file" >/dev/null || fail "the kernel's tools refuse $name"
    state on k >"$tmp/$name.kernel"
    router <"$file"
    state ctl >"$tmp/$name.slabfwd"
    diff -u "$tmp/$name.kernel" "$tmp/$name.slabfwd" || fail "$name: not the same as the kernel"

    bare() { sed 's/ \[.*//; /^#/d'; }
    for table in filter mangle raw; do
        on k iptables-save -t "$table" >"$tmp/saved"
        ctl iptables-save -t "$table" >"$tmp/ours"
        diff -u <(bare <"$tmp/saved") <(bare <"$tmp/ours") || fail "$name: iptables-save of $table"
        ctl iptables-restore "$tmp/saved"
        on k iptables-restore <"$tmp/ours"
    done
    state ctl | diff -u "$tmp/$name.slabfwd" - || fail "$name: changed by a restore"
    [[ $name != router ]] || refusals
    stop
    ip netns del "$tag-k"
    for i in "${!namespaces[@]}"; do [[ ${namespaces[i]} != "$tag-k" ]] || unset "namespaces[i]"; done
done
