// SPDX-License-Identifier: BSD-3-Clause
//
// The ctl server: one poll loop on the control thread. A client is a session: a request being
// received, a job that may be on its way, output that waits. Nothing a client does or leaves undone
// holds the loop: sockets are non-blocking, sizes and times have limits. Threads: control thread;
// its slot is offline for RCU while it waits.
#include <algorithm>
#include <cerrno>
#include <deque>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "dataplane/control/control.h"
#include "dataplane/control/job.h"
#include "dataplane/control/protocol.h"
#include "dataplane/netfilter/ip_tables.h"
#include "neigh/softnet.h"

namespace slabfwd {

namespace {

constexpr size_t CONGESTED = 1 << 20; ///< a stream leaves things out while more than this waits
/// For so long at most memory is freed before clients are served again, and no longer does what is
/// still to be freed wait for the next turn.
constexpr uint64_t FREE_NS = 500'000;

/// Output of one client: frames that wait for the socket.
class session_output final : public control_output {
public:
    session_output(int fd, const control_limits& limits) : fd_(fd), limits_(limits) {}

    void out(std::string_view text) override { put(FRAME_OUT, text); }
    void err(std::string_view text) override { put(FRAME_ERR, text); }
    bool congested() const override { return waiting_ > CONGESTED; }

    void exit_status(int rc) {
        int32_t status = rc;
        std::string_view bytes(reinterpret_cast<const char*>(&status), sizeof status);
        queue(make_frame(FRAME_EXIT, bytes));
        flush();
    }
    /// Sends what the socket takes; false when the client is gone.
    bool flush() {
        while (!frames_.empty()) {
            const std::string& f = frames_.front();
            ssize_t n =
                send(fd_, f.data() + offset_, f.size() - offset_, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n < 0)
                return errno == EAGAIN || errno == EINTR ? true : !(broken_ = true);
            progress_ = monotonic_ns();
            offset_ += size_t(n);
            waiting_ -= size_t(n);
            if (offset_ == f.size()) {
                frames_.pop_front();
                offset_ = 0;
            }
        }
        return true;
    }
    bool pending() const { return !frames_.empty(); }
    bool broken() const { return broken_; }
    uint64_t stuck_since() const { return progress_; }

private:
    void put(char type, std::string_view text) {
        for (; !text.empty() && !broken_;
             text.remove_prefix(std::min<size_t>(text.size(), FRAME_MAX_OUT)))
            queue(make_frame(type, text.substr(0, FRAME_MAX_OUT)));
        if (waiting_ >= FRAME_MAX_OUT)
            flush();
    }
    void queue(std::string frame) {
        if (waiting_ + frame.size() > limits_.output_bytes) {
            broken_ = true; // more than anybody may have waiting
            return;
        }
        if (frames_.empty())
            progress_ = monotonic_ns();
        waiting_ += frame.size();
        frames_.push_back(std::move(frame));
    }

    const int fd_;
    const control_limits& limits_;
    std::deque<std::string> frames_;
    size_t offset_ = 0, waiting_ = 0;
    uint64_t progress_ = 0;
    bool broken_ = false;
};

class session {
public:
    session(net& n, int fd, const control_limits& limits)
        : n_(n), fd_(fd), limits_(limits), out_(fd, limits), last_used_(monotonic_ns()) {}
    ~session() { close(fd_); }
    session(const session&) = delete;
    session& operator=(const session&) = delete;

    int fd() const { return fd_; }
    int job_fd() const { return job_ ? job_->event_fd() : -1; }
    /// While a command runs or its output waits, only interrupts are looked at.
    short events() const {
        return short((input_closed_ ? 0 : POLLIN) | (out_.pending() ? POLLOUT : 0));
    }
    bool idle() const { return !job_ && !out_.pending() && in_.empty(); }
    uint64_t last_used() const { return last_used_; }

    /// When the loop has to come by at the latest.
    uint64_t due() const {
        uint64_t at = UINT64_MAX;
        if (job_)
            at = job_->due();
        if (!in_.empty())
            at = std::min(at, request_since_ + limits_.request_ns);
        if (out_.pending())
            at = std::min(at, out_.stuck_since() + limits_.stuck_ns);
        return at;
    }
    /// One turn; false when the session is over.
    bool turn(short revents, bool job_event, uint64_t now) {
        if (revents & (POLLERR | POLLNVAL) || (revents & (POLLIN | POLLHUP) && !receive(now)))
            return false;
        if (revents & POLLHUP && input_closed_)
            return false; // closed both ways: nobody reads the rest
        if (!out_.flush() || out_.broken())
            return false;
        if (!requests(now))
            return false;
        if (job_ && (job_event || now >= job_->due() || interrupted_) && !job_->step(out_, now))
            end_command(job_->rc);
        if (!out_.flush() || out_.broken())
            return false;
        if (out_.pending() && now >= out_.stuck_since() + limits_.stuck_ns)
            return false;
        if (!in_.empty() && !job_ && now >= request_since_ + limits_.request_ns)
            return false;
        return !(input_closed_ && !job_ && !out_.pending());
    }

private:
    bool receive(uint64_t now) {
        char buffer[32768];
        ssize_t n = recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        if (n == 0) {
            input_closed_ = true; // one who only closed his side still gets his answer
            return true;
        }
        if (in_.empty())
            request_since_ = now;
        last_used_ = now;
        in_.append(buffer, size_t(n));
        return in_.size() <= 2 * (limits_.request_bytes + FRAME_HEADER) + sizeof buffer;
    }
    /// Takes whole frames from what was received; a batch is left for other clients now and then.
    bool requests(uint64_t now) {
        size_t at = 0;
        bool ok = true;
        while (ok && frame(now, at))
            ok = alive_;
        in_.erase(0, at);
        return alive_;
    }
    /// One frame at in_[at]; false when there is none to be taken now. alive_ tells whether the
    /// client may stay.
    bool frame(uint64_t now, size_t& at) {
        if (in_.size() - at >= FRAME_HEADER) {
            uint32_t len = frame_length(in_.data() + at);
            char type = in_[at + 4];
            if (len > limits_.request_bytes ||
                (type != FRAME_COMMAND && type != FRAME_BATCH && type != FRAME_INTERRUPT))
                return alive_ = false;
            if (in_.size() - at < FRAME_HEADER + len)
                return false;
            if (type == FRAME_INTERRUPT) {
                if (job_)
                    job_->interrupt();
                interrupted_ = bool(job_);
            } else {
                if (job_ || out_.pending())
                    return false; // one command at a time
                in_batch_ = type == FRAME_BATCH;
                batch_failed_ &= in_batch_;
                if (batch_failed_)
                    out_.exit_status(STATUS_SKIPPED);
                else if (!begin(std::string_view(in_).substr(at + FRAME_HEADER, len)))
                    return alive_ = false;
            }
            at += FRAME_HEADER + len;
            request_since_ = now;
            return true;
        }
        return false;
    }
    bool begin(std::string_view data) {
        std::vector<std::string> words;
        for (; !data.empty(); data.remove_prefix(words.back().size() + 1)) {
            size_t end = data.find('\0');
            if (end == std::string_view::npos || words.size() == limits_.request_words)
                return false;
            words.emplace_back(data.substr(0, end));
        }
        int rc = 0;
        job_ = control_begin(n_, words, out_, &rc);
        if (!job_)
            end_command(rc);
        return true;
    }
    void end_command(int rc) {
        job_.reset();
        interrupted_ = false;
        batch_failed_ |= in_batch_ && rc != 0;
        out_.exit_status(rc);
    }

    net& n_;
    const int fd_;
    const control_limits& limits_;
    session_output out_;
    std::unique_ptr<control_job> job_;
    std::string in_;
    uint64_t request_since_ = 0, last_used_;
    bool input_closed_ = false, interrupted_ = false, alive_ = true;
    bool in_batch_ = false;     ///< the command came by FRAME_BATCH
    bool batch_failed_ = false; ///< a command has failed: what a batch sent ahead is not executed
};

class server {
public:
    server(net& n, control_listener& socket, int stop_fd, const control_limits& limits)
        : n_(n), socket_(socket), stop_fd_(stop_fd), limits_(limits) {}

    void run(const std::function<void()>& turn, uint64_t turn_ns) {
        uint64_t next_turn = 0;
        for (;;) {
            uint64_t now = monotonic_ns();
            if (now >= next_turn) {
                if (turn)
                    turn();
                settle();
                next_turn = now + turn_ns;
            }
            const bool more = free_some();
            if (!wait(more ? std::min(next_turn, now + FREE_NS) : next_turn))
                return;
            serve();
        }
    }

private:
    /// Frees what commands took away, as fast as they do, for at most FREE_NS; true when more
    /// waits.
    static bool free_some() {
        softnet_data& sd = *this_softnet();
        const uint64_t end = monotonic_ns() + FREE_NS;
        while (rcu_do_batch(sd) && monotonic_ns() < end)
            ;
        return sd.rcu_wait || sd.rcu_next;
    }
    /// Once nobody has asked for anything since the last turn.
    void settle() {
        if (!std::exchange(served_, false)) {
            std::lock_guard rtnl(n_.rtnl);
            ipt_settle(n_);
        }
    }
    /// Waits for something to do; false when it is time to stop.
    bool wait(uint64_t next_turn) {
        polled_.assign({{stop_fd_, POLLIN, 0}, {socket_.fd(), POLLIN, 0}});
        uint64_t due = next_turn;
        for (auto& s : sessions_) {
            polled_.push_back({s->fd(), s->events(), 0});
            polled_.push_back({s->job_fd(), POLLIN, 0});
            due = std::min(due, s->due());
        }
        uint64_t now = monotonic_ns();
        uint64_t ns = due > now ? due - now : 0;
        timespec timeout{time_t(ns / NSEC_PER_SEC), long(ns % NSEC_PER_SEC)};
        n_.rcu.offline(n_.control_cpu());
        int ready = ppoll(polled_.data(), polled_.size(), &timeout, nullptr);
        n_.rcu.online(n_.control_cpu());
        if (ready < 0)
            for (pollfd& p : polled_)
                p.revents = 0;
        return !polled_[0].revents;
    }
    void serve() {
        uint64_t now = monotonic_ns();
        served_ |= std::ranges::any_of(polled_, [](const pollfd& p) { return p.revents != 0; });
        for (size_t i = 0; i < sessions_.size(); ++i) {
            short revents = polled_[2 + 2 * i].revents;
            if (!sessions_[i]->turn(revents, polled_[3 + 2 * i].revents, now))
                sessions_[i].reset();
        }
        std::erase(sessions_, nullptr);
        if (polled_[1].revents)
            accept_client();
    }
    void accept_client() {
        int fd = accept4(socket_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (sessions_.size() >= limits_.clients && !evict()) {
            close(fd);
            return;
        }
        sessions_.push_back(std::make_unique<session>(n_, fd, limits_));
    }
    /// Makes room: the idle session that said nothing for the longest time goes.
    bool evict() {
        auto oldest = sessions_.end();
        for (auto it = sessions_.begin(); it != sessions_.end(); ++it)
            if ((*it)->idle() &&
                (oldest == sessions_.end() || (*it)->last_used() < (*oldest)->last_used()))
                oldest = it;
        if (oldest == sessions_.end())
            return false;
        sessions_.erase(oldest);
        return true;
    }

    net& n_;
    control_listener& socket_;
    const int stop_fd_;
    const control_limits& limits_;
    std::vector<std::unique_ptr<session>> sessions_;
    std::vector<pollfd> polled_;
    bool served_ = false; ///< something was done since the last turn
};

} // namespace

void control_serve(net& n, control_listener& socket, int stop_fd, const std::function<void()>& turn,
                   uint64_t turn_ns, const control_limits& limits) {
    n.rcu.online(n.control_cpu());
    server(n, socket, stop_fd, limits).run(turn, turn_ns);
}

} // namespace slabfwd
