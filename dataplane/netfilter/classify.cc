// SPDX-License-Identifier: BSD-3-Clause
//
// Building the classes of each dimension by one sweep over its values, and asking them.
#include "dataplane/netfilter/classify.h"

#include <algorithm>
#include <bit>
#include <unordered_map>

namespace slabfwd {

namespace {

constexpr size_t SMALL = 16; ///< so few intervals are searched as they are
constexpr uint32_t TOP_SHIFT = 16;

/// The set of rules at one point of the sweep, with a hash that says whether it came before.
struct active_set {
    std::vector<uint64_t> words;
    uint64_t summary[classifier::SUMMARY_WORDS] = {};
    uint64_t hash = 0;

    explicit active_set(size_t rules) : words((rules + 63) / 64) {}
    void toggle(uint32_t rule) {
        uint32_t w = rule / 64;
        words[w] ^= uint64_t(1) << rule % 64;
        uint64_t bit = uint64_t(1) << w % 64;
        if (words[w])
            summary[w / 64] |= bit;
        else
            summary[w / 64] &= ~bit;
        uint64_t z = (rule + 1) * 0x9e3779b97f4a7c15u; // splitmix64
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        hash ^= z ^ (z >> 31);
    }
    bool equals(const rule_class& c, const std::vector<uint64_t>& all) const {
        for (unsigned s = 0; s < classifier::SUMMARY_WORDS; ++s) {
            if (c.summary[s] != summary[s])
                return false;
            uint32_t at = c.at[s];
            for (uint64_t m = summary[s]; m; m &= m - 1)
                if (all[at++] != words[s * 64 + unsigned(std::countr_zero(m))])
                    return false;
        }
        return true;
    }
    rule_class store(std::vector<uint64_t>& all) const {
        rule_class c;
        for (unsigned s = 0; s < classifier::SUMMARY_WORDS; ++s) {
            c.summary[s] = summary[s];
            c.at[s] = uint32_t(all.size());
            for (uint64_t m = summary[s]; m; m &= m - 1)
                all.push_back(words[s * 64 + unsigned(std::countr_zero(m))]);
        }
        return c;
    }
};

struct event {
    uint64_t at; ///< beyond 32 bits: the end of the last interval
    uint32_t rule;
};

/// Number of values of a dimension that are looked up directly; 0: too many.
uint32_t domain(nf_dim dim) {
    switch (dim) {
    case NF_SPORT:
    case NF_DPORT:
        return NF_NO_PORT + 1;
    case NF_PROTO:
    case NF_IIF:
    case NF_OIF:
        return 256;
    default:
        return 0;
    }
}

} // namespace

classifier::classifier(std::span<const nf_rule_box> rules) : rules_(unsigned(rules.size())) {
    for (unsigned d = 0; d < NF_DIMS; ++d)
        if (std::ranges::any_of(rules, [&](const nf_rule_box& r) { return !r[d].all; }))
            add_dimension(rules, nf_dim(d));
    if (dims_.empty() && rules_) { // asks nothing: one class with all rules
        active_set all(rules_);
        for (uint32_t r = 0; r < rules_; ++r)
            all.toggle(r);
        classes_.push_back(all.store(words_));
    }
}

void classifier::add_dimension(std::span<const nf_rule_box> rules, nf_dim dim) {
    std::vector<event> events;
    active_set active(rules.size());
    for (uint32_t r = 0; r < rules.size(); ++r) {
        if (rules[r][dim].all)
            active.toggle(r);
        for (const nf_interval& i : rules[r][dim].in) {
            events.push_back({i.lo, r});
            events.push_back({uint64_t(i.hi) + 1, r});
        }
    }
    std::ranges::sort(events, {}, &event::at);

    dimension d;
    d.dim = dim;
    std::unordered_multimap<uint64_t, uint32_t> known;
    auto emit = [&](uint32_t start) {
        auto [from, to] = known.equal_range(active.hash);
        for (; from != to && !active.equals(classes_[from->second], words_); ++from)
            ;
        uint32_t number = from != to ? from->second : uint32_t(classes_.size());
        if (from == to) {
            classes_.push_back(active.store(words_));
            known.emplace(active.hash, number);
        }
        if (!d.classes.empty() && d.classes.back() == number)
            return;
        d.starts.push_back(start);
        d.classes.push_back(number);
    };
    size_t e = 0;
    for (; e < events.size() && events[e].at == 0; ++e)
        active.toggle(events[e].rule);
    emit(0);
    while (e < events.size() && events[e].at <= UINT32_MAX) {
        const uint64_t at = events[e].at;
        for (; e < events.size() && events[e].at == at; ++e)
            active.toggle(events[e].rule);
        emit(uint32_t(at));
    }

    if (d.starts.size() > SMALL && domain(dim)) {
        const uint32_t base = d.classes.empty() ? 0 : *std::ranges::min_element(d.classes);
        d.direct.resize(domain(dim));
        for (size_t i = 0, v = 0; v < d.direct.size(); ++v) {
            while (i + 1 < d.starts.size() && d.starts[i + 1] <= v)
                ++i;
            d.direct[v] = uint16_t(d.classes[i] - base);
        }
        d.top.assign(1, base);
    } else if (d.starts.size() > SMALL) {
        d.top.resize((1u << (32 - TOP_SHIFT)) + 1);
        for (uint32_t i = 0, v = 0; v < d.top.size() - 1; ++v) {
            while (i + 1 < d.starts.size() && d.starts[i + 1] <= v << TOP_SHIFT)
                ++i;
            d.top[v] = i;
        }
        d.top.back() = uint32_t(d.starts.size()) - 1;
    }
    dims_.push_back(std::move(d));
}

inline uint32_t classifier::dimension::find(uint32_t value) const {
    if (!direct.empty())
        return top[0] + direct[value];
    // The last interval that begins at or before value, between lo and hi.
    uint32_t lo = 0, hi = uint32_t(starts.size()) - 1;
    if (!top.empty()) {
        lo = top[value >> TOP_SHIFT];
        hi = top[(value >> TOP_SHIFT) + 1];
    }
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo + 1) / 2;
        if (starts[mid] <= value)
            lo = mid;
        else
            hi = mid - 1;
    }
    return classes[lo];
}

void classifier::begin(const nf_key& key, cursor& at) const {
    at.n = 0;
    for (const dimension& d : dims_)
        at.c[at.n++] = &classes_[d.find(key.v[d.dim])];
    if (dims_.empty() && !classes_.empty())
        at.c[at.n++] = &classes_[0];
}

int classifier::next(const cursor& at, unsigned from) const {
    if (from >= rules_)
        return -1;
    const unsigned summaries = (rules_ + 64 * 64 - 1) / (64 * 64);
    unsigned w = from / 64;
    for (unsigned s = w / 64; s < summaries; ++s) {
        uint64_t m = ~uint64_t(0);
        if (s == w / 64)
            m <<= w % 64;
        for (unsigned d = 0; d < at.n; ++d)
            m &= at.c[d]->summary[s];
        for (; m; m &= m - 1) {
            const unsigned b = unsigned(std::countr_zero(m));
            const uint64_t below = (uint64_t(1) << b) - 1;
            uint64_t word = ~uint64_t(0);
            if (s * 64 + b == w)
                word <<= from % 64;
            for (unsigned d = 0; d < at.n; ++d) {
                const rule_class& c = *at.c[d];
                word &= words_[c.at[s] + unsigned(std::popcount(c.summary[s] & below))];
            }
            if (word)
                return int((s * 64 + b) * 64 + unsigned(std::countr_zero(word)));
        }
    }
    return -1;
}

size_t classifier::memory() const {
    size_t bytes = classes_.size() * sizeof(rule_class) + words_.size() * sizeof(uint64_t);
    for (const dimension& d : dims_)
        bytes += (d.starts.size() + d.classes.size() + d.top.size()) * sizeof(uint32_t) +
                 d.direct.size() * sizeof(uint16_t);
    return bytes;
}

} // namespace slabfwd
