// SPDX-License-Identifier: BSD-3-Clause
//
// Passes over the inputs. See player.h.
#include "dataplane/replay/player.h"

#include <algorithm>

namespace slabfwd {

namespace {
constexpr uint64_t MIN_PASS_GAP_NS =
    1000; ///< between the last frame of a pass and the first of the next
}

std::vector<std::string> player::play(capture_merge& inputs, uint64_t bytes) {
    bytes_ = bytes;
    if (const captured_frame* f = inputs.peek())
        first_ = f->ts_ns;
    pass(inputs);
    std::vector<std::string> wrong = inputs.damages();
    for (pass_ = 1; pass_ < o_.loop && going(); ++pass_) {
        auto again = open_inputs(o_);
        if (!again) {
            wrong.push_back(again.error());
            break;
        }
        capture_merge merged(std::move(*again));
        uint64_t before = frames_;
        pass(merged);
        if (frames_ == before)
            break; // there is nothing in them
    }
    engine_.run();
    progress_.done();
    return wrong;
}

/// One pass. The next one starts a mean distance of frames after the last frame.
void player::pass(capture_merge& inputs) {
    captured_frame f;
    uint64_t start = first_ + shift_, in_pass = 0;
    while (going() && inputs.next(f) == capture_status::FRAME) {
        f.ts_ns += shift_;
        engine_.frame(o_.in[f.input].port, f);
        ++frames_, ++in_pass;
        if (progress_.due())
            draw(inputs);
    }
    uint64_t span = std::max(engine_.now_ns(), start) - start;
    uint64_t gap = in_pass > 1 ? span / (in_pass - 1) : 0;
    shift_ += span + std::max(gap, MIN_PASS_GAP_NS);
}

void player::draw(const capture_merge& inputs) {
    double share = -1;
    if (bytes_)
        share = (double(pass_) * double(bytes_) + double(inputs.bytes_consumed())) /
                (double(bytes_) * double(o_.loop));
    if (o_.limit != UINT64_MAX)
        share = std::max(share, double(frames_) / double(o_.limit));
    progress_.draw(share, frames_);
}

} // namespace slabfwd
