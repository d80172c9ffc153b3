/* A user's bookings, in the order of slot and venue: one array of pointers, one block per gig.
 *
 * Each gig bears the number of the venue's last change that was heard of (see calendar.h): news
 * with a smaller or equal number is old and changes nothing. So a cancelled gig is kept for a
 * while. */
#ifndef GIGBOOK_GIGS_H
#define GIGBOOK_GIGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gig {
    uint64_t change, booked_at_ms;
    uint64_t cancelled_at_ms; /* 0: it stands */
    uint32_t minute;
    const char *reference; /* behind venue */
    char venue[];
};

struct gigs {
    struct gig **items;
    uint32_t n, cap;
    uint32_t bytes; /* as saved, at most */
};

enum gigs_result { GIGS_OK, GIGS_OLD, GIGS_FULL, GIGS_NO_MEMORY };

/* All zero is the empty list. */
void gigs_close(struct gigs *g);
/* Puts a gig in, in the place of one of the same slot and venue. GIGS_OLD: that one is as new. */
enum gigs_result gigs_put(struct gigs *g, const struct gig *news, const char *venue,
                          const char *reference);
/* How many gigs are not behind this slot and venue. */
size_t gigs_rank(const struct gigs *g, uint32_t minute, const char *venue);
/* Forgets those that were cancelled before this time, and those of slots before that minute.
 * Returns how many went. */
size_t gigs_prune(struct gigs *g, uint64_t cancelled_before_ms, uint32_t before);
/* How many stand. */
size_t gigs_standing(const struct gigs *g);
size_t gigs_memory(const struct gigs *g);

#endif
