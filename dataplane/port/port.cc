// SPDX-License-Identifier: BSD-3-Clause
//
// Opening, configuring and closing ports, and what the control thread does to a running one: flags, mtu,
// address, link state. Virtual drivers often cannot set an mtu or an address: then the port does it in
// software (promiscuous receive, our own length check in dev_queue_xmit).
// Door: port_open, port_open_rings. Threads: control thread. See port_io.cc for the packets.
#include "dataplane/port/port.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ring.h>

namespace slabfwd {

void port_xmit(sk_buff* skb, net_device* dev); // port_io.cc

namespace {

using error = tl::unexpected<std::string>;

int port_change(net_device* dev, int new_flags, int new_mtu, const uint8_t* new_addr) {
    port& p = *port_of(dev);
    if (new_mtu >= 0 && new_mtu != dev->mtu)
        (void)rte_eth_dev_set_mtu(p.port_id, uint16_t(new_mtu));
    if (new_addr) {
        rte_ether_addr addr;
        std::memcpy(addr.addr_bytes, new_addr, ETH_ALEN);
        if (rte_eth_dev_default_mac_addr_set(p.port_id, &addr) != 0)
            (void)rte_eth_promiscuous_enable(p.port_id);
    }
    if (new_flags >= 0 && (new_flags ^ dev->flags) & IFF_PROMISC)
        (void)(new_flags & IFF_PROMISC ? rte_eth_promiscuous_enable(p.port_id)
                                       : rte_eth_promiscuous_disable(p.port_id));
    return 0;
}

/// Queues, offloads and start of a probed ethdev; the reason it would not, or "".
std::string configure(port& p, const port_config& c) {
    rte_eth_dev_info info;
    if (int rc = rte_eth_dev_info_get(p.port_id, &info))
        return fmt::format("driver information: {}", std::strerror(-rc));
    p.driver = info.driver_name ? info.driver_name : "";
    p.virtual_port = p.driver.rfind("net_", 0) == 0 || p.driver.find("_vdev") != std::string::npos ||
                     (info.device && std::strchr(c.devargs.c_str(), ':') == nullptr);
    const bool spreads = !p.virtual_port && info.flow_type_rss_offloads;
    p.nb_rx_queues = std::min(c.rxq ? c.rxq : spreads ? c.workers : uint16_t(1), info.max_rx_queues);
    p.nb_tx_queues = std::min(c.workers, info.max_tx_queues);
    // The kernel spreads frames over all sockets of an af_packet port (its qpairs): each must be polled.
    if (p.driver == "net_af_packet")
        p.nb_rx_queues = p.nb_tx_queues = std::min(info.max_rx_queues, info.max_tx_queues);
    if (c.rxq > info.max_rx_queues)
        return fmt::format("the driver {} has {} receive queues at most, {} asked for", p.driver,
                           info.max_rx_queues, c.rxq);
    rte_eth_conf conf{};
    conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
    conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    if (p.nb_rx_queues > 1) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf =
            info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP);
    }
    if (int rc = rte_eth_dev_configure(p.port_id, p.nb_rx_queues, p.nb_tx_queues, &conf))
        return fmt::format("configuration: {}", std::strerror(-rc));
    uint16_t rxd = c.rx_desc, txd = c.tx_desc;
    (void)rte_eth_dev_adjust_nb_rx_tx_desc(p.port_id, &rxd, &txd);
    unsigned socket = unsigned(std::max(rte_eth_dev_socket_id(p.port_id), 0));
    for (uint16_t q = 0; q < p.nb_rx_queues; ++q)
        if (int rc = rte_eth_rx_queue_setup(p.port_id, q, rxd, socket, nullptr, pktmbuf_pool()))
            return fmt::format("receive queue {}: {}", q, std::strerror(-rc));
    for (uint16_t q = 0; q < p.nb_tx_queues; ++q)
        if (int rc = rte_eth_tx_queue_setup(p.port_id, q, txd, socket, nullptr))
            return fmt::format("transmit queue {}: {}", q, std::strerror(-rc));
    if (int rc = rte_eth_dev_start(p.port_id))
        return fmt::format("start: {}", std::strerror(-rc));
    // A router takes what the wire brings: group addresses too (the stack sorts by MAC).
    (void)rte_eth_allmulticast_enable(p.port_id);
    return {};
}

/// What every port needs once its ethdev runs: name, address, mtu, place in the net.
std::string attach(net& n, port& p, const std::string& name) {
    net_device& dev = p.dev;
    std::snprintf(dev.name, sizeof dev.name, "%s", name.c_str());
    rte_ether_addr mac;
    if (rte_eth_macaddr_get(p.port_id, &mac) == 0)
        std::memcpy(dev.dev_addr, mac.addr_bytes, ETH_ALEN);
    uint16_t mtu;
    if (rte_eth_dev_get_mtu(p.port_id, &mtu) == 0 && mtu >= 68)
        dev.mtu = mtu;
    dev.flags = IFF_BROADCAST | IFF_MULTICAST;
    dev.netdev_ops = &port_netdev_ops;
    dev.priv = &p;
    p.rx_owner.assign(p.nb_rx_queues, 0);
    p.tx_queue.assign(n.nr_cpus(), -1);
    p.stage.resize(n.nr_cpus());
    for (unsigned cpu = 0; cpu < n.nr_cpus(); ++cpu) {
        p.stage[cpu].p = &p;
        p.stage[cpu].sd = n.softnet[cpu].get();
    }
    p.handover = rte_ring_create(fmt::format("hand{}", p.port_id).c_str(), 1024, SOCKET_ID_ANY,
                                 RING_F_SC_DEQ);
    if (!p.handover)
        return fmt::format("hand-over ring: {}", rte_strerror(rte_errno));
    if (int rc = register_netdevice(n, &dev))
        return rc == -EEXIST ? "a port of this name exists" : std::strerror(-rc);
    return {};
}

std::string bad_name(const std::string& name) {
    if (name.empty() || name.size() >= IFNAMSIZ_)
        return fmt::format("a port's name has 1 to {} characters", IFNAMSIZ_ - 1);
    if (name == "lo" || name == "." || name == ".." || name.find_first_of("/: \t") != name.npos)
        return "not a name for a port";
    return {};
}

} // namespace

const net_device_ops port_netdev_ops{port_xmit, port_change};

tl::expected<std::unique_ptr<port>, std::string> port_open(net& n, const port_config& c) {
    auto fail = [&](std::string why) {
        return error(fmt::format("port {}={}: {}", c.name, c.devargs, why));
    };
    if (std::string why = bad_name(c.name); !why.empty())
        return fail(why);
    if (dev_get_by_name(n, c.name.c_str()))
        return fail("a port of this name exists");
    std::string ethdev = c.devargs.substr(0, c.devargs.find(','));
    uint16_t id;
    if (rte_eth_dev_get_port_by_name(ethdev.c_str(), &id) != 0) {
        if (int rc = rte_dev_probe(c.devargs.c_str()))
            return fail(fmt::format("the device cannot be opened: {}", std::strerror(-rc)));
        if (rte_eth_dev_get_port_by_name(ethdev.c_str(), &id) != 0)
            return fail("the device has no Ethernet port");
    }
    auto p = std::make_unique<port>();
    p->port_id = id;
    p->devargs = c.devargs;
    std::string why = configure(*p, c);
    if (why.empty())
        why = attach(n, *p, c.name);
    if (!why.empty()) {
        port_close(*p);
        return fail(why);
    }
    return p;
}

tl::expected<std::unique_ptr<port>, std::string> port_open_rings(net& n, const std::string& name,
                                                                 unsigned index, unsigned ring_size) {
    auto fail = [&](std::string why) { return error(fmt::format("port {}: {}", name, why)); };
    if (std::string why = bad_name(name); !why.empty())
        return fail(why);
    auto p = std::make_unique<port>();
    p->ring_in = rte_ring_create(fmt::format("in{}", index).c_str(), ring_size, SOCKET_ID_ANY,
                                 RING_F_SC_DEQ);
    p->ring_out = rte_ring_create(fmt::format("out{}", index).c_str(), ring_size, SOCKET_ID_ANY,
                                  RING_F_SP_ENQ);
    int id = -1;
    if (p->ring_in && p->ring_out)
        id = rte_eth_from_rings(fmt::format("ring{}", index).c_str(), &p->ring_in, 1, &p->ring_out, 1,
                                0);
    if (id < 0) {
        rte_ring_free(p->ring_in);
        rte_ring_free(p->ring_out);
        return fail(fmt::format("rings: {}", rte_strerror(rte_errno)));
    }
    p->port_id = uint16_t(id);
    std::string why = configure(*p, port_config{.name = name, .devargs = "net_ring"});
    if (why.empty())
        why = attach(n, *p, name);
    if (!why.empty()) {
        port_close(*p);
        return fail(why);
    }
    const uint8_t mac[ETH_ALEN] = {2, 0, 0, 0, 0, uint8_t(index)};
    std::memcpy(p->dev.dev_addr, mac, ETH_ALEN);
    return p;
}

void port_close(port& p) {
    if (p.dev.nd_net)
        unregister_netdevice(&p.dev);
    rte_eth_dev_info info;
    bool known = rte_eth_dev_info_get(p.port_id, &info) == 0;
    (void)rte_eth_dev_stop(p.port_id);
    (void)rte_eth_dev_close(p.port_id);
    if (known && info.device) // net_ring too: its name is free for the next router of the process
        (void)rte_dev_remove(info.device);
    std::vector<rte_ring*> rings = std::move(p.backlog);
    rings.insert(rings.end(), {p.handover, p.ring_in, p.ring_out});
    for (rte_ring* r : rings) {
        void* m;
        while (r && rte_ring_dequeue(r, &m) == 0)
            rte_pktmbuf_free(static_cast<rte_mbuf*>(m));
        rte_ring_free(r);
    }
    p.backlog.clear();
    p.handover = p.ring_in = p.ring_out = nullptr;
}

void port_poll_status(port& p) {
    rte_eth_link link;
    if (!p.virtual_port && rte_eth_link_get_nowait(p.port_id, &link) == 0 &&
        (link.link_status == RTE_ETH_LINK_UP) != bool(p.dev.carrier))
        netif_carrier_set(&p.dev, link.link_status == RTE_ETH_LINK_UP);
}

} // namespace slabfwd
