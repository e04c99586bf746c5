// SPDX-License-Identifier: BSD-3-Clause
//
// Where the text of a command goes: standard output and standard error of whoever typed it.
// Door: control_output; string_output collects, the ctl server streams to its client.
// Threads: control thread.
#pragma once

#include <string>
#include <string_view>

namespace slabfwd {

class control_output {
public:
    virtual ~control_output() = default;
    virtual void out(std::string_view text) = 0;
    virtual void err(std::string_view text) = 0;
    /// The reader does not keep up: a stream (trace) leaves things out, rather than fill memory.
    virtual bool congested() const { return false; }
};

/// What a command printed, and its exit status.
struct control_result {
    int rc = 0;
    std::string out, err;
};

/// Collects into a result.
class string_output final : public control_output {
public:
    explicit string_output(control_result& to) : to_(to) {}
    void out(std::string_view text) override { to_.out += text; }
    void err(std::string_view text) override { to_.err += text; }

private:
    control_result& to_;
};

} // namespace slabfwd
