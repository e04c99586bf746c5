// SPDX-License-Identifier: BSD-3-Clause
//
// LOG: one line about a packet in the kernel's words, in front of it the level as dmesg -r shows it
// ("<4>prefixIN=p0 OUT=p1 MAC=... SRC=... "), to the log sink. Door: the xt_target table. Threads:
// any; the line is made on the stack and leaves in one piece. This target writes per packet: put
// -m limit before it. Origin: net/netfilter/{xt_LOG,nf_log_syslog}.c (6.18). Packets here have no
// sockets, so that --log-uid has nothing to add.
#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "dataplane/netfilter/x_tables.h"
#include "neigh/softnet.h"

namespace slabfwd::xt {

namespace {

/// Text of bounded length. Origin: struct nf_log_buf.
class log_buf {
public:
    __attribute__((format(printf, 2, 3))) void add(const char* fmt, ...) {
        va_list args;
        va_start(args, fmt);
        int n = vsnprintf(text_ + at_, sizeof text_ - at_, fmt, args);
        va_end(args);
        at_ = std::min(at_ + unsigned(std::max(n, 0)), unsigned(sizeof text_) - 1);
    }
    const char* text() const { return text_; }

private:
    char text_[1024] = {};
    unsigned at_ = 0;
};

struct addr4 {
    unsigned b[4];
    explicit addr4(be32_t a) : b{a.raw & 255, a.raw >> 8 & 255, a.raw >> 16 & 255, a.raw >> 24} {}
};
#define ADDR4(a) addr4(a).b[0], addr4(a).b[1], addr4(a).b[2], addr4(a).b[3]

/// A packet, or the packet that an ICMP error quotes: bytes from `at` on.
struct log_source {
    xt_action_param& par;
    unsigned at;
    const void* get(unsigned offset, unsigned len, void* buf) const {
        return xt_header_pointer(par, at + offset, len, buf);
    }
    /// Wraps below zero where a quoted header says to be longer than what is there: so does the
    /// kernel's, and so the line reads.
    unsigned left(unsigned offset) const { return par.len - at - offset; }
};

/// False, and this text, where they are not all there.
bool dump_options(log_buf& m, const log_source& s, unsigned offset, unsigned len,
                  const char* truncated) {
    uint8_t buf[60];
    auto* opt = static_cast<const uint8_t*>(s.get(offset, len, buf));
    if (!opt) {
        m.add("%s", truncated);
        return false;
    }
    m.add("OPT (");
    for (unsigned i = 0; i < len; ++i)
        m.add("%02X", opt[i]);
    m.add(") ");
    return true;
}

/// The next two: false when the header is not all there, and the line ends here.
/// Origin: nf_log_dump_tcp_header.
bool dump_tcp(log_buf& m, const log_source& s, bool fragment, unsigned offset, uint8_t flags) {
    m.add("PROTO=TCP ");
    if (fragment)
        return true;
    tcphdr buf;
    auto* th = static_cast<const tcphdr*>(s.get(offset, sizeof buf, &buf));
    if (!th) {
        m.add("INCOMPLETE [%u bytes] ", s.left(offset));
        return false;
    }
    m.add("SPT=%u DPT=%u ", be16_to_cpu(th->source), be16_to_cpu(th->dest));
    if (flags & XT_LOG_TCPSEQ)
        m.add("SEQ=%u ACK=%u ", be32_to_cpu(th->seq), be32_to_cpu(th->ack_seq));
    m.add("WINDOW=%u ", be16_to_cpu(th->window));
    m.add("RES=0x%02x ", unsigned(th->doff_res & 0x0f) << 2);
    constexpr struct {
        uint8_t bit;
        const char* name;
    } names[] = {{0x80, "CWR "},       {0x40, "ECE "},       {TCPHDR_URG, "URG "},
                 {TCPHDR_ACK, "ACK "}, {TCPHDR_PSH, "PSH "}, {TCPHDR_RST, "RST "},
                 {TCPHDR_SYN, "SYN "}, {TCPHDR_FIN, "FIN "}};
    for (const auto& f : names)
        if (th->flags & f.bit)
            m.add("%s", f.name);
    m.add("URGP=%u ", be16_to_cpu(th->urg_ptr));
    return !(flags & XT_LOG_TCPOPT) || th->hdr_len() <= sizeof(tcphdr) ||
           dump_options(m, s, offset + unsigned(sizeof(tcphdr)),
                        th->hdr_len() - unsigned(sizeof(tcphdr)), "OPT (TRUNCATED)");
}

/// Origin: nf_log_dump_udp_header.
bool dump_udp(log_buf& m, const log_source& s, const char* name, bool fragment, unsigned offset) {
    m.add("PROTO=%s ", name);
    if (fragment)
        return true;
    udphdr buf;
    auto* uh = static_cast<const udphdr*>(s.get(offset, sizeof buf, &buf));
    if (!uh) {
        m.add("INCOMPLETE [%u bytes] ", s.left(offset));
        return false;
    }
    m.add("SPT=%u DPT=%u LEN=%u ", be16_to_cpu(uh->source), be16_to_cpu(uh->dest),
          be16_to_cpu(uh->len));
    return true;
}

bool dump_packet(log_buf& m, const log_source& s, uint8_t flags, bool inner);

/// Bytes of an ICMP message without which it says nothing.
unsigned icmp_required_len(uint8_t type) {
    switch (type) {
    case ICMP_ECHOREPLY:
    case ICMP_ECHO:
        return 4;
    case ICMP_DEST_UNREACH:
    case ICMP_SOURCE_QUENCH:
    case ICMP_REDIRECT:
    case ICMP_TIME_EXCEEDED:
    case ICMP_PARAMETERPROB:
        return 8 + unsigned(sizeof(iphdr));
    case ICMP_TIMESTAMP:
    case ICMP_TIMESTAMPREPLY:
        return 20;
    case ICMP_ADDRESS:
    case ICMP_ADDRESSREPLY:
        return 12;
    default:
        return 0;
    }
}

/// What an ICMP message has beside type and code.
void dump_icmp(log_buf& m, const log_source& s, bool fragment, unsigned offset, uint8_t flags,
               bool inner) {
    m.add("PROTO=ICMP ");
    if (fragment)
        return;
    icmphdr buf;
    auto* ich = static_cast<const icmphdr*>(s.get(offset, sizeof buf, &buf));
    if (!ich) {
        m.add("INCOMPLETE [%u bytes] ", s.left(offset));
        return;
    }
    m.add("TYPE=%u CODE=%u ", ich->type, ich->code);
    if (s.left(offset) < icmp_required_len(ich->type)) {
        m.add("INCOMPLETE [%u bytes] ", s.left(offset));
        return;
    }
    switch (ich->type) {
    case ICMP_ECHOREPLY:
    case ICMP_ECHO:
        m.add("ID=%u SEQ=%u ", be16_to_cpu(ich->un.echo.id), be16_to_cpu(ich->un.echo.sequence));
        return;
    case ICMP_PARAMETERPROB:
        m.add("PARAMETER=%u ", be32_to_cpu(ich->un.gateway) >> 24);
        return;
    case ICMP_REDIRECT:
        m.add("GATEWAY=%u.%u.%u.%u ", ADDR4(ich->un.gateway));
        break;
    case ICMP_DEST_UNREACH:
    case ICMP_SOURCE_QUENCH:
    case ICMP_TIME_EXCEEDED:
        break;
    default:
        return;
    }
    if (!inner) { // one quotation deep
        m.add("[");
        dump_packet(m, {s.par, s.at + offset + unsigned(sizeof(icmphdr))}, flags, true);
        m.add("] ");
    }
    if (ich->type == ICMP_DEST_UNREACH && ich->code == ICMP_FRAG_NEEDED)
        m.add("MTU=%u ", be16_to_cpu(ich->un.frag.mtu));
}

/// AH and ESP: the security parameters' index behind `skip` bytes.
void dump_spi(log_buf& m, const log_source& s, const char* name, bool fragment, unsigned offset,
              unsigned skip, unsigned header) {
    m.add("PROTO=%s ", name);
    if (fragment)
        return;
    uint8_t buf[12];
    auto* h = static_cast<const uint8_t*>(s.get(offset, header, buf));
    if (!h) {
        m.add("INCOMPLETE [%u bytes] ", s.left(offset));
        return;
    }
    be32_t spi;
    memcpy(&spi, h + skip, sizeof spi);
    m.add("SPI=0x%x ", be32_to_cpu(spi));
}

/// False when the packet is cut so that nothing more is to be said. Origin: dump_ipv4_packet.
bool dump_packet(log_buf& m, const log_source& s, uint8_t flags, bool inner) {
    iphdr ih;
    const void* p = s.get(0, sizeof ih, &ih);
    if (!p) {
        m.add("TRUNCATED");
        return false;
    }
    if (p != &ih)
        memcpy(&ih, p, sizeof ih);
    m.add("SRC=%u.%u.%u.%u DST=%u.%u.%u.%u ", ADDR4(ih.saddr), ADDR4(ih.daddr));
    m.add("LEN=%u TOS=0x%02X PREC=0x%02X TTL=%u ID=%u ", be16_to_cpu(ih.tot_len), ih.tos & 0x1e,
          ih.tos & 0xe0, ih.ttl, be16_to_cpu(ih.id));
    const uint16_t frag = be16_to_cpu(ih.frag_off);
    if (frag & IP_CE)
        m.add("CE ");
    if (frag & IP_DF)
        m.add("DF ");
    if (frag & IP_MF)
        m.add("MF ");
    const bool fragment = frag & IP_OFFSET;
    if (fragment)
        m.add("FRAG:%u ", frag & IP_OFFSET);
    if ((flags & XT_LOG_IPOPT) && ih.hdr_len() > sizeof ih &&
        !dump_options(m, s, sizeof ih, ih.hdr_len() - unsigned(sizeof ih), "TRUNCATED"))
        return false;
    const unsigned l4 = ih.hdr_len();
    switch (ih.protocol) {
    case IPPROTO_TCP_:
        return dump_tcp(m, s, fragment, l4, flags);
    case IPPROTO_UDP_:
        return dump_udp(m, s, "UDP", fragment, l4);
    case 136:
        return dump_udp(m, s, "UDPLITE", fragment, l4);
    case IPPROTO_ICMP_:
        dump_icmp(m, s, fragment, l4, flags, inner);
        return true;
    case 51:
        dump_spi(m, s, "AH", fragment, l4, 4, 12);
        return true;
    case 50:
        dump_spi(m, s, "ESP", fragment, l4, 0, 8);
        return true;
    default:
        m.add("PROTO=%u ", ih.protocol);
        return true;
    }
}

/// The link header of a received frame. Origin: dump_mac_header.
void dump_mac(log_buf& m, const xt_action_param& par, const sk_buff* skb, uint8_t flags) {
    const bool received = skb->mac_header + unsigned(ETH_HLEN) <= skb->network_header;
    const bool ethernet = par.in && par.in->type == ARPHRD_ETHER;
    if ((flags & XT_LOG_MACDECODE) && ethernet && received) {
        const ethhdr* eth = eth_hdr(skb);
        const uint8_t *s = eth->h_source, *d = eth->h_dest;
        m.add("MACSRC=%02x:%02x:%02x:%02x:%02x:%02x MACDST=%02x:%02x:%02x:%02x:%02x:%02x "
              "MACPROTO=%04x ",
              s[0], s[1], s[2], s[3], s[4], s[5], d[0], d[1], d[2], d[3], d[4], d[5],
              be16_to_cpu(eth->h_proto));
        return;
    }
    m.add("MAC=");
    if (received && par.in && par.in->hard_header_len) {
        const uint8_t* p = skb_mac_header(skb);
        m.add("%02x", p[0]);
        for (unsigned i = 1; i < par.in->hard_header_len; ++i)
            m.add(":%02x", p[i]);
    }
    m.add(" ");
}

} // namespace

unsigned log_tg(xt_action_param& par, const void* info) {
    const auto& i = *static_cast<const xt_log_info*>(info);
    const sk_buff* skb = xt_skb(par);
    log_buf m;
    m.add("<%u>%sIN=%s OUT=%s ", i.level, i.prefix, par.in ? par.in->name : "",
          par.out ? par.out->name : "");
    if (par.in)
        dump_mac(m, par, skb, i.logflags);
    if (dump_packet(m, {par, 0}, i.logflags, false) && skb->mark)
        m.add("MARK=0x%x ", skb->mark);
    log_sink(m.text());
    return XT_CONTINUE;
}

} // namespace slabfwd::xt
