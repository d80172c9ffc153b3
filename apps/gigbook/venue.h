/* The venue: what its files share. Each handler is called with the request's bytes and says what it
 * did, as include/troupe/entity.h has it. */
#ifndef GIGBOOK_VENUE_H
#define GIGBOOK_VENUE_H

#include "calendar.h"
#include "gigbook.pb-c.h"
#include "troupe/entity.h"

/* Name and place: one block, as most venues have nothing else. */
struct place {
    double latitude, longitude;
    uint64_t price_minor;
    uint32_t population;
    bool opened_slots_only;
    char country[3], currency[4];
    char name[];
};

struct venue {
    struct place *place;       /* NULL: not created yet */
    struct calendar *calendar; /* NULL: empty */
};

extern const struct troupe_kind venue_kind;

/* ---- venue_state.c ---- */

int venue_start(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new, void **state);
int venue_save(struct troupe_ctx *ctx, const void *state, struct troupe_buffer *out);
void venue_stop(struct troupe_ctx *ctx, void *state, enum troupe_stop_reason reason);
size_t venue_memory(const void *state);
/* NULL: no memory. */
struct place *place_new(const Gigbook__Place *from);
/* Fills a message whose strings belong to p. */
void place_to_message(const struct place *p, Gigbook__Place *to);
/* A slot with its booking as a message in scratch memory, or NULL. `booked` is the booking alone,
 * telling its slot. */
Gigbook__Slot *slot_to_message(struct troupe_ctx *ctx, const struct slot *slot);
Gigbook__Booking *booked_to_message(struct troupe_ctx *ctx, const struct slot *slot);

/* ---- venue.c ---- */

/* Whether the venue has been created; if not, the call is answered. */
bool venue_check_created(struct troupe_ctx *ctx, const struct venue *v);
/* The calendar, made if need be; NULL, and the call is answered, when there is no memory. */
struct calendar *venue_calendar(struct troupe_ctx *ctx, struct venue *v);
/* Answers that there is no memory. */
enum troupe_outcome venue_no_memory(struct troupe_ctx *ctx);

/* ---- venue_slots.c ---- */

enum troupe_outcome venue_open_slots(struct troupe_ctx *ctx, struct venue *v,
                                     struct troupe_bytes payload);
enum troupe_outcome venue_close_slot(struct troupe_ctx *ctx, struct venue *v,
                                     struct troupe_bytes payload);
enum troupe_outcome venue_slots(struct troupe_ctx *ctx, struct venue *v,
                                struct troupe_bytes payload);
enum troupe_outcome venue_bookings(struct troupe_ctx *ctx, struct venue *v,
                                   struct troupe_bytes payload);
enum troupe_outcome venue_prune(struct troupe_ctx *ctx, struct venue *v,
                                struct troupe_bytes payload);

/* ---- venue_book.c ---- */

enum troupe_outcome venue_book(struct troupe_ctx *ctx, struct venue *v,
                               struct troupe_bytes payload);
enum troupe_outcome venue_cancel(struct troupe_ctx *ctx, struct venue *v,
                                 struct troupe_bytes payload);
enum troupe_outcome venue_pay(struct troupe_ctx *ctx, struct venue *v, struct troupe_bytes payload);

/* ---- venue_notice.c ---- */

/* Tells the user of a booking just made, or of the last cancellation. Never fails: what cannot be
 * told now is told later. */
void venue_tell_booked(struct troupe_ctx *ctx, struct calendar *c, uint32_t minute,
                       struct booking *b);
void venue_tell_cancelled(struct troupe_ctx *ctx, struct calendar *c);
/* After a start: whoever has not been told will be, soon. */
void venue_tell_later(struct troupe_ctx *ctx, struct calendar *c);
enum troupe_outcome venue_info(struct troupe_ctx *ctx, void *state, const struct troupe_info *info);

#endif
