// SPDX-License-Identifier: BSD-3-Clause
//
// capture_reader over libpcap, which reads from a stream of our own (input_stream): it inflates,
// and knows a damage from an end, which libpcap cannot.
#include "dataplane/replay/capture_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>
#include <pcap/pcap.h>

#include "dataplane/replay/input_stream.h"

namespace slabfwd {

struct capture_reader::state {
    std::string path, error;
    std::unique_ptr<input_stream> stream;
    pcap_t* pcap = nullptr;
    uint64_t frames = 0;
    capture_status status = capture_status::FRAME;

    ~state() {
        if (pcap)
            pcap_close(pcap);
    }
};

namespace {

ssize_t stream_read(void* cookie, char* buf, size_t size) {
    auto* stream = static_cast<input_stream*>(cookie);
    size_t n = stream->read(buf, size);
    if (n || stream->error().empty())
        return ssize_t(n);
    errno = EIO;
    return -1;
}

/// Nanoseconds of a stamp. libpcap keeps the 32-bit seconds of a pcap file signed; they are not.
uint64_t stamp_ns(const pcap_pkthdr& h) {
    int64_t sec = h.ts.tv_sec < 0 ? int64_t(uint32_t(h.ts.tv_sec)) : int64_t(h.ts.tv_sec);
    sec = std::min<int64_t>(sec, INT64_MAX / 1'000'000'000 - 10);
    return uint64_t(sec) * 1'000'000'000 +
           uint64_t(std::clamp<int64_t>(h.ts.tv_usec, 0, 4'294'967'295));
}

} // namespace

capture_reader::capture_reader(std::unique_ptr<state> s) : s_(std::move(s)) {}
capture_reader::~capture_reader() = default;

tl::expected<std::unique_ptr<capture_reader>, std::string>
capture_reader::open(const std::string& path) {
    auto s = std::make_unique<state>();
    s->path = path;
    auto fail = [&](const std::string& why) {
        return tl::unexpected(fmt::format("{}: {}", path, why));
    };
    auto stream = input_stream::open(path);
    if (!stream)
        return fail(stream.error());
    s->stream = std::move(*stream);
    // libpcap closes the FILE, the stream behind it is ours.
    FILE* file = fopencookie(s->stream.get(), "rb", {stream_read, nullptr, nullptr, nullptr});
    if (!file)
        return fail(std::strerror(errno));
    char why[PCAP_ERRBUF_SIZE] = "";
    s->pcap = pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, why);
    if (!s->pcap) {
        std::fclose(file);
        return fail(s->stream->error().empty() ? why : s->stream->error());
    }
    if (int type = pcap_datalink(s->pcap); type != DLT_EN10MB) {
        const char* name = pcap_datalink_val_to_name(type);
        return fail(fmt::format("its link type is {}, Ethernet (EN10MB) is needed",
                                name ? name : std::to_string(type)));
    }
    return std::unique_ptr<capture_reader>(new capture_reader(std::move(s)));
}

capture_status capture_reader::next(captured_frame& frame) {
    state& s = *s_;
    if (s.status != capture_status::FRAME)
        return s.status;
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    int rc = pcap_next_ex(s.pcap, &header, &data);
    if (rc == 1) {
        ++s.frames;
        frame = {stamp_ns(*header), header->caplen, std::max(header->len, header->caplen), data, 0};
        return capture_status::FRAME;
    }
    std::string why = s.stream->error();
    if (why.empty() && rc != PCAP_ERROR_BREAK)
        why = pcap_geterr(s.pcap);
    s.status = why.empty() ? capture_status::END : capture_status::DAMAGED;
    if (!why.empty())
        s.error = fmt::format("{}: damaged after frame {}: {}", s.path, s.frames, why);
    return s.status;
}

const std::string& capture_reader::path() const {
    return s_->path;
}
const std::string& capture_reader::error() const {
    return s_->error;
}
uint64_t capture_reader::frames() const {
    return s_->frames;
}
uint64_t capture_reader::bytes_total() const {
    return s_->stream->bytes_total();
}
bool capture_reader::reopenable() const {
    return s_->stream->regular();
}

uint64_t capture_reader::bytes_consumed() const {
    return s_->stream->bytes_consumed();
}

// --- merging
// --------------------------------------------------------------------------------------

capture_merge::capture_merge(std::vector<std::unique_ptr<capture_reader>> readers) {
    for (auto& reader : readers)
        heads_.emplace_back().reader = std::move(reader);
}

void capture_merge::fill() {
    for (size_t i = 0; i < heads_.size(); ++i) {
        head& h = heads_[i];
        if (h.filled || h.done)
            continue;
        capture_status status = h.reader->next(h.frame);
        h.frame.input = unsigned(i);
        h.filled = status == capture_status::FRAME;
        h.done = !h.filled;
        if (status == capture_status::DAMAGED)
            damages_.push_back(h.reader->error());
    }
}

capture_merge::head* capture_merge::first() {
    fill();
    head* best = nullptr;
    for (head& h : heads_)
        if (h.filled && (!best || h.frame.ts_ns < best->frame.ts_ns))
            best = &h;
    return best;
}

const captured_frame* capture_merge::peek() {
    head* h = first();
    return h ? &h->frame : nullptr;
}

capture_status capture_merge::next(captured_frame& frame) {
    head* h = first();
    if (!h)
        return capture_status::END;
    h->filled = false;
    frame = h->frame;
    return capture_status::FRAME;
}

uint64_t capture_merge::bytes_consumed() const {
    uint64_t sum = 0;
    for (const head& h : heads_)
        sum += h.reader->bytes_consumed();
    return sum;
}

} // namespace slabfwd
