// SPDX-License-Identifier: BSD-3-Clause
//
// fib_info: what routes share. Making one from a command, finding its equal, letting go of it; what
// becomes of it when a device or an address goes or comes; choosing the route of a prefix.
// Doors: fib_create_info, fib_release_info, fib_info_put; fib_semantic_match; fib_sync_down_dev &
// co. Threads: under rtnl, but for fib_info_put and fib_semantic_match (any slot). Next hops' flags
// and shares are atomics that readers see change. Life: the tree's count lasts until a grace period
// after fib_treeref became 0 (see ip_fib.h); the last put waits for one more and frees. Origin:
// net/ipv4/fib_semantics.c (6.18).
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <span>

#include "alloc/kmalloc.h"
#include "neigh/ndisc.h"
#include "neigh/packet_work.h"
#include "route/fib_lookup.h"
#include "route/l3mdev.h"

namespace slabfwd {

void (*rt_nh_release)(fib_info* fi) = nullptr;

constexpr std::array<fib_prop, RTN_MAX + 1> fib_props = {{
    {0, RT_SCOPE_NOWHERE},              // RTN_UNSPEC
    {0, RT_SCOPE_UNIVERSE},             // RTN_UNICAST
    {0, RT_SCOPE_HOST},                 // RTN_LOCAL
    {0, RT_SCOPE_LINK},                 // RTN_BROADCAST
    {0, RT_SCOPE_LINK},                 // RTN_ANYCAST
    {0, RT_SCOPE_UNIVERSE},             // RTN_MULTICAST
    {-EINVAL, RT_SCOPE_UNIVERSE},       // RTN_BLACKHOLE
    {-EHOSTUNREACH, RT_SCOPE_UNIVERSE}, // RTN_UNREACHABLE
    {-EACCES, RT_SCOPE_UNIVERSE},       // RTN_PROHIBIT
    {-EAGAIN, RT_SCOPE_UNIVERSE},       // RTN_THROW
    {-EINVAL, RT_SCOPE_NOWHERE},        // RTN_NAT
    {-EINVAL, RT_SCOPE_NOWHERE},        // RTN_XRESOLVE
}};

namespace {

/// Flags that say how a next hop is doing, not what it is.
constexpr uint32_t RTNH_COMPARE_MASK = RTNH_F_DEAD | RTNH_F_LINKDOWN;
constexpr uint32_t FIB_INFO_HASH_MIN = 64;
constexpr size_t MAX_NEXTHOPS = 255; ///< fib_result::nh_sel has eight bits

std::span<fib_nh> nexthops(fib_info* fi) {
    return {fi->fib_nh_, size_t(fi->fib_nhs)};
}
std::span<const fib_nh> nexthops(const fib_info* fi) {
    return {fi->fib_nh_, size_t(fi->fib_nhs)};
}

size_t fib_info_size(int nhs) {
    return sizeof(fib_info) + size_t(nhs - 1) * sizeof(fib_nh);
}

uint32_t mix(uint32_t h, uint32_t v) {
    h = (h ^ v) * 0x9e3779b1u;
    return h ^ h >> 15;
}

uint32_t fib_info_hashfn(const fib_info* fi) {
    uint32_t h = mix(uint32_t(fi->fib_nhs), fi->fib_prefsrc.raw);
    h = mix(h, fi->fib_priority);
    h = mix(h, fi->fib_tb_id);
    h = mix(h, uint32_t(fi->fib_protocol) << 16 | uint32_t(fi->fib_scope) << 8 | fi->fib_type);
    for (const fib_nh& nh : nexthops(fi))
        h = mix(mix(h, uint32_t(nh.fib_nh_oif)), nh.fib_nh_gw4.raw);
    return h;
}

fib_info*& fib_info_bucket(const fib_net* fn, const fib_info* fi) {
    return fn->fib_info_hash[fib_info_hashfn(fi) & (fn->fib_info_hash_size - 1)];
}

void fib_info_link(fib_net* fn, fib_info* fi) {
    fib_info*& head = fib_info_bucket(fn, fi);
    fi->fib_hash_prev = nullptr;
    fi->fib_hash_next = head;
    if (head)
        head->fib_hash_prev = fi;
    head = fi;
}

void fib_info_unlink(fib_net* fn, fib_info* fi) {
    (fi->fib_hash_prev ? fi->fib_hash_prev->fib_hash_next : fib_info_bucket(fn, fi)) =
        fi->fib_hash_next;
    if (fi->fib_hash_next)
        fi->fib_hash_next->fib_hash_prev = fi->fib_hash_prev;
}

/// Doubles the hash when it is full; stays as it is when memory is short.
void fib_info_hash_grow(fib_net* fn) {
    if (fn->fib_info_cnt < fn->fib_info_hash_size)
        return;
    const uint32_t old_size = fn->fib_info_hash_size;
    auto** bigger =
        static_cast<fib_info**>(kcalloc(size_t(old_size) * 2, sizeof(fib_info*), GFP_KERNEL));
    if (!bigger)
        return;
    fib_info** old = fn->fib_info_hash;
    fn->fib_info_hash = bigger;
    fn->fib_info_hash_size = old_size * 2;
    for (uint32_t i = 0; i < old_size; ++i)
        for (fib_info *fi = old[i], *next; fi; fi = next) {
            next = fi->fib_hash_next;
            fib_info_link(fn, fi);
        }
    kfree(old);
}

template <class F>
void for_each_fib_info(const fib_net* fn, F f) {
    for (uint32_t i = 0; i < fn->fib_info_hash_size; ++i)
        for (fib_info* fi = fn->fib_info_hash[i]; fi; fi = fi->fib_hash_next)
            f(fi);
}

bool nh_equal(const fib_nh& a, const fib_nh& b) {
    return a.fib_nh_oif == b.fib_nh_oif && a.gw_family == b.gw_family &&
           a.fib_nh_gw4 == b.fib_nh_gw4 && !memcmp(a.gw6, b.gw6, sizeof(a.gw6)) &&
           a.fib_nh_scope == b.fib_nh_scope && a.fib_nh_weight == b.fib_nh_weight &&
           !(uint32_t(a.fib_nh_flags ^ b.fib_nh_flags) & ~RTNH_COMPARE_MASK);
}

/// The fib_info in use that is the same as nfi, or null. Origin: fib_find_info.
fib_info* fib_find_info(const fib_net* fn, const fib_info* nfi) {
    auto same = [nfi](const fib_info* fi) {
        return fi->fib_nhs == nfi->fib_nhs &&
               fi->fib_nh_[0].fib_nh_gw4 == nfi->fib_nh_[0].fib_nh_gw4 &&
               fi->fib_protocol == nfi->fib_protocol && fi->fib_scope == nfi->fib_scope &&
               fi->fib_prefsrc == nfi->fib_prefsrc && fi->fib_priority == nfi->fib_priority &&
               fi->fib_type == nfi->fib_type && fi->fib_tb_id == nfi->fib_tb_id &&
               fi->mtu_locked == nfi->mtu_locked &&
               !memcmp(fi->fib_metrics, nfi->fib_metrics, sizeof(fi->fib_metrics)) &&
               !(uint32_t(fi->fib_flags ^ nfi->fib_flags) & ~RTNH_COMPARE_MASK) &&
               std::ranges::equal(nexthops(fi), nexthops(nfi), nh_equal);
    };
    fib_info* fi = fib_info_bucket(fn, nfi);
    while (fi && !same(fi))
        fi = fi->fib_hash_next;
    return fi;
}

void free_fib_info_memory(fib_info* fi) {
    for (fib_nh& nh : nexthops(fi)) {
        kfree(nh.nh_rth_input);
        kfree(nh.nh_rth_output);
        nh.~fib_nh();
    }
    kfree(fi->fib_slot_refs);
    kfree(fi);
}

/// The end of one that was in use: what the slots have hung at it goes first.
void free_fib_info(fib_info* fi) {
    if (rt_nh_release)
        rt_nh_release(fi);
    free_fib_info_memory(fi);
}

fib_info* alloc_fib_info(int nhs) {
    void* mem = kzalloc(fib_info_size(nhs), GFP_KERNEL);
    if (!mem)
        return nullptr;
    auto* fi = new (mem) fib_info;
    for (int i = 1; i < nhs; ++i)
        new (&fi->fib_nh_[i]) fib_nh;
    return fi;
}

/// What is longer than a datagram counts as one that fits. Origin: ip_metrics_convert.
void fib_convert_metrics(fib_info* fi, const fib_config& cfg) {
    std::copy(std::begin(cfg.fc_metrics), std::end(cfg.fc_metrics), fi->fib_metrics);
    uint32_t& mtu = fi->fib_metrics[RTAX_MTU - 1];
    uint32_t& advmss = fi->fib_metrics[RTAX_ADVMSS - 1];
    mtu = std::min(mtu, 65535u - 15);
    advmss = std::min(advmss, 65535u - 40);
}

void fib_info_fill(net& n, fib_info* fi, const fib_config& cfg, int nhs) {
    fi->fib_net_ = &n;
    fi->fib_nhs = nhs;
    fi->fib_protocol = cfg.fc_protocol;
    fi->fib_scope = cfg.fc_scope;
    fi->fib_type = cfg.fc_type;
    fi->fib_prefsrc = cfg.fc_prefsrc;
    fi->fib_priority = cfg.fc_priority;
    fi->fib_tb_id = cfg.fc_table;
    fib_convert_metrics(fi, cfg);
    fi->mtu_locked = cfg.fc_mtu_locked;
}

int fib_nh_init(net& n, fib_info* fi, fib_nh* nh, const fib_nh_config& cfg, netlink_ext_ack* extack) {
    nh->nh_parent = fi;
    if (cfg.flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) {
        NL_SET_ERR_MSG(extack, "Invalid flags for nexthop - can not contain DEAD or LINKDOWN");
        return -EINVAL;
    }
    if (cfg.has_gw && cfg.has_gw6) {
        NL_SET_ERR_MSG(extack, "Nexthop configuration can not contain both GATEWAY and VIA");
        return -EINVAL;
    }
    if (cfg.weight < 1 || cfg.weight > 256)
        return -EINVAL;
    nh->fib_nh_oif = cfg.oif;
    nh->fib_nh_weight = cfg.weight;
    nh->fib_nh_flags = int(cfg.flags);
    if (cfg.has_gw && cfg.gw) {
        nh->gw_family = AF_INET_;
        nh->fib_nh_gw4 = cfg.gw;
    } else if (cfg.has_gw6) {
        nh->gw_family = AF_INET6_;
        memcpy(nh->gw6, cfg.gw6, sizeof(nh->gw6));
        if (n.nd_tbl)
            nh->gw6_key = in6_key(n, nh->gw6);
    }
    return 0;
}

/// What the slots hang at a fib_info that is going to be used. 0 or -ENOBUFS.
int fib_info_alloc_slots(const net& n, fib_info* fi) {
    const unsigned cpus = n.nr_cpus();
    fi->fib_slot_refs =
        static_cast<uint32_t*>(kcalloc(cpus * FIB_SLOT_STRIDE, sizeof(uint32_t), GFP_KERNEL));
    bool ok = fi->fib_slot_refs;
    for (fib_nh& nh : nexthops(fi)) {
        nh.nh_rth_input = static_cast<rtable**>(kcalloc(cpus, sizeof(rtable*), GFP_KERNEL));
        nh.nh_rth_output = static_cast<rtable**>(kcalloc(cpus, sizeof(rtable*), GFP_KERNEL));
        ok = ok && nh.nh_rth_input && nh.nh_rth_output;
    }
    return ok ? 0 : -ENOBUFS;
}

int init_nexthops(net& n, fib_info* fi, const fib_config& cfg, netlink_ext_ack* extack) {
    const fib_nh_config none{};
    for (int i = 0; i < fi->fib_nhs; ++i) {
        const fib_nh_config& nhc = cfg.nexthops.empty() ? none : cfg.nexthops[size_t(i)];
        if (int err = fib_nh_init(n, fi, &fi->fib_nh_[i], nhc, extack))
            return err;
    }
    if (fi->fib_nhs == 1) // the route's flags are its only next hop's
        fi->fib_flags = fi->fib_nh_[0].fib_nh_flags;
    return 0;
}

/// A route of host scope: the device alone, whatever its state.
int check_host_nexthop(net& n, fib_info* fi, netlink_ext_ack* extack) {
    if (fi->fib_nhs != 1) {
        NL_SET_ERR_MSG(extack, "Route with host scope can not have multiple nexthops");
        return -EINVAL;
    }
    fib_nh& nh = fi->fib_nh_[0];
    if (nh.gw_family) {
        NL_SET_ERR_MSG(extack, "Route with host scope can not have a gateway");
        return -EINVAL;
    }
    nh.fib_nh_scope = RT_SCOPE_NOWHERE;
    nh.fib_nh_dev = dev_get_by_index(n, nh.fib_nh_oif);
    return nh.fib_nh_dev ? 0 : -ENODEV;
}

int check_nexthops(net& n, fib_info* fi, const fib_config& cfg, netlink_ext_ack* extack) {
    if (cfg.fc_scope == RT_SCOPE_HOST)
        return check_host_nexthop(n, fi, extack);
    int linkdown = 0;
    for (fib_nh& nh : nexthops(fi)) {
        if (int err = fib_check_nh(n, &nh, cfg.fc_table, cfg.fc_scope, extack))
            return err;
        linkdown += !!(nh.fib_nh_flags & int(RTNH_F_LINKDOWN));
    }
    if (linkdown == fi->fib_nhs)
        fi->fib_flags = fi->fib_flags | int(RTNH_F_LINKDOWN);
    return 0;
}

/// A preferred source has to be an own address, or the one that the route itself makes one.
bool fib_valid_prefsrc(net& n, const fib_config& cfg) {
    if (cfg.fc_type == RTN_LOCAL && cfg.fc_dst && cfg.fc_prefsrc == cfg.fc_dst)
        return true;
    const uint32_t tb_id = cfg.fc_table == RT_TABLE_MAIN ? RT_TABLE_LOCAL : cfg.fc_table;
    return inet_addr_type_table(n, cfg.fc_prefsrc, tb_id) == RTN_LOCAL ||
           inet_addr_type_table(n, cfg.fc_prefsrc, RT_TABLE_LOCAL) == RTN_LOCAL;
}

/// Everything about the route that can be wrong; resolves the next hops. 0 or -errno.
int check_fib_info(net& n, fib_info* fi, const fib_config& cfg, netlink_ext_ack* extack) {
    if (fib_props[cfg.fc_type].error) {
        const bool plain = cfg.nexthops.empty() || (fi->fib_nhs == 1 && !fi->fib_nh_[0].gw_family &&
                                                    !fi->fib_nh_[0].fib_nh_oif);
        if (plain)
            return 0;
        NL_SET_ERR_MSG(extack,
                       "Gateway, device and multipath can not be specified for this route type");
        return -EINVAL;
    }
    if (cfg.fc_type == RTN_UNSPEC) {
        NL_SET_ERR_MSG(extack, "Invalid route type");
        return -EINVAL;
    }
    if (cfg.fc_scope > RT_SCOPE_HOST) {
        NL_SET_ERR_MSG(extack, "Invalid scope");
        return -EINVAL;
    }
    if (int err = check_nexthops(n, fi, cfg, extack))
        return err;
    if (cfg.fc_prefsrc && !fib_valid_prefsrc(n, cfg)) {
        NL_SET_ERR_MSG(extack, "Invalid prefsrc address");
        return -EINVAL;
    }
    return 0;
}

/// What is made of cfg alone: next hops resolved and checked, nothing allocated. 0 or -errno.
int resolve_fib_info(net& n, fib_info* fi, const fib_config& cfg, int nhs,
                     netlink_ext_ack* extack) {
    fib_info_fill(n, fi, cfg, nhs);
    int err = init_nexthops(n, fi, cfg, extack);
    return err ? err : check_fib_info(n, fi, cfg, extack);
}

bool gw_equal(const fib_nh_config& cfg, const fib_nh& nh) {
    if (cfg.has_gw6)
        return nh.gw_family == AF_INET6_ && !memcmp(cfg.gw6, nh.gw6, sizeof(nh.gw6));
    if (cfg.has_gw && cfg.gw)
        return nh.gw_family == AF_INET_ && nh.fib_nh_gw4 == cfg.gw;
    return true;
}

bool nh_matches(const fib_nh_config& cfg, const fib_nh& nh) {
    return (!cfg.oif || cfg.oif == nh.fib_nh_oif) && gw_equal(cfg, nh);
}

/// May this next hop be used for flp? Origin: fib_lookup_good_nhc.
bool fib_lookup_good_nh(const fib_nh& nh, int flags, const flowi4* flp) {
    const uint32_t nh_flags = uint32_t(int(nh.fib_nh_flags));
    if (nh_flags & RTNH_F_DEAD)
        return false;
    if ((nh_flags & RTNH_F_LINKDOWN) && !(flags & FIB_LOOKUP_IGNORE_LINKSTATE) &&
        ip_ignore_linkdown(nh.fib_nh_dev))
        return false;
    return !flp->flowi4_oif || flp->flowi4_oif == nh.fib_nh_oif;
}

bool names_dev(const fib_info* fi, const net_device* dev) {
    return std::ranges::any_of(nexthops(fi),
                               [dev](const fib_nh& nh) { return nh.fib_nh_dev == dev; });
}

void set_flags(sysctl_int& flags, uint32_t bits) {
    flags = flags | int(bits);
}
void clear_flags(sysctl_int& flags, uint32_t bits) {
    flags = flags & ~int(bits);
}

} // namespace

int fib_info_hash_alloc(fib_net* fn) {
    fn->fib_info_hash =
        static_cast<fib_info**>(kcalloc(FIB_INFO_HASH_MIN, sizeof(fib_info*), GFP_KERNEL));
    fn->fib_info_hash_size = fn->fib_info_hash ? FIB_INFO_HASH_MIN : 0;
    return fn->fib_info_hash ? 0 : -ENOMEM;
}

void fib_info_put(fib_info* fi) {
    if (fi->fib_clntref.fetch_sub(1, std::memory_order_acq_rel) == 1)
        call_rcu_free<fib_info, free_fib_info>(fi);
}

void fib_release_info(fib_info* fi) {
    if (--fi->fib_treeref)
        return;
    fib_net* fn = fi->fib_net_->ipv4.fib;
    fib_info_unlink(fn, fi);
    --fn->fib_info_cnt;
    fi->fib_dead.store(1, std::memory_order_relaxed);
    call_rcu_free<fib_info, fib_info_put>(fi);
}

fib_info* fib_create_info(net& n, const fib_config& cfg, netlink_ext_ack* extack, int* err) {
    *err = -EINVAL;
    if (cfg.fc_type > RTN_MAX) {
        NL_SET_ERR_MSG(extack, "Invalid route type");
        return nullptr;
    }
    if (cfg.nexthops.size() > MAX_NEXTHOPS) {
        NL_SET_ERR_MSG(extack, "Invalid nexthop configuration - too many nexthops");
        return nullptr;
    }
    if (fib_props[cfg.fc_type].scope > cfg.fc_scope) {
        NL_SET_ERR_MSG(extack, "Invalid scope");
        return nullptr;
    }
    fib_net* fn = n.ipv4.fib;
    const int nhs = std::max(1, int(cfg.nexthops.size()));
    // Most routes share the next hop of another: it is found before anything is allocated.
    if (nhs == 1) {
        fib_info probe;
        if ((*err = resolve_fib_info(n, &probe, cfg, nhs, extack)))
            return nullptr;
        if (fib_info* ofi = fib_find_info(fn, &probe)) {
            ++ofi->fib_treeref;
            return ofi;
        }
    }
    fib_info_hash_grow(fn);
    fib_info* fi = alloc_fib_info(nhs);
    *err = fi ? resolve_fib_info(n, fi, cfg, nhs, extack) : -ENOBUFS;
    if (!*err && nhs > 1)
        if (fib_info* ofi = fib_find_info(fn, fi)) {
            free_fib_info_memory(fi);
            ++ofi->fib_treeref;
            return ofi;
        }
    if (!*err)
        *err = fib_info_alloc_slots(n, fi);
    if (*err) {
        if (fi)
            free_fib_info_memory(fi);
        return nullptr;
    }
    for (fib_nh& nh : nexthops(fi))
        if (nh.fib_nh_dev)
            fib_info_update_nh_saddr(n, &nh, fi->fib_scope);
    fib_rebalance(fi);
    fi->fib_treeref = 1;
    fib_info_link(fn, fi);
    ++fn->fib_info_cnt;
    return fi;
}

bool fib_nh_match(const fib_config& cfg, const fib_info* fi) {
    if (cfg.fc_priority && cfg.fc_priority != fi->fib_priority)
        return false;
    // A plain deletion names the first next hop; one with several is compared as far as both reach.
    const size_t both = std::min(cfg.nexthops.size(), size_t(fi->fib_nhs));
    for (size_t i = 0; i < both; ++i)
        if (!nh_matches(cfg.nexthops[i], fi->fib_nh_[i]))
            return false;
    return true;
}

bool fib_metrics_match(const fib_config& cfg, const fib_info* fi) {
    for (unsigned i = 0; i < RTAX_MAX; ++i)
        if (cfg.fc_metrics[i] && cfg.fc_metrics[i] != fi->fib_metrics[i])
            return false;
    return true;
}

int fib_info_match(fib_info* fi, uint8_t type, const flowi4* flp, fib_result* res, int flags) {
    // fib_dead is not asked: who found the route before it was replaced shall have the old answer,
    // not that of a shorter prefix. (Linux asks, and may for a moment answer with neither.)
    if (fi->fib_scope < flp->flowi4_scope)
        return 1;
    if (int err = fib_props[type].error)
        return err;
    if (fi->fib_flags & int(RTNH_F_DEAD))
        return 1;
    for (int nhsel = 0; nhsel < fi->fib_nhs; ++nhsel) {
        if (!fib_lookup_good_nh(fi->fib_nh_[nhsel], flags, flp))
            continue;
        res->nh_sel = uint8_t(nhsel);
        res->type = type;
        res->scope = fi->fib_scope;
        res->tos = 0;
        res->tclassid = 0;
        res->fi = fi;
        return 0;
    }
    return 1;
}

int fib_semantic_match(fib_alias* fa, const flowi4* flp, fib_result* res, int flags) {
    unsigned looked = 0;
    int err = 1;
    for (; fa && err > 0; fa = rcu_dereference(fa->fa_next)) {
        fib_info* fi = fa->fa_info;
        ++looked;
        if (fa->fa_tos && !fib_dscp_masked_match(fa->fa_tos, flp))
            continue;
        if (err = fib_info_match(fi, fa->fa_type, flp, res, flags); err <= 0)
            res->tos = fa->fa_tos;
    }
    if (softnet_data* sd = this_softnet())
        packet_work_seen(*sd, packet_work::routes, looked);
    return err > 0 ? 1 : err;
}

bool fib_info_nh_uses_dev(const fib_info* fi, const net_device* dev) {
    return std::ranges::any_of(nexthops(fi), [dev](const fib_nh& nh) {
        return nh.fib_nh_dev == dev ||
               (nh.fib_nh_dev && l3mdev_master_ifindex(nh.fib_nh_dev) == dev->ifindex);
    });
}

int fib_sync_down_dev(net_device* dev, netdev_event event, bool force) {
    const uint32_t lost =
        event == netdev_event::CHANGE ? RTNH_F_LINKDOWN : RTNH_F_DEAD | RTNH_F_LINKDOWN;
    int ret = 0;
    for_each_fib_info(dev->nd_net->ipv4.fib, [&](fib_info* fi) {
        if (!names_dev(fi, dev))
            return;
        int dead = 0;
        for (fib_nh& nh : nexthops(fi)) {
            if (nh.fib_nh_flags & int(RTNH_F_DEAD))
                ++dead;
            // Own addresses (next hop scope nowhere) outlast a device that is down, not one that is
            // gone.
            else if (nh.fib_nh_dev == dev && (force || nh.fib_nh_scope != RT_SCOPE_NOWHERE)) {
                set_flags(nh.fib_nh_flags, lost);
                ++dead;
            }
            if (event == netdev_event::UNREGISTER && nh.fib_nh_dev == dev) {
                dead = fi->fib_nhs; // no next hop may name it any more
                break;
            }
        }
        if (dead == fi->fib_nhs) {
            set_flags(fi->fib_flags, lost);
            ++ret;
        }
        fib_rebalance(fi);
    });
    return ret;
}

int fib_sync_down_addr(net_device* dev, be32_t local) {
    if (!local)
        return 0;
    const uint32_t vrf = l3mdev_fib_table(dev), tb_id = vrf ? vrf : RT_TABLE_MAIN;
    int ret = 0;
    for_each_fib_info(dev->nd_net->ipv4.fib, [&](fib_info* fi) {
        if (fi->fib_prefsrc != local || fi->fib_tb_id != tb_id)
            return;
        set_flags(fi->fib_flags, RTNH_F_DEAD);
        ++ret;
    });
    return ret;
}

int fib_sync_up(net_device* dev, uint32_t nh_flags) {
    if (!dev->up())
        return 0;
    if ((nh_flags & RTNH_F_DEAD) && dev->running())
        nh_flags |= RTNH_F_LINKDOWN;
    int ret = 0;
    for_each_fib_info(dev->nd_net->ipv4.fib, [&](fib_info* fi) {
        if (!names_dev(fi, dev))
            return;
        int alive = 0;
        for (fib_nh& nh : nexthops(fi)) {
            if (nh.fib_nh_flags & int(nh_flags)) {
                if (nh.fib_nh_dev != dev || !__in_dev_get_rcu(dev))
                    continue;
                clear_flags(nh.fib_nh_flags, nh_flags);
            }
            ++alive;
        }
        if (alive) {
            clear_flags(fi->fib_flags, nh_flags);
            ++ret;
        }
        fib_rebalance(fi);
    });
    return ret;
}

be32_t fib_info_update_nh_saddr(net& n, fib_nh* nh, uint8_t scope) {
    // The generation first: an address that changes meanwhile makes what is kept here stale at
    // once.
    const uint64_t genid = n.ipv4.fib->dev_addr_genid.load(std::memory_order_acquire);
    be32_t saddr = nh->gw_family == AF_INET6_
                       ? inet_select_addr(nh->fib_nh_dev, be32_t{}, scope)
                       : inet_select_addr(nh->fib_nh_dev, nh->fib_nh_gw4, scope);
    nh->nh_saddr.store(genid << 32 | saddr.raw, std::memory_order_relaxed);
    return saddr;
}

be32_t fib_result_prefsrc(net& n, fib_result* res) {
    if (res->fi->fib_prefsrc)
        return res->fi->fib_prefsrc;
    fib_nh* nh = res->nh();
    const uint64_t kept = nh->nh_saddr.load(std::memory_order_relaxed);
    if (kept >> 32 == n.ipv4.fib->dev_addr_genid.load(std::memory_order_acquire))
        return {uint32_t(kept)};
    return fib_info_update_nh_saddr(n, nh, res->fi->fib_scope);
}

} // namespace slabfwd
