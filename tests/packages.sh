#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Install the Debian packages that slabfwd needs, if they are missing:
#   tests/packages.sh build         to build it, and to run dataplane/demo.sh
#   tests/packages.sh build test    to run tests/run.sh too
#   tests/packages.sh build test fuzz   to run tests/fuzz/run.sh too
# This is the project's only list of packages. Does nothing, and needs no network, when all are there.
set -euo pipefail

build=(
    g++ cmake ninja-build ccache pkg-config python3
    libdpdk-dev                 # ports (ethdev and its drivers), mbuf, ring, rcu, hash
    libpcap-dev zlib1g-dev      # captures, and gzipped ones
    libfmt-dev libcli11-dev nlohmann-json3-dev libexpected-dev
    libgtest-dev libgmock-dev librapidcheck-dev libbenchmark-dev
    tshark                      # reads the output captures back
)
test=(
    iptables                    # the real one, to compare ours with
    iproute2 iputils-ping ethtool traceroute iperf3 procps util-linux
    valgrind binutils           # instruction counts of the hot path
    dpdk-dev                    # dpdk-testpmd, the peer of tests/bench
    libjemalloc2 libtcmalloc-minimal4 libmimalloc2.0 # peers of `slabfwd bench alloc`
    gnuplot-nox                 # plots of `slabfwd bench`
)
fuzz=(clang-14 libclang-rt-14-dev libfuzzer-14-dev)

missing() {
    local package
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
    done
}

wanted=()
for list in "${@:-build}"; do
    case $list in
    build) wanted+=("${build[@]}") ;;
    test) wanted+=("${test[@]}") ;;
    fuzz) wanted+=("${fuzz[@]}") ;;
    *) echo "packages.sh: '$list' is none of build, test, fuzz" >&2; exit 2 ;;
    esac
done

mapfile -t need < <(missing "${wanted[@]}")
((${#need[@]})) || exit 0
if ((EUID)); then
    echo "packages.sh: not root; install these first: ${need[*]}" >&2
    exit 1
fi
echo "installing: ${need[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get install -y --no-install-recommends "${need[@]}" >/dev/null 2>&1 ||
    { apt-get update -q && apt-get install -y --no-install-recommends "${need[@]}"; } >/tmp/slabfwd-apt.log 2>&1 ||
    { tail -n 20 /tmp/slabfwd-apt.log >&2; exit 1; }
