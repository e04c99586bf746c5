// SPDX-License-Identifier: BSD-3-Clause
//
// capture_writer over libpcap's dumper. pcap_dump() itself reports nothing: the stream is asked.
#include "dataplane/replay/capture_writer.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <pcap/pcap.h>
#include <rte_mbuf.h>

namespace slabfwd {

namespace {
constexpr int SNAPLEN = 262144; // what the tools write; longer than any frame
}

capture_writer::capture_writer(std::unique_ptr<output_file> file) : file_(std::move(file)) {}

capture_writer::~capture_writer() {
    if (dumper_)
        pcap_dump_close(dumper_);
    if (dead_)
        pcap_close(dead_);
}

tl::expected<std::unique_ptr<capture_writer>, std::string>
capture_writer::begin(std::unique_ptr<output_file> file) {
    std::unique_ptr<capture_writer> w(new capture_writer(std::move(file)));
    w->dead_ =
        pcap_open_dead_with_tstamp_precision(DLT_EN10MB, SNAPLEN, PCAP_TSTAMP_PRECISION_NANO);
    FILE* stream = w->dead_ ? w->file_->begin() : nullptr;
    if (stream)
        w->dumper_ = pcap_dump_fopen(w->dead_, stream); // closes the stream when it fails
    // Flushed, so that a place that takes no byte (a full disk) is found now, not at the end.
    if (!w->dumper_ || pcap_dump_flush(w->dumper_) != 0) {
        w->fail();
        return tl::unexpected(w->error_);
    }
    return w;
}

bool capture_writer::fail() {
    if (error_.empty())
        error_ = fmt::format("{}: {}", path(), std::strerror(errno));
    return false;
}

bool capture_writer::write(uint64_t ts_ns, const uint8_t* data, uint32_t len) {
    if (!error_.empty())
        return false;
    pcap_pkthdr header{};
    header.ts.tv_sec = time_t(ts_ns / 1'000'000'000);
    header.ts.tv_usec = suseconds_t(ts_ns % 1'000'000'000);
    header.caplen = header.len = len;
    errno = 0;
    pcap_dump(reinterpret_cast<u_char*>(dumper_), &header, data);
    if (std::ferror(pcap_dump_file(dumper_)))
        return fail();
    ++frames_;
    return true;
}

bool capture_writer::write(uint64_t ts_ns, const rte_mbuf* m) {
    if (m->nb_segs > 1)
        flat_.resize(m->pkt_len);
    auto* data = static_cast<const uint8_t*>(rte_pktmbuf_read(m, 0, m->pkt_len, flat_.data()));
    return write(ts_ns, data, m->pkt_len);
}

std::string capture_writer::finish() {
    if (dumper_) {
        if (pcap_dump_flush(dumper_) != 0)
            fail();
        pcap_dump_close(dumper_);
        dumper_ = nullptr;
        std::string late = file_->finish();
        if (error_.empty())
            error_ = late;
    }
    return error_;
}

} // namespace slabfwd
