// SPDX-License-Identifier: BSD-3-Clause
//
// A file that a replay writes. It is opened before anything else happens, so that one that cannot
// be written is reported at once, but emptied only when the first byte is due: a replay that fails
// at its start leaves the output of an earlier one as it was, and no empty file where there was
// none. Door: output_file::open, begin, finish. Threads: belongs to one thread.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include <sys/stat.h>
#include <tl/expected.hpp>

namespace slabfwd {

class output_file {
public:
    /// Opens path for writing (made when missing). The error names it and says why not.
    static tl::expected<std::unique_ptr<output_file>, std::string> open(const std::string& path);
    /// Never begun and made by open(): removed again. Begun: closed as it is.
    ~output_file();
    output_file(const output_file&) = delete;
    output_file& operator=(const output_file&) = delete;

    /// Empties the file and gives a stream to write to; the caller closes it (before finish). Null:
    /// error.
    FILE* begin();
    /// After the stream was closed: what the system could not write in the end, "" when all is
    /// there.
    std::string finish();

    const std::string& path() const { return path_; }
    /// The same file on disk (devices and pipes are never the same).
    bool same_file(const struct stat& other) const;
    bool same_file(const output_file& other) const { return same_file(other.stat_); }

private:
    output_file() = default;
    std::string path_;
    struct stat stat_ {};
    int fd_ = -1;
    bool made_ = false, begun_ = false;
};

} // namespace slabfwd
