// SPDX-License-Identifier: BSD-3-Clause
//
// What goes over the ctl socket, either way: frames of a length (4 bytes, little endian: of what
// follows the type), a type (1 byte) and data. A client sends a command and reads text until its
// exit status comes; then it may send the next. Threads: none of its own.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace slabfwd {

constexpr char FRAME_COMMAND = 'C';   ///< to the router: words, each ended by a NUL
/// To the router: the same, one of many that are sent ahead (ctl -batch): not executed once one of them
/// has failed; its exit status is then STATUS_SKIPPED.
constexpr char FRAME_BATCH = 'B';
constexpr int STATUS_SKIPPED = 125;
constexpr char FRAME_INTERRUPT = 'I'; ///< to the router: the command shall end (SIGINT)
constexpr char FRAME_OUT = 'O';       ///< from the router: standard output
constexpr char FRAME_ERR = 'E';       ///< from the router: standard error
constexpr char FRAME_EXIT = 'X';      ///< from the router: exit status, 4 bytes
constexpr size_t FRAME_HEADER = 5;
constexpr uint32_t FRAME_MAX_OUT = 1 << 16; ///< data of one frame from the router

inline std::string make_frame(char type, std::string_view data) {
    auto len = uint32_t(data.size());
    std::string frame(FRAME_HEADER, '\0');
    memcpy(frame.data(), &len, sizeof len);
    frame[4] = type;
    return frame.append(data);
}

inline uint32_t frame_length(const char* header) {
    uint32_t len;
    memcpy(&len, header, sizeof len);
    return len;
}

} // namespace slabfwd
