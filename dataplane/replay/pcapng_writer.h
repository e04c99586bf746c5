// SPDX-License-Identifier: BSD-3-Clause
//
// A small pcapng writer for packets with a comment each (replay --drops): one section, one
// interface description a port with its name and nanosecond stamps, enhanced packet blocks with
// opt_comment. (DPDK's own librte_pcapng stamps with the wall clock and wants ethdev ids; a replay
// has its own time.) Door: pcapng_writer::begin, packet, finish. Threads: belongs to one thread.
// Origin: draft-ietf-opsawg-pcapng (block types 0x0A0D0D0A, 1, 6).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "dataplane/replay/output_file.h"

namespace slabfwd {

class pcapng_writer {
public:
    /// Empties the file, writes the section header and an Ethernet interface for each name, in
    /// order.
    static tl::expected<std::unique_ptr<pcapng_writer>, std::string>
    begin(std::unique_ptr<output_file> file, const std::vector<std::string>& interfaces);
    ~pcapng_writer();
    pcapng_writer(const pcapng_writer&) = delete;
    pcapng_writer& operator=(const pcapng_writer&) = delete;

    /// Adds a packet of interface number `interface`: caplen bytes here of len on the wire.
    /// False once writing has failed; error() names the file and the reason.
    bool packet(unsigned interface, uint64_t ts_ns, const uint8_t* data, uint32_t caplen,
                uint32_t len, std::string_view comment);
    /// Writes out and closes. The first error there was, or "".
    std::string finish();

    const std::string& error() const { return error_; }
    uint64_t packets() const { return packets_; }

private:
    explicit pcapng_writer(std::unique_ptr<output_file> file) : file_(std::move(file)) {}
    void section_header();
    void interface_description(const std::string& name);
    bool put_block(uint32_t type);
    bool fail();

    std::unique_ptr<output_file> file_;
    FILE* stream_ = nullptr;
    std::vector<uint8_t> body_; ///< of the block being built
    std::string error_;
    uint64_t packets_ = 0;
};

} // namespace slabfwd
