// SPDX-License-Identifier: BSD-3-Clause
//
// The list of rules: matching a flow, and the commands that change it.
// A published rule is not changed any more, but for the indices of the devices it names (atomics) and the
// rule that a goto leads to (RCU, as the list).
// Threads: lookups on any slot, under RCU; commands under rtnl. Rules come from kmalloc.
// Origin: net/core/fib_rules.c, net/ipv4/fib_rules.c (6.18).
#include "route/fib_rules.h"

#include <cerrno>
#include <cstring>
#include <new>

#include "alloc/kmalloc.h"
#include "neigh/packet_work.h"
#include "neigh/skbuff.h"
#include "route/fib_lookup.h"
#include "route/l3mdev.h"
#include "route/route.h"

namespace slabfwd {

/// A rule in the list.
struct fib_rule {
    fib_rule* next = nullptr;    ///< RCU
    fib_rule* ctarget = nullptr; ///< RCU; FR_ACT_GOTO: where to go on, always behind this one
    fib_net* fr_net = nullptr;
    uint32_t pref = 0, table = 0, target = 0, realms = 0;
    uint32_t uid_start = 0, uid_end = UINT32_MAX;
    uint64_t tun_id = 0;
    uint32_t mark = 0, mark_mask = 0;
    be32_t src{}, srcmask{}, dst{}, dstmask{};
    std::atomic<int> iifindex{0}, oifindex{0}; ///< 0: any device; -1: named, and not there now
    int suppress_prefixlen = -1, suppress_ifgroup = -1;
    fib_rule_port_range sport, dport;
    uint8_t action = 0, src_len = 0, dst_len = 0, tos = 0, dscp = 0, ip_proto = 0, protocol = 0;
    bool invert = false, dscp_full = false, l3mdev = false;
    char iifname[IFNAMSIZ_] = {}, oifname[IFNAMSIZ_] = {};
    rcu_head rcu;
};

namespace {

constexpr uint8_t ECN_MASK = 3;

bool port_match(const fib_rule_port_range& range, be16_t port) {
    const uint16_t p = be16_to_cpu(port);
    return !range.start || (range.start <= p && p <= range.end);
}

/// Everything that a rule may ask for, `not` aside. Origin: fib_rule_match, fib4_rule_match.
bool rule_selects(const fib_rule* r, const flowi4* fl4) {
    const int iif = r->iifindex.load(std::memory_order_relaxed);
    const int oif = r->oifindex.load(std::memory_order_relaxed);
    if ((iif && iif != fl4->flowi4_iif && iif != fl4->flowi4_l3mdev) ||
        (oif && oif != fl4->flowi4_oif && oif != fl4->flowi4_l3mdev))
        return false;
    if ((r->mark ^ fl4->flowi4_mark) & r->mark_mask)
        return false;
    if (r->l3mdev && !fl4->flowi4_l3mdev)
        return false;
    if (r->tun_id || r->uid_start) // packets here came by no tunnel, and belong to root
        return false;
    if (((fl4->saddr ^ r->src) & r->srcmask) || ((fl4->daddr ^ r->dst) & r->dstmask))
        return false;
    if (r->dscp_full ? r->dscp != (fl4->flowi4_tos & ~ECN_MASK)
                     : r->tos && !fib_dscp_masked_match(r->tos, fl4))
        return false;
    if (r->ip_proto && r->ip_proto != fl4->flowi4_proto)
        return false;
    return port_match(r->sport, fl4->fl4_sport) && port_match(r->dport, fl4->fl4_dport);
}

uint32_t rule_table(const fib_rule* r, const flowi4* fl4) {
    if (!r->l3mdev)
        return r->table;
    const net_device* vrf = dev_get_by_index(*r->fr_net->nd_net, fl4->flowi4_l3mdev);
    return vrf ? l3mdev_fib_table(vrf) : 0;
}

/// Devices are all of group 0 (default). Origin: fib4_rule_suppress.
bool rule_suppresses(const fib_rule* r, const fib_result* res) {
    return res->prefixlen <= r->suppress_prefixlen ||
           (r->suppress_ifgroup == 0 && res->fi && res->nh()->fib_nh_dev);
}

/// What a rule that matched says: 0, -errno, or -EAGAIN: the next rule, please. Origin:
/// fib4_rule_action.
int rule_action(const fib_rule* r, const flowi4* fl4, fib_result* res, int flags) {
    switch (r->action) {
    case FR_ACT_TO_TBL:
        break;
    case FR_ACT_UNREACHABLE:
        return -ENETUNREACH;
    case FR_ACT_PROHIBIT:
        return -EACCES;
    default:
        return -EINVAL;
    }
    const uint32_t id = rule_table(r, fl4);
    fib_table* tb = id ? fib_get_table(*r->fr_net->nd_net, id) : nullptr;
    int err = tb ? fib_one_table_lookup(tb, fl4, res, flags) : -EAGAIN;
    if (!err && rule_suppresses(r, res))
        return -EAGAIN;
    return err == 1 ? -EAGAIN : err;
}

/// The VRF of the flow, by its devices; looking in a VRF's table is not limited to the VRF device
/// itself. Origin: l3mdev_update_flow.
void l3mdev_update_flow(net& n, flowi4* fl4) {
    if (const net_device* dev = dev_get_by_index(n, fl4->flowi4_oif)) {
        if (!fl4->flowi4_l3mdev)
            fl4->flowi4_l3mdev = l3mdev_master_ifindex(dev);
        if (dev->vrf_table)
            fl4->flowi4_oif = 0;
        return;
    }
    if (fl4->flowi4_iif <= int(LOOPBACK_IFINDEX) || fl4->flowi4_l3mdev)
        return;
    if (const net_device* dev = dev_get_by_index(n, fl4->flowi4_iif))
        fl4->flowi4_l3mdev = l3mdev_master_ifindex(dev);
}

void set_device(net& n, const std::string& from, char (&name)[IFNAMSIZ_], std::atomic<int>& index) {
    if (from.empty())
        return;
    from.copy(name, IFNAMSIZ_ - 1);
    const net_device* dev = dev_get_by_name(n, name);
    index.store(dev ? dev->ifindex : -1, std::memory_order_relaxed);
}

int check_config(const fib_rule_config& cfg, netlink_ext_ack* extack) {
    const char* wrong = nullptr;
    if (cfg.tos & ECN_MASK)
        wrong = "Invalid dsfield (tos): ECN bits must be 0";
    else if (cfg.tos & 0xe0) // the upper three bits are for `dscp`
        wrong = "Invalid tos";
    else if (cfg.tos && cfg.dscp_full)
        wrong = "Cannot specify both TOS and DSCP";
    else if (cfg.src_len > 32 || cfg.dst_len > 32)
        wrong = "Invalid prefix length";
    else if (cfg.sport.start > cfg.sport.end || cfg.dport.start > cfg.dport.end)
        wrong = "Invalid port range";
    else if (cfg.uid_given && (cfg.uid_start == UINT32_MAX || cfg.uid_end == UINT32_MAX ||
                               cfg.uid_start > cfg.uid_end))
        wrong = "Invalid uid range";
    else if (cfg.l3mdev && cfg.table)
        wrong = "l3mdev and table are mutually exclusive";
    else if (cfg.iifname.size() >= IFNAMSIZ_ || cfg.oifname.size() >= IFNAMSIZ_)
        wrong = "Invalid device name";
    if (!wrong)
        return 0;
    NL_SET_ERR_MSG(extack, wrong);
    return -EINVAL;
}

fib_rule* rule_alloc(net& n, const fib_rule_config& cfg) {
    void* mem = kmalloc(sizeof(fib_rule), GFP_KERNEL);
    if (!mem)
        return nullptr;
    auto* r = new (mem) fib_rule;
    r->fr_net = n.ipv4.fib;
    r->pref = cfg.pref;
    r->action = cfg.action;
    r->l3mdev = cfg.l3mdev;
    r->table = cfg.table;
    r->target = cfg.target;
    r->realms = cfg.realms;
    r->tun_id = cfg.tun_id;
    r->uid_start = cfg.uid_start;
    r->uid_end = cfg.uid_end;
    r->invert = cfg.invert;
    r->src = cfg.src;
    r->dst = cfg.dst;
    r->src_len = cfg.src_len;
    r->dst_len = cfg.dst_len;
    r->srcmask = inet_make_mask(cfg.src_len);
    r->dstmask = inet_make_mask(cfg.dst_len);
    r->mark = cfg.mark;
    r->mark_mask = cfg.mark_mask;
    r->tos = cfg.tos;
    r->dscp_full = cfg.dscp_full;
    r->dscp = cfg.dscp;
    r->ip_proto = cfg.ip_proto;
    r->sport = cfg.sport;
    r->dport = cfg.dport;
    r->suppress_prefixlen = cfg.suppress_prefixlen;
    r->suppress_ifgroup = cfg.suppress_ifgroup;
    r->protocol = cfg.protocol;
    set_device(n, cfg.iifname, r->iifname, r->iifindex);
    set_device(n, cfg.oifname, r->oifname, r->oifindex);
    return r;
}

void rule_free(fib_rule* r) {
    kfree(r);
}

bool same_range(const fib_rule_port_range& a, const fib_rule_port_range& b) {
    return a.start == b.start && a.end == b.end;
}

/// Addresses and TOS of r are those of `like`, as far as that has any. Origin: fib4_rule_compare.
bool same_selector(const fib_rule* r, const fib_rule* like) {
    return (!like->src_len || (r->src_len == like->src_len && r->src == like->src)) &&
           (!like->dst_len || (r->dst_len == like->dst_len && r->dst == like->dst)) &&
           (!like->realms || r->realms == like->realms) && (!like->tos || r->tos == like->tos) &&
           (!like->dscp_full || (r->dscp_full && r->dscp == like->dscp));
}

/// Is `fresh` there already, as Linux sees it: `not` and where a goto goes are not compared, nor
/// are addresses, TOS and realms that the new rule does not have. Origin: rule_exists.
bool rule_exists(const fib_rule* r, const fib_rule* fresh) {
    return r->pref == fresh->pref && r->action == fresh->action && r->table == fresh->table &&
           r->l3mdev == fresh->l3mdev && r->mark == fresh->mark &&
           r->mark_mask == fresh->mark_mask && r->suppress_prefixlen == fresh->suppress_prefixlen &&
           !strcmp(r->iifname, fresh->iifname) && !strcmp(r->oifname, fresh->oifname) &&
           r->suppress_ifgroup == fresh->suppress_ifgroup && r->tun_id == fresh->tun_id &&
           r->uid_start == fresh->uid_start && r->uid_end == fresh->uid_end &&
           r->ip_proto == fresh->ip_proto && same_range(r->sport, fresh->sport) &&
           same_range(r->dport, fresh->dport) && same_selector(r, fresh);
}

/// Has r all that a deletion names? Origin: rule_find, fib4_rule_compare.
bool rule_is_meant(const fib_rule* r, const fib_rule_config& cfg) {
    const bool by_action = cfg.action_given || cfg.table;
    return (!cfg.pref_given || r->pref == cfg.pref) && (!by_action || r->action == cfg.action) &&
           (!cfg.table || r->table == cfg.table) && (!cfg.l3mdev || r->l3mdev) &&
           (!cfg.invert || r->invert) && (cfg.iifname.empty() || cfg.iifname == r->iifname) &&
           (cfg.oifname.empty() || cfg.oifname == r->oifname) &&
           (!cfg.mark || r->mark == cfg.mark) &&
           (!cfg.mark_mask || r->mark_mask == cfg.mark_mask) &&
           (cfg.suppress_prefixlen < 0 || r->suppress_prefixlen == cfg.suppress_prefixlen) &&
           (cfg.suppress_ifgroup < 0 || r->suppress_ifgroup == cfg.suppress_ifgroup) &&
           (!cfg.tun_id || r->tun_id == cfg.tun_id) && (!cfg.realms || r->realms == cfg.realms) &&
           (!cfg.uid_given || (r->uid_start == cfg.uid_start && r->uid_end == cfg.uid_end)) &&
           (!cfg.ip_proto || r->ip_proto == cfg.ip_proto) &&
           (!cfg.sport.start || same_range(r->sport, cfg.sport)) &&
           (!cfg.dport.start || same_range(r->dport, cfg.dport)) &&
           (!cfg.src_len || (r->src_len == cfg.src_len && r->src == cfg.src)) &&
           (!cfg.dst_len || (r->dst_len == cfg.dst_len && r->dst == cfg.dst)) &&
           (!cfg.tos || r->tos == cfg.tos) &&
           (!cfg.dscp_full || (r->dscp_full && r->dscp == cfg.dscp)) &&
           (!cfg.protocol || r->protocol == cfg.protocol);
}

/// One less than the second rule's priority, so that rules given in turn are asked last first.
uint32_t default_pref(const fib_net* fn) {
    const fib_rule* second = fn->rules_list ? fn->rules_list->next : nullptr;
    return second && second->pref ? second->pref - 1 : 0;
}

/// The first rule with this priority.
fib_rule* rule_with_pref(const fib_net* fn, uint32_t pref) {
    fib_rule* r = fn->rules_list;
    while (r && r->pref < pref)
        r = r->next;
    return r && r->pref == pref ? r : nullptr;
}

/// Rules that go to this priority find its first rule, or none. What they hold is behind them, so
/// that a walk ends.
void resolve_gotos(fib_net* fn, uint32_t pref) {
    fib_rule* target = rule_with_pref(fn, pref);
    for (fib_rule* r = fn->rules_list; r && r->pref < pref; r = r->next)
        if (r->action == FR_ACT_GOTO && r->target == pref && r->ctarget != target)
            rcu_assign_pointer(r->ctarget, target);
}

void rule_insert(fib_net* fn, fib_rule* r) {
    if (r->action == FR_ACT_GOTO)
        r->ctarget = rule_with_pref(fn, r->target);
    fib_rule** link = &fn->rules_list;
    while (*link && (*link)->pref <= r->pref)
        link = &(*link)->next;
    r->next = *link;
    rcu_assign_pointer(*link, r);
    resolve_gotos(fn, r->pref);
}

/// Origin: fib_nl2rule_rtnl.
int check_goto(const fib_rule_config& cfg, uint32_t pref, netlink_ext_ack* extack) {
    const char* wrong = nullptr;
    if (cfg.target_given && cfg.action != FR_ACT_GOTO)
        wrong = "Unexpected goto";
    else if (!cfg.target_given && cfg.action == FR_ACT_GOTO)
        wrong = "Missing goto target for action goto";
    else if (cfg.target_given && cfg.target <= pref)
        wrong = "Backward goto not supported";
    if (!wrong)
        return 0;
    NL_SET_ERR_MSG(extack, wrong);
    return -EINVAL;
}

/// A rule that looks up, and nobody says where: in a table of its own, which has no routes yet.
/// Origin: fib_empty_table.
int give_table(net& n, fib_rule* r) {
    if (r->table || r->l3mdev || r->action != FR_ACT_TO_TBL)
        return 0;
    for (uint32_t id = 1;; ++id)
        if (!fib_get_table(n, id)) {
            r->table = id;
            return fib_new_table(n, id) ? 0 : -ENOBUFS;
        }
}

bool needs_dissection(const fib_rule* r) {
    return r->ip_proto || r->sport.start || r->dport.start;
}

/// From now on the rules are asked. The list is in place before anybody can see that.
void use_rules(net& n) {
    n.ipv4.fib->fib_has_custom_rules.store(true, std::memory_order_release);
    rt_cache_flush(n);
}

fib_rule_config config_of(const fib_rule* r) {
    fib_rule_config cfg;
    cfg.pref_given = cfg.action_given = true;
    cfg.pref = r->pref;
    cfg.action = r->action;
    cfg.table = r->table;
    cfg.invert = r->invert;
    cfg.src_len = r->src_len;
    cfg.dst_len = r->dst_len;
    cfg.src = r->src;
    cfg.dst = r->dst;
    cfg.iifname = r->iifname;
    cfg.oifname = r->oifname;
    cfg.iif_detached = r->iifindex == -1;
    cfg.oif_detached = r->oifindex == -1;
    cfg.mark = r->mark;
    cfg.mark_mask = r->mark_mask;
    cfg.tos = r->tos;
    cfg.dscp_full = r->dscp_full;
    cfg.dscp = r->dscp;
    cfg.ip_proto = r->ip_proto;
    cfg.sport = r->sport;
    cfg.dport = r->dport;
    cfg.suppress_prefixlen = r->suppress_prefixlen;
    cfg.suppress_ifgroup = r->suppress_ifgroup;
    cfg.target_given = r->action == FR_ACT_GOTO;
    cfg.target = r->target;
    cfg.unresolved = r->action == FR_ACT_GOTO && !r->ctarget;
    cfg.realms = r->realms;
    cfg.tun_id = r->tun_id;
    cfg.uid_start = r->uid_start;
    cfg.uid_end = r->uid_end;
    cfg.uid_given = r->uid_start || r->uid_end != UINT32_MAX;
    cfg.l3mdev = r->l3mdev;
    cfg.protocol = r->protocol;
    return cfg;
}

} // namespace

bool fib4_has_custom_rules(const net& n) {
    return n.ipv4.fib->fib_has_custom_rules.load(std::memory_order_acquire);
}

int fib_rules_lookup(net& n, const flowi4* flp, fib_result* res, int flags) {
    flowi4 fl4 = *flp;
    l3mdev_update_flow(n, &fl4);
    unsigned looked = 0;
    int err = -EAGAIN;
    for (const fib_rule* r = rcu_dereference(n.ipv4.fib->rules_list); r && err == -EAGAIN;) {
        ++looked;
        const fib_rule* next = rcu_dereference(r->next);
        if (rule_selects(r, &fl4) != r->invert) {
            if (r->action == FR_ACT_GOTO) {
                const fib_rule* target = rcu_dereference(r->ctarget);
                next = target ? target : next;
            } else if (r->action != FR_ACT_NOP) {
                err = rule_action(r, &fl4, res, flags);
            }
        }
        r = next;
    }
    if (softnet_data* sd = this_softnet())
        packet_work_seen(*sd, packet_work::rules, looked);
    return err == -EAGAIN ? -ENETUNREACH : err;
}

bool fib4_rules_early_flow_dissect(net& n, const sk_buff* skb, flowi4* fl4) {
    if (!skb || !n.ipv4.fib->fib_rules_require_fldissect.load(std::memory_order_relaxed))
        return false;
    const iphdr* iph = ip_hdr(skb);
    fl4->flowi4_proto = iph->protocol;
    if (ip_is_fragment(iph->frag_off) ||
        (iph->protocol != IPPROTO_TCP_ && iph->protocol != IPPROTO_UDP_))
        return true;
    const int base = int(skb->network_header) - int(skb_mbuf(skb)->data_off);
    be16_t ports[2];
    if (base >= 0 && skb_copy_bits(skb, unsigned(base) + iph->hdr_len(), ports, sizeof(ports))) {
        fl4->fl4_sport = ports[0];
        fl4->fl4_dport = ports[1];
    }
    return true;
}

int fib_rule_add(net& n, const fib_rule_config& cfg, bool exclusive, netlink_ext_ack* extack) {
    std::lock_guard rtnl(n.rtnl);
    if (int err = check_config(cfg, extack))
        return err;
    fib_net* fn = n.ipv4.fib;
    fib_rule* r = rule_alloc(n, cfg);
    if (!r)
        return -ENOBUFS;
    if (!cfg.pref_given)
        r->pref = default_pref(fn);
    int err = check_goto(cfg, r->pref, extack);
    for (const fib_rule* other = fn->rules_list; !err && exclusive && other; other = other->next)
        err = rule_exists(other, r) ? -EEXIST : 0;
    if (!err)
        err = give_table(n, r);
    if (err) {
        kfree(r);
        return err;
    }
    if (needs_dissection(r))
        fn->fib_rules_require_fldissect.fetch_add(1, std::memory_order_relaxed);
    rule_insert(fn, r);
    use_rules(n);
    return 0;
}

int fib_rule_del(net& n, const fib_rule_config& cfg, netlink_ext_ack* extack) {
    std::lock_guard rtnl(n.rtnl);
    if (int err = check_config(cfg, extack))
        return err;
    fib_net* fn = n.ipv4.fib;
    if (int err = check_goto(cfg, cfg.pref_given ? cfg.pref : default_pref(fn), extack))
        return err;
    fib_rule** link = &fn->rules_list;
    while (*link && !rule_is_meant(*link, cfg))
        link = &(*link)->next;
    fib_rule* r = *link;
    if (!r)
        return -ENOENT;
    rcu_assign_pointer(*link, r->next);
    resolve_gotos(fn, r->pref);
    if (needs_dissection(r))
        fn->fib_rules_require_fldissect.fetch_sub(1, std::memory_order_relaxed);
    call_rcu_free<fib_rule, rule_free>(r);
    use_rules(n);
    return 0;
}

void fib_rules_dump(net& n, bool (*fn)(const fib_rule_config&, void*), void* cookie) {
    std::lock_guard rtnl(n.rtnl);
    for (const fib_rule* r = n.ipv4.fib->rules_list; r; r = r->next)
        if (!fn(config_of(r), cookie))
            return;
}

int fib4_rules_init(net& n) {
    constexpr std::pair<uint32_t, uint32_t> defaults[] = {
        {0, RT_TABLE_LOCAL}, {0x7ffe, RT_TABLE_MAIN}, {0x7fff, RT_TABLE_DEFAULT}};
    for (auto [pref, table] : defaults) {
        fib_rule_config cfg;
        cfg.pref = pref;
        cfg.table = table;
        cfg.protocol = RTPROT_KERNEL;
        fib_rule* r = rule_alloc(n, cfg);
        if (!r) {
            fib4_rules_exit(n);
            return -ENOMEM;
        }
        rule_insert(n.ipv4.fib, r);
    }
    return 0;
}

void fib4_rules_exit(net& n) {
    for (fib_rule *r = n.ipv4.fib->rules_list, *next; r; r = next) {
        next = r->next;
        kfree(r);
    }
    n.ipv4.fib->rules_list = nullptr;
}

void fib_rules_event(netdev_event event, net_device* dev) {
    const bool here = event == netdev_event::REGISTER;
    for (fib_rule* r = dev->nd_net->ipv4.fib->rules_list; r; r = r->next) {
        if (!strcmp(r->iifname, dev->name))
            r->iifindex.store(here ? dev->ifindex : -1, std::memory_order_relaxed);
        if (!strcmp(r->oifname, dev->name))
            r->oifindex.store(here ? dev->ifindex : -1, std::memory_order_relaxed);
    }
}

} // namespace slabfwd
