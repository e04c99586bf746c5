// SPDX-License-Identifier: BSD-3-Clause
//
// Hooks from a shared object: the example is loaded, judges packets, and goes without a trace; what
// is no plug-in is refused with the file's name.
#include <gmock/gmock.h>

#include "dataplane/netfilter/hook_plugin.h"
#include "tests/dataplane/ip/ip_test_net.h"

namespace slabfwd::test {
namespace {

using ::testing::HasSubstr;

std::string last_log;

TEST(HookPlugin, TheExampleDropsWhatCameWithALowTtl) {
    ip_test_net t;
    auto sink = log_sink;
    log_sink = [](const char* line) { last_log = line; };
    {
        auto plugin = hook_plugin_load(t.n, SLABFWD_EXAMPLE_HOOK);
        ASSERT_TRUE(plugin) << plugin.error();
        for (uint8_t ttl : {2, 4, 5, 64})
            t.rx(t.p0, udp_packet(ip("10.0.0.2"), ip("10.0.1.2"), 8, ttl));
        EXPECT_EQ(t.sent(t.p1).size(), 2u);
        EXPECT_EQ(t.drops(skb_drop_reason::NETFILTER_DROP), 2u);
    }
    EXPECT_EQ(last_log, "ttl_floor: 2 packets dropped");
    log_sink = sink;
    EXPECT_EQ(nf_hooks(t.n, NF_INET_FORWARD), nullptr);
    t.rx(t.p0, udp_packet(ip("10.0.0.2"), ip("10.0.1.2"), 8, 2));
    EXPECT_EQ(t.sent(t.p1).size(), 1u);
    t.expect_ip_balanced();
}

TEST(HookPlugin, WhatIsNoPluginIsRefused) {
    ip_test_net t;
    auto missing = hook_plugin_load(t.n, "/nonexistent/hook.so");
    ASSERT_FALSE(missing);
    EXPECT_THAT(missing.error(), HasSubstr("--hook /nonexistent/hook.so: "));
    auto other = hook_plugin_load(t.n, "/usr/lib/x86_64-linux-gnu/libm.so.6");
    ASSERT_FALSE(other);
    EXPECT_THAT(other.error(), HasSubstr("slabfwd_hook_plugin"));
}

} // namespace
} // namespace slabfwd::test
