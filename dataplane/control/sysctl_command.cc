// SPDX-License-Identifier: BSD-3-Clause
//
// The sysctl tool. Unlike procps, a line that fails in one of its settings makes none of them.
// Threads: control thread under rtnl. Origin of options and messages: procps-ng 4.0 (sysctl.c).
#include <cerrno>
#include <regex.h>

#include "dataplane/control/sysctl.h"

namespace slabfwd {

namespace {

constexpr std::string_view USAGE =
    "Usage:\n sysctl [options] [variable[=value] ...]\n\nOptions:\n"
    "  -a, --all            display all variables\n  -A, -X               alias of -a\n"
    "      --deprecated     include deprecated parameters to listing\n"
    "  -b, --binary         print value without new line\n"
    "  -e, --ignore         ignore unknown variables errors\n"
    "  -N, --names          print variable names without values\n"
    "  -n, --values         print only values of the given variable(s)\n"
    "  -r, --pattern <expression>\n                       select setting that match expression\n"
    "  -q, --quiet          do not echo variable set\n"
    "  -w, --write          enable writing a value to variable\n";

struct options {
    bool all = false, write = false, quiet = false, ignore = false, names = false, values = false,
         binary = false, deprecated = false, help = false;
    std::string pattern;
    std::vector<std::string> words;
};

/// A name with dots, or slashes when the first separator is one, as a path below /proc/sys.
std::string path_of(std::string_view name) {
    std::string path(name);
    size_t first = path.find_first_of("./");
    if (first == std::string::npos || path[first] == '/')
        return path;
    for (char& ch : path)
        ch = ch == '.' ? '/' : ch == '/' ? '.' : ch;
    return path;
}

std::string name_of(std::string_view path) {
    std::string name(path);
    for (char& ch : name)
        ch = ch == '/' ? '.' : ch == '.' ? '/' : ch;
    return name;
}

bool set_flag(options& o, char flag) {
    switch (flag) {
    case 'a':
    case 'A':
    case 'X':
        return o.all = true;
    case 'w':
        return o.write = true;
    case 'q':
        return o.quiet = true;
    case 'e':
        return o.ignore = true;
    case 'N':
        return o.names = true;
    case 'n':
        return o.values = true;
    case 'b':
        return o.binary = true;
    case 'h':
    case 'd':
        return o.help = true;
    case 'o':
    case 'x':
        return true;
    }
    return false;
}

bool parse_long(command& c, options& o, const std::string& word) {
    constexpr struct {
        std::string_view name;
        char flag;
    } names[] = {{"--all", 'a'},   {"--write", 'w'},  {"--quiet", 'q'},  {"--ignore", 'e'},
                 {"--names", 'N'}, {"--values", 'n'}, {"--binary", 'b'}, {"--help", 'h'}};
    for (auto& e : names)
        if (word == e.name)
            return set_flag(o, e.flag);
    if (word == "--deprecated")
        return o.deprecated = true;
    return c.fail(1, word, fmt::format("sysctl: unrecognized option '{}'\n{}", word, USAGE));
}

bool parse(command& c, std::span<const std::string> words, options& o) {
    bool only_words = false;
    for (size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (only_words || word.size() < 2 || word[0] != '-') {
            o.words.push_back(word);
        } else if (word == "--") {
            only_words = true;
        } else if (word == "-r" || word == "--pattern") {
            if (++i == words.size())
                return c.fail(1, word,
                              fmt::format("sysctl: option requires an argument -- 'r'\n{}", USAGE));
            o.pattern = words[i];
        } else if (word[1] == '-') {
            if (!parse_long(c, o, word))
                return false;
        } else {
            for (char flag : std::string_view(word).substr(1))
                if (!set_flag(o, flag))
                    return c.fail(1, word,
                                  fmt::format("sysctl: invalid option -- '{}'\n{}", flag, USAGE));
        }
    }
    return true;
}

std::string shown(const options& o, const sysctl_key& key, std::string_view value) {
    std::string name = name_of(key.path);
    if (o.names)
        return name + "\n";
    if (o.binary)
        return std::string(value);
    if (o.values)
        return fmt::format("{}\n", value);
    return fmt::format("{} = {}\n", name, value);
}

/// -r: an extended regular expression over names.
class name_pattern {
public:
    explicit name_pattern(const std::string& text) {
        if (text.empty())
            return;
        set_ = true;
        ok_ = regcomp(&re_, text.c_str(), REG_EXTENDED | REG_NOSUB) == 0;
    }
    ~name_pattern() {
        if (set_ && ok_)
            regfree(&re_);
    }
    name_pattern(const name_pattern&) = delete;
    name_pattern& operator=(const name_pattern&) = delete;
    bool ok() const { return ok_; }
    bool matches(const std::string& name) const {
        return !set_ || regexec(&re_, name.c_str(), 0, nullptr, 0) == 0;
    }

private:
    regex_t re_{};
    bool set_ = false, ok_ = true;
};

bool list(command& c, const options& o, std::string_view prefix) {
    name_pattern pattern(o.pattern);
    if (!pattern.ok())
        return c.fail(1, o.pattern,
                      fmt::format("sysctl: invalid regular expression: \"{}\"\n", o.pattern));
    std::string text;
    for_each_sysctl(c.n, prefix, [&](const sysctl_key& key) {
        if (key.readable && (!key.hidden || o.deprecated) && pattern.matches(name_of(key.path)))
            text += shown(o, key, sysctl_read(key));
    });
    c.to.out(text);
    return true;
}

bool no_such(command& c, const std::string& word, const std::string& path) {
    return c.fail(
        1, word,
        fmt::format("sysctl: cannot stat /proc/sys/{}: No such file or directory\n", path));
}

bool is_directory(command& c, const std::string& path) {
    bool any = false;
    for_each_sysctl(c.n, path + "/", [&](const sysctl_key&) { any = true; });
    return any;
}

struct setting {
    sysctl_key key;
    std::string value;
};

/// KEY=VALUE: looked up and checked, not yet made.
bool prepare(command& c, const options& o, const std::string& word, std::vector<setting>* to) {
    size_t eq = word.find('=');
    if (eq == std::string::npos)
        return c.fail(1, word, "sysctl: command line(0): invalid syntax, continuing...\n");
    std::string name = word.substr(0, eq), value = word.substr(eq + 1);
    bool ignore = o.ignore;
    if (name.starts_with('-')) {
        ignore = true;
        name.erase(0, 1);
    }
    auto trim = [](std::string& s) {
        s.erase(0, s.find_first_not_of(" \t"));
        s.erase(s.find_last_not_of(" \t") + 1);
    };
    trim(name);
    trim(value);
    std::string path = path_of(name);
    auto key = find_sysctl(c.n, path);
    if (!key)
        return ignore || no_such(c, word, path);
    if (!sysctl_accepts(*key, value))
        return c.fail(1, word,
                      fmt::format("sysctl: setting key \"{}\": Invalid argument\n", name_of(path)));
    to->push_back({*key, value});
    return true;
}

/// Makes all settings; the first that is refused after all takes those before it back.
bool apply(command& c, const options& o, const std::vector<setting>& settings) {
    std::vector<std::string> before;
    std::string text;
    for (const setting& s : settings) {
        before.push_back(s.key.value ? sysctl_read(s.key) : "");
        if (int err = sysctl_write(c.n, s.key, s.value)) {
            for (size_t i = before.size() - 1; i-- > 0;)
                if (settings[i].key.value)
                    sysctl_write(c.n, settings[i].key, before[i]);
            std::string name = name_of(s.key.path);
            return c.fail(1, name,
                          fmt::format("sysctl: setting key \"{}\": {}\n", name, strerror(-err)));
        }
        text += shown(o, s.key, s.value);
    }
    if (!o.quiet)
        c.to.out(text);
    return true;
}

/// A directory's path as words name it.
std::string directory_of(const std::string& word) {
    std::string path = path_of(word);
    while (path.ends_with('/'))
        path.pop_back();
    return path;
}

/// May word be read? With the error when not.
bool can_read(command& c, const options& o, const std::string& word) {
    const std::string path = path_of(word);
    if (auto key = find_sysctl(c.n, path))
        return key->readable ||
               c.fail(1, word,
                      fmt::format("sysctl: permission denied on key '{}'\n", name_of(path)));
    return is_directory(c, directory_of(word)) || o.ignore || no_such(c, word, directory_of(word));
}

void read_one(command& c, const options& o, const std::string& word) {
    if (auto key = find_sysctl(c.n, path_of(word)))
        c.to.out(shown(o, *key, sysctl_read(*key)));
    else if (is_directory(c, directory_of(word)))
        list(c, o, directory_of(word) + "/");
}

} // namespace

bool sysctl_command(command& c, std::span<const std::string> words) {
    options o;
    if (!parse(c, words, o))
        return false;
    if (o.help) {
        c.to.out(USAGE);
        return true;
    }
    if (o.all)
        return list(c, o, "net/");
    if (o.words.empty())
        return c.fail(
            1, "",
            o.write || words.size()
                ? "sysctl: no variables specified\nTry `sysctl --help' for more information.\n"
                : std::string(USAGE));
    auto sets = [&](const std::string& word) {
        return o.write || word.find('=') != std::string::npos;
    };
    std::vector<setting> settings;
    for (const std::string& word : o.words)
        if (sets(word) ? !prepare(c, o, word, &settings) : !can_read(c, o, word))
            return false;
    if (!apply(c, o, settings))
        return false;
    for (const std::string& word : o.words)
        if (!sets(word))
            read_one(c, o, word);
    return true;
}

} // namespace slabfwd
