// SPDX-License-Identifier: BSD-3-Clause
//
// dlopen of the other mallocs. See malloc_library.h.
#include "dataplane/bench/malloc_library.h"

#include <cstdint>
#include <cstdlib>
#include <dlfcn.h>
#include <link.h>
#include <malloc.h>

#include <fmt/format.h>

namespace slabfwd {

namespace {

template <typename F>
F* symbol(void* library, const char* name) {
    return reinterpret_cast<F*>(dlsym(library, name));
}

void purge_glibc(void*) {
    malloc_trim(0);
}

// Everything of all arenas (4096 is MALLCTL_ARENAS_ALL), the calling thread's cache first.
void purge_jemalloc(void* lib) {
    auto* mallctl = symbol<int(const char*, void*, size_t*, void*, size_t)>(lib, "mallctl");
    if (!mallctl)
        return;
    mallctl("thread.tcache.flush", nullptr, nullptr, nullptr, 0);
    mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0);
}

void purge_tcmalloc(void* lib) {
    for (const char* name : {"MallocExtension_MarkThreadIdle", "MallocExtension_ReleaseFreeMemory",
                             "MallocExtension_MarkThreadBusy"})
        if (auto* f = symbol<void()>(lib, name))
            f();
}

void purge_mimalloc(void* lib) {
    if (auto* collect = symbol<void(bool)>(lib, "mi_collect"))
        collect(true);
}

/// Does the address lie in the library that `handle` stands for?
bool lies_in(void* address, void* handle, std::string* where) {
    Dl_info info{};
    link_map* map = nullptr;
    if (!dladdr(address, &info) || !info.dli_fname || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0)
        return false;
    *where = info.dli_fname;
    return reinterpret_cast<uintptr_t>(info.dli_fbase) == map->l_addr;
}

} // namespace

const malloc_entry glibc_malloc = {nullptr,     "libc6", "malloc", "free",
                                   purge_glibc, nullptr, nullptr};
const malloc_entry jemalloc = {"libjemalloc.so.2", "libjemalloc2", "malloc",    "sdallocx",
                               purge_jemalloc,     "MALLOC_CONF",  "thp:always"};
const malloc_entry tcmalloc_minimal = {"libtcmalloc_minimal.so.4",
                                       "libtcmalloc-minimal4",
                                       "tc_new",
                                       "tc_delete_sized",
                                       purge_tcmalloc,
                                       nullptr,
                                       nullptr};
const malloc_entry mimalloc = {"libmimalloc.so.2",
                               "libmimalloc2.0",
                               "mi_malloc_small",
                               "mi_free",
                               purge_mimalloc,
                               "MIMALLOC_LARGE_OS_PAGES",
                               "1"};

std::string open_malloc_library(const malloc_entry& entry, bool hugepages, malloc_library* out) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    if (entry.soname)
        return "the sanitizer replaces malloc itself";
#endif
    if (!entry.soname) { // volatile: the compiler knows the two and would drop a pair of calls
        void* (*volatile alloc)(size_t) = std::malloc;
        void (*volatile release)(void*) = std::free;
        out->alloc = alloc;
        out->free = reinterpret_cast<void*>(release);
        return {};
    }
    if (hugepages && entry.hugepage_variable)
        setenv(entry.hugepage_variable, entry.hugepage_value, 1);
    int flags = RTLD_NOW | RTLD_LOCAL;
#if defined(RTLD_DEEPBIND)
    flags |= RTLD_DEEPBIND;
#endif
    out->handle = dlopen(entry.soname, flags);
    if (!out->handle)
        return fmt::format("{} (Debian: {})", dlerror(), entry.package);
    void* alloc = dlsym(out->handle, entry.alloc);
    out->free = dlsym(out->handle, entry.free);
    if (!alloc || !out->free)
        return fmt::format("{} has no {} or no {}", entry.soname, entry.alloc, entry.free);
    std::string where;
    if (!lies_in(alloc, out->handle, &where) || !lies_in(out->free, out->handle, &where))
        return fmt::format("{} of {} turns out to be that of {}", entry.alloc, entry.soname, where);
    out->alloc = reinterpret_cast<void* (*)(size_t)>(alloc);
    return {};
}

std::string malloc_tunables(bool hugepages) {
    return std::string("glibc.rtld.optional_static_tls=16384") +
           (hugepages ? ":glibc.malloc.hugetlb=1" : "");
}

} // namespace slabfwd
