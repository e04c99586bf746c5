// SPDX-License-Identifier: BSD-3-Clause
//
// `trace [N]`: prints the walks of the next N packets (all, until interrupted, without N). Each
// worker slot gets a tracer while this lasts: its packets then take the per-packet functions. A
// walk is written on the worker's thread into a buffer of bounded size; what does not fit is left
// out and counted. Threads: events on workers (mutex: nothing here is on the path of an untraced
// packet); the rest on the control thread.
#include <mutex>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vector>

#include "dataplane/control/job.h"
#include "dataplane/control/trace_format.h"
#include "dataplane/control/values.h"
#include "neigh/softnet.h"

namespace slabfwd {

namespace {

constexpr size_t TRACE_BUFFER = 1 << 20;
constexpr uint64_t FLUSH_NS = 50 * NSEC_PER_MSEC;

class trace_job;

/// The tracer of one slot.
struct slot_tracer {
    packet_tracer tracer;
    trace_job* job = nullptr;
    trace_formatter formatter;
    bool shown = false; ///< the packet on its way is one of the N
    std::string text;
};

class trace_job final : public control_job {
public:
    trace_job(net& n, uint64_t limit)
        : n_(n), limit_(limit), event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        slots_.resize(n.nr_workers);
        for (slot_tracer& s : slots_) {
            s.tracer.event = [](packet_tracer* self, const sk_buff* skb, const char* function,
                                const char* text) {
                auto* slot = reinterpret_cast<slot_tracer*>(self);
                slot->job->take(*slot, skb, function, text);
            };
            s.job = this;
        }
        set_tracers(true);
    }
    ~trace_job() override {
        set_tracers(false);
        close(event_);
    }

    bool step(control_output& to, uint64_t now) override {
        uint64_t count;
        ssize_t got = read(event_, &count, sizeof count);
        (void)got;
        bool done;
        {
            std::lock_guard guard(lock_);
            for (slot_tracer& s : slots_) {
                if (!to.congested())
                    to.out(s.text);
                else if (!s.text.empty())
                    ++left_out_;
                s.text.clear();
            }
            // The last of the N walks is whole once it was quiet for a while.
            done = stopping_ || (limit_ && begun_ >= limit_ && now >= last_event_ + FLUSH_NS);
        }
        due_ = now + FLUSH_NS;
        if (done && left_out_)
            to.err(fmt::format("trace: {} steps were left out: the reader does not keep up\n",
                               left_out_));
        return !done;
    }
    uint64_t due() const override { return due_; }
    int event_fd() const override { return event_; }
    void interrupt() override { stopping_ = true; }

private:
    void set_tracers(bool on) {
        for (unsigned cpu = 0; cpu < n_.nr_workers; ++cpu) {
            packet_tracer* tracer = on ? &slots_[cpu].tracer : nullptr;
            smp_call_function_single(
                n_, cpu,
                [](void* info) { this_softnet()->tracer = static_cast<packet_tracer*>(info); },
                tracer);
        }
    }
    /// One step of a packet on a worker.
    void take(slot_tracer& s, const sk_buff* skb, const char* function, const char* text) {
        std::lock_guard guard(lock_);
        if (s.formatter.begins_packet(skb, function)) {
            s.shown = !limit_ || begun_ < limit_;
            if (s.shown)
                ++begun_;
        }
        std::string line = s.formatter.event(skb, function, text);
        if (!s.shown)
            return;
        last_event_ = monotonic_ns();
        if (s.text.size() > TRACE_BUFFER) {
            ++left_out_;
            return;
        }
        s.text += line;
        if (s.text.size() == line.size()) {
            uint64_t one = 1;
            ssize_t put = write(event_, &one, sizeof one);
            (void)put;
        }
    }

    net& n_;
    const uint64_t limit_;
    const int event_;
    std::vector<slot_tracer> slots_;
    uint64_t due_ = 0;
    bool stopping_ = false;
    std::mutex lock_; ///< guards what follows and the slots' text
    uint64_t begun_ = 0, left_out_ = 0, last_event_ = 0;
};

} // namespace

std::unique_ptr<control_job> trace_start(command& c, std::span<const std::string> words) {
    uint64_t limit = 0;
    if (words.size() > 1) {
        c.fail(1, words[1], fmt::format("trace: \"{}\" is too much: trace [N]\n", words[1]));
        return nullptr;
    }
    if (!words.empty()) {
        auto v = parse_number(words[0], UINT32_MAX);
        if (!v || !*v) {
            c.fail(1, words[0], fmt::format("trace: invalid number of packets: '{}'\n", words[0]));
            return nullptr;
        }
        limit = *v;
    }
    for (unsigned cpu = 0; cpu < c.n.nr_workers; ++cpu)
        if (READ_ONCE(c.n.softnet[cpu]->tracer)) {
            c.fail(1, "trace", "trace: somebody else is tracing\n");
            return nullptr;
        }
    return std::make_unique<trace_job>(c.n, limit);
}

} // namespace slabfwd
