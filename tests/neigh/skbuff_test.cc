// SPDX-License-Identifier: BSD-3-Clause
//
// sk_buff over chains of segments, against flat copies of the same bytes.
#include "neigh/skbuff.h"

#include <gtest/gtest.h>
#include <random>

#include "neigh/softnet.h"
#include "tests/support/test_net.h"

namespace slabfwd {
namespace {

using test::bytes;

/// `data` as a chain with the given piece sizes (room of each segment: 256).
sk_buff* chain(const bytes& data, const std::vector<unsigned>& pieces) {
    rte_mbuf* head = test::heap_mbuf_chain(unsigned(256 * pieces.size()), 256);
    size_t done = 0;
    rte_mbuf* m = head;
    for (unsigned n : pieces) {
        memcpy(rte_pktmbuf_mtod(m, void*), data.data() + done, n);
        m->data_len = uint16_t(n);
        done += n;
        m = m->next;
    }
    head->pkt_len = uint32_t(done);
    sk_buff* skb = skb_from_mbuf(head);
    skb_init(skb, nullptr, 0);
    return skb;
}

bytes counting(size_t n) {
    bytes b(n);
    for (size_t i = 0; i < n; ++i)
        b[i] = uint8_t(i * 7 + 1);
    return b;
}

unsigned segments(const sk_buff* skb) {
    unsigned n = 0;
    for (rte_mbuf* m = skb_mbuf(skb); m; m = m->next)
        ++n;
    EXPECT_EQ(n, skb_mbuf(skb)->nb_segs);
    return n;
}

TEST(skbuff, may_pull_brings_bytes_into_the_first_segment) {
    test::test_net t;
    const bytes data = counting(120);
    sk_buff* skb = chain(data, {10, 20, 90});
    EXPECT_TRUE(pskb_may_pull(skb, 10));
    EXPECT_EQ(segments(skb), 3u);
    EXPECT_TRUE(pskb_may_pull(skb, 30));
    EXPECT_EQ(segments(skb), 2u);
    EXPECT_TRUE(pskb_may_pull(skb, 45));
    EXPECT_EQ(skb_headlen(skb), 45u);
    EXPECT_FALSE(pskb_may_pull(skb, 121));
    EXPECT_EQ(test::to_bytes(skb), data);
    EXPECT_TRUE(pskb_may_pull(skb, 120));
    EXPECT_EQ(segments(skb), 1u);
    EXPECT_EQ(test::to_bytes(skb), data);
    consume_skb(skb);

    const bytes large = counting(400);
    skb = chain(large, {200, 200}); // 256 bytes of room
    EXPECT_TRUE(pskb_may_pull(skb, 256));
    EXPECT_FALSE(pskb_may_pull(skb, 257));
    EXPECT_EQ(test::to_bytes(skb), large);
    consume_skb(skb);
}

TEST(skbuff, random_operations_against_flat_bytes) {
    test::test_net t;
    std::mt19937 rng(3);
    for (int round = 0; round < 2000; ++round) {
        std::vector<unsigned> pieces(1 + rng() % 4);
        size_t total = 0;
        for (unsigned& n : pieces)
            total += n = 1 + rng() % 100;
        bytes data = counting(total);
        sk_buff* skb = chain(data, pieces);
        for (int op = 0; op < 6; ++op) {
            const unsigned len = skb_len(skb);
            switch (rng() % 4) {
            case 0: {
                const unsigned cut = rng() % (len + 20);
                skb_trim(skb, cut);
                if (cut < data.size())
                    data.resize(cut);
                break;
            }
            case 1: {
                const unsigned n = len ? rng() % len : 0;
                const rte_mbuf* m = skb_mbuf(skb);
                const bool room = n <= unsigned(m->buf_len - m->data_off);
                ASSERT_EQ(pskb_may_pull(skb, n), room);
                if (!room)
                    break;
                skb_pull(skb, n);
                data.erase(data.begin(), data.begin() + n);
                break;
            }
            case 2: {
                const unsigned off = rng() % (len + 1), n = rng() % (len - off + 1);
                ASSERT_EQ(csum_fold(skb_checksum(skb, off, n, 0)),
                          csum_fold(csum_partial(data.data() + off, n, 0)));
                uint8_t buf[512];
                ASSERT_TRUE(skb_copy_bits(skb, off, buf, n));
                ASSERT_EQ(memcmp(buf, data.data() + off, n), 0);
                ASSERT_FALSE(skb_copy_bits(skb, off, buf, len - off + 1));
                break;
            }
            case 3: {
                sk_buff* copy = skb_copy(skb);
                ASSERT_EQ(test::to_bytes(copy), data);
                consume_skb(copy);
                break;
            }
            }
            ASSERT_EQ(test::to_bytes(skb), data);
            ASSERT_EQ(skb_len(skb), data.size());
            segments(skb);
        }
        consume_skb(skb);
    }
}

TEST(skbuff, copy_keeps_headers_and_marks_but_no_route) {
    test::test_net t;
    net_device* p0 = t.add_port("p0");
    bytes frame =
        test::arp_frame(test::mac("02:aa:00:00:00:00"), test::mac("02:bb:00:00:00:02"), {});
    sk_buff* skb = test::make_rx_skb(frame, p0);
    eth_type_trans(skb, p0);
    skb->mark = 7;
    skb->dst = reinterpret_cast<dst_entry*>(skb);
    sk_buff* copy = skb_copy(skb);
    EXPECT_EQ(copy->mark, 7u);
    EXPECT_EQ(copy->dst, nullptr);
    EXPECT_EQ(copy->dev, p0);
    EXPECT_EQ(memcmp(eth_hdr(copy), frame.data(), ETH_HLEN), 0);
    EXPECT_EQ(skb_network_header(copy), skb_data(copy));
    EXPECT_EQ(test::to_bytes(copy), test::to_bytes(skb));
    consume_skb(copy);
    skb->dst = nullptr;
    consume_skb(skb);

    const bytes large = counting(5000); // over several segments
    skb = test::make_skb(large, p0);
    copy = skb_copy(skb);
    EXPECT_EQ(test::to_bytes(copy), large);
    consume_skb(copy);
    test::heap_skbs_fail(0, 1);
    EXPECT_EQ(skb_copy(skb), nullptr);
    consume_skb(skb);
}

TEST(skbuff, a_drop_is_counted_traced_and_shown) {
    struct watcher : packet_tracer, drop_monitor {
        std::vector<std::string> lines;
        std::vector<skb_drop_reason> reasons;
    } w;
    w.event = [](packet_tracer* self, const sk_buff*, const char* function, const char* text) {
        static_cast<watcher*>(self)->lines.push_back(std::string(function) + ": " + text);
    };
    w.dropped = [](drop_monitor* self, const sk_buff* skb, skb_drop_reason reason) {
        EXPECT_EQ(skb_len(skb), 36u);
        static_cast<watcher*>(self)->reasons.push_back(reason);
    };
    test::test_net t;
    net_device* p0 = t.add_port("p0");
    this_softnet()->tracer = &w;
    this_softnet()->drop_mon = &w;
    kfree_skb_reason(t.inject(test::make_skb(test::udp_packet({1}, {2}), p0)),
                     skb_drop_reason::IP_CSUM);
    kfree_skb_reason(nullptr, skb_drop_reason::IP_CSUM);
    this_softnet()->tracer = nullptr;
    this_softnet()->drop_mon = nullptr;
    EXPECT_EQ(t.drops(skb_drop_reason::IP_CSUM), 1u);
    EXPECT_EQ(w.reasons, std::vector{skb_drop_reason::IP_CSUM});
    EXPECT_EQ(w.lines, std::vector<std::string>{"kfree_skb_reason: dropped: IP_CSUM"});
}

} // namespace
} // namespace slabfwd
