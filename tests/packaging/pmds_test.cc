// SPDX-License-Identifier: BSD-3-Clause
//
// The virtual port drivers that slabfwd works on are plug-ins, loaded by the EAL from the folder
// that was compiled into it. If the program is linked wrongly (statically, or against another DPDK)
// they are silently missing and the first sign is "no such device" at run time; hence this test.
#include <array>

#include <gtest/gtest.h>
#include <rte_bus_vdev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>

namespace {

class pmds : public testing::TestWithParam<std::array<const char*, 2>> {};

TEST_P(pmds, device_attaches_and_detaches) {
    auto [name, args] = GetParam();
    ASSERT_EQ(rte_vdev_init(name, args), 0) << rte_strerror(rte_errno);
    uint16_t port = RTE_MAX_ETHPORTS;
    EXPECT_EQ(rte_eth_dev_get_port_by_name(name, &port), 0);
    EXPECT_TRUE(rte_eth_dev_is_valid_port(port));
    EXPECT_EQ(rte_vdev_uninit(name), 0);
}

// net_af_packet and net_tap want a real interface: every machine has lo; a tap needs /dev/net/tun.
INSTANTIATE_TEST_SUITE_P(virtual_ports, pmds,
                         testing::Values(std::array{"net_null0", ""}, std::array{"net_ring0", ""},
                                         std::array{"net_pcap0", "tx_pcap=/dev/null"},
                                         std::array{"net_af_packet0", "iface=lo"}),
                         [](const auto& info) { return std::string(info.param[0]); });

} // namespace

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    std::array<const char*, 8> eal = {
        argv[0],       "--no-huge",      "-m",           "64", "--no-pci",
        "--no-shconf", "--no-telemetry", "--log-level=4"};
    if (rte_eal_init(int(eal.size()), const_cast<char**>(eal.data())) < 0) {
        return 1;
    }
    int rc = RUN_ALL_TESTS();
    rte_eal_cleanup();
    return rc;
}
