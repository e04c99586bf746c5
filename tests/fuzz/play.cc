// SPDX-License-Identifier: BSD-3-Clause
//
// play: a fuzz target without a fuzzer. `TARGET ROUNDS FILE-OR-FOLDER...` runs every seed as it is,
// then ROUNDS inputs made from them (bytes and lines changed, dropped, doubled, spliced) by a
// generator with a fixed seed: the same inputs every time, with any compiler. Threads: one.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "tests/fuzz/fuzz_target.h"

namespace {

using bytes = std::vector<uint8_t>;
namespace fs = std::filesystem;

bytes read_file(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<bytes> read_seeds(int argc, char** argv) {
    std::vector<fs::path> files;
    for (int i = 2; i < argc; ++i) {
        if (fs::is_directory(argv[i]))
            std::copy(fs::directory_iterator(argv[i]), {}, std::back_inserter(files));
        else
            files.emplace_back(argv[i]);
    }
    std::ranges::sort(files);
    std::vector<bytes> seeds;
    for (const fs::path& f : files)
        seeds.push_back(read_file(f));
    return seeds;
}

class mutator {
public:
    explicit mutator(const std::vector<bytes>& seeds) : seeds_(seeds) {}

    bytes next() {
        bytes b = any_seed();
        for (size_t n = 1 + below(6); n; --n)
            change(b);
        return b;
    }

private:
    size_t below(size_t n) { return n ? rng_() % n : 0; }
    const bytes& any_seed() { return seeds_[below(seeds_.size())]; }

    /// A random run of bytes, whole lines half of the time.
    std::pair<size_t, size_t> part(const bytes& b) {
        size_t from = below(b.size()), to = from + 1 + below(std::min<size_t>(b.size() - from, 40));
        if (below(2)) {
            while (from && b[from - 1] != '\n')
                --from;
            to = from;
            while (to < b.size() && b[to++] != '\n') {
            }
        }
        return {from, std::min(to, b.size())};
    }
    void change(bytes& b) {
        static constexpr char special[] = "!/,:-+.@*=[]\"\\ \n\0\xff"
                                          "0129aX";
        if (b.empty()) {
            b = any_seed();
            return;
        }
        auto at = b.begin() + long(below(b.size()));
        switch (below(7)) {
        case 0:
            *at ^= uint8_t(1u << below(8));
            break;
        case 1:
            *at = uint8_t(rng_());
            break;
        case 2:
            b.insert(at, uint8_t(special[below(sizeof special - 1)]));
            break;
        case 3: {
            auto [from, to] = part(b);
            b.erase(b.begin() + long(from), b.begin() + long(to));
            break;
        }
        case 4: {
            const bytes copy = b;
            auto [from, to] = part(copy);
            b.insert(at, copy.begin() + long(from), copy.begin() + long(to));
            break;
        }
        case 5: {
            const bytes& other = any_seed();
            if (other.empty())
                break;
            auto [from, to] = part(other);
            b.insert(at, other.begin() + long(from), other.begin() + long(to));
            break;
        }
        default:
            b.resize(below(b.size() + 1));
        }
        if (b.size() > 4096)
            b.resize(4096);
    }

    const std::vector<bytes>& seeds_;
    std::mt19937_64 rng_{20261};
};

} // namespace

int main(int argc, char** argv) {
    const std::vector<bytes> seeds = read_seeds(argc, argv);
    if (seeds.empty()) {
        fprintf(stderr, "usage: %s ROUNDS FILE-OR-FOLDER...\n", argv[0]);
        return 2;
    }
    for (const bytes& s : seeds)
        LLVMFuzzerTestOneInput(s.data(), s.size());
    mutator m(seeds);
    const unsigned long rounds = strtoul(argv[1], nullptr, 10);
    for (unsigned long i = 0; i < rounds; ++i) {
        const bytes b = m.next();
        LLVMFuzzerTestOneInput(b.data(), b.size());
    }
    printf("%zu seeds, %lu rounds\n", seeds.size(), rounds);
    return 0;
}
