// SPDX-License-Identifier: BSD-3-Clause
//
// What rules do to packets, one at a time through a router: each match, each target, chains and
// policies, routing by mark; counters; what REJECT, TCPMSS and LOG write, byte by byte.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "dataplane/control/control.h"
#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {
namespace {

using enum skb_drop_reason;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> log_lines;

class filter_net : public ip_test_net {
public:
    explicit filter_net(std::initializer_list<const char*> lines) {
        n.ipv4.sysctl_icmp_ratelimit = 0;
        for (const char* line : lines)
            must(line);
    }
    std::string must(const std::string& line) {
        enter(n.control_cpu());
        control_result r = control_execute(n, line);
        EXPECT_EQ(r.rc, 0) << line << "\n" << r.err;
        n.rcu.offline(n.control_cpu());
        enter(0);
        return r.out;
    }
    /// Does a packet from p0 leave by p1?
    bool passes(const bytes& packet) {
        rx(p0, packet);
        bool one = sent(p1).size() == 1;
        return one;
    }
};

bytes udp(uint16_t dport, uint8_t ttl = 64, uint8_t tos = 0, unsigned size = 8) {
    bytes b = udp_packet(ip("10.0.0.2"), ip("10.0.1.2"), size, ttl, 1000, dport);
    b[1] = tos;
    fix_checksum(b);
    return b;
}

bytes tcp(uint8_t flags, const bytes& options = {}, const bytes& data = {}, uint32_t seq = 1000,
          uint32_t ack = 0) {
    ip_spec s;
    s.proto = IPPROTO_TCP_;
    s.payload = tcp_segment(s, flags, seq, ack, options, data);
    return ip_packet(s);
}

bool tcp_checksum_ok(const ip_view& v) {
    unsigned len = unsigned(v.b.size()) - v.hlen();
    return csum_tcpudp_magic(v.ip()->saddr, v.ip()->daddr, len, IPPROTO_TCP_,
                             csum_partial(v.b.data() + v.hlen(), len, 0)) == 0;
}
const tcphdr* th(const ip_view& v) {
    return reinterpret_cast<const tcphdr*>(v.b.data() + v.hlen());
}

struct match_case {
    const char* rule;
    std::vector<bytes> hits, misses;
};

TEST(Matches, EachTellsItsPackets) {
    bytes later = udp(9);
    later[7] = 4; // fragment offset
    fix_checksum(later);
    const match_case cases[] = {
        {"-s 10.0.0.0/24", {udp(1)}, {}},
        {"! -s 10.0.0.0/24", {}, {udp(1)}},
        {"-d 10.0.1.3", {}, {udp(1)}},
        {"-i p0 -o p+", {udp(1)}, {}},
        {"-i q+", {}, {udp(1)}},
        {"! -o p1", {}, {udp(1)}},
        {"-p udp --dport 10:20", {udp(10), udp(20)}, {udp(9), udp(21), tcp(2)}},
        {"-p udp ! --dport 10", {udp(11)}, {udp(10)}},
        {"-p udp --sport 1000", {udp(1)}, {}},
        {"! -p udp", {tcp(2)}, {udp(1)}},
        {"-f", {later}, {udp(1)}},
        {"! -f", {udp(1)}, {later}},
        {"-p tcp --syn", {tcp(TCPHDR_SYN)}, {tcp(TCPHDR_SYN | TCPHDR_ACK), tcp(TCPHDR_ACK)}},
        {"-p tcp ! --syn", {tcp(TCPHDR_ACK)}, {tcp(TCPHDR_SYN)}},
        {"-p tcp --tcp-flags ALL FIN,PSH", {tcp(9)}, {tcp(8), tcp(1), tcp(25)}},
        {"-p tcp --tcp-option 3", {tcp(2, {1, 3, 3, 7})}, {tcp(2), tcp(2, {2, 4, 1, 1})}},
        {"-p tcp ! --tcp-option 3", {tcp(2)}, {tcp(2, {1, 3, 3, 7})}},
        {"-p udp -m multiport --dports 1,5:7", {udp(1), udp(6)}, {udp(2), udp(8)}},
        {"-p udp -m multiport ! --dports 1,5:7", {udp(2)}, {udp(5)}},
        {"-p udp -m multiport --ports 1000", {udp(4)}, {}},
        {"-m iprange --src-range 10.0.0.2-10.0.0.4", {udp(1)}, {}},
        {"-m iprange ! --src-range 10.0.0.2-10.0.0.4", {}, {udp(1)}},
        {"-m iprange --dst-range 10.0.1.3-10.0.1.4", {}, {udp(1)}},
        {"-m ttl --ttl-eq 63", {udp(1)}, {udp(1, 60)}},
        {"-m ttl --ttl-gt 62", {udp(1)}, {udp(1, 63)}},
        {"-m ttl --ttl-lt 30", {udp(1, 30)}, {udp(1, 31)}},
        {"-m ttl ! --ttl-eq 63", {udp(1, 5)}, {udp(1)}},
        {"-m length --length 36", {udp(1)}, {udp(1, 64, 0, 9)}},
        {"-m length ! --length 30:40", {udp(1, 64, 0, 90)}, {udp(1)}},
        {"-m dscp --dscp-class EF", {udp(1, 64, 0xb8), udp(1, 64, 0xb9)}, {udp(1)}},
        {"-m tos --tos 0x10/0x1c", {udp(1, 64, 0x10), udp(1, 64, 0x33)}, {udp(1, 64, 0x14)}},
        {"-m mac --mac-source 02:bb:00:00:00:09", {}, {udp(1)}},
        {"-m addrtype --dst-type UNICAST", {udp(1)}, {}},
        {"-m addrtype --dst-type LOCAL", {}, {udp(1)}},
        {"-m addrtype ! --src-type LOCAL,BROADCAST", {udp(1)}, {}},
        {"-m pkttype --pkt-type unicast", {udp(1)}, {}},
        {"-m pkttype --pkt-type multicast", {}, {udp(1)}},
        {"-m comment --comment words", {udp(1)}, {}},
        {"-m mark --mark 0", {udp(1)}, {}},
        {"-m mark --mark 1/1", {}, {udp(1)}},
        {"-p icmp --icmp-type any", {}, {udp(1)}},
    };
    for (const match_case& c : cases) {
        filter_net t({});
        t.must(std::string("iptables -A FORWARD ") + c.rule + " -j DROP");
        for (const bytes& b : c.hits)
            EXPECT_FALSE(t.passes(b)) << c.rule;
        for (const bytes& b : c.misses)
            EXPECT_TRUE(t.passes(b)) << c.rule;
        EXPECT_EQ(t.drops(NETFILTER_DROP), c.hits.size()) << c.rule;
        EXPECT_THAT(t.must("iptables -vxnL FORWARD 1"),
                    HasSubstr(fmt::format("{:8} ", c.hits.size())))
            << c.rule;
        t.expect_ip_balanced();
    }
}

TEST(Matches, IcmpTypes) {
    filter_net t(
        {"iptables -A FORWARD -p icmp --icmp-type 3/1 -j DROP",
         "iptables -A FORWARD -p icmp ! --icmp-type echo-request -m ttl --ttl-gt 60 -j DROP"});
    auto icmp = [](uint8_t type, uint8_t code) {
        ip_spec s;
        s.proto = IPPROTO_ICMP_;
        s.payload = icmp_message(type, code, 0, pattern(28));
        return ip_packet(s);
    };
    EXPECT_FALSE(t.passes(icmp(3, 1)));
    EXPECT_FALSE(t.passes(icmp(0, 0)));
    EXPECT_TRUE(t.passes(icmp(8, 0)));
}

TEST(Matches, LimitFillsWithTime) {
    filter_net t({"iptables -A FORWARD -m limit --limit 2/second --limit-burst 3 -j ACCEPT",
                  "iptables -P FORWARD DROP"});
    auto passed = [&](unsigned n) {
        unsigned k = 0;
        for (unsigned i = 0; i < n; ++i)
            k += t.passes(udp(1));
        return k;
    };
    EXPECT_EQ(passed(10), 3u);
    t.advance_ms(499);
    EXPECT_EQ(passed(2), 0u);
    t.advance_ms(1);
    EXPECT_EQ(passed(2), 1u);
    t.must("iptables -A FORWARD -s 9.9.9.9 -j DROP"); // other rules come and go: the bucket stays
    EXPECT_EQ(passed(2), 0u);
    t.advance_ms(60000);
    EXPECT_EQ(passed(10), 3u);
}

TEST(Matches, StatisticNthAndRandom) {
    filter_net t({"iptables -A FORWARD -m statistic --mode nth --every 3 --packet 1 -j DROP"});
    std::string fates;
    for (int i = 0; i < 9; ++i)
        fates += t.passes(udp(1)) ? 'p' : 'd';
    EXPECT_EQ(fates, "pdppdppdp");
    t.must("iptables -R FORWARD 1 -m statistic --mode random --probability 0.25 -j DROP");
    unsigned dropped = 0;
    for (int i = 0; i < 2000; ++i)
        dropped += !t.passes(udp(1));
    EXPECT_GT(dropped, 400u);
    EXPECT_LT(dropped, 600u);
}

TEST(Targets, RejectWithIcmp) {
    struct {
        const char* with;
        uint8_t code;
    } cases[] = {{"icmp-net-unreachable", 0},   {"icmp-host-unreachable", 1},
                 {"icmp-proto-unreachable", 2}, {"icmp-port-unreachable", 3},
                 {"icmp-net-prohibited", 9},    {"icmp-host-prohibited", 10},
                 {"icmp-admin-prohibited", 13}};
    for (const auto& c : cases) {
        filter_net t({});
        t.must(std::string("iptables -A FORWARD -j REJECT --reject-with ") + c.with);
        t.rx(t.p0, udp(7));
        ip_view v = t.sent_one(t.p0);
        EXPECT_EQ(v.icmp()->type, ICMP_DEST_UNREACH);
        EXPECT_EQ(v.icmp()->code, c.code);
        EXPECT_EQ(v.ip()->saddr, ip("10.0.0.1"));
        EXPECT_EQ(v.quoted(), udp(7, 63)); // as it was at the hook
        EXPECT_EQ(t.drops(NETFILTER_DROP), 1u);
        t.expect_ip_balanced();
    }
}

TEST(Targets, RejectWithReset) {
    filter_net t({"iptables -A FORWARD -p tcp -j REJECT --reject-with tcp-reset"});
    t.rx(t.p0, tcp(TCPHDR_SYN, {}, pattern(5)));
    ip_view v = t.sent_one(t.p0);
    EXPECT_EQ(v.ip()->saddr, ip("10.0.1.2"));
    EXPECT_EQ(v.ip()->daddr, ip("10.0.0.2"));
    EXPECT_EQ(v.ip()->ttl, 64);
    EXPECT_EQ(v.ip()->tos, 0);
    EXPECT_EQ(v.ip()->id, be16_t{});
    EXPECT_EQ(v.frag_off(), IP_DF);
    EXPECT_EQ(th(v)->flags, TCPHDR_RST | TCPHDR_ACK);
    EXPECT_EQ(be32_to_cpu(th(v)->seq), 0u);
    EXPECT_EQ(be32_to_cpu(th(v)->ack_seq), 1006u);
    EXPECT_EQ(th(v)->window, be16_t{});
    EXPECT_TRUE(tcp_checksum_ok(v));
    t.rx(t.p0, tcp(TCPHDR_ACK, {}, {}, 5, 77));
    v = t.sent_one(t.p0);
    EXPECT_EQ(th(v)->flags, TCPHDR_RST);
    EXPECT_EQ(be32_to_cpu(th(v)->seq), 77u);
    EXPECT_EQ(be32_to_cpu(th(v)->ack_seq), 0u);

    t.rx(t.p0, tcp(TCPHDR_RST)); // silence: resets, bad checksums
    bytes bad = tcp(TCPHDR_SYN);
    bad[30] ^= 1;
    t.rx(t.p0, bad);
    EXPECT_EQ(t.sent_count(), 0u);
    EXPECT_EQ(t.drops(NETFILTER_DROP), 4u);
    t.expect_ip_balanced();
}

TEST(Targets, RejectSaysNothingAboutFragmentsAndBadChecksums) {
    filter_net t({"iptables -A FORWARD -j REJECT"});
    bytes later = udp(9);
    later[7] = 4;
    fix_checksum(later);
    bytes bad = udp(9);
    bad[27] ^= 1;
    t.rx(t.p0, later);
    t.rx(t.p0, bad);
    EXPECT_EQ(t.sent_count(), 0u);
    bytes none = udp(9); // UDP without a checksum is not checked
    none[26] = none[27] = 0;
    t.rx(t.p0, none);
    EXPECT_EQ(t.sent(t.p0).size(), 1u);
}

TEST(Targets, HeaderFieldsAndChecksums) {
    struct {
        const char* target;
        uint8_t tos_in, ttl_in, tos, ttl;
    } cases[] = {{"TTL --ttl-set 9", 0, 64, 0, 9},
                 {"TTL --ttl-inc 250", 0, 64, 0, 255},
                 {"TTL --ttl-dec 70", 0, 64, 0, 0},
                 {"TTL --ttl-dec 3", 0, 64, 0, 60},
                 {"TOS --set-tos 0x10/0x1c", 0x8f, 64, 0x93, 63},
                 {"TOS --xor-tos 0xff", 0x0f, 64, 0xf0, 63},
                 {"DSCP --set-dscp-class EF", 0x03, 64, 0xbb, 63}};
    for (const auto& c : cases) {
        filter_net t({});
        t.must(std::string("iptables -t mangle -A POSTROUTING -j ") + c.target);
        t.rx(t.p0, udp(1, c.ttl_in, c.tos_in));
        ip_view v = t.sent_one(t.p1);
        EXPECT_TRUE(v.ok()) << c.target;
        EXPECT_EQ(v.ip()->tos, c.tos) << c.target;
        EXPECT_EQ(v.ip()->ttl, c.ttl) << c.target;
    }
}

TEST(Targets, TcpMss) {
    filter_net t({"iptables -t mangle -A FORWARD -p tcp --syn -j TCPMSS --set-mss 500"});
    t.rx(t.p0, tcp(TCPHDR_SYN, {2, 4, 5, 0xb4}));
    ip_view v = t.sent_one(t.p1);
    EXPECT_THAT(bytes(v.b.begin() + 40, v.b.end()), ElementsAre(2, 4, 1, 244));
    EXPECT_TRUE(v.ok() && tcp_checksum_ok(v));
    t.rx(t.p0, tcp(TCPHDR_SYN, {2, 4, 1, 0})); // never raised
    v = t.sent_one(t.p1);
    EXPECT_THAT(bytes(v.b.begin() + 40, v.b.end()), ElementsAre(2, 4, 1, 0));
    t.rx(t.p0, tcp(TCPHDR_SYN, {1, 3, 3, 7})); // added in front
    v = t.sent_one(t.p1);
    EXPECT_THAT(bytes(v.b.begin() + 40, v.b.end()), ElementsAre(2, 4, 1, 244, 1, 3, 3, 7));
    EXPECT_TRUE(v.ok() && tcp_checksum_ok(v));
    t.rx(t.p0, tcp(TCPHDR_SYN, {}, pattern(3))); // data behind the header: left alone
    EXPECT_EQ(t.sent_one(t.p1).b.size(), 43u);
    t.must("iptables -t mangle -R FORWARD 1 -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu");
    t.must("ip link set dev p1 mtu 900");
    t.rx(t.p0, tcp(TCPHDR_SYN, {2, 4, 5, 0xb4}));
    v = t.sent_one(t.p1);
    EXPECT_THAT(bytes(v.b.begin() + 40, v.b.end()), ElementsAre(2, 4, 860 >> 8, 860 & 255));
    t.rx(t.p0, tcp(TCPHDR_SYN)); // none there: at most the default of 536
    v = t.sent_one(t.p1);
    EXPECT_THAT(bytes(v.b.begin() + 40, v.b.end()), ElementsAre(2, 4, 536 >> 8, 536 & 255));
    t.expect_ip_balanced();
}

TEST(Targets, MarkRoutes) {
    filter_net t({"ip rule add fwmark 7 lookup 100", "ip route add default via 10.0.1.5 table 100",
                  "iptables -t mangle -A PREROUTING -p udp --dport 7 -j MARK --set-mark 7",
                  "iptables -t mangle -A OUTPUT -p icmp -j MARK --set-mark 7"});
    t.rx(t.p0, udp(7));
    auto sent = t.take_sent();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(eth_dst(sent[0].data), ip_test_net::host_mac(ip("10.0.1.5")));
    t.rx(t.p0, udp(8));
    sent = t.take_sent();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(eth_dst(sent[0].data), ip_test_net::host_mac(ip("10.0.1.2")));
    t.rx(t.p0, udp(8, 1)); // our own ICMP error, routed anew
    sent = t.take_sent();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].dev, t.p1);
    EXPECT_EQ(eth_dst(sent[0].data), ip_test_net::host_mac(ip("10.0.1.5")));
}

TEST(Targets, LogSaysWhatTheKernelSays) {
    auto sink = log_sink;
    log_sink = [](const char* line) { log_lines.push_back(line); };
    log_lines.clear();
    filter_net t({"iptables -A FORWARD -p udp -j LOG --log-prefix \"seen: \" --log-level 6",
                  "iptables -A FORWARD -p tcp -j LOG --log-tcp-sequence --log-tcp-options",
                  "iptables -A INPUT -p icmp -j LOG"});
    t.rx(t.p0, udp(53, 64, 0xb8));
    t.rx(t.p0, tcp(TCPHDR_SYN, {2, 4, 5, 0xb4}));
    ip_spec s;
    s.dst = ip("10.0.0.1");
    s.proto = IPPROTO_ICMP_;
    s.payload = icmp_message(3, 1, 0, udp(9));
    t.rx(t.p0, ip_packet(s));
    log_sink = sink;
    const std::string mac = "MAC=02:00:00:00:00:00:02:bb:00:00:00:02:08:00 ";
    ASSERT_EQ(log_lines.size(), 3u);
    EXPECT_THAT(log_lines[0], HasSubstr("<6>seen: IN=p0 OUT=p1 MAC=02:00:00:00:00:00:"));
    EXPECT_THAT(log_lines[0], HasSubstr(":08:00 SRC=10.0.0.2 DST=10.0.1.2 LEN=36 TOS=0x18 "
                                        "PREC=0xA0 TTL=63 ID="));
    EXPECT_THAT(log_lines[0], HasSubstr("PROTO=UDP SPT=1000 DPT=53 LEN=16 "));
    EXPECT_THAT(log_lines[1], HasSubstr("PROTO=TCP SPT="));
    EXPECT_THAT(log_lines[1], HasSubstr("SEQ=1000 ACK=0 WINDOW="));
    EXPECT_THAT(log_lines[1], HasSubstr("RES=0x00 SYN URGP=0 OPT (020405B4) "));
    EXPECT_THAT(log_lines[2], HasSubstr("IN=p0 OUT= MAC="));
    EXPECT_THAT(log_lines[2], HasSubstr("PROTO=ICMP TYPE=3 CODE=1 [SRC=10.0.0.2 DST=10.0.1.2 "));
    EXPECT_THAT(log_lines[2], HasSubstr("PROTO=UDP SPT=1000 DPT=9 LEN=16 ] "));
}

TEST(Chains, JumpsReturnsGotosAndPolicies) {
    filter_net t({"iptables -N a", "iptables -N b", "iptables -A FORWARD -p udp --dport 1 -j a",
                  "iptables -A FORWARD -p udp --dport 2 -g a",
                  "iptables -A FORWARD -p udp -j ACCEPT", "iptables -A a -j b",
                  "iptables -A b -m ttl --ttl-lt 10 -j DROP", "iptables -A b -j RETURN",
                  "iptables -A b -j DROP", "iptables -P FORWARD DROP"});
    EXPECT_TRUE(t.passes(udp(1)));     // through both, back, accepted
    EXPECT_FALSE(t.passes(udp(1, 5))); // dropped in b
    EXPECT_FALSE(t.passes(udp(2)));    // goto: the end of a is the policy's
    EXPECT_TRUE(t.passes(udp(3)));
    EXPECT_FALSE(t.passes(tcp(2)));
    EXPECT_THAT(t.must("iptables -vxS FORWARD"), HasSubstr("-P FORWARD DROP -c 2 76\n"));
    t.must("iptables -Z");
    EXPECT_THAT(t.must("iptables -vxS FORWARD"), HasSubstr("-P FORWARD DROP -c 0 0\n"));
    EXPECT_TRUE(t.passes(udp(3)));
    EXPECT_THAT(t.must("iptables -vS"), HasSubstr("-p udp -c 1 36 -j ACCEPT\n"));
}

TEST(Chains, DevicesThatComeLaterAreMatched) {
    filter_net t({"iptables -A FORWARD -i p0 -j ACCEPT", "iptables -A FORWARD -i p1 -j DROP",
                  "iptables -A FORWARD -o p2 -j DROP", "iptables -A FORWARD -i p2 -j DROP",
                  "iptables -A FORWARD -s 1.1.1.1 -j DROP", "iptables -A FORWARD -i q+ -j DROP"});
    t.enter(t.n.control_cpu());
    net_device* q7 = t.add_port("q7");
    t.add_address(q7, "10.0.7.1/24");
    t.add_host(q7, "10.0.7.2");
    q7->ip_ptr->cnf.forwarding = 1;
    t.n.rcu.offline(t.n.control_cpu());
    t.enter(0);
    t.rx(q7, udp_packet(ip("10.0.7.2"), ip("10.0.1.2")));
    EXPECT_EQ(t.drops(NETFILTER_DROP), 1u);
    t.enter(t.n.control_cpu());
    dev_change_flags(q7, 0, IFF_UP);
    t.enter(0);
}

TEST(Chains, ManyRulesInOneChainKeepTheirOrder) {
    filter_net t({});
    std::string file = ::testing::TempDir() + "rules" + std::to_string(getpid());
    FILE* f = fopen(file.c_str(), "w");
    fprintf(f, "*filter\n:FORWARD DROP [0:0]\n");
    for (int i = 0; i < 20000; ++i) // more than one classifier
        fprintf(f, "-A FORWARD -s 10.%d.%d.0/24 -p udp --dport %d -j DROP\n", i / 250, i % 250, i);
    fprintf(f, "-A FORWARD -p udp --dport 77 -j ACCEPT\n-A FORWARD -p udp -j DROP\nCOMMIT\n");
    fclose(f);
    t.must("iptables-restore " + file);
    remove(file.c_str());
    EXPECT_TRUE(t.passes(udp(77)));
    EXPECT_FALSE(t.passes(udp(0))); // rule 1 is for 10.0.0.0/24 port 0
    EXPECT_FALSE(t.passes(udp(78)));
    EXPECT_THAT(t.must("iptables -vxL FORWARD 20001 -n"), HasSubstr("       1       36 ACCEPT"));
    EXPECT_THAT(t.must("iptables -vxL FORWARD 1 -n"), HasSubstr("       1       36 DROP"));
    EXPECT_THAT(t.must("iptables -vxL FORWARD 20002 -n"), HasSubstr("       1       36 DROP"));
}

} // namespace
} // namespace slabfwd::test
