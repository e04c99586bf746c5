// SPDX-License-Identifier: BSD-3-Clause
//
// slab_debug.cc - which cache is debugged how: the setting, the layout of objects, run-time
// changes.
//
// Doors: slab_debug_setup(), slab_debug_change(), kmem_cache_flags(), lay_out_object().
// Threads: the setting and changes under slab_mutex.
// Origin: mm/slub.c of Linux v5.2 (setup_slub_debug, kmem_cache_flags, calculate_sizes and the
// attributes of /sys/kernel/slab), with the names by pattern and the blocks of later kernels.
#include "alloc/slab_debug.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fnmatch.h>

#include "alloc/array_cache.h"
#include "alloc/memcg.h"
#include "alloc/slab_live.h"
#include "alloc/slab_track.h"

namespace slabfwd {

namespace {

constexpr slab_flags_t DEBUG_DEFAULT_FLAGS =
    SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER;
// What slab_debug_change() takes at any time, and what it takes of a cache without objects only.
constexpr slab_flags_t CHANGE_LIVE =
    SLAB_CONSISTENCY_CHECKS | SLAB_TRACE | SLAB_HARDENED | SLAB_FAILSLAB;
constexpr slab_flags_t CHANGE_EMPTY = DEBUG_METADATA_FLAGS | SLAB_RANDOM;

struct letter {
    char name;
    slab_flags_t flag;
};
constexpr letter letters[] = {
    {'F', SLAB_CONSISTENCY_CHECKS}, {'Z', SLAB_RED_ZONE}, {'P', SLAB_POISON},
    {'U', SLAB_STORE_USER},         {'T', SLAB_TRACE},    {'A', SLAB_FAILSLAB},
    {'H', SLAB_HARDENED},           {'R', SLAB_RANDOM},
};

// Letters for all caches, or for those whose names match.
struct debug_block {
    slab_flags_t flags = 0;
    bool no_higher_order = false; // O
    std::vector<std::string> names;

    bool matches(const char* name) const {
        return names.empty() || std::any_of(names.begin(), names.end(), [name](const auto& n) {
                   return fnmatch(n.c_str(), name, 0) == 0;
               });
    }
};

// Guarded by slab_mutex. Never destroyed: caches are made by destructors of static objects too.
std::vector<debug_block>& setting() {
    static auto* blocks = new std::vector<debug_block>;
    return *blocks;
}

bool parse_letters(std::string_view text, debug_block* block) {
    if (text.empty())
        block->flags = DEBUG_DEFAULT_FLAGS;
    for (const char c : text) {
        const char upper = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
        const auto* l = std::find_if(std::begin(letters), std::end(letters),
                                     [upper](const letter& x) { return x.name == upper; });
        if (l != std::end(letters))
            block->flags |= l->flag;
        else if (upper == 'O')
            block->no_higher_order = true;
        else if (c != '-' || text.size() != 1)
            return false;
    }
    return true;
}

// "LETTERS[,NAME...]"
bool parse_block(std::string_view text, debug_block* block) {
    std::size_t comma = std::min(text.find(','), text.size());
    if (!parse_letters(text.substr(0, comma), block))
        return false;
    while (comma < text.size()) {
        text.remove_prefix(comma + 1);
        comma = std::min(text.find(','), text.size());
        if (comma == 0)
            return false; // an empty name
        block->names.emplace_back(text.substr(0, comma));
    }
    return true;
}

// Blocks that name a cache go before those for all.
bool parse_setting(std::string_view text, std::vector<debug_block>* blocks) {
    for (;;) {
        const std::size_t end = std::min(text.find(';'), text.size());
        debug_block block;
        if (!parse_block(text.substr(0, end), &block))
            return false;
        blocks->push_back(std::move(block));
        if (end == text.size())
            break;
        text.remove_prefix(end + 1);
    }
    std::stable_partition(blocks->begin(), blocks->end(),
                          [](const debug_block& b) { return !b.names.empty(); });
    return true;
}

constexpr std::size_t align_up(std::size_t n, std::size_t a) {
    return (n + a - 1) / a * a;
}

// Caches that debugging itself needs, or that exist before it can work.
bool debug_exempt(const kmem_cache* cache) {
    return cache == kmem_cache_cache || (cache->flags & (SLAB_NOLEAKTRACE | CFLGS_NO_ARRAY));
}

bool wants_live_map(slab_flags_t flags) {
    return flags & (DEBUG_METADATA_FLAGS | SLAB_CONSISTENCY_CHECKS | SLAB_HARDENED);
}

// REQUIRES slab_mutex: hooks of one cache, as slab_set_hooks() does.
void change_hooks(kmem_cache* cache, std::uint32_t set, std::uint32_t clear) {
    cache->hooks = (cache->hooks.load(std::memory_order_relaxed) & ~clear) | set; // at one go
    cache->request.fetch_add(1, std::memory_order_release);
    if (slab_cpu)
        serve_requests(cache, slab_cpu);
    detail::slab_request_gen.fetch_add(1, std::memory_order_release);
}

constexpr std::uint32_t DEBUG_HOOKS =
    HOOK_DEBUG | HOOK_HARDENED | HOOK_CHECKS | HOOK_TRACE | ~std::uint32_t{HOOK_ALL};

std::uint32_t hooks_with_tag(const kmem_cache* cache, slab_flags_t flags) {
    const std::uint32_t tag = wants_live_map(flags) ? cache->live.tag : 0;
    return slab_debug_hooks(flags) | tag << HOOK_TAG_SHIFT;
}

// The hooks for `flags` are set, the other ones of debugging cleared.
void set_debug_hooks(kmem_cache* cache, slab_flags_t flags) {
    const std::uint32_t hooks = hooks_with_tag(cache, flags);
    change_hooks(cache, hooks, DEBUG_HOOKS & ~hooks);
}

int change_live(kmem_cache* cache, slab_flags_t flags) {
    if (wants_live_map(flags) && !wants_live_map(slab_debug_flags(cache))) {
        cache->live.late.store(true, std::memory_order_relaxed);
        if (const int err = live_map_open(cache))
            return err;
    }
    cache->failslab.store(flags & SLAB_FAILSLAB, std::memory_order_relaxed);
    set_debug_hooks(cache, flags);
    return 0; // the map stays: threads that have not noticed yet still write to it
}

// Gives back what slabs can be given back. Was that all of them?
bool becomes_empty(kmem_cache* cache) {
    drain_cpu_caches(cache);
    for (int nid = 0; nid < nr_node_ids(); ++nid)
        drain_freelist(cache, get_node(cache, nid), SIZE_MAX);
    return cache->nr_slabs.load(std::memory_order_relaxed) == 0;
}

// A new layout, for which the cache must be empty.
int change_empty(kmem_cache* cache, slab_flags_t flags) {
    if (!becomes_empty(cache))
        return -EBUSY;
    const slab_flags_t kept = cache->flags & ~(CHANGE_LIVE | CHANGE_EMPTY);
    if (const int err = cut_cache_again(cache, kept | flags)) {
        set_debug_hooks(cache, slab_debug_flags(cache));
        return err;
    }
    cache->failslab.store(flags & SLAB_FAILSLAB, std::memory_order_relaxed);
    set_debug_hooks(cache, flags);
    return 0;
}

// REQUIRES slab_mutex.
int change_to(kmem_cache* cache, slab_flags_t flags) {
    const slab_flags_t changed = flags ^ slab_debug_flags(cache);
    if (!changed)
        return 0;
    return (changed & CHANGE_EMPTY) ? change_empty(cache, flags) : change_live(cache, flags);
}

// A root cache and its children (which for the kernel's attributes is slab_attr_store()). All are
// asked whether they can change before the first one does. REQUIRES slab_mutex.
int change_family(kmem_cache* root, slab_flags_t flags) {
    const auto layout_changes = [flags](const kmem_cache* c) {
        return (flags ^ slab_debug_flags(c)) & CHANGE_EMPTY;
    };
    kmem_cache* const first = root->memcg_params.children;
    for (kmem_cache* c = first; c; c = c->memcg_params.children_next)
        if (layout_changes(c) && !becomes_empty(c))
            return -EBUSY;
    int err = change_to(root, flags);
    for (kmem_cache* c = first; c && !err; c = c->memcg_params.children_next)
        err = change_to(c, flags);
    return err;
}

// A new setting meets a cache that exists, and its children. REQUIRES slab_mutex.
void apply_to_live(kmem_cache* cache) {
    if (debug_exempt(cache) || !is_root_cache(cache))
        return;
    const slab_flags_t now = slab_debug_flags(cache);
    const slab_flags_t want = now | kmem_cache_flags(cache->object_size, 0, cache->name);
    if (change_family(cache, want) == 0)
        return;
    report("slab_debug: %s has objects and keeps its layout: %s", cache->name,
           slab_debug_letters(want & CHANGE_EMPTY & ~now).c_str());
    change_family(cache, (want & CHANGE_LIVE) | (now & CHANGE_EMPTY));
}

} // namespace

int slab_debug_setup(std::string_view text) {
    std::vector<debug_block> blocks;
    if (!parse_setting(text, &blocks))
        return -EINVAL;
    const spin_guard guard(slab_mutex);
    setting() = std::move(blocks);
    for (kmem_cache* c = slab_caches.first; c; c = c->next)
        apply_to_live(c);
    return 0;
}

int slab_debug_change(kmem_cache* cache, slab_flags_t flags, bool on) {
    const spin_guard guard(slab_mutex);
    if ((flags & ~(CHANGE_LIVE | CHANGE_EMPTY)) || debug_exempt(cache) || cache->refcount > 1 ||
        !is_root_cache(cache))
        return -EINVAL;
    const slab_flags_t now = slab_debug_flags(cache);
    return change_family(cache, on ? now | flags : now & ~flags);
}

slab_flags_t slab_debug_flags(const kmem_cache* cache) {
    const std::uint32_t hooks = cache->hooks.load(std::memory_order_relaxed);
    return (cache->flags & CHANGE_EMPTY) | ((hooks & HOOK_CHECKS) ? SLAB_CONSISTENCY_CHECKS : 0) |
           ((hooks & HOOK_TRACE) ? SLAB_TRACE : 0) | ((hooks & HOOK_HARDENED) ? SLAB_HARDENED : 0) |
           (cache->failslab.load(std::memory_order_relaxed) ? SLAB_FAILSLAB : 0);
}

std::string slab_debug_letters(slab_flags_t flags) {
    std::string text;
    for (const letter& l : letters)
        if (flags & l.flag)
            text += l.name;
    return text;
}

std::uint64_t slab_bugs(const kmem_cache* cache) {
    return cache->bugs.load(std::memory_order_relaxed);
}

// REQUIRES slab_mutex, or the start of the allocator.
slab_flags_t kmem_cache_flags(unsigned object_size, slab_flags_t flags, const char* name) {
    if (flags & SLAB_NOLEAKTRACE)
        return flags;
    for (const debug_block& b : setting()) {
        if (!b.matches(name))
            continue;
        slab_flags_t more = b.flags;
        constexpr unsigned metadata = 2 * sizeof(track) + 4 * BYTES_PER_WORD;
        if (b.no_higher_order && get_order(object_size + metadata) > get_order(object_size))
            more &= ~DEBUG_METADATA_FLAGS;
        return flags | more;
    }
    return flags;
}

std::size_t lay_out_object(kmem_cache* cache, slab_flags_t flags, bool slub) {
    std::size_t size = align_up(cache->object_size, BYTES_PER_WORD);
    if ((flags & SLAB_RED_ZONE) && size == cache->object_size)
        size += BYTES_PER_WORD; // there is always a right red zone
    cache->inuse = static_cast<unsigned>(size);
    cache->offset = slub && cache->use_freeptr_offset ? cache->freeptr_offset : 0;
    if (slub && ((flags & SLAB_POISON) || cache->ctor ||
                 ((flags & SLAB_TYPESAFE_BY_RCU) && !cache->use_freeptr_offset))) {
        cache->offset = cache->inuse; // a free object must stay as it is
        size += BYTES_PER_WORD;
    }
    cache->track_offset = 0;
    if (flags & SLAB_STORE_USER) {
        cache->track_offset = static_cast<unsigned>(size);
        size += 2 * sizeof(track);
    }
    cache->red_left_pad = 0;
    if (flags & SLAB_RED_ZONE) {
        size += BYTES_PER_WORD; // padding behind the tracks, which a write too far hits as well
        cache->red_left_pad = static_cast<unsigned>(
            align_up(BYTES_PER_WORD, std::max<std::size_t>(cache->align, BYTES_PER_WORD)));
        size += cache->red_left_pad;
    }
    cache->obj_offset = static_cast<int>(cache->red_left_pad);
    return align_up(size, std::max<std::size_t>(cache->align, BYTES_PER_WORD));
}

std::uint32_t slab_debug_hooks(slab_flags_t flags) {
    std::uint32_t hooks = 0;
    if (flags & (DEBUG_METADATA_FLAGS | SLAB_CONSISTENCY_CHECKS | SLAB_TRACE))
        hooks |= HOOK_DEBUG;
    if (flags & SLAB_CONSISTENCY_CHECKS)
        hooks |= HOOK_CHECKS;
    if (flags & SLAB_TRACE)
        hooks |= HOOK_TRACE;
    if (flags & SLAB_HARDENED)
        hooks |= HOOK_HARDENED;
    return hooks;
}

int slab_debug_open(kmem_cache* cache) {
    cache->failslab.store(cache->flags & SLAB_FAILSLAB, std::memory_order_relaxed);
    if (cache->flags & SLAB_STORE_USER)
        track_start();
    cache->live.late.store(false, std::memory_order_relaxed);
    if (wants_live_map(cache->flags))
        if (const int err = live_map_open(cache))
            return err;
    cache->hooks |= hooks_with_tag(cache, cache->flags);
    // Caches that kmalloc() itself stands on keep the order they have.
    if ((cache->flags & SLAB_RANDOM) && slab_state() >= UP) {
        if (const int err = cache_random_seq_create(cache, cache->num)) {
            live_map_close(cache);
            return err;
        }
    }
    return 0;
}

void slab_debug_close(kmem_cache* cache) {
    cache->hooks &= ~DEBUG_HOOKS;
    live_map_close(cache);
    if (cache->random_seq)
        cache_random_seq_destroy(cache);
}

} // namespace slabfwd
