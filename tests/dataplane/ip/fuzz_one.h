// SPDX-License-Identifier: BSD-3-Clause
//
// fuzz_one: any bytes as frames on a router with every kind of slow path switched on.
// Door: fuzz_one(data, len), for a test that mutates and for a fuzzer. Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace slabfwd::test {

class ip_test_net;

/// Feeds the bytes as frames: each begins with a length (two bytes, host order, modulo what is
/// left), a byte of switches (port, link address, segment size) and the frame from its IP header
/// on. Aborts unless every packet is accounted for. Returns how many frames there were.
unsigned fuzz_one(const uint8_t* data, size_t len);
/// Called with each router that fuzz_one makes.
void fuzz_setup(void (*more)(ip_test_net& router));
/// Takes the router down, with all its checks; the next fuzz_one makes a new one.
void fuzz_end();

} // namespace slabfwd::test
