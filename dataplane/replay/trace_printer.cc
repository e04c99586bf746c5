// SPDX-License-Identifier: BSD-3-Clause
//
// See trace_printer.h.
#include "dataplane/replay/trace_printer.h"

namespace slabfwd {

trace_printer::trace_printer(FILE* to) : packet_tracer{}, to_(to) {
    event = [](packet_tracer* tracer, const sk_buff* skb, const char* function, const char* text) {
        auto* self = static_cast<trace_printer*>(tracer);
        std::fputs(self->formatter_.event(skb, function, text).c_str(), self->to_);
    };
}

} // namespace slabfwd
