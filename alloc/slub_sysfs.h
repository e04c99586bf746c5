// SPDX-License-Identifier: BSD-3-Clause
//
// slub_sysfs.h - the files below /sys/kernel/slab: a directory a cache, a file an attribute.
//
// Doors: slab_sysfs_list(), slab_attributes(), slab_attr_show(), slab_attr_store().
// Names and formats are the kernel's; a mergeable cache's directory has a name of its own
// (create_unique_id), to which its name and its aliases are links, as in the kernel, while merging
// is on. Caches of SLAB, which the kernel does not show here, have the attributes that mean
// something to both.
// Threads: any; counts of other threads are read without stopping them. The caller keeps the cache
// alive.
// Origin: mm/slub.c of Linux v5.2 (slab_attrs).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kmem_cache.h"

namespace slabfwd {

/// An entry of /sys/kernel/slab.
struct slab_sysfs_entry {
    std::string name;
    std::string target; ///< what it is a link to; empty: a directory
};
/// All entries, directories before their links.
std::vector<slab_sysfs_entry> slab_sysfs_list();

/// The cache behind a name of /sys/kernel/slab; NULL when there is none.
kmem_cache* slab_sysfs_find(std::string_view name);

/// An attribute of a cache.
struct slab_attribute {
    std::string_view name;
    bool writable;
};
/// What a cache has; names of the kernel.
std::vector<slab_attribute> slab_attributes(const kmem_cache* cache);

/// The text of a file, newline included (some are empty). 0 or -ENOENT.
int slab_attr_show(kmem_cache* cache, std::string_view attr, std::string* text);

/// Write to a file. 0; -ENOENT; -EACCES (not to be written); -EINVAL; -EBUSY (the cache has objects
/// and they would have to be laid out anew); -ENOMEM.
int slab_attr_store(kmem_cache* cache, std::string_view attr, std::string_view value);

} // namespace slabfwd
