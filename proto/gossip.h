/* The codec of gossip.proto: what members say to each other. A frame has a header (whose cluster,
 * who speaks, what kind of message) and any number of records about members, each a rumour or a row
 * of the sender's table. Decoding checks sizes and counts before it writes what they are about, and
 * allocates nothing: names and blobs point into the frame. Whatever comes in, the answer is a
 * value, never an assertion. Pure. */
#ifndef TROUPE_PROTO_GOSSIP_H
#define TROUPE_PROTO_GOSSIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "troupe/bytes.h"

enum {
    GOSSIP_FRAME_BYTES_MAX = 16 << 10,
    GOSSIP_UID_BYTES = 16,
    GOSSIP_NAME_BYTES_MAX = 63,
    GOSSIP_META_BYTES_MAX = 512, /* of a member's metadata: MemberMeta in gossip.proto */
    GOSSIP_RECORDS_MAX = 1024,   /* in one frame */
    GOSSIP_BUCKETS = 128,        /* of a digest */
};

enum gossip_type {
    GOSSIP_PING = 1, /* are you there? seq, target */
    GOSSIP_ACK,      /* I am: seq of the ping */
    GOSSIP_PING_REQ, /* ask target for me: seq, target */
    GOSSIP_NACK,     /* I asked, and have not heard from it: seq of the ping-req */
    GOSSIP_RUMOURS,  /* nothing but records */
    GOSSIP_DIGEST,   /* this is what I have, bucket by bucket: send me what differs */
    GOSSIP_RECORDS,  /* that is my side of the buckets asked about */
    GOSSIP_OWNERS,   /* nothing but owners: a part of the owner map, in owner_map's own coding */
    GOSSIP_TYPES,
};

/* How a member is, as the rumour tells. The first three are the member's own word. */
enum gossip_state {
    GOSSIP_JOINING = 1,
    GOSSIP_ACTIVE,
    GOSSIP_DRAINING,
    GOSSIP_SUSPECT,
    GOSSIP_DEAD,
    GOSSIP_LEFT,
    GOSSIP_STATES,
};

struct gossip_record {
    struct troupe_bytes name; /* 1 to GOSSIP_NAME_BYTES_MAX bytes */
    uint64_t generation, incarnation;
    uint8_t state;                 /* enum gossip_state */
    struct troupe_bytes suspecter; /* with GOSSIP_SUSPECT and GOSSIP_DEAD: whose word it is */
    struct troupe_bytes meta;      /* at most GOSSIP_META_BYTES_MAX; empty = not told */
};

struct gossip_frame {
    uint8_t uid[GOSSIP_UID_BYTES]; /* of the cluster */
    uint8_t type;                  /* enum gossip_type */
    struct troupe_bytes from;      /* the sender's name */
    uint64_t from_generation;
    uint64_t seq;
    struct troupe_bytes target; /* whom a ping is meant for; empty = whoever is there */
    uint64_t members_hash;      /* of all the sender knows of the members … */
    uint64_t owners_hash;       /* … and of the owners; 0 = not told */
    uint32_t load;              /* of the sender: the driver's measure */
    bool hot;                   /* the sender has rumours that it is still spreading */
    bool reply; /* DIGEST, RECORDS: the other side is expected to answer with its own */
    /* GOSSIP_DIGEST: little-endian u32 per bucket, GOSSIP_BUCKETS of them, or empty: I know
     * nothing. GOSSIP_RECORDS: the same, of the sender, where reply is set. */
    struct troupe_bytes digest;
    struct troupe_bytes owners; /* opaque here */
    /* decoding: out; encoding: not looked at, see gossip_encode_record */
    size_t records_n;
};

/* Decodes the header into *frame and up to GOSSIP_RECORDS_MAX records into records. Everything
 * points into bytes. Unknown fields are skipped. Errors, with *why a static text: TROUPE_ELIMIT
 * (frame, records, names or metadata too large), TROUPE_EMALFORMED (also: a type, state or name
 * that cannot be, a digest of another size, a missing uid or sender). What is in *frame and records
 * after an error means nothing. */
int gossip_decode(struct troupe_bytes bytes, struct gossip_frame *frame,
                  struct gossip_record records[GOSSIP_RECORDS_MAX], const char **why);

/* Encoding: the header, then records behind it, into one buffer; out has room for size bytes. Each
 * returns the bytes it wrote, or 0 when there is no room (nothing is written then). What would not
 * be decoded again (see the limits above) must not be asked for. */
size_t gossip_encode_header(const struct gossip_frame *frame, uint8_t *out, size_t size);
size_t gossip_encode_record(const struct gossip_record *record, uint8_t *out, size_t size);

#endif
