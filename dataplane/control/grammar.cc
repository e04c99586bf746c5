// SPDX-License-Identifier: BSD-3-Clause
//
// One parser for all tables: keyword, value, keyword, value, from left to right; the first word
// that does not fit ends it with iproute2's message.
#include "dataplane/control/grammar.h"

#include <algorithm>

#include "dataplane/control/command.h"
#include "dataplane/control/values.h"

namespace slabfwd {

namespace {

/// The state of one parse.
class line_parser {
public:
    line_parser(command& c, std::span<const keyword> keywords, std::span<const std::string> words,
                std::vector<argument>* to)
        : c_(c), keywords_(keywords), words_(words), to_(*to) {}

    bool run() {
        while (at_ < words_.size())
            if (!take_word())
                return false;
        if (section_ && to_.back().key == section_)
            return c_.fail(
                255, section_->name,
                fmt::format("Error: unexpected end of line after \"{}\"\n", section_->name));
        return true;
    }

private:
    const keyword* find(const std::string& word) const {
        if (section_) {
            if (word == section_->name)
                return section_;
            for (const keyword& k : section_->section)
                if (k.exact ? word == k.name : matches(word, k.name))
                    return &k;
            return nullptr;
        }
        for (const keyword& k : keywords_)
            if (k.exact ? word == k.name : matches(word, k.name))
                return &k;
        return nullptr;
    }
    const keyword* bare() const {
        auto k =
            std::ranges::find_if(keywords_, [](const keyword& e) { return e.flags & KEY_BARE; });
        return k == keywords_.end() ? nullptr : &*k;
    }
    bool seen(const keyword& key) const {
        return std::ranges::any_of(to_, [&](const argument& a) { return a.key->id == key.id; });
    }
    bool family_known() const {
        return c_.opt.family || std::ranges::any_of(to_, [](const argument& a) {
                   return (a.key->kind == takes::prefix || a.key->kind == takes::address) &&
                          !(a.key->flags & KEY_FOREIGN);
               });
    }

    bool take_word() {
        const std::string& word = words_[at_];
        if (const keyword* key = find(word)) {
            ++at_;
            if (key->kind == takes::nothing)
                return store(*key, word);
            return take_value(*key);
        }
        if (section_)
            return c_.fail(
                255, word,
                fmt::format("Error: \"{}\" or end of line is expected instead of \"{}\"\n",
                            section_->name, word));
        const keyword* key = bare();
        if (!key)
            return c_.fail(255, word, fmt::format("Error: \"{}\" is not understood here.\n", word));
        if (key->flags & KEY_ONCE && seen(*key))
            return duplicate(*key, word);
        ++at_;
        return store(*key, word);
    }
    bool duplicate(const keyword& key, const std::string& word) {
        return c_.fail(255, word,
                       fmt::format("Error: either \"{}\" is duplicate, or \"{}\" is a garbage.\n",
                                   key.name, word));
    }
    bool take_value(const keyword& key) {
        bool locked = key.flags & KEY_LOCK && at_ < words_.size() && words_[at_] == "lock";
        bool ipv6 = false;
        at_ += locked;
        if (key.kind == takes::gateway && at_ < words_.size()) {
            ipv6 = words_[at_] == "inet6";
            at_ += ipv6 || words_[at_] == "inet";
        }
        if (at_ == words_.size())
            return c_.incomplete(words_[at_ - 1]);
        const std::string& word = words_[at_++];
        if (key.flags & KEY_DUP && seen(key))
            return c_.fail(255, word,
                           fmt::format("Error: duplicate \"{}\": \"{}\" is the second value.\n",
                                       key.name, word));
        if (key.flags & KEY_ONCE && seen(key))
            return duplicate(key, word);
        return store(key, word, locked, ipv6);
    }
    bool store(const keyword& key, const std::string& word, bool locked = false,
               bool ipv6 = false) {
        argument a;
        a.key = &key;
        a.locked = locked;
        a.ipv6 = ipv6;
        if (!parse_value(c_, key, word, family_known(), &a))
            return false;
        if (!key.section.empty())
            section_ = &key;
        to_.push_back(std::move(a));
        return true;
    }

    command& c_;
    std::span<const keyword> keywords_;
    std::span<const std::string> words_;
    std::vector<argument>& to_;
    const keyword* section_ = nullptr;
    size_t at_ = 0;
};

std::string synopsis(const keyword& k) {
    std::string s;
    if (k.flags & KEY_BARE && k.value)
        s = k.kind == takes::nothing ? k.name : fmt::format("[ {} ] {}", k.name, k.value);
    else if (k.kind == takes::nothing)
        s = k.name;
    else
        s = fmt::format("{} {}{}", k.name, k.flags & KEY_LOCK ? "[ lock ] " : "",
                        k.value ? k.value : "VALUE");
    if (!k.section.empty()) {
        for (const keyword& inner : k.section)
            s += fmt::format(" [ {} ]", synopsis(inner));
        return fmt::format("[ {} ]...", s);
    }
    return fmt::format("[ {} ]", s);
}

} // namespace

bool matches(std::string_view word, std::string_view keyword) {
    return !word.empty() && keyword.starts_with(word);
}

const object* find_object(std::string_view word) {
    for (const object& o : ip_objects())
        if (matches(word, o.name))
            return &o;
    return nullptr;
}

const verb* find_verb(const object& o, std::string_view word) {
    for (const verb& v : o.verbs)
        if (v.exact ? word == v.name : matches(word, v.name))
            return &v;
    return nullptr;
}

bool parse_arguments(command& c, std::span<const keyword> keywords,
                     std::span<const std::string> words, std::vector<argument>* to) {
    return line_parser(c, keywords, words, to).run();
}

std::string usage_of(const object& o, const verb& v) {
    std::string line = fmt::format("ip {} {}", o.name, v.name), text;
    for (const keyword& k : v.keywords) {
        std::string word = synopsis(k);
        if (line.size() + word.size() > 100) {
            text += line + "\n";
            line = "       ";
        }
        line += " " + word;
    }
    return text + line + "\n";
}

std::string usage_of(const object& o) {
    std::string text = "Usage: ";
    for (const verb& v : o.verbs) {
        std::string one = usage_of(o, v);
        if (&v != o.verbs.data())
            text += "       ";
        for (char ch : one) {
            text += ch;
            if (ch == '\n' && &ch != &one.back())
                text += "       ";
        }
    }
    return text;
}

std::vector<std::string> complete(std::span<const std::string> words) {
    std::vector<std::string> found;
    std::string last = words.empty() ? "" : words.back();
    auto offer = [&](const char* name) {
        if (std::string_view(name).starts_with(last) &&
            std::ranges::find(found, name) == found.end())
            found.push_back(name);
    };
    size_t at = 0;
    if (!words.empty() && words[0] == "ip")
        at = 1;
    while (at + 1 < words.size() && words[at].starts_with("-"))
        ++at;
    if (words.size() <= at + 1) {
        for (const object& o : ip_objects())
            offer(o.name);
        return found;
    }
    const object* o = find_object(words[at]);
    if (!o)
        return found;
    if (words.size() == at + 2) {
        for (const verb& v : o->verbs)
            offer(v.name);
        return found;
    }
    if (const verb* v = find_verb(*o, words[at + 1]))
        for (const keyword& k : v->keywords)
            offer(k.name);
    return found;
}

const argument* find_argument(std::span<const argument> args, int id) {
    for (size_t i = args.size(); i-- > 0;)
        if (args[i].key->id == id)
            return &args[i];
    return nullptr;
}

bool command::fail(int status, std::string_view at, std::string text) {
    rc = status;
    word = at;
    reason = std::move(text);
    return false;
}

bool command::wrong(const std::string& value, std::string_view why) {
    return fail(255, value, fmt::format("Error: argument \"{}\" is wrong: {}\n", value, why));
}

bool command::expected(std::string_view what, const std::string& value) {
    return fail(1, value, fmt::format("Error: {} is expected rather than \"{}\".\n", what, value));
}

bool command::incomplete(std::string_view after) {
    return fail(255, after, "Command line is not complete. Try option \"help\"\n");
}

bool command::no_device(const std::string& name) {
    return fail(1, name, fmt::format("Cannot find device \"{}\"\n", name));
}

bool command::answers(int err, std::string_view at, const std::string& extack) {
    if (!extack.empty())
        return fail(2, at, fmt::format("Error: {}{}\n", extack, extack.ends_with('.') ? "" : "."));
    return fail(2, at, fmt::format("RTNETLINK answers: {}\n", strerror(err < 0 ? -err : err)));
}

bool command::unsupported(std::string_view at, std::string_view what) {
    return fail(2, at, fmt::format("Error: {}.\n", what));
}

net_device* command::device(const std::string& name) {
    net_device* dev = name.size() < IFNAMSIZ_ ? dev_get_by_name(n, name.c_str()) : nullptr;
    if (!dev)
        no_device(name);
    return dev;
}

} // namespace slabfwd
