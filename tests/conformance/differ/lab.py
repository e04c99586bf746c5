# SPDX-License-Identifier: BSD-3-Clause
"""A lab: a network namespace for a router, with ports p0, p1..., each a veth whose other end (in a second
namespace) is ours to send and hear frames on. Namespaces have no name: they go when the last user goes."""

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import subprocess
import time

from frames import mac_bytes

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
SOL_PACKET, PACKET_IGNORE_OUTGOING, ETH_P_ALL = 263, 23, 3
SIOCETHTOOL, SIOCGIFFLAGS = 0x8946, 0x8913
# tx and rx checksums, scatter-gather, tso, gso, gro
ETHTOOL_SETTERS = (0x17, 0x15, 0x19, 0x1F, 0x24, 0x2C)

# The kernel's defaults, written out because a machine's start scripts may have changed them.
CONF = {"rp_filter": 0, "accept_redirects": 1, "send_redirects": 1, "secure_redirects": 1, "shared_media": 1,
        "log_martians": 0, "proxy_arp": 0, "proxy_arp_pvlan": 0, "arp_ignore": 0, "arp_filter": 0, "arp_announce": 0,
        "arp_accept": 0, "arp_notify": 0, "bc_forwarding": 0, "route_localnet": 0, "src_valid_mark": 0,
        "accept_source_route": 1, "accept_local": 0, "drop_unicast_in_l2_multicast": 0, "forwarding": 0}
IPV4 = {"ip_forward": 0, "icmp_ratelimit": 1000, "icmp_ratemask": 6168, "icmp_echo_ignore_all": 0,
        "icmp_echo_ignore_broadcasts": 1, "icmp_ignore_bogus_error_responses": 1, "icmp_errors_use_inbound_ifaddr": 0,
        "ip_default_ttl": 64, "ip_forward_use_pmtu": 0, "ip_forward_update_priority": 1, "fib_multipath_hash_policy": 0,
        "fib_multipath_use_neigh": 0, "ipfrag_time": 30, "icmp_msgs_per_sec": 1000, "icmp_msgs_burst": 50,
        "ip_no_pmtu_disc": 0, "fwmark_reflect": 0}


def _check(result, what):
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


class Namespace:
    """A network namespace; `with namespace:` the calling process (and what it starts) is in it."""

    def __init__(self):
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        _check(_libc.unshare(CLONE_NEWNET), "unshare")
        self.fd = os.open("/proc/self/ns/net", os.O_RDONLY)
        _check(_libc.setns(home, CLONE_NEWNET), "setns")
        os.close(home)
        self._home = []

    def __enter__(self):
        self._home.append(os.open("/proc/self/ns/net", os.O_RDONLY))
        _check(_libc.setns(self.fd, CLONE_NEWNET), "setns")
        return self

    def __exit__(self, *_):
        home = self._home.pop()
        _check(_libc.setns(home, CLONE_NEWNET), "setns")
        os.close(home)

    def close(self):
        os.close(self.fd)


def run(argv, text=None):
    return subprocess.run(argv, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                          check=False)


def run_ip(lines):
    done = run(["ip", "-batch", "-"], "\n".join(lines) + "\n")
    if done.returncode:
        raise RuntimeError("ip: " + done.stdout.strip()[-300:])


def write_sysctl(path, value):
    """Keys that this kernel lacks keep their default."""
    try:
        with open("/proc/sys/net/" + path, "w", encoding="ascii") as file:
            file.write(str(value))
    except OSError:
        pass


def _offloads_off(sock, ifname):
    for command in ETHTOOL_SETTERS:
        value = ctypes.create_string_buffer(struct.pack("II", command, 0))
        try:
            fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP", ifname.encode(), ctypes.addressof(value)))
        except OSError:
            pass


def _running(sock, ifname):
    answer = fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack("16sh14x", ifname.encode(), 0))
    return struct.unpack("16sh14x", answer)[1] & 0x41 == 0x41


class Lab:
    """The router's namespace `router`, and a socket for each of its ports."""

    def __init__(self, ports, for_kernel):
        self.ports = ports
        self.router, self.hosts = Namespace(), Namespace()
        self.socks, self.answers = {}, {port: {} for port in ports}
        self.step, self.since, self.frames = -1, 0.0, []
        for space in (self.router, self.hosts):
            with space:
                for which in ("all", "default"):
                    write_sysctl(f"ipv6/conf/{which}/disable_ipv6", 1)
        self._make_links(for_kernel)
        self._poll = select.poll()
        for port, sock in self.socks.items():
            self._poll.register(sock.fileno(), select.POLLIN)
        self._by_fd = {sock.fileno(): (port, sock) for port, sock in self.socks.items()}

    def _make_links(self, for_kernel):
        peers = {port: "q" + port[1:] for port in self.ports}
        with self.router:
            run_ip([f"link add {port} address {mac} mtu 1500 type veth peer name {peers[port]} address 02:cc:00:00:00:0{i} "
                    f"mtu 9000 netns /proc/{os.getpid()}/fd/{self.hosts.fd}" for i,
                        (port, mac) in enumerate(self.ports.items())])
            for key, value in IPV4.items():
                write_sysctl("ipv4/" + key, value)
            for key, value in CONF.items():
                for dev in ("all", "default", *self.ports):
                    write_sysctl(f"ipv4/conf/{dev}/{key}",
                        0 if key == "accept_source_route" and dev == "all" else value)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                for port in self.ports:
                    _offloads_off(control, port)
            state = "up" if for_kernel else "arp off up"
            run_ip([f"link set {port} {state}" for port in self.ports] + (["link set lo up"] if for_kernel else []))
        with self.hosts, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            run_ip([f"link set {peer} arp off up" for peer in peers.values()])
            for port, peer in peers.items():
                _offloads_off(control, peer)
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
                sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
                sock.bind((peer, ETH_P_ALL))
                self.socks[port] = sock
            end = time.monotonic() + 3
            while not all(_running(control, peer) for peer in peers.values()) and time.monotonic() < end:
                time.sleep(0.002)

    def close(self):
        for sock in self.socks.values():
            sock.close()
        self.router.close()
        self.hosts.close()

    def send(self, port, frame):
        for _ in range(100):
            try:
                self.socks[port].send(frame)
                return
            except OSError as error:
                if error.errno not in (errno.ENOBUFS, errno.EAGAIN):
                    raise
                time.sleep(0.002)

    def _heard(self, port, frame):
        ethertype = frame[12:14]
        if ethertype in (b"\x86\xdd", b"\x88\xcc") or (ethertype == b"\x08\x00" and frame[23:24] == b"\x02"):
            return  # what kernels say without being asked: IPv6, LLDP, IGMP
        self.frames.append((port, self.step, (time.monotonic() - self.since) * 1000, frame))
        if ethertype == b"\x08\x06" and frame[20:22] == b"\0\1":
            self._answer(port, frame)

    def _answer(self, port, frame):
        mac = self.answers[port].get(socket.inet_ntoa(frame[38:42]))
        if not mac:
            return
        own = mac_bytes(mac)
        if frame[0] & 1 or frame[:6] == own:
            self.send(port, frame[22:28] + own + b"\x08\x06" + frame[14:20] + b"\0\2" + own + frame[38:42] + frame[22:32] +
                      bytes(18))

    def drain(self):
        """Takes what has come, without waiting."""
        for fd, _ in self._poll.poll(0):
            port, sock = self._by_fd[fd]
            while True:
                try:
                    frame = sock.recv(65536)
                except OSError:
                    break
                self._heard(port, frame)
