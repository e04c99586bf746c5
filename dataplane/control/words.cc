// SPDX-License-Identifier: BSD-3-Clause
//
// The splitter: one pass, a state for each kind of quote.
#include "dataplane/control/words.h"

#include <fmt/format.h>

namespace slabfwd {

namespace {

constexpr std::string_view SH_OPERATORS = "$;|&<>`()";

std::string refused(char c) {
    return fmt::format("\"{}\" has a meaning to sh that is not taken here; quote it if it is meant",
                       c);
}

/// One walk over a line.
class splitter {
public:
    explicit splitter(std::string_view line) : line_(line) {}

    tl::expected<std::vector<std::string>, std::string> run() {
        for (at_ = 0; at_ < line_.size() && !comment_; ++at_)
            if (!take(line_[at_]))
                return tl::unexpected(error_);
        end_word();
        return std::move(words_);
    }
    bool continues() {
        for (at_ = 0; at_ < line_.size() && !comment_; ++at_)
            if (!take(line_[at_]))
                return false;
        return continued_;
    }

private:
    bool fail(std::string text) {
        error_ = std::move(text);
        return false;
    }
    void end_word() {
        if (in_word_)
            words_.push_back(std::move(word_));
        word_.clear();
        in_word_ = false;
    }
    void put(char c) {
        word_ += c;
        in_word_ = true;
    }
    bool take(char c) {
        if (c == '\0')
            return fail("a NUL byte");
        switch (c) {
        case ' ':
        case '\t':
        case '\n':
            end_word();
            return true;
        case '#':
            if (in_word_)
                put(c);
            else
                comment_ = true;
            return true;
        case '\'':
            return single_quotes();
        case '"':
            return double_quotes();
        case '\\':
            return backslash();
        }
        if (SH_OPERATORS.find(c) != std::string_view::npos)
            return fail(refused(c));
        put(c);
        return true;
    }
    bool single_quotes() {
        size_t end = line_.find('\'', at_ + 1);
        if (end == std::string_view::npos)
            return fail("unterminated quote (')");
        word_ += line_.substr(at_ + 1, end - at_ - 1);
        in_word_ = true;
        at_ = end;
        return true;
    }
    bool double_quotes() {
        in_word_ = true;
        for (++at_; at_ < line_.size(); ++at_) {
            char c = line_[at_];
            if (c == '"')
                return true;
            if (c == '$' || c == '`')
                return fail(refused(c));
            if (c == '\\' && at_ + 1 < line_.size() &&
                std::string_view("$`\"\\\n").find(line_[at_ + 1]) != std::string_view::npos) {
                c = line_[++at_];
                if (c == '\n')
                    continue;
            }
            word_ += c;
        }
        return fail("unterminated quote (\")");
    }
    bool backslash() {
        if (at_ + 1 == line_.size()) {
            continued_ = true;
            return true;
        }
        char c = line_[++at_];
        if (c != '\n')
            put(c);
        return true;
    }

    std::string_view line_;
    size_t at_ = 0;
    bool in_word_ = false, comment_ = false, continued_ = false;
    std::string word_, error_;
    std::vector<std::string> words_;
};

} // namespace

tl::expected<std::vector<std::string>, std::string> split_words(std::string_view line) {
    return splitter(line).run();
}

bool line_continues(std::string_view line) {
    return splitter(line).continues();
}

} // namespace slabfwd
