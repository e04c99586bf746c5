// SPDX-License-Identifier: BSD-3-Clause
//
// fork, a pipe of text lines, wait. See bench_child.h.
#include "dataplane/bench/bench_child.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <poll.h>
#include <sstream>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

namespace slabfwd {

namespace {

[[noreturn]] void child(int out, const std::function<void(child_result&)>& work) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    child_result r;
    try {
        work(r);
    } catch (const std::exception& e) {
        r.error = e.what();
    }
    std::string text;
    for (const auto& [metric, value] : r.samples)
        text += fmt::format("sample {} {:.17g}\n", metric, value);
    if (!r.skipped.empty())
        text += "skip " + r.skipped + "\n";
    if (!r.error.empty())
        text += "error " + r.error + "\n";
    text += "end\n";
    for (size_t at = 0; at < text.size();) {
        const ssize_t n = write(out, text.data() + at, text.size() - at);
        if (n <= 0)
            break;
        at += size_t(n);
    }
    std::fflush(stdout);
    _exit(0); // no destructors: libraries loaded here were never meant to be unloaded
}

/// All that comes out of `in` until it is closed; false when the time was up.
bool read_all(int in, unsigned seconds, std::string* text) {
    const time_t end = time(nullptr) + time_t(seconds);
    for (;;) {
        const time_t left = end - time(nullptr);
        pollfd p{in, POLLIN, 0};
        const int ready = left > 0 ? poll(&p, 1, int(left) * 1000) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return false;
        char buf[4096];
        const ssize_t n = read(in, buf, sizeof buf);
        if (n <= 0)
            return true;
        text->append(buf, size_t(n));
    }
}

bool parse(const std::string& text, child_result* r) {
    std::istringstream lines(text);
    std::string line;
    while (std::getline(lines, line)) {
        std::istringstream words(line);
        std::string what, metric;
        words >> what;
        if (what == "end")
            return true;
        if (what == "skip")
            r->skipped = line.substr(5);
        else if (what == "error")
            r->error = line.substr(6);
        double value = 0;
        if (what == "sample" && words >> metric >> value)
            r->samples.emplace_back(metric, value);
    }
    return false;
}

} // namespace

child_result run_in_child(const std::function<void(child_result&)>& work, unsigned seconds) {
    child_result r;
    int fd[2];
    if (pipe(fd) != 0) {
        r.error = fmt::format("pipe: {}", std::strerror(errno));
        return r;
    }
    std::fflush(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
        close(fd[0]);
        child(fd[1], work);
    }
    close(fd[1]);
    std::string text;
    bool in_time = true;
    if (pid < 0)
        r.error = fmt::format("fork: {}", std::strerror(errno));
    else if (!(in_time = read_all(fd[0], seconds, &text)))
        kill(pid, SIGKILL);
    close(fd[0]);
    int status = 0;
    if (pid > 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    const bool complete = parse(text, &r);
    if (pid > 0 && !in_time)
        r.error = fmt::format("did not end within {} s", seconds);
    else if (pid > 0 && WIFSIGNALED(status))
        r.error =
            fmt::format("ended by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (pid > 0 && !complete && r.error.empty())
        r.error = fmt::format("ended early, exit status {}", WEXITSTATUS(status));
    return r;
}

} // namespace slabfwd
