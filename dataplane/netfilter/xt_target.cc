// SPDX-License-Identifier: BSD-3-Clause
//
// The targets that change a packet: MARK, TOS, DSCP, TTL, TCPMSS; and NOTRACK, which has nothing to
// do until connections are tracked. Door: the xt_target table (x_tables.cc). Threads: any; a packet
// is its slot's alone. Checksums are brought along by what changed. Origin:
// net/netfilter/xt_{mark,DSCP,HL,TCPMSS,CT}.c (6.18).
#include <algorithm>
#include <cerrno>

#include "dataplane/netfilter/x_tables.h"
#include "neigh/softnet.h"
#include "route/route.h"

namespace slabfwd::xt {

namespace {

template <class T>
const T& as(const void* info) {
    return *static_cast<const T*>(info);
}

void set_tos(iphdr* iph, uint8_t tos) {
    csum_replace2(&iph->check, cpu_to_be16(iph->tos), cpu_to_be16(tos));
    iph->tos = tos;
}

} // namespace

unsigned mark_tg(xt_action_param& par, const void* info) {
    const auto& i = as<xt_mark_tginfo>(info);
    sk_buff* skb = xt_skb(par);
    skb->mark = (skb->mark & ~i.mask) ^ i.mark;
    return XT_CONTINUE;
}

unsigned tos_tg(xt_action_param& par, const void* info) {
    const auto& i = as<xt_tos_target_info>(info);
    uint8_t tos = uint8_t((par.iph->tos & ~i.mask) ^ i.value);
    if (tos != par.iph->tos)
        set_tos(par.iph, tos);
    return XT_CONTINUE;
}

unsigned dscp_tg(xt_action_param& par, const void* info) {
    uint8_t dscp = as<xt_DSCP_info>(info).dscp;
    if (par.iph->tos >> 2 != dscp)
        set_tos(par.iph, uint8_t((par.iph->tos & 3) | dscp << 2));
    return XT_CONTINUE;
}

unsigned ttl_tg(xt_action_param& par, const void* info) {
    const auto& i = as<ipt_TTL_info>(info);
    int ttl = par.iph->ttl;
    ttl = i.mode == IPT_TTL_SET   ? i.ttl
          : i.mode == IPT_TTL_INC ? std::min(ttl + i.ttl, 255)
                                  : std::max(ttl - i.ttl, 0);
    if (ttl != par.iph->ttl) {
        csum_replace2(&par.iph->check, cpu_to_be16(uint16_t(par.iph->ttl << 8)),
                      cpu_to_be16(uint16_t(ttl << 8)));
        par.iph->ttl = uint8_t(ttl);
    }
    return XT_CONTINUE;
}

unsigned notrack_tg(xt_action_param&, const void*) {
    return XT_CONTINUE;
}

// --- TCPMSS -------------------------------------------------------------------------------------

namespace {

constexpr unsigned MIN_HEADERS = sizeof(iphdr) + sizeof(tcphdr), TCPOLEN_MSS = 4;
constexpr uint8_t TCPOPT_MSS = 2;
constexpr uint16_t DEFAULT_MSS = 536; ///< of IPv4 when the option is absent: RFC 1122, 4.2.2.6

/// The mtu of the way back. Origin: tcpmss_reverse_mtu.
uint32_t tcpmss_reverse_mtu(net& n, const iphdr* iph) {
    flowi4 fl4;
    fl4.daddr = iph->saddr;
    int err;
    rtable* rt = ip_route_output_key(n, &fl4, &err);
    return rt ? ipv4_mtu(&rt->dst) : ~0u;
}

/// The MSS to write; 0: none can be had, the packet is dropped.
uint16_t wanted_mss(xt_action_param& par, uint16_t configured) {
    if (configured != XT_TCPMSS_CLAMP_PMTU)
        return configured;
    uint32_t mtu = ipv4_mtu(xt_skb(par)->dst);
    mtu = std::min(mtu, tcpmss_reverse_mtu(*par.n, par.iph));
    if (mtu <= MIN_HEADERS) {
        net_warn_ratelimited("unknown or invalid path-MTU (%u)", mtu);
        return 0;
    }
    return uint16_t(std::min<uint32_t>(mtu - MIN_HEADERS, 0xffff));
}

be16_t load16(const uint8_t* p) {
    be16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/// Puts an MSS option in front of the others of a SYN that has none and carries no data. False:
/// no room in the buffer.
bool add_mss(xt_action_param& par, tcphdr* th, uint16_t mss) {
    sk_buff* skb = xt_skb(par);
    rte_mbuf* m = skb_mbuf(skb);
    const unsigned len = par.len - par.thoff;
    if (m->nb_segs > 1 || rte_pktmbuf_tailroom(m) < TCPOLEN_MSS)
        return false;
    skb_put(skb, TCPOLEN_MSS);
    par.len += TCPOLEN_MSS;
    par.headlen += TCPOLEN_MSS;
    auto* opt = reinterpret_cast<uint8_t*>(th + 1);
    memmove(opt + TCPOLEN_MSS, opt, len - sizeof(tcphdr));
    csum_replace2(&th->check, cpu_to_be16(uint16_t(len)), // of the pseudo header
                  cpu_to_be16(uint16_t(len + TCPOLEN_MSS)));
    opt[0] = TCPOPT_MSS;
    opt[1] = TCPOLEN_MSS;
    opt[2] = uint8_t(mss >> 8);
    opt[3] = uint8_t(mss);
    csum_replace2(&th->check, {}, load16(opt));
    csum_replace2(&th->check, {}, load16(opt + 2));
    auto* word = reinterpret_cast<uint8_t*>(th) + 12; // data offset and flags
    be16_t old = load16(word);
    th->doff_res = uint8_t(th->doff_res + (TCPOLEN_MSS / 4 << 4));
    csum_replace2(&th->check, old, load16(word));

    be16_t newlen = cpu_to_be16(uint16_t(be16_to_cpu(par.iph->tot_len) + TCPOLEN_MSS));
    csum_replace2(&par.iph->check, par.iph->tot_len, newlen);
    par.iph->tot_len = newlen;
    return true;
}

/// The MSS option of a header; null when there is none.
uint8_t* find_mss(tcphdr* th) {
    auto* opt = reinterpret_cast<uint8_t*>(th);
    for (unsigned i = sizeof(tcphdr); i + TCPOLEN_MSS <= th->hdr_len();) {
        if (opt[i] == TCPOPT_MSS && opt[i + 1] == TCPOLEN_MSS)
            return opt + i;
        i += opt[i] <= 1 || opt[i + 1] == 0 ? 1 : opt[i + 1]; // NOP, end of list
    }
    return nullptr;
}

} // namespace

unsigned tcpmss_tg(xt_action_param& par, const void* info) {
    if (par.fragoff)
        return XT_CONTINUE; // not the fragment with the header
    // The header has to lie in one piece: it is written to.
    if (par.len < par.thoff + sizeof(tcphdr) || !pskb_may_pull(xt_skb(par), par.thoff + 20u))
        return NF_DROP;
    par.iph = ip_hdr(par.skb);
    par.headlen = skb_headlen(par.skb);
    auto* th = reinterpret_cast<tcphdr*>(reinterpret_cast<uint8_t*>(par.iph) + par.thoff);
    const unsigned len = par.len - par.thoff, hdrlen = th->hdr_len();
    if (len < hdrlen || hdrlen < sizeof(tcphdr) || !pskb_may_pull(par.skb, par.thoff + hdrlen))
        return NF_DROP;
    par.iph = ip_hdr(par.skb);
    par.headlen = skb_headlen(par.skb);
    th = reinterpret_cast<tcphdr*>(reinterpret_cast<uint8_t*>(par.iph) + par.thoff);
    uint16_t mss = wanted_mss(par, as<xt_tcpmss_info>(info).mss);
    if (!mss && as<xt_tcpmss_info>(info).mss == XT_TCPMSS_CLAMP_PMTU)
        return NF_DROP;
    if (uint8_t* opt = find_mss(th)) {
        be16_t old = load16(opt + 2), now = cpu_to_be16(mss);
        if (be16_to_cpu(old) <= mss) // never raised, not even when set
            return XT_CONTINUE;
        memcpy(opt + 2, &now, sizeof now);
        // At an odd place this is not the sum's word; the kernel takes it for one, and so do we.
        csum_replace2(&th->check, old, now);
        return XT_CONTINUE;
    }
    // Behind the header there is data: the option could not be added without making the packet too
    // large; nor does a full header take one.
    if (len > hdrlen || hdrlen >= 60)
        return XT_CONTINUE;
    return add_mss(par, th, std::min(mss, DEFAULT_MSS)) ? XT_CONTINUE : NF_DROP;
}

int tcpmss_tg_check(const void* info, uint32_t hook_mask) {
    constexpr uint32_t has_route =
        hook_bit(NF_INET_FORWARD) | hook_bit(NF_INET_LOCAL_OUT) | hook_bit(NF_INET_POST_ROUTING);
    return as<xt_tcpmss_info>(info).mss == XT_TCPMSS_CLAMP_PMTU && (hook_mask & ~has_route)
               ? -EINVAL
               : 0;
}

} // namespace slabfwd::xt
