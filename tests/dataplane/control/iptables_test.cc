// SPDX-License-Identifier: BSD-3-Clause
//
// The iptables commands: beside the real tool in a network namespace (rules in iptables_rules.txt,
// mistakes in iptables_mistakes.txt, one a line: status and text of each, then every listing), save
// and restore there and back, what is refused here only, and random lines. Needs root and iptables
// 1.8 on nf_tables for the comparison; skipped without. SLABFWD_FUZZ_SECONDS: how long the random
// lines go on.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <random>
#include <sstream>

#include "dataplane/control/iptables.h"
#include "tests/dataplane/control/control_net.h"

namespace slabfwd::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string slurp(const fs::path& p) {
    std::ifstream in(p);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> lines_of(const std::string& file) {
    std::ifstream in(SLABFWD_SOURCE_DIR "/tests/dataplane/control/" + file);
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);)
        lines.push_back("iptables " + line);
    EXPECT_FALSE(lines.empty()) << file;
    return lines;
}

/// The real tool, in a namespace of its own.
class linux_tool {
public:
    linux_tool()
        : name_("sfipt" + std::to_string(getpid())), dir_(fs::temp_directory_path() / name_) {
        fs::create_directory(dir_);
        ok_ = geteuid() == 0 && sh("ip netns add " + name_);
        ok_ = ok_ && sh("ip netns exec " + name_ + " iptables -V | grep -q 'v1.8.9 (nf_tables)'") &&
              sh("ip netns exec " + name_ + " iptables -S");
    }
    ~linux_tool() {
        sh("ip netns del " + name_);
        fs::remove_all(dir_);
    }
    bool ok() const { return ok_; }
    fs::path dir() const { return dir_; }
    std::vector<control_result> run(const std::vector<std::string>& lines) {
        std::ofstream script(dir_ / "script");
        script << "cd " << dir_.string() << "\nset -f\n";
        for (size_t i = 0; i < lines.size(); ++i)
            script << lines[i] << " >o" << i << " 2>e" << i << "; echo $? >r" << i << "\n";
        script.close();
        sh("ip netns exec " + name_ + " sh " + (dir_ / "script").string());
        std::vector<control_result> results;
        for (size_t i = 0; i < lines.size(); ++i) {
            std::string n = std::to_string(i), rc = slurp(dir_ / ("r" + n));
            results.push_back({rc.empty() ? -1 : std::stoi(rc), slurp(dir_ / ("o" + n)),
                               slurp(dir_ / ("e" + n))});
        }
        return results;
    }

private:
    static bool sh(const std::string& line) {
        return std::system(("{ " + line + "; } >/dev/null 2>&1").c_str()) == 0;
    }
    std::string name_;
    fs::path dir_;
    bool ok_ = false;
};

std::vector<std::string> listings() {
    std::vector<std::string> lines;
    for (const char* table : {"filter", "mangle", "raw"})
        for (const char* form : {"-S", "-vS", "-nL", "-nvL", "-nvxL", "-nL --line-numbers"})
            lines.push_back(std::string("iptables -t ") + table + " " + form);
    for (const char* line : {"iptables -t mangle -L", "iptables -S FORWARD 3", "iptables -nL u1",
                             "iptables -nvL FORWARD 12", "iptables -nL FORWARD 9999"})
        lines.push_back(line);
    return lines;
}

void compare(const std::vector<std::string>& lines) {
    linux_tool tool;
    if (!tool.ok())
        GTEST_SKIP() << "needs root and iptables v1.8.9 (nf_tables)";
    control_net r;
    auto theirs = tool.run(lines);
    for (size_t i = 0; i < lines.size(); ++i) {
        control_result ours = r.run(lines[i]);
        EXPECT_EQ(ours.rc, theirs[i].rc) << lines[i];
        EXPECT_EQ(ours.out, theirs[i].out) << lines[i];
        EXPECT_EQ(ours.err, theirs[i].err) << lines[i];
    }
}

TEST(BesideLinux, RulesAndTheirListings) {
    std::vector<std::string> lines = lines_of("iptables_rules.txt");
    lines.insert(lines.begin(), "iptables -N u1");
    for (const std::string& l : listings())
        lines.push_back(l);
    compare(lines);
}

TEST(BesideLinux, Mistakes) {
    std::vector<std::string> lines = lines_of("iptables_mistakes.txt");
    for (const char* first :
         {"iptables -A FORWARD -s 6.6.6.6", "iptables -A FORWARD -j u1", "iptables -N u1"})
        lines.insert(lines.begin(), first);
    lines.push_back("iptables -S");
    compare(lines);
}

/// A saved text without what differs by nature: comments, and counters of chains.
std::string bare(const std::string& text) {
    std::istringstream in(text);
    std::string to;
    for (std::string line; std::getline(in, line);)
        if (!line.starts_with("#"))
            to += line.substr(0, line.find(" [")) + "\n";
    return to;
}

void add_rules(control_net& r) {
    r.must("iptables -N u1");
    for (const std::string& line : lines_of("iptables_rules.txt"))
        r.run(line);
}

TEST(BesideLinux, SavedThereAndRestoredHereAndBack) {
    linux_tool tool;
    if (!tool.ok())
        GTEST_SKIP() << "needs root and iptables v1.8.9 (nf_tables)";
    control_net r;
    add_rules(r);
    fs::path ours = tool.dir() / "ours", theirs = tool.dir() / "theirs";
    for (const char* table : {"filter", "mangle", "raw"}) {
        std::string saved = r.must(std::string("iptables-save -c -t ") + table);
        std::ofstream(ours) << saved;
        auto done = tool.run(
            {"iptables-restore -c <" + ours.string(), std::string("iptables-save -c -t ") + table});
        EXPECT_EQ(done[0].rc, 0) << done[0].err;
        EXPECT_EQ(bare(done[1].out), bare(saved));
        std::ofstream(theirs) << done[1].out;
        control_net other;
        other.must("iptables-restore -c " + theirs.string());
        EXPECT_EQ(bare(other.must(std::string("iptables-save -c -t ") + table)), bare(saved));
    }
}

TEST(Save, RestoreGivesBackWhatWasSavedCountersToo) {
    control_net r;
    add_rules(r);
    r.must("iptables -I FORWARD 2 -c 7 700 -s 10.0.0.9 -m comment --comment \"a \\\"b\\\" c\" -j "
           "DROP");
    fs::path file = fs::temp_directory_path() / ("sfsave" + std::to_string(getpid()));
    std::ofstream(file) << r.must("iptables-save -c");
    control_net other;
    other.must("iptables-restore --counters " + file.string());
    for (const char* t : {"filter", "mangle", "raw"})
        EXPECT_EQ(other.must(std::string("iptables -vS -t ") + t),
                  r.must(std::string("iptables -vS -t ") + t));
    other.must("iptables -F");
    std::string before = other.must("iptables -vS");
    other.must("iptables-restore --test " + file.string()); // tries, and changes nothing
    EXPECT_EQ(other.must("iptables -vS"), before);
    fs::remove(file);
}

TEST(Save, ARestoreIsAllOrNothingForEachTable) {
    control_net r;
    r.must("iptables -A FORWARD -s 1.1.1.1 -j DROP");
    std::string before = r.must("iptables -S");
    control_result result;
    string_output to(result);
    command c(r.n, to);
    EXPECT_FALSE(iptables_restore(c,
                                  "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -j ACCEPT\n"
                                  "-A FORWARD -j NOWHERE\nCOMMIT\n",
                                  {}));
    EXPECT_EQ(c.rc, 2);
    EXPECT_THAT(c.reason, HasSubstr("Chain 'NOWHERE' does not exist"));
    EXPECT_THAT(c.reason, HasSubstr("line: 4"));
    EXPECT_EQ(r.must("iptables -S"), before);
    command d(r.n, to);
    const std::string noflush[] = {"-n"};
    EXPECT_TRUE(iptables_restore(d, "*filter\n-A FORWARD -s 2.2.2.2 -j DROP\nCOMMIT\n", noflush));
    EXPECT_THAT(r.must("iptables -S"),
                HasSubstr("-s 1.1.1.1/32 -j DROP\n-A FORWARD -s 2.2.2.2/32 -j DROP\n"));
    command e(r.n, to);
    EXPECT_FALSE(iptables_restore(e, "*filter\n-A FORWARD -j DROP\n", {}));
    EXPECT_THAT(e.reason, HasSubstr("COMMIT expected"));
}

TEST(Refused, WhatLinuxHasAndWeHaveNot) {
    control_net r;
    struct {
        const char *line, *word, *why;
    } cases[] = {{"-A FORWARD -m state --state NEW -j ACCEPT", "state", "connection tracking"},
                 {"-A FORWARD -m conntrack --ctstate NEW", "conntrack", "connection tracking"},
                 {"-A FORWARD -j QUEUE", "QUEUE", "user space"},
                 {"-t raw -A PREROUTING -j CT --zone 1", "--zone", "unknown option"},
                 {"-t raw -A PREROUTING -j CT", "CT", "not tracked"},
                 {"-t nat -A POSTROUTING -j MASQUERADE", "nat", "does not exist"},
                 {"-L nochain", "nochain", "No chain"},
                 {"-E FORWARD other", "FORWARD", "No chain"}};
    const std::string before = r.must("iptables -S");
    for (const auto& c : cases) {
        control_result result;
        string_output to(result);
        command cmd(r.n, to);
        auto words = split_words(c.line);
        EXPECT_FALSE(iptables_command(cmd, *words)) << c.line;
        EXPECT_NE(cmd.rc, 0);
        EXPECT_EQ(cmd.word, c.word) << c.line;
        EXPECT_THAT(cmd.reason, HasSubstr(c.why)) << c.line;
    }
    EXPECT_EQ(r.must("iptables -S"), before);
}

TEST(Refused, LoopsDepthAndPlacesOfExtensions) {
    control_net r;
    for (int i = 0; i < 20; ++i)
        r.must("iptables -N d" + std::to_string(i));
    for (int i = 0; i < 14; ++i)
        r.must("iptables -A d" + std::to_string(i) + " -j d" + std::to_string(i + 1));
    r.must("iptables -A FORWARD -j d0"); // d14 is 15 deep
    EXPECT_EQ(r.run("iptables -A d14 -j d15").rc, 4);
    EXPECT_EQ(r.run("iptables -A d14 -j d3").rc, 4);
    EXPECT_EQ(r.run("iptables -X d5").rc, 4);
    r.must("iptables -t mangle -N u");
    r.must(
        "iptables -t mangle -A u -p tcp --syn -j TCPMSS --clamp-mss-to-pmtu"); // nobody leads there
    r.must("iptables -t mangle -A FORWARD -j u");
    EXPECT_EQ(r.run("iptables -t mangle -A PREROUTING -j u").rc, 4); // no route there yet
    EXPECT_THAT(r.must("iptables -t mangle -S PREROUTING"), Not(HasSubstr("-j u")));
}

/// One change to a line: a word or a character gone, doubled, swapped or taken from another line.
std::string mutate(std::mt19937& rng, std::string line, const std::vector<std::string>& all) {
    auto words = [](const std::string& s) {
        std::istringstream in(s);
        return std::vector<std::string>{std::istream_iterator<std::string>(in), {}};
    };
    std::vector<std::string> w = words(line);
    for (unsigned n = 1 + rng() % 3; n && w.size() > 1; --n) {
        size_t at = 1 + rng() % (w.size() - 1);
        switch (rng() % 6) {
        case 0:
            w.erase(w.begin() + long(at));
            break;
        case 1:
            w.insert(w.begin() + long(at), w[1 + rng() % (w.size() - 1)]);
            break;
        case 2: {
            auto other = words(all[rng() % all.size()]);
            w.insert(w.begin() + long(at), other[rng() % other.size()]);
            break;
        }
        case 3:
            w[at][rng() % w[at].size()] = char(33 + rng() % 94);
            break;
        case 4:
            w[at].insert(rng() % w[at].size(), 1, "!/,:-+.0919xX*"[rng() % 14]);
            break;
        default: {
            auto other = words(all[rng() % all.size()]);
            w.insert(w.begin() + long(at), other.begin() + 1, other.end());
        }
        }
    }
    std::string to;
    for (const std::string& word : w)
        to += word + " ";
    return to;
}

std::string everything(control_net& r) {
    return r.must("iptables -S") + r.must("iptables -t mangle -S") + r.must("iptables -t raw -S");
}

TEST(Fuzz, RandomLinesAreCarriedOutOrRefusedAsAWhole) {
    const char* seconds = getenv("SLABFWD_FUZZ_SECONDS");
    auto end = std::chrono::steady_clock::now() +
               std::chrono::milliseconds(seconds ? atoi(seconds) * 1000 : 2000);
    std::vector<std::string> lines = lines_of("iptables_rules.txt"),
                             mistakes = lines_of("iptables_mistakes.txt");
    lines.insert(lines.end(), mistakes.begin(), mistakes.end());
    std::mt19937 rng(seconds ? unsigned(time(nullptr)) : 5);
    for (unsigned done = 0; std::chrono::steady_clock::now() < end; ++done) {
        control_net r;
        r.must("iptables -N u1");
        for (int i = 0; i < 300; ++i) {
            std::string line = mutate(rng, lines[rng() % lines.size()], lines);
            std::string before = i % 10 ? "" : everything(r);
            control_result result = r.run(line);
            if (result.rc) {
                EXPECT_FALSE(result.err.empty()) << line;
                EXPECT_TRUE(before.empty() || everything(r) == before) << line;
            }
            for (const char* t : {"filter", "mangle", "raw"})
                if (i % 50 == 0)
                    r.must(std::string("iptables -vL -t ") + t);
        }
        // What -S prints makes the same rules again.
        fs::path file = fs::temp_directory_path() / ("sffuzz" + std::to_string(getpid()));
        std::ofstream(file) << r.must("iptables-save");
        control_net other;
        control_result again = other.run("iptables-restore " + file.string());
        EXPECT_EQ(again.rc, 0) << again.err;
        EXPECT_EQ(everything(other), everything(r));
        fs::remove(file);
        if (HasFailure())
            break;
    }
}

} // namespace
} // namespace slabfwd::test
