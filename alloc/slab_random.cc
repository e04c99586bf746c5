// SPDX-License-Identifier: BSD-3-Clause
//
// slab_random.cc - objects of a new slab in random order (SLAB_RANDOM).
//
// Doors: cache_random_seq_create() for a cache; random_object(), random_place() in slab.h.
// Each cache has one random order of a slab's objects and its inverse; each slab starts somewhere
// else in it. An array index is written in that order; a bitmap's bits stand for places in it.
// Threads: written before the cache is known, then only read.
// Origin: mm/slab_common.c (cache_random_seq_create, freelist_randomize) and mm/slab.c
// (shuffle_freelist) of Linux v5.2. Difference: the place to start is a hash of the slab's number,
// so that it need not be kept.
#include <cerrno>
#include <cstring>
#include <random>
#include <utility>

#include "alloc/slab.h"
#include "alloc/slab_debug.h"

namespace slabfwd {

namespace {

constinit std::atomic<std::uint64_t> seed{0};

// splitmix64: each value of a sequence of seeds gives another, well mixed.
std::uint64_t next_random(std::uint64_t* state) {
    std::uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

std::uint64_t seed_for(const char* name) {
    std::uint64_t s = seed.load(std::memory_order_relaxed);
    if (s == 0) {
        std::random_device device;
        s = (std::uint64_t{device()} << 32) | device();
    }
    for (; *name; ++name)
        s = (s ^ static_cast<unsigned char>(*name)) * 0x100000001b3u;
    return s;
}

// Every order is equally likely (Fisher and Yates), but for the bias of a remainder below 2^-48.
void freelist_randomize(std::uint64_t state, std::uint16_t* list, unsigned count) {
    for (unsigned i = 0; i < count; ++i)
        list[i] = static_cast<std::uint16_t>(i);
    for (unsigned i = count - 1; i > 0; --i)
        std::swap(list[i], list[next_random(&state) % (i + 1)]);
}

} // namespace

void slab_random_seed(std::uint64_t s) {
    seed.store(s, std::memory_order_relaxed);
}

// 0 or -ENOMEM. Slabs of more than 65,536 objects do not exist.
int cache_random_seq_create(kmem_cache* cache, unsigned count) {
    if (cache->random_seq || count < 2)
        return 0;
    auto* list =
        static_cast<std::uint16_t*>(kmalloc(2 * count * sizeof(std::uint16_t), GFP_KERNEL));
    if (!list)
        return -ENOMEM;
    freelist_randomize(seed_for(cache->name), list, count);
    for (unsigned i = 0; i < count; ++i)
        list[count + list[i]] = static_cast<std::uint16_t>(i);
    cache->random_seq = list;
    return 0;
}

void cache_random_seq_destroy(kmem_cache* cache) {
    kfree(cache->random_seq);
    cache->random_seq = nullptr;
}

} // namespace slabfwd
