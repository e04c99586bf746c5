// SPDX-License-Identifier: BSD-3-Clause
//
// Opening and checking the files of a replay. See replay_files.h.
#include "dataplane/replay/replay_files.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <sys/stat.h>

namespace slabfwd {

namespace {

using error = tl::unexpected<std::string>;

/// Opens path into `to`, unless an earlier one failed already.
void open_one(const std::string& path, std::unique_ptr<output_file>& to, std::string& why) {
    if (!why.empty() || path.empty())
        return;
    auto file = output_file::open(path);
    if (file)
        to = std::move(*file);
    else
        why = file.error();
}

std::string not_distinct(const replay_outputs& files, const replay_options& o) {
    std::vector<const output_file*> all;
    for (const auto& p : files.ports)
        all.push_back(p.get());
    for (const auto* p : {files.drops.get(), files.json.get()})
        if (p)
            all.push_back(p);
    std::vector<std::string> read{o.config};
    for (const port_file& f : o.in)
        read.push_back(f.path);
    for (size_t i = 0; i < all.size(); ++i) {
        for (size_t j = 0; j < i; ++j)
            if (all[i]->same_file(*all[j]))
                return fmt::format("{}: the same file as the output {}", all[i]->path(),
                                   all[j]->path());
        for (const std::string& path : read)
            if (struct stat st{}; stat(path.c_str(), &st) == 0 && all[i]->same_file(st))
                return fmt::format("{}: the same file as the input {}", all[i]->path(), path);
    }
    return {};
}

} // namespace

tl::expected<capture_readers, std::string> open_inputs(const replay_options& o) {
    capture_readers all;
    for (const port_file& f : o.in) {
        auto reader = capture_reader::open(f.path);
        if (!reader)
            return error(reader.error());
        if (o.loop > 1 && !(*reader)->reopenable())
            return error(
                fmt::format("{}: no regular file, it cannot be played {} times", f.path, o.loop));
        all.push_back(std::move(*reader));
    }
    return all;
}

tl::expected<replay_outputs, std::string> replay_outputs::open(const replay_options& o) {
    replay_outputs files;
    std::string why;
    for (const port_file& f : o.out) {
        std::unique_ptr<output_file> file;
        open_one(f.path, file, why);
        if (file)
            files.ports.push_back(std::move(file));
    }
    open_one(o.drops, files.drops, why);
    open_one(o.json, files.json, why);
    if (why.empty())
        why = not_distinct(files, o);
    if (!why.empty())
        return error(why);
    return files;
}

tl::expected<replay_writers, std::string> replay_writers::begin(replay_outputs& files,
                                                                const replay_options& o) {
    replay_writers w;
    for (auto& file : files.ports) {
        auto port = capture_writer::begin(std::move(file));
        if (!port)
            return error(port.error());
        w.ports.push_back(std::move(*port));
    }
    if (files.drops) {
        auto drops = pcapng_writer::begin(std::move(files.drops), o.ports);
        if (!drops)
            return error(drops.error());
        w.drops = std::move(*drops);
    }
    return w;
}

std::vector<std::string> replay_writers::finish() {
    std::vector<std::string> errors;
    for (auto& w : ports)
        if (std::string why = w->finish(); !why.empty())
            errors.push_back(why);
    if (drops)
        if (std::string why = drops->finish(); !why.empty())
            errors.push_back(why);
    return errors;
}

std::string write_all(output_file& file, const std::string& text) {
    FILE* out = file.begin();
    bool good = out && std::fwrite(text.data(), text.size(), 1, out) == 1 && std::fflush(out) == 0;
    std::string why = good ? "" : fmt::format("{}: {}", file.path(), std::strerror(errno));
    if (out)
        std::fclose(out);
    std::string late = file.finish();
    return why.empty() ? late : why;
}

} // namespace slabfwd
