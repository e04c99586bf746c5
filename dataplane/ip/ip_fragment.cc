// SPDX-License-Identifier: BSD-3-Clause
//
// Reassembly: fragments of a datagram are kept until all are there, then go on as one packet.
// Doors: ip_defrag (ip_local_deliver, later connection tracking); ip_expire by timer.
// A fragment that overlaps another ends the whole datagram (RFC 5722); one that lies within what
// arrived in one go is a duplicate and ignored. A datagram that stays incomplete for ipfrag_time is
// dropped, with a time exceeded when its first fragment was there and it was for us. Threads: any
// slot; see inet_fragment.h for the locks. The timer runs where the first piece came in. Origin:
// net/ipv4/ip_fragment.c (6.18).
#include <algorithm>
#include <cerrno>

#include "dataplane/ip/ip_net.h"
#include "route/inetpeer.h"
#include "route/l3mdev.h"

namespace slabfwd {

namespace {

using enum skb_drop_reason;

constexpr uint8_t IPFRAG_ECN_NOT_ECT = 1, IPFRAG_ECN_ECT_1 = 2, IPFRAG_ECN_ECT_0 = 4,
                  IPFRAG_ECN_CE = 8;
constexpr uint8_t INET_ECN_CE = 3, ECN_INVALID = 0xff;

/// What the ECN fields of all fragments (one bit each) come to: bits to set in the whole, or
/// ECN_INVALID. RFC 3168, 5.3: CE wins over ECT; Not-ECT together with anything else is no datagram
/// of one sender.
constexpr uint8_t ip_frag_ecn(uint8_t seen) {
    if ((seen & IPFRAG_ECN_NOT_ECT) && seen != IPFRAG_ECN_NOT_ECT)
        return ECN_INVALID;
    bool marked = (seen & IPFRAG_ECN_CE) && (seen & (IPFRAG_ECN_ECT_0 | IPFRAG_ECN_ECT_1));
    return marked ? INET_ECN_CE : 0;
}

inline net& net_of(const inet_frag_queue* qp) {
    return *qp->dir->nd_net;
}

/// Has the source sent so much since this queue's last fragment that the ID may belong to another
/// datagram?
bool ip_frag_too_far(inet_frag_queue* qp) {
    int max = net_of(qp).ipv4.sysctl_ipfrag_max_dist;
    if (max <= 0)
        return false;
    inet_peer* peer = inet_getpeer_v4(net_of(qp), qp->key.saddr, int(qp->key.vif));
    if (!peer)
        return false;
    unsigned start = qp->rid;
    qp->rid = peer->rid.fetch_add(1, std::memory_order_relaxed) + 1;
    // A peer that was forgotten meanwhile counts from the start again.
    bool too_far = qp->fragments_tail && qp->rid > start && qp->rid - start > unsigned(max);
    if (too_far)
        IP_INC_STATS(ipstats_mib::REASMFAILS);
    return too_far;
}

/// Starts the datagram anew; what there was goes to *purged. False when its timer is just going
/// off.
bool ip_frag_reinit(inet_frag_queue* qp, sk_buff_head* purged) {
    jiffies_t expires = jiffies() + uint64_t(net_of(qp).ipv4.sysctl_ipfrag_time) * HZ;
    if (!mod_timer(&qp->timer, expires)) {
        inet_frag_hold(
            qp); // armed again by this: the timer's reference, which its handler is giving back
        return false;
    }
    inet_frag_rbtree_purge(qp, purged);
    qp->flags = 0;
    qp->len = qp->meat = 0;
    qp->iif = 0;
    qp->ecn = 0;
    return true;
}

/// Where a fragment belongs, checked against what is known of the whole. False: the datagram is
/// corrupt.
bool ip_frag_place(inet_frag_queue* qp, const sk_buff* skb, int* offset, int* end) {
    const iphdr* iph = ip_hdr(skb);
    unsigned frag_off = be16_to_cpu(iph->frag_off);
    *offset = int(frag_off & IP_OFFSET) << 3;
    *end = *offset + int(skb_len(skb)) - int(iph->hdr_len());
    if (!(frag_off & IP_MF)) {
        // The last one: nothing may lie beyond it, and a second last one must end at the same
        // place.
        if (*end < qp->len || ((qp->flags & INET_FRAG_LAST_IN) && *end != qp->len))
            return false;
        qp->flags |= INET_FRAG_LAST_IN;
        qp->len = *end;
    } else {
        *end &= ~7;
        if (*end > qp->len) {
            if (qp->flags & INET_FRAG_LAST_IN)
                return false;
            qp->len = *end;
        }
    }
    return *end != *offset;
}

/// Notes what skb, now in the queue, adds to the whole.
void ip_frag_account(inet_frag_queue* qp, sk_buff* skb, int offset) {
    const iphdr* iph = ip_hdr(skb);
    qp->iif = skb->dev ? skb->dev->ifindex : 0;
    qp->stamp = skb->tstamp;
    qp->meat += int(skb_len(skb));
    qp->ecn |= uint8_t(1 << (iph->tos & 3));
    inet_frag_charge(qp, skb);
    if (offset == 0)
        qp->flags |= INET_FRAG_FIRST_IN;
    unsigned fragsize = skb_len(skb) + iph->hdr_len();
    qp->max_size = std::max(qp->max_size, fragsize);
    if ((iph->frag_off & cpu_to_be16(IP_DF)))
        qp->max_df_size = std::max(qp->max_df_size, fragsize);
}

/// All pieces are there: makes the datagram of them. `last` is the one that came last: the whole
/// continues on its route and device. Null: it cannot be one; the pieces are in *purged.
sk_buff* ip_frag_reasm(inet_frag_queue* qp, sk_buff* last, sk_buff_head* purged) {
    net_device* dev = last->dev;
    dst_entry* dst = last->dst;
    const uint32_t rt_flags = last->rt_flags, rt_mtu = last->rt_mtu;
    const uint16_t rt_type = last->rt_type;
    const bool rt_is_input = last->rt_is_input;
    inet_frag_kill(qp);

    uint8_t ecn = ip_frag_ecn(qp->ecn);
    int len = int(ip_hdrlen(qp->first_run)) + qp->len;
    if (ecn == ECN_INVALID || len > 65535) {
        if (len > 65535)
            net_warn_ratelimited("Oversized IP packet from %08x", be32_to_cpu(qp->key.saddr));
        IP_INC_STATS(ipstats_mib::REASMFAILS);
        inet_frag_rbtree_purge(qp, purged);
        return nullptr;
    }
    sk_buff* skb = inet_frag_reasm_chain(qp);
    skb->dev = dev;
    skb->dst = dst;
    skb->rt_flags = rt_flags;
    skb->rt_mtu = rt_mtu;
    skb->rt_type = rt_type;
    skb->rt_is_input = rt_is_input;
    skb->tstamp = qp->stamp;
    skb->next = nullptr;
    skb_push(skb, ip_hdrlen(skb)); // back to the header of the first

    iphdr* iph = ip_hdr(skb);
    inet_skb_parm* cb = IPCB(skb);
    cb->frag_max_size = uint16_t(std::max(qp->max_df_size, qp->max_size));
    cb->flags |= IPSKB_FRAG_COMPLETE;
    iph->tot_len = cpu_to_be16(uint16_t(len));
    iph->tos |= ecn;
    // DF on the whole only when the largest piece had it: smaller ones may have been made on the
    // way.
    if (qp->max_df_size == qp->max_size) {
        cb->flags |= IPSKB_FRAG_PMTU;
        iph->frag_off = cpu_to_be16(IP_DF);
    } else {
        iph->frag_off = {};
    }
    ip_send_check(iph);
    IP_INC_STATS(ipstats_mib::REASMOKS);
    return skb;
}

struct frag_result {
    sk_buff* whole = nullptr;                 ///< the finished datagram
    unsigned pieces = 0;                      ///< it was made of
    skb_drop_reason reason = NOT_DROPPED_YET; ///< else: the fragment is to be dropped for this
    skb_drop_reason purge_reason = FRAG_INVALID;
};

/// Ends the datagram: all that is held of it goes to *purged.
void ip_frag_discard(inet_frag_queue* qp, sk_buff_head* purged) {
    inet_frag_kill(qp);
    inet_frag_rbtree_purge(qp, purged);
    IP_INC_STATS(ipstats_mib::REASMFAILS);
}

/// Enters skb into the queue; the bucket's lock is held. Origin: ip_frag_queue.
frag_result ip_frag_queue(inet_frag_queue* qp, sk_buff* skb, sk_buff_head* purged) {
    frag_result res;
    if (ip_frag_too_far(qp)) {
        res.purge_reason = FRAG_TOO_FAR;
        if (!ip_frag_reinit(qp, purged)) {
            inet_frag_kill(qp);
            inet_frag_rbtree_purge(qp, purged);
            res.reason = FRAG_REASM_TIMEOUT;
            return res;
        }
    }
    int offset, end;
    if (!ip_frag_place(qp, skb, &offset, &end) || !pskb_may_pull(skb, ip_hdrlen(skb))) {
        ip_frag_discard(qp, purged);
        res.reason = res.purge_reason = FRAG_INVALID;
        return res;
    }
    skb_pull(skb, ip_hdrlen(skb));
    skb_trim(skb, unsigned(end - offset));
    switch (inet_frag_queue_insert(qp, skb, offset, end)) {
    case ipfrag::DUP:
        res.reason = DUP_FRAG;
        return res;
    case ipfrag::OVERLAP:
        IP_INC_STATS(ipstats_mib::REASM_OVERLAPS);
        ip_frag_discard(qp, purged);
        res.reason = res.purge_reason = FRAG_INVALID;
        return res;
    case ipfrag::OK:
        break;
    }
    ip_frag_account(qp, skb, offset);
    if (qp->flags == (INET_FRAG_FIRST_IN | INET_FRAG_LAST_IN) && qp->meat == qp->len) {
        res.pieces = qp->held;
        res.whole = ip_frag_reasm(qp, skb, purged);
        res.purge_reason = FRAG_INVALID;
    } else {
        skb->dst = nullptr; // held longer than any route or device is good
        skb->dev = nullptr;
    }
    return res;
}

/// May the source be told that its datagram timed out? Only an end host does that.
bool ip_expire_may_report(net& n, inet_frag_queue* qp, sk_buff* head) {
    head->dev = dev_get_by_index(n, qp->iif);
    if (!head->dev)
        return false;
    const iphdr* iph = ip_hdr(head);
    skb_drop_reason reason = NOT_SPECIFIED;
    if (ip_route_input(head, iph->daddr, iph->saddr, iph->tos & INET_DSCP_MASK, head->dev, &reason))
        return false;
    return qp->key.user == IP_DEFRAG_LOCAL_DELIVER || head->rt_type == RTN_LOCAL;
}

/// A datagram has waited for ipfrag_time. Timer handler. Origin: ip_expire.
void ip_expire(inet_frag_queue* qp) {
    net& n = net_of(qp);
    sk_buff_head purged;
    bool had_first = false;
    {
        spin_guard guard(qp->bucket->lock);
        if (!(qp->flags & INET_FRAG_COMPLETE)) {
            had_first = qp->flags & INET_FRAG_FIRST_IN;
            inet_frag_kill(qp);
            inet_frag_rbtree_purge(qp, &purged);
            IP_INC_STATS(ipstats_mib::REASMFAILS);
            IP_INC_STATS(ipstats_mib::REASMTIMEOUT);
        }
    }
    if (sk_buff* head = purged.head; head && had_first && ip_expire_may_report(n, qp, head)) {
        trace_packet(head, "datagram %04x incomplete after %d s", be16_to_cpu(qp->key.id),
                     n.ipv4.sysctl_ipfrag_time.get());
        icmp_send(head, ICMP_TIME_EXCEEDED, ICMP_EXC_FRAGTIME, {});
    }
    skb_queue_purge_reason(&purged, FRAG_REASM_TIMEOUT);
    inet_frag_putn(qp); // the timer's
}

} // namespace

sk_buff* ip_defrag(net& n, sk_buff* skb, uint32_t user) {
    fqdir& d = n.ipv4.ip->frags;
    const iphdr* iph = ip_hdr(skb);
    frag_v4_compare_key key{iph->saddr, iph->daddr,
                            user,       uint32_t(l3mdev_master_ifindex(skb->dev)),
                            iph->id,    iph->protocol};
    IP_INC_STATS(ipstats_mib::REASMREQDS);

    sk_buff_head purged;
    frag_result res;
    frag_bucket& b = inet_frag_bucket(d, key);
    {
        spin_guard guard(b.lock);
        inet_frag_queue* qp = inet_frag_find(d, b, key);
        if (qp) {
            inet_frag_hold(qp);
            res = ip_frag_queue(qp, skb, &purged);
            inet_frag_putn(qp);
        } else {
            IP_INC_STATS(ipstats_mib::REASMFAILS);
            res.reason = NOMEM;
        }
    }
    skb_queue_purge_reason(&purged, res.purge_reason);
    if (res.reason != NOT_DROPPED_YET) {
        kfree_skb_reason(skb, res.reason);
        return nullptr;
    }
    if (!res.whole)
        return nullptr;
    this_softnet()->balance[balance_stat::delivered].add(res.pieces - 1);
    trace_packet(res.whole, "datagram %04x complete: %u fragments, %u bytes",
                 be16_to_cpu(ip_hdr(res.whole)->id), res.pieces, skb_len(res.whole));
    return res.whole;
}

uint64_t ip_frag_held(const net& n) {
    if (!n.ipv4.ip)
        return 0;
    return uint64_t(n.ipv4.ip->frags.held.load(std::memory_order_relaxed));
}

int ip_frag_init(net& n) {
    return fqdir_init(n.ipv4.ip->frags, n, ip_expire);
}

} // namespace slabfwd
