// SPDX-License-Identifier: BSD-3-Clause
//
// Changes of the compiled form. That no store but those of entries is needed for a change follows
// from one fact: among the prefixes that cover an address there is one of each length at most. So
// the entries that belong to a prefix are those of its range whose leaf has its length; a new
// prefix overwrites entries of its own and shorter lengths, a removed one turns its own into those
// of the next shorter prefix, which the zones know. Threads: under rtnl. See fib_lpm.h.
#include "route/fib_lpm.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <new>
#include <sys/mman.h>
#include <utility>
#include <vector>

#include "route/fib_zone.h"

namespace slabfwd {

uint32_t fib_lpm_min_nodes = 1024;

namespace {

constexpr size_t TBL24 = size_t(1) << 24, GROUP = 256;
constexpr uint32_t GROUPS_MIN = 1024, LEAVES_MIN = 4096;

/// Zeroed memory that costs nothing until it is written, in huge pages where there are any.
void* map_pages(size_t bytes) {
    constexpr size_t HUGE = size_t(2) << 20;
    bytes = (bytes + HUGE - 1) & ~(HUGE - 1);
    void* raw = mmap(nullptr, bytes + HUGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED)
        return nullptr;
    char* at = static_cast<char*>(raw);
    const size_t front = (HUGE - uintptr_t(raw) % HUGE) % HUGE;
    if (front)
        munmap(at, front);
    if (HUGE - front)
        munmap(at + front + bytes, HUGE - front);
    madvise(at + front, bytes, MADV_HUGEPAGE);
    return at + front;
}
void unmap_pages(void* p, size_t bytes) {
    constexpr size_t HUGE = size_t(2) << 20;
    if (p)
        munmap(p, (bytes + HUGE - 1) & ~(HUGE - 1));
}

} // namespace

/// What only changes look at.
struct fib_lpm_writer {
    struct leaf_state {
        uint32_t refs = 0; ///< prefixes of this class
        uint32_t next = 0; ///< chain of the bucket
    };
    /// An index that readers may still have in hand.
    struct resting {
        uint64_t token;
        uint32_t index;
    };
    net* n = nullptr;
    uint32_t leaf_cap = 0, group_cap = 0;
    uint32_t leaf_top = 1, group_top = 0; ///< first ones never used
    std::vector<leaf_state> state;
    std::vector<uint32_t> bucket; ///< of classes; 0: empty
    std::vector<uint8_t> plen;    ///< of each leaf: what changes compare
    std::vector<uint32_t> free_leaves, free_groups;
    std::deque<resting> resting_leaves, resting_groups;
};

fib_leaf_input::fib_leaf_input(const fib_leaf& leaf) {
    if (leaf.fi && leaf.type == RTN_UNICAST && leaf.fi->fib_nhs == 1)
        word = uint64_t(leaf.plen) << PLEN_AT |
               reinterpret_cast<uint64_t>(leaf.fi->fib_nh_[0].nh_rth_input);
}

namespace {

size_t entry_size(const fib_lpm* lpm) {
    return lpm->wide ? sizeof(uint32_t) : sizeof(uint16_t);
}

void fib_lpm_free(fib_lpm* lpm) {
    const fib_lpm_writer* w = lpm->w;
    unmap_pages(lpm->tbl24, TBL24 * entry_size(lpm));
    unmap_pages(lpm->tbl8, w->group_cap * GROUP * entry_size(lpm));
    unmap_pages(lpm->leaves, w->leaf_cap * sizeof(fib_leaf));
    unmap_pages(lpm->inputs, w->leaf_cap * sizeof(fib_leaf_input));
    delete w;
    delete lpm;
}
void fib_lpm_free_rcu(fib_lpm* lpm) {
    call_rcu_free<fib_lpm, fib_lpm_free>(lpm);
}

/// An empty one; null when memory is short.
fib_lpm* fib_lpm_alloc(net* n, bool wide, uint32_t leaf_cap, uint32_t group_cap) {
    auto* w = new (std::nothrow) fib_lpm_writer;
    auto* lpm = w ? new (std::nothrow) fib_lpm : nullptr;
    if (!lpm) {
        delete w;
        return nullptr;
    }
    lpm->w = w;
    lpm->wide = wide;
    w->n = n;
    w->leaf_cap = leaf_cap;
    w->group_cap = group_cap;
    w->state.resize(leaf_cap);
    w->plen.resize(leaf_cap);
    w->bucket.resize(std::bit_ceil(leaf_cap));
    lpm->tbl24 = map_pages(TBL24 * entry_size(lpm));
    lpm->tbl8 = map_pages(group_cap * GROUP * entry_size(lpm));
    lpm->leaves = static_cast<fib_leaf*>(map_pages(leaf_cap * sizeof(fib_leaf)));
    lpm->inputs = static_cast<fib_leaf_input*>(map_pages(leaf_cap * sizeof(fib_leaf_input)));
    if (lpm->tbl24 && lpm->tbl8 && lpm->leaves && lpm->inputs)
        return lpm;
    fib_lpm_free(lpm);
    return nullptr;
}

// ---- classes of routes

/// The class of a prefix's routes.
fib_leaf leaf_of(const fib_alias* fa, int plen) {
    fib_leaf leaf{};
    if (!fa)
        return leaf;
    leaf.any = true;
    leaf.plen = uint8_t(plen);
    if (!fa->fa_next && !fa->fa_tos && plen) {
        leaf.fi = fa->fa_info;
        leaf.type = fa->fa_type;
    }
    return leaf;
}
bool same_class(const fib_leaf& a, const fib_leaf& b) {
    return a.fi == b.fi && a.type == b.type && a.plen == b.plen && a.any == b.any;
}

uint32_t& leaf_bucket(fib_lpm_writer* w, const fib_leaf& leaf) {
    uint64_t h = (uint64_t(uintptr_t(leaf.fi)) >> 4) * 0x9e3779b97f4a7c15u;
    h ^= (uint64_t(leaf.type) << 8 | leaf.plen) * 0xa0761d6478bd642fu;
    return w->bucket[(h ^ h >> 32) & (w->bucket.size() - 1)];
}

uint32_t leaf_find(const fib_lpm* lpm, const fib_leaf& leaf) {
    uint32_t i = leaf_bucket(lpm->w, leaf);
    while (i && !same_class(lpm->leaves[i], leaf))
        i = lpm->w->state[i].next;
    return i;
}

/// An index nobody reads any more, else a new one; cap when there is none left.
uint32_t take_index(const net* n, std::vector<uint32_t>& free_list,
                    std::deque<fib_lpm_writer::resting>& resting, uint32_t& top, uint32_t cap) {
    while (!resting.empty() && const_cast<net*>(n)->rcu.done(resting.front().token)) {
        free_list.push_back(resting.front().index);
        resting.pop_front();
    }
    if (!free_list.empty()) {
        const uint32_t i = free_list.back();
        free_list.pop_back();
        return i;
    }
    return top < cap ? top++ : cap;
}

/// The leaf of a class with one more prefix on it; 0 when there is no room.
uint32_t leaf_get(fib_lpm* lpm, const fib_leaf& leaf) {
    fib_lpm_writer* w = lpm->w;
    if (uint32_t i = leaf_find(lpm, leaf)) {
        ++w->state[i].refs;
        return i;
    }
    const uint32_t i =
        take_index(w->n, w->free_leaves, w->resting_leaves, w->leaf_top, w->leaf_cap);
    if (i == w->leaf_cap)
        return 0;
    lpm->leaves[i] = leaf;
    lpm->inputs[i] = fib_leaf_input(leaf);
    w->plen[i] = leaf.plen;
    w->state[i] = {1, std::exchange(leaf_bucket(w, leaf), i)};
    return i;
}

void leaf_put(fib_lpm* lpm, uint32_t i) {
    fib_lpm_writer* w = lpm->w;
    if (--w->state[i].refs)
        return;
    uint32_t* link = &leaf_bucket(w, lpm->leaves[i]);
    while (*link != i)
        link = &w->state[*link].next;
    *link = w->state[i].next;
    w->resting_leaves.push_back({w->n->rcu.start(), i});
}

// ---- entries

template <class E>
struct entries {
    fib_lpm* lpm;
    const uint8_t* plen = lpm->w->plen.data();

    E* tbl24() { return static_cast<E*>(lpm->tbl24); }
    E* group(E e) { return static_cast<E*>(lpm->tbl8) + size_t(E(e ^ FIB_LPM_EXT<E>)) * GROUP; }
    static void store(E* at, E e) { __atomic_store_n(at, e, __ATOMIC_RELEASE); }

    /// Entries of a prefix of length len and, when it is new, of shorter ones become e.
    void fill(E* at, size_t n, unsigned len, bool added, E e) {
        for (E* end = at + n; at != end; ++at) {
            if (*at & FIB_LPM_EXT<E>)
                fill(group(*at), GROUP, len, added, e);
            else if (added ? plen[*at] <= len : plen[*at] == len && *at)
                store(at, e);
        }
    }
    /// The group of a /24, made when there is none; null when there is no room.
    E* group_make(E* at) {
        if (*at & FIB_LPM_EXT<E>)
            return group(*at);
        fib_lpm_writer* w = lpm->w;
        const uint32_t g =
            take_index(w->n, w->free_groups, w->resting_groups, w->group_top, w->group_cap);
        if (g == w->group_cap)
            return nullptr;
        const E e = E(g) | FIB_LPM_EXT<E>;
        std::fill_n(group(e), GROUP, *at);
        store(at, e);
        return group(e);
    }
    /// A group without prefixes of its own goes.
    void group_trim(E* at) {
        const E e = *at;
        const E* g = group(e);
        if (plen[g[0]] > 24 || !std::all_of(g, g + GROUP, [g](E x) { return x == g[0]; }))
            return;
        store(at, g[0]);
        lpm->w->resting_groups.push_back({lpm->w->n->rcu.start(), uint32_t(E(e ^ FIB_LPM_EXT<E>))});
    }
    bool set(uint32_t key, unsigned len, bool added, uint32_t leaf) {
        E* at = tbl24() + (key >> 8);
        if (len <= 24) {
            fill(at, size_t(1) << (24 - len), len, added, E(leaf));
            return true;
        }
        E* g = group_make(at);
        if (!g)
            return false;
        fill(g + (key & 0xff), size_t(1) << (32 - len), len, added, E(leaf));
        if (!added)
            group_trim(at);
        return true;
    }
};

bool entries_set(fib_lpm* lpm, be32_t key, int len, bool added, uint32_t leaf) {
    const uint32_t k = be32_to_cpu(key);
    return lpm->wide ? entries<uint32_t>{lpm}.set(k, unsigned(len), added, leaf)
                     : entries<uint16_t>{lpm}.set(k, unsigned(len), added, leaf);
}

// ---- growth

template <class From, class To>
void convert(const void* from, void* to, size_t n) {
    const auto* f = static_cast<const From*>(from);
    auto* t = static_cast<To*>(to);
    if constexpr (sizeof(From) == sizeof(To)) {
        std::memcpy(t, f, n * sizeof(To));
        return;
    }
    for (size_t i = 0; i < n; ++i)
        t[i] = f[i] & FIB_LPM_EXT<From> ? To(From(f[i] ^ FIB_LPM_EXT<From>)) | FIB_LPM_EXT<To>
                                        : To(f[i]);
}

/// A copy with room for more: twice of what is used up, wide when 15 bits do not name it.
fib_lpm* fib_lpm_grown(const fib_lpm* old) {
    const fib_lpm_writer* ow = old->w;
    auto grown = [](uint32_t used, uint32_t cap) { return used >= cap ? cap * 2 : cap; };
    const uint32_t leaves = grown(ow->leaf_top, ow->leaf_cap);
    const uint32_t groups = grown(ow->group_top, ow->group_cap);
    const bool wide = old->wide || std::max(leaves, groups) > FIB_LPM_EXT<uint16_t>;
    fib_lpm* lpm = fib_lpm_alloc(ow->n, wide, leaves, groups);
    if (!lpm)
        return nullptr;
    auto* copy = old->wide ? convert<uint32_t, uint32_t>
                 : wide    ? convert<uint16_t, uint32_t>
                           : convert<uint16_t, uint16_t>;
    copy(old->tbl24, lpm->tbl24, TBL24);
    copy(old->tbl8, lpm->tbl8, ow->group_top * GROUP);
    std::copy_n(old->leaves, ow->leaf_top, lpm->leaves);
    std::copy_n(old->inputs, ow->leaf_top, lpm->inputs);
    fib_lpm_writer* w = lpm->w;
    std::copy(ow->state.begin(), ow->state.end(), w->state.begin());
    std::copy(ow->plen.begin(), ow->plen.end(), w->plen.begin());
    w->leaf_top = ow->leaf_top;
    w->group_top = ow->group_top;
    w->free_leaves = ow->free_leaves;
    w->free_groups = ow->free_groups;
    // What rests is named by no entry of the copy: no reader of the copy can have it in hand.
    for (const auto& r : ow->resting_leaves)
        w->free_leaves.push_back(r.index);
    for (const auto& r : ow->resting_groups)
        w->free_groups.push_back(r.index);
    for (uint32_t i = 1; i < w->leaf_top; ++i)
        if (w->state[i].refs)
            w->state[i].next = std::exchange(leaf_bucket(w, lpm->leaves[i]), i);
    return lpm;
}

/// Adds a prefix to a structure that readers may have; false when there is no room in it.
bool fib_lpm_add(fib_lpm* lpm, be32_t key, int plen, const fib_leaf& leaf) {
    const uint32_t i = leaf_get(lpm, leaf);
    if (i && entries_set(lpm, key, plen, true, i))
        return true;
    if (i)
        leaf_put(lpm, i);
    return false;
}

/// All prefixes of the zones, shortest first; null when memory is short.
fib_lpm* fib_lpm_build(fib_table* tb) {
    fib_lpm* lpm = fib_lpm_alloc(tb->tb_net->nd_net, false, LEAVES_MIN, GROUPS_MIN);
    for (const fn_zone* fz : tb->tb_data.fn_zones) {
        if (!fz)
            continue;
        for (uint32_t b = 0; lpm && b <= fz->fz_hash->hashmask; ++b)
            for (const fib_node* f = fz->fz_hash->bucket[b]; lpm && f; f = f->fn_hash)
                while (lpm && !fib_lpm_add(lpm, f->fn_key, fz->fz_order,
                                           leaf_of(f->fn_alias, fz->fz_order))) {
                    fib_lpm* bigger = fib_lpm_grown(lpm);
                    fib_lpm_free(lpm);
                    lpm = bigger;
                }
    }
    return lpm;
}

void fib_lpm_drop(fib_table* tb) {
    if (fib_lpm* lpm = tb->tb_lpm) {
        rcu_assign_pointer(tb->tb_lpm, nullptr);
        fib_lpm_free_rcu(lpm);
    }
}

void fib_lpm_replace(fib_table* tb, fib_lpm* lpm) {
    fib_lpm* old = tb->tb_lpm;
    rcu_assign_pointer(tb->tb_lpm, lpm);
    fib_lpm_free_rcu(old);
}

/// The leaf of the longest prefix shorter than plen that covers key; 0: none.
uint32_t covering_leaf(const fib_table* tb, be32_t key, int plen) {
    for (int len = plen - 1; len >= 0; --len) {
        const fn_zone* fz = tb->tb_data.fn_zones[size_t(len)];
        if (const fib_node* f = fz ? fn_zone_find(fz, key & fz->fz_mask) : nullptr)
            return leaf_find(tb->tb_lpm, leaf_of(f->fn_alias, len));
    }
    return 0;
}

/// A table becomes large, or small again.
void count_node(fib_table* tb, int by) {
    tb->tb_num_nodes += uint32_t(by);
    // After a failure it is tried again as the table doubles.
    if (by > 0 && !tb->tb_lpm && tb->tb_num_nodes >= fib_lpm_min_nodes &&
        (tb->tb_num_nodes == fib_lpm_min_nodes || std::has_single_bit(tb->tb_num_nodes)))
        rcu_assign_pointer(tb->tb_lpm, fib_lpm_build(tb));
    else if (by < 0 && tb->tb_lpm && tb->tb_num_nodes < fib_lpm_min_nodes / 4)
        fib_lpm_drop(tb);
}

} // namespace

fib_lpm_change::fib_lpm_change(fib_table* tb, be32_t key, int plen, const fib_alias* before)
    : tb_(tb), key_(key), plen_(plen), before_(leaf_of(before, plen)) {}

fib_lpm_change::~fib_lpm_change() = default;

void fib_lpm_change::commit(const fib_alias* after_routes) {
    const fib_leaf after = leaf_of(after_routes, plen_);
    if (!same_class(before_, after) && tb_->tb_lpm) {
        const uint32_t old = before_.any ? leaf_find(tb_->tb_lpm, before_) : 0;
        if (after.any) {
            while (tb_->tb_lpm && !fib_lpm_add(tb_->tb_lpm, key_, plen_, after)) {
                fib_lpm* bigger = fib_lpm_grown(tb_->tb_lpm);
                bigger ? fib_lpm_replace(tb_, bigger) : fib_lpm_drop(tb_);
            }
        } else if (!entries_set(tb_->tb_lpm, key_, plen_, false, covering_leaf(tb_, key_, plen_))) {
            fib_lpm_drop(tb_);
        }
        if (old && tb_->tb_lpm)
            leaf_put(tb_->tb_lpm, old);
    }
    if (before_.any != after.any)
        count_node(tb_, after.any ? 1 : -1);
    before_ = after;
}

void fib_lpm_destroy(fib_table* tb) {
    if (fib_lpm* lpm = std::exchange(tb->tb_lpm, nullptr))
        fib_lpm_free(lpm);
}

size_t fib_lpm_bytes(const fib_table* tb) {
    const fib_lpm* lpm = tb->tb_lpm;
    if (!lpm)
        return 0;
    const fib_lpm_writer* w = lpm->w;
    return (TBL24 + size_t(w->group_top) * GROUP) * entry_size(lpm) +
           w->leaf_top * (sizeof(fib_leaf) + sizeof(fib_leaf_input)) +
           w->leaf_cap * (sizeof w->state[0] + sizeof w->plen[0] + sizeof w->bucket[0]);
}

namespace {
template <class E>
void lookup_bulk(const fib_lpm* lpm, const be32_t* addr, const fib_leaf** leaf, unsigned n) {
    const E* tbl24 = static_cast<const E*>(lpm->tbl24);
    constexpr unsigned AHEAD = 32;
    for (unsigned at = 0; at < n; at += AHEAD) {
        const unsigned m = std::min(n - at, AHEAD);
        for (unsigned i = 0; i < m; ++i)
            __builtin_prefetch(tbl24 + (be32_to_cpu(addr[at + i]) >> 8));
        for (unsigned i = 0; i < m; ++i)
            leaf[at + i] = __fib_lpm_find<E>(lpm, be32_to_cpu(addr[at + i]));
    }
}
} // namespace

void fib_lpm_lookup_bulk(const fib_lpm* lpm, const be32_t* addr, const fib_leaf** leaf,
                         unsigned n) {
    lpm->wide ? lookup_bulk<uint32_t>(lpm, addr, leaf, n)
              : lookup_bulk<uint16_t>(lpm, addr, leaf, n);
}

bool fib_lpm_is_valid(const fib_table* tb) {
    const fib_lpm* lpm = tb->tb_lpm;
    uint32_t nodes = 0;
    for (const fn_zone* fz : tb->tb_data.fn_zones)
        for (uint32_t b = 0; fz && b <= fz->fz_hash->hashmask; ++b)
            for (const fib_node* f = fz->fz_hash->bucket[b]; f; f = f->fn_hash, ++nodes) {
                if (!lpm)
                    continue;
                const fib_leaf want = leaf_of(f->fn_alias, fz->fz_order);
                if (!leaf_find(lpm, want))
                    return false;
                // Its first and last address lead to it, unless a longer prefix has them.
                const be32_t last = f->fn_key | ~fz->fz_mask;
                for (be32_t addr : {f->fn_key, last}) {
                    const fib_leaf* leaf = fib_lpm_find(lpm, addr);
                    if (leaf->plen < want.plen ||
                        (leaf->plen == want.plen && !same_class(*leaf, want)))
                        return false;
                }
            }
    return nodes == tb->tb_num_nodes;
}

} // namespace slabfwd
