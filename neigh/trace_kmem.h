// SPDX-License-Identifier: BSD-3-Clause
//
// An allocation on a packet's way as a step of its walk. Origin: the tracepoint
// kmem:kmem_cache_alloc (include/trace/events/kmem.h of 6.18), whose fields it prints.
#pragma once

#include "alloc/slab_def.h"
#include "neigh/softnet.h"

namespace slabfwd {

/// Shows, when the calling slot is tracing, that the function `call_site` got `ptr` (NULL: nothing)
/// from `cache` with GFP_ATOMIC, as all that is allocated for a packet.
inline void trace_kmem_cache_alloc(const char* call_site, const kmem_cache* cache,
                                   const void* ptr) {
    if (unlikely(this_softnet()->tracer != nullptr))
        __trace_packet(
            nullptr, "kmem_cache_alloc",
            "call_site=%s ptr=%p name=%s bytes_req=%u bytes_alloc=%u gfp_flags=GFP_ATOMIC",
            call_site, ptr, cache->name, unsigned(cache->object_size), unsigned(cache->size));
}

} // namespace slabfwd
