// SPDX-License-Identifier: BSD-3-Clause
//
// fib_lpm: the compiled form of a large table, beside the zones that stay the authority. Two arrays
// (DIR-24-8): one entry for each /24, and 256 more for each /24 that has longer prefixes. An entry
// names a leaf; routes that share fib_info, type and prefix length share one, so that a full table
// has a few thousand leaves and an entry needs 16 bits (32 once there are more).
//
// Doors: fib_lpm_find, fib_lpm_lookup_bulk (any slot, under RCU); fib_lpm_change (under rtnl).
// Threads: entries are single stores; a leaf or a group that nothing names any more is used again
// after a grace period; a structure that has to grow is copied and replaced as a whole. When memory
// is short the compiled form goes, and the zones answer. Works without EAL.
// Origin: the scheme is Gupta, Lin, McKeown's (1998), as in DPDK's rte_fib; leaf classes are our
// own.
#pragma once

#include <cstddef>

#include "alloc/prefetch.h"
#include "route/fib_lookup.h"

namespace slabfwd {

/// What an entry leads to. fi null: nothing (index 0), or routes that only the zones can tell apart
/// (several of one prefix, a TOS, a default route): look there, from this length on down.
struct fib_leaf {
    fib_info* fi;
    uint8_t type, plen;
    bool any; ///< there are routes
    uint8_t pad[5];
};
static_assert(sizeof(fib_leaf) == 16, "divides a cache line");

/// What a burst wants to know of a leaf, in a word, so that those of a full table stay in the
/// first-level cache: of unicast routes with one next hop the length, and
/// fi->fib_nh_[0].nh_rth_input.
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

/// What readers follow; none of it changes after publication but the entries and unused leaves.
struct fib_lpm {
    void* tbl24 = nullptr; ///< 2^24 entries of uint16_t, or uint32_t when wide
    void* tbl8 = nullptr;  ///< groups of 256 entries
    fib_leaf* leaves = nullptr;
    fib_leaf_input* inputs = nullptr; ///< of each leaf
    bool wide = false;
    fib_lpm_writer* w = nullptr; ///< for changes, under rtnl
    rcu_head rcu;
};

template <class E>
constexpr E FIB_LPM_EXT = E(E(1) << (sizeof(E) * 8 - 1)); ///< the entry names a group of tbl8

/// Where lookups in the main table begin, for who knows addresses before it is their turn. Good to the end of
/// the burst.
struct fib_lookup_ahead {
    const char* table;
    size_t size; ///< of an entry; 0: there is no compiled table

    explicit fib_lookup_ahead(const net& n)
        : fib_lookup_ahead(rcu_dereference(n.ipv4.fib->fib_main->tb_lpm)) {}
    explicit fib_lookup_ahead(const fib_lpm* lpm)
        : table(lpm ? static_cast<const char*>(lpm->tbl24) : nullptr),
          size(!lpm        ? 0
               : lpm->wide ? sizeof(uint32_t)
                           : sizeof(uint16_t)) {}
    /// To be prefetched, not read. REQUIRES size.
    [[gnu::always_inline]] const void* of(be32_t daddr) const {
        return table + size_t(be32_to_cpu(daddr) >> 8) * size;
    }
};

/// A lookup's two steps, for who has something else to do between them: the entry of a /24, and the leaf that
/// it, or the group that it names, leads to.
template <class E>
[[gnu::always_inline]] inline E __fib_lpm_first(const fib_lpm* lpm, uint32_t addr) {
    return __atomic_load_n(static_cast<const E*>(lpm->tbl24) + (addr >> 8), __ATOMIC_ACQUIRE);
}
/// REQUIRES an entry that names a group: where that has addr.
template <class E>
[[gnu::always_inline]] inline const E* __fib_lpm_in_group(const fib_lpm* lpm, uint32_t addr, E first) {
    return static_cast<const E*>(lpm->tbl8) + (size_t(E(first ^ FIB_LPM_EXT<E>)) << 8 | (addr & 0xff));
}
/// REQUIRES the same: the leaf's number that stands there.
template <class E>
[[gnu::always_inline]] inline E __fib_lpm_second(const fib_lpm* lpm, uint32_t addr, E first) {
    return __atomic_load_n(__fib_lpm_in_group<E>(lpm, addr, first), __ATOMIC_ACQUIRE);
}
template <class E>
[[gnu::always_inline]] inline const fib_leaf* __fib_lpm_find(const fib_lpm* lpm, uint32_t addr) {
    const E e = __fib_lpm_first<E>(lpm, addr);
    return lpm->leaves + (e & FIB_LPM_EXT<E> ? __fib_lpm_second<E>(lpm, addr, e) : e);
}
/// The leaf of the longest prefix that covers addr; never null. Good to the end of the burst.
[[gnu::always_inline]] inline const fib_leaf* fib_lpm_find(const fib_lpm* lpm, be32_t addr) {
    return lpm->wide ? __fib_lpm_find<uint32_t>(lpm, be32_to_cpu(addr))
                     : __fib_lpm_find<uint16_t>(lpm, be32_to_cpu(addr));
}
/// The same for a burst: all first loads are on their way before the first is needed.
void fib_lpm_lookup_bulk(const fib_lpm* lpm, const be32_t* addr, const fib_leaf** leaf, unsigned n);
/// Asks for the memory that fib_lpm_find(addr) begins with.
[[gnu::always_inline]] inline void fib_lpm_prefetch(const fib_lpm* lpm, be32_t addr) {
    __builtin_prefetch(fib_lookup_ahead(lpm).of(addr));
}

/// Prefixes from which on a table is compiled; below, the zones are as fast and need less memory.
/// For tests.
extern uint32_t fib_lpm_min_nodes;

/// A change of one prefix's routes on its way: made before it, commit()ted when the zones say the
/// new. Commits by itself when it goes.
class fib_lpm_change {
public:
    /// before: the prefix's routes as they are, null: none.
    fib_lpm_change(fib_table* tb, be32_t key, int plen, const fib_alias* before);
    ~fib_lpm_change();
    fib_lpm_change(const fib_lpm_change&) = delete;
    fib_lpm_change& operator=(const fib_lpm_change&) = delete;
    /// after: its routes now, null: none any more.
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
