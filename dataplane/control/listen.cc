// SPDX-License-Identifier: BSD-3-Clause
//
// The socket file: one instance a path. Whoever looks whether it is taken and binds it does so
// under a lock on the folder, so that two that start at once do not both win.
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fmt/format.h>

#include "dataplane/control/control.h"

namespace slabfwd {

namespace {

struct closing_fd {
    int fd;
    ~closing_fd() {
        if (fd >= 0)
            close(fd);
    }
};

tl::unexpected<std::string> error(const std::string& path, std::string_view why) {
    return tl::unexpected(fmt::format("ctl socket {}: {}", path, why));
}

/// Removes a file that nobody listens on; the reason why the path is not free otherwise.
std::string make_free(const std::string& path, const sockaddr_un& address) {
    struct stat st;
    if (lstat(path.c_str(), &st) < 0)
        return errno == ENOENT ? "" : strerror(errno);
    if (!S_ISSOCK(st.st_mode))
        return "there is a file of that name that is no socket";
    closing_fd probe{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (probe.fd < 0)
        return strerror(errno);
    if (connect(probe.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
        errno == EAGAIN)
        return "another instance is listening there";
    if (errno != ECONNREFUSED)
        return strerror(errno);
    return unlink(path.c_str()) < 0 && errno != ENOENT ? strerror(errno) : "";
}

std::string folder_of(const std::string& path) {
    size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

} // namespace

std::string control_socket_path(const std::string& option) {
    if (!option.empty())
        return option;
    const char* runtime = getenv("RUNTIME_DIRECTORY");
    return runtime && *runtime ? std::string(runtime) + "/slabfwd.sock" : "/run/slabfwd.sock";
}

control_listener::~control_listener() {
    close(fd_);
    struct stat st;
    if (lstat(path_.c_str(), &st) == 0 && uint64_t(st.st_dev) == device_ &&
        uint64_t(st.st_ino) == inode_)
        unlink(path_.c_str());
}

tl::expected<std::unique_ptr<control_listener>, std::string>
control_listen(const std::string& option) {
    std::string path = control_socket_path(option);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return error(path, "the name is too long");
    memcpy(address.sun_path, path.c_str(), path.size() + 1);
    closing_fd folder{open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (folder.fd < 0 || flock(folder.fd, LOCK_EX) < 0)
        return error(path, strerror(errno));
    if (std::string why = make_free(path, address); !why.empty())
        return error(path, why);
    closing_fd s{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (s.fd < 0)
        return error(path, strerror(errno));
    // The mode has to be right from the moment the file exists.
    fchmod(s.fd, 0600);
    mode_t mask = umask(0177);
    int bound = bind(s.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    int err = errno;
    umask(mask);
    struct stat st;
    if (bound < 0)
        return error(path, strerror(err));
    if (listen(s.fd, 16) < 0 || lstat(path.c_str(), &st) < 0) {
        err = errno;
        unlink(path.c_str());
        return error(path, strerror(err));
    }
    int fd = s.fd;
    s.fd = -1;
    return std::make_unique<control_listener>(fd, path, uint64_t(st.st_dev), uint64_t(st.st_ino));
}

} // namespace slabfwd
