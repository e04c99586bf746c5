// SPDX-License-Identifier: BSD-3-Clause
//
// DPDK 22.11's af_packet driver puts every socket into a fanout group that defragments
// (PACKET_FANOUT_FLAG_DEFRAG), without a way to say no: the kernel then hands over whole datagrams
// instead of the fragments that were on the wire, larger than the link's mtu and than the driver's
// frames. A router has to see the fragments. So the program brings its own setsockopt(), which the
// driver's call resolves to: the flag is taken off, everything else goes through unchanged.
// Door: none; it has to be linked into the executable and exported. Threads: any.
#include <cerrno>
#include <cstring>

#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {
/// The option's word: group in the low half, type in bits 16..23, flags (8 bits up) in the high half.
constexpr int FANOUT_DEFRAG = PACKET_FANOUT_FLAG_DEFRAG << 16;
} // namespace

extern "C" __attribute__((visibility("default"))) int setsockopt(int fd, int level, int name,
                                                                const void* value, socklen_t len) noexcept {
    int fanout;
    if (level == SOL_PACKET && name == PACKET_FANOUT && len == sizeof fanout) {
        std::memcpy(&fanout, value, sizeof fanout);
        fanout &= ~FANOUT_DEFRAG;
        value = &fanout;
    }
    return int(syscall(SYS_setsockopt, fd, level, name, value, len));
}
