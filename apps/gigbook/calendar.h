/* A venue's calendar: its slots in the order of time, what is booked, and which users still have to
 * be told. Knows nothing of messages; venue*.c does.
 *
 * Intuition: most venues have no calendar at all and most calendars are short, so a slot is 16
 * bytes in one sorted array, found by halving, and a booking is one block of memory beside it.
 *
 * Each booking and each cancellation is a *change* with a number that only grows. The user keeps
 * the number with the entry, so that news may be told twice, late or out of order and still the
 * last change wins. */
#ifndef GIGBOOK_CALENDAR_H
#define GIGBOOK_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct payment {
    uint64_t amount_minor, paid_at_ms;
    char currency[4];
    char reference[]; /* may be empty */
};

struct booking {
    uint64_t change, booked_at_ms;
    struct payment *payment; /* NULL: not paid */
    const char *reference;   /* behind user */
    bool informed;           /* the user has confirmed it */
    bool asked;              /* the user has been told and has not answered yet; not saved */
    char user[];
};

enum slot_mode {
    SLOT_UNLISTED, /* here only because it is booked */
    SLOT_OPEN,
    SLOT_CLOSED, /* never booked */
};

struct slot {
    uint32_t minute;
    uint8_t mode;
    struct booking *booking; /* NULL: free */
};

struct cancellation {
    uint64_t change;
    uint32_t minute;
    bool asked; /* as in booking */
    char *user;
};

struct calendar {
    struct slot *slots; /* sorted by minute */
    struct cancellation *cancellations;
    uint32_t slots_n, slots_cap;
    uint32_t cancellations_n, cancellations_cap;
    uint32_t bookings_n, bookings_bytes; /* bytes: as saved, at most */
    uint32_t cancellations_bytes;
    uint32_t uninformed; /* bookings and cancellations that their users have not confirmed */
    uint64_t changes;    /* the number of the last one */
    uint32_t retry_ms;   /* how long the next pause before telling again will be; not saved */
    bool retry_set;      /* the timer for it runs; not saved */
};

struct calendar *calendar_new(void); /* NULL: no memory */
void calendar_free(struct calendar *c);

/* The slot, or NULL. Valid until a slot is added or removed. */
struct slot *calendar_find(const struct calendar *c, uint32_t minute);
/* The number of slots that are not later than this. */
size_t calendar_rank(const struct calendar *c, uint32_t minute);

/* Makes room for so many more slots, so that adding them cannot fail. Non-zero: no memory. */
int calendar_reserve(struct calendar *c, size_t more);
/* Opens or closes a slot. A slot that is booked must not be closed, and there must be room: at most
 * VENUE_SLOTS_MAX. Non-zero: no memory, nothing was changed. */
int calendar_set_mode(struct calendar *c, uint32_t minute, enum slot_mode mode);

enum calendar_full { CALENDAR_OK, CALENDAR_SLOTS_FULL, CALENDAR_BYTES_FULL, CALENDAR_NO_MEMORY };

/* Books a slot that is free; an empty reference becomes "b" and the number of the change. */
enum calendar_full calendar_book(struct calendar *c, uint32_t minute, const char *user,
                                 const char *reference, uint64_t now_ms, struct booking **booking);
/* Frees a slot that is booked, and makes of it a cancellation to be told, which will be the last
 * one. */
enum calendar_full calendar_cancel(struct calendar *c, struct slot *slot);
/* Non-zero: no memory. The booking must be unpaid. */
int booking_pay(struct booking *b, uint64_t amount_minor, const char *currency,
                const char *reference, uint64_t now_ms);

/* What names a change in the messages to users: the minute, to find it, and the low bits of its
 * number, to tell it from other changes of that minute. */
static inline uint64_t calendar_tag(uint32_t minute, uint64_t change)
{
    return (uint64_t)minute << 32 | (uint32_t)change;
}
/* The user has confirmed the change: whether it was one that waited for that. */
bool calendar_confirm(struct calendar *c, uint64_t tag);
/* The user could not be told: the change waits for the next round. */
void calendar_unask(struct calendar *c, uint64_t tag);
/* Forgets slots before this minute, but bookings only if their user has confirmed them; *kept = how
 * many stay. Returns how many went. */
size_t calendar_prune(struct calendar *c, uint32_t before, size_t *kept);

/* For loading, in the order of time: the slot behind all others, and its booking. NULL, non-zero:
 * not in order, over a limit, or no memory. */
struct slot *calendar_append(struct calendar *c, uint32_t minute, enum slot_mode mode);
struct booking *calendar_append_booking(struct calendar *c, struct slot *slot, const char *user,
                                        const char *reference, uint64_t change,
                                        uint64_t booked_at_ms, bool informed);
int calendar_append_cancellation(struct calendar *c, uint32_t minute, const char *user,
                                 uint64_t change);

/* Bytes of heap. */
size_t calendar_memory(const struct calendar *c);

#endif
