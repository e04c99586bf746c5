// SPDX-License-Identifier: BSD-3-Clause
//
// Neighbours with IPv6 addresses, as next hops of IPv4 routes (`via inet6`). They are a table of
// their own, net.nd_tbl, and made by hand (`ip neigh add fe80::1 ...`): there is no IPv6 here to
// ask with, so one that nobody has made is looked for in vain and fails like a neighbour that does
// not answer. Their cached header is an IPv4 one. An address is interned to a number, which is the
// table's key. Doors: in6_key, in6_of_key. Threads: interning and its way back are the control
// thread's, under net.rtnl. Origin: net/ipv6/ndisc.c (nd_tbl), ip_neigh_gw6 (include/net/ip.h).
#pragma once

#include "neigh/neighbour.h"

namespace slabfwd {

/// The number that stands for an IPv6 address in net.nd_tbl, the same each time; never 0.
be32_t in6_key(net& n, const uint8_t addr[16]);
/// The address behind a number of in6_key; 16 bytes.
const uint8_t* in6_of_key(const neigh_table* tbl, be32_t key);

extern neigh_ops ndisc_hh_ops;
/// Ends the making of an entry of nd_tbl. Origin: ndisc_constructor.
int ndisc_constructor(neighbour* n);

} // namespace slabfwd
