// SPDX-License-Identifier: BSD-3-Clause
//
// The per-packet functions of IPv4, stage by stage, named and cut as the kernel's. A packet that
// cannot stay in its burst (ip_list.cc) enters here at the stage where it left it. Every function
// consumes skb. Return values mean nothing to the caller unless said so; what happened is in the
// counters. Origin: net/ipv4/{ip_input,ip_forward,ip_output,ip_fragment,ip_options,icmp}.c,
// include/net/ip.h.
#pragma once

#include "dataplane/netfilter/netfilter.h"
#include "route/route.h"

namespace slabfwd {

// ---- in (ip_input.cc)
/// Takes a received frame after eth_type_trans (data at the payload): ARP, IPv4, or nobody's:
/// counted. Origin: __netif_receive_skb_core.
void netif_receive_skb(sk_buff* skb);
/// IPv4 entry: data at the IP header. Checks, PRE_ROUTING, ip_rcv_finish.
int ip_rcv(sk_buff* skb, net_device* dev);
/// Every check of the header, each with its counter; null when skb was dropped. skb may be trimmed.
sk_buff* ip_rcv_core(sk_buff* skb, net& n);
int ip_rcv_finish(net& n, sk_buff* skb);
int ip_local_deliver(sk_buff* skb);
int ip_local_deliver_finish(net& n, sk_buff* skb);
bool ip_call_ra_chain(sk_buff* skb);

// ---- forward (ip_forward.cc)
int ip_forward(sk_buff* skb);
int ip_forward_finish(net& n, sk_buff* skb);
/// True when skb must not leave as it is: longer than mtu with DF (or frag_max_size). Origin:
/// ip_exceeds_mtu.
bool ip_exceeds_mtu(const sk_buff* skb, uint32_t mtu);

// ---- out (ip_output.cc)
int ip_output(sk_buff* skb);
int ip_mc_output(sk_buff* skb);
int ip_finish_output(net& n, sk_buff* skb);
int ip_finish_output2(net& n, sk_buff* skb);
/// Own packet with a complete header and a route: length, checksum, LOCAL_OUT, dst_output.
int ip_local_out(net& n, sk_buff* skb);
int __ip_local_out(net& n, sk_buff* skb);
/// The least mtu that a route may have for packets made here; through others none are made.
constexpr uint32_t IPV4_MIN_MTU = 68;
inline bool inetdev_valid_mtu(uint32_t mtu) {
    return mtu >= IPV4_MIN_MTU;
}
/// Header in front of data (transport header already there) and away: for ICMP, RST, ping.
/// fl4 carries the final addresses; opt may be null; ttl 0: the default. df: sets IP_DF. Counts skb
/// as originated. The route is to opt->faddr when opt has a source route.
int ip_build_and_send_pkt(net& n, sk_buff* skb, rtable* rt, const flowi4& fl4, uint8_t proto,
                          const ip_options* opt, const uint8_t* optdata, uint8_t tos, uint8_t ttl,
                          bool df);
/// Chooses the ID of an own packet. Origin: ip_select_ident / __ip_select_ident.
void ip_select_ident(net& n, sk_buff* skb);

// ---- fragments (ip_output.cc's ip_fragment, ip_fragment.cc's ip_defrag)
/// Sends skb in pieces of at most mtu through `output`; DF and too big: ICMP frag needed and
/// dropped.
int ip_fragment(net& n, sk_buff* skb, uint32_t mtu, int (*output)(net&, sk_buff*));
int ip_do_fragment(net& n, sk_buff* skb, uint32_t mtu, int (*output)(net&, sk_buff*));
constexpr uint32_t IP_DEFRAG_LOCAL_DELIVER = 0, IP_DEFRAG_CALL_RA_CHAIN = 1,
                   IP_DEFRAG_CONNTRACK_IN = 2;
/// Keeps skb until its datagram is complete. The whole datagram when this was the last piece
/// (chained mbufs, IP header of the first, IPSKB_FRAG_COMPLETE), else null: skb is held, or dropped
/// and counted.
sk_buff* ip_defrag(net& n, sk_buff* skb, uint32_t user);

// ---- options (ip_options.cc)
/// Parses skb's options into IPCB(skb)->opt; 0 or -EINVAL with *info = offset of the bad byte from
/// the IP header (for the parameter problem). Origin: ip_options_compile.
int ip_options_compile(net& n, sk_buff* skb, be32_t* info);
/// Parses received options and acts on source routes: false when skb was dropped (ICMP sent when
/// due).
bool ip_rcv_options(sk_buff* skb, net_device* dev);
int ip_options_rcv_srr(sk_buff* skb, net_device* dev);
/// Fills in record route, time stamp and source route when leaving. Origin: ip_forward_options.
void ip_forward_options(sk_buff* skb);
/// Blanks options that must not be copied into the second and later fragments. Origin:
/// ip_options_fragment.
void ip_options_fragment(sk_buff* skb);
/// Options of a reply to skb: *dopt and their bytes (40 at most). 0 or -EINVAL. Origin:
/// __ip_options_echo.
int ip_options_echo(net& n, ip_options* dopt, uint8_t* data, const sk_buff* skb);
/// Writes options behind the header of an own packet. Origin: ip_options_build.
void ip_options_build(net& n, sk_buff* skb, const ip_options* opt, const uint8_t* data,
                      be32_t daddr, const rtable* rt);

// ---- ICMP and the closed ports (icmp.cc, udp.cc, tcp_ipv4.cc)
/// Sends an ICMP error about skb_in (not consumed), unless it must not be sent or a limit holds it
/// back. info in network byte order. Origin: __icmp_send.
void icmp_send(sk_buff* skb_in, int type, int code, be32_t info);
int icmp_rcv(sk_buff* skb);
/// UDP and TCP have no sockets here: port unreachable, reset.
int udp_rcv(sk_buff* skb);
int tcp_v4_rcv(sk_buff* skb);

/// A receiver of ICMP echo replies: `ctl ping`. Called on the slot that got the reply (data at the
/// ICMP header). One at a time.
struct ping_listener {
    void (*reply)(ping_listener* self, const sk_buff* skb);
    be16_t id;
    /// An ICMP error about an echo request with this id: data at the quoted IP header, the ICMP
    /// header of the error at skb_transport_header. May stay null.
    void (*error)(ping_listener* self, const sk_buff* skb) = nullptr;
};
/// Sets (null: clears) the listener of the net. Control thread.
void ping_listen(net& n, ping_listener* listener);

/// Makes the IP layer of a net: handlers of route/ and neigh/, fragment queues ("ip4-frags" slab),
/// ICMP limits. Before workers start. 0 or -ENOMEM. Origin: ip_init, icmp_init, ipfrag_init.
int ip_init(net& n);
/// Frees it, held fragments included (dropped with SHUTDOWN). No worker runs.
void ip_exit(net& n);
/// Packets held in fragment queues now.
uint64_t ip_frag_held(const net& n);
/// Copies the counters of UDP-Lite (/proc/net/snmp) to `to`. Any thread.
void udplite_counts(const net& n, uint64_t (&to)[size_t(udp_mib::MAX)]);

/// An extra protocol above IP, as raw sockets and tunnels would register; only at start.
using net_protocol_handler = int (*)(sk_buff*);
int inet_add_protocol(net& n, uint8_t protocol, net_protocol_handler handler);

} // namespace slabfwd
