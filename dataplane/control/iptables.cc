// SPDX-License-Identifier: BSD-3-Clause
//
// The iptables command: a request is carried out on a table, as a whole or not at all, and the
// table committed. Doors: iptables_command, ipt_execute. Threads: control thread, under net.rtnl.
// Origin of texts and exit statuses: iptables 1.8.9 on nf_tables (nft.c, xshared.c).
#include "dataplane/control/iptables.h"

#include <algorithm>
#include <cstring>

namespace slabfwd {

namespace {

constexpr const char* VERSION = "v1.8.9 (nf_tables)";

constexpr const char* USAGE =
    "Usage: iptables -[ACD] chain rule-specification [options]\n"
    "       iptables -I chain [rulenum] rule-specification [options]\n"
    "       iptables -R chain rulenum rule-specification [options]\n"
    "       iptables -D chain rulenum [options]\n"
    "       iptables -[LS] [chain [rulenum]] [options]\n"
    "       iptables -[FZ] [chain] [options]\n"
    "       iptables -[NX] chain\n"
    "       iptables -E old-chain-name new-chain-name\n"
    "       iptables -P chain target [options]\n"
    "Tables: filter (default), mangle, raw\n"
    "Rule: [!] -s, -d ADDRESS[/MASK][,...]  [!] -p PROTO  [!] -i, -o NAME[+]  [!] -f  -m MATCH\n"
    "      -j TARGET  -g CHAIN  -c PACKETS BYTES\n"
    "Matches: tcp udp icmp multiport iprange ttl length dscp tos mark mac limit comment addrtype\n"
    "         statistic pkttype\n"
    "Targets: ACCEPT DROP RETURN REJECT LOG MARK TOS DSCP TTL TCPMSS CT NOTRACK, user chains\n"
    "Options: -t TABLE  -v  -n  -x  --line-numbers  -w, -W (nothing to wait for)\n";

/// One request on its way through a table.
class execution {
public:
    execution(ipt_context& x, ipt_table& t, const ipt_request& r) : x_(x), t_(t), r_(r) {}

    bool run() {
        switch (r_.verb) {
        case 'A':
        case 'I':
        case 'R':
        case 'D':
        case 'C':
            return rule_verb();
        case 'F':
            return on_chains([&](ipt_chain& c) { t_.flush(c); });
        case 'Z':
            return zero();
        case 'L':
        case 'S':
            return list();
        case 'N':
            return !t_.new_chain(r_.chain) || x_.plain(r_.chain, "Chain already exists.");
        case 'X':
            return delete_chain();
        case 'E':
            return rename_chain();
        case 'P':
            return policy();
        }
        return false;
    }
    bool changes() const { return r_.verb != 'L' && r_.verb != 'S' && r_.verb != 'C'; }

private:
    bool no_chain() { return x_.plain(r_.chain, "No chain/target/match by that name."); }
    /// The kernel's -errno about a rule, as iptables on nf_tables reports it.
    bool refused(const char* what, int err) {
        return x_.error(
            4, r_.jump.empty() ? r_.chain : r_.jump,
            fmt::format(" {} failed ({}): rule in chain {}\n", what, strerror(-err), r_.chain));
    }

    // --- rules

    /// Fills in where a rule leads to.
    bool verdict(ipt_entry& e) {
        if (r_.target) {
            e.verdict = ipt_verdict::TARGET;
            e.target = *r_.target;
            return true;
        }
        if (!r_.is_goto) {
            constexpr struct {
                const char* name;
                ipt_verdict verdict;
            } standard[] = {{"", ipt_verdict::NONE},
                            {"ACCEPT", ipt_verdict::ACCEPT},
                            {"DROP", ipt_verdict::DROP},
                            {"RETURN", ipt_verdict::RETURN}};
            for (const auto& s : standard)
                if (r_.jump == s.name) {
                    e.verdict = s.verdict;
                    return true;
                }
        }
        ipt_chain* to = t_.find(r_.jump);
        if (!to)
            return x_.problem(r_.jump, fmt::format("Chain '{}' does not exist", r_.jump));
        e.verdict = r_.is_goto ? ipt_verdict::GOTO : ipt_verdict::JUMP;
        e.chain = to->id;
        return true;
    }
    /// The rules that the request stands for: one for each pair of addresses.
    bool make_rules() {
        ipt_entry e;
        e.ip = r_.ip;
        e.matches = r_.matches;
        if (!verdict(e))
            return false;
        const ipt_request::address any{};
        auto src = r_.src.empty() ? std::vector{any} : r_.src;
        auto dst = r_.dst.empty() ? std::vector{any} : r_.dst;
        for (const auto& s : src)
            for (const auto& d : dst) {
                ipt_entry one;
                one.ip = e.ip;
                one.matches = e.matches;
                one.verdict = e.verdict;
                one.chain = e.chain;
                one.target = e.target;
                one.ip.src = s.addr;
                one.ip.smsk = s.mask;
                one.ip.dst = d.addr;
                one.ip.dmsk = d.mask;
                rules_.push_back(t_.new_rule(std::move(one)));
                if (r_.counters)
                    rules_.back()->counter->set(*r_.counters);
            }
        return true;
    }
    bool never_matches() const {
        return ((r_.ip.invflags & IPT_INV_SRCIP) && !r_.src[0].mask) ||
               ((r_.ip.invflags & IPT_INV_DSTIP) && !r_.dst[0].mask);
    }
    bool rule_verb() {
        ipt_chain* c = t_.find(r_.chain);
        if (!c)
            return no_chain();
        if (r_.verb == 'D' && r_.rulenum)
            return delete_number(*c);
        if (!make_rules())
            return false;
        if (r_.verb == 'D' || r_.verb == 'C')
            return delete_or_check(*c);
        constexpr const char* what[] = {"RULE_APPEND", "RULE_INSERT", "RULE_REPLACE"};
        const char* verb = what[r_.verb == 'A' ? 0 : r_.verb == 'I' ? 1 : 2];
        if (never_matches())
            return refused(verb, -EINVAL);
        if (r_.verb == 'R')
            return replace(*c, verb);
        size_t at = r_.verb == 'A' ? c->rules.size() : r_.rulenum.value_or(1) - 1;
        if (at > c->rules.size())
            return x_.plain(fmt::format("{}", *r_.rulenum), "Index of insertion too big.");
        ipt_error e = t_.insert(*c, at, std::move(rules_));
        return !e || refused(verb, e.err);
    }
    bool replace(ipt_chain& c, const char* verb) {
        if (rules_.size() != 1)
            return x_.problem(r_.chain, "Replacement rule does not specify a unique address");
        if (*r_.rulenum > c.rules.size())
            return x_.plain(fmt::format("{}", *r_.rulenum), "Index of replacement too big.");
        ipt_error e = t_.replace(c, *r_.rulenum - 1, rules_[0]);
        return !e || refused(verb, e.err);
    }
    bool delete_number(ipt_chain& c) {
        if (*r_.rulenum > c.rules.size())
            return x_.plain(fmt::format("{}", *r_.rulenum), "Index of deletion too big.");
        t_.erase(c, *r_.rulenum - 1);
        return true;
    }
    bool delete_or_check(ipt_chain& c) {
        std::vector<size_t> found; // all of them first: nothing is deleted unless all can be
        for (const ipt_rule& rule : rules_) {
            size_t at = 0;
            while (at < c.rules.size() &&
                   (!c.rules[at]->same_as(*rule) || std::ranges::find(found, at) != found.end()))
                ++at;
            if (at == c.rules.size())
                return x_.plain(r_.chain, "Bad rule (does a matching rule exist in that chain?).");
            found.push_back(at);
        }
        std::ranges::sort(found, std::greater());
        if (r_.verb == 'D')
            for (size_t at : found)
                t_.erase(c, at);
        return true;
    }

    // --- chains

    template <class F>
    bool on_chains(F f) {
        if (r_.chain.empty()) {
            for (ipt_chain* c : t_.chains())
                f(*c);
            return true;
        }
        ipt_chain* c = t_.find(r_.chain);
        if (!c)
            return no_chain();
        f(*c);
        return true;
    }
    void zero_rule(ipt_chain& c, unsigned num) { c.rules[num - 1]->counter->set({}); }
    bool zero() {
        ipt_chain* c = t_.find(r_.chain);
        if (!r_.rulenum || !c)
            return on_chains([&](ipt_chain& chain) {
                if (chain.counter)
                    chain.counter->set({});
                for (unsigned i = 1; i <= chain.rules.size(); ++i)
                    zero_rule(chain, i);
            });
        if (*r_.rulenum > c->rules.size())
            return x_.plain(fmt::format("{}", *r_.rulenum), "Index of counter too big.");
        zero_rule(*c, *r_.rulenum);
        return true;
    }
    bool list() {
        if (!r_.chain.empty() && !t_.find(r_.chain))
            return no_chain();
        x_.c.to.out(r_.verb == 'L' ? ipt_list_text(t_, r_) : ipt_list_rules_text(t_, r_));
        return !r_.zero_too || zero();
    }
    bool delete_chain() {
        if (!r_.chain.empty())
            return delete_one(r_.chain, true);
        std::vector<std::string> names;
        for (ipt_chain* c : t_.chains())
            if (!c->builtin())
                names.push_back(c->name);
        for (const std::string& name : names) // all, or none
            if (!t_.find(name)->rules.empty() || t_.references(*t_.find(name)))
                return busy(name);
        return std::ranges::all_of(names, [&](auto& name) { return delete_one(name, false); });
    }
    bool busy(const std::string& name) {
        return x_.error(4, name,
                        fmt::format(" CHAIN_DEL failed ({}): chain {}\n", strerror(EBUSY), name));
    }
    bool delete_one(const std::string& name, bool) {
        ipt_error e = t_.delete_chain(name);
        return !e || (e.err == -ENOENT ? no_chain() : busy(name));
    }
    bool rename_chain() {
        ipt_error e = t_.rename_chain(r_.chain, r_.new_name);
        return !e || (e.err == -EEXIST ? x_.plain(r_.new_name, "File exists.") : no_chain());
    }
    bool policy() {
        ipt_chain* c = t_.find(r_.chain);
        if (!c || !c->builtin())
            return x_.plain(r_.chain, "Bad built-in chain name.");
        if (r_.policy != "ACCEPT" && r_.policy != "DROP")
            return x_.plain(r_.policy, "Bad policy name. Run `dmesg' for more information.");
        t_.set_policy(*c, r_.policy == "ACCEPT" ? NF_ACCEPT : NF_DROP);
        if (r_.counters)
            c->counter->set(*r_.counters);
        return true;
    }

    ipt_context& x_;
    ipt_table& t_;
    const ipt_request& r_;
    std::vector<ipt_rule> rules_;
};

} // namespace

bool ipt_context::problem(std::string_view word, std::string text) {
    return error(
        2, word,
        fmt::format("{}\nTry `{} -h' or '{} --help' for more information.\n", text, tool, tool));
}

bool ipt_context::error(int status, std::string_view word, std::string text) {
    return c.fail(status, word, fmt::format("{} {}: {}", tool, VERSION, text));
}

bool ipt_context::plain(std::string_view word, std::string_view text) {
    return c.fail(1, word, fmt::format("{}: {}\n", tool, text));
}

bool ipt_execute(ipt_context& x, ipt_table& t, const ipt_request& r, bool* changed) {
    execution e(x, t, r);
    bool ok = e.run();
    *changed |= ok && e.changes();
    return ok;
}

bool iptables_command(command& c, std::span<const std::string> words) {
    ipt_context x{c};
    ipt_request r;
    if (!ipt_parse(x, words, &r))
        return false;
    if (r.verb == 'h' || r.verb == 'V') {
        c.to.out(fmt::format("iptables {}\n{}", VERSION, r.verb == 'h' ? USAGE : ""));
        return true;
    }
    ipt_net::slot* s = ipt_find_table(c.n, r.table);
    if (!s)
        return x.error(3, r.table,
                       fmt::format("table '{}' does not exist\nPerhaps iptables or your kernel "
                                   "needs to be upgraded.\n",
                                   r.table));
    bool changed = false;
    if (!ipt_execute(x, *s->table, r, &changed))
        return false;
    if (changed)
        ipt_commit(c.n, *s);
    return true;
}

} // namespace slabfwd
