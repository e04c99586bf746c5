// SPDX-License-Identifier: BSD-3-Clause
//
// test_net: the fixture's clock, ports and accounts.
#include "tests/support/test_net.h"

#include <cerrno>
#include <cstring>
#include <gtest/gtest.h>
#include <new>
#include <stdexcept>

#include "alloc/kmalloc.h"

namespace slabfwd::test {

// --- routes from the address lists ---------------------------------------------------------------

namespace {

template <class F>
void for_each_addr(net& n, F f) {
    n.for_each_netdev([&](net_device* dev) {
        if (in_device* in_dev = __in_dev_get_rcu(dev))
            for (in_ifaddr* ifa = rcu_dereference(in_dev->ifa_list); ifa;
                 ifa = rcu_dereference(ifa->ifa_next))
                f(dev, ifa);
    });
}

int list_addr_type(net_device* dev, be32_t addr) {
    int type = ipv4_is_multicast(addr) ? RTN_MULTICAST
               : ipv4_is_lbcast(addr)  ? RTN_BROADCAST
                                       : RTN_UNICAST;
    for_each_addr(*dev->nd_net, [&](net_device*, in_ifaddr* ifa) {
        if (ifa->ifa_local == addr)
            type = RTN_LOCAL;
        else if (ifa->ifa_broadcast == addr && type == RTN_UNICAST)
            type = RTN_BROADCAST;
    });
    return type;
}

net_device* list_out_dev(net& n, be32_t addr) {
    net_device* out = nullptr;
    for_each_addr(n, [&](net_device* dev, in_ifaddr* ifa) {
        if (!out && inet_ifa_match(addr, ifa))
            out = dev;
    });
    return out;
}

int list_input_type(net_device* dev, be32_t tip, be32_t, net_device** out_dev) {
    const int type = list_addr_type(dev, tip);
    if (type != RTN_UNICAST)
        return type;
    *out_dev = list_out_dev(*dev->nd_net, tip);
    return *out_dev ? type : -ENETUNREACH;
}

bool list_output_dev_is(net_device* dev, be32_t sip, be32_t) {
    return list_out_dev(*dev->nd_net, sip) == dev;
}

} // namespace

void use_address_list_routes() {
    arp_route_ops = {list_input_type, list_addr_type, list_output_dev_is};
}

// --- making and ending ---------------------------------------------------------------------------

test_net::test_net(unsigned workers) : n(workers), live_at_start_(heap_skbs_live()) {
    use_heap_skbs();
    use_address_list_routes();
    prandom_seed(n, 1);
    set_clock(0);
    enter(0);
    if (neigh_table_init(n))
        throw std::bad_alloc();
}

test_net::~test_net() {
    heap_skbs_fail(0, 0);
    enter(n.control_cpu());
    for (auto& dev : devs_)
        if (n.devs[size_t(dev->ifindex)] == dev.get())
            dev_change_flags(dev.get(), 0, IFF_UP);
    for (auto [dev, ifa] : addrs_) {
        if (dev->ip_ptr)
            dev->ip_ptr->ifa_list = nullptr;
        kfree(ifa);
    }
    rcu_barrier_all(n);
    EXPECT_EQ(arp().entries, 0) << "somebody still holds a neighbour";
    EXPECT_EQ(arp().held, 0);
    neigh_table_clear(n);
    for (auto& dev : devs_)
        if (n.devs[size_t(dev->ifindex)] == dev.get())
            unregister_netdevice(dev.get());
    rcu_barrier_all(n);
    expect_balanced();
    EXPECT_EQ(heap_skbs_live(), live_at_start_) << "packets leaked";
}

static const net_device_ops* recorder_ops(void (*xmit)(sk_buff*, net_device*)) {
    static const net_device_ops ops = {xmit, nullptr};
    return &ops;
}

net_device* test_net::add_port(const char* name, int more_flags) {
    auto& dev = *devs_.emplace_back(std::make_unique<net_device>());
    strncpy(dev.name, name, sizeof dev.name - 1);
    const uint8_t addr[ETH_ALEN] = {0x02, 0, 0, 0, 0, uint8_t(devs_.size() - 1)};
    dev_addr_set(&dev, addr);
    dev.flags = IFF_BROADCAST | IFF_MULTICAST | more_flags;
    dev.netdev_ops = recorder_ops(xmit);
    dev.priv = this;
    if (int err = register_netdevice(n, &dev))
        throw std::runtime_error("register_netdevice: " + std::to_string(err));
    dev_change_flags(&dev, IFF_UP, IFF_UP);
    return &dev;
}

net_device* test_net::add_lo(bool with_addr) {
    static const net_device_ops ops = {
        [](sk_buff* skb, net_device*) { kfree_skb_reason(skb, skb_drop_reason::SHUTDOWN); },
        nullptr};
    auto& dev = *devs_.emplace_back(std::make_unique<net_device>());
    strcpy(dev.name, "lo");
    dev.type = ARPHRD_LOOPBACK;
    dev.flags = IFF_LOOPBACK;
    dev.mtu = 65535;
    dev.netdev_ops = &ops;
    if (int err = register_netdevice(n, &dev))
        throw std::runtime_error("register_netdevice: " + std::to_string(err));
    dev_change_flags(&dev, IFF_UP, IFF_UP);
    if (with_addr)
        add_addr(&dev, "127.0.0.1/8", RT_SCOPE_HOST);
    return &dev;
}

in_ifaddr* test_net::add_addr(net_device* dev, const char* prefix, uint8_t scope, uint32_t flags) {
    const std::string text(prefix);
    const size_t slash = text.find('/');
    auto* ifa = new (kmalloc(sizeof(in_ifaddr), GFP_KERNEL)) in_ifaddr;
    ifa->ifa_dev = dev->ip_ptr;
    ifa->ifa_prefixlen = uint8_t(std::stoi(text.substr(slash + 1)));
    ifa->ifa_mask = inet_make_mask(ifa->ifa_prefixlen);
    ifa->ifa_local = ifa->ifa_address = ip(text.substr(0, slash).c_str());
    if (ifa->ifa_prefixlen < 31)
        ifa->ifa_broadcast = ifa->ifa_local | ~ifa->ifa_mask;
    ifa->ifa_scope = scope;
    ifa->ifa_flags = flags;
    in_ifaddr** link = &dev->ip_ptr->ifa_list;
    while (*link)
        link = &(*link)->ifa_next;
    rcu_assign_pointer(*link, ifa);
    addrs_.emplace_back(dev, ifa);
    return ifa;
}

// --- time ----------------------------------------------------------------------------------------

void test_net::set_clock(uint64_t ns) {
    now_ns_ = ns;
    for (auto& sd : n.softnet) {
        sd->now_ns = ns;
        sd->jiffies = nsecs_to_jiffies(ns);
    }
}

void test_net::advance_ns(uint64_t ns) {
    softnet_data* self = this_softnet();
    const uint64_t end = now_ns_ + ns;
    for (;;) {
        jiffies_t next = ~jiffies_t(0);
        for (auto& sd : n.softnet)
            next = std::min(next, sd->timers.next_expiry.load());
        if (next > nsecs_to_jiffies(end))
            break;
        set_clock(std::max(now_ns_, (next - INITIAL_JIFFIES) * NSEC_PER_JIFFY));
        for (auto& sd : n.softnet) {
            softnet_enter(sd.get());
            run_timers(sd->timers, sd->jiffies, 0);
        }
    }
    set_clock(end);
    for (auto& sd : n.softnet) {
        softnet_enter(sd.get());
        rcu_do_batch(*sd);
        rcu_do_batch(*sd);
    }
    softnet_enter(self);
}

// --- packets -------------------------------------------------------------------------------------

void test_net::xmit(sk_buff* skb, net_device* dev) {
    auto* self = static_cast<test_net*>(dev->priv);
    dev_stats& stats = dev_stats_of(dev);
    stats.tx_packets.inc();
    stats.tx_bytes.add(skb_len(skb));
    ++self->tx_;
    if (self->record) {
        spin_guard guard(self->sent_lock_);
        self->sent_.push_back({dev, ktime_get_ns(), to_bytes(skb)});
    }
    consume_skb(skb);
}

sk_buff* test_net::inject(sk_buff* skb) {
    if (skb)
        ++rx_;
    return skb;
}

void test_net::receive(net_device* dev, const bytes& frame) {
    sk_buff* skb = inject(make_rx_skb(frame, dev));
    if (!skb)
        return;
    eth_type_trans(skb, dev);
    if (be16_to_cpu(skb->protocol) == ETH_P_ARP)
        arp_rcv(skb);
    else if (be16_to_cpu(skb->protocol) == ETH_P_IP && rx_ip)
        rx_ip(skb);
    else
        kfree_skb_reason(skb, skb_drop_reason::UNHANDLED_PROTO);
}

std::vector<sent_frame> test_net::take_sent() {
    spin_guard guard(sent_lock_);
    std::vector<sent_frame> out(sent_.begin(), sent_.end());
    sent_.clear();
    return out;
}

// --- accounts ------------------------------------------------------------------------------------

uint64_t test_net::drops(skb_drop_reason reason) const {
    uint64_t sum = 0;
    for (auto& sd : n.softnet)
        sum += sd->drops[unsigned(reason)];
    return sum;
}

uint64_t test_net::balance(balance_stat e) const {
    uint64_t sum = 0;
    for (auto& sd : n.softnet)
        sum += sd->balance[e];
    return sum;
}

uint64_t test_net::nd_stat(neigh_statistics e) const {
    uint64_t sum = 0;
    for (auto& sd : n.softnet)
        sum += sd->nd_stat[e];
    return sum;
}

void test_net::expect_balanced(int held_elsewhere) {
    uint64_t dropped = 0;
    for (unsigned i = 0; i < NR_DROP_REASONS; ++i)
        dropped += drops(skb_drop_reason(i));
    const uint64_t held = uint64_t(held_elsewhere) + uint64_t(neigh_held(n));
    EXPECT_EQ(rx_ + balance(balance_stat::originated) + balance(balance_stat::fragments_created) +
                  balance(balance_stat::copies),
              tx_ + balance(balance_stat::delivered) + balance(balance_stat::fragmented) + dropped +
                  held);
}

neighbour* test_net::find(net_device* dev, const char* addr) {
    return __neigh_lookup_noref(&arp(), ip(addr), dev);
}

uint8_t test_net::state(net_device* dev, const char* addr) {
    neighbour* entry = find(dev, addr);
    return entry ? entry->nud_state.load() : NUD_NONE;
}

bool test_net::all_valid() {
    std::vector<neighbour*> entries;
    neigh_for_each(
        &arp(),
        [](neighbour* entry, void* v) {
            static_cast<std::vector<neighbour*>*>(v)->push_back(entry);
        },
        &entries);
    for (neighbour* entry : entries)
        if (!neigh_is_valid(entry)) {
            ADD_FAILURE() << to_string(entry->primary_key) << " is invalid in state "
                          << nud_state_name(entry->nud_state);
            return false;
        }
    return true;
}

} // namespace slabfwd::test
