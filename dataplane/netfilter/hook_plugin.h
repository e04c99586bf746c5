// SPDX-License-Identifier: BSD-3-Clause
//
// Hooks from a shared object (`--hook file.so` of run and replay). The object exports one variable,
//
//   extern "C" const slabfwd::hook_plugin slabfwd_hook_plugin;
//
// whose init registers hooks through the functions that it is handed and whose exit takes them out
// again. It is built against these headers and calls nothing else of the program; `abi` says which
// headers: an object of others is refused. An example is in dataplane/netfilter/example. Door:
// hook_plugin_load. Threads: init and exit run on the control thread, before workers start and
// after they have stopped; hooks on any worker.
#pragma once

#include <memory>
#include <string>

#include <tl/expected.hpp>

#include "dataplane/netfilter/netfilter.h"

namespace slabfwd {

constexpr uint32_t HOOK_PLUGIN_VERSION = 2;
/// The version, and the sizes of what both sides look into.
constexpr uint64_t HOOK_PLUGIN_ABI = uint64_t(HOOK_PLUGIN_VERSION) << 48 |
                                     uint64_t(sizeof(sk_buff)) << 32 |
                                     uint64_t(sizeof(net_device)) << 16 | sizeof(nf_hook_ops);

/// What the program does for a plug-in.
struct hook_plugin_api {
    int (*register_net_hook)(net& n, const nf_hook_ops* ops);
    void (*unregister_net_hook)(net& n, const nf_hook_ops* ops);
    /// A line to the program's log.
    void (*log)(const char* line);
};

/// What a plug-in exports under the name slabfwd_hook_plugin.
struct hook_plugin {
    uint64_t abi; ///< HOOK_PLUGIN_ABI
    const char* name;
    /// 0, or -errno with nothing registered. api outlives exit.
    int (*init)(net& n, const hook_plugin_api& api);
    void (*exit)(net& n, const hook_plugin_api& api);
};

/// Loads the object and lets it register its hooks; the handle takes them out and unloads it, and
/// must go before the net does. The error names the file and says what is wrong with it.
tl::expected<std::shared_ptr<void>, std::string> hook_plugin_load(net& n, const std::string& path);

} // namespace slabfwd
