// SPDX-License-Identifier: BSD-3-Clause
//
// fib_lpm: the compiled form of a table, beside the zones that stay the authority: arrays in which
// an address finds its longest prefix by a few loads. Two forms. Small tables have an entry for
// each value of an address' first byte, and groups of 256 for the next byte wherever longer
// prefixes begin with the bytes before (8-8-8-8): a few kB, in the first-level cache, for most
// routers, 0.7 MB for a thousand prefixes far from one another. Large ones have an entry for
// each /24, and groups for those with longer prefixes (DIR-24-8). An
// entry names a leaf: routes that share fib_info, type and prefix length share one, so that a full
// table has a few thousand leaves and an entry needs 16 bits (32 once there are more).
//
// Doors: fib_lpm_find, fib_lpm_lookup_bulk (any slot, under RCU); fib_lpm_change (under rtnl).
// Threads: entries are single stores; a leaf or a group that nothing names any more is used again
// after a grace period; a structure that has to grow is copied and replaced as a whole. When memory
// is short the compiled form goes, and the zones answer. Works without EAL.
// Origin: the large scheme is Gupta, Lin, McKeown's (1998), as in DPDK's rte_fib, the small one a
// multibit trie; leaf classes are our own.
#pragma once

#include <cstddef>

#include "route/fib_lookup.h"

namespace slabfwd {

/// What an entry leads to. fi: of the prefix's only route, or of its first one, with `more` behind;
/// null: nothing (index 0), routes of which a TOS decides, or a large table's default routes. What
/// is not the only one is to be looked for in the zones, from this length on down.
struct fib_leaf {
    fib_info* fi;
    uint8_t type, plen;
    bool any;  ///< there are routes
    bool more; ///< than fi's
    uint8_t pad[4];

    bool only() const { return fi && !more; }
};
static_assert(sizeof(fib_leaf) == 16, "divides a cache line");

/// What a burst wants to know of a leaf, in a word, so that those of a full table stay in the
/// first-level cache: of unicast routes with one next hop the length, and
/// fi->fib_nh_[0].nh_rth_input. Where there is `more`, the first of the routes is used as long as
/// its next hop lives; the entry there was made by the full rules, and is good for as long.
struct fib_leaf_input {
    static constexpr unsigned PLEN_AT = 56;
    uint64_t word = 0; ///< 0: of none such

    fib_leaf_input() = default;
    explicit fib_leaf_input(const fib_leaf& leaf);
    unsigned plen() const { return unsigned(word >> PLEN_AT); }
    rtable** nh_rth_input() const {
        return reinterpret_cast<rtable**>(word & ~(~uint64_t(0) << PLEN_AT));
    }
};

struct fib_lpm_writer;

/// A form: entries of the root, which an address' first ROOT_BITS choose, and of the groups.
template <class E, unsigned BITS>
struct fib_lpm_layout {
    using entry = E;
    static constexpr unsigned ROOT_BITS = BITS, ROOT_SHIFT = 32 - BITS;
    static constexpr size_t ROOT = size_t(1) << BITS, GROUP = 256;
    static constexpr E EXT = E(E(1) << (sizeof(E) * 8 - 1)); ///< the entry names a group
};
using fib_lpm_small = fib_lpm_layout<uint16_t, 8>;
using fib_lpm_large = fib_lpm_layout<uint16_t, 24>;
using fib_lpm_wide = fib_lpm_layout<uint32_t, 24>; ///< of more classes or groups than 15 bits name

enum class fib_lpm_form : uint8_t { small, large, wide };

/// What readers follow; none of it changes after publication but the entries and unused leaves.
struct fib_lpm {
    void* root = nullptr;
    void* groups = nullptr; ///< of 256 entries
    fib_leaf* leaves = nullptr;
    fib_leaf_input* inputs = nullptr; ///< of each leaf
    fib_lpm_form form = fib_lpm_form::small;
    fib_lpm_writer* w = nullptr; ///< for changes, under rtnl
    rcu_head rcu;
};

/// f(its layout).
template <class F>
[[gnu::always_inline]] inline auto fib_lpm_as(fib_lpm_form form, F f) {
    switch (form) {
    case fib_lpm_form::small:
        return f(fib_lpm_small{});
    case fib_lpm_form::large:
        return f(fib_lpm_large{});
    case fib_lpm_form::wide:
        break;
    }
    return f(fib_lpm_wide{});
}

/// Where lookups in the main table begin, for who knows addresses before it is their turn. Good to
/// the end of the burst.
struct fib_lookup_ahead {
    const char* table = nullptr;
    size_t size = 0; ///< of an entry; 0: there is no large table, nothing is to be waited for

    explicit fib_lookup_ahead(const net& n)
        : fib_lookup_ahead(rcu_dereference(n.ipv4.fib->fib_main->tb_lpm)) {}
    explicit fib_lookup_ahead(const fib_lpm* lpm) {
        if (!lpm || lpm->form == fib_lpm_form::small)
            return;
        table = static_cast<const char*>(lpm->root);
        size = lpm->form == fib_lpm_form::wide ? sizeof(fib_lpm_wide::entry)
                                               : sizeof(fib_lpm_large::entry);
    }
    /// To be prefetched, not read. REQUIRES size.
    [[gnu::always_inline]] const void* of(be32_t daddr) const {
        return table + size_t(be32_to_cpu(daddr) >> fib_lpm_large::ROOT_SHIFT) * size;
    }
};

/// A lookup's steps, for who has something else to do between them: the root's entry, and the
/// leaf's number that it, or the groups that it leads to, name.
template <class L>
[[gnu::always_inline]] inline typename L::entry __fib_lpm_first(const fib_lpm* lpm, uint32_t addr) {
    return __atomic_load_n(static_cast<const typename L::entry*>(lpm->root) +
                               (addr >> L::ROOT_SHIFT),
                           __ATOMIC_ACQUIRE);
}
/// REQUIRES an entry that names a group: where that has the byte of addr that begins at bit
/// `shift`.
template <class L>
[[gnu::always_inline]] inline const typename L::entry*
__fib_lpm_in_group(const fib_lpm* lpm, uint32_t addr, unsigned shift, typename L::entry e) {
    return static_cast<const typename L::entry*>(lpm->groups) +
           (size_t(typename L::entry(e ^ L::EXT)) << 8 | (addr >> shift & 0xff));
}
/// REQUIRES the root's entry of addr, which names a group.
template <class L>
[[gnu::always_inline]] inline typename L::entry __fib_lpm_rest(const fib_lpm* lpm, uint32_t addr,
                                                               typename L::entry e) {
    unsigned shift = L::ROOT_SHIFT;
    do {
        shift -= 8;
        e = __atomic_load_n(__fib_lpm_in_group<L>(lpm, addr, shift, e), __ATOMIC_ACQUIRE);
    } while (shift && e & L::EXT);
    return e;
}
template <class L>
[[gnu::always_inline]] inline typename L::entry __fib_lpm_find(const fib_lpm* lpm, uint32_t addr) {
    const typename L::entry e = __fib_lpm_first<L>(lpm, addr);
    return e & L::EXT ? __fib_lpm_rest<L>(lpm, addr, e) : e;
}
/// The leaf of the longest prefix that covers addr; never null. Good to the end of the burst.
[[gnu::always_inline]] inline const fib_leaf* fib_lpm_find(const fib_lpm* lpm, be32_t addr) {
    return fib_lpm_as(lpm->form, [&]<class L>(L) {
        return lpm->leaves + __fib_lpm_find<L>(lpm, be32_to_cpu(addr));
    });
}
/// The same for a burst: all first loads are on their way before the first is needed.
void fib_lpm_lookup_bulk(const fib_lpm* lpm, const be32_t* addr, const fib_leaf** leaf, unsigned n);

/// Prefixes from which on a table is compiled, and from which on in the large form; below a quarter
/// of that it becomes small again. For tests.
extern uint32_t fib_lpm_min_nodes, fib_lpm_large_nodes;

/// A change of one prefix's routes on its way: made before it, commit()ted when the zones say the
/// new; without that nothing was changed.
class fib_lpm_change {
public:
    /// before: the prefix's routes as they are, null: none.
    fib_lpm_change(fib_table* tb, be32_t key, int plen, const fib_alias* before);
    fib_lpm_change(const fib_lpm_change&) = delete;
    fib_lpm_change& operator=(const fib_lpm_change&) = delete;
    /// after: its routes now, null: none any more. Once.
    void commit(const fib_alias* after);

private:
    fib_table* tb_;
    be32_t key_;
    int plen_;
    fib_leaf before_;
};

/// Frees the compiled form at once; nobody reads any more.
void fib_lpm_destroy(fib_table* tb);
/// Bytes that the compiled form takes; 0 when there is none. Under rtnl.
size_t fib_lpm_bytes(const fib_table* tb);
/// Compares every prefix of the zones with what its addresses lead to. Under rtnl; for tests.
bool fib_lpm_is_valid(const fib_table* tb);

} // namespace slabfwd
