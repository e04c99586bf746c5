#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The tables that people's scripts read, in the kernel's format, while traffic flows.
. "$(dirname "$0")/_init.sh"
two_hosts
router <<<"$two_ports"
on a ping -n -c 20 -i 0.01 -q 10.0.1.2

shows '^slabinfo - version: 2\.1$' cat /proc/slabinfo
shows '^# name +<active_objs> <num_objs> <objsize>' slabinfo
for cache in ip_dst_cache arp_cache ip_fib_hash ip_fib_alias; do
    shows "^$cache +[1-9]" slabinfo
done
shows '^Iface\s+Destination\s+Gateway\s+Flags\s+RefCnt\s+Use\s+Metric\s+Source\s+MTU\s+Window\s+IRTT\s+TOS\s+HHRef\s+HHUptod\s+SpecDst' \
    cat /proc/net/rt_cache
shows '^p1\s+0201000A\s+0201000A' cat /proc/net/rt_cache
shows '^entries +in_hit +in_slow_tot +in_slow_mc +in_no_route' cat /proc/net/stat/rt_cache
shows '^entries,? +allocs' cat /proc/net/stat/arp_cache
shows '^10\.0\.1\.2 +0x1 +0x2 +([0-9a-f]{2}:){5}[0-9a-f]{2} +\* +p1' cat /proc/net/arp
shows '^p0\s+0000000A\s+00000000\s+0001' cat /proc/net/route
shows '^Ip: Forwarding DefaultTTL InReceives' cat /proc/net/snmp
shows '^Ip: 1 64 [1-9]' cat /proc/net/snmp
shows '^net.ipv4.ip_forward = 1$' sysctl -a
ctl slabinfo tune ip_dst_cache 64 16 4
shows '^ip_dst_cache .* : tunables +64 +16 +4 : ' slabinfo
refused ctl slabinfo tune ip_dst_cache 16 64 4
shows '^ip_dst_cache .* : tunables +64 +16 +4 : ' slabinfo
shows '^ip_dst_cache: [1-9][0-9]* of [1-9][0-9]* objects of [0-9]+ bytes in use' slabinfo detail ip_dst_cache
shows '^  tunables: limit 64 batchcount 16 shared 4$' slabinfo detail ip_dst_cache
shows '^  node 0: slabs [0-9]+ partial' slabinfo detail ip_dst_cache
shows '^  cpu [0-9]+ \(node 0\): [0-9]+ of 64, batch 16,' slabinfo detail ip_dst_cache
on a ping -n -c 5 -i 0.01 -q 10.0.1.2
ctl rt_cache >/dev/null
ctl snmp >/dev/null
refused ctl cat /proc/cpuinfo
stop
