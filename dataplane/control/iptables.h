// SPDX-License-Identifier: BSD-3-Clause
//
// The iptables commands, private to their files: a rule on its way from words to the tables and
// back. Extensions are tables of options with functions that read, check, list and save them; what
// is printed, and what errors say, is what iptables 1.8.9 on nf_tables (Debian 12's) prints.
// Doors: iptables_command, iptables_save_command, iptables_restore_command (commands of ctl and of
// files). Threads: control thread, under net.rtnl. Origin: iptables' xshared.c, nft.c and
// extensions/ (1.8.9), for what is accepted and printed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataplane/control/command.h"
#include "dataplane/netfilter/ip_tables.h"

namespace slabfwd {

bool iptables_command(command& c, std::span<const std::string> words);
bool iptables_save_command(command& c, std::span<const std::string> words);
bool iptables_restore_command(command& c, std::span<const std::string> words);
/// iptables-restore of text, as it stands in a file.
bool iptables_restore(command& c, std::string_view text, std::span<const std::string> options);

/// Where errors go: the command, under the name of the tool that they come from.
struct ipt_context {
    command& c;
    const char* tool = "iptables";
    bool table_given = false; ///< by the text that is restored: -t is refused

    /// A mistake of the user: exit status 2, and where to find help. Always false.
    bool problem(std::string_view word, std::string text);
    /// Exit status and text as they are, under the tool's name and version.
    bool error(int status, std::string_view word, std::string text);
    /// `iptables: text`, exit status 1.
    bool plain(std::string_view word, std::string_view text);
};

/// One option of an extension.
struct ipt_option {
    const char* name;
    int id;
    bool arg = true;
    bool invertible = false;
};

/// An option that was found, being read into its extension's part of the rule.
struct ipt_reading {
    ipt_context& x;
    const ipt_ip& ip;
    const char* extension;
    const ipt_option* option = nullptr;
    std::string value;
    bool invert = false;
    uint32_t seen = 0; ///< bits of the ids so far

    bool has(int id) const { return seen >> id & 1; }
    /// `ext: bad value for option "--opt", or out of range (lo-hi).`
    bool out_of_range(uint64_t lo, uint64_t hi, bool near = false);
    bool problem(std::string text) { return x.problem(value, std::move(text)); }
    /// An unsigned number in any of C's bases.
    template <class T>
    bool number(T* to, uint64_t lo, uint64_t hi);
};
/// The whole of text as a number of C; nullopt when it is none or above max.
std::optional<uint64_t> ipt_number(std::string_view text, uint64_t max);
template <class T>
bool ipt_reading::number(T* to, uint64_t lo, uint64_t hi) {
    auto n = ipt_number(value, hi);
    if (!n || *n < lo)
        return out_of_range(lo, hi);
    *to = T(*n);
    return true;
}
/// A number with an optional "/mask".
bool ipt_masked(std::string_view text, uint64_t max, uint32_t* value, uint32_t* mask);

template <class Kind>
struct ipt_extension {
    using entry = xt_entry<Kind>;
    const char* name; ///< as typed; kernel_name when null there
    const char* kernel_name;
    std::span<const ipt_option> options;
    void (*make)(entry& e, const Kind* kind);
    bool (*read)(ipt_reading& r, entry& e);
    /// All options are read. May be null.
    bool (*finish)(ipt_reading& r, entry& e);
    /// What -L says behind the addresses. May be null.
    void (*list)(std::string& to, const entry& e, const ipt_ip& ip, bool numeric);
    /// The options as -S writes them. May be null.
    void (*save)(std::string& to, const entry& e, const ipt_ip& ip);
};
using ipt_match_extension = ipt_extension<xt_match>;
using ipt_target_extension = ipt_extension<xt_target>;
std::span<const ipt_match_extension> ipt_match_extensions();
std::span<const ipt_target_extension> ipt_target_extensions();

// ---- names and numbers (iptables_values.cc)
/// Port number of a name or number; nullopt when it is none.
std::optional<uint16_t> ipt_port(const std::string& text, uint16_t proto);
std::string ipt_port_name(uint16_t port, uint16_t proto, bool numeric);
/// Protocol by number or name ("all": 0); nullopt when there is none.
std::optional<uint16_t> ipt_proto(const std::string& text);
/// Name of a protocol, or its number.
std::string ipt_proto_name(uint16_t proto, bool numeric);
/// Text behind a blank, in quotes when it needs them. Origin: xtables_save_string.
std::string ipt_quoted(const std::string& text);
std::string ipt_address(be32_t a);
/// "/24", "/255.0.255.0", or nothing for a host.
std::string ipt_mask_suffix(be32_t mask);
constexpr uint16_t IPPROTO_OF_NAME_ALL = 0;

/// What a command line says.
struct ipt_request {
    std::string table = "filter";
    char verb = 0;
    std::string chain, new_name, policy;
    std::optional<unsigned> rulenum;
    ipt_ip ip; ///< all but addresses
    struct address {
        be32_t addr, mask;
    };
    std::vector<address> src, dst; ///< every pair makes a rule
    std::vector<xt_entry<xt_match>> matches;
    std::string jump; ///< word of -j or -g
    bool is_goto = false;
    std::optional<xt_entry<xt_target>> target;
    std::optional<xt_counters> counters;
    unsigned verbose = 0;
    bool numeric = false, exact = false, line_numbers = false;
    bool zero_too = false; ///< -L -Z
};
/// Reads a command line. False: x.c has the error.
bool ipt_parse(ipt_context& x, std::span<const std::string> words, ipt_request* r);
/// Carries a request out on t (the table itself, or a draft). *changed: t has to be committed.
bool ipt_execute(ipt_context& x, ipt_table& t, const ipt_request& r, bool* changed);

// ---- reports (iptables_print.cc)
/// "-A CHAIN ..." without the newline; with_counters: as -S -v.
std::string ipt_rule_text(ipt_table& t, const ipt_chain& c, const ipt_entry& e, bool with_counters);
std::string ipt_list_text(ipt_table& t, const ipt_request& r);
std::string ipt_list_rules_text(ipt_table& t, const ipt_request& r);
/// A table as iptables-save prints it.
std::string ipt_save_text(ipt_table& t, bool with_counters);

} // namespace slabfwd
