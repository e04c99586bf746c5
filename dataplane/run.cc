// SPDX-License-Identifier: BSD-3-Clause
//
// `slabfwd run`: a router on real or virtual ports until SIGINT or SIGTERM. The main thread is the control
// slot: it loads the configuration, serves the ctl socket and watches links.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <sys/eventfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "dataplane/control/control.h"
#include "dataplane/programs.h"
#include "dataplane/router.h"
#include "dataplane/slab_memory.h"
#include "dataplane/slab_options.h"
#include "dataplane/summary.h"

namespace slabfwd {

namespace {

struct run_options {
    std::string config, ctl, eal, cores, idle, json, slab_memory;
    std::vector<std::string> ports, hooks;
    bool no_huge = false, quiet = false;
    bool rps = false;
    uint16_t rxq = 0;
    uint32_t rhash_entries = 0;
    unsigned mbufs = 16383;
};

void describe(CLI::App& app, run_options& o) {
    app.name("slabfwd run");
    app.add_option("--config", o.config, "file of commands, one a line, as typed on Linux")->required();
    app.add_option("--port", o.ports, "NAME=DEVARGS: a port and its DPDK device (repeat for each)")
        ->required();
    app.add_option("--cores", o.cores, "CPUs of the worker threads, such as 1-3; they then poll");
    app.add_option("--idle", o.idle, "what an idle worker on virtual ports does: sleep (default) or poll")
        ->check(CLI::IsMember({"sleep", "poll"}));
    app.add_flag("--no-huge", o.no_huge, "do without hugepages (chosen by itself when there are none)");
    app.add_option("--ctl", o.ctl, "control socket (default $RUNTIME_DIRECTORY/slabfwd.sock or /run/slabfwd.sock)");
    app.add_option("--eal", o.eal, "further options for DPDK's environment, as one string");
    app.add_option("--rxq", o.rxq, "receive queues per port (default 1; on NICs with RSS one a worker)")
        ->check(CLI::Range(1, 64));
    app.add_flag("--rps", o.rps,
                 "where a port has fewer receive queues than there are workers, who receives a frame hands "
                 "it to the worker that its flow (pair of addresses) belongs to");
    app.add_option("--rhash-entries", o.rhash_entries, "buckets of the route cache (default: by memory)");
    app.add_option("--mbufs", o.mbufs, "packet buffers (default 16383)")->check(CLI::Range(1023, 1 << 22));
    add_slab_options(app);
    add_slab_memory_option(app, &o.slab_memory);
    app.add_option("--hook", o.hooks, "shared object with packet hooks (repeat)")->type_name("FILE.so");
    app.add_option("--json", o.json, "write the summary to FILE as JSON too");
    app.add_flag("--quiet", o.quiet, "no summary on standard output");
    add_slab_debug_options(app);
}

int stop_event = -1;

void on_signal(int) {
    uint64_t one = 1;
    ssize_t ignored = write(stop_event, &one, sizeof one);
    (void)ignored;
}

void catch_signals() {
    stop_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct sigaction sa {};
    sa.sa_handler = on_signal;
    sigaction(SIGINT, &sa, nullptr);
    sigaction(SIGTERM, &sa, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
}

int fail(const std::string& why) {
    std::fprintf(stderr, "slabfwd run: %s\n", why.c_str());
    return 1;
}

/// A device on PCI has a bus address in its name.
bool names_pci(const std::string& devargs) {
    return devargs.substr(0, devargs.find(',')).find(':') != std::string::npos;
}

tl::expected<std::vector<port_config>, std::string> parse_ports(const run_options& o) {
    std::vector<port_config> ports;
    for (const std::string& word : o.ports) {
        size_t eq = word.find('=');
        if (eq == std::string::npos || eq == 0 || eq + 1 == word.size())
            return tl::unexpected(fmt::format("--port {}: NAME=DEVARGS is wanted", word));
        ports.push_back({.name = word.substr(0, eq), .devargs = word.substr(eq + 1), .rxq = o.rxq});
    }
    return ports;
}

/// Everything between "tables exist" and "stopped": the exit status and the reason when not 0.
int serve(router& r, const run_options& o, const std::vector<port_config>& ports, std::string& why) {
    for (const port_config& c : ports)
        if (auto p = router_add_port(r, c); !p) {
            why = p.error();
            return 1;
        }
    if (auto loaded = router_load_hooks(r, o.hooks); !loaded) {
        why = loaded.error();
        return 1;
    }
    auto socket = control_listen(o.ctl);
    if (!socket) {
        why = socket.error();
        return 1;
    }
    if (auto loaded = control_load_file(r, o.config); !loaded) {
        why = loaded.error();
        return 1;
    }
    router_start(r);
    std::printf("ready\n");
    std::fflush(stdout);
    control_serve(r, **socket, stop_event);
    router_stop(r);
    return 0;
}

int report(const router_summary& s, const run_options& o) {
    if (!o.quiet)
        std::fputs(summary_text(s).c_str(), stdout);
    std::string why;
    if (!o.json.empty() && !(why = write_summary_json(s, o.json)).empty())
        return fail(why);
    return 0;
}

} // namespace

int run_main(int argc, char** argv) {
    run_options o;
    CLI::App app{"Forwards packets between ports until it is stopped by SIGINT or SIGTERM."};
    describe(app, o);
    CLI11_PARSE(app, argc, argv);
    auto ports = parse_ports(o);
    if (!ports)
        return fail(ports.error());
    eal_options eal{.no_huge = o.no_huge, .extra = {}};
    if (auto words = split_words(o.eal); words)
        eal.extra = *words;
    else
        return fail("--eal: " + words.error());
    router_options ro;
    ro.rhash_entries = o.rhash_entries;
    ro.nr_mbufs = o.mbufs;
    std::vector<int> cores;
    if (!o.cores.empty()) {
        auto list = parse_cores(o.cores);
        if (!list)
            return fail(list.error());
        cores = *list;
        ro.nr_workers = unsigned(cores.size());
    }
    ro.rps = o.rps;
    for (const port_config& c : *ports)
        eal.pci |= names_pci(c.devargs);
    catch_signals();
    if (auto started = eal_start(eal); !started)
        return fail(started.error());
    if (!o.slab_memory.empty())
        if (auto set = set_slab_memory(o.slab_memory); !set)
            return fail(set.error());
    auto made = router_create(ro);
    if (!made)
        return fail(made.error());
    router& r = **made;
    r.cores = cores;
    r.poll = !o.cores.empty() || o.idle == "poll";
    std::string why;
    int status = serve(r, o, *ports, why);
    router_quiesce(r);
    router_summary summary = collect_summary(r);
    std::string left = router_destroy(std::move(*made));
    summary_after_stop(summary);
    if (status)
        fail(why);
    else
        status = report(summary, o);
    if (!left.empty())
        status = fail("not given back at the end: " + left);
    eal_stop();
    return status;
}

} // namespace slabfwd
