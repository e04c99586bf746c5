// SPDX-License-Identifier: BSD-3-Clause
//
// failslab.cc - fault injection for caches and pages.
//
// Door: failslab.h.
// Threads: attributes and counts under their own lock; the question "is it on?" is one relaxed
// load, and for caches not even asked unless hooks are set.
// Origin: mm/failslab.c, lib/fault-inject.c of Linux v5.2. Difference: nth counts calls of the
// process, not of a task.
#include "alloc/failslab.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <fnmatch.h>

#include "alloc/slab.h"
#include "alloc/slab_track.h"

namespace slabfwd {

namespace {

struct injector {
    std::atomic<bool> on{false};
    spinlock_t lock;
    fault_attr attr;
    fault_stats stats;
    std::uint64_t random = 0;

    void set(const fault_attr& a) {
        const spin_guard guard(lock);
        attr = a;
        stats = {};
        random = 0x9e3779b97f4a7c15u; // the same dice in every run
        on.store(true, std::memory_order_relaxed);
    }
    fault_stats get() {
        const spin_guard guard(lock);
        return stats;
    }

    bool dice() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        return random % 100 < attr.probability;
    }
    bool decide(std::size_t size) {
        ++stats.seen;
        if (attr.nth)
            return stats.seen == attr.nth;
        if (attr.space > size) {
            attr.space -= size;
            return false;
        }
        if (attr.times == 0 || (attr.interval > 1 && stats.seen % attr.interval) || !dice())
            return false;
        if (attr.times > 0)
            --attr.times;
        return true;
    }
    bool filtered(const kmem_cache* cache, gfp_t flags) const {
        if (attr.ignore_gfp_reclaim && (flags & __GFP_DIRECT_RECLAIM))
            return true;
        return cache && ((attr.only && attr.only != cache) ||
                         (attr.name[0] && fnmatch(attr.name, cache->name, 0) != 0) ||
                         (attr.cache_filter && !cache->failslab.load(std::memory_order_relaxed)));
    }
    bool should_fail(const kmem_cache* cache, std::size_t size, gfp_t flags) {
        if (!on.load(std::memory_order_relaxed)) [[likely]]
            return false;
        int verbose = 0;
        {
            const spin_guard guard(lock);
            if (filtered(cache, flags) || !decide(size))
                return false;
            ++stats.failed;
            verbose = attr.verbose;
        }
        fail_dump(cache, size, verbose);
        return true;
    }
    static void fail_dump(const kmem_cache* cache, std::size_t size, int verbose) {
        if (verbose < 1)
            return;
        report("FAULT_INJECTION: forcing a failure of %zu bytes of %s", size,
               cache ? cache->name : "pages");
        if (verbose > 1)
            print_here("Asked for", nullptr);
    }
};

constinit injector failslab;
constinit injector fail_page_alloc;

} // namespace

void failslab_set(const fault_attr& attr) {
    kmem_cache_init();
    failslab.set(attr);
    slab_set_hooks(HOOK_FAILSLAB, 0, attr.only);
}

void failslab_off() {
    failslab.on.store(false, std::memory_order_relaxed);
    slab_set_hooks(0, HOOK_FAILSLAB, nullptr);
}

fault_stats failslab_stats() {
    return failslab.get();
}

void fail_page_alloc_set(const fault_attr& attr) {
    fail_page_alloc.set(attr);
}
void fail_page_alloc_off() {
    fail_page_alloc.on.store(false, std::memory_order_relaxed);
}
fault_stats fail_page_alloc_stats() {
    return fail_page_alloc.get();
}

namespace {

template <typename T>
bool number(std::string_view text, T* value) {
    const auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), *value);
    return err == std::errc{} && end == text.data() + text.size();
}

// Takes the part up to the next comma off the text.
std::string_view next_part(std::string_view* text) {
    const std::size_t comma = text->find(',');
    const std::string_view part = text->substr(0, comma);
    *text = comma == text->npos ? std::string_view() : text->substr(comma + 1);
    return part;
}

// "interval,probability,space,times"
int setup_fault_attr(std::string_view text, fault_attr* attr) {
    std::array<std::string_view, 4> part;
    for (auto& p : part)
        p = next_part(&text);
    return text.empty() && number(part[0], &attr->interval) &&
                   number(part[1], &attr->probability) && number(part[2], &attr->space) &&
                   number(part[3], &attr->times)
               ? 0
               : -EINVAL;
}

int set_key(std::string_view key, std::string_view value, fault_attr* attr) {
    if (key == "cache") {
        if (value.empty() || value.size() >= sizeof attr->name)
            return -EINVAL;
        value.copy(attr->name, value.size());
        return 0;
    }
    if (key == "cache-filter" || key == "ignore-gfp-wait") {
        (key == "cache-filter" ? attr->cache_filter : attr->ignore_gfp_reclaim) = value == "1";
        return value == "0" || value == "1" ? 0 : -EINVAL;
    }
    const bool known = key == "interval"      ? number(value, &attr->interval)
                       : key == "probability" ? number(value, &attr->probability)
                       : key == "space"       ? number(value, &attr->space)
                       : key == "times"       ? number(value, &attr->times)
                       : key == "nth"         ? number(value, &attr->nth)
                       : key == "verbose"     ? number(value, &attr->verbose)
                                              : false;
    return known ? 0 : -EINVAL;
}

int parse_keys(std::string_view text, fault_attr* attr) {
    while (!text.empty()) {
        const std::string_view part = next_part(&text);
        const std::size_t equals = part.find('=');
        if (equals == part.npos)
            return -EINVAL;
        if (const int err = set_key(part.substr(0, equals), part.substr(equals + 1), attr))
            return err;
    }
    return 0;
}

} // namespace

int setup_failslab(std::string_view text) {
    if (text == "off") {
        failslab_off();
        return 0;
    }
    kmem_cache_init();
    fault_attr attr;
    const int err =
        text.find('=') == text.npos ? setup_fault_attr(text, &attr) : parse_keys(text, &attr);
    if (err || attr.probability > 100)
        return err ? err : -EINVAL;
    failslab_set(attr);
    return 0;
}

bool should_failslab(const kmem_cache* cache, gfp_t flags) {
    return failslab.should_fail(cache, cache->object_size, flags);
}

bool should_fail_alloc_page(gfp_t flags, unsigned order) {
    return fail_page_alloc.should_fail(nullptr, PAGE_SIZE << order, flags);
}

} // namespace slabfwd
