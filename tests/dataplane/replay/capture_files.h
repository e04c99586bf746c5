// SPDX-License-Identifier: BSD-3-Clause
//
// Captures for the tests, built byte by byte without libpcap, so that what reads and writes them is
// checked against the formats' definitions and not against itself.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <zlib.h>

namespace slabfwd::test {

using bytes = std::string;

struct test_frame {
    uint64_t ts_ns = 0;
    bytes data;
    uint32_t len = 0; ///< on the wire; 0: all of data
};

/// A folder that goes away with the test.
class temp_dir {
public:
    temp_dir() {
        std::string name = std::filesystem::temp_directory_path() / "slabfwd-replay-XXXXXX";
        path_ = mkdtemp(name.data());
    }
    ~temp_dir() { std::filesystem::remove_all(path_); }
    temp_dir(const temp_dir&) = delete;
    temp_dir& operator=(const temp_dir&) = delete;
    std::string operator/(const std::string& name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

inline std::string write_file(const std::string& path, const bytes& data) {
    std::ofstream(path, std::ios::binary) << data;
    return path;
}

inline bytes read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

template <class T>
void put(bytes& out, T value, bool swap = false) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof raw);
    if (swap)
        std::reverse(raw, raw + sizeof raw);
    out.append(raw, sizeof raw);
}

struct pcap_style {
    bool nano = false, swapped = false;
    uint32_t linktype = 1;
};

inline bytes pcap_bytes(const std::vector<test_frame>& frames, pcap_style style = {}) {
    bytes out;
    bool s = style.swapped;
    put(out, style.nano ? 0xa1b23c4du : 0xa1b2c3d4u, s);
    put(out, uint16_t(2), s);
    put(out, uint16_t(4), s);
    put(out, uint64_t(0));
    put(out, uint32_t(262144), s);
    put(out, style.linktype, s);
    for (const test_frame& f : frames) {
        put(out, uint32_t(f.ts_ns / 1'000'000'000), s);
        put(out, uint32_t(f.ts_ns % 1'000'000'000 / (style.nano ? 1 : 1000)), s);
        put(out, uint32_t(f.data.size()), s);
        put(out, uint32_t(f.len ? f.len : f.data.size()), s);
        out += f.data;
    }
    return out;
}

/// pcapng: one section, one Ethernet interface with stamps of 10^-resolution seconds.
inline bytes pcapng_bytes(const std::vector<test_frame>& frames, uint8_t resolution) {
    bytes out;
    auto block = [&](uint32_t type, bytes body) {
        body.resize((body.size() + 3) & ~size_t(3));
        put(out, type);
        put(out, uint32_t(body.size() + 12));
        out += body;
        put(out, uint32_t(body.size() + 12));
    };
    bytes shb;
    put(shb, 0x1A2B3C4Du);
    put(shb, uint16_t(1));
    put(shb, uint16_t(0));
    put(shb, int64_t(-1));
    block(0x0A0D0D0A, shb);
    bytes idb;
    put(idb, uint32_t(1));
    put(idb, uint32_t(0));
    put(idb, uint16_t(9));
    put(idb, uint16_t(1));
    idb.push_back(char(resolution));
    idb.append(3, '\0');
    put(idb, uint32_t(0));
    block(1, idb);
    for (const test_frame& f : frames) {
        uint64_t units = f.ts_ns;
        for (int i = resolution; i < 9; ++i)
            units /= 10;
        bytes epb;
        put(epb, uint32_t(0));
        put(epb, uint32_t(units >> 32));
        put(epb, uint32_t(units));
        put(epb, uint32_t(f.data.size()));
        put(epb, uint32_t(f.len ? f.len : f.data.size()));
        block(6, epb + f.data);
    }
    return out;
}

inline bytes gzip_bytes(const bytes& in) {
    z_stream z{};
    deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    bytes out(deflateBound(&z, in.size()) + 64, '\0');
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    z.avail_in = uInt(in.size());
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = uInt(out.size());
    deflate(&z, Z_FINISH);
    out.resize(z.total_out);
    deflateEnd(&z);
    return out;
}

/// n frames of growing length, a millisecond apart.
inline std::vector<test_frame> some_frames(unsigned n,
                                           uint64_t start_ns = 1'500'000'000'000'000'000) {
    std::vector<test_frame> frames;
    for (unsigned i = 0; i < n; ++i)
        frames.push_back({start_ns + i * 1'000'000ull, bytes(60 + i % 100, char('a' + i % 26)), 0});
    return frames;
}

} // namespace slabfwd::test
