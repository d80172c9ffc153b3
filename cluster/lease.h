/* The lease: a node's right to own anything, as the holder itself sees it (DESIGN §6.1, §6.9; Gray
 * & Cheriton, "Leases", SOSP 1989). Pure: it is told when a renewal was sent and what came back,
 * and answers until when the node may answer calls. It errs to the safe side: the holder's deadline
 * counts from before the renewal was sent, the others' from when the store saw it, and the holder
 * stops a margin earlier.
 *
 * A node that is alone asks for a long lease (outage_grace): as nobody else can evict it before
 * that is over, it can serve from memory while the store is away. With company the TTL is short, so
 * that failover is quick.
 *
 * Or the others promise: see lease_promised.
 *
 * Times are ns of CLOCK_BOOTTIME, which runs on in suspend. But a virtual machine that is stopped,
 * or restored from a snapshot, goes on with the BOOTTIME that it had, and gets a new REALTIME: a
 * jump between the two counts as loss of the lease until the next renewal. That is one which is
 * sent after the jump: the answer to an earlier one tells of a time that nobody knows how long ago
 * was. The same holds for promises. */
#ifndef TROUPE_CLUSTER_LEASE_H
#define TROUPE_CLUSTER_LEASE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    LEASE_MARGIN_MS = 500,
    LEASE_CLOCK_JUMP_MS = 400,     /* more is a jump; below the margin, which covers what is not */
    LEASE_ACQUAINT_MS = 1500,      /* after news of another node, renewals are so frequent … */
    LEASE_ACQUAINT_RENEW_MS = 200, /* … for so long */
};

_Static_assert((int)LEASE_CLOCK_JUMP_MS < (int)LEASE_MARGIN_MS,
               "who stands still unnoticed stops in time all the same");

struct lease_config {
    uint64_t ttl_ns, renew_ns;
    uint64_t outage_grace_ns; /* the TTL to ask for while no other node is registered */
    bool outage_fence;        /* ask for ttl_ns in any case */
};

struct lease {
    struct lease_config config;
    bool held;              /* granted, and not known to be lost */
    bool alone;             /* the last renewal saw no other active node */
    bool in_flight;         /* a renewal is on its way */
    bool void_in_flight;    /* … which counts for nothing: the clocks have jumped since */
    bool jumped;            /* the clocks have, or the store, since the last renewal that counts */
    uint64_t sent_ns;       /* of the renewal, or registration, on its way */
    int64_t sent_clocks_ms; /* wall - mono, then */
    uint64_t sent_ttl_ns;   /* the TTL that it asks for */
    uint64_t renewed_ns;    /* when the last successful renewal was sent */
    uint64_t next_ns;       /* send the next renewal then */
    uint64_t soon_until_ns; /* until then the renewals follow each other sooner */
    uint64_t deadline_ns;   /* may serve until then … */
    uint64_t promised_ns;   /* … or then, as nobody will evict us before; 0 = no promise */
    uint32_t failures;      /* renewals in a row that did not come back well */
    int64_t clocks_ms;      /* wall - mono when the last renewal that counts was sent */
};

void lease_init(struct lease *l, const struct lease_config *config);
/* A registration is sent now, for config.ttl_ns. wall_ms, here and below: CLOCK_REALTIME. */
void lease_ask(struct lease *l, uint64_t now_ns, uint64_t wall_ms);
/* It came back well: the lease is held, and stands, unless the clocks have jumped meanwhile. */
void lease_grant(struct lease *l, uint64_t now_ns, uint64_t wall_ms);
/* A renewal is sent now; returns the TTL in ns that it has to ask for. */
uint64_t lease_send(struct lease *l, uint64_t now_ns, uint64_t wall_ms);
/* It came back well. others: active nodes besides us that the store knows. False: it counts for
 * nothing, since the clocks have jumped since it was sent; the next one is due. */
bool lease_renewed(struct lease *l, uint64_t now_ns, uint64_t wall_ms, uint32_t others);
/* Another run of a node is said to be there, or this one is the new one: some renewals follow soon.
 * They tell both of each other, and whether one knows the other decides how soon it may be evicted.
 * And a lease that is long because we are alone ends with them: a crash of ours would keep
 * everybody out for as long. */
void lease_company(struct lease *l, uint64_t now_ns);
/* Whoever gave the lease is the store no more (it has failed over to another copy of the data): it
 * has ended, until a renewal is answered by the new one. in_flight_counts: the one on its way has
 * been. */
void lease_void(struct lease *l, uint64_t now_ns, bool in_flight_counts);
/* The renewal failed: the store cannot be reached, or the outcome is unknown. */
void lease_failed(struct lease *l, uint64_t now_ns);
/* Everybody who could evict us has promised not to for config.ttl_ns, when asked at asked_ns or
 * later. Holds for at most outage_grace_ns after the last renewal; not at all once the clocks have
 * jumped: we may have been evicted while they stood. */
void lease_promised(struct lease *l, uint64_t asked_ns);
/* Until when the node may serve. */
uint64_t lease_end_ns(const struct lease *l);
/* The store says that it is not ours any more. */
void lease_lose(struct lease *l);
/* Whether the node may answer at this moment. Also notices clock jumps. */
bool lease_is_valid(struct lease *l, uint64_t now_ns, uint64_t wall_ms);
bool lease_renewal_is_due(const struct lease *l, uint64_t now_ns);

#endif
