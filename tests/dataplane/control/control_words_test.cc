// SPDX-License-Identifier: BSD-3-Clause
//
// Splitting lines as sh does, values, JSON layouts, packet summaries.
#include <array>
#include <cstdlib>
#include <cstring>
#include <gmock/gmock.h>
#include <rapidcheck.h>

#include "dataplane/control/printer.h"
#include "dataplane/control/trace_format.h"
#include "dataplane/control/values.h"
#include "dataplane/control/words.h"
#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Words, SplitAsShDoes) {
    EXPECT_THAT(*split_words("ip route  add\t10.0.0.0/8"),
                ElementsAre("ip", "route", "add", "10.0.0.0/8"));
    EXPECT_THAT(*split_words("  \t "), IsEmpty());
    EXPECT_THAT(*split_words("# all of it"), IsEmpty());
    EXPECT_THAT(*split_words("a b#c # d"), ElementsAre("a", "b#c"));
    EXPECT_THAT(*split_words("a 'b c' \"d e\"f g\\ h"), ElementsAre("a", "b c", "d ef", "g h"));
    EXPECT_THAT(*split_words("'' \"\""), ElementsAre("", ""));
    EXPECT_THAT(*split_words("'a;$b' \"c|d'\" \\$e \"\\$f\\g\""),
                ElementsAre("a;$b", "c|d'", "$e", "$f\\g"));
    EXPECT_THAT(*split_words("a\\\nb"), ElementsAre("ab"));
}

TEST(Words, RefusesWhatShWouldDoMoreWith) {
    for (const char* line : {"a $b", "a;b", "a | b", "a & b", "a < b", "a > b", "a `b`", "a (b)",
                             "\"$x\"", "\"`x`\""}) {
        auto r = split_words(line);
        ASSERT_FALSE(r) << line;
        EXPECT_THAT(r.error(),
                    HasSubstr(std::string("\"") + line[strcspn(line, "$;|&<>`()")] + "\""))
            << line;
    }
    EXPECT_THAT(split_words("a 'b").error(), HasSubstr("unterminated quote"));
    EXPECT_THAT(split_words("a \"b").error(), HasSubstr("unterminated quote"));
    EXPECT_FALSE(split_words(std::string_view("a\0b", 3)));
}

TEST(Words, ContinuationLines) {
    EXPECT_TRUE(line_continues("ip route \\"));
    EXPECT_FALSE(line_continues("ip route \\\\"));
    EXPECT_FALSE(line_continues("# comment \\"));
    EXPECT_FALSE(line_continues("ip route"));
}

/// The shell itself is the model: words quoted at random come back as they were.
TEST(Words, QuotedWordsComeBack) {
    rc::check([] {
        auto words = *rc::gen::container<std::vector<std::string>>(rc::gen::container<std::string>(
            rc::gen::elementOf(std::string("ab #$;|&<>`()\\\"'*~\t"))));
        std::string line;
        for (const std::string& w : words) {
            line += " '";
            for (char c : w)
                line += c == '\'' ? std::string("'\\''") : std::string(1, c);
            line += "'";
        }
        RC_ASSERT(*split_words(line) == words);
    });
}

TEST(Words, NeverCrashes) {
    rc::check([](const std::string& line) {
        auto words = split_words(line);
        line_continues(line);
        RC_ASSERT(words || !words.error().empty());
    });
}

TEST(Values, Numbers) {
    EXPECT_EQ(parse_number("10", 100), 10u);
    EXPECT_EQ(parse_number("0x10", 100), 16u);
    EXPECT_EQ(parse_number("010", 100), 8u);
    EXPECT_EQ(parse_number("0", 100), 0u);
    EXPECT_EQ(parse_number("10", 100, 16), 16u);
    for (const char* bad :
         {"", "-1", "+1", "101", "1x", "x", "0x", "08", "99999999999999999999999", " 1"})
        EXPECT_FALSE(parse_number(bad, 100)) << bad;
}

TEST(Values, Prefixes) {
    auto text = [](const char* word) {
        auto p = parse_prefix(word);
        return p ? format_ipv4(p->addr) + "/" + std::to_string(p->bitlen) : "none";
    };
    EXPECT_EQ(text("10.1.2.3"), "10.1.2.3/32");
    EXPECT_EQ(text("10.44/16"), "10.44.0.0/16");
    EXPECT_EQ(text("10.0.0.0/255.0.0.0"), "10.0.0.0/8");
    EXPECT_EQ(text("default"), "0.0.0.0/0");
    EXPECT_EQ(text("0/0"), "0.0.0.0/0");
    for (const char* bad :
         {"10.0.0.0/33", "10.0.0.256", "10.0.0.0/", "/8", "10.0.0.0.0", "a", "",
          "10.0.0.0/255.0.255.0", "fe80::1", "10..0.0", "10.0.0.0/-1", "10.0.0.0/8/8"})
        EXPECT_EQ(text(bad), "none") << bad;
    rc::check([](uint32_t addr, uint8_t len) {
        std::string word = format_ipv4(cpu_to_be32(addr)) + "/" + std::to_string(len % 33);
        auto p = parse_prefix(word);
        RC_ASSERT(p && be32_to_cpu(p->addr) == addr && p->bitlen == len % 33 && p->has_len);
    });
}

TEST(Values, Macs) {
    uint8_t bytes[16];
    std::string bad;
    EXPECT_EQ(parse_mac("02:0:ff:10:1:2", bytes, &bad), 6);
    EXPECT_EQ(format_mac(bytes), "02:00:ff:10:01:02");
    EXPECT_EQ(parse_mac("02:00", bytes, &bad), 2);
    EXPECT_EQ(parse_mac("02:zz:00:00:00:01", bytes, &bad), -1);
    EXPECT_EQ(bad, "zz");
    EXPECT_EQ(parse_mac("", bytes, &bad), -1);
    EXPECT_EQ(parse_mac("1:2:3:4:5:6:7:8:9:a:b:c:d:e:f:10:11", bytes, &bad), -1);
}

TEST(Values, NamesBothWays) {
    for (unsigned i = 0; i < 256; ++i) {
        if (auto number = route_type_number(route_type_name(uint8_t(i))); number) {
            EXPECT_EQ(*number, i);
        }
        EXPECT_EQ(table_number(table_name(i)), i);
    }
    EXPECT_EQ(dsfield_name(0x10), "0x10");
    EXPECT_EQ(dsfield_name(0x28), "AF11");
    EXPECT_EQ(scope_name(253), "link");
    EXPECT_EQ(protocol_name(77), "77");
    EXPECT_EQ(protocol_name(2, true), "2");
}

/// As `ip -p -j` lays it out.
TEST(Json, Layouts) {
    json v = json::array({{{"dst", "default"},
                           {"flags", json::array()},
                           {"metrics", json::array({{{"mtu", 1300}}})}},
                          {{"flow", {{"from", "3"}}}, {"state", json::array({"A", "B"})}}});
    EXPECT_EQ(
        pretty_json(v),
        "[ {\n        \"dst\": \"default\",\n        \"flags\": [ ],\n        \"metrics\": [ {\n"
        "                \"mtu\": 1300\n            } ]\n    },{\n        \"flow\": {\n"
        "            \"from\": \"3\"\n        },\n        \"state\": [ \"A\",\"B\" ]\n    } ]");
    for (bool pretty : {false, true}) {
        control_result r;
        string_output to(r);
        {
            printer p(to, true, pretty, false);
            for (const json& e : v) {
                p.begin();
                p.object() = e;
                p.end();
            }
        }
        EXPECT_EQ(r.out, (pretty ? pretty_json(v) : v.dump()) + "\n");
    }
}

TEST(Trace, Summaries) {
    using namespace test;
    ip_spec s;
    s.payload = udp_datagram(s, 1000, 53, pattern(4));
    EXPECT_EQ(ip_packet_summary(ip_packet(s)),
              "10.0.0.2 > 10.0.1.2 UDP 1000 > 53 ttl 64 id 1234 len 32");
    s.proto = IPPROTO_ICMP_;
    s.payload = icmp_message(8, 0, 0x00070002, {});
    s.frag_off = IP_DF;
    EXPECT_EQ(ip_packet_summary(ip_packet(s)),
              "10.0.0.2 > 10.0.1.2 ICMP echo request id 7 seq 2 ttl 64 id 1234 len 28 DF");
    bytes frame(14);
    EXPECT_THAT(packet_summary(std::span<const uint8_t>(frame)), HasSubstr("EtherType 0000"));
    // Cut anywhere, it says what it can and reads no further.
    bytes whole = ip_packet(s);
    for (size_t len = 0; len <= whole.size(); ++len) {
        auto cut = std::make_unique<uint8_t[]>(len);
        memcpy(cut.get(), whole.data(), len);
        EXPECT_FALSE(ip_packet_summary({cut.get(), len}).empty());
        EXPECT_FALSE(packet_summary(std::span<const uint8_t>(cut.get(), len)).empty());
    }
}

} // namespace
} // namespace slabfwd
