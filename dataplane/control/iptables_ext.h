// SPDX-License-Identifier: BSD-3-Clause
//
// What the extensions' files share: values that matches and targets read alike, and the parsers of
// the three protocols. Private to iptables_match.cc, iptables_target.cc, iptables_proto.cc.
// Threads: control thread.
#pragma once

#include "dataplane/control/iptables.h"

namespace slabfwd::ipt_ext {

/// The extension's part of a rule, with its defaults.
template <class T, class Kind>
void make(xt_entry<Kind>& e, const Kind* kind) {
    e.template make<T>(kind);
}
/// finish: option Id has to be there.
template <int Id, class Kind>
bool required(ipt_reading& r, xt_entry<Kind>&);

inline std::vector<std::string> split(const std::string& text, char at) {
    std::vector<std::string> parts;
    for (size_t from = 0;;) {
        size_t to = text.find(at, from);
        parts.push_back(text.substr(from, to - from));
        if (to == std::string::npos)
            return parts;
        from = to + 1;
    }
}

/// A TOS value or symbol with its mask (iptables_target.cc).
bool tos_value(ipt_reading& r, uint8_t* value, uint8_t* mask);
/// Null when the value has no name.
const char* tos_symbol(uint8_t value, uint8_t mask);
/// The DSCP of a class name (EF, AF21, CS3).
bool dscp_class(ipt_reading& r, uint8_t* dscp);

using match_entry = xt_entry<xt_match>;
extern const std::span<const ipt_option> tcp_options, udp_options, icmp_options;
bool tcp_read(ipt_reading& r, match_entry& e);
void tcp_list(std::string& to, const match_entry& e, const ipt_ip& ip, bool numeric);
void tcp_save(std::string& to, const match_entry& e, const ipt_ip& ip);
bool udp_read(ipt_reading& r, match_entry& e);
void udp_list(std::string& to, const match_entry& e, const ipt_ip& ip, bool numeric);
void udp_save(std::string& to, const match_entry& e, const ipt_ip& ip);
bool icmp_read(ipt_reading& r, match_entry& e);
void icmp_list(std::string& to, const match_entry& e, const ipt_ip& ip, bool numeric);
void icmp_save(std::string& to, const match_entry& e, const ipt_ip& ip);

/// Name of the extension's option Id, as errors call it.
const char* option_name(const char* extension, int id);

template <int Id, class Kind>
bool required(ipt_reading& r, xt_entry<Kind>&) {
    return r.has(Id) || r.problem(fmt::format("{}: option \"--{}\" must be specified\n",
                                              r.extension, option_name(r.extension, Id)));
}

} // namespace slabfwd::ipt_ext
