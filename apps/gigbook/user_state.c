/* A user's memory and its saved form, UserState, in both directions. */
#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "slot.h"
#include "user.h"

struct profile *profile_new(const char *name, const char *bio)
{
    size_t name_len = strlen(name) + 1, bio_len = strlen(bio) + 1;
    struct profile *p = malloc(sizeof *p + name_len + bio_len);
    if (p == NULL)
        return NULL;
    p->bio = p->name + name_len;
    memcpy(p->name, name, name_len);
    memcpy(p->name + name_len, bio, bio_len);
    return p;
}

/* ---- from the saved form ---- */

static const char *load_ids(struct idset *set, char *const *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && strcmp(ids[i - 1], ids[i]) >= 0)
            return "ids are out of order";
        if (idset_add(set, ids[i]) != 0)
            return "no memory";
    }
    return NULL;
}

static const char *load_gigs(struct gigs *gigs, Gigbook__Gig *const *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct gig gig = {
            .change = from[i]->change,
            .booked_at_ms = from[i]->booked_at_ms,
            .cancelled_at_ms = from[i]->cancelled_at_ms,
        };
        if (!slot_parse(from[i]->slot, &gig.minute))
            return "a slot is malformed";
        switch (gigs_put(gigs, &gig, from[i]->venue, from[i]->reference)) {
        case GIGS_OK:
            break;
        case GIGS_OLD:
            return "a gig is there twice";
        default:
            return "too many gigs, or no memory";
        }
    }
    return NULL;
}

static const char *load(struct user *u, const Gigbook__UserState *from)
{
    if (from->profile != NULL &&
        (u->profile = profile_new(from->profile->name, from->profile->bio)) == NULL)
        return "no memory";
    if (from->n_followers + from->n_following + from->n_gigs == 0)
        return NULL;
    if ((u->circle = calloc(1, sizeof *u->circle)) == NULL)
        return "no memory";
    const char *why = load_ids(&u->circle->followers, from->followers, from->n_followers);
    if (why == NULL)
        why = load_ids(&u->circle->following, from->following, from->n_following);
    if (why == NULL)
        why = load_gigs(&u->circle->gigs, from->gigs, from->n_gigs);
    return why;
}

int user_start(struct troupe_ctx *ctx, struct troupe_bytes saved, bool is_new, void **state)
{
    struct user *u = calloc(1, sizeof *u);
    if (u == NULL)
        return troupe_crash(ctx, "no memory");
    *state = u;
    if (is_new)
        return 0;
    const Gigbook__UserState *from = troupe_parse(ctx, &gigbook__user_state__descriptor, saved);
    const char *why = from == NULL ? "it is not a UserState" : load(u, from);
    if (why != NULL) {
        user_stop(ctx, u, TROUPE_STOP_CRASH);
        *state = NULL;
        return troupe_crash(ctx, "the saved state is bad: %s", why);
    }
    return 0;
}

void user_stop(struct troupe_ctx *ctx, void *state, enum troupe_stop_reason reason)
{
    struct user *u = state;
    if (u->circle != NULL) {
        idset_close(&u->circle->followers);
        idset_close(&u->circle->following);
        gigs_close(&u->circle->gigs);
    }
    free(u->circle);
    free(u->profile);
    free(u);
}

size_t user_memory(const void *state)
{
    const struct user *u = state;
    const struct circle *c = u->circle;
    size_t bytes = sizeof *u;
    if (u->profile != NULL)
        bytes += sizeof *u->profile + strlen(u->profile->name) + strlen(u->profile->bio) + 2;
    if (c != NULL)
        bytes += sizeof *c + idset_memory(&c->followers) + idset_memory(&c->following) +
                 gigs_memory(&c->gigs);
    return bytes;
}

/* ---- to the saved form ---- */

Gigbook__Gig *gig_to_message(struct troupe_ctx *ctx, const struct gig *gig)
{
    Gigbook__Gig *to = troupe_scratch(ctx, sizeof *to);
    char *slot = troupe_scratch(ctx, SLOT_TEXT_LEN + 1);
    if (to == NULL || slot == NULL)
        return NULL;
    gigbook__gig__init(to);
    slot_format(gig->minute, slot);
    to->venue = message_text(gig->venue);
    to->slot = slot;
    to->reference = message_text(gig->reference);
    to->booked_at_ms = gig->booked_at_ms;
    to->change = gig->change;
    to->cancelled_at_ms = gig->cancelled_at_ms;
    return to;
}

static char **ids_to_message(struct troupe_ctx *ctx, const struct idset *set)
{
    char **ids = troupe_scratch(ctx, (set->n + 1) * sizeof(char *));
    for (size_t i = 0; ids != NULL && i < set->n; i++)
        ids[i] = message_text(idset_at(set, i));
    return ids;
}

static int circle_to_message(struct troupe_ctx *ctx, const struct circle *c, Gigbook__UserState *to)
{
    to->followers = ids_to_message(ctx, &c->followers);
    to->following = ids_to_message(ctx, &c->following);
    to->gigs = troupe_scratch(ctx, (c->gigs.n + 1) * sizeof(Gigbook__Gig *));
    if (to->followers == NULL || to->following == NULL || to->gigs == NULL)
        return -1;
    to->n_followers = c->followers.n;
    to->n_following = c->following.n;
    for (; to->n_gigs < c->gigs.n; to->n_gigs++) {
        Gigbook__Gig *gig = gig_to_message(ctx, c->gigs.items[to->n_gigs]);
        if (gig == NULL)
            return -1;
        to->gigs[to->n_gigs] = gig;
    }
    return 0;
}

int user_save(struct troupe_ctx *ctx, const void *state, struct troupe_buffer *out)
{
    const struct user *u = state;
    Gigbook__UserState to = GIGBOOK__USER_STATE__INIT;
    Gigbook__Profile profile = GIGBOOK__PROFILE__INIT;
    if (u->profile != NULL) {
        profile.name = message_text(u->profile->name);
        profile.bio = message_text(u->profile->bio);
        to.profile = &profile;
    }
    if (u->circle != NULL && circle_to_message(ctx, u->circle, &to) != 0)
        return troupe_crash(ctx, "no memory to save a user with %u gigs", u->circle->gigs.n);
    return troupe_buffer_add_message(out, &to.base);
}
