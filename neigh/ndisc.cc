// SPDX-License-Identifier: BSD-3-Clause
//
// The table of IPv6 neighbours: see ndisc.h.
#include "neigh/ndisc.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "neigh/arp.h"
#include "neigh/inetdevice.h"
#include "neigh/neighbour_priv.h"

namespace slabfwd {

namespace {

constexpr int AF_INET6_ = 10;

/// A solicitation needs an address of our own and somebody who hears the answer: neither is here.
void ndisc_solicit(neighbour*, sk_buff*) {}

void ndisc_drop_failed(neighbour*, sk_buff* skb) {
    kfree_skb_reason(skb, skb_drop_reason::NEIGH_FAILED);
}

} // namespace

neigh_ops ndisc_hh_ops = {AF_INET6_, ndisc_solicit, ndisc_drop_failed, neigh_resolve_output,
                          neigh_resolve_output};

int ndisc_constructor(neighbour* n) {
    const in_device* in_dev = __in_dev_get_rcu(n->dev);
    if (!in_dev || !dev_has_header(n->dev))
        return -EINVAL;
    if (in_dev->arp_parms)
        n->parms = in_dev->arp_parms;
    n->type = RTN_UNICAST;
    n->ops = &ndisc_hh_ops;
    neigh_suspect(n);
    return 0;
}

be32_t in6_key(net& n, const uint8_t addr[16]) {
    std::array<uint8_t, 16> wanted;
    std::copy_n(addr, wanted.size(), wanted.begin());
    auto& known = n.nd_tbl->in6;
    auto at = std::ranges::find(known, wanted);
    if (at == known.end())
        at = known.insert(at, wanted);
    return cpu_to_be32(uint32_t(at - known.begin()) + 1);
}

const uint8_t* in6_of_key(const neigh_table* tbl, be32_t key) {
    return tbl->in6[be32_to_cpu(key) - 1].data();
}

} // namespace slabfwd
