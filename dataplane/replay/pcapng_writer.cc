// SPDX-License-Identifier: BSD-3-Clause
//
// pcapng_writer: blocks are built in a buffer and written whole, in the machine's byte order, which
// the section header's magic declares.
#include "dataplane/replay/pcapng_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include <fmt/format.h>

namespace slabfwd {

namespace {

constexpr uint32_t SECTION_HEADER = 0x0A0D0D0A, INTERFACE_DESCRIPTION = 1, ENHANCED_PACKET = 6;
constexpr uint32_t BYTE_ORDER_MAGIC = 0x1A2B3C4D;
constexpr uint16_t OPT_ENDOFOPT = 0, OPT_COMMENT = 1, SHB_USERAPPL = 4, IF_NAME = 2, IF_TSRESOL = 9;
constexpr uint16_t LINKTYPE_ETHERNET = 1;
constexpr uint8_t NANOSECONDS = 9;

template <class T>
void put(std::vector<uint8_t>& out, T value) {
    uint8_t bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    out.insert(out.end(), bytes, bytes + sizeof(T));
}

void put_padded(std::vector<uint8_t>& out, std::span<const uint8_t> bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
    out.resize((out.size() + 3) & ~size_t(3));
}

void put_option(std::vector<uint8_t>& out, uint16_t code, std::string_view value) {
    value = value.substr(0, UINT16_MAX);
    put(out, code);
    put(out, uint16_t(value.size()));
    put_padded(out, {reinterpret_cast<const uint8_t*>(value.data()), value.size()});
}

} // namespace

tl::expected<std::unique_ptr<pcapng_writer>, std::string>
pcapng_writer::begin(std::unique_ptr<output_file> file,
                     const std::vector<std::string>& interfaces) {
    std::unique_ptr<pcapng_writer> w(new pcapng_writer(std::move(file)));
    w->stream_ = w->file_->begin();
    if (w->stream_) {
        w->section_header();
        for (const std::string& name : interfaces)
            w->interface_description(name);
    }
    if (!w->stream_ || std::fflush(w->stream_) != 0)
        w->fail();
    if (!w->error_.empty())
        return tl::unexpected(w->error_);
    return w;
}

pcapng_writer::~pcapng_writer() {
    if (stream_)
        std::fclose(stream_);
}

void pcapng_writer::section_header() {
    put(body_, BYTE_ORDER_MAGIC);
    put(body_, uint16_t(1)); // version 1.0
    put(body_, uint16_t(0));
    put(body_, int64_t(-1)); // length of the section: not given
    put_option(body_, SHB_USERAPPL, "slabfwd");
    put_option(body_, OPT_ENDOFOPT, "");
    put_block(SECTION_HEADER);
}

void pcapng_writer::interface_description(const std::string& name) {
    put(body_, LINKTYPE_ETHERNET);
    put(body_, uint16_t(0));
    put(body_, uint32_t(0)); // no snap length
    put_option(body_, IF_NAME, name);
    put_option(body_, IF_TSRESOL, std::string_view(reinterpret_cast<const char*>(&NANOSECONDS), 1));
    put_option(body_, OPT_ENDOFOPT, "");
    put_block(INTERFACE_DESCRIPTION);
}

bool pcapng_writer::packet(unsigned interface, uint64_t ts_ns, const uint8_t* data, uint32_t caplen,
                           uint32_t len, std::string_view comment) {
    put(body_, uint32_t(interface));
    put(body_, uint32_t(ts_ns >> 32));
    put(body_, uint32_t(ts_ns));
    put(body_, caplen);
    put(body_, std::max(len, caplen));
    put_padded(body_, {data, caplen});
    put_option(body_, OPT_COMMENT, comment);
    put_option(body_, OPT_ENDOFOPT, "");
    packets_ += put_block(ENHANCED_PACKET);
    return error_.empty();
}

bool pcapng_writer::put_block(uint32_t type) {
    if (!error_.empty())
        return false;
    auto length = uint32_t(body_.size() + 12);
    errno = 0;
    bool good = std::fwrite(&type, sizeof type, 1, stream_) == 1 &&
                std::fwrite(&length, sizeof length, 1, stream_) == 1 &&
                std::fwrite(body_.data(), body_.size(), 1, stream_) == 1 &&
                std::fwrite(&length, sizeof length, 1, stream_) == 1;
    body_.clear();
    return good || fail();
}

bool pcapng_writer::fail() {
    if (error_.empty())
        error_ = fmt::format("{}: {}", file_->path(), std::strerror(errno));
    return false;
}

std::string pcapng_writer::finish() {
    if (stream_) {
        bool bad = std::fflush(stream_) != 0;
        if (bad)
            fail();
        std::fclose(stream_);
        stream_ = nullptr;
        std::string late = file_->finish();
        if (error_.empty())
            error_ = late;
    }
    return error_;
}

} // namespace slabfwd
