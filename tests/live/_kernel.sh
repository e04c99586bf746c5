# SPDX-License-Identifier: BSD-3-Clause
#
# Sourced behind _init.sh by tests that compare slabfwd's log with the kernel's: a namespace `kernel` with ports p0
# and p1, wired to eth0 of the namespaces k0 and k1, and what the kernel says meanwhile.
#
#   kernel_router                     makes them
#   kernel_says FILE COMMAND...       runs COMMAND; lines of the kernel's log that came meanwhile, through lines()
#
# A test that sources this defines lines(), which leaves of a log, on standard input, what is to be compared.

dmesg >"$tmp/dmesg" 2>/dev/null || not_here "needs a readable kernel log"

kernel_router() {
    local i
    namespace kernel
    for i in 0 1; do
        namespace "k$i"
        ip link add "p$i" netns "$tag-kernel" type veth peer name eth0 netns "$tag-k$i"
        on kernel ethtool -K "p$i" tx off tso off gso off gro off >/dev/null 2>&1
        ip -n "$tag-k$i" link set eth0 arp off up
    done
}

# Followed, because the kernel keeps so many lines only.
kernel_says() {
    local file=$1 follower
    shift
    dmesg -r --follow-new >"$tmp/dmesg" &
    follower=$!
    sleep 0.3
    "$@"
    sleep 0.3
    kill "$follower"
    wait "$follower" || true
    lines <"$tmp/dmesg" >"$file"
    [[ -s $file ]] || fail "the kernel logged nothing"
}
