// SPDX-License-Identifier: BSD-3-Clause
//
// Several mallocs in one program, none of which replaces the other: each library is loaded with
// names of its own (RTLD_LOCAL, and RTLD_DEEPBIND so that it finds itself first), and called by the
// entry points that are fastest, which were measured against their alternatives: malloc/free, with
// the size told to the free call where the library has one.
//
// Door: open_malloc_library(). Threads: one opens, any number calls.
#pragma once

#include <cstddef>
#include <string>

namespace slabfwd {

/// Names in the library, and how it hands memory back.
struct malloc_entry {
    const char* soname;  ///< NULL: the C library
    const char* package; ///< Debian package, for whoever has it not
    const char* alloc;   ///< void* alloc(size_t)
    const char* free;    ///< void free(void*), free(void*, size_t) or free(void*, size_t, int)
    void (*purge)(void* library); ///< returns all free memory to the system
    /// Environment that makes it use hugepages; read when it is loaded. NULL: has none.
    const char *hugepage_variable, *hugepage_value;
};

extern const malloc_entry glibc_malloc, jemalloc, tcmalloc_minimal, mimalloc;

/// An open library.
struct malloc_library {
    void* handle = nullptr;
    void* (*alloc)(size_t) = nullptr;
    void* free = nullptr; ///< cast to what malloc_entry::free says
};

/// Loads the library and checks that its functions are its own. The error is a sentence, empty when
/// all is well. `hugepages`: see malloc_entry.
std::string open_malloc_library(const malloc_entry& entry, bool hugepages, malloc_library* out);

/// The environment variable that a process must be started with for libraries with thread-local
/// storage of the static model to load at run time (and for the C library to use hugepages): name
/// and value.
std::string malloc_tunables(bool hugepages);

} // namespace slabfwd
