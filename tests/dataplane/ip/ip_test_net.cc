// SPDX-License-Identifier: BSD-3-Clause
//
// ip_test_net: a router for unit tests, and packets to feed it with. See ip_test_net.h.
#include "tests/dataplane/ip/ip_test_net.h"

#include <cstring>
#include <gtest/gtest.h>
#include <stdexcept>

namespace slabfwd::test {

// --- packets ----------------------------------------------------------------------------------

bytes operator+(bytes a, const bytes& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

bytes pattern(unsigned n, unsigned from) {
    bytes b(n);
    for (unsigned i = 0; i < n; ++i)
        b[i] = uint8_t((from + i) * 7 + ((from + i) >> 8));
    return b;
}

void fix_checksum(bytes& packet) {
    ip_send_check(reinterpret_cast<iphdr*>(packet.data()));
}

bytes ip_packet(const ip_spec& s) {
    bytes options = s.options;
    options.resize((options.size() + 3) & ~size_t(3));
    iphdr h{};
    h.ihl_version = uint8_t(0x45 + options.size() / 4);
    h.tos = s.tos;
    h.tot_len = cpu_to_be16(uint16_t(sizeof h + options.size() + s.payload.size()));
    h.id = cpu_to_be16(s.id);
    h.frag_off = cpu_to_be16(s.frag_off);
    h.ttl = s.ttl;
    h.protocol = s.proto;
    h.saddr = s.src;
    h.daddr = s.dst;
    const auto* raw = reinterpret_cast<const uint8_t*>(&h);
    bytes out = bytes(raw, raw + sizeof h) + options + s.payload;
    fix_checksum(out);
    return out;
}

bytes icmp_message(uint8_t type, uint8_t code, uint32_t rest, const bytes& data) {
    icmphdr h{};
    h.type = type;
    h.code = code;
    h.un.rest = cpu_to_be32(rest);
    const auto* raw = reinterpret_cast<const uint8_t*>(&h);
    bytes out = bytes(raw, raw + sizeof h) + data;
    reinterpret_cast<icmphdr*>(out.data())->checksum.raw =
        csum_fold(csum_partial(out.data(), out.size(), 0));
    return out;
}

bytes udp_datagram(const ip_spec& s, uint16_t sport, uint16_t dport, const bytes& data) {
    udphdr h{cpu_to_be16(sport), cpu_to_be16(dport), cpu_to_be16(uint16_t(8 + data.size())), {}};
    const auto* raw = reinterpret_cast<const uint8_t*>(&h);
    bytes out = bytes(raw, raw + sizeof h) + data;
    reinterpret_cast<udphdr*>(out.data())->check.raw = csum_tcpudp_magic(
        s.src, s.dst, uint32_t(out.size()), IPPROTO_UDP_, csum_partial(out.data(), out.size(), 0));
    return out;
}

bytes tcp_segment(const ip_spec& s, uint8_t flags, uint32_t seq, uint32_t ack, const bytes& options,
                  const bytes& data) {
    tcphdr h{};
    h.source = cpu_to_be16(1000);
    h.dest = cpu_to_be16(80);
    h.seq = cpu_to_be32(seq);
    h.ack_seq = cpu_to_be32(ack);
    h.doff_res = uint8_t((sizeof h + options.size()) / 4 << 4);
    h.flags = flags;
    h.window = cpu_to_be16(1024);
    const auto* raw = reinterpret_cast<const uint8_t*>(&h);
    bytes out = bytes(raw, raw + sizeof h) + options + data;
    reinterpret_cast<tcphdr*>(out.data())->check.raw = csum_tcpudp_magic(
        s.src, s.dst, uint32_t(out.size()), IPPROTO_TCP_, csum_partial(out.data(), out.size(), 0));
    return out;
}

bool ip_view::ok() const {
    return b.size() >= 20 && ip()->version() == 4 && ip()->ihl() >= 5 && b.size() >= hlen() &&
           be16_to_cpu(ip()->tot_len) == b.size() && ip_fast_csum(b.data(), ip()->ihl()) == 0;
}
bool ip_view::icmp_checksum_ok() const {
    return csum_fold(csum_partial(b.data() + hlen(), b.size() - hlen(), 0)) == 0;
}

// --- the router -------------------------------------------------------------------------------

ip_test_net::ip_test_net(unsigned workers) : test_net(workers) {
    enter(n.control_cpu());
    if (nf_net_init(n) || ip_rt_init(n, 1024) || ip_init(n))
        throw std::bad_alloc();
    static constexpr net_device_ops lo_ops = {lo_xmit, nullptr};
    strcpy(lo_.name, "lo");
    lo_.ifindex = 1;
    lo_.type = ARPHRD_LOOPBACK;
    lo_.mtu = 65536;
    lo_.flags = IFF_LOOPBACK;
    lo_.netdev_ops = &lo_ops;
    lo_.priv = this;
    register_netdevice(n, &lo_);
    n.loopback_dev = lo = &lo_;
    dev_change_flags(lo, IFF_UP, IFF_UP);
    p0 = add_port("p0");
    p1 = add_port("p1");
    n.ipv4.devconf_all.forwarding = n.ipv4.devconf_dflt.forwarding = 1;
    n.for_each_netdev([](net_device* dev) { dev->ip_ptr->cnf.forwarding = 1; });
    add_address(p0, "10.0.0.1/24");
    add_address(p1, "10.0.1.1/24");
    for (int i = 2; i <= 5; ++i) {
        add_host(p0, ("10.0.0." + std::to_string(i)).c_str());
        add_host(p1, ("10.0.1." + std::to_string(i)).c_str());
    }
    rx_ip = netif_receive_skb;
    enter(0);
}

ip_test_net::~ip_test_net() {
    enter(0);
    end_burst();
    enter(n.control_cpu());
    ip_exit(n);
    for (net_device* dev : {p0, p1, lo}) {
        dev_change_flags(dev, 0, IFF_UP);
        unregister_netdevice(dev);
    }
    n.loopback_dev = nullptr;
    ip_rt_exit(n);
    nf_net_exit(n);
    rcu_barrier_all(n);
}

void ip_test_net::add_address(net_device* dev, const char* prefix) {
    const std::string text(prefix);
    const size_t slash = text.find('/');
    ifa_config cfg;
    cfg.local = cfg.address = ip(text.substr(0, slash).c_str());
    cfg.prefixlen = uint8_t(std::stoi(text.substr(slash + 1)));
    netlink_ext_ack ack;
    std::lock_guard guard(n.rtnl);
    ASSERT_EQ(inet_rtm_newaddr(n, dev, cfg, false, &ack), 0) << ack.msg;
}

void ip_test_net::add_route(const char* prefix, const char* via, net_device* dev, uint8_t type,
                            uint32_t mtu) {
    const std::string text(prefix);
    const size_t slash = text.find('/');
    fib_config cfg;
    cfg.fc_dst = ip(text.substr(0, slash).c_str());
    cfg.fc_dst_len = uint8_t(std::stoi(text.substr(slash + 1)));
    cfg.fc_type = type;
    cfg.fc_type_given = true;
    cfg.fc_nlflags = NLM_F_CREATE | NLM_F_EXCL;
    cfg.fc_metrics[RTAX_MTU - 1] = mtu;
    if (via || dev) {
        fib_nh_config nh;
        nh.has_gw = via;
        nh.gw = via ? ip(via) : be32_t{};
        nh.oif = dev ? dev->ifindex : 0;
        cfg.nexthops.push_back(nh);
    }
    netlink_ext_ack ack;
    std::lock_guard guard(n.rtnl);
    ASSERT_EQ(inet_rtm_newroute(n, cfg, &ack), 0) << prefix << ": " << ack.msg;
}

mac_addr ip_test_net::host_mac(be32_t addr) {
    const auto* a = reinterpret_cast<const uint8_t*>(&addr);
    return {0x02, 0xbb, a[0], a[1], a[2], a[3]};
}

void ip_test_net::add_host(net_device* dev, const char* addr) {
    ASSERT_EQ(neigh_add(n, dev, ip(addr), host_mac(ip(addr)).data(), NUD_PERMANENT, true, false, 0),
              0);
}

void ip_test_net::lo_xmit(sk_buff* skb, net_device* dev) {
    if (skb->dst)
        dst_hold(skb->dst);
    static_cast<ip_test_net*>(dev->priv)->looped_.push_back(skb);
}

void ip_test_net::lo_poll() {
    while (sk_buff* skb = looped_.pop_front()) {
        dst_entry* dst = skb->dst;
        net_device* in = dst && dst->dev->vrf_table ? dst->dev : lo;
        skb_init(skb, in, ktime_get_ns());
        eth_type_trans(skb, in);
        if (dst)
            skb_rtable_set(skb, rt_from_dst(dst));
        netif_receive_skb(skb);
        if (dst)
            dst_release(dst);
    }
}

void ip_test_net::end_burst() {
    lo_poll();
    dst_run_gc(*this_softnet());
    rcu_do_batch(*this_softnet());
}

static bytes frame_for(const mac_addr& dst, be32_t src, const bytes& packet) {
    mac_addr from = ip_test_net::host_mac(src);
    return bytes(dst.begin(), dst.end()) + bytes(from.begin(), from.end()) + bytes{0x08, 0x00} +
           packet;
}

void ip_test_net::rx(net_device* dev, const bytes& packet, std::optional<mac_addr> dst_mac) {
    mac_addr own;
    memcpy(own.data(), dev->dev_addr, ETH_ALEN);
    be32_t src{};
    if (packet.size() >= 16)
        memcpy(&src, packet.data() + 12, 4);
    rx_frame(dev, frame_for(dst_mac.value_or(own), src, packet));
}

void ip_test_net::rx_frame(net_device* dev, const bytes& frame) {
    sk_buff* skb = inject(make_rx_skb(frame, dev));
    ASSERT_NE(skb, nullptr);
    eth_type_trans(skb, dev);
    netif_receive_skb(skb);
    end_burst();
}

void ip_test_net::rx_chained(net_device* dev, const bytes& packet, unsigned seg_size) {
    mac_addr own;
    memcpy(own.data(), dev->dev_addr, ETH_ALEN);
    const bytes frame = frame_for(own, ip("10.0.0.2"), packet);
    rte_mbuf* head = heap_mbuf_chain(unsigned(frame.size()), seg_size);
    sk_buff* skb = skb_from_mbuf(head);
    size_t done = 0;
    for (rte_mbuf* m = head; m; m = m->next) {
        size_t len = std::min<size_t>(frame.size() - done, seg_size);
        memcpy(rte_pktmbuf_mtod(m, void*), frame.data() + done, len);
        m->data_len = uint16_t(len);
        done += len;
    }
    head->pkt_len = uint32_t(frame.size());
    skb_init(skb, dev, ktime_get_ns());
    inject(skb);
    eth_type_trans(skb, dev);
    netif_receive_skb(skb);
    end_burst();
}

std::vector<ip_view> ip_test_net::sent(net_device* dev) {
    std::vector<ip_view> out;
    for (sent_frame& f : take_sent())
        if (f.dev == dev && eth_proto(f.data) == ETH_P_IP)
            out.push_back({bytes(f.data.begin() + ETH_HLEN, f.data.end())});
    return out;
}

ip_view ip_test_net::sent_one(net_device* dev) {
    EXPECT_EQ(sent_count(), 1u);
    std::vector<ip_view> all = sent(dev);
    EXPECT_EQ(all.size(), 1u);
    if (all.size() != 1)
        return {bytes(60)};
    EXPECT_TRUE(all[0].ok());
    return all[0];
}

// --- counters ---------------------------------------------------------------------------------

template <class F>
static uint64_t sum_slots(const net& n, F f) {
    uint64_t sum = 0;
    for (const auto& sd : n.softnet)
        sum += f(*sd);
    return sum;
}
uint64_t ip_test_net::ip_stat(ipstats_mib e) const {
    return sum_slots(n, [e](softnet_data& sd) { return sd.ip_statistics[e].get(); });
}
uint64_t ip_test_net::icmp_stat(icmp_mib e) const {
    return sum_slots(n, [e](softnet_data& sd) { return sd.icmp_statistics[e].get(); });
}
uint64_t ip_test_net::udp_stat(udp_mib e) const {
    return sum_slots(n, [e](softnet_data& sd) { return sd.udp_statistics[e].get(); });
}
uint64_t ip_test_net::tcp_stat(tcp_mib e) const {
    return sum_slots(n, [e](softnet_data& sd) { return sd.tcp_statistics[e].get(); });
}
uint64_t ip_test_net::all_drops() const {
    uint64_t sum = 0;
    for (unsigned i = 0; i < NR_DROP_REASONS; ++i)
        sum += drops(skb_drop_reason(i));
    return sum;
}

} // namespace slabfwd::test
