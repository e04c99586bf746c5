// SPDX-License-Identifier: BSD-3-Clause
//
// A progress bar on standard error for long replays: only on a terminal, only when the replay takes
// longer than a moment, gone when it is done.
// Door: update after each frame (cheap), done at the end. Threads: one.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace slabfwd {

class progress {
public:
    /// enabled: draw at all (else every call does nothing).
    explicit progress(bool enabled);
    ~progress() { done(); }

    /// Call per frame; true once in a while when a new picture is due, for which draw() is then
    /// called.
    bool due() { return enabled_ && (++calls_ & 0xff) == 0 && time_passed(); }
    /// share: 0..1, negative when unknown (a pipe).
    void draw(double share, uint64_t frames);
    void done();

    /// The line as drawn, for a terminal of `columns`. Pure, for tests.
    static std::string line(double share, uint64_t frames, double seconds, unsigned columns);

private:
    bool time_passed();
    bool enabled_, drawn_ = false;
    uint64_t calls_ = 0;
    std::chrono::steady_clock::time_point start_, next_;
};

} // namespace slabfwd
