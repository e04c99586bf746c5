// SPDX-License-Identifier: BSD-3-Clause
//
// Lines typed to one command (FUZZ_COMMAND: ip, iptables, sysctl) on a fresh router each time. A
// line is carried out, or refused with a text and without a trace: the state before and after is
// compared. Whatever stands then can be shown in every form.
#include <string_view>

#include "dataplane/netfilter/netfilter.h"
#include "tests/dataplane/control/control_net.h"
#include "tests/fuzz/fuzz_target.h"

namespace slabfwd::fuzz {

namespace {

constexpr std::string_view COMMAND = FUZZ_COMMAND;
constexpr unsigned MAX_LINES = 10;

constexpr const char* shown[] = {"ip -d -s link",
                                 "ip -j -p addr",
                                 "ip -d route show table all",
                                 "ip -j -d route show table all",
                                 "ip rule",
                                 "ip -j rule",
                                 "ip -s neigh show nud all",
                                 "ip -j neigh show nud all",
                                 "cat /proc/net/route",
                                 "iptables -nvL --line-numbers",
                                 "iptables -L",
                                 "iptables -t mangle -vL",
                                 "iptables-save -c"};

std::string state(test::control_net& r) {
    std::string s =
        r.must("iptables -S") + r.must("iptables -t mangle -S") + r.must("iptables -t raw -S");
    return COMMAND == "iptables" ? s : s + r.state();
}

/// These read files of the machine, or wait for something.
bool leaves_the_router(std::string_view line) {
    return line.find("-b") != line.npos || line.find("monitor") != line.npos;
}

void one_line(test::control_net& r, const std::string& line, bool compare) {
    const std::string before = compare ? state(r) : "";
    control_result result = r.run(line);
    if (!result.rc)
        return;
    if (result.err.empty())
        finding("refused without a word: " + line);
    if (compare && state(r) != before)
        finding("refused, and not without a trace: " + line + "\n" + before + "\n---\n" + state(r));
}

} // namespace

} // namespace slabfwd::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace slabfwd;
    std::string_view text(reinterpret_cast<const char*>(data), size);
    test::control_net r;
    for (const char* line : {"ip link set dev p0 up", "ip addr add 10.0.0.1/24 dev p0"})
        r.must(line);
    // Comparing and showing are dear: one line of some inputs, one form of each.
    const size_t turn = size;
    const unsigned compared = unsigned(turn % 32);
    for (unsigned i = 0; i < fuzz::MAX_LINES && !text.empty(); ++i) {
        const size_t end = std::min(text.find('\n'), text.size());
        std::string line = std::string(fuzz::COMMAND) + " " + std::string(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        if (!fuzz::leaves_the_router(line))
            fuzz::one_line(r, line, i == compared);
    }
    const char* line = fuzz::shown[turn % std::size(fuzz::shown)];
    if (r.run(line).rc)
        fuzz::finding(std::string("cannot be shown: ") + line);
    return 0;
}
