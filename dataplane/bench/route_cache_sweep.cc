// SPDX-License-Identifier: BSD-3-Clause
//
// `--sweep`: a workload again and again, with one of its parameters at several values.
// Door: sweep_workloads(). Threads: none of its own. See route_cache.h.
#include <algorithm>
#include <charconv>
#include <sstream>

#include <fmt/format.h>

#include "dataplane/bench/route_cache.h"

namespace slabfwd {

namespace {

struct swept_key {
    const char* name;
    const char* workload; ///< where it matters most
    void (*set)(route_cache_job& job, unsigned value);
};
constexpr swept_key keys[] = {
    {"flows", "working-set", [](route_cache_job& j, unsigned v) { j.flows = v; }},
    {"gc_thresh", "churn-64k",
     [](route_cache_job& j, unsigned v) { // max_size stays in the workload's proportion
         j.max_size = int(j.gc_thresh && j.gc_thresh == j.max_size ? v : v * 16);
         j.gc_thresh = int(v);
     }},
    {"limit", "churn-64k", [](route_cache_job& j, unsigned v) { j.limit = v; }},
    {"batchcount", "churn-64k", [](route_cache_job& j, unsigned v) { j.batchcount = v; }},
    {"rhash-entries", "working-set", [](route_cache_job& j, unsigned v) { j.rhash_entries = v; }},
};
constexpr unsigned VALUE_MAX = 1u << 26; // 16 times that is still an int

/// The values of "1000,10000"; empty when one is no number from 1 to VALUE_MAX.
std::vector<unsigned> values_of(const std::string& text) {
    std::vector<unsigned> values;
    std::istringstream in(text);
    for (std::string v; std::getline(in, v, ',');) {
        unsigned value = 0;
        const auto [end, err] = std::from_chars(v.data(), v.data() + v.size(), value);
        if (err != std::errc() || end != v.data() + v.size() || !value || value > VALUE_MAX)
            return {};
        values.push_back(value);
    }
    return values;
}

std::string names_of_keys() {
    std::string names;
    for (const swept_key& k : keys)
        names += fmt::format("{}{}", names.empty() ? "" : ", ", k.name);
    return names;
}

} // namespace

std::string sweep_workloads(const std::vector<route_cache_workload>& all, const std::string& text,
                            std::vector<route_cache_workload>& out) {
    const size_t eq = text.find('='), colon = text.substr(0, eq).find(':');
    if (eq == std::string::npos)
        return fmt::format("--sweep {}: [WORKLOAD:]KEY=VALUE,VALUE.. is wanted", text);
    const size_t at = colon == std::string::npos ? 0 : colon + 1;
    const std::string name = text.substr(at, eq - at);
    const auto key = std::ranges::find(keys, name, &swept_key::name);
    if (key == std::end(keys))
        return fmt::format("--sweep {}: there is no {}; {} are", text, name, names_of_keys());
    const std::string of = at ? text.substr(0, colon) : key->workload;
    const auto w = std::ranges::find(all, of, &route_cache_workload::name);
    if (w == all.end())
        return fmt::format("--sweep {}: there is no workload {} (--list names them)", text, of);
    const std::vector<unsigned> values = values_of(text.substr(eq + 1));
    if (values.empty())
        return fmt::format("--sweep {}: values are numbers from 1 to {}", text, VALUE_MAX);
    for (unsigned value : values) {
        route_cache_workload one = *w;
        key->set(one.job, value);
        one.name += fmt::format(" {}={}", name, value);
        one.swept = name;
        one.at = value;
        out.push_back(std::move(one));
    }
    return {};
}

} // namespace slabfwd
