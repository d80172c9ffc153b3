#include "calendar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bounds.h"

struct calendar *calendar_new(void)
{
    return calloc(1, sizeof(struct calendar));
}

static void booking_free(struct booking *b)
{
    if (b == NULL)
        return;
    free(b->payment);
    free(b);
}

void calendar_free(struct calendar *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->slots_n; i++)
        booking_free(c->slots[i].booking);
    for (size_t i = 0; i < c->cancellations_n; i++)
        free(c->cancellations[i].user);
    free(c->slots);
    free(c->cancellations);
    free(c);
}

/* ---- slots ---- */

size_t calendar_rank(const struct calendar *c, uint32_t minute)
{
    size_t low = 0, high = c->slots_n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c->slots[middle].minute <= minute)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct slot *calendar_find(const struct calendar *c, uint32_t minute)
{
    size_t rank = calendar_rank(c, minute);
    if (rank == 0 || c->slots[rank - 1].minute != minute)
        return NULL;
    return &c->slots[rank - 1];
}

int calendar_reserve(struct calendar *c, size_t more)
{
    size_t need = c->slots_n + more;
    if (need <= c->slots_cap)
        return 0;
    size_t cap = c->slots_cap + c->slots_cap / 2;
    cap = cap > need ? cap : need;
    struct slot *grown = realloc(c->slots, cap * sizeof *grown);
    if (grown == NULL)
        return -1;
    c->slots = grown;
    c->slots_cap = (uint32_t)cap;
    return 0;
}

/* The slot of this minute, made if need be. */
static struct slot *slot_at(struct calendar *c, uint32_t minute)
{
    size_t at = calendar_rank(c, minute);
    if (at > 0 && c->slots[at - 1].minute == minute)
        return &c->slots[at - 1];
    if (calendar_reserve(c, 1) != 0)
        return NULL;
    struct slot *slot = &c->slots[at];
    memmove(slot + 1, slot, (c->slots_n - at) * sizeof *slot);
    c->slots_n++;
    *slot = (struct slot){.minute = minute, .mode = SLOT_UNLISTED};
    return slot;
}

static void slot_remove(struct calendar *c, struct slot *slot)
{
    size_t behind = (size_t)(c->slots + c->slots_n - slot) - 1;
    memmove(slot, slot + 1, behind * sizeof *slot);
    c->slots_n--;
}

int calendar_set_mode(struct calendar *c, uint32_t minute, enum slot_mode mode)
{
    struct slot *slot = slot_at(c, minute);
    if (slot == NULL)
        return -1;
    slot->mode = (uint8_t)mode;
    return 0;
}

/* ---- bookings ---- */

static size_t booking_saved_bytes(const char *user, const char *reference)
{
    return BOOKING_SAVED_BYTES + strlen(user) + strlen(reference);
}

static struct booking *booking_new(const char *user, const char *reference)
{
    size_t user_len = strlen(user) + 1, reference_len = strlen(reference) + 1;
    struct booking *b = malloc(sizeof *b + user_len + reference_len);
    if (b == NULL)
        return NULL;
    *b = (struct booking){.reference = b->user + user_len};
    memcpy(b->user, user, user_len);
    memcpy(b->user + user_len, reference, reference_len);
    return b;
}

static void booking_put(struct calendar *c, struct slot *slot, struct booking *b)
{
    slot->booking = b;
    c->bookings_n++;
    c->bookings_bytes += (uint32_t)booking_saved_bytes(b->user, b->reference);
    c->uninformed += !b->informed;
}

static void booking_drop(struct calendar *c, struct slot *slot)
{
    struct booking *b = slot->booking;
    c->bookings_n--;
    c->bookings_bytes -= (uint32_t)booking_saved_bytes(b->user, b->reference);
    c->uninformed -= !b->informed;
    slot->booking = NULL;
    booking_free(b);
}

enum calendar_full calendar_book(struct calendar *c, uint32_t minute, const char *user,
                                 const char *reference, uint64_t now_ms, struct booking **booking)
{
    char own[24];
    if (*reference == '\0') {
        snprintf(own, sizeof own, "b%llu", (unsigned long long)(c->changes + 1));
        reference = own;
    }
    if (c->bookings_bytes + booking_saved_bytes(user, reference) > VENUE_BOOKINGS_BYTES_MAX)
        return CALENDAR_BYTES_FULL;
    if (c->slots_n >= VENUE_SLOTS_MAX && calendar_find(c, minute) == NULL)
        return CALENDAR_SLOTS_FULL;
    struct booking *b = booking_new(user, reference);
    if (b == NULL)
        return CALENDAR_NO_MEMORY;
    struct slot *slot = slot_at(c, minute);
    if (slot == NULL) {
        booking_free(b);
        return CALENDAR_NO_MEMORY;
    }
    b->change = ++c->changes;
    b->booked_at_ms = now_ms;
    booking_put(c, slot, b);
    *booking = b;
    return CALENDAR_OK;
}

int booking_pay(struct booking *b, uint64_t amount_minor, const char *currency,
                const char *reference, uint64_t now_ms)
{
    size_t len = strlen(reference) + 1;
    struct payment *p = malloc(sizeof *p + len);
    if (p == NULL)
        return -1;
    *p = (struct payment){.amount_minor = amount_minor, .paid_at_ms = now_ms};
    memcpy(p->currency, currency, sizeof p->currency - 1);
    memcpy(p->reference, reference, len);
    b->payment = p;
    return 0;
}

/* ---- cancellations ---- */

static size_t cancellation_saved_bytes(const char *user)
{
    return CANCELLATION_SAVED_BYTES + strlen(user);
}

static enum calendar_full cancellation_add(struct calendar *c, uint32_t minute, const char *user,
                                           uint64_t change)
{
    size_t bytes = cancellation_saved_bytes(user);
    if (c->cancellations_bytes + bytes > VENUE_CANCELLATIONS_BYTES_MAX)
        return CALENDAR_BYTES_FULL;
    if (c->cancellations_n == c->cancellations_cap) {
        uint32_t cap = c->cancellations_cap == 0 ? 2 : c->cancellations_cap * 2;
        struct cancellation *grown = realloc(c->cancellations, cap * sizeof *grown);
        if (grown == NULL)
            return CALENDAR_NO_MEMORY;
        c->cancellations = grown;
        c->cancellations_cap = cap;
    }
    char *copy = strdup(user);
    if (copy == NULL)
        return CALENDAR_NO_MEMORY;
    c->cancellations[c->cancellations_n++] =
        (struct cancellation){.change = change, .minute = minute, .user = copy};
    c->cancellations_bytes += (uint32_t)bytes;
    c->uninformed++;
    return CALENDAR_OK;
}

enum calendar_full calendar_cancel(struct calendar *c, struct slot *slot)
{
    enum calendar_full full =
        cancellation_add(c, slot->minute, slot->booking->user, c->changes + 1);
    if (full != CALENDAR_OK)
        return full;
    c->changes++;
    booking_drop(c, slot);
    if (slot->mode == SLOT_UNLISTED)
        slot_remove(c, slot);
    return CALENDAR_OK;
}

static void cancellation_remove(struct calendar *c, struct cancellation *x)
{
    size_t behind = (size_t)(c->cancellations + c->cancellations_n - x) - 1;
    c->cancellations_bytes -= (uint32_t)cancellation_saved_bytes(x->user);
    c->uninformed--;
    free(x->user);
    memmove(x, x + 1, behind * sizeof *x);
    c->cancellations_n--;
}

/* ---- telling users ---- */

static struct booking *booking_tagged(const struct calendar *c, uint64_t tag)
{
    const struct slot *slot = calendar_find(c, (uint32_t)(tag >> 32));
    if (slot == NULL || slot->booking == NULL || (uint32_t)slot->booking->change != (uint32_t)tag)
        return NULL;
    return slot->booking;
}

static struct cancellation *cancellation_tagged(const struct calendar *c, uint64_t tag)
{
    for (size_t i = 0; i < c->cancellations_n; i++)
        if (calendar_tag(c->cancellations[i].minute, c->cancellations[i].change) == tag)
            return &c->cancellations[i];
    return NULL;
}

bool calendar_confirm(struct calendar *c, uint64_t tag)
{
    struct booking *b = booking_tagged(c, tag);
    if (b != NULL) {
        bool first = !b->informed;
        b->informed = true;
        b->asked = false;
        c->uninformed -= first;
        return first;
    }
    struct cancellation *x = cancellation_tagged(c, tag);
    if (x == NULL)
        return false;
    cancellation_remove(c, x);
    return true;
}

void calendar_unask(struct calendar *c, uint64_t tag)
{
    struct booking *b = booking_tagged(c, tag);
    struct cancellation *x = cancellation_tagged(c, tag);
    if (b != NULL)
        b->asked = false;
    if (x != NULL)
        x->asked = false;
}

size_t calendar_prune(struct calendar *c, uint32_t before, size_t *kept)
{
    size_t to = 0, from = 0;
    for (; from < c->slots_n && c->slots[from].minute < before; from++) {
        struct slot *slot = &c->slots[from];
        if (slot->booking != NULL && !slot->booking->informed)
            c->slots[to++] = *slot;
        else if (slot->booking != NULL)
            booking_drop(c, slot);
    }
    *kept = to;
    memmove(c->slots + to, c->slots + from, (c->slots_n - from) * sizeof *c->slots);
    c->slots_n -= (uint32_t)(from - to);
    return from - to;
}

/* ---- loading ---- */

struct slot *calendar_append(struct calendar *c, uint32_t minute, enum slot_mode mode)
{
    bool in_order = c->slots_n == 0 || c->slots[c->slots_n - 1].minute < minute;
    if (!in_order || c->slots_n >= VENUE_SLOTS_MAX || calendar_reserve(c, 1) != 0)
        return NULL;
    struct slot *slot = &c->slots[c->slots_n++];
    *slot = (struct slot){.minute = minute, .mode = (uint8_t)mode};
    return slot;
}

struct booking *calendar_append_booking(struct calendar *c, struct slot *slot, const char *user,
                                        const char *reference, uint64_t change,
                                        uint64_t booked_at_ms, bool informed)
{
    if (c->bookings_bytes + booking_saved_bytes(user, reference) > VENUE_BOOKINGS_BYTES_MAX)
        return NULL;
    struct booking *b = booking_new(user, reference);
    if (b == NULL)
        return NULL;
    b->change = change;
    b->booked_at_ms = booked_at_ms;
    b->informed = informed;
    booking_put(c, slot, b);
    return b;
}

int calendar_append_cancellation(struct calendar *c, uint32_t minute, const char *user,
                                 uint64_t change)
{
    return cancellation_add(c, minute, user, change) == CALENDAR_OK ? 0 : -1;
}

size_t calendar_memory(const struct calendar *c)
{
    /* What is saved is about what is kept of texts; the rest are the blocks' heads. */
    return sizeof *c + c->slots_cap * sizeof *c->slots +
           c->cancellations_cap * sizeof *c->cancellations + c->bookings_bytes +
           c->cancellations_bytes;
}
