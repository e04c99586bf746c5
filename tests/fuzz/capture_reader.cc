// SPDX-License-Identifier: BSD-3-Clause
//
// Any bytes as a capture file: read to its end or its damage, every byte of every frame looked at.
#include <sys/mman.h>
#include <unistd.h>

#include "dataplane/replay/capture_reader.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace slabfwd;
    static const int fd = memfd_create("capture", 0);
    static const std::string path = "/proc/self/fd/" + std::to_string(fd);
    if (ftruncate(fd, 0) || pwrite(fd, data, size, 0) != ssize_t(size) || lseek(fd, 0, SEEK_SET))
        fuzz::finding("no memory for a file");
    auto reader = capture_reader::open(path);
    if (!reader) {
        if (reader.error().empty())
            fuzz::finding("refused without a word");
        return 0;
    }
    captured_frame frame;
    capture_status status;
    unsigned sum = 0;
    while ((status = (*reader)->next(frame)) == capture_status::FRAME) {
        if (frame.caplen > frame.len)
            fuzz::finding("a frame with more bytes here than on the wire");
        for (uint32_t i = 0; i < frame.caplen; ++i)
            sum += frame.data[i];
    }
    volatile unsigned looked_at = sum;
    (void)looked_at;
    if ((status == capture_status::DAMAGED) == (*reader)->error().empty())
        fuzz::finding("damage and its description do not go together");
    return 0;
}
