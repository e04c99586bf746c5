// SPDX-License-Identifier: BSD-3-Clause
//
// Writing what a port sends: one pcap file a port, Ethernet, nanosecond stamps of the virtual
// clock, by libpcap. Nothing in the file depends on the time or place of the run: the same frames,
// the same bytes. Door: capture_writer::begin, write, finish. Threads: belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/replay/output_file.h"

struct rte_mbuf;
struct pcap;
struct pcap_dumper;

namespace slabfwd {

class capture_writer {
public:
    /// Takes an opened file, empties it and writes the header. The error names the file and the
    /// reason.
    static tl::expected<std::unique_ptr<capture_writer>, std::string>
    begin(std::unique_ptr<output_file> file);
    ~capture_writer();
    capture_writer(const capture_writer&) = delete;
    capture_writer& operator=(const capture_writer&) = delete;

    /// Adds a frame of len bytes / a packet (chained or not). False once writing has failed (disk
    /// full); error() then names the file and the reason.
    bool write(uint64_t ts_ns, const uint8_t* data, uint32_t len);
    bool write(uint64_t ts_ns, const rte_mbuf* m);
    /// Writes out and closes. The first error there was, or "".
    std::string finish();

    const std::string& error() const { return error_; }
    const std::string& path() const { return file_->path(); }
    uint64_t frames() const { return frames_; }

private:
    explicit capture_writer(std::unique_ptr<output_file> file);
    bool fail();
    std::unique_ptr<output_file> file_;
    pcap* dead_ = nullptr;
    pcap_dumper* dumper_ = nullptr;
    std::vector<uint8_t> flat_; ///< chained packets in one piece
    std::string error_;
    uint64_t frames_ = 0;
};

} // namespace slabfwd
