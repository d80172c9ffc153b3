/* Places out of a TSV file, each as a call that makes a venue of it: the columns are geonameid,
 * name, country, population, longitude, latitude, as in apps/gigbook/data. */
#ifndef TROUPE_BENCH_PLACES_H
#define TROUPE_BENCH_PLACES_H

#include "base/arena.h"

struct bench;

struct place {
    struct troupe_bytes id, create; /* a packed CreateVenueRequest */
};

struct places {
    struct place *items;
    size_t n, capacity;
    struct arena arena;
};

/* Reads the file, through gzip if it ends in .gz. 0 or -1 with errmsg, which names the line. */
int places_read(struct bench *b, struct places *places, const char *path);
/* A zeroed struct is fine. */
void places_close(struct places *places);

#endif
