// SPDX-License-Identifier: BSD-3-Clause
//
// The classifier: which rules of a chain can a packet match at all? Each rule asks up to seven
// things about a packet (addresses, protocol, ports, devices), each as a set of intervals. Per
// dimension, the values fall into classes whose packets meet the same rules; a class holds the set
// of its rules as a bitmap of which only words that are not zero are stored, under a summary of
// which these are. A packet's candidates are the intersection of its classes' bitmaps, taken lazily
// and in the order of the rules:
//
//   saddr ──► class ─► summary 0100 1000 ...   words ──┐
//   daddr ──► class ─► summary 0110 1000 ...   words ──┤ AND ─► first rule, next rule, ...
//   dport ──► class ─► summary 0001 1000 ...   words ──┘
//
// so that the cost follows the rules that match in every dimension, not those that there are.
// Doors: classifier (build), classifier::begin, classifier::next. Threads: built by the control
// thread, then read only. Origin: ours; bit vectors of Lakshman and Stiliadis (1998), aggregated as
// Baboescu and Varghese did (2001).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace slabfwd {

enum nf_dim : uint8_t { NF_SADDR, NF_DADDR, NF_PROTO, NF_SPORT, NF_DPORT, NF_IIF, NF_OIF, NF_DIMS };
/// Value of a port that is not there: a later fragment, another protocol.
constexpr uint32_t NF_NO_PORT = 65536;

/// What a packet is classified by, host order.
struct nf_key {
    std::array<uint32_t, NF_DIMS> v;
};

struct nf_interval {
    uint32_t lo, hi; ///< both included
};
/// What a rule asks in a dimension: disjoint intervals; any value when `all`.
struct nf_values {
    bool all = true;
    std::vector<nf_interval> in;
};
using nf_rule_box = std::array<nf_values, NF_DIMS>;

class classifier {
public:
    /// At most this many rules: a summary is then four words.
    static constexpr unsigned MAX_RULES = 16384;
    static constexpr unsigned SUMMARY_WORDS = MAX_RULES / 64 / 64;

    /// A packet's classes in the dimensions that the chain asks about. Nothing is set before begin():
    /// a burst has many of them.
    struct cursor {
        const struct rule_class* c[NF_DIMS];
        unsigned n;
    };

    classifier() = default;
    explicit classifier(std::span<const nf_rule_box> rules);

    void begin(const nf_key& key, cursor& at) const;
    /// Number of the first rule from `from` on that no dimension rules out; -1: none.
    int next(const cursor& at, unsigned from) const;
    size_t memory() const;

private:
    struct dimension {
        std::vector<uint32_t> starts;  ///< first value of each interval, ascending, from 0
        std::vector<uint32_t> classes; ///< of each interval
        std::vector<uint32_t> top;     ///< addresses: first interval of each 16-bit prefix
        std::vector<uint16_t> direct;  ///< ports and smaller: value -> class
        uint8_t dim;
        uint32_t find(uint32_t value) const;
    };
    void add_dimension(std::span<const nf_rule_box> rules, nf_dim dim);

    std::vector<dimension> dims_;
    std::vector<rule_class> classes_;
    std::vector<uint64_t> words_;
    unsigned rules_ = 0;
};

/// The rules of a class: words_[at[s] + k] is the k-th of the words of summary[s] that are not
/// zero.
struct rule_class {
    uint64_t summary[classifier::SUMMARY_WORDS];
    uint32_t at[classifier::SUMMARY_WORDS];
};

} // namespace slabfwd
