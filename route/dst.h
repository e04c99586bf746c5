// SPDX-License-Identifier: BSD-3-Clause
//
// dst_entry: what a routed packet needs to go on: input and output functions, device, neighbour, mtu.
// Lies inside an rtable (route.h) and comes from the slab of its dst_ops ("ip_dst_cache").
// Threads: an entry belongs to the CPU slot that allocated it; no other slot touches it, so the counts
// are plain. "Freed" entries live to the end of the owner's burst (dst_free, dst_run_gc).
// Origin: include/net/dst.h, net/core/dst.c.
#pragma once

#include "alloc/kmem_cache.h"
#include "neigh/neighbour.h"
#include "neigh/skbuff.h"

namespace slabfwd {

struct dst_ops;
struct dst_entry;

constexpr uint16_t DST_HOST = 1, DST_NOXFRM = 2, DST_NOPOLICY = 4, DST_NOCOUNT = 8;
/// The caller can do without an entry: no message when the cache is full.
constexpr uint16_t DST_QUIET = 0x100;
constexpr int16_t DST_OBSOLETE_NONE = 0, DST_OBSOLETE_DEAD = 2, DST_OBSOLETE_FORCE_CHK = -1;

/// Another allocator in the place of a dst_ops' slab: for benchmarks. Called on the slot that owns the ops.
struct dst_objects {
    void* (*alloc)(dst_objects*);
    void (*free)(dst_objects*, void* object);
};

/// What a kind of dst can do, and its shard's count. One per CPU slot: gc_thresh and the counter are the
/// shard's own. Origin: include/net/dst_ops.h.
struct dst_ops {
    int family = 2;
    uint32_t gc_thresh = 0;
    /// Makes room; false when the limit (max_size) is reached and nothing can go: dst_alloc fails.
    bool (*gc)(dst_ops*) = nullptr;
    void (*destroy)(dst_entry*) = nullptr;
    void (*link_failure)(sk_buff*) = nullptr;
    kmem_cache* kmem_cachep = nullptr;
    dst_objects* objects = nullptr; ///< null: kmem_cachep
    softnet_data* sd = nullptr;
    uint32_t dst_offset = 0; ///< of the dst_entry in an object of kmem_cachep
    uint32_t entries = 0;    ///< counted entries alive (cached or waiting to be freed)
};

inline uint32_t dst_entries_get_fast(const dst_ops* ops) { return READ_ONCE(ops->entries); }

struct dst_entry {
    dst_entry* rt_next = nullptr;   ///< chain of the route cache, or of the owner's free list
    slabfwd::neighbour* neighbour = nullptr; ///< counted; null for on-link next hops of shared entries
    net_device* dev = nullptr;
    uint32_t mtu = 0;               ///< the forwarding mtu: route metric, else the device's at its genid
    uint32_t __use = 0;
    uint32_t lastuse = 0;           ///< jiffies, low half
    uint32_t __refcnt = 0;
    // ---- end of the first cache line of an rtable
    int (*input)(sk_buff*) = nullptr;
    int (*output)(sk_buff*) = nullptr;
    dst_ops* ops = nullptr;
    jiffies_t expires = 0;          ///< 0: never
    int16_t obsolete = 0;
    uint16_t flags = 0;             ///< DST_*
    int error = 0;                  ///< positive errno value as in 2.6: what ip_error reports
};

/// Allocates and initialises an entry: above gc_thresh it first asks ops->gc; when that fails, says
/// "Route cache is full: consider increasing sysctl net.ipv4.route.max_size." (rate-limited) and returns
/// null, as on a failed kmem_cache_alloc. Calling slot must own ops. Origin: dst_alloc (net/core/dst.c).
dst_entry* dst_alloc(dst_ops* ops, net_device* dev, int initial_ref, int initial_obsolete, uint16_t flags);
/// Its first half: the object, counted unless DST_NOCOUNT, with nothing in it.
void* dst_object_alloc(dst_ops* ops, uint16_t flags);
/// Its second half.
void dst_init(dst_entry* dst, dst_ops* ops, net_device* dev, int initial_ref, int initial_obsolete,
              uint16_t flags);
inline void dst_hold(dst_entry* dst) { ++dst->__refcnt; }
/// Gives a reference back; an entry that is obsolete and unreferenced is destroyed at the end of the burst.
void dst_release(dst_entry* dst);
/// Frees the entry at once. REQUIRES that it is in no table and nobody has it. Origin: dst_destroy.
void dst_destroy(dst_entry* dst);
/// Takes an entry that is in no table any more out of use: destroyed when unreferenced, at the end of the
/// burst at the earliest. Origin: dst_free.
void dst_free(dst_entry* dst);
/// Destroys what dst_free collected on this slot; called between bursts. Returns how many.
unsigned dst_run_gc(softnet_data& sd);

inline dst_entry* skb_dst(const sk_buff* skb) { return skb->dst; }
inline void skb_dst_drop(sk_buff* skb) { skb->dst = nullptr; }
/// Enters skb into the stage that its route names; consumes it. Origin: dst_input, dst_output.
inline int dst_input(sk_buff* skb) { return skb->dst->input(skb); }
inline int dst_output(sk_buff* skb) { return skb->dst->output(skb); }

} // namespace slabfwd
