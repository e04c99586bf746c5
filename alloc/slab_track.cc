// SPDX-License-Identifier: BSD-3-Clause
//
// slab_track.cc - stacks of allocations and frees, and their names in reports.
//
// Door: slab_track.h; slab_leaks(), slab_alloc_calls(), slab_free_calls() of slab_debug.h.
// Threads: see there.
// Origin: mm/slub.c of Linux v5.2 (set_track, print_track, list_locations). backtrace() unwinds.
#include "alloc/slab_track.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdio>
#include <execinfo.h>
#include <map>
#include <sys/syscall.h>
#include <unistd.h>

#include "alloc/slab_debug.h"
#include "alloc/slab_live.h"

namespace slabfwd {

namespace {

constexpr int OWN_FRAMES = 8; // frames of the allocator below a caller, at most

int current_pid() {
    static thread_local const int pid = static_cast<int>(syscall(SYS_gettid));
    return pid;
}

// kmalloc() and the bulk calls are not who asks: their caller is.
bool is_entry(const void* addr) {
    const auto* a = static_cast<const char*>(addr);
    return a >= __start_slab_entry && a < __stop_slab_entry;
}

// Fills in the stack from `caller` on.
void capture(track* t, const void* caller) {
    void* frames[TRACK_ADDRS_COUNT + OWN_FRAMES];
    const int n = backtrace(frames, TRACK_ADDRS_COUNT + OWN_FRAMES);
    void** end = frames + n;
    void** from = std::find(frames, end, caller);
    if (!caller) { // from the function that asked for the capture
        from = frames + std::min(n, 2);
    } else if (from == end) { // the unwinder came to nothing: at least who called
        t->addr = caller;
        t->nr = 0;
        return;
    }
    while (from + 1 < end && is_entry(*from))
        ++from;
    t->addr = from < end ? *from : nullptr;
    t->nr = 0;
    for (; from < end && t->nr < TRACK_ADDRS_COUNT; ++from)
        t->addrs[t->nr++] = *from;
}

void print_track(const char* what, const track* t) {
    if (!t->addr)
        return;
    report("  %s in %s age=%llu ms thread=%d slot=%u", what, slab_symbol(t->addr).c_str(),
           static_cast<unsigned long long>(track_now() - t->when), t->pid, unsigned{t->cpu});
    for (unsigned i = 1; i < t->nr; ++i)
        report("      %s", slab_symbol(t->addrs[i]).c_str());
}

} // namespace

std::uint64_t track_now() {
    using namespace std::chrono;
    return static_cast<std::uint64_t>(
        duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count());
}

void track_start() {
    void* frame = nullptr;
    backtrace(&frame, 1);
}

void set_track(const kmem_cache* cache, void* object, track_item item, const void* caller) {
    if (!(cache->flags & SLAB_STORE_USER))
        return;
    track* t = get_track(cache, object, item);
    t->when = track_now();
    t->pid = current_pid();
    t->cpu = static_cast<std::uint16_t>(slab_cpu);
    capture(t, caller);
}

void init_tracking(const kmem_cache* cache, void* object) {
    if (!(cache->flags & SLAB_STORE_USER))
        return;
    *get_track(cache, object, TRACK_ALLOC) = {};
    *get_track(cache, object, TRACK_FREE) = {};
}

[[gnu::no_sanitize_address]] track read_track(const kmem_cache* cache, const void* object,
                                              track_item item) {
    const auto* from =
        reinterpret_cast<const volatile std::uintptr_t*>(get_track(cache, object, item));
    std::uintptr_t words[sizeof(track) / sizeof(std::uintptr_t)];
    for (std::uintptr_t& w : words)
        w = *from++;
    return std::bit_cast<track>(words);
}

void print_tracking(const kmem_cache* cache, const void* object) {
    if (!(cache->flags & SLAB_STORE_USER))
        return;
    const track allocated = read_track(cache, object, TRACK_ALLOC);
    print_track("Allocated", &allocated);
    const track freed = read_track(cache, object, TRACK_FREE);
    print_track("Freed", &freed);
}

void print_here(const char* what, const void* caller) {
    track t = {};
    t.when = track_now();
    t.pid = current_pid();
    t.cpu = static_cast<std::uint16_t>(slab_cpu);
    capture(&t, caller);
    print_track(what, &t);
}

// ---- summaries by call site

namespace {

struct location {
    std::uint64_t count = 0;
    std::uint64_t sum_time = 0;
    std::uint64_t min_time = UINT64_MAX;
    std::uint64_t max_time = 0;
    int min_pid = INT32_MAX;
    int max_pid = 0;

    void add(std::uint64_t age, int pid) {
        ++count;
        sum_time += age;
        min_time = std::min(min_time, age);
        max_time = std::max(max_time, age);
        min_pid = std::min(min_pid, pid);
        max_pid = std::max(max_pid, pid);
    }
};

struct collection {
    kmem_cache* cache;
    track_item item;
    std::uint64_t now;
    std::map<const void*, location> by_site;
};

void process_slab(page* slab, void* arg) {
    auto* c = static_cast<collection*>(arg);
    for (std::size_t i = 0; i < objs_per_slab(c->cache, slab); ++i) {
        const void* object = index_to_obj(c->cache, slab, i);
        if (live_is_out(c->cache, object) != (c->item == TRACK_ALLOC))
            continue;
        const track t = read_track(c->cache, object, c->item);
        if (t.addr)
            c->by_site[t.addr].add(c->now - t.when, t.pid);
    }
}

std::string location_text(const void* addr, const location& l) {
    using ull = unsigned long long;
    char line[256];
    int n =
        std::snprintf(line, sizeof line, "%7llu %s age=", ull{l.count}, slab_symbol(addr).c_str());
    std::string text(line, std::min<std::size_t>(static_cast<std::size_t>(n), sizeof line - 1));
    if (l.count > 1)
        n = std::snprintf(line, sizeof line, "%llu/%llu/%llu", ull{l.min_time},
                          ull{l.sum_time / l.count}, ull{l.max_time});
    else
        n = std::snprintf(line, sizeof line, "%llu", ull{l.min_time});
    text.append(line, static_cast<std::size_t>(n));
    n = l.min_pid == l.max_pid
            ? std::snprintf(line, sizeof line, " pid=%d\n", l.min_pid)
            : std::snprintf(line, sizeof line, " pid=%d-%d\n", l.min_pid, l.max_pid);
    return text.append(line, static_cast<std::size_t>(n));
}

std::string list_locations(kmem_cache* cache, track_item item) {
    const spin_guard guard(slab_mutex);
    if (!(cache->flags & SLAB_STORE_USER))
        return "No data\n";
    collection c{cache, item, track_now(), {}};
    for_each_slab(cache, process_slab, &c);
    std::vector<std::pair<const void*, location>> sites(c.by_site.begin(), c.by_site.end());
    std::stable_sort(sites.begin(), sites.end(),
                     [](const auto& a, const auto& b) { return a.second.count > b.second.count; });
    std::string text;
    for (const auto& [addr, l] : sites)
        text += location_text(addr, l);
    return text.empty() ? "No data\n" : text;
}

struct leak_collection {
    kmem_cache* cache;
    std::size_t max;
    std::vector<slab_leak> leaks;
};

void collect_leaks(page* slab, void* arg) {
    auto* c = static_cast<leak_collection*>(arg);
    for (std::size_t i = 0; i < objs_per_slab(c->cache, slab) && c->leaks.size() < c->max; ++i) {
        const void* object = index_to_obj(c->cache, slab, i);
        if (!live_is_out(c->cache, object))
            continue;
        slab_leak leak{object, nullptr, 0, 0, {}};
        if (c->cache->flags & SLAB_STORE_USER) {
            const track t = read_track(c->cache, object, TRACK_ALLOC);
            leak.addr = t.addr;
            leak.age_ms = track_now() - t.when;
            leak.pid = t.pid;
        }
        c->leaks.push_back(std::move(leak));
    }
}

} // namespace

std::vector<slab_leak> slab_leaks(kmem_cache* cache, std::size_t max) {
    leak_collection c{cache, max, {}};
    {
        const spin_guard guard(slab_mutex);
        if (!has_live_map(cache))
            return {};
        for_each_slab(cache, collect_leaks, &c);
    }
    for (slab_leak& leak : c.leaks)
        if (leak.addr)
            leak.call_site = slab_symbol(leak.addr);
    return std::move(c.leaks);
}

std::string slab_alloc_calls(kmem_cache* cache) {
    return list_locations(cache, TRACK_ALLOC);
}

std::string slab_free_calls(kmem_cache* cache) {
    return list_locations(cache, TRACK_FREE);
}

} // namespace slabfwd
