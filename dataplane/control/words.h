// SPDX-License-Identifier: BSD-3-Clause
//
// Splits a command line into words as sh does: blanks, single and double quotes, backslash,
// comments. What sh would do more with (variables, pipes, redirections, lists, substitutions) is
// refused, so that a line that is taken here means the same to sh. Door: split_words. Threads: any.
// Origin: POSIX XCU 2.2 and 2.3.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace slabfwd {

/// The words of one line; none for a blank line or a comment. The error is a sentence that names
/// the character or the quote at fault.
tl::expected<std::vector<std::string>, std::string> split_words(std::string_view line);

/// True when the line ends in a backslash that joins it with the next one (not inside a comment).
bool line_continues(std::string_view line);

} // namespace slabfwd
