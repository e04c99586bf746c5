// SPDX-License-Identifier: BSD-3-Clause
//
// A command that goes on for a while (ping, trace, stages): the control thread comes back to it
// while it serves others. Door: control_job. Threads: control thread; workers wake it through its
// eventfd.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "dataplane/control/command.h"

namespace slabfwd {

class control_job {
public:
    virtual ~control_job() = default;
    /// Does what there is to do at `now` (CLOCK_MONOTONIC, ns); false when the command has ended.
    virtual bool step(control_output& to, uint64_t now) = 0;
    /// When step wants to be called even without an event; UINT64_MAX: never.
    virtual uint64_t due() const = 0;
    /// Readable when there is something to do; -1: none.
    virtual int event_fd() const = 0;
    /// The one who typed it has had enough (SIGINT): the next step ends it, with its closing words.
    virtual void interrupt() = 0;
    /// Exit status, once step returned false.
    int rc = 0;
};

/// `ping`, `trace` and `stages`: null with c's error when they cannot begin.
std::unique_ptr<control_job> ping_start(command& c, std::span<const std::string> words);
std::unique_ptr<control_job> trace_start(command& c, std::span<const std::string> words);
std::unique_ptr<control_job> stages_start(command& c, std::span<const std::string> words);

uint64_t monotonic_ns();

} // namespace slabfwd
