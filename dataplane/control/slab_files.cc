// SPDX-License-Identifier: BSD-3-Clause
//
// See slab_files.h.
#include "dataplane/control/slab_files.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "alloc/slabinfo.h"
#include "alloc/slub_sysfs.h"

namespace slabfwd {

namespace {

constexpr std::string_view SLAB_DIR = "/sys/kernel/slab";

/// "/sys/kernel/slab/NAME/ATTR" -> NAME, ATTR; either may be empty.
struct slab_path {
    std::string_view name, attr;
};
std::optional<slab_path> parse_path(std::string_view path) {
    if (!path.starts_with(SLAB_DIR))
        return std::nullopt;
    path.remove_prefix(SLAB_DIR.size());
    if (!path.empty() && path[0] != '/')
        return std::nullopt;
    while (path.starts_with('/'))
        path.remove_prefix(1);
    const size_t slash = std::min(path.find('/'), path.size());
    slab_path p{path.substr(0, slash), path.substr(slash)};
    while (p.attr.starts_with('/'))
        p.attr.remove_prefix(1);
    return p;
}

bool no_such_file(command& c, const char* tool, const std::string& path) {
    return c.fail(1, path, fmt::format("{}: {}: No such file or directory\n", tool, path));
}

bool write_failed(command& c, const std::string& path, int err) {
    return c.fail(1, path,
                  fmt::format("echo: {}: {}\n", path,
                              err == ENOENT ? "No such file or directory" : std::strerror(err)));
}

} // namespace

std::optional<std::string> slab_file(std::string_view path) {
    const auto p = parse_path(path);
    kmem_cache* cache = p && !p->attr.empty() ? slab_sysfs_find(p->name) : nullptr;
    std::string text;
    if (!cache || slab_attr_show(cache, p->attr, &text) != 0)
        return std::nullopt;
    return text;
}

bool echo_command(command& c, std::span<const std::string> words) {
    std::string value;
    if (words.size() < 2)
        return c.fail(1, "", "echo: wanted: echo WORD... FILE\n");
    for (const std::string& word : words.first(words.size() - 1))
        if (word != ">")
            value += (value.empty() ? "" : " ") + word;
    const std::string& path = words.back();
    if (path == "/proc/slabinfo") {
        const int err = slabinfo_write(value);
        return err ? write_failed(c, path, -err) : true;
    }
    const auto p = parse_path(path);
    kmem_cache* cache = p && !p->attr.empty() ? slab_sysfs_find(p->name) : nullptr;
    const int err = cache ? slab_attr_store(cache, p->attr, value) : -ENOENT;
    return err ? write_failed(c, path, -err) : true;
}

namespace {

bool list_caches(command& c) {
    json list = json::array();
    for (const slab_sysfs_entry& e : slab_sysfs_list()) {
        if (c.opt.json) {
            json o = {{"name", e.name}};
            if (!e.target.empty())
                o["target"] = e.target;
            list.push_back(std::move(o));
        } else {
            c.to.out(e.target.empty() ? e.name + "\n"
                                      : fmt::format("{} -> {}\n", e.name, e.target));
        }
    }
    if (c.opt.json)
        c.to.out(list.dump() + "\n");
    return true;
}

bool list_attributes(command& c, const std::string& path, std::string_view name) {
    kmem_cache* cache = slab_sysfs_find(name);
    if (!cache)
        return no_such_file(c, "ls", path);
    json object = json::object();
    for (const slab_attribute& a : slab_attributes(cache)) {
        std::string text;
        slab_attr_show(cache, a.name, &text);
        if (c.opt.json)
            object[std::string(a.name)] = text.substr(0, text.find_last_not_of('\n') + 1);
        else
            c.to.out(fmt::format("{}{}\n", a.name, a.writable ? "*" : ""));
    }
    if (c.opt.json)
        c.to.out(object.dump() + "\n");
    return true;
}

} // namespace

bool ls_command(command& c, std::span<const std::string> words) {
    std::string path(SLAB_DIR);
    for (const std::string& word : words) {
        if (word == "-j" || word == "--json")
            c.opt.json = true;
        else if (word != "-l" && word != "-F")
            path = word;
    }
    const auto p = parse_path(path);
    if (!p || !p->attr.empty())
        return no_such_file(c, "ls", path);
    return p->name.empty() ? list_caches(c) : list_attributes(c, path, p->name);
}

// ---- slabtop

namespace {

struct top_row {
    std::string name;
    size_t objs, active, slabs, active_slabs;
    unsigned objsize, objperslab, pagesperslab, use;
    size_t cache_kib;
};

top_row row_of(const slabinfo& s) {
    return {s.name,
            s.num_objs,
            s.active_objs,
            s.num_slabs,
            s.active_slabs,
            s.objsize,
            s.objperslab,
            s.pagesperslab,
            s.num_objs ? unsigned(100 * s.active_objs / s.num_objs) : 0u,
            s.num_slabs * s.pagesperslab * 4};
}

/// Which goes first by `key`; numbers fall, names rise.
bool goes_before(const top_row& a, const top_row& b, char key) {
    switch (key) {
    case 'a':
        return a.active > b.active;
    case 'b':
        return a.objperslab > b.objperslab;
    case 'c':
        return a.cache_kib > b.cache_kib;
    case 'l':
        return a.slabs > b.slabs;
    case 'v':
        return a.active_slabs > b.active_slabs;
    case 'n':
        return a.name < b.name;
    case 'p':
        return a.pagesperslab > b.pagesperslab;
    case 's':
        return a.objsize > b.objsize;
    case 'u':
        return a.use > b.use;
    default:
        return a.objs > b.objs;
    }
}

double percent(double part, double all) {
    return all > 0 ? 100 * part / all : 0;
}

std::string top_text(const std::vector<top_row>& rows) {
    double objs = 0, active = 0, slabs = 0, active_slabs = 0, size = 0, active_size = 0, caches = 0;
    unsigned least = ~0u, most = 0;
    for (const top_row& r : rows) {
        objs += double(r.objs);
        active += double(r.active);
        slabs += double(r.slabs);
        active_slabs += double(r.active_slabs);
        caches += r.objs > 0;
        size += double(r.objs) * r.objsize;
        active_size += double(r.active) * r.objsize;
        least = std::min(least, r.objsize);
        most = std::max(most, r.objsize);
    }
    const auto head = [](const char* what, const std::string& a, const std::string& b, double p) {
        return fmt::format(" {:<35}: {} / {} ({:.1f}%)\n", what, a, b, p);
    };
    const auto whole = [](double v) { return fmt::format("{:.0f}", v); };
    const auto kib = [](double v) { return fmt::format("{:.2f}K", v / 1024); };
    std::string text =
        head("Active / Total Objects (% used)", whole(active), whole(objs), percent(active, objs)) +
        head("Active / Total Slabs (% used)", whole(active_slabs), whole(slabs),
             percent(active_slabs, slabs)) +
        head("Active / Total Caches (% used)", whole(caches), whole(double(rows.size())),
             percent(caches, double(rows.size()))) +
        head("Active / Total Size (% used)", kib(active_size), kib(size),
             percent(active_size, size)) +
        fmt::format(" {:<35}: {} / {} / {}\n\n", "Minimum / Average / Maximum Object",
                    kib(rows.empty() ? 0 : least), kib(objs > 0 ? size / objs : 0), kib(most)) +
        "  OBJS ACTIVE  USE OBJ SIZE  SLABS OBJ/SLAB CACHE SIZE NAME\n";
    for (const top_row& r : rows)
        text += fmt::format("{:>6} {:>6} {:>3}% {:>7.2f}K {:>6} {:>8} {:>9}K {:<23}\n", r.objs,
                            r.active, r.use, r.objsize / 1024.0, r.slabs, r.objperslab, r.cache_kib,
                            r.name);
    return text;
}

json top_json(const std::vector<top_row>& rows) {
    json list = json::array();
    for (const top_row& r : rows)
        list.push_back({{"name", r.name},
                        {"objs", r.objs},
                        {"active", r.active},
                        {"use", r.use},
                        {"objsize", r.objsize},
                        {"slabs", r.slabs},
                        {"objperslab", r.objperslab},
                        {"cache_kib", r.cache_kib}});
    return list;
}

} // namespace

bool slabtop_command(command& c, std::span<const std::string> words) {
    char key = 'o';
    for (size_t i = 0; i < words.size(); ++i) {
        const std::string& w = words[i];
        std::string value;
        if (w == "-o" || w == "--once")
            continue;
        if (w == "-d" || w == "--delay") { // the client's
            ++i;
            continue;
        }
        if (w == "-j" || w == "--json") {
            c.opt.json = true;
            continue;
        }
        if (w.starts_with("--sort="))
            value = w.substr(7);
        else if (w.starts_with("-s") && w.size() == 3)
            value = w.substr(2);
        else if ((w == "-s" || w == "--sort") && i + 1 < words.size())
            value = words[++i];
        if (value.size() != 1 || SLABTOP_KEYS.find(value[0]) == SLABTOP_KEYS.npos)
            return c.fail(1, w,
                          fmt::format("slabtop: wanted: [ -o ] [ -d SEC ] [ -s KEY ], KEY one of "
                                      "{}\n",
                                      SLABTOP_KEYS));
        key = value[0];
    }
    std::vector<top_row> rows;
    for (const slabinfo& s : slabinfo_list())
        rows.push_back(row_of(s));
    std::ranges::stable_sort(
        rows, [key](const top_row& a, const top_row& b) { return goes_before(a, b, key); });
    c.to.out(c.opt.json ? top_json(rows).dump() + "\n" : top_text(rows));
    return true;
}

} // namespace slabfwd
