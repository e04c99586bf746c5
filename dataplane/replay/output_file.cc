// SPDX-License-Identifier: BSD-3-Clause
//
// output_file: early open, late truncation. The descriptor opened first is kept to the end: closing
// it after the stream shows errors that file systems report at the last moment.
#include "dataplane/replay/output_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace slabfwd {

tl::expected<std::unique_ptr<output_file>, std::string> output_file::open(const std::string& path) {
    auto fail = [&] { return tl::unexpected(fmt::format("{}: {}", path, std::strerror(errno))); };
    std::unique_ptr<output_file> f(new output_file);
    f->path_ = path;
    f->fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    f->made_ = f->fd_ >= 0;
    if (!f->made_ && errno == EEXIST)
        f->fd_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (f->fd_ < 0 || fstat(f->fd_, &f->stat_) != 0)
        return fail();
    return f;
}

output_file::~output_file() {
    if (fd_ >= 0)
        close(fd_);
    if (made_ && !begun_)
        unlink(path_.c_str());
}

FILE* output_file::begin() {
    if (S_ISREG(stat_.st_mode) && ftruncate(fd_, 0) != 0)
        return nullptr;
    int fd = fcntl(fd_, F_DUPFD_CLOEXEC, 0);
    FILE* stream = fd < 0 ? nullptr : fdopen(fd, "wb");
    if (!stream && fd >= 0)
        close(fd);
    begun_ = stream != nullptr;
    return stream;
}

std::string output_file::finish() {
    int rc = close(fd_);
    fd_ = -1;
    return rc ? fmt::format("{}: {}", path_, std::strerror(errno)) : std::string();
}

bool output_file::same_file(const struct stat& other) const {
    return S_ISREG(stat_.st_mode) && S_ISREG(other.st_mode) && stat_.st_dev == other.st_dev &&
           stat_.st_ino == other.st_ino;
}

} // namespace slabfwd
