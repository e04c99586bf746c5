// SPDX-License-Identifier: BSD-3-Clause
//
// The command language's doors: execute one command, load a file of them, serve a ctl socket.
// Commands are spelt as on Linux; what each prints and its exit status are the Linux tool's. A
// command that fails has changed nothing. Threads: everything here runs on the control thread, in
// the name of the control slot, and holds net.rtnl while a command works. Origin of the language:
// iproute2 6.1, procps-ng 4.0, iputils 20221126.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include <tl/expected.hpp>

#include "dataplane/control/output.h"
#include "dataplane/control/words.h"

namespace slabfwd {

struct net;
struct router;
class control_job;

/// Executes a command to its end and returns its exit status: 0 when it took effect.
int control_execute(net& n, std::span<const std::string> words, control_output& to);
control_result control_execute(net& n, std::span<const std::string> words);
/// The same, split first as sh would.
control_result control_execute(net& n, std::string_view line);

/// Begins a command. One that takes its time (ping, trace) comes back as a job for the caller to
/// step; others are over: null and *rc.
std::unique_ptr<control_job> control_begin(net& n, std::span<const std::string> words,
                                           control_output& to, int* rc);

/// Executes the lines of a file, one after the other; the route cache's generation moves once. The
/// first line that cannot be carried out ends it: "FILE:LINE: WORD: reason"; what stood before it
/// is done. What commands print is dropped, warnings go to standard error.
tl::expected<void, std::string> control_load_file(net& n, const std::string& path);
tl::expected<void, std::string> control_load_file(router& r, const std::string& path);

/// Where the socket lies: `option` when not empty, else $RUNTIME_DIRECTORY/slabfwd.sock, else
/// /run/slabfwd.sock.
std::string control_socket_path(const std::string& option);

/// A listening ctl socket (mode 0600); the file goes when it is destroyed.
class control_listener {
public:
    control_listener(int fd, std::string path, uint64_t device, uint64_t inode)
        : fd_(fd), path_(std::move(path)), device_(device), inode_(inode) {}
    ~control_listener();
    control_listener(const control_listener&) = delete;
    control_listener& operator=(const control_listener&) = delete;
    int fd() const { return fd_; }
    const std::string& path() const { return path_; }

private:
    int fd_;
    std::string path_;
    uint64_t device_, inode_; ///< of the file: not removed when it is another's by now
};

/// Binds the socket (control_socket_path(option)). A socket file that nobody listens on is
/// replaced; one that another instance serves is an error, as is a file of another kind.
tl::expected<std::unique_ptr<control_listener>, std::string>
control_listen(const std::string& option);

/// How long and how much a client may have; tests make them small.
struct control_limits {
    size_t clients = 32;
    size_t request_bytes = 1 << 16;
    size_t request_words = 1024;
    size_t output_bytes = size_t(256) << 20; ///< waiting for one client; more ends its command
    uint64_t request_ns = 5'000'000'000;     ///< from the first to the last byte of a request
    uint64_t stuck_ns = 30'000'000'000;      ///< output waits and the client reads nothing
};

/// Serves clients until stop_fd becomes readable. `turn` is called at least every turn_ns with the
/// control slot online for RCU; it moves the slot's clock and watches ports.
void control_serve(net& n, control_listener& socket, int stop_fd,
                   const std::function<void()>& turn = {}, uint64_t turn_ns = 100'000'000,
                   const control_limits& limits = {});
/// The same for a router: clock, timers and RCU of the control slot, link state of the ports every
/// second.
void control_serve(router& r, control_listener& socket, int stop_fd);

/// `slabfwd ctl [--ctl SOCKET] [-batch FILE] COMMAND...`: the exit status of the command. Without a
/// command they are read from standard input, one a line.
int ctl_main(int argc, char** argv);

} // namespace slabfwd
