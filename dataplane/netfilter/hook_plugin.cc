// SPDX-License-Identifier: BSD-3-Clause
//
// Loading hooks from shared objects.
#include "dataplane/netfilter/hook_plugin.h"

#include <cstring>

#include <dlfcn.h>
#include <fmt/format.h>

#include "neigh/softnet.h"

namespace slabfwd {

namespace {

constexpr hook_plugin_api api{nf_register_net_hook, nf_unregister_net_hook,
                              [](const char* line) { log_sink(line); }};

struct loaded_plugin {
    net& n;
    void* object;
    const hook_plugin* plugin;
    loaded_plugin(net& of, void* o, const hook_plugin* p) : n(of), object(o), plugin(p) {}
    loaded_plugin(const loaded_plugin&) = delete;
    loaded_plugin& operator=(const loaded_plugin&) = delete;
    ~loaded_plugin() {
        plugin->exit(n, api);
        rcu_barrier_all(n); // nothing of it is in use once its code goes
        dlclose(object);
    }
};

} // namespace

tl::expected<std::shared_ptr<void>, std::string> hook_plugin_load(net& n, const std::string& path) {
    // Without a slash dlopen would search the libraries' folders.
    const std::string file = path.find('/') == std::string::npos ? "./" + path : path;
    void* object = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!object)
        return tl::unexpected(fmt::format("--hook {}: {}", path, dlerror()));
    auto fail = [&](std::string why) {
        dlclose(object);
        return tl::unexpected(fmt::format("--hook {}: {}", path, why));
    };
    auto* plugin = static_cast<const hook_plugin*>(dlsym(object, "slabfwd_hook_plugin"));
    if (!plugin)
        return fail("it does not export slabfwd_hook_plugin");
    if (plugin->abi != HOOK_PLUGIN_ABI)
        return fail(
            fmt::format("it was built for other headers (abi {:#x}, this program has {:#x})",
                        plugin->abi, HOOK_PLUGIN_ABI));
    if (!plugin->init || !plugin->exit)
        return fail("slabfwd_hook_plugin has no init or no exit");
    if (int err = plugin->init(n, api))
        return fail(fmt::format("{} does not start: {}", plugin->name, strerror(-err)));
    return std::shared_ptr<void>(std::make_shared<loaded_plugin>(n, object, plugin));
}

} // namespace slabfwd
