/* Durations measured, and what can be said of them. */
#ifndef TROUPE_SIM_MEMBERSHIP_SAMPLES_H
#define TROUPE_SIM_MEMBERSHIP_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

struct samples {
    uint64_t *ns;
    size_t n, room;
};

void samples_add(struct samples *s, uint64_t ns);
void samples_add_all(struct samples *s, const struct samples *more);
/* Nearest rank, in seconds; sorts them. NaN when there are none. */
double samples_percentile(struct samples *s, unsigned percent);
void samples_close(struct samples *s);

#endif
