/* Telling users what was booked and cancelled for them, in spite of anything: the venue remembers
 * with each change whether its user has confirmed it, and goes on telling until then.
 *
 * Happy path: book → DURABLE; the call user/7 `booked` leaves with the commit (the runtime holds
 * back what an entity sends until its state is safe); the answer marks the booking as informed,
 * DIRTY.
 * If the user cannot be reached, or refuses because its list is full, a timer tells again, at first
 * after a second, at last every five minutes. If the venue's node dies, the next start finds the
 * bookings that are not marked, and the same timer tells them. If the mark itself is lost, the user
 * hears the same news twice, which changes nothing there: the number of the change tells it.
 * A venue is started when it is next used, not before: until then its users' lists lag behind. */
#include "venue.h"

#include "bounds.h"
#include "check.h"
#include "message.h"
#include "slot.h"

enum { TIMER_RETRY = 0 };

static void set_retry(struct troupe_ctx *ctx, struct calendar *c, uint64_t delay_ms)
{
    if (troupe_timer_set(ctx, TIMER_RETRY, delay_ms) == 0)
        c->retry_set = true;
    else
        troupe_log(ctx, TROUPE_LOG_ERROR,
                   "no timer to be had: %u users will be told after the venue's next start",
                   c->uninformed);
}

/* The next round, each time later. The jitter keeps venues apart that were all started at once. */
static void retry_later(struct troupe_ctx *ctx, struct calendar *c)
{
    if (c->retry_set)
        return;
    if (c->retry_ms == 0)
        c->retry_ms = NOTICE_RETRY_MIN_MS;
    set_retry(ctx, c, c->retry_ms + troupe_random(ctx) % (c->retry_ms / 2));
    c->retry_ms = c->retry_ms > NOTICE_RETRY_MAX_MS / 2 ? NOTICE_RETRY_MAX_MS : c->retry_ms * 2;
}

/* Packs the request and calls the user. False: it could not even be sent. */
static bool tell(struct troupe_ctx *ctx, const char *user, const char *method,
                 const ProtobufCMessage *request, uint64_t tag)
{
    size_t len = protobuf_c_message_get_packed_size(request);
    uint8_t *packed = troupe_scratch(ctx, len + 1);
    if (packed == NULL)
        return false;
    protobuf_c_message_pack(request, packed);
    return troupe_call(ctx, "user", troupe_bytes_of(user), method, troupe_bytes(packed, len),
                       NOTICE_TIMEOUT_MS, tag) == 0;
}

void venue_tell_booked(struct troupe_ctx *ctx, struct calendar *c, uint32_t minute,
                       struct booking *b)
{
    char slot[SLOT_TEXT_LEN + 1];
    const char *self = self_text(ctx);
    Gigbook__BookedRequest request = GIGBOOK__BOOKED_REQUEST__INIT;
    slot_format(minute, slot);
    request.venue = message_text(self);
    request.slot = slot;
    request.reference = message_text(b->reference);
    request.booked_at_ms = b->booked_at_ms;
    request.change = b->change;
    b->asked = self != NULL &&
               tell(ctx, b->user, "booked", &request.base, calendar_tag(minute, b->change));
    if (!b->asked)
        retry_later(ctx, c);
}

static void tell_cancelled(struct troupe_ctx *ctx, struct calendar *c, struct cancellation *x)
{
    char slot[SLOT_TEXT_LEN + 1];
    const char *self = self_text(ctx);
    Gigbook__CancelledRequest request = GIGBOOK__CANCELLED_REQUEST__INIT;
    slot_format(x->minute, slot);
    request.venue = message_text(self);
    request.slot = slot;
    request.change = x->change;
    x->asked = self != NULL &&
               tell(ctx, x->user, "cancelled", &request.base, calendar_tag(x->minute, x->change));
    if (!x->asked)
        retry_later(ctx, c);
}

void venue_tell_cancelled(struct troupe_ctx *ctx, struct calendar *c)
{
    tell_cancelled(ctx, c, &c->cancellations[c->cancellations_n - 1]);
}

void venue_tell_later(struct troupe_ctx *ctx, struct calendar *c)
{
    if (c->uninformed > 0)
        retry_later(ctx, c);
}

/* Tells all who have not been told, as far as one round goes. True: some are left for the next. */
static bool tell_round(struct troupe_ctx *ctx, struct calendar *c)
{
    size_t told = 0;
    for (size_t i = 0; i < c->cancellations_n; i++) {
        if (c->cancellations[i].asked)
            continue;
        if (told++ == NOTICES_PER_ROUND)
            return true;
        tell_cancelled(ctx, c, &c->cancellations[i]);
    }
    for (size_t i = 0; i < c->slots_n; i++) {
        struct booking *b = c->slots[i].booking;
        if (b == NULL || b->informed || b->asked)
            continue;
        if (told++ == NOTICES_PER_ROUND)
            return true;
        venue_tell_booked(ctx, c, c->slots[i].minute, b);
    }
    return false;
}

static enum troupe_outcome heard(struct troupe_ctx *ctx, struct calendar *c,
                                 const struct troupe_info *info)
{
    if (info->status == TROUPE_OK) {
        c->retry_ms = 0;
        return calendar_confirm(c, info->tag) ? TROUPE_DIRTY : TROUPE_UNCHANGED;
    }
    calendar_unask(c, info->tag);
    if (!c->retry_set)
        troupe_log(ctx, TROUPE_LOG_WARN,
                   "a user could not be told of a booking (status %d: %.*s); %u wait",
                   (int)info->status, (int)info->payload.len, (const char *)info->payload.data,
                   c->uninformed);
    retry_later(ctx, c);
    return TROUPE_UNCHANGED;
}

enum troupe_outcome venue_info(struct troupe_ctx *ctx, void *state, const struct troupe_info *info)
{
    struct calendar *c = ((struct venue *)state)->calendar;
    TROUPE_ENSURE(ctx, c != NULL);
    if (info->type == TROUPE_INFO_REPLY)
        return heard(ctx, c, info);
    c->retry_set = false;
    if (tell_round(ctx, c) && !c->retry_set)
        set_retry(ctx, c, NOTICE_RETRY_MIN_MS);
    return TROUPE_UNCHANGED;
}
