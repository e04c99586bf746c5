// SPDX-License-Identifier: BSD-3-Clause
//
// Tables against a plain list of routes: random additions, replacements and deletions, and after
// them the same answers and the same dump. Then the same at the size of the Internet's table.
#include <cerrno>
#include <cstring>
#include <gmock/gmock.h>
#include <memory>
#include <random>
#include <set>

#include "route/fib_lpm.h"
#include "tests/route/fib_router.h"

namespace slabfwd::test {
namespace {

/// A route as the model keeps it. Gateways stand for the whole fib_info.
struct model_route {
    uint32_t dst;
    int len;
    uint8_t tos;
    uint32_t metric;
    int gw;
};

/// The rules of `ip route`, written down without any structure.
class linear_model {
public:
    int insert(const model_route& r, uint16_t flags) {
        auto first =
            std::ranges::find_if(routes_, [&](const model_route& o) { return same_group(o, r); });
        if (first != routes_.end()) {
            if (flags & NLM_F_EXCL)
                return -EEXIST;
            auto same = std::ranges::find_if(
                routes_, [&](const model_route& o) { return same_group(o, r) && o.gw == r.gw; });
            if (flags & NLM_F_REPLACE) {
                if (same != routes_.end())
                    return same == first ? 0 : -EEXIST;
                first->gw = r.gw;
                return 0;
            }
            if (same != routes_.end())
                return -EEXIST;
        }
        if (!(flags & NLM_F_CREATE))
            return -ENOENT;
        auto place = std::ranges::find_if(routes_, [&](const model_route& o) {
            return flags & NLM_F_APPEND ? before(r, o) : before(r, o) || same_group(r, o);
        });
        routes_.insert(place, r);
        return 0;
    }
    int remove(const model_route& r) {
        for (auto it = routes_.begin(); it != routes_.end(); ++it)
            if (it->dst == r.dst && it->len == r.len && it->tos == r.tos &&
                (!r.metric || it->metric == r.metric) && (!r.gw || it->gw == r.gw)) {
                routes_.erase(it);
                return 0;
            }
        return -ESRCH;
    }
    /// The gateway for addr, 0: none.
    int lookup(uint32_t addr, uint8_t tos) const {
        const model_route* best = nullptr;
        for (const model_route& r : routes_) // sorted: of equal length the first that suits
            if (!((addr ^ r.dst) & be32_to_cpu(inet_make_mask(r.len))) &&
                (!r.tos || r.tos == (tos & 0x1c)) && (!best || r.len > best->len))
                best = &r;
        return best ? best->gw : 0;
    }
    const std::vector<model_route>& routes() const { return routes_; }

private:
    static bool same_group(const model_route& a, const model_route& b) {
        return a.dst == b.dst && a.len == b.len && a.tos == b.tos && a.metric == b.metric;
    }
    /// Dump order, without the order within a group.
    static bool before(const model_route& a, const model_route& b) {
        return std::tuple(a.dst, -a.len, -int(a.tos), a.metric) <
               std::tuple(b.dst, -b.len, -int(b.tos), b.metric);
    }
    std::vector<model_route> routes_;
};

constexpr int GATEWAYS = 5;

/// By the zones alone, and with every table compiled in either form.
class fib_model : public testing::TestWithParam<tables> {
protected:
    fib_model() { r.setup("addr add 10.0.0.1/24 dev p0\nlink set p0 up"); }
    /// The route for the router; gw 0: none named (deletion).
    fib_config config(const model_route& m, uint16_t flags) {
        fib_config cfg;
        cfg.fc_dst = cpu_to_be32(m.dst);
        cfg.fc_dst_len = uint8_t(m.len);
        cfg.fc_tos = m.tos;
        cfg.fc_priority = m.metric;
        cfg.fc_table = 77;
        cfg.fc_nlflags = flags;
        if (m.gw) {
            fib_nh_config nh;
            nh.has_gw = true;
            nh.gw = gateway(m.gw);
            cfg.nexthops.push_back(nh);
        }
        return cfg;
    }
    static be32_t gateway(int i) { return cpu_to_be32(0x0a000001u + uint32_t(i)); }

    model_route random_route() {
        static constexpr uint8_t toses[] = {0, 0, 0, 0x08, 0x10};
        model_route m;
        m.len = int(rng() % 33);
        // Few bits vary, so that prefixes nest and meet again.
        const uint32_t addr = (rng() % 4) << 30 | (rng() % 4) << 20 | (rng() % 4) << 10 | rng() % 4;
        m.dst = addr & be32_to_cpu(inet_make_mask(m.len));
        m.tos = toses[rng() % std::size(toses)];
        m.metric = rng() % 4 ? 0 : uint32_t(rng() % 3);
        m.gw = int(1 + rng() % GATEWAYS);
        return m;
    }
    int table_lookup(uint32_t addr, uint8_t tos) {
        fib_table* tb = fib_get_table(r.n, 77);
        flowi4 fl4;
        fl4.daddr = cpu_to_be32(addr);
        fl4.flowi4_tos = tos;
        fib_result res;
        int err = tb ? fib_table_lookup(tb, &fl4, &res) : -EAGAIN;
        if (err) {
            EXPECT_EQ(err, -EAGAIN);
            return 0;
        }
        EXPECT_EQ(res.tb_id, 77u);
        EXPECT_EQ(res.prefix, cpu_to_be32(addr) & inet_make_mask(res.prefixlen));
        return int(be32_to_cpu(res.nh()->fib_nh_gw4) - 0x0a000001u);
    }

    const compiled_as form{GetParam()};
    fib_router r;
    linear_model model;
    std::mt19937 rng{7};
};

TEST_P(fib_model, random_changes) {
    constexpr uint16_t kinds[] = {NLM_F_CREATE | NLM_F_EXCL,    NLM_F_CREATE | NLM_F_EXCL,
                                  NLM_F_CREATE | NLM_F_REPLACE, NLM_F_REPLACE,
                                  NLM_F_CREATE | NLM_F_APPEND,  NLM_F_CREATE};
    for (int step = 0; step < 20000; ++step) {
        model_route m = random_route();
        if (rng() % 3) {
            const uint16_t flags = kinds[rng() % std::size(kinds)];
            ASSERT_EQ(inet_rtm_newroute(r.n, config(m, flags), nullptr), model.insert(m, flags))
                << step;
        } else {
            m.gw = rng() % 2 ? m.gw : 0;
            ASSERT_EQ(inet_rtm_delroute(r.n, config(m, 0), nullptr), model.remove(m)) << step;
        }
        for (int i = 0; i < 4; ++i) {
            const uint32_t addr = random_route().dst | (rng() & 3);
            const auto tos = uint8_t(rng() & 0xfc);
            ASSERT_EQ(table_lookup(addr, tos), model.lookup(addr, tos)) << step;
        }
        if (step % 256 == 0) {
            r.settle();
            const fib_table* tb = fib_get_table(r.n, 77);
            ASSERT_TRUE(!tb || fib_lpm_is_valid(tb)) << step;
            ASSERT_TRUE(!tb || !tb->tb_num_nodes ||
                        bool(tb->tb_lpm) == (GetParam() != tables::zones));
        }
    }
    struct context {
        std::vector<model_route> rows;
    } ctx;
    fib_table_dump(
        r.n, 77,
        [](const fib_route_row& row, void* cookie) {
            static_cast<context*>(cookie)->rows.push_back(
                {be32_to_cpu(row.dst), row.dst_len, row.tos, row.priority,
                 int(be32_to_cpu(row.nexthops.at(0).gw) - 0x0a000001u)});
            return true;
        },
        &ctx);
    ASSERT_EQ(ctx.rows.size(), model.routes().size());
    for (size_t i = 0; i < ctx.rows.size(); ++i) {
        const model_route &a = ctx.rows[i], &b = model.routes()[i];
        EXPECT_EQ(std::tuple(a.dst, a.len, a.tos, a.metric, a.gw),
                  std::tuple(b.dst, b.len, b.tos, b.metric, b.gw))
            << i;
    }
}

/// As many prefixes as the Internet has, of the lengths that it has: found, and not found where
/// there are none. From the file named by SLABFWD_SHARED when it is there, else drawn.
TEST_P(fib_model, a_table_of_internet_size) {
    std::vector<std::pair<uint32_t, int>> prefixes;
    if (const char* shared = getenv("SLABFWD_SHARED")) {
        const std::string command =
            std::string("zcat '") + shared + "/data/internet-ipv4-prefixes.txt.gz' 2>/dev/null";
        std::unique_ptr<FILE, int (*)(FILE*)> in(popen(command.c_str(), "r"), pclose);
        for (char line[64]; in && fgets(line, sizeof(line), in.get());) {
            const auto [dst, len] = parse_prefix(std::string(line, strcspn(line, "\n")));
            prefixes.emplace_back(be32_to_cpu(dst), len);
        }
    }
    std::set<std::pair<uint32_t, int>> seen(prefixes.begin(), prefixes.end());
    const size_t wanted = prefixes.empty() ? 200000 : 0;
    while (prefixes.size() < wanted) {
        const int len = rng() % 10 < 6 ? 24 : int(12 + rng() % 12);
        const uint32_t dst = uint32_t(rng()) & be32_to_cpu(inet_make_mask(len));
        if (seen.emplace(dst, len).second)
            prefixes.emplace_back(dst, len);
    }
    const uint32_t infos_before = r.n.ipv4.fib->fib_info_cnt;
    for (const auto& [dst, len] : prefixes)
        ASSERT_EQ(inet_rtm_newroute(r.n,
                                    config({dst, len, 0, 0, int(1 + (dst >> 8) % GATEWAYS)},
                                           NLM_F_CREATE | NLM_F_EXCL),
                                    nullptr),
                  0);
    r.settle();
    EXPECT_TRUE(fib_lpm_is_valid(fib_get_table(r.n, 77)));
    EXPECT_EQ(r.n.ipv4.fib->fib_info_cnt, infos_before + GATEWAYS);
    for (int i = 0; i < 200000; ++i) {
        const uint32_t addr =
            i % 2 ? uint32_t(rng()) : prefixes[rng() % prefixes.size()].first | (rng() & 255);
        int want = 0;
        for (int len = 32; len >= 0 && !want; --len) {
            const uint32_t dst = addr & be32_to_cpu(inet_make_mask(len));
            if (seen.contains({dst, len}))
                want = int(1 + (dst >> 8) % GATEWAYS);
        }
        ASSERT_EQ(table_lookup(addr, 0), want);
    }
    for (const auto& [dst, len] : prefixes)
        ASSERT_EQ(inet_rtm_delroute(r.n, config({dst, len, 0, 0, 0}, 0), nullptr), 0);
    EXPECT_EQ(table_lookup(prefixes[0].first, 0), 0);
}

INSTANTIATE_TEST_SUITE_P(tables, fib_model,
                         testing::Values(tables::zones, tables::small, tables::large), tables_name);

} // namespace
} // namespace slabfwd::test
