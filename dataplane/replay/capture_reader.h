// SPDX-License-Identifier: BSD-3-Clause
//
// Reading captures: pcap and pcapng with micro- or nanoseconds, plain or gzipped (told apart by
// their first bytes, never by name), files and pipes alike: nothing seeks. The link type has to be
// Ethernet. Door: capture_reader::open, next. capture_merge plays several in the order of their
// time stamps. A damaged file is given up to the damage; then next() says `damaged` and error()
// what was found. Threads: a reader belongs to one thread. libpcap parses, input_stream inflates.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace slabfwd {

/// A frame as captured. `data` is good until the next call on the same reader.
struct captured_frame {
    uint64_t ts_ns = 0; ///< since 1970
    uint32_t caplen = 0,
             len = 0; ///< bytes here / on the wire: caplen < len when the snap length cut it
    const uint8_t* data = nullptr;
    unsigned input = 0; ///< which of the merged inputs
};

enum class capture_status : uint8_t { FRAME, END, DAMAGED };

class capture_reader {
public:
    /// Opens a capture; the error names the file and the reason (missing, no capture, wrong link
    /// type).
    static tl::expected<std::unique_ptr<capture_reader>, std::string> open(const std::string& path);
    ~capture_reader();
    capture_reader(const capture_reader&) = delete;
    capture_reader& operator=(const capture_reader&) = delete;

    /// The next frame. After END or DAMAGED every further call says the same.
    capture_status next(captured_frame& frame);

    const std::string& path() const;
    /// What is wrong with the file, with its name; empty unless DAMAGED was returned.
    const std::string& error() const;
    uint64_t frames() const;         ///< given so far
    uint64_t bytes_total() const;    ///< of the file as it lies on disk; 0: a pipe
    uint64_t bytes_consumed() const; ///< thereof read
    bool reopenable() const;         ///< a regular file: it can be played once more

private:
    struct state;
    explicit capture_reader(std::unique_ptr<state> s);
    std::unique_ptr<state> s_;
};

/// Several captures as one: by time stamp, ties in the order given. What the files hold stays as it
/// is; a file whose own stamps run backwards gives its frames in its own order.
class capture_merge {
public:
    explicit capture_merge(std::vector<std::unique_ptr<capture_reader>> readers);

    /// The next frame, with frame.input set. END when all readers are at their end (or damage).
    capture_status next(captured_frame& frame);
    /// The frame that next() will give, or null.
    const captured_frame* peek();

    /// What is wrong with which file, in the order of discovery.
    const std::vector<std::string>& damages() const { return damages_; }
    uint64_t bytes_consumed() const;

private:
    struct head {
        std::unique_ptr<capture_reader> reader;
        captured_frame frame;
        bool filled = false, done = false;
    };
    void fill();
    head* first();

    std::vector<head> heads_;
    std::vector<std::string> damages_;
};

} // namespace slabfwd
