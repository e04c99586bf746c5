// SPDX-License-Identifier: BSD-3-Clause
//
// The cache as reports show it: rows copied by the owner of each shard, in pieces, so that a worker
// is kept from its packets for a few microseconds at a time; the entries of one flow; sums; and the
// check of a shard's invariants. Doors: rt_cache_dump, rt_cache_find, rt_cache_get_totals (control
// thread), rt_shard_is_valid (tests). Origin: rt_cache_seq_show in net/ipv4/route.c of 2.6.32.
#include "route/route_dump.h"

#include <algorithm>
#include <cstring>

#include "route/route_cache.h"

namespace slabfwd {

namespace {

constexpr size_t DUMP_ROWS = 512;        // rows that one request copies
constexpr uint32_t DUMP_BUCKETS = 16384; // buckets that it looks at

// A request to the owner of a shard: fills rows from (bucket, skip) on.
struct dump_request {
    rt_cache_row rows[DUMP_ROWS];
    size_t count = 0;
    uint32_t bucket = 0; // where to go on
    uint32_t skip = 0;   // entries of that bucket that were copied
    bool done = false;
};

// The address that a reply to the packets of a forwarded flow would carry.
be32_t forward_spec_dst(net& n, const rtable* rt) {
    const net_device* in = rt->rt_is_input ? dev_get_by_index(n, rt->rt_iif) : nullptr;
    return in ? inet_select_addr(in, rt->rt_src, RT_SCOPE_UNIVERSE) : rt->rt_src;
}

void row_fill(rt_cache_row* row, const rtable* rt, net& n) {
    const neighbour* neigh = rt->dst.neighbour;
    *row = {};
    std::memcpy(row->iface, rt->dst.dev->name, IFNAMSIZ_);
    row->dst = rt->rt_dst;
    row->gateway = rt->rt_gw6 ? be32_t{} : rt->rt_gateway;
    row->src = rt->rt_src;
    row->spec_dst = rt->rt_spec_dst ? rt->rt_spec_dst : forward_spec_dst(n, rt);
    row->flags = rt->rt_flags;
    row->use = rt->dst.__use;
    row->mtu = rt->dst.mtu;
    row->age_jiffies = uint32_t(jiffies()) - rt->dst.lastuse;
    row->mark = rt->key.mark;
    row->refcnt = int(rt->dst.__refcnt);
    row->error = rt->dst.error;
    row->iif = rt->key.iif;
    row->oif = rt->key.oif;
    row->tos = rt->key.tos;
    row->type = uint8_t(rt->rt_type);
    row->genid = rt->rt_genid;
    row->hh_uptodate = neigh && (neigh->nud_state.load(std::memory_order_relaxed) & NUD_CONNECTED);
    row->expires = rt->dst.expires;
}

// Copies what is left of one chain; false when the rows are full: then the next call begins this chain anew, since
// hits reorder it meanwhile, unless it fills the rows alone.
bool dump_chain(dump_request* req, const rt_hash_shard* shard, net& n, uint32_t genid) {
    uint32_t at = 0;
    const uint32_t count = req->count;
    for (const rtable* rt = shard->rt_hash_table[req->bucket].head(); rt;
         rt = rt_next_in_chain(rt), ++at) {
        if (at < req->skip || rt->rt_genid != genid)
            continue;
        if (req->count == DUMP_ROWS) {
            if (count)
                req->count = count;
            else
                req->skip = at;
            return false;
        }
        row_fill(&req->rows[req->count++], rt, n);
    }
    req->skip = 0;
    ++req->bucket;
    return true;
}

void dump_here(void* info) {
    auto* req = static_cast<dump_request*>(info);
    rt_hash_shard* shard = this_softnet()->rt_shard;
    req->count = 0;
    req->done = !shard || !shard->nr_cached;
    if (req->done)
        return;
    net& n = rt_shard_net(shard);
    for (uint32_t budget = DUMP_BUCKETS; budget && req->bucket <= shard->rt_hash_mask; --budget)
        if (!dump_chain(req, shard, n, rt_genid(n)))
            return;
    req->done = req->bucket > shard->rt_hash_mask;
}

} // namespace

std::vector<rt_cache_row> rt_cache_dump(net& n, size_t max) {
    std::vector<rt_cache_row> rows;
    auto req = std::make_unique<dump_request>();
    for (unsigned cpu = 0; cpu < n.nr_cpus(); ++cpu) {
        req->bucket = req->skip = 0;
        do {
            smp_call_function_single(n, cpu, dump_here, req.get());
            rows.insert(rows.end(), req->rows, req->rows + req->count);
            if (max && rows.size() >= max) {
                rows.resize(max);
                return rows;
            }
        } while (!req->done);
    }
    return rows;
}

rt_cache_flow rt_cache_find(net& n, const rt_key& key, bool control) {
    struct question {
        const rt_key& key;
        rt_cache_flow flow;
    } q{key, {}};
    auto look_here = [](void* info) {
        auto& q = *static_cast<question*>(info);
        const rt_hash_shard* shard = this_softnet()->rt_shard;
        const rtable* rt = shard ? rt_cache_probe(shard, q.key, rt_hash_of(shard, q.key)) : nullptr;
        if (!rt || rt->rt_genid != rt_genid(rt_shard_net(shard)))
            return;
        const uint32_t age = uint32_t(jiffies()) - rt->dst.lastuse;
        q.flow.age = q.flow.entries ? std::min(q.flow.age, age) : age;
        q.flow.users += rt->dst.__refcnt;
        q.flow.used += rt->dst.__use;
        ++q.flow.entries;
    };
    for (unsigned cpu = 0; cpu < n.nr_workers + control; ++cpu)
        smp_call_function_single(n, cpu, look_here, &q);
    return q.flow;
}

rt_cache_totals rt_cache_get_totals(net& n) {
    rt_cache_totals t{};
    for (auto& sd : n.softnet) {
        const auto& s = sd->rt_stat;
        t.hits += s[rt_cache_stat::in_hit] + s[rt_cache_stat::out_hit];
        t.misses += s[rt_cache_stat::missed];
        t.allocated += s[rt_cache_stat::allocated];
        t.collected += s[rt_cache_stat::collected];
        t.revalidated += s[rt_cache_stat::revalidated];
        t.uncached += s[rt_cache_stat::uncached];
        if (sd->rt_shard)
            t.entries += dst_entries_get_fast(&sd->rt_shard->ipv4_dst_ops);
    }
    return t;
}

// ---- invariants

namespace {

bool entry_is_valid(const rt_hash_shard* shard, const rtable* rt, uint32_t bucket) {
    const uint32_t hash = rt_hash_of(shard, rt->key);
    if (rt->kind() != rt_bucket::kind_of(hash) || !shard->rt_hash_table[bucket].may_have(hash))
        return false;
    if (!rt->rt_cached || rt->rt_shared || rt->dst.obsolete == DST_OBSOLETE_DEAD ||
        rt->dst.ops != &shard->ipv4_dst_ops || (hash & shard->rt_hash_mask) != bucket)
        return false;
    if (rt_needs_neighbour(rt) && !rt->dst.neighbour)
        return false;
    if (rt->plain() && ((rt->plain() == 2) != (rt->fi && rt->fi->fib_nhs > 1)))
        return false;
    if (rt->plain() && (!rt->dst.neighbour || rt->dst.error || rt->dst.expires || !rt->fi ||
                        rt->dst.input != ip_handlers.ip_forward))
        return false;
    for (const dst_entry* d = rt->dst.rt_next; d; d = d->rt_next)
        if (rt_from_dst(const_cast<dst_entry*>(d))->key == rt->key)
            return false;
    return true;
}

// The chain of a bucket, whose entries are added to *count.
bool chain_is_valid(const rt_hash_shard* shard, uint32_t bucket, uint32_t* count) {
    unsigned length = 0;
    const rt_bucket& b = shard->rt_hash_table[bucket];
    for (const rtable* rt = b.head(); rt; rt = rt_next_in_chain(rt), ++length)
        if (++*count > shard->nr_cached || !entry_is_valid(shard, rt, bucket))
            return false;
    return b.length() == std::min(length, rt_bucket::LONG) &&
           (length || (!b.head() && !b.all_marks()));
}

bool lru_is_valid(const rt_hash_shard* shard) {
    uint32_t count = 0;
    const rtable* prev = nullptr;
    for (const rtable* rt = shard->lru_head; rt; prev = rt, rt = rt->lru_next, ++count)
        if (rt->lru_prev != prev || !rt->rt_cached || count > shard->nr_cached)
            return false;
    return shard->lru_tail == prev && count == shard->nr_cached;
}

bool free_list_is_valid(const rt_hash_shard* shard) {
    uint32_t counted = 0;
    for (const dst_entry* d = shard->free_list; d; d = d->rt_next) {
        if (d->obsolete != DST_OBSOLETE_DEAD || d->__refcnt)
            return false;
        counted += !(d->flags & DST_NOCOUNT);
    }
    return counted == shard->nr_free_counted;
}

} // namespace

bool rt_shard_is_valid(const rt_hash_shard* shard) {
    uint32_t count = 0;
    for (uint32_t b = 0; b <= shard->rt_hash_mask; ++b)
        if (!chain_is_valid(shard, b, &count))
            return false;
    return count == shard->nr_cached && lru_is_valid(shard) && free_list_is_valid(shard) &&
           shard->ipv4_dst_ops.entries >= shard->nr_cached + shard->nr_free_counted &&
           (!shard->nr_cached || timer_pending(&shard->periodic));
}

} // namespace slabfwd
