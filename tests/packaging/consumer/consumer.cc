// SPDX-License-Identifier: BSD-3-Clause
//
// A user of the installed library: a cache, objects one by one, in bulk and through the calling
// thread's handle, kmalloc, and an end with nothing left. Exit status 0 when all of it worked.
#include <cstdio>
#include <cstring>

#include <slabfwd/alloc/kmalloc.h>
#include <slabfwd/alloc/kmem_cache.h>

using namespace slabfwd;

int main() {
    kmem_cache* cache = kmem_cache_create("consumer", 192, 64, SLAB_HWCACHE_ALIGN, nullptr);
    if (!cache) {
        return 1;
    }
    void* one = kmem_cache_alloc(cache, GFP_KERNEL);
    void* many[32];
    if (!one || kmem_cache_alloc_bulk(cache, GFP_KERNEL, 32, many) != 32) {
        return 2;
    }
    std::memset(one, 0xa5, 192);
    kmem_cache_free_bulk(cache, 32, many);
    kmem_cache_free(cache, one);

    auto handle = kmem_cache_this_cpu(cache);
    void* fast = kmem_cache_alloc(handle, GFP_KERNEL);
    if (!fast) {
        return 3;
    }
    kmem_cache_free(handle, fast);

    void* bytes = kzalloc(100, GFP_KERNEL);
    if (!bytes || ksize(bytes) < 100) {
        return 4;
    }
    kfree(bytes);
    kmem_cache_destroy(cache);
    std::puts("slabfwd::alloc works");
}
