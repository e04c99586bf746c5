// SPDX-License-Identifier: BSD-3-Clause
//
// The table of commands, and the loading of a file of them.
#include <algorithm>
#include <cerrno>
#include <fstream>
#include <mutex>
#include <poll.h>
#include <sys/stat.h>

#include "dataplane/control/control.h"
#include "dataplane/control/ip_commands.h"
#include "dataplane/control/iptables.h"
#include "dataplane/control/job.h"
#include "dataplane/control/proc.h"
#include "dataplane/control/slab_files.h"
#include "dataplane/control/sysctl.h"
#include "neigh/softnet.h"
#include "route/route.h"

namespace slabfwd {

namespace {

bool help_command(command& c, std::span<const std::string> words);

struct command_entry {
    const char* name;
    const char* synopsis;
    const char* about;
    bool (*run)(command& c, std::span<const std::string> words);
    std::unique_ptr<control_job> (*start)(command& c, std::span<const std::string> words) = nullptr;
};

constexpr command_entry commands[] = {
    {"ip", "[ OPTIONS ] OBJECT { COMMAND | help }", "links, addresses, routes, rules, neighbours",
     ip_command},
    {"sysctl", "[ -w ] [ -aenNqr ] KEY[=VALUE]...", "tunables", sysctl_command},
    {"iptables", "[ -t TABLE ] -A|-I|-D|-R|-C|-L|-S|-F|-Z|-N|-X|-E|-P ...", "packet filter",
     iptables_command},
    {"iptables-save", "[ -c ] [ -t TABLE ]", "the packet filter as text", iptables_save_command},
    {"iptables-restore", "[ -n ] [ -c ] [ -t ] [ -T TABLE ] FILE",
     "the packet filter from text, each table at once", iptables_restore_command},
    {"cat", "/proc/... | /sys/kernel/slab/NAME/ATTR", "the files that scripts read", cat_command},
    {"echo", "WORD... FILE", "write to /proc/slabinfo or /sys/kernel/slab/NAME/ATTR", echo_command},
    {"ls", "[ -j ] [ /sys/kernel/slab[/NAME] ]", "caches and their attributes", ls_command},
    {"slabinfo", "[ -j ] | detail [ NAME... ] | tune NAME LIMIT BATCHCOUNT SHARED",
     "the slab caches", slabinfo_command},
    {"slabtop", "[ -o ] [ -j ] [ -d SEC ] [ -s KEY ]", "the slab caches, refreshed",
     slabtop_command},
    {"rt_cache", "[ -j ]", "the route cache: totals and entries", rt_cache_command},
    {"snmp", "[ -j ] [ -a ]", "protocol counters that are not zero", snmp_command},
    {"drops", "[ -j ] [ -a ]", "dropped packets by reason", drops_command},
    {"ping", "[ -c N ] [ -i SEC ] [ -s SIZE ] [ -W SEC ] [ -t TTL ] [ -I ADDR ] DST",
     "echo requests from here", nullptr, ping_start},
    {"trace", "[ N ]", "the walk of the next N packets by kernel function", nullptr, trace_start},
    {"stages", "[ -j ] [ -d SEC ]",
     "cycles a packet costs at each stage, over the next SEC seconds (1)", nullptr, stages_start},
    {"help", "[ COMMAND ]", "this, or what an ip object takes", help_command},
};

bool help_command(command& c, std::span<const std::string> words) {
    std::string text;
    if (!words.empty())
        if (const object* o =
                find_object(words[0] == "ip" && words.size() > 1 ? words[1] : words[0])) {
            c.to.out(usage_of(*o));
            return true;
        }
    for (const command_entry& e : commands)
        if (words.empty() || words[0] == e.name)
            text += fmt::format("  {} {}\n      {}\n", e.name, e.synopsis, e.about);
    if (text.empty())
        return c.fail(1, words[0], fmt::format("help: no command \"{}\"\n", words[0]));
    if (words.empty()) {
        text = "Commands:\n" + text + "Files of cat:";
        for (const char* path : proc_files())
            text += fmt::format(" {}", path);
        text += "\n";
    }
    c.to.out(text);
    return true;
}

/// Options in front of the command (`-j ip route`) belong to it.
std::span<const std::string> leading_options(command& c, std::span<const std::string> words) {
    for (; !words.empty() &&
           (words[0] == "-j" || words[0] == "-p" || words[0] == "-s" || words[0] == "-d");
         words = words.subspan(1)) {
        c.opt.json |= words[0] == "-j";
        c.opt.pretty |= words[0] == "-p";
        c.opt.statistics += words[0] == "-s";
        c.opt.details += words[0] == "-d";
    }
    return words;
}

/// Runs words as a command of c; a job when it is one. c.rc is the exit status otherwise.
std::unique_ptr<control_job> dispatch(command& c, std::span<const std::string> words) {
    std::lock_guard rtnl(c.n.rtnl);
    words = leading_options(c, words);
    if (words.empty()) {
        c.fail(1, "", "no command is given; try \"help\"\n");
        return nullptr;
    }
    std::string_view name = words[0];
    for (std::string_view path : {"/sbin/", "/usr/sbin/", "/bin/", "/usr/bin/"})
        if (name.starts_with(path))
            name.remove_prefix(path.size());
    auto e = std::ranges::find_if(commands,
                                  [&](const command_entry& entry) { return name == entry.name; });
    if (e == std::end(commands)) {
        c.fail(1, words[0], fmt::format("{}: command not found; try \"help\"\n", words[0]));
        return nullptr;
    }
    if (e->start)
        return e->start(c, words.subspan(1));
    e->run(c, words.subspan(1));
    return nullptr;
}

/// What a command says of its failure, on one line.
std::string one_line(std::string text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
        text.pop_back();
    std::ranges::replace(text, '\n', ' ');
    return text;
}

// A usage text is no reason for a file: its first line is.
std::string reason_of(const command& c) {
    std::string text =
        c.reason.starts_with("Usage:") || c.reason.find("\nUsage:") != std::string::npos
            ? "the command is not complete"
            : c.reason;
    return one_line(text);
}

/// One logical line of a file, its words in hand.
tl::expected<void, std::string> execute_line(net& n, const std::string& text, std::string at) {
    auto words = split_words(text);
    if (!words)
        return tl::unexpected(fmt::format("{}: {}: {}", at, one_line(text), words.error()));
    if (words->empty())
        return {};
    control_result result;
    string_output to(result);
    command c(n, to);
    if (auto job = dispatch(c, *words); job)
        c.fail(1, (*words)[0], fmt::format("{} is not for a file", (*words)[0]));
    if (c.rc)
        return tl::unexpected(
            fmt::format("{}: {}: {}", at, c.word.empty() ? (*words)[0] : c.word, reason_of(c)));
    if (!result.err.empty())
        fmt::print(stderr, "{}: {}", at, result.err);
    return {};
}

} // namespace

std::unique_ptr<control_job> control_begin(net& n, std::span<const std::string> words,
                                           control_output& to, int* rc) {
    n.rcu.online(n.control_cpu());
    command c(n, to);
    auto job = dispatch(c, words);
    *rc = c.rc;
    if (c.rc)
        to.err(c.reason);
    return job;
}

int control_execute(net& n, std::span<const std::string> words, control_output& to) {
    int rc = 0;
    auto job = control_begin(n, words, to, &rc);
    while (job && job->step(to, monotonic_ns())) {
        n.rcu.offline(n.control_cpu());
        uint64_t now = monotonic_ns(), due = job->due();
        int timeout =
            due <= now ? 0 : int(std::min<uint64_t>((due - now) / NSEC_PER_MSEC + 1, 1000));
        pollfd p{job->event_fd(), POLLIN, 0};
        poll(&p, 1, timeout);
        n.rcu.online(n.control_cpu());
    }
    return job ? job->rc : rc;
}

control_result control_execute(net& n, std::span<const std::string> words) {
    control_result result;
    string_output to(result);
    result.rc = control_execute(n, words, to);
    return result;
}

control_result control_execute(net& n, std::string_view line) {
    auto words = split_words(line);
    if (!words)
        return {.rc = 2, .out = {}, .err = fmt::format("{}\n", words.error())};
    return control_execute(n, *words);
}

tl::expected<void, std::string> control_load_file(net& n, const std::string& path) {
    struct stat st;
    if (stat(path.c_str(), &st) < 0)
        return tl::unexpected(fmt::format("{}: {}", path, strerror(errno)));
    if (S_ISDIR(st.st_mode))
        return tl::unexpected(fmt::format("{}: {}", path, strerror(EISDIR)));
    std::ifstream in(path);
    if (!in)
        return tl::unexpected(fmt::format("{}: {}", path, strerror(errno)));
    n.rcu.online(n.control_cpu());
    struct batch {
        net& n;
        explicit batch(net& of) : n(of) {
            rt_genid_batch_begin(n);
            ipt_batch_begin(n);
        }
        ~batch() {
            ipt_batch_end(n);
            rt_genid_batch_end(n);
        }
    } one_generation(n);
    std::string line, joined;
    unsigned number = 0, first = 0;
    while (std::getline(in, line)) {
        ++number;
        if (joined.empty())
            first = number;
        joined += line;
        if (line_continues(joined)) {
            joined.pop_back();
            continue;
        }
        if (auto done = execute_line(n, joined, fmt::format("{}:{}", path, first)); !done)
            return done;
        joined.clear();
    }
    if (in.bad())
        return tl::unexpected(fmt::format("{}: {}", path, strerror(EIO)));
    return joined.empty() ? tl::expected<void, std::string>()
                          : execute_line(n, joined, fmt::format("{}:{}", path, first));
}

} // namespace slabfwd
