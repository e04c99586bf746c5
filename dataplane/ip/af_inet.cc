// SPDX-License-Identifier: BSD-3-Clause
//
// The IP layer of a net comes up and goes down: what lies to the left is told of the functions
// here, and the protocols above IP are entered. Doors: ip_init, ip_exit, inet_add_protocol.
// Threads: control thread, before workers start and after they ended.
// Origin: net/ipv4/af_inet.c (inet_init), net/ipv4/protocol.c, igmp_rcv of net/ipv4/igmp.c, pim_rcv
// of ipmr.c.
#include <cerrno>
#include <new>

#include "alloc/kmalloc.h"
#include "dataplane/ip/ip_net.h"
#include "dataplane/ip/vrf.h"
#include "neigh/ndisc.h"

namespace slabfwd {

int ip_mr_input(sk_buff* skb);
int udplite_rcv(sk_buff* skb);

namespace {

/// Group membership, and what multicast routers tell each other, are nothing to a router without
/// multicast routes.
int igmp_rcv(sk_buff* skb) {
    ip_consume(skb);
    return 0;
}

constexpr uint8_t IPPROTO_PIM_ = 103, IPPROTO_UDPLITE = 136;

} // namespace

int inet_add_protocol(net& n, uint8_t protocol, net_protocol_handler handler) {
    net_protocol_handler none = nullptr;
    return n.ipv4.ip->inet_protos[protocol].compare_exchange_strong(none, handler) ? 0 : -EEXIST;
}

int ip_init(net& n) {
    void* p = kmalloc(sizeof(ip_net), GFP_KERNEL);
    if (!p)
        return -ENOMEM;
    n.ipv4.ip = new (p) ip_net;
    if (int err = ip_frag_init(n)) {
        ip_exit(n);
        return err;
    }
    n.ipv4.ip->ip_id_key = uint64_t(get_random_u32()) << 32 | get_random_u32();
    inet_add_protocol(n, IPPROTO_ICMP_, icmp_rcv);
    inet_add_protocol(n, IPPROTO_IGMP_, igmp_rcv);
    inet_add_protocol(n, IPPROTO_PIM_, igmp_rcv);
    inet_add_protocol(n, IPPROTO_TCP_, tcp_v4_rcv);
    inet_add_protocol(n, IPPROTO_UDP_, udp_rcv);
    inet_add_protocol(n, IPPROTO_UDPLITE, udplite_rcv);
    ip_handlers = {ip_forward, ip_local_deliver, ip_output, ip_mc_output, ip_mr_input, icmp_send};
    for (neigh_ops* ops : {&arp_generic_ops, &arp_hh_ops, &arp_direct_ops, &ndisc_hh_ops})
        ops->error_report = arp_error_report;
    return 0;
}

void ip_exit(net& n) {
    if (!n.ipv4.ip)
        return;
    vrf_net_exit(n);
    fqdir_exit(n.ipv4.ip->frags);
    n.ipv4.ip->~ip_net();
    kfree(n.ipv4.ip);
    n.ipv4.ip = nullptr;
}

} // namespace slabfwd
