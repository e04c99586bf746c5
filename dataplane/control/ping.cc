// SPDX-License-Identifier: BSD-3-Clause
//
// `ping [-c N] [-i SEC] [-s SIZE] [-W SEC] [-w SEC] [-t TTL] [-Q TOS] [-I ADDR|DEV] [-M do|dont]
// [-qnb] DST`: echo requests made by worker slot 0 (ip_route_output_key, ip_local_out, LOCAL_OUT),
// replies and errors taken on whatever slot they come in, printed as ping does. Threads: the job on
// the control thread; replies cross in a bounded queue under a mutex (they are few). Origin of
// options and words: iputils 20221126 (ping.c, ping_common.c).
#include <algorithm>
#include <bitset>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <mutex>
#include <optional>
#include <sys/eventfd.h>
#include <unistd.h>
#include <unordered_map>

#include "dataplane/control/job.h"
#include "dataplane/control/values.h"
#include "dataplane/ip/ip.h"
#include "neigh/softnet.h"

namespace slabfwd {

namespace {

constexpr uint64_t USEC = 1000;
constexpr size_t MAX_ANSWERS = 4096;
constexpr unsigned TIME_SIZE = 16; ///< data it takes for ping to show times

struct ping_options {
    be32_t dst{}, src{};
    std::string name, device;
    net_device* oif = nullptr;
    uint64_t count = 0, size = 56, interval_ns = NSEC_PER_SEC, linger_ns = 10 * NSEC_PER_SEC,
             deadline_ns = 0;
    unsigned ttl = 0, tos = 0;
    bool quiet = false, broadcast = false, df = false;
};

/// What came back.
struct answer {
    bool error = false;
    uint16_t seq = 0;
    be32_t from{};
    uint8_t ttl = 0, type = 0, code = 0;
    uint32_t len = 0, rest = 0;
    uint64_t at = 0;
};

/// One echo request to be made on a worker's slot.
struct send_request {
    net* n;
    const ping_options* o;
    be16_t id;
    uint16_t seq;
    int err = 0;
    be32_t saddr{};
};

/// Fills the packet's data, over segments, with `size` bytes of the pattern that ping sends.
bool put_payload(sk_buff* skb, uint64_t size) {
    rte_mbuf* head = skb_mbuf(skb);
    uint8_t pattern = 0;
    for (rte_mbuf* m = head; m && size; m = m->next) {
        auto room = uint64_t(m->buf_len) - m->data_off - m->data_len;
        auto len = uint16_t(std::min(room, size));
        uint8_t* to = static_cast<uint8_t*>(m->buf_addr) + m->data_off + m->data_len;
        for (uint16_t i = 0; i < len; ++i)
            to[i] = pattern++;
        m->data_len = uint16_t(m->data_len + len);
        head->pkt_len += len;
        size -= len;
    }
    return size == 0;
}

sk_buff* make_echo(const send_request& r) {
    auto size = unsigned(sizeof(icmphdr) + r.o->size);
    sk_buff* skb = alloc_skb(size);
    if (!skb)
        return nullptr;
    auto* icmp = reinterpret_cast<icmphdr*>(skb_put(skb, sizeof(icmphdr)));
    memset(icmp, 0, sizeof *icmp);
    icmp->type = ICMP_ECHO;
    icmp->un.echo.id = r.id;
    icmp->un.echo.sequence = cpu_to_be16(r.seq);
    if (!put_payload(skb, r.o->size)) {
        consume_skb(skb);
        return nullptr;
    }
    icmp->checksum.raw = csum_fold(skb_checksum(skb, 0, size, 0));
    return skb;
}

/// Runs on the worker's slot. seq 0 asks for the route only (as connect does).
void send_echo(void* info) {
    send_request& r = *static_cast<send_request*>(info);
    flowi4 fl4;
    fl4.daddr = r.o->dst;
    fl4.saddr = r.o->src;
    fl4.flowi4_oif = r.o->oif ? r.o->oif->ifindex : 0;
    fl4.flowi4_tos = uint8_t(r.o->tos) & INET_DSCP_MASK;
    fl4.flowi4_proto = IPPROTO_ICMP_;
    rtable* rt = ip_route_output_key(*r.n, &fl4, &r.err);
    if (!rt && !r.err)
        r.err = -ENETUNREACH;
    if (!rt)
        return;
    if (rt->rt_flags & RTCF_BROADCAST && !r.o->broadcast) {
        r.err = -EACCES;
        return;
    }
    if (!inetdev_valid_mtu(ipv4_mtu(&rt->dst))) {
        r.err = -ENETUNREACH;
        return;
    }
    r.saddr = fl4.saddr;
    if (!r.seq)
        return;
    sk_buff* skb = make_echo(r);
    if (!skb) {
        r.err = -ENOBUFS;
        return;
    }
    ICMP_INC_STATS(icmp_mib::OUTMSGS);
    this_softnet()->icmpmsg_out[ICMP_ECHO].inc();
    ip_build_and_send_pkt(*r.n, skb, rt, fl4, IPPROTO_ICMP_, nullptr, nullptr, uint8_t(r.o->tos),
                          uint8_t(r.o->ttl), r.o->df);
}

// --- options ------------------------------------------------------------------------------------

bool usage(command& c, std::string_view at, std::string text) {
    return c.fail(1, at, std::move(text));
}

bool take_number(command& c, const std::string& word, uint64_t min, uint64_t max, uint64_t* to) {
    auto v = parse_number(word, UINT64_MAX);
    if (!v)
        return usage(c, word, fmt::format("ping: invalid argument: '{}'\n", word));
    if (*v < min || *v > max)
        return usage(c, word,
                     fmt::format("ping: invalid argument: '{}': out of range: {} <= value <= {}\n",
                                 word, min, max));
    *to = *v;
    return true;
}

bool take_seconds(command& c, const std::string& word, uint64_t* ns) {
    double v = 0;
    auto [end, err] = std::from_chars(word.data(), word.data() + word.size(), v);
    if (err != std::errc() || end != word.data() + word.size() || !(v >= 0 && v < 2147483))
        return usage(c, word, fmt::format("ping: invalid argument: '{}'\n", word));
    *ns = uint64_t(v * 1e9);
    return true;
}

/// -I: an own address, or a device.
bool take_source(command& c, const std::string& word, ping_options* o) {
    if (std::ranges::count(word, '.') == 3 && parse_ipv4(word)) {
        o->src = *parse_ipv4(word);
        return inet_addr_type(c.n, o->src) == RTN_LOCAL ||
               c.fail(2, word, "ping: bind: Cannot assign requested address\n");
    }
    o->device = word;
    o->oif = word.size() < IFNAMSIZ_ ? dev_get_by_name(c.n, word.c_str()) : nullptr;
    return o->oif ||
           c.fail(2, word, fmt::format("ping: SO_BINDTODEVICE {}: No such device\n", word));
}

bool take_option(command& c, char flag, const std::string& value, ping_options* o) {
    uint64_t v = 0;
    switch (flag) {
    case 'c':
        return take_number(c, value, 1, INT64_MAX, &o->count);
    case 's':
        return take_number(c, value, 0, 65507, &o->size);
    case 't':
        if (!take_number(c, value, 0, 255, &v))
            return false;
        o->ttl = unsigned(v);
        return true;
    case 'Q':
        if (!take_number(c, value, 0, 255, &v))
            return false;
        o->tos = unsigned(v);
        return true;
    case 'i':
        if (!take_seconds(c, value, &o->interval_ns))
            return false;
        o->interval_ns = std::max(o->interval_ns, NSEC_PER_MSEC);
        return true;
    case 'W':
        return take_seconds(c, value, &o->linger_ns);
    case 'w':
        return take_seconds(c, value, &o->deadline_ns);
    case 'I':
        return take_source(c, value, o);
    case 'M':
        o->df = value == "do";
        return o->df || value == "dont" || value == "want" ||
               usage(c, value, fmt::format("ping: invalid -M argument: {}\n", value));
    }
    return false;
}

bool parse(command& c, std::span<const std::string> words, ping_options* o) {
    constexpr std::string_view with_value = "cstQiWwIM", without = "qnb4";
    for (size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (word.size() < 2 || word[0] != '-') {
            if (!o->name.empty())
                return usage(
                    c, word,
                    fmt::format("ping: usage error: more than one destination: {}\n", word));
            o->name = word;
            continue;
        }
        for (size_t at = 1; at < word.size(); ++at) {
            char flag = word[at];
            o->quiet |= flag == 'q';
            o->broadcast |= flag == 'b';
            if (without.find(flag) != std::string_view::npos)
                continue;
            if (with_value.find(flag) == std::string_view::npos)
                return usage(c, word, fmt::format("ping: invalid option -- '{}'\n", flag));
            std::string value = word.substr(at + 1);
            if (value.empty() && ++i < words.size())
                value = words[i];
            if (value.empty())
                return usage(c, word,
                             fmt::format("ping: option requires an argument -- '{}'\n", flag));
            if (!take_option(c, flag, value, o))
                return false;
            break;
        }
    }
    if (o->name.empty())
        return usage(c, "", "ping: usage error: Destination address required\n");
    auto dst = std::ranges::count(o->name, '.') == 3 ? parse_ipv4(o->name) : std::nullopt;
    if (!dst)
        return c.fail(2, o->name, fmt::format("ping: {}: Name or service not known\n", o->name));
    o->dst = *dst;
    return true;
}

// --- words --------------------------------------------------------------------------------------

/// Microseconds as ping shows a round trip.
std::string time_words(uint64_t us) {
    if (us >= 100000 - 50)
        return fmt::format("{} ms", (us + 500) / 1000);
    if (us >= 10000 - 5)
        return fmt::format("{}.{:01} ms", (us + 50) / 1000, ((us + 50) % 1000) / 100);
    if (us >= 1000)
        return fmt::format("{}.{:02} ms", (us + 5) / 1000, ((us + 5) % 1000) / 10);
    return fmt::format("{}.{:03} ms", us / 1000, us % 1000);
}

std::string error_words(const answer& a) {
    constexpr const char* unreachable[] = {"Destination Net Unreachable",
                                           "Destination Host Unreachable",
                                           "Destination Protocol Unreachable",
                                           "Destination Port Unreachable",
                                           "",
                                           "Source Route Failed",
                                           "Destination Net Unknown",
                                           "Destination Host Unknown",
                                           "Source Host Isolated",
                                           "Destination Net Prohibited",
                                           "Destination Host Prohibited",
                                           "Destination Net Unreachable for Type of Service",
                                           "Destination Host Unreachable for Type of Service",
                                           "Packet filtered",
                                           "Precedence Violation",
                                           "Precedence Cutoff"};
    switch (a.type) {
    case ICMP_DEST_UNREACH:
        if (a.code == ICMP_FRAG_NEEDED)
            return fmt::format("Frag needed and DF set (mtu = {})", a.rest & 0xffff);
        return a.code < std::size(unreachable)
                   ? unreachable[a.code]
                   : fmt::format("Dest Unreachable, Bad Code: {}", a.code);
    case ICMP_SOURCE_QUENCH:
        return "Source Quench";
    case ICMP_REDIRECT:
        return fmt::format("{}(New nexthop: {})", a.code ? "Redirect Host" : "Redirect Network",
                           format_ipv4(cpu_to_be32(a.rest)));
    case ICMP_TIME_EXCEEDED:
        return a.code ? "Frag reassembly time exceeded" : "Time to live exceeded";
    case ICMP_PARAMETERPROB:
        return fmt::format("Parameter problem: pointer = {}", a.rest >> 24);
    }
    return fmt::format("Bad ICMP type: {}", a.type);
}

// --- the job ------------------------------------------------------------------------------------

class ping_job final : public control_job {
public:
    ping_job(net& n, const ping_options& o, be16_t id)
        : n_(n), o_(o), event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        listener_.self.reply = [](ping_listener* self, const sk_buff* skb) {
            job_of(self)->take_reply(skb);
        };
        listener_.self.error = [](ping_listener* self, const sk_buff* skb) {
            job_of(self)->take_error(skb);
        };
        listener_.self.id = id;
        listener_.job = this;
        ping_listen(n_, &listener_.self);
    }
    ~ping_job() override {
        ping_listen(n_, nullptr);
        // A worker that has just seen the listener is through with it after its loop's next turn.
        synchronize_rcu(n_);
        close(event_);
    }

    void headline(control_output& to, be32_t saddr) const {
        std::string from;
        if (o_.src)
            from = fmt::format("from {} : ", format_ipv4(o_.src));
        else if (!o_.device.empty())
            from = fmt::format("from {} {}: ", format_ipv4(saddr), o_.device);
        to.out(fmt::format("PING {} ({}) {}{}({}) bytes of data.\n", o_.name, format_ipv4(o_.dst),
                           from, o_.size, o_.size + 28));
    }

    bool step(control_output& to, uint64_t now) override {
        uint64_t count;
        ssize_t got = read(event_, &count, sizeof count);
        (void)got;
        take_answers(to);
        if (!first_send_)
            first_send_ = next_send_ = now;
        if (stopping_ || finished(now))
            return close_with_statistics(to);
        if (more_to_send() && now >= next_send_) {
            send(to, now);
            next_send_ = std::max(next_send_ + o_.interval_ns, now);
        }
        return true;
    }
    uint64_t due() const override {
        uint64_t at = more_to_send() ? next_send_ : last_send_ + wait_ns();
        return o_.deadline_ns ? std::min(at, first_send_ + o_.deadline_ns) : at;
    }
    int event_fd() const override { return event_; }
    void interrupt() override { stopping_ = true; }

private:
    struct named_listener {
        ping_listener self; ///< first, so that the listener leads here
        ping_job* job = nullptr;
    };
    static ping_job* job_of(ping_listener* l) { return reinterpret_cast<named_listener*>(l)->job; }

    bool more_to_send() const { return !o_.count || sent_ < o_.count; }
    uint64_t wait_ns() const {
        return received_ ? std::max(2 * max_us_ * USEC, o_.interval_ns) : o_.linger_ns;
    }
    bool finished(uint64_t now) const {
        if (o_.deadline_ns && now >= first_send_ + o_.deadline_ns)
            return true;
        if (!o_.count || sent_ < o_.count)
            return false;
        return received_ + errors_ >= sent_ || now >= last_send_ + wait_ns();
    }
    void send(control_output& to, uint64_t now) {
        ++sent_;
        last_send_ = now;
        auto seq = uint16_t(sent_);
        if (!seq)
            seq = uint16_t(++skipped_); // 65536 is 0 on the wire; 0 asks for a route only
        sent_at_[seq] = monotonic_ns();
        send_request r{&n_, &o_, listener_.self.id, seq};
        smp_call_function_single(n_, 0, send_echo, &r);
        if (r.err) {
            ++errors_;
            to.err(fmt::format("ping: sendmsg: {}\n", strerror(-r.err)));
        }
    }
    void queue(const answer& a) {
        {
            std::lock_guard guard(lock_);
            if (answers_.size() >= MAX_ANSWERS)
                return;
            answers_.push_back(a);
        }
        uint64_t one = 1;
        ssize_t put = write(event_, &one, sizeof one);
        (void)put;
    }
    // The next two run on workers.
    void take_reply(const sk_buff* skb) {
        icmphdr icmp;
        if (!skb_copy_bits(skb, 0, &icmp, sizeof icmp))
            return;
        answer a;
        a.seq = be16_to_cpu(icmp.un.echo.sequence);
        a.from = ip_hdr(skb)->saddr;
        a.ttl = ip_hdr(skb)->ttl;
        a.len = skb_len(skb);
        a.at = monotonic_ns();
        queue(a);
    }
    void take_error(const sk_buff* skb) {
        iphdr inner;
        icmphdr echo, icmp;
        if (!skb_copy_bits(skb, 0, &inner, sizeof inner) ||
            !skb_copy_bits(skb, inner.hdr_len(), &echo, sizeof echo))
            return;
        memcpy(static_cast<void*>(&icmp), skb_transport_header(skb), sizeof icmp);
        answer a;
        a.error = true;
        a.seq = be16_to_cpu(echo.un.echo.sequence);
        a.from = ip_hdr(skb)->saddr;
        a.type = icmp.type;
        a.code = icmp.code;
        a.rest = be32_to_cpu(icmp.un.rest);
        queue(a);
    }
    void take_answers(control_output& to) {
        std::vector<answer> answers;
        {
            std::lock_guard guard(lock_);
            answers.swap(answers_);
        }
        for (const answer& a : answers) {
            if (a.error)
                print_error(to, a);
            else
                print_reply(to, a);
        }
    }
    void print_error(control_output& to, const answer& a) {
        if (a.type != ICMP_REDIRECT && a.type != ICMP_SOURCE_QUENCH)
            ++errors_;
        if (!o_.quiet)
            to.out(fmt::format("From {} icmp_seq={} {}\n", format_ipv4(a.from), a.seq,
                               error_words(a)));
    }
    void print_reply(control_output& to, const answer& a) {
        auto sent = sent_at_.find(a.seq);
        bool duplicate = sent == sent_at_.end();
        uint64_t us = duplicate ? 0 : (a.at - std::min(a.at, sent->second)) / USEC;
        if (duplicate) {
            ++duplicates_;
        } else {
            sent_at_.erase(sent);
            ++received_;
            min_us_ = std::min(min_us_, us);
            max_us_ = std::max(max_us_, us);
            sum_us_ += double(us);
            sum2_us_ += double(us) * double(us);
        }
        if (o_.quiet)
            return;
        std::string time = o_.size >= TIME_SIZE && !duplicate ? " time=" + time_words(us) : "";
        to.out(fmt::format("{} bytes from {}: icmp_seq={} ttl={}{}{}\n", a.len, format_ipv4(a.from),
                           a.seq, a.ttl, time, duplicate ? " (DUP!)" : ""));
    }
    bool close_with_statistics(control_output& to) {
        std::string s =
            fmt::format("\n--- {} ping statistics ---\n{} packets transmitted, {} received",
                        o_.name, sent_, received_);
        if (duplicates_)
            s += fmt::format(", +{} duplicates", duplicates_);
        if (errors_)
            s += fmt::format(", +{} errors", errors_);
        if (sent_)
            s += fmt::format(", {:g}% packet loss, time {}ms",
                             float(double(sent_ - received_) * 100.0 / double(sent_)),
                             (last_send_ - first_send_) / NSEC_PER_MSEC);
        s += "\n";
        if (received_ && o_.size >= TIME_SIZE) {
            double n = double(received_), avg = sum_us_ / n,
                   dev = std::sqrt(std::max(0.0, sum2_us_ / n - avg * avg));
            auto ms = [](double us) {
                return fmt::format("{}.{:03}", uint64_t(us) / 1000, uint64_t(us) % 1000);
            };
            s += fmt::format("rtt min/avg/max/mdev = {}/{}/{}/{} ms\n", ms(double(min_us_)),
                             ms(avg), ms(double(max_us_)), ms(dev));
        } else {
            s += "\n";
        }
        to.out(s);
        rc = received_ ? 0 : 1;
        return false;
    }

    net& n_;
    const ping_options o_;
    const int event_;
    named_listener listener_;
    bool stopping_ = false;
    uint64_t first_send_ = 0, last_send_ = 0, next_send_ = 0;
    uint64_t sent_ = 0, received_ = 0, errors_ = 0, duplicates_ = 0, skipped_ = 0;
    uint64_t min_us_ = UINT64_MAX, max_us_ = 0;
    double sum_us_ = 0, sum2_us_ = 0;
    std::unordered_map<uint16_t, uint64_t> sent_at_; ///< not yet answered
    std::mutex lock_;
    std::vector<answer> answers_; ///< under lock_
};

bool ping_running = false; ///< one at a time: the net has one listener

/// Gives the listener back when the job goes.
class single_ping final : public control_job {
public:
    explicit single_ping(std::unique_ptr<ping_job> job) : job_(std::move(job)) {
        ping_running = true;
    }
    ~single_ping() override { ping_running = false; }
    bool step(control_output& to, uint64_t now) override {
        bool more = job_->step(to, now);
        rc = job_->rc;
        return more;
    }
    uint64_t due() const override { return job_->due(); }
    int event_fd() const override { return job_->event_fd(); }
    void interrupt() override { job_->interrupt(); }

private:
    std::unique_ptr<ping_job> job_;
};

} // namespace

uint64_t monotonic_ns() {
    timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return uint64_t(ts.tv_sec) * NSEC_PER_SEC + uint64_t(ts.tv_nsec);
}

std::unique_ptr<control_job> ping_start(command& c, std::span<const std::string> words) {
    ping_options o;
    if (!parse(c, words, &o))
        return nullptr;
    if (ping_running) {
        c.fail(1, "ping", "ping: another ping is running\n");
        return nullptr;
    }
    send_request r{&c.n, &o, {}, 0};
    smp_call_function_single(c.n, 0, send_echo, &r);
    if (r.err == -EACCES && !o.broadcast) {
        c.fail(2, o.name,
               "ping: Do you want to ping broadcast? Then -b. If not, check your local firewall "
               "rules\n");
        return nullptr;
    }
    if (r.err) {
        c.fail(2, o.name, fmt::format("ping: connect: {}\n", strerror(-r.err)));
        return nullptr;
    }
    auto job = std::make_unique<ping_job>(c.n, o, cpu_to_be16(uint16_t(get_random_u32())));
    job->headline(c.to, r.saddr);
    return std::make_unique<single_ping>(std::move(job));
}

} // namespace slabfwd
