// SPDX-License-Identifier: BSD-3-Clause
//
// Hook points: registration and the walk of a packet over the hooks of one point.
// Doors: nf_register_net_hook, nf_unregister_net_hook, nf_hook_slow, nf_hook_burst_slow.
// The hooks of a point lie in one array, in order of priority. It is never changed: a writer makes
// a new one, publishes it and lets the old one go after a grace period, so a walk sees one or the
// other. Threads: writers are the control thread; walks run on any slot. Origin:
// net/netfilter/core.c.
#include <bit>
#include <cerrno>
#include <new>

#include "alloc/kmalloc.h"
#include "dataplane/netfilter/ip_tables.h"
#include "dataplane/netfilter/netfilter.h"
#include "neigh/softnet.h"

namespace slabfwd {

namespace {

constexpr unsigned MAX_HOOK_COUNT = 1024;
/// A hook that asks to be called again this often in a row does so for ever: its packet is dropped.
constexpr unsigned MAX_REPEAT = 1000;

constexpr const char* hook_names[NF_INET_NUMHOOKS] = {"PRE_ROUTING", "LOCAL_IN", "FORWARD",
                                                      "LOCAL_OUT", "POST_ROUTING"};
constexpr const char* verdict_names[] = {"DROP", "ACCEPT", "STOLEN", "QUEUE", "REPEAT"};

const char* verdict_name(unsigned verdict) {
    return verdict <= NF_REPEAT ? verdict_names[verdict] : "?";
}

nf_hook_entries* allocate_hook_entries(unsigned n) {
    void* p =
        kzalloc(sizeof(nf_hook_entries) + n * sizeof(nf_hook_entries::nf_hook_entry), GFP_KERNEL);
    auto* e = p ? new (p) nf_hook_entries : nullptr;
    if (e)
        e->num_hook_entries = uint16_t(n);
    return e;
}

void free_hook_entries(nf_hook_entries* e) {
    if (e)
        call_rcu(&e->rcu, [](rcu_head* h) { kfree(reinterpret_cast<nf_hook_entries*>(h)); });
}
static_assert(offsetof(nf_hook_entries, rcu) == 0);

/// Runs one hook until it gives a verdict other than NF_REPEAT.
unsigned run_hook(const nf_hook_entries::nf_hook_entry& h, sk_buff* skb,
                  const nf_hook_state& state) {
    for (unsigned n = 0; n < MAX_REPEAT; ++n) {
        unsigned verdict = h.hook(h.priv, skb, &state);
        // A stolen packet may be gone already.
        trace_packet(verdict == NF_STOLEN ? nullptr : skb, "NF %s %s -> %s", hook_names[state.hook],
                     h.ops->name, verdict_name(verdict));
        if (likely(verdict != NF_REPEAT))
            return verdict;
    }
    net_warn_ratelimited("netfilter: hook %s at %s repeats for ever", h.ops->name,
                         hook_names[state.hook]);
    return NF_DROP;
}

/// Asks one hook about skb. 1: it goes on; 0: somebody has it; -EPERM: it was dropped.
int judge(const nf_hook_entries::nf_hook_entry& h, sk_buff* skb, const nf_hook_state& state) {
    switch (unsigned verdict = run_hook(h, skb, state)) {
    case NF_ACCEPT:
        return 1;
    case NF_STOLEN:
        return 0;
    case NF_DROP:
        kfree_skb_reason(skb, skb_drop_reason::NETFILTER_DROP);
        return -EPERM;
    default:
        net_warn_ratelimited("netfilter: hook %s at %s returned %s (%u), which is not supported: "
                             "packet dropped",
                             h.ops->name, hook_names[state.hook], verdict_name(verdict), verdict);
        kfree_skb_reason(skb, skb_drop_reason::NETFILTER_DROP);
        return -EPERM;
    }
}

} // namespace

int nf_hook_slow(sk_buff* skb, const nf_hook_state& state, const nf_hook_entries* e) {
    for (unsigned i = 0; i < e->num_hook_entries; ++i)
        if (int verdict = judge(e->hooks[i], skb, state); verdict != 1)
            return verdict;
    return 1;
}

void nf_hook_burst_slow(nf_hook_burst& b, const nf_hook_entries* e) {
    for (unsigned h = 0; h < e->num_hook_entries && b.live; ++h) {
        const nf_hook_entries::nf_hook_entry& entry = e->hooks[h];
        if (entry.ops->burst) {
            entry.ops->burst(entry.priv, &b);
            continue;
        }
        for (uint32_t left = b.live; left; left &= left - 1) {
            unsigned i = unsigned(std::countr_zero(left));
            const nf_hook_state state{b.hook, b.in, b.out ? b.out(&b, i) : nullptr, b.nd_net};
            if (judge(entry, b.make_skb(&b, i), state) != 1)
                b.live &= ~(1u << i);
        }
    }
}

int nf_net_init(net& n) {
    void* p = kzalloc(sizeof(nf_net), GFP_KERNEL);
    if (!p)
        return -ENOMEM;
    n.nf = new (p) nf_net;
    return 0;
}

void nf_net_exit(net& n) {
    if (!n.nf)
        return;
    ipt_net_exit(n);
    for (nf_hook_entries* e : n.nf->hooks_ipv4)
        kfree(e);
    kfree(n.nf);
    n.nf = nullptr;
}

int nf_register_net_hook(net& n, const nf_hook_ops* ops) {
    if (!ops->hook || ops->hooknum >= NF_INET_NUMHOOKS)
        return -EINVAL;
    nf_hook_entries*& slot = n.nf->hooks_ipv4[ops->hooknum];
    nf_hook_entries* old = slot;
    unsigned count = old ? old->num_hook_entries : 0;
    if (count >= MAX_HOOK_COUNT)
        return -E2BIG;
    nf_hook_entries* fresh = allocate_hook_entries(count + 1);
    if (!fresh)
        return -ENOMEM;
    unsigned at = 0; // behind those of equal priority
    while (at < count && old->hooks[at].ops->priority <= ops->priority)
        ++at;
    for (unsigned i = 0; i < count; ++i)
        fresh->hooks[i + (i >= at)] = old->hooks[i];
    fresh->hooks[at] = {ops->hook, ops->priv, ops};
    rcu_assign_pointer(slot, fresh);
    free_hook_entries(old);
    return 0;
}

namespace {
unsigned nf_accept_all(void*, sk_buff*, const nf_hook_state*) {
    return NF_ACCEPT;
}
constexpr nf_hook_ops dummy_ops{nf_accept_all, nullptr, 0, 0, "gone", nullptr};
} // namespace

void nf_unregister_net_hook(net& n, const nf_hook_ops* ops) {
    if (ops->hooknum >= NF_INET_NUMHOOKS)
        return;
    nf_hook_entries*& slot = n.nf->hooks_ipv4[ops->hooknum];
    nf_hook_entries* old = slot;
    unsigned count = old ? old->num_hook_entries : 0, at = 0;
    while (at < count && old->hooks[at].ops != ops)
        ++at;
    if (at == count)
        return;
    nf_hook_entries* fresh = count > 1 ? allocate_hook_entries(count - 1) : nullptr;
    if (fresh) {
        for (unsigned i = 0; i < count; ++i)
            if (i != at)
                fresh->hooks[i - (i > at)] = old->hooks[i];
    } else if (count > 1) {
        // Out of memory: removal cannot fail, so the entry stays as one that lets everything pass.
        __atomic_store_n(&old->hooks[at].hook, &nf_accept_all, __ATOMIC_RELEASE);
        __atomic_store_n(&old->hooks[at].ops, &dummy_ops, __ATOMIC_RELEASE);
        synchronize_rcu(n);
        return;
    }
    rcu_assign_pointer(slot, fresh);
    free_hook_entries(old);
    synchronize_rcu(n);
}

} // namespace slabfwd
