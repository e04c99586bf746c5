// SPDX-License-Identifier: BSD-3-Clause
//
// What every fuzz target of this folder is: libFuzzer's entry, and what the same target needs when
// no fuzzer drives it (play.cc: the seeds as they are, then damaged ones by a fixed generator). A
// target aborts on a finding. Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

/// Runs the target on one input; always 0.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace slabfwd::fuzz {

/// Ends the run with what is wrong.
[[noreturn]] inline void finding(const std::string& what) {
    fprintf(stderr, "finding: %s\n", what.c_str());
    abort();
}

} // namespace slabfwd::fuzz
