// SPDX-License-Identifier: BSD-3-Clause
//
// Counters of the SNMP tables packet by packet: what a Linux 6.18 router (forwarding on,
// addresses 10.0.0.1/24 and 10.0.1.1/24, the source a known neighbour, default settings) counted
// for each of these packets, recorded from /proc/net/snmp and /proc/net/netstat around it. The
// first port received them.
#include <algorithm>
#include <gtest/gtest.h>

#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {
namespace {

struct snmp_case {
    const char* name;
    const char* packet; ///< from the IP header on, in hex
    bool broadcast;     ///< sent to the link's broadcast address
    const char* counted;
};
// clang-format off
const snmp_case snmp_cases[] = {
    {"fwd",
     "4500002000210000401165a90a0000020a000102000b0016000c25eb61626364",
     false, "Ip.ForwDatagrams=1 Ip.InNoECTPkts=1 Ip.InOctets=32 Ip.InReceives=1 Ip.OutOctets=32 Ip.OutTransmits=1"},
    {"fwd+pad",
     "4500002000210000401165a90a0000020a000102000b0016000c25eb616263640000000000000000000000000000",
     false, "Ip.ForwDatagrams=1 Ip.InNoECTPkts=1 Ip.InOctets=46 Ip.InReceives=1 Ip.OutOctets=32 Ip.OutTransmits=1"},
    {"echo",
     "4500002000210000400166ba0a0000020a000001080033380000000161626364",
     false, "Icmp.InMsgs=1 Icmp.OutMsgs=1 IcmpMsg.InType8=1 IcmpMsg.OutType0=1 Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=32 Ip.InReceives=1 Ip.OutOctets=32 Ip.OutRequests=1 Ip.OutTransmits=1"},
    {"bcast echo",
     "4500002000210000400165bc0a0000020a0000ff080033380000000161626364",
     true, "Icmp.InErrors=1 Icmp.InMsgs=1 IcmpMsg.InType8=1 Ip.InBcastOctets=32 Ip.InBcastPkts=1 Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=32 Ip.InReceives=1"},
    {"udp closed",
     "4500002000210000401166aa0a0000020a000001000b0016000c26ec61626364",
     false, "Icmp.OutMsgs=1 IcmpMsg.OutType3=1 Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=32 Ip.InReceives=1 Ip.OutOctets=60 Ip.OutRequests=1 Ip.OutTransmits=1 Udp.NoPorts=1"},
    {"udp csum",
     "4500002000210000401166aa0a0000020a000001000b0016000c010261626364",
     false, "Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=32 Ip.InReceives=1 Udp.InCsumErrors=1 Udp.InErrors=1"},
    {"udp short",
     "4500001700210000401166b30a0000020a000001616263",
     false, "Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=23 Ip.InReceives=1 Udp.InErrors=1"},
    {"udp bcast",
     "4500002000210000401165ac0a0000020a0000ff000b0016000c25ee61626364",
     true, "Ip.InBcastOctets=32 Ip.InBcastPkts=1 Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=32 Ip.InReceives=1 Udp.IgnoredMulti=1"},
    {"udp bcast csum bad",
     "4500002000210000401165ac0a0000020a0000ff000b0016000c010261626364",
     true, "Ip.InBcastOctets=32 Ip.InBcastPkts=1 Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=32 Ip.InReceives=1 Udp.InCsumErrors=1 Udp.InErrors=1"},
    {"tcp syn",
     "4500002800210000400666ad0a0000020a00000103e8005000000001000000005002040093a70000",
     false, "Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=40 Ip.InReceives=1 Ip.OutOctets=40 Ip.OutRequests=1 Ip.OutTransmits=1 Tcp.InSegs=1 Tcp.OutRsts=1 Tcp.OutSegs=1"},
    {"tcp csum",
     "4500002800210000400666ad0a0000020a00000103e8005000000001000000005002040001020000",
     false, "Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=40 Ip.InReceives=1 Tcp.InCsumErrors=1 Tcp.InErrs=1 Tcp.InSegs=1"},
    {"proto",
     "450000180021000040fd65c60a0000020a00000131323334",
     false, "Icmp.OutMsgs=1 IcmpMsg.OutType3=1 Ip.InNoECTPkts=1 Ip.InOctets=24 Ip.InReceives=1 Ip.InUnknownProtos=1 Ip.OutOctets=52 Ip.OutRequests=1 Ip.OutTransmits=1"},
    {"igmp",
     "4500001c00210000400266bd0a0000020a0000010000000000000000",
     false, "Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=28 Ip.InReceives=1"},
    {"ttl",
     "45000020002100000111a4a90a0000020a000102000b0016000c25eb61626364",
     false, "Icmp.OutMsgs=1 IcmpMsg.OutType11=1 Ip.InHdrErrors=1 Ip.InNoECTPkts=1 Ip.InOctets=32 Ip.InReceives=1 Ip.OutOctets=60 Ip.OutRequests=1 Ip.OutTransmits=1"},
    {"opt",
     "460000240021000040115a9e0a0000020a00010207070300000b0016000c25eb61626364",
     false, "Icmp.OutMsgs=1 IcmpMsg.OutType12=1 Ip.InHdrErrors=1 Ip.InNoECTPkts=1 Ip.InOctets=36 Ip.InReceives=1 Ip.OutOctets=64 Ip.OutRequests=1 Ip.OutTransmits=1"},
    {"srr",
     "47000028002100004011db8f0a0000020a0000018307040a00010200000b0016000c25eb61626364",
     false, "Ip.InNoECTPkts=1 Ip.InOctets=40 Ip.InReceives=1"},
    {"noroute",
     "450000200021000040110ca90a00000263010101000b0016000c25eb61626364",
     false, "Icmp.OutMsgs=1 IcmpMsg.OutType3=1 Ip.InNoECTPkts=1 Ip.InNoRoutes=1 Ip.InOctets=32 Ip.InReceives=1 Ip.OutOctets=60 Ip.OutRequests=1 Ip.OutTransmits=1"},
    {"csum",
     "4500001d00210000401100000a0000020a000102000b0016000989b761",
     false, "Ip.InCsumErrors=1 Ip.InHdrErrors=1 Ip.InNoECTPkts=1 Ip.InOctets=29 Ip.InReceives=1"},
    {"trunc",
     "4500001d00210000401165ac0a0000020a000102000b0016000989b7",
     false, "Ip.InNoECTPkts=1 Ip.InOctets=28 Ip.InReceives=1 Ip.InTruncatedPkts=1"},
    {"icmp short csum ok",
     "4500001800210000400166c20a0000020a000001ffff0000",
     false, "Icmp.InErrors=1 Icmp.InMsgs=1 Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=24 Ip.InReceives=1"},
    {"icmp frag needed udp",
     "4500003c002100004001669e0a0000020a00000103040e60000002bc4500002000210000401166aa0a0000010a000002000b"
     "0016000c26ec61626364",
     false, "Icmp.InErrors=1 Icmp.InMsgs=1 IcmpMsg.InType3=1 Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=60 Ip.InReceives=1"},
    {"icmp unreach tcp",
     "4500004400210000400166960a0000020a0000010301111c000000004500002800210000400666ad0a0000010a00000203e8"
     "005000000001000000005002040093a70000",
     false, "Icmp.InErrors=1 Icmp.InMsgs=1 IcmpMsg.InType3=1 Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=68 Ip.InReceives=1"},
    {"icmp unreach icmp echo",
     "4500003800210000400166a20a0000020a0000010301fcfe000000004500001c00210000400166be0a0000010a0000020800"
     "f7ff00000000",
     false, "Icmp.InMsgs=1 IcmpMsg.InType3=1 Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=56 Ip.InReceives=1"},
    {"icmp unreach proto 253",
     "4500003800210000400166a20a0000020a00000103012c2a000000004500001c0021000040fd65c20a0000010a0000023132"
     "333435363738",
     false, "Icmp.InMsgs=1 IcmpMsg.InType3=1 Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=56 Ip.InReceives=1"},
    {"icmp time exceeded frag, tcp",
     "4500004400210000400166960a0000020a0000010b01091c000000004500002800210000400666ad0a0000010a00000203e8"
     "005000000001000000005002040093a70000",
     false, "Icmp.InMsgs=1 IcmpMsg.InType11=1 Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=68 Ip.InReceives=1"},
    {"icmp code 16",
     "4500004400210000400166960a0000020a0000010310110d000000004500002800210000400666ad0a0000010a00000203e8"
     "005000000001000000005002040093a70000",
     false, "Icmp.InMsgs=1 IcmpMsg.InType3=1 Ip.InDelivers=1 Ip.InNoECTPkts=1 Ip.InOctets=68 Ip.InReceives=1"},
};
// clang-format on

bytes from_hex(const std::string& hex) {
    bytes out;
    for (size_t i = 0; i + 1 < hex.size(); i += 2)
        out.push_back(uint8_t(std::stoi(hex.substr(i, 2), nullptr, 16)));
    return out;
}

using counter_list = std::vector<std::string>;

template <class E, class Get>
void collect(counter_list& out, const char* table, const std::vector<const char*>& names, Get get) {
    for (size_t i = 0; i < names.size(); ++i)
        if (uint64_t v = get(E(i)))
            out.push_back(std::string(table) + '.' + names[i] + '=' + std::to_string(v));
}

/// All counters that are not zero, as the recording names them.
std::string counted(const ip_test_net& t) {
    counter_list out;
#define X(e, name) #name,
    collect<ipstats_mib>(out, "Ip", {SLABFWD_IPSTATS(X)},
                         [&](ipstats_mib e) { return t.ip_stat(e); });
    collect<icmp_mib>(out, "Icmp", {SLABFWD_ICMPSTATS(X)},
                      [&](icmp_mib e) { return t.icmp_stat(e); });
    collect<udp_mib>(out, "Udp", {SLABFWD_UDPSTATS(X)}, [&](udp_mib e) { return t.udp_stat(e); });
    collect<tcp_mib>(out, "Tcp", {SLABFWD_TCPSTATS(X)}, [&](tcp_mib e) { return t.tcp_stat(e); });
#undef X
    for (unsigned type = 0; type < 256; ++type) {
        if (uint64_t v = t.n.softnet[0]->icmpmsg_in[type])
            out.push_back("IcmpMsg.InType" + std::to_string(type) + '=' + std::to_string(v));
        if (uint64_t v = t.n.softnet[0]->icmpmsg_out[type])
            out.push_back("IcmpMsg.OutType" + std::to_string(type) + '=' + std::to_string(v));
    }
    std::sort(out.begin(), out.end());
    std::string line;
    for (const std::string& s : out)
        line += (line.empty() ? "" : " ") + s;
    return line;
}

TEST(Snmp, CountsAsLinuxDoes) {
    for (const snmp_case& c : snmp_cases) {
        SCOPED_TRACE(c.name);
        ip_test_net t;
        t.rx(t.p0, from_hex(c.packet),
             c.broadcast ? std::optional(mac("ff:ff:ff:ff:ff:ff")) : std::nullopt);
        EXPECT_EQ(counted(t), c.counted);
        t.expect_ip_balanced();
    }
}

} // namespace
} // namespace slabfwd::test
