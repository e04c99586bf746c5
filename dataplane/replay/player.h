// SPDX-License-Identifier: BSD-3-Clause
//
// All passes over the inputs (--loop, --limit), with the progress bar, into an engine.
// Door: player::play. Threads: main; request_stop from a signal handler.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "dataplane/replay/progress.h"
#include "dataplane/replay/replay_engine.h"
#include "dataplane/replay/replay_files.h"

namespace slabfwd {

class player {
public:
    /// `stop`: not 0: end after the current frame.
    player(const replay_options& o, replay_engine& engine, const std::atomic<int>& stop,
           bool show_progress)
        : o_(o), engine_(engine), stop_(stop), progress_(show_progress) {}

    /// Plays everything. `inputs` is the first pass, opened already; `bytes` the size of all of
    /// them, 0 when one is a pipe. Returns what was wrong with the inputs, one entry a file.
    std::vector<std::string> play(capture_merge& inputs, uint64_t bytes);

private:
    bool going() const { return frames_ < o_.limit && engine_.error().empty() && !stop_; }
    void pass(capture_merge& inputs);
    void draw(const capture_merge& inputs);

    const replay_options& o_;
    replay_engine& engine_;
    const std::atomic<int>& stop_;
    progress progress_;
    uint64_t pass_ = 0, bytes_ = 0, frames_ = 0;
    uint64_t first_ = 0; ///< stamp of the first frame of all
    uint64_t shift_ = 0; ///< added to the stamps of this pass
};

} // namespace slabfwd
