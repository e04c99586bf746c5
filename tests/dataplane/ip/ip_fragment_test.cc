// SPDX-License-Identifier: BSD-3-Clause
//
// Reassembly: any order, duplicates, overlaps, what is corrupt, time-outs, limits; against a model
// that fills a byte map.
#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <numeric>
#include <random>
#include <rapidcheck/gtest.h>

#include "alloc/slabinfo.h"
#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {
namespace {

using enum skb_drop_reason;

/// What is delivered by protocol 253: whole packets from the IP header on.
std::vector<ip_view> delivered;
std::vector<unsigned> delivered_segments;
int collect(sk_buff* skb) {
    skb_push(skb, ip_hdrlen(skb));
    delivered.push_back({to_bytes(skb)});
    delivered_segments.push_back(skb_mbuf(skb)->nb_segs);
    ip_consume(skb);
    return 0;
}

struct Defrag : ::testing::Test {
    ip_test_net t;
    Defrag() {
        delivered.clear();
        delivered_segments.clear();
        inet_add_protocol(t.n, 253, collect);
    }
    ~Defrag() override { t.expect_ip_balanced(); }

    /// Sends bytes [from, to) of a datagram; `to` < 0: up to -to and it is the last one.
    void piece(unsigned from, int to, uint16_t id = 1, uint16_t flags = 0, uint8_t tos = 0) {
        unsigned end = unsigned(std::abs(to));
        ip_spec s{.dst = ip("10.0.0.1"),
                  .proto = 253,
                  .tos = tos,
                  .id = id,
                  .frag_off = uint16_t((from / 8) | (to > 0 ? IP_MF : 0) | flags),
                  .payload = pattern(end - from, from)};
        t.rx(t.p0, ip_packet(s));
    }
    uint64_t held() { return ip_frag_held(t.n); }
    void expect_whole(unsigned len) {
        ASSERT_EQ(delivered.size(), 1u);
        EXPECT_TRUE(delivered[0].ok());
        EXPECT_EQ(delivered[0].payload(), pattern(len));
        EXPECT_EQ(held(), 0u);
        EXPECT_EQ(t.n.ipv4.ip->frags.mem, 0);
    }
};

TEST_F(Defrag, EveryOrderOfFour) {
    int order[] = {0, 1, 2, 3};
    uint16_t id = 0;
    do {
        delivered.clear();
        ++id;
        for (int i : order)
            piece(unsigned(i) * 104, i == 3 ? -400 : (i + 1) * 104, id);
        expect_whole(400);
        EXPECT_EQ(delivered_segments.back(), 4u);
    } while (std::next_permutation(std::begin(order), std::end(order)));
    EXPECT_EQ(t.ip_stat(ipstats_mib::REASMOKS), 24u);
    EXPECT_EQ(t.ip_stat(ipstats_mib::REASMREQDS), 96u);
    EXPECT_EQ(t.balance(balance_stat::delivered), 96u);
}

TEST_F(Defrag, DuplicatesAreIgnored) {
    piece(0, 80);
    piece(0, 80);
    piece(80, 160);
    piece(80, 160);
    piece(0, 160); // within the run of the first two
    piece(0, 80);
    EXPECT_EQ(t.drops(DUP_FRAG), 4u);
    piece(160, -200);
    expect_whole(200);
}

TEST_F(Defrag, OverlapEndsTheDatagram) {
    piece(0, 80);
    piece(160, 240);
    EXPECT_EQ(held(), 2u);
    piece(72, 168);
    EXPECT_EQ(held(), 0u);
    EXPECT_EQ(t.drops(FRAG_INVALID), 3u);
    EXPECT_EQ(t.ip_stat(ipstats_mib::REASM_OVERLAPS), 1u);
    EXPECT_EQ(t.ip_stat(ipstats_mib::REASMFAILS), 1u);
    piece(80, 160); // starts a datagram of its own
    piece(240, -248);
    EXPECT_TRUE(delivered.empty());
}

TEST_F(Defrag, OverlapAtTheEndToo) {
    piece(0, 80);
    piece(40, -200);
    EXPECT_EQ(t.drops(FRAG_INVALID), 2u);
}

TEST_F(Defrag, TwoEndsOrBytesBeyondTheEnd) {
    piece(80, -160, 1);
    piece(80, -168, 1);
    EXPECT_EQ(t.drops(FRAG_INVALID), 2u);
    piece(80, -160, 2);
    piece(160, 240, 2);
    EXPECT_EQ(t.drops(FRAG_INVALID), 4u);
    piece(160, 240, 3);
    piece(80, -160, 3);
    EXPECT_EQ(t.drops(FRAG_INVALID), 6u);
    EXPECT_EQ(t.ip_stat(ipstats_mib::REASMFAILS), 3u);
}

TEST_F(Defrag, EmptyAndOddPieces) {
    piece(0, 0x0 + 4); // cut to a multiple of eight: nothing
    EXPECT_EQ(t.drops(FRAG_INVALID), 1u);
    piece(0, 15, 2); // cut to eight
    piece(8, -12, 2);
    expect_whole(12);
}

TEST_F(Defrag, LongerThan64K) {
    piece(65528, -65560, 1);
    for (unsigned i = 0; i < 65528; i += 1480)
        piece(i, int(std::min(i + 1480, 65528u)), 1);
    EXPECT_TRUE(delivered.empty());
    EXPECT_EQ(held(), 0u);
    EXPECT_EQ(t.ip_stat(ipstats_mib::REASMFAILS), 1u);
}

TEST_F(Defrag, IdProtocolAndAddressesKeepApart) {
    piece(0, 80, 1);
    piece(80, -160, 2);
    EXPECT_EQ(held(), 2u);
    piece(0, 80, 2);
    EXPECT_EQ(delivered.size(), 1u);
    EXPECT_EQ(held(), 1u);
}

void expect_ecn(std::vector<uint8_t> seen, int whole) {
    ip_test_net t;
    inet_add_protocol(t.n, 253, collect);
    delivered.clear();
    for (size_t i = 0; i < seen.size(); ++i) {
        bool last = i + 1 == seen.size();
        t.rx(t.p0, ip_packet({.dst = ip("10.0.0.1"),
                              .proto = 253,
                              .tos = seen[i],
                              .frag_off = uint16_t(i | (last ? 0 : IP_MF)),
                              .payload = pattern(8)}));
    }
    EXPECT_EQ(delivered.size(), whole < 0 ? 0u : 1u);
    if (whole >= 0 && !delivered.empty()) {
        EXPECT_EQ(delivered[0].ip()->tos & 3, whole);
        EXPECT_TRUE(delivered[0].ok());
    }
    t.expect_ip_balanced();
}

TEST(DefragEcn, FieldsAreCombined) {
    expect_ecn({0, 0}, 0);
    expect_ecn({2, 2}, 2);
    expect_ecn({2, 3}, 3);
    expect_ecn({1, 3, 1}, 3);
    expect_ecn({1, 2}, 1); // the first one's
    expect_ecn({0, 3}, -1);
    expect_ecn({2, 0}, -1);
    expect_ecn({3, 3}, 3);
}

TEST_F(Defrag, DontFragmentIsKeptWhenTheLargestHadIt) {
    piece(0, 80, 1, IP_DF);
    piece(80, -160, 1, IP_DF);
    EXPECT_EQ(delivered.at(0).frag_off(), IP_DF);
    piece(0, 80, 2);
    piece(80, -160, 2);
    EXPECT_EQ(delivered.at(1).frag_off(), 0);
}

TEST_F(Defrag, TimeoutTellsTheSenderWhenTheFirstIsThere) {
    piece(0, 80, 1);
    piece(160, 240, 1);
    t.advance_ms(29'900);
    EXPECT_EQ(t.sent_count(), 0u);
    t.advance_ms(200);
    ip_view v = t.sent_one(t.p0);
    EXPECT_EQ(v.icmp()->type, ICMP_TIME_EXCEEDED);
    EXPECT_EQ(v.icmp()->code, ICMP_EXC_FRAGTIME);
    EXPECT_EQ(v.quoted().size(), 100u);
    EXPECT_EQ(v.ip()->saddr, ip("10.0.0.1"));
    EXPECT_EQ(t.drops(FRAG_REASM_TIMEOUT), 2u);
    EXPECT_EQ(t.ip_stat(ipstats_mib::REASMTIMEOUT), 1u);
    EXPECT_EQ(t.ip_stat(ipstats_mib::REASMFAILS), 1u);
    EXPECT_EQ(held(), 0u);
}

TEST_F(Defrag, TimeoutIsSilentWithoutTheFirst) {
    piece(80, 160);
    t.advance_ms(31'000);
    EXPECT_EQ(t.sent_count(), 0u);
    EXPECT_EQ(t.drops(FRAG_REASM_TIMEOUT), 1u);
    piece(0, 80);
    piece(80, -160);
    expect_whole(160);
}

TEST_F(Defrag, IpfragTimeIsTunable) {
    t.n.ipv4.sysctl_ipfrag_time = 2;
    piece(0, 80);
    t.advance_ms(2'100);
    EXPECT_EQ(t.drops(FRAG_REASM_TIMEOUT), 1u);
}

TEST_F(Defrag, MemoryIsBounded) {
    t.n.ipv4.sysctl_ipfrag_high_thresh = 100'000;
    for (uint16_t id = 0; id < 2000; ++id)
        piece(0, 800, id);
    EXPECT_LE(t.n.ipv4.ip->frags.mem, 103'000);
    EXPECT_GT(held(), 20u);
    EXPECT_EQ(held() + t.drops(NOMEM), 2000u);
    t.expect_ip_balanced();
    t.advance_ms(31'000);
    EXPECT_EQ(held(), 0u);
    EXPECT_EQ(t.n.ipv4.ip->frags.mem, 0);
}

TEST_F(Defrag, OffWithoutMemory) {
    t.n.ipv4.sysctl_ipfrag_high_thresh = 0;
    piece(0, 80);
    EXPECT_EQ(t.drops(NOMEM), 1u);
    EXPECT_EQ(t.ip_stat(ipstats_mib::REASMFAILS), 1u);
}

TEST_F(Defrag, TooFarBehindStartsAnew) {
    piece(0, 80, 1);
    for (uint16_t id = 100; id < 170; ++id)
        piece(0, 80, id);
    piece(80, -160, 1); // 71 fragments later: not the same datagram
    EXPECT_TRUE(delivered.empty());
    EXPECT_EQ(t.drops(FRAG_TOO_FAR), 1u);
    EXPECT_EQ(t.ip_stat(ipstats_mib::REASMFAILS), 1u);
}

TEST_F(Defrag, DistanceCanBeSwitchedOff) {
    t.n.ipv4.sysctl_ipfrag_max_dist = 0;
    piece(0, 80, 1);
    for (uint16_t id = 100; id < 170; ++id)
        piece(0, 80, id);
    piece(80, -160, 1);
    EXPECT_EQ(delivered.size(), 1u);
}

TEST_F(Defrag, QueuesLiveInTheirSlab) {
    for (uint16_t id = 0; id < 10; ++id)
        piece(0, 80, id);
    size_t active = 0;
    for (const slabinfo& s : slabinfo_list())
        if (std::string(s.name) == "ip4-frags")
            active = s.active_objs;
    EXPECT_EQ(active, 10u);
}

TEST(DefragEnd, WhatIsHeldIsDroppedAtShutdown) {
    ip_test_net t;
    t.rx(t.p0, ip_packet({.dst = ip("10.0.0.1"), .frag_off = IP_MF, .payload = pattern(80)}));
    EXPECT_EQ(ip_frag_held(t.n), 1u);
    ip_exit(t.n);
    EXPECT_EQ(t.drops(SHUTDOWN), 1u);
    EXPECT_EQ(ip_init(t.n), 0);
}

TEST(DefragChained, PiecesOfManySegments) {
    ip_test_net t;
    inet_add_protocol(t.n, 253, collect);
    delivered.clear();
    for (unsigned i = 0; i < 3; ++i)
        t.rx_chained(t.p0,
                     ip_packet({.dst = ip("10.0.0.1"),
                                .proto = 253,
                                .frag_off = uint16_t(i * 125 | (i < 2 ? IP_MF : 0)),
                                .payload = pattern(1000, i * 1000)}),
                     150);
    ASSERT_EQ(delivered.size(), 1u);
    EXPECT_EQ(delivered[0].payload(), pattern(3000));
}

// --- against a model --------------------------------------------------------------------------

/// The kernel's rule for one datagram: runs of pieces that came in order, a piece within one run is
/// a duplicate, one that touches any other byte that is there ends it all.
struct model {
    std::map<unsigned, unsigned> runs; ///< from -> to
    unsigned tail_run = 0;
    int len = 0;
    bool last_in = false;

    enum result { OK, DUP, BAD, DONE };
    result add(unsigned from, unsigned to, bool last) {
        if (last) {
            if (int(to) < len || (last_in && int(to) != len))
                return BAD;
            last_in = true;
            len = int(to);
        } else if (int(to) > len) {
            if (last_in)
                return BAD;
            len = int(to);
        }
        if (from == to)
            return BAD;
        for (auto [a, b] : runs) {
            if (to <= a || from >= b)
                continue;
            return from >= a && to <= b ? DUP : BAD;
        }
        if (!runs.empty() && runs[tail_run] == from) {
            runs[tail_run] = to;
        } else {
            if (runs.empty() || from > tail_run)
                tail_run = from;
            runs[from] = to;
        }
        unsigned meat = 0;
        for (auto [a, b] : runs)
            meat += b - a;
        return last_in && runs.count(0) && int(meat) == len ? DONE : OK;
    }
};

TEST(DefragModel, RandomPiecesOfOneDatagram) {
    std::mt19937 rng(7);
    unsigned done = 0, bad = 0, dup = 0;
    for (unsigned round = 0; round < 3000; ++round) {
        ip_test_net* t;
        static ip_test_net shared;
        t = &shared;
        if (round == 0)
            inet_add_protocol(t->n, 253, collect);
        t->n.ipv4.sysctl_ipfrag_max_dist = 0;
        model m;
        const unsigned units = 2 + rng() % 12;
        const uint16_t id = uint16_t(round);
        for (unsigned step = 0; step < 60; ++step) {
            unsigned from = rng() % units, to = from + 1 + rng() % 2;
            to = std::min(to, units);
            if (rng() % 50 == 0)
                to = std::min(units + 1, to + 2);
            bool last = to >= units;
            if (from == 0 && last)
                continue; // no fragment
            delivered.clear();
            uint64_t dups = t->drops(DUP_FRAG), invalid = t->drops(FRAG_INVALID);
            model::result want = m.add(from * 8, to * 8, last);
            t->rx(t->p0, ip_packet({.dst = ip("10.0.0.1"),
                                    .proto = 253,
                                    .id = id,
                                    .frag_off = uint16_t(from | (last ? 0 : IP_MF)),
                                    .payload = pattern((to - from) * 8, from * 8)}));
            ASSERT_EQ(t->drops(DUP_FRAG) - dups, want == model::DUP ? 1u : 0u)
                << round << ' ' << step;
            ASSERT_EQ(t->drops(FRAG_INVALID) > invalid, want == model::BAD)
                << round << ' ' << step << ": " << from << " to " << to << " of " << units;
            ASSERT_EQ(delivered.size(), want == model::DONE ? 1u : 0u);
            for (unsigned b = 0; b < fqdir::NR_BUCKETS; ++b)
                for (inet_frag_queue* q = t->n.ipv4.ip->frags.buckets[b].chain; q; q = q->next)
                    ASSERT_TRUE(inet_frag_is_valid(q));
            dup += want == model::DUP;
            if (want == model::DONE) {
                ++done;
                ASSERT_EQ(delivered[0].payload(), pattern(unsigned(m.len)));
                break;
            }
            if (want == model::BAD) {
                ++bad;
                break;
            }
        }
        t->advance_ms(31'000);
        t->take_sent();
        ASSERT_EQ(ip_frag_held(t->n), 0u);
        t->expect_ip_balanced();
    }
    EXPECT_GT(done, 50u);
    EXPECT_GT(bad, 100u);
    EXPECT_GT(dup, 100u);
}

TEST(DefragModel, ManyTinyPiecesInBadOrderStayFast) {
    ip_test_net t;
    inet_add_protocol(t.n, 253, collect);
    t.n.ipv4.sysctl_ipfrag_max_dist = 0;
    t.n.ipv4.sysctl_ipfrag_high_thresh = 1 << 30;
    delivered.clear();
    std::vector<unsigned> order(8000);
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), std::mt19937(3));
    for (unsigned i : order)
        t.rx(t.p0, ip_packet({.dst = ip("10.0.0.1"),
                              .proto = 253,
                              .frag_off = uint16_t(i | (i == 7999 ? 0 : IP_MF)),
                              .payload = pattern(8, i * 8)}));
    ASSERT_EQ(delivered.size(), 1u);
    EXPECT_EQ(delivered[0].payload(), pattern(64000));
}

TEST(DefragRoundTrip, WhatIsFragmentedIsPutTogether) {
    rc::check("fragments made here come together here", [] {
        ip_test_net t;
        inet_add_protocol(t.n, 253, collect);
        delivered.clear();
        const unsigned len = *rc::gen::inRange(1u, 20000u), mtu = *rc::gen::inRange(68u, 9000u);
        dev_set_mtu(t.p1, int(mtu));
        t.n.ipv4.sysctl_ipfrag_max_dist = 0;
        ip_spec s{.proto = 253, .payload = pattern(len)};
        t.rx_chained(t.p0, ip_packet(s), 1500);
        std::vector<ip_view> pieces = t.sent(t.p1);
        std::shuffle(pieces.begin(), pieces.end(), std::mt19937(*rc::gen::arbitrary<unsigned>()));
        for (ip_view& v : pieces) {
            auto* iph = reinterpret_cast<iphdr*>(v.b.data());
            iph->daddr = ip("10.0.0.1");
            fix_checksum(v.b);
            t.rx(t.p0, v.b);
        }
        RC_ASSERT(delivered.size() == 1u);
        RC_ASSERT(delivered[0].payload() == s.payload);
        RC_ASSERT(delivered[0].ok());
        t.expect_ip_balanced();
    });
}

} // namespace
} // namespace slabfwd::test
