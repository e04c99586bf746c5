// SPDX-License-Identifier: BSD-3-Clause
//
// input_stream over read(2) and zlib's inflate. See input_stream.h. Several gzip members one behind
// the other are one stream; what follows the last one and is no member is ignored, as gzip does.
#include "dataplane/replay/input_stream.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

namespace slabfwd {

namespace {
constexpr size_t BUFFER = 128 * 1024;
constexpr int GZIP_ONLY = 15 + 16; // window bits: largest, with gzip header and trailer
} // namespace

tl::expected<std::unique_ptr<input_stream>, std::string>
input_stream::open(const std::string& path) {
    std::unique_ptr<input_stream> s(new input_stream);
    struct stat st {};
    s->fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (s->fd_ < 0 || fstat(s->fd_, &st) != 0)
        return tl::unexpected(std::string(std::strerror(errno)));
    if (S_ISDIR(st.st_mode))
        return tl::unexpected(std::string("is a directory"));
    s->regular_ = S_ISREG(st.st_mode);
    s->total_ = s->regular_ ? uint64_t(st.st_size) : 0;
    s->buffer_.resize(BUFFER);
    // Both bytes of the magic: a pipe may give them one by one.
    while (s->end_ < 2 && s->fill())
        ;
    s->gzip_ = s->end_ >= 2 && s->buffer_[0] == 0x1f && s->buffer_[1] == 0x8b;
    return s;
}

input_stream::~input_stream() {
    if (z_)
        inflateEnd(z_.get());
    if (fd_ >= 0)
        close(fd_);
}

/// Adds bytes of the file to the buffer (which is full, empty, or at its start); false: there are
/// no more.
bool input_stream::fill() {
    if (begin_ == end_)
        begin_ = end_ = 0;
    if (eof_ || end_ == buffer_.size())
        return false;
    ssize_t n;
    do
        n = ::read(fd_, buffer_.data() + end_, buffer_.size() - end_);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        error_ = std::strerror(errno);
    if (n <= 0) {
        eof_ = true;
        return false;
    }
    end_ += size_t(n);
    consumed_ += uint64_t(n);
    return true;
}

size_t input_stream::read(char* to, size_t size) {
    if (!size)
        return 0;
    return gzip_ ? read_gzip(to, size) : read_plain(to, size);
}

size_t input_stream::read_plain(char* to, size_t size) {
    if (begin_ == end_ && !fill())
        return 0;
    size_t n = std::min(size, end_ - begin_);
    std::memcpy(to, buffer_.data() + begin_, n);
    begin_ += n;
    return n;
}

/// At the start of a gzip member, or at the end of all (false).
bool input_stream::start_member() {
    while (end_ - begin_ < 2) {
        if (begin_ &&
            begin_ < end_) { // one byte is left at the end of the buffer: to the front with it
            buffer_[0] = buffer_[begin_];
            begin_ = 0, end_ = 1;
        }
        if (!fill())
            return false;
    }
    if (buffer_[begin_] != 0x1f || buffer_[begin_ + 1] != 0x8b)
        return false;
    if (!z_) {
        z_ = std::make_unique<z_stream>();
        *z_ = {};
        if (inflateInit2(z_.get(), GZIP_ONLY) != Z_OK) {
            z_.reset();
            error_ = "out of memory";
            return false;
        }
    } else {
        inflateReset(z_.get());
    }
    in_member_ = true;
    return true;
}

size_t input_stream::read_gzip(char* to, size_t size) {
    size = std::min<size_t>(size, 1u << 30);
    while (error_.empty()) {
        if (!in_member_ && !start_member())
            return 0;
        if (begin_ == end_ && !fill()) {
            if (error_.empty())
                error_ = "the gzip stream ends too early";
            return 0;
        }
        z_->next_in = buffer_.data() + begin_;
        z_->avail_in = uInt(end_ - begin_);
        z_->next_out = reinterpret_cast<Bytef*>(to);
        z_->avail_out = uInt(size);
        int rc = inflate(z_.get(), Z_NO_FLUSH);
        begin_ = end_ - z_->avail_in;
        if (rc == Z_STREAM_END)
            in_member_ = false;
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
            error_ = fmt::format("gzip: {}", z_->msg ? z_->msg : "damaged");
        if (size_t n = size - z_->avail_out)
            return n; // what came before a damage first
    }
    return 0;
}

} // namespace slabfwd
