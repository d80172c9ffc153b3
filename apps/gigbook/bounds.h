/* Every limit of gigbook. A state is written as a whole whenever it is persisted, so it is kept
 * under 1 MiB: the byte limits below are shares of that. */
#ifndef GIGBOOK_BOUNDS_H
#define GIGBOOK_BOUNDS_H

enum {
    STATE_BYTES_MAX = 1 << 20,

    NAME_BYTES_MAX = 200,
    BIO_BYTES_MAX = 1000,
    ID_BYTES_MAX = 255, /* of an entity, as everywhere in Troupe */
    REFERENCE_BYTES_MAX = 64,

    PAGE_DEFAULT = 100,
    PAGE_MAX = 1000,
    SLOTS_PER_CALL_MAX = 1000,

    VENUE_SLOTS_MAX = 4096, /* opened, closed or booked */
    VENUE_BOOKINGS_BYTES_MAX = 768 << 10,
    VENUE_CANCELLATIONS_BYTES_MAX = 64 << 10,
    PLACE_SAVED_BYTES_MAX = 1 << 10,
    SLOT_SAVED_BYTES = 32,     /* of a slot without its booking, at most */
    BOOKING_SAVED_BYTES = 160, /* of a paid booking without user and reference, at most */
    CANCELLATION_SAVED_BYTES = 48,

    USER_FOLLOWERS_BYTES_MAX = 384 << 10,
    USER_FOLLOWING_BYTES_MAX = 128 << 10,
    USER_GIGS_BYTES_MAX = 448 << 10,
    PROFILE_SAVED_BYTES_MAX = 2 << 10,
    ID_SAVED_BYTES = 4, /* of an id in a list, besides the id */
    GIG_SAVED_BYTES = 72,

    /* How long a user's cancelled gig is remembered. News from a venue is at most
     * NOTICE_TIMEOUT_MS old, so nothing later than this can bring it back. */
    CANCELLED_KEPT_MS = 3600 * 1000,
    NOTICE_TIMEOUT_MS = 10 * 1000,
    NOTICES_PER_ROUND = 100,
    NOTICE_RETRY_MIN_MS = 1000,
    NOTICE_RETRY_MAX_MS = 300 * 1000,
};

#define AMOUNT_MINOR_MAX UINT64_C(1000000000000)

_Static_assert(PLACE_SAVED_BYTES_MAX + VENUE_SLOTS_MAX * SLOT_SAVED_BYTES +
                       VENUE_BOOKINGS_BYTES_MAX + VENUE_CANCELLATIONS_BYTES_MAX <
                   STATE_BYTES_MAX,
               "a venue's state fits");
_Static_assert(PROFILE_SAVED_BYTES_MAX + USER_FOLLOWERS_BYTES_MAX + USER_FOLLOWING_BYTES_MAX +
                       USER_GIGS_BYTES_MAX <
                   STATE_BYTES_MAX,
               "a user's state fits");
_Static_assert(NAME_BYTES_MAX + BIO_BYTES_MAX + 16 < PROFILE_SAVED_BYTES_MAX, "a profile fits");
_Static_assert(NOTICE_TIMEOUT_MS * 10 < CANCELLED_KEPT_MS, "late news is outlived");

#endif
