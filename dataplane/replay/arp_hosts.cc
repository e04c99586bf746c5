// SPDX-License-Identifier: BSD-3-Clause
//
// Simulated hosts. See arp_hosts.h.
#include "dataplane/replay/arp_hosts.h"

#include <cstring>

#include "neigh/inetdevice.h"
#include "neigh/wire.h"

namespace slabfwd {

namespace {

struct [[gnu::packed]] arp_frame {
    ethhdr eth;
    arphdr arp;
};
static_assert(sizeof(arp_frame) == ARP_FRAME_LEN);

/// Calls f(ifa) for each address of dev until it returns true.
template <class F>
bool any_address(const net_device& dev, F f) {
    const in_device* in_dev = __in_dev_get_rcu(&dev);
    for (const in_ifaddr* ifa = in_dev ? rcu_dereference(in_dev->ifa_list) : nullptr; ifa;
         ifa = rcu_dereference(ifa->ifa_next))
        if (f(*ifa))
            return true;
    return false;
}

bool is_own_address(const net_device& dev, be32_t addr) {
    bool own = false;
    dev.nd_net->for_each_netdev([&](net_device* d) {
        own = own || any_address(*d, [&](const in_ifaddr& ifa) { return ifa.ifa_local == addr; });
    });
    return own;
}

/// The first or last address of a subnet on dev: no host's.
bool is_subnet_edge(const net_device& dev, be32_t addr) {
    return any_address(dev, [&](const in_ifaddr& ifa) {
        be32_t network = ifa.ifa_address & ifa.ifa_mask;
        return ifa.ifa_prefixlen < 31 && (addr == network || addr == (network | ~ifa.ifa_mask));
    });
}

bool host_can_have(const net_device& dev, be32_t addr) {
    return !ipv4_is_zeronet(addr) && !ipv4_is_loopback(addr) && !ipv4_is_multicast(addr) &&
           !ipv4_is_lbcast(addr) && !is_own_address(dev, addr) && !is_subnet_edge(dev, addr);
}

} // namespace

bool arp_host_answer(const net_device& dev, std::span<const uint8_t> frame,
                     std::span<uint8_t, ARP_FRAME_LEN> reply) {
    arp_frame ask;
    if (frame.size() < sizeof ask)
        return false;
    std::memcpy(&ask, frame.data(), sizeof ask);
    const arphdr& arp = ask.arp;
    if (ask.eth.h_proto != cpu_to_be16(ETH_P_ARP) || arp.ar_hrd != cpu_to_be16(ARPHRD_ETHER) ||
        arp.ar_pro != cpu_to_be16(ETH_P_IP) || arp.ar_hln != ETH_ALEN || arp.ar_pln != 4 ||
        arp.ar_op != cpu_to_be16(ARPOP_REQUEST))
        return false;
    if (arp.ar_sip == arp.ar_tip || !host_can_have(dev, arp.ar_tip))
        return false;
    uint8_t mac[ETH_ALEN] = {2, 0};
    std::memcpy(mac + 2, &arp.ar_tip, 4);
    arp_frame answer = ask;
    std::memcpy(answer.eth.h_dest, arp.ar_sha, ETH_ALEN);
    std::memcpy(answer.eth.h_source, mac, ETH_ALEN);
    answer.arp.ar_op = cpu_to_be16(ARPOP_REPLY);
    std::memcpy(answer.arp.ar_sha, mac, ETH_ALEN);
    answer.arp.ar_sip = arp.ar_tip;
    std::memcpy(answer.arp.ar_tha, arp.ar_sha, ETH_ALEN);
    answer.arp.ar_tip = arp.ar_sip;
    std::memcpy(reply.data(), &answer, sizeof answer);
    return true;
}

} // namespace slabfwd
