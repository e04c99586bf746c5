// SPDX-License-Identifier: BSD-3-Clause
//
// Tables of prefixes: the nodes and aliases, their order, insertion, deletion, lookup.
// Doors: fib_table_lookup's halves fib_one_table_lookup and fib_two_table_lookup; fib_table_insert,
// fib_table_delete, fib_table_flush. The rules of RCU stand in fib_lookup.h; the zones' hashes are
// in fib_zone.cc. Threads: lookups on any slot; changes under rtnl. Origin: net/ipv4/fib_hash.c
// (2.6.32) for the structure, net/ipv4/fib_trie.c (6.18) for the order of routes and what add,
// append, replace, change and delete mean.
#include <cerrno>
#include <new>

#include "alloc/kmalloc.h"
#include "route/fib_lpm.h"
#include "route/fib_zone.h"
#include "route/route.h"

namespace slabfwd {

namespace {

bool fib_valid_key_len(be32_t key, unsigned plen, netlink_ext_ack* extack) {
    if (plen > 32) {
        NL_SET_ERR_MSG(extack, "Invalid prefix length");
        return false;
    }
    if (key & ~inet_make_mask(int(plen))) {
        NL_SET_ERR_MSG(extack, "Invalid prefix for given prefix length");
        return false;
    }
    return true;
}

/// The link to the first alias that does not come before (tos, prio) in the list's order.
fib_alias** fib_find_alias(fib_alias** link, uint8_t tos, uint32_t prio) {
    for (; fib_alias* fa = *link; link = &fa->fa_next)
        if (fa->fa_tos < tos || (fa->fa_tos == tos && fa->fa_info->fib_priority >= prio))
            break;
    return link;
}

bool same_group(const fib_alias* fa, uint8_t tos, uint32_t prio) {
    return fa && fa->fa_tos == tos && fa->fa_info->fib_priority == prio;
}

fib_alias* fib_alias_alloc(const fib_config& cfg, fib_info* fi) {
    void* mem = kmem_cache_alloc(fn_alias_kmem, GFP_KERNEL);
    if (!mem)
        return nullptr;
    auto* fa = new (mem) fib_alias;
    fa->fa_info = fi;
    fa->fa_tos = cfg.fc_tos;
    fa->fa_type = cfg.fc_type;
    return fa;
}

void fib_alias_free(fib_alias* fa) {
    kmem_cache_free(fn_alias_kmem, fa);
}
void fib_alias_free_rcu(fib_alias* fa) {
    call_rcu_free<fib_alias, fib_alias_free>(fa);
}

/// Where a new route goes, and what stands there already.
struct insert_position {
    fib_alias** link = nullptr; ///< the alias goes in front of *link; null: the prefix has no node
    fib_alias* first = nullptr; ///< first route of the same TOS and metric
    fib_alias* match = nullptr; ///< route that is the same in all
};

insert_position find_position(fib_node* f, const fib_config& cfg, const fib_info* fi) {
    insert_position pos;
    if (!f)
        return pos;
    pos.link = fib_find_alias(&f->fn_alias, cfg.fc_tos, fi->fib_priority);
    if (!same_group(*pos.link, cfg.fc_tos, fi->fib_priority))
        return pos;
    pos.first = *pos.link;
    fib_alias** link = pos.link;
    for (; same_group(*link, cfg.fc_tos, fi->fib_priority); link = &(*link)->fa_next)
        if ((*link)->fa_type == cfg.fc_type && (*link)->fa_info == fi) {
            pos.match = *link;
            break;
        }
    if (cfg.fc_nlflags & NLM_F_APPEND)
        pos.link = link;
    return pos;
}

/// Puts a new alias in the place of the one at *link, of node f: for readers a single store.
int fib_replace_alias(net& n, fib_table* tb, fib_node* f, fib_alias** link, const fib_config& cfg,
                      fib_info* fi) {
    fib_alias* old = *link;
    fib_alias* fa = fib_alias_alloc(cfg, fi);
    if (!fa)
        return -ENOBUFS;
    fib_lpm_change compiled(tb, f->fn_key, cfg.fc_dst_len, f->fn_alias);
    fa->fa_next = old->fa_next;
    rcu_assign_pointer(*link, fa);
    compiled.commit(f->fn_alias);
    fib_release_info(old->fa_info);
    fib_alias_free_rcu(old);
    rt_cache_flush(n);
    return 0;
}

int fib_insert_alias(net& n, fib_table* tb, fib_node* f, fib_alias** link, const fib_config& cfg,
                     fib_info* fi) {
    fib_alias* fa = fib_alias_alloc(cfg, fi);
    if (!fa)
        return -ENOBUFS;
    fib_lpm_change compiled(tb, cfg.fc_dst, cfg.fc_dst_len, f ? f->fn_alias : nullptr);
    if (link) {
        fa->fa_next = *link;
        rcu_assign_pointer(*link, fa);
    } else if (!fn_insert_node(&tb->tb_data, cfg.fc_dst, cfg.fc_dst_len, fa)) {
        kmem_cache_free(fn_alias_kmem, fa);
        return -ENOBUFS;
    }
    compiled.commit(f ? f->fn_alias : fa);
    if (!cfg.fc_dst_len)
        tb->tb_num_default.fetch_add(1, std::memory_order_relaxed);
    rt_cache_flush(n);
    return 0;
}

/// Takes the alias at *link, of node f, out of the table. The last route of a prefix goes with its
/// node, so that no reader meets an empty one.
void fib_remove_alias(fib_table* tb, fib_node* f, fib_alias** link, int plen) {
    fib_alias* fa = *link;
    fib_lpm_change compiled(tb, f->fn_key, plen, f->fn_alias);
    if (fa == f->fn_alias && !fa->fa_next) {
        fn_remove_node(&tb->tb_data, f, plen);
        compiled.commit(nullptr);
    } else {
        rcu_assign_pointer(*link, fa->fa_next);
        compiled.commit(f->fn_alias);
    }
    if (!plen)
        tb->tb_num_default.fetch_sub(1, std::memory_order_relaxed);
    fib_release_info(fa->fa_info);
    fib_alias_free_rcu(fa);
}

/// What add, append, replace, change, prepend make of the route; fi is the caller's.
int insert_by_flags(net& n, fib_table* tb, const fib_config& cfg, fib_info* fi) {
    fib_node* f = fib_find_node(tb, cfg.fc_dst, cfg.fc_dst_len);
    insert_position pos = find_position(f, cfg, fi);
    if (pos.first) {
        if (cfg.fc_nlflags & NLM_F_EXCL)
            return -EEXIST;
        if (cfg.fc_nlflags & NLM_F_REPLACE) {
            if (!pos.match)
                return fib_replace_alias(n, tb, f, pos.link, cfg, fi);
            if (pos.match != pos.first)
                return -EEXIST;
            fib_release_info(fi); // it stands there already
            return 0;
        }
        if (pos.match)
            return -EEXIST;
    }
    if (!(cfg.fc_nlflags & NLM_F_CREATE))
        return -ENOENT;
    return fib_insert_alias(n, tb, f, pos.link, cfg, fi);
}

bool fib_alias_matches(const fib_alias* fa, const fib_config& cfg) {
    const fib_info* fi = fa->fa_info;
    return (cfg.fc_type == RTN_UNSPEC || fa->fa_type == cfg.fc_type) &&
           (cfg.fc_scope == RT_SCOPE_NOWHERE || fi->fib_scope == cfg.fc_scope) &&
           (!cfg.fc_prefsrc || fi->fib_prefsrc == cfg.fc_prefsrc) &&
           (cfg.fc_protocol == RTPROT_UNSPEC || fi->fib_protocol == cfg.fc_protocol) &&
           fib_nh_match(cfg, fi) && fib_metrics_match(cfg, fi);
}

/// One zone's answer: 1 when no route of it suits.
int fn_zone_lookup(const fn_zone* fz, const flowi4* flp, fib_result* res, int flags) {
    const be32_t key = flp->daddr & fz->fz_mask;
    fib_node* f = fn_zone_find(fz, key);
    if (!f)
        return 1;
    int err = fib_semantic_match(rcu_dereference(f->fn_alias), flp, res, flags);
    if (!err) {
        res->prefix = key;
        res->prefixlen = uint8_t(fz->fz_order);
        res->fn = f;
    }
    return err;
}

/// Asks for the memory that a change of a prefix will want once its next hops are found: in a large
/// table, loaded in whatever order, it is seldom at hand.
[[gnu::always_inline]] inline void fib_change_prefetch(const fib_table* tb, be32_t key, int plen) {
    if (const fn_zone* fz = tb->tb_data.fn_zones[size_t(plen)]) {
        const fz_hash_table* ht = fz->fz_hash;
        __builtin_prefetch(ht->bucket[fn_hashfn(fz->fz_order, key, ht->hashmask)]);
    }
    if (const fib_lookup_ahead table(tb->tb_lpm); table.size)
        __builtin_prefetch(table.of(key));
}

} // namespace

fib_node* fib_find_node(const fib_table* tb, be32_t key, int plen) {
    const fn_zone* fz = rcu_dereference(tb->tb_data.fn_zones[size_t(plen)]);
    return fz ? fn_zone_find(fz, key) : nullptr;
}

int fib_table_insert(net& n, fib_table* tb, const fib_config& cfg, netlink_ext_ack* extack) {
    if (!fib_valid_key_len(cfg.fc_dst, cfg.fc_dst_len, extack))
        return -EINVAL;
    fib_change_prefetch(tb, cfg.fc_dst, cfg.fc_dst_len);
    int err = 0;
    fib_info* fi = fib_create_info(n, cfg, extack, &err);
    if (!fi)
        return err;
    err = insert_by_flags(n, tb, cfg, fi);
    if (err)
        fib_release_info(fi);
    return err;
}

int fib_table_delete(net& n, fib_table* tb, const fib_config& cfg, netlink_ext_ack* extack) {
    if (!fib_valid_key_len(cfg.fc_dst, cfg.fc_dst_len, extack))
        return -EINVAL;
    fib_node* f = fib_find_node(tb, cfg.fc_dst, cfg.fc_dst_len);
    if (!f)
        return -ESRCH;
    fib_alias** link = fib_find_alias(&f->fn_alias, cfg.fc_tos, 0);
    while (*link && (*link)->fa_tos == cfg.fc_tos && !fib_alias_matches(*link, cfg))
        link = &(*link)->fa_next;
    if (!*link || (*link)->fa_tos != cfg.fc_tos)
        return -ESRCH;
    fib_remove_alias(tb, f, link, cfg.fc_dst_len);
    rt_cache_flush(n);
    return 0;
}

int fib_table_flush(fib_table* tb, fib_flush_filter wanted, void* cookie) {
    int found = 0;
    for (fn_zone* fz = tb->tb_data.fn_zone_list; fz; fz = fz->fz_next)
        for (uint32_t i = 0; i <= fz->fz_hash->hashmask; ++i)
            for (fib_node *f = fz->fz_hash->bucket[i], *next; f; f = next) {
                next = f->fn_hash;
                for (fib_alias** link = &f->fn_alias; *link;) {
                    if (!wanted(tb, f, fz->fz_order, *link, cookie)) {
                        link = &(*link)->fa_next;
                        continue;
                    }
                    const bool last = link == &f->fn_alias && !f->fn_alias->fa_next;
                    fib_remove_alias(tb, f, link, fz->fz_order);
                    ++found;
                    if (last)
                        break;
                }
            }
    return found;
}

namespace {

/// The route that the compiled form names. 1: it does not suit.
int fib_leaf_match(const fib_leaf* leaf, const flowi4* flp, fib_result* res, int flags) {
    int err = fib_info_match(leaf->fi, leaf->type, flp, res, flags);
    if (!err) {
        res->prefix = flp->daddr & inet_make_mask(leaf->plen);
        res->prefixlen = leaf->plen;
        res->fn = nullptr;
    }
    return err;
}

int found_in(fib_table* tb, fib_result* res, int err) {
    res->table = tb;
    res->tb_id = tb->tb_id;
    return err;
}

/// The first zone of a list whose prefixes are shorter than `below`.
const fn_zone* zones_below(const fib_table* tb, int below) {
    const fn_zone* fz = rcu_dereference(tb->tb_data.fn_zone_list);
    while (fz && fz->fz_order >= below)
        fz = rcu_dereference(fz->fz_next);
    return fz;
}

} // namespace

int fib_one_table_lookup(fib_table* tb, const flowi4* flp, fib_result* res, int flags) {
    int below = 33; // prefixes that are still to be looked at
    if (const fib_lpm* lpm = rcu_dereference(tb->tb_lpm)) {
        const fib_leaf* leaf = fib_lpm_find(lpm, flp->daddr);
        below = leaf->only() ? leaf->plen : leaf->plen + 1;
        if (leaf->only())
            if (int err = fib_leaf_match(leaf, flp, res, flags); err <= 0)
                return found_in(tb, res, err);
    }
    for (const fn_zone* fz = zones_below(tb, below); fz; fz = rcu_dereference(fz->fz_next))
        if (int err = fn_zone_lookup(fz, flp, res, flags); err <= 0)
            return found_in(tb, res, err);
    return 1;
}

int fib_two_table_lookup(fib_table* first, fib_table* second, const flowi4* flp, fib_result* res,
                         int flags) {
    const fn_zone* a = rcu_dereference(first->tb_data.fn_zone_list);
    int below = 33; // prefixes of the second table that are still to be looked at
    if (const fib_lpm* lpm = rcu_dereference(second->tb_lpm)) {
        const fib_leaf* leaf = fib_lpm_find(lpm, flp->daddr);
        below = leaf->only() ? leaf->plen : leaf->plen + 1;
        if (leaf->only()) {
            for (; a && a->fz_order >= below; a = rcu_dereference(a->fz_next))
                if (int err = fn_zone_lookup(a, flp, res, flags); err <= 0)
                    return found_in(second, res, err);
            if (int err = fib_leaf_match(leaf, flp, res, flags); err <= 0)
                return found_in(second, res, err);
        }
    }
    const fn_zone* b = zones_below(second, below);
    while (a || b) {
        const fn_zone*& fz = !b || (a && a->fz_order >= b->fz_order) ? a : b;
        if (int err = fn_zone_lookup(fz, flp, res, flags); err <= 0)
            return found_in(second, res, err);
        fz = rcu_dereference(fz->fz_next);
    }
    return 1;
}

fib_table* fib_hash_table(fib_net* fn, uint32_t id) {
    void* mem = kmalloc(sizeof(fib_table), GFP_KERNEL);
    if (!mem)
        return nullptr;
    auto* tb = new (mem) fib_table;
    tb->tb_id = id;
    tb->tb_net = fn;
    fib_table*& head = fn->fib_table_hash[id & (FIB_TABLE_HASHSZ - 1)];
    tb->tb_next = head;
    rcu_assign_pointer(head, tb);
    if (id == RT_TABLE_DEFAULT)
        rcu_assign_pointer(fn->fib_default, tb);
    return tb;
}

fib_table* fib_new_table(net& n, uint32_t id) {
    fib_table* tb = fib_get_table(n, id);
    return tb ? tb : fib_hash_table(n.ipv4.fib, id ? id : RT_TABLE_MAIN);
}

void fib_free_table(fib_table* tb) {
    fib_lpm_destroy(tb);
    fib_table_flush(
        tb, [](const fib_table*, const fib_node*, int, const fib_alias*, void*) { return true; },
        nullptr);
    fn_hash_destroy(&tb->tb_data);
    kfree(tb);
}

} // namespace slabfwd
