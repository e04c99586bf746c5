// SPDX-License-Identifier: BSD-3-Clause
//
// `ip link show` and `ip link set`. Several changes of one line are made together or not at all:
// what can be checked is checked first, and a change that the driver refuses takes back those
// before it. Threads: control thread under rtnl. Origin: iproute2's ip/iplink.c, ip/ipaddress.c
// (print_linkinfo).
#include "dataplane/control/ip_link.h"

#include <cerrno>

#include "dataplane/control/ip_commands.h"
#include "dataplane/control/values.h"

namespace slabfwd {

namespace {

enum link_key {
    L_DEV,
    L_UP,
    L_DOWN,
    L_MTU,
    L_ADDRESS,
    L_ARP,
    L_MULTICAST,
    L_ALLMULTI,
    L_PROMISC,
    L_MASTER,
    L_NOMASTER,
    L_NAME,
    L_TYPE
};

constexpr keyword set_keywords[] = {
    {"up", true, takes::nothing, L_UP, nullptr},
    {"down", true, takes::nothing, L_DOWN, nullptr},
    {"name", true, takes::word, L_NAME, "NEWNAME"},
    {"mtu", true, takes::u32, L_MTU, "MTU", "Invalid \"mtu\" value\n", KEY_DUP},
    {"address", false, takes::mac, L_ADDRESS, "LLADDR"},
    {"multicast", true, takes::on_off, L_MULTICAST, "{ on | off }"},
    {"allmulticast", true, takes::on_off, L_ALLMULTI, "{ on | off }"},
    {"promisc", true, takes::on_off, L_PROMISC, "{ on | off }"},
    {"arp", true, takes::on_off, L_ARP, "{ on | off }"},
    {"master", true, takes::word, L_MASTER, "DEVICE"},
    {"nomaster", true, takes::nothing, L_NOMASTER, nullptr},
    {"dev", true, takes::device, L_DEV, "DEVICE", nullptr, KEY_BARE | KEY_ONCE},
};

constexpr keyword show_keywords[] = {
    {"up", true, takes::nothing, L_UP, nullptr},
    {"master", true, takes::word, L_MASTER, "DEVICE"},
    {"dev", true, takes::device, L_DEV, "DEVICE", nullptr, KEY_BARE | KEY_ONCE},
};

constexpr keyword add_keywords[] = {
    {"type", true, takes::word, L_TYPE, "TYPE"},
    {"dev", true, takes::device, L_DEV, "DEVICE", nullptr, KEY_BARE},
};

struct flag_name {
    int flag;
    const char* name;
};
constexpr flag_name flag_names[] = {{IFF_LOOPBACK, "LOOPBACK"},
                                    {IFF_BROADCAST, "BROADCAST"},
                                    {IFF_POINTOPOINT, "POINTOPOINT"},
                                    {IFF_MULTICAST, "MULTICAST"},
                                    {IFF_NOARP, "NOARP"},
                                    {IFF_ALLMULTI, "ALLMULTI"},
                                    {IFF_PROMISC, "PROMISC"},
                                    {IFF_UP, "UP"},
                                    {IFF_LOWER_UP, "LOWER_UP"}};

std::vector<std::string> shown_flags(const net_device* dev) {
    int flags = dev_get_flags(dev);
    std::vector<std::string> names;
    if (flags & IFF_UP && !(flags & IFF_RUNNING))
        names.push_back("NO-CARRIER");
    for (const flag_name& f : flag_names)
        if (flags & f.flag)
            names.push_back(f.name);
    return names;
}

/// What one `ip link set` wants.
struct link_change {
    net_device* dev = nullptr;
    int flags = 0, mask = 0;
    const argument *mtu = nullptr, *address = nullptr;
};

void set_flag(link_change& to, int flag, bool on) {
    to.mask |= flag;
    to.flags = on ? to.flags | flag : to.flags & ~flag;
}

bool collect(command& c, std::span<const argument> args, link_change& to) {
    for (const argument& a : args)
        switch (a.key->id) {
        case L_UP:
            set_flag(to, IFF_UP, true);
            break;
        case L_DOWN:
            set_flag(to, IFF_UP, false);
            break;
        case L_ARP:
            set_flag(to, IFF_NOARP, !a.number);
            break;
        case L_MULTICAST:
            set_flag(to, IFF_MULTICAST, a.number);
            break;
        case L_ALLMULTI:
            set_flag(to, IFF_ALLMULTI, a.number);
            break;
        case L_PROMISC:
            set_flag(to, IFF_PROMISC, a.number);
            break;
        case L_MTU:
            to.mtu = &a;
            break;
        case L_ADDRESS:
            to.address = &a;
            break;
        case L_NAME:
            if (a.word != to.dev->name)
                return c.unsupported(a.word, "The name of a port is given when it is opened");
            break;
        case L_MASTER:
            if (!dev_get_by_name(c.n, a.word.c_str()))
                return c.wrong(a.word, "Device does not exist\n");
            return c.unsupported(a.word, "Devices of this version cannot be enslaved (no VRF)");
        }
    return true;
}

bool check(command& c, const link_change& want) {
    if (want.mtu) {
        if (want.mtu->number < 68)
            return c.answers(-EINVAL, want.mtu->word, "mtu less than device minimum");
        if (want.mtu->number > 65535 && !(want.dev->flags & IFF_LOOPBACK))
            return c.answers(-EINVAL, want.mtu->word, "mtu greater than device maximum");
        if (want.mtu->number > INT32_MAX)
            return c.answers(-EINVAL, want.mtu->word);
    }
    if (want.address) {
        if (want.address->number != ETH_ALEN)
            return c.fail(1, want.address->word,
                          fmt::format("Invalid address length {} - must be {} bytes\n",
                                      want.address->number, ETH_ALEN));
        if (!(want.dev->flags & IFF_LOOPBACK) && (is_multicast_ether_addr(want.address->bytes) ||
                                                  is_zero_ether_addr(want.address->bytes)))
            return c.answers(-EADDRNOTAVAIL, want.address->word);
    }
    return true;
}

bool apply(command& c, const link_change& want) {
    net_device* dev = want.dev;
    uint8_t old_addr[ETH_ALEN];
    memcpy(old_addr, dev->dev_addr, ETH_ALEN);
    const int old_mtu = dev->mtu;
    if (want.address)
        if (int err = dev_set_mac_address(dev, want.address->bytes))
            return c.answers(err, want.address->word);
    if (want.mtu)
        if (int err = dev_set_mtu(dev, int(want.mtu->number))) {
            if (want.address)
                dev_set_mac_address(dev, old_addr);
            return c.answers(err, want.mtu->word);
        }
    if (want.mask)
        if (int err = dev_change_flags(dev, want.flags, want.mask)) {
            if (want.mtu)
                dev_set_mtu(dev, old_mtu);
            if (want.address)
                dev_set_mac_address(dev, old_addr);
            return c.answers(err, dev->name);
        }
    return true;
}

bool link_set(command& c, std::span<const argument> args) {
    const argument* name = find_argument(args, L_DEV);
    if (!name)
        return c.fail(255, "", "Not enough information: \"dev\" argument is required.\n");
    link_change want;
    if (!(want.dev = c.device(name->word)))
        return false;
    return collect(c, args, want) && check(c, want) && apply(c, want);
}

bool link_show(command& c, std::span<const argument> args) {
    const argument* name = find_argument(args, L_DEV);
    if (name && !dev_get_by_name(c.n, name->word.c_str()))
        return c.fail(1, name->word, fmt::format("Device \"{}\" does not exist.\n", name->word));
    if (const argument* master = find_argument(args, L_MASTER))
        return c.fail(1, master->word,
                      fmt::format("Device \"{}\" does not exist.\n", master->word));
    bool up_only = find_argument(args, L_UP);
    printer p = c.make_printer();
    c.n.for_each_netdev([&](net_device* dev) {
        if ((name && name->word != dev->name) || (up_only && !dev->up()))
            return;
        p.begin();
        if (c.opt.brief) {
            print_link_brief(p, dev);
            std::string flags = fmt::format("{}", fmt::join(shown_flags(dev), ","));
            p.field("address", format_mac(dev->dev_addr), "{} ", format_mac(dev->dev_addr));
            p.field("flags", shown_flags(dev), "<{}> \n", flags);
        } else {
            print_link(p, c, dev, true, true);
            if (c.opt.statistics)
                print_link_stats(p, c, dev);
            p.text("\n");
        }
        p.end();
    });
    return true;
}

bool link_add(command& c, std::span<const argument> args) {
    const argument* type = find_argument(args, L_TYPE);
    if (!type)
        return c.fail(255, "", "Not enough information: \"type\" argument is required\n");
    return c.unsupported(type->word,
                         "Ports are opened with --port; devices of this type cannot be made");
}

bool link_del(command& c, std::span<const argument> args) {
    const argument* name = find_argument(args, L_DEV);
    if (!name)
        return c.fail(255, "", "Not enough information: \"dev\" argument is required.\n");
    if (!c.device(name->word))
        return false;
    return c.answers(-EOPNOTSUPP, name->word);
}

struct column {
    const char* title;
    const char* key;
    uint64_t value;
    unsigned width;
};

/// One direction of the counters: titles above numbers, each as wide as its widest; the direction
/// stands in the first title's column. Last comes ip's column of compressed packets, which has no
/// title when it is empty.
void print_columns(printer& p, const char* direction, const char* key,
                   std::span<const column> columns) {
    std::string titles = direction, numbers;
    json values = json::object();
    for (const column& col : columns) {
        unsigned width =
            std::max<unsigned>(col.width, unsigned(fmt::formatted_size("{}", col.value)));
        titles += fmt::format("{:>{}} ", col.title,
                              &col == columns.data() ? width - titles.size() : width);
        numbers += fmt::format("{:>{}} ", col.value, width);
        values[col.key] = col.value;
    }
    p.text("{}    {}{:10}{}    {}", p.nl(), titles, "", p.nl(), numbers);
    if (p.as_json())
        p.object()["stats64"][key] = values;
}

} // namespace

link_stats get_link_stats(const net& n, const net_device* dev) {
    link_stats s;
    for (const auto& sd : n.softnet) {
        const dev_stats& d = sd->dev[size_t(dev->ifindex)];
        s.rx_packets += d.rx_packets;
        s.rx_bytes += d.rx_bytes;
        s.rx_errors += d.rx_errors;
        s.rx_dropped += d.rx_dropped;
        s.multicast += d.multicast;
        s.tx_packets += d.tx_packets;
        s.tx_bytes += d.tx_bytes;
        s.tx_errors += d.tx_errors;
        s.tx_dropped += d.tx_dropped;
    }
    return s;
}

const char* link_operstate(const net_device* dev) {
    if (!dev->up())
        return "DOWN";
    if (dev->flags & IFF_LOOPBACK)
        return "UNKNOWN";
    return dev->carrier ? "UP" : "DOWN";
}

void print_link(printer& p, const command& c, const net_device* dev, bool link_layer,
                bool linkmode) {
    const char* state = link_operstate(dev);
    const char* qdisc = dev->up() || dev->flags & IFF_LOOPBACK ? "noqueue" : "noop";
    p.field("ifindex", dev->ifindex, "{}: ", dev->ifindex);
    p.field("ifname", dev->name, "{}: ", dev->name);
    p.field("flags", shown_flags(dev), "<{}> ", fmt::join(shown_flags(dev), ","));
    p.field("mtu", dev->mtu.get(), "mtu {} ", dev->mtu.get());
    p.field("qdisc", qdisc, "qdisc {} ", qdisc);
    p.field("operstate", state, "state {} ", state);
    if (linkmode)
        p.field("linkmode", "DEFAULT", "mode DEFAULT ");
    p.field("group", "default", "group default ");
    p.field("txqlen", 1000, "qlen 1000");
    if (!link_layer)
        return;
    const char* type = dev->type == ARPHRD_LOOPBACK ? "loopback" : "ether";
    p.field("link_type", type, "{}    link/{} ", p.nl(), type);
    p.field("address", format_mac(dev->dev_addr), "{} ", format_mac(dev->dev_addr));
    const uint8_t none[ETH_ALEN] = {};
    std::string broadcast = format_mac(dev->type == ARPHRD_LOOPBACK ? none : dev->broadcast);
    p.field("broadcast", broadcast, "brd {}", broadcast);
    if (!c.opt.details)
        return;
    p.field("promiscuity", dev->flags & IFF_PROMISC ? 1 : 0, " promiscuity {} ",
            dev->flags & IFF_PROMISC ? 1 : 0);
    p.field("allmulti", dev->flags & IFF_ALLMULTI ? 1 : 0, " allmulti {} ",
            dev->flags & IFF_ALLMULTI ? 1 : 0);
    p.field("min_mtu", 68, "minmtu 68 ");
    p.field("max_mtu", 65535, "maxmtu 65535 ");
}

void print_link_stats(printer& p, const command& c, const net_device* dev) {
    link_stats s = get_link_stats(c.n, dev);
    const column rx[] = {
        {"bytes", "bytes", s.rx_bytes, 10},   {"packets", "packets", s.rx_packets, 7},
        {"errors", "errors", s.rx_errors, 6}, {"dropped", "dropped", s.rx_dropped, 7},
        {"missed", "over_errors", 0, 7},      {"mcast", "multicast", s.multicast, 7}};
    const column tx[] = {
        {"bytes", "bytes", s.tx_bytes, 10},   {"packets", "packets", s.tx_packets, 7},
        {"errors", "errors", s.tx_errors, 6}, {"dropped", "dropped", s.tx_dropped, 7},
        {"carrier", "carrier_errors", 0, 7},  {"collsns", "collisions", 0, 7}};
    print_columns(p, "RX:", "rx", rx);
    print_columns(p, "TX:", "tx", tx);
}

void print_link_brief(printer& p, const net_device* dev) {
    p.field("ifname", dev->name, "{:<16} ", dev->name);
    p.field("operstate", link_operstate(dev), "{:<14} ", link_operstate(dev));
}

std::span<const verb> link_verbs() {
    static constexpr verb verbs[] = {
        {"add", false, add_keywords, link_add, "devices are ports here: opened with --port", false},
        {"set", false, set_keywords, link_set, "change a device", false},
        {"change", false, set_keywords, link_set, "change a device", false},
        {"replace", false, add_keywords, link_add, "devices are ports here: opened with --port",
         false},
        {"delete", false, add_keywords, link_del, "ports cannot be deleted", false},
        {"show", false, show_keywords, link_show, "devices, their state and counters", false},
        {"list", false, show_keywords, link_show, "devices, their state and counters", false},
        {"lst", false, show_keywords, link_show, "devices, their state and counters", false},
    };
    return verbs;
}

} // namespace slabfwd
