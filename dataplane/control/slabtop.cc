// SPDX-License-Identifier: BSD-3-Clause
//
// See slabtop.h. The terminal is put back as it was however this ends.
#include "dataplane/control/slabtop.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "dataplane/control/slab_files.h"

namespace slabfwd {

namespace {

constexpr double DELAY = 3; ///< seconds, as slabtop(1)

/// Keys come one by one and are not shown, while it lives.
class raw_terminal {
public:
    raw_terminal() : ok_(tcgetattr(STDIN_FILENO, &old_) == 0) {
        termios raw = old_;
        raw.c_lflag &= ~tcflag_t(ICANON | ECHO);
        if (ok_)
            tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    ~raw_terminal() {
        if (ok_)
            tcsetattr(STDIN_FILENO, TCSANOW, &old_);
    }
    raw_terminal(const raw_terminal&) = delete;

private:
    termios old_{};
    bool ok_;
};

/// As many lines as the screen has, each as wide as it at most; the table's head is reversed.
std::string fit(const std::string& text) {
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || !size.ws_row)
        size = {24, 80, 0, 0};
    std::string screen = "\033[H";
    size_t at = 0;
    for (unsigned row = 0; at < text.size() && row + 1u < size.ws_row; ++row) {
        const size_t end = std::min(text.find('\n', at), text.size());
        const std::string line = text.substr(at, std::min<size_t>(end - at, size.ws_col));
        const bool head = line.starts_with("  OBJS ");
        screen += (head ? "\033[7m" : "") + line + (head ? "\033[0m" : "") + "\033[K\n";
        at = end + 1;
    }
    return screen + "\033[J";
}

/// The key that was pressed within `seconds`; 0: none, -1: no more come.
int key_within(double seconds) {
    pollfd p{STDIN_FILENO, POLLIN, 0};
    if (poll(&p, 1, int(seconds * 1000)) <= 0)
        return 0;
    char key = 0;
    return read(STDIN_FILENO, &key, 1) == 1 ? key : -1;
}

} // namespace

int slabtop_view(const std::vector<std::string>& words, const slabtop_ask& ask) {
    std::vector<std::string> look = {"slabtop"};
    double delay = DELAY;
    bool once = false;
    for (size_t i = 1; i < words.size(); ++i) {
        once |= words[i] == "-o" || words[i] == "--once" || words[i] == "-j";
        if ((words[i] == "-d" || words[i] == "--delay") && i + 1 < words.size())
            delay = std::clamp(std::atof(words[++i].c_str()), 0.1, 3600.0);
        else
            look.push_back(words[i]);
    }
    const raw_terminal raw;
    for (;;) {
        std::string text;
        if (const int rc = ask(look, &text))
            return std::max(rc, 0);
        if (once) {
            std::fputs(text.c_str(), stdout);
            return 0;
        }
        std::fputs(fit(text).c_str(), stdout);
        std::fflush(stdout);
        const int key = key_within(delay);
        if (key == 'q' || key == 'Q' || key < 0)
            return 0;
        if (key > 0 && SLABTOP_KEYS.find(char(key)) != SLABTOP_KEYS.npos)
            look = {"slabtop", "-s", std::string(1, char(key))};
    }
}

} // namespace slabfwd
