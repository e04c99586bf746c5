// SPDX-License-Identifier: BSD-3-Clause
//
// Queues of fragments: the table, memory accounting, and the order of fragments in a queue.
// Door: inet_frag_find, inet_frag_queue_insert, inet_frag_kill. Locks and invariants:
// inet_fragment.h. The kernel keeps runs in a red-black tree; a treap does the same with half the
// code, its priorities drawn from a secret so that nobody outside can make it deep. Origin:
// net/ipv4/inet_fragment.c (6.18).
#include "dataplane/ip/inet_fragment.h"

#include <cerrno>
#include <mutex>
#include <new>

#include "alloc/kmalloc.h"
#include "neigh/trace_kmem.h"

namespace slabfwd {

namespace {

/// "ip4-frags" is one cache for all nets of the process.
std::mutex cache_mutex;
kmem_cache* frags_cachep;
unsigned frags_cache_users;

kmem_cache* frags_cache_get() {
    std::lock_guard guard(cache_mutex);
    if (!frags_cachep)
        frags_cachep = kmem_cache_create("ip4-frags", sizeof(inet_frag_queue),
                                         alignof(inet_frag_queue), 0, nullptr);
    if (frags_cachep)
        ++frags_cache_users;
    return frags_cachep;
}

void frags_cache_put() {
    std::lock_guard guard(cache_mutex);
    if (--frags_cache_users == 0) {
        kmem_cache_destroy(frags_cachep);
        frags_cachep = nullptr;
    }
}

uint64_t mix64(uint64_t x) {
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
}

uint32_t offset_of(sk_buff* run) {
    return FRAG_CB(run)->ip_defrag_offset;
}
uint32_t end_of_run(sk_buff* run) {
    return offset_of(run) + FRAG_CB(run)->frag_run_len;
}

/// Inserts run into the treap below root; returns the new root.
sk_buff* treap_insert(sk_buff* root, sk_buff* run) {
    if (!root)
        return run;
    ipfrag_skb_cb *r = FRAG_CB(root), *n = FRAG_CB(run);
    if (n->ip_defrag_offset < r->ip_defrag_offset) {
        r->left = treap_insert(r->left, run);
        if (ipfrag_skb_cb* l = FRAG_CB(r->left); l->prio > r->prio) {
            sk_buff* top = r->left;
            r->left = l->right;
            l->right = root;
            return top;
        }
    } else {
        r->right = treap_insert(r->right, run);
        if (ipfrag_skb_cb* l = FRAG_CB(r->right); l->prio > r->prio) {
            sk_buff* top = r->right;
            r->right = l->left;
            l->left = root;
            return top;
        }
    }
    return root;
}

/// Starts a run with skb, behind the run `pred` (null: the first).
void fragrun_create(inet_frag_queue* q, sk_buff* skb, sk_buff* pred) {
    ipfrag_skb_cb* cb = FRAG_CB(skb);
    cb->frag_run_len = skb_len(skb);
    cb->prio = uint32_t(mix64(q->dir->secret ^ (uint64_t(cb->ip_defrag_offset) << 1)) >> 32);
    sk_buff*& link = pred ? FRAG_CB(pred)->next_run : q->first_run;
    cb->next_run = link;
    link = skb;
    q->root = treap_insert(q->root, skb);
}

/// Enters skb somewhere before the last fragment, where there is room for all of it.
ipfrag insert_inside(inet_frag_queue* q, sk_buff* skb, uint32_t offset, uint32_t end) {
    sk_buff *pred = nullptr, *curr = q->root;
    while (curr) {
        if (end <= offset_of(curr)) {
            curr = FRAG_CB(curr)->left;
        } else if (offset >= end_of_run(curr)) {
            pred = curr;
            curr = FRAG_CB(curr)->right;
        } else if (offset >= offset_of(curr) && end <= end_of_run(curr)) {
            return ipfrag::DUP;
        } else {
            return ipfrag::OVERLAP;
        }
    }
    fragrun_create(q, skb, pred);
    return ipfrag::OK;
}

void fragments_reset(inet_frag_queue* q) {
    q->root = q->first_run = q->last_run_head = q->fragments_tail = nullptr;
}

/// Calls fn(skb) for each fragment in order; fn may reuse the packet's links.
template <class F>
void for_each_fragment(const inet_frag_queue* q, F fn) {
    for (sk_buff *run = q->first_run, *next_run; run; run = next_run) {
        next_run = FRAG_CB(run)->next_run;
        for (sk_buff *skb = run, *next; skb; skb = next) {
            next = FRAG_CB(skb)->next_frag;
            fn(skb);
        }
    }
}

inet_frag_queue* inet_frag_create(fqdir& d, frag_bucket& b, const frag_v4_compare_key& key) {
    void* p = kmem_cache_alloc(d.f_cache, GFP_ATOMIC);
    trace_kmem_cache_alloc(__func__, d.f_cache, p);
    if (!p)
        return nullptr;
    auto* q = new (p) inet_frag_queue;
    q->dir = &d;
    q->bucket = &b;
    q->key = key;
    q->next = b.chain;
    b.chain = q;
    d.mem.fetch_add(sizeof *q, std::memory_order_relaxed);
    d.queues.fetch_add(1, std::memory_order_relaxed);
    q->timer.function = [](timer_list* t) {
        auto* expired = reinterpret_cast<inet_frag_queue*>(reinterpret_cast<char*>(t) -
                                                           offsetof(inet_frag_queue, timer));
        expired->dir->frag_expire(expired);
    };
    mod_timer_on(this_softnet()->timers, &q->timer,
                 jiffies() + uint64_t(d.nd_net->ipv4.sysctl_ipfrag_time) * HZ);
    return q;
}

} // namespace

int fqdir_init(fqdir& d, net& n, void (*expire)(inet_frag_queue*)) {
    d.nd_net = &n;
    d.frag_expire = expire;
    d.secret = uint64_t(get_random_u32()) << 32 | get_random_u32();
    d.f_cache = frags_cache_get();
    if (!d.f_cache)
        return -ENOMEM;
    void* p = kcalloc(fqdir::NR_BUCKETS, sizeof(frag_bucket), GFP_KERNEL);
    if (!p) {
        frags_cache_put();
        d.f_cache = nullptr;
        return -ENOMEM;
    }
    d.buckets = static_cast<frag_bucket*>(p);
    for (unsigned i = 0; i < fqdir::NR_BUCKETS; ++i)
        new (&d.buckets[i]) frag_bucket;
    return 0;
}

void fqdir_exit(fqdir& d) {
    if (!d.buckets)
        return;
    sk_buff_head purged;
    for (unsigned i = 0; i < fqdir::NR_BUCKETS; ++i) {
        while (inet_frag_queue* q = d.buckets[i].chain) {
            inet_frag_hold(q);
            inet_frag_kill(q);
            inet_frag_rbtree_purge(q, &purged);
            inet_frag_putn(q);
        }
    }
    skb_queue_purge_reason(&purged, skb_drop_reason::SHUTDOWN);
    kfree(d.buckets);
    d.buckets = nullptr;
    frags_cache_put();
    d.f_cache = nullptr;
}

frag_bucket& inet_frag_bucket(fqdir& d, const frag_v4_compare_key& key) {
    uint64_t w[3] = {};
    __builtin_memcpy(w, &key, sizeof key);
    uint64_t h = mix64(d.secret ^ w[0]);
    h = mix64(h ^ w[1]);
    return d.buckets[mix64(h ^ w[2]) % fqdir::NR_BUCKETS];
}

inet_frag_queue* inet_frag_find(fqdir& d, frag_bucket& b, const frag_v4_compare_key& key) {
    long high_thresh = d.nd_net->ipv4.sysctl_ipfrag_high_thresh;
    if (high_thresh <= 0 || d.mem.load(std::memory_order_relaxed) > high_thresh)
        return nullptr;
    for (inet_frag_queue* q = b.chain; q; q = q->next)
        if (q->key == key)
            return q;
    return inet_frag_create(d, b, key);
}

ipfrag inet_frag_queue_insert(inet_frag_queue* q, sk_buff* skb, int offset, int end) {
    ipfrag_skb_cb* cb = new (FRAG_CB(skb)) ipfrag_skb_cb{};
    cb->ip_defrag_offset = uint32_t(offset);
    sk_buff* last = q->fragments_tail;
    if (!last) {
        fragrun_create(q, skb, nullptr);
        q->last_run_head = q->fragments_tail = skb;
        return ipfrag::OK;
    }
    int last_end = int(offset_of(last) + skb_len(last));
    if (last_end >= end)
        return insert_inside(q, skb, uint32_t(offset), uint32_t(end));
    if (offset < last_end)
        return ipfrag::OVERLAP;
    if (offset == last_end) {
        FRAG_CB(q->last_run_head)->frag_run_len += skb_len(skb);
        FRAG_CB(last)->next_frag = skb;
    } else {
        fragrun_create(q, skb, q->last_run_head);
        q->last_run_head = skb;
    }
    q->fragments_tail = skb;
    return ipfrag::OK;
}

void inet_frag_charge(inet_frag_queue* q, sk_buff* skb) {
    FRAG_CB(skb)->truesize = skb_truesize(skb);
    q->dir->mem.fetch_add(FRAG_CB(skb)->truesize, std::memory_order_relaxed);
    q->dir->held.fetch_add(1, std::memory_order_relaxed);
    ++q->held;
}

static void inet_frag_uncharge(inet_frag_queue* q, sk_buff* skb) {
    q->dir->mem.fetch_sub(FRAG_CB(skb)->truesize, std::memory_order_relaxed);
    q->dir->held.fetch_sub(1, std::memory_order_relaxed);
    --q->held;
}

void inet_frag_kill(inet_frag_queue* q) {
    if (q->flags & INET_FRAG_COMPLETE)
        return;
    q->flags |= INET_FRAG_COMPLETE;
    for (inet_frag_queue** link = &q->bucket->chain; *link; link = &(*link)->next) {
        if (*link == q) {
            *link = q->next;
            break;
        }
    }
    if (del_timer(&q->timer)) // else its handler is on its way and gives the reference back
        inet_frag_putn(q);
    inet_frag_putn(q);
}

void inet_frag_rbtree_purge(inet_frag_queue* q, sk_buff_head* list) {
    for_each_fragment(q, [&](sk_buff* skb) {
        inet_frag_uncharge(q, skb);
        list->push_back(skb);
    });
    fragments_reset(q);
}

void inet_frag_putn(inet_frag_queue* q) {
    if (q->refcnt.fetch_sub(1, std::memory_order_acq_rel) != 1)
        return;
    fqdir& d = *q->dir;
    d.mem.fetch_sub(sizeof *q, std::memory_order_relaxed);
    d.queues.fetch_sub(1, std::memory_order_relaxed);
    q->~inet_frag_queue();
    kmem_cache_free(d.f_cache, q);
}

sk_buff* inet_frag_reasm_chain(inet_frag_queue* q) {
    sk_buff* head = nullptr;
    rte_mbuf *first = nullptr, *last = nullptr;
    for_each_fragment(q, [&](sk_buff* skb) {
        inet_frag_uncharge(q, skb);
        rte_mbuf* m = skb_mbuf(skb);
        if (!head) {
            head = skb;
            first = m;
        } else {
            last->next = m;
            first->nb_segs = uint16_t(first->nb_segs + m->nb_segs);
            first->pkt_len += m->pkt_len;
        }
        last = rte_pktmbuf_lastseg(m);
    });
    fragments_reset(q);
    return head;
}

namespace {
bool treap_is_valid(sk_buff* run, uint32_t low, uint32_t high, unsigned* runs) {
    if (!run)
        return true;
    ++*runs;
    const ipfrag_skb_cb* cb = FRAG_CB(run);
    for (sk_buff* child : {cb->left, cb->right})
        if (child && FRAG_CB(child)->prio > cb->prio)
            return false;
    return offset_of(run) >= low && end_of_run(run) <= high &&
           treap_is_valid(cb->left, low, offset_of(run), runs) &&
           treap_is_valid(cb->right, end_of_run(run), high, runs);
}
} // namespace

bool inet_frag_is_valid(const inet_frag_queue* q) {
    unsigned in_tree = 0, in_list = 0, meat = 0, end = 0;
    sk_buff *last = nullptr, *last_run = nullptr;
    for (sk_buff* run = q->first_run; run; run = FRAG_CB(run)->next_run) {
        if (offset_of(run) < end)
            return false;
        unsigned bytes = 0;
        for (sk_buff* skb = run; skb; skb = FRAG_CB(skb)->next_frag) {
            if (offset_of(skb) != offset_of(run) + bytes)
                return false;
            bytes += skb_len(skb);
            last = skb;
        }
        if (bytes != FRAG_CB(run)->frag_run_len)
            return false;
        end = end_of_run(run);
        meat += bytes;
        last_run = run;
        ++in_list;
    }
    return treap_is_valid(q->root, 0, UINT32_MAX, &in_tree) && in_tree == in_list &&
           meat == unsigned(q->meat) && last == q->fragments_tail && last_run == q->last_run_head;
}

} // namespace slabfwd
