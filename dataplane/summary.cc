// SPDX-License-Identifier: BSD-3-Clause
//
// Adding up and showing. See summary.h.
#include "dataplane/summary.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>

#include "alloc/slabinfo.h"
#include "neigh/softnet.h"

namespace slabfwd {

namespace {

template <class F>
uint64_t sum_slots(const net& n, F value) {
    uint64_t sum = 0;
    for (const auto& sd : n.softnet)
        sum += value(*sd);
    return sum;
}

port_summary summarize(const net& n, const net_device& dev) {
    auto sum = [&](cpu_counter dev_stats::*field) {
        return sum_slots(
            n, [&](const softnet_data& sd) { return (sd.dev[size_t(dev.ifindex)].*field).get(); });
    };
    return {dev.name, sum(&dev_stats::rx_packets), sum(&dev_stats::tx_packets),
            sum(&dev_stats::rx_bytes), sum(&dev_stats::tx_bytes)};
}

std::vector<slab_summary> summarize_slab() {
    std::vector<slab_summary> rows;
    for (const slabinfo& s : slabinfo_list())
        if (s.num_allocations || s.active_objs || s.num_objs)
            rows.push_back({s.name, s.active_objs, s.num_objs, s.objsize, 0});
    std::sort(rows.begin(), rows.end(),
              [](const slab_summary& a, const slab_summary& b) { return a.name < b.name; });
    return rows;
}

/// Caches of the allocator itself: kmem_cache, kmem_cache_node, array_cache, slab_freelist-N.
bool is_allocators_own(const std::string& name) {
    for (const char* prefix : {"kmem_cache", "array_cache", "slab_freelist"})
        if (name.rfind(prefix, 0) == 0)
            return true;
    return false;
}

/// The sides of the balance, each with its terms.
struct balance_sides {
    uint64_t came, went;
    std::string text;
    explicit balance_sides(const router_summary& s)
        : came(s.rx_packets() + s.originated + s.fragments_created + s.copies),
          went(s.tx_packets() + s.delivered + s.fragmented + s.dropped() + s.held),
          text(fmt::format(
              "rx {} + originated {} + fragments_created {} + copies {} = {}, but tx {} + "
              "delivered {} + fragmented {} + drops {} + held {} = {}",
              s.rx_packets(), s.originated, s.fragments_created, s.copies, came, s.tx_packets(),
              s.delivered, s.fragmented, s.dropped(), s.held, went)) {}
};

} // namespace

uint64_t router_summary::rx_packets() const {
    uint64_t sum = 0;
    for (const port_summary& p : ports)
        sum += p.rx_packets;
    return sum;
}

uint64_t router_summary::tx_packets() const {
    uint64_t sum = 0;
    for (const port_summary& p : ports)
        sum += p.tx_packets;
    return sum;
}

uint64_t router_summary::dropped() const {
    uint64_t sum = 0;
    for (const auto& [reason, count] : drops)
        sum += count;
    return sum;
}

bool router_summary::drops_subtract(const std::string& reason, uint64_t n) {
    auto at = std::find_if(drops.begin(), drops.end(), [&](auto& d) { return d.first == reason; });
    if (!n)
        return true;
    if (at == drops.end() || at->second < n)
        return false;
    at->second -= n;
    if (!at->second)
        drops.erase(at);
    return true;
}

router_summary collect_summary(const router& r) {
    net& n = *r.n;
    router_summary s;
    for (const auto& p : r.ports)
        s.ports.push_back(summarize(n, p->dev));
    for (unsigned reason = 0; reason < NR_DROP_REASONS; ++reason)
        if (uint64_t count =
                sum_slots(n, [&](const softnet_data& sd) { return sd.drops[reason].get(); }))
            s.drops.emplace_back(drop_reason_name(skb_drop_reason(reason)), count);
    auto balance = [&](balance_stat e) {
        return sum_slots(n, [&](const softnet_data& sd) { return sd.balance[e].get(); });
    };
    s.originated = balance(balance_stat::originated);
    s.copies = balance(balance_stat::copies);
    s.delivered = balance(balance_stat::delivered);
    s.fragmented = balance(balance_stat::fragmented);
    s.fragments_created = balance(balance_stat::fragments_created);
    s.held = router_held(r);
    s.route_cache = rt_cache_get_totals(n);
    s.slab = summarize_slab();
    s.slabs_before = r.slabs_before;
    return s;
}

void summary_after_stop(router_summary& s) {
    for (slab_summary& row : s.slab)
        row.left = 0;
    for (const slabinfo& now : slabinfo_list()) {
        auto before = s.slabs_before.find(now.name);
        size_t base = before == s.slabs_before.end() ? 0 : before->second;
        size_t active = now.active_objs - std::min(now.active_objs, now.array_objs);
        if (active <= base || is_allocators_own(now.name))
            continue;
        auto at = std::find_if(s.slab.begin(), s.slab.end(),
                               [&](const slab_summary& row) { return row.name == now.name; });
        if (at == s.slab.end())
            at = s.slab.insert(at, slab_summary{now.name, 0, now.num_objs, now.objsize, 0});
        at->left = active - base;
    }
    s.stopped = true;
}

bool balanced(const router_summary& s, std::string* why) {
    balance_sides sides(s);
    if (sides.came != sides.went && why)
        *why = sides.text;
    return sides.came == sides.went;
}

// --- for people
// -----------------------------------------------------------------------------------

namespace {

void ports_table(std::string& out, const router_summary& s) {
    auto row = [&](const auto& name, auto... cells) {
        out += fmt::format("{:<16}", name);
        ((out += fmt::format(" {:>14}", cells)), ...);
        out += '\n';
    };
    row("port", "rx packets", "rx bytes", "tx packets", "tx bytes");
    port_summary all;
    for (const port_summary& p : s.ports) {
        row(p.name, p.rx_packets, p.rx_bytes, p.tx_packets, p.tx_bytes);
        all.rx_packets += p.rx_packets, all.rx_bytes += p.rx_bytes;
        all.tx_packets += p.tx_packets, all.tx_bytes += p.tx_bytes;
    }
    if (s.ports.size() > 1)
        row("all", all.rx_packets, all.rx_bytes, all.tx_packets, all.tx_bytes);
}

/// "title" and then name, count pairs, one a line; the counts stand under those of rx packets.
void counts_table(std::string& out, const char* title,
                  const std::vector<std::pair<std::string, uint64_t>>& rows) {
    out += fmt::format("\n{}\n", title);
    for (const auto& [name, count] : rows)
        out += fmt::format("  {:<18} {:>10}\n", name, count);
}

void drops_table(std::string& out, const router_summary& s) {
    auto rows = s.drops;
    std::stable_sort(rows.begin(), rows.end(),
                     [](const auto& a, const auto& b) { return a.second > b.second; });
    if (rows.empty())
        out += "\nno drops\n";
    else
        counts_table(out, fmt::format("drops {:>25}", s.dropped()).c_str(), rows);
}

void slab_table(std::string& out, const router_summary& s) {
    out += fmt::format("\n{:<22} {:>10} {:>10} {:>10} {:>10}\n", "slab cache", "active", "objects",
                       "objsize", "KiB");
    for (const slab_summary& c : s.slab)
        out += fmt::format("{:<22} {:>10} {:>10} {:>10} {:>10}\n", c.name, c.active_objs,
                           c.num_objs, c.objsize, (c.num_objs * c.objsize + 1023) / 1024);
    if (!s.stopped)
        return;
    bool clean = true;
    for (const slab_summary& c : s.slab)
        if (c.left) {
            out += fmt::format("after the stop {} has {} objects left\n", c.name, c.left);
            clean = false;
        }
    if (clean)
        out += "after the stop every slab cache was empty\n";
}

} // namespace

std::string summary_text(const router_summary& s) {
    std::string out;
    ports_table(out, s);
    drops_table(out, s);
    counts_table(out, "packets",
                 {{"originated", s.originated},
                  {"delivered", s.delivered},
                  {"fragmented", s.fragmented},
                  {"fragments created", s.fragments_created},
                  {"copies", s.copies},
                  {"held", s.held}});
    const rt_cache_totals& c = s.route_cache;
    counts_table(out, "route cache",
                 {{"hits", c.hits},
                  {"misses", c.misses},
                  {"allocated", c.allocated},
                  {"collected", c.collected},
                  {"entries", c.entries}});
    slab_table(out, s);
    if (std::string why; !balanced(s, &why))
        out += fmt::format("\nNOT BALANCED: {}\n", why);
    return out;
}

// --- for programs
// ---------------------------------------------------------------------------------

nlohmann::ordered_json summary_json(const router_summary& s) {
    using json = nlohmann::ordered_json;
    json ports = json::object(), drops = json::object(), slab = json::array();
    for (const port_summary& p : s.ports)
        ports[p.name] = {{"rx_packets", p.rx_packets},
                         {"tx_packets", p.tx_packets},
                         {"rx_bytes", p.rx_bytes},
                         {"tx_bytes", p.tx_bytes}};
    for (const auto& [reason, count] : s.drops)
        drops[reason] = count;
    for (const slab_summary& c : s.slab)
        slab.push_back({{"name", c.name},
                        {"active_objs", s.stopped ? c.left : c.active_objs},
                        {"num_objs", c.num_objs},
                        {"objsize", c.objsize}});
    const rt_cache_totals& c = s.route_cache;
    return {{"ports", ports},
            {"drops", drops},
            {"originated", s.originated},
            {"fragmented", s.fragmented},
            {"fragments_created", s.fragments_created},
            {"delivered", s.delivered},
            {"copies", s.copies},
            {"held", s.held},
            {"route_cache",
             {{"hits", c.hits},
              {"misses", c.misses},
              {"allocated", c.allocated},
              {"collected", c.collected},
              {"entries", c.entries}}},
            {"slab", slab}};
}

std::string write_summary_json(const router_summary& s, const std::string& path) {
    std::string text = summary_json(s).dump(1) + "\n";
    FILE* out = std::fopen(path.c_str(), "wb");
    bool good = out && std::fwrite(text.data(), text.size(), 1, out) == 1 && std::fflush(out) == 0;
    std::string why = good ? "" : fmt::format("{}: {}", path, std::strerror(errno));
    if (out)
        std::fclose(out);
    return why;
}

} // namespace slabfwd
