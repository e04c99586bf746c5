// SPDX-License-Identifier: BSD-3-Clause
//
// Prints reports as iproute2 does: the same fields once as text and once as JSON (compact or
// pretty). A report is a list of entries; each entry is begun, filled field by field, and ended.
// Ended entries leave at once, so that a long report needs no memory. Door: printer. Threads:
// control thread. Origin of the formats: iproute2's lib/json_writer.c, json_print.c.
#pragma once

#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "dataplane/control/output.h"

namespace slabfwd {

using json = nlohmann::ordered_json;

/// A value as iproute2's JSON writer lays it out with -p; `depth` is the nesting of the line it
/// starts on.
std::string pretty_json(const json& value, unsigned depth = 0);

class printer {
public:
    printer(control_output& to, bool as_json, bool pretty, bool oneline)
        : to_(to), json_(as_json), pretty_(pretty), oneline_(oneline) {}
    ~printer() { finish(); }
    printer(const printer&) = delete;
    printer& operator=(const printer&) = delete;

    bool as_json() const { return json_; }
    /// The end of a line within an entry: "\n", or "\" with -o.
    const char* nl() const { return oneline_ ? "\\" : "\n"; }

    void begin() { entry_ = json::object(); }
    /// Ends an entry; text that the entry collected goes out.
    void end();
    /// The JSON object of the entry (fields that need more than field()).
    json& object() { return entry_; }
    /// Text only.
    template <class... T>
    void text(fmt::format_string<T...> f, T&&... args) {
        if (!json_)
            fmt::format_to(std::back_inserter(text_), f, std::forward<T>(args)...);
    }
    /// A field: the JSON value under key, or the text.
    template <class V, class... T>
    void field(const char* key, V&& value, fmt::format_string<T...> f, T&&... args) {
        if (json_)
            entry_[key] = std::forward<V>(value);
        else
            fmt::format_to(std::back_inserter(text_), f, std::forward<T>(args)...);
    }
    /// A field that only JSON has.
    template <class V>
    void json_field(const char* key, V&& value) {
        if (json_)
            entry_[key] = std::forward<V>(value);
    }
    /// Closes the list. Called once; the destructor does it otherwise.
    void finish();

private:
    control_output& to_;
    bool json_, pretty_, oneline_;
    bool any_ = false, finished_ = false;
    json entry_ = json::object();
    std::string text_;
};

} // namespace slabfwd
