// SPDX-License-Identifier: BSD-3-Clause
//
// The bytes of a capture: as they lie in the file, or inflated when its first two bytes are gzip's.
// Gives all there is before a damage, to the byte (zlib's own gzread drops what it had inflated of
// the damaged block). Only reads forwards: pipes are fine. Door: input_stream::open, read; error()
// tells damage from an end. Threads: one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

struct z_stream_s;

namespace slabfwd {

class input_stream {
public:
    /// The error is the reason alone ("No such file or directory").
    static tl::expected<std::unique_ptr<input_stream>, std::string> open(const std::string& path);
    ~input_stream();
    input_stream(const input_stream&) = delete;
    input_stream& operator=(const input_stream&) = delete;

    /// Up to size bytes; 0 at the end and at a damage, which error() then names.
    size_t read(char* to, size_t size);

    const std::string& error() const { return error_; }
    bool regular() const { return regular_; }
    uint64_t bytes_total() const { return total_; }       ///< of the file; 0: a pipe
    uint64_t bytes_consumed() const { return consumed_; } ///< thereof

private:
    input_stream() = default;
    bool fill();
    bool start_member();
    size_t read_plain(char* to, size_t size);
    size_t read_gzip(char* to, size_t size);

    int fd_ = -1;
    std::vector<unsigned char> buffer_;
    size_t begin_ = 0, end_ = 0; ///< unread part of the buffer
    bool eof_ = false, gzip_ = false, regular_ = false;
    bool in_member_ = false; ///< between a gzip header and its trailer
    std::unique_ptr<z_stream_s> z_;
    uint64_t total_ = 0, consumed_ = 0;
    std::string error_;
};

} // namespace slabfwd
