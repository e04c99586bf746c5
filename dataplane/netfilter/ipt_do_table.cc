// SPDX-License-Identifier: BSD-3-Clause
//
// Running packets through a compiled table.
// Doors: ipt_do_table, ipt_hook, ipt_hook_burst. Threads: any slot, under RCU.
#include "dataplane/netfilter/ipt_do_table.h"

#include <bit>

#include <rte_prefetch.h>

#include "neigh/bits.h"
#include "neigh/packet_work.h"
#include "neigh/softnet.h"
#include "route/route.h"

namespace slabfwd {

namespace {

/// Chains one in another; more are refused when rules are made. Origin: NFT_JUMP_STACK_SIZE.
constexpr unsigned JUMP_STACK = 16;

nf_key key_of(xt_action_param& par) {
    const iphdr* iph = par.iph;
    nf_key k;
    k.v[NF_SADDR] = be32_to_cpu(iph->saddr);
    k.v[NF_DADDR] = be32_to_cpu(iph->daddr);
    k.v[NF_PROTO] = iph->protocol;
    k.v[NF_SPORT] = k.v[NF_DPORT] = NF_NO_PORT;
    k.v[NF_IIF] = par.in ? uint32_t(par.in->ifindex) : 0;
    k.v[NF_OIF] = par.out ? uint32_t(par.out->ifindex) : 0;
    if (iph->protocol == IPPROTO_TCP_ || iph->protocol == IPPROTO_UDP_) {
        uint16_t port;
        if (xt_payload_port(par, 0, &port))
            k.v[NF_SPORT] = port;
        if (xt_payload_port(par, 2, &port))
            k.v[NF_DPORT] = port;
    }
    return k;
}

/// What every rule asks about the IP header. Origin: ip_packet_match.
bool ip_packet_match(const xt_action_param& par, const ipt_ip& i) {
    const iphdr* iph = par.iph;
    auto inv = [&](uint8_t flag) { return bool(i.invflags & flag); };
    if (((iph->saddr & i.smsk) != i.src) != inv(IPT_INV_SRCIP) ||
        ((iph->daddr & i.dmsk) != i.dst) != inv(IPT_INV_DSTIP))
        return false;
    if (i.proto && (iph->protocol != i.proto) != inv(IPT_INV_PROTO))
        return false;
    if ((i.flags & IPT_F_FRAG) && (par.fragoff == 0) != inv(IPT_INV_FRAG))
        return false;
    if (i.iniface[0] && !ipt_ifname_match(i.iniface, par.in) != inv(IPT_INV_VIA_IN))
        return false;
    return !i.outiface[0] || !ipt_ifname_match(i.outiface, par.out) == inv(IPT_INV_VIA_OUT);
}

bool rule_matches(const ct_chain& c, const ct_rule& r, xt_action_param& par) {
    if (!r.ip_any && !ip_packet_match(par, r.ip))
        return false;
    for (unsigned m = 0; m < r.nr_matches; ++m) {
        const ct_match& x = c.matches[r.match_at + m];
        if (!x.match(par, x.info, x.state))
            return false;
    }
    return true;
}

/// A place in a chain: the rules of one segment that are still to come.
struct position {
    const ct_chain* chain;
    uint32_t segment; ///< index of the current one
    uint32_t from;    ///< in the segment: the next rule to look at
    classifier::cursor cursor;
};

/// The packet's walk over the chains of one table.
class walk {
public:
    walk(const ct_table& table, xt_action_param& par, xt_slot_counters& counters)
        : table_(table), par_(par), counters_(counters) {}

    unsigned run(const ct_chain& base, const nf_key* key) {
        if (key) {
            key_ = *key;
            have_key_ = true;
        }
        enter({&base, 0, 0, {}});
        return run();
    }
    /// The same from a later rule of the first segment, which has no classifier.
    unsigned run(const ct_chain& base, uint32_t from) {
        at_ = {&base, 0, from, {}};
        return run();
    }
    /// The same with the classes of the first segment looked up already.
    unsigned run(const ct_chain& base, const nf_key& key, const classifier::cursor& first) {
        key_ = key;
        have_key_ = true;
        at_ = {&base, 0, 0, first};
        return run();
    }

private:
    const nf_key& key() {
        if (!have_key_)
            key_ = key_of(par_);
        have_key_ = true;
        return key_;
    }
    void enter(const position& p) {
        at_ = p;
        begin_segment();
    }
    void begin_segment() {
        if (at_.segment < at_.chain->segments.size())
            if (const classifier* index = at_.chain->segments[at_.segment].index.get())
                index->begin(key(), at_.cursor);
    }
    /// The next rule of the chain that might match; null: its end.
    const ct_rule* candidate() {
        const ct_chain& c = *at_.chain;
        while (at_.segment < c.segments.size()) {
            const ct_segment& s = c.segments[at_.segment];
            uint32_t i = at_.from;
            if (s.index) // -1 becomes a large number
                i = uint32_t(s.index->next(at_.cursor, s.from + i)) - s.from;
            if (i < s.count) {
                at_.from = i + 1;
                return &c.rules[s.first + i];
            }
            ++at_.segment;
            at_.from = 0;
            begin_segment();
        }
        return nullptr;
    }
    unsigned run() {
        const unsigned verdict = look();
        packet_work_seen(*this_softnet(), packet_work::rules, looked_);
        return verdict;
    }
    unsigned look() {
        for (;;) {
            const ct_rule* r = candidate();
            ++looked_;
            if (!r) {
                if (depth_) { // back behind the rule that led here
                    at_ = stack_[--depth_];
                    continue;
                }
                return policy();
            }
            if (!rule_matches(*at_.chain, *r, par_)) {
                if (unlikely(par_.hotdrop))
                    return NF_DROP;
                continue;
            }
            counters_.add(r->counter, 1, par_.len);
            if (unsigned verdict = execute(*r); verdict != XT_CONTINUE)
                return verdict;
        }
    }
    unsigned policy() {
        const ct_chain& base = *table_.base[par_.hook];
        counters_.add(base.policy_counter, 1, par_.len);
        return base.policy;
    }
    unsigned execute(const ct_rule& r) {
        switch (r.verdict) {
        case ipt_verdict::NONE:
            return XT_CONTINUE;
        case ipt_verdict::ACCEPT:
            return NF_ACCEPT;
        case ipt_verdict::DROP:
            return NF_DROP;
        case ipt_verdict::RETURN:
            if (!depth_)
                return policy();
            at_ = stack_[--depth_];
            return XT_CONTINUE;
        case ipt_verdict::JUMP:
            if (unlikely(depth_ == JUMP_STACK))
                return NF_DROP;
            stack_[depth_++] = at_;
            [[fallthrough]];
        case ipt_verdict::GOTO:
            enter({table_.chains[r.chain].get(), 0, 0, {}});
            return XT_CONTINUE;
        case ipt_verdict::TARGET:
            return r.target(par_, r.info);
        }
        return NF_DROP;
    }

    const ct_table& table_;
    xt_action_param& par_;
    xt_slot_counters& counters_;
    bool have_key_ = false;
    unsigned depth_ = 0, looked_ = 0;
    nf_key key_;
    position at_;
    position stack_[JUMP_STACK];
};

xt_slot_counters& my_counters(const ct_table& table) {
    return table.counters->slot(this_softnet()->cpu);
}

/// What routing asks about a packet made here. Origin: ipt_mangle_out.
struct route_key {
    be32_t saddr, daddr;
    uint32_t mark;
    uint8_t tos;
    explicit route_key(const sk_buff* skb)
        : saddr(ip_hdr(skb)->saddr), daddr(ip_hdr(skb)->daddr), mark(skb->mark),
          tos(ip_hdr(skb)->tos) {}
    friend bool operator==(const route_key&, const route_key&) = default;
};

/// What a burst's packets share before their rules are looked at.
struct burst_lookup {
    nf_key key[PACKET_BURST];
    classifier::cursor cursor[PACKET_BURST];
};

void param_of_burst(xt_action_param& par, nf_hook_burst* b, unsigned i) {
    const iphdr* iph = b->iph[i];
    par.n = b->nd_net;
    par.iph = b->iph[i];
    par.skb = *b->skbs >> i & 1 ? skb_from_mbuf(b->m[i]) : nullptr;
    par.burst = b;
    par.index = i;
    par.in = b->in;
    par.out = b->out ? b->out(b, i) : nullptr;
    par.hook = b->hook;
    par.len = b->len(i);
    par.headlen = b->headlen(i);
    par.thoff = uint16_t(iph->hdr_len());
    par.fragoff = be16_to_cpu(iph->frag_off) & IP_OFFSET;
    par.hotdrop = false;
}

/// The end of a base chain for those packets that come to it: its policy, at once.
void policy_burst(const ct_chain& base, xt_slot_counters& counters, nf_hook_burst* b,
                  uint32_t packets) {
    if (!packets)
        return;
    counters.add(base.policy_counter, unsigned(std::popcount(packets)), b->bytes_together(packets));
    if (base.policy != NF_ACCEPT)
        for_each_bit(packets, [&](unsigned i) { b->drop(i); });
}

/// Asks the IP header alone, and does the same with all that it matches.
bool is_simple(const ct_rule& r) {
    return !r.nr_matches && (r.verdict == ipt_verdict::NONE || r.verdict == ipt_verdict::ACCEPT ||
                             r.verdict == ipt_verdict::DROP);
}

/// Those of the packets that a simple rule matches.
uint32_t rule_matches_burst(const ct_rule& r, nf_hook_burst* b, uint32_t packets) {
    if (r.ip_any)
        return packets;
    uint32_t matched = 0;
    for_each_bit(packets, [&](unsigned i) {
        xt_action_param par;
        param_of_burst(par, b, i);
        matched |= uint32_t(ip_packet_match(par, r.ip)) << i;
    });
    return matched;
}

/// The simple rules that a chain begins with, each for the whole burst. Returns who is still there for rule
/// `from`. No packet's fate hangs on another's here, so that the order does not matter.
uint32_t simple_rules_burst(const ct_chain& base, xt_slot_counters& counters, nf_hook_burst* b,
                            uint32_t& from) {
    uint32_t packets = b->live;
    const uint32_t end = base.segments[0].index ? 0 : base.segments[0].count;
    for (; from < end && packets && is_simple(base.rules[from]); ++from) {
        const ct_rule& r = base.rules[from];
        const uint32_t matched = rule_matches_burst(r, b, packets);
        if (!matched)
            continue;
        counters.add(r.counter, unsigned(std::popcount(matched)), b->bytes_together(matched));
        if (r.verdict == ipt_verdict::NONE)
            continue;
        packets &= ~matched;
        if (r.verdict == ipt_verdict::DROP)
            for_each_bit(matched, [&](unsigned i) { b->drop(i); });
    }
    return packets;
}

} // namespace

unsigned ipt_do_table(const ct_table& table, xt_action_param& par) {
    const ct_chain* base = table.base[par.hook];
    if (!base)
        return NF_ACCEPT;
    return walk(table, par, my_counters(table)).run(*base, nullptr);
}

unsigned ipt_hook(void* priv, sk_buff* skb, const nf_hook_state* state) {
    auto& slot = *static_cast<ipt_net::slot*>(priv);
    const ct_table* table = rcu_dereference(slot.compiled);
    if (unlikely(!table))
        return NF_ACCEPT;
    xt_action_param par;
    xt_param_of_skb(par, skb, *state);
    if (state->hook != NF_INET_LOCAL_OUT || !table->mangle)
        return ipt_do_table(*table, par);
    const route_key before(skb);
    unsigned verdict = ipt_do_table(*table, par);
    if (verdict == NF_ACCEPT && route_key(skb) != before)
        if (ip_route_me_harder(*state->nd_net, skb, RTN_UNSPEC) < 0)
            return NF_DROP;
    return verdict;
}

void ipt_hook_burst(void* priv, nf_hook_burst* b) {
    auto& slot = *static_cast<ipt_net::slot*>(priv);
    const ct_table* table = rcu_dereference(slot.compiled);
    const ct_chain* base = table ? table->base[b->hook] : nullptr;
    if (unlikely(!base))
        return;
    xt_slot_counters& counters = my_counters(*table);
    if (base->rules.empty())
        return policy_burst(*base, counters, b, b->live);
    uint32_t from = 0;
    const uint32_t packets = simple_rules_burst(*base, counters, b, from);
    if (from == base->rules.size())
        return policy_burst(*base, counters, b, packets);
    if (!packets)
        return;
    const classifier* index = base->segments[0].index.get();
    burst_lookup at;
    // All packets' classes first, so that their cache misses overlap.
    for_each_bit(index ? b->live : 0, [&](unsigned i) {
        xt_action_param par;
        param_of_burst(par, b, i);
        at.key[i] = key_of(par);
        index->begin(at.key[i], at.cursor[i]);
        for (unsigned d = 0; d < at.cursor[i].n; ++d)
            rte_prefetch0(at.cursor[i].c[d]);
    });
    for_each_bit(packets, [&](unsigned i) {
        xt_action_param par;
        param_of_burst(par, b, i);
        walk w(*table, par, counters);
        unsigned verdict = index ? w.run(*base, at.key[i], at.cursor[i]) : w.run(*base, from);
        if (verdict != NF_ACCEPT)
            b->drop(i);
    });
}

} // namespace slabfwd
