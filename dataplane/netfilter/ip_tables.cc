// SPDX-License-Identifier: BSD-3-Clause
//
// Tables as the control thread keeps them: editing, and the checks that a change has to pass.
// Doors: the methods of ipt_table.
#include "dataplane/netfilter/ip_tables.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <set>

#include "dataplane/netfilter/ipt_do_table.h"

namespace slabfwd {

namespace {

constexpr const char* base_names[NF_INET_NUMHOOKS] = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT",
                                                      "POSTROUTING"};
/// A chain may lie so deep below a base chain. Origin: nft_chain_validate.
constexpr unsigned MAX_DEPTH = 15;

} // namespace

bool ipt_ifname_match(const char* pattern, const net_device* dev) {
    const char* name = dev ? dev->name : "";
    for (;; ++pattern, ++name) {
        if (*pattern == '+' && !pattern[1])
            return true;
        if (*pattern != *name)
            return false;
        if (!*pattern)
            return true;
    }
}

ipt_table::ipt_table(std::string name_, int priority_, uint32_t hooks,
                     std::shared_ptr<xt_counter_pool> pool)
    : name(std::move(name_)), priority(priority_), valid_hooks(hooks), pool_(std::move(pool)) {
    for (unsigned hook = 0; hook < NF_INET_NUMHOOKS; ++hook) {
        if (!(hooks >> hook & 1))
            continue;
        ipt_chain& c = chains_[next_id_];
        c.name = base_names[hook];
        c.id = next_id_++;
        c.hook = int(hook);
        c.counter = std::make_shared<xt_counter>(pool_);
        names_[c.name] = base_[hook] = c.id;
    }
}

std::vector<ipt_chain*> ipt_table::chains() {
    std::vector<ipt_chain*> list;
    for (uint32_t id : base_)
        if (id)
            list.push_back(&chains_.at(id));
    for (auto& [chain, id] : names_)
        if (!chains_.at(id).builtin())
            list.push_back(&chains_.at(id));
    return list;
}

ipt_chain* ipt_table::find(std::string_view chain) {
    auto at = names_.find(chain);
    return at == names_.end() ? nullptr : &chains_.at(at->second);
}

ipt_chain* ipt_table::find(uint32_t id) {
    auto at = chains_.find(id);
    return at == chains_.end() ? nullptr : &at->second;
}

ipt_chain* ipt_table::base(unsigned hook) {
    return base_[hook] ? &chains_.at(base_[hook]) : nullptr;
}

unsigned ipt_table::references(const ipt_chain& c) const {
    unsigned n = 0;
    for (auto& [id, other] : chains_)
        if (auto at = other.jumps.find(c.id); at != other.jumps.end())
            n += at->second;
    return n;
}

bool ipt_table::pristine() const {
    return std::ranges::all_of(chains_, [](const auto& c) {
        return c.second.builtin() && c.second.rules.empty() && c.second.policy == NF_ACCEPT;
    });
}

ipt_rule ipt_table::new_rule(ipt_entry&& e) const {
    auto rule = std::make_shared<ipt_entry>(std::move(e));
    rule->counter = std::make_unique<xt_counter>(pool_);
    for (auto& m : rule->matches)
        if (m.kind->state)
            m.state = m.kind->state(m.info.data());
    return rule;
}

uint32_t ipt_table::hooks_reaching(const ipt_chain& c) const {
    uint32_t hooks = 0;
    for (uint32_t id : base_) {
        std::set<uint32_t> seen;
        std::function<bool(uint32_t)> reaches = [&](uint32_t from) {
            if (from == c.id)
                return true;
            if (!seen.insert(from).second)
                return false;
            return std::ranges::any_of(chains_.at(from).jumps,
                                       [&](const auto& j) { return reaches(j.first); });
        };
        if (id && reaches(id))
            hooks |= hook_bit(unsigned(chains_.at(id).hook));
    }
    return hooks;
}

int ipt_table::check_rule(const ipt_entry& rule, uint32_t hooks) const {
    auto check = [&](const auto& x) {
        const auto& kind = *x.kind;
        if (kind.table && name != kind.table)
            return -EINVAL;
        if (kind.hooks && (hooks & ~kind.hooks))
            return -EINVAL;
        if (kind.proto && (rule.ip.proto != kind.proto || (rule.ip.invflags & IPT_INV_PROTO)))
            return -EINVAL;
        return kind.checkentry ? kind.checkentry(x.info.data(), hooks) : 0;
    };
    for (const auto& m : rule.matches)
        if (int err = check(m))
            return err;
    if (rule.verdict != ipt_verdict::TARGET)
        return 0;
    if (rule.target.kind->target == xt::reject_tg &&
        rule.target.as<ipt_reject_info>().with == ipt_reject_with::TCP_RESET &&
        (rule.ip.proto != IPPROTO_TCP_ || (rule.ip.invflags & IPT_INV_PROTO)))
        return -EINVAL;
    return check(rule.target);
}

/// Loops, depth, and extensions where they may not be, over all chains that a packet can reach.
/// Origin: nft_table_validate.
ipt_error ipt_table::check_graph() {
    std::map<uint32_t, unsigned> depth; // greatest depth at which the chain was looked at
    std::map<uint32_t, uint32_t> hooks;
    std::function<bool(uint32_t, unsigned)> descend = [&](uint32_t id, unsigned at) {
        if (at > MAX_DEPTH)
            return false;
        if (auto seen = depth.find(id); seen != depth.end() && seen->second >= at)
            return true;
        depth[id] = at;
        return std::ranges::all_of(chains_.at(id).jumps,
                                   [&](const auto& j) { return descend(j.first, at + 1); });
    };
    for (uint32_t id : base_)
        if (id && !descend(id, 0))
            return {-EMLINK};
    for (auto& [id, c] : chains_) {
        uint32_t reached = hooks_reaching(c);
        for (const ipt_rule& r : c.rules)
            if (reached)
                if (int err = check_rule(*r, reached))
                    return {err};
    }
    return {};
}

void ipt_table::count_jumps(ipt_chain& c, const ipt_entry& rule, int by) {
    if (!rule.jumps())
        return;
    unsigned& n = c.jumps[rule.chain];
    n = unsigned(int(n) + by);
    if (!n)
        c.jumps.erase(rule.chain);
}

ipt_error ipt_table::insert(ipt_chain& c, size_t at, std::vector<ipt_rule> rules) {
    const uint32_t hooks = hooks_reaching(c);
    for (const ipt_rule& r : rules) {
        if (int err = check_rule(*r, hooks))
            return {err};
        if (r->jumps() && find(r->chain)->builtin())
            return {-EOPNOTSUPP};
    }
    for (const ipt_rule& r : rules)
        count_jumps(c, *r, 1);
    if (std::ranges::any_of(rules, [](const ipt_rule& r) { return r->jumps(); }))
        if (ipt_error e = check_graph()) {
            for (const ipt_rule& r : rules)
                count_jumps(c, *r, -1);
            return e;
        }
    c.rules.insert(c.rules.begin() + ptrdiff_t(at), rules.begin(), rules.end());
    changed(c);
    return {};
}

ipt_error ipt_table::replace(ipt_chain& c, size_t at, ipt_rule rule) {
    ipt_rule old = c.rules[at];
    erase(c, at);
    if (ipt_error e = insert(c, at, {std::move(rule)})) {
        count_jumps(c, *old, 1);
        c.rules.insert(c.rules.begin() + ptrdiff_t(at), old);
        return e;
    }
    return {};
}

void ipt_table::erase(ipt_chain& c, size_t at) {
    count_jumps(c, *c.rules[at], -1);
    c.rules.erase(c.rules.begin() + ptrdiff_t(at));
    changed(c);
}

void ipt_table::flush(ipt_chain& c) {
    c.rules.clear();
    c.jumps.clear();
    changed(c);
}

ipt_error ipt_table::new_chain(const std::string& chain) {
    if (names_.contains(chain))
        return {-EEXIST};
    uint32_t id = 1; // the lowest that is free, so that generations stay small
    while (chains_.contains(id))
        ++id;
    ipt_chain& c = chains_[id];
    c.name = chain;
    c.id = id;
    names_[chain] = id;
    return {};
}

ipt_error ipt_table::delete_chain(const std::string& chain) {
    ipt_chain* c = find(chain);
    if (!c)
        return {-ENOENT};
    if (c->builtin() || !c->rules.empty() || references(*c))
        return {-EBUSY};
    names_.erase(chain);
    chains_.erase(c->id);
    return {};
}

ipt_error ipt_table::rename_chain(const std::string& chain, const std::string& to) {
    ipt_chain* c = find(chain);
    if (names_.contains(to))
        return {-EEXIST};
    if (!c || c->builtin())
        return {-ENOENT};
    names_.erase(chain);
    names_[to] = c->id;
    c->name = to;
    return {};
}

void ipt_table::set_policy(ipt_chain& c, unsigned policy) {
    c.policy = policy;
    changed(c);
}

} // namespace slabfwd
