// SPDX-License-Identifier: BSD-3-Clause
//
// See l3mdev.h.
#include "route/l3mdev.h"

namespace slabfwd {

int l3mdev_master_ifindex(const net_device* dev) {
    return dev->vrf_table ? dev->ifindex : dev->master_ifindex.get();
}

uint32_t l3mdev_fib_table(const net_device* dev) {
    if (dev->vrf_table || !dev->master_ifindex)
        return dev->vrf_table;
    const net_device* master = dev_get_by_index(*dev->nd_net, dev->master_ifindex);
    return master ? master->vrf_table : 0;
}

} // namespace slabfwd
