// SPDX-License-Identifier: BSD-3-Clause
//
// See packet_work.h.
#include "neigh/packet_work.h"

#include <algorithm>

namespace slabfwd {

packet_work_line packet_work_lines[PACKET_WORK_SLOTS];

unsigned packet_work_most(packet_work kind) {
    unsigned most = 0;
    for (const packet_work_line& line : packet_work_lines)
        most = std::max(most, READ_ONCE(line.most[unsigned(kind)]));
    return most;
}

} // namespace slabfwd
