/* The owner map: who owns each partition and since which epoch, as far as this node has heard
 * (DESIGN §4). Pure. The store is the truth; the map says to whom a call is forwarded, and a wrong
 * guess costs one forward.
 *
 * It is a CRDT (Shapiro et al., "Conflict-free Replicated Data Types", SSS 2011): per partition a
 * register that keeps the greatest (epoch, name) it has met. Merging is commutative, associative
 * and idempotent, so frames may be lost, doubled or overtaken. The store never gives one epoch to
 * two owners; should a peer say otherwise, the greater name wins, and all agree all the same.
 *
 * It spreads as members do (see swim.h): what is new is told a limited number of times, and what
 * that misses is found by comparing hashes, then digests, a hash per chunk of partitions:
 *
 *   A: owner_map_put_digest ──▶ B: owner_map_apply, then owner_map_put_answer with what differs:
 *   A: owner_map_apply      ◀──    B's rows of those chunks and B's digest of them
 *   A: owner_map_put_answer ──▶ B: owner_map_apply; now both are equal
 *
 * What comes that way is not told on as news: a node that joins would repeat the whole map to those
 * it has it from. Who else lacks it finds out as we did.
 *
 * A register that only grows has a weakness: a wrong epoch that is high stays. The store's word,
 * read after a record was heard, is later than it: if that read has less, the record was never
 * true, or is not any more (owner_map_correct). It is remembered, and not taken again from those
 * who still have it. That they are told of a lesser one than what they have had for a while, or
 * that somebody comes with what was found wrong, is a doubt: the driver has the store read again.
 * So all heal.
 *
 * All memory is taken at init. Whatever comes in, the answer is a value and the map is sound. The
 * format is in docs/protocol.md, "The owner map". */
#ifndef TROUPE_CLUSTER_OWNER_MAP_H
#define TROUPE_CLUSTER_OWNER_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/name.h"
#include "cluster/intern.h"
#include "proto/gossip.h"

enum {
    OWNER_MAP_NAME_BYTES_MAX = GOSSIP_NAME_BYTES_MAX,
    OWNER_MAP_NAMES_MAX = 1 << 20,
    OWNER_MAP_CHUNKS_MIN = 16, /* a small map is compared in finer parts */
    OWNER_MAP_CHUNK_PARTITIONS = 256,
    OWNER_MAP_CHUNKS_MAX = PARTITIONS_MAX / OWNER_MAP_CHUNK_PARTITIONS,
    OWNER_MAP_SOURCES_MAX = 1024, /* owners, or timelines of owners, in one field of records */
    OWNER_MAP_TOLD_MAX = 64,      /* news is told so many times at most, whatever the multiplier */
    /* A payload: the rest of the frame is for the header and its lengths. */
    OWNER_MAP_PAYLOAD_BYTES_MAX = GOSSIP_FRAME_BYTES_MAX - 1024,
    OWNER_MAP_PAYLOAD_BYTES_MIN = OWNER_MAP_CHUNKS_MAX * 10 + 256,
    OWNER_MAP_NONE = UINT32_MAX,
    OWNER_MAP_TICK_MS = 100,
    OWNER_MAP_REFUTED = 4,        /* wrong records of a partition that are remembered */
    OWNER_MAP_SETTLED_TICKS = 30, /* what has been known for so long, others have heard, too */
};

/* What a store gives out at most (storage/request.c). A peer that tells of a higher one would have
 * the last word for ever. */
#define OWNER_MAP_EPOCH_MAX ((uint64_t)INT64_MAX)

/* epoch 0 and no name: nothing has been heard. No name and a higher epoch: it belongs to nobody. */
struct owner {
    struct troupe_bytes name; /* the map's, valid until the next owner_map_set or _apply */
    uint64_t epoch;
};

struct owner_map_entry {
    uint64_t epoch;
    uint32_t name; /* number in names, or INTERN_NONE: nobody */
    uint32_t news_prev, news_next;
    uint32_t change_next;
    uint32_t heard; /* in ticks, from anybody */
    /* Hashes of the last records that the store has shown to be wrong; 0 = none. Several, for
     * several may go round, and each that is put away would else come back in the place of the
     * other. */
    uint32_t refuted[OWNER_MAP_REFUTED];
    uint8_t refuted_n; /* ever; modulo 256 */
    uint8_t told;
    uint8_t flags;
};

struct owner_map_list {
    uint32_t head, tail, n;
};

/* While records are written or read: an owner, and its epoch in the record before. */
struct owner_map_source {
    struct troupe_bytes name; /* reading */
    uint64_t epoch;
    uint32_t number;   /* writing: that of the name, or names.slots_n: nobody */
    uint32_t timeline; /* writing: the upper bits of its epochs */
    uint32_t next;     /* writing: another source of the same owner */
};

struct owner_map {
    struct intern names; /* a reference for each partition that has the owner */
    struct owner_map_entry *entries;
    uint32_t partitions, chunks, chunk_bits; /* a chunk has 1 << chunk_bits partitions */
    uint64_t sums[OWNER_MAP_CHUNKS_MAX];     /* of the hashes of each chunk's entries */
    uint64_t sum;
    uint64_t refused, doubts;
    uint32_t now;                                   /* in ticks */
    struct owner_map_list news[OWNER_MAP_TOLD_MAX]; /* by how often it has been told */
    uint32_t news_n, told_limit;
    struct owner_map_list changes;
    struct owner_map_source *sources;
    uint32_t *source_of; /* by number of the name, nobody last: the newest source, while writing */
};

/* A map in which nothing has been heard. partitions: see name.h. names_max: owners at once, the
 * dead and the departed that still own something included; leave a margin. TROUPE_EINVAL,
 * TROUPE_ENOMEM. */
int owner_map_init(struct owner_map *m, uint32_t partitions, uint32_t names_max);
void owner_map_close(struct owner_map *m);

/* What the store said: owner (empty: nobody; copied) has pid at this epoch. True: that was new, and
 * will be told. False: it was known, or overtaken, or refused: no room for another name, or the
 * name is too long. */
bool owner_map_set(struct owner_map *m, uint32_t pid, struct troupe_bytes owner, uint64_t epoch);
/* The time, in ticks of OWNER_MAP_TICK_MS; 0 at first, and never less than before. */
void owner_map_set_time(struct owner_map *m, uint32_t ticks);
/* When a record of pid was heard last, be it from the store. */
uint32_t owner_map_heard(const struct owner_map *m, uint32_t pid);
/* It has been told, by whomever, and was known. */
void owner_map_hear(struct owner_map *m, uint32_t pid);
/* What the store said when it was asked in that tick. True: what was heard before then, and is
 * greater, was wrong; the store's word is taken, and will be told. */
bool owner_map_correct(struct owner_map *m, uint32_t pid, struct troupe_bytes owner, uint64_t epoch,
                       uint32_t asked);
/* How many records were told that contradict what we have in a way that only the store can settle.
 */
uint64_t owner_map_doubts(const struct owner_map *m);
struct owner owner_map_get(const struct owner_map *m, uint32_t pid);
/* Of all entries, for swim_set_owners_hash: equal maps have equal ones. Never 0. O(1). */
uint64_t owner_map_hash(const struct owner_map *m);
/* The next partition that owner_map_apply has changed since it was last returned (several changes
 * of one are one), in the order of their first change; OWNER_MAP_NONE when there is none. */
uint32_t owner_map_next_change(struct owner_map *m);
/* Records, told or set, that found no room for their owner's name, or whose name is too long. */
uint64_t owner_map_refused(const struct owner_map *m);

/* ---- news ---- */

/* How many members are alive (swim_live), us included, and the multiplier: each piece of news is
 * told mult * ceil(log10(members + 1)) times. To be called before the first owner_map_set, and when
 * the number changes. With nobody to tell, nothing is news: who comes later compares. */
void owner_map_set_audience(struct owner_map *m, uint32_t members, uint32_t mult);
bool owner_map_has_news(const struct owner_map *m);
/* A payload of news, the least told first; all in it counts as told once more. The bytes written; 0
 * when there is none. size >= OWNER_MAP_PAYLOAD_BYTES_MIN, here and below. */
size_t owner_map_put_news(struct owner_map *m, uint8_t *out, size_t size);

/* ---- comparing ---- */

/* Chunks in which a peer's digest was seen to differ from ours. */
struct owner_map_diff {
    uint64_t chunks[OWNER_MAP_CHUNKS_MAX / 64];
    bool any;
    bool ask; /* the peer has not shown its rows: the answer is to ask for them */
};

/* A payload that asks a peer to compare: the frame is sent with reply. */
size_t owner_map_put_digest(const struct owner_map *m, uint8_t *out, size_t size);
/* The next payload that answers diff, beginning with *at = 0; 0 when there is no more (*at is then
 * beyond the end). The frames are sent with reply = diff->ask. The map must not change in between,
 * or some of it may have to be compared again. */
size_t owner_map_put_answer(struct owner_map *m, const struct owner_map_diff *diff, uint32_t *at,
                            uint8_t *out, size_t size);

/* ---- a payload came in ---- */

/* Merges what is in it; it is not kept. *diff is written in any case; diff->any: it is to be
 * answered. Errors, with *why a static text: TROUPE_EMALFORMED (also: of a map with another number
 * of partitions), TROUPE_ELIMIT. Records that stand before the error have been merged then, and
 * nothing is to be answered. */
int owner_map_apply(struct owner_map *m, struct troupe_bytes payload, struct owner_map_diff *diff,
                    const char **why);

#endif
