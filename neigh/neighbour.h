// SPDX-License-Identifier: BSD-3-Clause
//
// The neighbour table: who is behind a next hop. All NUD states, their timers, the queue of packets
// that wait for an answer, the cached link header, garbage collection by gc_thresh1/2/3, proxy
// entries. Doors: neigh_lookup / neigh_create, neigh_output (per packet), neigh_hh_read (burst),
// neigh_update, neigh_event_send. Entries come from slab "arp_cache", which all nets of the process
// share.
//
// Locking: order is tbl->lock, neigh->lock, a timer base's lock. The hash is read under RCU and
// written under tbl->lock; an entry's state, address, timer and queue change under neigh->lock; its
// cached header (hh) is read without a lock by its sequence count, which is odd while the header
// may not be used (being written, or the entry is not NUD_CONNECTED). No lock is held while a
// packet is sent or reported. Timers of an entry run on the slot that owns its device. Held packets
// carry no route (skb->dst null; the rt_* fields of sk_buff instead). refcnt counts the hash, the
// timer and the routes bound to the entry. Origin: include/net/neighbour.h, net/core/neighbour.c.
#pragma once

#include <array>
#include <vector>

#include "alloc/kmem_cache.h"
#include "neigh/netdevice.h"
#include "neigh/skbuff.h"
#include "neigh/timer.h"

namespace slabfwd {

constexpr uint8_t NUD_NONE = 0x00, NUD_INCOMPLETE = 0x01, NUD_REACHABLE = 0x02, NUD_STALE = 0x04,
                  NUD_DELAY = 0x08, NUD_PROBE = 0x10, NUD_FAILED = 0x20, NUD_NOARP = 0x40,
                  NUD_PERMANENT = 0x80;
constexpr uint8_t NUD_IN_TIMER = NUD_INCOMPLETE | NUD_REACHABLE | NUD_DELAY | NUD_PROBE;
constexpr uint8_t NUD_VALID =
    NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY;
constexpr uint8_t NUD_CONNECTED = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE;

constexpr uint32_t NEIGH_UPDATE_F_OVERRIDE = 1, NEIGH_UPDATE_F_WEAK_OVERRIDE = 2,
                   NEIGH_UPDATE_F_OVERRIDE_ISROUTER = 4, NEIGH_UPDATE_F_ISROUTER = 0x40000000,
                   NEIGH_UPDATE_F_ADMIN = 0x80000000u;

constexpr uint8_t NTF_USE = 0x01, NTF_PROXY = 0x08, NTF_EXT_LEARNED = 0x10, NTF_ROUTER = 0x80;

// clang-format off
/// X(field, sysctl name, default in the unit kept): times in jiffies. net.ipv4.neigh.{default,DEV}.*
#define SLABFWD_NEIGH_PARMS(X)                                                                    \
    X(mcast_probes, mcast_solicit, 3) X(ucast_probes, ucast_solicit, 3)                           \
    X(app_probes, app_solicit, 0) X(mcast_reprobes, mcast_resolicit, 0)                           \
    X(retrans_time, retrans_time_ms, int(HZ)) X(base_reachable_time, base_reachable_time_ms, int(30 * HZ)) \
    X(delay_probe_time, delay_first_probe_time, int(5 * HZ)) X(gc_staletime, gc_stale_time, int(60 * HZ))  \
    X(queue_len_bytes, unres_qlen_bytes, 212992) X(proxy_qlen, proxy_qlen, 64)                    \
    X(anycast_delay, anycast_delay, int(HZ)) X(proxy_delay, proxy_delay, int(HZ * 8 / 10))        \
    X(locktime, locktime, int(HZ)) X(interval_probe_time_ms, interval_probe_time_ms, int(5 * HZ))
// clang-format on

/// Tunables of one device (or the default).
struct neigh_parms {
#define X(field, name, def) sysctl_int field{def};
    SLABFWD_NEIGH_PARMS(X)
#undef X
    net_device* dev = nullptr;               ///< null for the default
    sysctl_int reachable_time{int(30 * HZ)}; ///< drawn from 0.5..1.5 x base_reachable_time
    std::atomic<uint32_t> data_state{
        0};                   ///< bit per field: set for this device, default no longer copied
    std::atomic<int> qlen{0}; ///< packets of this device in tbl->proxy_queue
    rcu_head rcu;
};

/// The cached link header. 16 bytes, header right-aligned (bytes 2..15 for Ethernet).
/// Origin: struct hh_cache.
struct hh_cache {
    std::atomic<uint32_t> hh_seq{1}; ///< odd: not usable
    uint32_t hh_len = 0;             ///< 0 until the header is filled in, then 14
    alignas(16) std::atomic<uint64_t> hh_data[2] = {0, 0};
};

struct neighbour;

/// How a kind of neighbour is asked, sent to and reported. Origin: struct neigh_ops.
struct neigh_ops {
    int family;
    void (*solicit)(neighbour*, sk_buff*);
    void (*error_report)(neighbour*,
                         sk_buff*);       ///< consumes skb; filled in by the IP layer at start
    void (*output)(neighbour*, sk_buff*); ///< while not connected: neigh_resolve_output
    void (*connected_output)(neighbour*, sk_buff*); ///< while connected
};

struct neighbour {
    // What a burst reads: one cache line.
    alignas(64) hh_cache hh;
    net_device* dev = nullptr;
    std::atomic<uint8_t> nud_state{NUD_NONE};
    uint8_t type = 0; ///< RTN_UNICAST, RTN_MULTICAST, RTN_BROADCAST, RTN_LOCAL
    std::atomic<uint8_t> dead{0};
    uint8_t flags = 0; ///< NTF_*
    be32_t primary_key;

    alignas(64) spinlock_t lock;
    std::atomic<int> refcnt{1};
    uint8_t ha[ETH_ALEN] = {}; ///< link address, valid in NUD_VALID; under lock
    neighbour* next = nullptr; ///< hash chain, RCU
    struct neigh_table* tbl = nullptr;
    neigh_parms* parms = nullptr;
    const neigh_ops* ops = nullptr;
    void (*output)(neighbour*,
                   sk_buff*) = nullptr; ///< atomic access; ops->output or ops->connected_output
    /// When the address was last confirmed / the entry last changed; READ_ONCE without the lock.
    jiffies_t confirmed = 0, updated = 0;
    std::atomic<jiffies_t> used{0};
    std::atomic<int> probes{0};
    timer_list timer;
    sk_buff_head arp_queue; ///< packets waiting, under lock
    uint32_t arp_queue_len_bytes = 0;
    neighbour *gc_next = nullptr,
              *gc_prev = nullptr; ///< tbl->gc_list, oldest first, under tbl->lock
    bool on_gc_list = false;
    bool asked = false; ///< on tbl's list of questions, under tbl->question_lock
    neighbour *question_next = nullptr, *question_prev = nullptr;
    uint8_t protocol = 0; ///< who made it (RTPROT_*), for `ip neigh`
    rcu_head rcu;
};

/// An address answered for by proxy ARP (`ip neigh add proxy`). Origin: struct pneigh_entry.
struct pneigh_entry {
    pneigh_entry* next = nullptr; ///< tbl->phash, RCU
    net_device* dev = nullptr;    ///< null: on every device
    be32_t key;
    uint8_t flags = 0, protocol = 0;
    bool permanent = false; ///< survives a lost carrier
    rcu_head rcu;
};

/// Buckets of the table; a new one when it grows. Origin: struct neigh_hash_table.
struct neigh_hash_table {
    unsigned hash_shift;
    uint32_t hash_rnd;
    rcu_head rcu;
    __extension__ neighbour* hash_heads[]; ///< 1 << hash_shift chains
};

/// The table of one net. Origin: struct neigh_table.
struct neigh_table {
    net* nd_net = nullptr;
    int (*constructor)(neighbour*) = nullptr; ///< arp_constructor, ndisc_constructor
    /// Addresses by key, less one: nd_tbl's; the control thread's. See ndisc.h.
    std::vector<std::array<uint8_t, 16>> in6;
    neigh_parms parms; ///< default, copied for each new device
    sysctl_int gc_interval{int(30 * HZ)}, gc_thresh1{128}, gc_thresh2{512}, gc_thresh3{1024};
    sysctl_int gc_stale_time_default{int(60 * HZ)};
    /// Bound on packets held by all entries together, so that they cannot starve the receive pool.
    sysctl_int held_max{4096};
    std::atomic<int> held{0}; ///< packets in arp_queues now
    std::atomic<int> entries{0}, gc_entries{0};
    spinlock_t lock;                 ///< hash writes, gc_list
    neigh_hash_table* nht = nullptr; ///< RCU; grown under lock when entries > buckets
    neighbour *gc_head = nullptr, *gc_tail = nullptr;
    jiffies_t last_flush = 0, last_rand = 0;
    timer_list gc_work;          ///< periodic gc, on slot 0
    unsigned gc_bucket = 0;      ///< where it goes on; 0: a new round
    /// Entries in NUD_INCOMPLETE, the one asked for longest first (neighbour_question.cc). The lock
    /// is the innermost: taken with an entry's lock held.
    spinlock_t question_lock;
    neighbour *question_head = nullptr, *question_tail = nullptr;
    std::atomic<int> questions{0};
    jiffies_t question_jiffy = 0; ///< when question_replaced was 0 last
    int question_replaced = 0;    ///< questions that made way for newer ones in this jiffy
    kmem_cache* cache = nullptr; ///< "arp_cache"
    spinlock_t proxy_lock;       ///< proxy_queue, proxy_timer
    timer_list proxy_timer;
    sk_buff_head proxy_queue;      ///< requests whose proxy answer is delayed; they count as held
    pneigh_entry* phash = nullptr; ///< RCU list, written under lock
};

/// Fast path: the cached header of a connected entry as two words (store at ETH header - 2 bytes).
/// False when it may not be used now; then neigh_output() decides. Any slot, no lock.
[[gnu::always_inline]] inline bool neigh_hh_read(const neighbour* n, uint64_t out[2]) {
    uint32_t seq = n->hh.hh_seq.load(std::memory_order_acquire);
    out[0] = n->hh.hh_data[0].load(std::memory_order_acquire);
    out[1] = n->hh.hh_data[1].load(std::memory_order_acquire);
    return !(seq & 1) && n->hh.hh_seq.load(std::memory_order_relaxed) == seq;
}

inline neighbour* neigh_clone(neighbour* n) {
    n->refcnt.fetch_add(1, std::memory_order_relaxed);
    return n;
}
/// Takes a reference to an entry found under RCU; false when it is being destroyed
/// (refcount_inc_not_zero).
inline bool neigh_tryget(neighbour* n) {
    int ref = n->refcnt.load(std::memory_order_relaxed);
    while (ref > 0)
        if (n->refcnt.compare_exchange_weak(ref, ref + 1, std::memory_order_relaxed))
            return true;
    return false;
}
/// Gives a reference back; the last one destroys the entry after a grace period. Origin:
/// neigh_release.
void neigh_release(neighbour* n);

/// Makes the tables of a net: before its devices are registered. net.arp_tbl and net.nd_tbl are set;
/// "arp_cache" is made when this is the first net. 0 or -ENOMEM. Origin: neigh_table_init, arp_init.
int neigh_table_init(net& n);
/// Frees the tables, their entries and held packets; after the workers have stopped and routes have
/// given their neighbours back. An entry that somebody still holds is reported and leaks.
void neigh_table_clear(net& n);
/// Parameters of a device: a copy of the default. Null when out of memory. Origin:
/// neigh_parms_alloc.
neigh_parms* neigh_parms_alloc(net_device* dev, neigh_table* tbl);
/// Frees them after a grace period; the device's entries are gone.
void neigh_parms_release(neigh_parms* p);
/// Writes one tunable (jiffies where it is a time) as its sysctl does: a write to the default goes
/// to all devices whose own was never written; base_reachable_time draws a new reachable_time.
/// Control thread. Origin: neigh_proc_update, neigh_copy_dflt_parm, neigh_proc_base_reachable_time.
void neigh_parms_write(net& n, neigh_parms* p, sysctl_int neigh_parms::*field, int value);

/// Lookup under RCU without a reference / with one. Null when there is none.
neighbour* __neigh_lookup_noref(neigh_table* tbl, be32_t key, const net_device* dev);
neighbour* neigh_lookup(neigh_table* tbl, be32_t key, const net_device* dev);
/// Finds or makes the entry of key on dev, with a reference if want_ref; null when the table is
/// full (gc_thresh3) or memory is out. Any slot. Origin: __neigh_create.
neighbour* neigh_create(neigh_table* tbl, be32_t key, net_device* dev, bool want_ref);
/// The same for an address that nobody is known to have: null also when as many hosts are being
/// asked for as the table has room for (half of gc_thresh3) and none may make way yet.
neighbour* neigh_create_question(neigh_table* tbl, be32_t key, net_device* dev, bool want_ref);
/// The table is at gc_thresh3: another entry needs one that goes.
inline bool neigh_table_full(const neigh_table* tbl) {
    return tbl->gc_entries.load(std::memory_order_relaxed) >= tbl->gc_thresh3;
}
/// For a gateway or an on-link destination, under RCU, no reference; made when missing. Origin:
/// ip_neigh_for_gw.
neighbour* ip_neigh_gw4(net_device* dev, be32_t daddr);
/// The same for an IPv6 gateway by its key in net.nd_tbl.
neighbour* ip_neigh_gw6(net_device* dev, be32_t key);

/// Sends skb (IP header at data) through n: header added and transmitted, or queued, or dropped and
/// counted. Consumes skb. Origin: neigh_output.
void neigh_output(neighbour* n, sk_buff* skb);
void neigh_resolve_output(neighbour* n, sk_buff* skb);
void neigh_connected_output(neighbour* n, sk_buff* skb);
void neigh_direct_output(neighbour* n, sk_buff* skb);
/// Starts resolution / probing as the state asks. 0: usable now; 1: skb (may be null) was queued or
/// dropped (consumed).
int neigh_event_send(neighbour* n, sk_buff* skb);
/// New knowledge: address (may be null) and state. 0; -EPERM: dead, or permanent/noarp and not
/// ADMIN; -EINVAL: no address given and none known. Packets that waited are sent from here.
int neigh_update(neighbour* n, const uint8_t* lladdr, uint8_t new_state, uint32_t flags);
/// A frame from `lladdr` claimed saddr: entry made when creat. Origin: neigh_event_ns.
/// Returned with a reference; null when the table is full.
neighbour* neigh_event_ns(neigh_table* tbl, const uint8_t* lladdr, be32_t saddr, net_device* dev);
/// A failed entry is asked for once more. Caller holds n->lock.
void __neigh_set_probe_once(neighbour* n);
/// An upper layer got an answer from this neighbour. Origin: neigh_confirm.
void neigh_confirm(neighbour* n);
/// The device's address changed / it went down (null: all devices) / it lost its carrier (permanent
/// entries stay): entries are flushed, what waited in them is dropped. Control thread; the notifier
/// that neigh_table_init registers calls them.
void neigh_changeaddr(neigh_table* tbl, net_device* dev);
void neigh_ifdown(neigh_table* tbl, net_device* dev);
void neigh_carrier_down(neigh_table* tbl, net_device* dev);
/// The device went down: in all tables of its net.
void neigh_ifdown_all(net& n, net_device* dev);
/// Packets that wait in all entries of a net's tables.
int neigh_held(const net& n);

/// Control thread: `ip neigh` add/replace/change/append and del. lladdr null: none given.
/// create, exclusive, replace are NLM_F_CREATE, _EXCL, _REPLACE: add = create + exclusive, change =
/// replace, replace = create + replace, append = create. With NTF_PROXY a proxy entry (dev may then
/// be null). 0 or -errno: -EEXIST, -ENOENT, -EINVAL (no device, no address), -ENOBUFS (table full,
/// out of memory).
int neigh_add(neigh_table* tbl, net_device* dev, be32_t dst, const uint8_t* lladdr, uint8_t state,
              bool create, bool exclusive, uint8_t ntf_flags, bool replace = true,
              uint8_t protocol = 0);
int neigh_delete(neigh_table* tbl, net_device* dev, be32_t dst, uint8_t ntf_flags = 0);
/// The same in the net's ARP table.
int neigh_add(net& n, net_device* dev, be32_t dst, const uint8_t* lladdr, uint8_t state,
              bool create, bool exclusive, uint8_t ntf_flags, bool replace = true,
              uint8_t protocol = 0);
int neigh_delete(net& n, net_device* dev, be32_t dst, uint8_t ntf_flags = 0);

/// Proxy entries: find (under RCU, exact device or the entry for all), make, take out. 0 or
/// -ENOENT, -ENOBUFS. Origin: pneigh_lookup, pneigh_create, pneigh_delete.
pneigh_entry* pneigh_lookup(neigh_table* tbl, be32_t key, const net_device* dev);
int pneigh_create(neigh_table* tbl, be32_t key, net_device* dev, uint8_t flags, uint8_t protocol,
                  bool permanent);
int pneigh_delete(neigh_table* tbl, be32_t key, const net_device* dev);
/// Holds an ARP request for a random part of proxy_delay, then gives it back to arp_process.
/// Consumes skb.
void pneigh_enqueue(neigh_table* tbl, neigh_parms* p, sk_buff* skb);

/// Calls fn(entry) for each entry (order of buckets); under RCU on the calling slot.
void neigh_for_each(neigh_table* tbl, void (*fn)(neighbour*, void*), void* cookie);
/// True while some timer of the table may still send or free a packet: an entry is being resolved
/// or probed, or will be; a proxy answer waits. Replay runs its clock on until this is false.
bool neigh_table_active(neigh_table* tbl);
/// Draws reachable_time anew from 0.5 .. 1.5 x base. Origin: neigh_rand_reach_time.
int neigh_rand_reach_time(int base);
/// "REACHABLE", "STALE", ...; "NONE" for 0.
const char* nud_state_name(uint8_t state);
/// Debug check of an entry's invariants: bytes and length of its queue, which is empty but in
/// NUD_INCOMPLETE; timer pending only in NUD_IN_TIMER; hh usable exactly when connected, and right;
/// output as the state asks; membership of the gc list and of the list of questions. Takes the
/// locks; the entry must be at rest.
bool neigh_is_valid(neighbour* n);

} // namespace slabfwd
