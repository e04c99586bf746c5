# SPDX-License-Identifier: BSD-3-Clause
#
# Source this first in a live test. It gives the test network namespaces of its own, a router in one of
# them (slabfwd on net_af_packet ports), and takes everything away again when the script ends, however.
#
#   host NAME PORT ADDRESS/LEN [GATEWAY]   a namespace NAME whose eth0 is wired to the router's PORT
#   router [run options] <<CONFIG          start slabfwd on all ports, wait until it forwards
#   on NAME COMMAND... / quiet NAME...     run COMMAND on a host / end what still runs there
#   ctl WORDS...                           slabfwd ctl on the running router
#   shows PATTERN WORDS...                 ctl WORDS prints a line that matches
#   stop [SIGNAL]                          end the router: exit status 0, nothing lost, caches empty
#   no_answer NAME ADDRESS [PATTERN]       a ping from NAME gets no echo, but this error
#   refused COMMAND... / because PATTERN   the command fails with a message / that says this
#   eventually SECONDS COMMAND..., listens NAME PORT, fail TEXT, skip TEXT, not_here TEXT
#
# A test is a list of commands; the first that fails ends it (set -e). See ping_test.sh.

set -Eeuo pipefail
shopt -s inherit_errexit
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
live=$top/tests/live
tests=$top/tests

tag=sf$$
tmp=$(mktemp -d "/tmp/slabfwd-$tag.XXXXXX")
config=$tmp/config
summary=$tmp/summary.json
log=$tmp/router.log
router_pid=
namespaces=()
ports=()
export RUNTIME_DIRECTORY=$tmp # DPDK's files and the ctl socket: tests run beside each other

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

skip() {
    echo "SKIP: $*"
    exit 77
}

# The machine's kernel does not show what slabfwd is to be compared with.
not_here() {
    echo "NOT HERE: $*"
    exit 78
}

cleanup() {
    local status=$? name
    trap - EXIT ERR
    trap '' INT TERM # timeout(1) sends its signal twice
    set +e
    if [[ -n $router_pid ]] && kill -0 "$router_pid" 2>/dev/null; then
        kill -KILL "$router_pid"
        wait "$router_pid" 2>/dev/null
    fi
    if ((status != 0 && status != 77)) && [[ -s $log ]]; then
        echo "--- the router said:"
        tail -n 40 "$log"
    fi
    for name in "${namespaces[@]}"; do
        quiet "${name#"$tag-"}"
        ip netns del "$name"
    done
    rm -rf "$tmp"
    exit "$status"
}
trap cleanup EXIT
trap 'echo "FAIL: ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR
trap 'exit 130' INT TERM

((EUID == 0)) || skip "needs root (network namespaces)"
[[ -x $SLABFWD ]] || fail "$SLABFWD is not built"

namespace() {
    ip netns add "$tag-$1"
    namespaces+=("$tag-$1")
    ip netns exec "$tag-$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
    ip -n "$tag-$1" link set lo up
}
namespace router
ip netns exec "$tag-router" sysctl -qw net.ipv4.ip_forward=0

# What still runs on a host ends now.
quiet() {
    local name
    for name in "$@"; do
        ip netns pids "$tag-$name" 2>/dev/null | xargs -r kill -KILL
    done
}

on() {
    local name=$1
    shift
    ip netns exec "$tag-$name" "$@"
}

# Offloads are off on the host's side: an af_packet port would see checksums that nobody has filled in yet,
# and segments larger than the link. The router's own kernel keeps out of it (no address, no ARP).
host() {
    local name=$1 port=$2 address=$3 gateway=${4:-}
    namespace "$name"
    ip link add "$port" netns "$tag-router" type veth peer name eth0 netns "$tag-$name"
    on "$name" ethtool -K eth0 tx off tso off gso off gro off >/dev/null 2>&1
    on router ethtool -K "$port" tx off tso off gso off gro off >/dev/null 2>&1
    ip -n "$tag-router" link set "$port" arp off mtu 1500 up
    ip -n "$tag-$name" addr add "$address" dev eth0
    ip -n "$tag-$name" link set eth0 up
    [[ -z $gateway ]] || ip -n "$tag-$name" route add default via "$gateway"
    ports+=("$port")
}

# no_answer NAME ADDRESS [PATTERN]: a ping fails, and says why
no_answer() {
    local status=0
    on "$1" ping -n -c 1 -W 1 "$2" >"$tmp/no_answer" || status=$?
    ((status != 0)) || fail "an answer from $2"
    grep -q -- "${3:-}" "$tmp/no_answer" || fail "ping $2: expected '$3', got: $(cat "$tmp/no_answer")"
}

# Two hosts on either side: a 10.0.0.2 - p0 10.0.0.1 [router] 10.0.1.1 p1 - b 10.0.1.2
two_hosts() {
    host a p0 10.0.0.2/24 10.0.0.1
    host b p1 10.0.1.2/24 10.0.1.1
}
two_ports="ip link set dev p0 up
ip link set dev p1 up
ip addr add 10.0.0.1/24 dev p0
ip addr add 10.0.1.1/24 dev p1
sysctl -w net.ipv4.ip_forward=1"

port_options() {
    local port
    for port in "${ports[@]}"; do
        echo --port "$port=net_af_packet${port#p},iface=$port"
    done
}

router() {
    local words
    cat >"$config"
    read -r -d '' -a words < <(port_options) || true
    : >"$log" # no "ready" of an earlier run
    # Not through on(): $! has to be slabfwd itself; and bash would let it ignore SIGINT.
    env --default-signal=INT,QUIT ip netns exec "$tag-router" \
        "$SLABFWD" run --no-huge --config "$config" "${words[@]}" --json "$summary" "$@" >"$log" 2>&1 &
    router_pid=$!
    eventually 15 ready
}

ready() {
    kill -0 "$router_pid" 2>/dev/null || fail "the router ended while starting"
    grep -qw ready "$log"
}

ctl() {
    on router "$SLABFWD" ctl "$@"
}

# shows PATTERN WORDS...: what ctl prints has a line that matches (grep -E)
shows() {
    local pattern=$1
    shift
    ctl "$@" >"$tmp/shown"
    grep -Eq -- "$pattern" "$tmp/shown" || fail "ctl $* lacks '$pattern': $(head -n 30 "$tmp/shown")"
}

# The command, again and again until it succeeds.
# A server on host NAME accepts connections to PORT.
listens() {
    [[ -n $(on "$1" ss -Hltn "sport = $2") ]]
}

eventually() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || fail "not within time: $*"
        sleep 0.05
    done
}

# The command has to fail with a message, and not by a signal (255 is what ip(8) says to a bad word).
refused() {
    local status=0
    "$@" >"$tmp/refused" 2>&1 || status=$?
    ((status != 0)) || fail "was not refused: $*"
    ((status < 124 || status == 255)) || fail "died with status $status: $* ($(tail -n 3 "$tmp/refused"))"
    [[ -s $tmp/refused ]] || fail "refused without a word: $*"
}

# The last refusal said this (a grep -i pattern).
because() {
    grep -qi -- "$1" "$tmp/refused" || fail "expected a message with '$1', got: $(cat "$tmp/refused")"
}

stop() {
    local status=0
    kill -"${1:-TERM}" "$router_pid"
    wait "$router_pid" || status=$?
    router_pid=
    ((status == 0)) || fail "the router ended with status $status"
    "$tests/balance.py" "$summary" || fail "packets or objects lost"
}

# counter NAME: a number of the summary, by a path such as ports.p0.rx_packets (0 when absent)
counter() {
    python3 - "$summary" "$1" <<'PY'
import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."):
    value = value.get(key, 0) if isinstance(value, dict) else 0
print(value)
PY
}
