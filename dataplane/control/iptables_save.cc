// SPDX-License-Identifier: BSD-3-Clause
//
// iptables-save and iptables-restore: whole tables as text, and back at once. A table of a restore
// is a draft until its COMMIT; then it replaces the one in force, and the packets see one
// generation or the other. Doors: iptables_save_command; iptables_restore (text),
// iptables_restore_command (a file: `iptables-restore [-n] [-c] [-t|--test] [-T TABLE] FILE`).
// Threads: control thread. Origin: iptables-save.c, iptables-restore.c (1.8.9).
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "dataplane/control/iptables.h"

namespace slabfwd {

bool iptables_save_command(command& c, std::span<const std::string> words) {
    ipt_context x{c, "iptables-save"};
    bool counters = false;
    std::string table;
    for (size_t i = 0; i < words.size(); ++i) {
        if (words[i] == "-c" || words[i] == "--counters")
            counters = true;
        else if ((words[i] == "-t" || words[i] == "--table") && i + 1 < words.size())
            table = words[++i];
        else
            return x.problem(words[i], fmt::format("unknown option \"{}\"", words[i]));
    }
    if (!table.empty() && !ipt_find_table(c.n, table))
        return x.error(1, table, fmt::format("Table `{}' does not exist\n", table));
    for (auto& s : ipt_tables(c.n).tables)
        if (table.empty() ? s.compiled || !s.table->pristine() : s.table->name == table)
            c.to.out(ipt_save_text(*s.table, counters));
    return true;
}

namespace {

/// The words of a line of a restore: blanks, double quotes and backslashes. Origin:
/// add_param_to_argv.
bool restore_words(std::string_view line, std::vector<std::string>* words) {
    std::string word;
    bool in_word = false, quoted = false, escaped = false;
    for (char ch : line) {
        if (quoted) {
            if (escaped || (ch != '\\' && ch != '"')) {
                word += ch;
                escaped = false;
            } else if (ch == '\\') {
                escaped = true;
            } else {
                quoted = false;
            }
            continue;
        }
        if (ch == '"') {
            quoted = in_word = true;
        } else if (ch == ' ' || ch == '\t') {
            if (in_word)
                words->push_back(std::move(word));
            word.clear();
            in_word = false;
        } else {
            word += ch;
            in_word = true;
        }
    }
    if (in_word)
        words->push_back(std::move(word));
    return !quoted;
}

struct restore_options {
    bool noflush = false, counters = false, test = false;
    std::string table, file;
};

class restoration {
public:
    restoration(command& c, const restore_options& o) : x_{c, "iptables-restore", true}, o_(o) {}

    bool run(std::string_view text) {
        for (size_t from = 0; from < text.size();) {
            size_t end = std::min(text.find('\n', from), text.size());
            ++line_;
            if (!line(text.substr(from, end - from)))
                return failed();
            from = end + 1;
        }
        if (draft_)
            return x_.c.fail(
                1, "COMMIT",
                fmt::format("iptables-restore: COMMIT expected at line {}\n", line_ + 1));
        return true;
    }

private:
    bool failed() {
        if (x_.c.rc == 1) // the text has no line yet
            x_.c.reason = fmt::format("iptables-restore: line {} failed: {}", line_, x_.c.reason);
        else
            x_.c.reason += fmt::format("Error occurred at line: {}\n", line_);
        return false;
    }
    bool bad(std::string_view word, std::string text) {
        return x_.error(2, word, std::move(text) + "\n");
    }
    bool skip() const { return draft_ && !o_.table.empty() && draft_->name != o_.table; }

    bool line(std::string_view text) {
        if (text.empty() || text[0] == '#')
            return true;
        if (text[0] == '*')
            return begin(std::string(text.substr(1, text.find_first_of(" \t") - 1)));
        if (!draft_)
            return bad(text, fmt::format("no table for line `{}'", text));
        if (text == "COMMIT")
            return commit();
        if (text[0] == ':')
            return chain(text.substr(1));
        return command_line(text);
    }
    bool begin(const std::string& table) {
        if (draft_)
            return bad(table, "COMMIT expected before another table");
        slot_ = ipt_find_table(x_.c.n, table);
        if (!slot_)
            return x_.error(3, table,
                            fmt::format("table '{}' does not exist\nPerhaps iptables or "
                                        "your kernel needs to be upgraded.\n",
                                        table));
        draft_ = std::make_unique<ipt_table>(*slot_->table);
        if (o_.noflush)
            return true;
        for (ipt_chain* c : draft_->chains())
            draft_->flush(*c);
        for (ipt_chain* c : draft_->chains())
            if (!c->builtin())
                draft_->delete_chain(std::string(c->name));
        return true;
    }
    bool commit() {
        if (!o_.test && !skip()) {
            for (auto& [counter, value] : counters_)
                counter->set(value);
            ipt_replace_table(x_.c.n, *slot_, std::move(draft_));
        }
        counters_.clear();
        draft_.reset();
        return true;
    }
    /// "NAME POLICY [packets:bytes]"
    bool chain(std::string_view text) {
        std::vector<std::string> words;
        restore_words(text, &words);
        if (words.size() < 2)
            return bad(text, "chain declarations need a policy");
        const std::string &name = words[0], &policy = words[1];
        xt_counters n;
        if (words.size() > 2 && !counters(words[2], &n))
            return bad(words[2], "invalid policy counters for chain");
        ipt_chain* c = draft_->find(name);
        if (!c || !c->builtin()) {
            if (policy != "-")
                return bad(policy, fmt::format("chain {} has no policy", name));
            if (c)
                draft_->flush(*c);
            else
                return make_chain(name);
            return true;
        }
        if (policy != "ACCEPT" && policy != "DROP" && policy != "-")
            return bad(policy, fmt::format("Can't set policy `{}' on `{}' line {}: Bad policy name",
                                           name, policy, line_));
        if (policy != "-")
            draft_->set_policy(*c, policy == "ACCEPT" ? NF_ACCEPT : NF_DROP);
        counters_.emplace_back(c->counter.get(), o_.counters ? n : xt_counters{});
        return true;
    }
    bool make_chain(const std::string& name) {
        ipt_request r;
        const std::string words[] = {"-N", name};
        bool changed = false;
        return ipt_parse(x_, words, &r) && ipt_execute(x_, *draft_, r, &changed);
    }
    static bool counters(std::string_view text, xt_counters* to) {
        size_t colon = text.find(':');
        if (text.size() < 5 || text.front() != '[' || text.back() != ']' ||
            colon == std::string_view::npos)
            return false;
        auto p = ipt_number(text.substr(1, colon - 1), UINT64_MAX),
             b = ipt_number(text.substr(colon + 1, text.size() - colon - 2), UINT64_MAX);
        if (p && b)
            *to = {*p, *b};
        return p && b;
    }
    bool command_line(std::string_view text) {
        xt_counters n;
        std::vector<std::string> words;
        const bool counted = text[0] == '[';
        if (counted) {
            size_t end = text.find(']');
            if (end == std::string_view::npos || !counters(text.substr(0, end + 1), &n))
                return bad(text, "invalid counters");
            text.remove_prefix(end + 1);
        }
        if (!restore_words(text, &words))
            return bad(text, "a quote is not closed");
        ipt_request r;
        bool changed = false;
        if (!ipt_parse(x_, words, &r))
            return false;
        if (r.verb == 'h' || r.verb == 'V')
            return bad(words[0], "no command specified");
        if (counted && o_.counters && !r.counters)
            r.counters = n;
        return ipt_execute(x_, *draft_, r, &changed);
    }

    ipt_context x_;
    const restore_options& o_;
    ipt_net::slot* slot_ = nullptr;
    std::unique_ptr<ipt_table> draft_;
    std::vector<std::pair<xt_counter*, xt_counters>> counters_; ///< of policies, set on COMMIT
    unsigned line_ = 0;
};

bool read_options(ipt_context& x, std::span<const std::string> words, restore_options* o) {
    for (size_t i = 0; i < words.size(); ++i) {
        const std::string& w = words[i];
        if (w == "-n" || w == "--noflush")
            o->noflush = true;
        else if (w == "-c" || w == "--counters")
            o->counters = true;
        else if (w == "-t" || w == "--test")
            o->test = true;
        else if ((w == "-T" || w == "--table") && i + 1 < words.size())
            o->table = words[++i];
        else if (w == "-w" || w == "--wait" || w == "-v" || w == "--verbose")
            continue;
        else if (!w.starts_with("-") && o->file.empty())
            o->file = w;
        else
            return x.problem(w, fmt::format("unknown option \"{}\"", w));
    }
    return true;
}

} // namespace

bool iptables_restore(command& c, std::string_view text, std::span<const std::string> options) {
    ipt_context x{c, "iptables-restore"};
    restore_options o;
    return read_options(x, options, &o) && restoration(c, o).run(text);
}

bool iptables_restore_command(command& c, std::span<const std::string> words) {
    ipt_context x{c, "iptables-restore"};
    restore_options o;
    if (!read_options(x, words, &o))
        return false;
    if (o.file.empty())
        return x.problem("", "a file is wanted: what iptables-save has printed");
    std::ifstream in(o.file);
    std::stringstream text;
    text << in.rdbuf();
    if (!in)
        return c.fail(1, o.file, fmt::format("Can't open {}: {}\n", o.file, strerror(errno)));
    return restoration(c, o).run(text.str());
}

} // namespace slabfwd
