/* Which kinds the cluster has (DESIGN §7, "Versions and kinds"). Nodes tell in their lease rows
 * what they have, and in which versions; a renewal, which reads those rows anyway, brings it about.
 * A kind *opens* when every active node has it, at the version that all have; what has opened is
 * written down in the store, by compare and set, and stays: a node that lacks it takes no
 * partitions, for it could not run their entities, and forwards. So a call to what may exist is
 * never answered NOT_FOUND, and a state is never written in a form that some node cannot read.
 *
 * A row whose node has not told yet holds the opening up. If it renews and still does not tell, its
 * program is of before, and is taken to have everything, at version 0.
 *
 * A text is "name:version,name:version"; what a row tells begins with the generation that it is of,
 * "3;venue:2", for a later run of an older program leaves it as it is. */
#ifndef TROUPE_RUNTIME_KINDS_OPEN_H
#define TROUPE_RUNTIME_KINDS_OPEN_H

#include "base/arena.h"
#include "storage/store.h"

enum { KINDS_WHY_BYTES = 400 };

/* Another active node, as its row tells. */
struct kinds_row {
    const char *name;
    const char *kinds; /* NULL: it has not told */
    uint64_t generation, renew_seq;
    bool silent; /* … though it has renewed: a program of before */
};

struct kinds_open {
    struct arena arenas[2]; /* of the rows of the last renewal, and of the one before */
    struct kinds_row *rows;
    size_t rows_n;
    uint32_t arena;
    char mine[STORE_KINDS_BYTES_MAX + 1]; /* what our row is to tell */
    char open[STORE_KINDS_BYTES_MAX + 1]; /* as the store last told */
    char was[STORE_KINDS_BYTES_MAX + 1],
        is[STORE_KINDS_BYTES_MAX + 1]; /* of the change under way */
    bool known;                        /* a renewal has told */
    bool told, telling;                /* ours is in our row, or on its way */
    uint64_t read_ns;                  /* when the rows were read last */
    bool wanted;                       /* calls wait for them to be read again */
    bool lacks;
    char why[KINDS_WHY_BYTES]; /* … what, for people */
};

#endif
