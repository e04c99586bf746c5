// SPDX-License-Identifier: BSD-3-Clause
//
// Any text as what iptables-restore reads. A text that is refused changes no table that it did not
// commit before; what stands at the end is saved, restored elsewhere, and has to be the same there.
#include "dataplane/control/iptables.h"
#include "tests/dataplane/control/control_net.h"
#include "tests/fuzz/fuzz_target.h"

namespace slabfwd::fuzz {

namespace {

bool restore(test::control_net& r, std::string_view text, std::span<const std::string> options) {
    control_result result;
    string_output to(result);
    command c(r.n, to);
    std::lock_guard rtnl(r.n.rtnl);
    const bool ok = iptables_restore(c, text, options);
    if (!ok && c.reason.empty())
        finding("refused without a word");
    return ok;
}

/// Everything that is saved but the comments, which have the time in them.
std::string saved(test::control_net& r) {
    const std::string text = r.must("iptables-save -c");
    std::string to;
    for (size_t at = 0; at < text.size();) {
        const size_t end = text.find('\n', at);
        if (text[at] != '#')
            to += text.substr(at, end + 1 - at);
        at = end + 1;
    }
    return to;
}

} // namespace

} // namespace slabfwd::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace slabfwd;
    if (size < 1)
        return 0;
    std::vector<std::string> options;
    for (unsigned bit = 0; const char* o : {"-n", "-c", "--test"})
        if (data[0] >> bit++ & 1)
            options.emplace_back(o);
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    test::control_net r, other;
    const std::string begin = fuzz::saved(r);
    const bool one_table = text.find("COMMIT") == text.rfind("COMMIT");
    if (!fuzz::restore(r, text, options) && one_table && text.find("COMMIT") == text.npos &&
        fuzz::saved(r) != begin)
        fuzz::finding("refused, and not without a trace");
    const std::string first = fuzz::saved(r);
    const std::string counters[] = {"-c"};
    if (!fuzz::restore(other, first, counters))
        fuzz::finding("what was saved cannot be restored:\n" + first);
    if (fuzz::saved(other) != first)
        fuzz::finding("saved and restored, it is something else:\n" + first + "\n---\n" +
                      fuzz::saved(other));
    return 0;
}
