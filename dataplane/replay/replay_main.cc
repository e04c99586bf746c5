// SPDX-License-Identifier: BSD-3-Clause
//
// `slabfwd replay`: captures in, captures out. What goes wrong on the way is reported with exit
// status 1 (3: a mistake of our own: packets lost, memory left); what was replayed until then is
// written and summed up all the same. Door: replay_main. Threads: main alone.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>
#include <unistd.h>

#include "dataplane/control/control.h"
#include "dataplane/programs.h"
#include "dataplane/replay/player.h"
#include "dataplane/replay/trace_printer.h"
#include "dataplane/slab_memory.h"

namespace slabfwd {

namespace {

constexpr unsigned RING_SIZE = 4096; ///< takes all fragments of one packet at the smallest mtu
constexpr int EXIT_PROBLEM = 1, EXIT_INTERNAL = 3;

using error = tl::unexpected<std::string>;

std::atomic<int> caught_signal{0};

void catch_signals() {
    struct sigaction sa {};
    sa.sa_handler = [](int signal) { caught_signal = signal; };
    sa.sa_flags = int(SA_RESETHAND); // the second one ends it at once
    sigaction(SIGINT, &sa, nullptr);
    sigaction(SIGTERM, &sa, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN); // a file that grows too large is a write error
}

/// What went wrong, said as it is found, and the exit status that comes of it.
class problems {
public:
    void add(const std::string& text, int status = EXIT_PROBLEM) {
        std::fflush(stdout);
        std::fprintf(stderr, "slabfwd replay: %s\n", text.c_str());
        status_ = std::max(status_, status);
    }
    void add(const std::vector<std::string>& texts) {
        for (const std::string& text : texts)
            add(text);
    }
    int status() const { return status_; }

private:
    int status_ = 0;
};

tl::expected<void, std::string> start_eal(const replay_options& o) {
    auto words = split_words(o.eal);
    if (!words)
        return error("--eal: " + words.error());
    auto started = eal_start({.no_huge = o.no_huge, .extra = *words});
    if (started && !o.slab_memory.empty())
        if (auto set = set_slab_memory(o.slab_memory); !set)
            return error(set.error());
    return started;
}

tl::expected<void, std::string> configure(router& r, const replay_options& o) {
    for (const std::string& name : o.ports) {
        auto p = router_add_ring_port(r, name, RING_SIZE);
        if (!p)
            return error(p.error());
        (*p)->keep_mac = o.keep_mac;
    }
    if (auto hooks = router_load_hooks(r, o.hooks); !hooks)
        return hooks;
    if (auto loaded = control_load_file(r, o.config); !loaded)
        return error(loaded.error());
    return {};
}

void report_notes(const replay_engine& engine, problems& p) {
    if (engine.refused())
        p.add(fmt::format("{} frames could not be delivered: no packet buffers", engine.refused()));
    if (engine.cut())
        std::fprintf(
            stderr,
            "slabfwd replay: note: %llu frames were cut by the snap length of the capture and "
            "delivered as they are\n",
            static_cast<unsigned long long>(engine.cut()));
    if (int signal = caught_signal)
        p.add(fmt::format("interrupted ({}) after {} frames", strsignal(signal), engine.frames()),
              128 + signal);
}

/// From the configured router to its last packet.
router_summary play(router& r, const replay_options& o, capture_merge& inputs, uint64_t bytes,
                    replay_writers& w, problems& p) {
    trace_printer tracer;
    replay_sinks sinks{.out = std::vector<capture_writer*>(o.ports.size()),
                       .drops = w.drops.get(),
                       .tracer = o.trace ? &tracer : nullptr,
                       .trace_frames = o.trace.value_or(0),
                       .arp_answer = !o.no_arp_answer};
    for (size_t i = 0; i < o.out.size(); ++i)
        sinks.out[o.out[i].port] = w.ports[i].get();
    replay_engine engine(r, sinks);
    player all(o, engine, caught_signal, !o.quiet && !o.trace && isatty(STDERR_FILENO));
    p.add(all.play(inputs, bytes));
    if (!engine.finish())
        p.add(fmt::format("{} packets are still held when the clock has run on for a day",
                          router_held(r)));
    report_notes(engine, p);
    router_summary s = collect_summary(r);
    engine.exclude_simulated(s);
    return s;
}

/// Sums up after the router is gone: print, JSON, and is everything accounted for?
void report(router_summary& s, const replay_options& o, replay_outputs& files, problems& p) {
    summary_after_stop(s);
    if (!o.quiet)
        std::fputs(summary_text(s).c_str(), stdout);
    if (files.json)
        if (std::string why = write_all(*files.json, summary_json(s).dump(1) + "\n"); !why.empty())
            p.add(why);
    if (std::fflush(stdout) != 0)
        p.add(fmt::format("standard output: {}", std::strerror(errno)));
    if (std::string why; !balanced(s, &why))
        p.add("internal error: packets do not balance: " + why, EXIT_INTERNAL);
}

/// Everything after the EAL has started: inputs and outputs are open.
void replay(const replay_options& o, capture_readers readers, replay_outputs& files, problems& p) {
    uint64_t bytes = 0;
    bool pipes = false;
    for (const auto& r : readers) {
        bytes += r->bytes_total();
        pipes |= !r->reopenable();
    }
    capture_merge inputs(std::move(readers));
    const captured_frame* first = inputs.peek();
    auto r = router_create({.seed = o.seed, .clock_start_ns = first ? first->ts_ns : 0});
    if (!r)
        return p.add(r.error());
    std::optional<router_summary> summary;
    if (auto ready = configure(**r, o); !ready)
        p.add(ready.error());
    else if (auto writers = replay_writers::begin(files, o); !writers)
        p.add(writers.error());
    else {
        summary = play(**r, o, inputs, pipes ? 0 : bytes, *writers, p);
        p.add(writers->finish());
    }
    if (std::string left = router_destroy(std::move(*r)); !left.empty())
        p.add("internal error: not given back at the end: " + left, EXIT_INTERNAL);
    if (summary)
        report(*summary, o, files, p);
}

} // namespace

int replay_main(int argc, char** argv) {
    auto o = parse_replay_options(argc, argv);
    if (!o) {
        std::fputs(o.error().text.c_str(), o.error().status ? stderr : stdout);
        return o.error().status;
    }
    problems p;
    auto readers = open_inputs(*o);
    if (!readers) {
        p.add(readers.error());
        return p.status();
    }
    auto files = replay_outputs::open(*o);
    if (!files) {
        p.add(files.error());
        return p.status();
    }
    catch_signals();
    if (auto started = start_eal(*o); !started) {
        p.add(started.error());
        return p.status();
    }
    replay(*o, std::move(*readers), *files, p);
    eal_stop();
    return p.status();
}

} // namespace slabfwd
