// SPDX-License-Identifier: BSD-3-Clause
//
// dst_entry: allocation under the limit of its dst_ops, reference counts, and the list of freed
// entries that lasts to the end of the burst: a packet of the burst may still point to one of them.
// Doors: dst_alloc, dst_free, dst_run_gc. Threads: all on the slot that owns the entry's dst_ops.
// Origin: net/core/dst.c of 2.6.32 (garbage list) and 6.18 (dst_alloc). The grace period of the
// kernel's rt_free is the end of the burst here, since no other slot ever sees the entry.
#include "route/dst.h"

#include <new>

#include "neigh/softnet.h"
#include "neigh/trace_kmem.h"
#include "route/route.h"

namespace slabfwd {

namespace {

void dst_entries_add(dst_ops* ops, int val) {
    WRITE_ONCE(ops->entries, ops->entries + uint32_t(val));
}

void dst_queue_free(dst_entry* dst) {
    rt_hash_shard* shard = dst->ops->sd->rt_shard;
    dst->rt_next = shard->free_list;
    shard->free_list = dst;
    shard->nr_free_counted += !(dst->flags & DST_NOCOUNT);
}

} // namespace

void dst_init(dst_entry* dst, dst_ops* ops, net_device* dev, int initial_ref, int initial_obsolete,
              uint16_t flags) {
    new (dst) dst_entry;
    dst->dev = dev;
    dst->ops = ops;
    dst->__refcnt = uint32_t(initial_ref);
    dst->obsolete = int16_t(initial_obsolete);
    dst->lastuse = uint32_t(jiffies());
    dst->flags = flags;
}

void* dst_object_alloc(dst_ops* ops, uint16_t flags) {
    if (ops->gc && !(flags & DST_NOCOUNT) && dst_entries_get_fast(ops) > ops->gc_thresh &&
        !ops->gc(ops)) {
        if (!(flags & DST_QUIET))
            net_warn_ratelimited("Route cache is full: consider increasing sysctl "
                                 "net.ipv4.route.max_size.");
        return nullptr;
    }
    void* object = likely(!ops->objects) ? kmem_cache_alloc(ops->kmem_cachep, GFP_ATOMIC)
                                         : ops->objects->alloc(ops->objects);
    if (unlikely(this_softnet()->tracer != nullptr))
        __trace_packet(nullptr, "dst_alloc", "%s, %u entries, gc_thresh %u",
                       flags & DST_NOCOUNT ? "not counted" : "counted", dst_entries_get_fast(ops),
                       ops->gc_thresh);
    trace_kmem_cache_alloc("dst_alloc", ops->kmem_cachep, object);
    if (likely(object != nullptr) && !(flags & DST_NOCOUNT)) {
        dst_entries_add(ops, 1);
        RT_CACHE_STAT_INC(rt_cache_stat::allocated);
    }
    return object;
}

dst_entry* dst_alloc(dst_ops* ops, net_device* dev, int initial_ref, int initial_obsolete,
                     uint16_t flags) {
    void* object = dst_object_alloc(ops, flags);
    if (!object)
        return nullptr;
    auto* dst = reinterpret_cast<dst_entry*>(static_cast<char*>(object) + ops->dst_offset);
    dst_init(dst, ops, dev, initial_ref, initial_obsolete, flags & uint16_t(~DST_QUIET));
    return dst;
}

void dst_destroy(dst_entry* dst) {
    dst_ops* ops = dst->ops;
    if (!(dst->flags & DST_NOCOUNT)) {
        dst_entries_add(ops, -1);
        RT_CACHE_STAT_INC(rt_cache_stat::collected);
    }
    if (ops->destroy)
        ops->destroy(dst);
    void* object = reinterpret_cast<char*>(dst) - ops->dst_offset;
    if (likely(!ops->objects))
        kmem_cache_free(ops->kmem_cachep, object);
    else
        ops->objects->free(ops->objects, object);
}

void dst_release(dst_entry* dst) {
    if (dst && --dst->__refcnt == 0 && dst->obsolete == DST_OBSOLETE_DEAD)
        dst_queue_free(dst);
}

void dst_free(dst_entry* dst) {
    if (dst->obsolete == DST_OBSOLETE_DEAD)
        return;
    dst->obsolete = DST_OBSOLETE_DEAD;
    if (!dst->__refcnt)
        dst_queue_free(dst);
}

unsigned dst_run_gc(softnet_data& sd) {
    rt_hash_shard* shard = sd.rt_shard;
    if (likely(!shard || !shard->free_list))
        return 0;
    unsigned freed = 0;
    while (dst_entry* dst = shard->free_list) {
        shard->free_list = dst->rt_next;
        dst_destroy(dst);
        ++freed;
    }
    shard->nr_free_counted = 0;
    return freed;
}

} // namespace slabfwd
