// SPDX-License-Identifier: BSD-3-Clause
//
// page_ahead.h - memory that is there before it is asked for.
//
// A page that nobody has touched costs its first user a fault, in which the system clears 4 KiB or 2 MiB: up to
// milliseconds, while packets wait. While a page_ahead lives, a thread does that for the blocks that alloc_pages()
// will hand out next, 4 MiB of them at first and twice as many, up to 64 MiB, whenever they went within a second.
// Door: page_ahead. Threads: any. Origin: ours; in its place beside the allocation and in its waking by a low
// watermark it is what kswapd is to mm/page_alloc.c.
#pragma once

namespace slabfwd {

class page_ahead {
public:
    /// The first that lives starts the thread, which inherits the caller's CPUs. Where none can be started all is as
    /// without it.
    page_ahead();
    /// The last ends it; what it has made ready stays free memory.
    ~page_ahead();
    page_ahead(const page_ahead&) = delete;
    page_ahead& operator=(const page_ahead&) = delete;
};

} // namespace slabfwd
