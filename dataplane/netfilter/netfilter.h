// SPDX-License-Identifier: BSD-3-Clause
//
// The hook points of the IPv4 path and their registration. Hooks of one point run in order of
// priority; the list of a point is an array published under RCU, so a burst sees the old or the new
// one. Doors: nf_register_net_hook, NF_HOOK (per packet), nf_hook_burst_slow (burst path). Threads:
// registration on the control thread; hooks run on any worker, several at a time. Origin:
// include/linux/netfilter.h, net/netfilter/core.c.
#pragma once

#include <bit>

#include "neigh/net_namespace.h"
#include "neigh/skbuff.h"

namespace slabfwd {

constexpr unsigned NF_INET_PRE_ROUTING = 0, NF_INET_LOCAL_IN = 1, NF_INET_FORWARD = 2,
                   NF_INET_LOCAL_OUT = 3, NF_INET_POST_ROUTING = 4, NF_INET_NUMHOOKS = 5;

/// Verdicts of a hook. NF_QUEUE has no user space to go to: a hook that returns it gets its packet
/// dropped (NETFILTER_DROP) with a rate-limited error that names the hook.
constexpr unsigned NF_DROP = 0, NF_ACCEPT = 1, NF_STOLEN = 2, NF_QUEUE = 3, NF_REPEAT = 4;

constexpr int NF_IP_PRI_FIRST = INT32_MIN, NF_IP_PRI_CONNTRACK_DEFRAG = -400, NF_IP_PRI_RAW = -300,
              NF_IP_PRI_CONNTRACK = -200, NF_IP_PRI_MANGLE = -150, NF_IP_PRI_NAT_DST = -100,
              NF_IP_PRI_FILTER = 0, NF_IP_PRI_SECURITY = 50, NF_IP_PRI_NAT_SRC = 100,
              NF_IP_PRI_CONNTRACK_CONFIRM = INT32_MAX;

/// What a hook is told beside the packet. Origin: struct nf_hook_state.
struct nf_hook_state {
    unsigned hook;
    net_device *in, *out;
    net* nd_net;
};

using nf_hookfn = unsigned(void* priv, sk_buff* skb, const nf_hook_state* state);

/// The packets of a burst at one hook point. A hook takes packet i out (drop()) by clearing its bit
/// in `live`; it may change TOS, TTL and what is behind the header in place, and asks for an sk_buff
/// where it needs one: before it changes an address or a length, at least.
struct nf_hook_burst {
    net* nd_net;
    unsigned hook;
    uint32_t live; ///< bit i: packet i is there to be judged
    net_device* in;
    iphdr* const* iph;  ///< [i]; 20 bytes and the first segment behind it
    rte_mbuf* const* m; ///< [i]; data_len counts from the IP header, less link_len
    net_device* (*out)(const nf_hook_burst* b, unsigned i); ///< null at PRE_ROUTING
    sk_buff* (*make_skb)(nf_hook_burst* b, unsigned i);     ///< packet i as an sk_buff, route set
    const uint32_t* skbs; ///< bit i: packet i has its sk_buff already, data at the IP header
    void* owner;
    uint64_t bytes;    ///< len() of the packets in bytes_of, added up
    uint32_t bytes_of; ///< see bytes_together()
    /// Drops packet i (NETFILTER_DROP).
    void drop(unsigned i) {
        live &= ~(1u << i);
        kfree_skb_reason(make_skb(this, i), skb_drop_reason::NETFILTER_DROP);
    }
    /// Bytes from the IP header on: of the whole packet, and in its first segment.
    uint32_t len(unsigned i) const { return m[i]->pkt_len - link_len(i); }
    uint32_t headlen(unsigned i) const { return m[i]->data_len - link_len(i); }
    unsigned link_len(unsigned i) const { return *skbs >> i & 1 ? 0 : unsigned(ETH_HLEN); }
    /// The lengths of these packets, added up. Mostly it is the same packets again, rule after rule.
    uint64_t bytes_together(uint32_t packets) {
        if (likely(packets == bytes_of && !(packets & *skbs)))
            return bytes;
        bytes = 0;
        for (uint32_t left = bytes_of = packets; left; left &= left - 1)
            bytes += len(unsigned(std::countr_zero(left)));
        return bytes;
    }
};
/// Judges all live packets at once. Optional beside a hook's nf_hookfn.
using nf_hook_burstfn = void(void* priv, nf_hook_burst* b);

/// One registration; owned by the caller, must outlive it.
struct nf_hook_ops {
    nf_hookfn* hook = nullptr;
    void* priv = nullptr;
    unsigned hooknum = 0;
    int priority = 0;
    const char* name = "";
    nf_hook_burstfn* burst = nullptr; ///< null: hook is called for each packet of a burst
};

/// The hooks of one point, in order. Origin: struct nf_hook_entries.
struct nf_hook_entries {
    rcu_head rcu;
    uint16_t num_hook_entries;
    struct nf_hook_entry {
        nf_hookfn* hook;
        void* priv;
        const nf_hook_ops* ops;
    };
    __extension__ nf_hook_entry hooks[];
};

/// Hook points of one net (net.nf).
struct nf_net {
    nf_hook_entries* hooks_ipv4[NF_INET_NUMHOOKS] = {}; ///< RCU; null: nothing registered
    /// Bit: at this hook point a packet's fate depends on those before it (limit, statistic, LOG),
    /// so that no packet of a burst may overtake another on the way there.
    std::atomic<uint32_t> ordered{0};
    struct ipt_net* ipt = nullptr; ///< the tables of iptables, see ip_tables.h
};

/// 0 or -ENOMEM.
int nf_net_init(net& n);
void nf_net_exit(net& n);
/// Adds ops to its hook point, behind those of equal priority. 0, -EINVAL (hook, hooknum), -ENOMEM,
/// -E2BIG.
int nf_register_net_hook(net& n, const nf_hook_ops* ops);
/// Takes it out; when it returns no packet is in it any more.
void nf_unregister_net_hook(net& n, const nf_hook_ops* ops);

inline const nf_hook_entries* nf_hooks(const net& n, unsigned hook) {
    return rcu_dereference(n.nf->hooks_ipv4[hook]);
}
/// Runs skb through the entries. 1: go on with okfn; 0: skb was consumed (dropped, counted, or
/// stolen).
int nf_hook_slow(sk_buff* skb, const nf_hook_state& state, const nf_hook_entries* e);

/// Runs the live packets of a burst through the entries; b.live is what is left.
void nf_hook_burst_slow(nf_hook_burst& b, const nf_hook_entries* e);

/// Passes skb through hook point `hook`, then to okfn. Origin: NF_HOOK.
inline int NF_HOOK(unsigned hook, net& n, sk_buff* skb, net_device* in, net_device* out,
                   int (*okfn)(net&, sk_buff*)) {
    if (const nf_hook_entries* e = nf_hooks(n, hook); unlikely(e != nullptr)) {
        if (int verdict = nf_hook_slow(skb, nf_hook_state{hook, in, out, &n}, e); verdict != 1)
            return verdict;
    }
    return okfn(n, skb);
}
inline int NF_HOOK_COND(unsigned hook, net& n, sk_buff* skb, net_device* in, net_device* out,
                        int (*okfn)(net&, sk_buff*), bool cond) {
    return cond ? NF_HOOK(hook, n, skb, in, out, okfn) : okfn(n, skb);
}

} // namespace slabfwd
