// SPDX-License-Identifier: BSD-3-Clause
//
// All files of one replay. Everything that can be refused is refused before the first frame: inputs
// are opened, then outputs (and none of them may be the other), and only when the router is
// configured are the outputs emptied. Door: open_inputs, replay_outputs::open,
// replay_writers::begin, finish. Threads: main.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/replay/capture_reader.h"
#include "dataplane/replay/capture_writer.h"
#include "dataplane/replay/output_file.h"
#include "dataplane/replay/pcapng_writer.h"
#include "dataplane/replay/replay_options.h"

namespace slabfwd {

using capture_readers = std::vector<std::unique_ptr<capture_reader>>;

/// Opens every --in, in order. The error names the file and the reason.
tl::expected<capture_readers, std::string> open_inputs(const replay_options& o);

/// Every file that is written, opened but untouched.
struct replay_outputs {
    std::vector<std::unique_ptr<output_file>> ports; ///< as replay_options::out
    std::unique_ptr<output_file> drops, json;        ///< null: not asked for

    /// Opens them all. Errors: cannot be written; the same file as an input or another output.
    static tl::expected<replay_outputs, std::string> open(const replay_options& o);
};

/// The writers over these files, made when the replay really starts.
struct replay_writers {
    std::vector<std::unique_ptr<capture_writer>> ports; ///< as replay_options::out
    std::unique_ptr<pcapng_writer> drops;

    /// Empties the files (json excepted, which stays in `files`) and writes their headers.
    static tl::expected<replay_writers, std::string> begin(replay_outputs& files,
                                                           const replay_options& o);
    /// Writes out and closes all; what could not be written, one entry a file.
    std::vector<std::string> finish();
};

/// Writes text into the file and closes it: "" or the reason why not.
std::string write_all(output_file& file, const std::string& text);

} // namespace slabfwd
