// SPDX-License-Identifier: BSD-3-Clause
//
// The progress bar. See progress.h. This is the only place of a replay that looks at the real time.
#include "dataplane/replay/progress.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace slabfwd {

namespace {

using namespace std::chrono_literals;
constexpr auto FIRST_AFTER = 500ms, THEN_EVERY = 100ms;

unsigned terminal_columns() {
    winsize w{};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
}

} // namespace

progress::progress(bool enabled)
    : enabled_(enabled), start_(std::chrono::steady_clock::now()), next_(start_ + FIRST_AFTER) {}

bool progress::time_passed() {
    auto now = std::chrono::steady_clock::now();
    if (now < next_)
        return false;
    next_ = now + THEN_EVERY;
    return true;
}

std::string progress::line(double share, uint64_t frames, double seconds, unsigned columns) {
    double rate = seconds > 0 ? double(frames) / seconds : 0;
    std::string text = fmt::format(" {} frames, {:.0f}/s", frames, rate);
    if (share < 0)
        return "replaying" + text;
    share = std::min(share, 1.0);
    if (share > 0.01)
        text += fmt::format(", {:.0f} s left", seconds / share - seconds);
    unsigned room = columns > text.size() + 10 ? columns - unsigned(text.size()) - 10 : 0;
    auto full = unsigned(share * std::min(room, 40u));
    std::string bar(full, '#');
    bar.resize(std::min(room, 40u), '.');
    return fmt::format("[{}] {:3.0f} %{}", bar, share * 100, text);
}

void progress::draw(double share, uint64_t frames) {
    std::chrono::duration<double> run = std::chrono::steady_clock::now() - start_;
    std::fprintf(stderr, "\r%s\033[K",
                 line(share, frames, run.count(), terminal_columns()).c_str());
    std::fflush(stderr);
    drawn_ = true;
}

void progress::done() {
    if (drawn_)
        std::fprintf(stderr, "\r\033[K");
    drawn_ = false;
}

} // namespace slabfwd
