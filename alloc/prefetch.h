// SPDX-License-Identifier: BSD-3-Clause
//
// prefetch.h - fetch a cache line that will be written, or one of many that will be read.
//
// Doors: prefetchw(), prefetch_l2(). Threads: any.
// Origin: include/linux/prefetch.h and arch/x86/include/asm/processor.h give the name. The compiler's
// builtin does not do: unless it is told that the CPU has PREFETCHW it fetches a line to be read,
// and a line that another core has seen since has to be fetched twice.
#pragma once

namespace slabfwd {

/// Asks for the line of `x` for writing. REQUIRES x; one that is not mapped is ignored.
/// (CPUs of this architecture that cannot do it take the instruction for a no-op.)
[[gnu::always_inline]] inline void prefetchw(const void* x) {
#if defined(__x86_64__)
    asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(x)));
#else
    __builtin_prefetch(x, 1);
#endif
}

/// Asks for the line of `x`, one of many, into the second-level cache. One that is asked for into the first
/// holds a fill buffer until it is there, of which a core has 10 to 16, and who asks for more stands still;
/// from the second it takes a dozen cycles more, which go by beside others'.
[[gnu::always_inline]] inline void prefetch_l2(const void* x) {
    __builtin_prefetch(x, 0, 2);
}

} // namespace slabfwd
