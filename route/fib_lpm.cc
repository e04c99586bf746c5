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
#include <deque>
#include <memory>
#include <new>
#include <sys/mman.h>
#include <type_traits>
#include <utility>
#include <vector>

#include "alloc/kmalloc.h"
#include "route/fib_zone.h"

namespace slabfwd {

uint32_t fib_lpm_min_nodes = 1;
/// Below, the groups of the small form take less memory than the large form's root, and are nearer.
uint32_t fib_lpm_large_nodes = 1024;

namespace {

/// How many leaves and groups there is room for.
struct room_for {
    uint32_t leaves, groups;
};
constexpr room_for at_first(fib_lpm_form form) {
    return form == fib_lpm_form::small ? room_for{32, 16} : room_for{4096, 1024};
}

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
    room_for cap{};
    room_for top{1, 0}; ///< first ones never used
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

size_t entry_size(fib_lpm_form form) {
    return fib_lpm_as(form, []<class L>(L) { return sizeof(typename L::entry); });
}
size_t root_size(fib_lpm_form form) {
    return fib_lpm_as(form, []<class L>(L) { return L::ROOT * sizeof(typename L::entry); });
}
size_t group_size(fib_lpm_form form) {
    return fib_lpm_large::GROUP * entry_size(form);
}

void* zeroed(fib_lpm_form form, size_t bytes) {
    return form == fib_lpm_form::small ? kcalloc(1, bytes, GFP_KERNEL) : map_pages(bytes);
}
void give_back(fib_lpm_form form, void* p, size_t bytes) {
    form == fib_lpm_form::small ? kfree(p) : unmap_pages(p, bytes);
}

void fib_lpm_free(fib_lpm* lpm) {
    const fib_lpm_writer* w = lpm->w;
    const fib_lpm_form form = lpm->form;
    give_back(form, lpm->root, root_size(form));
    give_back(form, lpm->groups, w->cap.groups * group_size(form));
    give_back(form, lpm->leaves, w->cap.leaves * sizeof(fib_leaf));
    give_back(form, lpm->inputs, w->cap.leaves * sizeof(fib_leaf_input));
    delete w;
    delete lpm;
}
void fib_lpm_free_rcu(fib_lpm* lpm) {
    call_rcu_free<fib_lpm, fib_lpm_free>(lpm);
}

fib_lpm_writer* writer_alloc(net* n, room_for cap) try {
    auto w = std::make_unique<fib_lpm_writer>();
    w->n = n;
    w->cap = cap;
    w->state.resize(cap.leaves);
    w->plen.resize(cap.leaves);
    w->bucket.resize(std::bit_ceil(cap.leaves));
    return w.release();
} catch (const std::bad_alloc&) {
    return nullptr;
}

/// An empty one; null when memory is short.
fib_lpm* fib_lpm_alloc(net* n, fib_lpm_form form, room_for cap) {
    auto* w = writer_alloc(n, cap);
    auto* lpm = w ? new (std::nothrow) fib_lpm : nullptr;
    if (!lpm) {
        delete w;
        return nullptr;
    }
    lpm->w = w;
    lpm->form = form;
    lpm->root = zeroed(form, root_size(form));
    lpm->groups = zeroed(form, cap.groups * group_size(form));
    lpm->leaves = static_cast<fib_leaf*>(zeroed(form, cap.leaves * sizeof(fib_leaf)));
    lpm->inputs = static_cast<fib_leaf_input*>(zeroed(form, cap.leaves * sizeof(fib_leaf_input)));
    if (lpm->root && lpm->groups && lpm->leaves && lpm->inputs)
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
    for (const fib_alias* of = fa; of; of = of->fa_next)
        if (of->fa_tos)
            return leaf;
    leaf.fi = fa->fa_info;
    leaf.type = fa->fa_type;
    leaf.more = fa->fa_next;
    return leaf;
}
/// The class as a form has it. In a large one the default route is left to the zones: each change
/// of it would have to write to nearly all of the root.
fib_leaf class_in(const fib_lpm* lpm, fib_leaf leaf) {
    if (lpm->form != fib_lpm_form::small && !leaf.plen) {
        leaf.fi = nullptr;
        leaf.type = 0;
        leaf.more = false;
    }
    return leaf;
}
bool same_class(const fib_leaf& a, const fib_leaf& b) {
    return a.fi == b.fi && a.type == b.type && a.plen == b.plen && a.any == b.any &&
           a.more == b.more;
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
        take_index(w->n, w->free_leaves, w->resting_leaves, w->top.leaves, w->cap.leaves);
    if (i == w->cap.leaves)
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

template <class L>
struct entries {
    using E = typename L::entry;
    fib_lpm* lpm;
    const uint8_t* plen = lpm->w->plen.data();

    E* root() { return static_cast<E*>(lpm->root); }
    E* group(E e) { return static_cast<E*>(lpm->groups) + size_t(E(e ^ L::EXT)) * L::GROUP; }
    static void store(E* at, E e) { __atomic_store_n(at, e, __ATOMIC_RELEASE); }

    /// Entries of a prefix of length len and, when it is new, of shorter ones become e.
    void fill(E* at, size_t n, unsigned len, bool added, E e) {
        for (E* end = at + n; at != end; ++at) {
            if (*at & L::EXT)
                fill(group(*at), L::GROUP, len, added, e);
            else if (added ? plen[*at] <= len : plen[*at] == len && *at)
                store(at, e);
        }
    }
    /// The group that *at names, made when there is none; null when there is no room.
    E* group_make(E* at) {
        if (*at & L::EXT)
            return group(*at);
        fib_lpm_writer* w = lpm->w;
        const uint32_t g =
            take_index(w->n, w->free_groups, w->resting_groups, w->top.groups, w->cap.groups);
        if (g == w->cap.groups)
            return nullptr;
        const E e = E(g) | L::EXT;
        std::fill_n(group(e), L::GROUP, *at);
        store(at, e);
        return group(e);
    }
    /// A group without prefixes of its own, longer than `bits`, goes. False: it has some.
    bool group_trim(E* at, unsigned bits) {
        const E e = *at;
        const E* g = group(e);
        if (g[0] & L::EXT || plen[g[0]] > bits ||
            !std::all_of(g, g + L::GROUP, [g](E x) { return x == g[0]; }))
            return false;
        store(at, g[0]);
        lpm->w->resting_groups.push_back({lpm->w->n->rcu.start(), uint32_t(E(e ^ L::EXT))});
        return true;
    }
    bool set(uint32_t key, unsigned len, bool added, uint32_t leaf) {
        E* way[4]; // entries that name the groups which lead to the prefix
        unsigned groups = 0, bits = L::ROOT_BITS;
        E* at = root() + (key >> L::ROOT_SHIFT);
        for (; len > bits; bits += 8) {
            E* g = group_make(at);
            if (!g)
                return false;
            way[groups++] = at;
            at = g + (key >> (24 - bits) & 0xff);
        }
        fill(at, size_t(1) << (bits - len), len, added, E(leaf));
        while (!added && groups && group_trim(way[--groups], bits -= 8))
            ;
        return true;
    }
};

bool entries_set(fib_lpm* lpm, be32_t key, int len, bool added, uint32_t leaf) {
    return fib_lpm_as(lpm->form, [&]<class L>(L) {
        return entries<L>{lpm}.set(be32_to_cpu(key), unsigned(len), added, leaf);
    });
}

// ---- growth

/// Entries of one layout as those of another, with the same root.
template <class From, class To>
void convert(const void* from, void* to, size_t n) {
    const auto* f = static_cast<const typename From::entry*>(from);
    auto* t = static_cast<typename To::entry*>(to);
    if constexpr (std::is_same_v<From, To>) {
        std::copy_n(f, n, t);
        return;
    }
    for (size_t i = 0; i < n; ++i)
        t[i] = f[i] & From::EXT ? typename To::entry(f[i] ^ From::EXT) | To::EXT : f[i];
}
template <class From, class To>
void convert_all(const fib_lpm* from, fib_lpm* to) {
    convert<From, To>(from->root, to->root, From::ROOT);
    convert<From, To>(from->groups, to->groups, from->w->top.groups * From::GROUP);
}

/// Room for more: twice as much. Where half of a small form rests or is free, a copy, which names
/// none of that, is room enough: else a storm of changes would lead beyond what 15 bits name. A
/// large one's root costs too much to be copied for that.
uint32_t grown(fib_lpm_form form, uint32_t top, size_t unused, uint32_t cap) {
    if (top < cap)
        return cap;
    return form == fib_lpm_form::small && unused >= cap / 2 ? cap : cap * 2;
}

/// What changes look at, for a copy. What rests is named by no entry of that: no reader of it can
/// have it in hand.
void writer_copy(const fib_lpm_writer* ow, fib_lpm* to) {
    fib_lpm_writer* w = to->w;
    std::copy(ow->state.begin(), ow->state.end(), w->state.begin());
    std::copy(ow->plen.begin(), ow->plen.end(), w->plen.begin());
    w->top = ow->top;
    w->free_leaves = ow->free_leaves;
    w->free_groups = ow->free_groups;
    for (const auto& r : ow->resting_leaves)
        w->free_leaves.push_back(r.index);
    for (const auto& r : ow->resting_groups)
        w->free_groups.push_back(r.index);
    for (uint32_t i = 1; i < w->top.leaves; ++i)
        if (w->state[i].refs)
            w->state[i].next = std::exchange(leaf_bucket(w, to->leaves[i]), i);
}

/// A copy with room for more, wide when 15 bits do not name it.
fib_lpm* fib_lpm_grown(const fib_lpm* old) {
    const fib_lpm_writer* ow = old->w;
    const room_for cap = {grown(old->form, ow->top.leaves,
                                ow->free_leaves.size() + ow->resting_leaves.size(), ow->cap.leaves),
                          grown(old->form, ow->top.groups,
                                ow->free_groups.size() + ow->resting_groups.size(),
                                ow->cap.groups)};
    const bool named = std::max(cap.leaves, cap.groups) <= fib_lpm_large::EXT;
    if (old->form == fib_lpm_form::small && !named)
        return nullptr; // so many prefixes make a table large long before
    const fib_lpm_form form = named ? old->form : fib_lpm_form::wide;
    fib_lpm* lpm = fib_lpm_alloc(ow->n, form, cap);
    if (!lpm)
        return nullptr;
    fib_lpm_as(old->form, [&]<class From>(From) {
        if (form == old->form)
            convert_all<From, From>(old, lpm);
        else
            convert_all<fib_lpm_large, fib_lpm_wide>(old, lpm);
    });
    std::copy_n(old->leaves, ow->top.leaves, lpm->leaves);
    std::copy_n(old->inputs, ow->top.leaves, lpm->inputs);
    try {
        writer_copy(ow, lpm);
    } catch (const std::bad_alloc&) {
        fib_lpm_free(lpm);
        return nullptr;
    }
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
fib_lpm* fib_lpm_build(fib_table* tb, fib_lpm_form form) {
    fib_lpm* lpm = fib_lpm_alloc(tb->tb_net->nd_net, form, at_first(form));
    for (const fn_zone* fz : tb->tb_data.fn_zones) {
        if (!fz)
            continue;
        for (uint32_t b = 0; lpm && b <= fz->fz_hash->hashmask; ++b)
            for (const fib_node* f = fz->fz_hash->bucket[b]; lpm && f; f = f->fn_hash)
                while (lpm && !fib_lpm_add(lpm, f->fn_key, fz->fz_order,
                                           class_in(lpm, leaf_of(f->fn_alias, fz->fz_order)))) {
                    fib_lpm* bigger = fib_lpm_grown(lpm);
                    fib_lpm_free(lpm);
                    lpm = bigger;
                }
    }
    return lpm;
}

/// By lpm, or, null, by none.
void fib_lpm_replace(fib_table* tb, fib_lpm* lpm) {
    fib_lpm* old = tb->tb_lpm;
    rcu_assign_pointer(tb->tb_lpm, lpm);
    if (old)
        fib_lpm_free_rcu(old);
}

/// The leaf of the longest prefix shorter than plen that covers key; 0: none.
uint32_t covering_leaf(const fib_table* tb, be32_t key, int plen) {
    for (int len = plen - 1; len >= 0; --len) {
        const fn_zone* fz = tb->tb_data.fn_zones[size_t(len)];
        if (const fib_node* f = fz ? fn_zone_find(fz, key & fz->fz_mask) : nullptr)
            return leaf_find(tb->tb_lpm, class_in(tb->tb_lpm, leaf_of(f->fn_alias, len)));
    }
    return 0;
}

/// A table is compiled, becomes large, small again, or empty.
void count_node(fib_table* tb, int by) {
    const uint32_t nodes = tb->tb_num_nodes += uint32_t(by);
    const bool is_large = tb->tb_lpm && tb->tb_lpm->form != fib_lpm_form::small;
    if (by > 0) {
        const bool wants_large = nodes >= fib_lpm_large_nodes;
        // After a failure it is tried again: of a large one, which costs more, now and then.
        const bool in_time = nodes % fib_lpm_large_nodes == 0;
        if (nodes < fib_lpm_min_nodes || (wants_large ? is_large || !in_time : !!tb->tb_lpm))
            return;
        if (fib_lpm* lpm =
                fib_lpm_build(tb, wants_large ? fib_lpm_form::large : fib_lpm_form::small))
            fib_lpm_replace(tb, lpm);
    } else if (!nodes && tb->tb_lpm) {
        fib_lpm_replace(tb, nullptr);
    } else if (is_large && nodes < fib_lpm_large_nodes / 4) {
        fib_lpm_replace(tb, fib_lpm_build(tb, fib_lpm_form::small));
    }
}

} // namespace

fib_lpm_change::fib_lpm_change(fib_table* tb, be32_t key, int plen, const fib_alias* before)
    : tb_(tb), key_(key), plen_(plen), before_(leaf_of(before, plen)) {}

namespace {
/// A prefix's routes become those of class `after`; for now the compiled form has them as `before`.
void entries_change(fib_table* tb, be32_t key, int plen, fib_leaf before, fib_leaf after) {
    before = class_in(tb->tb_lpm, before);
    after = class_in(tb->tb_lpm, after);
    if (same_class(before, after))
        return;
    const uint32_t old = before.any ? leaf_find(tb->tb_lpm, before) : 0;
    if (after.any) {
        while (tb->tb_lpm && !fib_lpm_add(tb->tb_lpm, key, plen, after))
            fib_lpm_replace(tb, fib_lpm_grown(tb->tb_lpm));
    } else if (!entries_set(tb->tb_lpm, key, plen, false, covering_leaf(tb, key, plen))) {
        fib_lpm_replace(tb, nullptr);
    }
    if (old && tb->tb_lpm)
        leaf_put(tb->tb_lpm, old);
}
} // namespace

void fib_lpm_change::commit(const fib_alias* after_routes) {
    const fib_leaf after = leaf_of(after_routes, plen_);
    const auto or_by_zones = [this](auto work) {
        try {
            work();
        } catch (const std::bad_alloc&) { // of what only changes look at
            fib_lpm_replace(tb_, nullptr);
        }
    };
    if (tb_->tb_lpm)
        or_by_zones([&] { entries_change(tb_, key_, plen_, before_, after); });
    if (before_.any != after.any)
        or_by_zones([&] { count_node(tb_, after.any ? 1 : -1); });
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
    return root_size(lpm->form) + w->top.groups * group_size(lpm->form) +
           w->top.leaves * (sizeof(fib_leaf) + sizeof(fib_leaf_input)) +
           w->cap.leaves * (sizeof w->state[0] + sizeof w->plen[0] + sizeof w->bucket[0]);
}

namespace {
template <class L>
void lookup_bulk(const fib_lpm* lpm, const be32_t* addr, const fib_leaf** leaf, unsigned n) {
    const auto* root = static_cast<const typename L::entry*>(lpm->root);
    constexpr unsigned AHEAD = 32;
    for (unsigned at = 0; at < n; at += AHEAD) {
        const unsigned m = std::min(n - at, AHEAD);
        if constexpr (L::ROOT_BITS == fib_lpm_large::ROOT_BITS)
            for (unsigned i = 0; i < m; ++i)
                __builtin_prefetch(root + (be32_to_cpu(addr[at + i]) >> L::ROOT_SHIFT));
        for (unsigned i = 0; i < m; ++i)
            leaf[at + i] = lpm->leaves + __fib_lpm_find<L>(lpm, be32_to_cpu(addr[at + i]));
    }
}
} // namespace

void fib_lpm_lookup_bulk(const fib_lpm* lpm, const be32_t* addr, const fib_leaf** leaf,
                         unsigned n) {
    fib_lpm_as(lpm->form, [&]<class L>(L) { lookup_bulk<L>(lpm, addr, leaf, n); });
}

namespace {
/// What an address should lead to.
fib_leaf leaf_by_zones(const fib_table* tb, be32_t addr) {
    for (const fn_zone* fz = tb->tb_data.fn_zone_list; fz; fz = fz->fz_next)
        if (const fib_node* f = fn_zone_find(fz, addr & fz->fz_mask))
            return class_in(tb->tb_lpm, leaf_of(f->fn_alias, fz->fz_order));
    return {};
}
} // namespace

bool fib_lpm_is_valid(const fib_table* tb) {
    const fib_lpm* lpm = tb->tb_lpm;
    uint32_t nodes = 0, refs = 0;
    for (const fn_zone* fz : tb->tb_data.fn_zones)
        for (uint32_t b = 0; fz && b <= fz->fz_hash->hashmask; ++b)
            for (const fib_node* f = fz->fz_hash->bucket[b]; f; f = f->fn_hash, ++nodes) {
                if (!lpm)
                    continue;
                if (!leaf_find(lpm, class_in(lpm, leaf_of(f->fn_alias, fz->fz_order))))
                    return false;
                const be32_t last = f->fn_key | ~fz->fz_mask;
                for (be32_t addr : {f->fn_key, last})
                    if (!same_class(*fib_lpm_find(lpm, addr), leaf_by_zones(tb, addr)))
                        return false;
            }
    for (uint32_t i = 1; lpm && i < lpm->w->top.leaves; ++i)
        refs += lpm->w->state[i].refs;
    return nodes == tb->tb_num_nodes && (!lpm || refs == nodes);
}

} // namespace slabfwd
