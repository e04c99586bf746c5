// SPDX-License-Identifier: BSD-3-Clause
//
// `ip link show`, `ip link set`, and `ip link add|del` for VRFs. Several changes of one line are
// made together or not at all: what can be checked is checked first, and a change that the driver
// refuses takes back those before it. Threads: control thread under rtnl. Origin: iproute2's
// ip/iplink.c, ip/ipaddress.c (print_linkinfo).
#include "dataplane/control/ip_link.h"

#include <cerrno>

#include "dataplane/control/ip_commands.h"
#include "dataplane/control/values.h"
#include "dataplane/ip/vrf.h"
#include "route/l3mdev.h"

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
    L_TYPE,
    L_TABLE,
    L_VRF
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
    {"vrf", true, takes::word, L_VRF, "NAME"},
    {"dev", true, takes::device, L_DEV, "DEVICE", nullptr, KEY_BARE | KEY_ONCE},
};

constexpr keyword show_keywords[] = {
    {"up", true, takes::nothing, L_UP, nullptr},
    {"master", true, takes::word, L_MASTER, "DEVICE"},
    {"vrf", true, takes::word, L_VRF, "NAME"},
    {"type", true, takes::word, L_TYPE, "TYPE"},
    {"dev", true, takes::device, L_DEV, "DEVICE", nullptr, KEY_BARE | KEY_ONCE},
};

constexpr keyword add_keywords[] = {
    {"up", true, takes::nothing, L_UP, nullptr},
    {"down", true, takes::nothing, L_DOWN, nullptr},
    {"mtu", true, takes::u32, L_MTU, "MTU", "Invalid \"mtu\" value\n", KEY_DUP},
    {"address", false, takes::mac, L_ADDRESS, "LLADDR"},
    {"type", true, takes::word, L_TYPE, "vrf"},
    {"table", false, takes::table, L_TABLE, "TABLE_ID", "invalid table ID\n"},
    {"name", true, takes::device, L_DEV, "NAME", nullptr, KEY_BARE | KEY_ONCE},
    {"dev", true, takes::device, L_DEV, "NAME"},
};

struct flag_name {
    int flag;
    const char* name;
};
constexpr flag_name flag_names[] = {
    {IFF_LOOPBACK, "LOOPBACK"},   {IFF_BROADCAST, "BROADCAST"}, {IFF_POINTOPOINT, "POINTOPOINT"},
    {IFF_MULTICAST, "MULTICAST"}, {IFF_NOARP, "NOARP"},         {IFF_ALLMULTI, "ALLMULTI"},
    {IFF_PROMISC, "PROMISC"},     {IFF_MASTER, "MASTER"},       {IFF_UP, "UP"},
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
    const argument* master = nullptr; ///< joins a VRF, or `nomaster`
    net_device* vrf = nullptr;        ///< which; null: none
};

void set_flag(link_change& to, int flag, bool on) {
    to.mask |= flag;
    to.flags = on ? to.flags | flag : to.flags & ~flag;
}

bool collect_master(command& c, const argument& a, link_change& to) {
    to.master = &a;
    to.vrf = a.key->id == L_NOMASTER ? nullptr : dev_get_by_name(c.n, a.word.c_str());
    if (a.key->id == L_MASTER && !to.vrf)
        return c.wrong(a.word, "Device does not exist\n");
    if (a.key->id == L_VRF && !(to.vrf && to.vrf->vrf_table))
        return c.wrong(a.word, "Not a valid VRF name\n");
    return true;
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
        case L_VRF:
        case L_NOMASTER:
            if (!collect_master(c, a, to))
                return false;
            break;
        }
    return true;
}

int min_mtu(const net_device* dev) {
    return dev->vrf_table ? 1280 : 68;
}
int max_mtu(const net_device* dev) {
    return dev->vrf_table ? 65575 : 65535;
}

bool check(command& c, const link_change& want) {
    if (want.mtu) {
        if (want.mtu->number < unsigned(min_mtu(want.dev)))
            return c.answers(-EINVAL, want.mtu->word, "mtu less than device minimum");
        if (want.mtu->number > unsigned(max_mtu(want.dev)) && !(want.dev->flags & IFF_LOOPBACK))
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

/// Joins or leaves a VRF; false with the kernel's words.
bool apply_master(command& c, const link_change& want) {
    if (!want.vrf) {
        vrf_del_slave(want.dev);
        return true;
    }
    netlink_ext_ack extack;
    int err = vrf_add_slave(want.vrf, want.dev, &extack);
    return !err || c.answers(err, want.master->word, extack.msg);
}

bool apply(command& c, const link_change& want) {
    net_device* dev = want.dev;
    uint8_t old_addr[ETH_ALEN];
    memcpy(old_addr, dev->dev_addr, ETH_ALEN);
    const int old_mtu = dev->mtu;
    auto take_back = [&] {
        if (want.mtu)
            dev_set_mtu(dev, old_mtu);
        if (want.address)
            dev_set_mac_address(dev, old_addr);
        return false;
    };
    if (want.address)
        if (int err = dev_set_mac_address(dev, want.address->bytes))
            return c.answers(err, want.address->word);
    if (want.mtu)
        if (int err = dev_set_mtu(dev, int(want.mtu->number))) {
            if (want.address)
                dev_set_mac_address(dev, old_addr);
            return c.answers(err, want.mtu->word);
        }
    // The flags first: they may be refused by a driver, a VRF that was found to be one not.
    const int old_flags = dev->flags;
    if (want.mask)
        if (int err = dev_change_flags(dev, want.flags, want.mask)) {
            c.answers(err, dev->name);
            return take_back();
        }
    if (want.master && !apply_master(c, want)) {
        if (want.mask)
            dev_change_flags(dev, old_flags, want.mask);
        return take_back();
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

/// Which devices `ip link show` shows.
struct link_filter {
    const argument* name = nullptr;
    bool up = false;
    int master = 0;
    const argument* type = nullptr;

    bool read(command& c, std::span<const argument> args) {
        type = find_argument(args, L_TYPE);
        for (const argument& a : args) {
            if (a.key->id != L_MASTER && a.key->id != L_VRF)
                continue;
            const net_device* dev = dev_get_by_name(c.n, a.word.c_str());
            if (a.key->id == L_MASTER && !dev)
                return c.wrong(a.word, "Device does not exist\n");
            if (a.key->id == L_VRF && !(dev && dev->vrf_table))
                return c.wrong(a.word, "Not a valid VRF name\n");
            master = dev->ifindex;
        }
        return true;
    }
    bool wants(const net_device* dev) const {
        return (!name || name->word == dev->name) && (!up || dev->up()) &&
               (!master || dev->master_ifindex == master) &&
               (!type || (type->word == "vrf" && dev->vrf_table));
    }
};

bool link_show(command& c, std::span<const argument> args) {
    const argument* name = find_argument(args, L_DEV);
    if (name && !dev_get_by_name(c.n, name->word.c_str()))
        return c.fail(1, name->word, fmt::format("Device \"{}\" does not exist.\n", name->word));
    link_filter f{.name = name, .up = find_argument(args, L_UP) != nullptr};
    if (!f.read(c, args))
        return false;
    printer p = c.make_printer();
    c.n.for_each_netdev([&](net_device* dev) {
        if (!f.wants(dev))
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

/// `type vrf table N`: options of a type stand last.
bool vrf_add(command& c, std::span<const argument> args) {
    const argument *name = find_argument(args, L_DEV), *table = find_argument(args, L_TABLE);
    for (bool after_type = false; const argument& a : args) {
        if (after_type && a.key->id != L_TABLE)
            return c.fail(255, a.key->name,
                          fmt::format("vrf: unknown option \"{}\"?\nUsage: ... vrf table TABLEID\n",
                                      a.key->id == L_DEV ? a.word : a.key->name));
        after_type |= a.key->id == L_TYPE;
    }
    if (name &&
        (name->word.empty() || name->word.size() >= IFNAMSIZ_ ||
         name->word.find('/') != std::string::npos || name->word == "." || name->word == ".."))
        return c.wrong(name->word, "\"name\" not a valid ifname");
    if (!table)
        return c.answers(-EINVAL, "vrf", "VRF table id is missing");
    std::string chosen = name ? name->word : "";
    netlink_ext_ack extack;
    if (int err = vrf_newlink(c.n, chosen, uint32_t(table->number), &extack, &chosen))
        return c.answers(err, name ? name->word : "vrf", extack.msg);
    link_change want;
    want.dev = c.device(chosen);
    if (collect(c, args, want) && check(c, want) && apply(c, want))
        return true;
    vrf_dellink(want.dev);
    return false;
}

bool link_add(command& c, std::span<const argument> args) {
    const argument* type = find_argument(args, L_TYPE);
    if (!type)
        return c.fail(255, "", "Not enough information: \"type\" argument is required\n");
    if (type->word == "vrf")
        return vrf_add(c, args);
    return c.unsupported(type->word,
                         "Ports are opened with --port; devices of this type cannot be made");
}

bool link_del(command& c, std::span<const argument> args) {
    const argument* name = find_argument(args, L_DEV);
    if (!name)
        return c.fail(255, "", "Not enough information: \"dev\" argument is required.\n");
    net_device* dev = c.device(name->word);
    if (!dev)
        return false;
    if (!dev->vrf_table)
        return c.answers(-EOPNOTSUPP, name->word);
    vrf_dellink(dev);
    return true;
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

static void print_vrf(printer& p, const net_device* dev) {
    const uint32_t table = l3mdev_fib_table(dev);
    if (!table)
        return;
    const char* kind = dev->vrf_table ? "vrf" : "vrf_slave";
    p.text("{}    {} table {} ", p.nl(), kind, table);
    if (p.as_json())
        p.object()["linkinfo"] =
            dev->vrf_table
                ? json{{"info_kind", "vrf"}, {"info_data", {{"table", table}}}}
                : json{{"info_slave_kind", "vrf"}, {"info_slave_data", {{"table", table}}}};
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
    if (const net_device* master = dev_get_by_index(c.n, dev->master_ifindex))
        p.field("master", master->name, "master {} ", master->name);
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
    p.field("min_mtu", min_mtu(dev), "minmtu {} ", min_mtu(dev));
    p.field("max_mtu", max_mtu(dev), "maxmtu {} ", max_mtu(dev));
    print_vrf(p, dev);
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
        {"add", false, add_keywords, link_add, "make a VRF (ports are opened with --port)", false},
        {"set", false, set_keywords, link_set, "change a device", false},
        {"change", false, set_keywords, link_set, "change a device", false},
        {"replace", false, add_keywords, link_add, "make a VRF", false},
        {"delete", false, add_keywords, link_del, "take a VRF away", false},
        {"show", false, show_keywords, link_show, "devices, their state and counters", false},
        {"list", false, show_keywords, link_show, "devices, their state and counters", false},
        {"lst", false, show_keywords, link_show, "devices, their state and counters", false},
    };
    return verbs;
}

} // namespace slabfwd
