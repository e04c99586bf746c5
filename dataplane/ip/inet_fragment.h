// SPDX-License-Identifier: BSD-3-Clause
//
// Queues of fragments: one per datagram that is being put together, found by its key. Fragments are
// kept in runs (pieces that arrived one behind the other); the runs of a queue lie in a treap by
// offset, so that a flood of tiny fragments in bad order costs O(log n) each, and in a list in
// order. Doors: inet_frag_find, inet_frag_queue_insert, inet_frag_kill (used by ip_fragment.cc).
//
// Locking: a bucket's lock covers its chain and everything in its queues. Nothing is freed,
// reported or sent under it: what has to go is collected and dropped afterwards. A queue is
// referenced by its bucket and by its armed timer. Queues come from slab "ip4-frags"; fqdir.mem
// bounds them and their packets together. Invariants: runs are disjoint; q.meat = sum of fragment
// lengths; held = packets in all queues. Origin: net/ipv4/inet_fragment.c, include/net/inet_frag.h
// (6.18).
#pragma once

#include <atomic>

#include "neigh/net_namespace.h"
#include "neigh/skbuff.h"
#include "neigh/timer.h"

namespace slabfwd {

/// What makes fragments pieces of the same datagram.
struct frag_v4_compare_key {
    be32_t saddr, daddr;
    uint32_t user; ///< IP_DEFRAG_*
    uint32_t vif;  ///< VRF, or 0
    be16_t id;
    uint16_t protocol;
    friend bool operator==(const frag_v4_compare_key& a, const frag_v4_compare_key& b) {
        return __builtin_memcmp(&a, &b, sizeof a) == 0;
    }
};
static_assert(sizeof(frag_v4_compare_key) == 20);

constexpr uint8_t INET_FRAG_FIRST_IN = 1, INET_FRAG_LAST_IN = 2, INET_FRAG_COMPLETE = 4;

/// A held fragment's place in its queue; lies behind its sk_buff in the private area of the mbuf.
struct ipfrag_skb_cb {
    sk_buff* next_frag;    ///< next in the run
    sk_buff* next_run;     ///< (head of a run) head of the next run by offset
    sk_buff *left, *right; ///< (head of a run) treap by offset, heap by prio
    uint32_t ip_defrag_offset;
    uint32_t frag_run_len; ///< (head of a run) bytes in the run
    uint32_t prio;
    uint32_t truesize; ///< as charged to fqdir.mem
};
static_assert(sizeof(sk_buff) + sizeof(ipfrag_skb_cb) <= SKB_PRIV_SIZE);
inline ipfrag_skb_cb* FRAG_CB(sk_buff* skb) {
    return reinterpret_cast<ipfrag_skb_cb*>(skb + 1);
}

struct frag_bucket;

/// One datagram in the making. Origin: struct ipq with its inet_frag_queue.
struct inet_frag_queue {
    inet_frag_queue* next = nullptr; ///< chain of the bucket
    frag_bucket* bucket = nullptr;
    struct fqdir* dir = nullptr;
    frag_v4_compare_key key;
    std::atomic<int> refcnt{2}; ///< bucket, timer
    timer_list timer;
    uint8_t flags = 0; ///< INET_FRAG_*
    uint8_t ecn = 0;   ///< 1 << ECN field, of all fragments
    int iif = 0;       ///< where the last fragment came in
    int len = 0;       ///< total length as known so far
    int meat = 0;
    unsigned held = 0;        ///< fragments in it
    unsigned max_size = 0;    ///< largest fragment, with header
    unsigned max_df_size = 0; ///< largest fragment that had DF
    uint64_t stamp = 0;
    unsigned rid = 0; ///< the source's fragment count at the last one (ipfrag_max_dist)
    sk_buff *root = nullptr, *first_run = nullptr, *last_run_head = nullptr,
            *fragments_tail = nullptr;
};

struct frag_bucket {
    spinlock_t lock;
    inet_frag_queue* chain = nullptr;
};

/// The fragment queues of one net.
struct fqdir {
    static constexpr unsigned NR_BUCKETS = 1024;
    net* nd_net = nullptr;
    kmem_cache* f_cache = nullptr;
    void (*frag_expire)(inet_frag_queue*) = nullptr; ///< timer; gives the timer's reference back
    frag_bucket* buckets = nullptr;
    uint64_t secret = 0;
    std::atomic<long> mem{0};  ///< bytes of queues and their packets
    std::atomic<long> held{0}; ///< packets in queues
    std::atomic<long> queues{0};
};

/// What an insertion found.
enum class ipfrag : uint8_t { OK, DUP, OVERLAP };

/// Makes / ends the queues of a net: "ip4-frags". What is held is dropped with SHUTDOWN. 0 or
/// -ENOMEM.
int fqdir_init(fqdir& d, net& n, void (*expire)(inet_frag_queue*));
void fqdir_exit(fqdir& d);
frag_bucket& inet_frag_bucket(fqdir& d, const frag_v4_compare_key& key);

/// Finds or makes the queue of key; bucket.lock is held. Null when memory is over
/// ipfrag_high_thresh or out.
inet_frag_queue* inet_frag_find(fqdir& d, frag_bucket& b, const frag_v4_compare_key& key);
/// Enters skb as bytes [offset, end). On OK it belongs to the queue. bucket.lock is held.
ipfrag inet_frag_queue_insert(inet_frag_queue* q, sk_buff* skb, int offset, int end);
/// Charges skb to the queue's directory, and counts it as held.
void inet_frag_charge(inet_frag_queue* q, sk_buff* skb);
/// Takes q out of its bucket and disarms it; the bucket's and the timer's references go.
/// bucket.lock is held. The caller needs a reference of its own to touch q afterwards.
void inet_frag_kill(inet_frag_queue* q);
/// Empties q into *list (linked by next, in order); they count no more as held.
void inet_frag_rbtree_purge(inet_frag_queue* q, sk_buff_head* list);
inline void inet_frag_hold(inet_frag_queue* q) {
    q->refcnt.fetch_add(1, std::memory_order_relaxed);
}
/// Gives a reference back; the last one frees q, which is empty by then.
void inet_frag_putn(inet_frag_queue* q);
/// The packets of q, in order, as one chain of mbufs behind the first; q is empty afterwards.
sk_buff* inet_frag_reasm_chain(inet_frag_queue* q);
/// Debug check of a queue's invariants (runs disjoint and in order, meat, treap order).
bool inet_frag_is_valid(const inet_frag_queue* q);

} // namespace slabfwd
