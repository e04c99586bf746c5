// SPDX-License-Identifier: BSD-3-Clause
//
// An example of a plug-in: packets to be forwarded that came with a TTL below 5 are dropped, and
// how many these were is logged at the end. Build it as a shared object with the program's include
// folders and `--hook libttl_floor.so`; nothing is linked. Threads: the hook runs on any worker.
#include <atomic>
#include <cstdio>

#include "dataplane/netfilter/hook_plugin.h"

namespace {

using namespace slabfwd;

constexpr uint8_t FLOOR = 5;
std::atomic<uint64_t> dropped{0};

unsigned ttl_floor(void*, sk_buff* skb, const nf_hook_state*) {
    if (ip_hdr(skb)->ttl >= FLOOR - 1) // FORWARD comes behind the decrement
        return NF_ACCEPT;
    dropped.fetch_add(1, std::memory_order_relaxed);
    return NF_DROP;
}

const nf_hook_ops ops{ttl_floor,   nullptr, NF_INET_FORWARD, NF_IP_PRI_FILTER - 1,
                      "ttl_floor", nullptr};

int init(net& n, const hook_plugin_api& api) {
    return api.register_net_hook(n, &ops);
}

void exit_plugin(net& n, const hook_plugin_api& api) {
    api.unregister_net_hook(n, &ops);
    char line[64];
    snprintf(line, sizeof line, "ttl_floor: %llu packets dropped",
             static_cast<unsigned long long>(dropped.load()));
    api.log(line);
}

} // namespace

extern "C" const slabfwd::hook_plugin slabfwd_hook_plugin;
const slabfwd::hook_plugin slabfwd_hook_plugin{slabfwd::HOOK_PLUGIN_ABI, "ttl_floor", init,
                                               exit_plugin};
