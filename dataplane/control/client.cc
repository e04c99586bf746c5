// SPDX-License-Identifier: BSD-3-Clause
//
// `slabfwd ctl`: sends a command to a running router and prints what comes back. Many commands
// (-batch FILE, or standard input without a command) go over one connection, one after the other;
// the first that fails ends it, unless -force. Threads: a process of its own.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <fmt/format.h>

#include "dataplane/control/control.h"
#include "dataplane/control/protocol.h"
#include "dataplane/control/slabtop.h"

namespace slabfwd {

namespace {

volatile sig_atomic_t interrupts = 0;

void on_interrupt(int) {
    interrupts = interrupts + 1;
}

constexpr const char* USAGE =
    "usage: slabfwd ctl [--ctl SOCKET] COMMAND...\n"
    "       slabfwd ctl [--ctl SOCKET] [-force] -batch FILE   (- is standard input)\n"
    "`slabfwd ctl help` lists the commands of a running router.\n";

int complain(const std::string& text, int rc = 1) {
    fmt::print(stderr, "slabfwd ctl: {}\n", text);
    return rc;
}

bool write_all(int fd, std::string_view data) {
    while (!data.empty()) {
        ssize_t n = send(fd, data.data(), data.size(), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data.remove_prefix(size_t(n));
    }
    return true;
}

/// A connection to a router.
class client {
public:
    ~client() {
        if (fd_ >= 0)
            close(fd_);
    }
    int open(const std::string& path) {
        path_ = path;
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (path.size() >= sizeof address.sun_path)
            return complain(fmt::format("{}: the name of the socket is too long", path));
        memcpy(address.sun_path, path.c_str(), path.size() + 1);
        fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd_ < 0 || connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
            const char* why = errno == ENOENT || errno == ECONNREFUSED
                                  ? "no router is listening there"
                                  : strerror(errno);
            return complain(fmt::format("{}: {}", path, why));
        }
        return 0;
    }
    /// Runs one command; its exit status. Its text goes to `capture`, or to standard output.
    int execute(const std::vector<std::string>& words, std::string* capture = nullptr) {
        return write_all(fd_, request(FRAME_COMMAND, words)) ? answer(capture) : lost();
    }
    /// Sends a command ahead; its answer is to be waited for by answer(), in turn. False: the
    /// connection is gone.
    bool send_ahead(const std::vector<std::string>& words) {
        ahead_ += request(FRAME_BATCH, words);
        return ahead_.size() < AHEAD_BYTES || flush_ahead();
    }
    bool flush_ahead() {
        const bool ok = write_all(fd_, ahead_);
        ahead_.clear();
        return ok || lost() == 0;
    }
    /// Bytes of commands that may be on their way: the router holds so much of one client.
    static constexpr size_t AHEAD_BYTES = 16384;

    /// Prints what a command says, or keeps it, and returns its exit status.
    int answer(std::string* capture = nullptr) {
        for (;;) {
            char header[FRAME_HEADER];
            if (!read_all(header, sizeof header))
                return lost();
            uint32_t len = frame_length(header);
            if (len > FRAME_MAX_OUT)
                return complain("what listens on the socket is no router");
            std::string text(len, '\0');
            if (!read_all(text.data(), len))
                return lost();
            switch (header[4]) {
            case FRAME_OUT:
                if (capture)
                    *capture += text;
                else if (fwrite(text.data(), 1, len, stdout) != len || fflush(stdout) != 0)
                    return complain(fmt::format("standard output: {}", strerror(errno)));
                break;
            case FRAME_ERR:
                fwrite(text.data(), 1, len, stderr);
                break;
            case FRAME_EXIT: {
                int32_t status = 1;
                memcpy(&status, text.data(), std::min<size_t>(len, sizeof status));
                return status;
            }
            default:
                return complain("what listens on the socket is no router");
            }
        }
    }

private:
    int lost() { return complain(fmt::format("{}: the router has closed the connection", path_)); }
    static std::string request(char type, const std::vector<std::string>& words) {
        std::string data;
        for (const std::string& word : words)
            data.append(word) += '\0';
        return make_frame(type, data);
    }
    /// From what was received, in large pieces: a batch has many small answers.
    bool read_all(char* to, size_t len) {
        while (len) {
            if (const size_t n = std::min(len, got_.size() - got_at_)) {
                memcpy(to, got_.data() + got_at_, n);
                got_at_ += n;
                to += n;
                len -= n;
                continue;
            }
            got_.resize(32768);
            ssize_t n = recv(fd_, got_.data(), got_.size(), 0);
            got_at_ = 0;
            got_.resize(size_t(std::max<ssize_t>(n, 0)));
            if (n < 0 && errno == EINTR) {
                if (interrupts > told_ && !tell())
                    return false;
                continue;
            }
            if (n <= 0)
                return false;
        }
        return true;
    }
    /// Passes a SIGINT on; at the second one the user has waited long enough.
    bool tell() {
        told_ = interrupts;
        return interrupts < 2 && write_all(fd_, make_frame(FRAME_INTERRUPT, {}));
    }

    int fd_ = -1, told_ = 0;
    std::string ahead_, got_;
    size_t got_at_ = 0;
    std::string path_;
};

/// The lines of a batch: a line of the file that goes over several counts as its last one.
class batch_lines {
public:
    explicit batch_lines(std::istream& in) : in_(in) {}
    bool next(std::string* line) {
        if (!std::getline(in_, *line))
            return false;
        ++number;
        while (line_continues(*line)) {
            line->pop_back();
            std::string more;
            if (!std::getline(in_, more))
                break;
            ++number;
            *line += more;
        }
        return true;
    }
    unsigned number = 0;

private:
    std::istream& in_;
};

/// Commands, one a line; each failure is told with its line. Without -force they are sent ahead of
/// their answers, and the router executes none behind one that failed; an interrupt ends it between
/// two lines. Origin: do_batch (iproute2).
int batch(client& c, const std::string& name, std::istream& in, bool force) {
    constexpr size_t AHEAD = 128, LONG = 512;
    batch_lines lines(in);
    std::string line;
    std::deque<unsigned> waiting; // lines whose answers are to come
    int rc = 0;
    auto failed = [&](unsigned number) {
        fmt::print(stderr, "Command failed {}:{}\n", name, number);
        rc = 1;
    };
    auto take_answers = [&](size_t down_to) {
        if (waiting.size() > down_to && !c.flush_ahead())
            return rc = 1, waiting.clear();
        while (waiting.size() > down_to) {
            const int status = c.answer();
            if (status && status != STATUS_SKIPPED)
                failed(waiting.front());
            waiting.pop_front();
        }
    };
    while ((force || !rc) && !interrupts && lines.next(&line)) {
        auto words = split_words(line);
        if (words && words->empty())
            continue;
        if (words && !force) {
            waiting.push_back(lines.number);
            if (!c.send_ahead(*words))
                return 1;
            if (waiting.size() >= AHEAD || line.size() > LONG)
                take_answers(line.size() > LONG ? 0 : AHEAD / 2);
            continue;
        }
        take_answers(0);
        if (rc && !force)
            break;
        if (!words)
            complain(fmt::format("{}:{}: {}: {}", name, lines.number, line, words.error()));
        if (!words || c.execute(*words))
            failed(lines.number);
    }
    take_answers(0);
    return interrupts ? 130 : rc;
}

} // namespace

int ctl_main(int argc, char** argv) {
    std::string socket, file;
    bool force = false, from_file = false;
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; ++at) {
        std::string_view word = argv[at];
        if (word == "--ctl" || word == "-batch" || word == "-b" || word == "--batch") {
            if (at + 1 == argc)
                return complain(fmt::format("{} wants a value\n{}", word, USAGE), 2);
            (word == "--ctl" ? socket : file) = argv[++at];
            from_file |= word != "--ctl";
        } else if (word.starts_with("--ctl=")) {
            socket = word.substr(6);
        } else if (word == "-force" || word == "--force") {
            force = true;
        } else if (word == "-h" || word == "--help") {
            std::fputs(USAGE, stdout);
            return 0;
        } else {
            break; // an option of the command
        }
    }
    std::vector<std::string> words(argv + at, argv + argc);
    if (from_file && !words.empty())
        return complain(fmt::format("-batch and a command exclude each other\n{}", USAGE), 2);
    std::ifstream in;
    if (from_file && file != "-") {
        in.open(file);
        if (!in)
            return complain(fmt::format("{}: {}", file, strerror(errno)));
    } else if (!from_file && words.empty() && isatty(STDIN_FILENO)) {
        std::fputs(USAGE, stderr);
        return 2;
    }
    client c;
    if (int rc = c.open(control_socket_path(socket)))
        return rc;
    struct sigaction sa {};
    sa.sa_handler = on_interrupt; // no SA_RESTART: a read that waits comes back
    sigaction(SIGINT, &sa, nullptr);
    if (!words.empty() && words[0] == "slabtop" && isatty(STDOUT_FILENO))
        return slabtop_view(words, [&c](const std::vector<std::string>& w, std::string* text) {
            return interrupts ? -1 : c.execute(w, text);
        });
    if (!words.empty())
        return c.execute(words);
    return in.is_open() ? batch(c, file, in, force) : batch(c, "-", std::cin, force);
}

} // namespace slabfwd
