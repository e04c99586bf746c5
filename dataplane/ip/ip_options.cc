// SPDX-License-Identifier: BSD-3-Clause
//
// IP options: parsing on receive, source routes, record route and time stamp on the way out, the
// options of a reply. Doors: ip_rcv_options (receive), ip_forward_options (leaving),
// ip_options_echo and ip_options_build (replies), ip_options_fragment. An option's offsets in
// struct ip_options count from the IP header, pointers inside an option from the option itself,
// starting at 1 (RFC 791). Every length is checked by ip_options_compile, and again where it is
// read later, since hooks may have changed the packet. Threads: any slot. Origin:
// net/ipv4/ip_options.c, ip_rcv_options of ip_input.c (6.18).
#include <cerrno>
#include <cstring>

#include "dataplane/ip/ip_net.h"

namespace slabfwd {

using enum skb_drop_reason;

namespace {

constexpr uint8_t OPT_END = 0, OPT_NOOP = 1, OPT_RR = 7, OPT_TIMESTAMP = 68, OPT_LSRR = 131,
                  OPT_CIPSO = 134, OPT_SSRR = 137, OPT_RA = 148, OPT_COPY = 0x80;
constexpr uint8_t TS_TSONLY = 0, TS_TSANDADDR = 1, TS_PRESPEC = 3;
constexpr unsigned OPT_LEN = 1, OPT_PTR = 2, IPHDR = sizeof(iphdr), MAX_OPTLEN = 40;

be32_t get_be32(const uint8_t* p) {
    be32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
void put_be32(uint8_t* p, be32_t v) {
    memcpy(p, &v, sizeof v);
}

/// The address that a router enters into an option of skb: of the interface it leaves by.
/// Origin: ip_rt_get_source (net/ipv4/route.c).
be32_t ip_rt_get_source(net& n, const sk_buff* skb, const rtable* rt) {
    const iphdr* iph = ip_hdr(skb);
    if (!rt->rt_is_input)
        return iph->saddr;
    flowi4 fl4;
    fl4.daddr = iph->daddr;
    fl4.saddr = iph->saddr;
    fl4.flowi4_tos = iph->tos & INET_DSCP_MASK;
    fl4.flowi4_oif = rt->dst.dev->ifindex;
    fl4.flowi4_iif = skb->dev ? skb->dev->ifindex : skb->skb_iif;
    fl4.flowi4_mark = skb->mark;
    fib_result res;
    if (fib_lookup(n, &fl4, &res) == 0)
        return fib_result_prefsrc(n, &res);
    return inet_select_addr(rt->dst.dev, rt_nexthop(rt, iph->daddr), RT_SCOPE_UNIVERSE);
}

/// One run over the options of a packet. Each function returns null, or the byte that is wrong.
struct options_parser {
    net& n;
    sk_buff* skb;
    ip_options* opt;
    uint8_t* iph;
    be32_t spec_dst{};

    be32_t spec_dst_fill() {
        if (!spec_dst)
            spec_dst = fib_compute_spec_dst(skb);
        return spec_dst;
    }
    uint8_t at(const uint8_t* p) const { return uint8_t(p - iph); }

    const uint8_t* source_route(uint8_t* p, unsigned optlen) {
        if (optlen < 3)
            return p + 1;
        if (p[OPT_PTR] < 4)
            return p + 2;
        if (opt->srr)
            return p;
        opt->is_strictroute = p[0] == OPT_SSRR;
        opt->srr = at(p);
        return nullptr;
    }

    const uint8_t* record_route(uint8_t* p, unsigned optlen) {
        if (opt->rr)
            return p;
        if (optlen < 3)
            return p + 1;
        if (p[OPT_PTR] < 4)
            return p + 2;
        if (p[OPT_PTR] <= optlen) {
            if (p[OPT_PTR] + 3u > optlen)
                return p + 2;
            if (skb->dst) {
                put_be32(&p[p[OPT_PTR] - 1], spec_dst_fill());
                opt->is_changed = true;
            }
            p[OPT_PTR] = uint8_t(p[OPT_PTR] + 4);
            opt->rr_needaddr = true;
        }
        opt->rr = at(p);
        return nullptr;
    }

    /// Enters what the time stamp option asks for; there is room for one time at least.
    const uint8_t* timestamp_entry(uint8_t* p, unsigned optlen) {
        uint8_t* timeptr = nullptr;
        uint8_t& ptr = p[OPT_PTR];
        const uint8_t flag = p[3] & 0xf;
        if (flag == TS_TSONLY) {
            timeptr = &p[ptr - 1];
            opt->ts_needtime = true;
            ptr = uint8_t(ptr + 4);
        } else if (flag == TS_TSANDADDR || flag == TS_PRESPEC) {
            if (ptr + 7u > optlen)
                return p + 2;
            if (flag == TS_TSANDADDR) {
                if (skb->dst) {
                    put_be32(&p[ptr - 1], spec_dst_fill());
                    timeptr = &p[ptr + 3];
                }
                opt->ts_needaddr = true;
            } else {
                if (inet_addr_type(n, get_be32(&p[ptr - 1])) == RTN_UNICAST)
                    return nullptr; // somebody else's turn
                timeptr = &p[ptr + 3];
            }
            opt->ts_needtime = true;
            ptr = uint8_t(ptr + 8);
        }
        if (timeptr) {
            put_be32(timeptr, inet_current_timestamp());
            opt->is_changed = true;
        }
        return nullptr;
    }

    const uint8_t* timestamp(uint8_t* p, unsigned optlen) {
        if (opt->ts)
            return p;
        if (optlen < 4)
            return p + 1;
        if (p[OPT_PTR] < 5)
            return p + 2;
        if (p[OPT_PTR] <= optlen) {
            if (p[OPT_PTR] + 3u > optlen)
                return p + 2;
            if (const uint8_t* bad = timestamp_entry(p, optlen))
                return bad;
        } else if ((p[3] & 0xf) != TS_PRESPEC) {
            unsigned overflow = p[3] >> 4;
            if (overflow == 15)
                return p + 3;
            p[3] = uint8_t((p[3] & 0xf) | (overflow + 1) << 4);
            opt->is_changed = true;
        }
        opt->ts = at(p);
        return nullptr;
    }

    /// No domain of interpretation is known here, so that no CIPSO option is valid.
    /// Origin: cipso_v4_validate (net/ipv4/cipso_ipv4.c).
    const uint8_t* cipso(uint8_t* p, unsigned optlen) {
        if (opt->cipso)
            return p;
        opt->cipso = at(p);
        return optlen < 8 ? p + 1 : p + 2;
    }

    const uint8_t* one(uint8_t* p, unsigned optlen) {
        switch (p[0]) {
        case OPT_SSRR:
        case OPT_LSRR:
            return source_route(p, optlen);
        case OPT_RR:
            return record_route(p, optlen);
        case OPT_TIMESTAMP:
            return timestamp(p, optlen);
        case OPT_RA:
            if (optlen < 4)
                return p + 1;
            if (p[2] == 0 && p[3] == 0)
                opt->router_alert = at(p);
            return nullptr;
        case OPT_CIPSO:
            return cipso(p, optlen);
        default:
            return nullptr;
        }
    }

    /// Blanks what follows the end of the list.
    void wipe(uint8_t* p, unsigned l) {
        for (; l; ++p, --l) {
            if (*p != OPT_END) {
                *p = OPT_END;
                opt->is_changed = true;
            }
        }
    }

    const uint8_t* run() {
        uint8_t* p = iph + IPHDR;
        for (unsigned l = opt->optlen; l;) {
            if (*p == OPT_END) {
                wipe(p + 1, l - 1);
                return nullptr;
            }
            if (*p == OPT_NOOP) {
                ++p;
                --l;
                continue;
            }
            if (l < 2 || p[OPT_LEN] < 2 || p[OPT_LEN] > l)
                return p;
            unsigned optlen = p[OPT_LEN];
            if (const uint8_t* bad = one(p, optlen))
                return bad;
            l -= optlen;
            p += optlen;
        }
        return nullptr;
    }
};

/// The option at `offset` of skb's header, when it (still) lies inside the options and has `least`
/// bytes; else null.
uint8_t* option_at(const sk_buff* skb, unsigned offset, unsigned optlen, unsigned least = 3) {
    uint8_t* p = skb_network_header(skb) + offset;
    if (offset < IPHDR || offset + least > IPHDR + optlen || p[OPT_LEN] < least ||
        offset + p[OPT_LEN] > IPHDR + optlen)
        return nullptr;
    return p;
}

/// May 4 bytes be written at byte index `at` of option p?
bool fits4(const uint8_t* p, unsigned at) {
    return at >= 3 && at + 4 <= p[OPT_LEN];
}

} // namespace

be32_t inet_current_timestamp() {
    uint64_t ms = ktime_get_real_ns() / NSEC_PER_MSEC;
    return cpu_to_be32(uint32_t(ms % 86'400'000));
}

int ip_options_compile(net& n, sk_buff* skb, be32_t* info) {
    uint8_t* iph = skb_network_header(skb);
    options_parser parser{n, skb, &IPCB(skb)->opt, iph};
    const uint8_t* bad = parser.run();
    if (!bad)
        return 0;
    if (info)
        *info = cpu_to_be32(uint32_t(bad - iph) << 24);
    return -EINVAL;
}

bool ip_rcv_options(sk_buff* skb, net_device* dev) {
    net& n = dev_net(dev);
    ip_options& opt = IPCB(skb)->opt;
    opt.optlen = uint8_t(ip_hdrlen(skb) - IPHDR);
    be32_t info{};
    if (ip_options_compile(n, skb, &info)) {
        trace_packet(skb, "bad option at byte %u", be32_to_cpu(info) >> 24);
        icmp_send(skb, ICMP_PARAMETERPROB, 0, info);
        IP_INC_STATS(ipstats_mib::INHDRERRORS);
        ip_drop(skb, IP_INHDR);
        return false;
    }
    if (likely(!opt.srr))
        return true;
    const in_device* in_dev = __in_dev_get_rcu(dev);
    if (in_dev && !IN_DEV_SOURCE_ROUTE(in_dev)) {
        if (IN_DEV_LOG_MARTIANS(in_dev))
            net_warn_ratelimited("source route option %08x -> %08x",
                                 be32_to_cpu(ip_hdr(skb)->saddr), be32_to_cpu(ip_hdr(skb)->daddr));
        ip_drop(skb, IP_OPTIONS);
        return false;
    }
    if (ip_options_rcv_srr(skb, dev)) {
        ip_drop(skb, IP_OPTIONS);
        return false;
    }
    return true;
}

int ip_options_rcv_srr(sk_buff* skb, net_device* dev) {
    ip_options& opt = IPCB(skb)->opt;
    iphdr* iph = ip_hdr(skb);
    const uint8_t* p = skb_network_header(skb) + opt.srr;
    if (!skb->dst)
        return 0;
    if (skb->pkt_type != PACKET_HOST)
        return -EINVAL;
    if (skb->rt_type == RTN_UNICAST) {
        if (!opt.is_strictroute)
            return 0;
        icmp_send(skb, ICMP_PARAMETERPROB, 0,
                  cpu_to_be32(16u << 24)); // the destination should be us
        return -EINVAL;
    }
    if (skb->rt_type != RTN_LOCAL)
        return -EINVAL;

    unsigned ptr = p[OPT_PTR], space = p[OPT_LEN];
    be32_t nexthop{};
    for (; ptr <= space; ptr += 4) {
        if (ptr + 3 > space) {
            icmp_send(skb, ICMP_PARAMETERPROB, 0, cpu_to_be32((opt.srr + 2u) << 24));
            return -EINVAL;
        }
        nexthop = get_be32(&p[ptr - 1]);
        rtable* orig = skb_rtable(skb);
        skb_dst_drop(skb);
        skb_drop_reason reason;
        int err = ip_route_input(skb, nexthop, iph->saddr, iph->tos & INET_DSCP_MASK, dev, &reason);
        if (err || (skb->rt_type != RTN_UNICAST && skb->rt_type != RTN_LOCAL)) {
            skb_rtable_set(skb, orig);
            return -EINVAL;
        }
        if (skb->rt_type != RTN_LOCAL)
            break;
        iph->daddr = nexthop; // us again: the one behind it
        opt.is_changed = true;
    }
    if (ptr <= space) {
        opt.srr_is_hit = true;
        opt.nexthop = nexthop;
        opt.is_changed = true;
    }
    return 0;
}

namespace {
/// The source route has come to us: the next address becomes the destination, ours takes its place.
void forward_source_route(net& n, sk_buff* skb, ip_options& opt, const rtable* rt) {
    uint8_t* p = option_at(skb, opt.srr, opt.optlen);
    if (!p)
        return;
    unsigned ptr = p[OPT_PTR], space = p[OPT_LEN];
    while (ptr + 3 <= space && !(ptr >= 4 && opt.nexthop == get_be32(&p[ptr - 1])))
        ptr += 4;
    if (ptr + 3 > space) {
        net_warn_ratelimited("ip_forward_options(): Argh! Destination lost!");
        return;
    }
    opt.is_changed = true;
    ip_hdr(skb)->daddr = opt.nexthop;
    put_be32(&p[ptr - 1], ip_rt_get_source(n, skb, rt));
    p[OPT_PTR] = uint8_t(ptr + 4);
}

/// Enters the address of the outgoing interface where the pointer, less `back`, says.
void enter_address(net& n, sk_buff* skb, unsigned offset, unsigned back, const ip_options& opt,
                   const rtable* rt) {
    uint8_t* p = option_at(skb, offset, opt.optlen);
    if (p && p[OPT_PTR] >= back && fits4(p, p[OPT_PTR] - back))
        put_be32(&p[p[OPT_PTR] - back], ip_rt_get_source(n, skb, rt));
}
} // namespace

void ip_forward_options(sk_buff* skb) {
    ip_options& opt = IPCB(skb)->opt;
    const rtable* rt = skb_rtable(skb);
    net& n = dev_net(rt->dst.dev);
    if (opt.rr_needaddr) {
        enter_address(n, skb, opt.rr, 5, opt, rt);
        opt.is_changed = true;
    }
    if (opt.srr_is_hit) {
        forward_source_route(n, skb, opt, rt);
        // As in the kernel, the address of a time stamp is only put right on a source route.
        if (opt.ts_needaddr) {
            enter_address(n, skb, opt.ts, 9, opt, rt);
            opt.is_changed = true;
        }
    }
    if (opt.is_changed) {
        opt.is_changed = false;
        ip_send_check(ip_hdr(skb));
    }
}

void ip_options_fragment(sk_buff* skb) {
    ip_options& opt = IPCB(skb)->opt;
    uint8_t* p = skb_network_header(skb) + IPHDR;
    for (unsigned l = opt.optlen; l;) {
        if (*p == OPT_END)
            break;
        if (*p == OPT_NOOP) {
            ++p;
            --l;
            continue;
        }
        if (l < 2 || p[OPT_LEN] < 2 || p[OPT_LEN] > l)
            break;
        unsigned optlen = p[OPT_LEN];
        if (!(*p & OPT_COPY))
            memset(p, OPT_NOOP, optlen);
        l -= optlen;
        p += optlen;
    }
    opt.ts = opt.rr = 0;
    opt.rr_needaddr = opt.ts_needaddr = opt.ts_needtime = false;
}

// --- replies ----------------------------------------------------------------------------------

namespace {

/// Builds the options of a reply behind each other.
struct options_echo {
    net& n;
    ip_options* dopt;
    uint8_t* data;
    const sk_buff* skb;
    const ip_options& sopt;

    uint8_t* end() const { return data + dopt->optlen; }

    /// Copies the option at sptr; its place in the reply, or null when there is no room.
    uint8_t* copy(const uint8_t* sptr, uint8_t* where) {
        if (!sptr || dopt->optlen + sptr[OPT_LEN] > MAX_OPTLEN)
            return nullptr;
        uint8_t* dptr = end();
        memcpy(dptr, sptr, sptr[OPT_LEN]);
        *where = uint8_t(dopt->optlen + IPHDR);
        dopt->optlen = uint8_t(dopt->optlen + sptr[OPT_LEN]);
        return dptr;
    }

    bool record_route() {
        uint8_t* dptr = copy(option_at(skb, sopt.rr, sopt.optlen), &dopt->rr);
        if (!dptr)
            return false;
        unsigned optlen = dptr[OPT_LEN], ptr = dptr[OPT_PTR];
        if (sopt.rr_needaddr && ptr <= optlen) {
            if (ptr + 3 > optlen)
                return false;
            dptr[OPT_PTR] = uint8_t(ptr + 4);
            dopt->rr_needaddr = true;
        }
        return true;
    }

    bool timestamp() {
        uint8_t* dptr = copy(option_at(skb, sopt.ts, sopt.optlen, 4), &dopt->ts);
        if (!dptr)
            return false;
        unsigned optlen = dptr[OPT_LEN], ptr = dptr[OPT_PTR];
        if (ptr > optlen)
            return true;
        if (sopt.ts_needaddr) {
            if (ptr + 3 > optlen)
                return false;
            dopt->ts_needaddr = true;
            ptr += 4;
        }
        if (sopt.ts_needtime) {
            if (ptr + 3 > optlen)
                return false;
            if ((dptr[3] & 0xf) != TS_PRESPEC) {
                dopt->ts_needtime = true;
                ptr += 4;
            } else if (ptr + 7 <= optlen &&
                       inet_addr_type(n, get_be32(dptr + ptr - 1)) != RTN_UNICAST) {
                dopt->ts_needtime = true;
                ptr += 8;
            }
        }
        dptr[OPT_PTR] = uint8_t(ptr);
        return true;
    }

    /// The way back is the recorded way, turned round.
    bool source_route() {
        const uint8_t* start = option_at(skb, sopt.srr, sopt.optlen);
        if (!start || dopt->optlen + start[OPT_LEN] > MAX_OPTLEN)
            return false;
        uint8_t* dptr = end();
        int optlen = start[OPT_LEN], soffset = start[OPT_PTR], doffset = 0;
        be32_t faddr{};
        if (soffset > optlen)
            soffset = optlen + 1;
        soffset -= 4;
        if (soffset > 3) {
            faddr = get_be32(&start[soffset - 1]);
            for (soffset -= 4, doffset = 4; soffset > 3; soffset -= 4, doffset += 4)
                memcpy(&dptr[doffset - 1], &start[soffset - 1], 4);
            // RFC 1812: a route that starts at its source is put right.
            if (soffset + 7 <= optlen && ip_hdr(skb)->saddr == get_be32(&start[soffset + 3]))
                doffset -= 4;
        }
        if (doffset > 3) {
            dopt->faddr = faddr;
            dptr[0] = start[0];
            dptr[OPT_LEN] = uint8_t(doffset + 3);
            dptr[OPT_PTR] = 4;
            dopt->srr = uint8_t(dopt->optlen + IPHDR);
            dopt->optlen = uint8_t(dopt->optlen + doffset + 3);
            dopt->is_strictroute = sopt.is_strictroute;
        }
        return true;
    }

    bool run() {
        if (sopt.rr && !record_route())
            return false;
        if (sopt.ts && !timestamp())
            return false;
        if (sopt.srr && !source_route())
            return false;
        if (sopt.cipso && !copy(option_at(skb, sopt.cipso, sopt.optlen, 2), &dopt->cipso))
            return false;
        while (dopt->optlen & 3)
            data[dopt->optlen++] = OPT_END;
        return true;
    }
};

} // namespace

int ip_options_echo(net& n, ip_options* dopt, uint8_t* data, const sk_buff* skb) {
    *dopt = ip_options{};
    const ip_options& sopt = skb->cb.opt;
    if (sopt.optlen == 0)
        return 0;
    // A hook may have made the header shorter meanwhile.
    if (sopt.optlen > MAX_OPTLEN || ip_hdrlen(skb) < IPHDR + sopt.optlen)
        return -EINVAL;
    return options_echo{n, dopt, data, skb, sopt}.run() ? 0 : -EINVAL;
}

void ip_options_build(net& n, sk_buff* skb, const ip_options* from, const uint8_t* data,
                      be32_t daddr, const rtable* rt) {
    uint8_t* iph = skb_network_header(skb);
    ip_options& opt = IPCB(skb)->opt = *from;
    memcpy(iph + IPHDR, data, opt.optlen);
    if (opt.srr) {
        if (uint8_t* p = option_at(skb, opt.srr, opt.optlen); p && fits4(p, p[OPT_LEN] - 4u))
            put_be32(p + p[OPT_LEN] - 4, daddr);
    }
    if (opt.rr_needaddr)
        enter_address(n, skb, opt.rr, 5, opt, rt);
    if (opt.ts_needaddr)
        enter_address(n, skb, opt.ts, 9, opt, rt);
    if (opt.ts_needtime) {
        uint8_t* p = option_at(skb, opt.ts, opt.optlen);
        if (p && p[OPT_PTR] >= 5 && fits4(p, p[OPT_PTR] - 5u))
            put_be32(p + p[OPT_PTR] - 5, inet_current_timestamp());
    }
}

} // namespace slabfwd
