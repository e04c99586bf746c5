// SPDX-License-Identifier: BSD-3-Clause
//
// The tables of the packet filter: filter, mangle and raw, their chains and rules as the control
// thread keeps them, and the way from there to what packets run through (ipt_do_table.h). A change
// is checked as a whole, then compiled into a new generation that is published under RCU; a packet
// (or burst) sees one generation or the other, counters go on. Doors: ipt_net (net.nf->ipt) made by
// ipt_tables(); ipt_table's methods; ipt_commit. Threads: all of it belongs to the control thread,
// under net.rtnl. Origin: net/ipv4/netfilter/ip_tables.c and iptable_{filter,mangle,raw}.c; chains
// and their checks as nf_tables has them for iptables (nf_tables_api.c, nft_compat.c; 6.18).
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/netfilter/x_tables.h"
#include "dataplane/netfilter/xt_counters.h"

namespace slabfwd {

struct ct_chain;
struct ct_table;
class ipt_table;

constexpr uint8_t IPT_F_FRAG = 1;
constexpr uint8_t IPT_INV_VIA_IN = 1, IPT_INV_VIA_OUT = 2, IPT_INV_SRCIP = 8, IPT_INV_DSTIP = 16,
                  IPT_INV_FRAG = 32, IPT_INV_PROTO = 64;
constexpr unsigned XT_FUNCTION_MAXNAMELEN = 30;

/// What every rule can ask about the IP header. Origin: struct ipt_ip.
struct ipt_ip {
    be32_t src{}, dst{}, smsk{}, dmsk{};                    ///< src and dst already masked
    char iniface[IFNAMSIZ_] = {}, outiface[IFNAMSIZ_] = {}; ///< a last "+": any name that begins so
    uint16_t proto = 0;                                     ///< 0: any
    uint8_t flags = 0, invflags = 0;
    friend bool operator==(const ipt_ip&, const ipt_ip&) = default;
};
/// Does a device's name (null: no device) fit the pattern of -i or -o? An empty pattern fits all.
bool ipt_ifname_match(const char* pattern, const net_device* dev);

/// A match or target of a rule: its kind and what it was told, in words so that it is aligned.
template <class Kind>
struct xt_entry {
    const Kind* kind = nullptr;
    std::vector<uint64_t> info;
    std::shared_ptr<void> state; ///< shared by copies of the rule
    template <class T>
    T& as() {
        return *reinterpret_cast<T*>(info.data());
    }
    template <class T>
    const T& as() const {
        return *reinterpret_cast<const T*>(info.data());
    }
    template <class T>
    void make(const Kind* k) {
        kind = k;
        info.assign((sizeof(T) + 7) / 8, 0);
        new (info.data()) T;
    }
    friend bool operator==(const xt_entry& a, const xt_entry& b) {
        return a.kind == b.kind && a.info == b.info;
    }
};

enum class ipt_verdict : uint8_t { NONE, ACCEPT, DROP, RETURN, JUMP, GOTO, TARGET };

/// A rule. What it says does not change once it is in a chain; its counters do.
struct ipt_entry {
    ipt_ip ip;
    std::vector<xt_entry<xt_match>> matches;
    ipt_verdict verdict = ipt_verdict::NONE;
    uint32_t chain = 0;         ///< id of the chain of JUMP and GOTO
    xt_entry<xt_target> target; ///< of TARGET
    std::unique_ptr<xt_counter> counter;

    /// The same to the packet (counters apart): what -C and -D look for.
    bool same_as(const ipt_entry& o) const {
        return ip == o.ip && verdict == o.verdict && chain == o.chain && matches == o.matches &&
               target == o.target;
    }
    bool jumps() const { return verdict == ipt_verdict::JUMP || verdict == ipt_verdict::GOTO; }
};
using ipt_rule = std::shared_ptr<ipt_entry>;

struct ipt_chain {
    std::string name;
    uint32_t id = 0;
    int hook = -1; ///< NF_INET_*; -1: a user's chain
    unsigned policy = NF_ACCEPT;
    std::shared_ptr<xt_counter> counter; ///< of the policy
    std::vector<ipt_rule> rules;
    std::map<uint32_t, unsigned> jumps;       ///< chain id -> rules here that lead to it
    std::shared_ptr<const ct_chain> compiled; ///< null: not yet, or devices have changed
    bool dirty = false; ///< its rules or policy are no more what `compiled` was
                        ///< made of
    bool builtin() const { return hook >= 0; }
};

/// Why a change was refused: errno, and what is at fault.
struct ipt_error {
    int err = 0;
    explicit operator bool() const { return err != 0; }
};

/// One table. Copies are independent drafts that share rules and their counters with the original;
/// ipt_commit makes a draft the table.
class ipt_table {
public:
    ipt_table(std::string name, int priority, uint32_t valid_hooks,
              std::shared_ptr<xt_counter_pool> pool);

    const std::string name;
    const int priority;
    const uint32_t valid_hooks; ///< bits of NF_INET_*

    /// In the order of listing: built-in chains by hook, then the others by name.
    std::vector<ipt_chain*> chains();
    /// Null when there is none.
    ipt_chain* find(std::string_view chain);
    ipt_chain* find(uint32_t id);
    ipt_chain* base(unsigned hook);
    /// How many rules lead to the chain.
    unsigned references(const ipt_chain& c) const;
    bool pristine() const; ///< no rule, no user's chain, policies ACCEPT

    /// A rule with its counter; state of its matches made.
    ipt_rule new_rule(ipt_entry&& e) const;

    // Changes. Each is checked: on error nothing has changed.
    /// Puts rules in before rule `at` (0: the first). EINVAL: an extension may not stand there;
    /// EMLINK: a loop, or more than 15 chains deep.
    ipt_error insert(ipt_chain& c, size_t at, std::vector<ipt_rule> rules);
    ipt_error replace(ipt_chain& c, size_t at, ipt_rule rule);
    void erase(ipt_chain& c, size_t at);
    void flush(ipt_chain& c);
    ipt_error new_chain(const std::string& chain); ///< EEXIST
    ipt_error
    delete_chain(const std::string& chain); ///< ENOENT, EBUSY (referenced, built in, not empty)
    ipt_error rename_chain(const std::string& chain, const std::string& to); ///< ENOENT, EEXIST
    void set_policy(ipt_chain& c, unsigned policy);

private:
    /// May c hold rule, from the hooks that reach c? 0 or -errno.
    int check_rule(const ipt_entry& rule, uint32_t hooks) const;
    ipt_error check_graph();
    uint32_t hooks_reaching(const ipt_chain& c) const;
    void changed(ipt_chain& c) { c.dirty = true; }
    void count_jumps(ipt_chain& c, const ipt_entry& rule, int by);

    std::shared_ptr<xt_counter_pool> pool_;
    std::map<uint32_t, ipt_chain> chains_; ///< by id
    std::map<std::string, uint32_t, std::less<>> names_;
    std::array<uint32_t, NF_INET_NUMHOOKS> base_{};
    uint32_t next_id_ = 1;
};

/// The tables of one net.
struct ipt_net {
    net* nd_net;
    std::shared_ptr<xt_counter_pool> counters;
    struct slot {
        std::unique_ptr<ipt_table> table;
        ct_table* compiled = nullptr; ///< RCU; null: its hooks are not registered
        std::array<nf_hook_ops, NF_INET_NUMHOOKS> ops{};
        net* nd_net = nullptr;
        bool dirty = false;
    };
    std::array<slot, 3> tables; ///< raw, mangle, filter
    unsigned batch = 0;
};

/// The tables of n, made when first asked for.
ipt_net& ipt_tables(net& n);
/// By name; null: no such table.
ipt_net::slot* ipt_find_table(net& n, std::string_view name);
/// Brings what was changed in s.table before the packets (at the end of the batch, when one is
/// open).
void ipt_commit(net& n, ipt_net::slot& s);
/// Compiles anew what changes one by one have left in pieces: some milliseconds for a large chain.
/// To be called when nothing has changed for a while.
void ipt_settle(net& n);
/// Makes a draft the table, and commits.
void ipt_replace_table(net& n, ipt_net::slot& s, std::unique_ptr<ipt_table> draft);
/// Between begin and end (nested counts) changes wait for the end: many lines, one generation.
void ipt_batch_begin(net& n);
void ipt_batch_end(net& n);
/// Takes all tables of n down; no worker runs.
void ipt_net_exit(net& n);

} // namespace slabfwd
