// SPDX-License-Identifier: BSD-3-Clause
//
// The spelling of drop reasons. Door: drop_reason_name. Origin: net/core/drop_monitor.c.
#include "neigh/drop_reason.h"

namespace slabfwd {

const char* drop_reason_name(skb_drop_reason reason) {
    static constexpr const char* names[] = {
#define X(name) #name,
        SLABFWD_DROP_REASONS(X)
#undef X
    };
    return unsigned(reason) < NR_DROP_REASONS ? names[unsigned(reason)] : "UNKNOWN";
}

} // namespace slabfwd
