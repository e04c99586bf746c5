// SPDX-License-Identifier: BSD-3-Clause
//
// From tables as they are kept to tables as packets run through them: compiling chains, publishing
// generations, registering hooks. A table's hooks are registered with its first change, as the
// kernel loads a table's module; from then on its policies count. Doors: ipt_tables, ipt_commit,
// ct_compile. Threads: control thread under net.rtnl; a generation that was replaced goes after a
// grace period, and with it the rules that nobody else holds. A chain that did not change is not
// compiled again; of one that did, the classifiers of rules that stayed go on, until ipt_settle
// finds time.
#include <algorithm>
#include <new>

#include "dataplane/netfilter/ipt_do_table.h"
#include "neigh/softnet.h"

namespace slabfwd {

uint32_t ct_linear_rules = 4;

namespace {

constexpr uint32_t ALL_HOOKS = (1u << NF_INET_NUMHOOKS) - 1;
constexpr struct {
    const char* name;
    int priority;
    uint32_t hooks;
} table_kinds[] = {
    {"raw", NF_IP_PRI_RAW, hook_bit(NF_INET_PRE_ROUTING) | hook_bit(NF_INET_LOCAL_OUT)},
    {"mangle", NF_IP_PRI_MANGLE, ALL_HOOKS},
    {"filter", NF_IP_PRI_FILTER,
     hook_bit(NF_INET_LOCAL_IN) | hook_bit(NF_INET_FORWARD) | hook_bit(NF_INET_LOCAL_OUT)},
};

// --- what a rule asks, as intervals --------------------------------------------------------------

/// Every value of the range but those in [lo, hi], or these.
nf_values values(uint32_t lo, uint32_t hi, bool invert, uint32_t max) {
    nf_values v{.all = false, .in = {}};
    if (!invert) {
        v.in.push_back({lo, hi});
        return v;
    }
    if (lo > 0)
        v.in.push_back({0, lo - 1});
    if (hi < max)
        v.in.push_back({hi + 1, max});
    return v;
}

nf_values address_values(be32_t addr, be32_t mask, bool invert) {
    uint32_t m = be32_to_cpu(mask), lo = be32_to_cpu(addr);
    if (!m && !invert)
        return {};
    if (~m & (~m + 1)) // not a prefix: the rule looks for itself
        return {};
    return values(lo, lo | ~m, invert, UINT32_MAX);
}

nf_values device_values(net& n, const char* pattern, bool invert) {
    if (!pattern[0])
        return {};
    nf_values v{.all = false, .in = {}};
    auto add = [&](uint32_t ifindex, const net_device* dev) {
        if (ipt_ifname_match(pattern, dev) != invert)
            v.in.push_back({ifindex, ifindex});
    };
    add(0, nullptr);
    n.for_each_netdev([&](net_device* dev) { add(uint32_t(dev->ifindex), dev); });
    return v;
}

nf_values port_values(const uint16_t range[2], bool invert) {
    if (range[0] == 0 && range[1] == 0xffff && !invert)
        return {};
    return values(range[0], range[1], invert, 0xffff);
}

/// The ports that a rule's first tcp or udp match asks for.
void add_ports(nf_rule_box& box, const ipt_entry& e) {
    for (const auto& m : e.matches) {
        const uint16_t *spts = nullptr, *dpts = nullptr;
        uint8_t inv = 0;
        if (m.kind->match == xt::tcp_mt) {
            const auto& tcp = m.as<xt_tcp>();
            if (tcp.by_xt()) // may drop packets that it does not match
                return;
            spts = tcp.spts, dpts = tcp.dpts, inv = tcp.invflags;
        } else if (m.kind->match == xt::udp_mt) {
            const auto& udp = m.as<xt_udp>();
            spts = udp.spts, dpts = udp.dpts, inv = udp.invflags;
        } else {
            continue;
        }
        box[NF_SPORT] = port_values(spts, inv & XT_INV_SRCPT);
        box[NF_DPORT] = port_values(dpts, inv & XT_INV_DSTPT);
        return;
    }
}

nf_rule_box box_of(net& n, const ipt_entry& e) {
    const ipt_ip& ip = e.ip;
    auto inv = [&](uint8_t flag) { return bool(ip.invflags & flag); };
    nf_rule_box box;
    box[NF_SADDR] = address_values(ip.src, ip.smsk, inv(IPT_INV_SRCIP));
    box[NF_DADDR] = address_values(ip.dst, ip.dmsk, inv(IPT_INV_DSTIP));
    if (ip.proto)
        box[NF_PROTO] = values(ip.proto, ip.proto, inv(IPT_INV_PROTO), 255);
    box[NF_IIF] = device_values(n, ip.iniface, inv(IPT_INV_VIA_IN));
    box[NF_OIF] = device_values(n, ip.outiface, inv(IPT_INV_VIA_OUT));
    add_ports(box, e);
    return box;
}

// --- chains --------------------------------------------------------------------------------------

ct_rule compile_rule(ct_chain& to, const ipt_rule& from) {
    const ipt_entry& e = *from;
    ct_rule r{};
    r.ip = e.ip;
    r.ip_any = e.ip == ipt_ip{};
    r.counter = e.counter->id();
    r.chain = e.chain;
    r.verdict = e.verdict;
    r.match_at = uint32_t(to.matches.size());
    for (const auto& m : e.matches) {
        to.ordered |= m.kind->ordered;
        if (m.kind->match)
            to.matches.push_back({m.kind->match, m.info.data(), m.state.get()});
    }
    r.nr_matches = uint16_t(to.matches.size() - r.match_at);
    if (e.verdict == ipt_verdict::TARGET) {
        r.target = e.target.kind->target;
        r.info = e.target.info.data();
        to.ordered |= e.target.kind->ordered;
    }
    return r;
}

} // namespace

bool ct_chain::settled() const {
    return std::ranges::none_of(segments, [](const ct_segment& s) { return s.loose || s.from; });
}

namespace {

/// So many segments and rules outside of the large classifiers: then all are compiled anew. While
/// rules are added one by one, that is the price of a rule: as many are compiled each time.
constexpr size_t MAX_SEGMENTS = 16, MAX_LOOSE_RULES = 128;

/// Rules [first, last) with classifiers of their own.
void add_segments(net& n, const ipt_chain& c, size_t first, size_t last, bool loose,
                  std::vector<ct_segment>& to) {
    for (; first < last; first += classifier::MAX_RULES) {
        const size_t count = std::min<size_t>(last - first, classifier::MAX_RULES);
        ct_segment s{uint32_t(first), uint32_t(count), 0, loose, nullptr};
        if (count > ct_linear_rules) {
            std::vector<nf_rule_box> boxes;
            boxes.reserve(count);
            for (size_t i = 0; i < count; ++i)
                boxes.push_back(box_of(n, *c.rules[first + i]));
            s.index = std::make_shared<const classifier>(boxes);
        }
        to.push_back(std::move(s));
    }
}

/// What `old` has of its rules [first, last), which are to begin at rule `at` now.
std::vector<ct_segment> cut_segments(const ct_chain& old, size_t first, size_t last, size_t at) {
    std::vector<ct_segment> cut;
    for (const ct_segment& s : old.segments) {
        const size_t from = std::max<size_t>(first, s.first),
                     to = std::min<size_t>(last, s.first + s.count);
        if (from >= to)
            continue;
        ct_segment part = s;
        part.from = s.from + uint32_t(from - s.first);
        part.first = uint32_t(at + from - first);
        part.count = uint32_t(to - from);
        part.loose |= part.count != s.count;
        cut.push_back(std::move(part));
    }
    return cut;
}

/// The segments of c, which was compiled to `old` before some of its rules came or went: those of
/// the rules before and behind the change stay. Empty: they would be too many.
std::vector<ct_segment> changed_segments(net& n, const ipt_chain& c, const ct_chain& old) {
    auto [mine, theirs] = std::ranges::mismatch(c.rules, old.keep);
    size_t head = size_t(mine - c.rules.begin()), tail = 0;
    const size_t size = c.rules.size(), old_size = old.keep.size();
    while (tail < std::min(size, old_size) - head &&
           c.rules[size - 1 - tail] == old.keep[old_size - 1 - tail])
        ++tail;
    auto front = cut_segments(old, 0, head, 0),
         back = cut_segments(old, old_size - tail, old_size, size - tail);
    // Small neighbours of the change are compiled with it, so that they do not become many.
    while (!front.empty() && front.back().loose && front.back().count <= MAX_LOOSE_RULES) {
        head -= front.back().count;
        front.pop_back();
    }
    while (!back.empty() && back.front().loose && back.front().count <= MAX_LOOSE_RULES) {
        tail -= back.front().count;
        back.erase(back.begin());
    }
    if (size - tail - head > MAX_LOOSE_RULES || front.size() + back.size() >= MAX_SEGMENTS)
        return {};
    add_segments(n, c, head, size - tail, true, front);
    front.insert(front.end(), back.begin(), back.end());
    return front;
}

} // namespace

std::shared_ptr<const ct_chain> ct_compile(net& n, const ipt_chain& c, const ct_chain* old) {
    auto to = std::make_shared<ct_chain>();
    to->policy = c.policy;
    to->keep_policy = c.counter;
    to->policy_counter = c.counter ? c.counter->id() : 0;
    to->ordered = false;
    to->keep = c.rules;
    to->rules.reserve(c.rules.size());
    for (const ipt_rule& r : c.rules)
        to->rules.push_back(compile_rule(*to, r));
    if (old && c.rules.size() > MAX_LOOSE_RULES)
        to->segments = changed_segments(n, c, *old);
    if (to->segments.empty())
        add_segments(n, c, 0, c.rules.size(), false, to->segments);
    return to;
}

// --- generations ---------------------------------------------------------------------------------

namespace {

ct_table* compile_table(net& n, ipt_net& ipt, ipt_table& t) {
    auto* to = new ct_table{};
    to->counters = ipt.counters;
    to->mangle = t.name == "mangle";
    for (ipt_chain* c : t.chains()) {
        if (!c->compiled || c->dirty)
            c->compiled = ct_compile(n, *c, c->compiled.get());
        c->dirty = false;
        if (to->chains.size() <= c->id)
            to->chains.resize(c->id + 1);
        to->chains[c->id] = c->compiled;
        if (c->builtin())
            to->base[c->hook] = c->compiled.get();
    }
    return to;
}

/// Is anything ordered to be met from base chain c on?
bool reaches_ordered(ipt_table& t, ipt_chain& c, std::vector<uint32_t>& seen) {
    if (std::ranges::find(seen, c.id) != seen.end())
        return false;
    seen.push_back(c.id);
    if (c.compiled && c.compiled->ordered)
        return true;
    return std::ranges::any_of(
        c.jumps, [&](const auto& j) { return reaches_ordered(t, *t.find(j.first), seen); });
}

void update_ordered(net& n, ipt_net& ipt) {
    uint32_t bits = 0;
    for (auto& s : ipt.tables)
        for (unsigned hook = 0; s.compiled && hook < NF_INET_NUMHOOKS; ++hook) {
            std::vector<uint32_t> seen;
            if (ipt_chain* c = s.table->base(hook); c && reaches_ordered(*s.table, *c, seen))
                bits |= hook_bit(hook);
        }
    n.nf->ordered.store(bits, std::memory_order_relaxed);
}

void publish(net& n, ipt_net& ipt, ipt_net::slot& s) {
    s.dirty = false;
    ct_table* old = s.compiled;
    ct_table* fresh = compile_table(n, ipt, *s.table);
    rcu_assign_pointer(s.compiled, fresh);
    update_ordered(n, ipt);
    if (!old)
        for (nf_hook_ops& ops : s.ops)
            if (ops.hook)
                nf_register_net_hook(n, &ops);
    if (old)
        call_rcu(&old->rcu, [](rcu_head* h) { delete reinterpret_cast<ct_table*>(h); });
}

/// Rules by device were compiled for the devices that there were.
void device_event(netdev_event event, net_device* dev) {
    if (event != netdev_event::REGISTER && event != netdev_event::UNREGISTER)
        return;
    net& n = *dev->nd_net;
    if (!n.nf || !n.nf->ipt)
        return;
    for (auto& s : n.nf->ipt->tables) {
        if (!s.compiled)
            continue;
        for (ipt_chain* c : s.table->chains())
            c->compiled.reset();
        ipt_commit(n, s);
    }
}

} // namespace

ipt_net& ipt_tables(net& n) {
    if (n.nf->ipt)
        return *n.nf->ipt;
    auto* ipt = new ipt_net{};
    ipt->nd_net = &n;
    ipt->counters = std::make_shared<xt_counter_pool>(n.nr_cpus());
    for (size_t i = 0; i < std::size(table_kinds); ++i) {
        const auto& kind = table_kinds[i];
        ipt_net::slot& s = ipt->tables[i];
        s.nd_net = &n;
        s.table = std::make_unique<ipt_table>(kind.name, kind.priority, kind.hooks, ipt->counters);
        for (unsigned hook = 0; hook < NF_INET_NUMHOOKS; ++hook)
            if (kind.hooks >> hook & 1)
                s.ops[hook] = {ipt_hook, &s, hook, kind.priority, kind.name, ipt_hook_burst};
    }
    n.nf->ipt = ipt;
    register_netdevice_notifier(n, device_event);
    return *ipt;
}

ipt_net::slot* ipt_find_table(net& n, std::string_view name) {
    for (auto& s : ipt_tables(n).tables)
        if (s.table->name == name)
            return &s;
    return nullptr;
}

void ipt_commit(net& n, ipt_net::slot& s) {
    ipt_net& ipt = *n.nf->ipt;
    if (ipt.batch)
        s.dirty = true;
    else
        publish(n, ipt, s);
}

void ipt_settle(net& n) {
    ipt_net* ipt = n.nf ? n.nf->ipt : nullptr;
    if (!ipt || ipt->batch)
        return;
    for (auto& s : ipt->tables) {
        if (!s.compiled)
            continue;
        bool any = false;
        for (ipt_chain* c : s.table->chains())
            if (c->compiled && !c->compiled->settled()) {
                c->compiled.reset();
                any = true;
            }
        if (any)
            ipt_commit(n, s);
    }
}

void ipt_replace_table(net& n, ipt_net::slot& s, std::unique_ptr<ipt_table> draft) {
    s.table = std::move(draft);
    ipt_commit(n, s);
}

void ipt_batch_begin(net& n) {
    ++ipt_tables(n).batch;
}

void ipt_batch_end(net& n) {
    ipt_net& ipt = *n.nf->ipt;
    if (--ipt.batch)
        return;
    for (auto& s : ipt.tables)
        if (s.dirty)
            publish(n, ipt, s);
}

void ipt_net_exit(net& n) {
    ipt_net* ipt = n.nf->ipt;
    if (!ipt)
        return;
    for (auto& s : ipt->tables)
        delete s.compiled;
    delete ipt;
    n.nf->ipt = nullptr;
}

} // namespace slabfwd
