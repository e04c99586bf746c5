// SPDX-License-Identifier: BSD-3-Clause
//
// command: one command on its way: the router it is for, the options before the object, where its
// text goes, and the error when it fails. A command that fails has changed nothing. Door:
// command::fail and its forms, each in the words and with the exit status of iproute2. Threads:
// control thread.
#pragma once

#include <string>

#include <fmt/format.h>

#include "dataplane/control/grammar.h"
#include "dataplane/control/output.h"
#include "dataplane/control/printer.h"
#include "neigh/net_namespace.h"

namespace slabfwd {

/// The options of ip.
struct ip_command_options {
    bool json = false, pretty = false, oneline = false, brief = false, numeric = false,
         human = false;
    int details = 0, statistics = 0;
    int family = 0; ///< 0: any; AF_INET
};

struct command {
    net& n;
    control_output& to;
    ip_command_options opt;

    // The error: exit status, the word at fault, what the tool prints.
    int rc = 0;
    std::string word, reason;

    command(net& n_, control_output& to_) : n(n_), to(to_) {}

    printer make_printer() { return {to, opt.json, opt.pretty, opt.oneline}; }

    /// Ends the command with status; always false.
    bool fail(int status, std::string_view at, std::string text);
    /// `Error: argument "x" is wrong: why`
    bool wrong(const std::string& value, std::string_view why);
    /// `Error: inet prefix is expected rather than "x".`
    bool expected(std::string_view what, const std::string& value);
    /// `Command line is not complete. Try option "help"`
    bool incomplete(std::string_view after);
    /// `Cannot find device "x"`
    bool no_device(const std::string& name);
    /// The kernel's answer -err: its own text, or `RTNETLINK answers: strerror`.
    bool answers(int err, std::string_view at, const std::string& extack = {});
    /// Cannot be done by this router, though Linux can.
    bool unsupported(std::string_view at, std::string_view what);
    /// The device of that name, or null with no_device().
    net_device* device(const std::string& name);
    /// Text on standard error that is no failure.
    void warn(std::string_view text) { to.err(text); }
};

} // namespace slabfwd
