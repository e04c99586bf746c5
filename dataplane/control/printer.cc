// SPDX-License-Identifier: BSD-3-Clause
//
// The JSON layouts, and the buffer of the text form.
#include "dataplane/control/printer.h"

namespace slabfwd {

namespace {

constexpr size_t TEXT_CHUNK = 16384;

std::string dump_scalar(const json& v) {
    return v.dump(-1, ' ', false, json::error_handler_t::replace);
}

void line(std::string& to, unsigned depth) {
    to += '\n';
    to.append(depth * 4, ' ');
}

void pretty(std::string& to, const json& v, unsigned depth) {
    if (v.is_array()) {
        to += "[ ";
        bool first = true;
        for (const json& e : v) {
            if (!first)
                to += ',';
            first = false;
            pretty(to, e, depth + 1);
        }
        to += v.empty() ? "]" : " ]";
        return;
    }
    if (!v.is_object()) {
        to += dump_scalar(v);
        return;
    }
    to += '{';
    bool first = true;
    for (auto& [key, value] : v.items()) {
        if (!first)
            to += ',';
        first = false;
        line(to, depth + 1);
        to += dump_scalar(json(key)) + ": ";
        pretty(to, value, depth + 1);
    }
    if (!v.empty())
        line(to, depth);
    to += '}';
}

} // namespace

std::string pretty_json(const json& value, unsigned depth) {
    std::string to;
    pretty(to, value, depth);
    return to;
}

void printer::end() {
    if (json_) {
        std::string s = any_ ? "," : pretty_ ? "[ " : "[";
        s += pretty_ ? pretty_json(entry_, 1) : dump_scalar(entry_);
        any_ = true;
        to_.out(s);
    } else if (text_.size() >= TEXT_CHUNK) {
        to_.out(text_);
        text_.clear();
    }
    entry_ = json::object();
}

void printer::finish() {
    if (finished_)
        return;
    finished_ = true;
    if (json_)
        to_.out(any_ ? (pretty_ ? " ]\n" : "]\n") : (pretty_ ? "[ ]\n" : "[]\n"));
    else if (!text_.empty())
        to_.out(text_);
}

} // namespace slabfwd
