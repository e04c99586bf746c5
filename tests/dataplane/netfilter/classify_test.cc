// SPDX-License-Identifier: BSD-3-Clause
//
// The classifier against a linear search: the same rules in the same order, for random rules of
// every kind and packets near their borders; the sizes at which its bitmaps change their shape.
#include <gtest/gtest.h>

#include <random>

#include "dataplane/netfilter/classify.h"

namespace slabfwd::test {
namespace {

bool fits(const nf_rule_box& r, const nf_key& k) {
    for (unsigned d = 0; d < NF_DIMS; ++d) {
        bool in = r[d].all;
        for (const nf_interval& i : r[d].in)
            in |= k.v[d] >= i.lo && k.v[d] <= i.hi;
        if (!in)
            return false;
    }
    return true;
}

std::vector<int> linear(const std::vector<nf_rule_box>& rules, const nf_key& k) {
    std::vector<int> list;
    for (size_t i = 0; i < rules.size(); ++i)
        if (fits(rules[i], k))
            list.push_back(int(i));
    return list;
}

std::vector<int> classified(const classifier& c, const nf_key& k) {
    classifier::cursor at;
    c.begin(k, at);
    std::vector<int> list;
    for (int i = c.next(at, 0); i >= 0; i = c.next(at, unsigned(i) + 1))
        list.push_back(i);
    return list;
}

uint32_t top(unsigned d) {
    return d <= NF_DADDR ? UINT32_MAX : d == NF_SPORT || d == NF_DPORT ? 65535 : 255;
}

nf_values random_values(std::mt19937& rng, unsigned d, unsigned spread) {
    nf_values v;
    if (rng() % 3 == 0)
        return v;
    v.all = false;
    uint32_t lo = (rng() % spread) * (top(d) / spread), hi = lo;
    if (rng() % 2)
        hi = lo + std::min(top(d) - lo, uint32_t(rng() % (uint64_t(top(d) / spread) * 3 + 1)));
    if (rng() % 5) {
        v.in.push_back({lo, hi});
    } else { // all but these
        if (lo > 0)
            v.in.push_back({0, lo - 1});
        if (hi < top(d))
            v.in.push_back({hi + 1, top(d)});
    }
    return v;
}

nf_key random_key(std::mt19937& rng, const std::vector<nf_rule_box>& rules) {
    nf_key k;
    for (unsigned d = 0; d < NF_DIMS; ++d) {
        const nf_values& v = rules[rng() % rules.size()][d];
        k.v[d] = uint32_t(rng()) & top(d);
        if (!v.in.empty() && rng() % 8) { // at or next to a border of some rule
            const nf_interval& i = v.in[rng() % v.in.size()];
            k.v[d] = ((rng() % 2 ? i.lo : i.hi) + rng() % 3 - 1) & top(d);
        }
        if ((d == NF_SPORT || d == NF_DPORT) && rng() % 6 == 0)
            k.v[d] = NF_NO_PORT;
    }
    return k;
}

class Sizes : public ::testing::TestWithParam<unsigned> {};

TEST_P(Sizes, SameRulesAsALinearSearch) {
    std::mt19937 rng(GetParam());
    for (unsigned round = 0; round < (GetParam() > 1000 ? 2u : 20u); ++round) {
        const unsigned spread = 1 + rng() % 300, dims = 1 + rng() % NF_DIMS;
        std::vector<nf_rule_box> rules(GetParam());
        for (nf_rule_box& r : rules)
            for (unsigned d = 0; d < dims; ++d)
                r[d] = random_values(rng, d, spread);
        classifier c(rules);
        for (unsigned n = 0; n < 300; ++n) {
            nf_key k = random_key(rng, rules);
            ASSERT_EQ(classified(c, k), linear(rules, k)) << "round " << round;
        }
    }
}
INSTANTIATE_TEST_SUITE_P(Rules, Sizes,
                         ::testing::Values(1, 2, 5, 63, 64, 65, 128, 500, 4095, 4096, 4097, 9000));

TEST(Classifier, AsManyRulesAsItTakes) {
    std::vector<nf_rule_box> rules(classifier::MAX_RULES);
    for (uint32_t i = 0; i < rules.size(); ++i) {
        rules[i][NF_DADDR] = {false, {{i * 16, i * 16 + 7}}};
        rules[i][NF_DPORT] = {false, {{i % 1000, i % 1000}}};
    }
    classifier c(rules);
    for (uint32_t i = 0; i < rules.size(); i += 7) {
        nf_key k{{0, i * 16 + 3, 6, 1, i % 1000, 1, 2}};
        EXPECT_EQ(classified(c, k), std::vector<int>{int(i)});
        k.v[NF_DADDR] = i * 16 + 8;
        EXPECT_TRUE(classified(c, k).empty());
        k.v[NF_DPORT] = NF_NO_PORT;
        EXPECT_TRUE(classified(c, k).empty());
    }
    EXPECT_LT(c.memory(), size_t(32) << 20);
}

TEST(Classifier, RulesThatAskNothingAllMatch) {
    std::vector<nf_rule_box> rules(70);
    classifier c(rules);
    nf_key k{};
    EXPECT_EQ(classified(c, k), linear(rules, k));
    EXPECT_EQ(classified(c, k).size(), 70u);
    EXPECT_TRUE(classified(classifier(), k).empty());
}

} // namespace
} // namespace slabfwd::test
