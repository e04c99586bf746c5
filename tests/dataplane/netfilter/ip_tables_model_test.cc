// SPDX-License-Identifier: BSD-3-Clause
//
// Whole tables against a model: random chains of random rules are run over by random packets; each
// verdict, and at the end the counters of every rule and policy, have to be those of a plain walk
// over the rules as they stand, written here anew. Chains are compiled with and without
// classifiers.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "dataplane/netfilter/ipt_do_table.h"
#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {
namespace {

struct model {
    ipt_table& t;
    std::map<const ipt_entry*, xt_counters> rules;
    xt_counters policy;

    struct packet {
        be32_t s, d;
        uint8_t proto, ttl;
        uint16_t sport, dport;
        const net_device *in, *out;
        uint32_t len;
    };

    static bool prefix(be32_t a, be32_t addr, be32_t mask) {
        for (int bit = 0; bit < 32; ++bit)
            if ((be32_to_cpu(mask) >> bit & 1) &&
                (be32_to_cpu(a) >> bit & 1) != (be32_to_cpu(addr) >> bit & 1))
                return false;
        return true;
    }
    static bool device(std::string pattern, const net_device* dev) {
        if (pattern.empty())
            return true;
        std::string name = dev ? dev->name : "";
        if (pattern.back() == '+')
            return name.starts_with(pattern.substr(0, pattern.size() - 1));
        return name == pattern;
    }
    static bool fits(const ipt_entry& e, const packet& p) {
        auto inv = [&](uint8_t f) { return bool(e.ip.invflags & f); };
        bool ok = prefix(p.s, e.ip.src, e.ip.smsk) != inv(IPT_INV_SRCIP);
        ok &= prefix(p.d, e.ip.dst, e.ip.dmsk) != inv(IPT_INV_DSTIP);
        ok &= !e.ip.proto || (p.proto == e.ip.proto) != inv(IPT_INV_PROTO);
        ok &= !e.ip.iniface[0] || device(e.ip.iniface, p.in) != inv(IPT_INV_VIA_IN);
        ok &= !e.ip.outiface[0] || device(e.ip.outiface, p.out) != inv(IPT_INV_VIA_OUT);
        for (const auto& m : e.matches) {
            if (m.kind == xt_find_match("udp")) {
                const auto& u = m.as<xt_udp>();
                ok &= (p.sport >= u.spts[0] && p.sport <= u.spts[1]) !=
                      bool(u.invflags & XT_INV_SRCPT);
                ok &= (p.dport >= u.dpts[0] && p.dport <= u.dpts[1]) !=
                      bool(u.invflags & XT_INV_DSTPT);
            } else {
                ok &= p.ttl > m.as<ipt_ttl>().ttl;
            }
        }
        return ok;
    }
    /// NF_ACCEPT, NF_DROP; XT_CONTINUE: the chain has ended or returned.
    unsigned chain(const ipt_chain& c, const packet& p) {
        for (const ipt_rule& r : c.rules) {
            if (!fits(*r, p))
                continue;
            ++rules[r.get()].pcnt;
            rules[r.get()].bcnt += p.len;
            unsigned v = XT_CONTINUE;
            switch (r->verdict) {
            case ipt_verdict::ACCEPT:
                return NF_ACCEPT;
            case ipt_verdict::DROP:
                return NF_DROP;
            case ipt_verdict::RETURN:
                return XT_CONTINUE;
            case ipt_verdict::GOTO:
                return chain(*t.find(r->chain), p);
            case ipt_verdict::JUMP:
                v = chain(*t.find(r->chain), p);
                break;
            default:
                break;
            }
            if (v != XT_CONTINUE)
                return v;
        }
        return XT_CONTINUE;
    }
    unsigned run(const packet& p) {
        const ipt_chain& base = *t.base(NF_INET_FORWARD);
        unsigned v = chain(base, p);
        if (v != XT_CONTINUE)
            return v;
        ++policy.pcnt;
        policy.bcnt += p.len;
        return base.policy;
    }
};

be32_t address(std::mt19937& rng) {
    return cpu_to_be32(0x0a000000 | (rng() % 4) << 16 | (rng() % 4) << 8 | rng() % 8);
}

ipt_entry random_rule(std::mt19937& rng, const std::vector<uint32_t>& below) {
    constexpr uint32_t masks[] = {0xffffffff, 0xffffff00, 0xffff0000, 0xff000000,
                                  0xff00ffff, 0xfffffffc, 0};
    constexpr const char* names[] = {"", "", "p0", "p1", "p+", "q0"};
    ipt_entry e;
    auto mask = [&] { return cpu_to_be32(masks[rng() % std::size(masks)]); };
    if (rng() % 2)
        e.ip.smsk = mask(), e.ip.src = address(rng) & e.ip.smsk;
    if (rng() % 2)
        e.ip.dmsk = mask(), e.ip.dst = address(rng) & e.ip.dmsk;
    strcpy(e.ip.iniface, names[rng() % std::size(names)]);
    strcpy(e.ip.outiface, names[rng() % std::size(names)]);
    constexpr uint16_t protos[] = {0, 17, 17, 17, 6, 1};
    e.ip.proto = protos[rng() % std::size(protos)];
    for (uint8_t f : {IPT_INV_SRCIP, IPT_INV_DSTIP, IPT_INV_PROTO, IPT_INV_VIA_IN, IPT_INV_VIA_OUT})
        if (rng() % 6 == 0)
            e.ip.invflags |= f;
    if (e.ip.proto == 17 && !(e.ip.invflags & IPT_INV_PROTO) && rng() % 3) {
        auto& m = e.matches.emplace_back();
        m.make<xt_udp>(xt_find_match("udp"));
        auto& u = m.as<xt_udp>();
        u.dpts[0] = uint16_t(rng() % 12);
        u.dpts[1] = uint16_t(u.dpts[0] + rng() % 3);
        u.invflags = rng() % 5 == 0 ? XT_INV_DSTPT : 0;
    }
    if (rng() % 4 == 0) {
        auto& m = e.matches.emplace_back();
        m.make<ipt_ttl>(xt_find_match("ttl"));
        m.as<ipt_ttl>() = {IPT_TTL_GT, uint8_t(rng() % 4 * 60)};
    }
    switch (rng() % 8) {
    case 0:
        e.verdict = ipt_verdict::ACCEPT;
        break;
    case 1:
        e.verdict = ipt_verdict::DROP;
        break;
    case 2:
        e.verdict = ipt_verdict::RETURN;
        break;
    case 3:
    case 4:
        if (!below.empty()) {
            e.verdict = rng() % 3 ? ipt_verdict::JUMP : ipt_verdict::GOTO;
            e.chain = below[rng() % below.size()];
        }
        break;
    default:
        break; // counts and goes on
    }
    return e;
}

/// A random packet through the compiled table and through the model.
bool same_verdict(ip_test_net& n, ipt_net::slot& s, model& m, std::mt19937& rng) {
    model::packet p{address(rng),
                    address(rng),
                    17,
                    uint8_t(rng() % 4 * 60 + 30),
                    uint16_t(rng() % 12),
                    uint16_t(rng() % 14),
                    rng() % 2 ? n.p0 : n.p1,
                    rng() % 2 ? n.p0 : n.p1,
                    0};
    bytes b = udp_packet(p.s, p.d, rng() % 20, p.ttl, p.sport, p.dport);
    p.len = uint32_t(b.size());
    sk_buff* skb = n.inject(make_skb(b, n.p0));
    xt_action_param par;
    xt_param_of_skb(par, skb,
                    {NF_INET_FORWARD, const_cast<net_device*>(p.in),
                     const_cast<net_device*>(p.out), &n.n});
    const bool same = ipt_do_table(*s.compiled, par) == m.run(p);
    kfree_skb_reason(skb, skb_drop_reason::NETFILTER_DROP);
    return same;
}

class Model : public ::testing::TestWithParam<uint32_t> {};

TEST_P(Model, VerdictsAndCountersOfEveryRule) {
    const uint32_t linear_before = ct_linear_rules;
    ct_linear_rules = GetParam();
    std::mt19937 rng(7);
    for (unsigned round = 0; round < 12; ++round) {
        ip_test_net n;
        n.enter(n.n.control_cpu());
        ipt_net::slot& s = *ipt_find_table(n.n, "filter");
        ipt_table& t = *s.table;
        std::vector<uint32_t> ids;
        for (int i = 0; i < 5; ++i) { // a chain leads to those made before it
            std::string name = "c" + std::to_string(i);
            ASSERT_FALSE(t.new_chain(name));
            ipt_chain& c = *t.find(name);
            for (unsigned r = rng() % 30; r; --r)
                ASSERT_FALSE(
                    t.insert(c, rng() % (c.rules.size() + 1), {t.new_rule(random_rule(rng, ids))}));
            ids.push_back(c.id);
        }
        ipt_chain& base = *t.base(NF_INET_FORWARD);
        for (unsigned r = 5 + rng() % (round % 4 == 0 ? 400 : 40); r; --r)
            ASSERT_FALSE(t.insert(base, base.rules.size(), {t.new_rule(random_rule(rng, ids))}));
        t.set_policy(base, rng() % 2 ? NF_ACCEPT : NF_DROP);
        ipt_commit(n.n, s);
        n.enter(0);

        model m{t, {}, {}};
        for (unsigned i = 0; i < 1500; ++i)
            ASSERT_TRUE(same_verdict(n, s, m, rng)) << "round " << round;
        for (ipt_chain* c : t.chains())
            for (size_t i = 0; i < c->rules.size(); ++i)
                ASSERT_EQ(c->rules[i]->counter->get(), m.rules[c->rules[i].get()])
                    << c->name << " " << i + 1;
        EXPECT_EQ(base.counter->get(), m.policy);
    }
    ct_linear_rules = linear_before;
}
// Rules come and go one by one: classifiers of those that stay are used on, in pieces.
TEST_P(Model, AfterEveryChangeOfALargeChain) {
    const uint32_t linear_before = ct_linear_rules;
    ct_linear_rules = GetParam();
    std::mt19937 rng(8);
    ip_test_net n;
    n.enter(n.n.control_cpu());
    ipt_net::slot& s = *ipt_find_table(n.n, "filter");
    ipt_table& t = *s.table;
    ipt_chain& c = *t.base(NF_INET_FORWARD);
    std::vector<ipt_rule> all; // their addresses name them in the model
    auto make = [&] { return all.emplace_back(t.new_rule(random_rule(rng, {}))); };
    for (unsigned r = 0; r < 600; ++r)
        ASSERT_FALSE(t.insert(c, c.rules.size(), {make()}));
    ipt_commit(n.n, s);
    model m{t, {}, {}};
    bool was_in_pieces = false;
    for (unsigned i = 0; i < 400; ++i) {
        n.enter(n.n.control_cpu());
        const size_t at = rng() % c.rules.size();
        switch (i < 200 ? 0 : rng() % 4) { // first as a script does: one behind the other
        case 0:
            ASSERT_FALSE(t.insert(c, c.rules.size(), {make(), make()}));
            break;
        case 1:
            ASSERT_FALSE(t.insert(c, at, {make()}));
            break;
        case 2:
            ASSERT_FALSE(t.replace(c, at, make()));
            break;
        default:
            for (unsigned k = rng() % 4; k && at < c.rules.size(); --k)
                t.erase(c, at);
        }
        ipt_commit(n.n, s);
        was_in_pieces |= !c.compiled->settled();
        if (i % 50 == 49) {
            ipt_settle(n.n);
            ASSERT_TRUE(c.compiled->settled());
        }
        n.enter(0);
        for (unsigned k = 0; k < 20; ++k)
            ASSERT_TRUE(same_verdict(n, s, m, rng)) << "change " << i;
    }
    EXPECT_TRUE(was_in_pieces);
    for (const ipt_rule& rule : c.rules)
        ASSERT_EQ(rule->counter->get(), m.rules[rule.get()]);
    ct_linear_rules = linear_before;
}
INSTANTIATE_TEST_SUITE_P(Compiled, Model, ::testing::Values(0u, 4u, UINT32_MAX));

} // namespace
} // namespace slabfwd::test
