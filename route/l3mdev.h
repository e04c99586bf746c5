// SPDX-License-Identifier: BSD-3-Clause
//
// What a device has to do with a VRF (a layer 3 master device): its table, and the master's index.
// Doors: both functions. Threads: any, under RCU. Origin: include/net/l3mdev.h,
// net/l3mdev/l3mdev.c.
#pragma once

#include "neigh/netdevice.h"

namespace slabfwd {

/// Table of the VRF that dev belongs to (or is), else 0. Origin: l3mdev_fib_table_rcu.
uint32_t l3mdev_fib_table(const net_device* dev);
/// Index of the VRF device that dev belongs to (or is), else 0. Origin: l3mdev_master_ifindex_rcu.
int l3mdev_master_ifindex(const net_device* dev);

} // namespace slabfwd
