#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The allocator alone: configured without DPDK, built, installed, and used by a project outside the tree.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cmake -G Ninja -S "$top" -B "$scratch/build" -DSLABFWD_ALLOC_ONLY=ON -DBUILD_TESTING=OFF \
    -DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON -DCMAKE_INSTALL_PREFIX="$scratch/prefix"
cmake --build "$scratch/build"
cmake --install "$scratch/build"
cmake -G Ninja -S "$top/tests/packaging/consumer" -B "$scratch/consumer" -DCMAKE_PREFIX_PATH="$scratch/prefix"
cmake --build "$scratch/consumer"
"$scratch/consumer/consumer"

if ldd "$scratch/consumer/consumer" | grep librte_; then
    echo "the allocator brings DPDK along" >&2
    exit 1
fi
if grep -r "$top" "$scratch/prefix/lib"*/cmake; then
    echo "the installed package points into the source tree" >&2
    exit 1
fi
