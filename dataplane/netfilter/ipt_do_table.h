// SPDX-License-Identifier: BSD-3-Clause
//
// A table as packets run through it: chains of rules made compact, each chain behind a classifier
// (classify.h) that names the rules which a packet can match, in their order. Immutable once
// published. Doors: ct_compile, ipt_do_table, and the two forms of hook that the tables register.
// Threads: compiled by the control thread; read by any slot under RCU; counters are per slot.
// Origin: ipt_do_table (net/ipv4/netfilter/ip_tables.c) and nft_do_chain for what a verdict does.
#pragma once

#include "dataplane/netfilter/classify.h"
#include "dataplane/netfilter/ip_tables.h"

namespace slabfwd {

/// A rule, compact: 128 bytes.
struct ct_rule {
    ipt_ip ip;
    uint32_t counter;
    uint32_t chain;    ///< of JUMP and GOTO: place in ct_table::chains
    uint32_t match_at; ///< first of its matches in ct_chain::matches
    uint16_t nr_matches;
    ipt_verdict verdict;
    bool ip_any; ///< asks nothing of the IP header
    unsigned (*target)(xt_action_param& par, const void* info);
    const void* info;
};

struct ct_match {
    bool (*match)(xt_action_param& par, const void* info, void* state);
    const void* info;
    void* state;
};

/// A run of rules with its classifier; none for a few rules, which are tried one by one. After a
/// change, what is left of a run still uses the classifier of the whole: rule first + i of the
/// chain is its rule from + i.
struct ct_segment {
    uint32_t first, count;
    uint32_t from = 0;
    bool loose = false; ///< came with a change, and waits to be compiled with the rest
    std::shared_ptr<const classifier> index;
};

struct ct_chain {
    std::vector<ct_rule> rules;
    std::vector<ct_match> matches;
    std::vector<ct_segment> segments;
    std::vector<ipt_rule> keep; ///< what the pointers above lead to
    std::shared_ptr<xt_counter> keep_policy;
    unsigned policy;
    uint32_t policy_counter;
    bool ordered; ///< holds a match or target that is

    /// Its segments are as few as can be.
    bool settled() const;
};

/// A generation of a table.
struct ct_table {
    rcu_head rcu;
    std::vector<std::shared_ptr<const ct_chain>> chains; ///< by chain id
    const ct_chain* base[NF_INET_NUMHOOKS];
    std::shared_ptr<xt_counter_pool> counters;
    bool mangle; ///< changed packets of LOCAL_OUT are routed anew
};

/// So many rules are tried one by one; tests set it to 0 or to UINT32_MAX (no classifier at all).
extern uint32_t ct_linear_rules;

/// Compiles a chain for the devices that n has now; `old`, if not null, is what it was compiled to
/// before it changed: classifiers of rules that stayed are used again while they do not become
/// many.
std::shared_ptr<const ct_chain> ct_compile(net& n, const ipt_chain& c,
                                           const ct_chain* old = nullptr);
/// Runs a packet through base chain hook: NF_ACCEPT, NF_DROP or NF_STOLEN.
unsigned ipt_do_table(const ct_table& table, xt_action_param& par);
/// The hook of a table: priv is its ipt_net::slot.
unsigned ipt_hook(void* priv, sk_buff* skb, const nf_hook_state* state);
void ipt_hook_burst(void* priv, nf_hook_burst* b);

} // namespace slabfwd
