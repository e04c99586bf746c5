// SPDX-License-Identifier: BSD-3-Clause
//
// One function a file; each returns its whole text.
#include "dataplane/control/proc.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <mutex>

#include "alloc/slab_detail.h"
#include "dataplane/control/ip_link.h"
#include "dataplane/control/slab_files.h"
#include "dataplane/control/values.h"
#include "dataplane/ip/ip.h"
#include "neigh/arp.h"
#include "neigh/inetdevice.h"
#include "neigh/neighbour.h"
#include "neigh/softnet.h"
#include "route/route.h"

namespace slabfwd {

namespace {

constexpr size_t ROW = 127; ///< /proc/net/route and rt_cache pad their lines to this
constexpr unsigned RTAX_WINDOW = 3, RTAX_RTT = 4;
constexpr unsigned RTF_UP = 1, RTF_GATEWAY = 2, RTF_HOST = 4, RTF_REJECT = 0x200;
constexpr unsigned ATF_COM = 2, ATF_PERM = 4, ATF_PUBL = 8;

void padded(std::string& to, std::string row) {
    row.resize(std::max(row.size(), ROW), ' ');
    to += row + "\n";
}

template <class... T>
std::string hex(fmt::format_string<T...> f, T&&... v) {
    return fmt::format(f, std::forward<T>(v)...);
}

std::string rt_cache_file(net& n) {
    std::string text;
    padded(text, "Iface\tDestination\tGateway "
                 "\tFlags\t\tRefCnt\tUse\tMetric\tSource\t\tMTU\tWindow\tIRTT\tTOS\tHHRef\t"
                 "HHUptod\tSpecDst");
    for (const rt_cache_row& r : rt_cache_dump(n, 0))
        padded(text, fmt::format("{}\t{:08X}\t{:08X}\t{:8X}\t{}\t{}\t{}\t{:08X}\t{}\t{}\t{}\t{:02X}"
                                 "\t{}\t{:1}\t{:08X}",
                                 r.iface[0] ? r.iface : "*", r.dst.raw, r.gateway.raw, r.flags,
                                 r.refcnt, r.use, 0, r.src.raw, r.mtu, 0, 0, r.tos,
                                 r.hh_uptodate ? 1 : -1, r.hh_uptodate ? 1 : 0, r.spec_dst.raw));
    return text;
}

std::string rt_cache_stat_file(net& n) {
    std::string text = "entries  in_hit in_slow_tot in_slow_mc in_no_route in_brd in_martian_dst "
                       "in_martian_src  out_hit "
                       "out_slow_tot out_slow_mc  gc_total gc_ignored gc_goal_miss gc_dst_overflow "
                       "in_hlist_search "
                       "out_hlist_search\n";
    uint64_t entries = rt_cache_get_totals(n).entries;
    for (const auto& sd : n.softnet) {
        auto v = [&](rt_cache_stat e) { return uint32_t(sd->rt_stat[e].get()); };
        using enum rt_cache_stat;
        text += hex("{:08x}  {:08x} {:08x} {:08x} {:08x} {:08x} {:08x} {:08x}  {:08x} {:08x} "
                    "{:08x} {:08x} {:08x} "
                    "{:08x} {:08x} {:08x} {:08x} \n",
                    uint32_t(entries), v(in_hit), v(in_slow_tot), v(in_slow_mc), v(in_no_route),
                    v(in_brd), v(in_martian_dst), v(in_martian_src), v(out_hit), v(out_slow_tot),
                    v(out_slow_mc), v(gc_total), v(gc_ignored), v(gc_goal_miss), v(gc_dst_overflow),
                    v(in_hlist_search), v(out_hlist_search));
    }
    return text;
}

std::string arp_cache_stat_file(net& n) {
    std::string text = "entries  allocs   destroys hash_grows lookups  hits     res_failed "
                       "rcv_probes_mcast rcv_probes_ucast "
                       "periodic_gc_runs forced_gc_runs unresolved_discards table_fulls\n";
    for (const auto& sd : n.softnet) {
        auto v = [&](neigh_statistics e) { return sd->nd_stat[e].get(); };
        using enum neigh_statistics;
        text += hex("{:08x} {:08x} {:08x} {:08x}   {:08x} {:08x} {:08x}   {:08x}         {:08x}    "
                    "     {:08x}         "
                    "{:08x}       {:08x}            {:08x}\n",
                    uint32_t(n.arp_tbl->entries), v(allocs), v(destroys), v(hash_grows), v(lookups),
                    v(hits), v(res_failed), v(rcv_probes_mcast), v(rcv_probes_ucast),
                    v(periodic_gc_runs), v(forced_gc_runs), v(unres_discards), v(table_fulls));
    }
    return text;
}

std::string arp_row(be32_t key, unsigned flags, const std::string& mac, const char* dev) {
    return fmt::format("{:<16} 0x{:<10x}0x{:<10x}{:<17}     *        {}\n", format_ipv4(key), 1,
                       flags, mac, dev);
}

std::string arp_file(net& n) {
    std::string text =
        "IP address       HW type     Flags       HW address            Mask     Device\n";
    neigh_for_each(
        n.arp_tbl,
        [](neighbour* e, void* cookie) {
            std::lock_guard guard(e->lock);
            uint8_t state = e->nud_state;
            if (e->dead || !(state & ~NUD_NOARP))
                return;
            const uint8_t none[ETH_ALEN] = {};
            unsigned flags = state & NUD_PERMANENT ? ATF_PERM | ATF_COM
                             : state & NUD_VALID   ? ATF_COM
                                                   : 0;
            *static_cast<std::string*>(cookie) += arp_row(
                e->primary_key, flags, format_mac(state & NUD_VALID ? e->ha : none), e->dev->name);
        },
        &text);
    for (pneigh_entry* e = rcu_dereference(n.arp_tbl->phash); e; e = rcu_dereference(e->next))
        text +=
            arp_row(e->key, ATF_PUBL | ATF_PERM, "00:00:00:00:00:00", e->dev ? e->dev->name : "*");
    return text;
}

std::string route_row(net& n, const fib_route_row& r) {
    const fib_nh_config* nh = r.nexthops.empty() ? nullptr : &r.nexthops[0];
    net_device* dev = nh ? dev_get_by_index(n, nh->oif) : nullptr;
    unsigned flags = RTF_UP;
    if (r.type == RTN_UNREACHABLE || r.type == RTN_PROHIBIT)
        flags |= RTF_REJECT;
    if (nh && nh->has_gw)
        flags |= RTF_GATEWAY;
    if (r.dst_len == 32)
        flags |= RTF_HOST;
    uint32_t advmss = r.metrics[RTAX_ADVMSS - 1];
    return fmt::format("{}\t{:08X}\t{:08X}\t{:04X}\t0\t0\t{}\t{:08X}\t{}\t{}\t{}",
                       dev ? dev->name : "*", uint32_t(r.dst.raw), nh && nh->has_gw ? nh->gw.raw : 0u,
                       flags, r.priority, uint32_t(inet_make_mask(r.dst_len).raw), advmss ? advmss + 40 : 0,
                       r.metrics[RTAX_WINDOW - 1], r.metrics[RTAX_RTT - 1] >> 3);
}

std::string route_file(net& n) {
    struct walk {
        net& n;
        std::string text;
    } w{n, {}};
    padded(w.text,
           "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
    fib_table_dump(
        n, RT_TABLE_MAIN,
        [](const fib_route_row& row, void* cookie) {
            walk& w = *static_cast<walk*>(cookie);
            if (row.type != RTN_BROADCAST && row.type != RTN_MULTICAST)
                padded(w.text, route_row(w.n, row));
            return true;
        },
        &w);
    return w.text;
}

/// Two lines of /proc/net/snmp: names, then values.
class name_value_lines {
public:
    explicit name_value_lines(const char* group) : names_(group), values_(group) {}
    void add(std::string_view name, int64_t value) {
        names_ += fmt::format(" {}", name);
        values_ += fmt::format(" {}", value);
    }
    std::string text() const { return names_ + "\n" + values_ + "\n"; }

private:
    std::string names_, values_;
};

constexpr struct {
    const char* name;
    uint8_t type;
} icmp_types[] = {{"DestUnreachs", ICMP_DEST_UNREACH},    {"TimeExcds", ICMP_TIME_EXCEEDED},
                  {"ParmProbs", ICMP_PARAMETERPROB},      {"SrcQuenchs", ICMP_SOURCE_QUENCH},
                  {"Redirects", ICMP_REDIRECT},           {"Echos", ICMP_ECHO},
                  {"EchoReps", ICMP_ECHOREPLY},           {"Timestamps", ICMP_TIMESTAMP},
                  {"TimestampReps", ICMP_TIMESTAMPREPLY}, {"AddrMasks", ICMP_ADDRESS},
                  {"AddrMaskReps", ICMP_ADDRESSREPLY}};

constexpr const char* ip_names[] = {
#define X(e, name) #name,
    SLABFWD_IPSTATS(X)
#undef X
};
constexpr const char* icmp_names[] = {
#define X(e, name) #name,
    SLABFWD_ICMPSTATS(X)
#undef X
};
constexpr const char* udp_names[] = {
#define X(e, name) #name,
    SLABFWD_UDPSTATS(X)
#undef X
};
constexpr unsigned IP_FIRST_EXT = unsigned(ipstats_mib::INNOROUTES); ///< from here on IpExt
constexpr unsigned ICMP_FIRST_OUT = unsigned(icmp_mib::OUTMSGS);

std::string ip_lines(const net& n, const snmp_sums& s) {
    name_value_lines ip("Ip:");
    ip.add("Forwarding", n.ipv4.devconf_all.forwarding ? 1 : 2);
    ip.add("DefaultTTL", n.ipv4.sysctl_ip_default_ttl);
    for (unsigned i = 0; i < IP_FIRST_EXT; ++i)
        ip.add(ip_names[i], int64_t(s.ip[i]));
    return ip.text();
}

std::string icmp_lines(const snmp_sums& s) {
    name_value_lines icmp("Icmp:");
    for (unsigned i = 0; i < ICMP_FIRST_OUT; ++i)
        icmp.add(icmp_names[i], int64_t(s.icmp[i]));
    for (auto& t : icmp_types)
        icmp.add(fmt::format("In{}", t.name), int64_t(s.icmp_in[t.type]));
    for (unsigned i = ICMP_FIRST_OUT; i < unsigned(icmp_mib::MAX); ++i)
        icmp.add(icmp_names[i], int64_t(s.icmp[i]));
    for (auto& t : icmp_types)
        icmp.add(fmt::format("Out{}", t.name), int64_t(s.icmp_out[t.type]));
    name_value_lines msg("IcmpMsg:");
    bool any = false;
    for (bool out : {false, true})
        for (unsigned type = 0; type < 256; ++type)
            if (uint64_t v = out ? s.icmp_out[type] : s.icmp_in[type]) {
                msg.add(fmt::format("{}Type{}", out ? "Out" : "In", type), int64_t(v));
                any = true;
            }
    return icmp.text() + (any ? msg.text() : "");
}

std::string tcp_lines(const snmp_sums& s) {
    using enum tcp_mib;
    auto v = [&](tcp_mib e) { return int64_t(s.tcp[unsigned(e)]); };
    name_value_lines tcp("Tcp:");
    // No connections here: the timers and limits are what the kernel prints for an idle stack.
    const std::pair<const char*, int64_t> columns[] = {
        {"RtoAlgorithm", 1},   {"RtoMin", 200},         {"RtoMax", 120000},
        {"MaxConn", -1},       {"ActiveOpens", 0},      {"PassiveOpens", 0},
        {"AttemptFails", 0},   {"EstabResets", 0},      {"CurrEstab", 0},
        {"InSegs", v(INSEGS)}, {"OutSegs", v(OUTSEGS)}, {"RetransSegs", 0},
        {"InErrs", v(INERRS)}, {"OutRsts", v(OUTRSTS)}, {"InCsumErrors", v(CSUMERRORS)}};
    for (auto& [name, value] : columns)
        tcp.add(name, value);
    return tcp.text();
}

std::string snmp_file(net& n) {
    snmp_sums s = get_snmp_sums(n);
    name_value_lines udp("Udp:"), lite("UdpLite:");
    for (unsigned i = 0; i < unsigned(udp_mib::MAX); ++i) {
        udp.add(udp_names[i], int64_t(s.udp[i]));
        lite.add(udp_names[i], int64_t(s.udplite[i]));
    }
    return ip_lines(n, s) + icmp_lines(s) + tcp_lines(s) + udp.text() + lite.text();
}

// The columns of TcpExt (net/ipv4/proc.c, snmp4_net_list): they count what connections do, but for
// one. Scripts look them up by name, so that all of them have to be there.
constexpr std::string_view tcp_ext_names =
    "SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled RcvPruned "
    "OfoPruned OutOfWindowIcmps LockDroppedIcmps ArpFilter TW TWRecycled TWKilled PAWSActive "
    "PAWSEstab BeyondWindow TSEcrRejected PAWSOldAck PAWSTimewait DelayedACKs "
    "DelayedACKLocked DelayedACKLost ListenOverflows ListenDrops TCPHPHits TCPPureAcks "
    "TCPHPAcks TCPRenoRecovery TCPSackRecovery TCPSACKReneging TCPSACKReorder TCPRenoReorder "
    "TCPTSReorder TCPFullUndo TCPPartialUndo TCPDSACKUndo TCPLossUndo TCPLostRetransmit "
    "TCPRenoFailures TCPSackFailures TCPLossFailures TCPFastRetrans TCPSlowStartRetrans "
    "TCPTimeouts TCPLossProbes TCPLossProbeRecovery TCPRenoRecoveryFail TCPSackRecoveryFail "
    "TCPRcvCollapsed TCPBacklogCoalesce TCPDSACKOldSent TCPDSACKOfoSent TCPDSACKRecv "
    "TCPDSACKOfoRecv TCPAbortOnData TCPAbortOnClose TCPAbortOnMemory TCPAbortOnTimeout "
    "TCPAbortOnLinger TCPAbortFailed TCPMemoryPressures TCPMemoryPressuresChrono "
    "TCPSACKDiscard TCPDSACKIgnoredOld TCPDSACKIgnoredNoUndo TCPSpuriousRTOs TCPMD5NotFound "
    "TCPMD5Unexpected TCPMD5Failure TCPSackShifted TCPSackMerged TCPSackShiftFallback "
    "TCPBacklogDrop PFMemallocDrop TCPMinTTLDrop TCPDeferAcceptDrop IPReversePathFilter "
    "TCPTimeWaitOverflow TCPReqQFullDoCookies TCPReqQFullDrop TCPRetransFail TCPRcvCoalesce "
    "TCPOFOQueue TCPOFODrop TCPOFOMerge TCPChallengeACK TCPSYNChallenge TCPFastOpenActive "
    "TCPFastOpenActiveFail TCPFastOpenPassive TCPFastOpenPassiveFail "
    "TCPFastOpenListenOverflow TCPFastOpenCookieReqd TCPFastOpenBlackhole "
    "TCPSpuriousRtxHostQueues BusyPollRxPackets TCPAutoCorking TCPFromZeroWindowAdv "
    "TCPToZeroWindowAdv TCPWantZeroWindowAdv TCPSynRetrans TCPOrigDataSent "
    "TCPHystartTrainDetect TCPHystartTrainCwnd TCPHystartDelayDetect TCPHystartDelayCwnd "
    "TCPACKSkippedSynRecv TCPACKSkippedPAWS TCPACKSkippedSeq TCPACKSkippedFinWait2 "
    "TCPACKSkippedTimeWait TCPACKSkippedChallenge TCPWinProbe TCPKeepAlive TCPMTUPFail "
    "TCPMTUPSuccess TCPDelivered TCPDeliveredCE TCPAckCompressed TCPZeroWindowDrop "
    "TCPRcvQDrop TCPWqueueTooBig TCPFastOpenPassiveAltKey TcpTimeoutRehash "
    "TcpDuplicateDataRehash TCPDSACKRecvSegs TCPDSACKIgnoredDubious TCPMigrateReqSuccess "
    "TCPMigrateReqFailure TCPPLBRehash TCPAORequired TCPAOBad TCPAOKeyNotFound TCPAOGood "
    "TCPAODroppedIcmps";

uint64_t dropped_packets(const net& n, skb_drop_reason reason) {
    uint64_t sum = 0;
    for (const auto& sd : n.softnet)
        if (sd)
            sum += sd->drops[unsigned(reason)];
    return sum;
}

std::string tcp_ext_lines(const net& n) {
    name_value_lines ext("TcpExt:");
    for (std::string_view left = tcp_ext_names; !left.empty();) {
        const std::string_view name = left.substr(0, left.find(' '));
        left.remove_prefix(std::min(name.size() + 1, left.size()));
        ext.add(name, name == "IPReversePathFilter"
                          ? int64_t(dropped_packets(n, skb_drop_reason::IP_RPFILTER))
                          : 0);
    }
    return ext.text();
}

std::string netstat_file(net& n) {
    snmp_sums s = get_snmp_sums(n);
    name_value_lines ext("IpExt:");
    for (unsigned i = IP_FIRST_EXT; i < unsigned(ipstats_mib::MAX); ++i)
        ext.add(ip_names[i], int64_t(s.ip[i]));
    return tcp_ext_lines(n) + ext.text();
}

std::string dev_file(net& n) {
    std::string text =
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs "
        "drop "
        "fifo colls carrier compressed\n";
    n.for_each_netdev([&](net_device* dev) {
        link_stats s = get_link_stats(n, dev);
        text += fmt::format("{:>6}: {:7} {:7} {:4} {:4} {:4} {:5} {:10} {:9} {:8} {:7} {:4} {:4} "
                            "{:4} {:5} {:7} {:10}\n",
                            dev->name, s.rx_bytes, s.rx_packets, s.rx_errors, s.rx_dropped, 0, 0, 0,
                            s.multicast, s.tx_bytes, s.tx_packets, s.tx_errors, s.tx_dropped, 0, 0,
                            0, 0);
    });
    return text;
}

std::string slabinfo_file(net&) {
    return slabinfo_text();
}

struct file {
    const char* path;
    std::string (*text)(net& n);
};
constexpr file files[] = {
    {"/proc/net/arp", arp_file},
    {"/proc/net/dev", dev_file},
    {"/proc/net/netstat", netstat_file},
    {"/proc/net/route", route_file},
    {"/proc/net/rt_cache", rt_cache_file},
    {"/proc/net/snmp", snmp_file},
    {"/proc/net/stat/arp_cache", arp_cache_stat_file},
    {"/proc/net/stat/rt_cache", rt_cache_stat_file},
    {"/proc/slabinfo", slabinfo_file},
};

/// Options of a report: -j, -p, -a.
bool report_options(command& c, std::span<const std::string> words, bool* all) {
    for (const std::string& word : words)
        if (word == "-j" || word == "-json" || word == "--json")
            c.opt.json = true;
        else if (word == "-p" || word == "-pretty")
            c.opt.pretty = true;
        else if (word == "-a" && all)
            *all = true;
        else
            return c.fail(255, word, fmt::format("Error: \"{}\" is not understood here.\n", word));
    return true;
}

void print_json(command& c, const json& value) {
    c.to.out((c.opt.pretty ? pretty_json(value) : value.dump()) + "\n");
}

/// Pairs of name and number, as an object or a table.
void print_counters(command& c, const std::vector<std::pair<std::string, uint64_t>>& rows) {
    json object = json::object();
    std::string text;
    for (auto& [name, value] : rows) {
        object[name] = value;
        text += fmt::format("{:<32}{:>20}\n", name, value);
    }
    if (c.opt.json)
        print_json(c, object);
    else
        c.to.out(text);
}

} // namespace

snmp_sums get_snmp_sums(const net& n) {
    snmp_sums s;
    auto add = [](uint64_t* to, const auto& from, size_t count) {
        for (size_t i = 0; i < count; ++i)
            to[i] += from[i];
    };
    for (const auto& sd : n.softnet) {
        add(s.ip, sd->ip_statistics.c, std::size(s.ip));
        add(s.icmp, sd->icmp_statistics.c, std::size(s.icmp));
        add(s.icmp_in, sd->icmpmsg_in, 256);
        add(s.icmp_out, sd->icmpmsg_out, 256);
        add(s.udp, sd->udp_statistics.c, std::size(s.udp));
        add(s.tcp, sd->tcp_statistics.c, std::size(s.tcp));
    }
    udplite_counts(n, s.udplite);
    return s;
}

std::optional<std::string> proc_file(net& n, std::string_view path) {
    for (const file& f : files)
        if (path == f.path)
            return f.text(n);
    return std::nullopt;
}

std::span<const char* const> proc_files() {
    static const auto names = [] {
        std::array<const char*, std::size(files)> a{};
        std::ranges::transform(files, a.begin(), &file::path);
        return a;
    }();
    return names;
}

bool cat_command(command& c, std::span<const std::string> words) {
    if (words.empty())
        return c.fail(1, "", "cat: a file below /proc is wanted\n");
    std::string all;
    for (const std::string& word : words) {
        auto text = word.starts_with("/sys/") ? slab_file(word) : proc_file(c.n, word);
        if (!text)
            return c.fail(1, word, fmt::format("cat: {}: No such file or directory\n", word));
        all += *text;
    }
    c.to.out(all);
    return true;
}

namespace {

kmem_cache* cache_named(command& c, const std::string& name) {
    kmem_cache* cache = find_cache(name);
    if (!cache)
        c.fail(2, name, fmt::format("Error: there is no cache \"{}\".\n", name));
    return cache;
}

// slabinfo tune NAME LIMIT BATCHCOUNT SHARED: as one writes to /proc/slabinfo.
bool slabinfo_tune(command& c, std::span<const std::string> words) {
    if (words.size() != 4)
        return c.fail(255, "", "Error: wanted: slabinfo tune NAME LIMIT BATCHCOUNT SHARED\n");
    if (!cache_named(c, words[0]))
        return false;
    const std::string line = fmt::format("{}", fmt::join(words, " "));
    if (slabinfo_write(line) == 0)
        return true;
    return c.fail(2, words[1],
                  fmt::format("Error: \"{}\": wanted are limit >= 1, 1 <= batchcount <= limit, "
                              "shared >= 0.\n",
                              line));
}

json detail_json(const slab_detail& d) {
    json cpus = json::array(), nodes = json::array();
    for (const slab_cpu_detail& s : d.cpus)
        cpus.push_back({{"cpu", s.cpu},
                        {"node", s.nid},
                        {"avail", s.avail},
                        {"limit", s.limit},
                        {"batchcount", s.batchcount},
                        {"refilled", s.refilled},
                        {"flushed", s.flushed},
                        {"allocmiss", s.allocmiss},
                        {"freemiss", s.freemiss}});
    for (const slab_node_detail& n : d.nodes)
        nodes.push_back({{"node", n.nid},
                         {"partial", n.partial},
                         {"full", n.full},
                         {"free", n.free},
                         {"free_objects", n.free_objects},
                         {"free_limit", n.free_limit},
                         {"shared", n.shared},
                         {"alien", n.alien},
                         {"occupancy", n.occupancy}});
    return {{"name", d.info.name},       {"bytes", d.bytes}, {"used_bytes", d.used_bytes},
            {"fragmentation", d.fragmentation}, {"waste", d.waste}, {"cpus", cpus},
            {"nodes", nodes}};
}

// slabinfo detail [NAME...]: per CPU slot, per node, what lies idle.
bool slabinfo_detail(command& c, std::span<const std::string> words) {
    std::vector<std::string> names(words.begin(), words.end());
    if (std::erase_if(names, [](const std::string& w) { return w == "-j" || w == "--json"; }))
        c.opt.json = true;
    if (names.empty())
        for (const slabinfo& s : slabinfo_list())
            names.push_back(s.name);
    json list = json::array();
    for (const std::string& name : names) {
        kmem_cache* cache = cache_named(c, name);
        if (!cache)
            return false;
        if (c.opt.json)
            list.push_back(detail_json(get_slab_detail(cache)));
        else
            c.to.out(slab_detail_text(cache));
    }
    if (c.opt.json)
        print_json(c, list);
    return true;
}

} // namespace

bool slabinfo_command(command& c, std::span<const std::string> words) {
    if (!words.empty() && words[0] == "tune")
        return slabinfo_tune(c, words.subspan(1));
    if (!words.empty() && words[0] == "detail")
        return slabinfo_detail(c, words.subspan(1));
    if (!report_options(c, words, nullptr))
        return false;
    if (!c.opt.json) {
        c.to.out(slabinfo_text());
        return true;
    }
    json list = json::array();
    for (const slabinfo& s : slabinfo_list())
        list.push_back({{"name", s.name},
                        {"active_objs", s.active_objs},
                        {"num_objs", s.num_objs},
                        {"objsize", s.objsize},
                        {"objperslab", s.objperslab},
                        {"pagesperslab", s.pagesperslab},
                        {"limit", s.limit},
                        {"batchcount", s.batchcount},
                        {"sharedfactor", s.sharedfactor},
                        {"active_slabs", s.active_slabs},
                        {"num_slabs", s.num_slabs},
                        {"sharedavail", s.sharedavail}});
    print_json(c, list);
    return true;
}

bool rt_cache_command(command& c, std::span<const std::string> words) {
    if (!report_options(c, words, nullptr))
        return false;
    rt_cache_totals t = rt_cache_get_totals(c.n);
    const std::pair<const char*, uint64_t> totals[] = {
        {"entries", t.entries},
        {"hits", t.hits},
        {"misses", t.misses},
        {"allocated", t.allocated},
        {"collected", t.collected},
        {"gc_thresh", uint64_t(c.n.ipv4.rt.gc_thresh)},
        {"max_size", uint64_t(c.n.ipv4.rt.max_size)}};
    json report = json::object();
    std::string text;
    for (auto& [name, value] : totals) {
        report[name] = value;
        text +=
            fmt::format("{} {}{}", name, value, name == std::string_view("max_size") ? "\n" : "  ");
    }
    text += fmt::format("{:<16}{:<16}{:<16}{:<10}{:<10}{:>6}{:>10}{:>8}\n", "destination", "source",
                        "gateway", "iif", "dev", "mtu", "use", "age");
    report["routes"] = json::array();
    for (const rt_cache_row& r : rt_cache_dump(c.n, 0)) {
        net_device* in = r.iif ? dev_get_by_index(c.n, r.iif) : nullptr;
        const char* iif = in ? in->name : "-";
        text += fmt::format("{:<16}{:<16}{:<16}{:<10}{:<10}{:>6}{:>10}{:>7}s\n", format_ipv4(r.dst),
                            format_ipv4(r.src), format_ipv4(r.gateway), iif, r.iface, r.mtu, r.use,
                            r.age_jiffies / HZ);
        report["routes"].push_back({{"dst", format_ipv4(r.dst)},
                                    {"src", format_ipv4(r.src)},
                                    {"gateway", format_ipv4(r.gateway)},
                                    {"iif", iif},
                                    {"dev", r.iface},
                                    {"tos", r.tos},
                                    {"mark", r.mark},
                                    {"mtu", r.mtu},
                                    {"use", r.use},
                                    {"age", r.age_jiffies / HZ},
                                    {"flags", r.flags}});
    }
    if (c.opt.json)
        print_json(c, report);
    else
        c.to.out(text);
    return true;
}

bool snmp_command(command& c, std::span<const std::string> words) {
    bool all = false;
    if (!report_options(c, words, &all))
        return false;
    // The names of the two files joined, as nstat prints them.
    std::vector<std::pair<std::string, uint64_t>> rows;
    std::string text = snmp_file(c.n) + netstat_file(c.n);
    for (size_t at = 0; at < text.size();) {
        size_t end = text.find('\n', at), end2 = text.find('\n', end + 1);
        auto names = fmt::format("{}", text.substr(at, end - at)),
             values = text.substr(end + 1, end2 - end - 1);
        std::string group = names.substr(0, names.find(':'));
        size_t i = group.size() + 2, j = i;
        while (i < names.size() && j < values.size()) {
            size_t ni = std::min(names.find(' ', i), names.size()),
                   nj = std::min(values.find(' ', j), values.size());
            std::string value = values.substr(j, nj - j);
            if (value[0] != '-' && (all || value != "0"))
                rows.emplace_back(group + names.substr(i, ni - i), std::stoull(value));
            i = ni + 1;
            j = nj + 1;
        }
        at = end2 + 1;
    }
    print_counters(c, rows);
    return true;
}

bool drops_command(command& c, std::span<const std::string> words) {
    bool all = false;
    if (!report_options(c, words, &all))
        return false;
    std::vector<std::pair<std::string, uint64_t>> rows;
    for (unsigned i = 0; i < NR_DROP_REASONS; ++i) {
        uint64_t sum = 0;
        for (const auto& sd : c.n.softnet)
            sum += sd->drops[i];
        if (sum || all)
            rows.emplace_back(drop_reason_name(skb_drop_reason(i)), sum);
    }
    print_counters(c, rows);
    return true;
}

} // namespace slabfwd
